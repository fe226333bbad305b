"""Peak memory of every step of stage 2 as the pool grows, on the generated pool with a tiny trained model.

    python -m measurements.stage2_memory [--sizes 10000 30000 100000] [--buckets 8] [--out FILE] [--plot PICTURE]

Stage 1 is the same small one for every size; people and judges are simulated. Each step of stage 2 runs over all buckets
in a process of its own, so that its peak is its own: VmHWM of the process, and of the scoring program it starts.
"""

import argparse
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from assets import stage2
from assets.publishing import publish
from assets.registry import steps
from assets.table_asset import Step
from resources.lake import Lake
from resources.run import Run
from resources.settings import Settings, load

STAGE1 = 1_500  # records in the sources of stage 1, at every size
LEFT_OVER = 800  # of them that stage 1 does not label; stage 2 decides those too
KEPT_OUT = 1.09  # records that a generated pool needs for one pair that survives cleaning
MODELS = (stage2.best_reward_model, stage2.gold_reward_model)


def configuration(folder: Path, size: int, buckets: int) -> Path:
    """The shipped configuration with `size` pairs for stage 2."""
    text = (Path(__file__).parents[1] / "assay.toml").read_text(encoding="utf-8")
    pairs = STAGE1 + round((size - LEFT_OVER) * KEPT_OUT)
    for key, value in {
        "pairs": pairs, "stage1_share": round(STAGE1 / pairs, 6), "iterations": 1, "seed_people": 200,
        "seed_judges": 200, "batch": 100, "buckets": buckets,
    }.items():  # fmt: skip
        text, n = re.subn(rf"^{key} = [\d.]+", f"{key} = {value}", text, flags=re.M)
        assert n == 1, key
    text = text.replace("[lake]\n", '[lake]\nmemory_limit = "512MB"\n')
    path = folder / "assay.toml"
    path.write_text(text, encoding="utf-8")
    return path


def run(step: Step, settings: Settings) -> None:
    for key in settings.partition_keys(step.partition) if step.partition else [None]:
        list(publish(step, Run(settings, Lake.of(settings), key)))


def before_stage2(settings: Settings) -> list[Step]:
    """Everything that stage 2 reads, in order: iterations of stage 1 go round the loop, not step by step."""
    return [s for s in steps() if s.group not in ("stage2", "release", "models", "evaluation", "report")]


def prepare(config: Path) -> None:
    settings, done = load(config), before_stage2(load(config))
    loop = [s for s in done if s.partition == "iteration"]
    for step in done:
        if step is not loop[0] and step in loop:
            continue
        if step is not loop[0]:
            run(step, settings)
            continue
        for key in settings.partition_keys("iteration"):
            for one in loop:
                list(publish(one, Run(settings, Lake.of(settings), key)))
    for step in MODELS:
        run(step, settings)


def peak() -> int:
    """MiB of this process at its highest."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) // 1024


def one(config: Path, name: str) -> None:
    settings = load(config)
    step = next(s for s in steps() if s.name == name)
    began, before = time.monotonic(), peak()
    run(step, settings)
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    rows = (
        sum(Lake.of(settings).rows(step.tables[0], k) for k in settings.partition_keys("bucket"))
        if step.partition
        else 1
    )
    print(json.dumps({"step": name, "rows": rows, "peak": peak(), "before": before, "child": child,
                      "seconds": round(time.monotonic() - began, 1)}))  # fmt: skip


def measure(size: int, buckets: int) -> list[dict]:
    with tempfile.TemporaryDirectory(prefix="assay-stage2-") as folder:
        config = configuration(Path(folder), size, buckets)
        began = time.monotonic()
        _python("_prepare", config)
        print(f"{size:,} pairs: pool and stage 1 in {time.monotonic() - began:.0f} s", flush=True)
        names = [s.name for s in steps() if s.group in ("stage2", "release") and s not in MODELS]
        found = []
        for name in names:
            found.append({"size": size, **json.loads(_python("_one", config, name).splitlines()[-1])})
            print("  {step:20s} {rows:9,} rows  {peak:6,} MiB, at its start {before:4,}; started program {child:6,} MiB;"
                  " {seconds:7.1f} s".format(**found[-1]), flush=True)  # fmt: skip
        return found


def _python(*arguments: object) -> str:
    line = [sys.executable, "-m", "measurements.stage2_memory", *map(str, arguments)]
    done = subprocess.run(line, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(line)} failed:\n{done.stderr[-3000:]}")
    return done.stdout


def plot(found: list[dict], path: Path) -> None:
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure((7, 4), layout="constrained")
    axis = figure.add_subplot()
    axis.set_prop_cycle(color=colormaps["tab20"].colors)
    for name in dict.fromkeys(r["step"] for r in found):
        rows = [r for r in found if r["step"] == name]
        axis.plot([r["size"] for r in rows], [r["peak"] for r in rows], "o-", label=name, markersize=4)
        if name == "scores":
            axis.plot(
                [r["size"] for r in rows], [r["child"] for r in rows], "s--", label="scoring program", markersize=4
            )
    axis.set(xscale="log", xlabel="pairs that stage 2 decides", ylabel="peak memory, MiB")
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=7, ncols=2)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def main() -> None:
    if sys.argv[1:2] == ["_prepare"]:
        return prepare(Path(sys.argv[2]))
    if sys.argv[1:2] == ["_one"]:
        return one(Path(sys.argv[2]), sys.argv[3])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 30_000, 100_000])
    parser.add_argument("--buckets", type=int, default=8)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    found = [row for size in args.sizes for row in measure(size, args.buckets)]
    if args.out:
        args.out.write_text(json.dumps(found, indent=1), encoding="utf-8")
    if args.plot:
        plot(found, args.plot)


if __name__ == "__main__":
    main()
