"""Files as people have them, each with the right value beside it; the files are not part of this repository."""

import tomllib

import pytest

from resources.lake import Lake
from resources.settings import Source
from resources.sources.reader import read_source
from tests.support import places

CASES = places.SHARED / "cases"
pytestmark = pytest.mark.skipif(not CASES.exists(), reason=f"no cases in {CASES}")


def found(case: str, folder, monkeypatch) -> dict[str, tuple]:
    """source -> (pairs as (row, turns, chosen, rejected), {(row, reason)}, everything that was said of what is lost)."""
    there = next(CASES.glob(f"{case}-*"))
    monkeypatch.chdir(there)
    results = {}
    for raw in tomllib.loads((there / "config.toml").read_text())["sources"]:
        batches = list(read_source(Source.model_validate(raw), Lake(str(folder / "lake"))))
        pairs = [
            (p["row"], [(t["role"], t["content"]) for t in p["conversation"]], p["chosen"], p["rejected"])
            for b in batches
            for p in b.pairs.to_pylist()
        ]
        lost = [r for b in batches for r in (*b.unusable.to_pylist(), *b.quarantine.to_pylist())]
        said = " ".join(str(r.get("evidence") or r.get("error")) for r in lost)
        results[raw["name"]] = pairs, {(r["row"], r["reason"]) for r in lost}, said
    return results


def asked(*prompts_and_answers: tuple) -> list[tuple]:
    return [(row, [("user", prompt)], yes, no) for row, prompt, yes, no in prompts_and_answers]


@pytest.fixture
def case(tmp_path, monkeypatch):
    return lambda number: found(number, tmp_path, monkeypatch)


def test_01_a_column_of_several_types_in_a_query(case):
    expected = asked(
        (1, "Name a calm colour.", 'Blue.\nOr "sea green".', "Red"), (3, "Name a loud colour.", "Orange", "Grey")
    )
    for source, (pairs, lost, _) in case("01").items():
        assert (pairs, lost) == (expected, {(2, "wrong_type")}), source


def test_03_dialogues_that_stand_as_text(case):
    results = case("03")
    assert all(not lost for _, lost, _ in results.values())
    assert results["ultrafeedback_csv"][0] == asked(
        (1, "Name a tree.", "Oak", "Rock"), (2, "Name a fish.", "Trout", "Cow")
    )
    assert results["tool_dpo_jsonl"][0] == asked((1, "Pick a number.", "Seven", "No"))
    assert results["arena_kaggle"][0] == asked((1, "Name a bird.", "Wren", "Stone"))


def test_04_context_beside_dialogues(case):
    one, two, three = case("04")["mine"][0]
    assert one[1] == [("system", "Answer in French."), ("user", "Count."), ("assistant", "un"), ("user", "Go on.")]
    assert two[1] == [("user", "I keep bees."), ("assistant", "How nice."), ("user", "What should I plant?")]
    assert [one[2:], two[2:]] == [("deux", "two"), ("Clover", "Gravel")]
    assert three[1][0][1].startswith("Write a short dialogue")
    assert three[2] == "Human: Is green tea good?\n\nAssistant: It is, in measure."


def test_05_calls_of_tools(case):
    pairs, lost, said = case("05")["mine"]
    assert pairs == [] and lost == {(row, "more_than_text") for row in (1, 2, 3)} and "tool_calls" in said


def test_07_a_broken_partner(case):
    pairs, lost, _ = case("07")["kto"]
    assert pairs == asked((1, "Name a tree.", "Oak", "Soup")) and lost == {(2, "not_utf8"), (3, "paired")}


def test_09_conditions_on_cells(case):
    assert [pair[0] for pair in case("09")["mine"][0]] == [1, 2]


def test_10_nothing_is_left(case):
    results = case("10")
    named = {
        "prompt_not_mapped": ("needs prompt", "system, question, chosen, rejected", 'prompt = "question"'),
        "typo_in_path": ("completions[].overal_score", "overall_score"),
        "where_from_zero": ("none of 1 records", "from 1"),
        "interval_inf": ("(-inf, 0)", "no interval"),
    }
    for source, words in named.items():
        pairs, lost, said = results[source]
        assert pairs == [] and {row for row, _ in lost} == {0} and all(word in said for word in words), source
    assert [pair[2] for pair in results["map_column"][0]] == ["Oak", "Trout"]


def test_12_spellings_of_messages(case):
    expected = asked((1, "Name a tree.", "Oak", "Rock"), (2, "Name a fish.", "Trout", "Cow"))
    results = case("12")
    for source in ("union", "empty_system", "swift"):
        assert (results[source][0], results[source][1]) == (expected, set()), source
    assert results["half_transcript"][0] == expected[:1]


def test_15_prompts_without_words(tmp_path):
    import json

    import numpy as np
    import pyarrow as pa

    from curation.clusters import clusters
    from curation.contamination import BenchmarkIndex

    there = next(CASES.glob("15-*"))
    prompts = [json.loads(line)["prompt"] for line in (there / "pairs.jsonl").read_text().splitlines()]
    items = [json.loads(line) for line in (there / "bench.jsonl").read_text().splitlines()]
    index = BenchmarkIndex(["b"] * len(items), [i["pair_id"] for i in items], [i["question"] for i in items])
    assert len(index.scan(pa.array(prompts)).text) == 0
    names = [f"{i}" for i in range(len(prompts))]
    joined = dict(clusters([(names, pa.array(prompts), np.zeros(len(prompts), int))]))
    assert len(set(joined.values())) == len(prompts) == 7
