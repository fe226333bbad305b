"""SIGKILL in the middle of every step of stage 0: a rerun gives the tables of a run left alone, and leaves nothing else.

The steps run in processes of their own, forked from a server that has the modules loaded, so that what is killed is work
and not the start of an interpreter.
"""

import multiprocessing
import random
import time
from hashlib import blake2b
from pathlib import Path

import pytest

from assets.publishing import publish
from assets.registry import steps
from resources.lake import Lake
from resources.run import Run
from resources.settings import Settings, load
from tests.support.places import ROOT

GROUPS = ("world", "pool")


def configured(pairs: int) -> Settings:
    settings = load(ROOT / "assay.toml")
    world = settings.world.model_copy(update={"pairs": pairs})
    return settings.model_copy(update={"world": world, "lake": settings.lake.model_copy(update={"buckets": 1})})


def work(settings: Settings, root: str, left: tuple[str, ...], said) -> None:
    """Stage 0 without the steps in `left`, what is not up to date; says which begins, and at the end that all is done."""
    lake = Lake(root)
    for step in steps():
        if step.group not in GROUPS or step.name in left:
            continue
        for key in settings.partition_keys(step.partition) if step.partition else [None]:
            if step.stale(settings, lake, key):
                said.send((step.name, key))
                list(publish(step, Run(settings, lake, key)))
    said.send(None)


class Worker:
    def __init__(self, settings: Settings, root: Path, left: tuple[str, ...]):
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["assets.definitions", "tests.pool.test_pool_kill"])
        self.said, end = context.Pipe(False)
        self.process = context.Process(target=work, args=(settings, str(root), left, end))
        self.process.start()
        end.close()

    def until(self, step: tuple | None) -> float:
        """Waits for the beginning of a step, or the end of all; returns the time."""
        while self.said.recv() != step:
            pass
        return time.monotonic()

    def kill(self) -> None:
        self.process.kill()
        self.process.join()


def contents(root: Path) -> dict[str, str]:
    """Hash of every file of the lake, whatever it is."""
    return {str(p.relative_to(root)): blake2b(p.read_bytes()).hexdigest() for p in root.rglob("*") if p.is_file()}


def durations(settings: Settings, root: Path, left: tuple[str, ...]) -> dict[tuple, float]:
    """Seconds each step took in a run left alone."""
    worker, began = Worker(settings, root, left), {}
    while (said := worker.said.recv()) is not None:
        began[said] = time.monotonic()
    ends = [*list(began.values())[1:], time.monotonic()]
    worker.process.join()
    return {step: end - start for (step, start), end in zip(began.items(), ends, strict=True)}


def kill_within(settings: Settings, root: Path, left: tuple[str, ...], step: tuple, delay: float) -> None:
    """SIGKILL while the step is at work: earlier and earlier until it has not finished by then."""
    name, key = step
    tables, lake = next(s for s in steps() if s.name == name).tables, Lake(str(root))

    def done() -> bool:
        return all(lake.note(table, key) is not None for table in tables)

    while True:
        if done():  # this attempt, or one at the step before it, was killed too late
            for table in tables:
                lake.path(table, key).unlink()
        worker = Worker(settings, root, left)
        worker.until(step)
        time.sleep(delay)
        worker.kill()
        if not done():
            return
        delay /= 3


@pytest.mark.parametrize(
    ("pairs", "kills", "names"),
    [
        (200, 1, ("raw_pool", "deduped", "clusters", "benchmark_hits", "clean_pool")),
        pytest.param(2_000, 6, None, marks=pytest.mark.slow),  # every step and partition
    ],
)
def test_killed_at_work_it_ends_with_the_same_files(tmp_path, pairs, kills, names):
    chance, settings = random.Random(7), configured(pairs)
    left = ("ngram_frequency", "data_card") if names else ()
    taken = durations(settings, tmp_path / "whole", left)
    at = [s for s in taken if names is None] or [chance.choice([s for s in taken if s[0] == n]) for n in names]
    for step in at:
        for _ in range(kills):
            kill_within(settings, tmp_path / "killed", left, step, chance.random() * taken[step])
    worker = Worker(settings, tmp_path / "killed", left)
    worker.until(None)
    worker.process.join()
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
