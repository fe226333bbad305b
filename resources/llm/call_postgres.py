"""The store of calls in PostgreSQL, spoken to as if it were SQLite: one dialect of statements, one kind of errors.

A lake's calls stand in a schema of their own, which the file `files/calls/postgres` names. Where the server is, ASSAY_CALLS
says: `postgresql://USER:PASSWORD@HOST/DATABASE`. Several machines may use it at once.
"""

import contextlib
import os
import re
import sqlite3
import time
import uuid
import zlib
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from resources.settings import ConfigError

ADDRESS = "ASSAY_CALLS"  # variable of the environment: it holds a password
PLACE = "postgres"  # file beside where the store would be: the schema's name
LOOK_EVERY_S = 0.2
HELD_S = (
    1800  # seconds for which another connection may hold the calls: one may write a batch of many in one transaction
)
LOCK_NOT_AVAILABLE = "55P03"
SCHEMA = re.compile(r"assay_calls_[0-9a-f]{16}")

_TABLES = (
    """
CREATE TABLE requests(key TEXT PRIMARY KEY, provider TEXT, base_url TEXT, replicate BIGINT, body BYTEA);
CREATE TABLE attempts(
    id BIGSERIAL PRIMARY KEY, key TEXT NOT NULL, stage TEXT NOT NULL, judge TEXT NOT NULL, model TEXT NOT NULL,
    batch TEXT NOT NULL, reserved BIGINT NOT NULL, started DOUBLE PRECISION NOT NULL, host TEXT NOT NULL, digest BIGINT);
CREATE TABLE bodies(attempt BIGINT PRIMARY KEY REFERENCES attempts(id), at DOUBLE PRECISION NOT NULL, raw BYTEA NOT NULL,
    digest BIGINT);
CREATE TABLE results(
    id BIGSERIAL PRIMARY KEY, attempt BIGINT NOT NULL UNIQUE REFERENCES attempts(id), key TEXT NOT NULL,
    status TEXT NOT NULL, http BIGINT NOT NULL, cost BIGINT NOT NULL, at_risk BIGINT NOT NULL, released BIGINT NOT NULL,
    error TEXT NOT NULL, raw BYTEA NOT NULL, sdk TEXT NOT NULL, finished DOUBLE PRECISION NOT NULL, digest BIGINT);
CREATE TABLE batches(
    id BIGSERIAL PRIMARY KEY, name TEXT NOT NULL, judge TEXT NOT NULL, event TEXT NOT NULL, data TEXT NOT NULL,
    at DOUBLE PRECISION NOT NULL, digest BIGINT);
CREATE INDEX results_by_key ON results(key);
CREATE INDEX attempts_by_key ON attempts(key);
CREATE INDEX attempts_by_batch ON attempts(batch) WHERE batch <> '';
CREATE INDEX batches_by_name ON batches(name);
CREATE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation'; END$$;
""".replace(" TEXT", ' TEXT COLLATE "C"')
    + "".join(
        f"CREATE TRIGGER kept BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION append_only();\n"
        for table in ("requests", "attempts", "bodies", "results", "batches")
    )
)


class Postgres:
    """A connection to one lake's calls, with what `sqlite3.Connection` has of it.

    Raises:
        sqlite3.Error: whatever psycopg2 raises, as SQLite's error of the same name.
    """

    def __init__(self, address: str, schema: str):
        self._schema = schema
        self._con = _connected(address)
        self.execute(f"SET search_path TO {schema}; SET lock_timeout TO {HELD_S * 1000:.0f}")

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        """A cursor over the result of a statement in SQLite's dialect, as far as the store speaks it."""
        with _as_sqlite():
            cursor = self._con.cursor()
            if not parameters:
                cursor.execute(_translated(sql).replace("%%", "%"))
            else:
                values: Any = [_fit(v) for v in parameters]
                if "?1" in sql:
                    values = {str(i): v for i, v in enumerate(values, 1)}
                cursor.execute(_translated(sql), values)
        return cursor

    @property
    def lost(self) -> bool:
        """Whether the connection is no more."""
        return bool(self._con.closed)

    @property
    def in_transaction(self) -> bool:
        return not self._con.closed and self._con.info.transaction_status in (1, 2, 3)

    @contextlib.contextmanager
    def one_of_several(self) -> Generator[None]:
        """A write that fails takes no other write of its transaction along, as in SQLite."""
        self.execute("SAVEPOINT one")
        try:
            yield
        except sqlite3.IntegrityError:
            self.execute("ROLLBACK TO one")
            raise

    @contextlib.contextmanager
    def alone(self, whom: str) -> Generator[None]:
        """While one process of any machine asks somebody, others wait. The lock is the connection's that writes: who loses
        it can begin no further call."""
        number = zlib.crc32(f"{self._schema} {whom}".encode())
        while not self.execute("SELECT pg_try_advisory_lock(?)", (number,)).fetchone()[0]:
            time.sleep(LOOK_EVERY_S)  # and not in the server, where no signal would end the wait
        try:
            yield
        finally:
            with contextlib.suppress(sqlite3.Error):
                self.execute("SELECT pg_advisory_unlock(?)", (number,))

    def close(self) -> None:
        self._con.close()


