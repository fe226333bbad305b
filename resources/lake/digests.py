"""Whether a file is what was written: a digest of all its bytes, inside every table and beside every folder.

A table's file carries the digest in its own footer, so that file and digest are put in place at once: it is taken over
all bytes, with zeros in the place of its own digits. One flipped bit anywhere in the file is found. A file that was
written before files had digests is known by its whole footer, which lacks both the digest and the digest's name.
"""

import functools
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

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
        size = os.fstat(file.fileno()).st_size
        if size < 2 * FOOTER:
            return f"it has {size} bytes, which is no table"
        file.seek(size - FOOTER)
        tail = file.read()
        length = size - FOOTER - int.from_bytes(tail[:4], "little")
        if tail[4:] != b"PAR1" or not 4 <= length <= size - FOOTER:
            return "it does not end as a table does: cut off, or overwritten"
        file.seek(length)
        footer = file.read()
        at = footer.rfind(MARK)
        found = footer[at + len(MARK) : at + len(EMPTY)]
        if at < 0 or len(found) != len(EMPTY) - len(MARK):
            return None if undigested(path) else "its footer is not what was written"
        file.seek(0)
        digest, left = hashlib.blake2b(digest_size=16), length
        while left and (chunk := file.read(min(CHUNK, left))):
            digest.update(chunk)
            left -= len(chunk)
    digest.update(footer[:at] + EMPTY + footer[at + len(EMPTY) :])
    return None if digest.hexdigest().encode() == found else "its bytes are not those that were written"


def undigested(path: Path) -> bool:
    """Whether a file was written before files had digests: nothing tells whether its rows are what was written."""
    try:
        said = pq.read_metadata(path).metadata or {}
    except (pa.ArrowException, OSError):
        return False
    return b"assay" in said and said.keys() <= {b"assay", b"ARROW:schema"}


def checked(path: Path) -> str | None:
    """As `fault`, but a file is read once in a process as long as it is the same one."""
    there = path.stat()
    return _checked(str(path), there.st_ino, there.st_size, there.st_mtime_ns)


@functools.lru_cache(maxsize=100_000)
def _checked(path: str, _number: int, _size: int, _time: int) -> str | None:
    return fault(Path(path))


# ---- folders -------------------------------------------------------------------------------------------------------
def seal(folder: Path) -> Path:
    """Write the digests of all files of a folder, such as a model's, beside it; returns where."""
    path = _beside(folder)
    write_json(path, {name: _digest(folder / name) for name in sorted(_files(folder))})
    return path


def unseal(folder: Path) -> None:
    """Forget the digests of a folder that is about to change."""
    _beside(folder).unlink(missing_ok=True)


def sealed(folder: Path) -> bool:
    return _beside(folder).exists()


def fault_of_folder(folder: Path) -> str | None:
    """What is wrong with a folder whose digests were written, or None; every byte is read."""
    try:
        said = json.loads(_beside(folder).read_bytes())
        assert isinstance(said, dict)
    except (OSError, ValueError, AssertionError):
        return f"{_beside(folder).name} cannot be read"
    there = set(_files(folder)) if folder.is_dir() else set()
    if lost := sorted(said.keys() - there):
        return f"{lost[0]} is missing"
    if more := sorted(there - said.keys()):
        return f"{more[0]} was added"
    broken = [name for name, digest in said.items() if _digest(folder / name) != digest]
    return f"{broken[0]} is not what was written" if broken else None


def checked_folder(folder: Path) -> str | None:
    """As `fault_of_folder`, None for a folder without digests; files are read once in a process while they are the same."""
    if not sealed(folder):
        return None
    there = [(name, (folder / name).stat()) for name in sorted(_files(folder))] if folder.is_dir() else []
    return _checked_folder(str(folder), tuple((name, s.st_ino, s.st_size, s.st_mtime_ns) for name, s in there))


@functools.lru_cache(maxsize=1000)
def _checked_folder(folder: str, _there: tuple) -> str | None:
    return fault_of_folder(Path(folder))


def _beside(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.digests.json")


def _files(folder: Path) -> Iterator[str]:
    return (p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
