"""The exported reward model: a folder that plain transformers loads, with equal scores."""

from pathlib import Path

from training.atomic import beside, replace, replace_folder, write_json
from training.model import RewardModel

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
{bos}
## Limits
One scalar cannot hold conflicting preferences. The labels of filters and judges carry their bias into the model.
Rewards outside the domain of the training pairs, and of inputs with a system prompt, are not calibrated.
"""


def export(model: RewardModel, folder: Path, facts: dict) -> None:
    """Write weights (safetensors), configuration with one label, tokenizer with template, and `reward.json`.

    The folder appears whole or not at all. Call on one rank, with gathered parameters.
    """
    with beside(folder) as new:
        model.model.save_pretrained(new)
        model.tokenizer.save_pretrained(new)
        write_json(new / "reward.json", facts)
        replace_folder(new, folder)


def write_card(folder: Path, facts: dict, tokenizer) -> None:
    """The model card, from the result of the training."""
    shown = "none measured"
    if facts["validation_accuracy"] is not None:
        shown = f"{facts['validation_accuracy']:.3f} of {facts['validation_pairs']} (ties count half)"
    bos = tokenizer.bos_token
    note = f"\nIf the text begins with `{bos}`, strip it before tokenising: exactly one is wanted.\n" if bos else ""
    replace(folder / "README.md", CARD.format_map({**facts, "accuracy": shown, "bos": note}).encode())
