"""Best-of-k: how often the response a model would pick out of k random ones is right, exactly and without sampling."""

import functools
from math import comb

import numpy as np


@functools.cache
def _chance_of_rank(n: int) -> np.ndarray:
    """[k - 1, rank]: the chance that the response of this rank (0 is best) is the best of a random k-subset of n."""
    chance = np.array([[comb(n - 1 - r, k - 1) / comb(n, k) for r in range(n)] for k in range(1, n + 1)])
    chance.setflags(write=False)
    return chance


def picked(reward: np.ndarray, right: np.ndarray) -> np.ndarray:
    """[n] for k = 1..n, the chance that the highest reward among k of the n responses belongs to a right one.

    The k responses are a uniformly random subset; equal rewards are picked with equal chance.
    """
    order = np.argsort(-reward, kind="stable")
    ranked, ordered = right[order].astype(float), reward[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    counts = np.diff(np.r_[starts, len(ordered)])
    shared = np.repeat(np.add.reduceat(ranked, starts) / counts, counts)
    return _chance_of_rank(len(reward)) @ shared


def ceiling(right: int, n: int) -> np.ndarray:
    """[n] for k = 1..n, the chance that k of n responses hold one of the `right` ones: what no model can beat."""
    return np.array([1 - comb(n - int(right), k) / comb(n, k) for k in range(1, n + 1)])
