"""Tables in a store of objects: the same files, the same rows, nothing lost between writers, nothing seen half."""

import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.publishing import publish
from assets.table_asset import Rows, table_asset
from cli.main import main
from curation.tables import GOLD, GOLD_REWARD_MODEL, KEPT, RAW_POOL, SILVER, Table
from resources.integrity import Examined, damages, set_aside
from resources.lake import Lake, LakeError, Missing
from resources.lake import lake as lake_module
from resources.run import Run
from resources.settings import ConfigError
from resources.settings.stages import LakeSettings
from tests.support.installed import needs
from tests.support.lakes import put, query, settings
from tests.support.object_store import SECRET, ObjectStore, serving

deltalake = pytest.importorskip("deltalake")
obstore = pytest.importorskip("obstore")
object_tables = pytest.importorskip("resources.lake.object_tables")
objects = pytest.importorskip("resources.lake.objects")
needs("moto")


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Iterator[ObjectStore]:
    with serving(tmp_path_factory.mktemp("store")) as server:
        yield server


@pytest.fixture
def there(store, tmp_path, request) -> Lake:
    """An empty lake with its tables in the store."""
    return at(store, tmp_path, request.node.name)


def at(store: ObjectStore, folder: Path, name: str) -> Lake:
    return Lake(str(folder / "lake"), tables=f"{store.bucket}/{name.partition('[')[0]}")


def kept(*pairs: str) -> list[dict]:
    return [{"pair_id": pair, "route": "confident", "reason": "agreed"} for pair in pairs]


def rows_of(table: Table, rows: list[dict]) -> pa.Table:
    return pa.Table.from_pylist([{n: row.get(n) for n in table.schema.names} for row in rows], table.schema)


def test_a_table_reads_the_same_from_both(there, lake):
    for one in (there, lake):
        put(one, KEPT, kept("b", "a"), "b00")
        put(one, KEPT, kept("c"), "b01")
        put(one, RAW_POOL, [{"pair_id": "p", "source": "s"}], "s")
    for sql in (
        "SELECT * FROM kept ORDER BY pair_id",
        "SELECT bucket, count(*) FROM kept GROUP BY bucket ORDER BY bucket",
        "SELECT * FROM raw_pool",
        "SELECT * FROM gold",
    ):
        assert query(there, sql) == query(lake, sql)
    assert there.partitions(KEPT) == ["b00", "b01"] and there.rows(KEPT, "b00") == 2
    assert there.note(KEPT, "b00") == lake.note(KEPT, "b00")
    with there.storage.open(KEPT, "b00") as file:
        assert file.read() == lake.path(KEPT, "b00").read_bytes()
    with pytest.raises(Missing, match="silver/iter_00"):
        there.versions([(KEPT, "b01"), (SILVER, "iter_00")])


# ---- writers -------------------------------------------------------------------------------------------------------
def _publish(root: str, tables: str, key: str, times: int, end) -> None:
    try:
        for n in range(times):
            put(Lake(root, tables=tables), KEPT, kept(f"{key}-{n}"), key)
        end.put(None)
    except LakeError as e:
        end.put(str(e))


def _side_by_side(lake: Lake, keys: list[str], times: int) -> list[str | None]:
    """A process for each key, publishing so many times; what each ended with."""
    context = multiprocessing.get_context("spawn")
    end = context.Queue()
    work = [context.Process(target=_publish, args=(lake.root, lake.tables, key, times, end)) for key in keys]
    for process in work:
        process.start()
    ends = [end.get(timeout=300) for _ in work]
    for process in work:
        process.join()
    return ends


