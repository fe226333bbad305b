"""The whole job on a small generated pool, through Dagster, with real training: what the README promises."""

import re
import shutil

import dagster as dg
import pytest

from cli import dagster_runs as pipeline
from cli import decide, explain
from curation.tables import HUMAN_LABELS, SELECTION
from resources import settings as config
from resources.lake import Lake
from resources.run import Run
from tests.stage1.test_iterations import contents, killed
from tests.support.lakes import published, query
from tests.support.places import ROOT


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """The shipped configuration, smaller, run once; (settings, lake, lines printed)."""
    folder = tmp_path_factory.mktemp("job")
    text = (ROOT / "assay.toml").read_text()
    for key, value in {"pairs": 700, "iterations": 1, "seed_people": 60, "seed_judges": 80, "batch": 60}.items():
        text, n = re.subn(rf"^{key} = \d+", f"{key} = {value}", text, flags=re.M)
        assert n == 1, key
    text = text.replace("[training]", '[training]\narms = ["corrected"]')
    text = text.replace("[stage2]", '[stage2]\ndecision = "paper"\nfolds = 0')  # 60 people's labels bear out nothing
    (folder / "assay.toml").write_text(text)
    settings = config.load(folder / "assay.toml")
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DAGSTER_HOME", raising=False)
        ran, kept = pipeline.run_all(settings, lines.append)
    assert kept == 0 and ran > 0
    return settings, Lake(str(settings.lake.path)), lines


def test_every_input_record_ends_in_exactly_one_class(job):
    _, lake, _ = job
    records = query(
        lake,
        "SELECT (SELECT count(*) FROM raw_pool) + (SELECT count(*) FROM unusable) + (SELECT count(*) FROM quarantine)",
    )
    classed = query(lake, "SELECT sum(records)::BIGINT FROM ledger")
    assert records == classed
    assert query(lake, "SELECT class FROM outcome WHERE class = 'pending'") == []
    assert query(lake, "SELECT pair_id FROM outcome GROUP BY 1 HAVING count(*) > 1") == []


def test_a_second_run_does_no_work(job):
    settings, _, _ = job
    assert pipeline.run_all(settings, print)[0] == 0
    wider = pipeline._with_threads(settings, 7)  # as workers have it for a step of no partition
    assert not [s.name for u in pipeline.units(wider) for s in pipeline.todo(u, wider)]


def test_a_changed_threshold_makes_stage_2_stale_and_nothing_before_it(job):
    settings, lake, _ = job
    changed = settings.model_copy(update={"stage2": settings.stage2.model_copy(update={"band": 0.02})})

    def stale(now) -> set[str]:
        return {s.name for u in pipeline.units(now) for s in pipeline.todo(u, now)}

    assert "decision_rule" in stale(changed) and not stale(settings)
    rules = [s for s in pipeline.steps() if s.name in ("routing_rule", "decision_rule")]
    for rule in rules:
        published(rule, Run(changed, lake))
    found = stale(changed)
    assert {"routed", "decisions"} <= found
    assert not found & {"raw_pool", "clean_pool", "attributes", "reward_model", "scores", "gold_reward_model"}
    for rule in rules:
        published(rule, Run(settings, lake))
    assert not stale(settings)


def test_the_judges_were_asked_as_often_as_was_forecast(job):
    settings, lake, _ = job
    forecast = query(lake, "SELECT gold_first FROM judge_calls WHERE policy = 'symmetric' AND band = 0")[0][0]
    votes = query(lake, "SELECT count(DISTINCT pair_id), count(*) FROM stage2_votes")
    assert votes == [(forecast, forecast * sum(j.samples for j in settings.judges.judges))]
    assert decide.again(lake, None, None, None, None)
    assert query(lake, "SELECT count(DISTINCT rule) FROM decisions") == [(1,)]


def test_an_iteration_killed_in_the_middle_is_finished_by_the_next_run(job, tmp_path):
    """Iteration 1 is taken out of a copy, started by the command, killed with -9, and run again: the same tables.
    Trained models are found again, which keeps this short; test_training_kill.py kills those."""
    settings, _, _ = job
    shutil.copytree(settings.base, tmp_path / "copy")
    shutil.copy(ROOT / "dagster.yaml", tmp_path / "copy")
    copy = config.load(tmp_path / "copy" / "assay.toml")
    other = Lake(str(copy.lake.path))
    for step in pipeline.steps():
        if step.group == "stage1":
            for table in step.tables:
                shutil.rmtree(other.path(table, "iter_01").parent)
    killed(tmp_path / "copy", ["run", "stage1"], other.path(HUMAN_LABELS, "iter_01"))
    assert other.note(SELECTION, "iter_01") is None
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(tmp_path / "copy"))  # where the killed run still holds what it held
        patch.chdir(tmp_path / "copy")
        pipeline.run_all(copy, lines.append, ["stage1"])
    assert [line for line in lines if "iter_01" in line] and not [line for line in lines if "iter_00" in line]
    assert contents(tmp_path / "copy") == contents(settings.base)


