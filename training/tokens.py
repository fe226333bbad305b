"""Tokens as a table, in one file or several: written once, memory-mapped after that; planners read its lengths only.

A row is a group: an id, the tokens all its sequences begin with, and the tail of each sequence. Models that cannot
share a causal prefix (encoders) keep an empty prefix and whole sequences as tails.
"""

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from training.atomic import beside
from training.render import RenderError, encode, render, shared_prefix

IDS = pa.list_(pa.int32())
SCHEMA = pa.schema([("id", pa.string()), ("row", pa.int64()), ("prefix", IDS), ("tails", pa.list_(IDS))])
CHUNK = 1024
ABOUT = b"assay"  # of a file's schema: what it says of itself


class DamagedTokens(ValueError):
    """A file that a training made of its pairs is not what was written."""


def encoded(
    rows: Iterable[tuple[str, Sequence[dict], Sequence[str]]], tokenizer
) -> Iterator[tuple[str, list[np.ndarray] | RenderError]]:
    """Render and encode rows (id, conversation, responses): (id, one whole sequence a response), or the template's
    refusal."""
    rows = iter(rows)
    while chunk := list(itertools.islice(rows, CHUNK)):
        rendered = [_rendered(tokenizer, *row) for row in chunk]
        sequences = iter(encode(tokenizer, [t for texts in rendered if isinstance(texts, list) for t in texts]))
        for (name, *_), texts in zip(chunk, rendered, strict=True):
            yield name, [next(sequences) for _ in texts] if isinstance(texts, list) else texts


def _rendered(tokenizer, name: str, conversation: Sequence[dict], responses: Sequence[str]) -> list[str] | RenderError:
    try:
        return [render(tokenizer, conversation, r, f"pair {name}") for r in responses]
    except RenderError as e:
        return e


def unusable(sequences: Sequence[np.ndarray], max_tokens: int) -> str | None:
    """Why a pair cannot be trained on: `over_length`, or `identical` if both responses became the same tokens."""
    if max(map(len, sequences)) > max_tokens:
        return "over_length"
    if len({s.tobytes() for s in sequences}) < len(sequences):
        return "identical"
    return None


def write(
    groups: Iterable[tuple[str, int, Sequence[np.ndarray]]], sink, shared: bool, about: dict | None = None
) -> None:
    """Write groups (id, row number in the input, whole sequences) as an Arrow file.

    Args:
        sink: an Arrow output stream.
        shared: store the longest common prefix once.
        about: JSON values that the file says of itself.
    """
    groups = iter(groups)
    schema = SCHEMA.with_metadata({ABOUT: json.dumps(about)}) if about is not None else SCHEMA
    with pa.ipc.new_file(sink, schema) as out:
        while chunk := list(itertools.islice(groups, CHUNK)):
            ids, rows, whole = zip(*chunk, strict=True)
            cut = [shared_prefix(s) if shared else 0 for s in whole]
            columns = [
                ids,
                rows,
                [s[0][:n] for s, n in zip(whole, cut, strict=True)],
                [[s[n:] for s in group] for group, n in zip(whole, cut, strict=True)],
            ]
            out.write_batch(
                pa.record_batch([pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)], schema=schema)
            )


def write_pairs(
    path: Path,
    rows,
    tokenizer,
    max_tokens: int,
    shared: bool,
    keep: Sequence[str] = (),
    first_row: int = 0,
) -> Counter:
    """Write the usable pairs of `rows` (id, conversation, [chosen, rejected]) to a file, atomically. The file says how
    many were left out (see `left_out`).

    Args:
        keep: reasons (see `unusable`) that do not leave a pair out.
        first_row: number of the first of the rows in the input.

    Returns:
        how many pairs were left out, by reason: those of `unusable`, or `refused_by_template`.
    """
    dropped: Counter = Counter()
    refused: list[str] = []

    def usable():
        for row, (name, sequences) in enumerate(encoded(rows, tokenizer), start=first_row):
            if isinstance(sequences, RenderError):
                dropped["refused_by_template"] += 1
                refused.append(str(sequences))
                continue
            reason = unusable(sequences, max_tokens)
            if reason and reason not in keep:
                dropped[reason] += 1
            else:
                yield name, row, sequences

    groups = list(usable())
    with beside(path) as new:
        with pa.OSFile(str(new), "wb") as sink:
            write(groups, sink, shared, {"dropped": dropped, "refused": refused[:1]})
        new.replace(path)
    return dropped


