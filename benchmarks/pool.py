"""Stage 0 against other tools on the same real texts, and as it grows: CPU-seconds and peak memory of each process.

    python benchmarks/pool.py --data FOLDER [--pairs 50000] [--datatrove ENV/bin/python] [--growth 50000,150000,450000]

FOLDER holds pool/alpaca_eval.parquet and bench/: 58 models' answers to 805 prompts recombine into over a million real
pairs. Every contender is a process of its own, measured whole by the kernel (start and imports included); rivals live
in environments of their own. Prints Markdown.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import duckdb

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

DUPLICATES = 0.1  # share of the pairs written twice
SHORT = 300  # characters of an earlier answer, at most
FILE_ROWS = 1_000_000


# ---- data ----------------------------------------------------------------------------------------------------------
def write_pairs(data: Path, folder: Path, pairs: int) -> int:
    """pairs-N.jsonl, a million rows each: a prompt, two of its answers, an earlier exchange with a short answer; a tenth
    of the rows stand twice. There are more than 10^10 such rows; the same number gives the same files."""
    folder.mkdir(parents=True, exist_ok=True)
    distinct = round(pairs / (1 + DUPLICATES))
    with duckdb.connect() as con:
        con.execute("SET threads=1; SET memory_limit='2GB'")
        con.execute(f"""
            CREATE TEMP TABLE answers AS
            SELECT row_number() OVER (ORDER BY instruction, md5(output_2)) - 1 AS number, instruction AS prompt,
                output_2 AS answer
            FROM (SELECT DISTINCT instruction, output_2 FROM '{data}/pool/alpaca_eval.parquet'
                WHERE trim(output_2) <> '');
            CREATE TEMP TABLE short AS
            SELECT row_number() OVER (ORDER BY number) - 1 AS number, prompt, answer FROM answers
            WHERE length(answer) < {SHORT};
            CREATE TEMP TABLE topics AS
            SELECT row_number() OVER (ORDER BY prompt) - 1 AS topic, min(number) AS start, count(*) AS n FROM answers
            GROUP BY prompt""")
        topics, shorts = (con.sql(f"SELECT count(*) FROM {t}").fetchall()[0][0] for t in ("topics", "short"))
        for start in range(0, pairs, FILE_ROWS):
            con.execute(f"""
                CREATE OR REPLACE TEMP TABLE drawn AS
                SELECT id, start + one AS a, start + (one + 1 + hash(seed, 2) % (n - 1)) % n AS b, earlier
                FROM (SELECT *, hash(seed, 1) % n AS one, hash(seed, 4) % {shorts} AS earlier
                    FROM (SELECT id, if(id < {distinct}, id, hash(id) % {distinct}) AS seed
                        FROM range({start}, {min(start + FILE_ROWS, pairs)}) t(id))
                    JOIN topics ON topic = hash(seed, 3) % {topics});
                COPY (
                    SELECT id, [[s.prompt, s.answer]] AS history, a.prompt, a.answer AS chosen, b.answer AS rejected
                    FROM drawn d JOIN answers a ON a.number = d.a JOIN answers b ON b.number = d.b
                    JOIN short s ON s.number = d.earlier
                ) TO '{folder}/pairs-{start // FILE_ROWS:02d}.jsonl' (FORMAT json)""")
    return pairs


def write_texts(folder: Path, whole: bool) -> int:
    """texts.jsonl: the prompt, or all of the pair, of each row; returns their number."""
    text = "prompt || ' ' || chosen || ' ' || rejected" if whole else "prompt"
    with duckdb.connect() as con:
        con.execute(f"COPY (SELECT id, {text} AS text FROM '{folder}/pairs.jsonl') TO '{folder}/texts.jsonl'")
        return con.sql(f"SELECT count(*) FROM '{folder}/texts.jsonl'").fetchall()[0][0]


def write_prompts(data: Path, folder: Path) -> int:
    """prompts.jsonl: first turns of benchmarks, without those the pairs were made from."""
    with duckdb.connect() as con:
        con.execute(f"""COPY (
            SELECT DISTINCT prompt AS text FROM (
                SELECT prompt FROM read_json('{data}/bench/rm_bench_*.json.gz', columns = {{prompt: 'VARCHAR'}})
                UNION ALL SELECT question FROM '{data}/bench/judgebench_gpt-4o-2024-05-13.jsonl.gz'
                UNION ALL SELECT conversation_input[1].content FROM '{data}/bench/rmb_pairwise.jsonl.zst')
            ) TO '{folder}/prompts.jsonl'""")
        return con.sql(f"SELECT count(*) FROM '{folder}/prompts.jsonl'").fetchall()[0][0]


# ---- measuring -----------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Cost:
    cpu: float  # seconds of user and system time, children included
    peak: float  # megabytes
    said: str  # last line of output


def measure(*command: str) -> Cost:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, env=os.environ | {"TQDM_DISABLE": "1"})
        _, status, usage = os.wait4(process.pid, 0)
        out.seek(0)
        err.seek(0)
        if status:
            raise SystemExit(f"{' '.join(command)} failed:\n{err.read().decode()[-2000:]}")
        lines = out.read().decode().strip().splitlines()
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, lines[-1] if lines else "")


def ours(task: str, folder: Path, *more: str) -> Cost:
    """A task of this program in a process of its own; also the writing of data, because a child's peak memory cannot be
    told from that of the process that started it when the latter is larger."""
    return measure(sys.executable, __file__, "--task", task, "--folder", str(folder), *more)


# ---- our side, in a process of its own -----------------------------------------------------------------------------
def perform(task: str, folder: Path, data: Path | None, pairs: int) -> int:
    """One stage-0 step on the folder's files, or the writing of a file; returns the rows that stay or were written."""
    match task:
        case "write-pairs":
            return write_pairs(data, folder, pairs)
        case "write-benchmark":
            return write_prompts(data, folder)
        case "write-prompts" | "write-whole":
            return write_texts(folder, task == "write-whole")
        case "import" | "dedup" | "clusters":
            return _asset(task, folder)
        case "survivors":
            return _survivors(folder)
        case "decontaminate":
            return _decontaminate(folder)
        case "set":
            return _plain_set(folder)
    raise SystemExit(f"no such task: {task}")


