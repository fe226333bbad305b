"""Reads files of preference data as comparisons, a batch at a time; what cannot be read is kept with its reason.

JSON lines, JSON arrays, CSV, TSV and Parquet, plain or as .gz or .zst, and DuckDB queries. A bad row costs that row, a
bad file that file; neither stops the others. Nothing of a file but one batch stays in memory.
"""

import csv
import gzip
import hashlib
import heapq
import io
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from curation.conversation import BadRecord, Unfit
from curation.identity import comparison_id, conv_id, pair_id, text_hash
from curation.records import Comparison, Found, absent, adapter, nearest, pair_up

from .lake import Lake
from .settings import Answers, Records, Source
from .tables import QUARANTINE, RAW_POOL, UNUSABLE

BATCH_ROWS = 2_000
BATCH_CHARS = 16_000_000  # flushes a batch of long texts early
_EXCERPT = 200
_PEEK = 1_000  # records whose keys must show every field that the shape needs

ANSWERS = pa.schema([(n, pa.string()) for n in ("comparison_id", "winner", "annotator", "first", "second")])


class BadFile(Exception):
    """A file that cannot be read, or not to its end; `reason` is a short code."""

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason


class Row(NamedTuple):
    """A record with its number from 1, or the reason why it is none."""

    number: int
    record: dict | None
    reason: str = ""
    error: str = ""
    excerpt: str = ""


@dataclass
class Batch:
    """Rows of `raw_pool`, `unusable` and `quarantine`, and how many records they account for."""

    pairs: pa.RecordBatch
    unusable: pa.RecordBatch
    quarantine: pa.RecordBatch
    records: int


@dataclass
class _Builder:
    """Collects the rows of a batch."""

    source: Source
    pairs: list[dict] = field(default_factory=list)
    unusable: list[dict] = field(default_factory=list)
    quarantine: list[dict] = field(default_factory=list)
    records: int = 0
    chars: int = 0

    def add(self, row: int, found: Iterable[Found]) -> None:
        """One record's comparisons; raises BadRecord where it cannot be read, and then keeps none of them."""
        pairs, unusable, chars = [], [], 0
        for part, one in enumerate(found):
            if isinstance(one, BadRecord):
                raise one
            problem = (one.reason, str(one)) if isinstance(one, Unfit) else one.problem()
            if problem is None:
                pairs.append(self._pair(row, part, one))
                chars += pairs[-1]["n_chars"]
            else:
                unusable.append({"source": self.source.name, "row": row, "part": part, "reason": problem[0],
                                 "evidence": _printable(problem[1])})  # fmt: skip
        self.pairs += pairs
        self.unusable += unusable
        self.chars += chars
        self.records += 1

    def _pair(self, row: int, part: int, c: Comparison) -> dict:
        chosen, rejected = (c.a, c.b) if c.winner == "a" else (c.b, c.a)
        n_chars = len(chosen) + len(rejected) + sum(len(content) for _, content in c.turns)
        if n_chars > self.source.max_row_bytes:
            raise BadRecord("row_too_big", f"{n_chars} characters, max_row_bytes is {self.source.max_row_bytes}")
        try:
            conversation = conv_id(c.turns)
            ids = pair_id(conversation, chosen, rejected), conversation, comparison_id(conversation, chosen, rejected)
        except UnicodeEncodeError as e:
            raise BadRecord("not_utf8", "half of a surrogate pair, which is no character") from e
        return {
            "pair_id": ids[0],
            "conv_id": ids[1],
            "comparison_id": ids[2],
            "conversation": [{"role": role, "content": content} for role, content in c.turns],
            "chosen": chosen,
            "rejected": rejected,
            "source": self.source.name,
            "label_origin": self.source.label_origin,
            "stage": self.source.stage,
            "row": row,
            "part": part,
            "priority": self.source.priority,
            "n_chars": n_chars,
        }

    def refuse(self, row: int, reason: str, error: str, excerpt: str) -> None:
        self.quarantine.append(
            {
                "source": self.source.name,
                "file": origin(self.source),
                "row": row,
                "reason": reason,
                "error": _printable(error, 1000),
                "excerpt": _printable(excerpt),
            }
        )
        self.records += row > 0

    def full(self) -> bool:
        rows = len(self.pairs) + len(self.unusable) + len(self.quarantine)
        return rows >= BATCH_ROWS or self.chars >= BATCH_CHARS

    def flush(self) -> Batch:
        batch = Batch(
            pa.RecordBatch.from_pylist(self.pairs, schema=RAW_POOL.schema),
            pa.RecordBatch.from_pylist(self.unusable, schema=UNUSABLE.schema),
            pa.RecordBatch.from_pylist(self.quarantine, schema=QUARANTINE.schema),
            self.records,
        )
        self.pairs, self.unusable, self.quarantine, self.records, self.chars = [], [], [], 0, 0
        return batch


