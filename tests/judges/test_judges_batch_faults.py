"""Batches at providers that misbehave: nothing is believed that does not hold together, and nothing is paid twice."""

import json
import multiprocessing
import sqlite3
import time
import zlib
from collections import Counter

import pytest

from resources.llm import batch_calls as batch
from resources.llm.batch_calls import Pending, Unsettled, too_large
from resources.llm.policy import Policy, Unavailable, Unusable
from tests.judges.test_judges_batch import BACKENDS, PAID, PRICE, ledger, made, vote
from tests.support.batch_server import batching
from tests.support.judging import NO_EXAMPLES, honest, judge, targets

NOW = Policy(attempts=4, longest_wait=0.02, first_wait=0.001)
ROOM = ("token_limit_exceeded", "Enqueued token limit reached. Limit: 90,000 enqueued tokens.")


def sent(server, root, backend, **keys) -> None:
    with pytest.raises(Pending):
        vote(server, root, backend, **keys)


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("page", [b"<html><body>maintenance</body></html>", b"", b"\n\n", b"[1]\n5\nnull\n"])
@BACKENDS
def test_a_results_file_that_is_a_page_or_empty_for_a_while_is_fetched_again(tmp_path, backend, page, times):
    with batching(honest) as server:
        sent(server, tmp_path, backend)
        server.end_all()
        server.pages = [page] * times
        assert set(vote(server, tmp_path, backend)["status"].to_pylist()) == {"ok"}
        assert len(server.created) == 1
    assert ledger(tmp_path) == {"ok": (12, 12 * PAID, 0)}


@BACKENDS
@pytest.mark.parametrize("lines", [0, 5])
def test_results_that_stay_short_are_for_a_person_until_they_are_whole(tmp_path, backend, lines):
    with batching(honest) as server:
        sent(server, tmp_path, backend)
        server.end_all()
        server.spoil = lambda found: found[:lines]
        for _ in range(2):  # every run says so, and sends nothing
            with pytest.raises(Unsettled, match=rf"{lines} of 12 requests have a line .* count is 12. A person has to"):
                vote(server, tmp_path, backend)
        assert len(server.created) == 1
        found = ledger(tmp_path)
        assert found.get("ok", (0, 0, 0))[:2] == (lines, lines * PAID)  # what is there is kept
        assert found["open"][0] == 12 - lines and found["open"][2] > 0
        server.spoil = list
        assert set(vote(server, tmp_path, backend)["status"].to_pylist()) == {"ok"}
        assert len(server.created) == 1
    assert ledger(tmp_path) == {"ok": (12, 12 * PAID, 0)}


@BACKENDS
def test_answers_that_never_come_can_be_given_up_by_name_and_count_as_paid(tmp_path, backend):
    with batching(honest) as server:
        sent(server, tmp_path, backend)
        server.end_all()
        server.spoil = lambda found: found[:5]
        with pytest.raises(Unsettled):
            vote(server, tmp_path, backend)
        giving_up = Policy(attempts=1, longest_wait=0.02, first_wait=0.001, accept_missing=True)
        asking = judge(server.url, tmp_path, giving_up, backend=backend, execution="batch", price=PRICE)
        votes = asking.vote(targets(6), NO_EXAMPLES)
        assert len(server.created) == 1
    assert Counter(votes["status"].to_pylist()) == {"ok": 5, "error": 7}
    assert ledger(tmp_path)["lost"][0] == 7 and ledger(tmp_path)["lost"][2] > 7 * PAID


@BACKENDS
def test_a_batch_that_is_gone_is_for_a_person(tmp_path, backend):
    with batching(honest) as server:
        sent(server, tmp_path, backend)
        server.get = lambda path: (404, {"error": {"message": "no such batch"}})
        for _ in range(2):
            with pytest.raises(Unsettled, match=r"knows no batch batch-0 .*A person has to look"):
                vote(server, tmp_path, backend)
        assert len(server.created) == 1


