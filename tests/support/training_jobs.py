"""Pairs with a planted preference and jobs small enough for tests of training."""

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation.tables import CONVERSATION
from training.job import Backbone, TrainJob, TrainRecipe

WORDS = [f"word{i}" for i in range(60)]
BETTER = "certainly"


def pairs(n: int, seed: int = 0) -> list[dict]:
    """Pairs whose chosen response, and no other, holds one word."""
    r = random.Random(seed)
    rows = []
    for i in range(n):
        turns = [{"role": "user", "content": " ".join(r.choices(WORDS, k=r.randint(2, 25)))}]
        chosen, rejected = (r.choices(WORDS, k=r.randint(2, 25)) for _ in range(2))
        chosen.insert(r.randrange(len(chosen)), BETTER)
        texts = {"chosen": " ".join(chosen), "rejected": " ".join(rejected)}
        rows.append({"pair_id": f"pair{seed}-{i:04d}", "conversation": turns, **texts})
    return rows


def table(rows: list[dict], **columns: list[float]) -> pa.Table:
    fields = {"pair_id": pa.string(), "conversation": CONVERSATION, "chosen": pa.string(), "rejected": pa.string()}
    made = {k: pa.array([row[k] for row in rows], t) for k, t in fields.items()}
    return pa.table({**made, **{k: pa.array(v, pa.float64()) for k, v in columns.items()}})


def job(folder: Path, train: pa.Table, validation: pa.Table | None = None, out: str = "out", **changes) -> TrainJob:
    """A job of the training program; `recipe` and `backbone` in `changes` are merged into the defaults."""
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(train, folder / "train.parquet")
    if validation is not None:
        pq.write_table(validation, folder / "validation.parquet")
    backbone = {"hidden": 32, "layers": 1, "heads": 2, "vocabulary": 300, **changes.pop("backbone", {})}
    recipe = {"global_batch_size": 16, "evaluations": 2, "learning_rate": 5e-3, **changes.pop("recipe", {})}
    values: dict[str, Any] = {
        "train": folder / "train.parquet",
        "validation": folder / "validation.parquet" if validation is not None else None,
        "backbone": Backbone.model_validate(backbone),
        "recipe": TrainRecipe.model_validate(recipe),
        "max_tokens": 256,
        "tokens_per_microbatch": 1024,
        "out": folder / out,
    }
    return TrainJob.model_validate(values | changes)


def metrics(job: TrainJob) -> list[dict]:
    return [json.loads(line) for line in (job.out / "metrics.jsonl").read_text().splitlines()]
