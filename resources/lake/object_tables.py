"""Tables as objects of an S3 store: `<table>/<kind>=<key>/<version>-<columns>-<random>.parquet`, the very files that stand in
a folder elsewhere, and a Delta log a table that says which of them count.

An object is written once and never changed. A commit names it in the place of the partition's former one, on condition that
nobody has committed meanwhile: a reader sees the one or the other, and what a killed run left is in no log.
"""

import functools
import hashlib
import json
import math
import os
import random
import secrets
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, cast

import duckdb
import obstore
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable, Schema
from deltalake.exceptions import DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, CommitProperties, create_table_with_add_actions
from obstore import get, head, list_with_delimiter, put
from obstore.exceptions import AlreadyExistsError, PreconditionError

from curation.tables import TABLES, Table
from resources.lake import digests, objects
from resources.lake.objects import ObjectReader, bucket_of, said_of, split
from resources.lake.session import Reach
from resources.lake.staging import Damaged
from resources.lake.storage import (
    SCHEMA_FILE,
    UNREADABLE,
    Overtaken,
    Scan,
    StoreError,
    Written,
    damaged,
    dimensions,
    label,
    parts,
    quote,
    said_by,
)
from resources.scratch import scratch
from training.atomic import beside

KEEP_DAYS = 30  # that former versions of tables are kept, if nobody says otherwise
AT_ONCE = 16  # logs asked for side by side
FEW = 4  # tables, of which each is simply asked for
COMMITS = 50  # tries of a commit; other partitions of the table may be committed between
CHECKPOINT = 10  # commits, after which the log is summed up
GONE = "its log names it, and the object is gone"
FIRST_COMMIT = "00000000000000000000.json"


@dataclass(frozen=True)
class Published:
    """A partition, as the log has it."""

    address: str
    size: int
    rows: int

    @property
    def version(self) -> str:
        return self._named[0]

    @property
    def columns(self) -> str:
        """A hash of the names of the file's columns."""
        return self._named[1]

    @property
    def _named(self) -> list[str]:
        return self.address.rpartition("/")[2].split("-")


State = dict[str | None, Published]


class SeenTables:
    """Tables as they were when they were first looked at, or at a time.

    Attributes:
        as_of: the time; None for when each is first looked at.
        tables: by name, those that were looked at.
    """

    def __init__(self, as_of: datetime | None = None):
        self.as_of = as_of
        self.tables: dict[str, State] = {}


