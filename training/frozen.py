"""A reward model that trains no network: middle layers of a pretrained model, read once, and a linear head on them.

A text's state is the mean over its tokens of what one or several middle layers make of it. The head is Bradley-Terry:
logistic regression without intercept on differences of features, with a ridge. Features are states, reduced by a PCA
that sees no label, or numbers that the caller brings along (`style`), or both; grouped cross-validation chooses. An
ensemble of heads on redrawn pairs says how sure a margin is.

Reading is all the cost. Only the layers up to the highest one asked for are computed, texts of similar length lie in one
batch, and a text is read once however many pairs hold it.
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import ArrayLike

Kind = Literal["style", "states", "both"]
KINDS: tuple[Kind, ...] = ("style", "states", "both")  # simplest first: it wins where losses are equal
RIDGES = (10.0, 30.0, 100.0, 300.0, 1000.0)
DIMENSIONS = 96  # of the reduced states
MEMBERS = 8  # heads of the ensemble
BATCH_TOKENS = 4096
SEEN_BY_PCA = 4000  # texts, at most
LEAST_SPREAD = 1e-6  # of a feature, below which it tells nothing apart


class ConstantStates(ValueError):
    """The backbone's states do not differ from text to text: nothing can be learned from them."""


# ---- reading ---------------------------------------------------------------------------------------------------------
class StateReader:
    """The lower layers of a pretrained encoder or decoder.

    Args:
        folder: of a transformers model with its tokenizer.
        layers: which layers' outputs make a state, counted from 1; default: the one in the middle.
        max_tokens: of a response; what is longer loses its end.
        context_tokens: of the text before the response that the model may see, from its end; they are not averaged.
        dtype: float32, or bfloat16 on machines that multiply it at full speed.

    Attributes:
        width: length of a state.
    """

    def __init__(
        self,
        folder: Path,
        layers: Sequence[int] | None = None,
        max_tokens: int = 256,
        context_tokens: int = 0,
        dtype: str = "float32",
    ):
        import torch
        from transformers import AutoConfig, AutoModel, AutoTokenizer
        from transformers.utils import logging

        logging.set_verbosity_error()  # the upper layers are left out on purpose
        logging.disable_progress_bar()
        config = AutoConfig.from_pretrained(folder)
        told_config = config.to_dict()
        if getattr(config, "is_encoder_decoder", False):
            raise ValueError(f"{folder}: encoder-decoder models are not read")
        text = config.get_text_config()
        whole = text.num_hidden_layers
        self.layers = tuple(sorted(layers or (max(1, whole // 2),)))
        if not 1 <= self.layers[0] <= self.layers[-1] <= whole:
            raise ValueError(f"{folder}: it has layers 1 to {whole}, asked for {', '.join(map(str, self.layers))}")
        text.num_hidden_layers = self.layers[-1]
        if getattr(text, "layer_types", None):
            text.layer_types = text.layer_types[: self.layers[-1]]
        self.folder = Path(folder)
        weights = sorted(p for p in self.folder.iterdir() if p.suffix in (".safetensors", ".bin"))
        told = json.dumps([told_config, [(p.name, p.stat().st_size) for p in weights]], sort_keys=True, default=str)
        self.backbone = f"{config.model_type}-{hashlib.blake2b(told.encode(), digest_size=4).hexdigest()}"
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        longest = getattr(text, "max_position_embeddings", None) or max_tokens
        self.max_tokens = min(max_tokens, longest - 3 - context_tokens)
        self.context_tokens = context_tokens
        self.model = AutoModel.from_pretrained(
            folder, config=config, dtype=getattr(torch, dtype), attn_implementation="sdpa"
        ).eval()
        if getattr(self.model, "pooler", None) is not None:
            self.model.pooler = None  # reads the first token only
        self.dtype = dtype
        self.width = text.hidden_size * len(self.layers)

    @property
    def name(self) -> str:
        """What states of equal names can be compared."""
        layers = "+".join(map(str, self.layers))
        return f"{self.backbone}/layers-{layers}/tokens-{self.max_tokens}+{self.context_tokens}/{self.dtype}"

    def tokens(self, responses: Sequence[str], contexts: Sequence[str] | None = None) -> list[tuple[list[int], int]]:
        """For each response its token ids and the place where the averaged ones begin."""
        t = self.tokenizer
        if not responses:
            return []
        # what cannot be read is not tokenized either: no tokenizer makes a token of more than a few characters on average
        bodies = t([r[: self.max_tokens * 16] for r in responses], add_special_tokens=False, verbose=False)["input_ids"]
        bodies = [ids[: self.max_tokens] for ids in bodies]
        probe = t("a", "a").input_ids if contexts is not None else t("a").input_ids
        one = t("a", add_special_tokens=False).input_ids
        if contexts is None or not self.context_tokens:
            begin, end = _around(t("a").input_ids, one)
            return [(begin + ids + end, 0) for ids in bodies]
        tails = t([c[-self.context_tokens * 16 :] for c in contexts], add_special_tokens=False, verbose=False)
        before, rest = _around(probe, one)
        between, after = _around(rest, one)
        out = []
        for context, ids in zip(tails["input_ids"], bodies, strict=True):
            head = before + context[-self.context_tokens :] + between
            out.append((head + ids + after, len(head)))
        return out

    def states(self, responses: Sequence[str], contexts: Sequence[str] | None = None) -> np.ndarray:
        """States [n, width] float32 of responses, each behind its context. Equal texts are read once.

        The same texts give the same states in any order; next to other texts they may differ in the last bits.
        """
        import torch

        keys = list(
            zip(responses, contexts if contexts is not None and self.context_tokens else responses, strict=True)
        )
        distinct = sorted(set(keys))
        read = self.tokens([r for r, _ in distinct], [c for _, c in distinct] if self.context_tokens else None)
        by_length = sorted(range(len(read)), key=lambda i: (len(read[i][0]), i))
        found = np.zeros((len(distinct), self.width), np.float32)
        begin = 0
        with torch.inference_mode():
            while begin < len(by_length):
                end = begin + 1
                while end < len(by_length) and (end + 1 - begin) * len(read[by_length[end]][0]) <= BATCH_TOKENS:
                    end += 1
                some = by_length[begin:end]
                found[some] = self._read([read[i] for i in some]).numpy()
                begin = end
        place = {key: i for i, key in enumerate(distinct)}
        return found[[place[k] for k in keys]]

    def _read(self, batch: list[tuple[list[int], int]]) -> "torch.Tensor":
        import torch

        width = max(len(ids) for ids, _ in batch)
        pad = self.tokenizer.pad_token_id or 0
        ids = torch.tensor([ids + [pad] * (width - len(ids)) for ids, _ in batch])
        lengths, starts = torch.tensor([len(i) for i, _ in batch]), torch.tensor([s for _, s in batch])
        at = torch.arange(width)[None]
        real = at < lengths[:, None]
        mask = None if real.all() else real.long()
        out = self.model(input_ids=ids, attention_mask=mask, output_hidden_states=len(self.layers) > 1)
        hidden = [out.hidden_states[k] for k in self.layers] if len(self.layers) > 1 else [out.last_hidden_state]
        averaged = (real & (at >= starts[:, None]))[:, :, None]
        return torch.cat([(h.float() * averaged).sum(1) / averaged.sum(1).clamp(min=1) for h in hidden], dim=1)


class HashedWords:
    """States without a pretrained model: words and pairs of words, hashed into `width` places. They know no word from
    another by its meaning; what they learn is which words the better responses hold."""

    def __init__(self, width: int = 1024):
        self.width = width
        self.name = f"hashed-words/{width}"

    def states(self, responses: Sequence[str], contexts: Sequence[str] | None = None) -> np.ndarray:
        """States [n, width] float32."""
        from sklearn.feature_extraction.text import HashingVectorizer

        words = HashingVectorizer(n_features=self.width, ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b")
        if not responses:
            return np.zeros((0, self.width), np.float32)
        return words.transform(responses).toarray().astype(np.float32)


def _around(whole: list[int], part: list[int]) -> tuple[list[int], list[int]]:
    """What stands before and after the first occurrence of `part` in `whole`."""
    for i in range(len(whole) - len(part) + 1):
        if whole[i : i + len(part)] == part:
            return whole[:i], whole[i + len(part) :]
    return [], []  # the tokenizer writes a lone letter otherwise inside a sequence: no special tokens then


# ---- the head --------------------------------------------------------------------------------------------------------
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
    """What cross-validation chose, and the mean log loss of every candidate."""

    kind: Kind
    ridge: float
    losses: dict[tuple[Kind, float], float]


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
    for kind, x in differences.items():
        for ridge in ridges:
            out = np.zeros(len(y))
            for f in range(n_folds):
                held = fold == f
                if held.any() and not held.all():
                    w = None if weights is None else weights[~held]
                    out[held] = x[held] @ bradley_terry(x[~held], y[~held], ridge, w)
            losses[kind, ridge] = round(float(log_loss(out, y).mean()), 9)
    kind, ridge = min(losses, key=lambda c: losses[c])
    return Choice(kind, ridge, losses)


@dataclass(frozen=True)
class FrozenRewardModel:
    """Scales, one head and an ensemble of heads.

    Attributes:
        kind: the features it reads.
        ridge: of its heads.
        heads: [1 + MEMBERS, d]; the first is fitted on all pairs, the others on redrawn groups of pairs.
        states_name: of the states it was fitted on (`StateReader.name`); states of another name mean something else.
        style_names: of the caller's features, in their order.
    """

    kind: Kind
    ridge: float
    prepared: Prepared
    heads: np.ndarray
    states_name: str = ""
    style_names: tuple[str, ...] = ()

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
        return cls(found.kind, found.ridge, prepared, np.stack(heads), states_name, tuple(style_names))

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
        }  # fmt: skip
        (folder / "frozen.json").write_text(json.dumps(facts, indent=1, sort_keys=True), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "FrozenRewardModel":
        """Read what `save` or `export` wrote; its rewards are equal to the last bit."""
        facts = json.loads((folder / "frozen.json").read_text(encoding="utf-8"))
        with np.load(folder / "frozen.npz", allow_pickle=False) as held:
            reduce = Reduction(held["mean"], held["basis"])
            prepared, heads = Prepared(reduce, float(held["states_scale"]), held["style_scale"]), held["heads"]
        return cls(facts["kind"], facts["ridge"], prepared, heads, facts["states"], tuple(facts["style"]))


CARD = """---
library_name: transformers
pipeline_tag: token-classification
tags: [reward-model, bradley-terry]
---
# Reward model on frozen layers

A pointwise Bradley-Terry reward model. The network is the lower {layers} layers of `{backbone}`, untouched; a linear head
reads the mean of their last states. A mean of linear outputs is the output of the mean, so plain transformers loads it
as a token classifier with one label:

```python
import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForTokenClassification.from_pretrained(folder).eval()
inputs = tokenizer(response, truncation=True, max_length={length}, return_tensors="pt")
with torch.inference_mode():
    reward = model(**inputs).logits[0, :, 0].mean()
```

It reads the response alone, without the conversation, and at most {tokens} tokens of it. Only differences between
responses to the same conversation mean something.
{style}"""
STYLE_NOTE = """
**This is a part of the reward.** The model also reads {n} style features, which no class of transformers computes; load
`frozen.json` with Assay for the whole.
"""


def export(model: FrozenRewardModel, reader: StateReader, folder: Path) -> None:
    """Write a folder that plain transformers loads: the layers that were read, with the head as a token classifier whose
    mean output is the reward; beside it what `FrozenRewardModel.load` reads. The folder appears whole or not at all.

    Raises:
        ValueError: there is no stock class for it: the head reads no states, several layers, or a context.
    """
    import torch
    from transformers import AutoConfig, AutoModelForTokenClassification

    a, constant, b = model.linear()
    if not a.size:
        raise ValueError("a head on style features alone has no network to export; save() writes all of it")
    if len(reader.layers) > 1 or reader.context_tokens:
        raise ValueError(
            "plain transformers reads one layer of one text: train on the states of one layer, without context, to export"
        )
    if model.states_name and model.states_name != reader.name:
        raise ValueError(f"the head was fitted on the states {model.states_name}, the reader gives {reader.name}")
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    config = AutoConfig.from_pretrained(reader.folder, num_labels=1)
    text = config.get_text_config()
    text.num_hidden_layers = reader.layers[-1]
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[: reader.layers[-1]]
    network = AutoModelForTokenClassification.from_pretrained(reader.folder, config=config, dtype=torch.float32).eval()
    head = next(m for m in reversed(list(network.modules())) if isinstance(m, torch.nn.Linear) and m.out_features == 1)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(a)[None])
        if head.bias is not None:
            head.bias.fill_(constant)
    network.save_pretrained(part)
    reader.tokenizer.save_pretrained(part)
    model.save(part)
    extra = len(reader.tokenizer("a").input_ids) - len(reader.tokenizer("a", add_special_tokens=False).input_ids)
    note = STYLE_NOTE.format(n=len(b)) if b.size else ""
    facts = {"layers": reader.layers[-1], "backbone": reader.folder.name, "tokens": reader.max_tokens}
    (part / "README.md").write_text(
        CARD.format(**facts, length=reader.max_tokens + extra, style=note), encoding="utf-8"
    )
    if folder.exists():
        shutil.rmtree(folder)
    part.rename(folder)
