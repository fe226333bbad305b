"""What people said, as the measures of agreement take it: from the desk, or from the tables of a lake."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from curation.agreement import Said
from resources.annotators.desk import Pair
from resources.lake import Lake
from sql import statement

if TYPE_CHECKING:
    import duckdb

_OTHER = {"chosen": ("original", "swapped"), "rejected": ("swapped", "original")}


def original(verdict: str, shown_first: str) -> str:
    """A verdict on the two sides, mapped back to the original order."""
    first, second = _OTHER[shown_first]
    return {"first": first, "second": second}.get(verdict, verdict)


def said_at_desk(pairs: Iterable[Pair]) -> tuple[list[Said], dict[str, str]]:
    """What was said of pairs, and the planted ones with what is known of them."""
    said, known = [], {}
    for pair in pairs:
        side = pair.item["shown_first"]
        if pair.known:
            known[pair.item["pair_id"]] = original(pair.item["known"], side)
        about = pair.item["attributes"]
        strata = (about["objectivity"], f"{about['controversiality']} controversiality", about["category"])
        for who, (_, a) in pair.answers.items():
            said.append(
                Said(
                    a.pair_id,
                    who,
                    original(a.verdict, side),
                    strata,
                    a.seconds,
                    original(a.hint_verdict, side) if a.hint_verdict else "",
                    a.started or "",
                )
            )
    return said, known


def said_in_lake(lake: Lake) -> list[Said]:
    """What the table of labels holds, with the strata of its pairs."""
    with lake.connect() as con:
        return said_of(con)


def said_of(con: "duckdb.DuckDBPyConnection") -> list[Said]:
    """As `said_in_lake`, on a connection to the lake."""
    rows = con.execute(statement("people/said")).fetchall()
    return [
        Said(
            pair,
            who,
            original(verdict, side),
            tuple(s for s in (objectivity, level and f"{level} controversiality", category) if s),
            seconds,
            original(hint, side) if hint else "",
            started,
        )
        for pair, who, verdict, side, seconds, hint, started, objectivity, level, category in rows
    ]
