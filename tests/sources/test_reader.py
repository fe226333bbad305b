"""Shapes and bad input: every record arrives as pairs, or is kept apart with its reason."""

import gzip
import io
import json
import os
import time
import traceback
import tracemalloc
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
import pytest

from curation.identity import comparison_id, text_hash
from resources.lake import Lake
from resources.settings import Answers, Source, load
from resources.sources.reader import BATCH_CHARS, BadFile, fingerprint, read_answers, read_source
from tests.support import places

SHARED = places.SHARED / "data"
GOOD = {"prompt": "Why is the sky blue?", "chosen": "Rayleigh scattering.", "rejected": "Paint."}


def read(folder: Path, **source):
    """(pairs, unusable, quarantine, records) of a source, rows as dicts."""
    batches = list(read_source(Source(name="s", **source), Lake(str(folder / "lake"))))
    tables = [pa.Table.from_batches([getattr(b, n) for b in batches]) for n in ("pairs", "unusable", "quarantine")]
    return *(t.to_pylist() for t in tables), sum(b.records for b in batches)


def lines(path: Path, *records) -> str:
    """A file of JSON lines; a str or bytes stands for itself."""
    with open(path, "wb") as f:
        for record in records:
            text = record if isinstance(record, str | bytes) else json.dumps(record, ensure_ascii=False)
            f.write((text if isinstance(text, bytes) else text.encode()) + b"\n")
    return str(path)


def texts(pairs) -> list[tuple]:
    return [([t["content"] for t in p["conversation"]], p["chosen"], p["rejected"]) for p in pairs]


# ---- shapes --------------------------------------------------------------------------------------------------------
PAIR_SPELLINGS = {
    "strings": ({"prompt": "Q", "chosen": "A", "rejected": "B"}, {}),
    "other names": (
        {"i": "Q", "yes": "A", "no": "B"},
        {"prompt": "i", "chosen": "yes", "rejected": "no"},
    ),
    "path into objects": (
        {"x": {"q": "Q"}, "r": [{"t": "A"}, {"t": "B"}]},
        {"prompt": "x.q", "chosen": "r[0].t", "rejected": "r[1].t"},
    ),
    "a key with a dot": ({"prompt": "Q", "r.1": "A", "r.2": "B"}, {"chosen": "r.1", "rejected": "r.2"}),
    "OpenAI messages": (
        {
            "chosen": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}],
            "rejected": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "B"}],
        },
        {},
    ),
    "prompt and last messages": (
        {
            "prompt": [{"role": "user", "content": "Q"}],
            "chosen": [{"role": "assistant", "content": "A"}],
            "rejected": {"role": "assistant", "content": "B"},
        },
        {},
    ),
    "ShareGPT": (
        {
            "conversations": [{"from": "human", "value": "Q"}],
            "chosen": {"from": "gpt", "value": "A"},
            "rejected": {"from": "gpt", "value": "B"},
        },
        {"prompt": "conversations"},
    ),
    "typed parts": (
        {
            "prompt": "Q",
            "chosen": {"role": "assistant", "content": [{"type": "text", "text": "A"}]},
            "rejected": [{"type": "text", "value": "B"}],
        },
        {},
    ),
    "transcripts": ({"chosen": "\n\nHuman: Q\n\nAssistant: A", "rejected": "\n\nHuman: Q\n\nAssistant: B"}, {}),
    "transcript and strings": ({"prompt": "\n\nHuman: Q\n\nAssistant:", "chosen": "A", "rejected": "B"}, {}),
}


@pytest.mark.parametrize("spelling", PAIR_SPELLINGS)
def test_every_spelling_of_a_pair_is_the_same_pair(tmp_path, spelling):
    record, fields = PAIR_SPELLINGS[spelling]
    pairs, unusable, quarantine, records = read(tmp_path, path=lines(tmp_path / "f.jsonl", record), fields=fields)
    assert (unusable, quarantine, records) == ([], [], 1)
    assert texts(pairs) == [(["Q"], "A", "B")]
    assert pairs[0]["comparison_id"] == comparison_id([("user", "Q")], "A", "B")
    assert (pairs[0]["row"], pairs[0]["part"], pairs[0]["n_chars"]) == (1, 0, 3)


def test_a_conversation_keeps_system_history_prompt_and_input_in_order(tmp_path):
    record = {"s": "Be kind.", "h": [["one", "two"], ["three", "four"]], "q": "five", "i": "six", "a": "A", "b": "B"}
    fields = {"system": "s", "history": "h", "prompt": "q", "input": "i", "chosen": "a", "rejected": "b"}
    pairs, *_ = read(tmp_path, path=lines(tmp_path / "f.jsonl", record), fields=fields)
    assert [(t["role"], t["content"]) for t in pairs[0]["conversation"]] == [
        ("system", "Be kind."), ("user", "one"), ("assistant", "two"), ("user", "three"), ("assistant", "four"),
        ("user", "five\n\nsix"),
    ]  # fmt: skip


def test_two_dialogues_that_differ_before_their_last_answers_are_no_pair(tmp_path):
    record = {"chosen": "\n\nHuman: Q\n\nAssistant: A", "rejected": "\n\nHuman: P\n\nAssistant: B"}
    pairs, unusable, *_ = read(tmp_path, path=lines(tmp_path / "f.jsonl", record))
    assert pairs == [] and [u["reason"] for u in unusable] == ["different_conversations"]


def dialogue(answer: str | None, *before: str) -> list[dict]:
    said = [*(before or ("Q",)), answer]
    return [{"role": "assistant" if i % 2 else "user", "content": s} for i, s in enumerate(said)]


DIALOGUES = {
    "winner": ({"conversation_a": dialogue("A"), "conversation_b": dialogue("B"), "winner": "model_b"},
               {"fields": {"a": "conversation_a", "b": "conversation_b"},
                "codes": {"a": ["model_a"], "b": ["model_b"], "tie": ["tie"], "both_bad": ["tie (bothbad)"]}}),
    "scores": ({"responses": [dialogue("A"), dialogue("B")], "scores": [1, 2]}, {}),
    "ranking": ({"responses": [dialogue("B"), dialogue("A")]}, {}),
    "pair": ({"chosen": dialogue("B"), "rejected": dialogue("A")}, {}),
}  # fmt: skip


@pytest.mark.parametrize("shape", DIALOGUES)
def test_whole_dialogues_are_understood_in_every_shape(tmp_path, shape):
    """The spelling of LMSYS's Chatbot Arena, and the same in lists."""
    record, options = DIALOGUES[shape]
    path = lines(tmp_path / "f.jsonl", record | {"sys": "Be kind."})
    for fields, before in ({}, ["Q"]), ({"system": "sys"}, ["Be kind.", "Q"]):
        more = options | {"fields": options.get("fields", {}) | fields}
        pairs, unusable, quarantine, _ = read(tmp_path, path=path, shape=shape, **more)
        assert (texts(pairs), unusable, quarantine) == ([(before, "B", "A")], [], [])
    other = json.loads(json.dumps(record).replace('"Q"', '"P"', 1))
    _, unusable, quarantine, _ = read(tmp_path, path=lines(tmp_path / "g.jsonl", other), shape=shape, **options)
    assert [r["reason"] for r in unusable + quarantine] == ["different_conversations"]
    for prompt in ({}, {"prompt": "Q"}):  # a text beside a dialogue answers the same conversation
        mixed = json.loads(json.dumps(record | prompt).replace(json.dumps(dialogue("B")), '"B"'))
        pairs, unusable, quarantine, _ = read(tmp_path, path=lines(tmp_path / "m.jsonl", mixed), shape=shape, **options)
        assert (texts(pairs), unusable, quarantine) == ([(["Q"], "B", "A")], [], [])


