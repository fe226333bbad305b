"""Experiments on training sets: built by name, trained alike, measured alike, compared (spec 8, 6.09, 6.10)."""

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.judging import ask_panel, asked_again
from assets.table_asset import Check, Rows, table_asset
from curation.intervals import wilson
from curation.tables import (
    ANNOTATION_BATCH,
    ATTRIBUTES,
    AUDIT,
    BENCHMARK_PROMPTS,
    CLEAN_POOL,
    DECISIONS,
    EDITED_ATTRIBUTES,
    EXPERIMENT_BALANCE,
    EXPERIMENT_CONTRASTS,
    EXPERIMENT_MODELS,
    EXPERIMENT_PAIRS,
    EXPERIMENT_PROFILES,
    EXPERIMENT_RESULTS,
    EXPERIMENT_SCORES,
    EXPERIMENT_SETS,
    GOLD,
    GOLD_VOTES,
    HUMAN_LABELS,
    ORACLE_LABELS,
    PLANTED_LABELS,
    REFERENCE_LABELS,
    RELEASE_CORRECTED,
    RELEASE_CURATED,
    REWARD_MODEL,
    SCORES,
    SILVER,
    STAGE2_ATTRIBUTES,
    STATES,
    STUDIES,
    UNDECIDED,
    UNGUIDED_VERDICTS,
    UNGUIDED_VOTES,
)
from curation.verdicts import aggregate
from evaluation.contrasts import SetFacts, balance, rows, unlike_before
from evaluation.items import attach
from evaluation.presets import Contrast, parsed
from report.figures import with_truth
from resources.benchmarks.measures import as_they_are, headline, measures, rewards
from resources.benchmarks.rewards import NO_EXAMPLES, of
from resources.lake import Lake
from resources.run import Run
from resources.settings import Experiment, Settings
from resources.training_sets import build
from sql import statement

if TYPE_CHECKING:
    import duckdb


STUDY = {
    "filters": "experiments/filters",
    "flips": "experiments/flips",
    "discards": "experiments/discards",
    "labels": "experiments/set_labels",
    "variants": "experiments/variants",
}


def _unguided_wanted(settings: Settings, *_) -> str:
    return str(settings.asks_unguided)


@table_asset(
    UNGUIDED_VOTES,
    UNGUIDED_VERDICTS,
    reads=[ANNOTATION_BATCH, CLEAN_POOL, ATTRIBUTES, PLANTED_LABELS],
    settings=("judges", "seed"),
    settings_seen=("experiments",),
    external_version=_unguided_wanted,
    group="experiments",
    kinds={"openai"},
    pool="llm",
    retry_reason=asked_again(UNGUIDED_VOTES),
)
def unguided_votes(run: Run) -> Iterator[Rows]:
    """The panel without gold examples on the whole batch, people's pairs too: what judges are worth alone. It makes neither
    gold nor silver. Nobody is asked unless an experiment needs it (spec 4.12, 8.05, O-05)."""
    shown, footer, votes = {}, {}, UNGUIDED_VOTES.schema.empty_table()
    if run.settings.asks_unguided:
        with run.lake.connect() as con:
            here = {"iteration": run.partition}
            targets = con.sql(statement("experiments/targets_of_batch"), params=here).to_arrow_table()
        votes, shown, footer = ask_panel(run, targets, NO_EXAMPLES, UNGUIDED_VOTES)
    yield Rows(UNGUIDED_VOTES, votes, shown, footer)
    yield Rows(UNGUIDED_VERDICTS, aggregate(votes, run.settings.judges.quorum, None, run.settings.judges.sure))


def _here(run: Run) -> tuple[Experiment, str]:
    """The experiment and the arm of a run's partition."""
    name, arm = run.key.split(".", 1)
    return run.settings.experiment(name), arm


def _as_built(settings: Settings, _: Lake, partition: str | None) -> str:
    """What of an experiment decides an arm's set: the arm, and those that it is measured by."""
    if partition is None:
        return ""
    name, arm = partition.split(".", 1)
    arms = {a.name: a for a in settings.experiment(name).arms}
    others = [arms[o].built for o in (arms[arm].like, arms[arm].as_many_as) if o]
    return json.dumps([arms[arm].built, *others, any(a.like for a in arms.values())])


