"""When a difference between training sets is a finding: hand-computed values, and planted confounds."""

import math

import numpy as np
import pytest
from scipy import stats

from evaluation.contrasts import (
    SetFacts,
    arm_score,
    balance,
    confounds,
    crossings,
    foreseen,
    grouped_draws,
    kolmogorov,
    measured,
    rows,
    unlike_before,
    variation,
)
from evaluation.presets import Contrast, parsed

ARMS = ["a", "b", "c"]


def of_scores(scores: list[float], spread: float, resamples: int = 4000, seed: int = 0) -> np.ndarray:
    """[replicates, 1 + resamples] whose resamples vary together with a given standard deviation, as over items."""
    noise = np.random.default_rng(seed).normal(0, spread, resamples)
    return np.array([[s, *(s + noise)] for s in scores])


# ---- what is asked -------------------------------------------------------------------------------------------------
def test_a_difference_names_what_it_may_hold_beside_the_labels():
    assert parsed("a - b by size, sources", ARMS) == Contrast(
        "a - b by size, sources", {"a": 1.0, "b": -1.0}, frozenset({"size", "sources"})
    )
    assert parsed("a - b", ARMS).pair == ("a", "b")


def test_a_rise_is_the_slope_times_the_steps():
    weights = parsed("rise: a, b, c", ARMS).weights
    assert sum(weights[x] * v for x, v in {"a": 10.0, "b": 11.0, "c": 12.0}.items()) == pytest.approx(2.0)
    assert sum(weights[x] * v for x, v in {"a": 10.0, "b": 99.0, "c": 10.0}.items()) == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a - d", "no arm d"),
        ("a", "expected"),
        ("a - a", "expected"),
        ("a - b by colour", "colour"),
        ("rise: a", "two"),
        ("rise : a, b", "no blank"),
    ],
)
def test_what_cannot_be_compared_is_refused(text, why):
    with pytest.raises(ValueError, match=why):
        parsed(text, ARMS)


# ---- what is found -------------------------------------------------------------------------------------------------
def test_the_interval_holds_items_and_trainings_together():
    scores, spread = [0.04, 0.05, 0.09], 0.01
    found = measured(of_scores(scores, spread), n=300)
    over_items, over_seeds = spread**2, np.var(scores, ddof=1) / 3
    freedom = (over_items + over_seeds) ** 2 / (over_items**2 / 299 + over_seeds**2 / 2)
    error = math.sqrt(over_items + over_seeds)
    assert found.estimate.value == pytest.approx(0.06)
    assert found.estimate.high == pytest.approx(0.06 + stats.t.ppf(0.975, freedom) * error, abs=1e-3)
    assert found.p == pytest.approx(2 * stats.t.sf(0.06 / error, freedom), rel=0.1)
    assert found.items.low == pytest.approx(0.06 - 1.96 * spread, abs=1e-3)
    assert found.seeds_p == pytest.approx(stats.ttest_1samp(scores, 0).pvalue)
    half = stats.t.ppf(0.975, 2) * math.sqrt(over_seeds)
    assert found.seeds.interval == pytest.approx((0.06 - half, 0.06 + half))


def test_equal_trainings_have_no_luck_to_speak_of():
    found = measured(of_scores([0.03, 0.03, 0.03], 0.01), n=100)
    assert found.seeds.value is None and found.seeds_p is None
    assert found.estimate.low == pytest.approx(0.03 - stats.t.ppf(0.975, 99) * 0.01, abs=1e-3)
    same = measured(np.zeros((3, 50)), n=100)
    assert (same.estimate.value, same.p) == (0.0, 1.0)


def test_items_of_one_conversation_go_together():
    values, groups = np.repeat([1.0, 0.0], 100), np.repeat(np.arange(20), 10)
    grouped = grouped_draws(values, groups, seed=0, resamples=2000)
    alone = grouped_draws(values, np.arange(200), seed=0, resamples=2000)
    assert grouped[0] == alone[0] == 0.5
    assert grouped[1:].std() == pytest.approx(0.5 / math.sqrt(20), rel=0.1)
    assert alone[1:].std() == pytest.approx(0.5 / math.sqrt(200), rel=0.1)


# ---- what may be told ----------------------------------------------------------------------------------------------
FACTS = {"a": SetFacts(100, "r", {"x": 1.0}), "b": SetFacts(100, "r", {"x": 1.0})}


