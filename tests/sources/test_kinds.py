"""Kinds of files that people have: structures that stand as text, messages that hold more than text, context beside
dialogues, odd parts, files of other shapes, and configurations that find nothing."""

import gzip
import json

import numpy as np
import pytest

from resources.lake import Lake
from resources.settings import Answers, Source
from resources.sources.reader import fingerprint, read_source, refused_answers
from tests.sources.test_reader import GOOD, dialogue, lines, read, texts

YES, NO = dialogue("A"), dialogue("B")


def refused(unusable: list[dict], quarantine: list[dict]) -> list[tuple]:
    return [(r["row"], r["reason"]) for r in (*unusable, *quarantine)]


# ---- structures that stand as text ---------------------------------------------------------------------------------
WRITTEN = {
    "JSON": json.dumps,
    "Python": repr,
    "numpy": lambda said: str(np.array(said, object)),
    "numpy's repr": lambda said: repr(np.array(said, object)),
    "JSON of JSON": lambda said: json.dumps(json.dumps(said)),
    "an object around it": lambda said: json.dumps({"messages": said}),
    "ShareGPT": lambda said: repr([{"from": m["role"], "value": m["content"]} for m in said]),
    "nan beside": lambda said: repr([m | {"weight": float("nan")} for m in said]),
}
SAID = ['It\'s "so".\nOr } { not', "[1, 2]"]


@pytest.mark.parametrize("written", WRITTEN)
def test_a_dialogue_that_stands_as_text_is_the_dialogue(tmp_path, written):
    yes, no = ([*dialogue(SAID[0]), {"role": "user", "content": "And?"}, *dialogue(a)[1:]] for a in SAID)
    record = {"chosen": WRITTEN[written](yes), "rejected": WRITTEN[written](no)}
    pairs, *lost = read(tmp_path, path=lines(tmp_path / "f.jsonl", record))
    assert lost[:2] == [[], []] and texts(pairs) == [(["Q", SAID[0], "And?"], *SAID)]


def test_everywhere_that_a_dialogue_may_stand_it_may_stand_as_text(tmp_path):
    def read_one(record, **options):
        return texts(read(tmp_path, path=lines(tmp_path / "f.jsonl", *record), **options)[0])

    asked = json.dumps(dialogue("A")[:1])
    assert read_one([{"prompt": asked, "chosen": "A", "rejected": "B"}]) == [(["Q"], "A", "B")]
    assert read_one([{"prompt": "Q", "chosen": repr(YES[1:]), "rejected": repr(NO[1])}]) == [(["Q"], "A", "B")]
    codes = {"a": [1], "b": [2]}
    one = {"a": repr(YES), "b": repr(NO), "winner": 1}
    assert read_one([one], shape="winner", codes=codes) == [(["Q"], "A", "B")]
    listed = {"responses": json.dumps([repr(YES), repr(NO)]), "scores": "[2 1]"}
    assert read_one([listed], shape="scores") == [(["Q"], "A", "B")]
    single = [{"messages": repr(YES), "label": True}, {"messages": repr(NO), "label": False}]
    assert read_one(single, shape="unpaired", fields={"messages": "messages"}) == [(["Q"], "A", "B")]
    history = GOOD | {"h": json.dumps([["one", "two"]])}
    assert read_one([history], fields={"history": "h"})[0][0] == ["one", "two", GOOD["prompt"]]
    messages = GOOD | {"prompt": [json.dumps(m) for m in dialogue("two", "one")] + [json.dumps(YES[0])]}
    assert read_one([messages])[0][0] == ["one", "two", "Q"]


