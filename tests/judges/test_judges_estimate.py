"""What calls will cost: by hand, against what they then cost, and that nobody pays above a limit without agreeing."""

import json
import math

import dagster as dg
import pytest

from assets import seed as attributes
from assets import stage1, stage2
from cli.estimate import plan
from cli.running import asked
from curation import tables as t
from resources.lake import Lake
from resources.llm import bill as estimate
from resources.llm.bill import CONFIRM, TAG, Unconfirmed, agree, bill
from resources.llm.call_store import Request, spent, store
from resources.llm.ledger import spending
from resources.llm.online_calls import Payer
from resources.llm.prices import flat
from resources.llm.providers import Anthropic
from resources.run import Run
from resources.services import services
from resources.settings import Price
from tests.support.judging import NO_EXAMPLES, body_for, config, honest, judge, targets
from tests.support.lakes import fill, make, put, query, settings
from tests.support.scripted_server import Step, serving

CLAUDE = flat(Price(input=3, cached_input="0.30", cache_write="3.75", output=15, batch_factor="0.5"))
PAID = {"input": 1, "output": 10}  # a scripted call is 1,000 tokens in and 100 out: 2,000 micro-dollars


@pytest.fixture(autouse=True)
def nobody_has_agreed(monkeypatch):
    monkeypatch.delenv(CONFIRM, raising=False)


def answering(path, body, number):
    return Step(body_for(path, honest(body)))


def request(system: str, user: str, replicate: int = 0) -> Request:
    body = {
        "model": "m", "max_tokens": 500, "system": [{"type": "text", "text": system}],
        "messages": [{"role": "user", "content": user}],
    }  # fmt: skip
    return Request("anthropic", "", body, replicate)


def test_an_estimate_before_any_call_by_hand(tmp_path):
    """8,000 bytes of guideline are 2,000 tokens: written to the cache once, read from it twice; 300 tokens an answer."""
    requests = [request("s" * 8000, f"{i}" + "u" * 3000) for i in range(3)]
    tokens = math.ceil(len(requests[0].wire) / 4)
    assert len({len(r.wire) for r in requests}) == 1
    payer = Payer("stage", "j", "m", CLAUDE, 10**9)
    with store(Lake(str(tmp_path))) as calls:
        found = bill(requests, Anthropic("", None), payer, calls)
        batch = bill(requests, Anthropic("", None), payer, calls, batch=True)
    fresh = (tokens - 2000) * 3
    assert found.expected_micros == (fresh + 7500 + 4500) + 2 * (fresh + 600 + 4500)
    assert (found.requests, found.stored, found.input_tokens, found.output_tokens) == (3, 0, 3 * tokens, 900)
    # a batch promises no cache: every token fresh, at half the rate
    assert batch.expected_micros == 3 * math.ceil((tokens * 3 + 4500) / 2)
    # the bound: a token a byte at the dearest rate of a prompt, and the longest answer
    assert found.most_micros == 3 * math.ceil((len(requests[0].wire) + 1000) * 3.75 + 500 * 15)
    assert found.times(30, 3).expected_micros == 10 * found.expected_micros


def test_a_short_beginning_is_not_taken_to_be_cached(tmp_path):
    with store(Lake(str(tmp_path))) as calls:
        found = bill(
            [request("s" * 4000, "u", r) for r in (0, 1)], Anthropic("", None), Payer("s", "j", "m", CLAUDE, 1), calls
        )
    assert found.expected_micros == 2 * (math.ceil(len(request("s" * 4000, "u").wire) / 4) * 3 + 300 * 15)


