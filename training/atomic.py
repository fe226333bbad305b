"""Files and folders that appear whole or not at all, and nothing left behind: not even by a process that was killed."""

import atexit
import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path

PREFIX = ".writing-"
SCRATCH = "assay_"


@contextlib.contextmanager
def beside(target: Path) -> Generator[Path]:
    """A path in a folder of its own beside `target`, to be written and then moved there with `os.replace`.

    The folder is locked while its process lives; those of the dead are removed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with _own_folder(target.parent, PREFIX) as folder:
        yield folder / target.name


@contextlib.contextmanager
def scratch(what: str) -> Generator[Path]:
    """A folder of this process among the temporary files; those that killed processes left are removed."""
    with _own_folder(Path(tempfile.gettempdir()), f"{SCRATCH}{what}_") as folder:
        yield folder


def kept_scratch(what: str) -> Path:
    """As `scratch`, until the process ends."""
    held = contextlib.ExitStack()
    atexit.register(held.close)
    return held.enter_context(scratch(what))


@contextlib.contextmanager
def _own_folder(parent: Path, prefix: str) -> Generator[Path]:
    """A new locked folder. Another process may take it for one of the dead before it is locked: then a further one."""
    for left in parent.glob(f"{prefix}*"):
        with contextlib.suppress(OSError), _locked(left):  # held by a process that is at work, or gone by now
            shutil.rmtree(left)
    with contextlib.ExitStack() as stack:
        while True:
            folder = Path(tempfile.mkdtemp(dir=parent, prefix=prefix))
            with contextlib.suppress(OSError):
                stack.enter_context(_locked(folder))
                if folder.exists():
                    break
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Generator[None]:
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


def replace_folder(new: Path, target: Path) -> None:
    """Put a folder written `beside` the target in its place; what stood there goes with the folder beside."""
    if target.exists():
        os.rename(target, new.with_name(f"{target.name}.old"))
    os.rename(new, target)


def write_json(target: Path, value: object) -> None:
    """Put a file of JSON in place at once, its keys sorted."""
    replace(target, json.dumps(value, indent=1, sort_keys=True).encode())
