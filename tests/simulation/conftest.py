"""The generated world of the embedded configuration, written once for all tests of it, which only read it."""

import pytest

from assets.reference import planted_world
from resources.lake import Lake
from resources.run import Run
from resources.settings import Settings, load
from tests.support.lakes import published
from tests.support.places import ROOT


@pytest.fixture(scope="session")
def settings() -> Settings:
    return load(ROOT / "assay.toml")


@pytest.fixture(scope="session")
def lake(settings, tmp_path_factory) -> Lake:
    """With the generated files and their truth."""
    lake = Lake(str(tmp_path_factory.mktemp("lake")))
    published(planted_world, Run(settings, lake))
    return lake


@pytest.fixture(scope="session")
def truth(lake) -> dict[str, dict]:
    """comparison_id -> its row of `planted_labels`."""
    with lake.connect() as con:
        return {r["comparison_id"]: r for r in con.sql("FROM planted_labels").to_arrow_table().to_pylist()}
