"""Where a server of this machine listens."""

import ipaddress
import socket


class PortTaken(Exception):
    """An address or port cannot be used; the message says why."""


def loopback(host: str) -> bool:
    """Whether a name or address is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def listening(host: str, port: int) -> socket.socket:
    """A socket to serve on; port 0 is any that is free.

    Raises:
        PortTaken: it cannot be had.
    """
    kind = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(kind, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen()
    except (OSError, OverflowError) as e:
        made.close()
        why = getattr(e, "strerror", None) or e
        raise PortTaken(f"{host}:{port} cannot be used: {why}; choose another with --port") from e
    return made
