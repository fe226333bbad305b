"""Where the metrics of a training go beside `metrics.jsonl`, live: TensorBoard, Weights & Biases, MLflow, trackio.

Each is spoken to through its own client, which is told by its own environment variables where its server is and who
asks (WANDB_MODE, WANDB_API_KEY, MLFLOW_TRACKING_URI, TRACKIO_SPACE_ID, …). Nothing of them stands in a job.
"""

import contextlib
import importlib
import os
import time
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from training.job import TrackerName

PROJECT = "assay"


class Tracker(Protocol):
    """Takes the numbers of one step after another."""

    def log(self, step: int, numbers: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class NoTracker(Exception):
    """A tracker that is asked for cannot be used; the message says what to do."""


class _TensorBoard:
    def __init__(self, out: Path, name: str, config: dict[str, Any], step: int):
        from torch.utils.tensorboard import SummaryWriter

        # what a broken run wrote of the steps to come is hidden
        self._writer = SummaryWriter(out / "tensorboard", purge_step=step + 1, flush_secs=5)

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        for key, value in numbers.items():
            self._writer.add_scalar(key, value, step)

    def close(self) -> None:
        self._writer.close()


class _Wandb:
    """Offline, its files lie in `wandb/` beside the metrics, for `wandb sync`."""

    def __init__(self, out: Path, name: str, config: dict[str, Any], step: int):
        import wandb

        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT), name=name, id=name or None, resume="allow", config=config,
            dir=str(out), settings=wandb.Settings(console="off", silent=True),
        )  # fmt: skip

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        self._run.log(dict(numbers), step=step)

    def close(self) -> None:
        self._run.finish()


class _Mlflow:
    """Without MLFLOW_TRACKING_URI, in `mlflow.db` beside all models."""

    def __init__(self, out: Path, name: str, config: dict[str, Any], step: int):
        import mlflow
        from mlflow.entities import Param

        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(out.parent / 'mlflow.db').resolve()}"
        self._client: Any = mlflow.MlflowClient(uri)
        named = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        found = self._client.get_experiment_by_name(named)
        experiment = found.experiment_id if found else self._client.create_experiment(named)
        known = f"tags.`mlflow.runName` = '{name}'"
        newest = ["attributes.start_time DESC"]
        if step and (before := self._client.search_runs([experiment], known, order_by=newest, max_results=1)):
            self._run = before[0].info.run_id  # the training goes on
            return
        self._run = self._client.create_run(experiment, run_name=name).info.run_id
        self._client.log_batch(self._run, params=[Param(key, str(value)) for key, value in config.items()])

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._client.log_batch(self._run, [Metric(k, float(v), now, step) for k, v in numbers.items()])

    def close(self) -> None:
        self._client.set_terminated(self._run)


class _Trackio:
    def __init__(self, out: Path, name: str, config: dict[str, Any], step: int):
        trackio: Any = importlib.import_module("trackio")

        self._trackio = trackio
        trackio.init(project=os.environ.get("TRACKIO_PROJECT", PROJECT), name=name, config=config, resume="allow")

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        self._trackio.log(dict(numbers), step=step)

    def close(self) -> None:
        self._trackio.finish()


_TRACKERS: dict[str, Any] = {"tensorboard": _TensorBoard, "wandb": _Wandb, "mlflow": _Mlflow, "trackio": _Trackio}

_PACKAGES = {"mlflow": "mlflow-skinny"}


@contextlib.contextmanager
def trackers(
    names: Sequence[TrackerName], out: Path, name: str, config: dict[str, Any], step: int
) -> Generator[list[Tracker]]:
    """Open those that are named, and close them in the end.

    Args:
        out: folder of the training.
        name: of the training, the same when it goes on.
        config: numbers and names of the recipe.
        step: that was reached before.

    Raises:
        NoTracker: a client is not installed, or its server does not answer.
    """
    opened: list[Tracker] = []
    try:
        for one in names:
            try:
                opened.append(_TRACKERS[one](out, name, config, step))
            except ImportError:
                raise NoTracker(
                    f"training.trackers: {one} is not installed: pip install {_PACKAGES.get(one, one)}"
                ) from None
            except Exception as e:  # each client has its own
                raise NoTracker(f"training.trackers: {one}: {type(e).__name__}: {str(e).strip()[:300]}") from e
        yield opened
    finally:
        for tracker in opened:
            with contextlib.suppress(Exception):  # a server that went away must not cost the model
                tracker.close()
