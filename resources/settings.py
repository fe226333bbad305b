"""The one file a user edits, `assay.toml`, as validated, immutable settings.

Every error names the key and what is allowed. `${NAME}` in a string is replaced by the environment variable NAME;
relative paths are relative to the file. Secrets never stand in it: a judge names the environment variable that holds
its key, and what a source says of itself keeps the name of a variable in the place of its value.
"""

import functools
import hashlib
import itertools
import json
import math
import os
import re
import tomllib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, ValidationInfo, model_validator

from curation.records import ambiguous

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]  # as far as the model knows them


VARIABLE = re.compile(r"\$\{(\w+)\}")
SECRET = 6  # characters; the value of a shorter variable is no secret, and stands in texts by chance


class ConfigError(Exception):
    """The configuration cannot be used; the message names file, key and what is allowed."""


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class LakeSettings(Part):
    path: Path = Path("lake")
    buckets: Annotated[int, Field(ge=1, le=64)] = 2  # more than 64 makes the UI slow
    memory_limit: Annotated[str, Field(pattern=r"^\d+(MB|GB)$")] = "2GB"
    threads: Count = 2


class World(Part):
    """The generated pool with planted truth (spec 14); its rows, people and judges are marked as simulated."""

    pairs: Annotated[int, Field(ge=200)] = 3000
    stage1_share: Annotated[float, Field(gt=0, lt=1)] = 0.25  # of the pairs, in the sources that feed stage 1


class Records(Part):
    """How the records of a file become comparisons: two responses to one conversation and which is better.

    `shape` names the adapter, `fields` which fields hold what, and `codes` which values of the winner, or of a single
    response's label, mean a (good), b (bad), a tie, both bad, or none of it. `where` is a DuckDB condition on the fields,
    `sample` keeps that many records, drawn by hash. `query` replaces `path` by DuckDB SQL over several files, whose
    relative names are relative to the configuration as well.

    `path` is a file, a folder that holds a Hugging Face data set, or `huggingface:<owner>/<name>@<commit>`; `config`
    and `split` choose within a data set.
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
        return self._origin or self.path or self.query

    def written_as(self, raw: dict[str, Any]) -> None:
        """Remembers the names of the environment variables in the configuration that this was validated from."""
        origin = raw.get("query") or raw.get("path")
        self._origin = origin.strip() if VARIABLE.search(origin) else None
        self._variables = _variables(raw)

    def hidden(self, text: str) -> str:
        """A text for people, such as an error, with the names of environment variables in the place of their values."""
        return _hidden(text, self._variables)

    @model_validator(mode="after")
    def _says_what_is_what(self):
        if empty := [name for name, path in self.fields.items() if not path.strip(".[] ")]:
            raise ValueError(f"fields.{empty[0]}: name a key, or a path of keys such as 'a.b', 'a[].b' or 'a[0]'")
        if both := ambiguous(self.codes):
            raise ValueError(f"codes: a value may mean one thing only, found {both}")
        return self


class Source(Records):
    name: Name
    licence: str = "unknown"
    redistribution: bool = False
    label_origin: Literal["human", "synthetic", "unknown"] = "unknown"
    stage: Literal["seed", "stage1", "stage2"] = "stage2"
    joined: Annotated[int, Field(ge=0, le=99)] = 0  # iteration of stage 1 with which it joins the pool (spec 0.05)
    priority: int = 100
    max_row_bytes: Count = 4_000_000


class Answers(Records):
    """Labels somebody once gave, joined to the pool by content: one comparison and a winner a record."""

    annotator: str = "recorded"
    annotator_field: str | None = None


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


class Price(Part):
    """Dollars per million tokens; a cache rate that is not given is the input rate. 0 for a model of your own."""

    input: Annotated[Decimal, Field(ge=0)]
    output: Annotated[Decimal, Field(ge=0)]
    cached_input: Annotated[Decimal, Field(ge=0)] | None = None
    cache_write: Annotated[Decimal, Field(ge=0)] | None = None
    cache_write_1h: Annotated[Decimal, Field(ge=0)] | None = None
    batch_factor: Annotated[Decimal, Field(gt=0, le=1)] = Decimal(1)


class Called(Part):
    """A model behind one of the SDKs and how it is asked."""

    model: str = ""
    base_url: str | None = None  # of a server of your own or of another provider
    api_key_env: str | None = None  # the environment variable that holds the key
    price: Price | None = None  # instead of the list price of genai-prices
    max_output_tokens: Count = 1024
    concurrency: Count = 8  # calls on their way at once
    structured: bool = True  # send the answer's JSON schema; false for a server that refuses it
    parameters: dict[str, Any] = {}  # further fields of the request as the server names them, such as temperature

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
        if len(self.judges) < self.quorum:
            raise ValueError(f"quorum is {self.quorum} but only {len(self.judges)} judges are configured")
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


class Embedding(Part):
    """`hashing` needs no model: hashed word n-grams, deterministic. `encoder` is a transformers folder or package."""

    backend: Literal["hashing", "encoder"] = "hashing"
    model: str = ""
    dimensions: Annotated[int, Field(ge=16, le=8192)] = 256


class Decontamination(Part):
    n: Annotated[int, Field(ge=5, le=50)] = 13
    scope: Literal["user", "all"] = "user"


class Gold(Part):
    """Shares of people's conversation clusters by role (curation/gold_roles.py); the rest trains the gold model."""

    few_shot: Share = 0.35  # examples for judges; the gold model learns from them too
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.15  # chooses checkpoints
    calibration: Share = 0.15  # fits the probability that a label is right
    test: Share = 0.10  # read by nothing but the final measure

    @model_validator(mode="after")
    def _leaves_some(self):
        if (total := self.few_shot + self.validation + self.calibration + self.test) > 1:
            raise ValueError(f"the shares sum to {total:g}, more than 1")
        if self.test + self.calibration >= 1 or (self.few_shot == 0 and total >= 1):
            raise ValueError("nothing is left to train the gold model on")
        return self


