"""What stage 2 may do, as far as people's labels show it: whether flips are allowed at all, whom an audit asks, whether
the best model of the labels is heard, and how much gold decisions need.

A flip changes a label that somebody made. Where the models are right less often than that somebody, flips do harm, and
nothing in the models' scores tells. People look at a random draw of the would-be flips first. Flips happen only if the
exact lower bound of the share that is right lies above one half; otherwise every one is dropped (`flip_unproven`).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from curation.decision_rule import STRATA, Guards, Policy, SeenFlips
from curation.identity import digest

UNPROVEN = "flip_unproven"  # reasons of a drop
KEEP_UNPROVEN = "keep_unproven"
LITTLE_GOLD = "too_little_gold"
HEAR_GOLD: tuple[Policy, ...] = ("symmetric", "flip_all", "direct_retain", "both")  # both models, the best may object
LEVEL = 0.1  # one-sided: how often flips that are right in half or less may be let through
LEAST_GOLD = 50  # people's labels below which reward models decide nothing


def lower_bound(right: int, n: int, level: float = LEVEL) -> float:
    """Clopper and Pearson's exact lower bound of a share: the true one lies below it at most in `level` of all draws.

    Raises:
        ValueError: `right` is not between 0 and n, or `level` not between 0 and 1.

    >>> round(lower_bound(25, 40), 3), round(lower_bound(24, 40), 3), lower_bound(0, 0)
    (0.511, 0.486, 0.0)
    """
    if not 0 <= right <= n or not 0 < level < 1:
        raise ValueError(f"{right} right of {n} at level {level}")
    if right == 0:
        return 0.0
    from scipy.stats import beta

    return float(beta.ppf(level, right, n - right + 1))


def least_right(n: int, level: float = LEVEL) -> int | None:
    """Fewest right ones of n looked at that allow flips; None where even n of n do not.

    >>> least_right(40), least_right(20), least_right(3)
    (25, 14, None)
    """
    return next((k for k in range(n + 1) if lower_bound(k, n, level) > 0.5), None)


class FlipAudit(NamedTuple):
    """What people saw in a random draw of would-be flips; these figures stand in the rule file, the report and the
    release card.

    Attributes:
        right: flips that people confirm: the original label was wrong.
        looked: flips that people could judge.
        undecided: flips that they could not judge, which count as not confirmed.
        flips: would-be flips in all.
        level: of the bound.
    """

    right: int
    looked: int
    undecided: int
    flips: int
    level: float = LEVEL

    @property
    def bound(self) -> float:
        return lower_bound(self.right, self.looked + self.undecided, self.level)

    @property
    def allowed(self) -> bool:
        """Flips are more often right than wrong. Where people saw every one, their count decides, not a bound."""
        seen = self.looked + self.undecided
        if seen and seen >= self.flips:
            return self.right * 2 > seen
        return self.bound > 0.5

    def sentence(self) -> str:
        """For people.

        >>> FlipAudit(30, 40, 0, 500).sentence()
        'Of 500 would-be flips people looked at 40: 30 right, so at least 64.1 % are (90 % bound). Flips are allowed.'
        """
        seen = self.looked + self.undecided
        if not self.flips:
            return "Nothing would be flipped."
        if not seen:
            return f"Nobody looked at any of {self.flips:,} would-be flips. They are dropped as {UNPROVEN}."
        can = f" ({self.undecided} could not be judged)" if self.undecided else ""
        end = "Flips are allowed." if self.allowed else f"That is no proof: they are dropped as {UNPROVEN}."
        if seen >= self.flips:
            return f"People looked at all {self.flips:,} would-be flips{can}: {self.right} right. {end}"
        return (
            f"Of {self.flips:,} would-be flips people looked at {seen}{can}: {self.right} right, so at least"
            f" {self.bound:.1%} are ({1 - self.level:.0%} bound). {end}"
        ).replace("%", " %")


def flip_audit(said: Sequence[bool | None], flips: int, level: float = LEVEL) -> FlipAudit:
    """Fold people's answers on the draw: True where the label was wrong (the flip is right), False where it was right,
    None where they could not tell.

    Raises:
        ValueError: more answers than would-be flips.
    """
    if len(said) > flips:
        raise ValueError(f"{len(said)} answers about {flips} would-be flips")
    known = [s for s in said if s is not None]
    return FlipAudit(sum(known), len(known), len(said) - len(known), flips, level)


# ---- drawing ---------------------------------------------------------------------------------------------------------
class Draw(NamedTuple):
    """A pair that people are asked about, its stratum, and for how many pairs of the stratum it stands."""

    pair_id: str
    stratum: str
    weight: float


def shares(sizes: Mapping[str, int], n: int, at_least: Mapping[str, int] | None = None) -> dict[str, int]:
    """How many of n each stratum gives: as many as the others; one that is too small gives all, and the others its share.

    Args:
        sizes: stratum -> its pairs.
        at_least: stratum -> pairs that it gives before the rest is shared.

    >>> shares({"agree": 700, "split": 250, "reject": 50}, 240)
    {'agree': 95, 'reject': 50, 'split': 95}
    """
    names = [s for s in STRATA if s in sizes] + sorted(set(sizes) - set(STRATA))
    take = {s: min(sizes[s], (at_least or {}).get(s, 0)) for s in names}
    left = n - sum(take.values())
    while left > 0 and (open_ := [s for s in names if take[s] < sizes[s]]):
        least = min(take[s] for s in open_)
        for s in [s for s in open_ if take[s] == least][:left]:
            take[s] += 1
            left -= 1
    return take


def stratified(pairs: Mapping[str, str], n: int, seed: int, *, at_least: Mapping[str, int] | None = None) -> list[Draw]:
    """Draw n pairs, as many from each stratum as from the others, at random within it; a stratum that is too small gives
    all, and the others its share.

    Pairs of a stratum have equal chances, so a bound within one is as good as with a uniform draw. What is fitted over
    all of them together needs the weights.

    Args:
        pairs: pair -> stratum.
        at_least: stratum -> pairs that it gives before the rest is shared (40 of `reject` for `flip_audit`).

    Returns:
        sorted by pair.
    """
    held: dict[str, list[str]] = {}
    for pair, stratum in pairs.items():
        held.setdefault(stratum, []).append(pair)
    for members in held.values():
        members.sort(key=lambda p: (digest(("audit", str(seed), p)), p))
    take = shares({s: len(members) for s, members in held.items()}, n, at_least)
    return sorted(Draw(p, s, len(held[s]) / take[s]) for s in take for p in held[s][: take[s]])


def weights(strata: Sequence[str], sizes: Mapping[str, int]) -> np.ndarray:
    """For audited pairs [n]: how many pairs of its stratum each stands for, scaled to a mean of 1.

    Args:
        sizes: stratum -> pairs of it among those that are decided.
    """
    drawn = Counter(strata)
    w = np.array([sizes[s] / drawn[s] for s in strata], float)
    return w / w.mean() if len(w) else w


# ---- who is heard ----------------------------------------------------------------------------------------------------
def keeps_veto(best_right: np.ndarray, label_right: np.ndarray) -> bool:
    """Whether the best reward model may stop what the gold model wants. One that is right less often than the labels
    themselves, on the same people's verdicts, has learned their errors and vetoes the corrections.

    Args:
        best_right: [n], 1 where the model agrees with people, 1/2 for a tie; the model saw none of these pairs.
        label_right: [n], whether the original label agrees with them.

    Without pairs to tell by, it keeps its veto.
    """
    return not len(best_right) or float(np.mean(best_right)) >= float(np.mean(label_right))


class Guard(NamedTuple):
    """What stage 2 may do on this gold, and why not more."""

    keep: bool
    flip: bool
    reason: str


def guard(
    gold: int, model_right: float, labels_right: float, audit: FlipAudit | None = None, tested: int | None = None
) -> Guard:
    """The least that decisions need, told before they are made.

    Args:
        gold: pairs people decided.
        model_right: of the tested ones, those on which a gold model that never saw the pair's cluster agrees, ties one
            half.
        labels_right: accuracy of the original labels on people's verdicts.
        audit: what people saw of the would-be flips; None where nobody looked.
        tested: pairs on which the gold model was tested; None: all of `gold`.
    """
    from curation.worth import keep_break_even

    tested = gold if tested is None else tested

    if gold < LEAST_GOLD:
        return Guard(False, False, f"{gold} pairs of gold: reward models decide nothing below {LEAST_GOLD}")
    bar = keep_break_even(labels_right)
    bound = lower_bound(int(model_right), tested)
    if bound <= bar:
        right = f"right in {model_right / tested:.1%} (at least {bound:.1%})" if tested else "not tested"
        return Guard(
            False,
            False,
            f"the model of people's labels is {right}; with labels right in {labels_right:.1%}, keeping what it agrees"
            f" with teaches more only above {bar:.1%}".replace("%", " %"),
        )
    if audit is None:
        return Guard(True, False, "nobody looked at would-be flips")
    return Guard(True, audit.allowed, audit.sentence())


def guards_before(
    policy: Policy,
    gold: int,
    tested: int,
    model_right: float,
    labels: float,
    best: float | None,
    labels_beside_best: float | None = None,
) -> tuple[Policy, Guards]:
    """The policy that decides, and what it may do as far as gold tells; would-be flips still wait for the audit.

    Args:
        policy: as configured.
        gold: pairs people decided.
        tested: of them, those on which the gold model (the best model where the policy hears no other) was tested and
            had not learned from.
        model_right: of these, those that it has right, ties one half.
        labels: share of original labels that people confirm.
        best: accuracy of the best reward model on people's verdicts; None where it learned from them.
        labels_beside_best: share of right labels among the pairs that it was measured on; default: `labels`.

    Returns:
        the policy (gold_only where the best model has lost its veto), and the guards.
    """
    from curation.worth import keep_break_even

    beside = labels if labels_beside_best is None else labels_beside_best
    veto = policy not in HEAR_GOLD or best is None or keeps_veto(np.array([best]), np.array([beside]))
    first = guard(gold, model_right, labels, tested=tested)
    no_keep = "" if first.keep else LITTLE_GOLD if gold < LEAST_GOLD else KEEP_UNPROVEN
    return policy if veto else "gold_only", Guards(
        no_keep=no_keep,
        no_flip=no_keep if no_keep == LITTLE_GOLD else UNPROVEN,
        why=f"{first.reason[:1].upper()}{first.reason[1:]}. Nothing is kept or flipped." if no_keep else "",
        gold=tested,
        model=_short(model_right / tested) if tested else None,
        model_bound=_short(lower_bound(int(model_right), tested)),
        break_even=_short(keep_break_even(labels)),
        labels=_short(labels),
        best=None if best is None else _short(best),
        labels_beside_best=None if best is None else _short(beside),
        veto=veto,
    )


def guards_after(before: Guards, flip: str, audit: FlipAudit) -> Guards:
    """The guards once people have looked.

    Args:
        flip: audited, always or never.
        audit: what people saw of the would-be flips.
    """
    if before.no_keep:
        return before
    if flip == "always":
        return before.model_copy(update={"no_flip": "", "why": "Flips are allowed by name; nobody looked at them."})
    if flip == "never":
        return before.model_copy(update={"why": f"Flips are off by name: they are dropped as {UNPROVEN}."})
    looked = SeenFlips(**audit._asdict(), bound=_short(audit.bound))
    refused = "" if audit.allowed else UNPROVEN
    return before.model_copy(update={"no_flip": refused, "why": audit.sentence(), "looked": looked})


def _short(x: float) -> float:
    return round(float(x), 6)
