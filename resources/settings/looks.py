"""Second looks at what was found in the pool: overlap with benchmarks, personal data. All off by default."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from resources.settings.base import Count, Name, Part


class SecondLooks(Part):
    # all texts of a pair are searched for runs of so many words of a benchmark's prompts, the longest is told (spec 0.09)
    overlap: bool = False
    shortest: Annotated[int, Field(ge=5, le=13)] = 5
    longest: Annotated[int, Field(ge=5, le=50)] = 13
    judge: Name | None = None  # of judges.panel: says of flags and findings whether they are right; None: nobody does
    flags: Count = 50  # of each length that the judge looks at, drawn by hash
    findings: Count = 200  # of personal data with sensitivity 2 and 3, and as many of 0 and 1 as a check, drawn by hash
    # findings of each sensitivity that people are asked about, in files/personal/sample.csv, such as 20
    sample: Annotated[int, Field(ge=0)] = 0
    answers: Path | None = None  # that file with the column `right` filled in: yes or no

    @model_validator(mode="after")
    def _order(self):
        if self.shortest > self.longest:
            raise ValueError(f"shortest is {self.shortest}, longer than longest, {self.longest}")
        return self
