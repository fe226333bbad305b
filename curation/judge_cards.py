"""Report cards: what each judge is worth on pairs that people decided, and what it is biased by."""

import duckdb
import pyarrow as pa

from sql import statement

from .intervals import wilson

CARD_SCHEMA = pa.schema(
    [
        pa.field("judge", pa.string(), False),
        pa.field("stratum", pa.string(), False),
        pa.field("figure", pa.string(), False),
        pa.field("hits", pa.int64(), False),
        pa.field("n", pa.int64(), False),
        pa.field("share", pa.float64()),
        pa.field("low", pa.float64()),
        pa.field("high", pa.float64()),
    ]
)


def cards(votes: pa.Table, known: pa.Table) -> pa.Table:
    """Figures by judge and stratum, with Wilson intervals of 95 %.

    Figures: agrees_with_people, prefers_first, prefers_longer (of answers that differ in length), flips_with_order (of
    pairs decided in both orders), repeats_itself (several answers in one order), decides, refuses.

    Args:
        votes: rows of `judge_votes`.
        known: pair_id, order (original or swapped, by people), stratum, chosen_chars, rejected_chars.
    """
    with duckdb.connect() as con:
        con.register("votes", votes)
        con.register("known", known)
        rows = con.sql(statement("judge_cards")).to_arrow_table().to_pylist()
    for row in rows:
        row["share"], row["low"], row["high"] = wilson(row["hits"], row["n"])
    return pa.Table.from_pylist(rows, CARD_SCHEMA)
