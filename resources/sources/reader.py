"""Reads sources of preference data as pairs, and recorded answers as winners, a batch at a time.

What cannot be read is kept with its reason: a bad row costs that row, a bad file that file; neither stops the others.
"""

import contextlib
import functools
import gc
import glob
import hashlib
import heapq
import json
import os
import re
import tempfile
import time
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, chain, groupby, islice
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any, Literal, cast

import duckdb
import pyarrow as pa

from curation.adapters import Shape, absent, adapter, field_names
from curation.codes import GOOD_OR_BAD, Codes, spelt
from curation.comparison import Comparison, Found
from curation.conversation import BadRecord, Said, Unfit
from curation.identity import Turn, comparison_id, conv_id, lot, pair_ids, text_hash
from curation.nearest import beside_path, columnar, nearest
from curation.plain import Sound
from curation.tables import CONVERSATION, QUARANTINE, RAW_POOL, TEXTS, TURN, UNUSABLE
from curation.unpaired import pair_up
from resources.lake import Lake
from resources.scratch import scratch
from resources.settings import Answers, Records, Source
from resources.sources import hub
from resources.sources.files import (
    BATCH_ROWS,
    EXCERPT,
    BadFile,
    Row,
    file_rows,
    first_line,
    has_cells,
    opening,
    query_rows,
    rows_of_files,
)
from resources.sources.parts import FilePart, PartRead, numbered, parts_of, runs_of, side_by_side

BATCH_CHARS = 16_000_000  # flushes a batch of long texts early
RUN_CHARS = 32_000_000  # of pairs that are put into order together
RUN_ROWS = 50_000
_KEY = itemgetter(2, 0, 6, 7)  # of raw_pool, in what _Builder collects: comparison_id, pair_id, row, part
MOST_PAIRS = 100_000  # of one record: its pairs grow with the square of its responses
SETTLED = 2_000_000_000  # ns since its last change after which a file's time says whether it has changed
ODD = {"long int", "half a surrogate pair"}  # types of values for which Arrow has none
_REMOTE = re.compile(
    r"\b(https?|s3[an]?|gcs|gs|r2|hf|az|azure|abfss?)://", re.IGNORECASE
)  # what DuckDB reads elsewhere
_QUOTED = re.compile(  # texts of SQL; a quote in a comment is none
    r"""--[^\n]*|/\*.*?\*/|'((?:[^']|'')*)'|"((?:[^"]|"")*)"|\$(\w*)\$(.*?)\$\3\$""", re.DOTALL
)
PEEK = 1_000  # records whose keys must show every field that the shape needs

ANSWERS = pa.schema([(n, pa.string()) for n in ("comparison_id", "winner", "annotator", "first", "second")])


@dataclass
class Batch:
    """Rows of `raw_pool`, `unusable` and `quarantine`, and how many records they account for; in the last batch of a
    source that gave no pair at all, why. The pairs of batches of the same run, which follow each other, are in the order
    of their key."""

    pairs: pa.RecordBatch
    unusable: pa.RecordBatch
    quarantine: pa.RecordBatch
    records: int
    warning: str = ""
    run: int | None = None


