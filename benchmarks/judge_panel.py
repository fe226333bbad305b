"""What recorded judges are worth, and whether weights beat counting heads: LLMBar's six judges in both orders.

    python benchmarks/judge_panel.py [--plot panel.png]

Reads `gold/llmbar.jsonl.zst` and `gold/llmbar_judges.parquet` under $ASSAY_SHARED/data. The truth is what people or the
authors decided. Every fitted figure is on pairs that the fit did not see (five folds); intervals are 95 %.
"""

import argparse
import os
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from curation.intervals import paired_difference, wilson
from curation.judge_cards import cards
from curation.panel import Ballots, ballots, dawid_skene, effective_votes, stack, stacked

DATA = Path(os.environ.get("ASSAY_SHARED", Path(__file__).parents[2] / "shared")) / "data" / "gold"


def recorded() -> tuple[pa.Table, pa.Table]:
    """Votes as in `judge_votes`, and what people decided. Output 1 stands as the chosen response: an arbitrary order
    that carries no label."""
    with duckdb.connect() as con:
        votes = con.sql(
            f"""SELECT subset || '/' || idx AS pair_id, judge, judge AS model,
                CASE "order" WHEN 'original' THEN 0 ELSE 1 END AS replicate,
                CASE "order" WHEN 'original' THEN 'chosen' ELSE 'rejected' END AS shown_first,
                CASE WHEN winner IS NULL THEN ''
                    WHEN (winner = '1') = ("order" = 'original') THEN 'candidate_1' ELSE 'candidate_2' END AS answer,
                CASE winner WHEN '1' THEN 'original' WHEN '2' THEN 'swapped' ELSE 'none' END AS vote,
                CASE WHEN winner IS NULL THEN 'unparsable' ELSE 'ok' END AS status
            FROM '{DATA / "llmbar_judges.parquet"}'
            WHERE strategy = 'Vanilla' AND stage = 0 AND "order" IN ('original', 'swapped')"""
        ).to_arrow_table()
        known = con.sql(
            f"""SELECT _subset || '/' || _idx AS pair_id, split_part(_subset, '/', 1) || '/' ||
                CASE WHEN _subset LIKE '%Adversarial%' THEN 'Adversarial' WHEN _subset LIKE 'LLMBar%' THEN 'Natural'
                    ELSE 'other' END AS stratum,
                CASE label WHEN 1 THEN 'original' ELSE 'swapped' END AS "order",
                length(output_1) AS chosen_chars, length(output_2) AS rejected_chars
            FROM '{DATA / "llmbar.jsonl.zst"}' WHERE pair_id IN (SELECT pair_id FROM votes)"""
        ).to_arrow_table()
    return votes, known


def methods(made: Ballots, truth: np.ndarray, folds: int = 5) -> dict[str, np.ndarray]:
    """Credit a pair, by method: 1 right, 0 wrong, a half for a tie."""
    judges = sorted({j for j, _ in made.workers})
    one_order = [i for i, (_, first) in enumerate(made.workers) if first == "chosen"]
    per_judge = np.stack(
        [np.sign(made.cast[:, [i for i, w in enumerate(made.workers) if w[0] == j]].sum(1)) for j in judges], axis=1
    )

    def credit(score):
        return np.where(score == 0, 0.5, (score > 0) == truth)

    fold = np.random.default_rng(0).permutation(len(truth)) % folds
    weighed, best = np.zeros(len(truth)), np.zeros(len(truth))
    for k in range(folds):
        seen = fold != k
        weights = stack(made.cast[seen], truth[seen])
        weighed[~seen] = stacked(made.cast[~seen], weights) - 0.5
        good = max(range(len(judges)), key=lambda j: credit(per_judge[:, j])[seen].mean())
        best[~seen] = per_judge[~seen, good]
    return {
        "majority, one order": credit(np.sign(made.cast[:, one_order].sum(1))),
        "majority, both orders": credit(np.sign(per_judge.sum(1))),
        "Dawid-Skene, both orders": credit(np.round(dawid_skene(made.cast) - 0.5, 9)),
        "stacking on gold": credit(weighed),
        "best judge on gold": credit(best),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plot", type=Path, help="write a picture of the report cards here")
    options = parser.parse_args()
    votes, known = recorded()
    card = cards(votes, known).to_pylist()
    figures = ["agrees_with_people", "prefers_first", "flips_with_order", "prefers_longer", "decides"]
    print(f"{known.num_rows} pairs\n\n{'judge':14s} " + " ".join(f"{f:>20s}" for f in figures))
    for judge in sorted({r["judge"] for r in card}):
        row = {r["figure"]: r for r in card if r["judge"] == judge and r["stratum"] == "all"}
        cells = [f"{row[f]['share']:.3f} [{row[f]['low']:.3f},{row[f]['high']:.3f}]" for f in figures]
        print(f"{judge:14s} " + " ".join(f"{c:>20s}" for c in cells))

    made = ballots(votes)
    order = dict(zip(known["pair_id"].to_pylist(), known["order"].to_pylist(), strict=True))
    by_stratum = dict(zip(known["pair_id"].to_pylist(), known["stratum"].to_pylist(), strict=True))
    truth = np.array([order[p] == "original" for p in made.pairs])
    strata = np.array([by_stratum[p] for p in made.pairs])
    for name, part in [("all", np.ones(len(truth), bool)), *((s, strata == s) for s in sorted(set(strata)))]:
        sub = Ballots(made.pairs, made.workers, made.cast[part])
        found = methods(sub, truth[part])
        one = np.stack([(made.cast[part][:, i] > 0) == truth[part] for i, w in enumerate(made.workers)
                        if w[1] == "chosen"], axis=1)  # fmt: skip
        print(f"\n{name}: {part.sum()} pairs, {one.shape[1]} judges with {effective_votes(one):.2f} effective votes")
        base = found["majority, both orders"]
        for method, credit in found.items():
            w, d = wilson(float(credit.sum()), len(credit)), paired_difference(credit, base)
            print(f"  {method:26s} {w.value:.3f} [{w.low:.3f}, {w.high:.3f}]   "
                  f"against both orders {d.value:+.3f} [{d.low:+.3f}, {d.high:+.3f}]")  # fmt: skip
    if options.plot:
        plot(card, figures[:4], options.plot)


def plot(card: list[dict], figures: list[str], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    judges = sorted({r["judge"] for r in card})
    canvas, axes = pyplot.subplots(1, len(figures), figsize=(3.2 * len(figures), 3), sharey=True, layout="constrained")
    for axis, figure in zip(axes, figures, strict=True):
        rows = [next(r for r in card if (r["judge"], r["stratum"], r["figure"]) == (j, "all", figure)) for j in judges]
        share = np.array([r["share"] for r in rows])
        spread = [share - [r["low"] for r in rows], [r["high"] for r in rows] - share]
        axis.errorbar(share, judges, xerr=spread, fmt="o", capsize=3)
        axis.set(title=figure.replace("_", " "), xlim=(0, 1))
        axis.axvline(0.5, color="grey", linewidth=0.8, linestyle=":")
        axis.grid(axis="x", alpha=0.3)
    canvas.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
