"""Reward models that are heads on frozen layers, for the assets: states of the pool's texts, heads fitted on them, and
rewards from them, in this process and without a network.

The states stand in the lake (table `states`), read once. Heads of one backbone share them, so a further model or a
further pass over the pool costs a matrix product. The exported folder holds the network too and gives the same rewards
for any text (see training.export).
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from curation.tables import STATES
from resources.dealing import dealt
from resources.lake import in_batches
from resources.settings import Training
from resources.settings.cluster import Cluster
from sql import statement
from training.atomic import write_json
from training.backbone import folder_of
from training.frozen import KINDS, ConstantStates, FrozenRewardModel, Kind, Responses, without
from training.states import longest_of, middle_layer, name_of
from training.style import NAMES, styles

MOST_PAIRS = 20_000  # that a head is fitted on, drawn by hash: it has some hundred weights
FEW = 50  # pairs below which a model is known to next to nothing
FEW_GROUPS = 5  # conversations below which nothing can be cross-validated
OVER_LENGTH = "over_length"
# A final model goes out into the world, so all of it must be in the network that plain transformers loads.
MAY_READ: dict[str, tuple[Kind, ...]] = {"loop": KINDS, "gold": KINDS, "final": ("states",)}


class NoHead(ValueError):
    """A head cannot be fitted, or cannot be used on these pairs; the message says why and what to do."""


# ---- states ----------------------------------------------------------------------------------------------------------
def backbone_of(training: Training) -> tuple[Path, int]:
    """The folder whose states heads are fitted on, and the layer.

    Raises:
        NoHead: there is none, or it cannot be read as far as `max_tokens`.
    """
    b = training.backbone
    if b.path is None:
        raise NoHead(
            "training.head = 'frozen' needs a pretrained model (training.backbone.path): the layers of a new one say"
            " nothing. Name one, or let it be trained: head = 'fine-tuned'."
        )
    try:
        folder = folder_of(b.path)
    except FileNotFoundError as e:
        raise NoHead(str(e)) from e
    if (known := longest_of(folder, training.max_tokens)) < training.max_tokens:
        raise NoHead(f"training.max_tokens is {training.max_tokens}, but {b.name} knows {known} positions")
    return folder, middle_layer(folder, b.keep_layers)


def version(training: Training) -> str:
    """What the table `states` depends on beside the pool; '' where no model needs it."""
    if not training.frozen:
        return ""
    try:
        folder, layer = backbone_of(training)
    except NoHead as e:
        return str(e)
    return name_of(folder, [layer], training.max_tokens)


def read(training: Training, texts: Iterable[pa.RecordBatch], cluster: Cluster) -> Iterator[pa.RecordBatch]:
    """Batches (text, response) to batches of STATES.

    Args:
        cluster: who does it; a batch has the same states whoever does.

    Raises:
        NoHead: there is no backbone to read with.
    """
    folder, layer = backbone_of(training)
    return dealt(cluster, partial(_reader, folder, layer, training.max_tokens), texts)


def _reader(folder: Path, layer: int, max_tokens: int) -> Callable[[pa.RecordBatch], pa.RecordBatch]:
    from training.states import StateReader

    reader = StateReader(folder, [layer], max_tokens)

    def states(batch: pa.RecordBatch) -> pa.RecordBatch:
        found = reader.states(batch.column("response").to_pylist())
        missing = np.isnan(found).any(axis=1)
        offsets = np.concatenate([[0], np.cumsum(np.where(missing, 0, reader.width))]).astype(np.int32)
        vectors = pa.ListArray.from_arrays(
            pa.array(offsets), pa.array(found[~missing].reshape(-1), pa.float32()), mask=pa.array(missing)
        ).cast(STATES.schema.field("state").type)
        names = pa.array([reader.name] * batch.num_rows)
        return pa.RecordBatch.from_arrays([batch.column("text"), vectors, names], names=STATES.schema.names)

    return states


# ---- pairs with states -----------------------------------------------------------------------------------------------
def _with_states(pairs: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """The pairs joined to `states`, in the pairs' own session."""
    rows: Any = pairs.query("pairs_now", statement("seed/pairs_with_states"))  # annotated as if it gave no relation
    return rows


def _matrix(column: pa.Array) -> np.ndarray:
    """[n, D] of a column of lists without nulls."""
    flat = column.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(column), -1) if len(column) else without(0)


def _features(batch: pa.RecordBatch, style: bool) -> tuple[Responses, Responses]:
    """Features of both responses of pairs that have states."""
    prompts = batch.column("prompt").to_pylist()
    both = []
    for side in ("chosen", "rejected"):
        states = _matrix(batch.column(f"{side}_state"))
        looks = styles(batch.column(side).to_pylist(), prompts) if style else without(batch.num_rows)
        both.append(Responses(states, looks))
    return both[0], both[1]


