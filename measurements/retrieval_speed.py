"""Retrieval at a million vectors: LanceDB's indexes and the product's own settings against brute force.

    python -m measurements.retrieval_speed [--rows 1000000] [--queries 200] [--vectors random,real] [--out DIR]

Brute force is numpy over float32 blocks, exact, and the truth for recall@8. `random` are unit vectors of 256 normal
numbers, the hardest there are: every neighbour is about as far as any other. `real` are the product's own vectors
(hashing, 256) of real instructions under $ASSAY_SHARED/data, each with one earlier exchange drawn from the others, so
that a million differ. Queries are further rows of the same kind. All of it runs on the cores it is given; CPU seconds
are of this process.
"""

import argparse
import csv
import gc
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from resources.lake import Lake
from resources.retrieval import embedder, vectors

DIMENSIONS, K, BLOCK = 256, 8, 50_000
DATA = Path(os.environ.get("ASSAY_SHARED", Path(__file__).parents[2] / "shared")) / "data"
TEXTS = {
    "pool/alpaca_eval.parquet": "instruction",
    "pool/alpaca_eval_v1.jsonl.zst": "instruction",
    "bench/rmb_pairwise.jsonl.zst": "conversation_input[1].content",
    "bench/gsm8k_test.jsonl.gz": "question",
}
FIELDS = ["settings", "vectors", "rows", "build_cpu_s", "recall_at_8", "queries_per_s", "cpu_ms_a_query", "peak_mb"]