def test_lists_of_prompts_and_answers_as_text_are_exchanges(tmp_path):
    """Kaggle's file of Chatbot Arena; a list that only the answers are is a text."""
    options = {"shape": "winner", "codes": {"a": [1], "b": [0]}}
    rows = [
        {"prompt": '["P"]', "a": '["A"]', "b": '["B"]', "winner": 1},
        {"prompt": '["P","Q"]', "a": '["same","A"]', "b": '["same","B"]', "winner": 1},
        {"prompt": '["P","Q"]', "a": '["one","A"]', "b": '["two","B"]', "winner": 1},
        {"prompt": "List them.", "a": '["A"]', "b": '["B"]', "winner": 0},
        {"prompt": '["P"]', "a": "[null]", "b": '["B"]', "winner": 1},
    ]
    pairs, unusable, quarantine, _ = read(tmp_path, path=lines(tmp_path / "f.jsonl", *rows), **options)
    assert texts(pairs) == [(["P"], "A", "B"), (["P", "same", "Q"], "A", "B"), (["List them."], '["B"]', '["A"]')]
    assert refused(unusable, quarantine) == [(3, "different_conversations"), (5, "null_response")]


@pytest.mark.parametrize(
    "answer",
    ['{"name": "Ann", "role": "admin"}', '["a", "b"]', "[]", "{}", '[{"type": "text"}]', "{'x': 1}", "[Ann] said {so}",
     '[{"role": "king", "value": 3}]', '{"content": "x"}', "[INST] write {\"role\": \"user\"} [/INST]"],
)  # fmt: skip
def test_a_text_that_merely_looks_like_a_structure_stays_a_text(tmp_path, answer):
    pairs, *_ = read(tmp_path, path=lines(tmp_path / "f.jsonl", GOOD | {"chosen": answer}))
    assert [p["chosen"] for p in pairs] == [answer]


@pytest.mark.parametrize(
    "answer",
    [repr(YES)[:-2], json.dumps(YES) + " and more", "[{'role': 'user', 'content': open('x')}]",
     "[{'role': 'user', 'content': " + "'x'," * 60_000 + "}]", "[{'role': 'user', 'content': '" + "x" * 1_000_001 + "'}]",
     '[{"role": "user", "role": "assistant", "content": "x"}]', "[{'role': 'user'," + "[" * 5_000 + "]" * 5_000 + "}]"],
    ids=["cut", "more", "code", "many pieces", "long", "a key twice", "deep"],
)  # fmt: skip
def test_what_begins_as_a_dialogue_and_cannot_be_read_is_refused_by_name(tmp_path, answer):
    pairs, unusable, quarantine, _ = read(tmp_path, path=lines(tmp_path / "f.jsonl", GOOD, GOOD | {"chosen": answer}))
    assert len(pairs) == 1 and refused(unusable, quarantine) == [(2, "serialised_dialogue")]


# ---- more than text ------------------------------------------------------------------------------------------------
HELD = {
    "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": "{}"}}],
    "function_call": {"name": "f", "arguments": "{}"}, "refusal": "No.", "images": ["x.png"], "audio": {"id": "x"},
    "reasoning_content": "hm", "name": "Ann", "thinking": "hm", "files": ["a"], "something_new": 1,
}  # fmt: skip
NOTHING = [None, "", [], {}, False, [None], {"name": None, "arguments": None}]


@pytest.mark.parametrize("key", HELD)
def test_what_a_message_holds_beside_its_text_is_a_reason_wherever_it_stands(tmp_path, key):
    more = {key: HELD[key]}
    answer, asked = {"role": "assistant", "content": "A"} | more, {"role": "user", "content": "Q"} | more
    records = [
        GOOD | {"chosen": [answer]},
        GOOD | {"chosen": answer, "rejected": {"role": "assistant", "content": "A"}},
        GOOD | {"prompt": [asked]},
        GOOD | {"chosen": {"role": "assistant", "content": None} | more},
        GOOD | {"chosen": [YES[0], answer], "rejected": [YES[0], NO[1]], "prompt": None},
        GOOD | {"rejected": repr([asked, NO[1]]), "chosen": repr([asked, YES[1]])},
        GOOD | {"chosen": [{"type": "text", "text": "A"} | more]},
    ]
    pairs, unusable, quarantine, _ = read(tmp_path, path=lines(tmp_path / "f.jsonl", *records))
    assert pairs == [] and refused(unusable, quarantine) == [(row, "more_than_text") for row in range(1, 8)]
    assert all(f"'{key}'" in u["evidence"] for u in unusable)


