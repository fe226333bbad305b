"""The panel on gold, over the real wire: leave-one-out votes, weights in the verdicts, report cards."""

import dagster as dg
import pytest

from assets import judge_report as panel
from assets import stage1
from curation.tables import (
    ANNOTATION_BATCH,
    ATTRIBUTES,
    CLEAN_POOL,
    EMBEDDINGS,
    GOLD,
    GOLD_VOTES,
    HUMAN_LABELS,
)
from resources.lake import Lake
from tests.support.judging import FREE, body_for
from tests.support.lakes import make, put, query, settings
from tests.support.scripted_server import Step, serving, verdict

IT0 = "iter_00"
N = 40


def pair(i: int) -> dict:
    """The better response says 'good'; it is the chosen one but for every fifth pair. Pairs 0 and 1 are duplicates."""
    chosen, rejected = (f"bad {i:03d}", f"good {i:03d}") if i % 5 == 0 else (f"good {i:03d}", f"bad {i:03d}")
    return {
        "pair_id": f"p{i:03d}", "comparison_id": f"x{i:03d}", "cluster_id": f"c{max(i, 1):03d}", "chosen": chosen,
        "rejected": rejected,
    }  # fmt: skip


def answer(path, body, number):
    """`sound` finds the word good; `first` always takes the first candidate, `contrary` the wrong one."""
    text = body["messages"][-1]["content"]  # the target stands last
    says = verdict("candidate_1" if text.rindex("\ngood") < text.rindex("\nbad") else "candidate_2")
    match body["model"]:
        case "first":
            says = verdict("candidate_1")
        case "contrary":
            says = verdict("candidate_2" if "candidate_1" in says else "candidate_1")
    return Step(body_for(path, says))


@pytest.fixture
def lake(tmp_path) -> Lake:
    """40 gold pairs, the last four of the test share, and ten pairs for the judges."""
    lake = Lake(str(tmp_path))
    rows = [pair(i) for i in range(N + 10)]
    put(lake, CLEAN_POOL, rows, "b00")
    put(lake, ATTRIBUTES, rows, "b00")
    put(lake, EMBEDDINGS, [{**r, "vector": [1.0, float(i), 2.0]} for i, r in enumerate(rows)], "b00")
    put(lake, ANNOTATION_BATCH, [{**r, "assigned_to": "judges"} for r in rows[N:]], IT0)
    gold = [
        {**r, "verified_order": "swapped" if i % 5 == 0 else "original", "role": "test" if i >= N - 4 else "few_shot"}
        for i, r in enumerate(rows[:N])
    ]
    put(lake, GOLD, gold, IT0)
    return lake


def judges(url: str, *models: str, **keys) -> dict:
    one = {"backend": "openai", "base_url": url + "/v1", "price": FREE}
    return {"panel": [one | {"name": m, "model": m} for m in models], "quorum": 1} | keys


HASHING = {"embedding": {"backend": "hashing", "dimensions": 16}}


def embedded(lake: Lake) -> None:
    """Vectors of the size that targets are embedded with."""
    from assets.seed import embeddings

    make(embeddings, lake, "b00", **HASHING)


def test_gold_pairs_are_asked_without_themselves_among_the_examples(lake):
    embedded(lake)
    with serving(answer) as server:
        made = judges(server.url, "sound", "first", measure=30)
        make(panel.gold_votes, lake, IT0, judges=made, **HASHING)
        assert len(server.requests) == 30 * 2 * 2
    assert query(lake, "SELECT count(DISTINCT pair_id), count(*) FROM gold_votes") == [(30, 120)]
    role = "SELECT DISTINCT role FROM gold WHERE pair_id IN (SELECT pair_id FROM gold_votes)"
    assert query(lake, role) == [("few_shot",)]
    shown = query(lake, "SELECT pair_id, len(examples), unnest(examples) FROM gold_votes")
    assert {n for _, n, _ in shown} == {8}
    assert not any(p == e for p, _, e in shown)
    assert not any({p, e} == {"p000", "p001"} for p, _, e in shown)


def test_nobody_is_asked_where_nothing_is_to_be_measured(lake):
    embedded(lake)
    with serving(answer) as server:
        make(panel.gold_votes, lake, IT0, judges=judges(server.url, "sound", measure=0), **HASHING)
        assert server.requests == []
    assert query(lake, "SELECT count(*) FROM gold_votes") == [(0,)]


