"""Reward models on frozen layers: reading, choosing features, files, and the folder that plain transformers loads."""

import numpy as np
import pytest

from training.frozen import (
    ConstantStates,
    FrozenRewardModel,
    HashedWords,
    Responses,
    StateReader,
    bradley_terry,
    choose,
    export,
    folds,
    prepare,
    reduction,
    without,
)

TEXTS = ["the cat sat on the mat", "no", "a much longer answer that goes on and on about cats " * 3, "yes, certainly"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A random BERT of four layers with a tokenizer learned from a few texts."""
    import torch
    from transformers import BertConfig, BertModel

    from training.model import learn_tokenizer

    folder = tmp_path_factory.mktemp("encoder")
    tokenizer = learn_tokenizer(TEXTS, 300)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    shape = dict(hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=32)
    BertModel(BertConfig(vocab_size=len(tokenizer), max_position_embeddings=128, **shape)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def decoder(tmp_path_factory):
    import torch
    from transformers import LlamaConfig, LlamaModel

    from training.model import learn_tokenizer

    folder = tmp_path_factory.mktemp("decoder")
    tokenizer = learn_tokenizer(TEXTS, 300)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    shape = dict(hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=32)
    LlamaModel(LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=128, **shape)).save_pretrained(folder)
    return folder


def planted(n: int = 400, states: int = 12, style: int = 5, seed: int = 0, by: str = "states"):
    """Pairs whose better response has more of one direction of its states, or of its style."""
    rng = np.random.default_rng(seed)
    first, second = (Responses(rng.normal(size=(n, states)), rng.normal(size=(n, style))) for _ in range(2))
    side = 0 if by == "states" else 1
    gap = first[side][:, 0] - second[side][:, 0]
    y = (gap + 0.3 * rng.normal(size=n) > 0).astype(float)
    return first, second, y, rng.integers(0, 80, n)


@pytest.mark.parametrize("folder", ["encoder", "decoder"])
def test_a_state_is_the_mean_of_one_layer_over_the_real_tokens(folder, request):
    import torch
    from transformers import AutoModel, AutoTokenizer

    path = request.getfixturevalue(folder)
    found = StateReader(path, layers=[2]).states(TEXTS)
    model, tokenizer = AutoModel.from_pretrained(path).eval(), AutoTokenizer.from_pretrained(path)
    for text, state in zip(TEXTS, found, strict=True):
        with torch.inference_mode():
            hidden = model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True).hidden_states[2][0]
        if folder == "decoder":  # what ends a decoder that is cut at this layer is its last norm
            hidden = model.norm(hidden)
        np.testing.assert_allclose(state, hidden.mean(0).detach().numpy(), atol=1e-5)


def test_equal_texts_in_any_order_have_equal_states_and_are_read_once(encoder, monkeypatch):
    reader, read = StateReader(encoder), []
    plain = reader._read
    monkeypatch.setattr(reader, "_read", lambda batch: read.append(len(batch)) or plain(batch))
    some = reader.states(TEXTS + TEXTS[:2])
    assert sum(read) == len(TEXTS)
    np.testing.assert_array_equal(some[:2], some[4:])
    np.testing.assert_array_equal(reader.states(TEXTS[::-1])[::-1], some[:4])


def test_a_context_changes_a_state_and_is_not_averaged_itself(encoder):
    reader = StateReader(encoder, context_tokens=8)
    one, other = (reader.states(["yes, certainly"], [c]) for c in ("is it a cat", "the mat"))
    assert not np.allclose(one, other)
    assert [start for _, start in reader.tokens(["no"], ["cat"])] > [0]
    np.testing.assert_array_equal(StateReader(encoder).states(["no"], ["cat"]), StateReader(encoder).states(["no"]))


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


@pytest.mark.parametrize("folder", ["encoder", "decoder"])
def test_plain_transformers_gives_the_rewards_of_the_exported_folder(folder, request, tmp_path):
    import torch
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    reader = StateReader(request.getfixturevalue(folder), layers=[2])
    words = np.random.default_rng(0).choice(["cat", "mat", "sat", "answer", "about", "yes", "on"], (120, 6))
    texts = [" ".join(w) for w in words]
    responses = Responses(reader.states(texts), without(len(texts)))
    first, second = responses.take(np.arange(60)), responses.take(np.arange(60, 120))
    y = np.array(["cat" in t for t in texts[:60]], float)
    model = FrozenRewardModel.fit(first, second, y, np.arange(60), states_name=reader.name)
    export(model, reader, tmp_path / "out")
    plain = AutoModelForTokenClassification.from_pretrained(tmp_path / "out").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    for text, reward in zip(texts[:20], model.rewards(first), strict=False):
        with torch.inference_mode():
            found = plain(**tokenizer(text, return_tensors="pt")).logits[0, :, 0].mean()
        assert float(found) == pytest.approx(reward, abs=1e-5)
    assert plain.config.num_hidden_layers == 2
    np.testing.assert_array_equal(FrozenRewardModel.load(tmp_path / "out").rewards(first), model.rewards(first))


def test_what_no_stock_class_can_hold_is_not_exported(encoder, tmp_path):
    first, second, y, groups = planted(states=16)
    style = FrozenRewardModel.fit(first, second, y, groups, kinds=["style"])
    with pytest.raises(ValueError, match="style features alone"):
        export(style, StateReader(encoder), tmp_path / "a")
    states = FrozenRewardModel.fit(first, second, y, groups, kinds=["states"])
    with pytest.raises(ValueError, match="one layer of one text"):
        export(states, StateReader(encoder, context_tokens=4), tmp_path / "b")
    foreign = FrozenRewardModel.fit(first, second, y, groups, kinds=["states"], states_name="other")
    with pytest.raises(ValueError, match="other"):
        export(foreign, StateReader(encoder), tmp_path / "c")
    assert not list(tmp_path.iterdir())


def test_hashed_words_are_the_same_everywhere_and_tell_texts_apart():
    found = HashedWords(64).states(["cat mat", "mat cat", "cat mat", "dog"])
    np.testing.assert_array_equal(found[0], found[2])
    assert not np.array_equal(found[0], found[3])
