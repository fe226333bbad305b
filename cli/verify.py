"""Whether every file of a lake is what was written."""

import sys
import time
from pathlib import Path

from cli.exits import DAMAGED, DONE
from resources.integrity import Looked, damages, set_aside
from resources.lake import Lake

UNCHECKED = 3  # paths, shown


def show(lake: Lake, aside: bool) -> int:
    """Print a line for each file that is damaged, with the way to make it anew; returns the exit status.

    Args:
        aside: move what can be made again out of the way.
    """
    if not Path(lake.root).is_dir():
        print(f"{lake.root}: there is no lake yet.")
        return DONE
    began, looked, found = time.monotonic(), Looked(), []
    for damage in damages(lake, looked):
        found.append(damage)
        print(f"{damage.path}: {damage.why}. To have it anew: {damage.way}.", flush=True)
    for path, to in set_aside(lake, found) if aside else []:
        print(f"Moved {path} to {to}")
    if n := len(looked.unchecked):
        shown = ", ".join(map(str, looked.unchecked[:UNCHECKED])) + (", …" if n > UNCHECKED else "")
        print(f"Unchecked: {n:,} were written before files had digests, and get one when they are made again: {shown}")
    if looked.moved_on:
        print(
            f"Note: {looked.moved_on:,} partitions rest on former versions of their inputs (`assay status` says why)."
        )
    seconds = time.monotonic() - began
    print(f"Looked at {looked.files:,} files, {looked.bytes / 1e6:,.1f} MB of tables, in {seconds:.1f} s.")
    if found:
        print(f"assay: {lake.root}: {len(found):,} damaged", file=sys.stderr)
        return DAMAGED
    print(f"{lake.root}: " + ("nothing else is damaged." if looked.unchecked else "all is what was written."))
    return DONE
