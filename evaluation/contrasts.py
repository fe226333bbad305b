"""Is one training set better than another? Differences over items, replicates and benchmarks, and when they are a claim.

Values are paired: all arms answer the same items, resampled alike, and the replicates of all arms share their seeds and
their draws of the data (spec 6.10, O-28).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from curation.intervals import NOTHING, Estimate
from evaluation.compare import holm, paired_t
from evaluation.presets import Contrast

LEAST_REPLICATES = 3  # before a difference is called a finding
LEVEL = 0.05
POWER = 0.8
SPREAD_BEFORE = 0.006  # of the scores of models of subsets that are to be labelled in different ways (spec 8.06)
ALIKE = 0.05  # relative difference, or distance of histograms, within which two sets are alike (spec O-18)
ASSUMED_DISAGREEMENT = 0.15  # share of items that two models decide otherwise, before anything is known


@dataclass(frozen=True)
class Spread:
    """One contrast on one evaluation; see the table `experiment_contrasts`."""

    estimate: Estimate
    p: float | None
    items: Estimate
    seeds: Estimate
    seeds_p: float | None
    detectable: float | None


UNMEASURED = Spread(NOTHING, None, NOTHING, NOTHING, None, None)


def measured(draws: np.ndarray, n: int, questions: int = 1) -> Spread:
    """A contrast from its bootstrap.

    The variance over items and that over replicates are added; the degrees of freedom are Satterthwaite's. One replicate
    has no variance of its own, and then the interval says nothing of a training's luck.

    Args:
        draws: [replicates, 1 + resamples]; the first column is the contrast on all items.
        n: items.
        questions: among which the level is shared.
    """
    mean = draws.mean(0)
    value, replicates = float(mean[0]), len(draws)
    over_items = float(np.nanvar(mean[1:], ddof=1))
    low, high = (float(q) for q in np.nanquantile(mean[1:], [0.025, 0.975]))
    spread = float(draws[:, 0].var(ddof=1)) / replicates if replicates > 1 else 0.0
    if spread < 1e-18:
        spread = 0.0
    seeds, seeds_p = NOTHING, None
    if spread:
        half = _t_quantile(0.975, replicates - 1) * math.sqrt(spread)
        seeds = Estimate(value, value - half, value + half)
        _, seeds_p = paired_t(draws[:, 0].tolist(), [0.0] * replicates)
    total = over_items + spread
    items = Estimate(value, low, high)
    if not total:
        return Spread(Estimate(value, value, value), 1.0 if value == 0 else 0.0, items, seeds, seeds_p, None)
    freedom = total**2 / (over_items**2 / max(1, n - 1) + (spread**2 / (replicates - 1) if spread else 0.0))
    error = math.sqrt(total)
    reach = _t_quantile(0.975, freedom) * error
    p = _two_sided(value / error, freedom)
    return Spread(
        Estimate(value, value - reach, value + reach), p, items, seeds, seeds_p, smallest(error, freedom, questions)
    )  # fmt: skip


def _t_quantile(share: float, freedom: float) -> float:
    """Below which value of Student's t this share lies."""
    from scipy.stats import t

    return float(t.ppf(share, freedom))


def _two_sided(value: float, freedom: float) -> float:
    from scipy.stats import t

    return float(2 * t.sf(abs(value), freedom))


def smallest(error: float, freedom: float = math.inf, questions: int = 1) -> float:
    """The smallest difference that is seen with a chance of 80 %, at a level of 5 % shared by so many questions."""
    level = LEVEL / max(1, questions)
    return (_t_quantile(1 - level / 2, freedom) + _t_quantile(POWER, freedom)) * error


def asked(contrasts: Sequence[Contrast], evaluations: int) -> int:
    """How many questions an experiment puts: every contrast but crossings on every evaluation, and on their mean."""
    return sum(c.kind != "crossing" for c in contrasts) * (evaluations + (evaluations > 1))


def foreseen(
    items: int, replicates: int, disagreement: float = ASSUMED_DISAGREEMENT, luck: float = 0.0, questions: int = 1
) -> float:
    """The smallest difference that a design can show, before any money is spent.

    Args:
        items: that all models answer.
        replicates: trainings of each arm.
        disagreement: share of items that two models decide otherwise.
        luck: standard deviation of a difference between two trainings with equal seeds, over seeds.
        questions: contrasts times evaluations, among which the level is shared.

    >>> round(foreseen(288, 3, disagreement=0.06), 3)
    0.04
    """
    over_items, over_seeds = disagreement / items, luck**2 / replicates
    total = over_items + over_seeds
    freedom = math.inf
    if over_seeds and replicates > 1:
        freedom = total**2 / (over_items**2 / max(1, items - 1) + over_seeds**2 / (replicates - 1))
    return smallest(math.sqrt(total), freedom, questions)


