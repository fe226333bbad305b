"""Stage 2: two reward models and, where they can still change the outcome, the judges decide over every pair that
stage 1 left (spec 4). Nobody is asked before both models have scored: the partition is the same and the calls are
fewer (spec 4, invariant 3)."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import dagster as dg
import numpy as np
import pyarrow as pa

from assets.judging import (
    EXAMPLE_CHECKS,
    GOLD_IS_NOT_JUDGED,
    ask_in_parts,
    asked_again,
    examples_for,
    gold_index,
    verdicts_of,
)
from assets.publishing import markdown
from assets.seed import attributed
from assets.stage1 import has_pairs
from assets.table_asset import Check, Rows, table_asset
from curation.decision_rule import Calibration, Rule, decide, loads
from curation.tables import (
    ANNOTATION_BATCH,
    ATTRIBUTES,
    AUDIT,
    AUDIT_ATTRIBUTES,
    BEST_REWARD_MODEL,
    CLEAN_POOL,
    DECISION_RULE,
    DECISIONS,
    DROPPED,
    EDITED_ATTRIBUTES,
    EMBEDDINGS,
    FLIPPED,
    GOLD,
    GOLD_REWARD_MODEL,
    GOLD_VOTES,
    KEPT,
    PLANTED_LABELS,
    REWARD_MODEL,
    ROUTED,
    SCORES,
    SILVER,
    STAGE2_ATTRIBUTES,
    STAGE2_JUDGE_WEIGHTS,
    STAGE2_VERDICTS,
    STAGE2_VOTES,
    STATES,
    UNDECIDED,
)
from curation.verdicts import VERSION
from report.plots import counts, histograms, training
from resources.annotators.backends import answered
from resources.lake import in_batches
from resources.run import Run
from sql import statement

if TYPE_CHECKING:
    import duckdb

ASKED_AT_ONCE = 2_000  # pairs whose texts, examples and votes are in memory together


@table_asset(
    BEST_REWARD_MODEL,
    reads=[REWARD_MODEL, GOLD, CLEAN_POOL, STATES],
    settings=("training",),
    group="stage2",
    kinds={"torch"},
    pool="gpu",
)
def best_reward_model(run: Run) -> Iterator[Rows]:
    """Every champion on the final gold, since accuracies on a growing set do not compare; ties go to the later
    iteration (spec O-09)."""

    with run.lake.connect() as con:
        models = dict(con.sql("SELECT iteration, path FROM reward_model ORDER BY iteration").fetchall())
        con.register("scores_now", run.reward_models.score(run, models, con.sql(statement("stage2/open_gold_pairs"))))
        con.sql(statement("stage2/best_reward_model")).create("measured")
        rows = con.sql("FROM measured ORDER BY iteration").to_arrow_table()
        [(best, accuracy)] = con.sql("SELECT iteration, accuracy FROM measured WHERE best").fetchall()
    yield Rows(BEST_REWARD_MODEL, rows, {"best": best, "accuracy": accuracy})


@table_asset(
    GOLD_REWARD_MODEL,
    reads=[GOLD, CLEAN_POOL, STATES],
    settings=("training", "seed"),
    group="stage2",
    kinds={"deepspeed", "torch"},
    pool="gpu",
)
def gold_reward_model(run: Run) -> Iterator[Rows]:
    """Trained on people's labels and nothing else, its checkpoint chosen on the validation fold (spec 4.06, O-06)."""

    with run.lake.connect() as con:
        pairs, validation = (
            con.sql(statement(name)) for name in ("stage2/gold_training_pairs", "stage2/gold_validation_pairs")
        )
        has_pairs(GOLD_REWARD_MODEL.name, pairs, validation)
        row = run.reward_models.train(
            run, kind="gold", pairs=pairs, validation=validation, recipe=run.settings.training.gold
        )
    numbers = {k: row[k] for k in ("pairs", "steps", "train_loss", "validation_accuracy", "seconds")}
    numbers["plot"] = training(row["path"])
    yield Rows(GOLD_REWARD_MODEL, pa.Table.from_pylist([row], GOLD_REWARD_MODEL.schema), numbers)


