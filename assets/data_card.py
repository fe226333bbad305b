"""The data card: what a pool is before anybody trusts it, counted, as a table and as a page (spec 0.13)."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import dagster as dg
import pyarrow as pa

from assets.publishing import markdown
from assets.table_asset import Check, Rows, table_asset
from curation.intervals import Estimate, wilson
from curation.tables import (
    BENCHMARK_HITS,
    BENCHMARK_PROMPTS,
    CLEAN_POOL,
    CONTAMINATED,
    DATA_CARD,
    DEDUPED,
    DUPLICATES,
    PERSONAL,
    QUARANTINE,
    RAW_POOL,
    SOURCES,
    UNUSABLE,
)
from report import charts
from report.plots import counts
from resources.lake import in_batches
from resources.run import Run
from resources.settings import Settings
from sql import statement
from training.atomic import replace

if TYPE_CHECKING:
    import duckdb

SAMPLE = 200_000  # pairs whose language and task are looked at; a share of them is known to a quarter of a point
LOOKED_AT = ("language", "category", "objectivity", "controversiality")
LISTED = ("license", "label by", "enters at", "turns", "personal data")
ENDS = ("unreadable", "unusable", "duplicate", "contaminated", "clean")
TEXTS = ("conversation", "chosen", "rejected")
PERCENTILES = (0, 5, 25, 50, 75, 95, 99, 100)
TONES = {"conversation": charts.QUIET, "chosen": charts.GOOD, "rejected": charts.BAD}
SHOWN = 15  # of a list of classes; the rest is added up


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
        PERSONAL,
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
    """Counts the pool and writes `files/data_card/index.html`. Language and task are looked at in a sample, by rules."""
    scanned = run.settings.personal.backend != "none"
    with run.lake.connect() as con:
        counted = con.sql(statement("pool/data_card"), params={"personal": scanned}).to_arrow_table()
        rows = counted.to_pylist() + _looked_at(con)
        card = Card(rows)
        page = render(con, card, run.settings)
        grown = con.sql("SELECT * FROM growth ORDER BY joined, source")
        log = markdown(grown.columns, grown.fetchall())
    path = run.lake.folder("data_card") / "index.html"
    replace(path, page.encode())
    yield Rows(
        DATA_CARD,
        pa.Table.from_pylist(rows, DATA_CARD.schema),
        {
            "page": dg.MetadataValue.path(str(path)),
            "growth": dg.MetadataValue.md(log),
            "languages": counts({name: n for name, n, _ in card.items("language")}, "pairs"),
        },
    )


def _looked_at(con: "duckdb.DuckDBPyConnection") -> list[dict]:
    """Language and attributes by rules of a sample by hash (the smallest ids), counted by source."""
    from curation.attributes import heuristic
    from curation.languages import UNCLEAR, language

    seen: Counter[tuple[str, str, str]] = Counter()
    sizes: Counter[str] = Counter()
    known: dict[str, dict[str, str]] = {}  # many pairs share a conversation
    pairs = con.sql(statement("pool/data_card_sample"), params={"n": SAMPLE})
    for batch in in_batches(pairs):
        for source, name, turns, chosen in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            asked = "\n".join(t["content"] for t in turns if t["role"] == "user")
            if name not in known:
                said = heuristic(turns) | {"language": language(asked)}
                known[name] = {figure: said[figure] for figure in LOOKED_AT}
            said = known[name]
            if said["language"] == UNCLEAR:  # a few words: the answer has more
                said = said | {"language": language(f"{asked}\n{chosen}")}
            for place in ("", source):
                sizes[place] += 1
                seen.update((figure, place, item) for figure, item in said.items())
    return [{"figure": f, "source": s, "item": i, "n": n, "out_of": sizes[s]} for (f, s, i), n in sorted(seen.items())]


class Card:
    """The rows of `data_card`, looked up by figure and source."""

    def __init__(self, rows: list[dict]):
        self.rows = {(r["figure"], r["source"], r["item"]): r for r in rows}

    def n(self, figure: str, item: str, source: str = "") -> int:
        row = self.rows.get((figure, source, item))
        return row["n"] if row else 0

    def share(self, figure: str, item: str, source: str = "") -> Estimate:
        """With its 95 % interval; nothing where there is nothing to be a part of."""
        of = max((r["out_of"] or 0 for (f, s, _), r in self.rows.items() if (f, s) == (figure, source)), default=0)
        return wilson(self.n(figure, item, source), of)

    def items(self, figure: str, source: str = "") -> list[tuple[str, int, int]]:
        """(item, n, of), the largest first; after `SHOWN` of them the rest together."""
        found = [(r["item"], r["n"], r["out_of"]) for (f, s, _), r in self.rows.items() if (f, s) == (figure, source)]
        found.sort(key=lambda r: (-r[1], r[0]))
        rest = found[SHOWN:]
        return found[:SHOWN] + ([(f"{len(rest)} others", sum(r[1] for r in rest), rest[0][2])] if rest else [])


def render(con: "duckdb.DuckDBPyConnection", card: Card, settings: Settings) -> str:
    """The whole page, nothing outside it referred to; every text is escaped by the template or the drawing."""
    from report.page import template

    return template("data_card.html").render(
        name=settings.name,
        generated=settings.world is not None,
        card=card,
        ends=ENDS,
        texts=TEXTS,
        percentiles=PERCENTILES,
        sources=_dicts(con, "SELECT * FROM sources ORDER BY joined, priority, source"),
        growth=_dicts(con, statement("pool/data_card_growth")),
        benchmarks=_dicts(con, "SELECT benchmark, count(*) AS prompts FROM benchmark_prompts GROUP BY 1 ORDER BY 1"),
        matches=_dicts(con, statement("pool/data_card_matches")),
        looked_at=card.share("language", "").value is not None and max(r[2] for r in card.items("language")),
        drawings=_drawings(card, _dicts(con, "SELECT source FROM sources ORDER BY source")),
    )


def _dicts(con: "duckdb.DuckDBPyConnection", query: str) -> list[dict]:
    return con.sql(query).to_arrow_table().to_pylist()


def _drawings(card: Card, sources: Sequence[dict]) -> dict[str, str]:
    records = sum(card.n("end", end) for end in ENDS)
    steps = [("pairs and records in", records, "total")]
    steps += [(end, card.n("end", end), "loss") for end in ENDS[:-1]]
    sizes = sorted({int(i) for (f, s, i) in card.rows if f.startswith("characters of") and not s})
    balance = [
        (name, card.share("longer response", "chosen", name), charts.PLAIN) for name in (s["source"] for s in sources)
    ]
    return {
        "attrition": charts.waterfall(
            [*steps, ("clean", card.n("end", "clean"), "total")], "From what came to the pool"
        ),
        "sizes": charts.columns(
            {t: [card.share(f"characters of the {t}", str(s)).value or 0 for s in sizes] for t in TEXTS},
            [f"< {s:,}" for s in sizes],
            TONES,
            "Lengths in characters",
        ),
        "balance": charts.intervals(
            [("whole pool", card.share("longer response", "chosen"), charts.MIXED), *balance],
            "How often the chosen response is the longer one",
            line=0.5,
        ),
        **{f: charts.bars(card.items(f), f"Pairs by {f}") for f in (*LOOKED_AT, *LISTED)},
    }
