"""Label Studio itself: installed in an environment of its own, started, answered by two people in a browser, killed.

Set ASSAY_LABEL_STUDIO to the folder of an environment that has it, and nothing is installed.
"""

import functools
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from resources.annotators.backends import door
from resources.annotators.desk import desk
from resources.annotators.label_studio.studio_door import NEEDS
from tests.annotators.test_page_in_chromium import free_port
from tests.annotators.test_real_pool import by_page
from tests.support.answers import batch, truly
from tests.support.browser import browser
from tests.support.doors import Hands
from tests.support.real_pool import PANDALM, RealPool

pytestmark = pytest.mark.slow
PEOPLE = {f"{name}@example.org": f"correct-horse-{name}" for name in ("ann", "bob", "cid")}
QUIET = {
    "COLLECT_ANALYTICS": "false", "LATEST_VERSION_CHECK": "false", "SENTRY_DSN": "", "FRONTEND_SENTRY_DSN": "",
    "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
}  # fmt: skip


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The folder of an environment with Label Studio."""
    if given := os.environ.get("ASSAY_LABEL_STUDIO"):
        return Path(given)
    folder = tmp_path_factory.mktemp("label-studio-env")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    subprocess.run([str(folder / "bin/pip"), "install", "-q", "label-studio>=1.23"], check=True)
    return folder


class Server:
    """A Label Studio on a port of its own, that can be killed and started again on the same data."""

    def __init__(self, installed: Path, folder: Path):
        self.program, self.folder, self.port = installed / "bin/label-studio", folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        ann = next(iter(PEOPLE))
        command = [str(self.program), "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(self.port),
                   "--username", ann, "--password", PEOPLE[ann]]  # fmt: skip
        where = QUIET | {"LABEL_STUDIO_BASE_DATA_DIR": str(self.folder)}
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, env=os.environ | where, stdout=log, stderr=log, start_new_session=True
            )
        for _ in range(900):  # the first start makes the database: a minute where the machine has nothing else to do
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
            time.sleep(1)
        raise AssertionError("Label Studio does not start")

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def enter(self, client: httpx.Client, who: str, page: str = "/user/login/", **more) -> None:
        """Log in, or sign up on another page."""
        found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', client.get(page).text)
        form = {"csrfmiddlewaretoken": found[1], "email": who, "password": PEOPLE[who]} | more
        assert client.post(page, data=form, headers={"Referer": self.url + page}).status_code == 302

    @functools.cached_property
    def token(self) -> str:
        """A personal access token of the first account, and the other accounts by the first one's invitation."""
        ann, *others = PEOPLE
        with httpx.Client(base_url=self.url, timeout=60) as client:
            self.enter(client, ann)
            invitation = client.get("/api/invite").json()["invite_url"]
            said = client.post("/api/token/", headers={"X-CSRFToken": client.cookies["csrftoken"], "Referer": self.url})
        for who in others:
            with httpx.Client(base_url=self.url, timeout=60) as client:
                self.enter(client, who, invitation.removeprefix(self.url), allow_newsletters="false")
        return said.json()["token"]


@pytest.fixture(scope="module")
def server(installed, tmp_path_factory):
    made = Server(installed, tmp_path_factory.mktemp("label-studio"))
    made.start()
    yield made
    made.kill()


def enter(chromium, server: Server, who: str):
    page = chromium.new_context(viewport={"width": 1400, "height": 1200}).new_page()
    page.set_default_timeout(240_000)
    page.goto(f"{server.url}/user/login/")
    page.fill("[name=email]", who)
    page.fill("[name=password]", PEOPLE[who])
    page.click("button[type=submit]")
    page.wait_for_url(lambda url: "/login" not in url)
    return page


def tick(page, name: str) -> None:
    """Choose a choice of the form whose words begin so, in the middle of the window: a bar lies over its foot."""
    choice = page.locator(f'input[name^="{name}"]')
    choice.evaluate("e => e.scrollIntoView({block: 'center'})")
    choice.check(force=True)


def submit(page, server: Server, project: int, tool: str = "Search engine") -> str:
    """Answer the next task in the form as a careful person would; returns what stands above it."""
    page.goto(f"{server.url}/projects/{project}/data?labeling=1")
    page.wait_for_selector("text=Candidate 1 is better")
    page.wait_for_timeout(700)
    texts = page.locator(".lsf-richtext").all_inner_texts()
    notice = page.locator("body").inner_text()
    side = 1 if "good" in texts[-2] else 2
    tick(page, f"Candidate {side} is better")
    tick(page, "I have read the guideline")
    tick(page, tool)
    if tool != "None":
        page.locator("textarea[name=tool_log]").fill("search: primes -> 11, 13")
    with page.expect_response(lambda r: "/annotations" in r.url and r.request.method == "POST") as sent:
        page.get_by_role("button", name="Submit current annotation").click()
    assert sent.value.status == 201
    return notice


