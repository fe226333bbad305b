"""The command line on inputs it must refuse, and its answers on a lake that is empty."""

import pytest

from cli.main import main
from resources import settings
from tests.support.places import ROOT


@pytest.fixture
def config(tmp_path, monkeypatch):
    path = tmp_path / "assay.toml"
    path.write_text((ROOT / "assay.toml").read_text())
    monkeypatch.setenv("ASSAY_CONFIG", str(path))
    settings.current.cache_clear()
    yield path
    settings.current.cache_clear()


def test_a_bad_configuration_is_named_and_nothing_runs(config, capsys):
    config.write_text(config.read_text().replace("iterations = 2", "iterations = 0"))
    assert main(["status"]) == 2
    assert "stage1.iterations" in capsys.readouterr().err


def test_a_group_that_is_not_there(config, capsys):
    assert main(["run", "pool", "stage9"]) == 2
    assert "no such group: stage9; there are world, pool, seed, stage1" in capsys.readouterr().err


def test_an_unknown_pair(config, capsys):
    assert main(["explain", "beef"]) == 2
    assert "no pair has the id 'beef'" in capsys.readouterr().err


def test_sql_prints_rows_and_reports_errors(config, capsys):
    assert main(["sql", "SELECT count(*) AS n FROM lineage", "--csv"]) == 0
    assert main(["sql", "SELEC 1"]) == 2
    assert "Parser Error" in capsys.readouterr().err


def test_status_of_an_empty_lake_says_what_is_missing(config, capsys):
    assert main(["status"]) == 0
    out = capsys.readouterr().out
    assert "never made" in out
    assert "The ledger closes: 0 records in" in out


def test_an_unknown_iteration(config, capsys):
    assert main(["iterate", "iter_01", "iter_77"]) == 2
    assert "there are iter_00 to iter_02" in capsys.readouterr().err


def test_the_guideline_of_one_kind_of_pair_and_what_differs_for_another(config, capsys):
    assert main(["judges", "guideline", "math", "objective", "low"]) == 0
    whole = capsys.readouterr().out
    for heading in ("# How to compare", "## Task: math", "comparison is objective", "Controversiality: low"):
        assert heading in whole
    assert main(["judges", "guideline", "math", "objective", "low", "--against", "math", "objective", "high"]) == 0
    changed = [
        line for line in capsys.readouterr().out.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")
    ]
    assert changed[:2] == ["-## Controversiality: low", "+## Controversiality: high"]
    assert all(line[1:] in whole for line in changed if line[0] == "-")
    assert main(["judges", "guideline", "math", "objective", "low", "--against-reader", "browsing-judge"]) == 0
    assert "search engine" in capsys.readouterr().out
    assert main(["judges", "guideline", "cooking", "objective", "low"]) == 2
    assert "'cooking' is none of: information seeking" in capsys.readouterr().err
