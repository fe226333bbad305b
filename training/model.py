"""The reward model: any transformers sequence classifier with one output, computed without a token too many.

Causal backbones compute a group as ``[prefix][tail 1][tail 2]…``, all groups of a micro-batch in one stream without
padding: each tail sees the prefix and itself (see attention), so the rewards equal those of separate sequences.
Encoders cannot share a prefix (every token sees what follows) and get whole, padded sequences of similar length; so do
reward models from elsewhere whose attention cannot be cut, and what padding would change is computed row by row.
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from training.attention import Segments, register
from training.backbone import (
    config_of,
    folder_of,
    is_reward_model,
    outputs_of,
    pooling_of,
    reads_every_token,
    without_its_code,
)
from training.job import Backbone
from training.plan import MicroBatch
from training.pooling import add_averaging_layer
from training.render import CHATML, PLAIN, give_pad_token, prepare_tokenizer
from training.tokens import TokenTable, write

SLICE_TOKENS = 1024  # enough to keep a CPU's or an accelerator's matrix units busy
# How sequences are laid out: groups in one stream; whole ones in padded rows; each in a row computed alone.
Layout = Literal["stream", "rows", "alone"]
UNLIMITED = 1 << 24  # positions; tokenizers that know no limit give a far larger number


@dataclass
class TokenBatch:
    """One micro-batch on its device. R rows of W tokens hold S sequences; a stream is one row.

    Attributes:
        ids, positions: [R, W] int64.
        mask: [R, W] int64, 0 for padding.
        segments: how the groups lie in a stream; None for rows.
        last: int64, the token whose features a causal head reads: of each different sequence in the stream, or in each
            row [R].
        slices: row ranges computed together, each with its own width.
        groups: the groups' indices in the table of tokens, in the order of the rewards.
        order: [S] int64, which of the different sequences, or which row, each sequence is.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor
    segments: Segments | None
    last: torch.Tensor
    slices: list[tuple[int, int, int]]
    groups: list[int]
    order: torch.Tensor

    @property
    def computed(self) -> int:
        """Tokens computed, padding included."""
        return sum((end - begin) * width for begin, end, width in self.slices)


def collate(
    tokens: TokenTable,
    micro: MicroBatch,
    pad: int,
    layout: Layout,
    device: torch.device | str = "cpu",
    skipped: int | None = None,
) -> TokenBatch:
    """Lay out one micro-batch. Equal sequences of a group are laid out once, so that their rewards are equal to the
    last bit.

    Args:
        pad: what fills rows.
        skipped: a causal head reads the last token that is another one.
    """
    held, which, count = [], [], 0
    for prefix, tails in map(tokens.group, micro.groups):
        places = {t.tobytes(): i for i, t in reversed(list(enumerate(tails)))}
        kept = {i: count + n for n, i in enumerate(sorted(places.values()))}
        which += [kept[places[t.tobytes()]] for t in tails]
        held.append((prefix, [tails[i] for i in kept]))
        count += len(kept)
    if layout == "stream":
        parts = [part for prefix, tails in held for part in (prefix, *tails)]
        starts = [n for prefix, tails in held for n in (0, *[len(prefix)] * len(tails))]
        ids = np.concatenate(parts)[None].astype(np.int64)
        positions = np.concatenate([np.arange(n, n + len(p)) for n, p in zip(starts, parts, strict=True)])[None]
        last, end = [], 0
        for prefix, tails in held:
            begin, end = end, end + len(prefix)
            for tail in tails:
                at = read_at(prefix, tail, skipped)
                last.append(begin + at if at < len(prefix) else end + at - len(prefix))
                end += len(tail)
        last, order = np.array(last), np.array(which)
        segments = Segments([(len(prefix), [len(t) for t in tails]) for prefix, tails in held], device)
        mask, slices = np.ones_like(ids), [(0, 1, ids.shape[1])]
    else:
        whole = [np.concatenate([prefix, tail]) for prefix, tails in held for tail in tails]
        by_length = sorted(range(len(whole)), key=lambda i: -len(whole[i]))
        lengths = [len(whole[i]) for i in by_length]
        ids, mask = np.full((len(whole), lengths[0]), pad, np.int64), np.zeros((len(whole), lengths[0]), np.int64)
        for row, i in enumerate(by_length):
            ids[row, : lengths[row]], mask[row, : lengths[row]] = whole[i], 1
        last = np.array([read_at(whole[i][:0], whole[i], skipped) for i in by_length])
        positions, segments = np.zeros((0, 0), np.int64), None
        slices = _slices(lengths) if layout == "rows" else [(i, i + 1, n) for i, n in enumerate(lengths)]
        order = np.argsort(by_length)[which]
    arrays = (torch.from_numpy(a).to(device, non_blocking=True) for a in (ids, positions, mask, last, order))
    ids, positions, mask, last, order = arrays
    return TokenBatch(ids, positions, mask, segments, last, slices, list(micro.groups), order)


