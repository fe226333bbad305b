"""Batches over the real wire: submit, collect later, lost creates, missing, repeated and foreign lines, money."""

import pytest

from curation.prompts import JudgeAnswer
from resources.lake import Lake
from resources.llm import batch_calls as batch
from resources.llm import online_calls as online
from resources.llm.batch_calls import Pending
from resources.llm.call_store import BudgetExceeded, spent, store
from tests.support.batch_server import BatchServer, batching, failed
from tests.support.judging import FAST, NO_EXAMPLES, honest, judge, targets

BACKENDS = pytest.mark.parametrize("backend", ["openai", "anthropic"])
PRICE = {"input": 1, "output": 10, "batch_factor": "0.5"}
PAID = 1000  # half of 1000 x 1 + 100 x 10 micro-dollars


def made(server: BatchServer, root, backend: str, **keys):
    return judge(server.url, root, backend=backend, execution="batch", price=PRICE, **keys)


def vote(server, root, backend, n=6, **keys):
    return made(server, root, backend, **keys).vote(targets(n), NO_EXAMPLES)


def ledger(root) -> dict[str, tuple[int, int, int]]:
    rows = spent(Lake(str(root))).to_pylist()
    return {r["status"]: (r["calls"], r["cost_micros"], r["at_risk_micros"]) for r in rows}


@BACKENDS
def test_submit_then_collect_in_a_later_run(tmp_path, backend):
    with batching(honest) as server:
        for _ in range(2):  # asking again sends nothing again
            with pytest.raises(Pending, match=r"j: 12 of 12 answers are in batches .* run again later"):
                vote(server, tmp_path, backend)
        assert len(server.created) == 1
        calls, cost, at_risk = ledger(tmp_path)["open"]
        assert (calls, cost) == (12, 0) and at_risk > 12 * PAID  # reserved until the answers are there
        server.end_all()
        votes = vote(server, tmp_path, backend)
        assert vote(server, tmp_path, backend).equals(votes) and len(server.created) == 1
    rows = votes.to_pylist()
    assert all(r["vote"] == ("original" if int(r["pair_id"][1:]) % 2 == 0 else "swapped") for r in rows)
    assert {r["cost_micros"] for r in rows} == {PAID}
    assert ledger(tmp_path) == {"ok": (12, 12 * PAID, 0)}


@BACKENDS
def test_answers_join_by_key_in_any_order_and_missing_ones_are_sent_again(tmp_path, backend):
    def spoil(lines):
        expired, errored, _missing, *rest = lines
        foreign = rest[0] | {"custom_id": "0" * 32}
        return [foreign, *reversed(rest), rest[1], failed(expired, "expired"), failed(errored, "errored")]

    with batching(honest) as server:
        with pytest.raises(Pending):
            vote(server, tmp_path, backend)
        server.end_all()
        server.spoil, server.counts = spoil, {"batch-0": 11}  # one was never worked on, as the provider says
        with pytest.raises(Pending, match="3 of 12"):
            vote(server, tmp_path, backend)
        assert [len(b) for b in server.created.values()] == [12, 3]
        assert set(server.created["batch-1"]) == set(list(server.created["batch-0"])[:3])
        server.end_all()
        server.spoil = list
        votes = vote(server, tmp_path, backend)
    assert set(votes["status"].to_pylist()) == {"ok"}
    found = ledger(tmp_path)
    assert found["ok"][:2] == (12, 12 * PAID)  # each paid once, though a line came twice
    assert {s: n for s, (n, _, _) in found.items()} == {"ok": 12, "expired": 1, "error": 2}


@BACKENDS
def test_a_create_whose_answer_was_lost_is_found_and_not_repeated(tmp_path, backend):
    with batching(honest) as server:
        server.faults = ["lost"]
        with pytest.raises(Pending):
            vote(server, tmp_path, backend)
        assert len(server.created) == 1
        server.end_all()
        votes = vote(server, tmp_path, backend)
        assert len(server.created) == 1
    assert set(votes["status"].to_pylist()) == {"ok"}


