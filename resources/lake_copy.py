"""A lake copied whole, also while a run writes in it, and put back."""

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

from curation.tables import TABLES
from resources.lake.folder_tables import NAME
from resources.settings import ConfigError
from training.atomic import PREFIX, beside

# What is made anew without a word: the views for a DuckDB shell, indexes, passes of scoring that were interrupted. What was
# set aside is damaged.
LEFT_OUT = {Path("assay.duckdb"), *(Path("files", name) for name in ("aside", "scores", "vectors", "digests/vectors"))}


class NoBackup(ConfigError):
    """Nothing was copied; the message says why."""


def copy(source: Path, target: Path, tables: Callable[[Path], int] | None = None) -> int:
    """Copy a lake's folder into a folder that is not there yet, and which appears whole or not at all.

    SQLite copies its own files, with what its log holds. Tables are replaced whole by whoever writes, so that each is
    there as it was before or after.

    Args:
        tables: copies the tables where they do not stand in the folder, or not in the copy's: called with the folder that
            is written, returns bytes.

    Returns:
        bytes of all files.

    Raises:
        NoBackup: there is no lake, something stands in the target's place, or the target is in the lake.
        OSError: of the disk.
    """
    source, target = source.absolute(), target.absolute()
    if tables is None and not (source / "lake.json").exists():
        raise NoBackup(f"{source}: there is no lake")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise NoBackup(f"{target}: something is there; name a folder that is new or empty, or move this one away")
    if target.resolve().is_relative_to(source.resolve()):
        raise NoBackup(f"{target}: it would stand in the lake that is copied; name a folder outside {source}")
    with beside(target) as new:
        new.mkdir()
        written = _into(source, new, Path(), tables is None) if source.exists() else 0
        written += tables(new) if tables else 0
        if target.exists():
            target.rmdir()
        os.rename(new, target)
    return written


def _into(source: Path, new: Path, inner: Path, tables: bool) -> int:
    """Copy a folder of the source; returns bytes."""
    written = 0
    # a model's result comes first: where a training ends meanwhile, the copy trains it again
    for entry in sorted(os.scandir(source / inner), key=lambda e: (e.name != "result.json", e.name)):
        path = inner / entry.name
        if path in LEFT_OUT or entry.name.startswith(PREFIX) or entry.name.endswith((".sqlite-wal", ".sqlite-shm")):
            continue
        if not tables and (path == Path("lake.json") or _is_table(path)):
            continue
        to = new / path
        if entry.is_symlink() and Path(entry.path).resolve().is_relative_to(source.resolve()):
            to.symlink_to(os.readlink(entry.path))  # what another link points to is copied
        elif entry.is_dir():
            to.mkdir()
            with _passing(path):
                written += _into(source, new, path, tables)
        elif entry.name.endswith(".sqlite"):
            _copy_sqlite(Path(entry.path), to)
            written += to.stat().st_size
        elif entry.is_file():
            with _passing(path):
                shutil.copy2(entry.path, to)
                written += to.stat().st_size
    return written


def _is_table(path: Path) -> bool:
    """Whether a path in a lake's folder is a partition's file, or leads to one only."""
    return path.parts[0] in TABLES and len(path.parts) > 1 and (path.name == NAME or "=" in path.name)


def _passing(path: Path) -> contextlib.AbstractContextManager:
    """What goes while it is copied is missed in a table, and not in the folder of a model, where a training removes what it
    needs no more."""
    return contextlib.suppress(FileNotFoundError) if path.parts[:2] == ("files", "models") else contextlib.nullcontext()


def _copy_sqlite(source: Path, to: Path) -> None:
    """Raises NoBackup where SQLite cannot read the file."""
    log = source.with_name(f"{source.name}-wal")
    how = "mode=ro" if log.exists() or os.access(source.parent, os.W_OK) else "immutable=1"  # on a medium for reading
    here = sqlite3.connect(f"{source.as_uri()}?{how}", uri=True, timeout=60)
    there = sqlite3.connect(to)
    try:
        here.backup(there)
    except sqlite3.DatabaseError as e:
        raise NoBackup(f"{source}: {e}; `assay verify` says more") from e
    finally:
        there.close()
        here.close()
