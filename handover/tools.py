"""A release's pairs and the same recipe as the files of other trainers: TRL, OpenRLHF, LLaMA-Factory, axolotl, NeMo RL.

What each of them reads was taken from its own loader. They differ: TRL and OpenRLHF take lists of messages, LLaMA-Factory
one message, axolotl one question and two texts, NeMo RL ranked completions. System turns are left out, as in the models of
this house (spec 5.10).
"""

import json
import math
import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from curation.tables import CONVERSATION
from handover import shards
from handover.contents import HandoverError, Snapshot, choose, texts
from resources.lake import Lake
from resources.settings import Settings
from training.atomic import beside, replace_folder

TOOLS = ("trl", "openrlhf", "llama-factory", "axolotl", "nemo-rl")
MARK = "export.json"
ROWS = pa.schema([("prompt", CONVERSATION), ("chosen", CONVERSATION), ("rejected", CONVERSATION),
                  ("pair_id", pa.string()), ("flipped", pa.bool_())])  # fmt: skip
BACKBONE = "path/of/your/backbone"  # where the configuration names none
# the names of LLaMA-Factory's templates, by what the backbone's name begins with
TEMPLATES = {"qwen3": "qwen3_nothink", "qwen2": "qwen", "llama-3": "llama3", "llama3": "llama3", "gemma-2": "gemma2"}


@dataclass(frozen=True)
class SharedRecipe:
    """The recipe of final models in the terms that all trainers share."""

    backbone: str
    max_tokens: int
    batch: int
    ranks: int
    learning_rate: float
    epochs: float
    schedule: str
    warmup: float
    weight_decay: float
    max_grad_norm: float
    centring: float
    checkpointing: bool
    seed: int

    @classmethod
    def of(cls, settings: Settings) -> "SharedRecipe":
        training = settings.training
        recipe = training.final
        return cls(
            backbone=training.backbone.path or BACKBONE,
            max_tokens=training.max_tokens,
            batch=recipe.global_batch_size,
            ranks=training.ranks * training.nodes,
            learning_rate=recipe.learning_rate,
            epochs=recipe.epochs,
            schedule=recipe.schedule,
            warmup=recipe.warmup if recipe.schedule == "linear" else 0.0,
            weight_decay=recipe.weight_decay,
            max_grad_norm=recipe.max_grad_norm,
            centring=recipe.center_rewards_coefficient,
            checkpointing=training.gradient_checkpointing,
            seed=settings.seed,
        )

    @property
    def accumulation(self) -> int:
        """Steps of one pair a rank that make a batch.

        Raises:
            HandoverError: the batch cannot be divided among the ranks.
        """
        if self.batch % self.ranks:
            raise HandoverError(f"training.final.global_batch_size {self.batch} is no multiple of {self.ranks} ranks")
        return self.batch // self.ranks


def export(settings: Settings, lake: Lake, tool: str, snapshot: Snapshot, out: Path) -> dict[str, Any]:
    """Write a snapshot's pairs and a configuration for a trainer: for use here, whatever the licenses say of passing on.

    Returns:
        {pairs, left_out: {reason: pairs}, not_to_be_passed_on: [source], run: the command}.

    Raises:
        HandoverError: no such tool or snapshot, or `out` holds something else.
    """
    if tool not in TOOLS:
        raise HandoverError(f"no such tool: {tool!r}; there are {', '.join(TOOLS)}")
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / MARK).exists())):
        raise HandoverError(f"{out}: holds something that is no export; name another folder, or empty this one")
    plan, left = SharedRecipe.of(settings), Counter[str]()
    with lake.connect() as con, beside(out.absolute()) as new:
        names = [s for (s,) in con.execute("SELECT source FROM sources ORDER BY source").fetchall()]
        holdings, pairs = choose(con, snapshot, names)
        new.mkdir()
        rows = (row for flipped in (False, True) for row in _plain(texts(con, pairs, flipped, False), left))
        written = _WRITERS[tool](new, rows, left)
        if not written:
            raise HandoverError(f"{tool}: it can read none of these pairs: {_reasons(left)}")
        run = _CONFIGS[tool](new, plan, settings.name)
        shut = [h.source for h in holdings if h.pairs and not h.redistribution]
        facts = {"tool": tool, "name": snapshot.name, "pairs": written, "left_out": dict(sorted(left.items())),
                 "not_to_be_passed_on": shut, "run": run}  # fmt: skip
        (new / "README.md").write_text(_readme(facts, plan, tool), encoding="utf-8")
        (new / MARK).write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        replace_folder(new, out.absolute())
    return facts


