"""Pictures beside the tables in the Dagster UI; matplotlib is imported when one is drawn."""

import io
from collections.abc import Mapping, Sequence

import dagster as dg

from .benchmark_plots import embedded


def histograms(series: Mapping[str, Sequence[float]], label: str, mark: float | None = None) -> dg.MetadataValue:
    """Distributions over [0, 1] on common bins, one outline a series; `mark` draws a threshold."""
    axis, done = _axis(6, 3)
    for name, values in series.items():
        axis.hist(values, bins=40, range=(0, 1), histtype="step", linewidth=1.6, label=f"{name} (n = {len(values):,})")
    if mark is not None:
        axis.axvline(mark, color="#999999", linewidth=1, linestyle=":")
    axis.set_xlabel(label)
    axis.set_ylabel("pairs")
    axis.legend(frameon=False)
    return done()


def counts(numbers: Mapping[str, int], label: str) -> dg.MetadataValue:
    """Horizontal bars, in the order given."""
    axis, done = _axis(6, 0.8 + 0.25 * len(numbers))
    axis.barh(list(numbers)[::-1], list(numbers.values())[::-1], color="#4c72b0")
    axis.set_xlabel(label)
    axis.tick_params(axis="y", labelsize=8)
    return done()


def _axis(width: float, height: float):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((width, height), layout="constrained")
    FigureCanvasAgg(figure)

    def done() -> dg.MetadataValue:
        out = io.BytesIO()
        figure.savefig(out, format="png", dpi=110, metadata={"Software": None})
        return dg.MetadataValue.md(embedded(out.getvalue()))

    return figure.add_subplot(), done
