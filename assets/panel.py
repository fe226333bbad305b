"""The panel of judges measured on pairs that people decided: its votes on gold, and its report cards."""

from collections.abc import Iterator

from curation.gold_roles import OPEN, sql_list
from resources.tables import (
    ATTRIBUTES,
    CLEAN_POOL,
    EMBEDDINGS,
    GOLD,
    GOLD_VOTES,
)
from sql import statement

from .judging import ask_panel, example_checks, examples_for, gold_index
from .stage1 import GOLD_SO_FAR
from .table_asset import Check, Rows, Run, table_asset


@table_asset(
    GOLD_VOTES,
    reads=[CLEAN_POOL, ATTRIBUTES, EMBEDDINGS],
    upto=[GOLD],
    settings=("judges", "seed"),
    group="stage1",
    kinds={"openai", "lancedb"},
    pool="llm",
    checks={
        GOLD_VOTES: [
            *example_checks(GOLD_SO_FAR),
            Check(
                "open_gold_only",
                f"SELECT pair_id FROM new WHERE pair_id NOT IN (SELECT pair_id FROM gold WHERE role IN {sql_list(OPEN)})",
                "the panel is measured on gold that the loop may look at: no calibration, no test share",
            ),
        ]
    },
)
def gold_votes(run: Run) -> Iterator[Rows]:
    """Up to `judges.measure` gold pairs an iteration, drawn by hash, asked like any other pair; each sees the rest of
    the gold as examples."""
    s = run.settings
    with run.lake.connect() as con:
        targets = con.sql(
            statement("gold_texts").format(roles=sql_list(OPEN)),
            params={"iteration": run.partition, "seed": str(s.seed), "n": s.judges.measure},
        ).to_arrow_table()
        with gold_index(run, con, upto=run.partition) as index:
            examples = examples_for(run, con, targets, index)
        votes = ask_panel(run, targets, examples, GOLD_VOTES)
    yield Rows(GOLD_VOTES, votes, {"pairs asked": targets.num_rows, "votes": votes.num_rows})
