"""The short ways give what the long ones give: plain records, plain lines, and sources that are read in parts."""

import io
import json
import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.adapters import adapter
from curation.conversation import Unfit
from curation.tables import RAW_POOL
from resources.lake import Lake
from resources.settings import Source
from resources.sources import files, part_process, parts, reader
from resources.sources.reader import read_source

MANY = settings(max_examples=400, deadline=None, derandomize=True, database=None)
TEXTS = st.sampled_from([
    "Oak", "Elm", " Oak", "Oak ", "\n\nOak", "o\u0301", "\u00f3", "", " ", "\u200b", "\u3000樫", "樫", "樫\u200b", "a", "array", "array([1])",
    "Human: hi\n\nAssistant: Oak", "Human: hi", "\xa0Human: hi\n\nAssistant: Elm", '"Oak"', '["Oak"]', "[1", "{", '{"a": 1}',
    '[{"role": "user", "content": "hi"}, {"role": "assistant", "content": "Oak"}]', ' {"type": "text", "text": "Oak"}', "\x7f",
    "Oak trees grow", "Oak  trees grow", "Oak trees\tgrow", "Oak trees grew", "Half \ud800", "x" * 70 + " a", "x" * 70 + "  a",
    "One two three four five six seven eight nine ten eleven twelve", "Name a tree.", "e", "e\u0301",
])  # fmt: skip
ROLE = st.sampled_from(["user", "assistant", "system", "human", "gpt", "User", "tool", None])
MESSAGE = st.one_of(
    st.builds(lambda r, t: {"role": r, "content": t}, ROLE, TEXTS),
    st.builds(lambda r, t: {"from": r, "value": t}, ROLE, TEXTS),
    st.builds(lambda r, t: {"role": r, "content": t, "weight": 1}, ROLE, TEXTS),
    st.builds(lambda r, t: {"role": r, "from": t}, ROLE, TEXTS),
)
ASKED = st.just({"role": "user", "content": "Name a tree."})
DIALOGUE = st.one_of(
    st.lists(MESSAGE, max_size=4),
    st.builds(lambda q, t: [q, {"role": "assistant", "content": t}], ASKED, TEXTS),
    st.builds(lambda t: [{"role": "assistant", "content": t}], TEXTS),
    st.builds(
        lambda s, q, t: [{"role": "system", "content": s}, q, {"role": "assistant", "content": t}], TEXTS, ASKED, TEXTS
    ),
)
EXCHANGES = st.lists(st.lists(st.one_of(TEXTS, st.none()), min_size=1, max_size=3), max_size=2)
VALUE = st.one_of(TEXTS, TEXTS, TEXTS, DIALOGUE, st.none(), st.integers(0, 1), st.lists(TEXTS, max_size=2))
FIELD = {"prompt": st.one_of(VALUE, st.lists(ASKED, min_size=1, max_size=1)), "chosen": st.one_of(VALUE, DIALOGUE),
         "rejected": st.one_of(VALUE, DIALOGUE), "history": st.one_of(EXCHANGES, VALUE), "system": VALUE, "input": VALUE,
         "winner": st.sampled_from(["a", "b", "t", "?", None]), "images": st.sampled_from([None, [], ["x"]]),
         "tools": st.sampled_from([None, "x"])}  # fmt: skip
RECORD = st.fixed_dictionaries(
    {n: FIELD[n] for n in ("prompt", "chosen", "rejected", "winner")},
    optional={n: FIELD[n] for n in ("history", "system", "input", "images", "tools")},
)
MAPPED = st.sets(st.sampled_from(["history", "system", "input"])).map(lambda names: {n: n for n in names})


@MANY
@given(RECORD, MAPPED, st.booleans())
def test_the_short_way_reads_a_record_as_its_adapter_does(record, mapped, pair):
    if pair:
        read = adapter("pair", mapped, {})
    else:
        codes = {"a": ["a"], "b": ["b"], "tie": ["t"]}
        read = adapter("winner", mapped | {"a": "chosen", "b": "rejected"}, codes)
    short = read.quick(record)
    if short is None:
        return
    [found] = list(read(record))
    assert not isinstance(found, Unfit) and found.problem() is None
    assert (found.turns, found.a, found.b, found.winner) == (short.turns, short.a, short.b, short.winner)