@pytest.mark.parametrize("begun", [False, True])
def test_a_commit_that_another_comes_before_is_tried_again(there, monkeypatch, begun):
    """Somebody begins the table's log, or adds to it, between this run's look at it and its commit."""
    if begun:
        put(there, KEPT, kept("old"), "b01")
    uri, tried = f"{there.tables}/kept", []
    at, name = (
        (deltalake.DeltaTable, "create_write_transaction")
        if begun
        else (object_tables, "create_table_with_add_actions")
    )
    commit = getattr(at, name)

    def late(*args, **more):
        tried.append(name)
        if len(tried) == 1 and begun:
            kept_for = {"delta.logRetentionDuration": "interval 31 days"}
            deltalake.DeltaTable(uri, storage_options=objects.options()).alter.set_table_properties(kept_for)
        elif len(tried) == 1:
            commit(args[0], args[1], [], *args[3:], **more)
        return commit(*args, **more)

    monkeypatch.setattr(at, name, late)
    put(there, KEPT, kept("new"), "b00")
    assert len(tried) == 2 if begun else tried == [name]
    assert query(there, "SELECT pair_id FROM kept ORDER BY 1") == [("new",), ("old",)][: 1 + begun]


def test_writers_of_different_partitions_lose_nothing_though_they_looked_before(there):
    """Each has seen the table as it was before the others published."""
    looks = [there.pinned([KEPT]) for _ in range(4)]
    for n, look in enumerate(looks):
        put(look, KEPT, kept(f"pair-{n}"), f"b0{n}")
    assert query(there, "SELECT bucket, pair_id FROM kept ORDER BY bucket") == [
        (f"b0{n}", f"pair-{n}") for n in range(4)
    ]


@pytest.mark.slow
def test_four_processes_that_write_one_table_lose_nothing(there):
    put(there, KEPT, kept("first"), "b00")
    assert _side_by_side(there, [f"b0{n}" for n in range(4)], 5) == [None] * 4
    assert query(there, "SELECT bucket, pair_id FROM kept ORDER BY bucket") == [
        (f"b0{n}", f"b0{n}-4") for n in range(4)
    ]


@pytest.mark.parametrize("before", ["nothing", "a version"])
def test_of_two_runs_of_one_partition_one_wins_and_the_other_says_so(there, before):
    if before == "a version":
        put(there, KEPT, kept("old"), "b00")
    one, other = there.pinned([KEPT]), there.pinned([KEPT])
    put(one, KEPT, kept("winner"), "b00")
    with pytest.raises(LakeError) as lost:
        put(other, KEPT, kept("loser"), "b00")
    assert str(lost.value).startswith("kept/b00: another run has published s3://") and "\n" not in str(lost.value)
    assert query(there, "SELECT pair_id FROM kept") == [("winner",)]
    put(there, KEPT, kept("later"), "b00")
    assert query(there, "SELECT pair_id FROM kept") == [("later",)]


def killed_before_it_commits(lake: Lake) -> None:
    object_tables.ObjectTables._commit = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    put(lake, KEPT, kept("half"), "b00")


def test_a_run_that_is_killed_before_its_commit_leaves_nothing_to_see(there):
    """Its object is there, no log names it, and it goes with the next vacuum that is so bold."""
    put(there, KEPT, kept("old"), "b00")
    run = multiprocessing.get_context("spawn").Process(target=killed_before_it_commits, args=(there,))
    run.start()
    run.join(60)
    assert run.exitcode == -signal.SIGKILL
    assert query(there, "SELECT pair_id FROM kept") == [("old",)]
    assert list(there.vacuum(30, dry_run=False)) == [], "it may be about to be committed"
    [(name, objects, size)] = there.vacuum(0, dry_run=True)
    assert (name, objects) == ("kept", 1) and size > 500
    assert list(there.vacuum(0, dry_run=False)) == [(name, objects, size)]
    assert list(there.vacuum(0, dry_run=True)) == []
    assert query(there, "SELECT pair_id FROM kept") == [("old",)]


