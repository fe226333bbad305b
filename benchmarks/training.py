"""What the trainer computes, how fast it plans, and how fast it trains beside TRL's RewardTrainer.

    python benchmarks/training.py tokens  DATA               tokens computed per real token, by policy
    python benchmarks/training.py planner DATA               planning 26M pairs; load of the slowest of 64 ranks
    python benchmarks/training.py speed   DATA --trl PYTHON  pairs/s, memory and losses, same model, pairs and batches

DATA holds pool/hh_rlhf_harmless_base_test.jsonl.gz, bench/rmb_pairwise.jsonl.zst and
bench/judgebench_gpt-4o-2024-05-13.jsonl.gz. PYTHON is an interpreter that can import trl and torch; without it only
this trainer is timed. Everything is fp32 on the CPU, or on the first GPU in the precision of the trainer.
"""

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

HH = "SELECT chosen, rejected FROM read_json('{}/pool/hh_rlhf_harmless_base_test.jsonl.gz')"
OTHERS = """
SELECT list_transform(conversation_input, lambda t: {{'role': t.role, 'content': t.content}}) AS conversation,
       chosen.answer AS chosen, reject.answer AS rejected
FROM read_json('{0}/bench/rmb_pairwise.jsonl.zst', maximum_object_size = 50000000)
UNION ALL
SELECT [{{'role': 'user', 'content': question}}],
       CASE label WHEN 'A>B' THEN response_A ELSE response_B END,
       CASE label WHEN 'A>B' THEN response_B ELSE response_A END
FROM read_json('{0}/bench/judgebench_gpt-4o-2024-05-13.jsonl.gz')
"""
# One shape of a small production model; the weights are random, which changes no time.
SHAPE = {"name": "llama", "path": None, "hidden": 256, "layers": 6, "heads": 8, "vocabulary": 8192}
SHAPE |= {"trainable_layers": None}


def turns_of(text: str) -> list[dict]:
    """The turns of one transcript of HH."""
    parts = re.split(r"\n\n(Human|Assistant):", text)[1:]
    roles = {"Human": "user", "Assistant": "assistant"}
    return [{"role": roles[r], "content": t.strip()} for r, t in zip(parts[::2], parts[1::2], strict=True)]


def load(data: Path, sample: int | None, path: Path) -> None:
    """Write pairs of the mix, drawn by hash, in the form of a training file."""
    root = str(data).replace("'", "''")
    with duckdb.connect() as con:
        rows = []
        for texts in con.sql(HH.format(root)).fetchall():
            chosen, rejected = map(turns_of, texts)
            if chosen[:-1] == rejected[:-1]:
                rows.append(
                    {"conversation": chosen[:-1], "chosen": chosen[-1]["content"], "rejected": rejected[-1]["content"]}
                )
        con.register("hh", pa.Table.from_pylist(rows))
        mix = con.sql(
            f"WITH mix AS (FROM hh UNION ALL BY NAME {OTHERS.format(root)})"
            " SELECT md5(conversation::VARCHAR || chosen || rejected) AS pair_id, any_value(COLUMNS(*)) FROM mix"
            " WHERE len(conversation) > 0 AND chosen <> '' AND rejected <> '' AND chosen <> rejected"
            " GROUP BY 1 ORDER BY 1"
        )
        (mix.limit(sample) if sample else mix).write_parquet(str(path))


def tokenised(data: Path, sample: int | None, folder: Path):
    """(tokens with shared prefixes, tokenizer) of the mix."""
    from training.model import learn_tokenizer
    from training.tokens import Tokens, write_pairs
    from training.train import read_pairs, texts_of

    load(data, sample, folder / "mix.parquet")
    tokenizer = learn_tokenizer(texts_of(folder / "mix.parquet"), 32_768)
    began = time.monotonic()
    dropped = write_pairs(folder / "mix.arrow", read_pairs(folder / "mix.parquet"), tokenizer, 16_384, shared=True)
    tokens = Tokens(folder / "mix.arrow")
    took = time.monotonic() - began
    print(
        f"{len(tokens):,} pairs, {tokens.whole:,} tokens, left out {dict(dropped)}; {tokens.whole / took:,.0f} tokens/s"
    )
    return tokens


