"""The panel of judges measured on pairs that people decided: its votes on gold, and its report cards."""

from collections.abc import Iterator
from functools import partial

import pyarrow as pa

from assets.judging import EXAMPLE_CHECKS, LEAST_GOLD, ask_panel, asked_again, examples_for, gold_index
from assets.table_asset import Check, Rows, table_asset
from curation.tables import (
    ATTRIBUTES,
    CLEAN_POOL,
    EDITED_ATTRIBUTES,
    EMBEDDINGS,
    GOLD,
    GOLD_VOTES,
    HUMAN_LABELS,
    JUDGE_CARDS,
    PLANTED_LABELS,
)
from report.plots import judge_cards as draw
from resources.run import Run
from sql import statement


@table_asset(
    GOLD_VOTES,
    reads=[CLEAN_POOL, ATTRIBUTES, EMBEDDINGS, PLANTED_LABELS],
    reads_upto=[GOLD, EDITED_ATTRIBUTES],
    settings=("judges", "embedding", "seed"),
    group="stage1",
    kinds={"openai", "lancedb"},
    pool="llm",
    retry_reason=asked_again(GOLD_VOTES),
    checks={
        GOLD_VOTES: [
            *EXAMPLE_CHECKS,
            Check(
                "open_gold_only",
                statement("checks/open_gold_only"),
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
            statement("judges/gold_texts"),
            params={"iteration": run.partition, "seed": str(s.seed), "n": s.judges.measure},
        ).to_arrow_table()
        with gold_index(run, con, upto=run.key) as index:
            examples = examples_for(run, con, targets, index)
        votes, shown, footer = ask_panel(run, targets, examples, GOLD_VOTES)
    yield Rows(GOLD_VOTES, votes, shown, footer)


@table_asset(
    JUDGE_CARDS,
    reads=[GOLD_VOTES, GOLD, HUMAN_LABELS, CLEAN_POOL, ATTRIBUTES],
    settings=("seed",),
    group="report",
    kinds={"duckdb", "python"},
)
def judge_cards(run: Run) -> Iterator[Rows]:
    """Agreement with people beside people's agreement with each other, habits, price and time a label, by stratum; and
    which way from votes to verdicts would have agreed best with people on pairs that it was not fitted on."""
    from curation.judge_cards import CARD_SCHEMA, cards, methods, panel_card

    with run.lake.connect() as con:
        votes = con.sql(
            "SELECT * EXCLUDE (iteration) FROM gold_votes ORDER BY pair_id, judge, replicate"
        ).to_arrow_table()
        known, people, paid = (
            con.sql(statement(name)).to_arrow_table()
            for name in ("judges/gold_known", "judges/gold_people", "judges/paid")
        )
    rows = [cards(votes, known, people), paid.cast(CARD_SCHEMA), _seconds(run)]
    if known.num_rows >= LEAST_GOLD:
        rows.append(panel_card(methods(votes, known, run.settings.seed), votes, known))
    found = pa.concat_tables(rows)
    yield Rows(JUDGE_CARDS, found, {"plot": partial(draw, found.to_pylist())} if votes.num_rows else {})


def _seconds(run: Run) -> pa.Table:
    """Mean time a paid call of each judge took, of those sent one by one."""
    from curation.judge_cards import CARD_SCHEMA
    from resources.llm.call_store import store

    with store(run.lake) as calls:
        timed = calls.seconds(f"{GOLD_VOTES.name}/")
    return pa.Table.from_pylist(
        [
            {"judge": judge, "stratum": "all", "figure": "seconds_per_call", "value": mean, "n": n, "pairs": n}
            for judge, mean, n in timed
        ],
        CARD_SCHEMA,
    )
