"""From a scored table to the rows people read: every reported number with its interval, its ties and what is missing.

A number that needs an absent part of its benchmark is null; the same over what is at hand stands beside it under the
metric's name with `_at_hand`, so that nobody mistakes one for the other.
"""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.tables import BENCHMARK_RESULT_FIELDS
from evaluation.sheets import Sheet
from evaluation.units import TIES_WEIGHTS, Measured, measure

RESULT = pa.schema([field for field in BENCHMARK_RESULT_FIELDS if field.name != "arm"])
Found = Mapping[str, Mapping[str, int]]  # group -> subset -> items read, before sampling


@dataclass(frozen=True)
class MetricValue:
    """One reported number. `draws[0]` is the number, the rest its bootstrap distribution; None when it has no value."""

    subset: str
    metric: str
    draws: np.ndarray | None
    n: int = 0
    of: int = 0
    ties: int = 0
    truncated: int = 0
    missing: tuple[str, ...] = ()


def evaluate(
    name: str, sheet: Sheet, scored: pa.Table, found: Found, *, seed: int = 0, resamples: int = 1000
) -> pa.Table:
    """Every number of one benchmark as a table of `RESULT`.

    Args:
        name: the benchmark's name in the result.
        scored: items.LABELLED and `reward`, from `items.attach`.
        found: how many items the file held, which tells what is missing and what was sampled.
        seed: of the bootstrap; with equal items, equal seeds resample alike, for every model.
        resamples: bootstrap samples over items behind the 95 % interval.
    """
    rows = []
    for value in metric_values(sheet, scored, found, seed=seed, resamples=resamples, name=name):
        known = value.draws is not None and np.isfinite(value.draws[0])
        low, high = np.nanquantile(value.draws[1:], [0.025, 0.975]) if known and len(value.draws) > 1 else (None, None)
        rows.append(
            {
                "benchmark": name,
                "subset": value.subset,
                "metric": value.metric,
                "value": float(value.draws[0]) if known else None,
                "low": low,
                "high": high,
                "n": value.n,
                "out_of": value.of,
                "ties": value.ties,
                "truncated": value.truncated,
                "missing": list(value.missing),
            }
        )
    return pa.Table.from_pylist(rows, schema=RESULT)


def metric_values(
    sheet: Sheet, scored: pa.Table, found: Found, *, seed: int, resamples: int, name: str = ""
) -> Iterator[MetricValue]:
    """The numbers of one benchmark with their bootstrap draws, finest last."""
    parts = [
        measure(name, unit, scored.filter(pc.equal(scored["unit"], unit)))
        for unit in sorted(scored["unit"].unique().to_pylist())
    ]
    expected = sheet.groups or {g: dict(s) for g, s in found.items()}
    groups = {
        g: _group(sheet, g, subsets, found.get(g, {}), parts, seed=seed, resamples=resamples)
        for g, subsets in expected.items()
    }
    if set(groups) != {""}:
        yield from _whole(sheet, groups)
    for at_hand, subsets in groups.values():
        yield from at_hand
        yield from subsets


def _whole(sheet: Sheet, groups: dict[str, tuple[list[MetricValue], list[MetricValue]]]) -> Iterator[MetricValue]:
    """The unweighted mean over groups, and over items where the benchmark's own leaderboard prints that."""
    tops = [value for top, _ in groups.values() for value in top]
    missing = tuple(dict.fromkeys(m for value in tops for m in value.missing))
    base = list(dict.fromkeys(value.metric.removesuffix("_at_hand") for value in tops))
    total = sum({value.subset: value.of for value in tops}.values())
    for metric in (m for m in base if m not in TIES_WEIGHTS):
        if missing:
            yield MetricValue("", metric, None, of=total, missing=missing)
        name = f"{metric}_at_hand" if missing else metric
        chosen = [
            next((x for x in top if x.metric == f"{metric}_at_hand" and x.draws is not None), None)
            or next((x for x in top if x.metric == metric and x.draws is not None), None)
            for top, _ in groups.values()
        ]
        chosen = [value for value in chosen if value is not None]
        if not chosen:
            continue
        n, ties, truncated = (sum(getattr(value, c) for value in chosen) for c in ("n", "ties", "truncated"))
        counts = (n, total, ties, truncated)
        yield MetricValue("", name, np.mean([value.draws for value in chosen], axis=0), *counts, missing=missing)
        if sheet.micro and metric == "accuracy":
            draws = np.average([value.draws for value in chosen], axis=0, weights=[value.n for value in chosen])
            yield MetricValue("", f"micro_{name}", draws, *counts, missing=missing)


