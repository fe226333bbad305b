"""The panel of judges behind one interface: simulated, recorded, OpenAI-compatible and Anthropic."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from curation.tables import JUDGE_VOTES
from resources.lake import Lake
from resources.settings import Judge, Settings
from resources.stops import Stop

if TYPE_CHECKING:
    from resources.llm.bill import Bill

VOTE_SCHEMA = JUDGE_VOTES.schema


class JudgeBackend(Protocol):
    judge: Judge

    def estimate(self, targets: pa.Table, examples: pa.Table) -> "Bill | None":
        """What `vote` is expected to cost; None for a judge that is never paid."""

    def vote(self, targets: pa.Table, examples: pa.Table) -> pa.Table:
        """Votes on every target.

        Args:
            targets: pair_id, comparison_id, conversation, chosen, rejected and the five attributes; one row a pair.
            examples: target_pair, rank, gold_pair, similarity, conversation, chosen, rejected (in the human order),
                category, objectivity, controversiality.

        Returns:
            Rows of `judge_votes`, at least one for each target; a judge without an answer says why in `status`.
        """


def panel(settings: Settings, lake: Lake, stage: str = "judges") -> list[JudgeBackend]:
    """The configured judges.

    Args:
        settings: the configuration.
        lake: holds recorded answers' texts and the store of calls.
        stage: name under which the ledger keeps their calls, such as `judge_votes/iter_01`.

    Raises:
        UnknownPrice: a model without a price.
        NoKey: a key that is not in the environment.
    """
    return [_backend(judge, settings, lake, stage) for judge in settings.judges.judges]


def ask(backends: Sequence[JudgeBackend], targets: pa.Table, examples: pa.Table) -> list[pa.Table | Stop]:
    """What each judge votes, or what stopped it, in the order of the judges: the same as asked one after the other.

    Judges that answer at once from a server wait for it side by side. Where one stops, the others go on: what they
    answer is stored for the next run.
    """
    from resources.llm.call_store import BudgetExceeded
    from resources.llm.interrupts import orderly

    def vote(backend: JudgeBackend) -> pa.Table | Stop:
        try:
            return backend.vote(targets, examples)
        except Stop as e:
            return e

    waiting = [b for b in backends if b.judge.backend in ("openai", "anthropic") and b.judge.execution == "online"]
    with orderly(), ThreadPoolExecutor(max_workers=max(1, len(waiting)), thread_name_prefix="judge") as pool:
        begun = {b.judge.name: pool.submit(vote, b) for b in waiting}
        found = [begun[b.judge.name].result() if b.judge.name in begun else vote(b) for b in backends]
        # What another had reserved for calls on their way may be free again.
        for i, (backend, made) in enumerate(zip(backends, found, strict=True)):
            if len(waiting) > 1 and isinstance(made, BudgetExceeded):
                found[i] = pool.submit(vote, backend).result()
    return found


def _backend(judge: Judge, settings: Settings, lake: Lake, stage: str) -> JudgeBackend:
    match judge.backend:
        case "simulated":
            from simulation.annotators import SimulatedJudge

            return SimulatedJudge(judge, settings, lake)
        case "recorded":
            from resources.judges.recorded_judge import RecordedJudge

            return RecordedJudge(judge, lake)
        case _:
            from resources.judges.llm_judge import LlmJudge

            return LlmJudge(judge, settings, lake, stage)
