"""Stage 2's rule: the truth table of spec section 4, its invariants, the other policies, the rule file."""

import itertools
import json
import math
import subprocess
import sys

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as prove
from hypothesis import strategies as st

from assets import stage2
from cli.decide import again
from curation.decision_rule import Rule, RuleError, loads
from curation.decision_rule import decide as apply
from curation.tables import (
    AUDIT,
    BEST_REWARD_MODEL,
    CLEAN_POOL,
    DECISION_RULE,
    GOLD,
    GOLD_FOLDS,
    GOLD_REWARD_MODEL,
    SCORES,
    STAGE2_VERDICTS,
)
from resources.lake import Lake
from resources.run import Run
from resources.settings import Settings
from sql import statement
from tests.support.lakes import published, put, query

CON = duckdb.connect()
VOTES = list(itertools.product("+-0", "+-0", "+-0"))  # b, g, and what the judges say if they are asked
P = {"+": 0.8, "-": 0.2, "0": 0.5, ".": None}
VERDICT = {"+": "original", "-": "swapped", "0": "undecided"}
SWAP = {"+": "-", "-": "+", "0": "0"}
SWAPPED = {"keep": "flip", "flip": "keep", "drop": "drop"}
POLICIES = ("symmetric", "flip_all", "direct_retain", "best_only", "gold_only", "both", "no_human")

# By hand from spec section 4 and O-01 to O-04. A row a vote of the best model, a cell a vote of the gold model
# (+ - 0 missing): K keep, F flip, D drop; four letters where the judges are asked: by their vote + - 0 missing.
TABLES = {
    "symmetric": """
        +   K     D     D   D
        -   KDDD  F     D   D
        0   KDDD  DFDD  D   D
        .   D     D     D   D""",
    "flip_all": """
        +   K     F     F   D
        -   KFFD  F     F   D
        0   KFFD  F     F   D
        .   D     D     D   D""",
    "direct_retain": """
        +   K     K     K   K
        -   KDDD  F     D   D
        0   KDDD  DFDD  D   D
        .   D     D     D   D""",
    "best_only": """
        +   K     K     K   K
        -   F     F     F   F
        0   D     D     D   D
        .   D     D     D   D""",
    "gold_only": """
        +   K     F     D   D
        -   K     F     D   D
        0   K     F     D   D
        .   K     F     D   D""",
    "both": """
        +   K     D     D   D
        -   D     F     D   D
        0   D     D     D   D
        .   D     D     D   D""",
    "no_human": """
        +   K     K     K     K
        -   KFDD  KFDD  KFDD  KFDD
        0   KFDD  KFDD  KFDD  KFDD
        .   D     D     D     D""",
}
CLASS = {"K": "keep", "F": "flip", "D": "drop"}


def expected(policy: str, b: str, g: str, j: str) -> tuple[str, bool]:
    """The class and whether the judges are asked."""
    line = next(ln.split() for ln in TABLES[policy].splitlines() if ln.split() and ln.split()[0] == b)
    cell = line[1 + "+-0.".index(g)]
    return CLASS[cell["+-0.".index(j)] if len(cell) > 1 else cell], len(cell) > 1


def settings(buckets: int = 1, **rule) -> Settings:
    judges = {"panel": [{"name": "one"}, {"name": "two"}]}
    raw = {"world": {}, "lake": {"buckets": buckets}, "sources": [{"name": "s", "path": "s"}], "judges": judges}
    return Settings.model_validate(raw | {"stage2": {"decision": "paper"} | rule})


def score_rows(votes, p=P) -> pa.Table:
    empty = dict.fromkeys(SCORES.schema.names) | {"best_model": "m", "gold_model": "n"}
    rows = [
        empty
        | {"pair_id": f"{i:02d}", "p_best": p[b], "p_gold": P[g]}
        | {f"unscored_{m}": "over_length" for m, v in (("best", b), ("gold", g)) if v == "."}
        for i, (b, g, _) in enumerate(votes)
    ]
    return pa.Table.from_pylist(rows, SCORES.schema)


