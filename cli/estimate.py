"""What the paid steps that are still to be made are expected to cost, before any of them runs."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rich.table import Table as Grid

from cli.terminal import Console
from curation.attributes import heuristic
from curation.tables import (
    ANNOTATION_BATCH,
    ATTRIBUTES,
    CLEAN_POOL,
    GOLD_VOTES,
    HUMAN_LABELS,
    JUDGE_VOTES,
    OVERLAP_VERDICTS,
    PERSONAL_VERDICTS,
    RESPONSE_CHECKS,
    ROUTED,
    STAGE2_ATTRIBUTES,
    STAGE2_VOTES,
    UNGUIDED_VOTES,
    Table,
)
from resources.lake import Lake, label
from resources.settings import Settings
from sql import statement

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from resources.llm.bill import Bill

ROUTED_SHARE = 0.5  # of stage 2's pairs, before the models have scored them
STAND_IN = 50  # pairs whose prompts are built


@dataclass(frozen=True)
class PlannedCost:
    """One paid step of one partition by one model, or by people."""

    step: str
    who: str
    pairs: int
    requests: int
    dollars: float
    most: float
    known: str  # how the number of pairs is known
    basis: str


def show(settings: Settings, lake: Lake) -> None:
    """Print a line a step and model, the totals, and where they stand against the budget."""
    from resources.llm.call_store import store

    console = Console()
    if not all(lake.note(CLEAN_POOL, key) for key in settings.partition_keys("bucket")):
        console.print(
            "There is no clean pool yet, and what calls cost depends on its texts. First: assay run"
            f"{' world' if settings.world else ''} pool. `assay check` builds prompts from the sources as they are."
        )
        return
    lines = list(plan(settings, lake))
    grid = Grid(title="Still to be paid", title_justify="left")
    for name in ("step", "who", "pairs", "calls", "expected $", "at most $", "pairs are"):
        grid.add_column(name, overflow="fold")
    for x in lines:
        grid.add_row(x.step, x.who, f"{x.pairs:,}", f"{x.requests:,}", f"{x.dollars:,.4f}", f"{x.most:,.4f}", x.known)
    console.print(grid)
    if any(x.known == "assumed" for x in lines):
        console.print(
            f"assumed: {ROUTED_SHARE:.0%} of stage 2's pairs go to judges; counted once the models have scored"
        )
    for basis in dict.fromkeys(f"{x.who}: {x.basis}" for x in lines if x.basis):
        console.print(basis, markup=False, soft_wrap=True)
    with store(lake) as calls:
        spent = calls.committed() / 1e6
    expected, most = (sum(getattr(x, k) for x in lines if x.requests) for k in ("dollars", "most"))
    limit = settings.budget.confirm_above
    console.print(
        f"Calls: ${spent:,.4f} spent or reserved, ${expected:,.4f} more expected, at most ${most:,.4f} without retries; "
        f"budget.dollars = {settings.budget.dollars:g}"
        + ("" if limit is None else f", asked above budget.confirm_above = {limit:g}")
        + ".",
        soft_wrap=True,
    )
    if spent + expected > settings.budget.dollars:
        console.print("The budget would stop the run; what was answered until then is kept.", style="yellow")


def plan(settings: Settings, lake: Lake) -> Iterator[PlannedCost]:
    """What is still to be paid. Prompts are made from real pairs; where attributes or gold are not there yet, keywords
    and other pairs stand in for them."""
    from resources.benchmarks.rewards import NO_EXAMPLES
    from resources.judges import panel
    from resources.judges.attribute_models import labeller
    from resources.judges.response_checks import checker

    with lake.connect() as con:
        targets, examples = _stand_ins(con, settings)
        yield from _second_looks(settings, lake, targets)
        for table, key, pairs, known in _pairs(con, settings, lake):
            name = label(table, key)
            bills: list[Bill] = []
            if table is HUMAN_LABELS:
                people = settings.people
                if people.backend != "recorded":
                    each = people.cost_per_label * people.annotators
                    simulated = " (simulated)" if people.backend == "simulated" else ""
                    yield PlannedCost(name, "people" + simulated, pairs, 0, pairs * each, pairs * each, known, "")
                continue
            if not pairs:
                continue
            if table is RESPONSE_CHECKS:
                made_one = checker(settings, lake, name)
                asked = made_one.estimate(targets) if made_one else None
                bills += [asked.times(pairs, targets.num_rows)] if asked is not None else []
            elif table in (ATTRIBUTES, STAGE2_ATTRIBUTES):
                bills += labeller(settings, lake, name).estimate(_some(con, table, key), pairs)
            else:
                shown = NO_EXAMPLES if table is UNGUIDED_VOTES else examples
                made = [b.estimate(targets, shown) for b in panel(settings, lake, name)]
                bills += [b.times(pairs, targets.num_rows) for b in made if b is not None]
            for b in bills:
                dollars, most = b.expected_micros / 1e6, b.most_micros / 1e6
                yield PlannedCost(name, b.who, pairs, b.requests, dollars, most, known, b.basis)


def _second_looks(settings: Settings, lake: Lake, targets: "pa.Table") -> Iterator[PlannedCost]:
    """What a judge would look at, at most, with whole pairs in the place of what is found."""
    from resources.judges.second_looker import Suspect, looker

    looks = settings.second_looks
    lengths = looks.longest - looks.shortest + 1
    planned: tuple[tuple[Literal["overlap", "personal"], Table, int], ...] = (
        ("overlap", OVERLAP_VERDICTS, looks.flags * lengths if looks.overlap else 0),
        ("personal", PERSONAL_VERDICTS, 2 * looks.findings if settings.personal.backend != "none" else 0),
    )
    for kind, table, n in planned:
        name = label(table, None)
        made = looker(settings, lake, kind, name)
        if made is None or not n or lake.note(table, None) is not None:
            continue
        some = [Suspect({"pair": f"{r['conversation']}{r['chosen']}{r['rejected']}"}, 0) for r in targets.to_pylist()]
        if some and (one := made.estimate(some)) is not None:
            b = one.times(n, len(some))
            dollars, most = b.expected_micros / 1e6, b.most_micros / 1e6
            yield PlannedCost(name, b.who, n, b.requests, dollars, most, "at most", b.basis)


def _pairs(con: "duckdb.DuckDBPyConnection", settings: Settings, lake: Lake) -> Iterator[tuple[Table, str, int, str]]:
    """(table, partition, pairs, how that is known) of every paid step that is not made."""
    s = settings.stage1
    people = round(s.batch * s.people_share)

    def count(query: str, **values: str) -> int:
        return con.execute(query, parameters=values).fetchall()[0][0]

    def open_partitions(table: Table) -> Iterator[str]:
        return (k for k in settings.partition_keys(table.partition or "") if lake.note(table, k) is None)

    for key in open_partitions(ATTRIBUTES):
        counted = "SELECT count(*) FROM clean_pool WHERE bucket = $bucket AND stage IN ('seed', 'stage1')"
        yield ATTRIBUTES, key, count(counted, bucket=key), "counted"
    for i, key in enumerate(settings.partition_keys("iteration")):
        planned = (
            {"people": s.seed_people, "judges": s.seed_judges}
            if not i
            else {"people": people, "judges": s.batch - people}
        )
        known = "configured"
        if lake.note(ANNOTATION_BATCH, key) is not None:
            at_desk = "SELECT count(*) FROM annotation_batch WHERE iteration = $iteration AND assigned_to = $desk"
            planned, known = {desk: count(at_desk, iteration=key, desk=desk) for desk in planned}, "counted"
        objective = planned["people"]
        if known == "counted":
            [(objective,)] = con.execute(
                "SELECT count(*) FROM batch_texts WHERE iteration = $iteration AND assigned_to = 'people' AND objectivity ="
                " 'objective'",
                parameters={"iteration": key},
            ).fetchall()
        for table, n in (
            (RESPONSE_CHECKS, objective if settings.people.checked_by else 0),
            (HUMAN_LABELS, planned["people"]),
            (JUDGE_VOTES, planned["judges"]),
            (GOLD_VOTES, min(planned["people"], settings.judges.measure)),
            (UNGUIDED_VOTES, sum(planned.values()) if settings.asks_unguided else 0),
        ):
            if lake.note(table, key) is None:
                at_most = table is GOLD_VOTES or (table is RESPONSE_CHECKS and known != "counted")
                yield table, key, n, "at most" if at_most else known
    for table in (STAGE2_ATTRIBUTES, STAGE2_VOTES):
        for key in open_partitions(table):
            if lake.note(ROUTED, key) is not None:
                yield table, key, count("SELECT count(*) FROM routed WHERE bucket = $bucket", bucket=key), "counted"
            else:
                n = count("SELECT count(*) FROM clean_pool WHERE bucket = $bucket AND stage = 'stage2'", bucket=key)
                yield table, key, round(n * ROUTED_SHARE), "assumed"


def _some(con: "duckdb.DuckDBPyConnection", table: Table, key: str) -> "pa.RecordBatch":
    """Some of the pairs of a bucket that a step attributes."""
    stages = ["seed", "stage1"] if table is ATTRIBUTES else ["seed", "stage1", "stage2"]
    rows = con.sql(statement("estimate/some_pairs"), params={"bucket": key, "stages": stages, "n": STAND_IN})
    return rows.to_arrow_table().combine_chunks().to_batches()[0]


def _stand_ins(con: "duckdb.DuckDBPyConnection", settings: Settings) -> tuple["pa.Table", "pa.Table"]:
    """Targets and examples as judges get them, of real pairs drawn by hash."""
    n = STAND_IN + settings.judges.examples
    rows = con.sql(statement("estimate/drawn_pairs"), params={"seed": str(settings.seed), "n": n})
    return stand_ins(rows.to_arrow_table().to_pylist(), settings)


def stand_ins(rows: list[dict], settings: Settings) -> tuple["pa.Table", "pa.Table"]:
    """Targets and examples as judges get them: attributes by rules, and other pairs for gold.

    Args:
        rows: pair_id, comparison_id, conversation, chosen and rejected of some pairs.
    """
    import pyarrow as pa

    rows = [r | heuristic(r["conversation"]) for r in rows]
    targets, near = rows[:STAND_IN], rows[STAND_IN:] or rows
    examples = [
        e | {"target_pair": t["pair_id"], "gold_pair": e["pair_id"], "rank": rank, "similarity": 0.0}
        for t in targets
        for rank, e in enumerate(near[: settings.judges.examples], 1)
    ]
    columns = ("target_pair", "rank")
    empty = pa.table({c: pa.array([], t) for c, t in zip(columns, (pa.string(), pa.int64()), strict=True)})
    return pa.Table.from_pylist(targets), pa.Table.from_pylist(examples) if examples else empty