@table_asset(
    AUDIT_ATTRIBUTES,
    reads=[CLEAN_POOL, GOLD, SILVER, UNDECIDED, PLANTED_LABELS],
    settings=("stage2", "attributes", "seed"),
    group="stage2",
    kinds={"openai"},
    pool="llm",
    retry_reason=asked_again(AUDIT_ATTRIBUTES),
    checks={
        AUDIT_ATTRIBUTES: [
            Check(
                "of_stage_2",
                statement("checks/of_stage_2"),
                "the sample is of the pairs that stage 2 decides",
            )
        ]
    },
)
def audit_attributes(run: Run) -> Iterator[Rows]:
    """Draws `stage2.audit` pairs, each with the same chance. People are guided by attributes, so these have some."""
    with run.lake.connect() as con:
        drawn = {"seed": str(run.settings.seed), "n": run.settings.stage2.audit}
        yield attributed(run, AUDIT_ATTRIBUTES, con.sql(statement("stage2/audit_pairs"), params=drawn))


@table_asset(
    AUDIT,
    reads=[AUDIT_ATTRIBUTES, CLEAN_POOL, PLANTED_LABELS],
    settings=("people", "seed"),
    settings_seen=("judges",),  # whose names are no person's
    external_version=lambda settings, lake, _: answered(settings, lake, "stage2"),
    group="stage2",
    kinds={"python"},
    pool="people",
    checks={
        AUDIT: [
            Check(
                "of_the_sample",
                statement("checks/of_the_sample"),
                "people were asked about the sample and nothing else",
            )
        ]
    },
)
def audit(run: Run) -> Iterator[Rows]:
    """People label the sample, the same people in the same way as in stage 1."""

    with run.lake.connect() as con:
        batch = con.sql(statement("stage2/audit_texts")).to_arrow_table()
    labels = (
        run.annotators.people(run.settings, run.lake).label(batch, "stage2")
        if batch.num_rows
        else AUDIT.schema.empty_table()
    )
    yield Rows(AUDIT, labels, {"pairs asked": batch.num_rows, "labels": labels.num_rows})


@table_asset(
    DECISION_RULE,
    reads=[BEST_REWARD_MODEL, GOLD_REWARD_MODEL, GOLD, ANNOTATION_BATCH, CLEAN_POOL, AUDIT, STATES],
    settings=("stage2", "seed"),
    settings_seen=("training",),
    external_version=lambda settings, *_: str("soft" in settings.training.arms),
    group="stage2",
    kinds={"duckdb", "torch"},
    pool="gpu",
)
def decision_rule(run: Run) -> Iterator[Rows]:
    """Written down before anything is decided. Where probabilities are wanted, for calibrated decisions or soft labels,
    they are fitted on gold of the role calibration and on half of the audit; the other half tests thresholds."""
    s, calibration, metadata = run.settings, None, {}
    if s.stage2.decision == "calibrated" or "soft" in s.training.arms:
        calibration, metadata = _calibrated(run)
    rule = Rule(
        decision=s.stage2.decision,
        policy=s.stage2.policy,
        threshold=s.stage2.threshold,
        band=s.stage2.band,
        calibration=calibration,
    )
    path = run.lake.path(DECISIONS, "b00").parents[1] / "rule.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(rule.dumps(), encoding="utf-8")
    part.replace(path)
    row = {
        **rule.model_dump(include={"decision", "policy", "threshold", "band"}),
        "rule": rule.id,
        "file": rule.dumps(),
    }
    yield Rows(DECISION_RULE, pa.Table.from_pylist([row], DECISION_RULE.schema), {"file": str(path), **metadata})


def _calibrated(run: Run) -> tuple[Calibration, dict]:
    """Both models on people's labels, in the original order."""
    from curation.calibration import Sample, TooFew, calibrate, halves

    s = run.settings
    with run.lake.connect() as con:
        best = con.sql("SELECT model_id, path FROM best_reward_model WHERE best").fetchall()[0]
        gold = con.sql("SELECT model_id, path FROM gold_reward_model").fetchall()[0]
        con.sql(statement("stage2/audit_labels")).create("audited")
        con.sql(statement("stage2/calibration_gold")).union(con.table("audited")).create("labels")
        pairs = con.sql(statement("stage2/labelled_pairs"))
        con.register("scores_now", run.reward_models.score(run, {"best": best[1], "gold": gold[1]}, pairs))
        rows = con.sql(statement("stage2/calibration_margins")).to_arrow_table()
    best_margin, gold_margin, right, drawn = (rows.column(i).to_numpy() for i in range(1, 5))
    tests = drawn & ~halves(rows.column("pair_id").to_pylist(), s.seed)
    margins = np.stack([best_margin, gold_margin], axis=1)
    try:
        found = calibrate(
            Sample(margins[~tests], right[~tests]),
            Sample(margins[tests], right[tests]),
            models=(best[0], gold[0]),
            alpha=s.stage2.alpha,
            delta=s.stage2.delta,
            threshold=s.stage2.threshold,
            band=s.stage2.band,
        )
    except TooFew as e:
        raise dg.Failure(
            f"stage2.decision = 'calibrated' and the arm 'soft' need more labels: {e}. More come with stage2.audit or"
            " stage1.seed_people.",
            allow_retries=False,
        ) from None
    thresholds = {
        f"{side} {name}": getattr(t, side) for name, t in found.thresholds.items() for side in ("keep", "flip")
    }
    shown = {k: "abstains" if v is None else v for k, v in thresholds.items()}
    run.log(f"fitted on {found.fitted_on} labels, tested on {found.tested_on}: {shown}")
    return found, {"fitted on": found.fitted_on, "tested on": found.tested_on, **shown}