def over_benchmarks(values: Sequence[float]) -> float | None:
    """p of a paired t-test over benchmarks; None for fewer than two."""
    return paired_t(list(values), [0.0] * len(values))[1] if len(values) > 1 else None


@dataclass(frozen=True)
class SetFacts:
    """What decides whether two training sets can be compared.

    Attributes:
        pairs: how many.
        recipe: hash of backbone and hyperparameters.
        sources: shares of the sources.
    """

    pairs: int
    recipe: str
    sources: Mapping[str, float]


def confounds(a: SetFacts, b: SetFacts, named: frozenset[str], gain: float, recipes_may_differ: bool) -> list[str]:
    """What else could make the difference, a sentence each. The larger set may win by its size alone; where the smaller one
    wins, size is no excuse. The same holds for a source that one of them alone has: it explains nothing where that one
    loses."""
    found = []
    if a.recipe != b.recipe and not recipes_may_differ:
        found.append("the recipes differ")
    more, less = (a, b) if gain > 0 else (b, a)
    if "size" not in named and more.pairs > less.pairs * (1 + ALIKE):
        found.append(f"the better one has {more.pairs:,} pairs, the other {less.pairs:,}")
    if "sources" not in named and (alone := sorted(s for s in more.sources if not less.sources.get(s))):
        found.append(f"only the better one has pairs of {', '.join(alone)}")
    return found


def verdict(one: Spread, p_holm: float | None, replicates: int, confounded: Sequence[str]) -> tuple[str, str]:
    """(verdict, why) of a contrast: a finding needs three replicates, nothing else that could explain it, and a p that
    stands after the correction."""
    if one.estimate.value is None or p_holm is None:
        return "not measured", "an arm has no model"
    if replicates < LEAST_REPLICATES:
        return "too few seeds", f"a finding needs {LEAST_REPLICATES} trainings of each arm, there are {replicates}"
    if p_holm >= LEVEL:
        seen = f"; a difference under {100 * one.detectable:.1f} points would not be seen" if one.detectable else ""
        return "not told apart", f"p {p_holm:.2g} after the correction{seen}"
    if confounded:
        return "confounded", "; ".join(confounded)
    return ("better" if one.estimate.value > 0 else "worse"), ""


