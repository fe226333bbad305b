"""The review page's filters: pure rules on planted vectors, and a release that they trim."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.handing_over import handed_over
from curation import filters as rules
from curation import tables as t
from handover.build import Wanted, build
from handover.contents import HandoverError, Snapshot
from handover.verify import verify
from resources.run import Run
from tests.support.lakes import published, put
from tests.support.releases import SOURCES, configured, handed_lake, pair

TOPICS = (
    "sail boats harbour wind rope anchor",
    "bread oven flour yeast crust dough",
    "chess bishop rook castle pawn king",
)


def unit(rows):
    rows = np.asarray(rows, np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def log_det(vectors) -> float:
    """Of the kernel of some vectors."""
    return float(np.linalg.slogdet(np.exp((vectors @ vectors.T - 1) / rules.WIDTH))[1])


# ---- rules -----------------------------------------------------------------------------------------------------------
def test_the_greedy_set_beats_the_best_of_a_hundred_random_ones_and_leaves_copies_for_last():
    rng = np.random.default_rng(3)
    vectors = unit(rng.normal(size=(60, 8)))
    drawn, gains = rules.greedy(vectors, 12)
    best = max(log_det(vectors[rng.choice(60, 12, replace=False)]) for _ in range(100))
    assert log_det(vectors[drawn]) > best
    assert gains == sorted(gains, reverse=True) and np.log(gains).sum() == pytest.approx(log_det(vectors[drawn]))
    assert rules.greedy(vectors, 5) == (drawn[:5], gains[:5])
    copies = np.concatenate([np.repeat(vectors[:1], 20, axis=0), vectors[1:6]])
    assert sorted(rules.greedy(copies, 6)[0]) == [0, 20, 21, 22, 23, 24]
    assert len(rules.greedy(copies, 9)[0]) == 9 and rules.greedy(copies, 0) == ([], [])


def test_every_topic_keeps_its_share_also_where_it_is_cut_into_blocks(monkeypatch):
    monkeypatch.setattr(rules, "BLOCK", 16)
    rng = np.random.default_rng(5)
    topic = np.array([0] * 90 + [1] * 45 + [2] * 15)
    vectors = unit(rng.normal(size=(150, 6)))
    vectors[1:20] = vectors[0]
    ranks = rules.diverse(vectors, topic, 50)
    drawn = ranks >= 0
    assert drawn.sum() == 50 and rules.distance(topic, topic[drawn]) <= 0.05
    assert drawn[:20].sum() <= 3  # twenty copies lie in two blocks: the first of each, and no other copy
    assert (rules.diverse(vectors, topic, 150) >= 0).all()


def test_quotas_are_proportional_and_whole():
    assert rules.quotas([5, 3, 2], 5) == [3, 1, 1]
    assert rules.quotas([10, 0, 10], 3) == [2, 0, 1]
    assert rules.quotas([], 0) == []


def test_agreement_is_that_of_the_cell_of_its_stratum_or_of_all_gold():
    topic = [0] * 20 + [1] * 19 + [2] * 20
    stratum = ["objective"] * 39 + ["subjective"] * 20
    equal = [True] * 15 + [False] * 5 + [True] * 19 + [True] * 10 + [False] * 10
    known = rules.cells(topic, stratum, equal)
    assert rules.agreement_of(known, 0, "objective").value(False) == 0.75
    assert rules.agreement_of(known, 1, "objective").value(False) == 34 / 39  # 19 are too few: all objective gold
    assert rules.agreement_of(known, 1, "").value(False) == 44 / 59  # nobody labelled it: all gold
    assert rules.agreement_of(known, 0, "objective").value(True) == pytest.approx(0.5313, abs=1e-4)
    assert rules.agreement_of(rules.cells([0], [""], [True]), 0, "") is None


def test_topics_are_found_and_distances_are_total_variation():
    rng = np.random.default_rng(1)
    middles = np.eye(6)[:3]
    planted = np.repeat([0, 1, 2], 30)
    found = rules.topics(unit(middles[planted] + 0.05 * rng.normal(size=(90, 6))).astype(np.float32), 3, 7)
    assert all(len(set(found[planted == k])) == 1 for k in range(3)) and len(set(found)) == 3
    assert rules.distance(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])) == 0.25
    assert rules.distance(np.array([0]), np.array([], int)) == 1.0


# ---- a release -------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    """90 pairs of three topics; the judges agree with people on 20 of 20 gold pairs about boats, 20 of 30 about bread."""
    pairs = [pair(i, ("open", "wide")[i % 2], asked=f"{TOPICS[i % 3]} number {i} of them?") for i in range(90)]
    labels = {p["pair_id"]: i for i, p in enumerate(pairs)}
    lake = handed_lake(tmp_path_factory.mktemp("filtered"), pairs=pairs)
    gold, votes = [], []
    for name, i in labels.items():
        if i % 3 == 2:
            continue
        gold.append(
            {
                "pair_id": name,
                "verified_order": "original",
                "iteration": "iter_00",
                "role": "test" if i % 9 == 0 else "train",  # a third of the boats, where the judges are wrong
            }
        )
        votes.append({"pair_id": name, "judge": "one", "model": "m", "replicate": 0, "vote": "swapped" if i % 9 in (0, 1) else "original",
                      "status": "ok", "answer": "candidate_1", "examples": [], "request_key": name})  # fmt: skip
    put(lake, t.GOLD, gold, "iter_00")
    put(lake, t.GOLD_VOTES, votes, "iter_00")
    put(lake, t.ATTRIBUTES, [{"pair_id": n} for n in labels], "b00")
    put(lake, t.BEST_REWARD_MODEL, [{"iteration": "iter_00", "model_id": "best-of-all", "path": "x", "best": True,
                                     "accuracy": 1.0, "pairs": 1}])  # fmt: skip
    return lake


class Rewards:
    """Rewards of chosen 0.1 for every unit of a pair's number; one pair cannot be scored."""

    def __init__(self, numbers):
        self.numbers, self.asked = numbers, []

    def score(self, run, models, pairs):
        names = sorted(row[0] for row in pairs.select("pair_id").fetchall())
        self.asked += names
        values = [None if self.numbers[n] == 0 else self.numbers[n] / 10 for n in names]
        return pa.table(
            {"pair_id": names, "r_chosen_m": pa.array(values, pa.float64()), "r_rejected_m": [0.0] * len(names)}
        )


