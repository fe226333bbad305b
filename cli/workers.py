"""Processes that work side by side, each by itself: one that dies takes along what it was doing and nothing else."""

import contextlib
import multiprocessing
import os
from collections.abc import Callable, Generator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from cli.signals import terminating_children
from training.supervise import die_with_parent

T = TypeVar("T")


class WorkerDied(Exception):
    """A process ended without a word, and what it was doing with it."""


class Workers:
    """So many processes, started at once; one that dies is replaced.

    Args:
        count: of them.
        begin: called first in each, with `given`. They end with this process.
    """

    def __init__(self, count: int, begin: Callable[..., object], *given: object):
        self._begun = os.getpid(), begin, given
        self._idle = [self._started() for _ in range(count)]
        self._at_work: dict[Future, ProcessPoolExecutor] = {}

    def _started(self) -> ProcessPoolExecutor:
        spawn = multiprocessing.get_context("spawn")
        one = ProcessPoolExecutor(1, spawn, initializer=_begin, initargs=self._begun)
        one.submit(os.getpid)  # before there is work: a process takes seconds to load what it needs
        return one

    def submit(self, work: Callable[..., T], *given: object) -> Future[T]:
        """Have an idle process do it; one that was taken by `result` before is idle.

        Raises:
            IndexError: none is idle.
        """
        one = self._idle.pop()
        try:
            future = one.submit(work, *given)
        except BrokenProcessPool:  # it died idle
            one = self._started()
            future = one.submit(work, *given)
        self._at_work[future] = one
        return future

    def result(self, future: Future[T]) -> T:
        """What came of it; its process is idle again.

        Raises:
            WorkerDied: the process ended first; another is in its place.
        """
        one = self._at_work.pop(future)
        try:
            return future.result()
        except BrokenProcessPool as e:
            one = self._started()
            raise WorkerDied from e
        finally:
            self._idle.append(one)

    def end(self) -> None:
        """Wait for what is at work; what has not begun is not done."""
        for one in (*self._idle, *self._at_work.values()):
            one.shutdown(cancel_futures=True)
        self._idle, self._at_work = [], {}  # what they hold of the system is given back with the last reference to them


def _begin(parent: int, begin: Callable[..., object], given: tuple) -> None:
    die_with_parent(parent)
    begin(*given)


@contextlib.contextmanager
def workers(count: int, begin: Callable[..., object], *given: object) -> Generator[Workers]:
    """`Workers` until left; SIGTERM goes to them first."""
    some = Workers(count, begin, *given)
    with terminating_children():
        try:
            yield some
        finally:
            some.end()
