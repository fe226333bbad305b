"""Whether curation pays, on planted pools whose answer is known, and on input that allows none."""

import json

import numpy as np
import pytest

from curation.flip_audit import least_right
from curation.worth import (
    NotMeasurable,
    Pilot,
    Pool,
    assess,
    audit_needed,
    detectable,
    effective,
    flip_precision,
    groups_of,
    information,
    keep_break_even,
    keep_precision,
    power_law,
    rows_of,
)
from report.worth_page import page
from training.frozen import bradley_terry


def bed(
    *, gold: int = 200, pool: int = 400, learnable: float = 3.0, labels: float = 0.7, bias: float = 0.0, seed: int = 0
) -> tuple[Pilot, Pool]:
    """People's verdicts follow one direction of ten, the steeper the more learnable; labels are right in `labels`, and
    where `bias` they rather follow another direction."""
    rng, n = np.random.default_rng(seed), gold + pool
    first_minus_second = rng.normal(size=(n, 10))
    truth = rng.random(n) < 1 / (1 + np.exp(-learnable * first_minus_second[:, 0]))
    label = np.where(rng.random(n) < labels, truth, ~truth)
    label = np.where(rng.random(n) < bias, first_minus_second[:, 1] > 0, label)
    x = first_minus_second * np.where(label, 1, -1)[:, None]
    right = (truth == label)[:gold]
    names = np.array([f"p{i}" for i in range(n)])
    clusters = np.array([f"c{i}" for i in rng.integers(0, n // 2, n)])
    features = {"style": x[:, 2:4], "states": x, "both": np.concatenate([x, x[:, 2:4]], 1)}
    longer = np.sign(x[:, 5])
    plain = np.array([""] * gold)
    votes = np.stack([right, ~right], 1).astype(int)
    return (
        Pilot(right, {k: v[:gold] for k, v in features.items()}, longer[:gold], clusters[:gold], names[:gold], plain,
              plain, names[:gold], votes),
        Pool({k: v[gold:] for k, v in features.items()}, longer[gold:], clusters[gold:], names[gold:], 10 * pool),
    )  # fmt: skip


def test_the_arithmetic_by_hand():
    assert flip_precision(0.8, 0.8) == pytest.approx(0.5)
    assert flip_precision(0.65, 0.72) == pytest.approx(0.252 / (0.252 + 0.182))
    assert keep_precision(0.65, 0.72) == pytest.approx(0.468 / (0.468 + 0.098))
    assert information(1, 0.75) == pytest.approx(0.25)
    assert information(0.5, 0.25) == pytest.approx(-0.125)
    assert [round(keep_break_even(a), 3) for a in (0.65, 0.8)] == [0.566, 0.664]
    assert detectable(281) == pytest.approx(0.0647, abs=1e-3)


@pytest.mark.parametrize("precision", [0.6, 0.7, 0.8])
def test_so_many_would_be_flips_prove_themselves_in_four_audits_of_five(precision):
    from scipy.stats import binom

    n = audit_needed(precision)
    assert binom.sf(least_right(n) - 1, n, precision) >= 0.8
    assert binom.sf(least_right(n - 1) - 1, n - 1, precision) < 0.8
    assert audit_needed(0.5) is None


def test_pairs_of_one_cluster_that_go_together_count_once():
    values, clusters = np.repeat([1, 0] * 50, 4), np.repeat(np.arange(100), 4)
    assert effective(values, clusters) == pytest.approx(99, abs=1)
    assert effective(np.random.default_rng(0).integers(0, 2, 4000), np.arange(4000)) > 3900


def test_clusters_that_hold_the_same_comparison_are_one():
    found = groups_of(["a", "b", "c", "d"], ["1", "2", "1", "3"])
    assert found[0] == found[2] and len(set(found)) == 3


def test_the_curve_is_found_again():
    sizes = np.array([25, 50, 100, 200, 400.0])
    error = 0.2 + 1.5 * sizes**-0.5
    assert power_law(sizes, error, np.array([1600.0]))[0] == pytest.approx(0.2375, abs=1e-3)
    assert power_law(sizes, np.full(5, 0.3), np.array([1600.0]))[0] == pytest.approx(0.3)


def test_a_model_that_is_right_more_often_than_the_labels_curates_and_flips():
    w = assess(*bed(labels=0.65))
    assert w.verdict == "curate and flip"
    assert w.accuracy["original labels"].low < 0.65 < w.accuracy["original labels"].high
    assert w.accuracy["gold model"].value > w.accuracy["longer answer"].value + 0.2
    assert w.rule["flip"]["predicted"].low > 0.5


def test_labels_that_are_right_more_often_than_the_model_are_not_curated():
    w = assess(*bed(labels=0.85, learnable=0.6))
    assert w.verdict == "do not curate"
    assert w.first
    assert w.rule["flip"]["predicted"].value < 0.5


def test_a_gold_model_that_learns_nothing_curates_nothing():
    w = assess(*bed(learnable=0.0))
    assert w.verdict == "do not curate"
    assert "coin" in " ".join(w.why) or "teaches less" in " ".join(w.why)


def outcome(labels: float, pilot: Pilot, pool: int = 3000) -> float:
    """Share right of what the paper's rule flips in a new pool, by a gold model of the pilot and a model of the labels
    that saw others."""
    (test, _), (other, _) = (bed(labels=labels, gold=pool, seed=s) for s in (8, 9))
    x, y = pilot.features["states"], pilot.right.astype(float)
    gold, best = bradley_terry(x, y, 30.0), bradley_terry(other.features["states"], np.ones(pool), 30.0)
    flipped = (test.features["states"] @ gold < 0) & (test.features["states"] @ best < 0)
    return float((~test.right)[flipped].mean())


def test_predicted_precision_is_what_then_comes_out():
    predicted, measured = [], []
    for labels in (0.6, 0.7, 0.8, 0.9):
        pilot, pool = bed(labels=labels, seed=7)
        w = assess(pilot, pool)
        predicted.append(w.rule["flip"]["predicted"].value)
        measured.append(outcome(labels, pilot))
    assert np.corrcoef(predicted, measured)[0, 1] > 0.9
    assert np.abs(np.array(predicted) - measured).max() < 0.12


def test_systematic_errors_leave_headroom_and_independent_ones_little():
    biased, coins = (assess(*bed(labels=p, bias=b)) for p, b in ((1.0, 0.6), (0.7, 0.0)))
    assert biased.headroom["at_pool_size"].value > coins.headroom["at_pool_size"].value + 0.03


def test_two_categories_that_teach_opposites_are_named():
    pilot, pool = bed(gold=500)
    against = np.arange(500) % 2 == 1
    turn = np.where(against, -1.0, 1.0)[:, None]
    pilot = pilot._replace(
        features={k: v * turn for k, v in pilot.features.items()}, category=np.where(against, "odd", "even")
    )
    w = assess(pilot, pool)
    assert ["even", "odd"] in w.conflict["category"]["against"]
    assert any("'even'" in s and "'odd'" in s for s in w.why)


def test_equal_input_gives_equal_answers_and_json_without_nan():
    one, two = (assess(*bed()) for _ in range(2))
    assert json.dumps(one.as_dict(), allow_nan=False) == json.dumps(two.as_dict(), allow_nan=False)
    assert {r["figure"] for r in rows_of(one)} >= {"verdict", "why", "accuracy", "curve", "rule", "headroom", "needed"}
    assert len({(r["figure"], r["item"]) for r in rows_of(one)}) == len(rows_of(one))


# ---- bad input -------------------------------------------------------------------------------------------------------
def test_fewer_than_fifty_gold_pairs_are_no_measurement():
    pilot, pool = bed()
    with pytest.raises(NotMeasurable, match="49 pairs with people's labels"):
        assess(pilot.take(np.arange(49)), pool)
    few = assess(pilot.take(np.arange(60)), pool)
    assert any("only 60 gold pairs" in w for w in few.warnings)


def test_gold_of_one_conversation_cannot_be_cross_validated():
    pilot, pool = bed()
    with pytest.raises(NotMeasurable, match="needs at least 5"):
        assess(pilot._replace(clusters=np.array(["c"] * 200)), pool)


@pytest.mark.parametrize("right", [True, False])
def test_gold_of_one_class_is_said(right):
    pilot, pool = bed()
    one = pilot._replace(right=np.full(200, right))
    w = assess(one, pool)
    assert any("gold of one class" in s for s in w.warnings)
    assert w.verdict == "do not curate"


def test_labels_no_better_than_chance_are_said():
    w = assess(*bed(labels=0.5))
    assert any("coin tosses" in s for s in w.why)
    worse = assess(*bed(labels=0.25))
    assert worse.verdict == "do not curate" and worse.first == "better labels"
    assert any("exchanged" in s for s in worse.why)


def test_gold_that_contradicts_itself_is_counted():
    pilot, pool = bed()
    pairs = np.array([f"k{i // 2}" for i in range(200)])
    with pytest.raises(NotMeasurable, match="100 of 100 comparisons were decided both ways"):
        assess(pilot._replace(comparisons=pairs), pool)
    some = pilot._replace(comparisons=np.where(np.arange(200) < 20, pairs, pilot.comparisons))
    w = assess(some, pool)
    assert "10 of 190 comparisons were decided both ways: that gold contradicts itself and is left out" in w.warnings
    assert w.gold["pairs"] == 180


def test_a_pair_and_its_mirror_image_decided_alike_do_not_contradict():
    pilot, pool = bed()
    mirrored = pilot._replace(
        comparisons=np.array([f"k{i // 2}" for i in range(200)]), preferred=np.array([f"r{i // 2}" for i in range(200)])
    )
    assert assess(mirrored, pool).gold["pairs"] == 200


def test_pairs_of_gold_that_stand_in_the_pool_teach_nothing_about_themselves():
    pilot, pool = bed()
    doubled = pool._replace(comparisons=np.concatenate([pilot.comparisons, pool.comparisons[200:]]))
    w = assess(pilot, doubled)
    assert any("200 pairs of the pool sample hold the same two responses" in s for s in w.warnings)
    assert any("stands in other conversations" in s for s in assess(pilot, pool, shared=0.5).warnings)


def test_features_that_tell_nothing_apart_decide_nothing():
    pilot, pool = bed()
    flat = [x._replace(features={k: np.zeros_like(v) for k, v in x.features.items()}) for x in (pilot, pool)]
    w = assess(*flat)
    assert w.verdict == "do not curate"
    assert w.accuracy["gold model"].value == 0.5


def test_the_page_says_the_verdict_and_needs_nothing_else():
    """Every part is there: several people, categories that differ, a warning."""
    pilot, pool = bed(gold=200)
    votes = pilot.votes + np.eye(2, dtype=int)[np.arange(200) % 2] * (np.arange(200)[:, None] < 50)
    pilot = pilot._replace(category=np.where(np.arange(200) % 2, "odd", "even"), votes=votes)
    found = assess(pilot, pool, extra=["<b>beware</b> of this"])
    html = page("a & b", found)
    assert f"<b>{found.verdict.capitalize()}</b>" in html and "a &amp; b" in html
    assert "&lt;b&gt;beware&lt;/b&gt;" in html and "url(" not in html and "href" not in html
    assert html.count("<svg") == 2 and "extrapolated</title>" in html
