"""The report's drawings, as SVG text: no renderer to import, real text, equal bytes for equal figures.

Labels may come from data and are escaped here; the page puts the drawings in as they are.
"""

from collections.abc import Mapping, Sequence
from html import escape

from curation.intervals import Estimate

Links = Sequence[tuple[str, str, int]]

GOOD, BAD, MIXED, PLAIN, QUIET = "#23856d", "#b8452f", "#c9892b", "#2b6591", "#8b97a3"
WIDTH = 1000


def _svg(height: float, body: Sequence[str], title: str, width: int = WIDTH) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height:.0f}" role="img" aria-label="{escape(title)}"'
        f' xmlns="http://www.w3.org/2000/svg">{"".join(body)}</svg>'
    )


def _text(x: float, y: float, text: str, anchor: str = "start", cls: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{cls}">{escape(text)}</text>'


def flow(columns: Sequence[Sequence[str]], links: Links, tones: Mapping[str, str], title: str) -> str:
    """Where everything goes: boxes in columns, ribbons between them as thick as their counts.

    Args:
        columns: names of the places, left to right, top to bottom; those that nothing reaches or leaves are left out.
        links: (from, to, count); a place's size is the larger of what enters and what leaves it.
        tones: colour of a place, PLAIN where it is not named.
    """
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
    body, out_at, in_at = [], {}, {}
    order = {name: i for i, name in enumerate(name for column in columns for name in column)}
    for a, b, n in sorted(links, key=lambda link: (order[link[0]], order[link[1]])):
        (x0, y0, _), (x1, y1, _) = place[a], place[b]
        thick = max(0.8, n * scale)
        y0, y1 = y0 + out_at.get(a, 0.0), y1 + in_at.get(b, 0.0)
        out_at[a], in_at[b] = out_at.get(a, 0.0) + n * scale, in_at.get(b, 0.0) + n * scale
        left, right = x0 + box, x1
        middle = (left + right) / 2
        body.append(
            f'<path d="M{left:.1f} {y0:.1f}C{middle:.1f} {y0:.1f} {middle:.1f} {y1:.1f} {right:.1f} {y1:.1f}'
            f"V{y1 + thick:.1f}C{middle:.1f} {y1 + thick:.1f} {middle:.1f} {y0 + thick:.1f} {left:.1f}"
            f' {y0 + thick:.1f}Z" fill="{tones.get(b, PLAIN)}" opacity=".28"><title>{escape(f"{a} → {b}: {n:,}")}'
            "</title></path>"
        )
    for name, (x, y, h) in place.items():
        body.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{box}" height="{h:.1f}" fill="{tones.get(name, PLAIN)}"/>')
        middle = y + min(max(h, slot), 60) / 2 + 4
        body.append(_text(x + box + 5, middle, f"{name}  {size[name]:,}", cls="halo"))
    return _svg(height, body, title)


def bars(rows: Sequence[tuple[str, int, int]], title: str, colour: str = PLAIN) -> str:
    """Parts of a whole, one a row, in the order given: (label, n, of)."""
    if not rows:
        return ""
    right, row = 150, 24
    left = min(400, 24 + 7 * max(len(label) for label, _, _ in rows))
    most = max(n / of for _, n, of in rows)
    body = []
    for i, (label, n, of) in enumerate(rows):
        y = i * row + 3
        width = n / of / most * (WIDTH - left - right)
        body.append(_text(left - 10, y + 14, label, "end"))
        body.append(f'<rect x="{left}" y="{y}" width="{max(1.0, width):.1f}" height="{row - 6}" fill="{colour}"/>')
        body.append(_text(left + max(1.0, width) + 6, y + 14, f"{n / of:.1%}  ({n:,})"))
    return _svg(len(rows) * row + 6, body, title)


def columns(series: Mapping[str, Sequence[float]], labels: Sequence[str], tones: Mapping[str, str], title: str) -> str:
    """Groups of upright bars: name -> share at each label, side by side."""
    most = max((v for values in series.values() for v in values), default=0)
    if not most:
        return ""
    height, foot, head = 220, 26, 24
    step = WIDTH / len(labels)
    thick = min(34.0, step * 0.8 / len(series))
    body = []
    for s, (name, values) in enumerate(series.items()):
        tone = tones.get(name, PLAIN)
        body.append(f'<rect x="{s * 190}" y="2" width="12" height="12" fill="{tone}"/>' + _text(s * 190 + 18, 13, name))
        for i, value in enumerate(values):
            h = value / most * (height - foot - head)
            x = i * step + step / 2 + (s - len(series) / 2) * thick
            body.append(
                f'<rect x="{x:.1f}" y="{height - foot - h:.1f}" width="{thick - 1:.1f}" height="{h:.1f}" fill="{tone}">'
                f"<title>{escape(f'{name}, {labels[i]}: {value:.1%}')}</title></rect>"
            )
    for i, label in enumerate(labels):
        body.append(_text(i * step + step / 2, height - 8, label, "middle", "small"))
    return _svg(height, body, title)


def waterfall(steps: Sequence[tuple[str, int, str]], title: str) -> str:
    """From a whole to what is left: (label, count, kind), where kind is total, or loss for what is taken away."""
    whole = max((n for _, n, _ in steps), default=0)
    if not whole:
        return ""
    right, row = 130, 26
    left = min(400, 24 + 7 * max(len(label) for label, _, _ in steps))
    scale = (WIDTH - left - right) / whole
    body, level = [], whole
    for i, (label, n, kind) in enumerate(steps):
        y = i * row + 4
        if kind == "total":
            level, start = n, 0
        else:
            level -= n
            start = level
        colour = PLAIN if kind == "total" else BAD
        body.append(_text(left - 10, y + 15, label, "end", "strong" if kind == "total" else ""))
        body.append(
            f'<rect x="{left + start * scale:.1f}" y="{y}" width="{max(1.0, n * scale):.1f}" height="{row - 7}"'
            f' fill="{colour}" opacity="{1 if kind == "total" else 0.75}"/>'
        )
        sign = "" if kind == "total" else "−"
        body.append(_text(left + (start + n) * scale + 6, y + 15, f"{sign}{n:,}  ({n / whole:.1%})"))
    return _svg(len(steps) * row + 8, body, title)


def intervals(
    rows: Sequence[tuple[str, Estimate, str]], title: str, *, line: float | None = None, signed: bool = False
) -> str:
    """Points with their 95 % intervals, one a row: (label, estimate, colour). Rows without a value are left out.

    Args:
        line: a value to draw a dashed line at, such as chance or no difference.
        signed: show differences, in points of a percent, instead of shares.
    """
    known = [(label, e.value, e.interval, colour) for label, e, colour in rows if e.value is not None]
    if not known:
        return ""
    ends = [v for _, value, interval, _ in known for v in (value, *(interval or ()))]
    ends += [] if line is None else [line]
    pad = max(0.01, (max(ends) - min(ends)) * 0.06)
    low, high = min(ends) - pad, max(ends) + pad
    if not signed:
        low, high = max(0.0, low), min(1.0, high)
    right, row = 210, 26
    left = min(400, 24 + 7 * max(len(label) for label, *_ in known))
    height = len(known) * row + 30

    def x(value: float) -> float:
        return left + (value - low) / (high - low) * (WIDTH - left - right)

    def shown(value: float) -> str:
        return f"{value * 100:+.1f}".replace("-", "−") if signed else f"{value:.1%}"

    body = []
    for tick in _ticks(low, high):
        body.append(f'<line x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="0" y2="{height - 22}" class="grid"/>')
        label = f"{tick * 100:+.0f}".replace("-", "−") if signed and tick else f"{tick * 100:.0f}" + " %" * (not signed)
        body.append(_text(x(tick), height - 6, label, "middle", "small"))
    if line is not None:
        body.append(f'<line x1="{x(line):.1f}" x2="{x(line):.1f}" y1="0" y2="{height - 22}" class="reference"/>')
    for i, (label, value, interval, colour) in enumerate(known):
        y = i * row + 16
        body.append(_text(left - 12, y + 4, label, "end"))
        if interval:
            body.append(
                f'<line x1="{x(interval[0]):.1f}" x2="{x(interval[1]):.1f}" y1="{y}" y2="{y}" stroke="{colour}"'
                ' stroke-width="5" stroke-linecap="round" opacity=".35"/>'
            )
        body.append(f'<circle cx="{x(value):.1f}" cy="{y}" r="5" fill="{colour}"/>')
        ends = f"  ({shown(interval[0])} to {shown(interval[1])})" if interval else ""
        body.append(_text(WIDTH - right + 14, y + 4, shown(value) + ends))
    return _svg(height, body, title)


def _ticks(low: float, high: float) -> list[float]:
    """Round values inside the range, about five of them; every step is a whole number of hundredths."""
    step = next((s for s in (1, 2, 5, 10, 20, 50) if (high - low) * 100 / s <= 7), 100)
    first = -(-low * 100 // step)
    return [k * step / 100 for k in range(int(first), int(high * 100 // step) + 1)]
