"""The desk: events that stay, batches that change, planted pairs, processes that die."""

import json
import multiprocessing
import os
import signal
import sqlite3
import time

import pytest

from resources.annotators.backends import backend
from resources.annotators.desk import Desk
from resources.annotators.reports import said_at_desk
from resources.annotators.tasks import items
from resources.lake import Lake
from tests.support.answers import batch, exported, truly, write
from tests.support.doors import Hands
from tests.support.lakes import settings


def test_events_are_only_ever_added(tmp_path):
    at = Hands(tmp_path, "files")
    at.waiting(batch(2))
    con = sqlite3.connect(at.lake.folder("people") / "desk.sqlite")
    for table in ("items", "events"):
        for change in (f"DELETE FROM {table}", f"UPDATE {table} SET batch = 'x'"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                con.execute(change)


def test_sides_stay_where_they_were_shown_and_a_grown_batch_asks_for_the_new_pairs_alone(tmp_path):
    at = Hands(tmp_path, "files")
    at.waiting(batch(20))
    before = {i["pair_id"]: i["candidate_1"] for i in exported(tmp_path / "people/iter_00")}
    at.answer("ann", lambda i, who: truly(i))
    at.settings = settings(people=at.settings.people.model_dump(), seed=77)
    wait = at.waiting(batch(24))
    assert (wait.answered, wait.missing) == (20, 4)
    after = {i["pair_id"]: i["candidate_1"] for i in exported(tmp_path / "people/iter_00")}
    assert {p: after[p] for p in before} == before
    at.answer("ann", lambda i, who: truly(i))
    labels = at.label(batch(24)).to_pylist()
    assert len(labels) == 24 and all((r["verdict"] == "first") == (r["shown_first"] == "chosen") for r in labels)


def test_which_side_stands_first_and_who_is_asked_twice_is_drawn_by_hash(tmp_path):
    made = settings(people={"backend": "files", "overlap": 0.25})
    drawn = list(items(batch(400), "iter_00", made, Lake(str(tmp_path))))
    assert drawn == list(items(batch(400), "iter_00", made, Lake(str(tmp_path))))
    assert 160 <= sum(i["shown_first"] == "chosen" for i in drawn) <= 240
    assert 70 <= sum(i["wanted"] == 2 for i in drawn) <= 130
    other = list(items(batch(400), "iter_01", made, Lake(str(tmp_path))))
    assert [i["shown_first"] for i in other] != [i["shown_first"] for i in drawn]


def test_planted_pairs_look_like_the_others_and_become_no_label(tmp_path):
    path = tmp_path / "known.jsonl"
    path.write_text(
        "".join(
            json.dumps({"prompt": f"What is {n} + 1?", "chosen": f"{n + 1} good", "rejected": f"{n} bad"}) + "\n"
            for n in range(9)
        )
    )
    at = Hands(tmp_path, "files", checks=[{"name": "known", "path": str(path)}], check_share=0.2)
    assert at.waiting(batch(20)).missing == 24
    sent = exported(tmp_path / "people/iter_00")
    assert len({tuple(sorted(i)) for i in sent}) == 1  # nothing tells them apart
    places = [n for n, i in enumerate(sent) if not i["pair_id"].startswith("p")]
    assert len(places) == 4 and places != [20, 21, 22, 23]
    at.answer("ann", lambda i, who: truly(i))
    labels = at.label(batch(20))
    assert labels.num_rows == 20
    opened = Desk(at.lake.folder("people") / "desk.sqlite")
    said, known = said_at_desk(opened.pairs("iter_00", at.settings.people))
    opened.close()
    assert len(known) == 4 and all(s.verdict == known[s.pair] for s in said if s.pair in known)


def test_a_batch_closes_when_its_time_is_over_and_an_open_disagreement_goes_back(tmp_path):
    at = Hands(tmp_path, "label", annotators=2, close_after_hours=2)
    opened = Desk(at.lake.folder("people") / "desk.sqlite", lambda: at.now)
    opened.publish("iter_00", items(batch(6), "iter_00", at.settings, at.lake))
    opened.close()
    at.answer("ann", lambda i, who: truly(i))
    at.answer("bob", lambda i, who: truly(i) | ({"verdict": "candidate_9"} if i["pair_id"] == "p05" else
        {"verdict": "tie"} if i["pair_id"] == "p00" else {}))  # fmt: skip
    labels = at.label(batch(6))  # by the clock of the machine, long after
    # p00 has no majority and nobody else was asked in time: it goes back; p05 has one answer, which counts
    assert {r["pair_id"] for r in labels.to_pylist()} == {f"p{i:02d}" for i in range(1, 6)}


def test_a_run_that_dies_while_it_reads_answers_loses_nothing_and_doubles_nothing(tmp_path):
    n, folder = 300, tmp_path / "people/iter_00"
    at = Hands(tmp_path, "files")
    at.waiting(batch(n))
    write(folder, [truly(i) for i in exported(folder)[:-1]])
    store = at.lake.folder("people") / "desk.sqlite"
    killed = 0
    for delay in (0.01, 0.03, 0.06, 0.1, 0.15):
        process = multiprocessing.get_context("fork").Process(target=at.waiting, args=(batch(n),))
        process.start()
        time.sleep(delay)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        killed += process.exitcode == -signal.SIGKILL
    wait = at.waiting(batch(n))
    assert killed and (wait.answered, wait.missing) == (n - 1, 1)
    at.waiting(batch(n))  # what was read before is no news
    con = sqlite3.connect(store)
    assert con.execute("SELECT count(*) FROM events WHERE kind = 'answered'").fetchone() == (n - 1,)


def test_people_of_another_lake_have_a_desk_of_their_own(tmp_path):
    made = settings(people={"backend": "label", "overlap": 0})
    for name in ("a", "b"):
        with pytest.raises(Exception, match="2 of 2 answers are missing"):
            backend(made, Lake(str(tmp_path / name))).label(batch(2), "iter_00")
