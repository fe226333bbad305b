"""Random faults and real kills: every request ends once, is paid at most once an attempt, and nothing is lost."""

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curation.prompts import JudgeAnswer
from resources.lake import Lake
from resources.llm.call_store import ANSWERED, BudgetExceeded, Request, Store, spent
from resources.llm.online_calls import complete
from resources.llm.policy import Payer, Policy, Unavailable
from resources.llm.prices import flat
from resources.llm.providers import OpenAI
from resources.llm.wire import Failure
from resources.settings import Price
from tests.support.judging import NO_EXAMPLES, body_for, honest, judge, targets
from tests.support.places import ROOT
from tests.support.scripted_server import Step, completion, serving, verdict

PRICE = flat(Price(input=1, output=10))
PAID = 2000  # micro-dollars of one answer: 1000 tokens in, 100 out
# more attempts than a script has faults: how many of them are a request's own depends on what the others meet
POLICY = Policy(attempts=20, repairs=1, longest_wait=0.001, first_wait=0, refusals=None, patience=3000)

ANSWERS = {
    "ok": completion(verdict("candidate_1")),
    "refused": completion("", refusal="no"),
    "truncated": completion("{", finish="length"),
    "unparsable": completion("one"),
    "invalid": completion(verdict("neither")),
}
FAULTS = {
    "429": Failure("slow", 429, {"retry-after": "0"}),
    "500": Failure("oops", 500),
    "400": Failure("bad", 400),
    "reset": Failure("reset", 0),
    "garbage": None,
    "401": Failure("key", 401),
    "quota": Failure("insufficient_quota", 429),
}


class Scripted(OpenAI):
    """The real protocol over a network that does what the script says, then answers."""

    def __init__(self, script: list[list[str]]):
        super().__init__("http://nowhere", None)
        self.script = [list(steps) for steps in script]
        self.sent: Counter[int] = Counter()
        self.charged = 0

    @contextlib.asynccontextmanager
    async def connect(self):
        yield self

    async def send(self, client, request):
        import json

        number = request.body["number"]
        self.sent[number] += 1
        step = self.script[number].pop(0) if self.script[number] else "ok"
        if step == "garbage":
            return b"<html>", {}
        if step in FAULTS:
            raise FAULTS[step]
        self.charged += PAID
        return json.dumps(ANSWERS[step]).encode(), {}


def expected(steps: list[str]) -> str:
    """How one request ends by the policy, worked out without the executor; 'stop' where the key is dead."""
    useless = 0
    for step in [*steps, "ok", "ok"]:
        if step in ("401", "quota"):
            return "stop"
        if step == "400":
            return "error"
        if step in FAULTS:
            continue
        if step in ("ok", "refused"):
            return step
        useless += 1
        if useless > POLICY.repairs:
            return step
    raise AssertionError("every script ends")


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    opened = Store(tmp_path_factory.mktemp("calls") / "calls.sqlite")
    yield opened
    opened.close()


step = st.one_of(
    st.sampled_from(["ok", "refused", "truncated", "unparsable", "invalid", "429", "500", "400", "reset", "garbage"]),
    st.sampled_from(["ok", "401", "quota"]),
)
scripts = st.lists(st.lists(step, max_size=5), min_size=1, max_size=5)


def check(calls: Store, script: list[list[str]], concurrency: int) -> None:
    run = uuid.uuid4().hex  # the store is shared by all examples, the requests are not
    provider = Scripted(script)
    payer = Payer("s", run, "m", PRICE, 10**12)
    requests = [
        Request("openai", "http://nowhere", {"run": run, "number": i, "max_completion_tokens": 100}, 0)
        for i in range(len(script))
    ]
    keys = [r.key for r in requests]
    wanted = [expected(list(steps)) for steps in script]
    try:
        outcomes = complete(requests, JudgeAnswer, provider, payer, calls, concurrency, POLICY)
    except Unavailable:
        assert "stop" in wanted
        outcomes = {}
    else:
        assert [outcomes[k].status for k in keys] == wanted
        assert all((outcomes[k].answer is not None) == (outcomes[k].status == "ok") for k in keys)
        assert sum(o.cost_micros for o in outcomes.values()) == provider.charged
    rows = calls._con.execute(
        "SELECT a.id, a.key, status, cost, at_risk FROM attempts a LEFT JOIN results r ON r.attempt = a.id "
        "WHERE judge = ?",
        (run,),
    ).fetchall()
    assert len(rows) == sum(provider.sent.values())  # every attempt is on record,
    assert all(status is not None for _, _, status, _, _ in rows)  # every one ended,
    assert sum(cost for *_, cost, _ in rows) == provider.charged  # and every charge is known
    assert all(n <= POLICY.attempts for n in provider.sent.values())
    assert all(cost == (PAID if status in ANSWERED else 0) for _, _, status, cost, _ in rows)

    # the next run, on a network that works, finishes what is open and asks for nothing that was answered
    last_word = {k for k, o in outcomes.items() if o.status != "error"}
    before = Counter(provider.sent)
    provider.script = [[] for _ in script]
    again = complete(requests, JudgeAnswer, provider, payer, calls, concurrency, POLICY)
    assert {k: again[k] for k in last_word} == {k: outcomes[k] for k in last_word}
    for i, key in enumerate(keys):
        assert provider.sent[i] == before[i] if key in last_word else provider.sent[i] <= before[i] + 1
    assert complete(requests, JudgeAnswer, provider, payer, calls, concurrency, POLICY) == again


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(scripts, st.integers(1, 4))
def test_every_request_ends_once_and_is_paid_once_an_attempt(shared, script, concurrency):
    check(shared, script, concurrency)


