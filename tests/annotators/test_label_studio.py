"""Label Studio's server as it misbehaves: tokens that die, imports that break off, people who do odd things."""

import multiprocessing
import os
import signal
import time

import pytest

from resources.annotators.label_studio.client import ServerTrouble
from tests.support.answers import batch, truly
from tests.support.doors import PERSONAL_DATA, Hands
from tests.support.label_studio import label_studio

ANN, BOB = "ann@x.org", "bob@x.org"


@pytest.fixture
def studio(tmp_path, monkeypatch):
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", PERSONAL_DATA)
    with label_studio(ANN, BOB) as (server, url):
        yield server, lambda **people: Hands(tmp_path, "label_studio", (server, url), **people)


def right(item, who):
    return truly(item)


def test_an_access_token_that_dies_is_taken_anew(studio):
    server, people = studio
    at = people()
    server.expire_after = 2
    at.waiting(batch(4))
    at.answer(ANN, right)
    assert at.label(batch(4)).num_rows == 4 and server.tokens > 3


def test_an_answer_that_nobody_asked_for_is_no_answer_to_the_next_call(studio):
    server, people = studio
    server.twice = True
    at = people()
    at.waiting(batch(4))
    assert at.answer(ANN, right) == 4
    assert at.label(batch(4)).num_rows == 4


def test_an_import_that_breaks_off_goes_on_without_a_double(studio):
    server, people = studio
    at = people()
    server.break_after = 5
    with pytest.raises(ServerTrouble, match="does not answer"):
        at.label(batch(12))
    assert len(server.tasks) == 5
    at.waiting(batch(12))
    at.waiting(batch(12))
    pairs = [t["data"]["pair_id"] for t in server.tasks.values()]
    assert sorted(pairs) == [f"p{i:02d}" for i in range(12)] and len(server.projects) == 1
    # an import that arrived although nobody heard of it
    server.tasks[99] = server.tasks[1] | {"id": 99}
    at.waiting(batch(13))
    assert len(server.tasks) == 13


def test_a_changed_batch_changes_the_tasks_and_leaves_answered_ones(studio):
    server, people = studio
    at = people()
    at.waiting(batch(4))
    at.answer(ANN, right, most=2)
    wait = at.waiting(batch(4, guideline="mind the proof").slice(1))
    assert (wait.answered, wait.missing) == (1, 2)
    tasks = {t["data"]["pair_id"]: t["data"] for t in server.tasks.values()}
    assert sorted(tasks) == ["p00", "p01", "p02", "p03"]  # p00 left the batch, but somebody worked on it
    assert {tasks[p]["guideline"] for p in ("p01", "p02", "p03")} == {"mind the proof"}


def test_nobody_s_address_reaches_the_lake_and_no_label_or_source_the_server(studio, tmp_path):
    server, people = studio
    at = people()
    at.waiting(batch(3))
    at.answer(ANN, right)
    labels = at.label(batch(3))
    assert {r["annotator"][:3] for r in labels.to_pylist()} == {"ls-"}
    assert not [f for f in tmp_path.rglob("*") if f.is_file() and ANN.encode() in f.read_bytes()]
    for task in server.tasks.values():
        assert set(task["data"]) == {
            "pair_id", "conversation", "candidate_1", "candidate_2", "desired", "guideline", "protocol", "hint", "needs", "notice"
        }  # fmt: skip
        named = {r["from_name"] for p in task["predictions"] for r in p["result"]}
        assert named == {
            "category",
            "objectivity",
            "controversiality",
            "desired_edited",
            "guideline_edited",
        }  # no verdict


def test_a_prediction_that_nobody_changed_is_no_verdict(studio):
    at = studio[1]()
    at.waiting(batch(1))
    at.answer(ANN, lambda i, who: truly(i) | {"verdict_origin": "prediction"})
    assert at.waiting(batch(1)).missing == 1 and "a model's prediction" in at.refused()[-1]


def test_a_changed_mind_is_one_label_and_a_skipped_task_none(studio):
    server, people = studio
    at = people()
    at.waiting(batch(2))
    at.answer(ANN, right)
    at.label(batch(2))
    server.annotations[1]["result"][0]["value"]["choices"] = ["candidate_2"]
    server.annotations[2]["was_cancelled"] = True
    labels = at.label(batch(2))  # what was said before stays until it is said anew
    first = next(r for r in labels.to_pylist() if r["pair_id"] == "p00")
    assert labels.num_rows == 2 and first["verdict"] == "second"


def test_a_server_that_is_away_or_refuses_is_named_without_the_token(studio, monkeypatch):
    server, people = studio
    at = people()
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "head.wrong.tail")
    with pytest.raises(ServerTrouble, match="does not accept the token in LABEL_STUDIO_API_KEY") as e:
        at.label(batch(1))
    assert "wrong" not in str(e.value)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "")
    with pytest.raises(ServerTrouble, match="holds no token"):
        at.label(batch(1))
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", PERSONAL_DATA)
    away = Hands(at.folder, "label_studio", (server, "http://127.0.0.1:9"))
    with pytest.raises(ServerTrouble, match=r"http://127\.0\.0\.1:9 does not answer"):
        away.label(batch(1))


def test_a_run_that_dies_while_it_fetches_loses_no_annotation_and_asks_nobody_twice(studio):
    """A third of the answers is to be refused, and deleted at the server: only after it is written down."""
    server, people = studio
    at, n = people(), 60
    at.waiting(batch(n))
    at.answer(ANN, lambda i, who: truly(i) | ({"acknowledged": False} if int(i["pair_id"][1:]) % 3 == 0 else {}))
    killed = 0
    for delay in (0.02, 0.05, 0.1, 0.15, 0.2, 0.3):
        process = multiprocessing.get_context("fork").Process(target=at.waiting, args=(batch(n),))
        process.start()
        time.sleep(delay)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        killed += process.exitcode == -signal.SIGKILL
        refused = at.refused()
        assert len(server.annotations) + len(refused) >= n  # what is gone there is written here
    wait = at.waiting(batch(n))
    assert killed and (wait.answered, wait.missing) == (40, 20) and len(at.refused()) == 20
    seen = []
    at.answer(ANN, lambda i, who: seen.append(i["pair_id"]) or truly(i))
    assert len(seen) == 20 and all(int(p[1:]) % 3 == 0 for p in seen)  # those that were refused, and no other
    assert at.label(batch(n)).num_rows == n
