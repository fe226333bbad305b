"""Rates learned from headers: close to the limit, rarely above it."""

import threading
import time

import pytest

from resources.llm.rate_limits import Bucket
from tests.support.judging import NO_EXAMPLES, body_for, honest, judge, targets
from tests.support.scripted_server import Step, serving


class LimitedServer:
    """A token bucket as providers run it: `burst` at once, `rate` a second, 429 above."""

    def __init__(self, rate: float, burst: float, anthropic: bool):
        self.rate, self.burst, self.anthropic = rate, burst, anthropic
        self.level, self.at, self.refused, self.lock = burst, time.monotonic(), 0, threading.Lock()

    def __call__(self, path, body, number):
        with self.lock:
            now = time.monotonic()
            self.level = min(self.burst, self.level + (now - self.at) * self.rate)
            self.at = now
            allowed = self.level >= 1
            self.level -= allowed
            self.refused += not allowed
            limit, left = str(round(self.rate * 60)), str(int(self.level))
        if self.anthropic:
            headers = {"anthropic-ratelimit-requests-limit": limit, "anthropic-ratelimit-requests-remaining": left}
        else:
            headers = {"x-ratelimit-limit-requests": limit, "x-ratelimit-remaining-requests": left}
        if not allowed:
            return Step({"error": {"message": "slow down"}}, 429, headers | {"retry-after": "1"})
        return Step(body_for(path, honest(body)), 200, headers)


@pytest.mark.parametrize("backend", ["openai", "anthropic"])
def test_the_limit_is_used_and_kept(tmp_path, backend):
    limited = LimitedServer(rate=20, burst=20, anthropic=backend == "anthropic")
    with serving(limited) as server:
        started = time.monotonic()
        votes = judge(server.url, tmp_path, backend=backend, concurrency=8).vote(targets(40), NO_EXAMPLES)
        seconds = time.monotonic() - started
    assert set(votes["status"].to_pylist()) == {"ok"}
    # 80 requests, 20 at once and 20 a second: three seconds at the very least
    assert 2.9 < seconds < 15  # two pauses of a second and a busy machine included
    assert limited.refused <= 8  # the burst can end before the first header is read, not again later


def test_a_bucket_by_hand():
    bucket = Bucket()
    assert bucket.delay(10**9, 0.0) == 0  # nothing is known yet
    bucket.learn(limit=60, remaining=2, used_since=0, counted_at=100.0, now=100.0)  # one a second
    assert bucket.delay(1, 100.0) == 0
    bucket.take(2)
    assert bucket.delay(1, 100.0) == pytest.approx(1.0)
    assert bucket.delay(1, 100.75) == pytest.approx(0.25)
    # the server counts lower: 1 left half a second ago, since when 2 were used and half a one came back
    bucket.learn(limit=60, remaining=1, used_since=2, counted_at=100.5, now=101.0)
    assert bucket.delay(1, 101.0) == pytest.approx(1.5)
    # a higher count does not raise what is left by our own count
    bucket.learn(limit=60, remaining=50, used_since=0, counted_at=101.0, now=101.0)
    assert bucket.delay(1, 101.0) == pytest.approx(1.5)
    # more than a minute's worth goes when the bucket is full instead of never
    assert bucket.delay(500, 101.0) == pytest.approx(60.5)
