"""Batches at the providers: half the price, up to a day. A protocol each; the state machine is in `batch_calls`.

What comes back is read like every other answer: whatever it is, it is taken, or named, and raises nothing. Only paths
below the configured address are asked, never an address that an answer gives.
"""

import contextlib
import datetime
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

from resources.llm.providers import Anthropic, OpenAI
from resources.llm.replies import clean, error_of, json_object, tokens, words
from resources.llm.wire import Failure, SyncWire

WINDOW = 86_400.0  # seconds by which the provider's clock and ours may differ when a batch is looked for
PAGES = 50  # of a list of batches


@dataclass(frozen=True)
class Line:
    """How one request of a batch ended: `body` as from a call made now where status is 'answered', else '' and expired,
    cancelled or error."""

    key: str
    status: str
    body: bytes = b""
    error: str = ""


@dataclass(frozen=True)
class BatchState:
    """Where a batch stands.

    Attributes:
        state: open, ended, or failed as a whole.
        whole: the provider says that every request was worked on; else it may have let some expire.
        lines: how many results it says there are; None where it does not say.
        files: where they are.
        why: a batch that failed, in the provider's words.
        code: the provider's name for it.
    """

    state: str
    whole: bool = True
    lines: int | None = None
    files: tuple[str, ...] = ()
    why: str = ""
    code: str = ""


