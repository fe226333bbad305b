"""Which way the method's effects go in the generated world, over whole runs with different seeds (spec 14).

    python -m measurements.directions run [--seeds 0 1 2] [--config configs/suite.toml] [--noiseless] --lakes DIR --out FILE
        [KEY=VALUE ...]
    python -m measurements.directions table FILE [--noiseless FILE]

`run` starts `assay run` on the suite for each seed of the world, each with a lake of its own in DIR, and adds a line to
FILE; a seed that has its line is not run again. KEY=VALUE changes the configuration. --noiseless stands for the world
without wrong labels, of which the null test alone is needed: world.noise=0 and that experiment. `table` prints every
direction as the mean over worlds with a 95 % t-interval.
"""

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import stats

from curation.intervals import NOTHING, Estimate
from evaluation.presets import BARS
from resources.lake import Lake
from resources.settings import load
from sql import statement

ROOT = Path(__file__).parents[1]
SUITE = ROOT / "configs" / "suite.toml"
NOISELESS = ["world.noise=0", 'experiments=[{name = "null", preset = "null"}]']


class Direction(NamedTuple):
    """One direction: its number in the list of eight, what is compared, the difference in each world, what is expected."""

    number: int
    what: str
    of: list[float]
    expected: str  # above, or zero

    @property
    def estimate(self) -> Estimate:
        return over_worlds(self.of)

    @property
    def verdict(self) -> str:
        """confirmed, contradicted or open: an interval above zero, below it, or neither; where zero is expected, open is as
        good as it gets."""
        low, high = self.estimate.low, self.estimate.high
        if low is None or high is None:
            return "one world" if self.of else "not measured"
        if self.expected == "zero":
            return "as expected" if low <= 0 <= high else "contradicted"
        return "confirmed" if low > 0 else "contradicted" if high < 0 else "open"


def over_worlds(values: Sequence[float]) -> Estimate:
    """Mean over worlds with a t-interval; no interval for one, and nothing for none."""
    if not values:
        return NOTHING
    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return Estimate(mean, None, None)
    half = float(stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / math.sqrt(n))
    return Estimate(mean, mean - half, mean + half)


# ---- one world -----------------------------------------------------------------------------------------------------
def run(seeds: Sequence[int], lakes: Path, out: Path, changes: Sequence[str] = (), config: Path = SUITE) -> list[dict]:
    """Run the worlds that have no line yet; all lines."""
    rows = _rows(out)
    for seed in seeds:
        if seed in {r["seed"] for r in rows}:
            continue
        began, lake = time.monotonic(), lakes / f"world-{seed}"
        given = [f"seed={seed}", f"lake.path={lake.absolute()}", *changes]
        ended = subprocess.run(
            [sys.executable, "-m", "cli.main", "run", "--config", str(config), *given], stdout=sys.stderr, cwd=ROOT
        )
        if ended.returncode:
            raise SystemExit(f"{lake}: `assay run` ended with status {ended.returncode}")
        row = {"seed": seed, "seconds": time.monotonic() - began, **measured(Lake.of(load(config, given)))}
        with out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        rows.append(row)
        print(f"seed {seed}: {row['seconds']:.0f} s", file=sys.stderr, flush=True)
    return rows


def measured(lake: Lake) -> dict:
    """Scores by arm and figures of one world's lake."""
    with lake.connect() as con:
        scores: dict[str, dict[str, float]] = {}
        for experiment, arm, *_, results in con.execute(statement("experiments/arms")).fetchall():
            values = [r["value"] for r in results or ()]
            if values:
                scores.setdefault(experiment, {})[arm] = float(np.mean(values))
        studies = {
            f"{s}: {i}: {f}": v
            for s, i, f, v in con.execute("SELECT study, item, figure, value FROM studies").fetchall()
        }
        figures = dict(con.execute("SELECT figure || ': ' || figure_group, value FROM report_figures").fetchall())
    return {"scores": scores, "studies": studies, "figures": figures}


