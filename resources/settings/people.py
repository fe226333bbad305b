"""People who verify pairs: where they answer, what a form must hold, and how several of them come to one label."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from curation.attributes import Category
from resources.settings.base import Count, Name, Part, Share
from resources.settings.sources import Answers, Source

Tool = Literal["search", "llm", "code"]
Duty = Literal["acknowledged", "tools", "times", "why"]

# The assistants people may ask (spec 2.03).
ASSISTANTS = [
    "gpt-4o",
    "o1",
    "o1-mini",
    "o1-pro",
    "o3",
    "o3-mini",
    "o3-pro",
    "o4-mini",
    "gemini-2.0-flash",
    "gemini-2.5-flash",
    "gemini-2.5-pro",
    "claude-3.5-sonnet",
    "claude-3.7-sonnet",
    "grok-2",
    "grok-3",
    "deepseek-v3",
    "deepseek-r1",
]


WHOLE_FORM = "whole"  # as experiments call what nothing is hidden from; labels name it ''


class Form(Part):
    """What a form shows beside the conversation and the two candidates."""

    attributes: bool = True
    guideline: bool = True  # where it is hidden, nobody has to acknowledge it
    tools: bool = True  # where they are hidden, none may be used and none is required


class Arm(Form):
    """A form that a share of the pairs gets, drawn by hash, to measure what a part of the form is worth (spec 2.16)."""

    name: Name
    share: Annotated[float, Field(gt=0, le=1)]


class LabelStudio(Part):
    """A Label Studio server of version 1.23 or newer."""

    url: str = "http://127.0.0.1:8080"
    api_key_env: str = "LABEL_STUDIO_API_KEY"  # a personal access token, or a legacy token
    timeout: Annotated[float, Field(gt=0)] = 60.0  # seconds a request


class PeopleSettings(Part):
    backend: Literal["simulated", "recorded", "files", "label", "label_studio"] = "simulated"
    answers: list[Answers] = []
    folder: Path = Path("people")  # batches go out and answers come in here (backend files)
    label_studio: LabelStudio = LabelStudio()
    error: Share = 0.04  # simulated: chance of a wrong label
    annotators: Count = 1  # labels a pair
    cost_per_label: Annotated[float, Field(ge=0)] = 0.0  # dollars (spec 2.10: 0.10 to 0.70); not set, nothing is spent

    @model_validator(mode="before")
    @classmethod
    def _simulated_price(cls, values: Any) -> Any:
        """Simulated people have a price of their own, so that the demo's bill is one."""
        simulated = isinstance(values, dict) and values.get("backend", "simulated") == "simulated"
        return {"cost_per_label": 0.4} | values if simulated else values

    overlap: Share = 0.1  # chance of a pair to get a second label, where one is the rule
    disagreement: Literal["third", "adjudicate", "leave"] = "third"  # ask one more, ask an adjudicator, or leave it out
    most: Count = 3  # labels a pair at most, before a disagreement is final
    passes: Annotated[int, Field(ge=0)] = 0  # how often a pair goes on to somebody else who may read or check it
    adjudicators: list[str] = []  # annotators who settle what others disagree on
    close_share: Share = 1.0  # of a batch's pairs: with as many labelled the others are asked for again in the next
    close_after_hours: Annotated[float, Field(gt=0)] | None = None  # from when the batch went out
    # the judge that checks each response alone before people see an objective pair: a hint to them (spec 2.06)
    checked_by: Name | None = None
    checks: list[Source] = []  # pairs whose label is known, planted among the others
    check_share: Share = 0.05  # of a batch: as many known pairs are added
    require: list[Duty] = ["acknowledged", "tools", "times", "why"]  # an answer without is refused
    required_tools: dict[Category, Tool] = {
        "information seeking": "search",
        "coding & debugging": "code",
    }  # if objective
    assistants: list[str] = ASSISTANTS
    least_seconds: Annotated[float, Field(ge=0)] = 1.0  # an answer given faster is refused
    usual_seconds: tuple[float, float] = (10.0, 300.0)  # outside it is flagged (spec 2.10)
    arms: list[Arm] = []  # pairs of no arm get the whole form

    @property
    def forms(self) -> tuple[str, ...]:
        """Names of the forms that pairs are labelled on; the whole one's last, where some pairs are left to it."""
        return (*(a.name for a in self.arms), *([WHOLE_FORM] if sum(a.share for a in self.arms) < 1 - 1e-9 else []))

    @model_validator(mode="after")
    def _whole(self):
        if self.backend == "recorded" and not self.answers:
            raise ValueError("backend 'recorded' needs people.answers")
        if self.disagreement == "adjudicate" and not self.adjudicators:
            raise ValueError("disagreement 'adjudicate' needs people.adjudicators, the names of those who settle it")
        if sum(a.share for a in self.arms) > 1 + 1e-9:
            raise ValueError("the shares of people.arms add up to more than 1")
        if len({a.name for a in self.arms}) < len(self.arms):
            raise ValueError("the names of people.arms must differ")
        return self
