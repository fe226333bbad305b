"""Paid calls: the request as a pure record, and the append-only store that is cache, resume point, ledger and audit.

Three events make a call: an attempt is written before anything is sent, the body as soon as it is there and before
anybody reads it, its result once it has been read. What the process dies between the first two is an attempt without a
result, 'lost': it may have been paid, so it counts at the most it can have cost. A body without a result is read by the
next run.
"""

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import sqlite3
import time
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from curation.tables import SPENDING
from resources.lake import Lake
from resources.llm import call_postgres
from resources.settings import ConfigError
from resources.stops import Stop

# The provider answered, and charged. 'error', 'expired', 'cancelled' and 'returned' (its batch failed as a whole) brought
# no answer; the next run asks again.
ANSWERED = ("ok", "refused", "truncated", "unparsable", "invalid")

LEDGER = pa.schema(
    [
        pa.field("stage", pa.string(), False),
        pa.field("judge", pa.string(), False),
        pa.field("model", pa.string(), False),
        pa.field("status", pa.string(), False),
        pa.field("calls", pa.int64(), False),
        pa.field("cost_micros", pa.int64(), False),
        pa.field("at_risk_micros", pa.int64(), False),
    ]
)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS requests(key TEXT PRIMARY KEY, provider TEXT, base_url TEXT, replicate INTEGER, body BLOB)
    WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS attempts(
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, stage TEXT NOT NULL, judge TEXT NOT NULL, model TEXT NOT NULL,
    batch TEXT NOT NULL, reserved INTEGER NOT NULL, started REAL NOT NULL, host TEXT NOT NULL DEFAULT '', digest INTEGER);
CREATE TABLE IF NOT EXISTS bodies(attempt INTEGER PRIMARY KEY REFERENCES attempts(id), at REAL NOT NULL, raw BLOB NOT NULL,
    digest INTEGER);
CREATE TABLE IF NOT EXISTS results(
    id INTEGER PRIMARY KEY, attempt INTEGER NOT NULL UNIQUE REFERENCES attempts(id), key TEXT NOT NULL,
    status TEXT NOT NULL, http INTEGER NOT NULL, cost INTEGER NOT NULL, at_risk INTEGER NOT NULL,
    released INTEGER NOT NULL, error TEXT NOT NULL, raw BLOB NOT NULL, sdk TEXT NOT NULL, finished REAL NOT NULL,
    digest INTEGER);
CREATE TABLE IF NOT EXISTS batches(
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, judge TEXT NOT NULL, event TEXT NOT NULL, data TEXT NOT NULL,
    at REAL NOT NULL, digest INTEGER);
CREATE INDEX IF NOT EXISTS results_by_key ON results(key);
CREATE INDEX IF NOT EXISTS attempts_by_key ON attempts(key);
CREATE INDEX IF NOT EXISTS attempts_by_batch ON attempts(batch) WHERE batch <> '';
CREATE INDEX IF NOT EXISTS batches_by_name ON batches(name);
""" + "".join(
    f"CREATE TRIGGER IF NOT EXISTS {table}_{event} BEFORE {event} ON {table} "
    f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END;\n"
    for table in ("requests", "attempts", "bodies", "results", "batches")
    for event in ("UPDATE", "DELETE")
)


HELD_S = 60  # seconds for which another program may hold the store
KEPT = "kept"  # file beside the store: there are calls in it

# What the digest of a row is taken over. The texts that were sent and received bear a check of their own: they are
# compressed, and a request's key is a hash of it.
DIGESTS = {
    "attempts": ("key", "stage", "judge", "model", "batch", "reserved", "started", "host"),
    "bodies": ("attempt", "at"),
    "results": ("attempt", "key", "status", "http", "cost", "at_risk", "released", "error", "sdk", "finished"),
    "batches": ("name", "judge", "event", "data", "at"),
}

# The body of a result: beside it since bodies are stored before they are read, in it before.
_RAW = "coalesce(bodies.raw, results.raw)"


class BudgetExceeded(Stop):
    """The next call could overstep `budget.dollars`. Every answer so far is stored; a higher budget continues."""


class LostCalls(Stop, ConfigError):
    """The store of calls is not what it was: to go on would pay every answer again."""


class HeldCalls(Stop, ConfigError):
    """Another program holds the store of calls for too long, or its server is lost. Nothing is sent that cannot be written
    there."""


def canonical(value: Any) -> bytes:
    """JSON of a value in the one spelling that is hashed: sorted keys, no spaces, UTF-8, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def row_digest(values: Iterable[Any]) -> int:
    """Of a row, by the columns of DIGESTS: a flipped bit of the file changes what was paid without a word else."""
    return zlib.crc32(repr([_stored(v) for v in values]).encode("utf-8", "surrogatepass"))


