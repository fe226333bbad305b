"""From a conversation and a response to tokens: the one way used by training, scoring and serving.

The rules (spec 5.10, 6): the tokenizer's own chat template; no system prompt, neither from the data nor added by a
template; one BOS; Qwen3's thinking off; a fixed date for templates that print one. The result is what plain
transformers gives for ``tokenizer(tokenizer.apply_chat_template(turns, tokenize=False))``.
"""

from collections.abc import Sequence

import numpy as np

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PLAIN = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}"
    "{{ '\n' if not loop.last else eos_token or '' }}{% endfor %}"
)
FIXED = {"enable_thinking": False, "date_string": "26 Jul 2024"}
PROBE = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]


class RenderError(Exception):
    """A conversation does not fit the template; the message names the pair and what the template said."""


def prepare_tokenizer(tokenizer):
    """Make a tokenizer fit for rewards, in place: a template without default system prompt, and a pad token that no
    sequence ends with (the position of the reward is found by it in plain transformers).

    Returns:
        the tokenizer; its vocabulary has grown by one if no unused special token could serve for padding.

    Raises:
        RenderError: the template adds a default system prompt in a format that is not known.
    """
    if tokenizer.chat_template is None:
        tokenizer.chat_template = PLAIN
    text = tokenizer.apply_chat_template(PROBE, tokenize=False, **FIXED)
    if text.startswith("<|im_start|>system\n"):
        tokenizer.chat_template = CHATML
        if not text.endswith(tokenizer.apply_chat_template(PROBE, tokenize=False)):
            raise RenderError(f"the chat template adds a system prompt that cannot be taken out: {text[:200]!r}")
    return give_pad_token(tokenizer)


def give_pad_token(tokenizer):
    """Give a tokenizer a pad token that no sequence ends with, in place, unless it has one. Returns the tokenizer; its
    vocabulary has grown by one if no unused special token could serve."""
    probe = encode(tokenizer, [tokenizer.apply_chat_template(PROBE, tokenize=False, **FIXED)])[0].tolist()
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id in (probe[-1], tokenizer.eos_token_id):
        used = {*probe, tokenizer.eos_token_id, tokenizer.bos_token_id}
        spare = [t for i, t in sorted(tokenizer.added_tokens_decoder.items()) if t.special and i not in used]
        preferred = [t for t in spare if "pad" in t.content.lower()] or spare
        tokenizer.pad_token = preferred[0].content if preferred else "<|pad|>"
        if not preferred:
            tokenizer.add_special_tokens({"pad_token": "<|pad|>"})
    tokenizer.padding_side = "right"
    return tokenizer


def render(tokenizer, conversation: Sequence[dict], response: str, name: str = "", as_written: bool = False) -> str:
    """The text of one whole conversation that ends with `response`.

    Args:
        conversation: turns {role, content} before the answer; system turns are left out.
        name: what an error calls this pair.
        as_written: for reward models from elsewhere: system turns stay and the template decides about thinking, as in
            plain transformers. The date stays fixed, so that a reward is the same tomorrow.

    Raises:
        RenderError: the template refuses the roles.
    """
    turns = [t for t in conversation if as_written or t["role"] != "system"]
    fixed = {k: v for k, v in FIXED.items() if not as_written or k == "date_string"}
    try:
        return tokenizer.apply_chat_template(
            [*turns, {"role": "assistant", "content": response}], tokenize=False, **fixed
        )
    except Exception as e:  # templates raise whatever their author chose
        roles = ", ".join(t["role"] for t in turns)
        raise RenderError(f"{name}: the chat template refuses the turns ({roles}, then assistant): {e}") from e


def encode(tokenizer, texts: Sequence[str]) -> list[np.ndarray]:
    """Token ids of rendered texts, int32, each with the tokenizer's own special tokens and exactly one BOS."""
    if not texts:
        return []
    bos = tokenizer.bos_token
    bare = [t.removeprefix(bos) for t in texts] if bos else list(texts)
    rows = tokenizer(bare, add_special_tokens=True, return_attention_mask=False, verbose=False)["input_ids"]
    if bos and rows[0][:1] != [tokenizer.bos_token_id] and texts[0].startswith(bos):
        rows = [[tokenizer.bos_token_id, *r] for r in rows]
    return [np.asarray(r, dtype=np.int32) for r in rows]


def shared_prefix(sequences: Sequence[np.ndarray]) -> int:
    """Length of the longest common prefix that leaves every sequence at least one token of its own."""
    n = min(len(s) for s in sequences) - 1
    first = sequences[0][:n]
    for other in sequences[1:]:
        differs = np.flatnonzero(first[:n] != other[:n])
        if len(differs):
            n = int(differs[0])
    return n
