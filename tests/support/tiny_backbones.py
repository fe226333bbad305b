"""Random pretrained models of a few kilobytes, with a tokenizer learned from a few texts."""

from collections.abc import Sequence
from pathlib import Path


def tiny_backbone(kind: str, folder: Path, texts: Sequence[str]) -> Path:
    """A random model of four layers."""
    import torch
    from transformers import AutoConfig, AutoModel

    from training.model import learn_tokenizer

    tokenizer = learn_tokenizer(texts, 300)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    shape = dict(hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=32)
    shape |= dict(num_key_value_heads=2, head_dim=8) if kind in ("qwen3", "gemma2") else {}
    config = AutoConfig.for_model(kind, vocab_size=len(tokenizer), max_position_embeddings=128, pad_token_id=0, **shape)
    AutoModel.from_config(config).save_pretrained(folder)
    return folder
