"""Stage 2: two reward models and, where they can still change the outcome, the judges decide over every pair that
stage 1 left (spec 4). Nobody is asked before both models have scored: the partition is the same and the calls are
fewer (spec 4, invariant 3)."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

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
from curation.decision_rule import STRATA, Calibration, Rule, decide, loads
from curation.flip_audit import LEAST_GOLD, flip_audit, guards_after, guards_before, shares, weights
from curation.tables import (
    ANNOTATION_BATCH,
    ATTRIBUTES,
    AUDIT,
    AUDIT_ATTRIBUTES,
    AUDIT_SAMPLE,
    AUDIT_STRATA,
    BEST_REWARD_MODEL,
    CLEAN_POOL,
    DECISION_RULE,
    DECISIONS,
    DROPPED,
    EDITED_ATTRIBUTES,
    EMBEDDINGS,
    FLIPPED,
    GOLD,
    GOLD_FOLDS,
    GOLD_REWARD_MODEL,
    GOLD_VOTES,
    KEPT,
    PLANTED_LABELS,
    REWARD_MODEL,
    ROUTED,
    ROUTING_RULE,
    SCORES,
    SILVER,
    STAGE2_ATTRIBUTES,
    STAGE2_JUDGE_WEIGHTS,
    STAGE2_VERDICTS,
    STAGE2_VOTES,
    STATES,
    UNDECIDED,
    WORLD_FILES,
)
from curation.verdicts import VERSION
from report.plots import counts, histograms, training
from resources.annotators.backends import answerable, answerable_version, answered
from resources.cross_fitting import cross_fitted
from resources.lake import in_batches
from resources.run import Run
from resources.settings import Settings
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
        models = dict(con.execute("SELECT iteration, path FROM reward_model ORDER BY iteration").fetchall())
        con.register("scores_now", run.reward_models.score(run, models, con.sql(statement("stage2/open_gold_pairs"))))
        con.sql(statement("stage2/best_reward_model")).create("measured")
        rows = con.sql("FROM measured ORDER BY iteration").to_arrow_table()
        [(best, accuracy)] = con.execute("SELECT iteration, accuracy FROM measured WHERE best").fetchall()
    yield Rows(BEST_REWARD_MODEL, rows, {"best": best, "accuracy": accuracy})


def _calibrates(settings: Settings) -> bool:
    """Whether probabilities are wanted: then gold of the role calibration teaches nothing."""
    return settings.stage2.decision == "calibrated" or any("soft" in arm for arm in settings.training.arms)


def _what_teaches(settings: Settings, *_: object) -> str:
    return f"{settings.stage2.folds} parts, calibrates {_calibrates(settings)}"


@table_asset(
    GOLD_REWARD_MODEL,
    GOLD_FOLDS,
    reads=[GOLD, CLEAN_POOL, STATES],
    settings=("training", "seed"),
    settings_seen=("stage2",),
    external_version=_what_teaches,
    group="stage2",
    kinds={"deepspeed", "torch"},
    pool="gpu",
)
def gold_reward_model(run: Run) -> Iterator[Rows]:
    """Trained on people's labels and nothing else, on all of them but for the test share (spec 4.06, O-06); how
    long, parts of
    them say, each tested by a model that did not learn from it."""
    s = run.settings
    roles = ["train", "few_shot"] + ["validation"] * (s.stage2.folds > 0) + ["calibration"] * (not _calibrates(s))
    with run.lake.connect() as con:
        asked = {"roles": roles, "folds": s.stage2.folds, "seed": str(s.seed)}
        con.sql(statement("stage2/gold_training_pairs"), params=asked).create("gold_pairs")
        pairs, validation, recipe, rows = con.table("gold_pairs"), None, s.training.gold, []
        if s.stage2.folds == 0:
            validation = con.sql(statement("stage2/gold_validation_pairs"))
        has_pairs(GOLD_REWARD_MODEL.name, pairs, validation or pairs)
        if s.stage2.folds and len(pairs) >= LEAST_GOLD:
            rows, recipe = cross_fitted(run, pairs, s.stage2.folds, recipe)
        row = run.reward_models.train(run, kind="gold", pairs=pairs, validation=validation, recipe=recipe)
    if validation is not None:
        rows = [{"fold": 0, "part": row["best_step"] / row["steps"], "pairs": row["pairs"], "chosen": True,
                 "tested": row["validation_pairs"], "accuracy": row["validation_accuracy"]}]  # fmt: skip
    numbers = {k: row[k] for k in ("pairs", "steps", "train_loss", "seconds")}
    chosen = [r for r in rows if r["chosen"]]
    if tested := sum(r["tested"] for r in chosen):
        numbers["accuracy on pairs not learned from"] = sum(r["accuracy"] * r["tested"] for r in chosen) / tested
    numbers["plot"] = partial(training, run.lake.model(row["path"]))
    yield Rows(GOLD_REWARD_MODEL, pa.Table.from_pylist([row], GOLD_REWARD_MODEL.schema), numbers)
    yield Rows(GOLD_FOLDS, pa.Table.from_pylist(rows, GOLD_FOLDS.schema))


@table_asset(
    ROUTING_RULE,
    reads=[BEST_REWARD_MODEL, GOLD_FOLDS, GOLD, ANNOTATION_BATCH],
    settings=("stage2",),
    group="stage2",
)
def routing_rule(run: Run) -> Iterator[Rows]:
    """What gold alone says of the rule: whether there is enough of it, whether the models that decide are right often
    enough, and whether the best one is heard. No pair has been scored, and no judge asked."""
    s = run.settings.stage2
    rule = Rule(decision="paper", policy=s.policy, threshold=s.threshold, band=s.band)
    shown = {}
    if s.decision == "guarded":
        with run.lake.connect() as con:
            measured = con.sql(statement("stage2/gold_measured"), params={"least": LEAST_GOLD})
            found = dict(zip(measured.columns, measured.fetchall()[0], strict=True))
        tested, right = found["tested"], found["hits"]
        if s.policy in ("best_only", "no_human") and found["best"] is not None:  # the gold model is not heard
            tested, right = found["best_pairs"], found["best"] * found["best_pairs"]
        policy, guards = guards_before(
            s.policy, found["gold"], tested, right, found["labels"], found["best"], found["labels_beside_best"]
        )
        rule = rule.model_copy(update={"decision": "guarded", "policy": policy, "guards": guards})
        shown = {k: v for k, v in guards.model_dump(exclude={"looked"}).items() if v is not None and v != ""}
        if guards.why:
            run.log(guards.why)
    yield Rows(ROUTING_RULE, _as_row(rule), shown)


def _as_row(rule: Rule) -> pa.Table:
    row = rule.model_dump(include={"decision", "policy", "threshold", "band"})
    return pa.Table.from_pylist([{**row, "rule": rule.id, "file": rule.dumps()}], DECISION_RULE.schema)


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
        best = con.execute("SELECT model_id, path FROM best_reward_model WHERE best").fetchall()[0]
        gold = con.execute("SELECT model_id, path FROM gold_reward_model").fetchall()[0]
        pairs = con.sql(statement("stage2/undecided_pool"), params={"bucket": run.partition})
        con.register("scores_now", run.reward_models.score(run, {"best": best[1], "gold": gold[1]}, pairs))
        names = {"best_model": best[0], "gold_model": gold[0]}
        rows = con.sql(statement("stage2/scores"), params=names).to_arrow_table()
    unscored = {f"unscored by the {m} model": rows.column(f"p_{m}").null_count for m in ("best", "gold")}
    both = {f"{m} model": rows.column(f"p_{m}").drop_null().to_numpy() for m in ("best", "gold")}
    plot = partial(histograms, both, "p(chosen better than rejected)", mark=run.settings.stage2.threshold)
    yield Rows(SCORES, rows, {**unscored, "plot": plot})


@table_asset(
    ROUTED,
    reads=[SCORES, ROUTING_RULE],
    settings=("stage1",),
    settings_seen=("judges",),
    group="stage2",
)
def routed(run: Run) -> Iterator[Rows]:
    """Pairs whose class a verdict can still change (spec 4.04), and what asking about them will cost."""
    with run.lake.connect() as con:
        rule = _rule(con, "routing_rule")
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
        ROUTED,
        rows,
        metadata | ({"plot": partial(counts, bars, "pairs the judges would be asked about")} if bars else {}),
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
    reads=[STAGE2_VOTES, GOLD, GOLD_VOTES, CLEAN_POOL],
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
    AUDIT_STRATA,
    AUDIT_SAMPLE,
    reads=[SCORES, STAGE2_VERDICTS, ROUTING_RULE, CLEAN_POOL, GOLD, WORLD_FILES],
    settings=("stage2", "seed"),
    settings_seen=("training", "people"),
    external_version=lambda settings, lake, _: f"{_calibrates(settings)} {answerable_version(settings, lake)}",
    group="stage2",
)
def audit_sample(run: Run) -> Iterator[Rows]:
    """Pairs that people look at before anything is decided: a random draw of what would be flipped, and, where
    probabilities are wanted, one of each stratum. Recorded people are asked what they have answered."""
    s = run.settings
    with run.lake.connect() as con:
        rule = _rule(con, "routing_rule")
        decide(con, rule.proposes, con.table("scores"), con.table("stage2_verdicts")).create_view("proposed")
        found = con.sql(statement("stage2/audit_candidates"), params={"policy": rule.policy})
        if (known := answerable(s, run.lake)) is not None:
            con.register("answered", known)
            found = found.join(con.table("answered"), "comparison_id", how="semi")
        found.create("candidates")
        strata = con.sql(statement("stage2/audit_strata")).to_arrow_table()
        sizes: dict[str, int] = dict.fromkeys(STRATA, 0)
        for r in strata.to_pylist():
            sizes[r["stratum"]] += r["pairs"]
        drawn = shares(sizes, s.stage2.audit if _calibrates(s) else 0)
        looks = s.stage2.decision == "guarded" and s.stage2.flip == "audited" and rule.asks != "nobody"
        sample = con.sql(
            statement("stage2/audit_sample"),
            params={"seed": str(s.seed), "flips": s.stage2.flip_audit if looks else 0, **drawn},
        ).to_arrow_table()
    yield Rows(AUDIT_STRATA, strata)
    yield Rows(AUDIT_SAMPLE, sample, {"would-be flips": pc.sum(sample["of_flips"]).as_py() or 0, **drawn})


@table_asset(
    AUDIT_ATTRIBUTES,
    reads=[AUDIT_SAMPLE, CLEAN_POOL, GOLD, SILVER, UNDECIDED, PLANTED_LABELS],
    settings=("attributes", "seed"),
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
    """People are guided by attributes, so the drawn pairs have some."""
    with run.lake.connect() as con:
        yield attributed(run, AUDIT_ATTRIBUTES, con.sql(statement("stage2/audit_drawn")))


@table_asset(
    AUDIT,
    reads=[AUDIT_SAMPLE, AUDIT_ATTRIBUTES, CLEAN_POOL, PLANTED_LABELS],
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
    """People label the sample, the same people in the same way as in stage 1; until they have, stage 2 waits."""

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
    reads=[ROUTING_RULE, BEST_REWARD_MODEL, GOLD_REWARD_MODEL, GOLD, ANNOTATION_BATCH, CLEAN_POOL, STATES, AUDIT_STRATA,
           AUDIT_SAMPLE, AUDIT, SCORES, STAGE2_VERDICTS],
    settings=("stage2", "seed"),
    settings_seen=("training",),
    external_version=lambda settings, *_: str(_calibrates(settings)),
    group="stage2",
    kinds={"duckdb", "torch"},
    pool="gpu",
)  # fmt: skip
def decision_rule(run: Run) -> Iterator[Rows]:
    """Written down before anything is decided. Flips are allowed where people bore them out. Where probabilities are wanted,
    for calibrated decisions or soft labels, they are fitted on gold of the role calibration and on half of the audit; the
    other half tests thresholds."""
    s, metadata = run.settings, {}
    with run.lake.connect() as con:
        rule = _rule(con, "routing_rule")
        if rule.guards is not None:
            said = [right for (right,) in con.execute(statement("stage2/flips_seen")).fetchall()]
            counted = con.sql("SELECT coalesce(sum(pairs), 0)::BIGINT FROM audit_strata WHERE class = 'flip'")
            looked = flip_audit(said, counted.fetchall()[0][0])
            guards = guards_after(rule.guards, s.stage2.flip, looked)
            rule = rule.model_copy(update={"guards": guards})
            metadata = {"flips": guards.why, **({} if guards.looked is None else guards.looked.model_dump())}
            run.log(guards.why)
    if _calibrates(s):
        calibration, shown = _calibrated(run, rule)
        decision = "calibrated" if s.stage2.decision == "calibrated" else rule.decision
        rule, metadata = rule.model_copy(update={"decision": decision, "calibration": calibration}), metadata | shown
    path = Path(run.lake.root).absolute() / DECISIONS.name / "rule.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(rule.dumps(), encoding="utf-8")
    part.replace(path)
    yield Rows(DECISION_RULE, _as_row(rule), {"file": str(path), **metadata})


def _calibrated(run: Run, rule: Rule) -> tuple[Calibration, dict]:
    """Both models and the judges on people's labels, in the original order."""
    from curation.calibration import Sample, TooFew, calibrate, halves

    s = run.settings
    with run.lake.connect() as con:
        best = con.execute("SELECT model_id, path FROM best_reward_model WHERE best").fetchall()[0]
        gold = con.execute("SELECT model_id, path FROM gold_reward_model").fetchall()[0]
        con.sql(statement("stage2/audit_labels")).create("audited")
        con.sql(statement("stage2/calibration_gold")).create("labels")
        pairs = con.sql(statement("stage2/labelled_pairs"))
        con.register("scores_now", run.reward_models.score(run, {"best": best[1], "gold": gold[1]}, pairs))
        votes = {"policy": rule.policy, "threshold": rule.threshold, "band": rule.band}
        rows = con.sql(statement("stage2/calibration_margins"), params=votes).to_arrow_table()
        sizes: dict[str, int] = {}
        for stratum, asked, n in con.execute("SELECT stratum, asked, pairs FROM audit_strata").fetchall():
            cell = f"{stratum}, asked" if asked else stratum
            sizes[cell] = sizes.get(cell, 0) + n
    margins = np.stack([rows.column(c).to_numpy() for c in ("best", "gold", "judged")], axis=1)
    right, drawn = (rows.column(c).to_numpy(zero_copy_only=False) for c in ("is_right", "drawn"))
    tests = drawn & ~halves(rows.column("pair_id").to_pylist(), s.seed)
    cells = [cell if cell in sizes else "" for cell in np.array(rows.column("cell").to_pylist(), object)[~tests]]
    try:
        found = calibrate(
            Sample(margins[~tests], right[~tests]),
            Sample(margins[tests], right[tests]),
            models=(best[0], gold[0]),
            alpha=s.stage2.alpha,
            alpha_flip=s.stage2.alpha_flip,
            delta=s.stage2.delta,
            threshold=s.stage2.threshold,
            band=s.stage2.band,
            weights=weights(cells, sizes) if "" not in cells else None,
        )
    except TooFew as e:
        raise dg.Failure(
            f"stage2.decision = 'calibrated' and the arm 'soft' need more labels: {e}. More come with stage2.audit or"
            " stage1.seed_people.",
            allow_retries=False,
        ) from None
    if s.stage2.flip == "never":
        kept = {name: t.model_copy(update={"flip": None}) for name, t in found.thresholds.items()}
        found = found.model_copy(update={"thresholds": kept})
    thresholds = {
        f"{side} {name}": getattr(t, side) for name, t in found.thresholds.items() for side in ("keep", "flip")
    }
    shown = {k: "abstains" if v is None else v for k, v in thresholds.items()}
    run.log(f"fitted on {found.fitted_on} labels, tested on {found.tested_on}: {shown}")
    return found, {"fitted on": found.fitted_on, "tested on": found.tested_on, **shown}


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
    """By default keep iff g=+ and (b=+ or j=+); flip iff g=- and (b=- or j=-), as far as people's labels bear that out;
    otherwise drop (spec 4, partition)."""
    with run.lake.connect() as con:
        scores, verdicts = (
            con.sql(query, params={"bucket": run.partition})
            for query in ("FROM scores WHERE bucket = $bucket", "FROM stage2_verdicts WHERE bucket = $bucket")
        )
        rows = decide(con, _rule(con, "decision_rule"), scores, verdicts).to_arrow_table()
        con.register("decided", rows)
        found = con.execute(statement("stage2/decisions_counted")).fetchall()
    yield Rows(DECISIONS, rows, {"plot": partial(counts, dict(found), "pairs")})


@table_asset(KEPT, FLIPPED, DROPPED, reads=[DECISIONS], group="stage2")
def partition(run: Run) -> Iterator[Rows]:
    """The three classes, one table each."""
    with run.lake.connect() as con:
        for table, name in ((KEPT, "keep"), (FLIPPED, "flip"), (DROPPED, "drop")):
            rows = con.sql(statement("stage2/class"), params={"bucket": run.partition, "class": name})
            yield Rows(table, rows)


def _rule(con: "duckdb.DuckDBPyConnection", table: str) -> Rule:
    """The rule of a lake, from the table of that name."""
    return loads(con.table(table).select("file").fetchall()[0][0])
