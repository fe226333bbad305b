"""Final reward models: one recipe, one backbone, a training set an arm, any number of seeds (spec 6, 6.09, 6.10, 8.01)."""

from collections.abc import Iterator
from functools import partial

import pyarrow as pa

from assets.table_asset import Rows, table_asset
from curation.tables import (
    CLEAN_POOL,
    DECISIONS,
    FINAL_REWARD_MODEL,
    GOLD,
    ORACLE_LABELS,
    RAW_POOL,
    RELEASE_CORRECTED,
    RELEASE_CURATED,
    STATES,
    UNDECIDED,
)
from report.plots import training
from resources.run import Run
from sql import statement


@table_asset(
    FINAL_REWARD_MODEL,
    reads=[CLEAN_POOL, GOLD, UNDECIDED, DECISIONS, RELEASE_CURATED, RELEASE_CORRECTED, ORACLE_LABELS, STATES, RAW_POOL],
    settings=("training", "seed", "weights"),
    group="models",
    kinds={"deepspeed", "torch"},
    pool="gpu",
)
def final_reward_model(run: Run) -> Iterator[Rows]:
    """No gold accuracy is reported here: the releases contain gold (spec O-06)."""

    recipe = run.settings.training.final
    arm, _, number = run.key.partition("-")
    seed = run.settings.seed + int(number or 1) - 1
    with run.lake.connect() as con:
        pairs = con.sql(
            statement("release/arm_pairs"),
            params={"arm": arm, "seed": str(run.settings.seed), "n": recipe.max_pairs},
        )
        if margins := run.settings.weights.margins:
            pairs.create("arm")
            told = {"sources": list(margins), "rewards": list(margins.values())}
            pairs = con.sql(statement("release/with_margins"), params=told)
        row = run.reward_models.train(run, kind="final", pairs=pairs, validation=None, recipe=recipe, seed=seed)
    rows = pa.Table.from_pylist([{"arm": arm, "seed": seed, **row}], FINAL_REWARD_MODEL.schema)
    numbers = {k: row[k] for k in ("pairs", "steps", "train_loss", "seconds", "tokens")}
    yield Rows(FINAL_REWARD_MODEL, rows, {**numbers, "plot": partial(training, run.lake.model(row["path"]))})
