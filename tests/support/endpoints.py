"""The scoring endpoint on a port of this machine."""

import contextlib
import threading
from collections.abc import Iterator

from training.addresses import listening
from training.endpoint import Endpoint, server


@contextlib.contextmanager
def serving(endpoint: Endpoint) -> Iterator[int]:
    """Its port, while it serves in a thread."""
    with listening("127.0.0.1", 0) as opened:
        port = opened.getsockname()[1]
        running = server(endpoint)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [opened]}, daemon=True)
        thread.start()
        try:
            yield port
        finally:
            endpoint.stop()
            running.should_exit = running.force_exit = True
            thread.join(20)
