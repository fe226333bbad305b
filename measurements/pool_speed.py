"""Stage 0 against other tools on the same real texts, and as it grows: CPU-seconds and peak memory of each process.

    python -m measurements.pool_speed --data FOLDER [--pairs 200000] [--datatrove ENV/bin/python] [--text-dedup ENV/bin/python]
    python -m measurements.pool_speed --data FOLDER --files --pairs 300000 --datatrove ENV/bin/python
    python -m measurements.pool_speed --data FOLDER --growth 100000,300000,1000000 [--work FOLDER] [--plot docs/pool_growth.png]

FOLDER holds pool/alpaca_eval.parquet and bench/: 58 models' answers to 805 prompts, recombined. Every contender is a
process of its own, measured whole by the kernel (start and imports included) and alone, one after another; rivals live in
environments of their own. Prints Markdown.
"""

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import duckdb

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

DUPLICATES = 0.1  # share of the pairs written twice
SHORT = 300  # characters of an earlier answer, at most
FILE_ROWS = 1_000_000
BUCKET_BYTES = 640_000_000  # of JSON lines: a quarter of a million pairs a bucket
MEMORY = "4GB"  # DuckDB's limit; the process has more, see the peaks
SCANNED = 200_000  # texts searched for n-grams


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
        topics, shorts = (con.execute(f"SELECT count(*) FROM {t}").fetchall()[0][0] for t in ("topics", "short"))
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


def write_texts(folder: Path, what: str) -> int:
    """texts.jsonl: the user turns of each row ("prompts", of SCANNED rows), all of the pair ("pairs", of SCANNED), or all
    of it with the borders of its texts ("rows", every row), which a tool that hashes one column needs."""
    every = "history[1][1], history[1][2], prompt, chosen, rejected"
    text = {
        "prompts": "concat_ws(' ', history[1][1], prompt)",
        "pairs": f"concat_ws(' ', {every})",
        "rows": f"to_json([{every}])::VARCHAR",
    }[what]
    limit = "" if what == "rows" else f"WHERE id < {SCANNED}"
    with duckdb.connect() as con:
        con.execute("SET threads=1")
        con.execute(f"COPY (SELECT id, {text} AS text FROM '{folder}/pairs-*.jsonl' {limit}) TO '{folder}/texts.jsonl'")
        return con.execute(f"SELECT count(*) FROM '{folder}/texts.jsonl'").fetchall()[0][0]


def write_prompts(data: Path, folder: Path) -> int:
    """prompts.jsonl: first turns of benchmarks, without those the pairs were made from."""
    with duckdb.connect() as con:
        con.execute(f"""COPY (
            SELECT DISTINCT prompt AS text FROM (
                SELECT prompt FROM read_json('{data}/bench/rm_bench_*.json.gz', columns = {{prompt: 'VARCHAR'}})
                UNION ALL SELECT question FROM '{data}/bench/judgebench_gpt-4o-2024-05-13.jsonl.gz'
                UNION ALL SELECT conversation_input[1].content FROM '{data}/bench/rmb_pairwise.jsonl.zst')
            ) TO '{folder}/prompts.jsonl'""")
        return con.execute(f"SELECT count(*) FROM '{folder}/prompts.jsonl'").fetchall()[0][0]


# ---- measuring -----------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Cost:
    cpu: float  # seconds of user and system time, children included
    wall: float
    peak: float  # megabytes
    said: str  # last line of output


def measure(*command: str, cores: int = 0) -> Cost:
    """What a command costs; with `cores` on so many of the machine's cores and no other."""
    start = time.monotonic()
    some = sorted(os.sched_getaffinity(0))[: cores or None]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            ["taskset", "-c", ",".join(map(str, some)), *command],
            stdout=out,
            stderr=err,
            env=os.environ | {"TQDM_DISABLE": "1"},
        )
        _, status, usage = os.wait4(process.pid, 0)
        out.seek(0)
        err.seek(0)
        if status:
            raise SystemExit(f"{' '.join(command)} failed:\n{err.read().decode()[-2000:]}")
        lines = out.read().decode().strip().splitlines()
    wall = time.monotonic() - start
    return Cost(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1024, lines[-1] if lines else "")


def ours(task: str, folder: Path, *more: str, cores: int = 0) -> Cost:
    """A task of this program in a process of its own; also the writing of data, because a child's peak memory cannot be
    told from that of the process that started it when the latter is larger."""
    return measure(sys.executable, __file__, "--task", task, "--folder", str(folder), *more, cores=cores)