@table_asset(
    SCORES,
    reads=[CLEAN_POOL, BEST_REWARD_MODEL, GOLD_REWARD_MODEL, GOLD, SILVER, UNDECIDED, STATES],
    settings=("training",),
    settings_seen=("stage2",),
    group="stage2",
    kinds={"torch"},
    pool="gpu",
    checks={
        SCORES: [
            Check(
                "exactly_the_unlabelled",
                statement("checks/exactly_the_unlabelled"),
                "stage 2 decides every pair stage 1 did not, and no other (spec O-21)",
            )
        ]
    },
)
def scores(run: Run) -> Iterator[Rows]:
    """Both models in one pass over the bucket (spec 4.03)."""

    with run.lake.connect() as con:
        best = con.sql("SELECT model_id, path FROM best_reward_model WHERE best").fetchall()[0]
        gold = con.sql("SELECT model_id, path FROM gold_reward_model").fetchall()[0]
        pairs = con.sql(statement("stage2/undecided_pool"), params={"bucket": run.partition})
        con.register("scores_now", run.reward_models.score(run, {"best": best[1], "gold": gold[1]}, pairs))
        names = {"best_model": best[0], "gold_model": gold[0]}
        rows = con.sql(statement("stage2/scores"), params=names).to_arrow_table()
    unscored = {f"unscored by the {m} model": rows.column(f"p_{m}").null_count for m in ("best", "gold")}
    both = {f"{m} model": rows.column(f"p_{m}").drop_null().to_numpy() for m in ("best", "gold")}
    plot = histograms(both, "p(chosen better than rejected)", mark=run.settings.stage2.threshold)
    yield Rows(SCORES, rows, {**unscored, "plot": plot})


@table_asset(
    ROUTED,
    reads=[SCORES, DECISION_RULE],
    settings=("stage1",),
    settings_seen=("judges",),
    group="stage2",
)
def routed(run: Run) -> Iterator[Rows]:
    """Pairs whose class a verdict can still change (spec 4.04), and what asking about them will cost."""
    with run.lake.connect() as con:
        rule = rule_of(con)
        asked = {
            "policy": rule.asks,
            "threshold": rule.threshold,
            "band": rule.band,
            "bucket": run.partition,
            "k_max": run.settings.stage1.k_max,
        }
        rows = con.sql(statement("stage2/routed"), params=asked).to_arrow_table()
        query = "FROM judge_calls_in($bucket) ORDER BY policy, band"
        forecast = con.sql(query, params={"bucket": run.partition})
        columns, found = forecast.columns, forecast.fetchall()
    each = sum(j.samples for j in run.settings.judges.judges)
    bars = {f"{policy}, band {band:g}": asked for policy, band, _, _, asked, _ in found if asked}
    metadata = {"judge calls": rows.num_rows * each, "forecast": dg.MetadataValue.md(markdown(columns, found))}
    yield Rows(
        ROUTED, rows, metadata | ({"plot": counts(bars, "pairs the judges would be asked about")} if bars else {})
    )


@table_asset(
    STAGE2_ATTRIBUTES,
    reads=[ROUTED, CLEAN_POOL, PLANTED_LABELS],
    settings=("attributes", "seed"),
    group="stage2",
    kinds={"openai"},
    pool="llm",
    retry_reason=asked_again(STAGE2_ATTRIBUTES),
    checks={
        STAGE2_ATTRIBUTES: [
            Check(
                "routed_only",
                statement("checks/routed_only"),
                "no attribute call for a confident pair (spec 4.05)",
            )
        ]
    },
)
def stage2_attributes(run: Run) -> Iterator[Rows]:
    """Attributes for the judges' prompts."""
    with run.lake.connect() as con:
        pairs = con.sql(statement("stage2/pairs_to_attribute"), params={"bucket": run.partition})
        yield attributed(run, STAGE2_ATTRIBUTES, pairs)


