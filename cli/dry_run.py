"""`assay run --dry-run`: what would be made and why, and what it is expected to cost. Nothing is written."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from rich.table import Table as Grid

from assets.registry import steps
from assets.table_asset import Step
from cli import estimate
from cli.looking import Looking
from cli.terminal import Console
from curation.tables import CLEAN_POOL
from resources.lake import Lake, label
from resources.settings import ConfigError, Settings


@dataclass(frozen=True)
class Planned:
    """One partition of a step that would be made, and why."""

    step: Step
    partition: str | None
    why: str


def plan(settings: Settings, lake: Lake, groups: Collection[str] = ()) -> Iterator[Planned]:
    """What a run would make, in order: what is not up to date, and what reads something that will be made again.

    Raises:
        ConfigError: there is no such group.
    """
    every = steps()
    if unknown := sorted(set(groups) - {s.group for s in every}):
        there = ", ".join(dict.fromkeys(s.group for s in every))
        raise ConfigError(f"no such group: {', '.join(unknown)}; there are {there}")
    touched: set[str] = set()
    for step in every:
        if groups and step.group not in groups:
            continue
        for key in settings.partition_keys(step.partition) if step.partition else [None]:
            read = {label(t, k) for t, k in step.inputs(settings, key)}
            again = sorted(read & touched)
            if lake.note(step.tables[0], key) is None:
                why = "never made"
            else:
                why = f"reads {again[0]}, which is made again" if again else step.stale(settings, lake, key)
            if why:
                touched |= {label(t, key) for t in step.tables}
                yield Planned(step, key, why)


def show(settings: Settings, groups: Collection[str]) -> None:
    """Print a line a step, and what the paid ones are expected to cost."""
    console = Console()
    lake = Looking.of(settings)
    found: dict[str, list[Planned]] = {}
    for one in plan(settings, lake, groups):
        found.setdefault(one.step.name, []).append(one)
    if not found:
        console.print("Everything is up to date: a run would make nothing.")
        return
    grid = Grid("group", "step", "partitions", "because", title="A run would make", title_justify="left")
    for name, some in found.items():
        keys = [p.partition for p in some if p.partition is not None]
        shown = ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
        grid.add_row(some[0].step.group, name, shown, some[0].why)
    console.print(grid)
    if all(lake.note(CLEAN_POOL, key) for key in settings.partition_keys("bucket")):
        estimate.show(settings, lake)
    else:
        console.print(
            "What paid calls will cost depends on the texts of the pool, which is not made yet: `assay check` assumes,"
            " and after `assay run pool`, `assay estimate` counts."
        )
    console.print("Nothing was written.")