class Personal(Part):
    """The scan for personal data (spec 0.12): patterns, phone numbers, and names with a spaCy model; no network."""

    backend: Literal["none", "presidio"] = "none"
    model: str = ""  # installed spaCy package that finds names; without it no names are looked for
    regions: list[str] = ["US", "GB", "DE", "FR", "IN", "CN", "BR"]  # whose phone numbers without a country code
    least_score: Share = 0.4  # of the recogniser; a phone number without context has 0.4
    redact_from: Annotated[int, Field(ge=0, le=3)] = 1  # sensitivity from which the copies are redacted


def labels_needed(alpha: float, delta: float) -> int:
    """Labels without an error that show, with probability 1 - delta, that at most a share alpha is wrong.

    >>> labels_needed(0.1, 0.1)
    22
    """
    return math.ceil(math.log(delta) / math.log(1 - alpha))


class StopWhen(Part):
    """The loop stops when `iterations` in a row each gained less than `gain_below` on the same gold."""

    gain_below: Annotated[float, Field(gt=0)]  # of accuracy, 0.005 for half a point
    iterations: Count = 2


class Stage1(Part):
    iterations: Annotated[int, Field(ge=1, le=99)] = 2  # rounds after the seed round; more of them reopen none
    stop_when: StopWhen | None = None  # later iterations label nothing more
    seed_people: Count = 200
    seed_judges: Count = 300
    batch: Count = 300  # pairs an iteration
    people_share: Share = 0.3  # of a batch; the rest goes to the judges
    random_share: Share = 0.1  # of a batch drawn at random and labelled by people, so that estimates stay unbiased
    policy: Literal["paper", "d_optimal", "random"] = "paper"  # what chooses the rest (curation/selection.py)
    d_optimal_candidates: Count = 10_000  # d_optimal looks at this many, drawn at random
    k_max: Annotated[int, Field(ge=1, le=64)] = 8
    only_errors: bool = False  # only gold pairs the model has wrong may retrieve

    @model_validator(mode="after")
    def _people_get_what_is_random(self):
        if self.policy != "random" and self.random_share > self.people_share:
            raise ValueError(
                f"random_share is {self.random_share:g} but people, who label it, get {self.people_share:g} of a batch"
            )
        return self


class Stage2(Part):
    # paper: models and judges vote by `policy`; calibrated: keep and flip only where the error is bounded
    decision: Literal["paper", "calibrated"] = "paper"
    policy: Literal["symmetric", "flip_all", "direct_retain", "best_only", "gold_only", "both", "no_human"] = "symmetric"
    threshold: Annotated[float, Field(ge=0.5, le=1)] = 0.5  # p above which the best model agrees with a label
    band: Annotated[float, Field(ge=0, le=0.5)] = 0.0  # added to it; between the two sides it cannot tell
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.1  # calibrated: share of wrong labels that may be kept or flipped
    delta: Annotated[float, Field(gt=0, lt=1)] = 0.1  # calibrated: chance, a stratum and side, that the bound is missed
    # pairs that stage 2 decides about, drawn at random for people: half fits probabilities, half tests thresholds
    audit: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _has_labels_to_test_on(self):
        least = 2 * labels_needed(self.alpha, self.delta)
        if self.decision == "calibrated" and self.audit < least:
            raise ValueError(
                f"decision = 'calibrated' is tested on labels by people: audit must be at least {least} for alpha ="
                f" {self.alpha:g} and delta = {self.delta:g} (half of them tests, and each of three strata needs"
                f" {least // 2} without an error), found {self.audit}"
            )
        return self


