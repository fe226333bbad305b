"""Twenty times SIGKILL, at a rank, the launcher or the guard: the weights are those of a run left alone."""

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.support.training_jobs import job, metrics, pairs, table
from training.job import TrainJob
from training.launch import ROOT, command, environment, guarded
from training.supervise import started

KILLS, STEPS = 20, 100


def children(pid: int) -> list[int]:
    """All descendants, nearest first."""
    try:
        direct = [int(i) for i in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return direct + [c for d in direct for c in children(d)]


def rank_of(pid: int) -> str | None:
    """The RANK that a process was given by its launcher."""
    try:
        given = dict(v.split("=", 1) for v in Path(f"/proc/{pid}/environ").read_text().split("\0") if "=" in v)
    except OSError:
        return None
    return given.get("RANK")


def start(j: TrainJob) -> subprocess.Popen:
    path = Path(f"{j.out}.json")
    j.write(path)
    line = guarded(command("training.train", path, 2))
    with open(f"{j.out}.log", "ab") as log:
        return subprocess.Popen(line, cwd=ROOT, env={**os.environ, **environment(2)}, stderr=log, stdout=log)


def step_of(j: TrainJob) -> int:
    try:
        return metrics(j)[-1]["step"]
    except (OSError, IndexError, json.JSONDecodeError):
        return 0


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_with_the_same_weights(tmp_path):
    """Start-up is most of the time: a start is given a step or two before the kill, so that few steps are enough."""
    r = random.Random(0)
    data = table(pairs(4 * STEPS)), table(pairs(20, seed=1))
    whole = job(tmp_path, *data, out="whole", recipe={"global_batch_size": 4}, checkpoint_steps=1)
    broken = whole.model_copy(update={"out": tmp_path / "broken"})
    assert start(whole).wait(900) == 0
    victims = ["guard", "launcher", "rank 0", "rank 1"] * (KILLS // 4)
    r.shuffle(victims)
    kills = []
    for victim in victims:
        before, guard = step_of(broken), start(broken)
        while guard.poll() is None and step_of(broken) <= before:
            time.sleep(0.01)
        time.sleep(r.uniform(0, 0.25))  # some moment of the steps or checkpoints after that
        family = [guard.pid, *children(guard.pid)]
        assert guard.poll() is None, Path(f"{broken.out}.log").read_text()[-3000:]
        ranks = {f"rank {rank_of(p)}": p for p in family[2:] if rank_of(p)}
        os.kill({"guard": family[0], "launcher": family[1], **ranks}[victim], signal.SIGKILL)
        guard.wait(60)
        end = time.monotonic() + 30
        while any(started(p) for p in family) and time.monotonic() < end:
            time.sleep(0.05)
        assert not any(started(p) for p in family), f"processes outlived the killed {victim}"
        kills.append((victim, step_of(broken)))
    assert start(broken).wait(900) == 0
    print(f"{len(kills)} kills, each with the steps made until then: {kills}")
    assert [m["loss"] for m in metrics(broken)] == [m["loss"] for m in metrics(whole)]
    ours, theirs = (load_file(j.out / "model" / "model.safetensors") for j in (broken, whole))
    assert all(torch.equal(ours[k], theirs[k]) for k in ours | theirs)
