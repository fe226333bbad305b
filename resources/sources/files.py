"""Rows of files: JSON lines, JSON arrays and objects, CSV, TSV and Parquet, plain or as .gz or .zst, and of DuckDB queries.

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
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.conversation import TEXT_KEYS, WHOLE
from curation.paths import path_steps
from resources.lake.batches import STEP

BATCH_ROWS = 2_000
EXCERPT = 200
DEEPEST = 400  # objects and lists inside each other, far from where Python's own stack ends
BOM, UTF_16 = b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")
SHALLOW = 20  # so deep a record may be for the fast parser; the exact one counts to DEEPEST
LINES_BYTES = 1 << 18  # of lines that are looked at together
LONGEST_INT = 2.0**63
DOUBTFUL = -(1 << 40)
UTF8_BYTES = 4  # of a character, at most
ROW_OVERHEAD = 1 << 16  # bytes of a row that are no text of it
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
    file: str = ""  # where a source has several


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
    suffix, kind = path.suffix.lower(), _kind(path)
    if kind == ".parquet":
        rows = parquet_rows(path, max_row)
    elif kind == ".tsv":
        rows = _csv_rows(path, suffix, "\t", max_row, _quoted(path, suffix))
    elif kind == ".csv":
        rows = _csv_rows(path, suffix, ",", max_row, True)
    elif kind in (".json", ".jsonl", ".ndjson"):
        rows = _json_rows(path, suffix, max_row)
    else:
        raise BadFile("unknown_format", f"{path}: expected .jsonl, .json, .csv, .tsv or .parquet, plain, .gz or .zst")
    first = next(rows, None)
    if first is None:
        raise BadFile("empty_file", f"{path}: no rows")
    return chain([first], rows)


def rows_of_files(paths: Iterable[Path], max_row: int) -> Iterator[Row]:
    """Rows of several files, numbered through; a file that cannot be read, or not to its end, costs what it holds from
    there on, and is row 0 of its own."""
    number = 0
    for path in paths:
        try:
            for row in file_rows(path, max_row):
                number += 1
                yield row._replace(number=number, file=str(path))
        except BadFile as e:
            yield Row(0, None, e.reason, str(e), file=str(path))


def _kind(path: Path) -> str:
    return next((s for s in reversed([s.lower() for s in path.suffixes]) if s not in (".gz", ".zst")), "")


def has_cells(path: Path) -> bool:
    """Whether every value of the file's rows is a text, whatever it stands for."""
    return _kind(path) in (".csv", ".tsv")


def _opened(path: Path, suffix: str) -> Any:  # a file of Python, gzip or Arrow
    if suffix == ".gz":
        return gzip.open(path, "rb")
    if suffix == ".zst":
        return pa.input_stream(str(path), compression="zstd")
    return open(path, "rb")


def _blocks(path: Path, suffix: str) -> Iterator[bytes]:
    """The bytes of a file, decompressed, without a byte order mark."""
    with opening(path), _opened(path, suffix) as f:
        block = f.read1(1 << 18)  # what there is, so that a file that breaks off is read up to there
        if block[:2] in UTF_16:
            raise BadFile("not_utf8", f"{path}: UTF-16, expected UTF-8")
        block = block.removeprefix(BOM)
        while block:
            yield block
            block = f.read1(1 << 18)


def _lines(path: Path, suffix: str, max_row: int) -> Iterator[bytes | int]:
    """Lines of a file."""
    return _split(_blocks(path, suffix), max_row)


