"""Pictures of benchmark results, as PNG bytes; matplotlib is imported when the first one is drawn."""

import base64
import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


COLOURS = ("#4c72b0", "#b7b7b7", "#dd8452", "#55a868", "#8172b3")  # one an arm


def bars(rows: Sequence[dict]) -> bytes:
    """Horizontal bars of (arm, benchmark, value, low, high) with their intervals; a half is chance for pairs."""
    figure, (axis,) = _figure(6, 0.6 + 0.35 * len(rows))
    names = [f"{r['benchmark']} · {r['arm']}" for r in rows][::-1]
    values = [r["value"] for r in rows][::-1]
    error = [
        [max(0, r["value"] - r["low"]) for r in rows][::-1],
        [max(0, r["high"] - r["value"]) for r in rows][::-1],
    ]
    arms = list(dict.fromkeys(r["arm"] for r in rows))
    colours = [COLOURS[arms.index(r["arm"]) % len(COLOURS)] for r in rows][::-1]
    axis.barh(names, values, xerr=error, color=colours, ecolor="#222222", capsize=3)
    axis.axvline(0.5, color="#999999", linewidth=1, linestyle=":")
    axis.set_xlim(0, 1)
    axis.set_xlabel("score, 95 % interval over items")
    return png(figure)


def curves(rows: Sequence[dict]) -> bytes:
    """Best-of-k of each data set, its interval and its ceiling, from rows of one PPE Correctness result."""
    import math

    series: dict[str, dict[str, dict[int, dict]]] = {}
    for r in rows:
        kind, _, k = r["metric"].removesuffix("_at_hand").rpartition("_")
        if kind in ("best_of", "ceiling") and r["value"] is not None and r["subset"]:
            series.setdefault(r["subset"], {}).setdefault(kind, {})[int(k)] = r
    columns = min(3, len(series))
    figure, axes = _figure(3.2 * columns, 2.6 * math.ceil(len(series) / columns), len(series), columns)
    for axis, (name, lines) in zip(axes, series.items(), strict=False):
        best, top = lines["best_of"], lines["ceiling"]
        axis.plot(list(top), [r["value"] for r in top.values()], color="#999999", linestyle="--", label="any is right")
        axis.plot(list(best), [r["value"] for r in best.values()], color="#4c72b0", label="model's choice")
        ends = [[r[end] for r in best.values()] for end in ("low", "high")]
        axis.fill_between(list(best), *ends, color="#4c72b0", alpha=0.2, linewidth=0)
        axis.set(title=name, xlabel="responses to choose from", ylim=(0, 1.02))
    axes[0].legend(frameon=False, fontsize="small")
    return png(figure)


def matrix(names: Sequence[str], values: "np.ndarray") -> bytes:
    """Correlations of benchmarks with each other; what could not be computed stays white."""
    figure, (axis,) = _figure(5.6, 5.0)
    image = axis.imshow(values, vmin=-1, vmax=1, cmap="RdBu_r")
    axis.set_xticks(range(len(names)), names, rotation=40, ha="right")
    axis.set_yticks(range(len(names)), names)
    for (i, j), value in _cells(values):
        axis.text(j, i, f"{value:.2f}", ha="center", va="center", color="white" if abs(value) > 0.7 else "black")
    figure.colorbar(image, label="Pearson correlation over models")
    return png(figure)


def scatter(x: "np.ndarray", y: "np.ndarray", x_name: str, y_name: str) -> bytes:
    """Models as points: one benchmark against another."""
    import numpy as np

    figure, (axis,) = _figure(4.6, 3.6)
    axis.scatter(x, y, color="#4c72b0", s=18)
    axis.set(xlabel=x_name, ylabel=y_name, title=f"{len(x)} models, Pearson {np.corrcoef(x, y)[0, 1]:.2f}")
    return png(figure)


def embedded(png: bytes) -> str:
    """A picture as Markdown that needs no file."""
    return f"![plot](data:image/png;base64,{base64.b64encode(png).decode()})"


def _cells(values: "np.ndarray") -> Iterator[tuple[tuple[int, int], float]]:
    import numpy as np

    return ((at, value) for at, value in np.ndenumerate(values) if np.isfinite(value))


def drawing(width: float, height: float):
    """A figure that needs no display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _figure(width: float, height: float, panels: int = 1, columns: int = 1):
    """(figure, its panels in reading order); panels beyond the last one are left out."""
    figure = drawing(width, height)
    return figure, [figure.add_subplot(-(-panels // columns), columns, i + 1) for i in range(panels)]


def png(figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110, metadata={"Software": None})
    return out.getvalue()
