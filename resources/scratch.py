"""Folders that last no longer than their process. What a killed one left is removed by the next that needs one."""

import atexit
import contextlib
import os
import tempfile
import threading
from pathlib import Path

from training.atomic import own_folder

PREFIX = "assay-scratch-"
_making = threading.Lock()
_held: dict[
    int, tuple[contextlib.ExitStack, Path]
] = {}  # by the process that made it; a forked one shares its parent's


def scratch(kind: str) -> Path:
    """A new empty folder of this process; its name begins with what it is for."""
    with _making:
        if not _held:
            stack = contextlib.ExitStack()
            _held[os.getpid()] = stack, stack.enter_context(own_folder(Path(tempfile.gettempdir()), PREFIX))
        [(_, base)] = _held.values()
    return Path(tempfile.mkdtemp(dir=base, prefix=f"{kind}-"))


@atexit.register
def clear() -> None:
    """Remove this process's folders; nothing that it made there is used any more."""
    if os.getpid() in _held:
        _held.pop(os.getpid())[0].close()
