"""The check of single responses before people see a pair (spec 2.06): each alone, correct or not, as a hint to people."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol

import pyarrow as pa

from curation.prompts import CheckAnswer, check_prompt
from curation.tables import RESPONSE_CHECKS
from resources.lake import Lake
from resources.llm.call_store import Request, Store, store
from resources.settings import Judge, Settings

if TYPE_CHECKING:
    from resources.llm.bill import Bill
    from resources.llm.policy import Outcome, Policy

SIDES = ("chosen", "rejected")
CHUNK = 1000  # pairs whose prompts are in memory at once, and in one batch


class Checker(Protocol):
    @property
    def ends(self) -> Mapping[str, Mapping[str, int]]:
        """How the requests have ended so far: judge -> status -> how many."""

    def estimate(self, targets: pa.Table) -> "Bill | None":
        """What `check` is expected to cost; None for a judge that is never paid."""

    def check(self, targets: pa.Table) -> pa.Table:
        """What the judge says of each response.

        Args:
            targets: pair_id, comparison_id, conversation, chosen, rejected and the five attributes; one row a pair.

        Returns:
            Rows of `response_checks`, two a pair.
        """


def checker(settings: Settings, lake: Lake, stage: str) -> Checker | None:
    """The judge that `people.checked_by` names, for this use; None where it names none.

    Raises:
        UnknownPrice, NoKey: as for the panel.
    """
    if not settings.people.checked_by:
        return None
    judge = next(j for j in settings.judges.judges if j.name == settings.people.checked_by)
    if judge.backend == "simulated":
        from simulation.annotators import SimulatedChecker

        return SimulatedChecker(judge, settings, lake)
    return LlmChecker(judge, settings, lake, stage)


class _Asked(NamedTuple):
    pair_id: str
    side: str
    request: Request


class LlmChecker:
    """A language model that is shown one response at a time.

    Args:
        judge: its configuration.
        settings: the budget.
        lake: where calls are stored.
        stage: what the ledger calls this use.
        policy: how failures are met.
    """

    def __init__(self, judge: Judge, settings: Settings, lake: Lake, stage: str, policy: "Policy | None" = None):
        from resources.judges import guideline
        from resources.llm.payer import account
        from resources.llm.policy import Policy
        from resources.llm.providers import provider

        self.judge, self.lake = judge, lake
        self.policy = policy or Policy.of(judge)
        self.provider = provider(judge)
        self.payer = account(judge, settings, stage, judge.name)
        self.guideline = guideline.load()
        self.ends: dict[str, Counter[str]] = {judge.name: Counter()}

    def estimate(self, targets: pa.Table) -> "Bill":
        """See `Checker.estimate`: from the prompts of some of the pairs."""
        from resources.llm.bill import SAMPLE, bill

        some = targets.take(pa.array(range(0, targets.num_rows, -(-targets.num_rows // SAMPLE) or 1), pa.int64()))
        with store(self.lake) as calls:
            requests = (a.request for a in self._ask(some))
            found = bill(requests, self.provider, self.payer, calls, self.judge.execution == "batch")
        return found.times(targets.num_rows, some.num_rows)

    def check(self, targets: pa.Table) -> pa.Table:
        """See `Checker.check`.

        Raises:
            BudgetExceeded, Unavailable, Unusable: nothing that was answered is lost.
            Pending: answers are in batches that have not ended; all of them have been sent.
        """
        from resources.llm.batch_calls import Pending

        parts, pending = [], None
        with store(self.lake) as calls:
            for start in range(0, targets.num_rows, CHUNK):
                asked = list(self._ask(targets.slice(start, CHUNK)))
                try:
                    outcomes = self._complete([a.request for a in asked], calls)
                except Pending as e:
                    pending = e
                    continue
                rows = [self._row(a, outcomes[a.request.key]) for a in asked]
                self.ends[self.judge.name].update(r["status"] for r in rows)
                parts.append(pa.Table.from_pylist(rows, RESPONSE_CHECKS.schema))
        if pending:
            raise pending
        return pa.concat_tables(parts) if parts else RESPONSE_CHECKS.schema.empty_table()

    def _complete(self, requests: list[Request], calls: Store) -> "dict[str, Outcome]":
        from resources.llm import batch_calls, online_calls

        common = (requests, CheckAnswer, self.provider, self.payer, calls)
        if self.judge.execution == "batch":
            return batch_calls.complete(*common, self.policy)
        return online_calls.complete(*common, self.judge.concurrency, self.policy)

    def _ask(self, targets: pa.Table) -> Iterator[_Asked]:
        effort = self.judge.efforts[0] if self.judge.efforts else ""
        for t in targets.to_pylist():
            for side in SIDES:
                prompt = check_prompt(self.guideline.texts, t["conversation"], t[side], t)
                yield _Asked(t["pair_id"], side, self.provider.request(prompt, CheckAnswer, self.judge, 0, effort))

    def _row(self, asked: _Asked, outcome: "Outcome") -> dict:
        answer = outcome.answer if isinstance(outcome.answer, CheckAnswer) else None
        return {
            "pair_id": asked.pair_id,
            "side": asked.side,
            "judge": self.judge.name,
            "model": self.judge.model,
            "answer": answer.verdict if answer else "",
            "status": outcome.status,
            "prompt_version": self.guideline.version("check"),
            "request_key": asked.request.key,
            "cost_micros": outcome.cost_micros,
            "simulated": False,
        }