def read_source(source: Source, lake: Lake) -> Iterator[Batch]:
    """Every record of a source as batches of pairs, unusable parts and quarantined rows; at least one batch.

    A record is in exactly one of: `quarantine` (by its row), or `raw_pool` and `unusable` (by row and part; a record
    that implies several pairs may have parts in both). Row 0 of `quarantine` stands for the whole file, or for the
    rest of it from where it broke off.
    """
    building = _Builder(source)
    try:
        for row, found, record in _found(source, lake, source.max_row_bytes):
            try:
                if isinstance(found, Row):
                    building.refuse(row, found.reason, found.error, found.excerpt)
                else:
                    building.add(row, found)
            except BadRecord as e:
                building.refuse(row, e.reason, str(e), _json(record))
            except Unfit as e:
                building.add(row, [e])
            if building.full():
                yield building.flush()
    except BadFile as e:
        building.refuse(0, e.reason, str(e), "")
    yield building.flush()


def read_answers(answers: Answers, lake: Lake) -> pa.RecordBatchReader:
    """Labels that somebody once gave, named by content so that they join the pool's pairs.

    Columns (all strings): comparison_id; winner, the text_hash of the better response or '' for a tie; annotator;
    first and second, the hashes of the two responses in the order of the record. Records that are no comparison or
    have no label are left out.

    Raises:
        BadFile: the file cannot be read; the message names it.
    """
    return pa.RecordBatchReader.from_batches(ANSWERS, _answers(answers, lake))


def _answers(answers: Answers, lake: Lake) -> Iterator[pa.RecordBatch]:
    rows = _labels(answers, lake)
    while chunk := list(islice(rows, BATCH_ROWS)):
        yield pa.RecordBatch.from_arrays([pa.array(c, pa.string()) for c in zip(*chunk, strict=True)], schema=ANSWERS)


def _labels(answers: Answers, lake: Lake) -> Iterator[tuple[str, str, str, str, str]]:
    for _, found, record in _found(answers, lake, Source.model_fields["max_row_bytes"].default):
        if isinstance(found, Row):
            continue
        annotator = answers.annotator
        if answers.annotator_field and record is not None:
            annotator = str(record.get(answers.annotator_field, annotator))
        try:
            for one in found:
                if isinstance(one, Comparison) and one.problem() in (None, ("tie", "")):
                    a, b = text_hash(one.a), text_hash(one.b)
                    winner = {"a": a, "b": b, "tie": ""}[one.winner]
                    yield comparison_id(conv_id(one.turns), one.a, one.b), winner, annotator, a, b
        except (BadRecord, Unfit, UnicodeEncodeError):
            continue


def fingerprint(records: Records, lake: Lake) -> tuple[str, int]:
    """Hash and size in bytes of what the records are read from: the file, or every file that the query names.

    Raises:
        BadFile: there is no such file.
    """
    hasher, size = hashlib.blake2b(origin(records).encode(), digest_size=16), 0
    if records.path is not None:
        files = [_file(records.path, lake)]
    else:
        named = re.findall(r"'((?:[^']|'')*)'", _located(records.query, lake))
        files = sorted({p for n in named if "/" in n for p in _matching(Path(n.replace("''", "'")))})
    for path in files:
        with _bad_file(path), open(path, "rb") as f:
            while chunk := f.read(1 << 20):
                hasher.update(chunk)
                size += len(chunk)
    return hasher.hexdigest(), size


def origin(records: Records) -> str:
    """The path or query as configured."""
    return records.path if records.path is not None else records.query


def _matching(path: Path) -> list[Path]:
    found = path.parent.glob(path.name) if "*" in path.name else [path]
    return [p for p in found if p.is_file()]


# ---- from rows to comparisons --------------------------------------------------------------------------------------
def _found(records: Records, lake: Lake, max_row: int) -> Iterator[tuple[int, Iterable[Found] | Row, dict | None]]:
    """(row, what it holds or why it cannot be read, the record)."""
    try:
        read = None if records.shape == "unpaired" else adapter(records.shape, records.fields, records.codes)
        rows = _checked_fields(records, _rows(records, lake, max_row))
        if read is None:
            yield from _unpaired(records, rows)
            return
    except ValueError as e:
        raise BadFile("wrong_fields", str(e)) from e
    for row in rows:
        yield row.number, row if row.record is None else read(row.record), row.record


