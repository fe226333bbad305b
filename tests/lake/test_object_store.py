"""Tables in a store of objects: the same files, the same rows, nothing lost between writers, nothing seen half."""

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.tables import DECISIONS, GOLD, KEPT, RAW_POOL, SILVER, TABLES
from resources.lake import Lake, LakeError, Missing
from resources.settings import ConfigError
from tests.support.lakes import put, query
from tests.support.object_store import SECRET, ObjectStore, serving

pytest.importorskip("deltalake")
pytest.importorskip("moto")


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Iterator[ObjectStore]:
    with serving(tmp_path_factory.mktemp("store")) as server:
        yield server


@pytest.fixture
def there(store, tmp_path, request) -> Lake:
    """An empty lake with its tables in the store."""
    return at(store, tmp_path, request.node.name)


def at(store: ObjectStore, folder: Path, name: str) -> Lake:
    return Lake(str(folder / "lake"), tables=f"{store.bucket}/{name.partition('[')[0]}")


def kept(*pairs: str) -> list[dict]:
    return [{"pair_id": pair, "route": "confident", "reason": "agreed"} for pair in pairs]


def test_a_table_reads_the_same_from_both(there, lake):
    for one in (there, lake):
        put(one, KEPT, kept("b", "a"), "b00")
        put(one, KEPT, kept("c"), "b01")
        put(one, RAW_POOL, [{"pair_id": "p", "source": "s"}], "s")
    for sql in (
        "SELECT * FROM kept ORDER BY pair_id",
        "SELECT bucket, count(*) FROM kept GROUP BY bucket ORDER BY bucket",
        "SELECT * FROM raw_pool",
        "SELECT * FROM gold",
    ):
        assert query(there, sql) == query(lake, sql)
    assert there.partitions(KEPT) == ["b00", "b01"] and there.rows(KEPT, "b00") == 2
    assert there.note(KEPT, "b00") == lake.note(KEPT, "b00")
    with there.storage.open(KEPT, "b00") as file:
        assert file.read() == lake.path(KEPT, "b00").read_bytes()
    with pytest.raises(Missing, match="silver/iter_00"):
        there.versions([(KEPT, "b01"), (SILVER, "iter_00")])
