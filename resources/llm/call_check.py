"""Whether a store of calls is what was written."""

import hashlib
import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path

from resources.llm.call_store import DIGESTS, canonical, readers, row_digest


def faults(path: Path) -> Iterator[str]:
    """What is wrong with a store; every row is read and nothing is written. Rows that were written before rows had a
    digest are checked as far as their texts go."""
    con = readers(path)
    try:
        yield from _structure(con)
        for table, columns in DIGESTS.items():
            if "digest" not in {c[1] for c in con.execute(f"PRAGMA table_info({table})")}:
                continue
            sql = f"SELECT rowid, digest, {', '.join(columns)} FROM {table} WHERE digest IS NOT NULL"
            for number, digest, *values in con.execute(sql):
                if row_digest(values) != digest:
                    yield f"row {number} of {table} is not what was written"
        for key, provider, base_url, replicate, body in con.execute("SELECT * FROM requests"):
            wire = _text(body)
            head = canonical([provider, base_url, replicate]) + b"\0"
            if wire is None or hashlib.blake2b(head + wire, digest_size=16).hexdigest() != key:
                yield f"the request {key} is not what was sent"
        for table in ("bodies", "results"):
            number = "attempt" if table == "bodies" else "id"
            for row, raw in con.execute(f"SELECT {number}, raw FROM {table}"):
                if _text(raw) is None:
                    yield f"the answer in row {row} of {table} is not what was received"
    except (sqlite3.DatabaseError, OverflowError, UnicodeDecodeError, ValueError, TypeError) as e:
        yield f"it cannot be read to its end: {e}"
    finally:
        con.close()


def _structure(con: sqlite3.Connection) -> Iterator[str]:
    for (said,) in con.execute("PRAGMA integrity_check(5)"):
        if said != "ok":
            yield " ".join(said.split())
    lost = con.execute(
        "SELECT (SELECT count(*) FROM results WHERE attempt NOT IN (SELECT id FROM attempts)) + "
        "(SELECT count(*) FROM bodies WHERE attempt NOT IN (SELECT id FROM attempts)) + "
        "(SELECT count(*) FROM attempts WHERE key NOT IN (SELECT key FROM requests))"
    ).fetchone()[0]
    if lost:
        yield f"{lost} rows belong to none"


def _text(packed: bytes) -> bytes | None:
    try:
        return zlib.decompress(packed)
    except (zlib.error, TypeError):
        return None
