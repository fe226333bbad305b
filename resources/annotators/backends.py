"""People who verify pairs, behind one interface: simulated, recorded, or at the desk through one of its doors."""

import contextlib
import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from curation.identity import digest
from curation.opinions import ADJUDICATOR, ANNOTATOR, PASSED
from curation.tables import HUMAN_LABELS, REFUSED_ANSWERS, UNANSWERED
from resources.annotators.desk import Desk, Pair, desk
from resources.annotators.doors import Door
from resources.annotators.file_door import ANSWERS, FilesDoor
from resources.annotators.records import Answer
from resources.annotators.tasks import items
from resources.annotators.waiting import BadAnswers, Waiting
from resources.lake import Lake
from resources.settings import Answers, Settings
from resources.sources.files import BadFile
from resources.sources.reader import fingerprint, read_answers
from resources.sources.recorded_answers import recorded
from resources.stops import Stop

__all__ = ["BadAnswers", "DeskPeople", "People", "RecordedPeople", "Waiting", "answerable", "answerable_version",
           "answered", "backend", "door", "event_id"]  # fmt: skip

SCHEMA = HUMAN_LABELS.schema
LOOK = 5.0  # seconds
DOORS = ("files", "label", "label_studio")


class People(Protocol):
    def label(self, batch: pa.Table, iteration: str) -> pa.Table:
        """Labels for a batch.

        Args:
            batch: pair_id, comparison_id, conversation, chosen, rejected, the five attributes and priority.
            iteration: partition the labels belong to.

        Returns:
            Rows of `human_labels`; a pair that nobody labelled has none.

        Raises:
            Waiting: answers are still to come.
        """

    def refused(self, iteration: str) -> pa.Table:
        """Rows of `refused_answers`: what people answered and could not be used."""

    def unanswered(self, iteration: str) -> pa.Table:
        """Rows of `unanswered`: what a batch that was closed left."""


def backend(settings: Settings, lake: Lake) -> People:
    """The people that the configuration names."""
    match settings.people.backend:
        case "simulated":
            from simulation.annotators import SimulatedPeople

            return SimulatedPeople(settings, lake)
        case "recorded":
            return RecordedPeople(settings, lake)
    return DeskPeople(settings, lake)


def door(settings: Settings, opened: Desk) -> Door:
    """The configured way to an open desk."""
    match settings.people.backend:
        case "label":
            from resources.annotators.page.page_door import LabelDoor

            return LabelDoor(settings, opened)
        case "label_studio":
            from resources.annotators.label_studio.studio_door import LabelStudioDoor

            return LabelStudioDoor(settings, opened)
    return FilesDoor(settings, opened)


def answered(settings: Settings, lake: Lake, iteration: str | None) -> str:
    """A hash of where people's answers to a batch come from, so that a corrected answer is noticed; empty where that
    is nothing outside the lake."""
    people, iteration = settings.people, str(iteration)
    match people.backend:
        case "simulated":
            return ""
        case "recorded":
            return digest([_content(one, lake) for one in people.answers])
        case "files":
            files = (Path(people.folder) / iteration / name for name in ANSWERS)
            read = [hashlib.blake2b(f.read_bytes()).hexdigest() for f in files if f.exists()]
            with desk(lake) as opened:
                return digest([*read, opened.mark(iteration, without="files")])
    with desk(lake) as opened:
        if people.backend == "label_studio" and iteration in opened.batches():
            _look(settings, opened, iteration)
        return digest([opened.mark(iteration)])


def answerable(settings: Settings, lake: Lake) -> pa.Table | None:
    """The comparisons that recorded people have answered (column comparison_id); None where people answer what they are
    asked."""
    if settings.people.backend != "recorded":
        return None
    parts = [read_answers(one, lake).read_all().select(["comparison_id"]) for one in settings.people.answers]
    return pa.concat_tables(parts) if parts else pa.table({"comparison_id": pa.array([], pa.string())})


def answerable_version(settings: Settings, lake: Lake) -> str:
    """Changes when `answerable` may."""
    return answered(settings, lake, None) if settings.people.backend == "recorded" else ""


def finished(settings: Settings, lake: Lake) -> dict[str, str]:
    """Batches at the desk for which nobody is waited any more, each with a text that changes with its answers. What people
    have answered since is fetched first; a server that is away has brought nothing."""
    found: dict[str, str] = {}
    if settings.people.backend not in DOORS:
        return found
    with desk(lake) as opened:
        for batch in opened.batches():
            if not opened.progress(batch, settings.people).complete:
                try:
                    way = door(settings, opened)
                    way.collect(batch)
                    complete = way.progress(batch).complete
                    way.publish(batch)
                    if not complete:
                        continue
                except Stop:
                    continue
            found[batch] = opened.mark(batch)
    return found


_looked: dict[tuple[str, str], float] = {}  # (desk, batch) -> when its server was last asked


def _look(settings: Settings, opened: Desk, batch: str) -> None:
    """Fetch what came in while a batch waits, so that what is hashed is what the next step finds; not more often than
    every few seconds, and a server that is away is no news here."""
    key, now = (str(opened.path), batch), time.monotonic()
    if now - _looked.get(key, -LOOK) < LOOK or opened.progress(batch, settings.people).complete:
        return
    _looked[key] = now
    with contextlib.suppress(Stop):
        door(settings, opened).collect(batch)


def _content(answers: Answers, lake: Lake) -> str:
    try:
        return fingerprint(answers, lake)[0]
    except BadFile:
        return ""


def event_id(pair_id: str, annotator: str, iteration: str, nth: int = 0) -> str:
    """Name of one label; `nth` tells several of one annotator on one pair apart."""
    return digest((pair_id, annotator, iteration, str(nth)))


