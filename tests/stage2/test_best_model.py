"""Every champion on the final gold, ties to the later (spec O-09)."""

import pytest

from assets import stage2
from curation.tables import CLEAN_POOL, GOLD, REWARD_MODEL
from resources.lake import Lake
from tests.stage1.test_stage1_selection import MODEL
from tests.support.lakes import make, put, query
from tests.support.training_jobs import job, pairs, table
from training.train import train


def test_the_best_on_the_final_gold_is_taken_and_the_later_of_two_equals(tmp_path):
    """Iterations 0 and 2 hold one model that learned the planted word, iteration 1 one that learned the opposite. The
    gold it counts on is that of the open roles: on test and calibration the bad model would win."""
    rows = pairs(160)
    wrong = [r | {"chosen": r["rejected"], "rejected": r["chosen"]} for r in rows]
    for name, data in (("good", rows), ("bad", wrong)):
        train(job(tmp_path / name, table(data), recipe={"epochs": 4}))
    lake = Lake(str(tmp_path / "lake"))
    gold = pairs(40, seed=9)
    put(lake, CLEAN_POOL, gold, "b00")
    roles = ["train", "few_shot", "validation", "calibration", "test"]
    for iteration, some in enumerate((gold[:20], gold[20:], [])):
        labels = [
            {
                "pair_id": r["pair_id"],
                "role": (role := roles[i % 5]),
                "verified_order": "original" if role in roles[:3] else "swapped",
            }
            for i, r in enumerate(some)
        ]
        put(lake, GOLD, labels, f"iter_{iteration:02d}")
    for iteration, name in enumerate(("good", "bad", "good")):
        model = MODEL | {"model_id": name, "path": str(tmp_path / name / "out" / "model")}
        put(lake, REWARD_MODEL, [model], f"iter_{iteration:02d}")
    make(stage2.best_reward_model, lake, training={"max_tokens": 256})
    found = query(lake, "SELECT iteration, best, pairs, accuracy FROM best_reward_model ORDER BY 1")
    assert [(i, best, n) for i, best, n, _ in found] == [
        ("iter_00", False, 24),
        ("iter_01", False, 24),
        ("iter_02", True, 24),
    ]
    good, bad, again = (accuracy for *_, accuracy in found)
    assert good == again > 0.9 and bad == pytest.approx(1 - good, abs=0.15)