# ---- our side, in a process of its own -----------------------------------------------------------------------------
def perform(task: str, folder: Path, data: Path | None, pairs: int, threads: int) -> int:
    """One stage-0 step on the folder's files, or the writing of a file; returns the rows that stay or were written."""
    match task:
        case "write-pairs":
            return write_pairs(data, folder, pairs)
        case "write-benchmark":
            return write_prompts(data, folder)
        case "texts-prompts" | "texts-pairs" | "texts-rows":
            return write_texts(folder, task.partition("-")[2])
        case "read-bytes":
            return sum(len(path.read_bytes()) for path in sorted(folder.glob("pairs-*.jsonl")))
        case "import" | "dedup" | "clusters" | "search" | "clean":
            return _asset(task, folder, data, threads)
        case "survivors":
            return _survivors(folder)
        case "read":
            return _read(folder)
        case "decontaminate":
            return _decontaminate(folder)
        case "set":
            return _plain_set(folder)
    raise SystemExit(f"no such task: {task}")


def _house(folder: Path, data: Path | None = None, threads: int = 1):
    from resources.lake import Lake
    from resources.settings import Settings

    files = {
        "rm_bench": "rm_bench_*.json.gz",
        "judgebench": "judgebench_gpt-4o-2024-05-13.jsonl.gz",
        "rmb_pairwise": "rmb_pairwise.jsonl.zst",
    }
    pairs = sorted(folder.glob("pairs-*.jsonl"))
    settings = Settings.model_validate(
        {
            "lake": {"buckets": min(64, math.ceil(sum(p.stat().st_size for p in pairs) / BUCKET_BYTES))},
            "sources": [{"name": p.stem, "path": str(p), "fields": {"history": "history"}} for p in pairs],
            "people": {"backend": "files"},
            "attributes": {"backend": "heuristic"},
            "judges": {"quorum": 1, "panel": [{"name": "nobody", "backend": "anthropic", "model": "none"}]},
            "benchmarks": [{"name": n, "loader": n, "path": f"{data}/bench/{f}"} for n, f in files.items()],
        }
    )
    return settings, Lake(str(folder / "lake"), MEMORY, threads)


def _asset(task: str, folder: Path, data: Path | None, threads: int) -> int:
    """Steps of stage 0 as `assay run` makes them, checks included; returns the rows of the last one's first table."""
    from assets import pool, reference
    from assets.publishing import publish
    from resources.run import Run

    settings, lake = _house(folder, data, threads)
    steps = {
        "import": (reference.planted_world, pool.sources, pool.raw_pool),
        "dedup": (pool.deduped,),
        "clusters": (pool.clusters,),
        "search": (pool.benchmark_prompts, pool.benchmark_hits, pool.ngram_frequency),
        "clean": (pool.clean_pool,),
    }[task]
    for step in steps:
        keys = settings.partition_keys(step.partition) if step.partition else [None]
        for key in keys:
            list(publish(step, Run(settings, lake, key)))
    return sum(lake.rows(step.tables[0], key) for key in keys)


def _survivors(folder: Path) -> int:
    """The decision alone, from ids: what is kept and what is a copy, without moving texts."""
    from sql import statement

    _, lake = _house(folder)
    with lake.connect() as con:
        deduped = con.sql(statement("pool/deduped"), params={"low": "0", "high": "g"})
        return deduped.count("*").fetchall()[0][0]


def _read(folder: Path) -> int:
    """Every distinct pair with all its texts, as the steps after dedup read them."""
    from curation.identity import bucket_range
    from sql import statement

    settings, lake = _house(folder)
    pairs = 0
    for bucket in settings.partition_keys("bucket"):
        bounds = zip(("low", "high"), bucket_range(bucket, settings.lake.buckets), strict=True)
        with lake.connect() as con:
            rows = con.sql(statement("pool/deduped_texts"), params={"bucket": bucket, **dict(bounds)})
            pairs += sum(batch.num_rows for batch in rows.to_arrow_reader(4000))
    return pairs


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
HEAD = "|---|---:|---:|---:|---:|"


def row(name: str, n: int, cost: Cost) -> str:
    return f"| {name} | {cost.cpu:.1f} | {n / cost.cpu:,.0f} | {cost.peak:,.0f} | {cost.said} |"