class _Builder:
    """Collects the rows of a batch; pairs as columns, because most rows are pairs."""

    def __init__(self, source: Source, ordered: bool = False):
        self.source, self.ordered = source, ordered
        self.n_records = self.n_pairs = self.n_runs = 0  # in all
        self.reasons: Counter[str] = Counter()
        self.broken = ""  # what is wrong with the whole of it
        self.said: tuple = ()  # the conversation that was named last: pairs of one stand together
        self.named = conv_id(())
        self._clear()

    def _clear(self) -> None:
        self.pairs: list[
            tuple
        ] = []  # (pair_id, conv_id, comparison_id, turns, chosen, rejected, row, part, ahead_by, n_chars)
        self.unusable: list[dict] = []
        self.quarantine: list[dict] = []
        self.records = self.chars = 0

    def add(self, row: int, found: Iterable[Found | BadRecord]) -> None:
        """One record's comparisons; raises BadRecord where none of it can be read, and then keeps none of them."""
        pairs: list[tuple] = []
        unusable: list[dict] = []
        broken: list[BadRecord] = []
        for part, one in enumerate(found):
            if isinstance(one, BadRecord):
                raise one
            if part == MOST_PAIRS and self.source.shape != "unpaired":
                raise BadRecord("too_many_pairs", f"its responses make more than {MOST_PAIRS} pairs")
            problem = (one.reason, str(one)) if isinstance(one, Unfit) else one.problem()
            if problem is None and isinstance(one, Comparison):
                try:
                    pairs.append(self._pair(row, part, one))
                    continue
                except BadRecord as e:
                    broken.append(e)
                    problem = e.reason, str(e)
            reason, evidence = problem or ("", "")
            unusable.append(
                {
                    "source": self.source.name,
                    "row": row,
                    "part": part,
                    "reason": reason,
                    "evidence": _printable(self.source.hidden(evidence)),
                }
            )
        if broken and len(broken) == len(pairs) + len(unusable):
            raise broken[0]
        self.pairs += pairs
        self.unusable += unusable
        self.chars += sum(pair[-1] for pair in pairs)
        self.records += 1
        self.n_records += 1
        self.n_pairs += len(pairs)
        self.reasons.update([one["reason"] for one in unusable])

    def keep(self, row: int, pair: Sound) -> None:
        """A record that is one pair.

        Raises:
            BadRecord: it is too big, or holds what is no text.
        """
        kept = self._pair(row, 0, pair)
        self.pairs.append(kept)
        self.chars += kept[-1]
        self.records += 1
        self.n_records += 1
        self.n_pairs += 1

    def _pair(self, row: int, part: int, c: Comparison) -> tuple:
        chosen, rejected = (c.a or "", c.b or "") if c.winner == "a" else (c.b or "", c.a or "")
        n_chars = len(chosen) + len(rejected) + sum([len(content or "") for _, content in c.turns])
        if n_chars > self.source.max_row_bytes:
            raise BadRecord("row_too_big", f"{n_chars} characters, max_row_bytes is {self.source.max_row_bytes}")
        try:
            if c.turns != self.said:
                self.said, self.named = c.turns, conv_id(_filled(c.turns))
            pair, comparison = pair_ids(self.named, chosen, rejected)
        except UnicodeEncodeError as e:
            raise BadRecord("not_utf8", "half of a surrogate pair, which is no character") from e
        return pair, self.named, comparison, c.turns, chosen, rejected, row, part, c.ahead_by, n_chars

    def refuse(self, row: int, reason: str, error: str, excerpt: str, file: str = "") -> None:
        self.quarantine.append(
            {
                "source": self.source.name,
                "file": self.source.hidden(file) or self.source.origin,
                "row": row,
                "reason": reason,
                "error": _printable(self.source.hidden(error), 1000),
                "excerpt": _printable(self.source.hidden(excerpt)),
            }
        )
        self.records += row > 0
        self.n_records += row > 0
        self.reasons[reason] += 1
        self.broken = self.broken or ("" if row else error)

    def full(self) -> bool:
        rows = len(self.pairs) + len(self.unusable) + len(self.quarantine)
        most = (RUN_ROWS, RUN_CHARS) if self.ordered else (BATCH_ROWS, BATCH_CHARS)
        return rows >= most[0] or self.chars >= most[1]

    def flush(self) -> Iterator[Batch]:
        """What was collected; in several batches where one record has brought more text than a batch should hold."""
        unusable = pa.RecordBatch.from_pylist(self.unusable, schema=UNUSABLE.schema)
        quarantine = pa.RecordBatch.from_pylist(self.quarantine, schema=QUARANTINE.schema)
        run = None
        if self.ordered:  # as objects of Python: to put columns of texts into order copies the texts
            self.pairs.sort(key=_KEY)
            self.n_runs += 1
            run = self.n_runs
        parts, records = _portions(self.pairs), self.records
        self._clear()
        for pairs in parts:
            yield Batch(self._columns(pairs), unusable, quarantine, records, run=run)
            unusable, quarantine, records = unusable[:0], quarantine[:0], 0

    def _columns(self, pairs: list[tuple]) -> pa.RecordBatch:
        names = ("pair_id", "conv_id", "comparison_id", *(f.name for f in TEXTS), "row", "part", "ahead_by", "n_chars")
        columns = dict(zip(names, zip(*pairs, strict=True) if pairs else ((),) * len(names), strict=True))
        columns["conversation"] = _conversations(columns["conversation"])
        columns["source"] = pa.repeat(self.source.name, len(pairs))
        for name in ("label_origin", "stage", "joined", "priority"):
            columns[name] = pa.repeat(getattr(self.source, name), len(pairs))
        arrays = [
            value if isinstance(value := columns[f.name], pa.Array) else pa.array(value, f.type)
            for f in RAW_POOL.schema
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=RAW_POOL.schema)


def _filled(turns: Sequence[Said]) -> Sequence[Turn]:
    """Turns none of which is without content."""
    return cast(Sequence[Turn], turns) if None not in [said for _, said in turns] else [(r, c or "") for r, c in turns]


def _portions(pairs: list[tuple]) -> Iterator[list[tuple]]:
    """At least one pair at a time, at most BATCH_ROWS of them and BATCH_CHARS of text; one empty list where there are
    none."""
    some, chars = [], 0
    for pair in pairs:
        if some and (chars + pair[-1] > BATCH_CHARS or len(some) == BATCH_ROWS):
            yield some
            some, chars = [], 0
        some.append(pair)
        chars += pair[-1]
    yield some


def _conversations(conversations: Iterable[Sequence[Turn]]) -> pa.ListArray:
    """Turns in the lake's type; from columns, which costs a third of what a dict a turn does."""
    said = [turn for turns in conversations for turn in turns]
    roles, contents = zip(*said, strict=True) if said else ((), ())
    values = pa.StructArray.from_arrays(
        [pa.array(roles, pa.string()), pa.array(contents, pa.string())], fields=list(TURN)
    )
    starts = list(accumulate(map(len, conversations), initial=0))
    return pa.ListArray.from_arrays(pa.array(starts, pa.int32()), values, type=CONVERSATION)


