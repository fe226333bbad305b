"""Dagster's runs on this machine: whose process is gone, and who holds what another waits for."""

import multiprocessing
import os
import platform
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import dagster as dg

from training.guard import started

PROCESS = "assay/process"  # tag of a run: the process that works for it
POLL_S = 2.0
AT_WORK = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


def process() -> dict[str, str]:
    """The tag that names the process of a run: this one, or the run's worker where a step has a process of its own."""
    worker = multiprocessing.parent_process()
    pid = os.getpid() if worker is None else worker.pid
    return {PROCESS: f"{_machine()}:{pid}:{started(pid)}"}


def _machine() -> str:
    """This machine since it was last started: ids of processes mean something there alone."""
    return f"{platform.node()}/{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}"


def _gone(tag: str) -> bool:
    machine, pid, begun = tag.rsplit(":", 2)
    if machine != _machine():
        return machine.partition("/")[0] == platform.node()  # this machine was restarted; of another nothing is known
    return started(int(pid)) != begun


def close_abandoned(instance: dg.DagsterInstance) -> list[str]:
    """Mark the runs as failed whose process was killed, and free what they held: else later runs would wait for them
    for ever.

    Returns:
        Their ids.
    """
    found = []
    for run in instance.get_runs(dg.RunsFilter(statuses=AT_WORK)):
        tag = run.tags.get(PROCESS)
        parent = instance.get_run_by_id(run.parent_run_id) if run.parent_run_id else None
        inherited = parent is not None and parent.tags.get(PROCESS) == tag  # a second try, before its first step
        if tag and not inherited and _gone(tag):
            instance.report_run_failed(run, "The process of this run ended without a word: killed, or the machine stopped.")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            found.append(run.run_id)
    return found


def wait_for(instance: dg.DagsterInstance, pools: Iterable[str], say: Callable[[str], None]) -> None:
    """Until no other run holds a slot of these pools; says whom it waits for. Dagster itself would wait without a word,
    and with a whole core."""
    storage, said = instance.event_log_storage, ""
    if not storage.supports_global_concurrency_limits:
        return
    while True:
        infos = storage.get_concurrency_infos(sorted(pools))
        held = {name: info.active_run_ids for name, info in infos.items() if len(info.claimed_slots) >= (info.limit or 1)}
        held = {name: runs for name, runs in held.items() if runs}
        if not held:
            return
        now = ", ".join(f"{name} (run {', '.join(sorted(r[:8] for r in runs))})" for name, runs in held.items())
        if now != said:
            say(f"        waiting for {now}")
            said = now
        time.sleep(POLL_S)
        close_abandoned(instance)
