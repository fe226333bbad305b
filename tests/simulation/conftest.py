"""The generated world of the embedded configuration, written once for all tests of it, which only read it."""

import pytest

from assets.reference import planted_world
from assets.table_asset import Run
from resources.lake import Lake
from resources.settings import Settings, load
from tests.support.places import ROOT


@pytest.fixture(scope="session")
def settings() -> Settings:
    return load(ROOT / "assay.toml")


@pytest.fixture(scope="session")
def lake(settings, tmp_path_factory) -> Lake:
    """With the generated files and their truth."""
    lake = Lake(str(tmp_path_factory.mktemp("lake")))
    for rows in planted_world.fn(Run(settings, lake)):
        lake.write(rows.table, rows.data)
    return lake


@pytest.fixture(scope="session")
def truth(lake) -> dict[str, dict]:
    """comparison_id -> its row of `reference_labels`."""
    with lake.connect() as con:
        return {r["comparison_id"]: r for r in con.sql("FROM reference_labels").to_arrow_table().to_pylist()}
