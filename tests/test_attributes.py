"""Attributes: closed vocabularies, blindness to the label, and the keyword rules on plain examples."""

import json

import pyarrow as pa
import pytest

from curation.attributes import CATEGORIES, CONTROVERSIALITY, OBJECTIVITY, heuristic, known_category
from resources.attributes import labeller
from resources.lake import Lake
from resources.tables import ATTRIBUTES

from .lakes import settings
from .scripted_server import Step, completion, message, serving

GOOD = {
    "category": "math",
    "objectivity": "objective",
    "controversiality": "low",
    "desired": "the right sum",
    "guideline": "check the sum",
}


def asked(*turns: str) -> list[dict]:
    return [{"role": "assistant" if i % 2 else "user", "content": t} for i, t in enumerate(turns)]


def pairs(*rows: tuple[str, str, str, str]) -> list[pa.RecordBatch]:
    names = ("pair_id", "conversation", "chosen", "rejected")
    return [pa.RecordBatch.from_pylist([dict(zip(names, (r[0], asked(r[1]), *r[2:]), strict=True)) for r in rows])]


@pytest.mark.parametrize(
    ("text", "category", "objectivity"),
    [
        ("Write a Python function that reverses a list", "coding & debugging", "objective"),
        ("What is 17 * 23?", "math", "objective"),
        ("Write a short poem about autumn in Lisbon", "creative writing", "subjective"),
        ("Who painted the Night Watch?", "information seeking", "objective"),
        ("What is your favourite movie and why?", "information seeking", "subjective"),
        ("Should I quit my job to travel for a year?", "advice seeking", "subjective"),
        ("Please proofread this paragraph: He go to school.", "editing", "objective"),
        ("Pretend to be a pirate and greet me", "role playing", "subjective"),
        ("Brainstorm names for a bakery", "brainstorming", "subjective"),
        ("Plan a three day itinerary for Kyoto", "planning", "subjective"),
        ("Is the premise enough to deduce that Socrates is mortal?", "reasoning", "objective"),
        ("Compute the correlation of the table below", "data analysis", "objective"),
        ("Hello!", "other", "objective"),
    ],
)
def test_keyword_rules(text, category, objectivity):
    found = heuristic(asked(text))
    assert (found["category"], found["objectivity"]) == (category, objectivity)
    assert found["controversiality"] == "low"
    assert found["desired"] and found["guideline"]


def test_controversiality_by_topic():
    assert heuristic(asked("Explain what abortion laws exist"))["controversiality"] == "high"
    assert heuristic(asked("Explain how the president is elected"))["controversiality"] == "medium"


def test_a_short_follow_up_is_read_with_what_came_before():
    assert heuristic(asked("Write a Python function that sorts", "def f(): ...", "and faster?"))["category"] == (
        "coding & debugging"
    )


def test_vocabularies_are_closed_and_spellings_found():
    assert len(CATEGORIES) == 12 and len(OBJECTIVITY) == 2 and len(CONTROVERSIALITY) == 3
    assert known_category("Coding and Debugging") == "coding & debugging"
    assert known_category("INFORMATION-SEEKING") == "information seeking"
    assert known_category("cooking") == "other"


def test_the_heuristic_labeller_is_blind_to_the_responses(tmp_path):
    made = labeller(settings(attributes={"backend": "heuristic"}), Lake(str(tmp_path)))
    rows = pa.Table.from_batches(
        made.label(pairs(("p", "What is 2+2?", "4", "5"), ("q", "What is 2+2?", "5", "4")))
    ).to_pylist()
    assert {k: v for k, v in rows[0].items() if k != "pair_id"} == {k: v for k, v in rows[1].items() if k != "pair_id"}
    assert rows[0]["labeller"] == "heuristic"


@pytest.mark.parametrize("backend", ["openai", "anthropic"])
def test_a_model_labels_through_the_sdk_and_what_it_fails_at_is_missing(tmp_path, backend):
    answers = {"sum": GOOD, "odd": GOOD | {"category": "Cooking"}, "bad": GOOD | {"objectivity": "both"}}

    def script(path, body, number):
        text = body["messages"][-1]["content"]
        made = json.dumps(next(a for word, a in answers.items() if word in text))
        return Step(completion(made) if backend == "openai" else message(made))

    with serving(script) as server:
        base = server.url + ("/v1" if backend == "openai" else "")
        keys = {"backend": backend, "model": "m", "base_url": base, "price": {"input": 0, "output": 0}}
        made = labeller(settings(attributes=keys), Lake(str(tmp_path)))
        given = pairs(("a", "sum of 2 and 2", "4", "5"), ("b", "odd one", "4", "5"), ("c", "bad one", "4", "5"))
        table = pa.Table.from_batches(made.label(given))
        assert len(server.requests) == 4  # the invalid one is repaired once
        assert pa.Table.from_batches(made.label(given)).equals(table)
        assert len(server.requests) == 4
    assert table.schema.equals(ATTRIBUTES.schema)
    good, odd, bad = table.to_pylist()
    assert {k: good[k] for k in GOOD} == GOOD and good["agreement"] == 1.0
    assert odd["category"] == "other"
    assert (bad["category"], bad["objectivity"], bad["controversiality"]) == ("other", "missing", "missing")
    assert (bad["desired"], bad["agreement"]) == ("", 0.0)


def test_a_pair_and_its_swap_ask_the_same(tmp_path):
    with serving(lambda *_: Step(completion(json.dumps(GOOD)))) as server:
        keys = {"backend": "openai", "model": "m", "base_url": server.url, "price": {"input": 0, "output": 0}}
        made = labeller(settings(attributes=keys), Lake(str(tmp_path)))
        list(made.label(pairs(("p", "x?", "one", "two"), ("q", "x?", "two", "one"))))
        assert len(server.requests) == 1  # the same prompt is the same request
