"""Calls by batch: a state machine that is written down before each step, so that any process can go on with it.

    planned -> submitting -> submitted -> ingested

Nothing waits here: a run submits, collects what has ended, and says that the rest is pending. `custom_id` is the key of
a request, so results join in any order, in a later run and on another machine that has the store.
"""

import time
import uuid
from collections.abc import Iterable

from pydantic import BaseModel

from resources.llm.call_store import BudgetExceeded, Request, Store
from resources.llm.online_calls import Outcome, Payer, Policy, Unavailable, read
from resources.llm.prices import cost_micros, upper_bound_micros
from resources.llm.provider_batches import Batches, batches
from resources.llm.providers import Failure, Provider, provider
from resources.settings import Judge
from resources.stops import Stop

SETTLE = 120.0  # seconds after which a batch that was sent must show in the provider's list


class Pending(Stop):
    """Answers are still at the provider. Run again later: nothing is sent twice."""


def complete(
    requests: Iterable[Request],
    question: type[BaseModel],
    provider: Provider,
    payer: Payer,
    calls: Store,
    policy: Policy | None = None,
    settle: float = SETTLE,
) -> dict[str, Outcome]:
    """The outcome of every request by key, like `online.complete`.

    Raises:
        Pending: some requests are in batches that have not ended; all that can be sent has been sent.
        BudgetExceeded: a batch could overstep the budget; it was not sent.
        Unavailable: key, model or quota is refused.
    """
    policy, by_key = policy or Policy(), {r.key: r for r in requests}
    run = _Batch(question, provider, payer, calls, settle)
    outcomes = _ended(by_key, question, provider, calls, policy)
    if len(outcomes) < len(by_key):
        with run.protocol.connect() as client:
            for name in calls.open_batches(payer.judge):
                run.advance(client, name)
            outcomes = _ended(by_key, question, provider, calls, policy)
            tried = calls.batch_tries(by_key)
            waiting = calls.in_open_batches(by_key)
            for key in by_key.keys() - outcomes.keys() - waiting:
                if tried.get(key, 0) >= policy.attempts:
                    outcomes[key] = Outcome("error", None, 0, f"{tried[key]} batches brought no usable answer")
            run.send(client, [r for k, r in by_key.items() if k not in outcomes and k not in waiting])
    if left := len(by_key) - len(outcomes):
        raise Pending(
            f"{payer.judge}: {left} of {len(by_key)} answers are in batches at {provider.base_url or provider.name}; "
            "run again later to collect them"
        )
    return outcomes


def due(judges: Iterable[Judge], calls: Store, settle: float = SETTLE) -> dict[str, list[str]]:
    """What can be collected: stages none of whose batches is still worked on, and their batches.

    Raises:
        NoKey, Unavailable: a provider cannot be asked.
    """
    found: dict[str, dict[str, bool]] = {}
    for judge in judges:
        if judge.execution != "batch" or not (names := calls.open_batches(judge.name)):
            continue
        made = provider(judge.backend, judge.base_url, judge.api_key_env)
        protocol = batches(made)
        with protocol.connect() as client:
            for name in names:
                event, data, at = calls.batch_state(name)
                try:
                    # what was never confirmed is looked for by the next run, once it must show
                    ready = protocol.ended(client, data) if event == "submitted" else time.time() - at >= settle
                except Failure as e:
                    if e.fatal and e.http != 404:
                        raise Unavailable(f"{judge.name}: batch {data}: {e.http}: {e}") from None
                    ready = e.http == 404  # the next run says so
                found.setdefault(calls.batch_stage(name), {})[name] = ready
    return {stage: sorted(names) for stage, names in found.items() if all(names.values())}


def _ended(by_key, question, provider: Provider, calls: Store, policy: Policy) -> dict[str, Outcome]:
    return {
        key: Outcome(*read(provider, call.raw, question), call.cost_micros)
        for key, call in calls.answered(by_key).items()
        if policy.ends(call.status, call.answers)
    }


