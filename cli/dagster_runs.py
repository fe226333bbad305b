"""The whole job through Dagster: what is up to date is left alone, what does not wait for each other runs side by side.

The job is cut into units, each one Dagster run of a few steps for one partition. What a unit waits for follows from
what its steps read; how many run at once is what `dagster.yaml` allows for runs.
"""

import logging
import os
import time
from collections.abc import Callable, Collection, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cache, cached_property
from graphlib import TopologicalSorter
from itertools import groupby

import dagster as dg
from sqlalchemy.exc import DBAPIError

from assets import runs
from assets.definitions import build
from assets.jobs import LOOP
from assets.registry import steps
from assets.table_asset import Step
from cli.home import trouble
from cli.signals import signals_kept
from cli.workers import WorkerDied, Workers, workers
from resources.lake import Lake, label
from resources.settings import ConfigError, Settings

Say = Callable[[str], None]
# a step that waits gives no check of its tables either: what rests on it is skipped, and Dagster warns of each
logging.getLogger("dagster._core.execution.plan.active").setLevel(logging.ERROR)


@dataclass(frozen=True)
class RunFailure:
    """Why a run ended early; `stopped_by` names the `Stop` that it came to, '' for a failure."""

    why: str
    stopped_by: str = ""

    def __str__(self) -> str:
        return self.why


class JobFailed(Exception):
    """Some steps did not end well; the message names each and why.

    Attributes:
        failures: one a run that ended early.
    """

    def __init__(self, failures: list[RunFailure]):
        super().__init__("\n".join(f.why for f in failures))
        self.failures = failures


@dataclass(frozen=True)
class Unit:
    """Steps of one partition that run together, in one Dagster run."""

    partition: str | None
    steps: tuple[Step, ...]

    @property
    def name(self) -> str:
        groups = list(dict.fromkeys(s.group for s in self.steps))
        return " + ".join(groups) + (f" [{self.partition}]" if self.partition else "")

    @property
    def pools(self) -> frozenset[str]:
        return frozenset(s.pool for s in self.steps if s.pool)

    def writes(self) -> set[str]:
        return {label(t, self.partition) for s in self.steps for t in s.tables}

    def reads(self, settings: Settings) -> set[str]:
        return {label(t, key) for s in self.steps for t, key in s.inputs(settings, self.partition)}


def units(settings: Settings, groups: Collection[str] = ()) -> Iterator[Unit]:
    """The job in units, in an order in which they could run one after another: neighbouring steps of one partition kind
    that need the same pool, key by key; an iteration is one unit.

    With `groups` only their steps.

    Raises:
        ConfigError: there is no such group.
    """
    if unknown := sorted(set(groups) - {s.group for s in steps()}):
        there = ", ".join(sorted({s.group for s in steps()}))
        raise ConfigError(f"no such group: {', '.join(unknown)}; there are {there}")
    wanted = [s for s in steps() if not groups or s.group in groups]
    for (kind, _), some in groupby(wanted, key=lambda s: (s.partition, None if s.partition == "iteration" else s.pool)):
        together = tuple(some)
        for key in settings.partition_keys(kind) if kind else [None]:
            yield Unit(key, together)


def retries(unit: Unit, settings: Settings, lake: Lake) -> dict[Step, str]:
    """The unit's steps that are tried again and why, though nothing that they read has changed. They run alone: what
    rests on them is made again where that brings something else."""
    unchanged = [s for s in unit.steps if s.changed(settings, lake, unit.partition) is None]
    return {s: why for s in unchanged if (why := s.stale(settings, lake, unit.partition))}


def todo(unit: Unit, settings: Settings, lake: Lake | None = None) -> dict[Step, str]:
    """The unit's steps that must run and why: changed ones, and those that read what a changed one will write."""
    lake = lake or Lake.of(settings).pinned()
    found: dict[Step, str] = {}
    touched = set()
    for step in unit.steps:
        why = step.changed(settings, lake, unit.partition)
        if upstream := touched & set(step.needs):
            why = why or f"reads {', '.join(sorted(t.name for t in upstream))}, which is made again"
        if why:
            found[step] = why
            touched |= set(step.tables)
    return found


