"""How many neighbours a pair may ask for (spec 3.07)."""

import math


def k_for(p: float, k_max: int = 8) -> int:
    """`k_max` when the model is wrong or cannot tell (p <= 0.5), else ceil(k_max * (1 - p)).

    >>> [k_for(p) for p in (0.0, 0.5, 0.51, 0.625, 0.75, 0.875, 0.99, 1.0)]
    [8, 8, 4, 3, 2, 1, 1, 0]

    Raises:
        ValueError: p is NaN or outside [0, 1].
    """
    if math.isnan(p) or not 0 <= p <= 1:
        raise ValueError(f"p must lie in [0, 1], got {p}")
    return k_max if p <= 0.5 else math.ceil(k_max * (1 - p))