@table_asset(
    EXPERIMENT_PAIRS,
    EXPERIMENT_SETS,
    EXPERIMENT_PROFILES,
    reads=[
        CLEAN_POOL, ANNOTATION_BATCH, GOLD, SILVER, UNDECIDED, UNGUIDED_VERDICTS, DECISIONS, SCORES, RELEASE_CURATED,
        RELEASE_CORRECTED, ORACLE_LABELS, ATTRIBUTES, EDITED_ATTRIBUTES, STAGE2_ATTRIBUTES, HUMAN_LABELS,
    ],
    settings=("seed", "embedding"),
    settings_seen=("experiments",),
    external_version=_as_built,
    version="3",
    group="experiments",
    checks={
        EXPERIMENT_PAIRS: [
            Check(
                "no_test_gold",
                statement("checks/no_test_gold"),
                "no conversation cluster of the gold test share is trained on (spec 6.07)",
            )
        ]
    },
)  # fmt: skip
def experiment_sets(run: Run) -> Iterator[Rows]:
    """Which pairs an arm trains on, in which order, and what they look like (spec 8.14)."""
    experiment, name = _here(run)
    arm = next(a for a in experiment.arms if a.name == name)
    about = {"experiment": experiment.name, "arm": name}
    with run.lake.connect() as con:
        problem = build(con, experiment, name, run.settings.seed, run.settings.embedding)
        orders = con.table("orders").to_arrow_table()
        [(pairs, swapped, content)] = con.execute(statement("experiments/set_summary")).fetchall()
        profile = con.sql(statement("experiments/profile")).to_arrow_table().to_pylist()
    row = about | {"built": arm.built, "pairs": pairs, "swapped": swapped, "hash": content, "problem": problem}
    yield Rows(EXPERIMENT_PAIRS, orders.cast(EXPERIMENT_PAIRS.schema), {"pairs": pairs})
    yield Rows(EXPERIMENT_SETS, pa.Table.from_pylist([row], EXPERIMENT_SETS.schema), row)
    yield Rows(EXPERIMENT_PROFILES, pa.Table.from_pylist([about | r for r in profile], EXPERIMENT_PROFILES.schema))


def _as_trained(settings: Settings, _: Lake, partition: str | None) -> str:
    """What of an experiment decides an arm's models."""
    if partition is None:
        return ""
    name, arm = partition.split(".", 1)
    experiment = settings.experiment(name)
    of = next(a for a in experiment.arms if a.name == arm)
    own = of.recipe or experiment.recipe
    told: list = [experiment.seeds, experiment.vary, own.model_dump(mode="json") if own else None]
    return json.dumps(told + ([of.backbone.model_dump(mode="json")] if of.backbone else []))


@table_asset(
    EXPERIMENT_MODELS,
    reads=[EXPERIMENT_PAIRS, EXPERIMENT_SETS, CLEAN_POOL, STATES],
    settings=("training", "seed"),
    settings_seen=("experiments",),
    external_version=_as_trained,
    group="experiments",
    kinds={"deepspeed", "torch"},
    pool="gpu",
)
def experiment_models(run: Run) -> Iterator[Rows]:
    """All replicates of an arm. A model that was trained on equal data by an equal recipe is read, whatever arm it was
    trained for."""
    experiment, name = _here(run)
    arm = next(a for a in experiment.arms if a.name == name)
    training = run.settings.training.with_final(arm.recipe or experiment.recipe, arm.backbone)
    of_arm = replace(run, settings=run.settings.model_copy(update={"training": training}))
    vary = experiment.vary or ("data" if training.head_of("final") == "frozen" else "training")
    made = []
    with run.lake.connect() as con:
        [(pairs,)] = con.execute(
            "SELECT pairs FROM experiment_sets WHERE training_set = $set", parameters={"set": run.key}
        ).fetchall()
        for replicate in range(1, experiment.seeds + 1) if pairs else ():
            seed = run.settings.seed + replicate - 1
            told = {"set": run.key, "lot": f"replicate {seed}", "anew": vary == "data"}
            drawn = con.sql(statement("experiments/replicate"), params=told)
            row = run.reward_models.train(
                of_arm, kind="final", pairs=drawn, validation=None, recipe=training.final, seed=seed, head_alone=True
            )  # fmt: skip
            made.append({"experiment": experiment.name, "arm": name, "replicate": replicate, "seed": seed, **row})
    yield Rows(EXPERIMENT_MODELS, pa.Table.from_pylist(made, EXPERIMENT_MODELS.schema), {"models": len(made)})


