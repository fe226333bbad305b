"""The published files at hand: their counts, and results that their authors' own scores must give."""

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from assets.benchmark_results import results
from evaluation.evaluate import evaluate
from evaluation.items import attach
from evaluation.judged import rewards
from resources.benchmarks.loader import load, prompts
from resources.benchmarks.rewards import longer_answer
from resources.lake import Lake
from resources.settings import Benchmark
from tests.support import places

DATA = places.SHARED / "data" / "bench"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no benchmark files at {DATA}: set ASSAY_SHARED")

RM_BENCH = Benchmark(name="rm-bench", loader="rm_bench", path=str(DATA / "rm_bench_*_filtered.json.gz"))
JUDGEBENCH = Benchmark(name="judgebench", loader="judgebench", path=str(DATA / "judgebench_gpt-4o-2024-05-13.jsonl.gz"))
RMB = Benchmark(name="rmb", loader="rmb_pairwise", path=str(DATA / "rmb_pairwise.jsonl.zst"))
RMB_BON = Benchmark(name="rmb-bon", loader="rmb_bon", path=str(DATA / "rmb_bon_sample.jsonl.zst"), excerpt=True)


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    return Lake(str(tmp_path_factory.mktemp("lake")))


@pytest.fixture(scope="module")
def judgebench(lake):
    return load(JUDGEBENCH, lake, 0)


def numbers(loaded, scores):
    table = evaluate(loaded.name, loaded.sheet, attach(loaded.name, loaded.labelled, scores), loaded.found)
    return {(r["subset"], r["metric"]): r for r in table.to_pylist()}


def test_rm_bench_counts(lake):
    loaded = load(RM_BENCH, lake, 0)
    assert {s: n for g in loaded.found.values() for s, n in g.items()} == {
        "chat": 129,
        "code": 228,
        "safety-refuse": 284,
        "safety-response": 157,
    }
    assert loaded.candidates.num_rows == 6 * 798
    longer = numbers(loaded, longer_answer([loaded]))
    assert longer["", "easy_at_hand"]["value"] > 0.75  # the elaborate answers are the longer ones
    assert longer["", "hard_at_hand"]["value"] < 0.25
    assert longer["", "accuracy"]["value"] is None


def test_judgebench_counts(judgebench):
    assert {g: sum(s.values()) for g, s in judgebench.found.items()} == {
        "Knowledge": 154,
        "Reasoning": 98,
        "Math": 56,
        "Coding": 42,
    }
    first = judgebench.candidates.filter(pc.equal(judgebench.candidates["candidate"], 0))
    assert pc.sum(first["label"]).as_py() == 193  # labels A>B


def test_rmb_counts_and_identical_answers(lake):
    loaded = load(RMB, lake, 0)
    found = {g: sum(s.values()) for g, s in loaded.found.items()}
    assert found == {"Helpfulness": 10067 - 849 - 762, "Harmlessness": 7064 - 977}
    assert loaded.items == 14543
    oracle = loaded.labelled.select(["item_id", "candidate"]).append_column(
        "reward", pc.cast(loaded.labelled["label"], pa.float64())
    )
    assert numbers(loaded, oracle)["Helpfulness", "accuracy_at_hand"]["value"] == 1
    assert _identical(loaded) == {"Harmlessness": 7, "Helpfulness": 4}


def _identical(loaded):
    """Items whose two responses are one text: no model can get them right."""
    with duckdb.connect() as con:
        con.register("candidates", loaded.candidates)
        rows = con.execute("""
            SELECT item_group, count(*) FROM (
                SELECT item_group, item_id FROM candidates GROUP BY ALL HAVING min(response) = max(response)
            ) GROUP BY 1
        """).fetchall()
    return dict(rows)


