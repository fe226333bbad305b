"""When a judge is not worth asking on: the run stops with its name, the status, the server's own words and the cost."""

import re
import sqlite3
import time
from collections import Counter

import pyarrow as pa
import pytest

from evaluation.items import BenchmarkError
from evaluation.judged import rewards
from resources.benchmarks.rewards import _enough
from resources.judges import ask
from resources.lake import Lake
from resources.llm import rate_limits
from resources.llm.call_store import spent, store
from resources.llm.policy import Policy, Unavailable, Unusable, hopeless, incomplete
from tests.support.judging import FAST, NO_EXAMPLES, body_for, honest, judge, targets
from tests.support.scripted_server import Step, completion, message, serving, verdict

BACKENDS = pytest.mark.parametrize("backend", ["openai", "anthropic"])
PRICE = {"input": 1, "output": 10}


def answering(path, body, number):
    return Step(body_for(path, honest(body)))


def paid(root) -> int:
    return sum(r["cost_micros"] for r in spent(Lake(str(root))).to_pylist())


@BACKENDS
@pytest.mark.parametrize(
    ("http", "words"),
    [
        (400, "Unsupported parameter: 'max_completion_tokens'"),
        (422, "input should be a valid string"),
        (405, "method not allowed"),
        (413, "request entity too large"),
        (451, "not in your country"),
    ],
)
def test_the_same_refusal_again_and_again_stops_the_run(tmp_path, backend, http, words):
    with serving(lambda *_: Step({"error": {"message": words}}, http)) as server:
        with pytest.raises(Unavailable) as stop:
            judge(server.url, tmp_path, backend=backend, concurrency=2).vote(targets(20), NO_EXAMPLES)
        assert len(server.requests) <= FAST.refusals + 1
    said = str(stop.value)
    assert said.startswith("j: m at http") and f"answered {http} to 5 requests in a row: {words}" in said
    assert "So far 0 answers of this judge cost $0.000000" in said


@BACKENDS
@pytest.mark.parametrize(
    "words", ["Your credit balance is too low to access the API.", "You exceeded your current quota", "Billing is not set up"]
)  # fmt: skip
def test_an_account_that_is_dry_stops_the_run_at_once_whatever_the_status(tmp_path, backend, words):
    def script(path, body, number):
        return answering(path, body, number) if number < 6 else Step({"error": {"message": words}}, 400)

    with serving(script) as server:
        with pytest.raises(Unavailable, match=re.escape(words)) as stop:
            judge(server.url, tmp_path, backend=backend, concurrency=1, price=PRICE).vote(targets(20), NO_EXAMPLES)
        assert len(server.requests) == 7
        assert "So far 6 answers of this judge cost $0.012000" in str(stop.value)
        server.script = answering  # topped up: what is missing is asked, and nothing else
        votes = judge(server.url, tmp_path, backend=backend, price=PRICE).vote(targets(20), NO_EXAMPLES)
        assert len(server.requests) == 7 + 34
    assert set(votes["status"].to_pylist()) == {"ok"}


def test_refusals_that_are_the_requests_own_can_be_gone_on_without_by_name(tmp_path):
    def script(path, body, number):
        long = any(f"{i:04d}" in str(body) for i in range(6, 12))
        return Step({"error": {"message": "prompt is too long"}}, 400) if long else answering(path, body, number)

    with serving(script) as server:
        with pytest.raises(Unavailable, match="accept_missing = true goes on without them"):
            judge(server.url, tmp_path, concurrency=1).vote(targets(20), NO_EXAMPLES)
        accepting = Policy(attempts=4, longest_wait=0.05, first_wait=0.001, refusals=None, accept_missing=True)
        votes = judge(server.url, tmp_path, accepting, concurrency=1).vote(targets(20), NO_EXAMPLES)
    assert Counter(votes["status"].to_pylist()) == {"ok": 28, "error": 12}


