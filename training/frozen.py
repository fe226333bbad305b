"""A reward model that trains no network: states of texts (see states), read once, and a linear head on them.

The head is Bradley-Terry: logistic regression without intercept on differences of features, with a ridge. Features are
states, reduced by a PCA that sees no label, or numbers that the caller brings along (`style`), or both; grouped
cross-validation chooses. An ensemble of heads on redrawn pairs says how sure a margin is.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Kind = Literal["style", "states", "both"]
KINDS: tuple[Kind, ...] = ("style", "states", "both")  # simplest first: it wins where losses are equal
RIDGES = (10.0, 30.0, 100.0, 300.0, 1000.0)
DIMENSIONS = 96  # of the reduced states
MEMBERS = 8  # heads of the ensemble
SEEN_BY_PCA = 4000  # texts, at most
LEAST_SPREAD = 1e-6  # of a feature, below which it tells nothing apart


class ConstantStates(ValueError):
    """The backbone's states do not differ from text to text: nothing can be learned from them."""


class Responses(NamedTuple):
    """Features of n responses: states [n, D] and style [n, S]; D or S is 0 where there are none."""

    states: np.ndarray
    style: np.ndarray

    def take(self, rows: np.ndarray) -> "Responses":
        return Responses(self.states[rows], self.style[rows])


def without(n: int) -> np.ndarray:
    """Features of n responses where there are none."""
    return np.zeros((n, 0))


def together(first: Responses, second: Responses) -> Responses:
    """All responses of pairs."""
    return Responses(*(np.concatenate(both) for both in zip(first, second, strict=True)))


class Reduction(NamedTuple):
    """States to coordinates: (states - mean) @ basis."""

    mean: np.ndarray
    basis: np.ndarray

    def __call__(self, states: np.ndarray) -> np.ndarray:
        return (states - self.mean) @ self.basis


def reduction(states: np.ndarray, dimensions: int = DIMENSIONS) -> Reduction:
    """Principal components of states [n, D], half whitened: a direction's spread becomes its square root, so that rare
    directions count for more than they vary and for less than if all were equal.

    Raises:
        ConstantStates: all rows are equal.
    """
    x = np.unique(np.asarray(states, np.float64), axis=0)
    if len(x) > SEEN_BY_PCA:
        x = x[np.random.default_rng(0).choice(len(x), SEEN_BY_PCA, replace=False)]
    mean = x.mean(0)
    spread, axes = np.linalg.eigh((x - mean).T @ (x - mean) / len(x))
    spread, axes = np.maximum(spread[::-1], 0) ** 0.5, axes[:, ::-1]
    if not np.isfinite(spread).all() or spread[0] <= LEAST_SPREAD * max(1.0, float(np.abs(mean).max())):
        raise ConstantStates(
            "the states of all texts are equal: the backbone tells no text from another. Name another backbone, or let"
            " style features alone decide."
        )
    k = min(dimensions, len(x) - 1, int((spread > spread[0] * 1e-6).sum()))
    return Reduction(mean, axes[:, :k] / np.maximum(spread[:k], spread[0] * 0.02) ** 0.5)


def bradley_terry(
    x: np.ndarray, y: np.ndarray, ridge: float, weights: np.ndarray | None = None, rounds: int = 50
) -> np.ndarray:
    """Weights [d] of logistic regression without intercept by Newton's method; the objective is strictly convex.

    Args:
        x: [n, d] features of the first response less those of the second.
        y: [n] probability that the first is better, 0 and 1 for plain labels.
        ridge: half the penalty on each squared weight.
    """
    weights = np.ones(len(y)) if weights is None else weights
    theta = np.zeros(x.shape[1])
    for _ in range(rounds):
        p = 1 / (1 + np.exp(-np.clip(x @ theta, -35, 35)))
        gradient = x.T @ (weights * (p - y)) + ridge * theta
        hessian = (x * (weights * p * (1 - p))[:, None]).T @ x
        hessian[np.diag_indices_from(hessian)] += ridge
        step = np.linalg.solve(hessian, gradient)
        theta = theta - step
        if np.abs(step).max() < 1e-8:
            break
    return theta


def folds(groups: "ArrayLike", n: int, seed: int = 0) -> np.ndarray:
    """A fold [len(groups)] in 0..n-1 for each row; a group lies in one fold, and folds are of similar size."""
    names, which, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-sizes[order], kind="stable")]  # large ones first, each to the fold with least
    filled, fold = np.zeros(n), np.zeros(len(names), int)
    for g in order:
        fold[g] = int(np.argmin(filled))
        filled[fold[g]] += sizes[g]
    return fold[which]


