"""Stage 1, one iteration a partition (spec 3).

annotation_batch -> response_checks -> human_labels -> gold -> judge_votes -> verdicts -> silver -> reward_model ->
gold_predictions -> retrieved -> selection, and `selection` of one iteration opens the batch of the next. Dagster has no
cycle between assets, so that one edge is read (`earlier`) and not declared; an iteration whose predecessor is missing
refuses to start. Iteration 0 is the seed round.
"""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import dagster as dg
import pyarrow as pa

from assets.judging import (
    EXAMPLE_CHECKS,
    GOLD_IS_NOT_JUDGED,
    agreed,
    ask_panel,
    asked_again,
    examples_for,
    gold_index,
    verdicts_of,
    whole_enough,
)
from assets.registry import steps
from assets.table_asset import Check, Rows, table_asset
from curation.identity import digest
from curation.selection import draw, select
from curation.stopping import no_more_to_gain
from curation.tables import (
    ANNOTATION_BATCH,
    ATTRIBUTES,
    CLEAN_POOL,
    CONTAMINATED,
    EDITED_ATTRIBUTES,
    EMBEDDINGS,
    GOLD,
    GOLD_PREDICTIONS,
    GOLD_VOTES,
    HUMAN_LABELS,
    JUDGE_VOTES,
    JUDGE_WEIGHTS,
    PLANTED_LABELS,
    REFUSED_ANSWERS,
    RESPONSE_CHECKS,
    RETRIEVED,
    REWARD_MODEL,
    SEED_SELECTION,
    SELECTION,
    SILVER,
    STATES,
    UNANSWERED,
    UNDECIDED,
    VERDICTS,
)
from curation.verdicts import VERSION
from report.plots import histograms, training
from resources.annotators.backends import answered
from resources.lake import Lake, label
from resources.retrieval.embedder import TEXT_VERSION
from resources.run import Run
from resources.settings import Settings
from resources.settings.models import HOW_CALLED
from sql import statement

if TYPE_CHECKING:
    import duckdb

FOUND = pa.schema(
    [("pair_id", pa.string()), ("query_pair", pa.string()), ("rank", pa.int64()), ("similarity", pa.float64())]
)
NOTHING_CONTAMINATED = Check(
    "nothing_contaminated",
    statement("checks/nothing_contaminated"),
    "no flagged pair may enter gold (spec 0.10)",
    reads=(CONTAMINATED,),
)


def _predecessor_is_open(settings: Settings, lake: Lake, iteration: str | None) -> str | None:
    """The iteration before must be up to date as a whole: a batch that rests on a selection which is itself due to be
    made again would ask people and judges about the wrong pairs."""
    keys = settings.partition_keys("iteration")
    for key in keys[: keys.index(iteration or keys[0])][-1:]:
        for step in (s for s in steps() if s.group == "stage1" and s.partition == "iteration"):
            if why := step.changed(settings, lake, key):
                return f"{label(step.tables[0], key)} is not up to date ({why}). Run {key} again first."
    return None


@table_asset(
    ANNOTATION_BATCH,
    reads=[CLEAN_POOL, ATTRIBUTES, SEED_SELECTION],
    reads_earlier=[SELECTION, ANNOTATION_BATCH, UNANSWERED],
    settings=("stage1", "seed"),
    blocked=_predecessor_is_open,
    group="stage1",
    checks={
        ANNOTATION_BATCH: [
            Check(
                "never_twice",
                statement("checks/never_twice"),
                "a pair enters one batch only (spec 3.14), but for what a closed batch left unanswered",
            ),
            Check(
                "one_desk_a_cluster",
                statement("checks/one_desk_a_cluster"),
                "people and judges never share a conversation cluster (spec O-07)",
            ),
            NOTHING_CONTAMINATED,
        ]
    },
)
def annotation_batch(run: Run) -> Iterator[Rows]:
    """The seed, or what the last iteration selected; people take what their last batch left, what is random and then the
    priority cells."""
    s, earlier = run.settings.stage1, run.earlier()
    with run.lake.connect() as con:
        if not earlier:
            batch = con.sql(statement("stage1/batch_from_seed"))
        else:
            batch = con.sql(
                statement("stage1/batch_from_selection"),
                params={
                    "iteration": run.partition,
                    "previous": earlier[-1],
                    "seed": f"{run.settings.seed}/{run.partition}",
                    "people": round(s.batch * s.people_share),
                    "policy": s.policy,
                },
            )
        batch = batch.to_arrow_table()
    counts = {f"{d} ({w})": n for (d, w), n in _count(batch, "assigned_to", "why").items()}
    yield Rows(ANNOTATION_BATCH, batch, counts)


