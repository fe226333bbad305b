"""Runs whose process was killed hold nothing up; those at work are waited for, and the wait is said."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest

from assets import pipeline, runs
from assets.table_asset import Rows, as_asset, table_asset
from resources.lake import Lake
from resources.tables import SEED_SELECTION

from .lakes import settings

ROOT = Path(__file__).parents[1]


def work(folder: Path, seconds: str) -> str | None:
    """A run of one step that holds the pool `gpu` for so long; why it failed."""

    @table_asset(SEED_SELECTION, group="seed", pool="gpu")
    def step(run):
        (folder / "holding").touch()
        time.sleep(float(seconds))
        yield Rows(SEED_SELECTION, SEED_SELECTION.schema.empty_table())

    made = settings(lake={"path": str(folder / "lake"), "buckets": 1})
    asset = as_asset(step, made, Lake.of(made))
    with dg.DagsterInstance.get() as instance:
        return pipeline.materialize([asset], (step,), None, instance)


def start(folder: Path, seconds: float) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.test_runs", str(folder), str(seconds)],
        cwd=folder, env=os.environ | {"DAGSTER_HOME": str(folder), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    shutil.copy(ROOT / "dagster.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)  # its folders are relative
    return tmp_path


def holding(home: Path, seconds: float) -> subprocess.Popen:
    first = start(home, seconds)
    while not (home / "holding").exists():
        assert first.poll() is None
        time.sleep(0.05)
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
    said, _ = start(home, 0).communicate(timeout=60)
    assert said == "None\n"
    assert statuses(home) == ["FAILURE", "SUCCESS"]


def test_a_run_at_work_is_waited_for(home):
    first = holding(home, 12)
    second = start(home, 0)
    said, _ = second.communicate(timeout=90)
    assert said.startswith("        waiting for gpu (run ") and said.endswith("\nNone\n") and said.count("waiting") == 1
    assert first.wait() == 0 and statuses(home) == ["SUCCESS", "SUCCESS"]


def test_only_a_process_that_is_known_to_be_gone_counts_as_gone():
    (mine,) = runs.process().values()
    machine, pid, begun = mine.rsplit(":", 2)
    host = machine.partition("/")[0]
    tags = {
        "at work": mine,
        "ended": f"{machine}:{pid}:{int(begun) - 1}",  # the id was given to another since
        "before a restart": f"{host}/another-boot:{pid}:{begun}",
        "elsewhere": f"other-host/boot:{pid}:1",
        "unknown": None,
    }
    with dg.DagsterInstance.ephemeral() as instance:
        started = {"job_name": "j", "status": dg.DagsterRunStatus.STARTED}
        ids = {
            name: instance.add_run(dg.DagsterRun(**started, tags={runs.PROCESS: tag} if tag else {})).run_id
            for name, tag in tags.items()
        }
        first = ids["ended"]
        again = {"parent_run_id": first, "root_run_id": first, "tags": {runs.PROCESS: tags["ended"]}}
        ids["second try"] = instance.add_run(dg.DagsterRun(**started, **again)).run_id
        gone = {ids["ended"], ids["before a restart"]}
        assert set(runs.close_abandoned(instance)) == gone and runs.close_abandoned(instance) == []
        for run in instance.get_runs():
            assert (run.status is dg.DagsterRunStatus.FAILURE) == (run.run_id in gone)


if __name__ == "__main__":
    print(work(Path(sys.argv[1]), sys.argv[2]))
