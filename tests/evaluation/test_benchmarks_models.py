"""Models of every kind on benchmarks: comparisons, claims, judges, score files, a real transformer, the command."""

import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets import pool
from assets.benchmark_results import benchmark_baselines, benchmark_results, benchmark_scores, results
from cli import benchmark as benchmark_command
from cli.benchmark import BenchmarkRequest
from curation.tables import (
    ANNOTATION_BATCH,
    ATTRIBUTES,
    BENCHMARK_PROMPTS,
    BENCHMARK_SCORES,
    CLEAN_POOL,
    FINAL_REWARD_MODEL,
    GOLD,
)
from evaluation.averages import SIX, average, columns
from evaluation.compare import compare, holm, mcnemar, paired_t
from evaluation.correlation import pearson
from evaluation.items import BenchmarkError, attach
from evaluation.judged import rewards
from evaluation.sheets import PAPER, SHEETS
from report import benchmark_plots
from resources.benchmarks.loader import holdout, load, prompts
from resources.benchmarks.published import published_scores, verdicts
from resources.benchmarks.rewards import longer_answer, model_scores, of, scores_of
from resources.run import Run
from tests.support.lakes import make, published, put, query, settings


def planted(lake, n=200):
    """A planted benchmark: the better response of every third item is the longer one, else the shorter."""
    rows = [
        {
            "item_id": f"{i:03d}",
            "subset": "maths" if i % 2 else "prose",
            "prompt": f"question {i}",
            "chosen": "yes " * (3 if i % 3 else 9) + str(i),
            "rejected": "no " * 6 + str(i),
        }
        for i in range(n)
    ]
    pq.write_table(pa.Table.from_pylist(rows), lake.folder("world") / "planted_benchmark.parquet")
    prompts = [{"benchmark": "planted", "item_id": r["item_id"], "prompt": r["prompt"]} for r in rows]
    lake.write(BENCHMARK_PROMPTS, pa.Table.from_pylist(prompts, BENCHMARK_PROMPTS.schema))


def configured(**keys):
    return settings(benchmarks=[{"name": "planted"}], **keys)


def rewarded(loaded, right):
    """A scored table in which exactly the items of `right` are answered rightly."""
    table = loaded.labelled.select(["item_id", "candidate"])
    reward = [
        float(label) if item in right else -float(label)
        for item, label in zip(
            loaded.labelled["item_id"].to_pylist(), loaded.labelled["label"].to_pylist(), strict=True
        )
    ]
    return attach(loaded.name, loaded.labelled, table.append_column("reward", pa.array(reward)))


# ---- comparing two models ------------------------------------------------------------------------------------------
def test_paired_comparison_of_two_models(lake):
    planted(lake)
    loaded = load(configured().benchmarks[0], lake, 0)
    ids = sorted(set(loaded.labelled["item_id"].to_pylist()))
    a, b = rewarded(loaded, set(ids[:150])), rewarded(loaded, set(ids[20:140]))
    found = {(d.subset, d.metric): d for d in compare("planted", loaded.sheet, a, b, loaded.found, resamples=2000)}
    whole = found["", "accuracy"]
    assert (whole.a, whole.b, whole.value) == pytest.approx((0.75, 0.6, 0.15))
    assert (whole.only_a, whole.only_b) == (30, 0)
    assert whole.mcnemar == pytest.approx(2 / 2**30)
    half = 1.96 * math.sqrt(0.15 * 0.85 / 200)  # the differences are 0 or 1
    assert (whole.low, whole.high) == pytest.approx((0.15 - half, 0.15 + half), abs=0.012)
    assert whole.p < 0.002
    same = compare("planted", loaded.sheet, a, a, loaded.found, resamples=200)[0]
    assert (same.value, same.low, same.high, same.p, same.mcnemar) == (0, 0, 0, 1, 1)


def test_models_scored_on_different_items_are_not_compared(lake):
    planted(lake)
    loaded = load(configured().benchmarks[0], lake, 0)
    whole = rewarded(loaded, set())
    with pytest.raises(ValueError, match="planted: the two models were scored on different items"):
        compare("planted", loaded.sheet, whole, whole.slice(2), loaded.found)