def left_out(paths: Iterable[Path]) -> tuple[Counter, list[str]]:
    """How many pairs were left out of files of `write_pairs`, by reason, and what the template said of the first that it
    refused."""
    dropped: Counter = Counter()
    refused: list[str] = []
    for path in paths:
        about = json.loads(opened(path).schema.metadata[ABOUT])
        dropped.update(about["dropped"])
        refused += about["refused"]
    return dropped, refused[:1]


def opened(path: Path) -> pa.RecordBatchFileReader:
    """A file of tokens, memory-mapped. Raises DamagedTokens."""
    try:
        return pa.ipc.open_file(pa.memory_map(str(path)))
    except pa.ArrowInvalid as e:
        raise DamagedTokens(f"{path} is damaged ({e}); remove {path.parent} to make it anew") from None


class TokenTable:
    """A table of groups, memory-mapped from files, one behind the other, or in a buffer.

    Attributes:
        prefixes: [groups] int64, tokens of the shared prefix.
        tails: [groups] int64, tokens of all tails together.
        longest: [groups] int64, tokens of the longest whole sequence.
        counts: [groups] int64, sequences in the group.
    """

    def __init__(self, *sources: Path | pa.Buffer):
        self._files = [opened(s) if isinstance(s, Path) else pa.ipc.open_file(s) for s in sources]
        self._batches = [file.get_batch(i) for file in self._files for i in range(file.num_record_batches)]
        self._parts = [self._views(b) for b in self._batches]
        self._starts = np.cumsum([0, *(b.num_rows for b in self._batches)])
        prefixes, tails, longest, counts = [], [], [], []
        for _, p, _, t, s in self._parts:
            sizes = np.diff(s)
            prefixes.append(np.diff(p))
            tails.append(np.diff(s[t]))
            counts.append(np.diff(t))
            longest.append(np.diff(p) + np.maximum.reduceat(sizes, t[:-1]))

        def join(parts):
            return np.concatenate(parts).astype(np.int64) if parts else np.zeros(0, np.int64)

        self.prefixes, self.tails, self.longest, self.counts = map(join, (prefixes, tails, longest, counts))

    @staticmethod
    def _views(batch: pa.RecordBatch):
        prefix, tails = batch["prefix"], batch["tails"]
        return (
            prefix.values.to_numpy(),
            prefix.offsets.to_numpy(),
            tails.values.values.to_numpy(),
            tails.offsets.to_numpy(),
            tails.values.offsets.to_numpy(),
        )

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def lengths(self) -> np.ndarray:
        """Tokens a group takes when its prefix is computed once."""
        return self.prefixes + self.tails

    @property
    def whole(self) -> int:
        """Tokens of all sequences, each with its own prefix: what a computation without sharing or padding costs."""
        return int((self.prefixes * self.counts + self.tails).sum())

    def id_batches(self) -> Iterator[list[str]]:
        """All ids in order, some at a time."""
        return (b["id"].to_pylist() for b in self._batches)

    @property
    def ids(self) -> list[str]:
        return list(itertools.chain.from_iterable(self.id_batches()))

    def name(self, group: int) -> str:
        b = int(np.searchsorted(self._starts, group, "right")) - 1
        return self._batches[b]["id"][group - int(self._starts[b])].as_py()

    @property
    def rows(self) -> np.ndarray:
        """Row number of each group in the input."""
        return np.concatenate([b["row"].to_numpy() for b in self._batches]) if self._batches else np.zeros(0, np.int64)

    def group(self, i: int) -> tuple[np.ndarray, list[np.ndarray]]:
        """Prefix and tails of one group, int32 views into the file."""
        b = int(np.searchsorted(self._starts, i, "right")) - 1
        pv, po, tv, to, so = self._parts[b]
        i -= int(self._starts[b])
        return pv[po[i] : po[i + 1]], [tv[so[j] : so[j + 1]] for j in range(to[i], to[i + 1])]
