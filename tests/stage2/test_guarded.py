"""Stage 2 as it is by default: people look at would-be flips first, and nothing is decided that gold does not bear out."""

import json
from collections import Counter

import dagster as dg
import pyarrow as pa
import pytest

from assets import stage2
from cli.ending import refused
from curation import tables as t
from curation.decision_rule import Rule, loads
from curation.flip_audit import FlipAudit, guards_after, guards_before
from curation.identity import comparison_id
from resources.cross_fitting import cross_fitted
from resources.lake import Lake
from resources.run import Run
from resources.settings import Recipe
from tests.stage2.test_decision_rule import score_rows, verdict_rows
from tests.support.answers import FREE
from tests.support.lakes import make, published, put, query, settings

KEYS = ("iter_00", "iter_01", "iter_02")
PEOPLE = {"backend": "files", **FREE}


def gold(lake: Lake, n: int = 200, *, labels: float = 0.7, model: float = 0.8, best: float = 0.75) -> None:
    """People's labels of n pairs, of which so many confirm the original label; a gold model and a best model that are right
    so often on them."""
    rows = [{"pair_id": f"g{i:03d}", "role": "train", "verified_order": "original" if i < n * labels else "swapped"}
            for i in range(n)]  # fmt: skip
    for key in KEYS:
        put(lake, t.GOLD, rows if key == KEYS[0] else [], key)
        batch = [{"pair_id": r["pair_id"], "assigned_to": "people", "why": "seed"} for r in rows]
        batch += [{"pair_id": "j", "assigned_to": "judges", "why": "seed"}]
        put(lake, t.ANNOTATION_BATCH, batch if key == KEYS[0] else [], key)
    lake.write(t.BEST_REWARD_MODEL, pa.Table.from_pylist(
        [{"iteration": "iter_00", "model_id": "m", "path": "x", "pairs": n, "accuracy": best, "best": True}],
        t.BEST_REWARD_MODEL.schema))  # fmt: skip
    put(lake, t.GOLD_FOLDS, [{"fold": k, "part": part, "pairs": n // 2, "tested": n // 2, "accuracy": model - (part < 1) / 2,
                              "chosen": part == 1.0} for k in (0, 1) for part in (0.5, 1.0)])  # fmt: skip


def pool(lake: Lake, votes: list[tuple[str, str, str]], **stage: object) -> list[str]:
    """A pool with these votes of best model, gold model and judges, up to the audit; returns its pairs."""
    ids = [f"{i:02d}" for i in range(len(votes))]
    put(lake, t.CLEAN_POOL, [{"pair_id": p, "chosen": f"c{p}", "rejected": f"r{p}"} for p in ids], "b00")
    run = Run(settings(stage2=stage), lake)
    lake.write(t.SCORES, score_rows(votes), "b00")
    published(stage2.routing_rule, run)
    published(stage2.routed, Run(run.settings, lake, "b00"))
    asked = {p for (p,) in query(lake, "SELECT pair_id FROM routed")}
    lake.write(t.STAGE2_VERDICTS, verdict_rows([(*v[:2], v[2] if p in asked else ".") for p, v in zip(ids, votes, strict=True)]), "b00")  # fmt: skip
    return ids


