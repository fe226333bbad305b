"""What somebody who watches should know while a step works: why nothing seems to happen, and what looks odd."""

import sys
import threading
from collections.abc import Callable

_lock = threading.Lock()


def _print(text: str) -> None:
    with _lock:
        print(f"assay: {text}", file=sys.stderr, flush=True)


# One line a call; replaced where lines go elsewhere.
say: Callable[[str], None] = _print


def tell(text: str) -> None:
    """Show one line at once."""
    say(text)
