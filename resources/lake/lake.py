"""The data lake: one Parquet file a partition, replaced whole, read by DuckDB as views.

    <root>/<table>/data.parquet  or  <root>/<table>/<kind>=<key>/data.parquet

A file's bytes depend on its rows, its inputs' versions, the code's version and the settings, on nothing else: no time
and no run id stand in it, so that equal runs give equal files. Those four stand in the footer under `assay`, which
makes lineage a query.
"""

import contextlib
import functools
import glob
import json
import os
import re
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from curation.tables import TABLES, Table
from resources.lake import digests
from resources.lake.session import Views, session
from resources.lake.staging import Damaged, Data, LakeError, sorted_reader, write
from resources.lake.views import definitions, dimensions, empty
from resources.settings import ConfigError, Settings, Undeclared
from training.atomic import beside
from training.atomic import replace as replace_file

SCHEMA = 2  # of all tables together; raised where a column is renamed or means something else
BOUND = (
    "source",
    "bucket",
    "iteration",
    "experiment",
    "training_set",
)  # kinds of partition that count only while they are configured
_LACKS = re.compile(r"(?:Table|Macro|Scalar Function|Table Function)[^!]*? with name \"?(\w+)\"? does not exist")
_FILE = re.compile(r"[\"'](/[^\"']*\.parquet)[\"']")  # in DuckDB's messages


class Missing(LakeError):
    """A table or partition that is needed has not been materialised."""


class OtherSchema(LakeError, ConfigError):
    """The lake's tables have the columns of another Assay."""


@dataclass(frozen=True)
class Written:
    """What was published: `version` is a hash of the content, `path` the file."""

    rows: int
    bytes: int
    version: str
    path: Path