@dataclass(frozen=True)
class ObjectTables:
    """The tables of a lake under `s3://bucket/prefix`.

    Attributes:
        place: that address.
        folder: the lake's own folder, an absolute path: files are made there.
        snapshot: what is seen; None for what is there now, at each look.
    """

    place: str
    folder: Path
    snapshot: SeenTables | None = None

    def state(self, table: Table) -> State:
        """The partitions of a table."""
        if self.snapshot is None:
            return _now(self._uri(table), table)[1]
        if (found := self.snapshot.tables.get(table.name)) is None:
            as_of = self.snapshot.as_of
            found = _now(self._uri(table), table)[1] if as_of is None else _then(self._uri(table), table, as_of)
            found = self.snapshot.tables[table.name] = dict(found)
        return found

    def look(self, tables: Iterable[Table]) -> dict[str, State]:
        """The partitions of several tables that have some, by table."""
        tables = list(tables)
        if len(tables) > FEW:  # one request says which were ever written
            there = self._written()
            if self.snapshot is not None:
                for table in tables:
                    if table.name not in there:
                        self.snapshot.tables.setdefault(table.name, {})
            tables = [t for t in tables if t.name in there]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            found = dict(zip((t.name for t in tables), pool.map(self.state, tables), strict=True))
        return {name: state for name, state in found.items() if state}

    def _written(self) -> set[str]:
        """Names of what stands under the address."""
        bucket, (_, path) = bucket_of(self.place), split(self.place)
        with said_of(self.place):
            return {
                p.rstrip("/").rpartition("/")[2] for p in list_with_delimiter(bucket, f"{path}/")["common_prefixes"]
            }

    def _uri(self, table: Table) -> str:
        return f"{self.place}/{table.name}"

    def keys(self, table: Table) -> list[str | None]:
        return list(self.state(table))

    def address(self, table: Table, key: str | None) -> str | None:
        parts(table, key)
        found = self.state(table).get(key)
        return found.address if found else None

    def where(self, table: Table, key: str | None) -> str:
        return self.address(table, key) or "/".join([self._uri(table), *map("=".join, parts(table, key).items())])

    def rows(self, table: Table, key: str | None) -> int:
        found = self.state(table).get(key)
        return found.rows if found else 0

    def size(self, table: Table, key: str | None) -> int:
        return self.state(table)[key].size

    def version(self, table: Table, key: str | None) -> str | None:
        found = self.state(table).get(key)
        return found.version if found else None

    def footer(self, table: Table, key: str | None) -> dict | None:
        found = self.state(table).get(key)
        return dict(_footer(found.address, found.size)[0]) if found else None

    @contextmanager
    def open(self, table: Table, key: str | None) -> Generator[BinaryIO]:
        with ObjectReader(self.state(table)[key].address) as reader:
            yield cast(BinaryIO, reader)

    def undigested(self, table: Table, key: str | None) -> bool:
        found = self.state(table)[key]
        return digests.without_digest(_footer(found.address, found.size)[1])

    def fault(self, table: Table, key: str | None) -> str | None:
        found = self.state(table)[key]
        objects.forget()  # what the store has counts
        _there.cache_clear()
        if why := _there(found.address, found.size):
            return why
        with self.open(table, key) as file:
            return digests.fault_of(file, found.size)

    def fetch(self, table: Table, key: str | None, path: Path) -> None:
        """Write a partition to a file."""
        found = self.state(table)[key]
        with said_of(found.address), open(path, "wb") as file:
            for chunk in get(bucket_of(found.address), split(found.address)[1]).stream(min_chunk_size=1 << 22):
                file.write(chunk)

    def checked(self, table: Table, key: str | None) -> str | None:
        """Objects never change, and stores keep checksums of their own: whether it is there, and whole."""
        found = self.state(table).get(key)
        return _there(found.address, found.size) if found else None

    # ---- DuckDB ----------------------------------------------------------------------------------------------------
    def scan(self, table: Table, literal: bool = False) -> Scan | None:
        found = self.state(table)
        if not found:
            return None
        listed = _listed(found) if literal else f"getvariable('files_{table.name}')"
        return Scan(listed, {f.columns for f in found.values()} == {_columns(table.schema.names)})

    def reach(self, tables: list[Table]) -> Reach:
        found = self.look(tables)
        before = (f"SET VARIABLE files_{name} = {_listed(state)}" for name, state in found.items())
        making = (f"SET VARIABLE files_{name} = [{quote(str(_sample(name)))}]" for name in found)
        return Reach("; ".join(before), "; ".join(making), objects.ObjectFiles)

    def define(self, con: duckdb.DuckDBPyConnection, tables: list[Table]) -> None:
        samples = {f"{self._uri(t)}/": _sample(t.name).read_bytes() for t in tables}
        con.register_filesystem(objects.SampleFiles(samples))

    def blame(self, error: duckdb.Error) -> Damaged | None:
        for table in TABLES.values():
            if f"{self._uri(table)}/" in str(error):
                for found in self.state(table).values():
                    if found.address in str(error) and (why := _there(found.address, found.size)):
                        return damaged(found.address, why)
        return None

    # ---- writing ---------------------------------------------------------------------------------------------------
    @contextmanager
    def staging(self, table: Table, key: str | None) -> Generator[Path]:
        parts(table, key)
        self.state(table)  # what is there now is what this run replaces
        name = label(table, key).replace("/", "-").replace("|", "-")
        with beside(self.folder / "files" / "staged" / f"{name}.parquet") as path:
            yield path

    def publish(self, table: Table, key: str | None, new: Path, rows: int, version: str) -> Written:
        values, before = parts(table, key), self.state(table).get(key)
        columns = _columns(pq.read_schema(new).names)
        name = "/".join([*map("=".join, values.items()), f"{version}-{columns}-{secrets.token_hex(4)}.parquet"])
        made = Published(f"{self._uri(table)}/{name}", new.stat().st_size, rows)
        with said_of(self.place):
            put(bucket_of(made.address), split(made.address)[1], new)
        self._commit(table, key, name, made, before)
        return Written(rows, made.size, version, made.address)

    def _commit(self, table: Table, key: str | None, name: str, made: Published, before: Published | None) -> None:
        """Name an object in the table's log.

        Raises:
            Overtaken: what stands there is not what stood there before.
        """
        values, uri = parts(table, key), self._uri(table)
        stats = json.dumps({"numRecords": made.rows})
        add = AddAction(name, made.size, values, int(time.time() * 1000), True, stats)
        said = CommitProperties(custom_metadata={"partition": label(table, key)}, max_commit_retries=0)
        where = [(d, "=", v) for d, v in values.items()] or None
        for attempt in range(COMMITS):
            try:
                with _lock(uri):
                    log, now = _now(uri, table)
                    if (there := now.get(key)) == made:  # committed, though the answer was lost
                        break
                    if there != before:
                        raise Overtaken(_overtaken(label(table, key), there))
                    if log is None:
                        create_table_with_add_actions(
                            uri, _schema(table), [add], "error", [*values], configuration=_kept(),
                            storage_options=objects.options(), commit_properties=said,
                        )  # fmt: skip
                    else:
                        log.create_write_transaction(
                            [add], "overwrite", _schema(table), [*values], where, commit_properties=said
                        )
                break
            except DeltaError as e:  # somebody else's commit came between
                if attempt == COMMITS - 1:
                    raise StoreError(f"{self.place}: {objects.shortened(e)}; tried {COMMITS} times") from None
                time.sleep(random.uniform(0.01, 0.1) * min(attempt + 1, 10))
            except OSError as e:
                raise StoreError(f"{self.place}: {objects.shortened(e)}") from None
        if self.snapshot is not None:
            self.snapshot.tables.setdefault(table.name, {})[key] = made
            objects.remember(made.address, made.size)

    def set_aside(self, table: Table, key: str | None) -> tuple[str, str]:
        uri, address = self._uri(table), self.where(table, key)
        log, _ = _now(uri, table)
        if log is not None:
            with said_of(self.place), _lock(uri):
                log.delete(" AND ".join(f'"{d}" = {quote(v)}' for d, v in parts(table, key).items()) or None)
        if self.snapshot is not None:
            self.snapshot.tables.pop(table.name, None)
        return address, f"no table: the object stays until `assay lake vacuum` ({KEEP_DAYS} days)"

    def any_table(self) -> bool:
        return False  # `lake.json` is there before the first of them

    def schema(self) -> bytes | None:
        bucket, path = bucket_of(self.place), self._schema_path()
        try:
            with said_of(self.place):
                return get(bucket, path).bytes().to_bytes()
        except FileNotFoundError:
            return None

    def put_schema(self, content: bytes) -> None:
        with said_of(self.place), suppress(AlreadyExistsError, PreconditionError):
            put(bucket_of(self.place), self._schema_path(), content, mode="create")

    def _schema_path(self) -> str:
        return f"{split(self.place)[1]}/{SCHEMA_FILE}".lstrip("/")

    def trust(self) -> None:
        """Probe the store, once a process.

        Raises:
            StoreError: it ignores conditions, or cannot be written to.
        """
        _probed(self.place)


