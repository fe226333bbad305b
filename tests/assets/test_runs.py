"""Runs whose process was killed hold nothing up; those at work are waited for, and the wait is said."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.events import EngineEventData

from assets import runs
from assets.publishing import as_asset
from assets.table_asset import Rows, table_asset
from cli import dagster_runs as pipeline
from curation.tables import SEED_SELECTION
from resources.services import services
from tests.stage1.test_iterations import until
from tests.support import postgres
from tests.support.lakes import settings
from tests.support.places import ROOT
from training.supervise import began, booted, started


def held(folder: Path, seconds: float):
    """A step that holds the pool `gpu` for so long, or until it may go on, and writes which process it is; with its
    definitions."""

    @table_asset(SEED_SELECTION, group="seed", pool="gpu")
    def step(run):
        began = time.monotonic()
        (folder / "begun").write_text(str(os.getpid()))
        (folder / "begun").rename(folder / "holding")  # whole at once
        until(lambda: (folder / "go on").exists() or time.monotonic() > began + seconds, seconds + 1)
        yield Rows(SEED_SELECTION, SEED_SELECTION.schema.empty_table())

    made = settings(lake={"path": str(folder / "lake"), "buckets": 1})
    return step, dg.Definitions(
        assets=[as_asset(step, made)],
        jobs=[dg.define_asset_job("hold", dg.AssetSelection.all())],
        resources=services(made),
    )


@dg.definitions
def defs() -> dg.Definitions:
    return held(Path.cwd(), float(os.environ.get("HOLD_SECONDS", "0")))[1]


def ended() -> int:
    """The id of a process that is gone."""
    done = subprocess.Popen(["true"])
    done.wait()
    return done.pid


def work(folder: Path, seconds: float) -> pipeline.RunFailure | None:
    """A run, in this process, of one step that holds the pool `gpu` for so long; why it failed."""
    step, definitions = held(folder, seconds)
    with dg.DagsterInstance.get() as instance:
        return pipeline.materialize(definitions, (step,), None, instance)


def start(folder: Path, seconds: float) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.assets.test_runs", str(folder), str(seconds)],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def home(request, tmp_path, monkeypatch) -> Iterator[Path]:
    """A folder with the shipped `dagster.yaml`, on the storage it names and on a real PostgreSQL server."""
    text = (ROOT / "dagster.yaml").read_text()
    monkeypatch.chdir(tmp_path)  # its folders are relative
    with contextlib.ExitStack() as open_until_then:
        if request.param == "postgres":
            url = open_until_then.enter_context(postgres.server())
            text, n = re.subn(r"sqlite: \{.*?\}", f"postgres: {{postgres_url: '{url}'}}", text)
            assert n == 1
        (tmp_path / "dagster.yaml").write_text(text)
        monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
        yield tmp_path


def holding(home: Path, seconds: float) -> subprocess.Popen:
    first = start(home, seconds)
    until(lambda: (home / "holding").exists(), 120)
    return first


def statuses(home: Path) -> list[str]:
    """Of the runs, oldest first."""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        return [r.dagster_run.status.value for r in reversed(instance.get_run_records())]


def test_what_a_killed_run_held_is_free_for_the_next(home):
    first = holding(home, 600)
    first.kill()
    first.wait()
    assert statuses(home) == ["STARTED"]  # as a killed process leaves it
    assert work(home, 0) is None
    assert statuses(home) == ["FAILURE", "SUCCESS"]


def test_a_run_at_work_is_waited_for(home):
    first = holding(home, 600)
    second = start(home, 0)
    assert second.stdout is not None and second.stdout.readline().startswith("        waiting for gpu (run ")
    (home / "go on").touch()
    assert second.communicate(timeout=90)[0] == "None\n"
    assert first.wait() == 0 and statuses(home) == ["SUCCESS", "SUCCESS"]


def test_a_signal_in_the_middle_of_a_step_ends_the_process_and_not_the_step_alone(home):
    first = holding(home, 600)
    first.terminate()
    assert first.communicate(timeout=30)[0] == "" and first.returncode == -signal.SIGTERM
    assert statuses(home) == ["FAILURE"]


def test_a_killed_worker_takes_its_step_along_and_the_next_run_goes_on(home):
    """A run with a process for every step, as the UI starts them."""
    worker = subprocess.Popen(
        [sys.executable, "-m", "dagster", "job", "execute", "-m", "tests.assets.test_runs", "-j", "hold"],
        cwd=home, env=os.environ | {"PYTHONPATH": str(ROOT), "HOLD_SECONDS": "600"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    until(lambda: (home / "holding").exists(), 120)
    (step,) = [int(p) for p in (home / "holding").read_text().split()]
    assert step != worker.pid
    worker.kill()
    worker.wait()
    until(lambda: started(step) is None, 10)
    assert work(home, 0) is None
    assert statuses(home) == ["FAILURE", "SUCCESS"]


def test_a_run_that_was_cancelled_and_killed_holds_nothing(home):
    first = holding(home, 600)
    first.kill()
    first.wait()
    with dg.DagsterInstance.from_config(str(home)) as instance:
        (record,) = instance.get_run_records()
        instance.report_run_canceled(record.dagster_run)
        assert instance.event_log_storage.get_concurrency_info("gpu").active_slot_count == 1
    assert work(home, 0) is None
    assert statuses(home) == ["CANCELED", "SUCCESS"]


def test_a_slot_that_waits_for_its_owner_is_no_free_slot(home):
    """A live run queues for a slot that a killed one holds: it is next, and a third one waits for it."""
    said = []
    with dg.DagsterInstance.from_config(str(home)) as instance:
        dead, alive = (
            instance.add_run(dg.DagsterRun("j", status=dg.DagsterRunStatus.STARTED, tags=runs.here())) for _ in range(2)
        )
        instance.event_log_storage.initialize_concurrency_limit_to_default("gpu")
        for run, pid in ((dead, ended()), (alive, os.getpid())):
            instance.report_engine_event("started", run, EngineEventData.in_process(pid))
            instance.event_log_storage.claim_concurrency_slot("gpu", run.run_id, "step")

        def free(line: str) -> None:
            said.append(line.strip())
            instance.event_log_storage.free_concurrency_slots_for_run(alive.run_id)

        runs.wait_for(instance, ["gpu"], free)
        assert said == [f"waiting for gpu (run {alive.run_id[:8]})"]


def test_a_run_is_gone_when_none_of_its_processes_is_left(home, monkeypatch):
    """An id that a younger process has is nobody's; a run that named no process yet is let be."""
    cases = {
        "ended": ([ended()], True),
        "its step works on": ([ended(), os.getpid()], False),
        "at work": ([os.getpid()], False),
        "nothing known": ([], False),
    }
    with dg.DagsterInstance.from_config(str(home)) as instance:
        ids = {}
        for name, (pids, _) in cases.items():
            run = instance.add_run(dg.DagsterRun("j", status=dg.DagsterRunStatus.STARTED, tags=runs.here()))
            for pid in pids:
                instance.report_engine_event("started", run, EngineEventData.in_process(pid))
            ids[name] = run.run_id
        gone = {ids[name] for name, (_, is_gone) in cases.items() if is_gone}
        assert set(runs.close_abandoned(instance)) == gone and runs.close_abandoned(instance) == []
        for name, (_, is_gone) in cases.items():
            assert (instance.get_run_by_id(ids[name]).status is dg.DagsterRunStatus.FAILURE) == is_gone, name
        elsewhere = {**runs.here(), runs.BOOT: f"another {runs.booted()}"}  # of the run that it repeats
        of = {"parent_run_id": ids["ended"], "root_run_id": ids["ended"]}
        repeated = dg.DagsterRun("j", status=dg.DagsterRunStatus.STARTED, tags=elsewhere, **of)
        instance.report_engine_event("started", instance.add_run(repeated), EngineEventData.in_process(os.getpid()))
        assert repeated.run_id not in runs.close_abandoned(instance), "it began here, whatever it was told"
        instance.add_run_tags(repeated.run_id, runs.tags_of(repeated))
        told = runs.tags_of(instance.get_run_by_id(repeated.run_id))[runs.BOOT]
        assert told.endswith(repeated.run_id) and not told.startswith("another")
        for name, tags in {
            "clock set": runs.tags_of(),
            "started anew": {**runs.here(), runs.BOOT: f"another {runs.booted()}"},
        }.items():
            run = instance.add_run(dg.DagsterRun("j", status=dg.DagsterRunStatus.STARTED, tags=tags))
            instance.report_engine_event("started", run, EngineEventData.in_process(os.getpid()))
            ids[name] = run.run_id
        with monkeypatch.context() as clock:  # set forward by an hour, and the start of every process with it
            clock.setattr(runs, "booted", lambda: booted() + 3600)
            clock.setattr(runs, "began", lambda pid: began(pid) and began(pid) + 3600)
            marked = set(runs.close_abandoned(instance))
            assert ids["started anew"] in marked and ids["clock set"] not in marked
        monkeypatch.setattr(runs, "REUSED_S", -1e9)  # as if this process had begun long after the runs
        assert ids["clock set"] in runs.close_abandoned(instance)


if __name__ == "__main__":
    print(work(Path(sys.argv[1]), float(sys.argv[2])))
