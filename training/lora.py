"""Low-rank adapters (LoRA, by peft) in a reward model: put in before training, merged where the model is exported."""

from typing import TYPE_CHECKING

import torch
from torch import nn

from training.job import Lora

if TYPE_CHECKING:
    from training.model import RewardModel

BASE = ".base_layer"  # where peft keeps the weights that an adapter stands before


def adapt(model: "RewardModel", lora: Lora, seed: int) -> None:
    """Freeze the body and put adapters into what of it would learn; the head learns with all of its weights.

    Raises:
        ValueError: peft is not installed, or none of the named layers is there.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise ValueError("lora needs peft: pip install assay[lora]") from None
    head = {id(m) for m in model.head().modules()}
    # what follows the body, such as the dense layer of an encoder's classifier, is trained whole, too
    body = model.model.base_model
    names = [n for n, m in body.named_modules() if _is_linear(m) and m.weight.requires_grad and id(m) not in head]
    if lora.layers is not None:
        names = [n for n in names if n.rpartition(".")[2] in lora.layers]
        if not names:
            raise ValueError(f"lora.layers: none of {', '.join(lora.layers)} is a linear layer of the backbone")
    for p in body.parameters():
        p.requires_grad_(False)
    torch.manual_seed(seed)
    config = LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=names, bias="none"
    )  # fmt: skip
    inject_adapter_in_model(config, body)
    for name, p in body.named_parameters():
        p.requires_grad_("lora_" in name)


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"  # of GPT-2


def merged(model: nn.Module) -> dict[str, torch.Tensor] | None:
    """The weights with adapters added in, under the names that the model has without any; None where it has none."""
    with_adapter = {
        n: m for n, m in model.named_modules() if hasattr(m, "get_delta_weight") and hasattr(m, "base_layer")
    }
    if not with_adapter:
        return None
    weights = {}
    for name, value in model.state_dict().items():
        if ".lora_" in name:
            continue
        owner = name.partition(BASE)[0]
        if BASE in name and name.endswith(".weight"):
            value = value + with_adapter[owner].get_delta_weight("default").to(value.dtype)
        weights[name.replace(BASE, "")] = value
    return weights
