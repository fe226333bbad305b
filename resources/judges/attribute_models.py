"""Labellers of the five preference attributes: simulated, heuristic, OpenAI-compatible and Anthropic."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from curation.attributes import HEURISTIC_VERSION, heuristic, merge
from curation.prompts import AttributeAnswer, attribute_prompt
from curation.tables import ATTRIBUTES
from resources.lake import Lake
from resources.llm.call_store import Request, store
from resources.settings import AttributeModel, Settings

if TYPE_CHECKING:
    from resources.llm.bill import Bill

SCHEMA = ATTRIBUTES.schema


class Labeller(Protocol):
    @property
    def ends(self) -> Mapping[str, Mapping[str, int]]:
        """How the requests of each paid model have ended so far: model -> status -> how many."""

    def estimate(self, some: pa.RecordBatch, pairs: int) -> "list[Bill]":
        """What so many pairs like these are expected to cost, a bill a paid model."""

    def label(self, pairs: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Attributes of every pair, blind to which response was chosen.

        Args:
            pairs: batches with pair_id, conversation, chosen and rejected.

        Returns:
            Batches of `attributes`, a row a pair. Where no usable answer came, category is `other`, objectivity and
            controversiality are `missing`, the texts empty and the agreement 0 (spec 1.01: never guessed).
        """


def labeller(settings: Settings, lake: Lake, stage: str = "attributes") -> Labeller:
    """The configured labeller, or the merged answers of several; `stage` is the ledger's name for their calls.

    Raises:
        UnknownPrice: a model without a price.
        NoKey: a key that is not in the environment.
    """
    made = {m.label: _one(m, settings, lake, stage) for m in settings.attributes.models}
    return Merged(made) if settings.attributes.panel else next(iter(made.values()))


def _one(model: AttributeModel, settings: Settings, lake: Lake, stage: str) -> Labeller:
    match model.backend:
        case "simulated":
            from simulation.annotators import SimulatedAttributes

            return SimulatedAttributes(model, settings, lake)
        case "heuristic":
            return HeuristicAttributes(model)
        case _:
            return LlmAttributes(model, settings, lake, stage)


def row(pair_id: str, name: str, answer: Mapping[str, str] | None, version: str, **more) -> dict:
    """A row of `attributes` from one labeller's answer; None where no usable one came."""
    made = {"pair_id": pair_id, "labeller": name if answer else "", "prompt_version": version, **merge({name: answer})}
    return made | {"votes": _json(made["votes"]), "cost_micros": 0, "simulated": False, **more}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


class Merged:
    """Several labellers, each on every pair, merged field by field."""

    def __init__(self, labellers: Mapping[str, Labeller]):
        self.labellers = labellers

    @property
    def ends(self) -> Mapping[str, Mapping[str, int]]:
        """See `Labeller.ends`."""
        return {who: its for one in self.labellers.values() for who, its in one.ends.items()}

    def estimate(self, some: pa.RecordBatch, pairs: int) -> "list[Bill]":
        """See `Labeller.estimate`."""
        return [bill for one in self.labellers.values() for bill in one.estimate(some, pairs)]

    def label(self, pairs: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """See `Labeller.label`; each labeller sees a batch before the next batch is read."""
        current: pa.RecordBatch | None = None

        def fed() -> Iterator[pa.RecordBatch]:
            while True:
                yield current

        answers = {name: one.label(fed()) for name, one in self.labellers.items()}
        for current in pairs:  # noqa: B007, read by `fed`
            parts = {name: next(answer).to_pylist() for name, answer in answers.items()}
            rows = [self._row(dict(zip(parts, same, strict=True))) for same in zip(*parts.values(), strict=True)]
            yield pa.RecordBatch.from_pylist(rows, SCHEMA)

    @staticmethod
    def _row(given: Mapping[str, Mapping]) -> dict:
        merged = merge({name: r if r["labeller"] else None for name, r in given.items()})
        return {
            "pair_id": next(iter(given.values()))["pair_id"],
            **merged,
            "votes": _json(merged["votes"]),
            "labeller": " + ".join(name for name, r in given.items() if r["labeller"]),
            "prompt_version": " + ".join(dict.fromkeys(r["prompt_version"] for r in given.values())),
            "cost_micros": sum(r["cost_micros"] for r in given.values()),
            "simulated": any(r["simulated"] for r in given.values()),
        }


class HeuristicAttributes:
    """Keyword rules over the conversation: no model, no network, rough."""

    ends: Mapping[str, Mapping[str, int]] = {}

    def __init__(self, model: AttributeModel):
        self.model = model

    def estimate(self, some: pa.RecordBatch, pairs: int) -> "list[Bill]":
        """Nothing: no model is asked."""
        return []

    def label(self, pairs: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """See `Labeller.label`; the responses are not read."""
        for batch in pairs:
            asked = zip(batch["pair_id"].to_pylist(), batch["conversation"].to_pylist(), strict=True)
            rows = [row(pair, self.model.label, heuristic(turns), HEURISTIC_VERSION) for pair, turns in asked]
            yield pa.RecordBatch.from_pylist(rows, SCHEMA)


class LlmAttributes:
    """A language model reads the conversation and both responses, in an order that does not depend on the label."""

    def __init__(self, model: AttributeModel, settings: Settings, lake: Lake, stage: str = "attributes"):
        from resources.judges import guideline
        from resources.llm.payer import account
        from resources.llm.policy import Policy
        from resources.llm.providers import provider

        self.model, self.lake = model, lake
        self.provider = provider(model)
        self.payer = account(model, settings, stage, model.label)
        self.guideline = guideline.load()
        self.policy = Policy.of(model)
        self.ends: dict[str, Counter[str]] = {model.label: Counter()}

    def requests(self, batch: pa.RecordBatch) -> dict[str, Request]:
        """Pair -> what is asked about it; a pair and its swap ask the same."""
        columns = (batch[c].to_pylist() for c in ("pair_id", "conversation", "chosen", "rejected"))
        return {
            pair: self.provider.request(
                attribute_prompt(self.guideline.texts, conversation, (chosen, rejected)),
                AttributeAnswer,
                self.model,
                replicate=0,
            )
            for pair, conversation, chosen, rejected in zip(*columns, strict=True)
        }

    def estimate(self, some: pa.RecordBatch, pairs: int) -> "list[Bill]":
        """See `Labeller.estimate`."""
        from resources.llm.bill import bill

        with store(self.lake) as calls:
            found = bill(self.requests(some).values(), self.provider, self.payer, calls)
        return [found.times(pairs, some.num_rows)]

    def label(self, pairs: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """See `Labeller.label`.

        Raises:
            BudgetExceeded, Unavailable, Unusable: nothing that was answered is lost.
        """
        from resources.llm.online_calls import complete

        charged: set[bytes] = set()  # a request that several pairs share is paid once
        with store(self.lake) as calls:
            for batch in pairs:
                requests = self.requests(batch)
                outcomes = complete(
                    requests.values(),
                    AttributeAnswer,
                    self.provider,
                    self.payer,
                    calls,
                    self.model.concurrency,
                    self.policy,
                )
                rows = []
                for pair, request in requests.items():
                    outcome, key = outcomes[request.key], bytes.fromhex(request.key)
                    self.ends[self.model.label][outcome.status] += 1
                    answer = outcome.answer.model_dump() if outcome.answer else None
                    cost = 0 if key in charged else outcome.cost_micros
                    rows.append(row(pair, self.model.label, answer, self.guideline.attribute_version, cost_micros=cost))
                    charged.add(key)
                yield pa.RecordBatch.from_pylist(rows, SCHEMA)
