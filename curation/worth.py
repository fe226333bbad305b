"""Whether curating a pool is worth it, told from a few hundred people's labels before anybody else is paid.

Everything is measured by grouped cross-validation on pairs that people judged (the pilot) and that carry an original
label. Two rules of arithmetic decide. A flip puts a label right where the label was wrong and the model right, and
spoils it where the label was right and the model wrong: flipping pays where the model is right more often than the
label. A model learns from n labels that are right with probability p about as much as from n (2p - 1)^2 perfect ones:
keeping a share s of the pool, right in p, pays where s (2p - 1)^2 is more than (2a - 1)^2 of the pool as it came.

All arrays are in the order of the original label: features are chosen less rejected, and "right" says that people
confirm the order.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, NamedTuple

import numpy as np

from curation.intervals import NOTHING, Z95, Estimate, wilson
from training.frozen import RIDGES, Choice, Kind, bradley_terry, choose, folds

LEAST = 50  # gold pairs below which no verdict is given: a is then known to 14 points, g to more
COMFORTABLE = 100  # below it a warning stands beside every figure
LEAST_CELL = 15  # pairs a cell of the conflict matrix is tested on, and people's agreement
LEAST_TRAIN = 25  # and trained on
FOLDS = 5
REPEATS = 4  # times the folds are dealt anew for the curve
SIZES = (25, 50, 100, 150, 200, 300, 400, 600, 800, 1200, 1600, 2400)
ASKED = (250, 500, 1000, 2000)  # sizes to extrapolate to
REDRAWN = 400  # bootstrap draws over clusters
EXPONENTS = (0.3, 0.5, 0.75, 1.0)  # of the learning curve
FARTHEST = 4  # times the gold at hand that the curve is believed
PRIOR = 10  # pairs that the closed formula counts for beside the pairs counted
SURE = 0.6  # probability from which a gain is believed; docs/effect.md has what it does on real pools
MOST_SHARED = 0.2  # of gold pairs whose response also stands in other conversations
POWER = 0.84162  # normal quantile of 80 %
AUDIT_LEVEL = 0.1  # one-sided level of the look at would-be flips

Verdict = Literal["curate and flip", "filter only", "do not curate"]


class NotMeasurable(ValueError):
    """There is nothing a figure could be made of; the message says what is missing and what to do."""


class Pilot(NamedTuple):
    """n pairs that people judged.

    Attributes:
        right: [n] bool, people confirm the original order.
        features: by kind, chosen less rejected [n, d].
        longer: [n], 1 where the chosen response is the longer one, -1 where it is the shorter, 0 for equal lengths.
        clusters, comparisons, category, source: [n] names.
        preferred: [n] names of the responses that people prefer, the same for the same response.
        votes: [n, 2] people for the original order and for the other.
    """

    right: np.ndarray
    features: dict[Kind, np.ndarray]
    longer: np.ndarray
    clusters: np.ndarray
    comparisons: np.ndarray
    category: np.ndarray
    source: np.ndarray
    preferred: np.ndarray
    votes: np.ndarray

    def take(self, rows: np.ndarray) -> "Pilot":
        return Pilot(
            self.right[rows], {k: v[rows] for k, v in self.features.items()}, self.longer[rows], self.clusters[rows],
            self.comparisons[rows], self.category[rows], self.source[rows], self.preferred[rows], self.votes[rows],
        )  # fmt: skip


class Pool(NamedTuple):
    """A random sample of m pairs of the pool, in the same columns; `size` pairs are in the pool."""

    features: dict[Kind, np.ndarray]
    longer: np.ndarray
    clusters: np.ndarray
    comparisons: np.ndarray
    size: int


@dataclass(frozen=True)
class Worth:
    """Everything that is known beforehand; `as_dict` is what `--json` prints."""

    verdict: Verdict
    first: str  # what to get before curating, '' where nothing
    why: list[str]
    warnings: list[str]
    gold: dict[str, Any]
    accuracy: dict[str, Estimate]
    curve: list[dict[str, Any]]
    ceiling: dict[str, Any]
    rule: dict[str, Any]
    headroom: dict[str, Any]
    needed: dict[str, Any]
    conflict: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        def plain(x: Any) -> Any:
            if isinstance(x, Estimate):
                return x._asdict()
            if isinstance(x, dict):
                return {k: plain(v) for k, v in x.items()}
            return [plain(v) for v in x] if isinstance(x, list) else x

        return {f.name: plain(getattr(self, f.name)) for f in fields(self)}


def rows_of(w: Worth) -> list[dict[str, Any]]:
    """The rows of the table `worth`."""

    def row(figure: str, item: str, e: Estimate | float | None, text: str = "") -> dict[str, Any]:
        value, low, high = e if isinstance(e, Estimate) else (e, None, None)
        return {"figure": figure, "item": item, "value": value, "low": low, "high": high, "text": text}

    rows = [row("verdict", w.verdict, None, w.first)]
    rows += [row("why", f"{i:02d}", None, s) for i, s in enumerate(w.why, 1)]
    rows += [row("warning", f"{i:02d}", None, s) for i, s in enumerate(w.warnings, 1)]
    rows += [row("accuracy", k, e) for k, e in w.accuracy.items()]
    rows += [
        row("curve", f"{c['pairs']:06d}", c["accuracy"], "extrapolated" if c["extrapolated"] else "") for c in w.curve
    ]
    rows += [row("ceiling", "two people agree", w.ceiling["agreement"])] if w.ceiling["pairs"] else []
    for side in ("keep", "flip"):
        rows += [row("rule", f"{side}, {k}", w.rule[side][k]) for k in ("predicted", "counted", "formula", "share")]
    rows += [row("rule", f"sure: {k}", v) for k, v in w.rule["sure"].items()]
    rows += [row("headroom", k, w.headroom[k]) for k in ("at_pool_size", "same_pairs", "sure")]
    rows += [row("needed", k, None if v is None else float(v)) for k, v in w.needed.items()]
    rows += [row("gold", k, float(w.gold[k])) for k in ("pairs", "conversations", "effective", "pool", "pool_read")]
    for by, c in w.conflict.items():
        for name, cells in zip(c["names"], c["accuracy"], strict=True):
            rows += [row(f"conflict by {by}", f"{name} on {n}", e) for n, e in zip(c["names"], cells, strict=True)]
    return rows


# ---- arithmetic ------------------------------------------------------------------------------------------------------
def flip_precision(a: float, g: float) -> float:
    """Share of a model's flips that are right, if it errs independently of labels that are right in `a`.

    >>> round(flip_precision(0.8, 0.8), 3), flip_precision(0.7, 0.8) > 0.5
    (0.5, True)
    """
    hit, miss = (1 - a) * g, a * (1 - g)
    return hit / (hit + miss) if hit + miss else 0.5


def keep_precision(a: float, g: float) -> float:
    """Share right among the labels that a model agrees with, if it errs independently of them."""
    hit, miss = a * g, (1 - a) * (1 - g)
    return hit / (hit + miss) if hit + miss else 0.5


def information(share: float, precision: float) -> float:
    """What labels teach: perfect labels, as a share of the pool, that would teach as much. Negative where they mislead."""
    return share * (2 * precision - 1) * abs(2 * precision - 1)


def keep_break_even(a: float) -> float:
    """Accuracy of a model above which keeping what it agrees with teaches more than the whole pool, labels right in `a`.

    >>> [round(keep_break_even(a), 3) for a in (0.65, 0.7, 0.8, 0.9)]
    [0.566, 0.594, 0.664, 0.782]
    """
    low, high = 0.5, 1.0
    for _ in range(50):
        g = (low + high) / 2
        share = a * g + (1 - a) * (1 - g)
        low, high = (low, g) if information(share, keep_precision(a, g)) >= information(1, a) else (g, high)
    return high


def detectable(pairs: float, discordant: float = 0.15) -> float:
    """Smallest difference of two models' accuracies that a test on so many independent pairs shows with 80 % power.

    >>> round(detectable(281), 3)
    0.065
    """
    return (Z95 + POWER) * math.sqrt(discordant / pairs) if pairs > 0 else math.inf


def audit_needed(precision: float, level: float = AUDIT_LEVEL, most: int = 2000) -> int | None:
    """Would-be flips to look at, so that the exact test shows with 80 % power that more than half are right; None where
    more than `most` are needed, or no number would do.

    >>> audit_needed(0.8), audit_needed(0.5)
    (12, None)
    """
    from scipy.stats import binom

    if precision <= 0.5:
        return None
    n = np.arange(1, most + 1)
    least = binom.ppf(1 - level, n, 0.5) + 1  # right flips that chance brings with probability `level` at most
    enough = binom.sf(least - 1, n, precision) >= 0.8
    steady = np.flip(np.logical_and.accumulate(np.flip(enough)))  # the power goes up and down with n
    return int(n[steady][0]) if steady.any() else None


def effective(values: np.ndarray, clusters: np.ndarray) -> float:
    """Independent pairs whose mean would vary as much as that of these, which come in clusters."""
    n, p = len(values), float(np.mean(values))
    _, which = np.unique(clusters, return_inverse=True)
    sums, sizes = np.bincount(which, values), np.bincount(which)
    if p in (0.0, 1.0) or len(sizes) < 2:
        return float(len(sizes))
    spread = float(((sums - p * sizes) ** 2).sum()) * len(sizes) / (len(sizes) - 1)
    return min(float(n), p * (1 - p) * n * n / spread) if spread else float(n)


def share(values: np.ndarray, clusters: np.ndarray) -> Estimate:
    """Mean of 0, 1/2 and 1 with Wilson's interval on the effective number of pairs."""
    if not len(values):
        return NOTHING
    n, p = effective(np.asarray(values, float), clusters), float(np.mean(values))
    e = wilson(p * n, n)
    return Estimate(p, e.low, e.high)


