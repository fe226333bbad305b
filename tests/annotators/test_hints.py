"""A judge looks at each response alone before people see the pair; what it finds is a hint and never a label (spec 2.06)."""

import json

import pytest

from assets import stage1
from cli.estimate import plan
from curation.agreement import overruled
from curation.tables import ANNOTATION_BATCH, ATTRIBUTES, CLEAN_POOL
from resources.annotators.reports import said_in_lake
from resources.judges.response_checks import LlmChecker
from resources.lake import Lake
from resources.llm.batch_calls import Pending
from resources.settings import ConfigError
from tests.support.answers import truly, write
from tests.support.batch_server import batching
from tests.support.judging import targets
from tests.support.lakes import make, put, query, settings
from tests.support.scripted_server import Step, completion, serving, verdict

IT0 = "iter_00"
PAIRS = {"p0": "objective", "p1": "objective", "p2": "subjective", "p3": "objective"}
PAID = {"input": 1, "output": 10}


@pytest.fixture
def lake(tmp_path) -> Lake:
    """Three objective pairs of people and a subjective one; an objective one of the judges."""
    lake = Lake(str(tmp_path / "lake"))
    asked = [*PAIRS, "j0"]
    rows = [{"pair_id": p, "comparison_id": p, "chosen": f"good {p}", "rejected": f"bad {p}"} for p in asked]
    put(lake, CLEAN_POOL, rows, "b00")
    put(lake, ATTRIBUTES, [{"pair_id": p, "objectivity": PAIRS.get(p, "objective")} for p in asked], "b00")
    desks = [{"pair_id": p, "assigned_to": "people" if p in PAIRS else "judges"} for p in asked]
    put(lake, ANNOTATION_BATCH, desks, IT0)
    return lake


def checks(body: dict) -> str:
    """'good' is correct and 'bad' is not, but for p1, where it is the other way round; p3's cannot be checked."""
    text = body["messages"][-1]["content"]
    if " p3" in text:
        return verdict("cannot_determine")
    return verdict("correct" if ("good" in text) == (" p1" not in text) else "incorrect")


def asked(url: str, folder, **judge) -> dict:
    one = {"name": "one", "backend": "openai", "model": "m", "base_url": f"{url}/v1", "price": PAID} | judge
    people = {"backend": "files", "folder": str(folder / "people"), "checked_by": "one", "overlap": 0, "require": []}
    return {"judges": {"panel": [one], "quorum": 1}, "budget": {"dollars": 1}, "people": people}


def answers(folder) -> list[dict]:
    """Everybody says 'good': the hint on p1 is overruled."""
    lines = (folder / "people" / IT0 / "batch.jsonl").read_text().splitlines()
    return [truly(json.loads(line)) for line in lines]


