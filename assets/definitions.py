"""The code location: every step as an asset, the loop's job and the sensors."""

import dagster as dg

from assets.publishing import as_asset
from assets.registry import steps
from assets.runs import close_abandoned
from curation.tables import (
    ANNOTATION_BATCH,
    GOLD_VOTES,
    JUDGE_VOTES,
    SELECTION,
    STAGE2_VOTES,
)
from resources import settings as config
from resources.lake import Lake
from resources.settings import Settings


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
        assets=[as_asset(s, settings, lake) for s in steps()],
        jobs=[loop, *collecting.values()],
        sensors=[stage1_loop, collect_batches, abandoned_runs],
        executor=dg.multiprocess_executor.configured({"max_concurrent": settings.lake.threads}),
    )


@dg.definitions
def defs() -> dg.Definitions:
    return build(config.current())
