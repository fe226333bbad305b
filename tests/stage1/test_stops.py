"""What a person must solve stops a Dagster run with one clear failure, is not retried, and the next run goes on."""

import re
import sqlite3
import zlib
from pathlib import Path

import dagster as dg
import pytest

from assets import seed as attributes
from assets import stage1
from assets.definitions import build
from cli.dagster_runs import materialize
from curation.tables import ANNOTATION_BATCH, ATTRIBUTES, CLEAN_POOL, EMBEDDINGS, GOLD, JUDGE_VOTES
from resources.lake import Lake
from resources.run import Run
from tests.support.answers import FREE
from tests.support.batch_server import batching
from tests.support.judging import body_for, honest
from tests.support.lakes import fill, put, query, settings
from tests.support.scripted_server import Step, serving

ABOUT = '{"category": "math", "objectivity": "objective", "controversiality": "low", "desired": "d", "guideline": "g"}'
KEY = "sk-planted-0123456789"


@pytest.fixture
def lake(tmp_path) -> Lake:
    lake = Lake(str(tmp_path / "lake"))
    pairs = [{"pair_id": f"p{i}", "chosen": f"good {i}", "rejected": f"bad {i}"} for i in range(4)]
    put(lake, CLEAN_POOL, pairs, "b00")
    return lake


def run(lake: Lake, step, partition: str, **sections) -> tuple[str | None, list[dg.DagsterEvent]]:
    """Why the run failed, or None, and its step failures."""
    made = settings(lake={"path": str(lake.root), "buckets": 1}, **sections)
    fill(step, Run(made, lake, partition))
    with dg.DagsterInstance.ephemeral() as instance:
        failure = materialize(build(made), (step,), partition, instance)
        why = None if failure is None else str(failure)
        (record,) = instance.get_run_records()
        events = [e.dagster_event for e in instance.all_logs(record.dagster_run.run_id) if e.is_dagster_event]
        assert not [e for e in events if e.event_type_value == "STEP_UP_FOR_RETRY"]
        return why, [e for e in events if e.is_step_failure]


def asked(url: str, **keys) -> dict:
    return {"backend": "openai", "model": "m", "base_url": f"{url}/v1", "price": {"input": 1, "output": 10}} | keys


def answering(path, body, number):
    return Step(body_for(path, ABOUT))


@pytest.mark.parametrize(
    ("stop", "says"),
    [
        ("Unavailable", r"answered 401: .*What was answered is stored; run again once this is solved"),
        ("BudgetExceeded", r"budget\.dollars = 0\.002 .*raise the budget and run again"),
        ("NoKey", r"NO_SUCH_KEY holds no key"),
        ("UnknownPrice", r"no list price for model"),
    ],
)
def test_attributes_stop_say_why_and_go_on(lake, monkeypatch, stop, says):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with serving(answering) as server:
        keys, dollars = {"concurrency": 1}, 1.0
        if stop == "Unavailable":
            server.script = lambda p, b, n: answering(p, b, n) if n < 2 else Step({"error": {"message": "key"}}, 401)
        if stop == "BudgetExceeded":
            dollars = 0.002
        if stop == "NoKey":
            keys |= {"api_key_env": "NO_SUCH_KEY"}
        if stop == "UnknownPrice":
            keys |= {"price": None}
        why, failures = run(
            lake, attributes.attributes, "b00", attributes=asked(server.url, **keys), budget={"dollars": dollars}
        )
        (failure,) = failures
        data = failure.step_failure_data
        assert re.search(says, data.user_failure_data.description)
        assert data.user_failure_data.description.startswith("attributes/b00 is not made yet. ")
        assert data.user_failure_data.metadata["stopped by"].value == stop
        assert why == f"attributes: {data.user_failure_data.description}" and lake.note(ATTRIBUTES, "b00") is None
        before, server.script = len(server.requests), answering
        why, _ = run(lake, attributes.attributes, "b00", attributes=asked(server.url), budget={"dollars": 1.0})
    assert why is None
    assert query(lake, "SELECT count(*) FROM attributes WHERE category = 'math'") == [(4,)]
    refused = 1 if stop == "Unavailable" else 0
    assert len(server.requests) == 4 + refused and before <= 3  # what was answered is not asked again


def labelled(lake: Lake) -> None:
    names = [f"p{i}" for i in range(4)]
    put(lake, ATTRIBUTES, [{"pair_id": p} for p in names], "b00")
    put(lake, EMBEDDINGS, [{"pair_id": p, "vector": [1.0] + [0.0] * 255} for p in names], "b00")
    put(lake, GOLD, [], "iter_00")


