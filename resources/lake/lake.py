"""The data lake: one Parquet file a partition, replaced whole, read by DuckDB as views.

    <root>/<table>/data.parquet  or  <root>/<table>/<kind>=<key>/data.parquet, or the same file in a store of objects

A file's bytes depend on its rows, its inputs' versions, the code's version and the settings, on nothing else: no time
and no run id stand in it, so that equal runs give equal files. Those four stand in the footer under `assay`, which
makes lineage a query.
"""

import contextlib
import functools
import json
import os
import re
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from curation.tables import TABLES, Table
from resources.lake.folder_tables import FolderTables
from resources.lake.session import Views, session
from resources.lake.staging import Damaged, Data, LakeError, sorted_reader, write
from resources.lake.storage import SCHEMA_FILE, TableStorage, Written, damaged, dimensions, label, quote
from resources.lake.views import definitions, empty
from resources.settings import ConfigError, Settings, Undeclared
from training.atomic import beside

if TYPE_CHECKING:
    from resources.lake.object_tables import SeenTables

SCHEMA = 2  # of all tables together; raised where a column is renamed or means something else
BOUND = (
    "source",
    "bucket",
    "iteration",
    "experiment",
    "training_set",
)  # kinds of partition that count only while they are configured
_LACKS = re.compile(r"(?:Table|Macro|Scalar Function|Table Function)[^!]*? with name \"?(\w+)\"? does not exist")


class Missing(LakeError):
    """A table or partition that is needed has not been materialised."""


class OtherSchema(LakeError, ConfigError):
    """The lake's tables have the columns of another Assay."""


class Staged:
    """A complete file that readers cannot see yet."""

    def __init__(self, storage: TableStorage, table: Table, partition: str | None, path: Path, rows: int, version: str):
        self.storage, self.table, self.partition = storage, table, partition
        self.path, self.rows, self.version = path, rows, version

    def publish(self) -> Written:
        """Put it in place.

        Raises:
            Overtaken: another run has published the partition meanwhile.
        """
        return self.storage.publish(self.table, self.partition, self.path, self.rows, self.version)