def test_both_bad_is_no_tie_and_a_missing_dialogue_is_missing(tmp_path):
    record, options = DIALOGUES["winner"]
    records = [record | {"winner": "tie"}, record | {"winner": "tie (bothbad)"}, record | {"conversation_a": None},
               record | {"conversation_b": dialogue("B")[:1] * 3}]  # fmt: skip
    pairs, unusable, quarantine, _ = read(
        tmp_path, path=lines(tmp_path / "f.jsonl", *records), shape="winner", **options
    )
    assert [u["reason"] for u in unusable] == ["tie", "both_bad", "null_response", "null_response"]
    assert pairs == quarantine == []


def test_the_arena_is_recognised_by_its_fields(tmp_path):
    (error,) = (q["error"] for q in read(tmp_path, path=lines(tmp_path / "f.jsonl", DIALOGUES["winner"][0]))[2])
    assert 'shape = "winner", fields = {a = "conversation_a", b = "conversation_b", winner = "winner"}' in error


def test_a_prompt_may_be_missing_only_beside_whole_dialogues(tmp_path):
    record = {"a": "A", "b": "B", "winner": 1}
    _, _, quarantine, _ = read(
        tmp_path, path=lines(tmp_path / "f.jsonl", record), shape="winner", codes={"a": [1], "b": [2]}
    )
    assert [q["reason"] for q in quarantine] == ["wrong_fields"] and "needs prompt" in quarantine[0]["error"]


README_CODES = {"a": [1], "b": [2], "tie": [0], "none": ["x"]}


@pytest.mark.parametrize(
    ("codes", "value", "expected"),
    [
        ({"a": [1], "b": [2]}, 1.0, "A"),
        ({"a": [1], "b": [2]}, 2, "B"),
        ({"a": ["1"], "b": ["2"]}, "2", "B"),
        ({"a": ["[1, 1.5)"], "b": ["(1.5, 2]"], "tie": [1.5]}, 1.4999, "A"),
        ({"a": ["[1, 1.5)"], "b": ["(1.5, 2]"], "tie": [1.5]}, 1.5, "tie"),
        ({"a": ["[1, 1.5)"], "b": ["(1.5, 2]"], "tie": [0, 1.5]}, 0, "tie"),
        ({"a": ["[1, 1.5)"], "b": ["(1.5, 2]"], "tie": [1.5]}, 2, "B"),
        ({"a": [True], "b": [False]}, False, "B"),
        ({"a": ["x"], "b": ["y"], "none": ["bad"]}, "bad", "no_label"),
        ({"a": ["x"], "b": ["y"]}, None, "no_label"),
        ({"a": [1], "b": [2]}, True, "unknown_code"),
        ({"a": [1], "b": [2]}, "1", "unknown_code"),
        ({"a": [1], "b": [2]}, 3, "unknown_code"),
        ({"a": [1], "b": [2]}, [1], "unknown_code"),
        pytest.param({"a": [1], "b": [2]}, 10**400, "unknown_code", id="400 digits"),
        pytest.param({"a": ["[1, 2]"], "b": ["[-2, -1]"]}, 10**400, "unknown_code", id="400 digits, intervals"),
    ],
)
def test_a_code_means_what_the_configuration_says_and_nothing_else(tmp_path, codes, value, expected):
    record = {"prompt": "Q", "a": "A", "b": "B", "winner": value}
    path = lines(tmp_path / "f.jsonl", record)
    pairs, unusable, quarantine, _ = read(tmp_path, path=path, shape="winner", codes=codes)
    found = [p["chosen"] for p in pairs] + [r["reason"] for r in unusable + quarantine]
    assert found == [expected]


@pytest.mark.parametrize(
    ("codes", "cell", "expected"),
    [
        (README_CODES, "1", "A"),
        (README_CODES, "2.0", "B"),
        (README_CODES, "0", "tie"),
        (README_CODES, "x", "no_label"),
        (README_CODES, "", "no_label"),
        (README_CODES, "3", "unknown_code"),
        (README_CODES, "one", "unknown_code"),
        (README_CODES, "true", "unknown_code"),
        (README_CODES, " 1", "unknown_code"),
        (README_CODES, "1_0", "unknown_code"),
        pytest.param(README_CODES, "9" * 400, "unknown_code", id="400 digits"),
        ({"a": [2**60], "b": [2**60 + 1]}, str(2**60 + 1), "B"),
        ({"a": [True], "b": [False]}, "FALSE", "B"),
        ({"a": ["[1, 1.5)"], "b": ["(1.5, 2]"], "tie": [1.5]}, "1.25", "A"),
        ({"a": ["[1, 1.5)"], "b": ["(1.5, 2]"], "tie": [1.5]}, "1.50", "tie"),
        ({"a": ["1"], "b": [1]}, "1", "A"),
        ({"a": ["1"], "b": [1]}, "1.0", "B"),
    ],
)
@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_a_cell_that_is_no_code_stands_for_the_number_or_boolean_it_spells(tmp_path, codes, cell, expected, suffix):
    separator = "," if suffix == "csv" else "\t"
    path = tmp_path / f"f.{suffix}"
    path.write_text(
        "\n".join(separator.join(cells) for cells in (("prompt", "a", "b", "winner"), ("Q", "A", "B", cell)))
    )
    pairs, unusable, quarantine, _ = read(tmp_path, path=str(path), shape="winner", codes=codes)
    assert [p["chosen"] for p in pairs] + [r["reason"] for r in unusable + quarantine] == [expected]


def test_scores_give_every_two_responses_with_different_scores(tmp_path):
    record = {"prompt": "Q", "responses": ["A", "B", "C", "D"], "scores": [3, 5.0, 3, None]}
    pairs, unusable, _, _ = read(tmp_path, path=lines(tmp_path / "f.jsonl", record), shape="scores")
    assert {(p["chosen"], p["rejected"]) for p in pairs} == {("B", "A"), ("B", "C")}
    assert Counter(u["reason"] for u in unusable) == {"tie": 1, "no_label": 3}
    assert sorted(r["part"] for r in pairs + unusable) == list(range(6))


