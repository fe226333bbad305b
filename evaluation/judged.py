"""Judges evaluated like reward models: the votes for a response are its reward (spec 7.18).

A pair shown in both orders is right when more votes go to the better response than to the other, as JudgeBench's own
script has it; a judge that cannot decide, or decides by position, ties and is wrong.
"""

import pyarrow as pa

from evaluation.items import REWARDS, BenchmarkError

VOTE = {"original": 0, "swapped": 1}  # of a pair whose candidate 0 stands for the original's preferred response


def rewards(benchmark: str, labelled: pa.Table, votes: pa.Table) -> pa.Table:
    """(item_id, candidate, reward) from votes (item_id, vote), where `original` means candidate 0, `swapped` 1.

    Other votes (tie, none) count for neither side. A judge of whom no answer can be used is not one that is always wrong:
    it has no number.

    Raises:
        BenchmarkError: the benchmark holds other units than pairs, an item has no vote at all, or no vote says anything.
    """
    if set(labelled["unit"].unique().to_pylist()) != {"pair"}:
        raise BenchmarkError(f"{benchmark}: judges are evaluated on pairs only")
    counts = {item: [0.0, 0.0] for item in labelled["item_id"].unique().to_pylist()}
    asked = set()
    for item, vote in zip(votes["item_id"].to_pylist(), votes["vote"].to_pylist(), strict=True):
        if item not in counts:
            raise BenchmarkError(f"{benchmark}: item {item!r} is not part of it, yet has a vote")
        asked.add(item)
        if vote in VOTE:
            counts[item][VOTE[vote]] += 1
    if silent := min(set(counts) - asked, default=None):
        raise BenchmarkError(f"{benchmark}: item {silent!r} has no vote")
    if counts and set(votes["vote"].unique().to_pylist()) <= {"none"}:
        raise BenchmarkError(f"{benchmark}: the judge gave no usable answer, so it has no accuracy")
    rows = [{"item_id": i, "candidate": c, "reward": r} for i, pair in counts.items() for c, r in enumerate(pair)]
    return pa.Table.from_pylist(rows, schema=REWARDS)
