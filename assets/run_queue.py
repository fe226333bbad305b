"""How runs that the UI, a sensor or a backfill asks for wait for each other."""

import dagster as dg
from dagster import QueuedRunCoordinator, SubmitRunContext

from assets.jobs import LOOP
from curation.tables import TABLES

OF_THE_LOOP = frozenset(dg.AssetKey(t.name) for t in TABLES.values() if t.partition == "iteration")


class LoopInOrder(QueuedRunCoordinator):
    """Dagster's queue, in which a run of any part of the loop bears the tag of the loop, whoever asks for it: an iteration
    rests on the one before, so `dagster.yaml` lets them run one at a time, in the order in which they were asked for. Other
    partitions of a backfill run side by side."""

    def submit_run(self, context: SubmitRunContext) -> dg.DagsterRun:
        run = context.dagster_run
        if OF_THE_LOOP & set(run.asset_selection or ()):
            self._instance.add_run_tags(run.run_id, LOOP)
        return super().submit_run(context)
