"""A panel of judges as a statistician sees it: who errs with whom, how much each voice is worth.

The paper counts heads (`curation.verdicts`). Here stand the two usual alternatives, fitted without gold (Dawid and
Skene 1979) and on gold (stacking), and how many independent votes a panel really has.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa

from curation.tables import JUDGE_WEIGHTS
from sql import statement

WEIGHTS = JUDGE_WEIGHTS.schema
Worker = tuple[str, str]  # judge, and which response it saw first: a judge in two orders errs in two ways


@dataclass(frozen=True)
class Ballots:
    """Votes as a matrix.

    Attributes:
        pairs: ids of the rows, sorted.
        workers: (judge, shown_first) of the columns, sorted: a judge's two orders stand side by side.
        cast: int8, shape (pairs, workers): +1 original, -1 swapped, 0 neither or not asked. Where a worker voted
            several times, the sign of the sum.
    """

    pairs: Sequence[str]
    workers: Sequence[Worker]
    cast: np.ndarray


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)); that of SQL is the macro of this name."""
    return 1 / (1 + np.exp(-x))


def ballots(votes: pa.Table) -> Ballots:
    """Votes (pair_id, judge, shown_first, vote, status) as a matrix; every judge has a column for each order."""
    with duckdb.connect() as con:
        con.register("votes", votes.select(["pair_id", "judge", "shown_first", "vote", "status"]))
        pairs, judges = (
            sorted(v for (v,) in con.table("votes").select(name).distinct().fetchall()) for name in ("pair_id", "judge")
        )
        cells = con.sql(statement("judges/ballots")).fetchnumpy()
    cast = np.zeros((len(pairs), 2 * len(judges)), dtype=np.int8)
    cast[cells["row"].astype(int), cells["col"].astype(int)] = cells["lean"]
    return Ballots(pairs, [(j, first) for j in judges for first in ("chosen", "rejected")], cast)


def mirrored(cast: np.ndarray) -> np.ndarray:
    """The votes there would be had every pair stood in the lake the other way round.

    A judge sees candidates and no labels: it would have said the same of the same candidates. What is fitted on both
    cannot learn that original labels are mostly right, and a judge that follows the position cancels itself out.

    Args:
        cast: see `Ballots.cast`; columns come in pairs, a judge's two orders.
    """
    swapped = cast.reshape(len(cast), cast.shape[1] // 2, 2)[:, :, ::-1]
    return -swapped.reshape(cast.shape)


def dawid_skene(
    cast: np.ndarray, rounds: int = 200, tolerance: float = 1e-9, smoothing: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Probability that `original` is right, by expectation maximisation over each worker's two error rates.

    Starts from the majority. It takes workers to err independently of each other given the truth, which models of one
    family do not.

    Args:
        cast: see `Ballots.cast`.
        rounds: the most rounds.
        tolerance: stop when no probability moves by more.
        smoothing: votes of either kind that each worker is credited with, so that few pairs never make it infallible.

    Returns:
        The probabilities, shape (pairs,), 0.5 where nobody voted; and each worker's rates, shape (2, 2, workers):
        the chance of [a vote for original, for swapped] where [original, swapped] is right, truth first.
    """
    said = np.stack([cast == 1, cast == -1]).astype(float)  # answer x pair x worker
    asked = said.sum(0)
    votes = asked.sum(1)
    p = np.divide(said[0].sum(1), votes, out=np.full(len(cast), 0.5), where=votes > 0)
    rates = np.full((2, 2, cast.shape[1]), 0.5)
    with np.errstate(divide="ignore"):
        for _ in range(rounds):
            truth = np.stack([p, 1 - p])[:, votes > 0]  # a pair without a vote teaches nothing
            prior = truth.mean(1) if truth.size else np.full(2, 0.5)
            made = np.einsum("tp,apw->taw", truth, said[:, votes > 0]) + smoothing  # truth x answer x worker
            total = made.sum(1, keepdims=True)
            rates = np.divide(made, total, out=np.full_like(made, 0.5), where=total > 0)
            logs = np.log(np.maximum(rates, 1e-300))
            score = np.log(np.maximum(prior, 1e-300))[:, None] + np.einsum("taw,apw->tp", logs, said)
            new = sigmoid(np.clip(score[0] - score[1], -700, 700))
            new = np.where(votes > 0, new, 0.5)
            moved = np.abs(new - p).max(initial=0)
            p = new
            if moved <= tolerance:
                break
    return p, rates


def stack(cast: np.ndarray, original_right: np.ndarray, ridge: float = 1.0, rounds: int = 50) -> np.ndarray:
    """Weights of the workers by logistic regression on gold: the log odds that each vote adds.

    There is no constant term, so that no vote means even odds.

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
        p = sigmoid(x @ weights)
        gradient = x.T @ (y - p) - ridge * weights
        step = np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x + ridge * np.eye(len(weights)), gradient)
        weights += step
        if np.abs(step).max(initial=0) < 1e-10:
            break
    return weights


def stacking_weights(votes: pa.Table, gold: pa.Table) -> pa.Table:
    """Weights that best foretell people's verdicts on gold.

    Args:
        votes: of the panel on gold pairs.
        gold: pair_id, order (original or swapped).

    Returns:
        WEIGHTS rows: the log odds for the original order that a vote adds, by what it says.
    """
    made = ballots(votes)
    order = dict(zip(gold["pair_id"].to_pylist(), gold["verified_order"].to_pylist(), strict=True))
    right = np.array([order[p] == "original" for p in made.pairs], bool)
    both = np.concatenate([made.cast, mirrored(made.cast)])
    weights = stack(both, np.concatenate([right, ~right]), ridge=2.0)  # a pair and its mirror count as one
    return _weights(made, "stacking", weights, -weights)


def dawid_skene_weights(votes: pa.Table) -> pa.Table:
    """Weights from how the judges agree with each other on the pairs to be decided, without any gold.

    Args:
        votes: of the panel on those pairs.

    Returns:
        WEIGHTS rows; see `stacking_weights`.
    """
    made = ballots(votes)
    _, rates = dawid_skene(np.concatenate([made.cast, mirrored(made.cast)]), smoothing=1.0)
    said_original, said_swapped = np.log(rates[0] / rates[1])
    return _weights(made, "dawid_skene", said_original, said_swapped)


def _weights(made: Ballots, method: str, for_original: np.ndarray, for_swapped: np.ndarray) -> pa.Table:
    rows = [
        {
            "judge": judge,
            "shown_first": first,
            "method": method,
            "for_original": round(float(o), 9),
            "for_swapped": round(float(s), 9),
            "pairs": int(np.count_nonzero(made.cast[:, i])),
        }
        for i, ((judge, first), o, s) in enumerate(zip(made.workers, for_original, for_swapped, strict=True))
    ]
    return pa.Table.from_pylist(rows, WEIGHTS)


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
