"""Rewards for a file, with a bar."""

from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from training.serve import Scorer, score_file


def score(folder: Path, file: Path, out: Path, max_tokens: int | None) -> None:
    """Score a JSON Lines file with an exported model and say where the rewards are.

    Raises:
        ValueError: a line is no item, or the model does not say how long its inputs may be.
        OSError: a file cannot be read or written.
    """
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        bar.add_task(f"{file} with {folder}")
        n = score_file(Scorer(folder, max_tokens), file, out)
    print(f"{n:,} items scored: {out}")
