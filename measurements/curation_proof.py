"""What a whole run of the pipeline on real texts makes of a pool, seed by seed, and what `worth` said before.

    python -m measurements.curation_proof run CONFIG [--seeds 0 1 2 3 4 5] [--lakes DIR] --out FILE
    python -m measurements.curation_proof table FILE...
    python -m measurements.curation_proof plot FILE... --to PICTURE

`run` starts `assay run` on the configuration for each seed, each with a lake of its own in DIR, and adds a line to FILE;
a seed that has its line is not run again. The pool and the held-out pairs are those of the configuration for all seeds;
the seed draws whom people label. Held-out pairs are its [[reference.answers]] by the annotator "held out"; labels of
pairs of the pool are counted against its other reference answers, on pairs that people were not asked about. The final
models of the run are scored on the held-out pairs by the same frozen states; `oracle` is one more, fitted here on
people's labels of the whole pool.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from curation.identity import text_hash
from curation.intervals import wilson
from measurements.decision_worth import opened
from resources import frozen_heads
from resources.lake import Lake
from resources.run import Run
from resources.settings import Settings, load
from resources.trainer import train
from training.frozen import FrozenRewardModel, Responses, without
from training.states import StateReader

HELD_OUT = "held out"
LEAST = 20  # pairs to count a share of
DRAWS = 4000  # of the bootstrap
COMPARED = (
    ("filtered", "original"), ("corrected", "original"), ("corrected", "filtered"), ("random", "original"),
    ("filtered", "random"),
    ("gold", "original"), ("original_with_gold", "gold"), ("filtered_with_gold", "gold"),
    ("corrected_with_gold", "gold"), ("oracle", "original"),
)  # fmt: skip
MAIN = (*COMPARED[:2], ("filtered_with_gold", "gold"), ("oracle", "original"))


# ---- one seed --------------------------------------------------------------------------------------------------------
def run(args: argparse.Namespace) -> None:
    """What no seed decides, the pool and its states, is made once and copied."""
    done, stem = {r["seed"] for r in _rows(args.out)}, args.config.stem
    base = args.lakes / f"{stem}-base"
    for seed in args.seeds:
        if seed in done:
            continue
        lake = args.lakes / f"{stem}-{seed}"
        began = time.monotonic()
        if not lake.exists():
            _assay(args.config, base, seed, "pool", "seed")
            shutil.copytree(base, lake)
        settings = _assay(args.config, lake, seed)
        row = measure(settings, args.lakes) | {"seconds": time.monotonic() - began}
        with args.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(f"{row['name']}, seed {seed}: {row['seconds']:.0f} s", flush=True)


def _assay(config: Path, lake: Path, seed: int, *groups: str) -> Settings:
    """`assay run`; the settings that it ran with."""
    changes = [f"seed={seed}", f"lake.path={lake.absolute()}", "experiments=[]"]
    ended = subprocess.run(
        [sys.executable, "-m", "cli.main", "run", *groups, "--config", str(config), *changes], stdout=sys.stderr
    )
    if ended.returncode:
        raise SystemExit(f"{lake}: `assay run` ended with status {ended.returncode}")
    return load(config, changes)


def measure(settings: Settings, cache: Path) -> dict:
    """What came out of one lake. Hits of every final model on the held-out pairs are a text of 0, 1 (a tie) and 2."""
    root = settings.lake.path
    con = opened(root)
    for name in ("decisions", "decision_rule", "worth", "gold", "final_reward_model"):
        con.execute(
            f"CREATE VIEW {name} AS FROM read_parquet('{root}/{name}/**/data.parquet', hive_partitioning = true,"
            " hive_types_autocast = false)"
        )
    held = held_out(settings, cache)
    with (root / "decisions" / "rule.json").open(encoding="utf-8") as file:
        guards = json.load(file).get("guards") or {}
    lake = Lake.of(settings)
    arms = con.execute("SELECT arm, path FROM final_reward_model").fetchall()
    models = {arm: lake.model(path) for arm, path in arms} | {"oracle": lake.model(oracle(settings))}
    return {
        "name": settings.name, "seed": settings.seed,
        "pool": con.execute("SELECT count(*) FROM clean_pool").fetchall()[0][0],
        "gold": con.execute("SELECT count(*) FROM gold").fetchall()[0][0],
        "labels": labels(con), "guards": guards, "worth": foreseen(con),
        "items": held["name"], "groups": held["groups"],
        "arms": {arm: hits(path, held) for arm, path in sorted(models.items())},
    }  # fmt: skip


def labels(con: duckdb.DuckDBPyConnection) -> dict:
    """Counts on pairs of stage 2 whose truth is known and that nobody was asked about, [right, all]: original labels; kept;
    flips; what the paper's rule would have kept and flipped."""
    found: dict[str, list[int]] = {}
    groups = {
        "original": "true", "kept": "class = 'keep'", "flipped": "class = 'flip'",
        "would keep": "class = 'keep' OR reason = 'keep_unproven'",
        "would flip": "class = 'flip' OR reason = 'flip_unproven'",
    }  # fmt: skip
    for name, where in groups.items():
        right = "NOT original_right" if "flip" in name else "original_right"
        query = (
            f"SELECT count(*) FILTER ({right}), count(*) FROM decisions JOIN truth USING (pair_id)"
            f" WHERE original_right IS NOT NULL AND ({where})"
        )
        found[name] = list(con.execute(query).fetchall()[0])
    return found | {
        "reasons": dict(con.execute("SELECT reason, count(*) FROM decisions GROUP BY 1 ORDER BY 1").fetchall())
    }


