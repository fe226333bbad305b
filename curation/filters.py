"""The filters of the paper's review page: agreement, diversity and margin trim a release to a size (spec 5.05 to 5.08).

Diversity is the greedy most likely set of a determinantal point process (Chen, Zhang & Zhou 2018), pair by pair, in blocks
of like pairs. Libraries that sample such processes take an eigendecomposition of the whole kernel, which no pool has room
for, and draw anew each time; the greedy set is the same every time and its prefixes are greedy sets too.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from curation.intervals import wilson

LEAST = 20  # gold pairs with a verdict of the judges, below which a cell says nothing of its own (spec O-16)
BLOCK = 2_000  # like pairs among which diversity is looked for at a time
WIDTH = (
    0.25  # of the kernel exp((cosine - 1) / WIDTH), which is 1 for equal vectors and of full rank for different ones
)
FITTED_ON = 20_000  # vectors that the topics are fitted on
SPENT = 1e-9  # of a residual: what is left is a copy of something drawn


class Cell(NamedTuple):
    """Agreement of judges with people in one topic and stratum.

    Attributes:
        topic: number of the topic; -1 for all of a stratum.
        stratum: objective or subjective; '' for everything.
        n: gold pairs that judges have a verdict on.
        equal: those on which it is people's.
    """

    topic: int
    stratum: str
    n: int
    equal: int

    def value(self, lower: bool) -> float:
        """The share, or the lower end of its interval."""
        return wilson(self.equal, self.n).low or 0.0 if lower else self.equal / self.n


def topics(vectors: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Clusters of unit vectors.

    Args:
        vectors: [N, D] float32.
        n: clusters wanted.

    Returns:
        [N] int32, the cluster of each.
    """
    from sklearn.cluster import KMeans

    if len(vectors) == 0:
        return np.zeros(0, np.int32)
    some = np.asarray(vectors[:: -(-len(vectors) // FITTED_ON)], np.float32)
    fitted = KMeans(min(n, len(np.unique(some, axis=0))), n_init=1, random_state=seed).fit(some)
    starts = range(0, len(vectors), FITTED_ON)
    return np.concatenate([fitted.predict(np.asarray(vectors[i : i + FITTED_ON], np.float32)) for i in starts])


def cells(topic: Sequence[int], stratum: Sequence[str], equal: Sequence[bool]) -> dict[tuple[int, str], Cell]:
    """Agreement by topic and stratum, by stratum (topic -1), and in all (topic -1, stratum '')."""
    found: dict[tuple[int, str], Cell] = {}
    for t, s, e in zip(topic, stratum, equal, strict=True):
        for key in dict.fromkeys(((int(t), s), (-1, s), (-1, ""))):
            old = found.get(key, Cell(*key, 0, 0))
            found[key] = old._replace(n=old.n + 1, equal=old.equal + bool(e))
    return found


def agreement_of(known: dict[tuple[int, str], Cell], topic: int, stratum: str) -> Cell | None:
    """The cell that speaks for a pair: its own, else its stratum's, else all gold's; None where there is too little gold."""
    for key in ((topic, stratum), (-1, stratum), (-1, "")):
        if key in known and known[key].n >= LEAST:
            return known[key]
    return None


def greedy(vectors: np.ndarray, size: int) -> tuple[list[int], list[float]]:
    """The greedy most likely set of a determinantal point process over unit vectors, in the order in which it is drawn.

    Each step takes the vector that raises the determinant of the kernel of those drawn the most; of equals the first.
    Copies of what is drawn come last, in their order.

    Returns:
        (the vectors drawn, the factor by which each raised the determinant, which never grows).
    """
    n = len(vectors)
    vectors = np.asarray(vectors, np.float64)
    left, factors = np.ones(n), np.zeros((min(size, n), n))
    drawn: list[int] = []
    gains: list[float] = []
    for step in range(min(size, n)):
        i = int(np.argmax(left))
        if left[i] <= SPENT:
            break
        row = np.exp((vectors @ vectors[i] - 1) / WIDTH)
        factors[step] = (row - factors[:step, i] @ factors[:step]) / np.sqrt(left[i])
        left_before = left[i]
        left = left - factors[step] ** 2
        drawn.append(i)
        gains.append(float(left_before))
        left[drawn] = -np.inf
    if len(drawn) < min(size, n):
        there = set(drawn)
        drawn += [i for i in range(n) if i not in there][: min(size, n) - len(drawn)]
    return drawn, gains + [0.0] * (len(drawn) - len(gains))


def diverse(vectors: np.ndarray, topic: np.ndarray, size: int) -> np.ndarray:
    """Draw pairs that are unlike each other, from every topic in proportion to what it holds. Of a topic's blocks those
    pairs are taken that raise the determinant of their own block the most.

    Args:
        vectors: [N, D] unit vectors, in an order that is the pairs' own.
        topic: [N] cluster of each.
        size: pairs wanted.

    Returns:
        [N] int64, the rank with which each was drawn within its topic, from 0; -1 for those that were not.
    """
    ranks = np.full(len(topic), -1)
    found, counts = np.unique(topic, return_counts=True)
    for t, quota in zip(found, quotas(counts.tolist(), min(size, len(topic))), strict=True):
        members = np.flatnonzero(topic == t)
        if len(members) > BLOCK:  # like pairs lie at like distances from the middle, so that copies meet in a block
            here = np.asarray(vectors[members], np.float64)
            members = members[np.argsort(-(here @ here.mean(axis=0)).round(9), kind="stable")]
        raised: list[tuple[float, int]] = []
        for start in range(0, len(members), BLOCK):
            block = np.sort(members[start : start + BLOCK])
            raised += [(-gain, int(block[i])) for i, gain in zip(*greedy(vectors[block], quota), strict=True)]
        for rank, (_, i) in enumerate(sorted(raised)[:quota]):
            ranks[i] = rank
    return ranks


def quotas(sizes: Sequence[int], total: int) -> list[int]:
    """`total` in proportion to sizes, by largest remainders; of equal ones the earlier.

    >>> quotas([5, 3, 2], 5)
    [3, 1, 1]
    """
    of = sum(sizes)
    if not of:
        return [0] * len(sizes)
    exact = [total * n / of for n in sizes]
    given = [int(x) for x in exact]
    order = sorted(range(len(sizes)), key=lambda i: (given[i] - exact[i], i))
    for i in order[: total - sum(given)]:
        given[i] += 1
    return given


def distance(before: np.ndarray, after: np.ndarray) -> float:
    """Total variation between two sets of topics: half of what their shares differ by; 1.0 where one is empty."""
    if not len(before) or not len(after):
        return 1.0
    n = int(max(before.max(), after.max())) + 1
    shares = [np.bincount(x, minlength=n) / len(x) for x in (before, after)]
    return float(np.abs(shares[0] - shares[1]).sum() / 2)
