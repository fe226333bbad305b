"""What stage 2's decisions are worth against labels that the run never saw, and what reward models learn from them.

    python -m measurements.decision_worth precision CONFIG [--out FILE]
    python -m measurements.decision_worth arms CONFIG [--pairs N] [--seeds 3] [--out FILE]
    python -m measurements.decision_worth plot FILE... --to PICTURE

CONFIG names a lake that has been run. `precision`: how often keeping and flipping are right, by filter; how often the
calibrated bound is broken when the random labels are drawn again; how well each score finds wrong labels. `arms`: reward
models trained alike on what each way of cleaning leaves, tested on pairs of other conversations. The truth is planted,
or people's labels of [reference] about pairs the run asked nobody about. Intervals are 95 %. The rival by cleanlab is
measured where the package is installed.
"""

import argparse
import json
import tempfile
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from curation.calibration import Sample, calibrate, halves, probability, strata
from curation.decision_rule import STRATA, Rule, decide
from curation.identity import draw, text_hash
from curation.intervals import paired_difference, wilson
from resources.lake import Lake
from resources.run import Run
from resources.settings import Settings, load
from sql import statement

READ = ("scores", "stage2_verdicts", "clean_pool", "reference_labels", "human_labels", "audit", "annotation_batch")
ALPHAS = (0.1, 0.2, 0.3)
DELTA = 0.1
TESTED = 1000  # pairs, at most, that reward models are tested on
TRUTH = {"planted": "planted truth; people and judges simulated", "people": "people's labels"}
REDRAWN = 100  # times the calibration labels are drawn again


def opened(root: Path) -> duckdb.DuckDBPyConnection:
    """The tables this needs, whatever else the lake holds."""
    con = duckdb.connect()
    for name in READ:
        if list((root / name).glob("**/data.parquet")):
            con.execute(
                f"CREATE VIEW {name} AS FROM read_parquet('{root}/{name}/**/data.parquet', hive_partitioning = true,"
                " hive_types_autocast = false, union_by_name = true)"
            )
        else:
            con.execute(f"CREATE VIEW {name} AS SELECT ''::VARCHAR AS pair_id WHERE false")
    texts = con.sql(
        "SELECT pair_id, chosen FROM clean_pool WHERE comparison_id IN (SELECT comparison_id FROM reference_labels)"
    ).to_arrow_table()
    hashes = [text_hash(t) for t in texts.column("chosen").to_pylist()]
    con.register("chosen_ids", pa.table({"pair_id": texts.column("pair_id"), "chosen_id": pa.array(hashes)}))
    con.sql(statement("report/truth")).create("truth")
    return con


