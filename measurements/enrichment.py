"""Does retrieval find a weak region? A planted one, against a random draw of the same size.

    python -m measurements.enrichment [--seeds 2] [--regions 6] [--out DIR]

The generated world, a new reward model trained as in the demo, the product's vectors, index, k rule and policy. The
region is one family of topics: its silver labels are all swapped, as if every judge shared a blind spot, so that the
model learns the opposite there. Gold is right. The gold pairs that the model has wrong then retrieve from an
unlabelled pool; the figure is the share of the region among what is retrieved, beside a random draw and beside the same
with nothing swapped (the control: no weak region, so nothing to find). 95 % intervals, Wilson's and Newcombe's.
"""

import argparse
import csv
import json
import tempfile
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation.identity import pair_id
from curation.intervals import difference, wilson
from curation.selection import select
from curation.tables import CONVERSATION
from resources.lake import Lake
from resources.retrieval.embedder import embed
from resources.retrieval.vectors import Index
from resources.settings import Embedding
from simulation.world import generate
from sql import statement
from training.job import TrainJob, TrainRecipe
from training.model import load_model
from training.score import score
from training.train import train

GOLD, SILVER, BATCH = 200, 600, 150
RECIPE = TrainRecipe(epochs=4, global_batch_size=16, learning_rate=2e-3, evaluations=2)
FIELDS = ["region", "seed", "planted", "asks", "accuracy_there", "accuracy_elsewhere", "retrieved", "random", "pool"]
FIELDS += ["low", "high", "n"]  # of retrieved - random, and pairs of each


def pairs_of(seed: int) -> list[dict]:
    """Every comparison of a generated world once, in the true order, with its attributes."""
    found = {}
    for record in generate(6000, seed, 0.5).rows():
        c = record.comparison
        if record.kind in ("plain", "noisy") and c.gap > 0:
            turns = [{"role": r, "content": t} for r, t in c.conversation]
            name = pair_id(turns, c.better, c.worse)
            attributes = {
                f: getattr(c.topic, f) for f in ("category", "objectivity", "controversiality", "desired", "guideline")
            }
            found[name] = {
                "pair_id": name, "conversation": turns, "chosen": c.better, "rejected": c.worse,
                "region": c.topic.family, **attributes,
            }  # fmt: skip
    rows = [found[p] for p in sorted(found)]
    np.random.default_rng(seed).shuffle(rows)
    return rows


def swapped(row: dict) -> dict:
    return row | {"chosen": row["rejected"], "rejected": row["chosen"]}


def learned(folder: Path, silver: list[dict], gold: list[dict], seed: int) -> np.ndarray:
    """p of the gold pairs in the human order, by a model trained on silver."""
    for name, rows in (("train", silver), ("validation", gold)):
        columns = {k: pa.array([r[k] for r in rows]) for k in ("pair_id", "chosen", "rejected")}
        columns["conversation"] = pa.array([r["conversation"] for r in rows], CONVERSATION)
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")
    files = {name: folder / f"{name}.parquet" for name in ("train", "validation")}
    train(TrainJob(**files, recipe=RECIPE, max_tokens=256, seed=seed, out=folder / "out"))
    turns = [r["conversation"] for r in gold for _ in range(2)]
    answers = [r[c] for r in gold for c in ("chosen", "rejected")]
    rewards, _ = score(load_model(folder / "out" / "model"), turns, answers, max_tokens=256, budget=4096)
    return 1 / (1 + np.exp(rewards[1::2] - rewards[::2]))


def asked_for(p: np.ndarray, k_max: int = 8) -> list[int]:
    """How many neighbours each gold pair asks for."""
    with duckdb.connect() as con:
        con.execute(statement("macros"))
        rows = con.sql(
            "SELECT k_for(p, $k_max) FROM (SELECT unnest($p) AS p)", params={"p": p.tolist(), "k_max": k_max}
        )
        return [k for (k,) in rows.fetchall()]


