"""Every file under sql/ runs in a plain DuckDB shell, SQL stands nowhere else, and shared rules are right by hand."""

import ast
import re
from pathlib import Path

import duckdb
import pytest

from assets.registry import steps
from curation.tables import TABLES
from resources.benchmarks.formats import FORMATS
from resources.lake import Lake
from resources.lake.views import definitions, empty
from sql import names, statement
from tests.support.places import ROOT

FOLDERS = sorted(
    {str(p.parent.relative_to(ROOT / "sql")) for p in (ROOT / "sql").rglob("*.sql")} - {".", "checks", "views"}
)
QUERIES = [name for folder in FOLDERS for name in names(folder)]
SAMPLES = {
    "VARCHAR": "'x'",
    "BIGINT": "1",
    "DOUBLE": "0.5",
    "BOOLEAN": "true",
    "VARCHAR[]": "['x']",
    "DOUBLE[]": "[0.5]",
}
ROOMS = ("assets", "cli", "curation", "evaluation", "handover", "report", "resources", "simulation")
OTHERS = {  # what is no query of the lake's tables
    "resources/lake/lake.py": "writes the views themselves",
    "resources/lake/folder_tables.py": "says where files are",
    "resources/lake/object_tables.py": "says where objects are",
    "resources/lake/staging.py": "sorts any table by its key",
    "resources/lake/views.py": "writes queries of no row",
    "resources/llm/call_store.py": "speaks to SQLite",
    "resources/llm/call_check.py": "speaks to SQLite",
    "resources/llm/call_postgres.py": "speaks to PostgreSQL",
    "resources/integrity.py": "speaks to SQLite",
    "resources/sources/reader.py": "runs the user's own conditions and queries",
    "resources/annotators/desk.py": "speaks to SQLite",
    "curation/propose.py": "writes queries for the user's own files",
    "resources/benchmarks/loader.py": "reads files by their declared columns",
    "resources/benchmarks/rewards.py": "reads files that others wrote",
}


def head(text: str) -> list[str]:
    """The comment lines that a file begins with, without their dashes."""
    lines = text.splitlines()
    return [line[3:] for line in lines[: next(i for i, s in enumerate(lines) if not s.startswith("--"))]]


def parameters(text: str) -> dict[str, str]:
    """Name -> type of what a query needs."""
    return {
        n: t for line in head(text) if line.startswith("$") for n, t in re.findall(r"\$(\w+) ([A-Z]+(?:\[\])?)", line)
    }


def prepare(con: duckdb.DuckDBPyConnection, text: str) -> None:
    """Makes what a query says that it needs: variables for its parameters, the tables that its caller provides."""
    for name, type_ in parameters(text).items():
        con.execute(f"SET VARIABLE {name} = {SAMPLES[type_]}")
    for line in head(text):
        if not (match := re.fullmatch(r"TABLE (\w+) (?:LIKE (\w+)|AS (\S+)|\((.*)\))", line)):
            continue
        name, like, result, columns = match.groups()
        if result:
            prepare(con, statement(result))
            con.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {statement(result)}")
            prepare(con, "\n".join(f"-- {s}" for s in head(text) if s.startswith("$")) + "\nSELECT")
        else:
            rows = f"AS FROM {like} LIMIT 0" if like else f"({columns})"
            con.execute(f"CREATE OR REPLACE TEMP TABLE {name} {rows}")


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    """What somebody sees who opens the file of an empty lake in DuckDB's shell."""
    with duckdb.connect(str(Lake(str(tmp_path_factory.mktemp("lake"))).shell())) as con:
        yield con


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_runs_in_a_shell_once_its_variables_are_set(shell, name):
    text = statement(name)
    if name.startswith("evaluation/formats/"):
        columns = FORMATS[Path(name).name].columns.items()
        declared = ", ".join(f"{n} {t}" for n, t in {n.removesuffix("?").lower(): t for n, t in columns}.items())
        shell.execute(f"CREATE OR REPLACE TEMP TABLE file (path VARCHAR, {declared})")
    else:
        assert head(text), "a query says what it is"
    prepare(shell, text)
    shell.execute(text)
    [parsed] = shell.extract_statements(text)
    assert parsed.type == duckdb.StatementType.SELECT and parsed.named_parameters == parameters(text).keys()
    assert "getvariable" not in text


def test_every_query_has_its_reader():
    """A name in the code, or one of those that the code puts together."""
    code = "".join(p.read_text() for room in ROOMS for p in (ROOT / room).rglob("*.py"))
    named = [n for n in QUERIES if f'"{n}"' in code or f'rows("{Path(n).name}"' in code]
    assert {n for n in QUERIES if n not in named} == set(names("evaluation/formats"))
    assert {Path(n).name for n in names("evaluation/formats")} == FORMATS.keys()


@pytest.mark.parametrize("name", definitions())
def test_a_view_has_a_file_of_its_own_name(shell, name):
    assert f"views/{name}" in names("views") or f"MACRO {name}(" in statement("macros")
    if re.search(rf"VIEW {name} ", definitions()[name]):
        shell.execute(f"FROM {name} LIMIT 0")