def _split(blocks: Iterable[bytes], max_row: int) -> Iterator[bytes | int]:
    """Lines by \\n alone (U+2028 may stand inside a string), in a file without one by \\r; an int in the place of a line
    that is longer than max_row, its first bytes being lost is the price for a bounded memory."""
    rest, skipped, end = b"", 0, b""
    for block in blocks:
        end = end or (b"\r" if b"\n" not in block and b"\r" in block[:-1] else b"\n")
        *lines, tail = block.split(end)
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
    for line, keys in _counted(lines):
        if isinstance(line, int):
            number += 1
            yield Row(number, None, "row_too_big", f"{line} bytes, more than max_row_bytes")
        elif (record := quickly(line, keys)) is not None:
            number += 1
            yield Row(number, record)
        elif line.strip():
            row = _parsed(number + 1, line)
            if (
                row.record is None and b"\r" in line.strip()
            ):  # no string holds it: it ends lines, or stands between words
                rows = [
                    _parsed(number + i, part) for i, part in enumerate(filter(bytes.strip, line.split(b"\r")), start=1)
                ]
            else:
                rows = [row]
            number += len(rows)
            yield from rows


def _counted(lines: Iterator[bytes | int]) -> Iterator[tuple[bytes | int, int]]:
    """Each line with how many keys its objects have, or a number that is larger; -1 where that cannot be told. Several
    lines are looked at together, and what could be read before a file broke off comes before the error."""
    while True:
        some, size, broken = [], 0, None
        try:
            for line in lines:
                some.append(line)
                size += len(line) if isinstance(line, bytes) else 0
                if size > LINES_BYTES:
                    break
        except BadFile as e:
            broken = e
        yield from zip(some, _keys_of([line if isinstance(line, bytes) else b"" for line in some]), strict=True)
        if broken:
            raise broken
        if size <= LINES_BYTES:
            return


def _keys_of(lines: list[bytes]) -> list[int]:
    """At most how many keys the objects of each line have: a key is followed by a quote and a colon, and so may be a
    piece of a text; but a quote that follows one backslash alone is inside a text."""
    data = np.frombuffer(b"\n".join([b"\n\n", *lines, b""]), np.uint8)
    ends = np.cumsum(np.fromiter(map(len, lines), np.int64, len(lines)) + 1) + 3
    colons = np.flatnonzero(data == ord(":"))
    before = data[colons - 1]
    inside = (data[colons - 2] == ord("\\")) & (data[colons - 3] != ord("\\"))
    quoted = colons[(before == ord('"')) & ~inside]
    counts = np.bincount(np.searchsorted(ends, quoted, side="right"), minlength=len(lines))
    for colon in colons[(before == 32) | (before == 9) | (before == 13)].tolist():  # white space between key and colon?
        at = colon - 1
        while data[at] in (32, 9, 13):
            at -= 1
        if data[at] == ord('"'):
            counts[np.searchsorted(ends, colon, side="right")] = -1
    return counts.tolist()


def quickly(line: bytes, keys: int) -> dict | None:
    """The record of a line by a parser that is faster than the exact one and says of every line that it reads the same;
    None where it does not surely do so: a key may stand twice (fewer are found than `keys`), a number may be longer than
    it holds, objects lie deep inside each other, or the line is no object."""
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return record if type(record) is dict and _held(record, 0) == keys else None


def _held(value: dict | list, depth: int) -> int:
    """How many keys the objects inside a value have; a number below -10^9 where another parser has to look at it."""
    found = 0
    if type(value) is dict:
        found = len(value)
        inside: Iterable = value.values()
    else:
        inside = value
    for one in inside:
        kind = type(one)
        if kind is dict or kind is list:
            found += _held(one, depth + 1) if depth < SHALLOW else DOUBTFUL
        elif kind is float and not -LONGEST_INT < one < LONGEST_INT:  # may have been an integer
            return DOUBTFUL
    return found


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
    """Rows of JSON: a line each, the elements of arrays, or objects that are written over several lines."""
    blocks = _blocks(path, suffix)
    head = next(blocks, b"").lstrip()
    if _in_one_array(path, head):
        yield from _values(path, chain([head[1:]], blocks), max_row, True)
    elif _spread(head):
        yield from _values(path, chain([head], blocks), max_row, False)
    else:
        yield from _json_lines(_lines(path, suffix, max_row))


