"""Every step of the project, found in the modules of this folder, in an order in which they can run."""

import functools
import importlib
import pkgutil
from graphlib import CycleError, TopologicalSorter

import assets
from assets.table_asset import Step
from curation.tables import Table


@functools.cache
def steps() -> tuple[Step, ...]:
    """Derived from what the steps read. Where the reads leave it open, steps of the same partitions stay together, among
    them those of the same pool, and the order is that of names.

    Raises:
        ValueError: two steps write one table, a table that is read is written by none, or steps read each other.
    """
    modules = [importlib.import_module(f"assets.{m.name}") for m in pkgutil.iter_modules(assets.__path__)]
    found = {id(v): v for module in modules for v in vars(module).values() if isinstance(v, Step)}
    return ordered(tuple(found.values()))


def ordered(some: tuple[Step, ...]) -> tuple[Step, ...]:
    """The steps, each after those whose tables it reads.

    Raises:
        ValueError: as `steps`.
    """
    writer: dict[Table, Step] = {}
    for step in some:
        for table in step.tables:
            if table in writer:
                raise ValueError(f"{writer[table].name} and {step.name} both write {table.name}")
            writer[table] = step
    sorter: TopologicalSorter[Step] = TopologicalSorter()
    for step in some:
        if absent := [t.name for t in step.sees if t not in writer]:
            raise ValueError(f"{step.name} reads {', '.join(absent)}, which no step writes")
        sorter.add(step, *{writer[t] for t in step.needs})
    try:
        sorter.prepare()
    except CycleError as e:
        raise ValueError(f"steps read each other: {' -> '.join(s.name for s in e.args[1])}") from None
    order: list[Step] = []
    ready: list[Step] = []
    while sorter.is_active():
        ready += sorter.get_ready()
        kind, pool = (order[-1].partition, order[-1].pool) if order else (None, None)
        ready.sort(key=lambda s: (s.partition != kind, s.partition or "", s.pool != pool, s.name))
        order.append(ready.pop(0))
        sorter.done(order[-1])
    return tuple(order)
