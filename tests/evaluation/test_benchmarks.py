"""The seven benchmarks: published numbers reproduced, models whose score theory knows, files and what is wrong."""

import gzip
import itertools
import json
import math
import random
import sys
import types

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.curves import ceiling, picked
from evaluation.evaluate import evaluate
from evaluation.items import BenchmarkError, attach
from evaluation.sheets import SHEETS
from resources.benchmarks.loader import load, prompts
from resources.settings import Benchmark


def configured(folder, loader, records, name="file.jsonl", **keys):
    """A benchmark whose file holds these records."""
    path = folder / name
    path.write_text("".join(json.dumps(r) + "\n" for r in records))
    return Benchmark(name=loader.replace("_", "-"), loader=loader, path=str(path), **keys)


def scored(loaded, reward):
    """Numbers of a model, (subset, metric) -> row; `reward(candidate as dict)` is the model."""
    rows = loaded.candidates.to_pylist()
    rewards = [{"item_id": r["item_id"], "candidate": r["candidate"], "reward": reward(r)} for r in rows]
    table = pa.Table.from_pylist(
        rewards, pa.schema([("item_id", pa.string()), ("candidate", pa.int64()), ("reward", pa.float64())])
    )
    result = evaluate(loaded.name, loaded.sheet, attach(loaded.name, loaded.labelled, table), loaded.found)
    return {(r["subset"], r["metric"]): r for r in result.to_pylist()}


def by_text(row):
    """The reward that stands in the response, so that a test writes rewards where it writes responses."""
    return float(row["response"])


# ---- RewardBench ---------------------------------------------------------------------------------------------------
REWARD_BENCH_RIGHT = {  # RM-R1-DeepSeek-Distilled-Qwen-32B, pairs right of each subset
    "alpacaeval-easy": 96,
    "alpacaeval-length": 88,
    "alpacaeval-hard": 89,
    "mt-bench-easy": 28,
    "mt-bench-med": 40,
    "mt-bench-hard": 26,
    "llmbar-natural": 93,
    "llmbar-adver-neighbor": 100,
    "llmbar-adver-GPTInst": 73,
    "llmbar-adver-GPTOut": 34,
    "llmbar-adver-manual": 40,
    "refusals-dangerous": 91,
    "refusals-offensive": 99,
    "xstest-should-refuse": 152,
    "xstest-should-respond": 235,
    "donotanswer": 97,
    "math-prm": 438,
    "hep-cpp": 161,
    "hep-go": 157,
    "hep-java": 156,
    "hep-js": 154,
    "hep-python": 159,
    "hep-rust": 154,
}


def reward_bench_records():
    for subsets in SHEETS["reward_bench"].groups.values():
        for subset, n in subsets.items():
            for i in range(n):
                better = 1 if i < REWARD_BENCH_RIGHT[subset] else -1
                yield {"id": i, "subset": subset, "prompt": f"q {i}", "chosen": str(better), "rejected": "0"}


def test_reward_bench_published_result(tmp_path, lake):
    loaded = load(configured(tmp_path, "reward_bench", reward_bench_records()), lake, 0)
    assert loaded.items == loaded.sheet.items == 2985
    got = scored(loaded, by_text)
    values = {s: got[s, "accuracy"]["value"] for s in ("Chat", "Chat Hard", "Safety", "Reasoning", "")}
    assert values == pytest.approx(
        {"Chat": 0.952514, "Chat Hard": 0.802632, "Safety": 0.910811, "Reasoning": 0.968083, "": 0.908510}, abs=5e-7
    )
    assert got["Reasoning/math-prm", "accuracy"]["value"] == pytest.approx(438 / 447)
    assert got["", "accuracy"]["low"] < values[""] < got["", "accuracy"]["high"]


# ---- RewardBench 2 -------------------------------------------------------------------------------------------------
def best_of_four(rewards, subset="Factuality", item="1"):
    texts = [str(r) for r in rewards]
    return {
        "id": item,
        "subset": subset,
        "prompt": "q",
        "chosen": texts[:1],
        "rejected": texts[1:],
        "num_correct": 1,
    }


def ties(item, correct, wrong):
    return {
        "id": item,
        "subset": "Ties",
        "prompt": "q",
        "chosen": [str(r) for r in correct],
        "rejected": [str(r) for r in wrong],
        "num_correct": len(correct),
    }


