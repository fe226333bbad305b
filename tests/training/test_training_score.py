"""The scoring program and the trainer: parts, several models, both forms, reuse, errors, Dagster."""

import json
import math
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from curation.tables import MODEL_FIELDS
from resources import trainer
from resources.lake import Lake
from resources.settings import Backbone, Recipe, Training
from tests.support.training_jobs import job, pairs, table
from training import score as program
from training.job import ScoreJob
from training.model import load_model
from training.train import train


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two exported models with different tokenizers."""
    folders = {}
    for seed, name in enumerate(("best", "gold")):
        folder = tmp_path_factory.mktemp(name)
        train(job(folder, table(pairs(48, seed)), seed=seed))
        folders[name] = str(folder / "out" / "model")
    return folders


@pytest.fixture
def items(tmp_path):
    rows = pairs(25, seed=5)
    rows[3]["rejected"] = "word1 " * 300
    pq.write_table(table(rows), tmp_path / "items.parquet")
    return {"items": tmp_path / "items.parquet", "out": tmp_path / "scores", "tokens_per_microbatch": 512}


def read(folder: Path) -> list[dict]:
    return [row for path in sorted(folder.glob("part-*.parquet")) for row in pq.read_table(path).to_pylist()]


def test_every_pair_gets_both_rewards_of_every_model_in_order(models, items):
    program.run(ScoreJob(**{**items, "models": models, "part_rows": 10}))
    best, gold = (read(items["out"] / name) for name in models)
    assert [r["pair_id"] for r in best] == [r["pair_id"] for r in gold] == [f"pair5-{i:04d}" for i in range(25)]
    refused = {"r_chosen": None, "r_rejected": None, "unscored": "over_length", "truncated": False}
    assert best[3] == {"pair_id": "pair5-0003", **refused}
    scored = [r for r in best if r["unscored"] is None]
    assert len(scored) == 24
    assert all(math.isfinite(r["r_chosen"]) and math.isfinite(r["r_rejected"]) for r in scored)
    assert scored[0]["r_chosen"] != gold[0]["r_chosen"]


def test_features_are_what_the_head_makes_the_rewards_of(models, items, tmp_path):
    """w (f_chosen - f_rejected) = r_chosen - r_rejected, pair by pair; the over-long pair has none."""
    weight = load_model(Path(models["best"])).head().weight.detach().numpy()[0]
    program.run(ScoreJob(**{**items, "models": models, "part_rows": 10}))
    plain = read(items["out"] / "best")
    program.run(ScoreJob(**{**items, "models": models, "out": tmp_path / "features", "features": True}))
    for a, b in zip(plain, read(tmp_path / "features" / "best"), strict=True):
        assert (a["pair_id"], a["unscored"]) == (b["pair_id"], b["unscored"])
        if a["unscored"] is None:
            assert b["r_chosen"] == pytest.approx(a["r_chosen"], abs=1e-4)
            assert weight @ np.array(b["difference"]) == pytest.approx(a["r_chosen"] - a["r_rejected"], abs=1e-4)


def test_what_the_template_refuses_has_no_reward_and_stops_nothing_else(models, items, tmp_path):
    rows = pairs(6, seed=5)
    request = {**items, "models": {"best": models["best"]}, "items": str(tmp_path / "few.parquet")}
    pq.write_table(table(rows), request["items"])
    folder = shutil.copytree(models["best"], tmp_path / "strict")
    template = (folder / "chat_template.jinja").read_text()
    no = "{% if messages[0]['role'] == 'assistant' %}{{ raise_exception('no') }}{% endif %}"
    (folder / "chat_template.jinja").write_text(no + template)
    program.run(ScoreJob(**request))
    whole = read(items["out"] / "best")
    rows[2]["conversation"] = [{"role": "assistant", "content": "hello"}]
    pq.write_table(table(rows), request["items"])
    program.run(ScoreJob(**{**request, "models": {"best": str(folder)}, "out": str(tmp_path / "other")}))
    found = read(tmp_path / "other" / "best")
    assert (found[2]["r_chosen"], found[2]["unscored"]) == (None, "refused_by_template")
    same = [i for i in range(6) if i != 2]
    assert [found[i]["r_chosen"] for i in same] == pytest.approx([whole[i]["r_chosen"] for i in same], abs=1e-6)


def test_what_is_cut_is_its_first_token_and_its_end(models, tmp_path):
    turns = [{"role": "user", "content": "word1 word2"}]
    rows = [
        {"item_id": "long", "conversation": turns, "response": " ".join(f"word{i % 60}" for i in range(200))},
        {"item_id": "short", "conversation": turns, "response": "word3"},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "items.parquet")
    request = {"items": str(tmp_path / "items.parquet"), "out": str(tmp_path / "out"), "tokens_per_microbatch": 512}
    program.run(ScoreJob(**{**request, "models": {"best": models["best"]}, "max_tokens": 40, "cut": True}))
    long, short = read(tmp_path / "out" / "best")
    assert (long["truncated"], short["truncated"], long["unscored"]) == (True, False, None)

    model = load_model(Path(models["best"]))
    whole = model.tokenizer.apply_chat_template(
        [*turns, {"role": "assistant", "content": rows[0]["response"]}], tokenize=False
    )
    ids = model.tokenizer(whole)["input_ids"]
    plain = AutoModelForSequenceClassification.from_pretrained(models["best"]).eval()
    with torch.no_grad():
        expected = plain(torch.tensor([[ids[0], *ids[-39:]]])).logits.item()
    assert long["reward"] == pytest.approx(expected, abs=1e-5)


def test_parts_of_a_broken_pass_are_kept_and_nothing_is_computed_twice(models, items, monkeypatch):
    request = {**items, "models": models, "part_rows": 10}
    real, calls = program.score_table, []

    def counts(model, table, *limits, **options):
        calls.append(table["pair_id"][0].as_py())
        return real(model, table, *limits, **options)

    def breaks(*args, **options):
        if len(calls) == 2:
            raise KeyboardInterrupt
        return counts(*args, **options)

    monkeypatch.setattr(program, "score_table", breaks)
    with pytest.raises(KeyboardInterrupt):
        program.run(ScoreJob(**request))
    monkeypatch.setattr(program, "score_table", counts)
    program.run(ScoreJob(**request))
    program.run(ScoreJob(**request))
    assert calls == ["pair5-0000", "pair5-0010", "pair5-0020"] * 2
    assert len(read(items["out"] / "best")) == len(read(items["out"] / "gold")) == 25


def test_part_size_and_shared_prompts_change_no_reward(models, items, tmp_path):
    one = {"models": {"best": models["best"]}}
    program.run(ScoreJob(**{**items, **one}))
    program.run(ScoreJob(**{**items, **one, "out": str(tmp_path / "small"), "part_rows": 3}))
    whole, small = read(items["out"] / "best"), read(tmp_path / "small" / "best")
    for a, b in zip(whole, small, strict=True):
        assert a["r_chosen"] == pytest.approx(b["r_chosen"], abs=1e-5)


def test_many_responses_to_one_prompt_score_as_they_do_alone(models, items, tmp_path):
    rows = pairs(6, seed=5)
    sql = (
        "SELECT pair_id || c AS item_id, conversation, CASE c WHEN 'a' THEN chosen ELSE rejected END AS response"
        " FROM (SELECT * REPLACE ((SELECT first(conversation) FROM t) AS conversation) FROM t),"
        " (VALUES ('a'), ('b')) v(c)"
    )
    with duckdb.connect() as con:
        con.register("t", table(rows))
        con.sql(sql).order("item_id").write_parquet(str(tmp_path / "many.parquet"))
    request = {**items, "models": {"best": models["best"]}, "items": str(tmp_path / "many.parquet")}
    program.run(ScoreJob(**request))
    together = read(items["out"] / "best")
    program.run(ScoreJob(**{**request, "out": str(tmp_path / "alone"), "part_rows": 1}))
    alone = read(tmp_path / "alone" / "best")
    assert [r["item_id"] for r in together] == [r["item_id"] for r in alone]
    assert [r["reward"] for r in together] == pytest.approx([r["reward"] for r in alone], abs=1e-5)


def test_wrong_columns_are_named(models, items, tmp_path):
    pq.write_table(table(pairs(3)).drop(["rejected"]), tmp_path / "bad.parquet")
    with pytest.raises(ValueError, match=r"bad.parquet: columns \['rejected'\] are missing"):
        program.run(ScoreJob(**{**items, "models": models, "items": str(tmp_path / "bad.parquet")}))


# ---- the trainer that assets call ----------------------------------------------------------------------------------
def a_run(tmp_path, context=None):
    said = []
    training = Training(
        backbone=Backbone(hidden=32, layers=1, heads=2, vocabulary=300), max_tokens=256, tokens_per_microbatch=1024
    )
    settings = SimpleNamespace(training=training, seed=0)
    return SimpleNamespace(
        settings=settings, lake=Lake(str(tmp_path / "lake")), context=context, log=said.append, said=said
    )


RECIPE = Recipe(global_batch_size=16, learning_rate=5e-3, evaluations=1)


def test_trainer_trains_once_scores_and_cleans_up(tmp_path):
    run = a_run(tmp_path)
    with duckdb.connect() as con:
        con.register("silver", table(pairs(48), weight=[1.0] * 48))
        con.register("gold", table(pairs(10, seed=1)))
        given = {"validation": con.sql("FROM gold"), "recipe": RECIPE}
        row = trainer.train(run, kind="loop", pairs=con.sql("FROM silver"), **given)
        assert list(row) == [f.name for f in MODEL_FIELDS]
        assert (row["kind"], row["pairs"], row["validation_pairs"]) == ("loop", 48, 10)
        again = trainer.train(run, kind="loop", pairs=con.sql("FROM silver ORDER BY random()"), **given)
        assert again == row
        assert "trained before" in run.said[0]
        scores = trainer.score(run, {"a": row["path"], "b": row["path"]}, con.sql("FROM gold ORDER BY pair_id DESC"))
        assert scores.column_names == [
            "pair_id",
            "r_chosen_a",
            "r_rejected_a",
            "unscored_a",
            "spread_a",
            "r_chosen_b",
            "r_rejected_b",
            "unscored_b",
            "spread_b",
        ]
        assert scores["pair_id"].to_pylist() == sorted(p["pair_id"] for p in pairs(10, seed=1))
        assert scores["r_chosen_a"].equals(scores["r_chosen_b"])
        hits = sum(
            c > r for c, r in zip(*(scores[f"r_{x}_a"].to_pylist() for x in ("chosen", "rejected")), strict=True)
        )
        assert hits / 10 == row["validation_accuracy"]
        nothing = trainer.score(run, {"a": row["path"]}, con.sql("FROM gold WHERE false"))
        assert nothing.num_rows == 0
    left = {p.name for p in run.lake.model(row["path"]).parent.iterdir()}
    assert left == {"job.json", "metrics.jsonl", "model", "result.json", "tensorboard"}
    assert not any(run.lake.folder("scores").iterdir())


def test_those_who_want_the_same_scores_at_once_wait_for_each_other(tmp_path, monkeypatch):
    at_work = []

    def slow(run, module, folder, job):
        at_work.append(module)
        assert len(at_work) == 1
        time.sleep(0.2)
        ids, zeros = pq.read_table(job.items)["pair_id"], pa.array([0.0] * 6)
        (folder / "m").mkdir()
        pq.write_table(
            pa.table({"pair_id": ids, "r_chosen": zeros, "r_rejected": zeros}), folder / "m" / "part-00000.parquet"
        )
        at_work.pop()

    def one(run):
        with duckdb.connect() as con:
            con.register("t", table(pairs(6)))
            return trainer.score(run, {"m": str(tmp_path / "m" / "model")}, con.sql("FROM t"))

    (tmp_path / "m" / "model").mkdir(parents=True)
    monkeypatch.setattr(trainer, "_start", slow)
    runs = [a_run(tmp_path) for _ in range(4)]
    with ThreadPoolExecutor(4) as several:
        found = list(several.map(one, runs))
    assert all(f["r_chosen_m"].to_pylist() == [0.0] * 6 for f in found)
    assert any("waiting for another process that makes the scores" in line for run in runs for line in run.said)
    assert not any(a_run(tmp_path).lake.folder("scores").iterdir())


def test_trainer_passes_on_why_a_program_failed(tmp_path):
    with duckdb.connect() as con:
        con.register("t", table([{**p, "rejected": p["chosen"]} for p in pairs(4)]))
        with pytest.raises(trainer.TrainerFailed, match="no usable training pair is left"):
            trainer.train(a_run(tmp_path), kind="gold", pairs=con.sql("FROM t"), validation=None, recipe=RECIPE)


def test_model_ids_depend_on_content_and_not_on_order():
    with duckdb.connect() as con:
        con.register("t", table(pairs(9), weight=[1.0] * 9))
        columns = ("chosen", "rejected", "weight")
        first = trainer._fingerprint(con.sql("FROM t"), columns)
        assert trainer._fingerprint(con.sql("FROM t ORDER BY pair_id DESC"), columns) == first
        for change in (
            "SELECT * REPLACE (rejected AS chosen, chosen AS rejected) FROM t",
            "SELECT * REPLACE (weight + (pair_id LIKE '%4')::INT AS weight) FROM t",
            "FROM t LIMIT 8",
        ):
            assert trainer._fingerprint(con.sql(change), columns) != first


def test_max_pairs_draws_by_hash():
    with duckdb.connect() as con:
        con.register("t", table(pairs(50)))
        draws = [
            [r[0] for r in trainer._sample(con.sql(f"FROM t {order}"), 20, seed).order("pair_id").fetchall()]
            for order, seed in (("", 1), ("ORDER BY random()", 1), ("", 2))
        ]
    assert draws[0] == draws[1] != draws[2]
    assert len(draws[0]) == 20


def test_progress_reaches_dagster(tmp_path):
    @dg.asset
    def a_model(context: dg.AssetExecutionContext):
        with duckdb.connect() as con:
            con.register("t", table(pairs(32)))
            run = a_run(tmp_path, context)
            trainer.train(run, kind="final", pairs=con.sql("FROM t"), validation=None, recipe=RECIPE)
        return dg.MaterializeResult()

    with dg.instance_for_test() as instance:
        result = dg.materialize([a_model], instance=instance)
        said = [e.user_message for e in instance.all_logs(result.run_id)]
    assert any("32 pairs (0 left out), 2 steps" in line for line in said)
    assert any("step 1/2 loss" in line for line in said)
    assert not json.loads((next(Path(tmp_path / "lake/files/models").iterdir()) / "result.json").read_text())["dropped"]