def test_the_pairs_of_one_record_are_many_batches_where_they_are_long(tmp_path):
    responses = [f"{i}" + "x" * 30_000 for i in range(60)]
    record = {"prompt": "Q", "responses": responses, "scores": [*range(59), 58]}
    path = lines(tmp_path / "f.jsonl", record, record | {"prompt": "P"})
    batches = list(read_source(Source(name="s", path=path, shape="scores"), Lake(str(tmp_path / "lake"))))
    assert max(pa.compute.sum(b.pairs.column("n_chars")).as_py() or 0 for b in batches) <= BATCH_CHARS
    assert sum(b.pairs.num_rows for b in batches) == 2 * (60 * 59 // 2 - 1) and sum(b.records for b in batches) == 2
    assert [row for b in batches for row in b.unusable.column("row").to_pylist()] == [1, 2]


@pytest.mark.parametrize("shape", ["scores", "ranking"])
def test_a_record_of_too_many_pairs_costs_itself(tmp_path, shape):
    few, many = ({"prompt": "Q", "responses": [f"{i}" for i in range(n)], "scores": [*range(n)]} for n in (3, 500))
    pairs, unusable, quarantine, records = read(tmp_path, path=lines(tmp_path / "f.jsonl", many, few), shape=shape)
    assert [(q["row"], q["reason"]) for q in quarantine] == [(1, "too_many_pairs")] and "100000" in quarantine[0][
        "error"
    ]
    assert {p["row"] for p in pairs} == {2} and (len(pairs), unusable, records) == (3, [], 2)


def test_scores_may_stand_inside_the_responses(tmp_path):
    record = {"instruction": "Q", "completions": [{"response": "A", "overall": "2"}, {"response": "B", "overall": "7"}]}
    fields = {"prompt": "instruction", "responses": "completions[].response", "scores": "completions[].overall"}
    pairs, *_ = read(tmp_path, path=lines(tmp_path / "f.jsonl", record), shape="scores", fields=fields)
    assert texts(pairs) == [(["Q"], "B", "A")]


def test_a_ranking_of_three_gives_three_pairs_best_first(tmp_path):
    record = {"prompt": "Q", "responses": ["A", "B", "C"]}
    pairs, *_ = read(tmp_path, path=lines(tmp_path / "f.jsonl", record), shape="ranking")
    assert {(p["chosen"], p["rejected"]) for p in pairs} == {("A", "B"), ("A", "C"), ("B", "C")}


def test_a_tree_gives_pairs_of_ranked_answers_at_every_depth(tmp_path):
    def node(role, text, rank=None, *replies):
        return {"role": role, "text": text, "rank": rank, "replies": list(replies)}

    answers = node("assistant", "worst", 2), node("assistant", "best", 0), node("assistant", "?")
    deep = node("prompter", "Q2", 0, *answers)
    record = {"prompt": node("prompter", "Q", None, node("assistant", "A", 0, deep), node("assistant", "B", 1))}
    pairs, unusable, _, _ = read(tmp_path, path=lines(tmp_path / "f.jsonl", record), shape="tree")
    assert sorted(texts(pairs)) == [(["Q"], "A", "B"), (["Q", "A", "Q2"], "best", "worst")]
    assert [u["reason"] for u in unusable] == ["no_label", "no_label"]


def test_single_responses_are_paired_by_conversation(tmp_path):
    rows = [("P", "good", True), ("P", "bad", False), ("P", "poor", 0), ("Q", "alone", True), ("P", "?", None)]
    records = [{"prompt": p, "response": r, "label": label} for p, r, label in rows]
    pairs, unusable, quarantine, count = read(tmp_path, path=lines(tmp_path / "f.jsonl", *records), shape="unpaired")
    assert sorted(texts(pairs)) == [(["P"], "good", "bad"), (["P"], "good", "poor")]
    assert {p["row"] for p in pairs} == {1} and sorted(p["part"] for p in pairs) == [0, 1]
    assert {u["row"]: u["reason"] for u in unusable} == {2: "paired", 3: "paired", 4: "no_partner", 5: "no_label"}
    assert quarantine == [] and count == 5


def test_single_responses_without_a_prompt_or_a_text_are_told_once_each(tmp_path):
    records = [
        {"prompt": "" if i % 3 else "P", "response": f"r{i}" if i % 5 else "\u200b", "label": i % 2} for i in range(600)
    ]
    path = lines(tmp_path / "f.jsonl", *records)
    _, unusable, quarantine, count = read(tmp_path, path=path, shape="unpaired")
    refused = Counter(u["reason"] for u in unusable if u["reason"] != "paired")
    assert refused == {"empty_turn": 400, "empty_response": 40} and quarantine == [] and count == 600


def test_labels_of_single_responses_may_be_any_code(tmp_path):
    path = tmp_path / "f.csv"
    path.write_text("prompt,response,label\nP,good,True\nP,bad,False\nP,?,\nP,what,maybe\n")
    pairs, _, quarantine, _ = read(tmp_path, path=str(path), shape="unpaired")
    assert texts(pairs) == [(["P"], "good", "bad")] and [(q["row"], q["reason"]) for q in quarantine] == [
        (4, "unknown_code")
    ]
    codes = {"a": ["True"], "b": ["False"], "tie": ["maybe"]}
    pairs, unusable, quarantine, _ = read(tmp_path, path=str(path), shape="unpaired", codes=codes)
    assert texts(pairs) == [(["P"], "good", "bad")] and quarantine == []
    assert {u["row"]: u["reason"] for u in unusable} == {2: "paired", 3: "no_label", 4: "tie"}
    (problem,) = read(tmp_path, path=str(path), shape="unpaired", codes={"a": ["True"]})[2]
    assert (problem["row"], problem["reason"]) == (0, "wrong_fields")


# ---- what is no pair -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"chosen": None}, "null_response"),
        ({"rejected": None}, "null_response"),
        ({"chosen": ""}, "empty_response"),
        ({"rejected": " \n\t"}, "empty_response"),
        ({"chosen": "\u200b"}, "empty_response"),
        ({"rejected": "\ufeff \u200b\u00ad"}, "empty_response"),
        ({"prompt": "\u200b"}, "empty_turn"),
        ({"rejected": "Rayleigh scattering."}, "identical"),
        ({"rejected": " Rayleigh \n scattering."}, "identical_normalised"),
        ({"rejected": "Rayleigh\u00a0scattering."}, "identical_normalised"),
        ({"rejected": "Ray\u200bleigh scattering.\ufeff"}, "identical_normalised"),
        ({"chosen": "é" * 300, "rejected": "e\u0301" * 300}, "identical_normalised"),
        ({"chosen": "한글" * 99, "rejected": "\u1112\u1161\u11ab\u1100\u1173\u11af" * 99}, "identical_normalised"),
        ({"prompt": None}, "no_prompt"),
        ({"prompt": "  "}, "empty_turn"),
        ({"prompt": []}, "no_prompt"),
        ({"prompt": [{"role": "assistant", "content": "Hi"}]}, "bad_roles"),
        ({"prompt": [{"role": "user", "content": "Hi"}, {"role": "user", "content": "Hi"}]}, "bad_roles"),
        ({"prompt": [{"role": "narrator", "content": "Hi"}]}, "bad_roles"),
        ({"prompt": [{"content": "Hi"}]}, "bad_roles"),
        ({"prompt": [{"role": "user", "content": None}]}, "null_turn"),
        ({"prompt": [{"role": "user", "content": ""}]}, "empty_turn"),
        ({"chosen": {"role": "user", "content": "Hi"}}, "bad_roles"),
        ({"chosen": {"role": "assistant", "content": None}}, "null_response"),
        ({"rejected": [{"role": "user", "content": "Q"}] * 2}, "null_response"),
    ],
)
def test_a_record_that_is_no_pair_is_kept_apart_with_its_reason(tmp_path, change, reason):
    path = lines(tmp_path / "f.jsonl", GOOD, GOOD | change)
    pairs, unusable, quarantine, records = read(tmp_path, path=path)
    assert [(u["row"], u["part"], u["reason"]) for u in unusable] == [(2, 0, reason)]
    assert len(pairs) == 1 and quarantine == [] and records == 2


def test_responses_that_differ_in_a_letter_are_a_pair_whatever_the_script(tmp_path):
    records = [GOOD | {"chosen": a, "rejected": b} for a, b in (("é" * 200, "é" * 199 + "e"), ("天", "夭"), ("Ja é", "Já e"),
                                                                  ("a\u200b b", "ab"), ("YES", "yes"), ("x²", "x2"))]  # fmt: skip
    pairs, unusable, *_ = read(tmp_path, path=lines(tmp_path / "f.jsonl", *records))
    assert len(pairs) == 6 and unusable == []


def test_a_missing_key_is_a_missing_response_and_the_word_none_is_not(tmp_path):
    """Spec 0.06: a missing turn is dropped, the literal text "None" is not."""
    without = {k: v for k, v in GOOD.items() if k != "rejected"}
    pairs, unusable, *_ = read(tmp_path, path=lines(tmp_path / "f.jsonl", without, GOOD | {"rejected": "None"}))
    assert [u["reason"] for u in unusable] == ["null_response"]
    assert [p["rejected"] for p in pairs] == ["None"]


