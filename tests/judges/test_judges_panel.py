"""Weights, effective votes and report cards, on panels whose truth is planted."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from curation.intervals import wilson
from curation.judge_cards import PEOPLE, cards, methods, panel_card
from curation.verdicts import aggregate
from curation.vote_models import (
    ballots,
    dawid_skene,
    dawid_skene_weights,
    effective_votes,
    mirrored,
    stack,
    stacking_weights,
)


def vote(pair, judge, vote, first="chosen", replicate=0, status="ok"):
    answer = {"original": "candidate_1", "swapped": "candidate_2"}.get(vote, "")
    if first == "rejected":
        answer = {"candidate_1": "candidate_2", "candidate_2": "candidate_1"}.get(answer, "")
    return {
        "pair_id": pair,
        "judge": judge,
        "vote": vote,
        "shown_first": first,
        "answer": answer,
        "replicate": replicate,
        "status": status,
    }


def planted(accuracies, n=4000, seed=1):
    """Truth and votes of independent workers."""
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < 0.6
    right = rng.random((n, len(accuracies))) < np.array(accuracies)
    return truth, np.where(right == truth[:, None], 1, -1).astype(np.int8)


def test_votes_as_a_matrix():
    table = pa.Table.from_pylist(
        [
            vote("q", "a", "swapped"),
            vote("p", "a", "original"),
            vote("p", "a", "original", replicate=2),
            vote("p", "a", "swapped", "rejected", 1),
            vote("p", "b", "tie"),
            vote("q", "b", "original", status="error"),
        ]
    )
    made = ballots(table)
    assert made.pairs == ["p", "q"]
    assert made.workers == [("a", "chosen"), ("a", "rejected"), ("b", "chosen"), ("b", "rejected")]
    assert made.cast.tolist() == [[1, -1, 0, 0], [-1, 0, 0, 0]]
    assert ballots(table.slice(0, 0)).cast.shape == (0, 0)


def test_a_mirrored_pair_is_what_the_same_judges_would_have_said_of_it():
    # one judge: saw chosen first and voted original, saw rejected first and voted original
    assert mirrored(np.array([[1, 1], [1, 0], [1, -1]], np.int8)).tolist() == [[-1, -1], [0, -1], [1, -1]]


def panel_votes(n=600, seed=0, right_share=0.85):
    """Votes in both orders of a good judge, two weak copies of each other, and one that follows the position; most
    original labels are right."""
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < right_share
    good, weak = rng.random(n) < 0.9, rng.random(n) < 0.62
    rows = []
    for i in range(n):
        for judge, ok in (("good", good[i]), ("weak-1", weak[i]), ("weak-2", weak[i])):
            says = "original" if ok == truth[i] else "swapped"
            rows += [vote(f"p{i:04d}", judge, says, first, r) for r, first in enumerate(("chosen", "rejected"))]
        rows.append(vote(f"p{i:04d}", "first", "original", "chosen"))
        rows.append(vote(f"p{i:04d}", "first", "swapped", "rejected", 1))
    gold = [{"pair_id": f"p{i:04d}", "verified_order": "original" if t else "swapped"} for i, t in enumerate(truth)]
    return pa.Table.from_pylist(rows), pa.Table.from_pylist(gold)


def share_right(verdicts, gold):
    order = dict(zip(gold["pair_id"].to_pylist(), gold["verified_order"].to_pylist(), strict=True))
    return np.mean([v == order[p] for p, v in zip(*(verdicts[c].to_pylist() for c in ("pair_id", "verdict")),
                                                   strict=True)])  # fmt: skip


def test_weights_from_gold_see_through_copies_and_through_a_judge_that_follows_the_position():
    seen, gold = panel_votes(seed=0)
    fresh, truth = panel_votes(seed=1, right_share=0.3)  # elsewhere most original labels are wrong
    weights = stacking_weights(seen, gold)
    by_worker = {(r["judge"], r["shown_first"]): r["for_original"] for r in weights.to_pylist()}
    assert by_worker["good", "chosen"] == by_worker["good", "rejected"] > 3 * by_worker["weak-1", "chosen"]
    # nothing was learned about which order is the original one: the position's two votes cancel exactly
    assert by_worker["first", "chosen"] == by_worker["first", "rejected"]
    heads = share_right(aggregate(fresh, 2), truth)
    weighed = share_right(aggregate(fresh, 2, weights), truth)
    assert heads < 0.7 and weighed > 0.87
    # swapping every pair swaps every verdict
    swap = {"original": "swapped", "swapped": "original", "chosen": "rejected", "rejected": "chosen"}
    other = pa.Table.from_pylist(
        [r | {"vote": swap[r["vote"]], "shown_first": swap[r["shown_first"]]} for r in fresh.to_pylist()]
    )
    one, two = (aggregate(v, 2, weights)["verdict"].to_pylist() for v in (fresh, other))
    assert [swap[v] for v in one] == two


def test_weights_without_gold_find_the_judge_that_others_agree_with():
    rng = np.random.default_rng(3)
    truth = rng.random(500) < 0.8
    accuracies = {"a": 0.95, "b": 0.7, "c": 0.7, "d": 0.7, "e": 0.6}
    rows = [
        vote(f"p{i:04d}", judge, "original" if (rng.random() < a) == truth[i] else "swapped", first)
        for i in range(500)
        for judge, a in accuracies.items()
        for first in ("chosen", "rejected")
    ]
    votes = pa.Table.from_pylist(rows)
    weights = dawid_skene_weights(votes)
    weight = {r["judge"]: r["for_original"] for r in weights.to_pylist()}
    assert max(weight, key=weight.get) == "a" and min(weight, key=weight.get) == "e"
    assert weight["a"] == pytest.approx(np.log(0.95 / 0.05), abs=0.5)
    gold = pa.Table.from_pylist(
        [{"pair_id": f"p{i:04d}", "verified_order": "original" if t else "swapped"} for i, t in enumerate(truth)]
    )
    assert share_right(aggregate(votes, 2, weights), gold) > share_right(aggregate(votes, 2), gold)


def test_weights_are_the_same_whatever_the_order_of_the_votes():
    votes, gold = panel_votes(n=60)
    upside_down = votes.take(list(range(votes.num_rows))[::-1])
    for fit in (lambda v: stacking_weights(v, gold), dawid_skene_weights):
        assert fit(votes).equals(fit(upside_down))


def test_dawid_skene_finds_the_good_among_the_bad():
    accuracies = [0.95, 0.55, 0.55, 0.55, 0.55]
    truth, cast = planted(accuracies)
    counted = (cast.sum(1) > 0) == truth
    weighed = (dawid_skene(cast)[0] > 0.5) == truth
    # the best worker alone is right in 95 %; heads counted are right far less often
    assert counted.mean() < 0.80 < 0.93 < weighed.mean()


def test_dawid_skene_without_votes_knows_nothing():
    cast = np.array([[1, 1], [0, 0], [-1, -1]], np.int8)
    p, _ = dawid_skene(cast)
    assert p[1] == 0.5 and p[0] > 0.99 and p[2] < 0.01
    assert dawid_skene(np.zeros((0, 3), np.int8))[0].shape == (0,)


@pytest.mark.filterwarnings("ignore")  # of its own dependencies
def test_dawid_skene_is_crowd_kits():
    crowdkit = pytest.importorskip("crowdkit.aggregation", reason="crowd-kit is not installed")
    import pandas as pd

    _, cast = planted([0.9, 0.8, 0.7, 0.6], n=300)
    rows = [(i, w, int(v)) for i, line in enumerate(cast) for w, v in enumerate(line)]
    # Round by round, since the two stop by different rules.
    for rounds in (1, 2, 5):
        theirs = crowdkit.DawidSkene(n_iter=rounds, tol=0).fit_predict_proba(
            pd.DataFrame(rows, columns=["task", "worker", "label"])
        )
        assert np.allclose(dawid_skene(cast, rounds, tolerance=0)[0], theirs[1].to_numpy(), atol=1e-12)


def test_stacking_recovers_the_log_odds_of_independent_workers():
    accuracies = [0.9, 0.75, 0.5, 0.2]
    truth, cast = planted(accuracies, n=40_000)
    # the constant term that is left out would be the prior; balance it away
    keep = np.concatenate([np.flatnonzero(truth)[:12_000], np.flatnonzero(~truth)[:12_000]])
    weights = stack(cast[keep], truth[keep])
    wanted = [np.log(a / (1 - a)) for a in accuracies]
    assert np.allclose(weights, wanted, atol=0.08)
    assert weights[3] < 0  # mostly wrong is worth as much as mostly right
    heads = ((cast.sum(1) > 0) == truth).mean()
    assert ((cast @ weights > 0) == truth).mean() > heads + 0.1


def test_effective_votes():
    rng = np.random.default_rng(0)
    independent = rng.random((20_000, 5)) < 0.8
    assert effective_votes(independent) == pytest.approx(5, abs=0.3)
    one = rng.random((1000, 1)) < 0.8
    assert effective_votes(np.repeat(one, 5, axis=1)) == pytest.approx(1)
    # two blocks of copies are two votes: 4 / (1 + 3 * 1/3)
    two = rng.random((20_000, 2)) < 0.8
    assert effective_votes(np.repeat(two, 2, axis=1)) == pytest.approx(2, abs=0.1)
    assert np.isnan(effective_votes(one))


def test_a_card_by_hand():
    votes = pa.Table.from_pylist(
        [
            # always says candidate_1
            vote("p", "first", "original"),
            vote("p", "first", "swapped", "rejected", 1),
            vote("q", "first", "original"),
            vote("q", "first", "swapped", "rejected", 1),
            # sound; twice in one order, once refusing
            vote("p", "sound", "original"),
            vote("p", "sound", "original", "rejected", 1),
            vote("p", "sound", "original", replicate=2),
            vote("q", "sound", "swapped"),
            vote("q", "sound", "none", "rejected", 1, status="refused"),
            vote("q", "sound", "tie", replicate=2),
            vote("p", "silent", "none", status="not_recorded"),
        ]
    )
    known = pa.Table.from_pylist(
        [
            {"pair_id": "p", "verified_order": "original", "strata": ["math"], "chosen_chars": 10, "rejected_chars": 5},
            {"pair_id": "q", "verified_order": "swapped", "strata": ["other"], "chosen_chars": 7, "rejected_chars": 7},
        ]
    )
    people = [("p", "x", "original"), ("p", "y", "original"), ("p", "z", "swapped"), ("q", "x", "swapped")]
    people = pa.Table.from_pylist([dict(zip(PEOPLE.names, r, strict=True)) for r in people], PEOPLE)
    rows = {(r["judge"], r["stratum"], r["figure"]): r for r in cards(votes, known, people).to_pylist()}
    found = {key: (round(r["value"] * r["n"]), r["n"]) for key, r in rows.items()}
    assert found["first", "all", "prefers_first"] == (4, 4)
    assert found["first", "all", "flips_with_order"] == (2, 2)
    assert found["first", "all", "agrees_with_people"] == (2, 4)
    assert found["sound", "all", "agrees_with_people"] == (4, 4)
    assert found["sound", "math", "agrees_with_people"] == (3, 3)
    assert found["sound", "all", "flips_with_order"] == (0, 1)
    assert found["sound", "all", "prefers_longer"] == (3, 3)  # q's responses are equally long
    assert found["first", "all", "prefers_longer"] == (1, 2)
    assert found["sound", "all", "repeats_itself"] == (1, 1)  # two answers on p, chosen first
    assert found["sound", "all", "refuses"] == (1, 6) and found["sound", "all", "decides"] == (4, 6)
    assert not any(judge == "silent" for judge, _, _ in found)
    # of three people on p one pair of two agrees; one person on q agrees with nobody
    assert found["people", "all", "agrees_with_people"] == (1, 3) == found["people", "math", "agrees_with_people"]
    # on p alone, against each of its three people: sound says original three times, two of three people do
    assert found["sound", "all", "agrees_with_one_person"] == (6, 9)
    # four votes on two pairs that each split evenly: as good as certain that it is a half
    assert rows["first", "all", "agrees_with_people"]["pairs"] == 2


def test_votes_on_one_pair_are_not_independent():
    """Forty pairs, five equal votes each: the interval is that of forty votes, not of two hundred."""
    votes = pa.Table.from_pylist(
        [vote(f"p{i:02d}", "j", "original" if i < 28 else "swapped", replicate=r) for i in range(40) for r in range(5)]
    )
    known = pa.Table.from_pylist(
        [{"pair_id": f"p{i:02d}", "verified_order": "original", "strata": [], "chosen_chars": 1, "rejected_chars": 1}
         for i in range(40)]
    )  # fmt: skip
    row = next(r for r in cards(votes, known).to_pylist() if r["figure"] == "agrees_with_people")
    one = wilson(28, 40)
    assert (row["value"], row["n"], row["pairs"]) == (0.7, 200, 40)
    assert (row["low"], row["high"]) == (pytest.approx(one.low, abs=0.01), pytest.approx(one.high, abs=0.01))


def test_the_panel_s_card_tells_which_way_of_counting_agrees_best_with_people():
    votes, gold = panel_votes(n=400)
    known = pa.Table.from_pylist([r | {"strata": [], "chosen_chars": 1, "rejected_chars": 1} for r in gold.to_pylist()])
    credits = methods(votes, known)
    rows = {(r["judge"], r["figure"]): r for r in panel_card(credits, votes, known).to_pylist()}
    agrees = {j.removeprefix("panel: "): r["value"] for (j, f), r in rows.items() if f == "credit"}
    # Two copies of a weak judge and the good one make a majority of four voices only where they agree (0.9 x 0.62 right,
    # 0.1 x 0.38 wrong); elsewhere two of four decide nothing, which earns a half. Weights and the best judge do better.
    assert agrees["majority, both orders"] == pytest.approx(0.558 + 0.404 / 2, abs=0.04)
    assert agrees["stacking"] == pytest.approx(0.9, abs=0.04) == agrees["best judge on gold"]
    assert rows["panel: majority, both orders", "decides"]["value"] == pytest.approx(0.596, abs=0.05)
    gain = rows["panel: stacking", "gain_over_majority"]
    assert gain["low"] > 0.1 and gain["value"] == pytest.approx(agrees["stacking"] - agrees["majority, both orders"])
    # `first` follows the position, so that it never decides in both orders: nothing to correlate
    assert ("panel", "effective_votes") not in rows
    three = votes.filter(pc.not_equal(votes["judge"], "first"))
    rows = {(r["judge"], r["figure"]): r for r in panel_card(credits, three, known).to_pylist()}
    assert rows["panel", "effective_votes"]["value"] == pytest.approx(1.8, abs=0.2)  # 3 / (1 + 2 * 1/3)


def test_votes_of_recorded_judges_are_their_answers(tmp_path):
    """The back end `recorded`: both orders, a tie, nothing recorded."""
    from curation.identity import comparison_id, conv_id
    from resources.judges import VOTE_SCHEMA, panel
    from resources.lake import Lake
    from tests.support.judging import NO_EXAMPLES
    from tests.support.lakes import settings

    rows = [
        {"prompt": "x?", "a": "one", "b": "two", "winner": "1"},
        {"prompt": "x?", "a": "two", "b": "one", "winner": "1"},
        {"prompt": "y?", "a": "one", "b": "two", "winner": "0"},
    ]
    path = Path(tmp_path) / "answers.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    answers = {
        "path": str(path),
        "shape": "winner",
        "fields": {"prompt": "prompt", "a": "a", "b": "b", "winner": "winner"},
        "codes": {"a": ["1"], "b": ["2"], "tie": ["0"]},
    }
    made = settings(
        judges={"panel": [{"name": "j", "backend": "recorded", "model": "m-1", "answers": [answers]}], "quorum": 1}
    )

    def target(pair, asked, chosen, rejected):
        turns = [("user", asked)]
        return {
            "pair_id": pair,
            "comparison_id": comparison_id(conv_id(turns), chosen, rejected),
            "conversation": [{"role": "user", "content": asked}],
            "chosen": chosen,
            "rejected": rejected,
        }

    targets = pa.Table.from_pylist(
        [target("p", "x?", "two", "one"), target("q", "y?", "one", "two"), target("r", "z?", "one", "two")]
    )
    votes = panel(made, Lake(str(tmp_path / "lake")))[0].vote(targets, NO_EXAMPLES)
    assert votes.schema.equals(VOTE_SCHEMA)
    assert [
        (r["pair_id"], r["replicate"], r["shown_first"], r["answer"], r["vote"], r["status"]) for r in votes.to_pylist()
    ] == [
        ("p", 0, "chosen", "candidate_1", "original", "ok"),
        ("p", 1, "rejected", "candidate_1", "swapped", "ok"),
        ("q", 0, "chosen", "tie", "tie", "ok"),
        ("r", 0, "chosen", "", "none", "not_recorded"),
    ]
    assert {r["model"] for r in votes.to_pylist()} == {"m-1"}
