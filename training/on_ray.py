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
        seen = os.environ.get("CUDA_VISIBLE_DEVICES")  # Ray's choice
        whole = {**os.environ, **env} | ({} if seen is None else {"CUDA_VISIBLE_DEVICES": seen})
        done = subprocess.run(
            [sys.executable, "-m", module, job],
            cwd=ROOT,
            env=whole,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            preexec_fn=die_with_parent,
        )
        return done.returncode, done.stderr[-TAIL:]


def run(ranks: int, module: str, job: str) -> int:
    """Run all ranks to their end; returns the exit status."""
    import ray
    from ray.exceptions import RayActorError
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    given = environment(ranks)
    options: dict[str, Any] = {} if os.environ.get("RAY_ADDRESS") else {
        "address": "local",
        "num_cpus": ranks,
        "include_dashboard": False,
    }  # fmt: skip
    here = {"env_vars": {"PYTHONPATH": given["PYTHONPATH"]}}
    ray.init(**options, runtime_env=here, log_to_driver=False, logging_level=logging.ERROR)
    try:
        each = {"GPU": 1} if ray.cluster_resources().get("GPU") else {"CPU": 1}
        group = ray.util.placement_group([each] * ranks, strategy="PACK")
        if not group.wait(SILENT_S):
            [(what, _)] = each.items()
            print(
                f"waiting for {ranks} {what}s of the Ray cluster, which has {ray.cluster_resources()}", file=sys.stderr
            )
        ray.get(group.ready())
        kind: Any = ray.remote(Rank)
        actors = [
            kind.options(
                num_cpus=each.get("CPU", 0),
                num_gpus=each.get("GPU", 0),
                scheduling_strategy=PlacementGroupSchedulingStrategy(group, i),
            ).remote()
            for i in range(ranks)
        ]
        address, port = ray.get(actors[0].meeting.remote())
        told = {k: os.environ[k] for k in MESSAGES if k in os.environ}
        waiting = {}
        for i, actor in enumerate(actors):
            place = {"RANK": i, "WORLD_SIZE": ranks, "LOCAL_RANK": 0, "MASTER_ADDR": address, "MASTER_PORT": port}
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
    finally:
        with contextlib.suppress(Exception):
            ray.shutdown()
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