# ---- what cannot be read -------------------------------------------------------------------------------------------
BAD_ROWS = {
    "half a line": (b'{"prompt": "Q", "chos', "not_json"),
    "not an object": ("[1, 2]", "not_an_object"),
    "a number": ("7", "not_an_object"),
    "null": ("null", "not_an_object"),
    "NaN as response": ('{"prompt": "Q", "chosen": NaN, "rejected": "B"}', "not_json"),
    "infinity": ('{"prompt": "Q", "chosen": Infinity, "rejected": "B"}', "not_json"),
    "two values on a line": (json.dumps(GOOD) + json.dumps(GOOD), "not_json"),
    "a key twice": ('{"prompt": "Q", "chosen": "A", "chosen": "C", "rejected": "B"}', "duplicate_key"),
    "a key twice inside": ('{"prompt": {"role": "user", "role": 1}, "chosen": "A", "rejected": "B"}', "duplicate_key"),
    "single quotes": ("{'prompt': 'Q', 'chosen': 'A', 'rejected': 'B'}", "not_json"),
    "a raw control character": ('{"prompt": "Q\x01", "chosen": "A", "rejected": "B"}', "not_json"),
    "Latin-1": ('{"prompt": "Größe", "chosen": "A", "rejected": "B"}'.encode("latin-1"), "not_utf8"),
    "half a surrogate pair": ('{"prompt": "Q", "chosen": "\\ud83d", "rejected": "B"}', "not_utf8"),
    "ten megabytes": (json.dumps(GOOD | {"chosen": "x" * 10_000_000}), "row_too_big"),
    "deep": ('{"prompt": "Q", "chosen": "A", "rejected": "B", "id": ' + "[" * 600 + "]" * 600 + "}", "not_json"),
    "parts inside parts": (
        '{"prompt": "Q", "chosen": "A", "rejected": ' + '[{"text":' * 190 + '"B"' + "}]" * 190 + "}",
        "wrong_type",
    ),
    "too deep": ("[" * 100_000 + "]" * 100_000, "not_json"),
    "a boolean response": (json.dumps(GOOD | {"chosen": True}), "wrong_type"),
    "a number as response": (json.dumps(GOOD | {"rejected": 3}), "wrong_type"),
    "a number as prompt": (json.dumps(GOOD | {"prompt": 3.5}), "wrong_type"),
    "an image": (json.dumps(GOOD | {"chosen": [{"type": "image", "url": "x"}]}), "wrong_type"),
    "a list of mixed things": (json.dumps(GOOD | {"prompt": ["a", {"role": "user"}]}), "wrong_type"),
    "an object as response": (json.dumps(GOOD | {"chosen": {"type": "tool", "name": "f"}}), "wrong_type"),
    "a turn that is null": (json.dumps(GOOD | {"prompt": [None]}), "wrong_type"),
    "a response that is a list of null": (json.dumps(GOOD | {"chosen": [None]}), "wrong_type"),
    "null deep inside": (json.dumps(GOOD | {"prompt": [{"role": "user", "content": [None]}]}), "wrong_type"),
    "a number of 5,000 digits": (
        b'{"prompt": "Q", "chosen": "A", "rejected": "B", "id": ' + b"9" * 5000 + b"}",
        "not_json",
    ),
    "a pointer of Git LFS": ("version https://git-lfs.github.com/spec/v1", "not_json"),
    "a page of HTML": ("<!doctype html><title>404</title>", "not_json"),
    "a message without a role": (json.dumps(GOOD | {"rejected": {"content": "Paint."}}), "wrong_type"),
    "content of a wrong type": (json.dumps(GOOD | {"prompt": [{"role": "user", "content": 5}]}), "wrong_type"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_a_bad_row_costs_that_row(tmp_path, case):
    bad, reason = BAD_ROWS[case]
    path = lines(tmp_path / "f.jsonl", GOOD, bad, GOOD | {"chosen": "Light."})
    pairs, unusable, quarantine, records = read(tmp_path, path=path)
    assert [(q["file"], q["row"], q["reason"]) for q in quarantine] == [(path, 2, reason)]
    assert quarantine[0]["error"]
    assert [p["row"] for p in pairs] == [1, 3] and unusable == [] and records == 3


BAD_ELEMENTS = ["NaN as response", "infinity", "a key twice", "a key twice inside", "Latin-1", "deep", "parts inside parts",
                "a number of 5,000 digits", "half a surrogate pair", "not an object", "null", "a number as prompt"]  # fmt: skip


@pytest.mark.parametrize("case", BAD_ELEMENTS)
@pytest.mark.parametrize("before", [0, 3_500], ids=["first", "across blocks"])
def test_a_bad_element_of_an_array_costs_that_element(tmp_path, case, before):
    bad, reason = BAD_ROWS[case]
    good = json.dumps(GOOD).encode()
    path = tmp_path / "f.json"
    path.write_bytes(
        b"[" + b",\n".join([*[good] * before, bad if isinstance(bad, bytes) else bad.encode(), good]) + b"]"
    )
    pairs, unusable, quarantine, records = read(tmp_path, path=str(path))
    assert [(q["row"], q["reason"]) for q in quarantine] == [(before + 1, reason)] and quarantine[0]["error"]
    assert (len(pairs), unusable, records) == (before + 1, [], before + 2)


@pytest.mark.parametrize(
    "error", [ValueError("no"), OverflowError("no"), RecursionError("no"), ZeroDivisionError("no")]
)
@pytest.mark.parametrize("shape", ["pair", "unpaired"])
def test_an_error_that_nobody_foresaw_costs_its_row(tmp_path, monkeypatch, error, shape):
    def value_at(record, path):
        if record["prompt"] == "odd":
            raise error
        return record.get(path)

    monkeypatch.setattr("curation.adapters.value_at", value_at)
    records = [GOOD | {"response": f"{i}", "label": i % 2} for i in range(4)]
    path = lines(tmp_path / "f.jsonl", *records[:2], records[2] | {"prompt": "odd"}, records[3])
    pairs, _, quarantine, records = read(tmp_path, path=path, shape=shape)
    assert [(q["row"], q["reason"]) for q in quarantine] == [(3, "wrong_type")] and "no" in quarantine[0]["error"]
    assert len(pairs) > 1 and records == 4


def test_line_separators_inside_a_text_end_no_line(tmp_path):
    odd = "one\u2028two\u2029three\x85four\x0bfive"
    path = lines(tmp_path / "f.jsonl", GOOD | {"chosen": odd}, GOOD)
    pairs, _, quarantine, _ = read(tmp_path, path=path)
    assert [p["chosen"] for p in pairs] == [odd, GOOD["chosen"]] and quarantine == []


def test_a_byte_order_mark_windows_line_ends_blank_lines_and_no_last_newline_do_no_harm(tmp_path):
    path = tmp_path / "f.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode() + b"\r\n\r\n" + json.dumps(GOOD).encode())
    pairs, _, quarantine, records = read(tmp_path, path=str(path))
    assert (len(pairs), quarantine, records) == (2, [], 2)


def test_a_row_longer_than_allowed_is_skipped_without_being_held(tmp_path):
    big = json.dumps(GOOD | {"chosen": "x" * 3_000_000})
    path = lines(tmp_path / "f.jsonl", big, GOOD)
    pairs, _, quarantine, _ = read(tmp_path, path=path, max_row_bytes=2_000_000)
    assert [(q["row"], q["reason"]) for q in quarantine] == [(1, "row_too_big")]
    assert str(len(big)) in quarantine[0]["error"] and len(pairs) == 1


def _parquet_with_a_column_that_is_no_text() -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"prompt": ["p"], "unheard": ["x"]}), file, store_schema=False)
    return file.getvalue().replace(b"unheard", b"unh\x86ard")


def _parquet_with_two_columns_called_chosen() -> bytes:
    sink = pa.BufferOutputStream()
    names = ("prompt", "chosen", "rejected", "chosen")
    pq.write_table(pa.Table.from_arrays([pa.array([name]) for name in names], names), sink)
    return sink.getvalue().to_pybytes()


