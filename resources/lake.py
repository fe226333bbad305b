"""The data lake: one Parquet file a partition, replaced whole, read by DuckDB as views.

    <root>/<table>/data.parquet  or  <root>/<table>/<kind>=<key>/data.parquet

A file's bytes depend on its rows, its inputs' versions, the code's version and the settings, on nothing else: no time
and no run id stand in it, so that equal runs give equal files. Those four stand in the footer under `assay`, which
makes lineage a query.
"""

import contextlib
import functools
import glob
import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sql import statement

from .settings import Settings
from .tables import TABLES, Table
from .writing import beside

Data = duckdb.DuckDBPyRelation | pa.Table | pa.RecordBatchReader | Iterable[pa.RecordBatch]

BOUND = ("source", "bucket", "iteration")  # kinds of partition that count only while they are configured
ROW_GROUP = 20_000  # rows; texts are long, and DuckDB's default of 122,880 makes groups of hundreds of megabytes
GROUP_BYTES = 256 << 20  # of Arrow; where texts are very long, a row group has fewer rows
STEP = 250  # rows that come from DuckDB at a time: an Arrow column of texts ends at 2 GiB
PIECE = 1_000  # rows, or
PIECE_BYTES = 32 << 20  # of Arrow: what is worked on at a time


class LakeError(Exception):
    """Rows do not fit their table; nothing was written."""


class Missing(LakeError):
    """A table or partition that is needed has not been materialised."""


@dataclass(frozen=True)
class Written:
    """What was published: `version` is a hash of the content, `path` the file."""

    rows: int
    bytes: int
    version: str
    path: Path


class Staged:
    """A complete file that readers cannot see yet."""

    def __init__(self, path: Path, target: Path, rows: int, version: str):
        self.path, self.target, self.rows, self.version = path, target, rows, version

    def publish(self) -> Written:
        with open(self.path, "rb") as f:
            os.fsync(f.fileno())
        os.replace(self.path, self.target)
        return Written(self.rows, self.target.stat().st_size, self.version, self.target)


