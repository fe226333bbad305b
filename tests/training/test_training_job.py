"""The job of a program: one validated model, whole on disk, and a name for the model that outlives its words."""

import json

import pytest
from pydantic import ValidationError

from resources import trainer
from resources.settings import Recipe, Training
from tests.support.training_jobs import job, metrics, pairs, table
from training import job as parts
from training.atomic import beside, replace, replace_folder
from training.backbone import is_reward_model, outputs_of, pooling_of
from training.job import Backbone, ScoreJob, TrainJob, decisive
from training.train import main, train


def test_a_job_comes_back_from_its_file_as_it_was_built(tmp_path):
    built = TrainJob(
        **Training(max_tokens=64).setup, train=tmp_path / "a", recipe=Recipe(epochs=2, head_learning_rate=0.1),
        out=tmp_path, facts=parts.Facts(name="m"),
    )  # fmt: skip
    built.write(tmp_path / "job.json")
    assert TrainJob.read(tmp_path / "job.json") == built
    assert type(built.recipe) is parts.TrainRecipe, "what the configuration adds to a recipe stays there"
    assert [p.name for p in tmp_path.iterdir()] == ["job.json"]
    with pytest.raises(ValidationError):
        built.seed = 3
    scoring = ScoreJob(models={"m": tmp_path}, items=tmp_path / "i", out=tmp_path)
    scoring.write(tmp_path / "job.json")
    assert ScoreJob.read(tmp_path / "job.json") == scoring


def test_a_job_that_is_none_is_refused_with_every_wrong_key(tmp_path, monkeypatch, capsys):
    path = tmp_path / "job.json"
    path.write_text(json.dumps({"train": "x", "out": "y", "recipe": {"epochs": 0}, "zero": 1}))
    monkeypatch.setattr("sys.argv", ["train", str(path)])
    assert main() == 1
    said = capsys.readouterr().err
    assert "recipe.epochs" in said
    assert "zero" in said


def test_former_names_are_read_with_a_note():
    with pytest.warns(FutureWarning, match="batch_pairs is called global_batch_size now"):
        recipe = Recipe.model_validate({"batch_pairs": 7})
    with pytest.warns(FutureWarning, match="centring is called center_rewards_coefficient now"):
        profile = Recipe.model_validate({"profile": "final", "centring": 0.5})
    assert (recipe.global_batch_size, profile.center_rewards_coefficient) == (7, 0.5)
    with pytest.raises(ValidationError, match="both are given"):
        Recipe.model_validate({"batch_pairs": 7, "global_batch_size": 7})


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, "7587a09269343e41a73e40200386f6e5"),
        ({"backbone": {"hidden": 32, "layers": 1, "heads": 2, "vocabulary": 300},
          "final": {"global_batch_size": 8, "max_pairs": 16, "center_rewards_coefficient": 0.01}},
         "75715fbdf32d43005fadfb1f433c5842"),
        ({"final": {"profile": "final"}, "zero_stage": 2, "max_tokens": 999}, "512af1cae25ad64ddb689cfa531efb4b"),
    ],
)  # fmt: skip
def test_a_model_made_under_former_names_is_found_again(values, expected):
    """The ids are those that the first version of the configuration gave, so that no lake trains its models again."""
    training = Training.model_validate(values)
    recipe_hash = trainer._hash(decisive(training, training.final), trainer.VERSION)
    assert trainer._hash(trainer._hash("data"), None, recipe_hash, 5) == expected


def backbone(folder, **config) -> Backbone:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    return Backbone(path=str(folder))


def test_what_a_folder_holds_decides_head_pooling_and_name(tmp_path):
    bert = backbone(tmp_path / "bert", model_type="bert", architectures=["BertModel"])
    llama = backbone(tmp_path / "llama", model_type="llama", architectures=["LlamaForCausalLM"])
    labels = {"id2label": {"0": "LABEL_0"}, "architectures": ["BertForSequenceClassification"]}
    reward = backbone(tmp_path / "reward", model_type="bert", **labels)
    assert [pooling_of(b) for b in (bert, llama, reward, Backbone())] == ["mean", None, None, None]
    assert pooling_of(bert.model_copy(update={"pooling": "cls"})) == "cls"
    with pytest.raises(ValueError, match="is llama; it is for new heads on modernbert"):
        pooling_of(llama.model_copy(update={"pooling": "mean"}))
    with pytest.raises(ValueError, match="holds a reward model, whose head is kept"):
        pooling_of(reward.model_copy(update={"pooling": "mean"}))
    assert [is_reward_model(tmp_path / n) for n in ("bert", "llama", "reward")] == [False, False, True]
    assert (outputs_of({}), outputs_of({"num_labels": 1}), outputs_of(labels)) == (2, 1, 1)
    names = [decisive(Training(backbone=b), Recipe())["backbone"] for b in (bert, llama, reward)]
    assert [n.get("pooling", n.get("head")) for n in names] == ["mean", None, "kept"]


def test_metrics_have_the_names_of_trl_here_and_on_tensorboard(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    j = job(tmp_path, table(pairs(48)), recipe={"epochs": 2, "learning_rate": 1e-2})
    train(j)
    log = metrics(j)
    for m in log:
        assert m["rewards/margins"] == pytest.approx(m["rewards/chosen"] - m["rewards/rejected"])
        assert m["reward_mean"] == pytest.approx((m["rewards/chosen"] + m["rewards/rejected"]) / 2)
        assert 0 <= m["rewards/accuracies"] <= 1
    assert log[-1]["rewards/margins"] > log[0]["rewards/margins"]
    board = EventAccumulator(str(j.out / "tensorboard"))
    board.Reload()
    for name in ("rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies"):
        assert [e.value for e in board.Scalars(name)] == pytest.approx([m[name] for m in log], rel=1e-5, abs=1e-6)


# ---- files that appear whole ---------------------------------------------------------------------------------------
def test_a_folder_takes_the_place_of_another_and_leaves_nothing(tmp_path):
    target = tmp_path / "model"
    for text in ("first", "second"):
        with beside(target) as new:
            replace(new / "file", text.encode())
            replace_folder(new, target)
    assert (target / "file").read_text() == "second"
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_a_writer_whose_new_folder_is_taken_for_a_dead_ones_makes_another(tmp_path, monkeypatch):
    """Another process finds the folder before it is locked, and removes it."""
    import tempfile

    real, made = tempfile.mkdtemp, []

    def lost(**options):
        made.append(real(**options))
        if len(made) == 1:
            (tmp_path / made[0]).rmdir()
        return made[-1]

    monkeypatch.setattr("tempfile.mkdtemp", lost)
    replace(tmp_path / "file", b"whole")
    assert (tmp_path / "file").read_bytes() == b"whole"
    assert (len(made), [p.name for p in tmp_path.iterdir()]) == (2, ["file"])
