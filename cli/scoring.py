"""Rewards for a file, with a bar where somebody looks on."""

import sys
from pathlib import Path

from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from cli.terminal import Console
from training.scorer import Scorer
from training.serve import score_file


def score(folder: Path, file: Path, out: Path, max_tokens: int | None) -> int:
    """Score a JSON Lines file with an exported model and say where the rewards are and which lines have none; returns
    the exit status.

    Raises:
        ValueError: the folder holds no reward model, or the model does not say how long its inputs may be.
        OSError: a file cannot be read or written.
    """
    scorer = Scorer(folder, max_tokens)
    if scorer.note:
        print(f"assay: {scorer.note}", file=sys.stderr)
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        bar.add_task(f"{file} with {folder}")
        found = score_file(scorer, file, out)
    return found.told(out)
