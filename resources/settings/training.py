"""How reward models are trained."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from resources.settings.base import Count, Name, Part, Share


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
    "arms",
    "seeds",
    "gradient_checkpointing",
    "ranks",
    "launcher",
    "nodes",
    "rendezvous",
    "hostfile",
    "checkpoint_steps",
)


class Training(Part):
    backbone: Backbone = Backbone()
    max_tokens: Annotated[int, Field(ge=16, le=131072)] = 512
    tokens_per_microbatch: Count = 4096
    zero_stage: Literal[0, 1, 2, 3] = 1
    gradient_checkpointing: bool = (
        False  # activations are computed again on the way back: less memory, a third more work
    )
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
    arms: list[Literal["original", "random", "filtered", "corrected", "soft"]] = [
        "original",
        "random",
        "filtered",
        "corrected",
    ]
    seeds: Annotated[int, Field(ge=1, le=99)] = 1  # final models of each arm, by seed, seed + 1, …; 3 for a claim
