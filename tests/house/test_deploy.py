"""The files that start Assay elsewhere are what Kubernetes, bash and Dagster take."""

import subprocess
from collections.abc import Iterator
from typing import Any

import kubernetes_validate
import pytest
import yaml

from assets.executors import executor, op_tags
from resources.settings import ConfigError
from tests.support.lakes import settings
from tests.support.places import ROOT

KUBERNETES = ROOT / "deploy" / "kubernetes"


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((KUBERNETES / name).read_text(encoding="utf-8")))


def pods(where: Any) -> Iterator[dict[str, Any]]:
    """Specs of pods, wherever they stand."""
    if isinstance(where, dict):
        if "containers" in where:
            yield where
        for value in where.values():
            yield from pods(value)
    elif isinstance(where, list):
        for value in where:
            yield from pods(value)


@pytest.mark.parametrize("name", ["volume.yaml", "machine.yaml", "judges.yaml"])
def test_manifests_follow_the_schemas_of_kubernetes(name):
    for document in documents(name):
        kubernetes_validate.validate(document, "1.37", strict=True)


def test_pods_of_a_ray_job_follow_them_too():
    found = list(pods(documents("ray.yaml")))
    assert [p["containers"][0]["name"] for p in found] == ["submitter", "ray-head", "ray-worker"]
    for spec in found:
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"}, "spec": spec}
        kubernetes_validate.validate(pod, "1.37", strict=True)


def test_the_chart_has_the_queue_and_the_volume_of_the_code_location():
    (values,) = documents("dagster-values.yaml")
    queue = values["dagsterDaemon"]["runCoordinator"]["config"]["customRunCoordinator"]
    shipped = yaml.safe_load((ROOT / "dagster.yaml").read_text(encoding="utf-8"))
    assert {k: queue[k] for k in ("module", "class")} == shipped["run_coordinator"]
    (location,) = values["dagster-user-deployments"]["deployments"]
    assert values["dagsterDaemon"]["image"] == values["dagsterWebserver"]["image"] == location["image"]
    assert values["concurrency"]["pools"]["defaultLimit"] == shipped["concurrency"]["pools"]["default_limit"]
    mounts = [location["volumeMounts"], values["runLauncher"]["config"]["k8sRunLauncher"]["volumeMounts"]]
    assert mounts == [[{"name": "work", "mountPath": "/srv/assay"}]] * 2


@pytest.mark.parametrize("path", sorted(ROOT.glob("deploy/*.sbatch")), ids=lambda p: p.name)
def test_files_of_slurm_are_bash(path):
    subprocess.run(["bash", "-n", str(path)], check=True)


def test_the_configuration_says_who_carries_out_steps():
    assert executor(settings()).name == "multiprocess" and op_tags(settings(), "gpu") is None
    far = settings(cluster={"steps": "kubernetes", "step_gpus": 8})
    assert executor(far).name == "k8s" and op_tags(far, "llm") is None
    asked = op_tags(far, "gpu") or {}
    assert asked["dagster-k8s/config"]["container_config"]["resources"] == {"limits": {"nvidia.com/gpu": 8}}
    assert asked["dagster-ray/config"] == {"num_gpus": 8}


@pytest.mark.slow
def test_steps_that_ray_carries_out_want_the_address_of_its_jobs(monkeypatch):
    monkeypatch.delenv("RAY_JOBS", raising=False)
    with pytest.raises(ConfigError, match="RAY_JOBS"):
        executor(settings(cluster={"steps": "ray"}))
    monkeypatch.setenv("RAY_JOBS", "http://head:8265")
    assert executor(settings(cluster={"steps": "ray"})).name == "ray"
