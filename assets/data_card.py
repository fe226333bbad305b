"""The data card: what a pool is before anybody trusts it, counted, as a table and as a page (spec 0.13)."""

from collections import Counter
from collections.abc import Iterator
from functools import partial

import dagster as dg
import pyarrow as pa

from assets.publishing import markdown
from assets.table_asset import Check, Rows, table_asset
from curation.tables import (
    BENCHMARK_HITS,
    BENCHMARK_PROMPTS,
    CLEAN_POOL,
    CONTAMINATED,
    CONTENT_SAMPLE,
    DATA_CARD,
    DEDUPED,
    DUPLICATES,
    PERSONAL_DATA,
    QUARANTINE,
    RAW_POOL,
    SOURCES,
    UNUSABLE,
)
from report.plots import counts
from report.pool_page import LOOKED_AT, Card, render
from resources.lake import in_batches
from resources.run import Run
from sql import statement
from training.atomic import replace

SAMPLE = 10_000  # pairs of the pool whose language and task are looked at; a share is known to one point


@table_asset(CONTENT_SAMPLE, reads=[CLEAN_POOL], group="pool", kinds={"python"})
def content_sample(run: Run) -> Iterator[Rows]:
    """Looks at language and task of a sample of a bucket by hash (the smallest ids), by rules."""
    from curation.attributes import heuristic
    from curation.languages import UNCLEAR, language

    seen: Counter[tuple[str, str, str]] = Counter()
    known: dict[str, dict[str, str]] = {}  # many pairs share a conversation
    some = {"bucket": run.partition, "n": -(-SAMPLE // run.settings.lake.buckets)}
    with run.lake.connect() as con:
        for batch in in_batches(con.sql(statement("pool/content_sample"), params=some)):
            for source, name, turns, chosen in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                asked = "\n".join(t["content"] for t in turns if t["role"] == "user")
                if name not in known:
                    said = heuristic(turns) | {"language": language(asked)}
                    known[name] = {figure: said[figure] for figure in LOOKED_AT}
                said = known[name]
                if said["language"] == UNCLEAR:  # a few words: the answer has more
                    said = said | {"language": language(f"{asked}\n{chosen}")}
                seen.update((figure, source, item) for figure, item in said.items())
    counted = [{"figure": f, "source": s, "item": i, "n": n} for (f, s, i), n in sorted(seen.items())]
    yield Rows(CONTENT_SAMPLE, pa.Table.from_pylist(counted, CONTENT_SAMPLE.schema))


@table_asset(
    DATA_CARD,
    reads=[
        SOURCES,
        RAW_POOL,
        UNUSABLE,
        QUARANTINE,
        DEDUPED,
        DUPLICATES,
        BENCHMARK_PROMPTS,
        BENCHMARK_HITS,
        CONTAMINATED,
        CLEAN_POOL,
        CONTENT_SAMPLE,
        PERSONAL_DATA,
    ],
    settings=("personal",),
    settings_seen=("sources", "world"),
    group="pool",
    kinds={"duckdb", "html"},
    checks={
        DATA_CARD: [
            Check(
                "parts_of_a_whole",
                "SELECT * FROM new WHERE n < 0 OR (n > out_of AND figure NOT LIKE 'percentile%')",
                "a count is at most what it is a part of",
            ),
        ]
    },
)
def data_card(run: Run) -> Iterator[Rows]:
    """Counts the pool and writes `files/data_card/index.html`."""
    scanned = run.settings.personal.backend != "none"
    with run.lake.connect() as con:
        counted = con.sql(statement("pool/data_card"), params={"personal": scanned}).to_arrow_table()
        card = Card(counted.to_pylist())
        page = render(con, card, run.settings.name, run.settings.world is not None)
        grown = con.sql("SELECT * FROM growth ORDER BY joined, source")
        log = markdown(grown.columns, grown.fetchall())
    path = run.lake.folder("data_card") / "index.html"
    replace(path, page.encode())
    yield Rows(
        DATA_CARD,
        counted,
        {
            "page": dg.MetadataValue.path(str(path)),
            "growth": dg.MetadataValue.md(log),
            "languages": partial(counts, {name: n for name, n, _ in card.items("language")}, "pairs"),
        },
    )
