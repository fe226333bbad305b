"""Lines of a running job, and at a terminal a bar with the time left of the training or scoring that is under way."""

import contextlib
import json
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from cli.terminal import Console
from resources.lake import Lake

LOOK_S = 1.0  # seconds between two looks at what programs have written


@contextlib.contextmanager
def lines(lake: Lake) -> Generator[Callable[[str], None], None, None]:
    """A function that prints a line; below the lines stands a bar where somebody sits at a terminal."""
    if not sys.stdout.isatty():
        yield lambda line: print(line, flush=True)
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    bar = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(), transient=True)
    done = threading.Event()

    def watch() -> None:
        tasks = {}
        while not done.wait(LOOK_S):
            now = {name: (made, of) for name, made, of in under_way(Path(lake.root) / "files")}
            for name in tasks.keys() - now.keys():
                bar.remove_task(tasks.pop(name))
            for name, (made, of) in now.items():
                if name not in tasks:
                    tasks[name] = bar.add_task(name, total=of)
                bar.update(tasks[name], completed=made, total=of)

    watcher = threading.Thread(target=watch, daemon=True)
    with bar:
        watcher.start()
        try:
            yield lambda line: bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        finally:
            done.set()
            watcher.join()


def under_way(files: Path) -> Iterator[tuple[str, int, int]]:
    """(what, steps or parts done, of how many) of the trainings and scorings that have begun and not ended.

    Args:
        files: the lake's folder for what is no table.
    """
    for job in sorted(files.glob("models/*/job.json")):
        if not (job.parent / "result.json").exists() and (found := _training(job)):
            yield f"training {job.parent.name[:8]}", *found
    for job in sorted(files.glob("scores/*/job.json")):
        if found := _scoring(job):
            yield f"scoring {job.parent.name[:8]}", *found


def _training(job: Path) -> tuple[int, int] | None:
    """Steps done, as the metrics say, and about how many there are."""
    import pyarrow.parquet as pq

    with contextlib.suppress(OSError, ValueError, KeyError, IndexError):
        asked = json.loads(job.read_text(encoding="utf-8"))
        pairs = pq.read_metadata(asked["train"]).num_rows
        steps = max(1, round(pairs * asked["recipe"]["epochs"] / asked["recipe"]["global_batch_size"]))
        log = job.parent / "metrics.jsonl"
        last = log.read_text(encoding="utf-8").splitlines()[-1] if log.exists() else '{"step": 0}'
        return min(json.loads(last)["step"], steps), steps
    return None


def _scoring(job: Path) -> tuple[int, int] | None:
    import pyarrow.parquet as pq

    with contextlib.suppress(OSError, ValueError, KeyError):
        asked = json.loads(job.read_text(encoding="utf-8"))
        each = -(-pq.read_metadata(asked["items"]).num_rows // asked["part_rows"])
        done = sum(1 for model in asked["models"] for _ in (job.parent / model).glob("part-*.parquet"))
        return done, each * len(asked["models"])
    return None
