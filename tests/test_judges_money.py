"""Money to the micro-dollar: both providers' usage fields against sums done by hand."""

import datetime
import json

import pytest

from resources.judges.providers import provider
from resources.prices import UnknownPrice, Usage, cost_micros, price_of, upper_bound_micros
from resources.settings import Price

DAY = datetime.date(2026, 1, 1)
CLAUDE = Price(input=3, cached_input="0.30", cache_write="3.75", cache_write_1h=6, output=15, batch_factor="0.5")
GPT = Price(input="2.50", cached_input="1.25", output=10, batch_factor="0.5")


def openai_usage(**usage) -> Usage:
    body = {"choices": [{"finish_reason": "stop", "message": {"content": "x"}}], "usage": usage}
    return provider("openai", "http://x", None).read(json.dumps(body).encode()).usage


def anthropic_usage(**usage) -> Usage:
    body = {"content": [], "stop_reason": "end_turn", "usage": usage}
    return provider("anthropic", "http://x", None).read(json.dumps(body).encode()).usage


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
    price = Price(input=1, cached_input="0.1", output=0)
    assert cost_micros(openai_usage(prompt_tokens=1000, completion_tokens=0,
                                    prompt_tokens_details={"cached_tokens": 1000}), price) == 100  # fmt: skip
    assert cost_micros(anthropic_usage(input_tokens=1000, cache_read_input_tokens=1000, output_tokens=0), price) == 1100


def test_rates_that_are_not_given_are_the_input_rate():
    usage = Usage(input=1, cached_input=1, cache_write=1, cache_write_1h=1, output=1)
    assert cost_micros(usage, Price(input=2, output=3)) == 11


def test_a_price_counts_from_its_day_and_an_unknown_model_is_an_error():
    assert price_of("gpt-4o-2024-08-06", None, DAY).input == GPT.input
    with pytest.raises(UnknownPrice, match="on 2024-01-01"):
        price_of("gpt-4o-2024-08-06", None, datetime.date(2024, 1, 1))
    with pytest.raises(UnknownPrice, match="no price for model 'gpt-9'"):
        price_of("gpt-9", None, DAY)
    own = Price(input=0, output=0)
    assert price_of("gpt-9", own, DAY) is own


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
