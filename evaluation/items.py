"""The one record all benchmarks are read into, and the checks that make a table of it trustworthy.

A benchmark is a table of candidates: one row a (item, response). Its metrics read `LABELLED` and a reward each, never
a text.
"""

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

LABELLED = pa.schema(
    [
        pa.field("item_id", pa.string(), False),
        pa.field("candidate", pa.int64(), False),  # position in the item, from 0
        pa.field("unit", pa.string(), False),  # rule that decides the item, see sheets.Unit
        pa.field("item_group", pa.string(), False),  # what the reported number is a mean of; '' when there is one group
        pa.field("subset", pa.string(), False),  # finest division reported
        pa.field("label", pa.bool_(), False),  # a right, or the better, response
        pa.field("against", pa.list_(pa.int64())),  # candidates it was drawn to be compared with (PPE Correctness)
    ]
)
REWARDS = pa.schema(
    [
        *[LABELLED.field(n) for n in ("item_id", "candidate")],
        pa.field("reward", pa.float64()),  # null: could not be scored
        pa.field("truncated", pa.bool_()),  # scored without its beginning; without this column none was
    ]
)

SIZES = {
    "pair": (2, 2),
    "matrix": (6, 6),
    "best_of_n": (3, 7),
    "shared": (4, 4),
    "ties": (2, None),
    "best_of_k": (2, None),
}


class BenchmarkError(Exception):
    """A benchmark's file or a table of scores cannot be trusted; the message names benchmark, item and field."""


def check(benchmark: str, labelled: pa.Table) -> pa.Table:
    """`labelled` sorted by (item_id, candidate), after proving that every item is one its unit's rule can decide.

    Raises:
        BenchmarkError: no items, a missing value, a repeated candidate or one left out, the wrong number of candidates,
            or labels that leave nothing to decide.
    """
    for field in LABELLED:
        if not field.nullable and labelled[field.name].null_count:
            at = pc.index(pc.is_null(labelled[field.name]), True).as_py()
            raise BenchmarkError(f"{benchmark}: item {labelled['item_id'][at].as_py()!r} has no {field.name}")
    if not labelled.num_rows:
        raise BenchmarkError(f"{benchmark}: no items")
    labelled = labelled.sort_by([("item_id", "ascending"), ("candidate", "ascending")])
    starts, counts, _ = segments(labelled)
    number = np.arange(labelled.num_rows) - np.repeat(starts, counts)
    candidate = labelled["candidate"].to_numpy()
    if (wrong := np.flatnonzero(number != candidate)).size:
        row = labelled.slice(int(wrong[0]), 1).to_pylist()[0]
        raise BenchmarkError(
            f"{benchmark}: item {row['item_id']!r} is there twice or lacks candidate {number[wrong[0]]}"
        )
    first = labelled.select(["item_id", "unit"]).take(starts).to_pylist()
    right = np.add.reduceat(labelled["label"].to_numpy().astype(int), starts)
    for item, n, k in zip(first, counts.tolist(), right.tolist(), strict=True):
        low, high = SIZES[item["unit"]]
        if n < low or (high is not None and n > high):
            raise BenchmarkError(
                f"{benchmark}: item {item['item_id']!r} has {n} candidates, expected {low}"
                + ("" if high == low else f" to {high or 'any number'}")
            )
        allowed = {"matrix": k == 3, "ties": 0 < k < n, "best_of_k": 0 < k < n}.get(item["unit"], k == 1)
        if not allowed:
            raise BenchmarkError(f"{benchmark}: item {item['item_id']!r}, field label: {k} of {n} candidates are right")
    return labelled


def segments(sorted_table: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(first row, number of rows, id) of every item of a table sorted by item_id."""
    ids = sorted_table["item_id"].to_numpy(zero_copy_only=False)
    starts = np.flatnonzero(np.r_[True, ids[1:] != ids[:-1]])
    return starts, np.diff(np.r_[starts, len(ids)]), ids[starts]


def attach(benchmark: str, labelled: pa.Table, rewards: pa.Table) -> pa.Table:
    """`labelled`, as `check` returns it, and the columns `reward` and `truncated` of `REWARDS`.

    Raises:
        BenchmarkError: a reward is missing, is there twice, is NaN or infinite, or belongs to no candidate.
    """
    if "truncated" not in rewards.column_names:
        rewards = rewards.append_column("truncated", pa.nulls(rewards.num_rows, pa.bool_()))
    rewards = rewards.select(REWARDS.names).sort_by([("item_id", "ascending"), ("candidate", "ascending")])

    def keys(t: pa.Table) -> list[tuple[str, int]]:
        return list(zip(t["item_id"].to_pylist(), t["candidate"].to_pylist(), strict=True))

    want, got = keys(labelled), keys(rewards)
    if want != got:
        twice = next((k for k, n in Counter(got).items() if n > 1), None)
        for problem, key in (
            ("has two rewards", twice),
            ("has no reward", min(set(want) - set(got), default=None)),
            ("is not part of it, yet has a reward", min(set(got) - set(want), default=None)),
        ):
            if key is not None:
                raise BenchmarkError(f"{benchmark}: candidate {key[1]} of item {key[0]!r} {problem}")
    reward = pc.cast(rewards["reward"], pa.float64())
    bad = pc.invert(pc.is_finite(reward))
    if pc.any(bad).as_py():
        item, candidate = want[pc.index(bad, True).as_py()]
        raise BenchmarkError(
            f"{benchmark}: the reward of candidate {candidate} of item {item!r} is not a finite number"
        )
    return labelled.append_column("reward", reward).append_column(
        "truncated", pc.fill_null(rewards["truncated"], False)
    )
