"""The guard ends a launcher with all its ranks when those it works for are gone."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from training.launch import ROOT, command, environment, guarded, is_here
from training.supervise import started

# A launcher with two ranks, as torchrun would be: it writes their ids and waits.
LAUNCHER = """
import subprocess, sys, pathlib
ranks = [subprocess.Popen(["sleep", "60"]) for _ in range(2)]
pathlib.Path(sys.argv[1]).write_text(" ".join(str(r.pid) for r in ranks))
sys.stderr.write("ranks started\\n")
for r in ranks: r.wait()
"""


def until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s")


@pytest.fixture
def work(tmp_path):
    """(process that is worked for, guard, ids of the ranks)."""
    step = subprocess.Popen(["sleep", "60"])
    line = guarded([sys.executable, "-c", LAUNCHER, str(tmp_path / "ids")], step.pid, log=tmp_path / "log")
    guard = subprocess.Popen(line, cwd=ROOT, env={**os.environ, **environment()})
    ids = until(lambda: (tmp_path / "ids").exists() and (tmp_path / "ids").read_text().split())
    yield step, guard, [int(i) for i in ids]
    for process in (step, guard):
        process.kill()
        process.wait()


def gone(ranks):
    return all(started(pid) is None for pid in ranks)


def test_ranks_end_when_the_step_is_killed(work):
    step, guard, ranks = work
    assert not gone(ranks)
    step.kill()
    step.wait()
    until(lambda: gone(ranks))
    assert guard.wait(20) == 128 + signal.SIGKILL


def test_ranks_end_when_the_guard_is_asked_to(work):
    _, guard, ranks = work
    guard.terminate()
    until(lambda: gone(ranks))
    assert guard.wait(20) == 128 + signal.SIGTERM


def test_ranks_end_when_the_launcher_is_killed(work):
    _, guard, ranks = work
    launcher = int(Path(f"/proc/{guard.pid}/task/{guard.pid}/children").read_text().split()[0])
    os.kill(launcher, signal.SIGKILL)
    until(lambda: gone(ranks))
    assert guard.wait(20) == 128 + signal.SIGKILL


@pytest.mark.parametrize("status", [0, 3])
def test_status_and_stderr_are_passed_on(tmp_path, status):
    program = f"import sys; sys.stderr.write('what went wrong'); sys.exit({status})"
    done = subprocess.run(
        guarded([sys.executable, "-c", program], log=tmp_path / "log"),
        cwd=ROOT,
        env={**os.environ, **environment()},
        capture_output=True,
        text=True,
    )
    assert done.returncode == status
    assert (tmp_path / "log").read_text() == "what went wrong"
    assert "what went wrong" in done.stderr


def test_a_reused_id_is_not_the_old_process():
    child = subprocess.Popen(["sleep", "60"])
    since = started(child.pid)
    assert since is not None
    child.kill()
    child.wait()
    assert started(child.pid) is None


def test_one_rank_needs_no_launcher():
    assert command("training.train", Path("j"), 1)[1:] == ["-m", "training.train", "j"]


def test_command_lines_on_one_machine_and_on_several():
    job = Path("models/abc/job.json")
    torchrun = "-m torch.distributed.run {} --nproc_per_node 8 -m training.train models/abc/job.json"
    runner = "-m deepspeed.launcher.runner {} --num_accelerators 8 --no_local_rank --module training.train {}"
    line = command("training.train", job, 8)
    assert line[1:] == torchrun.format("--standalone").split()
    line = command("training.train", job, 8, nodes=4, rendezvous="head:29500")
    assert line[1:] == torchrun.format(
        "--nnodes 4 --node_rank 0 --master_addr head --master_port 29500"
    ).split()  # fmt: skip
    line = command("training.train", job, 8, "deepspeed")
    assert line[1:] == runner.format(f"--master_port {line[4]}", job).split()
    line = command("training.train", job, 8, "slurm", nodes=4)
    assert line[:6] == ["srun", "--nodes=4", "--kill-on-bad-exit=1", "--ntasks=4", "--ntasks-per-node=1", "bash"]
    assert re.search(
        r"; exec \S+ -m torch.distributed.run --nnodes=4 --nproc_per_node=8 --node_rank=\"\$SLURM_NODEID\" "
        r'--master_addr="\$\{ASSAY_HEAD:-\$HEAD\}" --master_port=\d{5} -m training.train models/abc/job.json$', line[-1]
    )  # fmt: skip
    line = command("training.train", job, 8, "deepspeed", nodes=4, hostfile=Path("hosts"))
    assert line[1:] == runner.format("--hostfile hosts", job).split()


@pytest.mark.parametrize(
    ("host", "here"),
    [("127.0.0.1", True), (socket.gethostname(), True), ("192.0.2.1", False), ("nowhere.invalid", False), ("", False)],
)
def test_a_machine_knows_its_own_names(host, here):
    assert is_here(host) == here