def _bad_files(folder: Path) -> dict[str, tuple[Path | str, str, int]]:
    """case -> (path, reason, pairs that arrive all the same)."""
    body = b"".join(json.dumps(GOOD | {"chosen": os.urandom(30).hex()}).encode() + b"\n" for _ in range(3000))
    half = gzip.compress(body)[:-40_000]
    files = {
        "missing": (None, "missing_file", 0),
        "empty": (b"", "empty_file", 0),
        "blank.jsonl": (b"\n\n", "empty_file", 0),
        "half.jsonl.gz": (half, "truncated", None),
        "not.jsonl.gz": (b"no gzip at all", "truncated", 0),
        "not.jsonl.zst": (b"no zstd at all, not by far", "truncated", 0),
        "half.parquet": (b"PAR1" + b"x" * 50, "truncated", 0),
        "utf16.jsonl": ("\ufeff" + json.dumps(GOOD)).encode("utf-16-le"),
        "array.json": (json.dumps([GOOD, GOOD | {"chosen": "Light."}]).encode()[:-20], "truncated", 1),
        "comma.json": (b"[" + json.dumps(GOOD).encode() + b" oops]", "not_json", 1),
        "deep.json": (b"[" + json.dumps(GOOD).encode() + b"," + b"[" * 5_000 + b"]" * 5_000 + b"]", "not_json", 1),
        "early.json": (b"[" + json.dumps(GOOD).encode() + b" oops, " + b"1, " * 2_000_000 + b"1]", "not_json", 1),
        "noquote.csv": (b'prompt,chosen,rejected\nQ,A,B\nQ,"C,D\n', "truncated", 1),
        "twice.csv": (b"prompt,chosen,chosen\nQ,A,B\n", "wrong_fields", 0),
        "no text.parquet": (_parquet_with_a_column_that_is_no_text(), "truncated", 0),
        "twice.parquet": (_parquet_with_two_columns_called_chosen(), "wrong_fields", 0),
        "other.csv": (b"question,good,bad\nQ,A,B\n", "wrong_fields", 0),
        "text.txt": (b"Q A B", "unknown_format", 0),
        "header.csv": (b"prompt,chosen,rejected\n", "empty_file", 0),
        "semicolons.csv": (b"prompt;chosen;rejected\nQ;A;B\n", "wrong_fields", 0),
        "nothing.json": (b"[]", "empty_file", 0),
        "wrapped.json": (json.dumps({"data": [GOOD, GOOD]}).encode(), "wrong_fields", 0),
        "wide.jsonl": (json.dumps(GOOD).encode("utf-32"), "not_utf8", 0),
        "more.jsonl.gz": (gzip.compress(json.dumps(GOOD).encode() + b"\n") + b"more", "truncated", 1),
        "pointer.parquet": (b"version https://git-lfs.github.com/spec/v1\n", "truncated", 0),
        "fields.jsonl": (b'{"question": "Q", "output_1": "A", "output_2": "B", "label": 1}\n', "wrong_fields", 0),
    }
    found = {}
    for name, value in files.items():
        content, reason, pairs = value if isinstance(value, tuple) else (value, "not_utf8", 0)
        path = folder / (name if "." in name else f"{name}.jsonl")
        if content is not None:
            path.write_bytes(content)
        found[name] = (str(path), reason, pairs)
    (folder / "directory.jsonl").mkdir()
    found["directory"] = (str(folder / "directory.jsonl"), "not_a_file", 0)
    (folder / "folder").mkdir()
    (folder / "folder" / "README.txt").write_text("no data")
    found["folder"] = (str(folder / "folder"), "not_a_file", 0)
    os.mkfifo(folder / "pipe.jsonl")
    found["pipe"] = (str(folder / "pipe.jsonl"), "not_a_file", 0)
    (folder / "loop.jsonl").symlink_to(folder / "loop.jsonl")
    found["loop"] = (str(folder / "loop.jsonl"), "missing_file", 0)
    found["long name"] = (str(folder / ("x" * 300 + ".jsonl")), "unreadable", 0)
    found["SQL"] = (str(folder / "x'; DROP TABLE sources; --.jsonl"), "missing_file", 0)
    return found


@pytest.mark.parametrize(
    "case",
    ["missing", "empty", "blank.jsonl", "half.jsonl.gz", "not.jsonl.gz", "not.jsonl.zst", "half.parquet", "utf16.jsonl",
     "array.json", "comma.json", "deep.json", "early.json", "noquote.csv", "twice.csv", "other.csv", "text.txt", "fields.jsonl",
     "directory", "SQL", "header.csv", "semicolons.csv", "nothing.json", "wrapped.json", "wide.jsonl", "more.jsonl.gz",
     "pointer.parquet", "twice.parquet", "no text.parquet", "folder", "pipe", "loop", "long name"],
)  # fmt: skip
def test_a_bad_file_is_quarantined_whole_and_what_came_before_stays(tmp_path, case):
    path, reason, expected = _bad_files(tmp_path)[case]
    pairs, _, quarantine, records = read(tmp_path, path=path)
    assert [(q["file"], q["row"], q["reason"]) for q in quarantine] == [(path, 0, reason)]
    assert quarantine[0]["error"]
    assert len(pairs) == records
    assert len(pairs) == expected if expected is not None else 0 < len(pairs) < 3000


def test_a_file_that_breaks_off_keeps_its_rows_through_conditions_samples_and_pairing(tmp_path):
    good, bad = ({"prompt": "Q", "response": r, "label": r == "yes"} for r in ("yes", "no"))
    path = tmp_path / "f.json"
    path.write_text(json.dumps([good, bad])[:-1] + ", {")
    for options, pairs in (({"where": "true"}, 1), ({"sample": 9}, 1), ({}, 1), ({"where": "false"}, 0)):
        found, _, quarantine, _ = read(tmp_path, path=str(path), shape="unpaired", **options)
        assert (len(found), [q["reason"] for q in quarantine]) == (pairs, ["truncated"]), options


def test_a_cut_off_zst_file_is_truncated(tmp_path):
    body = b"".join(json.dumps(GOOD | {"chosen": os.urandom(30).hex()}).encode() + b"\n" for _ in range(3000))
    path = tmp_path / "f.jsonl.zst"
    path.write_bytes(pa.Codec("zstd").compress(body, asbytes=True)[:-40_000])
    pairs, _, quarantine, _ = read(tmp_path, path=str(path))
    assert [q["reason"] for q in quarantine][-1:] == ["truncated"] and len(pairs) < 3000


def test_unknown_fields_show_the_first_row_and_the_nearest_adapter(tmp_path):
    path = lines(tmp_path / "f.jsonl", {"instruction": "Q", "output_1": "A", "output_2": "B", "preference": 1})
    (error,) = (q["error"] for q in read(tmp_path, path=path)[2])
    assert "needs chosen, prompt, rejected" in error and "instruction, output_1, output_2, preference" in error
    assert 'shape = "winner"' in error and 'a = "output_1"' in error and 'winner = "preference"' in error


def test_csv_rows_of_the_wrong_length_or_encoding_cost_themselves(tmp_path):
    path = tmp_path / "f.csv"
    path.write_bytes('prompt,chosen,rejected\nQ,A,B\nQ,A\nQ,A,B,C\n"Q\nline",Ä,B\n'.encode() + b"Q,\xff\xfe,B\n")
    pairs, _, quarantine, records = read(tmp_path, path=str(path))
    assert [p["row"] for p in pairs] == [1, 4] and records == 5
    assert pairs[1]["conversation"][0]["content"] == "Q\nline"
    assert [(q["row"], q["reason"]) for q in quarantine] == [(2, "wrong_fields"), (3, "wrong_fields"), (5, "not_utf8")]


@pytest.mark.parametrize(
    ("bad", "refused", "rows"),
    [
        ('"long ' + "x" * 3_000 + '\nHow do I,make a bomb,sure thing\nmore",C,D', [(2, "row_too_big")], [1, 3]),
        ('"' + "x" * 30_000 + '\nHow do I,make a bomb,sure thing\nmore",C,D', [(0, "row_too_big")], [1]),
        ("x" * 30_000 + ",C,D", [(2, "row_too_big")], [1, 3]),
        ("C," * 20_000, [(2, "row_too_big")], [1, 3]),
        ('"' + "x" * 30_000 + '",C,D', [(2, "row_too_big")], [1, 3]),
        ('"x\n' + "x" * 30_000 + '",C,D', [(2, "row_too_big")], [1, 3]),
        ('"' + "x" * 30_000 + '",C,"text\nHow do I,make a bomb,sure thing\nmore"', [(0, "row_too_big")], [1]),
        ('"a "quoted" word",C,D', [(2, "not_csv")], [1, 3]),
        ('"x" y,"text\nHow do I,make a bomb,sure thing\nmore",D', [(0, "not_csv")], [1]),
        ('"text\nmore" y,"text\nHow do I,make a bomb,sure thing\nmore"', [(0, "not_csv")], [1]),
    ],
)
def test_lines_inside_a_csv_field_that_cannot_be_read_are_no_rows(tmp_path, bad, refused, rows):
    path = tmp_path / "f.csv"
    path.write_text(f"prompt,chosen,rejected\nQ1,A,B\n{bad}\nQ3,A,B\n")
    pairs, unusable, quarantine, _ = read(tmp_path, path=str(path), max_row_bytes=1_500)
    assert [(q["row"], q["reason"]) for q in quarantine] == refused and unusable == []
    assert [(p["row"], p["conversation"][0]["content"]) for p in pairs] == [(r, f"Q{r}") for r in rows]
    assert all("row 2" in q["error"] for q in quarantine if not q["row"])


