"""Where pairs and recorded labels come from."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field, PrivateAttr, ValidationInfo, model_validator

from curation.codes import ambiguous
from resources.settings.base import Count, Name, Part
from resources.settings.secrets import VARIABLE, _hidden, _variables


class Records(Part):
    """How the records of a file become comparisons: two responses to one conversation and which is better.

    `shape` names the adapter, `fields` which fields hold what, and `codes` which values of the winner, or of a single
    response's label, mean a (good), b (bad), a tie, both bad, or none of it. `where` is a DuckDB condition on the fields,
    `sample` keeps that many records, drawn by hash. `query` replaces `path` by DuckDB SQL over several files, whose
    relative names are relative to the configuration as well.

    `path` is a file, several by a pattern (`part-*.jsonl`), a folder that holds a Hugging Face data set, or
    `huggingface:<owner>/<name>@<commit>`; `config` and `split` choose within a data set.
    """

    path: str | None = None
    query: str | None = None
    config: str | None = None
    split: str | None = None
    shape: Literal["pair", "winner", "scores", "ranking", "tree", "unpaired"] = "pair"
    fields: dict[str, str] = {}
    codes: dict[Literal["a", "b", "tie", "both_bad", "none"], list[Any]] = {}
    where: str | None = None
    sample: Count | None = None
    _folder: Path = PrivateAttr(Path("."))
    _origin: str | None = PrivateAttr(None)
    _variables: list[tuple[str, re.Pattern]] = PrivateAttr(default_factory=list)

    @model_validator(mode="after")
    def _one_origin(self):
        if (self.path is None) == (self.query is None):
            raise ValueError("give either path or query")
        if "" in (self.path, self.query):
            raise ValueError("path and query must not be empty")
        return self

    @model_validator(mode="after")
    def _where_it_stands(self, info: ValidationInfo):
        self._folder = (info.context or {}).get("folder", self._folder)
        return self

    @property
    def folder(self) -> Path:
        """What relative names in `query` are relative to: the configuration's folder."""
        return self._folder

    @property
    def origin(self) -> str:
        """The path or query; where it names environment variables, as it is written."""
        return self._origin or self.path or self.query or ""

    def written_as(self, raw: dict[str, Any]) -> None:
        """Remembers the names of the environment variables in the configuration that this was validated from."""
        origin = str(raw.get("query") or raw.get("path") or "")
        self._origin = origin.strip() if VARIABLE.search(origin) else None
        self._variables = _variables(raw)

    def hidden(self, text: str) -> str:
        """A text for people, such as an error, with the names of environment variables in the place of their values."""
        return _hidden(text, self._variables)

    @model_validator(mode="after")
    def _says_what_is_what(self):
        if empty := [name for name, path in self.fields.items() if not path.strip(".[] ")]:
            raise ValueError(f"fields.{empty[0]}: name a key, or a path of keys such as 'a.b', 'a[].b' or 'a[0]'")
        if both := ambiguous({str(meaning): values for meaning, values in self.codes.items()}):
            raise ValueError(f"codes: a value may mean one thing only, found {both}")
        return self


class Source(Records):
    name: Name
    license: str = Field("unknown", validation_alias=AliasChoices("license", "licence"))
    redistribution: bool = False
    label_origin: Literal["human", "synthetic", "unknown"] = "unknown"
    stage: Literal["seed", "stage1", "stage2"] = "stage2"
    joined: Annotated[int, Field(ge=0, le=99)] = 0  # iteration of stage 1 with which it joins the pool (spec 0.05)
    priority: int = 100
    max_row_bytes: Count = 4_000_000
    required: bool = False  # whether a run must stop where the source gives no pair


class Answers(Records):
    """Labels somebody once gave, joined to the pool by content: one comparison and a winner a record."""

    annotator: str = "recorded"
    annotator_field: str | None = None
