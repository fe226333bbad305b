"""The page: who may see it, what it can never show, how it saves."""

import re

import pytest
from starlette.testclient import TestClient

from resources.annotators.desk import CLAIM, Desk
from resources.annotators.page.app import Page, app, token
from resources.annotators.page.texts import formatted, sections
from resources.annotators.tasks import items
from resources.lake import Lake
from tests.support.answers import batch, truly
from tests.support.lakes import settings

EVIL = (
    "<script>alert(1)</script> <img src=x onerror=alert(1)> [a](javascript:alert(1)) ![b](http://e.example/x) <http://e.example>"
    " &lt;b&gt; </pre></article><form action=//e.example><input name=token> ```html\n<script>alert(2)</script>\n```\n\n"
    "| <script> | b |\n|---|---|\n| <i>x</i> | y |\n\n[r]: javascript:alert(3)\n\n<iframe src=//e.example></iframe>"
)
HOME = "http://127.0.0.1"


class Office:
    """A desk with a batch, its page, and a clock."""

    def __init__(self, folder, pairs=None, **people):
        self.now = 1_780_000_000.0
        self.settings = settings(people={"backend": "label", "overlap": 0} | people)
        self.lake = Lake(str(folder / "lake"))
        self.desk = Desk(self.lake.folder("people") / "desk.sqlite", lambda: self.now)
        pairs = batch(3) if pairs is None else pairs
        self.desk.publish("iter_00", items(pairs, "iter_00", self.settings, self.lake))
        self.page = Page(self.settings, self.desk)
        self.client = TestClient(app(self.page), base_url=HOME)

    def link(self, who: str) -> str:
        self.desk.invite(who)
        return f"/p/{token(self.page.secret, who)}"

    def pair(self, who: str) -> str | None:
        found = re.search(r'data-pair="([^"]+)"', self.client.get(self.link(who)).text)
        return found and found[1]

    def give(self, who: str, pair: str, headers=None, **more):
        self.now += 20
        item = next(i for i in self.desk.items("iter_00") if i["pair_id"] == pair)
        link = self.link(who)
        body = {"batch": "iter_00"} | truly(item, who) | more
        return self.client.post(f"{link}/answer", json=body, headers={"x-assay-token": link[3:]} | (headers or {}))


@pytest.fixture
def office(tmp_path):
    made = []

    def open_(**keys):
        made.append(Office(tmp_path, **keys))
        return made[-1]

    yield open_
    for one in made:
        one.desk.close()


def test_no_text_of_a_pair_is_ever_markup(office):
    about = {"category": EVIL, "desired": EVIL, "guideline": EVIL}
    pairs = batch(1, asked=EVIL, **{k: v for k, v in about.items() if k != "category"})
    for side in ("chosen", "rejected"):
        pairs = pairs.set_column(pairs.column_names.index(side), side, [[EVIL + side]])
    at = office(pairs=pairs)
    said = at.client.get(at.link(EVIL[:60]))
    for tag in (
        "script>alert",
        "<img",
        "<iframe",
        "<form action",
        'href="javascript',
        "<i>",
        "<b>x",
        "<input name=token",
    ):
        assert tag not in said.text.replace("&lt;script&gt;alert", ""), tag
    assert "&lt;script&gt;alert(1)" in said.text and "&amp;lt;b&amp;gt;" in said.text
    assert re.findall(r'(?:src|href)="([^"#][^"]*)"', said.text) == [
        "/static/page.css",
        "/static/icon.svg",
        "/static/page.js",
    ]
    policy = said.headers["content-security-policy"]
    assert (
        "default-src 'none'" in policy and "unsafe" not in policy and said.headers["referrer-policy"] == "no-referrer"
    )


def test_markdown_code_and_white_space_stay_readable():
    text = formatted(
        "a\n    b\n\n```python\ndef f(x):\n    return x  # <b>\n```\n\n1. one\n2. two\n\n| a | b |\n|--|--|\n| 1 | 2 |"
    )
    assert "a\n    b" in text and "    <span" in text and "&lt;b&gt;" in text and "<ol" in text and "<table" in text
    assert formatted("def f():\n    return 1").count("\n    return") == 1
    assert 'dir="auto"' in formatted("مرحبا\n\n- واحد") and "<h4" in formatted("# t")
    assert formatted("a" * 300_000) == ""  # shown as written alone
    assert [h for h, _, own in sections("# Core\n\n## Principles\nx\n\n## Task: math\ny") if own] == ["Task: math"]


def test_only_who_has_the_link_gets_in_and_no_other_site_can_post(office):
    at = office()
    link, other = at.link("ann"), at.link("bob")
    assert at.client.get("/p/guess").status_code == at.client.get("/").status_code == 404
    assert (
        at.client.get(link, headers={"host": "evil.example"}).status_code == 403
    )  # a name that was bound to this machine
    pair = at.pair("ann")
    for headers in (
        {"origin": "http://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"},
        {"x-assay-token": ""}, {"x-assay-token": other[3:]}, {"content-type": "text/plain"},
    ):  # fmt: skip
        assert at.give("ann", pair, headers).status_code == 403, headers
    assert at.client.post(f"{link}/undo", headers={"origin": "http://evil.example"}).status_code == 403
    assert not at.desk.progress("iter_00", at.settings.people).answered
    assert at.give("ann", pair, {"origin": HOME, "sec-fetch-site": "same-origin"}).status_code == 200
    huge = at.client.post(
        f"{link}/answer",
        content=b"x" * 2_000_000,
        headers={"x-assay-token": link[3:], "content-type": "application/json"},
    )
    assert huge.status_code == 413