def ranges_of_lines(path: Path, size: int) -> list[tuple[int, int]]:
    """Where a file of JSON lines can be cut: ranges of bytes that hold whole lines, each of about this size; none for
    every other kind of file.

    Raises:
        OSError: it cannot be read.
    """
    if path.suffix.lower() not in (".json", ".jsonl", ".ndjson"):
        return []
    with open(path, "rb") as file:
        head = file.read(1 << 18)
        start = len(BOM) if head.startswith(BOM) else 0
        first = head[start:].lstrip()
        if head[:2] in UTF_16 or b"\n" not in head or _in_one_array(path, first) or _spread(first):
            return []
        ranges, length = [], path.stat().st_size
        while start < length:
            file.seek(min(start + size, length) - 1)
            file.readline()
            ranges.append((start, file.tell()))
            start = file.tell()
    return ranges


def lines_of_range(path: Path, start: int, end: int, max_row: int) -> Iterator[Row]:
    """Rows of the lines that stand in a range of bytes of a file."""
    return _json_lines(_split(_bytes_of(path, start, end), max_row))


def _bytes_of(path: Path, start: int, end: int) -> Iterator[bytes]:
    with opening(path), open(path, "rb") as file:
        file.seek(start)
        while start < end and (block := file.read(min(1 << 18, end - start))):
            start += len(block)
            yield block


def _in_one_array(path: Path, head: bytes) -> bool:
    return head.startswith(b"[") and (_kind(path) == ".json" or head[1:].lstrip()[:1] in (b"{", b""))


def _spread(head: bytes) -> bool:
    """Whether the first object of a file goes on after its first line."""
    end = min((at for at in (head.find(b"\n"), head.find(b"\r")) if at > 0), default=0)
    if not head.startswith(b"{") or not end:
        return False
    line, text = (part.decode("utf-8", "replace") for part in (head[:end], head))
    try:
        _MEASURE.decode(line.strip())
        return False
    except (ValueError, RecursionError):
        pass
    try:
        return _MEASURE.raw_decode(text)[1] > len(line)
    except json.JSONDecodeError as e:
        return e.pos > len(line) and (e.pos >= len(text) - LONGEST_WORD or e.msg.startswith("Unterminated"))
    except (ValueError, RecursionError):
        return False


def _values(path: Path, blocks: Iterator[bytes], max_row: int, array: bool) -> Iterator[Row]:
    """Rows of the values that follow each other in a file: the elements of an array and of those that follow it, or
    objects with white space between."""
    number, text, ended = 0, "", False
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    while True:
        text = text.lstrip()
        if array and number and text[:1] == ",":
            text = text[1:].lstrip()
        if text[:1] == "]" if array else not text:
            rest = text[1:].lstrip()
            while not rest and (block := next(blocks, None)) is not None:
                rest = decoder.decode(block).lstrip()
            if not rest:
                return
            if array and rest[0] != "[":
                raise BadFile(
                    "not_json", f"{path}: the array ends after record {number}; what follows is not read: {rest[:80]!r}"
                )
            text = rest[1:].lstrip() if array else rest
            if array and text[:1] == "]":
                continue
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


def _quoted(path: Path, suffix: str) -> bool:
    """Whether quotes in a file of tab-separated values enclose cells, as data frames write them, or are data, as the
    format has it. They enclose where the header is quoted, where the lines themselves do not have as many cells as it,
    or where every cell that begins with a quote is a quoted one and some of them doubles a quote. Looked at are the
    first lines."""
    text = next(_blocks(path, suffix), b"").decode("utf-8", "replace")
    lines = [line for line in re.split(r"\r\n|\n|\r", text) if line]
    lines = lines[:-1] if len(lines) > 2 and text[-1:] not in "\r\n" else lines  # the last may be half a line
    if not lines or '"' not in text:
        return False
    rows = [line.split("\t") for line in lines]
    if all(len(cell) > 1 and cell[0] == cell[-1] == '"' for cell in rows[0]):
        return True
    if any(len(row) != len(rows[0]) for row in rows):
        try:
            read = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter="\t", strict=True) if row]
        except csv.Error as e:
            read = [] if "unexpected end" not in str(e) else [row for row in csv.reader(lines, delimiter="\t") if row]
        return bool(read) and all(len(row) == len(read[0]) for row in read[: max(1, len(read) - 1)])
    opening = [cell for row in rows for cell in row if cell.startswith('"')]
    return any('""' in cell[1:-1] for cell in opening) and all(_CELL.fullmatch(cell) for cell in opening)


