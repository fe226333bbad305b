"""The paper's columns and averages, computed only over what is complete (spec 7.01, 7.21)."""

from collections.abc import Mapping

from evaluation.sheets import PAPER

SIX = ("RewardBench 2",)  # what the mean of six leaves out: curves, ablations, the planner


def columns(values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Loader -> value as the paper's seven columns; a column is the mean of its parts, None when one is missing."""
    return {column: _mean([values.get(p) for p in parts]) for column, parts in PAPER.items()}


def average(by_column: Mapping[str, float | None], leave_out: tuple[str, ...] = ()) -> float | None:
    """Unweighted mean over the paper's columns; None unless all of them are there."""
    return _mean([by_column.get(c) for c in PAPER if c not in leave_out])


def _mean(parts: list[float | None]) -> float | None:
    there = [v for v in parts if v is not None]
    return sum(there) / len(there) if len(there) == len(parts) else None
