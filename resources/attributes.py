"""Labellers of the five preference attributes: simulated, heuristic, OpenAI-compatible and Anthropic."""

from collections.abc import Iterable, Iterator
from typing import Protocol

import pyarrow as pa

from curation.attributes import HEURISTIC_VERSION, MISSING, heuristic
from curation.prompts import AttributeAnswer, attribute_prompt

from .calls import store
from .lake import Lake
from .settings import Settings
from .tables import ATTRIBUTE_FIELDS, ATTRIBUTES

SCHEMA = ATTRIBUTES.schema


class Labeller(Protocol):
    def label(self, pairs: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Attributes of every pair, blind to which response was chosen.

        Args:
            pairs: batches with pair_id, conversation, chosen and rejected.

        Returns:
            Batches of `attributes`, a row a pair. Where no usable answer came, category is `other`, objectivity and
            controversiality are `missing`, the texts empty and the agreement 0 (spec 1.01: never guessed).
        """


def labeller(settings: Settings, lake: Lake, stage: str = "attributes") -> Labeller:
    """The configured labeller; `stage` is the ledger's name for its calls.

    Raises:
        UnknownPrice: a model without a price.
        ValueError: a key that is not in the environment.
    """
    match settings.attributes.backend:
        case "simulated":
            from .simulated import SimulatedAttributes

            return SimulatedAttributes(settings, lake)
        case "heuristic":
            return HeuristicAttributes()
        case _:
            return LlmAttributes(settings, lake, stage)


class HeuristicAttributes:
    """Keyword rules over the conversation: no model, no network, rough."""

    def label(self, pairs: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """See `Labeller.label`; the responses are not read."""
        for batch in pairs:
            rows = [
                {
                    "pair_id": pair,
                    **heuristic(conversation),
                    "labeller": "heuristic",
                    "prompt_version": HEURISTIC_VERSION,
                    "agreement": 1.0,
                    "simulated": False,
                }
                for pair, conversation in zip(
                    batch["pair_id"].to_pylist(), batch["conversation"].to_pylist(), strict=True
                )
            ]
            yield pa.RecordBatch.from_pylist(rows, SCHEMA)


class LlmAttributes:
    """A language model reads the conversation and both responses, in an order that does not depend on the label."""

    def __init__(self, settings: Settings, lake: Lake, stage: str = "attributes"):
        from .judges import guideline
        from .judges.account import account
        from .judges.providers import provider

        self.settings, self.lake = settings.attributes, lake
        self.provider = provider(self.settings.backend, self.settings.base_url, self.settings.api_key_env)
        self.payer = account(self.settings, settings, stage, "attributes")
        self.guideline = guideline.load()

    def label(self, pairs: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """See `Labeller.label`.

        Raises:
            BudgetExceeded, Unavailable: nothing that was answered is lost.
        """
        from .judges.online import complete

        with store(self.lake) as calls:
            for batch in pairs:
                columns = (batch[c].to_pylist() for c in ("pair_id", "conversation", "chosen", "rejected"))
                requests = {
                    pair: self.provider.request(
                        attribute_prompt(self.guideline.texts, conversation, (chosen, rejected)),
                        AttributeAnswer,
                        self.settings.model,
                        self.settings.max_output_tokens,
                        replicate=0,
                    )
                    for pair, conversation, chosen, rejected in zip(*columns, strict=True)
                }
                outcomes = complete(
                    requests.values(), AttributeAnswer, self.provider, self.payer, calls, self.settings.concurrency
                )
                rows = [self._row(pair, outcomes[r.key].answer) for pair, r in requests.items()]
                yield pa.RecordBatch.from_pylist(rows, SCHEMA)

    def _row(self, pair_id: str, answer: AttributeAnswer | None) -> dict:
        missing = {f.name: "" for f in ATTRIBUTE_FIELDS} | {
            "category": "other",
            "objectivity": MISSING,
            "controversiality": MISSING,
        }
        return {
            "pair_id": pair_id,
            **(answer.model_dump() if answer else missing),
            "labeller": f"{self.settings.backend}/{self.settings.model}",
            "prompt_version": self.guideline.attribute_version,
            "agreement": 1.0 if answer else 0.0,
            "simulated": False,
        }
