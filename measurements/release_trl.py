"""What measurements/release_readers.py runs in TRL's own environment; it knows nothing of this project.

    python measurements/release_trl.py START RELEASE TRIAL

START is a model and tokenizer, RELEASE a folder that `datasets` loads, TRIAL a JSON file {order, batch, learning_rate,
max_tokens}. Trains on the release's own columns, in that order, and prints one line of JSON: the first example decoded
as the trainer has it, and the losses.
"""

import json
import sys
import tempfile
from pathlib import Path

from datasets import load_dataset
from transformers import AutoModelForSequenceClassification, AutoTokenizer, TrainerCallback
from trl import RewardConfig, RewardTrainer
from trl import __version__ as version


class Losses(TrainerCallback):
    """What was logged."""

    def __init__(self):
        self.seen = []

    def on_log(self, a, state, control, logs=None, **_):
        if "loss" in logs:
            self.seen.append(logs["loss"])


def main() -> None:
    start, release = sys.argv[1:3]
    trial = json.loads(Path(sys.argv[3]).read_text())
    rows = load_dataset(release)["train"]
    place = {name: i for i, name in enumerate(rows["pair_id"])}
    rows = rows.select([place[name] for name in trial["order"]])
    tokenizer = AutoTokenizer.from_pretrained(start)
    losses = Losses()
    with tempfile.TemporaryDirectory() as out:
        config = RewardConfig(
            output_dir=out, per_device_train_batch_size=4, gradient_accumulation_steps=trial["batch"] // 4,
            learning_rate=trial["learning_rate"], lr_scheduler_type="constant", warmup_steps=0, num_train_epochs=1,
            max_length=trial["max_tokens"], bf16=False, gradient_checkpointing=False, logging_steps=1, save_strategy="no",
            report_to=[], max_grad_norm=1.0, weight_decay=0.0, use_cpu=True, disable_tqdm=True,
            train_sampling_strategy="sequential",
        )  # fmt: skip
        trainer = RewardTrainer(
            model=AutoModelForSequenceClassification.from_pretrained(start),
            args=config,
            train_dataset=rows,
            processing_class=tokenizer,
            callbacks=[losses],
        )
        first = trainer.train_dataset[0]
        trainer.train()
    print(
        json.dumps(
            {
                "trainer": f"TRL {version}",
                "pairs": len(trainer.train_dataset),
                "first": {c: tokenizer.decode(first[f"{c}_ids"]) for c in ("chosen", "rejected")},
                "losses": losses.seen,
            }
        )
    )


if __name__ == "__main__":
    main()
