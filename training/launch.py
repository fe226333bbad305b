"""Command lines that start the training programs: one process, torchrun, or DeepSpeed's launcher."""

import os
import socket
import sys
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parent.parent
Launcher = Literal["torchrun", "deepspeed"]


def command(
    module: str,
    job: Path,
    ranks: int = 1,
    launcher: Launcher = "torchrun",
    nodes: int = 1,
    rendezvous: str | None = None,
    hostfile: Path | None = None,
) -> list[str]:
    """The command that runs ``python -m module job`` on `ranks` processes of each of `nodes` machines.

    A single rank needs no launcher and saves its start-up. On several machines torchrun waits at `rendezvous` (HOST:PORT
    of one of them) until the same command runs on all; DeepSpeed's launcher starts it on those of `hostfile` over ssh.
    """
    if ranks * nodes == 1 and hostfile is None:
        return [sys.executable, "-m", module, str(job)]
    if launcher == "torchrun":
        meeting = ["--standalone"]
        if nodes > 1:
            meeting = ["--nnodes", str(nodes), "--rdzv_backend", "c10d", "--rdzv_endpoint", str(rendezvous)]
            meeting += ["--rdzv_id", job.parent.name]
        start = ["torch.distributed.run", *meeting, "--nproc_per_node", str(ranks), "-m", module]
    else:
        where = ["--hostfile", str(hostfile)] if hostfile else ["--master_port", str(free_port())]
        start = ["deepspeed.launcher.runner", *where, "--num_accelerators", str(ranks), "--no_local_rank"]
        start += ["--module", module]
    return [sys.executable, "-m", *start, str(job)]


def free_port() -> int:
    """A TCP port that nobody listens on at the moment."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def guarded(command: list[str], *processes: int, log: Path | None = None, server: Path | None = None) -> list[str]:
    """The same command under the guard, ended together with the given processes (default: this one).

    Args:
        log: file that gets a copy of the command's stderr.
        server: the socket of one that forks the command (see forkserver).
    """
    watched = ",".join(map(str, processes or (os.getpid(),)))
    copy = ["--log", str(log)] if log else []
    copy += ["--fork-from", str(server)] if server else []
    return [sys.executable, "-m", "training.supervise", "--for", watched, *copy, "--", *command]


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