_CELL = re.compile(r'"(?:[^"]|"")*"')


class _LongLine(csv.Error):
    pass


def _csv_rows(path: Path, suffix: str, delimiter: str, max_row: int, quoted: bool) -> Iterator[Row]:
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
        quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
        reader = csv.reader(iter(line, ""), delimiter=delimiter, strict=True, quoting=quoting)
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
            if (size := sum(map(len, cells))) > max_row:
                reason, error = "row_too_big", f"{size} characters, more than max_row_bytes"
            elif len(cells) != len(header):
                reason, error = "wrong_fields", f"{len(cells)} cells, the header has {len(header)}"
            elif any(_ESCAPED.search(cell) for cell in cells):
                reason, error = "not_utf8", "bytes that are not UTF-8"
            else:
                yield Row(number, dict(zip(header, cells, strict=True)))
                continue
            yield Row(number, None, reason, error, delimiter.join(cells)[:EXCERPT])


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


def parquet_rows(path: Path, max_row: int, first: int = 0, end: int | None = None, before: int = 0) -> Iterator[Row]:
    """Rows of a Parquet file, of these of its row groups alone where they are named, which follow `before` others.

    A small file can hold rows that are enormous. Where a row group may, its rows are taken one by one, and what is far
    longer than max_row never becomes a value of Python.
    """
    number, most = before, UTF8_BYTES * max_row + ROW_OVERHEAD
    try:
        with pq.ParquetFile(path) as file:
            _distinct(str(path), file.schema_arrow.names)
            for group in range(first, file.num_row_groups if end is None else end):
                alone = _swells(path, file.metadata.row_group(group), group, most)
                for batch in file.iter_batches(1 if alone else STEP, row_groups=[group]):
                    # of one group each: one that is broken costs none of those before it
                    if alone and batch.nbytes > most:
                        number += 1
                        yield Row(number, None, "row_too_big", f"{batch.nbytes} bytes, more than max_row_bytes")
                        continue
                    for row in arrow_rows(batch, number):
                        number = row.number
                        yield row
    except (pa.ArrowException, OSError, UnicodeDecodeError) as e:
        raise BadFile("truncated", f"{path}: no readable Parquet after row {number}: {first_line(e)}") from e


def _swells(path: Path, group: Any, number: int, most: int) -> bool:
    """Whether rows of a row group may have more than so many bytes: they have on average, by the footer, or a dictionary
    holds a text that has, which any number of rows may name for a byte each."""
    columns = [group.column(i) for i in range(group.num_columns)]
    if sum(c.total_uncompressed_size for c in columns) > most * max(1, group.num_rows):
        return True
    large = [
        c.path_in_schema
        for c in columns
        if c.physical_type == "BYTE_ARRAY" and c.has_dictionary_page and c.total_uncompressed_size > most
    ]
    return any(_longest_named(path, column, number) > most for column in large)


def _longest_named(path: Path, column: str, group: int) -> int:
    """Bytes of the longest text in the dictionary of a column of a row group."""
    with pq.ParquetFile(path, read_dictionary=[column]) as file:
        for batch in file.iter_batches(STEP, row_groups=[group], columns=[column]):
            for dictionary in chain.from_iterable(map(_dictionaries, batch.columns)):
                if len(dictionary):
                    return pc.max(pc.binary_length(dictionary)).as_py() or 0
    return 0


def _dictionaries(array: Any) -> Iterator[pa.Array]:
    """The dictionaries inside an array, however deep."""
    if isinstance(array, pa.DictionaryArray):
        yield array.dictionary
    elif pa.types.is_struct(array.type):
        for i in range(array.type.num_fields):
            yield from _dictionaries(array.field(i))
    elif pa.types.is_map(array.type):
        yield from _dictionaries(array.keys)
        yield from _dictionaries(array.items)
    elif pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        yield from _dictionaries(array.values)


