"""Is one model better than another? Tests over the items both answered, over seeds, and over several benchmarks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from evaluation.evaluate import Found, metric_values
from evaluation.items import LABELLED
from evaluation.sheets import Sheet
from evaluation.units import measure


@dataclass(frozen=True)
class Difference:
    """`a - b` on one reported number.

    Attributes:
        value, low, high: the difference and its 95 % interval, by resampling the items for both models alike.
        p: two-sided, from the same resamples.
        only_a, only_b: items that one model alone gets right; None where items can be partly right.
        mcnemar: two-sided p of McNemar's exact test on those; None likewise.
    """

    subset: str
    metric: str
    a: float
    b: float
    value: float
    low: float
    high: float
    p: float
    only_a: int | None
    only_b: int | None
    mcnemar: float | None


def compare(
    name: str, sheet: Sheet, a: pa.Table, b: pa.Table, found: Found, *, seed: int = 0, resamples: int = 10_000
) -> list[Difference]:
    """Every reported number of two models on the same items (scored tables from `items.attach`).

    Raises:
        ValueError: the two tables hold different items.
    """
    if a.select(LABELLED.names) != b.select(LABELLED.names):
        raise ValueError(f"{name}: the two models were scored on different items")
    right_a, right_b = _binary(name, a), _binary(name, b)
    result = []
    pairs = zip(
        metric_values(sheet, a, found, seed=seed, resamples=resamples, name=name),
        metric_values(sheet, b, found, seed=seed, resamples=resamples, name=name),
        strict=True,
    )
    for x, y in pairs:
        if x.draws is None or y.draws is None:
            continue
        gain = x.draws - y.draws
        low, high = np.nanquantile(gain[1:], [0.025, 0.975])
        only = None
        if x.subset == "" and right_a is not None and right_b is not None and x.metric.startswith("accuracy"):
            only = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
        result.append(
            Difference(
                *(x.subset, x.metric, float(x.draws[0]), float(y.draws[0]), float(gain[0]), float(low), float(high)),
                p=_two_sided(gain[1:]),
                only_a=only[0] if only else None,
                only_b=only[1] if only else None,
                mcnemar=mcnemar(*only) if only else None,
            )
        )
    return result


def _binary(name: str, scored: pa.Table) -> np.ndarray | None:
    """[items] right or wrong, sorted by item; None where the benchmark's items can be partly right."""
    units = set(scored["unit"].to_pylist())
    if not units <= {"pair", "best_of_n"}:
        return None
    (unit,) = units
    return measure(name, unit, scored).values["accuracy"][0] > 0


def _two_sided(gains: np.ndarray) -> float:
    """Share of resamples on the other side of zero, doubled; never 0, for there are finitely many."""
    n = len(gains)
    return min(1.0, 2 * (min((gains <= 0).sum(), (gains >= 0).sum()) + 1) / (n + 1))


def mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided p of the exact test: as many items right for `a` alone as for `b` alone."""
    from scipy.stats import binomtest

    return float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0


def paired_t(a: Sequence[float], b: Sequence[float]) -> tuple[float, float]:
    """(t, two-sided p) that runs of `a` and `b` with the same seeds, or on the same benchmarks, score alike.

    Raises:
        ValueError: fewer than two, or not the same number.
    """
    if len(a) != len(b) or len(a) < 2:
        raise ValueError(f"a paired t-test needs the same two or more of both, got {len(a)} and {len(b)}")
    from scipy.stats import ttest_rel

    gain = np.subtract(a, b)
    if np.ptp(gain) == 0:  # no spread to measure against
        return (0.0, 1.0) if gain[0] == 0 else (math.copysign(math.inf, gain[0]), 0.0)
    t, p = ttest_rel(a, b)
    return float(t), float(p)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Name -> p corrected for asking as many questions as there are names (Holm's step-down)."""
    corrected, floor = {}, 0.0
    for rank, (name, p) in enumerate(sorted(p_values.items(), key=lambda kv: kv[1])):
        floor = max(floor, min(1.0, p * (len(p_values) - rank)))
        corrected[name] = floor
    return {name: corrected[name] for name in p_values}
