"""A door: one way in which people see the queue and answer. Doors read the desk and add events to it, nothing else."""

from collections.abc import Mapping
from typing import Any, Protocol

from resources.annotators.desk import BatchProgress, Desk, settle
from resources.annotators.records import Asked, Rules, asked_of
from resources.settings import Settings


class Door(Protocol):
    """What every door does; each may be interrupted anywhere and called again."""

    name: str

    def publish(self, batch: str) -> None:
        """Show people what the desk holds of a batch; what they see already stays as it is. Of a batch that is closed
        nobody is shown anything any more."""

    def collect(self, batch: str) -> None:
        """Bring to the desk what people have answered since, and every answer that cannot be used with its reason."""

    def progress(self, batch: str) -> BatchProgress:
        """How far the batch is; closes it where the configuration says so."""

    def where(self, batch: str) -> str:
        """Where people find the batch."""

    def how(self, batch: str) -> str:
        """What to do next, in a sentence."""


class AtDesk:
    """What doors have in common: the desk and the rules."""

    name = ""

    def __init__(self, settings: Settings, desk: Desk):
        self.settings, self.people, self.desk = settings, settings.people, desk
        self.rules = Rules.of(settings)

    def progress(self, batch: str) -> BatchProgress:
        """See `Door.progress`."""
        return settle(self.desk, batch, self.settings)

    def asked(self, batch: str) -> Mapping[str, Asked]:
        return asked_of(self.desk.items(batch))

    def items(self, batch: str) -> list[dict[str, Any]]:
        return self.desk.items(batch)
