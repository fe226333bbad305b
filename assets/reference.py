"""The generated world, or, for real data, the people's labels the run is measured against."""

from collections.abc import Iterator

import pyarrow as pa

from assets.table_asset import Check, Rows, Run, Step, table_asset
from curation.tables import PLANTED_ROWS, REFERENCE_LABELS, WORLD_FILES
from resources.settings import Settings


@table_asset(
    WORLD_FILES,
    PLANTED_ROWS,
    REFERENCE_LABELS,
    settings=("world", "seed"),
    group="world",
    kinds={"python"},
    checks={
        REFERENCE_LABELS: [
            Check(
                "nobody_can_tell_means_no_gap",
                "SELECT comparison_id FROM new WHERE (winner = '') <> (gap = 0)",
                "a pair without a better response has no difference in quality, and the other way round",
            )
        ]
    },
)
def planted_world(run: Run) -> Iterator[Rows]:
    """Files of four formats with planted defects, and the truth about every row of them."""
    from simulation.world import generate
    from simulation.world_files import planted_rows, reference_labels, write_files

    settings = run.settings
    world = generate(settings.world.pairs, settings.seed, settings.world.stage1_share)
    files = write_files(world, run.lake.folder("world"))
    yield Rows(WORLD_FILES, pa.Table.from_pylist(files, WORLD_FILES.schema))
    planted = planted_rows(world)
    kinds = planted.group_by("kind").aggregate([("row", "count")]).to_pylist()
    yield Rows(PLANTED_ROWS, planted, {r["kind"]: r["row_count"] for r in kinds})
    yield Rows(REFERENCE_LABELS, reference_labels(world))


@table_asset(REFERENCE_LABELS, settings=("reference",), group="world", kinds={"python"})
def reference_labels(run: Run) -> Iterator[Rows]:
    """Majority of the configured people a comparison; gap is the share of votes for the winner, '' wins a tie."""
    from resources.sources.reader import read_answers

    answers = run.settings.reference.answers
    with run.lake.connect() as con:
        con.execute("CREATE TEMP TABLE votes (comparison_id VARCHAR, winner VARCHAR, topic VARCHAR)")
        for one in answers:
            con.register("given", read_answers(one, run.lake))
            con.execute("INSERT INTO votes SELECT comparison_id, winner, ? FROM given", [one.annotator])
            con.unregister("given")
        rows = con.sql(MAJORITY).to_arrow_table()
    yield Rows(REFERENCE_LABELS, rows.cast(REFERENCE_LABELS.schema), {"answers read from": len(answers)})


MAJORITY = """
WITH counted AS (
    SELECT comparison_id, winner, count(*) AS n, min(topic) AS topic FROM votes GROUP BY comparison_id, winner
), ranked AS (
    SELECT *, max(n) OVER same AS best, sum(n) OVER same AS voters
    FROM counted WINDOW same AS (PARTITION BY comparison_id)
)
SELECT comparison_id, CASE WHEN count(*) = 1 THEN min(winner) ELSE '' END AS winner, 'people' AS origin,
    min(topic) AS topic, max(best / voters)::DOUBLE AS gap
FROM ranked WHERE n = best GROUP BY comparison_id
"""


def steps(settings: Settings) -> list[Step]:
    """The steps that know the truth: of the generated world where one is configured, else of people."""
    return [planted_world] if settings.world else [reference_labels]
