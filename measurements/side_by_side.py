"""One worker and two: wall time of stage 0, of embeddings, of turning pairs into tokens and of scoring, each in files of its own.

    python -m measurements.side_by_side [--pairs 40000] [--workers 1,2] [--only embeddings,scoring_by_ray]

Pairs are random words. Embeddings are those of a new encoder of three layers, 384 wide, and scores those of a new
decoder: what they say does not matter. Embeddings and the last line of scoring are dealt out by Ray, whose start is
part of the time. Wants as many idle cores as there are workers; prints Markdown. The efficiency is the first wall time
divided by the wall time and the workers. `apart` is stage 0 of as many lakes as there are workers, one worker each, all
at once: its efficiency is what the machine leaves of a core when the others are at work.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from training.job import Backbone, ScoreJob, TrainJob  # noqa: E402
from training.launch import command, environment  # noqa: E402

WORDS = [f"word{i}" for i in range(3_000)]
CONFIGURATION = """
name = "side"
[lake]
buckets = 8
threads = 1
[[sources]]
name = "one"
path = "pairs-0.jsonl"
shape = "pair"
label_origin = "human"
[[sources]]
name = "two"
path = "pairs-1.jsonl"
shape = "pair"
label_origin = "human"
"""


def write_files(folder: Path, pairs: int) -> None:
    """Two sources of JSON lines, and the same pairs as a training reads them."""
    import duckdb

    r = random.Random(0)
    for file in range(2):
        with (folder / f"pairs-{file}.jsonl").open("w", encoding="utf-8") as out:
            for _ in range(pairs // 2):
                prompt, chosen, rejected = (" ".join(r.choices(WORDS, k=r.randint(20, 200))) for _ in range(3))
                out.write(json.dumps({"prompt": prompt, "chosen": chosen, "rejected": rejected}) + "\n")
    (folder / "assay.toml").write_text(CONFIGURATION, encoding="utf-8")
    duckdb.sql(
        f"""COPY (SELECT md5(prompt || chosen) AS pair_id, [{{role: 'user', content: prompt}}] AS conversation, chosen,
        rejected FROM '{folder}/pairs-*.jsonl') TO '{folder}/train.parquet' (ROW_GROUP_SIZE 8192)"""
    )


def timed(line: list[str], folder: Path, **more: str) -> float:
    began = time.monotonic()
    env = {**os.environ, **environment(1), "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", **more}
    done = subprocess.run(line, cwd=folder, env=env, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(line)} failed:\n{done.stdout[-1000:]}{done.stderr[-2000:]}")
    return time.monotonic() - began


def stage_0(folder: Path, workers: int, name: str = "") -> float:
    lake = f"lake-{workers}{name}"
    home = folder / f"dagster-{lake}"
    home.mkdir()
    (home / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    line = [sys.executable, "-m", "cli.main", "run", "pool", "--jobs", str(workers), f"lake.path={lake}"]
    return timed(line, folder, DAGSTER_HOME=str(home))


def apart(folder: Path, workers: int) -> float:
    """Seconds a pool: the wall time of all, divided by how many there are."""
    began = time.monotonic()
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda n: stage_0(folder, 1, f"-{n}-of-{workers}"), range(workers)))
    return (time.monotonic() - began) / workers


def embeddings(folder: Path, workers: int) -> float:
    line = [sys.executable, "-m", "measurements.side_by_side", "--embed", str(folder), "--workers", str(workers)]
    return timed(line, folder)


def embed_here(folder: Path, workers: int) -> None:
    """What the step `embeddings` does with the texts of all pairs, by so many workers."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from resources.retrieval.embedder import FIELDS, embed
    from resources.settings import Embedding
    from resources.settings.cluster import Cluster

    cluster = Cluster(workers=workers if workers > 1 else None)
    pairs = pq.ParquetFile(folder / "train.parquet").iter_batches(1_000, columns=["pair_id", "conversation"])
    rows = (
        pa.RecordBatch.from_arrays(
            [*batch.columns, *([pa.array([""] * batch.num_rows)] * len(FIELDS))],
            names=["pair_id", "conversation", *FIELDS],
        )
        for batch in pairs
    )
    made = list(embed(Embedding(backend="encoder", model=str(folder / "encoder")), rows, cluster))
    pq.write_table(pa.Table.from_batches(made), folder / f"embeddings-{workers}.parquet")


def tokens(folder: Path, workers: int) -> float:
    job = TrainJob(
        train=folder / "train.parquet", out=folder / f"tokens-{workers}", backbone=Backbone(path=str(folder / "model"))
    )
    path = folder / f"tokens-{workers}.json"
    job.write(path)
    return timed(command("training.prepare", path, workers), folder)


def scoring(folder: Path, workers: int) -> float:
    job = ScoreJob(models={"m": folder / "model"}, items=folder / "train.parquet", out=folder / f"scores-{workers}")
    path = folder / f"scores-{workers}.json"
    job.write(path)
    return timed(command("training.score", path, workers), folder)


def scoring_by_ray(folder: Path, workers: int) -> float:
    job = ScoreJob(models={"m": folder / "model"}, items=folder / "train.parquet", out=folder / f"ray-{workers}")
    path = folder / f"ray-{workers}.json"
    job.write(path)
    return timed(command("training.score", path, workers, "ray"), folder)


def write_encoder(folder: Path) -> None:
    """A new BERT of three layers."""
    import torch
    from transformers import BertConfig, BertModel

    from training.model import learn_tokenizer

    tokenizer = learn_tokenizer([" ".join(WORDS)] * 3, 2_048)
    torch.manual_seed(0)
    shape = {"hidden_size": 384, "num_hidden_layers": 3, "num_attention_heads": 12, "intermediate_size": 1_536}
    BertModel(BertConfig(vocab_size=len(tokenizer), **shape)).save_pretrained(folder / "encoder")
    tokenizer.save_pretrained(folder / "encoder")


def write_model(folder: Path) -> None:
    from training.export import export
    from training.model import learn_tokenizer, new_model

    tokenizer = learn_tokenizer([" ".join(WORDS)] * 3, 2_048)
    model = new_model(Backbone(hidden=128, layers=4), tokenizer, 512, 0)
    export(model, folder / "model", {"max_tokens": 512})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=40_000)
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--only", default="stage_0,apart,embeddings,tokens,scoring,scoring_by_ray")
    parser.add_argument("--embed", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.embed:
        embed_here(args.embed, int(args.workers))
        return
    workers = [int(n) for n in args.workers.split(",")]
    with tempfile.TemporaryDirectory(prefix="assay-side-") as name:
        folder = Path(name)
        write_files(folder, args.pairs)
        write_model(folder)
        write_encoder(folder)
        print(f"{args.pairs:,} pairs, {len(os.sched_getaffinity(0))} cores\n")
        print("| | workers | wall s | speed-up | efficiency |\n|---|---:|---:|---:|---:|")
        stages = (stage_0, apart, embeddings, tokens, scoring, scoring_by_ray)
        for what in (s for s in stages if s.__name__ in args.only.split(",")):
            first = 0.0
            for n in workers:
                wall = what(folder, n)
                first = first or wall
                print(
                    f"| {what.__name__} | {n} | {wall:.1f} | {first / wall:.2f} | {first / wall / n:.2f} |", flush=True
                )


if __name__ == "__main__":
    main()