@pytest.mark.parametrize(("a", "b", "p"), [(0, 0, 1), (5, 0, 0.0625), (8, 2, 0.109375), (1, 1, 1)])
def test_mcnemar_by_hand(a, b, p):
    assert mcnemar(a, b) == mcnemar(b, a) == pytest.approx(p)


@pytest.mark.parametrize(
    ("gains", "t", "p"),
    [  # t and two-sided p from tables of Student's t: 12.706 at one degree, 4.303 at two, 2.776 at four is 5 %
        ([1 + 1 / 12.7062047, 1 - 1 / 12.7062047], 12.7062047, 0.05),
        ([1, 2, 3], 2 * math.sqrt(3), 0.0741799),
        ([0, 0, 0], 0, 1),
        ([1, 1], math.inf, 0),
    ],
)
def test_paired_t_over_seeds(gains, t, p):
    got = paired_t(gains, [0.0] * len(gains))
    assert got == pytest.approx((t, p), abs=1e-6)


def test_paired_t_needs_the_same_seeds():
    with pytest.raises(ValueError, match="the same two or more of both, got 3 and 2"):
        paired_t([1, 2, 3], [1, 2])


def test_holm_by_hand():
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}) == pytest.approx(
        {"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02}
    )


@given(st.dictionaries(st.text(max_size=3), st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_only_raises(p):
    corrected = holm(p)
    assert list(corrected) == list(p)
    assert all(p[k] <= corrected[k] <= 1 for k in p)
    assert all(corrected[a] <= corrected[b] for a in p for b in p if p[a] < p[b])


# ---- published scores ----------------------------------------------------------------------------------------------
def published_accuracies(sheet):
    table: dict[str, dict[str, float]] = {}
    for row in published_scores().to_pylist():
        if row["sheet"] == sheet:
            table.setdefault(row["model"], {})[row["metric"]] = row["value"]
    return table


def test_the_papers_average_is_the_mean_of_seven_columns():
    complete = {m: s for m, s in published_accuracies("main").items() if "Average" in s}
    assert len(complete) == 34
    off = {m: average(s) - s["Average"] for m, s in complete.items() if abs(average(s) - s["Average"]) > 0.0501}
    assert set(off) == {"Skywork-Reward-Gemma-2-27B", "Llama-3.1-8B"}  # printed 70.4 and 85.7
    assert all(abs(v) < 0.1 for v in off.values())
    assert average(complete["INF-ORM-Llama3.1-70B"], SIX) == pytest.approx(73.03, abs=0.01)


def test_an_average_over_a_missing_benchmark_is_missing():
    rmb = {"rmb_pairwise": (78.54 + 76.80) / 2, "rmb_bon": (61.97 + 61.78) / 2}
    assert columns(rmb)["RMB"] == pytest.approx(69.7725)
    assert columns({"rmb_bon": 60.0})["RMB"] is None
    full = {loader: 0.5 for parts in PAPER.values() for loader in parts}
    assert average(columns(full)) == 0.5
    assert average(columns({**full, "judgebench": None})) is None
    assert average(columns({k: v for k, v in full.items() if k != "reward_bench_2"}), SIX) == 0.5


MISPRINTED = {("rm_bench", "OffsetBias-RM-8B"): 71.0}  # the figure's mean; that of its columns is 71.3


@pytest.mark.parametrize("sheet", ["judgebench", "rmb_bon", "rm_bench", "reward_bench_2"])
def test_published_means_follow_from_their_columns(sheet):
    for model, scores in published_accuracies(sheet).items():
        parts = [v for m, v in scores.items() if m != "Average"]
        if (sheet, model) in MISPRINTED:
            assert scores["Average"] == MISPRINTED[sheet, model]
            continue
        assert np.mean(parts) == pytest.approx(scores["Average"], abs=0.11), model


def test_published_judgebench_scores_are_whole_numbers_of_items():
    items = {g: sum(s.values()) for g, s in SHEETS["judgebench"].groups.items()}
    off = [
        (model, category)
        for model, scores in published_accuracies("judgebench").items()
        for category, n in items.items()
        if abs(scores[category] * n / 100 - round(scores[category] * n / 100)) > n * 0.0005 + 1e-9
    ]
    assert off == [("o3-mini (low)", "Math")]  # 83.4 is no k/56: a misprint


def test_claims_hold_where_the_tables_say_so_and_the_false_ones_do_not():
    found = {v.id: v for v in verdicts()}
    assert {v.id: v.holds for v in found.values()} == {v.id: v.expected for v in found.values()}
    assert sorted(i for i, v in found.items() if not v.holds) == ["7.10f", "7.13a", "7.13c", "7.14c", "7.14d"]
    assert found["7.13c"].contradictions == ((80.0, 54.0, 26.0),)


def test_a_claim_falls_when_its_table_changes():
    rows = published_scores().to_pylist()
    for row in rows:
        if row["sheet"] == "main" and row["model"] == "ArmoRM-Llama3-8B" and row["metric"] == "RMB":
            row["value"] = 95.0
    changed = {v.id: v for v in verdicts(pa.Table.from_pylist(rows, published_scores().schema))}
    assert not changed["7.10a"].holds
    assert changed["7.10a"].contradictions[0][:2] == ("ArmoRM-Llama3-8B", "RMB")


def test_pearson_matrix():
    motivation = published_accuracies("motivation").values()
    scores = np.array([[s["RewardBench"], s["Newer benchmarks"]] for s in motivation])
    matrix = pearson(scores)
    assert matrix.diagonal() == pytest.approx([1, 1])
    assert matrix[0, 1] == matrix[1, 0] == pytest.approx(0.33, abs=0.005)
    scores[:, 1] = np.nan
    assert np.isnan(pearson(scores)[0, 1])


# ---- judges --------------------------------------------------------------------------------------------------------
def test_votes_of_both_orders_decide_and_position_bias_is_wrong(lake):
    planted(lake, 4)
    loaded = load(configured().benchmarks[0], lake, 0)
    votes = {
        "000": ("original", "original"),
        "001": ("original", "swapped"),  # always the first answer
        "002": ("original", "tie"),
        "003": ("none", "swapped"),
    }
    table = pa.Table.from_pylist([{"item_id": i, "vote": v} for i, two in votes.items() for v in two])
    scored = attach(loaded.name, loaded.labelled, rewards(loaded.name, loaded.labelled, table))
    won = (
        scored.filter(scored["label"])["reward"].to_numpy()
        > scored.filter(pc.invert(scored["label"]))["reward"].to_numpy()
    )
    assert won.tolist() == [True, False, True, False]
    with pytest.raises(BenchmarkError, match="planted: item '003' has no vote"):
        rewards(loaded.name, loaded.labelled, table.slice(0, 6))


def test_a_configured_judge_is_evaluated_like_a_model(tmp_path, lake):
    """A recorded judge that prefers the answer saying yes, in the order in which the file shows the two."""
    planted(lake, 6)
    answers = [
        {
            "prompt": f"question {i}",
            "a": ("yes " * (3 if i % 3 else 9)) + str(i),
            "b": "no " * 6 + str(i),
            "winner": "a",
        }
        for i in range(6)
    ]
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(json.dumps(a) + "\n" for a in answers))
    recorded = {
        "path": str(path),
        "shape": "winner",
        "fields": {"prompt": "prompt", "a": "a", "b": "b", "winner": "winner"},
        "codes": {"a": ["a"], "b": ["b"]},
    }
    panel = [{"name": "critic", "backend": "recorded", "answers": [recorded]}, {"name": "other"}]
    run = Run(configured(judges={"panel": panel}, attributes={"backend": "heuristic"}), lake)
    loaded = load(run.settings.benchmarks[0], lake, 0)
    scores = scores_of("judge:critic", run, [loaded])
    right = scores.filter(pc.equal(scores["candidate"], 0))["reward"].to_pylist()
    assert right == [1.0] * 6
    with pytest.raises(BenchmarkError, match="no judge 'nobody' is configured, only critic, other"):
        scores_of("judge:nobody", run, [loaded])


def test_a_panel_is_evaluated_as_one_judge_by_the_majority_of_its_voices(tmp_path, lake):
    """Three recorded judges of six pairs; each is right on some, and a pair is right where two of them are (spec 7.18)."""
    planted(lake, 6)
    right = {"a": {0, 1, 2, 3}, "b": {0, 1, 4}, "c": {0, 2, 4, 5}}
    panel = []
    for name, pairs in right.items():
        path = tmp_path / f"{name}.jsonl"
        rows = [
            {"prompt": f"question {i}", "a": ("yes " * (3 if i % 3 else 9)) + str(i), "b": "no " * 6 + str(i),
             "winner": "a" if i in pairs else "b"}
            for i in range(6)
        ]  # fmt: skip
        path.write_text("".join(json.dumps(r) + "\n" for r in rows))
        fields = {"prompt": "prompt", "a": "a", "b": "b", "winner": "winner"}
        answers = {"path": str(path), "shape": "winner", "fields": fields, "codes": {"a": ["a"], "b": ["b"]}}
        panel.append({"name": name, "backend": "recorded", "answers": [answers]})
    sections = {"judges": {"panel": panel, "quorum": 2}, "attributes": {"backend": "heuristic"}}
    run = Run(configured(**sections), lake)
    loaded = load(run.settings.benchmarks[0], lake, 0)
    scores = scores_of("judge:panel", run, [loaded])
    won = {r["item_id"]: r["reward"] for r in scores.to_pylist() if r["candidate"] == 0}
    assert won == {f"{i:03d}": float(i in (0, 1, 2, 4)) for i in range(6)}
    with pytest.raises(BenchmarkError, match="no judge 'panel' is configured"):
        scores_of("judge:panel", Run(configured(judges={"panel": []}), lake), [loaded])


# ---- a real transformer, files of scores, assets, the command ------------------------------------------------------
def test_a_transformers_folder_scores_every_candidate_and_equal_texts_alike(tmp_path, lake):
    from training.export import export
    from training.model import learn_tokenizer, new_model

    planted(lake, 12)
    run = Run(configured(training={"max_tokens": 64}), lake)
    backbone = run.settings.training.backbone.model_copy(update={"hidden": 16, "layers": 1, "heads": 2})
    model = new_model(backbone, learn_tokenizer(["yes no question 1 2 3"] * 4, 300), 64, seed=1)
    folder = tmp_path / "model"
    export(model, folder, {"max_tokens": 64})

    twice = run.settings.benchmarks[0].model_copy(update={"name": "again"})
    loaded = [load(b, lake, 0) for b in (run.settings.benchmarks[0], twice)]
    scores = model_scores(run, str(folder), loaded)
    assert scores.num_rows == 2 * 24
    assert of(scores, "planted").sort_by([("item_id", "ascending"), ("candidate", "ascending")]) == of(
        scores, "again"
    ).sort_by([("item_id", "ascending"), ("candidate", "ascending")])
    assert len(set(of(scores, "planted")["reward"].to_pylist())) == 24


def test_scores_made_elsewhere_are_read_and_wrong_ones_refused(tmp_path, lake):
    planted(lake, 4)
    run = Run(configured(), lake)
    loaded = [load(run.settings.benchmarks[0], lake, 0)]
    path = tmp_path / "scores.jsonl"
    rows = longer_answer(loaded).to_pylist()
    path.write_text("".join(json.dumps({**r, "benchmark": b}) + "\n" for b in ("planted", "other") for r in rows))
    read = scores_of(str(path), run, loaded)
    assert sorted(read["reward"].to_pylist()) == sorted(r["reward"] for r in rows)
    path.write_text('{"benchmark": "planted", "item": "1"}\n')
    with pytest.raises(BenchmarkError, match=r"scores\.jsonl: .*item_id"):
        scores_of(str(path), run, loaded)
    with pytest.raises(BenchmarkError, match="no model 'nothing': neither a file, a folder nor one of the arms"):
        scores_of("nothing", run, loaded)


def test_baselines_and_results_are_tables_of_the_lake(lake):
    planted(lake)
    run = make(benchmark_baselines, lake, benchmarks=[{"name": "planted"}])
    value = query(lake, "SELECT value FROM benchmark_baselines WHERE subset = '' AND metric = 'accuracy'")[0][0]
    assert value == pytest.approx(67 / 200)  # items 0, 3, 6, … of 200

    loaded = [load(run.settings.benchmarks[0], lake, 0)]
    lake.write(BENCHMARK_SCORES, longer_answer(loaded), "filtered")
    make(benchmark_results, lake, "planted|filtered", benchmarks=[{"name": "planted"}])
    rows = query(lake, "SELECT arm, subset, value, n, missing FROM benchmark_results ORDER BY subset")
    assert [r[:2] for r in rows] == [("filtered", ""), ("filtered", "maths"), ("filtered", "prose")]
    assert rows[0][2:] == (value, 200, [])


def test_a_benchmark_file_that_changes_is_read_again_by_all_that_read_it(tmp_path, lake):
    """The pool is cleaned of what was added to it; right answers that change change the results, not the prompts."""
    folder, source = tmp_path / "exam", tmp_path / "s.jsonl"
    folder.mkdir()
    items = [
        {"item_id": f"{i}", "subset": "a", "prompt": f"Who was king {i}?", "chosen": "y", "rejected": "no"}
        for i in "123"
    ]
    source.write_text("".join(json.dumps({**item, "chosen": "c"}) + "\n" for item in items))
    config = settings(sources=[{"name": "s", "path": str(source)}], benchmarks=[{"name": "exam", "path": str(folder)}])
    lake.write(FINAL_REWARD_MODEL, FINAL_REWARD_MODEL.schema.empty_table(), "original")
    steps = (
        pool.sources,
        pool.raw_pool,
        pool.deduped,
        pool.benchmark_prompts,
        pool.clusters,
        pool.benchmark_hits,
        pool.clean_pool,
        benchmark_scores,
        benchmark_results,
        benchmark_baselines,
    )
    keys = {"source": "s", "bucket": "b00", "model": "original", "benchmark|model": "exam|original"}

    def made_again(*some):
        (folder / "exam.jsonl").write_text("".join(json.dumps(item) + "\n" for item in some))
        again = []
        for step in steps:
            key = keys.get(step.partition)
            if step.stale(config, lake, key):
                again.append(step.name)
                if step is benchmark_scores:  # without a model
                    scores = longer_answer([load(b, lake, 0) for b in config.benchmarks])
                    lake.write(BENCHMARK_SCORES, scores, key, step.note(config, lake, key))
                else:
                    published(step, Run(config, lake, key))
        return again

    assert len(made_again(*items[:2])) == len(steps) and made_again(*items[:2]) == []
    assert query(lake, "SELECT count(*) FROM clean_pool") == [(1,)]
    assert {"benchmark_prompts", "benchmark_hits", "clean_pool", "benchmark_scores"} <= set(made_again(*items))
    assert query(lake, "SELECT count(*) FROM clean_pool") == [(0,)]
    swapped = [item | {"chosen": item["rejected"], "rejected": item["chosen"]} for item in items]
    read = ["benchmark_prompts", "benchmark_scores", "benchmark_results", "benchmark_baselines"]
    assert made_again(*swapped) == read and made_again(*swapped) == []
    (folder / "exam.jsonl").rename(folder / "other.jsonl")
    assert all(step.stale(config, lake, keys.get(step.partition)) for step in steps if step.name in read)


def test_the_command_prints_results_means_and_differences(lake, capsys, tmp_path):
    planted(lake)
    run, longer = Run(configured(), lake), ("longer_answer",)
    assert benchmark_command.main(BenchmarkRequest(longer, out=tmp_path), run) == 0
    saved = (str(tmp_path / "longer_answer.parquet"),)
    assert benchmark_command.main(BenchmarkRequest(longer, against=saved, published=True), run) == 0
    out = capsys.readouterr().out
    assert "33.5" in out
    assert "INF-ORM-Llama3.1-70B" in out
    assert "+0.0" in out
    assert benchmark_command.main(BenchmarkRequest(longer, only=("rewardbench",)), run) == 2
    assert "not configured: rewardbench" in capsys.readouterr().err


def test_the_command_warns_of_a_benchmark_that_the_pool_was_not_cleaned_against(lake, capsys, tmp_path):
    planted(lake)
    run = Run(configured(), lake)
    put(lake, BENCHMARK_PROMPTS, [])
    assert benchmark_command.main(BenchmarkRequest(("longer_answer",), out=tmp_path), run) == 0
    saved = BenchmarkRequest((str(tmp_path / "longer_answer.parquet"),))
    assert benchmark_command.main(saved, run) == 0
    assert "warning" not in capsys.readouterr().err  # there is no pool
    put(lake, CLEAN_POOL, [], "b00")
    assert benchmark_command.main(saved, run) == 0
    assert "planted: the pool was not cleaned against" in capsys.readouterr().err
    [benchmark] = run.settings.benchmarks
    put(lake, BENCHMARK_PROMPTS, prompts(benchmark, lake).to_pylist())
    assert benchmark_command.main(saved, run) == 0
    assert "warning" not in capsys.readouterr().err


def test_what_was_cut_is_kept_with_the_scores_and_compares_with_what_was_not(lake, capsys, tmp_path):
    planted(lake)
    run, saved, out = Run(configured(), lake), tmp_path / "scores.parquet", tmp_path / "out"
    loaded = load(run.settings.benchmarks[0], lake, 0)
    cut = [item < "050" for item in loaded.labelled["item_id"].to_pylist()]
    scores = longer_answer([loaded]).drop_columns("truncated").append_column("truncated", pa.array(cut))
    pq.write_table(scores, saved)
    asked = BenchmarkRequest((str(saved),), against=("longer_answer",), out=out)
    assert benchmark_command.main(asked, run) == 0
    line = next(x for x in capsys.readouterr().out.splitlines() if "accuracy" in x)
    assert [c.strip() for c in line.split("│")[6:9]] == ["200", "0", "50"]
    assert (out / "benchmarks.png").read_bytes().startswith(b"\x89PNG")


def test_seeds_are_compared_in_pairs(lake, capsys, tmp_path):
    planted(lake)
    run = Run(configured(), lake)
    labelled = load(run.settings.benchmarks[0], lake, 0).labelled.select(["item_id", "candidate", "label"])

    def seeds(name, *right):
        for i, n in enumerate(right):
            rows = [{**r, "benchmark": "planted"} for r in labelled.to_pylist()]
            for r in rows:
                r["reward"] = float(r["label"] == (int(r["item_id"]) < n))
            pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"{name}{i}.parquet")
        return tuple(str(tmp_path / f"{name}{i}.parquet") for i in range(len(right)))

    a, b = seeds("a", 120, 124, 128), seeds("b", 100, 100, 106)  # of 200; gains .10, .12, .11: t = .11 / (.01 / sqrt 3)
    assert benchmark_command.main(BenchmarkRequest(a, against=b), run) == 0
    line = next(x for x in capsys.readouterr().out.splitlines() if "62.0 (2.0)" in x)
    assert [c.strip() for c in line.split("│")[3:-1]] == ["51.0 (1.7)", "+11.0", "3", "19.05", "0.0027", "0.0027"]
    assert benchmark_command.main(BenchmarkRequest(a, against=b[:1]), run) == 2
    assert "1 models against 3" in capsys.readouterr().err


def test_the_claims_command_prints_what_contradicts_a_claim(capsys):
    assert benchmark_command.claims() == 0
    out = capsys.readouterr().out
    assert "7.13c  false" in out
    assert "points 26.0" in out


def test_the_holdout_measures_agreement_with_people(lake):
    """On what chance drew: p4 is of role test too, but was retrieved as a neighbour of a gold error."""
    texts = {"conversation": [{"role": "user", "content": "why?"}], "chosen": "a long answer", "rejected": "short"}
    pairs = [{"pair_id": f"p{i}", **texts} for i in range(5)]
    put(lake, CLEAN_POOL, pairs, "b00")
    put(lake, ATTRIBUTES, [{"pair_id": "p0", "category": "math"}], "b00")
    gold = [
        {"pair_id": f"p{i}", "verified_order": "original" if i < 2 else "swapped", "role": "test"} for i in range(3)
    ]
    gold += [
        {"pair_id": "p3", "verified_order": "original", "role": "train"},
        {"pair_id": "p4", "verified_order": "original", "role": "test"},
    ]
    put(lake, GOLD, gold, "iter_00")
    whys = ["seed", "seed", "random", "seed", "retrieved"]
    batch = [{"pair_id": f"p{i}", "assigned_to": "people", "why": why} for i, why in enumerate(whys)]
    put(lake, ANNOTATION_BATCH, batch, "iter_00")
    loaded = holdout(lake)
    assert loaded.found == {"": {"math": 1, "other": 2}}
    table = results("longer_answer", [loaded], longer_answer([loaded]), 0).to_pylist()
    whole = next(r for r in table if r["subset"] == "")
    assert (whole["value"], whole["n"]) == (pytest.approx(2 / 3), 3)  # the third one, people turned round


def test_models_and_judges_stand_in_one_table_of_agreement_with_people(lake, tmp_path, capsys):
    """Three pairs that people decided; of four models each agrees on another share, the published rows beside them."""
    texts = {"conversation": [{"role": "user", "content": "why?"}], "chosen": "a long answer", "rejected": "short"}
    put(lake, CLEAN_POOL, [{"pair_id": f"p{i}", **texts} for i in range(3)], "b00")
    put(lake, GOLD, [{"pair_id": f"p{i}", "verified_order": "original", "role": "test"} for i in range(3)], "iter_00")
    put(
        lake,
        ANNOTATION_BATCH,
        [{"pair_id": f"p{i}", "assigned_to": "people", "why": "seed"} for i in range(3)],
        "iter_00",
    )
    rows = [{"benchmark": "holdout", "item_id": f"p{i}", "candidate": c, "reward": float(c == (i == 0))}
            for i in range(3) for c in (0, 1)]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "mine.parquet")
    request = BenchmarkRequest((str(tmp_path / "mine.parquet"), "longer_answer"), holdout=True, published=True)
    assert benchmark_command.main(request, Run(settings(), lake)) == 0
    said = capsys.readouterr().out.partition("agreement with people")[2]
    lines = [[c.strip() for c in x.strip("│┃").split("│")] for x in said.splitlines() if "│" in x]
    assert [(x[0].rpartition("/")[2], x[1], x[3]) for x in lines[:2]] == [
        ("longer_answer", "100.0", "3"), ("mine.parquet", "66.7", "3"),
    ]  # fmt: skip
    assert ["published: GPT-4o", "74.3", "-", "-"] in lines


