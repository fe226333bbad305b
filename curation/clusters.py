"""Near-duplicate texts as clusters: MinHash signatures, banded, joined by union-find.

Equal input gives equal clusters in every order. Two texts are joined when a band of their signatures is equal and the
signatures agree on at least `threshold` of their places, which estimates the Jaccard similarity of their shingles.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa

from curation.contamination import Tokens, holds_signs, signed_tokens, tokens

PERMUTATIONS = 128
BANDS = 16  # 8 values a band: half of the pairs with similarity 0.7 share one
SHINGLE = 5  # words
THRESHOLD = 0.8
SHORT = 13  # words; the signs of a shorter text are words of it, for nothing else may tell it from another
_BASE = np.uint64(0x9E3779B97F4A7C15)


def signatures(texts: pa.Array | pa.ChunkedArray, seed: int = 1) -> np.ndarray:
    """MinHash signatures of word 5-grams, uint32 of shape (texts, PERMUTATIONS); a shorter text is one shingle."""
    import rensa

    minhash: Any = rensa  # whose types do not name what it holds

    values, starts = _hashed(tokens(texts))
    few = np.flatnonzero(np.diff(starts) < SHORT)
    few = few[holds_signs(some := texts.take(pa.array(few))) | (np.diff(starts)[few] == 0)] if len(few) else few
    if len(few):
        some = texts.take(pa.array(few))
        values, starts = _replaced(values, starts, few, *_hashed(signed_tokens(some)))
    shingles, offsets = _shingles(values, starts)
    rows = minhash.RMinHash.digest_matrix_from_flat_token_hashes(shingles, offsets, PERMUTATIONS, seed)
    places = np.fromiter(chain.from_iterable(rows.to_rows()), np.uint32, (len(offsets) - 1) * PERMUTATIONS)
    return places.reshape(len(offsets) - 1, PERMUTATIONS)


def _hashed(found: Tokens) -> tuple[np.ndarray, np.ndarray]:
    """A hash of each word (uint64), and where the texts start."""
    words = found.words.dictionary_encode()
    hashed = np.array([_word_hash(w) for w in words.dictionary.to_pylist()], np.uint64)
    return hashed[words.indices.to_numpy()] if len(words) else np.zeros(0, np.uint64), found.starts


def _replaced(
    values: np.ndarray, starts: np.ndarray, which: np.ndarray, others: np.ndarray, other_starts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Values of texts on end, with others for some of the texts."""
    old, new = np.diff(starts), np.diff(starts)
    new[which] = np.diff(other_starts)
    mine = np.ones(len(old), bool)
    mine[which] = False
    made = np.empty(int(new.sum()), np.uint64)
    made[np.repeat(mine, new)] = values[np.repeat(mine, old)]
    made[np.repeat(~mine, new)] = others
    return made, np.concatenate(([0], np.cumsum(new)))


def clusters(
    batches: Iterable[tuple[list[str], pa.Array, np.ndarray]], folder: Path | None = None, threads: int = 1
) -> Iterator[tuple[str, str]]:
    """(name, cluster) of every text, the cluster named by the smallest of the members that came first.

    What comes later changes no cluster: it joins one of those it resembles, that with the smallest name, even where it
    resembles two (spec 0.05).

    Args:
        batches: names, no two alike, their texts, and when each came (int64).
        folder: for what is too large for the memory; default: one of the temporary ones.
        threads: that make signatures, each of a batch.
    """
    with TemporaryDirectory(dir=folder) as within:
        names: list[np.ndarray] = []
        times: list[np.ndarray] = []
        with _Signatures(Path(within)) as signed, ThreadPoolExecutor(threads) as pool:
            coming: deque[Future[np.ndarray]] = deque()
            for some, texts, came in batches:
                names.append(np.array([name.encode() for name in some], np.bytes_))
                times.append(came)
                coming.append(pool.submit(signatures, texts))
                if len(coming) > threads:  # one waits while all are at work
                    signed.add(coming.popleft().result())
            while coming:
                signed.add(coming.popleft().result())
        if not sum(map(len, names)):
            return
        named, came = np.concatenate(names), np.concatenate(times)
        names.clear()
        order = np.lexsort((named, came))  # by bytes, as UTF-8 sorts like the text does
        root = _joined(signed.alike(order), came[order])
        named = named[order]
        for start in range(0, len(named), 1 << 16):
            some, clusters = named[start : start + (1 << 16)], named[root[start : start + (1 << 16)]]
            yield from ((n.decode(), c.decode()) for n, c in zip(some.tolist(), clusters.tolist(), strict=True))


