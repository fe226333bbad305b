"""Rows in the order of a table's key, however many there are: sorted runs on disk, merged a range at a time."""

from bisect import bisect_left
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation.tables import Table
from resources.lake.batches import PIECE

RUN_BYTES = 64 << 20  # of Arrow, sorted together and written to disk
RANGE_BYTES = 32 << 20  # of Arrow, merged together
SAMPLED = 64  # one key in so many is looked at to find where ranges begin
STEP = 1_000  # rows of a range that are handed on together


class SortedRuns:
    """Rows that are added in any order and read in that of the table's key. What stands in memory is a run while it is
    collected, and a range while it is read; one of equal first keys is gathered a few rows at a time."""

    def __init__(self, folder: Path, table: Table):
        self.folder, self.table = folder, table
        self.waiting: list[pa.RecordBatch] = []
        self.held = self.rows = self.size = 0
        self.paths: list[Path] = []
        self.samples: list[Any] = []

    def add(self, batch: pa.RecordBatch) -> None:
        if not batch.num_rows:
            return
        self.waiting.append(batch)
        self.held += batch.nbytes
        self.rows += batch.num_rows
        if self.held >= RUN_BYTES:
            self._write()

    def _write(self) -> None:
        rows = pa.Table.from_batches(self.waiting)
        order = _order(self.table, rows)
        path = self.folder / f"{self.table.name}-{len(self.paths)}.arrow"
        with pa.ipc.new_file(str(path), rows.schema) as file:
            for start in range(0, rows.num_rows, PIECE):
                for batch in rows.take(order.slice(start, PIECE)).to_batches():
                    file.write_batch(batch)
                    self.samples += batch.column(self.table.key[0])[::SAMPLED].to_pylist()
        self.paths.append(path)
        self.size += self.held
        self.waiting, self.held = [], 0

    def read(self) -> Iterator[pa.RecordBatch]:
        """All rows in order. Nothing may be added after."""
        if self.waiting:
            self._write()
        runs = [_Run(path, self.table.key[0]) for path in self.paths]
        ranges = _ranges(sorted(self.samples), max(1, self.size // RANGE_BYTES))
        batches = (batch for low, high in ranges for batch in self._merged(runs, low, high))
        with ThreadPoolExecutor(1) as ahead:  # the next rows are gathered while somebody works on these
            coming = ahead.submit(next, batches, None)
            while (batch := coming.result()) is not None:
                coming = ahead.submit(next, batches, None)
                yield batch

    def _merged(self, runs: "list[_Run]", low: Any, high: Any) -> Iterator[pa.RecordBatch]:
        """The rows of a range in order."""
        parts = [part for run in runs for part in run.between(low, high)]
        if not parts:
            return
        rows = pa.Table.from_batches(parts)
        order = _order(self.table, rows)
        for start in range(0, rows.num_rows, STEP):
            yield from rows.take(order.slice(start, STEP)).to_batches()


class _Run:
    """A sorted file, and where in it the rows of a range stand."""

    def __init__(self, path: Path, key: str):
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        self.batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
        self.keys = [batch.column(key) for batch in self.batches]
        self.firsts = [keys[0].as_py() for keys in self.keys]

    def between(self, low: Any, high: Any) -> Iterator[pa.RecordBatch]:
        """The rows whose first key is at least `low` and below `high`; None is no bound."""
        for i in range(*self._whole(low, high)):
            start = 0 if low is None else self._at(i, low)
            end = len(self.keys[i]) if high is None else self._at(i, high)
            if start < end:
                yield self.batches[i].slice(start, end - start)

    def _whole(self, low: Any, high: Any) -> tuple[int, int]:
        first = 0 if low is None else max(0, bisect_left(self.firsts, low) - 1)
        return first, len(self.firsts) if high is None else bisect_left(self.firsts, high)

    def _at(self, batch: int, bound: Any) -> int:
        keys = self.keys[batch]
        return bisect_left(range(len(keys)), bound, key=lambda i: keys[i].as_py())


def _ranges(keys: list, n: int) -> Iterator[tuple[Any, Any]]:
    """Bounds (low, high) of at most n ranges with about as many of the sorted keys in each."""
    bounds = sorted({keys[i * len(keys) // n] for i in range(1, n)}) if keys else []
    yield from zip([None, *bounds], [*bounds, None], strict=True)


def _order(table: Table, rows: pa.Table) -> pa.Array:
    """The places of the rows in the order of the key."""
    keys = rows.select(list(table.key)).combine_chunks()
    return pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in table.key])
