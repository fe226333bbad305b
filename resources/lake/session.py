"""DuckDB sessions.

All sessions of a process share one DuckDB instance: to make an instance costs more than most queries do. A session has a
database of its own in memory, and what it creates is gone when it ends. The memory limit holds for all of them together.
"""

import atexit
import contextlib
import itertools
import os
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from resources.scratch import scratch

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_numbers = itertools.count()
_lock = threading.Lock()
_instances: dict[tuple[int, str, int], duckdb.DuckDBPyConnection] = {}  # of a process: a forked one makes its own


@contextlib.contextmanager
def session(memory_limit: str, threads: int) -> Generator[duckdb.DuckDBPyConnection]:
    """A session on the instance with this limit and number of threads."""
    with _lock:
        name = f"session_{next(_numbers)}"
        instance = _instance(memory_limit, threads)
        con = instance.cursor()
    try:
        con.execute("SET enable_progress_bar=false")
        con.execute("SET python_enable_replacements=false")  # a name is a table, never a variable of the program
        con.execute(f"ATTACH ':memory:' AS {name}")
        con.execute(f"SET search_path = '{name}.main'")
        yield con
    finally:
        con.close()
        with _lock:
            instance.execute(f"DETACH DATABASE IF EXISTS {name}")


def show(con: duckdb.DuckDBPyConnection, catalogue: Path) -> None:
    """Let a session see the views of a database beside what it creates itself."""
    alias = f"lake_{catalogue.stem}"
    with _lock:
        con.execute(f"ATTACH IF NOT EXISTS '{catalogue}' AS {alias} (READ_ONLY)")
    [(own,)] = con.execute("SELECT current_database()").fetchall()
    con.execute(f"SET search_path = '{own}.main,{alias}.main'")


def let_read(con: duckdb.DuckDBPyConnection, files: "Callable[[], AbstractFileSystem]") -> None:
    """Let a session, and with it all of its instance, read by a file system."""
    with _lock:
        name = files().protocol
        if not con.filesystem_is_registered(str(name)):
            con.register_filesystem(files())


def _instance(memory_limit: str, threads: int) -> duckdb.DuckDBPyConnection:
    key = (os.getpid(), memory_limit, threads)
    if key not in _instances:
        instance = duckdb.connect()
        instance.execute(f"SET memory_limit='{memory_limit}'; SET threads={threads}")
        instance.execute(f"SET temp_directory='{scratch('spill')}'")
        instance.execute("SET enable_external_file_cache=false")  # files are replaced under their names
        _instances[key] = instance
    return _instances[key]


@atexit.register
def _close() -> None:
    for (process, *_), instance in _instances.items():
        if process == os.getpid():
            with contextlib.suppress(duckdb.Error):
                instance.close()
