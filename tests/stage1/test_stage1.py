"""Stage 1's rules on small lakes: seed, batches, gold, undecided, retrieval."""

from dataclasses import replace

import dagster as dg
import pyarrow as pa
import pytest

from assets import seed as attributes
from assets import stage1
from assets.definitions import build
from assets.publishing import publish
from assets.table_asset import Rows
from curation.tables import (
    ANNOTATION_BATCH,
    ATTRIBUTES,
    CLEAN_POOL,
    CONTAMINATED,
    EMBEDDINGS,
    GOLD,
    GOLD_PREDICTIONS,
    HUMAN_LABELS,
    JUDGE_VOTES,
    SEED_SELECTION,
    SELECTION,
    UNANSWERED,
    VERDICTS,
)
from resources.lake import Lake
from resources.run import Run
from sql import statement
from tests.support.lakes import close, make, put, query, settings

IT0, IT1 = "iter_00", "iter_01"
GOLD_SQL = statement("stage1/gold")


def ids(n: int, start: int = 0) -> list[str]:
    return [f"p{i:03d}" for i in range(start, start + n)]


def test_the_seed_is_spread_over_strata_and_clusters(lake):
    """90 maths pairs, 6 editing, 4 planning; two editing pairs share a conversation cluster."""
    categories = ["math"] * 90 + ["editing"] * 6 + ["planning"] * 4
    names = ids(100)
    put(lake, CLEAN_POOL, [{"pair_id": p, "cluster_id": "same" if p in ("p090", "p091") else p} for p in names], "b00")
    put(lake, ATTRIBUTES, [{"pair_id": p, "category": c} for p, c in zip(names, categories, strict=True)], "b00")
    make(attributes.seed_selection, lake, stage1={"seed_people": 6, "seed_judges": 9})
    rows = query(lake, "SELECT split_part(stratum, ' / ', 1), count(*), max(inclusion) FROM seed_selection GROUP BY 1")
    found = {name: (n, inclusion) for name, n, inclusion in rows}
    assert found == {"math": (6, pytest.approx(6 / 90)), "editing": (5, 1.0), "planning": (4, 1.0)}
    shared = query(lake, "SELECT inclusion FROM seed_selection WHERE pair_id IN ('p090', 'p091')")
    assert shared == [(0.5,)]  # one of the two, at random
    desks = query(lake, "SELECT split_part(stratum, ' / ', 1), assigned_to, count(*) FROM seed_selection GROUP BY ALL")
    assert {d[:2]: d[2] for d in desks} == {
        ("math", "people"): 2, ("math", "judges"): 4, ("editing", "people"): 2, ("editing", "judges"): 3,
        ("planning", "people"): 2, ("planning", "judges"): 2,
    }  # fmt: skip
    coverage = query(
        lake, "SELECT category, pool, pairs, clusters, target, people + judges FROM seed_coverage ORDER BY 1"
    )
    assert coverage == [("editing", 6, 6, 5, 5.0, 5), ("math", 90, 90, 90, 6.0, 6), ("planning", 4, 4, 4, 4.0, 4)]


def test_the_coverage_is_checked_against_an_even_spread(lake):
    """Strata of 2, 7, 9 and 30 pairs; an even spread of 17 is 2, 5, 5, 5. Round robin gets there."""
    categories = ["editing"] * 2 + ["math"] * 7 + ["planning"] * 9 + ["coding"] * 30
    put(lake, CLEAN_POOL, [{"pair_id": p} for p in ids(48)], "b00")
    put(lake, ATTRIBUTES, [{"pair_id": p, "category": c} for p, c in zip(ids(48), categories, strict=True)], "b00")
    make(attributes.seed_selection, lake, stage1={"seed_people": 8, "seed_judges": 9})
    assert query(lake, "SELECT category, target, people + judges FROM seed_coverage ORDER BY 1") == [
        ("coding", 5.0, 5), ("editing", 2.0, 2), ("math", 5.0, 5), ("planning", 5.0, 5),
    ]  # fmt: skip


