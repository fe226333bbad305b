"""Training programs that are forked from a process with their packages imported: as if each were started by itself."""

import json
import os
import socket
import struct
import subprocess
import sys

import pytest

from tests.training.test_training_supervise import until
from training import forkserver
from training.launch import ROOT, environment, guarded
from training.supervise import started

PROGRAM = """
import os, pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
print(os.environ["SAID"], os.getcwd(), "torch" in sys.modules, os.getsid(0) == os.getpid())
print("about it", file=sys.stderr)
(folder / "pid").write_text(str(os.getpid()))
if len(sys.argv) > 2:
    sys.exit(int(sys.argv[2]))
time.sleep(60)
"""
OWNER = """
import os, subprocess, sys, time
from training import forkserver
from training.launch import environment, guarded
env = environment() | {"PYTHONPATH": os.environ["PYTHONPATH"]}
line = guarded([sys.executable, "-m", "program", sys.argv[1]], server=forkserver.address(env))
subprocess.Popen(line, env={**os.environ, **env, "SAID": "x"})
print(forkserver._own[1].process.pid, forkserver._own[1].folder, flush=True)
time.sleep(60)
"""


@pytest.fixture(scope="module")
def env(tmp_path_factory):
    folder = tmp_path_factory.mktemp("programs")
    (folder / "program.py").write_text(PROGRAM)
    return environment() | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}


@pytest.fixture(scope="module")
def server(env):
    if (found := forkserver.address(env)) is None:
        pytest.skip("there is a GPU, so nothing is forked")
    assert forkserver.address(env) == found
    return found


def guard(env, server, *arguments, said="this", **more):
    line = guarded([sys.executable, "-m", "program", *map(str, arguments)], server=server, **more)
    return subprocess.Popen(line, env={**os.environ, **env, "SAID": said}, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def pid_in(folder):
    return int(
        until(lambda: (folder / "pid").exists() and (folder / "pid").read_text(), 60)
    )  # what it imports takes a while


@pytest.mark.parametrize("status", [0, 3])
def test_it_gets_the_asker_s_world_and_gives_its_status(env, server, tmp_path, status):
    one = guard(env, server, tmp_path, status, said=f"number {status}", log=tmp_path / "log")
    out, _ = one.communicate(timeout=60)
    assert out == f"number {status} {ROOT} True True\n" and one.returncode == status
    assert (tmp_path / "log").read_text() == "about it\n"


def test_it_ends_when_its_guard_is_killed_and_the_server_goes_on(env, server, tmp_path):
    one = guard(env, server, tmp_path)
    pid = pid_in(tmp_path)
    one.kill()
    until(lambda: started(pid) is None)
    assert guard(env, server, tmp_path, 7).wait(60) == 7


def test_it_ends_when_its_guard_is_killed_before_it_is_told_the_process(env, server, tmp_path):
    job = {
        "module": "program",
        "arguments": [str(tmp_path)],
        "env": {**os.environ, **env, "SAID": "x"},
        "cwd": str(ROOT),
    }
    told = json.dumps(job).encode()
    with socket.socket(socket.AF_UNIX) as guarding:
        guarding.connect(str(server))
        socket.send_fds(guarding, [struct.pack("!Q", len(told))], [1, 2])
        guarding.sendall(told)
    (tmp_path / "later").mkdir()
    assert guard(env, server, tmp_path / "later", 7).wait(60) == 7  # by now the server has seen both
    said = tmp_path / "pid"
    until(lambda: not said.exists() or started(int(said.read_text() or "0")) is None, 5)


def test_it_is_started_by_itself_where_the_server_is_gone(env, tmp_path):
    one = guard(env, tmp_path / "gone" / "socket", tmp_path, 5)
    out, _ = one.communicate(timeout=60)
    assert out == f"this {ROOT} False True\n" and one.returncode == 5


def test_server_and_program_end_with_their_owner_and_leave_nothing(env, server, tmp_path):
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)],
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert owner.stdout is not None
    pid, folder = owner.stdout.readline().split()
    program = pid_in(tmp_path)
    owner.kill()
    until(lambda: started(program) is None and started(int(pid)) is None and not os.path.exists(folder))
