"""Every figure of the report, measured over the lake: SQL counts hits among n, the intervals come from one place."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from curation.identity import text_hash
from curation.intervals import NOTHING, Estimate, difference, paired_difference, wilson
from curation.tables import REPORT_FIGURES
from evaluation.evaluate import metric_values
from evaluation.items import attach
from resources.lake import in_batches
from sql import statement

if TYPE_CHECKING:
    import duckdb

    from resources.benchmarks.loader import Loaded

SHARES = ("report/labels", "report/batches", "report/judges", "report/models", "report/planted")
BASELINES = ("original", "original_with_gold", "gold")  # what curated data must beat before it can be said to help
CONTRASTS = (
    ("filtered", "original"),
    ("corrected", "filtered"),
    ("filtered", "random"),
    ("oracle", "original"),
    *((arm, base) for arm in ("filtered", "corrected") for base in BASELINES[1:]),
    ("corrected", "original"),
)
RESAMPLES = 1000


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
                {"figure": f.figure, "figure_group": f.group, **f.estimate._asdict(), "n": f.n, "against": f.against}
                for f in self._by_key.values()
            ],
            REPORT_FIGURES.schema,
        )


def measure(
    con: "duckdb.DuckDBPyConnection", benchmarks: Sequence["Loaded"], arms: Sequence[str], seed: int
) -> Figures:
    """Measure everything on a lake's connection; leaves the table `truth` in it for the page's examples.

    Args:
        benchmarks: those that the arms' models were scored on.
        arms: training sets that are compared.
        seed: of every bootstrap.
    """
    with_truth(con)
    counts = con.execute(statement("report/counts")).fetchall()
    found = [Figure(figure, group, Estimate(float(n), None, None), n) for figure, group, n in counts]
    total = sum(f.n for f in found if f.figure == "records" and f.group != "input")
    inputs = next(f.n for f in found if (f.figure, f.group) == ("records", "input"))
    found.append(Figure("ledger_gap", "", Estimate(float(inputs - total), None, None), inputs))
    for name in SHARES:
        for figure, group, hits, n, against in con.execute(statement(name)).fetchall():
            found.append(Figure(figure, group, wilson(hits, n), n, against or ""))
    for figure, a, b in (
        ("weak_topic_in_batch", "retrieved", "random"),
        ("weak_topic_in_batch", "retrieved", "pool"),
        ("mislabelled_in_batch", "retrieved", "random"),
        ("mislabelled_in_batch", "retrieved", "pool"),
        ("swapped_by_people", "retrieved", "random"),
        ("label_precision", "kept", "stage 2 input"),
        ("label_precision", "curated release", "original"),
    ):
        found += _contrast(found, figure, a, b)
    found += _panel(con, seed) + _headroom(con)
    found += _loop_gain(con, seed) + _scores(con) + _score_gains(con, benchmarks, arms, seed) + _dollars(con)
    return Figures(found)


def with_truth(con: "duckdb.DuckDBPyConnection") -> None:
    """Create the table `truth`; the texts' hashes are taken batch by batch, and only where a reference exists."""
    texts = con.sql(statement("report/referenced_texts"))
    ids, hashes = [], []
    for batch in in_batches(texts):
        ids += batch.column("pair_id").to_pylist()
        hashes += [text_hash(t) for t in batch.column("chosen").to_pylist()]
    columns = {"pair_id": pa.array(ids, pa.string()), "chosen_id": pa.array(hashes, pa.string())}
    con.register("chosen_ids", pa.table(columns))
    con.sql(statement("report/truth")).create("truth")


def _contrast(found: list[Figure], figure: str, a: str, b: str) -> list[Figure]:
    by_group = {f.group: f for f in found if f.figure == figure}
    if a not in by_group or b not in by_group:
        return []
    one, other = by_group[a], by_group[b]
    gap = difference(one.estimate, other.estimate)
    return [Figure(f"{figure}_difference", f"{a} - {b}", gap, min(one.n, other.n), one.against)]


