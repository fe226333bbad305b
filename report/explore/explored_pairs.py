"""The pairs of a lake as the page of `assay explore` looks at them: filtered, counted, compared."""

import contextlib
import threading
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any

import duckdb

from resources.lake import Lake
from sql import statement

if TYPE_CHECKING:
    import pyarrow as pa

PAGE = 50  # pairs of a page
NAMED = ("source", "class", "reason", "decided_by", "category", "objectivity", "controversiality", "risk")
SCORES = ("p_best", "p_gold", "p_right")
BY = ("source", "decided_by", "category", "objectivity", "controversiality", "risk")
ROWS = 200  # of an answer to SQL that are shown
NOBODY = "(none)"  # how '' is shown and asked for
LONGEST_S = 60.0  # for a question, while which no other one is answered
CHANGED = "the lake has changed since this page was started: start it again ({})"


class NoAnswer(Exception):
    """A question that cannot be answered; the message says why."""


class ExploredPairs:
    """One session of a lake, for one request at a time. What is filtered by is held in memory, texts stay in the files.

    Args:
        lake: whose pairs; the session shows them as they are now.
    """

    def __init__(self, lake: Lake):
        self._lock = threading.Lock()
        self._opened = lake.connect()
        self._con = self._opened.__enter__()
        self._con.sql(statement("report/explored")).create("explored")
        self.pairs = self._con.table("explored").count("*").fetchall()[0][0]
        self.choices = {name: self._listed(name) for name in NAMED}
        table = self._con.table("explored")
        self.scores = [s for s in SCORES if table.count(s).fetchall()[0][0]]

    def close(self) -> None:
        with self._lock:
            self._opened.__exit__(None, None, None)

    @contextlib.contextmanager
    def _asking(self, otherwise: str) -> Generator[None]:
        """The session for one question.

        Raises:
            NoAnswer: the database refuses it, which is `otherwise`, or takes too long.
        """
        with self._lock:
            stopped = threading.Timer(LONGEST_S, self._con.interrupt)
            stopped.daemon = True
            stopped.start()
            try:
                yield
            except duckdb.InterruptException:
                raise NoAnswer(f"stopped after {LONGEST_S:g} s: ask for less") from None
            except duckdb.Error as e:
                raise NoAnswer(otherwise.format(e)) from None
            finally:
                stopped.cancel()

    def _listed(self, name: str) -> list[str]:
        rows = self._con.table("explored").select(duckdb.ColumnExpression(name)).distinct().order("1").fetchall()
        return [value or NOBODY for (value,) in rows]

    def _pick(self, asked: Mapping[str, str]) -> int:
        """Make the table `picked`; returns how many pairs are in it."""
        found = self._con.table("explored")
        column, value = duckdb.ColumnExpression, duckdb.ConstantExpression
        for name in NAMED:
            if wanted := asked.get(name):
                found = found.filter(column(name) == value("" if wanted == NOBODY else wanted))
        for name in SCORES:
            for end in ("from", "to"):
                if text := asked.get(f"{name}_{end}", "").strip():
                    try:
                        edge = value(float(text))
                    except ValueError:
                        raise NoAnswer(f"{name}: {text!r} is no number") from None
                    found = found.filter(column(name) >= edge if end == "from" else column(name) <= edge)
        if start := asked.get("pair", "").strip().lower():
            found = found.filter(duckdb.FunctionExpression("starts_with", column("pair_id"), value(start)))
        if words := asked.get("text", "").strip():
            said = self._con.sql(statement("report/texts_with_words"), params={"words": words})
            found = found.join(said, "pair_id", how="semi")
        self._con.execute("DROP TABLE IF EXISTS now_picked")
        found.create("now_picked")
        self._con.execute("DROP TABLE IF EXISTS picked")
        self._con.execute("ALTER TABLE now_picked RENAME TO picked")
        return self._con.table("picked").count("*").fetchall()[0][0]

    def view(self, asked: Mapping[str, str], page: int) -> dict[str, Any]:
        """{found, rows: pairs of one page with the beginnings of their texts, counts: by class}."""
        with self._asking(CHANGED):
            found = self._pick(asked)
            rows = self._con.table("picked").order("pair_id").limit(PAGE, PAGE * page).to_arrow_table().to_pylist()
            texts = {t["pair_id"]: t for t in self._texts([r["pair_id"] for r in rows])}
            counts = self._con.execute("SELECT class, count(*) FROM picked GROUP BY ALL ORDER BY 2 DESC, 1").fetchall()
        return {"found": found, "rows": [r | texts[r["pair_id"]] for r in rows], "counts": counts}

    def pair(self, name: str) -> dict[str, Any]:
        """One pair with its texts.

        Raises:
            NoAnswer: there is none.
        """
        with self._asking(CHANGED):
            one = duckdb.ColumnExpression("pair_id") == duckdb.ConstantExpression(name)
            rows = self._con.table("explored").filter(one).to_arrow_table().to_pylist()
            if not rows:
                raise NoAnswer(f"the clean pool has no pair {name!r}")
            texts = self._texts([name])
        return rows[0] | texts[0]

    def compared(self, asked: Mapping[str, str], by: str) -> list[dict[str, Any]]:
        """Before and after curation, by one property."""
        with self._asking(CHANGED):
            self._pick(asked)
            found = self._con.sql(statement("report/before_and_after"), params={"property": by if by in BY else BY[0]})
            return found.to_arrow_table().to_pylist()

    def picked(self, asked: Mapping[str, str], most: int) -> "pa.Table":
        """The first pairs of a selection as people are asked about them, by id; at most so many."""
        with self._asking(CHANGED):
            self._pick(asked)
            return self._con.sql(statement("report/picked_for_people"), params={"most": most}).to_arrow_table()

    def answer(self, query: str) -> tuple[list[str], list[tuple], bool]:
        """(columns, rows, whether there are more) of one SELECT over the lake.

        Raises:
            NoAnswer: it is no query, or the database refuses it.
        """
        with self._asking("{}"):
            parsed = duckdb.extract_statements(query)
            if len(parsed) != 1 or parsed[0].type != duckdb.StatementType.SELECT:
                raise NoAnswer("one SELECT (or FROM …) at a time; the page changes nothing")
            rows = self._con.sql(query)
            if rows is None:
                raise NoAnswer("one SELECT (or FROM …) at a time; the page changes nothing")
            some = rows.limit(ROWS + 1).fetchall()
            return rows.columns, some[:ROWS], len(some) > ROWS

    def _texts(self, ids: list[str]) -> list[dict[str, Any]]:
        if not ids:
            return []
        asked = {"ids": ids, "low": min(ids), "high": max(ids)}
        found = self._con.sql(statement("report/texts_of_explored"), params=asked).to_arrow_table().to_pylist()
        if len(found) < len(ids):
            raise NoAnswer(CHANGED.format("a pair has lost its texts"))
        return found
