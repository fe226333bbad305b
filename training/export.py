"""The exported reward model: a folder that plain transformers loads, with equal scores."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from training.atomic import beside, replace, replace_folder, write_json
from training.backbone import EVERY_TOKEN, LAYERED
from training.frozen import FrozenRewardModel
from training.lora import merged
from training.model import RewardModel
from training.pooling import add_averaging_layer, read_linearly
from training.states import cut_at, template_of

CARD = """---
library_name: transformers
pipeline_tag: text-classification
tags: [reward-model, bradley-terry]
---
# Reward model {name}

A pointwise Bradley-Terry reward model: one real number for a whole conversation, higher is better. Only differences
between responses to the same conversation mean something.

| | |
|---|---|
| backbone | {backbone} |
| training pairs | {pairs} (hash `{data_hash}`) |
| recipe hash | `{recipe_hash}` |
| steps, kept step | {steps}, {best_step} |
| accuracy on validation pairs | {accuracy} |
| longest input | {max_tokens} tokens; longer ones are refused, not cut |

```python
from transformers import AutoModelForSequenceClassification, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForSequenceClassification.from_pretrained(folder)
text = tokenizer.apply_chat_template(turns, tokenize=False)  # no system prompt; the last turn is the response
reward = model(**tokenizer(text, return_tensors="pt")).logits[0, 0]
```
{bos}{served}
## Limits
One scalar cannot hold conflicting preferences. The labels of filters and judges carry their bias into the model.
Rewards outside the domain of the training pairs, and of inputs with a system prompt, are not calibrated.
"""


SERVED = """
vLLM serves it (0.12 or later; without the last option it answers with a sigmoid of the reward):

```
vllm serve FOLDER --runner pooling --convert classify --pooler-config '{"use_activation": false}'
curl localhost:8000/classify -H 'content-type: application/json' -d '{"model": "FOLDER", "input": "TEXT"}'
```

TEXT is what the chat template writes. The reward is `data[0].probs[0]`.
"""


def export(model: RewardModel, folder: Path, facts: dict) -> None:
    """Write weights (safetensors), configuration with one label, tokenizer with template, and `reward.json`.

    The folder appears whole or not at all. Call on one rank, with gathered parameters.
    """
    with beside(folder) as new:
        model.model.save_pretrained(new, state_dict=merged(model.model))
        model.tokenizer.save_pretrained(new)
        write_json(new / "reward.json", facts)
        _readable(new)
        replace_folder(new, folder)


def _readable(folder: Path) -> None:
    """Let the group read what libraries write for the owner alone, such as weights."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode | (0o050 if path.is_dir() else 0o040))


def write_card(folder: Path, facts: dict, tokenizer, served: bool = True) -> None:
    """The model card, from the result of the training.

    Args:
        served: whether vLLM knows the architecture as a classifier that reads the last token.
    """
    shown = "none measured"
    if facts["validation_accuracy"] is not None:
        shown = f"{facts['validation_accuracy']:.3f} of {facts['validation_pairs']} (ties count half)"
    bos = tokenizer.bos_token
    note = f"\nIf the text begins with `{bos}`, strip it before tokenising: exactly one is wanted.\n" if bos else ""
    replace(
        folder / "README.md",
        CARD.format_map({**facts, "accuracy": shown, "bos": note, "served": SERVED if served else ""}).encode(),
    )


