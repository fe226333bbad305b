"""What the final models are worth: prompts for decontamination, rewards of all responses, results, baselines.

Results are computed from the table of rewards, so that a changed rule needs no model.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from curation.benchmarks.evaluate import evaluate
from curation.benchmarks.items import attach
from resources.tables import (
    BENCHMARK_BASELINES,
    BENCHMARK_PROMPTS,
    BENCHMARK_RESULTS,
    BENCHMARK_SCORES,
    FINAL_MODEL,
)

from .table_asset import Check, Rows, Run, table_asset

if TYPE_CHECKING:
    import duckdb

    from resources.benchmarks import Loaded

LONGER = "longer_answer"

CLEANED_AGAINST = Check(
    "pool_cleaned_against_it",
    "SELECT benchmark, item_id FROM new ANTI JOIN benchmark_prompts USING (benchmark, item_id)",
    "No response was scored whose prompt the pool was not cleaned against.",
)
IN_RANGE = Check(
    "values_in_range",
    'SELECT * FROM new WHERE value NOT BETWEEN -0.02 AND 1.02 OR low > high OR ties > n OR truncated > n OR n > "of"',
    "Values are shares (RewardBench 2's Ties may pass 0 and 1 by a hundredth), intervals are ordered, counts fit.",
)


def configured(run: Run) -> list["Loaded"]:
    """Every configured benchmark, as sampled."""
    from resources.benchmarks import load

    return [load(b, run.lake, run.settings.seed) for b in run.settings.benchmarks]


@table_asset(
    BENCHMARK_SCORES,
    reads=[FINAL_MODEL, BENCHMARK_PROMPTS],
    settings=("benchmarks", "seed"),
    group="evaluation",
    kinds={"pytorch"},
    checks={BENCHMARK_SCORES: [CLEANED_AGAINST]},
)
def benchmark_scores(run: Run):
    """Each different (conversation, response) of all benchmarks is scored once and its reward given to every candidate
    that shows it."""
    from resources.trainer import score_items

    benchmarks = configured(run)
    with run.lake.connect() as con:
        found = con.execute("SELECT path FROM final_reward_model WHERE model = ?", [run.partition]).fetchall()
        texts = candidates_of(con, benchmarks)
        unique = con.sql("SELECT item_id, any_value(conversation) AS conversation, any_value(response) AS response "
                         "FROM candidates GROUP BY item_id ORDER BY item_id")  # fmt: skip
        con.register("rewards", score_items(run, found[0][0], unique))
        scores = con.sql(
            "SELECT benchmark, candidates.benchmark_item AS item_id, candidate, reward, unscored "
            "FROM candidates JOIN rewards USING (item_id)"
        )
        yield Rows(BENCHMARK_SCORES, scores, {"responses": texts, "scored": len(unique)})


def candidates_of(con: "duckdb.DuckDBPyConnection", benchmarks: list["Loaded"]) -> int:
    """Create the view `candidates` of all benchmarks; `item_id` is a hash of what a model reads. Returns its rows."""
    for number, b in enumerate(benchmarks):
        named = b.candidates.append_column("benchmark", pa.array([b.name] * b.candidates.num_rows, pa.string()))
        con.register(f"benchmark_{number}", named)
    parts = " UNION ALL ".join(f"SELECT * FROM benchmark_{n}" for n in range(len(benchmarks)))
    con.execute(f"""
        CREATE TEMP TABLE candidates AS
        SELECT benchmark, item_id AS benchmark_item, candidate, conversation, response,
               md5(to_json([to_json(conversation), to_json(response)])) AS item_id
        FROM ({parts})
    """)
    return con.sql("SELECT count(*) FROM candidates").fetchall()[0][0]


@table_asset(
    BENCHMARK_RESULTS,
    reads=[BENCHMARK_SCORES],
    settings=("benchmarks", "seed"),
    group="evaluation",
    checks={BENCHMARK_RESULTS: [IN_RANGE]},
)
def benchmark_results(run: Run):
    """Every number of every benchmark, its 95 % interval by bootstrap over items, its ties and what is missing."""
    with run.lake.connect() as con:
        scores = con.sql(
            "SELECT benchmark, item_id, candidate, reward FROM benchmark_scores WHERE model = $model",
            params={"model": run.partition},
        ).to_arrow_table()
    loaded = configured(run)
    of = {b.name: scores.filter(pc.equal(scores["benchmark"], b.name)).drop_columns("benchmark") for b in loaded}
    table = results(run.partition, loaded, of, run.settings.seed)
    yield Rows(BENCHMARK_RESULTS, table, shown(table))


@table_asset(
    BENCHMARK_BASELINES,
    reads=[BENCHMARK_PROMPTS],
    settings=("benchmarks", "seed"),
    group="evaluation",
    checks={BENCHMARK_BASELINES: [IN_RANGE]},
)
def benchmark_baselines(run: Run):
    """The same benchmarks decided by the number of characters: what a model must beat to have learned more."""
    loaded = configured(run)
    table = results(LONGER, loaded, {b.name: longer_answer(b) for b in loaded}, run.settings.seed)
    yield Rows(BENCHMARK_BASELINES, table, shown(table))


def longer_answer(benchmark: "Loaded") -> pa.Table:
    """Rewards of a benchmark's candidates: their number of characters."""
    length = pc.cast(pc.utf8_length(benchmark.candidates["response"]), pa.float64())
    return benchmark.candidates.select(["item_id", "candidate"]).append_column("reward", length)


def results(arm: str, loaded: list["Loaded"], rewards: dict[str, pa.Table], seed: int) -> pa.Table:
    """Rows of `benchmark_results` for one model; `rewards` holds (item_id, candidate, reward) by benchmark."""
    parts = [BENCHMARK_RESULTS.schema.empty_table()]
    for b in loaded:
        scored = attach(b.name, b.labelled, rewards[b.name])
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

    from .benchmark_plots import bars, embedded

    rows = list(headline(table))
    if not rows:
        return {"benchmarks": 0}
    lines = [
        "| benchmark | value | 95 % interval | items | ties | unscored | missing |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        lines.append(
            f"| {r['benchmark']} | {r['value']:.3f} | {r['low']:.3f} to {r['high']:.3f} | {r['n']} of {r['of']} "
            f"| {r['ties']} | {r['truncated']} | {', '.join(r['missing'])} |"
        )
    return {"results": dg.MetadataValue.md("\n".join(lines)), "plot": dg.MetadataValue.md(embedded(bars(rows)))}
