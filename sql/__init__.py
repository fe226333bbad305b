"""The rules and views of the lake that are SQL, one statement a file, for any DuckDB shell."""

from importlib.resources import files


def statement(name: str) -> str:
    """The text of `sql/<name>.sql`."""
    return files(__name__).joinpath(f"{name}.sql").read_text(encoding="utf-8")