def verdict_rows(votes) -> pa.Table:
    said = [
        {"pair_id": f"{i:02d}", "verdict": VERDICT[j], "share": 1.0, "voices": 3, "votes": "{}", "reason": "majority"}
        for i, (_, _, j) in enumerate(votes)
        if j in VERDICT
    ]
    return pa.Table.from_pylist(said, STAGE2_VERDICTS.schema)


def ruled(root, **rule) -> Lake:
    """A lake with its rule and nothing else of stage 2."""
    lake = Lake(str(root))
    run = Run(settings(**rule), lake)
    for table in (BEST_REWARD_MODEL, GOLD_REWARD_MODEL, GOLD_FOLDS, AUDIT):
        lake.write(table, [])
    for key in run.settings.partition_keys("bucket"):
        lake.write(CLEAN_POOL, [], key)
    for key in run.settings.partition_keys("iteration"):
        put(lake, GOLD, [], key)
        put(lake, stage2.ANNOTATION_BATCH, [], key)
    published(stage2.routing_rule, run)
    return lake


def settled(lake: Lake, settings: Settings) -> None:
    """The rule, once people have looked at what they are asked about."""
    for step in (stage2.audit_sample, stage2.audit_attributes, stage2.audit, stage2.decision_rule):
        published(step, Run(settings, lake))


def decide(root, votes, p=P, **rule) -> list[dict]:
    """Score, route, ask the judges about what was routed, decide; one row for each of `votes`, in their order."""
    run = Run(settings(**rule), ruled(root, **rule), "b00")
    run.lake.write(SCORES, score_rows(votes, p), "b00")
    published(stage2.routed, run)
    asked = {r[0] for r in query(run.lake, "SELECT pair_id FROM routed")}
    said = [(*v[:2], v[2] if f"{i:02d}" in asked else ".") for i, v in enumerate(votes)]
    run.lake.write(STAGE2_VERDICTS, verdict_rows(said), "b00")
    settled(run.lake, run.settings)
    published(stage2.decisions, run)
    published(stage2.partition, run)
    with run.lake.connect() as con:
        return con.sql("SELECT * FROM decisions ORDER BY pair_id").to_arrow_table().to_pylist()


def applied(rule: Rule, scores: pa.Table, verdicts: pa.Table) -> list[dict]:
    found = apply(CON, rule, CON.from_arrow(scores), CON.from_arrow(verdicts))
    return found.order("pair_id").to_arrow_table().to_pylist()


@pytest.mark.parametrize("policy", ["symmetric", "no_human"])
def test_the_truth_table(tmp_path, policy):
    for (b, g, j), row in zip(VOTES, decide(tmp_path, VOTES, policy=policy), strict=True):
        found, asked = expected(policy, b, g, j)
        assert row["class"] == found, (b, g, j)
        assert (row["j"] != "") == asked, (b, g, j)
        assert row["rule"].startswith(f"v2 {policy} ")


@pytest.mark.parametrize("policy", POLICIES)
def test_the_truth_table_with_votes_missing(policy):
    """What is missing never keeps or flips by itself; a verdict that should be there and is not drops the pair. A model
    that cannot take a pair costs it nothing under a policy that does not hear the model."""
    votes = list(itertools.product("+-0.", "+-0.", "+-0."))
    rows = applied(Rule(policy=policy), score_rows(votes), verdict_rows(votes))
    for (b, g, j), row in zip(votes, rows, strict=True):
        found, asked = expected(policy, b, g, j)
        assert row["class"] == found, (b, g, j)
        assert row["j"] == (j.replace(".", "") if asked else ""), (b, g, j)
        assert (row["reason"] == "no_verdict") == (asked and j == "."), (b, g, j)
        needed = {"best_only": b, "no_human": b, "gold_only": g}.get(policy, b + g)
        lacks = "." in needed and row["class"] == "drop"
        assert (row["reason"] == "over_length") == (lacks and not asked), (b, g, j)


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
    ids = [x[0] for t in ("kept", "flipped", "dropped") for x in query(Lake(str(tmp_path)), f"SELECT pair_id FROM {t}")]
    assert sorted(ids) == sorted({*ids}) == [f"{i:02d}" for i in range(len(VOTES))]


