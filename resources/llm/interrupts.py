"""Ctrl-C and SIGTERM while calls are on their way: what has been sent is paid for, so it may arrive before the end."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Generator

from resources.stops import Stop


class Interrupted(Stop):
    """Somebody ends the process. Calls on their way were waited for; what was answered is stored."""


SAME_S = 0.3  # a signal to a process and to its group is one

_ends: list[Callable[[], object]] = []  # what runs of calls want to be told
_signal: list[int] = []  # the one that has come
_installed = threading.Lock()


@contextlib.contextmanager
def orderly() -> Generator[None]:
    """Until left, the first Ctrl-C or SIGTERM only tells the runs of calls to end; when they have, it does what it would
    have done at once. The second one does not wait. Elsewhere than in the main thread this does nothing: signals come
    there."""
    if threading.current_thread() is not threading.main_thread() or not _installed.acquire(blocking=False):
        yield
        return
    since: list[float] = []
    previous = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def heard(number: int, frame: object) -> None:
        if _signal:
            if time.monotonic() - since[0] < SAME_S:
                return
            restore()
            os.kill(os.getpid(), number)
            return
        _signal.append(number)
        since.append(time.monotonic())
        for end in list(_ends):
            end()

    try:
        for number, handler in previous.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, heard)
        yield
    finally:
        restore()
        came = _signal[:]
        _signal.clear()
        _installed.release()
        if came:
            os.kill(os.getpid(), came[0])


@contextlib.contextmanager
def told(end: Callable[[], object]) -> Generator[None]:
    """Until left, `end` is called when somebody ends the process; at once where somebody has."""
    _ends.append(end)
    try:
        if _signal:
            end()
        yield
    finally:
        _ends.remove(end)
