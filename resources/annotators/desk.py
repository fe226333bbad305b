"""The desk of a lake: what people are asked, and everything they said, as events that are only ever added.

One SQLite file, `files/people/desk.sqlite`. Every way to answer (a door) reads the queue here and adds events here, so
that a killed page, server or run loses nothing and nobody is asked twice. Tables are folded from the events.
"""

import contextlib
import json
import os
import secrets
import sqlite3
import time
import zlib
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curation.identity import digest
from curation.opinions import ANNOTATOR, Opinion, Standing, standing
from resources.annotators.records import Answer, Refused
from resources.lake import Lake
from resources.settings import Settings
from resources.settings.people import PeopleSettings

CLAIM = 30 * 60.0  # seconds for which a pair that somebody opened is kept from others
KEY = "key"  # file beside the store, readable by its owner alone: what the links of `assay label` are made of

_SCHEMA = """
CREATE TABLE IF NOT EXISTS items(
    id INTEGER PRIMARY KEY, batch TEXT NOT NULL, pair_id TEXT NOT NULL, body BLOB NOT NULL, at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS events(
    id INTEGER PRIMARY KEY, batch TEXT NOT NULL, pair_id TEXT NOT NULL, annotator TEXT NOT NULL, kind TEXT NOT NULL,
    door TEXT NOT NULL, ref TEXT NOT NULL, data TEXT NOT NULL, at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS items_by_pair ON items(batch, pair_id);
CREATE INDEX IF NOT EXISTS items_of_pair ON items(pair_id, id);
CREATE INDEX IF NOT EXISTS events_by_batch ON events(batch, kind);
CREATE INDEX IF NOT EXISTS events_of_pair ON events(pair_id, kind);
CREATE UNIQUE INDEX IF NOT EXISTS refused_once ON events(batch, ref) WHERE kind = 'refused';
""" + "".join(
    f"CREATE TRIGGER IF NOT EXISTS {table}_{event} BEFORE {event} ON {table} "
    f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END;\n"
    for table in ("items", "events")
    for event in ("UPDATE", "DELETE")
)

# What was said in earlier batches of a pair that batch ?1 asks for again: a closed batch left it unanswered. Planted pairs
# are asked anew in each.
_CARRIED = """batch <> ?1 AND batch <> '' AND id < coalesce(
        (SELECT min(id) FROM events WHERE batch = ?1 AND kind = 'closed'), 9e18)
    AND pair_id IN (SELECT value FROM events e, json_each(e.data) WHERE e.id = (
        SELECT max(id) FROM events WHERE batch = ?1 AND kind = 'published'))"""


@dataclass(frozen=True)
class Refusal:
    """A refused answer as it is shown and stored."""

    ref: str
    pair_id: str
    annotator: str
    door: str
    place: str
    reason: str
    at: float


@dataclass(frozen=True)
class Pair:
    """One item of a batch with what was said of it, in the order in which people first said it."""

    item: Mapping[str, Any]
    answers: Mapping[str, tuple[str, Answer]]  # annotator -> door, answer
    standing: Standing
    before: frozenset[str] = frozenset()  # those of them who gave it in an earlier batch

    @property
    def known(self) -> bool:
        """A planted pair, whose label is known."""
        return bool(self.item["known"])

    @property
    def unanswered(self) -> bool:
        """Whether what was said gives no label while somebody is still to be asked: nothing, a disagreement, or only that
        it is for somebody else. One label of two that are wanted is a label."""
        said = len(self.answers) - len(self.standing.passed)
        return not self.known and self.standing.needed > 0 and (self.standing.disagreed or not said)


@dataclass(frozen=True)
class BatchProgress:
    """How far a batch is.

    Attributes:
        batch: its name.
        pairs: those people are asked about, planted ones included.
        done: pairs that need nobody any more.
        answered: answers that are in.
        missing: answers still to come, as far as one can know: a disagreement may ask for more.
        by: annotator -> answers.
        for_second: pairs that wait for somebody who has not answered them yet.
        for_adjudicator: pairs that wait for an adjudicator.
        refused: refused answers that nobody has given anew.
        closed: why the batch was closed before all answers came; '' where it was not.
        published: when it went out, seconds since the epoch.
        last: when the last answer came; None for none.
    """

    batch: str
    pairs: int
    done: int
    answered: int
    missing: int
    by: Mapping[str, int]
    for_second: int
    for_adjudicator: int
    refused: int
    closed: str
    published: float
    last: float | None

    @property
    def complete(self) -> bool:
        return bool(self.closed) or not self.missing