# ---- all worlds ----------------------------------------------------------------------------------------------------
def directions(rows: Sequence[dict], noiseless: Sequence[dict] = ()) -> list[Direction]:
    """Seven of the eight directions, several as more than one difference, in points; the eighth is a rule on curves, which
    needs no world."""

    def gap(experiment: str, a: str, b: str, of: Sequence[dict] = rows) -> list[float]:
        scores = [r["scores"][experiment] for r in of]
        return [100 * (s[a] - s[b]) for s in scores if a in s and b in s]

    def study(a: str, b: str) -> list[float]:
        return [100 * (r["studies"][a] - r["studies"][b]) for r in rows if a in r["studies"] and b in r["studies"]]

    last = max(a.partition("@")[2] for a in rows[0]["scores"]["no_human"])
    found = [
        Direction(1, f"{view}: stage 2 − seed", gap("pipeline", f"{view}@stage2", f"{view}@iter_00"), expected)
        for view, expected in (("original", "zero"), ("filtered", "above"), ("corrected", "above"))
    ]
    found += [
        Direction(
            1, "corrected − filtered after stage 2", gap("pipeline", "corrected@stage2", "filtered@stage2"), "above"
        )
    ]
    found += [
        Direction(2, f"bar {i + 2} − bar {i + 1}", gap("bars", b, a), "zero" if i < 2 else "above")
        for i, (a, b) in enumerate(zip(BARS, BARS[1:], strict=False))
    ]
    variants = ("variants: judges with gold neighbours: all", "variants: judges without examples: all")
    found += [Direction(3, "judges with gold neighbours − without", study(*variants), "above")]
    order = ("best and gold", "gold", "best", "first model", "longer answer")
    found += [
        Direction(4, f"{side}: {a} − {b}", study(f"filters: {a}: {side}", f"filters: {b}: {side}"), "above")
        for side in ("keep", "discard")
        for a, b in zip(order, order[1:], strict=False)
    ]
    weak = [r["figures"].get("weak_topic_in_batch_difference: retrieved - pool") for r in rows]
    found += [
        Direction(
            5,
            "weak topics, retrieved − pool",
            [100 * w for w in weak if w is not None],
            "above",
        )
    ]
    found += [
        Direction(6, f"{a} − {b}, last iteration", gap("no_human", f"{a}@{last}", f"{b}@{last}"), "above")
        for a, b in (("filtered", "unguided"), ("corrected", "unguided_corrected"))
    ]
    found += [Direction(7, "filtered − random of equal size", gap("null", "filtered", "random"), "above")]
    if noiseless:
        found += [Direction(7, "the same without noise", gap("null", "filtered", "random", noiseless), "zero")]
    return found


def table(found: Sequence[Direction]) -> str:
    lines = ["| | direction | mean, points | 95 % over worlds | expected | |", "|---|---|---|---|---|---|"]
    for d in found:
        e = d.estimate
        interval = f"{e.low:+.1f} to {e.high:+.1f}" if e.low is not None else "–"
        mean = "–" if e.value is None else f"{e.value:+.1f}"
        lines.append(f"| {d.number} | {d.what} | {mean} | {interval} | {d.expected} | {d.verdict} |")
    return "\n".join(lines)


def _rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("run")
    one.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    one.add_argument("--config", type=Path, default=SUITE)
    one.add_argument("--lakes", type=Path, required=True)
    one.add_argument("--out", type=Path, required=True)
    one.add_argument("--noiseless", action="store_true")
    one.add_argument("changes", nargs="*", metavar="KEY=VALUE")
    other = commands.add_parser("table")
    other.add_argument("file", type=Path)
    other.add_argument("--noiseless", type=Path)
    args = parser.parse_args()
    if args.command == "run":
        run(args.seeds, args.lakes, args.out, [*(NOISELESS if args.noiseless else ()), *args.changes], args.config)
        return
    print(table(directions(_rows(args.file), _rows(args.noiseless) if args.noiseless else ())))


if __name__ == "__main__":
    main()
