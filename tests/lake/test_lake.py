"""The lake: what is written is what is read, bytes are reproducible, broken rows never land."""

import json
import shutil
from itertools import pairwise
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.tables import GOLD, RAW_POOL, SCORES, SILVER, TABLES
from resources.lake import Lake, LakeError, Missing, OtherSchema, in_batches, staging
from resources.lake.lake import SCHEMA
from training.atomic import beside

groups = staging._groups


def pair(i: int, **more) -> dict:
    turns = [{"role": "user", "content": f"question {i} \u2028 with a separator"}]
    row = {"pair_id": f"p{i:05d}", "conv_id": "c", "comparison_id": "x", "conversation": turns}
    row |= {"chosen": "a", "rejected": "b", "source": "s", "label_origin": "human", "stage": "seed", "joined": 0}
    return row | {"row": i, "part": 0, "priority": 1, "n_chars": 3, "ahead_by": None} | more


def pairs(*rows: dict) -> pa.Table:
    return pa.Table.from_pylist(list(rows), RAW_POOL.schema)


def test_rows_come_back_as_they_were_sorted_by_key(lake):
    rows = [pair(i) for i in (3, 1, 2)]
    assert lake.write(RAW_POOL, pairs(*rows), "s").rows == 3
    with lake.connect() as con:
        back = con.sql("SELECT * FROM raw_pool").to_arrow_table().to_pylist()
    assert back == sorted(rows, key=lambda r: r["pair_id"])


def test_bytes_do_not_depend_on_order_batching_or_threads(lake, tmp_path):
    rows = [pair(i) for i in range(45_000)]
    one = lake.write(RAW_POOL, pairs(*rows), "s")
    other = Lake(str(tmp_path / "other"), threads=1)
    shuffled = pairs(*rows[::-1]).to_batches(max_chunksize=777)
    two = other.write(RAW_POOL, shuffled, "s")
    assert one.version == two.version
    assert one.path.read_bytes() == two.path.read_bytes()
    changed = other.write(RAW_POOL, pairs(*rows[:-1], pair(44_999, chosen="c")), "s")
    assert changed.version != one.version


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([pair(1), pair(1)], "stands in two rows"),
        ([pair(1, chosen=None)], "nulls in chosen"),
    ],
)
def test_broken_rows_never_land(lake, rows, message):
    good = lake.write(RAW_POOL, pairs(pair(7)), "s")
    loose = pa.schema([f.with_nullable(True) for f in RAW_POOL.schema])
    with pytest.raises(LakeError, match=message):
        lake.write(RAW_POOL, pa.Table.from_pylist(rows, loose), "s")
    assert lake.note(RAW_POOL, "s")["version"] == good.version
    assert [p.name for p in good.path.parent.iterdir()] == ["data.parquet"]


def test_what_is_worked_on_at_a_time_follows_neither_the_rows_nor_their_length(lake):
    """Few rows where they are long, many where they are short, one where it alone is too long; none is lost."""
    lengths = [*range(3_000), *[40_000] * 50, *[10] * 3_000, 500_000, 1, 200_000, 2]
    with lake.connect() as con:
        con.register("texts", pa.table({"i": range(len(lengths)), "text": ["x" * n for n in lengths]}))
        found = list(in_batches(con.sql("SELECT * FROM texts"), 1_000, 100_000))
    assert [n for b in found for n in b.column("i").to_pylist()] == list(range(len(lengths)))
    assert [len(t) for b in found for t in b.column("text").to_pylist()] == lengths
    assert all(b.num_rows == 1 or b.nbytes <= 100_000 for b in found) and max(b.num_rows for b in found) == 1_000
    small = [b.nbytes for b in found if b.num_rows < 1_000]
    assert all(a + b > 100_000 for a, b in pairwise(small[:-1])), "no more batches than needed"


def test_a_row_group_of_long_texts_has_fewer_rows(lake, tmp_path, monkeypatch):
    """An Arrow column of texts ends at 2 GiB, and a writer holds a row group."""
    monkeypatch.setattr(staging, "GROUP_BYTES", 2_000_000)
    rows = [pair(i, chosen=f"{i} " + "x" * (2_000 if i < 2_500 else 0)) for i in range(23_000)]
    seen = []
    monkeypatch.setattr(staging, "_groups", lambda reader: groups(seen.append(b.num_rows) or b for b in reader))
    one = lake.write(RAW_POOL, pairs(*rows), "s")
    assert max(seen) == staging.STEP and sum(seen) == 23_000
    with pq.ParquetFile(one.path) as file:
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
    assert sum(sizes) == 23_000 and sizes[:2] == [1_000, 1_000] and max(sizes) > 10_000
    assert Lake(str(tmp_path / "b"), threads=1).write(RAW_POOL, pairs(*rows[::-1]), "s").version == one.version
    monkeypatch.undo()
    plain = lake.write(RAW_POOL, pairs(*[pair(i) for i in range(21_500)]), "s")
    with pq.ParquetFile(plain.path) as file:
        assert [file.metadata.row_group(i).num_rows for i in range(2)] == [20_000, 1_500]


