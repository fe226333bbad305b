"""The door of Label Studio: a batch becomes projects there, annotations become answers at the desk."""

import datetime
import functools
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jinja2

from curation.identity import digest
from curation.opinions import ADJUDICATOR
from resources.annotators.desk import Desk, Pair
from resources.annotators.doors import AtDesk
from resources.annotators.label_studio.client import Client
from resources.annotators.records import CLOSED, Asked, Refused, instant, read
from resources.annotators.wording import in_form
from resources.settings import Settings

TITLE = 50  # characters that a project's title may have
MODEL = "assay-attributes"  # what the prefilled attributes are predictions of; never a verdict (spec 2.04)
NEEDS = {
    "search": "This turns on facts: a search is required.",
    "code": "This turns on whether code works: have it run.",
    "llm": "An assistant is required here.",
}
RETIRED = "closed"  # noted of a project of which nobody is asked any more
REFUSED = "Your last answer to this pair was not accepted: "


@functools.cache
def form(guideline: bool, attributes: bool, tools: bool) -> str:
    """The labelling configuration of one kind of form."""
    text = Path(__file__).with_name("form.xml").read_text(encoding="utf-8")
    made = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(text)
    return made.render(guideline=guideline, attributes=attributes, tools=tools, closed=CLOSED)


class LabelStudioDoor(AtDesk):
    """One project for each number of answers and form of a batch, and one for those that need somebody else's opinion.

    The server checks nothing of what its API is given, so every annotation is read like any other answer. A refused one
    is deleted there, which puts its task back into that person's queue, with the reason above the pair.
    """

    name = "label_studio"

    def __init__(self, settings: Settings, desk: Desk):
        super().__init__(settings, desk)
        self.client = Client(settings.people.label_studio)
        self.id = hashlib.blake2b(desk.secret, digest_size=3).hexdigest()

    def where(self, batch: str) -> str:
        """See `Door.where`."""
        return f"{self.client.url}, projects named {self._title(batch, '…')!r}"

    def how(self, batch: str) -> str:
        """See `Door.how`."""
        return "Run again, or look with `assay people`, when people have answered there"

    # ---- out -------------------------------------------------------------------------------------------------------
    def _title(self, batch: str, group: str) -> str:
        end = f" {batch} {group} {self.id}"
        return self.settings.name[: TITLE - len(end)] + end

    def _groups(self, batch: str) -> dict[str, list[Pair]]:
        """Project -> its pairs: by number of answers and form, then those that need somebody else, as do those that were
        asked for before."""
        found: dict[str, list[Pair]] = {}
        for pair in self.desk.pairs(batch, self.people):
            item = pair.item
            if not pair.before:
                found.setdefault(f"x{item['wanted']}{item['arm'] and '-' + item['arm']}", []).append(pair)
            if pair.standing.needed and (pair.before or len(pair.answers) >= item["wanted"]):
                settles = pair.standing.by == ADJUDICATOR
                kind = "settle" if settles else f"more{len(pair.answers)}"
                found.setdefault(f"{kind}{item['arm'] and '-' + item['arm']}", []).append(pair)
        return dict(sorted(found.items(), key=lambda group: not group[0].startswith("x")))

    def publish(self, batch: str) -> None:
        """See `Door.publish`; an interrupted import goes on with what is missing."""
        notes = self.desk.notes(batch, self.name)
        if self.desk.progress(batch, self.people).closed:
            self._retire(batch, notes)
            return
        for group, pairs in self._groups(batch).items():
            sent = digest([digest(map(str, sorted(self._data(p.item).items()))) for p in pairs])
            if notes.get(group) == sent:
                continue
            project = self._project(batch, group, pairs[0].item)
            self._send(project, [p.item for p in pairs], keep=not group.startswith("x"))
            self.desk.note(batch, self.name, group, sent)

    def _retire(self, batch: str, notes: Mapping[str, str]) -> None:
        """Take away what nobody has worked on, and bring what somebody was just about to send: it counts when the pair is
        asked for again."""
        still = [group for group, sent in notes.items() if sent != RETIRED]
        for group in still:
            for project in self.client.projects(self._title(batch, group)):
                for task in list(self.client.tasks(project["id"])):
                    if not task.get("total_annotations"):
                        self.client.delete_task(task["id"])
                self.client.update_project(project["id"], maximum_annotations=1)  # a second answer is not waited for
        if still:
            self.collect(batch)
        for group in still:
            self.desk.note(batch, self.name, group, RETIRED)

    def _project(self, batch: str, group: str, item: Mapping[str, Any]) -> int:
        title = self._title(batch, group)
        if there := self.client.projects(title):
            return there[0]["id"]
        config = form(item["guideline"], item["form_attributes"], item["tools"])
        self.client.validate(config)
        made = self.client.create(
            title=title,
            label_config=config,
            maximum_annotations=item["wanted"] if group.startswith("x") else 1,
            overlap_cohort_percentage=100,
            sampling="Sequential sampling",
            show_skip_button=False,
            enable_empty_annotation=False,
            show_collab_predictions=True,
            model_version=MODEL,
            show_instruction=False,
        )
        return made["id"]

    def _send(self, project: int, items: list[Mapping[str, Any]], keep: bool) -> None:
        """Bring the project's tasks to these items: new ones are added, changed ones corrected, others taken away where
        nobody has worked on them, unless they are to stay."""
        there: dict[str, dict[str, Any]] = {}
        for task in self.client.tasks(project):
            if (pair := task["data"].get("pair_id")) in there:  # an import that was sent twice
                if not task.get("total_annotations"):
                    self.client.delete_task(task["id"])
                continue
            there[pair] = task
        missing = []
        for item in items:
            task, data = there.pop(item["pair_id"], None), self._data(item)
            if task is None:
                missing.append(self._task(item))
            elif {**task["data"], "notice": ""} != data:
                self.client.update_task(task["id"], data=data)
        self.client.add_tasks(project, missing)
        for task in () if keep else there.values():
            if not task.get("total_annotations"):
                self.client.delete_task(task["id"])

    def _data(self, item: Mapping[str, Any]) -> dict[str, Any]:
        about = item["attributes"]
        needs = self.rules.required_tools.get(about["category"]) if about["objectivity"] == "objective" else None
        data = {n: item[n] for n in ("pair_id", "conversation", "candidate_1", "candidate_2", "hint")}
        data |= {"notice": "", "needs": NEEDS[needs] if needs and "tools" in self.rules.require else ""}
        data |= {"protocol": item["protocol"]} if item["guideline"] else {}
        return data | ({n: about[n] for n in ("desired", "guideline")} if item["form_attributes"] else {})

    def _task(self, item: Mapping[str, Any]) -> dict[str, Any]:
        about = item["attributes"]
        filled = [_result(n, "choices", about[n]) for n in CLOSED if about[n] in CLOSED[n]]
        filled += [_result(f"{n}_edited", "text", about[n]) for n in ("desired", "guideline") if about[n]]
        shown = filled if item["form_attributes"] else []
        return {"data": self._data(item), "predictions": [{"model_version": MODEL, "result": shown}] if shown else []}

    # ---- in --------------------------------------------------------------------------------------------------------
    def collect(self, batch: str) -> None:
        """See `Door.collect`."""
        asked = self.asked(batch)
        users: dict[int, str] = {}
        for group in self.desk.notes(batch, self.name):
            for project in self.client.projects(self._title(batch, group))[:1]:
                tasks = self.client.annotated(project["id"])
                users = users or (self.client.users() if tasks else {})
                self._read(batch, group, tasks, users, asked)

    def _read(
        self,
        batch: str,
        group: str,
        tasks: Iterable[dict[str, Any]],
        users: Mapping[int, str],
        asked: Mapping[str, Asked],
    ) -> None:
        before = self.desk.refs(batch, self.name)
        refused: list[tuple[dict[str, Any], int, Refused]] = []
        with self.desk.transaction():
            for task, annotation, raw in _annotations(tasks):
                raw["annotator"] = self._pseudonym(annotation["completed_by"], users)
                ref = f"annotation {annotation['id']}"
                made = read(raw, asked, self.rules)
                if not isinstance(made, Refused) and (
                    why := self._unfit(group, made.pair_id, made.annotator, ref, before)
                ):
                    made = Refused(made.pair_id, made.annotator, (why,))
                if isinstance(made, Refused):
                    self.desk.refuse(batch, made, self.name, ref, raw)
                    refused.append((task, annotation["id"], made))
                else:
                    self.desk.answer(batch, made, self.name, ref)
        for task, annotation, why in refused:  # only what is written down may be deleted
            self.client.update_task(
                task["id"],
                data={**task["data"], "notice": REFUSED + " ".join(in_form(r)["reason"] for r in why.reasons)},
            )
            self.client.delete_annotation(annotation)

    def _unfit(self, group: str, pair: str, who: str, ref: str, before: Mapping[tuple[str, str], str]) -> str:
        """Why an answer may not stand in a project that asks for somebody else's opinion; '' where it may."""
        if group.startswith("settle") and who not in self.people.adjudicators:
            return f"only an adjudicator settles this ({', '.join(self.people.adjudicators)}), and you are {who}"
        if not group.startswith("x") and before.get((pair, who), ref) != ref:
            return "you have answered this pair before, and another opinion must be somebody else's"
        return ""

    def _pseudonym(self, user: Any, users: Mapping[int, str]) -> str:
        """A person's name here: no address leaves the server."""
        number = user.get("id") if isinstance(user, Mapping) else user
        email = user.get("email") if isinstance(user, Mapping) else None
        who = (email or users.get(number, f"user {number}")).lower()
        return "ls-" + hashlib.blake2b(who.encode(), digest_size=4, key=self.desk.secret).hexdigest()


