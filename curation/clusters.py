"""Near-duplicate texts as clusters: MinHash signatures, banded, joined by union-find.

Equal input gives equal clusters in every order. Two texts are joined when a band of their signatures is equal and the
signatures agree on at least `threshold` of their places, which estimates the Jaccard similarity of their shingles.
"""

from collections.abc import Iterable, Iterator
from hashlib import blake2b

import numpy as np
import pyarrow as pa

from .contamination import tokens

PERMUTATIONS = 128
BANDS = 16  # 8 values a band: half of the pairs with similarity 0.7 share one
SHINGLE = 5  # words
THRESHOLD = 0.8


def signatures(texts: pa.Array | pa.ChunkedArray, seed: int = 1) -> np.ndarray:
    """MinHash signatures of word 5-grams, uint32 of shape (texts, PERMUTATIONS); a shorter text is one shingle."""
    from rensa import RMinHash

    found = tokens(texts)
    words = found.words.dictionary_encode()
    hashed = np.array([_word_hash(w) for w in words.dictionary.to_pylist()], np.uint64)
    values = hashed[words.indices.to_numpy()] if len(words) else np.zeros(0, np.uint64)
    shingles, offsets = _shingles(values, found.starts)
    rows = RMinHash.digest_matrix_from_flat_token_hashes(shingles, offsets, PERMUTATIONS, seed)
    return np.array(rows.to_rows(), np.uint32).reshape(len(offsets) - 1, PERMUTATIONS)


def clusters(batches: Iterable[tuple[list[str], pa.Array, np.ndarray]]) -> Iterator[tuple[str, str]]:
    """(name, cluster) of every text, the cluster named by the smallest of the members that came first.

    What comes later changes no cluster: it joins one of those it resembles, that with the smallest name, even where it
    resembles two (spec 0.05).

    Args:
        batches: names, no two alike, their texts, and when each came (int64).
    """
    names: list[str] = []
    parts: list[np.ndarray] = []
    times: list[np.ndarray] = []
    for some, texts, came in batches:
        names += some
        parts.append(signatures(texts))
        times.append(came)
    if not names:
        return
    came = np.concatenate(times)
    order = np.lexsort((np.array(names), came))
    signed = np.concatenate(parts)[order]
    names = [names[i] for i in order]
    root = _joined(signed, came[order])
    for i, name in enumerate(names):
        yield name, names[root[i]]


def _joined(signed: np.ndarray, came: np.ndarray) -> np.ndarray:
    """The smallest index of each row's cluster; rows of signatures in the order of when they came and their names."""
    alike = _alike(signed)
    later = came[alike].max(axis=1)
    parent = np.arange(len(signed))

    def find(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    def join(pairs: np.ndarray) -> None:
        for a, b in pairs.tolist():
            low, high = sorted((find(a), find(b)))
            parent[high] = low

    for time in np.unique(later):
        now = alike[later == time]
        old = came[now].min(axis=1) < time
        join(now[~old])
        for low, high in sorted((find(low), high) for low, high in np.sort(now[old], axis=1).tolist()):
            if came[root := find(high)] == time:  # not yet in a cluster of before
                parent[root] = low
    return np.array([find(i) for i in range(len(signed))])


def _alike(signed: np.ndarray) -> np.ndarray:
    """Index pairs, shape (n, 2), whose signatures share a band and agree on `THRESHOLD` of their places."""
    found = [np.zeros((0, 2), np.int64)]
    width = PERMUTATIONS // BANDS
    for band in range(BANDS):
        values = np.ascontiguousarray(signed[:, band * width : (band + 1) * width]).view(f"V{4 * width}").ravel()
        _, group = np.unique(values, return_inverse=True)
        order = np.argsort(group, kind="stable")  # within a group rows stay in the order of their names
        same = np.flatnonzero(group[order][1:] == group[order][:-1])
        left, right = order[same], order[same + 1]
        for start in range(0, len(left), 1 << 16):
            i, j = left[start : start + (1 << 16)], right[start : start + (1 << 16)]
            enough = (signed[i] == signed[j]).mean(axis=1) >= THRESHOLD
            found.append(np.column_stack((i[enough], j[enough])))
    return np.unique(np.concatenate(found), axis=0)


def _shingles(values: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of every text's word windows and the offsets of each text's first; one window for a short text."""
    lengths = np.diff(starts)
    windows = np.maximum(lengths - SHINGLE + 1, 1)
    offsets = np.concatenate(([0], np.cumsum(windows)))
    first = np.repeat(starts[:-1] - offsets[:-1], windows) + np.arange(offsets[-1])
    last = np.repeat(starts[1:], windows)
    hashes = np.zeros(len(first), np.uint64)
    padded = np.concatenate((values, np.zeros(SHINGLE, np.uint64)))
    with np.errstate(over="ignore"):
        for k in range(SHINGLE):
            at = np.minimum(first + k, len(padded) - 1)
            hashes = hashes * np.uint64(0x9E3779B97F4A7C15) + np.where(first + k < last, padded[at], np.uint64(0))
    return hashes, offsets


def _word_hash(word: str) -> int:
    return int.from_bytes(blake2b(word.encode(), digest_size=8).digest(), "little")
