"""Scoring benchmarks against the loop of the package `rewardbench`: same model, same pairs; time and scores.

    python -m measurements.evaluation_speed --rival .rival/bin/python [--rm-bench 40] [--judgebench 60] [--rmb 150]

The rival's environment (its pins differ from ours):

    python -m venv .rival
    .rival/bin/pip install --no-deps rewardbench==0.1.4
    .rival/bin/pip install transformers==4.51.0 datasets==3.6.0 accelerate fschat trl==0.9.6 peft==0.12.0 tiktoken torch

`rewardbench` moves its inputs to "cuda" unconditionally; without a GPU the runner below sends them to the CPU
and changes nothing else of its loop. The model is a Llama with random weights: what is measured does not depend on what
it has learned. Files are read from $ASSAY_SHARED/data/bench.
"""

import argparse
import json
import os
import resource
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from evaluation.units import STYLES
from resources.benchmarks.loader import Loaded, load
from resources.benchmarks.rewards import model_scores, of
from resources.lake import Lake
from resources.run import Run
from resources.settings import Benchmark, Settings

DATA = Path(os.environ.get("ASSAY_SHARED", Path(__file__).parents[2] / "shared")) / "data" / "bench"
MAX_TOKENS = 4096
BATCH = 8  # the rival's default

RUNNER = """
import sys, torch, transformers
if not torch.cuda.is_available():
    move = transformers.BatchEncoding.to
    transformers.BatchEncoding.to = lambda self, device, **kw: move(self, "cpu" if device == "cuda" else device, **kw)
from rewardbench.rewardbench import Args, rewardbench
model, dataset, out, length, batch = sys.argv[1:]
rewardbench(Args(model=model, dataset=dataset, load_json=True, output_dir=out, max_length=int(length),
                 batch_size=int(batch), torch_dtype="float32", not_quantized=True, save_all=True))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rival", required=True, help="the Python of an environment that has rewardbench")
    parser.add_argument("--rm-bench", type=int, default=40, help="items, nine pairs each")
    parser.add_argument("--judgebench", type=int, default=60, help="items, one pair each")
    parser.add_argument("--rmb", type=int, default=150, help="items, one pair each")
    parser.add_argument("--hidden", type=int, default=384)
    parser.add_argument("--layers", type=int, default=6)
    arguments = parser.parse_args()
    benchmarks = [
        Benchmark(
            name="rm_bench",
            loader="rm_bench",
            path=str(DATA / "rm_bench_*_filtered.json.gz"),
            sample=arguments.rm_bench,
        ),
        Benchmark(
            name="judgebench",
            loader="judgebench",
            path=str(DATA / "judgebench_gpt-4o-2024-05-13.jsonl.gz"),
            sample=arguments.judgebench,
        ),
        Benchmark(
            name="rmb_pairwise",
            loader="rmb_pairwise",
            path=str(DATA / "rmb_pairwise.jsonl.zst"),
            sample=arguments.rmb,
        ),
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lake = Lake(str(folder / "lake"))
        loaded = [load(b, lake, seed=0) for b in benchmarks]
        model = _model(folder, loaded, arguments.hidden, arguments.layers)
        print(
            "| benchmark | pairs | sequences | rewardbench s (CPU s) | assay s (CPU s) | times (in CPU) "
            "| largest difference |"
        )
        print("|---|---|---|---|---|---|---|")
        for one in loaded:
            print(_measure(folder, lake, model, one, arguments.rival))


def _measure(folder: Path, lake: Lake, model: Path, one: Loaded, rival: str) -> str:
    pairs = _pairs(one)
    file = folder / f"{one.name}.json"
    file.write_text("".join(json.dumps(p) + "\n" for p in pairs))
    theirs = _timed(lambda: _rewardbench(rival, _for_the_rival(model), file, folder))
    run = Run(_settings(), lake)
    ours = _timed(lambda: model_scores(run, str(model), [one]))
    scores = of(ours[0], one.name).to_pylist()
    rewards = {(r["item_id"], r["candidate"]): r["reward"] for r in scores}
    mine = np.array([[rewards[p["item"], p["a"]], rewards[p["item"], p["b"]]] for p in pairs])
    cells = (
        one.name,
        str(len(pairs)),
        f"{2 * len(pairs)} / {len(scores)}",
        f"{theirs[1]:.1f} ({theirs[2]:.1f})",
        f"{ours[1]:.1f} ({ours[2]:.1f})",
        f"{theirs[1] / ours[1]:.1f} ({theirs[2] / ours[2]:.1f})",
        f"{np.abs(mine - theirs[0]).max():.1e}",
    )
    return "| " + " | ".join(cells) + " |"


def _timed(work) -> tuple:
    """(result, wall seconds, CPU seconds of this process and its children)."""

    def cpu() -> float:
        return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))

    started, used = time.monotonic(), cpu()
    return work(), time.monotonic() - started, cpu() - used


def _pairs(one: Loaded) -> list[dict]:
    """Every comparison of the benchmark as a pair, which is all that the rival knows."""
    items: dict[str, list[dict]] = {}
    for row in one.candidates.to_pylist():
        items.setdefault(row["item_id"], []).append(row)
    compared = [(i, STYLES + j) for i in range(STYLES) for j in range(STYLES)]
    result = []
    for item, rows in items.items():
        for a, b in compared if rows[0]["unit"] == "matrix" else [(0, 1)]:
            turns = [[*r["conversation"], {"role": "assistant", "content": r["response"]}] for r in (rows[a], rows[b])]
            result.append({"item": item, "a": a, "b": b, "chosen": turns[0], "rejected": turns[1]})
    return result


def _rewardbench(rival: str, model: Path, file: Path, folder: Path) -> np.ndarray:
    """[pairs, 2] scores of the rival's own program."""
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "WANDB_MODE": "offline",
        "HF_DATASETS_CACHE": str(folder / "hf"),
    }
    environment.pop("PYTHONPATH", None)
    command = [rival, "-c", RUNNER, str(model), str(file), str(folder) + "/", str(MAX_TOKENS), str(BATCH)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    rows = [json.loads(line) for line in Path(f"{model}_outputs.jsonl").read_text().splitlines()]
    return np.array([[r["scores_chosen"], r["scores_rejected"]] for r in rows])


def _settings() -> Settings:
    raw = {
        "sources": [{"name": "none", "path": "none.jsonl"}],
        "judges": {"panel": [{"name": n, "backend": "openai", "model": "none"} for n in ("a", "b")]},
        "people": {"backend": "files"},
        "attributes": {"backend": "heuristic"},
        "training": {"max_tokens": MAX_TOKENS, "tokens_per_microbatch": MAX_TOKENS},
    }
    return Settings.model_validate(raw)


def _model(folder: Path, loaded: list[Loaded], hidden: int, layers: int) -> Path:
    from training.export import export
    from training.job import Backbone
    from training.model import learn_tokenizer, new_model

    texts = pa.concat_arrays([c for one in loaded for c in one.candidates["response"].chunks]).to_pylist()
    backbone = Backbone(hidden=hidden, layers=layers)
    model = new_model(backbone, learn_tokenizer(texts, 8192), MAX_TOKENS, seed=0)
    export(model, folder / "model", {"max_tokens": MAX_TOKENS})
    return folder / "model"


def _for_the_rival(model: Path) -> Path:
    """A copy of the model as transformers 4 wrote it: the same weights, older names of the settings."""
    copy = model.with_name("model-for-transformers-4")
    if not copy.exists():
        copy.mkdir()
        for file in model.iterdir():
            (copy / file.name).write_bytes(file.read_bytes())
        config = json.loads((copy / "config.json").read_text())
        config.update(config.pop("rope_parameters", {}))
        config["torch_dtype"] = config.pop("dtype", "float32")
        (copy / "config.json").write_text(json.dumps(config))
        tokenizer = json.loads((copy / "tokenizer_config.json").read_text())
        tokenizer["tokenizer_class"] = "PreTrainedTokenizerFast"
        tokenizer["model_input_names"] = ["input_ids", "attention_mask"]
        tokenizer["additional_special_tokens"] = tokenizer.pop("extra_special_tokens", [])
        template = copy / "chat_template.jinja"
        if template.exists():
            tokenizer["chat_template"] = template.read_text()
        (copy / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    return copy


if __name__ == "__main__":
    main()
