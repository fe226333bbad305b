"""One contract for all doors: files, the page, and Label Studio (a stand-in on the loopback)."""

import json

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from assets import stage1
from curation.tables import (
    ANNOTATION_BATCH,
    DECISIONS,
    DROPPED,
    FLIPPED,
    HUMAN_LABELS,
    KEPT,
    RELEASE_CORRECTED,
    RELEASE_CURATED,
)
from resources.annotators.backends import answered, backend
from resources.annotators.desk import Desk
from tests.support.answers import batch, pair, truly, write
from tests.support.doors import PERSONAL_DATA, Hands
from tests.support.label_studio import label_studio
from tests.support.lakes import make, put, query
from tests.support.places import SHARED

DOORS = ("files", "label", "label_studio")
PEOPLE = ("ann@x.org", "bob@x.org", "cid@x.org", "dee@x.org")


@pytest.fixture(params=DOORS)
def hands(request, tmp_path, monkeypatch):
    """People at a door; called with settings of people."""
    monkeypatch.setattr("resources.annotators.backends.LOOK", -1.0)
    if request.param != "label_studio":
        yield lambda **people: Hands(tmp_path, request.param, **people)
        return
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", PERSONAL_DATA)
    with label_studio(*PEOPLE) as studio:
        yield lambda **people: Hands(tmp_path, "label_studio", studio, **people)


def right(item, who):
    return truly(item) | {"annotator": who}


def wrong(item, who):
    truth = truly(item)["verdict"]
    return right(item, who) | {"verdict": "candidate_2" if truth == "candidate_1" else "candidate_1"}


def says_chosen(rows) -> list[bool | None]:
    return [None if v == "undecided" else (v == "first") == (s == "chosen") for v, s in rows]


def verdicts(labels) -> dict[str, list]:
    found: dict[str, list] = {}
    for r in labels.to_pylist():
        found.setdefault(r["pair_id"], []).extend(says_chosen([(r["verdict"], r["shown_first"])]))
    return {p: sorted(v, key=str) for p, v in sorted(found.items())}


def test_a_batch_goes_out_is_answered_and_comes_back_in_the_original_order(hands):
    at = hands(annotators=2)
    wait = at.waiting(batch(12))
    assert (wait.batch, wait.answered, wait.missing) == ("iter_00", 0, 24) and "24 of 24 answers are missing" in str(
        wait
    )
    assert at.answer(PEOPLE[0], right) == 12
    wait = at.waiting(batch(12))
    assert (wait.answered, wait.missing) == (12, 12) and list(wait.people.values()) == [12]
    at.answer(PEOPLE[1], lambda i, who: right(i, who) if i["pair_id"] != "p03" else
        right(i, who) | {"verdict": "undecided", "why_undecided": "missing", "tools": "none"})  # fmt: skip
    at.waiting(batch(12))
    at.answer(PEOPLE[2], right)  # p03 has no majority yet
    labels = at.label(batch(12))
    assert labels.schema.equals(HUMAN_LABELS.schema)
    assert verdicts(labels) == {f"p{i:02d}": [True, True] if i != 3 else [None, True, True] for i in range(12)}
    rows = labels.to_pylist()
    assert len({r["event_id"] for r in rows}) == 25 and {r["backend"] for r in rows} == {at.door}
    assert {(r["acknowledged"], tuple(r["tools"]), r["seconds"]) for r in rows} <= {(True, (), 31.5), (True, (), 30.0)}
    assert {r["protocol_version"][:3] for r in rows} == {"v1-"}
    assert at.label(batch(12)).equals(labels)


def test_what_cannot_be_used_is_refused_with_its_reason_and_is_no_label(hands):
    at = hands()
    at.waiting(batch(2, category="information seeking"))
    searched = {"tools": ["search"], "tool_log": ["search: primes above 10 -> 11"]}
    bad = [{"acknowledged": False}, {"verdict": "candidate_9"}, {"verdict": ""}, {"tools": ["none"], "tool_log": []}]
    reasons = ["the guideline is not acknowledged", "verdict must be one of", "verdict must be one of",
               "information seeking must be looked up"]  # fmt: skip
    for number, (change, reason) in enumerate(zip(bad, reasons, strict=True)):
        at.answer(PEOPLE[0], lambda i, who, c=change: right(i, who) | searched | c, most=1)
        wait = at.waiting(batch(2, category="information seeking"))
        assert wait.missing == 2 and len(at.refused()) == number + 1 and reason in at.refused()[-1]
        if at.door == "files":  # a file stands as it is until somebody mends the row
            (at.folder / "people/iter_00/answers.jsonl").unlink()
    if at.door == "label_studio":  # the task is in the person's queue again, with the reason on it
        (task, *_) = at.studio[0].tasks.values()
        assert "must be looked up" in task["data"]["notice"] and not at.studio[0].annotations
    assert at.answer(PEOPLE[0], lambda i, who: right(i, who) | searched) == 2
    labels = at.label(batch(2, category="information seeking"))
    assert [r["tools"] for r in labels.to_pylist()] == [["search"]] * 2
    assert '"asked": "primes above 10"' in labels.to_pylist()[0]["tool_log"]


