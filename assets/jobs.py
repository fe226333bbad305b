"""Jobs that people and sensors launch; what they are made of is the graph's."""

import dagster as dg

from curation.tables import AUDIT, GOLD_VOTES, JUDGE_VOTES, RESPONSE_CHECKS, STAGE2_VOTES, Table

LOOP = {"assay/loop": "stage1"}  # tag of runs of the loop: one at a time

stage1_iteration = dg.define_asset_job(
    "stage1_iteration",
    dg.AssetSelection.groups("stage1"),
    description="One iteration of stage 1; a backfill over `iteration` runs them in order.",
    tags=LOOP,
)


def _collecting(votes: Table):
    return dg.define_asset_job(
        f"collect_{votes.name}",
        dg.AssetSelection.assets(votes.name),
        description="Makes the answers of one partition; answers that are stored cost nothing.",
        tags=LOOP if votes.partition == "iteration" else {},
    )


COLLECTING = {t.name: _collecting(t) for t in (RESPONSE_CHECKS, JUDGE_VOTES, GOLD_VOTES, STAGE2_VOTES)}
collect_audit = dg.define_asset_job(
    "collect_audit",
    dg.AssetSelection.assets(AUDIT.name),
    description="Makes the audit's labels, once people have answered.",
)
JOBS = [stage1_iteration, collect_audit, *COLLECTING.values()]
