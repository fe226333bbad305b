"""Stage 2: two reward models and, where they can still change the outcome, the judges decide over every pair that
stage 1 left (spec 4). Nobody is asked before both models have scored: the partition is the same and the calls are
fewer (spec 4, invariant 3)."""

from collections.abc import Iterator

import pyarrow as pa

from curation.gold_roles import OPEN, TRAINED_ON, sql_list
from curation.partition import rule_id
from resources.tables import (
    BEST_RM,
    CLEAN_POOL,
    DECISIONS,
    DROPPED,
    EMBEDDINGS,
    FLIPPED,
    GOLD,
    GOLD_RM,
    KEPT,
    REWARD_MODEL,
    ROUTED,
    SCORES,
    SILVER,
    STAGE2_ATTRIBUTES,
    STAGE2_VERDICTS,
    STAGE2_VOTES,
    STAGE2_WEIGHTS,
    UNDECIDED,
)
from sql import statement

from .attributes import attributed
from .judging import ask_panel, examples_for, gold_index, prompt_checks, verdicts_of
from .plots import counts, histograms
from .table_asset import Check, Rows, Run, table_asset


@table_asset(
    BEST_RM,
    reads=[REWARD_MODEL, GOLD, CLEAN_POOL],
    settings=("training",),
    group="stage2",
    kinds={"torch"},
    pool="gpu",
)
def best_reward_model(run: Run) -> Iterator[Rows]:
    """Every champion on the final gold, since accuracies on a growing set do not compare; ties go to the later
    iteration (spec O-09)."""
    from resources.trainer import score

    with run.lake.connect() as con:
        models = con.sql("SELECT iteration, model_id, path FROM reward_model ORDER BY iteration").fetchall()
        labels = f"SELECT pair_id, \"order\" FROM gold WHERE role IN {sql_list(OPEN)}"
        names = {iteration: path for iteration, _, path in models}
        scores = score(run, names, con.sql(statement("ordered_pairs").format(labels=labels)))
    rows = []
    for iteration, model_id, path in models:
        margins = [
            c - r
            for c, r in zip(
                scores.column(f"r_chosen_{iteration}").to_pylist(),
                scores.column(f"r_rejected_{iteration}").to_pylist(),
                strict=True,
            )
            if c is not None
        ]
        right = sum((m > 0) + 0.5 * (m == 0) for m in margins)
        rows.append(
            {"iteration": iteration, "model_id": model_id, "path": path, "pairs": len(margins),
             "accuracy": right / len(margins) if margins else 0.0, "best": False}
        )  # fmt: skip
    best = max(rows, key=lambda r: (r["accuracy"], r["iteration"]))
    best["best"] = True
    yield Rows(
        BEST_RM, pa.Table.from_pylist(rows, BEST_RM.schema), {"best": best["iteration"], "accuracy": best["accuracy"]}
    )


@table_asset(
    GOLD_RM,
    reads=[GOLD, CLEAN_POOL],
    settings=("training", "seed"),
    group="stage2",
    kinds={"deepspeed", "torch"},
    pool="gpu",
)
def gold_reward_model(run: Run) -> Iterator[Rows]:
    """Trained on people's labels and nothing else, its checkpoint chosen on the validation fold (spec 4.06, O-06)."""
    from resources.trainer import train

    with run.lake.connect() as con:
        pairs, validation = (
            con.sql(
                statement("ordered_pairs").format(
                    labels=f"SELECT pair_id, \"order\" FROM gold WHERE role IN {sql_list(roles)}"
                )
            )
            for roles in (TRAINED_ON, ("validation",))
        )
        row = train(run, kind="gold", pairs=pairs, validation=validation, recipe=run.settings.training.gold)
    numbers = {k: row[k] for k in ("pairs", "steps", "train_loss", "validation_accuracy", "seconds")}
    yield Rows(GOLD_RM, pa.Table.from_pylist([row], GOLD_RM.schema), numbers)


@table_asset(
    SCORES,
    reads=[CLEAN_POOL, BEST_RM, GOLD_RM, GOLD, SILVER, UNDECIDED],
    settings=("training",),
    group="stage2",
    kinds={"torch"},
    pool="gpu",
    checks={
        SCORES: [
            Check(
                "exactly_the_unlabelled",
                "SELECT pair_id FROM clean_pool c WHERE bucket = getvariable('partition') AND (pair_id IN (SELECT"
                " pair_id FROM new)) = (pair_id IN (SELECT pair_id FROM verified UNION SELECT pair_id FROM undecided))",
                "stage 2 decides every pair stage 1 did not, and no other (spec O-21)",
            )
        ]
    },
)
def scores(run: Run) -> Iterator[Rows]:
    """Both models in one pass over the bucket (spec 4.03)."""
    from resources.trainer import score

    with run.lake.connect() as con:
        best = con.sql("SELECT model_id, path FROM best_reward_model WHERE best").fetchall()[0]
        gold = con.sql("SELECT model_id, path FROM gold_reward_model").fetchall()[0]
        pairs = con.sql(statement("undecided_pool").format(bucket=run.partition))
        con.register("scores_now", score(run, {"best": best[1], "gold": gold[1]}, pairs))
        rows = con.sql(
            statement("scores"), params={"best_model": best[0], "gold_model": gold[0]}
        ).to_arrow_table()
    unscored = rows.num_rows - rows.column("unscored").null_count
    both = {f"{m} model": rows.column(f"p_{m}").drop_null().to_pylist() for m in ("best", "gold")}
    plot = histograms(both, "p(chosen better than rejected)", mark=run.settings.stage2.threshold)
    yield Rows(SCORES, rows, {"unscored": unscored, "plot": plot})


