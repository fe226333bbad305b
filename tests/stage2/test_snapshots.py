"""The views original, filtered and corrected after every iteration and after stage 2 (spec 3.14, 3.15, 5.02, 5.03)."""

import dagster as dg
import pytest

from assets import releases as release
from curation import tables as t
from resources.lake import Lake
from tests.support.lakes import make, put, query

TEXTS = {"conversation": [{"role": "user", "content": "why?"}], "chosen": "first", "rejected": "second"}


def lake_of(root, **released) -> Lake:
    """Iteration 0: a and t by people (t for the test), b by judges against its label, u undecided. Iteration 1: c by
    people against its label, d by judges. Stage 2: e kept, f flipped, g dropped."""
    lake = Lake(str(root))
    put(lake, t.CLEAN_POOL, [{"pair_id": p, **TEXTS} for p in "abcdefgtu"], "b00")
    asked = {"iter_00": "atbu", "iter_01": "cd", "iter_02": ""}
    people = {
        "iter_00": [("a", "original", "train"), ("t", "original", "test")],
        "iter_01": [("c", "swapped", "train")],
    }
    judged = {"iter_00": [("b", "swapped")], "iter_01": [("d", "original")]}
    for key, pairs in asked.items():
        put(lake, t.ANNOTATION_BATCH, [{"pair_id": p, "assigned_to": "people"} for p in pairs], key)
        put(lake, t.GOLD, [{"pair_id": p, "verified_order": o, "role": r} for p, o, r in people.get(key, [])], key)
        put(lake, t.SILVER, [{"pair_id": p, "verified_order": o} for p, o in judged.get(key, [])], key)
    rows = {"curated": "ade", "corrected": "adeBCF"} | released
    for table, pairs in ((t.RELEASE_CURATED, rows["curated"]), (t.RELEASE_CORRECTED, rows["corrected"])):
        put(lake, table, [
            {"pair_id": p.lower(), **TEXTS, "flipped": p.isupper(), "label_source": "people", "rule": "r", "weight": 1.0,
             "license": "x"} for p in pairs], "b00")  # fmt: skip
    return lake


def test_every_view_holds_what_it_should(tmp_path):
    lake = lake_of(tmp_path)
    make(release.snapshots, lake)
    rows = query(lake, "SELECT upto, snapshot, pairs, swapped FROM snapshots ORDER BY ALL")
    assert rows == [
        ("iter_00", "corrected", 2, 1), ("iter_00", "filtered", 1, 0), ("iter_00", "original", 3, 0),
        ("iter_01", "corrected", 4, 2), ("iter_01", "filtered", 2, 0), ("iter_01", "original", 5, 0),
        ("stage2", "corrected", 6, 3), ("stage2", "filtered", 3, 0), ("stage2", "original", 8, 0),
    ]  # fmt: skip
    texts = query(lake, "SELECT pair_id, chosen, rejected FROM snapshot('corrected', 'iter_01') ORDER BY 1")
    assert texts == [
        ("a", "first", "second"),
        ("b", "second", "first"),
        ("c", "second", "first"),
        ("d", "first", "second"),
    ]


def test_equal_views_have_equal_hashes_and_others_do_not(tmp_path):
    one, two, three = (lake_of(tmp_path / n) for n in "123")
    put(three, t.SILVER, [{"pair_id": "b", "verified_order": "original"}], "iter_00")
    put(three, t.RELEASE_CURATED, [{"pair_id": p, **TEXTS, "flipped": False, "label_source": "people", "rule": "r",
                                    "weight": 1.0, "license": "x"} for p in "abde"], "b00")  # fmt: skip
    put(three, t.RELEASE_CORRECTED, [{"pair_id": p.lower(), **TEXTS, "flipped": p.isupper(), "label_source": "people",
                                      "rule": "r", "weight": 1.0, "license": "x"} for p in "abdeCF"], "b00")  # fmt: skip
    for lake in (one, two, three):
        make(release.snapshots, lake)
    found = [dict(query(lake, "SELECT upto || ' ' || snapshot, hash FROM snapshots")) for lake in (one, two, three)]
    assert found[0] == found[1]
    differ = {k for k in found[0] if found[0][k] != found[2][k]}
    assert differ == {f"{u} {v}" for u in ("iter_00", "iter_01", "stage2") for v in ("filtered", "corrected")}


@pytest.mark.parametrize(
    ("released", "broken"),
    [
        ({"curated": "adef"}, "corrected_is_filtered_and_swapped"),  # f is kept in one and swapped in the other
        ({"corrected": "adegBCF"}, "corrected_is_filtered_and_swapped"),  # g came from nowhere
        ({"curated": "de", "corrected": "deBCF"}, "only_growing"),  # a was lost on the way
        ({"corrected": "adeBCFT"}, "nothing_from_nowhere"),  # the test share was released
    ],
)
def test_a_view_that_breaks_its_promise_is_not_published(tmp_path, released, broken):
    with pytest.raises(dg.Failure, match=broken):
        make(release.snapshots, lake_of(tmp_path, **released))
