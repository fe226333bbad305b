"""Attributes: closed vocabularies, blindness to the label, and the keyword rules on plain examples."""

import json

import pyarrow as pa
import pytest

from curation.attributes import CATEGORIES, CONTROVERSIALITY, OBJECTIVITY, heuristic, known_category, merge
from curation.tables import ATTRIBUTES
from resources.judges.attribute_models import labeller
from resources.lake import Lake
from resources.llm.call_store import spent
from tests.support.lakes import settings
from tests.support.scripted_server import Step, completion, message, serving

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


def said(category="math", objectivity="objective", controversiality="low", text="t") -> dict:
    return {
        "category": category, "objectivity": objectivity, "controversiality": controversiality,
        "desired": f"desired {text}", "guideline": f"guideline {text}",
    }  # fmt: skip


def test_several_labellers_are_merged_field_by_field():
    made = merge({
        "a": said(category="reasoning", text="a"),
        "b": said(controversiality="high", text="b"),
        "c": said(text="c"),
    })  # fmt: skip
    assert (made["category"], made["objectivity"], made["controversiality"]) == ("math", "objective", "low")
    # both texts from one author: c alone is as merged in all three fields
    assert (made["desired"], made["guideline"]) == ("desired c", "guideline c")
    assert made["agreement"] == pytest.approx(7 / 9, abs=1e-4)
    assert made["votes"]["category"] == {"a": "reasoning", "b": "math", "c": "math"}


def test_a_draw_goes_to_the_first_labeller_and_who_gave_no_answer_has_no_vote():
    made = merge({"a": None, "b": said(category="editing", text="b"), "c": said(category="other", text="c")})
    assert (made["category"], made["desired"], made["agreement"]) == (
        "editing",
        "desired b",
        pytest.approx(5 / 6, abs=1e-4),
    )
    assert made["votes"]["category"] == {"b": "editing", "c": "other"}
    nobody = merge({"a": None, "b": None})
    assert (nobody["category"], nobody["objectivity"], nobody["agreement"]) == ("other", "missing", 0.0)
    assert nobody["votes"] == {"category": {}, "objectivity": {}, "controversiality": {}}


def test_a_panel_of_models_asks_each_once_and_pays_each_once(tmp_path):
    says = {
        "one": GOOD,
        "two": GOOD | {"category": "reasoning"},
        "three": GOOD | {"category": "reasoning", "objectivity": "both"},  # never usable
    }

    def script(path, body, number):
        made = json.dumps(says[body["model"]])
        return Step(completion(made) if "chat" in path else message(made))

    with serving(script) as server:
        backends = {"one": "openai", "two": "anthropic", "three": "openai"}
        models = [
            {"name": f"m-{m}", "backend": b, "model": m, "base_url": server.url + ("/v1" if b == "openai" else ""),
             "price": {"input": 1, "output": 10}}
            for m, b in backends.items()
        ]  # fmt: skip
        made = settings(attributes={"panel": models}, budget={"dollars": 1})
        lake = Lake(str(tmp_path))
        # a pair and its swap are one request
        given = pairs(("p", "x?", "one", "two"), ("q", "x?", "two", "one"), ("r", "y?", "one", "two"))
        rows = pa.Table.from_batches(labeller(made, lake, "attributes/b00").label(given)).to_pylist()
        asked = [body["model"] for _, body, _ in server.requests]
        assert sorted(asked) == ["one"] * 2 + ["three"] * 4 + ["two"] * 2  # three is repaired once each
    for r in rows:
        assert (r["category"], r["objectivity"], r["labeller"]) == ("math", "objective", "m-one + m-two")
        assert json.loads(r["votes"])["category"] == {"m-one": "math", "m-two": "reasoning"}
    # a call is 1,000 tokens in and 100 out: 2,000 micro-dollars; four models' calls a request, q's were p's
    assert [r["cost_micros"] for r in rows] == [8000, 0, 8000]
    ledger = {(r["stage"], r["judge"], r["status"]): r["cost_micros"] for r in spent(lake).to_pylist()}
    assert ledger == {
        ("attributes/b00", "m-one", "ok"): 4000,
        ("attributes/b00", "m-two", "ok"): 4000,
        ("attributes/b00", "m-three", "invalid"): 8000,
    }


def test_one_model_is_the_short_form_and_both_forms_together_are_refused():
    assert [m.label for m in settings(attributes={"backend": "heuristic"}).attributes.models] == ["heuristic"]
    panel = [{"backend": "heuristic"}, {"name": "sim"}]
    assert [m.label for m in settings(attributes={"panel": panel}).attributes.models] == ["heuristic", "sim"]
    with pytest.raises(ValueError, match="beside it: backend"):
        settings(attributes={"panel": panel, "backend": "heuristic"})
    with pytest.raises(ValueError, match="differ in name"):
        settings(attributes={"panel": [{"backend": "heuristic"}, {"backend": "heuristic"}]})
