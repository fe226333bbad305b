"""The page on a lake's pairs: what it finds, whom it answers, and how it looks in a real browser."""

import multiprocessing
import re
import socket
import time

import pytest
from starlette.testclient import TestClient

from cli import explore
from curation import tables as t
from report.explore import explored_pairs
from report.explore.explored_pairs import ExploredPairs, NoAnswer
from report.explore.explorer_app import app
from resources.annotators.desk import desk
from tests.support.browser import browser
from tests.support.lakes import put
from tests.support.releases import configured, handed_lake, pair, pool

EVIL = "</td><script>document.title='owned'</script><img src=x onerror=document.title='owned'>"


@pytest.fixture(scope="module")
def settings():
    return configured()


@pytest.fixture(scope="module")
def pairs():
    return [*pool(), pair(50, "wide", asked=f"Is this {EVIL} a Lighthouse?")]


@pytest.fixture(scope="module")
def lake(tmp_path_factory, settings, pairs):
    lake = handed_lake(tmp_path_factory.mktemp("explored"), settings, pairs)
    put(lake, t.STAGE2_ATTRIBUTES, [{"pair_id": pairs[0]["pair_id"], "objectivity": "subjective"}], "b00")
    put(lake, t.SCORES, [{"pair_id": p["pair_id"], "p_best": i / 20, "p_gold": 0.5, "best_model": "b", "gold_model": "g"}
                         for i, p in enumerate(pairs)], "b00")  # fmt: skip
    put(lake, t.RAW_POOL, [p | {"row": i} for i, p in enumerate(pairs, 1) if p["source"] == "wide"], "wide")
    return lake


@pytest.fixture
def looked(lake):
    opened = ExploredPairs(lake)
    yield opened
    opened.close()


def test_filters_find_what_was_planted_alone_and_together(looked, pairs):
    def found(**asked):
        return {r["pair_id"] for r in looked.view(asked, 0)["rows"]}

    names = [p["pair_id"] for p in pairs]
    assert found() == set(names) and looked.pairs == 19
    assert found(source="wide") == {p["pair_id"] for p in pairs if p["source"] == "wide"}
    assert found(**{"class": "flip"}) == set(names[::3])
    assert found(source="wide", **{"class": "flip"}) == {n for n in names[::3] if n in found(source="wide")}
    assert found(objectivity="subjective") == {names[0]} and found(objectivity="(none)") == set(names[1:])
    assert found(text="LIGHTHOUSE") == {names[-1]} == found(pair=names[-1][:9])
    assert found(text="it is 4, “wide") == {p["pair_id"] for p in pairs if p["chosen"] == "It is 4, “wide”."}
    assert found(p_best_from="0.1", p_best_to="0.2") == {n for i, n in enumerate(names) if 0.1 <= i / 20 <= 0.2}
    assert found(text="%") == set() and found(source="' OR 1=1 --") == set()
    with pytest.raises(NoAnswer, match="p_best: 'high' is no number"):
        looked.view({"p_best_from": "high"}, 0)


def test_before_and_after_add_up(looked):
    rows = looked.compared({}, "source")
    assert sum(r["before"] for r in rows) == 19 and sum(r["flipped"] for r in rows) == 7
    wide = next(r for r in rows if r["item"] == "wide")
    assert (wide["before"], wide["after"], wide["kept"] + wide["flipped"]) == (7, 7, 7)
    assert all(r["longer_before"] is not None for r in rows)


def test_the_page_reads_and_changes_nothing(looked, lake, tmp_path):
    columns, rows, more = looked.answer("SELECT class, count(*) AS n FROM explored GROUP BY ALL ORDER BY 1")
    assert columns == ["class", "n"] and rows == [("flip", 7), ("keep", 12)] and not more
    assert looked.answer("FROM range(1000)")[2]
    out = tmp_path / "out.csv"
    for query in (f"COPY explored TO '{out}'", "DROP TABLE explored", "SELECT 1; DROP TABLE explored", "SET threads = 1",
                  "INSTALL httpfs", "ATTACH 'x.db'", "CREATE TABLE x AS SELECT 1", "nonsense"):  # fmt: skip
        with pytest.raises(NoAnswer):
            looked.answer(query)
    assert not out.exists() and looked.answer("SELECT count(*) FROM explored")[1] == [(19,)]


