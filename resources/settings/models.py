"""Models that are asked: judges, their panel, attribute models."""

import re
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from resources.settings.base import Count, Effort, Name, Part, Share
from resources.settings.sources import Answers


class Price(Part):
    """Dollars per million tokens; a cache rate that is not given is the input rate. 0 for a model of your own."""

    input: Annotated[Decimal, Field(ge=0)]
    output: Annotated[Decimal, Field(ge=0)]
    cached_input: Annotated[Decimal, Field(ge=0)] | None = None
    cache_write: Annotated[Decimal, Field(ge=0)] | None = None
    cache_write_1h: Annotated[Decimal, Field(ge=0)] | None = None
    batch_factor: Annotated[Decimal, Field(gt=0, le=1)] = Decimal(1)


# How a model is called decides no result: a change makes nothing stale.
HOW_CALLED = ("environment", "longest_wait", "patience", "useless", "accept_missing")
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Named = Literal["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"]


class Called(Part):
    """A model behind one of the SDKs and how it is asked."""

    model: str = ""
    base_url: str | None = None  # of a server of your own or of another provider
    # the environment variable that holds the key; without it only the provider's own host gets the provider's own key
    api_key_env: str | None = None
    environment: list[Named] = []  # variables that may be read: a proxy's address, an organisation's id; else none is
    price: Price | None = None  # instead of the list price of genai-prices
    max_output_tokens: Count = 1024
    concurrency: Count = 8  # calls on their way at once
    structured: bool = True  # send the answer's JSON schema; false for a server that refuses it
    parameters: dict[str, Any] = {}  # further fields of the request as the server names them, such as temperature
    longest_wait: Seconds = 120.0  # whatever a server's headers ask for, nobody waits longer at once
    patience: Seconds = 600.0  # for a server that answers nobody; then the run stops
    useless: Share = 0.5  # of answers refused, unreadable or missing, above which the run stops
    accept_missing: bool = False  # go on, and stay, without the answers that this model could not give

    @model_validator(mode="after")
    def _ours(self):
        taken = {"model", "messages", "system", "response_format", "output_config", "stream", "n"}
        if both := sorted(taken & self.parameters.keys()):
            raise ValueError(f"parameters: {', '.join(both)} is set by Assay itself")
        # neither value is repeated: it may be a secret
        if self.api_key_env and not re.fullmatch(r"[A-Za-z_]\w*", self.api_key_env):
            raise ValueError("api_key_env: name the environment variable that holds the key, not the key itself")
        if self.base_url and not re.fullmatch(r"https?://[^\s/@?#]+(/[^\s@?#]*)?", self.base_url):
            raise ValueError("base_url: http:// or https://, host and path; a key belongs into api_key_env")
        return self


class Judge(Called):
    name: Name
    backend: Literal["simulated", "recorded", "openai", "anthropic"] = "simulated"
    execution: Literal["online", "batch"] = "online"  # batch: cheaper, answers within a day, collected by a later run
    samples: Count = 2  # even and odd show the two orders; each two differ from the others in wording and neighbours
    efforts: list[Effort] = []  # of reasoning, in turn for two samples each
    answers: list[Answers] = []  # recorded
    accuracy: Share = 0.8  # simulated, without examples
    position_bias: Share = 0.05  # simulated, chance of answering "candidate_1" blindly
    browsing: bool = False
    labelled: list[str] = []  # sources whose original labels it made: there it is heard only where others are too few

    @model_validator(mode="after")
    def _complete(self):
        if self.backend in ("openai", "anthropic") and not self.model:
            raise ValueError(f"backend '{self.backend}' needs model")
        if self.backend == "recorded" and not self.answers:
            raise ValueError("backend 'recorded' needs answers")
        return self


class Panel(Part):
    judges: list[Judge] = Field(default=[], alias="panel")
    examples: Annotated[int, Field(ge=0, le=8)] = 8  # gold pairs in a prompt (spec 3.08)
    quorum: Count = 2  # judges with a voice below which there is no verdict
    # majority: one voice a judge (spec 3.10); stacking: weights fitted on gold; dawid_skene: on the votes alone
    aggregation: Literal["majority", "stacking", "dawid_skene"] = "majority"
    sure: Annotated[float, Field(ge=0.5, lt=1)] = 0.5  # probability up to which weights leave a pair undecided
    measure: Annotated[int, Field(ge=0)] = 100  # gold pairs an iteration that the panel labels too, to be measured

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @model_validator(mode="after")
    def _enough(self):
        if names := [j.name for j in self.judges if [k.name for k in self.judges].count(j.name) > 1]:
            raise ValueError(f"judge names must differ: {sorted(set(names))}")
        if 0 < len(self.judges) < self.quorum:
            raise ValueError(
                f"quorum is {self.quorum} but only {len(self.judges)} judges are configured; with one judge, quorum = 1"
            )
        if self.aggregation == "stacking" and not self.measure:
            raise ValueError("aggregation 'stacking' needs the judges' votes on gold: measure must be above 0")
        return self


class AttributeModel(Called):
    name: Name | None = None  # in tables and in the ledger; without it the model, or the back end
    backend: Literal["simulated", "heuristic", "openai", "anthropic"] = "simulated"
    error: Share = 0.05  # simulated: chance of a wrong category, objectivity or controversiality

    @model_validator(mode="after")
    def _complete(self):
        if self.backend in ("openai", "anthropic") and not self.model:
            raise ValueError(f"backend '{self.backend}' needs model")
        return self

    @property
    def label(self) -> str:
        return self.name or self.model or self.backend


class AttributeSettings(AttributeModel):
    """One model, or several under `panel`, whose answers are merged (spec 1.04); then nothing else stands here."""

    panel: list[AttributeModel] = []

    @model_validator(mode="after")
    def _one_way(self):
        if self.panel and (beside := sorted(self.model_fields_set - {"panel"})):
            raise ValueError(f"several models stand under attributes.panel alone; beside it: {', '.join(beside)}")
        labels = [m.label for m in self.models]
        if twice := sorted({n for n in labels if labels.count(n) > 1}):
            raise ValueError(f"attribute models must differ in name: {twice}")
        return self

    @property
    def models(self) -> list[AttributeModel]:
        return self.panel or [self]
