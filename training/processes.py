"""The processes that work together: who this one is, on which device, and what it tells the outside."""

import argparse
import contextlib
import os
import sys
import time
import traceback
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TypeVar

# Read when DeepSpeed and transformers are imported, which this program does inside functions only.
os.environ.setdefault("DS_ACCELERATOR", "cuda" if Path("/dev/nvidiactl").exists() else "cpu")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import torch
import torch.distributed as dist
from torch.distributed import distributed_c10d

from training.job import Job
from training.launch import free_port
from training.supervise import die_with_parent

REPORT_EVERY_S = 5.0
# what gloo says, in errors of no class of their own, when another process is no longer there
LEFT_ALONE = (
    "Connection closed by peer",
    "Connection reset by peer",
    "Broken pipe",
    "Timed out waiting",
    "Connection refused",
)
LOOK_EVERY_S = 0.2
J = TypeVar("J", bound=Job)


class ProcessGroup:
    """This process among its peers, as its launcher says, or alone. Attributes: rank, size, device."""

    def __init__(self):
        if "RANK" not in os.environ:
            alone = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}
            os.environ.update(alone, MASTER_ADDR="127.0.0.1", MASTER_PORT=str(free_port()))
        self.rank, self.size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        self._blocks = 0  # that rank 0 alone ran so far
        local = int(os.environ.get("LOCAL_RANK", "0"))
        if torch.cuda.is_available():
            self.device = torch.device("cuda", local)
            torch.cuda.set_device(self.device)
        else:
            self.device = torch.device("cpu")

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    @property
    def hardware(self) -> str:
        if self.device.type == "cuda":
            return f"{self.size} x {torch.cuda.get_device_name(self.device)}"
        return f"{os.cpu_count()} cpu cores, ranks: {self.size}"

    def connect(self) -> None:
        """Join the others through DeepSpeed, without compiling its shared-memory operator (unused here)."""
        import deepspeed.ops

        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        backend = "nccl" if self.device.type == "cuda" else "gloo"
        deepspeed.init_distributed(backend, auto_mpi_discovery=False, verbose=False)

    def bound_waits(self) -> None:
        """Give every group of processes that there is by now the time-out of all of them (DEEPSPEED_TIMEOUT, minutes). What
        DeepSpeed makes for itself has torch's otherwise, half an hour, in which a machine without power would be waited for."""
        if self.size > 1:
            from deepspeed.constants import default_pg_timeout

            for group in list(distributed_c10d._world.pg_map):
                distributed_c10d._set_pg_timeout(default_pg_timeout, group)

    def all_reduce_sum(self, values: list[float]) -> list[float]:
        """Sums over all ranks, in fp64 where the device has it."""
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        if self.size > 1:
            dist.all_reduce(total)
        return total.tolist()

    @contextlib.contextmanager
    def main_only(self) -> Generator[bool]:
        """Rank 0 runs the block (``if main: …``), the others wait for it, however long that takes; if it fails there, all
        fail."""
        failed = None
        try:
            yield self.is_main
        except Exception as e:
            failed = e
        if self.size > 1 and self._ended(failed is not None) and failed is None:
            raise RuntimeError("rank 0 failed while the others waited for it")
        if failed:
            raise failed

    def _ended(self, failed: bool) -> bool:
        """Whether rank 0 failed in a block of its own, once it has ended. Not by a collective operation, which would run
        out of time."""
        store = dist.distributed_c10d._get_default_store()
        self._blocks += 1
        key = f"assay/main_only/{self._blocks}"
        if self.is_main:
            store.set(key, "failed" if failed else "done")
        while not store.check([key]):
            time.sleep(LOOK_EVERY_S)
        return store.get(key) == b"failed"

    def part(self) -> None:
        """Go apart, all at once: where rank 0 keeps the store, the others still ask it whether its last block has ended; and
        what listens to the others may abort a process that ends under it."""
        if self.size > 1:
            dist.barrier()
            dist.destroy_process_group()


class Progress:
    """Progress: lines in Dagster's log when Dagster started this program, on stderr otherwise; of rank 0 alone."""

    def __init__(self, group: ProcessGroup, pipes=None):
        self._on, self._pipes, self._last = group.is_main, pipes, 0.0

    def report(self, text: str, now: bool = True) -> None:
        """Write a line; with ``now=False`` only if the last one is some seconds old."""
        if not self._on or (not now and time.monotonic() - self._last < REPORT_EVERY_S):
            return
        self._last = time.monotonic()
        if self._pipes:
            self._pipes.log.info(text)
        else:
            print(text, file=sys.stderr, flush=True)

    def send(self, message: dict) -> None:
        """A record for whoever started the program (a Pipes custom message)."""
        if self._on and self._pipes:
            self._pipes.report_custom_message(message)


@contextlib.contextmanager
def open_progress(group: ProcessGroup) -> Generator[Progress]:
    """The program's progress, connected to Dagster when there is one."""
    if group.is_main and "DAGSTER_PIPES_CONTEXT" in os.environ:
        import dagster_pipes

        with dagster_pipes.open_dagster_pipes() as pipes:
            yield Progress(group, pipes)
    else:
        yield Progress(group)


def run_program(
    module: str, about: str, kind: type[J], run: Callable[[J], object], errors: tuple[type[Exception], ...] = ()
) -> int:
    """The program ``python -m module JOB.json``: reads its job and runs it. Returns the exit status.

    Args:
        about: what its help says.
        errors: what is told in one line, beside a job or a file that cannot be read.
    """
    parser = argparse.ArgumentParser(prog=module, description=about)
    parser.add_argument("job", type=Path)
    path = parser.parse_args().job
    if "RANK" in os.environ:
        die_with_parent()  # a rank whose launcher is killed would keep its memory
    try:
        asked = kind.read(path)
    except (FileNotFoundError, ValueError) as e:
        print(f"{path}: {type(e).__name__}: {e}", file=sys.stderr)
        return 1
    try:
        run(asked)
    except (FileNotFoundError, ValueError, *errors) as e:
        print(f"{type(e).__name__}: {e}", file=sys.stderr)
        return 1
    except RuntimeError as e:
        if not left_alone(e):
            raise
        traceback.print_exc()  # by its words alone it might be another error
        print(
            f"OthersGone: rank {os.environ['RANK']} of {os.environ['WORLD_SIZE']} was left alone: another machine or process of"
            f" this training has ended or cannot be reached ({str(e).strip().splitlines()[0]}). The same command goes on from"
            " the last checkpoint",
            file=sys.stderr,
        )
        return 1
    return 0


def left_alone(error: RuntimeError) -> bool:
    """Whether a collective operation failed because another process is gone or unreachable."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return False
    return isinstance(error, dist.DistError) or any(words in str(error) for words in LEFT_ALONE)
