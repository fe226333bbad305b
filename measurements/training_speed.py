"""What the trainer computes, how fast it plans, and how fast it trains beside TRL's RewardTrainer.

    python -m measurements.training_speed tokens  DATA               tokens computed per real token, by policy
    python -m measurements.training_speed planner DATA               planning 26M pairs; load of the slowest of 64 ranks
    python -m measurements.training_speed speed   DATA --trl PYTHON  pairs/s, memory and losses, same start and pairs

DATA holds pool/hh_rlhf_harmless_base_test.jsonl.gz, bench/rmb_pairwise.jsonl.zst and
bench/judgebench_gpt-4o-2024-05-13.jsonl.gz. PYTHON is an interpreter that can import trl and torch; without it only
this trainer is timed. Everything is fp32 on the CPU, or on the first GPU in the precision of the trainer. Pin it to one
core (`OMP_NUM_THREADS=1 taskset -c 0 …`) where other work runs beside it.
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
TRL_WAYS = ["sequential:1", "group_by_length:4", "batch_rebalance:4"]


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
        for texts in con.execute(HH.format(root)).fetchall():
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
    from training.prepare import read_pairs, texts_of
    from training.tokens import TokenTable, write_pairs

    load(data, sample, folder / "mix.parquet")
    tokenizer = learn_tokenizer(texts_of(folder / "mix.parquet"), 32_768)
    began = time.monotonic()
    dropped = write_pairs(folder / "mix.arrow", read_pairs(folder / "mix.parquet"), tokenizer, 16_384, shared=True)
    tokens = TokenTable(folder / "mix.arrow")
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
        whole = _singles(tokens).astype(float)
        print(
            f"{tokens.whole / len(tokens):,.0f} tokens a pair; a token sees {(whole**2).sum() / 2 / whole.sum():,.0f} keys"
        )
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
                computed = sum(m.tokens for s in range(plan.steps) for r in plan.step(s) for m in r if m.weight)
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
            cost = [sum(plan.costs[list(m.groups)].sum() for m in r) for r in ranks]
            ours.append(max(cost) / np.mean(cost))
        each = (time.monotonic() - began) / len(some)
        for step in some:
            cost = [plan.costs[plan.groups_of(int(step))[r::64]].sum() for r in range(64)]
            dealt.append(max(cost) / np.mean(cost))
        print(
            f"batch {batch:6,}: {plan.steps:,} steps; permutation {permutation:.1f} s, {each * 1000:.1f} ms a step, "
            f"{each * plan.steps:.0f} s in all beside the run; slowest of 64 ranks {np.mean(ours):.3f} x mean "
            f"(dealt in turn {np.mean(dealt):.3f})"
        )


def speed(args) -> None:
    """Train on the same pairs by both, in turn, each in a process of its own, after the same start."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        start(args, folder)
        runs = [[sys.executable, __file__, "_ours", str(folder / "job.json")]]
        if args.trl:
            rival = str(Path(__file__).with_name("training_trl.py"))
            runs += [[args.trl, rival, str(folder), *way.split(":")] for way in args.trl_ways]
        rounds = [[_run(line, folder) for line in runs] for _ in range(args.rounds)]
    results = [_together(list(same)) for same in zip(*rounds, strict=True)]
    ours = results[0]
    print(
        f"{args.name}: {ours['pairs']} pairs, {ours['real']:,} tokens, global batch {args.batch}, rounds {args.rounds}"
    )
    for r in results:
        print(
            f"{r['name']:46}{r['pairs_s']:7.3f} pairs/s  {1 / r['cpu_s']:7.3f} pairs/CPU-s  {r['per_real']:.3f} computed "
            f"per real token  {r['memory_mb']:6,.0f} MB  ours is {r['cpu_s'] / ours['cpu_s']:.2f} times as fast by CPU, "
            f"{ours['pairs_s'] / r['pairs_s']:.2f} by clock"
        )
    same = [r for r in results[1:] if "sequential" in r["name"]]
    for r in same:
        gap = max(abs(a - b) for a, b in zip(ours["losses"], r["losses"], strict=True))
        print(f"greatest difference of the loss to {r['name']}: {gap:.1e}")
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / f"training_speed_{args.name}.json").write_text(json.dumps(results, indent=1) + "\n")
        _plot(results, args.out / f"training_speed_{args.name}.png")