def one(rows: list[dict], region: str, planted: bool, seed: int) -> list[dict]:
    """One training; a row for every gold pair asking (the default) and one for only those that are wrong."""
    gold, silver, pool = rows[:GOLD], rows[GOLD : GOLD + SILVER], rows[GOLD + SILVER :]
    if planted:
        silver = [swapped(r) if r["region"] == region else r for r in silver]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        p = learned(folder, silver, gold, seed)
        vectors = {}
        for part in (pool, gold):
            batches = [pa.RecordBatch.from_pylist([{k: v for k, v in r.items() if k != "region"} for r in part])]
            vectors |= {b["pair_id"]: b["vector"] for batch in embed(Embedding(), batches) for b in batch.to_pylist()}
        table = pa.table(
            {
                "pair_id": [r["pair_id"] for r in pool],
                "cluster_id": [r["pair_id"] for r in pool],
                "vector": pa.array([vectors[r["pair_id"]] for r in pool], pa.list_(pa.float32())),
            }
        )
        index = Index(Lake(str(folder / "lake")), "pool", table.to_reader(), len(vectors[pool[0]["pair_id"]]))
        near: dict[str, dict[str, float]] = {"all gold": {}, "only errors": {}}
        for row, x, k in zip(gold, p, asked_for(p), strict=True):
            for found, similarity in index.nearest(vectors[row["pair_id"]], k, row["pair_id"]):
                for asks, best in near.items():
                    if asks == "all gold" or x <= 0.5:
                        best[found] = max(similarity, best.get(found, -1.0))
    there = {r["pair_id"] for r in pool if r["region"] == region}
    inside = np.array([r["region"] == region for r in gold])
    done = []
    for asks, best in near.items():
        names = [r["pair_id"] for r in pool]
        similarity = pa.array([best.get(n) for n in names], pa.float64())
        candidates = pa.table({"pair_id": names, "similarity": similarity})
        chosen = select("paper", candidates, BATCH, 0, str(seed))["pair_id"].to_pylist()
        drawn = select("random", candidates, len(chosen), 0, str(seed))["pair_id"].to_pylist()
        found, by_chance = wilson(len(there & set(chosen)), len(chosen)), wilson(len(there & set(drawn)), len(drawn))
        gain = difference(found, by_chance)
        done.append({
            "region": region, "seed": seed, "planted": planted, "asks": asks,
            "accuracy_there": float((p[inside] > 0.5).mean()), "accuracy_elsewhere": float((p[~inside] > 0.5).mean()),
            "retrieved": found.value, "random": by_chance.value, "pool": len(there) / len(pool), "low": gain.low,
            "high": gain.high, "n": len(chosen),
        })  # fmt: skip
    return done


def summary(rows: list[dict]) -> list[dict]:
    """Share of the region over all runs of one kind together, and how much more than at random."""
    done = []
    for asks in ("all gold", "only errors"):
        for planted in (True, False):
            some = [r for r in rows if r["asks"] == asks and r["planted"] is planted]
            n = sum(r["n"] for r in some)
            found, by_chance = (wilson(round(sum(r[w] * r["n"] for r in some)), n) for w in ("retrieved", "random"))
            kind = {"asks": asks, "region": "planted" if planted else "control", "pairs": n}
            gain = difference(found, by_chance)
            done.append(kind | {"retrieved": found, "random": by_chance, "difference": gain})
    return done


def draw(found: list[dict], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((7, 2.8), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.add_subplot()
    places = range(len(found))[::-1]
    for which, colour, shift in (("retrieved", "#2b6591", 0.12), ("random", "#8b97a3", -0.12)):
        at = [p + shift for p in places]
        value = [r[which].value for r in found]
        spread = [[v - r[which].low for v, r in zip(value, found, strict=True)],
                  [r[which].high - v for v, r in zip(value, found, strict=True)]]  # fmt: skip
        axis.errorbar(value, at, xerr=spread, fmt="o", markersize=5, capsize=3, color=colour, label=which)
    axis.set_yticks(places, [f"{r['region']}, {r['asks']} ask" for r in found], fontsize=8)
    axis.set_xlabel("share of the region among the pairs selected (95 % intervals)")
    axis.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--regions", type=int, default=6)
    parser.add_argument("--out", type=Path, default=Path("bench-enrichment"))
    a = parser.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    rows = []
    with (a.out / "enrichment.csv").open("w", newline="") as file:
        out = csv.DictWriter(file, FIELDS)
        out.writeheader()
        for seed in range(a.seeds):
            world = pairs_of(seed)
            for region in sorted({r["region"] for r in world})[: a.regions]:
                for planted in (True, False):
                    for row in one(world, region, planted, seed):
                        rows.append(row)
                        out.writerow(row)
                        shown = {k: f"{v:.3f}" if isinstance(v, float) else v for k, v in row.items()}
                        print("  ".join(f"{k}={v}" for k, v in shown.items()), flush=True)
                    file.flush()
    found = summary(rows)
    (a.out / "enrichment.json").write_text(json.dumps(found, indent=1))
    draw(found, a.out / "enrichment.png")
    for r in found:
        three = {w: "{:.3f} ({:.3f} to {:.3f})".format(*r[w]) for w in ("retrieved", "random", "difference")}
        print(f"{r['region']:8} {r['asks']:12}  " + "  ".join(f"{w} {v}" for w, v in three.items()))


if __name__ == "__main__":
    main()
