"""Calibrated decisions: the promised bound holds, in simulation; abstention, soft labels, the rule file (O-04)."""

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest

from assets import release, stage2
from assets.table_asset import Run, publish
from curation.calibration import (
    LEAST,
    Sample,
    TooFew,
    calibrate,
    equal_chance,
    fit,
    fixed_sequence,
    probability,
    strata,
)
from curation.partition import STRATA, Calibration, Rule, RuleError, Thresholds, loads
from resources import tables as t
from resources.lake import Lake
from sql import statement

from .lakes import make, put, query, settings
from .test_partition import applied

MODELS = ("m", "n")


def world(n: int, rng, tilt: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Margins of two models [n, 2], the chance that the label is right, and whether it is. The models are over-confident
    and wrong in a corner (`tilt`), so that the fitted probabilities are not true ones."""
    margins = rng.normal(0.4, 1.5, (n, 2))
    logit = 0.7 * margins[:, 0] + 0.9 * margins[:, 1] - tilt * (margins[:, 0] > 2) * 2.5
    chance = 1 / (1 + np.exp(-logit))
    return margins, chance, rng.random(n) < chance


def sample(margins, right, inclusion=None) -> Sample:
    ids = [f"p{i}" for i in range(len(right))]
    return Sample(ids, ids, margins, right, np.ones(len(right)) if inclusion is None else inclusion)


def errors(found: Calibration, margins: np.ndarray, chance: np.ndarray) -> dict[tuple[str, str], float]:
    """True share of wrong decisions in the whole world, of each stratum and side that decides at all."""
    p = probability((found.intercept, found.best, found.gold), margins)
    group, out = strata(margins), {}
    for name, thresholds in found.thresholds.items():
        for side, q, right in (("keep", p, chance), ("flip", 1 - p, 1 - chance)):
            bound = getattr(thresholds, side)
            taken = (group == name) & (q >= bound) if bound is not None else np.zeros(len(p), bool)
            if taken.any():
                out[name, side] = float(1 - right[taken].mean())
    return out


def test_the_bound_is_broken_no_more_often_than_promised():
    """60 samples of 500 labels from a world that the logistic curve does not fit."""
    rng = np.random.default_rng(0)
    everyone, chance, _ = world(20_000, rng, tilt=1.0)
    alpha, delta, trials = 0.15, 0.1, 60
    broken, decided = dict.fromkeys([(s, a) for s in STRATA for a in ("keep", "flip")], 0), set()
    for seed in range(trials):
        margins, _, right = world(500, rng, tilt=1.0)
        found = errors(
            calibrate(sample(margins, right), models=MODELS, alpha=alpha, delta=delta, seed=seed), everyone, chance
        )
        decided |= found.keys()
        for key, error in found.items():
            broken[key] += error > alpha
    allowed = trials * delta + 3 * np.sqrt(trials * delta * (1 - delta))
    assert all(n <= allowed for n in broken.values()), broken
    assert {("agree", "keep"), ("reject", "flip")} <= decided


def test_unequal_inclusion_is_undone_before_the_test():
    """Half of the world is labelled wrong more often and drawn ten times less; who forgets that breaks the bound."""
    rng = np.random.default_rng(1)
    alpha, delta, trials, broken = 0.15, 0.1, 30, {True: 0, False: 0}
    for seed in range(trials):
        n = 4000
        margins = np.full((n, 2), 2.0) + rng.normal(0, 0.01, (n, 2))
        hard = rng.random(n) < 0.5
        right = rng.random(n) < np.where(hard, 0.70, 0.95)  # 17.5 % wrong in all: nothing may be kept
        inclusion = np.where(hard, 0.02, 0.2)
        drawn = rng.random(n) < inclusion
        for known in (True, False):
            pi = inclusion[drawn] if known else np.ones(drawn.sum())
            found = calibrate(
                sample(margins[drawn], right[drawn], pi), models=MODELS, alpha=alpha, delta=delta, seed=seed
            )
            broken[known] += found.thresholds["agree"].keep is not None
    assert broken[True] <= trials * delta + 3 * np.sqrt(trials * delta * (1 - delta))
    assert broken[False] > trials / 2


def test_thinning_gives_all_the_same_chance():
    inclusion = np.repeat([0.1, 0.5], 5000)
    kept = equal_chance(sample(np.zeros((10_000, 2)), np.ones(10_000, bool), inclusion), seed=3)
    assert kept[:5000].all()
    assert abs(kept[5000:].mean() - 0.2) < 0.02


def test_probabilities_are_calibrated():
    rng = np.random.default_rng(2)
    margins, _, right = world(4000, rng)
    fitted = fit(margins, right, np.ones(4000))
    assert np.allclose(fitted, (0.0, 0.7, 0.9), atol=0.12)
    fresh, chance, _ = world(4000, rng)
    p = probability(fitted, fresh)
    for low in np.arange(0.1, 0.9, 0.2):
        inside = (p >= low) & (p < low + 0.2)
        assert abs(p[inside].mean() - chance[inside].mean()) < 0.05


def test_the_sequence_stops_at_its_first_failure_and_abstains_without_evidence():
    p = np.repeat([0.95, 0.85, 0.75], [200, 200, 600])
    right = np.ones(1000, bool)
    assert fixed_sequence(p, right, 0.05, 0.1) == 0.5
    right[200:220] = False  # the middle is bad; the end would pass again, and is not reached
    assert fixed_sequence(p, right, 0.05, 0.1) == 0.86
    right[:] = False
    assert fixed_sequence(p, right, 0.05, 0.1) is None
    assert fixed_sequence(p[:44], np.ones(44, bool), 0.05, 0.1) is None  # ln(0.1) / ln(0.95) = 44.9 labels at the least
    assert fixed_sequence(p[:45], np.ones(45, bool), 0.05, 0.1) == 0.5
    right = np.ones(600, bool)
    right[0] = False  # one error among the first few ends nothing
    assert fixed_sequence(np.linspace(0.99, 0.5, 600), right, 0.05, 0.1) == 0.5


def test_too_few_labels_are_refused():
    margins, _, right = world(LEAST - 1, np.random.default_rng(0))
    with pytest.raises(TooFew, match=f"needs at least {LEAST}"):
        calibrate(sample(margins, right), models=MODELS, alpha=0.1, delta=0.1, seed=0)


# ---- in the lake ---------------------------------------------------------------------------------------------------
FOUND = Calibration(
    best_model="m", gold_model="n", intercept=0.0, best=1.0, gold=1.0, fitted_on=50, tested_on=50, alpha=0.1, delta=0.1,
    thresholds={"agree": Thresholds(keep=0.9), "reject": Thresholds(flip=0.8), "split": Thresholds()},
)  # fmt: skip


NOBODY = pa.table({"pair_id": pa.array([], pa.string()), "verdict": pa.array([], pa.string())})


def scored(margins: list[tuple[float, float] | None]) -> pa.Table:
    rows = []
    for i, m in enumerate(margins):
        row = dict.fromkeys(t.SCORES.schema.names) | {"pair_id": f"{i:02d}", "best_model": "m", "gold_model": "n"}
        for name, value in zip(("best", "gold"), m or (), strict=False):
            row |= {f"r_chosen_{name}": value, f"r_rejected_{name}": 0.0, f"p_{name}": 1 / (1 + np.exp(-value))}
        rows.append(row | ({} if m else {"unscored": "over_length"}))
    return pa.Table.from_pylist(rows, t.SCORES.schema)


def test_a_calibrated_rule_keeps_flips_and_abstains_by_stratum():
    """P = sigmoid of the sum of both margins: 0.953, 0.731, 0.119, 0.378, 0.982 (split), none."""
    rule = loads(Rule(decision="calibrated", calibration=FOUND).dumps())
    rows = applied(
        rule, scored([(1, 2), (0.5, 0.5), (-1, -1), (-0.25, -0.25), (5, -1), None]),
        pa.Table.from_pylist([{"pair_id": "01", "verdict": "original"}]),
    )  # fmt: skip
    assert [r["class"] for r in rows] == ["keep", "drop", "flip", "drop", "drop", "drop"]
    assert [r["reason"] for r in rows] == [
        "calibrated",
        "abstained",
        "calibrated",
        "abstained",
        "abstained",
        "over_length",
    ]
    assert [r["p_right"] and round(r["p_right"], 3) for r in rows] == [0.953, 0.731, 0.119, 0.378, 0.982, None]
    assert {r["j"] for r in rows} == {""} and rows[0]["rule"].startswith("v2 calibrated alpha=0.1 delta=0.1 #")


def test_thresholds_apply_to_the_strata_and_probabilities_they_were_tested_on():
    """The fit is numpy and the rule is SQL: the same stratum and the same probability for every pair."""
    rng = np.random.default_rng(4)
    margins = np.round(rng.normal(0, 1.5, (90, 2)), 3)
    found = FOUND.model_copy(update={"intercept": -0.3, "best": 0.7, "gold": 1.1})
    rows = applied(Rule(calibration=found, band=0.1), scored([tuple(m) for m in margins]), NOBODY)
    assert np.allclose([r["p_right"] for r in rows], probability((-0.3, 0.7, 1.1), margins), atol=1e-12)
    votes = [{"++": "agree", "--": "reject"}.get(r["b"] + r["g"], "split") for r in rows]
    assert votes == list(strata(margins, 0.5, 0.1)) and set(votes) == set(STRATA)


def test_a_calibration_is_for_its_own_models():
    strange = FOUND.model_copy(update={"gold_model": "another"})
    with pytest.raises(RuleError, match="calibrated on the models m and another"):
        applied(
            Rule(calibration=strange), scored([(1, 1)]), pa.Table.from_pylist([{"pair_id": "x", "verdict": "original"}])
        )


def labelled(root, n: int) -> Lake:
    """Gold of role calibration, half of it drawn at random, and two models that only exist by name."""
    lake = Lake(str(root))
    pairs = [f"g{i:03d}" for i in range(n)]
    put(lake, t.CLEAN_POOL, [{"pair_id": p} for p in pairs], "b00")
    lake.write(t.BEST_RM, pa.Table.from_pylist([{"iteration": "iter_00", "model_id": "m", "path": "x", "pairs": 1,
                                                 "accuracy": 1.0, "best": True}], t.BEST_RM.schema))  # fmt: skip
    row = {f.name: "n" if pa.types.is_string(f.type) else 0 for f in t.GOLD_RM.schema}
    lake.write(t.GOLD_RM, pa.Table.from_pylist([row], t.GOLD_RM.schema))
    for key in ("iter_00", "iter_01", "iter_02"):
        here = pairs if key == "iter_00" else []
        put(lake, t.GOLD, [{"pair_id": p, "role": "calibration" if i % 4 else "train", "order": "original" if i % 5 else
                            "swapped"} for i, p in enumerate(here)], key)  # fmt: skip
        put(lake, t.ANNOTATION_BATCH, [{"pair_id": p, "assigned_to": "people", "why": "seed" if i % 2 else "retrieved",
                                        "inclusion": 0.5 if i % 2 else 1.0} for i, p in enumerate(here)], key)  # fmt: skip
    return lake


def test_only_random_calibration_gold_is_used_and_its_absence_named(tmp_path):
    lake = labelled(tmp_path, 60)
    with lake.connect() as con:
        rows = con.sql(statement("calibration_gold")).fetchall()
    assert [r[0] for r in rows] == [f"g{i:03d}" for i in range(60) if i % 4 and i % 2]


@pytest.mark.parametrize("sections", [{"stage2": {"decision": "calibrated"}}, {"training": {"arms": ["soft"]}}])
def test_without_enough_labels_the_step_fails_and_says_what_is_missing(tmp_path, monkeypatch, sections):
    lake = labelled(tmp_path, 60)
    monkeypatch.setattr("resources.trainer.score", fake_scores)
    with pytest.raises(dg.Failure, match=r"30 random human labels of role calibration.*needs at least 40.*seed_people"):
        make(stage2.decision_rule, lake, **sections)


def fake_scores(run, names, pairs) -> pa.Table:
    """Rewards that know the truth, more or less; the scoring program has tests of its own."""
    ids = sorted(r[0] for r in pairs.fetchall())
    rng = np.random.default_rng(5)
    sign = [1.0 if int(i[1:]) % 5 else -1.0 for i in ids]
    columns = {"pair_id": pa.array(ids)}
    for name in names:
        columns |= {
            f"r_chosen_{name}": pa.array(sign + rng.normal(0, 0.4, len(ids))),
            f"r_rejected_{name}": pa.array([0.0] * len(ids)),
        }
    return pa.table(columns | {"unscored": pa.nulls(len(ids), pa.string())})


def test_calibrated_decisions_reach_the_release_and_the_soft_arm(tmp_path, monkeypatch):
    lake = labelled(tmp_path, 600)
    monkeypatch.setattr("resources.trainer.score", fake_scores)
    sections = {"stage2": {"decision": "calibrated"}}
    make(stage2.decision_rule, lake, **sections)
    rule = loads(query(lake, "SELECT file FROM decision_rule")[0][0])
    assert rule.calibration.fitted_on + rule.calibration.tested_on == 300
    assert rule.calibration.thresholds["agree"].keep is not None
    pool = ["00", "01", "02"]
    put(lake, t.CLEAN_POOL, [{"pair_id": p, "chosen": f"c{p}", "rejected": f"r{p}"} for p in pool], "b00")
    lake.write(t.SCORES, scored([(3, 3), (-3, -3), (0.1, -0.1)]), "b00")
    run = Run(settings(**sections), lake, "b00")
    list(publish(stage2.routed, run))
    assert query(lake, "SELECT count(*) FROM routed") == [(0,)]
    lake.write(t.STAGE2_VERDICTS, [], "b00")
    for step in (stage2.decisions, stage2.partition):
        list(publish(step, run))
    classes = query(lake, "SELECT class FROM decisions ORDER BY pair_id")
    assert classes == [("keep",), ("flip",), ("drop",)]
    for key in ("iter_00", "iter_01", "iter_02"):
        put(lake, t.GOLD, [], key)
        put(lake, t.SILVER, [], key)
    for table in (t.ATTRIBUTES, t.STAGE2_ATTRIBUTES):
        lake.write(table, [], "b00")
    source = {f.name: {pa.string(): "s", pa.bool_(): True}.get(f.type, 0) for f in t.SOURCES.schema}
    lake.write(t.SOURCES, pa.Table.from_pylist([source], t.SOURCES.schema))
    for step in (release.release_curated, release.release_corrected):
        list(publish(step, run))
    p = dict(query(lake, "SELECT pair_id, p_right FROM decisions"))
    assert query(lake, "SELECT pair_id, chosen, p_right FROM release_corrected ORDER BY 1") == [
        ("00", "c00", p["00"]), ("01", "r01", 1 - p["01"])
    ]  # fmt: skip
    with lake.connect() as con:
        soft = con.sql(statement("arm_pairs").format(arm="soft", seed=0, limit=9)).to_arrow_table().to_pylist()
    assert {r["pair_id"]: (r["chosen"], r["target"]) for r in soft} == {i: (f"c{i}", p[i]) for i in pool}
