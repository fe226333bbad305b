"""A pool that grows (spec 0.05): what joins later renames nothing, admits nothing again, and is counted."""

import json
import random
from dataclasses import replace
from pathlib import Path

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest

from assets import pool, stage1
from assets import seed as attributes
from curation.clusters import clusters
from curation.identity import conv_id
from curation.tables import (
    ANNOTATION_BATCH,
    ATTRIBUTES,
    CLEAN_POOL,
    CLUSTERS,
    EMBEDDINGS,
    GOLD,
    GOLD_PREDICTIONS,
    RAW_POOL,
    SEED_SELECTION,
)
from resources.lake import Lake
from resources.run import Run
from resources.settings import Settings
from sql import statement
from tests.pool.test_pool import EXAMS, PROMPTS, benchmark, pair  # noqa: F401  (the fixture)
from tests.support import lakes
from tests.support.lakes import published, put, query, settings

STEPS = (pool.sources, pool.raw_pool, pool.deduped, pool.benchmark_prompts, pool.clusters,
         pool.benchmark_hits, pool.clean_pool)  # fmt: skip
LONG = " ".join(f"word{i}" for i in range(60))


def make(folder: Path, *sources: dict, buckets: int = 3, benchmarks: tuple[str, ...] = ("exam",), steps=STEPS) -> Lake:
    """Stage 0 in one lake, every step that is not up to date, as `assay run` would."""
    config = configured(folder, *sources, buckets=buckets, benchmarks=benchmarks)
    lake = Lake.of(config)
    for step in steps:
        for key in config.partition_keys(step.partition) if step.partition else [None]:
            if step.stale(config, lake, key):
                published(step, Run(config, lake, key))
    return lake


def configured(folder: Path, *sources: dict, buckets: int = 3, benchmarks: tuple[str, ...] = ("exam",)) -> Settings:
    """The configuration of a lake in this folder, its sources written beside it."""
    listed = []
    for source in sources:
        path = folder / f"{source['name']}.jsonl"
        path.write_text("".join(json.dumps(r) + "\n" for r in source["records"]))
        listed.append({k: v for k, v in source.items() if k != "records"} | {"path": str(path)})
    house = {"path": str(folder / "lake"), "buckets": buckets}
    return settings(sources=listed, lake=house, benchmarks=[{"name": name} for name in benchmarks])


OLD = (
    {"name": "a", "priority": 10, "records": [pair("Q1"), pair("Q2"), pair("Q1"), pair("Q3", "x", "y"), pair(LONG)]},
    {"name": "b", "priority": 20, "records": [pair("Q2"), pair("Q4"), pair(PROMPTS["long"])]},
)
NEW = {
    "name": "c", "priority": 1, "joined": 1,  # the best priority does not move what was there before
    "records": [
        pair("Q1"), pair("Q4"), pair("Q4"),  # known
        pair("N1"), pair("N1"), pair("N2"), pair("N2", "a", "b"),  # three new pairs, one repeated
        pair(PROMPTS["short"]), pair(PROMPTS["long"], "other", "answers"),  # contaminated
        pair("Q3", "y", "x"),  # contradicts an old pair
        pair(LONG + " more"),  # nearly an old conversation
        pair("N3", "same", "same"),
    ],
}  # fmt: skip
ROWS = (
    "SELECT pair_id, source, row, part, conflict, conversation, chosen, rejected, cluster_id FROM clean_pool "
    "WHERE joined = 0 ORDER BY pair_id"
)


def test_what_joins_later_changes_no_old_row_and_is_counted(tmp_path):
    before = query(make(tmp_path, *OLD), ROWS)
    assert len(before) == 5
    lake = make(tmp_path, *OLD, NEW)
    assert query(lake, ROWS) == before
    assert query(lake, "SELECT count(*), count(DISTINCT pair_id) FROM deduped") == [(13, 13)]
    wanted = "joined, source, unreadable, unusable, pairs, repeated, known, contaminated, new, contradicting"
    assert query(lake, f"SELECT {wanted} FROM growth ORDER BY 1, 2") == [
        (0, "a", 0, 0, 5, 1, 0, 0, 4, 0),
        (0, "b", 0, 0, 3, 1, 0, 1, 1, 0),
        (1, "c", 0, 1, 11, 1, 3, 2, 5, 1),
    ]
    # the new conversation joined the old one's cluster, whichever hash is smaller
    old = conv_id([("user", LONG)])
    assert query(lake, "SELECT count(*) FROM clusters WHERE cluster_id = '" + old + "'") == [(2,)]
    # the old pair stays open to selection, the newcomer that contradicts it does not
    assert query(lake, "SELECT source FROM deduped WHERE conflict") == [("c",)]