def read_at(prefix: np.ndarray, tail: np.ndarray, skipped: int | None) -> int:
    """Where transformers' causal classifiers read a reward: at the last token that is not the padding token, whatever
    the text ends with; at the first if there is no other."""
    if skipped is None or tail[-1] != skipped:
        return len(prefix) + len(tail) - 1
    others = np.flatnonzero(np.concatenate([prefix, tail]) != skipped)
    return int(others[-1]) if len(others) else 0


def _slices(lengths: Sequence[int]) -> list[tuple[int, int, int]]:
    """Cut rows sorted by falling length where at least SLICE_TOKENS are together, so that little padding remains."""
    slices, begin = [], 0
    for end in range(1, len(lengths) + 1):
        if (end - begin) * lengths[begin] >= SLICE_TOKENS or end == len(lengths):
            slices.append((begin, end, lengths[begin]))
            begin = end
    return slices


class RewardModel(nn.Module):
    """A transformers model with one output, and its tokenizer.

    Attributes:
        causal: the reward is read at a sequence's last token.
        every: a token classifier; the reward is the mean over its outputs for all tokens.
        style: weights of style features by name (see style), which are part of the reward and no part of the network.
        layout: how its sequences are laid out.
        foreign: made elsewhere: it sees conversations as its own template writes them, system turns included.

    Raises:
        ValueError: the architecture keeps its head in a place that is not known.
    """

    def __init__(self, model, tokenizer, layout: Layout | None = None, foreign: bool = False):
        super().__init__()
        if not hasattr(model, "score") and not hasattr(model, "classifier"):
            raise ValueError(f"{type(model).__name__} has neither `score` nor `classifier`: its head is not known")
        self.model = model
        self.tokenizer = tokenizer
        self.every = type(model).__name__.endswith("ForTokenClassification")
        self.causal = hasattr(model, "score") and not self.every
        self.style: dict[str, float] = {}
        self.layout: Layout = layout or ("stream" if self.causal else "rows")
        self.foreign = foreign
        if self.layout == "stream":
            model.set_attn_implementation(register())
        self.config = model.config

    @property
    def packed(self) -> bool:
        """Prefixes can be shared and no sequence needs padding."""
        return self.layout == "stream"

    @property
    def skipped(self) -> int | None:
        """The token that the reward is not read at, as plain transformers has it."""
        return self.text_config.pad_token_id if self.causal else None

    @property
    def positions(self) -> int | None:
        """Tokens that the model knows positions for; None if it does not say."""
        known = getattr(self.text_config, "max_position_embeddings", None)
        embeddings = getattr(getattr(self.model.base_model, "embeddings", None), "position_embeddings", None)
        if known and isinstance(embeddings, nn.Embedding) and embeddings.padding_idx is not None:
            return known - embeddings.padding_idx - 1  # they are counted from behind the padding's
        return known

    @property
    def longest(self) -> int | None:
        """Tokens that the model and its tokenizer are made for; None if neither says."""
        return min(
            (int(n) for n in (self.positions, self.tokenizer.model_max_length) if n and n < UNLIMITED), default=None
        )

    def collate(self, tokens: TokenTable, micro: MicroBatch, device: torch.device | str = "cpu") -> TokenBatch:
        """One micro-batch as this model takes it."""
        pads = (self.text_config.pad_token_id, self.tokenizer.pad_token_id)
        pad = next((p for p in pads if p is not None and p >= 0), 0)  # some write -1 where they have none
        return collate(tokens, micro, pad, self.layout, device, self.skipped)

    @property
    def text_config(self):
        return self.config.get_text_config()

    @property
    def attention_cost(self) -> float:
        """Cost of attending to one token, relative to all other work on a token: 4hL operations, half of them left out
        where the token comes later, against 24h²L."""
        return 1 / (12 * self.text_config.hidden_size)

    def recompute(self) -> None:
        """Keep no activations inside layers; compute them again on the way back."""
        self.model.gradient_checkpointing_enable({"use_reentrant": False})
        if not any(p.requires_grad for p in self.model.get_input_embeddings().parameters()):
            self.model.enable_input_require_grads()

    def head(self) -> nn.Linear:
        return (
            self.model.score
            if hasattr(self.model, "score")
            else next(m for m in reversed(list(self.model.classifier.modules())) if isinstance(m, nn.Linear))
        )

    def forward(self, batch: TokenBatch) -> torch.Tensor:
        """Rewards [S], fp32, in the order of the sequences of `batch.groups`."""
        if self.causal and self.layout != "alone":
            # The head works in fp32 whatever the precision of the body: differences of rewards are small.
            head = self.head()
            bias = None if head.bias is None else head.bias.float()
            rewards = nn.functional.linear(self._read(batch), head.weight.float(), bias)[:, 0]
        else:
            rewards = self._classified(batch).float()
        return rewards[batch.order]

    def features(self, batch: TokenBatch) -> torch.Tensor:
        """What the reward head is given [S, H], fp32, in the order of the rewards.

        Raises:
            ValueError: the architecture's attention cannot share prefixes.
        """
        if self.causal:
            return self._read(batch)[batch.order]
        seen: list[torch.Tensor] = []
        hook = self.head().register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        try:
            self._classified(batch)
        finally:
            hook.remove()
        if self.every:
            seen = [_mean(h, batch.mask[b:e, :width]) for h, (b, e, width) in zip(seen, batch.slices, strict=True)]
        return torch.cat(seen).float()[batch.order]

    def _read(self, batch: TokenBatch) -> torch.Tensor:
        """What a causal head reads [different sequences or rows, H], fp32."""
        if batch.segments is not None:
            hidden = self.model.base_model(
                input_ids=batch.ids,
                # Stands for "no mask to be made": positions that jump back between two tails would otherwise be taken
                # for the boundary of packed sequences.
                attention_mask=batch.mask[None, None, :, :1],
                position_ids=batch.positions,
                use_cache=False,
                segments=batch.segments,
            ).last_hidden_state
            if not batch.segments.used:
                raise ValueError(
                    f"{type(self.model).__name__} has an attention of its own, which cannot share prefixes"
                )
            return hidden[0, batch.last].float()
        parts = []
        for b, e, width in batch.slices:
            ids, mask = batch.ids[b:e, :width], batch.mask[b:e, :width]
            hidden = self.model.base_model(input_ids=ids, attention_mask=mask).last_hidden_state
            parts.append(hidden[torch.arange(e - b, device=ids.device), batch.last[b:e]])
        return torch.cat(parts).float()

    def _classified(self, batch: TokenBatch) -> torch.Tensor:
        """Rewards [R] by the classifier's own forward pass."""
        parts = []
        for b, e, width in batch.slices:
            mask = batch.mask[b:e, :width]
            logits = self.model(input_ids=batch.ids[b:e, :width], attention_mask=mask).logits
            parts.append(_mean(logits, mask)[:, 0] if self.every else logits[:, 0])
        return torch.cat(parts)