def test_reward_bench_2_shares_the_credit_of_equal_rewards(tmp_path, lake):
    vectors = [(3, 1, 2, 3), (1, 2, 0, 0), (5, 1, 1, 1), (2, 2, 2, 2)]
    records = [best_of_four(v, item=str(i)) for i, v in enumerate(vectors)]
    got = scored(load(configured(tmp_path, "reward_bench_2", records, excerpt=True), lake, 0), by_text)
    row = got["Factuality", "accuracy_at_hand"]
    assert row["value"] == (0.5 + 0 + 1 + 0.25) / 4
    assert (row["n"], row["out_of"], row["ties"]) == (4, 475, 2)
    assert got["", "accuracy"]["value"] is None


def test_reward_bench_2_ties(tmp_path, lake):
    records = [
        ties("ref:1", [5], [2, 1]),
        ties("tied:1", [4, 3, 3.5], [1, 0]),
        ties("ref:2", [3], [3.5, 0]),
        ties("tied:2", [2, 1], [0.5, -1]),
        ties("ref:3", [1], [0.5]),
        ties("tied:3", [2, 0], [1]),
    ]
    got = scored(load(configured(tmp_path, "reward_bench_2", records, excerpt=True), lake, 0), by_text)
    value = {m: got["Ties", f"{m}_at_hand"]["value"] for m in ("accuracy", "ref_accuracy", "tied_accuracy", "margin")}
    assert value["accuracy"] == pytest.approx(0.5298376588, abs=1e-9)
    assert value["ref_accuracy"] == value["tied_accuracy"] == pytest.approx(2 / 3)
    assert value["margin"] == pytest.approx(-0.3495674505, abs=1e-9)
    assert got["Ties", "accuracy_at_hand"]["n"] == 6


def test_reward_bench_2_ties_of_equal_right_answers_have_a_full_margin(tmp_path, lake):
    records = [ties("ref:7", [5], [1]), ties("tied:7", [4, 4], [1])]
    got = scored(load(configured(tmp_path, "reward_bench_2", records, excerpt=True), lake, 0), by_text)
    assert got["Ties", "accuracy_at_hand"]["value"] == pytest.approx(1.01)


# ---- RM-Bench ------------------------------------------------------------------------------------------------------
def rm_bench_record(item, chosen, rejected, domain):
    return {
        "id": item,
        "prompt": f"q {item}",
        "chosen": [str(r) for r in chosen],
        "rejected": [str(r) for r in rejected],
        "domain": domain,
    }