def _stored(value: Any) -> Any:
    """A value as SQLite gives it back, whatever subclass or type of number was put in."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return int(value)
    return value


@dataclass(frozen=True)
class Request:
    """Everything of a call that reaches the wire, and which of several equal calls it is.

    Attributes:
        provider: openai or anthropic, whose protocol is spoken.
        base_url: of the server, '' for the provider's own.
        body: of the call: model, messages, schema, parameters. No key, no timeout, no row number.
        replicate: from 0; without it several equal calls would be one.
    """

    provider: str
    base_url: str
    body: Mapping[str, Any]
    replicate: int

    @functools.cached_property
    def wire(self) -> bytes:
        return canonical(self.body)

    @property
    def most_tokens(self) -> int:
        """What bounds the answer, by either of its names."""
        return max(self.body.get(name, 0) for name in ("max_completion_tokens", "max_tokens"))

    @functools.cached_property
    def key(self) -> str:
        """32 hex digits."""
        parts = canonical([self.provider, self.base_url, self.replicate]) + b"\0" + self.wire
        return hashlib.blake2b(parts, digest_size=16).hexdigest()


@dataclass(frozen=True)
class Call:
    """The last answer to a request: raw body as received, how many answers there were, and what all of them cost."""

    status: str
    raw: bytes
    answers: int
    cost_micros: int


class Store:
    """Requests, attempts and results in one SQLite file, or in PostgreSQL; rows are only ever added.

    Several processes may use it at once, of one machine or of any: an attempt and its check against the budget are one
    transaction. Open it with `store(lake)`.
    """

    def __init__(self, path: Path, readonly: bool = False, postgres: call_postgres.Postgres | None = None):
        self._folder, self._readonly, self._postgres = path.parent, readonly, postgres
        self._seen = [0, 0]
        self._committed = 0
        self._once: dict[tuple, Any] = {}  # what no other process changes in a way that matters while this is open
        self._con: sqlite3.Connection | call_postgres.Postgres
        if postgres is not None:
            self._con = postgres
            return
        if readonly:
            self._con = readers(path)
            return
        # `group` may run on a helper thread, one at a time
        self._con = sqlite3.connect(path, timeout=HELD_S, isolation_level=None, check_same_thread=False)
        with self.alone("the file itself"):  # two that make it at once would find it locked
            self._con.execute("PRAGMA journal_mode=WAL")
            self._con.execute("PRAGMA synchronous=FULL")
            self._con.executescript(_SCHEMA)
            for table, column in (
                ("attempts", "host TEXT NOT NULL DEFAULT ''"),
                *((t, "digest INTEGER") for t in DIGESTS),
            ):
                if column.split()[0] not in {c[1] for c in self._con.execute(f"PRAGMA table_info({table})")}:
                    self._con.execute(f"ALTER TABLE {table} ADD COLUMN {column}")

    def close(self) -> None:
        self._con.close()

    @contextlib.contextmanager
    def alone(self, whom: str) -> Generator[None]:
        """While one process asks somebody, others that would ask the same wait for what is then stored; both would pay
        else. The system ends the wait with the process, however that ends."""
        if self._postgres is not None:
            with self._postgres.alone(whom):
                yield
            return
        with open(self._folder / f"{hashlib.blake2b(whom.encode(), digest_size=8).hexdigest()}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection | call_postgres.Postgres]:
        if self._con.in_transaction:  # part of a group
            yield self._con
            return
        self._begin()
        try:
            yield self._con
            self._con.execute("COMMIT")
        except BaseException:
            if self._con.in_transaction:  # a full disk has ended it already
                self._con.execute("ROLLBACK")
            self._seen, self._committed = [0, 0], 0  # sums may have been of rows that are no more
            raise

    def _begin(self) -> None:
        try:
            self._con.execute("BEGIN" if self._readonly else "BEGIN IMMEDIATE")
        except sqlite3.Error:  # PostgreSQL has begun before it waits; a transaction in a file is another thread's
            if self._postgres is not None and self._con.in_transaction:
                self._con.execute("ROLLBACK")
            raise

    def group(self, writes: Iterable[Callable[["Store"], Any]]) -> list[Any]:
        """Several writes as one transaction, since each waits for the disk.

        Returns:
            What each write returned, or the error that the store refused it with.
        """
        results: list[Any] = []
        with self._transaction():
            for write in writes:
                try:
                    with self._postgres.one_of_several() if self._postgres else contextlib.nullcontext():
                        results.append(write(self))
                except sqlite3.IntegrityError as e:
                    results.append(e)
        return results

    # ---- cache -----------------------------------------------------------------------------------------------------
    def answered(self, keys: Iterable[str]) -> dict[str, Call]:
        """The last answer to each of those keys that ever had one."""
        sql = (
            f"SELECT key, status, {_RAW}, answers, paid FROM results JOIN (SELECT max(id) AS last, count(*) AS answers, "
            f"sum(cost) AS paid FROM results WHERE status IN {ANSWERED} AND key IN (%s) GROUP BY key) AS newest ON last = id "
            "LEFT JOIN bodies USING (attempt)"
        )
        keys, found = list(keys), {}
        for i in range(0, len(keys), 500):
            part = keys[i : i + 500]
            for key, status, raw, answers, cost in self._con.execute(sql % ",".join("?" * len(part)), part):
                found[key] = Call(status, zlib.decompress(raw), answers, cost)
        return found

    def known(self, requests: Iterable[Request], judge: str, model: str) -> dict[str, Call]:
        """As `answered`, by the requests' keys; what the same model answered to the same judge at another address counts,
        since a server that has moved is not asked again."""
        by_key = {r.key: r for r in requests}
        found = self.answered(by_key)
        if len(found) == len(by_key):
            return found
        about = ("addresses", judge, model)
        if about not in self._once:
            sql = "SELECT DISTINCT base_url FROM requests JOIN attempts USING (key) WHERE judge = ? AND model = ?"
            self._once[about] = self._con.execute(sql, (judge, model)).fetchall()
        for (address,) in self._once[about]:
            moved = {
                replace(r, base_url=address).key: key
                for key, r in by_key.items()
                if key not in found and r.base_url != address
            }
            there = self.answered(self._asked_by(judge, moved))
            found |= {moved[key]: call for key, call in there.items()}
        return found

    def _asked_by(self, judge: str, keys: Iterable[str]) -> list[str]:
        keys, found = list(keys), []
        for i in range(0, len(keys), 500):
            part = keys[i : i + 500]
            marks = ",".join("?" * len(part))
            sql = f"SELECT DISTINCT key FROM attempts WHERE judge = ? AND key IN ({marks})"
            found += [key for (key,) in self._con.execute(sql, (judge, *part))]
        return found

    # ---- events ----------------------------------------------------------------------------------------------------
    def start(
        self,
        request: Request,
        stage: str,
        judge: str,
        model: str,
        reserve: int,
        cap: int,
        batch: str = "",
        host: str = "",
    ) -> int | None:
        """Write that a request is about to be sent, and to which host.

        Returns:
            The attempt's number, or None where everything spent and reserved, with `reserve`, would exceed `cap`
            (both in micro-dollars); then nothing is written. What costs nothing is always allowed.
        """
        with self._transaction() as con:
            if reserve and self._total() + reserve > cap:
                return None
            con.execute(
                "INSERT OR IGNORE INTO requests VALUES (?, ?, ?, ?, ?)",
                (request.key, request.provider, request.base_url, request.replicate, zlib.compress(request.wire, 1)),
            )
            return self._add("attempts", request.key, stage, judge, model, batch, reserve, time.time(), host)

    def receive(self, attempt: int, raw: bytes) -> None:
        """Write a body as received, before anybody reads it; the first one of an attempt stays."""
        with self._transaction() as con:
            at = time.time()
            con.execute(
                "INSERT OR IGNORE INTO bodies(attempt, at, raw, digest) VALUES (?, ?, ?, ?)",
                (attempt, at, zlib.compress(raw), row_digest((attempt, at))),
            )

    def unread(self, judge: str, stage: str) -> list[tuple[int, str, int, bool, bytes]]:
        """(attempt, key, reserved, whether in a batch, body) of a judge's bodies that were left unread when this store was
        opened; given once."""
        about = ("unread", judge, stage)
        if about in self._once:
            return []
        self._once[about] = True
        rows = self._con.execute(
            "SELECT a.id, a.key, a.reserved, a.batch <> '', b.raw FROM bodies b JOIN attempts a ON a.id = b.attempt "
            "LEFT JOIN results r ON r.attempt = a.id WHERE r.id IS NULL AND a.judge = ? AND a.stage = ? ORDER BY a.id",
            (judge, stage),
        )
        return [
            (attempt, key, reserve, bool(batch), zlib.decompress(raw)) for attempt, key, reserve, batch, raw in rows
        ]

    def finish(
        self,
        attempt: int,
        status: str,
        *,
        raw: bytes = b"",
        http: int = 0,
        cost: int = 0,
        at_risk: bool = False,
        error: str = "",
        sdk: str = "",
    ) -> None:
        """Write how an attempt ended. A second result of one attempt is refused by the store.

        Args:
            attempt: number given by `start`.
            status: one of ANSWERED, or error, expired or cancelled.
            raw: body, where `receive` did not write it.
            http: status code, 0 where there was no response.
            cost: micro-dollars by the provider's usage.
            at_risk: the provider may charge for it although nothing arrived: what was reserved stays counted.
            error: message without any key; of an answer, what was odd about it.
            sdk: name and version of what spoke to the server.
        """
        with self._transaction() as con:
            key, reserved = con.execute("SELECT key, reserved FROM attempts WHERE id = ?", (attempt,)).fetchone()
            risk = reserved if at_risk else 0
            values = (attempt, key, status, http, cost, risk, reserved, error, sdk, time.time())
            self._add("results", *values, raw=zlib.compress(raw))

    def _add(self, table: str, *values: Any, **more: bytes) -> int | None:
        """A row of a table with its digest; returns its number.

        Args:
            table: one of DIGESTS.
            values: of the columns there.
            more: other columns.
        """
        columns = (*DIGESTS[table], "digest", *more)
        sql = f"INSERT INTO {table}({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))}) RETURNING id"
        return self._con.execute(sql, (*values, row_digest(values), *more.values())).fetchone()[0]

    # ---- batches ---------------------------------------------------------------------------------------------------
    def plan_batch(
        self,
        name: str,
        stage: str,
        judge: str,
        model: str,
        requests: Iterable[tuple[Request, int]],
        cap: int,
        host: str = "",
    ) -> bool:
        """Write a batch of requests with what each may cost, all or nothing: False where the budget does not reach. What
        another process has in a batch that is open is left out, and a batch of nothing is not written."""
        try:
            with self._transaction():
                requests = list(requests)
                taken, planned = self.in_open_batches(r.key for r, _ in requests), 0
                for request, reserve in requests:
                    if request.key in taken:
                        continue
                    if self.start(request, stage, judge, model, reserve, cap, name, host) is None:
                        raise BudgetExceeded
                    planned += 1
                if not planned:
                    return True
                self._add("batches", name, judge, "planned", "", time.time())
        except BudgetExceeded:
            return False
        return True

    def batch_event(self, name: str, event: str, data: str = "", after: str | None = None) -> bool:
        """Write the next step of a batch: submitting, submitted (data: the provider's id), foreign (data: an id that is
        another's), failed (data: why, in the provider's words) or ingested.

        Args:
            after: the last step there must be; False where another process was quicker, and nothing is written.
        """
        with self._transaction() as con:
            if after is not None and self.batch_state(name)[0] != after:
                return False
            judge = con.execute("SELECT judge FROM batches WHERE name = ? LIMIT 1", (name,)).fetchone()[0]
            self._add("batches", name, judge, event, data, time.time())
            return True

    def batch_state(self, name: str) -> tuple[str, str, float]:
        """Last event, its data and its time."""
        return self._con.execute(
            "SELECT event, data, at FROM batches WHERE name = ? ORDER BY id DESC LIMIT 1", (name,)
        ).fetchone()

    def open_batches(self, judge: str) -> list[str]:
        rows = self._con.execute(
            "SELECT name FROM batches WHERE judge = ? GROUP BY name HAVING count(*) FILTER (WHERE event = 'ingested') = 0 "
            "ORDER BY min(id)",
            (judge,),
        )
        return [name for (name,) in rows]

    def batch_stage(self, name: str) -> str:
        """The ledger's name for what a batch was sent for."""
        return self._con.execute("SELECT stage FROM attempts WHERE batch = ? LIMIT 1", (name,)).fetchone()[0]

    def submitted_batches(self) -> frozenset[str]:
        """The providers' ids of all batches that are known to be some other one."""
        return frozenset(
            d for (d,) in self._con.execute("SELECT data FROM batches WHERE event IN ('submitted', 'foreign')")
        )

    def failed_batches(self, judge: str, since: float) -> list[tuple[int, str]]:
        """(requests, why in the provider's words) of a judge's batches that failed as a whole since a time."""
        return self._con.execute(
            "SELECT (SELECT count(*) FROM attempts WHERE batch = name), data FROM batches "
            "WHERE judge = ? AND event = 'failed' AND at >= ? ORDER BY id",
            (judge, since),
        ).fetchall()

    def batch_requests(self, name: str) -> list[tuple[str, dict]]:
        """Key and body of each request of a batch."""
        rows = self._con.execute(
            "SELECT key, body FROM attempts JOIN requests USING (key) WHERE batch = ? ORDER BY attempts.id", (name,)
        )
        return [(key, json.loads(zlib.decompress(body))) for key, body in rows]

    def batch_attempts(self, name: str) -> dict[str, tuple[int, int]]:
        """Key -> (attempt, micro-dollars reserved) of the requests of a batch whose end is not known."""
        rows = self._con.execute(
            "SELECT a.key, a.id, a.reserved FROM attempts a LEFT JOIN results r ON r.attempt = a.id "
            "WHERE a.batch = ? AND r.id IS NULL ORDER BY a.id",
            (name,),
        )
        return {key: (attempt, reserved) for key, attempt, reserved in rows}

    def in_open_batches(self, keys: Iterable[str]) -> set[str]:
        return set(keys) & {
            key
            for (key,) in self._con.execute(
                "SELECT a.key FROM attempts a LEFT JOIN results r ON r.attempt = a.id "
                "WHERE a.batch <> '' AND r.id IS NULL"
            )
        }

    def batch_tries(self, keys: Iterable[str]) -> dict[str, int]:
        """In how many batches each of the keys has been; one that failed as a whole does not count."""
        wanted = set(keys)
        rows = self._con.execute(
            "SELECT a.key, count(*) FROM attempts a LEFT JOIN results r ON r.attempt = a.id "
            "WHERE a.batch <> '' AND coalesce(r.status, '') <> 'returned' GROUP BY a.key"
        )
        return {key: n for key, n in rows if key in wanted}

    # ---- money -----------------------------------------------------------------------------------------------------
    def committed(self) -> int:
        """Micro-dollars spent, at risk and reserved by attempts whose end is not known."""
        with self._transaction():
            return self._total()

    def _total(self) -> int:
        """Adds what was written since the last look; a writer holds the lock, so no smaller id can follow."""
        attempts, results = self._seen
        new = self._con.execute(
            "SELECT coalesce(sum(reserved), 0), coalesce(max(id), ?1) FROM attempts WHERE id > ?1", (attempts,)
        ).fetchone()
        done = self._con.execute(
            "SELECT coalesce(sum(cost + at_risk - released), 0), coalesce(max(id), ?1) FROM results WHERE id > ?1",
            (results,),
        ).fetchone()
        self._seen = [new[1], done[1]]
        self._committed += new[0] + done[0]
        return self._committed

    def overrun(self, judge: str, model: str) -> float:
        """How many times its bound the dearest call of a judge cost; 1 where none cost more."""
        found = self._con.execute(
            "SELECT max(1.0 * cost / released) FROM results r JOIN attempts a ON a.id = r.attempt "
            "WHERE a.judge = ? AND a.model = ? AND released > 0",
            (judge, model),
        ).fetchone()[0]
        return max(1.0, found or 1.0)

    def last_error(self, judge: str) -> str:
        """What was said of a judge's last call that brought no answer; '' where there is none."""
        found = self._con.execute(
            f"SELECT error FROM results r JOIN attempts a ON a.id = r.attempt WHERE a.judge = ? AND error <> '' "
            f"AND status NOT IN {ANSWERED} ORDER BY r.id DESC LIMIT 1",
            (judge,),
        ).fetchone()
        return found[0] if found else ""

    def paid(self, judge: str) -> tuple[int, int]:
        """(answers, micro-dollars) of a judge so far."""
        return self._con.execute(
            f"SELECT count(*) FILTER (WHERE status IN {ANSWERED}), coalesce(sum(cost), 0) FROM results r "
            "JOIN attempts a ON a.id = r.attempt WHERE a.judge = ?",
            (judge,),
        ).fetchone()

    def ledger(self) -> pa.Table:
        """Calls and money by stage, judge, model and status; 'lost', 'open' (in a batch) and failures without an
        answer are at risk."""
        rows = self._con.execute(
            "SELECT stage, judge, model, coalesce(status, CASE WHEN batch = '' THEN 'lost' ELSE 'open' END), count(*), "
            "coalesce(sum(cost), 0), sum(coalesce(at_risk, reserved)) "
            "FROM attempts LEFT JOIN results ON attempt = attempts.id GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4"
        ).fetchall()
        columns = zip(*rows, strict=True) if rows else [[]] * len(LEDGER)
        return pa.table([pa.array(c, f.type) for c, f in zip(columns, LEDGER, strict=True)], schema=LEDGER)

    def recent(self, judge: str, model: str, n: int) -> Iterator[tuple[int, bytes]]:
        """(bytes of the request, body as received) of the last n usable answers of a judge by a model."""
        rows = self._con.execute(
            f"SELECT body, {_RAW} FROM results JOIN attempts a ON results.attempt = a.id "
            "JOIN requests q ON q.key = results.key LEFT JOIN bodies ON bodies.attempt = a.id "
            "WHERE a.judge = ? AND a.model = ? AND status = 'ok' ORDER BY results.id DESC LIMIT ?",
            (judge, model, n),
        )
        for body, raw in rows.fetchall():
            yield len(zlib.decompress(body)), zlib.decompress(raw)

    def bodies(self) -> Iterator[tuple[str, str, str, str, str, bytes]]:
        """(stage, judge, model, status, provider, body as received) of every answered call."""
        rows = self._con.execute(
            f"SELECT stage, judge, model, status, provider, {_RAW} FROM results JOIN attempts a ON results.attempt = a.id "
            "JOIN requests q ON q.key = results.key LEFT JOIN bodies ON bodies.attempt = a.id "
            f"WHERE status IN {ANSWERED}"
        )
        for *key, raw in rows:
            yield *key, zlib.decompress(raw)

    def mark(self) -> str:
        """A text that changes with every attempt and result."""
        return "/".join(
            str(self._con.execute(f"SELECT max(id) FROM {t}").fetchone()[0]) for t in ("attempts", "results")
        )

    def seconds(self, stages: str) -> list[tuple[str, float, int]]:
        """(judge, mean seconds of a call, calls) of answered calls outside batches, in stages that begin with `stages`."""
        return self._con.execute(
            "SELECT judge, avg(finished - started), count(*) FROM attempts JOIN results ON attempt = attempts.id "
            f"WHERE batch = '' AND status IN {ANSWERED} AND substr(stage, 1, ?2) = ?1 GROUP BY judge ORDER BY judge",
            (stages, len(stages)),
        ).fetchall()