def foreseen(con: duckdb.DuckDBPyConnection) -> dict:
    """What the last `worth` before stage 2 said."""
    rows = con.execute(
        "SELECT figure, item, value, text FROM worth WHERE iteration = (SELECT max(iteration) FROM worth)"
    ).fetchall()
    values = {f"{figure}: {item}": value for figure, item, value, _ in rows if value is not None}
    [(verdict, first)] = [(item, text) for figure, item, _, text in rows if figure == "verdict"]
    wanted = (
        "rule: keep, predicted", "rule: flip, predicted", "headroom: at_pool_size", "accuracy: original labels",
        "accuracy: gold model",
    )  # fmt: skip
    return {"verdict": verdict, "first": first} | {w.split(": ", 1)[1]: values.get(w) for w in wanted}


def oracle(settings: Settings) -> str:
    """The folder of a final model on people's labels of all pairs of the pool that have one."""
    lake = Lake.of(settings)
    with lake.connect() as con:
        rows = con.execute(
            "SELECT pair_id, chosen, winner FROM clean_pool JOIN reference_labels USING (comparison_id) WHERE winner <> ''"
        ).fetchall()
        right = [text_hash(chosen) == winner for _, chosen, winner in rows]
        con.register("ordered", pa.table({"pair_id": [r[0] for r in rows], "is_right": right}))
        pairs = con.sql(
            "SELECT pair_id, conversation, CASE WHEN is_right THEN chosen ELSE rejected END AS chosen,"
            " CASE WHEN is_right THEN rejected ELSE chosen END AS rejected, 1.0::DOUBLE AS weight, 1.0::DOUBLE AS target"
            " FROM clean_pool JOIN ordered USING (pair_id)"
        )
        recipe = settings.training.final
        return train(Run(settings, lake), kind="final", pairs=pairs, validation=None, recipe=recipe)["path"]


