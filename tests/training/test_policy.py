"""What is told of a policy before and after its training, and rewards that come from an address."""

import json

import pytest

from curation import tables as t
from measurements import policy
from measurements.policy import PolicySetting, prompts, repetition, rewards_of, told
from resources.lake import Lake
from tests.support.endpoints import serving
from tests.support.lakes import put
from tests.support.training_jobs import pairs
from training.endpoint import Endpoint
from training.export import export
from training.job import Backbone
from training.model import learn_tokenizer, new_model
from training.scorer import Scorer


def test_before_and_after_are_compared_prompt_by_prompt():
    """Two prompts, two answers each; by hand."""
    before = [
        {"text": f"a b a b {i}", "reward": r, "second": s} for i, (r, s) in enumerate([(0, 1), (2, 0), (1, 2), (3, 5)])
    ]
    after = [{"text": "a b c", "reward": r, "second": s} for r, s in [(4, 3), (4, 3), (2, 2), (2, 2)]]
    found = told({"before": before, "after": after}, 2)
    assert (found["reward"]["before"], found["reward"]["after"], found["reward"]["mean"]) == (1.5, 3.0, 1.5)
    assert found["words"]["mean"] == -2 and found["repetition"]["before"] == pytest.approx(0.25)
    # first prompt: both answers beat both; second: two ties with 2, and two that lose to 5
    assert found["wins by the second model"]["mean"] == pytest.approx((1 + 0.25) / 2)
    # of one answer its mean, 0.5 and 3.5; of both the one that the reward prefers: 0 and 5
    assert found["second model's score of the best of k before"] == pytest.approx([2.0, 2.5])
    assert found["different answers"] == {"before": 1.0, "after": 0.25}
    assert found["words that rose most"] == {"c": (0.0, 1.0), "a": (1.0, 1.0), "b": (1.0, 1.0)}
    low, high = found["reward"]["low"], found["reward"]["high"]
    assert (low + high) / 2 == pytest.approx(1.5) and high - low == pytest.approx(2 * 12.706 * 1.5, rel=1e-3)


def test_what_is_said_twice_counts_as_repetition():
    assert repetition("as mentioned as mentioned as mentioned") == pytest.approx(3 / 5)
    assert repetition("") == repetition("once") == 0.0


def test_rewards_come_from_an_address_in_the_order_asked_and_a_missing_one_is_an_error(tmp_path, monkeypatch):
    tokenizer = learn_tokenizer([p["chosen"] for p in pairs(20)], 300)
    model = new_model(Backbone(hidden=32, layers=1, heads=2), tokenizer, 64, seed=1)
    export(model, tmp_path, {"max_tokens": 64})
    monkeypatch.setattr(policy, "AT_ONCE", 2)
    turns = [{"role": "user", "content": "why?"}]
    answers = ["because", "it is so", "who knows"]
    with serving(Endpoint(Scorer(tmp_path))) as port:
        far, near = (rewards_of(place) for place in (f"http://127.0.0.1:{port}/", str(tmp_path)))
        found = far([turns] * 3, answers)
        assert found == pytest.approx(near([turns] * 3, answers)) and len(set(found)) == 3
        with pytest.raises(ValueError, match=r"1 of 1 answers have no reward: .*over_length"):
            far([turns], ["so " * 200])


def test_prompts_lie_apart_and_the_hardest_come_first(tmp_path):
    lake = Lake(str(tmp_path / "lake"))
    rows = [
        {"pair_id": p, "conversation": [{"role": "user", "content": p}], "chosen": "yes", "rejected": "no"}
        for p in "abcdef"
    ]
    put(lake, t.CLEAN_POOL, rows, "b00")
    put(
        lake,
        t.SCORES,
        [{"pair_id": p, "p_best": 0.5 + i / 20, "best_model": "b", "gold_model": "g"} for i, p in enumerate("abcdef")],
        "b00",
    )
    about = {"flipped": False, "label_source": "people", "rule": "r", "weight": 1.0, "license": "x"}
    put(lake, t.RELEASE_CURATED, [r | about for r in rows], "b00")
    assert prompts(tmp_path / "lake", tmp_path / "out", 2, 2)["hard"] == 2
    made = {
        name: [
            json.loads(x)["prompt"][0]["content"] for x in (tmp_path / "out" / f"{name}.jsonl").read_text().splitlines()
        ]
        for name in ("held_out", "hard", "demonstrations")
    }
    assert sorted(made["held_out"] + made["demonstrations"]) == list("abcdef")
    assert len(made["held_out"]) == 2 and made["hard"] == [p for p in "abcdef" if p not in made["held_out"]][:2]


def test_a_setting_with_an_unknown_key_is_refused(tmp_path):
    path = tmp_path / "s.toml"
    path.write_text("max_steps = 3\n")
    assert PolicySetting.read(path).max_steps == 3
    path.write_text("steps = 3\n")
    with pytest.raises(SystemExit, match="no such key: steps"):
        PolicySetting.read(path)