def _checker(settings: Settings, lake: Lake, _: str | None) -> str:
    """Who checks, and what of its configuration decides the answers."""
    judge = next((j for j in settings.judges.judges if j.name == settings.people.checked_by), None)
    return "" if judge is None else digest([judge.model_dump_json(exclude=set(HOW_CALLED))])


@table_asset(
    RESPONSE_CHECKS,
    reads=[ANNOTATION_BATCH, CLEAN_POOL, ATTRIBUTES, PLANTED_LABELS],
    settings=("seed",),
    settings_seen=("people", "judges"),
    external_version=_checker,
    group="stage1",
    kinds={"openai"},
    pool="llm",
    retry_reason=asked_again(RESPONSE_CHECKS),
    checks={
        RESPONSE_CHECKS: [
            Check(
                "objective_pairs_alone",
                statement("checks/objective_pairs_alone"),
                "only objective pairs of people are checked, each response by itself (spec 2.06)",
            )
        ]
    },
)
def response_checks(run: Run) -> Iterator[Rows]:
    """One judge looks at each response to an objective pair alone, before people see the pair; off unless
    `people.checked_by` names the judge."""
    name = label(RESPONSE_CHECKS, run.partition)
    made = run.judges.checker(run.settings, run.lake, name)
    if made is None:
        yield Rows(RESPONSE_CHECKS, RESPONSE_CHECKS.schema.empty_table(), {"checked by": "nobody"})
        return
    with run.lake.connect() as con:
        here = {"iteration": run.partition}
        targets = con.sql(statement("stage1/responses_to_check"), params=here).to_arrow_table()
    bill = made.estimate(targets) if targets.num_rows else None
    shown = agreed(run, [bill], name)
    rows = made.check(targets)
    accepted = {j.name for j in run.settings.judges.judges if j.accept_missing}
    lost = whole_enough(run.lake, made.ends, accepted)
    yield Rows(RESPONSE_CHECKS, rows, shown | _count(rows, "answer"), {"missing": lost})


@table_asset(
    HUMAN_LABELS,
    REFUSED_ANSWERS,
    UNANSWERED,
    reads=[ANNOTATION_BATCH, CLEAN_POOL, ATTRIBUTES, RESPONSE_CHECKS, PLANTED_LABELS],
    settings=("people", "seed"),
    settings_seen=("judges",),  # whose names are no person's
    external_version=answered,
    group="stage1",
    kinds={"python"},
    pool="people",
)
def human_labels(run: Run) -> Iterator[Rows]:
    """Simulated, recorded, or people at the desk; then the step stops until their answers are there."""

    with run.lake.connect() as con:
        batch = con.sql(statement("stage1/people_batch"), params={"iteration": run.partition}).to_arrow_table()
    people = run.annotators.people(run.settings, run.lake)
    labels, left = people.label(batch, run.key), people.unanswered(run.key)
    counts = {"pairs asked": batch.num_rows, "labels": labels.num_rows, "pairs left unanswered": left.num_rows}
    yield Rows(HUMAN_LABELS, labels, counts)
    yield Rows(REFUSED_ANSWERS, people.refused(run.key))
    yield Rows(UNANSWERED, left)


@table_asset(
    GOLD,
    reads=[HUMAN_LABELS, ANNOTATION_BATCH],
    reads_earlier=[GOLD],
    settings=("gold", "seed"),
    group="stage1",
    checks={
        GOLD: [
            Check(
                "human_evidence",
                statement("checks/human_evidence"),
                "gold rests on a human verdict event, never on a judge (spec 2.04)",
            ),
            NOTHING_CONTAMINATED,
            Check(
                "one_role_a_cluster",
                statement("checks/one_role_a_cluster"),
                "a conversation cluster has one role in all iterations (spec O-06)",
            ),
        ]
    },
)
def gold(run: Run) -> Iterator[Rows]:
    """Majority of the people's verdicts; the human order is the truth whatever the original label said (spec O-12)."""
    shares = run.settings.gold.model_dump()
    with run.lake.connect() as con:
        rows = con.sql(
            statement("stage1/gold"), params={"iteration": run.partition, "seed": str(run.settings.seed), **shares}
        ).to_arrow_table()
    yield Rows(GOLD, rows, {**_count(rows, "verified_order"), **_count(rows, "role")})


