"""Trains a Bradley-Terry reward model with DeepSpeed.

    python -m training.train JOB.json
    torchrun --nproc_per_node R -m training.train JOB.json
    deepspeed --module training.train JOB.json

JOB.json: {train: Parquet (pair_id, conversation, chosen, rejected, weight[, target][, margin]), validation: Parquet
(pair_id, conversation, chosen, rejected) or null, backbone, recipe (see resources.settings), max_tokens,
tokens_per_microbatch, zero_stage, seed, out: folder[, gradient_checkpointing][, checkpoint_steps][, facts]}.

Out comes `model/` (see export), `metrics.jsonl`, the same in `tensorboard/`, and `result.json`; while it runs, `tokens/`
and `checkpoints/`. Started again with the same job, it goes on from its last checkpoint, also with another number of
ranks.
"""

import argparse
import contextlib
import json
import logging
import math
import os
import shutil
import sys
import time
from collections import deque
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch

from training.checkpoint import Checkpoints
from training.export import export, write_card
from training.loss import bradley_terry, right
from training.model import Batch, RewardModel, collate, folder_of, learn_tokenizer, load_tokenizer, new_model
from training.plan import MicroBatch, Plan, scoring
from training.processes import Voice, World, voice, write_json
from training.supervise import die_with_parent
from training.tokens import Tokens, write_pairs

SENTINEL_STEPS = 20
DIVERGED_AT = 4 * math.log(2)


class TrainingFailed(Exception):
    """Training cannot go on; the message names step and pairs. The last good checkpoint stays."""


def read_pairs(path: Path):
    """Rows (pair_id, conversation, [chosen, rejected]) of a Parquet file, in batches."""
    for batch in pq.ParquetFile(path).iter_batches(1024, columns=["pair_id", "conversation", "chosen", "rejected"]):
        for row in batch.to_pylist():
            yield row["pair_id"], row["conversation"], [row["chosen"], row["rejected"]]


def texts_of(path: Path):
    for _, conversation, responses in read_pairs(path):
        yield from (t["content"] for t in conversation)
        yield from responses


def prepare_tokenizer(job: dict, out: Path, world: World):
    """The backbone's tokenizer; a new one is learned on the training texts by rank 0 and read by the others."""
    path = job["backbone"]["path"]
    if path is not None:
        return load_tokenizer(folder_of(path))
    folder = out / "tokens" / "tokenizer"
    with world.first_does() as mine:
        if mine and not (folder / "tokenizer.json").exists():
            learn_tokenizer(texts_of(Path(job["train"])), job["backbone"]["vocabulary"]).save_pretrained(folder)
    return load_tokenizer(folder)


def prepare_tokens(
    job: dict, tokenizer, out: Path, world: World, shared: bool
) -> tuple[Tokens, Tokens | None, dict, list[str]]:
    """Tokens of training and validation pairs, written by rank 0 unless a former start of this job wrote them; how many
    pairs were left out, by file and reason; what the template said of the first that it refused.

    Raises:
        TrainingFailed: no usable pair is left.
    """
    folder = out / "tokens"
    counted = folder / "dropped.json"
    with world.first_does() as mine:
        if mine and not counted.exists():
            dropped, refused = {}, []
            for name in ("train", "validation"):
                if job[name] is not None:
                    rows = read_pairs(Path(job[name]))
                    keep = () if name == "train" else ("identical",)  # a tie in validation counts half
                    path = folder / f"{name}.arrow"
                    dropped[name] = dict(write_pairs(path, rows, tokenizer, job["max_tokens"], shared, keep, refused))
            write_json(counted, {"dropped": dropped, "refused": refused[:1]})
    counts = json.loads(counted.read_text(encoding="utf-8"))
    dropped, refused = counts["dropped"], counts["refused"]
    tables = [Tokens(folder / f"{name}.arrow") if job[name] else None for name in ("train", "validation")]
    for name, table in zip(("training", "validation"), tables, strict=True):
        if table is not None and not len(table):
            said = "".join(f"; {words}" for words in refused)
            raise TrainingFailed(f"no usable {name} pair is left; left out: {dropped}{said}")
    return *tables, dropped, refused


