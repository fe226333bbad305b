"""Money to the micro-dollar: both providers' usage fields against sums done by hand."""

import datetime
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.llm.prices import UnknownPrice, Usage, cost_micros, flat, rates_of, upper_bound_micros
from resources.llm.replies import chat, message
from resources.settings import Price

DAY = datetime.date(2026, 11, 21)
CLAUDE = flat(Price(input=3, cached_input="0.30", cache_write="3.75", cache_write_1h=6, output=15, batch_factor="0.5"))
GPT = flat(Price(input="2.50", cached_input="1.25", output=10, batch_factor="0.5"))


def openai_usage(**usage) -> Usage:
    body = {"choices": [{"finish_reason": "stop", "message": {"content": "x"}}], "usage": usage}
    return chat(json.dumps(body).encode()).usage


def anthropic_usage(**usage) -> Usage:
    body = {"content": [], "stop_reason": "end_turn", "usage": usage}
    return message(json.dumps(body).encode()).usage


def test_openai_counts_cached_tokens_inside_the_input():
    usage = openai_usage(prompt_tokens=1200, completion_tokens=300, prompt_tokens_details={"cached_tokens": 1000})
    assert usage == Usage(input=200, cached_input=1000, output=300)
    # 200 x 2.50 + 1000 x 1.25 + 300 x 10 = 500 + 1250 + 3000
    assert cost_micros(usage, GPT) == 4750
    assert cost_micros(usage, GPT, batch=True) == 2375


def test_openai_without_details_or_with_reasoning():
    usage = openai_usage(
        prompt_tokens=7, completion_tokens=11, prompt_tokens_details=None,
        completion_tokens_details={"reasoning_tokens": 9},
    )  # fmt: skip
    assert usage == Usage(input=7, output=11)  # reasoning is inside the output
    assert cost_micros(usage, GPT) == 128  # 17.5 + 110 = 127.5, rounded up
    assert cost_micros(usage, GPT, batch=True) == 64  # 63.75


def test_anthropic_counts_cached_tokens_beside_the_input():
    usage = anthropic_usage(
        input_tokens=200, cache_read_input_tokens=1000, cache_creation_input_tokens=400, output_tokens=300
    )
    assert usage == Usage(input=200, cached_input=1000, cache_write=400, output=300)
    # 200 x 3 + 1000 x 0.30 + 400 x 3.75 + 300 x 15 = 600 + 300 + 1500 + 4500
    assert cost_micros(usage, CLAUDE) == 6900
    assert cost_micros(usage, CLAUDE, batch=True) == 3450


