"""Figures of experiments as PNG: ours, and the published one beside it where the paper has one."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from curation.intervals import Estimate
from report.drawing import BAD, GOOD, MIXED, PLAIN, QUIET, panels, png
from report.experiments_section import ArmStory, ExperimentStory
from resources.benchmarks.published import published_means

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {
    "original": QUIET,
    "filtered": PLAIN,
    "corrected": GOOD,
    "unguided": MIXED,
    "unguided_corrected": BAD,
    "judges and best model": MIXED,
    "judges and best model, corrected": BAD,
}

FORMER_BEST = "INF-ORM-Llama3.1-70B"


def picture(story: ExperimentStory) -> bytes | None:
    """The figure of an experiment; None where fewer than two arms have a score."""
    if sum(a.mean.value is not None for a in story.arms) < 2:
        return None
    match story.preset:
        case "pipeline" | "no_human":
            return _lines(story)
        case "efficiency":
            return _efficiency(story)
        case _:
            return _bars(story)


def _lines(story: ExperimentStory) -> bytes:
    """One line a view over the points of the pipeline (spec 8.01, 8.11)."""
    of: dict[str, list[tuple[str, Estimate]]] = {}
    for arm in story.arms:
        view, _, point = arm.name.partition("@")
        of.setdefault(view, []).append((point, arm.mean))
    drawing, (ours, theirs) = panels(11, 4, 2, 2)
    points = sorted({p for found in of.values() for p, _ in found if p})
    for view, found in of.items():
        _line(ours, view, [(points.index(p), e) for p, e in found if p])
    ours.set_xticks(range(len(points)), points, rotation=30, ha="right")
    ours.set(ylabel="score, %", title=f"this lake: {story.name}")
    for name, row in story.published.items():
        theirs.plot(
            range(len(row)), list(row.values()), "o--", markersize=3, color=COLOURS.get(name, PLAIN), label=name
        )
    columns = list(next(iter(story.published.values()), {}))
    theirs.set_xticks(range(len(columns)), columns, rotation=30, ha="right")
    theirs.set(title="published: mean of six benchmarks")
    for axis in (ours, theirs):
        axis.grid(alpha=0.3)
        axis.legend(frameon=False, fontsize=8)
    return png(drawing)


def _line(axis: "Axes", name: str, found: Sequence[tuple[int, Estimate]]) -> None:
    """Scores at their places along the axis."""
    made = sorted((i, e) for i, e in found if e.value is not None)
    at, known = [i for i, _ in made], [e for _, e in made]
    colour = COLOURS.get(name, PLAIN)
    axis.plot(at, [100 * (e.value or 0) for e in known], "o-", markersize=4, color=colour, label=name)
    whole = [(i, e.interval) for i, e in zip(at, known, strict=True) if e.interval]
    if whole:
        x, ends = zip(*whole, strict=True)
        axis.fill_between(
            x, [100 * low for low, _ in ends], [100 * high for _, high in ends], color=colour, alpha=0.12, lw=0
        )


def _efficiency(story: ExperimentStory) -> bytes:
    """Score by pairs, what is to be reached, and where the curve reaches it (spec 8.04)."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    drawing, (ours, theirs) = panels(11, 4, 2, 2)
    crossing = next((r for r in story.contrasts if r["contrast"].startswith("crossing:")), None)
    aim = story.arm(crossing["contrast"].partition(":")[2].split(",")[0].strip()) if crossing else None
    parts = sorted((a for a in story.arms if a is not aim and a.mean.value is not None), key=lambda a: a.pairs)
    _by_pairs(ours, parts)
    if aim is not None and aim.mean.value is not None:
        ours.axhline(100 * aim.mean.value, color=QUIET, ls="--", label=f"{aim.name}, {aim.pairs:,} pairs")
    if crossing and crossing["value"]:
        ours.axvline(crossing["value"], color=GOOD, ls=":", label=f"reached at {crossing['value']:,.0f} pairs")
        if crossing["high"]:
            ours.axvspan(crossing["low"], crossing["high"], color=GOOD, alpha=0.12, lw=0)
    rows = list(story.published.values())
    theirs.plot([1e6 * r["Million pairs"] for r in rows], [r["Mean of six"] for r in rows], "o--", ms=3, color=GOOD)
    former = published_means()[FORMER_BEST][1]
    theirs.axhline(former, color=QUIET, ls="--", label=f"former best, {former:.1f}")
    ours.set(ylabel="score, %", title=f"this lake: {story.name}")
    theirs.set(title="published: mean of six benchmarks")
    for axis in (ours, theirs):
        axis.set(xscale="log", xlabel="curated pairs")
        axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.grid(alpha=0.3)
        axis.legend(frameon=False, fontsize=8)
    return png(drawing)


def _by_pairs(axis: "Axes", parts: Sequence[ArmStory]) -> None:
    x = [a.pairs for a in parts]
    axis.plot(x, [100 * (a.mean.value or 0) for a in parts], "o-", ms=4, color=GOOD)
    if all(a.mean.interval for a in parts):
        ends = [a.mean.interval or (0, 0) for a in parts]
        axis.fill_between(x, [100 * e[0] for e in ends], [100 * e[1] for e in ends], color=GOOD, alpha=0.12, lw=0)


def _bars(story: ExperimentStory) -> bytes:
    """A bar an arm, in the order asked for; one model a source by score (spec 8.05, 8.07)."""
    arms = [a for a in story.arms if a.mean.value is not None]
    if story.preset == "sources":
        arms.sort(key=lambda a: -(a.mean.value or 0))
    beside = bool(story.published)
    drawing, axes = panels(
        11 if beside else 6.5, 1.4 + 0.34 * max(len(arms), min(14, len(story.published))), 1 + beside, 2
    )
    _across(axes[0], {f"{a.name} ({a.pairs:,})": a.mean for a in arms}, f"this lake: {story.name}")
    if beside:
        rows = (
            sorted(story.published.items(), key=lambda kv: -next(iter(kv[1].values())))
            if story.preset == "sources"
            else list(story.published.items())
        )
        some = rows if len(rows) <= 14 else [*rows[:7], *rows[-7:]]
        title = "published" + (f": the best and worst 7 of {len(rows)}" if len(rows) > 14 else "")
        values = {name: Estimate(next(iter(row.values())) / 100, None, None) for name, row in some}
        _across(axes[1], values, title)
    return png(drawing)


def _across(axis: "Axes", values: Mapping[str, Estimate], title: str) -> None:
    names = list(values)[::-1]
    for i, name in enumerate(names):
        e = values[name]
        axis.plot([100 * (e.value or 0)], [i], "o", color=PLAIN, ms=5)
        if e.interval:
            axis.plot([100 * e.interval[0], 100 * e.interval[1]], [i, i], color=PLAIN, lw=4, alpha=0.3)
        axis.annotate(
            f"{100 * (e.value or 0):.1f}",
            (100 * (e.value or 0), i),
            (0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=7,
        )
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.set(title=title, xlabel="score, %", ylim=(-0.6, len(names) - 0.2))
    axis.grid(axis="x", alpha=0.3)
