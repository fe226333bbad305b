"""Starts the ranks of a training program in a Ray cluster.

    python -m training.on_ray RANKS MODULE JOB.json

RAY_ADDRESS says which cluster; without it, one is started on this machine. Each rank is given a GPU where the cluster has
any, a processor otherwise, and all are given theirs at once or wait. The job's files stand on a file system that all
machines share, and so does this program. Rank 0 speaks to Dagster if this program was started by it. Where one rank ends
badly, all end, and so they do with this program.
"""

import argparse
import contextlib
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Generator
from typing import Any

from training.launch import ROOT, environment, free_port
from training.supervise import die_with_parent

MESSAGES = ("DAGSTER_PIPES_CONTEXT", "DAGSTER_PIPES_MESSAGES")
SILENT_S = 20  # of a wait for room in the cluster
TAIL = 3000  # characters of what a rank wrote to stderr, told here


class Rank:
    """An actor that runs one rank as a process of its own."""

    def meeting(self) -> tuple[str, int]:
        """An address of its machine and a free port there."""
        import ray

        return ray.util.get_node_ip_address(), free_port()

    def run(self, module: str, job: str, env: dict[str, str]) -> tuple[int, str]:
        """The exit status and the end of stderr."""
        done = subprocess.run(
            [sys.executable, "-m", module, job],
            cwd=ROOT,
            env={**os.environ, **env},  # with CUDA_VISIBLE_DEVICES as Ray chose
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            preexec_fn=die_with_parent,
        )
        return done.returncode, done.stderr[-TAIL:]


def connected(cpus: int, variables: dict[str, str]) -> None:
    """Connect to the cluster of RAY_ADDRESS, or to one of so many processors that is started on this machine."""
    import ray

    options: dict[str, Any] = {"address": "local", "num_cpus": cpus, "include_dashboard": False}
    if os.environ.get("RAY_ADDRESS"):
        options = {}
    ray.init(**options, runtime_env={"env_vars": variables}, log_to_driver=False, logging_level=logging.ERROR)


@contextlib.contextmanager
def places(n: int, each: dict[str, float], say: Callable[[str], object]) -> Generator[list[Any]]:
    """Room in the connected Ray cluster for so many processes, all at once; waits for it, says so, and gives it back.

    Args:
        each: what one process needs, as {"CPU": 1.0}.

    Yields:
        a scheduling strategy for each.
    """
    import ray
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    group = ray.util.placement_group([each] * n, strategy="PACK")
    if not group.wait(SILENT_S):
        wanted = " and ".join(f"{much:g} {what}" for what, much in each.items())
        there = {what: much for what, much in ray.cluster_resources().items() if what in each}
        say(f"waiting for room in the Ray cluster for {n} processes of {wanted}; it has {there}")
    try:
        ray.get(group.ready())
        yield [PlacementGroupSchedulingStrategy(group, i) for i in range(n)]
    finally:
        ray.util.remove_placement_group(group)


def run(ranks: int, module: str, job: str) -> int:
    """Run all ranks to their end; returns the exit status."""
    import ray

    given = environment(ranks)
    connected(ranks, {"PYTHONPATH": given["PYTHONPATH"]})
    try:
        each = {"GPU": 1.0} if ray.cluster_resources().get("GPU") else {"CPU": 1.0}
        kind: Any = ray.remote(num_cpus=each.get("CPU", 0), num_gpus=each.get("GPU", 0))(Rank)
        with places(ranks, each, lambda text: print(text, file=sys.stderr, flush=True)) as found:
            actors = [kind.options(scheduling_strategy=place).remote() for place in found]
            return _carried_out(actors, module, job, given)
    finally:
        with contextlib.suppress(Exception):
            ray.shutdown()


def _carried_out(actors: list[Any], module: str, job: str, given: dict[str, str]) -> int:
    """Each actor runs its rank; returns the exit status of the first that ends badly, or 0."""
    import ray
    from ray.exceptions import RayActorError

    address, port = ray.get(actors[0].meeting.remote())
    told = {k: os.environ[k] for k in MESSAGES if k in os.environ}
    waiting = {}
    for i, actor in enumerate(actors):
        place = {"RANK": i, "WORLD_SIZE": len(actors), "LOCAL_RANK": 0, "MASTER_ADDR": address, "MASTER_PORT": port}
        env = {**given, **{k: str(v) for k, v in place.items()}, **(told if i == 0 else {})}
        waiting[actor.run.remote(module, job, env)] = i
    while waiting:
        [done], _ = ray.wait(list(waiting), num_returns=1)
        i = waiting.pop(done)
        try:
            status, said = ray.get(done)
        except RayActorError as e:
            status, said = 1, f"OthersGone: its machine has ended or cannot be reached ({e})"
        if i == 0 or status:
            print(said if i == 0 and not status else f"rank {i}: {said}", end="", file=sys.stderr)
        if status:
            return status if status > 0 else 128 - status
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="training.on_ray", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("ranks", type=int)
    parser.add_argument("module")
    parser.add_argument("job")
    args = parser.parse_args()
    return run(args.ranks, args.module, args.job)


if __name__ == "__main__":
    sys.exit(main())
