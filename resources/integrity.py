"""Whether everything in a lake is what was written, and how what is not is made anew."""

import json
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from curation.tables import TABLES, Table
from resources.lake import Damaged, Lake, digests, label
from resources.lake.folder_tables import aside
from resources.lake.storage import SCHEMA_FILE, dimensions
from resources.llm import call_check
from resources.llm.call_store import KEPT, readers

AGAIN = "`assay verify --set-aside`, then `assay run`: it is made again from what it reads, and nothing is paid twice"
BACKUP = "put it back from a backup (docs/backup.md)"


@dataclass(frozen=True)
class Damage:
    """Something that is not what was written.

    Attributes:
        path: the file, folder or object.
        why: what is wrong.
        way: how it is made anew.
        goes: files and folders that `set_aside` moves; with `partitions` nothing where only a backup helps.
        partitions: of tables, which it takes away, too.
    """

    path: Path | str
    why: str
    way: str
    goes: tuple[Path, ...] = ()
    partitions: tuple[tuple[Table, str | None], ...] = ()


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
    unchecked: list[Path | str] = field(default_factory=list)


def damages(lake: Lake, examined: Examined) -> Iterator[Damage]:
    """Everything that is damaged; every byte of tables, models, vectors and stores is read, and nothing is written."""
    root = Path(lake.root).absolute()
    if why := lake.schema_fault():
        yield Damage(_path_or_address(f"{lake.storage.place}/{SCHEMA_FILE}"), why, BACKUP)
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


def set_aside(lake: Lake, found: list[Damage]) -> list[tuple[str, str]]:
    """Take what can be made again out of the way; returns (from, to) of each. Nothing is deleted."""
    root, moved = Path(lake.root).absolute(), []
    for path in dict.fromkeys(p for d in found for p in d.goes):
        if path.exists():
            moved.append((str(path), str(aside(root, path))))
    for table, key in dict.fromkeys(p for d in found for p in d.partitions):
        if lake.address(table, key) is not None:
            moved.append(lake.storage.set_aside(table, key))
    return moved


def _partitions(lake: Lake) -> Iterator[tuple[Table, str | None, Path | str]]:
    """Every published partition, configured or not, and where it is."""
    lake.storage.look(TABLES.values())
    for table in TABLES.values():
        for key in sorted(lake.storage.keys(table), key=str):
            if (address := lake.address(table, key)) is not None:
                yield table, key, _path_or_address(address)


def _path_or_address(address: str) -> Path | str:
    return address if "://" in address else Path(address)


def _tables(lake: Lake, examined: Examined) -> Iterator[Damage]:
    """Damage to tables: bytes that are not what was written, footers, and what footers name and is not there."""
    notes: dict[str, dict] = {}
    for table, key, path in _partitions(lake):
        examined.files += 1
        try:
            examined.bytes += lake.storage.size(table, key)
            if why := lake.storage.fault(table, key):
                yield Damage(path, why, AGAIN, partitions=((table, key),))
            elif (note := lake.note(table, key)) is not None:
                notes[label(table, key)] = note
                if lake.storage.undigested(table, key):
                    examined.unchecked.append(path)
        except Damaged:
            yield Damage(path, "its footer does not say what made it", AGAIN, partitions=((table, key),))
        except OSError as e:
            yield Damage(path, f"it cannot be read: {e.strerror or e}", BACKUP)
    gone: dict[str, str] = {}
    for name, note in notes.items():
        inputs = {k: v for k, v in note.get("inputs", {}).items() if notes.get(k, {}).get("version") != v}
        examined.moved_on += bool(inputs)
        for one in inputs:
            if (part := _partition(one)) is not None and lake.address(*part) is None:
                gone.setdefault(one, name)
    for one, name in gone.items():
        if (part := _partition(one)) is not None:
            path = _path_or_address(lake.storage.where(*part))
            yield Damage(path, f"it is gone, and {name} was made from it", "`assay run` makes it again")


def _partition(name: str) -> tuple[Table, str | None] | None:
    """An input of a footer; None where no table is called so, or it is divided otherwise by now."""
    table, _, key = name.partition("/")
    if (found := TABLES.get(table)) is None or len(dimensions(found)) != (len(key.split("|")) if key else 0):
        return None
    return found, key or None


def _models(lake: Lake, models: Path, examined: Examined) -> Iterator[Damage]:
    """Damage to models that were trained to their end, and models that tables name and that are not there."""
    named = _rows_by_model(lake)
    for result in sorted(models.glob("*/result.json")):
        examined.files += 1
        folder = result.parent
        if not digests.sealed(folder):
            examined.unchecked.append(folder)
        elif why := digests.fault_of_folder(folder):
            rows = tuple(named.get(folder.name, {}))
            yield Damage(folder, why, AGAIN, (folder, digests.place(folder)), rows)
    for model, rows in named.items():
        if not (models / model / "result.json").exists():
            why = f"it is gone, or was not trained to its end, and {next(iter(rows.values()))} names it"
            folder = models / model
            yield Damage(folder, why, AGAIN, (folder, digests.place(folder)), tuple(rows))


def _rows_by_model(lake: Lake) -> dict[str, dict[tuple[Table, str | None], Path | str]]:
    """Model -> the partitions that say that it is there: it is trained again when they are made again."""
    found: dict[str, dict[tuple[Table, str | None], Path | str]] = {}
    for table, key, path in _partitions(lake):
        if {"model_id", "path"} <= set(table.schema.names):
            try:
                ids = lake.read(table, key, ["model_id"])["model_id"].to_pylist()
            except (pa.ArrowException, OSError, ValueError):
                continue  # damaged itself, and told as such
            for model in ids:
                found.setdefault(model, {})[table, key] = path
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
