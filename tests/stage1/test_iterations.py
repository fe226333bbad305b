"""Iterations through every door: the sensor, a backfill from the UI, Dagster's and our own command line, Python; a kill
in the middle. Each must leave the same tables."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from cli import dagster_runs as pipeline
from curation.tables import ANNOTATION_BATCH, HUMAN_LABELS, JUDGE_VOTES, SELECTION
from resources import settings as config
from resources.lake import Lake
from tests.support.places import ROOT

KEYS = ["iter_00", "iter_01", "iter_02", "iter_03"]
SMALL = {"pairs": 500, "iterations": 3, "seed_people": 40, "seed_judges": 50, "batch": 30}
OF_A_RUN = {"reward_model": ("path", "seconds")}  # columns that say where and how fast, not what


def contents(root: Path) -> dict[str, str]:
    """A hash of the rows of every stage-1 partition."""
    settings = config.load(root / "assay.toml")
    found = {}
    with Lake(str(settings.lake.path)).connect() as con:
        for table in [t for s in pipeline.steps() if s.group == "stage1" for t in s.tables]:
            left_out = ", ".join(OF_A_RUN.get(table.name, ()))
            rows = f"SELECT * {f'EXCLUDE ({left_out})' if left_out else ''} FROM {table.name}"
            for key, digest in con.execute(
                f"SELECT iteration, md5(string_agg(r::VARCHAR, chr(10) ORDER BY r::VARCHAR)) FROM ({rows}) r GROUP BY 1"
            ).fetchall():
                found[f"{table.name}/{key}"] = digest
    return found


def small(folder: Path) -> Path:
    """A small world in a folder of its own, with everything before stage 1 made."""
    text = (ROOT / "assay.toml").read_text()
    for key, value in SMALL.items():
        text, n = re.subn(rf"^{key} = \d+", f"{key} = {value}", text, flags=re.M)
        assert n == 1, key
    folder.mkdir()
    (folder / "assay.toml").write_text(text)
    shutil.copy(ROOT / "dagster.yaml", folder)
    assay(folder, "run", "world", "pool", "seed")
    return folder


def environment(folder: Path) -> dict[str, str]:
    here = {"ASSAY_CONFIG": str(folder / "assay.toml"), "DAGSTER_HOME": str(folder), "PYTHONPATH": str(ROOT)}
    return os.environ | here


def assay(folder: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "cli.main", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def killed(folder: Path, arguments: list[str], written: Path) -> None:
    """Start the command and kill it, and all it started, as soon as a file is there."""
    command = [sys.executable, "-m", "cli.main", *arguments]
    with open(folder / "killed.log", "w") as log:
        program = subprocess.Popen(
            command, cwd=folder, env=environment(folder), stdout=log, stderr=log, start_new_session=True
        )
        until(lambda: written.exists() or program.poll() is not None, 600)
        assert program.poll() is None, (folder / "killed.log").read_text()[-3000:]
        os.killpg(program.pid, signal.SIGKILL)
        program.wait()


def until(true, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


class Dev:
    """`dagster dev` on a lake: web server, daemon and code location, and its GraphQL."""

    def __init__(self, folder: Path):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        command = [sys.executable, "-m", "dagster", "dev", "-m", "assets.definitions", "-p", str(self.port)]
        self.log = open(folder / "dev.log", "w")  # noqa: SIM115
        self.folder = folder
        self.program = subprocess.Popen(
            command, cwd=folder, env=environment(folder), stdout=self.log, stderr=self.log, start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip

    def __enter__(self) -> "Dev":
        def up() -> bool:
            with contextlib.suppress(OSError, KeyError):
                daemons = self.ask("{instance {daemonHealth {allDaemonStatuses {daemonType healthy}}}}")
                states = daemons["instance"]["daemonHealth"]["allDaemonStatuses"]
                return any(d["daemonType"] == "BACKFILL" and d["healthy"] for d in states)
            return False

        until(up, 300)
        return self

    def __exit__(self, *_) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.program.pid, signal.SIGINT)
        try:
            self.program.wait(30)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.program.pid, signal.SIGKILL)
            self.log.close()

    def kill(self) -> None:
        """Every process of this instance at once, as when the machine stops."""
        mine = f"DAGSTER_HOME={self.folder}\0".encode()
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mine in (folder / "environ").read_bytes():
                    os.kill(int(folder.name), signal.SIGKILL)
        self.program.wait()

    def ask(self, query: str, **variables) -> dict:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/graphql",
            json.dumps({"query": query, "variables": variables}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.loads(response.read())["data"]

    def runs(self) -> list[tuple[str, str, float, float]]:
        """(partition, status, start, end) of the loop's runs, in the order in which they started."""
        found = self.ask(
            '{runsOrError(filter: {tags: [{key: "assay/loop", value: "stage1"}]}) {... on Runs {results'
            " {status startTime endTime tags {key value}}}}}"
        )["runsOrError"]["results"]
        rows = []
        for r in found:
            partition = next(t["value"] for t in r["tags"] if t["key"] == "dagster/partition")
            rows.append((partition, r["status"], r["startTime"] or 9e99, r["endTime"] or 9e99))
        return sorted(rows, key=lambda r: r[2])

    def finished(self, n: int) -> list[tuple[str, str, float, float]]:
        """Wait for the n-th run of the loop to end; the runs, checked to have succeeded one after the other."""
        ended = ("SUCCESS", "FAILURE", "CANCELED")
        until(lambda: len(self.runs()) >= n and all(r[1] in ended for r in self.runs()), 1500)
        runs = self.runs()
        assert [r[1] for r in runs] == ["SUCCESS"] * n
        assert all(a[3] <= b[2] for a, b in zip(runs, runs[1:], strict=False))
        return runs


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    return small(tmp_path_factory.mktemp("loop") / "prepared")