@table_asset(
    EDITED_ATTRIBUTES,
    reads=[HUMAN_LABELS, GOLD, CLEAN_POOL, ATTRIBUTES],
    settings=("embedding",),
    version=TEXT_VERSION,
    group="stage1",
)
def edited_attributes(run: Run) -> Iterator[Rows]:
    """People see the attributes beside the pair and may correct them (spec 1.07)."""
    from resources.retrieval.embedder import embed

    with run.lake.connect() as con:
        edited = con.sql(statement("stage1/edited_attributes"), params={"iteration": run.partition}).to_arrow_table()
    made = (batch.cast(EMBEDDINGS.schema) for batch in embed(run.settings.embedding, edited.to_batches()))
    vectors = pa.Table.from_batches(made, EMBEDDINGS.schema)
    for name in ("vector", "embedder"):
        edited = edited.append_column(name, vectors.column(name))
    yield Rows(
        EDITED_ATTRIBUTES,
        edited.drop_columns("conversation"),
        {"gold pairs with corrected attributes": edited.num_rows},
    )


@table_asset(
    JUDGE_VOTES,
    reads=[ANNOTATION_BATCH, CLEAN_POOL, ATTRIBUTES, EMBEDDINGS, PLANTED_LABELS],
    reads_upto=[GOLD, EDITED_ATTRIBUTES],
    settings=("judges", "embedding", "stage1", "seed"),
    group="stage1",
    kinds={"openai", "lancedb"},
    pool="llm",
    retry_reason=asked_again(JUDGE_VOTES),
    checks={JUDGE_VOTES: [*EXAMPLE_CHECKS, GOLD_IS_NOT_JUDGED]},
)
def judge_votes(run: Run) -> Iterator[Rows]:
    """Every judge, both orders, with gold neighbours of the target as examples (spec 3.08, 3.11): as many as the k rule
    gives for the target's own p, all that are allowed where no model has seen it (spec O-11)."""
    batch = {"iteration": run.partition, "k_max": run.settings.stage1.k_max}
    with run.lake.connect() as con:
        targets = con.sql(statement("stage1/judge_batch"), params=batch).to_arrow_table()
        with gold_index(run, con, upto=run.key) as index:
            examples = examples_for(run, con, targets, index)
        votes, shown, footer = ask_panel(run, targets, examples, JUDGE_VOTES)
    yield Rows(JUDGE_VOTES, votes, shown, footer)


@table_asset(
    VERDICTS,
    JUDGE_WEIGHTS,
    reads=[JUDGE_VOTES, CLEAN_POOL],
    reads_upto=[GOLD, GOLD_VOTES],
    settings=("judges",),
    version=VERSION,
    group="stage1",
)
def verdicts(run: Run) -> Iterator[Rows]:
    """Majority inside each judge, then one voice a judge; ties and missing quorums decide nothing (spec 3.10). Or, by
    configuration, the judges' weights."""
    with run.lake.connect() as con:
        query = "SELECT * EXCLUDE (iteration) FROM judge_votes WHERE iteration = $iteration"
        votes = con.sql(query, params={"iteration": run.partition})
        rows, weights = verdicts_of(run, con, votes.to_arrow_table(), upto=run.key)
    yield Rows(VERDICTS, rows, _count(rows, "verdict"))
    yield Rows(JUDGE_WEIGHTS, weights)


@table_asset(
    SILVER,
    UNDECIDED,
    reads=[VERDICTS, GOLD, HUMAN_LABELS, ANNOTATION_BATCH],
    group="stage1",
    checks={
        SILVER: [
            Check(
                "apart_from_gold",
                statement("checks/apart_from_gold"),
                "silver and gold share no conversation cluster (spec O-07)",
            )
        ]
    },
)
def silver(run: Run) -> Iterator[Rows]:
    """A pair that somebody could not decide leaves stage 1 for good (spec 2.08); one that nobody was able to answer,
    for want of a recorded label or a quorum, stays in the pool for stage 2."""
    with run.lake.connect() as con:
        rows, undecided = (
            con.sql(statement(name), params={"iteration": run.partition}).to_arrow_table()
            for name in ("stage1/silver", "stage1/undecided")
        )
    yield Rows(SILVER, rows, _count(rows, "verified_order"))
    yield Rows(UNDECIDED, undecided, _count(undecided, "desk"))


def has_pairs(name: str, pairs: "duckdb.DuckDBPyRelation", validation: "duckdb.DuckDBPyRelation") -> None:
    """Nothing to learn from, or to choose a checkpoint on, is said before a training begins.

    Raises:
        dagster.Failure: there is none; the message says of what, and where to look.
    """
    n, checked = (len(some.limit(1).fetchall()) for some in (pairs, validation))
    if n and checked:
        return
    what = "no pair was decided, so there is nothing to learn from" if not n else "no gold pair has the role validation"
    raise dg.Failure(
        f'{name} is not trained: {what}. What people said: assay sql "SELECT verdict, count(*) FROM human_labels GROUP BY'
        ' ALL"; what the judges said: assay sql "SELECT verdict, reason, count(*) FROM verdicts GROUP BY ALL". More'
        " pairs for people: stage1.seed_people; for judges: stage1.seed_judges.",
        allow_retries=False,
    )


