"""The releases: what was verified in its original order, and the same with the contradicted pairs swapped (spec 5)."""

from collections.abc import Iterator

from assets.table_asset import Check, Rows, table_asset
from curation.tables import (
    ANNOTATION_BATCH,
    ATTRIBUTES,
    CLEAN_POOL,
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
    "SELECT pair_id FROM new JOIN clean_pool USING (pair_id) WHERE cluster_id IN (SELECT cluster_id FROM held_out_clusters)",
    "no conversation cluster of the gold test share is in a release (spec 6.07)",
)
NOT_UNDECIDED = Check(
    "no_undecided",
    "SELECT pair_id FROM new WHERE pair_id IN (SELECT pair_id FROM undecided)",
    "a pair that nobody could decide trains nothing (spec 2.08)",
    reads=(UNDECIDED,),
)


def _released(run: Run, table: Table, orders: str) -> Iterator[Rows]:
    """The pairs in these orders; the rule file of stage 2 travels in the file's footer (spec 4.13)."""
    with run.lake.connect() as con:
        [(rule,)] = con.sql("SELECT any_value(file) FROM decision_rule").fetchall()
        rows = con.sql(statement("release").format(bucket=run.partition, orders=orders))
        yield Rows(table, rows, footer={"rule": rule})


@table_asset(RELEASE_CURATED, reads=READS, group="release", checks={RELEASE_CURATED: [NOT_HELD_OUT, NOT_UNDECIDED]})
def release_curated(run: Run) -> Iterator[Rows]:
    """Gold, silver and stage-2 pairs whose original order was confirmed (spec 5.02)."""
    yield from _released(run, RELEASE_CURATED, "'original'")


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
    yield from _released(run, RELEASE_CORRECTED, "'original', 'swapped'")


@table_asset(
    SNAPSHOTS,
    reads=[ANNOTATION_BATCH, GOLD, SILVER, CLEAN_POOL, RELEASE_CURATED, RELEASE_CORRECTED],
    group="release",
    checks={
        SNAPSHOTS: [
            Check(
                "corrected_is_filtered_and_swapped",
                "SELECT upto, pair_id FROM (FROM snapshot_pairs WHERE \"view\" = 'filtered') f FULL JOIN"
                " (FROM snapshot_pairs WHERE \"view\" = 'corrected') c USING (upto, pair_id)"
                ' WHERE c."order" IS NULL OR (f."order" IS NULL) <> (c."order" = \'swapped\')',
                "filtered is a subset of corrected and the difference is exactly the swapped rows (spec 3.15)",
            ),
            Check(
                "nothing_from_nowhere",
                "SELECT upto, pair_id FROM (FROM snapshot_pairs WHERE \"view\" = 'corrected') c ANTI JOIN"
                " (FROM snapshot_pairs WHERE \"view\" = 'original') o USING (upto, pair_id)",
                "corrected holds no pair that original does not",
            ),
            Check(
                "only_growing",
                'SELECT a.upto, a."view", a.pair_id FROM snapshot_pairs a JOIN (SELECT upto,'
                " lead(upto) OVER (ORDER BY upto) AS next FROM (SELECT DISTINCT upto FROM snapshot_pairs)) s USING (upto)"
                ' WHERE next IS NOT NULL AND NOT EXISTS (FROM snapshot_pairs b WHERE b.upto = next AND b."view" ='
                ' a."view" AND b.pair_id = a.pair_id AND b."order" = a."order")',
                "what was in a view stays in it, in the same order (spec 3.14)",
            ),
        ]
    },
)
def snapshots(run: Run) -> Iterator[Rows]:
    """Any of them with its texts: `FROM snapshot('corrected', 'iter_01')` in the lake's SQL."""
    with run.lake.connect() as con:
        yield Rows(SNAPSHOTS, con.sql(statement("snapshots")))
