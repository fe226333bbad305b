"""What every asset that writes tables declares: a `Step`, what it reads, its checks.

A stage module decorates generator functions with `table_asset`; each yields `Rows` for its tables. From the same
declaration come the Dagster asset, the versions that a file's footer records, the answer to "is it stale?", and what
the function can see: a table or a section of the configuration that it does not declare is not there.
"""

import hashlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from curation.tables import PartitionKind, Table
from curation.tables.columns import NESTED
from resources.lake import Data, Lake, Missing
from resources.run import Run
from resources.settings import Settings


@dataclass(frozen=True)
class Check:
    """A promise about a table: `sql` selects the rows that break it, from `new` (the rows about to be published), what
    the step reads and `reads`; `$partition` is the partition. A broken promise blocks: nothing is published
    and nothing downstream runs."""

    name: str
    sql: str
    doc: str
    reads: tuple[Table, ...] = ()


@dataclass(frozen=True)
class Rows:
    """The content of one table or partition, what the UI should show beside it, and what travels in its footer.

    What is a picture is given as the function that draws it, which is called where Dagster shows it.
    """

    table: Table
    data: Data
    metadata: dict[str, Any] = field(default_factory=dict)
    footer: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """One asset function and what it depends on.

    Attributes:
        reads: tables read; of the same partition kind, or of one of its two dimensions, the same partition; of a kind that
            divides this one, its parts; otherwise all partitions.
        reads_upto: tables of the same kind of which all partitions up to this one are read.
        reads_earlier: tables of which only earlier partitions are read. Dagster allows no cycle between assets, so these
            edges are not declared to it; the footers record them.
        reads_itself: whether it reads what it wrote before, to keep what is still right of it.
        settings: top-level sections of the configuration that decide the result.
        settings_seen: sections that are read and decide no result, or of which `external_version` tells what decides.
        version: raised by hand when the code's result changes.
        external_version: for a step that reads what no table holds: a short text that changes when that changes, of the
            partition.
        retry_reason: for a step that stores what went wrong: why a partition whose inputs are the same must be tried
            again.
        blocked: why the step must not run now although its inputs are there; it sees the whole lake.
    """

    fn: Callable[[Run], Iterator[Rows]]
    tables: tuple[Table, ...]
    group: str
    reads: tuple[Table, ...] = ()
    reads_upto: tuple[Table, ...] = ()
    reads_earlier: tuple[Table, ...] = ()
    reads_itself: bool = False
    settings: tuple[str, ...] = ()
    settings_seen: tuple[str, ...] = ()
    version: str = "1"
    external_version: Callable[[Settings, Lake, str | None], str] | None = None
    retry_reason: Callable[[Settings, Lake, str | None], str | None] | None = None
    blocked: Callable[[Settings, Lake, str | None], str | None] | None = None
    kinds: frozenset[str] = frozenset()
    pool: str | None = None
    checks: dict[Table, list[Check]] = field(default_factory=dict, hash=False, compare=False)

    @property
    def partition(self) -> PartitionKind | None:
        return self.tables[0].partition

    @property
    def name(self) -> str:
        return getattr(self.fn, "__name__", "step")

    @cached_property
    def sees(self) -> tuple[Table, ...]:
        """The tables that the function may read."""
        return (*self.reads, *self.reads_upto, *self.reads_earlier, *(self.tables if self.reads_itself else ()))

    @cached_property
    def needs(self) -> tuple[Table, ...]:
        """The tables that must be there before it runs: those that it or one of its checks reads, but for itself."""
        checks = (t for checks in self.checks.values() for c in checks for t in c.reads)
        return tuple(t for t in dict.fromkeys((*self.reads, *self.reads_upto, *checks)) if t not in self.tables)

    def limited(self, run: Run) -> Run:
        """The same run with what the step declares and nothing else."""
        return run.only(self.sees, (*self.settings, *self.settings_seen), self.name)

    def _shown(self, settings: Settings) -> Settings:
        return settings.only((*self.settings, *self.settings_seen), self.name)

    def code(self, settings: Settings) -> str:
        """The version, the tables' columns, the settings that decide the result, and into how many buckets it is divided."""
        code = f"{self.version}.{_columns_hash(self.tables)}"
        code += f".{settings.section_hash(*self.settings)}" if self.settings else ""
        return f"{code}.of{settings.lake.buckets}" if self.partition == "bucket" else code

    def note(self, settings: Settings, lake: Lake, partition: str | None) -> dict[str, Any]:
        """What the footer records and staleness compares. Raises Missing when an input is not there."""
        note = {"code": self.code(settings), "inputs": lake.versions(self.inputs(settings, partition))}
        if self.external_version is None:
            return note
        run = self.limited(Run(settings, lake, partition))
        return note | {"outside": self.external_version(run.settings, run.lake, partition)}

    def inputs(self, settings: Settings, partition: str | None) -> list[tuple[Table, str | None]]:
        """Every (table, partition) the step reads for one of its partitions."""
        found: list[tuple[Table, str | None]] = []
        direct = {*self.reads, *self.reads_upto}
        for table in (*self.reads, *(t for t in self.needs if t not in direct)):
            if table.partition is None:
                found.append((table, None))
            elif table.partition == self.partition:
                found.append((table, partition))
            elif self.partition and table.partition in self.partition.split("|"):
                found.append((table, key_parts(self.partition, partition or "")[table.partition]))
            elif self.partition and NESTED.get(table.partition) == self.partition:
                keys = settings.partition_keys(table.partition)
                found += [(table, key) for key in keys if key.startswith(f"{partition}.")]
            else:
                found += [(table, key) for key in settings.partition_keys(table.partition)]
        if partition is not None and (self.reads_upto or self.reads_earlier):
            keys = settings.partition_keys(self.partition or "")
            here = keys.index(partition)
            found += [(t, k) for t in self.reads_upto for k in keys[: here + 1]]
            found += [(t, k) for t in self.reads_earlier for k in keys[:here]]
        return found

    def stale(self, settings: Settings, lake: Lake, partition: str | None) -> str | None:
        """Why this partition must be made (again), or None when it is up to date."""
        why = self.changed(settings, lake, partition)
        if why or self.retry_reason is None:
            return why
        return self.retry_reason(self._shown(settings), lake, partition)

    def changed(self, settings: Settings, lake: Lake, partition: str | None) -> str | None:
        """As `stale`, but for what is to be tried again: what rests on it now need not be made again before that has
        brought something else."""
        notes = [lake.note(table, partition) for table in self.tables]
        try:
            if None in notes:  # what it reads outside the lake is not looked at: a large source takes a while
                lake.versions(self.inputs(settings, partition))
                return "never made"
            now = self.note(settings, lake, partition)
        except Missing as e:
            return f"waits: {e}"
        for note in filter(None, notes):
            if note.get("code") != now["code"]:
                return "code or settings changed"
            if note.get("outside") != now.get("outside"):
                return "what it reads outside the lake changed"
            old, new = note.get("inputs", {}), now["inputs"]
            if changed := sorted(k for k in new | old if new.get(k) != old.get(k)):
                return "changed: " + ", ".join(changed[:3])
        return None


