"""Dagster's runs of this machine: whose processes are gone, and who holds what another waits for."""

import socket
import time
from collections.abc import Callable, Iterable, Iterator

import dagster as dg

from training.supervise import began, boot_id, booted

BOOT = "assay/boot"  # tag of a run: which start of the machine, and when that was by the clock of then
HOST = "assay/host"  # tag of a run: the machine on which its processes are
POLL_S = 2.0
AT_WORK = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
NAMED_IN = {dg.DagsterEventType.ENGINE_EVENT, dg.DagsterEventType.STEP_WORKER_STARTED}
REUSED_S = 60.0  # an id that began so much later than a run named it is another process's by now


def here() -> dict[str, str]:
    """The tag that a run on this machine bears."""
    return {HOST: socket.gethostname()}


def tags_of(run: dg.DagsterRun | None = None) -> dict[str, str]:
    """Tags of a run that begins here, or has begun: a clock that is set later must not change what it says of then."""
    if run is None:
        return here() | {BOOT: f"{boot_id()} {booted()}"}
    return here() | {BOOT: run.tags[BOOT] if _boot(run)[0] else f"{boot_id()} {booted()} {run.run_id}"}


def _boot(run: dg.DagsterRun) -> tuple[str, int]:
    """The boot that a run began in, and when that was in seconds since 1970; ('', 0) where it does not say. A run that
    repeats another bears that one's tag at first."""
    boot, then, of = (*run.tags.get(BOOT, "").split(), "", "", "")[:3]
    own = of == run.run_id or (not of and run.parent_run_id is None)
    return (boot, int(then)) if boot and own else ("", 0)


def close_abandoned(instance: dg.DagsterInstance) -> list[str]:
    """Mark the runs of this machine as failed whose processes were killed, and free what finished runs without a process
    hold: else later runs would wait for them for ever. Each machine closes its own.

    Returns:
        The ids of those marked.
    """
    storage, marked = instance.event_log_storage, []
    for run in instance.get_runs(dg.RunsFilter(statuses=AT_WORK, tags=here())):
        if _gone(instance, run):
            instance.report_run_failed(
                run, "The process of this run ended without a word: killed, or the machine stopped."
            )
            marked.append(run.run_id)
    if not storage.supports_global_concurrency_limits:
        return marked
    for run_id in storage.get_concurrency_run_ids():
        run = instance.get_run_by_id(run_id)
        ours = run is not None and run.tags.get(HOST) == here()[HOST]
        if run is None or (ours and run.is_finished and _gone(instance, run)):
            storage.free_concurrency_slots_for_run(run_id)
    return marked


def _gone(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether a run named its processes, as each does when it begins, and none of them is left."""
    named = list(_processes(instance, run.run_id))
    boot, then = _boot(run)
    if named and boot not in ("", boot_id()):
        return True  # the machine has been started since
    stepped = booted() - then if then else 0  # by which the clock was set since: processes seem younger by as much
    alive = ((began(pid), at) for pid, at in named)
    return bool(named) and not any(start is not None and start - stepped < at + REUSED_S for start, at in alive)


def _processes(instance: dg.DagsterInstance, run_id: str) -> Iterator[tuple[int, float]]:
    """Ids of a run's worker and of its steps' processes, and when the run named them, in seconds since 1970."""
    for entry in instance.all_logs(run_id, of_type=NAMED_IN):
        event = entry.dagster_event
        if event is not None and "pid" in (facts := event.engine_event_data.metadata):
            yield int(str(facts["pid"].value)), entry.timestamp


def wait_for(instance: dg.DagsterInstance, pools: Iterable[str], say: Callable[[str], None]) -> None:
    """Until no other run holds a slot of these pools; says whom it waits for. Dagster itself would wait without a word,
    and with a whole core."""
    storage, said = instance.event_log_storage, ""
    if not storage.supports_global_concurrency_limits:
        return
    while True:
        close_abandoned(instance)
        held = {}
        for name, info in storage.get_concurrency_infos(sorted(pools)).items():
            given = info.active_slot_count + info.assigned_step_count  # an assigned one is about to be claimed
            if given and given >= (info.limit or 1):
                held[name] = sorted(info.active_run_ids | info.assigned_run_ids)
        if not held:
            return
        now = ", ".join(f"{name} (run {', '.join(r[:8] for r in runs)})" for name, runs in held.items())
        if now != said:
            say(f"        waiting for {now}")
            said = now
        time.sleep(POLL_S)
