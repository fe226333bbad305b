"""What the final models are worth: prompts for decontamination, rewards of all responses, results, baselines.

Results are computed from the table of rewards, so that a changed rule needs no model.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from assets.table_asset import Check, Rows, table_asset
from curation.tables import (
    BENCHMARK_BASELINES,
    BENCHMARK_PROMPTS,
    BENCHMARK_RESULTS,
    BENCHMARK_SCORES,
    FINAL_REWARD_MODEL,
)
from evaluation.evaluate import evaluate
from evaluation.items import BenchmarkError, attach
from resources.lake import Lake
from resources.run import Run
from resources.settings import Settings
from sql import statement

if TYPE_CHECKING:
    from resources.benchmarks.loader import Loaded

CLEANED_AGAINST = Check(
    "pool_cleaned_against_it",
    statement("checks/cleaned_against"),
    "No response was scored whose prompt the pool was not cleaned against.",
)
IN_RANGE = Check(
    "values_in_range",
    statement("checks/values_in_range"),
    "Values are shares (RewardBench 2's Ties may pass 0 and 1 by a hundredth), intervals are ordered, counts fit.",
)


def as_they_are(settings: Settings, lake: Lake, partition: str | None = None) -> str:
    """What the configured benchmarks are read from, or that of a partition of `benchmark_results`: the files' content."""
    from resources.benchmarks.loader import fingerprint

    only = partition.split("|")[0] if partition and "|" in partition else None
    found = []
    for benchmark in (b for b in settings.benchmarks if only in (None, b.name)):
        try:
            found.append(f"{benchmark.name} {fingerprint(benchmark, lake)}")
        except BenchmarkError:  # the step that reads it says what is wrong
            found.append(f"{benchmark.name} -")
    return ", ".join(found)


def configured(run: Run, only: str | None = None) -> list["Loaded"]:
    """Every configured benchmark, or one of them, as sampled."""
    from resources.benchmarks.loader import load

    chosen = [b for b in run.settings.benchmarks if only in (None, b.name)]
    return [load(b, run.lake, run.settings.seed) for b in chosen]


@table_asset(
    BENCHMARK_SCORES,
    reads=[FINAL_REWARD_MODEL, BENCHMARK_PROMPTS],
    settings=("benchmarks", "evaluation", "training", "seed"),
    external_version=as_they_are,
    group="evaluation",
    kinds={"pytorch"},
    checks={BENCHMARK_SCORES: [CLEANED_AGAINST]},
)
def benchmark_scores(run: Run):
    """Each different (conversation, response) of all benchmarks is scored once and its reward given to every candidate
    that shows it."""
    from resources.benchmarks.rewards import model_scores

    with run.lake.connect() as con:
        query = "SELECT path FROM final_reward_model WHERE model = $model"
        rows = con.execute(query, parameters={"model": run.partition}).fetchall()
    loaded = configured(run)
    scores = model_scores(run, rows[0][0], loaded) if loaded else BENCHMARK_SCORES.schema.empty_table()
    yield Rows(BENCHMARK_SCORES, scores, {"benchmarks": len(loaded)})


@table_asset(
    BENCHMARK_RESULTS,
    reads=[BENCHMARK_SCORES],
    settings=("benchmarks", "seed"),
    external_version=as_they_are,
    group="evaluation",
    checks={BENCHMARK_RESULTS: [IN_RANGE]},
)
def benchmark_results(run: Run):
    """Every number of every benchmark, its 95 % interval by bootstrap over items, its ties and what is missing."""
    benchmark, model = run.key.split("|")
    with run.lake.connect() as con:
        scores = con.sql(
            "SELECT * EXCLUDE (model) FROM benchmark_scores WHERE model = $model", params={"model": model}
        ).to_arrow_table()
    table = results(model, configured(run, only=benchmark), scores, run.settings.seed)
    yield Rows(BENCHMARK_RESULTS, table, shown(table))


@table_asset(
    BENCHMARK_BASELINES,
    reads=[BENCHMARK_PROMPTS],
    settings=("benchmarks", "seed"),
    external_version=as_they_are,
    group="evaluation",
    checks={BENCHMARK_BASELINES: [IN_RANGE]},
)
def benchmark_baselines(run: Run):
    """The same benchmarks decided by the number of characters: what a model must beat to have learned more."""
    from resources.benchmarks.rewards import LONGER, longer_answer

    loaded = configured(run)
    table = results(LONGER, loaded, longer_answer(loaded), run.settings.seed)
    yield Rows(BENCHMARK_BASELINES, table, shown(table))


def results(arm: str, loaded: list["Loaded"], scores: pa.Table, seed: int) -> pa.Table:
    """Rows of `benchmark_results` for one model, from its rows of `benchmark_scores`."""
    from resources.benchmarks.rewards import of

    parts = [BENCHMARK_RESULTS.schema.empty_table()]
    for b in loaded:
        scored = attach(b.name, b.labelled, of(scores, b.name))
        part = evaluate(b.name, b.sheet, scored, b.found, seed=seed)
        part = part.append_column("arm", pa.array([arm] * part.num_rows, pa.string()))
        parts.append(part.select(BENCHMARK_RESULTS.schema.names).cast(BENCHMARK_RESULTS.schema))
    return pa.concat_tables(parts)


def headline(table: pa.Table) -> Iterator[dict]:
    """The one row of each (arm, benchmark) that stands for it: over the whole, else over what is at hand."""
    best: dict[tuple[str, str], dict] = {}
    for row in table.to_pylist():
        if row["subset"] == "" and row["metric"] in ("accuracy", "accuracy_at_hand") and row["value"] is not None:
            best.setdefault((row["arm"], row["benchmark"]), row)
    yield from best.values()


def shown(table: pa.Table) -> dict:
    """Metadata of the UI: the headline of each benchmark and a plot of it."""
    import dagster as dg

    from report.benchmark_plots import bars, curves, embedded

    def drawn(draw: Callable[[list[dict]], bytes], rows: list[dict]) -> dg.MetadataValue:
        return dg.MetadataValue.md(embedded(draw(rows)))

    rows = list(headline(table))
    if not rows:
        return {"benchmarks": 0}
    lines = [
        "| benchmark | value | 95 % interval | items | ties | over-long | missing |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        lines.append(
            f"| {r['benchmark']} | {r['value']:.3f} | {r['low']:.3f} to {r['high']:.3f} | {r['n']} of {r['out_of']} "
            f"| {r['ties']} | {r['truncated']} | {', '.join(r['missing'])} |"
        )
    found = {"results": dg.MetadataValue.md("\n".join(lines)), "plot": partial(drawn, bars, rows)}
    ladders = [r for r in table.to_pylist() if r["metric"].startswith(("best_of_", "ceiling_"))]
    if ladders:
        found["best_of_k"] = partial(drawn, curves, ladders)
    return found
