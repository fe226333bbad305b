"""How long to train on all labels, and how right the model is that comes of it, by training on parts of them first."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from resources.lake import digests
from resources.settings import Recipe

if TYPE_CHECKING:
    from resources.run import Run

COLUMNS = ("pair_id", "conversation", "chosen", "rejected", "weight")


def cross_fitted(
    run: "Run", pairs: duckdb.DuckDBPyRelation, folds: int, recipe: Recipe
) -> tuple[list[dict[str, Any]], Recipe]:
    """Train once a fold without it and test on it on the way. The part of the training after which most pairs of all folds
    are right is how long the model on all pairs is trained; of equals the later one.

    Args:
        pairs: (pair_id, conversation, chosen, rejected, weight, fold), fold being 0 to folds - 1.
        recipe: as configured.

    Returns:
        Rows of GOLD_FOLDS, and the recipe with that part of its epochs. No row where a fold would leave nothing to learn
        from. A schedule that falls to zero falls faster in the shorter training: its length is carried over, not its
        checkpoint.
    """
    fold, columns = duckdb.ColumnExpression("fold"), [duckdb.ColumnExpression(c) for c in COLUMNS]
    rows: list[dict[str, Any]] = []
    for k in range(folds):
        here = fold == duckdb.ConstantExpression(k)
        tested, learned = (pairs.filter(c).select(*columns) for c in (here, ~here))
        if not tested.limit(1).fetchall() or not learned.limit(1).fetchall():
            continue
        run.log(f"part {k + 1} of {folds}")
        row = run.reward_models.train(run, kind="gold", pairs=learned, validation=tested, recipe=recipe)
        model = run.lake.model(row["path"])
        digests.seal(model.parent, "result.json")
        shutil.rmtree(model, ignore_errors=True)  # its result stays, so that it is not trained again
        rows += [
            {"fold": k, "part": part, "pairs": row["pairs"], "tested": row["validation_pairs"], "accuracy": accuracy}
            for part, accuracy in curve(row, model.parent, recipe)
        ]
    whole = [
        p for p in {r["part"] for r in rows} if sum(r["part"] == p for r in rows) == len({r["fold"] for r in rows})
    ]
    best = max(whole, key=lambda p: (sum(r["accuracy"] * r["tested"] for r in rows if r["part"] == p), p), default=1.0)
    for r in rows:
        r["chosen"] = r["part"] == best
    return rows, recipe.model_copy(update={"epochs": recipe.epochs * best})


def curve(row: dict[str, Any], folder: Path, recipe: Recipe) -> list[tuple[float, float]]:
    """(part of the training, accuracy on the pairs it was tested on), as the training program wrote them on its way; its
    result alone where it wrote none."""
    log = folder / "metrics.jsonl"
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    found = {
        round(facts["step"] / row["steps"] * recipe.evaluations) / recipe.evaluations: facts["validation_accuracy"]
        for facts in map(json.loads, lines)
        if facts.get("validation_accuracy") is not None and recipe.evaluations
    }
    return sorted(found.items()) or [(1.0, row["validation_accuracy"])]
