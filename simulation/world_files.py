"""Writes the generated world as the files a user would bring, and its truth as two tables.

The four sources differ in format and shape on purpose, and each holds records that its reader must refuse.
"""

import csv
import gzip
import io
import json
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from curation.identity import comparison_id, conv_id, text_hash
from curation.tables import PLANTED_LABELS, PLANTED_ROWS
from simulation.world import GeneratedWorld, PlantedPair, Record
from training.atomic import replace

BENCHMARK_FILE = "planted_benchmark.parquet"
READABLE = ("plain", "noisy", "ambiguous", "duplicate", "mirror", "contaminated")
BROKEN = {
    "forum": ("truncated JSON", "a number as response", "no field 'rejected'"),
    "arena": ("truncated JSON", "a number as question", "no field 'vote'"),
    "ratings": ("no prompt", "fewer scores than answers", "no answers"),
    "crawl": ("two fields", "five fields", "no prompt"),
}


def messages(comparison: PlantedPair) -> list[dict[str, str]]:
    """The conversation as the list of turns that the lake stores."""
    return [{"role": role, "content": content} for role, content in comparison.conversation]


def write_files(world: GeneratedWorld, folder: Path) -> list[dict]:
    """Write the sources and the planted benchmark, each replaced whole; returns WORLD_FILES rows."""
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, Callable[[], bytes]] = {
        "forum.jsonl": lambda: _lines(world.records["forum"], _forum),
        "arena.jsonl.gz": lambda: gzip.compress(_lines(world.records["arena"], _arena), mtime=0),
        "ratings.parquet": lambda: _ratings(world.records["ratings"]),
        "crawl.csv": lambda: _crawl(world.records["crawl"]),
        BENCHMARK_FILE: lambda: _benchmark(world),
    }
    rows = []
    for name, make in files.items():
        content = make()
        replace(folder / name, content)
        rows.append({"file": name, "bytes": len(content), "hash": blake2b(content, digest_size=16).hexdigest()})
    return rows


def planted_rows(world: GeneratedWorld) -> pa.Table:
    """PLANTED_ROWS: one row a record, saying what it hides."""
    rows = []
    for r in world.rows():
        detail = BROKEN[r.source][int(r.detail)] if r.kind == "broken" else r.detail
        if r.of is not None:
            detail = f"{detail} of {r.of.source}:{r.of.row}"
        rows.append({"source": r.source, "row": r.row, "kind": r.kind, "detail": detail})
    return pa.Table.from_pylist(rows, PLANTED_ROWS.schema)


def planted_labels(world: GeneratedWorld) -> pa.Table:
    """PLANTED_LABELS: the truth of every comparison that a reader can find in the files."""
    rows = {}
    for r in world.rows():
        if r.kind in READABLE:
            c = r.comparison
            key = comparison_id(conv_id(c.conversation), c.better, c.worse)
            rows[key] = {
                "comparison_id": key,
                "winner": text_hash(c.better) if c.gap else "",
                "origin": "planted",
                "topic": c.topic.name,
                "gap": c.gap,
            }
    return pa.Table.from_pylist(list(rows.values()), PLANTED_LABELS.schema)


def _lines(records: list[Record], shape: Callable[[Record], dict]) -> bytes:
    lines = []
    for r in records:
        line = json.dumps(shape(r), ensure_ascii=False)
        lines.append(line[: len(line) // 2] if r.kind == "broken" and r.detail == "0" else line)
    return ("\n".join(lines) + "\n").encode()


def _forum(r: Record) -> dict:
    """Message lists where the conversation has several turns and in every second record, else plain strings."""
    chosen, rejected = _responses(r)
    record: dict[str, object]
    if len(r.comparison.conversation) == 1 and r.row % 2:
        record = {"prompt": r.comparison.conversation[0][1], "chosen": chosen, "rejected": rejected}
    else:
        turns = messages(r.comparison)
        record = {
            "chosen": [*turns, {"role": "assistant", "content": chosen}],
            "rejected": [*turns, {"role": "assistant", "content": rejected}],
        }
    if r.kind == "broken" and r.detail == "1":
        record["chosen"] = r.row
    if r.kind == "broken" and r.detail == "2":
        del record["rejected"]
    return record


def _arena(r: Record) -> dict:
    """The chosen response stands under `answer_a` in about half of the records."""
    chosen, rejected = _responses(r)
    first = _even(r)
    record = {
        "question": r.comparison.conversation[0][1],
        "answer_a": chosen if first else rejected,
        "answer_b": rejected if first else chosen,
        "vote": {"tie, both good": "tie", "tie, both bad": "bad"}.get(r.detail, "a" if first else "b"),
    }
    if r.kind == "broken" and r.detail == "1":
        record["question"] = r.row
    if r.kind == "broken" and r.detail == "2":
        del record["vote"]
    return record


def _ratings(records: list[Record]) -> bytes:
    rows = []
    for r in records:
        chosen, rejected = _responses(r)
        high = 6.0 + 0.5 * (r.row % 8)
        low = high if r.kind == "tie" else high - 0.5 - 0.5 * (r.row % 5)
        answers, scores = [chosen, rejected], [high, low]
        if not _even(r):
            answers, scores = answers[::-1], scores[::-1]
        row: dict[str, object] = {"prompt": r.comparison.conversation[0][1], "answers": answers, "scores": scores}
        if r.kind == "broken":
            name, value = (("prompt", None), ("scores", scores[:1]), ("answers", None))[int(r.detail)]
            row[name] = value
        rows.append(row)
    columns = {"prompt": pa.string(), "answers": pa.list_(pa.string()), "scores": pa.list_(pa.float64())}
    return _parquet(pa.Table.from_pylist(rows, pa.schema(columns)))


def _crawl(records: list[Record]) -> bytes:
    text = io.StringIO(newline="")
    out = csv.writer(text, lineterminator="\n")
    out.writerow(["prompt", "chosen", "rejected"])
    for r in records:
        chosen, rejected = _responses(r)
        row = [r.comparison.conversation[0][1], chosen, rejected]
        if r.kind == "broken":
            row = (row[:2], [*row, chosen, rejected], ["", *row[1:]])[int(r.detail)]
        out.writerow(row)
    return text.getvalue().encode()


def _benchmark(world: GeneratedWorld) -> bytes:
    rows = [
        {
            "item_id": i.item_id,
            "subset": i.comparison.topic.family,
            "prompt": i.prompt,
            "chosen": i.comparison.better,
            "rejected": i.comparison.worse,
        }
        for i in world.benchmark
    ]
    return _parquet(pa.Table.from_pylist(rows))


def _parquet(table: pa.Table) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd")
    return out.getvalue()


def _responses(r: Record) -> tuple[str | None, str | None]:
    chosen, rejected = r.comparison.chosen, r.comparison.rejected
    if r.kind == "null":
        return (None, rejected) if r.detail.startswith("chosen") else (chosen, None)
    return chosen, rejected


def _even(r: Record) -> bool:
    """A coin that depends on the text alone, so that the position of a response says nothing about its label."""
    return int(text_hash(r.comparison.chosen)[-1], 16) % 2 == 0
