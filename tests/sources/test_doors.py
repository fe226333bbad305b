"""Texts arrive as they stand: the same records are the same pairs by every door that leads into the pool."""

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.sources.test_reader import GOOD, lines, read, texts

datasets = pytest.importorskip("datasets")
datasets.disable_progress_bars()

FEW = settings(max_examples=12, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck),
               phases=[Phase.generate])  # fmt: skip  # an example is a dozen files: no time to shrink it

# Texts that some reader takes for something else
ODD = ["007", "NA", "None", "null", "nan", "true", "1e5", "2024-01-31", "2024-01-31 10:00:00", "10:30:00", '"Red"', "[1, 2]",
       "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", '{"a": 1}', " padded ", "line\nbreak", "tab\tand, comma", "café", "'",
       "\\n"]  # fmt: skip
PLAIN = st.text(st.characters(codec="utf-8", exclude_characters="\x00\r\x85\u2028\u2029"), min_size=1, max_size=8)
TEXT = st.one_of(st.sampled_from(ODD), PLAIN)
MESSAGES = st.builds(
    lambda key, role, said, more: [{key[0]: role, key[1]: said} | more],
    st.sampled_from([("role", "content"), ("from", "value")]),
    st.sampled_from(["assistant", "gpt", "user"]),
    TEXT,
    st.sampled_from([{}, {"name": None}, {"weight": 1}, {"tool_calls": [{"id": "x"}]}]),
)
ANYTHING = st.one_of(
    TEXT, TEXT, MESSAGES, st.none(), st.integers(-5, 5), st.booleans(), st.just(1.5), st.just({"odd": 1})
)


def outcome(folder: Path, **source) -> tuple:
    """What became of the records: the pairs by row and id, and the rows that are none."""
    pairs, unusable, quarantine, records = read(folder, **source)
    assert not [q for q in quarantine if not q["row"]], quarantine
    return [(p["row"], p["pair_id"]) for p in pairs], sorted({r["row"] for r in unusable + quarantine}), records


def folder_of(path: Path, name: str) -> str:
    """A data set's folder with this file as its only split."""
    folder = path.parent / f"folder_{name.replace('.', '_')}"
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(path.read_bytes())
    return str(folder)


def parquet_with_json(records: list[dict], path: Path) -> str:
    """As `datasets` saves columns of several types: the JSON type of Arrow, noted in the schema."""
    noted = {"info": {"features": {name: {"_type": "Json"} for name in GOOD}}}
    columns = {n: pa.array([json.dumps(r[n]) for r in records], pa.json_()) for n in GOOD}
    pq.write_table(pa.table(columns).replace_schema_metadata({"huggingface": json.dumps(noted)}), path)
    return str(path)


@FEW
@given(
    st.lists(st.fixed_dictionaries({"prompt": TEXT, "chosen": ANYTHING, "rejected": ANYTHING}), min_size=1, max_size=6)
)
def test_records_of_any_types_are_the_same_pairs_by_every_door(tmp_path_factory, records):
    tmp = tmp_path_factory.mktemp("doors")
    path = Path(lines(tmp / "train.jsonl", *records))
    (tmp / "a.json").write_text(json.dumps(records))
    (tmp / "pretty.json").write_text("\n".join(json.dumps(r, indent=2) for r in records))
    expected = outcome(tmp, path=str(path))
    doors = {
        "array": {"path": str(tmp / "a.json")},
        "pretty": {"path": str(tmp / "pretty.json")},
        "folder": {"path": folder_of(path, "train.jsonl")},
        "glob": {"path": str(tmp / "train*.jsonl")},
        "parquet": {"path": parquet_with_json(records, tmp / "p.parquet")},
        "query of parquet": {"query": f"FROM '{tmp / 'p.parquet'}'"},
    }
    saved = datasets.Dataset.from_parquet(str(tmp / "p.parquet"), cache_dir=str(tmp / "cache"))
    saved.save_to_disk(tmp / "saved")
    doors["saved"] = {"path": str(tmp / "saved")}
    for name, source in doors.items():
        assert outcome(tmp, **source) == expected, name
    query = f"SELECT * FROM read_json('{path}', columns = {{prompt: 'JSON', chosen: 'JSON', rejected: 'JSON'}})"
    assert outcome(tmp, query=query) == expected
    inferred = read(tmp, query=f"FROM '{path}'")
    if [q["reason"] for q in inferred[2] if not q["row"]] != ["inferred_type"]:  # refused by name, or the same
        assert outcome(tmp, query=f"FROM '{path}'") == expected


