"""`python -m tests.support.slurm_training FOLDER LAKE LAUNCHER`: trains a reward model as a step does, on the pairs in
the folder and on two ranks, and writes the model's path to LAKE/trained."""

import sys
from pathlib import Path
from typing import Any

import duckdb

from resources import trainer
from resources.lake import Lake
from resources.run import Run
from resources.settings import Recipe
from tests.support.lakes import settings

TRAINING: dict[str, Any] = {
    "backbone": {"hidden": 32, "layers": 1, "heads": 2, "vocabulary": 300},
    "max_tokens": 256,
    "tokens_per_microbatch": 1024,
    "checkpoint_steps": 5,
    "head": "fine-tuned",
}
RECIPE = Recipe(global_batch_size=16, evaluations=3, learning_rate=5e-3, epochs=3)


def main() -> None:
    folder, lake, launcher = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    where = {"launcher": "slurm", "nodes": 2} if launcher == "slurm" else {"ranks": 2}
    made = settings(lake={"path": str(lake), "buckets": 2}, training=TRAINING | where)
    pairs, validation = (duckdb.read_parquet(str(folder / f"{name}.parquet")) for name in ("train", "validation"))
    row = trainer.train(Run(made, Lake(str(lake))), kind="gold", pairs=pairs, validation=validation, recipe=RECIPE)
    (lake / "trained").write_text(row["path"])


if __name__ == "__main__":
    main()
