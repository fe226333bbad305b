"""How time and memory grow with odd sizes: many small rows, many files, long conversations, long texts, many votes,
many answers of people.

    python -m measurements.load [--scale 1.0] [--only rows files ...]

Each size is run a quarter, a half and whole, every one in a process of its own; the exponent is the slope of time by
size on logarithmic axes over the last two (1 is linear). Peak memory is the largest of any process. Prints Markdown.
"""

import argparse
import contextlib
import json
import math
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from assets import stage1
from assets.publishing import publish
from curation.tables import JUDGE_VOTES, Table
from resources.annotators.backends import backend
from resources.lake import Lake
from resources.run import Run
from resources.settings import Settings, load
from resources.stops import Stop

ROOT = Path(__file__).parent.parent
WORDS = [f"w{i}" for i in range(3000)]
ABOUT = {"category": "math", "objectivity": "objective", "controversiality": "low", "desired": "d", "guideline": "g"}
CONFIG = """
name = "load"
[lake]
path = "lake"
buckets = 2
[[sources]]
name = "x"
{source}
stage = "seed"
[attributes]
backend = "heuristic"
[people]
backend = "files"
folder = "people"
overlap = 0
require = []
[judges]
quorum = 1
[[judges.panel]]
name = "r"
backend = "openai"
model = "m"
"""


def words(chance: random.Random, n: int) -> str:
    return " ".join(chance.choices(WORDS, k=n))


def lay(folder: Path, source: str = 'path = "x.jsonl"') -> Settings:
    (folder / "assay.toml").write_text(CONFIG.format(source=source), encoding="utf-8")
    return load(folder / "assay.toml")