def test_a_store_that_ignores_conditions_is_refused(tmp_path):
    with serving(tmp_path, careless=True) as server:
        lake = at(server, tmp_path, "lake")
        with pytest.raises(ConfigError) as refused:
            put(lake, KEPT, kept("p"), "b00")
        assert str(refused.value).startswith(f"{lake.tables}: this store ignores If-None-Match") and "\n" not in str(
            refused.value
        )
        assert not [r for r in server.requests() if "kept" in r and r.startswith("PUT")]


def test_a_step_whose_partition_another_run_publishes_meanwhile_fails_in_one_line(there):
    @table_asset(KEPT, group="pool")
    def slow(run):
        put(Lake(there.root, tables=there.tables), KEPT, kept("winner"), run.partition)
        yield Rows(KEPT, rows_of(KEPT, kept("loser")))

    with pytest.raises(dg.Failure, match=r"^kept/b00: another run has published s3://") as failed:
        list(publish(slow, Run(settings(), there, "b00")))
    assert not failed.value.allow_retries and query(there, "SELECT pair_id FROM kept") == [("winner",)]


# ---- readers -------------------------------------------------------------------------------------------------------
def test_a_step_sees_one_state_whatever_others_publish(there):
    put(there, KEPT, kept("old"), "b00")
    step = there.pinned()
    assert step.versions([(KEPT, "b00")]) == there.versions([(KEPT, "b00")])
    put(there, KEPT, kept("new", "and more"), "b00")
    put(there, KEPT, kept("other"), "b01")
    assert query(step, "SELECT pair_id FROM kept") == [("old",)] and step.rows(KEPT, "b00") == 1
    assert step.partitions(KEPT) == ["b00"]
    put(step, GOLD, [], "iter_00")
    assert step.note(GOLD, "iter_00"), "what it publishes itself it sees"
    assert len(query(there, "SELECT pair_id FROM kept")) == 3


def test_the_lake_as_it_was_at_a_time(there):
    before = datetime.now(UTC)
    time.sleep(1.1)  # stores tell seconds
    put(there, KEPT, kept("old"), "b00")
    time.sleep(1.1)
    between = datetime.now(UTC)
    time.sleep(1.1)
    put(there, KEPT, kept("new"), "b00")
    put(there, GOLD, [], "iter_00")
    assert query(there.pinned(as_of=between), "SELECT pair_id FROM kept") == [("old",)]
    assert there.pinned(as_of=between).partitions(GOLD) == []
    assert query(there.pinned(as_of=before), "SELECT pair_id FROM kept") == []
    assert query(there, "SELECT pair_id FROM kept") == [("new",)]
    assert [n for n, *_ in there.vacuum(0, dry_run=False)] == ["kept"]
    with pytest.raises(LakeError, match="the object is gone"):
        query(there.pinned(as_of=between), "SELECT pair_id FROM kept")


def test_former_states_of_files_in_a_folder_are_not_kept(lake):
    with pytest.raises(ConfigError, match="only of tables in a store"):
        lake.pinned(as_of=datetime.now(UTC))


def test_only_the_tables_that_are_read_are_opened(there, store):
    for n in range(3):
        put(there, KEPT, kept(f"p{n}"), f"b0{n}")
    put(there, RAW_POOL, [{"pair_id": "p", "source": "s"}], "s")
    began = len(store.requests())
    assert query(there.only([KEPT], "a step").pinned(), "SELECT count(*) FROM kept WHERE bucket = 'b01'") == [(1,)]
    asked = store.requests()[began:]
    assert all("/kept/" in request for request in asked) and len(asked) <= 8, asked
    assert not [request for request in asked if "bucket=b02" in request], "the query names another partition"