def test_anthropic_tells_caches_of_an_hour_apart():
    usage = anthropic_usage(
        input_tokens=0, cache_read_input_tokens=None, cache_creation_input_tokens=500, output_tokens=1,
        cache_creation={"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 400},
    )  # fmt: skip
    assert usage == Usage(cache_write=100, cache_write_1h=400, output=1)
    assert cost_micros(usage, CLAUDE) == 375 + 2400 + 15


def test_the_two_providers_differ_on_the_same_numbers():
    # the classic mistake: 1,000 of 1,000 tokens cached is 0 or 1,000 fresh tokens
    price = flat(Price(input=1, cached_input="0.1", output=0))
    assert cost_micros(openai_usage(prompt_tokens=1000, completion_tokens=0,
                                    prompt_tokens_details={"cached_tokens": 1000}), price) == 100  # fmt: skip
    assert cost_micros(anthropic_usage(input_tokens=1000, cache_read_input_tokens=1000, output_tokens=0), price) == 1100


def test_rates_that_are_not_given_are_the_input_rate():
    usage = Usage(input=1, cached_input=1, cache_write=1, cache_write_1h=1, output=1)
    assert cost_micros(usage, flat(Price(input=2, output=3))) == 11
    # an hour's cache without a rate of its own costs what five minutes do
    assert cost_micros(Usage(cache_write_1h=1), flat(Price(input=2, cache_write=5, output=3))) == 5


def listed(model: str, backend: str = "openai", base_url: str | None = None):
    return rates_of(model, backend, base_url, None, DAY)


def test_list_prices_of_both_providers_on_line_and_in_a_batch():
    usage = Usage(input=1000, cached_input=2000, output=100)
    # GPT-4.1: 2.00, 0.50 cached, 8.00; half of it in a batch
    assert cost_micros(usage, listed("gpt-4.1-2025-04-14")) == 2000 + 1000 + 800
    assert cost_micros(Usage(input=1000, output=100), listed("gpt-4.1-2025-04-14"), batch=True) == 1000 + 400
    # Claude Haiku 4.5: 1.00, 0.10 read, 1.25 and 2.00 written, 5.00; half of each in a batch
    usage = Usage(input=1000, cached_input=2000, cache_write=400, cache_write_1h=100, output=100)
    haiku = listed("claude-haiku-4-5-20251001", "anthropic")
    assert cost_micros(usage, haiku) == 1000 + 200 + 500 + 200 + 500
    assert cost_micros(usage, haiku, batch=True) == 1200
    assert haiku.origin.startswith("genai-prices ") and "claude-haiku-4-5 on 2026-11-21" in haiku.origin


def test_a_long_prompt_is_charged_at_its_own_rate_for_all_its_tokens():
    # Claude Sonnet 4.5 above 200,000 tokens of prompt, cached ones counted: 6.00, 0.60 read, 22.50
    sonnet = listed("claude-sonnet-4-5-20250929", "anthropic")
    assert cost_micros(Usage(input=100_000, cached_input=100_000, output=100), sonnet) == 300_000 + 30_000 + 1500
    assert cost_micros(Usage(input=100_001, cached_input=100_000, output=100), sonnet) == 600_006 + 60_000 + 2250


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(["claude-sonnet-4-5-20250929", "claude-haiku-4-5-20251001", "gpt-4o-2024-08-06", "gpt-5.4"]),
       st.booleans(), st.lists(st.integers(0, 300_000), min_size=5, max_size=5))  # fmt: skip
def test_any_sum_is_the_one_the_price_list_makes(model, batch, tokens):
    from genai_prices import Usage as Theirs
    from genai_prices import calc_price

    backend = "anthropic" if model.startswith("claude") else "openai"
    fresh, read, write, hour, output = tokens
    if backend == "openai":  # no such tokens there
        write = hour = 0
    theirs = calc_price(
        Theirs(input_tokens=fresh + read + write + hour, cache_read_tokens=read, cache_write_tokens=write + hour,
               cache_write_5m_tokens=write, cache_write_1h_tokens=hour, output_tokens=output),
        model, provider_id=backend, genai_request_timestamp=datetime.datetime(2026, 11, 21, 12, tzinfo=datetime.UTC),
        price_context={"processing": "batch"} if batch else None,
    )  # fmt: skip
    ours = cost_micros(Usage(fresh, read, write, hour, output), listed(model, backend), batch)
    assert ours == math.ceil(theirs.total_price * 1_000_000)
    assert ours <= upper_bound_micros(fresh + read + write + hour, output, listed(model, backend), batch)


def test_the_service_behind_an_address_has_its_own_price_and_a_stranger_none():
    assert listed("deepseek-chat", base_url="https://api.deepseek.com/v1").origin.split()[2].startswith("deepseek/")
    with pytest.raises(UnknownPrice, match="at http://127"):
        listed("gpt-4o", base_url="http://127.0.0.1:8000/v1")


@pytest.mark.parametrize("backend", ["openai", "anthropic"])
def test_an_unknown_model_is_an_error_and_a_configured_price_stands_above_the_list(backend):
    with pytest.raises(UnknownPrice, match="no list price for model 'gpt-9'"):
        listed("gpt-9", backend)
    own = Price(input=0, output=0)
    assert rates_of("gpt-4o", backend, None, own, DAY) == flat(own)


def test_what_a_call_may_cost_bounds_what_it_costs():
    # 800 bytes make at most 800 tokens; whatever part of them is cached or written, the bound holds
    bound = upper_bound_micros(800, 50, CLAUDE)
    assert bound >= max(
        cost_micros(u, CLAUDE)
        for u in (
            Usage(input=800, output=50),
            Usage(cache_write=800, output=50),
            Usage(cache_write_1h=800, output=50),
            Usage(cached_input=800, output=50),
        )
    )
