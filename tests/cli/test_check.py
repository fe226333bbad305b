"""`assay check`: each thing that would stop a run, or waste it, has a line of its own; nothing is asked and written."""

import json
import re

import pytest

from cli.main import main
from tests.support.judging import body_for
from tests.support.scripted_server import Step, serving, verdict

PAIRS = "".join(
    json.dumps({"prompt": f"Why is number {i} odd?", "chosen": f"Because {i}.", "rejected": f"No idea, {i}."}) + "\n"
    for i in range(60)
)
GOOD = """
[[sources]]
name = "mine"
path = "pairs.jsonl"
license = "MIT"
redistribution = true
stage = "seed"

[stage1]
seed_people = 30
iterations = 1
batch = 20

[training]
backbone = {name = "tiny", hidden = 64}
"""
JUDGE = '[judges]\nquorum = 1\n[[judges.panel]]\nname = "j"\nbackend = "openai"\n'
LOCAL = JUDGE + 'model = "m"\nbase_url = "http://127.0.0.1:9/v1"\nprice = {input = 1, output = 1}\n'
NO_SHARES = GOOD.replace("seed_people = 30\n", "seed_people = 30\nseed_judges = 30\n")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pairs.jsonl").write_text(PAIRS)
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "others.jsonl").write_text('{"question": "Why?", "chosen": "Because.", "rejected": "No."}\n' * 30)
    return tmp_path


def checked(folder, capsys, text: str, *more: str) -> tuple[int, str]:
    (folder / "assay.toml").write_text(text)
    before = sorted(folder.rglob("*"))
    status = main(["check", "--config", str(folder / "assay.toml"), *more])
    assert sorted(folder.rglob("*")) == before  # nothing is written
    shown = capsys.readouterr()
    return status, shown.out + shown.err


def test_a_configuration_that_runs_is_fine_and_says_what_will_be_done(folder, capsys):
    status, out = checked(folder, capsys, GOOD)
    assert status == 0
    for said in (
        "ok    sources.mine: 60 pairs from 60 rows, as shape pair",
        "look  left out: no judge is configured",
        "ok    training.backbone: tiny, a new Llama of 2 layers of width 64",
        "ok    people: about 50 answers in 2 batches; no price is set for them",
        "ok    dollars: no model is paid",
        "Nothing is wrong.",
    ):
        assert said in out
    assert re.search(r"ok    training: about (a minute|\d+ minutes) on one process", out)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (GOOD.replace("pairs.jsonl", "nowhere.jsonl"), r"wrong sources\.mine: .*nowhere\.jsonl: no such file"),
        (GOOD.replace("pairs.jsonl", "empty.jsonl"), r"wrong sources\.mine: .*the file is empty"),
        (
            GOOD.replace("pairs.jsonl", "others.jsonl"),
            r"wrong sources\.mine: .*(no_prompt|no prompt|question)",
        ),
        (
            GOOD.replace('stage = "seed"', "stage = \"seed\"\nwhere = \"prompt = 'x'\""),
            r"wrong sources\.mine: .*(keeps nothing|keeps none of 60 records)",
        ),
        (
            GOOD.replace('backbone = {name = "tiny", hidden = 64}', 'backbone = {path = "models/none"}'),
            r"wrong training\.backbone\.path: .*models/none: no such folder.*; or training\.backbone\.path = a folder",
        ),
        (
            GOOD.replace('backbone = {name = "tiny", hidden = 64}', 'backbone = {path = "package:not_there"}'),
            r"wrong training\.backbone\.path: the package not_there is not installed: pip install",
        ),
        (GOOD + '[embedding]\nbackend = "encoder"\nmodel = "package:not_there"', r"wrong embedding\.model: the package"),
        (GOOD + '[lake]\nmemory_limit = "900000GB"', r"wrong lake\.memory_limit: memory_limit = 900000GB of this"),
        (GOOD + "[gold]\nvalidation = 0.01", r"wrong stage1\.seed_people: "),
        (
            GOOD + '[people]\nbackend = "recorded"\n[[people.answers]]\npath = "gone.jsonl"',
            r"wrong people\.answers\[0\]: .*gone\.jsonl: no such file",
        ),
        (
            GOOD + '[[benchmarks]]\nname = "rm"\nloader = "rm_bench"\npath = "gone_*.json"',
            r"wrong benchmarks\.rm: .*gone_",
        ),
        (NO_SHARES + JUDGE + 'model = "gpt-4o-mini"\n[budget]\ndollars = 9', r"wrong judges\.j: .*OPENAI_API_KEY holds no key"),
        (
            NO_SHARES + JUDGE + 'model = "no-such-model"\nbase_url = "http://127.0.0.1:9/v1"\n',
            r"wrong judges\.j: .*no-such-model",
        ),
        (NO_SHARES + LOCAL, r"wrong budget\.dollars: \$0\.\d\d expected in all, budget\.dollars = 0"),
        (GOOD + '[personal]\nbackend = "presidio"\nmodel = "xx_not_there"', r"wrong personal: the package xx_not_there"),
        (NO_SHARES, r"stage1: no judge is configured .* leave out seed_judges"),
        (GOOD + "[stage2]\npolicy = 'symmetric'", r"stage2\.policy 'symmetric' asks judges, and none is configured"),
        (GOOD + "[stage1.x]", r"stage1\.x: no such key.*There are: iterations, "),
        (GOOD + '[people]\nbackend = "simulated"', r"people: backend 'simulated' needs a \[world\]"),
    ],
)  # fmt: skip
def test_a_broken_configuration_has_its_line(folder, capsys, text, line):
    status, out = checked(folder, capsys, text)
    assert status == 2
    assert re.search(line, out), out


def test_what_is_paid_is_estimated_before_there_is_a_pool(folder, capsys):
    status, out = checked(folder, capsys, NO_SHARES + LOCAL + "[budget]\ndollars = 50")
    assert status == 0
    assert re.search(r"ok    dollars\.j: about \d+ calls, \$0\.\d\d, .* at 6 s a call", out)
    assert "look  models: j: not asked; --calls asks each one question" in out


def test_models_are_asked_one_question_when_somebody_says_so(folder, capsys):
    with serving(lambda path, body, number: Step(body_for(path, verdict("candidate_1")))) as server:
        text = NO_SHARES + LOCAL.replace("http://127.0.0.1:9", server.url) + "[budget]\ndollars = 50"
        assert checked(folder, capsys, text)[0] == 0 and server.requests == []
        status, out = checked(folder, capsys, text, "--calls")
        assert status == 0 and "ok    judges.j: answered: ok" in out, out
        assert len(server.requests) == 1


def test_a_key_is_never_shown(folder, capsys, monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-0123456789abcdef")
    text = NO_SHARES + LOCAL + 'api_key_env = "MY_KEY"\n[budget]\ndollars = 50'
    status, out = checked(folder, capsys, text)
    assert status == 0 and "its key is there" in out and "sk-0123" not in out
