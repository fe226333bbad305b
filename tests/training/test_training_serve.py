"""Rewards for a file and over HTTP equal those of plain transformers; the paper's recipes expand to its values."""

import json
import re
import urllib.error
import urllib.request

import pytest
import torch

from resources.settings import Recipe, Training
from tests.support.endpoints import serving
from tests.support.training_jobs import pairs
from training import duration as estimate
from training.duration import SHAPES, operations, weights
from training.endpoint import Endpoint
from training.export import export
from training.job import Backbone
from training.model import learn_tokenizer, new_model
from training.profiles import MODELS, PROFILES, expand, recipe_of, steps
from training.scorer import Scorer
from training.serve import Scored, score_file


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    backbone = Backbone(hidden=32, layers=1, heads=2)
    tokenizer = learn_tokenizer([p["chosen"] for p in pairs(20)], 300)
    path = tmp_path_factory.mktemp("served") / "model"
    export(new_model(backbone, tokenizer, 128, seed=1), path, {"max_tokens": 128})
    return path


@pytest.fixture(scope="module")
def scorer(folder):
    return Scorer(folder)


@pytest.fixture(scope="module")
def address(scorer):
    with serving(Endpoint(scorer)) as port:
        yield f"http://127.0.0.1:{port}"


def post(url: str, body: bytes) -> tuple[int, dict]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=body), timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as e:
        return e.code, json.load(e)


def test_file_endpoint_and_plain_transformers_give_the_same_numbers(folder, scorer, address, tmp_path):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    items = [{k: p[k] for k in ("conversation", "chosen", "rejected")} for p in pairs(7, seed=3)]
    items.append({"messages": [*items[0]["conversation"], {"role": "assistant", "content": "ein anderes – ✓"}]})
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(json.dumps(i, ensure_ascii=False) + "\n\n" for i in items), encoding="utf-8")
    assert score_file(scorer, source, target) == Scored(scored=8)
    by_file = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
    status, answer = post(f"{address}/score", json.dumps({"items": items}).encode())
    assert status == 200
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()

    def plain(turns, response=None):
        turns = [*turns, {"role": "assistant", "content": response}] if response is not None else turns
        with torch.no_grad():
            text = tokenizer.apply_chat_template(turns, tokenize=False)
            return float(model(**tokenizer(text, return_tensors="pt")).logits[0, 0])

    for item, row, reward in zip(items, by_file, answer["rewards"], strict=True):
        if "messages" in item:
            expected = {"reward": plain(item["messages"])}
        else:
            expected = {f"r_{c}": plain(item["conversation"], item[c]) for c in ("chosen", "rejected")}
        assert reward == pytest.approx(expected, abs=1e-5)
        assert {k: row[k] for k in expected} == pytest.approx(expected, abs=1e-5)
        assert {k: row[k] for k in item} == item


def test_what_is_too_long_has_no_reward(scorer):
    long = {"prompt": "x", "chosen": "word1 " * 200, "rejected": "short"}
    assert scorer.score([("item 1", long)]) == [{"r_chosen": None, "r_rejected": None, "unscored": "over_length"}]


