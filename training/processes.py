"""The processes that work together: who this one is, on which device, and what it tells the outside."""

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

# Read when DeepSpeed and transformers are imported, which this program does inside functions only.
os.environ.setdefault("DS_ACCELERATOR", "cuda" if Path("/dev/nvidiactl").exists() else "cpu")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import torch
import torch.distributed as dist

from training.launch import free_port

SAY_EVERY_S = 5.0


class World:
    """This process among its peers, as its launcher says, or alone. Attributes: rank, size, device."""

    def __init__(self):
        if "RANK" not in os.environ:
            alone = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}
            os.environ.update(alone, MASTER_ADDR="127.0.0.1", MASTER_PORT=str(free_port()))
        self.rank, self.size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        local = int(os.environ.get("LOCAL_RANK", "0"))
        if torch.cuda.is_available():
            self.device = torch.device("cuda", local)
            torch.cuda.set_device(self.device)
        else:
            self.device = torch.device("cpu")

    @property
    def first(self) -> bool:
        return self.rank == 0

    @property
    def hardware(self) -> str:
        if self.device.type == "cuda":
            return f"{self.size} x {torch.cuda.get_device_name(self.device)}"
        return f"{os.cpu_count()} cpu cores, ranks: {self.size}"

    def connect(self) -> None:
        """Join the process group through DeepSpeed, without compiling its shared-memory operator (unused here)."""
        import deepspeed.ops

        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        backend = "nccl" if self.device.type == "cuda" else "gloo"
        deepspeed.init_distributed(backend, auto_mpi_discovery=False, verbose=False)

    def sum(self, values: list[float]) -> list[float]:
        """Sums over all ranks, in fp64 where the device has it."""
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        if self.size > 1:
            dist.all_reduce(total)
        return total.tolist()

    def wait(self) -> None:
        if self.size > 1:
            dist.barrier()

    @contextlib.contextmanager
    def first_does(self) -> Iterator[bool]:
        """Rank 0 runs the block (``if first: …``), the others wait for it; if it fails there, all fail."""
        failed = None
        try:
            yield self.first
        except Exception as e:
            failed = e
        if self.sum([failed is not None])[0]:
            raise failed or RuntimeError("rank 0 failed while the others waited for it")


class Voice:
    """Progress: lines in Dagster's log when Dagster started this program, on stderr otherwise. Rank 0 alone speaks."""

    def __init__(self, world: World, pipes=None):
        self._on, self._pipes, self._last = world.first, pipes, 0.0

    def say(self, text: str, now: bool = True) -> None:
        """Say a line; with ``now=False`` only if the last one is some seconds old."""
        if not self._on or (not now and time.monotonic() - self._last < SAY_EVERY_S):
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
def voice(world: World) -> Iterator[Voice]:
    """The program's voice, connected to Dagster when there is one."""
    if world.first and "DAGSTER_PIPES_CONTEXT" in os.environ:
        import dagster_pipes

        with dagster_pipes.open_dagster_pipes() as pipes:
            yield Voice(world, pipes)
    else:
        yield Voice(world)


def write_json(path: Path, value: dict) -> None:
    """Write a file whole or not at all."""
    part = path.with_suffix(path.suffix + ".part")
    part.write_text(json.dumps(value, indent=1, sort_keys=True), encoding="utf-8")
    os.replace(part, path)
