"""`assay worth` before any run: sources and recorded answers in, a verdict or a sentence out."""

import json
import random

import pytest

from cli.assess import worth
from cli.main import main
from report.worth_page import page
from resources import settings
from resources.lake import Lake

CONFIG = """
name = "shop"
seed = 3
[lake]
path = "lake"
buckets = 1
[[sources]]
name = "pool"
path = "pool.jsonl"
shape = "pair"
fields = {{prompt = "prompt", chosen = "chosen", rejected = "rejected"}}
[people]
backend = "recorded"
answers = [{answers}]
[attributes]
backend = "heuristic"
[judges]
quorum = 1
panel = [{{name = "one", backend = "openai", model = "m"}}]
[training.backbone]
path = "package:no_such_package"
"""
ANSWERS = """{path = "people.jsonl", shape = "winner", codes = {a = ["a"], b = ["b"]},
fields = {prompt = "prompt", a = "a", b = "b", winner = "winner"}}"""


def write(folder, *, pairs: int, judged: int, labels: float, polite: float = 0.95) -> None:
    """People want a polite answer in `polite`; the labels are right in `labels`."""
    r = random.Random(0)
    filler = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    pool, people = [], []
    for i in range(pairs):
        good, bad = (" ".join(r.choices(filler, k=8)) for _ in range(2))
        good, bad = f"please {good} thank you.", f"whatever {bad} go away."
        if r.random() > polite:
            good, bad = bad, good
        prompt = f"question {i} about {r.choice(filler)}"
        right = r.random() < labels
        pool.append({"prompt": prompt, "chosen": good if right else bad, "rejected": bad if right else good})
        if i < judged:
            a, b = (good, bad) if r.random() < 0.5 else (bad, good)
            people.append({"prompt": prompt, "a": a, "b": b, "winner": "a" if a == good else "b"})
    for name, rows in (("pool", pool), ("people", people)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A folder with a configuration; models that come inside packages are not there."""
    monkeypatch.setattr("resources.pilot.MINILM", "no_such_package")
    (tmp_path / "assay.toml").write_text(CONFIG.format(answers=ANSWERS.replace("\n", " ")))
    monkeypatch.setenv("ASSAY_CONFIG", str(tmp_path / "assay.toml"))
    settings.current.cache_clear()
    yield tmp_path
    settings.current.cache_clear()


def test_a_pool_worth_curating(shop, capsys):
    write(shop, pairs=700, judged=200, labels=0.65)
    assert main(["worth", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "curate and flip"
    assert found["gold"]["pairs"] == 200 and found["gold"]["pool"] == 700
    assert found["accuracy"]["gold model"]["value"] > 0.9
    assert found["accuracy"]["original labels"]["low"] < 0.65 < found["accuracy"]["original labels"]["high"]
    assert any("words are counted" in w for w in found["warnings"])


def test_a_pool_that_is_not_says_so_on_the_screen_and_on_the_page(shop, capsys):
    write(shop, pairs=700, judged=200, labels=0.85, polite=0.5)
    assert main(["worth", "--out", str(shop / "page.html")]) == 0
    assert "DO NOT CURATE" in capsys.readouterr().out
    page = (shop / "page.html").read_text()
    assert "<b>Do not curate</b>" in page and page.count("<svg") == 2


def test_where_people_have_answered_every_pair_gold_is_a_draw_as_large_as_the_run_s(shop, capsys):
    write(shop, pairs=700, judged=700, labels=0.65)
    with (shop / "assay.toml").open("a") as file:
        file.write("[stage1]\nseed_people = 120\niterations = 1\nbatch = 100\npeople_share = 0.3\n")
    settings.current.cache_clear()
    assert main(["worth", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["gold"]["pairs"], found["gold"]["pool"], found["gold"]["pool_read"]) == (150, 700, 550)
    assert found["verdict"] == "curate and flip"
    assert any("people have answered 700 of 700 pairs: 150" in w for w in found["warnings"])


def test_what_stands_on_the_page_is_text(shop):
    write(shop, pairs=200, judged=60, labels=0.7)
    found = worth(settings.current(), Lake.of(settings.current()))
    found.warnings.append("<script>alert(1)</script>")
    text = page("<b>name", found)
    assert "<script>" not in text and "&lt;script&gt;" in text and "&lt;b&gt;name" in text


@pytest.mark.parametrize(
    ("judged", "said"), [(30, "30 pairs with people's labels"), (0, "people.jsonl: the file is empty")]
)
def test_too_little_to_tell_is_one_line(shop, capsys, judged, said):
    write(shop, pairs=300, judged=judged, labels=0.7)
    assert main(["worth"]) == 2
    assert said in capsys.readouterr().err
    assert main(["worth", "--json"]) == 2
    assert said in json.loads(capsys.readouterr().out)["error"]


def test_answers_about_other_pairs_are_said_to_be_so(shop, capsys):
    write(shop, pairs=100, judged=60, labels=0.7)
    others = (shop / "people.jsonl").read_text().replace("question", "another question")
    (shop / "people.jsonl").write_text(others)
    assert main(["worth"]) == 2
    assert "none of 60 recorded answers is about one of 100 pairs of the sources" in capsys.readouterr().err


def test_without_people_it_says_where_labels_may_come_from(shop, capsys):
    write(shop, pairs=300, judged=100, labels=0.7)
    text = CONFIG.format(answers="").replace('backend = "recorded"\nanswers = []', 'backend = "files"')
    (shop / "assay.toml").write_text(text)
    settings.current.cache_clear()
    assert main(["worth"]) == 2
    assert "[[people.answers]]" in capsys.readouterr().err