def test_every_check_runs_in_a_shell_and_is_used(shell):
    used = set()
    shell.execute("SET VARIABLE partition = 'iter_00'")
    for step in steps():
        for table, checks in step.checks.items():
            columns = ", ".join(f'"{c}"' for c in table.schema.names)
            shell.execute(f"CREATE OR REPLACE TEMP TABLE new AS SELECT {columns} FROM ({empty(table)})")
            for check in checks:
                assert shell.execute(check.sql).fetchall() == [] or check.name == "nothing_lost", (
                    step.name,
                    check.name,
                )
                used.add(check.sql)
                assert set(re.findall(r"\$(\w+)", check.sql)) <= {"partition"}
    assert {n for n in names("checks") if statement(n) not in used} == set()


# ---- columns ---------------------------------------------------------------------------------------------------------
def test_no_column_has_to_be_quoted(shell):
    words = shell.execute(
        "SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category IN ('reserved', 'type_function')"
    )
    reserved = {word for (word,) in words.fetchall()}
    views = {n for n in definitions() if f"VIEW {n} " in definitions()[n]}
    columns = {(n, c) for n in TABLES.keys() | views for c, *_ in shell.execute(f"DESCRIBE {n}").fetchall()}
    assert {(n, c) for n, c in columns if c.lower() in reserved | {"of", "view"}} == set()


# ---- SQL in Python ---------------------------------------------------------------------------------------------------
def strings(tree: ast.AST):
    """Every literal that is no documentation, with what it looks like where values are put into it."""
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    inner = {id(v) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for v in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield node, "".join(str(v.value) if isinstance(v, ast.Constant) else "{}" for v in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs | inner:
            yield node, node.value


def test_python_holds_one_line_over_one_table_at_most_and_puts_no_value_into_it():
    found = []
    for path in (p for room in ROOMS for p in (ROOT / room).rglob("*.py")):
        if (where := str(path.relative_to(ROOT))) in OTHERS:
            continue
        for node, text in strings(ast.parse(path.read_text())):
            if not re.match(r"\s*(SELECT|FROM|WITH|INSERT|CREATE|UPDATE|DELETE|SET VARIABLE)\s", text):
                continue
            tables = len(re.findall(r"\b(?:FROM|JOIN) (?!\()\w", text))
            long = len(text) > 120 or "\n" in text
            if long or tables > 1 or isinstance(node, ast.JoinedStr) or re.search(r"\?|getvariable", text):
                found.append(f"{where}:{node.lineno}: {text}")
    assert found == []


# ---- rules that several statements share -----------------------------------------------------------------------------
def value(expression: str):
    with duckdb.connect() as con:
        con.execute(statement("macros"))
        return con.execute(f"SELECT {expression}").fetchall()[0][0]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("sigmoid(0)", 0.5),
        ("round(sigmoid(ln(3)), 12)", 0.75),
        ("hit(0.6 - 0.5)", 1),
        ("hit(0.4 - 0.5)", 0),
        ("hit(0.5 - 0.5)", 0.5),
        ("hit(NULL)", None),
        ("[k_for(p, 7) FOR p IN [6 / 7, 5 / 7, 0.9, 0.5, 0.2, 1 - 1e-12, 1]]", [1, 2, 1, 7, 7, 1, 0]),
        ("[k_for(1 - n / 8, 8) FOR n IN range(4)]", [0, 1, 2, 3]),
        ("[k_for(1 - n / 10, 10) FOR n IN range(5)]", [0, 1, 2, 3, 4]),
        ("better_of('original', 'c', 'r')", "c"),
        ("better_of('swapped', 'c', 'r')", "r"),
        ("worse_of('original', 'c', 'r')", "r"),
        ("worse_of('swapped', 'c', 'r')", "c"),
        ("vote_of('first', 'chosen')", "original"),
        ("vote_of('second', 'chosen')", "swapped"),
        ("vote_of('first', 'rejected')", "swapped"),
        ("vote_of('second', 'rejected')", "original"),
        ("vote_of('undecided', 'chosen')", None),
        ("majority(2, 1, 3)", "original"),
        ("majority(1, 2, 3)", "swapped"),
        ("majority(1, 1, 2)", None),
        ("majority(2, 0, 4)", None),
        ("low_risk('objective', 'low')", True),
        ("low_risk('objective', 'medium')", False),
        ("low_risk('subjective', 'low')", False),
        ("[r FOR r IN ['train', 'few_shot', 'validation', 'calibration', 'test'] IF is_open(r)]",
         ["train", "few_shot", "validation"]),
        ("[r FOR r IN ['train', 'few_shot', 'validation', 'calibration', 'test'] IF is_trained_on(r)]",
         ["train", "few_shot"]),
        ("[r FOR r IN ['train', 'few_shot', 'validation', 'calibration', 'test'] IF is_example(r)]", ["few_shot"]),
        ("[w FOR w IN ['seed', 'random', 'retrieved', 'd_optimal'] IF by_chance(w)]", ["seed", "random"]),
        ("stratum_of('+', '+')", "agree"),
        ("stratum_of('-', '-')", "reject"),
        ("stratum_of('+', '-')", "split"),
        ("stratum_of('0', '0')", "split"),
    ],
)  # fmt: skip
def test_a_shared_rule_by_hand(expression, expected):
    assert value(expression) == expected


def test_a_draw_depends_on_name_and_seed_alone():
    assert value("draw('p', 's') = draw('p', 's')") and value("draw('p', 's') <> draw('p', 't')")
    many = value("[draw(n::VARCHAR, '7') % 2 FOR n IN range(1000)]")
    assert 450 < sum(many) < 550
