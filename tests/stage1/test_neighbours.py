"""The k rule of spec 3.07, boundaries included."""

import math

import pytest

from curation.neighbours import k_for


@pytest.mark.parametrize(
    ("p", "k"),
    [(0.0, 8), (0.5, 8), (math.nextafter(0.5, 1), 4), (0.6249, 4), (0.625, 3), (0.7499, 3), (0.75, 2), (0.8749, 2),
     (0.875, 1), (math.nextafter(1.0, 0), 1), (1.0, 0)],
)  # fmt: skip
def test_boundaries(p, k):
    assert k_for(p, 8) == k


@pytest.mark.parametrize("p", [float("nan"), -0.01, 1.01])
def test_no_probability_is_an_error(p):
    with pytest.raises(ValueError, match="p must lie"):
        k_for(p)