def test_rmb_best_of_n_excerpt(lake):
    loaded = load(RMB_BON, lake, 0)
    assert loaded.found == {"Harmlessness": {"S1": 60}}
    got = numbers(loaded, longer_answer([loaded]))
    assert (got["Harmlessness", "accuracy_at_hand"]["n"], got["Harmlessness", "accuracy_at_hand"]["out_of"]) == (
        60,
        1677,
    )
    assert "Harmlessness/S1 (60 of 111)" in got["Harmlessness", "accuracy"]["missing"]


@pytest.mark.parametrize("benchmark", [RM_BENCH, JUDGEBENCH, RMB, RMB_BON], ids=lambda b: b.name)
def test_every_item_has_a_prompt_to_clean_the_pool_against(lake, benchmark):
    table = prompts(benchmark, lake)
    assert set(table["item_id"].to_pylist()) == set(load(benchmark, lake, 0).candidates["item_id"].to_pylist())
    assert pc.min(pc.utf8_length(table["prompt"])).as_py() > 0


PUBLISHED = {  # Knowledge, Reasoning, Math, Coding; the leaderboard's mean over items; the mean of the four; ties
    "Ray2333/GRM-Gemma-2B-rewardmodel-ft": ((62.99, 53.06, 64.29, 54.76), 59.43, 58.77, 0),
    "Skywork/Skywork-Reward-Gemma-2-27B": ((59.74, 66.33, 83.93, 50.00), 64.29, 65.00, 3),
    "Skywork/Skywork-Reward-Llama-3.1-8B": ((59.09, 64.29, 76.79, 50.00), 62.29, 62.54, 1),
    "internlm/internlm2-20b-reward": ((62.34, 69.39, 66.07, 50.00), 63.43, 61.95, 0),
    "internlm/internlm2-7b-reward": ((56.49, 61.22, 71.43, 50.00), 59.43, 59.79, 0),
    "o1-mini-2024-09-12": ((58.44, 62.24, 82.14, 78.57), 65.71, 70.35, 81),  # a judge, both orders
}
CATEGORIES = ("Knowledge", "Reasoning", "Math", "Coding")


@pytest.mark.parametrize("model", PUBLISHED)
def test_judgebench_recomputed_from_recorded_scores(judgebench, model):
    """Five reward models and one judge as JudgeBench's repository recorded them."""
    with duckdb.connect() as con:
        con.execute("SET VARIABLE path = ?", [str(DATA / "judgebench_judges.parquet")])
        given = "FROM read_parquet(getvariable('path')) WHERE judge_model = $model AND response_model LIKE 'gpt-4o%'"
        if model.startswith("o1"):
            votes = con.sql(
                "SELECT pair_id AS item_id, CASE WHEN decision = 'A=B' THEN 'tie' "
                f"WHEN (decision = 'A>B') = (game = 1) THEN 'original' ELSE 'swapped' END AS vote {given}",
                params={"model": model},
            ).to_arrow_table()
            scores = rewards("judgebench", judgebench.labelled, votes)
        else:
            scores = con.sql(
                "SELECT pair_id AS item_id, unnest([0, 1]) AS candidate, unnest([score_first, score_second]) AS reward "
                f"{given} AND game = 1",
                params={"model": model},
            ).to_arrow_table()
    got = numbers(judgebench, scores)
    categories, micro, mean, ties = PUBLISHED[model]
    assert [100 * got[c, "accuracy"]["value"] for c in CATEGORIES] == pytest.approx(categories, abs=0.005)
    assert 100 * got["", "micro_accuracy"]["value"] == pytest.approx(micro, abs=0.005)
    assert 100 * got["", "accuracy"]["value"] == pytest.approx(mean, abs=0.01)
    assert got["", "accuracy"]["ties"] == ties


def test_results_of_several_benchmarks_are_one_table(lake, judgebench):
    loaded = [judgebench, load(RMB_BON, lake, 0)]
    table = results("longer_answer", loaded, longer_answer(loaded), seed=0)
    assert set(table["benchmark"].to_pylist()) == {"judgebench", "rmb-bon"}
    assert set(table["arm"].to_pylist()) == {"longer_answer"}
