"""Several seeds by one switch: the same data, another training, and their spread."""

import json

import pytest

from assets.reward_models import final_reward_model
from curation import tables as t
from resources.lake import Lake
from tests.support.lakes import make, put, query, settings
from tests.support.training_jobs import pairs

TRAINING = {
    "seeds": 3,
    "arms": ["original", "corrected"],
    "max_tokens": 128,
    "backbone": {"hidden": 32, "layers": 1, "heads": 2, "vocabulary": 300},
    "final": {"global_batch_size": 8, "max_pairs": 16},
}


def test_there_is_a_model_for_each_seed_and_nothing_else_is_stale():
    three, one = settings(training=TRAINING), settings(training={**TRAINING, "seeds": 1})
    assert one.partition_keys("model") == ["original", "corrected"]
    assert three.partition_keys("model") == [
        "original", "original-2", "original-3", "corrected", "corrected-2", "corrected-3",
    ]  # fmt: skip
    assert one.section_hash("training") == three.section_hash("training")
    assert one.section_hash("training") != settings(training=TRAINING | {"max_tokens": 64}).section_hash("training")


def test_a_later_seed_of_an_arm_is_trained_with_it(tmp_path):
    lake = Lake(str(tmp_path))
    put(lake, t.CLEAN_POOL, [{**p, "comparison_id": p["pair_id"], "bucket": "b00"} for p in pairs(24)], "b00")
    for table in (t.RELEASE_CURATED, t.RELEASE_CORRECTED, t.DECISIONS):
        put(lake, table, [], "b00")
    for key in settings().partition_keys("iteration"):
        put(lake, t.GOLD, [], key)
    make(final_reward_model, lake, "original-2", training=TRAINING, seed=5)
    assert query(lake, "SELECT model, arm, seed FROM final_reward_model") == [("original-2", "original", 6)]
    (job,) = (lake.folder("models")).glob("*/job.json")
    assert json.loads(job.read_text())["seed"] == 6


def test_the_spread_by_hand(tmp_path):
    lake = Lake(str(tmp_path))
    zero = {f.name: "x" if str(f.type) == "string" else 1 for f in t.FINAL_REWARD_MODEL.schema}
    for seed, value in enumerate((0.70, 0.74, 0.78)):
        key = "filtered" if seed == 0 else f"filtered-{seed + 1}"
        put(lake, t.FINAL_REWARD_MODEL, [{**zero, "arm": "filtered", "seed": seed}], key)
        row = {"arm": key, "benchmark": "b", "subset": "", "metric": "accuracy", "value": value}
        put(
            lake,
            t.BENCHMARK_RESULTS,
            [row | {"n": 9, "out_of": 9, "ties": 0, "truncated": 0, "missing": []}],
            f"b|{key}",
        )
    (arm, *_, seeds, mean, sd, low, high) = query(lake, "FROM benchmark_spread")[0]
    assert (arm, seeds, low, high) == ("filtered", 3, 0.70, 0.78)
    assert (mean, sd) == (pytest.approx(0.74), pytest.approx(0.04))
