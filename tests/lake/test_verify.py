"""Whether a lake is what was written: every flipped bit, lost file and changed row is found, and nothing else is called
damaged."""

import json
import random
import re
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets import stage1
from cli.main import main
from curation.tables import CLEAN_POOL, GOLD, HUMAN_LABELS, MODEL_FIELDS, REWARD_MODEL
from resources import settings
from resources.integrity import Damage, Examined, damages
from resources.lake import Lake, digests
from resources.lake_copy import copy
from resources.llm.call_store import LostCalls
from resources.retrieval.vectors import Index
from tests.support.judging import NO_EXAMPLES, body_for, honest, judge, targets
from tests.support.lakes import make, put, query
from tests.support.places import ROOT
from tests.support.scripted_server import Step, serving

IT0 = "iter_00"
MODEL = "0" * 32
HOSTILE = "blake2b:" + "0" * 32  # stands in the footer's statistics, where the digest is examined for


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A small lake: tables that were made from each other, calls, a model, an index."""
    root = tmp_path_factory.mktemp("whole") / "lake"
    lake = Lake(str(root))
    put(lake, CLEAN_POOL, [{"pair_id": p} for p in ("p0", "p1", HOSTILE)], "b00")
    make(stage1.gold, lake, IT0)
    folder = lake.folder("models") / MODEL
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "model.safetensors").write_bytes(random.Random(0).randbytes(5_000))
    (folder / "result.json").write_text("{}")
    digests.seal(folder, "model", "result.json")
    row = dict.fromkeys(f.name for f in MODEL_FIELDS) | {"model_id": MODEL, "path": str(folder / "model")}
    empty = {"kind": "loop", "data_hash": "", "recipe_hash": "", "hardware": ""}
    numbers = {
        f.name: 0 for f in MODEL_FIELDS if not f.nullable and (pa.types.is_integer(f.type) or f.type == "double")
    }
    put(lake, REWARD_MODEL, [row | empty | numbers], IT0)
    vectors = pa.table({"pair_id": ["a"], "cluster_id": ["b"], "vector": [[0.6, 0.8]]})
    Index(lake, "pool", vectors.to_reader(), 2)
    with serving(lambda path, body, number: Step(body_for(path, honest(body)))) as server:
        judge(server.url, root).vote(targets(3), NO_EXAMPLES)
    return root


@pytest.fixture
def lake(whole, tmp_path) -> Lake:
    shutil.copytree(whole, tmp_path / "lake")
    return Lake(str(tmp_path / "lake"))


@pytest.fixture
def config(lake, tmp_path, monkeypatch) -> Iterator[None]:
    """The command line over the lake."""
    text = re.sub(r'(\[lake\]\n(?:.*\n)*?)path = ".*"', rf'\1path = "{lake.root}"', (ROOT / "assay.toml").read_text())
    (tmp_path / "assay.toml").write_text(text)
    monkeypatch.setenv("ASSAY_CONFIG", str(tmp_path / "assay.toml"))
    settings.current.cache_clear()
    yield
    settings.current.cache_clear()


def found(lake: Lake) -> list[Damage]:
    return list(damages(lake, Examined()))


def flip(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def test_an_unharmed_lake_is_clean_and_nothing_is_written_in_it(lake, config, capsys):
    before = {p: p.stat().st_mtime_ns for p in Path(lake.root).rglob("*")}
    assert main(["verify"]) == 0
    out = capsys.readouterr().out
    assert "all is what was written." in out and "Unchecked" not in out
    assert {p: p.stat().st_mtime_ns for p in Path(lake.root).rglob("*")} == before
    examined = Examined()
    assert not list(damages(lake, examined))
    tables = [p for p in Path(lake.root).glob("*/*/data.parquet")] + [p for p in Path(lake.root).glob("*/data.parquet")]
    assert examined.files == len(tables) + 3 and examined.bytes == sum(p.stat().st_size for p in tables)


def test_every_flipped_bit_is_found_and_its_file_is_named(lake):
    """Every byte has the same chance; the ends of a table, where its format's own marks stand, have a few more."""
    root, draw = Path(lake.root), random.Random(21)
    files = sorted(p for p in root.rglob("*") if p.is_file() and p.suffix != ".sqlite" and p.name != "kept")
    flips = [
        (p, draw.randrange(p.stat().st_size * 8)) for p in draw.choices(files, [p.stat().st_size for p in files], k=40)
    ]
    tables = [p for p in files if p.name == "data.parquet"]
    flips += [
        (p, draw.randrange((p.stat().st_size - 64) * 8, p.stat().st_size * 8)) for p in draw.choices(tables, k=10)
    ]
    flips += [(tables[0], bit) for bit in range(8)] + [(root / "lake.json", draw.randrange(13 * 8)) for _ in range(5)]
    for path, bit in flips:
        was = path.read_bytes()
        flip(path, bit)
        named = found(lake)
        assert named, f"bit {bit} of {path}"
        owner = [
            d.path for d in named if d.path in (path, *path.parents) or str(path) in d.why or "digests" in path.parts
        ]
        assert owner, f"bit {bit} of {path}: {named}"
        path.write_bytes(was)
    assert not found(lake)


