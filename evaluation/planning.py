"""What a target costs and what a budget reaches: scores read off a curve, money by regime, weeks, and when to stop.

Money is decimal and exact. Nothing is read beyond the ends of a curve (spec 9.01 to 9.08).
"""

import heapq
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

REGIMES = ("gold", "silver", "stage2")
PEOPLE_A_WEEK = (2000, 3000)  # labels a week of the paper's people
ENOUGH_GOLD = 100_000  # gold pairs that the paper calls enough
CHEAPER = 10  # times that the paper has silver cheaper than gold, at least
SHARES = (
    Decimal("0.1"),
    Decimal("0.25"),
    Decimal("0.5"),
    Decimal("0.75"),
    Decimal(1),
)  # of the gold that there could be


class NotOnTheCurve(ValueError):
    """A target beyond what was measured; the message says where the curve ends."""


@dataclass(frozen=True)
class Curve:
    """Scores by number of curated pairs.

    Attributes:
        name: as messages call it.
        pairs, scores: in order of pairs, both rising; see `rising`.
        whole: pairs of the whole set that a fraction is of.
    """

    name: str
    pairs: tuple[float, ...]
    scores: tuple[float, ...]
    whole: float

    def needed(self, target: float) -> float:
        """Pairs at which the curve passes a score, between its points along the logarithm of pairs.

        Raises:
            NotOnTheCurve: it does not pass it.
        """
        if not self.scores[0] <= target <= self.scores[-1]:
            raise NotOnTheCurve(
                f"{target:g} is not on {self.name}, which was measured from {self.scores[0]:g} ({self.pairs[0]:,.0f} pairs)"
                f" to {self.scores[-1]:g} ({self.pairs[-1]:,.0f} pairs); what lies beyond is not extrapolated"
            )
        for (x, low), (y, high) in zip(self._points(), self._points()[1:], strict=False):
            if low <= target <= high:
                share = 0.0 if high == low else (target - low) / (high - low)
                return math.exp(math.log(x) + share * (math.log(y) - math.log(x)))
        return self.pairs[-1]

    def score(self, pairs: float) -> float:
        """The other way round.

        Raises:
            NotOnTheCurve: fewer or more pairs than were measured.
        """
        if not self.pairs[0] <= pairs <= self.pairs[-1]:
            raise NotOnTheCurve(
                f"{pairs:,.0f} pairs are not on {self.name}, which was measured from {self.pairs[0]:,.0f} to"
                f" {self.pairs[-1]:,.0f}; what lies beyond is not extrapolated"
            )
        for (x, low), (y, high) in zip(self._points(), self._points()[1:], strict=False):
            if x <= pairs <= y:
                return low + (high - low) * (math.log(pairs) - math.log(x)) / (math.log(y) - math.log(x))
        return self.scores[-1]

    def _points(self) -> list[tuple[float, float]]:
        return list(zip(self.pairs, self.scores, strict=True))


def rising(name: str, points: Sequence[tuple[float, float]], whole: float | None = None) -> Curve:
    """The curve through measured points, where it falls averaged until it does not (isotonic regression).

    Args:
        points: (pairs, score).
        whole: pairs of the whole set; None: those of the last point.
    """
    pools: list[list[float]] = []  # [sum of scores, number]
    ordered = sorted(points)
    for _, score in ordered:
        pools.append([score, 1])
        while len(pools) > 1 and pools[-2][0] / pools[-2][1] > pools[-1][0] / pools[-1][1]:
            total, n = pools.pop()
            pools[-1] = [pools[-1][0] + total, pools[-1][1] + n]
    scores = [total / n for total, n in pools for _ in range(int(n))]
    pairs = tuple(float(p) for p, _ in ordered)
    return Curve(name, pairs, tuple(scores), whole or pairs[-1])