def _house(folder: Path):
    from resources.lake import Lake
    from resources.settings import Settings

    settings = Settings.model_validate(
        {
            "lake": {"buckets": 4},
            "sources": [
                {"name": p.stem, "path": str(p), "fields": {"history": "history"}} for p in sorted(folder.glob("pairs-*.jsonl"))
            ],
            "people": {"backend": "files"},
            "attributes": {"backend": "heuristic"},
            "judges": {"quorum": 1, "panel": [{"name": "nobody", "backend": "anthropic", "model": "none"}]},
        }
    )
    return settings, Lake(str(folder / "lake"), "4GB")


def _asset(task: str, folder: Path) -> int:
    from assets import pool
    from assets.table_asset import Run, publish

    settings, lake = _house(folder)
    steps = {"import": (pool.sources, pool.raw_pool), "dedup": (pool.deduped,), "clusters": (pool.clusters,)}[task]
    for step in steps:
        for key in settings.partition_keys(step.partition) if step.partition else [None]:
            list(publish(step, Run(settings, lake, key)))
    keys = settings.partition_keys(step.partition) if step.partition else [None]
    return sum(lake.rows(step.tables[0], key) for key in keys)


def _survivors(folder: Path) -> int:
    """The decision alone, from ids: what is kept and what is a copy, without moving texts."""
    from sql import statement

    _, lake = _house(folder)
    with lake.connect() as con:
        query = f"SELECT count(*) FROM ({statement('dedup_survivors').rstrip().rstrip(';')})"
        return con.execute(query, {"low": "0", "high": "g"}).fetchall()[0][0]


def _texts(folder: Path) -> Iterator:
    with duckdb.connect() as con:
        con.execute("SET threads=1")
        yield from con.sql(f"SELECT text FROM '{folder}/texts.jsonl'").to_arrow_reader(4000)


def _prompts(folder: Path) -> list[str]:
    with open(folder / "prompts.jsonl", encoding="utf-8") as f:
        return [json.loads(line)["text"] for line in f]


def _decontaminate(folder: Path) -> int:
    import numpy as np

    from curation.contamination import BenchmarkIndex

    prompts = _prompts(folder)
    index = BenchmarkIndex(["b"] * len(prompts), [str(i) for i in range(len(prompts))], prompts)
    kept = 0
    for batch in _texts(folder):
        found = index.scan(batch.column(0), np.zeros(batch.num_rows, bool))
        kept += batch.num_rows - len(np.unique(found.text))
    return kept


