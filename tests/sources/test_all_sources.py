"""Every real file by configuration alone, against a count in plain DuckDB; where the data are at hand."""

import duckdb
import pytest

from assets import pool
from measurements import source_counts as sources
from resources.lake import Lake
from resources.run import Run
from resources.settings import load
from tests.support import places
from tests.support.lakes import published

SHARED = places.SHARED / "data"


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="real data are not at hand")
def test_the_import_of_every_source_agrees_with_a_count_of_its_raw_files(tmp_path, monkeypatch):
    monkeypatch.setenv("ASSAY_DATA", str(SHARED))
    config, lake = load(sources.CONFIG), Lake(str(tmp_path))
    assert {s.name for s in config.sources} == set(sources.COMPARISONS)
    for source in config.sources:
        published(pool.sources, Run(config, lake, source.name))
        published(pool.raw_pool, Run(config, lake, source.name))
    ours = sources.imported(lake)
    with duckdb.connect() as con:
        plain = sources.counts(con, SHARED)
        each = sources.distinct(con)
    assert {s: d for s in ours if (d := sources.differences(ours[s], plain[s]))} == {}
    with lake.connect() as con:
        assert con.execute("SELECT count(*) FROM (SELECT DISTINCT source, pair_id FROM raw_pool)").fetchall() == [
            (each,)
        ]