# ---- money ---------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class PriceRange:
    """Dollars a pair, from the lowest to the highest that it may be."""

    low: Decimal
    high: Decimal

    @classmethod
    def read(cls, text: str) -> "PriceRange":
        """`0.5`, or `0.1-0.7`.

        Raises:
            ValueError: it is neither, or negative.
        """
        low, _, high = text.partition("-")
        try:
            made = cls(Decimal(low.strip()), Decimal((high or low).strip()))
        except ArithmeticError as e:
            raise ValueError(f"{text!r} is no price: give dollars a pair, such as 0.5 or 0.1-0.7") from e
        if not 0 <= made.low <= made.high:
            raise ValueError(f"{text!r} is no price: the lower end first, and no less than 0")
        return made

    def __str__(self) -> str:
        return f"${self.low}" if self.low == self.high else f"${self.low} to ${self.high}"


@dataclass(frozen=True)
class LabelPlan:
    """So many pairs of each regime, and what they cost."""

    pairs: Mapping[str, int]
    low: Decimal
    high: Decimal

    @property
    def total(self) -> int:
        return sum(self.pairs.values())


def costed(pairs: Mapping[str, int], prices: Mapping[str, PriceRange]) -> LabelPlan:
    """The total of all regimes (spec 9.03)."""
    low, high = (
        sum((getattr(prices[r], end) * pairs.get(r, 0) for r in REGIMES), Decimal(0)) for end in ("low", "high")
    )
    return LabelPlan({r: pairs.get(r, 0) for r in REGIMES}, low, high)


def doubtful(prices: Mapping[str, PriceRange]) -> list[str]:
    """What is odd about the prices: warnings, no errors (spec 9.02)."""
    found = []
    gold, silver, stage2 = (prices[r] for r in REGIMES)
    if silver.high > gold.low:
        found.append(f"silver ({silver}) is not cheaper than gold ({gold}): then people may as well label all")
    elif silver.high and gold.low / silver.high < CHEAPER:
        found.append(f"silver ({silver}) is less than {CHEAPER} times cheaper than gold ({gold})")
    if stage2.high > silver.low:
        found.append(f"stage 2 ({stage2}) is not cheaper than silver ({silver})")
    return found