def _usable(batch: pa.RecordBatch) -> np.ndarray:
    """Which pairs [n] have both states.

    Raises:
        NoHead: some were never read.
    """
    if any(batch.column("unread").to_pylist()):
        raise NoHead(
            "some responses stand in no partition of the table `states`: materialise it for the whole pool"
            " (`assay run seed`)"
        )
    chosen, rejected = (np.asarray(batch.column(f"{s}_state").is_valid()) for s in ("chosen", "rejected"))
    return chosen & rejected


# ---- fitting ---------------------------------------------------------------------------------------------------------
def decisive(training: Training, kind: str) -> dict[str, Any]:
    """What makes a head beside its pairs and its seed.

    Raises:
        NoHead: there is no backbone.
    """
    folder, layer = backbone_of(training)
    return {
        "head": "frozen",
        "states": name_of(folder, [layer], training.max_tokens),
        "kinds": MAY_READ[kind],
        "template": 1,
    }


def fit(
    training: Training,
    kind: str,
    pairs: duckdb.DuckDBPyRelation,
    validation: duckdb.DuckDBPyRelation | None,
    seed: int,
    out: Path,
    facts: dict[str, Any],
    head_alone: bool = False,
) -> dict[str, Any]:
    """Fit a head, export it to `out`/model and write `out`/result.json.

    Args:
        pairs: (pair_id, conversation, chosen, rejected[, weight][, target]), chosen being the better one.
        validation: pairs that the result's accuracy is measured on; None: by cross-validation on the pairs.
        facts: of the model's origin.
        head_alone: without the network.

    Raises:
        NoHead: nothing can be fitted.
    """
    from threadpoolctl import threadpool_limits

    from training.export import export_frozen

    began = time.monotonic()
    folder, layer = backbone_of(training)
    name, may_read = name_of(folder, [layer], training.max_tokens), MAY_READ[kind]
    style = "style" in may_read
    first, second, about, dropped = _gathered(pairs, style, name)
    n, notes = len(about["target"]), []
    if not n:
        raise NoHead(f"no usable pair is left; left out: {dict(dropped)}")
    if n < FEW:
        notes.append(
            f"{n} pairs are few: below {FEW} a reward model is hardly better than a coin, and its accuracy unsure"
        )
    groups = np.array(about["group"])
    if len(set(about["group"])) < FEW_GROUPS:
        groups = np.arange(n)
        notes.append("all pairs are of a few conversations: cross-validation deals pairs, and looks too good")
    if twice := _contradictions(about["key"]):
        notes.append(f"{twice} of {n} pairs also stand there the other way round: nothing can be learned from them")
    weights = np.array(about["weight"])
    if not weights.sum():
        raise NoHead(f"the weights of all {n} training pairs are 0")
    options: dict[str, Any] = {
        "weights": weights,
        "seed": seed,
        "states_name": name,
        "style_names": NAMES if style else (),
    }
    with threadpool_limits(1):  # many small systems: threads would wait for each other
        try:
            model = FrozenRewardModel.fit(first, second, np.array(about["target"]), groups, kinds=may_read, **options)
        except ConstantStates as e:
            if not style:
                raise NoHead(str(e)) from e
            notes.append(f"style features alone: {e}")
            bare = [Responses(without(n), r.style) for r in (first, second)]
            model = FrozenRewardModel.fit(*bare, np.array(about["target"]), groups, kinds=may_read, **options)
        checked, accuracy = _accuracy(model, validation) if validation is not None else (n, model.accuracy)
        margins = model.margin(first, second)
    loss = float(np.average(np.logaddexp(0, -margins), weights=weights))
    said = facts | {"max_tokens": training.max_tokens, "pairs": n, "backbone": training.backbone.name}
    if head_alone:
        model.save(out / "model")
    else:
        export_frozen(model, folder, layer, out / "model", said)
    result = {
        "pairs": n, "dropped": sum(dropped.values()), "dropped_by_reason": dict(dropped), "steps": 0, "best_step": 0,
        "train_loss": loss, "validation_pairs": checked, "validation_accuracy": accuracy,
        "seconds": time.monotonic() - began, "tokens": 0, "hardware": "cpu, from states", "head": "frozen",
        "features": model.kind, "ridge": model.ridge, "losses": model.losses, "notes": notes,
        "spread": float(model.spread(first, second).mean()), "max_tokens": training.max_tokens,
    }  # fmt: skip
    write_json(out / "result.json", result)
    return result


