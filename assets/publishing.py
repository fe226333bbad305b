"""Steps as Dagster assets: inputs examined, rows checked before anybody sees them, then put in place."""

import html
import multiprocessing
import re
import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

import dagster as dg

from assets.table_asset import Check, Step
from curation.tables import PartitionKind, Table
from resources.lake import Lake, Missing, OtherSchema, label
from resources.run import Run
from resources.settings import Settings
from resources.stops import Stop
from training.supervise import die_with_parent


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

    deps = [dg.AssetDep(t.name, partition_mapping=_mapping(kind, t.partition)) for t in step.needs]
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
    except (Missing, OtherSchema) as e:
        raise dg.Failure(f"{label(step.tables[0], run.partition)} cannot be made: {e}", allow_retries=False) from e
    if step.blocked is not None and (why := step.blocked(run.settings, run.lake, run.partition)):
        raise dg.Failure(f"{label(step.tables[0], run.partition)} is not opened: {why}", allow_retries=False)
    expected = list(step.tables)
    for rows in step.fn(step.limited(run)):
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
    checks = step.checks.get(table, [])
    seen = run.lake.only({*step.sees, *step.tables, *(t for c in checks for t in c.reads)}, f"a check of {step.name}")
    with seen.connect() as con:
        con.read_parquet(path, hive_partitioning=False).create_view("new")
        results = []
        for check in checks:
            broken = con.sql(check.sql, params=_values(check, run)).limit(5)
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


def _values(check: Check, run: Run) -> dict[str, str | None] | None:
    return {"partition": run.partition} if "$partition" in check.sql else None


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
