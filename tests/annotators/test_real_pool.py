"""Real pairs, and the labels that three people once gave them, typed into the real form of `assay label` by a browser: the
same gold as by files, and as by a count of the recorded votes."""

import pytest

from assets import stage1
from tests.annotators.test_page_in_chromium import Served
from tests.support.browser import browser
from tests.support.real_pool import PANDALM, PEOPLE, RealPool

pytestmark = pytest.mark.skipif(not PANDALM.exists(), reason=f"no {PANDALM}")
PAIRS = 12


def label_all(page, pool: RealPool, link: str, who: str) -> int:
    """Answer by keyboard what the page shows, until nothing is left; returns how many pairs that were."""
    page.goto(link)
    seen = 0
    while page.locator("#form").count():
        sides = tuple(page.locator(f"#candidate_{k} .raw").text_content() for k in (1, 2))
        verdict = pool.verdict(sides, who)
        needs = page.locator(".needs").inner_text() if page.locator(".needs").count() else ""
        page.keyboard.press({"candidate_1": "1", "candidate_2": "2", "undecided": "0"}[verdict])
        if verdict == "undecided":
            page.keyboard.press("t")
        page.keyboard.press("g")
        page.keyboard.press("s" if "search" in needs else "c" if "run" in needs else "n")
        if needs:
            page.keyboard.type("of this machine")
            page.keyboard.press("Tab")
            page.keyboard.type("the claim that decides")
            page.keyboard.press("Tab")
            page.keyboard.type("as the better answer has it")
            page.keyboard.press("Escape")
        with page.expect_navigation():
            page.keyboard.press("Enter")
        seen += 1
    return seen


def by_page(pool: RealPool, chromium) -> int:
    """Everybody in turn answers what their page shows; how many answers there were."""
    served = Served(pool, *PEOPLE)
    served.start()
    try:
        page = chromium.new_page()
        page.set_default_timeout(60_000)
        return sum(label_all(page, pool, served.link(who), who) for who in PEOPLE)
    finally:
        served.kill()


def test_recorded_labels_typed_into_the_page_give_the_gold_that_files_give(tmp_path):
    typed, by_files = (RealPool(tmp_path / door, door, PAIRS, 1) for door in ("label", "files"))
    for pool in (typed, by_files):
        pool.laid(PAIRS)
        assert pool.step(stage1.human_labels).missing >= PAIRS
    with browser() as chromium:
        given = by_page(typed, chromium)
    assert typed.step(stage1.human_labels) is None
    assert given == len(typed.labels()) > PAIRS  # some are labelled twice, and a third time where the two differ
    by_files.by_files("iter_00", lambda: by_files.step(stage1.human_labels))
    assert by_files.step(stage1.human_labels) is None
    for pool in (typed, by_files):
        assert pool.step(stage1.gold) is None
    assert typed.labels() == by_files.labels()
    assert typed.gold() == by_files.gold()
    assert {pair: order for _, pair, order, *_ in typed.gold()} == typed.counted()