@pytest.mark.parametrize("shape", ["winner", "scores", "tree", "unpaired"])
def test_every_shape_refuses_what_is_more_than_text(tmp_path, shape):
    more = {"role": "assistant", "content": "A", "tool_calls": HELD["tool_calls"]}
    record, options = {
        "winner": ({"prompt": "Q", "a": more, "b": "B", "winner": 1}, {"codes": {"a": [1], "b": [2]}}),
        "scores": ({"prompt": "Q", "responses": [more, "B"], "scores": [2, 1]}, {}),
        "tree": ({"prompt": {"role": "user", "text": "Q", "tool_calls": [1], "replies": []}}, {}),
        "unpaired": ({"prompt": "Q", "response": more, "label": True}, {}),
    }[shape]
    _, unusable, quarantine, _ = read(tmp_path, path=lines(tmp_path / "f.jsonl", record), shape=shape, **options)
    assert refused(unusable, quarantine) == [(1, "more_than_text")]


def test_keys_that_hold_nothing_and_keys_that_nobody_has_to_read_do_no_harm(tmp_path):
    empty = [GOOD | {"chosen": {"role": "assistant", "content": "A", "tool_calls": v, "images": v}} for v in NOTHING]
    about = {"id": 7, "weight": 1.0, "timestamp": "now", "lang": "en", "finish_reason": "stop"}
    known = GOOD | {"chosen": {"role": "assistant", "content": "A"} | about, "images": [], "tools": None}
    pairs, *_ = read(tmp_path, path=lines(tmp_path / "f.jsonl", *empty, known))
    assert [p["chosen"] for p in pairs] == ["A"] * (len(NOTHING) + 1)


@pytest.mark.parametrize("key", ["images", "image", "videos", "audio", "tools"])
@pytest.mark.parametrize("shape", ["pair", "unpaired"])
def test_a_record_with_pictures_sounds_or_tools_is_refused(tmp_path, key, shape):
    records = [GOOD | {"response": f"r{i}", "label": i % 2} for i in range(2)]
    pairs, unusable, _, _ = read(
        tmp_path, path=lines(tmp_path / "f.jsonl", *records, GOOD | {"response": "x", "label": 1, key: ["held"]}), shape=shape
    )  # fmt: skip
    assert {p["row"] for p in pairs} <= {1, 2} and [u["reason"] for u in unusable if u["row"] == 3] == [
        "more_than_text"
    ]
    assert f"EXCLUDE ({key})" in next(u["evidence"] for u in unusable if u["row"] == 3)


@pytest.mark.parametrize("role", ["tool", "function", "observation"])
def test_a_turn_of_a_tool_is_refused_by_name(tmp_path, role):
    prompt = [YES[0], {"role": "assistant", "content": "x"}, {"role": role, "content": "12"}, YES[0]]
    _, unusable, quarantine, _ = read(tmp_path, path=lines(tmp_path / "f.jsonl", GOOD | {"prompt": prompt}))
    assert refused(unusable, quarantine) == [(1, "bad_roles")] and f"'{role}'" in unusable[0]["evidence"]


def test_a_null_key_is_no_key_and_two_that_differ_are_refused(tmp_path):
    both = {"role": None, "content": None, "from": "gpt", "value": "A"}
    records = [
        GOOD | {"chosen": both},
        GOOD | {"chosen": {"role": "user", "from": "gpt", "content": "A"}},
        GOOD | {"chosen": {"role": "assistant", "content": "A", "value": "B"}},
    ]
    pairs, unusable, _, _ = read(tmp_path, path=lines(tmp_path / "f.jsonl", *records))
    assert [p["row"] for p in pairs] == [1] and refused(unusable, []) == [(2, "bad_roles"), (3, "more_than_text")]