def readers(path: Path) -> sqlite3.Connection:
    """A connection that writes nothing, not even beside the file; what other processes have not yet moved from the log
    into the file is seen where the log can be read."""
    log = path.with_name(f"{path.name}-wal")
    how = "mode=ro" if log.exists() and log.stat().st_size else "immutable=1"
    return sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, isolation_level=None, check_same_thread=False)


@contextlib.contextmanager
def store(lake: Lake) -> Generator[Store]:
    """The lake's store of calls, `files/calls/calls.sqlite`, only read where nothing may be written; or in PostgreSQL, where
    ASSAY_CALLS says so.

    Raises:
        LostCalls: it was there and is gone, empty or damaged.
        HeldCalls: another program holds it, or the database is lost.
    """
    folder = lake.folder("calls")
    path, kept, far_away = folder / "calls.sqlite", folder / KEPT, folder / call_postgres.PLACE
    address = os.environ.get(call_postgres.ADDRESS)
    if address and not any(p.exists() for p in (path, kept, far_away)) and _paid_before(lake):
        raise LostCalls(
            f"{far_away} is gone, and the lake's tables tell of calls that were paid: every answer would be paid again. Put it "
            f"back from a backup (docs/backup.md). To begin anew all the same, remove {lake.storage.where(SPENDING, None)}"
        )
    try:
        postgres = call_postgres.opened(folder, address, path.exists() or kept.exists())
    except LookupError as e:
        raise LostCalls(
            f"{e}, and calls were stored in it: every answer would be paid again. Restore the database"
        ) from e
    if postgres is not None:
        with contextlib.closing(Store(path, postgres=postgres)) as far, _reached(far_away, postgres):
            yield far
        return
    there = path.exists() and path.stat().st_size > 0
    if not there and (kept.exists() or _paid_before(lake)):
        raise LostCalls(
            f"{path} is {'empty' if path.exists() else 'gone'}, and calls were stored in it: every answer would be paid "
            f"again, and the budget would begin at 0. Put it back (`assay restore`, docs/backup.md). To begin anew all the "
            f"same, remove {kept} and {lake.storage.where(SPENDING, None)}"
        )
    with _whole(path):
        opened = Store(path, readonly=there and not os.access(path, os.W_OK))
        if not kept.exists() and os.access(folder, os.W_OK):
            kept.touch()
        with contextlib.closing(opened):
            yield opened


