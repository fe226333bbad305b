"""The page as people use it: a real browser, the keyboard alone, a server that is killed in between."""

import multiprocessing
import os
import signal
import socket
import time

from resources.annotators.desk import Desk
from resources.annotators.page.server import serve
from tests.support.answers import batch
from tests.support.browser import browser
from tests.support.doors import Hands


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def quiet(*_):
    pass


class Served:
    """`assay label` in a process of its own, on one port for good."""

    def __init__(self, at: Hands, *names: str):
        self.at, self.names, self.port = at, names, free_port()

    def start(self) -> None:
        args = (self.at.settings, self.at.lake, self.names, "127.0.0.1", self.port, quiet)
        self.process = multiprocessing.get_context("fork").Process(target=serve, args=args, daemon=True)
        self.process.start()
        for _ in range(500):
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError("the page does not answer")

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join()

    def link(self, who: str) -> str:
        from resources.annotators.page.app import token

        opened = Desk(self.at.lake.folder("people") / "desk.sqlite")
        try:
            return f"http://127.0.0.1:{self.port}/p/{token(opened.secret, who)}"
        finally:
            opened.close()


def test_two_people_label_a_batch_by_keyboard_through_a_kill_of_the_server(tmp_path):
    at = Hands(tmp_path, "label", annotators=2, least_seconds=0)
    pairs = batch(2, category="information seeking")
    at.waiting(pairs)
    with browser() as chromium:
        served = Served(at, "ann", "bob")
        served.start()
        try:
            for who in ("ann", "bob"):
                page = chromium.new_page()
                page.set_default_timeout(15_000)
                loaded = []
                page.on("request", lambda r, loaded=loaded: loaded.append(r.url))
                page.goto(served.link(who))
                for n in range(2):
                    page.wait_for_selector("#form")
                    pair = page.locator("#page").get_attribute("data-pair")
                    sides = [page.locator(f"#candidate_{k} .formatted").inner_text() for k in (1, 2)]
                    right = "1" if "good" in sides[0] else "2"
                    page.keyboard.press(right)
                    if n == 0:  # the form says what is missing, in its own words
                        page.keyboard.press("Enter")
                        page.wait_for_selector("#errors:not(:empty)")
                        said = page.locator("#errors").inner_text()
                        assert "Tick that you have read the guideline" in said and "which tools you used" in said
                    page.keyboard.press("g")
                    page.keyboard.press("s")
                    page.keyboard.type("web")
                    page.keyboard.press("Tab")
                    page.keyboard.type("primes above 10")
                    page.keyboard.press("Escape")
                    if (
                        n == 1 and who == "ann"
                    ):  # the server dies; what is typed stays, also when the browser loads anew
                        served.kill()
                        page.keyboard.press("Enter")
                        page.wait_for_selector("#errors:has-text('does not answer')")
                        served.start()
                        page.reload()
                        assert page.locator("#page").get_attribute("data-pair") == pair
                        assert page.locator("[name=asked]").input_value() == "primes above 10"
                        assert page.locator(f"[value=candidate_{right}]").is_checked()
                    with page.expect_navigation():
                        page.keyboard.press("Enter")
                page.wait_for_selector("#again")
                if who == "bob":
                    with page.expect_navigation():
                        page.keyboard.press("u")
                    page.wait_for_selector("#form")
                    assert page.locator("[name=acknowledged]").is_checked()  # as it was said
                    assert page.locator("[name=asked]").input_value() == "primes above 10"
                    with page.expect_navigation():
                        page.keyboard.press("Enter")
                assert all(url.startswith(f"http://127.0.0.1:{served.port}/") for url in loaded)
                page.close()
        finally:
            served.kill()
    labels = at.label(pairs).to_pylist()
    assert len(labels) == 4 and all((r["verdict"] == "first") == (r["shown_first"] == "chosen") for r in labels)
    assert {(r["tools"][0], r["tool_log"].count("primes above 10")) for r in labels} == {("search", 1)}