def start(args, folder: Path) -> None:
    """Write what both trainers start from: `start/` (model, tokenizer), pairs.parquet, job.json, trial.json."""
    from training.backbone import folder_of
    from training.export import export
    from training.job import Backbone, TrainJob, TrainRecipe
    from training.model import backbone_tokenizer, learn_tokenizer, new_model
    from training.plan import Plan
    from training.prepare import read_pairs, texts_of
    from training.tokens import TokenTable, write_pairs

    load(args.data, 3 * args.pairs, folder / "mix.parquet")
    if args.backbone:
        backbone = Backbone(path=args.backbone)
        tokenizer = backbone_tokenizer(folder_of(args.backbone))
    else:
        backbone = Backbone(**SHAPE)
        tokenizer = learn_tokenizer(texts_of(folder / "mix.parquet"), backbone.vocabulary)
    write_pairs(folder / "mix.arrow", read_pairs(folder / "mix.parquet"), tokenizer, args.max_tokens, shared=True)
    tokens = TokenTable(folder / "mix.arrow")
    if len(tokens) < args.pairs:
        raise SystemExit(f"only {len(tokens)} of {3 * args.pairs} pairs are no longer than {args.max_tokens} tokens")
    usable = pa.table({"pair_id": tokens.ids[: args.pairs]})
    with duckdb.connect() as con:
        con.register("usable", usable)
        pairs = con.sql(f"FROM '{folder / 'mix.parquet'}' SEMI JOIN usable USING (pair_id) ORDER BY pair_id")
        pairs.write_parquet(str(folder / "pairs.parquet"))
    export(new_model(backbone, tokenizer, args.max_tokens, seed=0), folder / "start", {})
    recipe = TrainRecipe(
        global_batch_size=args.batch, learning_rate=args.rate, warmup=0, schedule="constant", evaluations=0
    )
    job = TrainJob(
        train=folder / "pairs.parquet",
        backbone=Backbone(path=str(folder / "start")),
        recipe=recipe,
        max_tokens=args.max_tokens,
        tokens_per_microbatch=args.budget,
        out=folder / "out",
    )
    plan = Plan(lengths=tokens.lengths[: args.pairs], batch=args.batch)
    order = [tokens.ids[g] for s in range(plan.steps) for g in plan.groups_of(s)]
    trial = {"batch": args.batch, "learning_rate": args.rate, "max_tokens": args.max_tokens, "order": order}
    job.write(folder / "job.json")
    (folder / "trial.json").write_text(json.dumps(trial))