@table_asset(ROUTED, reads=[SCORES], settings=("stage2", "stage1"), group="stage2")
def routed(run: Run) -> Iterator[Rows]:
    """Pairs whose class a verdict can still change (spec 4.04)."""
    with run.lake.connect() as con:
        yield Rows(ROUTED, con.sql(_with_rule(run, "routed")))


@table_asset(
    STAGE2_ATTRIBUTES, reads=[ROUTED, CLEAN_POOL], settings=("attributes", "seed"), group="stage2", kinds={"openai"},
    pool="llm",
    checks={STAGE2_ATTRIBUTES: [Check(
        "routed_only", "SELECT pair_id FROM new WHERE pair_id NOT IN (SELECT pair_id FROM routed)",
        "no attribute call for a confident pair (spec 4.05)",
    )]},
)  # fmt: skip
def stage2_attributes(run: Run) -> Iterator[Rows]:
    """Attributes for the judges' prompts."""
    with run.lake.connect() as con:
        pairs = con.sql(
            "SELECT pair_id, comparison_id, conversation, chosen, rejected FROM clean_pool"
            f" WHERE bucket = '{run.partition}' AND pair_id IN (SELECT pair_id FROM routed WHERE bucket = '{run.partition}')"
            " ORDER BY pair_id"
        )
        yield attributed(run, STAGE2_ATTRIBUTES, pairs)


@table_asset(
    STAGE2_VOTES,
    reads=[ROUTED, CLEAN_POOL, STAGE2_ATTRIBUTES, GOLD, EMBEDDINGS],
    settings=("judges", "seed"),
    group="stage2",
    kinds={"openai", "lancedb"},
    pool="llm",
    checks={STAGE2_VOTES: prompt_checks("SELECT pair_id, role FROM gold")},
)
def stage2_votes(run: Run) -> Iterator[Rows]:
    """The same panel as in stage 1, with gold neighbours and no people."""
    with run.lake.connect() as con:
        targets = con.sql(
            "SELECT pair_id, comparison_id, cluster_id, conversation, chosen, rejected, category, objectivity,"
            " controversiality, desired, guideline, 0::BIGINT AS priority, k"
            " FROM routed JOIN clean_pool USING (pair_id, bucket) JOIN stage2_attributes USING (pair_id, bucket)"
            " WHERE bucket = ? ORDER BY pair_id",
            params=[run.partition],
        ).to_arrow_table()
        last = run.settings.partition_keys("iteration")[-1]
        with gold_index(run, con, upto=last) as index:
            examples = examples_for(run, con, targets, index)
        votes, shown = ask_panel(run, targets, examples, STAGE2_VOTES)
    yield Rows(STAGE2_VOTES, votes, shown)


@table_asset(STAGE2_VERDICTS, reads=[STAGE2_VOTES], settings=("judges",), group="stage2")
def stage2_verdicts(run: Run) -> Iterator[Rows]:
    """The same way from votes to verdicts as in stage 1; weights rest on the gold of all iterations."""
    last = run.settings.partition_keys("iteration")[-1]
    with run.lake.connect() as con:
        votes = con.sql("SELECT * EXCLUDE (bucket) FROM stage2_votes WHERE bucket = ?", params=[run.partition])
        rows, weights = verdicts_of(run, con, votes.to_arrow_table(), upto=last)
    yield Rows(STAGE2_VERDICTS, rows)
    if weights is not None:
        yield Rows(STAGE2_WEIGHTS, weights)


@table_asset(
    DECISIONS,
    reads=[SCORES, ROUTED, STAGE2_VERDICTS],
    settings=("stage2",),
    group="stage2",
    checks={
        DECISIONS: [
            Check(
                "nothing_lost",
                "SELECT pair_id FROM scores WHERE bucket = getvariable('partition')"
                " AND pair_id NOT IN (SELECT pair_id FROM new)",
                "kept + flipped + dropped = input (spec 4, invariant 1)",
            ),
            Check(
                "asked_only_when_it_matters",
                "SELECT pair_id FROM new WHERE (j <> '') <> (pair_id IN (SELECT pair_id FROM routed))",
                "a verdict exists exactly for the routed pairs",
            ),
        ]
    },
)
def decisions(run: Run) -> Iterator[Rows]:
    """keep iff g=+ and (b=+ or j=+); flip iff g=- and (b=- or j=-); otherwise drop (spec 4, partition)."""
    with run.lake.connect() as con:
        rows = con.sql(_with_rule(run, "decisions")).to_arrow_table()
        con.register("decided", rows)
        found = con.sql("SELECT class || ': ' || reason, count(*) FROM decided GROUP BY 1 ORDER BY 1").fetchall()
    yield Rows(DECISIONS, rows, {"plot": counts(dict(found), "pairs")})


@table_asset(KEPT, FLIPPED, DROPPED, reads=[DECISIONS], group="stage2")
def partition(run: Run) -> Iterator[Rows]:
    """The three classes, one table each."""
    with run.lake.connect() as con:
        for table, name in ((KEPT, "keep"), (FLIPPED, "flip"), (DROPPED, "drop")):
            rows = con.sql(
                f"SELECT pair_id, route, reason FROM decisions WHERE bucket = '{run.partition}' AND class = '{name}'"
            )
            yield Rows(table, rows)


def _with_rule(run: Run, name: str) -> str:
    """The statement with thresholds, policy and bucket in place; all come from the validated configuration."""
    s = run.settings
    return statement(name).format(
        bucket=run.partition,
        policy=s.stage2.policy,
        threshold=s.stage2.threshold,
        band=s.stage2.band,
        k_max=s.stage1.k_max,
        rule=rule_id(s.stage2.policy, s.stage2.threshold, s.stage2.band),
    )