@table_asset(
    REWARD_MODEL,
    reads=[CLEAN_POOL, STATES],
    reads_upto=[SILVER, GOLD, ANNOTATION_BATCH],
    settings=("training", "seed"),
    group="stage1",
    kinds={"deepspeed", "torch"},
    pool="gpu",
)
def reward_model(run: Run) -> Iterator[Rows]:
    """Trained on all silver so far and on nothing else; gold only chooses the checkpoint (spec 3.02, 3.03). Without
    judges, on people's pairs."""
    with run.lake.connect() as con:
        pairs, validation = (
            con.sql(statement(name), params={"iteration": run.partition})
            for name in ("stage1/loop_training_pairs", "stage1/loop_validation_pairs")
        )
        has_pairs(label(REWARD_MODEL, run.partition), pairs, validation)
        row = run.reward_models.train(
            run, kind="loop", pairs=pairs, validation=validation, recipe=run.settings.training.loop
        )
    numbers = {k: row[k] for k in ("pairs", "steps", "train_loss", "validation_accuracy", "seconds")}
    numbers["plot"] = partial(training, run.lake.model(row["path"]))
    yield Rows(REWARD_MODEL, pa.Table.from_pylist([row], REWARD_MODEL.schema), numbers)


@table_asset(
    GOLD_PREDICTIONS,
    reads=[REWARD_MODEL, CLEAN_POOL, STATES],
    reads_upto=[GOLD],
    settings=("stage1", "training"),
    group="stage1",
    kinds={"torch"},
    pool="gpu",
    checks={
        GOLD_PREDICTIONS: [
            Check(
                "open_roles_only",
                statement("checks/open_roles_only"),
                "the loop never looks at gold of role calibration or test (spec O-06)",
            )
        ]
    },
)
def gold_predictions(run: Run) -> Iterator[Rows]:
    """p in the human order; where it is low the model is wrong or unsure, and asks for more of the same."""

    with run.lake.connect() as con:
        here = {"iteration": run.partition}
        query = "SELECT model_id, path FROM reward_model WHERE iteration = $iteration"
        [(model_id, folder)] = con.execute(query, parameters=here).fetchall()
        gold_pairs = con.sql(statement("stage1/open_gold_pairs"), params=here)
        con.register("scores_now", run.reward_models.score(run, {"loop": folder}, gold_pairs))
        asked = here | {"model": model_id, "k_max": run.settings.stage1.k_max}
        con.sql(statement("stage1/gold_predictions"), params=asked).create("predictions")
        rows = con.sql("FROM predictions ORDER BY pair_id").to_arrow_table()
        accuracy = con.execute("SELECT coalesce(avg(hit(p - 0.5)), 0)::DOUBLE FROM predictions").fetchall()[0][0]
        by_role = con.execute("SELECT role, list(p) FROM predictions GROUP BY role ORDER BY role").fetchall()
    plot = partial(histograms, dict(by_role), "p in the human order: left of the line the model is wrong", mark=0.5)
    yield Rows(GOLD_PREDICTIONS, rows, {"accuracy": accuracy, "plot": plot})


@table_asset(
    RETRIEVED,
    reads=[GOLD_PREDICTIONS, CLEAN_POOL, ATTRIBUTES, EMBEDDINGS],
    reads_upto=[ANNOTATION_BATCH, GOLD, EDITED_ATTRIBUTES],
    settings=("stage1",),
    group="stage1",
    kinds={"lancedb"},
    checks={
        RETRIEVED: [
            Check(
                "asked_by_open_gold",
                statement("checks/asked_by_open_gold"),
                "gold of role calibration or test retrieves nothing (spec O-06)",
            ),
            Check(
                "nobody_was_asked_yet",
                statement("checks/nobody_was_asked_yet"),
                "retrieval finds only pairs that nobody was asked about (spec 3.05)",
            ),
        ]
    },
)
def retrieved(run: Run) -> Iterator[Rows]:
    """Gold errors -> pool: each gold pair asks for k of its nearest unlabelled pairs; a candidate wanted by several
    belongs to the nearest of them (spec 3.05, O-11)."""

    with run.lake.connect() as con:
        size = _dimensions(con)
        candidates = con.sql(statement("stage1/candidates"), params={"iteration": run.partition})
        index = run.vectors.index(run.lake, f"pool_{run.partition}", candidates.to_arrow_reader(10_000), size)
        everything = not run.settings.stage1.only_errors
        queries = con.execute(
            statement("stage1/retrieval_queries"), parameters={"iteration": run.partition, "everything": everything}
        ).fetchall()
        found = [
            (pair_id, query, rank, similarity)
            for query, k, vector, cluster_id in queries
            for rank, (pair_id, similarity) in enumerate(index.nearest(vector, k, cluster_id), start=1)
        ]
        con.register("found", _columns(FOUND, found))
        rows = con.sql(statement("stage1/retrieved"), params={"iteration": run.partition}).to_arrow_table()
    yield Rows(RETRIEVED, rows, {"queries": len(queries), "candidates searched": len(index)})


