"""A panel of judges as a statistician sees it: who errs with whom, how much each voice is worth.

The paper counts heads (`curation.verdicts`). Here stand the two usual alternatives, fitted without gold (Dawid and
Skene 1979) and on gold (stacking), and how many independent votes a panel really has.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

Worker = tuple[str, str]  # judge, and which response it saw first: a judge in two orders errs in two ways


@dataclass(frozen=True)
class Ballots:
    """Votes as a matrix.

    Attributes:
        pairs: ids of the rows, sorted.
        workers: (judge, shown_first) of the columns, sorted.
        cast: int8, shape (pairs, workers): +1 original, -1 swapped, 0 neither or not asked. Where a worker voted
            several times, the sign of the sum.
    """

    pairs: Sequence[str]
    workers: Sequence[Worker]
    cast: np.ndarray


def ballots(votes: pa.Table) -> Ballots:
    """Votes (pair_id, judge, shown_first, vote, status) as a matrix."""
    rows = zip(
        *(votes[c].to_pylist() for c in ("pair_id", "judge", "shown_first", "vote", "status")), strict=True
    )
    worth = {"original": 1, "swapped": -1}
    counted = [(p, (j, f), worth.get(v, 0) if s == "ok" else 0) for p, j, f, v, s in rows]
    pairs = sorted({p for p, _, _ in counted})
    workers = sorted({w for _, w, _ in counted})
    row = {p: i for i, p in enumerate(pairs)}
    column = {w: i for i, w in enumerate(workers)}
    total = np.zeros((len(pairs), len(workers)), dtype=np.int64)
    for p, w, v in counted:
        total[row[p], column[w]] += v
    return Ballots(pairs, workers, np.sign(total).astype(np.int8))


def dawid_skene(cast: np.ndarray, rounds: int = 200, tolerance: float = 1e-9) -> np.ndarray:
    """Probability that `original` is right, by expectation maximisation over each worker's two error rates.

    Starts from the majority. It takes workers to err independently of each other given the truth, which models of one
    family do not.

    Args:
        cast: see `Ballots.cast`.
        rounds: the most rounds.
        tolerance: stop when no probability moves by more.

    Returns:
        float64, shape (pairs,); 0.5 where nobody voted.
    """
    said = np.stack([cast == 1, cast == -1]).astype(float)  # answer x pair x worker
    asked = said.sum(0)
    votes = asked.sum(1)
    p = np.divide(said[0].sum(1), votes, out=np.full(len(cast), 0.5), where=votes > 0)
    with np.errstate(divide="ignore"):
        for _ in range(rounds):
            truth = np.stack([p, 1 - p])[:, votes > 0]  # a pair without a vote teaches nothing
            prior = truth.mean(1) if truth.size else np.full(2, 0.5)
            made = np.einsum("tp,apw->taw", truth, said[:, votes > 0])  # truth x answer x worker
            total = made.sum(1, keepdims=True)
            rates = np.divide(made, total, out=np.full_like(made, 0.5), where=total > 0)
            logs = np.log(np.maximum(rates, 1e-300))
            score = np.log(np.maximum(prior, 1e-300))[:, None] + np.einsum("taw,apw->tp", logs, said)
            new = 1 / (1 + np.exp(np.clip(score[1] - score[0], -700, 700)))
            new = np.where(votes > 0, new, 0.5)
            moved = np.abs(new - p).max(initial=0)
            p = new
            if moved <= tolerance:
                break
    return p


def stack(cast: np.ndarray, original_right: np.ndarray, ridge: float = 1.0, rounds: int = 50) -> np.ndarray:
    """Weights of the workers by logistic regression on gold: the log odds that each vote adds.

    There is no constant term: which order is the original one must say nothing by itself.

    Args:
        cast: see `Ballots.cast`, of gold pairs only.
        original_right: bool, shape (pairs,): whether people confirm the original order.
        ridge: strength of the pull towards 0, in units of one observation.
        rounds: the most Newton steps.

    Returns:
        float64, shape (workers,); negative for a worker that is wrong more often than right, given the others.
    """
    x, y = cast.astype(float), np.asarray(original_right, float)
    weights = np.zeros(x.shape[1])
    for _ in range(rounds):
        p = 1 / (1 + np.exp(-x @ weights))
        gradient = x.T @ (y - p) - ridge * weights
        step = np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x + ridge * np.eye(len(weights)), gradient)
        weights += step
        if np.abs(step).max(initial=0) < 1e-10:
            break
    return weights


def stacked(cast: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Probability that `original` is right, by weights of `stack`; 0.5 where nobody voted."""
    return 1 / (1 + np.exp(-cast.astype(float) @ weights))


def effective_votes(right: np.ndarray) -> float:
    """How many independent voters would err together as rarely as these do: n / (1 + (n - 1) r), with r the mean
    correlation of their errors.

    Args:
        right: bool, shape (pairs, judges): whether each judge was right; every judge on every pair.

    Returns:
        Between 1 and n where errors go together; a judge that never or always errs correlates with nobody. NaN for
        fewer than two judges.
    """
    errors = 1.0 - np.asarray(right, float)
    n = errors.shape[1]
    if n < 2:
        return float("nan")
    centred = errors - errors.mean(0)
    norm = np.sqrt((centred**2).sum(0))
    unit = np.divide(centred, norm, out=np.zeros_like(centred), where=norm > 0)
    r = ((unit.T @ unit).sum() - (norm > 0).sum()) / (n * (n - 1))
    return n / (1 + (n - 1) * r)
