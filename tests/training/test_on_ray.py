"""Ray places what one machine does alone: the results are equal."""

import json
import os
import subprocess
import threading
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from resources import frozen_heads, notices
from resources.dealing import dealt
from resources.retrieval.embedder import FIELDS, embed
from resources.settings import ConfigError, Embedding
from resources.settings.cluster import Cluster
from resources.settings.training import Training
from tests.support.tiny_backbones import tiny_backbone
from tests.support.training_jobs import job, pairs, table
from training import on_ray
from training.job import ScoreJob
from training.launch import ROOT, command, environment, guarded
from training.on_ray import places

WORKERS = Cluster(workers=2)


def test_without_workers_the_step_does_it_and_loads_nothing_for_nothing():
    made = []

    def make():
        made.append(1)
        return lambda batch: batch * 2

    assert list(dealt(Cluster(), make, iter([1, 2, 3]))) == [2, 4, 6] and made == [1]
    assert list(dealt(WORKERS, make, [])) == [] and made == [1], "Ray is not started either"


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A cluster of two processors, which programs that are started find too."""
    ray = pytest.importorskip("ray")
    given = {"env_vars": {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}}
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        made = ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env=given)
        patch.setenv("RAY_ADDRESS", made.address_info["address"])
        yield
        ray.shutdown()


def batches() -> list[pa.RecordBatch]:
    words = {
        "category": "math",
        "objectivity": "objective",
        "controversiality": "low",
        "desired": "right",
        "guideline": "",
    }
    rows = [{**p, **words} for p in pairs(90, seed=4)]
    for row in rows:
        row["conversation"][0]["content"] = row["conversation"][0]["content"][:40]
    return [pa.RecordBatch.from_pylist(rows[i : i + 20]) for i in range(0, 90, 20)]


@pytest.mark.slow
def test_workers_that_this_machine_has_no_room_for_are_refused(monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(ConfigError, match=r"^cluster\.workers 2 of worker_gpus 8: this machine has \d+ GPUs$"):
        list(dealt(Cluster(workers=2, worker_gpus=8), lambda: str, [1, 2]))


@pytest.mark.slow
def test_who_waits_for_room_in_a_cluster_says_so(cluster, monkeypatch):
    import ray

    said = []
    monkeypatch.setattr(notices, "say", said.append)
    monkeypatch.setattr(on_ray, "SILENT_S", 1)
    with places(2, {"CPU": 1.0}, print) as taken:
        threading.Timer(3, lambda: ray.util.remove_placement_group(taken[0].placement_group)).start()
        assert list(dealt(WORKERS, lambda: str, [1, 2])) == ["1", "2"]
    assert said == ["waiting for room in the Ray cluster for 2 processes of 1 CPU; it has {'CPU': 2.0}"]
    assert list(dealt(WORKERS, lambda: str, [3])) == ["3"], "what was given is given back"


@pytest.mark.slow
def test_two_workers_embed_and_read_states_as_one_process_does(cluster, tmp_path):
    words = [*FIELDS, "user math objective low right certainly", *(p["chosen"] for p in pairs(20))]
    encoder = tiny_backbone("bert", tmp_path / "bert", words * 20)  # which has few positions
    settings = Embedding(backend="encoder", model=str(encoder))
    texts = [pa.record_batch({"text": b["pair_id"], "response": b["chosen"]}) for b in batches()]
    training = Training.model_validate({"backbone": {"path": str(encoder)}, "head": "frozen", "max_tokens": 64})
    for here, there in (
        (embed(settings, batches()), embed(settings, batches(), WORKERS)),
        (frozen_heads.read(training, texts, Cluster()), frozen_heads.read(training, texts, WORKERS)),
    ):
        here, there = list(here), list(there)
        assert len(here) == 5 and all(a.equals(b) for a, b in zip(here, there, strict=True))


@pytest.mark.slow
def test_ray_trains_and_scores_what_torchrun_does_and_tells_how_a_rank_failed(cluster, tmp_path):
    made = {}
    for out, launcher in (("near", "torchrun"), ("far", "ray")):
        j = job(tmp_path, table(pairs(120)), table(pairs(20, seed=1)), out=out)
        j.write(tmp_path / f"{out}.json")
        assert run("training.train", tmp_path / f"{out}.json", launcher).returncode == 0
        s = ScoreJob(models={"m": j.out / "model"}, items=j.train, out=tmp_path / f"{out}-scores", part_rows=32)
        s.write(tmp_path / f"{out}-scores.json")
        assert run("training.score", tmp_path / f"{out}-scores.json", launcher).returncode == 0
        rewards = pq.read_table(s.out / "m")
        made[out] = (j.out / "model" / "model.safetensors").read_bytes(), np.array(rewards["r_chosen"]).tolist()
    assert made["near"] == made["far"] and len(made["far"][1]) == 120
    (tmp_path / "broken.json").write_text(json.dumps({"models": {}}))
    done = run("training.score", tmp_path / "broken.json", "ray")
    assert done.returncode == 1 and "rank" in done.stderr and "broken.json" in done.stderr


def run(module: str, path, launcher) -> subprocess.CompletedProcess:
    line = guarded(command(module, path, 2, launcher))
    return subprocess.run(line, cwd=ROOT, env={**os.environ, **environment(2)}, capture_output=True, text=True)