@table_asset(
    SELECTION,
    reads=[RETRIEVED, REWARD_MODEL, CLEAN_POOL, EMBEDDINGS, STATES],
    reads_upto=[ANNOTATION_BATCH, SILVER, GOLD_PREDICTIONS],
    settings=("stage1", "training", "seed"),
    group="stage1",
    kinds={"torch"},
    pool="gpu",
    checks={
        SELECTION: [
            Check(
                "nobody_was_asked_yet",
                statement("checks/nobody_was_asked_yet"),
                "a pair is selected once (spec 3.14)",
            ),
            Check(
                "chance_is_recorded",
                statement("checks/chance_is_recorded"),
                "every pair carries the probability of its draw",
            ),
        ]
    },
)
def selection(run: Run) -> Iterator[Rows]:
    """A random share of all that may be labelled, the rest by the policy; nothing once the stop rule holds."""

    s, seed = run.settings.stage1, f"{run.settings.seed}/{run.partition}"
    with run.lake.connect() as con:
        here = {"iteration": run.partition}
        con.sql(statement("stage1/candidates"), params=here).create_view("candidates")
        candidates = con.sql(statement("stage1/open_candidates"), params=here).to_arrow_table()
        before_after = con.execute(statement("stage1/gains"), parameters=here).fetchall()
        gains = [after - before for _, before, after in before_after]
        grew = con.execute(statement("stage1/grew"), parameters=here).fetchall()[0][0]
        since = [(before, after) for key, before, after in before_after if key >= grew]
        stopped = s.stop_when is not None and no_more_to_gain(since, **s.stop_when.model_dump())
        if stopped:
            candidates = candidates.slice(0, 0)
        if s.policy == "d_optimal":
            candidates = _with_features(run, con, candidates, seed)
        picked = select(s.policy, candidates, s.batch, round(s.batch * s.random_share), seed)
        con.register("picked", picked)
        texts = con.sql(statement("stage1/texts_of_picked"))
        con.register("scored", run.reward_models.score(run, {"loop": _model(run, con)}, texts))
        rows = con.sql(statement("stage1/selection")).to_arrow_table()
    facts = {"candidates": candidates.num_rows, "stopped": stopped, **_count(rows, "why")}
    if gains:
        facts["gain on the same gold"] = gains[-1]
    yield Rows(SELECTION, rows, facts)


def _with_features(run: Run, con: "duckdb.DuckDBPyConnection", candidates: pa.Table, seed: str) -> pa.Table:
    """A part of the candidates drawn at random, and all silver so far, as the loop's model sees them; what is beyond the
    part stays without p, for the random share alone."""
    looked_at = draw(candidates, run.settings.stage1.d_optimal_candidates, f"{seed}/candidates")
    con.register("looked_at", looked_at)
    pairs = con.sql(statement("stage1/texts_to_look_at"), params={"iteration": run.partition})
    con.register("seen", run.reward_models.features(run, _model(run, con), pairs))
    con.register("open_pairs", candidates)
    return con.sql(statement("stage1/features")).to_arrow_table()


def _model(run: Run, con: "duckdb.DuckDBPyConnection") -> str:
    """Folder of the iteration's reward model."""
    query = "SELECT path FROM reward_model WHERE iteration = $iteration"
    return con.execute(query, parameters={"iteration": run.partition}).fetchall()[0][0]


def _columns(schema: pa.Schema, rows: list[tuple]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema)


def _dimensions(con: "duckdb.DuckDBPyConnection") -> int:
    found = con.execute("SELECT len(vector) FROM embeddings LIMIT 1").fetchall()
    return found[0][0] if found else 1


def _count(rows: pa.Table, *columns: str) -> dict:
    counted = rows.group_by(list(columns)).aggregate([([], "count_all")]).to_pylist()
    return {(r[columns[0]] if len(columns) == 1 else tuple(r[c] for c in columns)): r["count_all"] for r in counted}
