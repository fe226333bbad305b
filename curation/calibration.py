"""Calibrated decisions: the probability that a label is right, and thresholds with a bound on the error
(Jung et al. 2025, arXiv 2407.18370; fixed-sequence testing as in arXiv 2110.01052).

The bound is one for pairs drawn like the calibration pairs. They must therefore be a random sample with known inclusion
probabilities; pairs that were retrieved because a model errs on their neighbours are none.
"""

import hashlib
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .partition import STRATA, Calibration, Thresholds

LEAST = 40  # labels below which nothing is fitted: three coefficients on half of them
GRID = tuple(i / 100 for i in range(99, 49, -1))  # thresholds in the order of testing, strictest first


class TooFew(ValueError):
    """There are not enough random human labels to calibrate on."""


class Sample(NamedTuple):
    """Random human-labelled pairs: ids [n], clusters [n], margins of best and gold model [n, 2] in the original order,
    whether people confirm that order [n], inclusion probabilities [n]."""

    pairs: Sequence[str]
    clusters: Sequence[str]
    margins: np.ndarray
    right: np.ndarray
    inclusion: np.ndarray


def draw(*parts: object) -> float:
    """A number in [0, 1) that depends on nothing but the arguments."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def equal_chance(sample: Sample, seed: int) -> np.ndarray:
    """Which pairs to test on so that all had the same chance to be there: pair i stays with probability
    min(inclusion) / inclusion[i]. Exact tests need equal weights."""
    least = sample.inclusion.min()
    return np.array(
        [draw(seed, "thin", p) < least / i for p, i in zip(sample.pairs, sample.inclusion, strict=True)], bool
    )


def fit(margins: np.ndarray, right: np.ndarray, weight: np.ndarray) -> tuple[float, float, float]:
    """Platt scaling on both models' margins: (intercept, best, gold), in units of the margins.

    Args:
        margins: [n, 2]. right: [n] bool. weight: [n], one over the inclusion probability.

    Raises:
        TooFew: all labels are right, or all are wrong.
    """
    from sklearn.linear_model import LogisticRegression

    if right.all() or not right.any():
        raise TooFew("the calibration labels are all right or all wrong: there is nothing to fit")
    scale = np.maximum(margins.std(axis=0), 1e-9)
    model = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000)
    model.fit(margins / scale, right, sample_weight=weight * len(weight) / weight.sum())
    best, gold = (round(float(c), 9) for c in model.coef_[0] / scale)
    return round(float(model.intercept_[0]), 9), best, gold


def probability(coefficients: tuple[float, float, float], margins: np.ndarray) -> np.ndarray:
    """P(the original order is right) [n]."""
    a, best, gold = coefficients
    return 1 / (1 + np.exp(-(a + best * margins[:, 0] + gold * margins[:, 1])))


def fixed_sequence(p: np.ndarray, right: np.ndarray, alpha: float, delta: float) -> float | None:
    """The lowest threshold t of GRID such that P(wrong | p >= t) <= alpha, with confidence 1 - delta.

    Thresholds are tested strictest first by an exact binomial test at level delta; the first failure ends it, so no
    correction for their number is due. The first test is where three times as many pairs lie above as could pass
    without an error, or on all of them: on fewer, one error would end it. Where to begin is read from p alone.

    Args:
        p: [n] probabilities that the action is right. right: [n] bool, whether it was.

    Returns:
        the threshold, or None where none passed.
    """
    from scipy.stats import binom

    enough, found = math.ceil(math.log(delta) / math.log(1 - alpha)), None
    begin = max(enough, min(3 * enough, int((p >= GRID[-1]).sum())))
    above = p >= np.array(GRID)[:, None]
    n, wrong = above.sum(1), (above & ~right).sum(1)
    for t, passed in zip(np.array(GRID)[n >= begin], binom.cdf(wrong, n, alpha)[n >= begin] <= delta, strict=True):
        if not passed:
            break
        found = float(t)
    return found


def strata(margins: np.ndarray, threshold: float = 0.5, band: float = 0.0) -> np.ndarray:
    """Which of STRATA each pair is in: both models agree with the original order, both reject it, or neither."""
    p = 1 / (1 + np.exp(-margins))
    agree = (p[:, 0] > threshold + band) & (p[:, 1] > 0.5)
    reject = (p[:, 0] < 1 - threshold - band) & (p[:, 1] < 0.5)
    return np.where(agree, "agree", np.where(reject, "reject", "split"))


def calibrate(
    sample: Sample,
    *,
    models: tuple[str, str],
    alpha: float,
    delta: float,
    seed: int,
    threshold: float = 0.5,
    band: float = 0.0,
) -> Calibration:
    """Fit on one half of the conversation clusters, test thresholds on the other, a stratum and side at a time.

    Raises:
        TooFew: fewer than LEAST pairs, or nothing to fit.
    """
    if len(sample.pairs) < LEAST:
        raise TooFew(f"{len(sample.pairs)} random human labels of role calibration; calibration needs at least {LEAST}")
    first = np.array([draw(seed, "half", c) < 0.5 for c in sample.clusters], bool)
    weight = 1 / sample.inclusion
    coefficients = fit(sample.margins[first], sample.right[first], weight[first])
    test = ~first & equal_chance(sample, seed)
    p, right, group = (
        probability(coefficients, sample.margins[test]),
        sample.right[test],
        strata(sample.margins[test], threshold, band),
    )
    found = {
        s: Thresholds(
            keep=fixed_sequence(p[group == s], right[group == s], alpha, delta),
            flip=fixed_sequence(1 - p[group == s], ~right[group == s], alpha, delta),
        )
        for s in STRATA
    }
    return Calibration(
        best_model=models[0],
        gold_model=models[1],
        intercept=coefficients[0],
        best=coefficients[1],
        gold=coefficients[2],
        fitted_on=int(first.sum()),
        tested_on=int(test.sum()),
        alpha=alpha,
        delta=delta,
        thresholds=found,
    )
