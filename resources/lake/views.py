"""The views and macros of sql/ over the tables of a lake, and which tables each of them rests on."""

import functools
import json
import re
from collections.abc import Mapping
from graphlib import TopologicalSorter

import duckdb

from curation.tables import TABLES, Table
from resources.lake.staging import duck_type
from resources.lake.storage import dimensions
from sql import names, statement

_DEFINES = re.compile(
    r"CREATE\s+OR\s+REPLACE\s+(?:VIEW\s+(\w+)|MACRO\s+(\w+)\s*\([^)]*\))\s+AS\s+(TABLE\s+)?(.*)", re.S
)


def empty(table: Table) -> str:
    """A query of no row with the table's columns."""
    in_path = [d for d in dimensions(table) if d not in table.schema.names]
    names = [(f.name, duck_type(f.type)) for f in table.schema] + [(d, "VARCHAR") for d in in_path]
    return "SELECT " + ", ".join(f'NULL::{t} AS "{n}"' for n, t in names) + " WHERE false"


@functools.cache
def definitions() -> dict[str, str]:
    """Name of each view and macro -> the statement that defines it, in an order in which they can be executed."""
    return {name: text for name, text, _ in _parsed()}


@functools.cache
def rests_on() -> dict[str, frozenset[str]]:
    """Name of each view and macro -> the tables that it reads, all the way down."""
    found: dict[str, frozenset[str]] = {}
    with duckdb.connect() as con:
        for name, _, query in _parsed():
            found[name] = _tables(con, query, found) if query else frozenset()
    return found


def tables_of(query: str) -> frozenset[str]:
    """The lake's tables under a SELECT, those under its views included; nothing is executed.

    Raises:
        ValueError: it is no SELECT.
    """
    with duckdb.connect() as con:
        return _tables(con, query, rests_on())


def _tables(con: duckdb.DuckDBPyConnection, query: str, views: Mapping[str, frozenset[str]]) -> frozenset[str]:
    named = _named(con, query)
    return frozenset().union(named & TABLES.keys(), *(views[v] for v in named & views.keys()))


def _named(con: duckdb.DuckDBPyConnection, query: str) -> set[str]:
    """What a SELECT names as a table or calls, but for the names of its own parts."""
    tree = json.loads(con.execute("SELECT json_serialize_sql($query)", {"query": query}).fetchall()[0][0])
    if tree["error"]:
        raise ValueError(f"{tree['error_message']}: {query[:80]}")
    named: set[str] = set()
    own: set[str] = set()
    _walk(tree, named, own)
    return named - own


def _walk(node: object, named: set[str], own: set[str]) -> None:
    """Collects what a parsed query names as a table or calls, and the names that it gives to its own parts."""
    if isinstance(node, list):
        for part in node:
            _walk(part, named, own)
    elif isinstance(node, dict):
        if node.get("type") == "BASE_TABLE":
            named.add(node["table_name"].lower())
        if "function_name" in node:
            named.add(node["function_name"].lower())
        own |= {part["key"].lower() for part in node.get("cte_map", {}).get("map", [])}
        for part in node.values():
            _walk(part, named, own)


@functools.cache
def _parsed() -> list[tuple[str, str, str]]:
    """(name, statement, its query or '' where it reads nothing) of every view and macro, each after those it uses."""
    with duckdb.connect() as con:
        macros = [_definition(part.query, "macros") for part in con.extract_statements(statement("macros"))]
        views = {d[0]: d for d in (_definition(statement(file), file) for file in names("views"))}
        sorter = TopologicalSorter({n: sorted(_named(con, query) & views.keys()) for n, (_, _, query) in views.items()})
    return [*macros, *(views[name] for name in sorter.static_order())]


def _definition(text: str, file: str) -> tuple[str, str, str]:
    text = text.strip().rstrip(";")
    match = _DEFINES.search(text)
    if match is None:
        raise ValueError(f"sql/{file}.sql: neither a view nor a macro: {text[:60]}")
    view, macro, as_table, query = match.groups()
    return view or macro, text, query if view or as_table else ""
