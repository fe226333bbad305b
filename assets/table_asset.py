"""What every asset that writes tables has in common: a `Step`, its inputs, its checks, its publication.

A stage module decorates generator functions with `table_asset`; each yields `Rows` for its tables. From the same
declaration come the Dagster asset, the versions that a file's footer records, and the answer to "is it stale?".
"""

import hashlib
import html
import multiprocessing
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import dagster as dg

from curation.tables import PartitionKind, Table
from resources.lake import Data, Lake, Missing, label
from resources.settings import Settings
from resources.stops import Stop
from training.supervise import die_with_parent


@dataclass(frozen=True)
class Check:
    """A promise about a table: `sql` selects the rows that break it, from `new` (the rows about to be published) and
    any view of the lake; `getvariable('partition')` is the partition. A broken promise blocks: nothing is published and
    nothing downstream runs."""

    name: str
    sql: str
    doc: str


@dataclass(frozen=True)
class Rows:
    """The content of one table or partition, what the UI should show beside it, and what travels in its footer."""

    table: Table
    data: Data
    metadata: dict[str, Any] = field(default_factory=dict)
    footer: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """What a step may use. `context` is Dagster's, or None when a step is called by hand."""

    settings: Settings
    lake: Lake
    partition: str | None = None
    context: dg.AssetExecutionContext | None = None

    def log(self, text: str) -> None:
        if self.context is not None:
            self.context.log.info(text)

    def earlier(self) -> list[str]:
        """Keys of the iterations before this one."""
        keys = self.settings.partition_keys("iteration")
        return keys[: keys.index(self.partition)]


@dataclass(frozen=True)
class Step:
    """One asset function and what it depends on.

    Attributes:
        reads: tables read; of the same partition kind, or of one of its two dimensions, the same partition, otherwise
            all partitions.
        upto: tables of the same kind of which all partitions up to this one are read.
        earlier: tables of which only earlier partitions are read. Dagster allows no cycle between assets, so these
            edges are not declared to it; the footers record them.
        settings: top-level sections of the configuration that decide the result.
        version: raised by hand when the code's result changes.
        outside: for a step that reads what no table holds: a short text that changes when that changes, of the partition.
        again: for a step that stores what went wrong: why a partition whose inputs are the same must be tried again.
    """

    fn: Callable[[Run], Iterator[Rows]]
    tables: tuple[Table, ...]
    group: str
    reads: tuple[Table, ...] = ()
    upto: tuple[Table, ...] = ()
    earlier: tuple[Table, ...] = ()
    settings: tuple[str, ...] = ()
    version: str = "1"
    outside: Callable[[Settings, Lake, str | None], str] | None = None
    again: Callable[[Settings, Lake, str | None], str | None] | None = None
    kinds: frozenset[str] = frozenset()
    pool: str | None = None
    checks: dict[Table, list[Check]] = field(default_factory=dict, hash=False, compare=False)

    @property
    def partition(self) -> PartitionKind | None:
        return self.tables[0].partition

    @property
    def name(self) -> str:
        return self.fn.__name__

    def code(self, settings: Settings) -> str:
        """The version, the tables' columns, the settings that decide the result, and into how many buckets it is divided."""
        code = f"{self.version}.{_columns_hash(self.tables)}"
        code += f".{settings.section_hash(*self.settings)}" if self.settings else ""
        return f"{code}.of{settings.lake.buckets}" if self.partition == "bucket" else code

    def note(self, settings: Settings, lake: Lake, partition: str | None) -> dict[str, Any]:
        """What the footer records and staleness compares. Raises Missing when an input is not there."""
        note = {"code": self.code(settings), "inputs": lake.versions(self.inputs(settings, partition))}
        return note | ({"outside": self.outside(settings, lake, partition)} if self.outside else {})

    def inputs(self, settings: Settings, partition: str | None) -> list[tuple[Table, str | None]]:
        """Every (table, partition) the step reads for one of its partitions."""
        found: list[tuple[Table, str | None]] = []
        for table in self.reads:
            if table.partition is None:
                found.append((table, None))
            elif table.partition == self.partition:
                found.append((table, partition))
            elif self.partition and table.partition in self.partition.split("|"):
                found.append((table, _part(self.partition, partition)[table.partition]))
            else:
                found += [(table, key) for key in settings.partition_keys(table.partition)]
        if partition is not None and (self.upto or self.earlier):
            keys = settings.partition_keys(self.partition)
            here = keys.index(partition)
            found += [(t, k) for t in self.upto for k in keys[: here + 1]]
            found += [(t, k) for t in self.earlier for k in keys[:here]]
        return found

    def stale(self, settings: Settings, lake: Lake, partition: str | None) -> str | None:
        """Why this partition must be made (again), or None when it is up to date."""
        why = self.changed(settings, lake, partition)
        return why if why or self.again is None else self.again(settings, lake, partition)

    def changed(self, settings: Settings, lake: Lake, partition: str | None) -> str | None:
        """As `stale`, but for what is to be tried again: what rests on it now need not be made again before that has
        brought something else."""
        try:
            now = self.note(settings, lake, partition)
        except Missing as e:
            return f"waits: {e}"
        for table in self.tables:
            note = lake.note(table, partition)
            if note is None:
                return "never made"
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
    upto: tuple[Table, ...] | list[Table] = (),
    earlier: tuple[Table, ...] | list[Table] = (),
    settings: tuple[str, ...] = (),
    version: str = "1",
    outside: Callable[[Settings, Lake, str | None], str] | None = None,
    again: Callable[[Settings, Lake, str | None], str | None] | None = None,
    kinds: set[str] = frozenset({"duckdb"}),
    pool: str | None = None,
    checks: dict[Table, list[Check]] | None = None,
) -> Callable[[Callable[[Run], Iterator[Rows]]], Step]:
    """Declare the function as the step that writes `tables`; see `Step` for the arguments."""

    def declare(fn: Callable[[Run], Iterator[Rows]]) -> Step:
        return Step(
            fn,
            tables,
            group,
            tuple(reads),
            tuple(upto),
            tuple(earlier),
            settings,
            version,
            outside,
            again,
            frozenset(kinds),
            pool,
            checks or {},
        )

    return declare


