"""Pictures of benchmark results, as PNG bytes."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from curation.intervals import Estimate
from report.charts import intervals_figure
from report.drawing import embedded, panels, png

__all__ = ["bars", "curves", "embedded", "matrix", "scatter"]

COLOURS = ("#4c72b0", "#b7b7b7", "#dd8452", "#55a868", "#8172b3")  # one an arm


def bars(rows: Sequence[dict]) -> bytes:
    """(arm, benchmark, value, low, high) with their intervals, a row each; a half is chance for pairs."""
    arms = list(dict.fromkeys(r["arm"] for r in rows))
    shown = [
        (
            f"{r['benchmark']} · {r['arm']}",
            Estimate(r["value"], r["low"], r["high"]),
            COLOURS[arms.index(r["arm"]) % len(COLOURS)],
        )
        for r in rows
    ]
    return png(intervals_figure(shown, line=0.5))


def curves(rows: Sequence[dict]) -> bytes:
    """Best-of-k of each data set and of their mean, a line and its interval a model, under the ceiling that no model can pass
    (spec 8.08). Rows of PPE Correctness results; those of several models name them by `arm`."""
    series: dict[str, dict[str, dict[int, dict]]] = {}  # data set, '' for the mean -> model, '' for the ceiling -> k
    for r in rows:
        kind, _, k = r["metric"].removesuffix("_at_hand").rpartition("_")
        if kind in ("best_of", "ceiling") and r["value"] is not None:
            model = r.get("arm", "model's choice") if kind == "best_of" else ""
            series.setdefault(r["subset"], {}).setdefault(model, {})[int(k)] = r
    means = series.pop("", {})
    shown = series | ({f"mean of {len(series)}": means} if means and len(series) > 1 else {})
    columns = min(3, len(shown))
    figure, axes = panels(3.2 * columns, 2.6 * math.ceil(len(shown) / columns), len(shown), columns)
    models = list(dict.fromkeys(m for lines in shown.values() for m in lines if m))
    for axis, (name, lines) in zip(axes, shown.items(), strict=False):
        for model, line in lines.items():
            at, values = list(line), [r["value"] for r in line.values()]
            if not model:
                axis.plot(at, values, color="#999999", linestyle="--", label="any is right")
                continue
            colour = COLOURS[models.index(model) % len(COLOURS)]
            axis.plot(at, values, color=colour, label=model)
            low, high = ([r[end] for r in line.values()] for end in ("low", "high"))
            axis.fill_between(at, low, high, color=colour, alpha=0.2, linewidth=0)
        axis.set(title=name, xlabel="responses to choose from", ylim=(0, 1.02))
    axes[0].legend(frameon=False, fontsize="small")
    return png(figure)


def matrix(names: Sequence[str], values: np.ndarray) -> bytes:
    """Correlations of benchmarks with each other; what could not be computed stays white."""
    figure, (axis,) = panels(5.6, 5.0)
    image = axis.imshow(values, vmin=-1, vmax=1, cmap="RdBu_r")
    axis.set_xticks(range(len(names)), names, rotation=40, ha="right")
    axis.set_yticks(range(len(names)), names)
    for (i, j), value in _cells(values):
        axis.text(j, i, f"{value:.2f}", ha="center", va="center", color="white" if abs(value) > 0.7 else "black")
    figure.colorbar(image, label="Pearson correlation over models")
    return png(figure)


def scatter(x: np.ndarray, y: np.ndarray, x_name: str, y_name: str) -> bytes:
    """Models as points: one benchmark against another."""
    figure, (axis,) = panels(4.6, 3.6)
    axis.scatter(x, y, color="#4c72b0", s=18)
    axis.set(xlabel=x_name, ylabel=y_name, title=f"{len(x)} models, Pearson {np.corrcoef(x, y)[0, 1]:.2f}")
    return png(figure)


def _cells(values: np.ndarray) -> Iterator[tuple[tuple[int, int], float]]:
    return ((at, value) for at, value in np.ndenumerate(values) if np.isfinite(value))
