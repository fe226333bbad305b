"""When the loop has nothing more to gain."""

from collections.abc import Sequence


def no_more_to_gain(accuracies: Sequence[tuple[float, float]], gain_below: float, iterations: int) -> bool:
    """Whether some `iterations` rounds in a row each gained less than `gain_below` (spec 9.06 with patience). Once true it
    stays true, whatever the rounds after them gain.

    Args:
        accuracies: by iteration since the pool last grew, (of the model before, of the model after) on the same gold.

    >>> no_more_to_gain([(0.60, 0.70), (0.70, 0.701), (0.701, 0.70)], gain_below=0.01, iterations=2)
    True
    """
    quiet = [after - before < gain_below for before, after in accuracies]
    return any(all(quiet[i : i + iterations]) for i in range(len(quiet) - iterations + 1))
