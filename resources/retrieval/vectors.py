"""LanceDB indexes for the two retrievals: gold errors -> pool (what to label), target -> gold (few-shot)."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import pyarrow as pa

from resources.lake import Lake, digests

if TYPE_CHECKING:
    from lancedb.query import LanceVectorQueryBuilder

ANN_ROWS = 50_000  # below this a flat scan is exact and fast enough
NPROBES, REFINE_FACTOR = 32, 2  # both are ignored by a flat scan
TIES = 8  # room for equal similarities at the edge


class Index:
    """A searchable set of unit vectors, built from a reader of (pair_id, cluster_id, vector)."""

    def __init__(self, lake: Lake, name: str, rows: pa.RecordBatchReader, dimensions: int):
        os.environ.setdefault("LANCEDB_LOG", "error")  # it warns of every table it makes anew
        import lancedb

        schema = pa.schema(
            [("pair_id", pa.string()), ("cluster_id", pa.string()), ("vector", pa.list_(pa.float32(), dimensions))]
        )
        fixed = (
            pa.RecordBatch.from_arrays(
                [b.column("pair_id"), b.column("cluster_id"), b.column("vector").cast(schema.field("vector").type)],
                schema=schema,
            )
            for b in rows
        )
        folder = lake.folder("vectors")
        digests.unseal(folder / f"{name}.lance")
        self._table = lancedb.connect(folder).create_table(
            name, pa.RecordBatchReader.from_batches(schema, fixed), mode="overwrite"
        )
        if self._table.count_rows() > ANN_ROWS:
            from lancedb.index import IvfSq

            self._table.create_index("vector", config=IvfSq(distance_type="cosine"))
        digests.seal(folder / f"{name}.lance")

    def __len__(self) -> int:
        return self._table.count_rows()

    def nearest(self, vector: list[float], k: int, cluster_id: str) -> Iterator[tuple[str, float]]:
        """Up to k (pair_id, cosine), nearest first, none of the query's own conversation cluster.

        Equal similarities are ordered by pair_id, so that the answer does not depend on the order of insertion.
        """
        if k == 0 or len(self) == 0:
            return
        # Its own cluster is left out afterwards: a filter in the search would read every row's cluster first.
        wanted, others = 0, []
        while wanted < len(self) and len(others) < k + TIES:
            wanted = 4 * wanted or k + 2 * TIES
            query = cast("LanceVectorQueryBuilder", self._table.search(vector, vector_column_name="vector"))
            query = query.distance_type("cosine").nprobes(NPROBES).refine_factor(REFINE_FACTOR)
            found = query.select(["pair_id", "cluster_id", "_distance"]).limit(wanted).to_list()
            others = [r for r in found if r["cluster_id"] != cluster_id]
        for distance, pair_id in sorted((round(r["_distance"], 6), r["pair_id"]) for r in others)[:k]:
            yield pair_id, 1.0 - distance
