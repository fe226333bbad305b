"""Checkpoints of a run under way: DeepSpeed's sharded state, and a pointer that is written last.

A run killed at any moment finds the last whole checkpoint or the one before. Another number of ranks is served by
converting it to DeepSpeed's universal format; a checkpoint of another job is refused.
"""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from torch.serialization import get_unsafe_globals_in_checkpoint

from training.atomic import write_json
from training.job import TrainJob, decisive
from training.processes import ProcessGroup
from training.tokens import TokenTable

DECISIVE = ("backbone", "recipe", "max_tokens")
SHARDING = ("world", "zero_stage")
POINTER = {"tag": str, "state": dict, "fingerprint": str, "world": int, "zero_stage": int}
# All that a checkpoint may name besides what torch itself takes for harmless. DeepSpeed reads it with pickle, which runs
# whatever a file names.
HARMLESS = {
    "deepspeed.runtime.fp16.loss_scaler.DynamicLossScaler",
    "deepspeed.runtime.fp16.loss_scaler.LossScaler",
    "deepspeed.runtime.zero.config.ZeroStageEnum",
    "deepspeed.utils.tensor_fragment.fragment_address",
}


class WrongCheckpoint(ValueError):
    """The folder holds a checkpoint of another job."""


class DamagedCheckpoint(ValueError):
    """The folder holds what no training here has written, or not whole."""


class Checkpoints:
    """The checkpoints in one folder.

    Attributes:
        universal: the checkpoint to resume from was written by another number of ranks or ZeRO stage.

    Raises:
        WrongCheckpoint: the folder's checkpoint belongs to other data, another backbone or another recipe, or only one of
            the two trainings shards its state.
        DamagedCheckpoint: its pointer is none.
    """

    def __init__(self, folder: Path, job: TrainJob, tokens: TokenTable, group: ProcessGroup):
        self.folder, self.group = folder, group
        self.identity = {
            "fingerprint": _fingerprint(job, tokens),
            "world": group.size,
            "zero_stage": job.zero_stage,
        }
        self.last = pointed_to(folder / "last.json")
        if self.last and self.last["fingerprint"] != self.identity["fingerprint"]:
            raise WrongCheckpoint(f"{folder}: the checkpoint {self.last['tag']} belongs to another job; remove it")
        stages = {self.last["zero_stage"], job.zero_stage} if self.last else {0}
        if 0 in stages and len(stages) > 1:
            raise WrongCheckpoint(
                f"{folder}: ZeRO {min(stages)} and {max(stages)} cannot go on from each other; remove it"
            )
        # ZeRO 0 shards nothing: any number of ranks reads its state as it is.
        last = self.last or self.identity
        self.universal = 0 not in stages and any(last[k] != self.identity[k] for k in SHARDING)

    def save(self, engine, step: int, state: dict) -> None:
        """Write weights, optimizer and `state`; older checkpoints go once the pointer names this one."""
        tag = f"step_{step}"
        engine.save_checkpoint(str(self.folder), tag=tag, save_latest=False)
        with self.group.main_only() as main:
            if main:
                write_json(self.folder / "last.json", {"tag": tag, "state": state, **self.identity})
                for old in self.folder.glob("step_*"):
                    if old.name != tag:
                        shutil.rmtree(old)

    def load(self, engine) -> dict | None:
        """Restore the engine from the last checkpoint. Returns the `state` it was saved with, None without one.

        Raises:
            DamagedCheckpoint: a file of it cannot be read, or names code.
        """
        if self.last is None:
            return None
        tag = self.last["tag"]
        refuse_code(self.folder / tag)
        if self.universal:
            with self.group.main_only() as main:
                if main:
                    self._convert(tag)
            tag = f"{tag}_universal"
        engine.load_checkpoint(str(self.folder), tag=tag)
        return self.last["state"]

    def _convert(self, tag: str) -> None:
        program = [sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal", "--inject_missing_state"]
        target = self.folder / f"{tag}_universal"
        shutil.rmtree(target, ignore_errors=True)
        folders = ["--input_folder", str(self.folder / tag), "--output_folder", str(target)]
        subprocess.run([*program, *folders], check=True, stdout=subprocess.DEVNULL)


def pointed_to(pointer: Path) -> dict | None:
    """What the pointer of a folder of checkpoints says, None where there is none.

    Raises:
        DamagedCheckpoint: it is not what a training writes, or names something outside its folder.
    """
    if not pointer.exists():
        return None
    try:
        said = json.loads(pointer.read_text(encoding="utf-8"))
    except ValueError:
        said = None
    whole = isinstance(said, dict) and all(isinstance(said.get(name), kind) for name, kind in POINTER.items())
    if not whole or not re.fullmatch(r"step_\d+", said["tag"]):
        raise DamagedCheckpoint(f"{pointer} names no checkpoint of a training; remove {pointer.parent} to begin anew")
    return said


def refuse_code(folder: Path) -> None:
    """Look at what the files of a checkpoint name, without loading them.

    Raises:
        DamagedCheckpoint: a file cannot be read, names code, or is not there.
    """
    files = sorted(p for p in folder.rglob("*") if p.suffix == ".pt")
    if not files:
        raise DamagedCheckpoint(f"{folder}: no checkpoint is there; remove {folder.parent} to begin anew")
    for file in files:
        try:
            named = set(get_unsafe_globals_in_checkpoint(file)) - HARMLESS
        except Exception as e:  # whatever a broken archive or pickle raises
            why = f"cannot be read ({type(e).__name__})"
        else:
            why = f"names code that no checkpoint needs ({', '.join(sorted(named))})" if named else ""
        if why:
            raise DamagedCheckpoint(f"{file} {why}; remove {folder.parent} to begin anew")


def _fingerprint(job: TrainJob, tokens: TokenTable) -> str:
    digest = hashlib.blake2b(digest_size=16)
    values = decisive(job, job.recipe)
    digest.update(json.dumps({k: values[k] for k in DECISIVE} | {"seed": job.seed}, sort_keys=True).encode())
    digest.update(tokens.lengths.tobytes())
    for i, ids in enumerate(tokens.id_batches()):  # never all of them at once, in each of the ranks
        digest.update(("\n" * (i > 0) + "\n".join(ids)).encode())
    return digest.hexdigest()
