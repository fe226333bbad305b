"""Steps as Dagster assets: inputs examined, rows checked before anybody sees them, then put in place."""

import html
import multiprocessing
import re
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

import dagster as dg
import duckdb

from assets.executors import op_tags
from assets.partitions import mapping, partitions_def
from assets.runs import tags_of
from assets.table_asset import Check, Rows, Step
from curation.tables import Table
from curation.visible import visible
from resources.lake import Damaged, Missing, OtherSchema, Overtaken, StoreError, label
from resources.run import Run
from resources.services import SERVICES
from resources.settings import Settings
from resources.stops import Stop
from training.supervise import die_with_parent

WAITS = "assay/waits for"  # tag of a run that ended because somebody has not answered yet


def as_asset(step: Step, settings: Settings) -> dg.AssetsDefinition:
    """The step as a Dagster asset (one spec a table)."""
    kind = step.partition

    deps = [dg.AssetDep(t.name, partition_mapping=mapping(kind, t.partition, settings)) for t in step.needs]
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
        op_tags=op_tags(settings, step.pool),
        can_subset=True,  # so that a check can be run alone; the tables of a step are made together
        required_resource_keys={*SERVICES},
    )
    def body(context: dg.AssetExecutionContext):
        if worker := multiprocessing.parent_process():  # a step with a process of its own works for nobody else
            die_with_parent(worker.pid)
        context.instance.add_run_tags(context.run.run_id, tags_of(context.run))
        services = {name: getattr(context.resources, name) for name in SERVICES}
        run = Run.served(settings, services, context.partition_key if context.has_partition_key else None, context)
        if context.selected_asset_keys:
            yield from publish(step, run, {k.to_user_string() for k in context.selected_asset_keys})
        else:
            yield from checked(
                step, run, {(k.asset_key.to_user_string(), k.name) for k in context.selected_asset_check_keys}
            )

    return body


def checked(step: Step, run: Run, names: set[tuple[str, str]]) -> Iterator[dg.AssetCheckResult]:
    """Checks (table, name) of what is published: of the run's partition, or of all that there are."""
    for table, checks in step.checks.items():
        wanted = [c for c in checks if (table.name, c.name) in names]
        if not wanted:
            continue
        keys = run.lake.partitions(table) if table.partition else [None]
        if run.partition is not None:
            keys = [run.partition]
        found: dict[str, list[dg.AssetCheckResult]] = {}
        for key in keys:
            path = run.lake.address(table, key)
            if path is None:
                raise dg.Failure(
                    f"{label(table, key)} has not been made: there is nothing to check", allow_retries=False
                )
            results, _ = _examine(step, replace(run, partition=key), table, path, wanted)
            for result in results:
                found.setdefault(result.check_name or "", []).append(result)
        for name, results in found.items():
            broken = next((r for r in results if not r.passed), results[0])
            yield dg.AssetCheckResult(
                passed=all(r.passed for r in results),
                asset_key=table.name,
                check_name=name,
                severity=dg.AssetCheckSeverity.ERROR,
                metadata={**broken.metadata, "partitions": len(keys)},
            )


def publish(
    step: Step, run: Run, selected: Collection[str] | None = None
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult | dg.AssetObservation]:
    """Run the step, check each table before anyone can see it, put it in place.

    Args:
        selected: names of the tables that Dagster asked for; None for all. The others are made all the same.

    Raises:
        dagster.Failure: a check failed, an input is missing, a table was not yielded, or the step came to a `Stop`. One
            that only waits for somebody fails no Dagster run: the run bears the tag WAITS, and what rests on the step is
            skipped.
    """
    try:
        yield from _published(step, run, selected)
    except StoreError as e:  # it may answer another time
        raise dg.Failure(f"{label(step.tables[0], run.partition)} was not made: {e}") from e
    except Stop as e:  # no error of the code, and trying again at once would not help
        table = label(step.tables[0], run.partition)
        if e.waits_for and run.context is not None:
            run.log(f"{table} is not made yet. {e}")
            run.context.instance.add_run_tags(run.context.run.run_id, {WAITS: e.waits_for})
            yield dg.AssetObservation(
                step.tables[0].name,
                f"{table} is not made yet. {e}",
                metadata={"waits for": e.waits_for, "stopped by": type(e).__name__},
                partition=run.partition,
            )
            return
        raise dg.Failure(
            f"{table} is not made yet. {e}", metadata={"stopped by": type(e).__name__}, allow_retries=False
        ) from e