def test_an_object_that_is_gone_or_damaged_is_named(there, lake):
    from resources.lake.objects import bucket_of, split

    for key in ("b00", "b01", "b02"):
        put(there, KEPT, kept(f"pair of {key}"), key)
    gone, hurt = (there.address(KEPT, key) for key in ("b00", "b01"))
    content = bytearray(lake.write(KEPT, rows_of(KEPT, kept("pair of b01")), "b01").path.read_bytes())
    content[60] ^= 1
    obstore.put(bucket_of(hurt), split(hurt)[1], bytes(content))
    obstore.delete(bucket_of(gone), split(gone)[1])
    found = list(damages(there.pinned(), examined := Examined()))
    assert {d.path: d.why for d in found} == {
        gone: "its log names it, and the object is gone",
        hurt: "its bytes are not those that were written",
    }
    assert examined.files == 3
    assert [was for was, _ in set_aside(there, found)] == [gone, hurt]
    assert query(there, "SELECT pair_id FROM kept") == [("pair of b02",)]
    put(there, KEPT, kept("again"), "b00")
    assert there.partitions(KEPT) == ["b00", "b02"] and not list(damages(there.pinned(), Examined()))


def test_objects_that_were_emptied_cut_off_or_grew_are_found_and_taken_away(there):
    for key in ("b00", "b01", "b02", "b03"):
        put(there, KEPT, kept(f"pair of {key}"), key)
    row = {
        f.name: "x" if pa.types.is_string(f.type) else 1.0 if pa.types.is_floating(f.type) else 1
        for f in GOLD_REWARD_MODEL.schema
        if not f.nullable
    }
    put(there, GOLD_REWARD_MODEL, [row])
    emptied, cut, grown = (str(there.address(KEPT, key)) for key in ("b00", "b01", "b02"))
    model = str(there.address(GOLD_REWARD_MODEL))

    def content(address: str) -> bytes:
        return obstore.get(objects.bucket_of(address), objects.split(address)[1]).bytes().to_bytes()

    broken = bytearray(content(model))
    broken[-40:-30] = b"\xff" * 10  # of the footer
    for address, now in (
        (emptied, b""), (cut, content(cut)[:-9]), (grown, content(grown) + b"\0\0"), (model, bytes(broken))
    ):  # fmt: skip
        obstore.put(objects.bucket_of(address), objects.split(address)[1], now)
    found = list(damages(there.pinned(), Examined()))
    assert {d.path for d in found} == {emptied, cut, grown, model}
    assert [d.why[:19] for d in found if d.path == emptied] == ["it has 0 bytes, and"]
    set_aside(there, found)
    assert query(there, "SELECT pair_id FROM kept") == [("pair of b03",)]
    assert not list(damages(there.pinned(), Examined()))


def test_a_part_of_an_hour_keeps_what_was_replaced_within_it_and_what_is_gone_is_counted_once(there):
    for name in ("one", "two", "three"):
        put(there, KEPT, kept(name), "b00")
    assert list(there.vacuum(0.02, dry_run=True)) == []
    [(_, n, size)] = there.vacuum(0, dry_run=False)
    assert n == 2 and size > 1_000 and list(there.vacuum(0, dry_run=True)) == []
    put(there, KEPT, kept("four"), "b00")
    assert [n for _, n, _ in there.vacuum(0, dry_run=True)] == [1]


def test_a_file_of_an_older_release_reads_with_nulls(there, monkeypatch):
    put(there, KEPT, kept("new"), "b00")

    def older(table, reader, path, note):
        rows, version = write(table, reader, path, note)
        found = pq.read_table(path, partitioning=None)
        pq.write_table(found.drop_columns(["p_right"]).replace_schema_metadata(pq.read_metadata(path).metadata), path)
        return rows, version

    write = lake_module.write
    with monkeypatch.context() as then:
        then.setattr(lake_module, "write", older)
        put(there, KEPT, kept("old"), "b01")
    assert query(there, "SELECT bucket, pair_id, p_right FROM kept ORDER BY 1") == [
        ("b00", "new", None),
        ("b01", "old", None),
    ]


