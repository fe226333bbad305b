"""The releases: what was verified in its original order, and the same with the contradicted pairs swapped (spec 5)."""

from collections.abc import Iterator

from resources.tables import (
    ATTRIBUTES,
    CLEAN_POOL,
    FLIPPED,
    GOLD,
    KEPT,
    RELEASE_CORRECTED,
    RELEASE_CURATED,
    SILVER,
    SOURCES,
    STAGE2_ATTRIBUTES,
)
from sql import statement

from .table_asset import Check, Rows, Run, table_asset

READS = [CLEAN_POOL, KEPT, FLIPPED, GOLD, SILVER, ATTRIBUTES, STAGE2_ATTRIBUTES, SOURCES]

NOT_HELD_OUT = Check(
    "no_test_gold",
    "SELECT pair_id FROM new WHERE pair_id IN (SELECT pair_id FROM gold WHERE role = 'test')",
    "the gold test share is in no release (spec 6.07)",
)
NOT_UNDECIDED = Check(
    "no_undecided",
    "SELECT pair_id FROM new WHERE pair_id IN (SELECT pair_id FROM undecided)",
    "a pair that nobody could decide trains nothing (spec 2.08)",
)


@table_asset(
    RELEASE_CURATED, reads=READS, group="release", checks={RELEASE_CURATED: [NOT_HELD_OUT, NOT_UNDECIDED]}
)
def release_curated(run: Run) -> Iterator[Rows]:
    """Gold, silver and stage-2 pairs whose original order was confirmed (spec 5.02)."""
    with run.lake.connect() as con:
        yield Rows(
            RELEASE_CURATED, con.sql(statement("release").format(bucket=run.partition, orders="'original'"))
        )


@table_asset(
    RELEASE_CORRECTED,
    reads=[*READS, RELEASE_CURATED],
    group="release",
    checks={
        RELEASE_CORRECTED: [
            NOT_HELD_OUT,
            NOT_UNDECIDED,
            Check(
                "curated_and_swapped_only",
                "SELECT pair_id FROM new FULL JOIN (SELECT pair_id, true AS curated FROM release_curated"
                " WHERE bucket = getvariable('partition')) c USING (pair_id)"
                " WHERE coalesce(curated, false) = coalesce(flipped, true)",
                "corrected = curated + swapped rows, exactly (spec 3.15)",
            ),
        ]
    },
)
def release_corrected(run: Run) -> Iterator[Rows]:
    """The curated release and the contradicted pairs, swapped; the flag takes them out again (spec 5.03, 5.04)."""
    with run.lake.connect() as con:
        yield Rows(
            RELEASE_CORRECTED,
            con.sql(statement("release").format(bucket=run.partition, orders="'original', 'swapped'")),
        )
