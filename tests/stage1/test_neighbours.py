"""The k rule of spec 3.07, boundaries included."""

import math

import duckdb
import pytest

from sql import statement


def k_for(p: float | None, k_max: int) -> int:
    with duckdb.connect() as con:
        con.execute(statement("macros"))
        return con.execute("SELECT k_for($p::DOUBLE, $k_max)", parameters={"p": p, "k_max": k_max}).fetchall()[0][0]


@pytest.mark.parametrize(
    ("p", "k"),
    [(0.0, 8), (0.5, 8), (math.nextafter(0.5, 1), 4), (0.6249, 4), (0.625, 3), (0.7499, 3), (0.75, 2), (0.8749, 2),
     (0.875, 1), (math.nextafter(1.0, 0), 1), (1.0, 0)],
)  # fmt: skip
def test_boundaries(p, k):
    assert k_for(p, 8) == k


def test_a_pair_that_no_model_has_seen_may_ask_for_all():
    assert k_for(None, 5) == 5


def test_no_probability_is_an_error():
    with pytest.raises(duckdb.ConversionException):
        k_for(float("nan"), 8)