def query_rows(query: str, memory_limit: str, texts: Iterable[str] = ()) -> Iterator[Row]:
    """Rows of a DuckDB query, on one thread so that their order is the same in every run. Columns of JSON, which DuckDB
    makes of values of several types, are read value by value.

    Raises:
        BadFile: the query fails, or it gives under one of the paths `texts` what DuckDB has made of texts by their looks
            (a date, a UUID): they are no longer what the file says.
    """
    number = 0
    try:
        with duckdb.connect() as con:
            con.execute(f"SET threads=1; SET memory_limit='{memory_limit}'")
            found = con.sql(query)
            if found is None:
                raise BadFile("query_failed", "the query selects nothing")
            types = dict(zip(found.columns, found.types, strict=True))
            _as_they_stand(types, texts)
            decoders = {name: read for name, type in types.items() if (read := _duckdb_decoder(type))}
            reader = found.to_arrow_reader(STEP)
            _distinct("the query", reader.schema.names)
            for batch in reader:
                for row in arrow_rows(batch, number, decoders):
                    number = row.number
                    yield row
    except duckdb.IOException as e:
        reason = "missing_file" if "No files found" in str(e) else "unreadable"
        raise BadFile(reason, f"the query cannot read its files: {first_line(e)}") from e
    except (duckdb.Error, pa.ArrowException, OSError) as e:  # the reader turns what DuckDB says on the way into OSError
        raise BadFile("query_failed", f"after row {number}: {first_line(e)}") from e


# ---- columns of one type a file, values of several -----------------------------------------------------------------
Decoder = Callable[[Any], Any]
_HELD = (*TEXT_KEYS, *WHOLE)  # where a text stands in an object


def _as_they_stand(types: dict[str, Any], texts: Iterable[str]) -> None:
    for path in texts:
        head = path if path in types else path_steps(path)[0][0]
        if head not in types:
            continue
        looks = _looks(_type_at(types[head], path_steps(path)[1:] if head != path else []))
        if looks:
            raise BadFile(
                "inferred_type",
                f"{path}: DuckDB takes these texts for {looks} and spells them anew; have them read as they stand, by "
                f"read_json('…', columns = {{{head}: 'VARCHAR', …}}) or read_csv('…', all_varchar = true)",
            )


def _type_at(type: Any, steps: Sequence[tuple[str, str]]) -> Any:
    """DuckDB's type at a path inside a type; None where it does not lead anywhere."""
    for key, _ in steps:
        children = dict(type.children) if type.id in ("struct", "map", "list", "array") else {}
        type = children.get(key or "child", children.get("value")) if children else None
        if type is None:
            return None
    return type


def _looks(type: Any) -> str:
    """What DuckDB has taken the texts of a type for; '' where they are as they stand."""
    if type is None:
        return ""
    if type.id in ("list", "array", "struct", "map"):
        inside = dict(type.children)
        held = inside.values() if type.id == "map" else [t for n, t in inside.items() if n in ("child", *_HELD)]
        return next(filter(None, map(_looks, (t for t in held if not isinstance(t, int)))), "")
    return str(type) if type.id in ("uuid", "date", "interval") or type.id.startswith("time") else ""


def _duckdb_decoder(type: Any) -> Decoder | None:
    """What reads the JSON inside a value of DuckDB's type; None where there is none."""
    if str(type) == "JSON":
        return _decoded
    if type.id in ("list", "array"):
        return _each(_duckdb_decoder(dict(type.children)["child"]))
    if type.id == "map":
        return _under_all(_duckdb_decoder(dict(type.children)["value"]))
    if type.id == "struct":
        return _under({name: _duckdb_decoder(inside) for name, inside in type.children})
    return None


