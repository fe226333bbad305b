"""Paid calls in PostgreSQL: what holds of the file holds there, for any number of machines."""

import contextlib
import os
import sqlite3
import subprocess
import sys

import psycopg2
import pyarrow as pa
import pytest

from curation.tables import SPENDING
from resources.lake import Lake
from resources.llm import call_postgres
from resources.llm.call_postgres import ADDRESS, _translated
from resources.llm.call_store import HeldCalls, LostCalls, Request, store
from resources.settings import ConfigError
from tests.support import postgres
from tests.support.lakes import put
from tests.support.places import ROOT

# they look into the file itself
OF_THE_FILE = "dead_key or stood_beside or that_another_program_holds"


def test_statements_are_said_in_the_dialect_of_the_other():
    assert (
        _translated("INSERT OR IGNORE INTO t VALUES (?, ?)") == "INSERT INTO t VALUES (%s, %s) ON CONFLICT DO NOTHING"
    )
    assert _translated("SELECT substr(a, 1, ?2) = ?1") == "SELECT substr(a, 1, %(2)s) = %(1)s"


@pytest.fixture
def address(monkeypatch):
    with postgres.server() as url:
        plain = url.replace("+psycopg2", "")
        monkeypatch.setenv(ADDRESS, plain)
        yield plain


@pytest.mark.slow
def test_the_tests_of_the_file_pass(address):
    files = ["tests/judges/test_judges_calls.py", "tests/judges/test_judges_batch.py"]
    line = [sys.executable, "-m", "pytest", *files, "-n0", "-q", "-p", "no:cacheprovider", "-k", f"not ({OF_THE_FILE})"]
    done = subprocess.run(line, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:]
    with psycopg2.connect(address) as con, con.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'assay_calls_%'")
        found = cursor.fetchone()
        assert found is not None and found[0] > 30, "each of their lakes had its calls there"


@pytest.mark.slow
def test_a_role_that_may_not_begin_a_schema_is_told_so(address, tmp_path, monkeypatch):
    with contextlib.closing(psycopg2.connect(address)) as con, con.cursor() as cursor:
        con.autocommit = True
        cursor.execute("CREATE ROLE plain LOGIN")
    monkeypatch.setenv(ADDRESS, address.replace("assay@", "plain@"))
    lake = Lake(str(tmp_path / "lake"))
    with pytest.raises(ConfigError, match=f"^{ADDRESS}: permission denied for database postgres$"), store(lake):
        pass
    monkeypatch.setenv(ADDRESS, address)
    with store(lake) as calls:
        assert calls.committed() == 0, "nothing was begun"


@pytest.mark.slow
def test_calls_that_stand_elsewhere_are_never_begun_anew(address, tmp_path, monkeypatch):
    lake, filed = Lake(str(tmp_path / "far")), Lake(str(tmp_path / "near"))
    request = Request("openai", "", {"model": "m"}, 0)
    with store(lake) as calls:
        number = calls.start(request, "s", "j", "m", 5, 10)
        assert number is not None and calls.start(request, "s", "j", "m", 6, 10) is None, "the budget is everybody's"
        calls.finish(number, "ok", raw=b"{}", cost=3)
    with store(lake) as calls:
        assert calls.committed() == 3 and calls.answered([request.key])[request.key].raw == b"{}"
    monkeypatch.delenv(ADDRESS)
    with pytest.raises(ConfigError, match="stand in PostgreSQL, and ASSAY_CALLS does not say where"), store(lake):
        pass
    with store(filed) as calls:
        calls.start(request, "s", "j", "m", 5, 10)
    monkeypatch.setenv(ADDRESS, address)
    with pytest.raises(ConfigError, match="every answer would be paid again"), store(filed):
        pass
    place = lake.folder("calls") / "postgres"
    schema = place.read_text()
    put(
        lake,
        SPENDING,
        [{f.name: "j" if pa.types.is_string(f.type) else 3 for f in SPENDING.schema}],
    )
    place.rename(tmp_path / "aside")
    with pytest.raises(LostCalls, match="is gone, and the lake's tables tell of calls"), store(lake):
        pass
    (tmp_path / "aside").rename(place)
    with psycopg2.connect(address) as con, con.cursor() as cursor:
        cursor.execute(f"DROP SCHEMA {schema} CASCADE")
    with pytest.raises(LostCalls, match="is gone from the database"), store(lake):
        pass


@pytest.mark.slow
def test_who_loses_the_lock_begins_no_further_call(address, tmp_path, monkeypatch):
    lake = Lake(str(tmp_path / "far"))
    with store(lake) as calls, calls.alone("judge"):
        assert calls.start(Request("openai", "", {"model": "m"}, 0), "s", "j", "m", 5, 100) is not None
        with contextlib.closing(psycopg2.connect(address)) as con, con.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
            )
        for number in (1, 2):
            with pytest.raises(sqlite3.OperationalError):
                calls.start(Request("openai", "", {"model": "m"}, number), "s", "j", "m", 5, 100)


@pytest.mark.slow
def test_a_store_that_is_held_or_lost_stops_the_run_in_one_line(address, tmp_path, monkeypatch):
    monkeypatch.setattr(call_postgres, "HELD_S", 0.3)
    lake, requests = Lake(str(tmp_path)), [Request("openai", "", {"model": "m"}, n) for n in range(3)]
    with store(lake) as calls:
        calls.start(requests[0], "s", "j", "m", 5, 100)
    schema = (lake.folder("calls") / "postgres").read_text()
    with contextlib.closing(psycopg2.connect(address)) as other, other.cursor() as cursor:
        cursor.execute(f"SET search_path TO {schema}; SELECT pg_advisory_xact_lock(hashtext(current_schema()))")
        held = r"calls/postgres names in PostgreSQL was held by another program for 0\.3 s, .* Run again when"
        with pytest.raises(HeldCalls, match=held), store(lake) as calls:
            calls.start(requests[1], "s", "j", "m", 5, 100)
        with store(lake) as calls:
            with pytest.raises(sqlite3.OperationalError):
                calls.start(requests[1], "s", "j", "m", 5, 100)
            other.rollback()
            calls.start(requests[1], "s", "j", "m", 5, 100)  # the same connection goes on
            assert calls.committed() == 10
        with pytest.raises(sqlite3.OperationalError, match="statement timeout"), store(lake) as calls:
            calls._con.execute("SET statement_timeout TO 1")
            calls._con.execute("SELECT pg_sleep(5)")  # it answers, so it is not lost
        lost = "PostgreSQL, where .*calls/postgres says .* was lost .* Run again when it answers"
        with pytest.raises(HeldCalls, match=lost) as told, store(lake) as calls:
            cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
            calls.start(requests[2], "s", "j", "m", 5, 100)
        assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "slip", ["postgresql+psycopg2://a:SECRET@h/d", "postgresql://a:SEC%RET@h/d", "postgresql://a:SEC/RET@h/d"]
)
def test_an_address_with_a_slip_is_refused_without_its_password(tmp_path, monkeypatch, slip):
    monkeypatch.setenv(ADDRESS, slip)
    with pytest.raises(ConfigError) as told, store(Lake(str(tmp_path / "far"))):
        pass
    assert "is no address" in str(told.value) and "SEC" not in str(told.value)
