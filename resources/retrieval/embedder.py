"""Text of (conversation, attributes) to unit vectors (spec 3.06); responses never reach it."""

import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from curation.tables import EMBEDDINGS
from resources.dealing import dealt
from resources.settings import Embedding
from resources.settings.cluster import Cluster

TEXT_VERSION = "2"  # raised when the text, or what of it an encoder sees, changes
MAX_TOKENS = 256  # of an encoder
FIELDS = ("category", "objectivity", "controversiality", "desired", "guideline")
ALONE = Cluster()
Encoder = Callable[[list[str]], np.ndarray]  # texts -> [texts, dimensions] unit vectors


def text(row: dict) -> str:
    """Conversation turns, then the five attributes with headings (spec O-15)."""
    turns = "\n".join(f"{t['role']}: {t['content']}" for t in row["conversation"])
    return turns + "\n" + "\n".join(f"{name}: {row[name]}" for name in FIELDS)


def embed(settings: Embedding, rows: Iterable[pa.RecordBatch], cluster: Cluster = ALONE) -> Iterator[pa.RecordBatch]:
    """Batches with pair_id, conversation and the five attributes to batches of EMBEDDINGS.

    Args:
        cluster: who does it; a batch has the same vectors whoever does.
    """
    return dealt(cluster, partial(_embedder, settings), rows)


def _embedder(settings: Embedding) -> Callable[[pa.RecordBatch], pa.RecordBatch]:
    encode = _hashing(settings.dimensions) if settings.backend == "hashing" else _encoder(settings.model)
    name = f"{settings.backend}:{settings.model or settings.dimensions}/text-{TEXT_VERSION}"

    def embedded(batch: pa.RecordBatch) -> pa.RecordBatch:
        vectors = encode([text(r) for r in batch.to_pylist()])
        flat = pa.array(vectors.reshape(-1), pa.float32())
        offsets = pa.array(range(0, len(flat) + 1, vectors.shape[1]), pa.int32())
        return pa.RecordBatch.from_arrays(
            [batch.column("pair_id"), pa.ListArray.from_arrays(offsets, flat), pa.array([name] * batch.num_rows)],
            names=EMBEDDINGS.schema.names,
        )

    return embedded


def _cut(ids: list[int]) -> list[int]:
    """At most MAX_TOKENS of a text's tokens, without its middle (spec O-15). Three quarters of them come from the end,
    where the attributes stand."""
    over = len(ids) - MAX_TOKENS
    return ids if over <= 0 else ids[: MAX_TOKENS // 4] + ids[MAX_TOKENS // 4 + over :]


def _hashing(dimensions: int) -> Encoder:
    """Signed hashing of words and word pairs: no model, the same vectors everywhere."""

    def encode(texts: list[str]) -> np.ndarray:
        out = np.zeros((len(texts), dimensions), np.float32)
        for i, t in enumerate(texts):
            words = re.findall(r"\w+", t.lower())
            for term in (*words, *(f"{a} {b}" for a, b in zip(words, words[1:], strict=False))):
                h = zlib.crc32(term.encode())
                out[i, (h >> 1) % dimensions] += 1 if h & 1 else -1
        norms = np.linalg.norm(out, axis=1, keepdims=True)
        return out / np.maximum(norms, 1e-12)

    return encode


def _encoder(model: str) -> Encoder:
    import torch
    from transformers import AutoModel, AutoTokenizer

    from training.backbone import folder_of, without_its_code

    folder = folder_of(model)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    at_once = 512 if device == "cuda" else 32  # texts
    with without_its_code(folder):
        # annotated as None or one of two classes
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        net = AutoModel.from_pretrained(folder, use_safetensors=True, trust_remote_code=False).eval().to(device)

    @torch.inference_mode()
    def encode(texts: list[str]) -> np.ndarray:
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        out = torch.zeros(len(texts), net.config.hidden_size)
        for start in range(0, len(order), at_once):
            some = order[start : start + at_once]
            ids = [_cut(x) for x in tokenizer([texts[i] for i in some], verbose=False)["input_ids"]]
            batch = tokenizer.pad({"input_ids": ids}, return_tensors="pt").to(device)
            mask = batch["attention_mask"].unsqueeze(-1)
            mean = (net(**batch).last_hidden_state * mask).sum(1) / mask.sum(1)
            out[some] = torch.nn.functional.normalize(mean, dim=-1).cpu()
        return out.numpy()

    return encode
