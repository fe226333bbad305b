"""What stage 1 and stage 2 share: gold neighbours as examples, the panel's votes, its verdicts."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import dagster as dg
import pyarrow as pa
import pyarrow.compute

from assets.table_asset import Check
from curation.tables import JUDGE_VOTES, JUDGE_WEIGHTS, Table
from resources.lake import label
from resources.run import Run
from sql import statement

if TYPE_CHECKING:
    import duckdb

    from resources.llm.bill import Bill
    from resources.retrieval.vectors import Index

LEAST_GOLD = 30  # pairs with a vote below which no weights are fitted

EXAMPLES = pa.schema(
    [
        ("target_pair", pa.string()),
        ("rank", pa.int64()),
        ("gold_pair", pa.string()),
        ("similarity", pa.float64()),
    ]
)


# What may be an example in a prompt, checked on the votes themselves (spec 3.08, O-06, O-07).
EXAMPLE_CHECKS = (
    Check(
        "examples_of_their_role",
        statement("checks/examples_of_their_role"),
        "judges see gold of role few_shot as examples and nothing else",
    ),
    Check(
        "never_its_own_example",
        statement("checks/never_its_own_example"),
        "a pair, its swap and near-duplicates of its conversation are no examples for it",
    ),
)
GOLD_IS_NOT_JUDGED = Check(
    "gold_is_not_judged", statement("checks/gold_is_not_judged"), "judges are not asked about people's pairs"
)


@contextlib.contextmanager
def gold_index(run: Run, con: "duckdb.DuckDBPyConnection", upto: str) -> Iterator["Index"]:
    """An index over the gold pairs that may serve as examples, up to an iteration (spec 3.08)."""
    from resources.retrieval.vectors import Index

    rows = con.sql(statement("judges/gold_index"), params={"iteration": upto}).to_arrow_table()
    size = len(rows.column("vector")[0].as_py()) if rows.num_rows else 1
    yield Index(run.lake, f"gold_{upto}_{run.partition}", rows.to_reader(), size)


def examples_for(run: Run, con: "duckdb.DuckDBPyConnection", targets: pa.Table, index: "Index") -> pa.Table:
    """Target -> gold: up to `judges.examples` neighbours a target, in their human order, with the attributes that people
    left.

    `targets` may carry a column `k` that lowers the number (spec 3.07); never the target's own cluster.
    """
    from resources.retrieval.embedder import embed

    limit = run.settings.judges.examples
    rows, done = [], 0
    asked = targets.column("k").to_pylist() if "k" in targets.column_names else [limit] * targets.num_rows
    names, clusters = targets.column("pair_id").to_pylist(), targets.column("cluster_id").to_pylist()
    for batch in embed(run.settings.embedding, targets.to_batches(max_chunksize=1_000)):
        for vector in batch.column("vector").to_pylist():
            near = index.nearest(vector, min(asked[done], limit), clusters[done])
            rows += [
                {"target_pair": names[done], "rank": rank, "gold_pair": pair, "similarity": similarity}
                for rank, (pair, similarity) in enumerate(near, start=1)
            ]
            done += 1
    con.register("neighbours", pa.Table.from_pylist(rows, EXAMPLES))
    return con.sql(statement("judges/examples")).to_arrow_table()


def ask_panel(run: Run, targets: pa.Table, examples: pa.Table, table: Table) -> tuple[pa.Table, dict]:
    """Every configured judge on every target, as rows of `table`; see `ask_in_parts`."""
    votes, shown = ask_in_parts(run, lambda: [(targets, examples)], table)
    return pa.Table.from_batches(votes, JUDGE_VOTES.schema), shown


def ask_in_parts(
    run: Run, parts: Callable[[], Iterable[tuple[pa.Table, pa.Table]]], table: Table
) -> tuple[Iterator[pa.RecordBatch], dict]:
    """Every configured judge on targets that come in parts, so that only one part is in memory.

    Args:
        parts: gives the targets and their examples, from the beginning each time it is called; twice where a judge
            costs money, since the whole price is agreed on before the first call.
        table: under whose name the ledger keeps the calls.

    Returns:
        The votes, and for the UI how many, what they were expected to cost and what they cost, complete when the votes
        have been read.

    Raises:
        Stop: nobody has agreed to the expected cost, or, while the votes are read, a judge could not go on. Where
            answers are only waited for, everything else has been asked first.
    """
    from resources.judges import panel
    from resources.llm.batch_calls import Pending

    name = label(table, run.partition)
    judges = panel(run.settings, run.lake, name)
    paid = [b for b in judges if b.judge.backend not in ("simulated", "recorded")]
    bills = (b.estimate(*part) for part in parts() for b in paid) if paid else ()
    shown = {"pairs asked": 0} | agreed(run, bills, name)

    def votes() -> Iterator[pa.RecordBatch]:
        pending, rows, micros, ends = {}, 0, 0, Counter()
        for targets, examples in parts():
            shown["pairs asked"] += targets.num_rows
            for backend in judges:
                run.log(f"{backend.judge.name}: {targets.num_rows} pairs")
                try:
                    made = backend.vote(targets, examples).select(JUDGE_VOTES.schema.names).cast(JUDGE_VOTES.schema)
                except Pending as e:
                    pending[str(e)] = True
                    continue
                ends.update(zip(made["judge"].to_pylist(), made["status"].to_pylist(), strict=True))
                rows, micros = rows + made.num_rows, micros + (pa.compute.sum(made["cost_micros"]).as_py() or 0)
                yield from made.to_batches()
        if pending:
            raise Pending("\n".join(pending))
        # more than a few answers that are not ok deserve a look at the judge's settings
        answers = ", ".join(f"{judge} {status} {n:,}" for (judge, status), n in sorted(ends.items()))
        shown.update(
            {"votes": rows, "answers": answers} | ({"dollars": micros / 1e6} if "dollars expected" in shown else {})
        )

    return votes(), shown


def agreed(run: Run, bills: "Iterable[Bill | None]", name: str) -> dict:
    """What a step's calls are expected to cost, for the UI, once it is agreed that they may be made.

    Raises:
        Unconfirmed: see `resources.judges.estimate.agree`.
    """
    from resources.llm.bill import TAG, agree

    paid = [b for b in bills if b is not None]
    if not paid:
        return {}
    for b in paid:
        run.log(
            f"{b.who}: {b.requests:,} calls, ${b.expected_micros / 1e6:,.2f} expected ({b.basis}), {b.stored:,} stored"
        )
    tag = run.context.run.tags.get(TAG) if run.context is not None else None
    agree(paid, name, run.settings, run.lake, tag)
    return {
        "dollars expected": sum(b.expected_micros for b in paid) / 1e6,
        "dollars at most": sum(b.most_micros for b in paid) / 1e6,
    }


def verdicts_of(run: Run, con: "duckdb.DuckDBPyConnection", votes: pa.Table, upto: str) -> tuple[pa.Table, pa.Table]:
    """VERDICTS rows from JUDGE_VOTES rows, and the weights they rest on; none where heads are counted.

    Weights by stacking are fitted on the gold of iterations up to `upto`.

    Raises:
        dagster.Failure: too few gold pairs to fit weights on.
    """
    from curation import vote_models as panel
    from curation.verdicts import aggregate

    weights = None
    match run.settings.judges.aggregation:
        case "dawid_skene":
            weights = panel.dawid_skene_weights(votes)
        case "stacking":
            labelled, gold = gold_votes_upto(con, upto)
            if gold.num_rows < LEAST_GOLD:
                raise dg.Failure(
                    f"aggregation 'stacking' has {gold.num_rows} gold pairs with a vote up to {upto} and needs "
                    f"{LEAST_GOLD}: raise judges.measure or stage1.seed_people, or count heads (aggregation = "
                    "'majority')",
                    allow_retries=False,
                )
            weights = panel.stacking_weights(labelled, gold)
    judges = run.settings.judges
    rows = aggregate(votes, judges.quorum, weights, judges.sure)
    return rows, JUDGE_WEIGHTS.schema.empty_table() if weights is None else weights


def gold_votes_upto(con: "duckdb.DuckDBPyConnection", upto: str) -> tuple[pa.Table, pa.Table]:
    """The panel's votes on gold up to an iteration, and (pair_id, order) of the pairs with at least one answer."""
    con.sql(statement("judges/measured_votes"), params={"iteration": upto}).create("measured")
    votes = con.sql("FROM measured ORDER BY pair_id, judge, replicate")
    gold = con.sql(statement("judges/measured_gold"))
    return votes.to_arrow_table(), gold.to_arrow_table()
