"""Answers that people or models once gave, joined to pairs by content."""

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from curation.identity import text_hash
from resources.lake import Lake
from resources.settings import Answers
from resources.sources.reader import read_answers
from sql import statement

RECORDED = pa.schema(
    [
        pa.field("pair_id", pa.string(), False),
        pa.field("annotator", pa.string(), False),
        pa.field("vote", pa.string(), False),
        pa.field("shown_first", pa.string(), False),
    ]
)


def recorded(answers: Sequence[Answers], pairs: pa.Table, lake: Lake) -> pa.Table:
    """Every recorded answer to the pairs.

    Args:
        answers: where the answers stand.
        pairs: pair_id, comparison_id, chosen and rejected.
        lake: resolves the paths of generated files.

    Returns:
        pair_id, annotator, vote (original, swapped or tie) and shown_first (chosen or rejected), a row an answer.
    """
    known = pa.table(
        {
            "pair_id": pairs["pair_id"],
            "comparison_id": pairs["comparison_id"],
            "chosen_hash": pa.array(map(text_hash, pairs["chosen"].to_pylist()), pa.string()),
        }
    )
    parts = []
    with duckdb.connect() as con:
        con.register("known", known)
        for one in answers:
            con.register("given", read_answers(one, lake))
            parts.append(con.sql(statement("judges/recorded_answers")).to_arrow_table())
            con.unregister("given")
    return pa.concat_tables([p.cast(RECORDED) for p in parts])