def table_asset(
    *tables: Table,
    group: str,
    reads: tuple[Table, ...] | list[Table] = (),
    reads_upto: tuple[Table, ...] | list[Table] = (),
    reads_earlier: tuple[Table, ...] | list[Table] = (),
    reads_itself: bool = False,
    settings: tuple[str, ...] = (),
    settings_seen: tuple[str, ...] = (),
    version: str = "1",
    external_version: Callable[[Settings, Lake, str | None], str] | None = None,
    retry_reason: Callable[[Settings, Lake, str | None], str | None] | None = None,
    blocked: Callable[[Settings, Lake, str | None], str | None] | None = None,
    kinds: Collection[str] = ("duckdb",),
    pool: str | None = None,
    checks: dict[Table, list[Check]] | None = None,
) -> Callable[[Callable[[Run], Iterator[Rows]]], Step]:
    """Declare the function as the step that writes `tables`; see `Step` for the arguments."""

    def declare(fn: Callable[[Run], Iterator[Rows]]) -> Step:
        return Step(
            fn=fn,
            tables=tables,
            group=group,
            reads=tuple(reads),
            reads_upto=tuple(reads_upto),
            reads_earlier=tuple(reads_earlier),
            reads_itself=reads_itself,
            settings=settings,
            settings_seen=settings_seen,
            version=version,
            external_version=external_version,
            retry_reason=retry_reason,
            blocked=blocked,
            kinds=frozenset(kinds),
            pool=pool,
            checks=checks or {},
        )

    return declare


def _columns_hash(tables: tuple[Table, ...]) -> str:
    """8 hex digits over names, types and nullability of all columns."""
    columns = [[t.name, *((f.name, str(f.type), f.nullable) for f in t.schema)] for t in tables]
    return hashlib.blake2b(repr(columns).encode(), digest_size=4).hexdigest()


def key_parts(kind: str, key: str) -> dict[str, str]:
    """The key of each dimension."""
    return dict(zip(kind.split("|"), key.split("|"), strict=True))