def _gathered(
    pairs: duckdb.DuckDBPyRelation, style: bool, name: str
) -> tuple[Responses, Responses, dict[str, list], Counter]:
    """Features of both responses of all usable pairs, what is known of them, and how many were left out, by reason.

    Raises:
        NoHead: some were never read, or by another reader.
    """
    dropped: Counter = Counter()
    parts: list[tuple[Responses, Responses]] = []
    about: dict[str, list] = {"target": [], "weight": [], "group": [], "key": []}
    for batch in in_batches(_with_states(pairs)):
        has = _usable(batch)
        sides = (batch.column(side).to_pylist() for side in ("chosen", "rejected"))
        differ = np.array([a != b for a, b in zip(*sides, strict=True)])
        dropped.update({OVER_LENGTH: int((~has).sum()), "identical": int((has & ~differ).sum())})
        batch = batch.filter(pa.array(has & differ))
        if not batch.num_rows:
            continue
        if other := {*batch.column("reader").to_pylist()} - {name}:
            raise NoHead(f"the table `states` was read by {other.pop()}, the configuration's backbone is {name}")
        parts.append(_features(batch, style))
        given = batch.schema.names
        for what, default in (("target", 1.0), ("weight", 1.0)):
            about[what] += batch.column(what).to_pylist() if what in given else [default] * batch.num_rows
        about["group"] += batch.column("conversation_hash").to_pylist()
        about["key"] += [
            tuple(r.values()) for r in batch.select(["conversation_hash", "chosen", "rejected"]).to_pylist()
        ]
    nothing = Responses(without(0), without(0))
    first, second = (
        Responses(*(np.concatenate(c) for c in zip(*(p[i] for p in parts), strict=True))) if parts else nothing
        for i in range(2)
    )
    return first, second, about, +dropped


def _contradictions(keys: Sequence[tuple[str, str, str]]) -> int:
    """Pairs whose responses also stand there in the other order."""
    known = set(keys)
    return sum((c, b, a) in known for c, a, b in keys)


def _accuracy(model: FrozenRewardModel, validation: duckdb.DuckDBPyRelation) -> tuple[int, float | None]:
    """Number of pairs and how often the better response has the higher reward; ties count half."""
    first, second, about, _ = _gathered(validation, bool(model.style_names), model.states_name)
    if not about["target"]:
        return 0, None
    return len(about["target"]), float(((np.sign(model.margin(first, second)) + 1) / 2).mean())


# ---- rewards ---------------------------------------------------------------------------------------------------------
def is_frozen(folder: str | Path) -> bool:
    """Whether a model's folder holds a head on frozen layers."""
    return (Path(folder) / "frozen.json").exists()


def score(folder: str | Path, pairs: duckdb.DuckDBPyRelation, features: bool = False) -> pa.Table:
    """Rewards from states.

    Returns:
        (pair_id, r_chosen, r_rejected, unscored, truncated, spread[, difference]), sorted by pair_id. `spread` is the
        standard deviation of the ensemble's margins; `difference` what the head is given for chosen less what it is
        given for rejected.

    Raises:
        NoHead: some responses were never read, or by another reader.
    """
    model = FrozenRewardModel.load(Path(folder))
    schema = pa.schema(
        [("pair_id", pa.string()), *((c, pa.float64()) for c in ("r_chosen", "r_rejected")), ("unscored", pa.string()),
         ("truncated", pa.bool_()), ("spread", pa.float64())]
        + [("difference", pa.list_(pa.float32()))] * features
    )  # fmt: skip
    made = [_scored(model, batch, schema) for batch in in_batches(_with_states(pairs))]
    return pa.Table.from_batches(made, schema)


def _scored(model: FrozenRewardModel, batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    has = _usable(batch)
    known = batch.filter(pa.array(has))
    if other := {*known.column("reader").to_pylist()} - {model.states_name}:
        raise NoHead(f"the table `states` was read by {other.pop()}, the model was fitted on {model.states_name}")
    columns: dict[str, np.ndarray] = {c: np.full(len(has), np.nan) for c in ("r_chosen", "r_rejected", "spread")}
    difference: list[np.ndarray | None] = [None] * len(has)
    if known.num_rows:
        first, second = _features(known, model.kind != "states")
        columns["r_chosen"][has], columns["r_rejected"][has] = model.rewards(first), model.rewards(second)
        columns["spread"][has] = model.spread(first, second)
        if "difference" in schema.names:
            x = model.prepared.features(first, model.kind) - model.prepared.features(second, model.kind)
            for i, row in zip(np.flatnonzero(has), x.astype(np.float32), strict=True):
                difference[i] = row
    made = {
        "pair_id": batch.column("pair_id"),
        **{c: pa.array(v, from_pandas=True) for c, v in columns.items()},
        "unscored": pa.array([None if h else OVER_LENGTH for h in has], pa.string()),
        "truncated": pa.array([False] * len(has)),
        "difference": pa.array(difference, pa.list_(pa.float32())),
    }
    return pa.RecordBatch.from_arrays([made[n].cast(schema.field(n).type) for n in schema.names], schema=schema)
