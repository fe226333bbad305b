"""Experiments from the configuration to their contrasts, with real heads on a tiny backbone: what curation gains is planted."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets import benchmark_results, seed
from assets import experiments as steps
from cli.dagster_runs import JobFailed, run_all
from cli.suite import show
from curation import tables as t
from report.experiments_section import stories
from resources import frozen_heads
from resources.lake import Lake
from resources.run import Run
from tests.support.lakes import fill, make, put, query, settings
from tests.support.tiny_backbones import tiny_backbone

WORDS = ["cat", "mat", "sat", "answer", "about", "yes", "on", "dog"]
N, ITEMS = 240, 120
ARMS = [
    {"name": "filtered", "data": "filtered"},
    {"name": "same-again", "data": "filtered@stage2"},
    {"name": "random", "as_many_as": "filtered"},
]


def sides(rng: np.random.Generator) -> tuple[str, str]:
    """Two responses of which the first, with more cats, is the better one."""
    good, bad = ([str(w) for w in rng.choice(WORDS[1:], 8)] for _ in range(2))
    good[:2] = ["cat"] * 2
    return " ".join(good), " ".join(bad)


def world(root: Path) -> Lake:
    """Two of three labels of the pool are wrong; the curated release has the others."""
    lake, rng, rows = Lake(str(root)), np.random.default_rng(0), []
    for i in range(N):
        both, wrong = sides(rng), i % 3 > 0
        rows.append({"pair_id": f"p{i:03d}", "comparison_id": f"q{i:03d}", "conv_id": f"v{i}", "cluster_id": f"c{i}",
                     "conversation": [{"role": "user", "content": f"question {i}"}],
                     "chosen": both[wrong], "rejected": both[not wrong], "right": not wrong})  # fmt: skip
    put(lake, t.CLEAN_POOL, rows, "b00")
    about = {"flipped": False, "label_source": "people", "rule": "r", "weight": 1.0, "license": "x"}
    put(lake, t.RELEASE_CURATED, [r | about for r in rows if r["right"]], "b00")
    items = {n: [] for n in ("item_id", "subset", "prompt", "chosen", "rejected")}
    for i in range(ITEMS):
        chosen, rejected = sides(rng)
        long = " ".join(["yes cat"] * 60) if i == ITEMS - 1 else ""  # more than a model reads
        for name, value in zip(items, (f"i{i:03d}", "cats", f"item {i}?", chosen + long, rejected), strict=True):
            items[name].append(value)
    pq.write_table(pa.table(items), lake.folder("world") / "planted_benchmark.parquet")
    return lake


@pytest.fixture(scope="module")
def backbone(tmp_path_factory) -> Path:
    return tiny_backbone("bert", tmp_path_factory.mktemp("backbone") / "tiny", [" ".join(WORDS), "question 1"])


def configured(backbone: Path, compare: list[str], **more) -> dict:
    return {
        "training": {"head": "frozen", "max_tokens": 64, "backbone": {"name": "tiny", "path": str(backbone)}},
        "benchmarks": [{"name": "planted"}],
        "stage1": {"iterations": 1},
        "experiments": [{"name": "e", "arms": ARMS, "compare": compare} | more],
    }


def suite(lake: Lake, sections: dict) -> None:
    """Every step of the experiment `e`, by hand."""
    arms = [a["name"] for a in sections["experiments"][0]["arms"]]
    for step in (steps.experiment_sets, steps.experiment_models, steps.experiment_results):
        for arm in arms:
            make(step, lake, f"e.{arm}", **sections)
    make(steps.experiment_contrasts, lake, "e", **sections)


@pytest.fixture(scope="module")
def fitted() -> list[str]:
    """The models that were fitted, in order."""
    return []


@pytest.fixture(scope="module")
def watched(fitted):
    """The fit of heads, which notes each."""
    with pytest.MonkeyPatch.context() as patch:
        real = frozen_heads.fit

        def noting(*given):
            fitted.append(given[5].name)
            return real(*given)

        patch.setattr(frozen_heads, "fit", noting)
        yield


@pytest.fixture(scope="module")
def lake(tmp_path_factory, backbone, watched) -> Lake:
    lake = world(tmp_path_factory.mktemp("lake"))
    sections = configured(backbone, ["filtered - random", "same-again - filtered"])
    for step, key in ((seed.states, "b00"), (benchmark_results.benchmark_baselines, None)):
        make(step, lake, key, **sections)
    suite(lake, sections)
    return lake


def test_a_planted_gain_is_found_and_an_equal_set_is_not_told_apart(lake):
    rows = query(lake, "SELECT contrast, value, low, high, replicates, verdict FROM experiment_contrasts ORDER BY 1")
    (better, gain, low, _, replicates, verdict), (same, none, *_, nothing) = rows
    assert (better, replicates, verdict) == ("filtered - random", 3, "better") and gain > low > 0.02
    assert (same, none, nothing) == ("same-again - filtered", 0.0, "not told apart")


def test_equal_data_and_recipe_are_trained_once(lake, fitted):
    models = query(lake, "SELECT arm, replicate, model_id FROM experiment_models ORDER BY 1, 2")
    assert len(models) == 9 and len(fitted) == len(set(fitted)) == 6
    by_arm = {arm: [m for a, _, m in models if a == arm] for arm in ("filtered", "same-again", "random")}
    assert by_arm["filtered"] == by_arm["same-again"] and not set(by_arm["random"]) & set(by_arm["filtered"])


def test_a_second_run_and_another_question_train_nothing(lake, fitted, backbone):
    before = list(fitted)
    suite(lake, configured(backbone, ["random - filtered"]))
    assert fitted == before
    suite(lake, configured(backbone, ["random - filtered"], seeds=4))
    assert len(fitted) == len(before) + 2  # one more training of each different set


def test_each_training_draws_the_pairs_anew_and_all_arms_alike(lake):
    draws = query(lake, "SELECT arm, replicate, pairs FROM experiment_models WHERE arm = 'filtered' ORDER BY 2")
    whole = query(lake, "SELECT pairs FROM experiment_sets WHERE arm = 'filtered'")[0][0]
    assert all(0.5 * whole < n < 0.76 * whole for _, _, n in draws)  # 63 % of the pairs come up in a bootstrap
    assert len({n for *_, n in draws}) > 1


@pytest.mark.slow
def test_scores_of_a_head_are_those_of_its_network(lake, backbone):
    """Rewards from kept states against rewards of the exported model's own network."""
    from resources.benchmarks.loader import load
    from resources.benchmarks.measures import by_network

    run = Run(settings(**configured(backbone, ["filtered - random"])), lake)
    [(path,)] = query(lake, "SELECT path FROM experiment_models WHERE arm = 'random' AND replicate = 1")
    [benchmark] = run.settings.benchmarks
    table = by_network(run, path, [load(benchmark, lake, run.settings.seed)])
    network = {(r["item_id"], r["candidate"]): r["reward"] for r in table.to_pylist()}
    query_ = (
        "SELECT item_id, candidate, reward FROM experiment_scores WHERE training_set = 'e.random' AND replicate = 1"
    )
    kept = {(item, candidate): reward for item, candidate, reward in query(lake, query_)}
    cut = query(lake, "SELECT DISTINCT item_id, candidate FROM experiment_scores WHERE truncated AND unscored IS NULL")
    assert cut == [(f"i{ITEMS - 1:03d}", 0)]
    assert kept.keys() == network.keys()
    assert max(abs(kept[k] - network[k]) for k in kept) < 1e-4


