"""What experiments ask: contrasts of arms in words, and the paper's experiments as ready-made arms and contrasts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Preset = Literal[
    "pipeline", "efficiency", "bars", "no_human", "sources", "matched", "null", "objectivity", "profiles", "annotation",
]  # fmt: skip
PRESETS: tuple[str, ...] = get_args(Preset)
VIEWS = ("original", "filtered", "corrected")
SHARES = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # of the efficiency curve
BARS = (
    "filtered@iter_00",
    "seed_and_original@iter_01",
    "seed_and_unguided@iter_01",
    "seed_and_people@iter_01",
    "filtered@iter_01",
)
CONFOUNDS = ("size", "sources")  # in what two sets may differ beside their labels


@dataclass(frozen=True)
class Contrast:
    """A sum of arms' scores with weights, such as a difference.

    Attributes:
        name: as configured.
        weights: arm -> weight.
        named: confounds that the difference is meant to hold.
    """

    name: str
    weights: dict[str, float]
    named: frozenset[str] = frozenset()

    @property
    def kind(self) -> str:
        """rise, crossing or difference."""
        head, colon, _ = self.name.partition(":")
        return head if colon else "difference"

    @property
    def pair(self) -> tuple[str, str] | None:
        """(a, b) of a difference; None for another contrast."""
        if self.kind != "difference":
            return None
        a, b = self.weights
        return a, b


def parsed(text: str, arms: Sequence[str]) -> Contrast:
    """`a - b`, `a - b by size, sources`, `rise: a, b, c`, or `crossing: a, b, c`.

    A rise is the least-squares slope over the arms in their order, times the number of steps: how much the score rises from
    the first to the last. A crossing is the number of pairs at which the curve through the sets b, c, … passes the score of a.

    Raises:
        ValueError: it is none of these, or names no arm.
    """
    head, colon, rest = text.partition(":")
    if colon and head != head.strip():
        raise ValueError(f"{text!r}: no blank stands before the colon")
    if colon and head == "rise":
        names = [n.strip() for n in rest.split(",")]
        named: frozenset[str] = frozenset(CONFOUNDS)
        if len(names) < 2:
            raise ValueError(f"{text!r}: a rise needs two or more arms")
        x = [i / (len(names) - 1) - 0.5 for i in range(len(names))]
        weights = {name: v / sum(u * u for u in x) for name, v in zip(names, x, strict=True)}
    elif colon and head == "crossing":
        names = [n.strip() for n in rest.split(",")]
        named = frozenset(CONFOUNDS)
        if len(names) < 3:
            raise ValueError(f"{text!r}: a crossing needs an arm to reach, and two or more on the way")
        weights = dict.fromkeys(names, 1.0)
    else:
        difference, _, by = text.partition(" by ")
        names = [n.strip() for n in difference.split(" - ")]
        named = frozenset(n.strip() for n in by.split(",") if n.strip())
        if len(names) != 2 or names[0] == names[1]:
            raise ValueError(f"{text!r}: expected 'a - b', 'a - b by size, sources', or 'rise: a, b, c'")
        if unknown := sorted(named - set(CONFOUNDS)):
            raise ValueError(f"{text!r}: {', '.join(unknown)}: what can be named is {', '.join(CONFOUNDS)}")
        weights = {names[0]: 1.0, names[1]: -1.0}
    if unknown := [n for n in names if n not in arms]:
        raise ValueError(f"{text!r}: no arm {', '.join(unknown)}; there are {', '.join(arms)}")
    return Contrast(text, weights, named)


@dataclass(frozen=True)
class Ready:
    """What a preset stands for: see settings' `Experiment` for the fields."""

    question: str
    arms: list[dict[str, Any]]
    compare: list[str] = field(default_factory=list)
    different_recipes: bool = False
    alike_first: list[str] = field(default_factory=list)


def points(iterations: int) -> list[str]:
    """Where the data can be stopped at: after the seed, each iteration, stage 2.

    >>> points(1)
    ['iter_00', 'iter_01', 'stage2']
    """
    return [*(f"iter_{i:02d}" for i in range(iterations + 1)), "stage2"]


def expanded(preset: str, iterations: int, sources: tuple[str, ...], forms: tuple[str, ...] = ()) -> Ready:
    """The arms and comparisons of a preset.

    Args:
        forms: that people answer on, see `people.arms`.

    Raises:
        ValueError: the lake has too few iterations for it, or people answer on one form only.
    """
    if preset in ("bars",) and iterations < 1:
        raise ValueError(f"the experiment {preset} needs an iteration after the seed (stage1.iterations)")
    if preset == "annotation":
        return _annotation(forms)
    return {
        "pipeline": _pipeline,
        "efficiency": _efficiency,
        "bars": _bars,
        "no_human": _no_human,
        "sources": _sources,
        "matched": _matched,
        "null": _null,
        "objectivity": _objectivity,
        "profiles": _profiles,
    }[preset](iterations, sources)


def _named(*data: str) -> list[dict[str, Any]]:
    return [{"name": d.replace("source:", ""), "data": d} for d in data]


def _pipeline(iterations: int, _: tuple[str, ...]) -> Ready:
    """What each step of the pipeline adds, and whether more of the pool as it came adds anything (spec 8.01 to 8.03)."""
    at = points(iterations)
    compare = [f"corrected@{p} - filtered@{p} by size" for p in at] + [f"filtered@{p} - original@{p}" for p in at]
    compare += [f"rise: {', '.join(f'{view}@{p}' for p in at)}" for view in VIEWS]
    arms = _named(*(f"{view}@{p}" for view in VIEWS for p in at))
    return Ready("Does the score rise along the pipeline, and of which data?", arms, compare)


