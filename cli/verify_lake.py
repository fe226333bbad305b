"""Whether every file of a lake is what was written."""

import sys
import time
from pathlib import Path

from cli.exits import DAMAGED, DONE
from resources.integrity import Examined, damages, set_aside
from resources.lake import Lake

UNCHECKED = 3  # paths, shown


def show(lake: Lake, aside: bool) -> int:
    """Print a line for each file that is damaged, with the way to make it anew; returns the exit status.

    Args:
        aside: move what can be made again out of the way.
    """
    lake = lake.pinned()
    if not Path(lake.root).is_dir() and lake.storage.schema() is None:
        print(f"{lake.storage.place}: there is no lake yet.")
        return DONE
    began, examined, found = time.monotonic(), Examined(), []
    for damage in damages(lake, examined):
        found.append(damage)
        print(f"{damage.path}: {damage.why}. To have it anew: {damage.way}.", flush=True)
    for path, to in set_aside(lake, found) if aside else []:
        print(f"Moved {path} to {to}")
    if n := len(examined.unchecked):
        shown = ", ".join(map(str, examined.unchecked[:UNCHECKED])) + (", …" if n > UNCHECKED else "")
        print(f"Unchecked: {n:,} were written before files had digests, and get one when they are made again: {shown}")
    if examined.moved_on:
        print(
            f"Note: {examined.moved_on:,} partitions rest on former versions of their inputs (`assay status` says why)."
        )
    seconds = time.monotonic() - began
    print(f"Examined at {examined.files:,} files, {examined.bytes / 1e6:,.1f} MB of tables, in {seconds:.1f} s.")
    if found:
        print(f"assay: {lake.root}: {len(found):,} damaged", file=sys.stderr)
        return DAMAGED
    print(f"{lake.root}: " + ("nothing else is damaged." if examined.unchecked else "all is what was written."))
    return DONE