def from_files(data: Path, folder: Path, pairs: int, datatrove: str | None) -> None:
    """From JSON lines to a pool without exact duplicates, on one core and on two, beside datatrove on one: the same files,
    in the page cache, one contender after another."""
    ours("write-pairs", folder, "--data", str(data), "--pairs", str(pairs))
    ours("read-bytes", folder)
    print(f"\nFrom files to the deduplicated pool, {pairs:,} pairs\n")
    print("| | CPU-s | wall s | pairs / CPU-s | pairs / s | peak MB | kept |\n|---|---:|---:|---:|---:|---:|---:|")
    runs = [(f"assay, {n} core{'s'[: n > 1]}", _ours_on(folder, n)) for n in (1, 2)]
    if datatrove:
        read, decided, plain, parquet, packed = (
            measure(datatrove, _rival(), task, str(folder), cores=1)
            for task in ("signatures", "duplicates", "filter", "filter-parquet", "filter-gzip")
        )
        runs.append(("datatrove, 1 core, JSON lines without compression", [read, decided, plain]))
        runs.append(("datatrove, 1 core, Parquet with zstd as Assay writes", [read, decided, parquet]))
        runs.append(("datatrove, 1 core, gzip as its writer does by itself", [read, decided, packed]))
    for name, costs in runs:
        cpu, wall = sum(c.cpu for c in costs), sum(c.wall for c in costs)
        peak = max(c.peak for c in costs)
        print(f"| {name} | {cpu:.1f} | {wall:.1f} | {pairs / cpu:,.0f} | {pairs / wall:,.0f} | {peak:,.0f} | {costs[-1].said} |",
              flush=True)  # fmt: skip
    if datatrove:
        one, two, plain, parquet, packed = (sum(c.wall for c in costs) for _, costs in runs)
        for name, rival in (("without compression", plain), ("as Parquet", parquet), ("with gzip", packed)):
            print(f"\nrate beside datatrove's {name}: {rival / one:.2f} on one core, {rival / two:.2f} on two")


def _ours_on(folder: Path, cores: int) -> list[Cost]:
    shutil.rmtree(folder / "lake", ignore_errors=True)
    return [ours(task, folder, "--threads", str(cores), cores=cores) for task in ("import", "dedup")]


def compare(data: Path, folder: Path, pairs: int, datatrove: str | None, text_dedup: str | None) -> None:
    ours("write-pairs", folder, "--data", str(data), "--pairs", str(pairs))
    size = sum(p.stat().st_size for p in folder.glob("pairs-*.jsonl")) / 1e6
    print(f"\nExact duplicates, {pairs:,} pairs, {size:,.0f} MB of JSON lines\n")
    print(f"| | CPU-s | rows / CPU-s | peak MB | kept |\n{HEAD}")
    for name, task in (
        ("assay: import (read, check, name, sort, write Parquet)", "import"),
        ("assay: decide, from the names in Parquet", "survivors"),
        ("assay: dedup (decide, check, write which record of each pair stays)", "dedup"),
        ("assay: read every distinct pair with its texts", "read"),
    ):
        print(row(name, pairs, ours(task, folder)), flush=True)
    if datatrove:
        for name, task in (
            ("datatrove: signatures, from JSON lines", "signatures"),
            ("datatrove: decide, from signatures", "duplicates"),
            ("datatrove: filter (read again, write JSON lines)", "filter"),
        ):
            print(row(name, pairs, measure(datatrove, _rival(), task, str(folder))), flush=True)
    if text_dedup:
        ours("texts-rows", folder)
        print(row("text-dedup exact_hash (xxh3), from JSON lines to Arrow", pairs, _text_dedup(text_dedup, folder)))
    prompts = int(ours("write-benchmark", folder, "--data", str(data)).said)
    for task, what in (("texts-prompts", "prompts"), ("texts-pairs", "whole pairs")):
        n = int(ours(task, folder).said)
        print(f"\nDecontamination of {n:,} {what} against {prompts:,} prompts\n")
        print(f"| | CPU-s | texts / CPU-s | peak MB | clean |\n{HEAD}")
        print(row("assay", n, ours("decontaminate", folder)), flush=True)
        print(row("plain Python set of strings", n, ours("set", folder)), flush=True)
        if datatrove and task == "texts-prompts":
            cost = measure(datatrove, _rival(), "decontaminate", str(folder))
            print(row("datatrove NGramsDecontFilter", n, cost), flush=True)