def test_every_bit_of_a_digest_and_its_name_in_the_footer_counts(lake):
    """Where the name or the mark is damaged, a file must not pass for one that was written before digests were."""
    path = lake.path(GOLD, IT0)
    was = path.read_bytes()
    begin = was.rindex(digests.KEY.encode())
    end = was.rindex(digests.MARK) + len(digests.EMPTY)
    assert 50 <= end - begin < 70
    for bit in range(begin * 8, end * 8):
        flip(path, bit)
        assert digests.fault(path), f"bit {bit - begin * 8} of the digest"
        path.write_bytes(was)
    path.write_bytes(was[:begin] + bytes(end - begin) + was[end:])
    assert digests.fault(path)


def test_texts_of_rows_cannot_stand_in_for_the_digest(lake):
    path = lake.path(CLEAN_POOL, "b00")
    assert path.read_bytes().count(digests.MARK) > 1
    assert digests.fault(path) is None
    assert query(lake, "SELECT count(*) FROM clean_pool") == [(3,)]


def test_a_truncated_file_is_named_in_one_line_by_every_command(lake, config, capsys):
    path = lake.path(GOLD, IT0)
    path.write_bytes(path.read_bytes()[:-20])
    assert main(["verify"]) == 5
    out, err = capsys.readouterr()
    [line] = [line for line in out.splitlines() if str(path) in line]
    assert "does not end as a table does" in line and "assay verify --set-aside" in line
    assert err.strip() == f"assay: {lake.root}: 1 damaged"
    for command in (["status"], ["explain", "p0"], ["sql", "SELECT * FROM gold"]):
        assert main(command) == 2, command
        err = capsys.readouterr().err
        assert err.count("\n") == 1 and f"{path} is damaged" in err and "assay verify" in err, command


def test_a_step_reads_nothing_that_is_damaged(lake):
    path = lake.path(HUMAN_LABELS, IT0)
    was = lake.path(GOLD, IT0).read_bytes()
    flip(path, 1)  # of the format's mark at the beginning, which no reader of Parquet looks at
    with pytest.raises(dg.Failure, match=f"gold/{IT0} cannot be made: {path} is damaged: its bytes are not those"):
        make(stage1.gold, lake, IT0)
    assert lake.path(GOLD, IT0).read_bytes() == was


def test_bytes_are_read_once_in_a_process_as_long_as_the_file_is_the_same(lake, monkeypatch):
    read = []
    real = digests.fault
    monkeypatch.setattr(digests, "fault", lambda path: read.append(path) or real(path))
    for _ in range(3):
        lake.check([(GOLD, IT0)])
    assert len(read) == 1
    put(lake, GOLD, [], IT0)
    lake.check([(GOLD, IT0)])
    assert len(read) == 2


def test_a_missing_partition_is_named_by_what_was_made_from_it(lake):
    path = lake.path(HUMAN_LABELS, IT0)
    path.unlink()
    [damage] = found(lake)
    assert (damage.path, damage.goes) == (path, ()) and f"gold/{IT0} was made from it" in damage.why
    assert "`assay run`" in damage.way


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("UPDATE results SET cost = cost + 1 WHERE id = 2", "row 2 of results is not what was written"),
        ("UPDATE attempts SET model = 'n' WHERE id = 1", "row 1 of attempts is not what was written"),
        ("UPDATE bodies SET raw = substr(raw, 1, 20) WHERE attempt = 3", "the answer in row 3 of bodies"),
        ("UPDATE requests SET provider = 'x'", "is not what was sent, and 5 more"),
        ("DELETE FROM attempts WHERE id = 1", "2 rows belong to none"),
    ],
)
def test_a_damaged_row_of_the_call_store_is_named(lake, change, says):
    path = Path(lake.root) / "files" / "calls" / "calls.sqlite"
    con = sqlite3.connect(path)
    for (name,) in con.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        con.execute(f"DROP TRIGGER {name}")
    assert not found(lake)
    con.execute(change)
    con.commit()
    con.close()
    [damage] = found(lake)
    assert damage.path == path and says in damage.why and not damage.goes and "backup" in damage.way


