"""Calls made now: bounded, retried by one policy, stored before and after each, stopped by money or by a dead key."""

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from curation.prompts import parse
from resources.llm.call_store import BudgetExceeded, Call, Request, Store
from resources.llm.prices import Rates, cost_micros, upper_bound_micros
from resources.llm.providers import Failure, Provider
from resources.llm.rate_limits import Pace, Ticket
from resources.stops import Stop


class Unavailable(Stop):
    """A provider refuses this key, this model or any further spending, or answers nobody. What was answered is stored."""


@dataclass(frozen=True)
class Policy:
    """How failures are met.

    Attributes:
        attempts: calls of one run for one request, the first included.
        repairs: further calls, over all runs, after an answer that is truncated, unparsable or invalid.
        longest_wait: seconds; a longer Retry-After is cut to it, so that no header can stop a run for weeks.
        first_wait: seconds before the first retry; doubled each time, up to `longest_wait`, with jitter.
        give_up: requests in a row that ended without any answer, and twice as many as are on their way at once, after
            which the server is taken to be down: better to stop than to go on without its votes.
    """

    attempts: int = 6
    repairs: int = 1
    longest_wait: float = 120.0
    first_wait: float = 0.5
    give_up: int = 16

    def ends(self, status: str, answers: int) -> bool:
        """Whether an answer with this status, the how-many-th, is the last word."""
        return status in ("ok", "refused") or answers > self.repairs


@dataclass(frozen=True)
class Outcome:
    """How a request ended: `answer` is set when status is ok; `cost_micros` is what all its answers cost."""

    status: str
    answer: BaseModel | None
    cost_micros: int
    error: str = ""


@dataclass(frozen=True)
class Payer:
    """On whose account calls are written."""

    stage: str
    judge: str
    model: str
    price: Rates
    budget_micros: int


def read(provider: Provider, raw: bytes, question: type[BaseModel]) -> tuple[str, BaseModel | None]:
    """Status and answer of a stored body."""
    reply = provider.read(raw)
    if reply.status != "ok":
        return reply.status, None
    found = parse(reply.text, question)
    return (found, None) if isinstance(found, str) else ("ok", found)


def complete(
    requests: Iterable[Request],
    question: type[BaseModel],
    provider: Provider,
    payer: Payer,
    calls: Store,
    concurrency: int,
    policy: Policy | None = None,
) -> dict[str, Outcome]:
    """The outcome of every request by key; those that were answered before cost nothing.

    Raises:
        BudgetExceeded: the next call could overstep the budget.
        Unavailable: key, model or quota is refused.
    """
    policy = policy or Policy()
    by_key = {r.key: r for r in requests}
    with calls.alone(f"{provider.name} {provider.base_url} {payer.model}"):
        stored = calls.answered(by_key)
        outcomes = {
            key: Outcome(*read(provider, call.raw, question), call.cost_micros)
            for key, call in stored.items()
            if policy.ends(call.status, call.answers)
        }
        wanted = [r for k, r in by_key.items() if k not in outcomes]
        if wanted:
            outcomes |= asyncio.run(_Run(question, provider, payer, calls, policy, concurrency).all(wanted, stored))
    return outcomes