class _Batch:
    def __init__(self, question: type[BaseModel], provider: Provider, payer: Payer, calls: Store, settle: float):
        self.question, self.provider, self.payer, self.calls, self.settle = question, provider, payer, calls, settle
        self.protocol: Batches = batches(provider)

    def send(self, client, requests: list[Request]) -> None:
        """Plan and submit, in as many batches as the provider's limits ask for."""
        part: list[Request] = []
        size = 0
        for request in [*requests, None]:
            full = len(part) == self.protocol.limit or size > self.protocol.limit_bytes
            if part and (request is None or full):
                self._submit(client, self._plan(part))
                part, size = [], 0
            if request is not None:
                part.append(request)
                size += len(request.wire) + 200

    def _plan(self, requests: list[Request]) -> str:
        p, name = self.payer, uuid.uuid4().hex
        planned = self.calls.plan_batch(
            name,
            p.stage,
            p.judge,
            p.model,
            [(r, upper_bound_micros(len(r.wire), r.most_tokens, p.price, batch=True)) for r in requests],
            p.budget_micros,
        )
        if not planned:
            raise BudgetExceeded(
                f"{p.judge}: a batch of {len(requests)} could overstep budget.dollars = {p.budget_micros / 1e6:g}, of "
                f"which ${self.calls.committed() / 1e6:.6f} are spent or reserved. Nothing was sent."
            )
        return name

    def _submit(self, client, name: str) -> None:
        requests = self.calls.batch_requests(name)
        self.calls.batch_event(name, "submitting")
        try:
            batch = self.protocol.submit(client, name, requests)
        except Failure as e:
            if e.ambiguous or e.transient:
                return  # it may have arrived: the next run looks before it sends again
            self._close(name, "error", str(e), http=e.http)
            if e.fatal:
                raise Unavailable(f"{self.payer.judge}: {self.payer.model} answered {e.http}: {e}") from None
            return
        self.calls.batch_event(name, "submitted", batch)

    def advance(self, client, name: str) -> None:
        """One step of an open batch, as far as it goes without waiting."""
        event, data, at = self.calls.batch_state(name)
        try:
            if event == "planned":
                self._submit(client, name)
                return
            if event == "submitting":
                count = len(self.calls.batch_requests(name))
                data = self.protocol.find(client, name, count, at, self.calls.submitted_batches())
                if data is None:
                    if time.time() - at >= self.settle:
                        self._submit(client, name)
                    return
                self.calls.batch_event(name, "submitted", data)
            if self.protocol.ended(client, data):
                self._ingest(client, name, data)
        except Failure as e:
            if e.fatal and e.http != 404:
                raise Unavailable(f"{self.payer.judge}: batch {data or name}: {e.http}: {e}") from None

    def _ingest(self, client, name: str, batch: str) -> None:
        """Store every line once; what has none is expired. A line that is nobody's or a repetition is left out."""
        p, open_attempts = self.payer, self.calls.batch_attempts(name)
        for line in self.protocol.results(client, batch):
            body, attempt = self.provider.redact_body(line.body), open_attempts.pop(line.key, None)
            if attempt is None:
                continue
            if line.status != "answered":
                self.calls.finish(attempt, line.status, error=self.provider.redact(line.error), sdk=self.provider.sdk)
                continue
            try:
                cost = cost_micros(self.provider.read(body).usage, p.price, batch=True)
                status, _ = read(self.provider, body, self.question)
            except ValueError as e:
                self.calls.finish(attempt, "error", at_risk=True, error=f"unreadable line: {e}", sdk=self.provider.sdk)
                continue
            self.calls.finish(attempt, status, raw=body, http=200, cost=cost, sdk=self.provider.sdk)
        self._close(name, "expired", "no line in the results")

    def _close(self, name: str, status: str, error: str, http: int = 0) -> None:
        attempts = self.calls.batch_attempts(name).values()
        writes = [lambda c, a=a: c.finish(a, status, http=http, error=error, sdk=self.provider.sdk) for a in attempts]
        self.calls.group([*writes, lambda c: c.batch_event(name, "ingested")])