class _Signatures:
    """Signatures on disk, 512 bytes each: more conversations than memory holds (memory: a few numbers each)."""

    def __init__(self, folder: Path):
        self.rows, self.bands = folder / "signatures", [folder / f"band{i:02d}" for i in range(BANDS)]

    def __enter__(self) -> "_Signatures":
        with ExitStack() as stack:
            self.files = [stack.enter_context(open(p, "wb")) for p in (self.rows, *self.bands)]
            self.open = stack.pop_all()
        return self

    def __exit__(self, *error) -> None:
        self.open.close()

    def add(self, rows: np.ndarray) -> None:
        """Rows of shape (n, PERMUTATIONS), and one 64-bit hash of each of their bands."""
        rows.tofile(self.files[0])
        width = PERMUTATIONS // BANDS
        hashes = np.zeros((BANDS, len(rows)), np.uint64)
        with np.errstate(over="ignore"):
            for k in range(width):
                hashes = (hashes ^ (hashes >> np.uint64(29))) * _BASE + rows[:, k::width].T
        for file, values in zip(self.files[1:], hashes, strict=True):
            values.tofile(file)

    def alike(self, order: np.ndarray) -> np.ndarray:
        """Pairs of places in `order`, shape (n, 2), sorted, whose signatures share a band and agree on `THRESHOLD` of
        their places; of the rows that share a band only neighbours are compared."""
        found = np.zeros(0, np.int64)
        for path in self.bands:
            values = np.fromfile(path, np.uint64)[order]
            band = np.argsort(values, kind="stable")  # equal ones stay in order
            values = values[band]
            same = np.flatnonzero(values[1:] == values[:-1])
            pairs = np.setdiff1d(band[same] * len(order) + band[same + 1], found)
            kept = [found]
            for start in range(0, len(pairs), 1 << 15):
                some = pairs[start : start + (1 << 15)]
                # mapped anew for each part: pages that were looked at would count as this process's memory
                signed = np.memmap(self.rows, np.uint32, "r").reshape(-1, PERMUTATIONS)
                i, j = order[some // len(order)], order[some % len(order)]
                kept.append(some[(signed[i] == signed[j]).mean(axis=1) >= THRESHOLD])
            found = np.unique(np.concatenate(kept))
        return np.column_stack((found // len(order), found % len(order)))


def _joined(alike: np.ndarray, came: np.ndarray) -> np.ndarray:
    """The smallest index of each text's cluster, of texts in the order of when they came and their names."""
    later = came[alike].max(axis=1)
    parent = np.arange(len(came))

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
    while not np.array_equal(shorter := parent[parent], parent):
        parent = shorter
    return parent


def _shingles(values: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of every text's word windows and the offsets of each text's first; one window for a short text."""
    lengths = np.diff(starts)
    windows = np.maximum(lengths - SHINGLE + 1, 1)
    offsets = np.concatenate(([0], np.cumsum(windows)))
    first = np.repeat(starts[:-1] - offsets[:-1], windows) + np.arange(offsets[-1])
    padded = np.concatenate((values, np.zeros(SHINGLE, np.uint64)))
    everywhere = np.zeros(len(values) + 1, np.uint64)
    few = np.flatnonzero(lengths < SHINGLE)
    short = np.zeros(len(few), np.uint64)
    with np.errstate(over="ignore"):
        for k in range(SHINGLE):
            everywhere = everywhere * _BASE + padded[k : k + len(everywhere)]
            short = short * _BASE + np.where(k < lengths[few], padded[starts[:-1][few] + k], np.uint64(0))
    hashes = everywhere[first]
    hashes[offsets[:-1][few]] = short
    return hashes, offsets


def _word_hash(word: str) -> int:
    return int.from_bytes(blake2b(word.encode(), digest_size=8).digest(), "little")
