"""What stage 1 and stage 2 share: gold neighbours as examples, the panel's votes, its verdicts."""

import contextlib
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from assets.table_asset import Check
from curation.tables import (
    ATTRIBUTES,
    AUDIT_ATTRIBUTES,
    GOLD_VOTES,
    JUDGE_VOTES,
    JUDGE_WEIGHTS,
    OVERLAP_VERDICTS,
    PERSONAL_VERDICTS,
    RESPONSE_CHECKS,
    STAGE2_ATTRIBUTES,
    STAGE2_VOTES,
    Table,
)
from resources.lake import Lake, label
from resources.run import Run
from resources.settings import AttributeModel, Judge, Settings
from resources.stops import Stop
from sql import statement

if TYPE_CHECKING:
    import duckdb

    from resources.llm.bill import Bill
    from resources.retrieval.vectors import Index

Lost = dict[str, dict[str, int]]  # who -> how a request ended without an answer -> how many
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
def gold_index(run: Run, con: "duckdb.DuckDBPyConnection", upto: str) -> Generator["Index"]:
    """An index over the gold pairs that may serve as examples, up to an iteration (spec 3.08)."""

    rows = con.sql(statement("judges/gold_index"), params={"iteration": upto}).to_arrow_table()
    size = len(rows.column("vector")[0].as_py()) if rows.num_rows else 1
    yield run.vectors.index(run.lake, f"gold_{upto}_{run.partition}", rows.to_reader(), size)


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


def ask_panel(run: Run, targets: pa.Table, examples: pa.Table, table: Table) -> tuple[pa.Table, dict, dict]:
    """Every configured judge on every target, as rows of `table`; see `ask_in_parts`."""
    votes, shown, footer = ask_in_parts(run, lambda: [(targets, examples)], table)
    return pa.Table.from_batches(votes, JUDGE_VOTES.schema), shown, footer


def ask_in_parts(
    run: Run, parts: Callable[[], Iterable[tuple[pa.Table, pa.Table]]], table: Table
) -> tuple[Iterator[pa.RecordBatch], dict, dict]:
    """Every configured judge on targets that come in parts, so that only one part is in memory.

    Args:
        parts: gives the targets and their examples, from the beginning each time it is called; twice where a judge
            costs money, since the whole price is agreed on before the first call.
        table: under whose name the ledger keeps the calls.

    Returns:
        The votes; for the UI how many, what they were expected to cost and what they cost; and for the footer how many
        answers are missing. Both are complete when the votes have been read.

    Raises:
        Stop: nobody has agreed to the expected cost, or, while the votes are read, a judge could not go on or too many
            of its answers are missing. Where answers are only waited for, everything else has been asked first.
    """
    from resources.judges import ask
    from resources.llm.batch_calls import Pending

    name = label(table, run.partition)
    judges = run.judges.judges(run.settings, run.lake, name)
    paid = [b for b in judges if b.judge.backend not in ("simulated", "recorded")]
    bills = (b.estimate(*part) for part in parts() for b in paid) if paid else ()
    shown = {"pairs asked": 0} | agreed(run, bills, name)
    lost: Lost = {}

    def votes() -> Iterator[pa.RecordBatch]:
        pending, rows, micros, ends = {}, 0, 0, defaultdict(Counter)
        for targets, examples in parts():
            shown["pairs asked"] += targets.num_rows
            run.log(f"{', '.join(b.judge.name for b in judges)}: {targets.num_rows} pairs")
            stops = []
            for found in ask(judges, targets, examples):
                if isinstance(found, Stop):
                    stops.append(found)
                    continue
                made = found.select(JUDGE_VOTES.schema.names).cast(JUDGE_VOTES.schema)
                for judge, status in zip(made["judge"].to_pylist(), made["status"].to_pylist(), strict=True):
                    ends[judge][status] += 1
                rows, micros = rows + made.num_rows, micros + (pc.sum(made["cost_micros"]).as_py() or 0)
                yield from made.to_batches()
            if hard := [e for e in stops if not isinstance(e, Pending)]:
                raise hard[0] if len(hard) == 1 else type(hard[0])("\n".join(map(str, hard)))
            pending |= {str(e): True for e in stops}
        if pending:
            raise Pending("\n".join(pending))
        lost.update(whole_enough(run.lake, ends, {b.judge.name for b in judges if b.judge.accept_missing}))
        # more than a few answers that are not ok deserve a look at the judge's settings
        answers = ", ".join(
            f"{judge} {status} {n:,}" for judge, its in sorted(ends.items()) for status, n in sorted(its.items())
        )
        shown.update(
            {"votes": rows, "answers": answers} | ({"dollars": micros / 1e6} if "dollars expected" in shown else {})
        )

    return votes(), shown, {"missing": lost}