def test_a_gap_in_the_seed_is_in_the_coverage_report(lake):
    """12 seed pairs of maths; coding is in the pool but not among the seed's sources."""
    rows = [{"pair_id": p, "stage": "seed" if i < 12 else "stage1"} for i, p in enumerate(ids(20))]
    put(lake, CLEAN_POOL, rows, "b00")
    categories = ["math" if i < 12 else "coding" for i in range(20)]
    put(lake, ATTRIBUTES, [{"pair_id": p, "category": c} for p, c in zip(ids(20), categories, strict=True)], "b00")
    make(attributes.seed_selection, lake, stage1={"seed_people": 2, "seed_judges": 3})
    assert query(lake, "SELECT category, pool, pairs, target, people + judges FROM seed_coverage ORDER BY 1") == [
        ("coding", 8, 0, 0.0, 0), ("math", 12, 12, 5.0, 5),
    ]  # fmt: skip


def second_batch(lake, **stage):
    """50 open pairs; iteration 0 had p000 (people, cluster A) and p001 (judges, cluster B); it selected p010 to
    p019 by retrieval and p030 to p032 at random."""
    names = ids(50)
    cluster = {"p000": "A", "p001": "B", "p010": "A", "p011": "B"}
    put(lake, CLEAN_POOL, [{"pair_id": p, "cluster_id": cluster.get(p, p)} for p in names], "b00")
    objective = {"p015", "p016", "p017"}
    put(
        lake,
        ATTRIBUTES,
        [{"pair_id": p, "objectivity": "objective" if p in objective else "subjective"} for p in names],
        "b00",
    )
    put(lake, SEED_SELECTION, [{"pair_id": "p000", "stratum": "x", "assigned_to": "people"}])
    put(
        lake,
        ANNOTATION_BATCH,
        [
            {"pair_id": "p000", "cluster_id": "A", "assigned_to": "people"},
            {"pair_id": "p001", "cluster_id": "B", "assigned_to": "judges"},
        ],
        IT0,
    )
    rows = [{"pair_id": p, "why": "retrieved", "rank": i + 1, "score": 1 - i / 100} for i, p in enumerate(ids(10, 10))]
    rows += [{"pair_id": p, "why": "random", "rank": i + 1, "inclusion": 3 / 48} for i, p in enumerate(ids(3, 30))]
    put(lake, SELECTION, [{"inclusion": 1.0, "p": 0.7, **r} for r in rows], IT0)
    close(lake, IT0, stage1=stage)
    make(stage1.annotation_batch, lake, IT1, stage1=stage)


def desks(lake) -> dict[str, set[str]]:
    rows = query(lake, "SELECT assigned_to, list(pair_id) FROM annotation_batch WHERE iteration = 'iter_01' GROUP BY 1")
    return {desk: set(pairs) for desk, pairs in rows}


def test_a_batch_is_what_was_selected_with_its_probabilities(lake):
    second_batch(lake, batch=13, people_share=0.5)
    batch = "SELECT pair_id, why, inclusion, p FROM annotation_batch WHERE iteration = 'iter_01' ORDER BY 1"
    selected = "SELECT pair_id, why, inclusion, p FROM selection ORDER BY 1"
    assert query(lake, batch) == query(lake, selected)


def test_people_take_what_is_random_then_the_priority_cells_and_a_cluster_stays_at_its_desk(lake):
    """7 places: p010 is theirs by its cluster, p030 to p032 by chance, p015 to p017 are objective and of low
    controversiality. p011 belongs to the judges' cluster."""
    second_batch(lake, batch=14, people_share=0.5)
    assert desks(lake)["people"] == {"p010", "p030", "p031", "p032", "p015", "p016", "p017"}
    assert "p011" in desks(lake)["judges"]


