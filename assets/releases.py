"""The releases: what was verified in its original order, and the same with the contradicted pairs swapped (spec 5)."""

from collections.abc import Iterator

import dagster as dg

from assets.publishing import markdown
from assets.table_asset import Check, Rows, table_asset
from curation.tables import (
    ANNOTATION_BATCH,
    ATTRIBUTES,
    CLEAN_POOL,
    CONFLICTS,
    DECISION_RULE,
    EDITED_ATTRIBUTES,
    FLIPPED,
    GOLD,
    KEPT,
    RELEASE_CORRECTED,
    RELEASE_CURATED,
    SILVER,
    SNAPSHOTS,
    SOURCES,
    STAGE2_ATTRIBUTES,
    UNDECIDED,
    Table,
)
from resources.run import Run
from sql import statement

READS = [
    CLEAN_POOL,
    DECISION_RULE,
    KEPT,
    FLIPPED,
    GOLD,
    SILVER,
    ATTRIBUTES,
    EDITED_ATTRIBUTES,
    STAGE2_ATTRIBUTES,
    SOURCES,
]

NOT_HELD_OUT = Check(
    "no_test_gold",
    statement("checks/no_test_gold"),
    "no conversation cluster of the gold test share is in a release (spec 6.07)",
)
NOT_UNDECIDED = Check(
    "no_undecided",
    statement("checks/no_undecided"),
    "a pair that nobody could decide trains nothing (spec 2.08)",
    reads=(UNDECIDED,),
)


def _released(run: Run, table: Table, *orders: str) -> Iterator[Rows]:
    """The pairs in these orders; the rule file of stage 2 travels in the file's footer (spec 4.13)."""
    with run.lake.connect() as con:
        [(rule,)] = con.execute("SELECT any_value(file) FROM decision_rule").fetchall()
        weights = run.settings.weights.model_dump(exclude={"margins"})
        rows = con.sql(
            statement("release/release"), params={"bucket": run.partition, "orders": list(orders), **weights}
        )
        yield Rows(table, rows, footer={"rule": rule})


@table_asset(
    RELEASE_CURATED,
    reads=READS,
    settings=("weights",),
    group="release",
    checks={RELEASE_CURATED: [NOT_HELD_OUT, NOT_UNDECIDED]},
)
def release_curated(run: Run) -> Iterator[Rows]:
    """Gold, silver and stage-2 pairs whose original order was confirmed (spec 5.02)."""
    yield from _released(run, RELEASE_CURATED, "original")


@table_asset(
    RELEASE_CORRECTED,
    reads=[*READS, RELEASE_CURATED],
    settings=("weights",),
    group="release",
    checks={
        RELEASE_CORRECTED: [
            NOT_HELD_OUT,
            NOT_UNDECIDED,
            Check(
                "curated_and_swapped_only",
                statement("checks/curated_and_swapped_only"),
                "corrected = curated + swapped rows, exactly (spec 3.15)",
            ),
        ]
    },
)
def release_corrected(run: Run) -> Iterator[Rows]:
    """The curated release and the contradicted pairs, swapped; the flag takes them out again (spec 5.03, 5.04)."""
    yield from _released(run, RELEASE_CORRECTED, "original", "swapped")


@table_asset(
    SNAPSHOTS,
    reads=[ANNOTATION_BATCH, GOLD, SILVER, UNDECIDED, CLEAN_POOL, RELEASE_CURATED, RELEASE_CORRECTED],
    group="release",
    checks={
        SNAPSHOTS: [
            Check(
                "corrected_is_filtered_and_swapped",
                statement("checks/corrected_is_filtered_and_swapped"),
                "filtered is a subset of corrected and the difference is exactly the swapped rows (spec 3.15)",
            ),
            Check(
                "nothing_from_nowhere",
                statement("checks/nothing_from_nowhere"),
                "corrected holds no pair that original does not",
            ),
            Check(
                "only_growing",
                statement("checks/only_growing"),
                "what was in a view stays in it, in the same order (spec 3.14)",
            ),
        ]
    },
)
def snapshots(run: Run) -> Iterator[Rows]:
    """Any of them with its texts: `FROM snapshot('corrected', 'iter_01')` in the lake's SQL."""
    with run.lake.connect() as con:
        yield Rows(SNAPSHOTS, con.sql(statement("release/snapshots")))


@table_asset(
    CONFLICTS,
    reads=[
        ANNOTATION_BATCH,
        ATTRIBUTES,
        CLEAN_POOL,
        EDITED_ATTRIBUTES,
        GOLD,
        RELEASE_CORRECTED,
        RELEASE_CURATED,
        SILVER,
        STAGE2_ATTRIBUTES,
        UNDECIDED,
    ],
    group="release",
)
def conflicts(run: Run) -> Iterator[Rows]:
    """Where labels contradict each other, before and after (spec 3.17)."""
    with run.lake.connect() as con:
        rows = con.sql(statement("release/conflicts"))
        shown = dg.MetadataValue.md(markdown(rows.columns, rows.fetchall()))
        yield Rows(CONFLICTS, rows, {"contradictions": shown})
