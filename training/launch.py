"""Command lines that start the training programs: one process, torchrun, or DeepSpeed's launcher."""

import os
import sys
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parent.parent
Launcher = Literal["torchrun", "deepspeed"]


def command(module: str, job: Path, ranks: int = 1, launcher: Launcher = "torchrun") -> list[str]:
    """The command that runs ``python -m module job`` on `ranks` processes of this machine.

    A single rank needs no launcher and saves its start-up. Several machines: run torchrun there yourself, with
    ``--nnodes``, ``--rdzv_backend c10d --rdzv_endpoint HOST:PORT`` and the same ``-m module job``.
    """
    if ranks == 1:
        return [sys.executable, "-m", module, str(job)]
    if launcher == "torchrun":
        start = ["torch.distributed.run", "--standalone", "--nproc_per_node", str(ranks), "-m", module]
    else:
        start = ["deepspeed.launcher.runner", "--num_accelerators", str(ranks), "--no_local_rank", "--module", module]
    return [sys.executable, "-m", *start, str(job)]


def guarded(command: list[str], *processes: int, log: Path | None = None) -> list[str]:
    """The same command under the guard, ended together with the given processes (default: this one).

    Args:
        log: file that gets a copy of the command's stderr.
    """
    watched = ",".join(map(str, processes or (os.getpid(),)))
    copy = ["--log", str(log)] if log else []
    return [sys.executable, "-m", "training.guard", "--for", watched, *copy, "--", *command]


def environment(ranks: int = 1) -> dict[str, str]:
    """Variables the programs need, whatever folder they are started in: cores are shared among the ranks."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    threads = max(1, len(os.sched_getaffinity(0)) // ranks)
    return {
        "PYTHONPATH": path,
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads)),
        # threads that wait sleep instead of spinning: beside another job spinning makes a step several times slower
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),
        "TOKENIZERS_PARALLELISM": "true",
        "PYTHONUNBUFFERED": "1",
        "HF_HUB_OFFLINE": "1",
    }