def read_source(source: Source, lake: Lake, workers: int = 1, ordered: bool = False) -> Iterator[Batch]:
    """Every record of a source as batches of pairs, unusable parts and quarantined rows; at least one batch.

    A record is in exactly one of: `quarantine` (by its row), or `raw_pool` and `unusable` (by row and part; a record
    that implies several pairs may have parts in both). Row 0 of `quarantine` stands for the whole file, or for the
    rest of it from where it broke off. If `ordered`, pairs come in runs that lie on disk, each in the order of the key;
    a large source is then read in as many processes as there are `workers`, and what comes of it is the same.
    """
    building = _Builder(source, ordered)
    head: list[dict] = []
    parts, cells = _parts(source, lake, head) if ordered and workers > 1 else ([], False)
    if len(parts) > 1:
        yield from _from_parts(building, parts, cells, workers)
    else:
        batches = _batches(building, _found(source, lake, source.max_row_bytes, head))
        yield from _on_disk(batches) if ordered else batches
    *rest, last = building.flush()
    yield from rest
    last.warning = _printable(source.hidden(_nothing(building, head)), 2000)
    yield last


def _batches(
    building: _Builder, told: Iterable[tuple[Row, Sound | Iterable[Found | BadRecord] | None]]
) -> Iterator[Batch]:
    """The batches that are full; what is left stays in the builder."""
    gc.freeze()  # or the collector looks at all that is loaded again and again: a fifth of the time
    before = gc.get_threshold()
    gc.set_threshold(50_000, 20, 100)  # and records are no circles
    try:
        for row, found in told:
            if found is None:
                building.refuse(row.number, row.reason, row.error, row.excerpt, row.file)
            else:
                try:
                    if isinstance(found, Sound):
                        building.keep(row.number, found)
                    else:
                        building.add(row.number, found)
                except BadRecord as e:
                    building.refuse(row.number, e.reason, str(e), _json(row.record), row.file)
                except Unfit as e:
                    building.add(row.number, [e])
                except (ValueError, ArithmeticError, RecursionError) as e:
                    error = f"{type(e).__name__}: {first_line(e)}"
                    building.refuse(row.number, "wrong_type", error, _json(row.record), row.file)
            if building.full():
                yield from building.flush()
    except BadFile as e:
        building.refuse(0, e.reason, str(e), "")
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def _on_disk(batches: Iterable[Batch]) -> Iterator[Batch]:
    """The same batches; their pairs are read from disk where somebody looks at them."""
    with tempfile.TemporaryDirectory(dir=scratch("runs")) as folder:
        none = pa.RecordBatch.from_pylist([], schema=RAW_POOL.schema)
        for number, run in groupby(batches, attrgetter("run")):
            path = Path(folder) / f"{number}.arrow"
            some: list[Batch] = []
            with pa.ipc.new_file(str(path), RAW_POOL.schema) as file:
                for batch in run:
                    file.write_batch(batch.pairs)
                    some.append(replace(batch, pairs=none))
            with pa.memory_map(str(path)) as mapped:
                reader = pa.ipc.open_file(mapped)
                yield from (replace(batch, pairs=reader.get_batch(i)) for i, batch in enumerate(some))
            path.unlink()


def _parts(source: Source, lake: Lake, head: list[dict]) -> tuple[list[FilePart], bool]:
    """The parts in which a source is read side by side, and whether its values are texts; none where one reader reads
    it all: it is small, its rows have to see each other, or something is wrong with it as a whole."""
    name = source.path or ""
    if (
        source.path is None
        or name.startswith(hub.PREFIX)
        or source.where
        or source.sample
        or source.shape == "unpaired"
    ):
        return [], False
    try:
        found = _file(name, lake)
        paths = found if isinstance(found, list) else [found]
        parts = parts_of(paths, isinstance(found, list)) if all(path.is_file() for path in paths) else []
        if len(parts) < 2:
            return [], False
        rows, cells = _rows(source, lake, source.max_row_bytes)
        next(_checked_fields(source, rows, head), None)
        adapter(source.shape, source.fields, source.codes, cells)
    except (BadFile, OSError, ValueError, pa.ArrowException):
        head.clear()
        return [], False
    return parts, cells


def _from_parts(building: _Builder, parts: list[FilePart], cells: bool, workers: int) -> Iterator[Batch]:
    with tempfile.TemporaryDirectory(dir=scratch("parts")) as folder:
        for read in side_by_side(building.source, parts, cells, Path(folder), min(workers, len(parts))):
            none, unusable, quarantine = (
                pa.RecordBatch.from_pylist([], t.schema) for t in (RAW_POOL, UNUSABLE, QUARANTINE)
            )
            for some, broken in zip(read.unusable, read.quarantine, strict=True):
                yield Batch(none, numbered(some, building.n_records), numbered(broken, building.n_records), 0)
            for run in runs_of(read, building.n_records):
                building.n_runs += 1
                building.n_pairs += sum(batch.num_rows for batch in run)
                yield from (Batch(pairs, unusable, quarantine, 0, run=building.n_runs) for pairs in run)
            yield Batch(none, unusable, quarantine, read.records)
            building.n_records += read.records
            building.reasons.update(read.reasons)
            building.broken = building.broken or read.broken


