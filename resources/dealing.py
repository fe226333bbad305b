"""Batches dealt to the processes of a Ray cluster, each with a model of its own."""

import contextlib
import math
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, TypeVar

from resources.notices import tell
from resources.settings import ConfigError
from resources.settings.cluster import Cluster
from training.launch import environment
from training.on_ray import connected, places

A = TypeVar("A")
B = TypeVar("B")
AHEAD = 2  # batches a worker, one that it works on and one that waits there


def dealt(cluster: Cluster, make: Callable[[], Callable[[A], B]], batches: Iterable[A]) -> Iterator[B]:
    """What `make()(batch)` is of each batch, in their order; nothing is made where there is no batch.

    Args:
        make: loads a model, once a process; it can be pickled, as the batches and results can.

    Raises:
        ConfigError: Ray is wanted and not installed, or the cluster of this machine is too small.
    """
    batches = iter(batches)
    first = next(batches, None)
    if first is None:
        return
    if cluster.workers is None:
        work = make()
        yield work(first)
        yield from map(work, batches)
        return
    with _workers(cluster, cluster.workers, make) as (workers, get):
        turn, waiting = 0, deque([workers[0].work.remote(first)])
        for batch in batches:
            if len(waiting) == AHEAD * len(workers):
                yield get(waiting.popleft())
            turn = (turn + 1) % len(workers)
            waiting.append(workers[turn].work.remote(batch))
        while waiting:
            yield get(waiting.popleft())


@contextlib.contextmanager
def _workers(cluster: Cluster, n: int, make: Callable[[], Callable]) -> Generator[tuple[list[Any], Callable]]:
    """So many processes with what `make` gives, and how a result is fetched."""
    try:
        import ray
    except ImportError as e:
        raise ConfigError("cluster.workers needs Ray: pip install 'assay[ray]'") from e

    class Worker:
        def __init__(self, make: Callable[[], Callable]):
            self.work_on = make()

        def work(self, batch: Any) -> Any:
            return self.work_on(batch)

    ours = not ray.is_initialized()
    if ours:
        variables = {k: v for k, v in environment(n).items() if k in ("PYTHONPATH", "HF_HUB_OFFLINE")}
        connected(math.ceil(n * cluster.worker_cpus), variables)
    try:
        gpus = ray.cluster_resources().get("GPU", 0)
        if not os.environ.get("RAY_ADDRESS") and gpus < n * cluster.worker_gpus:
            raise ConfigError(
                f"cluster.workers {n} of worker_gpus {cluster.worker_gpus:g}: this machine has {gpus:g} GPUs"
            )
        each = {"CPU": cluster.worker_cpus, **({"GPU": cluster.worker_gpus} if cluster.worker_gpus else {})}
        kind: Any = ray.remote(num_cpus=cluster.worker_cpus, num_gpus=cluster.worker_gpus)(Worker)
        with places(n, each, tell) as found:
            made = [kind.options(scheduling_strategy=place).remote(make) for place in found]
            try:
                yield made, ray.get
            finally:
                for worker in made:
                    ray.kill(worker)
    finally:
        if ours:
            ray.shutdown()
