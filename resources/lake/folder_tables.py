"""Tables as files of a folder: `<table>/data.parquet` or `<table>/<kind>=<key>/data.parquet`, moved there at once."""

import functools
import glob
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from curation.tables import TABLES, Table
from resources.lake import digests
from resources.lake.session import Reach
from resources.lake.staging import Damaged
from resources.lake.storage import SCHEMA_FILE, UNREADABLE, Scan, Written, damaged, dimensions, parts, quote, said_by
from training.atomic import beside, replace

NAME = "data.parquet"
ASIDE = "aside"  # folder under `files` for what was damaged
_FILE = re.compile(r"[\"'](/[^\"']*\.parquet)[\"']")  # in DuckDB's messages


@dataclass(frozen=True)
class FolderTables:
    """The tables of a lake in its own folder, an absolute path."""

    root: Path

    @property
    def place(self) -> str:
        return str(self.root)

    def path(self, table: Table, key: str | None) -> Path:
        """Where a partition stands, also where it is not there."""
        return self.root.joinpath(table.name, *map("=".join, parts(table, key).items()), NAME)

    def look(self, tables: Iterable[Table]) -> None:
        """Files of a folder are looked at where they are read."""

    def keys(self, table: Table) -> list[str | None]:
        base = self.root / table.name
        if table.partition is None:
            return [None] if (base / NAME).exists() else []
        return ["|".join(d.partition("=")[2] for d in p.relative_to(base).parts[:-1]) for p in self._files(table)]

    def _files(self, table: Table) -> Iterator[Path]:
        """The published files of a table; never one that is being written."""
        return (self.root / table.name).glob(_pattern(table))

    def address(self, table: Table, key: str | None) -> str | None:
        path = self.path(table, key)
        return str(path) if path.exists() else None

    def rows(self, table: Table, key: str | None) -> int:
        path = self.path(table, key)
        return _footer(path)[0] if path.exists() else 0

    def size(self, table: Table, key: str | None) -> int:
        return self.path(table, key).stat().st_size

    def version(self, table: Table, key: str | None) -> str | None:
        note = self.footer(table, key)
        return None if note is None else note["version"]

    def footer(self, table: Table, key: str | None) -> dict | None:
        path = self.path(table, key)
        return _footer(path)[1] if path.exists() else None

    def open(self, table: Table, key: str | None) -> AbstractContextManager[BinaryIO]:
        return open(self.path(table, key), "rb")

    def where(self, table: Table, key: str | None) -> str:
        return str(self.path(table, key))

    def fetch(self, table: Table, key: str | None, path: Path) -> None:
        shutil.copyfile(self.path(table, key), path)

    def undigested(self, table: Table, key: str | None) -> bool:
        return digests.undigested(self.path(table, key))

    def fault(self, table: Table, key: str | None) -> str | None:
        return digests.fault(self.path(table, key))

    def checked(self, table: Table, key: str | None) -> str | None:
        path = self.path(table, key)
        return digests.checked(path) if path.exists() else None

    # ---- DuckDB ----------------------------------------------------------------------------------------------------
    def scan(self, table: Table, literal: bool = False) -> Scan | None:
        paths = list(self._files(table))
        if not paths:
            return None
        root = self._quoted() if literal else "getvariable('lake')"
        uniform = all(_columns(p) in (None, table.schema.names) for p in paths)
        return Scan(f"{root} || '/{table.name}/{_pattern(table)}'", uniform)

    def reach(self, tables: list[Table]) -> Reach:
        here = f"SET VARIABLE lake = {self._quoted()}"
        return Reach(here, here)

    def define(self, con: duckdb.DuckDBPyConnection, tables: list[Table]) -> None:
        """Files of this machine need nothing."""

    def _quoted(self) -> str:
        """The root as a string of SQL, to be continued by a pattern of files."""
        return quote(glob.escape(str(self.root)))

    def blame(self, error: duckdb.Error) -> Damaged | None:
        for path in filter(Path.exists, map(Path, _FILE.findall(str(error)))):
            if path.is_relative_to(self.root) and (why := digests.checked(path)):
                return damaged(path, why)
        return None

    # ---- writing ---------------------------------------------------------------------------------------------------
    def staging(self, table: Table, key: str | None) -> AbstractContextManager[Path]:
        return beside(self.path(table, key))

    def publish(self, table: Table, key: str | None, new: Path, rows: int, version: str) -> Written:
        target = self.path(table, key)
        with open(new, "rb") as f:
            os.fsync(f.fileno())
        os.replace(new, target)
        return Written(rows, target.stat().st_size, version, target)

    def set_aside(self, table: Table, key: str | None) -> tuple[str, str]:
        path = self.path(table, key)
        return str(path), str(aside(self.root, path))

    def any_table(self) -> bool:
        try:
            there = set(os.listdir(self.root))
        except FileNotFoundError:
            return False
        return any(next(self._files(TABLES[name]), None) for name in there & TABLES.keys())

    def schema(self) -> bytes | None:
        path = self.root / SCHEMA_FILE
        return path.read_bytes() if path.exists() else None

    def trust(self) -> None:
        """Files of a folder are moved in place at once by every file system."""

    def put_schema(self, content: bytes) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        replace(self.root / SCHEMA_FILE, content)


def aside(root: Path, path: Path) -> Path:
    """Move a file or folder of a lake into `files/aside`; returns where it is now."""
    place = root / "files" / ASIDE / path.relative_to(root)
    n, to = 1, place
    while to.exists():
        n, to = n + 1, place.with_name(f"{place.name}.{n}")
    to.parent.mkdir(parents=True, exist_ok=True)
    path.rename(to)
    return to


def _pattern(table: Table) -> str:
    return "/".join([*(f"{d}=*" for d in dimensions(table)), NAME])


def _footer(path: Path) -> tuple[int, dict]:
    """(rows, what the footer says of what made the file).

    Raises:
        Damaged: it cannot be read, or nothing of ours is in it.
    """
    try:
        found = pq.read_metadata(path)
        return found.num_rows, said_by(found)
    except UNREADABLE as e:
        if isinstance(e, OSError) and e.errno:  # of the disk, not of the file
            raise
        raise damaged(path, digests.fault(path) or f"its footer cannot be read ({e})") from e


def _columns(path: Path) -> list[str] | None:
    """Names of a file's columns; None where it cannot be read, which whoever reads it says."""
    there = path.stat()
    return _columns_of(str(path), there.st_ino, there.st_size, there.st_mtime_ns)


@functools.lru_cache(maxsize=100_000)
def _columns_of(path: str, _number: int, _size: int, _time: int) -> list[str] | None:
    try:
        return pq.read_schema(path).names
    except (pa.ArrowException, OSError, ValueError):
        return None
