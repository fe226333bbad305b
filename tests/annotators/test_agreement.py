"""Agreement and reports on people: hand-computed, and equal to a computation of another kind on real labels."""

import itertools
from collections import defaultdict

import numpy as np
import pytest

from curation.agreement import Said, agreement, annotators, krippendorff_alpha, overruled
from curation.opinions import Opinion, standing
from measurements.people import pandalm, prd, ukp, worth
from tests.support.places import SHARED

GOLD = SHARED / "data" / "gold"
real = pytest.mark.skipif(not (GOLD / "pandalm_testset_v1.json.gz").exists(), reason=f"no {GOLD}")


def by_pairs(units: list[list[str]]) -> float:
    """Alpha from its first definition: disagreement among pairs of labels on one unit, over that among all labels."""
    units = [u for u in units if len(u) > 1]
    n = sum(map(len, units))
    observed = sum(sum(a != b for a, b in itertools.permutations(u, 2)) / (len(u) - 1) for u in units) / n
    every = [v for u in units for v in u]
    totals = {v: every.count(v) for v in set(every)}
    expected = sum(a * b for (x, a), (y, b) in itertools.product(totals.items(), totals.items()) if x != y) / (
        n * (n - 1)
    )
    return 1 - observed / expected


def test_alpha_of_a_small_table_is_what_it_is_by_hand():
    # units: oo, oo, os, ss; o 5 times, s 3 times; observed 2/8, expected 2 * 5 * 3 / (8 * 7) -> 1 - 0.25 * 56 / 30
    counts = np.array([[2, 0, 0], [2, 0, 0], [1, 1, 0], [0, 2, 0], [1, 0, 0]])
    assert krippendorff_alpha(counts, 0).value == pytest.approx(1 - 0.25 * 56 / 30)
    assert krippendorff_alpha(np.array([[2, 0, 0], [3, 0, 0]])).value is None  # nobody ever said anything else
    assert krippendorff_alpha(np.zeros((0, 3), int)).value is None


def test_the_interval_of_alpha_covers_what_it_is_of():
    rng, covered = np.random.default_rng(1), 0
    for n in range(60):  # two people who err in one of five, on 120 pairs; the true alpha is 2 * 0.68 - 1 = 0.36
        truth = rng.integers(0, 2, 120)
        votes = np.stack([np.where(rng.random(120) < 0.2, 1 - truth, truth) for _ in range(2)])
        counts = np.stack([(votes == v).sum(0) for v in (0, 1, 2)], axis=1)
        e = krippendorff_alpha(counts, 300, seed=n)
        covered += e.low <= 0.36 <= e.high
    assert covered >= 51  # of 57 expected; fewer with p < 0.01


@real
@pytest.mark.parametrize("name", ["pandalm", "prd", "ukp"])
def test_agreement_on_real_labels_is_what_another_computation_finds(name):
    said = list({"pandalm": pandalm, "prd": prd, "ukp": ukp}[name](GOLD))
    if name == "ukp":
        said = [s for s in said if int(s.pair) <= 3000]
    units = defaultdict(list)
    for s in said:
        units[s.pair].append(s.verdict)
    found = agreement(said, 0)
    whole = next(a for a in found if a.stratum == "all")
    assert whole.alpha.value == pytest.approx(by_pairs(list(units.values())), abs=1e-12)
    pairs = [a == b for u in units.values() for a, b in itertools.combinations(u, 2)]
    if name != "ukp":  # with as many labels on every pair
        assert whole.equal.value == pytest.approx(np.mean(pairs))
    group = next(a for a in found[1:] if a.pairs)
    least = group.stratum
    of_it = defaultdict(list)
    for s in said:
        if least in s.strata:
            of_it[s.pair].append(s.verdict)
    assert group.alpha.value == pytest.approx(by_pairs(list(of_it.values())), abs=1e-12)


@real
def test_a_third_opinion_is_right_more_often_than_one_person_and_decides_more_than_two():
    rows = {name: (right, decided, answers) for name, right, decided, answers in worth(ukp(GOLD))}
    one, two, third = (
        rows[n] for n in ("one person", "two; where they differ, left out", "two; where they differ, a third")
    )
    assert third[0].low > one[0].high and third[1].low > two[1].high
    assert third[2] < 3 and third[0].value == rows["three for all"][0].value


def test_what_a_pair_still_needs():
    a, b, u, no = Opinion("first"), Opinion("second"), Opinion("undecided", "tie"), Opinion("undecided", "not_mine")
    for said, wanted, rule, needed, by in (
        ([], 1, "third", 1, "annotator"), ([a], 1, "third", 0, "annotator"), ([a], 2, "third", 1, "annotator"),
        ([a, a], 2, "third", 0, "annotator"), ([a, b], 2, "third", 1, "annotator"), ([a, u], 2, "third", 1, "annotator"),
        ([a, b, a], 2, "third", 0, "annotator"), ([a, b, u], 2, "third", 0, "annotator"),
        ([a, b], 2, "adjudicate", 1, "adjudicator"), ([a, b], 2, "leave", 0, "annotator"),
        ([a, b, Opinion("undecided", "tie", True)], 2, "adjudicate", 0, "annotator"),
    ):  # fmt: skip
        found = standing(said, wanted, rule, 3)
        assert (found.needed, found.by) == (needed, by), (said, wanted, rule)
    assert standing([no], 1, "third", 3).needed == 0
    assert standing([no], 1, "third", 3, passes=1) == (1, "annotator", False, (0,))
    assert standing([no, a], 1, "third", 3, passes=1) == (0, "annotator", False, (0,))


def test_a_report_names_who_is_too_fast_always_follows_the_hint_or_misses_known_pairs():
    hint = ["original", "swapped"] * 15
    said = [Said(f"p{i}", "follows", h, seconds=20, hint=h) for i, h in enumerate(hint)]
    said += [Said(f"p{i}", "thinks", "original", seconds=60, hint=h) for i, h in enumerate(hint)]
    said += [Said(f"k{i}", "guesses", "swapped" if i < 6 else "original", seconds=2) for i in range(8)]
    found = {a.annotator: a for a in annotators(said, {f"k{i}": "original" for i in range(8)})}
    assert found["follows"].notes == ("equal to the hint in all of 30 labels",) and found["thinks"].notes == ()
    assert found["guesses"].notes == ("8 labels outside 10 to 300 s", "2 of 8 known pairs right")
    assert (found["thinks"].labels, found["thinks"].per_hour, found["thinks"].with_others.value) == (30, 60.0, 0.5)
    assert found["guesses"].with_known.value == 0.25 and found["guesses"].share == 8 / 68
    assert overruled(said).value == 15 / 60