def test_a_batch_at_the_provider_stops_the_run_when_every_judge_has_sent_its_own(lake):
    labelled(lake)
    put(lake, ANNOTATION_BATCH, [{"pair_id": f"p{i}", "assigned_to": "judges"} for i in range(4)], "iter_00")
    with batching(honest) as server:
        panel = [asked(server.url, name=n, model=n, execution="batch") for n in ("one", "two")]
        sections = {"judges": {"panel": panel}, "budget": {"dollars": 9}, "embedding": {"backend": "hashing"}}
        said, failures = run(lake, stage1.judge_votes, "iter_00", **sections)
        assert len(server.created) == 2 and not failures  # the run waits
        assert "one: 8 of 8 answers are in batches" in said and "two: 8 of 8" in said and "run again later" in said
        assert lake.note(JUDGE_VOTES, "iter_00") is None
        made = settings(lake={"path": str(lake.root), "buckets": 1}, **sections)
        server.ended = {"batch-0"}
        assert collected(made) == ["no batch has ended"]  # one judge's answers alone would stop the run again
        server.end_all()
        (request,) = collected(made)
        assert (request.job_name, request.partition_key) == ("collect_judge_votes", "iter_00")
        assert collected(made)[0].run_key == request.run_key  # asked again, Dagster starts one run
        assert run(lake, stage1.judge_votes, "iter_00", **sections)[0] is None
        assert collected(made) == ["no batch has ended"]
        assert len(server.created) == 2
    assert query(lake, "SELECT DISTINCT judge, vote FROM judge_votes ORDER BY 1") == [
        ("one", "original"),
        ("two", "original"),
    ]


def collected(made) -> list:
    """What the sensor that collects batches says: requests for runs, or why there is none."""
    defs = build(made)
    found = defs.resolve_sensor_def("collect_batches").evaluate_tick(
        dg.build_sensor_context(definitions=defs, instance=dg.DagsterInstance.ephemeral())
    )
    return found.run_requests or [found.skip_message]


def test_a_spoilt_file_of_answers_says_which_it_is(lake, tmp_path):
    labelled(lake)
    put(lake, ANNOTATION_BATCH, [{"pair_id": "p0", "assigned_to": "people"}], "iter_00")
    folder = tmp_path / "people"
    sections = {"people": {"backend": "files", "folder": str(folder), **FREE}}
    why, failures = run(lake, stage1.human_labels, "iter_00", **sections)
    assert "1 of 1 answers are missing" in why and not failures
    (batch,) = folder.rglob("batch.jsonl")
    (batch.parent / "answers.csv").write_bytes(b"\xff\xfe")
    why, (failure,) = run(lake, stage1.human_labels, "iter_00", **sections)
    assert "answers.csv: not UTF-8" in why
    assert failure.step_failure_data.user_failure_data.metadata["stopped by"].value == "BadAnswers"


def test_a_planted_key_is_in_no_table_log_metadata_or_error(lake, monkeypatch, tmp_path, capfd):
    """The server repeats the key in its errors, in its answers and in their headers; the run goes through all of it."""
    monkeypatch.setenv("PLANTED", KEY)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    (tmp_path / "dagster").mkdir()
    leak = {"error": {"message": f"bad key {KEY}, Authorization: Bearer {KEY}"}}

    def script(path, body, number):
        if number < 2:
            return Step(leak, 500, {"x-echo": KEY})
        if number < 4:
            return Step(body_for(path, ABOUT) | {"echo": f"Bearer {KEY}"}, 200, {"x-echo": KEY})
        return Step(body_for(path, ABOUT) if status[0] == 200 else leak, status[0])

    status, said = [400], []
    with serving(script) as server:
        keys = asked(server.url, api_key_env="PLANTED", concurrency=1)
        made = settings(lake={"path": str(lake.root), "buckets": 1}, attributes=keys, budget={"dollars": 1})
        fill(attributes.attributes, Run(made, lake, "b00"))
        with dg.DagsterInstance.get() as instance:
            for status[0] in (401, 400, 200):
                failure = materialize(build(made), (attributes.attributes,), "b00", instance)
                said.append(None if failure is None else str(failure))
            for record in instance.get_run_records():
                said += [e.to_json() for e in instance.all_logs(record.dagster_run.run_id)]
        assert any(KEY in str(h) for _, _, h in server.requests)  # it was sent, where it belongs
    assert "401" in said[0] and said[2] is None
    assert "2 of 4 answers are missing" in said[1] and "bad key [key]" in said[1]
    with lake.connect() as con:
        said += [str(con.execute("SELECT * FROM attributes").fetchall())]
    said += [str(table_of_calls(lake)), *capfd.readouterr()]
    assert not [s for s in said if s and KEY in s]
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or KEY.encode() not in file.read_bytes(), file


def table_of_calls(lake: Lake) -> list[tuple]:
    """Everything that the store of calls holds, unpacked."""
    con = sqlite3.connect(Path(lake.root) / "files" / "calls" / "calls.sqlite")
    rows = []
    for (table,) in con.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        for row in con.execute(f"SELECT * FROM {table}"):
            rows.append(tuple(zlib.decompress(v) if isinstance(v, bytes) and v[:1] == b"x" else v for v in row))
    con.close()
    return rows
