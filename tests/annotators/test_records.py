"""What an answer must hold, and how it may be spelt."""

import json

import pyarrow as pa
import pytest

from resources.annotators.records import Answer, Asked, Refused, Rules, read
from tests.support.answers import ABOUT, pair, write
from tests.support.doors import Hands
from tests.support.lakes import settings
from tests.support.places import ROOT

FIVE = {n: v for n, v in ABOUT.items() if n != "priority"}
FACT, CODE = ({**FIVE, "category": c} for c in ("information seeking", "coding & debugging"))
VERSION = "v1-12345678"
ASKED = {p: Asked(p, a, VERSION) for p, a in (("maths", FIVE), ("fact", FACT), ("code", CODE))}
RULES = Rules.of(settings())
GOOD = {
    "pair_id": "maths", "annotator": "ann", "verdict": "candidate_1", "acknowledged": True, "tools": ["none"],
    "started": "2026-05-01T10:00:00Z", "finished": "2026-05-01T10:00:40Z",
}  # fmt: skip
DEEP: list = []
for _ in range(5000):
    DEEP = [DEEP]
SEARCHED = {"tools": ["search"], "tool_log": [{"tool": "search", "asked": "primes above 10", "said": "11, 13"}]}
RAN = {"tools": ["code"], "tool_log": [{"tool": "code", "asked": "f([1, 2])", "said": "1.5"}]}
ASKED_MODEL = {
    "tools": ["llm"],
    "tool_log": [{"tool": "llm", "name": "gpt-4o", "asked": "is 11 prime?", "said": "Yes."}],
}

WRONG = {
    "a pair of another batch": ({"pair_id": "other"}, "pair_id 'other' is not in this batch"),
    "no person": ({"annotator": " "}, "annotator is missing"),
    "a model's name": ({"annotator": "gpt-4o"}, "annotator 'gpt-4o' is a model's name"),
    "a word that is no verdict": ({"verdict": "best"}, "verdict must be one of candidate_1, candidate_2, undecided, found 'best'"),
    "two verdicts": ({"verdict": {"choices": ["candidate_1", "candidate_2"]}}, "verdict must be one of"),
    "a copied prediction": ({"verdict_origin": "prediction"}, "the verdict is a model's prediction"),
    "undecided without why": ({"verdict": "undecided"}, "why_undecided is missing"),
    "no acknowledgement": ({"acknowledged": False}, "the guideline is not acknowledged"),
    "another guideline": ({"acknowledged": "v1-00000000"}, "guideline 'v1-00000000' was acknowledged, but v1-12345678"),
    "no word on tools": ({"tools": None}, "tools is missing"),
    "a use without a log": ({"tools": ["search"]}, "the use of search has no entry in tool_log"),
    "a fact without a search": ({"pair_id": "fact"}, "information seeking must be looked up"),
    "code that was not run": ({"pair_id": "code"} | SEARCHED, "coding & debugging must be run"),
    "a model's word alone": (ASKED_MODEL, "the only evidence is a model's"),
    "an assistant off the list": (
        {"tools": ["llm"], "tool_log": [{"tool": "llm", "name": "llama-9", "said": "x"}], "rationale": "r"},
        "tool_log, entry 1: 'llama-9' is not among the assistants",
    ),
    "0.2 seconds": ({"finished": "2026-05-01T10:00:00.2Z"}, "given in 0.2 s"),
    "an end before its start": ({"finished": "2026-05-01T09:00:00Z"}, "finished lies before started"),
    "no time": ({"started": None, "finished": None}, "the time is missing"),
    "a correction outside the words": ({"attributes": {"objectivity": "rather"}}, "objectivity must be one of"),
}  # fmt: skip


def table() -> str:
    """The wrong answers and what is said of each, as the page on people shows it."""
    rows = [(name, read(GOOD | change, ASKED, RULES)) for name, (change, _) in WRONG.items()]
    return "\n".join(["| an answer with | is refused: |", "|---|---|", *(f"| {n} | {r.reason} |" for n, r in rows)])


def test_the_page_on_people_has_the_table_of_wrong_answers():
    """`python -m tests.annotators.test_records` prints it anew."""
    assert table() in (ROOT / "docs" / "people.md").read_text()


def test_no_wrong_answer_is_gold_and_each_is_listed_with_its_reason(tmp_path):
    """All of them in one file, with a right answer of somebody else to the same pairs."""
    about = [FIVE, FACT, CODE]
    pairs = [pair(p, f"good {p}", f"bad {p}", **a) for p, a in zip(("maths", "fact", "code"), about, strict=True)]
    at = Hands(tmp_path, "files")
    at.waiting(pa.Table.from_pylist(pairs))
    answers = [GOOD | change for change, _ in WRONG.values()]
    write(tmp_path / "people/iter_00", answers)
    wait = at.waiting(pa.Table.from_pylist(pairs))
    assert (wait.answered, wait.missing, wait.refused) == (0, 3, len(WRONG))
    listed = [json.loads(line) for line in (tmp_path / "people/iter_00/rejects.jsonl").read_text().splitlines()]
    for row, (_, reason) in zip(listed, WRONG.values(), strict=True):
        assert VERSION in reason or row["reason"].startswith(reason), row


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_answer_is_refused_with_its_reason(name):
    change, reason = WRONG[name]
    found = read(GOOD | change, ASKED, RULES)
    assert isinstance(found, Refused) and found.reason.startswith(reason), found