def test_the_band_sends_uncertain_pairs_to_the_judges(tmp_path):
    near = P | {"+": 0.54}
    confident = decide(tmp_path / "a", [("+", "+", "-")], p=near)[0]
    unsure = decide(tmp_path / "b", [("+", "+", "-")], p=near, band=0.05)[0]
    assert (confident["class"], confident["j"]) == ("keep", "")
    assert (unsure["b"], unsure["j"], unsure["class"]) == ("0", "-", "drop")


def test_a_threshold_above_one_half_never_turns_a_weak_yes_into_a_no(tmp_path):
    rows = decide(tmp_path, [("+", "-", "0")], p=P | {"+": 0.6}, threshold=0.7)
    assert (rows[0]["b"], rows[0]["class"]) == ("0", "drop")


def test_a_pair_that_could_not_be_scored_is_dropped_with_its_reason(tmp_path):
    run = Run(settings(), ruled(tmp_path), "b00")
    row = dict.fromkeys(SCORES.schema.names) | {"pair_id": "00", "best_model": "m", "gold_model": "n"}
    table = pa.Table.from_pylist(
        [row | dict.fromkeys(("unscored_best", "unscored_gold"), "over_length")], SCORES.schema
    )
    run.lake.write(SCORES, table, "b00")
    published(stage2.routed, run)
    run.lake.write(STAGE2_VERDICTS, [], "b00")
    settled(run.lake, run.settings)
    published(stage2.decisions, run)
    assert query(run.lake, "SELECT class, reason FROM decisions") == [("drop", "over_length")]
    assert query(run.lake, "SELECT count(*) FROM routed") == [(0,)]


@pytest.mark.parametrize(("policy", "class_", "reason"), [
    ("no_human", "keep", "judged"), ("best_only", "flip", "rejected"), ("symmetric", "drop", "refused_by_template"),
])  # fmt: skip
def test_what_only_the_gold_model_cannot_take_is_decided_where_nobody_hears_it(tmp_path, policy, class_, reason):
    run = Run(settings(policy=policy), ruled(tmp_path, policy=policy), "b00")
    row = dict.fromkeys(SCORES.schema.names) | {"pair_id": "00", "best_model": "m", "gold_model": "n"}
    row |= {"p_best": P["-"], "unscored_gold": "refused_by_template"}
    run.lake.write(SCORES, pa.Table.from_pylist([row], SCORES.schema), "b00")
    published(stage2.routed, run)
    asked = query(run.lake, "SELECT pair_id FROM routed")
    run.lake.write(STAGE2_VERDICTS, verdict_rows([("-", ".", "+")] * len(asked)), "b00")
    settled(run.lake, run.settings)
    published(stage2.decisions, run)
    assert query(run.lake, "SELECT class, reason FROM decisions") == [(class_, reason)]


def test_without_people_the_judges_see_no_examples(tmp_path):
    for policy, shown in (("symmetric", True), ("no_human", False)):
        decide(tmp_path / policy, VOTES, policy=policy)
        assert {k > 0 for (k,) in query(Lake(str(tmp_path / policy)), "SELECT k FROM routed")} == {shown}