def _as_measured(settings: Settings, lake: Lake, partition: str | None) -> str:
    """What an arm's models are measured on, by content."""
    return "" if partition is None else as_they_are(settings, lake, settings.experiment(partition.partition(".")[0]))


@table_asset(
    EXPERIMENT_SCORES,
    EXPERIMENT_RESULTS,
    reads=[EXPERIMENT_MODELS, BENCHMARK_PROMPTS, CLEAN_POOL, GOLD, ANNOTATION_BATCH, ATTRIBUTES],
    settings=("benchmarks", "evaluation", "training", "seed"),
    settings_seen=("experiments", "reference"),
    external_version=_as_measured,
    group="experiments",
    kinds={"pytorch"},
    pool="gpu",
)
def experiment_results(run: Run) -> Iterator[Rows]:
    """Every replicate on every measure, each model scored once on equal items."""
    experiment, name = _here(run)
    with run.lake.connect() as con:
        query = "SELECT replicate, model_id, path FROM experiment_models WHERE training_set = $set ORDER BY 1"
        models = con.execute(query, parameters={"set": run.key}).fetchall()
    loaded = measures(run, experiment) if models else []
    scores, results = [EXPERIMENT_SCORES.schema.empty_table()], []
    for replicate, model_id, path in models:
        table = rewards(run, model_id, path, loaded)
        column = pa.array([replicate] * table.num_rows, pa.int64())
        scores.append(table.append_column("replicate", column).select(EXPERIMENT_SCORES.schema.names).cast(
            EXPERIMENT_SCORES.schema))  # fmt: skip
        for one in loaded:
            scored = attach(one.name, one.labelled, of(table, one.name))
            head = headline(one, scored, run.settings.seed)
            if head is None:
                continue
            low, high = np.nanquantile(head.draws[1:], [0.025, 0.975])
            results.append(
                {"experiment": experiment.name, "arm": name, "replicate": replicate, "evaluation": one.name,
                 "metric": head.metric, "value": float(head.draws[0]), "low": float(low), "high": float(high), "n": head.items}
            )  # fmt: skip
    yield Rows(EXPERIMENT_SCORES, pa.concat_tables(scores))
    shown = {f"{r['evaluation']} {r['replicate']}": r["value"] for r in results}
    yield Rows(EXPERIMENT_RESULTS, pa.Table.from_pylist(results, EXPERIMENT_RESULTS.schema), shown)


def _as_compared(settings: Settings, lake: Lake, partition: str | None) -> str:
    """What of an experiment decides its comparisons, and what they are measured on."""
    if partition is None:
        return ""
    experiment = settings.experiment(partition)
    measured_on = as_they_are(settings, lake, experiment)
    told = [experiment.compare, experiment.seeds, experiment.different_recipes, measured_on]
    return json.dumps(told + ([experiment.alike_first] if experiment.alike_first else []))