@pytest.mark.slow
def test_arms_may_have_recipes_and_backbones_of_their_own_where_that_is_asked_for(lake, backbone, tmp_path, capsys):
    """The same pairs: a head on frozen layers, the whole encoder trained, and another backbone (spec 6.05, 7.17)."""
    recipe = {"head": "fine-tuned", "epochs": 3, "learning_rate": 3e-3, "global_batch_size": 8}
    arms = [
        {"name": "head", "data": "filtered"},
        {"name": "whole", "data": "filtered", "recipe": recipe},
        {"name": "llama", "data": "filtered", "recipe": recipe, "backbone": {"name": "new", "hidden": 16, "layers": 1, "heads": 2}},
    ]  # fmt: skip
    sections = configured(backbone, ["whole - head"], arms=arms, seeds=1, different_recipes=True)
    copied = tmp_path / "lake"
    shutil.copytree(lake.root, copied)
    mine = Lake(str(copied))
    suite(mine, sections)
    rows = query(
        mine, "SELECT arm, recipe_hash, steps FROM experiment_models WHERE arm IN ('head', 'whole', 'llama') ORDER BY 1"
    )
    assert [(arm, steps) for arm, _, steps in rows] == [("head", 0), ("llama", 30), ("whole", 30)]
    assert len({recipe for _, recipe, _ in rows}) == 3
    assert show(settings(**sections), mine, [], tmp_path / "out") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "tokens" in said and "too few seeds" in said and "the recipes differ" not in said


