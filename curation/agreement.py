"""How far people agree, with each other and with what is known, and what each of them does."""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from curation.intervals import NOTHING, Estimate, wilson

ALPHABET = ("original", "swapped", "undecided")
LEAST_EQUAL = 20  # labels with a hint, after which somebody who always says what it says is named


class Said(NamedTuple):
    """One person's verdict on one pair, mapped back to the original order.

    Attributes:
        pair: of the pair.
        annotator: who.
        verdict: original, swapped or undecided.
        strata: names of the groups that the pair is of.
        seconds: time spent, None where unknown.
        hint: original or swapped, which a pre-verification spoke for; '' for none.
        started: when the pair was opened, ISO 8601; '' where unknown.
    """

    pair: str
    annotator: str
    verdict: str
    strata: tuple[str, ...] = ()
    seconds: float | None = None
    hint: str = ""
    started: str = ""


class Agreement(NamedTuple):
    """Agreement of several people in one stratum.

    Attributes:
        stratum: its name; `all` for every pair.
        alpha: Krippendorff's, nominal; undecided is a verdict like the others.
        decided: the same of decided verdicts alone.
        equal: share of equal verdicts among all pairs of people on one pair.
        pairs: pairs that at least two labelled.
        labels: of those pairs.
        people: who gave them.
    """

    stratum: str
    alpha: Estimate
    decided: Estimate
    equal: Estimate
    pairs: int
    labels: int
    people: int


def agreement(said: Iterable[Said], resamples: int = 1000, seed: int = 0) -> list[Agreement]:
    """Agreement over all pairs and by stratum, with 95 % intervals from resampled pairs.

    One verdict a person and pair counts, the last.
    """
    last = {(s.pair, s.annotator): s for s in said}
    strata: dict[str, list[Said]] = defaultdict(list)
    for one in last.values():
        for name in ("all", *one.strata):
            strata[name].append(one)
    return [_agreement(name, strata[name], resamples, seed) for name in sorted(strata, key=lambda n: (n != "all", n))]


def _agreement(name: str, said: Sequence[Said], resamples: int, seed: int) -> Agreement:
    counts, people = _counts(said)
    several = counts[counts.sum(1) > 1]
    decided = several[:, :2]
    return Agreement(
        name,
        krippendorff_alpha(several, resamples, seed),
        krippendorff_alpha(decided[decided.sum(1) > 1], resamples, seed),
        _bootstrapped(several, _equal, resamples, seed),
        len(several),
        int(several.sum()),
        people,
    )


def _counts(said: Sequence[Said]) -> tuple[np.ndarray, int]:
    """int, shape (pairs, 3): how often each verdict was given; and how many people gave them on pairs of several."""
    by_pair: dict[str, Counter[str]] = defaultdict(Counter)
    for one in said:
        by_pair[one.pair][one.verdict] += 1
    counts = np.array([[c[v] for v in ALPHABET] for _, c in sorted(by_pair.items())], int).reshape(-1, 3)
    return counts, len({s.annotator for s in said if by_pair[s.pair].total() > 1})


def krippendorff_alpha(counts: np.ndarray, resamples: int = 1000, seed: int = 0) -> Estimate:
    """Nominal alpha with the interval of 95 % from resampled units.

    Args:
        counts: int, shape (units, values): how many raters gave each value to each unit; units with one are left out.
        resamples: 0 for no interval.
        seed: of the draws.

    Returns:
        NOTHING where no unit has two ratings, or all ratings are equal: then alpha is not defined.
    """
    return _bootstrapped(counts[counts.sum(1) > 1], _alpha, resamples, seed)


def _alpha(counts: np.ndarray) -> float:
    import krippendorff

    used = counts[:, counts.any(0)]
    if len(used) == 0 or used.shape[1] < 2:
        return float("nan")
    return float(krippendorff.alpha(value_counts=used, level_of_measurement="nominal"))


def _equal(counts: np.ndarray) -> float:
    """Equal verdicts among all pairs of verdicts on one unit."""
    n = counts.sum(1)
    pairs = (n * (n - 1)).sum()
    return float((counts * (counts - 1)).sum() / pairs) if pairs else float("nan")


def _bootstrapped(counts: np.ndarray, figure, resamples: int, seed: int) -> Estimate:
    value = figure(counts)
    if np.isnan(value):
        return NOTHING
    if not resamples or len(counts) < 2:
        return Estimate(value, None, None)
    # equal rows are drawn together: there are few kinds of them, and many pairs
    kinds, times = np.unique(counts, axis=0, return_counts=True)
    draws = np.random.default_rng(seed).multinomial(len(counts), times / len(counts), resamples)
    found = np.array([_weighted(kinds, d, figure) for d in draws])
    found = found[~np.isnan(found)]
    if not len(found):
        return Estimate(value, None, None)
    low, high = np.percentile(found, [2.5, 97.5])
    return Estimate(value, float(low), float(high))