class _Run:
    """One batch of requests on their way."""

    def __init__(self, question, provider: Provider, payer: Payer, calls: Store, policy: Policy, concurrency: int):
        self.question, self.provider, self.payer, self.calls = question, provider, payer, calls
        self.policy, self.concurrency = policy, concurrency
        self.in_flight = 0
        self.settlements = 0
        self.unanswered = 0  # requests since the last answer
        self.stopped: Exception | None = None
        self.settled = asyncio.Condition()
        self.scribe = _Scribe(calls)
        self.pace = Pace()

    async def all(self, requests: list[Request], stored: dict[str, Call]) -> dict[str, Outcome]:
        waiting = iter(requests)
        outcomes: dict[str, Outcome] = {}

        async def worker(client) -> None:
            for request in waiting:  # shared: each request goes to one worker
                outcomes[request.key] = await self.one(client, request, stored.get(request.key))

        async with self.provider.connect() as client:
            workers = [asyncio.ensure_future(worker(client)) for _ in range(min(self.concurrency, len(requests)))]
            try:
                await asyncio.gather(*workers)
            except (Unavailable, BudgetExceeded) as e:
                # Calls on their way are paid for: let them arrive and be stored, start no other.
                self.stopped = e
                await asyncio.gather(*workers, return_exceptions=True)
                raise
            finally:
                for w in workers:
                    w.cancel()
                await self.scribe.done()
        return outcomes

    async def one(self, client, request: Request, stored: Call | None) -> Outcome:
        answers, spent = (stored.answers, stored.cost_micros) if stored else (0, 0)
        failure: Failure | None = None
        for attempt in range(self.policy.attempts):
            ticket = await self.pace.turn(len(request.wire) / 4)  # about four bytes a token: enough to keep pace
            number = await self._start(request)
            try:
                cost, status, answer = await self._send(client, request, number, ticket)
            except Failure as e:
                failure = e
                if e.fatal:
                    raise Unavailable(
                        f"{self.payer.judge}: {self.payer.model} at {self.provider.base_url or self.provider.name} "
                        f"answered {e.http}: {e}. What was answered is stored; run again once this is solved."
                    ) from None
                if not e.transient:
                    break
                pause = self._pause(e.retry_after, attempt)
                if e.http == 429:  # a limit of the account, not of this request
                    self.pace.pause(pause)
                elif attempt + 1 < self.policy.attempts:
                    await asyncio.sleep(pause)
                continue
            answers, spent, failure, self.unanswered = answers + 1, spent + cost, None, 0
            if self.policy.ends(status, answers):
                return Outcome(status, answer, spent)
        if failure and failure.transient:
            self.unanswered += 1
            if self.unanswered >= max(self.policy.give_up, 2 * self.concurrency):
                raise Unavailable(
                    f"{self.payer.judge}: {self.payer.model} at {self.provider.base_url or self.provider.name} answered none "
                    f"of {self.unanswered} requests in a row, the last time with {failure.http or 'no response'}: {failure}. "
                    "What was answered is stored; run again once it answers."
                )
        return Outcome("error", None, spent, f"{failure.http}: {failure}" if failure else "no usable answer")

    def _pause(self, asked: float | None, attempt: int) -> float:
        if asked is not None:
            return min(asked, self.policy.longest_wait)
        # full jitter would let a crowd return at once; half of it keeps most of the spread
        return min(self.policy.first_wait * 2**attempt, self.policy.longest_wait) * random.uniform(0.5, 1.0)

    async def _start(self, request: Request) -> int:
        """Reserve the most the call can cost. Where only calls on their way stand against it, wait for their end."""
        p = self.payer
        reserve = upper_bound_micros(len(request.wire), request.most_tokens, p.price)
        while True:
            if self.stopped:
                raise self.stopped
            before = self.settlements
            number = await self.scribe.write(
                lambda calls: calls.start(request, p.stage, p.judge, p.model, reserve, p.budget_micros)
            )
            if number is not None:
                self.in_flight += 1
                return number
            if not self.in_flight and self.settlements == before:
                raise BudgetExceeded(
                    f"{p.judge}: the next call may cost ${reserve / 1e6:.6f}, and ${self.calls.committed() / 1e6:.6f} "
                    f"of budget.dollars = {p.budget_micros / 1e6:g} are spent or reserved. Every answer so far is "
                    "stored: raise the budget and run again to go on from here."
                )
            async with self.settled:
                await self.settled.wait_for(lambda: self.settlements != before)  # noqa: B023, awaited here

    async def _send(self, client, request: Request, number: int, ticket: Ticket) -> tuple[int, str, BaseModel | None]:
        headers: Mapping[str, str] = {}
        try:
            raw, headers = await self.provider.send(client, request)
            try:
                cost = cost_micros(self.provider.read(raw).usage, self.payer.price)
                status, answer = read(self.provider, raw, self.question)
            except ValueError as e:
                raise Failure(f"unreadable body: {e}", 0) from None
            await self._finish(number, status, raw=raw, http=200, cost=cost)
            return cost, status, answer
        except Failure as e:
            headers = e.headers
            await self._finish(number, "error", http=e.http, at_risk=e.ambiguous, error=str(e))
            raise
        finally:
            self.pace.learn(ticket, headers)
            await self._settle()

    async def _finish(self, number: int, status: str, **result: Any) -> None:
        await self.scribe.write(lambda calls: calls.finish(number, status, sdk=self.provider.sdk, **result))

    async def _settle(self) -> None:
        self.in_flight -= 1
        self.settlements += 1
        async with self.settled:
            self.settled.notify_all()


class _Scribe:
    """Writes of many calls in few transactions: what comes while the disk is busy makes the next group."""

    def __init__(self, calls: Store):
        self.calls = calls
        self.pending: list[tuple[Callable[[Store], Any], asyncio.Future]] = []
        self.writing: asyncio.Task | None = None

    async def write(self, what: Callable[[Store], Any]) -> Any:
        """Returns once `what` is on disk."""
        future = asyncio.get_running_loop().create_future()
        self.pending.append((what, future))
        if self.writing is None or self.writing.done():
            self.writing = asyncio.create_task(self._write())
        return await future

    async def done(self) -> None:
        if self.writing is not None:
            await self.writing

    async def _write(self) -> None:
        while self.pending:
            group, self.pending = self.pending, []
            try:
                results = await asyncio.to_thread(self.calls.group, [what for what, _ in group])
            except Exception as e:
                results = [e] * len(group)
            for (_, future), result in zip(group, results, strict=True):
                if future.cancelled():
                    continue
                if isinstance(result, Exception):
                    future.set_exception(result)
                else:
                    future.set_result(result)