FROZEN_CARD = """---
library_name: transformers
pipeline_tag: {task}
tags: [reward-model, bradley-terry]
---
# Reward model {name}

A pointwise Bradley-Terry reward model on frozen layers: one real number for a response, higher is better. The network
is the lower {layers} layers of {backbone}, untouched; a linear head reads the mean over the response's tokens. **It reads
the response alone**, whatever was asked. Only differences between responses to the same conversation mean something.

| | |
|---|---|
| backbone | {backbone}, {layers} layers |
| features | {kind}, ridge {ridge:g} |
| training pairs | {pairs} (hash `{data_hash}`) |
| recipe hash | `{recipe_hash}` |
| accuracy, cross-validated by conversation | {accuracy:.3f} |
| longest response | {max_tokens} tokens; longer ones are refused, not cut |

```python
import torch
from transformers import {cls}, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(folder)
model = {cls}.from_pretrained(folder).eval()
text = tokenizer.apply_chat_template(turns, tokenize=False)  # the last turn is the response, and all that is left
with torch.inference_mode():
    reward = model(**tokenizer(text, return_tensors="pt")).logits{read}
```
{style}
## Limits
One scalar cannot hold conflicting preferences. The labels of filters and judges carry their bias into the model.
Rewards outside the domain of the training pairs are not calibrated.
"""
STYLE_NOTE = """
**This is a part of the reward.** The model also reads {n} style features (length, layout, tone), which no class of
transformers computes. Their weights stand in `reward.json`; `assay score` and `training.serve` give the whole reward.
"""


def export_frozen(model: FrozenRewardModel, backbone: Path, layer: int, folder: Path, facts: dict) -> None:
    """Write a head on states as a folder that plain transformers loads, and what `FrozenRewardModel.load` reads beside
    it: a sequence classifier with an averaging layer where there is one for the architecture, else a token classifier
    whose mean output is the reward.

    Args:
        backbone: whose states the head was fitted on.
        layer: the one layer that they are of.
        facts: what reward.json and the card say of its origin.
    """
    from transformers import (
        AutoConfig,
        AutoModelForSequenceClassification,
        AutoModelForTokenClassification,
        AutoTokenizer,
    )
    from transformers.utils import logging

    logging.set_verbosity_error()  # the layers above and their heads are left out on purpose
    logging.disable_progress_bar()
    config = AutoConfig.from_pretrained(backbone, num_labels=1, trust_remote_code=False)
    cut_at(config, layer)
    one = config.get_text_config().model_type in LAYERED
    kind = AutoModelForSequenceClassification if one else AutoModelForTokenClassification
    options = {"config": config, "dtype": torch.float32, "ignore_mismatched_sizes": True}
    network = kind.from_pretrained(backbone, use_safetensors=True, trust_remote_code=False, **options).eval()
    a, constant, b = model.linear()
    weights = torch.from_numpy(a).float() if a.size else torch.zeros(config.get_text_config().hidden_size)
    if one:
        add_averaging_layer(network)
        read_linearly(network, weights, constant)
    else:
        heads = [m for m in network.modules() if isinstance(m, nn.Linear) and m.out_features == 1]
        with torch.no_grad():
            heads[-1].weight.copy_(weights[None])
            if heads[-1].bias is None:
                raise ValueError(f"{backbone}: {type(network).__name__} has a head without a constant")
            heads[-1].bias.fill_(constant)
    tokenizer: Any = AutoTokenizer.from_pretrained(
        backbone, trust_remote_code=False
    )  # annotated as None or one of two classes
    tokenizer.chat_template = template_of(backbone)
    tokenizer.padding_side = "right"
    style = dict(zip(model.style_names, b.tolist(), strict=True)) if b.size else {}
    said = {**facts, "head": "frozen", "style": style} | ({} if one else {"reward": EVERY_TOKEN})
    shown = {
        "task": "text-classification" if one else "token-classification",
        "cls": kind.__name__,
        "read": "[0, 0]" if one else "[0, :, 0].mean()",
        "style": STYLE_NOTE.format(n=len(style)) if style else "",
        "layers": layer, "kind": model.kind, "ridge": model.ridge, "accuracy": model.accuracy,
    }  # fmt: skip
    with beside(folder) as new:
        network.save_pretrained(new)
        tokenizer.save_pretrained(new)
        model.save(new)
        write_json(new / "reward.json", said)
        replace(new / "README.md", FROZEN_CARD.format_map({**facts, **shown}).encode())
        _readable(new)
        replace_folder(new, folder)
