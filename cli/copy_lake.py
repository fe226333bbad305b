"""A lake copied to another folder and put back; its tables taken to a store of objects or from there."""

import sys
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from cli.exits import DAMAGED, DONE
from resources.integrity import Examined, damages
from resources.lake import Lake
from resources.lake.transfer import taken
from resources.lake_copy import copy
from resources.settings import ConfigError
from resources.settings.stages import LakeSettings


def copied(source: Lake, target: Lake) -> int:
    """Copy a lake, read the copy, and say how it went; returns the exit status. A backup is a folder, whichever place the
    tables come from or go to.

    Raises:
        NoBackup, NotTaken: nothing was copied.
        OSError: of the disk.
    """
    whole = source.tables is None and target.tables is None

    def tables(new: Path) -> int:
        return sum(t.bytes for t in taken(source, replace(target, root=str(new))))

    size = copy(Path(source.root), Path(target.root), None if whole else tables)
    examined = Examined()
    found = list(damages(target.pinned(), examined))
    for damage in found:
        print(f"{damage.path}: {damage.why}.")
    print(f"{source.root} -> {target.root}: {size / 1e6:,.1f} MB, {examined.files:,} files read again.")
    if found:
        print(f"assay: {target.root}: {len(found):,} damaged in the copy; verify {source.root}, too", file=sys.stderr)
        return DAMAGED
    return DONE


def tables_copied(lake: Lake, place: str) -> int:
    """Take a lake's tables to a store of objects or to a folder, and say what to put into the configuration.

    Raises:
        ConfigError: no such place, a folder that is not the lake's, or it holds other tables.
    """
    if "://" in place:
        try:
            LakeSettings(tables=place)
        except ValidationError:
            raise ConfigError(f"{place}: a store of objects is named as s3://bucket/prefix") from None
        target = Lake(lake.root, lake.memory_limit, lake.threads, tables=place)
    else:
        if Path(place).absolute() != Path(lake.root).absolute():  # models, calls and desk stay where they are
            raise ConfigError(
                f"{place}: only tables are copied, to {lake.root}; `assay backup {place}` copies everything"
            )
        target = Lake(lake.root, lake.memory_limit, lake.threads)
    new = there = size = 0
    for one in taken(lake, target):
        new, there, size = new + one.new, there + (not one.new), size + one.new * one.bytes
    said = f", {there:,} were there" if there else ""
    print(f"{lake.storage.place} -> {target.storage.place}: {new:,} partitions, {size / 1e6:,.1f} MB{said}.")
    where = f'write tables = "{place}" under [lake]' if target.tables else "take the line tables = … from [lake]"
    print(f"Now {where}. Nothing was removed from {lake.storage.place}.")
    return DONE


def vacuumed(lake: Lake, days: float, dry_run: bool) -> int:
    """Delete what no version of the last so many days names; returns the exit status.

    Raises:
        ConfigError: the tables are files of a folder, where nothing is kept.
    """
    objects = size = 0
    for name, n, length in lake.vacuum(days, dry_run):
        print(f"{name}: {n:,} objects, {length / 1e6:,.1f} MB")
        objects, size = objects + n, size + length
    how = "would go" if dry_run else "deleted"
    print(f"{objects:,} objects, {size / 1e6:,.1f} MB {how}; versions of the last {days:g} days stay.")
    return DONE
