"""What a pair counts in a final training, and by how much its better answer must be ahead: as the configuration says."""

import json

import pytest

from assets import pool as pool_steps
from assets import releases, reward_models
from curation import tables as t
from resources.lake import Lake
from resources.run import Run
from resources.settings import Settings
from tests.support.lakes import make, published, put
from tests.support.releases import SILENT, configured, handed_lake, pool


class Trained(Exception):
    """Carries the pairs that a training was given."""


class Trainer:
    def train(self, run, *, pairs, **_):
        raise Trained(pairs.order("pair_id").to_arrow_table().to_pylist(), pairs.columns)


def given(settings, lake, arm):
    """The pairs that a final model of an arm would be trained on, and their columns."""
    run = Run(settings, lake, arm, services={"reward_models": Trainer()})
    with pytest.raises(Trained) as e:
        published(reward_models.final_reward_model, run)
    rows, columns = e.value.args
    return {r["pair_id"]: r for r in rows}, columns


def test_weights_are_products_of_what_applies_and_stand_in_the_release(tmp_path):
    settings = configured(weights={"models": 0.5, "flipped": 0.5, "risky": 0.1})
    lake = handed_lake(tmp_path / "lake", settings)
    names = [p["pair_id"] for p in pool()]
    put(lake, t.STAGE2_ATTRIBUTES, [{"pair_id": names[0], "objectivity": "subjective"}, {"pair_id": names[1]}], "b00")
    for step in (releases.release_curated, releases.release_corrected):
        published(step, Run(settings, lake, "b00"))
    with lake.connect() as con:
        weights = dict(con.execute("SELECT pair_id, weight FROM release_corrected").fetchall())
    assert weights[names[0]] == pytest.approx(0.5 * 0.5 * 0.1)  # flipped by models, and risky
    assert weights[names[1]] == 0.5 and weights[names[3]] == 0.25
    assert {p: r["weight"] for p, r in given(settings, lake, "corrected")[0].items()} == weights


SCORED = {"name": "open", "path": "open.jsonl", "shape": "scores", "license": "MIT", "redistribution": True,
          "fields": {"prompt": "prompt", "responses": "answers", "scores": "scores"}}  # fmt: skip


def test_points_of_a_sources_scores_become_margins_where_they_are_counted(tmp_path):
    lines = [
        {
            "prompt": "Which is larger, 9 or 11?",
            "answers": ["eleven is larger", "nine is larger", "neither"],
            "scores": [5, 2.5, 1],
        },
        {"prompt": "Name a colour, please.", "answers": ["red", "seven"], "scores": ["4.5", "4"]},
    ]
    (tmp_path / "open.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    settings = Settings.model_validate(
        {"sources": [SCORED | {"path": str(tmp_path / "open.jsonl")}, {"name": "other", "path": "x.jsonl"}],
         "lake": {"buckets": 1}, "weights": {"margins": {"open": 0.2}}, **SILENT}
    )  # fmt: skip
    lake = Lake(str(tmp_path / "lake"))
    make(pool_steps.raw_pool, lake, "open", **settings.model_dump(exclude_unset=True))
    with lake.connect() as con:
        rows = con.sql("FROM raw_pool ORDER BY row, part").to_arrow_table().to_pylist()
    assert [r["ahead_by"] for r in rows] == [2.5, 4.0, 1.5, 0.5]
    flipped = rows[1]["pair_id"]
    clean = [
        {k: r[k] for k in ("pair_id", "conversation", "chosen", "rejected", "source", "row", "part")} for r in rows
    ]
    put(lake, t.CLEAN_POOL, clean, "b00")
    released = [
        r | {"flipped": False, "label_source": "models", "rule": "r", "weight": 1.0, "license": "MIT"} for r in clean
    ]
    for r in released:
        if r["pair_id"] == flipped:
            r |= {"flipped": True, "chosen": r["rejected"], "rejected": r["chosen"]}
    put(lake, t.RELEASE_CORRECTED, released, "b00")
    found, columns = given(settings, lake, "corrected")
    assert [found[r["pair_id"]]["margin"] for r in rows] == pytest.approx(
        [0.5, 0.0, 0.3, 0.1]
    )  # none for the flipped one
    assert "margin" in columns
    plain = settings.model_copy(update={"weights": type(settings.weights)()})
    assert "margin" not in given(plain, lake, "corrected")[1]


def test_margins_of_a_source_that_is_not_there_are_refused():
    with pytest.raises(ValueError, match=r"weights\.margins names ratings, which is no source"):
        configured(weights={"margins": {"ratings": 1.0}})