def test_the_quota_does_not_turn_away_what_is_random(lake):
    """3 places, of which a known cluster takes one: all three random pairs stay with the people all the same."""
    second_batch(lake, batch=15, people_share=0.2, random_share=0.2)
    assert desks(lake)["people"] == {"p010", "p030", "p031", "p032"}


def test_what_a_closed_batch_left_comes_first_as_it_was_drawn_and_takes_a_place(lake):
    """The 7 places of the test above: p000 was left by the seed's people, so that p017 goes to the judges."""
    put(lake, UNANSWERED, [{"pair_id": "p000", "answers": 1, "closed": "by hand"}], IT0)
    second_batch(lake, batch=14, people_share=0.5)
    assert desks(lake)["people"] == {"p000", "p010", "p030", "p031", "p032", "p015", "p016"}
    again = "SELECT assigned_to, why, inclusion FROM annotation_batch WHERE pair_id = 'p000' ORDER BY iteration"
    first, second = query(lake, again)
    assert first == second == ("people", "seed", 1.0)


def test_an_iteration_does_not_open_before_the_one_before_it_is_closed(lake):
    put(lake, CLEAN_POOL, [{"pair_id": "p000"}], "b00")
    put(lake, ATTRIBUTES, [{"pair_id": "p000"}], "b00")
    put(lake, SEED_SELECTION, [{"pair_id": "p000", "stratum": "x", "assigned_to": "people"}])
    with pytest.raises(dg.Failure, match=r"not materialised: .*selection/iter_00, annotation_batch/iter_00"):
        list(publish(stage1.annotation_batch, Run(settings(), lake, IT1)))


def test_an_iteration_does_not_open_while_the_one_before_it_is_half_redone(lake):
    """Iteration 0 is run again and selects another pair; iteration 1 is opened anew and killed after its batch."""
    put(lake, CLEAN_POOL, [{"pair_id": p} for p in ids(9)], "b00")
    put(lake, ATTRIBUTES, [{"pair_id": p} for p in ids(9)], "b00")

    def selects(iteration: str, pair: str) -> None:
        put(lake, SELECTION, [{"pair_id": pair, "why": "retrieved", "rank": 1, "inclusion": 1.0, "p": 0.7}], iteration)
        close(lake, iteration)

    selects(IT0, "p001")
    make(stage1.annotation_batch, lake, IT1)
    selects(IT1, "p002")
    make(stage1.annotation_batch, lake, "iter_02")
    selects(IT0, "p003")
    make(stage1.annotation_batch, lake, IT1)
    with pytest.raises(
        dg.Failure,
        match=r"iter_02 is not opened: (human_labels|response_checks)/iter_01 .*changed: annotation_batch/iter_01",
    ) as e:
        make(stage1.annotation_batch, lake, "iter_02")
    assert not e.value.allow_retries
    assert query(lake, "SELECT pair_id FROM annotation_batch WHERE iteration = 'iter_02'") == [("p002",)]
    selects(IT1, "p004")  # the rest of iteration 1, then iteration 2: what a backfill does
    make(stage1.annotation_batch, lake, "iter_02")
    assert query(lake, "SELECT pair_id FROM annotation_batch WHERE iteration = 'iter_02'") == [("p004",)]


def test_a_flagged_pair_enters_neither_a_batch_nor_gold(lake):
    flagged = {
        "pair_id": "p000",
        "source": "s",
        "benchmark": "b",
        "item_id": "1",
        "rule": "13-gram",
        "span": "x",
        "n_matches": 1,
    }
    put(lake, CONTAMINATED, [flagged], "b00")
    put(lake, CLEAN_POOL, [{"pair_id": "p000"}], "b00")
    put(lake, ATTRIBUTES, [{"pair_id": "p000"}], "b00")
    put(lake, SEED_SELECTION, [{"pair_id": "p000", "stratum": "x", "assigned_to": "people"}])
    with pytest.raises(dg.Failure, match="annotation_batch/iter_00 was not published: nothing_contaminated"):
        make(stage1.annotation_batch, lake, IT0)
    with pytest.raises(dg.Failure, match="gold/iter_00 was not published: nothing_contaminated"):
        asked(lake, IT0, {"p000": ("c", "seed")})