@pytest.mark.parametrize("backend", ["openai", "anthropic"])
def test_from_twenty_calls_on_the_estimate_is_measured_and_close_to_what_is_then_paid(tmp_path, backend):
    lake = Lake(str(tmp_path))
    with serving(answering) as server:
        made = judge(server.url, tmp_path, backend=backend, price=PAID)
        assert "4 bytes a token" in made.estimate(targets(10), NO_EXAMPLES).basis
        made.vote(targets(10), NO_EXAMPLES)
        later = made.estimate(targets(60), NO_EXAMPLES)
        assert (later.requests, later.stored) == (100, 20)
        assert "measured on the last 20 calls" in later.basis
        before = sum(spent(lake)["cost_micros"].to_pylist())
        made.vote(targets(60), NO_EXAMPLES)
    paid = sum(spent(lake)["cost_micros"].to_pylist()) - before
    assert paid == 100 * 2000
    assert later.expected_micros == pytest.approx(paid, rel=0.02)
    assert made.estimate(targets(60), NO_EXAMPLES).requests == 0


def some_bill(dollars: float):
    return estimate.Bill("j", "m", 10, 0, 1, 1, round(dollars * 1e6), round(dollars * 2e6), "")


def test_nothing_is_asked_below_the_limit_and_a_message_says_how_to_agree_above_it(tmp_path, monkeypatch):
    lake, limited = Lake(str(tmp_path)), settings(budget={"dollars": 50, "confirm_above": 5})
    agree([some_bill(2), some_bill(2.5)], "judge_votes/iter_01", limited, lake)
    agree([some_bill(100)], "x", settings(budget={"dollars": 500}), lake)  # no limit, no question
    with pytest.raises(Unconfirmed) as e:
        agree([some_bill(3), some_bill(2.5)], "judge_votes/iter_01", limited, lake)
    for said in ("judge_votes/iter_01: 20 calls", "$5.50 (at most $11.00)", "--confirm 5.50", "assay/confirm = 5.50"):
        assert said in str(e.value)
    agree([some_bill(5.5)], "x", limited, lake, tag="5.50")
    with pytest.raises(Unconfirmed):
        agree([some_bill(5.6)], "x", limited, lake, tag="5.50")
    with pytest.raises(Unconfirmed, match="'much' is no amount of dollars"):
        agree([some_bill(5.6)], "x", limited, lake, tag="much")
    monkeypatch.setenv(CONFIRM, "6")
    agree([some_bill(5.6)], "x", limited, lake)


def test_what_is_spent_counts_so_that_many_small_steps_are_asked_about_too(tmp_path):
    lake, limited = Lake(str(tmp_path)), settings(budget={"dollars": 50, "confirm_above": 5})
    with store(lake) as calls:
        number = calls.start(request("s", "u"), "stage", "j", "m", 4_000_000, 50_000_000)
        calls.finish(number, "ok", raw=b"{}", http=200, cost=4_000_000)
    agree([some_bill(1)], "x", limited, lake)
    with pytest.raises(Unconfirmed, match=r"makes \$5\.01"):
        agree([some_bill(1.01)], "x", limited, lake)


@pytest.mark.parametrize(("typed", "agreed"), [("y", 6), ("n", 0), ("", 0), ("$20", 20), ("5", 0)])
def test_at_a_terminal_a_person_is_asked(monkeypatch, capsys, typed, agreed):
    monkeypatch.setattr("builtins.input", lambda prompt: typed)
    assert asked("10 calls are expected to cost $6.00", 6.0) == agreed
    assert "10 calls are expected to cost $6.00" in capsys.readouterr().out


def filled(root) -> Lake:
    """Six pairs on the judges' desk in iteration 0, two on people's."""
    lake = Lake(str(root))
    rows = targets(8).to_pylist()
    for r in rows:
        r["cluster_id"] = r["pair_id"]
    put(lake, t.CLEAN_POOL, rows, "b00")
    put(lake, t.ATTRIBUTES, rows, "b00")
    put(lake, t.EMBEDDINGS, [r | {"vector": [1.0] * 16} for r in rows], "b00")
    desks = [r | {"assigned_to": "judges" if i < 6 else "people"} for i, r in enumerate(rows)]
    put(lake, t.ANNOTATION_BATCH, desks, "iter_00")
    put(lake, t.GOLD, [], "iter_00")
    return lake


HASHING = {"embedding": {"backend": "hashing", "dimensions": 16}}


