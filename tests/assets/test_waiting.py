"""A Dagster run that needs people ends well and waits, and a sensor goes on when they have answered."""

import json

import dagster as dg

from assets import stage1
from assets.definitions import build
from assets.publishing import WAITS
from assets.sensors import sensors
from cli.dagster_runs import materialize
from curation.tables import ANNOTATION_BATCH, ATTRIBUTES, CLEAN_POOL, CONTAMINATED, GOLD, HUMAN_LABELS, RESPONSE_CHECKS
from resources.lake import Lake
from resources.run import Run
from tests.support.answers import truly, write
from tests.support.lakes import fill, put, query, settings

IT0 = "iter_00"


def test_a_run_waits_for_people_and_the_sensor_goes_on_with_what_rests_on_them(tmp_path):
    lake = Lake(str(tmp_path / "lake"))
    names = [f"p{i}" for i in range(6)]
    put(lake, CLEAN_POOL, [{"pair_id": p, "chosen": f"good {p}", "rejected": f"bad {p}"} for p in names], "b00")
    put(lake, ATTRIBUTES, [{"pair_id": p} for p in names], "b00")
    put(lake, CONTAMINATED, [], "b00")
    put(lake, ANNOTATION_BATCH, [{"pair_id": p, "assigned_to": "people"} for p in names], IT0)
    people = {"backend": "files", "folder": str(tmp_path / "people"), "overlap": 0}
    made = settings(lake={"path": str(lake.root), "buckets": 1}, people=people)
    for step in (stage1.response_checks, stage1.human_labels):
        fill(step, Run(made, lake, IT0))
    definitions = build(made)
    with dg.DagsterInstance.ephemeral() as instance:

        def tick():
            context = dg.build_sensor_context(definitions=definitions, instance=instance)
            return definitions.resolve_sensor_def("people_answered").evaluate_tick(context)

        assert tick().skip_message == "nobody is asked, or somebody has still to answer"
        steps = (stage1.human_labels, stage1.gold)
        waits = materialize(definitions, steps, IT0, instance)
        assert waits is not None
        assert (waits.stopped_by, "6 of 6 answers are missing" in waits.why) == ("Waiting", True)
        (record,) = instance.get_run_records()
        run = record.dagster_run
        assert (run.status, run.tags[WAITS]) == (dg.DagsterRunStatus.SUCCESS, "people")
        events = [e.dagster_event.event_type_value for e in instance.all_logs(run.run_id) if e.dagster_event]
        assert "STEP_SKIPPED" in events and "STEP_FAILURE" not in events  # gold rests on the labels
        seen = instance.fetch_observations(dg.AssetKey(HUMAN_LABELS.name), limit=1).records[0].asset_observation
        assert seen is not None
        assert seen.metadata["waits for"].value == "people" and seen.partition == IT0
        assert lake.note(HUMAN_LABELS, IT0) is None and lake.note(GOLD, IT0) is None
        assert not tick().run_requests
        folder = tmp_path / "people" / IT0
        write(folder, [truly(json.loads(line)) for line in (folder / "batch.jsonl").read_text().splitlines()])
        (request,) = tick().run_requests
        assert (request.job_name, request.partition_key) == ("stage1_iteration", IT0)
        wanted = [key.to_user_string() for key in request.asset_selection]
        assert {"human_labels", "gold", "silver", "reward_model", "selection"} <= {*wanted}
        assert not {ANNOTATION_BATCH.name, RESPONSE_CHECKS.name} & {*wanted}  # what people were asked stays as it is
        assert tick().run_requests[0].run_key == request.run_key  # asked again, Dagster starts one run
        job = definitions.resolve_job_def(request.job_name)
        first = [key for key in request.asset_selection if key.to_user_string() in ("human_labels", "gold")]
        done = job.execute_in_process(instance=instance, partition_key=request.partition_key, asset_selection=first)
        assert done.success and WAITS not in done.dagster_run.tags
        assert query(lake, "SELECT verified_order, count(*) FROM gold GROUP BY 1") == [("original", 6)]
        assert not tick().run_requests
    assert {s.default_status for s in sensors(made) if s.name == "people_answered"} == {dg.DefaultSensorStatus.STOPPED}