# ---- invariants of spec section 4, on any scores -------------------------------------------------------------------
SOME = prove(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
PAIRS = st.lists(st.tuples(st.integers(-24, 24), st.integers(-24, 24), st.sampled_from("+-0")), min_size=1, max_size=40)
RULES = st.builds(
    Rule,
    policy=st.sampled_from(POLICIES),
    threshold=st.sampled_from([0.5, 0.55, 0.7]),
    band=st.sampled_from([0.0, 0.05, 0.2]),
)


def of_margins(pairs, sign: int = 1) -> tuple[pa.Table, pa.Table]:
    """Scores and everybody's verdicts; margins in eighths. With sign -1 the two responses change places."""
    empty = dict.fromkeys(SCORES.schema.names) | {"best_model": "m", "gold_model": "n"}
    rows = []
    for i, (best, gold, _) in enumerate(pairs):
        row = {"pair_id": f"{i:02d}"}
        for name, margin in (("best", best), ("gold", gold)):
            p = 1 / (1 + math.exp(-sign * margin / 8))
            row |= {f"r_chosen_{name}": sign * margin / 8, f"r_rejected_{name}": 0.0, f"p_{name}": p}
        rows.append(empty | row)
    said = [(b, g, j if sign == 1 else SWAP[j]) for b, g, j in pairs]
    return pa.Table.from_pylist(rows, SCORES.schema), verdict_rows(said)


@SOME
@given(PAIRS, RULES)
def test_no_pair_is_lost_and_each_has_one_class(pairs, rule):
    rows = applied(rule, *of_margins(pairs))
    assert [r["pair_id"] for r in rows] == [f"{i:02d}" for i in range(len(pairs))]
    assert {r["class"] for r in rows} <= {"keep", "flip", "drop"}


@SOME
@given(PAIRS, RULES)
def test_swapping_a_pair_swaps_keep_and_flip(pairs, rule):
    """Where the judges are not asked because the best model agrees, the class of the two orders may differ (spec 4,
    invariant 2); under the policies that treat both orders alike nothing else may."""
    one, two = applied(rule, *of_margins(pairs)), applied(rule, *of_margins(pairs, -1))
    for here, there in zip(one, two, strict=True):
        assert (there["b"], there["g"]) == (SWAP[here["b"]], SWAP[here["g"]])
        if rule.policy in ("best_only", "gold_only", "both") or (
            rule.policy == "symmetric" and {here["b"], here["g"]} != {"+", "-"}
        ):
            assert there["class"] == SWAPPED[here["class"]]


@SOME
@given(PAIRS, RULES)
def test_it_does_not_matter_when_the_judges_are_asked(pairs, rule):
    """Judges first about every pair, or only about those that both models leave open: the same rows (invariant 3)."""
    scores, verdicts = of_margins(pairs)
    everybody = applied(rule, scores, verdicts)
    asked = [r["pair_id"] for r in everybody if expected(rule.policy, r["b"], r["g"], "+")[1]]
    heard = verdicts.filter(pa.compute.is_in(verdicts["pair_id"], pa.array(asked, pa.string())))
    assert applied(rule, scores, heard) == everybody


@pytest.mark.parametrize("policy", POLICIES)
def test_a_verdict_that_is_not_asked_for_could_not_change_the_class(policy):
    """The rule itself, deaf to nothing: where it does not ask, the class is the same for every verdict."""
    with duckdb.connect() as con:
        con.execute(statement("macros"))
        for b, g in itertools.product("-0", "+-0"):
            said = {
                j: con.execute(f"SELECT stage2_class('{policy}', '{b}', '{g}', '{j}')").fetchall()[0][0]
                for j in ("+", "-", "0", "")
            }
            asked = con.execute(f"SELECT stage2_asked('{policy}', '{b}', '{g}')").fetchall()[0][0]
            assert (len({said[j] for j in "+-0"}) > 1) == asked, (b, g)
            assert asked or said[""] == said["0"], (b, g)


@SOME
@given(PAIRS, RULES)
def test_flip_all_keeps_what_symmetric_keeps_and_flips_the_rest(pairs, rule):
    """Spec 4, invariant 4: 40M = 26M + 14M."""
    scores, verdicts = of_margins(pairs)
    symmetric = applied(rule.model_copy(update={"policy": "symmetric"}), scores, verdicts)
    flip_all = applied(rule.model_copy(update={"policy": "flip_all"}), scores, verdicts)
    for a, b in zip(symmetric, flip_all, strict=True):
        assert b["class"] == ("keep" if a["class"] == "keep" else "flip")


@prove(SOME, max_examples=8)
@given(PAIRS, RULES)
def test_shards_decide_as_the_whole(pairs, rule):
    scores, verdicts = of_margins(pairs)
    parts = [
        r for i in range(8) for r in applied(rule, scores.take(pa.array(range(i, len(pairs), 8), pa.int64())), verdicts)
    ]
    assert sorted(parts, key=lambda r: r["pair_id"]) == applied(rule, scores, verdicts)


def test_a_lake_of_one_bucket_and_one_of_four_agree(tmp_path):
    pairs = [(i * 7 % 49 - 24, i * 11 % 49 - 24, "+-0"[i % 3]) for i in range(90)]
    found = {}
    for n in (1, 4):
        lake = ruled(tmp_path / str(n), buckets=n, band=0.1)
        scores, verdicts = of_margins(pairs)
        for b, key in enumerate(settings(n).partition_keys("bucket")):
            run = Run(settings(n, band=0.1), lake, key)
            part = scores.take(pa.array(range(b, len(pairs), n), pa.int64()))
            lake.write(SCORES, part, key)
            published(stage2.routed, run)
            asked = pa.array(
                [r[0] for r in query(lake, f"SELECT pair_id FROM routed WHERE bucket = '{key}'")], pa.string()
            )
            lake.write(STAGE2_VERDICTS, verdicts.filter(pa.compute.is_in(verdicts["pair_id"], asked)), key)
        settled(lake, settings(n, band=0.1))
        for key in settings(n).partition_keys("bucket"):
            published(stage2.decisions, Run(settings(n, band=0.1), lake, key))
        found[n] = query(lake, "SELECT * EXCLUDE (bucket) FROM decisions ORDER BY pair_id")
    assert len(found[1]) == len(pairs) and found[1] == found[4]


# ---- how many calls ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("policy", ["symmetric", "flip_all", "no_human"])
def test_the_forecast_of_judge_calls_is_what_is_asked(tmp_path, policy):
    """Before anybody is asked, from a lake that was ruled otherwise."""
    scores, _ = of_margins([(i * 7 % 49 - 24, i * 11 % 49 - 24, "0") for i in range(200)])
    lake = ruled(tmp_path, policy="both")
    lake.write(SCORES, scores, "b00")
    forecast = query(lake, f"SELECT gold_first FROM judge_calls WHERE policy = '{policy}' AND band = 0.1")[0][0]
    ruled(tmp_path, policy=policy, band=0.1)
    (event,) = published(stage2.routed, Run(settings(), lake, "b00"))
    assert query(lake, "SELECT count(*) FROM routed") == [(forecast,)] and forecast > 0
    assert event.metadata["judge calls"] == forecast * 4  # two judges, two samples each


def test_scoring_gold_first_saves_what_was_counted_by_hand(tmp_path):
    """Of b=- or 0, the paper asks about all nine; gold first leaves the two g=+ and one b=0, g=-."""
    votes = [("-", "+"), ("0", "+"), ("0", "-"), *[("-", "-")] * 3, ("-", "0"), ("0", "0"), ("-", "-"), ("+", "-")]
    lake = ruled(tmp_path)
    lake.write(SCORES, score_rows([(*v, "0") for v in votes]), "b00")
    row = "SELECT scored, best_first, gold_first, saved FROM judge_calls WHERE policy = '{}' AND band = 0"
    assert query(lake, row.format("symmetric")) == [(10, 9, 3, 6)]
    assert query(lake, row.format("flip_all")) == [(10, 9, 2, 7)]
    assert query(lake, row.format("no_human")) == [(10, 9, 9, 0)]
    assert query(lake, row.format("both")) == [(10, 0, 0, 0)]


# ---- the rule file -------------------------------------------------------------------------------------------------
def test_a_rule_survives_its_file():
    rule = Rule(policy="flip_all", threshold=0.55, band=0.1)
    assert loads(rule.dumps()) == rule and loads(rule.dumps()).dumps() == rule.dumps()
    assert rule.id != Rule(policy="flip_all", threshold=0.55, band=0.2).id


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("{", "file: Invalid JSON"),
        ('{"policy": "kind"}', "policy: Input should be"),
        ('{"version": "1"}', "version: Input should be '2'"),
        ('{"bands": 1}', "bands: Extra inputs"),
        ('{"threshold": 0.4}', "threshold: Input should be greater"),
        ('{"decision": "calibrated"}', "needs its calibration"),
        ('{"decision": "guarded"}', "needs its guards"),
    ],
)
def test_what_is_no_rule_says_why(text, names):
    with pytest.raises(RuleError, match=names):
        loads(text)


