"""Processes that work side by side: what dies takes along its own work only, and signals do afterwards what they did."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import wait
from pathlib import Path

import dagster as dg
import pytest

from cli.signals import signals_kept
from cli.workers import WorkerDied, workers
from tests.support.places import ROOT
from training.supervise import started

GIVEN: list[str] = []


def begin(word: str) -> None:
    GIVEN.append(word)


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def work(until: str) -> tuple[int, list[str]]:
    while until and not Path(until).exists():
        time.sleep(0.02)
    return os.getpid(), GIVEN


def test_a_process_that_dies_takes_along_its_own_work_only(tmp_path):
    go_on = tmp_path / "go on"
    with workers(2, begin, "told") as some:
        other, dying = some.submit(work, str(go_on)), some.submit(killed)
        with pytest.raises(IndexError):
            some.submit(work, "")
        wait([dying])
        with pytest.raises(WorkerDied):
            some.result(dying)
        third = some.submit(work, "")  # by one in its place, begun as the first were
        assert some.result(third)[1] == ["told"]
        go_on.touch()
        process, told = some.result(other)
        assert told == ["told"]
        os.kill(process, signal.SIGKILL)  # idle
        until = time.monotonic() + 20
        while started(process) is not None and time.monotonic() < until:
            time.sleep(0.02)
        for again in [some.submit(work, "") for _ in range(2)]:
            number, told = some.result(again)
            assert told == ["told"] and number != process


def finished(folder: str) -> None:
    (Path(folder) / "begun").touch()
    time.sleep(1)
    (Path(folder) / "finished").touch()


def test_what_is_at_work_is_waited_for_and_nothing_is_said_at_the_end(tmp_path):
    code = (
        "import os, time\nfrom pathlib import Path\n"
        "from cli.workers import workers\nfrom tests.cli.test_workers import begin, finished\n"
        f"with workers(2, begin, '') as some:\n    some.submit(finished, {str(tmp_path)!r})\n"
        f"    while not Path({str(tmp_path)!r}, 'begun').exists(): time.sleep(0.02)\n"
        "os._exit(0)\n"  # as a command ends
    )
    here = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=here, cwd=ROOT, capture_output=True, text=True, check=True)
    assert (tmp_path / "finished").exists() and done.stderr == ""


@pytest.mark.parametrize("interrupt", [signal.default_int_handler, signal.SIG_IGN])
def test_a_run_leaves_signals_as_they_were(interrupt):
    """SIGINT is ignored in what a script starts in the background; SIGTERM must end it all the same."""
    with signals_kept():
        signal.signal(signal.SIGINT, interrupt)
        signal.signal(signal.SIGTERM, killed)

        @dg.asset
        def nothing() -> None: ...

        with signals_kept():
            dg.materialize([nothing])
            assert signal.getsignal(signal.SIGTERM) is not killed  # else this would not be needed
        assert signal.getsignal(signal.SIGTERM) is killed and signal.getsignal(signal.SIGINT) is interrupt