@BACKENDS
@pytest.mark.parametrize("state", ["unparsable", "truncated", "refused"])
def test_a_judge_without_a_usable_answer_among_the_first_stops(tmp_path, backend, state):
    text = "I prefer the first one."
    finish = {"unparsable": ("stop", "end_turn"), "truncated": ("length", "max_tokens"), "refused": ("", "refusal")}[
        state
    ]
    body = {
        "openai": completion(text, finish[0], refusal="No." if state == "refused" else None),
        "anthropic": message(text, finish[1]),
    }[backend]
    with serving(lambda *_: Step(body)) as server:
        with pytest.raises(Unusable) as stop:
            judge(server.url, tmp_path, backend=backend, concurrency=2, price=PRICE).vote(targets(60), NO_EXAMPLES)
        assert 20 <= len(server.requests) <= 22
    said = str(stop.value)
    assert f"none of 20 answers can be used (20 {state})" in said
    assert re.search(r"So far 2[012] answers of this judge cost \$0\.04", said)
    assert "The last one: " in said
    assert paid(tmp_path) == len(server.requests) * 2000  # all of them are kept


def test_a_judge_most_of_whose_answers_are_useless_stops_and_may_be_let_go_on(tmp_path):
    def script(path, body, number):
        return answering(path, body, number) if number % 3 == 0 else Step(completion("one", refusal="No."))

    with serving(script) as server:
        with pytest.raises(Unusable, match=r"of 2\d answers cannot be used \(1\d refused\), above useless = 0.5"):
            judge(server.url, tmp_path, concurrency=1).vote(targets(60), NO_EXAMPLES)
        letting = Policy(attempts=4, longest_wait=0.05, first_wait=0.001, useless=1.0)
        votes = judge(server.url, tmp_path, letting, concurrency=1).vote(targets(60), NO_EXAMPLES)
    assert Counter(votes["status"].to_pylist()).keys() == {"ok", "refused"}


def test_an_answer_far_dearer_than_expected_stops_once_and_the_next_run_knows_the_price(tmp_path):
    """Expected: about 1,000 bytes of prompt / 4 and 300 tokens of answer, that is near 3,400 micro-dollars; here 31,000."""
    usage = {"prompt_tokens": 1000, "completion_tokens": 3000}

    def script(path, body, number):
        return Step(completion(honest(body), usage=usage))

    with serving(script) as server:
        keys = {"concurrency": 1, "price": PRICE, "max_output_tokens": 4000}
        with pytest.raises(Unusable, match=r"an answer costs \$0\.031000, \d\.\d times what was expected") as stop:
            judge(server.url, tmp_path, **keys).vote(targets(20), NO_EXAMPLES)
        assert len(server.requests) == 20 and "So far 20 answers of this judge cost $0.620000" in str(stop.value)
        votes = judge(server.url, tmp_path, **keys).vote(targets(20), NO_EXAMPLES)
        assert len(server.requests) == 40
    assert set(votes["status"].to_pylist()) == {"ok"}


def test_a_call_above_its_bound_is_written_in_full_told_and_reserved_for_from_then_on(tmp_path, capfd):
    usage = {"prompt_tokens": 20_000, "completion_tokens": 100}  # a prompt of 5,000 bytes has fewer
    with serving(lambda p, body, n: Step(completion(honest(body), usage=usage))) as server:
        keys = {"concurrency": 1, "price": {"input": 1, "output": 1}, "max_output_tokens": 100}
        policy = Policy(dear=1e9)
        judge(server.url, tmp_path, policy, **keys).vote(targets(4), NO_EXAMPLES)
    assert paid(tmp_path) == 8 * 20_100
    said = capfd.readouterr().err
    assert said.count("times the most that its length allows") == 1 and "later calls reserve as much" in said
    con = sqlite3.connect(tmp_path / "files" / "calls" / "calls.sqlite")
    reserved = [r for (r,) in con.execute("SELECT reserved FROM attempts ORDER BY id")]
    assert reserved[0] < 20_100 and all(r >= 20_099 for r in reserved[1:])
    errors = [e for (e,) in con.execute("SELECT error FROM results ORDER BY id")]
    assert "above the" in errors[0] and not any(errors[1:])


def test_a_call_that_costs_absurdly_much_stops_the_run(tmp_path):
    usage = {"prompt_tokens": 9_000_000, "completion_tokens": 100}
    with serving(lambda p, body, n: Step(completion(honest(body), usage=usage))) as server:
        with pytest.raises(Unusable, match=r"a call cost \$9\.0.* It is written in full"):
            judge(server.url, tmp_path, price=PRICE, concurrency=1).vote(targets(9), NO_EXAMPLES)
        assert len(server.requests) == 1
    assert paid(tmp_path) == 9_001_000