def _run(line: list[str], folder: Path) -> dict:
    env = {**os.environ, "DS_ACCELERATOR": "cpu", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true"}
    with tempfile.TemporaryDirectory(dir=folder) as out:
        done = subprocess.run(line, capture_output=True, text=True, env={**env, "TRIAL_OUT": out})
    if done.returncode:
        raise SystemExit(f"{' '.join(line)} failed:\n{done.stderr[-3000:]}")
    print(done.stdout.splitlines()[-1], file=sys.stderr, flush=True)
    return json.loads(done.stdout.splitlines()[-1])


def _together(runs: list[dict]) -> dict:
    """One trainer's rounds: time summed, memory at its highest; losses are the same in each."""
    seconds, cpu, pairs = (sum(r[k] for r in runs) for k in ("seconds", "cpu_seconds", "pairs"))
    first = runs[0]
    return {
        "name": first["name"],
        "pairs": first["pairs"],
        "pairs_s": pairs / seconds,
        "cpu_s_each": [r["cpu_seconds"] / r["pairs"] for r in runs],
        "cpu_s": cpu / pairs,
        "computed": first["computed"],
        "real": first["real"],
        "per_real": first["computed"] / first["real"],
        "memory_mb": max(r["memory_mb"] for r in runs),
        "memory_before_mb": max(r["memory_before_mb"] for r in runs),
        "losses": first["losses"],
    }


def _plot(results: list[dict], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((9, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for r, style in zip(results, ("-", "--", ":", "-.", (0, (1, 3)), (0, (5, 5))), strict=False):
        steps = range(1, len(r["losses"]) + 1)
        left.plot(steps, r["losses"], linestyle=style, marker=".", label=r["name"])
    left.set(xlabel="step", ylabel="Bradley-Terry loss, training pairs", title="loss, same start")
    left.legend(frameon=False, fontsize="x-small")
    names = [r["name"] for r in results][::-1]
    right.barh(names, [1 / r["cpu_s"] for r in results][::-1], color="#4c72b0")
    right.tick_params(axis="y", labelsize=7)
    right.set(xlabel="pairs per CPU-second")
    figure.savefig(path, dpi=110, metadata={"Software": None})


def run_ours(args) -> None:
    import torch

    from training.job import TrainJob
    from training.plan import MicroBatch
    from training.processes import ProcessGroup, Progress
    from training.train import Trainer

    job = TrainJob.read(args.job).model_copy(update={"out": Path(os.environ["TRIAL_OUT"])})
    group = ProcessGroup()
    group.connect()
    trainer = Trainer(job, group, Progress(group))
    with torch.inference_mode():
        alone = MicroBatch((0,), int(trainer.train.lengths[0]))
        trainer.model(trainer.collate(trainer.train, alone))  # warms up
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began, facts = (time.monotonic(), time.process_time()), []
    while trainer.step < trainer.plan.steps:
        facts.append(trainer.one_step())
        trainer.step += 1
    ended = (time.monotonic(), time.process_time())
    print(
        json.dumps(
            {
                "name": "this trainer",
                "pairs": sum(f["pairs"] for f in facts),
                "seconds": ended[0] - began[0],
                "cpu_seconds": ended[1] - began[1],
                "losses": [f["loss"] for f in facts],
                "computed": trainer.tokens,
                "real": trainer.train.whole,
                "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "memory_before_mb": memory / 1024,
            }
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ways = parser.add_subparsers(required=True)
    for name, do in (("tokens", tokens_computed), ("planner", planner), ("speed", speed)):
        way = ways.add_parser(name, help=do.__doc__.splitlines()[0])
        way.add_argument("data", type=Path)
        way.add_argument("--sample", type=int, help="pairs of the mix, drawn by hash; default: all")
        way.set_defaults(do=do)
    way.add_argument("--name", default="llama", help="what the figures and files are called")
    way.add_argument("--backbone", help="folder of a model; default: a small Llama with random weights")
    way.add_argument("--trl", help="interpreter with TRL")
    way.add_argument("--trl-ways", nargs="+", default=TRL_WAYS, metavar="ORDER:MICRO", help=f"default: {TRL_WAYS}")
    way.add_argument("--rounds", type=int, default=2, help="times every trainer runs, in turn")
    way.add_argument("--pairs", type=int, default=128)
    way.add_argument("--batch", type=int, default=32)
    way.add_argument("--budget", type=int, default=2048)
    way.add_argument("--max-tokens", type=int, default=1024)
    way.add_argument("--rate", type=float, default=1e-4)
    way.add_argument("--out", type=Path, help="folder for the figures and the plot")
    way = ways.add_parser("_ours")
    way.add_argument("job", type=Path)
    way.set_defaults(do=run_ours)
    args = parser.parse_args()
    args.do(args)


if __name__ == "__main__":
    main()