def _result(name: str, kind: str, value: str) -> dict[str, Any]:
    type_ = "choices" if kind == "choices" else "textarea"
    return {"from_name": name, "to_name": "conversation", "type": type_, "value": {kind: [value]}}


def _annotations(tasks: Iterable[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]:
    """(task, annotation, raw answer), in the order in which they were last changed."""
    every = [(t, a) for t in tasks for a in t.get("annotations") or () if not a.get("was_cancelled")]
    for task, annotation in sorted(every, key=lambda ta: (str(ta[1].get("updated_at")), ta[1]["id"])):
        yield task, annotation, _raw(task, annotation)


def _raw(task: Mapping[str, Any], annotation: Mapping[str, Any]) -> dict[str, Any]:
    """What an annotation says, as the reader takes it."""
    got, origin = {}, {}
    for r in annotation.get("result") or ():
        value = r.get("value") or {}
        got[r.get("from_name")] = value.get("choices") or value.get("text") or []
        origin[r.get("from_name")] = r.get("origin")
    edited = {n: _only(got[n]) for n in CLOSED if got.get(n)}
    edited |= {n: _only(got[f"{n}_edited"]) for n in ("desired", "guideline") if got.get(f"{n}_edited")}
    raw = {
        "pair_id": task["data"].get("pair_id"),
        "verdict_origin": origin.get("verdict") or "",
        "acknowledged": "yes" if "yes" in (got.get("acknowledged") or ()) else "",
        "rationale": got.get("reason"),
        "attributes": edited,
        **{n: got.get(n) for n in ("verdict", "why_undecided", "tools", "tool_log")},
    }
    seconds, made = annotation.get("lead_time"), annotation.get("created_at")
    if isinstance(seconds, (int, float)):
        raw["seconds"] = seconds
    if isinstance(made, str):
        raw["finished"] = made
        if isinstance(seconds, (int, float)) and 0 <= seconds < 1e7:
            ended = datetime.datetime.fromisoformat(made)
            ended = ended if ended.tzinfo else ended.replace(tzinfo=datetime.UTC)
            raw["started"] = instant(ended.timestamp() - seconds)
    return raw


def _only(values: Any) -> Any:
    return values[0] if isinstance(values, list) and len(values) == 1 else values