def graph(some: Collection[Unit], settings: Settings) -> dict[Unit, set[Unit]]:
    """What each unit waits for of the others."""
    writer = {name: unit for unit in some for name in unit.writes()}
    return {u: {writer[n] for n in u.reads(settings) if n in writer} - {u} for u in some}


def cut_apart(some: Collection[Unit], settings: Settings) -> Iterator[Unit]:
    """The units, cut where a step waits for another unit and the steps before it do not: these need not wait as well. An
    iteration stays one.

    Args:
        some: in an order in which they could run.
    """
    writer = {name: unit for unit in some for name in unit.writes()}
    rests_on: dict[Unit, set[Unit]] = {}  # directly or not
    for unit in some:
        parts: list[list[Step]] = [[]]
        rests_on[unit] = set()
        for step in unit.steps:
            inputs = (label(*pair) for pair in step.inputs(settings, unit.partition))
            direct = {writer[name] for name in inputs if name in writer} - {unit}
            wanted = direct.union(*(rests_on[other] for other in direct)) - rests_on[unit]
            if wanted and parts[-1] and step.partition != "iteration":
                parts.append([])
            rests_on[unit] |= wanted
            parts[-1].append(step)
        yield from (Unit(unit.partition, tuple(part)) for part in parts)


def ready(settings: Settings, groups: Collection[str] = ()) -> Iterator[tuple[str, str | None]]:
    """(names of assets with commas between, partition) of each unit that is not up to date and rests on no other such:
    they may run side by side on any machine, in any order.

    Raises:
        ConfigError: there is no such group.
    """
    lake = Lake.of(settings).pinned()
    due = {unit: {**retries(unit, settings, lake), **todo(unit, settings, lake)} for unit in units(settings, groups)}
    for unit, before in graph(list(due), settings).items():
        inputs = (pair for step in unit.steps for pair in step.inputs(settings, unit.partition))
        there = all(label(*pair) in unit.writes() or lake.note(*pair) for pair in inputs)
        if due[unit] and there and not any(due[other] for other in before):
            yield ",".join(t.name for s in due[unit] for t in s.tables), unit.partition


def run_all(settings: Settings, say: Say, groups: Collection[str] = (), jobs: int | None = 1) -> tuple[int, int]:
    """Make everything, or all of `groups`, that is not up to date; returns (steps run, steps left alone).

    Args:
        jobs: runs at once, each in a process of its own; 1 runs all in this process, None asks `dagster.yaml`.

    Runs appear in the Dagster instance of DAGSTER_HOME.

    Raises:
        JobFailed: a step failed or waits; what does not rest on it was made all the same.
    """
    with opened() as instance:
        jobs = allowed(instance) if jobs is None else jobs
        work = _Work(settings, say, list(units(settings, groups)), instance, jobs)
        if jobs > 1:
            work.units = list(cut_apart(work.units, settings))
        try:
            work.run()
        finally:
            Lake.of(settings).shell()
    if work.failures:
        raise JobFailed(work.failures)
    return work.ran, work.kept


def allowed(instance: dg.DagsterInstance) -> int:
    """Runs at once: what `dagster.yaml` allows, and no more than there are cores."""
    configured = (instance.get_settings("concurrency") or {}).get("runs", {}).get("max_concurrent_runs", 1)
    return max(1, min(int(configured), os.cpu_count() or 1))


@contextmanager
def opened() -> Generator[dg.DagsterInstance]:
    """The instance of DAGSTER_HOME, or one that is gone afterwards.

    Raises:
        ConfigError: a database of it is damaged, locked or not to be reached.
    """
    if "DAGSTER_HOME" not in os.environ:
        with dg.DagsterInstance.ephemeral() as instance:
            yield instance
        return
    try:
        with dg.DagsterInstance.get() as instance:
            yield instance
    except DBAPIError as e:
        raise ConfigError(trouble(str(e.orig))) from e