def _unpaired(records: Records, rows: Iterable[Row]) -> Iterator[tuple[int, Iterable[Found] | Row, dict | None]]:
    bad: list[Row] = []

    def good() -> Iterator[tuple[int, dict]]:
        for row in rows:
            if row.record is None:
                bad.append(row)
            else:
                yield row.number, row.record

    waiting: list[Found] = []
    at = None
    for number, found in chain(pair_up(good(), records.fields), [(None, None)]):
        if at is not None and number != at:
            yield at, waiting, None
            waiting = []
        at = number
        waiting.append(found)
    for row in bad:
        yield row.number, row, None


def _checked_fields(records: Records, rows: Iterator[Row]) -> Iterator[Row]:
    """The rows, once the first of them show the fields that the shape needs."""
    head = list(islice(rows, _PEEK))
    seen = [row.record for row in head if row.record is not None]
    keys = dict.fromkeys(key for record in seen for key in record)
    if seen and (missing := absent(records.shape, records.fields, keys)):
        hint = nearest(seen[0])
        raise BadFile(
            "wrong_fields",
            f"shape '{records.shape}' needs {', '.join(missing)}; the first row has {', '.join(map(str, seen[0]))}"
            + (f"; the nearest adapter is {hint}" if hint else "")
            + f"; first row: {_printable(_json(seen[0]))}",
        )
    return chain(head, rows)


def _rows(records: Records, lake: Lake, max_row: int) -> Iterator[Row]:
    if records.query is not None:
        rows = _query_rows(_located(records.query, lake), lake)
    else:
        rows = _file_rows(_file(records.path, lake), max_row)
    if records.where:
        rows = _where(rows, records.where)
    return _sampled(rows, records.sample) if records.sample else rows


def _sampled(rows: Iterator[Row], size: int) -> Iterator[Row]:
    """`size` of the records by the smallest hash of their content, in file order; what is no record passes."""
    heap: list[tuple[int, int, Row]] = []
    for row in rows:
        if row.record is None:
            yield row
            continue
        rank = int.from_bytes(hashlib.blake2b(_json(row.record).encode("utf-8", "replace"), digest_size=8).digest())
        entry = (-rank, -row.number, row)
        if len(heap) < size:
            heapq.heappush(heap, entry)
        elif entry > heap[0]:
            heapq.heapreplace(heap, entry)
    yield from sorted((row for _, _, row in heap), key=lambda row: row.number)


def _where(rows: Iterator[Row], condition: str) -> Iterator[Row]:
    """Rows that satisfy a DuckDB condition on their fields; a field of mixed types is JSON text there."""
    columns: dict[str, None] = {}
    with duckdb.connect() as con:
        con.execute("SET threads=1")
        while chunk := list(islice(rows, BATCH_ROWS)):
            records = [row.record for row in chunk if row.record is not None]
            columns |= dict.fromkeys(key for record in records for key in record)
            arrays = [_column([record.get(name) for record in records]) for name in columns]
            table = pa.table([*arrays, pa.array(range(len(records)))], [*columns, "__index"])
            con.register("records", table)
            try:
                kept = con.execute(f"SELECT __index FROM records WHERE ({condition})").fetchall() if records else []
            except duckdb.Error as e:
                raise BadFile("wrong_fields", f"where = {condition!r}: {_first_line(e)}") from e
            passing = {id(records[i]) for (i,) in kept}
            yield from (row for row in chunk if row.record is None or id(row.record) in passing)


def _column(values: list) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError, OverflowError):
        return pa.array([None if v is None else _json(v) for v in values])


# ---- files ---------------------------------------------------------------------------------------------------------
def _located(text: str, lake: Lake) -> str:
    return text.replace("{world}", str(lake.folder("world"))) if "{world}" in text else text


def _file(path: str, lake: Lake) -> Path:
    found = Path(_located(path, lake))
    if not found.exists():
        raise BadFile("missing_file", f"{path}: no such file")
    if not found.is_file():
        raise BadFile("not_a_file", f"{path}: a directory, not a file")
    return found


class _bad_file:
    """Turns what the operating system and the decompressors raise into BadFile."""

    def __init__(self, path: Path):
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind, error, trace) -> None:
        if isinstance(error, EOFError | pa.ArrowInvalid | zlib.error | gzip.BadGzipFile):
            raise BadFile("truncated", f"{self.path}: broken or cut off: {_first_line(error)}") from error
        if isinstance(error, OSError):
            text = error.strerror or _first_line(error)
            reason = "truncated" if "decompress" in str(error).lower() or "zstd" in str(error).lower() else "unreadable"
            raise BadFile(reason, f"{self.path}: {text}") from error


