"""What Ctrl-C and SIGTERM do while Dagster runs steps, here and in processes beside this one."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Generator
from types import FrameType


@contextlib.contextmanager
def terminating_children() -> Generator[None]:
    """SIGTERM goes to the processes of this one first: what they have paid for may arrive while they are waited for,
    while the end of their parent would kill them."""
    if threading.current_thread() is not threading.main_thread() or not callable(signal.getsignal(signal.SIGTERM)):
        yield
        return
    previous = signal.getsignal(signal.SIGTERM)

    def forward(number: int, frame: FrameType | None) -> None:
        for child in multiprocessing.active_children():
            child.terminate()
        if callable(previous):
            previous(number, frame)

    signal.signal(signal.SIGTERM, forward)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextlib.contextmanager
def signals_kept() -> Generator[None]:
    """Signals do afterwards what they did, and one that came meanwhile ends what this process is at. Dagster takes it for
    the failure of a step, and leaves SIGTERM with what SIGINT does: nothing, in a process that a script put into the
    background.

    Raises:
        KeyboardInterrupt: SIGINT or SIGTERM came; where a handler of theirs does not raise another exception.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    reads, writes = os.pipe()
    for end in (reads, writes):
        os.set_blocking(end, False)
    heard = signal.set_wakeup_fd(writes, warn_on_full_buffer=False)
    came: list[int] = []
    try:
        yield
        with contextlib.suppress(BlockingIOError):
            came += [number for number in os.read(reads, 1 << 12) if number in before]
    finally:
        signal.set_wakeup_fd(heard)
        for end in (reads, writes):
            os.close(end)
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])
        raise KeyboardInterrupt