@dataclass
class _Work:
    """One call of `run_all`: which units are due, at work, done, failed."""

    settings: Settings
    say: Say
    units: list[Unit]
    instance: dg.DagsterInstance
    jobs: int
    ran: int = 0
    kept: int = 0
    failures: list[RunFailure] = field(default_factory=list)
    lost: set[Unit] = field(default_factory=set)  # failed, or resting on one that did
    retried: dict[Unit, set[Step]] = field(default_factory=dict)
    at_work: dict[Future, tuple[Unit, float, int]] = field(default_factory=dict)

    @cached_property
    def definitions(self) -> dg.Definitions:
        """Made once, where the first unit is made in this process, which then has the cores of all."""
        return build(_with_threads(self.settings, self.settings.lake.threads * self.jobs))

    def run(self) -> None:
        rests_on = graph(self.units, self.settings)
        sorter = TopologicalSorter(rests_on)
        sorter.prepare()
        ready: list[Unit] = []
        side_by_side = workers(self.jobs, _begin_worker, self.settings) if self.jobs > 1 else nullcontext()
        with side_by_side as pool:
            while sorter.is_active():
                ready = sorted([*ready, *sorter.get_ready()], key=self.units.index)
                for unit in [u for u in ready if not self._busy(u)]:
                    if self._busy(unit):  # one that began in this round holds its pool
                        continue
                    ready.remove(unit)
                    if rests_on[unit] & self.lost:
                        self.lost.add(unit)
                        sorter.done(unit)
                    elif not self._begin(unit, pool, alone=not ready and not self.at_work):
                        sorter.done(unit)
                        break  # what comes next in order may be ready now
                else:
                    if pool and self.at_work:
                        sorter.done(*self._ended(pool))

    def _busy(self, unit: Unit) -> bool:
        held = {p for other, *_ in self.at_work.values() for p in other.pools}
        return len(self.at_work) >= self.jobs or bool(unit.pools & held)

    def _begin(self, unit: Unit, pool: Workers | None, alone: bool = False) -> bool:
        """Start a unit in a process of its own; False where it is over already: up to date, or made in this process, as the
        first is while the others start.

        Args:
            alone: nothing else can run meanwhile, so that it has the threads of all; so has a unit of no partition, since
                much waits for it.
        """
        lake = Lake.of(self.settings).pinned()
        if unit not in self.retried and (again := retries(unit, self.settings, lake)):
            self.retried[unit] = set(again)
        else:
            again = todo(unit, self.settings, lake)
            self.kept += len(unit.steps) - len({*again, *self.retried.get(unit, ())})
        if not again:
            return False
        place, started = self.units.index(unit) + 1, time.monotonic()
        self.say(f"[{place}/{len(self.units)}] {unit.name}: {', '.join(s.name for s in again)}")
        for why in (w for s, w in again.items() if s in self.retried.get(unit, ())):
            self.say(f"        {why}")
        names = tuple(s.name for s in again)
        if pool is not None and not (alone and not self.ran):  # the first is made here while the processes start
            threads = self.settings.lake.threads * (self.jobs if alone or unit.partition is None else 1)
            made = pool.submit(_materialize_here, names, unit.partition, threads)
            self.at_work[made] = (unit, started, len(again))
            return True
        made = materialize(self.definitions, tuple(again), unit.partition, self.instance, self.say)
        self._report(unit, started, len(again), made)
        return self._goes_on(unit) and self._begin(unit, pool)

    def _goes_on(self, unit: Unit) -> bool:
        """Whether steps of a unit were tried again and ended well: what has changed with them comes next."""
        return unit not in self.lost and bool(self.retried.get(unit)) and bool(todo(unit, self.settings))

    def _ended(self, pool: Workers) -> list[Unit]:
        """Units that are over, once at least one run has ended."""
        finished, _ = wait(self.at_work, return_when=FIRST_COMPLETED)
        over = []
        for future in finished:
            unit, started, count = self.at_work.pop(future)
            try:
                failure = pool.result(future)
            except WorkerDied:
                failure = RunFailure(f"{unit.name}: its process ended without a word: killed, or out of memory")
            self._report(unit, started, count, failure)
            if not (self._goes_on(unit) and self._begin(unit, pool)):
                over.append(unit)
        return over

    def _report(self, unit: Unit, started: float, count: int, failure: RunFailure | None) -> None:
        if failure is not None:
            self.failures.append(failure)
            self.lost.add(unit)
            self.say(f"        {unit.name} {'waits' if failure.stopped_by else 'failed'}: {failure.why}")
            return
        self.ran += count
        lake = Lake.of(self.settings)
        rows = ", ".join(f"{t.name} {lake.rows(t, unit.partition):,}" for s in unit.steps for t in s.tables)
        self.say(f"        {unit.name}: {rows}  ({time.monotonic() - started:.1f} s)")


