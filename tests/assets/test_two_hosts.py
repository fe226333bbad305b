"""Two hosts do what one does, and the end of one of them is told by the other."""

import hashlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.stage1.test_iterations import until
from tests.support import postgres
from tests.support.hosts import Host, hosts
from tests.support.places import ROOT
from tests.support.training_jobs import job, metrics, pairs, table
from training.job import ScoreJob, TrainJob
from training.launch import command, environment, guarded

pytestmark = pytest.mark.slow
POOL = """
[lake]
buckets = 4
[[sources]]
name = "one"
path = "one.jsonl"
shape = "pair"
label_origin = "human"
[[sources]]
name = "two"
path = "two.jsonl"
shape = "pair"
label_origin = "human"
"""


@pytest.fixture(scope="module")
def two() -> Iterator[tuple[list[Host], str]]:
    with hosts("alpha", "beta") as made:
        yield made


def lines(module: str, path: Path, head: Host) -> list[list[str]]:
    return [guarded(command(module, path, 1, nodes=2, rendezvous=f"{head.name}:29511", node=i), 1) for i in range(2)]


def on_both(machines: Sequence[Host], module: str, path: Path, **env: str) -> list[subprocess.Popen]:
    both = zip(machines, lines(module, path, machines[0]), strict=True)
    return [host.start(line, env, stderr=subprocess.PIPE) for host, line in both]


def ends(programs: Sequence[subprocess.Popen], seconds: float = 600) -> list[tuple[int, str]]:
    said = [p.communicate(timeout=seconds)[1] for p in programs]
    return [(p.returncode, text) for p, text in zip(programs, said, strict=True)]


def weights(j: TrainJob) -> str:
    return hashlib.sha256((j.out / "model" / "model.safetensors").read_bytes()).hexdigest()


def a_training(folder: Path, out: str) -> TrainJob:
    j = job(
        folder,
        table(pairs(320)),
        table(pairs(40, seed=1)),
        out=out,
        recipe={"epochs": 3, "evaluations": 3},
        checkpoint_steps=5,
    )
    j.write(folder / f"{out}.json")
    return j


@pytest.fixture(scope="module")
def one_machine(tmp_path_factory) -> TrainJob:
    """What two ranks of one machine train."""
    folder = tmp_path_factory.mktemp("one")
    j = a_training(folder, "one")
    line = guarded(command("training.train", folder / "one.json", 2))
    subprocess.run(
        line,
        cwd=ROOT,
        env=environment(2) | {"OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"},
        check=True,
        capture_output=True,
    )
    return j


def test_two_hosts_train_and_score_what_one_does(two, one_machine, tmp_path):
    machines, _ = two
    j = a_training(tmp_path, "two")
    assert [status for status, _ in ends(on_both(machines, "training.train", tmp_path / "two.json"))] == [0, 0]
    assert weights(j) == weights(one_machine)
    rewards = []
    for out, where in (("scores", None), ("far", machines)):
        s = ScoreJob(models={"m": j.out / "model"}, items=j.train, out=tmp_path / out, part_rows=64)
        s.write(tmp_path / f"{out}.json")
        if where is None:
            subprocess.run(
                command("training.score", tmp_path / f"{out}.json"), cwd=ROOT, check=True, capture_output=True
            )
        else:
            assert [code for code, _ in ends(on_both(where, "training.score", tmp_path / f"{out}.json"))] == [0, 0]
        rewards.append(pq.read_table(s.out / "m"))
    assert rewards[0].num_rows == 320 and rewards[1].equals(rewards[0])


@pytest.mark.parametrize("how", ["its processes", "its power"])
def test_a_host_that_dies_ends_the_training_of_the_other_and_the_next_goes_on(one_machine, tmp_path, how):
    """Processes that are killed say farewell; a host without power does not, and is given up after a time-out."""
    j = a_training(tmp_path, "two")
    with hosts("gamma", "delta") as (machines, _):
        programs = on_both(machines, "training.train", tmp_path / "two.json", DEEPSPEED_TIMEOUT="1")
        until(lambda: (j.out / "checkpoints" / "last.json").exists() and len(metrics(j)) >= 7, 120)
        if how == "its power":
            machines[1].unplug()
        machines[1].kill()
        began = time.monotonic()
        (status, said), _ = ends(programs)
    assert status != 0 and time.monotonic() - began < (20 if how == "its processes" else 100)
    last = json.loads((j.out / "checkpoints" / "last.json").read_text())["state"]["step"]
    (line,) = re.findall(r"^OthersGone: .*", said, re.M)
    assert re.fullmatch(
        r"OthersGone: rank 0 of 2 was left alone: another machine or process of this training has ended or cannot be reached"
        r" \(.+\)\. The same command goes on from the last checkpoint", line
    ), line  # fmt: skip
    with hosts("gamma", "delta") as (machines, _):
        (status, said), (other, _) = ends(on_both(machines, "training.train", tmp_path / "two.json"))
    assert (status, other) == (0, 0) and f"going on after step {last}" in said
    assert weights(j) == weights(one_machine)


def test_an_array_over_two_hosts_makes_the_pool_that_one_makes(two, tmp_path):
    """Import, duplicates and what rests on them, each host its lines of the list, until the list is empty."""
    machines, here = two
    for name, seed in (("one", 0), ("two", 1)):
        rows = (
            {"prompt": p["conversation"][0]["content"], "chosen": p["chosen"], "rejected": p["rejected"]}
            for p in pairs(150, seed)
        )
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (tmp_path / "assay.toml").write_text(POOL)
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text((ROOT / "deploy" / "dagster-postgres.yaml").read_text())
    with postgres.server(here) as url:
        env = {
            "DAGSTER_HOME": str(home),
            "ASSAY_CONFIG": str(tmp_path / "assay.toml"),
            "ASSAY_POSTGRES": url,
            "PYTHONPATH": str(ROOT),
        }
        listing = [sys.executable, "-m", "cli.main", "run", "pool", "--list-stale"]
        rounds = []
        while todo := machines[0].run(listing, env, cwd=tmp_path).stdout.splitlines():
            rounds.append(len(todo))
            for i in range(0, len(todo), 2):
                work = [
                    host.start(made(line), env, cwd=tmp_path, stderr=subprocess.PIPE)
                    for host, line in zip(machines, todo[i : i + 2], strict=False)
                ]
                for status, said in ends(work):
                    assert status == 0, said[-2000:]
    assert len(rounds) > 2 and max(rounds) >= 4, "several rounds, of which one is as wide as there are buckets"
    alone = [sys.executable, "-m", "cli.main", "run", "pool", "--jobs", "1", "lake.path=alone"]
    subprocess.run(
        alone, cwd=tmp_path, env=environment(1) | {"ASSAY_CONFIG": env["ASSAY_CONFIG"]}, check=True, capture_output=True
    )
    files = {
        lake: {p.relative_to(tmp_path / lake): p.read_bytes() for p in (tmp_path / lake).rglob("*.parquet")}
        for lake in ("lake", "alone")
    }
    assert files["lake"] == files["alone"] and len(files["lake"]) > 20


def made(line: str) -> list[str]:
    assets, _, partition = line.partition("\t")
    which = ["--partition", partition] if partition else []
    return [
        sys.executable,
        "-m",
        "dagster",
        "asset",
        "materialize",
        "-m",
        "assets.definitions",
        "--select",
        assets,
        *which,
    ]