def corrected(p_values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Holm over what was measured."""
    known = holm({k: p for k, p in p_values.items() if p is not None})
    return {k: known.get(k) for k in p_values}


MEAN = "mean"  # over evaluations
UNMEASURED_ROW = (
    "value", "low", "high", "p", "p_holm", "items_low", "items_high", "seeds_low", "seeds_high", "seeds_p", "benchmarks_p",
    "detectable",
)  # fmt: skip
Draws = Mapping[tuple[str, int, str], np.ndarray]  # (arm, replicate, evaluation) -> [1 + resamples]


def grouped_draws(values: np.ndarray, groups: Sequence, *, seed: int, resamples: int) -> np.ndarray:
    """[1 + resamples] the mean of items' values, then of items drawn by whole groups, such as conversations.

    Args:
        values: [n]
        groups: [n]; with equal groups and seeds all models are resampled alike.
    """
    _, which = np.unique(np.asarray(groups), return_inverse=True)
    number = int(which.max()) + 1
    sums, sizes = np.bincount(which, values, number), np.bincount(which, minlength=number)
    rng = np.random.default_rng(seed)
    found = [values.mean()]
    for _ in range(resamples):
        times = np.bincount(rng.integers(0, number, number), minlength=number)
        found.append(times @ sums / (times @ sizes))
    return np.array(found)


def rows(
    experiment: str,
    contrasts: Sequence[Contrast],
    draws: Draws,
    items: Mapping[str, int],
    facts: Mapping[str, SetFacts],
    recipes_may_differ: bool = False,
    doubt: str = "",
) -> list[dict]:
    """Rows of the table `experiment_contrasts`.

    Args:
        items: evaluation -> independent items.
        facts: of the arms that have models.
        doubt: what else could explain every difference; '' where nothing is known.
    """
    made, found = [], {}
    for c in (c for c in contrasts if c.kind == "crossing"):
        made += [_crossing_row(experiment, c, e, draws, n, facts) for e, n in items.items()]
    tested = len(made)
    questions = asked(contrasts, len(items))
    for c in (c for c in contrasts if c.kind != "crossing"):
        sums = _replicates(c, draws, items)
        by_evaluation = {e: measured(d, items[e], questions) if len(d) else UNMEASURED for e, d in sums.items()}
        values = [m.estimate.value for m in by_evaluation.values() if m.estimate.value is not None]
        several = len(items) > 1 and len(values) == len(items)
        if several:
            least = min(len(d) for d in sums.values())
            together = np.mean([d[:least] for d in sums.values()], axis=0)
            by_evaluation[MEAN] = measured(together, min(items.values()), questions)
        for e, m in by_evaluation.items():
            n = sum(items.values()) if e == MEAN else items[e]
            replicates = min((len(d) for d in sums.values()), default=0) if e == MEAN else len(sums[e])
            found[c.name, e] = m, c
            made.append({
                "experiment": experiment, "contrast": c.name, "evaluation": e, **m.estimate._asdict(), "p": m.p,
                "items_low": m.items.low, "items_high": m.items.high, "seeds_low": m.seeds.low,
                "seeds_high": m.seeds.high, "seeds_p": m.seeds_p,
                "benchmarks_p": over_benchmarks(values) if several else None, "replicates": replicates, "n": n,
                "detectable": m.detectable,
            })  # fmt: skip
    holm_p = corrected({f"{r['contrast']}|{r['evaluation']}": r["p"] for r in made[tested:]})
    for r in made[tested:]:
        m, c = found[r["contrast"], r["evaluation"]]
        p = r["p_holm"] = holm_p[f"{r['contrast']}|{r['evaluation']}"]
        doubts = [doubt] if doubt else []
        if c.pair and m.estimate.value is not None:
            a, b = (facts[arm] for arm in c.pair)
            doubts += confounds(a, b, c.named, m.estimate.value, recipes_may_differ)
        r["verdict"], r["why"] = verdict(m, p, r["replicates"], doubts)
    return made


def _crossing_row(experiment: str, c: Contrast, e: str, draws: Draws, n: int, facts: Mapping[str, SetFacts]) -> dict:
    """The row of a crossing: its value and interval are pairs."""
    row: dict = dict.fromkeys(UNMEASURED_ROW)
    target, *along = c.weights
    along.sort(key=lambda arm: facts[arm].pairs)
    of = {arm: {r for a, r, name in draws if a == arm and name == e} for arm in c.weights}
    shared = sorted(set.intersection(*of.values()))
    row |= {"experiment": experiment, "contrast": c.name, "evaluation": e, "replicates": len(shared), "n": n}
    if not shared:
        return row | {"verdict": "not measured", "why": "an arm has no model"}
    pairs = [facts[arm].pairs for arm in along]
    curves = np.array([[draws[arm, r, e] for arm in along] for r in shared])  # [replicates, arms, 1 + resamples]
    aims = np.array([draws[target, r, e] for r in shared])
    [value] = crossings(pairs, curves[:, :, :1].mean(0), aims[:, :1].mean(0))
    spread = np.concatenate(
        [crossings(pairs, curve, aim) for curve, aim in zip(curves[:, :, 1:], aims[:, 1:], strict=True)]
    )
    low, high = np.quantile(spread, [0.025, 0.975], method="nearest")
    row |= {x: float(v) if np.isfinite(v) else None for x, v in (("value", value), ("low", low), ("high", high))}
    why = f"of {facts[target].pairs:,} pairs of {target}"
    if low <= min(pairs):
        why += f"; {min(pairs):,} is the smallest set that was tried"
    if not np.isfinite(high):
        why += f"; {np.isfinite(spread).mean():.0%} of the resamples reach it within {max(pairs):,} pairs"
    return row | {"verdict": "reached" if np.isfinite(value) else "not reached", "why": why}


def crossings(pairs: Sequence[int], curves: np.ndarray, aims: np.ndarray) -> np.ndarray:
    """[d] at how many pairs each curve first passes its aim, between its points along the logarithm of pairs; the first
    point's where it begins above it, infinity where it never does.

    Args:
        pairs: [k] sizes, rising.
        curves: [k, d] scores.
        aims: [d].
    """
    x = np.log(np.asarray(pairs, float))
    above = curves >= aims
    first = np.where(above.any(0), above.argmax(0), len(x))
    found = np.full(curves.shape[1], np.inf)
    found[first == 0] = pairs[0]
    at = np.flatnonzero((first > 0) & (first < len(x)))
    i = first[at]
    low, high = curves[i - 1, at], curves[i, at]
    found[at] = np.exp(x[i - 1] + (aims[at] - low) / (high - low) * (x[i] - x[i - 1]))
    return found


def arm_score(values: Sequence[float], halves: Sequence[float]) -> Estimate:
    """The mean score of an arm's replicates; its interval holds the items' spread and the replicates'.

    Args:
        halves: half the width of each replicate's interval over items.
    """
    n, mean = len(values), float(np.mean(values))
    luck = _t_quantile(0.975, n - 1) * float(np.std(values, ddof=1)) / math.sqrt(n) if n > 1 else 0.0
    reach = math.hypot(float(np.mean(halves)), luck)
    return Estimate(mean, max(0.0, mean - reach), min(1.0, mean + reach))


def _replicates(c: Contrast, draws: Draws, items: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Evaluation -> [replicates that all arms have, 1 + resamples] of the contrast; no replicate where an arm has none."""
    found = {}
    for e in items:
        shared = set.intersection(*({r for a, r, of in draws if a == arm and of == e} for arm in c.weights))
        sums = [sum(w * draws[arm, r, e] for arm, w in c.weights.items()) for r in sorted(shared)]
        found[e] = np.array(sums) if sums else np.zeros((0, 1))
    return found


def unlike_before(draws: Draws, arms: Sequence[str], evaluations: Sequence[str]) -> str:
    """Why sets that had to be alike before anything was done to them are not: their models' scores, on the mean over
    trainings and evaluations, lie further apart than `SPREAD_BEFORE`; '' where they do not (spec 8.06)."""
    scores = {}
    for arm in arms:
        found = [[d[0] for (a, _, of), d in draws.items() if (a, of) == (arm, e)] for e in evaluations]
        if not all(found):
            return f"whether the sets were alike before is not known: {arm} has no model"
        scores[arm] = float(np.mean([np.mean(f) for f in found]))
    spread = max(scores.values()) - min(scores.values())
    if spread <= SPREAD_BEFORE:
        return ""
    return f"before anybody labelled them the sets differed by {100 * spread:.1f} points, where {100 * SPREAD_BEFORE:g} are allowed"


# ---- are two sets alike? ---------------------------------------------------------------------------------------------
Profile = Mapping[str, Mapping[str, float]]  # statistic -> item -> value
HISTOGRAMS = {
    "source": "variation", "topic": "variation", "length": "kolmogorov", "margin_size": "kolmogorov", "longer": "kolmogorov",
}  # fmt: skip
STRATA = dict.fromkeys(("category", "objectivity", "controversiality"), "variation")
OF_THE_LABELS = ("longer", "longer_mean", "longer_sd", "margin_mean", "margin_sd")  # which sets are not to be alike in


def balance(
    experiment: str, c: Contrast, facts: Mapping[str, int], profiles: Mapping[str, Profile], strata: bool = False
) -> list[dict]:
    """Rows of the table `experiment_balance` of a difference.

    Args:
        facts: arm -> pairs.
        profiles: arm -> its rows of `experiment_profiles`.
        strata: also category, objectivity and controversiality, which only some pairs of most sets have.
    """
    if c.pair is None or not all(facts.get(arm) and arm in profiles for arm in c.pair):
        return []
    a, b = c.pair
    one, other = profiles[a], profiles[b]
    numbers = {"size": (float(facts[a]), float(facts[b]))}
    numbers |= {
        s: (one[s][""], other[s][""])
        for s in sorted(one)
        if s not in HISTOGRAMS | STRATA and "" in one[s] and "" in other.get(s, {})
    }
    made: list[tuple[str, float | None, float | None, float]] = [
        (s, x, y, relative(x, y)) for s, (x, y) in numbers.items()
    ]
    for s, way in (HISTOGRAMS | (STRATA if strata else {})).items():
        if one.get(s) and other.get(s):
            gap = variation(one[s], other[s]) if way == "variation" else kolmogorov(one[s], other[s])
            made.append((s, None, None, gap))
    return [
        {"experiment": experiment, "contrast": c.name, "statistic": s, "of_a": x, "of_b": y, "distance": d,
         "alike": None if s in OF_THE_LABELS else d <= ALIKE}
        for s, x, y, d in made
    ]  # fmt: skip


def variation(a: Mapping[str, float], b: Mapping[str, float]) -> float:
    """Total variation distance of two histograms: half the sum of differences, 0 to 1."""
    return sum(abs(a.get(k, 0.0) - b.get(k, 0.0)) for k in {*a, *b}) / 2


def kolmogorov(a: Mapping[str, float], b: Mapping[str, float]) -> float:
    """Largest distance of two cumulative histograms whose bins sort by name."""
    bins = sorted({*a, *b})
    gap = np.cumsum([a.get(k, 0.0) - b.get(k, 0.0) for k in bins])
    return float(np.abs(gap).max()) if bins else 0.0


def relative(a: float, b: float) -> float:
    """How far a is from b, as a share of b's size; of two zeros 0."""
    return 0.0 if a == b else abs(a - b) / max(abs(b), 1e-12)
