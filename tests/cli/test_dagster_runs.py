"""How the job is cut into units of work."""

from cli.dagster_runs import Unit, cut_apart, graph, units
from resources.settings import load
from tests.support.places import ROOT


def named(some: list[Unit], step: str, partition: str | None = None) -> Unit:
    [found] = [u for u in some if u.partition == partition and step in {s.name for s in u.steps}]
    return found


def steps_of(some: list[Unit]) -> list[tuple[str, str]]:
    return sorted((s.name, u.partition or "") for u in some for s in u.steps)


def test_side_by_side_no_step_waits_for_what_its_neighbours_alone_read():
    """Duplicates are found while `clusters` is at work, which the clean pool waits for."""
    settings = load(ROOT / "assay.toml")
    together = list(units(settings))
    cut = list(cut_apart(together, settings))
    assert steps_of(cut) == steps_of(together) and len(cut) > len(together)
    rests_on = graph(cut, settings)
    clusters, deduped, clean = named(cut, "clusters"), named(cut, "deduped", "b01"), named(cut, "clean_pool", "b01")
    assert clusters not in rests_on[deduped] and {clusters, deduped} <= rests_on[clean]
    assert deduped is named(cut, "benchmark_hits", "b01") and clean is named(cut, "content_sample", "b01")
    assert clusters in graph(together, settings)[named(together, "deduped", "b01")]
    assert len(named(cut, "gold", "iter_00").steps) == len(named(together, "gold", "iter_00").steps)
    assert all(cut.index(other) < cut.index(unit) for unit, others in rests_on.items() for other in others)
