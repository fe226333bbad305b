"""Every figure of the report, measured over the lake: SQL counts hits among n, the intervals come from one place."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from curation.identity import text_hash
from curation.intervals import NOTHING, Estimate, difference, paired_difference, wilson
from resources.tables import REPORT_FIGURES
from sql import statement

if TYPE_CHECKING:
    import duckdb

SHARES = ("report_labels", "report_batches", "report_judges", "report_models", "report_planted")
CONTRASTS = (("filtered", "original"), ("corrected", "filtered"), ("filtered", "random"))


@dataclass(frozen=True)
class Figure:
    """One row of `report_figures`."""

    figure: str
    group: str
    estimate: Estimate
    n: int
    against: str = ""


class Figures:
    """The figures by name and group; what was not measured is an empty estimate on nothing."""

    def __init__(self, figures: list[Figure]):
        self._by_key = {(f.figure, f.group): f for f in figures}

    def __getitem__(self, key: tuple[str, str]) -> Figure:
        return self._by_key.get(key, Figure(*key, NOTHING, 0))

    def names(self) -> set[str]:
        return {figure for figure, _ in self._by_key}

    def groups(self, figure: str) -> list[Figure]:
        """All figures of one name, sorted by group."""
        return [f for (name, _), f in sorted(self._by_key.items()) if name == figure]

    def count(self, figure: str, group: str) -> int:
        """A figure that is a count; 0 where there is none."""
        return int(self[figure, group].estimate.value or 0)

    def table(self) -> pa.Table:
        return pa.Table.from_pylist(
            [
                {"figure": f.figure, "group": f.group, **f.estimate._asdict(), "n": f.n, "against": f.against}
                for f in self._by_key.values()
            ],
            REPORT_FIGURES.schema,
        )


def measure(con: "duckdb.DuckDBPyConnection", seed: int) -> Figures:
    """Measure everything on a lake's connection; leaves the table `truth` in it for the page's examples."""
    _truth(con)
    counts = con.sql(statement("report_counts")).fetchall()
    found = [Figure(figure, group, Estimate(float(n), None, None), n) for figure, group, n in counts]
    total = sum(f.n for f in found if f.figure == "records" and f.group != "input")
    inputs = next(f.n for f in found if (f.figure, f.group) == ("records", "input"))
    found.append(Figure("ledger_gap", "", Estimate(float(inputs - total), None, None), inputs))
    for name in SHARES:
        for figure, group, hits, n, against in con.sql(statement(name)).fetchall():
            found.append(Figure(figure, group, wilson(hits, n), n, against or ""))
    found += _contrast(found, "mislabelled_in_batch", "retrieved", "random")
    found += _contrast(found, "swapped_by_people", "retrieved", "random")
    found += _contrast(found, "label_precision", "kept", "stage 2 input")
    found += _contrast(found, "label_precision", "curated release", "original")
    found += _loop_gain(con, seed) + _benchmarks(con) + _dollars(con)
    return Figures(found)


def _truth(con: "duckdb.DuckDBPyConnection") -> None:
    """Create the table `truth`; the texts' hashes are taken batch by batch, and only where a reference exists."""
    texts = con.sql(
        "SELECT pair_id, chosen FROM clean_pool WHERE comparison_id IN (SELECT comparison_id FROM reference_labels)"
    )
    ids, hashes = [], []
    for batch in texts.to_arrow_reader(10_000):
        ids += batch.column("pair_id").to_pylist()
        hashes += [text_hash(t) for t in batch.column("chosen").to_pylist()]
    columns = {"pair_id": pa.array(ids, pa.string()), "chosen_id": pa.array(hashes, pa.string())}
    con.register("chosen_ids", pa.table(columns))
    con.execute(statement("report_truth"))


def _contrast(found: list[Figure], figure: str, a: str, b: str) -> list[Figure]:
    by_group = {f.group: f for f in found if f.figure == figure}
    if a not in by_group or b not in by_group:
        return []
    one, other = by_group[a], by_group[b]
    gap = difference(one.estimate, other.estimate)
    return [Figure(f"{figure}_difference", f"{a} - {b}", gap, min(one.n, other.n), one.against)]


def _loop_gain(con: "duckdb.DuckDBPyConnection", seed: int) -> list[Figure]:
    """The last iteration's model against the first one's, on the gold pairs that both saw."""
    rows = con.sql(
        "WITH ends AS (SELECT min(iteration) AS first, max(iteration) AS last FROM gold_predictions)"
        " SELECT a.p, b.p FROM gold_predictions a JOIN gold_predictions b USING (pair_id), ends"
        " WHERE a.iteration = first AND b.iteration = last AND first < last ORDER BY pair_id"
    ).fetchall()
    if not rows:
        return []
    before, after = ([_right(p) for p in column] for column in zip(*rows, strict=True))
    return [Figure("rm_accuracy_gain", "last - first", paired_difference(after, before, seed), len(rows), "people")]


def _right(p: float) -> float:
    return 0.5 if p == 0.5 else float(p > 0.5)


def _benchmarks(con: "duckdb.DuckDBPyConnection") -> list[Figure]:
    """Scores of the arms over whole benchmarks and the differences the paper makes claims about. The arms answer the
    same items, so their differences' intervals are on the wide side."""
    rows = con.sql(
        "SELECT benchmark || ' ' || metric, arm, value, low, high, n FROM benchmark_results"
        " WHERE subset = '' AND value IS NOT NULL AND NOT regexp_matches(metric, '^(best_of|ceiling)_')"
        " ORDER BY ALL"
    ).fetchall()
    found = [Figure(f"score of {name}", arm, Estimate(*numbers), n) for name, arm, *numbers, n in rows]
    for name in dict.fromkeys(f.figure for f in found):
        for a, b in CONTRASTS:
            found += _contrast(found, name, a, b)
    return found


def _dollars(con: "duckdb.DuckDBPyConnection") -> list[Figure]:
    rows = con.sql("SELECT who || ' / ' || stage, sum(dollars), sum(labels)::BIGINT FROM cost GROUP BY 1").fetchall()
    return [Figure("dollars", group, Estimate(dollars, None, None), n) for group, dollars, n in rows]