def _mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The mean [n, H] over the real tokens of [n, W, H], fp32."""
    return (values.float() * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)


def learn_tokenizer(texts: Iterable[str], vocabulary: int):
    """A byte-level BPE tokenizer with ChatML's special tokens, the same for the same texts in any order."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<|pad|>", "<|im_start|>", "<|im_end|>"]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(sorted(texts), trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, pad_token=special[0], eos_token=special[2])
    tokenizer.add_special_tokens({"additional_special_tokens": special[1:2]})
    tokenizer.chat_template = CHATML
    return prepare_tokenizer(tokenizer)


def load_tokenizer(folder: Path):
    """A folder's tokenizer, as plain transformers has it; without a chat template it gets one of plain text.

    Raises:
        OSError: the folder holds no tokenizer.
    """
    named = Path(folder) / "tokenizer_config.json"
    kind = json.loads(named.read_text(encoding="utf-8")).get("tokenizer_class") if named.exists() else None
    if kind in ("PreTrainedTokenizerFast", "TokenizersBackend"):
        tokenizer = _fast_tokenizer(folder)
    else:
        from transformers import AutoTokenizer  # slow to import; only for tokenizers with a class of their own

        with without_its_code(folder):
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    assert tokenizer is not None, "transformers raises where there is none"
    if tokenizer.chat_template is None:
        tokenizer.chat_template = PLAIN
    return tokenizer


