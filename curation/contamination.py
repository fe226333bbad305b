"""Word n-grams that texts share with benchmark prompts, found by hashing and confirmed word by word (spec 0.08).

Texts are split by Arrow and only words that some benchmark prompt uses get a number; a window that holds any other word
cannot match and is never hashed. Windows are hashed by a 64-bit polynomial, looked up in the sorted hashes of the
benchmarks, and compared word by word, so that a match is never a collision. Memory is bounded by the batch given.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_BASE = np.uint64(0x9E3779B97F4A7C15)
# Scripts written without spaces: every character is a word, or their sentences would be one word each.
_UNSPACED = r"([\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}])"


@dataclass(frozen=True)
class Tokens:
    """Words of n texts on end: text i has words[starts[i]:starts[i + 1]]."""

    words: pa.StringArray
    starts: np.ndarray


def tokens(texts: pa.Array | pa.ChunkedArray) -> Tokens:
    """Lower-case words (letters, marks and digits) of each text, however its characters are encoded; null counts as
    empty."""
    column = pa.chunked_array(texts) if isinstance(texts, pa.Array) else texts
    column = pc.utf8_lower(_composed(pc.fill_null(column.cast(pa.large_string()), "")))
    column = pc.replace_substring_regex(column, _UNSPACED, r" \1 ")
    column = pc.utf8_trim_whitespace(pc.replace_substring_regex(column, r"[^\p{L}\p{M}\p{N}]+", " "))
    lists = pc.split_pattern(column, " ").combine_chunks()
    words, starts = lists.flatten(), lists.offsets.to_numpy().astype(np.int64)
    blank = pc.equal(words, "").to_numpy(zero_copy_only=False)  # an empty text splits into one empty word
    if blank.any():
        kept = np.concatenate(([0], np.cumsum(~blank)))
        words, starts = words.filter(pa.array(~blank)), kept[starts - starts[0]]
    return Tokens(words, starts - starts[0])


def _composed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Accents composed, full-width letters made plain, invisible characters removed (NFKC without format characters)."""
    other = pc.invert(pc.string_is_ascii(column))
    if not pc.any(other).as_py():
        return column
    plain = pc.utf8_normalize(column.filter(other), "NFKC")
    plain = pc.replace_substring_regex(plain, r"\p{Cf}+", "").combine_chunks()
    return pa.chunked_array([pc.replace_with_mask(column.combine_chunks(), other.combine_chunks(), plain)])


@dataclass(frozen=True)
class Matches:
    """Windows of the scanned texts that equal a benchmark n-gram, in order of text and position.

    Attributes:
        text: index of the text, one a match.
        gram: index of the n-gram in the index; a whole short prompt counts as one.
        position: first word of the match within its text.
    """

    text: np.ndarray
    gram: np.ndarray
    position: np.ndarray


