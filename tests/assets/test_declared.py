"""A step sees what it declares: another table, view or section of the configuration is an error that names it."""

from dataclasses import replace

import dagster as dg
import pytest

from assets.registry import ordered, steps
from assets.report import report
from assets.table_asset import Check, Rows, table_asset
from curation.tables import AUDIT, CLEAN_POOL, GOLD, KEPT, REPORT_FIGURES, SILVER, SNAPSHOTS, SOURCES, TABLES
from resources.lake import Lake
from resources.run import Run
from resources.settings import Undeclared
from tests.support.lakes import fill, make, published, put, query, settings


def step(body, *, reads=(), checks=None, sections=()):
    """A step that writes `snapshots` after doing something else."""

    def reading(run: Run):
        body(run)
        yield Rows(SNAPSHOTS, SNAPSHOTS.schema.empty_table())

    return table_asset(SNAPSHOTS, group="t", reads=reads, checks=checks, settings=sections)(reading)


def sql(query: str):
    def body(run: Run) -> None:
        with run.lake.connect() as con:
            con.execute(query).fetchall()

    return body


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (sql("FROM silver"), "reading reads the table silver, which it does not declare"),
        (sql("FROM verified"), "reading reads the table silver, which it does not declare"),
        (sql("FROM snapshot('filtered', 'iter_00')"), r"reading reads the table \w+, which it does not declare"),
        (lambda run: run.lake.note(SOURCES, "s"), "reading reads the table sources"),
        (lambda run: run.lake.rows(SOURCES, "s"), "reading reads the table sources"),
        (lambda run: run.lake.partitions(SOURCES), "reading reads the table sources"),
        (lambda run: run.settings.stage2, r"reading reads \[stage2\] of the configuration, which it does not declare"),
        (lambda run: run.settings.model_copy(update={"seed": 1}).people, r"reading reads \[people\]"),
    ],
)
def test_what_is_not_declared_is_not_there(tmp_path, body, message):
    with pytest.raises(Undeclared, match=message):
        make(step(body, reads=[GOLD, CLEAN_POOL], sections=("seed",)), tmp_path)


def test_what_is_declared_is_there_with_the_views_over_it(tmp_path):
    def body(run: Run) -> None:
        sql("FROM verified")(run)
        sql("SELECT stage2_vote(0.9, 0.5, 0.0)")(run)
        assert run.settings.seed == 0 and run.settings.partition_keys("bucket") == ["b00"]

    make(step(body, reads=[GOLD, SILVER], sections=("seed",)), tmp_path)


def test_a_check_sees_what_it_and_its_step_declare(tmp_path):
    looks = Check("looks", "FROM silver WHERE false", "reads silver")
    with pytest.raises(Undeclared, match="a check of reading reads the table silver"):
        make(step(lambda run: None, checks={SNAPSHOTS: [looks]}), tmp_path)
    declared = step(lambda run: None, checks={SNAPSHOTS: [replace(looks, reads=(SILVER,))]})
    make(declared, tmp_path)
    assert declared.needs == (SILVER,)
    with pytest.raises(Undeclared, match="reading reads the table silver"):  # the check's is not the function's
        make(step(sql("FROM silver"), checks={SNAPSHOTS: [replace(looks, reads=(SILVER,))]}), tmp_path)


def test_what_is_outside_is_not_looked_at_to_know_that_a_table_was_never_made(tmp_path):
    """A large source takes a while to be hashed."""
    looked: list[str | None] = []
    outside = replace(step(lambda run: None), external_version=lambda settings, lake, key: str(looked.append(key)))
    config, lake = settings(), Lake(str(tmp_path))
    assert outside.changed(config, lake, None) == "never made" and not looked
    make(outside, tmp_path)
    assert outside.changed(config, lake, None) is None and looked


def test_a_name_is_a_table_and_never_a_variable_of_the_program(tmp_path):
    arguments = [1, 2]
    with pytest.raises(Exception, match="arguments does not exist"):
        query(Lake(str(tmp_path)), "FROM arguments")
    assert arguments


def test_a_changed_audit_makes_the_report_stale(tmp_path):
    config, lake = settings(), Lake(str(tmp_path))
    published(report, Run(config, lake))
    assert report.stale(config, lake, None) is None
    put(lake, AUDIT, [{"pair_id": "p", "event_id": "e", "verdict": "first", "cost_micros": 400_000}])
    assert report.stale(config, lake, None) == "changed: audit"
    published(report, Run(config, lake))
    assert "$0.40" in (lake.folder("report") / "index.html").read_text()


def test_the_order_is_derived_from_the_reads():
    made = set()
    for one in steps():
        assert {t.name for t in one.needs} <= made, one.name
        made |= {t.name for t in one.tables}
    assert made == TABLES.keys()
    backwards = ordered(tuple(reversed(steps())))
    assert [s.name for s in backwards] == [s.name for s in steps()]


def test_two_writers_missing_writers_and_circles_are_named():
    def one(table, *reads):
        def made(run):
            yield Rows(table, table.schema.empty_table())

        made.__name__ = f"make_{table.name}"
        return table_asset(table, group="t", reads=reads)(made)

    with pytest.raises(ValueError, match="make_gold and make_gold both write gold"):
        ordered((one(GOLD), one(GOLD)))
    with pytest.raises(ValueError, match="make_gold reads silver, which no step writes"):
        ordered((one(GOLD, SILVER),))
    with pytest.raises(ValueError, match="steps read each other: make_"):
        ordered((one(GOLD, SILVER), one(SILVER, GOLD)))


def test_a_step_without_its_inputs_says_which(tmp_path):
    run = Run(settings(), Lake(str(tmp_path)))
    from assets.publishing import publish

    with pytest.raises(dg.Failure, match="not materialised: kept/b00"):
        list(publish(step(lambda run: None, reads=[KEPT]), run))
    fill(report, run)
    assert run.lake.note(REPORT_FIGURES) is None