def hits(margins: np.ndarray, right: np.ndarray) -> np.ndarray:
    """1 where the sign of a margin says what people say, 1/2 for a margin of 0."""
    return np.where(margins == 0, 0.5, (margins > 0) == right)


def groups_of(clusters: Sequence[str], comparisons: Sequence[str]) -> np.ndarray:
    """Clusters joined where they hold the same comparison, so that none stands on both sides of a split."""
    parent: dict[str, str] = {}

    def root(x: str) -> str:
        while parent.setdefault(x, x) != x:
            parent[x] = parent[parent[x]]
            x = parent[x]
        return x

    seen: dict[str, str] = {}
    for cluster, comparison in zip(clusters, comparisons, strict=True):
        a, b = root(cluster), root(seen.setdefault(comparison, cluster))
        parent[max(a, b)] = min(a, b)
    return np.array([root(c) for c in clusters])


# ---- cross-validation ------------------------------------------------------------------------------------------------
def nested(pilot: Pilot, groups: np.ndarray, seed: int) -> tuple[np.ndarray, Choice]:
    """Margins [n] of a gold model that never saw the pair's group, its kind and ridge chosen without that group; and
    what is chosen with all pairs."""
    fold, out, y = folds(groups, FOLDS, seed), np.zeros(len(pilot.right)), np.ones(len(pilot.right))
    turn = np.where(pilot.right, 1.0, -1.0)[:, None]
    x = {k: v * turn for k, v in pilot.features.items()}  # in people's order: the first is better
    for f in range(FOLDS):
        held = fold == f
        if not held.any() or held.all():
            continue
        c = choose({k: v[~held] for k, v in x.items()}, y[~held], groups[~held], seed=seed)
        out[held] = pilot.features[c.kind][held] @ bradley_terry(x[c.kind][~held], y[~held], c.ridge)
    return out, choose(x, y, groups, seed=seed)


