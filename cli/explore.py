"""`assay explore`: a page on the pairs of a lake, for this machine."""

import io
import sys
from typing import TYPE_CHECKING

from cli.exits import DONE, UNUSABLE
from report.explore.explored_pairs import ExploredPairs, NoAnswer
from report.explore.explorer_app import Explorer, app
from resources.annotators.picked_pairs import NotSent, ask, can_ask
from resources.lake import Lake, LakeError
from resources.settings import Settings
from resources.stops import Stop
from training.addresses import PortTaken, listening

if TYPE_CHECKING:
    import pyarrow as pa

HERE = "127.0.0.1"


def explorer(settings: Settings, lake: Lake) -> Explorer:
    """What the page shows, and whom it may ask."""

    def story(pair: str) -> str:
        from cli.explain import story as told
        from cli.terminal import Console

        out = io.StringIO()
        try:
            told(lake, pair, Console(file=out, highlight=False, width=200))
        except LakeError as e:
            raise NoAnswer(str(e)) from None
        return out.getvalue()

    def send(pairs: "pa.Table", name: str) -> str:
        try:
            return ask(settings, lake, pairs, name)
        except (NotSent, Stop) as e:
            raise NoAnswer(str(e)) from None

    return Explorer(settings.name, ExploredPairs(lake), story, send if can_ask(settings) else None)


def page(settings: Settings, lake: Lake, port: int) -> int:
    """Serve until interrupted; returns the exit status.

    Args:
        port: 0 takes any that is free.
    """
    import uvicorn

    try:
        heard = listening(HERE, port)
    except PortTaken as e:
        print(f"assay: {e}", file=sys.stderr)
        return UNUSABLE
    with heard:
        made = explorer(settings, lake)
        print(f"http://{HERE}:{heard.getsockname()[1]}/open/{made.token}", flush=True)
        print("Open it on this machine; stop with Ctrl+C.", flush=True)
        # no access log: a path holds the link
        config = uvicorn.Config(app(made), log_level="warning", access_log=False, server_header=False)
        try:
            uvicorn.Server(config).run(sockets=[heard])
        finally:
            made.pool.close()
    return DONE