class Batches(Protocol):
    limit: int  # requests in one batch
    limit_bytes: int  # below what the provider takes by more than one request

    def submit(self, desk: SyncWire, name: str, requests: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
        """Send (key, body) pairs once, without a retry; returns the provider's id. Raises Failure."""

    def find(
        self, desk: SyncWire, name: str, keys: Collection[str], since: float, taken: Collection[str]
    ) -> tuple[str | None, str]:
        """The id of a batch that was sent although no answer came, or None; and why it cannot be told yet.

        Args:
            keys: of its requests.
            since: Unix seconds, about when it was sent by our clock.
            taken: ids of batches that are others.
        """

    def look(self, desk: SyncWire, batch: str) -> BatchState:
        """Raises Failure."""

    def results(self, desk: SyncWire, batch: str, standing: BatchState) -> Iterator[Line]:
        """Lines in any order; some may be missing, repeated, or nobody's. Raises Failure."""


def batches(provider: OpenAI | Anthropic) -> Batches:
    return {"openai": OpenAIBatches, "anthropic": AnthropicBatches}[provider.name]()


class OpenAIBatches:
    limit, limit_bytes = 50_000, 150_000_000
    path = "/v1/chat/completions"

    def submit(self, desk: SyncWire, name: str, requests: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
        """See `Batches.submit`."""
        lines = (
            json.dumps({"custom_id": key, "method": "POST", "url": self.path, "body": body}) for key, body in requests
        )
        # A file that is uploaded twice costs nothing; the create is what must not be repeated.
        try:
            file = _id(desk.upload("/files", f"{name}.jsonl", "\n".join(lines).encode(), purpose="batch").body)
        except Failure as e:
            raise Failure(f"the file was not taken: {e}", e.http, e.headers, e.code, sent=False) from None
        wanted = {"input_file_id": file, "endpoint": self.path, "completion_window": "24h", "metadata": {"assay": name}}
        return _id(desk.call("POST", "/batches", json.dumps(wanted).encode()).body)

    def find(
        self, desk: SyncWire, name: str, keys: Collection[str], since: float, taken: Collection[str]
    ) -> tuple[str | None, str]:
        """See `Batches.find`; batches carry our name here."""
        for found in _listed(desk, "/batches", "after"):
            about = found.get("metadata")
            if isinstance(about, dict) and about.get("assay") == name:
                return found["id"], ""
            made = tokens_or_none(found.get("created_at"))
            if made is not None and made < since - WINDOW:  # newest first
                break
        return None, ""

    def look(self, desk: SyncWire, batch: str) -> BatchState:
        """See `Batches.look`."""
        data = _object(desk.call("GET", f"/batches/{quote(batch, safe='')}").body)
        status, counts = data.get("status"), data.get("request_counts")
        if status == "failed":
            errors = data.get("errors")
            listed = errors.get("data") if isinstance(errors, dict) else None
            first = next((e for e in listed if isinstance(e, dict)), {}) if isinstance(listed, list) else {}
            code, said = error_of(first)
            why = ": ".join(t for t in (code, said) if t)
            return BatchState("failed", why=why or "the provider gave no reason", code=code)
        if status not in ("completed", "expired", "cancelled"):
            return BatchState("open")
        # An expired or cancelled batch has the answers it got to: they were paid for.
        files = (data.get("output_file_id"), data.get("error_file_id"))
        done = [tokens(counts.get(n)) for n in ("completed", "failed")] if isinstance(counts, dict) else [None]
        lines = sum(d for d in done if d is not None) if None not in done else None
        if status != "completed" and isinstance(counts, dict):
            lines = tokens(counts.get("completed"))
        return BatchState("ended", status == "completed", lines, tuple(f for f in files if isinstance(f, str) and f))

    def results(self, desk: SyncWire, batch: str, standing: BatchState) -> Iterator[Line]:
        """See `Batches.results`."""
        for file in standing.files:
            for text in desk.lines(f"/files/{quote(file, safe='')}/content"):
                if line := openai_line(text):
                    yield line


class AnthropicBatches:
    limit, limit_bytes = 100_000, 200_000_000
    path = "/v1/messages/batches"

    def submit(self, desk: SyncWire, name: str, requests: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
        """See `Batches.submit`."""
        wanted = {"requests": [{"custom_id": key, "params": body} for key, body in requests]}
        return _id(desk.call("POST", self.path, json.dumps(wanted).encode()).body)

    def find(
        self, desk: SyncWire, name: str, keys: Collection[str], since: float, taken: Collection[str]
    ) -> tuple[str | None, str]:
        """See `Batches.find`. Batches carry no name here: one of the right size, of about that time, that is no other of
        ours; where it has ended, one that holds our requests."""
        fitting, unknown = [], []
        for found in _listed(desk, self.path, "after_id"):
            made = _seconds(found.get("created_at"))
            if made is not None and made < since - WINDOW:  # newest first
                break
            size = _counted(found, "processing", "succeeded", "errored", "canceled", "expired")
            if found["id"] in taken or size not in (None, len(keys)):
                continue
            ours = None
            if found.get("processing_status") == "ended":
                with contextlib.suppress(Failure):  # what cannot be looked into may be ours
                    ours = any(line.key in keys for line in self.results(desk, found["id"], BatchState("ended")))
            if ours:
                fitting.append(found["id"])
            elif ours is None:
                unknown.append(found["id"])
        if fitting:
            return fitting[0], ""
        if len(unknown) > 1:
            listed = ", ".join(unknown[:5])
            return None, f"batches {listed} could each be the one that was sent; which it is shows when they have ended"
        return (unknown[0] if unknown else None), ""

    def look(self, desk: SyncWire, batch: str) -> BatchState:
        """See `Batches.look`."""
        data = _object(desk.call("GET", f"{self.path}/{quote(batch, safe='')}").body)
        if data.get("processing_status") != "ended":
            return BatchState("open")
        # Each request has a line here, an expired one too.
        return BatchState("ended", True, _counted(data, "succeeded", "errored", "canceled", "expired"))

    def results(self, desk: SyncWire, batch: str, standing: BatchState) -> Iterator[Line]:
        """See `Batches.results`."""
        for text in desk.lines(f"{self.path}/{quote(batch, safe='')}/results"):
            if line := anthropic_line(text):
                yield line


# ---- readers -------------------------------------------------------------------------------------------------------
def openai_line(text: bytes) -> Line | None:
    """A line of a results file; None where whose it is cannot be known."""
    row = json_object(text.removeprefix(b"\xef\xbb\xbf"))
    if row is None or not isinstance(key := row.get("custom_id"), str):
        return None
    response, error = row.get("response"), row.get("error")
    if isinstance(response, dict) and tokens(response.get("status_code")) == 200 and "body" in response:
        return Line(key, "answered", _bytes(response["body"]))
    code, said = error_of({"error": error}) if error else ("", "")
    if code == "batch_expired":
        return Line(key, "expired", error=said)
    status = "cancelled" if code == "batch_cancelled" else "error"
    body = response.get("body") if isinstance(response, dict) else None
    why = said or (words(_bytes(body)) if body is not None else clean(_bytes(response or error).decode()))
    return Line(key, status, error=": ".join(t for t in (code, why) if t))


def anthropic_line(text: bytes) -> Line | None:
    """A line of results; None where whose it is cannot be known."""
    row = json_object(text.removeprefix(b"\xef\xbb\xbf"))
    if row is None or not isinstance(key := row.get("custom_id"), str):
        return None
    result = row.get("result")
    if not isinstance(result, dict):
        return Line(key, "error", error=clean(_bytes(result).decode()))
    kind = result.get("type")
    if kind == "succeeded":
        return Line(key, "answered", _bytes(result.get("message")))
    names = {"canceled": "cancelled", "expired": "expired"}
    code, said = error_of(result)
    status = names.get(kind, "error") if isinstance(kind, str) else "error"
    return Line(key, status, error=": ".join(t for t in (code, said) if t) or status)


def tokens_or_none(value: object) -> float | None:
    """A time in Unix seconds, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
        return None
    return float(value)


def _seconds(value: object) -> float | None:
    """A time as ISO text in Unix seconds, or None."""
    try:
        return datetime.datetime.fromisoformat(str(value)).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def _counted(data: Mapping[str, Any], *names: str) -> int | None:
    counts = data.get("request_counts")
    found = [tokens(counts.get(n, 0)) for n in names] if isinstance(counts, dict) else [None]
    return None if None in found else sum(f for f in found if f is not None)


def _bytes(value: object) -> bytes:
    try:
        return json.dumps(value).encode()
    except (ValueError, RecursionError):
        return b""


def _object(raw: bytes) -> dict[str, Any]:
    data = json_object(raw)
    if data is None:
        raise Failure(f"no record of a batch: {words(raw)}", 0, sent=False)
    return data


def _id(raw: bytes) -> str:
    """Raises Failure, ambiguous: what was asked for may have been done."""
    data = json_object(raw) or {}
    if not isinstance(found := data.get("id"), str) or not re.fullmatch(r"[\w.:-]{1,200}", found):
        raise Failure(f"no id in the answer: {words(raw)}", 0)
    return found


def _listed(desk: SyncWire, path: str, after: str) -> Iterator[dict[str, Any]]:
    """Records of a list that have an id, page by page."""
    last = ""
    for _ in range(PAGES):
        data = _object(
            desk.call("GET", f"{path}?limit=100" + (f"&{after}={quote(last, safe='')}" if last else "")).body
        )
        page = data.get("data")
        rows: Iterable[object] = page if isinstance(page, list) else ()
        found = [r for r in rows if isinstance(r, dict) and isinstance(r.get("id"), str)]
        yield from found
        if data.get("has_more") is not True or not found or found[-1]["id"] == last:
            return
        last = found[-1]["id"]
