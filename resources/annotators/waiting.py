"""What stops a step that needs people."""

from collections.abc import Mapping
from pathlib import Path

from resources.stops import Stop


class Waiting(Stop):
    """People have not answered yet: no failure, but nothing to go on with.

    Attributes:
        batch: the batch that waits.
        answered: answers that are in.
        missing: answers still to come.
        refused: answers that could not be used and were not given anew.
        people: annotator -> answers, of those who have given some.
        where: where people find the batch, and the answers belong.
    """

    waits_for = "people"

    def __init__(
        self,
        batch: str,
        answered: int,
        missing: int,
        where: str,
        refused: int = 0,
        people: Mapping[str, int] | None = None,
        hint: str = "",
    ):
        self.batch, self.answered, self.missing, self.refused = batch, answered, missing, refused
        self.where, self.people = where, dict(people or {})
        lines = [f"{where}: {missing} of {answered + missing} answers are missing"]
        if self.people:
            lines[0] += " (" + ", ".join(f"{who}: {n}" for who, n in sorted(self.people.items())) + ")"
        if refused:
            lines.append(f"{refused} were refused; `assay people` says which and why")
        super().__init__(". ".join([*lines, *([hint] if hint else [])]) + ".")


class BadAnswers(Stop):
    """Answers cannot be read, or belong to another batch; the message names the file or the server."""

    def __init__(self, message: str | Path):
        super().__init__(str(message))
