"""Steps of the pipeline whose reward models are heads on frozen layers: states, models, scores, selection."""

import json
from pathlib import Path

import dagster as dg
import numpy as np
import pytest

from assets import pilot_worth, reward_models, seed, stage1, stage2
from curation import tables as t
from resources.integrity import Examined, damages
from resources.lake import Lake
from resources.settings import Settings
from resources.trainer import TrainerFailed
from tests.support.lakes import make, put, query
from tests.support.tiny_backbones import tiny_backbone

IT0 = "iter_00"
WORDS = ["cat", "mat", "sat", "answer", "about", "yes", "on", "dog"]
N, GOLD, SILVER = 160, 70, 40


def rows() -> list[dict]:
    """Pairs of which the response with more cats is the better one; every third label is wrong; one is far too long."""
    rng = np.random.default_rng(0)
    made = []
    for i in range(N):
        good, bad = ([str(w) for w in rng.choice(WORDS[1:], 8)] for _ in range(2))
        good[:4] = ["cat"] * 4
        sides = [" ".join(good), " ".join(bad)]
        wrong = i % 3 == 0
        made.append({
            "pair_id": f"p{i:03d}", "comparison_id": f"q{i:03d}", "chosen": sides[wrong], "rejected": sides[not wrong], "cluster_id": f"c{i}",
            "conversation": [{"role": "user", "content": f"question {i}"}], "right": not wrong,
        })  # fmt: skip
    made[-1]["chosen"] = "cat " * 300
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tiny_backbone("bert", tmp_path_factory.mktemp("backbone") / "tiny", [" ".join(WORDS), "question 1"])


def training(folder: Path, **more) -> dict:
    return {"head": "frozen", "max_tokens": 64, "backbone": {"name": "tiny", "path": str(folder)}, **more}


def planted(root: Path) -> Lake:
    lake = Lake(str(root))
    all_of = rows()
    put(lake, t.CLEAN_POOL, all_of, "b00")
    put(lake, t.EMBEDDINGS, [{"pair_id": r["pair_id"], "vector": [1.0]} for r in all_of], "b00")
    order = {True: "original", False: "swapped"}
    roles = ["train", "train", "few_shot", "validation", "test"]
    gold = [
        {
            "pair_id": r["pair_id"],
            "cluster_id": r["cluster_id"],
            "verified_order": order[r["right"]],
            "role": roles[i % 5],
        }
        for i, r in enumerate(all_of[:GOLD])
    ]
    silver = [{"pair_id": r["pair_id"], "verified_order": order[r["right"]]} for r in all_of[GOLD : GOLD + SILVER]]
    put(lake, t.GOLD, gold, IT0)
    put(lake, t.SILVER, silver, IT0)
    asked = [(r, "people" if i < GOLD else "judges") for i, r in enumerate(all_of[: GOLD + SILVER])]
    put(lake, t.ANNOTATION_BATCH, [{"pair_id": r["pair_id"], "assigned_to": desk} for r, desk in asked], IT0)
    return lake


STEPS = (
    (seed.states, "b00"), (stage1.reward_model, IT0), (stage1.gold_predictions, IT0), (stage1.selection, IT0),
    (stage2.best_reward_model, None), (stage2.gold_reward_model, None), (stage2.scores, "b00"),
    (reward_models.final_reward_model, "original"),
)  # fmt: skip


def run_all(root: Path, folder: Path) -> Lake:
    lake = planted(root)
    sections = {"training": training(folder), "stage1": {"iterations": 1, "batch": 12, "policy": "d_optimal"}}
    for step, key in STEPS:
        make(step, lake, key, **sections)
    return lake


@pytest.fixture(scope="module")
def lake(folder, tmp_path_factory) -> Lake:
    return run_all(tmp_path_factory.mktemp("lake"), folder)


def test_states_are_read_once_a_text_and_what_is_too_long_has_none(lake):
    [(n, long)] = query(lake, "SELECT count(*), count(*) FILTER (state IS NULL) FROM states")
    assert (n, long) == (len({r[s] for r in rows() for s in ("chosen", "rejected")}), 1)


