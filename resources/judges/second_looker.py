"""A judge that looks at single findings: words shared with a benchmark (spec 0.09), personal data (spec 0.12)."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from curation.prompts import OverlapAnswer, PersonalAnswer, look_prompt
from resources.lake import Lake
from resources.llm.call_store import store
from resources.settings import Judge, Settings

if TYPE_CHECKING:
    from resources.llm.bill import Bill

CHUNK = 500  # findings whose prompts are in memory at once, and in one batch
ANSWERS: Mapping[str, type[OverlapAnswer] | type[PersonalAnswer]] = {
    "overlap": OverlapAnswer,
    "personal": PersonalAnswer,
}


@dataclass(frozen=True)
class Suspect:
    """What is looked at.

    Attributes:
        quoted: name -> text, as the judge reads it.
        weight: how strong the finding is by itself: words of a run, or a sensitivity.
    """

    quoted: Mapping[str, str]
    weight: int


class SecondLooker(Protocol):
    @property
    def ends(self) -> Mapping[str, Mapping[str, int]]:
        """How the requests have ended so far: judge -> status -> how many."""

    def estimate(self, findings: Sequence[Suspect]) -> "Bill | None":
        """What `look` is expected to cost; None for a judge that is never paid."""

    def look(self, findings: Sequence[Suspect]) -> list[dict[str, Any]]:
        """verdict, and the columns of LOOK_FIELDS, a finding."""


def looker(settings: Settings, lake: Lake, kind: Literal["overlap", "personal"], stage: str) -> SecondLooker | None:
    """The judge that `second_looks.judge` names; None where it names none.

    Raises:
        UnknownPrice, NoKey: as for the panel.
    """
    if settings.second_looks.judge is None:
        return None
    judge = next(j for j in settings.judges.judges if j.name == settings.second_looks.judge)
    return (
        SimulatedLooker(judge, kind) if judge.backend == "simulated" else LlmLooker(judge, settings, lake, kind, stage)
    )


class SimulatedLooker:
    """Goes by the finding's strength alone: it stands for a judge where all people and judges are simulated."""

    def __init__(self, judge: Judge, kind: str):
        self.judge, self.kind = judge, kind
        self.ends: dict[str, Counter[str]] = {judge.name: Counter()}

    def estimate(self, findings: Sequence[Suspect]) -> None:
        """Nothing: nobody is paid."""

    def look(self, findings: Sequence[Suspect]) -> list[dict[str, Any]]:
        """See `SecondLooker.look`."""
        strong, weak = ("contaminated", "false_positive") if self.kind == "overlap" else ("direct", "none")
        least = 13 if self.kind == "overlap" else 2
        self.ends[self.judge.name]["ok"] += len(findings)
        return [
            {"judge": self.judge.name, "status": "ok", "request_key": "", "cost_micros": 0, "simulated": True,
             "verdict": strong if f.weight >= least else weak}
            for f in findings
        ]  # fmt: skip


class LlmLooker:
    """A language model, asked through the same store, budget and retries as all judges.

    Args:
        judge: its configuration.
        settings: the budget.
        lake: where calls are stored.
        kind: of the findings.
        stage: what the ledger calls this use.
    """

    def __init__(self, judge: Judge, settings: Settings, lake: Lake, kind: str, stage: str):
        from resources.judges import guideline
        from resources.llm.payer import account
        from resources.llm.policy import Policy
        from resources.llm.providers import provider

        self.judge, self.lake, self.answers = judge, lake, ANSWERS[kind]
        self.policy, self.provider = Policy.of(judge), provider(judge)
        self.payer = account(judge, settings, stage, judge.name)
        self.instruction = guideline.load().texts[kind]
        self.ends: dict[str, Counter[str]] = {judge.name: Counter()}

    def _requests(self, findings: Iterable[Suspect]):
        effort = self.judge.efforts[0] if self.judge.efforts else ""
        for f in findings:
            prompt = look_prompt(self.instruction, f.quoted)
            yield self.provider.request(prompt, self.answers, self.judge, 0, effort)

    def estimate(self, findings: Sequence[Suspect]) -> "Bill":
        """See `SecondLooker.estimate`: from some of the prompts."""
        from resources.llm.bill import SAMPLE, bill

        some = findings[:: -(-len(findings) // SAMPLE) or 1]
        with store(self.lake) as calls:
            found = bill(self._requests(some), self.provider, self.payer, calls, self.judge.execution == "batch")
        return found.times(len(findings), len(some))

    def look(self, findings: Sequence[Suspect]) -> list[dict[str, Any]]:
        """See `SecondLooker.look`.

        Raises:
            BudgetExceeded, Unavailable, Unusable: nothing that was answered is lost.
            Pending: answers are in batches that have not ended; all of them have been sent.
        """
        from resources.llm import batch_calls, online_calls
        from resources.llm.batch_calls import Pending

        rows, pending = [], None
        with store(self.lake) as calls:
            for start in range(0, len(findings), CHUNK):
                requests = list(self._requests(findings[start : start + CHUNK]))
                common = (requests, self.answers, self.provider, self.payer, calls)
                try:
                    if self.judge.execution == "batch":
                        outcomes = batch_calls.complete(*common, self.policy)
                    else:
                        outcomes = online_calls.complete(*common, self.judge.concurrency, self.policy)
                except Pending as e:
                    pending = e
                    continue
                for r in requests:
                    outcome = outcomes[r.key]
                    verdict = outcome.answer.verdict if isinstance(outcome.answer, self.answers) else ""
                    rows.append({"judge": self.judge.name, "status": outcome.status, "request_key": r.key,
                                 "cost_micros": outcome.cost_micros, "simulated": False, "verdict": verdict})  # fmt: skip
                    self.ends[self.judge.name][outcome.status] += 1
        if pending:
            raise pending
        return rows