def test_every_reason_is_named_at_once():
    found = read({"pair_id": "fact", "verdict": "9", "annotator": 3.5, "tools": "none"}, ASKED, RULES)
    assert isinstance(found, Refused) and len(found.reasons) == 4, found.reasons
    for reason in ("annotator must be", "verdict must be", "time is missing", "not acknowledged"):
        assert reason in found.reason


@pytest.mark.parametrize(
    ("said", "verdict"),
    [(s, "first") for s in ("A", "a", "1", 1, 1.0, "candidate 1", "Candidate_1", "left", "response A", "Candidate 1 is better",
                            {"choices": ["candidate_1"]}, ["candidate_1"], " candidate_1 ", "first")]
    + [(s, "second") for s in ("B", 2, "right", "candidate-2", {"choices": ["candidate_2"]}, "[[B]]")]
    + [(s, "undecided") for s in ("tie", "cannot_determine", "Cannot be determined", "0", 0, "both", "undecided")],
)  # fmt: skip
def test_natural_spellings_of_a_verdict_are_understood(said, verdict):
    found = read(GOOD | {"verdict": said, "why_undecided": "missing"}, ASKED, RULES)
    assert isinstance(found, Answer) and found.verdict == verdict, found


def test_the_guidelines_own_words_say_why_a_pair_is_undecided():
    for said, why in (("tie", "tie"), ("cannot_determine", "missing"), ("Cannot be determined", "missing")):
        assert read(GOOD | {"verdict": said}, ASKED, RULES).why == why
    for said, why in (
        ("not mine", "not_mine"),
        ({"choices": ["tie"]}, "tie"),
        ("Something needed is missing", "missing"),
    ):
        assert read(GOOD | {"verdict": "undecided", "why_undecided": said}, ASKED, RULES).why == why


@pytest.mark.parametrize(
    "said", [[], {}, True, None, {"choices": [1, 2]}, 7, 1.5, "x" * 10_000, {"a": {"b": "c"}}, [[["x"]]], DEEP]
)
@pytest.mark.parametrize(
    "key", [*GOOD, "tool_log", "seconds", "rationale", "attributes", "why_undecided", "verdict_origin"]
)
def test_no_value_of_any_field_is_more_than_a_reason(key, said):
    found = read(GOOD | {key: said}, ASKED, RULES)
    assert isinstance(found, Answer) or found.reason


def test_whole_numbers_name_people_and_label_studio_s_times_count():
    raw = {k: v for k, v in GOOD.items() if k not in ("started", "finished")} | {"annotator": 4, "lead_time": 12.5}
    found = read(raw, ASKED, RULES)
    assert (found.annotator, found.seconds, found.flags) == ("4", 12.5, ())
    assert read(raw | {"lead_time": 4}, ASKED, RULES).flags == ("too_fast",)
    assert read(raw | {"lead_time": 900}, ASKED, RULES).flags == ("too_slow",)


def test_tools_and_their_log_are_read_from_objects_text_and_cells():
    ways = [
        SEARCHED,
        {"tools": {"choices": ["search"]}, "tool_log": {"text": ["search: primes above 10 -> 11, 13"]}},
        {"tools": "Search engine", "tool_log": "primes above 10 -> 11, 13"},
        {"tools": "search", "tool_log": json.dumps(SEARCHED["tool_log"])},
        {"tool_log": "search (web): primes above 10 -> 11, 13", "tools": ""},
    ]
    for way in ways:
        found = read(GOOD | {"pair_id": "fact"} | way, ASKED, RULES)
        assert isinstance(found, Answer) and found.tools == ("search",), found
        assert (found.tool_log[0]["asked"], found.tool_log[0]["said"]) == ("primes above 10", "11, 13")


def test_what_is_not_a_fact_or_not_decided_needs_no_search():
    assert isinstance(read(GOOD | {"pair_id": "code"} | RAN, ASKED, RULES), Answer)
    undecided = {"pair_id": "fact", "verdict": "undecided", "why_undecided": "not_mine"}
    assert isinstance(read(GOOD | undecided, ASKED, RULES), Answer)
    taste = {"pair_id": "fact", "attributes": {"objectivity": "subjective"}}
    assert read(GOOD | taste, ASKED, RULES).edited["objectivity"] == "subjective"
    in_own_words = ASKED_MODEL | {"rationale": "10 is even, 11 is not divisible by 2, 3, 5 or 7"}
    assert isinstance(read(GOOD | in_own_words, ASKED, RULES), Answer)
    assert "the only evidence" in read(GOOD | ASKED_MODEL | {"rationale": "yes"}, ASKED, RULES).reason


def test_a_form_that_hides_guideline_and_tools_asks_for_neither():
    bare = {"fact": Asked("fact", FACT, VERSION, guideline=False, tools=False, arm="bare")}
    raw = {k: v for k, v in GOOD.items() if k not in ("acknowledged", "tools")} | {"pair_id": "fact"}
    found = read(raw, bare, RULES)
    assert (found.verdict, found.acknowledged, found.arm) == ("first", None, "bare")
    assert "this form allows none" in read(raw | SEARCHED, bare, RULES).reason


def test_an_answer_survives_being_stored():
    found = read(GOOD | {"pair_id": "fact", "attributes": {"desired": "naïve 素数"}} | SEARCHED, ASKED, RULES)
    assert Answer.restored(found.stored()) == found


if __name__ == "__main__":
    print(table())