def test_a_step_that_nobody_agreed_to_fails_with_the_way_out_and_calls_nobody(tmp_path, monkeypatch):
    lake = filled(tmp_path)
    with serving(answering) as server:
        made = config(server.url, price=PAID).model_dump(include={"judges"}, by_alias=True)
        limited = {**made, **HASHING, "budget": {"dollars": 1, "confirm_above": 0.001}}
        with pytest.raises(dg.Failure, match=r"judge_votes/iter_00 is not made yet\. .*assay run --confirm 0\.0\d"):
            make(stage1.judge_votes, lake, "iter_00", **limited)
        assert server.requests == [] and query(lake, "SELECT count(*) FROM judge_votes") == [(0,)]
        monkeypatch.setenv(CONFIRM, "0.1")
        make(stage1.judge_votes, lake, "iter_00", **limited)
        assert len(server.requests) == 12


def test_a_budget_stops_a_step_and_a_higher_one_goes_on_without_paying_twice(tmp_path):
    lake = filled(tmp_path)
    with serving(answering) as server:
        made = config(server.url, price=PAID, concurrency=1).model_dump(include={"judges"}, by_alias=True)
        # a call reserves about 27,000 micro-dollars (a token a byte, the longest answer) and then costs 2,000
        with pytest.raises(dg.Failure, match=r"judge_votes/iter_00 is not made yet\. .*raise the budget and run again"):
            make(stage1.judge_votes, lake, "iter_00", **made, **HASHING, budget={"dollars": 0.035})
        first = len(server.requests)
        assert 0 < first < 12 and query(lake, "SELECT count(*) FROM judge_votes") == [(0,)]
        assert sum(spent(lake)["cost_micros"].to_pylist()) == first * 2000 <= 35_000
        make(stage1.judge_votes, lake, "iter_00", **made, **HASHING, budget={"dollars": 1})
        bodies = [json.dumps(body, sort_keys=True) for _, body, _ in server.requests]
    assert len(bodies) == 12 == len(set(bodies))
    assert query(lake, "SELECT labels, dollars FROM cost WHERE who = 'j'") == [(12, pytest.approx(0.024))]
    assert sum(spent(lake)["cost_micros"].to_pylist()) == 12 * 2000


def test_the_tag_of_a_dagster_run_agrees_and_the_estimate_stands_beside_the_table(tmp_path):
    from assets.publishing import as_asset

    lake = filled(tmp_path)
    with serving(answering) as server:
        raw = config(server.url, price=PAID).model_dump(include={"judges"}, by_alias=True)
        here = {"path": str(lake.root), "buckets": 1}
        made = settings(**raw, **HASHING, lake=here, budget={"dollars": 1, "confirm_above": 0.001})
        asset = as_asset(stage1.judge_votes, made)
        fill(stage1.judge_votes, Run(made, lake, "iter_00"))
        with dg.DagsterInstance.ephemeral() as instance:
            run = {
                "partition_key": "iter_00", "instance": instance, "raise_on_error": False, "resources": services(made),
            }  # fmt: skip
            assert not dg.materialize([asset], **run).success
            result = dg.materialize([asset], tags={TAG: "0.1"}, **run)
            assert result.success
            shown = result.asset_materializations_for_node("judge_votes")[0].metadata
    assert shown["dollars"].value == pytest.approx(12 * 0.002)
    assert 0 < shown["dollars expected"].value < shown["dollars at most"].value