def _plain_set(folder: Path) -> int:
    """The same rule with Python's sets of strings, in the same words."""
    import pyarrow as pa

    from curation.contamination import tokens

    def grams(texts) -> Iterator[set[str]]:
        found = tokens(texts)
        words, starts = found.words.to_pylist(), found.starts.tolist()
        for start, end in pairwise(starts):
            yield {" ".join(words[i : i + 13]) for i in range(start, end - 12)}

    known = set().union(*grams(pa.array(_prompts(folder))))
    return sum(not (g & known) for batch in _texts(folder) for g in grams(batch.column(0)))


# ---- tables --------------------------------------------------------------------------------------------------------
def row(name: str, n: int, cost: Cost) -> str:
    return f"| {name} | {cost.cpu:.1f} | {n / cost.cpu:,.0f} | {cost.peak:,.0f} | {cost.said} |"


def compare(data: Path, folder: Path, pairs: int, datatrove: str | None) -> None:
    ours("write-pairs", folder, "--data", str(data), "--pairs", str(pairs))
    head = "|---|---:|---:|---:|---:|"
    print(f"\nExact duplicates, {pairs:,} pairs\n\n| | CPU-s | rows / CPU-s | peak MB | kept |\n{head}")
    print(row("assay: import (read, check, name, write)", pairs, ours("import", folder)))
    print(row("assay: dedup, the decision", pairs, ours("survivors", folder)))
    print(row("assay: dedup, the whole asset (texts moved, checked, written)", pairs, ours("dedup", folder)))
    if datatrove:
        print(row("datatrove ExactDedup, three stages", pairs, measure(datatrove, _rival(), "dedup", str(folder))))
    prompts = int(ours("write-benchmark", folder, "--data", str(data)).said)
    for whole in (False, True):
        n = int(ours("write-whole" if whole else "write-prompts", folder).said)
        what = "whole pairs" if whole else "prompts"
        print(f"\nDecontamination of {n:,} {what} against {prompts:,} prompts\n")
        print(f"| | CPU-s | texts / CPU-s | peak MB | clean |\n{head}")
        print(row("assay", n, ours("decontaminate", folder)))
        print(row("plain Python set of strings", n, ours("set", folder)))
        if datatrove and not whole:
            cost = measure(datatrove, _rival(), "decontaminate", str(folder))
            print(row("datatrove NGramsDecontFilter", n, cost))


def _rival() -> str:
    return str(Path(__file__).with_name("pool_datatrove.py"))


def grow(data: Path, folder: Path, sizes: list[int]) -> None:
    print("\nGrowth\n\n| pairs | import CPU-s | dedup CPU-s | clusters CPU-s | peak MB |\n|---:|---:|---:|---:|---:|")
    totals = []
    for size in sizes:
        place = folder / str(size)
        ours("write-pairs", place, "--data", str(data), "--pairs", str(size))
        costs = [ours(task, place) for task in ("import", "dedup", "clusters")]
        totals.append(sum(c.cpu for c in costs))
        print(f"| {size:,} | " + " | ".join(f"{c.cpu:.1f}" for c in costs) + f" | {max(c.peak for c in costs):,.0f} |")
        (place / "pairs.jsonl").unlink()
    slope = math.log(totals[-1] / totals[-2]) / math.log(sizes[-1] / sizes[-2])
    hours = totals[-1] * (40e6 / sizes[-1]) ** max(slope, 1) / 3600
    print(f"\nexponent {slope:.2f} between the last two; 40 million pairs: "
          f"{totals[-1]:.0f} s x (40e6 / {sizes[-1]:,})^{max(slope, 1):.2f} = {hours:.1f} CPU-hours")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--pairs", type=int, default=50_000)
    parser.add_argument("--datatrove", help="Python of an environment with datatrove[processing]")
    parser.add_argument("--growth", type=lambda s: [int(n) for n in s.split(",")])
    parser.add_argument("--task", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.task:
        print(perform(args.task, args.folder, args.data, args.pairs))
        return
    if args.data is None:
        parser.error("--data is needed")
    with tempfile.TemporaryDirectory(prefix="assay-benchmark-") as folder:
        if args.growth:
            grow(args.data, Path(folder), args.growth)
        else:
            compare(args.data, Path(folder), args.pairs, args.datatrove)


if __name__ == "__main__":
    main()
