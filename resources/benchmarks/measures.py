"""What the models of experiments are measured on: benchmarks, gold of role test, and recorded answers on pairs that are not
in the pool. Rewards of a model are computed once, whatever experiments it stands in."""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.tables import BENCHMARK_SCORES
from evaluation.contrasts import grouped_draws
from evaluation.evaluate import metric_values
from evaluation.items import BenchmarkError, check
from evaluation.sheets import HOLD_OUT
from evaluation.units import measure
from resources.benchmarks.loader import CANDIDATES, Loaded, fingerprint, holdout, load
from resources.benchmarks.rewards import model_scores
from resources.frozen_heads import OVER_LENGTH, backbone_of, is_frozen
from resources.lake import Lake
from resources.settings import Experiment, Settings
from resources.sources.reader import answered_comparisons
from resources.sources.reader import fingerprint as answers_fingerprint
from sql import statement
from training.atomic import beside
from training.frozen import FrozenRewardModel, Responses, without
from training.states import StateReader

if TYPE_CHECKING:
    from resources.run import Run

RESAMPLES = 1000
GOLD_TEST, HELD_OUT = "gold_test", "held_out"


def wanted(settings: Settings, experiment: Experiment) -> list[str]:
    """Names of what an experiment's models are measured on. Left out: all benchmarks; without any, recorded answers on
    pairs that are not in the pool; without these, gold of role test."""
    if experiment.evaluate:
        return list(experiment.evaluate)
    if settings.benchmarks:
        return [b.name for b in settings.benchmarks]
    return [HELD_OUT] if settings.reference.answers else [GOLD_TEST]


def measures(run: "Run", experiment: Experiment) -> list[Loaded]:
    """What an experiment's models are measured on.

    Raises:
        BenchmarkError: a benchmark cannot be read, or nobody holds an answer that was asked for.
    """
    found = []
    for name in wanted(run.settings, experiment):
        if name == GOLD_TEST:
            found.append(replace(holdout(run.lake), name=GOLD_TEST))
        elif name == HELD_OUT:
            found.append(held_out(run.settings, run.lake))
        else:
            [benchmark] = [b for b in run.settings.benchmarks if b.name == name]
            found.append(load(benchmark, run.lake, run.settings.seed))
    return found


def as_they_are(settings: Settings, lake: Lake, experiment: Experiment) -> str:
    """What an experiment's measures are read from, by content."""
    found = []
    for name in wanted(settings, experiment):
        version = ""
        try:
            if name == HELD_OUT:
                version = " ".join(answers_fingerprint(a, lake)[0] for a in settings.reference.answers)
            elif name != GOLD_TEST:
                version = fingerprint(next(b for b in settings.benchmarks if b.name == name), lake)
        except Exception as e:  # the step that reads it says what is wrong
            version = f"- {type(e).__name__}"
        found.append(f"{name} {version}")
    return ", ".join(found)