def test_without_usage_the_budget_still_holds(tmp_path):
    from resources.llm.call_store import BudgetExceeded

    body = {k: v for k, v in completion(verdict("tie")).items() if k != "usage"}
    with serving(lambda *_: Step(body)) as server:
        with pytest.raises(BudgetExceeded):
            judge(server.url, tmp_path, dollars=0.05, price=PRICE, concurrency=4).vote(targets(200), NO_EXAMPLES)
        assert len(server.requests) < 10
    assert 0.03 * 10**6 < paid(tmp_path) <= 0.05 * 10**6


def test_rules_by_hand():
    policy = Policy()
    assert hopeless({"unparsable": 19}, policy) is None
    assert "none of 20" in hopeless({"unparsable": 20}, policy)
    assert hopeless({"ok": 10, "refused": 10}, policy) is None
    assert "11 of 21" in hopeless({"ok": 10, "refused": 11}, policy)
    assert incomplete({"ok": 95, "error": 5}, "j") is None
    assert "j: 6 of 100 answers are missing (4 error, 2 lost)" in incomplete({"ok": 94, "error": 4, "lost": 2}, "j")
    assert "the server's words: 400: no" in incomplete({"error": 1}, "j", "400: no")
    assert incomplete({"ok": 50, "refused": 50}, "j") is None  # they did answer


def test_a_judge_without_an_answer_has_no_accuracy():
    labelled = pa.table({"item_id": ["a", "b"], "unit": ["pair", "pair"]})
    with pytest.raises(BenchmarkError, match="no usable answer, so it has no accuracy"):
        rewards("b", labelled, pa.table({"item_id": ["a", "b"], "vote": ["none", "none"]}))
    made = rewards("b", labelled, pa.table({"item_id": ["a", "b"], "vote": ["tie", "none"]}))
    assert made["reward"].to_pylist() == [0.0] * 4  # one that cannot decide has one
    configured = judge("http://127.0.0.1:9", "/nowhere").judge
    with pytest.raises(BenchmarkError, match=r"b: j gave no usable answer \(2 unparsable\)"):
        _enough("b", pa.table({"status": ["unparsable"] * 2}), configured)
    with pytest.raises(BenchmarkError, match="b: j: 1 of 2 answers are missing"):
        _enough("b", pa.table({"status": ["ok", "error"]}), configured)
    _enough("b", pa.table({"status": ["ok", "error"]}), configured.model_copy(update={"accept_missing": True}))