def vacuumed(place: str, days: float, dry_run: bool) -> Iterator[tuple[str, int, int]]:
    """Delete the objects under an address that no version of the last so many days names, those of killed runs included.

    Yields:
        (table, objects, bytes) of each table of which some go.
    """
    hours = math.ceil(days * 24)
    for name in sorted(ObjectTables(place, Path())._written() & TABLES.keys()):
        table = TABLES[name]
        uri = f"{place}/{name}"
        log, _ = _now(uri, table)
        if log is None:
            continue
        with said_of(uri), _lock(uri):
            there = _sizes(uri)
            goes = [
                one for one in log.vacuum(hours, True, False, full=True) if one in there
            ]  # it names what is long gone
            if goes and not dry_run:
                log.vacuum(hours, False, False, full=True)
                objects.forget()
        if goes:
            yield name, len(goes), sum(there[one] for one in goes)


def _sizes(uri: str) -> dict[str, int]:
    """Bytes of every object under an address, by its path from there."""
    bucket, (_, path) = bucket_of(uri), split(uri)
    return {o["path"].removeprefix(f"{path}/"): o["size"] for some in obstore.list(bucket, f"{path}/") for o in some}


def _overtaken(name: str, there: Published | None) -> str:
    what = f"published {there.address}" if there else "taken it away"
    return (
        f"{name}: another run has {what} since this one began; what this one made is not put in place. `assay run` sees"
        " what is stale"
    )


# ---- logs ----------------------------------------------------------------------------------------------------------
_logs: dict[tuple[int, str], DeltaTable] = {}  # of a process
_states: dict[tuple[int, str], tuple[int, State]] = {}  # with the version of the log
_locks: dict[str, threading.RLock] = {}
_naming = threading.Lock()


def _lock(uri: str) -> threading.RLock:
    with _naming:
        return _locks.setdefault(uri, threading.RLock())