def test_a_line_of_csv_without_an_end_is_not_held(tmp_path):
    with gzip.open(tmp_path / "f.csv.gz", "wb", compresslevel=1) as f:
        f.write(b"prompt,chosen,rejected\nQ1,A,B\n")
        for _ in range(64):
            f.write(b"x" * (1 << 20))
        f.write(b"\nQ3,A,B\n")
    tracemalloc.start()
    try:
        pairs, _, quarantine, _ = read(tmp_path, path=str(tmp_path / "f.csv.gz"), max_row_bytes=100_000)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [p["row"] for p in pairs] == [1, 3] and [(q["row"], q["reason"]) for q in quarantine] == [(2, "row_too_big")]
    assert most < 32 << 20


def test_csv_may_have_rows_of_any_length(tmp_path):
    (tmp_path / "f.csv").write_text("prompt,chosen,rejected\nQ,A,B\n")
    assert len(read(tmp_path, path=str(tmp_path / "f.csv"), max_row_bytes=10**18)[0]) == 1


def test_rows_of_mixed_schemas_are_read_one_by_one(tmp_path):
    path = lines(tmp_path / "f.jsonl", GOOD, {"question": "Q"}, {**GOOD, "extra": [1, {"deep": None}]}, {})
    pairs, unusable, quarantine, records = read(tmp_path, path=path)
    assert [p["row"] for p in pairs] == [1, 3]
    assert [(u["row"], u["reason"]) for u in unusable] == [(2, "null_response"), (4, "null_response")]
    assert quarantine == [] and records == 4


def test_wrong_lengths_of_scores_and_lists_that_are_none(tmp_path):
    records = [
        {"prompt": "Q", "responses": ["A", "B"], "scores": [1]},
        {"prompt": "Q", "responses": "A", "scores": [1]},
        {"prompt": "Q", "responses": ["A", "B"], "scores": ["high", "low"]},
        {"prompt": "Q", "responses": ["A", "B"], "scores": [True, False]},
        {"prompt": "Q", "responses": ["A"], "scores": [1]},
        {"prompt": "Q", "responses": None, "scores": [1]},
    ]
    _, unusable, quarantine, _ = read(tmp_path, path=lines(tmp_path / "f.jsonl", *records), shape="scores")
    assert [q["reason"] for q in quarantine] == ["wrong_length", "wrong_type", "wrong_type", "wrong_type"]
    assert [u["reason"] for u in unusable] == ["single_response", "null_response"]


def _odd_columns(rows: int) -> dict[str, tuple[pa.Array, str]]:
    """case -> (a column that no pair needs, whose value in row 2 Python cannot hold; the reason)."""
    odd = [0] * rows
    odd[1] = 2**62
    texts = [b"fine"] * rows
    texts[1] = b"\xff\xfe"
    return {
        "a time after the year 9999": (pa.array(odd, pa.timestamp("us")), "wrong_type"),
        "bytes that are no text": (pa.array(texts, pa.binary()).view(pa.string()), "not_utf8"),
        "a time zone on Mars": (
            pa.array([None, 0] + [None] * (rows - 2), pa.timestamp("us", "Mars/Phobos")),
            "wrong_type",
        ),
    }


COUNTED = pa.proxy_memory_pool(pa.default_memory_pool())  # as long as anything that it holds


@pytest.mark.parametrize("where", ["a text", "texts in messages"])
def test_a_small_parquet_file_of_enormous_rows_costs_those_rows_and_little_memory(tmp_path, where):
    """One text of 2 MB, which 300 rows name for a byte each: 600 MB as values."""
    long = "x" * 2_000_000
    asked = [f"q {i}" for i in range(600)]
    answers = [long if 250 <= i < 550 else f"good {i}" for i in range(600)]
    if where == "texts in messages":
        message = pa.struct([("role", pa.string()), ("content", pa.string())])
        chosen = pa.array([[{"role": "assistant", "content": a}] for a in answers], pa.list_(message))
    else:
        chosen = pa.array(answers)
    table = pa.table({"prompt": asked, "chosen": chosen, "rejected": ["bad"] * 600})
    pq.write_table(table, tmp_path / "f.parquet", compression="zstd")
    del table, long, answers, chosen
    assert (tmp_path / "f.parquet").stat().st_size < 20_000
    usual = pa.default_memory_pool()
    pa.set_memory_pool(COUNTED)
    try:
        pairs, _, quarantine, _ = read(tmp_path, path=str(tmp_path / "f.parquet"), max_row_bytes=10_000)
    finally:
        pa.set_memory_pool(usual)
    assert [p["row"] for p in pairs] == [*range(1, 251), *range(551, 601)]
    assert [q["row"] for q in quarantine] == [*range(251, 551)] and {q["reason"] for q in quarantine} == {"row_too_big"}
    assert 0 < COUNTED.max_memory() < 100_000_000


@pytest.mark.parametrize("case", _odd_columns(2))
def test_a_value_that_python_cannot_hold_costs_its_row(tmp_path, case):
    rows = 4_500  # several batches
    odd, reason = _odd_columns(rows)[case]
    table = pa.table({name: [text] * rows for name, text in GOOD.items()} | {"odd": odd})
    pq.write_table(table, tmp_path / "f.parquet")
    pairs, unusable, quarantine, records = read(tmp_path, path=str(tmp_path / "f.parquet"))
    assert [(q["row"], q["reason"]) for q in quarantine] == [(2, reason)] and "column odd" in quarantine[0]["error"]
    assert [p["row"] for p in pairs] == [1, *range(3, rows + 1)] and unusable == [] and records == rows


def test_a_code_may_be_a_decimal_as_queries_have_them(tmp_path):
    query = "SELECT 'Q' AS prompt, 'A' AS a, 'B' AS b, unnest([1.0, 1.5, 2.25, 3.0]) AS winner"
    pairs, unusable, quarantine, _ = read(
        tmp_path, query=query, shape="winner", codes={"a": [1], "b": ["(2, 2.5]"], "tie": [1.5]}
    )
    assert [(p["row"], p["chosen"]) for p in pairs] == [(1, "A"), (3, "B")]
    assert [(r["row"], r["reason"]) for r in unusable + quarantine] == [(2, "tie"), (4, "unknown_code")]


def test_a_repeated_key_among_very_many_is_found_at_once(tmp_path):
    many = "{" + ", ".join(f'"k{i}": 0' for i in range(30_000)) + ', "k29999": 1}'
    began = time.perf_counter()
    pairs, _, quarantine, _ = read(tmp_path, path=lines(tmp_path / "f.jsonl", GOOD, many))
    assert [(q["row"], q["reason"]) for q in quarantine] == [(2, "duplicate_key")] and "k29999" in quarantine[0][
        "error"
    ]
    assert len(pairs) == 1 and time.perf_counter() - began < 3


def test_a_value_of_a_query_that_python_cannot_hold_costs_its_row(tmp_path):
    query = (
        "SELECT 'Q' AS prompt, 'A' AS chosen, 'B' AS rejected, "
        "CASE WHEN i = 4000 THEN 'infinity'::TIMESTAMP END AS t FROM range(4500) r(i)"
    )
    pairs, _, quarantine, records = read(tmp_path, query=query)
    assert [(q["row"], q["reason"]) for q in quarantine] == [(4001, "wrong_type")]
    assert (len(pairs), records) == (4499, 4500)


