"""`assay label`: a page on which people answer, with a link for each of them."""

import getpass
import sys
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resources.lake import Lake
    from resources.settings import Settings


def page(settings: "Settings", lake: "Lake", people: "Sequence[str]", host: str, port: int) -> int:
    """Serve until interrupted; 2 where the page cannot be served.

    Args:
        people: who answer; without a name whoever was named before, else the user of this machine.
        host: address to listen on.
        port: 0 takes any that is free.
    """
    from resources.annotators.desk import desk
    from resources.annotators.page.server import serve
    from training.addresses import PortTaken

    if settings.people.backend in ("simulated", "recorded"):
        print(f"assay: people.backend is {settings.people.backend!r}: nobody is asked; use 'label'", file=sys.stderr)
        return 2
    with desk(lake) as opened:
        known, batches = opened.invited(), opened.batches()
    names = [n for n in (name.strip() for name in people) if n] or ([] if known else [getpass.getuser()])
    if not batches:
        print("No batch is out yet: `assay run` makes the first one. This page shows it as soon as it is there.")
    try:
        serve(settings, lake, names, host, port, partial(print, flush=True))
    except PortTaken as e:
        print(f"assay: {e}", file=sys.stderr)
        return 2
    return 0