def test_a_planted_signal_is_found_by_every_model(lake):
    [(accuracy, n)] = query(lake, "SELECT validation_accuracy, pairs FROM gold_reward_model")
    assert accuracy > 0.85 and n == GOLD * 4 // 5  # train, few_shot and validation: there is no checkpoint to choose
    truth = {r["pair_id"]: r["right"] for r in rows()}
    scored = query(lake, "SELECT pair_id, p_best, p_gold, unscored_gold, spread_gold FROM scores ORDER BY pair_id")
    assert len(scored) == N - GOLD - SILVER
    *short, (_, best, gold, why, _) = scored
    assert (best, gold, why) == (None, None, "over_length")
    for column in (1, 2):
        assert np.mean([(row[column] > 0.5) == truth[row[0]] for row in short]) > 0.85
    assert all(0 < row[4] < 5 for row in short)


def test_the_loop_selects_by_what_the_head_sees(lake):
    chosen = query(lake, "SELECT why, p FROM selection")
    assert {why for why, _ in chosen} == {"random", "d_optimal"} and len(chosen) == 12


def test_a_model_folder_gives_the_lake_s_rewards_in_plain_transformers(lake):
    """A final model's whole reward is in the network; a gold model's style features are added by the scorer."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from resources.frozen_heads import score as from_states
    from training.model import load_model
    from training.score import score

    paths = query(lake, "SELECT path FROM final_reward_model UNION ALL SELECT path FROM gold_reward_model")
    final, gold = (lake.model(path) for (path,) in paths)
    with lake.connect() as con:
        table = from_states(final, con.sql("SELECT * FROM clean_pool LIMIT 20"))
        own = from_states(gold, con.sql("SELECT * FROM clean_pool LIMIT 20"))
    by_id = {r["pair_id"]: r for r in rows()}
    model, tokenizer = AutoModelForSequenceClassification.from_pretrained(final), AutoTokenizer.from_pretrained(final)
    for row in table.to_pylist():
        pair = by_id[row["pair_id"]]
        turns = [*pair["conversation"], {"role": "assistant", "content": pair["chosen"]}]
        with torch.inference_mode():
            text = tokenizer.apply_chat_template(turns, tokenize=False)
            assert float(model(**tokenizer(text, return_tensors="pt")).logits[0, 0]) == pytest.approx(
                row["r_chosen"], abs=2e-6
            )
    pairs = [by_id[p] for p in own["pair_id"].to_pylist()]
    conversations, responses = [p["conversation"] for p in pairs], [p["rejected"] for p in pairs]
    found, _ = score(load_model(gold), conversations, responses, max_tokens=64, budget=512)
    np.testing.assert_allclose(found, own["r_rejected"].to_numpy(), atol=2e-6)


def test_worth_reads_no_text_that_the_lake_holds_states_of(lake, folder, monkeypatch):
    monkeypatch.setattr("resources.pilot.reader_of", None)
    make(pilot_worth.worth, lake, IT0, training=training(folder))
    figures = dict(query(lake, "SELECT item, value FROM worth WHERE figure = 'accuracy'"))
    assert figures["gold model"] > 0.85 and abs(figures["original labels"] - 2 / 3) < 0.1


def test_a_model_is_sealed_when_it_is_made_and_nothing_is_scored_by_a_damaged_one(lake, folder):
    [(path,)] = query(lake, "SELECT path FROM gold_reward_model")
    assert not list(damages(lake, Examined())), "nothing is damaged"
    weights = lake.model(path) / "frozen.json"
    was = weights.read_bytes()
    weights.write_bytes(was[:-9] + bytes([was[-9] ^ 1]) + was[-8:])
    try:
        [damage] = damages(lake, Examined())
        assert damage.path == lake.model(path).parent and damage.why == "model/frozen.json is not what was written"
        assert (t.GOLD_REWARD_MODEL, None) in damage.partitions
        with pytest.raises(
            TrainerFailed, match=r"is damaged: model/frozen.json is not what was written; `assay verify`"
        ):
            make(stage2.scores, lake, "b00", training=training(folder))
    finally:
        weights.write_bytes(was)
    assert not list(damages(lake, Examined()))


def test_equal_runs_give_equal_models_and_scores(lake, folder, tmp_path):
    again = run_all(tmp_path, folder)
    for query_text in (
        "SELECT * EXCLUDE (path, seconds) FROM reward_model",
        "SELECT * EXCLUDE (path, seconds) FROM final_reward_model",
        "FROM scores ORDER BY pair_id",
        "FROM selection ORDER BY pair_id",
    ):
        assert query(lake, query_text) == query(again, query_text)


def test_where_no_model_is_frozen_nothing_is_read(tmp_path):
    lake = planted(tmp_path)
    make(seed.states, lake, "b00")
    assert query(lake, "SELECT count(*) FROM states") == [(0,)]


def notes_of(folder) -> list[str]:
    return json.loads((folder.parent / "result.json").read_text())["notes"]


def test_a_backbone_that_tells_no_text_from_another_leaves_style_and_is_named(folder, tmp_path):
    import torch
    from transformers import BertModel

    model = BertModel.from_pretrained(folder)
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    tiny_backbone("bert", tmp_path / "dead", [" ".join(WORDS)])
    model.save_pretrained(tmp_path / "dead")
    lake = planted(tmp_path / "lake")
    sections = {"training": training(tmp_path / "dead")}
    make(seed.states, lake, "b00", **sections)
    make(stage2.gold_reward_model, lake, **sections)
    [(path,)] = query(lake, "SELECT path FROM gold_reward_model")
    assert any("tells no text from another" in note for note in notes_of(lake.model(path)))
    with pytest.raises(TrainerFailed, match="tells no text from another"):
        make(reward_models.final_reward_model, lake, "original", **sections)


def test_few_pairs_and_pairs_both_ways_are_noted(folder, tmp_path):
    lake = Lake(str(tmp_path))
    some = [r | {"cluster_id": r["pair_id"]} for r in rows()[:20]]
    turned = [r | {"pair_id": "x" + r["pair_id"], "chosen": r["rejected"], "rejected": r["chosen"]} for r in some[:4]]
    put(lake, t.CLEAN_POOL, some + turned, "b00")
    put(lake, t.GOLD, [{"pair_id": r["pair_id"], "verified_order": "original", "role": "train" if i % 4 else "validation"} for i, r in enumerate(some + turned)], IT0)  # fmt: skip
    sections = {"training": training(folder)}
    make(seed.states, lake, "b00", **sections)
    make(stage2.gold_reward_model, lake, **sections)
    [(path,)] = query(lake, "SELECT path FROM gold_reward_model")
    few, contrary = notes_of(lake.model(path))
    assert few.startswith("24 pairs are few") and contrary.startswith("8 of 24 pairs also stand there the other way")


def test_a_head_needs_a_pretrained_model(tmp_path):
    lake = planted(tmp_path)
    with pytest.raises(dg.Failure, match="needs a pretrained model"):
        make(seed.states, lake, "b00", training={"head": "frozen"})


def real(**sections) -> Settings:
    return Settings.model_validate({"sources": [{"name": "s", "path": "s.jsonl"}], **sections})


@pytest.mark.parametrize(
    ("sections", "gpu", "heads", "said"),
    [
        ({}, False, "fff", "since there is no GPU"),
        ({}, True, "fft", "about 380 gold pairs are fewer than 1,000"),
        ({"stage1": {"seed_people": 2000}}, True, "ttt", "since there is a GPU"),
        ({"training": {"loop": {"epochs": 2}}}, False, "tff", "[training.loop] names epochs"),
        ({"training": {"final": {"max_pairs": 9}}}, False, "fff", "no GPU"),
        ({"training": {"head": "fine-tuned", "gold": {"head": "frozen"}}}, False, "tft", None),
        ({"training": {"backbone": {"hidden": 32}}}, False, "ttt", None),
        ({"world": {}}, False, "ttt", None),
    ],
)
def test_which_head_a_model_has_is_chosen_from_what_is_there_and_said(sections, gpu, heads, said, monkeypatch):
    monkeypatch.setattr("resources.settings.left_out.has_gpu", lambda: gpu)
    made = real(**sections)
    kinds = {"f": "frozen", "t": "fine-tuned"}
    assert [made.training.head_of(k) for k in ("loop", "gold", "final")] == [kinds[h] for h in heads]
    assert any(said in line for line in made.said) if said else not any("training.head" in line for line in made.said)
