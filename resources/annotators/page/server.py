"""The page as a process: links for people, and a server until it is told to stop."""

import socket
from collections.abc import Callable, Sequence

import uvicorn

from resources.annotators.desk import desk
from resources.annotators.page.app import Page, app, token
from resources.lake import Lake
from resources.settings import Settings
from training.addresses import listening, loopback


def serve(
    settings: Settings, lake: Lake, names: Sequence[str], host: str, port: int, say: Callable[[str], None] = print
) -> None:
    """Serve the desk until interrupted.

    Args:
        settings: the configuration.
        lake: whose desk.
        names: people who may answer, besides those who were invited before.
        host: address to listen on; where it is not this machine's own, who has a link gets in from elsewhere.
        port: 0 for any that is free.
        say: gets the lines that a person should read.

    Raises:
        PortTaken: somebody listens there already.
    """
    with listening(host, port) as heard, desk(lake) as opened:
        for name in names:
            opened.invite(name)
        page = Page(settings, opened, everywhere=not loopback(host))
        at = socket.gethostname() if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
        for name in opened.invited():
            say(f"{name}: http://{at}:{heard.getsockname()[1]}/p/{token(page.secret, name)}")
        if page.everywhere:
            say(
                "Whoever has a link can answer with it, and what is sent is not encrypted: use it in a network you trust."
            )
        say("Each link is for one person. Answers are kept at once; stop with Ctrl+C, and the links stay good.")
        # no access log: paths hold the links
        config = uvicorn.Config(app(page), log_level="warning", access_log=False, server_header=False)
        uvicorn.Server(config).run(sockets=[heard])
