"""Command lines that start the training programs: one process, torchrun, DeepSpeed's launcher, Slurm or Ray."""

import os
import shlex
import socket
import sys
import zlib
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parent.parent
Launcher = Literal["torchrun", "deepspeed", "slurm", "ray"]
ALONE = ("training.score", "training.prepare")  # programs whose ranks never speak to each other


def command(
    module: str,
    job: Path,
    ranks: int = 1,
    launcher: Launcher = "torchrun",
    nodes: int = 1,
    rendezvous: str | None = None,
    hostfile: Path | None = None,
    node: int = 0,
) -> list[str]:
    """The command that runs ``python -m module job`` on `ranks` processes of each of `nodes` machines.

    A single rank needs no launcher and saves its start-up. On several machines torchrun, started on each of them with its
    number `node`, waits at `rendezvous` (HOST:PORT of machine 0, where rank 0 is) until all are there; DeepSpeed's launcher
    starts it on those of `hostfile` over ssh; Slurm starts it on the machines of the allocation that this process is in, or
    waits for one of its own; Ray wherever its cluster has room (see on_ray).
    """
    if launcher == "slurm":
        return _slurm(module, job, ranks, nodes)
    if launcher == "ray":
        return [sys.executable, "-m", "training.on_ray", str(ranks * nodes), module, str(job)]
    if ranks * nodes == 1 and hostfile is None:
        return [sys.executable, "-m", module, str(job)]
    if launcher == "torchrun":
        meeting = ["--standalone"]
        if nodes > 1:
            head, _, port = str(rendezvous).rpartition(":")
            meeting = ["--nnodes", str(nodes), "--node_rank", str(node), "--master_addr", head, "--master_port", port]
        start = ["torch.distributed.run", *meeting, "--nproc_per_node", str(ranks), "-m", module]
    else:
        where = ["--hostfile", str(hostfile)] if hostfile else ["--master_port", str(free_port())]
        start = ["deepspeed.launcher.runner", *where, "--num_accelerators", str(ranks), "--no_local_rank"]
        start += ["--module", module]
    return [sys.executable, "-m", *start, str(job)]


def _slurm(module: str, job: Path, ranks: int, nodes: int) -> list[str]:
    """srun with a task for each rank of a program whose ranks work alone; otherwise one torchrun a machine, rank 0 on the
    first of them. Where one task ends badly, all end."""
    tasks = ranks if module in ALONE else 1  # of a machine
    run = [
        "srun",
        f"--nodes={nodes}",
        "--kill-on-bad-exit=1",
        f"--ntasks={tasks * nodes}",
        f"--ntasks-per-node={tasks}",
    ]
    if cores := os.environ.get("SLURM_CPUS_ON_NODE"):  # a task would be given one core else
        run.append(f"--cpus-per-task={max(1, int(cores) // tasks)}")
    program = ["-m", module, str(job)]
    if module in ALONE:
        variables = "RANK=$SLURM_PROCID WORLD_SIZE=$SLURM_NTASKS LOCAL_RANK=$SLURM_LOCALID"
        line = f"{variables} exec {shlex.join([sys.executable, *program])}"
        return [*run, "bash", "-c", line]
    agent = [sys.executable, "-m", "torch.distributed.run", f"--nnodes={nodes}", f"--nproc_per_node={ranks}"]
    port = 20_000 + zlib.crc32(str(job).encode()) % 20_000  # the same on all machines, another for another model
    first = 'HEAD=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)'
    meeting = f'--node_rank="$SLURM_NODEID" --master_addr="${{ASSAY_HEAD:-$HEAD}}" --master_port={port}'
    line = f"{first}; exec {shlex.join(agent)} {meeting} {shlex.join(program)}"
    return [*run, "bash", "-c", line]


def is_here(host: str) -> bool:
    """Whether a name or an address is this machine's."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as s:
            s.bind(address)
    except OSError:
        return False
    return True


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
