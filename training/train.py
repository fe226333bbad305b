"""Trains a Bradley-Terry reward model with DeepSpeed.

    python -m training.train JOB.json
    torchrun --nproc_per_node R -m training.train JOB.json
    deepspeed --module training.train JOB.json

JOB.json is a `TrainJob` (see job).

Out comes `model/` (see export), `metrics.jsonl`, the same in `tensorboard/`, and `result.json`; while it runs, `tokens/`
and `checkpoints/`. Started again with the same job, it goes on from its last checkpoint, also with another number of
ranks.
"""

import contextlib
import json
import logging
import math
import shutil
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import nn

from training.atomic import write_json
from training.checkpoint import Checkpoints
from training.export import export, write_card
from training.job import TrainJob, TrainRecipe
from training.lora import adapt
from training.loss import bradley_terry, n_correct
from training.model import RewardModel, TokenBatch, new_model
from training.plan import MicroBatch, Plan, scoring
from training.prepare import TrainingFailed, prepare_tokens, tokenizer_for
from training.processes import ProcessGroup, Progress, open_progress, run_program
from training.tokens import TokenTable
from training.trackers import NoTracker, Tracker, trackers

SENTINEL_STEPS = 20
DIVERGED_AT = 4 * math.log(2)


def column(path: Path, name: str, rows: np.ndarray, default: float) -> torch.Tensor:
    """A numeric column of the training file for the usable rows, fp32; `default` where the file has none."""
    if name not in pq.read_schema(path).names:
        return torch.full((len(rows),), default)
    values = pq.read_table(path, columns=[name])[name].to_numpy()[rows]
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def all_ties(tokens: TokenTable) -> bool:
    """Whether both responses are the same in every pair."""
    tails = (tokens.group(i)[1] for i in range(len(tokens)))
    return all(np.array_equal(chosen, rejected) for chosen, rejected in tails)


def learning_rate(step: int, steps: int, warmup: float, schedule: str) -> float:
    """Factor on the learning rate of optimizer step `step` (from 0): a linear start, then constant or linear to 0."""
    warm = math.ceil(warmup * steps)
    if step < warm:
        return (step + 1) / (warm + 1)
    return 1.0 if schedule == "constant" else (steps - step) / max(1, steps - warm)


def parameter_groups(model: RewardModel, recipe: TrainRecipe) -> list[dict]:
    """Decay on matrices of the body only; the head may learn at its own rate."""
    head = {id(p) for p in model.head().parameters()}
    held: dict[str, list[nn.Parameter]] = {"body": [], "plain": [], "head": []}
    for p in model.parameters():
        if p.requires_grad:
            held["head" if id(p) in head else "body" if p.ndim > 1 else "plain"].append(p)
    rates = {"head": recipe.head_learning_rate or recipe.learning_rate}
    return [
        {
            "params": params,
            "lr": rates.get(name, recipe.learning_rate),
            "weight_decay": recipe.weight_decay if name == "body" else 0.0,
        }
        for name, params in held.items()
        if params
    ]


def engine_for(model: RewardModel, job: TrainJob, group: ProcessGroup, universal: bool = False):
    """A DeepSpeed engine whose gradients are reduced once a step, however many micro-batches a rank ran.

    Args:
        universal: a checkpoint in the universal format will be loaded.
    """
    import deepspeed
    from deepspeed.utils import logger

    logger.setLevel(logging.ERROR)
    groups = parameter_groups(model, job.recipe)
    cuda = group.device.type == "cuda"
    optimizer = torch.optim.AdamW(groups, fused=True)  # torch's own: DeepSpeed's would be compiled at start
    config = {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "managed_gradient_accumulation": False,
        "gradient_clipping": job.recipe.max_grad_norm,
        "zero_optimization": {"stage": job.zero_stage},
        "checkpoint": {"load_universal": universal},
        **({"bf16": {"enabled": True}, "data_types": {"grad_accum_dtype": "fp32"}} if cuda else {}),
    }
    engine: Any = deepspeed.initialize(model=model, optimizer=optimizer, config=config, dist_init_required=False)[0]
    group.bound_waits()
    for held, ours in zip(engine.optimizer.param_groups, groups, strict=True):
        held["peak"] = ours["lr"]
    return engine


