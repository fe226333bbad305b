"""Stage 2's rule: the truth table of spec section 4, its invariants, the other policies."""

import itertools

import pyarrow as pa
import pytest

from assets import stage2
from assets.table_asset import Run, publish
from resources.lake import Lake
from resources.settings import Settings
from resources.tables import SCORES, STAGE2_VERDICTS

VOTES = list(itertools.product("+-0", "+-0", "+-0"))  # b, g, and what the judges say if they are asked
P = {"+": 0.8, "-": 0.2, "0": 0.5}
VERDICT = {"+": "original", "-": "swapped", "0": "undecided"}
SWAP = {"+": "-", "-": "+", "0": "0"}

# Spec section 4, line by line: (b, g) -> class, or the class by j where the judges are asked.
TABLE = {
    ("+", "+"): "keep",
    ("+", "-"): "drop",
    ("+", "0"): "drop",
    ("-", "+"): {"+": "keep", "-": "drop", "0": "drop"},
    ("-", "-"): "flip",
    ("-", "0"): "drop",
    ("0", "+"): {"+": "keep", "-": "drop", "0": "drop"},
    ("0", "-"): {"+": "drop", "-": "flip", "0": "drop"},
    ("0", "0"): "drop",
}


def settings(**rule) -> Settings:
    judges = {"panel": [{"name": "one"}, {"name": "two"}]}
    raw = {"world": {}, "lake": {"buckets": 1}, "sources": [{"name": "s", "path": "s"}], "judges": judges}
    return Settings.model_validate(raw | {"stage2": rule})


def score_rows(votes, p=P) -> pa.Table:
    empty = dict.fromkeys(SCORES.schema.names) | {"best_model": "m", "gold_model": "n"}
    rows = [empty | {"pair_id": f"{i:02d}", "p_best": p[b], "p_gold": P[g]} for i, (b, g, _) in enumerate(votes)]
    return pa.Table.from_pylist(rows, SCORES.schema)


def decide(root, votes, p=P, **rule) -> list[dict]:
    """Score, route, ask the judges about what was routed, decide; one row for each of `votes`, in their order."""
    run = Run(settings(**rule), Lake(str(root)), "b00")
    run.lake.write(SCORES, score_rows(votes, p), "b00")
    list(publish(stage2.routed, run))
    with run.lake.connect() as con:
        asked = {r[0] for r in con.sql("SELECT pair_id FROM routed").fetchall()}
    said = [
        {"pair_id": f"{i:02d}", "verdict": VERDICT[j], "share": 1.0, "voices": 3, "votes": "{}", "reason": "majority"}
        for i, (_, _, j) in enumerate(votes)
        if f"{i:02d}" in asked
    ]
    run.lake.write(STAGE2_VERDICTS, pa.Table.from_pylist(said, STAGE2_VERDICTS.schema), "b00")
    list(publish(stage2.decisions, run))
    list(publish(stage2.partition, run))
    with run.lake.connect() as con:
        return con.sql("SELECT * FROM decisions ORDER BY pair_id").to_arrow_table().to_pylist()


def test_the_truth_table(tmp_path):
    for (b, g, j), row in zip(VOTES, decide(tmp_path, VOTES), strict=True):
        expected = TABLE[b, g]
        asked = isinstance(expected, dict)
        assert row["class"] == (expected[j] if asked else expected), (b, g, j)
        assert (row["j"] != "") == asked, (b, g, j)


def test_reasons(tmp_path):
    reasons = {(r["b"], r["g"], r["j"]): r["reason"] for r in decide(tmp_path, VOTES)}
    assert reasons["+", "+", ""] == "agreed"
    assert reasons["+", "-", ""] == reasons["-", "+", "-"] == reasons["0", "-", "+"] == "conflict"
    assert reasons["+", "0", ""] == reasons["-", "0", ""] == reasons["0", "0", ""] == "tie"
    assert reasons["-", "+", "+"] == reasons["0", "-", "-"] == "judged"
    assert reasons["-", "+", "0"] == "undecided"
    assert reasons["-", "-", ""] == "both_reject"


def test_classes_are_disjoint_and_lose_nothing(tmp_path):
    decide(tmp_path, VOTES)
    with Lake(str(tmp_path)).connect() as con:
        counts = [con.sql(f"SELECT pair_id FROM {t}").fetchall() for t in ("kept", "flipped", "dropped")]
    ids = [x[0] for c in counts for x in c]
    assert sorted(ids) == sorted({*ids}) == [f"{i:02d}" for i in range(len(VOTES))]


def test_swapping_a_pair_swaps_keep_and_flip(tmp_path):
    """Except where the judges were not asked because the best model agreed (spec 4, invariant 2)."""
    one = decide(tmp_path / "one", VOTES)
    two = decide(tmp_path / "two", [tuple(SWAP[v] for v in votes) for votes in VOTES])
    swapped = {"keep": "flip", "flip": "keep", "drop": "drop"}
    for (b, g, _), here, there in zip(VOTES, one, two, strict=True):
        if {b, g} != {"+", "-"}:
            assert there["class"] == swapped[here["class"]]


@pytest.mark.parametrize(
    ("policy", "rule"),
    [
        ("best_only", lambda b, g, j: {"+": "keep", "-": "flip", "0": "drop"}[b]),
        ("gold_only", lambda b, g, j: {"+": "keep", "-": "flip", "0": "drop"}[g]),
        ("both", lambda b, g, j: {("+", "+"): "keep", ("-", "-"): "flip"}.get((b, g), "drop")),
        ("flip_all", lambda b, g, j: "keep" if g == "+" and (b == "+" or j == "+") else "flip"),
        (
            "direct_retain",
            lambda b, g, j: "keep" if b == "+" or (g == "+" and j == "+") else "flip"
            if g == "-" and (b == "-" or j == "-") else "drop",
        ),
        ("no_human", lambda b, g, j: "keep" if b == "+" or j == "+" else "flip" if j == "-" else "drop"),
    ],
)  # fmt: skip
def test_other_policies(tmp_path, policy, rule):
    for votes, row in zip(VOTES, decide(tmp_path, VOTES, policy=policy), strict=True):
        assert row["class"] == rule(*votes), (policy, votes)
        assert row["rule"].startswith(f"v1 {policy} ")


def test_the_band_sends_uncertain_pairs_to_the_judges(tmp_path):
    near = P | {"+": 0.54}
    confident = decide(tmp_path / "a", [("+", "+", "-")], p=near)[0]
    unsure = decide(tmp_path / "b", [("+", "+", "-")], p=near, band=0.05)[0]
    assert (confident["class"], confident["j"]) == ("keep", "")
    assert (unsure["b"], unsure["j"], unsure["class"]) == ("0", "-", "drop")


def test_a_pair_that_could_not_be_scored_is_dropped_with_its_reason(tmp_path):
    run = Run(settings(), Lake(str(tmp_path)), "b00")
    row = dict.fromkeys(SCORES.schema.names) | {"pair_id": "00", "best_model": "m", "gold_model": "n"}
    table = pa.Table.from_pylist([row | {"unscored": "over_length"}], SCORES.schema)
    run.lake.write(SCORES, table, "b00")
    list(publish(stage2.routed, run))
    run.lake.write(STAGE2_VERDICTS, [], "b00")
    list(publish(stage2.decisions, run))
    with run.lake.connect() as con:
        assert con.sql("SELECT class, reason FROM decisions").fetchall() == [("drop", "over_length")]
        assert con.sql("SELECT count(*) FROM routed").fetchall() == [(0,)]
