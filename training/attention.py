"""Attention over a stream of groups, each a prefix and its tails: a tail sees the prefix and itself, nothing else.

Registered with transformers under the name `SEGMENTS`; any causal architecture that hands keyword arguments on to its
attention can be used. Nothing is padded and there is no mask over the stream: on a GPU in half precision the pieces are
the sequences of one variable-length flash attention, elsewhere each is a call of its own.
"""

import functools
import itertools
from collections.abc import Sequence

import torch
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

SEGMENTS = "segments"
CAPPED_ROWS = 1024  # queries whose scores are in memory together where they are capped


def register() -> str:
    """Make this attention known to transformers. Returns its name."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(SEGMENTS, attend)
    AttentionMaskInterface.register(SEGMENTS, sdpa_mask)  # for models called without segments, as others call them
    return SEGMENTS


class Segments:
    """How groups lie one after another in a stream of T tokens: prefix, first tail, second tail, …

    The prefix and the first tail are one piece of queries, as they are one causal sequence; every other tail is a
    piece, whose keys are the prefix and itself.

    Args:
        groups: (tokens of the prefix, tokens of each tail) of every group.
        device: where the indices for variable-length attention are wanted.
    """

    def __init__(self, groups: Sequence[tuple[int, Sequence[int]]], device: torch.device | str = "cpu"):
        self.groups, self.device = groups, device
        self.queries = [n for prefix, tails in groups for n in (prefix + tails[0], *tails[1:])]
        self.keys = [prefix + n for prefix, tails in groups for n in tails]
        self.used = False  # whether any attention was computed by it
        self._masks: dict[tuple, torch.Tensor] = {}

    @functools.cached_property
    def key_places(self) -> torch.Tensor:
        """[sum of `keys`] int64, which tokens of the stream are the keys of each piece."""
        places, at = [], 0
        for prefix, tails in self.groups:
            start = at
            for i, n in enumerate(tails):
                at += prefix if i == 0 else 0
                places += [range(start, start + prefix), range(at, at + n)]
                at += n
        return torch.tensor([i for r in places for i in r], device=self.device)

    @functools.cached_property
    def bounds(self) -> tuple[torch.Tensor, torch.Tensor]:
        """[pieces + 1] int32 twice, where each piece's queries and keys begin."""
        queries, keys = (
            torch.tensor([0, *itertools.accumulate(n)], dtype=torch.int32, device=self.device)
            for n in (self.queries, self.keys)
        )
        return queries, keys

    def mask(self, queries: int, keys: int, window: int | None, like: torch.Tensor) -> torch.Tensor:
        """[queries, keys], 0 where the last `queries` of `keys` positions see a key, -inf elsewhere."""
        kind = (queries, keys, window, like.dtype)
        if kind not in self._masks:
            behind = torch.arange(keys - queries, keys)[:, None] - torch.arange(keys)[None]
            seen = behind >= 0 if window is None else (behind >= 0) & (behind < window)
            mask = torch.zeros(queries, keys, dtype=like.dtype).masked_fill_(~seen, float("-inf"))
            self._masks[kind] = mask.to(like.device)
        return self._masks[kind]


