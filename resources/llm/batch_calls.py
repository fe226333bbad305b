"""Calls by batch: a state machine that is written down before each step, so that any process can go on with it.

    planned -> submitting -> submitted -> ingested
                                       -> failed -> ingested      (nothing was worked on; the requests go out again)

Nothing waits long here: a run submits, collects what has ended, and says that the rest is pending. `custom_id` is the
key of a request, so results join in any order, in a later run and on another machine that has the store. One process at
a time does this for a judge, and each step is claimed in the store, so that nothing is sent or written twice.
"""

import contextlib
import time
import uuid
from collections import Counter
from collections.abc import Generator, Iterable

from pydantic import BaseModel

from resources.llm.call_store import BudgetExceeded, Request, Store
from resources.llm.interrupts import orderly
from resources.llm.online_calls import MOST_OVERRUN, STORED, read_left_over
from resources.llm.policy import Outcome, Payer, Policy, Unavailable, Unusable, hopeless
from resources.llm.prices import upper_bound_micros
from resources.llm.provider_batches import Batches, BatchState, Line, batches
from resources.llm.providers import Anthropic, OpenAI, provider
from resources.llm.replies import answered, ending
from resources.llm.wire import Failure, SyncWire
from resources.notices import tell
from resources.settings import Judge
from resources.stops import Stop

SETTLE = 120.0  # seconds after which a batch that was sent must show in the provider's list
LOOKS = 4  # at results that are not what the provider counts, in one run
WRITTEN_AT_ONCE = 500  # lines
LOOKED = 60.0  # seconds for which results that did not match are looked at only once more
A_DAY = 86_400.0  # seconds for which a batch that was too large is remembered

# A batch that failed for want of room goes out again in smaller parts, those with ROOM one after the other.
_ROOM = ("token_limit_exceeded", "enqueued", "queue")
_SIZE = ("too large", "too many", "too big", "file size", "exceeds", "maximum", "limit")


_looked: dict[str, float] = {}  # when this process last looked in vain, by batch


class Pending(Stop):
    """Answers are still at the provider. Run again later: nothing is sent twice."""

    waits_for = "a provider's batch"


class Unsettled(Pending):
    """What the provider says of a batch does not hold together. Every run looks again and says so, until it does or
    a person has settled it."""

    waits_for = ""


def complete(
    requests: Iterable[Request],
    question: type[BaseModel],
    provider: OpenAI | Anthropic,
    payer: Payer,
    calls: Store,
    policy: Policy | None = None,
    settle: float = SETTLE,
) -> dict[str, Outcome]:
    """The outcome of every request by key, like `online_calls.complete`.

    Raises:
        Pending: some requests are in batches that have not ended; all that can be sent has been sent.
        BudgetExceeded: a batch could overstep the budget; it was not sent.
        Unavailable: key, model or quota is refused, or a batch failed for a reason that stays.
        Unusable: what came back cannot be used, and nothing more is sent for it.
    """
    policy, by_key = policy or Policy(), {r.key: r for r in requests}
    run = _Batch(question, provider, payer, calls, policy, settle)
    with orderly(), calls.alone(f"batch {payer.judge}"):
        read_left_over(question, provider, payer, calls)
        outcomes = _ended(by_key, question, provider, payer, calls, policy)
        if len(outcomes) < len(by_key):
            with run.connected() as desk:
                for name in calls.open_batches(payer.judge):
                    run.advance(desk, name)
                if why := hopeless(run.ends, policy):
                    answers, micros = calls.paid(payer.judge)
                    raise Unusable(
                        f"{payer.judge}: {payer.model} at {provider.place}: {why}. So far {answers:,} answers of this judge "
                        f"cost ${micros / 1e6:.6f}. {STORED}"
                    )
                outcomes = _ended(by_key, question, provider, payer, calls, policy)
                tried = calls.batch_tries(by_key)
                waiting = calls.in_open_batches(by_key)
                for key in by_key.keys() - outcomes.keys() - waiting:
                    if tried.get(key, 0) >= policy.attempts:
                        outcomes[key] = Outcome("error", None, 0, f"{tried[key]} batches brought no usable answer")
                run.send(desk, [r for k, r in by_key.items() if k not in outcomes and k not in waiting])
    if left := len(by_key) - len(outcomes):
        said = f"{payer.judge}: {left} of {len(by_key)} answers are in batches at {provider.place}; "
        said += "".join(f"{t}; " for t in dict.fromkeys(run.said)) + "run again later to collect them"
        raise (Unsettled if run.unsettled else Pending)(said)
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
        made = provider(judge)
        protocol = batches(made)
        with made.desk() as desk:
            for name in names:
                event, data, at = calls.batch_state(name)
                try:
                    # what was never confirmed is looked for by the next run, once it must show
                    ready = protocol.look(desk, data).state != "open" if event == "submitted" else _old(at, settle)
                except Failure as e:
                    if e.fatal and e.http != 404:
                        raise Unavailable(f"{judge.name}: batch {data}: {e.http}: {e}") from None
                    ready = e.http == 404  # the next run says so
                found.setdefault(calls.batch_stage(name), {})[name] = ready
    return {stage: sorted(names) for stage, names in found.items() if all(names.values())}