def test_weights_fitted_on_gold_decide_and_stand_beside_the_verdicts(lake):
    embedded(lake)
    with serving(answer) as server:
        made = judges(server.url, "sound", "contrary", "first", aggregation="stacking")
        make(panel.gold_votes, lake, IT0, judges=made, **HASHING)
        make(stage1.judge_votes, lake, IT0, judges=made, **HASHING)
        make(stage1.verdicts, lake, IT0, judges=made)
    weight = dict(query(lake, "SELECT judge, sum(for_original) FROM judge_weights GROUP BY 1"))
    assert weight["sound"] > 1.5 and weight["contrary"] < -1.5  # mostly wrong is worth as much as mostly right
    votes = query(lake, "SELECT pair_id, verdict, reason, p FROM verdicts ORDER BY 1")
    right = [(p, "swapped" if int(p[1:]) % 5 == 0 else "original", "stacking") for p, *_ in votes]
    assert [v[:3] for v in votes] == right and len(votes) == 10
    assert all(p > 0.9 or p < 0.1 for *_, p in votes)


def test_too_little_gold_to_fit_on_is_said_and_nothing_is_decided(lake):
    embedded(lake)
    with serving(answer) as server:
        made = judges(server.url, "sound", aggregation="stacking", measure=20)
        make(panel.gold_votes, lake, IT0, judges=made, **HASHING)
        make(stage1.judge_votes, lake, IT0, judges=made, **HASHING)
        with pytest.raises(dg.Failure, match=r"20 gold pairs with a vote .* needs 30"):
            make(stage1.verdicts, lake, IT0, judges=made)
    assert query(lake, "SELECT count(*) FROM verdicts") == [(0,)]


def test_stacking_without_votes_on_gold_is_refused_by_the_configuration():
    with pytest.raises(ValueError, match="measure must be above 0"):
        settings(judges={"panel": [{"name": "a"}, {"name": "b"}], "aggregation": "stacking", "measure": 0})


def test_report_cards_of_the_panel_stand_beside_people_s_agreement_with_each_other(lake):
    embedded(lake)
    labels = []
    for i in range(N - 4):
        right = "second" if i % 5 == 0 else "first"
        others = {"a": right, "b": right if i % 4 else "first" if right == "second" else "second"}
        labels += [
            {"event_id": f"{i}{who}", "pair_id": f"p{i:03d}", "annotator": who, "verdict": v}
            for who, v in others.items()
        ]
    put(lake, HUMAN_LABELS, labels, IT0)
    with serving(answer) as server:
        one = {"price": {"input": 1, "output": 10}}
        made = judges(server.url, "sound", "contrary", "first")
        made["panel"] = [j | one for j in made["panel"]]
        make(panel.gold_votes, lake, IT0, judges=made, budget={"dollars": 10}, **HASHING)
        for table in (GOLD, GOLD_VOTES, HUMAN_LABELS):
            put(lake, table, [], "iter_01")
        make(panel.judge_cards, lake, judges=made, stage1={"iterations": 1})
    rows = query(lake, "SELECT judge, figure, value, n, pairs FROM judge_cards WHERE stratum = 'all'")
    found = {(judge, figure): (value, n, pairs) for judge, figure, value, n, pairs in rows}
    assert found["sound", "agrees_with_people"] == (1.0, 72, 36)
    assert found["contrary", "agrees_with_people"] == (0.0, 72, 36)
    assert found["first", "agrees_with_people"] == (0.5, 72, 36) and found["first", "flips_with_order"] == (1.0, 36, 36)
    assert found["people", "agrees_with_people"] == (0.75, 36, 36)
    # a call is 1,000 tokens in and 100 out
    assert found["sound", "dollars_per_label"] == (0.002, 72, 36)
    assert 0 < found["sound", "seconds_per_call"][0] < 5
    # one against one, and one abstains
    assert found["panel: majority, both orders", "decides"] == (0.0, 36, 36)
    assert found["panel: majority, both orders", "credit"][0] == 0.5
    assert found["panel: stacking", "agrees_with_people"][0] == 1.0
    assert found["panel: stacking", "gain_over_majority"][0] == 0.5
    assert query(lake, "SELECT count(*) FROM judge_cards WHERE stratum = 'objective' AND judge = 'people'") == [(1,)]
