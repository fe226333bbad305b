"""The reward model: any transformers sequence classifier with one output, computed without a token too many.

Causal backbones compute a group as ``[prefix][tail 1][tail 2]…``, all groups of a micro-batch in one stream without
padding: each tail sees the prefix and itself (see attention), so the rewards equal those of separate sequences.
Encoders cannot share a prefix (every token sees what follows) and get whole, padded sequences of similar length.
"""

import importlib.util
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from training.attention import Segments, register
from training.plan import MicroBatch
from training.render import CHATML, settle
from training.tokens import Tokens

SLICE_TOKENS = 1024  # enough to keep a CPU's or an accelerator's matrix units busy


@dataclass
class Batch:
    """One micro-batch on its device. R rows of W tokens hold S sequences; the stream of a causal model is one row.

    Attributes:
        ids, positions: [R, W] int64.
        mask: [R, W] int64, 0 for padding.
        segments: how a causal model's groups lie in the stream; None for an encoder.
        last: [S] int64, where each sequence ends in the stream, group by group.
        slices: an encoder's row ranges computed together, each with its own width.
        groups: the groups' indices in the table of tokens, in the order of the rewards.
        order: [S] int64, the row of each sequence in an encoder's batch.
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


def collate(tokens: Tokens, micro: MicroBatch, pad: int, packed: bool, device: torch.device | str = "cpu") -> Batch:
    """Lay out one micro-batch: one stream for causal models, a padded row a sequence for encoders. Equal sequences of a
    group are laid out once, so that their rewards are equal to the last bit."""
    held, which, count = [], [], 0
    for prefix, tails in map(tokens.group, micro.groups):
        places = {t.tobytes(): i for i, t in reversed(list(enumerate(tails)))}
        kept = {i: count + n for n, i in enumerate(sorted(places.values()))}
        which += [kept[places[t.tobytes()]] for t in tails]
        held.append((prefix, [tails[i] for i in kept]))
        count += len(kept)
    if packed:
        parts = [part for prefix, tails in held for part in (prefix, *tails)]
        starts = [n for prefix, tails in held for n in (0, *[len(prefix)] * len(tails))]
        ids = np.concatenate(parts)[None].astype(np.int64)
        positions = np.concatenate([np.arange(n, n + len(p)) for n, p in zip(starts, parts, strict=True)])[None]
        ends = np.cumsum([len(p) for p in parts]) - 1
        last = ends[[k > 0 for _, tails in held for k in range(len(tails) + 1)]][which]
        segments = Segments([(len(prefix), [len(t) for t in tails]) for prefix, tails in held], device)
        mask, slices, order = np.ones_like(ids), [(0, 1, ids.shape[1])], np.zeros(0, np.int64)
    else:
        whole = [np.concatenate([prefix, tail]) for prefix, tails in held for tail in tails]
        by_length = sorted(range(len(whole)), key=lambda i: -len(whole[i]))
        lengths = [len(whole[i]) for i in by_length]
        ids, mask = np.full((len(whole), lengths[0]), pad, np.int64), np.zeros((len(whole), lengths[0]), np.int64)
        for row, i in enumerate(by_length):
            ids[row, : lengths[row]], mask[row, : lengths[row]] = whole[i], 1
        positions, last, segments = np.zeros((0, 0), np.int64), np.zeros(0, np.int64), None
        slices, order = _slices(lengths), np.argsort(by_length)[which]
    arrays = (torch.from_numpy(a).to(device, non_blocking=True) for a in (ids, positions, mask, last, order))
    ids, positions, mask, last, order = arrays
    return Batch(ids, positions, mask, segments, last, slices, list(micro.groups), order)


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
        causal: prefixes can be shared and no sequence needs padding.
    """

    def __init__(self, model, tokenizer):
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.causal = hasattr(model, "score")
        if self.causal:
            model.set_attn_implementation(register())
        self.config = model.config

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
            if self.causal
            else next(m for m in reversed(list(self.model.classifier.modules())) if isinstance(m, nn.Linear))
        )

    def forward(self, batch: Batch) -> torch.Tensor:
        """Rewards [S], fp32, in the order of the sequences of `batch.groups`."""
        if self.causal:
            # The head works in fp32 whatever the precision of the body: differences of rewards are small.
            return nn.functional.linear(self.features(batch), self.model.score.weight.float())[:, 0]
        return self._encoded(batch).float()[batch.order]

    def features(self, batch: Batch) -> torch.Tensor:
        """What the reward head is given [S, H], fp32, in the order of the rewards.

        Raises:
            ValueError: the architecture's attention cannot share prefixes.
        """
        if self.causal:
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
        seen: list[torch.Tensor] = []
        hook = self.head().register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        try:
            self._encoded(batch)
        finally:
            hook.remove()
        return torch.cat(seen).float()[batch.order]

    def _encoded(self, batch: Batch) -> torch.Tensor:
        parts = [
            self.model(input_ids=batch.ids[b:e, :width], attention_mask=batch.mask[b:e, :width]).logits[:, 0]
            for b, e, width in batch.slices
        ]
        return torch.cat(parts)