# ---- waiting -------------------------------------------------------------------------------------------------------
def test_a_wait_of_a_year_is_cut_and_told(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(rate_limits, "NOTICED", 0.01)

    def script(path, body, number):
        slow = Step({"error": {"message": "come back next year"}}, 429, {"retry-after": "31536000"})
        return slow if number == 1 else answering(path, body, number)

    with serving(script) as server:
        started = time.monotonic()
        votes = judge(server.url, tmp_path, concurrency=1).vote(targets(3), NO_EXAMPLES)
    assert set(votes["status"].to_pylist()) == {"ok"} and time.monotonic() - started < 5
    assert "the server asks to wait 31,536,000 s; 0.05 s are waited (longest_wait)" in capfd.readouterr().err


def test_a_server_that_says_429_for_ever_stops_the_run(tmp_path):
    with serving(lambda *_: Step({"error": {"message": "slow down"}}, 429, {"retry-after": "0"})) as server:
        policy = Policy(longest_wait=0.01, first_wait=0.001, patience=1)
        with pytest.raises(Unavailable, match=r"answered nobody .* with 429: slow down"):
            judge(server.url, tmp_path, policy, concurrency=2).vote(targets(3), NO_EXAMPLES)


def test_how_long_is_waited_is_configured_and_makes_nothing_stale():
    from tests.support.judging import config

    usual, patient = config("http://x"), config("http://x", patience=3600, longest_wait=900, useless=0.9)
    assert Policy.of(patient.judges.judges[0]) == Policy(patience=3600, longest_wait=900, useless=0.9)
    assert usual.section_hash("judges") == patient.section_hash("judges")
    accepting = config("http://x", accept_missing=True)
    assert Policy.of(accepting.judges.judges[0]).refusals is None
    assert accepting.section_hash("judges", "attributes") == usual.section_hash("judges", "attributes")


# ---- moved, and side by side ---------------------------------------------------------------------------------------
@BACKENDS
def test_a_server_that_has_moved_is_asked_nothing_again(tmp_path, backend):
    with serving(answering) as old:
        votes = judge(old.url, tmp_path, backend=backend, price=PRICE).vote(targets(5), NO_EXAMPLES)
    with serving(answering) as new:
        asking = judge(new.url, tmp_path, backend=backend, price=PRICE)
        assert asking.estimate(targets(5), NO_EXAMPLES).requests == 0
        moved = asking.vote(targets(6), NO_EXAMPLES)
        assert len(new.requests) == 2  # of the pair that is new
    keys = [c for c in votes.column_names if c != "request_key"]
    assert moved.slice(0, 10).select(keys).equals(votes.select(keys))
    con = sqlite3.connect(tmp_path / "files" / "calls" / "calls.sqlite")
    sent = con.execute("SELECT host, count(*) FROM attempts GROUP BY 1 ORDER BY 2").fetchall()
    assert sent == [(new.url.removeprefix("http://"), 2), (old.url.removeprefix("http://"), 10)]


def test_two_judges_whose_servers_call_their_models_alike_are_two(tmp_path):
    def contrary(path, body, number):
        other = {"candidate_1": "candidate_2", "candidate_2": "candidate_1"}
        right = "candidate_1" if "candidate_1" in honest(body) else "candidate_2"
        return Step(body_for(path, verdict(other[right])))

    with serving(answering) as one, serving(contrary) as two:
        first = judge(one.url, tmp_path, name="one").vote(targets(3), NO_EXAMPLES)
        second = judge(two.url, tmp_path, name="two").vote(targets(3), NO_EXAMPLES)
        assert len(one.requests) == len(two.requests) == 6
    assert all(a != b for a, b in zip(first["vote"].to_pylist(), second["vote"].to_pylist(), strict=True))


def slowly(path, body, number):
    time.sleep(0.1)
    return answering(path, body, number)


def test_judges_wait_for_their_servers_side_by_side_and_vote_as_one_after_the_other(tmp_path):
    at_once, served = Counter(), set()

    def counted(path, body, number):
        at_once[body["model"]] += 1
        served.add(frozenset(model for model, n in at_once.items() if n))
        time.sleep(0.1)
        at_once[body["model"]] -= 1
        return answering(path, body, number)

    with serving(counted) as server:

        def panel(root):
            return [judge(server.url, root, name=n, model=n, concurrency=2, price=PRICE) for n in ("a", "b", "c")]

        together = ask(panel(tmp_path / "together"), targets(8), NO_EXAMPLES)
        assert max(map(len, served)) == 3
        served.clear()
        apart = [one.vote(targets(8), NO_EXAMPLES) for one in panel(tmp_path / "apart")]
        assert max(map(len, served)) == 1
    assert [t.equals(a) for t, a in zip(together, apart, strict=True)] == [True] * 3
    assert paid(tmp_path / "together") == paid(tmp_path / "apart") == 3 * 16 * 2000


def test_where_one_judge_stops_the_others_answers_are_kept(tmp_path):
    def script(path, body, number):
        return (
            Step({"error": {"message": "no such model"}}, 404) if body["model"] == "b" else slowly(path, body, number)
        )

    with serving(script) as server:
        panel = [judge(server.url, tmp_path, name=n, model=n) for n in ("a", "b", "c")]
        first, second, third = ask(panel, targets(4), NO_EXAMPLES)
    assert isinstance(second, Unavailable) and first.num_rows == third.num_rows == 8
    assert sum(r["calls"] for r in spent(Lake(str(tmp_path))).to_pylist() if r["status"] == "ok") == 16


@pytest.mark.parametrize("cents", [3, 8])
def test_a_budget_for_all_is_kept_by_judges_side_by_side(tmp_path, cents):
    with serving(slowly) as server:
        keys = {"price": PRICE, "dollars": cents / 100, "max_output_tokens": 100, "concurrency": 4}
        panel = [judge(server.url, tmp_path, name=n, model=n, **keys) for n in ("a", "b")]
        found = ask(panel, targets(30), NO_EXAMPLES)
    assert any(not isinstance(f, pa.Table) for f in found)
    with store(Lake(str(tmp_path))) as calls:
        assert cents * 10_000 - 2 * 9_000 <= calls.committed() <= cents * 10_000