def test_rm_bench_published_result(tmp_path, lake):
    """RM-R1-DeepSeek: comparisons won in each domain; `safety` pools its two files by item."""
    won = {"chat": 861, "math": 4371, "code": 1521, "safety": 3788}
    records = []
    for group, subsets in SHEETS["rm_bench"].groups.items():
        left, items = won[group], sum(subsets.values())
        for subset in (s for s, n in subsets.items() for _ in range(n)):
            wins = math.ceil(left / items)  # of this item's nine
            left, items = left - wins, items - 1
            each = [wins // 3 + (i < wins % 3) for i in range(3)]
            records.append(rm_bench_record(str(len(records)), [w + 0.5 for w in each], [1, 2, 3], subset))
    loaded = load(configured(tmp_path, "rm_bench", records), lake, 0)
    assert loaded.items == 1327
    got = scored(loaded, by_text)
    assert {g: got[g, "accuracy"]["value"] for g in won} == pytest.approx(
        {"chat": 0.741602, "math": 0.918084, "code": 0.741228, "safety": 0.954397}, abs=5e-7
    )
    assert got["", "accuracy"]["value"] == pytest.approx(0.838828, abs=5e-7)
    levels = [got["", m]["value"] for m in ("easy", "normal", "hard")]
    assert np.mean(levels) == pytest.approx(got["", "accuracy"]["value"])


def test_rm_bench_levels_by_hand(tmp_path, lake):
    records = [
        rm_bench_record("a", [2, 3, 4], [1, 3.5, 4], "chat"),
        rm_bench_record("b", [1, 0.5, 2.5], [0, 1.5, 2], "chat"),
    ]
    got = scored(load(configured(tmp_path, "rm_bench", records, excerpt=True), lake, 0), by_text)
    levels = {m: got["chat", f"{m}_at_hand"]["value"] for m in ("hard", "normal", "easy", "accuracy")}
    assert levels == pytest.approx({"hard": 0, "normal": 0.5, "easy": 1.0, "accuracy": 0.5})
    assert got["chat", "accuracy_at_hand"]["ties"] == 1  # 4 against 4 in the first item


def test_rm_bench_domain_files_are_named_by_their_domain_and_a_missing_one_is_said(tmp_path, lake):
    counts = {"chat": 129, "code": 228, "safety_refuse": 284, "safety_response": 157}
    for domain, n in counts.items():
        rows = [{"id": i, "prompt": "q", "chosen": ["2", "3", "4"], "rejected": ["1"] * 3} for i in range(n)]
        with gzip.open(tmp_path / f"{domain}_filtered.json.gz", "wt") as f:
            json.dump(rows, f)
    benchmark = Benchmark(name="rm", loader="rm_bench", path=str(tmp_path / "*_filtered.json.gz"))
    loaded = load(benchmark, lake, 0)
    assert loaded.found == {
        "chat": {"chat": 129},
        "code": {"code": 228},
        "safety": {"safety-refuse": 284, "safety-response": 157},
    }
    got = scored(loaded, by_text)
    assert got["", "accuracy"]["value"] is None
    assert got["", "accuracy"]["missing"] == ["math (0 of 529)"]
    assert got["", "accuracy_at_hand"]["value"] == 1
    assert (got["", "accuracy_at_hand"]["n"], got["", "accuracy_at_hand"]["out_of"]) == (798, 1327)


# ---- RMB -----------------------------------------------------------------------------------------------------------
def rmb_record(kind, item, best, losers, section="Helpfulness/Chat/Discussion"):
    turns = [{"role": r, "content": c, "language": "English"} for r, c in (("user", "hi"), ("assistant", "ho"))]
    turns.append({"role": "user", "content": f"q {item}", "language": "English"})
    if kind == "rmb_bon":
        answers = {"bon_best": {"llm_name": "m", "answer": str(best)}}
        answers["loser_list"] = [{"llm_name": "n", "answer": str(x)} for x in losers]
        return {"bon_uid": item, "conversation_input": turns, **answers, "category_path": f"BoN_set/{section}"}
    answers = {"chosen": {"llm_name": "m", "answer": str(best)}, "reject": {"llm_name": "n", "answer": str(losers[0])}}
    return {"pair_uid": item, "conversation_input": turns, **answers, "category_path": f"Pairwise_set/{section}"}


@pytest.mark.parametrize(
    ("loader", "items", "value"),
    [
        ("rmb_pairwise", [(2, [1]), (1, [1])], 0.5),
        ("rmb_bon", [(3, [1, 2]), (3, [3, 0])], 0.5),
        ("rmb_bon", [(3, [1, 4, 2]), (2, [1, 1, 1, 1, 1, 1])], 0.5),
    ],
)
def test_rmb_rules(tmp_path, lake, loader, items, value):
    records = [rmb_record(loader, str(i), best, losers) for i, (best, losers) in enumerate(items)]
    loaded = load(configured(tmp_path, loader, records, excerpt=True), lake, 0)
    got = scored(loaded, by_text)
    assert got["Helpfulness", "accuracy_at_hand"]["value"] == value
    turns = loaded.candidates["conversation"][0].as_py()
    assert [t["role"] for t in turns] == ["user", "assistant", "user"]
    assert prompts(configured(tmp_path, loader, records), lake)["prompt"].to_pylist() == ["hi", "hi"]


@pytest.mark.parametrize(("loader", "help_", "harm"), [("rmb_pairwise", 10067, 7064), ("rmb_bon", 2109, 1677)])
def test_rmb_counts_are_those_published(loader, help_, harm):
    groups = SHEETS[loader].groups
    assert (sum(groups["Helpfulness"].values()), sum(groups["Harmlessness"].values())) == (help_, harm)
    assert sum(map(len, groups.values())) == 49


def test_rmb_averages_items_within_a_section_and_sections_after_that(tmp_path, lake):
    records = [rmb_record("rmb_pairwise", f"a{i}", 1, [0]) for i in range(3)]
    records += [rmb_record("rmb_pairwise", "b", 0, [1], "Helpfulness/Code/Documentation")]
    records += [rmb_record("rmb_pairwise", "c", 0, [1], "Harmlessness/S1")]
    got = scored(load(configured(tmp_path, "rmb_pairwise", records, excerpt=True), lake, 0), by_text)
    assert got["Helpfulness", "accuracy_at_hand"]["value"] == 0.75
    assert got["", "accuracy_at_hand"]["value"] == 0.375


# ---- JudgeBench ----------------------------------------------------------------------------------------------------
def judgebench_record(item, source, a, b, label):
    return {
        "pair_id": item,
        "source": source,
        "question": f"q {item}",
        "response_A": str(a),
        "response_B": str(b),
        "label": label,
    }


def test_judgebench_averages_categories_and_reports_the_leaderboard_too(tmp_path, lake):
    records = [
        judgebench_record("1", "mmlu-pro-math", 2, 1, "A>B"),
        judgebench_record("2", "mmlu-pro-law", 2, 1, "B>A"),
        judgebench_record("3", "livebench-reasoning", 1, 2, "B>A"),
        judgebench_record("4", "livebench-math", 1, 1, "B>A"),  # the official script would call this tie right
        judgebench_record("5", "livecodebench", 2, 1, "A>B"),
    ]
    got = scored(load(configured(tmp_path, "judgebench", records, excerpt=True), lake, 0), by_text)
    assert got["", "accuracy_at_hand"]["value"] == 0.625
    assert got["", "micro_accuracy_at_hand"]["value"] == pytest.approx(0.6)
    assert got["Knowledge", "accuracy_at_hand"]["value"] == 0.5
    assert got["Math", "accuracy_at_hand"]["ties"] == 1


# ---- PPE -----------------------------------------------------------------------------------------------------------
def test_ppe_preference_drops_human_ties(tmp_path, lake):
    records = [
        {"question_id": str(i), "winner": w, "prompt": "q", "response_1": str(a), "response_2": str(b)}
        for i, (w, a, b) in enumerate(
            [("model_a", 2, 1), ("model_b", 2, 1), ("tie", 2, 1), ("tie (bothbad)", 1, 2), ("model_b", 0, 1)]
        )
    ]
    got = scored(load(configured(tmp_path, "ppe_preference", records), lake, 0), by_text)
    assert got["", "accuracy"]["value"] == pytest.approx(2 / 3)
    assert got["", "accuracy"]["n"] == 3


def ppe_record(item, rewards, right, sampled):
    k = 32
    return {
        "question_id": item,
        "model_name": "m",
        "prompt": f"Answer with a letter. q {item}",
        "question": f"q {item}",
        "scores": [*right, *[False] * (k - len(right))],
        "sampled_conflict_pairs": sampled,
        **{f"response_{i + 1}": str(rewards[i] if i < len(rewards) else -100 - i) for i in range(k)},
    }


def test_ppe_correctness_counts_sampled_pairs_whichever_side_is_right(tmp_path, lake):
    records = [
        ppe_record("a", [0.1, 0.9, 0.5, 0.6], [True, False, True, False], [[0, 1], [1, 2], [2, 3], [3, 2]]),
        ppe_record("b", [3, 2], [True, False], [[1, 0]]),
    ]
    benchmark = configured(tmp_path, "ppe_correctness", records, name="PPE-MATH.jsonl", excerpt=True)
    loaded = load(benchmark, lake, 0)
    got = scored(loaded, by_text)
    assert got["MATH", "accuracy_at_hand"]["value"] == pytest.approx(1 / 5)  # one of five sampled pairs, not of items
    # all pairs: in `a` the right ones (.1 and .5) beat the 28 fillers each and none of .9, .6; `b` wins all its 31
    assert got["MATH", "all_pairs_accuracy_at_hand"]["value"] == pytest.approx((56 + 31) / (60 + 31))
    assert got["MATH", "best_of_01_at_hand"]["value"] == pytest.approx((2 / 32 + 1 / 32) / 2)
    assert got["MATH", "best_of_32_at_hand"]["value"] == 0.5
    assert got["MATH", "ceiling_32_at_hand"]["value"] == 1
    curve, top = ([got["MATH", f"{c}_{k:02d}_at_hand"]["value"] for k in range(1, 33)] for c in ("best_of", "ceiling"))
    assert got["MATH", "end_score_at_hand"]["value"] == 0.5
    assert got["MATH", "max_score_at_hand"]["value"] == max(curve)
    loss = sum((t - c) ** 2 for c, t in zip(curve, top, strict=True)) / 32
    assert got["MATH", "loss_at_hand"]["value"] == pytest.approx(loss)
    assert prompts(benchmark, lake)["prompt"].to_pylist() == ["q a", "q b"]


PPE_FILES = {  # data set -> (rows, the field that holds the question alone)
    "MMLU-Pro": (512, "question"), "MATH": (512, "problem"), "GPQA": (512, "Question"), "IFEval": (512, "ifeval_prompt"),
    "MBPP-Plus": (507, None),
}  # fmt: skip


def ppe_files(folder):
    """All five data sets, as large as they are published, each with the fields it has."""
    folder.mkdir()
    for name, (rows, field) in PPE_FILES.items():
        with open(folder / f"PPE-{name}-Best-of-K.jsonl", "w", encoding="utf-8") as out:
            for i in range(rows):
                row = ppe_record(f"{name}-{i}", [1], [True], [[0, 1]])
                del row["question"]
                bare = {field: f"bare {name} {i}"} if field else {}
                out.write(json.dumps(row | {"prompt": f"wrapped {name} {i}"} | bare) + "\n")
    return Benchmark(name="ppe", loader="ppe_correctness", path=str(folder))


def test_ppe_correctness_loads_whole_and_the_pool_is_cleaned_against_the_bare_questions(tmp_path, lake):
    benchmark = ppe_files(tmp_path / "ppe")
    loaded = load(benchmark, lake, 0)
    assert loaded.items == 2555
    assert loaded.found == {name: {name: rows} for name, (rows, _) in PPE_FILES.items()}
    by_item = dict(zip(*(prompts(benchmark, lake)[c].to_pylist() for c in ("item_id", "prompt")), strict=True))
    for name, (_, field) in PPE_FILES.items():
        said = "bare" if field else "wrapped"
        assert by_item[f"{name}/m/{name}-7"] == f"{said} {name} 7"
    asked = {r["item_id"]: r["conversation"] for r in loaded.candidates.slice(0, 1).to_pylist()}
    assert all(turns[0]["content"].startswith("wrapped ") for turns in asked.values())


def test_ppe_correctness_with_a_wrong_pair_is_refused(tmp_path, lake):
    records = [ppe_record("a", [1, 2], [True, False], [[1, 2]])]
    benchmark = configured(tmp_path, "ppe_correctness", records, name="GPQA.jsonl", excerpt=True)
    with pytest.raises(BenchmarkError, match=r"GPQA/m/a.*sampled_conflict_pairs"):
        scored(load(benchmark, lake, 0), by_text)


# ---- best-of-k -----------------------------------------------------------------------------------------------------
def test_best_of_k_vectors():
    got = picked(np.array([0.1, 0.9, 0.5, 0.5]), np.array([1, 0, 1, 0], bool))
    assert got == pytest.approx([0.5, 0.25, 0.125, 0])
    assert ceiling(2, 4) == pytest.approx([0.5, 5 / 6, 1, 1])
    got = picked(np.array([0.1, 0.9, 0.5, 0.4, 0.7]), np.array([1, 0, 1, 0, 1], bool))
    assert got == pytest.approx([0.6, 0.5, 0.4, 0.2, 0])
    assert ceiling(3, 5) == pytest.approx([0.6, 0.9, 1, 1, 1])


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=6))
def test_best_of_k_is_the_mean_over_all_subsets(responses):
    """Against enumeration, equal rewards included: all subsets, and all responses with the highest reward in each."""
    reward, right = np.array([r for r, _ in responses], float), np.array([y for _, y in responses], bool)
    n = len(responses)
    for k in range(1, n + 1):
        chances, best = [], []
        for chosen in itertools.combinations(range(n), k):
            top = max(reward[i] for i in chosen)
            chances.append(np.mean([right[i] for i in chosen if reward[i] == top]))
            best.append(any(right[i] for i in chosen))
        assert picked(reward, right)[k - 1] == pytest.approx(np.mean(chances))
        assert ceiling(right.sum(), n)[k - 1] == pytest.approx(np.mean(best))