def _file_rows(path: Path, max_row: int) -> Iterator[Row]:
    if path.stat().st_size == 0:
        raise BadFile("empty_file", f"{path}: the file is empty")
    suffixes = [s.lower() for s in path.suffixes]
    kind = next((s for s in reversed(suffixes) if s not in (".gz", ".zst")), "")
    if kind == ".parquet":
        rows = _parquet_rows(path)
    elif kind in (".csv", ".tsv"):
        rows = _csv_rows(path, suffixes[-1], "\t" if kind == ".tsv" else ",", max_row)
    elif kind == ".json":
        rows = _json_rows(path, suffixes[-1], max_row)
    elif kind in (".jsonl", ".ndjson"):
        rows = _json_lines(_lines(path, suffixes[-1], max_row))
    else:
        raise BadFile("unknown_format", f"{path}: expected .jsonl, .json, .csv, .tsv or .parquet, plain, .gz or .zst")
    first = next(rows, None)
    if first is None:
        raise BadFile("empty_file", f"{path}: no rows")
    return chain([first], rows)


def _opened(path: Path, suffix: str) -> io.BufferedIOBase:
    if suffix == ".gz":
        return gzip.open(path, "rb")
    if suffix == ".zst":
        return pa.input_stream(str(path), compression="zstd")
    return open(path, "rb")


def _blocks(path: Path, suffix: str) -> Iterator[bytes]:
    """The bytes of a file, decompressed, without a byte order mark."""
    with _bad_file(path), _opened(path, suffix) as f:
        block = f.read(1 << 20)
        if block[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise BadFile("not_utf8", f"{path}: UTF-16, expected UTF-8")
        block = block.removeprefix(b"\xef\xbb\xbf")
        while block:
            yield block
            block = f.read(1 << 20)


def _lines(path: Path, suffix: str, max_row: int) -> Iterator[bytes | int]:
    """Lines by \\n alone (U+2028 may stand inside a string); an int in the place of a line that is longer than max_row,
    its first bytes being lost is the price for a bounded memory."""
    rest, skipped = b"", 0
    for block in _blocks(path, suffix):
        *lines, tail = block.split(b"\n")
        for line in lines:
            line, rest = rest + line, b""
            length, skipped = skipped + len(line), 0
            yield line if length <= max_row else length
        rest += tail
        if skipped + len(rest) > max_row:
            skipped, rest = skipped + len(rest), b""
    if skipped + len(rest):
        yield rest if skipped + len(rest) <= max_row else skipped + len(rest)


def _json_lines(lines: Iterator[bytes | int]) -> Iterator[Row]:
    number = 0
    for line in lines:
        if isinstance(line, int):
            number += 1
            yield Row(number, None, "row_too_big", f"{line} bytes, more than max_row_bytes")
        elif line.strip():
            number += 1
            yield _parsed(number, line)


def _parsed(number: int, line: bytes) -> Row:
    excerpt = line[: 4 * _EXCERPT].decode("utf-8", "replace")
    try:
        record = _DECODER.decode(line.decode("utf-8"))
    except UnicodeDecodeError as e:
        return Row(number, None, "not_utf8", f"byte {e.start} is not UTF-8", excerpt)
    except _Repeated as e:
        return Row(number, None, "duplicate_key", str(e), excerpt)
    except (ValueError, RecursionError) as e:
        return Row(number, None, "not_json", _first_line(e), excerpt)
    if not isinstance(record, dict):
        return Row(number, None, "not_an_object", f"a record is an object, found {type(record).__name__}", excerpt)
    return Row(number, record)


class _Repeated(ValueError):
    pass


def _object(pairs: list[tuple[str, Any]]) -> dict:
    record = dict(pairs)
    if len(record) != len(pairs):
        keys = [k for k, _ in pairs]
        raise _Repeated(f"the key {next(k for k in keys if keys.count(k) > 1)!r} stands twice in an object")
    return record


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_constant)


def _json_rows(path: Path, suffix: str, max_row: int) -> Iterator[Row]:
    """Rows of a JSON array, an element at a time, or of lines of JSON under the name .json."""
    blocks = _blocks(path, suffix)
    head = next(blocks, b"").lstrip()
    if not head.startswith(b"["):
        yield from _json_lines(_lines(path, suffix, max_row))
        return
    yield from _array(path, chain([head[1:]], blocks), max_row)


