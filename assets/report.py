"""The report: every figure as a table, and one page that people can read (spec 4.08, 4.09, 4.11, 5.01, 8)."""

from collections.abc import Iterator

import dagster as dg

from assets.benchmark_results import configured
from assets.publishing import markdown
from assets.table_asset import Check, Rows, table_asset
from curation.tables import HANDED_OVER, REPORT_FIGURES, TABLES
from report.figures import Figures, measure
from report.page import claims, helps, points, render
from resources.run import Run
from resources.settings import Settings
from training.atomic import replace

READS = tuple(t for t in TABLES.values() if t not in (REPORT_FIGURES, HANDED_OVER))  # it tells of everything else


@table_asset(
    REPORT_FIGURES,
    reads=READS,
    settings=tuple(Settings.model_fields),  # the page names the configuration's hash
    group="report",
    kinds={"duckdb", "html"},
    checks={
        REPORT_FIGURES: [
            Check(
                "whole_intervals",
                "SELECT figure, figure_group, low, high FROM new WHERE low > high OR (low IS NULL) <> (high IS NULL)",
                "an interval has two ends, in order",
            ),
        ]
    },
)
def report(run: Run) -> Iterator[Rows]:
    """Measures the run against the truth as far as it is known, and writes `files/report/index.html`."""
    with run.lake.connect() as con:
        figures = measure(con, configured(run), run.settings.training.arms, run.settings.seed)
        page = render(con, figures, run.settings, run.lake, READS)
    path = run.lake.folder("report") / "index.html"
    replace(path, page.encode())
    yield Rows(
        REPORT_FIGURES,
        figures.table(),
        {"page": dg.MetadataValue.path(str(path)), "summary": dg.MetadataValue.md(_summary(figures))},
    )


def _summary(figures: Figures) -> str:
    """The ledger and the claims as Markdown."""
    gap = int(figures["ledger_gap", ""].estimate.value or 0)
    counts = [(f.group, f"{f.n:,}") for f in figures.groups("records")]
    found = [(c.text, c.measured, points(c.gain), c.verdict) for c in claims(figures)]
    closes = "The ledger closes." if gap == 0 else f"The ledger does not close: {gap:+,} records are in no class."
    table = markdown(["claim", "measured", "gain, points", "this run"], found)
    return "\n\n".join([closes, markdown(["class", "records"], counts), helps(figures), table])