def test_a_batch_that_fails_for_want_of_room_goes_out_again_in_smaller_parts(tmp_path):
    with batching(honest) as server:
        server.fails = lambda requests: ROOM if len(requests) > 3 else None
        sent(server, tmp_path, "openai")
        said = []
        for _ in range(12):
            try:
                votes = vote(server, tmp_path, "openai")
                break
            except Pending as e:
                said.append(str(e))
                server.ended |= {n for n, requests in server.created.items() if len(requests) <= 3}
        assert set(votes["status"].to_pylist()) == {"ok"}
        # 12 and 6 are too many, so parts of 3, one at a time
        assert [len(b) for b in server.created.values()] == [12, 6, 3, 3, 3, 3]
    assert "token_limit_exceeded: Enqueued token limit reached. Limit: 90,000 enqueued tokens." in said[0]
    assert "its 12 requests go out again in parts of 6" in said[0] and "one part at a time" in said[0]
    found = ledger(tmp_path)
    assert found["ok"] == (12, 12 * PAID, 0) and found["returned"] == (18, 0, 0)


@pytest.mark.parametrize("requests", [1, 4])
def test_a_batch_that_fails_for_good_stops_the_run_in_the_providers_words_and_is_no_attempt(tmp_path, requests):
    reason = ("billing_hard_limit_reached", "Billing hard limit has been reached") if requests > 1 else ROOM
    with batching(honest) as server:
        server.fails = lambda requests: reason
        for run in range(1, 10):  # more than attempts: none of them counts
            if run % 2:
                with pytest.raises(Pending):
                    judge_once(server, tmp_path, requests)
            else:
                with pytest.raises(Unavailable, match=f"failed at the provider: {reason[0]}: {reason[1]}"):
                    judge_once(server, tmp_path, requests)
            assert len(server.created) == (run + 1) // 2
        server.fails = lambda requests: None
        server.end_all()
        assert set(judge_once(server, tmp_path, requests)["status"].to_pylist()) == {"ok"}


def judge_once(server, root, requests):
    return made(server, root, "openai", samples=1).vote(targets(requests), NO_EXAMPLES)


@pytest.mark.parametrize("http", [413, 400])
@BACKENDS
def test_a_create_that_is_refused_as_too_large_goes_out_in_halves(tmp_path, backend, http):
    with batching(honest) as server:
        post = server.post
        tried = []

        def refusing(path, data):
            if path.endswith("/batches"):
                tried.append(len(data))
                if len(tried) == 1:
                    return http, {"error": {"message": "request too large", "type": "request_too_large"}}
            return post(path, data)

        server.post = refusing
        with pytest.raises(Pending, match=r"too large.*parts of 6"):
            vote(server, tmp_path, backend)
        sent(server, tmp_path, backend)
        assert [len(b) for b in server.created.values()] == [6, 6]
        server.end_all()
        assert set(vote(server, tmp_path, backend)["status"].to_pylist()) == {"ok"}


def test_reasons_are_told_apart():
    assert too_large(": ".join(ROOM)) == "room"
    assert too_large("413 file is too large") == "size"
    assert too_large("invalid_json_line: line 3 is no JSON") == ""
    assert too_large("billing_hard_limit_reached: Billing hard limit has been reached") == ""


@BACKENDS
@pytest.mark.parametrize("ahead", [-3600.0, -70.0, 70.0])
def test_clocks_that_differ_send_nothing_twice(tmp_path, backend, ahead):
    with batching(honest) as server:
        server.faults, server.ahead = ["lost"], ahead
        sent(server, tmp_path, backend)
        asking = made(server, tmp_path, backend)
        for _ in range(2):  # settled at once: only the provider's list keeps it from going out again
            with pytest.raises(Pending):
                once(asking, settle=0.0)
        server.end_all()
        assert {o.status for o in once(asking, settle=0.0).values()} == {"ok"}
        assert len(server.created) == 1
    assert ledger(tmp_path) == {"ok": (12, 12 * PAID, 0)}


def once(asking, settle: float):
    from curation.prompts import JudgeAnswer
    from resources.llm.call_store import store

    requests = [a.request for a in asking._ask(targets(6), NO_EXAMPLES)]
    with store(asking.lake) as calls:
        return batch.complete(requests, JudgeAnswer, asking.provider, asking.payer, calls, NOW, settle)


