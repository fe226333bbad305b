"""Intervals against published examples and exact small cases."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.intervals import NOTHING, Estimate, difference, paired_difference, wilson


def test_wilson_is_newcombes_example():
    """Newcombe 1998 (two-sided intervals for the single proportion), table I: 81 of 263 and 0 of 20."""
    assert wilson(81, 263) == pytest.approx((0.3080, 0.2553, 0.3662), abs=5e-5)
    value, low, high = wilson(0, 20)
    assert (value, low) == (0.0, 0.0) and high == pytest.approx(0.1611, abs=5e-5)
    assert wilson(20, 20).high == 1.0


def test_difference_is_newcombes_example():
    """Newcombe 1998 (intervals for the difference of independent proportions), method 10: 56/70 and 48/80."""
    assert difference(wilson(56, 70), wilson(48, 80)) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)


def test_nothing_to_measure_gives_nothing():
    assert wilson(0, 0) == NOTHING
    assert difference(NOTHING, wilson(1, 2)) == NOTHING
    assert difference(Estimate(0.7, None, None), wilson(1, 2)) == (pytest.approx(0.2), None, None)
    assert paired_difference([], []) == NOTHING


@pytest.mark.parametrize(("hits", "n"), [(3, 2), (-1, 2), (1, 0), (0, -1)])
def test_impossible_counts_are_refused(hits, n):
    with pytest.raises(ValueError, match="hits among"):
        wilson(hits, n)


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, 2 * n), st.just(n))))
def test_the_interval_holds_the_share_and_stays_a_share(case):
    halves, n = case
    value, low, high = wilson(halves / 2, n)
    assert 0 <= low <= value <= high <= 1
    mirrored = wilson(n - halves / 2, n)
    assert (1 - high, 1 - low) == pytest.approx((mirrored.low, mirrored.high))


def test_wilson_covers_the_truth_about_95_times_in_100():
    hits = np.random.default_rng(1).binomial(60, 0.8, size=4000)
    inside = [low <= 0.8 <= high for _, low, high in (wilson(int(h), 60) for h in hits)]
    assert 0.93 < np.mean(inside) < 0.97


def test_pairing_narrows_what_goes_up_and_down_together():
    """Both right or wrong on the same items but for one in ten, which only `a` has right."""
    b = [1.0, 0.0] * 50
    a = [1.0 if i % 20 == 1 else v for i, v in enumerate(b)]
    value, low, high = paired_difference(a, b, seed=3)
    assert value == pytest.approx(0.05)
    # five gains of one in a hundred: the bootstrap's standard error is sqrt(.05 * .95 / 100) = 0.0218
    assert low == pytest.approx(0.01, abs=0.011) and high == pytest.approx(0.095, abs=0.011)
    loose = difference(wilson(sum(a), 100), wilson(sum(b), 100))
    assert high - low < loose.high - loose.low
    assert paired_difference(a, b, seed=3) == (value, low, high)


def test_paired_values_must_be_pairs():
    with pytest.raises(ValueError, match="equal lengths"):
        paired_difference([1.0], [1.0, 0.0])