def _efficiency(_: int, __: tuple[str, ...]) -> Ready:
    """How much of the curated data reaches what the whole pool as it came reaches (spec 8.04)."""
    parts = [{"name": f"corrected-{share:g}", "data": "corrected", "share": share} for share in SHARES]
    along = ", ".join(str(p["name"]) for p in parts)
    return Ready(
        "How much of the curated data is as good as the whole pool as it came?", [*parts, *_named("original")],
        ["corrected-1 - original", f"crossing: original, {along}", f"rise: {along}"],
    )  # fmt: skip


def _bars(_: int, __: tuple[str, ...]) -> Ready:
    """What each kind of care adds to the seed in the first iteration (spec 8.05)."""
    compare = [f"{b} - {a} by size" for a, b in zip(BARS, BARS[1:], strict=False)]
    compare += [f"{b} - {BARS[0]} by size" for b in BARS[2:]]
    return Ready("What do judges alone, people, and the whole recipe add to the seed?", _named(*BARS), compare)


def _no_human(iterations: int, _: tuple[str, ...]) -> Ready:
    """The same batches, labelled by judges who see no gold example, and by nobody else (spec 4.12, 8.11)."""
    at = points(iterations)[:-1]
    views = ("unguided", "unguided_corrected", "filtered", "corrected")
    compare = [f"filtered@{p} - unguided@{p} by size" for p in at]
    compare += [f"corrected@{p} - unguided_corrected@{p} by size" for p in at]
    compare += [f"rise: {', '.join(f'{v}@{p}' for p in at)}" for v in views if len(at) > 1]
    return Ready(
        "How far do judges get without people?", _named(*(f"{v}@{p}" for v in views for p in at)), compare
    )  # fmt: skip


def _sources(_: int, sources: tuple[str, ...]) -> Ready:
    """One model a source as it came, and one of all (spec 8.07)."""
    arms = [*_named(*(f"source:{s}" for s in sources)), {"name": "all-sources", "data": "original"}]
    return Ready(
        "Which source is worth keeping?", arms, [f"all-sources - {s} by size, sources" for s in sources]
    )  # fmt: skip


def _matched(_: int, __: tuple[str, ...]) -> Ready:
    """The curated set against as many pairs of the pool that look like it (spec 8.09)."""
    arms = [*_named("filtered"), {"name": "matched", "data": "original", "like": "filtered"}]
    arms += [{"name": "random", "data": "original", "as_many_as": "filtered"}]
    return Ready(
        "Is the gain one of labels, or of length, topic and source?", arms, ["filtered - matched", "filtered - random"]
    )  # fmt: skip


def _null(_: int, __: tuple[str, ...]) -> Ready:
    """As many pairs without any control (spec 8.10)."""
    arms = [*_named("filtered"), {"name": "random", "data": "original", "as_many_as": "filtered"}]
    return Ready("Does as much data without curation do as well?", arms, ["filtered - random"])


def _objectivity(_: int, __: tuple[str, ...]) -> Ready:
    """Do objective preferences teach more than subjective ones, pair for pair?"""
    kinds = ("objective", "subjective")
    arms = [{"name": k, "data": "corrected", "where": f"objectivity = '{k}'"} for k in kinds]
    equal = {"name": "objective-as-few", "data": "corrected", "where": "objectivity = 'objective'"}
    return Ready(
        "Do objective pairs teach more than subjective ones?",
        [*arms, equal | {"as_many_as": "subjective"}],
        ["objective-as-few - subjective", "objective - subjective by size"],
    )


def _profiles(_: int, __: tuple[str, ...]) -> Ready:
    """The recipe that chose the data against the one of large batches that trained what was released, on the same data: does
    the score change, and what does each cost (spec 6.05)?"""
    arms = [{"name": p, "data": "corrected", "recipe": {"profile": p, "head": "fine-tuned"}} for p in ("dev", "final")]
    return Ready(
        "Does a batch of 10,240 change the score, and what does it save?", arms, ["final - dev"], different_recipes=True
    )


def _annotation(forms: tuple[str, ...]) -> Ready:
    """What people are given to label with: distinct pairs on each form, drawn by lot, each beside the filtered seed. Models of
    the same pairs as they came say whether the subsets were alike before anybody labelled them (spec 8.06)."""
    if len(forms) < 2:
        raise ValueError(
            "the experiment annotation compares forms: give some of the pairs another one, such as"
            " people.arms = [{name = 'raw', share = 0.33, attributes = false, guideline = false, tools = false}]"
        )
    before = [f"before-{f}" for f in forms]
    arms = [{"name": "seed", "data": "filtered@iter_00"}]
    arms += [{"name": f, "data": f"form:{f}"} for f in forms]
    arms += [{"name": name, "data": f"form_before:{f}"} for name, f in zip(before, forms, strict=True)]
    compare = [f"{b} - {a} by size" for a, b in zip(forms, forms[1:], strict=False)] + [
        f"{f} - seed by size" for f in forms
    ]
    return Ready(
        "What do attributes, the guideline and tools add to people's labels?", arms, compare, alike_first=before
    )