def column(path: Path, name: str, rows: np.ndarray, default: float) -> torch.Tensor:
    """A numeric column of the training file for the usable rows, fp32; `default` where the file has none."""
    if name not in pq.read_schema(path).names:
        return torch.full((len(rows),), default)
    values = pq.read_table(path, columns=[name])[name].to_numpy()[rows]
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def all_ties(tokens: Tokens) -> bool:
    """Whether both responses are the same in every pair."""
    return all(np.array_equal(*tokens.group(i)[1]) for i in range(len(tokens)))


def learning_rate(step: int, steps: int, warmup: float, schedule: str) -> float:
    """Factor on the learning rate of optimizer step `step` (from 0): a linear start, then constant or linear to 0."""
    warm = math.ceil(warmup * steps)
    if step < warm:
        return (step + 1) / (warm + 1)
    return 1.0 if schedule == "constant" else (steps - step) / max(1, steps - warm)


def parameter_groups(model: RewardModel, recipe: dict) -> list[dict]:
    """Decay on matrices of the body only; the head may learn at its own rate."""
    head = {id(p) for p in model.head().parameters()}
    lr = recipe["learning_rate"]
    groups = {
        "body": {"params": [], "lr": lr, "weight_decay": recipe["weight_decay"]},
        "plain": {"params": [], "lr": lr, "weight_decay": 0.0},
        "head": {"params": [], "lr": recipe["head_learning_rate"] or lr, "weight_decay": 0.0},
    }
    for p in model.parameters():
        if p.requires_grad:
            groups["head" if id(p) in head else "body" if p.ndim > 1 else "plain"]["params"].append(p)
    return [g for g in groups.values() if g["params"]]


def engine_for(model: RewardModel, job: dict, world: World, universal: bool = False):
    """A DeepSpeed engine whose gradients are reduced once a step, however many micro-batches a rank ran.

    Args:
        universal: a checkpoint in the universal format will be loaded.
    """
    import deepspeed
    from deepspeed.utils import logger

    logger.setLevel(logging.ERROR)
    groups = parameter_groups(model, job["recipe"])
    cuda = world.device.type == "cuda"
    optimizer = torch.optim.AdamW(groups, fused=True)  # torch's own: DeepSpeed's would be compiled at start
    config = {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "managed_gradient_accumulation": False,
        "gradient_clipping": job["recipe"]["max_grad_norm"],
        "zero_optimization": {"stage": job["zero_stage"]},
        "checkpoint": {"load_universal": universal},
        **({"bf16": {"enabled": True}, "data_types": {"grad_accum_dtype": "fp32"}} if cuda else {}),
    }
    engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=config, dist_init_required=False)
    for group, ours in zip(engine.optimizer.param_groups, groups, strict=True):
        group["peak"] = ours["lr"]
    return engine


