"""Attributes, vectors and the seed: what is known of a pair before anybody labels it."""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import dagster as dg
import pyarrow as pa

from assets.judging import Lost, agreed, asked_again, whole_enough
from assets.table_asset import Check, Rows, table_asset
from curation.tables import (
    ATTRIBUTES,
    CLEAN_POOL,
    EMBEDDINGS,
    PLANTED_LABELS,
    SEED_COVERAGE,
    SEED_SELECTION,
    STATES,
    Table,
)
from report.plots import stacked
from resources import frozen_heads
from resources.lake import in_batches, label
from resources.retrieval.embedder import TEXT_VERSION
from resources.run import Run
from sql import statement

if TYPE_CHECKING:
    import duckdb


@table_asset(
    ATTRIBUTES,
    reads=[CLEAN_POOL, PLANTED_LABELS],
    settings=("attributes", "seed"),
    group="seed",
    kinds={"openai"},
    pool="llm",
    retry_reason=asked_again(ATTRIBUTES),
    checks={
        ATTRIBUTES: [
            Check(
                "closed_vocabularies",
                statement("checks/closed_vocabularies"),
                "objectivity and controversiality are closed vocabularies (spec 1.02)",
            )
        ]
    },
)
def attributes(run: Run) -> Iterator[Rows]:
    """Only pairs that stage 1 may label are attributed; stage 2 attributes what it routes to judges (spec 4.05)."""
    with run.lake.connect() as con:
        pairs = con.sql(statement("seed/pairs_to_attribute"), params={"bucket": run.partition})
        yield attributed(run, ATTRIBUTES, pairs)


def attributed(run: Run, table: Table, pairs: "duckdb.DuckDBPyRelation") -> Rows:
    """Attributes of pairs (pair_id, comparison_id, conversation, chosen, rejected), once their cost is agreed to.

    Raises:
        Stop: nobody has agreed, or, while the rows are read, too many answers are missing.
    """
    from resources.llm.bill import SAMPLE

    name = label(table, run.partition)
    made = run.judges.labeller(run.settings, run.lake, name)
    some = pairs.limit(SAMPLE).to_arrow_table().combine_chunks().to_batches()
    n = pairs.count("*").fetchall()[0][0]
    shown = agreed(run, made.estimate(some[0], n), name) if some else {}
    lost: Lost = {}

    def labelled() -> Iterator[pa.RecordBatch]:
        yield from made.label(in_batches(pairs, 2_000))
        accepted = {m.label for m in run.settings.attributes.models if m.accept_missing}
        lost.update(whole_enough(run.lake, made.ends, accepted))

    return Rows(table, labelled(), shown, {"missing": lost})


@table_asset(
    EMBEDDINGS,
    reads=[CLEAN_POOL, ATTRIBUTES],
    settings=("embedding",),
    version=TEXT_VERSION,
    group="seed",
    kinds={"lancedb"},
    pool="gpu",
)
def embeddings(run: Run) -> Iterator[Rows]:
    """The two retrievals search these vectors."""
    from resources.retrieval.embedder import embed

    with run.lake.connect() as con:
        pairs = con.sql(statement("seed/texts_to_embed"), params={"bucket": run.partition})
        yield Rows(EMBEDDINGS, embed(run.settings.embedding, in_batches(pairs), run.settings.cluster))


@table_asset(
    STATES,
    reads=[CLEAN_POOL],
    settings_seen=("training",),
    external_version=lambda settings, *_: frozen_heads.version(settings.training),
    group="seed",
    kinds={"torch"},
    pool="gpu",
)
def states(run: Run) -> Iterator[Rows]:
    """Read once, for every reward model that is a head on frozen layers; empty where none is."""
    training = run.settings.training
    if not training.frozen:
        yield Rows(STATES, STATES.schema.empty_table())
        return
    try:
        frozen_heads.backbone_of(training)
    except frozen_heads.NoHead as e:
        raise dg.Failure(str(e), allow_retries=False) from None
    with run.lake.connect() as con:
        texts = con.sql(statement("seed/texts_to_read"), params={"bucket": run.partition})
        yield Rows(STATES, frozen_heads.read(training, in_batches(texts), run.settings.cluster))


@table_asset(
    SEED_SELECTION,
    SEED_COVERAGE,
    reads=[CLEAN_POOL, ATTRIBUTES],
    settings=("stage1", "seed"),
    group="seed",
    checks={
        SEED_SELECTION: [
            Check(
                "one_desk_a_cluster",
                "SELECT cluster_id FROM new GROUP BY 1 HAVING count(DISTINCT assigned_to) > 1",
                "people and judges never share a conversation cluster (spec O-07)",
            )
        ],
        SEED_COVERAGE: [
            Check(
                "within_a_pair_of_an_even_spread",
                "SELECT * FROM new WHERE abs(people + judges - target) >= 1",
                "the achieved share of every stratum is its target to within one pair (spec 1.08)",
            )
        ],
    },
)
def seed_selection(run: Run) -> Iterator[Rows]:
    """One pair a conversation cluster, dealt round robin over the strata, both desks in proportion (spec 1.06, 1.08)."""
    s = run.settings
    size = {"people": s.stage1.seed_people, "judges": s.stage1.seed_judges}
    with run.lake.connect() as con:
        chosen = con.sql(statement("seed/seed_selection"), params={"seed": str(s.seed), **size}).to_arrow_table()
        yield Rows(SEED_SELECTION, chosen)
        con.register("seed_now", chosen)
        coverage = con.sql(
            statement("seed/seed_coverage"), params={"seed": str(s.seed), "total": sum(size.values())}
        ).to_arrow_table()
    rows = coverage.sort_by([(c, "ascending") for c in SEED_COVERAGE.key]).to_pylist()
    names = [" / ".join(r[c] for c in SEED_COVERAGE.key) for r in rows]
    bars = {desk: [r[desk] for r in rows] for desk in ("people", "judges")}
    plot = partial(stacked, names, bars, [r["target"] for r in rows], "pairs in the seed", "an even spread")
    reached = sum(r["people"] + r["judges"] > 0 for r in rows)
    yield Rows(SEED_COVERAGE, coverage, {"strata in the pool": len(rows), "strata in the seed": reached, "plot": plot})
