"""Tables taken from one place to another: from a folder to a store of objects, and back."""

from collections.abc import Iterator
from dataclasses import dataclass

from curation.tables import TABLES, Table
from resources.lake import digests
from resources.lake.lake import Lake
from resources.lake.staging import LakeError
from resources.lake.storage import label
from resources.settings import ConfigError


class NotTaken(LakeError, ConfigError):
    """Tables were not taken to another place; the message says why."""


@dataclass(frozen=True)
class Taken:
    """A partition that was taken, or that was there already."""

    name: str
    bytes: int
    new: bool


def taken(source: Lake, target: Lake) -> Iterator[Taken]:
    """Every partition of a lake published in another, byte for byte; those that are there already stay.

    Raises:
        NotTaken: there are no tables, the other lake has other ones, or one of the source is damaged, which stops it there.
        OtherSchema: one of the two was made by another Assay.
    """
    source, target = (lake.pinned(TABLES.values()) for lake in (source, target))
    here, there = source.storage, target.storage
    parts = [(table, key) for table in TABLES.values() for key in sorted(here.keys(table), key=str)]
    if not parts:
        raise NotTaken(f"{here.place}: there are no tables")
    source.versions(parts[:1])  # raises where its schema is another
    target.begun()
    known = {(table.name, key) for table, key in parts if _same(source, target, table, key)}
    for other in TABLES.values():
        for key in there.keys(other):
            if (other.name, key) not in known:  # before anything is published: two lakes are not mixed
                raise NotTaken(f"{there.where(other, key)}: another {label(other, key)} is there; name an empty place")
    for table, key in parts:
        if (table.name, key) in known:
            yield Taken(label(table, key), here.size(table, key), False)
            continue
        with there.staging(table, key) as path:
            here.fetch(table, key, path)
            if why := digests.fault(path):
                raise NotTaken(f"{here.where(table, key)} is damaged: {why}")
            version = here.version(table, key) or ""
            written = there.publish(table, key, path, here.rows(table, key), version)
        yield Taken(label(table, key), written.bytes, True)


def _same(source: Lake, target: Lake, table: Table, key: str | None) -> bool:
    """Whether a partition is in both, of the same content and made from the same."""
    there = target.address(table, key) is not None and source.storage.version(table, key) == target.storage.version(
        table, key
    )
    return there and source.note(table, key) == target.note(table, key)