def read_part(source: Source, rows: Iterator[Row], cells: bool, read: PartRead) -> Iterator[Batch]:
    """The batches of a part of a source, numbered from 1; at the end `read` says what they come to."""
    building = _Builder(source, ordered=True)
    yield from _batches(building, _compared(adapter(source.shape, source.fields, source.codes, cells), rows))
    yield from building.flush()
    read.records, read.reasons, read.broken = building.n_records, building.reasons, building.broken


def _nothing(building: _Builder, head: list[dict]) -> str:
    """Why a source that gave no pair gave none, and what to try; '' for one that gave some."""
    if building.n_pairs:
        return ""
    name = building.source.name
    if not building.n_records:
        return f"{name}: no pair; {building.broken or 'no record was read'}"
    told = ", ".join(f"{reason} {n}" for reason, n in building.reasons.most_common(3))
    about = f"{name}: no pair in {building.n_records} records: {told}"
    if head:
        about += f"; the first record has {', '.join(map(str, head[0]))}"
        hint = nearest(head[0])
        about += f"; the nearest adapter is {hint}" if hint else ""
    return about + (f"; {building.broken}" if building.broken else "")


def read_answers(answers: Answers, lake: Lake) -> pa.RecordBatchReader:
    """Labels that somebody once gave, named by content so that they join the pool's pairs.

    Columns (all strings): comparison_id; winner, the text_hash of the better response or '' for a tie; annotator;
    first and second, the hashes of the two responses in the order of the record. Records that are no comparison or
    have no label are left out.

    Raises:
        BadFile: the file cannot be read, or its fields are not those of the shape; the message names it.
    """
    rows = _labels(answers, lake)
    first = list(islice(rows, 1))  # what is wrong with a file shows here, not while somebody reads on
    return pa.RecordBatchReader.from_batches(ANSWERS, _answers(chain(first, rows)))


def _answers(rows: Iterator[tuple[str, str, str, str, str]]) -> Iterator[pa.RecordBatch]:
    while chunk := list(islice(rows, BATCH_ROWS)):
        yield pa.RecordBatch.from_arrays([pa.array(c, pa.string()) for c in zip(*chunk, strict=True)], schema=ANSWERS)


def answered_comparisons(answers: Answers, lake: Lake) -> Iterator[tuple[str, Comparison, Literal["a", "b", "tie"]]]:
    """Every recorded answer with its texts: (comparison_id, the comparison, the better side or tie). Records that are no
    comparison or have no label are left out.

    Raises:
        BadFile: as `read_answers`.
    """
    for _, found in _told(answers, _found(answers, lake, Source.model_fields["max_row_bytes"].default, [])):
        found = [] if found is None else [found] if isinstance(found, Sound) else found
        try:
            for one in found:
                if isinstance(one, Unfit | BadRecord) or one.problem() not in (None, ("tie", "")):
                    continue
                yield comparison_id(conv_id(one.turns), one.a, one.b), one, one.winner
        except (BadRecord, Unfit):
            continue


def _labels(answers: Answers, lake: Lake) -> Iterator[tuple[str, str, str, str, str]]:
    return (told for told in _answered(answers, lake) if isinstance(told, tuple))


def refused_answers(answers: Answers, lake: Lake) -> Iterator[dict | int]:
    """The ledger of recorded answers: row, part, reason and evidence of each that is no label, and at the end how many
    are. Row 0 stands for the whole file, or for the rest of it."""
    accepted = 0
    try:
        for told in _answered(answers, lake):
            if isinstance(told, dict):
                yield told | {"evidence": _printable(answers.hidden(told["evidence"]), 500)}
            else:
                accepted += 1
    except BadFile as e:
        yield {"row": 0, "part": 0, "reason": e.reason, "evidence": _printable(str(e), 500)}
    yield accepted


def _answered(answers: Answers, lake: Lake) -> Iterator[tuple[str, str, str, str, str] | dict]:
    """Every answer, as a label or as why it is none; ties are labels."""
    for row, found in _told(answers, _found(answers, lake, Source.model_fields["max_row_bytes"].default, [])):
        if found is None:
            yield {"row": row.number, "part": 0, "reason": row.reason, "evidence": row.error}
            continue
        found = [found] if isinstance(found, Sound) else found
        annotator = answers.annotator
        if answers.annotator_field and row.record is not None:
            annotator = row.record.get(answers.annotator_field)
            annotator = answers.annotator if annotator is None else str(annotator)
        part = 0
        try:
            for part, one in enumerate(found):
                problem = (one.reason, str(one)) if isinstance(one, Unfit | BadRecord) else one.problem()
                if problem not in (None, ("tie", "")):
                    yield {"row": row.number, "part": part, "reason": problem[0], "evidence": problem[1]}
                    continue
                a, b = text_hash(one.a), text_hash(one.b)
                winner = {"a": a, "b": b, "tie": ""}[one.winner]
                yield comparison_id(conv_id(one.turns), one.a, one.b), winner, annotator, a, b
        except (BadRecord, Unfit) as e:
            yield {"row": row.number, "part": part, "reason": e.reason, "evidence": str(e)}
        except (ValueError, ArithmeticError, RecursionError) as e:
            yield {"row": row.number, "part": part, "reason": "wrong_type", "evidence": f"{type(e).__name__}: {e}"}


