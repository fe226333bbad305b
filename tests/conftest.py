"""Fixtures of all tests, and a quiet end: DuckDB's bindings complain at length of objects that live until the interpreter
is taken apart."""

import gc
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from resources.lake import Lake

_status: list[int] = []


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake."""
    return Lake(str(tmp_path / "lake"))


@pytest.fixture(autouse=True)
def sigterm() -> Iterator[None]:
    """A test that has Dagster run leaves SIGTERM with what SIGINT does, which may be nothing, and programs inherit that."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish():
    """Whatever is imported by now lives as long as the tests: to look through it again and again costs a twentieth."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(exitstatus):
    _status.append(int(exitstatus))


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    if hasattr(config, "workerinput"):  # one of several processes, which still has to report
        return
    if _status and "coverage" not in sys.modules:  # coverage still has to write what it saw
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_status[0])
