"""Intervals for the figures of the report: shares, differences of shares, paired differences."""

import math
from collections.abc import Sequence
from typing import NamedTuple

Z95 = 1.959963984540054  # two-sided 95 % of the normal distribution


class Estimate(NamedTuple):
    """A figure and the ends of its 95 % interval; all three are None when there was nothing to measure it on."""

    value: float | None
    low: float | None
    high: float | None

    @property
    def known(self) -> bool:
        return self.low is not None and self.high is not None


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
    if not (a.known and b.known):
        return Estimate(d, None, None)
    return Estimate(
        d,
        d - math.hypot(a.value - a.low, b.high - b.value),
        d + math.hypot(a.high - a.value, b.value - b.low),
    )


def paired_difference(a: Sequence[float], b: Sequence[float], seed: int = 0, draws: int = 2000) -> Estimate:
    """Mean of `a - b` over items measured under both, with a percentile bootstrap over items.

    Raises:
        ValueError: the two have different lengths.
    """
    import numpy as np

    if len(a) != len(b):
        raise ValueError(f"paired values need equal lengths, got {len(a)} and {len(b)}")
    if not len(a):
        return NOTHING
    gains, times = np.unique(np.asarray(a, float) - np.asarray(b, float), return_counts=True)
    # resampling items is drawing how often each distinct gain occurs
    drawn = np.random.default_rng(seed).multinomial(len(a), times / len(a), size=draws)
    low, high = np.quantile(drawn @ gains / len(a), [0.025, 0.975])
    return Estimate(float(gains @ times / len(a)), float(low), float(high))
