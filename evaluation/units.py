"""The rule of every unit: from the rewards of an item's candidates to what the item counts.

All rules compare raw rewards strictly and decide all items of a table at once. A response without a reward makes its
item wrong.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from evaluation.curves import ceiling, picked
from evaluation.items import BenchmarkError, segments
from evaluation.sheets import STYLES


@dataclass(frozen=True)
class Measured:
    """What the items of one unit count, in the blocks that a bootstrap must not tear apart.

    Attributes:
        group, subset: [blocks] where a block belongs.
        items, tied, truncated: [blocks] its items, those decided by or in spite of an exact tie, those with a response
            that was cut or could not be scored.
        values: metric -> ([blocks] value, [blocks] weight); a metric is the weighted mean of its values.
    """

    group: np.ndarray
    subset: np.ndarray
    items: np.ndarray
    tied: np.ndarray
    truncated: np.ndarray
    values: dict[str, tuple[np.ndarray, np.ndarray]]

    def where(self, mask: np.ndarray) -> "Measured":
        columns = (self.group, self.subset, self.items, self.tied, self.truncated)
        return Measured(*(c[mask] for c in columns), {m: (v[mask], w[mask]) for m, (v, w) in self.values.items()})


@dataclass(frozen=True)
class _Table:
    """A scored table of one unit, sorted by item and candidate, as arrays."""

    starts: np.ndarray
    counts: np.ndarray
    ids: np.ndarray
    group: np.ndarray
    subset: np.ndarray
    label: np.ndarray
    reward: np.ndarray
    cut: np.ndarray
    against: list

    @property
    def lost(self) -> np.ndarray:
        return np.logical_or.reduceat(np.isnan(self.reward), self.starts)

    @property
    def truncated(self) -> np.ndarray:
        return self.lost | np.logical_or.reduceat(self.cut, self.starts)

    def best(self, mask: np.ndarray) -> np.ndarray:
        """[items] highest reward among the masked candidates."""
        return np.maximum.reduceat(np.where(mask, self.reward, -np.inf), self.starts)

    def worst(self, mask: np.ndarray) -> np.ndarray:
        return np.minimum.reduceat(np.where(mask, self.reward, np.inf), self.starts)

    def measured(self, tied: np.ndarray, **values: np.ndarray) -> Measured:
        one, lost = np.ones(len(self.ids)), self.lost
        kept = {name: (np.where(lost, 0.0, value), one) for name, value in values.items()}
        return Measured(self.group, self.subset, one, tied & ~lost, self.truncated, kept)


def measure(benchmark: str, unit: str, scored: pa.Table) -> Measured:
    """What the items of `scored` (from `items.attach`, of one unit) count.

    Raises:
        BenchmarkError: an id or a comparison does not fit the unit.
    """
    starts, counts, ids = segments(scored)
    first = scored.select(["item_group", "subset"]).take(starts)
    table = _Table(
        starts,
        counts,
        ids,
        first["item_group"].to_numpy(zero_copy_only=False),
        first["subset"].to_numpy(zero_copy_only=False),
        scored["label"].to_numpy(),
        scored["reward"].to_numpy().astype(float),  # null becomes NaN
        scored["truncated"].to_numpy(),
        scored["against"].to_pylist() if unit == "best_of_k" else [],
    )
    rules = {"pair": _strict, "best_of_n": _strict, "shared": _shared, "matrix": _matrix, "ties": _ties}
    return _best_of_k(benchmark, table) if unit == "best_of_k" else rules[unit](benchmark, table)


def _strict(_: str, t: _Table) -> Measured:
    """Right when the labelled response beats every other (RewardBench, PPE Preference, RMB, JudgeBench)."""
    better, other = t.best(t.label), t.best(~t.label)
    return t.measured(better == other, accuracy=(better > other).astype(float))


def _shared(_: str, t: _Table) -> Measured:
    """Best of four; equal rewards at the top share the credit (RewardBench 2)."""
    top = t.reward == np.repeat(t.best(np.ones_like(t.label)), t.counts)
    holders = np.add.reduceat(top.astype(float), t.starts)
    right = np.logical_or.reduceat(top & t.label, t.starts)
    return t.measured(holders > 1, accuracy=right / np.maximum(holders, 1))


def _matrix(_: str, t: _Table) -> Measured:
    """All nine comparisons between the styles of the right and of the wrong answer (RM-Bench)."""
    right = t.reward[t.label].reshape(-1, STYLES, 1)
    wrong = t.reward[~t.label].reshape(-1, 1, STYLES)
    wins = (right > wrong).astype(float)  # [items, style of the right answer, style of the wrong one]
    plainer, fancier = np.triu_indices(STYLES, 1), np.tril_indices(STYLES, -1)
    return t.measured(
        (right == wrong).any((1, 2)),
        accuracy=wins.mean((1, 2)),
        easy=wins[:, *fancier].mean(1),
        normal=wins[:, range(STYLES), range(STYLES)].mean(1),
        hard=wins[:, *plainer].mean(1),
    )


def _ties(benchmark: str, t: _Table) -> Measured:
    """RewardBench 2's Ties: several right answers must all beat every wrong one, by more than they differ.

    A question comes as `ref:<n>` (one right answer), `tied:<n>` (several) or both; a block is a question.
    """
    gap = t.worst(t.label) - t.best(~t.label)
    spread = t.best(t.label) - t.worst(t.label)
    gap = np.where(t.lost, -np.inf, gap)
    row: dict[str, dict[str, int]] = {}
    for at, item in enumerate(t.ids):
        kind, _, number = str(item).rpartition("/")[2].partition(":")
        if kind not in ("ref", "tied") or not number.isdigit():
            raise BenchmarkError(f"{benchmark}: item {item!r}, field id: expected ref:<number> or tied:<number>")
        row.setdefault(number, {})[kind] = at
    ref = np.array([r.get("ref", -1) for r in row.values()])
    tied = np.array([r.get("tied", -1) for r in row.values()])
    both = (ref >= 0) & (tied >= 0)
    g_ref, g_tied, d = gap[ref], gap[tied], spread[tied]
    least = np.minimum(g_ref, g_tied)
    with np.errstate(divide="ignore", invalid="ignore"):
        margin = np.where((d == 0) & (least == 0), 0.0, np.tanh(least / d - 1))
    values = {
        "tied_accuracy": (g_tied > 0, tied >= 0),
        "ref_accuracy": (g_ref > 0, ref >= 0),
        "preferred": (g_tied > d, both),
        "hard_preferred": (least > d, both),
        "margin": (np.nan_to_num(margin), both),
    }

    def total(per_row: np.ndarray) -> np.ndarray:
        return np.where(ref >= 0, per_row[ref], 0) + np.where(tied >= 0, per_row[tied], 0)

    blocks = len(row)
    return Measured(
        np.full(blocks, t.group[0]),
        np.full(blocks, t.subset[0]),
        total(np.ones(len(t.ids))),
        total((gap == 0).astype(float)),
        total(t.truncated.astype(float)),
        {m: (np.asarray(v, float), np.asarray(w, float)) for m, (v, w) in values.items()},
    )


TIES_WEIGHTS = {"tied_accuracy": 0.3, "ref_accuracy": 0.3, "preferred": 0.2, "hard_preferred": 0.2, "margin": 0.01}


def _best_of_k(benchmark: str, t: _Table) -> Measured:
    """Sampled and all pairs of a right and a wrong response, and the curves over k (PPE Correctness).

    A response that could not be scored loses every comparison and is picked last; the other 31 still count.
    """
    reward = np.where(np.isnan(t.reward), -np.inf, t.reward)
    n, widest = len(t.ids), int(t.counts.max())
    sampled, everything, tied = np.zeros((n, 2)), np.zeros((n, 2)), np.zeros(n, bool)
    curve, top = np.full((n, widest), np.nan), np.full((n, widest), np.nan)
    for i, (start, count) in enumerate(zip(t.starts.tolist(), t.counts.tolist(), strict=True)):
        r, y = reward[start : start + count], t.label[start : start + count]
        wins = (r[:, None] > r[None, :]) & y[:, None] & ~y[None, :]
        everything[i] = wins.sum(), y.sum() * (~y).sum()
        pairs = [(a, b) for a in range(count) for b in t.against[start + a] or ()]
        for a, b in pairs:
            if not (0 <= b < count and y[a] and not y[b]):
                raise BenchmarkError(f"{benchmark}: item {t.ids[i]!r}, field sampled_conflict_pairs: ({a}, {b})")
        sampled[i] = sum(wins[a, b] for a, b in pairs), len(pairs)
        tied[i] = any(r[a] == r[b] for a, b in pairs)
        curve[i, :count] = picked(r, y & np.isfinite(r))
        top[i, :count] = ceiling(y.sum(), count)
    values = {"accuracy": sampled, "all_pairs_accuracy": everything}
    kept = {m: (np.divide(v[:, 0], v[:, 1], where=v[:, 1] > 0, out=np.zeros(n)), v[:, 1]) for m, v in values.items()}
    for k in range(widest):
        there = ~np.isnan(curve[:, k])
        kept[f"best_of_{k + 1:02d}"] = np.nan_to_num(curve[:, k]), there.astype(float)
        kept[f"ceiling_{k + 1:02d}"] = np.nan_to_num(top[:, k]), there.astype(float)
    return Measured(t.group, t.subset, np.ones(n), tied, t.truncated, kept)
