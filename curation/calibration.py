"""Calibrated decisions: the probability that a label is right, and thresholds with a bound on the error
(Jung et al. 2025, arXiv 2407.18370; fixed-sequence testing as in arXiv 2110.01052).

A bound is one for the pairs that the tested ones were drawn from. Within a stratum they are therefore a simple random
sample of what stage 2 decides, whatever their number in the strata; what thresholds are tested on fits nothing.
"""

import math
from typing import NamedTuple

import duckdb
import numpy as np
import pyarrow as pa

from curation.decision_rule import STRATA, Calibration, Stratum, Thresholds
from curation.identity import digest
from curation.vote_models import sigmoid
from sql import statement

LEAST = 20  # labels below which nothing is fitted: three coefficients
GRID = tuple(i / 100 for i in range(99, 49, -1))  # thresholds in the order of testing, strictest first


class TooFew(ValueError):
    """There are not enough human labels to calibrate on."""


class Sample(NamedTuple):
    """Human-labelled pairs: margins of best and gold model and the judges' sum [n, 3] in the original order, whether
    people confirm that order [n]. Without judges [n, 2]."""

    margins: np.ndarray
    right: np.ndarray


def halves(pairs: list[str], seed: int) -> np.ndarray:
    """Which pairs [n] of a random sample fit; the others, a random sample too, test."""
    return np.array([int(digest(("half", str(seed), p))[:8], 16) % 2 == 0 for p in pairs], bool)


def fit(sample: Sample, weights: np.ndarray | None = None) -> tuple[float, ...]:
    """Platt scaling: (intercept, then a coefficient a column of the margins), in units of the margins.

    Args:
        weights: [n], for how many pairs each stands, where some were drawn more readily than others
            (curation/flip_audit.py); their mean is 1. None: all alike.

    Raises:
        TooFew: fewer than LEAST labels, or all are right, or all are wrong.
    """
    from sklearn.linear_model import LogisticRegression

    margins, right = sample
    if len(right) < LEAST:
        raise TooFew(f"{len(right)} human labels to fit probabilities on, which needs at least {LEAST}")
    if right.all() or not right.any():
        raise TooFew("the calibration labels are all right or all wrong: there is nothing to fit")
    scale = np.maximum(margins.std(axis=0), 1e-9)
    model = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000)
    model.fit(margins / scale, right, weights)
    slopes = np.where(margins.any(axis=0), model.coef_[0] / scale, 0.0)  # what is 0 everywhere says nothing
    return round(float(model.intercept_[0]), 9), *(round(float(c), 9) for c in slopes)


def probability(coefficients: tuple[float, ...], margins: np.ndarray) -> np.ndarray:
    """P(the original order is right) [n]."""
    a, *slopes = coefficients
    return sigmoid(a + margins @ np.array(slopes))


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
    """Which of STRATA each pair is in, by the rule that decides them."""
    places = np.arange(len(margins))
    with duckdb.connect() as con:
        con.execute(statement("macros"))
        con.register("margins", pa.table({"place": places, "best": margins[:, 0], "gold": margins[:, 1]}))
        rows = con.sql(statement("stage2/strata"), params={"threshold": threshold, "band": band}).to_arrow_table()
    return np.array(rows.column(0), dtype="<U6")


def calibrate(
    fitted: Sample,
    tested: Sample,
    *,
    models: tuple[str, str],
    alpha: float,
    delta: float,
    alpha_flip: float | None = None,
    threshold: float = 0.5,
    band: float = 0.0,
    weights: np.ndarray | None = None,
) -> Calibration:
    """Fit probabilities on one sample and test thresholds on the other, a stratum and side at a time.

    Args:
        fitted: any labels; how well they represent what is decided matters to how much is decided, not to the bound.
        tested: in each stratum a simple random sample of the pairs that are decided, none of them in `fitted`. Labels of
            one conversation may agree: what is bounded is the share among these very pairs, of which it is a random draw.
        alpha, alpha_flip: share of wrong ones among what is kept, or flipped; None: as alpha.
        weights: of the fitted ones; see `fit`.

    Raises:
        TooFew: nothing to fit.
    """
    coefficients = fit(fitted, weights)
    p, group = probability(coefficients, tested.margins), strata(tested.margins, threshold, band)
    found: dict[Stratum, Thresholds] = {}
    for s in STRATA:
        q, right = p[group == s], tested.right[group == s]
        found[s] = Thresholds(
            keep=fixed_sequence(q, right, alpha, delta),
            flip=fixed_sequence(1 - q, ~right, alpha if alpha_flip is None else alpha_flip, delta),
        )
    return Calibration(
        best_model=models[0],
        gold_model=models[1],
        intercept=coefficients[0],
        best=coefficients[1],
        gold=coefficients[2],
        judges=coefficients[3] if len(coefficients) > 3 else 0.0,
        fitted_on=len(fitted.right),
        tested_on=len(tested.right),
        alpha=alpha,
        alpha_flip=alpha_flip,
        delta=delta,
        thresholds=found,
    )
