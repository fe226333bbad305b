"""What a step and its checks read is what they declare: found in the code, without a run.

From a step's function on, everything that it names is followed through the rooms: functions, classes, constants. Of all
of it the queries are taken (names of files under sql/, SELECTs, `con.table(…)`, the lake's own `note`, `rows` and
`partitions`), and of these the tables, those under views included.
"""

import ast
import functools
from dataclasses import replace
from pathlib import Path

import pytest

import curation.tables
from assets.registry import steps
from assets.table_asset import Step
from curation.tables import AUDIT, CONTAMINATED, GOLD, STATES, Table
from resources.lake.views import tables_of
from sql import names, statement
from tests.support.places import ROOT

FOLLOWED = ("assets", "curation", "evaluation", "handover", "report", "resources", "simulation")
GENERAL = ("resources.lake", "resources.settings", "resources.run", "curation.tables")  # name tables, and read none
LAKE_CALLS = ("note", "rows", "partitions", "versions")
STATEMENTS = frozenset(n for p in (ROOT / "sql").iterdir() if p.is_dir() for n in names(p.name)) | frozenset(
    n for n in names("evaluation/formats")
)

Place = tuple[str, str]  # module, name


@functools.cache
def module(name: str) -> ast.Module | None:
    """The code of one of the rooms' modules."""
    for path in (ROOT / f"{name.replace('.', '/')}.py", ROOT / name.replace(".", "/") / "__init__.py"):
        if name.split(".")[0] in FOLLOWED and path.exists():
            return ast.parse(path.read_text(encoding="utf-8"))
    return None


@functools.cache
def defined(name: str) -> dict[str, ast.AST]:
    """What a module defines, by name."""
    found: dict[str, ast.AST] = {}
    for node in (module(name) or ast.Module([], [])).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                found |= {n.id: node for n in ast.walk(target) if isinstance(n, ast.Name)}
    return found


def imported(tree: ast.AST) -> dict[str, Place]:
    """Local name -> module and name, '' for a whole module."""
    found: dict[str, Place] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                place = (whole, "") if module(whole) else (node.module, alias.name)
                found[alias.asname or alias.name] = place
    return found


@functools.cache
def imports_of(name: str) -> dict[str, Place]:
    tree = module(name)
    return imported(tree) if tree else {}


@functools.cache
def looked_at(place: Place) -> tuple[frozenset[str], frozenset[Place]]:
    """The tables that one function, class or constant reads, and what it names."""
    where, name = place
    if where.startswith(GENERAL):
        return frozenset(), frozenset()
    if (node := defined(where).get(name)) is None:
        onward = imports_of(where).get(name)
        return frozenset(), frozenset([onward] if onward else [])
    own: set[str] = set()
    if isinstance(node, ast.FunctionDef):
        own = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        own |= {a.arg for a in ast.walk(node) if isinstance(a, ast.arg)}
        node = ast.Module(node.body, [])  # without what decorates it
    known = imports_of(where) | imported(node)
    onward = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and part.id not in own:
            onward.add(known.get(part.id, (where, part.id)))
        elif isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name):
            target, of = known.get(part.value.id, ("", ""))
            onward |= {(target, part.attr)} if target and not of else set()
    return frozenset(read(node)), frozenset(p for p in onward if p[1] in defined(p[0]) or p[1] in imports_of(p[0]))


@functools.cache
def read_by(query: str) -> frozenset[str]:
    return tables_of(query)


def read(node: ast.AST) -> set[str]:
    """The tables that a piece of code reads."""
    found: set[str] = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            if part.value in STATEMENTS:
                found |= read_by(statement(part.value))
            elif part.value.startswith(("SELECT ", "FROM ", "WITH ")):
                try:
                    found |= read_by(part.value)
                except ValueError:  # no SQL, or that of SQLite
                    continue
        elif isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute):
            if part.func.attr == "table" and part.args and isinstance(part.args[0], ast.Constant):
                found |= read_by(f'FROM "{part.args[0].value}"')
            elif part.func.attr in LAKE_CALLS:
                named = (n.id for a in part.args for n in ast.walk(a) if isinstance(n, ast.Name))
                found |= {t.name for n in named if isinstance(t := getattr(curation.tables, n, None), Table)}
    return found


@functools.cache
def read_from(start: Place) -> frozenset[str]:
    """The tables under everything that can be reached by name."""
    seen, todo, found = set(), [start], set()
    while todo:
        if (place := todo.pop()) not in seen:
            seen.add(place)
            tables, onward = looked_at(place)
            found |= tables
            todo += onward
    return frozenset(found)


def undeclared(step: Step) -> set[str]:
    """What a step's function, or what asks for its version, reads and the step does not declare."""
    starts = [step.fn, *(f for f in (step.external_version,) if f is not None and f.__name__ != "<lambda>")]
    found = frozenset().union(*(read_from((f.__module__, f.__name__)) for f in starts))
    return set(found - {t.name for t in step.sees})


def undeclared_by_checks(step: Step) -> set[tuple[str, str]]:
    """(check, table) that is neither declared nor among the step's own tables."""
    return {
        (check.name, table)
        for checks in step.checks.values()
        for check in checks
        for table in tables_of(check.sql) - {t.name for t in (*step.sees, *step.tables, *check.reads)}
    }


@pytest.mark.parametrize("step", steps(), ids=lambda s: s.name)
def test_a_step_reads_what_it_declares(step):
    assert undeclared(step) == set()


@pytest.mark.parametrize("step", [s for s in steps() if s.checks], ids=lambda s: s.name)
def test_its_checks_read_what_is_declared(step):
    assert undeclared_by_checks(step) == set()


def test_an_undeclared_read_is_found():
    """One that the function makes, one that a view makes for it, one of a check."""
    by_name = {s.name: s for s in steps()}

    def without(name: str, table: Table) -> Step:
        step = by_name[name]
        return replace(
            step,
            reads=tuple(t for t in step.reads if t is not table),
            reads_upto=tuple(t for t in step.reads_upto if t is not table),
        )

    assert undeclared(without("report", AUDIT)) == {"audit"}
    assert undeclared(without("judge_votes", GOLD)) == {"gold"}
    assert undeclared_by_checks(without("judge_votes", GOLD)) == {
        ("examples_of_their_role", "gold"), ("gold_is_not_judged", "gold"),
    }  # fmt: skip
    batch = by_name["annotation_batch"]
    [checks] = batch.checks.values()
    bare = replace(batch, checks={batch.tables[0]: [replace(c, reads=()) for c in checks]})
    assert undeclared_by_checks(bare) == {("nothing_contaminated", CONTAMINATED.name)}


def test_most_of_what_a_step_declares_is_found():
    """That the search sees little would look like a clean house. What it finds is nearly all that is declared; the report
    names the version of every table, a few steps wait for tables and read files, the ledger or nothing, and the states of
    frozen layers are read by the service that fits and scores models."""
    declared = [(s.name, t.name) for s in steps() if s.name != "report" for t in s.sees if t is not STATES]
    found = {(s.name, name) for s in steps() for name in read_from((s.fn.__module__, s.fn.__name__))}
    assert len([d for d in declared if d in found]) >= 0.85 * len(declared)


def test_the_search_knows_every_room():
    assert all((ROOT / room).is_dir() for room in FOLLOWED) and Path(ROOT / "sql").is_dir()
