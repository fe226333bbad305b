"""Pictures of benchmark results, as PNG bytes; matplotlib is imported when the first one is drawn."""

import base64
import io
from collections.abc import Sequence


def bars(rows: Sequence[dict]) -> bytes:
    """Horizontal bars of (arm, benchmark, value, low, high) with their intervals; a half is chance for pairs."""
    figure, axis = _figure(6, 0.6 + 0.35 * len(rows))
    names = [f"{r['benchmark']} · {r['arm']}" for r in rows][::-1]
    values = [r["value"] for r in rows][::-1]
    error = [
        [max(0, r["value"] - r["low"]) for r in rows][::-1],
        [max(0, r["high"] - r["value"]) for r in rows][::-1],
    ]
    axis.barh(names, values, xerr=error, color="#4c72b0", ecolor="#222222", capsize=3)
    axis.axvline(0.5, color="#999999", linewidth=1, linestyle=":")
    axis.set_xlim(0, 1)
    axis.set_xlabel("score, 95 % interval over items")
    return _png(figure)


def embedded(png: bytes) -> str:
    """A picture as Markdown that needs no file."""
    return f"![plot](data:image/png;base64,{base64.b64encode(png).decode()})"


def _figure(width: float, height: float):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def _png(figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110, metadata={"Software": None})
    return out.getvalue()
