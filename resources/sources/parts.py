"""A large source in parts that are read side by side, each in a process of its own, with the same result in the same
order as one reader gives: byte ranges of JSON lines, row groups of Parquet, whole files of every other kind."""

import os
import pickle
import queue
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from resources.settings import Source
from resources.sources.files import BadFile, Row, file_rows, lines_of_range, parquet_rows, ranges_of_lines

PART_BYTES = 32 << 20  # of a file
ENOUGH = 2 * PART_BYTES  # of a source: to start processes takes longer than to read less


@dataclass(frozen=True)
class FilePart:
    """A file, or from where to where it is read: bytes of lines, or row groups with the number of rows before them."""

    path: Path
    named: bool = False  # whether its rows say which file they are from
    lines: tuple[int, int] | None = None
    groups: tuple[int, int, int] | None = None

    def rows(self, max_row: int) -> Iterator[Row]:
        """Numbered from 1; a file that breaks off ends with row 0."""
        number = 0
        try:
            for row in self._rows(max_row):
                number += 1
                yield row._replace(number=number, file=str(self.path) if self.named else "")
        except BadFile as e:
            yield Row(0, None, e.reason, str(e), file=str(self.path) if self.named else "")

    def _rows(self, max_row: int) -> Iterator[Row]:
        if self.lines:
            return lines_of_range(self.path, *self.lines, max_row)
        return parquet_rows(self.path, max_row, *self.groups) if self.groups else file_rows(self.path, max_row)


@dataclass
class PartRead:
    """What a part holds: a file of its pairs in sorted runs, how many batches each run has, and the other rows."""

    pairs: Path
    runs: list[int] = field(default_factory=list)
    unusable: list[pa.RecordBatch] = field(default_factory=list)
    quarantine: list[pa.RecordBatch] = field(default_factory=list)
    records: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    broken: str = ""


def parts_of(paths: list[Path], named: bool) -> list[FilePart]:
    """The parts of a source's files in their order; none where it takes too little time to read it in one piece.

    Raises:
        OSError: a file cannot be looked at.
    """
    if sum(path.stat().st_size for path in paths) < ENOUGH:
        return []
    return [part for path in paths for part in _parts_of(path, named)]


def _parts_of(path: Path, named: bool) -> list[FilePart]:
    if path.suffix.lower() == ".parquet":
        return [FilePart(path, named, groups=groups) for groups in _groups(path)] or [FilePart(path, named)]
    return [FilePart(path, named, lines=lines) for lines in ranges_of_lines(path, PART_BYTES)] or [
        FilePart(path, named)
    ]


def _groups(path: Path) -> list[tuple[int, int, int]]:
    """Row groups of about PART_BYTES together, and how many rows stand before them; none where the footer cannot be read."""
    try:
        with pq.ParquetFile(path) as file:
            about = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
    except (OSError, pa.ArrowException, UnicodeDecodeError):  # a column's name may be no text
        return []
    found: list[tuple[int, int, int]] = []
    start = before = rows = size = 0
    for i, group in enumerate(about, 1):
        size, rows = size + group.total_byte_size, rows + group.num_rows
        if size >= PART_BYTES or i == len(about):
            found.append((start, i, before))
            start, before, size = i, rows, 0
    return found


def side_by_side(
    source: Source, parts: Iterable[FilePart], cells: bool, folder: Path, workers: int
) -> Iterator[PartRead]:
    """What each part holds, in order; of a file that broke off, nothing that follows."""
    waiting: queue.Queue[Future[PartRead]] = queue.Queue()
    with ExitStack() as stack:
        processes: queue.Queue[subprocess.Popen] = queue.Queue()
        for _ in range(workers):
            processes.put(stack.enter_context(_process()))
        threads = ThreadPoolExecutor(workers)
        stack.callback(threads.shutdown, cancel_futures=True)
        broken: set[Path] = set()
        ahead = enumerate(parts)
        sent: list[Path] = []
        done = 0
        while True:
            while waiting.qsize() < 2 * workers and (one := next(ahead, None)) is not None:
                number, part = one
                job = (source, part, cells, folder / f"part-{number}.arrow")
                waiting.put(threads.submit(_ask, processes, job))
                sent.append(part.path)
            if waiting.empty():
                break
            found = waiting.get().result()
            path, done = sent[done], done + 1
            if path not in broken:
                yield found
            if found.broken:
                broken.add(path)
            found.pairs.unlink()


def _process() -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "resources.sources.part_process", str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


def _ask(processes: "queue.Queue[subprocess.Popen]", job: Any) -> PartRead:
    process = processes.get()
    try:
        requests, answers = cast(BinaryIO, process.stdin), cast(BinaryIO, process.stdout)
        pickle.dump(job, requests)
        requests.flush()
        told = pickle.load(answers)
    except (EOFError, BrokenPipeError, pickle.UnpicklingError) as e:
        raise RuntimeError(f"a process that reads {job[1].path} ended with status {process.poll()}") from e
    finally:
        processes.put(process)
    if isinstance(told, Exception):
        raise told
    return told


def runs_of(read: PartRead, before: int) -> Iterator[list[pa.RecordBatch]]:
    """The sorted runs of pairs, numbered after `before` others. They stay readable when the file is gone."""
    with pa.memory_map(str(read.pairs)) as file:
        reader = pa.ipc.open_file(file)
        batches = (numbered(reader.get_batch(i), before) for i in range(reader.num_record_batches))
        for n in read.runs:
            yield list(islice(batches, n))


def numbered(rows: pa.RecordBatch, before: int) -> pa.RecordBatch:
    """The rows with the numbers that they have in the whole source; row 0 is none."""
    at = rows.schema.get_field_index("row")
    numbers = rows.column(at)
    return rows.set_column(
        at, rows.schema.field(at), pc.if_else(pc.equal(numbers, 0), numbers, pc.add(numbers, before))
    )
