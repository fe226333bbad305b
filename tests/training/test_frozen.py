"""Reward models on frozen layers: reading, choosing features, files, and the folder that plain transformers loads."""

import numpy as np
import pytest

from tests.support.tiny_backbones import tiny_backbone
from training.export import export_frozen
from training.frozen import (
    ConstantStates,
    FrozenRewardModel,
    Responses,
    bradley_terry,
    choose,
    folds,
    prepare,
    reduction,
    without,
)
from training.model import load_model
from training.score import score
from training.states import HashedWords, StateReader, name_of
from training.style import NAMES, styles

TEXTS = ["the cat sat on the mat", "no", "a much longer answer that goes on and on about cats " * 3, "yes, certainly"]


KINDS = ("bert", "roberta", "mpnet", "llama", "qwen3")


@pytest.fixture(scope="module")
def folder_for(tmp_path_factory):
    root = tmp_path_factory.mktemp("backbones")
    made = {}
    return lambda kind: (
        made.setdefault(kind, None) or made.update({kind: tiny_backbone(kind, root / kind, TEXTS)}) or made[kind]
    )


@pytest.fixture(scope="module")
def encoder(folder_for):
    return folder_for("bert")


def planted(n: int = 400, states: int = 12, style: int = 5, seed: int = 0, by: str = "states"):
    """Pairs whose better response has more of one direction of its states, or of its style."""
    rng = np.random.default_rng(seed)
    first, second = (Responses(rng.normal(size=(n, states)), rng.normal(size=(n, style))) for _ in range(2))
    side = 0 if by == "states" else 1
    gap = first[side][:, 0] - second[side][:, 0]
    y = (gap + 0.3 * rng.normal(size=n) > 0).astype(float)
    return first, second, y, rng.integers(0, 80, n)


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_a_state_is_the_mean_of_one_layer_over_the_real_tokens(kind, folder_for):
    import torch
    from transformers import AutoModel, AutoTokenizer

    path = folder_for(kind)
    found = StateReader(path, layers=[2]).states(TEXTS)
    model, tokenizer = AutoModel.from_pretrained(path).eval(), AutoTokenizer.from_pretrained(path)
    for text, state in zip(TEXTS, found, strict=True):
        ended = text + tokenizer.eos_token * (kind == "llama")
        with torch.inference_mode():
            hidden = model(**tokenizer(ended, return_tensors="pt"), output_hidden_states=True).hidden_states[2][0]
        if kind == "llama":  # what ends a decoder that is cut at this layer is its last norm
            expected = model.norm(hidden).mean(0)
        else:  # the mean, normalised, as an averaging layer leaves it
            expected = torch.nn.functional.layer_norm(hidden.mean(0) + hidden[0] / 1024, (16,))
        np.testing.assert_allclose(state, expected.detach().numpy(), atol=1e-4)


def test_equal_texts_in_any_order_have_equal_states_and_are_read_once(encoder, monkeypatch):
    reader, read = StateReader(encoder), []
    plain = reader._read
    monkeypatch.setattr(reader, "_read", lambda batch: read.append(len(batch)) or plain(batch))
    some = reader.states(TEXTS + TEXTS[:2])
    assert sum(read) == len(TEXTS)
    np.testing.assert_array_equal(some[:2], some[4:])
    np.testing.assert_array_equal(reader.states(TEXTS[::-1])[::-1], some[:4])


def test_a_text_that_is_too_long_has_no_state_or_loses_its_end(encoder):
    whole, cut = StateReader(encoder, max_tokens=6), StateReader(encoder, max_tokens=6, cut=True)
    assert [bool(np.isnan(s).all()) for s in whole.states(TEXTS)] == [len(i) > 6 for i in whole.tokens(TEXTS)]
    assert not np.isnan(whole.states(["no"])).any() and np.isnan(whole.states(TEXTS[2:3])).all()
    assert np.isfinite(cut.states(TEXTS)).all()
    np.testing.assert_array_equal(whole.states(["no"]), cut.states(["no"]))
    assert whole.name != cut.name and whole.name == name_of(encoder, [2], 6)


