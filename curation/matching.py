"""Topics of conversations, for comparing what two sets of pairs are about (spec 8.09)."""

from dataclasses import dataclass

import numpy as np

NUMBER = 12  # of topics
ROUNDS = 25


@dataclass(frozen=True)
class Topics:
    """Centres [k, D] of k-means."""

    centres: np.ndarray

    @classmethod
    def learned(cls, vectors: np.ndarray, number: int = NUMBER, seed: int = 0) -> "Topics":
        """k-means with k-means++ starts; equal vectors in an equal order give equal centres.

        Args:
            vectors: [n, D], n at least 1.
        """
        x = np.asarray(vectors, np.float64)
        rng = np.random.default_rng(seed)
        chosen = [int(rng.integers(len(x)))]
        nearest = ((x - x[chosen[0]]) ** 2).sum(1)
        while len(chosen) < min(number, len(x)) and nearest.sum() > 0:
            chosen.append(int(rng.choice(len(x), p=nearest / nearest.sum())))
            nearest = np.minimum(nearest, ((x - x[chosen[-1]]) ** 2).sum(1))
        centres = x[chosen]
        for _ in range(ROUNDS):
            labels = cls(centres).of(x)
            moved = np.stack([x[labels == k].mean(0) if (labels == k).any() else c for k, c in enumerate(centres)])
            if np.allclose(moved, centres):
                break
            centres = moved
        return cls(centres)

    def of(self, vectors: np.ndarray) -> np.ndarray:
        """[n] the nearest centre of each."""
        x = np.asarray(vectors, np.float64)
        distances = (self.centres**2).sum(1)[None] - 2 * x @ self.centres.T  # but for a term that all centres share
        return distances.argmin(1)