def test_a_column_that_a_release_adds_comes_into_the_log_and_others_read_it(there, monkeypatch):
    with monkeypatch.context() as then:
        then.setattr(object_tables, "_schema", lambda table: deltalake.Schema.from_arrow(
            pa.schema([("pair_id", pa.string()), ("route", pa.string()), ("reason", pa.string()), ("bucket", pa.string())])
        ))  # fmt: skip
        put(there, KEPT, kept("old"), "b00")
    put(there, KEPT, [{"pair_id": "new", "route": "confident", "reason": "agreed", "p_right": 0.5}], "b01")
    log = deltalake.DeltaTable(f"{there.tables}/kept", storage_options={"allow_http": "true"})
    found = (
        deltalake.QueryBuilder().register("kept", log).execute("SELECT pair_id, p_right, bucket FROM kept ORDER BY 3")
    )
    assert pa.table(found.read_all()).to_pylist() == [
        {"pair_id": "old", "p_right": None, "bucket": "b00"},
        {"pair_id": "new", "p_right": 0.5, "bucket": "b01"},
    ]


@pytest.mark.parametrize(
    "look", [lambda x: x.pinned(), lambda x: list(x.vacuum(1, True)), lambda x: x.partitions(KEPT)]
)
def test_what_a_store_takes_and_is_not_installed_is_said(tmp_path, monkeypatch, look):
    monkeypatch.setitem(sys.modules, "deltalake", None)
    monkeypatch.delitem(sys.modules, "resources.lake.object_tables", raising=False)
    monkeypatch.delattr("resources.lake.object_tables", raising=False)
    with pytest.raises(ConfigError, match=r"^lake\.tables = s3://b/p needs deltalake: pip install 'assay\[s3\]'$"):
        look(Lake(str(tmp_path), tables="s3://b/p"))


# ---- the command line ----------------------------------------------------------------------------------------------
@pytest.fixture
def here(tmp_path, store, request, monkeypatch) -> Lake:
    """The lake of a configuration with its tables in the store, and the process where its file is."""
    for name in ("DAGSTER_HOME", "ASSAY_CONFIG", "ASSAY_SET"):
        monkeypatch.setenv(name, "")  # so that what a command sets is taken back
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    name = request.node.name.partition("[")[0]
    text = f'[lake]\npath = "lake"\nbuckets = 2\ntables = "{store.bucket}/{name}"\n[[sources]]\nname = "s"\npath = "s.jsonl"\n'
    (tmp_path / "assay.toml").write_text(text)
    return at(store, tmp_path, name)


def test_tables_go_to_a_store_and_come_back_byte_for_byte(here, lake, tmp_path, capsys):
    local = lake
    put(local, KEPT, kept("a"), "b00")
    put(local, KEPT, kept("b"), "b01")
    put(local, RAW_POOL, [{"pair_id": "p", "source": "s"}], "s")
    (Path(local.root) / "files" / "models").mkdir(parents=True)
    (tmp_path / "local.toml").write_text('[lake]\npath = "lake"\n[[sources]]\nname = "s"\npath = "s.jsonl"\n')
    assert main(["lake", "copy", here.tables, "--config", "local.toml"]) == 0
    assert f'tables = "{here.tables}"' in capsys.readouterr().out
    assert main(["lake", "copy", here.tables, "--config", "local.toml"]) == 0
    assert "0 partitions" in (out := capsys.readouterr().out) and "3 were there" in out
    assert main(["verify"]) == 0 and "all is what was written" in capsys.readouterr().out
    assert main(["sql", "SELECT count(*) AS n FROM kept", "--csv"]) == 0 and capsys.readouterr().out == '"n"\n2\n'
    assert main(["backup", "kept"]) == 0
    for table, key in ((KEPT, "b00"), (KEPT, "b01"), (RAW_POOL, "s")):
        assert Lake("kept").path(table, key).read_bytes() == local.path(table, key).read_bytes()
    again = f"{here.tables}-again"
    (tmp_path / "again.toml").write_text(
        (tmp_path / "assay.toml").read_text().replace('"lake"', '"new"').replace(here.tables, again)
    )
    assert main(["restore", "kept", "--config", "again.toml"]) == 0
    assert query(Lake("new", tables=again), "SELECT pair_id FROM kept ORDER BY 1") == [("a",), ("b",)]
    assert Path("new/files/models").is_dir() and not list(Path("new").rglob("data.parquet"))
    put(here, KEPT, kept("other"), "b00")
    assert main(["lake", "copy", here.tables, "--config", "local.toml"]) == 2
    assert "another kept/b00 is there" in capsys.readouterr().err
    assert main(["lake", "copy", "elsewhere"]) == 2 and "`assay backup elsewhere` copies" in capsys.readouterr().err
    assert not Path("elsewhere").exists()


