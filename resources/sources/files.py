"""Rows of files: JSON lines, JSON arrays, CSV, TSV and Parquet, plain or as .gz or .zst, and of DuckDB queries.

A bad row comes back with its reason in the place of a record; a bad file raises BadFile after the rows that could be
read. Nothing of a file but one batch stays in memory.
"""

import codecs
import csv
import gzip
import io
import json
import re
import sys
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from resources.lake.batches import STEP

BATCH_ROWS = 2_000
EXCERPT = 200
DEEPEST = 400  # objects and lists inside each other, far from where Python's own stack ends
CSV_CEILING = 16  # times max_row: a longer cell is not read to its end, which its row could be refused after


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


class opening:
    """Turns what the operating system and the decompressors raise into BadFile."""

    def __init__(self, path: Path):
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind, error, trace) -> None:
        if isinstance(error, EOFError | pa.ArrowInvalid | zlib.error | gzip.BadGzipFile):
            raise BadFile("truncated", f"{self.path}: broken or cut off: {first_line(error)}") from error
        if isinstance(error, OSError):
            reason = "truncated" if error.errno is None else "unreadable"  # decompressors set no errno
            raise BadFile(reason, f"{self.path}: {error.strerror or first_line(error)}") from error


def file_rows(path: Path, max_row: int) -> Iterator[Row]:
    if path.stat().st_size == 0:
        raise BadFile("empty_file", f"{path}: the file is empty")
    suffixes, kind = [s.lower() for s in path.suffixes], _kind(path)
    if kind == ".parquet":
        rows = _parquet_rows(path)
    elif has_cells(path):
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


def _kind(path: Path) -> str:
    return next((s for s in reversed([s.lower() for s in path.suffixes]) if s not in (".gz", ".zst")), "")


def has_cells(path: Path) -> bool:
    """Whether every value of the file's rows is a text, whatever it stands for."""
    return _kind(path) in (".csv", ".tsv")


def _opened(path: Path, suffix: str) -> io.BufferedIOBase:
    if suffix == ".gz":
        return gzip.open(path, "rb")
    if suffix == ".zst":
        return pa.input_stream(str(path), compression="zstd")
    return open(path, "rb")


def _blocks(path: Path, suffix: str) -> Iterator[bytes]:
    """The bytes of a file, decompressed, without a byte order mark."""
    with opening(path), _opened(path, suffix) as f:
        block = f.read1(1 << 18)  # what there is, so that a file that breaks off is read up to there
        if block[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise BadFile("not_utf8", f"{path}: UTF-16, expected UTF-8")
        block = block.removeprefix(b"\xef\xbb\xbf")
        while block:
            yield block
            block = f.read1(1 << 18)


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
    excerpt = line[: 4 * EXCERPT].decode("utf-8", "replace")
    try:
        record = _DECODER.decode(line.decode("utf-8"))
    except UnicodeDecodeError as e:
        return Row(number, None, "not_utf8", f"byte {e.start} is not UTF-8", excerpt)
    except _Repeated as e:
        return Row(number, None, "duplicate_key", str(e), excerpt)
    except (ValueError, RecursionError) as e:
        return Row(number, None, "not_json", first_line(e), excerpt)
    return _object_row(number, record, excerpt, line.count(b"[") + line.count(b"{"))


def _object_row(number: int, record: Any, excerpt: str, brackets: int) -> Row:
    if not isinstance(record, dict):
        return Row(number, None, "not_an_object", f"a record is an object, found {type(record).__name__}", excerpt)
    if brackets > DEEPEST and _too_deep(record):
        return Row(number, None, "not_json", f"objects and lists are nested more than {DEEPEST} deep", excerpt)
    return Row(number, record)


def _too_deep(record: dict) -> bool:
    """Whether it is nested deeper than DEEPEST; level by level, because recursion is what the depth would break."""
    level: list[dict | list] = [record]
    for _ in range(DEEPEST):
        inside = chain.from_iterable(one.values() if isinstance(one, dict) else one for one in level)
        level = [value for value in inside if isinstance(value, dict | list)]
        if not level:
            return False
    return True


class _Repeated(ValueError):
    pass


def _object(pairs: list[tuple[str, Any]]) -> dict:
    record = dict(pairs)
    if len(record) != len(pairs):
        raise _Repeated(f"the key {_twice(k for k, _ in pairs)[0]!r} stands twice in an object")
    return record


def _twice(names: Iterable[str]) -> list[str]:
    """The names that stand there more than once, in the order of their first places."""
    return [name for name, n in Counter(names).items() if n > 1]


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_constant)
_MEASURE = json.JSONDecoder(
    object_pairs_hook=len, parse_constant=len, parse_int=len
)  # where a value ends, whatever it is
_ESCAPED = re.compile(r"[\udc80-\udcff]")  # bytes that were no UTF-8
LONGEST_WORD = len("-Infinity")  # so much of a text's end may be the half of a word


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
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    while True:
        text = text.lstrip()
        if number and text[:1] == ",":
            text = text[1:].lstrip()
        if text[:1] == "]":
            return
        try:
            if not text:
                raise json.JSONDecodeError("the array does not end", text, 0)
            row, end = _element(number + 1, text)
            if end == len(text) and not ended:
                raise json.JSONDecodeError("may go on", text, end)
            text = text[end:]
            number += 1
            yield row
        except RecursionError as e:
            raise BadFile("not_json", f"{path}: record {number + 1} is nested too deep to find its end") from e
        except json.JSONDecodeError as e:
            cut = e.pos >= len(text) - LONGEST_WORD or e.msg.startswith("Unterminated")
            if cut and len(text) > max_row:
                raise BadFile("row_too_big", f"{path}: record {number + 1} is longer than max_row_bytes") from e
            block = next(blocks, None) if cut else None
            if block is not None:
                text += decoder.decode(block)
                continue
            if ended or not cut:
                cut = e.pos >= len(text) or e.msg.startswith("Unterminated")
                reason = "truncated" if cut else "not_json"
                raise BadFile(reason, f"{path}: after record {number}: {first_line(e)}") from e
            ended = True


