"""Whether a file is what was written: a digest of all its bytes, inside every table, and in a file of its own for folders
such as models.

A table's file carries the digest in its own footer, so that file and digest are put in place at once: it is taken over
all bytes, with zeros in the place of its own digits. One flipped bit anywhere in the file is found. A file that was
written before files had digests is known by its whole footer, which lacks both the digest and the digest's name.
"""

import functools
import hashlib
import json
import os
from collections.abc import Iterator, Set
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from training.atomic import write_json

KEY = "assay_digest"  # of the footer
MARK = b"blake2b:"
EMPTY = MARK + b"0" * 32
FOOTER = 8  # bytes behind the footer: its length, and the format's name
CHUNK = 1 << 22


def finished(path: Path, content: "hashlib.blake2b", length: int) -> None:
    """Write the digest into the footer of a new file.

    Args:
        path: the file, with `EMPTY` in its footer.
        content: over the first `length` bytes of it.
    """
    with open(path, "r+b") as file:
        file.seek(length)
        footer = file.read()
        content.update(footer)
        file.seek(length + footer.rindex(EMPTY))  # the last one: texts of the rows may stand in the footer before it
        file.write(MARK + content.hexdigest().encode())


def fault(path: Path) -> str | None:
    """What is wrong with the bytes of a table's file, or None; every byte is read, if the file has a digest."""
    with open(path, "rb") as file:
        return fault_of(file, os.fstat(file.fileno()).st_size)


def fault_of(file: BinaryIO, size: int) -> str | None:
    """As `fault`, of a file that is open."""
    if size < 2 * FOOTER:
        return f"it has {size} bytes, which is no table"
    file.seek(size - FOOTER)
    tail = file.read(FOOTER)
    length = size - FOOTER - int.from_bytes(tail[:4], "little")
    if tail[4:] != b"PAR1" or not 4 <= length <= size - FOOTER:
        return "it does not end as a table does: cut off, or overwritten"
    file.seek(length)
    footer = file.read(size - length)
    at = footer.rfind(MARK)
    found = footer[at + len(MARK) : at + len(EMPTY)]
    if at < 0 or len(found) != len(EMPTY) - len(MARK):
        return None if undigested(file) else "its footer is not what was written"
    file.seek(0)
    digest, left = hashlib.blake2b(digest_size=16), length
    while left and (chunk := file.read(min(CHUNK, left))):
        digest.update(chunk)
        left -= len(chunk)
    digest.update(footer[:at] + EMPTY + footer[at + len(EMPTY) :])
    return None if digest.hexdigest().encode() == found else "its bytes are not those that were written"


def undigested(file: Path | BinaryIO) -> bool:
    """Whether a file was written before files had digests: nothing tells whether its rows are what was written."""
    try:
        said = pq.read_metadata(file).metadata or {}
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        return False
    return without_digest(said.keys())


def without_digest(said: Set[bytes]) -> bool:
    """Whether a footer that says these is of a file that was written before files had digests."""
    return b"assay" in said and said <= {b"assay", b"ARROW:schema"}


def checked(path: Path) -> str | None:
    """As `fault`, but a file is read once in a process as long as it is the same one."""
    there = path.stat()
    return _checked(str(path), there.st_ino, there.st_size, there.st_mtime_ns)


@functools.lru_cache(maxsize=100_000)
def _checked(path: str, _number: int, _size: int, _time: int) -> str | None:
    return fault(Path(path))


# ---- folders -------------------------------------------------------------------------------------------------------
def seal(folder: Path, *only: str) -> None:
    """Write the digests of a folder's files, such as a model's, to where `place` says.

    Args:
        only: names of files and folders in it; none: all of it.
    """
    names = [n for n in _files(folder) if not only or n.partition("/")[0] in only]
    write_json(place(folder), {name: _digest(folder / name) for name in sorted(names)})


def unseal(folder: Path) -> None:
    """Forget the digests of a folder that is about to change."""
    place(folder).unlink(missing_ok=True)


def sealed(folder: Path) -> bool:
    return place(folder).exists()


def fault_of_folder(folder: Path) -> str | None:
    """What is wrong with a folder whose digests were written, or None; every byte is read. Files that were added do not
    count."""
    try:
        said = json.loads(place(folder).read_bytes())
    except (OSError, ValueError):
        said = None
    if not isinstance(said, dict):
        return f"its digests ({place(folder)}) cannot be read"
    for name, digest in said.items():
        try:
            if _digest(folder / name) != digest:
                return f"{name} is not what was written"
        except FileNotFoundError:
            return f"{name} is missing"
        except (OSError, ValueError) as e:
            return f"{name} cannot be read ({e})"
    return None


def checked_folder(folder: Path) -> str | None:
    """As `fault_of_folder`, None for a folder without digests; files are read once in a process while they are the same."""
    if not sealed(folder):
        return None
    there = [(name, (folder / name).stat()) for name in sorted(_files(folder))]
    return _checked_folder(str(folder), tuple((name, s.st_ino, s.st_size, s.st_mtime_ns) for name, s in there))


@functools.lru_cache(maxsize=1000)
def _checked_folder(folder: str, _there: tuple) -> str | None:
    return fault_of_folder(Path(folder))


def place(folder: Path) -> Path:
    """Where a folder's digests stand: `files/digests/models/ID.json` for `files/models/ID`."""
    return folder.parents[1] / "digests" / folder.parent.name / f"{folder.name}.json"


def _files(folder: Path) -> Iterator[str]:
    return (p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