# ---- context beside dialogues --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("context", "fields", "before"),
    [
        ({"prompt": "Q"}, {}, ["Q"]),
        ({"prompt": " Q\n"}, {}, ["Q"]),
        ({"prompt": [{"role": "system", "content": "S"}, YES[0]]}, {}, ["S", "Q"]),
        ({"prompt": [*dialogue("y", "x"), YES[0]]}, {}, ["x", "y", "Q"]),
        ({"history": [["x", "y"]]}, {"history": "history"}, ["x", "y", "Q"]),
        ({"history": [["x", "y"]], "prompt": "Q"}, {"history": "history", "prompt": "prompt"}, ["x", "y", "Q"]),
        ({"s": "S"}, {"system": "s"}, ["S", "Q"]),
        ({"prompt": "Other"}, {}, None),
        ({"prompt": [{"role": "system", "content": "S"}, {"role": "user", "content": "P"}]}, {}, None),
        ({"prompt": "Q", "i": "more"}, {"input": "i"}, None),
        ({"history": [["x", "y"]], "prompt": "P"}, {"history": "history", "prompt": "prompt"}, None),
    ],
)
def test_mapped_context_is_joined_with_dialogues_or_the_disagreement_is_the_reason(tmp_path, context, fields, before):
    pairs, unusable, quarantine, _ = read(
        tmp_path, path=lines(tmp_path / "f.jsonl", {"chosen": YES, "rejected": NO} | context), fields=fields
    )
    assert texts(pairs) == ([(before, "A", "B")] if before else [])
    assert refused(unusable, quarantine) == ([] if before else [(1, "context_disagrees")])


def test_two_system_turns_that_differ_disagree(tmp_path):
    said = [{"role": "system", "content": "S"}, *YES], [{"role": "system", "content": "S"}, *NO]
    record = {"chosen": said[0], "rejected": said[1], "system": "Other"}
    path = lines(tmp_path / "f.jsonl", record, record | {"system": "S"}, record | {"system": ""})
    pairs, unusable, _, _ = read(tmp_path, path=path, fields={"system": "system"})
    assert texts(pairs) == [(["S", "Q"], "A", "B")] * 2 and refused(unusable, []) == [(1, "context_disagrees")]


def test_transcripts_that_were_asked_for_are_texts_and_one_alone_is_taken_apart(tmp_path):
    said = [f"Human: Is tea good?\n\nAssistant: {a}" for a in ("Yes.", "dunno")]
    ask = "Write a dialogue about tea."
    records = [
        {"prompt": ask, "chosen": said[0], "rejected": said[1]},
        {"prompt": "Is tea good?", "chosen": said[0], "rejected": said[1]},
        {"prompt": "Is tea good?", "chosen": said[0], "rejected": "No."},
        {"prompt": ask, "chosen": said[0], "rejected": "No."},
        {"prompt": ask, "chosen": "No.", "rejected": YES},
    ]
    pairs, unusable, quarantine, _ = read(tmp_path, path=lines(tmp_path / "f.jsonl", *records))
    assert texts(pairs) == [([ask], *said), (["Is tea good?"], "Yes.", "dunno"), (["Is tea good?"], "Yes.", "No.")]
    assert refused(unusable, quarantine) == [(4, "context_disagrees"), (5, "context_disagrees")]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("space", [" ", "", "\n"])
def test_a_transcript_may_have_any_line_ends_and_no_space(tmp_path, end, space):
    said = [f"{end}{end}Human:{space}Q{end}{end}Assistant:{space}{a}" for a in "AB"]
    pairs, *_ = read(tmp_path, path=lines(tmp_path / "f.jsonl", {"chosen": said[0], "rejected": said[1]}))
    assert texts(pairs) == [(["Q"], "A", "B")]


