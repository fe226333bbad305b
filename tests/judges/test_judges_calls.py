"""Calls over the real wire against a scripted server: faults, states, budget, resume, secrets."""

import json
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from resources.judges import VOTE_SCHEMA, panel
from resources.lake import Lake
from resources.llm import call_store, wire
from resources.llm.call_store import BudgetExceeded, HeldCalls, Request, spent, store
from resources.llm.policy import Policy, Unavailable
from resources.llm.prices import UnknownPrice
from resources.llm.providers import NoKey
from resources.llm.replies import retry_after
from tests.support.judging import FAST, NO_EXAMPLES, body_for, config, honest, judge, targets
from tests.support.scripted_server import Step, completion, message, serving, verdict

BACKENDS = pytest.mark.parametrize("backend", ["openai", "anthropic"])


def ledger(root) -> dict[str, tuple[int, int]]:
    """Calls and micro-dollars by status."""
    return {r["status"]: (r["calls"], r["cost_micros"]) for r in spent(Lake(str(root))).to_pylist()}


def answering(path, body, number):
    return Step(body_for(path, honest(body)))


@BACKENDS
def test_both_orders_are_asked_and_mapped_back_and_a_second_run_calls_nobody(tmp_path, backend):
    with serving(answering) as server:
        votes = judge(server.url, tmp_path, backend=backend).vote(targets(30), NO_EXAMPLES)
        assert votes.schema.equals(VOTE_SCHEMA)
        assert len(server.requests) == 60
        again = judge(server.url, tmp_path, backend=backend).vote(targets(30), NO_EXAMPLES)
        assert len(server.requests) == 60 and again.equals(votes)
    rows = votes.to_pylist()
    assert all(r["vote"] == ("original" if int(r["pair_id"][1:]) % 2 == 0 else "swapped") for r in rows)
    for even, odd in zip(rows[::2], rows[1::2], strict=True):
        assert (even["pair_id"], even["replicate"], odd["replicate"]) == (odd["pair_id"], 0, 1)
        assert {even["shown_first"], odd["shown_first"]} == {"chosen", "rejected"}
    # which order comes first is drawn a pair: 30 fair coins
    assert 5 <= sum(r["shown_first"] == "chosen" for r in rows[::2]) <= 25


def test_long_texts_are_asked_about_fewer_at_a_time_and_all_the_same(tmp_path, monkeypatch):
    with serving(answering) as server:
        usual = judge(server.url, tmp_path / "a").vote(targets(11), NO_EXAMPLES)
        monkeypatch.setattr("resources.judges.llm_judge.CHUNK_BYTES", 3 * 2 * targets(1).nbytes)
        asker, sizes = judge(server.url, tmp_path / "b"), []
        monkeypatch.setattr(
            asker, "_complete", lambda r, calls, ask=asker._complete: sizes.append(len(r)) or ask(r, calls)
        )
        assert asker.vote(targets(11), NO_EXAMPLES).equals(usual)
    assert sum(sizes) == 22 and 4 <= max(sizes) <= 8


@BACKENDS
def test_a_judge_that_always_says_one_ends_at_half_for_each_order(tmp_path, backend):
    with serving(lambda path, *_: Step(body_for(path, verdict("candidate_1")))) as server:
        rows = judge(server.url, tmp_path, backend=backend).vote(targets(20), NO_EXAMPLES).to_pylist()
    assert [r["vote"] for r in rows].count("original") == [r["vote"] for r in rows].count("swapped") == 20


STATES = {
    "refused": {
        "openai": completion("", refusal="I will not."),
        "anthropic": message("I will not.", stop="refusal"),
    },
    "truncated": {
        "openai": completion('{"reasoning": "so', finish="length"),
        "anthropic": message('{"reasoning": "so', stop="max_tokens"),
    },
    "unparsable": {"openai": completion("Candidate 1 is better"), "anthropic": message("Candidate 1 is better")},
    "invalid": {"openai": completion(verdict("candidate_3")), "anthropic": message(verdict("candidate_3"))},
}