class Backbone(Part):
    """What a reward model starts from: `path` is a transformers folder or `package:<module>`; without it a new
    Llama of this size with a tokenizer learned from the training pairs."""

    name: Name = "tiny-llama"
    path: str | None = None
    hidden: Count = 64
    layers: Count = 2
    heads: Count = 4
    vocabulary: Count = 2048
    keep_layers: Count | None = None  # of a pretrained backbone, the lower ones; None keeps all
    trainable_layers: Count | None = None  # None trains everything


class Recipe(Part):
    """One training run. Paper: dev lr 4e-6, batch 256, linear; final lr 3e-6, batch 10,240, constant (spec 6)."""

    epochs: Annotated[float, Field(gt=0)] = 1
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    head_learning_rate: Annotated[float, Field(gt=0)] | None = None
    schedule: Literal["linear", "constant"] = "linear"
    warmup: Share = 0.05
    batch_pairs: Count = 32
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    centring: Annotated[float, Field(ge=0)] = 0.0  # pull of each pair's two rewards towards zero mean
    evaluations: Annotated[int, Field(ge=0)] = 4  # times the validation pairs are scored on the way
    max_pairs: Count | None = None

    @model_validator(mode="before")
    @classmethod
    def _profile(cls, values):
        """`profile = "final"` stands for the paper's values; keys beside it override them."""
        if not isinstance(values, dict) or "profile" not in values:
            return values
        from training.profiles import recipe_of

        given = {k: v for k, v in values.items() if k != "profile"}
        return {**recipe_of(values["profile"]), **given}


# keys of [training] that change no model
BESIDE_THE_POINT = (
    "arms", "seeds", "gradient_checkpointing", "ranks", "launcher", "nodes", "rendezvous", "hostfile", "checkpoint_steps",
)  # fmt: skip


class Training(Part):
    backbone: Backbone = Backbone()
    max_tokens: Annotated[int, Field(ge=16, le=131072)] = 512
    tokens_per_microbatch: Count = 4096
    zero_stage: Literal[0, 1, 2, 3] = 1
    gradient_checkpointing: bool = False  # activations are computed again on the way back: less memory, a third more work
    ranks: Count = 1  # processes on a machine, one a GPU
    launcher: Literal["torchrun", "deepspeed"] = "torchrun"
    nodes: Count = 1  # machines, which share the lake's file system
    rendezvous: str | None = None  # torchrun on several: host:port of one, where all run the same command
    hostfile: Path | None = None  # deepspeed on several: its list of machines ("host slots=8"), reached over ssh
    checkpoint_steps: Count | None = None  # state to resume from is written this often; None: never
    loop: Recipe = Recipe()
    gold: Recipe = Recipe()
    final: Recipe = Recipe()

    @model_validator(mode="after")
    def _machines(self):
        if self.launcher == "torchrun" and (self.nodes > 1) != (self.rendezvous is not None):
            raise ValueError("torchrun on several nodes needs both nodes and rendezvous = 'host:port'")
        if self.launcher == "torchrun" and self.hostfile:
            raise ValueError("hostfile belongs to launcher = 'deepspeed'")
        if self.launcher == "deepspeed" and ((self.nodes > 1) != (self.hostfile is not None) or self.rendezvous):
            raise ValueError("deepspeed on several nodes needs both nodes and hostfile, and no rendezvous")
        return self

    # what final models are trained on: the pool as it came, a random part of it as large as `filtered` (the null test),
    # the curated release, the release with flips; soft: all scored pairs as they came, with calibrated probabilities
    arms: list[Literal["original", "random", "filtered", "corrected", "soft"]] = ["original", "random", "filtered", "corrected"]
    seeds: Annotated[int, Field(ge=1, le=99)] = 1  # final models of each arm, by seed, seed + 1, …; 3 for a claim


