"""What a run is measured against: the truth of the generated world, or, for real data, the labels of people."""

from collections.abc import Iterator

import pyarrow as pa

from assets.table_asset import Check, Rows, table_asset
from curation.identity import text_hash
from curation.tables import CLEAN_POOL, ORACLE_LABELS, PLANTED_LABELS, PLANTED_ROWS, REFERENCE_LABELS, WORLD_FILES
from resources.lake import Lake, in_batches
from resources.run import Run
from resources.settings import Settings
from resources.sources.reader import BadFile, fingerprint, read_answers
from simulation.world import generate
from simulation.world_files import planted_labels, planted_rows, write_files
from sql import statement


@table_asset(
    WORLD_FILES,
    PLANTED_ROWS,
    PLANTED_LABELS,
    settings=("world", "seed"),
    group="world",
    kinds={"python"},
    checks={
        PLANTED_LABELS: [
            Check(
                "nobody_can_tell_means_no_gap",
                "SELECT comparison_id FROM new WHERE (winner = '') <> (gap = 0)",
                "a pair without a better response has no difference in quality, and the other way round",
            )
        ]
    },
)
def planted_world(run: Run) -> Iterator[Rows]:
    """Files of four formats with planted defects, and the truth about every row of them; without a [world] nothing."""
    settings = run.settings
    if settings.world is None:
        for table in (WORLD_FILES, PLANTED_ROWS, PLANTED_LABELS):
            yield Rows(table, table.schema.empty_table())
        return
    world = generate(settings.world.pairs, settings.seed, settings.world.stage1_share, settings.world.noise)
    files = write_files(world, run.lake.folder("world"))
    yield Rows(WORLD_FILES, pa.Table.from_pylist(files, WORLD_FILES.schema))
    planted = planted_rows(world)
    kinds = planted.group_by("kind").aggregate([("row", "count")]).to_pylist()
    yield Rows(PLANTED_ROWS, planted, {r["kind"]: r["row_count"] for r in kinds})
    yield Rows(PLANTED_LABELS, planted_labels(world))


def _answers_as_they_are(settings: Settings, lake: Lake, _: str | None) -> str:
    def version(number: int) -> str:
        try:
            return fingerprint(settings.reference.answers[number], lake)[0]
        except BadFile:
            return "-"

    return " ".join(version(i) for i in range(len(settings.reference.answers)))


@table_asset(
    REFERENCE_LABELS,
    reads=[PLANTED_LABELS],
    settings=("reference",),
    settings_seen=("world",),
    external_version=_answers_as_they_are,
    group="world",
    kinds={"python"},
)
def reference_labels(run: Run) -> Iterator[Rows]:
    """What was planted; or the majority of the configured people a comparison: gap is the share of votes for the winner,
    '' wins a tie."""
    answers = run.settings.reference.answers
    with run.lake.connect() as con:
        if run.settings.world is not None:
            yield Rows(REFERENCE_LABELS, con.sql("FROM planted_labels"))
            return
        con.execute("CREATE TEMP TABLE votes (comparison_id VARCHAR, winner VARCHAR, topic VARCHAR)")
        for one in answers:
            con.register("given", read_answers(one, run.lake))
            query = "INSERT INTO votes SELECT comparison_id, winner, $annotator FROM given"
            con.execute(query, {"annotator": one.annotator})
            con.unregister("given")
        rows = con.sql(statement("reference/majority")).to_arrow_table()
    yield Rows(REFERENCE_LABELS, rows.cast(REFERENCE_LABELS.schema), {"answers read from": len(answers)})


@table_asset(
    ORACLE_LABELS,
    reads=[PLANTED_LABELS, CLEAN_POOL],
    settings_seen=("training", "experiments"),
    external_version=lambda settings, *_: str(_wants_oracle(settings)),
    group="models",
    kinds={"python"},
)
def oracle_labels(run: Run) -> Iterator[Rows]:
    """What curation could reach at most: the pool in its planted order. Empty where no arm asks for it."""

    def orders() -> Iterator[pa.RecordBatch]:
        with run.lake.connect() as con:
            for batch in in_batches(con.sql(statement("reference/planted_winners"))):
                rows = zip(*(batch.column(c).to_pylist() for c in ("pair_id", "chosen", "winner")), strict=True)
                made = [
                    {"pair_id": p, "verified_order": "original" if text_hash(chosen) == winner else "swapped"}
                    for p, chosen, winner in rows
                ]
                yield pa.RecordBatch.from_pylist(made, ORACLE_LABELS.schema)

    yield Rows(ORACLE_LABELS, orders() if _wants_oracle(run.settings) else ORACLE_LABELS.schema.empty_table())


def _wants_oracle(settings: Settings) -> bool:
    named = [a.data for e in settings.experiments for a in e.arms]
    return any(arm.startswith("oracle") for arm in (*settings.training.arms, *named))
