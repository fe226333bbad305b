"""A policy trained by TRL's GRPO with one of our reward models as its reward, and what to watch meanwhile (spec 7.16).

    python -m measurements.policy prompts LAKE OUT [--hard 256] [--held-out 64]
    python -m measurements.policy train SETTING.toml PROMPTS OUT --reward MODEL|URL --watch MODEL [--seed 0]
    python -m measurements.policy table OUT...

`prompts` writes three files of a lake: `hard.jsonl`, the conversations whose pair the best reward model is least sure of;
`held_out.jsonl`, others, drawn by hash, that the policy is not trained on; `demonstrations.jsonl`, curated chosen responses to the
rest. `train` needs TRL beside what this project needs (`pip install trl`) and nothing of Dagster. MODEL is an exported
reward model, computed in this process, URL that of `python -m training.serve http MODEL`. A setting without `path` makes a
new small Llama learn from the demonstrations first. The policy never sees --watch: it is a second reward model, trained on
other labels, whose scores must rise too where the policy gets better and not merely gets round its reward.

OUT gets start/, the policy after the demonstrations (`path = "OUT/start"` and `warm_epochs = 0` begin there), policy/,
log.jsonl (a line a step: reward, the second model's, length, repetition, KL), result.json and samples.jsonl.
"""

import argparse
import json
import re
import time
import tomllib
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from evaluation.curves import picked

HARD = (
    "SELECT conversation FROM clean_pool JOIN scores USING (pair_id) ANTI JOIN aside USING (conversation)"
    " GROUP BY 1 ORDER BY min(abs(p_best - 0.5)), 1"
)
ANY = "SELECT conversation FROM clean_pool GROUP BY 1 ORDER BY draw(to_json(conversation)::VARCHAR, 'held out')"
CURATED = "SELECT conversation, chosen FROM release_curated ANTI JOIN aside USING (conversation)"
AT_ONCE = 32  # answers that one request has scored
Turns = list[dict[str, str]]


@dataclass(frozen=True)
class PolicySetting:
    """How a policy is made and trained; names are TRL's where it has one."""

    path: str = ""  # a causal model of transformers, a folder or a name on the hub; '' is a new Llama
    hidden: int = 192
    layers: int = 4
    heads: int = 6
    vocabulary: int = 1500
    warm_epochs: float = 3.0  # on the demonstrations; 0 for a policy that can answer already
    warm_rate: float = 1e-3
    warm_batch: int = 32
    max_steps: int = 40
    learning_rate: float = 2e-4
    num_generations: int = 8
    prompts_a_step: int = 8
    max_completion_length: int = 72
    temperature: float = 1.0
    beta: float = 0.02  # weight of the KL to the policy that GRPO starts from
    samples: int = 8  # of each held-out prompt, before and after

    @classmethod
    def read(cls, path: Path) -> "PolicySetting":
        """A TOML file of these keys.

        Raises:
            SystemExit: there is another key in it.
        """
        given = tomllib.loads(path.read_text(encoding="utf-8"))
        if unknown := sorted(given.keys() - {f.name for f in fields(cls)}):
            raise SystemExit(
                f"{path}: no such key: {', '.join(unknown)}; there are {', '.join(f.name for f in fields(cls))}"
            )
        return cls(**given)


