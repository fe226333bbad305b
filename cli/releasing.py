"""`assay release`: a release as a folder, and whether a folder is one."""

import sys
from pathlib import Path

from rich.table import Table as Grid

from assets.registry import steps
from cli.exits import DONE, FAILED
from cli.terminal import Console
from curation.tables import RELEASE_CORRECTED, RELEASE_CURATED
from handover.build import Wanted, build
from handover.contents import BARRED
from handover.verify import verify
from resources.lake import Lake
from resources.settings import Settings
from sql import statement


def make(settings: Settings, lake: Lake, wanted: Wanted, out: Path) -> int:
    """Write a release and say what is in it and what is not; returns the exit status.

    Raises:
        HandoverError: it may not be made.
    """
    for line in _stale(settings, lake):
        print(f"assay: {line}", file=sys.stderr)
    facts = build(settings, lake, wanted, out)
    console = Console()
    grid = Grid("source", "license", "pairs", "flipped", title=f"{facts['name']}: {out}", title_justify="left")
    for source in facts["sources"]:
        mine = [c for c in facts["counted"] if c["source"] == source["source"]]
        flipped = sum(c["pairs"] for c in mine if c["flipped"])
        grid.add_row(source["source"], source["license"], f"{source['pairs']:,}", f"{flipped:,}")
    console.print(grid)
    for left in facts["left_out"]:
        why = BARRED[left["reason"]]
        console.print(f"Left out: {left['pairs']:,} pairs of {left['source']} ({why})", markup=False, soft_wrap=True)
    print(f"{facts['pairs']:,} pairs, {facts['flipped']:,} of them flipped.")
    print(f"Check it:  assay release verify {out}")
    return DONE


def check(folder: Path, settings: Settings | None, lake: Lake | None) -> int:
    """Verify a folder and print a line a fault; returns the exit status.

    Args:
        settings, lake: whose benchmarks are looked for; None where there is no configuration.
    """
    found = verify(folder, _index(settings, lake) if settings and lake else None)
    for line in found.notes:
        print(f"Note: {line}.")
    for line in found.lines:
        print(line)
    if found.faults:
        print(f"assay: {folder}: refused, {found.kinds.total():,} faults", file=sys.stderr)
        return FAILED
    print(f"{folder}: sums, rule, schema, rows, counts and licenses are right.")
    return DONE


def _index(settings: Settings, lake: Lake):
    """The benchmarks' prompts of the lake, or None where it has none."""
    from curation.contamination import BenchmarkIndex

    with lake.connect() as con:
        names = [n for (n,) in con.execute("SELECT DISTINCT benchmark FROM benchmark_prompts").fetchall()]
        if not names:
            return None
        rows = con.sql(statement("pool/benchmark_prompts"), params={"names": names}).to_arrow_table().to_pydict()
    return BenchmarkIndex(rows["benchmark"], rows["item_id"], rows["prompt"], settings.decontamination.n)


def _stale(settings: Settings, lake: Lake) -> list[str]:
    """Notes on releases of the lake that are not up to date."""
    for step in steps():
        if set(step.tables) & {RELEASE_CURATED, RELEASE_CORRECTED}:
            for key in settings.partition_keys("bucket"):
                if lake.note(step.tables[0], key) is not None and (why := step.stale(settings, lake, key)):
                    return [f"note: {step.tables[0].name} is not up to date ({why}); `assay run` makes it again"]
    return []
