"""Whole trainings on tiny models: what is learned, kept, resumed, refused."""

import json
import math
import os
import re
import resource
import subprocess
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.support.training_jobs import BETTER, job, metrics, pairs, table
from training import forkserver
from training import train as program
from training.checkpoint import WrongCheckpoint
from training.export import export
from training.job import Backbone, TrainJob
from training.launch import ROOT, Launcher, command, environment, free_port, guarded
from training.model import learn_tokenizer, new_model
from training.train import Trainer, TrainingFailed, learning_rate, train

FACTS = {"pairs", "dropped", "steps", "best_step", "train_loss", "validation_pairs", "validation_accuracy", "seconds"}


def changed(j: TrainJob, **values) -> TrainJob:
    return j.model_copy(update=values)


def weights(j: TrainJob) -> dict[str, torch.Tensor]:
    return load_file(j.out / "model" / "model.safetensors")


def launch(line: list[str]) -> subprocess.CompletedProcess:
    return subprocess.run(guarded(line), cwd=ROOT, env={**os.environ, **environment(2)}, capture_output=True, text=True)


def launched(path: Path, launcher: Launcher | None) -> tuple[list[int | None], str]:
    """Exit statuses and stderr of two ranks; without a launcher each is told its rank, and forked, which starts sooner."""
    if launcher is not None:
        done = launch(command("training.train", path, 2, launcher))
        return [done.returncode], done.stderr
    env = environment(2)
    if (server := forkserver.address(env)) is None:
        pytest.skip("there is a GPU, so nothing is forked")
    world = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    with path.with_suffix(".log").open("w+") as log:
        told = [{**os.environ, **env, **world, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(2)]
        ranks = [
            forkserver.Forked(server, "training.train", [str(path)], one, log.fileno(), log.fileno()) for one in told
        ]
        statuses = [rank.wait() for rank in ranks]
        log.seek(0)
        return statuses, log.read()


def equal(a: dict, b: dict) -> bool:
    return all(torch.equal(a[k], b[k]) for k in a | b)


def losses(j: TrainJob) -> list[float]:
    return [m["loss"] for m in metrics(j)]


def on_board(j: TrainJob) -> list[tuple[int, float]]:
    """(step, loss) as TensorBoard shows them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(j.out / "tensorboard"), purge_orphaned_data=True)
    events.Reload()
    return [(e.step, e.value) for e in events.Scalars("loss")]


def test_a_planted_preference_is_learned(tmp_path):
    j = job(tmp_path, table(pairs(320)), table(pairs(60, seed=1)), recipe={"epochs": 3, "learning_rate": 1e-2})
    result = train(j)
    assert result.keys() >= FACTS
    assert json.loads((tmp_path / "out" / "result.json").read_text()) == result
    log = metrics(j)
    assert [m["step"] for m in log] == list(range(1, result["steps"] + 1))
    assert log[0]["loss"] == pytest.approx(math.log(2), abs=0.05)
    assert result["validation_accuracy"] > 0.9
    assert result["train_loss"] < 0.3
    assert result["tokens"] < 3 * result["tokens_without_sharing"]
    assert sum(m["pairs"] for m in log) == 3 * 320
    assert not (tmp_path / "out" / "tokens").exists()
    assert str(result["pairs"]) in (tmp_path / "out" / "model" / "README.md").read_text()


def test_the_best_checkpoint_is_kept_and_of_equals_the_later(tmp_path, monkeypatch):
    accuracies = iter([0.6, 0.8, 0.8, 0.7])
    monkeypatch.setattr(Trainer, "evaluate", lambda self: next(accuracies))
    j = job(tmp_path, table(pairs(64)), table(pairs(4, seed=1)), recipe={"evaluations": 4})
    result = train(j)
    assert (result["best_step"], result["validation_accuracy"]) == (3, 0.8)
    kept = json.loads((tmp_path / "out" / "model" / "reward.json").read_text())
    assert kept["step"] == 3


def test_validation_counts_every_pair_and_ties_one_half(tmp_path, monkeypatch):
    rows = pairs(6, seed=2)
    rows[0]["rejected"] = rows[0]["chosen"]  # a tie
    rows[1]["rejected"] = "word1 " * 400  # too long to be scored
    j = job(tmp_path, table(pairs(16)), table(rows))
    monkeypatch.setattr(program, "n_correct", lambda c, r: 0.5 * (c == r).sum())
    result = train(j)
    assert result["validation_pairs"] == 5
    assert result["validation_accuracy"] == pytest.approx(0.5 / 5)


def test_a_run_broken_anywhere_ends_with_the_weights_of_an_unbroken_one(tmp_path, monkeypatch):
    from tensorboard.summary.writer import event_file_writer

    # TensorBoard reads its files in the order of their names, in which a second is followed by a counter of the process.
    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(100))
    data = table(pairs(80)), table(pairs(12, seed=1))
    whole = job(tmp_path, *data, out="whole", recipe={"epochs": 1.6, "global_batch_size": 10}, checkpoint_steps=3)
    train(whole)
    broken = changed(whole, out=tmp_path / "broken")
    report = Trainer.report
    for stop in (5, 7, 11):

        def die(self, facts, log, board, stop=stop):
            report(self, facts, log, board)
            if facts["step"] == stop:
                raise KeyboardInterrupt

        monkeypatch.setattr(Trainer, "report", die)
        with pytest.raises(KeyboardInterrupt):
            train(broken)
    monkeypatch.setattr(Trainer, "report", report)
    train(broken)
    assert [m["step"] for m in metrics(broken)] == list(range(1, 14))
    assert losses(broken) == losses(whole)
    assert on_board(broken) == [(m["step"], pytest.approx(m["loss"])) for m in metrics(whole)]
    assert equal(weights(broken), weights(whole))


def test_a_checkpoint_of_another_job_is_refused(tmp_path, monkeypatch):
    j = job(tmp_path, table(pairs(32)), checkpoint_steps=1)

    def die(self, seconds):
        raise KeyboardInterrupt

    with monkeypatch.context() as m:
        m.setattr(Trainer, "finish", die)
        with pytest.raises(KeyboardInterrupt):
            train(j)
    with pytest.raises(WrongCheckpoint, match="another job"):
        train(changed(j, seed=5))
    with pytest.raises(WrongCheckpoint, match="ZeRO 0 and 1 cannot go on from each other"):
        train(changed(j, zero_stage=0))


def test_weights_soft_labels_and_margins_of_the_data_reach_the_loss(tmp_path):
    rows = pairs(16)
    one_step = {"global_batch_size": 16, "evaluations": 0}
    plain = job(tmp_path / "a", table(rows), recipe=one_step)
    heavy = job(tmp_path / "b", table(rows, weight=[1.0] * 8 + [0.0] * 8), recipe=one_step)
    half = job(tmp_path / "c", table(rows[:8]), recipe=one_step)
    margin = job(tmp_path / "d", table(rows, margin=[2.0] * 16), recipe=one_step)
    sure = job(tmp_path / "e", table(rows, target=[0.0] * 16), recipe=one_step)
    for j in (plain, heavy, half, margin, sure):
        train(j)
    # The tokenizers learned from `half` differ, so its loss agrees with that of `heavy` in expectation only.
    assert losses(heavy)[0] != pytest.approx(losses(plain)[0], abs=1e-6)
    assert losses(heavy)[0] == pytest.approx(losses(half)[0], abs=0.03)
    assert losses(margin)[0] == pytest.approx(math.log1p(math.exp(2)), abs=0.1)
    assert losses(plain)[0] + losses(sure)[0] == pytest.approx(2 * math.log(2), abs=0.02)


@pytest.mark.parametrize("stage", [0, 2])
def test_other_zero_stages_train_the_same(tmp_path, stage):
    data = table(pairs(32))
    first, second = (job(tmp_path, data, out=f"s{s}", zero_stage=s) for s in (1, stage))
    train(first)
    train(second)
    assert losses(second) == pytest.approx(losses(first), abs=1e-6)


@pytest.mark.parametrize("launcher", [None, pytest.param("torchrun", marks=pytest.mark.slow)])
def test_two_ranks_train_what_one_trains(tmp_path, launcher):
    j = job(tmp_path, table(pairs(70)), table(pairs(12, seed=1)), out="one", checkpoint_steps=2)
    alone = train(j)
    two = changed(j, out=tmp_path / "two")
    path = tmp_path / "two.json"
    two.write(path)
    status, said = launched(path, launcher)
    assert status == [0] * len(status), said[-3000:]
    assert losses(two) == pytest.approx(losses(j), abs=1e-5)
    result = json.loads((tmp_path / "two" / "result.json").read_text())
    assert result["validation_accuracy"] == alone["validation_accuracy"]
    assert "ranks: 2" in result["hardware"]


@pytest.mark.slow
def test_a_rank_that_says_nothing_any_more_is_given_up_after_the_time_out(tmp_path, monkeypatch):
    """Groups that DeepSpeed makes itself wait half an hour, unless they are told otherwise."""
    monkeypatch.setenv("DEEPSPEED_TIMEOUT", "1")
    path = tmp_path / "job.json"
    job(tmp_path, table(pairs(70)), table(pairs(12, seed=1))).write(path)
    began = time.monotonic()
    done = launch(command("tests.support.silent_rank", path, 2))
    assert done.returncode != 0 and 60 < time.monotonic() - began < 240
    assert re.search("^OthersGone: rank 0 of 2 was left alone: ", done.stderr, re.M)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "launcher", "then_stage", "then_ranks"),
    [
        (0, "deepspeed", 0, 1),
        (1, "torchrun", 1, 1),
        (1, "torchrun", 2, 2),
        (2, "deepspeed", 1, 1),
        (3, "torchrun", 3, 1),
        (1, None, 1, 2),
    ],
)
def test_a_run_goes_on_with_other_ranks_and_stages(tmp_path, stage, launcher, then_stage, then_ranks):
    """Stopped after three steps on two ranks (without a launcher: on one), gone on with others: the same training."""
    data = table(pairs(70)), table(pairs(12, seed=1))
    whole = job(tmp_path, *data, out="whole", checkpoint_steps=1)
    reference = train(whole)
    j = changed(whole, out=tmp_path / "other")
    path = tmp_path / "other.json"

    def run(module: str, stage: int, ranks: int, launcher: str = "torchrun") -> subprocess.CompletedProcess:
        changed(j, zero_stage=stage).write(path)
        return launch(command(module, path, ranks, launcher))

    stopped = (
        run("tests.support.stopped_training", stage, 2, launcher)
        if launcher
        else run("tests.support.stopped_training", stage, 1)
    )
    assert stopped.returncode != 0
    assert [m["step"] for m in metrics(j)] == [1, 2, 3], stopped.stderr[-3000:]
    done = run("training.train", then_stage, then_ranks)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "going on after step 3" in done.stderr
    assert losses(j) == pytest.approx(losses(whole), abs=1e-5)
    result = json.loads((tmp_path / "other" / "result.json").read_text())
    assert result["validation_accuracy"] == reference["validation_accuracy"]
    ours, theirs = weights(j), weights(whole)
    # Converted by DeepSpeed from ZeRO 3, norms and head come back with an Adam state that is slightly another.
    near = 1e-3 if stage == 3 else 1e-4
    assert all(torch.allclose(ours[k], theirs[k], atol=near) for k in ours | theirs)


# ---- bad input -----------------------------------------------------------------------------------------------------
def test_a_loss_that_is_no_number_stops_and_names_the_pairs(tmp_path):
    rows = pairs(48)
    j = job(tmp_path, table(rows, weight=[1.0] * 20 + [math.nan] + [1.0] * 27), tokens_per_microbatch=64)
    with pytest.raises(TrainingFailed, match=r"step \d: the loss is nan, first in pairs .*pair0-0020"):
        train(j)
    assert not (tmp_path / "out" / "result.json").exists()


def test_divergence_stops(tmp_path):
    data = table(pairs(200), margin=[50.0] * 200)
    j = job(tmp_path, data, recipe={"global_batch_size": 5, "learning_rate": 1e-6})
    with pytest.raises(TrainingFailed, match="step 20: diverged, mean loss"):
        train(j)


def test_memory_that_runs_out_names_the_batch(tmp_path, monkeypatch):
    def full(*_):
        raise RuntimeError("CUDA out of memory. Tried to allocate 8 GiB")

    monkeypatch.setattr(program, "bradley_terry", full)
    with pytest.raises(TrainingFailed, match=r"step 1: out of memory on \d+ tokens, pairs pair0-.*lower"):
        train(job(tmp_path, table(pairs(8))))


def test_nothing_to_train_or_validate_on_is_an_error(tmp_path):
    same = [{**p, "rejected": p["chosen"]} for p in pairs(5)]
    with pytest.raises(TrainingFailed, match=r"no usable training pair is left.*identical': 5"):
        train(job(tmp_path / "a", table(same)))
    long = [{**p, "chosen": BETTER * 900} for p in pairs(5)]
    with pytest.raises(TrainingFailed, match=r"no usable validation pair is left.*over_length': 5"):
        train(job(tmp_path / "b", table(pairs(8)), table(long)))
    with pytest.raises(TrainingFailed, match="no usable validation pair"):
        train(job(tmp_path / "c", table(pairs(8)), table([])))


def test_pairs_that_the_template_refuses_are_left_out_and_the_first_is_named(tmp_path, monkeypatch, capsys):
    from training import model as made

    strict = made.CHATML.replace(
        "{% for", "{% if messages[0]['role'] != 'user' %}{{ raise_exception('no') }}{% endif %}{% for", 1
    )
    monkeypatch.setattr(made, "CHATML", strict)
    rows = pairs(12)
    rows[3]["conversation"] = [{"role": "assistant", "content": "hello"}]
    result = train(job(tmp_path / "a", table(rows)))
    assert (result["pairs"], result["dropped_by_reason"]) == (11, {"refused_by_template": 1})
    assert (
        "pair pair0-0003: the chat template refuses the turns (assistant, then assistant): no"
        in capsys.readouterr().err
    )
    every = [{**p, "conversation": rows[3]["conversation"]} for p in pairs(3)]
    with pytest.raises(
        TrainingFailed, match=r"no usable training pair.*'refused_by_template': 3.*; pair pair0-0000: .* no"
    ):
        train(job(tmp_path / "b", table(every)))


def test_what_teaches_or_chooses_nothing_is_an_error(tmp_path):
    with pytest.raises(TrainingFailed, match="weights of all 6 training pairs are 0"):
        train(job(tmp_path / "a", table(pairs(6), weight=[0.0] * 6)))
    ties = [{**p, "rejected": p["chosen"]} for p in pairs(5)]
    with pytest.raises(TrainingFailed, match="in all 5 validation pairs both responses are the same"):
        train(job(tmp_path / "b", table(pairs(6)), table(ties)))


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "what"), [(200_000, "checkpoints"), (60_000, "model")])
def test_a_disk_that_fills_stops_with_what_was_whole(tmp_path, limit, what):
    """The limit is on the size of a file, which fails a write as a full disk does."""
    j = job(
        tmp_path, table(pairs(48)), table(pairs(8, seed=1)), out="full", checkpoint_steps=2, recipe={"evaluations": 3}
    )
    path = tmp_path / "full.json"
    j.write(path)
    done = subprocess.run(
        guarded(command("training.train", path)), cwd=ROOT, env={**os.environ, **environment()}, capture_output=True, text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    assert done.returncode == 1
    assert re.search(rf"TrainingFailed: step \d: .*{what} cannot be written, [\d,]+ MiB are free: ", done.stderr), (
        done.stderr
    )
    assert not (tmp_path / "full" / "result.json").exists()
    assert not (tmp_path / "full" / "checkpoints" / "last.json").exists()
    assert (tmp_path / "full" / "model").exists() == (what == "checkpoints")
    whole = changed(j, out=tmp_path / "whole")
    assert train(j)["validation_accuracy"] == train(whole)["validation_accuracy"]
    assert equal(weights(j), weights(whole))


def test_a_backbone_without_a_padding_token_gets_one_that_plain_transformers_finds(tmp_path):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    backbone = Backbone(hidden=32, layers=1, heads=2)
    tokenizer = learn_tokenizer([p["chosen"] for p in pairs(20)], 300)
    export(new_model(backbone, tokenizer, 256, seed=1), tmp_path / "backbone", {})
    for name in ("tokenizer_config.json", "config.json"):
        known = json.loads((tmp_path / "backbone" / name).read_text())
        kept = {k: v for k, v in known.items() if k not in ("pad_token", "pad_token_id", "added_tokens_decoder")}
        (tmp_path / "backbone" / name).write_text(json.dumps(kept))
    assert AutoTokenizer.from_pretrained(tmp_path / "backbone").pad_token is None
    j = job(tmp_path, table(pairs(16)), backbone={"path": str(tmp_path / "backbone")})
    train(j)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out" / "model")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out" / "model").eval()
    assert tokenizer.pad_token_id == model.config.pad_token_id is not None
    texts = ["word1 word2", "word3 " * 30]
    with torch.no_grad():
        together = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits[:, 0].tolist()
        alone = [model(**tokenizer([t], return_tensors="pt")).logits.item() for t in texts]
    assert together == pytest.approx(alone, abs=1e-5)


def test_learning_rate_schedules_by_hand():
    linear = [learning_rate(k, 10, 0.2, "linear") for k in range(10)]
    assert linear == pytest.approx([1 / 3, 2 / 3, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8])
    assert [learning_rate(k, 4, 0.25, "constant") for k in range(4)] == pytest.approx([0.5, 1, 1, 1])
