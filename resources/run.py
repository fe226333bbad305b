"""What a step is given to work with."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from resources.lake import Lake
from resources.settings import Settings

if TYPE_CHECKING:
    import dagster as dg


@dataclass(frozen=True)
class Run:
    """One run of a step: the sections of the configuration and the tables of the lake that it declares.

    `context` is Dagster's, or None when a step is called by hand.
    """

    settings: Settings
    lake: Lake
    partition: str | None = None
    context: "dg.AssetExecutionContext | None" = None

    @property
    def key(self) -> str:
        """The partition of a step that has one."""
        if self.partition is None:
            raise ValueError("this step has no partitions")
        return self.partition

    def log(self, text: str) -> None:
        if self.context is not None:
            self.context.log.info(text)

    def earlier(self) -> list[str]:
        """Keys of the iterations before this one."""
        keys = self.settings.partition_keys("iteration")
        return keys[: keys.index(self.key)]
