"""Partitions of a backfill run side by side, iterations one after the other, by the shipped `dagster.yaml`."""

import logging

import dagster as dg
from dagster import SubmitRunContext
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from curation.tables import DEDUPED, GOLD
from tests.support.places import ROOT

CODE = GrpcServerCodeLocationOrigin(host="localhost", port=1)  # what runs are made of, which nobody asks here
HERE = RemoteJobOrigin(RemoteRepositoryOrigin(CODE, "all"), "__ASSET_JOB")


def test_buckets_of_a_backfill_begin_together_and_iterations_in_order(tmp_path, monkeypatch):
    from dagster._daemon.run_coordinator import QueuedRunCoordinatorDaemon

    monkeypatch.chdir(tmp_path)  # the folders that it names are relative
    (tmp_path / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        for table, keys in ((GOLD, ("iter_01", "iter_02")), (DEDUPED, ("b00", "b01", "b02"))):
            for key in keys:
                tags = {"dagster/backfill": "one", "dagster/partition": key}
                chosen = frozenset({dg.AssetKey(table.name)})
                asked = dg.DagsterRun("__ASSET_JOB", asset_selection=chosen, tags=tags, remote_job_origin=HERE)
                run = instance.add_run(asked)
                instance.run_coordinator.submit_run(SubmitRunContext(run, workspace=None))
        daemon = QueuedRunCoordinatorDaemon(interval_seconds=5)
        daemon._logger = logging.getLogger("tests")
        begin = daemon._get_runs_to_dequeue(instance, instance.get_concurrency_config(), fixed_iteration_time=None)
        assert [r.tags["dagster/partition"] for r in begin] == ["iter_01", "b00", "b01", "b02"]