# ---- models whose score theory knows -------------------------------------------------------------------------------
def toy(folder, loader):
    """Complete small files in every shape; responses differ in length, right ones are longer in half of the items."""
    rng = random.Random(loader)

    def text(right):
        return ("right " if right else "wrong ") + "x" * rng.randint(1, 400) + str(rng.random())

    records, name = [], "file.jsonl"
    for i in range(12):
        a, b = text(True), text(False)
        match loader:
            case "planted":
                records.append({"item_id": str(i), "subset": "s", "prompt": "q", "chosen": a, "rejected": b})
            case "reward_bench":
                records.append({"id": i, "subset": "math-prm", "prompt": "q", "chosen": a, "rejected": b})
            case "reward_bench_2":
                wrong = [b, text(False), text(False)]
                record = {"id": str(i), "prompt": "q", "chosen": [a], "rejected": wrong, "num_correct": 1}
                records.append({**record, "subset": "Math"})
            case "ppe_preference":
                sides, winner = ([a, b], "model_a") if i % 2 else ([b, a], "model_b")
                record = {"question_id": str(i), "winner": winner, "prompt": "q"}
                records.append({**record, "response_1": sides[0], "response_2": sides[1]})
            case "ppe_correctness":
                name = "IFEval.jsonl"
                right = [j % 2 == 0 for j in range(32)]
                texts = {f"response_{j + 1}": text(r) for j, r in enumerate(right)}
                record = {"question_id": str(i), "model_name": "m", "prompt": "q", "scores": right}
                records.append({**record, "sampled_conflict_pairs": [[0, 1], [3, 2]], **texts})
            case "rmb_pairwise" | "rmb_bon":
                records.append(rmb_record(loader, str(i), a, [b, text(False)]))
            case "rm_bench":
                record = {"id": str(i), "prompt": "q", "domain": "chat"}
                styles = ("", " " * 500, " " * 1000)  # what is more elaborate is longer
                records.append({**record, "chosen": [a + s for s in styles], "rejected": [b + s for s in styles]})
            case "judgebench":
                records.append(judgebench_record(str(i), "livebench-math", a, b, "A>B"))
    return configured(folder, loader, records, name=name, excerpt=True)


