"""A training's numbers in the experiment trackers that a configuration names."""

import json

import pytest

from tests.support.training_jobs import job, metrics, pairs, table
from training import trackers as rooms
from training.trackers import NoTracker, trackers
from training.train import train


def test_mlflow_and_wandb_offline_hold_the_numbers_of_every_step(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    asked = job(tmp_path, table(pairs(48)), trackers=["mlflow", "wandb"], facts={"name": "abc123"})
    train(asked)
    assert not (asked.out / "tensorboard").exists()
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    [run] = client.search_runs([client.get_experiment_by_name("assay").experiment_id])
    losses = [m.value for m in client.get_metric_history(run.info.run_id, "loss")]
    assert losses == pytest.approx([m["loss"] for m in metrics(asked)])
    assert run.info.run_name == "abc123" and run.info.status == "FINISHED" and run.data.params["pairs"] == "48"
    [kept] = (asked.out / "wandb").glob("offline-run-*/run-abc123.wandb")
    assert b"rewards/accuracies" in kept.read_bytes()


def test_a_training_that_goes_on_writes_into_its_own_run(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def told(name: str, before: int, *losses: float) -> None:
        with trackers(["mlflow"], tmp_path / "out", name, {"pairs": 48}, before) as [tracker]:
            for step, loss in enumerate(losses, before + 1):
                tracker.log(step, {"loss": loss})

    told("first", 0, 0.7, 0.6)
    told("other", 0, 0.9)
    told("first", 2, 0.5)  # goes on
    told("first", 0, 0.8)  # begins anew, under the same name
    told("first", 1, 0.4)  # goes on with the newer one
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    found = client.search_runs(
        [client.get_experiment_by_name("assay").experiment_id], order_by=["attributes.start_time"]
    )
    kept = [
        (r.info.run_name, [(m.step, m.value) for m in client.get_metric_history(r.info.run_id, "loss")]) for r in found
    ]
    assert sorted(kept) == [
        ("first", [(1, 0.7), (2, 0.6), (3, 0.5)]),
        ("first", [(1, 0.8), (2, 0.4)]),
        ("other", [(1, 0.9)]),
    ]
    assert all(r.info.status == "FINISHED" and r.data.params == {"pairs": "48"} for r in found)


class Deaf:
    """A tracker whose server goes away after the first step."""

    seen = 0

    def __init__(self, *_):
        pass

    def log(self, step, numbers):
        Deaf.seen += 1
        if step > 1:
            raise ConnectionError("gone")

    def close(self):
        raise ConnectionError("gone")


def test_a_tracker_that_goes_away_costs_nothing_but_itself(tmp_path, monkeypatch):
    monkeypatch.setitem(rooms._TRACKERS, "trackio", Deaf)
    asked = job(tmp_path, table(pairs(48)), trackers=["trackio", "tensorboard"])
    train(asked)
    assert len(metrics(asked)) == 3 and Deaf.seen == 2 and list((asked.out / "tensorboard").iterdir())


def test_one_that_is_not_installed_or_does_not_answer_is_told_before_the_first_step(tmp_path, monkeypatch):
    def absent(*_):
        raise ImportError

    def shut(*_):
        raise ConnectionError("connection refused")

    monkeypatch.setitem(rooms._TRACKERS, "mlflow", absent)
    with (
        pytest.raises(NoTracker, match="mlflow is not installed: pip install mlflow-skinny"),
        trackers(["mlflow"], tmp_path, "x", {}, 0),
    ):
        pass
    monkeypatch.setitem(rooms._TRACKERS, "wandb", shut)
    with (
        pytest.raises(NoTracker, match="wandb: ConnectionError: connection refused"),
        trackers(["wandb"], tmp_path, "x", {}, 0),
    ):
        pass


def test_trackers_change_no_model():
    from tests.support.releases import configured
    from training.job import decisive

    plain, told = configured(), configured(training={"trackers": ["wandb"]})
    assert plain.section_hash("training") == told.section_hash("training")
    assert decisive(plain.training, plain.training.final) == decisive(told.training, told.training.final)
    assert "wandb" not in json.dumps(decisive(told.training, told.training.final))
