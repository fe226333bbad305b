"""Who carries out the steps of a run that Dagster's daemon or UI launches."""

import os
from collections.abc import Mapping
from typing import Any

import dagster as dg

from resources.settings import ConfigError, Settings

# of the process that starts a Ray job, for the job; no secrets: Ray keeps them in its records
TOLD = ("ASSAY_CONFIG", "DAGSTER_HOME", "PYTHONPATH", "PATH")


def executor(settings: Settings) -> dg.ExecutorDefinition:
    """Of a configuration: a process for each step, a pod of Kubernetes or a job of Ray.

    Raises:
        ConfigError: its package is not installed, or nothing says which Ray cluster.
    """
    cluster = settings.cluster
    if cluster.steps == "processes":
        return dg.multiprocess_executor.configured({"max_concurrent": settings.lake.threads})
    try:
        if cluster.steps == "kubernetes":
            from dagster_k8s import k8s_job_executor

            return k8s_job_executor  # image, volumes and secrets are those of the run's own pod
        from dagster_ray import ray_executor
    except ImportError as e:
        raise ConfigError(f"cluster.steps = '{cluster.steps}' needs pip install 'assay[{cluster.steps}]'") from e
    if not (address := os.environ.get("RAY_JOBS")):
        raise ConfigError("cluster.steps = 'ray' needs RAY_JOBS, the address of Ray's jobs: http://HEAD:8265")
    told = [name for name in TOLD if name in os.environ]
    return ray_executor.configured({"ray": {"address": address, "num_cpus": 1, "env_vars": told}})


def op_tags(settings: Settings, pool: str | None) -> Mapping[str, Any] | None:
    """What a step asks of Kubernetes and of Ray."""
    gpus = settings.cluster.step_gpus
    if pool != "gpu" or not gpus:
        return None
    limits = {"limits": {"nvidia.com/gpu": gpus}}
    return {"dagster-k8s/config": {"container_config": {"resources": limits}}, "dagster-ray/config": {"num_gpus": gpus}}
