"""How votes become verdicts: by hand-computed panels."""

import itertools
import json
import math

import pyarrow as pa
import pytest

from curation.tables import VERDICTS
from curation.verdicts import aggregate, mapped_back
from curation.vote_models import WEIGHTS


def votes(**panel: str) -> pa.Table:
    """One pair; each judge's replicates as letters: o, s, t, n (none) or x (an error that carries a vote)."""
    names = {"o": "original", "s": "swapped", "t": "tie", "n": "none", "x": "original"}
    rows = [
        {"pair_id": "p", "judge": judge, "vote": names[v], "status": "error" if v == "x" else "ok",
         "shown_first": ("chosen", "rejected")[i % 2]}
        for judge, letters in panel.items()
        for i, v in enumerate(letters)
    ]  # fmt: skip
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
        # 3 of 7 voices are the most, and no majority; 4 of 7 are one, and 3 of 5 where two abstain
        ({"a": "o", "b": "o", "c": "o", "d": "s", "e": "s", "f": "t", "g": "t"}, "undecided", 7, 2 / 7, "tie"),
        ({"a": "o", "b": "o", "c": "o", "d": "o", "e": "s", "f": "s", "g": "t"}, "original", 7, 4 / 7, "majority"),
        ({"a": "o", "b": "o", "c": "o", "d": "s", "e": "s", "f": "n", "g": "x"}, "original", 5, 3 / 5, "majority"),
        ({"a": "o", "b": "o", "c": "s", "d": "t"}, "undecided", 4, 1 / 4, "tie"),  # half is no majority
        # within a judge: 2 of 4 votes give it no voice for a side, 2 of 3 do, an abstaining sample not counted
        ({"a": "oost", "b": "oost", "c": "s"}, "undecided", 3, 2 / 3, "tie"),
        ({"a": "oosn", "b": "oosnn", "c": "s"}, "original", 3, 2 / 3, "majority"),
    ],
)
def test_panels(panel, verdict, voices, share, reason):
    row = decided(**panel)
    assert (row["verdict"], row["voices"], row["reason"]) == (verdict, voices, reason)
    assert row["share"] == pytest.approx(share)


@pytest.mark.parametrize("judges", [3, 5])
def test_every_panel_agrees_with_a_count_by_hand(judges):
    for panel in itertools.combinations_with_replacement("ostn", judges):
        row = decided(**dict(zip("abcde", panel, strict=False)))
        voices = judges - panel.count("n")
        wanted = "undecided"
        for letter, name in (("o", "original"), ("s", "swapped")):
            if voices >= 2 and panel.count(letter) > voices / 2:
                wanted = name
        assert row["verdict"] == wanted, panel
        assert row["voices"] == voices


@pytest.mark.parametrize(
    ("answer", "chosen_first", "vote"),
    [
        ("candidate_1", True, "original"),
        ("candidate_1", False, "swapped"),
        ("candidate_2", True, "swapped"),
        ("candidate_2", False, "original"),
        ("tie", True, "tie"),
        ("cannot_determine", False, "none"),
        ("", True, "none"),
    ],
)
def test_an_answer_is_mapped_back_to_the_original_order(answer, chosen_first, vote):
    assert mapped_back(answer, chosen_first) == vote


def test_the_result_is_the_table_of_verdicts():
    table = aggregate(votes(a="o", b="o"), 2)
    assert table.schema.equals(VERDICTS.schema.remove_metadata())
    assert aggregate(votes(a="o").slice(0, 0), 1).num_rows == 0


def weights(method="stacking", **judges: float) -> pa.Table:
    """The same weight in both orders."""
    rows = [
        {"judge": j, "shown_first": f, "method": method, "for_original": w, "for_swapped": -w, "pairs": 9}
        for j, w in judges.items()
        for f in ("chosen", "rejected")
    ]
    return pa.Table.from_pylist(rows, WEIGHTS)


def test_weights_decide_where_they_are_given():
    # two against one, but the one weighs more: 2 x 1.5 - 2 x 0.5 - 2 x 0.5 = 1
    (row,) = aggregate(votes(a="oo", b="ss", c="ss"), 2, weights(a=1.5, b=0.5, c=0.5)).to_pylist()
    assert (row["verdict"], row["reason"], row["voices"]) == ("original", "stacking", 3)
    assert row["p"] == pytest.approx(1 / (1 + math.exp(-1)))
    assert row["share"] == pytest.approx(1 / 3)  # of the judges agree
    assert decided(a="oo", b="ss", c="ss")["p"] is None


@pytest.mark.parametrize(
    ("panel", "verdict", "reason"),
    [
        ({"a": "oo"}, "undecided", "no_quorum"),
        ({"a": "os", "b": "tt"}, "undecided", "unsure"),  # a follows the position: its two orders cancel
        ({"a": "nn", "b": "oo", "c": "tt"}, "original", "dawid_skene"),
        ({"d": "oo", "b": "nt"}, "undecided", "unsure"),  # a judge without a weight counts nothing
        ({"a": "xx", "b": "ss", "c": "tt"}, "swapped", "dawid_skene"),
    ],
)
def test_panels_with_weights(panel, verdict, reason):
    (row,) = aggregate(votes(**panel), 2, weights("dawid_skene", a=1.0, b=0.7, c=0.4)).to_pylist()
    assert (row["verdict"], row["reason"]) == (verdict, reason)


def test_a_verdict_less_likely_than_is_asked_for_is_none():
    # one vote of weight 1: the odds are e to 1, the probability 0.731
    panel, weight = votes(a="o", b="t"), weights(a=1.0)
    (loose,) = aggregate(panel, 2, weight, sure=0.73).to_pylist()
    (strict,) = aggregate(panel, 2, weight, sure=0.74).to_pylist()
    assert (loose["verdict"], loose["reason"]) == ("original", "stacking")
    assert (strict["verdict"], strict["reason"]) == ("undecided", "unsure") and strict["p"] == loose["p"]
