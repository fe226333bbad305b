"""Benchmark against benchmark over many models (spec 7.09)."""

import numpy as np


def pearson(scores: np.ndarray) -> np.ndarray:
    """[benchmarks, benchmarks] Pearson correlation of the columns of `scores` [models, benchmarks].

    NaN marks a score that is missing; a pair of benchmarks is compared over the models that have both. Fewer than three
    such models, or no variation among them, gives NaN.
    """
    n = scores.shape[1]
    matrix = np.full((n, n), np.nan)
    for i in range(n):
        for j in range(i, n):
            both = ~np.isnan(scores[:, i]) & ~np.isnan(scores[:, j])
            a, b = scores[both, i], scores[both, j]
            if len(a) >= 3 and a.std() > 0 and b.std() > 0:
                matrix[i, j] = matrix[j, i] = 1.0 if i == j else np.corrcoef(a, b)[0, 1]
    return matrix
