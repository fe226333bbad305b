"""What is made, what is stale, where every record ended, what it cost."""

import os
from pathlib import Path

from rich.table import Table as Grid
from rich.text import Text

from assets.judging import missing_answers
from assets.registry import steps
from cli.ending import made
from cli.terminal import Console
from resources.lake import Lake
from resources.settings import Settings
from sql import statement

BAD_ROWS = 8  # of the input, shown


def show(settings: Settings, lake: Lake) -> None:
    """Print the state of the lake: one row a table, then the ledger, the cost and the places to look."""
    console = Console()
    grid = Grid(
        "table", "partitions", "rows", "state", title=f"{settings.name}: {lake.storage.place}", title_justify="left"
    )
    for step in steps():
        keys = settings.partition_keys(step.partition) if step.partition else [None]
        why = {k: step.stale(settings, lake, k) for k in keys}
        stale = {k: w for k, w in why.items() if w}
        for table in step.tables:
            made = [k for k in keys if lake.note(table, k) is not None]
            rows = sum(lake.rows(table, k) for k in made)
            state = Text("up to date")
            if stale:
                key, first = next(iter(stale.items()))
                state = Text(f"{'' if key is None else key + ': '}{first}", "yellow")
                state = Text.assemble(state, (f" and {len(stale) - 1} more", "dim")) if len(stale) > 1 else state
            grid.add_row(table.name, f"{len(made)}/{len(keys)}", f"{rows:,}", state)
    console.print(grid)
    closing(settings, lake)


def closing(settings: Settings, lake: Lake) -> None:
    """The ledger, the cost, what went wrong with the input, and where to look next."""
    console = Console()
    with lake.connect() as con:

        def rows(name: str, **values: int) -> list[tuple]:
            return con.execute(statement(f"report/{name}"), parameters=values or None).fetchall()

        ledger, inputs = rows("ledger"), rows("records")[0][0]
        cost, per_pair = rows("cost_by_labeller"), rows("cost_of_decisions")
        bad, n_bad = rows("bad_input", n=BAD_ROWS), con.table("quarantine").count("*").fetchall()[0][0]
        results, spread = rows("scores_of_models"), rows("scores_over_seeds")
        warnings, lost = rows("warnings"), rows("refused_recorded_answers")
    grid = Grid("class", "records", "reasons", title="Where every input record ended", title_justify="left")
    for name, n, reasons in ledger:
        grid.add_row(name, f"{n:,}", reasons)
    console.print(grid)
    total = sum(n for _, n, _ in ledger)
    pending = sum(n for name, n, _ in ledger if name == "pending")
    if total != inputs:
        console.print(f"The ledger does not close: {inputs:,} records in, {total:,} accounted for.", style="red")
    elif pending:
        console.print(f"The ledger closes so far: {inputs:,} records in, {pending:,} of them still pending.")
    else:
        console.print(f"The ledger closes: {inputs:,} records in, each in exactly one class.")
    if n_bad:
        console.print(Text.assemble((f"\n{n_bad} rows or files could not be read", "yellow"), " (table quarantine):"))
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
        console.print(Text.assemble(("Missing:", "yellow"), f" {line}"), soft_wrap=True)
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