# ---- processes -----------------------------------------------------------------------------------------------------
_started_with: list[Settings] = []


def _begin_worker(settings: Settings) -> None:
    _started_with.append(settings)
    _definitions(settings.lake.threads)


@cache
def _definitions(threads: int) -> dg.Definitions:
    """Those of this process, with so many threads a step."""
    [settings] = _started_with
    return build(_with_threads(settings, threads))


def _with_threads(settings: Settings, threads: int) -> Settings:
    return settings.model_copy(update={"lake": settings.lake.model_copy(update={"threads": threads})})


def _materialize_here(names: tuple[str, ...], partition: str | None, threads: int) -> RunFailure | None:
    some = tuple(s for s in steps() if s.name in names)
    return materialize(_definitions(threads), some, partition, _instance(), lambda line: print(line, flush=True))


@cache
def _instance() -> dg.DagsterInstance:
    """That of this process, as long as it lives."""
    return _open.enter_context(opened())


_open = ExitStack()


# ---- one run -------------------------------------------------------------------------------------------------------
def iterate(settings: Settings, key: str, instance: dg.DagsterInstance, say: Say = print) -> RunFailure | None:
    """Run one iteration of stage 1 whole, whether it is up to date or not; returns why it failed, or None."""
    loop = tuple(s for s in steps() if s.partition == "iteration")
    return materialize(build(settings), loop, key, instance, say)


def materialize(
    definitions: dg.Definitions,
    some: tuple[Step, ...],
    partition: str | None,
    instance: dg.DagsterInstance,
    say: Say = print,
) -> RunFailure | None:
    """One Dagster run of these steps in this process, when nobody else holds their pools; returns why it failed or what it
    waits for, or None."""
    runs.wait_for(instance, {s.pool for s in some if s.pool}, say)
    with signals_kept():
        result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            asset_selection=[dg.AssetKey(t.name) for s in some for t in s.tables],
            partition_key=partition,
            instance=instance,
            tags=runs.tags_of() | (LOOP if some[0].partition == "iteration" else {}),
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
    return _waits(result) if result.success else _reason(result)


def _waits(result: dg.ExecuteInProcessResult) -> RunFailure | None:
    """What a run waits for that ended well all the same, or None."""
    for event in result.all_events:
        if event.event_type == dg.DagsterEventType.ASSET_OBSERVATION:
            seen = event.asset_observation_data.asset_observation
            if stopped := seen.metadata.get("stopped by"):
                return RunFailure(f"{event.step_key}: {seen.description}", str(stopped.value))
    return None


def _reason(result: dg.ExecuteInProcessResult) -> RunFailure:
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            told = data.user_failure_data
            if told and told.description:  # a dg.Failure of ours says it all
                stopped = told.metadata.get("stopped by")
                return RunFailure(f"{event.step_key}: {told.description}", str(stopped.value) if stopped else "")
            cause = data.error.cause or data.error if data.error else None
            return RunFailure(f"{event.step_key}: {cause.message.strip() if cause else 'no reason given'}")
    return RunFailure("the run failed before its first step")
