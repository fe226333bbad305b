"""Without judges people's pairs teach the loop; with them they never do. What is too little is said before training."""

import dagster as dg
import pytest

from assets.stage1 import has_pairs, reward_model
from cli.ending import notices
from curation import tables as t
from resources.lake import Lake
from resources.settings import Settings
from sql import statement
from tests.support.lakes import make, put

ROLES = ("train", "few_shot", "validation", "calibration", "test")
IT0 = "iter_00"


def planted(root, judged: int = 0, silver: int = 0) -> Lake:
    """Five gold pairs, one of each role, and pairs on the judges' desk, some of them decided."""
    lake = Lake(str(root))
    names = [f"g{role}" for role in ROLES], [f"j{i}" for i in range(judged)]
    put(lake, t.CLEAN_POOL, [{"pair_id": p} for some in names for p in some], "b00")
    desks = [
        {"pair_id": p, "assigned_to": d} for d, some in zip(("people", "judges"), names, strict=True) for p in some
    ]
    put(lake, t.ANNOTATION_BATCH, desks, IT0)
    put(lake, t.GOLD, [{"pair_id": f"g{role}", "verified_order": "swapped", "role": role} for role in ROLES], IT0)
    put(lake, t.SILVER, [{"pair_id": f"j{i}", "verified_order": "original"} for i in range(silver)], IT0)
    return lake


def ids(lake: Lake, name: str) -> set[str]:
    with lake.connect() as con:
        rows = con.execute(statement(f"stage1/{name}"), parameters={"iteration": IT0}).fetchall()
    return {pair for pair, *_ in rows}


def test_people_alone_teach_the_loop_and_one_fold_chooses(tmp_path):
    lake = planted(tmp_path)
    assert ids(lake, "loop_training_pairs") == {"gtrain", "gfew_shot"}
    assert ids(lake, "loop_validation_pairs") == {"gvalidation"}


def test_where_judges_were_asked_gold_teaches_nothing(tmp_path):
    lake = planted(tmp_path, judged=3, silver=2)
    assert ids(lake, "loop_training_pairs") == {"j0", "j1"}
    assert ids(lake, "loop_validation_pairs") == {"gtrain", "gfew_shot", "gvalidation"}


def test_a_panel_that_decided_nothing_is_named_before_training(tmp_path):
    lake = planted(tmp_path, judged=3)
    with pytest.raises(dg.Failure) as e:
        make(reward_model, lake, IT0)
    said = str(e.value.description)
    assert said.startswith("reward_model/iter_00 is not trained: no pair was decided")
    assert "verdicts GROUP BY ALL" in said
    assert not list((tmp_path / "files" / "models").glob("*")) if (tmp_path / "files").exists() else True


def test_no_gold_to_choose_a_checkpoint_on_is_named(tmp_path):
    lake = planted(tmp_path, judged=1, silver=1)
    with lake.connect() as con:
        some, none = con.sql("SELECT 1"), con.sql("SELECT 1 WHERE false")
        has_pairs("m", some, some)
        with pytest.raises(dg.Failure, match="no gold pair has the role validation"):
            has_pairs("m", some, none)


def real(**sections) -> Settings:
    return Settings.model_validate({"sources": [{"name": "s", "path": "s.jsonl"}], **sections})


def test_a_seed_that_the_pool_cannot_fill_and_a_round_of_two_are_noted(tmp_path):
    lake, settings = planted(tmp_path), real()
    seed = [{"pair_id": f"g{r}", "stratum": "x", "assigned_to": "people", "inclusion": 1.0} for r in ROLES]
    put(lake, t.SEED_SELECTION, seed)
    put(lake, t.ANNOTATION_BATCH, [{"pair_id": f"x{i}", "assigned_to": "people"} for i in range(2)], "iter_01")
    found = list(notices(settings, lake))
    assert any("the pool has 5 pairs and gives 5 of the 200 that the seed asks for" in line for line in found)
    assert any("iter_01 asks people about 2 pairs only" in line for line in found)
    assert any("no judge is configured" in line for line in found)


def test_what_is_left_out_depends_on_what_is_there():
    bare = real()
    assert bare.people.backend == "files" and bare.people.cost_per_label == 0
    assert bare.attributes.backend == "heuristic" and bare.training.backbone.name == "minilm"
    assert (bare.stage1.seed_judges, bare.stage1.people_share, bare.stage2.policy) == (0, 1.0, "both")
    assert bare.sources[0].stage == "seed"
    judge = {"name": "j", "backend": "openai", "model": "m"}
    judged = real(judges={"panel": [judge], "quorum": 1})
    assert (judged.stage1.seed_judges, judged.stage1.people_share, judged.stage2.policy) == (300, 0.3, "symmetric")
    several = [{"name": n, "path": "x", "stage": s} for n, s in (("a", "stage1"), ("b", "stage2"))]
    assert [s.stage for s in real(sources=several).sources] == ["seed", "stage2"]
    small = real(training={"backbone": {"hidden": 32}})
    assert small.training.backbone.path is None and small.training.loop.learning_rate == 1e-3
    mine = real(training={"loop": {"epochs": 1}, "final": {"profile": "final"}})
    assert mine.training.loop.epochs == 1 and mine.training.loop.learning_rate == 1e-4
    assert mine.training.final.schedule == "constant"
    world = Settings.model_validate({"world": {}, "sources": [{"name": "s", "path": "s"}]})
    assert world.people.cost_per_label == 0.4 and world.training.backbone.path is None
    assert world.sources[0].stage == "stage2"