@BACKENDS
@pytest.mark.parametrize("state", STATES)
def test_what_is_no_answer_is_a_state_and_never_a_vote(tmp_path, backend, state):
    with serving(lambda *_: Step(STATES[state][backend])) as server:
        price = {"input": 1, "output": 10}
        votes = judge(server.url, tmp_path, backend=backend, price=price).vote(targets(1), NO_EXAMPLES)
        calls = 1 if state == "refused" else 2  # all but a refusal are asked once more
        assert len(server.requests) == 2 * calls
        assert judge(server.url, tmp_path, backend=backend, price=price).vote(targets(1), NO_EXAMPLES).equals(votes)
        assert len(server.requests) == 2 * calls
    for r in votes.to_pylist():
        assert (r["answer"], r["vote"], r["status"]) == ("", "none", state)
        assert r["cost_micros"] == 2000 * calls  # 1000 tokens in at $1, 100 out at $10 a million: it was charged
    assert ledger(tmp_path) == {state: (2 * calls, 2 * calls * 2000)}


FAULTS = {
    "429": Step({"error": {"message": "slow down"}}, 429, {"retry-after": "0"}),
    "429 for ten minutes": Step({"error": {"message": "slow down"}}, 429, {"retry-after": "600"}),
    "429 for 49 days": Step({"error": {"message": "slow down"}}, 429, {"retry-after": "4294967"}),
    "500": Step({"error": {"message": "oops"}}, 500),
    "503 as a page": Step(b"<html>busy</html>", 503),
    "504": Step({"error": {"message": "gateway"}}, 504),
    "529": Step({"error": {"type": "overloaded_error", "message": "overloaded"}}, 529),
    "reset": Step(reset=True),
    "cut body": Step(b'{"choices": [{"message": {"cont'),
    "empty body": Step(b""),
    "another protocol": Step({"result": "ok"}),
}


@BACKENDS
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_passes_is_retried(tmp_path, backend, fault):
    def script(path, body, number):
        return FAULTS[fault] if number < 2 else answering(path, body, number)

    started = time.monotonic()
    with serving(script) as server:
        votes = judge(server.url, tmp_path, backend=backend, concurrency=1).vote(targets(2), NO_EXAMPLES)
        assert len(server.requests) == 6
    assert set(votes["status"].to_pylist()) == {"ok"}
    assert time.monotonic() - started < 5  # no header can keep a worker for minutes
    assert {k: calls for k, (calls, _) in ledger(tmp_path).items()} == {"error": 2, "ok": 4}


@BACKENDS
def test_a_server_that_drips_is_left_and_its_answer_counts_as_paid(tmp_path, monkeypatch, backend):
    monkeypatch.setattr(wire, "TIMEOUT", 0.3)

    def script(path, body, number):
        return Step(body_for(path, honest(body)), drip=0.05 if number == 0 else 0)

    with serving(script) as server:
        price = {"input": 1, "output": 10}
        votes = judge(server.url, tmp_path, backend=backend, price=price, concurrency=1).vote(targets(1), NO_EXAMPLES)
        assert len(server.requests) == 3
    assert set(votes["status"].to_pylist()) == {"ok"}
    (row,) = [r for r in spent(Lake(str(tmp_path))).to_pylist() if r["status"] == "error"]
    assert row["calls"] == 1 and row["at_risk_micros"] > 2000


@BACKENDS
def test_a_fault_of_one_request_that_stays_is_an_error_and_asked_again_next_time(tmp_path, backend):
    broken = [True]

    def script(path, body, number):
        if broken[0] and "0001" in json.dumps(body):
            return Step({"error": {"message": "oops"}}, 500)
        return answering(path, body, number)

    with serving(script) as server:
        votes = judge(server.url, tmp_path, backend=backend, concurrency=1).vote(targets(4), NO_EXAMPLES)
        assert [r["status"] for r in votes.to_pylist()] == ["ok", "ok", "error", "error", *["ok"] * 4]
        before, broken[0] = len(server.requests), False
        votes = judge(server.url, tmp_path, backend=backend).vote(targets(4), NO_EXAMPLES)
        assert len(server.requests) == before + 2
    assert set(votes["status"].to_pylist()) == {"ok"}


@BACKENDS
@pytest.mark.parametrize("down", [Step({"error": {"message": "upstream restarting"}}, 503), Step(reset=True)])
def test_a_server_that_stays_down_stops_the_run_instead_of_costing_its_votes(tmp_path, backend, down, capfd):
    with serving(lambda p, b, n: answering(p, b, n) if n < 10 else down) as server:
        with pytest.raises(
            Unavailable, match=r"has answered nobody for .* So far 10 answers of this judge cost \$0\.0"
        ):
            judge(server.url, tmp_path, backend=backend, concurrency=4).vote(targets(60), NO_EXAMPLES)
        # those on their way at first, then one look after the other
        assert len(server.requests) <= 10 + 2 * 4 + FAST.looks
        assert ledger(tmp_path)["ok"][0] == 10
        assert "answers nobody" in capfd.readouterr().err
        before, server.script = len(server.requests), answering
        votes = judge(server.url, tmp_path, backend=backend, concurrency=4).vote(targets(60), NO_EXAMPLES)
        assert len(server.requests) == before + 110
    assert set(votes["status"].to_pylist()) == {"ok"}