def _arrow_decoders(schema: pa.Schema) -> dict[str, Decoder]:
    """What reads the JSON inside the columns of a table: those of Arrow's JSON type, and those that the package
    `datasets` has noted in the schema as such."""
    try:
        noted = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        noted = {}
    noted = noted if isinstance(noted, dict) else {}
    found = {field.name: _arrow_decoder(field.type, noted.get(field.name)) for field in schema}
    return {name: read for name, read in found.items() if read}


def _arrow_decoder(type: pa.DataType, feature: Any) -> Decoder | None:
    if isinstance(type, pa.JsonType) or (isinstance(feature, dict) and feature.get("_type") == "Json"):
        return _decoded
    if pa.types.is_map(type):
        return _under_all(_arrow_decoder(type.item_type, None))
    if pa.types.is_list(type) or pa.types.is_large_list(type) or pa.types.is_fixed_size_list(type):
        inner = feature.get("feature") if isinstance(feature, dict) else feature[0] if feature else None
        return _each(_arrow_decoder(type.value_type, inner))
    if pa.types.is_struct(type):
        inner = feature if isinstance(feature, dict) else {}
        inner = inner.get("feature", inner) if "_type" in inner else inner
        return _under({f.name: _arrow_decoder(f.type, inner.get(f.name)) for f in type})
    return None


def _decoded(value: Any) -> Any:
    return _DECODER.decode(value) if isinstance(value, str) else value


def _each(read: Decoder | None) -> Decoder | None:
    return partial(_read_each, read) if read else None


def _read_each(read: Decoder, values: list | None) -> list | None:
    return None if values is None else [read(value) for value in values]


def _under_all(read: Decoder | None) -> Decoder | None:
    return partial(_read_under_all, read) if read else None


def _read_under_all(read: Decoder, held: dict | None) -> dict | None:
    return None if held is None else {key: read(value) for key, value in held.items()}


def _under(reads: dict[str, Decoder | None]) -> Decoder | None:
    some = {name: read for name, read in reads.items() if read}
    return partial(_read_under, some) if some else None


def _read_under(reads: dict[str, Decoder], held: dict | None) -> dict | None:
    return None if held is None else held | {key: read(held[key]) for key, read in reads.items()}


def arrow_rows(
    batch: pa.RecordBatch | pa.Table, before: int, decoders: dict[str, Decoder] | None = None
) -> Iterator[Row]:
    """Rows of a batch that follow `before` others; one with a value that Python cannot hold costs itself. A map is read
    as an object, and what stands as JSON in a column as what it says."""
    decoders = _arrow_decoders(batch.schema) if decoders is None else decoders
    try:
        records = batch.to_pylist(maps_as_pydicts="strict")
        for name, read in decoders.items():
            for record in records:
                record[name] = read(record[name])
    except Exception:  # of any kind, by the type of the value: no such date, time zone, text
        yield from (_arrow_row(batch.slice(i, 1), before + i + 1, decoders) for i in range(batch.num_rows))
    else:
        yield from (Row(i, record) for i, record in enumerate(records, before + 1))


def _arrow_row(row: pa.RecordBatch | pa.Table, number: int, decoders: dict[str, Decoder]) -> Row:
    record = {}
    for name, column in zip(row.schema.names, row.columns, strict=True):
        try:
            record[name] = column[0].as_py(maps_as_pydicts="strict")
            if name in decoders:
                record[name] = decoders[name](record[name])
        except UnicodeDecodeError as e:
            return Row(number, None, "not_utf8", f"column {name}: byte {e.start} is not UTF-8")
        except _Repeated as e:
            return Row(number, None, "duplicate_key", f"column {name}: {e}")
        except json.JSONDecodeError as e:
            return Row(number, None, "not_json", f"column {name}: {first_line(e)}")
        except Exception as e:
            return Row(number, None, "wrong_type", f"column {name} of type {column.type}: {first_line(e)}")
    return Row(number, record)


def first_line(error: BaseException) -> str:
    """The first line of an error's message."""
    return str(error).partition("\n")[0] or type(error).__name__
