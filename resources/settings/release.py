"""What leaves the house, and how much of it."""

from typing import Annotated

from pydantic import Field, model_validator

from resources.settings.base import Count, Part, Share


class Filters(Part):
    """The filters of the paper's review page, in their order (spec 5.05 to 5.08); all off gives the release as it is.

    Agreement is that of judges with people on gold, by topic and objectivity; a cell with too little gold has that of its
    objectivity, or of all gold. Topics are clusters of conversations.
    """

    agreement: Annotated[float, Field(ge=0, le=1.01)] | None = None  # least; the paper's page says 0.8
    agreement_lower: bool = False  # the lower end of its interval counts instead
    target: Count | None = None  # pairs, drawn to be unlike each other within their topic
    margin: float | None = None  # chosen's reward less rejected's must be greater; the paper's page says 0.3
    margin_model: str = "best"  # best and gold of stage 2, an arm of the final models, or a model folder
    topics: Count = 50
    topic_bound: Share = 0.05  # distance of the topics' shares before and after that is said to be too much

    @property
    def on(self) -> bool:
        return any(x is not None for x in (self.agreement, self.target, self.margin))


class Release(Part):
    """Releases that a run makes at its end, as folders in the lake's `files/releases`; `assay release` makes one anywhere."""

    names: list[str] = []  # curated, corrected, or snapshots such as filtered@iter_01
    include: list[str] = []  # sources that go along without permission or license
    implicit: bool = False  # whole conversations in chosen and rejected, and no prompt
    jsonl: bool = False
    filters: Filters = Filters()

    @model_validator(mode="after")
    def _once(self):
        if twice := sorted({n for n in self.names if self.names.count(n) > 1}):
            raise ValueError(f"release.names holds {twice[0]} twice")
        return self
