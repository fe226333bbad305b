"""The door of the page: what is answered there is at the desk at once."""

from resources.annotators.doors import AtDesk


class LabelDoor(AtDesk):
    """`assay label` serves what the desk holds, so that nothing has to be sent or fetched."""

    name = "label"

    def publish(self, batch: str) -> None:
        """Nothing: the page reads the desk."""

    def collect(self, batch: str) -> None:
        """Nothing: the page writes to the desk."""

    def where(self, batch: str) -> str:
        """See `Door.where`."""
        return f"{batch} on the page of `assay label`"

    def how(self, batch: str) -> str:
        """See `Door.how`."""
        return "Start it with `assay label NAME NAME …`, send each their link, and run again"