@pytest.mark.slow
@settings(max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(scripts, st.integers(1, 4))
def test_many_scripts(shared, script, concurrency):
    check(shared, script, concurrency)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 60_000), st.integers(1, 4))
def test_no_budget_is_overstepped(shared, cap, concurrency):
    run = uuid.uuid4().hex
    provider = Scripted([[]] * 10)
    requests = [
        Request("openai", "http://nowhere", {"run": run, "number": i, "max_completion_tokens": 100}, 0)
        for i in range(10)
    ]
    start = shared.committed()
    payer = Payer("s", run, "m", PRICE, start + cap)
    with contextlib.suppress(BudgetExceeded):
        complete(requests, JudgeAnswer, provider, payer, shared, concurrency, POLICY)
    assert provider.charged <= cap
    assert provider.charged == 10 * PAID or cap - provider.charged < 2200  # what one more call could have cost
    assert shared.committed() == start + provider.charged


# ---- real kills -----------------------------------------------------------------------------------------------------
PROGRAM = """
import sys
from pathlib import Path
from tests.support.judging import NO_EXAMPLES, judge, targets
judge(sys.argv[1], Path(sys.argv[2]), price={"input": 1, "output": 10}, concurrency=4).vote(targets(40), NO_EXAMPLES)
"""


def killed_again_and_again(root: Path, moments: list[tuple[int, float]]) -> tuple[int, int]:
    """Kill a run at each moment (so many of its calls have come in, and so many seconds later), then let it finish.

    Returns:
        Answers that the server sent, and kills that met a run at work.
    """
    repo = ROOT
    kills = 0

    def script(path, body, number):
        time.sleep(0.02)
        return Step(body_for(path, honest(body)))

    with serving(script) as server:
        for calls, seconds in moments:
            seen = len(server.requests)
            process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, server.url, str(root)], cwd=repo, env=os.environ | {"PYTHONPATH": "."}
            )
            while len(server.requests) < seen + calls and process.poll() is None:
                time.sleep(0.001)
            time.sleep(seconds)
            kills += process.poll() is None
            process.send_signal(signal.SIGKILL)
            process.wait()
        votes = judge(server.url, root, price={"input": 1, "output": 10}, concurrency=4).vote(targets(40), NO_EXAMPLES)
        asked = len(server.requests)
        undisturbed = judge(server.url, root / "other", price={"input": 1, "output": 10}).vote(targets(40), NO_EXAMPLES)
    assert votes.equals(undisturbed)
    statuses = Counter()
    for row in spent(Lake(str(root))).to_pylist():
        statuses[row["status"]] += row["calls"]
    assert statuses["ok"] == 80  # each key was answered and paid once as far as we know,
    assert statuses["lost"] <= 4 * kills  # at most those on their way when a run died are in doubt,
    assert asked <= 80 + statuses["lost"]  # and nothing else was ever asked twice
    con = sqlite3.connect(root / "files" / "calls" / "calls.sqlite")
    assert con.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    con.close()
    return asked, kills


def test_a_killed_run_goes_on_without_paying_twice(tmp_path):
    asked, kills = killed_again_and_again(tmp_path, [(1, 0.0), (25, 0.01)])
    assert kills == 2 and asked >= 80


@pytest.mark.slow
def test_fifty_kills(tmp_path):
    """At 50 moments drawn over the whole run, two a run: after the first to the last call, and anywhere up to the next."""
    draw, kills = random.Random(7), 0
    for i in range(25):
        first = draw.randint(1, 50)
        second = draw.randint(1, 76 - first)  # what may be left, without the four calls in doubt
        kills += killed_again_and_again(tmp_path / str(i), [(n, draw.uniform(0, 0.02)) for n in (first, second)])[1]
    assert kills == 50
