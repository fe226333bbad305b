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
        self.given: dict[int, list[pa.RecordBatch]] = {}
        self.samples: list[Any] = []

    def add(self, batch: pa.RecordBatch, run: int | None = None) -> None:
        """Add rows.

        Args:
            run: number of those that come in order; they are kept as they are and had better not be in memory.
        """
        if not batch.num_rows:
            return
        self.rows += batch.num_rows
        if run is not None:
            self.given.setdefault(run, []).append(batch)
            self._sample(batch)
            return
        self.waiting.append(batch)
        self.held += batch.nbytes
        if self.held >= RUN_BYTES:
            self._write()

    def _sample(self, batch: pa.RecordBatch) -> None:
        self.size += batch.nbytes
        self.samples += batch.column(self.table.key[0])[::SAMPLED].to_pylist()

    def _write(self) -> None:
        path = self.folder / f"{self.table.name}-{len(self.paths)}.arrow"
        with pa.ipc.new_file(str(path), self.waiting[0].schema) as file:
            for batch in in_key_order(self.table, self.waiting):
                file.write_batch(batch)
                self._sample(batch)
        self.paths.append(path)
        self.waiting, self.held = [], 0

    def read(self) -> Iterator[pa.RecordBatch]:
        """All rows in order. Nothing may be added after."""
        if self.waiting:
            self._write()
        runs = [_Run(batches, self.table.key[0]) for batches in (*map(_mapped, self.paths), *self.given.values())]
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
    """Sorted batches, and where in them the rows of a range stand."""

    def __init__(self, batches: list[pa.RecordBatch], key: str):
        self.batches = batches
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


def in_key_order(table: Table, batches: list[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The rows in the order of the key, a piece at a time."""
    rows = pa.Table.from_batches(batches)
    order = _order(table, rows)
    for start in range(0, rows.num_rows, PIECE):
        yield from rows.take(order.slice(start, PIECE)).to_batches()


def _mapped(path: Path) -> list[pa.RecordBatch]:
    reader = pa.ipc.open_file(pa.memory_map(str(path)))
    return [reader.get_batch(i) for i in range(reader.num_record_batches)]


def _ranges(keys: list, n: int) -> Iterator[tuple[Any, Any]]:
    """Bounds (low, high) of at most n ranges with about as many of the sorted keys in each."""
    bounds = sorted({keys[i * len(keys) // n] for i in range(1, n)}) if keys else []
    yield from zip([None, *bounds], [*bounds, None], strict=True)


def _order(table: Table, rows: pa.Table) -> pa.Array:
    """The places of the rows in the order of the key."""
    keys = rows.select(list(table.key)).combine_chunks()
    return pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in table.key])
