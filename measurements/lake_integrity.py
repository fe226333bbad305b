"""Whether `assay verify` finds every flipped bit, and what digests cost a run.

    python -m measurements.lake_integrity [--bits 400] [--pairs 700] [--seed 0]

Makes a small lake with the shipped configuration, then flips bits of its tables, models and indexes, each file with a
chance that follows its size: ROUND files a round, one bit in each, a whole `verify` after each round. The cost is an
upper bound: every partition that any step reads, and every model that these name, is checked again for that step, as if
no two steps shared a process, and every model is sealed again. What writing costs is not counted, since tables were
hashed before they carried a digest. Prints JSON; exits with 1 where a bit was not found.
"""

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq

from assets.registry import steps
from resources.integrity import Examined, damages
from resources.lake import Lake, digests
from resources.settings import Settings, load

ROUND = 20  # files that are damaged at a time
SMALLER = {"iterations": 1, "seed_people": 60, "seed_judges": 80, "batch": 60}


def configuration(folder: Path, pairs: int) -> Path:
    """The shipped configuration, smaller."""
    text = (Path(__file__).parents[1] / "assay.toml").read_text(encoding="utf-8")
    for key, value in {"pairs": pairs, **SMALLER}.items():
        text, n = re.subn(rf"^{key} = \d+", f"{key} = {value}", text, flags=re.M)
        assert n == 1, key
    text = text.replace("[training]", '[training]\narms = ["corrected"]')
    text = text.replace("[stage2]", '[stage2]\ndecision = "paper"\nfolds = 0')
    path = folder / "assay.toml"
    path.write_text(text, encoding="utf-8")
    return path


def cost(settings: Settings, lake: Lake) -> dict[str, float]:
    """Seconds and bytes of all checks of a run."""
    began, read, models = time.perf_counter(), 0, Path(lake.root).absolute() / "files" / "models"
    for step in steps():
        for key in settings.partition_keys(step.partition) if step.partition else [None]:
            for path in {lake.path(t, k) for t, k in step.inputs(settings, key)}:
                if path.exists():
                    read += path.stat().st_size
                    assert digests.fault(path) is None, path
            named = {(t, k) for t, k in step.inputs(settings, key) if {"model_id", "path"} <= set(t.schema.names)}
            for path in filter(Path.exists, (lake.path(t, k) for t, k in named)):
                for model in pq.read_table(path, columns=["model_id"], partitioning=None)["model_id"].to_pylist():
                    assert digests.fault_of_folder(models / model) is None, model
    checked = time.perf_counter()
    for result in sorted(models.glob("*/result.json")):
        digests.seal(result.parent, "model", "result.json")
    return {
        "checking_s": round(checked - began, 3),
        "megabytes_read": round(read / 1e6, 1),
        "sealing_s": round(time.perf_counter() - checked, 3),
    }


def flips(lake: Lake, bits: int, seed: int) -> dict[str, int]:
    """How many bits were flipped, and how many of their files were named."""
    root, draw = Path(lake.root).absolute(), random.Random(seed)
    tables = [p for p in root.rglob("data.parquet") if "files" not in p.relative_to(root).parts]
    folders = [f for kind in ("models", "vectors") for f in (root / "files" / kind).glob("*") if digests.sealed(f)]
    sealed = [f / name for f in folders for name in json.loads(digests.place(f).read_text(encoding="utf-8"))]
    files = [p for p in sorted({*tables, *sealed}) if p.stat().st_size]
    flipped = named = 0
    while flipped < bits:
        # heaviest draws of u^(1/size): without replacement, by size
        some = sorted(files, key=lambda p: -(draw.random() ** (1 / p.stat().st_size)))[: min(ROUND, bits - flipped)]
        was = {path: path.read_bytes() for path in some}
        for path, data in was.items():
            bit = draw.randrange(len(data) * 8)
            path.write_bytes(data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :])
        found = {d.path for d in damages(lake, Examined())}
        flipped += len(some)
        named += sum(bool(found & {path, *path.parents}) for path in some)
        for path, data in was.items():
            path.write_bytes(data)
    return {"bits_flipped": flipped, "bits_found": named, "files": len(files)}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--bits", type=int, default=400)
    parser.add_argument("--pairs", type=int, default=700)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="assay-integrity-") as folder:
        config = configuration(Path(folder), args.pairs)
        own = {k: v for k, v in os.environ.items() if k != "DAGSTER_HOME"}
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "cli.main", "--config", str(config), "run"],
            check=True, cwd=Path(__file__).parents[1], env=own, stdout=sys.stderr,
        )  # fmt: skip
        seconds = time.perf_counter() - began
        settings = load(config)
        lake = Lake.of(settings)
        began, examined = time.perf_counter(), Examined()
        clean = not list(damages(lake, examined))
        verify = time.perf_counter() - began
        spent = cost(settings, lake)
        found = flips(lake, args.bits, args.seed)
        whole = not list(damages(lake, Examined()))
    share = (spent["checking_s"] + spent["sealing_s"]) / seconds
    said = {"run_s": round(seconds, 1), "verify_s": round(verify, 2), "tables_mb": round(examined.bytes / 1e6, 1)}
    said |= {"clean_before_and_after": clean and whole, **spent, "share_of_run": round(share, 5), **found}
    print(json.dumps(said, indent=1))
    return int(found["bits_found"] < found["bits_flipped"] or not said["clean_before_and_after"])


if __name__ == "__main__":
    sys.exit(main())