def test_too_little_memory_names_what_to_change(tmp_path):
    rows = pairs(*[pair(i, chosen=f"{i}" * 20_000) for i in range(300)])
    with pytest.raises(LakeError, match=r"raw_pool/s: DuckDB needs more than memory_limit = 3MB; raise it"):
        Lake(str(tmp_path), memory_limit="3MB").write(RAW_POOL, rows, "s")


def test_a_repeated_key_is_found_across_row_groups(lake):
    rows = [pair(i) for i in range(20_000)] + [pair(19_999)]
    with pytest.raises(LakeError, match="p19999"):
        lake.write(RAW_POOL, pairs(*rows), "s")


def test_unknown_and_missing_columns_are_named(lake):
    with pytest.raises(LakeError, match=r"missing columns \['share'\], unknown columns \['shares'\]"):
        lake.write(
            SILVER,
            pa.table({"pair_id": ["p"], "cluster_id": ["c"], "verified_order": ["original"], "shares": [1.0]}),
            "i",
        )


def test_every_table_can_be_queried_before_it_exists(lake):
    with lake.connect() as con:
        for name, table in TABLES.items():
            found = con.sql(f'SELECT * FROM "{name}"')
            assert found.fetchall() == []
            assert set(table.schema.names) <= set(found.columns)
        assert con.execute("SELECT * FROM ledger").fetchall() == []


def test_a_discarded_stage_leaves_nothing(lake):
    with lake.staged(SILVER, [], "iter_00") as staged:
        assert staged.path.exists()
    assert lake.partitions(SILVER) == []
    with pytest.raises(Missing, match="silver/iter_00"):
        lake.versions([(SILVER, "iter_00")])


def test_a_plain_duckdb_shell_reads_the_same_views(lake):
    import duckdb

    row = {"pair_id": "p", "cluster_id": "c", "verified_order": "swapped", "role": "train", "votes_original": 0}
    lake.write(GOLD, pa.Table.from_pylist([row | {"votes_swapped": 1}], GOLD.schema), "iter_00")
    with duckdb.connect(str(lake.shell()), read_only=True) as con:
        assert con.execute("SELECT pair_id, label_source, iteration FROM verified").fetchall() == [
            ("p", "people", "iter_00")
        ]


def test_what_is_being_written_is_neither_read_nor_removed_and_what_the_dead_left_is(lake):
    lake.write(RAW_POOL, pairs(pair(1)), "s")
    target = lake.path(RAW_POOL, "s")
    left = target.parent / ".writing-left"
    left.mkdir()
    (left / "data.parquet").write_bytes(b"PAR1 half a file")
    with beside(target) as one, beside(target) as other:
        one.write_bytes(b"PAR1 not yet a file")
        assert not left.exists() and one.parent.exists() and one != other
        with lake.connect() as con:
            assert con.execute("SELECT count(*) FROM raw_pool").fetchall() == [(1,)]
    assert [p.name for p in target.parent.iterdir()] == ["data.parquet"]


def test_a_folder_may_have_any_name(tmp_path):
    lake = Lake(str(tmp_path / "it's [a] *lake*?"))
    lake.write(
        SILVER,
        pa.Table.from_pylist(
            [{"pair_id": "p", "cluster_id": "c", "verified_order": "original", "share": 1.0}], SILVER.schema
        ),
        "iter_00",
    )
    with lake.connect() as con:
        assert con.execute("SELECT pair_id, iteration FROM silver").fetchall() == [("p", "iter_00")]


