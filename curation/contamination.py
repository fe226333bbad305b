"""Word n-grams that texts share with benchmark prompts, found by hashing and confirmed word by word (spec 0.08).

Texts are split by Arrow and only words that some benchmark prompt uses get a number; a window that holds any other word
cannot match and is never hashed. Windows are hashed by a 64-bit polynomial, looked up in the sorted hashes of the
benchmarks, and compared word by word, so that a match is never a collision. Memory is bounded by the batch given.

Scripts that are written without spaces are split into characters, each of which counts as a part of a word: a window is
as long as n words of English are, in whatever script it is written.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

pc: Any = pyarrow.compute  # its functions are made when it is loaded: no type checker knows them

_BASE = np.uint64(0x9E3779B97F4A7C15)
_INVERSE = np.uint64(pow(0x9E3779B97F4A7C15, -1, 1 << 64))
# Scripts written without spaces: every character is a word, or their sentences would be one word each.
_DENSE = r"\p{Han}\p{Hiragana}\p{Katakana}"  # about 1.5 characters a word
_LOOSE = r"\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"  # about 4
_UNSPACED = rf"([{_DENSE}{_LOOSE}])"
WORD, DENSE, LOOSE = 12, 8, 3  # what a word and a character of them count for, in twelfths of a word
# Signs that tell one short text from another: symbols, and punctuation that means something in formulas and in names.
# A hyphen does between numbers, an asterisk between two words, not where they hyphenate, list or emphasise.
_SIGNS = r"\p{Sm}\p{Sc}\p{So}\p{Sk}#%&/@\\"
_MINUS = r"(\p{N}\s*)[-\x{2010}-\x{2014}](\s*\p{N})"
_TIMES = tuple(
    (rf"([\p{{L}}\p{{N}})\]]{space}){signs}({space}[\p{{L}}\p{{N}}(\[])", sign)
    for signs, sign in ((r"\*\*", "^"), (r"\*", "\u00d7"))
    for space in ("", r"\s+")
)
_ASCII = np.array(
    [byte if chr(byte).isascii() and chr(byte).isalnum() else 32 for byte in bytes(range(256)).lower()], np.uint8
)
_SIGNED = rf"[{_SIGNS}*\-\x{{2010}}-\x{{2014}}]"


@dataclass(frozen=True)
class Tokens:
    """Words of n texts on end: text i has words[starts[i]:starts[i + 1]]."""

    words: pa.StringArray
    starts: np.ndarray


def tokens(texts: pa.Array | pa.ChunkedArray) -> Tokens:
    """Lower-case words (letters, marks and digits) of each text, however its characters are encoded; null counts as
    empty."""
    whole = _whole(texts).combine_chunks()
    column, other = _spaced(whole), pc.invert(pc.string_is_ascii(whole))
    if pc.any(other).as_py():
        plain = pc.utf8_lower(_composed(pa.chunked_array([whole.filter(other)])))
        plain = pc.replace_substring_regex(plain, _UNSPACED, r" \1 ")
        plain = pc.replace_substring_regex(plain, r"[^\p{L}\p{M}\p{N}]+", " ").combine_chunks()
        column = pc.replace_with_mask(column, other, plain)
    return _words(pc.ascii_split_whitespace(pc.ascii_trim_whitespace(column)))


def _spaced(texts: pa.LargeStringArray) -> pa.LargeStringArray:
    """Texts of ASCII in lower case with a blank in the place of all that is no letter or digit; as bytes, which takes a
    tenth of the time that a regular expression does."""
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    bytes_ = np.frombuffer(data, np.uint8)[ends[0] : ends[-1]] if data else np.zeros(0, np.uint8)
    made = np.take(_ASCII, bytes_)
    return pa.LargeStringArray.from_buffers(len(texts), pa.py_buffer(ends - ends[0]), pa.py_buffer(made))


def signed_tokens(texts: pa.Array | pa.ChunkedArray) -> Tokens:
    """As `tokens`, with the signs that tell one short text from another as words of their own; of a text that holds
    neither words nor such signs, every character is one."""
    column = pc.utf8_lower(_composed(pc.replace_substring(_whole(texts), "`", " ")))  # code is marked by it
    for _ in range(2):  # of neighbours, a pass sees every other one
        column = pc.replace_substring_regex(column, _MINUS, "\\1\u2212\\2")
        for pattern, sign in _TIMES:
            column = pc.replace_substring_regex(column, pattern, rf"\1{sign}\2")
    plain = column
    column = pc.replace_substring_regex(column, rf"([{_SIGNS}])", r" \1 ")
    column = pc.replace_substring_regex(column, _UNSPACED, r" \1 ")
    column = pc.replace_substring_regex(column, rf"[^\p{{L}}\p{{M}}\p{{N}}{_SIGNS}]+", " ")
    bare = pc.equal(pc.utf8_trim_whitespace(column), "")
    column = pc.if_else(bare, pc.replace_substring_regex(plain, r"(\S)", r" \1 "), column)
    return _words(pc.split_pattern(pc.utf8_trim_whitespace(column), " ").combine_chunks())


def holds_signs(texts: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Which texts may hold such signs (bool)."""
    return pc.match_substring_regex(_whole(texts), _SIGNED).to_numpy()