def label(pair: str, verdict: str, who: str = "a", first: str = "chosen") -> dict:
    return {
        "event_id": pair + who, "pair_id": pair, "annotator": who, "verdict": verdict, "shown_first": first,
    }  # fmt: skip


def test_gold_is_the_peoples_majority_in_the_order_they_saw(lake):
    pairs = ["keep", "swap", "tie", "none"]
    put(lake, ANNOTATION_BATCH, [{"pair_id": p, "assigned_to": "people"} for p in pairs], IT0)
    put(
        lake,
        HUMAN_LABELS,
        [
            label("keep", "first"), label("keep", "second", "b", first="rejected"), label("keep", "second", "c"),
            label("swap", "first", first="rejected"),
            label("tie", "first"), label("tie", "second", "b"),
            label("none", "undecided"),
        ],
        IT0,
    )  # fmt: skip
    make(stage1.gold, lake, IT0)
    assert query(lake, "SELECT pair_id, verified_order, votes_original, votes_swapped FROM gold ORDER BY 1") == [
        ("keep", "original", 2, 1),
        ("swap", "swapped", 0, 1),
    ]
    put(
        lake,
        VERDICTS,
        [
            {"pair_id": "split", "verdict": "undecided", "reason": "tie"},
            {"pair_id": "nobody", "verdict": "undecided", "reason": "no_quorum"},
            {"pair_id": "sure", "verdict": "swapped"},
        ],
        IT0,
    )
    put(
        lake,
        ANNOTATION_BATCH,
        [{"pair_id": p, "assigned_to": "people"} for p in pairs]
        + [{"pair_id": p, "assigned_to": "judges"} for p in ("split", "nobody", "sure")],
        IT0,
    )
    make(stage1.silver, lake, IT0)
    assert query(lake, "SELECT pair_id, desk FROM undecided ORDER BY 1") == [
        ("none", "people"), ("split", "judges"), ("tie", "people"),
    ]  # fmt: skip
    assert query(lake, "SELECT pair_id, verified_order FROM silver") == [("sure", "swapped")]


def asked(lake, iteration: str, rows: dict[str, tuple[str, str]]) -> None:
    """A batch of pair -> (cluster, why) at the people's desk, all of them answered, and the gold made of it."""
    batch = [{"pair_id": p, "cluster_id": c, "assigned_to": "people", "why": why} for p, (c, why) in rows.items()]
    put(lake, ANNOTATION_BATCH, batch, iteration)
    put(lake, HUMAN_LABELS, [label(p, "first") for p in rows], iteration)
    make(stage1.gold, lake, iteration)


def roles(lake, iteration: str) -> dict[str, int]:
    """Clusters by role."""
    sql = f"SELECT role, count(DISTINCT cluster_id) FROM gold WHERE iteration = '{iteration}' GROUP BY 1"
    return dict(query(lake, sql))


def test_clusters_are_dealt_to_roles_by_their_shares(lake):
    """200 clusters of two pairs at 35, 15, 15 and 10 %: each share to within one cluster."""
    asked(lake, IT0, {p: (f"c{i // 2}", "seed") for i, p in enumerate(ids(400))})
    assert query(lake, "SELECT cluster_id FROM gold GROUP BY 1 HAVING count(DISTINCT role) > 1") == []
    wanted = {"test": 20, "calibration": 30, "validation": 30, "few_shot": 70, "train": 50}
    found = roles(lake, IT0)
    assert found.keys() == wanted.keys()
    assert all(abs(found[r] - wanted[r]) <= 1 for r in wanted), found


