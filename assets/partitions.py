"""How the lake's partitions are Dagster's, and how a step depends on tables that are divided otherwise."""

import warnings
from functools import cache

import dagster as dg

from curation.tables import PartitionKind
from curation.tables.columns import NESTED
from resources.settings import Settings


@cache
def _static(keys: tuple[str, ...]) -> dg.StaticPartitionsDefinition:
    return dg.StaticPartitionsDefinition(list(keys))


def partitions_def(kind: PartitionKind, settings: Settings) -> dg.PartitionsDefinition:
    """All partitions of a kind; two dimensions where its name has two."""
    parts: dict[str, dg.PartitionsDefinition[str]] = {
        dimension: _static(tuple(settings.partition_keys(dimension))) for dimension in kind.split("|")
    }
    return dg.MultiPartitionsDefinition(parts) if len(parts) > 1 else parts[kind]


def mapping(kind: PartitionKind | None, read: PartitionKind | None, settings: Settings) -> dg.PartitionMapping | None:
    """How a step partitioned by `kind` depends on a table partitioned by `read`; None is Dagster's default."""
    if kind is None or read is None or kind == read:
        return None
    if read in kind.split("|"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.BetaWarning)
            return dg.MultiToSingleDimensionPartitionMapping(read)
    if NESTED.get(read) == kind:
        inner = settings.partition_keys(read)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.BetaWarning)
            return dg.StaticPartitionMapping({key: key.partition(".")[0] for key in inner})
    return dg.AllPartitionMapping()
