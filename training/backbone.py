"""What a backbone's folder says of itself, read without loading it."""

import contextlib
import importlib.util
import json
from collections.abc import Generator
from pathlib import Path
from typing import Literal, Protocol

# Encoders whose classifier can be told to average; of the others, those whose layers can hold an average (see pooling).
AVERAGING = ("modernbert", "eurobert")
LAYERED = ("bert", "roberta", "xlm-roberta", "camembert")
EVERY_TOKEN = "mean over all tokens"  # `reward` of reward.json


class Named(Protocol):
    """A backbone of a configuration (see job)."""

    @property
    def path(self) -> str | None: ...

    @property
    def pooling(self) -> Literal["mean", "cls"] | None: ...


def folder_of(path: str) -> Path:
    """The folder of a backbone: a path, or ``package:NAME`` for one that comes inside an installed package.

    Raises:
        FileNotFoundError: there is none; the message names what was looked for.
    """
    if path.startswith("package:"):
        name = path.removeprefix("package:")
        spec = importlib.util.find_spec(name)
        if spec is None or not spec.submodule_search_locations:
            raise FileNotFoundError(f"backbone {path}: the package {name} is not installed")
        found = sorted(
            p.parent
            for root in spec.submodule_search_locations
            for p in Path(root).rglob("config.json")
            if (p.parent / "tokenizer.json").exists()
        )
        if not found:
            raise FileNotFoundError(f"backbone {path}: the package holds no folder with config.json and tokenizer.json")
        return found[0]
    if not (Path(path) / "config.json").exists():
        raise FileNotFoundError(f"backbone {path}: no such folder, or no config.json in it")
    return Path(path)


def config_of(folder: Path) -> dict:
    """A folder's `config.json`."""
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))


@contextlib.contextmanager
def without_its_code(folder: Path) -> Generator[None]:
    """Code that a folder brings along is never run; where transformers would need it, that is said.

    Raises:
        ValueError: transformers does not know what the folder holds.
    """
    try:
        yield
    except ValueError as e:
        if "trust_remote_code" not in str(e):
            raise
        kind = config_of(folder).get("model_type")
        raise ValueError(
            f"{folder}: transformers does not know the model type {kind!r} without code that the folder brings along, and"
            " such code is never run here: use a version of the model, or of transformers, that needs none"
        ) from None


def outputs_of(config: dict) -> int:
    """Outputs of a classifier; transformers writes their names only, and takes two where there are none."""
    return len(config["id2label"]) if "id2label" in config else config.get("num_labels", 2)


def is_reward_model(folder: Path) -> bool:
    """Whether a folder holds a sequence classifier with one output, or a token classifier that is read as one."""
    config = config_of(folder)
    classifier = any(a.endswith("ForSequenceClassification") for a in config.get("architectures") or ())
    return (classifier or reads_every_token(folder)) and outputs_of(config) == 1


def reads_every_token(folder: Path) -> bool:
    """Whether a folder holds a reward model whose reward is the mean over its outputs for all tokens: a linear head on
    the mean state, of a network that no sequence classifier averages."""
    path = folder / "reward.json"
    return path.exists() and json.loads(path.read_text(encoding="utf-8")).get("reward") == EVERY_TOKEN


def pooling_of(backbone: Named) -> Literal["mean", "cls"] | None:
    """What the head of an encoder is given; None for what is no encoder, or has its head already.

    Raises:
        FileNotFoundError: there is no such backbone.
        ValueError: it cannot pool as it is told to.
    """
    folder = folder_of(backbone.path) if backbone.path is not None else None
    kind = config_of(folder).get("model_type") if folder else None
    if folder is None or kind not in AVERAGING + LAYERED or is_reward_model(folder):
        if backbone.pooling == "mean":
            why = "holds a reward model, whose head is kept" if folder and is_reward_model(folder) else f"is {kind}"
            able = ", ".join(AVERAGING + LAYERED)
            raise ValueError(f"backbone.pooling = 'mean': {backbone.path} {why}; it is for new heads on {able}")
        return None
    return backbone.pooling or "mean"


def kept_of(backbone: Named) -> dict[str, str]:
    """What of a backbone's folder decides the model beside its path: a head that is kept, an average.

    Raises:
        FileNotFoundError: there is no such backbone.
        ValueError: it cannot pool as it is told to.
    """
    pooling = pooling_of(backbone)
    if backbone.path is not None and is_reward_model(folder_of(backbone.path)):
        return {"head": "kept"}
    return {"pooling": pooling} if pooling == "mean" else {}