@dataclass(frozen=True)
class Lake:
    """Tables under a folder.

    Attributes:
        root: the folder.
        memory_limit: of a DuckDB session, in its spelling.
        threads: of a DuckDB session.
        keys: (kind, partitions) that the views show. A source that was taken out of the configuration, or a bucket of a
            former number of buckets, leaves its file behind; nothing is deleted and nobody reads it.
        shown: names of the tables that may be read, or None for all of them.
        reader: who reads, named where it asks for another table.
        tables: `s3://bucket/prefix` of the tables, or None where they are files of the folder.
        snapshot: what is seen of tables in a store; None for what is there at each look.
    """

    root: str
    memory_limit: str = "2GB"
    threads: int = 2
    keys: tuple[tuple[str, tuple[str, ...]], ...] = ()
    shown: frozenset[str] | None = None
    reader: str = ""
    tables: str | None = None
    snapshot: "SeenTables | None" = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, settings: Settings) -> "Lake":
        """The lake of a configuration."""
        keys = tuple((kind, tuple(settings.partition_keys(kind))) for kind in BOUND)
        lake = settings.lake
        return cls(str(lake.path), lake.memory_limit, lake.threads, keys, tables=lake.tables)

    def only(self, tables: Iterable[Table], reader: str) -> "Lake":
        """The same lake with these tables and the views over them, and no other."""
        return replace(self, shown=frozenset(t.name for t in tables), reader=reader)

    def pinned(self, tables: Iterable[Table] = (), as_of: datetime | None = None) -> "Lake":
        """The same lake as it is now: whatever others publish, each table is seen as it was at the first look. Tables that
        are files of a folder are seen as they are; no former ones are kept there.

        Args:
            tables: those that are looked at at once.
            as_of: a time in the past, in whose state the lake is seen.

        Raises:
            ConfigError: former states are asked for, and not kept.
        """
        if self.tables is None:
            if as_of is not None:
                raise ConfigError(
                    f"{self.root}: former states are kept only of tables in a store of objects ([lake] tables)"
                )
            return self
        same = replace(self, snapshot=_object_tables(self.tables).SeenTables(as_of))
        same.storage.look(tables)
        return same

    def vacuum(self, days: float, dry_run: bool) -> Iterator[tuple[str, int, int]]:
        """Delete the objects that no version of the last so many days names, those of killed runs included.

        Yields:
            (table, objects, bytes) of each table of which some go.

        Raises:
            ConfigError: the tables are files of a folder, where no former ones are kept.
        """
        if self.tables is None:
            raise ConfigError(f"{self.root}: tables that are files of a folder have no former versions to delete")
        yield from _object_tables(self.tables).vacuumed(self.tables, days, dry_run)

    def folder(self, name: str) -> Path:
        """A folder for what is no table: models, vectors, stored calls. Created when missing."""
        path = Path(self.root).absolute() / "files" / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def model(self, path: str | Path) -> Path:
        """The folder of a model by its path in a table, also where the lake stands elsewhere now; any other path of a
        folder as it is."""
        path = Path(path)
        if path.parts[-3:-2] == ("models",):  # tables of former releases hold the whole path
            here = self.folder("models").joinpath(*path.parts[-2:])
            return path if path.is_absolute() and not here.exists() and path.exists() else here
        return path

    @property
    def storage(self) -> TableStorage:
        """Where the tables are."""
        if self.tables is None:
            return FolderTables(Path(self.root).absolute())
        return _object_tables(self.tables).ObjectTables(self.tables, Path(self.root).absolute(), self.snapshot)

    def path(self, table: Table, partition: str | None = None) -> Path:
        """Where the file of a partition stands, or would, in a lake whose tables are files of its folder."""
        return FolderTables(Path(self.root).absolute()).path(table, partition)

    def address(self, table: Table, partition: str | None = None) -> str | None:
        """What DuckDB reads a partition by; None where it is not there."""
        return self.storage.address(table, partition)

    def read(
        self, table: Table, partition: str | None, columns: Sequence[str], filters: list | None = None
    ) -> pa.Table:
        """Some columns of a partition that is there, few enough for memory."""
        with self.storage.open(table, partition) as file:
            return pq.read_table(file, columns=list(columns), filters=filters, partitioning=None)

    def partitions(self, table: Table) -> list[str]:
        """The partitions of a table that exist, sorted."""
        self._may_read(table)
        self._of_this_schema()
        return sorted("" if key is None else key for key in self.storage.keys(table))

    # ---- reading ---------------------------------------------------------------------------------------------------
    @contextlib.contextmanager
    def connect(self) -> Generator[duckdb.DuckDBPyConnection]:
        """A DuckDB session with a view for every table that may be read, materialised or not, and the views over them.

        Partitioned tables carry their partition as a VARCHAR column.

        Raises:
            OtherSchema: the lake was made by another Assay.
            Undeclared: what is done in the session asks for a table that may not be read.
            Damaged: DuckDB cannot read a file, and it is not what was written.
        """
        self._of_this_schema()
        storage = (self if self.snapshot else self.pinned()).storage
        reach = storage.reach(self._shown())
        views = (Views(self._tables(storage)), _over_tables())
        try:
            with session(self.memory_limit, self.threads, views, reach) as con:
                yield con
        except duckdb.CatalogException as e:
            if why := self._undeclared(e):
                raise Undeclared(why) from e
            raise
        except duckdb.Error as e:
            if why := storage.blame(e):
                raise why from e
            raise

    def _shown(self) -> list[Table]:
        """The tables that may be read."""
        return [TABLES[n] for n in sorted(TABLES.keys() if self.shown is None else self.shown)]

    def _undeclared(self, error: duckdb.CatalogException) -> str | None:
        """What is wrong where a session lacks a table or view because its reader does not declare it."""
        if self.shown is None or not (match := _LACKS.search(str(error))):
            return None
        name = match[1]
        return f"{self.reader} reads the table {name}, which it does not declare" if name in TABLES else None

    def _may_read(self, table: Table) -> None:
        if self.shown is not None and table.name not in self.shown:
            raise Undeclared(f"{self.reader} reads the table {table.name}, which it does not declare")

    def _of_this_schema(self, make: bool = False) -> None:
        """The version of the schema stands in `lake.json` from the first table on.

        Raises:
            OtherSchema: it is another one, or there are tables and no version.
            Damaged: the file cannot be read.
        """
        storage = self.storage
        if storage.place in _known:
            return
        if (said := storage.schema()) is not None:
            found = _schema(said, f"{storage.place}/{SCHEMA_FILE}")
        elif storage.any_table():
            found = 1
        elif make:
            found = SCHEMA
            storage.put_schema(json.dumps({"schema": SCHEMA}).encode())
        else:
            return
        if found != SCHEMA:
            raise OtherSchema(
                f"{storage.place}: made by {'an older' if found < SCHEMA else 'a newer'} Assay (schema {found}, this is "
                f"{SCHEMA}): its tables have other columns. Move everything in it but `files`, where paid answers and "
                "models stand, to another folder and make it again; or use the Assay that made it."
            )
        _known.add(storage.place)

    def schema_fault(self) -> str | None:
        """What is wrong with `lake.json`, or None; it is read anew."""
        _known.discard(self.storage.place)
        try:
            self._of_this_schema()
        except Damaged:
            return "it is not what was written"
        except OtherSchema as e:
            return str(e)
        return None

    def _tables(self, storage: TableStorage, literal: bool = False) -> str:
        """SQL that defines a view for every table that may be read; it changes where a table gets its first file or loses
        its last, and where a file of an older release goes."""
        return ";\n".join(
            f'CREATE OR REPLACE VIEW "{t.name}" AS {self._select(t, storage, literal)}' for t in self._shown()
        )

    def shell(self) -> Path:
        """Write `assay.duckdb`, the same views for a plain DuckDB shell, and return its path."""
        self._of_this_schema()
        path = Path(self.root).absolute() / "assay.duckdb"
        storage = (self if self.snapshot else self.pinned()).storage
        with beside(path) as new:
            with duckdb.connect(str(new)) as con:
                storage.define(con, self._shown())
                con.execute(";\n".join([self._tables(storage, literal=True), _over_tables().script]))
            os.replace(new, path)
        return path

    def _select(self, table: Table, storage: TableStorage, literal: bool) -> str:
        """The rows of a table. A column that a file of an older release lacks is null until that file is made again."""
        in_path = [d for d in dimensions(table) if d not in table.schema.names]
        scan = storage.scan(table, literal)
        if scan is None:
            return empty(table)
        types = ", ".join(f"'{d}': VARCHAR" for d in dimensions(table))
        hive = f"true, hive_types={{{types}}}" if in_path else "false"
        if scan.uniform:
            rows = f"SELECT * FROM read_parquet({scan.files}, hive_partitioning={hive})"
        else:
            found = f"FROM read_parquet({scan.files}, hive_partitioning={hive}, union_by_name=true)"
            rows = f"SELECT * FROM ({empty(table)} UNION ALL BY NAME {found})"
        wanted = dict(self.keys).get(table.partition or "")
        if wanted is None:
            return rows
        return f'{rows} WHERE "{table.partition}" IN ({", ".join(map(quote, wanted))})' if wanted else empty(table)

    # ---- lineage ---------------------------------------------------------------------------------------------------
    def note(self, table: Table, partition: str | None = None) -> dict | None:
        """The footer of one partition: version, inputs {name: version}, code, settings; None when it is missing."""
        self._may_read(table)
        self._of_this_schema()
        return self.storage.footer(table, partition)

    def rows(self, table: Table, partition: str | None = None) -> int:
        self._may_read(table)
        return self.storage.rows(table, partition)

    def check(self, inputs: Iterable[tuple[Table, str | None]]) -> None:
        """Look at these partitions before they are read.

        Raises:
            Damaged: one is not what was written.
        """
        storage = self.storage
        for table, partition in inputs:
            if why := storage.checked(table, partition):
                raise damaged(storage.address(table, partition) or label(table, partition), why)

    def versions(self, inputs: Iterable[tuple[Table, str | None]]) -> dict[str, str]:
        """The version of each input now.

        Raises:
            Missing: an input has not been materialised.
        """
        self._of_this_schema()
        found: dict[str, str] = {}
        absent: list[str] = []
        storage = self.storage
        for table, partition in inputs:
            self._may_read(table)
            if (version := storage.version(table, partition)) is not None:
                found[label(table, partition)] = version
            else:
                absent.append(label(table, partition))
        if absent:
            raise Missing(f"not materialised: {', '.join(absent)}")
        return found

    # ---- writing ---------------------------------------------------------------------------------------------------
    def write(self, table: Table, data: Data, partition: str | None = None, note: dict | None = None) -> Written:
        """Write one whole partition and put it in place at once."""
        with self.staged(table, data, partition, note) as staged:
            return staged.publish()

    def begun(self) -> None:
        """Make sure that tables may be written: by their schema, and by what the place can promise.

        Raises:
            OtherSchema: the lake was made by another Assay.
            StoreError: what is published there could be lost.
        """
        self.storage.trust()
        self._of_this_schema(make=True)

    @contextlib.contextmanager
    def staged(
        self, table: Table, data: Data, partition: str | None = None, note: dict | None = None
    ) -> Generator[Staged]:
        """Write a partition beside its place; `publish()` moves it there, leaving the block without it discards it.

        Raises:
            LakeError: missing or unknown columns, a value that does not fit its type, a null where none may be, two
                rows with the same key, or more to sort than the memory allows.
        """
        self.begun()
        storage = self.storage
        with storage.staging(table, partition) as new:
            try:
                with sorted_reader(table, data, self.memory_limit, self.threads) as reader:
                    rows, version = write(table, reader, new, note or {})
            except (pa.ArrowInvalid, duckdb.ConversionException) as e:
                raise LakeError(f"{label(table, partition)}: {e}") from e
            except duckdb.OutOfMemoryException as e:
                raise LakeError(
                    f"{label(table, partition)}: DuckDB needs more than memory_limit = {self.memory_limit}; raise it, or "
                    f"the number of buckets, in [lake] ({e})"
                ) from e
            yield Staged(storage, table, partition, new, rows, version)


def _schema(content: bytes, path: str) -> int:
    try:
        said = json.loads(content)
        if set(said) == {"schema"} and type(said["schema"]) is int:
            return said["schema"]
    except (ValueError, TypeError):
        pass
    raise damaged(path, "it is not what was written")


def _object_tables(address: str) -> Any:
    """The module of tables in a store of objects.

    Raises:
        ConfigError: what it takes is not installed.
    """
    try:
        from resources.lake import object_tables
    except ModuleNotFoundError as e:
        raise ConfigError(f"lake.tables = {address} needs {e.name}: pip install 'assay[s3]'") from e
    return object_tables


_known: set[str] = set()  # lakes whose schema was looked at


@functools.cache
def _over_tables() -> Views:
    """The views and macros over tables."""
    over = (f'CREATE VIEW "{name}" AS {empty(table)}' for name, table in TABLES.items())
    return Views(";\n".join(definitions().values()), ";\n".join(over))
