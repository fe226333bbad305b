"""Files that appear whole or not at all, and nothing left behind: not even by a process that was killed."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

PREFIX = ".writing-"


@contextlib.contextmanager
def beside(target: Path) -> Iterator[Path]:
    """A path in a folder of its own beside `target`, to be written and then moved there with `os.replace`.

    The folder is locked while its process lives; those of the dead are removed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError), _locked(left):  # held by a process that is still writing, or gone by now
            shutil.rmtree(left)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=PREFIX) as folder, _locked(Path(folder)):
        yield Path(folder) / target.name


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(held)


def replace(target: Path, content: bytes) -> None:
    """Put the whole file in place at once."""
    with beside(target) as new:
        new.write_bytes(content)
        os.replace(new, target)