def looked_at(lake: Lake, folder, right=None, **stage: object) -> Rule:
    """The audit by people in files, who find a flip right as `right` says of its pair, and the rule that follows."""
    sections = {"stage2": stage, "people": PEOPLE | {"folder": str(folder)}, "attributes": {"backend": "heuristic"}}
    for step in (stage2.audit_sample, stage2.audit_attributes):
        make(step, lake, **sections)
    if right is not None and query(lake, "FROM audit_sample"):
        with pytest.raises(dg.Failure, match="answers are missing"):
            make(stage2.audit, lake, **sections)
        batch = [json.loads(line) for line in (folder / "stage2/batch.jsonl").read_text().splitlines()]
        rows = []
        for b in batch:
            better = f"{'r' if right(b['pair_id']) else 'c'}{b['pair_id']}"
            verdict = "candidate_1" if b["candidate_1"] == better else "candidate_2"
            rows.append({"pair_id": b["pair_id"], "verdict": verdict, "annotator": "ann", "seconds": 9})
        (folder / "stage2/answers.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    make(stage2.audit, lake, **sections)
    make(stage2.decision_rule, lake, **sections)
    make(stage2.decisions, lake, "b00", **sections)
    make(stage2.partition, lake, "b00", **sections)
    return loads(query(lake, "SELECT file FROM decision_rule")[0][0])


VOTES = [("+", "+", ".")] * 10 + [("-", "-", ".")] * 60 + [("0", "-", "-")] * 5 + [("+", "-", ".")] * 5


def classes(lake: Lake) -> Counter:
    return Counter(query(lake, "SELECT class, reason FROM decisions"))


def test_harmful_flips_are_refused_and_every_one_is_dropped_as_unproven(lake, tmp_path):
    """24 of 40 looked at are right: the exact bound is 0.486."""
    gold(lake)
    ids = pool(lake, VOTES)
    make(stage2.audit_sample, lake)
    drawn = [p for (p,) in query(lake, "SELECT pair_id FROM audit_sample WHERE of_flips ORDER BY pair_id")]
    assert len(drawn) == 40 and set(drawn) <= set(ids[10:75])
    rule = looked_at(lake, tmp_path, lambda p: p in drawn[:24])
    looked = rule.guards.looked
    assert (looked.right, looked.looked, looked.undecided, looked.flips) == (24, 40, 0, 65)
    assert looked.bound == pytest.approx(0.4863, abs=1e-4) and rule.guards.no_flip == "flip_unproven"
    assert classes(lake) == {("keep", "agreed"): 10, ("drop", "flip_unproven"): 65, ("drop", "conflict"): 5}
    assert sorted(p for x in ("kept", "flipped", "dropped") for (p,) in query(lake, f"SELECT pair_id FROM {x}")) == ids
    assert query(lake, "SELECT count(*) FROM flipped") == [(0,)]
    assert refused(lake).startswith(
        "65 pairs that stage 2 would have decided were dropped. Of 65 would-be flips people"
    )
    assert json.loads((lake.path(t.DECISION_RULE).parents[1] / "decisions" / "rule.json").read_text())["guards"][
        "looked"
    ]["bound"] == pytest.approx(0.4863, abs=1e-4)


def test_flips_that_people_bear_out_are_made(lake, tmp_path):
    gold(lake)
    pool(lake, VOTES)
    make(stage2.audit_sample, lake)
    drawn = [p for (p,) in query(lake, "SELECT pair_id FROM audit_sample ORDER BY pair_id")]
    rule = looked_at(lake, tmp_path, lambda p: p in drawn[:25])
    assert rule.guards.no_flip == "" and rule.guards.looked.bound == pytest.approx(0.5114, abs=1e-4)
    assert classes(lake) == {("keep", "agreed"): 10, ("flip", "both_reject"): 60, ("flip", "judged"): 5,
                             ("drop", "conflict"): 5}  # fmt: skip
    assert refused(lake) is None


@pytest.mark.parametrize(("stage", "flips", "why"), [
    ({"flip": "never"}, 0, "off by name"), ({"flip": "always"}, 65, "allowed by name"),
    ({"flip_audit": 0}, 0, "Nobody looked at any of 65"),
])  # fmt: skip
def test_without_people_flips_are_off_unless_asked_for_by_name(lake, tmp_path, stage, flips, why):
    gold(lake)
    pool(lake, VOTES, **stage)
    rule = looked_at(lake, tmp_path, **stage)
    assert query(lake, "SELECT count(*) FROM audit_sample") == [(0,)]
    assert query(lake, "SELECT count(*) FROM flipped") == [(flips,)] and why in rule.guards.why


def test_recorded_people_are_asked_what_they_answered_and_nobody_waits(lake, tmp_path):
    """Of 65 would-be flips they once answered 30; 28 of these were right."""
    gold(lake)
    ids = pool(lake, VOTES)
    rows = [
        {"prompt": "why?", "a": f"c{p}", "b": f"r{p}", "winner": "b" if i < 28 else "a"}
        for i, p in enumerate(ids[12:42])
    ]
    (tmp_path / "said.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    answers = {
        "annotator": "ann",
        "path": str(tmp_path / "said.jsonl"),
        "shape": "winner",
        "codes": {"a": ["a"], "b": ["b"]},
    }
    talk = [{"role": "user", "content": "why?"}]
    put(lake, t.CLEAN_POOL, [
        {"pair_id": p, "chosen": f"c{p}", "rejected": f"r{p}", "conversation": talk,
         "comparison_id": comparison_id(talk, f"c{p}", f"r{p}")} for p in ids
    ], "b00")  # fmt: skip
    sections = {"people": {"backend": "recorded", "answers": [answers]}, "attributes": {"backend": "heuristic"}}
    for step in (stage2.audit_sample, stage2.audit_attributes, stage2.audit, stage2.decision_rule):
        make(step, lake, **sections)
    looked = loads(query(lake, "SELECT file FROM decision_rule")[0][0]).guards.looked
    assert (looked.right, looked.looked) == (28, 30) and looked.bound > 0.5


def test_the_papers_rule_flips_unseen_and_its_file_is_the_papers(lake, tmp_path):
    gold(lake, 10, labels=0.9, model=0.5)
    pool(lake, VOTES, decision="paper")
    rule = looked_at(lake, tmp_path, decision="paper")
    assert rule == Rule() and rule.id == "v2 symmetric threshold=0.5 band=0.0 #e19ee838"
    assert query(lake, "SELECT count(*) FROM audit_sample") == [(0,)]
    assert classes(lake)["flip", "both_reject"] == 60


@pytest.mark.parametrize(("of_gold", "reason", "why"), [
    ({"n": 40}, "too_little_gold", "40 pairs of gold: reward models decide nothing below 50"),
    ({"labels": 0.82, "model": 0.65}, "keep_unproven", "right in 65.0 %"),
])  # fmt: skip
def test_what_gold_does_not_bear_out_is_not_kept_and_nobody_is_asked(lake, tmp_path, of_gold, reason, why):
    gold(lake, **{"best": 0.9} | of_gold)
    pool(lake, [*VOTES, ("-", "+", "+")])
    assert query(lake, "SELECT count(*) FROM routed") == [(0,)]
    rule = looked_at(lake, tmp_path)
    assert query(lake, "SELECT count(*) FROM audit_sample") == [(0,)]
    found = classes(lake)
    assert found["drop", reason] >= 10 and {c for c, _ in found} == {"drop"} and sum(found.values()) == len(VOTES) + 1
    assert why in rule.guards.why and why in refused(lake)


def test_a_best_model_below_the_labels_loses_its_veto(lake, tmp_path):
    """Its objection stops neither a keep nor a flip, and no judge is asked to settle it."""
    gold(lake, labels=0.7, best=0.65)
    pool(lake, [("-", "+", "-")] * 10 + [("+", "-", ".")] * 50)
    rule = looked_at(lake, tmp_path, lambda p: True)
    assert (rule.policy, rule.guards.veto, rule.guards.best, rule.guards.labels_beside_best) == (
        "gold_only",
        False,
        0.65,
        0.7,
    )
    assert query(lake, "SELECT count(*) FROM routed") == [(0,)]
    assert {c: n for (c, _), n in classes(lake).items()} == {"keep": 10, "flip": 50}


def test_the_bound_of_the_guard_is_of_pairs_that_no_model_learned_from():
    """160 of 200 right: the exact lower bound at 90 % is 0.759; with labels right in 0.7 keeping pays above 0.594."""
    policy, guards = guards_before("symmetric", 200, 200, 160, 0.7, 0.8)
    assert policy == "symmetric" and guards.no_keep == "" and guards.no_flip == "flip_unproven"
    assert guards.model_bound == pytest.approx(0.759, abs=2e-3) and guards.break_even == pytest.approx(0.594, abs=1e-3)
    assert guards_before("both", 200, 20, 13, 0.7, None)[1].no_keep == "keep_unproven"  # 13 of 20: at least 0.48
    assert guards_after(guards, "audited", FlipAudit(25, 40, 0, 500)).no_flip == ""


def test_the_gold_model_learns_from_all_gold_as_long_as_its_parts_say(lake, tmp_path):
    """Parts 0 and 1 are best after a half of the training, and together better than after all of it."""
    pairs = [{"pair_id": f"{i}", "fold": i % 2} for i in range(8)]
    seen = []

    class Models:
        def train(self, run, *, pairs, validation, recipe, kind):
            learned, tested = ({r[0] for r in x.fetchall()} for x in (pairs, validation))
            assert not learned & tested and len(learned | tested) == 8
            seen.append(tested)
            out = tmp_path / str(len(seen))
            (out / "model").mkdir(parents=True)
            curve = [(2, 0.9), (4, 0.6)] if len(seen) == 1 else [(2, 0.7), (4, 0.8)]
            facts = [{"step": s, "validation_accuracy": a} for s, a in curve] + [
                {"step": 3, "validation_accuracy": None}
            ]
            (out / "metrics.jsonl").write_text("".join(json.dumps(f) + "\n" for f in facts))
            return {"path": str(out / "model"), "steps": 4, "pairs": len(learned), "validation_pairs": 4,
                    "validation_accuracy": 0.9}  # fmt: skip

    run = Run(settings(), lake, services={"reward_models": Models()})
    full = [{"conversation": [], "chosen": "c", "rejected": "r", "weight": 1.0, **p} for p in pairs]
    with lake.connect() as con:
        con.register("gold_pairs", pa.Table.from_pylist(full))
        rows, recipe = cross_fitted(run, con.table("gold_pairs"), 2, Recipe(epochs=6, evaluations=2))
    assert seen == [{"0", "2", "4", "6"}, {"1", "3", "5", "7"}] and recipe.epochs == 3
    assert [(r["fold"], r["part"], r["chosen"]) for r in rows] == [
        (0, 0.5, True),
        (0, 1.0, False),
        (1, 0.5, True),
        (1, 1.0, False),
    ]
    assert not (tmp_path / "1" / "model").exists() and (tmp_path / "1" / "metrics.jsonl").exists()


def test_a_judge_that_made_the_labels_is_heard_only_where_others_are_too_few(lake):
    """Judge one made the labels of s. On a two others have a voice; on b only one has; c is of another source."""
    put(lake, t.CLEAN_POOL, [{"pair_id": p, "source": "u" if p == "c" else "s"} for p in "abc"], "b00")
    said = {
        "a": ("original", "swapped", "swapped"),
        "b": ("original", "original", "none"),
        "c": ("original", "swapped", "swapped"),
    }
    votes = [{"pair_id": p, "judge": j, "replicate": 0, "vote": v, "status": "ok", "examples": [],
              "model": "", "answer": "", "request_key": ""}
             for p, three in said.items() for j, v in zip(("one", "two", "three"), three, strict=True)]  # fmt: skip
    put(lake, t.STAGE2_VOTES, votes, "b00")
    panel = [{"name": "one", "labelled": ["s"]}, {"name": "two"}, {"name": "three"}]
    sources = [{"name": n, "path": "x"} for n in "su"]
    make(stage2.stage2_verdicts, lake, "b00", judges={"panel": panel, "quorum": 2}, sources=sources)
    found = query(lake, "SELECT pair_id, verdict, voices FROM stage2_verdicts ORDER BY 1")
    assert found == [("a", "swapped", 2), ("b", "original", 2), ("c", "swapped", 3)]
    with pytest.raises(ValueError, match="labelled names x, which is no source"):
        settings(judges={"panel": [{"name": "one", "labelled": ["x"]}, {"name": "two"}]})