def _element(number: int, text: str) -> tuple[Row, int]:
    """The element that a text begins with, and where it ends. One that can be told from what follows but is no JSON
    for what stands in it costs itself.

    Raises:
        json.JSONDecodeError: it does not end in the text, or is no JSON, and then nobody knows where it ends.
    """
    excerpt = text[:EXCERPT]
    try:
        record, end = _DECODER.raw_decode(text)
    except json.JSONDecodeError:
        raise
    except ValueError as e:
        _, end = _MEASURE.raw_decode(text)
        return Row(
            number, None, "duplicate_key" if isinstance(e, _Repeated) else "not_json", first_line(e), excerpt
        ), end
    if _ESCAPED.search(text, 0, end):
        return Row(number, None, "not_utf8", "bytes that are not UTF-8", excerpt), end
    return _object_row(number, record, excerpt, text.count("[", 0, end) + text.count("{", 0, end)), end


class _LongLine(csv.Error):
    pass


def _csv_rows(path: Path, suffix: str, delimiter: str, max_row: int) -> Iterator[Row]:
    """A row that is no CSV costs itself where the next one surely begins on the next line; else the file ends there,
    for inside a quoted text any line may look like a row."""
    quotes = 0  # of the row that is being read
    most = min(CSV_CEILING * max_row, sys.maxsize)

    def line() -> str:
        nonlocal quotes
        piece = text.readline(most)
        quotes += piece.count('"')
        if len(piece) < most:
            return piece
        while piece and not piece.endswith(("\n", "\r")):
            piece = text.readline(most)
            quotes += piece.count('"')
        raise _LongLine(f"a line of {most} characters or more")

    with opening(path), _opened(path, suffix) as raw:
        text = io.TextIOWrapper(raw, "utf-8-sig", errors="surrogateescape", newline="")
        csv.field_size_limit(most)
        reader = csv.reader(iter(line, ""), delimiter=delimiter, strict=True)
        header, number = None, 0
        while True:
            quotes = 0
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as e:
                number += 1
                if "unexpected end" in str(e):
                    raise BadFile("truncated", f"{path}: row {number}: a quoted field does not end") from e
                if "field limit" in str(e):
                    raise BadFile("row_too_big", f"{path}: row {number}: {e}; what follows it cannot be found") from e
                reason = "row_too_big" if isinstance(e, _LongLine) else "not_csv"
                if header is None or quotes % 2:
                    raise BadFile(reason, f"{path}: row {number}: {e}; where the next row begins is not certain") from e
                yield Row(number, None, reason, str(e))
                continue
            if not cells:
                continue
            if header is None:
                header = _header(path, cells)
                continue
            number += 1
            excerpt = delimiter.join(cells)[:EXCERPT]
            if (size := sum(map(len, cells))) > max_row:
                yield Row(number, None, "row_too_big", f"{size} characters, more than max_row_bytes", excerpt)
            elif len(cells) != len(header):
                yield Row(number, None, "wrong_fields", f"{len(cells)} cells, the header has {len(header)}", excerpt)
            elif any(_ESCAPED.search(cell) for cell in cells):
                yield Row(number, None, "not_utf8", "bytes that are not UTF-8", excerpt)
            else:
                yield Row(number, dict(zip(header, cells, strict=True)))


