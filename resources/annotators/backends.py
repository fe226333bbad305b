"""People who verify pairs, behind one interface: simulated, recorded, or through files."""

import csv
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from curation.attributes import CATEGORIES, CONTROVERSIALITY, OBJECTIVITY
from curation.identity import digest
from curation.prompts import guideline as assembled
from curation.tables import HUMAN_LABELS
from resources.judges import guideline
from resources.lake import Lake
from resources.retrieval.embedder import FIELDS
from resources.settings import Answers, Settings
from resources.sources.files import BadFile
from resources.sources.reader import fingerprint
from resources.sources.recorded_answers import recorded
from resources.stops import Stop

SCHEMA = HUMAN_LABELS.schema
VERDICTS = {"candidate_1": "first", "candidate_2": "second", "undecided": "undecided"}
ANSWERS = ("answers.jsonl", "answers.csv")
CLOSED = {"category": CATEGORIES, "objectivity": OBJECTIVITY, "controversiality": CONTROVERSIALITY}
ALL_TOOLS = frozenset({"llm", "search"})


class Waiting(Stop):
    """People have not answered yet; the message says where the batch lies and how many answers are missing."""


class BadAnswers(Stop):
    """A file of answers cannot be read, or belongs to another batch; the message names it."""


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


def backend(settings: Settings, lake: Lake) -> People:
    """The people that the configuration names."""
    match settings.people.backend:
        case "simulated":
            from simulation.annotators import SimulatedPeople

            return SimulatedPeople(settings, lake)
        case "recorded":
            return RecordedPeople(settings, lake)
        case "files":
            return FilePeople(settings)


def answered(settings: Settings, lake: Lake, iteration: str) -> str:
    """A hash of where people's answers to a batch come from, so that a corrected answer is noticed; empty where that
    is nothing outside the lake."""
    match settings.people.backend:
        case "recorded":
            return digest([_content(one, lake) for one in settings.people.answers])
        case "files":
            files = (Path(settings.people.folder) / iteration / name for name in ANSWERS)
            return digest([hashlib.blake2b(f.read_bytes()).hexdigest() for f in files if f.exists()])
    return ""


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
                    "shown_first": r["shown_first"],
                    "verdict": "undecided" if r["vote"] == "tie" else "first" if first else "second",
                    "seconds": None,
                    "backend": "recorded",
                    "cost_micros": 0,
                    "simulated": False,
                }
            )
        return pa.Table.from_pylist(rows, SCHEMA)


class FilePeople:
    """Batches go out as `<folder>/<iteration>/batch.jsonl`, answers come in as answers.jsonl or answers.csv beside it.

    An answer has pair_id, verdict (candidate_1, candidate_2 or undecided), annotator and, if known, seconds; and those of
    the five attributes that the annotator corrects, as an object `attributes` or, in CSV, as columns (spec 1.07). What
    cannot be used is listed with its row and reason in `rejects.jsonl`; of several answers of one annotator to one
    pair the last counts. The batch shows neither the original label nor where a pair comes from.
    """

    def __init__(self, settings: Settings):
        self.settings = settings.people
        self.seed = settings.seed
        self.texts = guideline.load().texts

    def label(self, batch: pa.Table, iteration: str) -> pa.Table:
        """See `People.label`; the batch is written before answers are looked for.

        Raises:
            BadAnswers: two files of answers, one that is not UTF-8, or answers to another batch.
        """
        folder = Path(self.settings.folder) / iteration
        folder.mkdir(parents=True, exist_ok=True)
        answers = self._answers_file(folder)
        self._export(batch, iteration, folder / "batch.jsonl", answered=answers is not None)
        pairs = {row["pair_id"]: row for row in batch.select(["pair_id", *FIELDS]).to_pylist()}
        valid = self._accepted(answers, pairs, folder / "rejects.jsonl") if answers else {}
        given: dict[str, int] = {}
        for pair, _ in valid:
            given[pair] = given.get(pair, 0) + 1
        missing = sum(max(0, self.settings.annotators - given.get(p, 0)) for p in pairs)
        if missing:
            raise Waiting(
                f"{folder / 'batch.jsonl'}: {missing} of {len(pairs) * self.settings.annotators} answers are missing. "
                f"Write them to {folder / 'answers.jsonl'} or answers.csv (pair_id, verdict, annotator, seconds, "
                "and attributes to correct) and run again."
            )
        return pa.Table.from_pylist([self._event(iteration, *k, v) for k, v in sorted(valid.items())], SCHEMA)

    # ---- out -------------------------------------------------------------------------------------------------------
    def _export(self, batch: pa.Table, iteration: str, path: Path, answered: bool) -> None:
        lines = [
            json.dumps(self._item(row, iteration), ensure_ascii=False) + "\n"
            for part in batch.to_batches(max_chunksize=500)
            for row in part.to_pylist()
        ]
        text = "".join(lines)
        if path.exists():
            if path.read_text(encoding="utf-8") == text:
                return
            if answered:
                raise BadAnswers(
                    f"{path}: the batch has changed since it was answered; move the folder away to export it anew"
                )
        beside = path.with_suffix(".writing")
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, path)

    def _item(self, row: dict, iteration: str) -> dict:
        first, second = "chosen", "rejected"
        if not self._chosen_first(row["pair_id"], iteration):
            first, second = second, first
        return {
            "pair_id": row["pair_id"],
            "conversation": row["conversation"],
            "candidate_1": row[first],
            "candidate_2": row[second],
            "attributes": {n: row[n] for n in FIELDS},
            "protocol": assembled(self.texts, row, ALL_TOOLS),
        }

    def _chosen_first(self, pair_id: str, iteration: str) -> bool:
        name = f"{self.seed}\0{iteration}\0{pair_id}".encode()
        return hashlib.blake2b(name, digest_size=1).digest()[0] % 2 == 0

    # ---- in --------------------------------------------------------------------------------------------------------
    @staticmethod
    def _answers_file(folder: Path) -> Path | None:
        found = [folder / name for name in ANSWERS if (folder / name).exists()]
        if len(found) > 1:
            raise BadAnswers(f"{folder}: answers.jsonl and answers.csv both exist; keep one")
        return found[0] if found else None

    def _accepted(self, path: Path, pairs: dict[str, dict], rejects: Path) -> dict[tuple[str, str], dict]:
        """Usable answers by (pair, annotator); the others go to the file of rejects."""
        accepted: dict[tuple[str, str], tuple[int, dict]] = {}
        refused: list[tuple[int, str]] = []
        try:
            for number, answer in _rows(path):
                if not isinstance(answer, str):
                    answer = _checked(answer, pairs)
                if isinstance(answer, str):
                    refused.append((number, answer))
                    continue
                key = answer["pair_id"], answer["annotator"]
                if key in accepted:
                    refused.append((accepted[key][0], f"replaced by row {number}"))
                accepted[key] = number, answer
        except UnicodeDecodeError as e:
            raise BadAnswers(f"{path}: not UTF-8: {e.reason} at byte {e.start}") from None
        rejects.write_text(
            "".join(
                json.dumps({"file": path.name, "row": n, "reason": reason}, ensure_ascii=False) + "\n"
                for n, reason in sorted(refused)
            ),
            encoding="utf-8",
        )
        return {key: answer for key, (_, answer) in accepted.items()}

    def _event(self, iteration: str, pair_id: str, annotator: str, answer: dict) -> dict:
        return {
            "event_id": event_id(pair_id, annotator, iteration),
            "pair_id": pair_id,
            "annotator": annotator,
            "shown_first": "chosen" if self._chosen_first(pair_id, iteration) else "rejected",
            "verdict": VERDICTS[answer["verdict"]],
            "seconds": answer["seconds"],
            **answer["edited"],
            "backend": "files",
            "cost_micros": round(self.settings.cost_per_label * 1_000_000),
            "simulated": False,
        }


