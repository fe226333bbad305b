"""How fast a server may be asked, learned from the headers of its answers: no probe call, nothing to configure."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from resources.notices import tell

WINDOW = 60.0  # seconds over which both providers state their limits
NOTICED, NOTICE_EVERY = 10.0, 60.0  # seconds of waiting from which somebody is told, and between two times

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

    def learn(self, limit: float, remaining: float, used_since: float, counted_at: float, now: float) -> None:
        """The server's count, brought up to date by what has been used and has come back since it was made. What it says
        is missing is never more than one window's worth: no header can stop a run for hours."""
        known = bool(self.rate)
        self._refill(now)
        self.rate = limit / WINDOW
        counted = max(-limit, min(limit, remaining) - used_since)
        # The first count alone says how much is left: nothing that may have come back is added to it.
        self.level = min(self.level, counted + (now - counted_at) * self.rate) if known else counted

    def _refill(self, now: float) -> None:
        self.level = min(self.rate * WINDOW, self.level + (now - self.at) * self.rate)
        self.at = now


@dataclass(frozen=True)
class Ticket:
    """When a request went, and what had been used in all by then, itself included."""

    at: float
    used: Mapping[str, float]


class Pace:
    """The limits of one model on one server. Used within one event loop.

    Args:
        sleep: waits so many seconds, or raises what ends the run.
        where: judge, model and server, for whoever wonders why nothing happens.
    """

    def __init__(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep, where: str = ""):
        self.sleep, self.where = sleep, where
        self.why, self.noticed = "", -NOTICE_EVERY
        self.buckets = {kind: Bucket() for kind in HEADERS}
        self.used = dict.fromkeys(HEADERS, 0.0)
        self.not_before = 0.0
        self.line = asyncio.Lock()  # only the first in line watches the clock, or all would wake for every one's turn

    async def turn(self, tokens: float) -> Ticket:
        """Wait until a request with about so many tokens may go."""
        need = {"requests": 1.0, "tokens": tokens}
        async with self.line:
            while True:
                now = time.monotonic()
                wait = max(self.not_before - now, *(self.buckets[k].delay(n, now) for k, n in need.items()))
                if wait <= 0:
                    break
                if wait >= NOTICED:
                    asked = self.why if self.not_before > now else "the limits that the server's headers state"
                    self.notice(f"waiting {wait:,.0f} s: {asked}")
                await self.sleep(wait)
            for kind, amount in need.items():
                self.buckets[kind].take(amount)
                self.used[kind] += amount
            return Ticket(now, dict(self.used))

    def learn(self, ticket: Ticket, headers: Mapping[str, str]) -> None:
        """The request of the ticket came back with these headers.

        When the server counted is not known; it is taken to be when the request went. Where it was later, the count is
        too high by what came back meanwhile, which the bucket's own level, never above what it was, makes harmless.
        """
        now = time.monotonic()
        for kind, names in HEADERS.items():
            for limit, remaining in names:
                try:
                    found = float(headers[limit]), float(headers[remaining])
                except (KeyError, ValueError):
                    continue
                if found[0] > 0 and all(map(math.isfinite, found)):
                    self.buckets[kind].learn(*found, self.used[kind] - ticket.used[kind], ticket.at, now)

    def pause(self, seconds: float, why: str) -> None:
        """Nobody goes for so long."""
        self.not_before, self.why = max(self.not_before, time.monotonic() + seconds), f"the server answered 429: {why}"

    def notice(self, text: str) -> None:
        """Tell whoever watches, not more often than once in a while."""
        if (now := time.monotonic()) - self.noticed >= NOTICE_EVERY:
            self.noticed = now
            tell(f"{self.where}: {text}")