@table_asset(
    STAGE2_VOTES,
    reads=[ROUTED, CLEAN_POOL, STAGE2_ATTRIBUTES, ATTRIBUTES, GOLD, EDITED_ATTRIBUTES, EMBEDDINGS, PLANTED_LABELS],
    settings=("judges", "embedding", "seed"),
    group="stage2",
    kinds={"openai", "lancedb"},
    pool="llm",
    retry_reason=asked_again(STAGE2_VOTES),
    checks={
        STAGE2_VOTES: [
            *EXAMPLE_CHECKS,
            GOLD_IS_NOT_JUDGED,
            Check(
                "as_forecast",
                statement("checks/as_forecast"),
                "the judges are asked about the routed pairs, each of them and no other",
            ),
        ]
    },
)
def stage2_votes(run: Run) -> Iterator[Rows]:
    """The same panel as in stage 1, with gold neighbours and no people, so many pairs at a time."""
    last = run.settings.partition_keys("iteration")[-1]
    with run.lake.connect() as con, gold_index(run, con, upto=last) as index:

        def parts() -> Iterator[tuple[pa.Table, pa.Table]]:
            with run.lake.connect() as reading:  # neighbours are looked up in `con` while this one streams
                targets = reading.sql(statement("stage2/targets"), params={"bucket": run.partition})
                for batch in in_batches(targets, ASKED_AT_ONCE):
                    some = pa.Table.from_batches([batch])
                    yield some, examples_for(run, con, some, index)

        votes, shown, footer = ask_in_parts(run, parts, STAGE2_VOTES)
        yield Rows(STAGE2_VOTES, votes, shown, footer)


@table_asset(
    STAGE2_VERDICTS,
    STAGE2_JUDGE_WEIGHTS,
    reads=[STAGE2_VOTES, GOLD, GOLD_VOTES],
    settings=("judges",),
    version=VERSION,
    group="stage2",
)
def stage2_verdicts(run: Run) -> Iterator[Rows]:
    """The same way from votes to verdicts as in stage 1; weights rest on the gold of all iterations."""
    last = run.settings.partition_keys("iteration")[-1]
    with run.lake.connect() as con:
        query = "SELECT pair_id, judge, replicate, shown_first, vote, status FROM stage2_votes WHERE bucket = $bucket"
        votes = con.sql(query, params={"bucket": run.partition})
        rows, weights = verdicts_of(run, con, votes.to_arrow_table(), upto=last)
    yield Rows(STAGE2_VERDICTS, rows)
    yield Rows(STAGE2_JUDGE_WEIGHTS, weights)


@table_asset(
    DECISIONS,
    reads=[SCORES, ROUTED, STAGE2_VERDICTS, DECISION_RULE],
    group="stage2",
    checks={
        DECISIONS: [
            Check(
                "nothing_lost",
                statement("checks/nothing_lost"),
                "kept + flipped + dropped = input (spec 4, invariant 1)",
            ),
            Check(
                "asked_only_when_it_matters",
                statement("checks/asked_only_when_it_matters"),
                "a verdict exists exactly for the routed pairs",
            ),
        ]
    },
)
def decisions(run: Run) -> Iterator[Rows]:
    """By default keep iff g=+ and (b=+ or j=+); flip iff g=- and (b=- or j=-); otherwise drop (spec 4, partition)."""
    with run.lake.connect() as con:
        scores, verdicts = (
            con.sql(query, params={"bucket": run.partition})
            for query in ("FROM scores WHERE bucket = $bucket", "FROM stage2_verdicts WHERE bucket = $bucket")
        )
        rows = decide(con, rule_of(con), scores, verdicts).to_arrow_table()
        con.register("decided", rows)
        found = con.sql(statement("stage2/decisions_counted")).fetchall()
    yield Rows(DECISIONS, rows, {"plot": counts(dict(found), "pairs")})


@table_asset(KEPT, FLIPPED, DROPPED, reads=[DECISIONS], group="stage2")
def partition(run: Run) -> Iterator[Rows]:
    """The three classes, one table each."""
    with run.lake.connect() as con:
        for table, name in ((KEPT, "keep"), (FLIPPED, "flip"), (DROPPED, "drop")):
            rows = con.sql(statement("stage2/class"), params={"bucket": run.partition, "class": name})
            yield Rows(table, rows)


def rule_of(con: "duckdb.DuckDBPyConnection") -> Rule:
    """The rule of a lake."""
    return loads(con.sql("SELECT file FROM decision_rule").fetchall()[0][0])