CAT = [{"role": "user", "content": "cat"}, {"role": "assistant", "content": "mat"}]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{broken", "no JSON: .*"),
        ("[1]", "expected an object, found list"),
        ('{"prompt": "x", "chosen": "y"}', ".*no rejected"),
        ('{"chosen": "y", "rejected": "z"}', "a `prompt` or a `conversation` is needed"),
        ('{"messages": [{"role": "user", "content": "x"}]}', "the last of `messages` must be the assistant's"),
        ('{"conversation": "x", "chosen": "y", "rejected": "z"}', "turns must be a list.*"),
        ('{"prompt": "x \\ud83d", "chosen": "y", "rejected": "z"}', "half of a surrogate pair"),
        ('{"prompt": "x", "chosen": "y", "rejected": "\\udc00z"}', "half of a surrogate pair"),
        ('{"messages": [{"role": "assistant", "content": "\\ud83d"}]}', "half of a surrogate pair"),
        (b'{"prompt": "x\xff", "chosen": "y", "rejected": "z"}', "no UTF-8 at byte 13"),
        ({"conversation": CAT[:1], "prompt": "dog", "chosen": "y", "rejected": "z"}, "`prompt` is not the last turn.*"),
        ({"conversation": CAT, "prompt": "cat", "chosen": "y", "rejected": "z"}, "`conversation` goes on after.*"),
        ({"conversation": CAT[:1], "prompt": CAT[:1], "chosen": "y", "rejected": "z"}, "`prompt` must be a text.*"),
        ({"messages": CAT, "conversation": CAT}, "`messages` and `conversation` are two conversations.*"),
        ({"messages": CAT, "prompt": "dog"}, "`prompt` is not the last turn.*"),
        ({"messages": CAT, "chosen": "y"}, "`messages` and `chosen` are two items.*"),
    ],
)
def test_a_line_without_a_reward_costs_that_line(scorer, tmp_path, capsys, line, message):
    good = {"prompt": "x", "chosen": "y", "rejected": "z", "note": "kept"}
    bad = line if isinstance(line, bytes) else (line if isinstance(line, str) else json.dumps(line)).encode()
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_bytes(b"\n".join([json.dumps(good).encode(), bad, json.dumps(good).encode()]))
    found = score_file(scorer, source, target)
    assert (found.scored, found.refused, found.over_length) == (2, 1, 0)
    assert found.told(target) == 2
    assert re.fullmatch(f"{source}, line 2: {message}\n2 lines scored, 1 refused .*\n", capsys.readouterr().err)
    first, second, third = (json.loads(row) for row in target.read_text(encoding="utf-8").splitlines())
    assert first == third
    assert first.keys() == {*good, "r_chosen", "r_rejected"}
    assert second["unscored"] == found.reasons[0]
    assert {second.get(k) for k in ("reward", "r_chosen", "r_rejected")} == {None}


def test_half_a_character_where_nothing_is_scored_costs_nothing(scorer, tmp_path):
    (tmp_path / "in.jsonl").write_text('{"id": "\\ud83d", "prompt": "x", "chosen": "y", "rejected": "z"}\n')
    assert score_file(scorer, tmp_path / "in.jsonl", tmp_path / "out.jsonl").scored == 1
    assert json.loads((tmp_path / "out.jsonl").read_text())["id"] == "\ud83d"


def test_a_prompt_beside_a_conversation_is_its_last_turn_or_follows_it(scorer):
    ask, answers = {"role": "user", "content": "dog"}, {"chosen": "y", "rejected": "z"}
    items = [
        {"conversation": [*CAT, ask], **answers},
        {"conversation": [*CAT, ask], "prompt": "dog", **answers},
        {"conversation": CAT, "prompt": "dog", **answers},
        {"prompt": "dog", **answers},
    ]
    whole, equal, joined, alone = scorer.score([(str(i), item) for i, item in enumerate(items)])
    assert whole == equal == joined != alone
    twice = {"messages": [*CAT, ask, {"role": "assistant", "content": "y"}], "conversation": CAT, "prompt": "dog"}
    assert scorer.score([("", twice)]) == [{"reward": pytest.approx(whole["r_chosen"], abs=1e-6)}]


def test_the_endpoint_refuses_what_it_cannot_score(address):
    assert post(f"{address}/score", b"nonsense")[0] == 400
    status, answer = post(f"{address}/score", b'{"items": [{"prompt": "x"}]}')
    assert (status, "item 1" in answer["error"]) == (400, True)
    status, answer = post(f"{address}/score", b'{"items": [{"prompt": "\\ud83d", "chosen": "y", "rejected": "z"}]}')
    assert (status, answer["error"]) == (400, "item 1: half of a surrogate pair")
    assert post(f"{address}/elsewhere", b"{}")[0] == 404
    with urllib.request.urlopen(f"{address}/health", timeout=30) as health:
        assert json.load(health) == {"max_tokens": 128}


