"""Whether everything in a lake is what was written, and how what is not is made anew."""

import json
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from curation.tables import TABLES, Table
from resources.lake import Damaged, Lake, digests, label
from resources.llm import call_check
from resources.llm.call_store import KEPT, readers

ASIDE = "aside"  # folder under `files` for what was damaged
AGAIN = "`assay verify --set-aside`, then `assay run`: it is made again from what it reads, and nothing is paid twice"
BACKUP = "put it back from a backup (docs/backup.md)"


@dataclass(frozen=True)
class Damage:
    """Something that is not what was written.

    Attributes:
        path: the file or folder.
        why: what is wrong.
        way: how it is made anew.
        goes: what `set_aside` moves; nothing where only a backup helps.
    """

    path: Path
    why: str
    way: str
    goes: tuple[Path, ...] = ()


@dataclass
class Examined:
    """What was examined.

    Attributes:
        files: files and folders.
        bytes: of tables.
        moved_on: partitions that rest on a version of their inputs that is there no more.
        unchecked: files and folders that were written before digests were.
    """

    files: int = 0
    bytes: int = 0
    moved_on: int = 0
    unchecked: list[Path] = field(default_factory=list)


def damages(lake: Lake, examined: Examined) -> Iterator[Damage]:
    """Everything that is damaged; every byte of tables, models, vectors and stores is read, and nothing is written."""
    root = Path(lake.root).absolute()
    if why := lake.schema_fault():
        yield Damage(root / "lake.json", why, BACKUP)
        return
    yield from _tables(lake, examined)
    for name, faults in {
        "calls/calls.sqlite": call_check.faults,
        "people/desk.sqlite": _desk_faults,
    }.items():
        yield from _store(root / "files" / name, faults, examined)
    yield from _models(lake, root / "files" / "models", examined)
    for vectors in sorted((root / "files" / "vectors").glob("*.lance")):
        examined.files += 1
        if not digests.sealed(vectors):
            examined.unchecked.append(vectors)
        elif why := digests.fault_of_folder(vectors):
            way = "every step that uses it makes it anew; nobody reads this one"
            yield Damage(vectors, why, way, (vectors,))


def set_aside(lake: Lake, found: list[Damage]) -> list[tuple[Path, Path]]:
    """Move what can be made again out of the way, into `files/aside`; returns (from, to) of each. Nothing is deleted."""
    root, moved = Path(lake.root).absolute(), []
    for path in dict.fromkeys(p for d in found for p in d.goes):
        if not path.exists():
            continue
        place = lake.folder(ASIDE) / path.relative_to(root)
        n, to = 1, place
        while to.exists():
            n, to = n + 1, place.with_name(f"{place.name}.{n}")
        to.parent.mkdir(parents=True, exist_ok=True)
        path.rename(to)
        moved.append((path, to))
    return moved


def _files(lake: Lake) -> Iterator[tuple[Table, str | None, Path]]:
    """Every published file, configured or not."""
    base = Path(lake.root).absolute()
    for table in TABLES.values():
        for partition in lake.partitions(table) if table.partition else [None]:
            if (path := lake.path(table, partition)).exists() and path.is_relative_to(base):
                yield table, partition, path


def _tables(lake: Lake, examined: Examined) -> Iterator[Damage]:
    """Damage to tables: bytes that are not what was written, footers, and what footers name and is not there."""
    notes: dict[str, dict] = {}
    for table, partition, path in _files(lake):
        examined.files += 1
        try:
            examined.bytes += path.stat().st_size
            if why := digests.fault(path):
                yield Damage(path, why, AGAIN, (path,))
            elif (note := lake.note(table, partition)) is not None:
                notes[label(table, partition)] = note
                if digests.undigested(path):
                    examined.unchecked.append(path)
        except Damaged:
            yield Damage(path, "its footer does not say what made it", AGAIN, (path,))
        except OSError as e:
            yield Damage(path, f"it cannot be read: {e.strerror}", BACKUP)
    gone: dict[Path, str] = {}
    for name, note in notes.items():
        inputs = {k: v for k, v in note.get("inputs", {}).items() if notes.get(k, {}).get("version") != v}
        examined.moved_on += bool(inputs)
        for path in filter(None, (_path(lake, k) for k in inputs)):
            if not path.exists():
                gone.setdefault(path, name)
    for path, name in gone.items():
        yield Damage(path, f"it is gone, and {name} was made from it", "`assay run` makes it again")


def _path(lake: Lake, name: str) -> Path | None:
    """Where an input of a footer stands; None where no table is called so, or it is divided otherwise by now."""
    table, _, partition = name.partition("/")
    try:
        return lake.path(TABLES[table], partition or None)
    except (KeyError, ValueError):
        return None


def _models(lake: Lake, models: Path, examined: Examined) -> Iterator[Damage]:
    """Damage to models that were trained to their end, and models that tables name and that are not there."""
    named = _table_files_by_model(lake)
    for result in sorted(models.glob("*/result.json")):
        examined.files += 1
        folder = result.parent
        if not digests.sealed(folder):
            examined.unchecked.append(folder)
        elif why := digests.fault_of_folder(folder):
            goes = (folder, digests.place(folder), *named.get(folder.name, ()))
            yield Damage(folder, why, AGAIN, goes)
    for model, paths in named.items():
        if not (models / model / "result.json").exists():
            why = f"it is gone, or was not trained to its end, and {paths[0]} names it"
            folder = models / model
            yield Damage(folder, why, AGAIN, (folder, digests.place(folder), *paths))


def _table_files_by_model(lake: Lake) -> dict[str, list[Path]]:
    """Model -> the files that say that it is there: it is trained again when they are made again."""
    found: dict[str, list[Path]] = {}
    for table, _, path in _files(lake):
        if {"model_id", "path"} <= set(table.schema.names):
            try:
                ids = pq.read_table(path, columns=["model_id"], partitioning=None)["model_id"].to_pylist()
            except (pa.ArrowException, OSError, ValueError):
                continue  # damaged itself, and told as such
            for model in ids:
                found.setdefault(model, []).append(path)
    return found


def _store(path: Path, faults: Callable[[Path], Iterator[str]], examined: Examined) -> Iterator[Damage]:
    kept = (path.parent / KEPT).exists()
    if not path.exists() and not kept:
        return
    examined.files += 1
    if not path.exists() or not path.stat().st_size:
        if kept:
            yield Damage(path, "it is gone, or empty, and there was something in it", BACKUP)
        return
    said = list(faults(path))
    if said:
        more = f", and {len(said) - 1} more" if len(said) > 1 else ""
        yield Damage(path, f"{said[0]}{more}", BACKUP)


def _desk_faults(path: Path) -> Iterator[str]:
    """What is wrong with the desk of the people."""
    con = readers(path)
    try:
        for (said,) in con.execute("PRAGMA integrity_check(5)"):
            if said != "ok":
                yield " ".join(said.split())
        for number, body in con.execute("SELECT id, body FROM items"):
            try:
                json.loads(zlib.decompress(body))
            except (zlib.error, ValueError, TypeError):
                yield f"item {number} cannot be read"
        for number, data in con.execute("SELECT id, data FROM events WHERE data <> ''"):
            try:
                json.loads(data)
            except (ValueError, TypeError):
                yield f"event {number} cannot be read"
    except (sqlite3.DatabaseError, OverflowError, UnicodeDecodeError) as e:
        yield f"it cannot be read to its end: {e}"
    finally:
        con.close()
