"""The files in deploy/ on a real Slurm of two nodes."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets import stage2
from curation.tables import BEST_REWARD_MODEL, CLEAN_POOL, GOLD, GOLD_REWARD_MODEL, SCORES, SILVER, STATES, UNDECIDED
from resources.lake import Lake
from resources.run import Run
from resources.settings import load
from tests.stage1.test_iterations import until
from tests.support import postgres
from tests.support.lakes import fill, published, put
from tests.support.places import ROOT
from tests.support.slurm_cluster import Cluster, cluster
from tests.support.slurm_training import TRAINING
from tests.support.training_jobs import pairs, table
from training.launch import environment

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def slurm() -> Iterator[Cluster]:
    with cluster() as made:
        yield made


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Pairs, and a program that stands for `assay run`: it trains as one of its steps does."""
    made = tmp_path_factory.mktemp("slurm")
    pq.write_table(table(pairs(320)), made / "train.parquet")
    pq.write_table(table(pairs(40, seed=1)), made / "validation.parquet")
    (made / "bin").mkdir()
    (made / "bin" / "assay").write_text(
        f'#!/bin/sh\nshift\nexec {sys.executable} -m tests.support.slurm_training "$@"\n'
    )
    (made / "bin" / "assay").chmod(0o755)
    return made


@pytest.fixture(scope="module")
def trained(slurm, folder) -> Path:
    """The model of two nodes, whose job was told once that its time is over."""
    lake = folder / "lake"
    size = ["--nodes=2", "--ntasks-per-node=1", "--gpus-per-node=0", "--cpus-per-task=1", "--mem=0"]
    env = {"PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    log = folder / "train.log"
    job = slurm.submit(
        *size, f"--output={log}", f"--chdir={ROOT}", "deploy/train.sbatch", str(folder), str(lake), "slurm", **env
    )
    until(lambda: any(lake.glob("files/models/*/checkpoints/last.json")), 180)
    slurm.say("scancel", "--batch", "--signal=TERM", job)
    until(lambda: slurm.state(job) & {"COMPLETED", "FAILED", "CANCELLED"} and (lake / "trained").exists(), 300)
    said = log.read_text()
    assert slurm.state(job) == {"COMPLETED"}, said[-3000:]
    assert re.search(r"going on after step \d+", said), said[-3000:]
    assert "Restarts=1" in slurm.say("scontrol", "show", "job", job)
    return lake


def test_a_training_of_two_nodes_goes_on_after_its_time_and_is_what_one_machine_trains(trained, folder):
    alone = folder / "alone"
    line = [sys.executable, "-m", "tests.support.slurm_training", str(folder), str(alone), "torchrun"]
    subprocess.run(line, cwd=ROOT, env={**os.environ, **environment(2)}, check=True, capture_output=True)
    paths = [lake / "files" / (lake / "trained").read_text() / "model.safetensors" for lake in (alone, trained)]
    assert paths[0].relative_to(alone) == paths[1].relative_to(trained)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_an_array_scores_what_the_list_says(slurm, folder, trained):
    """Both buckets, on two nodes at once, as one machine scores them."""
    near, far = (lake_to_score(folder / name, trained, name) for name in ("torchrun", "slurm"))
    root, home = folder / "slurm", folder / "slurm" / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text((ROOT / "deploy" / "dagster-postgres.yaml").read_text())
    with postgres.server(slurm.here) as url:
        env = {"DAGSTER_HOME": str(home), "ASSAY_CONFIG": str(root / "assay.toml"), "ASSAY_POSTGRES": url}
        env |= {"PYTHONPATH": str(ROOT), "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        listing = [sys.executable, "-m", "cli.main", "run", "stage2", "--list-stale"]
        here = {**os.environ, **environment(1), **env}
        listed = subprocess.run(listing, cwd=root, env=here, capture_output=True, text=True)
        due = "".join(line + "\n" for line in listed.stdout.splitlines() if line.startswith("scores\t"))
        assert due == "scores\tb00\nscores\tb01\n", listed.stdout + listed.stderr
        (root / "stale.tsv").write_text(due)
        several_at_once(home, url)
        size = ["--cpus-per-task=1", "--mem=0", f"--chdir={root}", f"--output={root}/%a.log", "--array=1-2"]
        job = slurm.submit(*size, str(ROOT / "deploy" / "partitions.sbatch"), "stale.tsv", **env)
        until(lambda: slurm.state(job) <= {"COMPLETED", "FAILED", "CANCELLED"}, 240)
        assert slurm.state(job) == {"COMPLETED"}, "".join(p.read_text()[-1500:] for p in root.glob("*.log"))
        assert set(re.findall(r" NodeList=(\w+)", slurm.say("scontrol", "show", "job", job))) == {"alpha", "beta"}
    for key in ("b00", "b01"):
        published(stage2.scores, Run(load(folder / "torchrun" / "assay.toml"), near, key))
    tables = [
        pa.concat_tables(pq.read_table(lake.path(SCORES, key), partitioning=None) for key in ("b00", "b01"))
        for lake in (near, far)
    ]
    assert tables[0].num_rows == 60 and tables[1].equals(tables[0])


def lake_to_score(root: Path, trained: Path, launcher: str) -> Lake:
    """Two buckets without scores and the model that was trained, which is the best one too."""
    path = (trained / "trained").read_text()
    (root / "lake" / "files").mkdir(parents=True)
    (root / "lake" / "files" / "models").symlink_to(trained / "files" / "models")
    (root / "assay.toml").write_text(configuration(launcher))
    lake, rows = Lake(str(root / "lake")), pairs(60, seed=3)
    for i, key in enumerate(("b00", "b01")):
        put(lake, CLEAN_POOL, sorted(rows[i::2], key=lambda r: r["pair_id"]), key)
        put(lake, STATES, [], key)
    for key in ("iter_00", "iter_01"):
        for one in (GOLD, SILVER, UNDECIDED):
            put(lake, one, [], key)
    model = {"model_id": path.split("/")[1], "path": path, "kind": "gold", "best": True, "iteration": "iter_00"}
    for one in (BEST_REWARD_MODEL, GOLD_REWARD_MODEL):
        blank = {"int64": 0, "double": 0.0, "bool": True, "string": ""}
        put(lake, one, [{f.name: blank[str(f.type)] for f in one.schema} | model])
    made = load(root / "assay.toml")
    for step in (stage2.best_reward_model, stage2.gold_reward_model):  # up to date with what there is
        fill(step, Run(made, lake))
        for one in step.tables:
            rows = pq.read_table(lake.path(one)) if lake.note(one) else one.schema.empty_table()
            lake.write(one, rows.cast(one.schema), None, step.note(made, lake, None))
    return lake


def several_at_once(home: Path, url: str) -> None:
    """Two steps may use GPUs at once: there are two machines."""
    os.environ["ASSAY_POSTGRES"] = url
    try:
        with dg.DagsterInstance.from_config(str(home)) as instance:
            instance.event_log_storage.set_concurrency_slots("gpu", 2)
    finally:
        del os.environ["ASSAY_POSTGRES"]


def configuration(launcher: str) -> str:
    values = "".join(f"{k} = {v!r}\n" for k, v in TRAINING.items() if k != "backbone").replace("'", '"')
    backbone = ", ".join(f"{k} = {v}" for k, v in TRAINING["backbone"].items())
    return f"""
[lake]
buckets = 2
[world]
[[sources]]
name = "s"
path = "s.jsonl"
[[judges.panel]]
name = "one"
[[judges.panel]]
name = "two"
[stage1]
iterations = 1
[training]
launcher = "{launcher}"
backbone = {{{backbone}}}
{values}"""
