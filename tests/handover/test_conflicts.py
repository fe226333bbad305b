"""Opposite labels and circles on near-identical prompts, counted by hand."""

from assets import releases
from curation import tables as t
from curation.identity import pair_id
from resources.lake import Lake
from tests.support.lakes import make, put


def labelled(cluster, better, worse, **more):
    turns = [{"role": "user", "content": f"{cluster}, said a little otherwise each time {better}"}]
    name = pair_id(turns, better, worse)
    return {"pair_id": name, "cluster_id": cluster, "conversation": turns, "chosen": better, "rejected": worse, **more}


def test_opposite_labels_and_circles_are_counted_by_stratum_before_and_after(tmp_path):
    pool = [
        labelled("one", "a", "b"), labelled("one", "B ", "a"),  # opposite, whatever the case and spaces
        labelled("two", "a", "b"), labelled("two", "b", "c"), labelled("two", "c", "a"),  # a circle
        labelled("three", "a", "b"), labelled("four", "b", "a"),  # another prompt is no contradiction
        labelled("five", "a", "b"), labelled("five", "b", "c"), labelled("five", "a", "c"),  # an order
    ]  # fmt: skip
    lake = Lake(str(tmp_path))
    put(lake, t.CLEAN_POOL, pool, "b00")
    risky = [pool[0], pool[2]]
    put(lake, t.ATTRIBUTES, [{"pair_id": p["pair_id"], "objectivity": "subjective" if p in risky else "objective"}
                             for p in pool], "b00")  # fmt: skip
    # curation flips the second of the first cluster, and drops one side of the circle
    kept = [p for p in pool if p not in (pool[1], pool[4])]
    row = {"label_source": "models", "rule": "r", "weight": 1.0, "license": "MIT"}
    put(lake, t.RELEASE_CURATED, [p | row | {"flipped": False} for p in kept], "b00")
    put(
        lake,
        t.RELEASE_CORRECTED,
        [*(p | row | {"flipped": False} for p in kept), pool[1] | row | {"flipped": True}],
        "b00",
    )
    make(releases.conflicts, lake)
    with lake.connect() as con:
        rows = con.execute("SELECT * FROM conflicts ORDER BY ALL").fetchall()
    assert rows == [
        ("corrected", "all", 9, 0, 0, 0), ("corrected", "low", 7, 0, 0, 0), ("corrected", "risky", 2, 0, 0, 0),
        ("filtered", "all", 8, 0, 0, 0), ("filtered", "low", 6, 0, 0, 0), ("filtered", "risky", 2, 0, 0, 0),
        ("original", "all", 10, 2, 3, 1), ("original", "low", 8, 1, 2, 1), ("original", "risky", 2, 1, 1, 1),
    ]  # fmt: skip