def _whole(texts: pa.Array | pa.ChunkedArray) -> pa.ChunkedArray:
    column = pa.chunked_array([texts]) if isinstance(texts, pa.Array) else texts
    return pc.fill_null(column.cast(pa.large_string()), "")


def _words(lists: pa.LargeListArray) -> Tokens:
    words, starts = lists.flatten(), lists.offsets.to_numpy().astype(np.int64)
    blank = pc.equal(words, "").to_numpy(zero_copy_only=False)  # an empty text splits into one empty word
    if blank.any():
        kept = np.concatenate(([0], np.cumsum(~blank)))
        words, starts = words.filter(pa.array(~blank)), kept[starts - starts[0]]
    return Tokens(words, starts - starts[0])


def _composed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Accents composed, full-width letters made plain, invisible characters removed (NFKC without format characters and
    variation selectors)."""
    other = pc.invert(pc.string_is_ascii(column))
    if not pc.any(other).as_py():
        return column
    plain = pc.utf8_normalize(column.filter(other), "NFKC")
    plain = pc.replace_substring_regex(plain, r"[\p{Cf}\x{FE00}-\x{FE0F}]+", "").combine_chunks()
    return pa.chunked_array([pc.replace_with_mask(column.combine_chunks(), other.combine_chunks(), plain)])


def weights(words: pa.Array) -> np.ndarray:
    """What each word counts for in the length of a window (int64)."""
    dense, loose = (
        pc.match_substring_regex(words, rf"^[{script}]$").to_numpy(zero_copy_only=False) for script in (_DENSE, _LOOSE)
    )
    return np.where(dense, DENSE, np.where(loose, LOOSE, WORD)).astype(np.int64)


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

    An n-gram is n words, or as many characters of a script without spaces as make n words (20 of Chinese and Japanese,
    52 of Thai, Lao, Khmer and Burmese). A short prompt is compared with its signs: "3 * 4" is not "3 + 4". An n-gram that
    several prompts share belongs, in each benchmark, to the first of them by item_id.

    Attributes:
        short: whether an n-gram is a whole short prompt, by its index.
        benchmark, item_id: whom the n-grams belong to; those of n-gram i stand from owners[i] to owners[i + 1].
    """

    def __init__(self, benchmark: Sequence[str], item_id: Sequence[str], prompts: Sequence[str], n: int = 13):
        order = sorted(range(len(prompts)), key=lambda i: (benchmark[i], item_id[i]))
        texts = pa.array([prompts[i] for i in order], pa.string())
        found = tokens(texts)
        self.n = n
        self.words = pc.unique(found.words).cast(pa.large_string())
        self._weights = np.concatenate(([WORD], weights(self.words)))
        ids, starts = self._ids(found), found.starts
        first, last, text = self._windows(ids, starts)
        self._hash, kept, gram = np.unique(_hashes(ids, first, last), return_index=True, return_inverse=True)
        self._first, self._last, self._all = first[kept], last[kept], ids
        whole = np.concatenate(([0], np.cumsum(self._weights[ids])))[starts]
        small = np.flatnonzero(np.diff(whole) < n * WORD)
        plain, keys = _joined(found, small), _joined(signed_tokens(texts.take(pa.array(small))))
        small = small[pc.not_equal(keys, "").to_numpy(zero_copy_only=False)]
        self._plain_keys = pc.unique(plain)
        keys = keys.filter(pc.not_equal(keys, ""))
        self._short_keys = pc.unique(keys)
        short = pc.index_in(keys, value_set=self._short_keys).to_numpy(zero_copy_only=False) + len(self._hash)
        self.short = np.arange(len(self._hash) + len(self._short_keys)) >= len(self._hash)
        gram, text = np.concatenate((gram, short)).astype(np.int64), np.concatenate((text, small))
        number = np.unique([benchmark[i] for i in order], return_inverse=True)[1].astype(np.int64)
        pairs, begin = np.unique(np.column_stack((gram, number[text])), axis=0, return_index=True)
        owner = [order[t] for t in text[begin]]
        self.benchmark = pa.array([benchmark[o] for o in owner], pa.string())
        self.item_id = pa.array([item_id[o] for o in owner], pa.string())
        self.owners = np.searchsorted(pairs[:, 0], np.arange(len(self.short) + 1))

    def __len__(self) -> int:
        return len(self.short)

    def span(self, gram: int) -> str:
        """The words of an n-gram or a short prompt."""
        if self.short[gram]:
            return self._short_keys[gram - len(self._hash)].as_py()
        ids = self._all[self._first[gram] : self._last[gram]]
        return " ".join(self.words.take(pa.array(ids - 1)).to_pylist())

    def scan(self, texts: pa.Array | pa.ChunkedArray, whole: np.ndarray | None = None) -> Matches:
        """Every benchmark n-gram in the texts.

        Args:
            texts: one string each.
            whole: which texts may match a short prompt as a whole; all when None.
        """
        found = tokens(texts)
        ids = self._ids(found)
        first, last, text = self._windows(ids, found.starts)
        hits, grams = np.zeros(0, np.int64), np.zeros(0, np.int64)
        if len(first) and len(self._hash):
            hashes = _hashes(ids, first, last)
            grams = np.minimum(np.searchsorted(self._hash, hashes), len(self._hash) - 1)
            hits = np.flatnonzero(self._hash[grams] == hashes)
            hits = hits[self._same(ids, first[hits], last[hits], grams[hits])]
            grams = grams[hits]
        position = first[hits] - found.starts[text[hits]]
        short_text, short_gram = self._short(found, texts, whole)
        text = np.concatenate((text[hits], short_text))
        gram = np.concatenate((grams, short_gram))
        position = np.concatenate((position, np.zeros(len(short_text), np.int64)))
        order = np.lexsort((position, text))
        return Matches(text[order], gram[order], position[order])

    def _ids(self, found: Tokens) -> np.ndarray:
        """Number of each word, from 1; 0 for a word of no benchmark."""
        index = pc.index_in(found.words.cast(pa.large_string()), value_set=self.words)
        return pc.fill_null(index, -1).to_numpy(zero_copy_only=False).astype(np.int32) + 1

    def _windows(self, ids: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(first word, word after the last, text) of every window of known words that counts for n words and stays
        within its text."""
        counted = np.concatenate(([0], np.cumsum(self._weights[ids])))
        first = np.arange(len(ids))
        if (self._weights == WORD).all():
            first = first[: max(0, len(ids) - self.n + 1)]
            last = first + self.n
        else:
            last = np.searchsorted(counted, counted[:-1] + self.n * WORD)
            first = first[last <= len(ids)]
            last = last[: len(first)]
        unknown = np.concatenate(([0], np.cumsum(ids == 0)))
        text = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        good = np.flatnonzero((unknown[last] == unknown[first]) & (text[last - 1] == text[first]))
        return first[good], last[good], text[first[good]]

    def _same(self, ids: np.ndarray, first: np.ndarray, last: np.ndarray, grams: np.ndarray) -> np.ndarray:
        """Whether windows hold the words of the n-grams of equal hash."""
        length = last - first
        begin = self._first[grams]
        same = length == self._last[grams] - begin
        for k in range(int(length.max(initial=0))):
            inside = np.flatnonzero(same & (k < length))
            same[inside] = ids[first[inside] + k] == self._all[begin[inside] + k]
        return same

    def _short(
        self, found: Tokens, texts: pa.Array | pa.ChunkedArray, whole: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Texts that are a whole short prompt: first those with its words, and of them those with its signs."""
        lengths = np.diff(found.starts)
        fits = lengths < self.n * WORD // LOOSE
        candidates = np.flatnonzero(fits if whole is None else fits & whole)
        nothing = np.zeros(0, np.int64), np.zeros(0, np.int64)
        if not len(candidates) or not len(self._short_keys):
            return nothing
        known = pc.is_in(_joined(found, candidates), value_set=self._plain_keys).to_numpy(zero_copy_only=False)
        candidates = candidates[known]
        if not len(candidates):
            return nothing
        index = pc.index_in(_joined(signed_tokens(texts.take(pa.array(candidates)))), value_set=self._short_keys)
        known = pc.is_valid(index).to_numpy(zero_copy_only=False)
        gram = pc.fill_null(index, 0).to_numpy(zero_copy_only=False).astype(np.int64) + len(self._hash)
        return candidates[known], gram[known]


def _joined(found: Tokens, texts: np.ndarray | None = None) -> pa.LargeStringArray:
    """The words of some of the texts, or of all, a space between."""
    lists = pa.LargeListArray.from_arrays(pa.array(found.starts), found.words.cast(pa.large_string()))
    lists = lists if texts is None else lists.take(pa.array(texts))
    return pc.binary_join(lists.cast(pa.list_(pa.string())), " ").cast(pa.large_string())


def _hashes(ids: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Polynomial hash, modulo 2^64, of the ids from each window's first to its last: sums of the ids times powers of the
    base, of which the powers before the window are taken away again."""
    if not len(ids):
        return np.zeros(0, np.uint64)
    with np.errstate(over="ignore"):
        powers = np.cumprod(np.full(len(ids), _BASE, np.uint64))
        inverses = np.cumprod(np.full(len(ids), _INVERSE, np.uint64))
        sums = np.concatenate((np.zeros(1, np.uint64), np.cumsum(powers * ids.astype(np.uint64))))
        hashes = (sums[last] - sums[first]) * inverses[first]
        hashes = (hashes ^ (hashes >> np.uint64(29))) * _BASE  # words have small numbers: spread them over all bits
        hashes ^= hashes >> np.uint64(32)
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