def write(path: Path, rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as out:
        out.writelines(json.dumps(row) + "\n" for row in rows)


def _pair(prompt: str | list[dict], chosen: str, rejected: str) -> dict:
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


# ---- what is laid out, and what is measured ------------------------------------------------------------------------
def rows(folder: Path, n: int, chance: random.Random) -> Callable[[], None]:
    """Short pairs in one file."""
    lay(folder)
    write(folder / "x.jsonl", (_pair(f"q {i} {words(chance, 3)}", f"a{i}", f"b{i}") for i in range(n)))
    return lambda: pool(folder)


def files(folder: Path, n: int, chance: random.Random) -> Callable[[], None]:
    """Files of five pairs in one folder."""
    lay(folder, 'path = "x"')
    for i in range(n):
        some = [_pair(f"q {i} {j} {words(chance, 5)}", words(chance, 5), words(chance, 6)) for j in range(5)]
        write(folder / "x" / f"part-{i:05d}.jsonl", some)
    return lambda: pool(folder)


def turns(folder: Path, n: int, chance: random.Random) -> Callable[[], None]:
    """Fifty conversations of so many turns."""
    lay(folder)
    roles = ("user", "assistant")

    def conversation(i: int) -> list[dict]:
        return [{"role": roles[k % 2], "content": f"{i} {k} {words(chance, 8)}"} for k in range(n | 1)]

    write(folder / "x.jsonl", (_pair(conversation(i), words(chance, 10), words(chance, 11)) for i in range(50)))
    return lambda: pool(folder)


def texts(folder: Path, n: int, chance: random.Random) -> Callable[[], None]:
    """Twenty pairs of two texts of so many bytes together."""
    lay(folder, f'path = "x.jsonl"\nmax_row_bytes = {2 * n + 10_000}')
    half = n // 2

    def text() -> str:
        return words(chance, half // 4)[:half]

    write(folder / "x.jsonl", (_pair(f"q {i}", text(), text()) for i in range(20)))
    return lambda: pool(folder)


def votes(folder: Path, n: int, chance: random.Random) -> Callable[[], None]:
    """Votes of five judges, both orders, to be counted."""
    settings = lay(folder)
    lake = Lake.of(settings)
    lake.write(JUDGE_VOTES, _votes(n, chance), "iter_00")
    step = stage1.verdicts
    _empty(lake, step.inputs(settings, "iter_00"))
    return lambda: _done(publish(step, Run(settings, lake, "iter_00")))


def answers(folder: Path, n: int, chance: random.Random) -> Callable[[], None]:
    """A batch that people have answered in a file."""
    settings = lay(folder)
    lake = Lake.of(settings)
    batch = pa.Table.from_pylist(
        [
            {"pair_id": f"p{i}", "comparison_id": f"c{i}", "conversation": [{"role": "user", "content": f"q {i}"}],
             "chosen": words(chance, 20), "rejected": words(chance, 20), "priority": 0, **ABOUT}
            for i in range(n)
        ]
    )  # fmt: skip
    with contextlib.suppress(Stop):  # nobody has answered yet
        backend(settings, lake).label(batch, "iter_00")
    out = [json.loads(line) for line in (folder / "people" / "iter_00" / "batch.jsonl").read_text("utf-8").splitlines()]
    write(folder / "people" / "iter_00" / "answers.jsonl",
          ({"pair_id": item["pair_id"], "verdict": chance.choice(("candidate_1", "candidate_2")), "annotator": f"a{i % 20}",
            "acknowledged": True, "tools": ["none"], "seconds": 30} for i, item in enumerate(out)))  # fmt: skip
    return lambda: _done(backend(settings, lake).label(batch, "iter_00").to_batches())


CASES: dict[str, tuple[Callable, int]] = {
    "rows": (rows, 200_000), "files": (files, 2_000), "turns": (turns, 2_000), "texts": (texts, 5_000_000),
    "votes": (votes, 1_000_000), "answers": (answers, 10_000),
}  # fmt: skip


def pool(folder: Path) -> None:
    here = {"ASSAY_CONFIG": str(folder / "assay.toml"), "PYTHONPATH": str(ROOT)}
    environment = {k: v for k, v in os.environ.items() if k != "DAGSTER_HOME"} | here
    command = [sys.executable, "-m", "cli.main", "run", "pool"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])


def _votes(n: int, chance: random.Random) -> pa.Table:
    judges, orders = [f"judge-{k}" for k in range(5)], ("chosen", "rejected")
    said = [chance.choice(("candidate_1", "candidate_2")) for _ in range(n)]
    given: dict[str, list] = {
        "pair_id": [f"p{i // 10:07d}" for i in range(n)],
        "judge": [judges[i // 2 % 5] for i in range(n)],
        "replicate": [i % 2 for i in range(n)],
        "shown_first": [orders[i % 2] for i in range(n)],
        "answer": said,
        "vote": ["original" if (a == "candidate_1") == (i % 2 == 0) else "swapped" for i, a in enumerate(said)],
        "status": ["ok"] * n,
        "request_key": [f"{i:032x}" for i in range(n)],
    }
    usual = {"string": "", "bool": True, "int64": 0, "int32": 0, "int16": 0, "int8": 0, "double": 0.0, "float": 0.0}
    columns = [
        pa.array(given[f.name] if f.name in given else [usual.get(str(f.type), [])] * n, f.type)
        for f in JUDGE_VOTES.schema
    ]
    return pa.Table.from_arrays(columns, schema=JUDGE_VOTES.schema)


def _empty(lake: Lake, inputs: "list[tuple[Table, str | None]]") -> None:
    for table, key in inputs:
        if lake.note(table, key) is None:
            lake.write(table, table.schema.empty_table(), key)


def _done(some) -> None:
    for _ in some:
        pass


# ---- the table -----------------------------------------------------------------------------------------------------
def measure(name: str, n: int) -> None:
    """Lay a case out, run it, print seconds and mebibytes; in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="assay-load-") as folder:
        work = CASES[name][0](Path(folder), n, random.Random(1))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began = time.monotonic()
        work()
        seconds = time.monotonic() - began
        peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        print(json.dumps({"seconds": seconds, "peak": peak / 1024, "before": before / 1024}))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0, help="of all sizes")
    parser.add_argument("--only", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--one", nargs=2, metavar=("CASE", "SIZE"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        measure(args.one[0], int(args.one[1]))
        return 0
    print("| | size | s | peak MiB | laid out with MiB | exponent |\n|---|---:|---:|---:|---:|---:|", flush=True)
    for name in args.only:
        last = None
        for part in (0.25, 0.5, 1.0):
            n = max(1, round(CASES[name][1] * args.scale * part))
            command = [sys.executable, "-m", "measurements.load", "--one", name, str(n)]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
            if done.returncode:
                print(
                    f"| {name} | {n:,} | failed ({done.returncode}): {done.stderr.strip()[-200:]!r} | | | |", flush=True
                )
                break
            found = json.loads(done.stdout.splitlines()[-1])
            grows = f"{math.log(found['seconds'] / last, 2):.2f}" if last else ""
            last = found["seconds"]
            print(
                f"| {name} | {n:,} | {last:.1f} | {found['peak']:,.0f} | {found['before']:,.0f} | {grows} |", flush=True
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
