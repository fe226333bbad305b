"""A lake copied to another folder and put back; what was copied is verified where it was copied to."""

import sys
from pathlib import Path

from cli.exits import DAMAGED, DONE
from resources.integrity import Examined, damages
from resources.lake import Lake
from resources.lake_copy import copy


def copied(source: Path, target: Path) -> int:
    """Copy a lake, read the copy, and say how it went; returns the exit status.

    Raises:
        NoBackup: nothing was copied.
        OSError: of the disk.
    """
    size = copy(source, target)
    examined = Examined()
    found = list(damages(Lake(str(target)), examined))
    for damage in found:
        print(f"{damage.path}: {damage.why}.")
    print(f"{source} -> {target}: {size / 1e6:,.1f} MB, {examined.files:,} files read again.")
    if found:
        print(f"assay: {target}: {len(found):,} damaged in the copy; verify {source}, too", file=sys.stderr)
        return DAMAGED
    return DONE