@pytest.mark.parametrize(("schema", "who"), [(None, "an older"), (1, "an older"), (SCHEMA + 1, "a newer")])
def test_a_lake_of_another_schema_is_refused_by_name_with_the_way_out(lake, tmp_path, schema, who):
    """A lake from before the file was written has tables and no version."""
    lake.write(RAW_POOL, pairs(pair(1)), "s")
    other = Path(shutil.copytree(lake.root, tmp_path / "other"))
    (other / "lake.json").unlink()
    if schema:
        (other / "lake.json").write_text(json.dumps({"schema": schema}))
    before = sorted(p.relative_to(other) for p in other.rglob("*"))
    said = f"other: made by {who} Assay .schema {schema or 1}, this is {SCHEMA}.: .* Move everything in it but `files`"
    there = Lake(str(other))
    with pytest.raises(OtherSchema, match=said), there.connect():
        pass
    for asked in (lambda: there.note(RAW_POOL, "s"), lambda: there.write(SILVER, [], "iter_00")):
        with pytest.raises(OtherSchema, match=said):
            asked()
    assert sorted(p.relative_to(other) for p in other.rglob("*")) == before


def test_an_empty_folder_and_one_that_holds_files_alone_are_no_lake_of_before(tmp_path):
    lake = Lake(str(tmp_path))
    lake.folder("calls")
    with lake.connect() as con:
        assert con.execute("SELECT count(*) FROM raw_pool").fetchall() == [(0,)]
    assert not (tmp_path / "lake.json").exists()
    lake.write(RAW_POOL, pairs(pair(1)), "s")
    assert json.loads((tmp_path / "lake.json").read_text()) == {"schema": SCHEMA}


def test_a_table_that_lacks_a_column_which_a_view_uses_is_null_there_until_it_is_made_again(lake):
    """As where the code has got a column since: the lake opens, so that what is stale can be asked for."""
    row = {"pair_id": "p", "cluster_id": "c", "verified_order": "swapped", "role": "train", "votes_original": 0}
    lake.write(GOLD, pa.Table.from_pylist([row | {"votes_swapped": 1}], GOLD.schema), "iter_00")
    path = lake.path(GOLD, "iter_00")
    pq.write_table(pq.read_table(path, partitioning=None).drop_columns(["role"]), path)
    with lake.connect() as con:
        assert con.execute("SELECT pair_id, role, iteration FROM verified").fetchall() == [("p", None, "iter_00")]


def of_an_older_release(lake: Lake, key: str, column: str) -> None:
    """A partition of `scores` as a release wrote it that had one column less."""
    rows = pa.Table.from_pylist([score(key)], SCORES.schema)
    path = lake.write(SCORES, rows, key).path
    pq.write_table(pq.read_table(path, partitioning=None).drop_columns([column]), path)


def score(key: str) -> dict:
    blank = {"string": "x", "double": 0.5, "int64": 1, "bool": True, "float": 0.5}
    return {f.name: blank[str(f.type)] for f in SCORES.schema} | {SCORES.key[0]: f"p-{key}"}


@pytest.mark.parametrize("older", ["b00", "b01"])
def test_files_of_an_older_release_stand_beside_those_of_this_one(tmp_path, older):
    """Whichever file comes first; what it lacks is null, and a shell sees the same."""
    lake = Lake(str(tmp_path), keys=(("bucket", ("b00", "b01")),))
    newer = {"b00": "b01", "b01": "b00"}[older]
    of_an_older_release(lake, older, "p_gold")
    query = "SELECT bucket, p_gold FROM scores ORDER BY bucket"
    with lake.connect() as con:
        assert con.execute(query).fetchall() == [(older, None)], "alone"
    lake.write(SCORES, pa.Table.from_pylist([score(newer)], SCORES.schema), newer)
    expected = sorted([(older, None), (newer, 0.5)])
    with lake.connect() as con:
        assert con.execute(query).fetchall() == expected
        assert con.execute("SELECT count(*) FROM (FROM scores)").fetchall() == [(2,)]
    with duckdb.connect(str(lake.shell()), read_only=True) as con:
        assert con.execute(query).fetchall() == expected


def test_a_model_is_found_where_the_lake_stands_now(tmp_path):
    lake, elsewhere = Lake(str(tmp_path / "lake")), tmp_path / "other" / "model"
    inside = lake.folder("models") / "abc" / "model"
    for folder in (inside, elsewhere):
        folder.mkdir(parents=True)
    assert lake.model("models/abc/model") == inside == lake.model(str(inside))
    assert lake.model("/gone/lake/files/models/abc/model") == inside, "a whole path, of a lake that was moved"
    assert lake.model(elsewhere) == elsewhere, "no model of the lake"
    moved = Path(shutil.move(lake.root, tmp_path / "moved"))
    for path in ("models/abc/model", str(inside)):
        assert Lake(str(moved)).model(path) == moved / "files" / "models" / "abc" / "model"
