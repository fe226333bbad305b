"""The planner on the published curve and on hand-made ones: what it reads off, what it refuses, what it never spends."""

import re
from decimal import Decimal

import pytest

from cli.main import main
from curation import tables as t
from evaluation.planning import (
    NotOnTheCurve,
    PriceRange,
    Stratum,
    alternatives,
    costed,
    doubtful,
    flaws,
    gains,
    over_strata,
    rising,
    stops_after,
    weeks,
)
from resources.benchmarks.published import published_curve, published_means, published_scores
from resources.lake import Lake
from tests.support.lakes import put

PRICES = {"gold": PriceRange.read("0.50"), "silver": PriceRange.read("0.05"), "stage2": PriceRange.read("0.01")}


def test_the_published_curve_gives_the_fraction_for_the_former_best_and_refuses_what_it_never_reached():
    curve = published_curve()
    assert curve.needed(73.0) / curve.whole == pytest.approx(0.018, abs=0.001)
    assert 270_000 < curve.needed(73.0) < 300_000
    assert [round(curve.needed(t) / curve.whole, 3) for t in (75.8, 81.7, 86.1)] == [0.033, 0.132, 0.661]
    for beyond in (88.0, 87.3, 40.0):
        with pytest.raises(NotOnTheCurve, match="not extrapolated"):
            curve.needed(beyond)
    with pytest.raises(NotOnTheCurve, match="not extrapolated"):
        curve.score(20_000_000)


def test_reading_off_both_ways_agrees():
    curve = published_curve()
    for target in (63.0, 70.0, 79.5, 86.9):
        assert curve.score(curve.needed(target)) == pytest.approx(target)


def test_a_curve_that_falls_is_levelled():
    curve = rising("own", [(100, 60.0), (400, 64.0), (200, 66.0), (800, 70.0)])
    assert curve.pairs == (100, 200, 400, 800) and curve.scores == (60.0, 65.0, 65.0, 70.0)
    assert curve.needed(60.0) == pytest.approx(100) and curve.needed(67.5) == pytest.approx(400 * 2**0.5)


def test_the_gain_of_a_label_is_the_entropy_that_it_takes_away():
    """By hand, from one pair in stock and a flat prior: the label settles it, one bit; a second pair's entropy falls by
    1 - h(1/3) = 0.0817 bits, which the first label's gain holds too."""
    assert Stratum(1, 0, 0).gain(0) == pytest.approx(1.0)
    assert Stratum(2, 0, 0).gain(0) == pytest.approx(1.0 + 0.0817, abs=1e-4)
    gains_of_one = [Stratum(500, 30, 10).gain(k) for k in range(500)]
    assert gains_of_one == sorted(gains_of_one, reverse=True) and gains_of_one[-1] > 0


@pytest.mark.parametrize("labels", [0, 1, 137, 900, 5000])
def test_gold_over_strata_sums_to_the_budget_keeps_to_the_stock_and_follows_the_gain(labels):
    strata = {
        "sure": Stratum(400, 95, 5), "unsure": Stratum(400, 60, 40), "unknown": Stratum(400, 3, 2), "small": Stratum(20, 3, 2),
        "gone": Stratum(0, 9, 9),
    }  # fmt: skip
    dealt = over_strata(strata, labels)
    assert sum(dealt.values()) == min(labels, 1220) and all(dealt[n] <= s.stock for n, s in strata.items())
    assert dealt["sure"] <= dealt["unsure"] and dealt["small"] <= dealt["unknown"] and dealt["gone"] == 0
    if labels == 137:
        assert dealt["unknown"] > dealt["sure"]
    more = over_strata(
        strata | {"sure": Stratum(400, 60, 40)}, labels
    )  # the more is to be learned there, the more go there
    assert more["sure"] >= dealt["sure"]


def test_money_is_exact_and_comes_as_a_range():
    plan = costed(
        {"gold": 3, "silver": 7, "stage2": 11},
        {"gold": PriceRange.read("0.1-0.7"), **{r: PRICES[r] for r in ("silver", "stage2")}},
    )
    assert (plan.low, plan.high) == (Decimal("0.76"), Decimal("2.56"))
    for wrong in ("a", "0.7-0.1", "-1"):
        with pytest.raises(ValueError, match="no price"):
            PriceRange.read(wrong)


@pytest.mark.parametrize("budget", ["0", "37.41", "1000", "50000", "2000000"])
@pytest.mark.parametrize("needed", [None, 5_000, 290_000, 12_000_000])
def test_no_plan_costs_more_than_the_budget_or_has_more_pairs_than_are_needed(budget, needed):
    plans = list(alternatives(Decimal(budget), needed, PRICES))
    assert plans and all(p.high <= Decimal(budget) for p in plans)
    assert all(min(p.pairs.values()) >= 0 for p in plans)
    assert needed is None or all(p.total <= needed for p in plans)
    assert Decimal(budget) < 1000 or len(plans) > 4


