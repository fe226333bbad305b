"""Intervals for the figures of the report: shares, differences of shares, paired differences."""

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Z95 = 1.959963984540054  # two-sided 95 % of the normal distribution


class Estimate(NamedTuple):
    """A figure and the ends of its 95 % interval; all three are None when there was nothing to measure it on."""

    value: float | None
    low: float | None
    high: float | None

    @property
    def interval(self) -> tuple[float, float] | None:
        return None if self.low is None or self.high is None else (self.low, self.high)


NOTHING = Estimate(None, None, None)


def wilson(hits: float, n: float) -> Estimate:
    """Share `hits / n` with Wilson's score interval, which stays in 0..1 and is honest at both ends.

    `hits` may hold halves (a tie counts one half).

    Raises:
        ValueError: n is negative or hits lies outside 0..n.
    """
    if n < 0 or not 0 <= hits <= max(n, 0):
        raise ValueError(f"{hits} hits among {n}")
    if n == 0:
        return NOTHING
    p, z2 = hits / n, Z95 * Z95
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return Estimate(p, 0.0 if hits == 0 else centre - half, 1.0 if hits == n else centre + half)


def wilson_by_pair(hits: float, n: float, pairs: int, hh: float, hn: float, nn: float) -> Estimate:
    """`wilson` for votes of which several are on one pair and go together: on as many independent votes as would vary
    as much.

    Args:
        hits, n: over all votes.
        pairs: how many pairs the votes are on.
        hh, hn, nn: sums over pairs of hits * hits, hits * n and n * n of the pair.
    """
    if not n:
        return NOTHING
    p = hits / n
    if p in (0, 1) or pairs < 2:
        independent = float(pairs)
    else:
        spread = max(0.0, hh - 2 * p * hn + p * p * nn) * pairs / (pairs - 1)  # of the pairs' hits around p * n
        independent = min(float(n), p * (1 - p) * n * n / spread) if spread else float(n)
    e = wilson(p * independent, independent)
    return Estimate(p, e.low, e.high)


def difference(a: Estimate, b: Estimate) -> Estimate:
    """`a - b` from two intervals, by squaring and adding the distances to their ends (Newcombe's method 10).

    Exact in spirit for independent samples; where both were measured on the same items it is too wide, never too
    narrow as long as they go up and down together.
    """
    if a.value is None or b.value is None:
        return NOTHING
    d = a.value - b.value
    if a.interval is None or b.interval is None:
        return Estimate(d, None, None)
    (a_low, a_high), (b_low, b_high) = a.interval, b.interval
    return Estimate(
        d,
        d - math.hypot(a.value - a_low, b_high - b.value),
        d + math.hypot(a_high - a.value, b.value - b_low),
    )


def paired_difference(a: "ArrayLike", b: "ArrayLike", seed: int = 0, draws: int = 2000) -> Estimate:
    """Mean of `a - b` over items measured under both, with a percentile bootstrap over items.

    Args:
        a, b: [n] values of the same items.

    Raises:
        ValueError: the two have different lengths.
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    n = len(a)
    if n != len(b):
        raise ValueError(f"paired values need equal lengths, got {n} and {len(b)}")
    if not n:
        return NOTHING
    gains, times = np.unique(a - b, return_counts=True)
    # resampling items is drawing how often each distinct gain occurs
    drawn = np.random.default_rng(seed).multinomial(n, times / n, size=draws)
    low, high = np.quantile(drawn @ gains / n, [0.025, 0.975])
    return Estimate(float(gains @ times / n), float(low), float(high))