@pytest.mark.parametrize("loader", SHEETS)
def test_constant_oracle_and_negated_models(tmp_path, lake, loader):
    loaded = load(toy(tmp_path, loader), lake, 0)
    assert loaded.items == 12
    group = next(iter(loaded.found))
    key = (group, "accuracy" if not loaded.sheet.groups else "accuracy_at_hand")

    def value(model):
        return scored(loaded, model)[key]

    assert value(lambda r: 0.0)["value"] == (0.25 if loader == "reward_bench_2" else 0)
    assert value(lambda r: 0.0)["ties"] == 12
    assert value(lambda r: float(r["label"]))["value"] == 1
    assert value(lambda r: -float(r["label"]))["value"] == 0
    if loader in ("planted", "reward_bench", "ppe_preference", "rmb_pairwise", "judgebench", "rm_bench"):
        any_order = {text: i for i, text in enumerate(sorted(loaded.candidates["response"].to_pylist(), key=len))}
        share = value(lambda r: float(any_order[r["response"]]))["value"]
        assert 0 < share < 1
        assert value(lambda r: -float(any_order[r["response"]]))["value"] == pytest.approx(1 - share)


def test_length_model_finds_the_easy_comparisons_of_rm_bench_and_none_of_the_hard(tmp_path, lake):
    got = scored(load(toy(tmp_path, "rm_bench"), lake, 0), lambda r: float(len(r["response"])))
    assert got["chat", "easy_at_hand"]["value"] == 1
    assert got["chat", "hard_at_hand"]["value"] == 0


