"""The door of files: a batch goes out as JSON lines, answers come back beside it as JSON lines or CSV."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from resources.annotators.doors import AtDesk
from resources.annotators.records import Answer, Refused, read
from resources.annotators.tasks import shown
from resources.annotators.waiting import BadAnswers
from training.atomic import replace

ANSWERS = ("answers.jsonl", "answers.csv")


class FilesDoor(AtDesk):
    """Batches go out as `<folder>/<batch>/batch.jsonl`, answers come in as answers.jsonl or answers.csv beside it.

    `open.jsonl` beside it has the pairs that still wait, with who has answered them and who must (`needs`): anybody else,
    or an adjudicator.
    What cannot be used is listed with its row and reason in `rejects.jsonl`; of several answers of one annotator to one
    pair the last counts. A row that changes replaces what it said before; a row that vanishes takes nothing back.
    """

    name = "files"

    def folder(self, batch: str) -> Path:
        return Path(self.people.folder) / batch

    def where(self, batch: str) -> str:
        """See `Door.where`."""
        return str(self.folder(batch) / "batch.jsonl")

    def how(self, batch: str) -> str:
        """See `Door.how`."""
        folder = self.folder(batch)
        there = self._answers(folder)
        refused = folder / "rejects.jsonl"
        if there and refused.exists() and refused.stat().st_size:
            return f"{there} was read; what was refused stands in {refused}. Add what is missing and run again"
        if there:
            return f"{there} was read; add what is missing and run again"
        return (
            f"Write them to {folder / ANSWERS[0]} or answers.csv (pair_id, verdict, annotator, acknowledged, tools,"
            " tool_log, seconds, and attributes to correct) and run again"
        )

    def publish(self, batch: str) -> None:
        """See `Door.publish`.

        Raises:
            BadAnswers: a batch of somebody else lies there.
        """
        path = self.folder(batch) / "batch.jsonl"
        lines = [json.dumps(shown(i), ensure_ascii=False) + "\n" for i in self.items(batch)]
        text = "".join(lines).encode()
        if path.exists() and path.read_bytes() != text:
            ours = {i["pair_id"] for i in self.items(batch)}
            if self._answers(path.parent) and not ours.intersection(_pairs(path)):
                raise BadAnswers(
                    f"{path}: this batch of other pairs has been answered; move the folder away, or set people.folder"
                )
        _written(path, text)
        closed = self.desk.progress(batch, self.people).closed
        left = [] if closed else [p for p in self.desk.pairs(batch, self.people) if p.standing.needed]
        more = [{"answered_by": sorted(p.answers), "needs": p.standing.by, "answers": p.standing.needed} for p in left]
        lines = [json.dumps(shown(p.item) | m, ensure_ascii=False) + "\n" for p, m in zip(left, more, strict=True)]
        _written(path.with_name("open.jsonl"), "".join(lines).encode())

    def collect(self, batch: str) -> None:
        """See `Door.collect`.

        Raises:
            BadAnswers: two files of answers, or one that is not UTF-8.
        """
        folder = self.folder(batch)
        path = self._answers(folder)
        if path is None:
            return
        asked = self.asked(batch)
        last: dict[tuple[str, str], tuple[int, Answer]] = {}
        refused: list[tuple[int, Refused, Any]] = []
        try:
            for number, row in _rows(path):
                answer = Refused("", "", (row,)) if isinstance(row, str) else read(row, asked, self.rules)
                if isinstance(answer, Refused):
                    refused.append((number, answer, row))
                    continue
                key = answer.pair_id, answer.annotator
                if key in last:
                    old, before = last[key]
                    refused.append((old, Refused(*key, (f"replaced by row {number}",)), before.stored()))
                last[key] = number, answer
        except UnicodeDecodeError as e:
            raise BadAnswers(f"{path}: not UTF-8: {e.reason} at byte {e.start}") from None
        except csv.Error as e:
            raise BadAnswers(f"{path}: not CSV: {e}") from None
        refused.sort(key=lambda r: r[0])
        with self.desk.transaction():
            refs = [self.desk.refuse(batch, r, self.name, f"{path.name}, row {n}", raw) for n, r, raw in refused]
            self.desk.scanned(batch, self.name, refs)
            for number, answer in last.values():
                self.desk.answer(batch, answer, self.name, f"{path.name}, row {number}")
        lines = [
            json.dumps({"file": path.name, "row": n, "reason": r.reason}, ensure_ascii=False) for n, r, _ in refused
        ]
        replace(folder / "rejects.jsonl", "".join(f"{line}\n" for line in lines).encode())

    @staticmethod
    def _answers(folder: Path) -> Path | None:
        found = [folder / name for name in ANSWERS if (folder / name).exists()]
        if len(found) > 1:
            raise BadAnswers(f"{folder}: answers.jsonl and answers.csv both exist; keep one")
        return found[0] if found else None


def _written(path: Path, content: bytes) -> None:
    """Replace a file, unless it holds just this."""
    if not path.exists() or path.is_symlink() or path.read_bytes() != content:
        replace(path, content)


def _pairs(path: Path) -> Iterator[str]:
    """The pairs of a batch that lies there, as far as it can be read."""
    for _, row in _rows(path):
        if isinstance(row, dict) and isinstance(row.get("pair_id"), str):
            yield row["pair_id"]


def _rows(path: Path) -> Iterator[tuple[int, dict | str]]:
    """Records with their numbers from 1, or why a line is none."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        if path.suffix == ".csv":
            for number, row in enumerate(csv.DictReader(file, strict=False), 1):
                extra = row.pop(None, None)  # cells beyond the header
                yield number, f"has {len(extra)} cells more than the header" if extra else row
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
