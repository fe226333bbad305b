"""People who verify pairs."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from resources.settings.base import Count, Part, Share
from resources.settings.sources import Answers


class People(Part):
    backend: Literal["simulated", "recorded", "files"] = "simulated"
    answers: list[Answers] = []
    folder: Path = Path("people")  # batches go out and answers come in here (backend files)
    error: Share = 0.04  # simulated: chance of a wrong label
    annotators: Count = 1  # labels a pair
    cost_per_label: Annotated[float, Field(ge=0)] = 0.4  # dollars (spec 2.10: 0.10 to 0.70)

    @model_validator(mode="after")
    def _recorded(self):
        if self.backend == "recorded" and not self.answers:
            raise ValueError("backend 'recorded' needs people.answers")
        return self
