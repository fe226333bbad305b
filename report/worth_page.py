"""The page of `assay worth`: the verdict first, then what it rests on; one self-contained HTML file."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.worth import needs
from report import charts
from report.drawing import BAD, GOOD, INK, LINE, MIXED, PLAIN, QUIET, SOFT, TIP, dot, strip, svg
from report.page import template
from training.atomic import beside

if TYPE_CHECKING:
    from curation.worth import Worth

TONES = {"curate and flip": GOOD, "filter only": MIXED, "do not curate": BAD}
MODELS = {"gold model": GOOD, "model of the labels": MIXED, "original labels": PLAIN}


def write(path: Path, name: str, w: "Worth") -> None:
    """Write the page; it appears whole or not at all."""
    with beside(path) as part:
        part.write_text(page(name, w), encoding="utf-8")
        part.replace(path)


def page(name: str, w: "Worth") -> str:
    labels = w.accuracy["original labels"].value
    rows = [(k, e, MODELS.get(k, QUIET)) for k, e in w.accuracy.items()]
    if w.ceiling["pairs"]:
        rows.append(("two people agree", w.ceiling["agreement"], QUIET))
    return template("worth.html").render(
        name=name,
        w=w,
        tone=TONES[w.verdict],
        needs=needs(w.needed),
        accuracy=charts.intervals(rows, "Accuracy on people's verdicts", line=labels),
        curve=curve(w.curve, {"labels": labels or 0.5, "keeping pays": w.needed["keep_break_even"]}),
    )


def curve(rows: list[dict[str, Any]], lines: dict[str, float], height: int = 300) -> str:
    """Accuracy by gold pairs on a logarithmic axis, with intervals; extrapolated points are hollow.

    Args:
        rows: pairs, accuracy (an estimate), extrapolated.
        lines: label -> accuracy to draw a dashed line at.
    """
    known = [
        (c["pairs"], c["accuracy"].value, c["accuracy"].interval, c["extrapolated"])
        for c in rows
        if c["accuracy"].interval
    ]
    if not known:
        return ""
    figure, axis = strip(height, left=60, right=150, top=14, foot=44)
    pairs, values = [n for n, *_ in known], [value for _, value, *_ in known]
    low, high = zip(*(interval for _, _, interval, _ in known), strict=True)
    axis.set_xscale("log")
    axis.grid(axis="y", color=LINE)
    axis.fill([*pairs, *pairs[::-1]], [*low, *high[::-1]], color=GOOD, alpha=0.18, linewidth=0)
    axis.plot(pairs, values, color=GOOD, linewidth=2.5)
    for n, value, (least, most), extrapolated in known:
        said = f"{n:,} pairs: {value:.1%} ({least:.1%} to {most:.1%})" + ", extrapolated" * extrapolated
        dot(axis, n, value, GOOD, 11, gid=TIP + said)
        if extrapolated:
            dot(axis, n, value, "white", 7)
    for i, (label, value) in enumerate(sorted(lines.items(), key=lambda p: -p[1])):
        axis.axhline(value, color=SOFT, linestyle="--", linewidth=1)
        axis.annotate(
            f"{label} {value:.0%}",
            (1, value),
            (8, -3 * i),
            xycoords=axis.get_yaxis_transform(),
            textcoords="offset points",
            va="center",
            fontsize=12,
            color=SOFT,
            annotation_clip=False,
        )
    ends = [*low, *high, *lines.values()]
    axis.set_ylim(max(0.0, min(ends) - 0.02), min(1.0, max(ends) + 0.02))
    axis.set_xticks(pairs, [f"{n:,}" for n in pairs])
    axis.minorticks_off()
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axis.set_xlabel("gold pairs", fontsize=12, color=INK)
    return svg(figure, "Accuracy of the gold model by gold pairs")