def _told(records: Records, found: Iterable) -> Iterator:
    """The same; what ends it early does not tell the values of environment variables."""
    try:
        yield from found
    except BadFile as e:
        raise BadFile(e.reason, records.hidden(str(e))) from None


def fingerprint(records: Records, lake: Lake) -> tuple[str, int]:
    """Hash and size in bytes of what the records are read from: the file, the files of a data set's folder, every file
    that the query names, or the name alone of a data set that is pinned on the hub.

    Raises:
        BadFile: there is no such file.
    """
    hasher, size = hashlib.blake2b(records.origin.encode(), digest_size=16), 0
    if records.path is not None and records.path.startswith(hub.PREFIX):
        hub.pinned(records.path)
        files = []  # a commit stands for its content
    elif records.path is not None:
        path = _file(records.path, lake)
        files = path if isinstance(path, list) else hub.files(path) if path.is_dir() else [path]
    else:
        files = _named(_located(records.query or "", lake), records.folder)
    for path in files:
        content, length = file_hash(path)
        hasher.update(content)
        size += length
    return hasher.hexdigest(), size


def file_hash(path: Path) -> tuple[bytes, int]:
    """Hash of a file's content and its size; a file that has not been touched is read once a process.

    Raises:
        BadFile: it cannot be read.
    """
    with opening(path):
        state = path.stat()
        fresh = time.time_ns() - state.st_mtime_ns < SETTLED  # a clock's tick may hide a second change
        read = _file_hash.__wrapped__ if fresh else _file_hash
        return read(path, state.st_size, state.st_mtime_ns, state.st_ino), state.st_size


@functools.lru_cache(maxsize=10_000)
def _file_hash(path: Path, *state: int) -> bytes:
    with open(path, "rb") as f:
        return hashlib.file_digest(f, lambda: hashlib.blake2b(digest_size=16)).digest()


def may_pass(records: Records, lake: Lake, reason: str) -> bool:
    """Whether what kept the records from being read may be gone though the configuration and the files are the same."""
    if records.path is None:
        remote = _REMOTE.search(records.query or "") is not None
    else:
        remote = records.path.startswith(hub.PREFIX)
        # a file that the system would not open; of a folder it says that its content is broken
        if reason == "unreadable" and not Path(_located(records.path, lake)).is_dir():
            return True
    return reason == "needs_package" or (
        remote and reason in ("unreadable", "truncated", "query_failed", "missing_file")
    )


def _named(query: str, folder: Path) -> list[Path]:
    """The files that the quoted texts of a query name, as DuckDB reads them in the folder: *, ?, [] and ** stand for
    others, ~ for the home folder, file: for nothing."""
    quoted = _QUOTED.findall(query)
    names = {one.replace("''", "'") or other.replace('""', '"') or plain for one, other, _, plain in quoted}
    names = {re.sub(r"^file:(//(localhost)?)?(?=/)", "", name) for name in names} - {"", "*", "**"}
    found = {
        folder / path
        for name in map(os.path.expanduser, names)
        for path in (name, *glob.glob(name, root_dir=folder, recursive=True, include_hidden=True))
    }
    return sorted(path for path in found if _is_file(path))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a text that is no name: too long, or with a NUL
        return False


# ---- from rows to comparisons --------------------------------------------------------------------------------------
def _found(
    records: Records, lake: Lake, max_row: int, head: list[dict]
) -> Iterator[tuple[Row, Sound | Iterable[Found | BadRecord] | None]]:
    """Each row with what it holds, None where it cannot be read; the first record goes into `head`."""
    try:
        rows, cells = _rows(records, lake, max_row)
        rows = _checked_fields(records, rows, head)
        if records.shape == "unpaired":
            yield from _unpaired(records, Codes(records.codes or GOOD_OR_BAD, cells), rows, max_row)
            return
        read = adapter(records.shape, records.fields, records.codes, cells)
    except ValueError as e:
        raise BadFile("wrong_fields", str(e)) from e
    yield from _compared(read, rows)


def _compared(read: Shape, rows: Iterator[Row]) -> Iterator[tuple[Row, Sound | Iterable[Found | BadRecord] | None]]:
    for row in rows:
        if row.record is None:
            yield row, None
        else:
            yield row, _quickly(read, row.record) or read(row.record)


def _quickly(read: Shape, record: dict) -> Sound | None:
    """The pair of a plain record; what another record comes to is told by its adapter."""
    try:
        return read.quick(record)
    except (ValueError, ArithmeticError, RecursionError):
        return None


