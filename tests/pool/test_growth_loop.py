"""The loop over a pool that grows (spec 0.05): iterations that are closed stay as they were."""

import re

import pytest

from cli.dagster_runs import run_all
from curation.tables import ANNOTATION_BATCH, GOLD, GOLD_PREDICTIONS, HUMAN_LABELS, JUDGE_VOTES, SILVER, VERDICTS
from resources.lake import Lake
from resources.settings import load
from tests.support.lakes import query
from tests.support.places import ROOT


@pytest.mark.slow
def test_closed_iterations_stay_as_they_were_when_data_join_the_next(tmp_path, monkeypatch):
    """The shipped loop, smaller: its source `arena` comes only with iteration 1."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    text = (ROOT / "assay.toml").read_text()
    sizes = {"pairs": 400, "iterations": 1, "seed_people": 30, "seed_judges": 30, "batch": 40, "epochs": 1}
    for key, value in sizes.items():
        text = re.sub(rf"^{key} = \d+", f"{key} = {value}", text, flags=re.M)
    (tmp_path / "assay.toml").write_text(text)
    whole = load(tmp_path / "assay.toml")
    late = [s.model_copy(update={"joined": 1}) if s.name == "arena" else s for s in whole.sources]
    before = whole.model_copy(update={"sources": [s for s in whole.sources if s.name != "arena"]})
    after = whole.model_copy(update={"sources": late})
    lake = Lake(str(whole.lake.path))
    loop = ("world", "pool", "seed", "stage1")

    def versions() -> dict[str, str]:
        tables = (ANNOTATION_BATCH, HUMAN_LABELS, JUDGE_VOTES, VERDICTS, GOLD, SILVER, GOLD_PREDICTIONS)
        return {t.name: lake.note(t, "iter_00")["version"] for t in tables}

    run_all(before, print, loop)
    closed, first = versions(), query(lake, "SELECT pair_id FROM annotation_batch WHERE iteration = 'iter_01'")
    run_all(after, print, loop)
    assert versions() == closed
    second = query(lake, "SELECT pair_id FROM annotation_batch WHERE iteration = 'iter_01'")
    came = {p for (p,) in query(lake, "SELECT pair_id FROM clean_pool WHERE source = 'arena'")}
    assert set(second) != set(first) and came & {p for (p,) in second}
    assert query(lake, "SELECT source FROM growth WHERE joined = 1 AND new > 0") == [("arena",)]
