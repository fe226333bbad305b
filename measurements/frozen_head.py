"""Heads on frozen layers: how fast texts are read, and how right they are beside fine-tuning on the same pairs.

    python -m measurements.frozen_head speed FILE [--most 4000]
    python -m measurements.frozen_head tuned FILE [--seeds 3] [--train 250] [--test 600] [--rates 1e-4]

FILE is ukp_convarg1.jsonl.zst, as in training_real. `speed` reads its responses with MiniLM as the step `states` does,
one thread, and counts tokens a CPU-second. `tuned` fits a gold model (style, states or both) and a final model (states
alone) by the code of the pipeline, and fine-tunes MiniLM (three layers, two of them trained, mean pooling; see pooling),
all on the same people's labels, tested on debates that nothing was trained on; every seed deals the debates anew.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import torch

from measurements.pooling import BACKBONE, deal, one
from measurements.training_real import PAIRS
from resources import frozen_heads
from resources.settings import Training
from resources.settings.cluster import Cluster
from sql import statement
from training.states import StateReader

TRAINING = Training.model_validate(
    {"head": "frozen", "max_tokens": 256, "backbone": {"name": "minilm", "path": BACKBONE}}
)


def responses(file: Path, most: int) -> list[str]:
    """Different responses, drawn by hash."""
    with duckdb.connect() as con:
        con.execute(PAIRS, {"file": str(file)})
        query = "SELECT DISTINCT unnest([chosen, rejected]) AS text FROM pairs ORDER BY md5(text) LIMIT $most"
        return [text for (text,) in con.execute(query, parameters={"most": most}).fetchall()]


def speed(args: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    folder, layer = frozen_heads.backbone_of(TRAINING)
    reader, texts = StateReader(folder, [layer], TRAINING.max_tokens), responses(args.file, args.most)
    reader.states(texts[:50])  # warms up
    counted = [len(ids) for ids in reader.tokens(texts)]
    read = sum(n for n in counted if n <= reader.max_tokens)
    cpu, clock = time.process_time(), time.monotonic()
    found = reader.states(texts)
    cpu, clock = time.process_time() - cpu, time.monotonic() - clock
    long = int(np.isnan(found).any(axis=1).sum())
    print(
        f"{len(texts):,} texts, {long} too long, {read:,} tokens read in {cpu:.1f} CPU-s ({clock:.1f} s): "
        f"{read / cpu:,.0f} tokens a CPU-second; layers {reader.layers}, {os.cpu_count()} cores, one thread"
    )


def tuned(args: argparse.Namespace) -> None:
    found: dict[str, list[tuple[float, float]]] = {}
    for seed in range(args.seeds):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            deal(args, folder, seed)
            for kind in ("gold", "final"):
                accuracy, cpu = frozen(folder, kind, seed)
                found.setdefault(f"frozen, as a {kind} model", []).append((accuracy, cpu))
        for rate in args.rates:
            with tempfile.TemporaryDirectory() as name:
                row = one(args, Path(name), seed, rate, "mean")
            found.setdefault(f"fine-tuned, rate {rate:.0e}", []).append((row["accuracy"], row["cpu"]))
        print(seed, {k: f"{v[-1][0]:.3f}, {v[-1][1]:.1f} CPU-s" for k, v in found.items()}, flush=True)
    for name, rows in found.items():
        accuracies = [a for a, _ in rows]
        shown = " ".join(f"{a:.3f}" for a in accuracies)
        print(f"{name}: {np.mean(accuracies):.3f} ({shown}), {np.mean([c for _, c in rows]):.1f} CPU-s")


def frozen(folder: Path, kind: str, seed: int) -> tuple[float, float]:
    """Accuracy on the test pairs, and CPU-seconds: reading the training texts, fitting and exporting."""
    with duckdb.connect() as con:
        for part in ("train", "test"):
            con.sql(f"FROM '{folder / part}.parquet'").create(part)
        cpu = time.process_time()
        read_into(con, "train")
        frozen_heads.fit(TRAINING, kind, con.table("train"), None, seed, folder / kind, dict.fromkeys(
            ("name", "data_hash", "recipe_hash"), ""
        ))  # fmt: skip
        cpu = time.process_time() - cpu
        read_into(con, "test")
        table = frozen_heads.score(folder / kind / "model", con.table("test"))
    margin = table["r_chosen"].to_numpy() - table["r_rejected"].to_numpy()
    margin = margin[~np.isnan(margin)]
    return float(((np.sign(margin) + 1) / 2).mean()), cpu


def read_into(con: duckdb.DuckDBPyConnection, part: str) -> None:
    """Let `states` hold the states of a table's responses."""
    con.execute("DROP TABLE IF EXISTS states")
    con.execute(f"CREATE OR REPLACE VIEW clean_pool AS SELECT *, 'b00' AS bucket FROM {part}")
    texts = con.sql(statement("seed/texts_to_read"), params={"bucket": "b00"}).to_arrow_table()
    table = pa.Table.from_batches(frozen_heads.read(TRAINING, texts.to_batches(max_chunksize=1000), Cluster()))
    con.register("made", table)
    con.execute("CREATE TABLE states AS FROM made")
    con.unregister("made")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=["speed", "tuned"])
    parser.add_argument("file", type=Path)
    parser.add_argument("--most", type=int, default=4000, help="texts")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--train", type=int, default=250, help="pairs")
    parser.add_argument("--test", type=int, default=600, help="pairs")
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-4])
    args = parser.parse_args()
    {"speed": speed, "tuned": tuned}[args.what](args)


if __name__ == "__main__":
    main()
