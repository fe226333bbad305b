"""The rules and views of the lake that are SQL, one statement a file, for any DuckDB shell.

    macros.sql   what several statements share, each rule once
    views/       one view, or macro over tables, a file
    <stage>/     one query a file; checks/ those of steps' promises

Values come as `$name` alone. A query says in its first comments what it needs beside the lake's tables: `-- $n BIGINT`
is a parameter, or in a shell a variable (`SET VARIABLE n = 5`); `-- TABLE votes LIKE judge_votes` is a table that the
caller provides.
"""

from functools import cache
from importlib.resources import files


@cache
def statement(name: str) -> str:
    """The text of `sql/<name>.sql`, such as `stage1/gold`."""
    return files(__name__).joinpath(f"{name}.sql").read_text(encoding="utf-8")


@cache
def names(folder: str) -> tuple[str, ...]:
    """What `statement` finds in a folder, sorted."""
    found = (p.name for p in files(__name__).joinpath(folder).iterdir() if p.name.endswith(".sql"))
    return tuple(sorted(f"{folder}/{name.removesuffix('.sql')}" for name in found))
