"""What is told of a policy before and after its training, and rewards that come from an address."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from measurements.policy import PolicySetting, repetition, rewards_of, told


def test_before_and_after_are_compared_prompt_by_prompt():
    """Two prompts, two answers each; by hand."""
    before = [
        {"text": f"a b a b {i}", "reward": r, "second": s} for i, (r, s) in enumerate([(0, 1), (2, 0), (1, 2), (3, 5)])
    ]
    after = [{"text": "a b c", "reward": r, "second": s} for r, s in [(4, 3), (4, 3), (2, 2), (2, 2)]]
    found = told({"before": before, "after": after}, 2)
    assert (found["reward"]["before"], found["reward"]["after"], found["reward"]["difference"]) == (1.5, 3.0, 1.5)
    assert found["words"]["difference"] == -2 and found["repetition"]["before"] == pytest.approx(0.25)
    # first prompt: both answers beat both; second: two ties with 2, and two that lose to 5
    assert found["wins by the second model"]["share"] == pytest.approx((1 + 0.25) / 2)
    # of one answer its mean, 0.5 and 3.5; of both the one that the reward prefers: 0 and 5
    assert found["second model's score of the best of k before"] == pytest.approx([2.0, 2.5])
    assert found["different answers"] == {"before": 1.0, "after": 0.25}
    assert found["words that rose most"] == {"c": (0.0, 1.0), "a": (1.0, 1.0), "b": (1.0, 1.0)}
    low, high = found["reward"]["low"], found["reward"]["high"]
    assert (low + high) / 2 == pytest.approx(1.5) and high - low == pytest.approx(2 * 12.706 * 1.5, rel=1e-3)


def test_what_is_said_twice_counts_as_repetition():
    assert repetition("as mentioned as mentioned as mentioned") == pytest.approx(3 / 5)
    assert repetition("") == repetition("once") == 0.0


def test_rewards_come_from_an_address_in_the_order_asked_and_a_missing_one_is_an_error():
    seen = []

    class Door(BaseHTTPRequestHandler):
        def do_POST(self):
            items = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["items"]
            seen.extend(items)
            texts = [i["messages"][-1]["content"] for i in items]
            given = [{"reward": float(len(t))} if t else {"reward": None, "unscored": "over_length"} for t in texts]
            body = json.dumps({"rewards": given}).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Door)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        rewards = rewards_of(f"http://127.0.0.1:{server.server_port}/")
        turns = [{"role": "user", "content": "why?"}]
        assert rewards([turns, turns], ["abc", "a"]) == [3.0, 1.0]
        assert seen[0]["messages"] == [*turns, {"role": "assistant", "content": "abc"}]
        with pytest.raises(ValueError, match="1 of 1 answers have no reward"):
            rewards([turns], [""])
    finally:
        server.shutdown()


def test_a_setting_with_an_unknown_key_is_refused(tmp_path):
    path = tmp_path / "s.toml"
    path.write_text("max_steps = 3\n")
    assert PolicySetting.read(path).max_steps == 3
    path.write_text("steps = 3\n")
    with pytest.raises(SystemExit, match="no such key: steps"):
        PolicySetting.read(path)
