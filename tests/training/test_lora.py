"""Adapters: what learns, what is exported, and that a merged folder is a plain model."""

import numpy as np
import pytest
import torch

from tests.support.installed import needs
from tests.support.tiny_backbones import tiny_backbone
from tests.support.training_jobs import job, metrics, pairs, table
from training.job import Lora, TrainRecipe, decisive
from training.lora import adapt
from training.model import load_model, new_model
from training.processes import ProcessGroup
from training.serve import Scorer
from training.train import tokenizer_for, train

needs("peft")
ROWS = pairs(120)


@pytest.mark.parametrize("kind", ["qwen3", "gemma2", "bert"])
def test_adapters_and_the_head_learn_and_the_rest_of_the_exported_model_is_the_backbones(tmp_path, kind):
    folder = tiny_backbone(kind, tmp_path / "backbone", [r["chosen"] for r in ROWS])
    asked = job(
        tmp_path, table(ROWS[:96]), table(ROWS[96:]), backbone={"path": str(folder)}, max_tokens=100,
        recipe={"lora": {"rank": 4, "alpha": 8}, "epochs": 2, "learning_rate": 2e-2},
    )  # fmt: skip
    result = train(asked)
    assert metrics(asked)[-1]["loss"] < metrics(asked)[0]["loss"] and result["validation_accuracy"] > 0.5
    # the same start by hand: what of it is still there
    group = ProcessGroup()
    start = new_model(asked.backbone, tokenizer_for(asked, group), 100, asked.seed).model.state_dict()
    made = load_model(asked.out / "model").model.state_dict()
    assert {k for k in made} == set(start) and not any("lora" in k for k in made)
    changed = {k for k in made if not torch.equal(made[k].float(), start[k].float())}
    assert any(k.startswith(("score", "classifier")) for k in changed)
    body = {k for k in changed if not k.startswith(("score", "classifier"))}
    assert body and all(made[k].ndim == 2 and "embed" not in k and "norm" not in k.lower() for k in body)
    for name in body:  # what was added has the adapter's rank
        rank = torch.linalg.matrix_rank((made[name] - start[name]).float(), atol=1e-4)
        assert 1 <= int(rank) <= 4


def test_rewards_of_a_merged_model_are_those_of_plain_transformers(tmp_path):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = tiny_backbone("gemma2", tmp_path / "backbone", [r["chosen"] for r in ROWS])
    asked = job(tmp_path, table(ROWS[:64]), backbone={"path": str(folder)}, max_tokens=100, recipe={"lora": {}})
    train(asked)
    out = asked.out / "model"
    tokenizer, plain = (
        AutoTokenizer.from_pretrained(out),
        AutoModelForSequenceClassification.from_pretrained(out).eval(),
    )
    rows = [r | {"prompt": r["conversation"][0]["content"]} for r in ROWS[:10]]
    found = Scorer(out, 256).score([("", {k: r[k] for k in ("conversation", "chosen", "rejected")}) for r in rows])
    expected = []
    for r in rows:
        text = tokenizer.apply_chat_template(
            [*r["conversation"], {"role": "assistant", "content": r["chosen"]}], tokenize=False
        )
        with torch.inference_mode():
            expected.append(float(plain(**tokenizer(text, return_tensors="pt", add_special_tokens=False)).logits[0, 0]))
    assert np.ptp(expected) > 1e-3
    assert [f["r_chosen"] for f in found] == pytest.approx(expected, abs=1e-5)


def test_training_goes_on_from_a_reward_model_with_its_head(tmp_path):
    first = job(tmp_path / "one", table(ROWS[:64]), recipe={"epochs": 2})
    train(first)
    second = job(
        tmp_path / "two", table(ROWS[64:]), backbone={"path": str(first.out / "model")},
        recipe={"lora": {"layers": ["q_proj", "v_proj"]}, "learning_rate": 1e-9},
    )  # fmt: skip
    train(second)
    before, after = (load_model(j.out / "model").model.state_dict() for j in (first, second))
    assert all(torch.allclose(before[k], after[k], atol=1e-5) for k in before)


def test_layers_that_are_not_there_are_refused_and_a_recipe_without_adapters_names_the_same_model_as_before(tmp_path):
    asked = job(tmp_path, table(ROWS[:8]))
    model = new_model(asked.backbone, tokenizer_for(asked, ProcessGroup()), 100, 0)
    with pytest.raises(ValueError, match=r"lora.layers: none of wq is a linear layer of the backbone"):
        adapt(model, Lora(layers=["wq"]), 0)
    assert "lora" not in decisive(asked, TrainRecipe())["recipe"]
    assert decisive(asked, TrainRecipe(lora=Lora()))["recipe"]["lora"]["rank"] == 16