# ---- one bad part --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("odd", "reason"),
    [({"scores": "N/A"}, "wrong_type"), ({"scores": None}, "no_label"), ({"responses": 7}, "wrong_type"),
     ({"responses": {"role": "user", "content": "x"}}, "bad_roles"), ({"responses": None}, "null_response"),
     ({"responses": "half \ud83d"}, "not_utf8"), ({"responses": [{"type": "image", "url": "x"}]}, "wrong_type")],
)  # fmt: skip
def test_one_odd_response_costs_the_pairs_that_it_would_stand_in(tmp_path, odd, reason):
    record = {"prompt": "Q", "responses": ["A", "B", "C", "D"], "scores": [4, 3, 2, 1]}
    for name, value in odd.items():
        record[name] = [*record[name][:2], value, *record[name][3:]]
    path = lines(tmp_path / "f.jsonl", json.dumps(record))
    pairs, unusable, quarantine, _ = read(tmp_path, path=path, shape="scores")
    assert [(p["chosen"], p["rejected"]) for p in pairs] == [("A", "B"), ("A", "D"), ("B", "D")]
    assert [u["reason"] for u in unusable] == [reason] * 3 and quarantine == []
    assert sorted(r["part"] for r in pairs + unusable) == list(range(6))


def test_an_odd_node_of_a_tree_costs_what_hangs_on_it(tmp_path):
    def node(role, text, rank=None, *replies):
        return {"role": role, "text": text, "rank": rank, "replies": list(replies)}

    good = node("prompter", "Q2", None, node("assistant", "C", 0), node("assistant", "D", 1))
    bad = node("narrator", "Q3", None, node("assistant", "E", 0), node("assistant", "F", 1))
    answers = [node("assistant", "A", 0, good, bad), node("assistant", "B", 1), node("assistant", 7, 2), "odd"]
    record = {"prompt": node("prompter", "Q", None, *answers, node("assistant", "G", "n/a"))}
    pairs, unusable, quarantine, _ = read(tmp_path, path=lines(tmp_path / "f.jsonl", record), shape="tree")
    assert texts(pairs) == [(["Q"], "A", "B"), (["Q", "A", "Q2"], "C", "D")] and quarantine == []
    assert {"bad_roles", "wrong_type"} == {u["reason"] for u in unusable}


def test_a_row_is_paired_only_where_the_pair_stands(tmp_path):
    def row(text, label):
        return {"prompt": "Q", "response": text, "label": label}

    broken = '{"prompt": "Q", "response": "half \\ud83d", "label": false}'
    long, other = "x" * 400, "y" * 400
    records = [row("Oak", 1), broken, row("Soup", 0), row("Oak", 0), row(long, 0), row(other, 1), row("z" * 2_000, 1)]
    path = lines(tmp_path / "f.jsonl", *records)
    pairs, unusable, quarantine, count = read(tmp_path, path=path, shape="unpaired", max_row_bytes=702)
    assert [(p["chosen"], p["rejected"]) for p in pairs] == [
        ("Oak", "Soup"), ("Oak", long), (other, "Soup"), (other, "Oak")]  # fmt: skip
    reasons = {(u["row"], u["reason"]) for u in unusable}
    assert reasons == {(1, "identical"), (6, "row_too_big"), *((row, "paired") for row in (3, 4, 5))}
    assert refused([], quarantine) == [(2, "not_utf8"), (7, "row_too_big")] and count == 7
    _, unusable, _, _ = read(tmp_path, path=lines(tmp_path / "g.jsonl", records[0], records[3]), shape="unpaired")
    assert refused(unusable, []) == [(1, "identical"), (2, "identical")]  # nobody is paired with a pair that is none
    assert "half" in quarantine[0]["excerpt"]


# ---- files of other shapes -----------------------------------------------------------------------------------------
GOODS = [GOOD | {"chosen": f"answer {i}"} for i in range(4)]


def test_what_follows_the_end_of_an_array_is_read_or_told(tmp_path):
    one, two = json.dumps(GOODS[:2]), json.dumps(GOODS[2:])
    for text, rows, reasons in (
        (one + two, 4, []), (one + "\n" + two + "\n", 4, []), (one + "[]" + two, 4, []), ("[]" + one, 2, []),
        (one + " oops", 2, ["not_json"]), (one + json.dumps(GOOD), 2, ["not_json"]), (one + two[:-3], 3, ["truncated"]),
        (one + " " * 600_000 + two, 4, []),
    ):  # fmt: skip
        (tmp_path / "f.json").write_text(text)
        pairs, _, quarantine, _ = read(tmp_path, path=str(tmp_path / "f.json"))
        assert ([p["row"] for p in pairs], [q["reason"] for q in quarantine]) == ([*range(1, rows + 1)], reasons), text
    (tmp_path / "f.jsonl").write_text(one + "\n" + two)  # arrays in the place of lines
    assert len(read(tmp_path, path=str(tmp_path / "f.jsonl"))[0]) == 4


