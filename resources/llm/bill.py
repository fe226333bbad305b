"""What calls will cost, before one is made; and the limit above which somebody has to agree.

Tokens are counted on the real prompts. How many bytes make a token, how much of a prompt comes from the provider's cache
and how long an answer is are taken from the stored calls of the same judge and model; before there are any, from the assumptions
below. The estimate is for people. The hard limit, `budget.dollars`, rests on upper bounds and does not need it.
"""

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from resources.lake import Lake
from resources.llm.call_store import Request, Store, store
from resources.llm.policy import Payer, Policy
from resources.llm.prices import Usage, cost_micros, upper_bound_micros
from resources.llm.providers import Provider
from resources.llm.replies import joined
from resources.settings import Settings
from resources.stops import Stop

SAMPLE = 200  # prompts that are built and counted; the rest are taken to be like them
BYTES_A_TOKEN = 4.0  # English by either provider's tokenizer; other scripts have fewer
ANSWER_TOKENS = 300  # a few sentences of reasons and a verdict; reasoning models write more
LEAST_CACHED = 1024  # tokens of a prompt's beginning below which neither provider caches it
LEAST_MEASURED = 20  # stored calls from which a judge's own figures count
CONFIRM = "ASSAY_CONFIRM"  # dollars, from the command line
TAG = "assay/confirm"  # dollars, from a Dagster run


class Unconfirmed(Stop):
    """The next calls are expected to bring the total above `budget.confirm_above`, and nobody has agreed."""


@dataclass(frozen=True)
class Bill:
    """What one model is expected to cost.

    Attributes:
        who: judge or labeller.
        model: as configured.
        requests: calls still to be made; those with a stored answer are not among them.
        stored: calls that are answered already.
        input_tokens, output_tokens: expected.
        expected_micros: in millionths of a dollar.
        most_micros: bound that no call can exceed without a retry.
        basis: what the expectation rests on.
    """

    who: str
    model: str
    requests: int
    stored: int
    input_tokens: int
    output_tokens: int
    expected_micros: int
    most_micros: int
    basis: str

    def times(self, n: int, of: int) -> "Bill":
        """The bill of n pairs, from that of a sample `of` them."""
        if not of:
            return self
        names = ("requests", "stored", "input_tokens", "output_tokens", "expected_micros", "most_micros")
        return replace(self, **{name: math.ceil(getattr(self, name) * n / of) for name in names})


def bill(requests: Iterable[Request], provider: Provider, payer: Payer, calls: Store, batch: bool = False) -> Bill:
    """What those of the requests that have no stored answer are expected to cost."""
    by_key = {r.key: r for r in requests}
    known = calls.known(by_key.values(), payer.judge, payer.model)
    ended = {k for k, c in known.items() if Policy().ends(c.status, c.answers)}
    open_ones = [r for k, r in by_key.items() if k not in ended]
    usage, basis = _typical(provider, payer, calls)
    if usage is None:
        each = _assumed(open_ones, cached=not batch)
        basis = f"{BYTES_A_TOKEN:g} bytes a token, {ANSWER_TOKENS} tokens an answer"
        basis += "" if batch else ", repeated beginnings cached"
    else:
        each = [_scaled(usage, len(r.wire)) for r in open_ones]
    return Bill(
        payer.judge,
        payer.model,
        len(open_ones),
        len(ended),
        sum(u.read for u in each),
        sum(u.output for u in each),
        sum(cost_micros(u, payer.price, batch) for u in each),
        sum(upper_bound_micros(len(r.wire), r.most_tokens, payer.price, batch) for r in open_ones),
        f"{basis}; {payer.price.origin}",
    )


def _typical(provider: Provider, payer: Payer, calls: Store) -> tuple[tuple[float, ...] | None, str]:
    """Tokens of each kind a byte of prompt, and tokens an answer, of the same judge's last stored calls."""
    total, sent, n = [0] * 5, 0, 0
    for size, raw in calls.recent(payer.judge, payer.model, SAMPLE):
        if (u := provider.read(raw).usage) is None:
            continue
        kinds = (u.input, u.cached_input, u.cache_write, u.cache_write_1h, u.output)
        total, sent, n = [a + b for a, b in zip(total, kinds, strict=True)], sent + size, n + 1
    if n < LEAST_MEASURED or not sum(total):
        return None, ""
    return (*(t / sent for t in total[:4]), total[4] / n), f"measured on the last {n} calls"


def _scaled(typical: tuple[float, ...], size: int) -> Usage:
    return Usage(*(round(rate * size) for rate in typical[:4]), round(typical[4]))


def _assumed(requests: Sequence[Request], cached: bool) -> list[Usage]:
    """Every beginning that is long enough is written to the cache once and read from it after that."""
    found, seen = [], set()
    for r in requests:
        tokens = math.ceil(len(r.wire) / BYTES_A_TOKEN)
        system = r.body.get("system") or next((m["content"] for m in r.body.get("messages", ())), "")
        text = joined(system) or ""
        shared = min(tokens, int(len(text.encode()) / BYTES_A_TOKEN))
        output = min(ANSWER_TOKENS, r.most_tokens)
        if not cached or shared < LEAST_CACHED:
            found.append(Usage(input=tokens, output=output))
        elif text in seen:
            found.append(Usage(input=tokens - shared, cached_input=shared, output=output))
        else:
            seen.add(text)
            # who marks what is to be cached (Anthropic) pays for the writing
            written = shared if r.provider == "anthropic" else 0
            found.append(Usage(input=tokens - written, cache_write=written, output=output))
    return found


def agree(bills: Sequence[Bill], what: str, settings: Settings, lake: Lake, tag: str | None = None) -> None:
    """Return if the calls may be made: their expected cost stays below `budget.confirm_above` together with all that
    the lake has spent, or somebody has agreed to as much.

    Args:
        bills: of the step.
        what: name of the step and its partition.
        tag: the run's tag assay/confirm: dollars in all.

    Raises:
        Unconfirmed: nobody has agreed.
    """
    limit, expected = settings.budget.confirm_above, sum(b.expected_micros for b in bills) / 1e6
    if limit is None or not expected:
        return
    with store(lake) as calls:
        total = calls.committed() / 1e6 + expected
    if total <= max(limit, _dollars(tag, TAG), _dollars(os.environ.get(CONFIRM), CONFIRM)):
        return
    said = (
        f"{what}: {sum(b.requests for b in bills):,} calls are expected to cost ${expected:,.2f} (at most "
        f"${sum(b.most_micros for b in bills) / 1e6:,.2f}); with what is spent that makes ${total:,.2f}, and "
        f"budget.confirm_above = {limit:g}."
    )
    up = math.ceil(total * 100) / 100
    raise Unconfirmed(
        f"{said} To agree: `assay run --confirm {up:.2f}`, or the run tag {TAG} = {up:.2f} in Dagster, or a higher "
        "budget.confirm_above."
    )


def _dollars(text: str | None, name: str) -> float:
    try:
        return float(text or 0)
    except ValueError:
        raise Unconfirmed(f"{name} = {text!r} is no amount of dollars") from None