@pytest.fixture
def fresh(prepared, tmp_path) -> Iterator[Path]:
    yield Path(shutil.copytree(prepared, tmp_path / "lake"))


@pytest.mark.slow
def test_every_door_leaves_the_same_tables(prepared, tmp_path):
    """The sensor alone runs iterations 1 to 3 after somebody ran iteration 0; then two backfills over what is there."""
    folder = Path(shutil.copytree(prepared, tmp_path / "lake"))
    with Dev(folder) as dev:
        selector = {
            "repositoryLocationName": "assets.definitions",
            "repositoryName": "__repository__",
            "sensorName": "stage1_loop",
        }
        dev.ask("mutation($s: SensorSelector!) {startSensor(sensorSelector: $s) {__typename}}", s=selector)
        assay(folder, "iterate", "iter_00", "iter_00")
        unattended = dev.finished(4)
        assert [r[0] for r in unattended] == KEYS
        tables = contents(folder)
        assert {f"annotation_batch/{k}" for k in KEYS} <= tables.keys()

        names = [t.name for s in pipeline.steps() if s.group == "stage1" for t in s.tables]
        backfill = {
            "assetSelection": [{"path": [n]} for n in names],
            "partitionNames": KEYS[::-1],  # the UI's order does not matter
            "tags": [{"key": "assay/loop", "value": "stage1"}],
        }
        dev.ask(
            "mutation($p: LaunchBackfillParams!) {launchPartitionBackfill(backfillParams: $p) {__typename"
            " ... on PythonError {message}}}",
            p=backfill,
        )
        assert [r[0] for r in dev.finished(8)[4:]] == KEYS
        assert contents(folder) == tables

        command = [sys.executable, "-m", "dagster", "job", "backfill", "-m", "assets.definitions", "-j"]
        command += ["stage1_iteration", "--from", "iter_01", "--to", "iter_03", "--noprompt"]
        subprocess.run(command, cwd=folder, env=environment(folder), check=True, capture_output=True)
        assert [r[0] for r in dev.finished(11)[8:]] == KEYS[1:]
        assert contents(folder) == tables

    stopped = Path(shutil.copytree(prepared, tmp_path / "stopped"))
    lake = Lake(str(stopped / "lake"))
    with Dev(stopped) as dev:
        dev.ask("mutation($s: SensorSelector!) {startSensor(sensorSelector: $s) {__typename}}", s=selector)
        assay(stopped, "iterate", "iter_00", "iter_00")
        until(lambda: lake.note(HUMAN_LABELS, "iter_02") is not None, 900)
        dev.kill()
    assert lake.note(SELECTION, "iter_02") is None
    with Dev(stopped) as dev:
        until(lambda: lake.note(SELECTION, "iter_03") is not None, 900)
        until(lambda: all(r[1] in ("SUCCESS", "FAILURE") for r in dev.runs()), 60)
        assert [r[:2] for r in dev.runs()] == [
            ("iter_00", "SUCCESS"), ("iter_01", "SUCCESS"), ("iter_02", "FAILURE"), ("iter_02", "SUCCESS"),
            ("iter_03", "SUCCESS"),
        ]  # fmt: skip
        assert contents(stopped) == tables

    again = Path(shutil.copytree(prepared, tmp_path / "killed"))
    lake = Lake(str(again / "lake"))
    killed(again, ["iterate", *KEYS[::3]], lake.path(HUMAN_LABELS, "iter_02"))
    assert lake.note(SELECTION, "iter_02") is None and lake.note(ANNOTATION_BATCH, "iter_02") is not None
    assay(again, "iterate", "iter_02", "iter_03")
    assert contents(again) == tables


@pytest.mark.slow
def test_python_runs_iterations_and_a_kill_leaves_no_trace(fresh, prepared, tmp_path):
    settings = config.load(fresh / "assay.toml")
    with dg.DagsterInstance.ephemeral() as instance:
        for key in KEYS[:2]:
            assert pipeline.iterate(settings, key, instance) is None
    other = Path(shutil.copytree(prepared, tmp_path / "killed"))
    lake = Lake(str(other / "lake"))
    killed(other, ["run", "stage1"], lake.path(JUDGE_VOTES, "iter_01"))
    assert lake.note(SELECTION, "iter_01") is None
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(other))
        patch.chdir(other)
        lines: list[str] = []
        pipeline.run_all(config.load(other / "assay.toml"), lines.append, ["stage1"])
    assert not [line for line in lines if "iter_00" in line]  # what was closed stays closed
    of_two = {k: v for k, v in contents(other).items() if k.endswith(("iter_00", "iter_01"))}
    assert of_two == contents(fresh)