@table_asset(
    EXPERIMENT_CONTRASTS,
    EXPERIMENT_BALANCE,
    reads=[
        EXPERIMENT_SETS, EXPERIMENT_PROFILES, EXPERIMENT_MODELS, EXPERIMENT_SCORES, BENCHMARK_PROMPTS, CLEAN_POOL, GOLD,
        ANNOTATION_BATCH, ATTRIBUTES,
    ],
    settings=("benchmarks", "seed"),
    settings_seen=("experiments", "reference"),
    external_version=_as_compared,
    version="2",
    group="experiments",
    kinds={"duckdb"},
)  # fmt: skip
def experiment_contrasts(run: Run) -> Iterator[Rows]:
    """Every comparison on every measure and over all of them, what it varies over, and whether it may be told as a finding."""
    experiment = run.settings.experiment(run.key)
    contrasts = [parsed(text, [a.name for a in experiment.arms]) for text in experiment.compare]
    loaded = {one.name: one for one in measures(run, experiment)}
    draws: dict[tuple[str, int, str], np.ndarray] = {}
    items: dict[str, int] = {}
    told = {"experiment": experiment.name}
    with run.lake.connect() as con:
        sets = con.execute(statement("experiments/sets_of"), parameters=told).fetchall()
        profile = con.execute(statement("experiments/profiles_of"), parameters=told).fetchall()
        for key, arm, *_ in sets:
            scores = con.sql(
                "SELECT * EXCLUDE (training_set) FROM experiment_scores WHERE training_set = $set", params={"set": key}
            ).to_arrow_table()
            for (replicate, name), part in _divided(scores):
                one = loaded[name]
                found = headline(one, attach(name, one.labelled, of(part, name)), run.settings.seed)
                if found is not None:
                    draws[arm, replicate, name], items[name] = found.draws, found.groups
    profiles: dict[str, dict[str, dict[str, float]]] = {}
    for arm, statistic, item, value in profile:
        profiles.setdefault(arm, {}).setdefault(statistic, {})[item] = value
    facts = {arm: SetFacts(pairs, recipe, profiles.get(arm, {}).get("source", {})) for _, arm, pairs, recipe in sets}
    doubt = unlike_before(draws, experiment.alike_first, list(items)) if experiment.alike_first else ""
    found = rows(experiment.name, contrasts, draws, items, facts, experiment.different_recipes, doubt)
    yield Rows(
        EXPERIMENT_CONTRASTS, pa.Table.from_pylist(found, EXPERIMENT_CONTRASTS.schema), {"contrasts": len(found)}
    )
    sizes = {arm: f.pairs for arm, f in facts.items()}
    before = [Contrast(f"{b} - {a}", {b: 1.0, a: -1.0}, frozenset()) for a, b in pairwise(experiment.alike_first)]
    alike = [
        r
        for some, strata in ((contrasts, False), (before, True))
        for c in some
        for r in balance(experiment.name, c, sizes, profiles, strata)
    ]
    yield Rows(EXPERIMENT_BALANCE, pa.Table.from_pylist(alike, EXPERIMENT_BALANCE.schema))


def _divided(scores: pa.Table) -> Iterator[tuple[tuple[int, str], pa.Table]]:
    """The rows of each (replicate, measure)."""
    both = scores.group_by(["replicate", "benchmark"]).aggregate([]).to_pylist()
    for key in sorted((r["replicate"], r["benchmark"]) for r in both):
        here = pc.and_(pc.equal(scores["replicate"], key[0]), pc.equal(scores["benchmark"], key[1]))
        yield key, scores.filter(here)


@table_asset(
    STUDIES,
    reads=[
        CLEAN_POOL, DECISIONS, SCORES, ATTRIBUTES, EDITED_ATTRIBUTES, STAGE2_ATTRIBUTES, GOLD, REWARD_MODEL, STATES,
        REFERENCE_LABELS, HUMAN_LABELS, AUDIT, EXPERIMENT_PAIRS, GOLD_VOTES, UNGUIDED_VOTES,
    ],
    settings_seen=("experiments", "training", "seed"),
    external_version=lambda settings, *_: str(bool(settings.experiments)),
    group="experiments",
    kinds={"duckdb"},
    pool="gpu",
)  # fmt: skip
def studies(run: Run) -> Iterator[Rows]:
    """What can be told without training: filters, flips, discards, labels of the training sets. Nothing where no experiment
    is configured."""
    made = []
    if run.settings.experiments:
        with run.lake.connect() as con:
            with_truth(con)
            con.register("first_scores", _first_scores(run, con))
            for study, name in STUDY.items():
                for item, figure, hits, n in con.execute(statement(name)).fetchall():
                    row = {"study": study, "item": item, "figure": figure, **wilson(hits, n)._asdict(), "n": n}
                    made.append(row)
    yield Rows(STUDIES, pa.Table.from_pylist(made, STUDIES.schema), {"figures": len(made)})


def _first_scores(run: Run, con: "duckdb.DuckDBPyConnection") -> pa.Table:
    """Rewards of what stage 2 decided by the loop's first model: a filter that curation has done little for."""
    first = con.execute("SELECT path FROM reward_model ORDER BY iteration LIMIT 1").fetchall()
    pairs = con.sql(statement("experiments/decided_pairs"))
    if not first or not pairs.limit(1).fetchall():
        names = [("pair_id", pa.string()), ("r_chosen_first", pa.float64()), ("r_rejected_first", pa.float64())]
        return pa.schema(names).empty_table()
    return run.reward_models.score(run, {"first": first[0][0]}, pairs)