def _published(
    step: Step, run: Run, selected: Collection[str] | None
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    run = replace(run, lake=run.lake.pinned(step.tables))  # from here on, whatever others publish
    try:
        note = step.note(run.settings, run.lake, run.partition)
        itself = [(t, run.partition) for t in step.tables if step.reads_itself]
        run.lake.check([*step.inputs(run.settings, run.partition), *itself])
    except (Damaged, Missing, OtherSchema) as e:
        raise dg.Failure(f"{label(step.tables[0], run.partition)} cannot be made: {e}", allow_retries=False) from e
    if step.blocked is not None and (why := step.blocked(run.settings, run.lake, run.partition)):
        raise dg.Failure(f"{label(step.tables[0], run.partition)} is not opened: {why}", allow_retries=False)
    expected = list(step.tables)
    for rows in step.fn(step.limited(run)):
        expected.remove(rows.table)
        with run.lake.staged(rows.table, rows.data, run.partition, rows.footer | note) as staged:
            results, preview = _examine(step, run, rows.table, str(staged.path), step.checks.get(rows.table, []))
            if failed := [r for r in results if not r.passed]:
                yield from results
                names = ", ".join(r.check_name or "" for r in failed)
                raise dg.Failure(
                    f"{label(rows.table, run.partition)} was not published: {names}",
                    metadata={r.check_name or "": r.metadata["offending"] for r in failed},
                    allow_retries=False,
                )
            try:
                written = staged.publish()
            except Overtaken as e:
                raise dg.Failure(str(e), allow_retries=False) from e
        count = "dagster/partition_row_count" if rows.table.partition else "dagster/row_count"
        if selected is not None and rows.table.name not in selected:
            continue
        yield dg.MaterializeResult(
            asset_key=rows.table.name,
            metadata={
                count: written.rows,
                "bytes": written.bytes,
                "dagster/uri": str(written.path),
                "preview": dg.MetadataValue.md(preview),
                **_shown(rows, run),
            },
            data_version=dg.DataVersion(written.version),
            check_results=results,
        )
    if expected:
        raise dg.Failure(f"{step.name} did not yield {', '.join(t.name for t in expected)}", allow_retries=False)


def _shown(rows: Rows, run: Run) -> dict[str, Any]:
    """What the UI shows beside the table; nobody sees pictures of a step that is called by hand."""
    seen = {name: value for name, value in rows.metadata.items() if run.context is not None or not callable(value)}
    return {name: value() if callable(value) else value for name, value in seen.items()}


def _examine(
    step: Step, run: Run, table: Table, path: str, checks: Collection[Check]
) -> tuple[list[dg.AssetCheckResult], str]:
    seen = run.lake.only({*step.sees, *step.tables, *(t for c in checks for t in c.reads)}, f"a check of {step.name}")
    with seen.connect() as con:
        con.read_parquet(path, hive_partitioning=False).create_view("new")
        results = []
        for check in checks:
            columns, rows = _head(con, check.sql, _values(check, run))
            shown = markdown(columns, rows) if rows else "none"
            results.append(
                dg.AssetCheckResult(
                    passed=not rows,
                    asset_key=table.name,
                    check_name=check.name,
                    severity=dg.AssetCheckSeverity.ERROR,
                    metadata={"offending": dg.MetadataValue.md(shown)},
                )
            )
        return results, markdown(*_head(con, "SELECT * FROM new"))


def _head(con: duckdb.DuckDBPyConnection, query: str, values: dict[str, Any] | None = None) -> tuple[list, list]:
    """Columns and the first rows of what a query gives."""
    found = con.execute(f"({query}\n) LIMIT 5", values)
    return [name for name, *_ in found.description], found.fetchall()


def _values(check: Check, run: Run) -> dict[str, str | None] | None:
    return {"partition": run.partition} if "$partition" in check.sql else None


def markdown(columns: list[str], rows: list[tuple], width: int = 60) -> str:
    """A Markdown table of a few rows; texts are shortened and cannot break out of their cell."""

    def cell(value: Any) -> str:
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
        text = visible(re.sub(r"\s+", " ", text))
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