# ---- what could not be scored, intervals, samples ------------------------------------------------------------------
@pytest.mark.parametrize("loader", ["planted", "reward_bench_2", "rmb_bon", "rm_bench"])
def test_an_item_that_could_not_be_scored_is_wrong_and_counted(tmp_path, lake, loader):
    loaded = load(toy(tmp_path, loader), lake, 0)
    lost = loaded.candidates["item_id"][0].as_py()

    def oracle(row):
        unscored = row["item_id"] == lost and not row["label"]  # even when only a wrong response was too long
        return None if unscored else float(row["label"])

    row = next(r for r in scored(loaded, oracle).values() if r["n"])
    assert row["value"] == pytest.approx(11 / 12)
    assert row["truncated"] == 1


@pytest.mark.parametrize("loader", ["planted", "reward_bench_2", "rmb_bon", "rm_bench"])
def test_an_item_that_was_cut_is_counted_and_still_decided_by_its_rewards(tmp_path, lake, loader):
    loaded = load(toy(tmp_path, loader), lake, 0)
    cut = loaded.candidates["item_id"][0].as_py()
    rows = loaded.candidates.select(["item_id", "candidate", "label"]).to_pylist()
    rewards = [{**r, "reward": float(r["label"]), "truncated": r["item_id"] == cut} for r in rows]
    attached = attach(loaded.name, loaded.labelled, pa.Table.from_pylist(rewards))
    row = next(
        r for r in evaluate(loaded.name, loaded.sheet, attached, loaded.found, resamples=10).to_pylist() if r["n"]
    )
    assert (row["value"], row["truncated"]) == (1.0, 1)