def _now(uri: str, table: Table) -> tuple[DeltaTable | None, State]:
    """A table's log and partitions as they are; (None, {}) for one that was never written."""
    here = os.getpid(), uri
    with _lock(uri), said_of(uri):
        if (log := _logs.get(here)) is None:
            try:
                log = _logs[here] = DeltaTable(uri, storage_options=objects.options())
            except TableNotFoundError:
                return None, {}
        else:
            log.update_incremental()
        version, found = _states.get(here, (-1, {}))
        if version != log.version():
            _, found = _states[here] = log.version(), _partitions(log, uri, table)
        return log, found


def _then(uri: str, table: Table, time: datetime) -> State:
    """A table's partitions as they were at a time, by the store's clock."""
    bucket, (_, path) = bucket_of(uri), split(uri)
    with said_of(uri):
        found = list_with_delimiter(bucket, f"{path}/_delta_log/")["objects"]
        commits = {o["path"].rpartition("/")[2]: o["last_modified"] for o in found}
        versions = [int(n[:20]) for n, at in commits.items() if n[20:] == ".json" and at <= time]
        if not versions:
            if commits and FIRST_COMMIT not in commits:
                raise StoreError(f"{uri}: its log goes back no further than {min(commits.values())}")
            return {}
        return _partitions(DeltaTable(uri, version=max(versions), storage_options=objects.options()), uri, table)


def _partitions(log: DeltaTable, uri: str, table: Table) -> State:
    rows = pa.table(log.get_add_actions(flatten=True)).select(
        ["path", "size_bytes", "num_records", *(f"partition.{d}" for d in dimensions(table))]
    )
    found: State = {}
    for row in rows.to_pylist():
        key = "|".join(row[f"partition.{d}"] for d in dimensions(table)) or None
        found[key] = Published(f"{uri}/{row['path']}", row["size_bytes"], row["num_records"])
        objects.remember(found[key].address, found[key].size)
    return dict(sorted(found.items(), key=lambda item: str(item[0])))


@functools.cache
def _schema(table: Table) -> Schema:
    """The table's columns, those that only paths hold included, without the sentences on them."""
    fields = [pa.field(f.name, f.type, f.nullable) for f in table.schema]
    fields += [pa.field(d, pa.string()) for d in dimensions(table) if d not in table.schema.names]
    return Schema.from_arrow(pa.schema(fields))


def _kept() -> dict[str, str | None]:
    """What is said to whoever else works with the log."""
    return {
        "delta.checkpointInterval": str(CHECKPOINT),
        "delta.logRetentionDuration": f"interval {KEEP_DAYS} days",
        "delta.deletedFileRetentionDuration": f"interval {KEEP_DAYS} days",
    }


# ---- objects -------------------------------------------------------------------------------------------------------
def _listed(found: State) -> str:
    return f"[{', '.join(quote(f.address) for f in found.values())}]"


def _columns(names: list[str]) -> str:
    return hashlib.blake2b("\n".join(names).encode(), digest_size=4).hexdigest()


_samples = functools.cache(lambda: scratch("samples"))


@functools.cache
def _sample(name: str) -> Path:
    """A file of no row with the table's columns, on this machine: views are defined over it without one request."""
    table = TABLES[name]
    path = _samples().joinpath(name, *(f"{d}=none" for d in dimensions(table)), "none.parquet")
    path.parent.mkdir(parents=True)
    pq.write_table(table.schema.empty_table(), path)
    return path


@functools.lru_cache(maxsize=100_000)
def _footer(address: str, size: int) -> tuple[dict, frozenset[bytes]]:
    """What the footer of an object says of what made it, and the names of all that it says: one request, two where the
    footer is long.

    Raises:
        Damaged: it is gone, or nothing of ours is in it.
    """
    objects.remember(address, size)
    try:
        with said_of(address):
            tail = objects.part(address, max(0, size - objects.TAIL), size)
            if (needed := int.from_bytes(tail[-8:-4], "little") + 8) > len(tail):
                tail = objects.part(address, max(0, size - needed), size)
        found = pq.read_metadata(pa.BufferReader(tail))
        return said_by(found), frozenset(found.metadata)
    except FileNotFoundError:
        raise damaged(address, GONE) from None
    except StoreError:
        raise
    except UNREADABLE as e:
        raise damaged(address, f"its footer cannot be read ({e})") from e


@functools.lru_cache(maxsize=100_000)
def _there(address: str, size: int) -> str | None:
    """What is wrong with an object, as far as the store can say without sending it."""
    try:
        with said_of(address):
            found = head(bucket_of(address), split(address)[1])["size"]
    except FileNotFoundError:
        return GONE
    return None if found == size else f"it has {found:,} bytes, and {size:,} were written"


@functools.cache
def _probed(address: str) -> None:
    objects.probe(address)