def test_the_rule_file_gives_back_the_same_ids_in_a_fresh_process(tmp_path):
    """Byte by byte, from the file and the stored scores and verdicts alone, also moved elsewhere."""
    decide(tmp_path / "lake", VOTES, policy="direct_retain", band=0.05)
    lake = Lake(str(tmp_path / "lake"))
    want = {}
    for table, name in (("kept", "keep"), ("flipped", "flip"), ("dropped", "drop")):
        want[name] = "".join(f"{p}\n" for (p,) in query(lake, f"SELECT pair_id FROM {table} ORDER BY 1")).encode()
    rule_file = lake.path(DECISION_RULE).parents[1] / "decisions" / "rule.json"
    assert rule_file.read_text() == query(lake, "SELECT file FROM decision_rule")[0][0]
    (tmp_path / "assay.toml").write_text(
        'lake = {path = "lake", buckets = 1}\nsources = [{name = "s", path = "s"}]\nworld = {}\n'
        'judges = {panel = [{name = "one"}, {name = "two"}]}\n'
    )
    moved = []
    for table, flag in ((SCORES, "--scores"), (STAGE2_VERDICTS, "--verdicts")):
        (tmp_path / f"{table.name}.parquet").write_bytes(lake.path(table, "b00").read_bytes())
        moved += [flag, str(tmp_path / f"{table.name}.parquet")]
    rule_copy = tmp_path / "r.json"
    rule_copy.write_bytes(rule_file.read_bytes())

    def run(*arguments: str) -> subprocess.CompletedProcess:
        line = [sys.executable, "-m", "cli.main", "--config", str(tmp_path / "assay.toml"), "decide", *arguments]
        return subprocess.run(line, capture_output=True, text=True, timeout=60)

    done = run(str(rule_copy), *moved, "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert "by the same rule: 27 in the same class" in " ".join(done.stdout.split())
    assert {n: (tmp_path / "out" / f"{n}.txt").read_bytes() for n in want} == want
    assert again(lake, None, None, None, None)  # the lake's own rule
    other = json.loads(rule_copy.read_text()) | {"policy": "best_only"}
    rule_copy.write_text(json.dumps(other))
    assert again(lake, rule_copy, None, None, tmp_path / "other")  # another rule may differ
    assert (tmp_path / "other" / "keep.txt").read_bytes() != want["keep"]
    lake.write(STAGE2_VERDICTS, [], "b00")  # the same rule may not
    assert not again(lake, None, None, None, None)
    rule_copy.write_text('{"policy": "kind"}')
    done = run(str(rule_copy))
    assert done.returncode == 2 and "policy: Input should be" in done.stderr
