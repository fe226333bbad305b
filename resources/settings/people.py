"""People who verify pairs."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from resources.settings.base import Count, Part, Share
from resources.settings.sources import Answers


class People(Part):
    backend: Literal["simulated", "recorded", "files"] = "simulated"
    answers: list[Answers] = []
    folder: Path = Path("people")  # batches go out and answers come in here (backend files)
    error: Share = 0.04  # simulated: chance of a wrong label
    annotators: Count = 1  # labels a pair
    cost_per_label: Annotated[float, Field(ge=0)] = 0.0  # dollars (spec 2.10: 0.10 to 0.70); not set, nothing is spent

    @model_validator(mode="before")
    @classmethod
    def _simulated_price(cls, values: Any) -> Any:
        """Simulated people have a price of their own, so that the demo's bill is one."""
        simulated = isinstance(values, dict) and values.get("backend", "simulated") == "simulated"
        return {"cost_per_label": 0.4} | values if simulated else values

    @model_validator(mode="after")
    def _recorded(self):
        if self.backend == "recorded" and not self.answers:
            raise ValueError("backend 'recorded' needs people.answers")
        return self