@BACKENDS
def test_a_create_that_never_arrived_is_sent_once_it_would_have_shown(tmp_path, backend):
    with batching(honest) as server, store(Lake(str(tmp_path))) as calls:
        server.faults = ["refused"]
        asking = made(server, tmp_path, backend)
        requests = [a.request for a in asking._ask(targets(2), NO_EXAMPLES)]

        def complete(settle):
            return batch.complete(requests, JudgeAnswer, asking.provider, asking.payer, calls, FAST, settle)

        with pytest.raises(Pending):
            complete(settle=60)
        with pytest.raises(Pending):
            complete(settle=60)  # it could still turn up: nothing is sent
        assert not server.created
        with pytest.raises(Pending):
            complete(settle=0)
        assert [len(b) for b in server.created.values()] == [4]
        server.end_all()
        assert {o.status for o in complete(settle=0).values()} == {"ok"}


@BACKENDS
@pytest.mark.parametrize("step", ["planned", "submitting", "submitted", "half ingested"])
def test_a_process_that_dies_between_two_steps_loses_and_repeats_nothing(tmp_path, backend, step, monkeypatch):
    class Died(BaseException):
        pass

    def die(*args, **kwargs):
        raise Died

    with batching(honest) as server:
        if step == "planned":
            monkeypatch.setattr(batch._Batch, "_submit", die)
        elif step == "submitting":  # the provider has it, we do not know
            real = batch.batches

            def sent_then_died(provider):
                protocol = real(provider)
                submit = protocol.submit
                protocol.submit = lambda *a: (submit(*a), die())
                return protocol

            monkeypatch.setattr(batch, "batches", sent_then_died)
        if step in ("planned", "submitting"):
            with pytest.raises(Died):
                vote(server, tmp_path, backend)
            monkeypatch.undo()
        else:
            with pytest.raises(Pending):
                vote(server, tmp_path, backend)
        if step == "half ingested":
            server.end_all()
            seen, real = [0], batch.ending

            def third_kills(*args, **kwargs):
                seen[0] += 1
                return die() if seen[0] == 3 else real(*args, **kwargs)

            monkeypatch.setattr(batch, "WRITTEN_AT_ONCE", 2)
            monkeypatch.setattr(batch, "ending", third_kills)
            with pytest.raises(Died):
                vote(server, tmp_path, backend)
            monkeypatch.undo()
        else:
            with pytest.raises(Pending):
                vote(server, tmp_path, backend)
            server.end_all()
        votes = vote(server, tmp_path, backend)
        assert len(server.created) == 1
    assert set(votes["status"].to_pylist()) == {"ok"}
    assert ledger(tmp_path) == {"ok": (12, 12 * PAID, 0)}


def test_a_batch_beyond_the_budget_is_not_sent(tmp_path):
    with batching(honest) as server:
        with pytest.raises(BudgetExceeded, match="Nothing was sent"):
            vote(server, tmp_path, "openai", dollars=0.001)
        assert not server.created and ledger(tmp_path) == {}
        with pytest.raises(Pending):
            vote(server, tmp_path, "openai", dollars=1)
        assert len(server.created) == 1


def test_a_request_that_no_batch_answers_ends_as_an_error(tmp_path):
    with batching(honest) as server:
        server.spoil = lambda lines: [failed(line, "errored") for line in lines]
        for _ in range(FAST.attempts):
            with pytest.raises(Pending):
                vote(server, tmp_path, "openai", n=1)
            server.end_all()
        votes = vote(server, tmp_path, "openai", n=1)
    assert votes["status"].to_pylist() == ["error", "error"]
    assert len(server.created) == FAST.attempts


def test_what_a_batch_answered_is_an_answer_for_calls_made_now(tmp_path):
    with batching(honest) as server, store(Lake(str(tmp_path))) as calls:
        with pytest.raises(Pending):
            vote(server, tmp_path, "openai", n=2)
        server.end_all()
        vote(server, tmp_path, "openai", n=2)
        asking = made(server, tmp_path, "openai")
        requests = [a.request for a in asking._ask(targets(2), NO_EXAMPLES)]
        found = online.complete(requests, JudgeAnswer, asking.provider, asking.payer, calls, 2, FAST)
    assert {o.status for o in found.values()} == {"ok"}  # the server has no on-line service at all
