"""The asset graph: it loads quickly, every asset is described, and the declared edges are the ones meant."""

import dagster as dg
import pytest

from assets.definitions import build
from assets.registry import steps
from cli.dagster_runs import units
from resources.settings import load
from tests.support import graph
from tests.support.places import ROOT


@pytest.fixture(scope="module")
def settings():
    return load(ROOT / "assay.toml")


def test_definitions_load(settings):
    dg.Definitions.validate_loadable(build(settings))


def test_every_asset_has_a_description_an_owner_a_kind_and_a_schema(settings):
    there = build(settings).resolve_asset_graph()
    for key in there.materializable_asset_keys:
        node = there.get(key)
        assert node.description and node.owners and node.kinds, key
        assert node.group_name != "default", key
        assert node.metadata["dagster/column_schema"].columns, key


def test_steps_come_after_what_they_read(settings):
    made = set()
    for step in steps():
        missing = {t.name for t in step.needs if t not in made}
        assert not missing, (step.name, missing)
        made |= set(step.tables)


def test_the_loop_is_closed_by_what_is_read_and_not_declared(settings):
    there = build(settings).resolve_asset_graph()
    batch = there.get(dg.AssetKey("annotation_batch"))
    declared = {"clean_pool", "attributes", "seed_selection", "contaminated"}  # the last one for a check
    assert {k.to_user_string() for k in batch.parent_keys} == declared
    upstream = there.get(dg.AssetKey("selection")).parent_keys
    assert dg.AssetKey("retrieved") in upstream and dg.AssetKey("annotation_batch") in upstream
    step = next(s for s in steps() if s.name == "annotation_batch")
    inputs = [(t.name, p) for t, p in step.inputs(settings, "iter_02")]
    assert ("selection", "iter_01") in inputs and ("selection", "iter_02") not in inputs


def test_gold_never_trains_the_loop_model_and_nothing_but_the_report_reads_the_truth(settings):
    """Spec O-06 and 2.12: the truth is read by simulations, the report, and the studies that it shows, alone."""
    readers = {s.name for s in steps() if any(t.name in ("reference_labels", "planted_rows") for t in s.needs)}
    assert readers == {"report", "studies"}
    simulated = {s.name for s in steps() if any(t.name == "planted_labels" for t in s.needs)}
    labellers = {
        "attributes",
        "response_checks",
        "human_labels",
        "judge_votes",
        "gold_votes",
        "audit",
        "unguided_votes",
    }
    assert simulated == labellers | {
        "audit_attributes",
        "stage2_attributes",
        "stage2_votes",
        "reference_labels",
        "report",
        "oracle_labels",
    }


def test_the_units_cover_every_step_once_a_partition(settings):
    covered = [(s.name, u.partition) for u in units(settings) for s in u.steps]
    assert len(covered) == len(set(covered))
    for step in steps():
        keys = settings.partition_keys(step.partition) if step.partition else [None]
        assert {(step.name, k) for k in keys} <= set(covered)


def test_keys_dependencies_groups_owners_and_checks_are_those_that_were_agreed_to():
    """A change of the graph is meant, or it is none: `python -m tests.support.graph` writes the file."""
    assert graph.described() == graph.FILE.read_text(encoding="utf-8")
