"""Rows a piece at a time: memory follows neither how many there are nor how long their texts."""

from collections.abc import Iterable, Iterator

import duckdb
import pyarrow as pa

STEP = 250  # rows that come from DuckDB at a time: an Arrow column of texts ends at 2 GiB
PIECE = 1_000  # rows, or
PIECE_BYTES = 32 << 20  # of Arrow: what is worked on at a time


def in_batches(rows: duckdb.DuckDBPyRelation, most: int = PIECE, size: int = PIECE_BYTES) -> Iterator[pa.RecordBatch]:
    """A relation as record batches of at most so many rows and, as long as one row has fewer, bytes: the memory of those
    who read texts follows neither the number of rows nor how long they are."""
    return rebatched(rows.to_arrow_reader(min(STEP, most)), most, size)


def rebatched(steps: Iterable[pa.RecordBatch], most: int = PIECE, size: int = PIECE_BYTES) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of at most so many rows and bytes."""
    parts = (part for step in steps for part in _parts(step, most, size))
    return map(pa.concat_batches, gathered(parts, most, size))


def _parts(batch: pa.RecordBatch, most: int, size: int) -> Iterator[tuple[pa.RecordBatch, int]]:
    """Halves of halves with their bytes, until each has at most so many rows and bytes, or is one row."""
    length = batch.nbytes
    if batch.num_rows > 1 and (batch.num_rows > most or length > size):
        half = batch.num_rows // 2
        yield from _parts(batch.slice(0, half), most, size)
        yield from _parts(batch.slice(half), most, size)
    elif batch.num_rows:
        yield batch, length


def gathered(parts: Iterable[tuple[pa.RecordBatch, int]], most: int, size: int) -> Iterator[list[pa.RecordBatch]]:
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