def test_other_weights_of_the_same_size_have_another_name(encoder, tmp_path):
    import shutil

    shutil.copytree(encoder, tmp_path / "m")
    assert name_of(tmp_path / "m", [2], 64) == name_of(encoder, [2], 64)
    weights = tmp_path / "m" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert name_of(tmp_path / "m", [2], 64) != name_of(encoder, [2], 64)


def test_layers_that_are_not_there_are_refused(encoder):
    with pytest.raises(ValueError, match="layers 1 to 4"):
        StateReader(encoder, layers=[5])


def test_the_head_is_logistic_regression_without_intercept():
    from sklearn.linear_model import LogisticRegression

    first, second, y, _ = planted()
    x, w = first.states - second.states, np.linspace(0.5, 1.5, len(y))
    theirs = LogisticRegression(C=1 / 30, fit_intercept=False, tol=1e-10).fit(x, y, w).coef_[0]
    np.testing.assert_allclose(bradley_terry(x, y, 30.0, w), theirs, atol=1e-5)


def test_cross_validation_chooses_the_features_that_matter():
    for by in ("states", "style"):
        first, second, y, groups = planted(by=by)
        model = FrozenRewardModel.fit(first, second, y, groups)
        assert model.kind == by
        assert ((model.margin(first, second) > 0) == (y > 0.5)).mean() > 0.85


def test_labels_of_coin_tosses_are_not_learned():
    first, second, y, groups = planted()
    y = np.random.default_rng(1).integers(0, 2, len(y)).astype(float)
    differences = {k: prepare(first).features(first, k) - prepare(first).features(second, k) for k in ("style", "both")}
    found = choose(differences, y, groups)
    assert found.ridge == max(r for _, r in found.losses)


def test_a_group_lies_in_one_fold_and_folds_are_of_similar_size():
    groups = np.repeat(np.arange(40), np.arange(40) % 7 + 1)
    fold = folds(groups, 5, seed=3)
    assert all(len(set(fold[groups == g])) == 1 for g in set(groups))
    sizes = np.bincount(fold)
    assert sizes.max() - sizes.min() <= 7
    np.testing.assert_array_equal(fold, folds(groups, 5, seed=3))


def test_margins_are_antisymmetric_and_zero_for_equal_responses():
    first, second, y, groups = planted()
    model = FrozenRewardModel.fit(first, second, y, groups)
    np.testing.assert_allclose(model.margin(first, second), -model.margin(second, first), atol=1e-12)
    assert (model.margin(first, first) == 0).all()
    np.testing.assert_allclose(model.margin(first, second), model.rewards(first) - model.rewards(second), atol=1e-9)


def test_the_ensemble_is_less_sure_with_fewer_pairs():
    few, many = (planted(n) for n in (60, 2000))
    test = planted(200, seed=9)
    spread = [FrozenRewardModel.fit(*p, ridges=[30.0]).spread(*test[:2]).mean() for p in (few, many)]
    margin = [np.abs(FrozenRewardModel.fit(*p, ridges=[30.0]).margin(*test[:2])).mean() for p in (few, many)]
    assert spread[0] / margin[0] > 2 * spread[1] / margin[1]


def test_a_saved_model_gives_equal_rewards_to_the_last_bit(tmp_path):
    first, second, y, groups = planted()
    model = FrozenRewardModel.fit(first, second, y, groups, states_name="here", style_names=["a", "b"])
    model.save(tmp_path / "m")
    again = FrozenRewardModel.load(tmp_path / "m")
    np.testing.assert_array_equal(model.rewards(first), again.rewards(first))
    assert (again.states_name, again.style_names, again.kind) == ("here", ("a", "b"), model.kind)


