"""The page of `assay worth`: the verdict first, then what it rests on; one self-contained HTML file."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.intervals import Estimate
from curation.worth import needs
from report import charts

if TYPE_CHECKING:
    from curation.worth import Worth

TONES = {"curate and flip": charts.GOOD, "filter only": charts.MIXED, "do not curate": charts.BAD}
MODELS = {"gold model": charts.GOOD, "model of the labels": charts.MIXED, "original labels": charts.PLAIN}


def write(path: Path, name: str, w: "Worth") -> None:
    """Write the page; it appears whole or not at all."""
    from training.atomic import beside

    with beside(path) as part:
        part.write_text(page(name, w), encoding="utf-8")
        part.replace(path)


def page(name: str, w: "Worth") -> str:
    from jinja2 import Environment, FileSystemLoader

    env = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True)
    env.filters["capitalize_first"] = lambda s: s[:1].upper() + s[1:]
    labels = w.accuracy["original labels"].value
    rows = [(k, e, MODELS.get(k, charts.QUIET)) for k, e in w.accuracy.items()]
    if w.ceiling["pairs"]:
        rows.append(("two people agree", w.ceiling["agreement"], charts.QUIET))
    return env.get_template("worth.html").render(
        name=name, w=w, tone=TONES[w.verdict], needs=needs(w.needed),
        accuracy=charts.intervals(rows, "Accuracy on people's verdicts", line=labels),
        curve=curve(w.curve, {"labels": labels or 0.5, "keeping pays": w.needed["keep_break_even"]}),
    )  # fmt: skip


def curve(rows: list[dict[str, Any]], lines: dict[str, float], height: int = 300) -> str:
    """Accuracy by gold pairs on a logarithmic axis, with intervals; extrapolated points are hollow."""
    known = [(c["pairs"], c["accuracy"], c["extrapolated"]) for c in rows if c["accuracy"].known]
    if not known:
        return ""
    left, right, top, foot = 60, 150, 14, 40
    ends = [v for _, e, _ in known for v in (e.low, e.high)] + list(lines.values())
    low, high = max(0.0, min(ends) - 0.02), min(1.0, max(ends) + 0.02)
    first, last = math.log(known[0][0]), math.log(max(known[-1][0], known[0][0] + 1))

    def x(pairs: float) -> float:
        return left + (math.log(pairs) - first) / (last - first) * (charts.WIDTH - left - right)

    def y(value: float) -> float:
        return top + (high - value) / (high - low) * (height - top - foot)

    body = []
    for tick in charts._ticks(low, high):
        body.append(
            f'<line x1="{left}" x2="{charts.WIDTH - right}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" class="grid"/>'
        )
        body.append(charts._text(left - 8, y(tick) + 4, f"{tick:.0%}", "end", "small"))
    for n, (label, value) in enumerate(sorted(lines.items(), key=lambda p: -p[1])):
        body.append(
            f'<line x1="{left}" x2="{charts.WIDTH - right}" y1="{y(value):.1f}" y2="{y(value):.1f}" class="reference"/>'
        )
        body.append(charts._text(charts.WIDTH - right + 8, y(value) + 4 + 3 * n, f"{label} {value:.0%}", cls="small"))
    edge = [(p, e.high) for p, e, _ in known] + [(p, e.low) for p, e, _ in reversed(known)]
    body.append(
        f'<path class="area" d="M{"L".join(f"{x(p):.1f} {y(v):.1f}" for p, v in edge)}Z" fill="{charts.GOOD}"/>'
    )
    middle = "L".join(f"{x(p):.1f} {y(e.value):.1f}" for p, e, _ in known)
    body.append(f'<path class="line" d="M{middle}" stroke="{charts.GOOD}"/>')
    for pairs, e, guessed in known:
        fill = "#fff" if guessed else charts.GOOD
        body.append(
            f'<circle cx="{x(pairs):.1f}" cy="{y(e.value):.1f}" r="5" fill="{fill}" stroke="{charts.GOOD}" stroke-width="2">'
            f"<title>{_said(pairs, e, guessed)}</title></circle>"
        )
        body.append(charts._text(x(pairs), height - 20, f"{pairs:,}", "middle", "small"))
    body.append(charts._text((left + charts.WIDTH - right) / 2, height - 4, "gold pairs", "middle", "small"))
    return charts._svg(height, body, "Accuracy of the gold model by gold pairs")


def _said(pairs: int, e: Estimate, guessed: bool) -> str:
    return f"{pairs:,} pairs: {e.value:.1%} ({e.low:.1%} to {e.high:.1%})" + (", extrapolated" if guessed else "")
