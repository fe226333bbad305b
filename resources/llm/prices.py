"""What a call costs: dated list prices and integer micro-dollars from the provider's own usage fields.

List prices come from the package genai-prices, which knows each provider's rates by day, by prompt length and by batch,
and is updated with the package, never over the network. A `price` in the configuration stands above it. Dollars per
million tokens times tokens are millionths of a dollar, so no rate is ever divided.
"""

import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from resources.settings import Price
from resources.stops import Stop

_ADDED = 1000  # tokens


class UnknownPrice(Stop):
    """No price is known for a model; calls to it would not be accounted for."""


@dataclass(frozen=True)
class Usage:
    """Tokens of one call, disjoint: `input` holds neither cached tokens nor tokens written to a cache."""

    input: int = 0
    cached_input: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    output: int = 0

    @property
    def read(self) -> int:
        """Tokens of the prompt, cached or not."""
        return self.input + self.cached_input + self.cache_write + self.cache_write_1h


@dataclass(frozen=True)
class Rates:
    """Dollars per million tokens in five columns: input, cached_input, cache_write, cache_write_1h, output.

    Attributes:
        online: (from how many tokens of prompt on, rates), ascending; the last row that is reached counts for all
            tokens of the call.
        batch: the same for calls in a batch.
        origin: where the rates come from.
    """

    online: tuple[tuple[int, tuple[Decimal, ...]], ...]
    batch: tuple[tuple[int, tuple[Decimal, ...]], ...]
    origin: str

    def at(self, prompt_tokens: int, batch: bool) -> tuple[Decimal, ...]:
        """The rates of a call with a prompt of so many tokens."""
        found = (rates for above, rates in reversed(self.batch if batch else self.online) if prompt_tokens > above)
        return next(found, (self.batch if batch else self.online)[0][1])


def rates_of(model: str, backend: str, base_url: str | None, configured: Price | None, day: datetime.date) -> Rates:
    """The price of a model on a day: as configured, else the list price of the provider behind the address.

    Args:
        model: as the provider names it.
        backend: openai or anthropic, whose own service is meant where there is no base_url.
        base_url: address of another service; its provider is recognised by it.
        configured: stands above the list.
        day: of the call.

    Raises:
        UnknownPrice: neither is there.
    """
    if configured is not None:
        return flat(configured)
    from genai_prices import __version__
    from genai_prices.data_snapshot import get_snapshot

    snapshot, place = get_snapshot(), base_url or backend
    try:
        provider, listed = snapshot.find_provider_model(
            model, None, None if base_url else backend, base_url if base_url else None
        )
    except LookupError:
        listed = None
    if listed is None or listed.get_prices(_noon(day)).output_mtok is None:
        raise UnknownPrice(
            f"no list price for model {model!r} at {place} in genai-prices {__version__}: add "
            "price = {input = …, output = …} in dollars per million tokens (0 for a model of your own), or update the "
            "package"
        )
    noon = _noon(day)
    return Rates(
        tuple(_steps(listed.get_prices(noon))),
        tuple(_steps(listed.get_prices(noon, {"processing": "batch"}))),
        f"genai-prices {__version__}, {provider.id}/{listed.id} on {day}",
    )


def _noon(day: datetime.date) -> datetime.datetime:
    return datetime.datetime.combine(day, datetime.time(12), datetime.UTC)


def flat(price: Price) -> Rates:
    """The rates of a price in the configuration, for prompts of any length."""
    write = price.input if price.cache_write is None else price.cache_write
    rates = (
        price.input,
        price.input if price.cached_input is None else price.cached_input,
        write,
        write if price.cache_write_1h is None else price.cache_write_1h,
        price.output,
    )
    return Rates(((0, rates),), ((0, tuple(r * price.batch_factor for r in rates)),), "configuration")


def _steps(price) -> Iterator[tuple[int, tuple[Decimal, ...]]]:
    """The rows of a genai-prices ModelPrice, one a length of prompt from which on a rate differs."""
    listed = [
        price.input_mtok,
        price.cache_read_mtok,
        price.cache_write_mtok,
        price.cache_write_1h_mtok,
        price.output_mtok,
    ]
    starts = {t.start for rate in listed for t in getattr(rate, "tiers", ())}
    for above in sorted({0, *starts}):
        fresh, read, write, hour, output = (_rate(rate, above) for rate in listed)
        fresh = Decimal(0) if fresh is None else fresh
        read = fresh if read is None else read
        write = fresh if write is None else write
        yield above, (fresh, read, write, write if hour is None else hour, Decimal(0) if output is None else output)


def _rate(rate, above: int) -> Decimal | None:
    if rate is None or isinstance(rate, Decimal):
        return rate
    return next((t.price for t in reversed(rate.tiers) if above >= t.start), rate.base)


def cost_micros(usage: Usage, rates: Rates, batch: bool = False) -> int:
    """Price of one call in millionths of a dollar, rounded up."""
    fresh, read, write, hour, output = rates.at(usage.read, batch)
    total = usage.input * fresh + usage.cached_input * read
    total += usage.cache_write * write + usage.cache_write_1h * hour + usage.output * output
    return int(total.to_integral_value(ROUND_CEILING))


def upper_bound_micros(text_bytes: int, max_output_tokens: int, rates: Rates, batch: bool = False) -> int:
    """The most a call can cost: no tokenizer makes more tokens than bytes, and each is charged at the dearest rate of
    any prompt as short or shorter. Tokens that the provider adds by itself (template, schema) are covered by
    `_ADDED`."""
    tokens = text_bytes + _ADDED
    reached = [r for above, r in (rates.batch if batch else rates.online) if tokens > above]
    total = tokens * max(max(r[:4]) for r in reached) + max_output_tokens * max(r[4] for r in reached)
    return int(total.to_integral_value(ROUND_CEILING))