@dataclass
class _Folded:
    """A batch as its events leave it."""

    pairs: list[Pair] = field(default_factory=list)
    closed: str = ""
    late: int = 0
    published: float = 0.0
    last: float | None = None


class Desk:
    """The store. Several processes may use one at once; each event is one durable transaction. Open it with `desk`."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time):
        self.path, self.clock = path, clock
        self._con = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
        self._con.execute("PRAGMA journal_mode=WAL")
        self._con.execute("PRAGMA synchronous=FULL")
        self._con.executescript(_SCHEMA)
        self._read: dict[str, tuple[int, dict[str, dict[str, Any]]]] = {}  # batch -> last item read, items

    def close(self) -> None:
        self._con.close()

    @contextlib.contextmanager
    def transaction(self) -> Generator[None]:
        """Several events at once, all or none."""
        if self._con.in_transaction:
            yield
            return
        self._con.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._con.execute("COMMIT")
        except BaseException:
            self._con.execute("ROLLBACK")
            raise

    @property
    def secret(self) -> bytes:
        """32 bytes of this desk alone, made when first asked for."""
        path = self.path.parent / KEY
        with contextlib.suppress(FileExistsError):
            made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(made, "wb") as file:
                file.write(secrets.token_bytes(32))
                file.flush()
                os.fsync(file.fileno())
        for _ in range(50):  # another process may be about to write it
            if len(found := path.read_bytes()) == 32:
                return found
            time.sleep(0.02)
        raise OSError(f"{path} is no key of 32 bytes; remove it, and all links are new")

    # ---- queue -----------------------------------------------------------------------------------------------------
    def publish(self, batch: str, items: Iterable[dict[str, Any]]) -> None:
        """Make these the items of a batch, in this order; what people said of them before still holds.

        The two sides of a pair stay where they were first shown, in whichever batch, whatever a new item says.

        Args:
            batch: its name.
            items: see `resources.annotators.tasks`.
        """
        with self.transaction():
            there = self._bodies(batch)
            order = []
            for item in items:
                old = there.get(item["pair_id"]) or self._earlier(batch, item)
                if old is not None and old["shown_first"] != item["shown_first"]:
                    sides = {n: old[n] for n in ("shown_first", "candidate_1", "candidate_2")}
                    item = item | sides | {n: old[n] for n in ("hint", "hint_verdict", "known")}
                if there.get(item["pair_id"]) != item:
                    body = zlib.compress(json.dumps(item, ensure_ascii=False).encode())
                    self._con.execute(
                        "INSERT INTO items(batch, pair_id, body, at) VALUES (?, ?, ?, ?)",
                        (batch, item["pair_id"], body, self.clock()),
                    )
                order.append(item["pair_id"])
            if order != self._order(batch):
                self._add(batch, "published", data=json.dumps(order))

    def _earlier(self, batch: str, item: Mapping[str, Any]) -> dict[str, Any] | None:
        """A pair as another batch last showed it; None where none did, and of planted pairs."""
        row = self._con.execute(
            "SELECT body FROM items WHERE pair_id = ? AND batch <> ? ORDER BY id DESC LIMIT 1", (item["pair_id"], batch)
        ).fetchone()
        old = json.loads(zlib.decompress(row[0])) if row else None
        return None if old is None or old["known"] or item["known"] else old

    def batches(self) -> list[str]:
        """All that ever went out, the oldest first."""
        rows = self._con.execute("SELECT batch FROM events WHERE kind = 'published' GROUP BY batch ORDER BY min(id)")
        return [batch for (batch,) in rows]

    def items(self, batch: str) -> list[dict[str, Any]]:
        """The items of a batch in order of work."""
        bodies = self._bodies(batch)
        return [bodies[pair] for pair in self._order(batch)]

    def _order(self, batch: str) -> list[str]:
        row = self._con.execute(
            "SELECT data FROM events WHERE batch = ? AND kind = 'published' ORDER BY id DESC LIMIT 1", (batch,)
        ).fetchone()
        return json.loads(row[0]) if row else []

    def _bodies(self, batch: str) -> dict[str, dict[str, Any]]:
        seen, known = self._read.get(batch, (0, {}))
        bodies = dict(known)
        rows = self._con.execute(
            "SELECT id, pair_id, body FROM items WHERE batch = ? AND id > ? ORDER BY id", (batch, seen)
        ).fetchall()
        bodies |= {pair: json.loads(zlib.decompress(body)) for _, pair, body in rows}
        if not self._con.in_transaction:  # else what was read may yet be taken back
            self._read[batch] = (rows[-1][0] if rows else seen), bodies
        return bodies

    # ---- events ----------------------------------------------------------------------------------------------------
    def _add(
        self, batch: str, kind: str, pair: str = "", annotator: str = "", door: str = "", ref: str = "", data: str = ""
    ) -> None:
        with self.transaction():
            self._con.execute(
                "INSERT OR IGNORE INTO events(batch, pair_id, annotator, kind, door, ref, data, at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (batch, pair, annotator, kind, door, ref, data, self.clock()),
            )

    def open(self, batch: str, pair: str, annotator: str, door: str, now: float) -> float:
        """Somebody looks at a pair; returns since when. Whoever loads it again within half an hour has seen it since the
        first time."""
        with self.transaction():
            since = self.opened(batch, pair, annotator, now)
            if since is None:
                self._add(batch, "opened", pair, annotator, door)
        return now if since is None else since

    def opened(self, batch: str, pair: str, annotator: str, now: float) -> float | None:
        """Since when somebody has had a pair open that they have not answered; None where they have not."""
        row = self._con.execute(
            "SELECT min(at) FROM events WHERE batch = ?1 AND kind = 'opened' AND pair_id = ?2 AND annotator = ?3 AND"
            " at > ?4 AND id > coalesce((SELECT max(id) FROM events WHERE batch = ?1 AND pair_id = ?2 AND annotator = ?3"
            " AND kind IN ('answered', 'withdrawn')), 0)",
            (batch, pair, annotator, now - CLAIM),
        ).fetchone()
        return row[0]

    def last_said(self, batch: str, pair: str, annotator: str) -> Answer | None:
        """What somebody last said of a pair, taken back or not."""
        row = self._con.execute(
            "SELECT data FROM events WHERE batch = ? AND kind = 'answered' AND pair_id = ? AND annotator = ?"
            " ORDER BY id DESC LIMIT 1",
            (batch, pair, annotator),
        ).fetchone()
        return Answer.restored(row[0]) if row else None

    def invite(self, annotator: str) -> None:
        """Somebody may answer on the page."""
        if annotator not in self.invited():
            self._add("", "invited", annotator=annotator)

    def invited(self) -> list[str]:
        rows = self._con.execute("SELECT annotator FROM events WHERE batch = '' AND kind = 'invited' ORDER BY id")
        return [who for (who,) in rows]

    def answer(self, batch: str, answer: Answer, door: str, ref: str = "") -> bool:
        """Write an answer; False where this door has said just this before, and nothing is written.

        Args:
            batch: the pair's.
            answer: what was read.
            door: files, label or label_studio.
            ref: the door's own name of it.
        """
        stored = answer.stored()
        with self.transaction():
            last = self._con.execute(
                "SELECT data, kind FROM events WHERE batch = ? AND kind IN ('answered', 'withdrawn') AND pair_id = ?"
                " AND annotator = ? AND door = ? ORDER BY id DESC LIMIT 1",
                (batch, answer.pair_id, answer.annotator, door),
            ).fetchone()
            if last == (stored, "answered"):
                return False
            self._add(batch, "answered", answer.pair_id, answer.annotator, door, ref, stored)
        return True

    def withdraw(self, batch: str, pair: str, annotator: str, door: str) -> None:
        """Take an answer back; the pair is in that person's queue again."""
        self._add(batch, "withdrawn", pair, annotator, door)

    def refuse(self, batch: str, refused: Refused, door: str, place: str, raw: Any = None) -> str:
        """Write that an answer cannot be used, once; returns its name."""
        ref = digest((door, place, json.dumps(raw, sort_keys=True, default=str), refused.reason))
        data = json.dumps({"place": place, "reason": refused.reason, "raw": json.dumps(raw, default=str)[:4000]})
        self._add(batch, "refused", refused.pair_id, refused.annotator, door, ref, data)
        return ref

    def scanned(self, batch: str, door: str, refs: Sequence[str]) -> None:
        """What a door that shows all answers at once refuses now; what it refused before and does no more is settled."""
        with self.transaction():
            if list(refs) != self._scan(batch, door):
                self._add(batch, "scanned", door=door, data=json.dumps(list(refs)))

    def _scan(self, batch: str, door: str) -> list[str] | None:
        row = self._con.execute(
            "SELECT data FROM events WHERE batch = ? AND kind = 'scanned' AND door = ? ORDER BY id DESC LIMIT 1",
            (batch, door),
        ).fetchone()
        return json.loads(row[0]) if row else None

    def note(self, batch: str, door: str, name: str, text: str) -> None:
        """Something a door wants to know again after a kill: the last text by this name counts."""
        self._add(batch, "noted", door=door, ref=name, data=text)

    def notes(self, batch: str, door: str) -> dict[str, str]:
        """What a door has noted of a batch, by name."""
        return dict(
            self._con.execute(
                "SELECT ref, data FROM events WHERE batch = ? AND kind = 'noted' AND door = ? ORDER BY id",
                (batch, door),
            )
        )

    def refs(self, batch: str, door: str) -> dict[tuple[str, str], str]:
        """(pair, annotator) -> the door's name of that person's last answer, in an earlier batch too."""
        rows = self._con.execute(
            "SELECT pair_id, annotator, ref FROM events WHERE kind = 'answered' AND door = ?2"
            f" AND (batch = ?1 OR {_CARRIED}) ORDER BY id",
            (batch, door),
        )
        return {(pair, who): ref for pair, who, ref in rows}

    def close_batch(self, batch: str, why: str) -> None:
        """Nobody is asked any more; what is not labelled by now is asked for again in the next batch."""
        self._add(batch, "closed", data=why)

    # ---- what it comes to ------------------------------------------------------------------------------------------
    def pairs(self, batch: str, people: PeopleSettings) -> list[Pair]:
        """The batch's items with what counts of what was said."""
        return self._fold(batch, people).pairs

    def _fold(self, batch: str, people: PeopleSettings) -> _Folded:
        made = _Folded()
        said: dict[str, dict[str, tuple[str, Answer]]] = {}
        carried: dict[str, dict[str, tuple[str, Answer]]] = {}
        for pair, who, kind, door, data in self._con.execute(
            "SELECT pair_id, annotator, kind, door, data FROM events"
            f" WHERE kind IN ('answered', 'withdrawn') AND {_CARRIED} ORDER BY id",
            (batch,),
        ):
            if kind == "withdrawn":
                carried.get(pair, {}).pop(who, None)
            else:
                carried.setdefault(pair, {})[who] = door, Answer.restored(data)
        for pair, who, kind, door, data, at in self._con.execute(
            "SELECT pair_id, annotator, kind, door, data, at FROM events WHERE batch = ?"
            " AND kind IN ('answered', 'withdrawn', 'closed', 'published') ORDER BY id",
            (batch,),
        ):
            if kind == "published":
                made.published = made.published or at
            elif kind == "closed":
                made.closed = made.closed or data
            elif made.closed:
                made.late += kind == "answered"
            elif kind == "withdrawn":
                said.get(pair, {}).pop(who, None)
            else:
                said.setdefault(pair, {})[who] = door, Answer.restored(data)
                made.last = at
        for item in self.items(batch):
            own, before = said.get(item["pair_id"], {}), carried.get(item["pair_id"], {})
            if item["known"]:
                before = {}
            answers = before | own
            opinions = [
                Opinion(a.verdict, a.why, who in people.adjudicators and self.disputed(answers, who, item, people))
                for who, (_, a) in answers.items()
            ]
            rule = people.disagreement if not item["known"] else "leave"
            found = standing(opinions, item["wanted"], rule, max(people.most, item["wanted"]), people.passes)
            made.pairs.append(Pair(item, answers, found, frozenset(before.keys() - own)))
        return made

    @staticmethod
    def disputed(
        answers: Mapping[str, tuple[str, Answer]], who: str, item: Mapping[str, Any], people: PeopleSettings
    ) -> bool:
        """Whether an adjudicator's answer settles the pair: the others, without it, disagree."""
        others = [Opinion(a.verdict, a.why) for w, (_, a) in answers.items() if w not in people.adjudicators]
        if people.disagreement != "adjudicate" or not others:
            return False
        return standing(others, item["wanted"], "adjudicate", people.most, people.passes).disagreed

    def progress(self, batch: str, people: PeopleSettings) -> BatchProgress:
        made = self._fold(batch, people)
        by: Counter[str] = Counter(who for pair in made.pairs for who in pair.answers)
        open_ = [p for p in made.pairs if p.standing.needed] if not made.closed else []
        return BatchProgress(
            batch,
            len(made.pairs),
            sum(not p.standing.needed for p in made.pairs),
            by.total(),
            sum(p.standing.needed for p in open_),
            dict(by),
            sum(bool(p.answers) and p.standing.by == ANNOTATOR for p in open_),
            sum(p.standing.by != ANNOTATOR for p in open_),
            len(self.refusals(batch)),
            made.closed,
            made.published,
            made.last,
        )

    def late(self, batch: str, people: PeopleSettings) -> int:
        """Answers that came after the batch was closed; they are kept and do not count."""
        return self._fold(batch, people).late

    def refusals(self, batch: str, every: bool = False) -> list[Refusal]:
        """Refused answers of a batch that nobody has given anew; with `every` all there ever were."""
        better = {
            (pair, who): last
            for pair, who, last in self._con.execute(
                "SELECT pair_id, annotator, max(id) FROM events WHERE batch = ? AND kind = 'answered' GROUP BY 1, 2",
                (batch,),
            )
        }
        scans: dict[str, list[str] | None] = {}
        found = []
        for id_, pair, who, door, ref, data, at in self._con.execute(
            "SELECT id, pair_id, annotator, door, ref, data, at FROM events WHERE batch = ? AND kind = 'refused'"
            " ORDER BY id",
            (batch,),
        ):
            if door not in scans:
                scans[door] = self._scan(batch, door)
            scan = scans[door]
            still = ref in scan if scan is not None else better.get((pair, who), 0) < id_
            if still or every:
                raw = json.loads(data)
                found.append(Refusal(ref, pair, who, door, raw["place"], raw["reason"], at))
        return found

    def claims(self, batch: str, now: float) -> dict[str, set[str]]:
        """Pair -> who has opened it in the last half hour and not answered yet."""
        rows = self._con.execute(
            "SELECT pair_id, annotator, kind FROM events WHERE batch = ? AND kind IN ('opened', 'answered') AND at > ?"
            " ORDER BY id",
            (batch, now - CLAIM),
        )
        held: dict[str, set[str]] = {}
        for pair, who, kind in rows:
            if kind == "opened":
                held.setdefault(pair, set()).add(who)
            else:
                held.get(pair, set()).discard(who)
        return held

    def next_for(self, annotator: str, people: PeopleSettings, now: float) -> tuple[str, Pair] | None:
        """(batch, pair) that somebody should look at: what they have open, else the first in the order of work that
        nobody else is looking at."""
        settles = people.disagreement == "adjudicate" and annotator in people.adjudicators
        for batch in self.batches():
            made = self._fold(batch, people)
            if made.closed:
                continue
            claims = self.claims(batch, now)
            left = [
                pair
                for pair in made.pairs
                if pair.standing.needed
                and annotator not in pair.answers
                and (pair.standing.by != ANNOTATOR) == settles
                and len(claims.get(pair.item["pair_id"], set()) - {annotator}) < pair.standing.needed
            ]
            mine = [pair for pair in left if annotator in claims.get(pair.item["pair_id"], ())]
            if left:
                return batch, (mine or left)[0]
        return None

    def last_answer(self, annotator: str, door: str) -> tuple[str, str] | None:
        """(batch, pair) of what somebody answered last through a door and has not taken back."""
        rows = self._con.execute(
            "SELECT batch, pair_id, kind FROM events WHERE annotator = ? AND door = ?"
            " AND kind IN ('answered', 'withdrawn') ORDER BY id DESC LIMIT 100",
            (annotator, door),
        )
        taken = set()
        for batch, pair, kind in rows:
            if kind == "withdrawn":
                taken.add((batch, pair))
            elif (batch, pair) not in taken:
                return batch, pair
        return None

    def mark(self, batch: str, without: str = "") -> str:
        """A text that changes with what a batch's labels are made of, but for what came through the door `without`."""
        last = self._con.execute(
            "SELECT max(id) FROM events WHERE kind IN ('answered', 'withdrawn') AND (batch = ?1 AND door <> ?2 AND id <"
            " coalesce((SELECT min(id) FROM events WHERE batch = ?1 AND kind = 'closed'), 9e18)"
            f" OR {_CARRIED})",
            (batch, without),
        ).fetchone()[0]
        return str(last or "")


@contextlib.contextmanager
def desk(lake: Lake) -> Generator[Desk]:
    """The lake's desk, `files/people/desk.sqlite`."""
    folder = lake.folder("people")
    opened = Desk(folder / "desk.sqlite")
    try:
        yield opened
    finally:
        opened.close()


def settle(opened: Desk, batch: str, settings: Settings) -> BatchProgress:
    """Close the batch where the configuration says so, and say how far it is.

    Args:
        opened: the desk.
        batch: its name.
        settings: `close_share` and `close_after_hours` of people.
    """
    people = settings.people
    state = opened.progress(batch, people)
    if state.complete:
        return state
    hours = (opened.clock() - state.published) / 3600
    why = ""
    if people.close_share < 1 and state.done >= people.close_share * state.pairs:
        why = f"{state.done} of {state.pairs} pairs are labelled, and people.close_share is {people.close_share:g}"
    elif people.close_after_hours is not None and hours >= people.close_after_hours:
        why = f"{people.close_after_hours:g} hours are over"
    if not why:
        return state
    opened.close_batch(batch, why)
    return opened.progress(batch, people)
