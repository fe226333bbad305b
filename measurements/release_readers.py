"""Other people's readers on a release: TRL trained beside this trainer, OpenRLHF's and LLaMA-Factory's own loaders.

    python -m measurements.release_readers trl       RELEASE PYTHON             losses of both, same start, order and pairs
    python -m measurements.release_readers loaders   RELEASE OPENRLHF --export FOLDER --llama-factory FOLDER

RELEASE is what `assay release` wrote, PYTHON an interpreter with TRL; OPENRLHF and --llama-factory are checkouts, --export
is what `assay export llama-factory` wrote. The first pair must be found, conversation and all, in what each of them holds.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).parent
SHAPE = {"vocabulary": 2_000, "hidden": 64, "layers": 2}
BATCH, RATE, MAX_TOKENS = 32, 1e-3, 512


def trl(args) -> None:
    """Train TRL and this trainer on the same pairs of a release, in the same order, from the same start."""
    from training.export import export
    from training.job import Backbone, TrainJob, TrainRecipe
    from training.model import learn_tokenizer, new_model
    from training.plan import Plan
    from training.prepare import read_pairs, texts_of
    from training.tokens import TokenTable, write_pairs

    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        rows = pq.read_table(args.release / "data").slice(0, args.pairs).to_pylist()
        plain = [{"pair_id": r["pair_id"], "conversation": r["prompt"], "chosen": r["chosen"][0]["content"],
                  "rejected": r["rejected"][0]["content"], "weight": 1.0} for r in rows]  # fmt: skip
        pq.write_table(pa.Table.from_pylist(plain), folder / "pairs.parquet")
        backbone = Backbone(**SHAPE)
        tokenizer = learn_tokenizer(texts_of(folder / "pairs.parquet"), backbone.vocabulary)
        write_pairs(folder / "pairs.arrow", read_pairs(folder / "pairs.parquet"), tokenizer, MAX_TOKENS, shared=True)
        tokens = TokenTable(folder / "pairs.arrow")
        export(new_model(backbone, tokenizer, MAX_TOKENS, seed=0), folder / "start", {})
        plan = Plan(lengths=tokens.lengths, batch=BATCH)
        order = [tokens.ids[g] for s in range(plan.steps) for g in plan.groups_of(s)]
        recipe = TrainRecipe(global_batch_size=BATCH, learning_rate=RATE, warmup=0, schedule="constant", evaluations=0)
        job = TrainJob(
            train=folder / "pairs.parquet",
            backbone=Backbone(path=str(folder / "start")),
            recipe=recipe,
            max_tokens=MAX_TOKENS,
            out=folder / "out",
        )
        job.write(folder / "job.json")
        trial = {"order": order, "batch": BATCH, "learning_rate": RATE, "max_tokens": MAX_TOKENS}
        (folder / "trial.json").write_text(json.dumps(trial))
        ours = _run([sys.executable, str(HERE / "training_speed.py"), "_ours", str(folder / "job.json")], folder)
        theirs = _run(
            [
                args.python,
                str(HERE / "release_trl.py"),
                str(folder / "start"),
                str(args.release),
                str(folder / "trial.json"),
            ],
            folder,
        )
    first = next(r for r in rows if r["pair_id"] == order[0])
    for column, text in theirs["first"].items():
        lacking = [t["content"] for t in first["prompt"] + first[column] if t["content"] not in text]
        print(f"{theirs['trainer']}, first {column}: {text!r}")
        print(f"holds the whole conversation: {not lacking}")
    gap = [abs(a - b) for a, b in zip(ours["losses"], theirs["losses"], strict=True)]
    print(f"{theirs['pairs']} pairs, {len(gap)} steps; loss {ours['losses'][0]:.4f} to {ours['losses'][-1]:.4f} here,")
    print(f"{theirs['losses'][0]:.4f} to {theirs['losses'][-1]:.4f} there; greatest difference {max(gap):.1e}")


def loaders(args) -> None:
    """Read a release with OpenRLHF's loader, and an export with LLaMA-Factory's."""
    from transformers import PreTrainedTokenizerFast

    from training.model import learn_tokenizer

    rows = pq.read_table(args.release / "data").slice(0, 200).to_pylist()
    texts = (t["content"] for r in rows for c in ("prompt", "chosen", "rejected") for t in r[c])
    tokenizer = learn_tokenizer(texts, 2_000)
    assert isinstance(tokenizer, PreTrainedTokenizerFast)
    sys.path.insert(0, str(args.openrlhf))
    from openrlhf.datasets.reward_dataset import RewardDataset
    from openrlhf.datasets.utils import blending_datasets

    data = SimpleNamespace(
        prompt_key="prompt", chosen_key="chosen", rejected_key="rejected", apply_chat_template=True,
        tokenizer_chat_template=None,
    )  # fmt: skip
    strategy = SimpleNamespace(args=SimpleNamespace(data=data), print=print, is_rank_0=lambda: True)
    loaded = blending_datasets(str(args.release), None, strategy, max_count=200)
    found = RewardDataset(loaded, tokenizer, MAX_TOKENS, strategy, num_processors=1)
    whole = 0
    for i, row in enumerate(loaded.to_list()):
        ids = found[i][0].flatten().tolist()
        text = tokenizer.decode(ids)
        whole += all(t["content"] in text for t in row["prompt"] + row["chosen"])
    print(f"OpenRLHF: {len(found)} pairs, {whole} of them with the whole conversation in what it trains on")
    if not args.llama_factory:
        return
    sys.path.insert(0, str(args.llama_factory / "src"))
    if find_spec("torchaudio") is None:  # its readers import it, for sound that is not here
        sys.modules["torchaudio"] = ModuleType("torchaudio")
    from datasets import load_dataset
    from llamafactory.data.converter import align_dataset
    from llamafactory.data.parser import get_dataset_list

    [attr] = get_dataset_list(["assay"], str(args.export))
    raw = load_dataset("json", data_files=str(args.export / attr.dataset_name), split="train")
    how = SimpleNamespace(streaming=False, preprocessing_num_workers=1, overwrite_cache=True, media_dir="")
    aligned = align_dataset(raw, attr, how, SimpleNamespace(local_process_index=0))
    right = sum(
        [t["content"] for t in row["_prompt"]] == [t["content"] for t in given["prompt"]]
        and [t["content"] for t in row["_response"]] == [given[c]["content"] for c in ("chosen", "rejected")]
        for row, given in zip(aligned, raw, strict=True)
    )
    print(f"LLaMA-Factory: {len(aligned)} pairs, {right} of them with their conversation and both answers in order")


def _run(line: list[str], folder: Path) -> dict:
    env = {**os.environ, "DS_ACCELERATOR": "cpu", "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf")}
    env |= {"TRIAL_OUT": str(folder / "out"), "PYTHONPATH": str(HERE.parent)}
    done = subprocess.run(line, capture_output=True, text=True, env=env)
    if done.returncode:
        raise SystemExit(f"{' '.join(line)} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ways = parser.add_subparsers(required=True)
    one = ways.add_parser("trl", help=trl.__doc__)
    one.add_argument("release", type=Path)
    one.add_argument("python")
    one.add_argument("--pairs", type=int, default=320)
    one.set_defaults(do=trl)
    two = ways.add_parser("loaders", help=loaders.__doc__)
    two.add_argument("release", type=Path)
    two.add_argument("openrlhf", type=Path)
    two.add_argument("--export", type=Path)
    two.add_argument("--llama-factory", type=Path)
    two.set_defaults(do=loaders)
    args = parser.parse_args()
    args.do(args)


if __name__ == "__main__":
    main()