# ---- files, conditions, samples ------------------------------------------------------------------------------------
def test_the_same_rows_in_every_format_are_the_same_pairs(tmp_path):
    rows = [GOOD | {"chosen": f'Because of {i}, "he" said,\nand left.'} for i in range(5)]
    body = "".join(json.dumps(r) + "\n" for r in rows).encode()
    (tmp_path / "a.jsonl").write_bytes(body)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(body))
    (tmp_path / "c.ndjson.zst").write_bytes(pa.Codec("zstd").compress(body, asbytes=True))
    (tmp_path / "d.json").write_text(json.dumps(rows, indent=1))
    (tmp_path / "e.json").write_bytes(body)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "f.parquet")
    header = ",".join(GOOD)
    quoted = ("\n".join(",".join('"' + r[k].replace('"', '""') + '"' for k in GOOD) for r in rows)).encode()
    (tmp_path / "g.csv").write_bytes(header.encode() + b"\n" + quoted)
    ids = {}
    for path in sorted(p for p in tmp_path.iterdir() if p.is_file()):
        pairs, unusable, quarantine, records = read(tmp_path, path=str(path))
        assert (unusable, quarantine, records) == ([], [], 5), path.name
        ids[path.name] = [p["pair_id"] for p in pairs]
    query = f"SELECT * FROM '{tmp_path / 'f.parquet'}'"
    ids["query"] = [p["pair_id"] for p in read(tmp_path, query=query)[0]]
    assert len(ids) == 8 and len({tuple(i) for i in ids.values()}) == 1


def test_where_keeps_rows_and_their_numbers_whatever_the_types(tmp_path):
    records = [GOOD | {"n": 1}, GOOD | {"n": "two"}, GOOD, GOOD | {"n": 1, "chosen": None}]
    path = lines(tmp_path / "f.jsonl", *records, "{broken")
    pairs, unusable, quarantine, records = read(tmp_path, path=path, where="n = '1' AND length(prompt) > 3")
    assert [p["row"] for p in pairs] == [1] and [u["row"] for u in unusable] == [4]
    assert [q["row"] for q in quarantine] == [5] and records == 3
    broken, problem = read(tmp_path, path=path, where="nothing = 1")[2]
    assert (
        broken["row"] == 5
        and (problem["row"], problem["reason"]) == (0, "wrong_fields")
        and "nothing" in problem["error"]
    )


def test_a_condition_may_name_a_field_that_shows_late_but_none_that_never_does(tmp_path):
    records = [GOOD | {"chosen": f"answer {i}", "n": i} for i in range(2_500)] + [
        GOOD | {"flag": {"on": True}, "tags": [1, 2]}
    ]
    path = lines(tmp_path / "f.jsonl", *records)
    late = {
        "flag.on": [2_501],
        "flag.on OR n = 7": [8, 2_501],
        "len([t FOR t IN tags IF t > 1]) = 1": [2_501],
        "len(list_filter(tags, lambda n: n > 1)) = 1": [2_501],
    }
    for condition, kept in late.items():
        pairs, _, quarantine, _ = read(tmp_path, path=path, where=condition)
        assert ([p["row"] for p in pairs], quarantine) == (kept, []), condition
    wrong = {
        "flga.on OR n = 7": "no record has a field flga",
        "n = ": "syntax error",
        "n = 1; DROP TABLE records": "syntax error",
        'n = 1 AND "N" = 2': "cannot tell N from n",
        "true); SELECT 1 --": "more than one condition",
        "true) UNION SELECT (true": "more than one condition",
        "true) ORDER BY (n": "more than one condition",
    }
    for condition, error in wrong.items():
        (problem,) = read(tmp_path, path=path, where=condition)[2]
        assert (problem["row"], problem["reason"]) == (0, "wrong_fields") and error in problem["error"], problem


def test_one_odd_row_does_not_change_what_a_condition_means_for_its_neighbours(tmp_path):
    half = '{"prompt": "Q", "chosen": "A", "rejected": "B", "tag": "\\ud800"}'
    records = [GOOD | {"tag": "abc"}, half, GOOD | {"tag": 7}]
    path = lines(tmp_path / "f.jsonl", *records)
    assert [p["row"] for p in read(tmp_path, path=path, where="length(tag) = 3")[0]] == [1]
    assert [p["row"] for p in read(tmp_path, path=path, where="tag = '7'")[0]] == [3]


MIXED = [9, 10, 11, 10.5, "9", "11", "n/a", None, True, 2**70, [10, "x"], {"of": 11}, {"of": "11"}, [], "\ud800"]


@pytest.mark.parametrize("condition", ["score > '10'", "score > 10", "score::INT > 10", "length(score) > 1", "score.of = '11'",
                                       "score IS NULL"])  # fmt: skip
def test_what_a_condition_says_of_a_row_does_not_depend_on_its_neighbours(tmp_path, condition):
    def outcome(*scores) -> list:
        path = lines(tmp_path / "f.jsonl", *(json.dumps(GOOD | {"score": score}) for score in scores))
        pairs, unusable, quarantine, _ = read(tmp_path, path=path, where=condition)
        assert unusable == []
        found = dict.fromkeys(range(1, len(scores) + 1), "left out") | {p["row"]: "kept" for p in pairs}
        return [*(found | {q["row"]: q["reason"] for q in quarantine if q["row"]}).values()]

    together = outcome(*MIXED)
    assert {"kept", "left out"} <= {*together} <= {"kept", "left out", "wrong_type"}
    for some in (
        slice(None, None, -1),
        slice(None, None, 2),
        slice(1, None, 2),
        slice(6, None),
        slice(0, 9),
        slice(0, 4),
    ):
        scores, expected = MIXED[some], together[some]
        if {*expected} != {"wrong_type"}:
            assert outcome(*scores) == expected


def test_a_condition_asks_a_number_as_a_number_and_refuses_what_it_cannot_ask(tmp_path):
    path = lines(tmp_path / "f.jsonl", *(GOOD | {"score": score} for score in (9, 11, "n/a", "12", "8")))
    pairs, _, quarantine, _ = read(tmp_path, path=path, where="score::INT > 10")
    assert [p["row"] for p in pairs] == [2, 4] and [(q["row"], q["reason"]) for q in quarantine] == [(3, "wrong_type")]
    assert "score::INT > 10" in quarantine[0]["error"] and "n/a" in quarantine[0]["error"]


def test_a_sample_does_not_depend_on_the_order_of_rows(tmp_path):
    records = [GOOD | {"chosen": f"answer {i}"} for i in range(50)]
    one = read(tmp_path, path=lines(tmp_path / "a.jsonl", *records), sample=10)[0]
    two = read(tmp_path, path=lines(tmp_path / "b.jsonl", *records[::-1]), sample=10)[0]
    assert len(one) == 10 and {p["pair_id"] for p in one} == {p["pair_id"] for p in two}
    assert [p["row"] for p in one] == sorted(p["row"] for p in one)


@pytest.mark.parametrize("name", ["f.jsonl", "f*.jsonl", "sub/../f.jsonl", "{home}/f.jsonl"])
def test_names_in_a_query_are_relative_to_the_configuration(tmp_path, monkeypatch, name):
    """In whatever folder it is read, also one with a file of that name; ~ is the home folder. Changes are seen."""
    ours, other = tmp_path / "ours", tmp_path / "other"
    for folder in (ours / "sub", other / "sub"):
        folder.mkdir(parents=True)
    lines(other / "f.jsonl", GOOD, GOOD, GOOD)
    lines(ours / "f.jsonl", GOOD)
    monkeypatch.setenv("HOME", str(ours))
    (ours / "assay.toml").write_text(
        f"""[[sources]]\nname = "s"\nquery = "FROM '{name.format(home="~")}'"\n[judges]\nquorum = 1\n"""
        "panel = [{name = 'one', backend = 'openai', model = 'm'}]\n"
        "[people]\nbackend = 'files'\n[attributes]\nbackend = 'heuristic'\n"
    )
    lake, seen = Lake(str(tmp_path / "lake")), set()
    for folder, records in ((ours, 1), (other, 1), (tmp_path, 2)):
        monkeypatch.chdir(folder)
        lines(ours / "f.jsonl", *[GOOD] * records)
        source = load(ours / "assay.toml").sources[0]
        assert sum(batch.records for batch in read_source(source, lake)) == records and Path.cwd() == folder
        seen.add(fingerprint(source, lake))
    assert len(seen) == 2