def test_a_batch_of_somebody_else_that_is_as_large_is_not_taken_for_ours(tmp_path):
    with batching(honest) as server:
        other = judge(server.url, tmp_path / "other", backend="anthropic", execution="batch", price=PRICE, model="n")
        with pytest.raises(Pending):
            other.vote(targets(6), NO_EXAMPLES)
        server.end_all()
        server.faults = ["refused"]  # ours never arrives, and only the other one is there
        asking = made(server, tmp_path, "anthropic")
        with pytest.raises(Pending):
            once(asking, settle=60.0)
        with pytest.raises(Pending):
            once(asking, settle=0.0)
        assert len(server.created) == 2
        server.end_all()
        assert {o.status for o in once(asking, settle=0.0).values()} == {"ok"}
        assert len(server.created) == 2


def test_ours_is_found_beside_a_batch_that_cannot_be_looked_into(tmp_path):
    with batching(honest) as server:
        other = judge(server.url, tmp_path / "other", backend="anthropic", execution="batch", price=PRICE, model="n")
        with pytest.raises(Pending):
            other.vote(targets(6), NO_EXAMPLES)
        server.faults = ["lost"]
        asking = made(server, tmp_path, "anthropic")
        with pytest.raises(Pending):
            once(asking, settle=0.0)
        server.end_all()
        real = server.get
        server.get = lambda path: (
            (403, {"error": {"message": "not yours"}}) if "batch-0/results" in path else real(path)
        )
        assert {o.status for o in once(asking, settle=0.0).values()} == {"ok"}
        assert len(server.created) == 2


def test_one_that_is_taken_while_it_is_open_and_shows_to_be_another_is_given_back(tmp_path):
    with batching(honest) as server:
        other = judge(server.url, tmp_path / "other", backend="anthropic", execution="batch", price=PRICE, model="n")
        with pytest.raises(Pending):
            other.vote(targets(6), NO_EXAMPLES)
        server.faults = ["refused"]
        asking = made(server, tmp_path, "anthropic")
        with pytest.raises(Pending):
            once(asking, settle=60.0)
        with pytest.raises(Pending):
            once(asking, settle=0.0)  # the only one that could be ours
        server.end_all()
        with pytest.raises(Pending, match="holds nothing of ours"):
            once(asking, settle=0.0)
        with pytest.raises(Pending):
            once(asking, settle=0.0)
        server.end_all()
        assert {o.status for o in once(asking, settle=0.0).values()} == {"ok"}
        assert len(server.created) == 2


def asked_at_once(url, root, backend, start, says):
    made = judge(url, root, backend=backend, execution="batch", price=PRICE)
    start.wait()
    try:
        says.put(f"ok {made.vote(targets(40), NO_EXAMPLES).num_rows}")
    except Pending as e:
        says.put(f"pending {e}")
    except BaseException as e:
        says.put(f"{type(e).__name__}: {e}")


def two_at_once(server, root, backend) -> list[str]:
    fork = multiprocessing.get_context("fork")
    says, start = fork.Queue(), fork.Barrier(2)
    both = [fork.Process(target=asked_at_once, args=(server.url, root, backend, start, says)) for _ in "ab"]
    for p in both:
        p.start()
    found = [says.get(timeout=60) for _ in both]
    for p in both:
        p.join()
    return sorted(found)


@BACKENDS
def test_two_commands_at_once_send_and_collect_once(tmp_path, backend):
    with batching(honest) as server:
        assert all(s.startswith("pending j: 80 of 80") for s in two_at_once(server, tmp_path, backend))
        assert [len(b) for b in server.created.values()] == [80]
        server.end_all()
        assert two_at_once(server, tmp_path, backend) == ["ok 80", "ok 80"]
        assert len(server.created) == 1
    assert ledger(tmp_path) == {"ok": (80, 80 * PAID, 0)}