# ---- the paper's recipes -------------------------------------------------------------------------------------------
def test_profiles_are_the_papers(monkeypatch):
    assert len(MODELS) == 8
    assert len({backbone for backbone, _ in MODELS.values()}) == 7
    for name in MODELS:
        dev, final = (Training.model_validate(expand(name, p)) for p in ("dev", "final"))
        assert dev.max_tokens == final.max_tokens == 16_384
        assert dev.zero_stage == final.zero_stage == 1
        assert (dev.final.learning_rate, dev.final.global_batch_size) == (1e-6 if "8b" in name else 4e-6, 256)
        assert (dev.final.schedule, dev.final.epochs) == ("linear", 1)
        assert (final.final.learning_rate, final.final.global_batch_size, final.final.schedule) == (
            3e-6,
            10_240,
            "constant",
        )
    final_steps = {millions: steps(millions * 1_000_000, PROFILES["final"]) for _, millions in MODELS.values()}
    assert final_steps == {26: 2_539, 40: 3_906}


@pytest.mark.parametrize(
    ("path", "rate"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", 1e-6),
        ("/models/qwen3-8b", 1e-6),
        ("Qwen/Qwen3-0.8B", 4e-6),
        ("Qwen/Qwen3-4B", 4e-6),
        ("models/18b", 4e-6),
    ],
)
def test_a_backbone_of_8b_takes_its_own_rate_in_dev(path, rate):
    training = Training.model_validate({"backbone": {"path": path}, "loop": {"profile": "dev"}, "final": {}})
    assert training.loop.learning_rate == rate
    mine = Training.model_validate({"backbone": {"path": path}, "loop": {"profile": "dev", "learning_rate": 2e-6}})
    assert mine.loop.learning_rate == 2e-6
    dev, own = (Recipe.model_validate({"profile": "dev"} | more) for more in ({}, {"learning_rate": 2e-6}))
    small = Training.model_validate({"backbone": {"path": "Qwen/Qwen3-0.6B"}})
    for there in (training.with_final(dev), small.with_final(dev, Backbone(path=path))):  # an arm of an experiment
        assert there.final.learning_rate == rate
    assert training.with_final(dev, Backbone(path="Qwen/Qwen3-0.6B")).final.learning_rate == 4e-6
    assert training.with_final(own).final.learning_rate == 2e-6


def test_a_recipe_may_name_a_profile_and_change_it():
    recipe = Recipe.model_validate({"profile": "final", "global_batch_size": 512})
    assert recipe == Recipe(**{**recipe_of("final"), "global_batch_size": 512})
    with pytest.raises(ValueError, match="no such profile: 'big'; there are dev, dev-8b, final"):
        Recipe.model_validate({"profile": "big"})
    with pytest.raises(ValueError, match="no such model"):
        expand("gpt", "dev")


def test_the_estimate_by_hand(capsys, monkeypatch):
    """Qwen3-0.6B: 28 layers of 2 x 1024 x 2048 + 2 x 1024 x 1024 + 3 x 1024 x 3072 weights."""
    assert weights("Qwen/Qwen3-0.6B") == 440_401_920
    assert operations("Qwen/Qwen3-0.6B", 100) == 2 * 440_401_920 + 4 * 28 * 2048 * 100
    assert {b for b, _ in MODELS.values()} == SHAPES.keys()
    monkeypatch.setattr("sys.argv", ["x", "--model", "qwen3-0.6b", "--gpus", "1", "--peak", "1e15", "--mfu", "0.5",
                                     "--tokens", "1000", "--computed", "0.5", "--seen", "100"])  # fmt: skip
    assert estimate.main() == 0
    hours = 26e6 * 1000 * 0.5 * 3 * (2 * 440_401_920 + 4 * 28 * 2048 * 100) / 0.5e15 / 3600
    assert f"{hours:.1f} h  computing" in capsys.readouterr().out
