"""The report's section on people: how far they agree, what each of them did, what could not be used."""

from typing import TYPE_CHECKING, Any

from curation.agreement import agreement, annotators, overruled
from report import charts
from report.drawing import MIXED, PLAIN
from resources.annotators.reports import said_of
from resources.settings import Settings
from sql import statement

if TYPE_CHECKING:
    import duckdb

REFUSED_SHOWN = 15


def people(con: "duckdb.DuckDBPyConnection", settings: Settings) -> dict[str, Any]:
    """What the template shows of people, in the words it uses."""
    said = said_of(con)
    strata = [a for a in agreement(said) if a.pairs]
    each = annotators(said, usual=settings.people.usual_seconds)
    rows = [(a.stratum, a.equal, PLAIN) for a in strata]
    rows += [(f"{a.annotator}, with others", a.with_others, MIXED) for a in each if a.with_others.value is not None]
    refused = con.execute(statement("report/refused_of_people"), parameters={"n": REFUSED_SHOWN}).fetchall()
    return {
        "labels": len(said),
        "strata": strata,
        "each": each,
        "hinted": sum(bool(s.hint) for s in said),
        "overruled": overruled(said),
        "refused": [dict(zip(("iteration", "place", "annotator", "reason"), r[:4], strict=True)) for r in refused],
        "refused_in_all": refused[0][4] if refused else 0,
        "left": con.execute(
            "SELECT iteration, count(*), any_value(closed) FROM unanswered GROUP BY 1 ORDER BY 1"
        ).fetchall(),
        "drawing": charts.intervals(rows, "Equal verdicts of two people on one pair"),
    }