def backbone_tokenizer(folder: Path):
    """The tokenizer of a backbone, prepared for rewards (see render). That of a reward model stays as it is, so that
    its rewards do; it gets a padding token if the model has none.

    Raises:
        OSError: the folder holds no tokenizer.
    """
    from transformers import AutoConfig

    if not is_reward_model(folder):
        fast = (Path(folder) / "tokenizer.json").exists()
        return prepare_tokenizer(_fast_tokenizer(folder) if fast else load_tokenizer(folder))
    tokenizer = load_tokenizer(folder)
    pad = AutoConfig.from_pretrained(folder, trust_remote_code=False).get_text_config().pad_token_id
    if pad is None:
        return give_pad_token(tokenizer)
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(pad)
    return tokenizer


def _fast_tokenizer(folder: Path):
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(folder)


def new_head(model: RewardModel, seed: int) -> None:
    """Draw the reward head from N(0, 1/(h+1)) by its own generator: the same on every rank, for every batch size."""
    head = model.head()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        head.weight.copy_(torch.randn(head.weight.shape, generator=generator) / math.sqrt(head.weight.shape[1] + 1))
        if head.bias is not None:
            head.bias.zero_()


def new_model(backbone: Backbone, tokenizer, max_tokens: int, seed: int) -> RewardModel:
    """The reward model that a training starts from: the backbone's folder with a new head, or with the head of the
    reward model that it holds; without a folder a random Llama of the configured size.

    Raises:
        FileNotFoundError: there is no such backbone.
        ValueError: it knows fewer positions than `max_tokens`, cannot pool as it is told to, or is no backbone.
    """
    pooling = pooling_of(backbone)
    kept = False
    if backbone.path is None:
        from transformers.models.llama.modeling_llama import LlamaConfig, LlamaForSequenceClassification

        config = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=backbone.hidden,
            intermediate_size=backbone.hidden * 8 // 3,
            num_hidden_layers=backbone.layers,
            num_attention_heads=backbone.heads,
            max_position_embeddings=max_tokens,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
            tie_word_embeddings=False,
        )
        config.num_labels = 1
        torch.manual_seed(seed)
        model = LlamaForSequenceClassification(config)
    else:
        folder = folder_of(backbone.path)
        kept = is_reward_model(folder)
        model = _classifier(folder, backbone.keep_layers, pooling)
    if len(tokenizer) > _vocabulary(model):
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    model.config.pad_token_id = model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    reward = RewardModel(model, tokenizer)
    if reward.positions and max_tokens > reward.positions:
        raise ValueError(f"training.max_tokens is {max_tokens}, but {backbone.name} knows {reward.positions} positions")
    if not kept:
        new_head(reward, seed)
    freeze(reward, backbone.trainable_layers)
    if pooling == "mean" and not hasattr(model.config, "classifier_pooling"):
        add_averaging_layer(model)
    _without_dropout(reward)
    return reward


def _classifier(folder: Path, keep_layers: int | None = None, pooling: Literal["mean", "cls"] | None = None):
    """The folder's model with one output; a head that it does not bring is drawn by whoever wants it.

    Raises:
        ValueError: it is an encoder-decoder, or should bring a head and does not.
    """
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoModelForTokenClassification
    from transformers.utils import logging

    logging.set_verbosity_error()  # a new head is the purpose, not worth a warning
    with without_its_code(folder):
        config = AutoConfig.from_pretrained(folder, num_labels=1, trust_remote_code=False)
    if getattr(config, "is_encoder_decoder", False):
        raise ValueError(f"{folder}: encoder-decoder models are no backbone for a reward model")
    if keep_layers is not None:
        config.num_hidden_layers = min(keep_layers, config.num_hidden_layers)
    if pooling and hasattr(config, "classifier_pooling"):
        config.classifier_pooling = pooling
    kind = AutoModelForTokenClassification if reads_every_token(folder) else AutoModelForSequenceClassification
    with without_its_code(folder):
        model, found = kind.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=not is_reward_model(folder),  # a head with other outputs goes
        )
    if is_reward_model(folder) and found["missing_keys"]:
        raise ValueError(f"{folder}: it holds no reward model, having no {', '.join(sorted(found['missing_keys']))}")
    return model