def test_a_step_of_a_batch_is_claimed_by_one_process(tmp_path):
    """Also where the lock of the file system does not hold: the store itself lets one claim through."""
    from resources.lake import Lake
    from resources.llm.call_store import Request, store

    requests = [(Request("openai", "", {"model": "m", "n": i}, 0), 5) for i in range(3)]
    with store(Lake(str(tmp_path))) as one, store(Lake(str(tmp_path))) as two:
        assert one.plan_batch("a", "s", "j", "m", requests, 10**6)
        assert two.plan_batch("b", "s", "j", "m", requests, 10**6)  # all taken: nothing is written
        assert two.open_batches("j") == ["a"] and not two.batch_requests("b")
        assert [s.batch_event("a", "submitting", after="planned") for s in (one, two)] == [True, False]
        assert one.committed() == two.committed() == 15


@BACKENDS
def test_only_the_configured_host_is_asked_for_results(tmp_path, backend, monkeypatch):
    monkeypatch.setenv("TEST_KEY", "planted-0123456789")
    with batching(honest) as server, batching(honest) as elsewhere:
        real = server.batch
        server.batch = lambda made, anthropic: real(made, anthropic) | {"results_url": elsewhere.url + "/v1/x/results"}
        sent(server, tmp_path, backend, api_key_env="TEST_KEY")
        server.end_all()
        assert vote(server, tmp_path, backend, api_key_env="TEST_KEY").num_rows == 12
        assert not elsewhere.asked
        assert all("planted-0123456789" in str(headers) for _, headers in server.asked)


SHAPES = {
    "no body": lambda line: line | {"response": {"status_code": 200}, "result": {"type": "succeeded"}},
    "a body that is null": lambda line: (
        line | {"response": {"status_code": 200, "body": None}, "result": {"type": "succeeded", "message": None}}
    ),
    "a response that is a text": lambda line: line | {"response": "oops", "result": "oops"},
    "a response that is a list": lambda line: line | {"response": [1], "result": [{"type": "succeeded"}]},
    "an error that is a text": lambda line: (
        line | {"response": None, "error": "rate limited", "result": {"error": "x"}}
    ),
    "a type that is a list": lambda line: (
        line | {"response": {"status_code": [200]}, "result": {"type": ["succeeded"]}}
    ),
}


@BACKENDS
@pytest.mark.parametrize("shape", SHAPES)
def test_a_line_of_any_shape_costs_itself_alone(tmp_path, backend, shape):
    with batching(honest) as server:
        sent(server, tmp_path, backend)
        server.end_all()
        server.spoil = lambda lines: [SHAPES[shape](lines[0]), *lines[1:]]
        with pytest.raises(Pending, match="1 of 12"):
            vote(server, tmp_path, backend)
        assert [len(b) for b in server.created.values()] == [12, 1]
        server.end_all()
        server.spoil = list
        assert set(vote(server, tmp_path, backend)["status"].to_pylist()) == {"ok"}
    assert ledger(tmp_path)["ok"][:2] == (12, 12 * PAID)


@BACKENDS
@pytest.mark.parametrize("text", [b"\xef\xbb\xbf", b"<html>\n", b'{"custom_id": 5}\n', b"x" * 100 + b"\n"])
def test_lines_that_are_nobodys_are_left_out(tmp_path, backend, text):
    with batching(honest) as server:
        sent(server, tmp_path, backend)
        server.end_all()
        server.pages = [text + server.results("batch-0", backend == "anthropic").replace(b"\n", b"\r\n")]
        assert set(vote(server, tmp_path, backend)["status"].to_pylist()) == {"ok"}
        assert len(server.created) == 1


RECORDS = [
    {"created_at": None, "metadata": None, "request_counts": None},
    {"created_at": "soon", "metadata": [1], "request_counts": [1]},
    {"created_at": -5, "metadata": "x", "request_counts": {"processing": "many"}},
    {"processing_status": 5, "status": None, "errors": "x", "output_file_id": 5, "results_url": None},
]


