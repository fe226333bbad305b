"""DuckDB sessions.

All sessions of a process share one DuckDB instance: to make an instance costs more than most queries do. A session has a
database of its own in memory, and what it creates is gone when it ends. The memory limit holds for all of them together.

Views stand in databases that sessions share, because to define them anew in each would cost more than most queries do. A
view finds the tables under it where the session that asks has them.
"""

import atexit
import contextlib
import hashlib
import itertools
import os
import threading
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import duckdb

from resources.scratch import scratch

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_numbers = itertools.count()
_lock = threading.Lock()
Key = tuple[int, str, int]  # process, memory limit, threads: a forked process makes its own
_instances: dict[Key, duckdb.DuckDBPyConnection] = {}
_shared: set[tuple[Key, str]] = set()  # databases of an instance that hold views


class Views(NamedTuple):
    """Definitions that sessions share, and those that have to stand while they are made.

    Attributes:
        script: statements that create views and macros.
        over: others that create what these read; a session sees its own in their place.
    """

    script: str
    over: str = ""

    @property
    def name(self) -> str:
        return f"views_{hashlib.blake2b(self.script.encode(), digest_size=12).hexdigest()}"


class Reach(NamedTuple):
    """How sessions come to the files that views read.

    Attributes:
        before: statements that a session executes first.
        making: those that are executed where views are made, of which nothing is read.
        files: makes the file system by which an instance reads; None for that of this machine.
    """

    before: str = ""
    making: str = ""
    files: "Callable[[], AbstractFileSystem] | None" = None


HERE = Reach()


@contextlib.contextmanager
def session(
    memory_limit: str, threads: int, views: Sequence[Views] = (), reach: Reach = HERE
) -> Generator[duckdb.DuckDBPyConnection]:
    """A session on the instance with this limit and number of threads.

    Args:
        views: what it sees beside what it creates itself, the first where two have the same name. Without any it has no
            database of its own, and reads what is registered with it.
    """
    key = os.getpid(), memory_limit, threads
    with _lock:
        name = f"session_{next(_numbers)}"
        instance = _instance(key)
        if reach.files is not None and not instance.filesystem_is_registered(str(reach.files().protocol)):
            instance.register_filesystem(reach.files())
        for one in views:
            if (key, one.name) not in _shared:
                _make(instance, one, reach.making)
                _shared.add((key, one.name))
        con = instance.cursor()
    try:
        # no replacements: a name is a table, never a variable of the program
        begin = "SET enable_progress_bar=false; SET python_enable_replacements=false"
        if views:
            path = ",".join(f"{database}.main" for database in (name, *(one.name for one in views)))
            begin += f"; ATTACH ':memory:' AS {name}; SET search_path='{path}'; {reach.before}"
        con.execute(begin)
        yield con
    finally:
        con.close()
        if views:
            with _lock:
                instance.execute(f"DETACH DATABASE IF EXISTS {name}")


def _make(instance: duckdb.DuckDBPyConnection, views: Views, making: str) -> None:
    """Make the database of some views; one that a failure left half made is made anew."""
    under = f"under_{views.name}"
    with instance.cursor() as con:
        con.execute(f"DETACH DATABASE IF EXISTS {views.name}; ATTACH ':memory:' AS {views.name}; {making}")
        if views.over:
            con.execute(f"ATTACH OR REPLACE ':memory:' AS {under}; SET search_path='{under}.main'; {views.over}")
            con.execute(f"SET search_path='{views.name}.main,{under}.main'; {views.script}")
            con.execute(f"SET search_path='{views.name}.main'; DETACH {under}")
        else:
            con.execute(f"SET search_path='{views.name}.main'; {views.script}")


def _instance(key: Key) -> duckdb.DuckDBPyConnection:
    if key not in _instances:
        _, memory_limit, threads = key
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