def test_states_that_do_not_differ_are_an_error_in_words():
    with pytest.raises(ConstantStates, match="tells no text from another"):
        reduction(np.ones((50, 8)))
    with pytest.raises(ConstantStates):
        prepare(Responses(np.full((30, 4), 0.1) + 1e-9 * np.random.default_rng(0).normal(size=(30, 4)), without(30)))


def test_a_constant_style_feature_counts_for_nothing():
    first, second, y, groups = planted(by="style")
    stuck = [Responses(r.states, np.column_stack([r.style, np.full(len(y), 7.0)])) for r in (first, second)]
    model = FrozenRewardModel.fit(*stuck, y, groups, kinds=["style"])
    assert model.linear()[2][-1] == 0.0


FACTS = {"name": "m", "data_hash": "d", "recipe_hash": "r", "pairs": 60, "max_tokens": 64, "backbone": "b"}
WORDS = ["cat", "mat", "sat", "answer", "about", "yes", "on"]


def learned(reader: StateReader, kinds=("states",)):
    """A head that likes cats, and what it was fitted on: texts, their features."""
    texts = [" ".join(w) for w in np.random.default_rng(0).choice(WORDS, (120, 6))]
    responses = Responses(reader.states(texts), styles(texts, [""] * len(texts)))
    first, second = responses.take(np.arange(60)), responses.take(np.arange(60, 120))
    y = np.array(["cat" in t for t in texts[:60]], float)
    about = {"states_name": reader.name, "style_names": NAMES}
    return FrozenRewardModel.fit(first, second, y, np.arange(60), kinds=kinds, **about), texts, responses


@pytest.mark.parametrize("kind", KINDS)
def test_plain_transformers_and_the_scorer_give_the_rewards_of_the_exported_folder(kind, folder_for, tmp_path):
    import torch
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification, AutoTokenizer

    one = kind in ("bert", "roberta")
    reader = StateReader(folder_for(kind), layers=[2])
    model, texts, responses = learned(reader)
    export_frozen(model, folder_for(kind), 2, tmp_path / "out", FACTS)
    cls = AutoModelForSequenceClassification if one else AutoModelForTokenClassification
    plain, tokenizer = cls.from_pretrained(tmp_path / "out").eval(), AutoTokenizer.from_pretrained(tmp_path / "out")
    turns = [{"role": "user", "content": "which one?"}]
    expected = model.rewards(responses)
    found, long = score(load_model(tmp_path / "out"), [turns] * len(texts), texts, max_tokens=64, budget=512)
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert not long.any()
    for text, reward in zip(texts[:20], expected, strict=False):
        whole = tokenizer.apply_chat_template([*turns, {"role": "assistant", "content": text}], tokenize=False)
        with torch.inference_mode():
            logits = plain(**tokenizer(whole, return_tensors="pt")).logits
        assert float(logits[0, 0] if one else logits[0, :, 0].mean()) == pytest.approx(reward, abs=2e-6)
    assert f"{cls.__name__}.from_pretrained" in (tmp_path / "out" / "README.md").read_text()
    np.testing.assert_array_equal(FrozenRewardModel.load(tmp_path / "out").rewards(responses), expected)


@pytest.mark.parametrize("kinds", [("both",), ("style",)])
def test_style_is_a_part_of_the_reward_that_the_scorer_adds_and_the_card_names(kinds, encoder, tmp_path):
    model, texts, responses = learned(StateReader(encoder), kinds)
    export_frozen(model, encoder, 2, tmp_path / "out", FACTS)
    found, _ = score(load_model(tmp_path / "out"), [[]] * len(texts), texts, max_tokens=64, budget=512)
    np.testing.assert_allclose(found, model.rewards(responses), atol=2e-6)
    assert "This is a part of the reward" in (tmp_path / "out" / "README.md").read_text()


def test_hashed_words_are_the_same_everywhere_and_tell_texts_apart():
    found = HashedWords(64).states(["cat mat", "mat cat", "cat mat", "dog"])
    np.testing.assert_array_equal(found[0], found[2])
    assert not np.array_equal(found[0], found[3])