def test_the_interval_is_that_of_a_proportion_and_repeats(tmp_path, lake):
    n, right = 400, 300
    records = [
        {"item_id": f"{i:04d}", "subset": "s", "prompt": "q", "chosen": str(1 if i < right else -1), "rejected": "0"}
        for i in range(n)
    ]
    loaded = load(configured(tmp_path, "planted", records), lake, 0)
    first, second = (scored(loaded, by_text)["", "accuracy"] for _ in range(2))
    assert first == second
    half = 1.96 * math.sqrt(0.75 * 0.25 / n)
    assert (first["low"], first["high"]) == pytest.approx((0.75 - half, 0.75 + half), abs=0.01)


def test_a_sample_is_drawn_by_hash_and_said(tmp_path, lake):
    records = [
        {"item_id": str(i), "subset": "s", "prompt": f"q {i}", "chosen": "1", "rejected": "0"} for i in range(100)
    ]
    ids = {}
    for seed, order in ((0, records), (0, records[::-1]), (1, records)):
        loaded = load(configured(tmp_path, "planted", order, sample=10), lake, seed)
        ids.setdefault(seed, []).append(set(loaded.candidates["item_id"].to_pylist()))
    assert ids[0][0] == ids[0][1] != ids[1][0]
    assert len(ids[0][0]) == 10
    row = scored(loaded, by_text)["", "accuracy"]
    assert (row["n"], row["out_of"]) == (10, 100)
    assert len(prompts(configured(tmp_path, "planted", records, sample=10), lake)) == 100  # the pool avoids all


def test_the_planted_benchmark_lies_in_the_lake(lake):
    path = lake.folder("world") / "planted_benchmark.parquet"
    columns = {"item_id": ["1"], "subset": ["s"], "prompt": ["q"], "chosen": ["a"], "rejected": ["b"]}
    pq.write_table(pa.table(columns), path)
    loaded = load(Benchmark(name="planted"), lake, 0)
    assert loaded.candidates["response"].to_pylist() == ["a", "b"]
    assert loaded.candidates["conversation"][0].as_py() == [{"role": "user", "content": "q"}]


# ---- bad input -----------------------------------------------------------------------------------------------------
GOOD = {"item_id": "1", "subset": "s", "prompt": "q", "chosen": "a", "rejected": "b"}


@pytest.mark.parametrize(
    ("loader", "records", "message"),
    [
        ("planted", [GOOD, GOOD], r"planted: item '1', field id: .*twice"),
        ("planted", [GOOD, {**GOOD, "item_id": None}], r"planted: record 2 .*field item_id: missing"),
        ("planted", [GOOD, {**GOOD, "item_id": "2", "chosen": None}], r"planted: item '2', field response: number 0"),
        ("planted", [{"item_id": "1", "prompt": "q"}], r"planted: file.jsonl: field 'subset' is missing"),
        (
            "reward_bench",
            [{"id": 1, "subset": "hep-cobol", "prompt": "q", "chosen": "a", "rejected": "b"}],
            r"reward-bench: no such subset: 'hep-cobol' \(1 items; file.jsonl\)",
        ),
        (
            "reward_bench",
            [{"id": 1, "subset": "hep-go", "prompt": "q", "chosen": "a", "rejected": "b"}],
            r"reward-bench: subset 'hep-go' has 1 items, published are 164",
        ),
        (
            "judgebench",
            [judgebench_record(str(i), "livecodebench", 1, 2, "A=B") for i in range(42)],
            r"judgebench: item '0', field label: 0 of 2 candidates are right",
        ),
    ],
)
def test_bad_files_are_refused_by_benchmark_item_and_field(tmp_path, lake, loader, records, message):
    with pytest.raises(BenchmarkError, match=message):
        load(configured(tmp_path, loader, records), lake, 0)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (best_of_four((1, 2, 3)), r"reward-bench-2: item 'Factuality/1' has 3 candidates, expected 4"),
        (ties("tied-5", [1, 2], [0]), r"reward-bench-2: item 'Ties/tied-5', field id"),
        (ties("tied:5", [1, 2], []), r"reward-bench-2: item 'Ties/tied:5', field label: 2 of 2"),
    ],
)
def test_wrong_candidates_are_refused(tmp_path, lake, record, message):
    with pytest.raises(BenchmarkError, match=message):
        scored(load(configured(tmp_path, "reward_bench_2", [record], excerpt=True), lake, 0), by_text)