def test_sets_that_must_be_alike_first_are_balanced_and_nothing_else_by_strata(lake, backbone, tmp_path):
    """The sets as they came are compared with each other, whatever else is asked (spec 8.06)."""
    mine = Lake(str(shutil.copytree(lake.root, tmp_path / "lake")))
    sections = configured(backbone, ["same-again - filtered"], alike_first=["filtered", "random"])
    make(steps.experiment_contrasts, mine, "e", **sections)
    rows = query(mine, "SELECT contrast, statistic FROM experiment_balance")
    assert {c for c, _ in rows} == {"same-again - filtered", "random - filtered"}
    assert {"size", "length"} <= {s for c, s in rows if c == "random - filtered"}


@pytest.mark.parametrize("preset", ["pipeline", "efficiency", "sources"])
def test_an_arm_with_a_backbone_of_its_own_leaves_a_preset_its_published_numbers(lake, backbone, preset):
    arm = {"name": "other", "data": "filtered", "backbone": {"name": "new", "hidden": 16, "layers": 1, "heads": 2}}
    more = {"preset": preset, "arms": [arm], "different_recipes": True}
    with lake.connect() as con:
        [with_it] = stories(con, settings(**configured(backbone, [], **more)))
        [without] = stories(con, settings(**configured(backbone, [], **more | {"arms": []})))
    assert with_it.published == without.published and without.published


def test_what_was_found_is_told_and_drawn(lake, backbone, tmp_path, capsys):
    made = settings(**configured(backbone, ["random - filtered"], seeds=4))
    assert show(made, lake, [], tmp_path / "out") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "random - filtered" in said and "worse" in said and "cannot be seen" in said
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"e.png", "arms.csv", "contrasts.csv", "balance.csv"}
    assert (tmp_path / "out" / "e.png").read_bytes().startswith(b"\x89PNG")
    with lake.connect() as con:
        [story] = stories(con, made)
    assert [(a.name, a.pairs) for a in story.arms] == [("filtered", 80), ("same-again", 80), ("random", 80)]
    assert show(made, lake, ["nobody"]) == 2


def test_before_it_is_run_an_experiment_says_what_it_can_show(lake, backbone, tmp_path, capsys):
    empty = Lake(str(tmp_path / "lake"))
    made = settings(**configured(backbone, ["filtered - random"], seeds=2))
    (empty.folder("world") / "planted_benchmark.parquet").write_bytes(
        (lake.folder("world") / "planted_benchmark.parquet").read_bytes()
    )
    assert show(made, empty, []) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "with 2 trainings and 120 items of planted a difference under" in said and "it takes 3" in said


def test_a_killed_suite_goes_on_where_it_was(tmp_path, backbone, watched, fitted, monkeypatch):
    """Through Dagster: everything is interrupted in the middle of the first arm; what was trained by then is not trained again."""
    lake = world(tmp_path / "lake")
    sections = configured(backbone, ["filtered - random"], seeds=2, arms=[ARMS[0], ARMS[2]]) | {
        "lake": {"path": str(tmp_path / "lake"), "buckets": 1}
    }
    whole = settings(**sections)
    make(seed.states, lake, "b00", **sections)
    for step in (steps.unguided_votes, *(s for s in (steps.experiment_sets, steps.experiment_results, steps.studies))):
        for key in whole.partition_keys(step.partition) if step.partition else [None]:
            fill(step, Run(whole, lake, key))
    for table, key in [(x, k) for x in t.TABLES.values() if x.name.startswith("experiment_")
                       for k in whole.partition_keys(x.partition or "")]:  # fmt: skip
        lake.path(table, key).unlink(missing_ok=True)
    real, calls = frozen_heads.fit, []

    def dying(*given):
        calls.append(1)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return real(*given)

    before = len(fitted)
    monkeypatch.setattr(frozen_heads, "fit", dying)
    with pytest.raises((JobFailed, KeyboardInterrupt)):
        run_all(whole, lambda _: None, ["experiments"])
    assert len(fitted) == before + 1
    monkeypatch.setattr(frozen_heads, "fit", real)
    run_all(whole, lambda _: None, ["experiments"])
    assert len(fitted) == before + 4
    ran, kept = run_all(whole, lambda _: None, ["experiments"])
    assert ran == 0 and kept >= 10 and len(fitted) == before + 4
    assert query(lake, "SELECT verdict FROM experiment_contrasts") == [("too few seeds",)]
