"""From votes to verdicts: how a panel of judges decides about a pair."""

import duckdb
import pyarrow as pa

from sql import statement

VERDICT_SCHEMA = pa.schema(
    [
        pa.field("pair_id", pa.string(), False),
        pa.field("verdict", pa.string(), False),
        pa.field("share", pa.float64(), False),
        pa.field("voices", pa.int64(), False),
        pa.field("votes", pa.string(), False),
        pa.field("reason", pa.string(), False),
    ]
)


def aggregate(votes: pa.Table, quorum: int) -> pa.Table:
    """Majority within each judge, then one voice a judge (spec 3.10).

    Args:
        votes: pair_id, judge, vote and status, as in `judge_votes`.
        quorum: judges with a voice below which there is no verdict.

    Returns:
        pair_id, verdict, share, voices, votes (JSON judge -> voice) and reason, one row a pair, sorted by pair. The
        share of an undecided pair is the share of judges that say tie.
    """
    with duckdb.connect() as con:
        con.register("votes", votes.select(["pair_id", "judge", "vote", "status"]))
        found = con.sql(statement("verdicts"), params={"quorum": quorum}).to_arrow_table()
    return found.select(VERDICT_SCHEMA.names).cast(VERDICT_SCHEMA)
