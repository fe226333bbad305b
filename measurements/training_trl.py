"""What benchmarks/training.py runs in TRL's own environment; it knows nothing of this project.

    python benchmarks/training_trl.py FOLDER ORDER MICRO

FOLDER holds start/ (model and tokenizer), pairs.parquet and trial.json. ORDER is `sequential`, which trains on the
pairs as they stand in the file, or one of the trainer's own: `random`, `group_by_length`, `batch_rebalance`. MICRO is
pairs a forward pass. Prints one line of JSON.
"""

import json
import resource
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import torch
from datasets import Dataset
from transformers import AutoModelForSequenceClassification, AutoTokenizer, TrainerCallback
from trl import RewardConfig, RewardTrainer
from trl import __version__ as version


class Counting(RewardTrainer):
    """Counts what it computes, and what of it is no padding."""

    computed = real = 0

    def compute_loss(self, model, inputs, *rest, **named):
        self.computed += inputs["input_ids"].numel()
        self.real += int(inputs["attention_mask"].sum())
        return super().compute_loss(model, inputs, *rest, **named)


class Watch(TrainerCallback):
    """Clocks from the first step's start to the last one's end, and the losses."""

    def __init__(self):
        self.began, self.ended, self.losses = None, None, []

    def on_step_begin(self, *_, **__):
        self.began = self.began or (time.monotonic(), time.process_time())

    def on_step_end(self, *_, **__):
        self.ended = (time.monotonic(), time.process_time())

    def on_log(self, a, state, control, logs=None, **_):
        if "loss" in logs:
            self.losses.append(logs["loss"])


def main() -> None:
    folder, order, micro = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    trial = json.loads((folder / "trial.json").read_text())
    model = AutoModelForSequenceClassification.from_pretrained(folder / "start")
    tokenizer = AutoTokenizer.from_pretrained(folder / "start")
    config = RewardConfig(
        output_dir=str(folder / "trl"), per_device_train_batch_size=micro,
        gradient_accumulation_steps=trial["batch"] // micro, learning_rate=trial["learning_rate"],
        lr_scheduler_type="constant", warmup_steps=0, num_train_epochs=1, max_length=trial["max_tokens"], bf16=False,
        gradient_checkpointing=False, logging_steps=1, save_strategy="no", report_to=[], max_grad_norm=1.0,
        train_sampling_strategy=order, weight_decay=0.0, use_cpu=not torch.cuda.is_available(), disable_tqdm=True,
        optim="adamw_torch_fused", remove_unused_columns=False,
    )  # fmt: skip
    rows = pq.read_table(folder / "pairs.parquet").to_pylist()
    by_id = {r["pair_id"]: r for r in rows}
    rows = [by_id[i] for i in trial["order"]]

    def ids(turns, response):
        text = tokenizer.apply_chat_template([*turns, {"role": "assistant", "content": response}], tokenize=False)
        return tokenizer(text)["input_ids"]

    columns = {f"{c}_ids": [ids(r["conversation"], r[c]) for r in rows] for c in ("chosen", "rejected")}
    longest = [max(map(len, two)) for two in zip(*columns.values(), strict=True)]
    watch = Watch()
    trainer = Counting(
        model=model, args=config, train_dataset=Dataset.from_dict({**columns, "length": longest}), callbacks=[watch],
        processing_class=tokenizer,
    )  # fmt: skip
    with torch.inference_mode():
        model(torch.tensor([columns["chosen_ids"][0]]))  # warms up
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    trainer.train()
    wall, cpu = (b - a for a, b in zip(watch.began, watch.ended, strict=True))
    print(
        json.dumps(
            {
                "name": f"TRL {version}, {order}, micro-batch {micro}",
                "pairs": len(rows),
                "seconds": wall,
                "cpu_seconds": cpu,
                "losses": watch.losses,
                "computed": trainer.computed,
                "real": trainer.real,
                "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "memory_before_mb": before / 1024,
            }
        )
    )


if __name__ == "__main__":
    main()