class Trainer:
    """One training run in this process.

    Args:
        job: what is trained.
        group: connected.
    """

    def __init__(self, job: TrainJob, group: ProcessGroup, progress: Progress):
        self.job, self.group, self.progress = job, group, progress
        self.out, self.recipe = job.out, job.recipe
        tokenizer = tokenizer_for(job, group)
        self.model = new_model(job.backbone, tokenizer, job.max_tokens, job.seed)
        if job.recipe.lora is not None:
            adapt(self.model, job.recipe.lora, job.seed)
        self.model.to(group.device)
        if job.gradient_checkpointing:
            self.model.recompute()
        packed = self.model.packed
        prepared = prepare_tokens(job, tokenizer, group, packed, progress)
        self.train, self.validation, self.dropped = prepared.train, prepared.validation, prepared.dropped
        for words in prepared.refused:
            progress.report(f"left out, for one: {words}")
        rows = self.train.rows
        self.weight = column(job.train, "weight", rows, 1.0)
        self.target = column(job.train, "target", rows, 1.0)
        self.margin = column(job.train, "margin", rows, 0.0)
        if not float(self.weight.sum()):
            raise TrainingFailed(f"the weights of all {len(rows)} training pairs are 0")
        if self.validation is not None and all_ties(self.validation):
            raise TrainingFailed(
                f"in all {len(self.validation)} validation pairs both responses are the same: they choose no checkpoint"
            )
        self.plan = Plan(
            lengths=self.train.lengths if packed else self.train.longest,
            batch=self.recipe.global_batch_size,
            epochs=self.recipe.epochs,
            seed=job.seed,
            world=group.size,
            budget=job.tokens_per_microbatch,
            attention=self.model.attention_cost,
            packed=packed,
            level=job.zero_stage >= 2,
        )
        if not packed:
            progress.report("an encoder cannot share prompts between responses: sequences are padded, not packed")
        self.checkpoints = Checkpoints(self.out / "checkpoints", job, self.train, group)
        self.engine = engine_for(self.model, job, group, self.checkpoints.universal)
        self.step, self.best = 0, {"step": 0, "accuracy": None}
        self.tokens = 0
        self.losses: deque = deque(maxlen=max(1, math.ceil(self.plan.steps / 10)))
        self.recent: deque = deque(maxlen=SENTINEL_STEPS)

    def collate(self, tokens: TokenTable, micro: MicroBatch) -> TokenBatch:
        return self.model.collate(tokens, micro, self.group.device)

    def run(self) -> dict:
        """Train to the end. Returns what result.json says."""
        began = time.monotonic()
        self.resume()
        steps = self.plan.steps
        wanted = min(steps, self.recipe.evaluations) if self.validation is not None else 0
        evaluate_at = {round(steps * (i + 1) / wanted) for i in range(wanted)}
        if self.validation is not None:
            evaluate_at.add(steps)
        every = self.job.checkpoint_steps
        with (self.out / "metrics.jsonl").open("a", encoding="utf-8") as log, self.boards() as boards:
            while self.step < steps:
                facts = self.one_step()
                self.step += 1
                if self.step in evaluate_at:
                    facts["validation_accuracy"] = self.evaluate()
                    self.keep_if_best(facts["validation_accuracy"])
                self.report(facts, log, boards)
                if every and self.step % every == 0 and self.step < steps:
                    with self.writing(self.checkpoints.folder):
                        self.checkpoints.save(self.engine, self.step, self.state())
        if not evaluate_at:
            self.best = {"step": steps, "accuracy": None}
            self.export()
        return self.finish(time.monotonic() - began)

    def boards(self):
        """The trackers that are asked for, on rank 0."""
        if not self.group.is_main:
            return contextlib.nullcontext([])
        if "tensorboard" in self.job.trackers:
            self.progress.report(f"live: tensorboard --logdir {self.out.parent}")
        config = {k: v for k, v in self.recipe.model_dump(mode="json").items() if isinstance(v, int | float | str)}
        config |= {"backbone": self.job.backbone.name, "pairs": len(self.train), "steps": self.plan.steps}
        return trackers(self.job.trackers, self.out, self.job.facts.name or self.out.name, config, self.step)

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
            self.progress.report(f"going on after step {self.step}")
        log = self.out / "metrics.jsonl"
        with self.group.main_only() as main:
            if main and log.exists():
                whole = [line for line in log.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
                kept = [line for line in whole if json.loads(line)["step"] <= self.step]
                log.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def one_step(self) -> dict:
        """One optimizer step over a global batch. Returns its metrics, pooled over all ranks."""
        began = time.monotonic()
        chosen_ones = self.plan.groups_of(self.step)
        total = max(float(self.weight[chosen_ones].sum()), 1e-12)
        factor = learning_rate(self.step, self.plan.steps, self.recipe.warmup, self.recipe.schedule)
        for held in self.engine.optimizer.param_groups:
            held["lr"] = held["peak"] * factor
        micros = self.plan.step(self.step)[self.group.rank]
        # Sums stay on the device until the step's end: asking for a number waits for the device.
        sums = torch.zeros(6, dtype=torch.float64, device=self.group.device)
        losses, computed = [], 0
        for micro in micros:
            batch = self.collate(self.train, micro)
            with self.naming(micro):
                rewards = self.engine(batch)
                chosen, rejected = rewards.view(-1, 2).unbind(1)
                w, t, m = (c[batch.groups].to(rewards.device) for c in (self.weight, self.target, self.margin))
                loss = bradley_terry(chosen, rejected, w * micro.weight, t, m, self.recipe.center_rewards_coefficient)
                self.engine.backward(loss / total * self.group.size, scale_wrt_gas=False)
            losses.append(loss.detach())
            computed += batch.computed
            if micro.weight:
                c, r = chosen.detach().double(), rejected.detach().double()
                pairs = torch.tensor(float(len(c)), dtype=torch.float64, device=c.device)
                square = (c * c + r * r).sum()
                sums += torch.stack([loss.detach().double(), n_correct(c, r).double(), c.sum(), r.sum(), square, pairs])
        loss, hits, chosen, rejected, square, n, computed = self.group.all_reduce_sum([*sums.tolist(), computed])
        loss /= total
        self.watch(loss, micros, losses)
        self.engine.step()
        self.tokens += int(computed)
        self.losses.append(loss)
        norm = self.engine.get_global_grad_norm()
        chosen, rejected = chosen / n, rejected / n
        mean = (chosen + rejected) / 2
        return {
            "step": self.step + 1,
            "loss": loss,
            "rewards/chosen": chosen,
            "rewards/rejected": rejected,
            "rewards/margins": chosen - rejected,
            "rewards/accuracies": hits / n,
            "learning_rate": self.recipe.learning_rate * factor,
            "grad_norm": float(norm) if norm is not None else None,
            "reward_mean": mean,
            "reward_std": math.sqrt(max(0.0, square / n / 2 - mean * mean)),
            "pairs": int(n),
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
                f"{self.names(micro)}; lower training.tokens_per_microbatch ({self.job.tokens_per_microbatch})"
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
        assert self.validation is not None, "there is a validation set where this is called"
        lengths = self.validation.lengths if self.model.packed else self.validation.longest
        hits = pairs = 0.0
        self.engine.eval()
        with torch.no_grad():
            micros = list(scoring(lengths, self.job.tokens_per_microbatch, self.model.packed))
            share = micros[self.group.rank :: self.group.size]
            if self.job.zero_stage == 3:  # every forward gathers parameters from all ranks
                share += micros[:1] * (math.ceil(len(micros) / self.group.size) - len(share))
            for i, micro in enumerate(share):
                chosen, rejected = self.engine(self.collate(self.validation, micro)).view(-1, 2).unbind(1)
                if i * self.group.size + self.group.rank < len(micros):
                    hits += float(n_correct(chosen, rejected))
                    pairs += len(chosen)
        self.engine.train()
        hits, pairs = self.group.all_reduce_sum([hits, pairs])
        return hits / pairs

    def keep_if_best(self, accuracy: float) -> None:
        """Export the model if no checkpoint was better; of equals the later one is kept (O-09)."""
        if self.best["accuracy"] is None or accuracy >= self.best["accuracy"]:
            self.best = {"step": self.step, "accuracy": accuracy}
            self.export()

    def export(self) -> None:
        import deepspeed

        facts = {"max_tokens": self.job.max_tokens, "step": self.step, **self.job.facts.model_dump()}
        parameters = list(self.model.parameters()) if self.job.zero_stage == 3 else []
        whole = deepspeed.zero.GatheredParameters(parameters, modifier_rank=0, enabled=bool(parameters))
        with whole, self.group.main_only() as main:
            if main:
                with self.writing(self.out / "model"):
                    export(self.model, self.out / "model", facts)

    def report(self, facts: dict, log, boards: list[Tracker]) -> None:
        if not self.group.is_main:
            return
        log.write(json.dumps(facts) + "\n")
        log.flush()
        numbers = {name: value for name, value in facts.items() if name != "step" and value is not None}
        for board in [*boards]:
            try:
                board.log(facts["step"], numbers)
            except Exception as e:  # each client has its own; a server that went away must not cost the training
                boards.remove(board)
                self.progress.report(f"{type(board).__name__.strip('_')} takes no more: {type(e).__name__}: {e}")
        checked = facts.get("validation_accuracy")
        text = f"step {facts['step']}/{self.plan.steps} loss {facts['loss']:.4f} accuracy {facts['rewards/accuracies']:.3f}"
        if checked is not None:
            self.progress.send({"step": facts["step"], "loss": facts["loss"], "validation_accuracy": checked})
            text += f" validation {checked:.4f}"
        self.progress.report(text, now=checked is not None or facts["step"] == 1)

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
            "hardware": self.group.hardware,
            "max_tokens": self.job.max_tokens,
        }
        with self.group.main_only() as main:
            if main:
                card = {**self.job.facts.model_dump(), **result, "backbone": self.job.backbone.name}
                write_card(self.out / "model", card, self.model.tokenizer, self.model.causal)
                write_json(self.out / "result.json", result)
                for folder in ("tokens", "checkpoints"):
                    shutil.rmtree(self.out / folder, ignore_errors=True)
        return result


def train(job: TrainJob, group: ProcessGroup | None = None) -> dict:
    """Run one job in this process (every rank calls it). Returns the result, the same on every rank.

    Raises:
        TrainingFailed: diverged, out of memory, or nothing to train on.
    """
    began = time.monotonic()
    if group is None:
        group = ProcessGroup()
        group.connect()
    with open_progress(group) as progress:
        trainer = Trainer(job, group, progress)
        n = len(trainer.train)
        progress.report(
            f"{n} pairs ({sum(trainer.dropped['train'].values())} left out), {trainer.plan.steps} steps, "
            f"{group.hardware}, ready after {time.monotonic() - began:.1f} s"
        )
        result = trainer.run()
        group.part()
        return result


def main() -> int:
    return run_program("training.train", (__doc__ or "").splitlines()[0], TrainJob, train, (TrainingFailed, NoTracker))


if __name__ == "__main__":
    sys.exit(main())
