"""The data lake: tables as Parquet files, replaced whole, read by DuckDB."""

from resources.lake.batches import in_batches
from resources.lake.lake import Lake, Missing, OtherSchema, Staged
from resources.lake.sorted_runs import SortedRuns
from resources.lake.staging import Damaged, Data, InOrder, LakeError
from resources.lake.storage import Overtaken, StoreError, Written, label

__all__ = [
    "Damaged",
    "Data",
    "InOrder",
    "Lake",
    "LakeError",
    "Missing",
    "OtherSchema",
    "Overtaken",
    "SortedRuns",
    "Staged",
    "StoreError",
    "Written",
    "in_batches",
    "label",
]
