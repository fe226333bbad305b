"""`assay people` and `assay label` on the command line."""

import socket

from cli.main import main
from tests.support.answers import batch, truly
from tests.support.doors import Hands
from tests.support.label_studio import label_studio

CONFIG = """
name = "assay"
[lake]
path = "lake"
[[sources]]
name = "s"
path = "s.jsonl"
[people]
backend = "{door}"
folder = "people"
overlap = 0
{more}
[judges]
quorum = 1
[[judges.panel]]
name = "j"
backend = "openai"
model = "m"
[attributes]
backend = "heuristic"
"""


def said(capsys, folder, *command: str) -> tuple[int, str]:
    status = main(["--config", str(folder / "assay.toml"), *command])
    found = capsys.readouterr()
    return status, " ".join((found.out + found.err).split())


def configured(folder, door: str = "files", more: str = "") -> None:
    (folder / "assay.toml").write_text(CONFIG.format(door=door, more=more))


def test_people_shows_progress_who_and_what_was_refused_and_why(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    from resources.settings import current

    current.cache_clear()
    configured(tmp_path, more="annotators = 2")
    assert said(capsys, tmp_path, "people") == (0, "No batch is out yet; `assay run` makes the first one.")
    at = Hands(tmp_path, "files", annotators=2)
    at.waiting(batch(4))
    at.answer("ann", lambda i, who: truly(i, who) | ({"acknowledged": False} if i["pair_id"] == "p02" else {}))
    at.answer("bob", lambda i, who: truly(i, who) | ({"verdict": "tie"} if i["pair_id"] == "p01" else {}))
    status, text = said(capsys, tmp_path, "people")  # what lies in the file counts at once
    assert status == 0 and "2 of 4 pairs done, 7 answers in, 2 missing by ann: 3, bob: 4" in text
    assert "1 pairs wait for somebody" in text or "2 pairs wait for somebody" in text
    assert "refused: answers.jsonl, row 3 (ann): the guideline is not acknowledged" in text
    assert "Agreement on pairs that several labelled" in text and "alpha" in text
    assert said(capsys, tmp_path, "people", "--batch", "iter_09") == (
        2,
        "assay: no such batch: 'iter_09'; out are: iter_00",
    )
    status, text = said(capsys, tmp_path, "people", "--close", "iter_00")
    assert (
        status == 0 and "closed: by hand" in text and at.label(batch(4)).num_rows == 5
    )  # p01 is disputed, and goes back
    current.cache_clear()


def test_people_says_when_the_server_is_away_and_shows_the_rest(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "head.refresh.tail")
    from resources.settings import current

    with label_studio("ann@x.org") as (server, url):
        configured(tmp_path, "label_studio", f'label_studio = {{url = "{url}"}}')
        current.cache_clear()
        at = Hands(tmp_path, "label_studio", (server, url))
        at.waiting(batch(3))
        at.answer("ann@x.org", lambda i, who: truly(i), most=2)
        status, text = said(capsys, tmp_path, "people")
        assert status == 0 and "2 of 3 pairs done, 2 answers in, 1 missing by ls-" in text
    status, text = said(capsys, tmp_path, "people")
    assert status == 0 and "2 of 3 pairs done" in text and "does not answer" in text
    current.cache_clear()


def test_label_needs_people_to_ask_and_a_free_port(tmp_path, capsys):
    from resources.settings import current

    current.cache_clear()
    configured(tmp_path, "label")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        status, text = said(capsys, tmp_path, "label", "ann", "--port", str(taken.getsockname()[1]))
    assert status == 2 and "cannot be used" in text and "--port" in text and "No batch is out yet" in text
    current.cache_clear()