@BACKENDS
@pytest.mark.parametrize("concurrency", [1, 8])
def test_a_blip_is_waited_for_aloud_and_loses_nothing(tmp_path, backend, concurrency, capfd):
    """The server is away for two seconds: a thousand times the first pause, three times what attempts alone would last."""
    policy = Policy(attempts=6, first_wait=0.002, longest_look=0.3, patience=20)
    first = []

    def script(path, body, number):
        first.append(time.monotonic())
        if number > 5 and 0.1 < time.monotonic() - first[0] < 2.1:
            return Step({"error": {"message": "upstream restarting"}}, 503)
        time.sleep(0.02)
        return answering(path, body, number)

    with serving(script) as server:
        votes = judge(server.url, tmp_path, policy, backend=backend, concurrency=concurrency).vote(
            targets(30), NO_EXAMPLES
        )
    assert set(votes["status"].to_pylist()) == {"ok"} and votes.num_rows == 60
    said = capfd.readouterr().err
    assert "answers nobody (503: upstream restarting)" in said and "answers again after 2 s" in said


def test_a_server_that_is_not_there_yet_is_waited_for(tmp_path):
    with serving(answering) as server:
        url = server.url
    policy = Policy(first_wait=0.05, longest_look=0.2, patience=20)
    with ThreadPoolExecutor() as pool:
        votes = pool.submit(judge(url, tmp_path, policy).vote, targets(3), NO_EXAMPLES)
        time.sleep(1)
        with serving(answering, port=int(url.rsplit(":", 1)[1])):
            assert set(votes.result()["status"].to_pylist()) == {"ok"}
    assert ledger(tmp_path)["ok"] == (6, 0)
    rows = {r["status"]: r["at_risk_micros"] for r in spent(Lake(str(tmp_path))).to_pylist()}
    assert rows["error"] == 0  # nothing was sent where nobody listened


@BACKENDS
def test_a_request_that_the_server_rejects_fails_alone(tmp_path, backend):
    def script(path, body, number):
        if "0001" in json.dumps(body):
            return Step({"error": {"message": "too long"}}, 400)
        return answering(path, body, number)

    with serving(script) as server:
        rows = judge(server.url, tmp_path, backend=backend).vote(targets(3), NO_EXAMPLES).to_pylist()
        assert len(server.requests) == 6  # not tried twice
    assert [r["status"] for r in rows] == ["ok", "ok", "error", "error", "ok", "ok"]


@BACKENDS
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, {"message": "wrong key sk-test-abcdefgh"}),
        (402, {"message": "pay first"}),
        (403, {"message": "not yours"}),
        (404, {"message": "no such model"}),
        (429, {"code": "insufficient_quota", "message": "quota"}),
    ],
)
def test_a_dead_key_stops_the_run_and_keeps_what_was_answered(tmp_path, monkeypatch, backend, status, error):
    monkeypatch.setenv("TEST_KEY", "sk-test-abcdefgh")

    def script(path, body, number):
        return answering(path, body, number) if number < 5 else Step({"error": error}, status)

    with serving(script) as server:
        keys = {"backend": backend, "api_key_env": "TEST_KEY", "concurrency": 3}
        with pytest.raises(Unavailable) as stop:
            judge(server.url, tmp_path, **keys).vote(targets(12), NO_EXAMPLES)
        assert len(server.requests) <= 5 + 3
        assert "j: m at" in str(stop.value) and str(status) in str(stop.value)
        assert ledger(tmp_path)["ok"][0] == 5
        server.script = answering
        votes = judge(server.url, tmp_path, **keys).vote(targets(12), NO_EXAMPLES)
    assert ledger(tmp_path)["ok"][0] == 24 and set(votes["status"].to_pylist()) == {"ok"}
    # the key is nowhere: not in the message, not in any file of the lake
    assert "sk-test" not in str(stop.value)
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or b"sk-test" not in file.read_bytes()
    assert all(b"sk-test" not in c for c in everything_stored(tmp_path))


