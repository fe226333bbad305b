"""Checkpoints of a run under way: DeepSpeed's sharded state, and a pointer that is written last.

The pointer names the step, the number of ranks and what the run was made of. Another number of ranks is served through
DeepSpeed's universal format; another job is refused.
"""

import hashlib
import json
import shutil
from pathlib import Path

from .world import write_json

PURPOSE = ("backbone", "recipe", "max_tokens", "seed")


class WrongCheckpoint(ValueError):
    """The folder holds a checkpoint of another job."""


def fingerprint(trainer) -> str:
    """What must be equal for a checkpoint to continue a run: configuration and training tokens."""
    h = hashlib.blake2b(digest_size=16)
    h.update(json.dumps({k: trainer.job[k] for k in PURPOSE}, sort_keys=True).encode())
    h.update(trainer.train.lengths.tobytes())
    h.update("\n".join(trainer.train.ids).encode())
    return h.hexdigest()


def save_checkpoint(trainer) -> None:
    """Write the whole state; a run killed at any moment finds this one or the one before."""
    folder = trainer.out / "checkpoints"
    tag = f"step_{trainer.step}"
    trainer.engine.save_checkpoint(str(folder), tag=tag, save_latest=False)
    with trainer.world.first_does() as mine:
        if mine:
            pointer = {
                "tag": tag,
                "step": trainer.step,
                "world": trainer.world.size,
                "zero_stage": trainer.job["zero_stage"],
                "fingerprint": fingerprint(trainer),
                "best": trainer.best,
                "tokens": trainer.tokens,
                "losses": list(trainer.losses),
                "recent": list(trainer.recent),
            }
            write_json(folder / "last.json", pointer)
            for old in folder.glob("step_*"):
                if old.name != tag:
                    shutil.rmtree(old)


def load_checkpoint(trainer) -> None:
    """Continue from the last checkpoint, if there is one.

    Raises:
        WrongCheckpoint: it belongs to other data, another backbone or another recipe.
    """
    folder = trainer.out / "checkpoints"
    if not (folder / "last.json").exists():
        _forget_after(trainer, trainer.out / "metrics.jsonl")
        return
    pointer = json.loads((folder / "last.json").read_text(encoding="utf-8"))
    if pointer["fingerprint"] != fingerprint(trainer):
        raise WrongCheckpoint(f"{folder}: the checkpoint at step {pointer['step']} belongs to another job; remove it")
    trainer.engine.load_checkpoint(str(folder), tag=pointer["tag"])
    trainer.step, trainer.best, trainer.tokens = pointer["step"], pointer["best"], pointer["tokens"]
    trainer.losses.extend(pointer["losses"])
    trainer.recent.extend(pointer["recent"])
    _forget_after(trainer, trainer.out / "metrics.jsonl")
    trainer.voice.say(f"going on after step {trainer.step}")


def _forget_after(trainer, log: Path) -> None:
    """Metrics of steps that will be made again."""
    with trainer.world.first_does() as mine:
        if mine and log.exists():
            lines = [line for line in log.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
            kept = [line for line in lines if json.loads(line)["step"] <= trainer.step]
            log.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
