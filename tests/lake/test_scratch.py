"""Temporary folders: none outlives its process for longer than until the next begins."""

import os
import signal
import subprocess
import sys

from tests.support.places import ROOT

HOLD = "import sys, time; from resources.scratch import scratch; print(scratch('held'), flush=True); time.sleep(60)"
USE = "from resources.scratch import scratch; print(scratch('mine'), flush=True)"


def start(folder, code):
    here = os.environ | {"TMPDIR": str(folder), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", code], env=here, stdout=subprocess.PIPE, text=True)


def test_what_a_killed_process_left_is_removed_by_the_next_and_what_is_used_is_not(tmp_path):
    (tmp_path / "somebody").mkdir()
    living, dead = start(tmp_path, HOLD), start(tmp_path, HOLD)
    kept, left = (p.stdout.readline().strip() for p in (living, dead))
    dead.send_signal(signal.SIGKILL)
    dead.wait()
    assert os.path.isdir(left)
    done = start(tmp_path, USE)
    mine, _ = done.communicate(timeout=60)
    assert done.returncode == 0 and not os.path.exists(mine.strip())
    assert os.path.isdir(kept) and not os.path.exists(left)
    living.kill()
    living.communicate()
    assert start(tmp_path, USE).wait(60) == 0
    assert os.listdir(tmp_path) == ["somebody"]