def test_links_outlive_the_server_and_belong_to_one_desk(office, tmp_path):
    at = office()
    link = at.link("ann")
    again = Page(at.settings, at.desk)
    other = "A" if link[-1] != "A" else "B"
    assert again.who(link[3:]) == "ann" and again.who(link[3:-1] + other) is None
    key = at.lake.folder("people") / "key"
    assert key.stat().st_mode & 0o777 == 0o600
    key.unlink()
    assert Page(at.settings, at.desk).who(link[3:]) is None


def test_a_refused_answer_says_which_part_of_the_form_is_wrong_and_is_listed(office):
    at = office(pairs=batch(1, category="information seeking"))
    pair = at.pair("ann")
    said = at.give("ann", pair, verdict="", acknowledged=False, tools=[])
    assert said.status_code == 422
    fields = {e["field"]: e["reason"] for e in said.json()["errors"]}
    assert set(fields) == {"verdict", "acknowledged", "tools"} and fields["acknowledged"].startswith("Tick that you")
    searched = {"tools": ["search"], "tool_log": [{"tool": "search", "asked": "x", "said": ""}]}
    assert at.give("ann", pair, tools=["none"]).json()["errors"][0]["field"] == "tools"
    assert len(at.desk.refusals("iter_00")) == 2
    assert at.give("ann", pair, **searched).status_code == 200
    assert not at.desk.refusals("iter_00") and len(at.desk.refusals("iter_00", every=True)) == 2


def test_the_server_keeps_the_time_and_the_name(office):
    at = office()
    pair = at.pair("ann")
    at.now += 100
    at.client.get(at.link("ann"))  # loaded again: the time goes on
    at.give("ann", pair, annotator="bob", seconds=1e9, started="1999-01-01", finished="1999-01-01")
    (answer,) = [a for p in at.desk.pairs("iter_00", at.settings.people) for _, a in p.answers.values()]
    assert (answer.annotator, answer.seconds, answer.finished[:4]) == ("ann", 120.0, "2026")
    late = at.pair("ann")
    at.now += CLAIM + 60  # a pair that lay open over lunch says nothing about the time
    said = at.give("ann", late)
    assert said.status_code == 422 and "look at it again" in said.json()["errors"][0]["reason"]
    assert at.give("ann", late).status_code == 200


def test_two_people_do_not_work_on_one_pair_unless_two_are_wanted(office):
    at = office()
    assert at.pair("ann") == at.pair("ann") == "p00" and at.pair("bob") == "p01"
    at.now += CLAIM + 1  # bob went home
    assert at.pair("ann") == "p00" and at.pair("cid") == "p01"


def test_undo_brings_the_last_pair_back_with_what_was_said(office):
    at = office()
    pair = at.pair("ann")
    at.give("ann", pair, rationale="prime <b>")
    assert at.pair("ann") != pair
    link = at.link("ann")
    assert at.client.post(f"{link}/undo", json={}, headers={"x-assay-token": link[3:]}).json() == {"undone": pair}
    text = at.client.get(link).text
    assert f'data-pair="{pair}"' in text and "prime &lt;b&gt;&#34;" in text
    assert at.desk.progress("iter_00", at.settings.people).answered == 0
    assert at.client.post(f"{link}/undo", json={}, headers={"x-assay-token": link[3:]}).status_code == 409


def test_forms_of_an_arm_hide_what_they_should_and_say_so_in_the_label(office):
    arms = [{"name": "bare", "share": 1.0, "guideline": False, "attributes": False, "tools": False}]
    at = office(arms=arms, pairs=batch(1, category="information seeking"))
    text = at.client.get(at.link("ann")).text
    for absent in ("I have read the guideline", "Search engine", "Criteria:", "How to compare", "information seeking"):
        assert absent not in text
    assert at.give("ann", "p00", acknowledged=None, tools=["none"]).status_code == 200
    (answer,) = [a for p in at.desk.pairs("iter_00", at.settings.people) for _, a in p.answers.values()]
    assert (answer.arm, answer.acknowledged) == ("bare", None)


def test_a_hint_is_shown_recorded_and_preselects_nothing(office):
    checked = {"checked_chosen": "correct", "checked_rejected": "incorrect"}
    at = office(pairs=batch(2, **checked))
    text = at.client.get(at.link("ann")).text
    assert "A model looked at each candidate by itself" in text and " checked>" not in text
    at.give("ann", "p00")
    (answer,) = [a for p in at.desk.pairs("iter_00", at.settings.people) for _, a in p.answers.values()]
    assert answer.hint.startswith("A model looked") and answer.hint_verdict == answer.verdict
