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
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, islice
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from curation.adapters import GOOD_OR_BAD, Codes, Comparison, Found, absent, adapter, nearest, pair_up
from curation.conversation import BadRecord, Unfit
from curation.identity import Turn, comparison_id, conv_id, lot, pair_ids, text_hash
from curation.tables import CONVERSATION, QUARANTINE, RAW_POOL, TURN, UNUSABLE
from resources.lake import Lake
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
)

BATCH_CHARS = 16_000_000  # flushes a batch of long texts early
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
    """Rows of `raw_pool`, `unusable` and `quarantine`, and how many records they account for."""

    pairs: pa.RecordBatch
    unusable: pa.RecordBatch
    quarantine: pa.RecordBatch
    records: int


class _Builder:
    """Collects the rows of a batch; pairs as columns, because most rows are pairs."""

    def __init__(self, source: Source):
        self.source = source
        self._clear()

    def _clear(self) -> None:
        self.pairs: list[tuple] = []  # (pair_id, conv_id, comparison_id, turns, chosen, rejected, row, part, n_chars)
        self.unusable: list[dict] = []
        self.quarantine: list[dict] = []
        self.records = self.chars = 0

    def add(self, row: int, found: Iterable[Found]) -> None:
        """One record's comparisons; raises BadRecord where it cannot be read, and then keeps none of them."""
        pairs, unusable = [], []
        for part, one in enumerate(found):
            if isinstance(one, BadRecord):
                raise one
            if part == MOST_PAIRS and self.source.shape != "unpaired":
                raise BadRecord("too_many_pairs", f"its responses make more than {MOST_PAIRS} pairs")
            problem = (one.reason, str(one)) if isinstance(one, Unfit) else one.problem()
            if problem is None:
                pairs.append(self._pair(row, part, one))
            else:
                unusable.append(
                    {
                        "source": self.source.name,
                        "row": row,
                        "part": part,
                        "reason": problem[0],
                        "evidence": _printable(self.source.hidden(problem[1])),
                    }
                )
        self.pairs += pairs
        self.unusable += unusable
        self.chars += sum(pair[-1] for pair in pairs)
        self.records += 1

    def _pair(self, row: int, part: int, c: Comparison) -> tuple:
        chosen, rejected = (c.a, c.b) if c.winner == "a" else (c.b, c.a)
        n_chars = len(chosen) + len(rejected) + sum([len(content) for _, content in c.turns])
        if n_chars > self.source.max_row_bytes:
            raise BadRecord("row_too_big", f"{n_chars} characters, max_row_bytes is {self.source.max_row_bytes}")
        try:
            conversation = conv_id(c.turns)
            pair, comparison = pair_ids(conversation, chosen, rejected)
        except UnicodeEncodeError as e:
            raise BadRecord("not_utf8", "half of a surrogate pair, which is no character") from e
        return pair, conversation, comparison, c.turns, chosen, rejected, row, part, n_chars

    def refuse(self, row: int, reason: str, error: str, excerpt: str) -> None:
        self.quarantine.append(
            {
                "source": self.source.name,
                "file": self.source.origin,
                "row": row,
                "reason": reason,
                "error": _printable(self.source.hidden(error), 1000),
                "excerpt": _printable(self.source.hidden(excerpt)),
            }
        )
        self.records += row > 0

    def full(self) -> bool:
        rows = len(self.pairs) + len(self.unusable) + len(self.quarantine)
        return rows >= BATCH_ROWS or self.chars >= BATCH_CHARS

    def flush(self) -> Iterator[Batch]:
        """What was collected; in several batches where one record has brought more text than a batch should hold."""
        unusable = pa.RecordBatch.from_pylist(self.unusable, schema=UNUSABLE.schema)
        quarantine = pa.RecordBatch.from_pylist(self.quarantine, schema=QUARANTINE.schema)
        parts, records = _portions(self.pairs), self.records
        self._clear()
        for pairs in parts:
            yield Batch(self._columns(pairs), unusable, quarantine, records)
            unusable, quarantine, records = unusable[:0], quarantine[:0], 0

    def _columns(self, pairs: list[tuple]) -> pa.RecordBatch:
        names = ("pair_id", "conv_id", "comparison_id", "conversation", "chosen", "rejected", "row", "part", "n_chars")
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


def _portions(pairs: list[tuple]) -> Iterator[list[tuple]]:
    """Pairs, at least one at a time, with at most BATCH_CHARS of text; one empty list where there are none."""
    some, chars = [], 0
    for pair in pairs:
        if some and chars + pair[-1] > BATCH_CHARS:
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


def read_source(source: Source, lake: Lake) -> Iterator[Batch]:
    """Every record of a source as batches of pairs, unusable parts and quarantined rows; at least one batch.

    A record is in exactly one of: `quarantine` (by its row), or `raw_pool` and `unusable` (by row and part; a record
    that implies several pairs may have parts in both). Row 0 of `quarantine` stands for the whole file, or for the
    rest of it from where it broke off.
    """
    building = _Builder(source)
    gc.freeze()  # or the collector looks at all that is loaded again and again: a fifth of the time
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
            except (ValueError, ArithmeticError, RecursionError) as e:
                building.refuse(row, "wrong_type", f"{type(e).__name__}: {first_line(e)}", _json(record))
            if building.full():
                yield from building.flush()
    except BadFile as e:
        building.refuse(0, e.reason, str(e), "")
    finally:
        gc.unfreeze()
    yield from building.flush()


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


