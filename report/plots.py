"""Pictures beside the tables in the Dagster UI."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from report.drawing import GOOD, MIXED, PLAIN, QUIET, embedded, panels, png

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure


def histograms(
    series: "Mapping[str, Sequence[float] | np.ndarray]", label: str, mark: float | None = None
) -> dg.MetadataValue:
    """Distributions over [0, 1] on common bins, one outline a series; `mark` draws a threshold."""
    figure, (axis,) = panels(6, 3)
    for name, values in series.items():
        axis.hist(values, bins=40, range=(0, 1), histtype="step", linewidth=1.6, label=f"{name} (n = {len(values):,})")
    if mark is not None:
        axis.axvline(mark, color=QUIET, linewidth=1, linestyle=":")
    axis.set_xlabel(label)
    axis.set_ylabel("pairs")
    axis.legend(frameon=False)
    return _shown(figure)


def counts(numbers: Mapping[str, int], label: str) -> dg.MetadataValue:
    """Horizontal bars, in the order given."""
    figure, (axis,) = panels(6, 0.8 + 0.25 * len(numbers))
    axis.barh(list(numbers)[::-1], list(numbers.values())[::-1], color=PLAIN)
    axis.set_xlabel(label)
    axis.tick_params(axis="y", labelsize=8)
    return _shown(figure)


CARD_PANELS = {
    "agrees_with_people": "agrees with people",
    "prefers_first": "prefers the first",
    "flips_with_order": "flips with the order",
    "prefers_longer": "prefers the longer",
    "decides": "decides",
}


def judge_cards(rows: Sequence[Mapping]) -> dg.MetadataValue:
    """Report cards: a row a judge, a panel a habit. Hollow marks are agreement with one of several people, which
    compares with the green line, people's agreement with each other."""
    return dg.MetadataValue.md(embedded(judge_cards_png(rows)))


def judge_cards_png(rows: Sequence[Mapping], title: str = "") -> bytes:
    """See `judge_cards`; rows as in the table, the stratum `all` is drawn."""
    whole = {(r["judge"], r["figure"]): r for r in rows if r["stratum"] == "all" and r["value"] is not None}
    agrees = [j for j, figure in whole if figure == "agrees_with_people" and j != "people"]
    others = {j for j, figure in whole if figure in CARD_PANELS and j != "people"} - set(agrees)
    judges = [
        *(j for j in agrees if j.startswith("panel")),
        *sorted(others),
        *(j for j in agrees if not j.startswith("panel")),
    ]
    number = len(CARD_PANELS)
    figure, axes = panels(13, 1.3 + 0.27 * len(judges), number, number, sharey=True)
    for axis, (name, label) in zip(axes, CARD_PANELS.items(), strict=True):
        shown = [(i, whole[j, name]) for i, j in enumerate(judges) if (j, name) in whole]
        if shown:
            at, found = zip(*shown, strict=True)
            value = [r["value"] for r in found]
            spread = [[max(0, r["value"] - r["low"]) for r in found], [max(0, r["high"] - r["value"]) for r in found]]
            axis.errorbar(value, at, xerr=spread, fmt="o", markersize=4, capsize=2, color=PLAIN)
        axis.set(title=label, xlim=(0, 1), ylim=(-0.6, len(judges) - 0.4))
        axis.axvline(0.5, color=QUIET, linewidth=0.8, linestyle=":")
        axis.grid(axis="x", alpha=0.3)
    if ("people", "agrees_with_people") in whole:
        ceiling = whole["people", "agrees_with_people"]
        axes[0].axvspan(ceiling["low"], ceiling["high"], color=GOOD, alpha=0.15)
        axes[0].axvline(ceiling["value"], color=GOOD, linestyle="--", linewidth=1)
        one = [
            (whole[j, "agrees_with_one_person"]["value"], i)
            for i, j in enumerate(judges)
            if (j, "agrees_with_one_person") in whole
        ]
        if one:
            axes[0].plot(*zip(*one, strict=True), "D", markersize=5, markerfacecolor="none", color=GOOD)
        axes[0].set_xlabel("hollow: with one person\ngreen line: people with each other", fontsize=8)
    axes[0].set_yticks(range(len(judges)), judges, fontsize=8)
    if title:
        figure.suptitle(title, fontsize=10)
    return png(figure)


def stacked(
    names: Sequence[str], series: Mapping[str, Sequence[int]], marks: Sequence[float], label: str, mark: str
) -> dg.MetadataValue:
    """Horizontal bars, one a name, the series end to end, and a mark at what was aimed for."""
    figure, (axis,) = panels(7, 1.0 + 0.22 * len(names))
    places, start = range(len(names))[::-1], [0] * len(names)
    for (name, values), colour in zip(series.items(), (MIXED, PLAIN, QUIET), strict=False):
        axis.barh(places, values, left=start, color=colour, label=name)
        start = [a + b for a, b in zip(start, values, strict=True)]
    axis.plot(marks, places, "|", color="black", markersize=9, label=mark)
    axis.set_yticks(places, names, fontsize=8)
    axis.set_xlabel(label)
    axis.legend(frameon=False, fontsize=8)
    return _shown(figure)


def training(model: str | Path) -> dg.MetadataValue:
    """Loss of every step of a training and accuracy of its evaluations, from the metrics beside the model's folder; of a
    head on frozen layers, what cross-validation chose from."""
    if (Path(model) / "frozen.json").exists():
        return _chosen(json.loads((Path(model) / "frozen.json").read_text(encoding="utf-8")))
    lines = (Path(model).parent / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    steps = [json.loads(line) for line in lines]
    figure, (axis,) = panels(6, 3)
    axis.plot([m["step"] for m in steps], [m["loss"] for m in steps], linewidth=1.2, label="loss, training pairs")
    checked = [(m["step"], m["validation_accuracy"]) for m in steps if "validation_accuracy" in m]
    if checked:
        axis.plot(*zip(*checked, strict=True), "o-", linewidth=1.2, label="accuracy, validation pairs")
    axis.set_xlabel("step")
    axis.set_ylim(0, None)
    axis.legend(frameon=False)
    return _shown(figure)


def _chosen(facts: dict) -> dg.MetadataValue:
    """Cross-validated loss of every kind of features by ridge."""
    figure, (axis,) = panels(6, 3)
    curves: dict[str, list[tuple[float, float]]] = {}
    for name, loss in facts["losses"].items():
        kind, _, ridge = name.partition(", ")
        curves.setdefault(kind, []).append((float(ridge), loss))
    for kind, points in curves.items():
        axis.plot(*zip(*sorted(points), strict=True), "o-", linewidth=1.2, label=kind)
    axis.set_xscale("log")
    axis.set_xlabel(f"ridge; chosen: {facts['kind']}, {facts['ridge']:g}")
    axis.set_ylabel("log loss, cross-validated")
    axis.legend(frameon=False)
    return _shown(figure)


def _shown(figure: "Figure") -> dg.MetadataValue:
    return dg.MetadataValue.md(embedded(png(figure)))
