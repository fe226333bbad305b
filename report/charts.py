"""The drawings of the pages, as SVG text. Labels may come from data: they are escaped, and never read as mathematics."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from curation.intervals import Estimate
from report.drawing import BAD, HALO, INK, LINE, PLAIN, SOFT, TIP, WIDTH, dot, strip, svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Links = Sequence[tuple[str, str, int]]


def flow(columns: Sequence[Sequence[str]], links: Links, tones: Mapping[str, str], title: str) -> str:
    """Where everything goes: boxes in columns, ribbons between them as thick as their counts.

    Args:
        columns: names of the places, left to right, top to bottom; those that nothing reaches or leaves are left out.
        links: (from, to, count); a place's size is the larger of what enters and what leaves it.
        tones: colour of a place, PLAIN where it is not named.
    """
    from matplotlib.patches import PathPatch, Rectangle
    from matplotlib.path import Path

    links = [link for link in links if link[2]]
    size = {
        name: max(sum(n for a, _, n in links if a == name), sum(n for _, b, n in links if b == name))
        for column in columns
        for name in column
    }
    columns = [[name for name in column if size[name]] for column in columns]
    if not any(columns):
        return ""
    scale = 300 / max(sum(size[name] for name in column) for column in columns)
    box, slot, gap = 12, 22, 8
    step = (WIDTH - 250) / max(1, len(columns) - 1)
    place, height = {}, 0.0
    for i, column in enumerate(columns):
        y = 10.0
        for name in column:
            h = max(2.0, size[name] * scale)
            place[name] = (i * step, y, h)
            y += max(h, slot) + gap
        height = max(height, y)
    figure, axis = strip(height)
    axis.set(xlim=(0, WIDTH), ylim=(height, 0), xticks=[], yticks=[])
    out_at, in_at = {}, {}
    order = {name: i for i, name in enumerate(name for column in columns for name in column)}
    for a, b, n in sorted(links, key=lambda link: (order[link[0]], order[link[1]])):
        (x0, y0, _), (x1, y1, _) = place[a], place[b]
        y0, y1 = y0 + out_at.get(a, 0.0), y1 + in_at.get(b, 0.0)
        out_at[a], in_at[b] = out_at.get(a, 0.0) + n * scale, in_at.get(b, 0.0) + n * scale
        thick, left, middle = max(0.8, n * scale), x0 + box, (x0 + box + x1) / 2
        there = [(left, y0), (middle, y0), (middle, y1), (x1, y1)]
        back = [(x, y + thick) for x, y in there[::-1]]
        curve = [Path.CURVE4] * 3
        ribbon = Path([*there, *back], [Path.MOVETO, *curve, Path.LINETO, *curve])
        tip = f"{TIP}{a} → {b}: {n:,}"
        axis.add_patch(PathPatch(ribbon, color=tones.get(b, PLAIN), alpha=0.28, linewidth=0, gid=tip))
    for name, (x, y, h) in place.items():
        axis.add_patch(Rectangle((x, y), box, h, color=tones.get(name, PLAIN), linewidth=0))
        text = f"{name}  {size[name]:,}"
        axis.text(x + box + 5, y + min(max(h, slot), 60) / 2, text, va="center", fontsize=13, color=INK, gid=HALO)
    return svg(figure, title)


def bars(rows: Sequence[tuple[str, int, int]], title: str, colour: str = PLAIN) -> str:
    """Parts of a whole, one a row, in the order given: (label, n, of)."""
    return svg(bars_figure(rows, colour), title) if rows else ""


def bars_figure(rows: Sequence[tuple[str, int, int]], colour: str = PLAIN) -> "Figure":
    """See `bars`."""
    shares = [n / of for _, n, of in rows]
    figure, axis = strip(len(rows) * 24 + 6, left=_margin([label for label, _, _ in rows]), right=150)
    axis.barh(range(len(rows)), shares, height=0.75, color=colour)
    for i, (share, (_, n, _)) in enumerate(zip(shares, rows, strict=True)):
        _beside(axis, share, i, f"{share:.1%}  ({n:,})")
    axis.set(xlim=(0, max(shares)), ylim=(len(rows) - 0.5, -0.5), xticks=[])
    axis.set_yticks(range(len(rows)), [label for label, _, _ in rows])
    return figure


def columns(series: Mapping[str, Sequence[float]], labels: Sequence[str], tones: Mapping[str, str], title: str) -> str:
    """Groups of upright bars: name -> share at each label, side by side."""
    most = max((v for values in series.values() for v in values), default=0)
    if not most:
        return ""
    figure, axis = strip(220, top=30, foot=26)
    thick = min(0.034 * len(labels), 0.8 / len(series))
    for s, (name, values) in enumerate(series.items()):
        at = [i + (s - (len(series) - 1) / 2) * thick for i in range(len(labels))]
        drawn = axis.bar(at, values, width=0.97 * thick, color=tones.get(name, PLAIN), label=name)
        for bar, label, value in zip(drawn, labels, values, strict=True):
            bar.set_gid(f"{TIP}{name}, {label}: {value:.1%}")
    axis.set(xlim=(-0.5, len(labels) - 0.5), ylim=(0, most), yticks=[])
    axis.set_xticks(range(len(labels)), labels)
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(series), frameon=False, borderpad=0, fontsize=13)
    return svg(figure, title)


def waterfall(steps: Sequence[tuple[str, int, str]], title: str) -> str:
    """From a whole to what is left: (label, count, kind), where kind is total, or loss for what is taken away."""
    whole = max((n for _, n, _ in steps), default=0)
    if not whole:
        return ""
    figure, axis = strip(len(steps) * 26 + 8, left=_margin([label for label, _, _ in steps]), right=130)
    level = whole
    for i, (_, n, kind) in enumerate(steps):
        total = kind == "total"
        level = n if total else level - n
        start = 0 if total else level
        axis.barh(i, n, left=start, height=0.75, color=PLAIN if total else BAD, alpha=1 if total else 0.75)
        _beside(axis, start + n, i, f"{'' if total else '−'}{n:,}  ({n / whole:.1%})")
    axis.set(xlim=(0, whole), ylim=(len(steps) - 0.5, -0.5), xticks=[])
    axis.set_yticks(range(len(steps)), [label for label, _, _ in steps])
    for label, (_, _, kind) in zip(axis.get_yticklabels(), steps, strict=True):
        label.set_fontweight("bold" if kind == "total" else "normal")
    return svg(figure, title)


def intervals(
    rows: Sequence[tuple[str, Estimate, str]], title: str, *, line: float | None = None, signed: bool = False
) -> str:
    """Points with their 95 % intervals, one a row: (label, estimate, colour). Rows without a value are left out.

    Args:
        line: a value to draw a dashed line at, such as chance or no difference.
        signed: show differences, in points of a percent, instead of shares.
    """
    rows = [row for row in rows if row[1].value is not None]
    return svg(intervals_figure(rows, line=line, signed=signed), title) if rows else ""


def intervals_figure(
    rows: Sequence[tuple[str, Estimate, str]], *, line: float | None = None, signed: bool = False
) -> "Figure":
    """See `intervals`; every row has a value."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    ends = [v for _, e, _ in rows for v in e if v is not None] + ([] if line is None else [line])
    pad = max(0.01, (max(ends) - min(ends)) * 0.06)
    low, high = min(ends) - pad, max(ends) + pad
    if not signed:
        low, high = max(0.0, low), min(1.0, high)

    def shown(value: float, digits: int = 1) -> str:
        text = f"{value * 100:+.{digits}f}" if signed else f"{value:.{digits}%}"
        return text.replace("-", "−").replace("%", " %" if not digits else "%")

    figure, axis = strip(len(rows) * 26 + 30, left=_margin([label for label, _, _ in rows]), right=210, foot=24)
    axis.grid(axis="x", color=LINE)
    if line is not None:
        axis.axvline(line, color=SOFT, linestyle="--", linewidth=1)
    for i, (_, e, colour) in enumerate(rows):
        value = e.value or 0.0
        text = shown(value)
        if e.interval:
            axis.plot(e.interval, (i, i), color=colour, linewidth=5, alpha=0.35, solid_capstyle="round")
            text += "  ({} to {})".format(*map(shown, e.interval))
        dot(axis, value, i, colour, 10)
        _beside(axis, high, i, text, 14)
    axis.set(xlim=(low, high), ylim=(len(rows) - 0.4, -0.6))
    axis.set_yticks(range(len(rows)), [label for label, _, _ in rows])
    axis.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value, 0) if value else "0"))
    return figure


def _margin(labels: Sequence[str]) -> float:
    """Room for the labels of rows, in points."""
    return min(400, 24 + 7.5 * max(map(len, labels)))


def _beside(axis, x: float, row: int, text: str, gap: float = 6) -> None:
    axis.annotate(
        text, (x, row), (gap, 0), textcoords="offset points", va="center", fontsize=13, color=INK, annotation_clip=False
    )