class BenchmarkIndex:
    """The n-grams of benchmark prompts, and the prompts of fewer than n words as wholes.

    An n-gram that several prompts share belongs, in each benchmark, to the first of them by item_id.

    Attributes:
        short: whether an n-gram is a whole short prompt, by its index.
        benchmark, item_id: whom the n-grams belong to; those of n-gram i stand from owners[i] to owners[i + 1].
    """

    def __init__(self, benchmark: Sequence[str], item_id: Sequence[str], prompts: Sequence[str], n: int = 13):
        order = sorted(range(len(prompts)), key=lambda i: (benchmark[i], item_id[i]))
        found = tokens(pa.array([prompts[i] for i in order], pa.string()))
        self.n = n
        self.words = pc.unique(found.words).cast(pa.large_string())
        ids, starts = self._ids(found), found.starts
        windows, text = _windows(ids, starts, n)
        self._hash, kept, gram = np.unique(_hashes(ids, windows, n), return_index=True, return_inverse=True)
        self._ids_of = ids[windows[kept][:, None] + np.arange(n)]
        lengths = np.diff(starts)
        small = np.flatnonzero((lengths > 0) & (lengths < n))
        keys = _joined(found, small)
        self._short_keys = pc.unique(keys)
        short = pc.index_in(keys, value_set=self._short_keys).to_numpy(zero_copy_only=False) + len(self._hash)
        self.short = np.arange(len(self._hash) + len(self._short_keys)) >= len(self._hash)
        gram, text = np.concatenate((gram, short)).astype(np.int64), np.concatenate((text, small))
        number = np.unique([benchmark[i] for i in order], return_inverse=True)[1].astype(np.int64)
        pairs, first = np.unique(np.column_stack((gram, number[text])), axis=0, return_index=True)
        owner = [order[t] for t in text[first]]
        self.benchmark = pa.array([benchmark[o] for o in owner], pa.string())
        self.item_id = pa.array([item_id[o] for o in owner], pa.string())
        self.owners = np.searchsorted(pairs[:, 0], np.arange(len(self.short) + 1))

    def __len__(self) -> int:
        return len(self.short)

    def span(self, gram: int) -> str:
        """The words of an n-gram or a short prompt."""
        if self.short[gram]:
            return self._short_keys[gram - len(self._hash)].as_py()
        return " ".join(self.words.take(pa.array(self._ids_of[gram] - 1)).to_pylist())

    def scan(self, texts: pa.Array | pa.ChunkedArray, whole: np.ndarray | None = None) -> Matches:
        """Every benchmark n-gram in the texts.

        Args:
            texts: one string each.
            whole: which texts may match a short prompt as a whole; all when None.
        """
        found = tokens(texts)
        ids = self._ids(found)
        windows, text = _windows(ids, found.starts, self.n)
        hits, grams = np.zeros(0, np.int64), np.zeros(0, np.int64)
        if len(windows) and len(self._hash):
            hashes = _hashes(ids, windows, self.n)
            grams = np.minimum(np.searchsorted(self._hash, hashes), len(self._hash) - 1)
            hits = np.flatnonzero(self._hash[grams] == hashes)
            same = (ids[windows[hits][:, None] + np.arange(self.n)] == self._ids_of[grams[hits]]).all(axis=1)
            hits = hits[same]
            grams = grams[hits]
        position = windows[hits] - found.starts[text[hits]]
        short_text, short_gram = self._short(found, whole)
        text = np.concatenate((text[hits], short_text))
        gram = np.concatenate((grams, short_gram))
        position = np.concatenate((position, np.zeros(len(short_text), np.int64)))
        order = np.lexsort((position, text))
        return Matches(text[order], gram[order], position[order])

    def _ids(self, found: Tokens) -> np.ndarray:
        """Number of each word, from 1; 0 for a word of no benchmark."""
        index = pc.index_in(found.words.cast(pa.large_string()), value_set=self.words)
        return pc.fill_null(index, -1).to_numpy(zero_copy_only=False).astype(np.int32) + 1

    def _short(self, found: Tokens, whole: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        lengths = np.diff(found.starts)
        fits = (lengths > 0) & (lengths < self.n)
        candidates = np.flatnonzero(fits if whole is None else fits & whole)
        if not len(candidates) or not len(self._short_keys):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        index = pc.index_in(_joined(found, candidates), value_set=self._short_keys)
        known = pc.is_valid(index).to_numpy(zero_copy_only=False)
        gram = pc.fill_null(index, 0).to_numpy(zero_copy_only=False).astype(np.int64) + len(self._hash)
        return candidates[known], gram[known]


def _joined(found: Tokens, texts: np.ndarray) -> pa.LargeStringArray:
    """The words of some of the texts, a space between."""
    lists = pa.LargeListArray.from_arrays(pa.array(found.starts), found.words.cast(pa.large_string()))
    return pc.binary_join(lists.take(pa.array(texts)).cast(pa.list_(pa.string())), " ").cast(pa.large_string())


def _windows(ids: np.ndarray, starts: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """(first word, text) of every window of n known words that stays within its text."""
    lengths = np.diff(starts)
    if len(ids) < n:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    unknown = np.concatenate(([0], np.cumsum(ids == 0)))
    text = np.repeat(np.arange(len(lengths)), lengths)
    good = (unknown[n:] == unknown[:-n]) & (text[: len(ids) - n + 1] == text[n - 1 :])
    windows = np.flatnonzero(good)
    return windows, text[windows]


def _hashes(ids: np.ndarray, windows: np.ndarray, n: int) -> np.ndarray:
    """Polynomial hash, modulo 2^64, of the n ids from each window on."""
    values = ids.astype(np.uint64)
    hashes = np.zeros(len(windows), np.uint64)
    with np.errstate(over="ignore"):
        for k in range(n):
            hashes *= _BASE
            hashes += values[windows + k]
        hashes ^= hashes >> np.uint64(29)  # words have small numbers: spread them over all bits
    return hashes


# ---- pairs ---------------------------------------------------------------------------------------------------------
_CHOSEN, _REJECTED = 1 << 30, (1 << 30) + 1  # places after every turn of a conversation


def scan_conversations(index: BenchmarkIndex, batch: pa.RecordBatch, all_turns: bool) -> pa.RecordBatch:
    """Matches in the user turns, or in all turns, of a batch with conv_id and conversation, as rows of
    `benchmark_hits`; only a user turn can be a short prompt as a whole."""
    turns = batch.column("conversation")
    content = turns.flatten()
    user = pc.equal(content.field("role"), "user").to_numpy(zero_copy_only=False)
    starts = turns.offsets.to_numpy().astype(np.int64) - turns.offsets[0].as_py()
    owner = np.repeat(np.arange(len(turns)), np.diff(starts))
    place = np.arange(len(content)) - starts[owner]
    kept = np.arange(len(content)) if all_turns else np.flatnonzero(user)
    found = index.scan(content.field("content").take(pa.array(kept)), user[kept])
    turn = kept[found.text]
    pairs = pa.nulls(len(turn), pa.string())
    return _hits(index, batch.column("conv_id").take(pa.array(owner[turn])), pairs, found, place[turn])


def scan_responses(index: BenchmarkIndex, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Matches in the responses of a batch with conv_id, pair_id, chosen and rejected, as rows of `benchmark_hits`."""
    for name, place in (("chosen", _CHOSEN), ("rejected", _REJECTED)):
        found = index.scan(batch.column(name), np.zeros(batch.num_rows, bool))
        rows = pa.array(found.text)
        conversations, pairs = batch.column("conv_id").take(rows), batch.column("pair_id").take(rows)
        yield _hits(index, conversations, pairs, found, np.full(len(rows), place))


def _hits(
    index: BenchmarkIndex, conversations: pa.Array, pairs: pa.Array, found: Matches, place: np.ndarray
) -> pa.RecordBatch:
    """One row a match and benchmark."""
    shared = np.diff(index.owners)[found.gram]
    row = np.repeat(np.arange(len(found.gram)), shared)
    owner = np.repeat(index.owners[found.gram] - np.cumsum(shared) + shared, shared) + np.arange(len(row))
    grams, which = np.unique(found.gram, return_inverse=True)
    rules = ["short-prompt" if index.short[g] else f"{index.n}-gram" for g in grams]
    row, owner, which = pa.array(row), pa.array(owner), pa.array(which[row].astype(np.int64))
    return pa.RecordBatch.from_pydict(
        {
            "benchmark": index.benchmark.take(owner),
            "item_id": index.item_id.take(owner),
            "rule": pa.array(rules, pa.string()).take(which),
            "span": pa.array([index.span(g) for g in grams], pa.string()).take(which),
            "conv_id": conversations.take(row),
            "pair_id": pairs.take(row),
            "place": pa.array(place.astype(np.int64)).take(row),
            "position": pa.array(found.position.astype(np.int64)).take(row),
        }
    )
