"""Signals, disks that are full or read-only: one clear line each, an exit status, and nothing left behind."""

import errno
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest

from cli.main import DISKS, main
from curation.tables import CLEAN_POOL
from resources import settings as configuration
from resources.lake import Lake
from tests.support.lakes import put
from tests.support.places import ROOT

PROGRAM = """
import sys, time, typer
import cli.main
from resources.scratch import scratch
cli.main.app = typer.Typer()
@cli.main.app.command()
def wait(seconds: float):
    scratch("held")
    print("ready", flush=True)
    time.sleep(seconds)
cli.main.entry()
"""


def heeds_interrupts() -> None:
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a shell's background jobs ignore it, and so do their children


@pytest.mark.parametrize(("number", "status", "says"), [
    (signal.SIGINT, 130, "assay: interrupted. What was made stays; the same command goes on from there."),
    (signal.SIGTERM, 143, "assay: ended by SIGTERM. What was made stays; the same command goes on from there."),
])  # fmt: skip
def test_a_signal_ends_a_command_in_one_line_and_leaves_no_temporary_folder(tmp_path, number, status, says):
    here = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    started = subprocess.Popen([sys.executable, "-c", PROGRAM, "60"], env=here, stdout=subprocess.PIPE, preexec_fn=heeds_interrupts,
                               stderr=subprocess.PIPE, text=True)  # fmt: skip
    assert started.stdout.readline() == "ready\n"
    assert os.listdir(tmp_path)
    started.send_signal(number)
    _, said = started.communicate(timeout=60)
    assert (started.returncode, said.strip()) == (status, says)
    assert os.listdir(tmp_path) == []


def patient(folder: Path) -> None:
    """A process that needs a moment to end well."""

    def end(*_) -> None:
        time.sleep(0.3)
        (folder / "ended well").touch()
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    (folder / "child").touch()
    time.sleep(60)


def parent(folder: Path) -> None:
    """Works with a process beside it, as a run does."""
    from cli.main import _terminated
    from cli.signals import terminating_children

    signal.signal(signal.SIGTERM, _terminated)
    child = multiprocessing.get_context("spawn").Process(target=patient, args=(folder,))
    with terminating_children():
        child.start()
        try:
            time.sleep(60)
        finally:
            child.join()


def test_sigterm_lets_the_processes_of_a_run_end_well(tmp_path):
    code = f"from pathlib import Path; from tests.cli.test_faults import parent; parent(Path({str(tmp_path)!r}))"
    here = os.environ | {"PYTHONPATH": str(ROOT)}
    started = subprocess.Popen([sys.executable, "-c", code], env=here, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 120
    while not (tmp_path / "child").exists() and time.monotonic() < until and started.poll() is None:
        time.sleep(0.05)
    started.send_signal(signal.SIGTERM)
    _, said = started.communicate(timeout=60)
    assert "KeyboardInterrupt" in said
    assert (tmp_path / "ended well").exists()


@pytest.fixture
def lake(tmp_path, monkeypatch):
    """A lake with one pair, and its configuration chosen."""
    path = tmp_path / "assay.toml"
    path.write_text((ROOT / "assay.toml").read_text())
    monkeypatch.setenv("ASSAY_CONFIG", str(path))
    configuration.current.cache_clear()
    lake = Lake(str(tmp_path / "lake"))
    put(lake, CLEAN_POOL, [{"pair_id": "p1"}], "b00")
    yield lake
    configuration.current.cache_clear()


@pytest.mark.parametrize("number", DISKS)
def test_a_disk_that_does_not_take_it_is_one_line(lake, monkeypatch, capsys, number):
    def broken(*_):
        raise OSError(number, os.strerror(number), "lake/x\x1b[2J")

    monkeypatch.setattr(Lake, "connect", broken)
    assert main(["sql", "SELECT 1"]) == 1
    said = capsys.readouterr().err.strip()
    assert re.fullmatch(
        r"assay: [^\n]+ \(lake/x␛\[2J\)\. What was made stays; the same command goes on from there\.", said
    )


def test_a_full_disk_is_told_by_what_it_is(capsys, monkeypatch):
    def full(*_):
        with open("/dev/full", "w") as f:
            f.write("x" * 100_000)

    monkeypatch.setattr("cli.main._use", full)
    assert main(["status"]) == 1
    assert "assay: the disk is full" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["history/runs.db", "history/runs/index.db", "schedules/schedules.db"])
@pytest.mark.parametrize("command", [["run", "world", "--jobs", "1"], ["iterate", "iter_00", "iter_00"]])
def test_a_damaged_database_of_dagster_is_named_in_one_line_with_the_way_out(
    lake, tmp_path, monkeypatch, capsys, name, command
):
    home = tmp_path / "home"
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    home.mkdir()
    with dg.DagsterInstance.get():
        pass
    database = home / name
    whole = database.read_bytes()
    for damage in (whole[: len(whole) // 2], b"x" * len(whole)):
        for beside in database.parent.glob(f"{database.name}-*"):
            beside.unlink()
        database.write_bytes(damage)
        assert main(command) == 2
        told = capsys.readouterr().err.strip().splitlines()
        assert len(told) == 1 and str(database) in told[0] and "Move it away" in told[0], told
    database.rename(tmp_path / "away")
    with dg.DagsterInstance.get():
        assert database.exists()


def test_other_errors_of_the_system_keep_their_traceback(monkeypatch):
    def broken(*_):
        raise OSError(errno.EBADF, "x")

    monkeypatch.setattr("cli.main._use", broken)
    with pytest.raises(OSError, match="x"):
        main(["status"])


def test_a_lake_that_cannot_be_written_can_be_looked_at(lake, capsys):
    folder = Path(lake.root)
    bound = subprocess.run(["mount", "--bind", folder, folder], capture_output=True).returncode == 0
    if not bound:
        pytest.skip("needs the right to mount a file system read-only")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
        with pytest.raises(OSError):
            (folder / "x").touch()
        for command in (
            ["status"],
            ["sql", "FROM clean_pool"],
            ["explain", "p1"],
            ["estimate"],
            ["people"],
            ["verify"],
        ):
            status = main(command)
            told = capsys.readouterr()
            assert "Traceback" not in told.out + told.err and "Errno" not in told.out + told.err, command
            assert status in (0, 2), (command, told.err)
        with pytest.raises(OSError) as refused:
            put(lake, CLEAN_POOL, [{"pair_id": "p2"}], "b00")
        assert refused.value.errno in DISKS
    finally:
        subprocess.run(["umount", folder], check=True)