@BACKENDS
@pytest.mark.parametrize("odd", RECORDS, ids=range(len(RECORDS)))
def test_a_record_of_a_batch_of_any_shape_stops_nothing(tmp_path, backend, odd):
    with batching(honest) as server:
        server.faults = ["lost"]
        sent(server, tmp_path, backend)
        real, spoilt = server.batch, [True]
        server.batch = lambda made, anthropic: real(made, anthropic) | (odd if spoilt[0] else {})
        asking = made(server, tmp_path, backend)
        with pytest.raises(Pending):
            once(asking, settle=60.0)
        spoilt[0] = False
        server.end_all()
        assert {o.status for o in once(asking, settle=60.0).values()} == {"ok"}
        assert len(server.created) == 1


def test_a_batch_whose_usage_is_missing_costs_what_was_reserved(tmp_path):
    with batching(honest) as server:
        sent(server, tmp_path, "openai")
        server.end_all()

        def without(lines):
            for line in lines:
                line["response"]["body"]["usage"] = None
            return lines

        server.spoil = without
        reserved = ledger(tmp_path)["open"][2]
        assert vote(server, tmp_path, "openai")["status"].to_pylist() == ["ok"] * 12
    assert ledger(tmp_path) == {"ok": (12, reserved, 0)}
    con = sqlite3.connect(tmp_path / "files" / "calls" / "calls.sqlite")
    assert {e for (e,) in con.execute("SELECT error FROM results")} != {""}
    bodies = [json.loads(zlib.decompress(raw)) for (raw,) in con.execute("SELECT raw FROM bodies")]
    assert len(bodies) == 12 and all(b["usage"] is None for b in bodies)


@BACKENDS
def test_a_judge_whose_batch_brings_nothing_usable_is_not_sent_another(tmp_path, backend):
    with batching(lambda body: "I prefer the first one.") as server:
        sent(server, tmp_path, backend, n=12)
        server.end_all()
        with pytest.raises(Unusable, match=r"none of 24 answers can be used \(24 unparsable\).* cost \$0\.024000"):
            vote(server, tmp_path, backend, n=12)
        assert len(server.created) == 1
    assert ledger(tmp_path) == {"unparsable": (24, 24 * PAID, 0)}


@BACKENDS
def test_results_that_cannot_be_fetched_for_a_while_are_no_answers_given_up(tmp_path, backend):
    giving_up = Policy(attempts=1, longest_wait=0.02, first_wait=0.001, accept_missing=True)
    with batching(honest) as server:
        sent(server, tmp_path, backend)
        server.end_all()
        real, asked = server.get, []

        def busy(path):
            if not path.endswith(("content", "results")):
                return real(path)
            asked.append(path)
            return 503, {"error": {"message": "maintenance"}}

        server.get = busy
        asking = judge(server.url, tmp_path, giving_up, backend=backend, execution="batch", price=PRICE)
        for _ in range(2):
            with pytest.raises(
                Pending, match=r"results of batch batch-0 do not come whole \(503: maintenance\)"
            ) as told:
                asking.vote(targets(6), NO_EXAMPLES)
            assert not isinstance(told.value, Unsettled)
        assert asked and ledger(tmp_path).keys() == {"open"}
        server.get = real
        assert set(asking.vote(targets(6), NO_EXAMPLES)["status"].to_pylist()) == {"ok"}
        assert len(server.created) == 1
    assert ledger(tmp_path) == {"ok": (12, 12 * PAID, 0)}


@BACKENDS
def test_results_that_drip_are_left_in_time(tmp_path, backend, monkeypatch):
    from resources.llm import wire

    with batching(honest) as server:
        sent(server, tmp_path, backend)
        server.end_all()
        monkeypatch.setattr(wire, "TIMEOUT", 0.3)
        real, slow = server.results, [True]
        server.results = lambda *a, **k: (time.sleep(1.0 if slow[0] else 0), real(*a, **k))[1]
        started = time.monotonic()
        with pytest.raises(
            Pending, match=r"results of batch batch-0 do not come whole \(no response: no whole answer in 0.3 s\)"
        ):
            vote(server, tmp_path, backend)
        assert time.monotonic() - started < 4
        slow[0] = False
        assert set(vote(server, tmp_path, backend)["status"].to_pylist()) == {"ok"}
