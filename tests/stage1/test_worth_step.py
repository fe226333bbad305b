"""The table `worth` after the seed round: a verdict from gold, or in words why there is none."""

import random

from assets.pilot_worth import worth
from curation.tables import ANNOTATION_BATCH, ATTRIBUTES, CLEAN_POOL, GOLD
from resources.lake import Lake
from tests.support.lakes import make, put, query


def lake(root, gold: int, labels: float = 0.65) -> Lake:
    """500 pairs whose better response says please; the first of them are gold, one of them for the final test."""
    r, made = random.Random(0), Lake(str(root))
    rows, decided = [], []
    for i in range(500):
        good, bad = f"please take {r.random()}", f"no {r.random()} whatever"
        right = r.random() < labels
        pair = f"p{i:03d}"
        rows.append({"pair_id": pair, "comparison_id": f"k{i}", "chosen": good if right else bad,
                     "rejected": bad if right else good, "bucket": "b00"})  # fmt: skip
        if i < gold:
            role = "test" if i == 0 else "train"
            decided.append({"pair_id": pair, "verified_order": "original" if right else "swapped", "role": role})
    put(made, CLEAN_POOL, rows, "b00")
    put(made, ATTRIBUTES, [{"pair_id": row["pair_id"]} for row in rows[:gold]], "b00")
    put(made, ANNOTATION_BATCH, [{"pair_id": d["pair_id"], "assigned_to": "people"} for d in decided], "iter_00")
    put(made, GOLD, decided, "iter_00")
    return made


def test_the_verdict_and_its_figures_are_a_table_and_a_page(tmp_path):
    made = lake(tmp_path, 151)
    make(worth, made, "iter_00")
    assert query(made, "SELECT item FROM worth WHERE figure = 'verdict'") == [("curate and flip",)]
    assert query(made, "SELECT value FROM worth WHERE figure = 'gold' AND item = 'pairs'") == [(150.0,)]  # test unread
    ((a, low, high),) = query(made, "SELECT value, low, high FROM worth WHERE item = 'original labels'")
    assert low < 0.65 < high and low < a < high
    assert "Curate and flip" in (made.folder("reports") / "worth-iter_00.html").read_text()


def test_too_little_gold_is_a_row_and_stops_nothing(tmp_path):
    made = lake(tmp_path, 20)
    make(worth, made, "iter_00")
    ((item, text),) = query(made, "SELECT item, text FROM worth")
    assert item == "not measurable" and text.startswith("19 pairs with people's labels")


def test_gold_that_was_chosen_and_not_drawn_is_said(tmp_path):
    made = lake(tmp_path, 151)
    rows = [{"pair_id": f"p{i:03d}", "assigned_to": "people", "why": "retrieved"} for i in range(151)]
    put(made, ANNOTATION_BATCH, rows, "iter_00")
    make(worth, made, "iter_00")
    assert query(made, "SELECT count(*) FROM worth WHERE text LIKE 'most gold was chosen%'") == [(1,)]


def test_equal_lakes_give_equal_tables(tmp_path):
    bytes_ = []
    for i in range(2):
        made = lake(tmp_path / str(i), 120)
        make(worth, made, "iter_00")
        bytes_.append((tmp_path / str(i) / "worth" / "iteration=iter_00" / "data.parquet").read_bytes())
    assert len(set(bytes_)) == 1
