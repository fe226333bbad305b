"""Selection policies: what they choose, what chance they record, and that the random share speaks for the pool."""

import numpy as np
import pyarrow as pa
import pytest

from curation.selection import most_informative, select
from curation.stopping import no_more_to_gain

N, BATCH, RANDOM = 400, 60, 20


def pool(seed: int = 0, **columns) -> pa.Table:
    """400 candidates; the label of a pair is the more often wrong the more similar it is to a gold error."""
    rng = np.random.default_rng(seed)
    similarity = rng.random(N)
    wrong = rng.random(N) < 0.1 + 0.6 * similarity**2
    names = [f"p{i:03d}" for i in range(N)]
    return pa.table({"pair_id": names, "similarity": similarity, "wrong": wrong, **columns})


def test_paper_takes_the_nearest_after_the_random_share():
    rows = select("paper", pool(), BATCH, RANDOM, "s").to_pylist()
    assert [r["why"] for r in rows] == ["random"] * RANDOM + ["retrieved"] * (BATCH - RANDOM)
    drawn = {r["pair_id"] for r in rows[:RANDOM]}
    nearest = sorted(
        ((-s, p) for s, p in zip(*pool().select(["similarity", "pair_id"]).to_pydict().values(), strict=True))
    )
    assert [r["pair_id"] for r in rows[RANDOM:]] == [p for _, p in nearest if p not in drawn][: BATCH - RANDOM]
    assert {r["inclusion"] for r in rows[:RANDOM]} == {RANDOM / N} and {r["inclusion"] for r in rows[RANDOM:]} == {1.0}


def test_nothing_depends_on_the_order_of_the_candidates():
    shuffled = pool().take(pa.array(np.random.default_rng(1).permutation(N)))
    for policy in ("paper", "random"):
        assert select(policy, shuffled, BATCH, RANDOM, "s") == select(policy, pool(), BATCH, RANDOM, "s")


def test_random_is_random_throughout():
    rows = select("random", pool(), BATCH, RANDOM, "s")
    assert set(rows["why"].to_pylist()) == {"random"} and set(rows["inclusion"].to_pylist()) == {BATCH / N}


def test_a_pool_smaller_than_the_batch_is_taken_whole():
    few = pool().slice(0, 15)
    assert set(select("paper", few, BATCH, 5, "s")["pair_id"].to_pylist()) == set(few["pair_id"].to_pylist())
    assert select("paper", few.slice(0, 0), BATCH, 5, "s").num_rows == 0


def test_the_random_share_estimates_the_pool_without_bias_and_the_whole_batch_does_not():
    """Horvitz and Thompson over 600 seeds: the mean of sum(wrong / inclusion) is the number of wrong labels in the pool.

    One draw has a standard error of sqrt((1 - 20/400) 400^2 s^2 / 20), so the mean over 600 lies within 4 of them / sqrt(600).
    """
    candidates = pool()
    wrong = dict(zip(candidates["pair_id"].to_pylist(), candidates["wrong"].to_pylist(), strict=True))
    truth, values = sum(wrong.values()), np.array(list(wrong.values()), float)
    estimates, naive = [], []
    for seed in range(600):
        rows = select("paper", candidates, BATCH, RANDOM, str(seed)).to_pylist()
        estimates.append(sum(wrong[r["pair_id"]] / r["inclusion"] for r in rows if r["why"] == "random"))
        naive.append(N * np.mean([wrong[r["pair_id"]] for r in rows]))
    one = np.sqrt((1 - RANDOM / N) * N**2 * values.var(ddof=1) / RANDOM)
    assert abs(np.mean(estimates) - truth) < 4 * one / np.sqrt(600)
    assert np.std(estimates) == pytest.approx(one, rel=0.15)
    assert np.mean(naive) > 1.3 * truth


def test_every_pair_is_drawn_as_often_as_its_inclusion_says():
    counts = dict.fromkeys(pool()["pair_id"].to_pylist(), 0)
    for seed in range(400):
        for p in select("paper", pool(), BATCH, RANDOM, str(seed))["pair_id"].to_pylist()[:RANDOM]:
            counts[p] += 1
    times = np.array(list(counts.values()))
    chi2 = np.sum((times - 20) ** 2 / (20 * (1 - RANDOM / N)))  # 400 draws at 20/400: 20 each; 399 degrees of freedom
    assert 399 - 5 * np.sqrt(2 * 399) < chi2 < 399 + 5 * np.sqrt(2 * 399)