def random_blocks(rows: int, seed: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(seed)
    for start in range(0, rows, BLOCK):
        x = rng.standard_normal((min(BLOCK, rows - start), DIMENSIONS), np.float32)
        yield x / np.linalg.norm(x, axis=1, keepdims=True)


def real_blocks(rows: int, seed: int) -> Iterator[np.ndarray]:
    texts = []
    with duckdb.connect() as con:
        for name, column in TEXTS.items():
            found = con.sql(
                f"SELECT DISTINCT left({column}, 1500) AS t FROM '{DATA / name}' WHERE t IS NOT NULL ORDER BY t"
            )
            texts += [t for (t,) in found.fetchall()]
    texts = sorted(set(texts))
    rng = np.random.default_rng(seed)
    encode = embedder._hashing(DIMENSIONS)
    for start in range(0, rows, BLOCK):
        n = min(BLOCK, rows - start)
        now, before = rng.integers(len(texts), size=(2, n))
        yield encode([f"user: {texts[b][:300]}\nuser: {texts[a]}" for a, b in zip(now, before, strict=True)])


BLOCKS = {"random": random_blocks, "real": real_blocks}


def brute_force(folder: Path, rows: int, queries: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Exact neighbours of every query, one query at a time as the product asks; wall and CPU seconds."""
    x = np.load(folder / "x.npy", mmap_mode="r")
    x = np.ascontiguousarray(x)
    wall, cpu = time.perf_counter(), time.process_time()
    found = np.empty((len(queries), K), np.int64)
    for i, q in enumerate(queries):
        scores = x @ q
        top = np.argpartition(-scores, K)[:K]
        found[i] = top[np.argsort(-scores[top])]
    return found, time.perf_counter() - wall, time.process_time() - cpu


def table_of(folder: Path):
    """The vectors as a LanceDB table, block by block."""
    os.environ.setdefault("LANCEDB_LOG", "error")
    import lancedb

    x = np.load(folder / "x.npy", mmap_mode="r")
    schema = pa.schema(
        [("pair_id", pa.string()), ("cluster_id", pa.string()), ("vector", pa.list_(pa.float32(), DIMENSIONS))]
    )

    def batches():
        for start in range(0, len(x), BLOCK):
            block = np.ascontiguousarray(x[start : start + BLOCK])
            names = pa.array([f"{i:08d}" for i in range(start, start + len(block))])
            flat = pa.FixedSizeListArray.from_arrays(pa.array(block.reshape(-1)), DIMENSIONS)
            yield pa.RecordBatch.from_arrays([names, names, flat], schema=schema)

    db = lancedb.connect(folder / "lance")
    return db.create_table("t", pa.RecordBatchReader.from_batches(schema, batches()), mode="overwrite")


# (index, its settings, those of a query)
CONFIGS = {
    "LanceDB's defaults": ("IvfPq", {}, {}),
    "IVF_PQ 64, refined 20": ("IvfPq", {}, {"nprobes": 64, "refine_factor": 20}),
    "IVF_SQ 20": ("IvfSq", {}, {"nprobes": 20, "refine_factor": 2}),
    "IVF_SQ 64": ("IvfSq", {}, {"nprobes": 64, "refine_factor": 2}),
    "IVF_SQ 256": ("IvfSq", {}, {"nprobes": 256, "refine_factor": 2}),
}


def measure(table, built: list, name: str, build: dict, ask: dict, queries: np.ndarray, truth: np.ndarray) -> dict:
    """One way to ask; an index that the way before it built is kept."""
    import lancedb.index

    if not built or built[0] != (name, build):
        cpu = time.process_time()
        config = getattr(lancedb.index, name)(distance_type="cosine", **build)
        table.create_index("vector", config=config, replace=True)
        built[:] = [(name, build), time.process_time() - cpu]

    def search(q):
        query = table.search(q, vector_column_name="vector").metric("cosine").select(["pair_id", "_distance"]).limit(K)
        for name, value in ask.items():
            query = getattr(query, name)(value)
        return query.to_arrow()["pair_id"].to_pylist()

    search(queries[0])
    return _timed(search, queries, truth) | {"build_cpu_s": built[1]}


def product(folder: Path, queries: np.ndarray, truth: np.ndarray) -> dict:
    """`resources.vectors.Index` as stage 1 uses it, building and asking."""
    x = np.load(folder / "x.npy", mmap_mode="r")

    def batches():
        for start in range(0, len(x), 10_000):
            block = np.ascontiguousarray(x[start : start + 10_000])
            names = pa.array([f"{i:08d}" for i in range(start, start + len(block))])
            flat = pa.ListArray.from_arrays(
                pa.array(range(0, block.size + 1, DIMENSIONS), pa.int32()), pa.array(block.reshape(-1))
            )
            yield pa.RecordBatch.from_arrays([names, names, flat], names=["pair_id", "cluster_id", "vector"])

    cpu = time.process_time()
    first = next(batches())
    index = vectors.Index(
        Lake(str(folder / "lake")), "pool", pa.RecordBatchReader.from_batches(first.schema, batches()), DIMENSIONS
    )
    built = time.process_time() - cpu
    return _timed(lambda q: [p for p, _ in index.nearest(q, K, "none")], queries, truth) | {"build_cpu_s": built}


def _timed(search, queries: np.ndarray, truth: np.ndarray) -> dict:
    wall, cpu = time.perf_counter(), time.process_time()
    hits = sum(len({int(p) for p in search(q)} & set(t)) for q, t in zip(queries, truth.tolist(), strict=True))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    n = len(queries)
    return {"recall_at_8": hits / n / K, "queries_per_s": n / wall, "cpu_ms_a_query": 1000 * cpu / n}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--vectors", default="random,real")
    parser.add_argument("--settings", help="only the settings whose name contains this")
    parser.add_argument("--out", type=Path, default=Path("bench-retrieval"))
    a = parser.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    rows: list[dict] = []
    with (a.out / f"retrieval_{a.rows}.csv").open("w", newline="") as file:
        out = csv.DictWriter(file, FIELDS)
        out.writeheader()

        def write(row: dict) -> None:
            rows.append(row)
            out.writerow(row)
            file.flush()
            print("  ".join(f"{k}={v}" for k, v in row.items()), flush=True)

        for kind in a.vectors.split(","):
            with tempfile.TemporaryDirectory(dir=a.out) as temporary:
                _one_kind(kind, a, Path(temporary), write)
    draw(rows, a.out / f"retrieval_{a.rows}.png")


def _one_kind(kind: str, a: argparse.Namespace, folder: Path, write) -> None:
    x = np.lib.format.open_memmap(folder / "x.npy", "w+", np.float32, (a.rows, DIMENSIONS))
    at = 0
    for block in BLOCKS[kind](a.rows, seed=1):
        x[at : at + len(block)] = block
        at += len(block)
    x.flush()
    del x
    queries = np.concatenate(list(BLOCKS[kind](a.queries, seed=2)))
    common = {"vectors": kind, "rows": a.rows}

    def row(name: str, figures: dict) -> None:
        figures = {k: round(v, 4) for k, v in figures.items()}
        write(
            common | {"settings": name, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} | figures
        )

    truth, wall, cpu = brute_force(folder, a.rows, queries)
    exact = {
        "build_cpu_s": 0.0,
        "recall_at_8": 1.0,
        "queries_per_s": a.queries / wall,
        "cpu_ms_a_query": 1000 * cpu / a.queries,
    }
    row("brute force (numpy)", exact)
    gc.collect()
    wanted = {n: c for n, c in CONFIGS.items() if not a.settings or a.settings in n}
    if wanted:
        table, built = table_of(folder), []
        for name, how in wanted.items():
            row(name, measure(table, built, *how, queries, truth))
    row("Assay", product(folder, queries, truth))


def draw(rows: list[dict], path: Path) -> None:
    """Recall against speed, a panel a kind of vectors."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    kinds = list(dict.fromkeys(r["vectors"] for r in rows))
    figure = Figure((5 * len(kinds), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    for axis, kind in zip(axes, kinds, strict=True):
        for r in [r for r in rows if r["vectors"] == kind]:
            mark = "*" if r["settings"] == "Assay" else "o"
            axis.plot(r["queries_per_s"], r["recall_at_8"], mark, color="#2b6591", markersize=9 if mark == "*" else 6)
            axis.annotate(
                r["settings"], (r["queries_per_s"], r["recall_at_8"]), (4, 4), textcoords="offset points", fontsize=7
            )
        axis.set(title=f"{kind} vectors, {rows[0]['rows']:,}", xscale="log", xlabel="queries a second")
        axis.grid(alpha=0.3)
    axes[0].set(ylabel="recall@8", ylim=(0, 1.08))
    figure.savefig(path, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main()
