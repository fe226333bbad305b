"""Sensors: what goes on by itself. All but the one that closes abandoned runs are off until somebody turns them on."""

import dagster as dg

from assets.jobs import COLLECTING, collect_audit, stage1_iteration
from assets.registry import steps
from assets.runs import close_abandoned
from curation.tables import ANNOTATION_BATCH, AUDIT, HUMAN_LABELS, SELECTION, UNANSWERED, Table
from resources.lake import Lake
from resources.settings import Settings


def sensors(settings: Settings) -> list[dg.SensorDefinition]:
    """The sensors of a configuration."""
    lake = Lake.of(settings)
    return [
        _stage1_loop(settings, lake),
        _people_answered(settings, lake),
        _collect_batches(settings, lake),
        abandoned_runs,
    ]


def _stage1_loop(settings: Settings, lake: Lake) -> dg.SensorDefinition:
    iterations = settings.partition_keys("iteration")

    @dg.asset_sensor(
        asset_key=dg.AssetKey(SELECTION.name),
        job=stage1_iteration,
        name="stage1_loop",
        minimum_interval_seconds=15,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Opens the next iteration when one closes. Off until somebody turns it on: each opening may cost"
        " people's time and paid calls.",
    )
    def stage1_loop(context: dg.SensorEvaluationContext, event: dg.EventLogEntry):
        closed = event.dagster_event.partition if event.dagster_event else None
        following = iterations[iterations.index(closed) + 1 :] if closed else []
        if not following:
            return dg.SkipReason(f"{closed} was the last iteration")
        if not lake.rows(SELECTION, closed) and not lake.rows(UNANSWERED, closed):
            left = "`assay run` makes the iterations that are left, empty, and goes on with stage 2"
            return dg.SkipReason(f"{closed} selected nothing: the stop rule holds, or no pair is left; {left}")
        if lake.note(ANNOTATION_BATCH, following[0]) is not None:
            return dg.SkipReason(f"{following[0]} is open already; a rerun of it is a person's decision")
        return dg.RunRequest(run_key=f"{following[0]}-{event.run_id}", partition_key=following[0])

    return stage1_loop


def _people_answered(settings: Settings, lake: Lake) -> dg.SensorDefinition:
    @dg.sensor(
        name="people_answered",
        jobs=[stage1_iteration, collect_audit],
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Goes on with an iteration, or with the audit, once everybody has answered or its batch is closed. Off"
        " until somebody turns it on: what follows may cost paid calls.",
    )
    def people_answered(context: dg.SensorEvaluationContext):
        from resources.annotators.backends import finished
        from resources.annotators.picked_pairs import PREFIX

        done = finished(settings, lake)
        for batch, mark in done.items():
            if batch in settings.partition_keys("iteration"):
                if lake.note(HUMAN_LABELS, batch) is None:
                    yield dg.RunRequest(
                        f"{batch} {mark}", job_name=stage1_iteration.name, partition_key=batch, asset_selection=_rest()
                    )
            elif lake.note(AUDIT) is None and not batch.startswith(PREFIX):
                yield dg.RunRequest(f"{batch} {mark}", job_name=collect_audit.name)
        if not done:
            yield dg.SkipReason("nobody is asked, or somebody has still to answer")

    return people_answered


def _rest() -> list[dg.AssetKey]:
    """The tables of an iteration from people's labels on."""
    loop = [s for s in steps() if s.group == "stage1" and s.partition == "iteration"]
    made: set[Table] = {HUMAN_LABELS}
    for step in loop:
        if made & {*step.tables, *step.needs}:
            made |= {*step.tables}
    return [dg.AssetKey(t.name) for s in loop for t in s.tables if t in made]


def _collect_batches(settings: Settings, lake: Lake) -> dg.SensorDefinition:
    @dg.sensor(
        name="collect_batches",
        jobs=list(COLLECTING.values()),
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
            yield dg.RunRequest(" ".join(names), job_name=COLLECTING[table].name, partition_key=partition or None)
        if not stages:
            yield dg.SkipReason("no batch has ended")

    return collect_batches


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
