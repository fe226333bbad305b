"""The paper's columns and averages, computed only over what is complete (spec 7.01, 7.21)."""

from collections.abc import Mapping

from evaluation.sheets import PAPER

SIX = ("RewardBench 2",)  # what the mean of six leaves out: curves, ablations, the planner


def columns(values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Loader -> value as the paper's seven columns; a column is the mean of its parts, None when one is missing."""
    found = {}
    for column, parts in PAPER.items():
        have = [values.get(p) for p in parts]
        found[column] = None if any(v is None for v in have) else sum(have) / len(have)
    return found


def average(by_column: Mapping[str, float | None], leave_out: tuple[str, ...] = ()) -> float | None:
    """Unweighted mean over the paper's columns; None unless all of them are there."""
    have = [by_column.get(c) for c in PAPER if c not in leave_out]
    return None if any(v is None for v in have) else sum(have) / len(have)