class Trainer:
    """One training run in this process.

    Args:
        job: see the module's docstring.
        world: connected.
    """

    def __init__(self, job: dict, world: World, voice: Voice):
        self.job, self.world, self.voice = job, world, voice
        self.out = Path(job["out"])
        self.recipe = job["recipe"]
        (self.out / "tokens").mkdir(parents=True, exist_ok=True)
        tokenizer = prepare_tokenizer(job, self.out, world)
        self.model = new_model(job["backbone"], tokenizer, job["max_tokens"], job["seed"])
        self.model.to(world.device)
        if job.get("gradient_checkpointing"):
            self.model.recompute()
        packed = self.model.causal
        self.train, self.validation, self.dropped, refused = prepare_tokens(job, tokenizer, self.out, world, packed)
        for words in refused:
            voice.say(f"left out, for one: {words}")
        rows = self.train.rows
        self.weight = column(Path(job["train"]), "weight", rows, 1.0)
        self.target = column(Path(job["train"]), "target", rows, 1.0)
        self.margin = column(Path(job["train"]), "margin", rows, 0.0)
        if not float(self.weight.sum()):
            raise TrainingFailed(f"the weights of all {len(rows)} training pairs are 0")
        if self.validation is not None and all_ties(self.validation):
            raise TrainingFailed(
                f"in all {len(self.validation)} validation pairs both responses are the same: they choose no checkpoint"
            )
        self.plan = Plan(
            lengths=self.train.lengths if packed else self.train.longest,
            batch=self.recipe["batch_pairs"],
            epochs=self.recipe["epochs"],
            seed=job["seed"],
            world=world.size,
            budget=job["tokens_per_microbatch"],
            attention=self.model.attention_cost,
            packed=packed,
            level=job["zero_stage"] >= 2,
        )
        if not packed:
            voice.say("an encoder cannot share prompts between responses: sequences are padded, not packed")
        self.checkpoints = Checkpoints(self.out / "checkpoints", job, self.train, world)
        self.engine = engine_for(self.model, job, world, self.checkpoints.universal)
        self.step, self.best = 0, {"step": 0, "accuracy": None}
        self.tokens = 0
        self.losses: deque = deque(maxlen=max(1, math.ceil(self.plan.steps / 10)))
        self.recent: deque = deque(maxlen=SENTINEL_STEPS)

    def collate(self, tokens: Tokens, micro: MicroBatch) -> Batch:
        return collate(tokens, micro, self.model.tokenizer.pad_token_id, self.model.causal, self.world.device)

    def run(self) -> dict:
        """Train to the end. Returns what result.json says."""
        began = time.monotonic()
        self.resume()
        steps = self.plan.steps
        wanted = min(steps, self.recipe["evaluations"]) if self.validation is not None else 0
        evaluate_at = {round(steps * (i + 1) / wanted) for i in range(wanted)}
        if self.validation is not None:
            evaluate_at.add(steps)
        every = self.job.get("checkpoint_steps")
        with (self.out / "metrics.jsonl").open("a", encoding="utf-8") as log, self.board() as board:
            while self.step < steps:
                facts = self.one_step()
                self.step += 1
                if self.step in evaluate_at:
                    facts["validation_accuracy"] = self.evaluate()
                    self.keep_if_best(facts["validation_accuracy"])
                self.report(facts, log, board)
                if every and self.step % every == 0 and self.step < steps:
                    with self.writing(self.checkpoints.folder):
                        self.checkpoints.save(self.engine, self.step, self.state())
        if not evaluate_at:
            self.best = {"step": steps, "accuracy": None}
            self.export()
        return self.finish(time.monotonic() - began)

    def board(self):
        """TensorBoard's writer on rank 0; what a broken run wrote of the steps to come is hidden."""
        if not self.world.first:
            return contextlib.nullcontext()
        from torch.utils.tensorboard import SummaryWriter

        self.voice.say(f"live: tensorboard --logdir {self.out.parent}")
        return SummaryWriter(self.out / "tensorboard", purge_step=self.step + 1, flush_secs=5)

    def state(self) -> dict:
        """What a resumed run must know beside weights and optimizer."""
        return {
            "step": self.step,
            "best": self.best,
            "tokens": self.tokens,
            "losses": list(self.losses),
            "recent": list(self.recent),
        }

    def resume(self) -> None:
        """Go on after the last checkpoint, or begin; metrics of steps that will be made again are forgotten."""
        if state := self.checkpoints.load(self.engine):
            self.step, self.best, self.tokens = state["step"], state["best"], state["tokens"]
            self.losses.extend(state["losses"])
            self.recent.extend(state["recent"])
            self.voice.say(f"going on after step {self.step}")
        log = self.out / "metrics.jsonl"
        with self.world.first_does() as mine:
            if mine and log.exists():
                whole = [line for line in log.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
                kept = [line for line in whole if json.loads(line)["step"] <= self.step]
                log.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def one_step(self) -> dict:
        """One optimizer step over a global batch. Returns its metrics, pooled over all ranks."""
        began = time.monotonic()
        chosen_ones = self.plan.groups_of(self.step)
        total = max(float(self.weight[chosen_ones].sum()), 1e-12)
        factor = learning_rate(self.step, self.plan.steps, self.recipe["warmup"], self.recipe["schedule"])
        for group in self.engine.optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        micros = self.plan.step(self.step)[self.world.rank]
        # Sums stay on the device until the step's end: asking for a number waits for the device.
        sums = torch.zeros(5, dtype=torch.float64, device=self.world.device)
        losses, computed = [], 0
        for micro in micros:
            batch = self.collate(self.train, micro)
            with self.naming(micro):
                rewards = self.engine(batch)
                chosen, rejected = rewards.view(-1, 2).unbind(1)
                w, t, m = (c[batch.groups].to(rewards.device) for c in (self.weight, self.target, self.margin))
                loss = bradley_terry(chosen, rejected, w * micro.weight, t, m, self.recipe["centring"])
                self.engine.backward(loss / total * self.world.size, scale_wrt_gas=False)
            losses.append(loss.detach())
            computed += batch.computed
            if micro.weight:
                r = rewards.detach().double()
                sums += torch.stack(
                    [
                        loss.detach().double(),
                        right(chosen, rejected).double(),
                        r.sum(),
                        (r * r).sum(),
                        torch.tensor(float(len(r)), dtype=torch.float64, device=r.device),
                    ]
                )
        loss, hits, reward, square, n, computed = self.world.sum([*sums.tolist(), computed])
        loss /= total
        self.watch(loss, micros, losses)
        self.engine.step()
        self.tokens += int(computed)
        self.losses.append(loss)
        norm = self.engine.get_global_grad_norm()
        mean = reward / n
        return {
            "step": self.step + 1,
            "loss": loss,
            "accuracy": hits / (n / 2),
            "learning_rate": self.recipe["learning_rate"] * factor,
            "grad_norm": float(norm) if norm is not None else None,
            "reward_mean": mean,
            "reward_std": math.sqrt(max(0.0, square / n - mean * mean)),
            "pairs": int(n / 2),
            "computed_tokens": int(computed),
            "seconds": time.monotonic() - began,
        }

    @contextlib.contextmanager
    def naming(self, micro: MicroBatch):
        """Memory that runs out is reported with the batch that asked for it."""
        try:
            yield
        except RuntimeError as e:
            if "out of memory" not in str(e).lower() and "can't allocate memory" not in str(e):
                raise
            raise TrainingFailed(
                f"step {self.step + 1}: out of memory on {micro.tokens} tokens, pairs "
                f"{self.names(micro)}; lower training.tokens_per_microbatch ({self.job['tokens_per_microbatch']})"
            ) from e

    @contextlib.contextmanager
    def writing(self, folder: Path):
        """A disk that fills is reported with the folder; what stood there before stays the last that is whole."""
        from safetensors import SafetensorError

        try:
            yield
        except (OSError, RuntimeError, SafetensorError) as e:
            if isinstance(e, RuntimeError) and "PytorchStreamWriter" not in str(e) and "unexpected pos" not in str(e):
                raise
            free = shutil.disk_usage(self.out).free >> 20
            why = str(e).partition("\n")[0]
            raise TrainingFailed(f"step {self.step}: {folder} cannot be written, {free:,} MiB are free: {why}") from e

    def names(self, micro: MicroBatch) -> str:
        names = [self.train.name(g) for g in micro.groups]
        return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")

    def watch(self, loss: float, micros: list[MicroBatch], losses: list[torch.Tensor]) -> None:
        """Stop before a step that would spoil the weights."""
        if not math.isfinite(loss):
            bad = [m for m, l in zip(micros, losses, strict=True) if not torch.isfinite(l)]
            where = f"pairs {self.names(bad[0])}" if bad else "a batch of another rank"
            raise TrainingFailed(f"step {self.step + 1}: the loss is {loss}, first in {where}")
        self.recent.append(loss)
        if len(self.recent) == SENTINEL_STEPS and (mean := sum(self.recent) / SENTINEL_STEPS) > DIVERGED_AT:
            raise TrainingFailed(
                f"step {self.step + 1}: diverged, mean loss {mean:.2f} over {SENTINEL_STEPS} steps (ln 2 is chance); "
                f"lower the learning rate; last batch: {self.names(micros[0])}"
            )

    def evaluate(self) -> float:
        """Accuracy on all validation pairs, counted exactly over all ranks; ties count half."""
        lengths = self.validation.lengths if self.model.causal else self.validation.longest
        hits = pairs = 0.0
        self.engine.eval()
        with torch.no_grad():
            micros = list(scoring(lengths, self.job["tokens_per_microbatch"], self.model.causal))
            share = micros[self.world.rank :: self.world.size]
            if self.job["zero_stage"] == 3:  # every forward gathers parameters from all ranks
                share += micros[:1] * (math.ceil(len(micros) / self.world.size) - len(share))
            for i, micro in enumerate(share):
                chosen, rejected = self.engine(self.collate(self.validation, micro)).view(-1, 2).unbind(1)
                if i * self.world.size + self.world.rank < len(micros):
                    hits += float(right(chosen, rejected))
                    pairs += len(chosen)
        self.engine.train()
        hits, pairs = self.world.sum([hits, pairs])
        return hits / pairs

    def keep_if_best(self, accuracy: float) -> None:
        """Export the model if no checkpoint was better; of equals the later one is kept (O-09)."""
        if self.best["accuracy"] is None or accuracy >= self.best["accuracy"]:
            self.best = {"step": self.step, "accuracy": accuracy}
            self.export()

    def export(self) -> None:
        import deepspeed

        facts = {"max_tokens": self.job["max_tokens"], "step": self.step, **self.job.get("facts", {})}
        parameters = list(self.model.parameters()) if self.job["zero_stage"] == 3 else []
        whole = deepspeed.zero.GatheredParameters(parameters, modifier_rank=0, enabled=bool(parameters))
        with whole, self.world.first_does() as mine:
            if mine:
                with self.writing(self.out / "model"):
                    export(self.model, self.out / "model", facts)

    def report(self, facts: dict, log, board) -> None:
        if not self.world.first:
            return
        log.write(json.dumps(facts) + "\n")
        log.flush()
        for name, value in facts.items():
            if name != "step" and value is not None:
                board.add_scalar(name, value, facts["step"])
        checked = facts.get("validation_accuracy")
        text = f"step {facts['step']}/{self.plan.steps} loss {facts['loss']:.4f} accuracy {facts['accuracy']:.3f}"
        if checked is not None:
            self.voice.send({"step": facts["step"], "loss": facts["loss"], "validation_accuracy": checked})
            text += f" validation {checked:.4f}"
        self.voice.say(text, now=checked is not None or facts["step"] == 1)

    def finish(self, seconds: float) -> dict:
        dropped = self.dropped["train"]
        result = {
            "pairs": len(self.train),
            "dropped": sum(dropped.values()),
            "dropped_by_reason": dropped,
            "steps": self.plan.steps,
            "best_step": self.best["step"],
            "train_loss": sum(self.losses) / len(self.losses),
            "validation_pairs": len(self.validation) if self.validation else 0,
            "validation_accuracy": self.best["accuracy"],
            "seconds": seconds,
            "tokens": self.tokens,
            "tokens_without_sharing": self.train.whole,
            "hardware": self.world.hardware,
            "max_tokens": self.job["max_tokens"],
        }
        with self.world.first_does() as mine:
            if mine:
                named = {"name": "", "data_hash": "", "recipe_hash": "", **self.job.get("facts", {})}
                card = {**named, **result, "backbone": self.job["backbone"]["name"]}
                write_card(self.out / "model", card, self.model.tokenizer)
                write_json(self.out / "result.json", result)
                for folder in ("tokens", "checkpoints"):
                    shutil.rmtree(self.out / folder, ignore_errors=True)
        return result


def train(job: dict, world: World | None = None) -> dict:
    """Run one job in this process (every rank calls it). Returns the result, the same on every rank.

    Raises:
        TrainingFailed: diverged, out of memory, or nothing to train on.
    """
    began = time.monotonic()
    if world is None:
        world = World()
        world.connect()
    with voice(world) as speaker:
        trainer = Trainer(job, world, speaker)
        n = len(trainer.train)
        speaker.say(
            f"{n} pairs ({sum(trainer.dropped['train'].values())} left out), {trainer.plan.steps} steps, "
            f"{world.hardware}, ready after {time.monotonic() - began:.1f} s"
        )
        return trainer.run()


def main() -> int:
    parser = argparse.ArgumentParser(prog="training.train", description=__doc__.splitlines()[0])
    parser.add_argument("job", type=Path)
    if "RANK" in os.environ:
        die_with_parent()  # a rank whose launcher is killed would keep its memory
    job = json.loads(parser.parse_args().job.read_text(encoding="utf-8"))
    try:
        train(job)
    except (TrainingFailed, FileNotFoundError, ValueError) as e:
        print(f"{type(e).__name__}: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