def test_test_gold_is_in_no_prompt_no_training_no_retrieval(job):
    """By where the pairs went, not by what the code says (spec O-06)."""
    _, lake, _ = job
    for role in ("test", "calibration"):
        assert query(lake, f"SELECT count(*) > 0 FROM gold WHERE role = '{role}'") == [(True,)]
        kin = f"SELECT pair_id FROM clean_pool WHERE cluster_id IN (SELECT cluster_id FROM gold WHERE role = '{role}')"
        for where in (
            "SELECT unnest(examples) AS pair_id FROM judge_votes",
            "SELECT unnest(examples) AS pair_id FROM stage2_votes",
            "SELECT pair_id FROM judge_votes",
            "SELECT pair_id FROM silver",
            "SELECT pair_id FROM gold_predictions",
            "SELECT query_pair AS pair_id FROM retrieved",
        ):
            assert query(lake, f"SELECT * FROM ({where}) WHERE pair_id IN ({kin})") == [], (role, where)
    assert (
        query(
            lake,
            "SELECT pair_id FROM release_corrected JOIN clean_pool USING (pair_id) WHERE cluster_id IN"
            " (SELECT cluster_id FROM gold WHERE role = 'test')",
        )
        == []
    )


def test_gold_and_silver_share_no_conversation_and_flagged_pairs_are_in_neither(job):
    _, lake, _ = job
    assert query(lake, "SELECT cluster_id FROM gold WHERE cluster_id IN (SELECT cluster_id FROM silver)") == []
    assert query(lake, "SELECT pair_id FROM verified WHERE pair_id IN (SELECT pair_id FROM contaminated)") == []
    assert query(lake, "SELECT count(*) > 0 FROM gold")[0][0]


def test_curation_is_more_often_right_than_the_labels_it_began_with(job):
    """The planted truth says so: original labels of the pool against the verified order of the release."""
    _, lake, _ = job
    from curation.identity import text_hash

    winner = dict(query(lake, "SELECT comparison_id, winner FROM reference_labels WHERE winner <> ''"))

    def precision(sql: str) -> float:
        rows = [(winner[c], text_hash(chosen)) for c, chosen in query(lake, sql) if c in winner]
        return sum(w == h for w, h in rows) / len(rows)

    pool = "SELECT comparison_id, chosen FROM clean_pool"
    released = (
        "SELECT c.comparison_id, r.chosen FROM release_corrected r JOIN clean_pool c USING (pair_id) WHERE flipped"
    )
    kept = "SELECT c.comparison_id, r.chosen FROM release_curated r JOIN clean_pool c USING (pair_id)"
    assert precision(kept) > precision(pool) + 0.05
    assert precision(released) > 0.5


def test_every_simulated_label_says_so(job):
    _, lake, _ = job
    for table in ("human_labels", "judge_votes", "stage2_votes", "attributes"):
        assert query(lake, f"SELECT DISTINCT simulated FROM {table}") in ([(True,)], []), table


def test_explain_tells_the_story_of_a_pair_of_every_class(job):
    from io import StringIO

    from rich.console import Console

    _, lake, _ = job

    def told(sql: str) -> str:
        out = StringIO()
        explain.story(lake, query(lake, sql + " ORDER BY 1 LIMIT 1")[0][0], Console(file=out, width=200))
        return out.getvalue()

    story = told("SELECT pair_id FROM kept")
    assert "vote +" in story and "in release_curated" in story
    assert "with the responses swapped" in told("SELECT pair_id FROM flipped")
    assert "Outcome: drop" in told("SELECT pair_id FROM dropped")
    assert "duplicate, removed" in told("SELECT pair_id FROM duplicates")
    assert "Removed: contaminated with planted" in told("SELECT pair_id FROM contaminated")
    assert "Outcome: drop by" in told("SELECT pair_id FROM undecided")
    with pytest.raises(explain.UnknownPair):
        explain.story(lake, "not-a-pair")


def test_a_failing_step_stops_the_job_names_itself_and_leaves_what_was_there(job, monkeypatch):
    settings, lake, _ = job
    broken = settings.model_copy(
        update={"stage1": settings.stage1.model_copy(update={"seed_people": 61}), "judges": settings.judges}
    )
    before = lake.note(next(s for s in pipeline.steps() if s.name == "gold").tables[0], "iter_00")

    def refuse(*_):
        raise RuntimeError("nobody is at the desk")

    monkeypatch.setattr("resources.annotators.backends.backend", refuse)
    with pytest.raises(pipeline.JobFailed, match=r"human_labels: .*nobody is at the desk"):
        pipeline.run_all(broken, print)
    assert lake.note(next(s for s in pipeline.steps() if s.name == "gold").tables[0], "iter_00") == before


def test_runs_and_checks_are_recorded_in_dagster(job):
    settings, _, _ = job
    with dg.DagsterInstance.ephemeral() as instance:
        step = next(s for s in pipeline.steps() if s.name == "decisions")
        assert pipeline.materialize(pipeline.build(settings), (step,), "b00", instance) is None
        event = instance.get_latest_materialization_event(dg.AssetKey("decisions")).asset_materialization
        assert event.metadata["dagster/partition_row_count"].value > 0
        assert event.metadata["preview"].value.startswith("| pair_id |")
        assert event.metadata["plot"].value.startswith("![plot](data:image/png;base64,iVBOR")
        assert event.tags["dagster/data_version"]
