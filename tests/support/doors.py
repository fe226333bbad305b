"""The three doors with the same hands: people who answer by a script, through files, the page or Label Studio."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
from starlette.testclient import TestClient

from resources.annotators.backends import Waiting, backend
from resources.annotators.desk import Desk
from resources.annotators.page.app import Page, app, token
from resources.lake import Lake
from tests.support.answers import write
from tests.support.label_studio import PERSONAL_DATA, LabelStudio
from tests.support.lakes import settings

Script = Callable[[dict, str], dict]  # (what is shown of the pair, name) -> answer


class Hands:
    """People at one door.

    Args:
        folder: of the test.
        door: files, label or label_studio.
        studio: the stand-in and its address, for label_studio.
        people: more settings of people.
    """

    def __init__(self, folder: Path, door: str, studio: tuple[LabelStudio, str] | None = None, **people):
        self.folder, self.door, self.studio = folder, door, studio
        keys = {"backend": door, "folder": str(folder / "people"), "overlap": 0} | people
        if studio:
            keys["label_studio"] = {"url": studio[1]}
        self.settings = settings(people=keys)
        self.lake = Lake(str(folder / "lake"))
        self.now = 1_780_000_000.0

    def label(self, batch: pa.Table, name: str = "iter_00") -> pa.Table:
        return backend(self.settings, self.lake).label(batch, name)

    def waiting(self, batch: pa.Table, name: str = "iter_00") -> Waiting:
        try:
            self.label(batch, name)
        except Waiting as e:
            return e
        raise AssertionError("nobody is waited for")

    def refused(self, name: str = "iter_00") -> list[str]:
        """Reasons of all refusals, in the order in which they came."""
        with_desk = Desk(self.lake.folder("people") / "desk.sqlite")
        try:
            return [r.reason for r in with_desk.refusals(name, every=True)]
        finally:
            with_desk.close()

    def answer(self, who: str, script: Script, most: int = 10**6, name: str = "iter_00") -> int:
        """Let somebody answer what is in their queue, at most so many pairs; returns how many they saw."""
        return {"files": self._files, "label": self._page, "label_studio": self._studio}[self.door](
            who, script, most, name
        )

    def _files(self, who: str, script: Script, most: int, name: str) -> int:
        folder = self.folder / "people" / name
        old = folder / "answers.jsonl"
        rows = [json.loads(x) for x in old.read_text().splitlines()] if old.exists() else []
        settles = self.settings.people.disagreement == "adjudicate" and who in self.settings.people.adjudicators
        left = [json.loads(x) for x in (folder / "open.jsonl").read_text().splitlines()]
        mine = [i for i in left if who not in i["answered_by"] and (i["needs"] == "adjudicator") == settles]
        new = [script(i, who) for i in mine][:most]
        write(folder, rows + [{"annotator": who, "seconds": 30.0} | r for r in new])
        return len(new)

    def _page(self, who: str, script: Script, most: int, name: str) -> int:
        opened, seen = Desk(self.lake.folder("people") / "desk.sqlite", lambda: self.now), 0
        try:
            opened.invite(who)
            page = Page(self.settings, opened)
            with TestClient(app(page), base_url="http://127.0.0.1") as client:
                mine = f"/p/{token(page.secret, who)}"
                headers = {"x-assay-token": mine.removeprefix("/p/")}
                while seen < most:
                    text = client.get(mine).text
                    pair = re.search(r'data-pair="([^"]+)"', text)
                    if not pair:
                        break
                    seen += 1
                    item = next(i for i in opened.items(name) if i["pair_id"] == pair[1])
                    answer = script(item, who)
                    self.now += answer.pop("seconds", 30.0)
                    said = client.post(f"{mine}/answer", json={"batch": name} | answer, headers=headers)
                    if said.status_code != 200:
                        break
        finally:
            opened.close()
        return seen

    def _studio(self, who: str, script: Script, most: int, name: str) -> int:
        studio, seen = self.studio[0], 0
        user = next(n for n, mail in studio.people.items() if mail == who)
        for project in sorted(studio.projects, key=lambda p: p["id"]):
            while seen < most and f" {name} " in project["title"] and (task := studio.next_for(user, project["id"])):
                studio.annotate(task["id"], user, script(task["data"], who))
                seen += 1
        return seen


__all__ = ["PERSONAL_DATA", "Hands", "Script"]