def _columns_hash(tables: tuple[Table, ...]) -> str:
    """8 hex digits over names, types and nullability of all columns."""
    columns = [[t.name, *((f.name, str(f.type), f.nullable) for f in t.schema)] for t in tables]
    return hashlib.blake2b(repr(columns).encode(), digest_size=4).hexdigest()


def _part(kind: str, key: str) -> dict[str, str]:
    """The key of each dimension."""
    return dict(zip(kind.split("|"), key.split("|"), strict=True))


# ---- Dagster -------------------------------------------------------------------------------------------------------
@cache
def _static(keys: tuple[str, ...]) -> dg.StaticPartitionsDefinition:
    return dg.StaticPartitionsDefinition(list(keys))


def partitions_def(kind: PartitionKind, settings: Settings) -> dg.PartitionsDefinition:
    parts = {dimension: _static(tuple(settings.partition_keys(dimension))) for dimension in kind.split("|")}
    return dg.MultiPartitionsDefinition(parts) if len(parts) > 1 else parts[kind]


def _mapping(kind: PartitionKind | None, read: PartitionKind | None) -> dg.PartitionMapping | None:
    """How a step partitioned by `kind` depends on a table partitioned by `read`; None is Dagster's default."""
    if kind is None or read is None or kind == read:
        return None
    if read in kind.split("|"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.BetaWarning)
            return dg.MultiToSingleDimensionPartitionMapping(read)
    return dg.AllPartitionMapping()


def as_asset(step: Step, settings: Settings, lake: Lake) -> dg.AssetsDefinition:
    """The step as a Dagster asset (one spec a table)."""
    kind = step.partition

    deps = [
        dg.AssetDep(t.name, partition_mapping=_mapping(kind, t.partition))
        for t in dict.fromkeys((*step.reads, *step.upto))
        if t not in step.tables
    ]
    specs = [
        dg.AssetSpec(
            t.name,
            deps=deps,
            description=f"{t.doc}\n\n{step.fn.__doc__ or ''}",
            group_name=step.group,
            owners=["team:curation"],
            kinds={*step.kinds, "parquet"},
            code_version=step.code(settings),
            metadata={"dagster/column_schema": _column_schema(t), "dagster/table_name": t.name},
        )
        for t in step.tables
    ]
    check_specs = [
        dg.AssetCheckSpec(c.name, asset=t.name, blocking=True, description=c.doc)
        for t, checks in step.checks.items()
        for c in checks
    ]

    @dg.multi_asset(
        name=step.name,
        specs=specs,
        check_specs=check_specs,
        partitions_def=partitions_def(kind, settings) if kind else None,
        pool=step.pool,
    )
    def body(context: dg.AssetExecutionContext):
        if worker := multiprocessing.parent_process():  # a step with a process of its own works for nobody else
            die_with_parent(worker.pid)
        run = Run(settings, lake, context.partition_key if context.has_partition_key else None, context)
        yield from publish(step, run)

    return body


