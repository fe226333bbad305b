"""Rows as Parquet files whose bytes depend on the rows alone, and as JSON lines beside them."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

GROUP = 1_000  # rows of a row group
SHARD = 256 << 20  # bytes after which a file ends


def groups(batches: Iterable[pa.RecordBatch], schema: pa.Schema, size: int = GROUP) -> Iterator[pa.Table]:
    """The rows in tables of exactly `size`, the last one shorter, whatever batches they came in."""
    waiting: list[pa.Table] = []
    rows = 0
    for batch in batches:
        table = pa.Table.from_batches([batch]).select(schema.names).cast(schema)
        while rows + table.num_rows >= size:
            take = size - rows
            yield pa.concat_tables([*waiting, table.slice(0, take)]).combine_chunks()
            table, waiting, rows = table.slice(take), [], 0
        if table.num_rows:
            waiting.append(table)
            rows += table.num_rows
    if rows:
        yield pa.concat_tables(waiting).combine_chunks()


def write(
    folder: Path, stem: str, tables: Iterable[pa.Table], schema: pa.Schema, lines: Path | None = None, most: int = SHARD
) -> list[tuple[Path, int]]:
    """Write `<stem>-00000-of-00002.parquet` and so on; no file where there are no rows.

    Args:
        lines: folder for the same rows as JSON lines, a file a shard.
        most: bytes after which a file ends.

    Returns:
        (file, rows) of the Parquet files.
    """
    made: list[tuple[Path, int]] = []
    writer: pq.ParquetWriter | None = None
    sink, said = None, None
    folder.mkdir(parents=True, exist_ok=True)
    if lines:
        lines.mkdir(parents=True, exist_ok=True)
    try:
        for table in tables:
            if writer is None or sink is None:
                path = folder / f"{stem}-{len(made):05d}"
                sink = pa.OSFile(str(path), "wb")
                writer = pq.ParquetWriter(sink, schema, compression="zstd")
                said = (lines / path.name).open("w", encoding="utf-8", newline="\n") if lines else None
                made.append((path, 0))
            writer.write_table(table, row_group_size=table.num_rows)
            made[-1] = (made[-1][0], made[-1][1] + table.num_rows)
            if said:
                said.writelines(json_line(row) for row in table.to_pylist())
            if sink.tell() >= most:
                _closed(writer, sink, said)
                writer = sink = said = None
    finally:
        _closed(writer, sink, said)
    done = []
    for path, rows in made:
        name = f"{path.name}-of-{len(made):05d}"
        if lines:
            (lines / path.name).rename(lines / f"{name}.jsonl")
        done.append((path.rename(folder / f"{name}.parquet"), rows))
    return done


def json_line(row: dict) -> str:
    """One row as a line of JSON."""
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n"


def _closed(*parts) -> None:
    for part in parts:
        if part is not None:
            part.close()
