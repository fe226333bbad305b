"""Nothing unfinished is called finished: what is missing stops a step, or makes it stale and is told."""

from pathlib import Path

import pytest

from assets import stage1
from assets.judging import missing_answers
from curation.tables import ANNOTATION_BATCH, ATTRIBUTES, CLEAN_POOL, EMBEDDINGS, GOLD, JUDGE_VOTES
from resources.lake import Lake
from tests.stage1.test_stops import asked, run
from tests.support.judging import body_for, honest
from tests.support.lakes import put, query, settings
from tests.support.scripted_server import Step, serving

N = 30
IT0 = "iter_00"


@pytest.fixture
def lake(tmp_path) -> Lake:
    """Thirty pairs for the judges."""
    lake = Lake(str(tmp_path / "lake"))
    names = [f"p{i:03d}" for i in range(N)]
    put(lake, CLEAN_POOL, [{"pair_id": p, "chosen": f"good {p}", "rejected": f"bad {p}"} for p in names], "b00")
    put(lake, ATTRIBUTES, [{"pair_id": p} for p in names], "b00")
    put(lake, EMBEDDINGS, [{"pair_id": p, "vector": [1.0] + [0.0] * 255} for p in names], "b00")
    put(lake, GOLD, [], IT0)
    put(lake, ANNOTATION_BATCH, [{"pair_id": p, "assigned_to": "judges"} for p in names], IT0)
    return lake


def sections(url: str, **keys) -> dict:
    panel = [asked(url, name=n, model=n, concurrency=2, **keys) for n in ("one", "two")]
    return {"judges": {"panel": panel}, "budget": {"dollars": 9}, "embedding": {"backend": "hashing"}}


def failing(n: int):
    """The first so many pairs cannot be asked about by `two`, each in other words."""

    def script(path, body, number):
        for i in range(n):
            if body["model"] == "two" and f"p{i:03d}" in str(body):
                return Step({"error": {"message": f"p{i:03d} is too long"}}, 400)
        return Step(body_for(path, honest(body)))

    return script


def test_a_step_with_more_than_a_few_answers_missing_publishes_nothing_and_says_why(lake):
    with serving(failing(2)) as server:
        why, _ = run(lake, stage1.judge_votes, IT0, **sections(server.url))
        assert "two: 4 of 60 answers are missing (4 error), more than 5%" in why
        assert "the server's words: p00" in why and "is too long" in why and "accept_missing = true" in why
        assert lake.note(JUDGE_VOTES, IT0) is None
        asked_before = len(server.requests)
        server.script = failing(0)
        assert run(lake, stage1.judge_votes, IT0, **sections(server.url))[0] is None
        assert len(server.requests) == asked_before + 4  # what was answered is not asked again
    assert query(lake, "SELECT DISTINCT status FROM judge_votes") == [("ok",)]


def test_a_few_that_are_missing_make_a_table_stale_until_they_are_there(lake):
    with serving(failing(1)) as server:
        assert run(lake, stage1.judge_votes, IT0, **sections(server.url))[0] is None
        made = settings(lake={"path": str(lake.root), "buckets": 1}, **sections(server.url))
        assert stage1.judge_votes.changed(made, lake, IT0) is None
        assert stage1.judge_votes.stale(made, lake, IT0) == "answers are missing: 2 of two (error)"
        lines, open_ones = missing_answers(made, lake)
        assert lines == ["judge_votes/iter_00: two: 2 error (the next run asks again)"] and open_ones == 2
        before, version = len(server.requests), lake.note(JUDGE_VOTES, IT0)["version"]
        assert run(lake, stage1.judge_votes, IT0, **sections(server.url))[0] is None
        assert len(server.requests) == before + 2  # those two again, in vain
        assert lake.note(JUDGE_VOTES, IT0)["version"] == version  # so nothing that rests on it is made again
        server.script = failing(0)
        assert run(lake, stage1.judge_votes, IT0, **sections(server.url))[0] is None
        assert stage1.judge_votes.stale(made, lake, IT0) is None and missing_answers(made, lake) == ([], 0)
        assert len(server.requests) == before + 4


def test_what_is_accepted_by_name_is_finished_and_still_told(lake):
    with serving(failing(10)) as server:
        accepting = sections(server.url)
        accepting["judges"]["panel"][1]["accept_missing"] = True
        assert run(lake, stage1.judge_votes, IT0, **accepting)[0] is None
        made = settings(lake={"path": str(lake.root), "buckets": 1}, **accepting)
        assert stage1.judge_votes.stale(made, lake, IT0) is None
        lines, open_ones = missing_answers(made, lake)
        assert lines[0] == "judge_votes/iter_00: two: 20 error (accepted)" and open_ones == 0
        assert run(lake, stage1.verdicts, IT0, **accepting)[0] is None
        assert missing_answers(made, lake)[0][1] == "verdicts: 10 pairs have no verdict for want of these votes"


def test_the_benchmark_of_a_judge_that_cannot_be_asked_says_so_and_no_traceback(tmp_path, capsys, monkeypatch):
    """As `assay run` does, for every stop."""
    from cli import benchmark
    from resources.llm.batch_calls import Pending
    from resources.llm.bill import Unconfirmed
    from resources.llm.call_store import BudgetExceeded
    from resources.llm.policy import Unavailable
    from resources.llm.providers import NoKey

    for stop, status, word in (
        (NoKey, 2, ""),
        (BudgetExceeded, 1, "stopped. "),
        (Unavailable, 1, "stopped. "),
        (Pending, 0, "waiting. "),
        (Unconfirmed, 3, "stopped. "),
    ):

        def come_to(*about, stop=stop):
            raise stop(f"{stop.__name__} it is")

        monkeypatch.setattr(benchmark, "_benchmark", come_to)
        assert benchmark.main(None, None) == status
        first, *then = capsys.readouterr().err.splitlines()
        assert first == f"assay: {word}{stop.__name__} it is"
        assert then == (["What was answered stays; the same command goes on from there."] if word else [])
    assert not list(Path(tmp_path).iterdir())
