"""Figures of experiments as PNG: ours, and the published one beside it where the paper has one."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from curation.intervals import Estimate
from report.drawing import BAD, GOOD, MIXED, PLAIN, QUIET, panels, png
from report.experiments_section import ArmStory, ExperimentStory, published_sheets
from resources.benchmarks.published import published_curve, published_means

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Published = Mapping[str, Mapping[str, float]]  # model or row -> column -> value, as published
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
    _their_lines(theirs, story.published)
    ours.grid(alpha=0.3)
    ours.legend(frameon=False, fontsize=8)
    return png(drawing)


def _their_lines(axis: "Axes", rows: Published) -> None:
    """The published lines along the pipeline, and the best model that there was before."""
    for name, row in rows.items():
        axis.plot(range(len(row)), list(row.values()), "o--", markersize=3, color=COLOURS.get(name, PLAIN), label=name)
    former = published_means()[FORMER_BEST][1]
    axis.axhline(former, color=QUIET, lw=0.8, label=f"former best, {former:.1f}")
    columns = list(next(iter(rows.values()), {}))
    axis.set_xticks(range(len(columns)), columns, rotation=30, ha="right")
    axis.set(title="published: mean of six benchmarks")
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, fontsize=8)


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
    ours.set(ylabel="score, %", title=f"this lake: {story.name}")
    _along_pairs(ours)
    _their_curve(theirs, story.published)
    return png(drawing)


def _their_curve(axis: "Axes", rows: Published) -> None:
    """The published curve by pairs, and where it passes the best model that there was before."""
    curve = list(rows.values())
    axis.plot([1e6 * r["Million pairs"] for r in curve], [r["Mean of six"] for r in curve], "o--", ms=3, color=GOOD)
    former, whole = published_means()[FORMER_BEST][1], published_curve()
    at = whole.needed(former)
    axis.axhline(former, color=QUIET, ls="--", label=f"former best, {former:.1f}")
    axis.axvline(at, color=GOOD, ls=":", label=f"reached at {at:,.0f} pairs, {at / whole.whole:.1%}")
    axis.set(title="published: mean of six benchmarks")
    _along_pairs(axis)


def _along_pairs(axis: "Axes") -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axis.set(xscale="log", xlabel="curated pairs")
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, fontsize=8)


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
        _their_bars(axes[1], story.published, by_score=story.preset == "sources")
    return png(drawing)


def _their_bars(axis: "Axes", rows: Published, by_score: bool, most: int = 14) -> None:
    """The first published number of each row, in the order of the page or by score; of many the best and the worst."""
    ordered = sorted(rows.items(), key=lambda kv: -next(iter(kv[1].values()))) if by_score else list(rows.items())
    half = most // 2
    some = ordered if len(ordered) <= most else [*ordered[:half], *ordered[-half:]]
    title = "published" + (f": the best and worst {half} of {len(ordered)}" if len(ordered) > most else "")
    _across(axis, {name: Estimate(next(iter(row.values())) / 100, None, None) for name, row in some}, title)


def published_pictures() -> dict[str, bytes]:
    """The paper's figures on training sets and on the best of 32, drawn from its numbers alone: name -> PNG."""
    sheets = published_sheets()
    drawn: dict[str, Callable[[Axes], None]] = {
        "pipeline": lambda a: _their_lines(a, sheets["pipeline"]),
        "no_human": lambda a: _their_lines(a, sheets["no_human"]),
        "training_curve": lambda a: _their_curve(a, sheets["training_curve"]),
        "bars": lambda a: _their_bars(a, sheets["bars"], by_score=False),
        "annotation": lambda a: _their_bars(a, sheets["annotation"], by_score=False),
        "by_dataset": lambda a: _their_bars(a, sheets["by_dataset"], by_score=True, most=99),
    }
    found = {}
    for name, draw in drawn.items():
        rows = len(sheets[name])
        drawing, (axis,) = panels(6, 1.4 + 0.26 * rows if name in ("bars", "annotation", "by_dataset") else 4)
        draw(axis)
        found[name] = png(drawing)
    return found | {"best_of_32": _their_best_of(sheets)}


def _their_best_of(sheets: Mapping[str, Published]) -> bytes:
    """Published ends of the best-of-N curves: a random response, the best of 32 as each model chooses, and the ceiling at
    8; what lies between was not read off the drawing."""
    begin, end = sheets["best_of_k_start"], sheets["best_of_32"]
    tasks = list(next(iter(end.values())))
    drawing, axes = panels(9.6, 5.6, len(tasks) + 1, 3)
    for axis, task in zip(axes, [*tasks, "mean"], strict=True):
        first, top = (_of_task(begin[r], task) for r in ("random response", "perfect choice of 8"))
        for i, (model, row) in enumerate(end.items()):
            axis.plot([1, 32], [first, _of_task(row, task)], "o--", ms=3, lw=0.8, color=f"C{i}", label=model)
        axis.plot([8], [top], "v", color=QUIET, label="ceiling at 8")
        axis.set(title=task, xscale="log", ylim=(10 if task == "mean" else 30, 100))
        axis.set_xticks([1, 8, 32], ["1", "8", "32"])
        axis.minorticks_off()
    axes[4].set(xlabel="responses to choose from; between the ends nothing was read off")
    axes[-1].legend(frameon=False, fontsize=6, loc="lower right")
    return png(drawing)


def _of_task(row: Mapping[str, float], task: str) -> float:
    return sum(row.values()) / len(row) if task == "mean" else row[task]


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
