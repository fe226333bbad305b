"""Where Dagster keeps its runs: DAGSTER_HOME, else a folder with a dagster.yaml, else one beside the configuration."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import yaml

from resources.settings import Settings

SHIPPED = Path(__file__).parents[1] / "dagster.yaml"
ELSEWHERE = ("storage", "local_artifact_storage", "compute_logs")  # they name folders; without them all is in the home
QUIET = {"telemetry": {"enabled": False}, "nux": {"enabled": False}}


def settle(settings: Settings) -> Path:
    """Set DAGSTER_HOME for this process and those it starts, and return it."""
    if "DAGSTER_HOME" not in os.environ:
        here = Path.cwd()
        home = here if (here / "dagster.yaml").exists() else settings.base.absolute() / ".dagster"
        if home != here and not (home / "dagster.yaml").exists():
            home.mkdir(parents=True, exist_ok=True)
            shipped = yaml.safe_load(SHIPPED.read_text(encoding="utf-8")) if SHIPPED.exists() else QUIET
            kept = {key: value for key, value in shipped.items() if key not in ELSEWHERE}
            (home / "dagster.yaml").write_text(yaml.safe_dump(kept, sort_keys=False), encoding="utf-8")
        os.environ["DAGSTER_HOME"] = str(home)
    return Path(os.environ["DAGSTER_HOME"])


def trouble(error: str) -> str:
    """What is wrong with the databases in which Dagster keeps its runs, and the way out.

    Args:
        error: what a database said; it does not name itself.
    """
    home = Path(os.environ["DAGSTER_HOME"])
    damaged = [f"{path}: {why}" for path, why in _checked(home) if why not in ("ok", "database is locked")]
    if damaged:
        return (
            f"a database in which Dagster notes its runs is damaged. {'; '.join(damaged)}. Move it away, with the -wal and"
            " -shm beside it: Dagster makes a new one, and nothing of the lake is in it."
        )
    return (
        f"a database in which Dagster notes its runs ({home / 'dagster.yaml'}, storage) cannot be used: {error}. What was"
        " made stays; the same command goes on from there once it can be."
    )


def _checked(home: Path) -> Iterator[tuple[Path, str]]:
    """SQLite's databases of Dagster, each with what SQLite finds wrong with it, or 'ok'."""
    try:
        configured = yaml.safe_load((home / "dagster.yaml").read_text(encoding="utf-8")) or {}
    except OSError:
        configured = {}
    base = (configured.get("storage") or {"sqlite": {}}).get("sqlite", {}).get("base_dir", home)
    if not isinstance(base, str | Path):  # named by a variable of the environment
        base = os.environ.get(base.get("env", ""), home)
    for path in (path for part in ("history", "schedules") for path in sorted(Path(base, part).rglob("*.db"))):
        try:
            with closing(sqlite3.connect(path, timeout=0)) as opened:
                yield path, opened.execute("PRAGMA quick_check(1)").fetchone()[0]
        except sqlite3.Error as e:
            yield path, str(e)