def _unpaired(
    records: Records, labels: Codes, rows: Iterator[Row], max_row: int
) -> Iterator[tuple[Row, Iterable[Found | BadRecord] | None]]:
    bad: list[Row] = []
    broken: list[BadFile] = []
    now: list[Row] = []  # the row that is being looked at: what is wrong with it is told before the next one
    starts: list[int] = []  # rows from which on another file is read, and which
    files: list[str] = []

    def good() -> Iterator[tuple[int, dict]]:
        for row in _until_broken(rows, broken):
            if row.record is None:
                bad.append(row)
                continue
            if not files or files[-1] != row.file:
                starts.append(row.number)
                files.append(row.file)
            now[:] = [row]
            yield row.number, row.record

    waiting: list[Found | BadRecord] = []
    at: Row | None = None
    for number, found in pair_up(good(), records.fields, labels, max_row):
        if at is not None and number != at.number:
            yield at, waiting
            waiting, at = [], None
        record = now[0].record if now[0].number == number else None
        at = at or Row(number, record, file=files[bisect_right(starts, number) - 1])
        waiting.append(found)
    if at is not None:
        yield at, waiting
    yield from ((row, None) for row in bad)
    if broken:
        raise broken[0]


def _checked_fields(records: Records, rows: Iterator[Row], first: list[dict]) -> Iterator[Row]:
    """The rows, once the first of them show the fields that the shape needs; the very first record goes into `first`."""
    chunks = _chunks(rows, PEEK)
    head = next(chunks, [])
    seen = [row.record for row in head if row.record is not None]
    first += seen[:1]
    if len(seen) == 1 and len(head) == 1 and (orient := columnar(seen[0], records.shape)):
        raise BadFile(
            "wrong_fields",
            f"the file is one object of {orient}, as pandas writes it, and no row of its own; write it as lines "
            "(to_json(…, orient='records', lines=True)) or as Parquet",
        )
    if seen and (missing := absent(records.shape, records.fields, seen)):
        hint = nearest(seen[0])
        hint = f"; the nearest adapter is {hint}" if hint else ""
        found = [said for path in missing if (said := beside_path(seen[0], path))]
        raise BadFile(
            "wrong_fields",
            f"shape '{records.shape}' needs {', '.join(missing)}; the first row has {', '.join(map(str, seen[0]))}"
            + (f"; in it {'; '.join(found)}" if found else hint)
            + f"; first row: {_printable(records.hidden(_json(seen[0])))}",
        )
    return chain(head, chain.from_iterable(chunks))


def _chunks(rows: Iterator[Row], size: int) -> Iterator[list[Row]]:
    """Lists of `size` rows; where the file breaks off, the rows before, and then its error."""
    broken: list[BadFile] = []
    rows = _until_broken(rows, broken)
    while chunk := list(islice(rows, size)):
        yield chunk
    if broken:
        raise broken[0]


def _rows(records: Records, lake: Lake, max_row: int) -> tuple[Iterator[Row], bool]:
    """The rows that a source is made from, and whether all of their values are texts, as in CSV."""
    cells, name = False, records.path or ""
    if records.query is not None:
        rows = query_rows(_located(records.query or "", lake), lake.memory_limit, _texts(records))
        rows = _inside(records.folder, rows)
    elif name.startswith(hub.PREFIX):
        rows, cells = hub.rows(*hub.pinned(name), records.config, records.split, max_row)
    elif isinstance(path := _file(name, lake), list):
        if len({has_cells(one) for one in path}) > 1:
            raise BadFile("wrong_fields", f"{records.path}: files with and without types; make two sources of them")
        rows, cells = rows_of_files(path, max_row), has_cells(path[0])
    elif path.is_dir():
        rows, cells = hub.rows(str(path), None, records.config, records.split, max_row)
    else:
        if records.config or records.split:
            raise BadFile(
                "not_a_data_set", f"{records.path}: config and split choose within a data set, this is a file"
            )
        rows, cells = file_rows(path, max_row), has_cells(path)
    if records.where:
        rows = _where(rows, records.where, cells)
    return _sampled(rows, records.sample) if records.sample else rows, cells


def _texts(records: Records) -> list[str]:
    """The paths of the fields that hold texts."""
    names = field_names(records.shape, records.fields)
    return [path for name, path in names.items() if name not in ("winner", "label", "scores", "rank")]


def _inside(folder: Path, rows: Iterator[Row]) -> Iterator[Row]:
    """The rows, read while the folder is the current one: DuckDB prefers that to every other it is told to look into."""
    chunks = _chunks(rows, BATCH_ROWS)
    while True:
        with contextlib.chdir(folder):
            chunk = next(chunks, None)
        if chunk is None:
            return
        yield from chunk


def _sampled(rows: Iterator[Row], size: int) -> Iterator[Row]:
    """`size` of the records by the smallest hash of their content, in file order; what is no record passes."""
    heap: list[tuple[int, int, Row]] = []
    broken: list[BadFile] = []
    for row in _until_broken(rows, broken):
        if row.record is None:
            yield row
            continue
        rank = lot(_json(row.record).encode("utf-8", "replace"))
        entry = (-rank, -row.number, row)
        if len(heap) < size:
            heapq.heappush(heap, entry)
        elif entry[:2] > heap[0][:2]:
            heapq.heapreplace(heap, entry)
    yield from sorted((row for _, _, row in heap), key=lambda row: row.number)
    if broken:
        raise broken[0]