def held_out(settings: Settings, cache: Path) -> dict:
    """Held-out pairs with states, people's better response first, and their conversations; states are kept in a file."""
    rows, con = [], duckdb.connect()
    for one in settings.reference.answers:
        if one.annotator == HELD_OUT:
            rows += con.execute(f"SELECT prompt, a, b, winner FROM ({one.query})").fetchall()
    decided = [(str(p), a, b) if w == "a1" else (str(p), b, a) for p, a, b, w in rows if w in ("a1", "a2")]
    decided.sort()
    if not decided:
        raise SystemExit(f'{settings.name}: no [[reference.answers]] has the annotator "{HELD_OUT}"')
    folder, layer = frozen_heads.backbone_of(settings.training)
    reader = StateReader(folder, [layer], settings.training.max_tokens)
    texts = sorted({t for _, *both in decided for t in both})
    name = hashlib.blake2b(json.dumps([reader.name, decided]).encode(), digest_size=8).hexdigest()
    path = cache / f"held-out-{name}.npy"
    if not path.exists():
        np.save(path, reader.states(texts).astype(np.float32))
    states = dict(zip(texts, np.load(path), strict=True))
    decided = [d for d in decided if not any(np.isnan(states[t]).any() for t in d[1:])]
    first, second = (Responses(np.stack([states[d[i]] for d in decided]), without(len(decided))) for i in (1, 2))
    return {
        "name": name, "reader": reader.name, "first": first, "second": second,
        "groups": np.unique([d[0] for d in decided], return_inverse=True)[1].tolist(),
    }  # fmt: skip


def hits(folder: Path, held: dict) -> str:
    model = FrozenRewardModel.load(folder)
    if model.states_name != held["reader"]:
        raise SystemExit(
            f"{folder} was fitted on {model.states_name}, the held-out pairs were read by {held['reader']}"
        )
    return "".join(str(int(s) + 1) for s in np.sign(model.margin(held["first"], held["second"])))


# ---- all seeds -------------------------------------------------------------------------------------------------------
def _rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def credit(rows: list[dict], arm: str) -> np.ndarray:
    """[items, seeds]"""
    if len({r["items"] for r in rows}) > 1:
        raise SystemExit(f"{rows[0]['name']}: the held-out pairs differ between seeds")
    return np.array([[int(c) / 2 for c in r["arms"][arm]] for r in rows]).T


