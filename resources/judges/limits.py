"""How fast a server may be asked, learned from the headers of its answers: no probe call, nothing to configure."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass

WINDOW = 60.0  # seconds over which both providers state their limits

# kind -> (limit, remaining) as OpenAI and the servers that imitate it, and Anthropic, name them
HEADERS = {
    "requests": (
        ("x-ratelimit-limit-requests", "x-ratelimit-remaining-requests"),
        ("anthropic-ratelimit-requests-limit", "anthropic-ratelimit-requests-remaining"),
    ),
    "tokens": (
        ("x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens"),
        ("anthropic-ratelimit-input-tokens-limit", "anthropic-ratelimit-input-tokens-remaining"),
    ),
}


@dataclass
class Bucket:
    """What may be used at once and how fast it comes back; without a limit until one is learned."""

    rate: float = 0.0  # units a second, 0 while unknown
    level: float = 0.0
    at: float = 0.0

    def delay(self, amount: float, now: float) -> float:
        """Seconds until the amount may be used."""
        if not self.rate:
            return 0.0
        self._refill(now)
        # what exceeds a whole window's limit can never be saved up: it goes when the bucket is full
        return max(0.0, (min(amount, self.rate * WINDOW) - self.level) / self.rate)

    def take(self, amount: float) -> None:
        self.level -= amount

    def learn(self, limit: float, remaining: float, on_the_way: float, now: float) -> None:
        """The server's count, less what it had not seen when it counted."""
        known = bool(self.rate)
        self._refill(now)
        self.rate = limit / WINDOW
        self.level = min(self.level, remaining - on_the_way) if known else remaining - on_the_way

    def _refill(self, now: float) -> None:
        self.level = min(self.rate * WINDOW, self.level + (now - self.at) * self.rate)
        self.at = now


class Pace:
    """The limits of one model on one server. Used within one event loop."""

    def __init__(self):
        self.buckets = {kind: Bucket() for kind in HEADERS}
        self.on_the_way = dict.fromkeys(HEADERS, 0.0)
        self.not_before = 0.0

    async def turn(self, tokens: float) -> None:
        """Wait until a request with about so many tokens may go; `settled` must follow."""
        need = {"requests": 1.0, "tokens": tokens}
        while True:
            now = time.monotonic()
            wait = max(self.not_before - now, *(self.buckets[k].delay(n, now) for k, n in need.items()))
            if wait <= 0:
                break
            await asyncio.sleep(wait)
        for kind, amount in need.items():
            self.buckets[kind].take(amount)
            self.on_the_way[kind] += amount

    def settled(self, tokens: float, headers: Mapping[str, str]) -> None:
        """A request came back with these headers, or with none."""
        self.on_the_way["requests"] -= 1
        self.on_the_way["tokens"] -= tokens
        for kind, names in HEADERS.items():
            for limit, remaining in names:
                try:
                    found = float(headers[limit]), float(headers[remaining])
                except (KeyError, ValueError):
                    continue
                if found[0] > 0:
                    self.buckets[kind].learn(*found, self.on_the_way[kind], time.monotonic())

    def pause(self, seconds: float) -> None:
        """Nobody goes for so long."""
        self.not_before = max(self.not_before, time.monotonic() + seconds)