class RecordedPeople:
    """Labels that people once gave, joined by content. They cost nothing now."""

    def __init__(self, settings: Settings, lake: Lake):
        self.answers, self.lake = settings.people.answers, lake

    def label(self, batch: pa.Table, iteration: str) -> pa.Table:
        """One event an answer; see `People.label`. Nothing is waited for."""
        found = recorded(self.answers, batch, self.lake).sort_by(
            [(c, "ascending") for c in ("pair_id", "annotator", "shown_first", "vote")]
        )
        seen: dict[tuple[str, str], int] = {}
        rows = []
        for r in found.to_pylist():
            nth = seen[r["pair_id"], r["annotator"]] = seen.get((r["pair_id"], r["annotator"]), -1) + 1
            first = (r["vote"] == "original") == (r["shown_first"] == "chosen")
            rows.append(
                {
                    "event_id": event_id(r["pair_id"], r["annotator"], iteration, nth),
                    "pair_id": r["pair_id"],
                    "annotator": r["annotator"],
                    "role": ANNOTATOR,
                    "shown_first": r["shown_first"],
                    "verdict": "undecided" if r["vote"] == "tie" else "first" if first else "second",
                    "why_undecided": "tie" if r["vote"] == "tie" else None,
                    "seconds": None,
                    "backend": "recorded",
                    "cost_micros": 0,
                    "simulated": False,
                }
            )
        return pa.Table.from_pylist(rows, SCHEMA)

    def refused(self, iteration: str) -> pa.Table:
        """None: see `People.refused`."""
        return REFUSED_ANSWERS.schema.empty_table()

    def unanswered(self, iteration: str) -> pa.Table:
        """None, see `People.unanswered`: a pair without a recorded label would have none in the next batch."""
        return UNANSWERED.schema.empty_table()


class DeskPeople:
    """People at the lake's desk: a batch goes to the desk, people answer through a door, labels are folded from events."""

    def __init__(self, settings: Settings, lake: Lake):
        self.settings, self.lake = settings, lake

    def label(self, batch: pa.Table, iteration: str) -> pa.Table:
        """See `People.label`; the batch goes out before answers are looked for.

        Raises:
            BadAnswers: what lies there cannot be read, or the server cannot be reached.
        """
        with desk(self.lake) as opened:
            opened.publish(iteration, items(batch, iteration, self.settings, self.lake))
            way = door(self.settings, opened)
            way.publish(iteration)
            way.collect(iteration)
            state = way.progress(iteration)
            way.publish(iteration)  # a disagreement asks for one more, a batch that is done or closed asks nobody
            if not state.complete:
                raise Waiting(
                    iteration,
                    state.answered,
                    state.missing,
                    way.where(iteration),
                    state.refused,
                    state.by,
                    way.how(iteration),
                )
            pairs = opened.pairs(iteration, self.settings.people)
            rows = sorted(self._rows(pairs, iteration), key=lambda r: (r["pair_id"], r["annotator"]))
        return pa.Table.from_pylist(rows, SCHEMA)

    def refused(self, iteration: str) -> pa.Table:
        """See `People.refused`; what was given anew since is among them."""
        with desk(self.lake) as opened:
            found = opened.refusals(iteration, every=True)
        rows = [
            {"ref": r.ref, "pair_id": r.pair_id or None, "annotator": r.annotator or None, "backend": r.door}
            | {"place": r.place, "reason": r.reason}
            for r in found
        ]
        return pa.Table.from_pylist(rows, REFUSED_ANSWERS.schema)

    def unanswered(self, iteration: str) -> pa.Table:
        """See `People.unanswered`."""
        with desk(self.lake) as opened:
            closed = opened.progress(iteration, self.settings.people).closed
            left = [p for p in opened.pairs(iteration, self.settings.people) if closed and p.unanswered]
        rows = [{"pair_id": p.item["pair_id"], "answers": len(p.answers), "closed": closed} for p in left]
        return pa.Table.from_pylist(rows, UNANSWERED.schema)

    def _rows(self, pairs: list[Pair], iteration: str) -> Iterator[dict]:
        """Labels of pairs; planted ones are none, nor is what settles nothing when a batch is closed."""
        cost = round(self.settings.people.cost_per_label * 1_000_000)
        for pair in pairs:
            if pair.known or pair.unanswered:
                continue
            for nth, (who, (way, answer)) in enumerate(pair.answers.items()):
                role = PASSED if nth in pair.standing.passed else self._role(pair, who)
                yield {
                    "event_id": event_id(answer.pair_id, who, iteration),
                    "shown_first": pair.item["shown_first"],
                    "role": role,
                    "backend": way,
                    "cost_micros": cost,
                    "simulated": False,
                    **columns(answer),
                }

    def _role(self, pair: Pair, who: str) -> str:
        people = self.settings.people
        settles = people.disagreement == "adjudicate" and who in people.adjudicators
        return ADJUDICATOR if settles and Desk.disputed(pair.answers, who, pair.item, people) else ANNOTATOR


def columns(answer: Answer) -> dict:
    """An answer as columns of `human_labels`."""
    return {
        "pair_id": answer.pair_id,
        "annotator": answer.annotator,
        "verdict": answer.verdict,
        "why_undecided": answer.why or None,
        "seconds": answer.seconds,
        "t_start": answer.started,
        "t_end": answer.finished,
        "flags": list(answer.flags),
        "protocol_version": answer.protocol_version,
        "acknowledged": answer.acknowledged,
        "tools": list(answer.tools),
        "tool_log": json.dumps(answer.tool_log, ensure_ascii=False),
        "hint_shown": answer.hint,
        "hint_verdict": answer.hint_verdict or None,
        "rationale": answer.rationale or None,
        "arm": answer.arm,
        **answer.edited,
    }
