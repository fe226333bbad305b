"""Batches at the providers: half the price, up to a day. A protocol each; the state machine is in `batch`."""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from resources.llm.providers import TIMEOUT, Anthropic, Failure, OpenAI, Provider


@dataclass(frozen=True)
class Line:
    """How one request of a batch ended: `body` as from an on-line call where status is 'answered', else '' and
    expired, cancelled or error."""

    key: str
    status: str
    body: bytes = b""
    error: str = ""


class Batches(Protocol):
    limit: int  # requests in one batch
    limit_bytes: int  # below what the provider takes by more than one request

    def submit(self, client, name: str, requests: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
        """Send (key, body) pairs once, without a retry; returns the provider's id. Raises Failure."""

    def find(self, client, name: str, count: int, since: float, taken: frozenset[str]) -> str | None:
        """The id of a batch that was sent although no answer came: made since then (Unix seconds) and not among
        `taken`."""

    def ended(self, client, batch: str) -> bool: ...

    def results(self, client, batch: str) -> Iterator[Line]:
        """Lines in any order; some may be missing, repeated, or nobody's."""


def batches(provider: Provider) -> Batches:
    return {"openai": OpenAIBatches, "anthropic": AnthropicBatches}[provider.name](provider)


class OpenAIBatches:
    limit, limit_bytes = 50_000, 150_000_000
    path = "/v1/chat/completions"

    def __init__(self, provider: OpenAI):
        self.provider = provider

    def connect(self):
        import openai

        p = self.provider
        return openai.OpenAI(api_key=p.key(), base_url=p.base_url or None, max_retries=0, timeout=TIMEOUT)

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        import openai

        with self.provider.failures(openai):
            yield

    def submit(self, client, name: str, requests: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
        lines = (
            json.dumps({"custom_id": key, "method": "POST", "url": self.path, "body": body}) for key, body in requests
        )
        with self._failures():
            # A file that is uploaded twice costs nothing; the create is what must not be repeated.
            file = client.files.create(file=(f"{name}.jsonl", "\n".join(lines).encode()), purpose="batch")
            return client.batches.create(
                input_file_id=file.id, endpoint=self.path, completion_window="24h", metadata={"assay": name}
            ).id

    def find(self, client, name: str, count: int, since: float, taken: frozenset[str]) -> str | None:
        with self._failures():
            for found in client.batches.list(limit=100):
                if (found.metadata or {}).get("assay") == name:
                    return found.id
                if found.created_at < since - 3600:  # newest first
                    return None
        return None

    def ended(self, client, batch: str) -> bool:
        with self._failures():
            return client.batches.retrieve(batch).status in ("completed", "failed", "expired", "cancelled")

    def results(self, client, batch: str) -> Iterator[Line]:
        with self._failures():
            found = client.batches.retrieve(batch)
            # An expired or cancelled batch has the answers it got to: they were paid for.
            files = [client.files.content(f).content for f in (found.output_file_id, found.error_file_id) if f]
        for text in files:
            yield from filter(None, map(self._line, text.splitlines()))

    @staticmethod
    def _line(text: bytes) -> Line | None:
        try:
            row = json.loads(text)
            key, response, error = str(row["custom_id"]), row.get("response") or {}, row.get("error") or {}
        except (ValueError, KeyError, TypeError, AttributeError):
            return None  # whose line it was cannot be known; its request counts as missing
        if response.get("status_code") == 200:
            return Line(key, "answered", json.dumps(response["body"]).encode())
        if error.get("code") == "batch_expired":
            return Line(key, "expired", error=str(error.get("message", "")))
        status = "cancelled" if error.get("code") == "batch_cancelled" else "error"
        return Line(key, status, error=json.dumps(error or response)[:500])


class AnthropicBatches:
    limit, limit_bytes = 100_000, 200_000_000

    def __init__(self, provider: Anthropic):
        self.provider = provider

    def connect(self):
        import anthropic

        p = self.provider
        return anthropic.Anthropic(api_key=p.key(), base_url=p.base_url or None, max_retries=0, timeout=TIMEOUT)

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        import anthropic

        with self.provider.failures(anthropic):
            yield

    def submit(self, client, name: str, requests: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
        with self._failures():
            return client.messages.batches.create(
                requests=[{"custom_id": key, "params": body} for key, body in requests]
            ).id

    def find(self, client, name: str, count: int, since: float, taken: frozenset[str]) -> str | None:
        """Batches carry no name here: one of the right size, made after we began, that no other of ours is.

        Raises:
            Failure: several fit; a person has to look.
        """
        fitting = []
        with self._failures():
            for found in client.messages.batches.list(limit=100):
                if found.created_at.timestamp() < since - 60:  # newest first
                    break
                counts = found.request_counts
                size = sum((counts.processing, counts.succeeded, counts.errored, counts.canceled, counts.expired))
                if size == count and found.id not in taken:
                    fitting.append(found.id)
        if len(fitting) > 1:
            raise Failure(f"batches {', '.join(fitting)} could each be the one that was sent; cancel the wrong ones", 0)
        return fitting[0] if fitting else None

    def ended(self, client, batch: str) -> bool:
        with self._failures():
            return client.messages.batches.retrieve(batch).processing_status == "ended"

    def results(self, client, batch: str) -> Iterator[Line]:
        names = {"canceled": "cancelled", "expired": "expired"}
        with self._failures():
            for row in client.messages.batches.results(batch):
                if row.result.type == "succeeded":
                    yield Line(row.custom_id, "answered", row.result.message.to_json(indent=None).encode())
                else:
                    error = row.result.to_json(indent=None)[:500]
                    yield Line(row.custom_id, names.get(row.result.type, "error"), error=error)
