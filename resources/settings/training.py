"""How reward models are trained."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PrivateAttr, model_validator

from resources.settings.base import Count
from training import job
from training.job import Backbone

__all__ = ["BESIDE_THE_POINT", "Backbone", "Recipe", "Training"]


Head = Literal["frozen", "fine-tuned"]


class Recipe(job.TrainRecipe):
    """One training run. Paper: dev lr 4e-6, batch 256, linear; final lr 3e-6, batch 10,240, constant (spec 6)."""

    # frozen: a linear head on the backbone's middle layers, of this section only max_pairs counts; fine-tuned: by
    # DeepSpeed, all of this section counts; None: as training.head says
    head: Head | None = None
    _rate_of_dev: bool = PrivateAttr(default=False)  # which depends on the backbone

    @model_validator(mode="wrap")
    @classmethod
    def _profile(cls, values, made):
        """`profile = "final"` stands for the paper's values; keys beside it override them."""
        if not isinstance(values, dict) or "profile" not in values:
            return made(values)
        from training.profiles import recipe_of

        given = job.renamed({k: v for k, v in values.items() if k != "profile"})
        recipe = made({**recipe_of(values["profile"]), **given})
        recipe._rate_of_dev = values["profile"] == "dev" and "learning_rate" not in given
        return recipe


Arms = Literal[
    "original", "random", "filtered", "corrected", "soft", "gold", "oracle",
    "original_with_gold", "random_with_gold", "filtered_with_gold", "corrected_with_gold", "soft_with_gold",
    "oracle_with_gold",
]  # fmt: skip
# keys of [training] that change no model
BESIDE_THE_POINT = (
    "arms",
    "seeds",
    "gradient_checkpointing",
    "ranks",
    "tokenizer_processes",
    "launcher",
    "nodes",
    "rendezvous",
    "hostfile",
    "checkpoint_steps",
    "trackers",
)


class Training(job.Setup):
    ranks: Count = 1  # processes on a machine, one a GPU
    # processes of this machine that turn texts into tokens before a training starts; None: its ranks do it
    tokenizer_processes: Count | None = None
    # slurm: by srun, in the allocation that the run stands in or in one of its own; options of srun by its variables, such
    # as SLURM_PARTITION; ray: ranks * nodes processes wherever the cluster of RAY_ADDRESS has room
    launcher: Literal["torchrun", "deepspeed", "slurm", "ray"] = "torchrun"
    nodes: Count = 1  # machines, which share the lake's file system
    rendezvous: str | None = None  # torchrun on several: host:port of the one that Assay runs on, which rank 0 is on
    hostfile: Path | None = None  # deepspeed on several: its list of machines ("host slots=8"), reached over ssh
    # of all reward models that do not say it themselves; left out, it is chosen (resources/settings/left_out.py)
    head: Head | None = None
    loop: Recipe = Recipe()
    gold: Recipe = Recipe()
    final: Recipe = Recipe()
    # what final models are trained on: the pool as it came, a random part of it as large as `filtered` (the null test),
    # the curated release, the release with flips; soft: all scored pairs as they came, with calibrated probabilities; gold:
    # people's labels alone; oracle: the generated pool in its planted order; <arm>_with_gold: people's labels beside it
    arms: list[Arms] = ["original", "random", "filtered", "corrected", "gold", "original_with_gold"]
    seeds: Annotated[int, Field(ge=1, le=99)] = 1  # final models of each arm, by seed, seed + 1, …; 3 for a claim

    @model_validator(mode="before")
    @classmethod
    def _rate_of_large_backbones(cls, values):
        """`profile = "dev"` means the paper's lower learning rate where the backbone has 8B parameters by its name."""
        backbone = values.get("backbone") if isinstance(values, dict) else None
        path = str(backbone.get("path", "")) if isinstance(backbone, dict) else ""
        if _dev_of(path) == "dev":
            return values
        return {
            name: part | {"profile": _dev_of(path)} if isinstance(part, dict) and part.get("profile") == "dev" else part
            for name, part in values.items()
        }

    @model_validator(mode="after")
    def _machines(self):
        if self.launcher == "torchrun" and (self.nodes > 1) != (self.rendezvous is not None):
            raise ValueError("torchrun on several nodes needs both nodes and rendezvous = 'host:port'")
        if self.launcher == "torchrun" and self.hostfile:
            raise ValueError("hostfile belongs to launcher = 'deepspeed'")
        if self.launcher in ("slurm", "ray") and (self.rendezvous or self.hostfile):
            raise ValueError(
                f"launcher = '{self.launcher}' knows its machines: it takes neither rendezvous nor hostfile"
            )
        if self.launcher == "deepspeed" and ((self.nodes > 1) != (self.hostfile is not None) or self.rendezvous):
            raise ValueError("deepspeed on several nodes needs both nodes and hostfile, and no rendezvous")
        return self

    def with_final(self, recipe: Recipe | None, backbone: Backbone | None = None) -> "Training":
        """The section with another recipe of final models. Where they start from another backbone they are trained whole:
        heads on frozen layers share the states of the pool's texts, which one backbone has read
        (spec 7.17)."""
        from training.profiles import recipe_of

        final = recipe or self.final
        if final._rate_of_dev:
            rate = recipe_of(_dev_of(str((backbone or self.backbone).path)))["learning_rate"]
            final = final.model_copy(update={"learning_rate": rate})
        if backbone is None:
            return self.model_copy(update={"final": final})
        tuned = final.model_copy(update={"head": "fine-tuned"})
        return self.model_copy(update={"final": tuned, "backbone": backbone})

    def head_of(self, kind: Literal["loop", "gold", "final"]) -> Head:
        """How the models of a kind are made."""
        return getattr(self, kind).head or self.head or "fine-tuned"

    @property
    def frozen(self) -> bool:
        """Whether any model is a head on frozen layers, so that states of texts are needed."""
        return any(self.head_of(kind) == "frozen" for kind in ("loop", "gold", "final"))

    @property
    def setup(self) -> dict:
        """What a training job has in common with this section."""
        return {name: getattr(self, name) for name in job.Setup.model_fields}


def _dev_of(backbone: str) -> str:
    """The paper's `dev` for a backbone: one of 8B parameters, by its name, has a rate of its own (spec 6.03)."""
    return "dev-8b" if re.search(r"(?<![\d.])8b(?![a-z])", backbone, re.IGNORECASE) else "dev"
