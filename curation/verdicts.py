"""From answers to votes to verdicts: how a panel of judges decides about a pair."""

from typing import Literal

import duckdb
import pyarrow as pa

from curation.tables import VERDICTS
from curation.vote_models import WEIGHTS
from sql import statement

VERSION = "2"  # of the way from votes to verdicts
VOTES = Literal["original", "swapped", "tie", "none"]

VERDICT_SCHEMA = VERDICTS.schema


def mapped_back(answer: str, chosen_first: bool) -> VOTES:
    """What an answer about candidates says about the original order; who cannot determine it abstains, as who gives no
    answer does."""
    if answer in ("candidate_1", "candidate_2"):
        return "original" if (answer == "candidate_1") == chosen_first else "swapped"
    return "tie" if answer == "tie" else "none"


def aggregate(votes: pa.Table, quorum: int, weights: pa.Table | None = None, sure: float = 0.5) -> pa.Table:
    """Majority within each judge, then one voice a judge (spec 3.10), or the sum of the votes' weights.

    A majority is more than half of the votes, or voices, that do not abstain; a vote for tie is one of them.

    Args:
        votes: pair_id, judge, shown_first, vote and status, as in `judge_votes`.
        quorum: judges with a voice below which there is no verdict.
        weights: rows of `panel.WEIGHTS`; a vote without a weight counts nothing. None counts heads.
        sure: probability up to which the weights leave a pair undecided.

    Returns:
        pair_id, verdict, share, p, voices, votes (JSON judge -> voice) and reason, one row a pair, sorted by pair. The
        share of an undecided pair is the share of judges that say tie. p is the probability of the original order by
        the weights, null without them.
    """
    with duckdb.connect() as con:
        con.execute(statement("macros"))
        con.register("votes", votes.select(["pair_id", "judge", "shown_first", "vote", "status"]))
        con.register("weights", WEIGHTS.empty_table() if weights is None else weights)
        found = con.sql(
            statement("judges/verdicts"), params={"quorum": quorum, "weighted": weights is not None, "sure": sure}
        ).to_arrow_table()
    return found.select(VERDICT_SCHEMA.names).cast(VERDICT_SCHEMA)