class Scored:
    """Every scored pair of stage 2 as columns [n]; `right` says whether the original label is, `known` where that is
    known."""

    def __init__(self, con: duckdb.DuckDBPyConnection, seed: int):
        rows = con.sql(
            "SELECT pair_id, cluster_id, p.chosen, p.rejected, r_chosen_best - r_rejected_best AS best,"
            " r_chosen_gold - r_rejected_gold AS gold, t.original_right AS right"
            " FROM scores s JOIN clean_pool p USING (pair_id) LEFT JOIN truth t USING (pair_id)"
            " WHERE unscored_best IS NULL AND unscored_gold IS NULL ORDER BY pair_id"
        ).to_arrow_table()
        self.pairs, self.clusters, self.chosen, self.rejected = (
            rows.column(c).to_pylist() for c in ("pair_id", "cluster_id", "chosen", "rejected")
        )
        self.margins = np.stack([rows.column(c).to_numpy() for c in ("best", "gold")], axis=1)
        right = rows.column("right").to_pylist()
        self.known = np.array([r is not None for r in right])
        self.right = np.array([bool(r) for r in right])
        self.strata, self.seed = strata(self.margins), seed

    def calibrated(self, chosen: np.ndarray, error: float, alpha: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """P(original right) [n] and the votes [n] of the rule calibrated on people's labels of the chosen pairs, as the
        step `decision_rule` does it with its audit; simulated people err now and then."""
        ids = [self.pairs[i] for i in chosen]
        right = self.right[chosen] ^ np.array([draw(self.seed, "person", p) < error for p in ids], bool)
        fits = halves(ids, seed)
        fitted, tested = (Sample(self.margins[chosen][half], right[half]) for half in (fits, ~fits))
        found = calibrate(fitted, tested, models=("", ""), alpha=alpha, delta=DELTA)
        p = probability((found.intercept, found.best, found.gold), self.margins)
        votes = np.zeros(len(p), int)
        for name, t in found.thresholds.items():
            inside = self.strata == name
            if t.flip is not None:
                votes[inside & (1 - p >= t.flip)] = -1
            if t.keep is not None:
                votes[inside & (p >= t.keep)] = 1
        return p, votes

    def out_of_fold(self, folds: int = 5) -> np.ndarray:
        """P(original right) [n] by logistic regression on hashed words of both responses, never on its own cluster.
        Candidates change places by chance: with the chosen one always first there would be one class only."""
        from sklearn.feature_extraction.text import HashingVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import GroupKFold

        words = HashingVectorizer(n_features=2**16, ngram_range=(1, 2), alternate_sign=False)
        gap = words.transform(self.chosen) - words.transform(self.rejected)
        side = np.array([1 if draw(self.seed, "side", p) < 0.5 else -1 for p in self.pairs])
        turned, p = gap.multiply(side[:, None]).tocsr(), np.zeros(len(side))
        for seen, held in GroupKFold(folds).split(turned, groups=self.clusters):
            model = LogisticRegression(fit_intercept=False, C=3.0, max_iter=300).fit(turned[seen], side[seen] > 0)
            p[held] = model.predict_proba(turned[held])[:, 1]
        return np.where(side > 0, p, 1 - p)


def signs(p: np.ndarray) -> np.ndarray:
    return np.sign(np.round(p, 15)).astype(int)


def filters(con: duckdb.DuckDBPyConnection, scored: Scored, oof: np.ndarray) -> dict[str, np.ndarray]:
    """Votes [n] of every filter that needs no calibration: 1 keep, -1 flip, 0 drop."""
    best, gold = (signs(scored.margins[:, i]) for i in (0, 1))
    lengths = np.array([len(c) - len(r) for c, r in zip(scored.chosen, scored.rejected, strict=True)])
    found = decide(con, Rule(), con.table("scores"), con.table("stage2_verdicts")).query(
        "decided",
        "SELECT class FROM decided JOIN scores USING (pair_id) WHERE unscored_best IS NULL AND unscored_gold IS NULL"
        " ORDER BY pair_id",
    )
    rule = np.array([{"keep": 1, "flip": -1, "drop": 0}[c] for (c,) in found.fetchall()])
    coin = np.array([1 if draw(scored.seed, "coin", p) < 0.5 else -1 for p in scored.pairs])
    votes = {
        "as labelled": np.ones(len(best), int),
        "random": coin,
        "longer answer": signs(lengths),
        "best RM": best,
        "gold RM": gold,
        "best and gold RM": np.where(best == gold, best, 0),
        "the rule, with judges": rule,
    }
    try:
        from cleanlab.filter import find_label_issues
    except ImportError:
        return votes
    side = np.array([draw(scored.seed, "side", p) < 0.5 for p in scored.pairs])
    first = np.where(side, oof, 1 - oof)
    wrong = find_label_issues(
        side.astype(int), np.stack([1 - first, first], 1), filter_by="confident_learning", n_jobs=1
    )
    return votes | {"cleanlab, out of fold": np.where(wrong, -1, 1)}


def shares(votes: np.ndarray, right: np.ndarray) -> dict:
    """Precision of keeping and of flipping with intervals, and the shares that are kept and flipped."""
    kept, flipped = right[votes > 0], ~right[votes < 0]
    return {
        "keep": wilson(int(kept.sum()), len(kept)), "kept": len(kept),
        "flip": wilson(int(flipped.sum()), len(flipped)), "flipped": len(flipped), "of": len(votes),
    }  # fmt: skip


def auroc(score: np.ndarray, right: np.ndarray) -> float:
    """Chance that a right label scores higher than a wrong one."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(right, score))


def precision(args) -> None:
    settings = load(args.config)
    con = opened(settings.lake.path)
    scored = Scored(con, settings.seed)
    against = con.execute("SELECT any_value(against) FROM truth").fetchall()[0][0]
    error = settings.people.error if against == "planted" else 0.0
    labelled = np.flatnonzero(scored.known)
    size = min(args.labels, len(labelled) // 2)
    order = np.array(sorted(labelled, key=lambda i: draw(settings.seed, "label", scored.pairs[i])))
    sample, test = order[:size], order[size:]
    print(f"{len(scored.pairs):,} scored pairs; truth ({against}) known for {len(labelled):,}: {size} calibrate, {len(test):,}"
          f" measure; original labels right: {scored.right[labelled].mean():.3f}")  # fmt: skip
    oof = scored.out_of_fold()
    votes, scores = filters(con, scored, oof), {}
    for alpha in ALPHAS:
        p, votes[f"calibrated, alpha {alpha:g}"] = scored.calibrated(sample, error, alpha, settings.seed)
    scores = {"best RM": scored.margins[:, 0], "gold RM": scored.margins[:, 1], "calibrated p": p, "out of fold": oof}
    result = {"name": settings.name, "against": against, "n": len(test), "filters": {}, "auroc": {}, "bound": []}
    print(f"\n{'filter':24s} {'kept right':>26s} {'flipped right':>26s} {'kept':>6s} {'flipped':>8s}")
    for name, v in votes.items():
        s = result["filters"][name] = shares(v[test], scored.right[test])
        cells = [
            "-" if e.value is None else f"{e.value:.3f} [{e.low:.3f}, {e.high:.3f}]" for e in (s["keep"], s["flip"])
        ]
        print(f"{name:24s} {cells[0]:>26s} {cells[1]:>26s} {s['kept'] / s['of']:6.2f} {s['flipped'] / s['of']:8.2f}")
    print("\nfinds wrong labels, AUROC")
    for name, s in scores.items():
        result["auroc"][name] = auroc(s[test], scored.right[test])
        print(f"  {name:16s} {result['auroc'][name]:.3f}")
    print(f"\ncalibrated, over {REDRAWN} draws of the labels (delta {DELTA}): how often the bound is broken, in the stratum"
          " where it is broken most")  # fmt: skip
    for n in [n for n in (100, 200, 400, 800, 1600) if n <= len(labelled) // 2]:
        for alpha in ALPHAS:
            result["bound"].append(row := redrawn(scored, labelled, n, alpha, error))
            print("  n {labels:5d} alpha {alpha:.2f}: kept {kept:.2f} (right {keep_right:.3f}, broken {keep_broken:.2f}), "
                  "flipped {flipped:.2f} (right {flip_right:.3f}, broken {flip_broken:.2f})".format(**row))  # fmt: skip
    _write(args.out, result)


def redrawn(scored: Scored, labelled: np.ndarray, n: int, alpha: float, error: float) -> dict:
    """Means over new draws of n labels, measured on all pairs they are drawn from; NaN where nothing was ever kept or
    flipped. The bound is one for each stratum and side: the worst is told."""
    rng, found = np.random.default_rng(0), []
    broken = dict.fromkeys([(side, name) for side in (1, -1) for name in STRATA], 0)
    right = scored.right[labelled]
    for seed in range(REDRAWN):
        _, votes = scored.calibrated(rng.permutation(labelled)[:n], error, alpha, seed)
        votes = votes[labelled]
        kept, flipped = right[votes > 0], ~right[votes < 0]
        found.append([len(kept) / len(right), kept.mean() if len(kept) else np.nan,
                      len(flipped) / len(right), flipped.mean() if len(flipped) else np.nan])  # fmt: skip
        for side, name in broken:
            acted = (votes == side) & (scored.strata[labelled] == name)
            broken[side, name] += acted.any() and (right[acted] != (side > 0)).mean() > alpha
    kept, keep, flipped, flip = np.array(found).T

    def mean(x):
        return float(np.nanmean(x)) if not np.isnan(x).all() else float("nan")

    return {
        "labels": n, "alpha": alpha, "kept": kept.mean(), "keep_right": mean(keep), "flipped": flipped.mean(),
        "flip_right": mean(flip), "keep_broken": max(broken[1, s] for s in STRATA) / REDRAWN,
        "flip_broken": max(broken[-1, s] for s in STRATA) / REDRAWN,
    }  # fmt: skip


# ---- reward models ---------------------------------------------------------------------------------------------------
def arms(args) -> None:
    settings = load(args.config)
    con = opened(settings.lake.path)
    scored = Scored(con, settings.seed)
    against = con.execute("SELECT any_value(against) FROM truth").fetchall()[0][0]
    error = settings.people.error if against == "planted" else 0.0
    labelled = np.array(
        sorted(np.flatnonzero(scored.known), key=lambda i: draw(settings.seed, "label", scored.pairs[i]))
    )
    sample = labelled[: min(args.labels, len(labelled) // 2)]
    p, calibrated = scored.calibrated(sample, error, args.alpha, settings.seed)
    rule = filters(con, scored, p)["the rule, with judges"]
    con.register("calibrators", pa.table({"pair_id": pa.array([scored.pairs[i] for i in sample], pa.string())}))
    # Planted truth is known everywhere: test on stage 1's sources, without the conversations that somebody was asked about
    # and that the models which clean the arms have learned from. People's labels are few: test on those that calibrated
    # nothing. Either way no conversation of the test is trained on.
    asked = "SELECT cluster_id FROM clean_pool WHERE pair_id IN (SELECT pair_id FROM annotation_batch)"
    where = (
        f"stage <> 'stage2' AND cluster_id NOT IN ({asked})"
        if against == "planted"
        else "pair_id NOT IN (FROM calibrators)"
    )
    con.execute(
        "CREATE TEMP TABLE tested AS SELECT pair_id, cluster_id, conversation, chosen, rejected, original_right FROM truth"
        f" JOIN clean_pool USING (pair_id, stage) WHERE original_right IS NOT NULL AND {where}"
        f" ORDER BY md5(pair_id) LIMIT {TESTED}"
    )
    con.register(
        "pairs_of",
        pa.table({"pair_id": scored.pairs, "rule": rule, "calibrated": calibrated, "p": p,
                  "draw": [draw(settings.seed, "random", x) for x in scored.pairs]}),
    )  # fmt: skip
    con.execute(
        "CREATE TEMP TABLE pool AS SELECT * FROM pairs_of JOIN clean_pool USING (pair_id)"
        " WHERE cluster_id NOT IN (SELECT cluster_id FROM tested)"
        f" ORDER BY md5(pair_id) LIMIT {args.pairs or len(scored.pairs)}"
    )
    kept = con.execute("SELECT count(*) FROM pool WHERE rule = 1").fetchall()[0][0]
    chosen = {  # the pairs, whether they are swapped, the target
        "original": ("true", "false", "1.0"),
        "random, as many as keep-only": (
            f"pair_id IN (SELECT pair_id FROM pool ORDER BY draw LIMIT {kept})",
            "false",
            "1.0",
        ),
        "keep-only": ("rule = 1", "false", "1.0"),
        "drop": ("rule >= 0", "false", "1.0"),
        "flip": ("rule <> 0", "rule < 0", "1.0"),
        "flip-all": ("true", "rule < 1", "1.0"),
        "flip-calibrated": ("calibrated <> 0", "calibrated < 0", "1.0"),
        "soft": ("true", "false", "p"),
    }
    with tempfile.TemporaryDirectory() as folder:
        lake, models, sizes = Lake(folder), {}, {}
        recipe = settings.training.final.model_copy(update={"max_pairs": None})
        for name, (which, swapped, target) in chosen.items():
            pairs = con.sql(
                f"SELECT pair_id, conversation, CASE WHEN {swapped} THEN rejected ELSE chosen END AS chosen,"
                f" CASE WHEN {swapped} THEN chosen ELSE rejected END AS rejected, 1.0::DOUBLE AS weight,"
                f" ({target})::DOUBLE AS target FROM pool WHERE {which}"
            )
            sizes[name], wrong = con.execute(
                f"SELECT count(*), avg((t.original_right = ({swapped}))::INT) FROM pool LEFT JOIN truth t USING (pair_id)"
                f" WHERE {which}"
            ).fetchall()[0]
            known = against == "planted"  # people's labels outside the test are few, and not drawn at random
            print(f"{name}: {sizes[name]:,} pairs" + (f", {wrong:.3f} of them wrong" if known else ""), flush=True)
            for seed in range(args.seeds if sizes[name] else 0):
                models[f"{name}/{seed}"] = _trained(settings, lake, pairs, recipe, seed)
        trained = [name for name, n in sizes.items() if n]
        result = {
            "name": settings.name,
            "against": against,
            "arms": _tested(settings, lake, models, con, trained, args.seeds),
        }
    for name, row in result["arms"].items():
        row["pairs"] = sizes[name]
        seeds = " ".join(f"{a:.3f}" for a in row["seeds"])
        low, high = row["difference"][1:]
        print(f"{name:30s} {row['pairs']:6,} pairs  {row['accuracy']:.3f}  ({seeds})  against keep-only "
              f"{row['difference'][0]:+.3f} [{low:+.3f}, {high:+.3f}]")  # fmt: skip
    print(f"tested on {row['n']:,} pairs ({against})")
    _write(args.out, result)


def _trained(settings: Settings, lake: Lake, pairs, recipe, seed: int) -> str:
    from resources.trainer import train

    run = Run(settings.model_copy(update={"seed": seed}), lake)
    return train(run, kind="final", pairs=pairs, validation=None, recipe=recipe)["path"]


def _tested(settings: Settings, lake: Lake, models: dict, con, trained: list[str], seeds: int) -> dict:
    from resources.trainer import score

    pairs = con.sql("SELECT pair_id, conversation, chosen, rejected FROM tested")
    names = {f"m{i}": path for i, path in enumerate(models.values())}
    con.register("rewards", score(Run(settings, lake), names, pairs))
    columns = ", ".join(f"r_chosen_m{i} - r_rejected_m{i}" for i in range(len(names)))
    by_all = " AND ".join(f"unscored_m{i} IS NULL" for i in range(len(names)))
    rows = con.execute(f"SELECT original_right, {columns} FROM rewards JOIN tested USING (pair_id) WHERE {by_all}"
                   " ORDER BY pair_id").fetchall()  # fmt: skip
    margins = np.array([r[1:] for r in rows]) * np.where([r[0] for r in rows], 1, -1)[:, None]
    credit = (margins > 0) + 0.5 * (margins == 0)
    by_arm = {name: credit[:, i * seeds : (i + 1) * seeds] for i, name in enumerate(trained)}
    base = by_arm["keep-only"].mean(1)
    return {
        name: {"n": len(rows), "accuracy": float(c.mean()), "seeds": [float(x) for x in c.mean(0)],
               "difference": list(paired_difference(c.mean(1), base))}
        for name, c in by_arm.items()
    }  # fmt: skip


# ---- pictures --------------------------------------------------------------------------------------------------------
def plot(args) -> None:
    from matplotlib.figure import Figure

    results = [json.loads(Path(f).read_text(encoding="utf-8")) for f in args.files]
    figure = Figure((5.6 * len(results), 3.8), layout="constrained")
    for axis, result in zip(figure.subplots(1, len(results), squeeze=False)[0], results, strict=True):
        if "filters" in result:
            _plot_filters(axis, result)
        else:
            names = list(result["arms"])[::-1]
            for y, name in enumerate(names):
                row = result["arms"][name]
                axis.plot(row["seeds"], [y] * len(row["seeds"]), "o", color="#4c72b0", alpha=0.5)
                axis.plot(row["accuracy"], y, "|", color="black", markersize=14)
            axis.set(yticks=range(len(names)), yticklabels=names, xlabel="accuracy on pairs of other conversations")
            axis.set_title(
                f"{result['name']}: {result['arms'][names[0]]['n']:,} pairs\n{TRUTH[result['against']]}", fontsize=9
            )
        axis.grid(axis="x", alpha=0.3)
    if handles := figure.axes[0].get_legend_handles_labels()[0]:
        figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=8)
    figure.savefig(args.to, dpi=110, metadata={"Software": None})


def _plot_filters(axis, result: dict) -> None:
    names = list(result["filters"])[::-1]
    for side, colour, shift in (("keep", "#23856d", 0.15), ("flip", "#b8452f", -0.15)):
        found = [(y + shift, result["filters"][n][side]) for y, n in enumerate(names)]
        found = [(y, e) for y, e in found if e[0] is not None]
        values = np.array([e[0] for _, e in found])
        spread = [values - [e[1] for _, e in found], [e[2] for _, e in found] - values]
        label = {"keep": "kept: label right", "flip": "flipped: label wrong"}[side]
        axis.errorbar(values, [y for y, _ in found], xerr=spread, fmt="o", color=colour, capsize=3, label=label)
    for y, n in enumerate(names):
        if not result["filters"][n]["kept"] + result["filters"][n]["flipped"]:
            axis.text(0.02, y, "abstains", va="center", fontsize=8, color="#666666")
    axis.set(yticks=range(len(names)), yticklabels=names, xlim=(0, 1), ylim=(-0.5, len(names) - 0.5),
             xlabel="precision, 95 %")  # fmt: skip
    axis.set_title(f"{result['name']}: {result['n']:,} pairs\n{TRUTH[result['against']]}", fontsize=9)


def _write(path: Path | None, result: dict) -> None:
    if path:
        path.write_text(json.dumps(result, indent=1), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, do in (("precision", precision), ("arms", arms)):
        sub = commands.add_parser(name)
        sub.add_argument("config")
        sub.add_argument("--labels", type=int, default=400, help="random human labels to calibrate on, at most half")
        sub.add_argument("--out", type=Path, help="write the figures here, for `plot`")
        sub.set_defaults(do=do)
    sub.add_argument("--alpha", type=float, default=0.2, help="bound of flip-calibrated")
    sub.add_argument("--pairs", type=int, help="of the pool, drawn by hash; every arm is made from them")
    sub.add_argument("--seeds", type=int, default=3)
    sub = commands.add_parser("plot")
    sub.add_argument("files", nargs="+")
    sub.add_argument("--to", required=True)
    sub.set_defaults(do=plot)
    args = parser.parse_args()
    args.do(args)


if __name__ == "__main__":
    main()
