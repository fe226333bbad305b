"""The data card's page: the counts of `data_card`, in one self-contained HTML file."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from curation.intervals import Estimate, wilson
from report import charts
from report.drawing import BAD, GOOD, MIXED, PLAIN, QUIET
from report.page import dicts, template
from sql import statement

if TYPE_CHECKING:
    import duckdb

LOOKED_AT = ("language", "category", "objectivity", "controversiality")
LISTED = ("license", "label by", "enters at", "turns", "personal data")
ENDS = ("unreadable", "unusable", "duplicate", "contaminated", "clean")
GROWTH = ("pairs", "repeated", "known", "contaminated", "new", "contradicting")
TEXTS = {"conversation": QUIET, "chosen": GOOD, "rejected": BAD}
PERCENTILES = {0: "least", 5: "5 %", 25: "25 %", 50: "median", 75: "75 %", 95: "95 %", 99: "99 %", 100: "most"}
SHOWN = 15  # of a list of classes; the rest is added up


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


def render(con: "duckdb.DuckDBPyConnection", card: Card, name: str, generated: bool) -> str:
    """The whole page, nothing outside it referred to; every text is escaped by the template or the drawing.

    Args:
        con: the lake's connection that `card` was counted on.
        name: of the configuration.
        generated: whether the pool is the made-up one.
    """
    sources = dicts(con, "FROM sources ORDER BY joined, priority, source")
    benchmarks = dicts(con, "SELECT benchmark, count(*) AS prompts FROM benchmark_prompts GROUP BY 1 ORDER BY 1")
    languages = card.items("language")
    return template("data_card.html").render(
        name=name,
        generated=generated,
        n=card.n,
        ends=ENDS,
        sources=[s | _ends(card, s["source"]) for s in sources],
        refused=[(reason, n, *_most(card, reason, sources)) for reason, n, _ in card.items("refused")],
        growth=dicts(con, statement("pool/data_card_growth")),
        growth_columns=GROWTH,
        looked_at=max((of for _, _, of in languages), default=0),
        percentiles=PERCENTILES,
        lengths={t: [card.n(f"percentile of the {t}", str(p)) for p in PERCENTILES] for t in TEXTS},
        benchmarks=benchmarks,
        matches=dicts(con, statement("pool/data_card_matches")),
        contaminated_by={
            s["source"]: [
                (card.n(*which), card.share(*which))
                for which in (("contaminated by", b["benchmark"], s["source"]) for b in benchmarks)
            ]
            for s in sources
        },
        personal_data=bool(card.items("personal data")),
        drawings=_drawings(card, sorted(s["source"] for s in sources)),
    )


def _ends(card: Card, source: str) -> dict[str, Any]:
    """What became of a source's records, and what of its pairs stands elsewhere too."""
    ends = {end: card.n("end", end, source) for end in ENDS}
    return {
        "ends": ends,
        "clean_share": ends["clean"] / sum(ends.values()) if any(ends.values()) else None,
        "distinct": ends["contaminated"] + ends["clean"],
        "contradicting": card.n("contradicting", "pairs", source),
        "repeats": [(kept, n) for kept, n, _ in card.items("equal to a pair of", source)],
    }


def _most(card: Card, reason: str, sources: Sequence[dict]) -> tuple[str, int]:
    """(the source with the most records refused for a reason, how many); of equals the first."""
    counts = [(card.n("refused", reason, s["source"]), s["source"]) for s in sources]
    n, source = max(counts, key=lambda c: c[0], default=(0, ""))
    return (source, n) if n else ("", 0)


def _drawings(card: Card, sources: Sequence[str]) -> dict[str, str]:
    ends = {end: card.n("end", end) for end in ENDS}
    steps = [("pairs and records in", sum(ends.values()), "total")]
    steps += [(end, ends[end], "loss") for end in ENDS[:-1]]
    sizes = sorted({int(i) for (f, s, i) in card.rows if f.startswith("characters of") and not s})
    balance = [(name, card.share("longer response", "chosen", name), PLAIN) for name in sources]
    return {
        "attrition": charts.waterfall([*steps, ("clean", ends["clean"], "total")], "From what came to the pool"),
        "sizes": charts.columns(
            {t: [card.share(f"characters of the {t}", str(s)).value or 0 for s in sizes] for t in TEXTS},
            [f"< {s:,}" for s in sizes],
            TEXTS,
            "Lengths in characters",
        ),
        "balance": charts.intervals(
            [("whole pool", card.share("longer response", "chosen"), MIXED), *balance],
            "How often the chosen response is the longer one",
            line=0.5,
        ),
        **{f: charts.bars(card.items(f), f"Pairs by {f}") for f in (*LOOKED_AT, *LISTED)},
    }
