"""The data lake: tables as Parquet files, replaced whole, read by DuckDB."""

from resources.lake.batches import in_batches
from resources.lake.lake import Lake, Missing, OtherSchema, Staged, Written, label
from resources.lake.staging import Damaged, Data, LakeError

__all__ = ["Damaged", "Data", "Lake", "LakeError", "Missing", "OtherSchema", "Staged", "Written", "in_batches", "label"]