@dataclass(frozen=True)
class Lake:
    """Tables under a folder.

    Attributes:
        root: the folder.
        memory_limit: of a DuckDB session, in its spelling.
        threads: of a DuckDB session.
        keys: (kind, partitions) that the views show. A source that was taken out of the configuration, or a bucket of a
            former number of buckets, leaves its file behind; nothing is deleted and nobody reads it.
    """

    root: str
    memory_limit: str = "2GB"
    threads: int = 2
    keys: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @classmethod
    def of(cls, settings: Settings) -> "Lake":
        """The lake of a configuration."""
        keys = tuple((kind, tuple(settings.partition_keys(kind))) for kind in BOUND)
        return cls(str(settings.lake.path), settings.lake.memory_limit, settings.lake.threads, keys)

    def folder(self, name: str) -> Path:
        """A folder for what is no table: models, vectors, stored calls. Created when missing."""
        path = Path(self.root).absolute() / "files" / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def path(self, table: Table, partition: str | None = None) -> Path:
        if (table.partition is None) != (partition is None):
            raise ValueError(f"{table.name} is partitioned by {table.partition}, got partition {partition!r}")
        folder = Path(self.root).absolute() / table.name
        if partition is not None:
            folder = folder.joinpath(*map("=".join, zip(_dimensions(table), partition.split("|"), strict=True)))
        return folder / "data.parquet"

    def partitions(self, table: Table) -> list[str]:
        """The partitions of a table that exist, sorted."""
        base = Path(self.root).absolute() / table.name
        return sorted("|".join(d.partition("=")[2] for d in p.relative_to(base).parts[:-1]) for p in self._files(table))

    def _files(self, table: Table) -> Iterator[Path]:
        """The published files of a table; never one that is being written."""
        return (Path(self.root).absolute() / table.name).glob(_pattern(table))

    # ---- reading ---------------------------------------------------------------------------------------------------
    @contextlib.contextmanager
    def connect(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A DuckDB session with a view for every table, materialised or not, and the views of sql/views.sql.

        Partitioned tables carry their partition as a VARCHAR column.
        """
        with tempfile.TemporaryDirectory(prefix="assay-spill-") as spill, duckdb.connect() as con:
            con.execute(f"SET memory_limit='{self.memory_limit}'")
            con.execute(f"SET threads={self.threads}")
            con.execute(f"SET temp_directory='{spill}'")
            con.execute("SET enable_progress_bar=false")
            here = f"SET VARIABLE lake = {self._quoted()}"
            con.execute(here)
            views = self._views("getvariable('lake')")
            con.execute(f"ATTACH '{_catalogue(views, here)}' AS lake (READ_ONLY)")
            con.execute("SET search_path = 'memory.main,lake.main'")  # what a session creates is its own
            yield con

    def _quoted(self) -> str:
        """The root as a string of SQL, to be continued by a pattern of files."""
        return _quote(glob.escape(str(Path(self.root).absolute())))

    def _views(self, root: str) -> str:
        """SQL that defines all views; it changes where a table gets its first file or loses its last."""
        tables = (f'CREATE OR REPLACE VIEW "{t.name}" AS {self._select(t, root)}' for t in TABLES.values())
        return ";\n".join([*tables, statement("partition").rstrip().rstrip(";"), statement("views")])

    def shell(self) -> Path:
        """Write `assay.duckdb`, the same views for a plain DuckDB shell, and return its path."""
        path = Path(self.root).absolute() / "assay.duckdb"
        with beside(path) as new:
            with duckdb.connect(str(new)) as con:
                con.execute(self._views(self._quoted()))
            os.replace(new, path)
        return path

    def _select(self, table: Table, root: str) -> str:
        in_path = [d for d in _dimensions(table) if d not in table.schema.names]
        if next(self._files(table), None) is None:
            names = [(f.name, _duck(f.type)) for f in table.schema] + [(d, "VARCHAR") for d in in_path]
            return "SELECT " + ", ".join(f'NULL::{t} AS "{n}"' for n, t in names) + " WHERE false"
        types = ", ".join(f"'{d}': VARCHAR" for d in _dimensions(table))
        hive = f"true, hive_types={{{types}}}" if in_path else "false"
        rows = f"SELECT * FROM read_parquet({root} || '/{table.name}/{_pattern(table)}', hive_partitioning={hive})"
        wanted = dict(self.keys).get(table.partition or "")
        return rows if wanted is None else f'{rows} WHERE "{table.partition}" IN ({", ".join(map(_quote, wanted))})'

    # ---- lineage ---------------------------------------------------------------------------------------------------
    def note(self, table: Table, partition: str | None = None) -> dict | None:
        """The footer of one partition: version, inputs {name: version}, code, settings; None when it is missing."""
        path = self.path(table, partition)
        if not path.exists():
            return None
        return json.loads(pq.read_metadata(path).metadata[b"assay"])

    def rows(self, table: Table, partition: str | None = None) -> int:
        path = self.path(table, partition)
        return pq.read_metadata(path).num_rows if path.exists() else 0

    def versions(self, inputs: Iterable[tuple[Table, str | None]]) -> dict[str, str]:
        """The version of each input now.

        Raises:
            Missing: an input has not been materialised.
        """
        notes = {label(t, p): self.note(t, p) for t, p in inputs}
        if absent := [n for n, note in notes.items() if note is None]:
            raise Missing(f"not materialised: {', '.join(absent)}")
        return {n: note["version"] for n, note in notes.items()}

    # ---- writing ---------------------------------------------------------------------------------------------------
    def write(self, table: Table, data: Data, partition: str | None = None, note: dict | None = None) -> Written:
        """Write one whole partition and put it in place at once."""
        with self.staged(table, data, partition, note) as staged:
            return staged.publish()

    @contextlib.contextmanager
    def staged(
        self, table: Table, data: Data, partition: str | None = None, note: dict | None = None
    ) -> Iterator[Staged]:
        """Write a partition beside its place; `publish()` moves it there, leaving the block without it discards it.

        Raises:
            LakeError: missing or unknown columns, a value that does not fit its type, a null where none may be, two
                rows with the same key, or more to sort than the memory allows.
        """
        target = self.path(table, partition)
        with beside(target) as new:
            try:
                with _sorted_reader(table, data, self) as reader:
                    rows, version = _write(table, reader, new, note or {})
            except (pa.ArrowInvalid, duckdb.ConversionException) as e:
                raise LakeError(f"{label(table, partition)}: {e}") from e
            except duckdb.OutOfMemoryException as e:
                raise LakeError(
                    f"{label(table, partition)}: DuckDB needs more than memory_limit = {self.memory_limit}; raise it, or "
                    f"the number of buckets, in [lake] ({e})"
                ) from e
            yield Staged(new, target, rows, version)


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _dimensions(table: Table) -> list[str]:
    return table.partition.split("|") if table.partition else []


def _pattern(table: Table) -> str:
    return "/".join([*(f"{d}=*" for d in _dimensions(table)), "data.parquet"])


_catalogues = functools.cache(lambda: tempfile.TemporaryDirectory(prefix="assay-views-"))
_making = threading.Lock()


def _catalogue(views: str, here: str) -> Path:
    """A database of these views and nothing else, made once a process for all lakes that have the same tables: to define
    them anew in every session would cost more than most queries do."""
    path = Path(_catalogues().name) / f"{hashlib.blake2b(views.encode(), digest_size=16).hexdigest()}.duckdb"
    with _making:
        if not path.exists():
            with beside(path) as new:
                with duckdb.connect(str(new)) as con:
                    con.execute(here)
                    con.execute(views)
                os.replace(new, path)
    return path


def label(table: Table, partition: str | None = None) -> str:
    """`gold/iter_01`, or `clusters` for a table of one file."""
    return table.name if partition is None else f"{table.name}/{partition}"


@contextlib.contextmanager
def _sorted_reader(table: Table, data: Data, lake: Lake) -> Iterator[pa.RecordBatchReader]:
    names = table.schema.names
    columns = ", ".join(f'CAST("{f.name}" AS {_duck(f.type)}) AS "{f.name}"' for f in table.schema)
    order = ", ".join(f'"{k}"' for k in table.key)
    query = f"SELECT {columns} FROM rows_to_write ORDER BY {order}"
    if isinstance(data, duckdb.DuckDBPyRelation):
        _same_columns(table, data.columns)
        yield data.query("rows_to_write", query).to_arrow_reader(STEP)
        return
    if isinstance(data, pa.Table):
        data = data.to_reader()
    elif not isinstance(data, pa.RecordBatchReader):
        batches = iter(data)
        first = next(batches, None)
        first = pa.RecordBatch.from_pylist([], schema=table.schema) if first is None else first
        data = pa.RecordBatchReader.from_batches(first.schema, _chain(first, batches))
    _same_columns(table, data.schema.names)
    data = pa.RecordBatchReader.from_batches(
        pa.schema([data.schema.field(n).with_nullable(True) for n in names]), (b.select(names) for b in data)
    )
    with tempfile.TemporaryDirectory(prefix="assay-spill-") as spill, duckdb.connect() as con:
        con.execute(f"SET memory_limit='{lake.memory_limit}'; SET threads={lake.threads}")
        con.execute(f"SET temp_directory='{spill}'")
        con.register("rows_to_write", data)
        yield con.sql(query).to_arrow_reader(STEP)


def _chain(first: pa.RecordBatch, rest: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield first
    yield from rest


def _write(table: Table, reader: pa.RecordBatchReader, path: Path, note: dict) -> tuple[int, str]:
    digest, rows, last = hashlib.blake2b(digest_size=16), 0, None
    with pa.OSFile(str(path), "wb") as file, pq.ParquetWriter(file, table.schema, compression="zstd") as out:
        for group in _groups(reader):
            group = _conform(table, group)
            last = _unique(table, group, last)
            rows += group.num_rows
            out.write_table(group, row_group_size=ROW_GROUP)
        file.flush()
        with open(path, "rb") as written:  # all row groups stand on disk, the footer does not yet
            while chunk := written.read(1 << 22):
                digest.update(chunk)
        digest.update(str(rows).encode())
        version = digest.hexdigest()
        out.add_key_value_metadata({"assay": json.dumps({"version": version, **note}, sort_keys=True)})
    return rows, version


def in_batches(rows: duckdb.DuckDBPyRelation, most: int = PIECE, size: int = PIECE_BYTES) -> Iterator[pa.RecordBatch]:
    """A relation as record batches of at most so many rows and, as long as one row has fewer, bytes: the memory of those
    who read texts follows neither the number of rows nor how long they are."""
    return _batches(rows.to_arrow_reader(min(STEP, most)), most, size)


def _batches(steps: Iterable[pa.RecordBatch], most: int, size: int) -> Iterator[pa.RecordBatch]:
    parts = (part for step in steps for part in _parts(step, most, size))
    return map(pa.concat_batches, _gathered(parts, most, size))


def _parts(batch: pa.RecordBatch, most: int, size: int) -> Iterator[tuple[pa.RecordBatch, int]]:
    """Halves of halves with their bytes, until each has at most so many rows and bytes, or is one row."""
    length = batch.nbytes
    if batch.num_rows > 1 and (batch.num_rows > most or length > size):
        half = batch.num_rows // 2
        yield from _parts(batch.slice(0, half), most, size)
        yield from _parts(batch.slice(half), most, size)
    elif batch.num_rows:
        yield batch, length


def _gathered(parts: Iterable[tuple[pa.RecordBatch, int]], most: int, size: int) -> Iterator[list[pa.RecordBatch]]:
    """Neighbours together, up to so many rows and bytes; the same parts are gathered in the same way."""
    waiting, rows, held = [], 0, 0
    for part, length in parts:
        if waiting and (rows + part.num_rows > most or held + length > size):
            yield waiting
            waiting, rows, held = [], 0, 0
        waiting.append(part)
        rows, held = rows + part.num_rows, held + length
    if waiting:
        yield waiting


def _groups(reader: pa.RecordBatchReader) -> Iterator[pa.Table]:
    """Tables of ROW_GROUP rows, or fewer where they have GROUP_BYTES."""
    pieces = ((piece, piece.nbytes) for piece in _batches(reader, PIECE, PIECE_BYTES))
    return map(pa.Table.from_batches, _gathered(pieces, ROW_GROUP, GROUP_BYTES))


def _conform(table: Table, group: pa.Table) -> pa.Table:
    columns = []
    for field in table.schema:
        column = group.column(field.name)
        if not field.nullable and column.null_count:
            raise LakeError(f"{table.name}: {column.null_count} nulls in {field.name}")
        columns.append(column.cast(field.type))
    return pa.Table.from_arrays(columns, schema=table.schema)


def _unique(table: Table, group: pa.Table, last: dict | None) -> dict:
    """Refuse a repeated key; rows come sorted by it. Returns the last key."""
    keys = group.select(list(table.key))
    if last is not None and keys.slice(0, 1).to_pylist()[0] == last:
        raise LakeError(f"{table.name}: the key {last} stands in two rows")
    same = pa.array([True] * (keys.num_rows - 1)) if keys.num_rows > 1 else pa.array([], pa.bool_())
    for name in table.key:
        column = keys.column(name).combine_chunks()
        same = pc.and_(same, pc.equal(column.slice(1), column.slice(0, len(column) - 1)))
    where = pc.index(same, True).as_py() if len(same) else -1
    if where >= 0:
        raise LakeError(f"{table.name}: the key {keys.slice(where, 1).to_pylist()[0]} stands in two rows")
    return keys.slice(keys.num_rows - 1, 1).to_pylist()[0]


def _same_columns(table: Table, names: Iterable[str]) -> None:
    want, got = set(table.schema.names), set(names)
    if want != got:
        raise LakeError(f"{table.name}: missing columns {sorted(want - got)}, unknown columns {sorted(got - want)}")


def _duck(type_: pa.DataType) -> str:
    if pa.types.is_list(type_):
        return _duck(type_.value_type) + "[]"
    if pa.types.is_struct(type_):
        return "STRUCT(" + ", ".join(f'"{f.name}" {_duck(f.type)}' for f in type_) + ")"
    return {"string": "VARCHAR", "float": "FLOAT", "double": "DOUBLE", "int64": "BIGINT", "bool": "BOOLEAN"}[str(type_)]
