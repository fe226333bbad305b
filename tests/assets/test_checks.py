"""Every promise about stages 1 and 2 and the releases that no other test breaks: a row that breaks it is not published."""

from dataclasses import replace

import dagster as dg
import pyarrow as pa
import pytest

from assets import judge_report as panel
from assets import releases as release
from assets import stage1, stage2
from assets.table_asset import Rows
from curation import tables as t
from resources.lake import Lake
from tests.support.lakes import DEFAULTS, make, put

IT0, IT1 = "iter_00", "iter_01"
GOLD_TEST = (t.GOLD, IT0, {"pair_id": "g", "cluster_id": "k", "verified_order": "original", "role": "test"})
BATCH = {"pair_id": "p", "cluster_id": "k", "assigned_to": "people"}
ASKED = (t.ANNOTATION_BATCH, IT0, BATCH)
CHOSEN = {"pair_id": "p", "why": "random", "rank": 1, "inclusion": 0.5, "p": 0.5}
FOUND = {"pair_id": "p", "query_pair": "g", "rank": 1, "similarity": 0.5, "p_query": 0.5, "k": 8}
SCORED = {"pair_id": "p", "best_model": "m", "gold_model": "n"}
DECIDED = {
    "pair_id": "p",
    "class": "drop",
    "b": "+",
    "g": "-",
    "j": "+",
    "route": "judged",
    "reason": "conflict",
    "rule": "r",
}
VOTE = {"pair_id": "p", "judge": "one", "replicate": 0, "answer": "tie", "vote": "tie", "status": "ok", "examples": [],
        "model": "m", "request_key": ""}  # fmt: skip
RELEASED = {"pair_id": "p", "flipped": False, "label_source": "people", "rule": "r", "weight": 1.0, "license": "x"}
POOL = (t.CLEAN_POOL, "b00", {"pair_id": "p", "cluster_id": "k"})
DROPPED = (t.UNDECIDED, IT0, {"pair_id": "p", "desk": "people", "reason": "undecided"})

BROKEN = [  # check, step, partition, what is there, the row that breaks it
    ("never_twice", stage1.annotation_batch, IT1, [ASKED], BATCH),
    ("one_desk_a_cluster", stage1.annotation_batch, IT1, [ASKED], BATCH | {"pair_id": "q", "assigned_to": "judges"}),
    ("human_evidence", stage1.gold, IT0, [], {"pair_id": "p", "cluster_id": "k", "verified_order": "original"}),
    ("open_roles_only", stage1.gold_predictions, IT0, [GOLD_TEST],
     {"pair_id": "g", "p": 0.5, "k": 8, "reward_better": 0.0, "reward_worse": 0.0, "model_id": "m"}),
    ("asked_by_open_gold", stage1.retrieved, IT0, [GOLD_TEST], FOUND),
    ("nobody_was_asked_yet", stage1.retrieved, IT0, [ASKED], FOUND),
    ("nobody_was_asked_yet", stage1.selection, IT0, [ASKED], CHOSEN),
    ("chance_is_recorded", stage1.selection, IT0, [], CHOSEN | {"inclusion": 0.0}),
    ("chance_is_recorded", stage1.selection, IT0, [], CHOSEN | {"inclusion": 1.5}),
    ("chance_is_recorded", stage1.selection, IT0, [], CHOSEN | {"why": "retrieved"}),
    ("open_gold_only", panel.gold_votes, IT0, [GOLD_TEST], VOTE | {"pair_id": "g"}),
    ("exactly_the_unlabelled", stage2.scores, "b00", [POOL, DROPPED], SCORED),
    ("exactly_the_unlabelled", stage2.scores, "b00", [POOL], None),
    ("as_forecast", stage2.stage2_votes, "b00", [POOL], VOTE),
    ("as_forecast", stage2.stage2_votes, "b00", [POOL, (t.ROUTED, "b00", {"pair_id": "p", "p_best": 0.4, "k": 8})], None),
    ("asked_only_when_it_matters", stage2.decisions, "b00", [], DECIDED),
    ("nothing_lost", stage2.decisions, "b00", [(t.SCORES, "b00", SCORED)], None),
    ("no_test_gold", release.release_curated, "b00", [POOL, GOLD_TEST], RELEASED),
    ("no_test_gold", release.release_corrected, "b00", [POOL, GOLD_TEST], RELEASED),
    ("no_undecided", release.release_curated, "b00", [POOL, DROPPED], RELEASED),
    ("no_undecided", release.release_corrected, "b00", [POOL, DROPPED], RELEASED),
]  # fmt: skip


@pytest.mark.parametrize(("check", "step", "partition", "there", "row"), BROKEN, ids=lambda x: getattr(x, "name", None))
def test_a_row_that_breaks_a_promise_is_not_published(tmp_path, check, step, partition, there, row):
    lake, table = Lake(str(tmp_path)), step.tables[0]
    for other, key, one in there:
        put(lake, other, [one], key)

    def rows(_):
        full = [{n: (DEFAULTS | row).get(n) for n in table.schema.names}] if row else []
        yield Rows(table, pa.Table.from_pylist(full, table.schema))

    alone = replace(step, fn=rows, tables=(table,), external_version=None, blocked=None)
    with pytest.raises(dg.Failure, match=f"was not published: .*{check}"):
        make(alone, lake, partition)
    assert lake.note(table, partition) is None