def _labels(answers: Answers, lake: Lake) -> Iterator[tuple[str, str, str, str, str]]:
    for _, found, record in _told(answers, _found(answers, lake, Source.model_fields["max_row_bytes"].default)):
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
        except (BadRecord, Unfit, ValueError, ArithmeticError, RecursionError):
            continue


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
        files = hub.files(path) if path.is_dir() else [path]
    else:
        files = _named(_located(records.query, lake), records.folder)
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
        remote = _REMOTE.search(records.query) is not None
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
def _found(records: Records, lake: Lake, max_row: int) -> Iterator[tuple[int, Iterable[Found] | Row, dict | None]]:
    """(row, what it holds or why it cannot be read, the record)."""
    try:
        cells = records.path is not None and has_cells(Path(records.path))
        labels = Codes(records.codes or GOOD_OR_BAD, cells) if records.shape == "unpaired" else None
        read = None if labels else adapter(records.shape, records.fields, records.codes, cells)
        rows = _checked_fields(records, _rows(records, lake, max_row))
    except ValueError as e:
        raise BadFile("wrong_fields", str(e)) from e
    if labels:
        yield from _unpaired(records, labels, rows)
        return
    for row in rows:
        yield row.number, row if row.record is None else read(row.record), row.record


def _unpaired(
    records: Records, labels: Codes, rows: Iterable[Row]
) -> Iterator[tuple[int, Iterable[Found] | Row, dict | None]]:
    bad: list[Row] = []
    broken: list[BadFile] = []

    def good() -> Iterator[tuple[int, dict]]:
        for row in _until_broken(rows, broken):
            if row.record is None:
                bad.append(row)
            else:
                yield row.number, row.record

    waiting: list[Found] = []
    at = None
    for number, found in chain(pair_up(good(), records.fields, labels), [(None, None)]):
        if at is not None and number != at:
            yield at, waiting, None
            waiting = []
        at = number
        waiting.append(found)
    for row in bad:
        yield row.number, row, None
    if broken:
        raise broken[0]


def _checked_fields(records: Records, rows: Iterator[Row]) -> Iterator[Row]:
    """The rows, once the first of them show the fields that the shape needs."""
    chunks = _chunks(rows, PEEK)
    head = next(chunks, [])
    seen = [row.record for row in head if row.record is not None]
    if seen and (missing := absent(records.shape, records.fields, seen)):
        hint = nearest(seen[0])
        raise BadFile(
            "wrong_fields",
            f"shape '{records.shape}' needs {', '.join(missing)}; the first row has {', '.join(map(str, seen[0]))}"
            + (f"; the nearest adapter is {hint}" if hint else "")
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


def _rows(records: Records, lake: Lake, max_row: int) -> Iterator[Row]:
    if records.query is not None:
        rows = _inside(records.folder, query_rows(_located(records.query, lake), lake.memory_limit))
    elif records.path.startswith(hub.PREFIX):
        rows = hub.rows(*hub.pinned(records.path), records.config, records.split)
    elif (path := _file(records.path, lake)).is_dir():
        rows = hub.rows(str(path), None, records.config, records.split)
    else:
        if records.config or records.split:
            raise BadFile(
                "not_a_data_set", f"{records.path}: config and split choose within a data set, this is a file"
            )
        rows = file_rows(path, max_row)
    if records.where:
        rows = _where(rows, records.where)
    return _sampled(rows, records.sample) if records.sample else rows


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
        elif entry > heap[0]:
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


def _where(rows: Iterator[Row], condition: str) -> Iterator[Row]:
    """Rows that satisfy a DuckDB condition on their fields.

    Rows whose fields differ in type are looked at apart, so that the neighbours of a row do not change what the
    condition says of it. One that the condition cannot be asked of is refused; where that is every one, the condition is.
    """
    asked = False
    with duckdb.connect() as con:
        con.execute("SET threads=1")
        names, unseen = _asked_of(con, condition)
        for chunk in _chunks(rows, BATCH_ROWS):
            records = [row.record for row in chunk if row.record is not None]
            unseen = {name for name in unseen if not any(name in record for record in records)}
            found: dict[int, str] = {}
            for alike in _alike(records, names):
                found |= _satisfying(con, condition, names, alike)
            errors = list(filter(None, found.values()))
            asked = asked or len(errors) < len(records)
            if errors and not asked:
                raise BadFile("wrong_fields", f"where = {condition!r}: {errors[0]}")
            for row in chunk:
                error = "" if row.record is None else found.get(id(row.record))
                if error:
                    yield Row(row.number, None, "wrong_type", f"where = {condition!r}: {error}", _json(row.record))
                elif error is not None:
                    yield row
    if asked and unseen:
        raise BadFile("wrong_fields", f"where = {condition!r}: no record has a field {', '.join(sorted(unseen))}")


def _asked_of(con: duckdb.DuckDBPyConnection, condition: str) -> tuple[list[str], set[str]]:
    """The fields that a condition names, and those of them that are not also variables of its own.

    Raises:
        BadFile: it is no condition.
    """
    [(text,)] = con.execute("SELECT json_serialize_sql($query)", {"query": f"SELECT 1 WHERE ({condition})"}).fetchall()
    if (parsed := json.loads(text))["error"]:
        raise BadFile("wrong_fields", f"where = {condition!r}: {first_line(parsed['error_message'])}")
    fields: set[str] = set()
    variables: set[str] = set()
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
    for name in sorted(fields):
        if same := sorted(n for n in fields if n != name and n.lower() == name.lower()):
            raise BadFile("wrong_fields", f"where = {condition!r}: DuckDB cannot tell {name} from {same[0]}")
    return sorted(fields), fields - variables


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


def _file(path: str, lake: Lake) -> Path:
    found = Path(_located(path, lake))
    with opening(found):
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
