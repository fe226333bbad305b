"""The filters of the paper's review page on the pairs of a release (spec 5.05 to 5.08): who is left out by which of them."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation import filters as rules
from handover.contents import HandoverError
from handover.schema import SELECTION
from resources.lake import in_batches
from resources.settings import Settings
from resources.settings.release import Filters
from sql import statement

if TYPE_CHECKING:
    import duckdb

    from resources.run import Run

AGREEMENT, DIVERSITY, MARGIN, TARGET = "agreement", "diversity", "margin", "target"  # in the order in which they act
ROWS = pa.schema(
    [
        pa.field("pair_id", pa.string(), False),
        pa.field("topic", pa.int32(), False),
        pa.field("stratum", pa.string(), False),
        ("agreement", pa.float64()),
        ("agreement_on", pa.int64()),
        ("dpp_rank", pa.int64()),
        ("margin", pa.float64()),
        ("left_out_by", pa.string()),
    ]
)


@dataclass(frozen=True)
class Candidates:
    """Pairs of a release by id, with what filters look at.

    Attributes:
        ids: [N] names.
        vectors: [N, D] unit vectors of conversations.
        topic: [N] cluster.
        stratum: [N] objective, subjective or ''.
        cells: agreement on gold.
    """

    ids: list[str]
    vectors: np.ndarray
    topic: np.ndarray
    stratum: list[str]
    cells: dict[tuple[int, str], rules.Cell]


def select(
    con: "duckdb.DuckDBPyConnection", settings: Settings, run: "Run | None", folder: Path
) -> dict[str, Any] | None:
    """Take what the filters leave out from `chosen_pairs` to `left_out`, and write a row a pair beside the release.

    Args:
        run: scores margins; needed where these are asked for.

    Returns:
        what `release.json` says of it; None where no filter is on.

    Raises:
        HandoverError: there is no gold, model or reward to go by, or nothing is left.
    """
    filters = settings.release.filters
    if not filters.on:
        return None
    with tempfile.TemporaryDirectory(prefix="assay-vectors-") as held:
        found = _candidates(con, settings, Path(held))
        scored = _Margins(con, settings, run, found.ids)
        agreement, on, gone, rank = _apply(filters, found, scored.of)
    before, after = found.topic, found.topic[[g is None for g in gone]]
    if not len(after):
        raise HandoverError("nothing is left: the filters ([release.filters]) take every pair")
    table = pa.table([found.ids, found.topic, found.stratum, agreement, on, rank, scored.known, gone], schema=ROWS)
    pq.write_table(table, folder / SELECTION, compression="zstd")
    con.register("selected", table)
    con.execute("INSERT INTO left_out SELECT pair_id, left_out_by FROM selected WHERE left_out_by IS NOT NULL")
    con.unregister("selected")
    con.sql(statement("handover/still_chosen")).create("still_chosen")
    con.execute("DROP TABLE chosen_pairs")
    con.execute("ALTER TABLE still_chosen RENAME TO chosen_pairs")
    return {
        "filters": filters.model_dump(mode="json"),
        "attrition": _attrition(filters, gone),
        "topic_distance": rules.distance(before, after),
        "bound": filters.topic_bound,
        "cells": [c._asdict() for _, c in sorted(found.cells.items())],
        "margin_model": scored.model,
    }


def _apply(
    filters: Filters, found: Candidates, margins: Callable[[np.ndarray], np.ndarray]
) -> tuple[list[float | None], list[int | None], list[str | None], list[int | None]]:
    """(agreement, gold that it rests on, the filter that leaves it out, rank of the draw), each a pair."""
    n = len(found.ids)
    agreement: list[float | None] = [None] * n
    on: list[int | None] = [None] * n
    gone: list[str | None] = [None] * n
    ranks: list[int | None] = [None] * n
    if filters.agreement is not None:
        for i, key in enumerate(zip(found.topic.tolist(), found.stratum, strict=True)):
            if (cell := rules.agreement_of(found.cells, *key)) is None:
                known = max((c.n for c in found.cells.values()), default=0)
                raise HandoverError(
                    f"release.filters.agreement: judges have a verdict on {known} gold pairs and {rules.LEAST} are needed;"
                    " raise judges.measure, or leave the filter out"
                )
            share = cell.value(filters.agreement_lower)
            agreement[i], on[i] = share, cell.n
            if share < filters.agreement:
                gone[i] = AGREEMENT
    there = np.flatnonzero([g is None for g in gone])
    drawn, ahead = _drawn(filters, found, there, margins)
    for i, rank in zip(there, drawn, strict=True):
        if filters.target is not None:
            ranks[i] = int(rank) if rank >= 0 else None
            if rank < 0:
                gone[i] = DIVERSITY
                continue
        if filters.margin is not None and not ahead[i] > filters.margin:
            gone[i] = MARGIN
    if filters.target is not None:
        left = sorted((i for i in there if gone[i] is None), key=lambda i: (ranks[i] or 0, found.ids[i]))
        for i in left[filters.target :]:
            gone[i] = TARGET
    return agreement, on, gone, ranks


def _drawn(
    filters: Filters, found: Candidates, there: np.ndarray, margins: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """The rank of each of `there` in a draw that leaves the target after margins have been looked at, as far as there are
    so many; and [N] margins, NaN where nobody asked."""
    n, wanted = len(there), filters.target
    if wanted is None:
        return np.zeros(n, np.int64), margins(there) if filters.margin is not None else np.full(len(found.ids), np.nan)
    size = min(wanted, n)
    while True:
        ranks = rules.diverse(found.vectors[there], found.topic[there], size)
        if filters.margin is None:
            return ranks, np.full(len(found.ids), np.nan)
        ahead = margins(there[ranks >= 0])
        kept = int((ahead[there[ranks >= 0]] > filters.margin).sum())
        if kept >= wanted or size == n:
            return ranks, ahead
        size = min(n, max(size + 1, -(-size * wanted // max(kept, 1))))


def _attrition(filters: Filters, gone: list[str | None]) -> list[dict[str, Any]]:
    """A row a filter that is on, in order; the rest of a draw that was larger than the target comes last."""
    said = {
        AGREEMENT: f"agreement of judges with people at least {filters.agreement}",
        DIVERSITY: "diversity, drawn to the target",
        MARGIN: f"margin under {filters.margin_model} greater than {filters.margin}",
        TARGET: f"target of {filters.target} pairs",
    }
    on = {AGREEMENT: filters.agreement, DIVERSITY: filters.target, MARGIN: filters.margin, TARGET: filters.target}
    rows, left = [], len(gone)
    for name, text in said.items():
        taken = gone.count(name)
        if on[name] is not None and not (name == TARGET and not taken):
            rows.append({"rule": text, "before": left, "removed": taken, "after": left - taken})
            left -= taken
    return rows


def _candidates(con: "duckdb.DuckDBPyConnection", settings: Settings, folder: Path) -> Candidates:
    """Topics of the candidates and of gold together, so that both lie in the same ones."""
    from curation.verdicts import aggregate

    filters = settings.release.filters
    votes = con.sql(statement("handover/gold_votes")).to_arrow_table()
    con.register("judged", aggregate(votes, 1, None, settings.judges.sure))
    rows = con.sql(statement("handover/strata")).to_arrow_table()
    con.unregister("judged")
    vectors = _vectors(con, settings, rows.num_rows, folder / "vectors.npy")
    topic = rules.topics(vectors, filters.topics, settings.seed)
    stratum, equal = rows["stratum"].to_pylist(), rows["equal"].to_pylist()
    gold = [i for i, e in enumerate(equal) if e is not None]
    cells = rules.cells(topic[gold].tolist(), [stratum[i] for i in gold], [equal[i] for i in gold])
    here = np.flatnonzero(rows["candidate"].to_numpy(zero_copy_only=False))
    ids = rows["pair_id"].to_pylist()
    return Candidates([ids[i] for i in here], vectors[here], topic[here], [stratum[i] for i in here], cells)


def _vectors(con: "duckdb.DuckDBPyConnection", settings: Settings, n: int, path: Path) -> np.ndarray:
    """[n, D] on disk, in the order of ids."""
    from resources.retrieval.embedder import embed

    texts = in_batches(con.sql(statement("handover/to_embed")))
    held, at = np.zeros((0, 0), np.float32), 0
    for batch in embed(settings.embedding, texts):
        flat = batch.column("vector").flatten().to_numpy(zero_copy_only=False)
        some = flat.reshape(batch.num_rows, -1)
        if at == 0:
            held = np.lib.format.open_memmap(path, "w+", np.float32, (n, some.shape[1]))
        held[at : at + len(some)] = some
        at += len(some)
    return held


class _Margins:
    """Chosen's reward less rejected's under one model, each pair scored once.

    Attributes:
        known: [N] margins; None where nobody asked, or the model cannot take the pair.
        model: {asked, path's name, scale}; None where no margin is asked for.
    """

    def __init__(self, con: "duckdb.DuckDBPyConnection", settings: Settings, run: "Run | None", ids: list[str]):
        filters = settings.release.filters
        self._con, self._run, self._ids = con, run, ids
        self._asked = np.zeros(len(ids), bool)
        self._found = np.full(len(ids), np.nan)
        self._folder, self.model = "", None
        if filters.margin is not None:
            self._folder, name = _model(con, filters.margin_model, settings.base)
            self.model = {
                "asked": filters.margin_model,
                "model_id": name,
                "scale": "reward of chosen less reward of rejected, as the model gives them; must be greater than margin",
            }

    @property
    def known(self) -> list[float | None]:
        return [None if np.isnan(x) else float(x) for x in self._found]

    def of(self, some: np.ndarray) -> np.ndarray:
        """[N] margins with those of `some` (indices) among them; NaN where there is none."""
        new = some[~self._asked[some]]
        if len(new) and self._run is not None:
            self._con.register("wanted", pa.table({"pair_id": [self._ids[i] for i in new]}))
            pairs = self._con.sql(statement("handover/to_score"))
            scored = self._run.reward_models.score(self._run, {"m": self._folder}, pairs)
            self._con.unregister("wanted")
            place = {self._ids[i]: i for i in new}
            for name, a, b in zip(
                *(scored[c].to_pylist() for c in ("pair_id", "r_chosen_m", "r_rejected_m")), strict=True
            ):
                if a is not None and b is not None:
                    self._found[place[name]] = a - b
            self._asked[new] = True
        return self._found


def _model(con: "duckdb.DuckDBPyConnection", name: str, base: Path) -> tuple[str, str]:
    """(folder, id) of the model by whose margins pairs are left out; folders are relative to the configuration's.

    Raises:
        HandoverError: there is no such model.
    """
    queries = {
        "best": "SELECT path, model_id FROM best_reward_model WHERE best",
        "gold": "SELECT path, model_id FROM gold_reward_model",
    }
    query = queries.get(name, "SELECT path, model_id FROM final_reward_model WHERE model = $name")
    rows = con.execute(query, {} if name in queries else {"name": name}).fetchall()
    if rows:
        return rows[0]
    if name not in queries and (base / name / "config.json").exists():
        return str(base / name), Path(name).name
    raise HandoverError(
        f"release.filters.margin_model: no model {name!r}; there are best, gold, the arms of the final models, and folders"
    )