def shares_prefixes(folder: Path) -> bool:
    """Whether a reward model on this backbone computes a prompt once for all its responses; no weights are read."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    if reads_every_token(folder):
        return False
    with torch.device("meta"), without_its_code(folder):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        return hasattr(AutoModelForSequenceClassification.from_config(config), "score")


def load_model(folder: Path) -> RewardModel:
    """A reward model, ready to score; one from elsewhere gives what plain transformers gives.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it holds no model, or one that has not one output.
    """
    folder = Path(folder)
    if not (folder / "config.json").exists():
        raise FileNotFoundError(f"{folder}: no such folder, or no config.json in it")
    if not is_reward_model(folder):
        config = config_of(folder)
        names = ", ".join(config.get("architectures") or ["no architecture"])
        outputs = outputs_of(config)
        shown = f"{names} with {outputs} outputs" if "ForSequenceClassification" in names else names
        raise ValueError(f"{folder}: {shown} is no reward model, which is a sequence classifier with one output")
    told = folder / "reward.json"
    foreign = not told.exists()
    model, tokenizer = _classifier(folder), load_tokenizer(folder)
    _without_dropout(model)
    layout = _layout(model.eval(), tokenizer) if foreign else "rows" if reads_every_token(folder) else None
    reward = RewardModel(model, tokenizer, layout, foreign).eval()
    reward.style = {} if foreign else json.loads(told.read_text(encoding="utf-8")).get("style", {})
    return reward


def _layout(model, tokenizer) -> Layout:
    """The fastest layout in which a model from elsewhere gives the rewards of its own forward pass, tried on a few
    tokens, padding tokens within and at the end among them."""
    own = model.config._attn_implementation
    pad = model.config.get_text_config().pad_token_id
    known = min(_vocabulary(model), len(tokenizer))
    numbers = np.random.default_rng(0).integers(0, known, 40).astype(np.int32)
    if pad is not None and 0 <= pad < known:
        numbers[[7, 17, 28, 29]] = pad
    begin, *ends = np.split(numbers, [12, 18, 30])
    whole = [np.concatenate([begin, end]) for end in ends]
    sink = pa.BufferOutputStream()
    write([("probe", 0, whole)], sink, shared=True)
    tokens = TokenTable(sink.getvalue())
    with torch.inference_mode():
        expected = torch.stack(
            [model(input_ids=i, attention_mask=torch.ones_like(i)).logits[0, 0] for i in map(_row, whole)]
        )
        layouts: tuple[Layout, ...] = ("stream", "rows") if hasattr(model, "score") else ("rows",)
        for layout in layouts:
            try:
                reward = RewardModel(model, tokenizer, layout)
                found = reward(reward.collate(tokens, MicroBatch((0,), len(numbers))))
            except (TypeError, ValueError):  # the architecture does not take it
                found = None
            if found is not None and torch.allclose(found, expected, rtol=1e-4, atol=1e-4):
                return layout
            model.set_attn_implementation(own)
    return "alone"


def _vocabulary(model) -> int:
    return model.get_input_embeddings().num_embeddings


def _row(sequence: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(sequence.astype(np.int64))[None]


def _without_dropout(model: nn.Module) -> None:
    """Comparing two responses under different noise teaches noise; classifiers of BERT's time drop by default."""
    for m in model.modules():
        if isinstance(m, nn.Dropout):
            m.p = 0.0
        if isinstance(getattr(m, "dropout_prob", None), float):
            setattr(m, "dropout_prob", 0.0)  # noqa: B010, torch's modules declare no such attribute


def freeze(model: RewardModel, trainable_layers: int | None) -> None:
    """Train only the last layers of the backbone, and whatever follows them."""
    if trainable_layers is None:
        return
    body = model.model.base_model
    layers: Sequence[nn.Module] = getattr(body, "layers", None) or body.encoder.layer
    for p in body.parameters():
        p.requires_grad_(False)
    kept = [*layers[len(layers) - trainable_layers :]] if trainable_layers else []
    kept += [m for n in ("norm", "pooler") if (m := getattr(body, n, None)) is not None]
    for m in kept:
        for p in m.parameters():
            p.requires_grad_(True)