def _rival() -> str:
    return str(Path(__file__).with_name("pool_datatrove.py"))


def _text_dedup(python: str, folder: Path) -> Cost:
    out = folder / "text_dedup"
    options = {"path": "json", "data_files": folder / "texts.jsonl", "split": "train", "cache_dir": folder / "cache",
               "output": out, "column": "text", "batch_size": 10_000, "hash_func": "xxh3", "num_proc": 1}  # fmt: skip
    cost = measure(python, "-m", "text_dedup.exact_hash", *(str(a) for k, v in options.items() for a in (f"--{k}", v)))
    count = "import datasets, sys; print(len(datasets.load_from_disk(sys.argv[1])))"
    return replace(cost, said=measure(python, "-c", count, str(out)).said)


STAGES = ("import", "dedup", "clusters", "search", "clean")


def grow(data: Path, folder: Path, sizes: list[int], plot: Path | None) -> None:
    """Stage 0 whole at each size; every step a process of its own."""
    print("| pairs | " + " | ".join(f"{s} CPU-s" for s in STAGES) + " | all CPU-s | peak MB | lake GB | kept |")
    print("|---:" * (len(STAGES) + 5) + "|", flush=True)
    totals, peaks = [], []
    for size in sizes:
        place = folder / str(size)
        ours("write-pairs", place, "--data", str(data), "--pairs", str(size))
        costs = [ours(task, place, "--data", str(data)) for task in STAGES]
        totals.append(sum(c.cpu for c in costs))
        peaks.append(max(c.peak for c in costs))
        lake = sum(p.stat().st_size for p in (place / "lake").rglob("*.parquet")) / 1e9
        print(f"| {size:,} | " + " | ".join(f"{c.cpu:.1f}" for c in costs)
              + f" | {totals[-1]:.1f} | {peaks[-1]:,.0f} | {lake:.2f} | {costs[-1].said} |", flush=True)  # fmt: skip
        shutil.rmtree(place)
    for (n, cpu), (m, more) in pairwise(zip(sizes, totals, strict=True)):
        print(f"\nexponent from {n:,} to {m:,}: {math.log(more / cpu) / math.log(m / n):.3f}")
    if len(sizes) > 1:
        slope = max(math.log(totals[-1] / totals[-2]) / math.log(sizes[-1] / sizes[-2]), 1)
        hours = totals[-1] * (40e6 / sizes[-1]) ** slope / 3600
        print(
            f"\n40 million pairs: {totals[-1]:.0f} CPU-s x (40e6 / {sizes[-1]:,})^{slope:.3f} = {hours:.1f} CPU-hours"
        )
    if plot:
        draw(sizes, totals, peaks, plot)


def draw(sizes: list[int], totals: list[float], peaks: list[float], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    left.loglog(sizes, totals, "o-", label="stage 0, measured")
    left.loglog(sizes, [totals[-1] * n / sizes[-1] for n in sizes], ":", color="grey", label="proportional to pairs")
    left.set(xlabel="pairs", ylabel="CPU-seconds", title="Time")
    left.legend(frameon=False)
    right.semilogx(sizes, [p / 1000 for p in peaks], "o-")
    right.set(xlabel="pairs", ylabel="GB, largest process", title="Peak memory", ylim=(0, 8))
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--pairs", type=int, default=200_000)
    parser.add_argument("--datatrove", help="Python of an environment with datatrove[processing]==0.10.1")
    parser.add_argument("--text-dedup", help="Python of an environment with text-dedup==0.4.0")
    parser.add_argument("--growth", type=lambda s: [int(n) for n in s.split(",")], help="numbers of pairs")
    parser.add_argument("--work", type=Path, help="where files are written and removed; 10 million pairs need 60 GB")
    parser.add_argument("--plot", type=Path, help="PNG of the growth")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--files", action="store_true", help="only from files to the deduplicated pool")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.task:
        print(perform(args.task, args.folder, args.data, args.pairs, args.threads))
        return
    if args.data is None:
        parser.error("--data is needed")
    with tempfile.TemporaryDirectory(prefix="assay-benchmark-", dir=args.work) as folder:
        if args.growth:
            grow(args.data, Path(folder), args.growth, args.plot)
        else:
            from_files(args.data, Path(folder), args.pairs, args.datatrove)
            if not args.files:
                compare(args.data, Path(folder), args.pairs, args.datatrove, args.text_dedup)


if __name__ == "__main__":
    main()