def tokens_computed(args) -> None:
    """Tokens computed per real token: padded micro-batches of random pairs, as trainers do, and the plans' own."""
    from training.plan import Plan

    with tempfile.TemporaryDirectory() as folder:
        tokens = tokenised(args.data, args.sample, Path(folder))
        shared = 1 - tokens.lengths.sum() / tokens.whole
        print(f"prompt shared by chosen and rejected: {shared:.1%} of the tokens")
        order = np.random.default_rng(0).permutation(len(tokens))
        for size in (1, 4, 32):
            cut = [order[i : i + size] for i in range(0, len(order), size)]
            padded = sum(2 * len(c) * int(tokens.longest[c].max()) for c in cut)
            print(f"padded, random, {size:3} pairs a micro-batch   {padded / tokens.whole:.3f}")
        for name, lengths in (("packed", None), ("packed, prefix shared", tokens.lengths)):
            for batch, world, budget in ((256, 1, 16_384), (256, 1, 32_768), (256, 8, 32_768), (10_240, 64, 32_768)):
                if lengths is None:  # each sequence by itself, two of a pair in the same batch
                    plan = Plan(lengths=_singles(tokens), batch=2 * batch, world=world, budget=budget)
                else:
                    plan = Plan(lengths=lengths, batch=batch, world=world, budget=budget)
                computed = sum(m.computed for s in range(plan.steps) for r in plan.step(s) for m in r if m.weight)
                print(f"{name:22} batch {batch:6,} ranks {world:2} budget {budget:6,}   {computed / tokens.whole:.3f}")


def _singles(tokens) -> np.ndarray:
    return np.array([len(p) + len(t) for i in range(len(tokens)) for p, ts in [tokens.group(i)] for t in ts])


def planner(args) -> None:
    """Seconds to plan a whole run of 26M pairs with lengths like the mix's; imbalance with and without the plan."""
    from training.plan import Plan

    with tempfile.TemporaryDirectory() as folder:
        lengths = tokenised(args.data, args.sample, Path(folder)).lengths
    rng = np.random.default_rng(0)
    many = lengths[rng.integers(0, len(lengths), 26_000_000)].astype(np.int32)
    attention = 1 / (6 * 4096)
    for batch in (256, 10_240):
        began = time.monotonic()
        plan = Plan(lengths=many, batch=batch, world=64, budget=32_768, attention=attention)
        plan.groups_of(0)
        permutation = time.monotonic() - began
        some = rng.integers(0, plan.steps, 12)
        ours, dealt, began = [], [], time.monotonic()
        for step in some:
            ranks = plan.step(int(step))
            cost = [sum(plan._costs[m.groups].sum() for m in r) for r in ranks]
            ours.append(max(cost) / np.mean(cost))
        each = (time.monotonic() - began) / len(some)
        for step in some:
            cost = [plan._costs[plan.groups_of(int(step))[r::64]].sum() for r in range(64)]
            dealt.append(max(cost) / np.mean(cost))
        print(
            f"batch {batch:6,}: {plan.steps:,} steps; permutation {permutation:.1f} s, {each * 1000:.1f} ms a step, "
            f"{each * plan.steps:.0f} s in all beside the run; slowest of 64 ranks {np.mean(ours):.3f} x mean "
            f"(dealt in turn {np.mean(dealt):.3f})"
        )


def speed(args) -> None:
    """Train on the same pairs in the same global batches by both; each in a process of its own."""
    from resources.settings import Recipe

    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        load(args.data, args.pairs, folder / "pairs.parquet")
        recipe = Recipe(batch_pairs=args.batch, learning_rate=1e-4, warmup=0, schedule="constant", evaluations=0)
        job = {
            "train": str(folder / "pairs.parquet"),
            "validation": None,
            "backbone": SHAPE,
            "recipe": recipe.model_dump(),
            "max_tokens": args.max_tokens,
            "tokens_per_microbatch": args.budget,
            "zero_stage": 1,
            "seed": 0,
            "out": str(folder / "out"),
        }
        (folder / "job.json").write_text(json.dumps(job))
        results = [_run(sys.executable, "ours", folder)]
        if args.trl:
            results += [_run(args.trl, "trl", folder, size) for size in args.trl_batches]
    best = max((r for r in results[1:]), key=lambda r: r["pairs_s"], default=None)
    for r in results:
        ratio = f"   {results[0]['pairs_s'] / r['pairs_s']:.2f} x slower" if r is not results[0] else ""
        print(
            f"{r['name']:24}{r['pairs_s']:7.2f} pairs/s  {r['computed'] / r['real']:.3f} computed per real token  "
            f"{r['memory_mb']:,.0f} MB peak{ratio}"
        )
    if best:
        gap = max(abs(a - b) for a, b in zip(results[0]["losses"], best["losses"], strict=True))
        print(f"losses, ours:         {' '.join(f'{x:.4f}' for x in results[0]['losses'])}")
        print(
            f"losses, {best['name']:13} {' '.join(f'{x:.4f}' for x in best['losses'])}   greatest difference {gap:.5f}"
        )
    if args.out:
        Path(args.out).write_text(json.dumps(results, indent=1))