# ---- prompts -------------------------------------------------------------------------------------------------------
def prompts(root: Path, out: Path, hard: int, held_out: int) -> dict[str, int]:
    """Write the three files; returns how many lines each has."""
    from resources.lake import Lake

    with Lake(str(root)).connect() as con:
        con.sql(ANY).limit(held_out).create("aside")
        aside = [turns for (turns,) in con.table("aside").fetchall()]
        near = [turns for (turns,) in con.sql(HARD).limit(hard).fetchall()]
        curated = con.execute(CURATED).fetchall()
    files: dict[str, list[dict]] = {
        "held_out": [{"prompt": t} for t in aside],
        "hard": [{"prompt": t} for t in near],
        "demonstrations": [{"prompt": t, "completion": [{"role": "assistant", "content": c}]} for t, c in curated],
    }
    out.mkdir(parents=True, exist_ok=True)
    for name, rows in files.items():
        (out / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return {name: len(rows) for name, rows in files.items()}


# ---- rewards -------------------------------------------------------------------------------------------------------
Rewards = Callable[[Sequence[Turns], Sequence[str]], list[float]]


def rewards_of(place: str) -> Rewards:
    """A reward model in this process, or at an address.

    Raises:
        ValueError: later, where an answer has no reward.
    """

    def checked(found: Sequence[Any]) -> list[float]:
        if bad := [f for f in found if not isinstance(f, dict) or f.get("reward") is None]:
            raise ValueError(f"{len(bad)} of {len(found)} answers have no reward: {bad[0]}")
        return [f["reward"] for f in found]

    def items(turns: Sequence[Turns], answers: Sequence[str]) -> list[dict]:
        return [{"messages": [*t, {"role": "assistant", "content": a}]} for t, a in zip(turns, answers, strict=True)]

    if place.startswith(("http://", "https://")):

        def over_http(turns: Sequence[Turns], answers: Sequence[str]) -> list[float]:
            found, asked = [], items(turns, answers)
            for i in range(0, len(asked), AT_ONCE):  # the server gives an answer so many seconds
                body = json.dumps({"items": asked[i : i + AT_ONCE]}).encode()
                request = urllib.request.Request(
                    f"{place.rstrip('/')}/score", body, {"Content-Type": "application/json"}
                )
                with urllib.request.urlopen(request) as answer:
                    found += json.load(answer)["rewards"]
            return checked(found)

        return over_http
    from training.scorer import Scorer

    scorer = Scorer(Path(place))
    return lambda turns, answers: checked(
        scorer.score([(f"answer {i}", item) for i, item in enumerate(items(turns, answers))])
    )


def repetition(text: str) -> float:
    """Share of a text's word pairs that stood in it before: 0 where nothing is said twice.

    >>> round(repetition("a b a b"), 2), repetition("a")
    (0.33, 0.0)
    """
    words = text.split()
    both = list(zip(words, words[1:], strict=False))
    return 1 - len(set(both)) / len(both) if both else 0.0


# ---- training ------------------------------------------------------------------------------------------------------
def train(setting: PolicySetting, folder: Path, out: Path, reward: str, watch: str, seed: int) -> dict:
    """Warm start, GRPO, and both policies on the held-out prompts."""
    import torch
    from datasets import load_dataset
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer
    from trl import __version__ as version

    out.mkdir(parents=True, exist_ok=True)
    data = {p.stem: load_dataset("json", data_files=str(p), split="train") for p in sorted(folder.glob("*.jsonl"))}
    judged, watched = rewards_of(reward), rewards_of(watch)
    began = time.monotonic()
    policy, tokenizer = start(setting, data["demonstrations"], out, seed)
    warm = time.monotonic() - began
    asides: list[Turns] = data["held_out"]["prompt"]
    many = [turns for turns in asides for _ in range(setting.samples)]

    def scored(texts: list[str]) -> list[dict]:
        rewards = zip(texts, judged(many, texts), watched(many, texts), strict=True)
        return [{"text": text, "reward": r, "second": second} for text, r, second in rewards]

    before = scored(answers(policy, tokenizer, asides, setting, seed))

    def reward_model(prompts, completions, **_):
        return judged(prompts, [c[0]["content"] for c in completions])

    def second_model(prompts, completions, **_):
        return watched(prompts, [c[0]["content"] for c in completions])

    def repeated(prompts, completions, **_):
        return [repetition(c[0]["content"]) for c in completions]

    class Log(TrainerCallback):
        """What was logged, a line a step."""

        def on_log(self, args, state, control, logs=None, **_):
            if logs and "kl" in logs:
                line = {
                    "step": state.global_step, "reward": logs["rewards/reward_model/mean"],
                    "second": logs["rewards/second_model/mean"], "repetition": logs["rewards/repeated/mean"],
                    "tokens": logs["completions/mean_length"], "kl": logs["kl"],
                }  # fmt: skip
                with (out / "log.jsonl").open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")

    (out / "log.jsonl").unlink(missing_ok=True)
    config = GRPOConfig(
        output_dir=str(out / "trainer"), max_steps=setting.max_steps, learning_rate=setting.learning_rate,
        lr_scheduler_type="constant", num_generations=setting.num_generations, beta=setting.beta,
        per_device_train_batch_size=setting.num_generations * setting.prompts_a_step,
        max_completion_length=setting.max_completion_length, temperature=setting.temperature, seed=seed,
        reward_weights=[1.0, 0.0, 0.0], logging_steps=1, save_strategy="no", report_to=[], disable_tqdm=True, bf16=False,
        gradient_checkpointing=False, use_cpu=not torch.cuda.is_available(),
    )  # fmt: skip
    trainer = GRPOTrainer(
        model=policy, reward_funcs=[reward_model, second_model, repeated], args=config, train_dataset=data["hard"],
        processing_class=tokenizer, callbacks=[Log()],
    )  # fmt: skip
    trainer.train()
    grpo = time.monotonic() - began - warm
    trainer.save_model(str(out / "policy"))
    both = {"before": before, "after": scored(answers(trainer.model, tokenizer, asides, setting, seed + 1))}
    with (out / "samples.jsonl").open("w", encoding="utf-8") as file:
        for i, turns in enumerate(asides):
            made = {k: v[i * setting.samples : (i + 1) * setting.samples] for k, v in both.items()}
            file.write(json.dumps({"prompt": turns, **made}) + "\n")
    result = {
        "trl": version, "setting": asdict(setting), "reward": "http" if "://" in reward else "in process", "seed": seed,
        "warm_seconds": warm, "grpo_seconds": grpo, "held_out": told(both, len(asides)),
    }  # fmt: skip
    (out / "result.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    return result


def start(setting: PolicySetting, demonstrations: Any, out: Path, seed: int) -> tuple[Any, Any]:
    """The policy that GRPO starts from, and its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    if setting.path:
        tokenizer: Any = AutoTokenizer.from_pretrained(setting.path)
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
        policy = AutoModelForCausalLM.from_pretrained(setting.path, dtype="auto")
    else:
        from training.model import learn_tokenizer

        texts = [t["content"] for r in demonstrations for t in [*r["prompt"], *r["completion"]]]
        tokenizer = learn_tokenizer(texts, setting.vocabulary)
        config = LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=setting.hidden, intermediate_size=setting.hidden * 8 // 3,
            num_hidden_layers=setting.layers, num_attention_heads=setting.heads, max_position_embeddings=1024,
            pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id, bos_token_id=None,
        )  # fmt: skip
        policy = LlamaForCausalLM(config)
    if setting.warm_epochs:
        from trl import SFTConfig, SFTTrainer

        config = SFTConfig(
            output_dir=str(out / "warm"), num_train_epochs=setting.warm_epochs, learning_rate=setting.warm_rate,
            per_device_train_batch_size=setting.warm_batch, completion_only_loss=True, save_strategy="no", report_to=[],
            disable_tqdm=True, logging_steps=50, bf16=False, seed=seed, use_cpu=not torch.cuda.is_available(),
            gradient_checkpointing=False,
        )  # fmt: skip
        trainer = SFTTrainer(model=policy, args=config, train_dataset=demonstrations, processing_class=tokenizer)
        trainer.train()
        trainer.model.save_pretrained(out / "start")
        tokenizer.save_pretrained(out / "start")
        policy = AutoModelForCausalLM.from_pretrained(out / "start")  # TRL reads the policy to keep to from its folder
    return policy, tokenizer


def answers(policy: Any, tokenizer: Any, asked: Sequence[Turns], setting: PolicySetting, seed: int) -> list[str]:
    """`setting.samples` answers to each conversation, one after the other."""
    import torch

    torch.manual_seed(seed)
    policy.eval()
    found: list[str] = []
    tokenizer.padding_side = "left"
    for i in range(0, len(asked), 8):
        texts = [tokenizer.apply_chat_template(t, tokenize=False, add_generation_prompt=True) for t in asked[i : i + 8]]
        batch = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False).to(policy.device)
        batch.pop("token_type_ids", None)
        with torch.no_grad():
            made = policy.generate(
                **batch, do_sample=True, temperature=setting.temperature, top_k=0, max_new_tokens=setting.max_completion_length,
                num_return_sequences=setting.samples, pad_token_id=tokenizer.pad_token_id,
            )  # fmt: skip
        found += tokenizer.batch_decode(made[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    return found


# ---- what came of it -----------------------------------------------------------------------------------------------
def told(table: dict[str, list[dict]], groups: int) -> dict:
    """Means over held-out prompts before and after, paired differences with 95 % t-intervals over prompts; how often an
    answer after beats one before to the same prompt by the second model; and the second model's score of the best of k
    answers before, as the reward model chooses it.

    Args:
        table: before and after, as many answers to each of `groups` prompts.
    """
    found: dict = {}
    for what, value in (
        ("reward", lambda r: r["reward"]), ("second", lambda r: r["second"]), ("words", lambda r: len(r["text"].split())),
        ("repetition", lambda r: repetition(r["text"])),
    ):  # fmt: skip
        by = {k: np.array([value(r) for r in rows], float).reshape(groups, -1) for k, rows in table.items()}
        means = {k: v.mean(1) for k, v in by.items()}
        found[what] = {k: float(v.mean()) for k, v in means.items()} | _interval(means["after"] - means["before"])
    of = {
        (k, what): np.array([r[what] for r in rows], float).reshape(groups, -1)
        for k, rows in table.items() for what in ("reward", "second")
    }  # fmt: skip
    a, b = of["after", "second"][:, :, None], of["before", "second"][:, None, :]
    wins = ((a > b) + 0.5 * (a == b)).mean((1, 2))
    found["wins by the second model"] = _interval(wins)
    pairs = zip(of["before", "reward"], of["before", "second"], strict=True)
    best = np.mean([picked(r, s) for r, s in pairs], axis=0)
    found["second model's score of the best of k before"] = [float(x) for x in best]
    different = {k: len({r["text"] for r in rows}) / len(rows) for k, rows in table.items()}
    texts = {k: [r["text"] for r in rows] for k, rows in table.items()}
    return found | {"different answers": different, "words that rose most": risen(texts["before"], texts["after"])}


def risen(before: Sequence[str], after: Sequence[str], number: int = 5) -> dict[str, tuple[float, float]]:
    """The words that more answers hold than before: word -> share of the answers before and after, the largest rise first.
    A reward that is got round often shows here first.

    >>> risen(["a b", "a"], ["b C", "c, c"], 1)
    {'c': (0.0, 1.0)}
    """
    held = [Counter(w for t in texts for w in set(re.findall(r"[a-z']+", t.lower()))) for texts in (before, after)]
    shares = {w: (held[0][w] / len(before), held[1][w] / len(after)) for w in held[1]}
    return dict(sorted(shares.items(), key=lambda kv: (kv[1][0] - kv[1][1], kv[0]))[:number])


def _interval(values: np.ndarray) -> dict[str, float]:
    half = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    mean = float(values.mean())
    return {"mean": mean, "low": mean - half, "high": mean + half}


def table(folders: Sequence[Path]) -> str:
    """One run a column pair: held-out prompts before and after."""
    lines = ["| run | measure | before | after | difference | 95 % over prompts |", "|---|---|---|---|---|---|"]
    for folder in folders:
        result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        found = result["held_out"]
        for what in ("reward", "second", "words", "repetition"):
            f = found[what]
            lines.append(
                f"| {folder.name} | {what} | {f['before']:.2f} | {f['after']:.2f} | {f['mean']:+.2f} |"
                f" {f['low']:+.2f} to {f['high']:+.2f} |"
            )
        wins, best = found["wins by the second model"], found["second model's score of the best of k before"]
        lines.append(
            f"| {folder.name} | wins by the second model | | {wins['mean']:.0%} | | {wins['low']:.0%} to {wins['high']:.0%} |"
        )
        lines.append(f"| {folder.name} | best of {len(best)} before, second | {best[0]:.2f} | {best[-1]:.2f} | | |")
        rose = "; ".join(f"{w} {a:.0%} to {b:.0%}" for w, (a, b) in found["words that rose most"].items())
        lines.append(f"| {folder.name} | words that rose most, of the answers | | {rose} | | |")
        log = [json.loads(x) for x in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
        lines.append(f"| {folder.name} | KL to the start, last of {len(log)} steps | | {log[-1]['kl']:.2f} | | |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("prompts")
    one.add_argument("lake", type=Path)
    one.add_argument("out", type=Path)
    one.add_argument("--hard", type=int, default=256)
    one.add_argument("--held-out", type=int, default=64)
    two = commands.add_parser("train")
    two.add_argument("setting", type=Path)
    two.add_argument("prompts", type=Path)
    two.add_argument("out", type=Path)
    two.add_argument("--reward", required=True, metavar="MODEL|URL")
    two.add_argument("--watch", required=True, metavar="MODEL|URL")
    two.add_argument("--seed", type=int, default=0)
    three = commands.add_parser("table")
    three.add_argument("folders", type=Path, nargs="+")
    args = parser.parse_args()
    if args.command == "prompts":
        print(json.dumps(prompts(args.lake, args.out, args.hard, args.held_out)))
    elif args.command == "train":
        setting = PolicySetting.read(args.setting)
        print(json.dumps(train(setting, args.prompts, args.out, args.reward, args.watch, args.seed), indent=1))
    else:
        print(table(args.folders))


if __name__ == "__main__":
    main()