class Benchmark(Part):
    """`path` is a file, a folder, a pattern, or `huggingface:<owner>/<name>@<commit>`; without it the loader's default.

    `sample` scores that many items, drawn by hash; `excerpt` allows subsets with fewer items than were published.
    """

    name: Name
    loader: Literal[
        "planted",
        "reward_bench",
        "reward_bench_2",
        "ppe_preference",
        "ppe_correctness",
        "rmb_pairwise",
        "rmb_bon",
        "rm_bench",
        "judgebench",
    ] = "planted"
    path: str = ""
    sample: Count | None = None
    excerpt: bool = False


class Evaluation(Part):
    over_length: Literal["cut", "wrong"] = "cut"  # what is too long for the model: its end alone is read, or it loses


class Reference(Part):
    """Labels the run is measured against, read by the report alone."""

    answers: list[Answers] = []


class Budget(Part):
    dollars: Annotated[float, Field(ge=0)] = 0.0  # hard stop for paid calls: no call that could overstep it is made
    # dollars of paid calls in all, as expected, above which somebody must agree before a step; None never asks
    confirm_above: Annotated[float, Field(ge=0)] | None = None


class Settings(Part):
    name: Name = "assay"
    base: Path = Path(".")  # the configuration's folder; set by `load`
    seed: int = 0
    lake: LakeSettings = LakeSettings()
    world: World | None = None
    sources: Annotated[list[Source], Field(min_length=1)]
    decontamination: Decontamination = Decontamination()
    personal: Personal = Personal()
    attributes: AttributeSettings = AttributeSettings()
    embedding: Embedding = Embedding()
    people: People = People()
    judges: Panel
    gold: Gold = Gold()
    stage1: Stage1 = Stage1()
    stage2: Stage2 = Stage2()
    training: Training = Training()
    benchmarks: list[Benchmark] = []
    evaluation: Evaluation = Evaluation()
    reference: Reference = Reference()
    budget: Budget = Budget()

    @model_validator(mode="after")
    def _consistent(self):
        names = [s.name for s in self.sources]
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise ValueError(f"source names must differ: {twice}")
        names = [b.name for b in self.benchmarks]
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise ValueError(f"benchmark names must differ: {twice}")
        if self.world is None:
            users = ["people"] * (self.people.backend == "simulated") + [
                f"judges.{j.name}" for j in self.judges.judges if j.backend == "simulated"
            ]
            users += ["attributes"] * any(m.backend == "simulated" for m in self.attributes.models)
            if users:
                raise ValueError(f"{', '.join(users)}: backend 'simulated' needs a [world] with planted truth")
        return self

    def section_hash(self, *sections: str) -> str:
        """16 hex digits over the named top-level sections; equal settings give equal hashes on every machine.

        The lake's path is not part of it, nor how many final models there are, on what machines they are trained, and
        how many iterations there may be: moving a lake, adding a seed or an iteration makes nothing stale.
        """
        whole = self.model_dump(mode="json")
        whole["lake"].pop("path")
        whole["stage1"].pop("iterations")
        for key in BESIDE_THE_POINT:
            whole["training"].pop(key)
        return self._hash({s: whole[s] for s in sorted(sections)})

    def source_hash(self, name: str) -> str:
        """As `section_hash`, over the whole configuration of one source."""
        return self._hash(next(s for s in self.sources if s.name == name).model_dump(mode="json"))

    def _hash(self, values: dict) -> str:
        data = json.dumps(values, sort_keys=True).replace(f"{self.base}/", "")
        return hashlib.blake2b(data.encode(), digest_size=8).hexdigest()

    def partition_keys(self, kind: str) -> list[str]:
        """The partitions of one kind, zero-padded so that their string order is their order.

        >>> settings.partition_keys("benchmark|model")
        ['rm-bench|original', 'rm-bench|filtered', …]
        """
        if "|" in kind:
            return ["|".join(keys) for keys in itertools.product(*map(self.partition_keys, kind.split("|")))]
        match kind:
            case "source":
                return [s.name for s in self.sources]
            case "bucket":
                return [f"b{i:02d}" for i in range(self.lake.buckets)]
            case "iteration":
                return [f"iter_{i:02d}" for i in range(self.stage1.iterations + 1)]
            case "model":
                numbers = range(1, self.training.seeds + 1)
                return [a if n == 1 else f"{a}-{n}" for a in self.training.arms for n in numbers]
            case "benchmark":
                return [b.name for b in self.benchmarks]
        raise ValueError(f"no such partition kind: {kind!r}")


def _interpolate(value: Any, key: str) -> Any:
    if isinstance(value, dict):
        return {k: _interpolate(v, f"{key}.{k}" if key else k) for k, v in value.items()}
    if isinstance(value, list):
        return [_interpolate(v, f"{key}[{i}]") for i, v in enumerate(value)]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match) -> str:
        if match[1] not in os.environ:
            raise ConfigError(f"{key}: the environment variable {match[1]} is not set")
        return os.environ[match[1]]

    return VARIABLE.sub(replace, value)