def test_greedy_choice_is_that_of_brute_force():
    rng = np.random.default_rng(3)
    x, known = rng.normal(size=(40, 6)), rng.normal(size=(5, 6))
    chosen, gains = most_informative(x, known, 12, ridge=0.5)
    a = 0.5 * np.eye(6) + known.T @ known
    for step, pick in enumerate(chosen):
        left = [i for i in range(40) if i not in chosen[:step]]
        added = {i: np.linalg.slogdet(a + np.outer(x[i], x[i]))[1] - np.linalg.slogdet(a)[1] for i in left}
        assert max(added, key=added.get) == pick
        assert gains[step] == pytest.approx(added[pick], abs=1e-9)
        a += np.outer(x[pick], x[pick])
    assert len(set(chosen)) == 12 and gains == sorted(gains, reverse=True)


def featured(seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    labelled = [i % 10 == 0 for i in range(N)]
    p = [None if i % 25 == 1 else x for i, x in enumerate(rng.uniform(0.05, 0.95, N))]
    return pool(difference=list(rng.normal(size=(N, 8)).astype(np.float32)), p=p, labelled=labelled)


def test_d_optimal_leaves_out_what_is_labelled_or_has_no_p():
    rows = select("d_optimal", featured(), BATCH, RANDOM, "s").to_pylist()
    numbers = [int(r["pair_id"][1:]) for r in rows]
    assert len(set(numbers)) == BATCH and not [i for i in numbers if i % 10 == 0]
    assert not [i for i, r in zip(numbers, rows, strict=True) if i % 25 == 1 and r["why"] == "d_optimal"]
    assert rows[0]["inclusion"] == pytest.approx(RANDOM / 360)  # of those not labelled
    scores = [r["score"] for r in rows[RANDOM:]]
    assert scores == sorted(scores, reverse=True)


def test_d_optimal_records_the_chance_to_be_looked_at():
    chances = [0.25 if i % 2 else 0.5 for i in range(N)]
    rows = select("d_optimal", featured().append_column("chance", pa.array(chances)), BATCH, RANDOM, "s").to_pylist()
    assert {(int(r["pair_id"][1:]) % 2, r["inclusion"]) for r in rows[RANDOM:]} == {(0, 0.5), (1, 0.25)}


def test_what_is_known_already_is_not_asked_again():
    """Two directions; the labelled pairs all point along the first, so the first choice points along the second."""
    directions = np.array([[3.0, 0.0]] * 20 + [[2.0, 0.0], [0.0, 1.0]], np.float32)
    candidates = pa.table(
        {
            "pair_id": [f"p{i:02d}" for i in range(22)],
            "difference": list(directions),
            "p": [0.5] * 22,
            "labelled": [True] * 20 + [False] * 2,
        }
    )
    assert select("d_optimal", candidates, 1, 0, "s")["pair_id"].to_pylist() == ["p21"]


def test_d_optimal_needs_fewer_labels_than_random_or_nearest_for_the_same_posterior():
    """A Bradley-Terry world of 8 directions, known to the model: entropy of the Laplace posterior after each choice
    (spec 3.18). Similarity is to one gold error."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(N, 8)) * np.array([3, 2, 2, 1, 1, 1, 0.5, 0.5])
    p = 1 / (1 + np.exp(-x @ rng.normal(size=8)))
    names = [f"p{i:03d}" for i in range(N)]
    candidates = pa.table({
        "pair_id": names, "difference": list(x.astype(np.float32)), "p": p, "labelled": [False] * N,
        "similarity": -np.linalg.norm(x - x[0], axis=1),
    })  # fmt: skip
    z = dict(zip(names, x * np.sqrt(p * (1 - p))[:, None], strict=True))

    def entropy(policy: str, labels: int) -> float:
        a = np.eye(8)
        for pair in select(policy, candidates, labels, 0, "s")["pair_id"].to_pylist():
            a += np.outer(z[pair], z[pair])
        return -0.5 * np.linalg.slogdet(a)[1]

    assert entropy("d_optimal", 30) < entropy("random", 60) and entropy("d_optimal", 30) < entropy("paper", 60)


def test_an_unknown_policy_is_an_error():
    with pytest.raises(KeyError):
        select("best", pool(), BATCH, RANDOM, "s")


@pytest.mark.parametrize(
    ("accuracies", "stops"),
    [
        ([], False),
        ([(0.6, 0.601)], False),  # one quiet iteration is not enough
        ([(0.6, 0.601), (0.601, 0.60)], True),
        ([(0.6, 0.601), (0.601, 0.7)], False),
        ([(0.6, 0.601), (0.601, 0.60), (0.60, 0.7)], True),  # what held once holds
        ([(0.6, 0.7), (0.7, 0.70), (0.70, 0.702)], True),
        ([(0.60, 0.605), (0.605, 0.61)], False),  # a gain of exactly the threshold is one
    ],
)
def test_the_loop_stops_after_so_many_quiet_iterations(accuracies, stops):
    assert no_more_to_gain([(a, round(b, 3)) for a, b in accuracies], gain_below=0.005 - 1e-9, iterations=2) is stops