def _until_broken(rows: Iterator[Row], broken: list[BadFile]) -> Iterator[Row]:
    """The rows that can be read; what ends them early is put into `broken`."""
    try:
        yield from rows
    except BadFile as e:
        broken.append(e)


def _where(rows: Iterator[Row], condition: str, cells: bool) -> Iterator[Row]:
    """Rows that satisfy a DuckDB condition on their fields.

    Rows whose fields differ in type are looked at apart, so that the neighbours of a row do not change what the
    condition says of it. One that the condition cannot be asked of is refused; where that is every one, the condition is.
    With `cells`, what is compared or reckoned with is the number that a cell spells, not its text.
    """
    asked = kept = False
    n = 0
    with duckdb.connect() as con:
        con.execute("SET threads=1")
        names, unseen, counted, sql = _asked_of(con, condition, cells)
        for chunk in _chunks(rows, BATCH_ROWS):
            records = [row.record for row in chunk if row.record is not None]
            n += len(records)
            unseen = {name for name in unseen if not any(name in record for record in records)}
            shown = [r | {name + COUNTED: _number_of(r.get(name)) for name in counted} for r in records]
            found: dict[int, str] = {}
            for alike in _alike(shown, names):
                found |= _satisfying(con, sql, names, alike)
            said = {id(r): found[id(s)] for r, s in zip(records, shown, strict=True) if id(s) in found}
            errors = list(filter(None, said.values()))
            asked = asked or len(errors) < len(records)
            kept = kept or "" in said.values()
            if errors and not asked:
                raise BadFile("wrong_fields", f"where = {condition!r}: {errors[0]}")
            for row in chunk:
                error = "" if row.record is None else said.get(id(row.record))
                if error:
                    yield row._replace(
                        record=None,
                        reason="wrong_type",
                        error=f"where = {condition!r}: {error}",
                        excerpt=_json(row.record),
                    )
                elif error is not None:
                    yield row
    if asked and unseen:
        raise BadFile("wrong_fields", f"where = {condition!r}: no record has a field {', '.join(sorted(unseen))}")
    if n and not kept:
        hint = "; DuckDB counts the elements of a list from 1, `fields` from 0" if "[" in condition else ""
        raise BadFile("nothing_kept", f"where = {condition!r} keeps none of {n} records{hint}")


COUNTED = " as a number"  # how the columns are called that hold what cells spell
_BESIDE_WHERE = ("modifiers", "group_expressions", "having", "qualify")  # what no condition has
_RECKONING = {"+", "-", "*", "/", "//", "%", "**", "^"}


def _number_of(cell: Any) -> Any:
    """What a cell spells; nothing for an empty one."""
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return None
    found = spelt(cell)
    return float(found) if isinstance(found, int) and not -(2**63) <= found < 2**63 else found


def _asked_of(
    con: duckdb.DuckDBPyConnection, condition: str, cells: bool
) -> tuple[list[str], set[str], list[str], str]:
    """The columns that a condition is asked of; the fields of them that are not also variables of its own; those that
    are compared as numbers; and the condition with these in their places.

    Raises:
        BadFile: it is no condition.
    """
    [(text,)] = con.execute("SELECT json_serialize_sql($query)", {"query": f"SELECT 1 WHERE ({condition})"}).fetchall()
    if (parsed := json.loads(text))["error"]:
        raise BadFile("wrong_fields", f"where = {condition!r}: {first_line(parsed['error_message'])}")
    nodes = [statement["node"] for statement in parsed["statements"]]
    if [node["type"] for node in nodes] != ["SELECT_NODE"] or any(nodes[0].get(part) for part in _BESIDE_WHERE):
        raise BadFile("wrong_fields", f"where = {condition!r}: more than one condition; join them with AND or OR")
    fields: set[str] = set()
    variables: set[str] = set()
    compared: list[dict] = []
    stack = [(parsed, fields)]
    while stack:
        node, into = stack.pop()
        if isinstance(node, list):
            stack += [(part, into) for part in node]
        elif isinstance(node, dict):
            if node.get("class") == "COLUMN_REF":
                into.add(node["column_names"][0])
            own = node.get("class") == "LAMBDA"
            stack += [(part, variables if own and key == "lhs" else into) for key, part in node.items()]
            compared += _compared_as_numbers(node) if cells else []
    for name in sorted(fields):
        if same := sorted(n for n in fields if n != name and n.lower() == name.lower()):
            raise BadFile("wrong_fields", f"where = {condition!r}: DuckDB cannot tell {name} from {same[0]}")
    counted = sorted({node["column_names"][0] for node in compared} - variables)
    if not counted:
        return sorted(fields), fields - variables, [], condition
    for node in compared:
        if node["column_names"][0] in counted:
            node["column_names"][0] += COUNTED
    [(sql,)] = con.execute("SELECT json_deserialize_sql($parsed::JSON)", {"parsed": json.dumps(parsed)}).fetchall()
    names = sorted(fields | {name + COUNTED for name in counted})
    return names, fields - variables, counted, sql.partition(" WHERE ")[2]