def _variables(raw: Any) -> list[tuple[str, re.Pattern]]:
    """The environment variables that a configuration names, and what finds their values, or lines of them, in a text."""
    values = {name: os.environ.get(name, "") for name in VARIABLE.findall(json.dumps(raw, ensure_ascii=False, default=str))}
    lines = {(line.strip(), name) for name, value in values.items() for line in (value, *value.splitlines())}
    lines = {(line.replace("''", "'"), name) for line, name in lines if len(line) >= SECRET}
    return [(name, re.compile("".join(map(_spelt, line)))) for line, name in sorted(lines, key=lambda v: (-len(v[0]), v))]


def _spelt(character: str) -> str:
    """A pattern of a character as Python, JSON, SQL and addresses write it."""
    ways = {character, repr(character)[1:-1], json.dumps(character)[1:-1], quote(character, "", errors="surrogateescape")}
    ways |= {2 * character, f"\\{character}"} if character in "'\"" else set()
    return f"(?:{'|'.join(map(re.escape, sorted(ways, key=len, reverse=True)))})" if len(ways) > 1 else re.escape(character)


def _hidden(text: str, variables: list[tuple[str, re.Pattern]]) -> str:
    for name, value in variables:
        text = value.sub(f"${{{name}}}", text)
    return text


def _anchor(value: Any, folder: Path) -> Any:
    """The same configuration with every relative `path` of a file made absolute; `{world}` and `scheme:` stay."""
    if isinstance(value, list):
        return [_anchor(v, folder) for v in value]
    if not isinstance(value, dict):
        return value

    def absolute(key: str, v: Any) -> Any:
        if key != "path" or not isinstance(v, str) or not v or re.match(r"/|\{|[a-z]+:", v):
            return _anchor(v, folder)
        return str(folder / v)

    return {k: absolute(k, v) for k, v in value.items()}


def _explain(error: ValidationError, variables: list[tuple[str, re.Pattern]]) -> str:
    lines = []
    for e in error.errors():
        key = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in e["loc"]).lstrip(".") or "(whole file)"
        quiet = e["type"] in ("missing", "value_error", "extra_forbidden")  # what stands under an unknown key may be a secret
        found = "" if quiet else f", found {_hidden(json.dumps(e['input'], default=str), variables)[:80]}"
        message = {"extra_forbidden": "no such key", "missing": "this key is required"}.get(e["type"], e["msg"])
        lines.append(f"{key}: {_hidden(message, variables)}{found}")
    return "\n  ".join(lines)


def _as_written(part: Any, raw: Any) -> Iterator[tuple[Records, dict]]:
    """Every part of the configuration that is read from a path or a query, beside the part of the file it stands in."""
    if isinstance(part, Records):
        yield part, raw
    elif isinstance(part, list):
        for one, written in zip(part, raw, strict=True):
            yield from _as_written(one, written)
    elif isinstance(part, Part):
        for name, field in type(part).model_fields.items():
            key = name if name in raw else field.alias
            if key in raw:
                yield from _as_written(getattr(part, name), raw[key])


def load(path: str | Path) -> Settings:
    """Read and validate one configuration.

    Raises:
        ConfigError: the file is missing, is no TOML, or a key is unknown, missing or out of range.
    """
    path = Path(path).resolve()
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise ConfigError(f"{path}: cannot be read: {e.strerror}") from e
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path}: not valid TOML: {e}") from e
    try:
        anchored = _anchor(_interpolate(raw, ""), path.parent) | {"base": path.parent}
        settings = Settings.model_validate(anchored, context={"folder": path.parent})
    except ConfigError as e:
        raise ConfigError(f"{path}:\n  {e}") from None
    except ValidationError as e:
        raise ConfigError(f"{path}:\n  {_explain(e, _variables(raw))}") from None
    for records, written in _as_written(settings, raw):
        records.written_as(written)
    lake = settings.lake.model_copy(update={"path": path.parent / settings.lake.path})
    people = settings.people.model_copy(update={"folder": path.parent / settings.people.folder})
    return settings.model_copy(update={"lake": lake, "people": people})


@functools.cache
def current() -> Settings:
    """The settings of this process: the file named by ASSAY_CONFIG, else assay.toml in the current folder."""
    return load(os.environ.get("ASSAY_CONFIG", "assay.toml"))