def label_model(
    pilot: Pilot, pool: Pool, groups: np.ndarray, pool_groups: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Margins of a model of the original labels, on the pilot [n] and on the pool [m], never of a group it saw."""
    fold = folds(np.concatenate([groups, pool_groups]), FOLDS, seed)
    mine, theirs = fold[: len(groups)], fold[len(groups) :]
    y = np.ones(len(theirs))
    some = np.random.default_rng(seed).permutation(len(theirs))[:1000]  # enough to choose on
    c = choose(
        {k: v[some] for k, v in pool.features.items()}, y[some], pool_groups[some], ridges=RIDGES[1::2], seed=seed
    )
    on_gold, on_pool = np.zeros(len(groups)), np.zeros(len(theirs))
    x = pool.features[c.kind]
    for f in range(FOLDS):
        head = bradley_terry(x[theirs != f], y[theirs != f], c.ridge)
        on_gold[mine == f] = pilot.features[c.kind][mine == f] @ head
        on_pool[theirs == f] = x[theirs == f] @ head
    return on_gold, on_pool


def gold_on_pool(pilot: Pilot, pool: Pool, groups: np.ndarray, pool_groups: np.ndarray, c: Choice) -> np.ndarray:
    """Margins [m] of the gold model on the pool, without the gold of a pair's own group where there is any."""
    x = pilot.features[c.kind] * np.where(pilot.right, 1.0, -1.0)[:, None]
    y = np.ones(len(x))
    out = pool.features[c.kind] @ bradley_terry(x, y, c.ridge)
    fold = folds(groups, FOLDS, 0)
    for f in range(FOLDS):
        touched = np.isin(pool_groups, groups[fold == f])
        if touched.any() and (fold != f).any():
            out[touched] = pool.features[c.kind][touched] @ bradley_terry(x[fold != f], y[fold != f], c.ridge)
    return out


def same_size_arms(pilot: Pilot, groups: np.ndarray, c: Choice, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Hits [n] on people's verdicts of two models trained alike on the same pairs of other groups: on people's labels,
    and on the original ones."""
    x, y = pilot.features[c.kind], pilot.right.astype(float)
    oracle, original = np.zeros(len(y)), np.zeros(len(y))
    for repeat in range(REPEATS):
        fold = folds(groups, FOLDS, seed + repeat)
        for f in range(FOLDS):
            held = fold == f
            if held.any() and not held.all():
                oracle[held] += hits(x[held] @ bradley_terry(x[~held], y[~held], c.ridge), pilot.right[held])
                as_came = bradley_terry(x[~held], np.ones((~held).sum()), c.ridge)
                original[held] += hits(x[held] @ as_came, pilot.right[held])
    return oracle / REPEATS, original / REPEATS


def learning(pilot: Pilot, groups: np.ndarray, c: Choice, seed: int) -> tuple[list[int], np.ndarray]:
    """Sizes and, for each, hits [sizes, n] of models trained on so many pairs of other groups, mean over repeats."""
    turn = np.where(pilot.right, 1.0, -1.0)[:, None]
    x, n = pilot.features[c.kind], len(pilot.right)
    oriented = x * turn
    sizes = [s for s in SIZES if s <= n * (1 - 1 / FOLDS) * 0.95] or [max(2, int(n * 0.75))]
    found, rng = np.zeros((len(sizes), n)), np.random.default_rng(seed)
    for repeat in range(REPEATS):
        fold = folds(groups, FOLDS, seed + 10 + repeat)
        for f in range(FOLDS):
            held = np.flatnonzero(fold == f)
            rest = rng.permutation(np.flatnonzero(fold != f))
            for i, s in enumerate(sizes):
                if len(rest) and len(held):
                    some = rest[:s]
                    # few pairs need the same pull as many: the ridge stands for what is known beforehand
                    head = bradley_terry(oriented[some], np.ones(len(some)), c.ridge)
                    found[i, held] += hits(x[held] @ head, pilot.right[held])
    return sizes, found / REPEATS


def power_law(sizes: np.ndarray, error: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Error [len(at)] by the curve e + b n^-c with b >= 0 and e >= 0 that fits best; a flat one where nothing falls."""
    best, out = math.inf, np.full(len(at), error.mean())
    best = float(((error - error.mean()) ** 2 * sizes**0.5).sum())
    for exponent in EXPONENTS if len(sizes) > 1 else ():
        z = sizes**-exponent
        w = sizes**0.5  # small sizes vary more
        zc, ec = np.average(z, weights=w), np.average(error, weights=w)
        b = max(0.0, float((w * (z - zc) * (error - ec)).sum() / max(1e-12, (w * (z - zc) ** 2).sum())))
        e = max(0.0, ec - b * zc)
        loss = float((w * (error - e - b * z) ** 2).sum())
        if loss < best - 1e-12:
            best, out = loss, e + b * at**-exponent
    return out


def redraw(groups: np.ndarray, seed: int, times: int = REDRAWN) -> np.ndarray:
    """How often each pair stands in each of `times` bootstrap draws over groups [times, n]."""
    names, which = np.unique(groups, return_inverse=True)
    counts = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=times)
    return counts[:, which].astype(float)


# ---- conflicts -------------------------------------------------------------------------------------------------------
def conflict(pilot: Pilot, groups: np.ndarray, by: np.ndarray, most: int = 8) -> dict[str, Any] | None:
    """Accuracy of a gold model trained on one category (or source), with features chosen on it, and tested on another; on
    its own by cross-validation. None where fewer than two have enough pairs."""
    names, sizes = np.unique(by, return_counts=True)
    names = [str(n) for n in names[np.argsort(-sizes, kind="stable")] if (by == n).sum() >= LEAST_TRAIN][:most]
    if len(names) < 2:
        return None
    turn = np.where(pilot.right, 1.0, -1.0)[:, None]
    fold = folds(groups, FOLDS, 0)
    cells = []
    for trained in names:
        own = by == trained
        some = {k: (v * turn)[own] for k, v in pilot.features.items()}
        c = choose(some, np.ones(own.sum()), groups[own], ridges=RIDGES[1::2])
        x, row = pilot.features[c.kind], []
        oriented = x * turn
        for tested in names:
            out = np.full(len(by), np.nan)
            for f in range(FOLDS):
                t = (by == trained) & (fold != f)
                held = (by == tested) & (fold == f)
                if t.sum() >= LEAST_TRAIN * 0.7 and held.any():
                    head = bradley_terry(oriented[t], np.ones(t.sum()), c.ridge)
                    out[held] = hits(x[held] @ head, pilot.right[held])
            known = ~np.isnan(out)
            row.append(share(out[known], groups[known]) if known.sum() >= LEAST_CELL else NOTHING)
        cells.append(row)
    against = [
        (a, b) for i, a in enumerate(names) for j, b in enumerate(names)
        if i != j and (cells[i][j].high or 1.0) < 0.5
    ]  # fmt: skip
    return {"names": names, "accuracy": cells, "against": [list(p) for p in against]}


def consistent(pilot: Pilot) -> tuple[Pilot, list[str]]:
    """The pilot without comparisons that people decided both ways, and what to say of them.

    Raises:
        NotMeasurable: hardly anything else is left.
    """
    said: dict[str, set[str]] = {}
    for comparison, preferred in zip(pilot.comparisons, pilot.preferred, strict=True):
        said.setdefault(comparison, set()).add(preferred)
    both_ways = {c for c, p in said.items() if len(p) > 1}
    if not both_ways:
        return pilot, []
    rows = np.flatnonzero([c not in both_ways for c in pilot.comparisons])
    text = f"{len(both_ways)} of {len(said)} comparisons were decided both ways: that gold contradicts itself"
    if len(rows) < LEAST:
        raise NotMeasurable(f"{text}, and {len(rows)} pairs are left without it. Let a third person decide those.")
    return pilot.take(rows), [f"{text} and is left out"]


# ---- the whole -------------------------------------------------------------------------------------------------------
def troubles(pilot: Pilot, pool: Pool, shared: float = 0.0) -> list[str]:
    """What makes figures less than they seem.

    Args:
        shared: of gold pairs, the share with a response that also stands in another conversation of the pool.

    Raises:
        NotMeasurable: nothing can be said at all.
    """
    n = len(pilot.right)
    if n < LEAST:
        raise NotMeasurable(
            f"{n} pairs with people's labels and an original label; a verdict needs at least {LEAST}, better 100 to 250."
            " Let people label more pairs, drawn at random from the pool."
        )
    if not pilot.features:
        raise NotMeasurable("there are no features: neither states nor style")
    if len(set(pilot.clusters)) < FOLDS:
        raise NotMeasurable(
            f"the {n} gold pairs stand in {len(set(pilot.clusters))} conversations; cross-validation needs at least {FOLDS}."
            " Let people label pairs of more conversations."
        )
    if len(pool.longer) < LEAST:
        raise NotMeasurable(f"{len(pool.longer)} pairs in the pool: there is nothing to curate")
    found = []
    if n < COMFORTABLE:
        found.append(f"only {n} gold pairs: every accuracy below is known to {100 / math.sqrt(n):.0f} points at best")
    if pilot.right.all() or not pilot.right.any():
        word = "every" if pilot.right.all() else "no"
        found.append(
            f"people confirm {word} original label: gold of one class. Perhaps the gold was joined from the labels"
            " themselves, or the columns of chosen and rejected are exchanged"
        )
    held = set(pilot.comparisons)
    repeated = sum(c in held for c in pool.comparisons)
    if repeated:
        found.append(
            f"{repeated} pairs of the pool sample hold the same two responses as a gold pair; and never teach and test one fold"
        )
    if shared > MOST_SHARED:
        found.append(
            f"{shared:.0%} of the gold pairs have a response that also stands in other conversations: cross-validation"
            " may have seen it, and accuracies may be too high"
        )
    split = pilot.votes.min(axis=1) > 0
    if split.mean() > 0.4:
        found.append(f"people disagree with each other on {split.mean():.0%} of the gold pairs")
    return found


def assess(pilot: Pilot, pool: Pool, *, seed: int = 0, shared: float = 0.0, extra: Sequence[str] = ()) -> Worth:
    """Measure everything and say what to do.

    Args:
        shared: see `troubles`.
        extra: warnings of the caller.

    Raises:
        NotMeasurable: there is too little of something; the message says of what.
    """
    pilot, contradicting = consistent(pilot)
    warnings = [*extra, *contradicting, *troubles(pilot, pool, shared)]
    both = groups_of([*pilot.clusters, *pool.clusters], [*pilot.comparisons, *pool.comparisons])
    groups, pool_groups = both[: len(pilot.right)], both[len(pilot.right) :]
    right, n = pilot.right, len(pilot.right)
    gold_margin, choice = nested(pilot, groups, seed)
    label_margin, pool_label = label_model(pilot, pool, groups, pool_groups, seed)
    pool_gold = gold_on_pool(pilot, pool, groups, pool_groups, choice)

    a = share(right, groups)
    gold_hits, label_hits = hits(gold_margin, right), hits(label_margin, right)
    by_kind = {k: _plain_cv(pilot, groups, k, choice, seed) for k in pilot.features}
    accuracy = {
        "original labels": a,
        "longer answer": share(hits(pilot.longer, right), groups),
        **{f"gold model on {k}": share(v, groups) for k, v in by_kind.items()},
        "gold model": share(gold_hits, groups),
        "model of the labels": share(label_hits, groups),
    }
    sizes, curve_hits = learning(pilot, groups, choice, seed)
    draws = redraw(groups, seed)
    curve, at_pool = _curve(sizes, curve_hits, groups, draws, n, pool.size)
    ceiling = _ceiling(pilot)

    kept, flipped = (gold_margin > 0) & (label_margin > 0), (gold_margin < 0) & (label_margin < 0)
    rule = _rule(right, kept, flipped, gold_margin, accuracy["gold model"].value or 0.5, draws)
    rule["pool"] = {
        "kept": float(((pool_gold > 0) & (pool_label > 0)).mean()),
        "flipped": float(((pool_gold < 0) & (pool_label < 0)).mean()),
    }
    oracle, original = same_size_arms(pilot, groups, choice, seed)
    headroom = _headroom(oracle, original, label_hits, at_pool, draws)
    found = {
        name: c for name, by in (("category", pilot.category), ("source", pilot.source))
        if (c := conflict(pilot, groups, by))
    }  # fmt: skip
    needed = _needed(rule, a, curve, n, effective(right, groups))
    verdict, first, why = decide(a, accuracy, rule, headroom, curve, ceiling, found, n)
    return Worth(
        verdict, first, why, warnings,
        {
            "pairs": n, "conversations": len(set(groups)), "effective": effective(right, groups), "pool": pool.size,
            "pool_read": len(pool.longer), "features": choice.kind, "ridge": choice.ridge,
        },
        accuracy, curve, ceiling, rule, headroom, needed, found,
    )  # fmt: skip


def _plain_cv(pilot: Pilot, groups: np.ndarray, kind: Kind, choice: Choice, seed: int) -> np.ndarray:
    """Hits [n] of a gold model on one kind of features, its ridge as cross-validation has it for that kind."""
    ridge = min((loss, r) for (k, r), loss in choice.losses.items() if k == kind)[1]
    x, fold, out = pilot.features[kind], folds(groups, FOLDS, seed), np.zeros(len(pilot.right))
    for f in range(FOLDS):
        held = fold == f
        if held.any() and not held.all():
            out[held] = x[held] @ bradley_terry(x[~held], pilot.right[~held].astype(float), ridge)
    return hits(out, pilot.right)


def _curve(
    sizes: list[int], found: np.ndarray, groups: np.ndarray, draws: np.ndarray, n: int, pool: int
) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Measured sizes with intervals, then sizes by the power law; and accuracies at the pool's size by redraw [draws],
    believed no further than FARTHEST times the gold."""
    asked = [s for s in ASKED if sizes[-1] < s <= FARTHEST * n] + ([n] if n > sizes[-1] and n not in ASKED else [])
    asked = sorted(asked)
    reach = float(min(pool, FARTHEST * n))
    at, s = np.array([*asked, reach], float), np.array(sizes, float)
    redrawn = 1 - (draws @ found.T) / draws.sum(1, keepdims=True)
    fitted = 1 - np.stack([power_law(s, e, at) for e in redrawn])
    centre = 1 - power_law(s, 1 - found.mean(1), at)
    rows = [{"pairs": size, "accuracy": share(found[i], groups), "extrapolated": False} for i, size in enumerate(sizes)]
    for j, size in enumerate(asked):
        low, high = np.quantile(fitted[:, j], [0.025, 0.975])
        e = Estimate(float(centre[j]), float(min(low, centre[j])), float(max(high, centre[j])))
        rows.append({"pairs": size, "accuracy": e, "extrapolated": True})
    return rows, fitted[:, -1]


def _ceiling(pilot: Pilot) -> dict[str, Any]:
    """How often two people say the same of a pair, and what that makes one person's accuracy if people err alike."""
    k = pilot.votes.sum(axis=1)
    several = k > 1
    if several.sum() < LEAST_CELL:
        return {"pairs": 0, "agreement": NOTHING, "one_person": None}
    v = pilot.votes[several]
    same = (v * (v - 1)).sum(1) / (k[several] * (k[several] - 1))
    agreement = share(same, pilot.clusters[several])
    one = (1 + math.sqrt(max(0.0, 2 * (agreement.value or 0.5) - 1))) / 2
    return {"pairs": int(several.sum()), "agreement": agreement, "one_person": one}


def _rule(
    right: np.ndarray, kept: np.ndarray, flipped: np.ndarray, gold: np.ndarray, g: float, draws: np.ndarray
) -> dict[str, Any]:
    """What the paper's rule would do to the pilot, by two models that never saw a pair's group, and how sure that is."""
    a = float(right.mean())
    sides: dict[str, Any] = {}
    for side, chosen, hit, formula in (
        ("keep", kept, right, keep_precision(a, g)), ("flip", flipped, ~right, flip_precision(a, g)),
    ):  # fmt: skip
        k, n = int((chosen & hit).sum()), int(chosen.sum())
        sides[side] = {
            "share": float(chosen.mean()),
            "formula": formula,
            "counted": wilson(k, n),
            "pairs": n,
            "predicted": _beta(k + PRIOR * formula, n - k + PRIOR * (1 - formula)),
        }

    def mean(x: np.ndarray) -> np.ndarray:
        return draws @ x / np.maximum(draws.sum(1), 1)

    f_right = (mean(flipped & ~right) + PRIOR / len(right) * sides["flip"]["formula"]) / (
        mean(flipped) + PRIOR / len(right)
    )
    k_right = mean(kept & right) / np.maximum(mean(kept), 1e-9)
    base = mean(right)
    signed = np.sign(2 * k_right - 1) * (2 * k_right - 1) ** 2 * mean(kept)
    as_came = np.sign(2 * base - 1) * (2 * base - 1) ** 2
    # where the gold model alone disagrees with a label: is it right more often than the label?
    disputed = gold < 0
    keep_value, all_value = (
        information(sides["keep"]["share"], sides["keep"]["counted"].value or 0.5),
        information(1, a),
    )
    return sides | {
        "net": float((flipped & ~right).mean() - (flipped & right).mean()),
        "gold_over_labels": wilson(int((disputed & ~right).sum()), int(disputed.sum())),
        "information": {"as it came": all_value, "kept": keep_value},
        "sure": {
            "flips mostly right": float((f_right > 0.5).mean()),
            "keeping teaches more": float((signed > as_came).mean()),
        },
    }


def _beta(a: float, b: float) -> Estimate:
    from scipy.stats import beta

    return Estimate(a / (a + b), *(float(q) for q in beta.ppf([0.025, 0.975], a, b)))


def _headroom(
    oracle: np.ndarray, original: np.ndarray, label: np.ndarray, at_pool: np.ndarray, draws: np.ndarray
) -> dict[str, Any]:
    """People's labels against the original ones: trained on the same few pairs, and at the pool's size, where the model
    of the labels is measured and the other one extrapolated."""

    def estimate(values: np.ndarray, centre: float) -> Estimate:
        low, high = np.quantile(values, [0.025, 0.975])
        return Estimate(centre, float(min(low, centre)), float(max(high, centre)))

    total = draws.sum(1)
    few = draws @ (oracle - original) / total
    whole = at_pool - draws @ label / total
    return {
        "same_pairs": estimate(few, float((oracle - original).mean())),
        "at_pool_size": estimate(whole, float(np.median(whole))),
        "sure": float((whole > 0).mean()),
    }


def _needed(
    rule: dict[str, Any], a: Estimate, curve: list[dict[str, Any]], n: int, independent: float
) -> dict[str, Any]:
    """Labels still needed, and what the labels at hand can show."""
    bar, value = keep_break_even(a.value or 0.5), rule["flip"]["predicted"].value
    reach = [c["pairs"] for c in curve if (c["accuracy"].value or 0) >= bar]
    over = [c["pairs"] for c in curve if (c["accuracy"].value or 0) > (a.value or 0.5)]
    return {
        "keep_break_even": bar,
        "flip_break_even": a.value,
        "gold_for_keeping": min(reach) if reach else None,
        "gold_for_flipping": min(over) if over else None,
        "flip_audit": audit_needed(value),
        "gold_for_5_points": math.ceil(0.25 * (Z95 / 0.05) ** 2 * n / independent),
        "detectable": detectable(independent),
    }


def needs(n: dict[str, Any]) -> str:
    """Labels still needed, in words."""
    said = []
    for key, what in (("gold_for_keeping", "keeping"), ("gold_for_flipping", "flipping")):
        said.append(
            f"about {n[key]:,} gold pairs reach that for {what}" if n[key] else f"no amount of gold in sight for {what}"
        )
    if n["flip_audit"]:
        said.append(f"a look at {n['flip_audit']} would-be flips would prove them")
    return "; ".join(said).capitalize() + "."


def decide(
    a: Estimate,
    accuracy: dict[str, Estimate],
    rule: dict[str, Any],
    headroom: dict[str, Any],
    curve: list[dict[str, Any]],
    ceiling: dict[str, Any],
    found: dict[str, Any],
    n: int,
) -> tuple[Verdict, str, list[str]]:
    """The verdict, what to get first where it is no, and the reasons in words."""
    g = accuracy["gold model"]
    sure, flip, keep = rule["sure"], rule["flip"], rule["keep"]
    why = [
        f"The original labels are right in {_p(a)}, a model trained on your {n} gold pairs in {_p(g)}.",
        f"Flips by the paper's rule would be right in about {_p(flip['predicted'])}; labels it keeps in"
        f" {_p(keep['predicted'])}.",
    ]
    contradictions = [(by, *pair) for by, c in found.items() for pair in c["against"]]
    for by, trained, tested in contradictions[:3]:
        why.append(f"Gold of the {by} {trained!r} teaches the opposite of {tested!r}: they want models of their own.")
    if a.high is not None and a.high <= 0.5:
        why.append("The labels are wrong more often than right: check that chosen and rejected are not exchanged.")
        return "do not curate", "better labels", why
    if a.low is not None and a.low <= 0.5:
        why.append(
            "The labels cannot be told from coin tosses: whatever is kept or flipped is the gold model's opinion, not theirs."
        )
    if g.low is not None and g.low <= 0.5:
        why.append("The gold model cannot be told from coin tosses: it cannot judge labels.")
        return "do not curate", _remedy(curve, a, g, n, bool(contradictions)), why
    if sure["keeping teaches more"] < SURE:
        why.append(
            f"What it would keep teaches more than the pool as it came with a chance of {sure['keeping teaches more']:.0%}:"
            f" worth {rule['information']['kept']:.2f} of the pool in perfect labels, against"
            f" {rule['information']['as it came']:.2f}. That is not enough to pay for."
        )
        return "do not curate", _remedy(curve, a, g, n, bool(contradictions)), why
    if headroom["sure"] < 1 - SURE:
        why.append(
            "A model trained on the labels as they came already does as well as one trained on people's labels would:"
            " there is nothing to gain."
        )
        return "do not curate", "nothing: train on the pool as it came", why
    if sure["flips mostly right"] >= SURE:
        why.append("Flips are more often right than wrong. People should look at a sample of them first (flip_audit).")
        return "curate and flip", "", why
    why.append("Whether flips would be right more often than wrong is not known: drop what the models reject.")
    return "filter only", "", why


def _remedy(curve: list[dict[str, Any]], a: Estimate, g: Estimate, n: int, contradicts: bool) -> str:
    """What would have to be better for curation to pay."""
    bar = keep_break_even(a.value or 0.5)
    if contradicts:
        return "gold that agrees with itself: curate what contradicts apart, or leave it out"
    if (g.value or 0.5) >= bar:
        return f"more gold, to be sure: about {2 * n} pairs in all"
    later = [c["pairs"] for c in curve if c["extrapolated"] and c["pairs"] > n and (c["accuracy"].value or 0) >= bar]
    if later:
        return f"more gold: about {later[0]} pairs in all"
    return "a stronger reward model, or a judge that is right more often than the labels"


def _p(e: Estimate) -> str:
    if e.value is None:
        return "?"
    return f"{e.value:.0%}" + (" ({:.0%} to {:.0%})".format(*e.interval) if e.interval else "")