def _loop_gain(con: "duckdb.DuckDBPyConnection", seed: int) -> list[Figure]:
    """The last iteration's model against the first one's, on the gold pairs that both saw."""
    rows = con.execute(statement("report/loop_gain")).fetchall()
    if not rows:
        return []
    before, after = zip(*rows, strict=True)
    return [Figure("rm_accuracy_gain", "last - first", paired_difference(after, before, seed), len(rows), "people")]


def _panel(con: "duckdb.DuckDBPyConnection", seed: int) -> list[Figure]:
    """What the judges add over our two models: of the pairs of stage 2 that the reference knows, and no model was trained
    on, the share that is decided right, by the models alone and with the judges; an undecided pair counts one half."""
    rows = con.execute(statement("report/panel_adds")).fetchall()
    if not rows:
        return []
    alone, judged = zip(*rows, strict=True)
    gain = paired_difference(judged, alone, seed)
    shares = {"the two models alone": alone, "with the judges": judged}
    found = [Figure("decided_right", name, wilson(sum(hits), len(hits)), len(hits)) for name, hits in shares.items()]
    return [*found, Figure("panel_adds", "", gain, len(rows))]


def _headroom(con: "duckdb.DuckDBPyConnection") -> list[Figure]:
    """What a model of right labels would have over one of the original labels, as `worth` foresaw it last."""
    rows = con.execute(statement("report/headroom")).fetchall()
    return [Figure("headroom", "foreseen", Estimate(*numbers), 0) for numbers in rows]


def _scores(con: "duckdb.DuckDBPyConnection") -> list[Figure]:
    """Scores of the arms and of the baseline over whole benchmarks."""
    rows = con.execute(statement("report/scores")).fetchall()
    return [Figure(f"score of {name}", arm, Estimate(*numbers), n) for name, arm, *numbers, n in rows]


def _score_gains(
    con: "duckdb.DuckDBPyConnection", benchmarks: Sequence["Loaded"], arms: Sequence[str], seed: int
) -> list[Figure]:
    """Differences between arms that the paper makes claims about, with a paired bootstrap: a benchmark's resamples
    are the same items for every model, so the difference of two draws is a draw of the difference."""
    found = []
    for benchmark in benchmarks:
        draws = {arm: _draws(con, benchmark, arm, seed) for arm in arms}
        for a, b in CONTRASTS:
            for metric in sorted(draws.get(a, {}).keys() & draws.get(b, {}).keys()):
                (one, one_n), (other, other_n) = draws[a][metric], draws[b][metric]
                gap = one - other
                low, high = np.nanquantile(gap[1:], [0.025, 0.975])
                gain = Estimate(float(gap[0]), float(low), float(high))
                name = f"score of {benchmark.name} {metric}_difference"
                found.append(Figure(name, f"{a} - {b}", gain, min(one_n, other_n)))
    return found


def _draws(
    con: "duckdb.DuckDBPyConnection", benchmark: "Loaded", arm: str, seed: int
) -> dict[str, tuple[np.ndarray, int]]:
    """Metric -> (the value over the whole benchmark with its bootstrap draws, its items), for one arm; empty when it
    has none."""
    asked = {"model": arm, "benchmark": benchmark.name}
    rewards = con.sql(statement("report/rewards"), params=asked).to_arrow_table()
    if not rewards.num_rows:
        return {}
    scored = attach(benchmark.name, benchmark.labelled, rewards)
    values = metric_values(
        benchmark.sheet, scored, benchmark.found, seed=seed, resamples=RESAMPLES, name=benchmark.name
    )
    return {
        v.metric: (v.draws, v.n)
        for v in values
        if v.subset == "" and v.draws is not None and not v.metric.startswith(("best_of_", "ceiling_"))
    }


def _dollars(con: "duckdb.DuckDBPyConnection") -> list[Figure]:
    rows = con.execute(statement("report/dollars")).fetchall()
    return [Figure("dollars", group, Estimate(dollars, None, None), n) for group, dollars, n in rows]