def everything_stored(root) -> list[bytes]:
    import zlib

    con = sqlite3.connect(root / "files" / "calls" / "calls.sqlite")
    blobs = [zlib.decompress(b) for t, c in (("requests", "body"), ("results", "raw"))
             for (b,) in con.execute(f"SELECT {c} FROM {t}")]  # fmt: skip
    return blobs + [e.encode() for (e,) in con.execute("SELECT error FROM results")]


def test_the_budget_is_never_overstepped_and_a_higher_one_goes_on(tmp_path):
    price = {"input": 1, "output": 10}

    def spend(dollars):
        return judge(server.url, tmp_path, dollars=dollars, price=price, max_output_tokens=100, concurrency=8).vote(
            targets(20), NO_EXAMPLES
        )

    with serving(answering) as server:
        with pytest.raises(BudgetExceeded, match=r"budget\.dollars = 0\.05"):
            spend(0.05)
        first = ledger(tmp_path)["ok"]
        # a call costs 2,000 micro-dollars and may cost at most 8,700: it stops between those
        assert 50_000 - 8_700 * 1.1 <= first[1] <= 50_000
        assert first[1] == 2000 * first[0]
        votes = spend(1.0)
        assert ledger(tmp_path)["ok"] == (40, 80_000)  # each paid once
        assert len(server.requests) == 40
    assert set(votes["status"].to_pylist()) == {"ok"}


def test_without_a_budget_only_what_is_free_is_called(tmp_path):
    with serving(answering) as server:
        with pytest.raises(BudgetExceeded):
            judge(server.url, tmp_path, dollars=0, price={"input": 1, "output": 1}).vote(targets(1), NO_EXAMPLES)
        assert not server.requests
        judge(server.url, tmp_path, dollars=0).vote(targets(1), NO_EXAMPLES)
        assert len(server.requests) == 2


def test_a_model_without_a_price_or_a_key_is_refused_before_any_call(tmp_path, monkeypatch):
    made = config("http://127.0.0.1:9", price=None, model="brand-new")
    with pytest.raises(UnknownPrice, match="brand-new"):
        panel(made, Lake(str(tmp_path)))
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(NoKey, match="NO_SUCH_KEY"):
        panel(config("http://127.0.0.1:9", api_key_env="NO_SUCH_KEY"), Lake(str(tmp_path)))


def test_concurrency_is_bounded_and_used(tmp_path):
    now, most, lock = [0], [0], threading.Lock()

    def script(path, body, number):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.03)
        with lock:
            now[0] -= 1
        return answering(path, body, number)

    with serving(script) as server:
        judge(server.url, tmp_path, concurrency=5).vote(targets(15), NO_EXAMPLES)
    assert most[0] == 5