def _array(path: Path, blocks: Iterator[bytes], max_row: int) -> Iterator[Row]:
    number, text, ended = 0, "", False
    decoder = _Utf8(path)
    while True:
        text = text.lstrip()
        if number and text[:1] == ",":
            text = text[1:].lstrip()
        if text[:1] == "]":
            return
        try:
            if not text:
                raise json.JSONDecodeError("the array does not end", text, 0)
            start = text
            record, end = _DECODER.raw_decode(text)
            if end == len(text) and not ended:
                raise json.JSONDecodeError("may go on", text, end)
            text = text[end:]
            number += 1
            if not isinstance(record, dict):
                error = f"a record is an object, found {type(record).__name__}"
                yield Row(number, None, "not_an_object", error, start[:_EXCERPT])
            else:
                yield Row(number, record)
        except (ValueError, RecursionError) as e:
            if len(text) > max_row:
                raise BadFile("row_too_big", f"{path}: record {number + 1} is longer than max_row_bytes") from e
            block = next(blocks, None)
            if block is not None:
                text += decoder(block)
                continue
            if ended:
                reason = "not_json" if text else "truncated"
                raise BadFile(reason, f"{path}: after record {number}: {_first_line(e)}") from e
            ended = True


class _Utf8:
    """Decodes blocks of one file."""

    def __init__(self, path: Path):
        import codecs

        self.path, self.decoder = path, codecs.getincrementaldecoder("utf-8")()

    def __call__(self, block: bytes) -> str:
        try:
            return self.decoder.decode(block)
        except UnicodeDecodeError as e:
            raise BadFile("not_utf8", f"{self.path}: {e.reason}") from e


def _csv_rows(path: Path, suffix: str, delimiter: str, max_row: int) -> Iterator[Row]:
    with _bad_file(path), _opened(path, suffix) as raw:
        text = io.TextIOWrapper(raw, "utf-8-sig", errors="surrogateescape", newline="")
        csv.field_size_limit(max_row)
        reader = csv.reader(text, delimiter=delimiter, strict=True)
        header, number = None, 0
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as e:
                number += 1
                if "unexpected end" in str(e):
                    raise BadFile("truncated", f"{path}: row {number}: a quoted field does not end") from e
                reason = "row_too_big" if "field limit" in str(e) else "not_csv"
                yield Row(number, None, reason, str(e))
                continue
            if not cells:
                continue
            if header is None:
                header = _header(path, cells)
                continue
            number += 1
            excerpt = delimiter.join(cells)[:_EXCERPT]
            if len(cells) != len(header):
                yield Row(number, None, "wrong_fields", f"{len(cells)} cells, the header has {len(header)}", excerpt)
            elif any(_escaped(cell) for cell in cells):
                yield Row(number, None, "not_utf8", "bytes that are not UTF-8", excerpt)
            else:
                yield Row(number, dict(zip(header, cells, strict=True)))


def _header(path: Path, cells: list[str]) -> list[str]:
    if any(_escaped(cell) for cell in cells):
        raise BadFile("not_utf8", f"{path}: the header is not UTF-8")
    if len(set(cells)) != len(cells):
        raise BadFile("wrong_fields", f"{path}: the header names a column twice: {', '.join(cells)}")
    return cells


def _escaped(text: str) -> bool:
    return not text.isascii() and any("\udc80" <= c <= "\udcff" for c in text)


def _parquet_rows(path: Path) -> Iterator[Row]:
    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(BATCH_ROWS):
                for record in batch.to_pylist():
                    number += 1
                    yield Row(number, record)
    except (pa.ArrowException, OSError) as e:
        raise BadFile("truncated", f"{path}: no readable Parquet after row {number}: {_first_line(e)}") from e
    except UnicodeDecodeError as e:
        raise BadFile("not_utf8", f"{path}: after row {number}: {e.reason}") from e


def _query_rows(query: str, lake: Lake) -> Iterator[Row]:
    """Rows of a DuckDB query, on one thread so that their order is the same in every run."""
    number = 0
    try:
        with duckdb.connect() as con:
            con.execute(f"SET threads=1; SET memory_limit='{lake.memory_limit}'")
            for batch in con.sql(query).to_arrow_reader(BATCH_ROWS):
                for record in batch.to_pylist():
                    number += 1
                    yield Row(number, record)
    except duckdb.IOException as e:
        reason = "missing_file" if "No files found" in str(e) else "unreadable"
        raise BadFile(reason, f"the query cannot read its files: {_first_line(e)}") from e
    except (duckdb.Error, pa.ArrowException) as e:
        raise BadFile("query_failed", f"after row {number}: {_first_line(e)}") from e


# ---- texts for people ----------------------------------------------------------------------------------------------
def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def _printable(text: str, width: int = _EXCERPT) -> str:
    return text[:width].encode("utf-8", "replace").decode("utf-8")


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
