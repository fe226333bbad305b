"""A judge whose answers were given once, to be read and not asked."""

import duckdb
import pyarrow as pa

from curation.tables import JUDGE_VOTES
from resources.lake import Lake
from resources.settings import Judge
from resources.sources.recorded_answers import recorded
from sql import statement


class RecordedJudge:
    """Joins answers to targets by content: the same responses to the same conversation, in either order."""

    def __init__(self, judge: Judge, lake: Lake):
        self.judge, self.lake = judge, lake

    def estimate(self, targets: pa.Table, examples: pa.Table) -> None:
        """Nothing: the answers are there."""

    def vote(self, targets: pa.Table, examples: pa.Table) -> pa.Table:
        """Several answers to one comparison are replicates; none is one row with status not_recorded.

        The examples are not used: whoever answered did not see them, and the votes say so.
        """
        answers = recorded(self.judge.answers, targets, self.lake)
        with duckdb.connect() as con:
            con.register("answers", answers)
            con.register("targets", targets.select(["pair_id"]))
            votes = con.sql(
                statement("judges/recorded_votes"),
                params={"judge": self.judge.name, "model": self.judge.model or self.judge.answers[0].annotator},
            ).to_arrow_table()
        return votes.select(JUDGE_VOTES.schema.names).cast(JUDGE_VOTES.schema)