def told(scores: list[float], facts=FACTS, text: str = "a - b", spread: float = 0.01) -> dict:
    draws = {("b", i, "bench"): np.zeros(4001) for i in range(len(scores))}
    draws |= {("a", i, "bench"): row for i, row in enumerate(of_scores(scores, spread))}
    [row] = rows("e", [parsed(text, ["a", "b"])], draws, {"bench": 300}, facts)
    return row


def test_three_trainings_and_a_clear_difference_are_a_finding():
    assert told([0.10, 0.11, 0.12])["verdict"] == "better"
    assert told([-0.10, -0.11, -0.12])["verdict"] == "worse"
    assert told([0.10, 0.11])["verdict"] == "too few seeds"
    small = told([0.01, -0.01, 0.01])
    assert small["verdict"] == "not told apart" and "would not be seen" in small["why"]


def test_what_else_could_explain_a_difference_makes_it_none():
    more = FACTS | {"a": SetFacts(120, "r", {"x": 1.0})}
    assert told([0.10, 0.11, 0.12], more)["why"] == "the better one has 120 pairs, the other 100"
    assert told([0.10, 0.11, 0.12], more, "a - b by size")["verdict"] == "better"
    assert told([-0.10, -0.11, -0.12], more)["verdict"] == "worse"  # the larger set lost: size explains nothing
    other = FACTS | {"a": SetFacts(100, "s", {"x": 0.9, "y": 0.1})}
    assert told([0.10, 0.11, 0.12], other)["why"] == "the recipes differ; only the better one has pairs of y"
    assert confounds(other["a"], other["b"], frozenset({"sources"}), 0.1, recipes_may_differ=True) == []


def test_subsets_that_were_unlike_before_they_were_labelled_hold_every_finding_back():
    """A clear difference of two forms; as they came, their subsets' models stood 0.4, then 0.8 points apart."""
    after = {("a", r, "x"): np.array([0.80, *[0.80] * 50]) for r in (1, 2, 3)}
    after |= {("b", r, "x"): np.array([0.70, *np.linspace(0.695, 0.705, 50)]) for r in (1, 2, 3)}
    for gap, verdict in ((0.004, "better"), (0.008, "confounded")):
        before = {(arm, r, "x"): np.array([0.65 + d]) for arm, d in (("c", 0), ("d", gap)) for r in (1, 2, 3)}
        doubt = unlike_before(before, ["c", "d"], ["x"])
        [row] = rows("e", [parsed("a - b", ["a", "b"])], after, {"x": 300}, FACTS, doubt=doubt)
        assert (row["verdict"], bool(doubt)) == (verdict, verdict == "confounded"), row
    assert "differed by 0.8 points, where 0.6 are allowed" in row["why"]
    assert "c has no model" in unlike_before({}, ["c", "d"], ["x"])


def test_many_questions_need_a_smaller_p():
    contrasts = [parsed(t, ARMS) for t in ("a - b", "a - c", "b - c")]
    draws = {(arm, i, "bench"): row for arm in ARMS for i, row in enumerate(of_scores([0.0, 0.0, 0.0], 0.0))}
    draws |= {("a", i, "bench"): row for i, row in enumerate(of_scores([0.02, 0.022, 0.024], 0.0095))}
    facts = {arm: SetFacts(100, "r", {"x": 1.0}) for arm in ARMS}
    alone = rows("e", contrasts[:1], draws, {"bench": 300}, facts)[0]
    among = rows("e", contrasts, draws, {"bench": 300}, facts)[0]
    assert alone["p"] == among["p"] < 0.05 and alone["verdict"] == "better"
    assert among["p_holm"] == pytest.approx(3 * among["p"]) and among["verdict"] == "not told apart"


def test_several_benchmarks_are_also_shown_as_pairs():
    draws = {(arm, i, e): np.full(11, v) for arm, e, v in (("a", "x", 0.7), ("b", "x", 0.6), ("a", "y", 0.8), ("b", "y", 0.5))
             for i in range(3)}  # fmt: skip
    found = rows("e", [parsed("a - b", ["a", "b"])], draws, {"x": 100, "y": 50}, FACTS)
    assert [(r["evaluation"], round(r["value"], 3)) for r in found] == [("x", 0.1), ("y", 0.3), ("mean", 0.2)]
    assert found[-1]["benchmarks_p"] == pytest.approx(stats.ttest_rel([0.7, 0.8], [0.6, 0.5]).pvalue)


def test_an_arm_without_a_model_is_said_to_be_missing():
    [row] = rows("e", [parsed("a - b", ["a", "b"])], {("a", 1, "x"): np.zeros(11)}, {"x": 10}, FACTS)
    assert (row["value"], row["verdict"], row["why"]) == (None, "not measured", "an arm has no model")