def _rows(path: Path) -> Iterator[tuple[int, dict | str]]:
    """Records with their numbers from 1, or why a line is none."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        if path.suffix == ".csv":
            for number, row in enumerate(csv.DictReader(file), 1):
                yield number, row
            return
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as e:
                yield number, f"not JSON: {e}"
                continue
            yield number, row if isinstance(row, dict) else "not a JSON object"


def _checked(row: dict, pairs: dict[str, dict]) -> dict | str:
    """The answer with its types, or why it cannot be used; `pairs` are those asked about, with their attributes."""
    pair, verdict, annotator = (row.get(k) for k in ("pair_id", "verdict", "annotator"))
    if pair not in pairs:
        return f"pair_id {pair!r} is not in this batch"
    if verdict not in VERDICTS:
        return f"verdict must be one of {', '.join(VERDICTS)}, found {verdict!r}"
    if not (annotator := _text(annotator)):
        return "annotator is missing"
    seconds = row.get("seconds")
    if seconds in (None, ""):
        seconds = None
    else:
        try:
            seconds = float(seconds)
        except (TypeError, ValueError):
            return f"seconds must be a number, found {seconds!r}"
        if not 0 <= seconds < float("inf"):
            return f"seconds must be a number of seconds from 0, found {seconds!r}"
    edited = _edited(row, pairs[pair])
    if isinstance(edited, str):
        return edited
    return {"pair_id": pair, "verdict": verdict, "annotator": annotator, "seconds": seconds, "edited": edited}


def _edited(row: dict, asked: dict) -> dict[str, str | None] | str:
    """The five attributes, each as the answer corrects it or else None; or why one of them cannot be used."""
    given = row["attributes"] if "attributes" in row else {n: row[n] for n in FIELDS if n in row}
    given = {} if given is None else given
    if not isinstance(given, dict) or (unknown := sorted(given.keys() - set(FIELDS))):
        found = repr(given) if not isinstance(given, dict) else ", ".join(map(repr, unknown))
        return f"attributes must be an object of {', '.join(FIELDS)}, found {found}"
    edited: dict[str, str | None] = dict.fromkeys(FIELDS)
    for name, value in given.items():
        if value is None or value == "":  # an empty cell
            continue
        if not (text := _text(value)):
            return f"{name} must be text, found {value!r}"
        if text == asked[name]:  # sent back as it was
            continue
        if name in CLOSED and text not in CLOSED[name]:
            return f"{name} must be one of {', '.join(CLOSED[name])}, found {value!r}"
        edited[name] = text
    return edited


def _text(value: object) -> str:
    """Text without its margins; nothing for what is none, half a surrogate pair included."""
    if not isinstance(value, str):
        return ""
    return "" if any("\ud800" <= c <= "\udfff" for c in value) else value.strip()
