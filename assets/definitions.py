"""The code location: every step as an asset, the loop's job and the sensors."""

from dataclasses import replace

import dagster as dg

from assets import (
    benchmark_results as benchmarks,
)
from assets import (
    data_card,
    pool,
    report,
    stage1,
    stage2,
)
from assets import (
    judge_report as panel,
)
from assets import (
    personal_data as personal,
)
from assets import (
    reference as world,
)
from assets import (
    releases as release,
)
from assets import (
    reward_models as models,
)
from assets import (
    seed as attributes,
)
from assets import (
    spending as money,
)
from assets import (
    worth as preflight,
)
from assets.judging import weighted
from assets.runs import close_abandoned
from assets.table_asset import Step, as_asset
from curation.tables import (
    ANNOTATION_BATCH,
    GOLD_VOTES,
    JUDGE_VOTES,
    JUDGE_WEIGHTS,
    SELECTION,
    STAGE2_VOTES,
    STAGE2_WEIGHTS,
    WORLD_FILES,
)
from resources import settings as config
from resources.lake import Lake
from resources.settings import Settings


def steps(settings: Settings) -> list[Step]:
    """Every step of a configuration in an order in which they can run."""
    generated = (WORLD_FILES,) if settings.world else ()
    return [
        *world.steps(settings),
        replace(pool.sources, reads=generated),
        pool.raw_pool,
        pool.deduped,
        replace(pool.benchmark_prompts, reads=generated),
        pool.clusters,
        pool.benchmark_hits,
        pool.clean_pool,
        pool.ngram_frequency,
        *_described(settings),
        attributes.attributes,
        attributes.embeddings,
        attributes.seed_selection,
        stage1.annotation_batch,
        stage1.human_labels,
        stage1.gold,
        stage1.edited_attributes,
        preflight.worth,
        stage1.judge_votes,
        panel.gold_votes,
        weighted(stage1.verdicts, JUDGE_WEIGHTS, settings),
        stage1.silver,
        stage1.reward_model,
        stage1.gold_predictions,
        stage1.retrieved,
        stage1.selection,
        stage2.best_reward_model,
        stage2.gold_reward_model,
        stage2.audit_attributes,
        stage2.audit,
        stage2.decision_rule,
        stage2.scores,
        stage2.routed,
        stage2.stage2_attributes,
        stage2.stage2_votes,
        weighted(stage2.stage2_verdicts, STAGE2_WEIGHTS, settings),
        stage2.decisions,
        stage2.partition,
        release.release_curated,
        release.release_corrected,
        release.snapshots,
        models.final_reward_model,
        benchmarks.benchmark_scores,
        benchmarks.benchmark_results,
        benchmarks.benchmark_baselines,
        panel.judge_cards,
        money.spending,
        report.report,
    ]


def _described(settings: Settings) -> list[Step]:
    if settings.personal.backend == "none":
        return [data_card.data_card]
    scan = personal.personal_data
    return [scan, replace(data_card.data_card, reads=(*data_card.data_card.reads, scan.tables[0]))]


def build(settings: Settings) -> dg.Definitions:
    """Definitions for one configuration."""
    lake = Lake.of(settings)
    iterations = settings.partition_keys("iteration")
    loop = dg.define_asset_job(
        "stage1_iteration",
        dg.AssetSelection.groups("stage1"),
        description="One iteration of stage 1; a backfill over `iteration` runs them in order.",
        tags={"assay/loop": "stage1"},
    )

    @dg.asset_sensor(
        asset_key=dg.AssetKey(SELECTION.name),
        job=loop,
        name="stage1_loop",
        minimum_interval_seconds=15,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Opens the next iteration when one closes. Off until somebody turns it on: each opening may cost"
        " people's time and paid calls.",
    )
    def stage1_loop(context: dg.SensorEvaluationContext, event: dg.EventLogEntry):
        closed = event.dagster_event.partition
        following = iterations[iterations.index(closed) + 1 :]
        if not following:
            return dg.SkipReason(f"{closed} was the last iteration")
        if not lake.rows(SELECTION, closed):
            left = "`assay run` makes the iterations that are left, empty, and goes on with stage 2"
            return dg.SkipReason(f"{closed} selected nothing: the stop rule holds, or no pair is left; {left}")
        if lake.note(ANNOTATION_BATCH, following[0]) is not None:
            return dg.SkipReason(f"{following[0]} is open already; a rerun of it is a person's decision")
        return dg.RunRequest(run_key=f"{following[0]}-{event.run_id}", partition_key=following[0])

    collecting = {
        t.name: dg.define_asset_job(
            f"collect_{t.name}",
            dg.AssetSelection.assets(t.name),
            description="Makes the votes of one partition; answers that are stored cost nothing.",
            tags={"assay/loop": "stage1"} if t.partition == "iteration" else {},
        )
        for t in (JUDGE_VOTES, GOLD_VOTES, STAGE2_VOTES)
    }

    @dg.sensor(
        name="collect_batches",
        jobs=list(collecting.values()),
        minimum_interval_seconds=600,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Makes votes again once all batches that were sent for them have ended at the provider.",
    )
    def collect_batches(context: dg.SensorEvaluationContext):
        from resources.llm.batch_calls import due
        from resources.llm.call_store import store

        with store(lake) as calls:
            stages = due(settings.judges.judges, calls)
        for stage, names in stages.items():
            table, _, partition = stage.partition("/")
            yield dg.RunRequest(" ".join(names), job_name=collecting[table].name, partition_key=partition or None)
        if not stages:
            yield dg.SkipReason("no batch has ended")

    @dg.sensor(
        name="abandoned_runs",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Marks runs as failed whose process was killed, so that nothing waits for them; Dagster then tries"
        " its own runs once more.",
    )
    def abandoned_runs(context: dg.SensorEvaluationContext):
        closed = close_abandoned(context.instance)
        return dg.SkipReason(f"closed {', '.join(closed)}" if closed else "every run has its process")

    return dg.Definitions(
        assets=[as_asset(s, settings, lake) for s in steps(settings)],
        jobs=[loop, *collecting.values()],
        sensors=[stage1_loop, collect_batches, abandoned_runs],
        executor=dg.multiprocess_executor.configured({"max_concurrent": settings.lake.threads}),
    )


@dg.definitions
def defs() -> dg.Definitions:
    return build(config.current())