def _compared_as_numbers(node: dict) -> list[dict]:
    """The fields that a part of a condition compares or reckons with, unless it compares them with a text."""
    match node.get("class"):
        case "COMPARISON":
            parts = [node["left"], node["right"]]
        case "BETWEEN":
            parts = [node["input"], node["lower"], node["upper"]]
        case "OPERATOR" if node["type"] in ("COMPARE_IN", "COMPARE_NOT_IN"):
            parts = node["children"]
        case "FUNCTION" if node["is_operator"] and node["function_name"] in _RECKONING:
            parts = [one["expression"] for one in node["arguments"]]
        case _:
            return []
    if any(part.get("class") == "CONSTANT" and part["literal"]["kind"] == "STRING" for part in parts):
        return []
    return [part for part in parts if part.get("class") == "COLUMN_REF" and len(part["column_names"]) == 1]


def _satisfying(
    con: duckdb.DuckDBPyConnection, condition: str, names: Iterable[str], records: list[dict]
) -> dict[int, str]:
    """By id: '' for a record that satisfies the condition, and why for one that the condition cannot be asked of."""
    index = "_" * (1 + max(map(len, names), default=0))  # no column is called so
    arrays = [_column([record.get(name) for record in records]) for name in names]
    con.register("records", pa.table([*arrays, pa.array(range(len(records)))], [*names, index]))
    try:
        kept = con.execute(f"SELECT {index} FROM records WHERE ({condition})").fetchall()
    except (
        duckdb.BinderException,
        duckdb.CatalogException,
        duckdb.ParserException,
    ) as e:  # for their types, all of them
        return dict.fromkeys(map(id, records), first_line(e))
    except duckdb.Error as e:  # for the value of some
        if len(records) == 1:
            return {id(records[0]): first_line(e)}
        half = len(records) // 2
        return _satisfying(con, condition, names, records[:half]) | _satisfying(con, condition, names, records[half:])
    return {id(records[i]): "" for (i,) in kept}


def _alike(records: list[dict], names: Iterable[str]) -> Iterable[list[dict]]:
    """The records in groups; in one, the fields of these names are of the same types at every depth, or missing."""
    types = [_types({name: record[name] for name in names if name in record}) for record in records]
    kinds: dict[tuple, set[str]] = defaultdict(set)
    for path, kind in chain.from_iterable(one.items() for one in types):
        kinds[path] |= kind
    mixed = [path for path, found in kinds.items() if len(found) > 1 or found & ODD]
    groups: dict[tuple, list[dict]] = defaultdict(list)
    for record, one in zip(records, types, strict=True):
        groups[tuple(frozenset(one.get(path, ())) for path in mixed)].append(record)
    return groups.values()


def _types(record: dict) -> dict[tuple, set[str]]:
    """The types that a record has at each path; null is of none."""
    found: dict[tuple, set[str]] = defaultdict(set)
    stack: list[tuple[tuple, Any]] = [((), record)]
    while stack:
        path, value = stack.pop()
        if isinstance(value, dict):
            stack += [((*path, key), one) for key, one in value.items()]
        elif isinstance(value, list):
            stack += [((*path, None), one) for one in value]
        if value is not None:
            found[path].add(_type(value))
    return found


def _type(value: Any) -> str:
    """The name of a value's type, or one of ODD."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return "long int"
    if isinstance(value, str) and not value.isascii() and _printable(value, len(value)) != value:
        return "half a surrogate pair"
    return type(value).__name__


def _column(values: list) -> pa.Array:
    """Values of one type, as text in JSON's spelling where Arrow has no type for them."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError, OverflowError):
        texts = (v if v is None or isinstance(v, str) else _json(v) for v in values)
        return pa.array([None if t is None else t.encode("utf-8", "replace").decode() for t in texts], pa.string())


def _located(text: str, lake: Lake) -> str:
    return text.replace("{world}", str(lake.folder("world"))) if "{world}" in text else text


def _file(path: str, lake: Lake) -> Path | list[Path]:
    """The file or folder of a path, or the files that a pattern (*, ?, [], **) stands for, sorted."""
    found = Path(_located(path, lake))
    with opening(found):
        if not found.exists() and glob.has_magic(str(found)):
            files = sorted(p for p in map(Path, glob.glob(str(found), recursive=True)) if p.is_file())
            if files:
                return files
            raise BadFile("missing_file", f"{path}: no file is called so")
        if not found.exists():
            raise BadFile("missing_file", f"{path}: no such file")
        if found.is_dir() and not hub.files(found):
            raise BadFile("not_a_file", f"{path}: a directory that holds no data set")
        if not found.is_dir() and not found.is_file():
            raise BadFile("not_a_file", f"{path}: neither a file nor a directory")
    return found


# ---- texts for people ----------------------------------------------------------------------------------------------
def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def _printable(text: str, width: int = EXCERPT) -> str:
    return text[:width].encode("utf-8", "replace").decode("utf-8")