def test_a_source_is_imported_again_for_its_own_sake_alone(tmp_path):
    lake = make(tmp_path, *OLD)
    one, other = OLD
    changes = {
        "another source": ((*OLD, NEW), {"c"}),
        "its licence": ((one, other | {"license": "MIT"}), {"b"}),
        "its priority": ((one | {"priority": 3}, other), {"a"}),
        "its bytes": ((one, other | {"records": other["records"][1:]}), {"b"}),
        "nothing": (OLD, set()),
    }
    for change, (sources, again) in changes.items():
        config = configured(tmp_path, *sources)
        stale = {n for n in config.partition_keys("source") if pool.sources.stale(config, lake, n)}
        assert stale == again, change
    versions = {n: lake.note(RAW_POOL, n) for n in "ab"}
    lake = make(tmp_path, *OLD, NEW)
    assert {n: lake.note(RAW_POOL, n) for n in "ab"} == versions
    make(tmp_path, one, other | {"license": "MIT"}, NEW)
    config = configured(tmp_path, one, other, NEW)
    make(tmp_path, one, other, NEW, steps=(pool.sources,))
    assert [n for n in "abc" if pool.raw_pool.stale(config, lake, n)] == ["b"]


def test_the_ledger_closes_between_import_and_deduplication(tmp_path):
    """Pairs that stand in the pool already come again: their records wait as well."""
    make(tmp_path, *OLD)
    lake = make(tmp_path, *OLD, NEW, steps=(pool.sources, pool.raw_pool))
    read = (
        "SELECT (SELECT count(*) FROM raw_pool) + (SELECT count(*) FROM unusable) + (SELECT count(*) FROM quarantine)"
    )
    assert query(lake, "SELECT sum(records) FROM ledger") == query(lake, read) == [(20,)]
    assert query(lake, "SELECT source, records FROM ledger WHERE reason = 'not yet deduplicated'") == [("c", 11)]


def test_the_distinct_pairs_have_a_view_with_their_texts(tmp_path):
    lake = make(tmp_path, *OLD)
    with_texts = "SELECT pair_id, source, row, conversation, chosen, rejected FROM deduped_pairs ORDER BY pair_id"
    assert [r[:3] for r in query(lake, with_texts)] == query(
        lake, "SELECT pair_id, source, row FROM deduped ORDER BY 1"
    )
    clean = "SELECT pair_id, source, row, conversation, chosen, rejected FROM clean_pool"
    assert set(map(str, query(lake, clean))) < set(map(str, query(lake, with_texts)))


def test_a_table_with_another_column_makes_its_old_partitions_stale(tmp_path):
    lake, config = make(tmp_path, *OLD), configured(tmp_path, *OLD)
    assert pool.clusters.stale(config, lake, None) is None
    nullable = replace(CLUSTERS, schema=pa.schema([f.with_nullable(True) for f in CLUSTERS.schema]))
    wider = replace(CLUSTERS, schema=CLUSTERS.schema.append(pa.field("size", pa.int64())))
    for table in (nullable, wider):
        assert replace(pool.clusters, tables=(table,)).stale(config, lake, None) == "code or settings changed"


def test_rows_that_grew_in_two_steps_are_those_of_a_pool_made_at_once(tmp_path):
    (tmp_path / "steps").mkdir()
    (tmp_path / "once").mkdir()
    make(tmp_path / "steps", *OLD)
    grown, whole = make(tmp_path / "steps", *OLD, NEW), make(tmp_path / "once", *OLD, NEW)
    for step in STEPS:
        for table in step.tables:
            if table.name not in ("sources", "quarantine"):  # they name the folder
                everything = f"SELECT * FROM {table.name} ORDER BY ALL"
                assert query(grown, everything) == query(whole, everything), table.name


def everything(lake: Lake) -> dict[str, list[tuple]]:
    """Every row of stage 0, without what says which bucket or file it lies in."""
    found = {}
    for table in (t for step in STEPS for t in step.tables if t.name not in ("sources", "quarantine")):
        if table.name != "benchmark_scans":
            left_out = "EXCLUDE (bucket)" if table.partition == "bucket" else ""
            found[table.name] = query(lake, f"SELECT * {left_out} FROM {table.name} ORDER BY ALL")
    return found


def test_a_source_taken_out_of_the_configuration_leaves_the_pool(tmp_path):
    (tmp_path / "less").mkdir()
    (tmp_path / "once").mkdir()
    make(tmp_path / "less", *OLD, NEW)
    less, once = make(tmp_path / "less", *OLD), make(tmp_path / "once", *OLD)
    assert everything(less) == everything(once)
    assert query(less, "SELECT DISTINCT source FROM ledger ORDER BY 1") == [("a",), ("b",)]
    assert everything(make(tmp_path / "less", *OLD, NEW)) == everything(make(tmp_path / "once", *OLD, NEW))


def test_another_number_of_buckets_divides_the_pool_anew(tmp_path):
    before = everything(make(tmp_path, *OLD, buckets=3))
    for buckets in (1, 4, 2):
        after = everything(make(tmp_path, *OLD, buckets=buckets))
        after["benchmark_hits"], before["benchmark_hits"] = (sorted(set(x["benchmark_hits"])) for x in (after, before))
        assert after == before


