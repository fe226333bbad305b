"""Calls made now: bounded, retried by one policy, stored before and after each, stopped by money or by a dead key."""

import asyncio
import contextlib
import random
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel

from resources.llm.bill import bill
from resources.llm.call_store import BudgetExceeded, Call, Request, Store
from resources.llm.interrupts import Interrupted, orderly, told
from resources.llm.policy import MOST_MISSING, Outcome, Payer, Policy, Unavailable, Unusable, hopeless
from resources.llm.prices import upper_bound_micros
from resources.llm.providers import Provider
from resources.llm.rate_limits import Pace, Ticket
from resources.llm.replies import Ending, answered, ending
from resources.llm.wire import TIMEOUT, Failure
from resources.notices import tell
from resources.stops import Stop

T = TypeVar("T")

STORED = "What was answered is stored; run again once this is solved."
NOTICED = 10.0  # seconds of waiting from which somebody is told
DOWN = 3  # failures in a row, of any requests, from which one request at a time looks whether the server is back
LIMITED = 100  # times 429 for every call on its way, with no answer between, after which the run stops
MOST_OVERRUN = 10.0  # times its bound that a call may cost before the run stops


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
        Unavailable: key, model or quota is refused, the same refusal comes again and again, or nobody is answered.
        Unusable: what the model answers cannot be used, or costs far more than expected.
    """
    policy = policy or Policy()
    by_key = {r.key: r for r in requests}
    with orderly(), calls.alone(f"{provider.name} {provider.base_url} {payer.model}"):
        read_left_over(question, provider, payer, calls)
        stored = calls.known(by_key.values(), payer.judge, payer.model)
        outcomes = {
            key: Outcome(*answered(provider.read(call.raw), question), call.cost_micros)
            for key, call in stored.items()
            if policy.ends(call.status, call.answers)
        }
        wanted = [r for k, r in by_key.items() if k not in outcomes]
        if wanted:
            run = _Run(question, provider, payer, calls, policy, concurrency)
            run.total = len(by_key)
            outcomes |= asyncio.run(run.all(wanted, stored))
    return outcomes


def read_left_over(question: type[BaseModel], provider: Provider, payer: Payer, calls: Store) -> None:
    """Read what came in when a process died before it could."""
    for attempt, _, reserve, batch, raw in calls.unread(payer.judge, payer.stage):
        e = ending(provider.read(raw), question, payer.price, reserve, batch)
        calls.finish(
            attempt, e.status, http=200, cost=e.cost, at_risk=e.at_risk, error=provider.redact(e.note), sdk=provider.sdk
        )


@dataclass
class _Item:
    """A request on its way to an end.

    Attributes:
        answers, spent: that it had, and micro-dollars they cost.
        tries: failures that may be its own.
        limited: times it was told to slow down.
        first, last: how many answers the run had at the first and the last failure.
        failure: the last one.
    """

    request: Request
    answers: int = 0
    spent: int = 0
    tries: int = 0
    limited: int = 0
    first: int | None = None
    last: int = 0
    failure: Failure | None = None


class _Run:
    """One set of requests on their way."""

    def __init__(self, question, provider: Provider, payer: Payer, calls: Store, policy: Policy, concurrency: int):
        self.question, self.provider, self.payer, self.calls = question, provider, payer, calls
        self.policy, self.concurrency = policy, concurrency
        self.in_flight = 0
        self.settlements = 0
        self.stopped: Stop | None = None
        self.halt, self.settled = asyncio.Event(), asyncio.Condition()
        self.scribe = _Scribe(calls)
        self.where = f"{payer.judge}: {payer.model} at {provider.base_url or provider.name}"
        self.outage = _Outage(policy, self.where, self.sleep, concurrency, self._so_far)
        self.pace = Pace(self.sleep, self.where)
        self.ends: Counter[str] = Counter()
        self.answered = self.left = self.total = 0
        self.counted = self.micros_counted = 0  # answers whose usage is known, and what they cost
        self.refused: tuple[str, int] = ("", 0)  # the last refusal, and how often in a row
        self.expected = 0.0  # micro-dollars an answer
        self.overrun = 1.0

    async def all(self, requests: list[Request], stored: Mapping[str, Call]) -> dict[str, Outcome]:
        self.overrun = min(MOST_OVERRUN, self.calls.overrun(self.payer.judge, self.payer.model))
        foreseen = bill(requests, self.provider, self.payer, self.calls)
        self.expected = foreseen.expected_micros / max(1, foreseen.requests)
        waiting = deque(_Item(r, c.answers, c.cost_micros) if (c := stored.get(r.key)) else _Item(r) for r in requests)
        self.left, self.total = len(requests), max(self.total, len(requests))
        outcomes: dict[str, Outcome] = {}

        async def worker(client) -> None:
            while waiting:  # shared: each request goes to one worker
                item = waiting.popleft()
                outcome = await self.one(client, item)
                if outcome is None:
                    waiting.append(item)  # nobody is answered, so it is nobody's turn to give up
                else:
                    self.left -= 1
                    outcomes[item.request.key] = outcome

        loop = asyncio.get_running_loop()
        async with self.provider.connect() as client:
            workers = [asyncio.ensure_future(worker(client)) for _ in range(min(self.concurrency, len(requests)))]
            try:
                with told(lambda: loop.call_soon_threadsafe(self._interrupted)):
                    try:
                        await asyncio.gather(*workers)
                    except Stop as e:
                        # Calls on their way are paid for: let them arrive and be stored, start no other.
                        self.stop(e)
                        patience = self.policy.drain if isinstance(self.stopped, Interrupted) else TIMEOUT
                        await asyncio.wait(workers, timeout=patience)
                        raise
            finally:
                for w in workers:
                    w.cancel()
                await self.scribe.done()
        return outcomes

    def stop(self, why: Stop) -> None:
        """No further call is started."""
        self.stopped = self.stopped or why
        self.halt.set()

    def _interrupted(self) -> None:
        if self.in_flight:
            tell(
                f"{self.payer.judge}: ending; {self.in_flight} calls on their way are paid for and may arrive, for at "
                f"most {self.policy.drain:g} s. A second signal does not wait."
            )
        self.stop(Interrupted(f"{self.payer.judge}: ended from outside; run again to go on."))

    async def sleep(self, seconds: float) -> None:
        """Raises what stops the run as soon as something does."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.halt.wait()
        if self.stopped:
            raise self.stopped

    async def one(self, client, item: _Item) -> Outcome | None:
        """How a request ends; None where it has to wait since nobody is answered."""
        while True:
            ticket = await self.pace.turn(len(item.request.wire) / 4)  # about four bytes a token: enough to keep pace
            try:
                found = await self.outage.through(lambda: self._call(client, item.request, ticket))  # noqa: B023, awaited here
            except Failure as e:
                item.failure = e
                if e.fatal:
                    raise Unavailable(f"{self.where} answered {e.http}: {e}. {self._so_far()} {STORED}") from None
                if not e.transient:
                    self.outage.over()
                    return self._refusal(item, e)
                if self._gives_up(item, e):
                    return self._ended(item)
                if self.outage.down:
                    return None
                await self._rest(item, e)
                continue
            item.answers, item.spent, item.failure, item.tries = item.answers + 1, item.spent + found.cost, None, 0
            item.first, item.limited = None, 0
            self._judged(found)
            if self.policy.ends(found.status, item.answers):
                return Outcome(found.status, found.answer, item.spent)

    def _gives_up(self, item: _Item, e: Failure) -> bool:
        """After a failure that passes: whether it is this request's own, and it has failed often enough."""
        if item.first is None:
            item.first = self.answered
        # while nobody is answered, a failure says nothing about a request
        own = not self.outage.down or self.answered > item.last
        item.last = self.answered
        if e.http == 429:  # a limit of the account, not of this request
            item.limited += 1
        elif own:
            item.tries += 1
        others = self.answered > item.first
        try:
            self.outage.failed(e, looks=e.http != 429)
        except Unavailable:
            # one that failed before and after others were answered, or a few at the end: the next run asks for them
            if others or self.left <= MOST_MISSING * self.total:
                return True
            raise
        return others and (item.tries >= self.policy.attempts or item.limited >= 5 * self.policy.attempts)

    async def _rest(self, item: _Item, e: Failure) -> None:
        """Wait before the next try."""
        pause = self._pause(e.retry_after, item.tries + item.limited - 1)
        if e.http == 429:
            self.pace.pause(pause, str(e))
        else:
            await self.sleep(pause)

    def _pause(self, asked: float | None, attempt: int) -> float:
        if asked is not None:
            if asked > self.policy.longest_wait:
                self.pace.notice(
                    f"the server asks to wait {asked:,.0f} s; {self.policy.longest_wait:g} s are waited (longest_wait)"
                )
            return min(max(asked, self.policy.first_wait), self.policy.longest_wait)
        # full jitter would let a crowd return at once; half of it keeps most of the spread
        most = min(self.policy.longest_look, self.policy.longest_wait)
        return min(self.policy.first_wait * 2 ** min(attempt, 30), most) * random.uniform(0.5, 1.0)

    def _refusal(self, item: _Item, e: Failure) -> Outcome:
        """A request that the server will not take. In the same words again and again, it is not the requests' fault.

        Raises:
            Unavailable: so it is.
        """
        said = f"{e.http}: {e}"
        self.refused = (said, self.refused[1] + 1 if self.refused[0] == said else 1)
        if self.policy.refusals is not None and self.refused[1] >= self.policy.refusals:
            raise Unavailable(
                f"{self.where} answered {e.http} to {self.refused[1]} requests in a row: {e}. {self._so_far()} {STORED} "
                "Where the requests themselves are at fault, accept_missing = true goes on without them."
            )
        return self._ended(item)

    def _ended(self, item: _Item) -> Outcome:
        """A request that brought no answer, or none that can be used and then no other."""
        self.ends["error"] += 1
        self._check()
        said = f"{item.failure.http}: {item.failure}" if item.failure else "no usable answer"
        return Outcome("error", None, item.spent, said)

    def _judged(self, found: Ending) -> None:
        """An answer has come: what that says about the model."""
        self.outage.over()
        self.answered += 1
        self.refused = ("", 0)
        self.ends[found.status] += 1
        self._check(found)

    def _check(self, last: Ending | None = None) -> None:
        """Raises Unusable where the model is not worth asking on."""
        if why := hopeless(self.ends, self.policy):
            said = f" The last one: {last.said!r}." if last and last.said and last.status != "ok" else ""
            raise Unusable(f"{self.where}: {why}.{said} {self._so_far()} {STORED}")
        if self.counted >= self.policy.first and self.expected >= 1:
            each = self.micros_counted / self.counted
            if each > self.policy.dear * self.expected:
                raise Unusable(
                    f"{self.where}: an answer costs ${each / 1e6:.6f}, {each / self.expected:.1f} times what was expected "
                    f"(${self.expected / 1e6:.6f}). {self._so_far()} Later estimates rest on the calls made: see `assay "
                    "estimate`, then run again to go on at this price."
                )

    def _so_far(self) -> str:
        answers, micros = self.calls.paid(self.payer.judge)
        return f"So far {answers:,} answers of this judge cost ${micros / 1e6:.6f}."

    async def _start(self, request: Request) -> tuple[int, int]:
        """Reserve the most the call can cost. Where only calls on their way stand against it, wait for their end."""
        p = self.payer
        bound = upper_bound_micros(len(request.wire), request.most_tokens, p.price)
        while True:
            if self.stopped:
                raise self.stopped
            before, reserve = self.settlements, round(bound * self.overrun)
            number = await self.scribe.write(
                lambda calls, most=reserve: calls.start(
                    request, p.stage, p.judge, p.model, most, p.budget_micros, host=self.provider.host
                )
            )
            if number is not None:
                self.in_flight += 1
                return number, reserve
            if not self.in_flight and self.settlements == before:
                raise BudgetExceeded(
                    f"{p.judge}: the next call may cost ${reserve / 1e6:.6f}, and ${self.calls.committed() / 1e6:.6f} "
                    f"of budget.dollars = {p.budget_micros / 1e6:g} are spent or reserved. Every answer so far is "
                    "stored: raise the budget and run again to go on from here."
                )
            async with self.settled:
                await self.settled.wait_for(lambda: self.settlements != before)  # noqa: B023, awaited here

    async def _call(self, client, request: Request, ticket: Ticket) -> Ending:
        number, reserve = await self._start(request)
        headers: Mapping[str, str] = {}
        try:
            try:
                raw, headers = await self.provider.send(client, request)
            except Failure as e:
                headers = e.headers
                await self._finish(number, "error", http=e.http, at_risk=e.ambiguous, error=str(e))
                raise
            await self.scribe.write(lambda calls: calls.receive(number, raw))
            reply = self.provider.read(raw)
            found = ending(reply, self.question, self.payer.price, reserve)
            note = self.provider.redact(found.note)
            await self._finish(number, found.status, http=200, cost=found.cost, at_risk=found.at_risk, error=note)
            if found.status == "error":
                raise Failure(note, 0, shown="an answer that is none")
            self._charged(found, reply.usage is not None, reserve)
            return found
        finally:
            self.pace.learn(ticket, headers)
            await self._settle()

    def _charged(self, found: Ending, counted: bool, reserve: int) -> None:
        """Raises Unusable where a call cost far more than it was bound to."""
        if counted:
            self.counted, self.micros_counted = self.counted + 1, self.micros_counted + found.cost
        if found.cost <= reserve:
            return
        times = found.cost / max(reserve, 1)
        said = (
            f"{self.where}: a call cost ${found.cost / 1e6:.6f}, {times:.1f} times the most that its length allows "
            f"(${reserve / 1e6:.6f})"
        )
        if times > MOST_OVERRUN:
            raise Unusable(f"{said}. It is written in full. {self._so_far()} {STORED}")
        tell(f"{said}; later calls reserve as much")
        self.overrun = min(MOST_OVERRUN, self.overrun * times)

    async def _finish(self, number: int, status: str, **result: Any) -> None:
        await self.scribe.write(lambda calls: calls.finish(number, status, sdk=self.provider.sdk, **result))

    async def _settle(self) -> None:
        self.in_flight -= 1
        self.settlements += 1
        async with self.settled:
            self.settled.notify_all()