def _group(
    sheet: Sheet, group: str, expected: Mapping[str, int], found: Mapping[str, int], parts: list[Measured], **bootstrap
) -> tuple[list[MetricValue], list[MetricValue]]:
    """(the values of one group, those of its subsets)."""
    there = {s: [p.where(m) for p in parts if (m := (p.group == group) & (p.subset == s)).any()] for s in expected}
    by_subset = {s: ps[0] for s, ps in there.items() if ps}
    needed = list(expected) if sheet.weights else []
    missing = [
        f"{_label(group, s)} ({found.get(s, 0)} of {n})" for s, n in expected.items() if found.get(s, 0) < n
    ] or [f"{_label(group, s)} (none sampled)" for s in needed if s not in by_subset]
    if not by_subset and not missing:
        missing = [f"{group} (none sampled)"]

    fine = []
    draws_of: dict[str, dict[str, np.ndarray]] = {}
    for s, part in by_subset.items():
        draws_of[s] = _statistics(part, f"{group}/{s}", **bootstrap)
        if (group, s) != ("", "") and s != group:
            fine += [_value(_label(group, s), m, d, part, expected[s]) for m, d in draws_of[s].items()]

    total = sum(expected.values())
    if not by_subset:
        return [MetricValue(group, "accuracy", None, of=total, missing=tuple(missing))], fine
    whole = _concatenated(list(by_subset.values()))
    if sheet.weights:
        weight = [sheet.weights.get(s, expected[s]) for s in by_subset]
        metrics = next(iter(draws_of.values()))
        draws = {m: np.average([draws_of[s][m] for s in by_subset], axis=0, weights=weight) for m in metrics}
    else:
        draws = _statistics(whole, group, **bootstrap)
    top = []
    for metric, values in draws.items():
        if missing:
            top.append(MetricValue(group, metric, None, of=total, missing=tuple(missing)))
            top.append(_value(group, f"{metric}_at_hand", values, whole, total, tuple(missing)))
        else:
            top.append(_value(group, metric, values, whole, total))
    return top, fine


def _label(group: str, subset: str) -> str:
    return subset if group in ("", subset) else f"{group}/{subset}"


def _value(
    subset: str, metric: str, draws: np.ndarray, part: Measured, of: int, missing: tuple[str, ...] = ()
) -> MetricValue:
    counts = [int(c.sum()) for c in (part.items, part.tied, part.truncated)]
    return MetricValue(subset, metric, draws, counts[0], of, counts[1], counts[2], missing)


def _concatenated(parts: list[Measured]) -> Measured:
    names = ("group", "subset", "items", "tied", "truncated")
    joined = [np.concatenate([getattr(p, n) for p in parts]) for n in names]
    values = {
        m: (np.concatenate([p.values[m][0] for p in parts]), np.concatenate([p.values[m][1] for p in parts]))
        for m in parts[0].values
    }
    return Measured(*joined, values)


def _statistics(part: Measured, stratum: str, *, seed: int, resamples: int) -> dict[str, np.ndarray]:
    """metric -> [1 + resamples] the metric on the items themselves, then on items drawn with replacement."""
    value = np.stack([v * w for v, w in part.values.values()], axis=1)
    weight = np.stack([w for _, w in part.values.values()], axis=1)
    blocks = len(value)
    rng = np.random.default_rng([seed, zlib.crc32(stratum.encode())])
    sums = [np.concatenate([value.sum(0), weight.sum(0)])[None]]
    both = np.concatenate([value, weight], axis=1)
    step = max(1, 4_000_000 // blocks)
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        drawn = rng.integers(0, blocks, (size, blocks)) + np.arange(size)[:, None] * blocks
        times = np.bincount(drawn.ravel(), minlength=size * blocks).reshape(size, blocks)
        sums.append(times.astype(float) @ both)
    table = np.concatenate(sums)
    columns = value.shape[1]
    with np.errstate(invalid="ignore", divide="ignore"):
        means = table[:, :columns] / table[:, columns:]
    draws = dict(zip(part.values, means.T, strict=True))
    if set(draws) == set(TIES_WEIGHTS):
        draws = {"accuracy": sum(w * draws[m] for m, w in TIES_WEIGHTS.items()), **draws}
    if "best_of_01" in draws:
        best, top = (np.stack([d for m, d in draws.items() if m.startswith(c)]) for c in ("best_of_", "ceiling_"))
        draws |= {"max_score": best.max(0), "end_score": best[-1], "loss": ((top - best) ** 2).mean(0)}
    return draws
