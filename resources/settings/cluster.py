"""On which machines steps are carried out; trainings and scoring are placed by [training]."""

from typing import Annotated, Literal

from pydantic import Field

from resources.settings.base import Count, Part


class Cluster(Part):
    """Decides no result. RAY_ADDRESS says which Ray cluster is meant; without it, one is started on this machine."""

    # of a run that Dagster's daemon or UI launches: a process, a Kubernetes pod or a Ray job for each step
    steps: Literal["processes", "kubernetes", "ray"] = "processes"
    step_gpus: Annotated[int, Field(ge=0)] = 0  # that a pod or a job is given whose step is in the pool gpu
    # Ray's processes that hold an encoder, or the layers below a frozen head, and are dealt the batches of a step; None: the
    # step's own process does it
    workers: Count | None = None
    worker_cpus: Annotated[float, Field(gt=0)] = 1.0  # of each
    worker_gpus: Annotated[float, Field(ge=0)] = 0.0