@pytest.mark.parametrize("record", [
    {"prompt": "Name a tree.", "chosen": "Oak", "rejected": "Rock"},
    {"prompt": "Name a tree.", "chosen": "樫", "rejected": "石"},
    {"prompt": "Name a tree.", "chosen": "\nOak", "rejected": '"Rock"'},
    {"prompt": "And?", "chosen": "Oak", "rejected": "Rock", "history": [["Hi.", "Hello."]], "system": "Be brief."},
    {"prompt": [{"role": "user", "content": "?"}], "chosen": [{"role": "assistant", "content": "Oak"}],
     "rejected": [{"role": "assistant", "content": "Rock"}]},
    {"prompt": "?", "chosen": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "Oak"}],
     "rejected": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "Rock"}]},
])  # fmt: skip
def test_usual_records_go_the_short_way(record):
    fields = {name: name for name in ("history", "system") if name in record}
    assert adapter("pair", fields, {}).quick(record) is not None


def scalars():
    return st.one_of(
        st.none(), st.booleans(), st.integers(), st.integers(-(2**70), 2**70), st.floats(), TEXTS,
        st.sampled_from(['":', '\\":', '" :', '\\', 'a\\"', "\u2028", "\x00"]),
    )  # fmt: skip


@MANY
@given(
    st.lists(
        st.recursive(
            scalars(), lambda v: st.one_of(st.lists(v, max_size=3), st.dictionaries(TEXTS | scalars().map(str), v, max_size=3))
        ),
        max_size=4,
    ),
    st.sampled_from([(",", ":"), (", ", ": "), (" ,", " :"), (",\t", "\t:")]),
    st.booleans(),
    st.lists(st.sampled_from(['{"a":1,"a":2}', '{"a" :1,"a":2}', '{"b\\\\":1,"b\\\\":2}', '{"x":{"y":1,"y":2}}', "{}", "[1]", "",
                              '{"a":-0}', '{"a":1e400}', '{"a":01}', '{"a":NaN}', '{"a":"\\ud800"}', '{"\\u0061":1,"a":2}',
                              '{"a":18446744073709551616}', '{"a":1} {"b":2}']), max_size=3),
)  # fmt: skip
def test_the_fast_parser_reads_a_line_as_the_exact_one_does(values, separators, ascii_only, odd):
    made = [
        json.dumps({"k": v}, separators=separators, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
        for v in values
    ]
    given_lines = [*made, *(one.encode() for one in odd)]
    for line, keys in zip(given_lines, files._keys_of(given_lines), strict=True):
        if (record := files.quickly(line, keys)) is not None:
            assert repr(files._parsed(1, line).record) == repr(record)


def test_most_lines_go_to_the_fast_parser():
    made = [json.dumps({"prompt": f'Say {i}: "x", please', "meta": {"n": [i, 1.5]}}).encode() for i in range(50)]
    assert all(files.quickly(line, keys) for line, keys in zip(made, files._keys_of(made), strict=True))


# ---- parts -----------------------------------------------------------------------------------------------------------
def records(n: int) -> list[dict]:
    """Pairs, and every kind of row that is none."""
    made = [{"prompt": f"Question {i}?", "chosen": f"Oak {i} " * 9, "rejected": f"Rock {i}"} for i in range(n)]
    for i, other in enumerate(
        ({"rejected": None}, {"chosen": 5}, {"chosen": "x\ud800"}, {"rejected": "Oak"}, {"chosen": "Oak"})
    ):
        made[i * 7 + 3] |= other
    return made


def everything(path: str, workers: int, folder: Path) -> tuple:
    source = Source(name="s", path=path, max_row_bytes=2_000)
    batches = list(read_source(source, Lake(str(folder / "lake")), workers, ordered=True))
    tables = [
        sorted(
            pa.Table.from_batches([getattr(b, n) for b in batches]).to_pylist(),
            key=lambda r: (r["row"], r.get("part", 0)),
        )
        for n in ("pairs", "unusable", "quarantine")
    ]
    return tables, sum(b.records for b in batches), batches[-1].warning


def jsonl(path: Path, made: list[dict]) -> None:
    odd = [
        "not json",
        "",
        '{"prompt":"a","prompt":"b"}',
        "[1]",
        json.dumps({"prompt": "x" * 3_000}),
        "  ",
        '{"a":1}\r{"b":2}',
    ]
    lines = [json.dumps(one) for one in made]
    for i, line in enumerate(odd):
        lines.insert(i * 31 + 5, line)
    path.write_bytes(b"\xef\xbb\xbf" + "\n".join(lines).encode())


def parquet(path: Path, made: list[dict]) -> None:
    good = [one for one in made if isinstance(one["chosen"], str) and one["chosen"].isascii()]
    pq.write_table(pa.Table.from_pylist(good), path, row_group_size=40, compression="none", use_dictionary=False)


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(parts, "PART_BYTES", 8_000)
    monkeypatch.setattr(parts, "ENOUGH", 1)


def broken_parquet(path: Path) -> None:
    """One whose pages in the middle are lost."""
    parquet(path, records(400))
    whole = path.read_bytes()
    path.write_bytes(whole[:20_000] + b"\0" * 5_000 + whole[25_000:])


def test_files_that_are_read_in_parts_give_what_one_reader_gives(tmp_path, small_parts):
    jsonl(tmp_path / "a.jsonl", records(400))
    broken_parquet(tmp_path / "b.parquet")
    parquet(tmp_path / "c.parquet", records(400))
    (tmp_path / "d.jsonl").write_text("")
    (tmp_path / "e.jsonl").write_text("\n".join(json.dumps(one, indent=1) for one in records(60)) + "\n{")
    (tmp_path / "f.json").write_text(json.dumps(records(60)))
    cut = parts.parts_of(sorted(tmp_path.iterdir()), True)
    assert [sum(part.path.name == name for part in cut) >= 3 for name in ("a.jsonl", "b.parquet", "c.parquet")] == [
        True
    ] * 3
    alone, together = (everything(str(tmp_path / "*"), n, tmp_path) for n in (1, 2))
    assert alone == together and len(alone[0][0]) > 900
    reasons = {row["reason"] for row in alone[0][2]}
    assert {"truncated", "empty_file", "not_json", "duplicate_key", "row_too_big", "wrong_type", "not_utf8"} <= reasons


def test_pairs_of_a_part_come_in_runs_in_the_order_of_their_key_however_many(tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "RUN_ROWS", 1_000)
    made = [
        {"prompt": "q", "responses": [f"Oak {i} {j}" for j in range(60)], "scores": list(range(60))} for i in range(3)
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, made)) + "\n")
    source = Source(name="s", path=str(tmp_path / "a.jsonl"), shape="scores")
    part = parts.FilePart(tmp_path / "a.jsonl", lines=(0, (tmp_path / "a.jsonl").stat().st_size))
    request, answer = io.BytesIO(pickle.dumps((source, part, False, tmp_path / "pairs.arrow"))), io.BytesIO()
    part_process.serve(request, answer)
    told = pickle.loads(answer.getvalue())
    runs = [pa.Table.from_batches(run) for run in parts.runs_of(told, 10) if run]
    assert len(runs) >= 2 and sum(run.num_rows for run in runs) == 3 * 60 * 59 // 2
    for run in runs:
        names = list(zip(*(run[k].to_pylist() for k in RAW_POOL.key), strict=True))
        assert names == sorted(names) and set(run["row"].to_pylist()) <= {11, 12, 13}


def test_one_file_that_breaks_off_costs_the_same_in_parts(tmp_path, small_parts):
    broken_parquet(tmp_path / "one.parquet")
    alone, together = (everything(str(tmp_path / "one.parquet"), n, tmp_path) for n in (1, 2))
    assert alone == together and alone[0][2][-1]["row"] == 0 and alone[0][0]
