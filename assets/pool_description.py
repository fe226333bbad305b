"""What the pool is about, once pairs have attributes (spec 0.13)."""

from collections.abc import Iterator

import dagster as dg
import pyarrow as pa

from assets.table_asset import Check, Rows, table_asset
from curation.intervals import wilson
from curation.tables import (
    ATTRIBUTES,
    CLEAN_POOL,
    DATA_CARD,
    EDITED_ATTRIBUTES,
    GOLD,
    POOL_DESCRIPTION,
    STAGE2_ATTRIBUTES,
)
from report.page import template
from resources.lake import in_batches
from resources.run import Run
from sql import statement
from training.atomic import replace

FIGURES = ("category", "objectivity", "controversiality")
SAMPLE = 20_000  # pairs with attributes whose rules are looked at, too


@table_asset(
    POOL_DESCRIPTION,
    reads=[CLEAN_POOL, ATTRIBUTES, STAGE2_ATTRIBUTES, EDITED_ATTRIBUTES, GOLD, DATA_CARD],
    group="report",
    kinds={"duckdb", "html"},
    checks={
        POOL_DESCRIPTION: [
            Check("parts_of_a_whole", "SELECT * FROM new WHERE n > out_of", "a count is at most what it is a part of")
        ]
    },
)
def pool_description(run: Run) -> Iterator[Rows]:
    """Four tables, each with what it rests on, and a page."""
    from curation.attributes import heuristic

    agree, looked = dict.fromkeys(FIGURES, 0), 0
    with run.lake.connect() as con:
        counted = con.execute(statement("report/attributes_counted")).fetchall()
        rows = [
            dict(zip(("figure", "item", "n", "out_of"), r, strict=True)) | {"method": "attributes"} for r in counted
        ]
        carded = con.execute("SELECT figure, item, n, out_of FROM data_card WHERE source = ''").fetchall()
        for batch in in_batches(con.sql(statement("report/attributes_of_sample"), params={"n": SAMPLE})):
            for row in batch.to_pylist():
                said = heuristic(row["conversation"])
                looked += 1
                for figure in FIGURES:
                    agree[figure] += said[figure] == row[figure]
    for figure, item, n, of in carded:
        if figure in (*FIGURES, "language"):
            by = "detector" if figure == "language" else "rules"
            rows.append({"figure": figure, "method": by, "item": item, "n": n, "out_of": of})
    if looked:
        rows += [
            {"figure": f"rules agree: {f}", "method": "attributes", "item": "pairs", "n": n, "out_of": looked}
            for f, n in agree.items()
        ]
    path = run.lake.folder("data_card") / "attributes.html"
    replace(path, template("attributes.html").render(tables=_tables(rows)).encode())
    yield Rows(
        POOL_DESCRIPTION,
        pa.Table.from_pylist(rows, POOL_DESCRIPTION.schema),
        {"page": dg.MetadataValue.path(str(path)), "pairs with attributes": max((r["out_of"] for r in rows if r["method"] ==
         "attributes"), default=0), **{f"rules agree on {f}": n / looked for f, n in agree.items() if looked}},
    )  # fmt: skip


def _tables(rows: list[dict]) -> list[dict]:
    """One a figure: shares by attributes and by rules, each with its 95 % interval."""
    found = []
    for figure in (*FIGURES, "language"):
        mine = [r for r in rows if r["figure"] == figure]
        sizes = {
            by: max((r["out_of"] for r in mine if r["method"] == by), default=0)
            for by in ("attributes", "rules", "detector")
        }
        shares = {(r["method"], r["item"]): wilson(r["n"], r["out_of"]) for r in mine}
        items = sorted({r["item"] for r in mine}, key=lambda i: (-max(r["n"] for r in mine if r["item"] == i), i))
        columns = [by for by, n in sizes.items() if n]
        agree = next((r for r in rows if r["figure"] == f"rules agree: {figure}"), None)
        found.append(
            {"figure": figure, "columns": [(by, sizes[by]) for by in columns],
             "rows": [(item, [shares.get((by, item)) for by in columns]) for item in items],
             "agree": wilson(agree["n"], agree["out_of"]) if agree else None}
        )  # fmt: skip
    return found