def _old(at: float, settle: float) -> bool:
    """Whether an event is so old that it must show; one that lies ahead, by a clock that was set back, is."""
    return not 0 <= time.time() - at < settle


def _ended(by_key, question, provider, payer: Payer, calls: Store, policy: Policy) -> dict[str, Outcome]:
    return {
        key: Outcome(*answered(provider.read(call.raw), question), call.cost_micros)
        for key, call in calls.known(by_key.values(), payer.judge, payer.model).items()
        if policy.ends(call.status, call.answers)
    }


class _Batch:
    """One run's work on a judge's batches.

    Attributes:
        said: what the run's message should tell of them.
        unsettled: whether a person may have to look at one.
        ends: how the requests ended whose lines this run has read.
    """

    def __init__(
        self, question, provider: OpenAI | Anthropic, payer: Payer, calls: Store, policy: Policy, settle: float
    ):
        self.question, self.provider, self.payer, self.calls = question, provider, payer, calls
        self.policy, self.settle = policy, settle
        self.protocol: Batches = batches(provider)
        self.said: list[str] = []
        self.unsettled = False
        self.ends: Counter[str] = Counter()
        self.overrun = min(MOST_OVERRUN, calls.overrun(payer.judge, payer.model))

    @contextlib.contextmanager
    def connected(self) -> Generator[SyncWire]:
        with self.provider.desk() as desk:
            yield desk

    # ---- out -------------------------------------------------------------------------------------------------------
    def send(self, desk: SyncWire, requests: list[Request]) -> None:
        """Plan and submit, in as many batches as the provider's limits, and its room, ask for."""
        most, queue = self._room()
        part: list[Request] = []
        size = 0
        for request in [*requests, None]:
            full = len(part) == most or size > self.protocol.limit_bytes
            if part and (request is None or full):
                if queue and self.calls.open_batches(self.payer.judge):
                    self.said.append("the provider has room for one part at a time, and the others wait")
                    return
                self._submit(desk, self._plan(part), after="planned")
                part, size = [], 0
            if request is not None:
                part.append(request)
                size += len(request.wire) + 200

    def _room(self) -> tuple[int, bool]:
        """Requests in a batch, and whether only one may be out: half of the smallest that was too large of late."""
        most, queue = self.protocol.limit, False
        for n, why in self.calls.failed_batches(self.payer.judge, time.time() - A_DAY):
            if kind := too_large(why):
                most, queue = min(most, max(1, n // 2)), queue or kind == "room"
        return most, queue

    def _plan(self, requests: list[Request]) -> str:
        p, name = self.payer, uuid.uuid4().hex
        bounds = [
            (r, round(self.overrun * upper_bound_micros(len(r.wire), r.most_tokens, p.price, batch=True)))
            for r in requests
        ]
        if not self.calls.plan_batch(name, p.stage, p.judge, p.model, bounds, p.budget_micros, self.provider.host):
            raise BudgetExceeded(
                f"{p.judge}: a batch of {len(requests)} could overstep budget.dollars = {p.budget_micros / 1e6:g}, of "
                f"which ${self.calls.committed() / 1e6:.6f} are spent or reserved. Nothing was sent."
            )
        return name

    def _submit(self, desk: SyncWire, name: str, after: str) -> None:
        requests = self.calls.batch_requests(name)
        if not requests or not self.calls.batch_event(name, "submitting", after=after):
            return  # another process was quicker
        try:
            batch = self.protocol.submit(desk, name, requests)
        except Failure as e:
            if e.ambiguous or e.transient:
                self.said.append(f"the last batch may not have arrived ({e.shown}: {e})")
                return  # it may have arrived: the next run looks before it sends again
            why = ": ".join(t for t in ("too large" if e.http == 413 else "", e.code, str(e)) if t)
            if e.fatal or not too_large(why):
                self._returned(name, why, e.http)
                raise Unavailable(f"{self._where()} answered {e.http} to a batch: {e}. {STORED}") from None
            self._failed(name, why, e.http)
            return
        self.calls.batch_event(name, "submitted", batch)

    # ---- back ------------------------------------------------------------------------------------------------------
    def advance(self, desk: SyncWire, name: str) -> None:
        """One step of an open batch, as far as it goes without waiting long."""
        event, data, at = self.calls.batch_state(name)
        try:
            if event == "planned":
                self._submit(desk, name, after="planned")
                return
            if event == "failed":
                self._failed(name, data)
                return
            if event in ("submitting", "foreign"):
                keys = {key for key, _ in self.calls.batch_requests(name)}
                taken = self.calls.submitted_batches()
                found, why = self.protocol.find(desk, name, keys, self._sent(name, at), taken)
                if found is None:
                    if why:
                        self.said.append(why)
                    elif event == "foreign" or _old(at, self.settle):
                        self._submit(desk, name, after=event)
                    return
                if not self.calls.batch_event(name, "submitted", found, after=event):
                    return
                data = found
            standing = self.protocol.look(desk, data)
            if standing.state == "failed":
                self._failed(name, self.provider.redact(standing.why), batch=data)
            elif standing.state == "ended":
                self._ingest(desk, name, data, standing)
        except Failure as e:
            if e.http == 404:
                self._a_person(name, f"the provider knows no batch {data} (404: {e})")
            elif e.fatal:
                raise Unavailable(f"{self.payer.judge}: batch {data or name}: {e.http}: {e}. {STORED}") from None
            else:
                self.said.append(f"batch {data or name} cannot be looked at ({e.shown}: {e})")

    def _sent(self, name: str, at: float) -> float:
        """About when a batch went out, by our clock: the last event, or now where the clock was set back."""
        return min(at, time.time())

    def _failed(self, name: str, why: str, http: int = 0, batch: str = "") -> None:
        """A batch of which nothing was worked on: no attempt of its requests, which go out again where that may help.

        Raises:
            Unavailable: the reason stays.
        """
        n = len(self.calls.batch_requests(name))
        self._returned(name, why, http)
        said = f"batch {batch or name} failed at the provider: {why}"
        kind = too_large(why)
        if not kind or n == 1:
            raise Unavailable(f"{self._where()}: {said}. Nothing of it was charged or counts as tried. {STORED}")
        self.said.append(f"{said}; its {n} requests go out again in parts of {max(1, n // 2)}")

    def _returned(self, name: str, why: str, http: int = 0) -> None:
        if self.calls.batch_state(name)[0] != "failed":
            self.calls.batch_event(name, "failed", why)
        self._close(name, "returned", why, http)

    def _ingest(self, desk: SyncWire, name: str, batch: str, standing: BatchState) -> None:
        """Store every line once, and close the batch when they are as many as the provider counts. A line that is
        nobody's or a repetition is left out."""
        keys = {key for key, _ in self.calls.batch_requests(name)}
        seen: set[str] = set()
        foreign = 0
        # in one process once, since every part of a step comes by here
        looks = 1 if time.monotonic() - _looked.get(name, -A_DAY) < LOOKED else LOOKS
        for look in range(looks):
            if look:
                time.sleep(min(self.policy.longest_wait, self.policy.first_wait * 4**look))
            broken = None
            try:
                part: list[Line] = []
                for line in self.protocol.results(desk, batch, standing):
                    if line.key not in keys:
                        foreign += 1
                    elif line.key not in seen:
                        seen.add(line.key)
                        part.append(line)
                    if len(part) == WRITTEN_AT_ONCE:
                        self._write(name, part)
                        part = []
                self._write(name, part)
            except Failure as e:  # what breaks off is looked at again
                broken = e
            if foreign and not seen:
                self.calls.batch_event(name, "foreign", batch, after="submitted")
                self.said.append(f"batch {batch} holds nothing of ours and is somebody else's")
                return
            if self._whole(len(seen), len(keys), standing):
                # What the provider let expire is not charged; what it says it did and does not show may be.
                status = "error" if standing.whole else "expired"
                self._close(name, status, "no line in the results", at_risk=standing.whole)
                return
        _looked[name] = time.monotonic()
        if broken is not None and broken.transient:  # says nothing of the answers
            self.said.append(f"the results of batch {batch} do not come whole ({broken.shown}: {broken})")
            return
        counts = "not said" if standing.lines is None else f"{standing.lines}"
        self._a_person(
            name, f"batch {batch}: {len(seen)} of {len(keys)} requests have a line in its results, the provider's count is "
            f"{counts}"
        )  # fmt: skip

    @staticmethod
    def _whole(lines: int, requests: int, standing: BatchState) -> bool:
        """Whether results are all there is."""
        if lines >= requests:
            return True
        if standing.lines is None:
            return not standing.whole and (lines > 0 or not standing.files)  # without a file there is no result
        return standing.lines <= lines and (lines > 0 or not standing.whole)

    def _write(self, name: str, lines: list[Line]) -> None:
        """Bodies first, then what they say."""
        open_attempts = self.calls.batch_attempts(name)
        ours = [(line, *open_attempts[line.key]) for line in lines if line.key in open_attempts]
        bodies = [(attempt, self.provider.redact_body(line.body)) for line, attempt, _ in ours if line.body]
        self.calls.group([lambda c, a=attempt, raw=raw: c.receive(a, raw) for attempt, raw in bodies])
        writes = []
        for line, attempt, reserve in ours:
            if line.status == "answered":
                e = ending(
                    self.provider.read(self.provider.redact_body(line.body)),
                    self.question,
                    self.payer.price,
                    reserve,
                    batch=True,
                )
                if e.cost > reserve:
                    tell(f"{self.payer.judge}: a call of batch {name} cost ${e.cost / 1e6:.6f}, above the most that its "
                         f"length allows (${reserve / 1e6:.6f})")  # fmt: skip
                result = {"http": 200, "cost": e.cost, "at_risk": e.at_risk, "error": e.note, "status": e.status}
            else:
                result = {"status": line.status, "error": line.error}
            self.ends[str(result["status"])] += 1
            result["error"] = self.provider.redact(str(result["error"]))
            writes.append(lambda c, a=attempt, r=result: c.finish(a, sdk=self.provider.sdk, **r))
        self.calls.group(writes)

    def _a_person(self, name: str, why: str) -> None:
        """What does not hold together is not believed, and not forgotten."""
        if self.policy.accept_missing:
            self._close(name, "lost", why, at_risk=True)
            tell(f"{self.payer.judge}: {why}; its answers are given up (accept_missing) and count as paid")
            return
        self.unsettled = True
        self.said.append(
            f"{why}. A person has to look: nothing of it is sent again while it may come right; accept_missing = true for "
            "this judge gives the answers up, and they count as paid"
        )

    def _close(self, name: str, status: str, error: str, http: int = 0, at_risk: bool = False) -> None:
        sdk = self.provider.sdk
        writes = [
            lambda c, a=attempt: c.finish(a, status, http=http, error=error, sdk=sdk, at_risk=at_risk)
            for attempt, _ in self.calls.batch_attempts(name).values()
        ]
        self.calls.group([*writes, lambda c: c.batch_event(name, "ingested")])

    def _where(self) -> str:
        return f"{self.payer.judge}: {self.payer.model} at {self.provider.place}"


def too_large(why: str) -> str:
    """'room' or 'size' where a batch failed for want of it, else ''."""
    said = why.lower()
    if any(w in said for w in _ROOM):
        return "room"
    return "size" if any(w in said for w in _SIZE) and "billing" not in said else ""
