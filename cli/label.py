"""`assay label`: a page on which people answer, with a link for each of them."""

import argparse
import getpass
import sys
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resources.lake import Lake
    from resources.settings import Settings


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("name", nargs="*", help="people who answer; default: whoever was named before, else you")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; default: this machine alone")
    parser.add_argument("--port", type=int, default=8770, help="default: 8770; 0 takes any that is free")


def main(arguments: argparse.Namespace, settings: "Settings", lake: "Lake") -> int:
    """Serve until interrupted; 2 where the page cannot be served."""
    from resources.annotators.desk import desk
    from resources.annotators.page.server import Taken, serve

    if settings.people.backend in ("simulated", "recorded"):
        print(f"assay: people.backend is {settings.people.backend!r}: nobody is asked; use 'label'", file=sys.stderr)
        return 2
    with desk(lake) as opened:
        known, batches = opened.invited(), opened.batches()
    names = [n for n in (name.strip() for name in arguments.name) if n] or ([] if known else [getpass.getuser()])
    if not batches:
        print("No batch is out yet: `assay run` makes the first one. This page shows it as soon as it is there.")
    try:
        serve(settings, lake, names, arguments.host, arguments.port, partial(print, flush=True))
    except Taken as e:
        print(f"assay: {e}", file=sys.stderr)
        return 2
    return 0