# ---- what can be seen at all ---------------------------------------------------------------------------------------
def test_power_is_told_before_the_money_is_spent():
    assert foreseen(288, 3, disagreement=0.06) == pytest.approx(2.802 * math.sqrt(0.06 / 288), rel=1e-3)
    assert foreseen(1000, 3) < foreseen(288, 3) < foreseen(288, 3, questions=10)
    assert foreseen(10_000, 3, luck=0.01) > foreseen(10_000, 9, luck=0.01) > foreseen(10_000, 9)


def test_a_difference_of_that_size_is_seen_four_times_in_five():
    rng = np.random.default_rng(1)
    n, replicates = 400, 3
    size, seen = foreseen(n, replicates, disagreement=0.2), 0
    for _ in range(400):
        gain = rng.choice([1.0, -1.0, 0.0], n, p=[(0.2 + size) / 2, (0.2 - size) / 2, 0.8])
        t = gain.mean() / (gain.std(ddof=1) / math.sqrt(n))
        seen += abs(t) > stats.t.ppf(0.975, n - 1)
    assert seen / 400 == pytest.approx(0.8, abs=0.06)


# ---- are two sets alike --------------------------------------------------------------------------------------------
def test_distances_by_hand():
    assert variation({"x": 0.5, "y": 0.5}, {"x": 0.6, "z": 0.4}) == pytest.approx(0.5)
    assert kolmogorov({"1": 0.5, "2": 0.5}, {"2": 0.5, "3": 0.5}) == pytest.approx(0.5)
    profiles = {
        "a": {"length_mean": {"": 105.0}, "source": {"x": 1.0}, "longer_mean": {"": 9.0}},
        "b": {"length_mean": {"": 100.0}, "source": {"x": 0.9, "y": 0.1}, "longer_mean": {"": 1.0}},
    }
    found = {r["statistic"]: r for r in balance("e", parsed("a - b", ["a", "b"]), {"a": 10, "b": 11}, profiles)}
    assert found["length_mean"]["distance"] == pytest.approx(0.05) and found["length_mean"]["alike"]
    assert not found["size"]["alike"] and not found["source"]["alike"]
    assert found["longer_mean"]["alike"] is None  # hangs on the labels: told, not judged


# ---- how much is enough --------------------------------------------------------------------------------------------
def test_a_crossing_is_read_between_the_sizes_along_their_logarithm():
    curve = np.array([[0.5], [0.6], [0.8]])
    assert crossings([100, 400, 1600], curve, np.array([0.7])) == pytest.approx([800.0])
    assert crossings([100, 400, 1600], curve, np.array([0.4])) == [100.0]
    assert crossings([100, 400, 1600], curve, np.array([0.9])) == [math.inf]


def test_a_crossing_has_an_interval_and_says_where_it_is_not_reached():
    arms = {"aim": 0.6, "s": 0.5, "m": 0.62, "l": 0.7}
    facts = {arm: SetFacts(n, "r", {}) for arm, n in {"aim": 900, "s": 100, "m": 300, "l": 900}.items()}
    draws = {(arm, i, "x"): row for k, (arm, v) in enumerate(arms.items())
             for i, row in enumerate(of_scores([v, v, v], 0.01, 500, seed=k))}  # fmt: skip
    [row] = rows("e", [parsed("crossing: aim, s, m, l", list(arms))], draws, {"x": 100}, facts)
    assert row["value"] == pytest.approx(100 * 3 ** (10 / 12)) and row["low"] < row["value"] < row["high"]
    assert (row["verdict"], row["p_holm"]) == ("reached", None) and "900 pairs of aim" in row["why"]
    [mixed] = rows("e", [parsed("crossing: aim, l, s, m", list(arms))], draws, {"x": 100}, facts)
    assert mixed["value"] == row["value"], "sizes say what comes first"
    draws |= {("aim", i, "x"): np.full(501, 0.9) for i in range(3)}
    [never] = rows("e", [parsed("crossing: aim, s, m, l", list(arms))], draws, {"x": 100}, facts)
    assert (never["verdict"], never["value"], never["high"]) == ("not reached", None, None)


def test_an_arms_interval_holds_items_and_trainings():
    e = arm_score([0.70, 0.72, 0.74], [0.05, 0.05, 0.05])
    assert e.value == pytest.approx(0.72)
    assert e.high - e.value == pytest.approx(math.hypot(0.05, stats.t.ppf(0.975, 2) * 0.02 / math.sqrt(3)))