def _run(python: str, who: str, folder: Path, size: int = 0) -> dict:
    line = [python, __file__, f"_{who}", str(folder / "job.json"), str(size)]
    env = {**os.environ, "DS_ACCELERATOR": "cpu", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true"}
    done = subprocess.run(line, capture_output=True, text=True, env=env)
    if done.returncode:
        raise SystemExit(f"{' '.join(line)} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _report(name: str, seconds: list[float], pairs: list[int], losses, computed: int, real: int) -> None:
    """The first step warms up and is not timed."""
    rate = sum(pairs[1:]) / sum(seconds[1:])
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(dict(name=name, pairs_s=rate, losses=losses, computed=computed, real=real, memory_mb=memory)))


def run_ours(args) -> None:
    from training.train import Trainer
    from training.world import Voice, World

    job = json.loads(args.job.read_text())
    world = World()
    world.connect()
    trainer = Trainer(job, world, Voice(world))
    # The same start, order and weights for the other trainer.
    folder = args.job.parent
    trainer.model.model.save_pretrained(folder / "start")
    trainer.model.tokenizer.save_pretrained(folder / "start")
    order = [trainer.train.name(int(g)) for s in range(trainer.plan.steps) for g in trainer.plan.groups_of(s)]
    (folder / "order.json").write_text(json.dumps(order))
    real = trainer.train.whole
    facts = []
    while trainer.step < trainer.plan.steps:
        facts.append(trainer.one_step())
        trainer.step += 1
    columns = ([f[k] for f in facts] for k in ("seconds", "pairs", "loss"))
    _report("this trainer", *columns, trainer.tokens, real)


def run_trl(args) -> None:
    import pyarrow.parquet as pq
    from datasets import Dataset
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, TrainerCallback
    from trl import RewardConfig, RewardTrainer

    job, folder = json.loads(args.job.read_text()), args.job.parent
    rows = {r["pair_id"]: r for r in pq.read_table(job["train"]).to_pylist()}
    ordered = [rows[i] for i in json.loads((folder / "order.json").read_text())]
    answer = {c: [[{"role": "assistant", "content": r[c]}] for r in ordered] for c in ("chosen", "rejected")}
    batch = job["recipe"]["batch_pairs"]
    config = RewardConfig(
        output_dir=str(folder / "trl"), per_device_train_batch_size=args.size,
        gradient_accumulation_steps=batch // args.size,
        learning_rate=job["recipe"]["learning_rate"], lr_scheduler_type="constant", warmup_steps=0, num_train_epochs=1,
        max_length=job["max_tokens"], bf16=False, gradient_checkpointing=False, logging_steps=1, save_strategy="no",
        report_to=[], train_sampling_strategy="sequential", max_grad_norm=1.0, weight_decay=0.0, use_cpu=True,
        disable_tqdm=True,
    )  # fmt: skip
    steps: list[tuple[float, float]] = []
    computed = [0, 0]

    class Watch(TrainerCallback):
        def on_step_begin(self, *_, **__):
            self.began = time.monotonic()

        def on_step_end(self, *_, **__):
            self.took = time.monotonic() - self.began

        def on_log(self, a, state, control, logs=None, **_):
            if "loss" in logs:
                steps.append((self.took, logs["loss"]))

    class Counting(RewardTrainer):
        def compute_loss(self, model, inputs, *rest, **named):
            computed[0] += inputs["input_ids"].numel()
            computed[1] += int(inputs["attention_mask"].sum())
            return super().compute_loss(model, inputs, *rest, **named)

    model = AutoModelForSequenceClassification.from_pretrained(folder / "start")
    data = Dataset.from_dict({"prompt": [r["conversation"] for r in ordered], **answer})
    trainer = Counting(
        model=model, args=config, train_dataset=data, callbacks=[Watch()],
        processing_class=AutoTokenizer.from_pretrained(folder / "start"),
    )  # fmt: skip
    trainer.train()
    seconds, losses = zip(*steps, strict=True)
    _report(f"TRL, micro-batch {args.size}", seconds, [batch] * len(steps), losses, *computed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ways = parser.add_subparsers(required=True)
    for name, do in (("tokens", tokens_computed), ("planner", planner), ("speed", speed)):
        way = ways.add_parser(name, help=do.__doc__.splitlines()[0])
        way.add_argument("data", type=Path)
        way.add_argument("--sample", type=int, help="pairs of the mix, drawn by hash; default: all")
        way.set_defaults(do=do)
    way.add_argument("--trl", help="interpreter with TRL")
    way.add_argument("--trl-batches", type=int, nargs="+", default=[1, 2, 4])
    way.add_argument("--pairs", type=int, default=96)
    way.add_argument("--batch", type=int, default=32)
    way.add_argument("--budget", type=int, default=4096)
    way.add_argument("--max-tokens", type=int, default=1024)
    way.add_argument("--out", help="JSON file for the figures")
    for name, do in (("_ours", run_ours), ("_trl", run_trl)):
        way = ways.add_parser(name)
        way.add_argument("job", type=Path)
        way.add_argument("size", type=int)
        way.set_defaults(do=do)
    args = parser.parse_args()
    args.do(args)


if __name__ == "__main__":
    main()