@pytest.mark.parametrize("suffix", ["json", "jsonl", "json.gz"])
def test_objects_over_several_lines_are_records(tmp_path, suffix):
    path = tmp_path / f"f.{suffix}"
    text = "\n".join(json.dumps(r | {"pad": "x" * 150_000}, indent=2) for r in GOODS)
    path.write_bytes(gzip.compress(text.encode()) if suffix.endswith("gz") else text.encode())
    pairs, _, quarantine, records = read(tmp_path, path=str(path))
    assert (len(pairs), quarantine, records) == (4, [], 4)
    (tmp_path / "w.json").write_text(json.dumps({"name": "report", "prompts": GOODS}, indent=1))
    _, _, quarantine, records = read(tmp_path, path=str(tmp_path / "w.json"))
    assert [(q["row"], q["reason"]) for q in quarantine] == [(0, "wrong_fields")] and records == 0
    assert "name, prompts" in quarantine[0]["error"]


def test_a_table_in_one_object_is_one_clear_line(tmp_path):
    columns = {name: {str(i): r[name] for i, r in enumerate(GOODS)} for name in GOOD}
    tables = [columns, {str(i): r for i, r in enumerate(GOODS)}, {n: [r[n] for r in GOODS] for n in GOOD},
              {"columns": [*GOOD], "index": [0], "data": [[*GOOD.values()]]}]  # fmt: skip
    for table in tables:
        _, _, quarantine, records = read(tmp_path, path=lines(tmp_path / "f.json", table))
        assert records == 0 and refused([], quarantine) == [(0, "wrong_fields")]
        assert "orient='records'" in quarantine[0]["error"]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r", b"\r\r\n", b"\n\r"])
def test_lines_may_end_in_any_way(tmp_path, end):
    (tmp_path / "f.jsonl").write_bytes(end.join(json.dumps(r).encode() for r in GOODS) + end)
    (tmp_path / "f.csv").write_bytes(end.join([b"prompt,chosen,rejected", b"Q,A,B", b"R,A,B"]))
    assert [p["row"] for p in read(tmp_path, path=str(tmp_path / "f.jsonl"))[0]] == [1, 2, 3, 4]
    assert len(read(tmp_path, path=str(tmp_path / "f.csv"))[0]) == 2


def test_line_ends_of_two_kinds_in_one_file(tmp_path):
    body = [json.dumps(r).encode() for r in GOODS]
    (tmp_path / "f.jsonl").write_bytes(body[0] + b"\n" + body[1] + b"\r" + body[2] + b"\r\n" + body[3])
    assert [p["row"] for p in read(tmp_path, path=str(tmp_path / "f.jsonl"))[0]] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (['Q1\tOak\t"Rock', 'Q2\tOak"\tRock', 'Q3\t"Oak" he said\tRock'],
         [("Oak", '"Rock'), ('Oak"', "Rock"), ('"Oak" he said', "Rock")]),
        (['Q1\t"Oak"\tRock'], [('"Oak"', "Rock")]),
        (['Q1\t"Oak ""old"""\tRock', "Q2\tOak\tRock"], [('Oak "old"', "Rock"), ("Oak", "Rock")]),
        (['Q1\t"Oak\told"\tRock', 'Q2\t"Oak\nnew"\tRock'], [("Oak\told", "Rock"), ("Oak\nnew", "Rock")]),
    ],
)  # fmt: skip
def test_quotes_of_tab_separated_files_are_data_unless_they_enclose_cells(tmp_path, rows, expected):
    (tmp_path / "f.tsv").write_text("\n".join(["prompt\tchosen\trejected", *rows]) + "\n")
    pairs, _, quarantine, _ = read(tmp_path, path=str(tmp_path / "f.tsv"))
    assert ([(p["chosen"], p["rejected"]) for p in pairs], quarantine) == (expected, [])