def alternatives(budget: Decimal, needed: int | None, prices: Mapping[str, PriceRange]) -> Iterator[LabelPlan]:
    """Plans that never cost more than the budget at the highest prices (spec 9.05).

    Each takes a share of the gold that the budget buys and that is enough; what is left goes to silver, to stage 2, or half
    to each. With a number that is needed no plan has more pairs than that.
    """
    seen = set()
    price = prices["gold"].high
    most_gold = min(
        int(budget // price) if price else ENOUGH_GOLD, ENOUGH_GOLD, ENOUGH_GOLD if needed is None else needed
    )
    for share in SHARES:
        gold = int(share * most_gold)
        left = budget - prices["gold"].high * gold
        for to_silver in (Decimal(0), Decimal("0.5"), Decimal(1)):
            more = (needed - gold) if needed is not None else None
            silver = _bought(left * to_silver, prices["silver"].high, more)
            rest = left - prices["silver"].high * silver
            stage2 = (
                _bought(rest, prices["stage2"].high, None if more is None else more - silver) if to_silver < 1 else 0
            )
            pairs = {"gold": gold, "silver": silver, "stage2": stage2}
            if tuple(pairs.values()) not in seen:
                seen.add(tuple(pairs.values()))
                yield costed(pairs, prices)


def _bought(dollars: Decimal, price: Decimal, most: int | None) -> int:
    if not price:
        return most or 0
    number = int(dollars // price)
    return number if most is None else max(0, min(number, most))


def weeks(labels: int) -> tuple[float, float]:
    """The fewest and the most weeks of people (spec 9.08).

    >>> [round(w) for w in weeks(100_000)]
    [33, 50]
    """
    slow, fast = PEOPLE_A_WEEK
    return labels / fast, labels / slow


def flaws(
    budget: Decimal,
    asked: Mapping[str, int],
    prices: Mapping[str, PriceRange],
    target: float | None,
    columns: Mapping[str, tuple[float, float]],
) -> list[str]:
    """What is wrong with a plan as somebody wrote it down (spec 9.07).

    Args:
        asked: pairs of each regime.
        columns: published model -> (mean of seven benchmarks, mean of six): a target is one of six.
    """
    found = []
    plan = costed(asked, prices)
    if plan.high > budget:
        before = costed({r: asked.get(r, 0) for r in REGIMES if r != "stage2"}, prices)
        over = f"it costs ${plan.high:,} at the highest prices, ${plan.high - budget:,} more than the budget of ${budget:,}"
        if asked.get("stage2") and before.high <= budget:
            over += (
                f"; gold and silver alone are ${before.high:,}, and each million pairs of stage 2"
                f" ${prices['stage2'].high * 1_000_000:,}"
            )
        found.append(over)
    elif plan.high == budget and sum(1 for r in REGIMES if asked.get(r)) == 1:
        found.append(
            f"{next(r for r in REGIMES if asked.get(r))} alone takes the whole budget: nothing is left for the rest"
        )
    if target is not None:
        for model, (seven, six) in columns.items():
            if abs(seven - target) < 0.05 and abs(six - target) >= 0.05:
                found.append(
                    f"{target:g} is {model}'s mean over seven benchmarks; over the six that the curve is drawn in it is {six:.1f}"
                )
    return found


# ---- gold over strata ----------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Stratum:
    """Pairs of one kind: those that nobody has labelled yet, and how often people's labels left or turned the original's."""

    stock: int
    left: int
    turned: int

    def gain(self, labels: int) -> float:
        """How much uncertainty, in bits, one more label is expected to take away after so many further ones: its own pair's,
        and of every other pair in stock what it says about how often labels of this kind are wrong (a Beta-Bernoulli model
        with a flat prior). It never rises with the number of labels."""
        known = self.left + self.turned + 2
        wrong = (self.turned + 1) / known
        n = known + labels
        after = wrong * _bits((wrong * n + 1) / (n + 1)) + (1 - wrong) * _bits(wrong * n / (n + 1))
        return _bits(wrong) + max(0, self.stock - labels - 1) * max(0.0, _bits(wrong) - after)


def over_strata(strata: Mapping[str, Stratum], labels: int) -> dict[str, int]:
    """So many gold labels dealt to where the next one tells most, never more than are in stock (spec 3.19). The sum is
    `labels`, or all there is."""
    dealt = dict.fromkeys(strata, 0)
    queue = [(-s.gain(0), name) for name, s in strata.items() if s.stock]
    heapq.heapify(queue)
    for _ in range(min(labels, sum(s.stock for s in strata.values()))):
        _, name = heapq.heappop(queue)
        dealt[name] += 1
        if dealt[name] < strata[name].stock:
            heapq.heappush(queue, (-strata[name].gain(dealt[name]), name))
    return dealt


def _bits(p: float) -> float:
    """Entropy of a coin."""
    return -sum(x * math.log2(x) for x in (p, 1 - p) if x > 0)


# ---- stopping ------------------------------------------------------------------------------------------------------
def stops_after(gains: Sequence[float], below: float, patience: int = 2) -> int | None:
    """After how many steps the rule says stop: once so many gains in a row are below the threshold; None if never
    (spec 9.06).

    >>> stops_after([2.5, 0.15, 0.32, 0.1, 0.05], below=0.3, patience=2)
    5
    """
    quiet = 0
    for i, gain in enumerate(gains, 1):
        quiet = quiet + 1 if gain < below else 0
        if quiet >= patience:
            return i
    return None


def gains(points: Sequence[tuple[float, float]], per: float) -> list[float]:
    """Of successive points (pairs, score), the gain for each `per` further pairs; points with no more pairs are left out."""
    steps = [(x, y) for x, y in zip(points, points[1:], strict=False) if y[0] > x[0]]
    return [(high - low) * per / (b - a) for (a, low), (b, high) in steps]