class Staged:
    """A complete file that readers cannot see yet."""

    def __init__(self, path: Path, target: Path, rows: int, version: str):
        self.path, self.target, self.rows, self.version = path, target, rows, version

    def publish(self) -> Written:
        with open(self.path, "rb") as f:
            os.fsync(f.fileno())
        os.replace(self.path, self.target)
        return Written(self.rows, self.target.stat().st_size, self.version, self.target)


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
    """

    root: str
    memory_limit: str = "2GB"
    threads: int = 2
    keys: tuple[tuple[str, tuple[str, ...]], ...] = ()
    shown: frozenset[str] | None = None
    reader: str = ""

    @classmethod
    def of(cls, settings: Settings) -> "Lake":
        """The lake of a configuration."""
        keys = tuple((kind, tuple(settings.partition_keys(kind))) for kind in BOUND)
        return cls(str(settings.lake.path), settings.lake.memory_limit, settings.lake.threads, keys)

    def only(self, tables: Iterable[Table], reader: str) -> "Lake":
        """The same lake with these tables and the views over them, and no other."""
        return replace(self, shown=frozenset(t.name for t in tables), reader=reader)

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

    def path(self, table: Table, partition: str | None = None) -> Path:
        if (table.partition is None) != (partition is None):
            raise ValueError(f"{table.name} is partitioned by {table.partition}, got partition {partition!r}")
        folder = Path(self.root).absolute() / table.name
        if partition is not None:
            folder = folder.joinpath(*map("=".join, zip(dimensions(table), partition.split("|"), strict=True)))
        return folder / "data.parquet"

    def partitions(self, table: Table) -> list[str]:
        """The partitions of a table that exist, sorted."""
        self._may_read(table)
        self._of_this_schema()
        base = Path(self.root).absolute() / table.name
        return sorted("|".join(d.partition("=")[2] for d in p.relative_to(base).parts[:-1]) for p in self._files(table))

    def _files(self, table: Table) -> Iterator[Path]:
        """The published files of a table; never one that is being written."""
        return (Path(self.root).absolute() / table.name).glob(_pattern(table))

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
        views = (Views(self._tables("getvariable('lake')")), _over_tables())
        try:
            with session(self.memory_limit, self.threads, views, f"SET VARIABLE lake = {self._quoted()}") as con:
                yield con
        except duckdb.CatalogException as e:
            if why := self._undeclared(e):
                raise Undeclared(why) from e
            raise
        except duckdb.Error as e:
            for path in filter(Path.exists, map(Path, _FILE.findall(str(e)))):
                if path.is_relative_to(Path(self.root).absolute()) and (why := digests.checked(path)):
                    raise damaged(path, why) from e
            raise

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
        path = Path(self.root).absolute() / "lake.json"
        if self.root in _known:
            return
        if path.exists():
            found = _schema(path)
        elif any(next(self._files(TABLES[name]), None) for name in self._folders() & TABLES.keys()):
            found = 1
        elif make:
            found = SCHEMA
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, json.dumps({"schema": SCHEMA}).encode())
        else:
            return
        if found != SCHEMA:
            raise OtherSchema(
                f"{self.root}: made by {'an older' if found < SCHEMA else 'a newer'} Assay (schema {found}, this is "
                f"{SCHEMA}): its tables have other columns. Move everything in it but `files`, where paid answers and "
                "models stand, to another folder and make it again; or use the Assay that made it."
            )
        _known.add(self.root)

    def _folders(self) -> set[str]:
        """What stands in the lake's folder."""
        try:
            return set(os.listdir(Path(self.root).absolute()))
        except FileNotFoundError:
            return set()

    def schema_fault(self) -> str | None:
        """What is wrong with `lake.json`, or None; it is read anew."""
        _known.discard(self.root)
        try:
            self._of_this_schema()
        except Damaged:
            return "it is not what was written"
        except OtherSchema as e:
            return str(e)
        return None

    def _quoted(self) -> str:
        """The root as a string of SQL, to be continued by a pattern of files."""
        return _quote(glob.escape(str(Path(self.root).absolute())))

    def _tables(self, root: str) -> str:
        """SQL that defines a view for every table that may be read; it changes where a table gets its first file or loses
        its last, and where a file of an older release goes."""
        shown = TABLES.keys() if self.shown is None else self.shown
        return ";\n".join(f'CREATE OR REPLACE VIEW "{n}" AS {self._select(TABLES[n], root)}' for n in sorted(shown))

    def shell(self) -> Path:
        """Write `assay.duckdb`, the same views for a plain DuckDB shell, and return its path."""
        self._of_this_schema()
        path = Path(self.root).absolute() / "assay.duckdb"
        with beside(path) as new:
            with duckdb.connect(str(new)) as con:
                con.execute(";\n".join([self._tables(self._quoted()), _over_tables().script]))
            os.replace(new, path)
        return path

    def _select(self, table: Table, root: str) -> str:
        """The rows of a table. A column that a file of an older release lacks is null until that file is made again."""
        in_path = [d for d in dimensions(table) if d not in table.schema.names]
        paths = list(self._files(table))
        if not paths:
            return empty(table)
        types = ", ".join(f"'{d}': VARCHAR" for d in dimensions(table))
        hive = f"true, hive_types={{{types}}}" if in_path else "false"
        files = f"{root} || '/{table.name}/{_pattern(table)}'"
        if all(_columns(p) in (None, table.schema.names) for p in paths):
            rows = f"SELECT * FROM read_parquet({files}, hive_partitioning={hive})"
        else:
            found = f"FROM read_parquet({files}, hive_partitioning={hive}, union_by_name=true)"
            rows = f"SELECT * FROM ({empty(table)} UNION ALL BY NAME {found})"
        wanted = dict(self.keys).get(table.partition or "")
        if wanted is None:
            return rows
        return f'{rows} WHERE "{table.partition}" IN ({", ".join(map(_quote, wanted))})' if wanted else empty(table)

    # ---- lineage ---------------------------------------------------------------------------------------------------
    def note(self, table: Table, partition: str | None = None) -> dict | None:
        """The footer of one partition: version, inputs {name: version}, code, settings; None when it is missing."""
        self._may_read(table)
        self._of_this_schema()
        path = self.path(table, partition)
        return _footer(path)[1] if path.exists() else None

    def rows(self, table: Table, partition: str | None = None) -> int:
        self._may_read(table)
        path = self.path(table, partition)
        return _footer(path)[0] if path.exists() else 0

    def check(self, inputs: Iterable[tuple[Table, str | None]]) -> None:
        """Read every byte of these partitions, each once in a process.

        Raises:
            Damaged: one is not what was written.
        """
        for table, partition in inputs:
            path = self.path(table, partition)
            if path.exists() and (why := digests.checked(path)):
                raise damaged(path, why)

    def versions(self, inputs: Iterable[tuple[Table, str | None]]) -> dict[str, str]:
        """The version of each input now.

        Raises:
            Missing: an input has not been materialised.
        """
        found: dict[str, str] = {}
        absent: list[str] = []
        for table, partition in inputs:
            if note := self.note(table, partition):
                found[label(table, partition)] = note["version"]
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

    @contextlib.contextmanager
    def staged(
        self, table: Table, data: Data, partition: str | None = None, note: dict | None = None
    ) -> Generator[Staged]:
        """Write a partition beside its place; `publish()` moves it there, leaving the block without it discards it.

        Raises:
            LakeError: missing or unknown columns, a value that does not fit its type, a null where none may be, two
                rows with the same key, or more to sort than the memory allows.
        """
        self._of_this_schema(make=True)
        target = self.path(table, partition)
        with beside(target) as new:
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
            yield Staged(new, target, rows, version)


def _footer(path: Path) -> tuple[int, dict]:
    """(rows, what the footer says of what made the file).

    Raises:
        Damaged: it cannot be read, or nothing of ours is in it.
    """
    try:
        found = pq.read_metadata(path)
        note = json.loads((found.metadata or {})[b"assay"])
        return found.num_rows, note | {"version": str(note["version"])}
    except (pa.ArrowException, OSError, ValueError, LookupError, TypeError) as e:
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


def _schema(path: Path) -> int:
    try:
        said = json.loads(path.read_bytes())
        if set(said) == {"schema"} and type(said["schema"]) is int:
            return said["schema"]
    except (ValueError, TypeError):
        pass
    raise damaged(path, "it is not what was written")


def damaged(path: Path, why: str) -> Damaged:
    return Damaged(
        f"{path} is damaged: {why}. `assay verify` looks at every file of the lake and says how each is made anew."
    )


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _pattern(table: Table) -> str:
    return "/".join([*(f"{d}=*" for d in dimensions(table)), "data.parquet"])


_known: set[str] = set()  # lakes whose schema was looked at


@functools.cache
def _over_tables() -> Views:
    """The views and macros over tables."""
    over = (f'CREATE VIEW "{name}" AS {empty(table)}' for name, table in TABLES.items())
    return Views(";\n".join(definitions().values()), ";\n".join(over))


def label(table: Table, partition: str | None = None) -> str:
    """`gold/iter_01`, or `clusters` for a table of one file."""
    return table.name if partition is None else f"{table.name}/{partition}"
