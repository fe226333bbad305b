"""How votes become verdicts: by hand-computed panels."""

import itertools
import json

import pyarrow as pa
import pytest

from curation.verdicts import aggregate
from resources.tables import VERDICTS


def votes(**panel: str) -> pa.Table:
    """One pair; each judge's replicates as letters: o, s, t, n (none) or x (an error that carries a vote)."""
    names = {"o": "original", "s": "swapped", "t": "tie", "n": "none", "x": "original"}
    rows = [
        {"pair_id": "p", "judge": judge, "vote": names[v], "status": "error" if v == "x" else "ok"}
        for judge, letters in panel.items()
        for v in letters
    ]
    return pa.Table.from_pylist(rows)


def decided(quorum: int = 2, **panel: str) -> dict:
    (row,) = aggregate(votes(**panel), quorum).to_pylist()
    return row


def test_a_judge_with_many_samples_has_one_voice():
    row = decided(a="ooooooooo", b="s", c="s")
    assert (row["verdict"], row["voices"], row["reason"]) == ("swapped", 3, "majority")
    assert row["share"] == pytest.approx(2 / 3)
    assert json.loads(row["votes"]) == {"a": "original", "b": "swapped", "c": "swapped"}


def test_a_judge_that_follows_the_position_says_tie():
    # both orders, always "candidate 1": one vote each way
    row = decided(a="os", b="os", c="oo")
    assert (row["verdict"], row["reason"]) == ("undecided", "tie")
    assert json.loads(row["votes"]) == {"a": "tie", "b": "tie", "c": "original"}


@pytest.mark.parametrize(
    ("panel", "verdict", "voices", "share", "reason"),
    [
        ({"a": "o", "b": "o"}, "original", 2, 1.0, "majority"),
        ({"a": "s", "b": "s", "c": "t"}, "swapped", 3, 2 / 3, "majority"),
        ({"a": "o", "b": "s"}, "undecided", 2, 0.0, "tie"),
        ({"a": "o", "b": "s", "c": "t"}, "undecided", 3, 1 / 3, "tie"),
        ({"a": "o", "b": "t"}, "undecided", 2, 0.5, "tie"),
        ({"a": "t", "b": "t", "c": "o"}, "undecided", 3, 2 / 3, "tie"),
        ({"a": "o", "b": "n"}, "undecided", 1, 0.0, "no_quorum"),
        ({"a": "n", "b": "n"}, "undecided", 0, 0.0, "no_quorum"),
        ({"a": "o", "b": "x"}, "undecided", 1, 0.0, "no_quorum"),
        ({"a": "on", "b": "onn"}, "original", 2, 1.0, "majority"),
        ({"a": "oos", "b": "ssn", "c": "s"}, "swapped", 3, 2 / 3, "majority"),
    ],
)
def test_panels(panel, verdict, voices, share, reason):
    row = decided(**panel)
    assert (row["verdict"], row["voices"], row["reason"]) == (verdict, voices, reason)
    assert row["share"] == pytest.approx(share)


def test_every_panel_of_three_judges_agrees_with_a_count_by_hand():
    for panel in itertools.product("ostn", repeat=3):
        row = decided(**dict(zip("abc", panel, strict=True)))
        counts = {v: panel.count(v) for v in "ost"}
        best = max(counts.values())
        alone = [v for v, n in counts.items() if n == best]
        voices = sum(counts.values())
        wanted = "undecided"
        if voices >= 2 and len(alone) == 1 and alone[0] != "t":
            wanted = {"o": "original", "s": "swapped"}[alone[0]]
        assert row["verdict"] == wanted, panel


def test_the_result_is_the_table_of_verdicts():
    table = aggregate(votes(a="o", b="o"), 2)
    assert table.schema.equals(VERDICTS.schema.remove_metadata())
    assert aggregate(votes(a="o").slice(0, 0), 1).num_rows == 0
