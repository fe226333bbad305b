"""Mean pooling for encoders whose classifier reads the first token, as one more layer of their own architecture.

Its attention gives every token the same weight, its values are the tokens themselves, scaled so far that what the
residual connection adds of the first token vanishes in the layer's normalisation, and its feed-forward part adds
nothing: at the first token stands the normalised mean over all tokens. So an averaging encoder is saved as a plain one
with one layer more, and plain transformers computes the average without knowing of it.
"""

import copy

import torch
from torch import nn

SCALE = 1024.0  # of the mean against the first token: a power of two, so that nothing is rounded
SMALL = 16384.0  # the dense layer divides by it: up to |x| = 5e-4, tanh(x) is x to 1e-7 of it; also a power of two


def add_averaging_layer(model) -> None:
    """Append the layer to a BERT- or RoBERTa-like classifier, in place. It learns nothing; the dense layer between it
    and the output starts as the identity.
    """
    layers = model.base_model.encoder.layer
    layer = copy.deepcopy(layers[-1])
    attention, output = layer.attention, layer.output
    with torch.no_grad():
        for p in layer.parameters():
            p.zero_().requires_grad_(False)
        for norm in (attention.output.LayerNorm, output.LayerNorm):
            norm.weight.fill_(1.0)
        attention.self.value.weight.copy_(torch.eye(*attention.self.value.weight.shape))
        attention.output.dense.weight.copy_(SCALE * torch.eye(*attention.output.dense.weight.shape))
        dense: nn.Linear = (
            model.base_model.pooler.dense if model.base_model.pooler is not None else model.classifier.dense
        )
        dense.weight.copy_(torch.eye(*dense.weight.shape))
        dense.bias.zero_()
    layers.append(layer)
    model.config.num_hidden_layers += 1


def averaged(mean: torch.Tensor, first: torch.Tensor, epsilon: float) -> torch.Tensor:
    """What the layer leaves at the first token [n, H], from the mean over a text's tokens and the first of them."""
    shape = mean.shape[-1:]
    attended = nn.functional.layer_norm(SCALE * mean + first, shape, eps=epsilon)
    return nn.functional.layer_norm(attended, shape, eps=epsilon)


def read_linearly(model, weights: torch.Tensor, constant: float) -> None:
    """Make an averaging classifier's output linear in what the averaging layer leaves, in place: its dense layer and
    tanh are given so little that tanh changes nothing, and its output takes the factor back."""
    dense = model.base_model.pooler.dense if model.base_model.pooler is not None else model.classifier.dense
    head = model.classifier if isinstance(model.classifier, nn.Linear) else model.classifier.out_proj
    with torch.no_grad():
        dense.weight.copy_(torch.eye(*dense.weight.shape) / SMALL)
        dense.bias.zero_()
        head.weight.copy_(SMALL * weights[None])
        head.bias.fill_(constant)