class Prepared(NamedTuple):
    """Scales that turn responses into features: fitted on texts, never on labels. Without states the reduction is empty,
    without style the scale is."""

    reduce: Reduction
    states_scale: float
    style_scale: np.ndarray

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of features there are."""
        style, states = bool(self.style_scale.size), bool(self.reduce.basis.size)
        return tuple(k for k in KINDS if (style or k == "states") and (states or k == "style"))

    def features(self, responses: Responses, kind: Kind) -> np.ndarray:
        """[n, d], such that a reward is a linear function of a row."""
        parts = []
        if kind != "states":
            parts.append(responses.style / self.style_scale)
        if kind != "style":
            parts.append(self.reduce(responses.states) / self.states_scale)
        return np.concatenate(parts, axis=1)


def prepare(responses: Responses, dimensions: int = DIMENSIONS) -> Prepared:
    """Fit scales on any texts of the kind that will be scored; labels are not seen.

    Raises:
        ConstantStates: the states do not differ.
    """
    states, style = responses
    spread = style.std(axis=0)
    style_scale = np.where(spread > LEAST_SPREAD, spread, np.inf)  # a constant feature is 0, not noise enlarged
    if not states.shape[1]:
        return Prepared(Reduction(np.zeros(0), np.zeros((0, 0))), 1.0, style_scale)
    reduce = reduction(states, dimensions)
    return Prepared(reduce, float(reduce(states).std()) * 2**0.5, style_scale)


class Choice(NamedTuple):
    """What cross-validation chose, the mean log loss of every candidate, and how often the chosen one was right: ties
    count half, and being chosen makes it look a little better than it is."""

    kind: Kind
    ridge: float
    losses: dict[tuple[Kind, float], float]
    accuracy: float


def log_loss(margins: np.ndarray, y: np.ndarray) -> np.ndarray:
    return y * np.logaddexp(0, -margins) + (1 - y) * np.logaddexp(0, margins)


def choose(
    differences: dict[Kind, np.ndarray],
    y: np.ndarray,
    groups: "ArrayLike",
    *,
    ridges: Sequence[float] = RIDGES,
    n_folds: int = 5,
    seed: int = 0,
    weights: np.ndarray | None = None,
) -> Choice:
    """The kind of features and the ridge with the least log loss on groups that the head has not seen.

    Args:
        differences: by kind, features of first less second [n, d].
    """
    fold = folds(groups, n_folds, seed)
    losses: dict[tuple[Kind, float], float] = {}
    right: dict[tuple[Kind, float], float] = {}
    for kind, x in differences.items():
        for ridge in ridges:
            out = np.zeros(len(y))
            for f in range(n_folds):
                held = fold == f
                if held.any() and not held.all():
                    w = None if weights is None else weights[~held]
                    out[held] = x[held] @ bradley_terry(x[~held], y[~held], ridge, w)
            losses[kind, ridge] = round(float(log_loss(out, y).mean()), 9)
            right[kind, ridge] = float(((np.sign(out) * np.sign(y - 0.5) + 1) / 2).mean())
    kind, ridge = min(losses, key=lambda c: losses[c])
    return Choice(kind, ridge, losses, right[kind, ridge])


@dataclass(frozen=True)
class FrozenRewardModel:
    """Scales, one head and an ensemble of heads.

    Attributes:
        kind: the features it reads.
        ridge: of its heads.
        heads: [1 + MEMBERS, d]; the first is fitted on all pairs, the others on redrawn groups of pairs.
        states_name: of the states it was fitted on (`StateReader.name`); states of another name mean something else.
        style_names: of the caller's features, in their order.
        losses: log loss of every candidate in cross-validation, as "kind, ridge".
        accuracy: of the chosen one (see `Choice`).
    """

    kind: Kind
    ridge: float
    prepared: Prepared
    heads: np.ndarray
    states_name: str = ""
    style_names: tuple[str, ...] = ()
    losses: dict[str, float] = field(default_factory=dict)
    accuracy: float = float("nan")

    @classmethod
    def fit(
        cls,
        first: Responses,
        second: Responses,
        y: np.ndarray,
        groups: "ArrayLike",
        *,
        prepared: Prepared | None = None,
        kinds: Sequence[Kind] = KINDS,
        ridges: Sequence[float] = RIDGES,
        weights: np.ndarray | None = None,
        members: int = MEMBERS,
        seed: int = 0,
        states_name: str = "",
        style_names: Sequence[str] = (),
    ) -> "FrozenRewardModel":
        """Choose features and ridge by grouped cross-validation, then fit on all pairs.

        Args:
            first, second: features of both responses.
            y: [n] probability that the first is better.
            groups: [n] what must not stand on both sides of a split, such as conversations.
            prepared: scales from more texts than these, for example the pool's.

        Raises:
            ConstantStates: the states do not differ.
            ValueError: there are no pairs.
        """
        if not len(y):
            raise ValueError("no pairs to fit a reward model on")
        prepared = prepared or prepare(together(first, second))
        usable = [k for k in kinds if k in prepared.kinds]
        differences = {k: prepared.features(first, k) - prepared.features(second, k) for k in usable}
        y = np.asarray(y, float)
        found = choose(differences, y, groups, ridges=ridges, seed=seed, weights=weights)
        x, base = differences[found.kind], np.ones(len(y)) if weights is None else weights
        names, which = np.unique(np.asarray(groups), return_inverse=True)
        rng = np.random.default_rng(seed)
        heads = [bradley_terry(x, y, found.ridge, base)]
        for _ in range(members):
            drawn = np.bincount(rng.integers(0, len(names), len(names)), minlength=len(names))[which]
            heads.append(bradley_terry(x, y, found.ridge, base * drawn))
        losses = {f"{kind}, {ridge:g}": loss for (kind, ridge), loss in found.losses.items()}
        about = (states_name, tuple(style_names), losses, found.accuracy)
        return cls(found.kind, found.ridge, prepared, np.stack(heads), *about)

    def rewards(self, responses: Responses) -> np.ndarray:
        """[n] float64."""
        return self.prepared.features(responses, self.kind) @ self.heads[0]

    def margin(self, first: Responses, second: Responses) -> np.ndarray:
        """Reward of the first less reward of the second [n]; exactly 0 for equal features."""
        return (self.prepared.features(first, self.kind) - self.prepared.features(second, self.kind)) @ self.heads[0]

    def spread(self, first: Responses, second: Responses) -> np.ndarray:
        """Standard deviation of the ensemble's margins [n]."""
        x = self.prepared.features(first, self.kind) - self.prepared.features(second, self.kind)
        return (x @ self.heads[1:].T).std(axis=1)

    # ---- files -------------------------------------------------------------------------------------------------------
    def linear(self) -> tuple[np.ndarray, float, np.ndarray]:
        """The reward as states @ a + constant + style @ b: (a [D], constant, b [S]), empty for what it does not read."""
        p, head = self.prepared, self.heads[0]
        n = 0 if self.kind == "states" else len(p.style_scale)
        b = head[:n] / p.style_scale[:n]
        if self.kind == "style":
            return np.zeros(0), 0.0, b
        a = p.reduce.basis @ head[n:] / p.states_scale
        return a, -float(p.reduce.mean @ a), b

    def save(self, folder: Path) -> None:
        """Write `frozen.json` and `frozen.npz` into a folder, which is made if need be."""
        folder.mkdir(parents=True, exist_ok=True)
        p = self.prepared
        arrays = {
            "heads": self.heads, "states_scale": np.array(p.states_scale), "style_scale": p.style_scale,
            "mean": p.reduce.mean, "basis": p.reduce.basis,
        }  # fmt: skip
        with (folder / "frozen.npz").open("wb") as out:
            np.savez(out, allow_pickle=False, **arrays)
        facts = {
            "kind": self.kind, "ridge": self.ridge, "states": self.states_name, "style": list(self.style_names),
            "losses": self.losses, "accuracy": self.accuracy,
        }  # fmt: skip
        (folder / "frozen.json").write_text(json.dumps(facts, indent=1, sort_keys=True), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "FrozenRewardModel":
        """Read what `save` wrote; its rewards are equal to the last bit."""
        facts = json.loads((folder / "frozen.json").read_text(encoding="utf-8"))
        with np.load(folder / "frozen.npz", allow_pickle=False) as held:
            reduce = Reduction(held["mean"], held["basis"])
            prepared, heads = Prepared(reduce, float(held["states_scale"]), held["style_scale"]), held["heads"]
        about = (facts["states"], tuple(facts["style"]), facts["losses"], facts["accuracy"])
        return cls(facts["kind"], facts["ridge"], prepared, heads, *about)
