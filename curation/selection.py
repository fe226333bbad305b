"""Which unlabelled pairs to label next: policies behind one interface, and the random share beside any of them.

A policy ranks candidates, best first. `paper` takes what gold errors retrieved, nearest first (spec 3.05); `d_optimal`
what tells a Bradley-Terry model most about its last layer (spec 3.18; Shen, Sun and Ton, arXiv 2502.04354); `random`
draws. Each row carries the probability with which its own draw would have taken it: below 1 where chance decided, also
over what the policy could look at; 1 where nothing is left to chance. The share drawn at random comes from all candidates
before the policy chooses, so that sums over it, each weighted by 1 / inclusion, estimate sums over all candidates without
bias.
"""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.identity import lot
from curation.tables import SELECTION

CHOICE = pa.schema([field for field in SELECTION.schema if field.name != "p"])
RIDGE = 1.0  # what is known beforehand of each direction, in average candidates that point there

Policy = Callable[[pa.Table, int, str], pa.Table]


def select(policy: str, candidates: pa.Table, count: int, random: int, seed: str) -> pa.Table:
    """The next batch: `random` pairs drawn from all candidates, the rest by the policy.

    Args:
        candidates: pair_id and what the policy asks for (see each), every pair that may be labelled; those that are
            `labelled`, where there is such a column, are neither drawn nor chosen.
        count: size of the batch; fewer where candidates or the policy have no more.
        random: how many of them are drawn at random.
        seed: equal seeds draw equal pairs, whatever the order of the candidates.

    Returns:
        CHOICE rows: `why` is retrieved, d_optimal or random, `rank` the place within it from 1, `score` what the
        policy ranked by.

    Raises:
        KeyError: no such policy.
    """
    rank = POLICIES[policy]
    open_ones = (
        candidates.filter(pc.invert(candidates["labelled"])) if "labelled" in candidates.column_names else candidates
    )
    drawn = draw(open_ones, count if rank is draw else min(random, count), seed)
    if rank is draw:
        return drawn
    rest = candidates.filter(pc.invert(pc.is_in(candidates["pair_id"], drawn["pair_id"].combine_chunks())))
    return pa.concat_tables([drawn, rank(rest, count - drawn.num_rows, seed)])


def draw(candidates: pa.Table, count: int, seed: str) -> pa.Table:
    """A simple random sample without replacement; every candidate has inclusion count / candidates."""
    total = candidates.num_rows
    count = min(count, total)
    drawn = sorted((lot(pair, seed), pair) for pair in candidates["pair_id"].to_pylist())[:count]
    return _choice([pair for _, pair in drawn], "random", None, count / total if total else 0.0)


def paper(candidates: pa.Table, count: int, seed: str) -> pa.Table:
    """Nearest first. Candidates carry `similarity`, the highest to a gold pair that asked; null for the others."""
    found = candidates.filter(pc.is_valid(candidates["similarity"]))
    order = found.sort_by([("similarity", "descending"), ("pair_id", "ascending")]).slice(0, max(0, count))
    return _choice(order["pair_id"], "retrieved", order["similarity"], 1.0)


def d_optimal(candidates: pa.Table, count: int, seed: str) -> pa.Table:
    """Greedy information gain. Candidates carry `difference`, [H] the head's input for chosen less that for rejected,
    `p` of the current model, and `labelled`: what such rows tell is known already. Rows without p are not looked at;
    where chance decided which are, `chance` is the probability to be looked at."""
    known = candidates.filter(pc.is_valid(candidates["p"])).sort_by("pair_id")
    if not known.num_rows:
        return CHOICE.empty_table()
    x = np.stack(known["difference"].to_numpy(zero_copy_only=False)).astype(np.float64)
    p = known["p"].to_numpy()
    labelled = known["labelled"].to_numpy(zero_copy_only=False).astype(bool)
    x *= np.sqrt(p * (1 - p))[:, None]
    scale = np.sqrt(np.mean(np.sum(x * x, axis=1))) or 1.0
    chosen, gains = most_informative(x[~labelled] / scale, x[labelled] / scale, count)
    picked = known.filter(pa.array(~labelled)).take(pa.array(chosen, pa.int64()))
    chance = picked["chance"].to_pylist() if "chance" in picked.column_names else 1.0
    return _choice(picked["pair_id"], "d_optimal", gains, chance)


def most_informative(
    x: np.ndarray, known: np.ndarray, count: int, ridge: float = RIDGE
) -> tuple[list[int], list[float]]:
    """Greedy maximisation of log det (ridge I + sum of z z') over rows z, those known included.

    The Fisher information of a Bradley-Terry pair with feature difference d is p (1 - p) d d', so z = sqrt(p (1 - p)) d.

    Args:
        x: [n, H] rows to choose from.
        known: [m, H] rows chosen before.
        count: how many to choose; at most n.

    Returns:
        indices in the order chosen, and what each added to the log determinant. Ties go to the lower index.
    """
    information = ridge * np.eye(x.shape[1]) + known.T @ known
    inverse = np.linalg.inv(information)
    leverage = np.einsum("ij,jk,ik->i", x, inverse, x)
    chosen: list[int] = []
    gains: list[float] = []
    for _ in range(min(count, len(x))):
        best = int(np.argmax(leverage))
        gain = max(leverage[best], 0.0)
        chosen.append(best)
        gains.append(float(np.log1p(gain)))
        # Sherman and Morrison: (A + z z')^-1 = A^-1 - u u' / (1 + z' u), u = A^-1 z
        u = inverse @ x[best]
        inverse -= np.outer(u, u) / (1 + gain)
        leverage -= (x @ u) ** 2 / (1 + gain)
        leverage[chosen] = -np.inf
    return chosen, gains


def _choice(pairs, why: str, scores, inclusion: float | list[float]) -> pa.Table:
    n = len(pairs)
    columns = [
        pairs if isinstance(pairs, pa.ChunkedArray) else pa.array(pairs, pa.string()),
        pa.array([why] * n, pa.string()),
        pa.array(range(1, n + 1), pa.int64()),
        pa.nulls(n, pa.float64()) if scores is None else scores,
        pa.array(inclusion if isinstance(inclusion, list) else [inclusion] * n, pa.float64()),
    ]
    return pa.table(dict(zip(CHOICE.names, columns, strict=True)), schema=CHOICE)


POLICIES: dict[str, Policy] = {"paper": paper, "random": draw, "d_optimal": d_optimal}