# ---- rows ------------------------------------------------------------------------------------------------------------
def _plain(batches: Iterator[pa.RecordBatch], left: Counter[str]) -> Iterator[dict[str, Any]]:
    """Rows without system turns; a pair that has no other turn is left out."""
    for batch in batches:
        for row in batch.select(ROWS.names).to_pylist():
            row["prompt"] = [t for t in row["prompt"] if t["role"] != "system"]
            if row["prompt"]:
                yield row
            else:
                left["nothing but a system turn"] += 1


def _messages(folder: Path, rows: Iterator[dict], left: Counter[str]) -> int:
    """Parquet with lists of messages: TRL, OpenRLHF."""
    batches = (pa.RecordBatch.from_pylist(some, ROWS) for some in iter(lambda: list(islice(rows, shards.GROUP)), []))
    return sum(n for _, n in shards.write(folder / "data", "train", shards.groups(batches, ROWS), ROWS))


def _lines(folder: Path, rows: Iterator[dict[str, Any]]) -> int:
    (folder / "data").mkdir()
    with open(folder / "data" / "train.jsonl", "w", encoding="utf-8", newline="\n") as out:
        n = 0
        for n, row in enumerate(rows, 1):  # noqa: B007
            out.write(shards.json_line(row))
    return n


def _single(folder: Path, rows: Iterator[dict], left: Counter[str]) -> int:
    """JSON lines whose chosen and rejected are one message: LLaMA-Factory, which takes question and answer in turns."""

    def fitting() -> Iterator[dict[str, Any]]:
        for row in rows:
            roles = [t["role"] for t in row["prompt"]]
            if roles != ["user", "assistant"] * (len(roles) // 2) + ["user"]:
                left["question and answer do not take turns"] += 1
                continue
            yield row | {"chosen": row["chosen"][0], "rejected": row["rejected"][0]}

    return _lines(folder, fitting())


def _question(folder: Path, rows: Iterator[dict], left: Counter[str]) -> int:
    """JSON lines of one question and two texts: axolotl, which takes no longer conversation."""

    def fitting() -> Iterator[dict[str, Any]]:
        for row in rows:
            if [t["role"] for t in row["prompt"]] != ["user"]:
                left["more than one turn"] += 1
                continue
            answers = {c: row[c][0]["content"] for c in ("chosen", "rejected")}
            yield {"system": "", "input": row["prompt"][0]["content"], **answers, "pair_id": row["pair_id"]}

    return _lines(folder, fitting())


def _ranked(folder: Path, rows: Iterator[dict], left: Counter[str]) -> int:
    """JSON lines of ranked completions: NeMo RL."""
    return _lines(
        folder,
        (
            {
                "context": row["prompt"],
                "completions": [{"rank": i, "completion": row[c]} for i, c in enumerate(("chosen", "rejected"))],
            }
            for row in rows
        ),
    )


_WRITERS = {"trl": _messages, "openrlhf": _messages, "llama-factory": _single, "axolotl": _question,
            "nemo-rl": _ranked}  # fmt: skip


# ---- configurations --------------------------------------------------------------------------------------------------
def _yaml(path: Path, values: dict[str, Any]) -> None:
    import yaml

    path.write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _hf(plan: SharedRecipe) -> dict[str, Any]:
    """What trainers on transformers' arguments have in common."""
    return {
        "output_dir": "output",
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": plan.accumulation,
        "learning_rate": plan.learning_rate,
        "lr_scheduler_type": plan.schedule,
        "warmup_ratio": plan.warmup,
        "num_train_epochs": plan.epochs,
        "weight_decay": plan.weight_decay,
        "max_grad_norm": plan.max_grad_norm,
        "gradient_checkpointing": plan.checkpointing,
        "seed": plan.seed,
        "bf16": True,
        "logging_steps": 1,
        "report_to": "none",
    }


def _trl(folder: Path, plan: SharedRecipe, name: str) -> str:
    values = {"model_name_or_path": plan.backbone, "dataset_name": "data", "max_length": plan.max_tokens} | _hf(plan)
    values["warmup_steps"] = values.pop("warmup_ratio")  # below 1 it is a share
    if plan.centring:
        values["center_rewards_coefficient"] = plan.centring
    _yaml(folder / "trl.yaml", values)
    return "trl reward --config trl.yaml"


def _openrlhf(folder: Path, plan: SharedRecipe, name: str) -> str:
    given = {
        "--model.model_name_or_path": plan.backbone,
        "--data.dataset": "data",
        "--data.prompt_key": "prompt",
        "--data.chosen_key": "chosen",
        "--data.rejected_key": "rejected",
        "--data.max_len": plan.max_tokens,
        "--train.batch_size": plan.batch,
        "--train.micro_batch_size": 1,
        "--train.max_epochs": math.ceil(plan.epochs),
        "--train.seed": plan.seed,
        "--adam.lr": plan.learning_rate,
        "--adam.weight_decay": plan.weight_decay,
        "--lr_scheduler": "constant" if plan.schedule == "constant" else "linear",
        "--lr_warmup_ratio": plan.warmup,
        "--max_norm": plan.max_grad_norm,
        "--ds.param_dtype": "bf16",
        "--ds.zero_stage": 3,
        "--ckpt.output_dir": "output",
    }
    words = [f"{key} {shlex.quote(str(value))}" for key, value in given.items()] + ["--data.apply_chat_template"]
    words += ["--model.gradient_checkpointing_enable"] if plan.checkpointing else []
    script = "#!/bin/sh\nset -e\ndeepspeed --module openrlhf.cli.train_rm \\\n  " + " \\\n  ".join(words) + "\n"
    (folder / "openrlhf.sh").write_text(script, encoding="utf-8")
    return "sh openrlhf.sh"


def _llama_factory(folder: Path, plan: SharedRecipe, name: str) -> str:
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    entry = {
        "file_name": "data/train.jsonl",
        "formatting": "sharegpt",
        "ranking": True,
        "columns": {"messages": "prompt", "chosen": "chosen", "rejected": "rejected"},
        "tags": tags,
    }
    (folder / "dataset_info.json").write_text(json.dumps({"assay": entry}, indent=1) + "\n", encoding="utf-8")
    last = plan.backbone.rstrip("/").rpartition("/")[2].lower()
    template = next((t for begin, t in TEMPLATES.items() if last.startswith(begin)), "default")
    common = _hf(plan)
    values = {
        "stage": "rm",
        "do_train": True,
        "finetuning_type": "full",
        "model_name_or_path": plan.backbone,
        "dataset": "assay",
        "dataset_dir": ".",
        "template": template,
        "cutoff_len": plan.max_tokens,
    }
    _yaml(folder / "llama_factory.yaml", values | common)
    return "llamafactory-cli train llama_factory.yaml"


def _axolotl(folder: Path, plan: SharedRecipe, name: str) -> str:
    values = {
        "base_model": plan.backbone,
        "model_type": "AutoModelForSequenceClassification",
        "num_labels": 1,
        "reward_model": True,
        "chat_template": "tokenizer_default",
        "datasets": [{"path": "data/train.jsonl", "ds_type": "json", "type": "bradley_terry.chat_template"}],
        "remove_unused_columns": False,
        "val_set_size": 0.0,
        "output_dir": "output",
        "sequence_len": plan.max_tokens,
        "sample_packing": False,
        "micro_batch_size": 1,
        "gradient_accumulation_steps": plan.accumulation,
        "num_epochs": math.ceil(plan.epochs),
        "optimizer": "adamw_torch_fused",
        "lr_scheduler": plan.schedule,
        "learning_rate": plan.learning_rate,
        "warmup_ratio": plan.warmup,
        "weight_decay": plan.weight_decay,
        "max_grad_norm": plan.max_grad_norm,
        "gradient_checkpointing": plan.checkpointing,
        "bf16": True,
        "seed": plan.seed,
        "logging_steps": 1,
    }
    if plan.centring:
        values["center_rewards_coefficient"] = plan.centring
    _yaml(folder / "axolotl.yaml", values)
    return "axolotl train axolotl.yaml"


def _nemo_rl(folder: Path, plan: SharedRecipe, name: str) -> str:
    data = '"$HERE/data/train.jsonl"'
    given = {
        "policy.model_name": shlex.quote(plan.backbone),
        "policy.train_global_batch_size": plan.batch,
        "policy.train_micro_batch_size": 1,
        "policy.max_total_sequence_length": plan.max_tokens,
        "policy.max_grad_norm": plan.max_grad_norm,
        "policy.optimizer.kwargs.lr": plan.learning_rate,
        "policy.optimizer.kwargs.weight_decay": plan.weight_decay,
        "policy.dtensor_cfg.activation_checkpointing": str(plan.checkpointing).lower(),
        "rm.max_num_epochs": math.ceil(plan.epochs),
        "rm.seed": plan.seed,
        "data.train.dataset_name": "PreferenceDataset",
        "++data.train.data_path": data,
        "data.validation.dataset_name": "PreferenceDataset",
        "++data.validation.data_path": data,
        "cluster.gpus_per_node": plan.ranks,
        "logger.wandb_enabled": "false",  # its example wants an account
    }
    words = [f"{key}={value}" for key, value in given.items()]
    script = (
        "#!/bin/sh\n# Run it in a checkout of NeMo RL. Put pairs of your own in the place of the validation data: it is the\n"
        '# training file here, since a release has no other.\nset -e\nHERE=$(cd "$(dirname "$0")" && pwd)\n'
        "uv run examples/run_rm.py --config examples/configs/rm.yaml \\\n  " + " \\\n  ".join(words) + "\n"
    )
    (folder / "nemo_rl.sh").write_text(script, encoding="utf-8")
    return f"sh {folder.name}/nemo_rl.sh"


_CONFIGS = {
    "trl": _trl,
    "openrlhf": _openrlhf,
    "llama-factory": _llama_factory,
    "axolotl": _axolotl,
    "nemo-rl": _nemo_rl,
}
LONGER = {  # what becomes of a pair that is longer than max_tokens; here it is left out
    "trl": "left out",
    "openrlhf": "cut at the end",
    "llama-factory": "cut",
    "axolotl": "cut at the end",
    "nemo-rl": "left out of the loss",
}


def _reasons(left: Counter[str] | dict[str, int]) -> str:
    return ", ".join(f"{n:,} {reason}" for reason, n in sorted(left.items()))


def _readme(facts: dict[str, Any], plan: SharedRecipe, tool: str) -> str:
    lines = [
        f"# {facts['name']} for {tool}",
        "",
        f"{facts['pairs']:,} pairs. In this folder:",
        "",
        f"    {facts['run']}",
        "",
    ]
    if facts["left_out"]:
        lines += [f"Left out, since {tool} cannot read them: {_reasons(facts['left_out'])}.", ""]
    if facts["not_to_be_passed_on"]:
        lines += [f"**Not to be passed on**: holds pairs of {', '.join(facts['not_to_be_passed_on'])}.", ""]
    if plan.backbone == BACKBONE:
        lines += ["The configuration names no backbone: put one in the place of `path/of/your/backbone`.", ""]
    if plan.epochs % 1 and tool in ("openrlhf", "axolotl", "nemo-rl"):
        lines += [f"{tool} takes whole epochs: {math.ceil(plan.epochs)} in the place of {plan.epochs:g}.", ""]
    lines += [
        f"Pairs of more than {plan.max_tokens:,} tokens are {LONGER[tool]}; Assay leaves them out. System turns are not",
        "in the data. The recipe is that of `training.final`; what differs is the order of the pairs and the start of the",
        "head. Use the tokenizer's own chat template; one that adds a system prompt of its own gives other tokens than",
        "Assay's models see.",
    ]
    return "\n".join(lines) + "\n"