def held_out(settings: Settings, lake: Lake) -> Loaded:
    """[[reference.answers]] on comparisons that are not in the pool, each decided by the majority of its answers; what is tied
    is left out.

    Raises:
        BenchmarkError: there are none.
    """
    votes: dict[str, Counter] = {}
    texts: dict[str, tuple] = {}
    for answers in settings.reference.answers:
        for comparison, one, winner in answered_comparisons(answers, lake):
            _, a, _ = texts.setdefault(comparison, (one.turns, one.a, one.b))
            other = {"a": "b", "b": "a"} if one.a != a else {}  # a record may have the two the other way round
            votes.setdefault(comparison, Counter())[other.get(winner, winner)] += 1
    with lake.connect() as con:
        con.register("answered", pa.table({"comparison_id": pa.array(sorted(votes), pa.string())}))
        outside = con.sql(statement("experiments/outside_the_pool"))
        names = [name for (name,) in outside.fetchall()]
    rows = []
    for name in names:
        (best, n), *others = votes[name].most_common()
        if best not in ("a", "b") or (others and others[0][1] == n):
            continue
        turns, a, b = texts[name]
        conversation = [{"role": role, "content": content} for role, content in turns]
        rows += [
            {"item_id": name, "candidate": i, "unit": "pair", "item_group": "", "subset": "people", "label": side == best,
             "against": None, "conversation": conversation, "response": response}
            for i, (side, response) in enumerate((("a", a), ("b", b)))
        ]  # fmt: skip
    table = check(HELD_OUT, pa.Table.from_pylist(rows, CANDIDATES)) if rows else None
    if table is None:
        raise BenchmarkError(
            "held_out: no [[reference.answers]] decides a pair that is not in the pool; give some, or measure on a benchmark"
            " or on gold_test"
        )
    found = {"": {"people": table.num_rows // 2}}
    return Loaded(HELD_OUT, HOLD_OUT, table, found, table.num_rows // 2, "recorded answers outside the pool")


@dataclass(frozen=True)
class Headline:
    """The number that stands for a measure.

    Attributes:
        metric: accuracy, or accuracy_at_hand where parts are missing.
        draws: [1 + resamples] the number, then its bootstrap; equal items are resampled alike for every model.
        items: that it was measured on.
        groups: of these that are independent.
    """

    metric: str
    draws: np.ndarray
    items: int
    groups: int


def headline(one: Loaded, scored: pa.Table, seed: int) -> Headline | None:
    """Over the whole measure, else over what is at hand. Pairs of people are resampled by conversation, since several of one
    conversation go together."""
    if one.sheet is HOLD_OUT:
        measured = measure(one.name, "pair", scored)
        values = measured.values["accuracy"][0]
        first = one.candidates.filter(pc.equal(one.candidates["candidate"], 0))
        conversations = [json.dumps(c) for c in first["conversation"].to_pylist()]
        draws = grouped_draws(values, conversations, seed=seed, resamples=RESAMPLES)
        return Headline("accuracy", draws, len(values), len(set(conversations)))
    found = {
        v.metric: v
        for v in metric_values(one.sheet, scored, one.found, seed=seed, resamples=RESAMPLES, name=one.name)
        if v.subset == "" and v.draws is not None
    }
    best = found.get("accuracy") or found.get("accuracy_at_hand")
    return None if best is None or best.draws is None else Headline(best.metric, best.draws, best.n, best.n)


# ---- rewards -------------------------------------------------------------------------------------------------------
def rewards(run: "Run", model_id: str, folder: str, loaded: Sequence[Loaded]) -> pa.Table:
    """`BENCHMARK_SCORES` rows of a model, from a file where it was scored on the same items before."""
    over_length, most = run.settings.evaluation.over_length, run.settings.training.max_tokens
    name = _hash(model_id, _content(loaded), over_length, most)
    path = run.lake.folder("measured") / f"{name}.parquet"
    if path.exists():
        return pq.read_table(path).cast(BENCHMARK_SCORES.schema)
    folder = str(run.lake.model(folder))
    made = _from_states(run, folder, loaded) if is_frozen(folder) else None
    table = by_network(run, folder, loaded) if made is None else made
    with beside(path) as part:
        pq.write_table(table, part, compression="zstd")
        part.replace(path)
    return table


def by_network(run: "Run", folder: str, loaded: Sequence[Loaded]) -> pa.Table:
    """Rewards by the scoring program; a head that was kept alone gets its network for as long."""
    folder = str(run.lake.model(folder))
    if not is_frozen(folder) or (Path(folder) / "config.json").exists():
        return model_scores(run, folder, loaded)
    from training.export import export_frozen

    backbone, layer = backbone_of(run.settings.training)
    whole = run.lake.folder("measured") / f"network-{Path(folder).parent.name}"
    facts = {"max_tokens": run.settings.training.max_tokens, "backbone": run.settings.training.backbone.name}
    facts |= dict.fromkeys(("name", "data_hash", "recipe_hash", "pairs"), "-")  # of a card that goes with the folder
    try:
        export_frozen(FrozenRewardModel.load(Path(folder)), backbone, layer, whole / "model", facts)
        return model_scores(run, str(whole / "model"), loaded)
    finally:
        shutil.rmtree(whole, ignore_errors=True)


def _from_states(run: "Run", folder: str, loaded: Sequence[Loaded]) -> pa.Table | None:
    """Rewards of a head on frozen layers from states that all heads share, which are read once and kept; None where they are
    no head's of this configuration. What is too long is cut as the network's input is, or has no reward
    (`evaluation.over_length`)."""
    model = FrozenRewardModel.load(Path(folder))
    if model.kind != "states":
        return None
    texts = sorted({t for one in loaded for t in one.candidates["response"].to_pylist()})
    cut = run.settings.evaluation.over_length == "cut"
    states = run.lake.folder("measured") / f"states-{_hash(model.states_name, texts, cut)}.npz"
    if not states.exists():
        backbone, layer = backbone_of(run.settings.training)
        reader = StateReader(backbone, [layer], run.settings.training.max_tokens)
        if reader.name != model.states_name:
            return None
        read = reader.states(texts)
        long = np.asarray(np.isnan(read).any(axis=1))
        if cut and long.any():
            read[long] = reader.ends([t for t, over in zip(texts, long, strict=True) if over])
        with beside(states) as part:
            with part.open("wb") as out:
                np.savez(out, states=read.astype(np.float32), long=long)
            part.replace(states)
    with np.load(states) as kept:
        found, long = kept["states"], kept["long"]
    lost = np.isnan(found).any(axis=1)
    given = np.full(len(texts), np.nan)
    given[~lost] = model.rewards(Responses(found[~lost], without(int((~lost).sum()))))
    of = {t: (r, bool(o)) for t, r, o in zip(texts, given, long, strict=True)}
    parts = [BENCHMARK_SCORES.schema.empty_table()]
    for one in loaded:
        c = one.candidates
        its = [of[t] for t in c["response"].to_pylist()]
        parts.append(
            pa.table(
                {
                    "benchmark": pa.array([one.name] * c.num_rows, pa.string()),
                    "item_id": c["item_id"],
                    "candidate": c["candidate"],
                    "reward": pa.array([r for r, _ in its], pa.float64(), from_pandas=True),
                    "unscored": pa.array([OVER_LENGTH if np.isnan(r) else None for r, _ in its], pa.string()),
                    "truncated": pa.array([over and cut for _, over in its]),
                }
            ).cast(BENCHMARK_SCORES.schema)
        )
    return pa.concat_tables(parts)


def _content(loaded: Sequence[Loaded]) -> list[str]:
    """A hash of every measure's items."""
    with duckdb.connect() as con:
        found = []
        for one in loaded:
            con.register("items", one.candidates)
            [(rows, low, high)] = con.execute(statement("experiments/items_hash")).fetchall()
            found.append(f"{one.name} {rows} {low} {high}")
            con.unregister("items")
    return found


def _hash(*values) -> str:
    return hashlib.blake2b(json.dumps(values).encode(), digest_size=16).hexdigest()