def paired(d: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> tuple[float, float, float]:
    """Mean of d [items, seeds] and a 95 % interval by a bootstrap over groups of items and over seeds."""
    n = int(groups.max()) + 1
    sums = np.stack([np.bincount(groups, d[:, s], n) for s in range(d.shape[1])], 1)  # [groups, seeds]
    sizes = np.bincount(groups, minlength=n)
    draws = np.empty(DRAWS)
    for i in range(DRAWS):
        times = np.bincount(rng.integers(0, n, n), minlength=n)
        seeds = rng.integers(0, d.shape[1], d.shape[1])
        draws[i] = (times @ sums[:, seeds]).mean() / (times @ sizes)
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(d.mean()), float(low), float(high)


def comparisons(rows: list[dict]) -> dict[tuple[str, str], tuple[float, float, float, int]]:
    """Difference, interval, and in how many seeds it is above zero, for every pair of arms."""
    groups, rng = np.array(rows[0]["groups"]), np.random.default_rng(0)
    found = {}
    for a, b in COMPARED:
        d = credit(rows, a) - credit(rows, b)
        found[a, b] = (*paired(d, groups, rng), int((d.mean(0) > 0).sum()))
    return found


def smallest(rows: list[dict], a: str, b: str) -> tuple[float, float]:
    """Share of held-out pairs that two arms decide otherwise, and the smallest difference seen with 80 % power if these pairs
    were independent."""
    share = float((credit(rows, a) != credit(rows, b)).mean())
    return share, 2.8 * (share / len(rows[0]["groups"])) ** 0.5


def share(rows: list[dict], name: str) -> tuple[int, int]:
    """Right and all, over seeds."""
    right, n = (sum(r["labels"][name][i] for r in rows) for i in (0, 1))
    return right, n


def net(row: dict, name: str, audited: bool = False) -> int:
    """Flips that are right less flips that are wrong; where a pool is small, most of them are among the audited."""
    right, n = row["labels"][name]
    looked = row["guards"].get("looked") or {}
    if audited and looked and "both_reject" in row["labels"]["reasons"]:
        right, n = right + looked["right"], n + looked["looked"]
    return 2 * right - n


def mean(values: list[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None


def told(value: float | None, digits: int = 3, sign: bool = False) -> str:
    return "–" if value is None else f"{value:{'+' if sign else ''}.{digits}f}"


def precision(rows: list[dict], name: str) -> str:
    right, n = share(rows, name)
    return "–" if not n else f"{right / n:.3f} ({n / len(rows):.0f} a seed)"


def table(args: argparse.Namespace) -> None:
    beds = [rows for file in args.files if (rows := sorted(_rows(file), key=lambda r: r["seed"]))]
    print("| run | seeds | gold | original labels right | kept right | flips right | would-be flips right | seeds that flip |"
          " net labels put right, a seed | worst seed | net, audited pairs included | net of the paper's rule |"
          " seconds a seed |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|---|---|---|---|")
    for rows in beds:
        unasked, audited = ([net(r, "flipped", seen) for r in rows] for seen in (False, True))
        paper = [net(r, "would flip") for r in rows]
        print(
            f"| {rows[0]['name']} | {len(rows)} | {np.mean([r['gold'] for r in rows]):.0f} | {precision(rows, 'original')} |"
            f" {precision(rows, 'kept')} | {precision(rows, 'flipped')} | {precision(rows, 'would flip')} |"
            f" {sum('both_reject' in r['labels']['reasons'] for r in rows)} of {len(rows)} | {np.mean(unasked):+.1f} |"
            f" {min(unasked):+d} | {np.mean(audited):+.1f} | {np.mean(paper):+.1f} |"
            f" {np.median([r['seconds'] for r in rows]):.0f} |"
        )
    arms = list(dict.fromkeys(a for rows in beds for a in rows[0]["arms"]))
    print("\n| run | held-out pairs | conversations | " + " | ".join(arms) + " |\n|---|---|---|" + "---|" * len(arms))
    for rows in beds:
        cells = " | ".join(f"{credit(rows, a).mean():.3f}" for a in arms)
        print(f"| {rows[0]['name']} | {len(rows[0]['groups']):,} | {max(rows[0]['groups']) + 1} | {cells} |")
    for rows in beds:
        print(
            f"\n| {rows[0]['name']}: points | difference | 95 % | seeds above 0 | decided otherwise | smallest seen |"
        )
        print("|---|---|---|---|---|---|")
        for (a, b), (d, low, high, above) in comparisons(rows).items():
            otherwise, least = smallest(rows, a, b)
            print(
                f"| {a} − {b} | {100 * d:+.1f} | {100 * low:+.1f} to {100 * high:+.1f} | {above} of {len(rows)} |"
                f" {otherwise:.2f} | {100 * least:.1f} |"
            )
    print("\n| run | worth says | keeps right: foreseen | measured | flips right: foreseen | would-be flips measured | headroom:"
          " foreseen | measured |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    for rows in beds:
        verdicts = [r["worth"]["verdict"] for r in rows]
        said = ", ".join(f"{v} {verdicts.count(v)}" for v in dict.fromkeys(verdicts))
        kept, flips = (
            right / n if n else None for right, n in (share(rows, name) for name in ("would keep", "would flip"))
        )
        head = (credit(rows, "oracle") - credit(rows, "original")).mean()
        print(
            f"| {rows[0]['name']} | {said} | {told(mean([r['worth']['keep, predicted'] for r in rows]))} | {told(kept)} |"
            f" {told(mean([r['worth']['flip, predicted'] for r in rows]))} | {told(flips)} |"
            f" {told(mean([r['worth']['at_pool_size'] for r in rows]), sign=True)} | {head:+.3f} |"
        )
    print("\n| what | runs | r of foreseen and measured | mean miss | worst miss |\n|---|---|---|---|---|")
    for what, foreseen_as, name in (
        ("keeping", "keep, predicted", "would keep"),
        ("flipping", "flip, predicted", "would flip"),
    ):
        print(foresight([r for rows in beds for r in rows], what, foreseen_as, name))
    for rows in beds:
        print(f"\n{rows[0]['name']}, by seed")
        for r in rows:
            looked = r["guards"].get("looked") or {}
            got = {k: "–" if not n else f"{right}/{n}" for k, (right, n) in
                   ((k, v) for k, v in r["labels"].items() if k != "reasons")}  # fmt: skip
            print(f"  seed {r['seed']}: {got}; looked {looked}; {r['worth']['verdict']}; {r['labels']['reasons']}")


def foresight(rows: list[dict], what: str, foreseen_as: str, name: str) -> str:
    """How near the precision that was foreseen came to the one counted, a run at a time, where LEAST pairs can be counted."""
    known = [r for r in rows if r["labels"][name][1] >= LEAST and r["worth"][foreseen_as] is not None]
    said = np.array([r["worth"][foreseen_as] for r in known])
    came = np.array([r["labels"][name][0] / r["labels"][name][1] for r in known])
    worst = int(np.abs(said - came).argmax())
    where = f"{known[worst]['name']}, seed {known[worst]['seed']}"
    return (
        f"| {what} | {len(known)} of {len(rows)} | {np.corrcoef(said, came)[0, 1]:.2f} | {np.abs(said - came).mean():.3f} |"
        f" {said[worst] - came[worst]:+.3f} ({where}) |"
    )


def plot(args: argparse.Namespace) -> None:
    from matplotlib.figure import Figure

    beds = [sorted(rows, key=lambda r: r["seed"]) for file in args.files if (rows := _rows(file))]
    figure = Figure((3.9 * len(beds), 3.2), layout="constrained")
    for axis, rows in zip(figure.subplots(1, len(beds), squeeze=False, sharey=True)[0], beds, strict=True):
        found = comparisons(rows)
        for y, pair in enumerate(MAIN[::-1]):
            d, low, high, _ = found[pair]
            each = 100 * (credit(rows, pair[0]) - credit(rows, pair[1])).mean(0)
            axis.plot(each, [y - 0.18] * len(each), "o", color="#4c72b0", alpha=0.5, markersize=4)
            axis.errorbar(100 * d, y, xerr=[[100 * (d - low)], [100 * (high - d)]], fmt="s", color="black", capsize=3)
        axis.axvline(0, color="#888888", linewidth=0.8)
        axis.set(yticks=range(len(MAIN)), yticklabels=[f"{a} − {b}".replace("_with_", " + ") for a, b in MAIN[::-1]],
                 xlabel="points of accuracy, 95 %")  # fmt: skip
        right, n = wilson(*share(rows, "original")).value, len(rows[0]["groups"])
        axis.set_title(
            f"{rows[0]['name']}: labels right {right:.2f}\n{n:,} held-out pairs, {len(rows)} seeds", fontsize=9
        )
        axis.grid(axis="x", alpha=0.3)
    figure.savefig(args.to, dpi=110, metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    sub = commands.add_parser("run")
    sub.add_argument("config", type=Path)
    sub.add_argument("--seeds", type=int, nargs="+", default=list(range(6)))
    sub.add_argument("--lakes", type=Path, default=Path("lakes"), help="the folder for lakes and states")
    sub.add_argument("--out", type=Path, required=True, help="a line of JSON a seed is added")
    sub.set_defaults(do=run)
    for name, do in (("table", table), ("plot", plot)):
        sub = commands.add_parser(name)
        sub.add_argument("files", type=Path, nargs="+")
        sub.set_defaults(do=do)
    sub.add_argument("--to", required=True)
    args = parser.parse_args()
    if args.command == "run":
        args.lakes.mkdir(parents=True, exist_ok=True)
    args.do(args)


if __name__ == "__main__":
    main()