def test_a_small_run_goes_without_no_role(lake):
    asked(lake, IT0, {p: (p, "seed") for p in ids(12)})
    assert set(roles(lake, IT0)) == {"train", "few_shot", "validation", "calibration", "test"}


def test_a_cluster_keeps_its_role_and_only_chance_brings_new_ones_to_test_and_calibration(lake):
    """Iteration 1 meets every cluster of iteration 0 again, and 60 new ones, 6 of them drawn at random."""
    asked(lake, IT0, {p: (f"c{i}", "seed") for i, p in enumerate(ids(40))})
    again = {f"q{i:03d}": (f"c{i}", "retrieved") for i in range(40)}
    new = {p: (p, "random" if i < 6 else "retrieved") for i, p in enumerate(ids(60, 100))}
    asked(lake, IT1, again | new)
    moved = "SELECT cluster_id FROM gold GROUP BY 1 HAVING count(DISTINCT role) > 1"
    assert query(lake, moved) == []
    held = query(
        lake,
        "SELECT DISTINCT why FROM gold JOIN annotation_batch USING (pair_id, iteration)"
        " WHERE iteration = 'iter_01' AND role IN ('test', 'calibration') AND pair_id LIKE 'p%'",
    )
    assert held == [("random",)]
    assert sum(roles(lake, IT1).values()) == 100


def test_a_second_role_for_a_cluster_is_refused(lake, monkeypatch):
    """The check sees what the statement would have to prevent."""
    asked(lake, IT0, {p: (p, "seed") for p in ids(40)})
    monkeypatch.setattr(
        stage1, "statement", lambda name: GOLD_SQL.replace("WHERE iteration < $iteration", "WHERE false")
    )
    with pytest.raises(dg.Failure, match="one_role_a_cluster"):
        asked(lake, IT1, {f"q{i}": (p, "seed") for i, p in enumerate(ids(8))})


@pytest.mark.parametrize("role", ["train", "validation", "calibration", "test"])
def test_examples_come_from_their_role_alone(lake, role):
    put(lake, GOLD, [{"pair_id": "g", "verified_order": "original", "role": role}], IT0)
    with pytest.raises(dg.Failure, match="examples_of_their_role"):
        publish_votes(lake, "t", ["g"])


@pytest.mark.parametrize("same", ["cluster_id", "comparison_id"])
def test_a_pair_is_no_example_for_its_kin(lake, same):
    put(lake, CLEAN_POOL, [{"pair_id": "t", "comparison_id": "t", same: "x"}, {"pair_id": "g", same: "x"}], "b00")
    put(lake, GOLD, [{"pair_id": "g", "verified_order": "original", "role": "few_shot"}], IT0)
    with pytest.raises(dg.Failure, match="never_its_own_example"):
        publish_votes(lake, "t", ["g"])


def test_judges_are_not_asked_about_gold(lake):
    put(lake, GOLD, [{"pair_id": "t", "verified_order": "original"}], IT0)
    with pytest.raises(dg.Failure, match="gold_is_not_judged"):
        publish_votes(lake, "t", [])


def publish_votes(lake, pair: str, examples: list[str]) -> None:
    """Votes as they would come from a judge who was shown these examples, through the checks of judge_votes."""

    def votes(_):
        vote = {"judge": "one", "replicate": 0, "shown_first": "chosen", "answer": "tie", "vote": "tie", "status": "ok"}
        vote |= {"model": "m", "request_key": "", "prompt_version": "1", "cost_micros": 0, "simulated": True}
        vote |= {"wording": "", "effort": "", "example_places": []}
        yield Rows(
            JUDGE_VOTES, pa.Table.from_pylist([{"pair_id": pair, "examples": examples, **vote}], JUDGE_VOTES.schema)
        )

    make(replace(stage1.judge_votes, fn=votes), lake, IT0)
    assert lake.note(JUDGE_VOTES, IT0) is None