def whole_enough(lake: Lake, ends: Mapping[str, Mapping[str, int]], accepted: Collection[str]) -> Lost:
    """What is missing of answers that ended so (who -> status -> how many).

    Raises:
        Incomplete: too much, and nobody has accepted that by name; in the words of the server.
    """
    from resources.llm.policy import MISSING, Incomplete, incomplete

    short = [incomplete(its, who, _last_words(lake, who)) for who, its in ends.items() if who not in accepted]
    if said := [s for s in short if s]:
        raise Incomplete("\n".join(said))
    lost = {who: {s: n for s, n in sorted(its.items()) if s in MISSING} for who, its in ends.items()}
    return {who: its for who, its in sorted(lost.items()) if its}


def _last_words(lake: Lake, who: str) -> str:
    """What a server said last when it did not answer; '' where nobody was asked."""
    from resources.llm.call_store import exists, store

    if not exists(lake):
        return ""
    with store(lake) as calls:
        return calls.last_error(who)


def _name(called: Judge | AttributeModel) -> str:
    return called.label if isinstance(called, AttributeModel) else called.name


def asked_again(table: Table) -> Callable[[Settings, Lake, str | None], str | None]:
    """Why a partition of answers whose inputs are the same must be made again: some are missing, and nobody has accepted
    that by name. What was answered is stored and costs nothing."""

    def why(settings: Settings, lake: Lake, partition: str | None) -> str | None:
        lost = (lake.note(table, partition) or {}).get("missing", {})
        called = settings.attributes.models if "attributes" in table.name else settings.judges.judges
        asked = {_name(c) for c in called if not c.accept_missing}
        listed = [f"{sum(its.values()):,} of {who} ({', '.join(its)})" for who, its in lost.items() if who in asked]
        return f"answers are missing: {', '.join(listed)}" if listed else None

    return why


def missing_answers(settings: Settings, lake: Lake) -> tuple[list[str], int]:
    """A line a partition for every answer that is missing in the lake and what that changed, and how many of them nobody
    has accepted."""
    called = (*settings.judges.judges, *settings.attributes.models)
    accepted = {_name(c) for c in called if c.accept_missing}
    lines, open_ones = [], 0
    for table in (
        *(OVERLAP_VERDICTS, PERSONAL_VERDICTS, ATTRIBUTES, RESPONSE_CHECKS, JUDGE_VOTES, GOLD_VOTES),
        *(AUDIT_ATTRIBUTES, STAGE2_ATTRIBUTES, STAGE2_VOTES),
    ):
        for key in settings.partition_keys(table.partition) if table.partition else [None]:
            lost = (lake.note(table, key) or {}).get("missing", {})
            for who, its in lost.items():
                listed = ", ".join(f"{n:,} {status}" for status, n in its.items())
                mark = "accepted" if who in accepted else "the next run asks again"
                lines.append(f"{label(table, key)}: {who}: {listed} ({mark})")
                open_ones += 0 if who in accepted else sum(its.values())
    if lines:
        with lake.connect() as con:
            for verdicts, n in con.execute(statement("judges/undecided_for_want_of_votes")).fetchall():
                if n:
                    lines.append(f"{verdicts}: {n:,} pairs have no verdict for want of these votes")
    return lines, open_ones


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
    if own := [(j.name, source) for j in judges.judges for source in j.labelled]:
        con.register("votes", votes)
        names, sources = map(list, zip(*own, strict=True))
        told = {"judges": names, "sources": sources, "quorum": judges.quorum}
        votes = con.sql(statement("judges/by_others"), params=told).to_arrow_table()
    rows = aggregate(votes, judges.quorum, weights, judges.sure)
    return rows, JUDGE_WEIGHTS.schema.empty_table() if weights is None else weights


def gold_votes_upto(con: "duckdb.DuckDBPyConnection", upto: str) -> tuple[pa.Table, pa.Table]:
    """The panel's votes on gold up to an iteration, and (pair_id, order) of the pairs with at least one answer."""
    con.sql(statement("judges/measured_votes"), params={"iteration": upto}).create("measured")
    votes = con.sql("FROM measured ORDER BY pair_id, judge, replicate")
    gold = con.sql(statement("judges/measured_gold"))
    return votes.to_arrow_table(), gold.to_arrow_table()
