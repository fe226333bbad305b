"""Bradley-Terry loss of a pairwise reward model (spec 3.02, 6.01)."""

import torch
from torch.nn.functional import softplus


def bradley_terry(
    chosen: torch.Tensor,
    rejected: torch.Tensor,
    weight: torch.Tensor | float = 1.0,
    target: torch.Tensor | float = 1.0,
    margin: torch.Tensor | float = 0.0,
    center_rewards_coefficient: float = 0.0,
) -> torch.Tensor:
    """Sum over pairs of ``-w [t log σ(d) + (1-t) log σ(-d)] + w c (r_chosen + r_rejected)²``, where
    ``d = r_chosen - r_rejected - m``.

    A sum, not a mean: the caller divides by the weight of the whole global batch, so that a pair counts the same
    whatever micro-batch it fell into.

    Args:
        chosen, rejected: [pairs] fp32 rewards.
        target: probability that `chosen` is better, 1 for hard labels.
        margin: the reward that `chosen` must be ahead by.
        center_rewards_coefficient: strength with which rewards are drawn towards zero mean.

    Returns:
        a scalar; ln 2 a pair at equal rewards.
    """
    d = chosen - rejected - margin
    loss = target * softplus(-d) + (1 - target) * softplus(d)
    if center_rewards_coefficient:
        loss = loss + center_rewards_coefficient * (chosen + rejected) ** 2
    return (weight * loss).sum()


def n_correct(chosen: torch.Tensor, rejected: torch.Tensor) -> torch.Tensor:
    """Pairs ranked as labelled, ties counting one half; a sum."""
    return (chosen > rejected).float().sum() + 0.5 * (chosen == rejected).float().sum()