def test_the_plan_counts_what_is_there_and_says_what_is_assumed(tmp_path):
    lake = filled(tmp_path)
    raw = config("http://127.0.0.1:9", price=PAID).model_dump(include={"judges"}, by_alias=True)
    made = settings(**raw, stage1={"iterations": 1, "batch": 100, "people_share": 0.3}, people={"cost_per_label": 0.5})
    lines = {x.step: x for x in plan(made, lake)}
    assert list(lines) == [
        "human_labels/iter_00", "judge_votes/iter_00", "gold_votes/iter_00",
        "human_labels/iter_01", "judge_votes/iter_01", "gold_votes/iter_01",
    ]  # fmt: skip
    first, second = lines["judge_votes/iter_00"], lines["judge_votes/iter_01"]
    assert (first.pairs, first.requests, first.known) == (6, 12, "counted")
    assert (second.pairs, second.requests, second.known) == (70, 140, "configured")
    assert lines["human_labels/iter_01"].dollars == 15.0
    assert lines["gold_votes/iter_01"].pairs == 30 and lines["gold_votes/iter_01"].known == "at most"
    assert second.dollars == pytest.approx(first.dollars * 140 / 12, rel=0.01) and second.most > second.dollars


def test_the_ledger_of_calls_has_every_token_and_micro_dollar(tmp_path):
    """Both providers: tokens read, cached and written are told apart as each counts them."""
    usage = {
        "openai": {"prompt_tokens": 1000, "completion_tokens": 100, "prompt_tokens_details": {"cached_tokens": 600}},
        "anthropic": {"input_tokens": 200, "cache_read_input_tokens": 500, "cache_creation_input_tokens": 300,
                      "output_tokens": 100},
    }  # fmt: skip
    price = {"input": 1, "cached_input": "0.1", "cache_write": "1.25", "output": 10}

    def script(path, body, number):
        backend = "openai" if "chat" in path else "anthropic"
        return Step(body_for(path, honest(body), usage=usage[backend]))

    with serving(script) as server:
        for backend in usage:
            judge(server.url, tmp_path, backend=backend, price=price, name=backend).vote(targets(5), NO_EXAMPLES)
    rows = {r.pop("who"): r for r in spending(Lake(str(tmp_path))).to_pylist()}
    common = {"stage": "stage", "model": "m", "status": "ok", "calls": 10, "output_tokens": 1000, "at_risk_micros": 0}
    # 400 fresh + 600 x 0.1 + 100 x 10; and 200 fresh + 500 x 0.1 + 300 x 1.25 + 100 x 10
    assert rows["openai"] == common | {
        "input_tokens": 4000, "cached_tokens": 6000, "written_tokens": 0, "cost_micros": 10 * 1460,
    }  # fmt: skip
    assert rows["anthropic"] == common | {
        "input_tokens": 2000, "cached_tokens": 5000, "written_tokens": 3000, "cost_micros": 10 * 1625,
    }  # fmt: skip


def test_attributes_that_serve_several_pairs_and_steps_are_charged_once(tmp_path):
    """Four pairs and the mirror image of one, described for stage 1 and again for stage 2: four calls."""
    about = (
        '{"category": "math", "objectivity": "objective", "controversiality": "low", "desired": "d", "guideline": "g"}'
    )
    pairs = [{"pair_id": f"p{i}", "comparison_id": f"x{i}", "chosen": f"good {i}", "rejected": "bad"} for i in range(4)]
    pairs.append({"pair_id": "mirror", "comparison_id": "x0", "chosen": "bad", "rejected": "good 0"})
    lake = Lake(str(tmp_path))
    put(lake, t.CLEAN_POOL, pairs, "b00")
    put(lake, t.ROUTED, [{"pair_id": p["pair_id"], "p_best": 0.5, "k": 1} for p in pairs], "b00")
    with serving(lambda path, body, number: Step(body_for(path, about))) as server:
        model = {"backend": "openai", "model": "m", "base_url": f"{server.url}/v1", "price": PAID, "concurrency": 1}
        for step in (attributes.attributes, stage2.stage2_attributes):
            make(step, lake, "b00", attributes=model, budget={"dollars": 1})
        assert len(server.requests) == 4
    costs = "SELECT stage, labels, dollars FROM cost WHERE who = 'attributes' ORDER BY stage"
    assert query(lake, costs) == [("before stage 1", 5, pytest.approx(0.008)), ("stage2", 5, 0)]
    assert sum(spent(lake)["cost_micros"].to_pylist()) == 8000