def test_objective_pairs_get_a_hint_that_people_may_overrule_and_gold_is_theirs(lake, tmp_path):
    with serving(lambda path, body, n: Step(completion(checks(body)))) as server:
        sections = asked(server.url, tmp_path)
        made = settings(lake={"path": str(lake.root), "buckets": 1}, **sections)
        (line,) = [x for x in plan(made, lake) if x.step == "response_checks/iter_00"]
        assert (line.pairs, line.requests, line.known) == (3, 6, "counted") and line.dollars > 0
        make(stage1.response_checks, lake, IT0, **sections)
        texts = [body["messages"][-1]["content"] for _, body, _ in server.requests]
        assert len(texts) == 6 and all(("good" in t) != ("bad" in t) for t in texts)  # each response alone
        assert not [t for t in texts if "p2" in t or "j0" in t]  # objective pairs of people, and no others
        make(stage1.response_checks, lake, IT0, **sections)
        assert len(server.requests) == 6  # what is stored is not asked again
    found = query(lake, "SELECT pair_id, side, answer, cost_micros FROM response_checks ORDER BY 1, 2")
    assert [r[2] for r in found] == ["correct", "incorrect", "incorrect", "correct", *["cannot_determine"] * 2]
    assert {r[3] for r in found} == {2000}  # 1,000 tokens in, 100 out
    with pytest.raises(Exception, match="4 of 4 answers are missing"):
        make(stage1.human_labels, lake, IT0, **sections)
    shown = {i["pair_id"]: i for i in map(json.loads, (tmp_path / "people/iter_00/batch.jsonl").open())}
    assert {p for p, i in shown.items() if "hint" in i} == {"p0", "p1"} and "verdict" not in str(shown)
    for i in (shown["p0"], shown["p1"]):
        right = 1 if i["candidate_1"].startswith("good") == (i["pair_id"] == "p0") else 2
        assert f"candidate {right} was found correct" in i["hint"] and "It may be wrong" in i["hint"]
    write(tmp_path / "people" / IT0, answers(tmp_path))
    make(stage1.human_labels, lake, IT0, **sections)
    make(stage1.gold, lake, IT0)
    assert query(lake, "SELECT DISTINCT verified_order FROM gold") == [("original",)]
    said = said_in_lake(lake)
    assert (overruled(said).value, sorted(s.hint for s in said)) == (0.5, ["", "", "original", "swapped"])
    paid = "SELECT sum(dollars) FROM cost WHERE stage = 'iter_00, responses checked'"
    assert query(lake, paid) == [(pytest.approx(0.012),)]


def test_hints_that_say_the_opposite_change_no_gold(lake, tmp_path):
    """The same answers under the opposite hints."""
    found = []
    for flip in (False, True):

        def script(path, body, n, flip=flip):
            said = checks(body)
            swapped = said.replace('"correct', '"x').replace('"incorrect', '"correct').replace('"x', '"incorrect')
            return Step(completion(swapped if flip else said))

        with serving(script) as server:
            sections = asked(server.url, tmp_path, model=f"m{flip}")
            make(stage1.response_checks, lake, IT0, **sections)
        if not flip:
            with pytest.raises(Exception, match="answers are missing"):
                make(stage1.human_labels, lake, IT0, **sections)
            write(tmp_path / "people" / IT0, answers(tmp_path))
        make(stage1.human_labels, lake, IT0, **sections)
        make(stage1.gold, lake, IT0)
        hints = query(lake, "SELECT pair_id, hint_verdict, shown_first FROM human_labels ORDER BY 1")
        found.append((hints, query(lake, "SELECT pair_id, verified_order, role FROM gold ORDER BY 1")))
    (before, gold), (after, same) = found
    assert gold == same and len(gold) == 4
    assert [b[1] != a[1] for b, a in zip(before, after, strict=True)] == [True, True, False, False]


def test_checks_are_sent_as_a_batch_where_the_judge_works_in_batches(tmp_path):
    with batching(checks) as server:
        made = settings(**asked(server.url, tmp_path, execution="batch"))
        checker = LlmChecker(made.judges.judges[0], made, Lake(str(tmp_path)), "stage")
        with pytest.raises(Pending, match="8 of 8 answers are in batches"):
            checker.check(targets(4))
        server.end_all()
        rows = LlmChecker(made.judges.judges[0], made, Lake(str(tmp_path)), "stage").check(targets(4)).to_pylist()
        assert len(server.created) == 1 and len(rows) == 8
    assert {(r["answer"], r["side"] == ("chosen" if i // 2 % 2 == 0 else "rejected")) for i, r in enumerate(rows)} == {
        ("correct", True), ("incorrect", False),
    }  # fmt: skip


def test_nobody_is_asked_unless_a_judge_is_named_that_can_be(lake):
    make(stage1.response_checks, lake, IT0)
    assert query(lake, "SELECT count(*) FROM response_checks") == [(0,)]
    with pytest.raises((ConfigError, ValueError), match=r"people\.checked_by: 'three' is no judge that can be asked"):
        settings(people={"checked_by": "three"})