def _header(path: Path, cells: list[str]) -> list[str]:
    if any(_ESCAPED.search(cell) for cell in cells):
        raise BadFile("not_utf8", f"{path}: the header is not UTF-8")
    return _distinct(str(path), cells)


def _distinct(where: str, columns: list[str]) -> list[str]:
    """The columns, unless one of them hides another.

    Raises:
        BadFile: two have the same name.
    """
    if twice := sorted(_twice(columns)):
        raise BadFile("wrong_fields", f"{where}: these columns stand twice: {', '.join(map(repr, twice))}")
    return columns


def _parquet_rows(path: Path) -> Iterator[Row]:
    number = 0
    try:
        with pq.ParquetFile(path) as file:
            _distinct(str(path), file.schema_arrow.names)
            for batch in file.iter_batches(STEP):
                for row in arrow_rows(batch, number):
                    number = row.number
                    yield row
    except (pa.ArrowException, OSError) as e:
        raise BadFile("truncated", f"{path}: no readable Parquet after row {number}: {first_line(e)}") from e


def query_rows(query: str, memory_limit: str) -> Iterator[Row]:
    """Rows of a DuckDB query, on one thread so that their order is the same in every run."""
    number = 0
    try:
        with duckdb.connect() as con:
            con.execute(f"SET threads=1; SET memory_limit='{memory_limit}'")
            found = con.sql(query)
            if found is None:
                raise BadFile("query_failed", "the query selects nothing")
            reader = found.to_arrow_reader(STEP)
            _distinct("the query", reader.schema.names)
            for batch in reader:
                for row in arrow_rows(batch, number):
                    number = row.number
                    yield row
    except duckdb.IOException as e:
        reason = "missing_file" if "No files found" in str(e) else "unreadable"
        raise BadFile(reason, f"the query cannot read its files: {first_line(e)}") from e
    except (duckdb.Error, pa.ArrowException, OSError) as e:  # the reader turns what DuckDB says on the way into OSError
        raise BadFile("query_failed", f"after row {number}: {first_line(e)}") from e


def arrow_rows(batch: pa.RecordBatch | pa.Table, before: int) -> Iterator[Row]:
    """Rows of a batch that follow `before` others; one with a value that Python cannot hold costs itself."""
    try:
        records = batch.to_pylist()
    except Exception:  # of any kind, by the type of the value: no such date, time zone, text
        yield from (_arrow_row(batch.slice(i, 1), before + i + 1) for i in range(batch.num_rows))
    else:
        yield from (Row(i, record) for i, record in enumerate(records, before + 1))


def _arrow_row(row: pa.RecordBatch | pa.Table, number: int) -> Row:
    record = {}
    for name, column in zip(row.schema.names, row.columns, strict=True):
        try:
            record[name] = column[0].as_py()
        except UnicodeDecodeError as e:
            return Row(number, None, "not_utf8", f"column {name}: byte {e.start} is not UTF-8")
        except Exception as e:
            return Row(number, None, "wrong_type", f"column {name} of type {column.type}: {first_line(e)}")
    return Row(number, record)


def first_line(error: BaseException) -> str:
    """The first line of an error's message."""
    return str(error).partition("\n")[0] or type(error).__name__
