"""The conversations of the gold test share reach no release, view or training set, and every pair keeps one class."""

import dagster as dg
import pyarrow as pa
import pytest

from assets import releases as release
from assets.reward_models import final_reward_model
from curation import tables as t
from resources import trainer
from resources.lake import Lake
from sql import statement
from tests.support.lakes import make, put, query

ARMS = ("original", "random", "filtered", "corrected", "soft", "gold", "original_with_gold", "oracle")


@pytest.fixture
def lake(tmp_path) -> Lake:
    """Cluster k: g is test gold; s was kept by stage 2, f flipped, u undecided by people, n not decided yet. Alone: a is
    train gold, b kept, c flipped, d dropped, v undecided by judges."""
    lake = Lake(str(tmp_path))
    pairs = [{"pair_id": p, **({"cluster_id": "k"} if p in "gsfun" else {})} for p in "abcdfgnsuv"]
    put(lake, t.CLEAN_POOL, pairs, "b00")
    of = {p["pair_id"]: p.get("cluster_id", f"c-{p['pair_id']}") for p in pairs}
    for key in ("iter_00", "iter_01", "iter_02"):
        first = key == "iter_00"
        batch = [{"pair_id": p, "cluster_id": of[p], "assigned_to": "people"} for p in "gau"]
        put(lake, t.ANNOTATION_BATCH, batch if first else [], key)
        gold = [
            {"pair_id": p, "cluster_id": of[p], "verified_order": "original", "role": r}
            for p, r in (("g", "test"), ("a", "train"))
        ]
        put(lake, t.GOLD, gold if first else [], key)
        put(lake, t.SILVER, [], key)
        undecided = [{"pair_id": p, "desk": d, "reason": "undecided"} for p, d in (("u", "people"), ("v", "judges"))]
        put(lake, t.UNDECIDED, undecided if first else [], key)
    decided = {"s": "keep", "b": "keep", "f": "flip", "c": "flip", "d": "drop"}
    rows = [{"pair_id": p, "class": c, "b": "+", "g": "+", "j": "", "route": "confident", "reason": "agreed", "rule": "r",
             "p_right": 0.5} for p, c in decided.items()]  # fmt: skip
    put(lake, t.DECISIONS, rows, "b00")
    for table, name in ((t.KEPT, "keep"), (t.FLIPPED, "flip")):
        put(lake, table, [r for r in rows if r["class"] == name], "b00")
    for table in (t.ATTRIBUTES, t.STAGE2_ATTRIBUTES):
        put(lake, table, [], "b00")
    put(lake, t.DECISION_RULE, [])
    source = {f.name: {pa.string(): "s", pa.bool_(): True}.get(f.type, 0) for f in t.SOURCES.schema}
    put(lake, t.SOURCES, [source], "s")
    return lake


def released(lake: Lake) -> dict[str, set[str]]:
    make(release.release_curated, lake, "b00")
    make(release.release_corrected, lake, "b00")
    make(release.snapshots, lake)
    rows = query(lake, "SELECT upto || ' ' || snapshot, list(pair_id) FROM snapshot_pairs GROUP BY 1")
    return {view: set(pairs) for view, pairs in rows}


def test_the_conversations_of_the_test_share_are_in_no_release_and_in_no_view(lake):
    assert released(lake) == {
        "iter_00 original": {"a"}, "iter_00 filtered": {"a"}, "iter_00 corrected": {"a"},
        "stage2 original": set("abcd"), "stage2 filtered": {"a", "b"}, "stage2 corrected": {"a", "b", "c"},
    }  # fmt: skip
    assert query(lake, "SELECT pair_id FROM release_corrected WHERE pair_id IN ('g', 's', 'f')") == []


def test_no_arm_trains_on_them(lake, monkeypatch):
    released(lake)
    trained = {}

    def train(run, *, pairs, **_):
        trained[run.partition] = {r[0] for r in pairs.fetchall()}
        raise InterruptedError

    monkeypatch.setattr(trainer, "train", train)
    for arm in ARMS:
        with pytest.raises(InterruptedError):
            make(final_reward_model, lake, arm, training={"arms": list(ARMS)})
    assert trained.pop("random") < set("abcd")
    assert trained == {
        "original": set("abcd"), "filtered": set("ab"), "corrected": set("abc"), "soft": set("abcd"), "gold": {"a"},
        "original_with_gold": set("abcd"), "oracle": set(),
    }  # fmt: skip


def test_people_stand_beside_an_arm_in_their_order_and_the_oracle_in_the_planted_one(lake):
    """People swapped a; b, c and v were planted the other way round, and of d nobody can tell."""
    people = [{"pair_id": "a", "verified_order": "swapped", "role": "train"}]
    people += [{"pair_id": "g", "cluster_id": "k", "verified_order": "original", "role": "test"}]
    put(lake, t.GOLD, people, "iter_00")
    put(
        lake,
        t.ORACLE_LABELS,
        [{"pair_id": p, "verified_order": "swapped" if p in "bcv" else "original"} for p in "abcv"],
    )
    released(lake)

    def learned(arm: str) -> dict[str, str]:
        with lake.connect() as con:
            rows = con.execute(
                statement("release/arm_pairs"), parameters={"arm": arm, "seed": "0", "n": None}
            ).fetchall()
        return {r[0]: "as it came" if r[2] == "good" else "swapped" for r in rows}

    assert learned("gold") == {"a": "swapped"}
    assert learned("original")["a"] == "as it came" and learned("original_with_gold")["a"] == "swapped"
    assert learned("original_with_gold").keys() == learned("original").keys() and "v" not in learned("original")
    assert learned("filtered_with_gold") == {"b": "as it came", "a": "swapped"}
    assert learned("oracle") == {"a": "as it came", "b": "swapped", "c": "swapped"}
    assert learned("oracle_with_gold") == {"a": "swapped", "b": "swapped", "c": "swapped"}


def test_each_of_them_ends_in_the_class_held_out(lake):
    assert query(lake, 'SELECT pair_id, class, decided_by, reason FROM outcome ORDER BY 1') == [
        ("a", "keep", "people", "verified"), ("b", "keep", "models", "agreed"), ("c", "flip", "models", "agreed"),
        ("d", "drop", "models", "agreed"), ("f", "held_out", "models", "test_cluster"),
        ("g", "held_out", "people", "verified"), ("n", "held_out", None, "test_cluster"),
        ("s", "held_out", "models", "test_cluster"), ("u", "held_out", "people", "test_cluster"),
        ("v", "drop", "judges", "undecided"),
    ]  # fmt: skip
    assert query(lake, "SELECT sum(records) FROM ledger WHERE class IN ('keep', 'flip', 'drop', 'held_out')") == [(10,)]


@pytest.mark.parametrize("table", ["release_curated", "release_corrected"])
def test_a_release_with_one_of_them_is_refused(lake, table, monkeypatch):
    made = release.statement
    monkeypatch.setattr(release, "statement", lambda name: made(name).replace("p.cluster_id NOT IN", "'' NOT IN"))
    if table == "release_corrected":
        put(lake, t.RELEASE_CURATED, [], "b00")
    with pytest.raises(dg.Failure, match="no_test_gold"):
        make(getattr(release, table), lake, "b00")