def test_disagreement_asks_somebody_else_and_a_person_answers_a_pair_once(hands):
    at = hands(annotators=2)
    at.waiting(batch(6))
    at.answer(PEOPLE[0], right)
    at.answer(PEOPLE[1], lambda i, who: (wrong if i["pair_id"] in ("p01", "p04") else right)(i, who))
    wait = at.waiting(batch(6))
    assert (wait.answered, wait.missing) == (12, 2)
    if at.door == "label_studio":  # there, those who answered are shown it again and refused
        assert at.answer(PEOPLE[0], right) == 2
        assert at.waiting(batch(6)).missing == 2 and "somebody else's" in at.refused()[-1]
    else:
        assert at.answer(PEOPLE[0], right) == 0
    assert at.answer(PEOPLE[2], right, 10**6) >= 2
    labels = at.label(batch(6))
    assert verdicts(labels)["p01"] == verdicts(labels)["p04"] == [False, True, True]


def test_an_adjudicator_settles_what_others_disagree_on_and_gold_follows(hands):
    at = hands(annotators=2)
    at.waiting(batch(4))
    if at.door == "label_studio":  # people's names there are pseudonyms
        from resources.annotators.backends import door
        from resources.annotators.desk import desk

        with desk(at.lake) as opened:
            judge = door(at.settings, opened)._pseudonym(4, at.studio[0].people)
    else:
        judge = PEOPLE[3]
    at = hands(annotators=2, disagreement="adjudicate", adjudicators=[judge])
    at.waiting(batch(4))
    at.answer(PEOPLE[0], right)
    at.answer(PEOPLE[1], lambda i, who: right(i, who) if i["pair_id"] == "p00" else right(i, who) | {
        "verdict": "undecided", "why_undecided": "tie"})  # fmt: skip
    assert at.waiting(batch(4)).missing == 3
    if at.door == "label_studio":
        at.answer(PEOPLE[2], right)
        assert at.waiting(batch(4)).missing == 3 and "only an adjudicator" in at.refused()[-1]
    assert at.answer(PEOPLE[3], wrong) == 3
    labels = at.label(batch(4)).to_pylist()
    assert sorted(r["pair_id"] for r in labels if r["role"] == "adjudicator") == ["p01", "p02", "p03"]
    put(at.lake, ANNOTATION_BATCH, [{"pair_id": f"p{i:02d}", "assigned_to": "people"} for i in range(4)], "iter_00")
    put(at.lake, HUMAN_LABELS, labels, "iter_00")
    make(stage1.gold, at.lake, "iter_00")
    assert query(at.lake, 'SELECT pair_id, verified_order, votes_original, votes_swapped FROM gold ORDER BY 1') == [
        ("p00", "original", 2, 0), ("p01", "swapped", 0, 1), ("p02", "swapped", 0, 1), ("p03", "swapped", 0, 1)
    ]  # fmt: skip


def test_a_batch_closes_at_its_share_and_what_is_left_is_no_label(hands):
    at = hands(close_share=0.75)
    at.waiting(batch(8))
    at.answer(PEOPLE[0], right, most=5)
    assert at.waiting(batch(8)).missing == 3
    at.answer(PEOPLE[0], right, most=1)
    labels = at.label(batch(8))
    assert labels.num_rows == 6
    assert at.answer(PEOPLE[0], right) == 0  # nobody is asked any more
    assert at.label(batch(8)).equals(labels)


def test_what_a_closed_batch_leaves_is_asked_for_again_and_nobody_twice(hands):
    """Of six pairs one is disputed and two are not looked at when the batch closes. The next batch has these and a new
    one; it asks a third person about the disputed one, whose first two answers count."""
    at = hands(annotators=2, close_share=0.5)
    at.waiting(batch(6))
    at.answer(PEOPLE[0], right, most=4)
    at.answer(PEOPLE[1], lambda i, who: (wrong if i["pair_id"] == "p00" else right)(i, who), most=4)
    labels = at.label(batch(6))
    assert set(verdicts(labels)) == {"p01", "p02", "p03"}
    people = backend(at.settings, at.lake)
    left = people.unanswered("iter_00").to_pylist()
    assert [(r["pair_id"], r["answers"]) for r in left] == [("p00", 2), ("p04", 0), ("p05", 0)]
    assert "3 of 6 pairs are labelled" in left[0]["closed"]
    again = batch(7).filter(pc.is_in(batch(7)["pair_id"], pa.array(["p00", "p04", "p05", "p06"])))
    at = hands(annotators=2)
    wait = at.waiting(again, "iter_01")
    assert (wait.answered, wait.missing) == (2, 7)
    seen = []

    def looks(item, who):
        seen.append((who, item["pair_id"]))
        return right(item, who)

    for who in PEOPLE[:2]:
        at.answer(who, looks, 3, name="iter_01")
    assert sorted(seen) == sorted((who, p) for who in PEOPLE[:2] for p in ("p04", "p05", "p06"))
    assert at.waiting(again, "iter_01").missing == 1
    if at.door == "label_studio":
        assert at.answer(PEOPLE[0], right, name="iter_01") == 1  # there it is shown again, and refused
        assert at.waiting(again, "iter_01").missing == 1 and "somebody else's" in at.refused("iter_01")[-1]
    else:
        assert at.answer(PEOPLE[0], right, name="iter_01") == 0
    assert at.answer(PEOPLE[2], right, 1, name="iter_01") == 1
    second = at.label(again, "iter_01")
    assert verdicts(second) == {"p00": [False, True, True], **{p: [True, True] for p in ("p04", "p05", "p06")}}
    assert people.unanswered("iter_01").num_rows == 0
    assert not set(labels["event_id"].to_pylist()) & set(second["event_id"].to_pylist())


