"""Calibrated decisions: the promised bound holds, in simulation; abstention, soft labels, the rule file (O-04)."""

import json

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from assets import releases as release
from assets import stage2
from curation import tables as t
from curation.calibration import LEAST, Sample, TooFew, calibrate, fit, fixed_sequence, halves, probability, strata
from curation.decision_rule import STRATA, Calibration, Rule, RuleError, Thresholds, loads
from resources.lake import Lake
from resources.run import Run
from sql import statement
from tests.stage2.test_decision_rule import applied
from tests.support.answers import FREE
from tests.support.lakes import make, published, put, query, settings

MODELS = ("m", "n")


def world(n: int, rng, tilt: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Margins of two models [n, 2], the chance that the label is right, and whether it is. The models are over-confident
    and wrong in a corner (`tilt`), so that the fitted probabilities are not true ones."""
    margins = rng.normal(0.4, 1.5, (n, 2))
    logit = 0.7 * margins[:, 0] + 0.9 * margins[:, 1] - tilt * (margins[:, 0] > 2) * 2.5
    chance = 1 / (1 + np.exp(-logit))
    return margins, chance, rng.random(n) < chance


def calibrated(margins, right, alpha: float, delta: float = 0.1) -> Calibration:
    """Half of the labels fit, the other half tests."""
    n = len(right) // 2
    return calibrate(
        Sample(margins[:n], right[:n]), Sample(margins[n:], right[n:]), models=MODELS, alpha=alpha, delta=delta
    )


def errors(
    found: Calibration, margins: np.ndarray, group: np.ndarray, chance: np.ndarray
) -> dict[tuple[str, str], float]:
    """True share of wrong decisions in the whole world, of each stratum and side that decides at all."""
    p = probability((found.intercept, found.best, found.gold), margins)
    out = {}
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
    group = strata(everyone)
    alpha, delta, trials = 0.15, 0.1, 60
    broken, decided = dict.fromkeys([(s, a) for s in STRATA for a in ("keep", "flip")], 0), set()
    for _ in range(trials):
        margins, _, right = world(500, rng, tilt=1.0)
        found = errors(calibrated(margins, right, alpha, delta), everyone, group, chance)
        decided |= found.keys()
        for key, error in found.items():
            broken[key] += error > alpha
    allowed = trials * delta + 3 * np.sqrt(trials * delta * (1 - delta))
    assert all(n <= allowed for n in broken.values()), broken
    assert {("agree", "keep"), ("reject", "flip")} <= decided


@pytest.mark.parametrize("drawn_from_all", [True, False])
def test_the_bound_is_for_the_pairs_that_are_drawn_from_whatever_the_fit(drawn_from_all):
    """17.5 % of a pool are wrong, ten labels of a conversation alike; the fit saw labels of quite another kind. Who tests
    on the better half of the pool breaks the bound."""
    rng = np.random.default_rng(1)
    alpha, delta, trials, broken = 0.15, 0.1, 60, 0
    n = 4000
    margins = np.full((n, 2), 2.0) + rng.normal(0, 0.01, (n, 2))
    conversation = np.repeat(np.arange(n // 10), 10)
    hard = conversation % 2 == 0
    right = conversation // 2 % 20 >= np.where(hard, 6, 1)
    other, _, other_right = world(200, rng)
    for _ in range(trials):
        drawn = rng.permutation(n if drawn_from_all else np.flatnonzero(~hard))[:300]
        found = calibrate(
            Sample(other, other_right), Sample(margins[drawn], right[drawn]), models=MODELS, alpha=alpha, delta=delta
        )
        broken += found.thresholds["agree"].keep is not None
    if drawn_from_all:
        assert (~right).mean() == 0.175 and broken <= trials * delta + 3 * np.sqrt(trials * delta * (1 - delta))
    else:
        assert broken > trials / 2


def test_halves_are_of_equal_chance_and_do_not_depend_on_the_order():
    pairs = [f"p{i}" for i in range(10_000)]
    fits = halves(pairs, seed=3)
    assert abs(fits.mean() - 0.5) < 0.02
    assert list(halves(pairs[::-1], seed=3)[::-1]) == list(fits) and list(halves(pairs, seed=4)) != list(fits)


def test_probabilities_are_calibrated():
    rng = np.random.default_rng(2)
    margins, _, right = world(4000, rng)
    fitted = fit(Sample(margins, right))
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
        calibrate(Sample(margins, right), Sample(margins, right), models=MODELS, alpha=0.1, delta=0.1)


# ---- in the lake ---------------------------------------------------------------------------------------------------
FOUND = Calibration(
    best_model="m", gold_model="n", intercept=0.0, best=1.0, gold=1.0, fitted_on=50, tested_on=50, alpha=0.1, delta=0.1,
    thresholds={"agree": Thresholds(keep=0.9), "reject": Thresholds(flip=0.8), "split": Thresholds()},
)  # fmt: skip


NOBODY = pa.table({c: pa.array([], pa.string()) for c in ("pair_id", "verdict", "votes")})


def scored(margins: list[tuple[float, float] | None]) -> pa.Table:
    rows = []
    for i, m in enumerate(margins):
        row = dict.fromkeys(t.SCORES.schema.names) | {"pair_id": f"{i:02d}", "best_model": "m", "gold_model": "n"}
        for name, value in zip(("best", "gold"), m or (), strict=False):
            row |= {f"r_chosen_{name}": value, f"r_rejected_{name}": 0.0, f"p_{name}": 1 / (1 + np.exp(-value))}
        rows.append(row | ({} if m else {"unscored_best": "over_length", "unscored_gold": "over_length"}))
    return pa.Table.from_pylist(rows, t.SCORES.schema)


def test_a_calibrated_rule_keeps_flips_and_abstains_by_stratum():
    """P = sigmoid of the sum of both margins: 0.953, 0.731, 0.119, 0.378, 0.982 (split), none."""
    rule = loads(Rule(decision="calibrated", calibration=FOUND).dumps())
    rows = applied(
        rule, scored([(1, 2), (0.5, 0.5), (-1, -1), (-0.25, -0.25), (5, -1), None]),
        NOBODY,
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
    """The fit is numpy and the rule is SQL: the same probability, and strata by both models' votes, for every pair."""
    rng = np.random.default_rng(4)
    margins = np.round(rng.normal(0, 1.5, (90, 2)), 3)
    found = FOUND.model_copy(update={"intercept": -0.3, "best": 0.7, "gold": 1.1})
    rows = applied(Rule(calibration=found, band=0.1), scored([tuple(m) for m in margins]), NOBODY)
    assert np.allclose([r["p_right"] for r in rows], probability((-0.3, 0.7, 1.1), margins), atol=1e-12)
    votes = [{"++": "agree", "--": "reject"}.get(r["b"] + r["g"], "split") for r in rows]
    assert votes == list(strata(margins, 0.5, 0.1)) and set(votes) == set(STRATA)


def test_the_judges_sum_is_a_part_of_the_probability_where_they_are_asked():
    """b = -, g = +: the judges are asked. Three for the original order and one against: a sum of 2 with coefficient 1.5 makes
    sigmoid(3 - 1) = 0.881 and back; of the pair that both models confirm, nobody's vote is heard."""
    found = FOUND.model_copy(
        update={"judges": 1.5, "thresholds": {"split": Thresholds(keep=0.85), "agree": Thresholds()}}
    )
    votes = json.dumps({"one": "original", "two": "original", "three": "original", "four": "swapped", "five": "tie"})
    said = [{"pair_id": p, "verdict": "original", "votes": votes} for p in ("00", "01")]
    rule = Rule(decision="calibrated", calibration=found)
    rows = applied(rule, scored([(-2, 1), (1, 1), (-2, 1)]), pa.Table.from_pylist(said))
    assert [(r["class"], r["j"], round(r["p_right"], 3)) for r in rows] == [
        ("keep", "+", 0.881), ("drop", "", 0.881), ("drop", "", 0.269)
    ]  # fmt: skip


def test_flips_have_an_alpha_of_their_own():
    """In `reject` 30 of 40 flips are right: too many errors for a fifth, few enough for two fifths."""
    margins = np.repeat([[2.0, 2.0], [-2.0, -2.0]], [60, 40], axis=0)
    right = np.repeat([True, False, True, False], [57, 3, 10, 30])
    strict, loose = (
        calibrate(Sample(margins, right), Sample(margins, right), models=MODELS, alpha=0.2, alpha_flip=a, delta=0.1)
        for a in (None, 0.4)
    )
    assert strict.thresholds["reject"].flip is None and loose.thresholds["reject"].flip is not None
    assert strict.thresholds["agree"] == loose.thresholds["agree"] and loose.thresholds["agree"].keep is not None


def test_a_calibration_is_for_its_own_models():
    strange = FOUND.model_copy(update={"gold_model": "another"})
    with pytest.raises(RuleError, match="calibrated on the models m and another"):
        applied(Rule(calibration=strange), scored([(1, 1)]), NOBODY)


def of_truth(ids: list[str]) -> pa.Table:
    """Scores as `fake_scores` gives them."""
    found = fake_rewards(ids, ("best", "gold"))
    return pa.Table.from_pylist(
        [{"pair_id": r["pair_id"], "best_model": "m", "gold_model": "n"}
         | {f"{c}_{m}": r[f"{c}_{m}"] for m in ("best", "gold") for c in ("r_chosen", "r_rejected", "unscored")}
         | {f"p_{m}": 1 / (1 + np.exp(-r[f"r_chosen_{m}"])) for m in ("best", "gold")} for r in found.to_pylist()],
        t.SCORES.schema,
    )  # fmt: skip


def labelled(root, gold: int, audited: int, **sections) -> Lake:
    """Gold of role calibration, half of it drawn at random, audited pairs, and two models that only exist by name."""
    lake = Lake(str(root))
    pairs = [f"g{i:03d}" for i in range(gold)]
    drawn = [f"a{i:03d}" for i in range(audited)]
    put(lake, t.CLEAN_POOL, [{"pair_id": p} for p in (*pairs, *drawn)], "b00")
    lake.write(t.BEST_REWARD_MODEL, pa.Table.from_pylist([{"iteration": "iter_00", "model_id": "m", "path": "x", "pairs": 1,
                                                 "accuracy": 1.0, "best": True}], t.BEST_REWARD_MODEL.schema))  # fmt: skip
    row = {f.name: "n" if pa.types.is_string(f.type) else 0 for f in t.GOLD_REWARD_MODEL.schema}
    lake.write(t.GOLD_REWARD_MODEL, pa.Table.from_pylist([row], t.GOLD_REWARD_MODEL.schema))
    for key in ("iter_00", "iter_01", "iter_02"):
        here = pairs if key == "iter_00" else []
        put(lake, t.GOLD, [{"pair_id": p, "role": "calibration" if i % 4 else "train", "verified_order": "original" if i % 5 else
                            "swapped"} for i, p in enumerate(here)], key)  # fmt: skip
        put(lake, t.ANNOTATION_BATCH, [{"pair_id": p, "assigned_to": "people", "why": "seed" if i % 2 else "retrieved"}
                                       for i, p in enumerate(here)], key)  # fmt: skip
    lake.write(t.SCORES, of_truth(drawn), "b00")
    put(lake, t.STAGE2_VERDICTS, [], "b00")
    make(stage2.routing_rule, lake, **sections)
    make(stage2.audit_sample, lake, **sections)
    put(lake, t.AUDIT, [{"event_id": f"{p}-{n}", "pair_id": p, "verdict": verdict} for i, p in enumerate(drawn)
                        for n, verdict in enumerate(["first" if i % 5 else "second"] * 2 + ["undecided"])])  # fmt: skip
    return lake


def test_only_gold_by_chance_fits_and_its_majority_is_what_the_audit_says(tmp_path):
    lake = labelled(tmp_path, 60, 10)
    put(lake, t.AUDIT_SAMPLE, [{"pair_id": p, "stratum": "agree", "of_flips": p == "f", "of_strata": p != "f"}
                               for p in "abcdef"])  # fmt: skip
    put(lake, t.AUDIT, [{"event_id": f"{p}{i}", "pair_id": p, "shown_first": shown, "verdict": verdict}
                        for p, votes in {"a": "fF", "b": "fs", "c": "ssf", "d": "uuf", "e": "Sf", "f": "ff"}.items()
                        for i, v in enumerate(votes)
                        for shown in ["chosen" if v.islower() else "rejected"]
                        for verdict in [{"f": "first", "s": "second", "u": "undecided"}[v.lower()]]])  # fmt: skip
    with lake.connect() as con:
        rows = con.execute(statement("stage2/calibration_gold")).fetchall()
        labels = con.execute(statement("stage2/audit_labels")).fetchall()
    assert [r[0] for r in rows] == [f"g{i:03d}" for i in range(60) if i % 4 and i % 2]
    assert labels == [("c", False), ("e", True)]  # "S": second of a swapped show is the chosen one


@pytest.mark.parametrize(
    "sections", [{"stage2": {"decision": "calibrated", "audit": 100}}, {"training": {"arms": ["soft"]}}]
)
def test_without_enough_labels_the_step_fails_and_says_what_is_missing(tmp_path, monkeypatch, sections):
    lake = labelled(tmp_path, 30, 0, **sections)
    monkeypatch.setattr("resources.trainer.score", fake_scores)
    with pytest.raises(
        dg.Failure, match=r"15 human labels to fit.*needs at least 20.*stage2.audit or stage1.seed_people"
    ):
        make(stage2.decision_rule, lake, **sections)


def test_calibrated_decisions_without_an_audit_are_no_configuration():
    for audit in (0, 43):
        with pytest.raises(ValidationError, match=f"audit must be at least 44 for alpha = 0.1.*found {audit}"):
            settings(stage2={"decision": "calibrated", "audit": audit})
    assert settings(stage2={"decision": "calibrated", "audit": 44}).stage2.audit == 44


def would_decide(lake: Lake, votes: str, start: int = 0, **sections) -> list[str]:
    """Scores of pairs with these votes of best and gold model, "+-" for one that only the best confirms, and the rule that
    gold alone makes; nobody is asked. Returns the pairs."""
    margins = [tuple(3.0 if v == "+" else -3.0 for v in pair) for pair in votes.split()]
    rows = scored(margins)
    ids = [f"p{start + i:03d}" for i in range(len(margins))]
    lake.write(t.SCORES, rows.set_column(0, t.SCORES.schema.field("pair_id"), pa.array(ids)), "b00")
    make(stage2.routing_rule, lake, **sections)
    return ids


def test_the_audit_is_drawn_alike_from_every_stratum_and_waits_for_people(tmp_path):
    lake = Lake(str(tmp_path / "lake"))
    sections = {"stage2": {"audit": 60, "alpha": 0.2, "decision": "calibrated", "policy": "both"},
                "people": {"backend": "files", "folder": str(tmp_path / "people"), **FREE},
                "attributes": {"backend": "heuristic"}}  # fmt: skip
    ids = would_decide(lake, "++ " * 200 + "-- " * 15 + "+- " * 30 + "++", **sections)
    put(lake, t.CLEAN_POOL, [{"pair_id": p} for p in ids[:-1]] + [{"pair_id": ids[-1], "cluster_id": "c-g"},
                                                                 {"pair_id": "g", "cluster_id": "c-g"}], "b00")  # fmt: skip
    for key in ("iter_00", "iter_01", "iter_02"):
        put(
            lake,
            t.GOLD,
            [{"pair_id": "g", "verified_order": "original", "role": "test"}] if key == "iter_00" else [],
            key,
        )
    make(stage2.audit_sample, lake, **sections)
    strata = "SELECT stratum, count(*), sum(of_flips::INT) FROM audit_sample GROUP BY 1 ORDER BY 1"
    assert query(lake, strata) == [("agree", 23, 0), ("reject", 15, 0), ("split", 22, 0)]
    assert query(lake, "SELECT stratum, class, asked, pairs FROM audit_strata ORDER BY 1") == [
        ("agree", "keep", False, 200), ("reject", "flip", False, 15), ("split", "drop", False, 30)
    ]  # fmt: skip
    make(stage2.audit_attributes, lake, **sections)
    drawn = [p for (p,) in query(lake, "SELECT pair_id FROM audit_attributes ORDER BY 1")]
    assert len(drawn) == 60 and ids[-1] not in drawn  # a sibling of test gold stays unread
    with pytest.raises(dg.Failure, match="60 of 60 answers are missing"):
        make(stage2.audit, lake, **sections)
    batch = [json.loads(line) for line in (tmp_path / "people/stage2/batch.jsonl").read_text().splitlines()]
    assert [b["pair_id"] for b in batch] == drawn and "chosen" not in batch[0]
    answers = [{"pair_id": p, "verdict": "candidate_1", "annotator": "ann", "seconds": 9} for p in drawn]
    (tmp_path / "people/stage2/answers.jsonl").write_text("".join(json.dumps(a) + "\n" for a in answers))
    make(stage2.audit, lake, **sections)
    right = dict(query(lake, statement("stage2/audit_labels")))
    assert right == {b["pair_id"]: b["candidate_1"] == "good" for b in batch} and len(set(right.values())) == 2
    assert query(lake, "SELECT stage, sum(is_label::INT) FROM paid_labels WHERE who = 'people' GROUP BY 1") == [
        ("stage2", 60)
    ]


def fake_scores(run, names, pairs) -> pa.Table:
    """Rewards that know the truth, more or less; the scoring program has tests of its own."""
    return fake_rewards(sorted(r[0] for r in pairs.fetchall()), names)


def fake_rewards(ids, names) -> pa.Table:
    rng = np.random.default_rng(5)
    sign = [1.0 if int(i[1:]) % 5 else -1.0 for i in ids]
    columns = {"pair_id": pa.array(ids)}
    for name in names:
        columns |= {
            f"r_chosen_{name}": pa.array(sign + rng.normal(0, 0.4, len(ids))),
            f"r_rejected_{name}": pa.array([0.0] * len(ids)),
        }
    return pa.table(columns | {f"unscored_{name}": pa.nulls(len(ids), pa.string()) for name in ("best", "gold")})


def test_calibrated_decisions_reach_the_release_and_the_soft_arm(tmp_path, monkeypatch):
    sections = {"stage2": {"decision": "calibrated", "audit": 300, "alpha_flip": 0.1}}
    lake = labelled(tmp_path, 200, 300, **sections)
    monkeypatch.setattr("resources.trainer.score", fake_scores)
    make(stage2.decision_rule, lake, **sections)
    rule = loads(query(lake, "SELECT file FROM decision_rule")[0][0])
    tests = ~halves([f"a{i:03d}" for i in range(300)], settings().seed)
    assert (rule.calibration.fitted_on, rule.calibration.tested_on) == (100 + 300 - tests.sum(), tests.sum())
    assert rule.calibration.thresholds["agree"].keep is not None
    pool = ["00", "01", "02"]
    put(lake, t.CLEAN_POOL, [{"pair_id": p, "chosen": f"c{p}", "rejected": f"r{p}"} for p in pool], "b00")
    lake.write(t.SCORES, scored([(3, 3), (-3, -3), (0.1, -0.1)]), "b00")
    run = Run(settings(**sections), lake, "b00")
    published(stage2.routed, run)
    assert query(lake, "SELECT count(*) FROM routed") == [(0,)]
    lake.write(t.STAGE2_VERDICTS, [], "b00")
    for step in (stage2.decisions, stage2.partition):
        published(step, run)
    classes = query(lake, "SELECT class FROM decisions ORDER BY pair_id")
    assert classes == [("keep",), ("flip",), ("drop",)]
    for key in ("iter_00", "iter_01", "iter_02"):
        put(lake, t.GOLD, [], key)
        put(lake, t.SILVER, [], key)
    for table in (t.ATTRIBUTES, t.STAGE2_ATTRIBUTES):
        lake.write(table, [], "b00")
    source = {f.name: {pa.string(): "s", pa.bool_(): True}.get(f.type, 0) for f in t.SOURCES.schema}
    lake.write(t.SOURCES, pa.Table.from_pylist([source], t.SOURCES.schema), "s")
    for step in (release.release_curated, release.release_corrected):
        published(step, run)
    assert all(loads(lake.note(r, "b00")["rule"]) == rule for r in (t.RELEASE_CURATED, t.RELEASE_CORRECTED))
    p = dict(query(lake, "SELECT pair_id, p_right FROM decisions"))
    assert query(lake, "SELECT pair_id, chosen, p_right FROM release_corrected ORDER BY 1") == [
        ("00", "c00", p["00"]), ("01", "r01", 1 - p["01"])
    ]  # fmt: skip
    with lake.connect() as con:
        soft = (
            con.sql(statement("release/arm_pairs"), params={"arm": "soft", "seed": "0", "n": None})
            .to_arrow_table()
            .to_pylist()
        )
    assert {r["pair_id"]: (r["chosen"], r["target"]) for r in soft} == {i: (f"c{i}", p[i]) for i in pool}