def test_silver_next_to_gold_is_refused(lake):
    put(lake, GOLD, [{"pair_id": "g", "cluster_id": "same", "verified_order": "original"}], IT0)
    put(lake, HUMAN_LABELS, [], IT0)
    put(lake, ANNOTATION_BATCH, [{"pair_id": "s", "cluster_id": "same", "assigned_to": "judges"}], IT0)
    put(lake, VERDICTS, [{"pair_id": "s", "verdict": "original"}], IT0)
    with pytest.raises(dg.Failure, match="apart_from_gold"):
        make(stage1.silver, lake, IT0)
    assert lake.note(stage1.SILVER, IT0) is None


def test_retrieval_finds_the_nearest_open_pairs_and_nothing_else(lake):
    """Two gold pairs at 0 and 90 degrees; p at angle i degrees. 'asked' and 'mirror' are nearest but not open."""
    import math

    def at(degrees: float) -> list[float]:
        return [math.cos(math.radians(degrees)), math.sin(math.radians(degrees))]

    angle = {"gold_x": 0, "gold_y": 90, "asked": 0.5, "mirror": 0.6, "twin": 0.1}
    angle |= {f"p{i:02d}": float(i) for i in range(1, 90)}
    put(
        lake,
        CLEAN_POOL,
        [{"pair_id": p, "conflict": p == "mirror", "cluster_id": "x" if p in ("gold_x", "twin") else p} for p in angle],
        "b00",
    )
    put(lake, ATTRIBUTES, [{"pair_id": p} for p in angle], "b00")
    put(lake, EMBEDDINGS, [{"pair_id": p, "vector": at(a)} for p, a in angle.items()], "b00")
    put(lake, ANNOTATION_BATCH, [{"pair_id": p, "assigned_to": "people"} for p in ("gold_x", "gold_y", "asked")], IT0)
    put(lake, GOLD, [{"pair_id": p, "verified_order": "original"} for p in ("gold_x", "gold_y")], IT0)
    put(
        lake,
        GOLD_PREDICTIONS,
        [
            {"pair_id": "gold_x", "p": 0.5, "k": 8, "reward_better": 0, "reward_worse": 0, "model_id": "m"},
            {"pair_id": "gold_y", "p": 0.7, "k": 3, "reward_better": 0, "reward_worse": 0, "model_id": "m"},
        ],
        IT0,
    )
    make(stage1.retrieved, lake, IT0)
    rows = query(lake, "SELECT query_pair, pair_id, similarity FROM retrieved ORDER BY query_pair, rank")
    assert [(q, p) for q, p, _ in rows] == [("gold_x", f"p{i:02d}") for i in range(1, 9)] + [
        ("gold_y", "p89"), ("gold_y", "p88"), ("gold_y", "p87"),
    ]  # fmt: skip
    assert rows[0][2] == pytest.approx(math.cos(math.radians(1)), abs=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_retrieval_equals_brute_force(lake, seed):
    """300 random unit vectors in clusters of one to forty, twenty of them equal: the same pairs, order and cosines."""
    import numpy as np

    from resources.retrieval.vectors import Index

    rng = np.random.default_rng(seed)
    x = rng.normal(size=(300, 16)).astype(np.float32)
    x[40:60] = x[40]
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    clusters = ["big"] * 40 + [f"c{i // 3}" for i in range(260)]
    rows = pa.table({"pair_id": ids(300), "cluster_id": clusters, "vector": list(x)})
    index = Index(lake, "t", rows.cast(rows.schema.set(2, pa.field("vector", pa.list_(pa.float32())))).to_reader(), 16)
    for q in (0, 5, 39, 41, 59, *rng.integers(300, size=25)):
        cosine = np.round(1 - x.astype(np.float64) @ x[q].astype(np.float64), 5)
        order = sorted((d, p) for d, p, c in zip(cosine, ids(300), clusters, strict=True) if c != clusters[q])
        found = list(index.nearest(x[q].tolist(), 8, clusters[q]))
        assert [p for p, _ in found] == [p for _, p in order[:8]]
        assert [s for _, s in found] == pytest.approx([1 - d for d, _ in order[:8]], abs=1e-4)
    assert [p for p, _ in index.nearest(x[0].tolist(), 300, "big")] and not list(index.nearest(x[0].tolist(), 0, ""))


def test_the_index_of_a_large_pool_finds_what_brute_force_finds(lake, monkeypatch):
    """5,000 vectors about 50 centres, with an IVF index as above 50,000: of the eight nearest more than 95 %."""
    import numpy as np

    from resources.retrieval import vectors

    monkeypatch.setattr(vectors, "ANN_ROWS", 2_000)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 64))[rng.integers(50, size=5_000)] + 0.5 * rng.normal(size=(5_000, 64))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    names = [f"p{i:04d}" for i in range(5_000)]
    rows = pa.table({"pair_id": names, "cluster_id": names, "vector": list(x)})
    rows = rows.cast(rows.schema.set(2, pa.field("vector", pa.list_(pa.float32()))))
    index = vectors.Index(lake, "t", rows.to_reader(), 64)
    assert [i.index_type for i in index._table.list_indices()] == ["IvfSq"]
    hits = 0
    for q in range(0, 5_000, 50):
        cosine = x @ x[q]
        cosine[q] = -1
        near = {names[i] for i in np.argsort(-cosine)[:8]}
        hits += len(near & {p for p, _ in index.nearest(x[q].tolist(), 8, names[q])})
    assert hits > 0.95 * 8 * 100


