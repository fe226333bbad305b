"""Samples of a judge: two orders, and what else varies; every vote says what it had, and the server saw just that."""

import re

import pyarrow as pa
import pytest

from tests.support.judging import ASKED, NO_EXAMPLES, body_for, config, honest, judge, targets
from tests.support.scripted_server import Step, serving

BACKENDS = pytest.mark.parametrize("backend", ["openai", "anthropic"])
OPENINGS = {"answer": "## Your reply", "answer_b": "## What to write", "answer_c": "## Now decide"}


def neighbours(pairs: int, each: int) -> pa.Table:
    about = {
        "category": "math",
        "objectivity": "objective",
        "controversiality": "low",
        "desired": "d",
        "guideline": "g",
    }
    rows = [
        {"target_pair": f"p{i:04d}", "rank": k, "gold_pair": f"g{k}", "similarity": 0.9, "conversation": ASKED,
         "chosen": f"right {k}", "rejected": f"wrong {k}", **about}
        for i in range(pairs) for k in range(1, each + 1)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows)


def as_read(body: dict) -> dict:
    """What a request varies in, read from the wire."""
    text = body["messages"][-1]["content"]
    shown, target = text.split("## The comparison to judge")
    wording = next(name for name, opening in OPENINGS.items() if opening in target)
    order = dict.fromkeys(re.findall(r"(?:right|wrong) (\d)", shown))
    places = ["candidate_1" if shown.index(f"right {k}") < shown.index(f"wrong {k}") else "candidate_2" for k in order]
    said = re.findall(r"People decided: (\w+)", shown)
    assert said == places
    chosen = "good" if int(re.search(r"good (\d+)", target)[1]) % 2 == 0 else "bad"
    other = {"good": "bad", "bad": "good"}[chosen]
    return {
        "shown_first": "chosen" if target.index(f"\n{chosen} ") < target.index(f"\n{other} ") else "rejected",
        "wording": wording,
        "effort": body.get("reasoning_effort") or body.get("output_config", {}).get("effort", ""),
        "examples": [f"g{k}" for k in order],
        "example_places": places,
    }


@BACKENDS
def test_every_vote_records_what_its_request_varied_in(tmp_path, backend):
    seen = {}

    def script(path, body, number):
        about = as_read(body)
        seen[number] = about
        return Step(body_for(path, honest(body)))

    with serving(script) as server:
        made = judge(server.url, tmp_path, backend=backend, samples=8, efforts=["low", "high"], concurrency=1)
        rows = made.vote(targets(12), neighbours(12, 4)).to_pylist()
    assert len(rows) == 96 == len(seen)
    names = ("shown_first", "wording", "effort", "examples", "example_places")
    assert [{n: r[n] for n in names} for r in rows] == [seen[i] for i in range(96)]
    by_pair = [rows[i : i + 8] for i in range(0, 96, 8)]
    for votes in by_pair:
        for one, two in zip(votes[::2], votes[1::2], strict=True):  # the two orders differ in nothing else
            assert one["shown_first"] != two["shown_first"]
            assert [one[n] for n in names[1:]] == [two[n] for n in names[1:]]
        assert [v["wording"] for v in votes[::2]] == ["answer", "answer_b", "answer_c", "answer"]
        assert [v["effort"] for v in votes[::2]] == ["low", "high", "low", "high"]
        assert votes[0]["examples"] == ["g1", "g2", "g3", "g4"]  # nearest first, as it always was
        assert all(sorted(v["examples"]) == ["g1", "g2", "g3", "g4"] for v in votes)
    shuffled = {tuple(v["examples"]) for votes in by_pair for v in votes[2:]}
    assert len(shuffled) > 8
    places = [p for votes in by_pair for v in votes[::2] for p in v["example_places"]]
    assert 60 < places.count("candidate_1") < 132  # of 192: a fair coin, five standard deviations


@BACKENDS
def test_parameters_and_a_server_without_schemas(tmp_path, backend):
    def script(path, body, number):
        assert body["temperature"] == 0.5 and body["chat_template_kwargs"] == {"enable_thinking": False}
        assert "response_format" not in body and "output_config" not in body and "reasoning_effort" not in body
        return Step(body_for(path, honest(body)))

    parameters = {"temperature": 0.5, "chat_template_kwargs": {"enable_thinking": False}}
    with serving(script) as server:
        votes = judge(server.url, tmp_path, backend=backend, structured=False, parameters=parameters).vote(
            targets(2), NO_EXAMPLES
        )
        assert set(votes["status"].to_pylist()) == {"ok"}


def test_parameters_cannot_replace_what_is_asked():
    with pytest.raises(ValueError, match="messages is set by Assay itself"):
        config("http://127.0.0.1:9", parameters={"messages": []})


def test_efforts_and_wordings_change_the_key_and_the_first_two_samples_stay(tmp_path):
    """More samples later re-buy nothing: the calls of the first two are the same."""
    with serving(lambda p, b, n: Step(body_for(p, honest(b)))) as server:
        judge(server.url, tmp_path, samples=2).vote(targets(5), neighbours(5, 3))
        assert len(server.requests) == 10
        votes = judge(server.url, tmp_path, samples=4).vote(targets(5), neighbours(5, 3))
        assert len(server.requests) == 20
    assert len(set(votes["request_key"].to_pylist())) == 20
