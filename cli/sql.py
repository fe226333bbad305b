"""The answer to a query over the lake, as a grid or as comma-separated values."""

import codecs
import io
import re
import shutil
import sys
from datetime import datetime
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.csv as pacsv

from curation.tables import TABLES
from resources.lake import Lake
from resources.lake.views import tables_of
from resources.settings import ConfigError, Undeclared

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection, DuckDBPyRelation

MOST_ROWS = 200  # of a grid
AT_ONCE = 10_000  # rows of CSV
NESTED = ("list", "struct", "map", "array", "union", "json")
FORMULA = r"^\s*[=+\-@|%\x00-\x1f]"  # what spreadsheets may take a text for that begins like it


def answer(lake: Lake, query: str, csv: bool, spreadsheet: bool = False) -> None:
    """Print what a query gives; nothing for a statement that gives no rows.

    Args:
        lake: whose tables.
        query: one statement.
        csv: all rows as comma-separated values, else a grid.
        spreadsheet: an apostrophe stands before texts that a spreadsheet would take for formulas.

    Raises:
        duckdb.Error: it cannot be answered; the message says why.
    """
    try:
        _answered(_narrowed(lake, query), query, csv, spreadsheet)
    except (Undeclared, duckdb.CatalogException):  # a table that is named in a way that only DuckDB understands
        if lake.tables is None:
            raise
        _answered(lake, query, csv, spreadsheet)


def _answered(lake: Lake, query: str, csv: bool, spreadsheet: bool) -> None:
    with lake.connect() as con:
        con.execute("SET python_enable_replacements = false")  # a name is a table's, never a variable's of this program
        found = con.sql(query)
        if found is None:
            return
        if csv:
            _print_csv(con, found, spreadsheet)
        else:
            found.show(max_width=shutil.get_terminal_size((120, 40)).columns, max_rows=MOST_ROWS)


def moment(text: str) -> datetime:
    """A time as people write it: local, unless it says otherwise.

    Raises:
        ConfigError: it is none.
    """
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        raise ConfigError(
            f"--as-of {text}: a time is written as 2026-01-05T18:00, or with Z or +01:00 behind it"
        ) from None


def _narrowed(lake: Lake, query: str) -> Lake:
    """The lake with the tables that a query reads: each that stands in a store costs requests."""
    if lake.tables is None:
        return lake
    try:
        names = tables_of(query)
    except ValueError:  # no SELECT
        return lake
    return lake.only((TABLES[n] for n in names), "the query") if names else lake


def _print_csv(con: "DuckDBPyConnection", found: "DuckDBPyRelation", spreadsheet: bool) -> None:
    """Rows as they come; CSV has no nested values, so these are JSON."""
    names = [_quoted(name) for name in found.columns]
    kinds = [kind.id for kind in found.types]
    columns = [
        f"{_cell(name, kind, spreadsheet)} AS {_quoted(_text(column)) if spreadsheet else name}"
        for column, name, kind in zip(found.columns, names, kinds, strict=True)
    ]
    reader = found.project(", ".join(columns)).to_arrow_reader(AT_ONCE)
    try:
        sink = _Terminal() if sys.stdout.isatty() else sys.stdout.buffer
        with pacsv.CSVWriter(sink, reader.schema) as out:
            for batch in reader:
                out.write_batch(batch)
    except pa.ArrowNotImplementedError as e:
        raise duckdb.NotImplementedException(f"as CSV: {e}; cast the column to VARCHAR") from e


class _Terminal(io.RawIOBase):
    """Bytes to a terminal that somebody sits at."""

    def __init__(self):
        self.text = codecs.getincrementaldecoder("utf-8")("replace")

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        sys.stdout.write(self.text.decode(bytes(data)))
        return len(data)


def _cell(name: str, kind: str, spreadsheet: bool) -> str:
    """An expression for the value of a column as CSV has it."""
    value = f"to_json({name})::VARCHAR" if kind in NESTED else name
    if not spreadsheet or kind not in (*NESTED, "varchar", "enum"):
        return value
    text = f"{value}::VARCHAR"
    return f"CASE WHEN regexp_matches({text}, '{FORMULA}') THEN chr(39) || {text} ELSE {text} END"


def _text(value: str) -> str:
    return f"'{value}" if re.match(FORMULA, value) else value


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
