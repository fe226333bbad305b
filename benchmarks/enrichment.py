"""Does retrieval find a weak region? A planted one, against a random draw of the same size.

    python -m benchmarks.enrichment [--seeds 2] [--regions 6] [--out DIR]

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

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation.identity import pair_id
from curation.intervals import Estimate, difference, wilson
from curation.neighbours import k_for
from curation.selection import select
from curation.world import generate
from resources.embedder import embed
from resources.lake import Lake
from resources.settings import Backbone, Embedding, Recipe
from resources.tables import CONVERSATION
from resources.vectors import Index
from training.model import load_model
from training.score import score
from training.train import train

GOLD, SILVER, BATCH = 200, 600, 150
RECIPE = Recipe(epochs=4, batch_pairs=16, learning_rate=2e-3, evaluations=2)
FIELDS = ["region", "seed", "planted", "accuracy_there", "accuracy_elsewhere", "retrieved", "random", "pool", "low", "high"]


def pairs_of(seed: int) -> list[dict]:
    """Every comparison of a generated world once, in the true order, with its attributes."""
    found = {}
    for record in generate(6000, seed, 0.5).rows():
        c = record.comparison
        if record.kind in ("plain", "noisy") and c.gap > 0:
            turns = [{"role": r, "content": t} for r, t in c.conversation]
            name = pair_id(turns, c.better, c.worse)
            attributes = {f: getattr(c.topic, f) for f in ("category", "objectivity", "controversiality", "desired", "guideline")}
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
    train(
        {
            "train": str(folder / "train.parquet"), "validation": str(folder / "validation.parquet"),
            "backbone": Backbone().model_dump(mode="json"), "recipe": RECIPE.model_dump(mode="json"), "max_tokens": 256,
            "tokens_per_microbatch": 4096, "zero_stage": 1, "seed": seed, "out": str(folder / "out"),
        }
    )  # fmt: skip
    turns = [r["conversation"] for r in gold for _ in range(2)]
    answers = [r[c] for r in gold for c in ("chosen", "rejected")]
    rewards, _ = score(load_model(folder / "out" / "model"), turns, answers, max_tokens=256, budget=4096)
    return 1 / (1 + np.exp(rewards[1::2] - rewards[::2]))


def one(rows: list[dict], region: str, planted: bool, seed: int) -> dict:
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
        near: dict[str, float] = {}
        for row, x in zip(gold, p, strict=True):
            for found, similarity in index.nearest(vectors[row["pair_id"]], k_for(float(x)), row["pair_id"]):
                near[found] = max(similarity, near.get(found, -1.0))
    candidates = pa.table(
        {
            "pair_id": [r["pair_id"] for r in pool],
            "similarity": pa.array([near.get(r["pair_id"]) for r in pool], pa.float64()),
        }
    )
    there = {r["pair_id"] for r in pool if r["region"] == region}
    chosen = select("paper", candidates, BATCH, 0, str(seed))["pair_id"].to_pylist()
    drawn = select("random", candidates, len(chosen), 0, str(seed))["pair_id"].to_pylist()
    inside = np.array([r["region"] == region for r in gold])
    found, by_chance = wilson(len(there & set(chosen)), len(chosen)), wilson(len(there & set(drawn)), len(drawn))
    gain = difference(found, by_chance)
    return {
        "region": region, "seed": seed, "planted": planted, "accuracy_there": (p[inside] > 0.5).mean(),
        "accuracy_elsewhere": (p[~inside] > 0.5).mean(), "retrieved": found.value, "random": by_chance.value,
        "pool": len(there) / len(pool), "low": gain.low, "high": gain.high, "n": len(chosen),
    }  # fmt: skip


def summary(rows: list[dict]) -> dict[str, Estimate]:
    """Share of the region, all runs of one kind together."""
    def share(which: str, planted: bool) -> Estimate:
        some = [r for r in rows if r["planted"] is planted]
        return wilson(round(sum(r[which] * r["n"] for r in some)), sum(r["n"] for r in some))

    found = {f"{w}, {'planted' if p else 'control'}": share(w, p) for p in (True, False) for w in ("retrieved", "random")}
    for kind in ("planted", "control"):
        found[f"retrieved - random, {kind}"] = difference(found[f"retrieved, {kind}"], found[f"random, {kind}"])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--regions", type=int, default=6)
    parser.add_argument("--out", type=Path, default=Path("bench-enrichment"))
    a = parser.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    rows = []
    with (a.out / "enrichment.csv").open("w", newline="") as file:
        out = csv.DictWriter(file, [*FIELDS, "n"])
        out.writeheader()
        for seed in range(a.seeds):
            world = pairs_of(seed)
            for region in sorted({r["region"] for r in world})[: a.regions]:
                for planted in (True, False):
                    rows.append(one(world, region, planted, seed))
                    out.writerow(rows[-1])
                    file.flush()
                    shown = {k: f"{v:.3f}" if isinstance(v, float) else v for k, v in rows[-1].items()}
                    print("  ".join(f"{k}={v}" for k, v in shown.items()), flush=True)
    found = {k: e._asdict() for k, e in summary(rows).items()}
    (a.out / "enrichment.json").write_text(json.dumps(found, indent=1))
    for name, e in found.items():
        print(f"{name:32} {e['value']:.3f}  ({e['low']:.3f} to {e['high']:.3f})")


if __name__ == "__main__":
    main()
