"""One word, one thing: modules, public classes and the constants of tables."""

import ast
from collections import defaultdict
from pathlib import Path

import curation.tables
from curation.tables import TABLES, Table
from tests.support.places import ROOT

ROOMS = ("assets", "cli", "curation", "evaluation", "handover", "report", "resources", "simulation", "sql", "training")


def modules() -> list[Path]:
    return [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py")) if path.stem != "__init__"]


def several(where: dict[str, list[str]]) -> dict[str, list[str]]:
    return {name: places for name, places in where.items() if len(places) > 1}


def test_no_two_modules_share_a_name():
    where = defaultdict(list)
    for path in modules():
        where[path.stem].append(path.relative_to(ROOT).as_posix())
    assert not several(where)


def test_no_two_public_classes_share_a_name():
    where = defaultdict(list)
    for path in modules():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                where[node.name].append(path.relative_to(ROOT).as_posix())
    assert not several(where)


def test_a_constant_bears_the_name_of_its_table():
    constants = {name: value for name, value in vars(curation.tables).items() if isinstance(value, Table)}
    assert {name: table.name for name, table in constants.items() if name != table.name.upper()} == {}
    assert {table.name for table in constants.values()} == set(TABLES)