def test_a_quoted_header_encloses_every_cell(tmp_path):
    (tmp_path / "f.tsv").write_text('"prompt"\t"chosen"\t"rejected"\n"Q"\t"A"\t"B"\n')
    assert texts(read(tmp_path, path=str(tmp_path / "f.tsv"))[0]) == [(["Q"], "A", "B")]


def test_a_pattern_is_its_files_in_order_and_each_is_named(tmp_path):
    lines(tmp_path / "b.jsonl", GOODS[1], "{broken", GOODS[2])
    lines(tmp_path / "a.jsonl", GOODS[0], GOOD | {"chosen": 7})
    (tmp_path / "c.jsonl").write_bytes(b"")
    lines(tmp_path / "d.jsonl", GOODS[3])
    source = {"path": str(tmp_path / "*.jsonl")}
    pairs, _, quarantine, records = read(tmp_path, **source)
    assert [(p["row"], p["chosen"]) for p in pairs] == [
        (1, "answer 0"),
        (3, "answer 1"),
        (5, "answer 2"),
        (6, "answer 3"),
    ]
    assert {(q["row"], q["reason"], q["file"][-7:]) for q in quarantine} == {
        (2, "wrong_type", "a.jsonl"), (4, "not_json", "b.jsonl"), (0, "empty_file", "c.jsonl")}  # fmt: skip
    assert records == 6
    before = fingerprint(Source(name="s", **source), Lake(str(tmp_path / "lake")))
    lines(tmp_path / "e.jsonl", GOOD)
    assert fingerprint(Source(name="s", **source), Lake(str(tmp_path / "lake"))) != before
    assert read(tmp_path, path=str(tmp_path / "*.parquet"))[2][0]["reason"] == "missing_file"


# ---- nothing vanishes ----------------------------------------------------------------------------------------------
def warning(folder, **source) -> str:
    return list(read_source(Source(name="s", **source), Lake(str(folder / "lake"))))[-1].warning


def test_a_source_without_a_pair_says_why_and_what_to_try(tmp_path):
    path = lines(tmp_path / "f.jsonl", {"system": "S", "question": "Q", "chosen": "A", "rejected": "B"})
    told = warning(tmp_path, path=path)
    assert "needs prompt" in told and "system, question, chosen, rejected" in told and 'prompt = "question"' in told
    ties = [{"prompt": "Q", "a": "A", "b": "B", "winner": 0}] * 3
    told = warning(
        tmp_path, path=lines(tmp_path / "t.jsonl", *ties), shape="winner", codes={"a": [1], "b": [2], "tie": [0]}
    )
    assert "no pair in 3 records: tie 3" in told and "prompt, a, b, winner" in told
    assert warning(tmp_path, path=lines(tmp_path / "g.jsonl", GOOD)) == ""


def test_a_path_that_never_leads_anywhere_is_named_with_what_is_there(tmp_path):
    record = {
        "instruction": "Q",
        "completions": [{"response": "A", "overall_score": 5}, {"response": "B", "overall_score": 1}],
    }
    fields = {"prompt": "instruction", "responses": "completions[].response", "scores": "completions[].overal"}
    _, _, (problem,), _ = read(tmp_path, path=lines(tmp_path / "f.jsonl", record), shape="scores", fields=fields)
    assert problem["reason"] == "wrong_fields" and "needs completions[].overal" in problem["error"]
    assert "completions[] has response, overall_score" in problem["error"]
    sparse = [record | {"completions": []}, record | {"completions": None}]  # what may lead somewhere is no mistake
    found = read(tmp_path, path=lines(tmp_path / "g.jsonl", *sparse), shape="scores", fields=fields)
    assert {u["reason"] for u in found[1]} == {"single_response", "null_response"}