@pytest.mark.parametrize("harm", ["gone", "empty", "cut"])
def test_a_call_store_that_is_gone_or_cut_is_damaged(lake, harm):
    path = Path(lake.root) / "files" / "calls" / "calls.sqlite"
    data = path.read_bytes()
    path.unlink()
    if harm != "gone":
        path.write_bytes(data[: 0 if harm == "empty" else len(data) // 2])
    [damage] = found(lake)
    assert damage.path == path
    with serving(lambda *_: pytest.fail("an answer is paid again")) as server, pytest.raises(LostCalls, match="backup"):
        judge(server.url, Path(lake.root)).vote(targets(3), NO_EXAMPLES)
    assert not server.requests


def test_damage_in_the_middle_of_a_call_store_stops_before_an_answer_is_paid_again(lake):
    """Every page but the first, emptied; SQLite finds out when it comes to read it."""
    path = Path(lake.root) / "files" / "calls" / "calls.sqlite"
    data, stopped = path.read_bytes(), 0
    with serving(lambda *_: pytest.fail("an answer is paid again")) as server:
        for at in range(4096, len(data), 4096):
            path.write_bytes(data[:at] + bytes(4096) + data[at + 4096 :])
            try:
                judge(server.url, Path(lake.root)).vote(targets(3), NO_EXAMPLES)
            except LostCalls as e:
                assert "calls.sqlite is damaged (" in str(e) and "backup" in str(e)
                stopped += 1
        assert not server.requests
    assert stopped > 3


def test_a_damaged_model_is_named_and_set_aside_with_what_names_it(lake, config, capsys):
    folder = Path(lake.root) / "files" / "models" / MODEL
    flip(folder / "model" / "model.safetensors", 12_345)
    assert main(["verify"]) == 5
    assert f"{folder}: model/model.safetensors is not what was written" in capsys.readouterr().out
    table = lake.path(REWARD_MODEL, IT0)
    kept = table.read_bytes()
    assert main(["verify", "--set-aside"]) == 5
    assert not folder.exists() and not table.exists()
    aside = Path(lake.root) / "files" / "aside"
    assert (aside / table.relative_to(lake.root)).read_bytes() == kept
    assert (aside / "files" / "models" / MODEL / "model" / "model.safetensors").stat().st_size == 5_000
    assert main(["verify"]) == 0


def test_a_model_that_a_table_names_and_that_is_gone(lake):
    folder = Path(lake.root) / "files" / "models" / MODEL
    shutil.rmtree(folder)
    [damage] = found(lake)
    assert damage.path == folder and str(lake.path(REWARD_MODEL, IT0)) in damage.why


def test_a_damaged_index_is_named(lake):
    folder = Path(lake.root) / "files" / "vectors" / "pool.lance"
    flip(next((folder / "data").iterdir()), 100)
    [damage] = found(lake)
    assert damage.path == folder and damage.goes == (folder,)


def test_what_was_written_before_digests_were_is_unchecked_and_not_damaged(lake, config, capsys):
    """As it was written then: no digest in the footer, none of rows, none of folders."""
    path = lake.path(GOLD, IT0)
    said = json.loads(pq.read_metadata(path).metadata[b"assay"])
    rows = pq.read_table(path, partitioning=None).replace_schema_metadata(None)
    with pq.ParquetWriter(path, rows.schema, compression="zstd") as out:
        out.write_table(rows)
        out.add_key_value_metadata({"assay": json.dumps(said, sort_keys=True)})
    digests.unseal(Path(lake.root) / "files" / "models" / MODEL)
    con = sqlite3.connect(Path(lake.root) / "files" / "calls" / "calls.sqlite")
    con.execute("DROP TRIGGER attempts_UPDATE")
    con.execute("ALTER TABLE attempts DROP COLUMN digest")
    con.commit()
    con.close()
    assert main(["verify"]) == 0
    out = capsys.readouterr().out
    assert "Unchecked: 2 were written before files had digests" in out and str(path) in out
    lake.check([(GOLD, IT0)])
    path.write_bytes(path.read_bytes()[:-1])
    assert main(["verify"]) == 5


def test_a_footer_that_names_tables_as_another_release_divided_them_is_no_damage(lake):
    path = lake.path(GOLD, IT0)
    said = json.loads(pq.read_metadata(path).metadata[b"assay"])
    said["inputs"] |= {"kept/a|b": "x", "benchmark_results/a": "x", "no_table/a": "x", "clean_pool/": "x"}
    rows = pq.read_table(path, partitioning=None).replace_schema_metadata(None)
    with pq.ParquetWriter(path, rows.schema, compression="zstd") as out:
        out.write_table(rows)
        out.add_key_value_metadata({"assay": json.dumps(said, sort_keys=True)})
    assert not found(lake)


def test_a_backup_is_the_lake_and_comes_back_where_it_was(lake, config, tmp_path, capsys):
    root, kept = Path(lake.root), tmp_path / "kept"
    calls = sqlite3.connect(root / "files" / "calls" / "calls.sqlite")  # somebody writes: the last rows are in the log
    last = (
        "INSERT INTO attempts(key, stage, judge, model, batch, reserved, started) SELECT key, 's', 'j', 'm', '', 1, 2.5"
    )
    calls.execute(f"{last} FROM requests LIMIT 1")
    calls.commit()
    assert main(["backup", str(kept)]) == 0
    calls.close()
    assert "files read again" in capsys.readouterr().out
    tables = sorted(p.relative_to(root) for p in root.glob("*/*/data.parquet"))
    assert [(kept / p).read_bytes() for p in tables] == [(root / p).read_bytes() for p in tables]
    assert main(["backup", str(kept)]) == 2 and "something is there" in capsys.readouterr().err
    assert main(["backup", str(root / "inner")]) == 2 and "outside" in capsys.readouterr().err
    assert main(["restore", str(kept)]) == 2 and "something is there" in capsys.readouterr().err
    shutil.rmtree(root)
    assert main(["restore", str(tmp_path / "other")]) == 2 and "there is no lake" in capsys.readouterr().err
    assert main(["restore", str(kept)]) == 0
    assert [(kept / p).read_bytes() for p in tables] == [(root / p).read_bytes() for p in tables]
    with sqlite3.connect(root / "files" / "calls" / "calls.sqlite") as back:
        assert back.execute("SELECT count(*) FROM attempts").fetchone() == (7,)
    assert not found(lake)
    left = {p.name for p in tmp_path.iterdir()}
    assert left == {"assay.toml", "kept", "lake"}


def test_a_backup_holds_what_links_lead_to_and_misses_what_a_training_removes_meanwhile(lake, tmp_path, monkeypatch):
    root, disk = Path(lake.root), tmp_path / "disk"
    disk.mkdir()
    (disk / "states.npy").write_bytes(b"far")
    (root / "files" / "elsewhere").symlink_to(disk)
    step = root / "files" / "models" / "at-work" / "checkpoints" / "step_1"
    step.mkdir(parents=True)
    (step / "a.pt").write_bytes(b"x")
    real = shutil.copy2

    def removed_meanwhile(source, to):
        if source.endswith("a.pt"):
            shutil.rmtree(step)
        return real(source, to)

    monkeypatch.setattr("resources.lake_copy.shutil.copy2", removed_meanwhile)
    copy(root, tmp_path / "kept")
    far = tmp_path / "kept" / "files" / "elsewhere"
    assert not far.is_symlink() and (far / "states.npy").read_bytes() == b"far"
    assert not (tmp_path / "kept" / "files" / "models" / "at-work" / "checkpoints" / "step_1" / "a.pt").exists()
    monkeypatch.setattr("resources.lake_copy.shutil.copy2", lambda source, to: real(source + ".gone", to))
    with pytest.raises(FileNotFoundError):  # a table is replaced, and never away
        copy(root, tmp_path / "again")


def test_damage_in_a_backup_is_named(lake, config, tmp_path, capsys):
    flip(lake.path(GOLD, IT0), 1)
    assert main(["backup", str(tmp_path / "kept")]) == 5
    out, err = capsys.readouterr()
    assert f"{tmp_path}/kept/gold/iteration={IT0}/data.parquet: its bytes" in out and "1 damaged in the copy" in err


def test_a_lake_that_is_not_there_yet_is_not_damaged(lake, config, capsys):
    shutil.rmtree(lake.root)
    assert main(["verify"]) == 0 and "there is no lake yet" in capsys.readouterr().out
    assert not Path(lake.root).exists()
