"""A check can be run alone, on what is published: of every partition, without making anything."""

import dagster as dg
import pytest

from assets import stage1
from assets.publishing import as_asset
from curation.tables import CONTAMINATED, GOLD
from resources.lake import Lake
from resources.run import Run
from resources.services import services
from tests.support.lakes import fill, put, settings

NAME = "nothing_contaminated"


@pytest.mark.parametrize(("flagged", "passes"), [("other", True), ("p", False)])
def test_a_check_alone_looks_at_what_is_published(tmp_path, flagged, passes):
    made = settings(lake={"path": str(tmp_path), "buckets": 1}, stage1={"iterations": 1})
    lake = Lake.of(made)
    for key in ("iter_00", "iter_01"):
        put(lake, GOLD, [{"pair_id": "p" if key == "iter_01" else "q", "verified_order": "original"}], key)
    kinds = {"string": "x", "int64": 1, "double": 1.0, "bool": False}
    hit = {f.name: kinds[str(f.type)] for f in CONTAMINATED.schema}
    put(lake, CONTAMINATED, [hit | {"pair_id": flagged}], "b00")
    fill(stage1.gold, Run(made, lake, "iter_01"))
    before = [lake.note(GOLD, key) for key in ("iter_00", "iter_01")]
    asset = as_asset(stage1.gold, made)
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [asset],
            selection=dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey("gold"), NAME)),
            instance=instance,
            resources=services(made),
            raise_on_error=False,
        )
        [found] = result.get_asset_check_evaluations()
    assert found.check_name == NAME and found.passed == passes and found.metadata["partitions"].value == 2
    assert [lake.note(GOLD, key) for key in ("iter_00", "iter_01")] == before