def folder_of(path: str) -> Path:
    """The folder of a backbone: a path, or ``package:NAME`` for one that comes inside an installed package.

    Raises:
        FileNotFoundError: there is none; the message names what was looked for.
    """
    if path.startswith("package:"):
        name = path.removeprefix("package:")
        spec = importlib.util.find_spec(name)
        if spec is None or not spec.submodule_search_locations:
            raise FileNotFoundError(f"backbone {path}: the package {name} is not installed")
        found = sorted(
            p.parent
            for root in spec.submodule_search_locations
            for p in Path(root).rglob("config.json")
            if (p.parent / "tokenizer.json").exists()
        )
        if not found:
            raise FileNotFoundError(f"backbone {path}: the package holds no folder with config.json and tokenizer.json")
        return found[0]
    if not (Path(path) / "config.json").exists():
        raise FileNotFoundError(f"backbone {path}: no such folder, or no config.json in it")
    return Path(path)


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
    return settle(tokenizer)


def load_tokenizer(folder: Path):
    """The tokenizer of a backbone, settled (see render).

    Raises:
        FileNotFoundError: the folder holds no tokenizer.
    """
    from transformers import PreTrainedTokenizerFast

    if not (Path(folder) / "tokenizer.json").exists():
        from transformers import AutoTokenizer  # slow to import; only for tokenizers without a tokenizer.json

        return settle(AutoTokenizer.from_pretrained(folder))
    return settle(PreTrainedTokenizerFast.from_pretrained(folder))


def new_head(model: RewardModel, seed: int) -> None:
    """Draw the reward head from N(0, 1/(h+1)) by its own generator: the same on every rank, for every batch size."""
    head = model.head()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        head.weight.copy_(torch.randn(head.weight.shape, generator=generator) / math.sqrt(head.weight.shape[1] + 1))
        if head.bias is not None:
            head.bias.zero_()


def new_model(backbone: dict, tokenizer, max_tokens: int, seed: int) -> RewardModel:
    """A fresh reward model: from the backbone's folder, or without one a random Llama of the configured size."""
    if backbone["path"] is None:
        from transformers.models.llama.modeling_llama import LlamaConfig, LlamaForSequenceClassification

        config = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=backbone["hidden"],
            intermediate_size=backbone["hidden"] * 8 // 3,
            num_hidden_layers=backbone["layers"],
            num_attention_heads=backbone["heads"],
            max_position_embeddings=max_tokens,
            num_labels=1,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
            tie_word_embeddings=False,
        )
        torch.manual_seed(seed)
        model = LlamaForSequenceClassification(config)
    else:
        model = _classifier(folder_of(backbone["path"]), backbone.get("keep_layers"))
    longest = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if longest and max_tokens > longest:
        raise ValueError(f"training.max_tokens is {max_tokens}, but {backbone['name']} knows {longest} positions")
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    model.config.pad_token_id = model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    reward = RewardModel(model, tokenizer)
    new_head(reward, seed)
    freeze(reward, backbone["trainable_layers"])
    _without_dropout(reward)
    return reward


def _classifier(folder: Path, keep_layers: int | None = None):
    from transformers import AutoConfig, AutoModelForSequenceClassification
    from transformers.utils import logging

    logging.set_verbosity_error()  # a new head is the purpose, not worth a warning
    config = AutoConfig.from_pretrained(folder, num_labels=1)
    if getattr(config, "is_encoder_decoder", False):
        raise ValueError(f"{folder}: encoder-decoder models are no backbone for a reward model")
    if keep_layers is not None:
        config.num_hidden_layers = min(keep_layers, config.num_hidden_layers)
    return AutoModelForSequenceClassification.from_pretrained(
        folder, config=config, dtype=torch.float32, attn_implementation="sdpa"
    )


def load_model(folder: Path) -> RewardModel:
    """An exported reward model, ready to score."""
    reward = RewardModel(_classifier(Path(folder)), load_tokenizer(folder))
    _without_dropout(reward)
    return reward.eval()


def _without_dropout(model: nn.Module) -> None:
    """Comparing two responses under different noise teaches noise; classifiers of BERT's time drop by default."""
    for m in model.modules():
        if isinstance(m, nn.Dropout):
            m.p = 0.0
        if isinstance(getattr(m, "dropout_prob", None), float):
            m.dropout_prob = 0.0


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
