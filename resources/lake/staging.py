"""One partition as a file: its rows sorted, conformed to the schema, hashed."""

import contextlib
import hashlib
import json
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.tables import Table
from resources.lake import digests
from resources.lake.batches import STEP, gathered, rebatched
from resources.lake.session import session
from resources.settings import ConfigError


class InOrder:
    """Batches that come in the order of their table's key, as its types: nothing sorts them again."""

    def __init__(self, batches: Iterable[pa.RecordBatch]):
        self.batches = batches


Data = duckdb.DuckDBPyRelation | pa.Table | pa.RecordBatchReader | Iterable[pa.RecordBatch] | InOrder

ROW_GROUP = 20_000  # rows; texts are long, and DuckDB's default of 122,880 makes groups of hundreds of megabytes
GROUP_BYTES = 256 << 20  # of Arrow; where texts are very long, a row group has fewer rows


class LakeError(Exception):
    """Rows do not fit their table; nothing was written."""


class Damaged(LakeError, ConfigError):
    """A file of the lake is not what was written; the message names it and what to do."""


@contextlib.contextmanager
def sorted_reader(table: Table, data: Data, memory_limit: str, threads: int) -> Generator[pa.RecordBatchReader]:
    """The rows in the order of the table's key, as its types.

    Raises:
        LakeError: missing or unknown columns, or rows out of an order that they are said to have.
    """
    if isinstance(data, InOrder):
        yield pa.RecordBatchReader.from_batches(table.schema, _in_order(table, data.batches))
        return
    names = table.schema.names
    columns = ", ".join(f'CAST("{f.name}" AS {duck_type(f.type)}) AS "{f.name}"' for f in table.schema)
    order = ", ".join(f'"{k}"' for k in table.key)
    query = f"SELECT {columns} FROM rows_to_write ORDER BY {order}"
    if isinstance(data, duckdb.DuckDBPyRelation):
        _same_columns(table, data.columns)
        yield data.project(columns).order(order).to_arrow_reader(STEP)
        return
    if isinstance(data, pa.Table):
        data = data.to_reader()
    elif not isinstance(data, pa.RecordBatchReader):
        batches = iter(data)
        first = next(batches, None)
        first = pa.RecordBatch.from_pylist([], schema=table.schema) if first is None else first
        data = pa.RecordBatchReader.from_batches(first.schema, _chain(first, batches))
    _same_columns(table, data.schema.names)
    raised: list[Exception] = []
    data = pa.RecordBatchReader.from_batches(
        pa.schema([data.schema.field(n).with_nullable(True) for n in names]),
        (b.select(names) for b in _watched(data, raised)),
    )
    with session(memory_limit, threads) as con:
        con.register("rows_to_write", data)
        try:
            yield con.sql(query).to_arrow_reader(STEP)
        except Exception:
            if raised:  # what whoever makes the rows came to, and not what DuckDB makes of it
                raise raised[0] from None
            raise


def _in_order(table: Table, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    last: tuple | None = None
    by = [(name, "ascending") for name in table.key]
    for batch in batches:
        keys = batch.select(list(table.key))
        first, end = (tuple(keys.slice(i, 1).to_pylist()[0].values()) for i in (0, keys.num_rows - 1))
        sorted_so = pc.sort_indices(keys, sort_keys=by).equals(pa.array(range(keys.num_rows), pa.uint64()))
        if not sorted_so or (last is not None and first < last):
            raise LakeError(f"{table.name}: rows that should come in the order of {', '.join(table.key)} do not")
        last = end
        yield batch


def _watched(batches: Iterable[pa.RecordBatch], raised: list[Exception]) -> Iterator[pa.RecordBatch]:
    try:
        yield from batches
    except Exception as e:
        raised.append(e)
        raise


def _chain(first: pa.RecordBatch, rest: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield first
    yield from rest


def write(table: Table, reader: pa.RecordBatchReader, path: Path, note: dict) -> tuple[int, str]:
    """Write the whole file; `note` goes into its footer beside the version. Returns how many rows, and the version.

    Raises:
        LakeError: a null where none may be, or two rows with the same key.
    """
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
        length = file.tell()
        counted = digest.copy()
        counted.update(str(rows).encode())
        version = counted.hexdigest()
        said = json.dumps({"version": version, **note}, sort_keys=True)
        out.add_key_value_metadata({"assay": said, digests.KEY: digests.EMPTY.decode()})
    digests.finished(path, digest, length)
    return rows, version


def _groups(reader: pa.RecordBatchReader) -> Iterator[pa.Table]:
    """Tables of ROW_GROUP rows, or fewer where they have GROUP_BYTES."""
    pieces = ((piece, piece.nbytes) for piece in rebatched(reader))
    return map(pa.Table.from_batches, gathered(pieces, ROW_GROUP, GROUP_BYTES))


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


def duck_type(type_: pa.DataType) -> str:
    """The type in DuckDB's spelling."""
    if pa.types.is_list(type_):
        return duck_type(type_.value_type) + "[]"
    if pa.types.is_struct(type_):
        return "STRUCT(" + ", ".join(f'"{f.name}" {duck_type(f.type)}' for f in type_) + ")"
    return {"string": "VARCHAR", "float": "FLOAT", "double": "DOUBLE", "int64": "BIGINT", "bool": "BOOLEAN"}[str(type_)]
