"""What people's look at would-be flips allows, whom an audit asks, and when models are not heard."""

import math
from collections import Counter

import numpy as np
import pytest

from curation.calibration import Sample, fit, probability
from curation.flip_audit import (
    FlipAudit,
    flip_audit,
    guard,
    keeps_veto,
    least_right,
    lower_bound,
    stratified,
    weights,
)


def test_the_bound_is_clopper_and_pearsons():
    """Hand-computed: all of n right at level a gives a^(1/n); the others against tables."""
    assert lower_bound(10, 10, 0.1) == pytest.approx(0.1 ** (1 / 10))
    assert lower_bound(0, 10) == 0.0
    assert lower_bound(30, 40, 0.05) == pytest.approx(0.6129, abs=1e-3)
    with pytest.raises(ValueError, match="5 right of 4"):
        lower_bound(5, 4)


def test_twenty_five_of_forty_allow_flips_and_twenty_four_do_not():
    assert least_right(40) == 25
    for right, allowed in ((25, True), (24, False)):
        assert flip_audit([True] * right + [False] * (40 - right), 500).allowed is allowed


def test_flips_that_are_right_in_half_are_let_through_in_a_tenth_of_audits_at_most():
    chance = [math.comb(40, k) / 2**40 for k in range(41)]
    through = sum(p for k, p in enumerate(chance) if FlipAudit(k, 40, 0, 1000).allowed)
    assert 0.05 < through <= 0.1


def test_answers_that_could_not_be_given_do_not_count_for_flipping():
    assert flip_audit([True] * 25 + [False] * 10, 500).allowed
    assert not flip_audit([True] * 25 + [False] * 10 + [None] * 10, 500).allowed


def test_where_people_saw_every_flip_the_count_decides():
    assert flip_audit([True, True, False], 3).allowed
    assert not flip_audit([True, True, False], 30).allowed
    assert not flip_audit([True, False], 2).allowed


def test_nobody_looked_means_no_flips_and_says_so():
    none = flip_audit([], 120)
    assert not none.allowed
    assert none.sentence() == "Nobody looked at any of 120 would-be flips. They are dropped as flip_unproven."
    assert "no proof" in flip_audit([True] * 20 + [False] * 20, 500).sentence()
    with pytest.raises(ValueError, match="3 answers about 2"):
        flip_audit([True] * 3, 2)


STRATA = {f"p{i:03d}": "agree" if i < 700 else "split" if i < 950 else "reject" for i in range(1000)}


def test_each_stratum_gives_as_many_and_a_small_one_all_it_has():
    drawn = stratified(STRATA, 240, seed=1)
    assert Counter(d.stratum for d in drawn) == {"agree": 95, "split": 95, "reject": 50}
    total = Counter()
    for d in drawn:
        total[d.stratum] += d.weight
    assert total == pytest.approx({"agree": 700, "split": 250, "reject": 50})


def test_the_draw_gives_flips_their_forty_first_and_is_the_same_again():
    drawn = stratified(STRATA, 60, seed=1, at_least={"reject": 40})
    assert Counter(d.stratum for d in drawn)["reject"] == 40
    assert drawn == stratified(dict(reversed(STRATA.items())), 60, seed=1, at_least={"reject": 40})
    assert drawn != stratified(STRATA, 60, seed=2, at_least={"reject": 40})
    assert len(stratified(STRATA, 5000, seed=1)) == 1000


def test_weights_undo_a_stratified_draw():
    """Labels right in 0.9, 0.5 and 0.2 of the strata: the weighted mean is the pool's."""
    drawn = stratified(STRATA, 150, seed=0)
    right = np.array([{"agree": 0.9, "split": 0.5, "reject": 0.2}[d.stratum] for d in drawn])
    w = weights([d.stratum for d in drawn], Counter(STRATA.values()))
    assert w.mean() == pytest.approx(1)
    assert np.average(right, weights=w) == pytest.approx(0.7 * 0.9 + 0.25 * 0.5 + 0.05 * 0.2)
    assert right.mean() == pytest.approx((0.9 + 0.5 + 0.2) / 3)


def test_a_weighted_fit_gives_the_pools_probabilities_where_an_unweighted_one_does_not():
    rng = np.random.default_rng(0)
    margins = rng.normal(size=(4000, 2))
    right = rng.random(4000) < 1 / (1 + np.exp(-1.5 - margins[:, 1]))
    group = np.where(margins[:, 1] < -1.2, "reject", "agree")
    names = [f"p{i}" for i in range(4000)]
    drawn = stratified(dict(zip(names, group, strict=True)), 1200, seed=0)
    rows = np.array([int(d.pair_id[1:]) for d in drawn])
    some = Sample(margins[rows], right[rows])
    weighted = fit(some, weights([d.stratum for d in drawn], Counter(group)))
    assert probability(weighted, margins).mean() == pytest.approx(right.mean(), abs=0.02)
    assert fit(some, np.ones(len(rows))) == fit(some)


def test_a_best_model_that_learned_the_labels_errors_loses_its_veto():
    labels = np.array([1] * 65 + [0] * 35)
    assert not keeps_veto(np.array([1] * 60 + [0] * 40), labels)
    assert keeps_veto(np.array([1] * 70 + [0] * 30), labels)
    assert keeps_veto(np.array([]), np.array([]))


def test_guards_of_little_gold_and_of_a_weak_gold_model():
    assert guard(49, 45, 0.6).reason == "49 pairs of gold: reward models decide nothing below 50"
    weak = guard(250, 0.65 * 250, 0.82)
    assert (weak.keep, weak.flip) == (False, False)
    assert "right in 65.0 %" in weak.reason and "only above" in weak.reason
    good = guard(250, 0.73 * 250, 0.65)
    assert (good.keep, good.flip) == (True, False)
    assert guard(250, 0.73 * 250, 0.65, FlipAudit(30, 40, 0, 900)).flip
