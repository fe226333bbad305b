"""Training sets of experiments, built in a lake's session from what the configuration says of them."""

import duckdb
import numpy as np
import pyarrow as pa

from curation.matching import Topics
from resources.lake import in_batches
from resources.retrieval.embedder import FIELDS, embed
from resources.settings import Embedding, Experiment, TrialArm
from resources.settings.people import WHOLE_FORM
from sql import statement

COLUMNS = "pair_id, verified_order, weight, target"
MATCHED_LEVELS = 5  # of the kinds in experiments/described, from the finest to the source alone
LEARNED_FROM = 20_000  # pairs that topics are learned from, drawn by hash
NO_TOPICS = pa.table({"pair_id": pa.array([], pa.string()), "topic": pa.array([], pa.string())})


def build(con: duckdb.DuckDBPyConnection, experiment: Experiment, name: str, seed: int, embedding: Embedding) -> str:
    """Create the tables `orders` (pair_id, verified_order, weight, target) and `described` for an arm.

    Returns:
        why it is empty, or smaller than was asked for; '' where all is well.
    """
    arms = {a.name: a for a in experiment.arms}
    arm, problem = arms[name], ""
    topical = any(a.like for a in experiment.arms)
    con.register("topics", NO_TOPICS)
    try:
        wanted = arm.size
        if other := arm.like or arm.as_many_as:
            _base(con, arms[other], seed)
            wanted = _count(con)
            if arm.like:
                con.register("topics", _topics(con, embedding, everything=True))
                _create(con, "aim", con.sql(statement("experiments/described")))
        _base(con, arm, seed)
        if arm.like:
            _create(con, "wide", con.sql(statement("experiments/described")))
            _create(con, "taken", con.table("wide").select(f"{COLUMNS}, kinds").limit(0))
            for level in range(1, MATCHED_LEVELS + 1):
                told = {"seed": str(seed), "level": level}
                _create(con, "more", con.sql(statement("experiments/matched"), params=told))
                _create(con, "taken", con.table("taken").union(con.table("more")))
            _create(con, "orders", con.table("taken").select(COLUMNS))
        if wanted is not None and (have := _count(con)) < wanted:
            problem = f"{have:,} pairs, where {wanted:,} were asked for"
        limit = round(arm.share * _count(con)) if arm.share is not None else wanted
        if limit is not None:
            _create(con, "orders", con.table("orders").order(f"draw(pair_id, 'size {seed}')").limit(limit))
    except (duckdb.ProgrammingError, duckdb.DataError) as e:  # the condition's; what fails by itself may not next time
        problem = str(e).splitlines()[0]
        problem = f"where = {arm.where!r}: {problem}" if arm.where else problem
        _create(con, "orders", con.sql(statement("experiments/source_orders"), params={"source": ""}))
    if topical and not arm.like:
        con.register("topics", _topics(con, embedding))
    _create(con, "described", con.sql(statement("experiments/described")))
    return problem or ("" if _count(con) else "no pair is like that")


def _base(con: duckdb.DuckDBPyConnection, arm: TrialArm, seed: int) -> None:
    """Create the table `orders` of an arm's data and condition, before its size."""
    kind, of = arm.base
    match kind:
        case "arm":
            told = {"arm": of, "seed": str(seed), "n": None}
            _create(con, "arm", con.sql(statement("release/arm_pairs"), params=told))
            made = con.sql(statement("experiments/arm_orders"))
        case "form" | "form_before":
            told = {"form": "" if of == WHOLE_FORM else of, "before": kind == "form_before"}
            made = con.sql(statement("experiments/form_orders"), params=told)
        case "source":
            made = con.sql(statement("experiments/source_orders"), params={"source": of})
        case view:
            made = con.sql(statement("experiments/batch_orders"), params={"view": view, "upto": of})
    _create(con, "orders", made)
    if arm.where:
        _create(con, "orders", con.sql(statement("experiments/conditions")).filter(arm.where).select(COLUMNS))


def _create(con: duckdb.DuckDBPyConnection, name: str, rows: duckdb.DuckDBPyRelation) -> None:
    """Create a table, in the place of one of the same name, which the rows may be made of."""
    con.execute(f"DROP TABLE IF EXISTS {name}_made")
    rows.create(f"{name}_made")
    con.execute(f"DROP TABLE IF EXISTS {name}")
    con.execute(f"ALTER TABLE {name}_made RENAME TO {name}")


def _count(con: duckdb.DuckDBPyConnection) -> int:
    return con.table("orders").count("*").fetchall()[0][0]


def _topics(con: duckdb.DuckDBPyConnection, embedding: Embedding, everything: bool = False) -> pa.Table:
    """(pair_id, topic) by k-means on embeddings of conversations (spec 8.09), of `orders` or of the whole pool; learned from
    pairs of the whole pool, so that all arms have the same topics."""
    whole = con.sql("SELECT pair_id, conversation FROM clean_pool")
    some = np.concatenate(
        [b for _, b in _vectors(whole.order("draw(pair_id, 'topics')").limit(LEARNED_FROM), embedding)]
        or [np.zeros((0, 1))]
    )
    if not len(some):
        return NO_TOPICS
    topics, names, found = Topics.learned(some), [], []
    rows = whole if everything else con.sql(statement("experiments/conversations_of_set"))
    for pairs, vectors in _vectors(rows, embedding):
        names += pairs
        found += [f"topic-{t:02d}" for t in topics.of(vectors)]
    return pa.table({"pair_id": pa.array(names, pa.string()), "topic": pa.array(found, pa.string())})


def _vectors(rows: duckdb.DuckDBPyRelation, embedding: Embedding):
    """Batches of (pairs, vectors [n, D]); attributes, which not all pairs have, are left blank."""

    def blank():
        for batch in in_batches(rows):
            empty = pa.array([""] * batch.num_rows, pa.string())
            names = [*batch.schema.names, *FIELDS]
            yield pa.RecordBatch.from_arrays([*batch.columns, *([empty] * len(FIELDS))], names=names)

    for batch in embed(embedding, blank()):
        flat = batch.column("vector").flatten().to_numpy(zero_copy_only=False)
        yield batch.column("pair_id").to_pylist(), flat.reshape(batch.num_rows, -1)