def test_what_is_asked_for_is_a_value_and_never_sql(looked):
    evil = (
        "' OR 1=1 --",
        "'); DROP TABLE explored; --",
        "x' UNION SELECT * FROM sources --",
        "\"; COPY (SELECT 1) TO 'x'",
    )
    for text in evil:
        for asked in ({"text": text}, {"pair": text}, {"class": text}, {"reason": text}, {"category": text}):
            assert looked.view(asked, 0)["found"] == 0
        with pytest.raises(NoAnswer, match="is no number"):
            looked.view({"p_gold_to": text}, 0)
        with pytest.raises(NoAnswer, match="the clean pool has no pair"):
            looked.pair(text)
        assert looked.compared({}, text) == looked.compared({}, "source")  # no property: the first one
    assert looked.view({}, 0)["found"] == 19


def test_one_question_does_not_hold_the_page_for_ever(looked, monkeypatch):
    monkeypatch.setattr(explored_pairs, "LONGEST_S", 0.2)
    with pytest.raises(NoAnswer, match=r"stopped after 0\.2 s"):
        looked.answer("SELECT count(*) FROM range(100000000) a, range(100000000) b WHERE a.range % 7 = b.range % 11")
    assert looked.answer("SELECT count(*) FROM explored")[1] == [(19,)]