def publish(step: Step, run: Run) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Run the step, check each table before anyone can see it, put it in place.

    Raises:
        dagster.Failure: a check failed, an input is missing, a table was not yielded, or the step came to a `Stop`.
    """
    try:
        yield from _published(step, run)
    except Stop as e:  # no error of the code, and trying again at once would not help
        table = label(step.tables[0], run.partition)
        raise dg.Failure(
            f"{table} is not made yet. {e}", metadata={"stopped by": type(e).__name__}, allow_retries=False
        ) from e


def _published(step: Step, run: Run) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    try:
        note = step.note(run.settings, run.lake, run.partition)
    except Missing as e:
        raise dg.Failure(f"{label(step.tables[0], run.partition)} cannot be made: {e}", allow_retries=False) from e
    expected = list(step.tables)
    for rows in step.fn(run):
        expected.remove(rows.table)
        with run.lake.staged(rows.table, rows.data, run.partition, rows.footer | note) as staged:
            results, preview = _examine(step, run, rows.table, str(staged.path))
            if failed := [r for r in results if not r.passed]:
                yield from results
                names = ", ".join(r.check_name for r in failed)
                raise dg.Failure(
                    f"{label(rows.table, run.partition)} was not published: {names}",
                    metadata={r.check_name: r.metadata["offending"] for r in failed},
                    allow_retries=False,
                )
            written = staged.publish()
        count = "dagster/partition_row_count" if rows.table.partition else "dagster/row_count"
        yield dg.MaterializeResult(
            asset_key=rows.table.name,
            metadata={
                count: written.rows,
                "bytes": written.bytes,
                "dagster/uri": str(written.path),
                "preview": dg.MetadataValue.md(preview),
                **rows.metadata,
            },
            data_version=dg.DataVersion(written.version),
            check_results=results,
        )
    if expected:
        raise dg.Failure(f"{step.name} did not yield {', '.join(t.name for t in expected)}", allow_retries=False)


def _examine(step: Step, run: Run, table: Table, path: str) -> tuple[list[dg.AssetCheckResult], str]:
    with run.lake.connect() as con:
        quoted = path.replace("'", "''")
        con.execute(f"CREATE TEMP VIEW new AS SELECT * FROM read_parquet('{quoted}', hive_partitioning=false)")
        con.execute("SET VARIABLE partition = " + ("NULL" if run.partition is None else f"'{run.partition}'"))
        results = []
        for check in step.checks.get(table, []):
            broken = con.sql(check.sql).limit(5)
            rows = broken.fetchall()
            shown = markdown(broken.columns, rows) if rows else "none"
            results.append(
                dg.AssetCheckResult(
                    passed=not rows,
                    asset_key=table.name,
                    check_name=check.name,
                    severity=dg.AssetCheckSeverity.ERROR,
                    metadata={"offending": dg.MetadataValue.md(shown)},
                )
            )
        head = con.sql("SELECT * FROM new LIMIT 5")
        return results, markdown(head.columns, head.fetchall())


def markdown(columns: list[str], rows: list[tuple], width: int = 60) -> str:
    """A Markdown table of a few rows; texts are shortened and cannot break out of their cell."""

    def cell(value: Any) -> str:
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
        text = re.sub(r"\s+", " ", text)
        text = text if len(text) <= width else text[: width - 1] + "…"
        return re.sub(r"([|`*_\[\]!\\#])", r"\\\1", html.escape(text, quote=False))

    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join(lines + ["| " + " | ".join(map(cell, row)) + " |" for row in rows])


def _column_schema(table: Table) -> dg.TableSchema:
    return dg.TableSchema(
        [
            dg.TableColumn(
                f.name,
                str(f.type),
                (f.metadata or {}).get(b"doc", b"").decode(),
                constraints=dg.TableColumnConstraints(nullable=f.nullable),
            )
            for f in table.schema
        ]
    )
