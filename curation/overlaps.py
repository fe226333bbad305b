"""The longest run of words that a text shares with a benchmark prompt (spec 0.09)."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from curation.contamination import BenchmarkIndex


class Overlap(NamedTuple):
    """The longest run that a text shares with a benchmark.

    Attributes:
        text: number of the text.
        benchmark, item_id: whose prompt holds it; of several items the first.
        n: words of the run, at most as many as were looked for.
        span: the words, those of the run's first n.
    """

    text: int
    benchmark: str
    item_id: str
    n: int
    span: str


def indexes(
    benchmark: Sequence[str], item_id: Sequence[str], prompts: Sequence[str], shortest: int, longest: int
) -> dict[int, BenchmarkIndex]:
    """An index for each length, the shortest first."""
    return {n: BenchmarkIndex(benchmark, item_id, prompts, n) for n in range(shortest, longest + 1)}


def overlaps(by_length: Mapping[int, BenchmarkIndex], texts: pa.Array) -> list[Overlap]:
    """One a text and benchmark. A text that shares no run of n words shares none of n + 1: only the others are searched
    again."""
    found: dict[tuple[int, str], Overlap] = {}
    left = np.arange(len(texts))
    for n, index in by_length.items():
        if not len(left) or not len(index):
            break
        some = texts.take(pa.array(left))
        matches = index.scan(some, np.zeros(len(left), bool))
        seen: set[tuple[int, str]] = set()
        for text, gram in zip(left[matches.text].tolist(), matches.gram.tolist(), strict=True):
            for owner in range(index.owners[gram], index.owners[gram + 1]):
                key = (text, index.benchmark[owner].as_py())
                if key not in seen:
                    seen.add(key)
                    found[key] = Overlap(*key, index.item_id[owner].as_py(), n, index.span(gram))
        left = np.unique(left[matches.text])
    return [found[key] for key in sorted(found)]
