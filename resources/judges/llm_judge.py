"""A judge that is a language model: prompts out, verdicts back, both orders."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from curation.identity import lot
from curation.prompts import Example, JudgeAnswer, judge_prompt
from curation.verdicts import mapped_back
from resources.judges import guideline
from resources.lake import Lake
from resources.llm import batch_calls as batch
from resources.llm.batch_calls import Pending
from resources.llm.bill import SAMPLE, Bill, bill
from resources.llm.call_store import Request, Store, store
from resources.llm.online_calls import complete
from resources.llm.payer import account
from resources.llm.policy import Outcome, Policy
from resources.llm.providers import provider
from resources.settings import Judge, Settings

CHUNK = 2000  # targets whose prompts are in memory at once, and in one batch
CHUNK_BYTES = 256 << 20  # of their texts and their examples' in all samples; the prompts take a few times as much


@dataclass(frozen=True)
class _Asked:
    """One request, what varied in it, and what is needed to read its answer back."""

    pair_id: str
    replicate: int
    chosen_first: bool
    wording: str
    effort: str
    examples: list[str]
    places: list[str]
    request: Request


class LlmJudge:
    """One judge of the panel.

    Args:
        judge: its configuration.
        settings: seed and budget.
        lake: where calls are stored.
        stage: what the ledger calls this use.
        policy: how failures are met.
    """

    def __init__(self, judge: Judge, settings: Settings, lake: Lake, stage: str = "", policy: Policy | None = None):
        self.judge, self.settings, self.lake = judge, settings, lake
        self.policy = policy or Policy.of(judge)
        self.provider = provider(judge)
        self.payer = account(judge, settings, stage, judge.name)
        self.guideline = guideline.load()

    def vote(self, targets: pa.Table, examples: pa.Table) -> pa.Table:
        """Ask about every target, `judge.samples` times; see `resources.judges.JudgeBackend`.

        Raises:
            BudgetExceeded, Unavailable: see `online.complete`; nothing that was answered is lost.
            Pending: see `batch.complete`; run again later.
        """
        from resources.judges import VOTE_SCHEMA

        parts, pending = [], None
        with store(self.lake) as calls:
            for chunk, near in self._chunks(targets, examples):
                asked = list(self._ask(chunk, near))
                try:
                    outcomes = self._complete([a.request for a in asked], calls)
                except Pending as e:
                    pending = e  # the other chunks are to be sent before anybody waits
                    continue
                rows = [self._vote(a, outcomes[a.request.key]) for a in asked]
                parts.append(pa.Table.from_pylist(rows, schema=VOTE_SCHEMA))
        if pending:
            raise pending
        return pa.concat_tables(parts) if parts else VOTE_SCHEMA.empty_table()

    def _chunks(self, targets: pa.Table, examples: pa.Table) -> Iterator[tuple[pa.Table, pa.Table]]:
        """Targets and their examples, as many at once as CHUNK and CHUNK_BYTES allow, and at least one."""
        start, size = 0, CHUNK
        while start < targets.num_rows:
            chunk = targets.slice(start, size)
            near = _near(examples, chunk)
            if chunk.num_rows > 1 and (chunk.nbytes + near.nbytes) * self.judge.samples > CHUNK_BYTES:
                size = chunk.num_rows // 2
                continue
            yield chunk, near
            start, size = start + chunk.num_rows, CHUNK

    def estimate(self, targets: pa.Table, examples: pa.Table) -> Bill:
        """What `vote` is expected to cost, from the prompts of some of the targets."""
        some = targets.take(pa.array(range(0, targets.num_rows, -(-targets.num_rows // SAMPLE) or 1), pa.int64()))
        asked = self._ask(some, _near(examples, some))
        with store(self.lake) as calls:
            found = bill((a.request for a in asked), self.provider, self.payer, calls, self.judge.execution == "batch")
        return found.times(targets.num_rows, some.num_rows)

    def _complete(self, requests: list[Request], calls: Store) -> dict[str, Outcome]:
        common = (requests, JudgeAnswer, self.provider, self.payer, calls)
        if self.judge.execution == "batch":
            return batch.complete(*common, self.policy)
        return complete(*common, self.judge.concurrency, self.policy)

    def _ask(self, targets: pa.Table, examples: pa.Table) -> Iterator[_Asked]:
        near = defaultdict(list)
        for e in examples.sort_by([("target_pair", "ascending"), ("rank", "ascending")]).to_pylist():
            near[e["target_pair"]].append(e)
        tools = frozenset({"search"} if self.judge.browsing else ())
        wordings = self.guideline.wordings
        for t in targets.to_pylist():
            shown = near[t["pair_id"]][: self.settings.judges.examples]
            for replicate in range(self.judge.samples):
                # Two samples, one in each order, differ in nothing else; the next two differ from them in the rest,
                # since not every model has a temperature.
                version = replicate // 2
                chosen_first = self._drawn(t["pair_id"]) % 2 == (replicate % 2)
                candidates = (t["chosen"], t["rejected"]) if chosen_first else (t["rejected"], t["chosen"])
                wording = wordings[version % len(wordings)]
                effort = self.judge.efforts[version % len(self.judge.efforts)] if self.judge.efforts else ""
                if version:
                    shown = sorted(shown, key=lambda e: self._drawn(t["pair_id"], e["gold_pair"], "rank", version))
                examples = [
                    Example(
                        e["conversation"],
                        e["chosen"],
                        e["rejected"],
                        e,
                        self._drawn(t["pair_id"], e["gold_pair"], version) % 2 == 0,
                    )
                    for e in shown
                ]
                prompt = judge_prompt(self.guideline.texts, t["conversation"], candidates, t, examples, tools, wording)
                yield _Asked(
                    t["pair_id"],
                    replicate,
                    chosen_first,
                    wording,
                    effort,
                    [e["gold_pair"] for e in shown],
                    ["candidate_1" if e.first_is_better else "candidate_2" for e in examples],
                    self.provider.request(prompt, JudgeAnswer, self.judge, replicate, effort),
                )

    def _drawn(self, *about: object) -> int:
        """A number below 2^64, the same in every run."""
        name = "\0".join(map(str, (self.settings.seed, self.judge.name, *about)))
        return lot(name)

    def _vote(self, asked: _Asked, outcome: Outcome) -> dict:
        answer = outcome.answer.verdict if isinstance(outcome.answer, JudgeAnswer) else ""
        return {
            "pair_id": asked.pair_id,
            "judge": self.judge.name,
            "model": self.judge.model,
            "replicate": asked.replicate,
            "shown_first": "chosen" if asked.chosen_first else "rejected",
            "wording": asked.wording,
            "effort": asked.effort,
            "answer": answer,
            "vote": mapped_back(answer, asked.chosen_first),
            "status": outcome.status,
            "examples": asked.examples,
            "example_places": asked.places,
            "prompt_version": self.guideline.judge_version,
            "request_key": asked.request.key,
            "cost_micros": outcome.cost_micros,
            "simulated": False,
        }


def _near(examples: pa.Table, targets: pa.Table) -> pa.Table:
    """The examples of these targets."""
    near = pa.array(targets["pair_id"].to_pylist(), pa.string())  # typed: there may be none
    return examples.filter(pc.field("target_pair").isin(near))