def test_the_worked_example_is_found_to_have_both_its_flaws():
    """Spec 9.07: 50K gold and 500K silver take the $50K, and stage 2 is not free; and 73.5 is a mean of seven."""
    asked = {"gold": 50_000, "silver": 500_000, "stage2": 4_000_000}
    said = flaws(Decimal(50_000), asked, PRICES, 73.5, published_means())
    assert len(said) == 2
    assert "$90,000.00" in said[0] and "$40,000.00 more" in said[0] and "$10,000.00" in said[0]
    assert "INF-ORM" in said[1] and "seven" in said[1] and "73.0" in said[1]
    [alone] = flaws(Decimal(50_000), {"gold": 100_000}, PRICES, 73.0, published_means())
    assert "nothing is left" in alone
    assert (
        flaws(Decimal(60_000), {"gold": 50_000, "silver": 500_000, "stage2": 10**6}, PRICES, 73.0, published_means())
        == []
    )


def test_odd_prices_are_said_and_not_refused():
    assert doubtful(PRICES) == []
    said = doubtful(
        {"gold": PriceRange.read("0.1"), "silver": PriceRange.read("0.2"), "stage2": PriceRange.read("0.3")}
    )
    assert len(said) == 2 and "as well label all" in said[0]


def test_a_hundred_thousand_labels_take_a_year_or_less():
    assert [round(w) for w in weeks(100_000)] == [33, 50]


def test_the_stop_rule_waits_for_quiet_windows_on_the_published_series():
    """One window below 0.3 points fires at 8M and is followed by a gain of 0.32; two in a row fire at 12M (spec 9.06)."""
    series = [r["value"] for r in published_scores().to_pylist() if r["sheet"] == "gain_per_million"]
    assert len(series) == 14
    assert [1 + (stops_after(series, 0.3, patience) or 0) for patience in (1, 2)] == [8, 12]
    assert stops_after(series, 0.3, 3) is None and stops_after(series, 3.0, 1) == 1


def test_gains_are_for_equal_numbers_of_pairs():
    assert gains([(100, 60.0), (300, 64.0), (300, 65.0), (400, 64.5)], per=100) == [2.0, -0.5]


# ---- the command ---------------------------------------------------------------------------------------------------
@pytest.fixture
def plan(tmp_path, capsys):
    """`assay plan` on an empty lake: exit status and what was printed."""
    config = tmp_path / "assay.toml"
    config.write_text(
        f'[lake]\npath = "{tmp_path}/lake"\n[world]\n[[sources]]\nname = "s"\npath = "s.jsonl"\n[[judges.panel]]\nname = "j"\n[[judges.panel]]\nname = "k"\n'
    )

    def run(*given: str) -> tuple[int, str]:
        status = main(["plan", "--config", str(config), *given])
        return status, " ".join(capsys.readouterr().out.split())

    return run


def test_the_command_deals_gold_over_what_people_turned_round(plan, tmp_path):
    """Of maths people left 9 of 10 labels, of advice 6 of 10; ten pairs of each are unlabelled, and 12 can be paid for."""
    lake = Lake(str(tmp_path / "lake"))
    texts = {"conversation": [{"role": "user", "content": "why?"}], "chosen": "a", "rejected": "b"}
    names = {kind: [f"{kind[0]}{i:02d}" for i in range(20)] for kind in ("maths", "advice")}
    everything = [pair for pairs in names.values() for pair in pairs]
    put(lake, t.CLEAN_POOL, [{"pair_id": p, **texts} for p in everything], "b00")
    about = [
        {"pair_id": p, "category": kind, "controversiality": "low"} for kind, pairs in names.items() for p in pairs
    ]
    put(lake, t.ATTRIBUTES, about, "b00")
    asked = [p for pairs in names.values() for p in pairs[:10]]
    put(lake, t.ANNOTATION_BATCH, [{"pair_id": p, "assigned_to": "people", "why": "seed"} for p in asked], "iter_00")
    turned = {*names["maths"][:1], *names["advice"][:4]}
    gold = [{"pair_id": p, "verified_order": "swapped" if p in turned else "original", "role": "train"} for p in asked]
    put(lake, t.GOLD, gold, "iter_00")
    status, said = plan("--gold", "12", "--curve", "published")
    assert status == 0 and "Where 12 gold pairs would tell most" in said
    rows = re.findall(r"(advice|maths), low +│ +(\d+) +│ +(\d+) +│ +(\d+)% +│ +(\d+)", said)
    assert rows == [("advice", "10", "10", "40", "10"), ("maths", "10", "10", "10", "2")]


def test_the_command_plans_refuses_and_finds_the_flaws(plan):
    status, said = plan("--target", "73", "--budget", "50,000")
    assert status == 0 and "needs 281,600 curated pairs, 1.8%" in said and "fires at 12M" in said
    status, said = plan("--target", "88")
    assert status == 2 and "not extrapolated" in said
    prices = [x for p in ("gold=0.5", "silver=0.05", "stage2=0.01") for x in ("--price", p)]
    asked = ["--gold", "50000", "--silver", "500000", "--stage2", "4000000", "--budget", "$50000", "--target", "73.5"]
    _, said = plan(*asked, *prices)
    assert said.count("Wrong with this plan") == 2 and "16.7 to 25.0" in said
    assert plan("--price", "people=3")[0] == plan("--price", "gold=free")[0] == plan("--curve", "nobody")[0] == 2
