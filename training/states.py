"""States of texts: what the lower layers of a pretrained model make of a response, averaged over its tokens.

Only the layers up to the highest one asked for are computed, texts of similar length lie in one batch, and a text is
read once however many pairs hold it. Of encoders whose classifiers read the first token, a state is what an averaging
layer leaves there (see pooling), so that a linear head on states is a plain sequence classifier.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from training.backbone import LAYERED, config_of, without_its_code
from training.render import encode

if TYPE_CHECKING:
    import torch

BATCH_TOKENS = 4096
PIECES = 16  # of a file of weights that tell it from another of the same size
PIECE = 1 << 16  # bytes
# A response alone, as a chat template: what a head on states is given of a conversation. A decoder's is ended.
ENCODER_TEMPLATE = "{{ messages[-1]['content'] }}"
DECODER_TEMPLATE = "{{ messages[-1]['content'] }}{{ eos_token or '' }}"


def template_of(folder: Path) -> str:
    """The chat template of reward models on this backbone's states."""
    return ENCODER_TEMPLATE if _text_config(folder).get("model_type") in (*LAYERED, "mpnet") else DECODER_TEMPLATE


def middle_layer(folder: Path, keep_layers: int | None = None) -> int:
    """The layer that is read unless another is named: the one in the middle, or `keep_layers` where they are fewer."""
    config = _text_config(folder)
    whole = config.get("num_hidden_layers") or config.get("n_layer") or config.get("num_layers") or 1
    return min(keep_layers or whole, max(1, whole // 2))


def longest_of(folder: Path, max_tokens: int) -> int:
    """Tokens of a text that are read at the most, special ones included: as many as the model has positions for."""
    config = _text_config(folder)
    known = config.get("max_position_embeddings") or config.get("n_positions") or max_tokens
    if config.get("model_type") in (*LAYERED[1:], "mpnet"):
        known -= 2  # they count from behind the padding's position
    return min(max_tokens, known)


def name_of(folder: Path, layers: Sequence[int], max_tokens: int, cut: bool = False) -> str:
    """What states of equal names can be compared: weights, layers, and how much of a text is read. No model is loaded."""
    config = config_of(folder)
    told: list = [config]
    for path in sorted(p for p in folder.iterdir() if p.suffix in (".safetensors", ".bin", ".gguf")):
        size, held = path.stat().st_size, hashlib.blake2b(digest_size=8)
        with path.open("rb") as file:
            for i in range(PIECES):
                file.seek(i * max(0, size - PIECE) // max(1, PIECES - 1))
                held.update(file.read(PIECE))
        told.append((path.name, size, held.hexdigest()))
    weights = hashlib.blake2b(json.dumps(told, sort_keys=True, default=str).encode(), digest_size=4).hexdigest()
    end = " cut" if cut else ""
    layer = "+".join(map(str, layers))
    return f"{config.get('model_type', 'model')}-{weights}/layers-{layer}/tokens-{longest_of(folder, max_tokens)}{end}"


def _text_config(folder: Path) -> dict:
    config = config_of(folder)
    return config.get("text_config") or config


class StateReader:
    """The lower layers of a pretrained encoder or decoder.

    Args:
        folder: of a transformers model with its tokenizer.
        layers: which layers' outputs make a state, counted from 1; default: the one in the middle.
        max_tokens: of a text, special ones included.
        cut: a longer text loses its end; otherwise it has no state.
        device: where the layers are computed; default: a GPU if there is one.

    Attributes:
        name: what states of equal names can be compared.
        width: length of a state.
    """

    def __init__(
        self,
        folder: Path,
        layers: Sequence[int] | None = None,
        max_tokens: int = 256,
        cut: bool = False,
        device: str | None = None,
    ):
        import torch
        from transformers import AutoConfig, AutoModel, AutoTokenizer
        from transformers.utils import logging

        logging.set_verbosity_error()  # the upper layers are left out on purpose
        logging.disable_progress_bar()
        self.folder = Path(folder)
        with without_its_code(self.folder):
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        if getattr(config, "is_encoder_decoder", False):
            raise ValueError(f"{folder}: encoder-decoder models are not read")
        text = config.get_text_config()
        whole = text.num_hidden_layers
        self.layers = tuple(sorted(layers or (middle_layer(self.folder),)))
        if not 1 <= self.layers[0] <= self.layers[-1] <= whole:
            raise ValueError(f"{folder}: it has layers 1 to {whole}, asked for {', '.join(map(str, self.layers))}")
        cut_at(config, self.layers[-1])
        self.max_tokens, self.cut = longest_of(self.folder, max_tokens), cut
        self.name = name_of(self.folder, self.layers, max_tokens, cut)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        self.tokenizer.chat_template = template_of(self.folder)
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.model = AutoModel.from_pretrained(
            folder, config=config, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
        ).eval()
        if getattr(self.model, "pooler", None) is not None:
            self.model.pooler = None  # reads the first token only
        self.model.to(self.device)
        self.width = text.hidden_size * len(self.layers)
        # of the layer that averages, where there is one
        self.epsilon = text.layer_norm_eps if text.model_type in LAYERED else None

    def tokens(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Token ids of responses, as the exported model is given them."""
        if self.cut:  # what cannot be read is not tokenized either: few tokens have more than some characters
            texts = [t[: self.max_tokens * 16] for t in texts]
        rendered = [
            self.tokenizer.apply_chat_template([{"role": "assistant", "content": t}], tokenize=False) for t in texts
        ]
        ids = encode(self.tokenizer, rendered)
        if not self.cut:
            return ids
        # the last token is special in encoders, and one more word in decoders
        return [i if len(i) <= self.max_tokens else np.append(i[: self.max_tokens - 1], i[-1]) for i in ids]

    def states(self, texts: Sequence[str]) -> np.ndarray:
        """States [n, width] float32 of responses; NaN for those that are too long. Equal texts are read once.

        The same texts give the same states in any order; next to other texts they may differ in the last bits.
        """
        distinct = sorted(set(texts))
        found = self._states(self.tokens(distinct))
        place = {text: i for i, text in enumerate(distinct)}
        return found[[place[t] for t in texts]]

    def ends(self, texts: Sequence[str]) -> np.ndarray:
        """States [n, width] of what is left of texts that are too long, where they lose what stands between their first token
        and their end, as in scoring (see score)."""
        read = self.tokens(texts)
        return self._states(
            [i if len(i) <= self.max_tokens else np.append(i[:1], i[1 - self.max_tokens :]) for i in read]
        )

    def _states(self, read: Sequence[np.ndarray]) -> np.ndarray:
        """States [n, width] of sequences of tokens; NaN for those that are too long or empty."""
        import torch

        by_length = sorted(
            (i for i in range(len(read)) if 0 < len(read[i]) <= self.max_tokens), key=lambda i: (len(read[i]), i)
        )
        found = np.full((len(read), self.width), np.nan, np.float32)
        begin = 0
        with torch.inference_mode():
            while begin < len(by_length):
                end = begin + 1
                while end < len(by_length) and (end + 1 - begin) * len(read[by_length[end]]) <= BATCH_TOKENS:
                    end += 1
                some = by_length[begin:end]
                found[some] = self._read([read[i] for i in some]).cpu().numpy()
                begin = end
        return found

    def _read(self, batch: list[np.ndarray]) -> "torch.Tensor":
        import torch

        width = max(map(len, batch))
        ids = np.full((len(batch), width), self.tokenizer.pad_token_id or 0, np.int64)
        real = np.zeros((len(batch), width), bool)
        for row, one in enumerate(batch):
            ids[row, : len(one)], real[row, : len(one)] = one, True
        mask = torch.from_numpy(real).to(self.device)
        out = self.model(
            input_ids=torch.from_numpy(ids).to(self.device),
            attention_mask=None if real.all() else mask.long(),
            output_hidden_states=len(self.layers) > 1,
        )
        hidden = [out.hidden_states[k] for k in self.layers] if len(self.layers) > 1 else [out.last_hidden_state]
        return torch.cat([self._pooled(h.float(), mask) for h in hidden], dim=1)

    def _pooled(self, hidden: "torch.Tensor", mask: "torch.Tensor") -> "torch.Tensor":
        """The mean over the real tokens [n, H] of hidden states [n, W, H]."""
        from training.pooling import averaged

        mean = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
        return mean if self.epsilon is None else averaged(mean, hidden[:, 0], self.epsilon)


def cut_at(config: Any, layer: int) -> None:
    """Let a configuration of transformers end at a layer, in place."""
    text = config.get_text_config()
    text.num_hidden_layers = layer
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[:layer]


class HashedWords:
    """States without a pretrained model: words and pairs of words, hashed into `width` places. They know no word from
    another by its meaning; what they learn is which words the better responses hold."""

    def __init__(self, width: int = 1024):
        self.width = width
        self.name = f"hashed-words/{width}"

    def states(self, texts: Sequence[str]) -> np.ndarray:
        """States [n, width] float32."""
        from sklearn.feature_extraction.text import HashingVectorizer

        words = HashingVectorizer(n_features=self.width, ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b")
        if not len(texts):
            return np.zeros((0, self.width), np.float32)
        return words.transform(texts).toarray().astype(np.float32)
