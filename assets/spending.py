"""What was paid: the ledger of calls as a table."""

from collections.abc import Iterator

from assets.table_asset import Rows, table_asset
from curation.tables import (
    ATTRIBUTES,
    GOLD_VOTES,
    JUDGE_VOTES,
    RESPONSE_CHECKS,
    SPENDING,
    STAGE2_ATTRIBUTES,
    STAGE2_VOTES,
)
from resources.run import Run


def _mark(settings, lake, partition) -> str:
    from resources.llm.ledger import mark

    return mark(lake)


@table_asset(
    SPENDING,
    reads=[ATTRIBUTES, RESPONSE_CHECKS, JUDGE_VOTES, GOLD_VOTES, STAGE2_ATTRIBUTES, STAGE2_VOTES],
    external_version=_mark,
    group="report",
    kinds={"sqlite"},
)
def spending(run: Run) -> Iterator[Rows]:
    """Calls, tokens and dollars by step, model and how the calls ended, to the micro-dollar (spec 9.09)."""
    from resources.llm.ledger import spending as ledger

    rows = ledger(run.lake)
    total = sum(rows["cost_micros"].to_pylist()) / 1e6
    yield Rows(SPENDING, rows, {"dollars": total, "at risk": sum(rows["at_risk_micros"].to_pylist()) / 1e6})