def test_a_condition_that_keeps_nothing_is_told(tmp_path):
    record = {"prompt": "Q", "chosen": "A", "rejected": "B", "n": [{"ok": True}]}
    _, _, (problem,), records = read(tmp_path, path=lines(tmp_path / "f.jsonl", record), where="n[0].ok")
    assert (problem["row"], problem["reason"], records) == (0, "nothing_kept", 0)
    assert "none of 1 records" in problem["error"] and "from 1" in problem["error"]


@pytest.mark.parametrize("code", ["(-inf, 0)", "[1, x]", "(, 3)", "[3, 1]", "(2, 2)", "[1.2.3, 4]"])
def test_what_is_meant_as_an_interval_and_is_none_is_named(tmp_path, code):
    record = {"prompt": "Q", "a": "A", "b": "B", "winner": -2}
    path = lines(tmp_path / "f.jsonl", record)
    _, _, (problem,), _ = read(tmp_path, path=path, shape="winner", codes={"a": [code], "b": ["(0, 5]"]})
    assert problem["reason"] == "wrong_fields" and code in problem["error"] and "no interval" in problem["error"]
    good = {"a": ["[-3e0, -.5)"], "b": ["(a, b)"]}
    assert len(read(tmp_path, path=path, shape="winner", codes=good)[0]) == 1


@pytest.mark.parametrize(
    ("condition", "kept"),
    [
        ("chosen_score > rejected_score", [1, 2]), ("chosen_score - rejected_score >= 7", [2]), ("chosen_score > 9", [1]),
        ("chosen_score BETWEEN 9 AND 10", [1, 2]), ("chosen_score IN (2, 10)", [1, 3]), ("length(chosen_score) = 2", [1]),
        ("chosen_score > '10'", [2, 3]), ("prompt = 'R'", [2]), ("NOT (chosen_score < 9 OR prompt = 'R')", [1]),
    ],
)  # fmt: skip
def test_cells_are_compared_as_the_numbers_that_they_spell(tmp_path, condition, kept):
    rows = ["prompt,chosen,rejected,chosen_score,rejected_score", "Q,A,B,10,9", "R,A,B,9,2", "S,A,B,2,10", "T,A,B,,1"]
    (tmp_path / "f.csv").write_text("\n".join(rows))
    pairs, _, quarantine, _ = read(tmp_path, path=str(tmp_path / "f.csv"), where=condition)
    assert ([p["row"] for p in pairs], quarantine) == (kept, [])


def test_a_cell_that_is_no_number_costs_its_row_where_numbers_are_compared(tmp_path):
    (tmp_path / "f.csv").write_text("prompt,chosen,rejected,score\nQ,A,B,10\nR,A,B,n/a\nS,A,B,2\n")
    pairs, _, quarantine, _ = read(tmp_path, path=str(tmp_path / "f.csv"), where="score > 9")
    assert [p["row"] for p in pairs] == [1] and refused([], quarantine) == [(2, "wrong_type")]


def test_every_recorded_answer_is_a_label_or_has_a_reason(tmp_path):
    rows = [{"prompt": "Q", "a": "A", "b": "B", "winner": w} for w in ("a", "A", "tie", "bad", None, "b")]
    path = lines(tmp_path / "f.jsonl", *rows, "{broken", {"prompt": "Q", "a": "A", "b": None, "winner": "a"})
    answers = Answers(path=path, shape="winner", codes={"a": ["a"], "b": ["b"], "tie": ["tie"], "both_bad": ["bad"]})
    *lost, accepted = refused_answers(answers, Lake(str(tmp_path)))
    assert accepted == 3
    assert [(r["row"], r["reason"]) for r in lost] == [
        (2, "unknown_code"), (4, "both_bad"), (5, "no_label"), (7, "not_json"), (8, "null_response")]  # fmt: skip
    *lost, accepted = refused_answers(Answers(path=str(tmp_path / "gone.jsonl")), Lake(str(tmp_path)))
    assert accepted == 0 and [(r["row"], r["reason"]) for r in lost] == [(0, "missing_file")]