def test_fewer_buckets_and_a_benchmark_taken_away_in_one_edit(tmp_path, monkeypatch):
    """Half-way a pair stands in its new bucket as clean and in a former one, not yet made again, as contaminated."""
    monkeypatch.setitem(EXAMS, "old", {"x": "Count the sheep"})
    source = {
        "name": "a",
        "records": [pair(f"Q{i}") for i in range(8)] + [pair("Count the sheep", f"c{i}") for i in range(40)],
    }
    lake = make(tmp_path, source, buckets=4, benchmarks=("exam", "old"))
    assert query(lake, "SELECT count(DISTINCT bucket), count(*) FROM contaminated") == [(4, 40)]
    lake = make(tmp_path, source, buckets=3)
    assert query(lake, "SELECT (SELECT count(*) FROM clean_pool), (SELECT count(*) FROM contaminated)") == [(48, 0)]


@pytest.mark.parametrize("step", [pool.benchmark_hits, pool.clean_pool])
def test_no_bucket_is_made_from_rows_that_have_moved_since_they_were_deduplicated(tmp_path, step):
    source = {"name": "a", "records": [pair(f"Q{i}") for i in range(6)] + [pair(PROMPTS["long"])]}
    moved = source | {"records": ["a line on top", *source["records"]]}
    lake = make(tmp_path, source, buckets=1)
    before = everything(lake)
    config = configured(tmp_path, moved, buckets=1)
    make(tmp_path, moved, buckets=1, steps=(pool.sources, pool.raw_pool))
    with pytest.raises(dg.Failure, match="Make `deduped` again first"):
        published(step, Run(config, lake, "b00"))
    names = [t.name for t in (*pool.benchmark_hits.tables, *pool.clean_pool.tables) if t.name in before]
    after = everything(lake)
    assert [after[n] for n in names] == [before[n] for n in names]
    assert everything(make(tmp_path, source, buckets=1)) == before and len(before["clean_pool"]) == 6


def test_a_later_text_joins_one_old_cluster_and_never_merges_two():
    """The bridge resembles two texts that do not resemble each other; a second newcomer resembles only the first."""
    words = [f"w{i}" for i in range(200)]
    left, bridge, right = (" ".join(words[i : i + 170]) for i in (0, 12, 24))
    texts = {"m": left, "n": right, "a": bridge, "b": bridge + " end"}
    came = {"m": 0, "n": 0, "a": 1, "b": 2}
    for seed in range(5):
        order = random.Random(seed).sample(sorted(texts), 4)
        found = dict(clusters([([n], pa.array([texts[n]]), np.array([came[n]])) for n in order]))
        assert found == {"m": "m", "n": "n", "a": "m", "b": "m"}
    together = dict(clusters([([n], pa.array([texts[n]]), np.zeros(1, int)) for n in texts]))
    assert set(together.values()) == {"a"}


def test_the_seed_is_drawn_from_what_was_there_first(tmp_path):
    lake = Lake(str(tmp_path))
    joined = {"p1": 0, "p2": 1, "p3": 0, "p4": 2}
    put(lake, CLEAN_POOL, [{"pair_id": p, "stage": "seed", "joined": j} for p, j in joined.items()], "b00")
    put(lake, ATTRIBUTES, [{"pair_id": p} for p in joined], "b00")
    lakes.make(attributes.seed_selection, lake, stage1={"seed_people": 10, "seed_judges": 10})
    assert {p for (p,) in query(lake, "SELECT pair_id FROM seed_selection")} == {"p1", "p3"}


def test_an_iteration_sees_only_what_had_joined_by_then(tmp_path):
    lake = Lake(str(tmp_path))
    names = [f"p{i:02d}" for i in range(40)]
    joined = dict(zip(names, [0] * 10 + [1] * 10 + [2] * 20, strict=True))
    put(lake, CLEAN_POOL, [{"pair_id": p, "stage": "stage1", "joined": j} for p, j in joined.items()], "b00")
    put(lake, ATTRIBUTES, [{"pair_id": p} for p in names], "b00")
    put(lake, EMBEDDINGS, [{"pair_id": p, "vector": [1.0, 0.0]} for p in names], "b00")
    put(lake, SEED_SELECTION, [{"pair_id": "p00", "assigned_to": "people", "stratum": "s"}])
    put(lake, ANNOTATION_BATCH, [{"pair_id": "p00", "assigned_to": "people"}], "iter_00")
    put(lake, GOLD, [{"pair_id": "p00", "verified_order": "original"}], "iter_00")
    put(
        lake,
        GOLD_PREDICTIONS,
        [
            {
                "pair_id": "p00",
                "p": 0.1,
                "k": 40,
                "role": "train",
                "reward_better": 0.0,
                "reward_worse": 1.0,
                "model_id": "m",
            }
        ],
        "iter_00",
    )
    lakes.make(stage1.retrieved, lake, "iter_00", stage1={"k_max": 40})
    offered = {p for (p,) in query(lake, "SELECT pair_id FROM retrieved")}
    assert offered and all(joined[p] <= 1 for p in offered)
    assert any(joined[p] == 1 for p in offered)  # the next iteration may ask about what joins with it
    with lake.connect() as con:  # what random and every other policy choose from
        open_ones = con.execute(statement("stage1/candidates"), parameters={"iteration": "iter_00"}).fetchall()
    assert {row[0] for row in open_ones} == {p for p, j in joined.items() if j <= 1} - {"p00"}