def attend(
    module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    segments: Segments | None = None,
    **others,
) -> tuple[torch.Tensor, None]:
    """transformers' attention interface: query [1, H, T, D], key and value [1, K, T, D] give [1, T, H, D].

    Raises:
        ValueError: the architecture changes its scores by more than a scale and a soft cap, or does not hand `segments` on.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if segments is None:
        if attention_mask is not None and attention_mask.shape[-1] < key.shape[2]:
            raise ValueError(f"{type(module).__name__} does not hand keyword arguments on to its attention")
        if others.get("softcap") is not None:
            return _capped_rows(query, key, value, attention_mask, scaling, sliding_window, others["softcap"]), None
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **others)
    segments.used = True
    softcap = others.get("softcap")
    if changed := [k for k in ("s_aux", "position_bias") if others.get(k) is not None]:
        raise ValueError(
            f"{type(module).__name__} changes its attention scores by {changed[0]}, which is not supported"
        )
    if softcap is None and query.is_cuda and query.dtype in (torch.bfloat16, torch.float16):
        _check_varlen(query.device, query.dtype)
        return _varlen(query, key, value, scaling, sliding_window, segments), None
    return _pieces(query, key, value, scaling, sliding_window, segments, softcap), None


def _pieces(
    query, key, value, scaling: float | None, window: int | None, segments: Segments, softcap: float | None = None
) -> torch.Tensor:
    from transformers.integrations.sdpa_attention import repeat_kv

    heads = query.shape[1] // key.shape[1]
    q, k, v = (x.split(segments.queries, dim=2) for x in (query, repeat_kv(key, heads), repeat_kv(value, heads)))
    found, at = [], 0
    for prefix, tails in segments.groups:
        found.append(_causal(q[at], k[at], v[at], scaling, window, segments, softcap))
        before = [x[at][:, :, :prefix] for x in (q, k, v)]
        for i, n in enumerate(tails[1:], at + 1):
            whole = [torch.cat([b, x[i]], dim=2) for b, x in zip(before[1:], (k, v), strict=True)]
            if n < prefix:
                found.append(_causal(q[i], *whole, scaling, window, segments, softcap))
            else:  # the causal kernel leaves out half of the square, which then is less work than a masked rectangle
                both = _causal(torch.cat([before[0], q[i]], dim=2), *whole, scaling, window, segments, softcap)
                found.append(both[:, :, prefix:])
        at += len(tails)
    return torch.cat(found, dim=2).transpose(1, 2)


def _causal(
    q, k, v, scaling: float | None, window: int | None, segments: Segments, softcap: float | None = None
) -> torch.Tensor:
    """Attention of the last positions of a causal sequence."""
    queries, keys = q.shape[2], k.shape[2]
    window = None if window is None or window >= keys else window
    if softcap is not None:
        mask = segments.mask(queries, keys, window, q)
        scale = q.shape[-1] ** -0.5 if scaling is None else scaling
        rows = [x.split(CAPPED_ROWS, dim=-2) for x in (q, mask)]
        if torch.is_grad_enabled() and len(rows[0]) > 1:  # scores of all rows would be kept for the way back
            parts = [
                checkpoint(_capped, a, k, v, m, scale, softcap, use_reentrant=False) for a, m in zip(*rows, strict=True)
            ]
        else:
            parts = [_capped(a, k, v, m, scale, softcap) for a, m in zip(*rows, strict=True)]
        return torch.cat(parts, dim=2)
    if queries == keys and window is None:
        return scaled_dot_product_attention(q, k, v, is_causal=True, scale=scaling)
    return scaled_dot_product_attention(q, k, v, segments.mask(queries, keys, window, q), scale=scaling)


def _capped(q, k, v, mask: torch.Tensor, scale: float, softcap: float) -> torch.Tensor:
    """Attention whose scores are drawn smoothly into -softcap..softcap, as Gemma 2 has it; scaled_dot_product_attention
    and varlen_attn cannot."""
    scores = softcap * torch.tanh(q @ k.transpose(2, 3) * scale / softcap) + mask
    return scores.softmax(-1, dtype=torch.float32).to(q.dtype) @ v


def _capped_rows(
    query, key, value, mask: torch.Tensor | None, scaling: float | None, window: int | None, softcap: float
) -> torch.Tensor:
    """The same for rows with a mask, which says whether a key is seen, or is added to the scores."""
    from transformers.integrations.sdpa_attention import repeat_kv

    heads, queries, keys = query.shape[1] // key.shape[1], query.shape[2], key.shape[2]
    if mask is None:
        mask = Segments([], query.device).mask(queries, keys, window, query)
    elif mask.dtype == torch.bool:
        mask = torch.zeros(mask.shape, dtype=query.dtype, device=query.device).masked_fill_(~mask, float("-inf"))
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    found = _capped(query, repeat_kv(key, heads), repeat_kv(value, heads), mask[..., :keys], scale, softcap)
    return found.transpose(1, 2)


def _varlen(query, key, value, scaling: float | None, window: int | None, segments: Segments) -> torch.Tensor:
    from torch.nn.attention.varlen import varlen_attn

    q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))
    begin_q, begin_k = segments.bounds
    found = varlen_attn(
        q,
        k[segments.key_places],
        v[segments.key_places],
        begin_q,
        begin_k,
        max(segments.queries),
        max(segments.keys),
        scale=scaling,
        window_size=(-1 if window is None else window - 1, 0),  # causal, aligned at the last key
        enable_gqa=q.shape[1] != k.shape[1],
    )
    assert isinstance(found, torch.Tensor), "nothing beside the attention was asked for"
    return found[None]


@functools.cache
def _check_varlen(device: torch.device, dtype: torch.dtype) -> None:
    """Once a process: variable-length attention must align fewer queries with the last keys, which its documentation
    leaves open.

    Raises:
        RuntimeError: it does not agree with the pieces computed one by one.
    """
    segments, generator = Segments([(5, [2, 9]), (0, [4, 3])], device), torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, heads, 23, 64, generator=generator).to(device, dtype) for heads in (4, 2, 2))
    with torch.no_grad():
        found = _varlen(q, k, v, None, 4, segments).float()
        expected = _pieces(q.float(), k.float(), v.float(), None, 4, segments)
    if not torch.allclose(found, expected, atol=0.05):
        raise RuntimeError(f"variable-length attention of torch {torch.__version__} on {device} sees other keys")
