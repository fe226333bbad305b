"""When the loop has nothing more to gain."""

from collections.abc import Sequence


def no_more_to_gain(accuracies: Sequence[tuple[float, float]], gain_below: float, iterations: int) -> bool:
    """Whether the last `iterations` rounds each gained less than `gain_below` (spec 9.06 with patience).

    Args:
        accuracies: by iteration after the first, (of the model before, of the model after) on the same gold.

    >>> no_more_to_gain([(0.60, 0.70), (0.70, 0.701), (0.701, 0.70)], gain_below=0.01, iterations=2)
    True
    """
    last = accuracies[-iterations:]
    return len(last) == iterations and all(after - before < gain_below for before, after in last)