@contextlib.contextmanager
def _whole(path: Path) -> Generator[None]:
    """What SQLite says of a file that is damaged or held, whenever it finds out, as a stop that says what to do. Raises
    LostCalls, HeldCalls."""
    try:
        yield
    except (sqlite3.DatabaseError, zlib.error) as e:
        if _busy(e):
            raise HeldCalls(_HELD.format(path, HELD_S)) from e
        if type(e) not in (sqlite3.DatabaseError, zlib.error):  # a full disk, or a fault of this program
            raise
        raise LostCalls(
            f"{path} is damaged ({e}): no call is made, since every answer would be paid again. `assay verify` says more;"
            " put the file back from a backup (docs/backup.md)"
        ) from e


@contextlib.contextmanager
def _reached(place: Path, postgres: call_postgres.Postgres) -> Generator[None]:
    """What PostgreSQL says when the calls are held or it is lost, as a stop that says what to do. Raises HeldCalls."""
    try:
        yield
    except sqlite3.OperationalError as e:
        if _busy(e):
            raise HeldCalls(_HELD.format(f"what {place} names in PostgreSQL", call_postgres.HELD_S)) from e
        if not postgres.lost:  # a full disk there, or a fault of this program
            raise
        said = " ".join(str(e).split())
        raise HeldCalls(
            f"PostgreSQL, where {place} says that calls are stored, was lost ({said}), and no call is made that cannot be"
            " written there. Run again when it answers"
        ) from e


_HELD = (
    "{} was held by another program for {:g} s, and no call is made that cannot be written there. Run again when that program"
    " has ended"
)


def _busy(error: Exception) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def exists(lake: Lake) -> bool:
    """Whether the lake has a store of calls."""
    folder = lake.folder("calls")
    return (folder / "calls.sqlite").exists() or (folder / call_postgres.PLACE).exists()


def _paid_before(lake: Lake) -> bool:
    """Whether the published ledger knows of money."""
    if lake.address(SPENDING) is None:
        return False
    try:
        rows = lake.read(SPENDING, None, ["cost_micros", "at_risk_micros"])
    except FileNotFoundError:  # removed from a store by hand, whose log still names it
        return False
    return any(any(column.to_pylist()) for column in rows.columns)


def spent(lake: Lake) -> pa.Table:
    """The ledger so far: stage, judge, model, status, calls, cost_micros, at_risk_micros."""
    with store(lake) as opened:
        return opened.ledger()
