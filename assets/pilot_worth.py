"""Whether curating the pool pays, after the seed round and again whenever gold has grown."""

from collections.abc import Iterator

import pyarrow as pa

from assets.table_asset import Rows, table_asset
from curation.tables import ANNOTATION_BATCH, ATTRIBUTES, CLEAN_POOL, GOLD, STATES, WORTH
from curation.worth import NotMeasurable, rows_of
from resources.run import Run


@table_asset(
    WORTH,
    reads=[CLEAN_POOL, ATTRIBUTES, STATES],
    reads_upto=[GOLD, ANNOTATION_BATCH],
    settings=("training", "seed", "world"),
    group="stage1",
    kinds={"torch"},
    pool="gpu",
)
def worth(run: Run) -> Iterator[Rows]:
    """Nobody is asked and nothing stops: a pool that is not worth curating is the reader's to decide about."""
    from report.worth_page import write
    from resources.pilot import NoPilot, assess, from_lake

    path = run.lake.folder("reports") / f"worth-{run.partition}.html"
    try:
        with run.lake.connect() as con:
            gathered = from_lake(con, run.settings.seed, upto=str(run.partition))
        found = assess(run.settings, gathered, run.lake.folder("states"))
    except (NoPilot, NotMeasurable) as e:
        row = {"figure": "verdict", "item": "not measurable", "value": None, "low": None, "high": None, "text": str(e)}
        yield Rows(WORTH, pa.Table.from_pylist([row], WORTH.schema), {"verdict": str(e)})
        return
    write(path, run.settings.name, found)
    shown = {"verdict": found.verdict, "why": " ".join(found.why), "page": str(path)}
    yield Rows(WORTH, pa.Table.from_pylist(rows_of(found), WORTH.schema), shown)