def test_a_lake_is_not_restored_into_another(here, lake, tmp_path, capsys):
    put(lake, KEPT, kept("a"), "b00")
    put(here, KEPT, kept("of another"), "b01")
    (tmp_path / "local.toml").write_text('[lake]\npath = "lake"\n[[sources]]\nname = "s"\npath = "s.jsonl"\n')
    assert main(["backup", "saved", "--config", "local.toml"]) == 0
    shutil.rmtree("lake")
    assert main(["restore", "saved"]) == 2 and "another kept/b01 is there" in capsys.readouterr().err
    assert query(here, "SELECT pair_id FROM kept") == [("of another",)], "nothing was published"


@pytest.mark.parametrize(
    "asked",
    [
        "SELECT count(*) FROM kept JOIN GOLD USING (pair_id)",
        "SELECT count(*) FROM kept JOIN query_table('gold') USING (pair_id)",
    ],
)
def test_tables_are_found_however_a_query_names_them(here, capsys, asked):
    put(here, KEPT, kept("a"), "b00")
    put(here, GOLD, [{"pair_id": "a", "verified_order": "original"}], "iter_00")
    assert main(["sql", asked, "--csv"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "1"


def test_a_secret_stands_nowhere(here, store, capsys, caplog):
    """Neither in an object nor in a file of the lake nor in a message, and an address cannot hold one."""
    from resources.lake.objects import bucket_of

    put(here, KEPT, kept("a"), "b00")
    assert main(["sql", "SELECT * FROM kept"]) == 0
    here.shell()
    bucket = bucket_of(store.bucket)
    for chunk in obstore.list(bucket):
        for one in chunk:
            assert SECRET.encode() not in obstore.get(bucket, one["path"]).bytes().to_bytes(), one["path"]
    for path in (p for p in Path(here.root).rglob("*") if p.is_file()):
        assert SECRET.encode() not in path.read_bytes(), path
    assert SECRET not in "".join(capsys.readouterr()) + caplog.text
    for wrong in (
        "s3://key:secret@bucket/lake",
        "s3://bucket",
        "gs://bucket/lake",
        "s3://bucket/a b",
        "s3://bucket/../x'y",
    ):
        with pytest.raises(ValueError, match="tables"):
            LakeSettings(tables=wrong)


def test_a_store_that_cannot_be_reached_is_named_in_one_line(here, monkeypatch, capsys):
    from resources.lake import objects

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(objects, "RETRIES", 0)
    objects._opened.cache_clear()
    try:
        assert main(["sql", "SELECT count(*) FROM kept"]) == 2
    finally:
        objects._opened.cache_clear()
    err = capsys.readouterr().err
    assert err.startswith(f"assay: {here.tables}") and "AWS_ENDPOINT_URL" in err and err.count("\n") == 1


def test_the_views_for_a_plain_shell_name_the_objects_and_cost_no_read(here, store):
    put(here, KEPT, kept("a"), "b00")
    address = here.address(KEPT, "b00")
    began = len(store.requests())
    path = here.shell()
    assert not [r for r in store.requests()[began:] if ".parquet" in r and "_delta_log" not in r]
    with duckdb.connect(str(path), read_only=True) as con:
        [(text,)] = con.execute("SELECT sql FROM duckdb_views() WHERE view_name = 'kept'").fetchall()
    assert address in text
