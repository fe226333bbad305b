"""What is printed: texts of others cannot steer the terminal, whether it shows them or a file that they were kept in."""

import contextlib
import sys
from collections.abc import Generator, Iterable
from typing import IO, Any, TextIO, cast

import rich.console
from rich.segment import Segment

from curation.visible import visible


class Console(rich.console.Console):
    """A console of rich, of which only its own control sequences reach the terminal, none of what it is told to print.
    Texts are no markup unless `print` is told so."""

    def __init__(
        self,
        *,
        stderr: bool = False,
        highlight: bool = True,
        soft_wrap: bool = False,
        width: int | None = None,
        file: TextIO | None = None,
    ):
        """With a file: without colours."""
        color = "auto" if file is None else None
        super().__init__(
            stderr=stderr,
            highlight=highlight,
            soft_wrap=soft_wrap,
            width=width,
            file=file,
            color_system=color,
            markup=False,
        )

    @property
    def file(self) -> IO[str]:
        found = super().file
        return found.rich_proxied_file if isinstance(found, Screen) else found  # rich itself looks through one layer

    @file.setter
    def file(self, new: IO[str]) -> None:
        self._file = new

    def render(self, renderable, options=None) -> Generator[Segment, None, None]:
        for s in super().render(renderable, options):
            yield s if s.control else Segment(visible(s.text), s.style)


class Screen:
    """A stream that shows what would steer a terminal. rich writes past it, as `Console` has seen to it already."""

    def __init__(self, stream: TextIO):
        self.rich_proxied_file = stream

    def write(self, text: str) -> int:
        return self.rich_proxied_file.write(visible(text))

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rich_proxied_file, name)


@contextlib.contextmanager
def screened() -> Generator[None]:
    """All that is printed meanwhile is screened."""
    out, err = (cast(TextIO, Screen(s)) for s in (sys.stdout, sys.stderr))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        yield