class _Outage:
    """A server that answers nobody: one request at a time looks whether it is back, the others wait; for so long."""

    def __init__(
        self,
        policy: Policy,
        where: str,
        sleep: Callable[[float], Awaitable[None]],
        concurrency: int,
        so_far: Callable[[], str],
    ):
        self.policy, self.where, self.sleep, self.so_far = policy, where, sleep, so_far
        self.most_limited, self.limited = LIMITED * concurrency, 0
        self.since: float | None = None  # of the first failure after the last answer
        self.failures = 0  # since then, but for 429, after which nobody needs to look
        self.looks = 0
        self.last: Failure | None = None
        self.turn = asyncio.Lock()

    @property
    def down(self) -> bool:
        return self.failures >= DOWN

    async def through(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call when it is its turn."""
        if not self.down:
            return await call()
        async with self.turn:
            if self.down:
                most = min(self.policy.longest_look, self.policy.longest_wait)
                asked = self.last.retry_after if self.last else None
                pause = self.policy.first_wait * 2 ** min(self.looks, 30) if asked is None else asked
                self.looks += 1
                await self.sleep(min(pause, most))
                return await call()
        return await call()

    def failed(self, e: Failure, looks: bool) -> None:
        """Nobody was answered once more.

        Raises:
            Unavailable: for too long.
        """
        now = time.monotonic()
        self.since, self.last = now if self.since is None else self.since, e
        waited = now - self.since
        self.limited += not looks
        if waited > self.policy.patience or self.looks >= self.policy.looks or self.limited >= self.most_limited:
            raise Unavailable(
                f"{self.where} has answered nobody for {waited:,.0f} s (patience = {self.policy.patience:g}), the last "
                f"time with {e.shown}: {e}. {self.so_far()} What was answered is stored; run again once "
                "it answers."
            )
        if looks:
            self.failures += 1
            if self.failures == DOWN:
                tell(
                    f"{self.where} answers nobody ({e.shown}: {e}); it is waited for, at most "
                    f"{self.policy.patience:g} s"
                )

    def over(self) -> None:
        """Somebody was answered."""
        if self.down and self.since is not None:
            tell(f"{self.where} answers again after {time.monotonic() - self.since:,.0f} s")
        self.since, self.failures, self.looks, self.limited, self.last = None, 0, 0, 0, None


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