@pytest.mark.parametrize("how", ["another pool", "cut off", "gone"])
def test_a_lake_that_changes_under_the_page_is_told_and_the_page_goes_on(tmp_path, settings, pairs, how):
    lake = handed_lake(tmp_path, settings, pairs)
    made = explore.explorer(settings, lake)
    file = lake.path(t.CLEAN_POOL, "b00")
    whole = file.read_bytes()
    with TestClient(app(made), base_url="http://127.0.0.1") as page:
        page.get(f"/open/{made.token}")
        assert page.get("/").status_code == 200
        if how == "another pool":
            put(lake, t.CLEAN_POOL, pool(2), "b00")
        elif how == "cut off":
            file.write_bytes(whole[: len(whole) // 2])
        else:
            file.unlink()
        for path in ("/", "/?text=lighthouse", f"/pair/{pairs[-1]['pair_id']}"):
            if how == "another pool" and "text" in path:
                continue  # words are looked for in the texts that are there now
            answer = page.get(path)
            assert answer.status_code == 400 and "start it again" in answer.text and "Traceback" not in answer.text
        assert page.get("/compare").status_code == 200  # needs no texts
        file.write_bytes(whole)
        assert page.get("/").status_code == 200
        made.pool.close()
        assert page.get("/").status_code == 400  # the session is closed, as when the program ends


def test_odd_requests_are_refused_in_one_sentence(client):
    page, made = client
    page.get(f"/open/{made.token}")
    for number in ("-1", "abc", "²", "9" * 30, "1e3"):
        assert page.get("/", params={"page": number}).status_code == 200  # the first one
    assert page.get("/", params={"page": "99999999"}).status_code == 200
    assert "the form is too long" in page.post("/send", content=b"x" * (1 << 17)).text
    assert page.post("/send", content=b"\xff\x00=%zz&token").status_code == 403
    assert page.get("/sql", params={"q": "SELECT 1; SELECT 2"}).text.count("one SELECT") == 1
    assert "No files found" in page.get("/sql", params={"q": "FROM read_csv('/nothing/here.csv')"}).text
    assert page.get("/pair/%00").status_code == 400


def test_a_port_that_is_taken_is_told(settings, lake, capsys):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        assert explore.page(settings, lake, s.getsockname()[1]) == 2
    assert "port" in capsys.readouterr().err


@pytest.fixture
def client(settings, lake):
    made = explore.explorer(settings, lake)
    with TestClient(app(made), base_url="http://127.0.0.1") as opened:
        yield opened, made
    made.pool.close()


def test_it_answers_who_came_by_its_link_on_its_own_machine(client):
    page, made = client
    assert page.get("/").status_code == 403 and page.get("/sql?q=SELECT+1").status_code == 403
    assert page.get("/open/guessed").status_code == 404
    assert page.get(f"/open/{made.token}").status_code == 200
    assert page.get("/").status_code == 200
    assert page.get("/", headers={"host": "evil.example"}).status_code == 403  # a name that was led to this machine
    assert page.post("/send", data={"batch": "x"}).status_code == 403  # without the token of the page
    cookie = page.get(f"/open/{made.token}", follow_redirects=False).headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie


def test_texts_are_no_markup_and_a_pair_has_its_story(client, pairs):
    page, made = client
    page.get(f"/open/{made.token}")
    listed = page.get("/", params={"text": "lighthouse"}).text
    assert "<script" not in listed and "&lt;script&gt;" in listed and "onerror" in listed and "<img" not in listed
    one = page.get(f"/pair/{pairs[-1]['pair_id']}").text
    assert "<script" not in one and "Where it came from" in one and "wide row 19" in one
    assert page.get("/pair/nothing").status_code == 400
    policy = page.get("/").headers["content-security-policy"]
    assert "script-src" not in policy and "default-src 'none'" in policy


def test_a_selection_goes_to_people_once(client, lake, settings, pairs):
    page, made = client
    page.get(f"/open/{made.token}")
    said = page.post("/send", data={"token": made.token, "batch": "odd", "source": "wide"}).text
    assert "7 pairs as" in said and "look-odd" in said
    with desk(lake) as opened:
        assert {i["pair_id"] for i in opened.items("look-odd")} == {
            p["pair_id"] for p in pairs if p["source"] == "wide"
        }
    again = page.post("/send", data={"token": made.token, "batch": "look-odd"})
    assert again.status_code == 400 and "there is a batch look-odd already" in again.text
    assert "no name of a batch" in page.post("/send", data={"token": made.token, "batch": "../x"}).text
    assert page.post("/send", data={"token": made.token, "batch": "b", "source": "none"}).status_code == 400


def test_simulated_people_are_sent_nothing(lake):
    from tests.support.lakes import settings as plain

    made = explore.explorer(plain(people={"backend": "simulated"}), lake)
    assert made.send is None
    made.pool.close()


def test_in_a_browser_one_filters_reads_and_goes_back(settings, lake, capfd):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    process = multiprocessing.get_context("fork").Process(target=explore.page, args=(settings, lake, port), daemon=True)
    process.start()
    try:
        from playwright.sync_api import expect

        said = ""
        for _ in range(500):
            said += capfd.readouterr().out
            if link := re.search(r"http://127.0.0.1:\d+/open/\S+", said):
                break
            time.sleep(0.02)
        with browser() as chromium:
            tab = chromium.new_page()
            complaints = []
            tab.on("console", lambda m: complaints.append(m.text))
            tab.goto(link[0])
            rows = tab.locator("tbody tr")
            expect(rows).to_have_count(19)
            tab.select_option("select[name=class]", "flip")
            tab.fill("input[name=text]", "lighthouse")
            tab.click("text=Show")
            expect(rows).to_have_count(1)
            assert "lighthouse" in tab.url
            tab.click("tbody a")
            expect(tab.locator("body")).to_contain_text("Its story")
            assert tab.title() != "owned"
            tab.goto(link[0])
            tab.click("text=Before and after")
            expect(rows).to_have_count(3)
            tab.click("nav >> text=SQL")
            tab.click("text=Run")
            rows.nth(2).wait_for()
            assert [c for c in complaints if "favicon" not in c and "404" not in c] == []
    finally:
        process.kill()
        process.join()