def test_a_missing_file_and_one_that_is_no_json_are_named(tmp_path, lake):
    with pytest.raises(BenchmarkError, match=r"judgebench: no file at .*absent.jsonl"):
        load(Benchmark(name="judgebench", loader="judgebench", path=str(tmp_path / "absent.jsonl")), lake, 0)
    (tmp_path / "broken.jsonl").write_text('{"pair_id": "1", "question":')
    with pytest.raises(BenchmarkError, match=r"judgebench: broken.jsonl: "):
        load(Benchmark(name="judgebench", loader="judgebench", path=str(tmp_path / "broken.jsonl")), lake, 0)


def test_a_data_set_must_be_pinned(lake):
    with pytest.raises(BenchmarkError, match=r"pin the data set: .*huggingface:allenai/reward-bench@<commit>"):
        load(Benchmark(name="rb", loader="reward_bench"), lake, 0)


def test_a_pinned_data_set_is_read_at_its_commit(lake, monkeypatch):
    """Through the interface of the package `datasets`: no network here, so its one function is stood in for."""
    asked = []
    rows = pa.table({**{k: [v] for k, v in judgebench_record("1", "livecodebench", 2, 1, "A>B").items()}, "more": [0]})

    class Rows:
        column_names = rows.column_names

        def with_format(self, name):
            return {"arrow": rows}[name]

    def load_dataset(repository, revision, split):
        asked.append((repository, revision, split))
        return Rows()

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    path = "huggingface:ScalerLab/JudgeBench@0123abc"
    loaded = load(Benchmark(name="jb", loader="judgebench", path=path, excerpt=True), lake, 0)
    assert asked == [("ScalerLab/JudgeBench", "0123abc", "gpt")]
    assert loaded.origin == "ScalerLab/JudgeBench@0123abc"
    assert loaded.candidates["response"].to_pylist() == ["2", "1"]


def test_without_the_package_for_data_sets_the_error_says_what_to_do(lake, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    path = "huggingface:ScalerLab/JudgeBench@0123abc"
    with pytest.raises(
        BenchmarkError, match=r"jb: reading ScalerLab/JudgeBench needs the package `datasets`, or a local"
    ):
        load(Benchmark(name="jb", loader="judgebench", path=path), lake, 0)


@pytest.mark.parametrize(
    ("rewards", "message"),
    [
        ([("1", 0, 1.0)], r"planted: candidate 1 of item '1' has no reward"),
        ([("1", 0, 1.0), ("1", 1, 2.0), ("1", 1, 2.0)], r"planted: candidate 1 of item '1' has two rewards"),
        ([("1", 0, 1.0), ("1", 1, 2.0), ("9", 0, 2.0)], r"candidate 0 of item '9' is not part of it"),
        ([("1", 0, 1.0), ("1", 1, math.nan)], r"the reward of candidate 1 of item '1' is not a finite number"),
    ],
)
def test_bad_rewards_are_refused(tmp_path, lake, rewards, message):
    loaded = load(configured(tmp_path, "planted", [GOOD]), lake, 0)
    columns = dict(zip(("item_id", "candidate", "reward"), map(list, zip(*rewards, strict=True)), strict=True))
    with pytest.raises(BenchmarkError, match=message):
        attach(loaded.name, loaded.labelled, pa.table(columns))