def made(lake, out, name="corrected", **filters):
    settings = configured(release={"filters": filters, "names": []} if filters else {})
    with lake.connect() as con:
        numbers = {n: int(c[0]["content"].split(" number ")[1].split()[0])
                   for n, c in con.execute("SELECT pair_id, conversation FROM clean_pool").fetchall()}  # fmt: skip
    stub = Rewards(numbers)
    run = Run(settings, lake, services={"reward_models": stub, "lake": None})
    return build(settings, lake, Wanted(Snapshot.named(name)), out, run=run), stub, numbers


def everything(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_all_filters_off_is_the_release_without_filters_byte_for_byte(lake, tmp_path):
    build(configured(), lake, Wanted(Snapshot.named("corrected")), tmp_path / "one")
    made(lake, tmp_path / "two", topics=3, margin_model="gold")
    assert everything(tmp_path / "one") == everything(tmp_path / "two")
    assert not (tmp_path / "one" / "selection.parquet").exists()


def test_agreement_removes_none_at_0_and_all_above_1_and_more_the_higher_it_is(lake, tmp_path):
    kept = [made(lake, tmp_path / "out", agreement=x, topics=3)[0]["pairs"] for x in (0.0, 0.6, 0.7, 0.9)]
    assert kept == [90, 90, 60, 30]  # boats 1.0, bread 2/3, chess as all objective gold: 4/5
    with pytest.raises(HandoverError, match=r"nothing is left: the filters"):
        made(lake, tmp_path / "none", agreement=1.01, topics=3)


def test_a_margin_must_be_greater_and_a_pair_without_one_goes(lake, tmp_path):
    facts, _, numbers = made(lake, tmp_path / "out", margin=0.3)
    rows = pq.read_table(tmp_path / "out" / "selection.parquet").to_pylist()
    assert {numbers[r["pair_id"]] for r in rows if r["left_out_by"] == "margin"} == {0, 1, 2, 3}
    assert facts["pairs"] == 86 and facts["selection"]["margin_model"]["model_id"] == "best-of-all"


def test_filters_act_in_order_down_to_the_target_and_the_table_of_what_they_took_adds_up(lake, tmp_path):
    facts, stub, _ = made(lake, tmp_path / "out", agreement=0.7, target=20, margin=0.3, topics=3)
    said = facts["selection"]
    assert [a["rule"].split()[0] for a in said["attrition"]][:3] == ["agreement", "diversity,", "margin"]
    assert said["attrition"][0] == {
        "rule": "agreement of judges with people at least 0.7",
        "before": 90,
        "removed": 30,
        "after": 60,
    }
    assert facts["pairs"] == 20 == said["attrition"][-1]["after"]
    assert len(stub.asked) == len(set(stub.asked)) < 60  # nobody is scored twice, nor who was left out before
    assert verify(tmp_path / "out").faults == []
    ledger = {(r["class"], r["reason"]): 0 for r in facts["ledger"]}
    for r in facts["ledger"]:
        ledger[r["class"], r["reason"]] += r["records"]
    assert ledger["not_selected", "agreement"] == 30 and sum(ledger.values()) == 90
    card = (tmp_path / "out" / "README.md").read_text()
    assert "review page" in card and "| agreement of judges with people at least 0.7 | 90 | 30 | 60 |" in card
    made(lake, tmp_path / "again", agreement=0.7, target=20, margin=0.3, topics=3)
    assert everything(tmp_path / "again") == everything(tmp_path / "out")
    (tmp_path / "again" / "release.json").write_text(
        json.dumps(facts | {"selection": said | {"attrition": said["attrition"][:1]}})
    )
    assert "60 pairs after it, 20 go on" in "\n".join(verify(tmp_path / "again").lines)


def test_diversity_alone_keeps_the_topics(lake, tmp_path):
    facts = made(lake, tmp_path / "out", target=30, topics=3)[0]
    assert facts["pairs"] == 30 and facts["selection"]["topic_distance"] <= 0.05


def test_what_a_filter_goes_by_must_be_there(lake, tmp_path):
    with pytest.raises(HandoverError, match="no model 'golden'; there are best, gold"):
        made(lake, tmp_path / "out", margin=0.3, margin_model="golden")
    bare = handed_lake(tmp_path / "bare")
    with pytest.raises(HandoverError, match="judges have a verdict on 0 gold pairs and 20 are needed"):
        build(
            configured(release={"filters": {"agreement": 0.8}}),
            bare,
            Wanted(Snapshot.named("curated")),
            tmp_path / "out",
        )


# ---- at the end of a run ---------------------------------------------------------------------------------------------
def test_a_run_writes_the_releases_that_are_named_and_again_where_a_folder_is_gone(tmp_path):
    import shutil

    import dagster as dg

    settings = configured(release={"names": ["curated", "corrected"]})
    lake = handed_lake(tmp_path / "lake", settings)
    published(handed_over, Run(settings, lake))
    with lake.connect() as con:
        rows = con.execute("SELECT release, pairs, flipped, left_out FROM handed_over ORDER BY 1").fetchall()
    assert rows == [("corrected", 12, 4, 6), ("curated", 8, 0, 4)]
    assert verify(lake.folder("releases") / "corrected").faults == []
    assert handed_over.stale(settings, lake, None) is None
    shutil.rmtree(lake.folder("releases") / "curated")
    assert handed_over.stale(settings, lake, None) == "the folder of curated is gone"
    shut = configured([s | {"redistribution": False} for s in SOURCES], release={"names": ["curated"]})
    with pytest.raises(dg.Failure, match="release curated: nothing is left: no source"):
        published(handed_over, Run(shut, handed_lake(tmp_path / "shut", shut)))