def test_without_gold_for_it_there_is_no_holdout(lake):
    with pytest.raises(BenchmarkError, match="holdout: no items"):
        holdout(lake)


def test_plots_are_pictures(tmp_path, capsys):
    rows = [
        {"subset": "MATH", "metric": f"{kind}_{k:02d}", "value": k / 4, "low": k / 5, "high": k / 4}
        for kind in ("best_of", "ceiling")
        for k in (1, 2, 3)
    ]
    of_two = [{**r, "arm": arm, "subset": s} for r in rows for arm in "ab" for s in ("MATH", "GPQA", "")]
    one, two = benchmark_plots.curves(rows), benchmark_plots.curves(of_two)
    assert one.startswith(b"\x89PNG") and two.startswith(b"\x89PNG")
    widths = [int.from_bytes(drawn[16:20]) for drawn in (one, two)]
    assert widths[1] == 3 * widths[0]  # a panel a data set, and one of their mean
    assert benchmark_command.claims(tmp_path / "plots") == 0
    for name in ("pearson.png", "scatter.png", "pipeline.png", "training_curve.png", "bars.png", "best_of_32.png"):
        assert (tmp_path / "plots" / name).read_bytes().startswith(b"\x89PNG")


def test_the_sheet_names_every_benchmark_its_rule_for_ties_and_its_reference(capsys):
    assert benchmark_command.sheets() == 0
    out = capsys.readouterr().out
    assert all(s.title in out for s in SHEETS.values())
    assert "2,985" in out
