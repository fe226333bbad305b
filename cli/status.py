"""What is made, what is stale, where every record ended, what it cost."""

import os
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from assets.judging import missing_answers
from assets.registry import steps
from cli.ending import made
from resources.lake import Lake
from resources.settings import Settings


def show(settings: Settings, lake: Lake) -> None:
    """Print the state of the lake: one row a table, then the ledger, the cost and the places to look."""
    console = Console()
    grid = Grid("table", "partitions", "rows", "state", title=f"{settings.name}: {lake.root}", title_justify="left")
    for step in steps():
        keys = settings.partition_keys(step.partition) if step.partition else [None]
        why = {k: step.stale(settings, lake, k) for k in keys}
        stale = {k: w for k, w in why.items() if w}
        for table in step.tables:
            made = [k for k in keys if lake.note(table, k) is not None]
            rows = sum(lake.rows(table, k) for k in made)
            state = "up to date"
            if stale:
                key, first = next(iter(stale.items()))
                state = f"[yellow]{'' if key is None else key + ': '}{first}[/]"
                state += f" [dim]and {len(stale) - 1} more[/]" if len(stale) > 1 else ""
            grid.add_row(table.name, f"{len(made)}/{len(keys)}", f"{rows:,}", state)
    console.print(grid)
    closing(settings, lake)


def closing(settings: Settings, lake: Lake) -> None:
    """The ledger, the cost, what went wrong with the input, and where to look next."""
    console = Console()
    with lake.connect() as con:
        ledger = con.sql(
            "SELECT class, sum(records)::BIGINT, string_agg(reason || ' ' || records, ', ' ORDER BY records DESC)"
            " FROM (SELECT class, coalesce(reason, '') AS reason, sum(records)::BIGINT AS records FROM ledger"
            " GROUP BY ALL) GROUP BY class ORDER BY 2 DESC"
        ).fetchall()
        inputs = con.sql(
            "SELECT (SELECT count(*) FROM raw_pool) + (SELECT count(*) FROM unusable) + (SELECT count(*) FROM quarantine)"
        ).fetchall()[0][0]
        cost = con.sql(
            "SELECT who, sum(labels)::BIGINT, sum(dollars), bool_or(simulated) FROM cost GROUP BY 1"
        ).fetchall()
        per_pair = con.sql(
            "SELECT class, dollars_a_pair, dollars_a_pair_all_in, simulated FROM cost_per_pair"
            " WHERE class IN ('keep', 'flip') AND dollars_a_pair_all_in > 0 ORDER BY class DESC"
        ).fetchall()
        bad = con.sql(
            "SELECT file, row, reason, error FROM quarantine ORDER BY row > 0, source, row LIMIT 8"
        ).fetchall()
        n_bad = con.sql("SELECT count(*) FROM quarantine").fetchall()[0][0]
        warnings = con.sql(
            "SELECT warning FROM imports WHERE warning IS NOT NULL AND records > 0 ORDER BY source"
        ).fetchall()
        lost = con.sql(
            "SELECT format('answers of {}, {}: {} accepted, {} refused: {}', answers_of, path, accepted, refused, reasons)"
            " FROM answer_files WHERE refused > 0 OR accepted = 0 ORDER BY answers_of, place"
        ).fetchall()
        results = con.sql(
            "SELECT arm, benchmark, metric, value, low, high, n FROM benchmark_results WHERE subset = '' ORDER BY 2, 1"
        ).fetchall()
        spread = con.sql(
            "SELECT arm, benchmark, metric, seeds, mean, sd, lowest, highest FROM benchmark_spread"
            " WHERE subset = '' AND seeds > 1 ORDER BY 2, 1"
        ).fetchall()
    grid = Grid("class", "records", "reasons", title="Where every input record ended", title_justify="left")
    for name, n, reasons in ledger:
        grid.add_row(name, f"{n:,}", reasons)
    console.print(grid)
    total = sum(n for _, n, _ in ledger)
    pending = sum(n for name, n, _ in ledger if name == "pending")
    if total != inputs:
        console.print(f"[red]The ledger does not close: {inputs:,} records in, {total:,} accounted for.[/]")
    elif pending:
        console.print(f"The ledger closes so far: {inputs:,} records in, {pending:,} of them still pending.")
    else:
        console.print(f"The ledger closes: {inputs:,} records in, each in exactly one class.")
    if n_bad:
        console.print(f"\n[yellow]{n_bad} rows or files could not be read[/] (table quarantine):")
        for file, row, reason, error in bad:
            console.print(f"  {file}, row {row}: {reason}: {error}", markup=False, soft_wrap=True)
    for (line,) in warnings + lost:
        console.print(line, style="yellow", markup=False, soft_wrap=True)
    if results:
        grid = Grid("model", "benchmark", "metric", "score", "95 %", "n", title="Benchmarks", title_justify="left")
        for arm, benchmark, metric, value, low, high, n in results:
            interval = "" if low is None else f"{low:.3f} to {high:.3f}"
            grid.add_row(arm, benchmark, metric, "-" if value is None else f"{value:.3f}", interval, f"{n:,}")
        console.print(grid)
    if spread:
        grid = Grid(
            "arm", "benchmark", "metric", "seeds", "mean", "sd", "range", title="Over seeds", title_justify="left"
        )
        for *names, seeds, mean, sd, lowest, highest in spread:
            grid.add_row(*names, str(seeds), f"{mean:.3f}", f"{sd:.3f}", f"{lowest:.3f} to {highest:.3f}")
        console.print(grid)
    lost, _ = missing_answers(settings, lake)
    for line in lost:
        console.print(f"[yellow]Missing:[/] {escape(line)}", soft_wrap=True)
    for who, labels, dollars, simulated in cost:
        mark = " (simulated)" if simulated else ""
        console.print(f"{who}{mark}: {labels:,} labels" + (f", ${dollars:,.2f}" if dollars else ""))
    for name, each, all_in, simulated in per_pair:
        mark = " (partly simulated)" if simulated else ""
        words = {"keep": "kept", "flip": "flipped"}[name]
        console.print(
            f"A {words} pair{mark}: ${each:,.4f} spent on it, ${all_in:,.4f} if {words} pairs alone had to pay for all"
        )
    for line in made(settings, lake):
        console.print(line, markup=False, soft_wrap=True)
    page = lake.folder("report") / "index.html"
    if page.exists():
        console.print(f"Report:   {page}", soft_wrap=True)
    console.print(f'Lake:     {lake.root}/assay.duckdb, or: assay sql "SELECT * FROM lineage LIMIT 5"', soft_wrap=True)
    beside = f"DAGSTER_HOME={os.environ.get('DAGSTER_HOME', '.')} dagster dev -m assets.definitions"
    console.print(f"Dagster:  {'make ui' if Path('Makefile').exists() else beside}", soft_wrap=True)
