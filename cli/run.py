"""The whole job in one process, in order, through Dagster: what is up to date is left alone."""

import os
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import groupby

import dagster as dg

from assets import runs
from assets.definitions import build, steps
from assets.table_asset import Step
from resources.lake import Lake
from resources.settings import ConfigError, Settings


class JobFailed(Exception):
    """A step failed; the message names it and why."""


@dataclass(frozen=True)
class Unit:
    """Steps of one partition that run together."""

    partition: str | None
    steps: tuple[Step, ...]

    @property
    def name(self) -> str:
        groups = list(dict.fromkeys(s.group for s in self.steps))
        return " + ".join(groups) + (f" [{self.partition}]" if self.partition else "")


def units(settings: Settings, groups: Collection[str] = ()) -> Iterator[Unit]:
    """The job cut into units that can run one after another: neighbouring steps of one partition kind, key by key.

    With `groups` only their steps.

    Raises:
        ConfigError: there is no such group.
    """
    every = steps(settings)
    if unknown := sorted(set(groups) - {s.group for s in every}):
        there = ", ".join(dict.fromkeys(s.group for s in every))
        raise ConfigError(f"no such group: {', '.join(unknown)}; there are {there}")
    wanted = [s for s in every if not groups or s.group in groups]
    for kind, some in groupby(wanted, key=lambda s: s.partition):
        together = tuple(some)
        for key in settings.partition_keys(kind) if kind else [None]:
            yield Unit(key, together)


def todo(unit: Unit, settings: Settings) -> dict[Step, str]:
    """The unit's steps that must run and why: changed ones, and those that read what a changed one will write."""
    lake = Lake.of(settings)
    found: dict[Step, str] = {}
    touched = set()
    for step in unit.steps:
        why = step.changed(settings, lake, unit.partition)
        if upstream := touched & {*step.reads, *step.upto}:
            why = why or f"reads {', '.join(sorted(t.name for t in upstream))}, which is made again"
        if why:
            found[step] = why
            touched |= set(step.tables)
    return found


def run_all(settings: Settings, say: Callable[[str], None], groups: Collection[str] = ()) -> tuple[int, int]:
    """Make everything, or all of `groups`, that is not up to date; returns (steps run, steps left alone).

    Runs appear in the Dagster instance of DAGSTER_HOME. Raises JobFailed at the first step that fails.
    """
    lake, assets = Lake.of(settings), list(build(settings).assets)
    ran = kept = 0
    all_units = list(units(settings, groups))
    with dg.DagsterInstance.get() if "DAGSTER_HOME" in os.environ else dg.DagsterInstance.ephemeral() as instance:
        for place, unit in enumerate(all_units, start=1):
            retried = [
                s
                for s in unit.steps
                if s.changed(settings, lake, unit.partition) is None and s.stale(settings, lake, unit.partition)
            ]
            for step in retried:  # alone: what rests on it is made again where it brings something else
                say(
                    f"[{place}/{len(all_units)}] {unit.name}: {step.name}: {step.stale(settings, lake, unit.partition)}"
                )
                if why := materialize(assets, (step,), unit.partition, instance, say):
                    raise JobFailed(why)
            again = todo(unit, settings)
            kept += len(unit.steps) - len({*again, *retried})
            ran += len(set(retried) - set(again))
            if not again:
                continue
            started = time.monotonic()
            say(f"[{place}/{len(all_units)}] {unit.name}: {', '.join(s.name for s in again)}")
            if why := materialize(assets, tuple(again), unit.partition, instance, say):
                raise JobFailed(why)
            ran += len(again)
            rows = ", ".join(f"{t.name} {lake.rows(t, unit.partition):,}" for s in again for t in s.tables)
            say(f"        {rows}  ({time.monotonic() - started:.1f} s)")
    lake.shell()
    return ran, kept


def iterate(
    settings: Settings, key: str, instance: dg.DagsterInstance, say: Callable[[str], None] = print
) -> str | None:
    """Run one iteration of stage 1 whole, whether it is up to date or not; returns why it failed, or None."""
    loop = tuple(s for s in steps(settings) if s.partition == "iteration")
    return materialize(list(build(settings).assets), loop, key, instance, say)


def materialize(
    assets: list[dg.AssetsDefinition],
    some: tuple[Step, ...],
    partition: str | None,
    instance: dg.DagsterInstance,
    say: Callable[[str], None] = print,
) -> str | None:
    """One Dagster run of these steps in this process, when nobody else holds their pools; returns why it failed, or
    None."""
    runs.wait_for(instance, {s.pool for s in some if s.pool}, say)
    result = dg.materialize(
        assets,
        selection=[t.name for s in some for t in s.tables],
        partition_key=partition,
        instance=instance,
        tags={"assay/loop": "stage1"} if some[0].partition == "iteration" else {},
        raise_on_error=False,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )
    return None if result.success else _reason(result)


def _reason(result: dg.ExecuteInProcessResult) -> str:
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            if data.user_failure_data and data.user_failure_data.description:  # a dg.Failure of ours says it all
                return f"{event.step_key}: {data.user_failure_data.description}"
            cause = data.error.cause or data.error
            return f"{event.step_key}: {cause.message.strip()}"
    return "the run failed before its first step"