def _translated(sql: str) -> str:
    sql = sql.replace("%", "%%")
    if sql == "BEGIN IMMEDIATE":  # one writer at a time, so that the sums that it sees are all there is
        return "BEGIN; SELECT pg_advisory_xact_lock(hashtext(current_schema()))"
    sql = re.sub(r"^INSERT OR IGNORE (.*)$", r"INSERT \1 ON CONFLICT DO NOTHING", sql, flags=re.S)
    sql = re.sub(r"\?(\d)", r"%(\1)s", sql)
    return sql.replace("?", "%s")


def _fit(value: Any) -> Any:
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) else value


@contextlib.contextmanager
def _as_sqlite() -> Generator[None]:
    import psycopg2

    try:
        yield
    except psycopg2.IntegrityError as e:
        raise sqlite3.IntegrityError(str(e).strip()) from e
    except (psycopg2.OperationalError, psycopg2.InterfaceError) as e:
        made = sqlite3.OperationalError(str(e).strip())
        if e.pgcode == LOCK_NOT_AVAILABLE:
            made.sqlite_errorcode = sqlite3.SQLITE_BUSY
        raise made from e
    except psycopg2.Error as e:
        raise sqlite3.DatabaseError(str(e).strip()) from e


def _connected(address: str) -> Any:
    try:
        import psycopg2
        from psycopg2.extensions import DECIMAL, new_type, parse_dsn, register_type
    except ImportError as e:
        raise ConfigError(f"{ADDRESS} needs pip install 'assay[postgres]'") from e
    try:
        port = str(parse_dsn(address).get("port", "5432"))
    except psycopg2.Error:
        port = ""
    if not port.isdigit():  # what the driver says of such an address quotes the password
        raise ConfigError(
            f"{ADDRESS} is no address: postgresql://USER:PASSWORD@HOST/DATABASE, special characters of the password as %XX"
        )
    try:
        made = psycopg2.connect(address)
    except psycopg2.OperationalError as e:
        raise ConfigError(f"{ADDRESS}: {str(e).strip()}") from None
    made.autocommit = True
    # sums of whole numbers are numeric there
    register_type(new_type(DECIMAL.values, "number", lambda v, _: v and (float(v) if "." in v else int(v))), made)
    return made


def opened(folder: Path, address: str | None, kept: bool) -> Postgres | None:
    """The lake's calls in PostgreSQL; None where they stand in the folder.

    Args:
        folder: `files/calls` of the lake.
        kept: whether calls are stored in the folder.

    Raises:
        ConfigError: nothing says where the server is, or calls are stored in the folder already.
        LookupError: the calls were there, and are gone.
    """
    place = folder / PLACE
    if not place.exists():
        if not address:
            return None
        if kept:
            raise ConfigError(
                f"{ADDRESS} is set, and the calls of this lake stand in {folder}: every answer would be paid again. Unset it"
            )
        _begun(address, place)
    if not address:
        raise ConfigError(f"the calls of this lake stand in PostgreSQL, and {ADDRESS} does not say where")
    schema = place.read_text(encoding="utf-8").strip()
    if not SCHEMA.fullmatch(schema):
        raise LookupError(f"{place} does not name a schema")
    made = Postgres(address, schema)
    if not made.execute("SELECT 1 FROM pg_namespace WHERE nspname = ?", (schema,)).fetchone():
        made.close()
        raise LookupError(f"the schema {schema} is gone from the database")
    return made


def _begun(address: str, place: Path) -> None:
    """A new schema, and the file that names it; of several processes that begin at once, one is heard.

    Raises:
        ConfigError: the role may not create a schema.
    """
    import psycopg2

    schema = f"assay_calls_{uuid.uuid4().hex[:16]}"
    with contextlib.closing(_connected(address)) as con, con.cursor() as cursor:
        try:
            cursor.execute(f"BEGIN; CREATE SCHEMA {schema}; SET LOCAL search_path TO {schema}; {_TABLES} COMMIT")
        except psycopg2.Error as e:  # a role that may not
            raise ConfigError(f"{ADDRESS}: {str(e).strip()}") from None
        new = place.with_name(f"{place.name}.{schema}")
        new.write_text(schema, encoding="utf-8")
        try:
            os.link(new, place)
        except FileExistsError:
            cursor.execute(f"DROP SCHEMA {schema} CASCADE")
        finally:
            new.unlink()