def test_another_selection_makes_the_next_iteration_stale_and_the_same_one_does_not(lake):
    second_batch(lake, batch=13, people_share=0.5)
    configured = settings(stage1={"batch": 13, "people_share": 0.5})
    assert stage1.annotation_batch.stale(configured, lake, IT1) is None
    rows = [{"pair_id": "p044", "why": "random", "rank": 1, "inclusion": 0.5, "p": 0.5}]
    put(lake, SELECTION, rows, IT0)
    assert stage1.annotation_batch.stale(configured, lake, IT1) == "changed: selection/iter_00"


def test_more_iterations_reopen_none(lake):
    second_batch(lake, batch=13, people_share=0.5)
    longer = settings(stage1={"batch": 13, "people_share": 0.5, "iterations": 9})
    assert stage1.annotation_batch.stale(longer, lake, IT1) is None


def test_the_sensor_opens_the_next_iteration_until_nothing_is_selected(tmp_path):
    """As Dagster asks it, with materialisations in a real instance."""
    configured = settings(lake={"path": str(tmp_path), "buckets": 1}, stage1={"iterations": 2})
    definitions, lake = build(configured), Lake(str(tmp_path))
    sensor = definitions.get_sensor_def("stage1_loop")
    some = [{"pair_id": "p", "why": "random", "rank": 1, "inclusion": 1.0}]

    def after(iteration: str, rows: list[dict]):
        put(lake, SELECTION, rows, iteration)
        with dg.DagsterInstance.ephemeral() as instance:
            instance.report_runless_asset_event(dg.AssetMaterialization("selection", partition=iteration))
            with dg.build_sensor_context(instance=instance, definitions=definitions) as context:
                tick = sensor.evaluate_tick(context)
        return [r.partition_key for r in tick.run_requests], tick.skip_message

    assert after(IT0, some)[0] == [IT1]
    assert after("iter_02", some) == ([], "iter_02 was the last iteration")
    assert "selected nothing" in after(IT0, [])[1]
    put(lake, ANNOTATION_BATCH, [], IT1)
    assert "is open already" in after(IT0, some)[1]
    assert sensor.default_status == dg.DefaultSensorStatus.STOPPED