def _weighted(kinds: np.ndarray, times: np.ndarray, figure) -> float:
    """The figure of so many rows of each kind, by its own formula, since the sums over rows are sums over kinds."""
    n = kinds.sum(1)
    if figure is _equal:
        pairs = (times * n * (n - 1)).sum()
        return float((times * (kinds * (kinds - 1)).sum(1)).sum() / pairs) if pairs else float("nan")
    total = (times * n).sum()
    marginal = (times[:, None] * kinds).sum(0)
    expected = total * (total - 1) - (marginal * (marginal - 1)).sum()
    if not expected:
        return float("nan")
    observed = (times * (n * n - (kinds * kinds).sum(1)) / np.maximum(n - 1, 1)).sum()
    return float(1 - observed * (total - 1) / expected)


# ---- each of them ----------------------------------------------------------------------------------------------------
class Annotator(NamedTuple):
    """What one person did.

    Attributes:
        annotator: who.
        labels: how many.
        share: of all labels.
        median_seconds: time a label; None where no time is known.
        per_hour: labels an hour of work, by the times.
        too_fast, too_slow: labels outside the usual duration.
        undecided: share of labels without a decision.
        with_others: agreement with each other person on the same pair.
        with_known: planted pairs answered as known.
        with_hint: labels equal to what a hint spoke for.
        notes: what somebody should look at.
    """

    annotator: str
    labels: int
    share: float
    median_seconds: float | None
    per_hour: float | None
    too_fast: int
    too_slow: int
    undecided: Estimate
    with_others: Estimate
    with_known: Estimate
    with_hint: Estimate
    notes: tuple[str, ...]


def annotators(
    said: Iterable[Said], known: Mapping[str, str] | None = None, usual: tuple[float, float] = (10.0, 300.0)
) -> list[Annotator]:
    """A report a person, by name.

    Args:
        said: all labels, those of planted pairs included.
        known: pair -> original or swapped, of planted pairs.
        usual: seconds of a label that surprises nobody (spec 2.10).
    """
    known = known or {}
    last = {(s.pair, s.annotator): s for s in said}
    of: dict[str, list[Said]] = defaultdict(list)
    for one in last.values():
        of[one.annotator].append(one)
    met: dict[str, list[bool]] = defaultdict(list)
    by_pair: dict[str, list[Said]] = defaultdict(list)
    for one in last.values():
        by_pair[one.pair].append(one)
    for several in by_pair.values():
        for a, b in itertools.combinations(several, 2):
            for who in (a.annotator, b.annotator):
                met[who].append(a.verdict == b.verdict)
    return [_annotator(who, of[who], len(last), met[who], known, usual) for who in sorted(of)]


def _annotator(
    who: str, mine: list[Said], every: int, met: list[bool], known: Mapping[str, str], usual: tuple[float, float]
) -> Annotator:
    seconds = [s.seconds for s in mine if s.seconds is not None]
    fast, slow = sum(t < usual[0] for t in seconds), sum(t > usual[1] for t in seconds)
    planted = [s.verdict == known[s.pair] for s in mine if s.pair in known]
    hinted = [s.verdict == s.hint for s in mine if s.hint]
    notes = []
    if fast or slow:
        notes.append(f"{fast + slow} labels outside {usual[0]:g} to {usual[1]:g} s")
    if len(hinted) >= LEAST_EQUAL and all(hinted):
        notes.append(f"equal to the hint in all of {len(hinted)} labels")
    right = wilson(sum(planted), len(planted))
    if right.high is not None and right.high < 0.75:
        notes.append(f"{sum(planted)} of {len(planted)} known pairs right")
    return Annotator(
        who,
        len(mine),
        len(mine) / every,
        float(np.median(seconds)) if seconds else None,
        3600 * len(seconds) / sum(seconds) if seconds and sum(seconds) else None,
        fast,
        slow,
        wilson(sum(s.verdict == "undecided" for s in mine), len(mine)),
        wilson(sum(met), len(met)),
        right,
        wilson(sum(hinted), len(hinted)),
        tuple(notes),
    )


def overruled(said: Iterable[Said]) -> Estimate:
    """Share of decided labels, among those that were shown a hint for one side, that say the other (spec 2.06)."""
    shown = [s for s in said if s.hint and s.verdict != "undecided"]
    return wilson(sum(s.verdict != s.hint for s in shown), len(shown))