def test_two_people_label_a_batch_in_the_real_form_through_a_kill_of_the_server(server, tmp_path, monkeypatch):
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", server.token)
    pairs = batch(3, category="information seeking")
    at = Hands(tmp_path, "label_studio", (None, server.url), annotators=2)
    assert at.waiting(pairs).missing == 6
    with desk(at.lake) as opened:
        way = door(at.settings, opened)
        project = way.client.projects(way._title("iter_00", "x2"))[0]["id"]
    with browser() as chromium:
        ann = enter(chromium, server, "ann@example.org")
        submit(ann, server, project, tool="None")  # the server takes it
        wait = at.waiting(pairs)
        assert (wait.answered, wait.missing) == (0, 6) and "must be looked up" in at.refused()[-1]
        assert "was not accepted" in submit(ann, server, project)  # and it is in her queue again, with the reason
        submit(ann, server, project)
        server.kill()
        with pytest.raises(Exception, match="does not answer"):
            at.label(pairs)
        server.start()
        assert at.waiting(pairs).answered == 2
        submit(ann, server, project)
        bob = enter(chromium, server, "bob@example.org")
        for _ in range(3):
            submit(bob, server, project)
    labels = at.label(pairs).to_pylist()
    assert len(labels) == 6 and len({r["annotator"] for r in labels}) == 2
    assert all((r["verdict"] == "first") == (r["shown_first"] == "chosen") for r in labels)
    by_files = Hands(tmp_path / "files", "files", annotators=2)
    by_files.waiting(pairs)
    for who in ("ann", "bob"):
        by_files.answer(who, lambda i, who: truly(i, who, tools=["search"], tool_log=["search: primes -> 11, 13"]))
    same = [
        {n: r[n] for n in ("pair_id", "verdict", "shown_first", "tools")} for r in by_files.label(pairs).to_pylist()
    ]
    assert same == [{n: r[n] for n in ("pair_id", "verdict", "shown_first", "tools")} for r in labels]


def test_two_thousand_tasks_go_out_and_their_answers_come_back_in_seconds(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", server.token)
    at = Hands(tmp_path, "label_studio", (None, server.url))
    started = time.monotonic()
    at.waiting(batch(2000))
    out = time.monotonic() - started
    with desk(at.lake) as opened:
        way = door(at.settings, opened)
        client, title = way.client, way._title("iter_00", "x1")
        project, done = client.projects(title)[0]["id"], []
        for task in client.tasks(project):  # as 2,000 people would leave them, in one import
            parts = [("verdict", truly(task["data"])["verdict"]), ("acknowledged", "yes"), ("tools", "none")]
            result = [
                {"from_name": n, "to_name": "conversation", "type": "choices", "value": {"choices": [v]}}
                for n, v in parts
            ]
            done.append({"data": task["data"], "annotations": [{"result": result, "lead_time": 20}]})
        client.add_tasks(project, done)
    started = time.monotonic()
    labels = at.label(batch(2000))
    back = time.monotonic() - started
    with capsys.disabled():
        print(f"\n2,000 tasks out: {out:.1f} s; 2,000 answers back: {back:.1f} s")
    assert labels.num_rows == 2000 and out < 120 and back < 120


def type_recorded(page, server: Server, project: int, pool: RealPool, who: str) -> None:
    """Answer the next task in the form as this person once did."""
    page.goto(f"{server.url}/projects/{project}/data?labeling=1")
    page.wait_for_selector("text=Candidate 1 is better")
    page.wait_for_timeout(700)
    texts, shown = page.locator(".lsf-richtext").all_inner_texts(), page.locator("body").inner_text()
    verdict = pool.verdict((texts[-2], texts[-1]), who)
    words = {"candidate_1": "Candidate 1 is better", "candidate_2": "Candidate 2 is better"}
    tick(page, words.get(verdict, "Cannot be decided"))
    if verdict == "undecided":
        tick(page, "Equally good or bad")
    tick(page, "I have read the guideline")
    tools = {"search": "Search engine", "code": "Code run by an assistant"}
    needs = next((tool for tool in tools if NEEDS[tool] in shown), None)
    tick(page, tools[needs] if needs else "None")
    if needs:
        log = f"{needs}: the claim that decides -> as the better answer has it"
        page.locator("textarea[name=tool_log]").fill(log)
    with page.expect_response(lambda r: "/annotations" in r.url and r.request.method == "POST") as sent:
        page.get_by_role("button", name="Submit current annotation").click()
    assert sent.value.status == 201


def by_studio(pool: RealPool, server: Server, chromium, batch: str) -> None:
    """Everybody in turn answers what the projects of a batch have for them."""
    pages = {who: enter(chromium, server, who) for who in PEOPLE}
    with desk(pool.lake) as opened:
        way = door(pool.settings, opened)
    for group, people in (("x1", list(PEOPLE)[:1]), ("x2", list(PEOPLE)[:2]), ("more2", list(PEOPLE)[2:])):
        pool.run("people")  # where two differ, the project for a third appears
        for project in way.client.projects(way._title(batch, group)):
            for who in people:
                for _ in list(way.client.tasks(project["id"])):
                    type_recorded(pages[who], server, project["id"], pool, who)


@pytest.mark.skipif(not PANDALM.exists(), reason=f"no {PANDALM}")
def test_a_whole_stage_1_on_real_pairs_has_the_same_gold_through_every_door(server, tmp_path, monkeypatch):
    """Two rounds with training between them, by `assay run`; what three people once said is typed into the real forms."""
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", server.token)
    more = {"label_studio": f'[people.label_studio]\nurl = "{server.url}"'}
    pools = {
        name: RealPool(tmp_path / name, name, 12, 6, more.get(name, "")) for name in ("label_studio", "label", "files")
    }
    for name, pool in pools.items():
        status, said = pool.run("run", "pool", "seed", "stage1")
        assert status == 0 and "Waiting for people" in said, said
        with browser() as chromium:
            for batch_ in ("iter_00", "iter_01"):
                if name == "files":
                    pool.by_files(batch_, lambda pool=pool: pool.run("people"))
                elif name == "label":
                    by_page(pool, chromium)
                else:
                    by_studio(pool, server, chromium, batch_)
                status, said = pool.run("run", "stage1")
                assert status == 0 and ("Waiting for people" in said) == (batch_ == "iter_00"), said
    gold = pools["files"].gold()
    assert {iteration for iteration, *_ in gold} == {"iter_00", "iter_01"}
    assert all(pool.gold() == gold and pool.labels() == pools["files"].labels() for pool in pools.values())
    assert {pair: order for _, pair, order, *_ in gold} == pools["files"].counted()
