"""The answer to a query over the lake, as a grid or as comma-separated values."""

import shutil
import sys
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.csv as pacsv

from resources.lake import Lake

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection, DuckDBPyRelation

MOST_ROWS = 200  # of a grid
AT_ONCE = 10_000  # rows of CSV


def answer(lake: Lake, query: str, csv: bool) -> None:
    """Print what a query gives; nothing for a statement that gives no rows.

    Raises:
        duckdb.Error: it cannot be answered; the message says why.
    """
    with lake.connect() as con:
        con.execute("SET python_enable_replacements = false")  # a name is a table's, never a variable's of this program
        found = con.sql(query)
        if found is None:
            return
        if csv:
            _print_csv(con, found)
        else:
            found.show(max_width=shutil.get_terminal_size((120, 40)).columns, max_rows=MOST_ROWS)


def _print_csv(con: "DuckDBPyConnection", found: "DuckDBPyRelation") -> None:
    """Rows as they come; CSV has no nested values, so these are JSON."""
    names = [_quoted(name) for name in found.columns]
    kinds = [kind.id for kind in found.types]
    columns = [
        f"to_json({name})::VARCHAR AS {name}" if kind in ("list", "struct", "map", "array", "union", "json") else name
        for name, kind in zip(names, kinds, strict=True)
    ]
    reader = found.project(", ".join(columns)).to_arrow_reader(AT_ONCE)
    try:
        with pacsv.CSVWriter(sys.stdout.buffer, reader.schema) as out:
            for batch in reader:
                out.write_batch(batch)
    except pa.ArrowNotImplementedError as e:
        raise duckdb.NotImplementedException(f"as CSV: {e}; cast the column to VARCHAR") from e


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