def test_an_answer_that_came_too_late_for_its_batch_counts_in_the_next(hands):
    at = hands()
    at.waiting(batch(2))
    at.answer(PEOPLE[0], right, most=1)
    assert at.waiting(batch(2)).missing == 1
    opened = Desk(at.lake.folder("people") / "desk.sqlite")
    opened.close_batch("iter_00", "by hand")  # while somebody has a pair open
    at.answer(PEOPLE[1], right) if at.door != "label" else None
    opened.close()
    assert at.label(batch(2)).num_rows == 1
    (left,) = backend(at.settings, at.lake).unanswered("iter_00").to_pylist()
    again = batch(2).slice(1)
    if at.door == "label":  # the page takes nothing of a closed batch
        assert at.waiting(again, "iter_01").missing == 1
        return
    labels = at.label(again, "iter_01")
    assert labels["pair_id"].to_pylist() == [left["pair_id"]] == ["p01"]
    before = answered(at.settings, at.lake, "iter_01")
    assert at.label(again, "iter_01").equals(labels) and answered(at.settings, at.lake, "iter_01") == before


def test_the_labels_are_up_to_date_until_somebody_answers_anew(hands):
    at = hands()
    at.waiting(batch(3))
    at.answer(PEOPLE[0], right)
    before = answered(at.settings, at.lake, "iter_00")
    at.label(batch(3))
    assert answered(at.settings, at.lake, "iter_00") == before
    if at.door == "files":  # a file can be corrected at any time
        folder = at.folder / "people" / "iter_00"
        first, *others = map(json.loads, (folder / "answers.jsonl").read_text().splitlines())
        write(folder, [first | {"rationale": "On a second look."}, *others])
        assert answered(at.settings, at.lake, "iter_00") != before


PANDALM = SHARED / "data" / "gold" / "pandalm_testset_v1.json.gz"


@pytest.mark.skipif(not PANDALM.exists(), reason=f"no {PANDALM}")
def test_recorded_labels_of_three_people_give_the_same_gold_through_every_door(hands):
    """Real pairs and the labels that three annotators gave them; gold is what an independent count of votes says."""
    rows = duckdb.sql(
        f"SELECT instruction, input, response1::VARCHAR, response2::VARCHAR, annotator1::INT, annotator2::INT, annotator3::INT"
        f" FROM read_json('{PANDALM}') WHERE response1 <> response2 ORDER BY md5(instruction || response1) LIMIT 25"
    ).fetchall()
    pairs, votes = [], {}
    for n, (asked, more, first, second, *said) in enumerate(rows):
        pairs.append(pair(f"p{n:02d}", first, second, f"{asked}\n\n{more}"))
        votes[f"p{n:02d}"] = said
    at = hands(annotators=3)

    def recorded(item, who):
        vote = votes[item["pair_id"]][PEOPLE.index(who)]
        stands = item["candidate_1"] == rows[int(item["pair_id"][1:])][2]  # the original's chosen is candidate 1
        verdict = "undecided" if not vote else "candidate_1" if (vote == 1) == stands else "candidate_2"
        answer = {
            "pair_id": item["pair_id"],
            "annotator": who,
            "verdict": verdict,
            "why_undecided": "" if vote else "tie",
        }
        return answer | {"acknowledged": True, "tools": ["none"], "seconds": 30.0}

    asked = pa.Table.from_pylist(pairs)
    at.waiting(asked)
    for who in PEOPLE[:3]:
        assert at.answer(who, recorded) == 25
    put(at.lake, ANNOTATION_BATCH, [{"pair_id": p["pair_id"], "assigned_to": "people"} for p in pairs], "iter_00")
    put(at.lake, HUMAN_LABELS, at.label(asked).to_pylist(), "iter_00")
    make(stage1.gold, at.lake, "iter_00")
    found = dict(query(at.lake, "SELECT pair_id, verified_order FROM gold"))
    counted = {
        p: ("original" if v.count(1) > 1 else "swapped") for p, v in votes.items() if max(v.count(1), v.count(2)) > 1
    }
    assert found == counted and len(found) > 18


def test_no_release_holds_a_name_of_an_annotator():
    for table in (RELEASE_CURATED, RELEASE_CORRECTED, KEPT, FLIPPED, DROPPED, DECISIONS):
        assert not {"annotator", "edited_by", "rationale", "tool_log"} & set(table.schema.names), table.name
