"""From conversation to tokens: one way, no system prompt, one BOS, nothing cut in silence."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.model import learn_tokenizer
from training.render import RenderError, encode, prepare_tokenizer, render, shared_prefix
from training.tokens import TokenTable, encoded, unusable, write_pairs

TEXTS = ["some text to learn from", "and a little more of it, with words", "user assistant system one two"] * 20
ASK = [{"role": "user", "content": "why?"}]


@pytest.fixture(scope="module")
def tokenizer():
    return learn_tokenizer(TEXTS, 300)


def test_a_rendered_conversation_by_hand(tokenizer):
    assert render(tokenizer, ASK, "because") == (
        "<|im_start|>user\nwhy?<|im_end|>\n<|im_start|>assistant\nbecause<|im_end|>\n"
    )


def test_system_turns_are_left_out(tokenizer):
    with_system = [{"role": "system", "content": "You are a pirate."}, *ASK]
    assert render(tokenizer, with_system, "because") == render(tokenizer, ASK, "because")


def test_a_default_system_prompt_is_taken_out_of_the_template():
    t = learn_tokenizer(TEXTS, 300)
    t.chat_template = (
        "{% for m in messages %}{% if loop.first and m['role'] != 'system' %}<|im_start|>system\nBe nice<|im_end|>\n"
        "{% endif %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    )
    assert "Be nice" in render(t, ASK, "because")
    assert render(prepare_tokenizer(t), ASK, "because").startswith("<|im_start|>user\nwhy?")


def test_a_template_that_refuses_a_role_names_the_pair(tokenizer):
    t = learn_tokenizer(TEXTS, 300)
    t.chat_template = "{% if messages[0]['role'] != 'user' %}{{ raise_exception('user comes first') }}{% endif %}"
    with pytest.raises(RenderError, match=r"pair p7: .*\(assistant, then assistant\).*user comes first"):
        render(t, [{"role": "assistant", "content": "hm"}], "yes", "pair p7")


@pytest.mark.parametrize("by_template", [True, False])
def test_exactly_one_bos(by_template):
    from tokenizers.processors import TemplateProcessing

    t = learn_tokenizer(TEXTS, 300)
    t.add_special_tokens({"bos_token": "<s>"})
    if by_template:
        t.chat_template = "<s>" + t.chat_template
    t.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", t.bos_token_id)])
    assert encode(t, [render(t, ASK, "because")])[0].tolist().count(t.bos_token_id) == 1


def test_the_pad_token_never_ends_a_sequence():
    t = learn_tokenizer(TEXTS, 300)
    t.chat_template = t.chat_template.replace("<|im_end|>\n{% endfor", "<|im_end|>{% endfor")
    t.pad_token = "<|im_end|>"
    prepare_tokenizer(t)
    assert t.pad_token_id != encode(t, [render(t, ASK, "because")])[0][-1]
    t.pad_token = None
    assert prepare_tokenizer(t).pad_token == "<|pad|>"


def test_the_learned_tokenizer_depends_on_the_texts_alone():
    a, b = learn_tokenizer(TEXTS, 290), learn_tokenizer(TEXTS[::-1], 290)
    assert a.get_vocab() == b.get_vocab()
    assert len(a) <= 290
    assert a.decode(encode(a, ["Ünïcode ✓ 漢字"])[0]) == "Ünïcode ✓ 漢字"


@given(st.lists(st.integers(0, 2), min_size=1), st.lists(st.integers(0, 2), min_size=1))
def test_the_shared_prefix_is_common_longest_and_leaves_a_tail(a, b):
    a, b = np.array(a, np.int32), np.array(b, np.int32)
    n = shared_prefix([a, b])
    most = min(len(a), len(b)) - 1
    assert 0 <= n <= most
    assert (a[:n] == b[:n]).all()
    assert n == most or a[n] != b[n]


def test_over_long_and_identical_pairs_are_counted_and_left_out(tokenizer, tmp_path):
    rows = [
        ("fine", ASK, ["one", "two"]),
        ("long", ASK, ["one", "one two " * 100]),
        ("equal", [{"role": "user", "content": "x"}], ["same", "same"]),
        ("last", [{"role": "user", "content": "one two"}], ["two", "one"]),
    ]
    dropped = write_pairs(tmp_path / "t.arrow", rows, tokenizer, 64, shared=True)
    assert dropped == {"over_length": 1, "identical": 1}
    tokens = TokenTable(tmp_path / "t.arrow")
    assert tokens.ids == ["fine", "last"]
    assert tokens.rows.tolist() == [0, 3]


@pytest.mark.parametrize("shared", [True, False])
def test_prefix_and_tails_give_the_sequences_back(tokenizer, tmp_path, shared):
    rows = [(f"p{i}", [{"role": "user", "content": "text " * i}], ["one " * i, "two " * (3 * i)]) for i in range(1, 30)]
    write_pairs(tmp_path / "t.arrow", rows, tokenizer, 4096, shared=shared)
    tokens = TokenTable(tmp_path / "t.arrow")
    whole = [sequences for _, sequences in encoded(rows, tokenizer)]
    for i, sequences in enumerate(whole):
        prefix, tails = tokens.group(i)
        for tail, sequence in zip(tails, sequences, strict=True):
            assert np.concatenate([prefix, tail]).tolist() == sequence.tolist()
        assert tokens.longest[i] == max(map(len, sequences))
        assert tokens.lengths[i] == len(prefix) + sum(map(len, tails))
        assert (len(prefix) > 0) == shared
    assert tokens.whole == sum(len(s) for sequences in whole for s in sequences)
    assert tokens.name(3) == "p4"
    assert not any(unusable(s, 4096) for s in whole)
