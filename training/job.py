"""What the training and the scoring program are told: one frozen, validated model from the configuration to the program.

Whoever starts a program builds a job and writes it whole (`write`); the program reads and checks it whole (`read`).
"""

import warnings
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from training.atomic import replace
from training.backbone import kept_of

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]

TrackerName = Literal["tensorboard", "wandb", "mlflow", "trackio"]

# Keys that are still read under the name they had before.
FORMER = {"batch_pairs": "global_batch_size", "centring": "center_rewards_coefficient"}


class Frozen(BaseModel):
    # Instances are validated again, so that a job holds these classes whatever was derived from them.
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True, revalidate_instances="always")


class Job(Frozen):
    def write(self, path: Path) -> None:
        """Put the whole job in place at once."""
        replace(path, self.model_dump_json(indent=1).encode())

    @classmethod
    def read(cls, path: Path) -> Self:
        """A job as it was written.

        Raises:
            ValueError: it is no such job; the message names every key that is wrong.
        """
        return cls.model_validate_json(path.read_bytes())


def renamed(values: dict) -> dict:
    """A recipe's values under the names of today; a former name is a warning.

    Raises:
        ValueError: a value is given under both names.
    """
    for old in sorted(FORMER.keys() & values.keys()):
        if FORMER[old] in values:
            raise ValueError(f"{old} is the former name of {FORMER[old]}, and both are given")
        text = f"{old} is called {FORMER[old]} now; the former name is read in this release for the last time"
        warnings.warn(text, FutureWarning, stacklevel=2)
    return {FORMER.get(k, k): v for k, v in values.items()}


class Backbone(Frozen):
    """What a reward model starts from: `path` is a transformers folder or `package:<module>`; without it a new
    Llama of this size with a tokenizer learned from the training pairs.

    A folder that holds a reward model (one output) keeps its head, its template and the token it is read at: training
    goes on from its rewards.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")] = "tiny-llama"
    path: str | None = None
    hidden: Count = 64
    layers: Count = 2
    heads: Count = 4
    vocabulary: Count = 2048
    keep_layers: Count | None = None  # of a pretrained backbone, the lower ones; None keeps all
    trainable_layers: Count | None = None  # None trains everything
    # what an encoder's head is given: the mean over all tokens, or the first token; None: the mean where it can be had
    pooling: Literal["mean", "cls"] | None = None


class Lora(Frozen):
    """Low-rank adapters in the place of the body's weights: the head is trained whole. What is exported is merged."""

    rank: Count = 16
    alpha: Count = 32  # adapters are scaled by alpha / rank
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0  # noise between two responses teaches noise
    # names of the layers that get one; None: every linear layer but the head
    layers: list[str] | None = None


class TrainRecipe(Frozen):
    """One training run. Paper: dev lr 4e-6, batch 256, linear; final lr 3e-6, batch 10,240, constant (spec 6)."""

    epochs: Positive = 1
    learning_rate: Positive = 1e-3
    head_learning_rate: Positive | None = None
    schedule: Literal["linear", "constant"] = "linear"
    warmup: Annotated[float, Field(ge=0, le=1)] = 0.05
    global_batch_size: Count = 32  # pairs of an optimizer step, over all ranks
    weight_decay: NotNegative = 0.0
    max_grad_norm: Positive = 1.0
    center_rewards_coefficient: NotNegative = 0.0  # pull of each pair's two rewards towards zero mean
    evaluations: Annotated[int, Field(ge=0)] = 4  # times the validation pairs are scored on the way
    max_pairs: Count | None = None
    lora: Lora | None = None  # None trains all weights

    @model_validator(mode="before")
    @classmethod
    def _former(cls, values):
        return renamed(values) if isinstance(values, dict) else values


class Setup(Frozen):
    """What all trainings of a configuration have in common."""

    backbone: Backbone = Backbone()
    max_tokens: Annotated[int, Field(ge=16, le=131072)] = 512
    tokens_per_microbatch: Count = 4096
    zero_stage: Literal[0, 1, 2, 3] = 1
    # activations are computed again on the way back: less memory, a third more work
    gradient_checkpointing: bool = False
    checkpoint_steps: Count | None = None  # state to resume from is written this often; None: never
    trackers: list[TrackerName] = ["tensorboard"]  # where metrics go beside metrics.jsonl (see trackers)


class Facts(Frozen):
    """What an exported model says of its origin."""

    name: str = ""
    data_hash: str = ""
    recipe_hash: str = ""


class TrainJob(Setup, Job):
    """One run of the training program.

    Attributes:
        train: Parquet (pair_id, conversation, chosen, rejected[, weight][, target][, margin]).
        validation: Parquet (pair_id, conversation, chosen, rejected) that chooses the checkpoint; None keeps the last.
        seed: of the head and of the order of the pairs.
        out: folder of the result.
    """

    train: Path
    validation: Path | None = None
    recipe: TrainRecipe = TrainRecipe()
    seed: int = 0
    out: Path
    facts: Facts = Facts()

    @field_validator("recipe", mode="before")
    @classmethod
    def _what_the_program_knows(cls, value):
        """Of a recipe with more to it than the program is told, the rest."""
        if isinstance(value, TrainRecipe) and type(value) is not TrainRecipe:
            return {k: v for k, v in value.model_dump().items() if k in TrainRecipe.model_fields}
        return value


class ScoreJob(Job):
    """One run of the scoring program.

    Attributes:
        models: folders of exported models by name.
        items: Parquet, pairs (pair_id, conversation, chosen, rejected) or responses (item_id, conversation, response).
        out: folder of the parts.
        max_tokens: what is longer has no reward; None: what each model says of itself.
        cut: what is too long loses its beginning instead.
        part_rows: rows of a part.
        features: pairs also get what the reward head is given.
    """

    models: dict[str, Path]
    items: Path
    out: Path
    tokens_per_microbatch: Count = 4096
    max_tokens: Count | None = None
    cut: bool = False
    part_rows: Count = 2048
    features: bool = False


def decisive(setup: Setup, recipe: TrainRecipe) -> dict:
    """What makes a model beside its pairs and its seed, as JSON values: the hash of it names the model.

    Keys that were renamed keep the name that the first models were hashed by, and what was added later counts where it
    changes the model only, so that a model made before is found again.

    Raises:
        FileNotFoundError: there is no such backbone.
        ValueError: the backbone cannot pool as it is told to.
    """
    former = {new: old for old, new in FORMER.items()}
    return {
        "backbone": setup.backbone.model_dump(mode="json", exclude={"pooling"}) | kept_of(setup.backbone),
        "recipe": {
            former.get(k, k): v
            for k, v in recipe.model_dump(mode="json").items()
            if k in TrainRecipe.model_fields and not (k == "lora" and v is None)
        },
        "max_tokens": setup.max_tokens,
        "tokens_per_microbatch": setup.tokens_per_microbatch,
        "zero_stage": setup.zero_stage,
    }