@FEW
@given(st.lists(st.fixed_dictionaries(dict.fromkeys(GOOD, TEXT)), min_size=1, max_size=6))
def test_texts_are_the_same_pairs_in_cells_and_in_columns(tmp_path_factory, records):
    tmp = tmp_path_factory.mktemp("cells")
    expected = outcome(tmp, path=lines(tmp / "train.jsonl", *records))
    quoted = {"quoting": csv.QUOTE_ALL}
    for name, options in {"t.csv": {}, "q.csv": quoted, "q.tsv": quoted | {"delimiter": "\t"}}.items():
        with open(tmp / name, "w", newline="", encoding="utf-8") as f:
            writer = csv.DictWriter(f, list(GOOD), **options)
            writer.writeheader()
            writer.writerows(records)
        assert outcome(tmp, path=str(tmp / name)) == expected, name
    assert outcome(tmp, path=folder_of(tmp / "t.csv", "t.csv")) == expected
    pq.write_table(pa.Table.from_pylist(records), tmp / "t.parquet")
    assert outcome(tmp, path=str(tmp / "t.parquet")) == expected
    assert outcome(tmp, query=f"FROM '{tmp / 't.parquet'}'") == expected


@pytest.mark.parametrize(
    ("value", "looks"),
    [("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "UUID"), ("2024-01-31", "DATE"),
     ("2024-01-31 10:00:00", "TIMESTAMP"), ("10:30:00", "TIME")],
)  # fmt: skip
@pytest.mark.parametrize("nested", [False, True])
def test_a_query_that_has_made_something_else_of_texts_is_refused_by_name(tmp_path, value, looks, nested):
    said = [{"role": "assistant", "content": value}] if nested else value
    path = lines(tmp_path / "f.jsonl", GOOD | {"chosen": said, "id": value})
    pairs, _, (problem,), _ = read(tmp_path, query=f"FROM '{path}'")
    assert not pairs and (problem["row"], problem["reason"]) == (0, "inferred_type")
    assert f"chosen: DuckDB takes these texts for {looks}" in problem["error"]
    assert "columns = {chosen: 'VARCHAR'" in problem["error"]
    fine = f"SELECT * REPLACE ('x' AS chosen) FROM '{path}'"  # what no field holds may be of any type
    assert texts(read(tmp_path, query=fine)[0]) == [(["Why is the sky blue?"], "x", "Paint.")]


def test_one_odd_value_of_a_query_costs_its_row_and_changes_no_other(tmp_path):
    said = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": ["odd"]}]
    records = [GOOD | {"chosen": 'Blue.\nOr "sea".'}, GOOD | {"chosen": 6}, GOOD | {"chosen": said}]
    pairs, unusable, quarantine, _ = read(tmp_path, query=f"FROM '{lines(tmp_path / 'f.jsonl', *records)}'")
    assert [(p["row"], p["chosen"]) for p in pairs] == [(1, 'Blue.\nOr "sea".')] and unusable == []
    assert [(q["row"], q["reason"]) for q in quarantine] == [(2, "wrong_type"), (3, "wrong_type")]


def test_a_map_of_parquet_is_an_object(tmp_path):
    votes = pa.array([[("overall", 1.0)], [("overall", 2.0), ("style", 1.0)]], pa.map_(pa.string(), pa.float64()))
    table = pa.table({"prompt": ["Q", "R"], "a": ["A", "A"], "b": ["B", "B"], "votes": votes})
    pq.write_table(table, tmp_path / "f.parquet")
    options = {"shape": "winner", "fields": {"winner": "votes.overall"}, "codes": {"a": [1], "b": [2]}}
    for source in ({"path": str(tmp_path / "f.parquet")}, {"query": f"FROM '{tmp_path / 'f.parquet'}'"}):
        assert [p["chosen"] for p in read(tmp_path, **source, **options)[0]] == ["A", "B"]


def test_cells_of_a_folder_are_texts_and_its_codes_the_numbers_that_they_spell(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "train.csv").write_text("prompt,a,b,winner\n007,NA,None,1\n1.50,null,x,2\n")
    options = {"shape": "winner", "codes": {"a": [1], "b": [2]}}
    expected = [(["007"], "NA", "None"), (["1.50"], "x", "null")]
    assert texts(read(tmp_path, path=str(tmp_path / "folder"), **options)[0]) == expected
    assert texts(read(tmp_path, path=str(tmp_path / "folder" / "train.csv"), **options)[0]) == expected


def test_a_data_set_of_csv_on_the_hub_is_asked_for_its_cells_as_texts(tmp_path, monkeypatch):
    asked = []

    def load_dataset(where, **options):
        asked.append(options)
        found = datasets.Dataset.from_list([GOOD]).to_iterable_dataset()
        found.info.builder_name = "csv"
        return found

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    path = f"huggingface:owner/cells@{40 * '0'}"
    assert len(read(tmp_path, path=path, split="train")[0]) == 1
    assert asked[-1]["dtype"] is str and asked[-1]["keep_default_na"] is False and asked[-1]["na_filter"] is False