def test_a_store_takes_no_change_and_one_result_an_attempt(tmp_path):
    request = Request("openai", "", {"model": "m", "max_completion_tokens": 1}, 0)
    with store(Lake(str(tmp_path))) as calls:
        attempt = calls.start(request, "s", "j", "m", 5, 100)
        calls.finish(attempt, "ok", raw=b"{}", cost=3)
        with pytest.raises(sqlite3.IntegrityError):
            calls.finish(attempt, "ok", raw=b"{}", cost=3)
        for change in ("UPDATE results SET cost = 0", "DELETE FROM attempts", "UPDATE requests SET body = ''"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                calls._con.execute(change)
        assert calls.start(request, "s", "j", "m", 97, 100) == 2 and calls.start(request, "s", "j", "m", 1, 100) is None
        assert calls.committed() == 100
    with store(Lake(str(tmp_path))) as calls:  # the second attempt never ended: it may have cost what was reserved
        assert calls.committed() == 100
        rows = {r["status"]: r for r in calls.ledger().to_pylist()}
    assert (rows["lost"]["calls"], rows["lost"]["cost_micros"], rows["lost"]["at_risk_micros"]) == (1, 0, 97)
    assert (rows["ok"]["cost_micros"], rows["ok"]["at_risk_micros"]) == (3, 0)


def test_a_store_that_another_program_holds_stops_the_run_in_one_line_before_anything_is_sent(tmp_path, monkeypatch):
    monkeypatch.setattr(call_store, "HELD_S", 0.2)
    with serving(lambda *_: pytest.fail("asked")) as server:
        asked = judge(server.url, tmp_path)
        with store(asked.lake):
            pass
        other = sqlite3.connect(tmp_path / "files" / "calls" / "calls.sqlite", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(HeldCalls, match=r"calls\.sqlite was held by another program for 0\.2 s, .* Run again when"):
            asked.vote(targets(2), NO_EXAMPLES)
        other.close()
        assert not server.requests


def test_a_key_names_all_that_reaches_the_wire():
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    base = Request("openai", "http://a", body, 0)
    same = Request("openai", "http://a", {"messages": [{"content": "x", "role": "user"}], "model": "m"}, 0)
    assert base.key == same.key and len(base.key) == 32
    others = [
        Request("anthropic", "http://a", body, 0),
        Request("openai", "http://b", body, 0),
        Request("openai", "http://a", body, 1),
        Request("openai", "http://a", body | {"model": "n"}, 0),
        Request("openai", "http://a", body | {"max_completion_tokens": 5}, 0),
        Request("openai", "http://a", body | {"messages": [{"role": "user", "content": "x "}]}, 0),
    ]
    assert len({r.key for r in [base, *others]}) == 7


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_what_a_server_asks_to_wait(headers, seconds):
    assert retry_after(headers) == seconds


def test_a_wait_as_a_date_is_read():
    from email.utils import formatdate

    assert 50 < retry_after({"retry-after": formatdate(time.time() + 60, usegmt=True)}) <= 61


def test_waits_grow_and_are_capped(tmp_path):
    from resources.llm.online_calls import _Run

    made = judge("http://127.0.0.1:9", tmp_path)
    run = _Run(None, made.provider, made.payer, None, Policy(first_wait=1, longest_wait=10), 1)
    for attempt, most in enumerate([1, 2, 4, 8, 10, 10]):
        assert all(most / 2 <= run._pause(None, attempt) <= most for _ in range(20))
    assert run._pause(4_294_967, 0) == 10


def test_two_who_ask_the_same_at_the_same_time_pay_once(tmp_path):
    """As two commands on one lake would."""

    def slowly(path, body, number):
        time.sleep(0.05)
        return Step(body_for(path, honest(body)))

    with serving(slowly) as server, ThreadPoolExecutor(2) as both:
        made = [
            both.submit(lambda: judge(server.url, tmp_path, concurrency=2).vote(targets(8), NO_EXAMPLES)) for _ in "ab"
        ]
        first, second = (m.result() for m in made)
        assert len(server.requests) == 16 and first.equals(second)


@BACKENDS
def test_a_body_that_nobody_had_read_when_the_process_died_is_read_and_not_asked_for_again(tmp_path, backend):
    price = {"input": 1, "output": 10}
    with serving(answering) as server:
        asking = judge(server.url, tmp_path, backend=backend, price=price)
        requests = [a.request for a in asking._ask(targets(2), NO_EXAMPLES)]
        with store(Lake(str(tmp_path))) as calls:
            for request in requests[:3]:  # came in, and was stored; then the process died
                attempt = calls.start(request, "stage", "j", "m", 5000, 10**9)
                path = "/v1/chat/completions" if backend == "openai" else "/v1/messages"
                body = {"messages": request.body["messages"]}
                calls.receive(attempt, json.dumps(body_for(path, honest(body))).encode())
        votes = asking.vote(targets(2), NO_EXAMPLES)
        assert len(server.requests) == 1
    assert set(votes["status"].to_pylist()) == {"ok"} and set(votes["cost_micros"].to_pylist()) == {2000}
    assert ledger(tmp_path) == {"ok": (4, 8000)}


def test_a_store_of_before_bodies_stood_beside_their_results_is_read(tmp_path):
    """Answers that were paid for stay answers."""
    import zlib

    with serving(answering) as server:
        votes = judge(server.url, tmp_path).vote(targets(3), NO_EXAMPLES)
        file = tmp_path / "files" / "calls" / "calls.sqlite"
        con = sqlite3.connect(file)
        rows = con.execute("SELECT r.attempt, b.raw FROM results r JOIN bodies b USING (attempt)").fetchall()
        con.executescript(
            "DROP TRIGGER results_UPDATE; DROP TABLE bodies; DROP TRIGGER attempts_UPDATE; DROP TRIGGER attempts_DELETE;"
        )
        con.executemany("UPDATE results SET raw = ? WHERE attempt = ?", [(raw, attempt) for attempt, raw in rows])
        con.execute("ALTER TABLE attempts DROP COLUMN host")
        con.commit()
        con.close()
        assert len(rows) == 6 and zlib.decompress(rows[0][1])
        assert judge(server.url, tmp_path).vote(targets(3), NO_EXAMPLES).equals(votes)
        assert len(server.requests) == 6
        assert judge(server.url, tmp_path).vote(targets(4), NO_EXAMPLES).num_rows == 8
        assert len(server.requests) == 8
