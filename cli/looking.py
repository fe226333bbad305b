"""A lake that is only looked at."""

from pathlib import Path

from resources.lake import Lake
from resources.scratch import scratch


class Looking(Lake):
    """A lake in which nothing is written: a folder that is not there is a temporary one."""

    def folder(self, name: str) -> Path:
        path = Path(self.root).absolute() / "files" / name
        return path if path.exists() else scratch("looking")