def test_a_query_that_fails_or_finds_no_file_says_so(tmp_path):
    missing = f"SELECT * FROM '{tmp_path}/no.parquet'"
    assert [q["reason"] for q in read(tmp_path, query=missing)[2]] == ["missing_file"]
    for nothing in ("SELEC 1", ";", "-- SELECT 1"):
        assert [q["reason"] for q in read(tmp_path, query=nothing)[2]] == ["query_failed"]


def test_a_query_that_fails_on_the_way_costs_its_source_and_no_more(tmp_path):
    query = "SELECT 'Q' AS prompt, 'A' AS chosen, 'B' AS rejected FROM range(5000) t(i) WHERE if(i < 4000, true, error('lost'))"
    (problem,) = read(tmp_path, query=query)[2]
    assert (problem["row"], problem["reason"]) == (0, "query_failed") and "lost" in problem["error"]


def test_a_query_that_names_a_column_twice_is_refused(tmp_path):
    pairs, _, (problem,), _ = read(
        tmp_path, query="SELECT 'Q' AS prompt, 'A' AS chosen, 'B' AS rejected, 'C' AS chosen"
    )
    assert pairs == [] and (problem["row"], problem["reason"]) == (0, "wrong_fields") and "'chosen'" in problem["error"]


@pytest.mark.parametrize(
    "name",
    ["'{d}/one/a.jsonl'", "'{d}/*/a.jsonl'", "'{d}/**/a.jsonl'", "'{d}/one/?.jsonl'", "'{d}/[no]*/[a]*.jsonl'",
     '"{d}/one/a.jsonl"', '"{d}/o*/*"', "'a.jsonl'", "['{d}/none.jsonl', '{d}/one/a.jsonl']", "'{d}/it''s/a.jsonl'",
     "/* it's\nhere */ '{d}/one/a.jsonl'", "-- isn't it here?\n'{d}/one/a.jsonl'", "'{d}/one/a.jsonl' -- isn't it?\n",
     "read_json($${d}/one/a.jsonl$$)", "read_json($of${d}/one/a.jsonl$of$)", "'file://{d}/one/a.jsonl'", "'file:{d}/o*/a.jsonl'"],
)  # fmt: skip
def test_a_change_of_any_file_that_a_query_names_is_seen(tmp_path, monkeypatch, name):
    for folder in ("one", "it's"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / "one")
    source = Source(
        name="s", query=f"SELECT '100%' AS a, '' AS b FROM {name.format(d=tmp_path)} WHERE x <> '[' AND y <> '*'"
    )
    prints = []
    for text in ("before", "after"):
        for folder in ("one", "it's"):
            lines(tmp_path / folder / "a.jsonl", GOOD | {"chosen": text})
        prints.append(fingerprint(source, Lake(str(tmp_path / "lake"))))
    assert prints[0][0] != prints[1][0] and prints[0][1] > 0


def test_a_file_that_nobody_touched_is_read_once(tmp_path):
    path, lake = Path(lines(tmp_path / "f.jsonl", GOOD)), Lake(str(tmp_path / "lake"))

    def now(text: str, seconds_ago: float) -> str:
        lines(path, GOOD | {"chosen": text})
        os.utime(path, (0, time.time() - seconds_ago))
        return fingerprint(Source(name="s", path=str(path)), lake)[0]

    one, other = now("a", 0), now("b", 0)
    assert one != other  # equal in size, and too soon to tell by its time
    settled = now("a", 1e6)
    os.utime(path, ns=(0, before := path.stat().st_mtime_ns))
    lines(path, GOOD | {"chosen": "b"})
    os.utime(path, ns=(0, before))
    assert fingerprint(Source(name="s", path=str(path)), lake)[0] == settled == one
    assert now("b", 5e5) == other


# ---- recorded answers ----------------------------------------------------------------------------------------------
def test_answers_name_the_winner_by_content(tmp_path):
    rows = [("A", "B", 1, "p"), ("A", "B", 2, "q"), ("A", "B", 0, "r"), ("A", "B", None, "s"), ("A", None, 1, "t")]
    records = [{"prompt": "Q", "a": a, "b": b, "winner": w, "who": who} for a, b, w, who in rows]
    answers = Answers(
        path=lines(tmp_path / "f.jsonl", *records, "{broken"),
        shape="winner", codes={"a": [1], "b": [2], "tie": [0]}, annotator_field="who",
    )  # fmt: skip
    found = read_answers(answers, Lake(str(tmp_path))).read_all().to_pylist()
    name = comparison_id([("user", "Q")], "B", "A")
    common = {"comparison_id": name, "first": text_hash("A"), "second": text_hash("B")}
    assert found == [
        {**common, "annotator": "p", "winner": text_hash("A")},
        {**common, "annotator": "q", "winner": text_hash("B")},
        {**common, "annotator": "r", "winner": ""},
    ]


def test_answers_in_a_missing_file_are_an_error_that_names_it(tmp_path):
    with pytest.raises(BadFile, match="gone"):
        read_answers(Answers(path=str(tmp_path / "gone.jsonl")), Lake(str(tmp_path)))


def test_what_is_wrong_with_answers_does_not_tell_the_values_of_environment_variables(tmp_path, monkeypatch):
    """An error is told with all those that it comes from."""
    monkeypatch.setenv("TOKEN", "hunter-2-hunter")
    (tmp_path / "assay.toml").write_text(
        """sources = [{name = "s", path = "s.jsonl"}]
        [world]
        [judges]
        panel = [{name = "one"}, {name = "two", answers = [{query = "SELECT error('no ${TOKEN}')"}]}]
        [people]
        answers = [{query = "SELECT 'Q' AS prompt, 'A' AS chosen, 'B' AS rejected WHERE error('no ${TOKEN}') > ''"}]
        [reference]
        answers = [{path = "${TOKEN}/a.jsonl"}]
        """
    )
    config = load(tmp_path / "assay.toml")
    for answers in (*config.judges.judges[1].answers, *config.people.answers, *config.reference.answers):
        with pytest.raises(BadFile) as error:
            read_answers(answers, Lake(str(tmp_path / "lake")))
        told = "".join(traceback.format_exception(error.value))
        assert "hunter" not in told and "${TOKEN}" in told


# ---- real files ----------------------------------------------------------------------------------------------------
@pytest.mark.skipif(not SHARED.exists(), reason="no shared data here")
@pytest.mark.parametrize(
    ("path", "options", "pairs", "reasons"),
    [
        ("pool/hh_rlhf_harmless_base_test.jsonl.gz", {}, 2299,
         {"different_conversations": 5, "empty_response": 4, "bad_roles": 4}),
        ("pool/oasst_en_100_tree.jsonl.gz", {"shape": "tree"}, 754, {"no_label": 7}),
        ("pool/llama_factory_oaast_rm_zh.json.gz", {"shape": "ranking", "fields": {
            "prompt": "instruction", "input": "input", "history": "history", "responses": "output"}}, 1802,
         {"identical": 6, "identical_normalised": 1}),
        ("pool/llama_factory_v1_dpo_demo.jsonl.gz", {"fields": {
            "chosen": "chosen_messages", "rejected": "rejected_messages"}}, 10, {}),
        ("pool/llama_factory_dpo_zh_demo.json.gz", {"fields": {"prompt": "conversations"}}, 300, {}),
    ],
)  # fmt: skip
def test_real_files_hold_what_an_independent_count_found(tmp_path, path, options, pairs, reasons):
    found, unusable, quarantine, _ = read(tmp_path, path=str(SHARED / path), **options)
    assert (len(found), Counter(u["reason"] for u in unusable), quarantine) == (pairs, reasons, [])
