"""What a lake asks of the place where its tables are: files of a folder, or objects of a store."""

import json
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from curation.tables import Table
from resources.lake.session import Reach
from resources.lake.staging import Damaged, LakeError
from resources.settings import ConfigError

SCHEMA_FILE = "lake.json"  # says which schema the tables have


class Overtaken(LakeError, ConfigError):
    """Another run has published the same partition meanwhile; what was made is not put in place."""


class StoreError(LakeError, ConfigError):
    """A store of objects does not do what is asked of it; the message names it and what to do."""


@dataclass(frozen=True)
class Written:
    """What was published: `version` is a hash of the content, `path` where it is."""

    rows: int
    bytes: int
    version: str
    path: Path | str


@dataclass(frozen=True)
class Scan:
    """Files for DuckDB.

    Attributes:
        files: SQL for what read_parquet is given.
        uniform: whether all have the table's columns of today, in their order.
    """

    files: str
    uniform: bool


class TableStorage(Protocol):
    """Where partitions are, each a whole file that is replaced whole. A key is a partition's, None for a table of one file.

    Readers see a partition as it was before or after it is published, never something between.
    """

    @property
    def place(self) -> str:
        """The folder or address, as people know it."""
        ...

    def look(self, tables: Iterable[Table]) -> object:
        """Look at several tables that are going to be read, all at once where that is quicker."""
        ...

    def keys(self, table: Table) -> list[str | None]:
        """The partitions that are there."""
        ...

    def address(self, table: Table, key: str | None) -> str | None:
        """What DuckDB reads a partition by; None where it is not there."""
        ...

    def rows(self, table: Table, key: str | None) -> int:
        """Rows of a partition; 0 where it is not there."""
        ...

    def size(self, table: Table, key: str | None) -> int:
        """Bytes of a partition that is there."""
        ...

    def version(self, table: Table, key: str | None) -> str | None:
        """The version of a partition's content; None where it is not there."""
        ...

    def footer(self, table: Table, key: str | None) -> dict | None:
        """What made a partition; None where it is not there.

        Raises:
            Damaged: the file does not say.
        """
        ...

    def open(self, table: Table, key: str | None) -> AbstractContextManager[BinaryIO]:
        """The bytes of a partition that is there."""
        ...

    def where(self, table: Table, key: str | None) -> str:
        """Where a partition is, or would be."""
        ...

    def fetch(self, table: Table, key: str | None, path: Path) -> None:
        """Write the bytes of a partition that is there to a file."""
        ...

    def undigested(self, table: Table, key: str | None) -> bool:
        """Whether a partition was written before files had digests."""
        ...

    def fault(self, table: Table, key: str | None) -> str | None:
        """What is wrong with a partition that is there; every byte is read."""
        ...

    def checked(self, table: Table, key: str | None) -> str | None:
        """What is wrong with a partition, as a step looks before it reads it; None also where it is not there."""
        ...

    # ---- DuckDB ----------------------------------------------------------------------------------------------------
    def scan(self, table: Table, literal: bool = False) -> "Scan | None":
        """The files of a table; None for one without any.

        Args:
            literal: named by constants, else by variables that `reach` sets.
        """
        ...

    def reach(self, tables: list[Table]) -> Reach:
        """How sessions come to the files of these tables."""
        ...

    def define(self, con: duckdb.DuckDBPyConnection, tables: list[Table]) -> None:
        """Let a database of its own define views over these tables by constants."""
        ...

    def blame(self, error: duckdb.Error) -> Damaged | None:
        """The damaged file that an error of DuckDB is due to, if it is."""
        ...

    # ---- writing ---------------------------------------------------------------------------------------------------
    def staging(self, table: Table, key: str | None) -> AbstractContextManager[Path]:
        """A path to write a whole file to, which is gone afterwards unless it was published."""
        ...

    def publish(self, table: Table, key: str | None, new: Path, rows: int, version: str) -> Written:
        """Put a file that was written in place at once.

        Raises:
            Overtaken: another run has published the partition since this one looked at it.
        """
        ...

    def set_aside(self, table: Table, key: str | None) -> tuple[str, str]:
        """Take a partition out of the table without losing it; returns where it was, and where it is now."""
        ...

    def any_table(self) -> bool:
        """Whether there are tables."""
        ...

    def schema(self) -> bytes | None:
        """The content of `lake.json`, which says which schema the tables have; None where there is none."""
        ...

    def trust(self) -> None:
        """Make sure that what is published here cannot be lost.

        Raises:
            StoreError: it could.
        """
        ...

    def put_schema(self, content: bytes) -> None:
        """Write `lake.json` where it is not there."""
        ...


def dimensions(table: Table) -> list[str]:
    """What a table is partitioned by, each a level of folders and a column of text."""
    return list[str](table.partition.split("|")) if table.partition else []


def parts(table: Table, key: str | None) -> dict[str, str]:
    """Dimension -> key of a partition; {} for a table of one file."""
    if (table.partition is None) != (key is None):
        raise ValueError(f"{table.name} is partitioned by {table.partition}, got partition {key!r}")
    return {} if key is None else dict(zip(dimensions(table), key.split("|"), strict=True))


def said_by(found: pq.FileMetaData) -> dict:
    """What the footer of a file says of what made it.

    Raises:
        ValueError, LookupError, TypeError: nothing of ours is in it.
    """
    note = json.loads((found.metadata or {})[b"assay"])
    return note | {"version": str(note["version"])}


UNREADABLE = (pa.ArrowException, OSError, ValueError, LookupError, TypeError)  # what reading a broken footer ends in


def quote(text: str) -> str:
    """A string of SQL."""
    return "'" + text.replace("'", "''") + "'"


def damaged(path: Path | str, why: str) -> Damaged:
    return Damaged(
        f"{path} is damaged: {why}. `assay verify` looks at every file of the lake and says how each is made anew."
    )


def label(table: Table, partition: str | None = None) -> str:
    """`gold/iter_01`, or `clusters` for a table of one file."""
    return table.name if partition is None else f"{table.name}/{partition}"
