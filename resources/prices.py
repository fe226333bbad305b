"""What a call costs: a dated price table and integer micro-dollars from the provider's own usage fields.

Dollars per million tokens times tokens are millionths of a dollar, so no rate is ever divided.
"""

import datetime
import functools
import tomllib
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from importlib.resources import files

from .settings import Price

_ADDED = 1000  # tokens


class UnknownPrice(Exception):
    """No price is known for a model; calls to it would not be accounted for."""


@dataclass(frozen=True)
class Usage:
    """Tokens of one call, disjoint: `input` holds neither cached tokens nor tokens written to a cache."""

    input: int = 0
    cached_input: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    output: int = 0


@functools.cache
def _table() -> tuple[dict, ...]:
    text = files(__package__).joinpath("prices.toml").read_text(encoding="utf-8")
    return tuple(tomllib.loads(text, parse_float=Decimal)["price"])


def price_of(model: str, configured: Price | None, day: datetime.date) -> Price:
    """The price of a model on a day: as configured, else from prices.toml.

    Raises:
        UnknownPrice: neither has it, or only from a later day on.
    """
    if configured is not None:
        return configured
    rows = [r for r in _table() if r["model"] == model and r["valid_from"] <= day]
    if not rows:
        raise UnknownPrice(
            f"no price for model {model!r} on {day}: add it to the judge as "
            "price = {input = …, output = …} in dollars per million tokens (0 for a model of your own), "
            f"or name one of {', '.join(sorted({r['model'] for r in _table()}))}"
        )
    row = max(rows, key=lambda r: r["valid_from"])
    return Price(**{k: v for k, v in row.items() if k not in ("model", "valid_from")})


def cost_micros(usage: Usage, price: Price, batch: bool = False) -> int:
    """Price of one call in millionths of a dollar, rounded up.

    Where a cache rate is not given, the input rate stands for it.
    """
    rates = {
        "input": price.input,
        "cached_input": price.cached_input,
        "cache_write": price.cache_write,
        "cache_write_1h": price.cache_write_1h,
        "output": price.output,
    }
    total = sum(
        getattr(usage, name) * (price.input if rate is None else rate) for name, rate in rates.items()
    )
    return int((total * (price.batch_factor if batch else 1)).to_integral_value(ROUND_CEILING))


def upper_bound_micros(text_bytes: int, max_output_tokens: int, price: Price, batch: bool = False) -> int:
    """The most a call can cost: no tokenizer makes more tokens than bytes, and each is charged at the dearest input
    rate. Tokens that the provider adds by itself (template, schema) are covered by `_ADDED`."""
    dearest = max(r for r in (price.input, price.cache_write, price.cache_write_1h) if r is not None)
    total = (text_bytes + _ADDED) * dearest + max_output_tokens * price.output
    return int((total * (price.batch_factor if batch else 1)).to_integral_value(ROUND_CEILING))
