"""The one door for what comes from a provider: every answer, usage, error and header is read here and nowhere else.

Each reader takes anything. It accepts what it knows, corrects what it can with a note, and gives the rest a name; none
of them raises on what it reads, and none takes longer than the text is long.
"""

import contextlib
import email.utils
import json
import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from curation.prompts import parse
from resources.llm.prices import Rates, Usage, cost_micros

MOST_TOKENS = 10_000_000  # no model reads or writes as many in one call: a higher count is none
WORDS = 300  # characters of a server's message that are repeated


@dataclass(frozen=True)
class Reply:
    """A body as read.

    Attributes:
        status: ok, refused, truncated, unparsable (an answer that holds no text), or error where the body is no answer.
        text: of the answer.
        usage: tokens as the provider counted them; None where there is no count that can be one.
        note: what was wrong with the body, or had to be corrected in it.
    """

    status: str
    text: str
    usage: Usage | None
    note: str = ""


@dataclass(frozen=True)
class Ending:
    """How a call ended, from its body.

    Attributes:
        cost: micro-dollars.
        at_risk: what was reserved may have been charged.
        note: what was odd.
        said: the beginning of the model's text.
    """

    status: str
    answer: BaseModel | None
    cost: int
    at_risk: bool
    note: str
    said: str = ""


def ending(
    reply: Reply, question: type[BaseModel], price: Rates, reserve: int, batch: bool = False, note: str = ""
) -> Ending:
    """What a reply is worth and what it costs.

    A count that is missing, impossible or had to be corrected costs what was reserved, never nothing: nobody knows
    better. A count that can be one is charged in full, above the reservation too, and the note says so.

    Args:
        reserve: micro-dollars, the most the call can have cost.
        note: what is known beside the reply.
    """
    if reply.status == "error":
        return Ending("error", None, 0, True, reply.note)
    notes = [n for n in (reply.note, note) if n]
    if reply.usage is None:
        cost = reserve
        notes.append(f"counted at the most it can have cost, {reserve} micro-dollars")
    else:
        cost = cost_micros(reply.usage, price, batch)
        if cost > reserve and reply.note:
            cost = reserve
        elif cost > reserve:
            notes.append(f"cost {cost} micro-dollars, above the {reserve} it was bound to")
    status, answer = answered(reply, question)
    return Ending(status, answer, cost, False, "; ".join(notes), clean(reply.text, 120))


def answered(reply: Reply, question: type[BaseModel]) -> tuple[str, BaseModel | None]:
    """Status and answer of a reply."""
    if reply.status != "ok":
        return reply.status, None
    found = parse(reply.text, question)
    return (found, None) if isinstance(found, str) else ("ok", found)


# ---- bodies --------------------------------------------------------------------------------------------------------
def chat(raw: bytes) -> Reply:
    """A body of OpenAI's chat completions, as OpenAI and the servers that imitate it write it."""
    data = json_object(raw)
    if data is None or not isinstance(data.get("choices"), list):
        return Reply("error", "", None, f"not a chat completion: {words(raw)}")
    usage, note = chat_usage(data.get("usage"))
    choices = [c for c in data["choices"] if isinstance(c, dict) and isinstance(c.get("message"), dict)]
    choice = next((c for c in choices if c.get("index") == 0), choices[0] if choices else None)
    if choice is None:
        return Reply("error", "", None, f"no choice in it: {words(raw)}")
    finish, message = choice.get("finish_reason"), choice["message"]
    if finish == "error":  # a gateway's word for the failure of the service behind it
        return Reply("error", "", None, f"the service behind the server failed: {words(raw)}")
    text, refusal = joined(message.get("content")), joined(message.get("refusal"))
    if refusal or finish == "content_filter":
        return Reply("refused", refusal or text or "", usage, note)
    return Reply("truncated" if finish == "length" else "unparsable" if text is None else "ok", text or "", usage, note)


def message(raw: bytes) -> Reply:
    """A body of Anthropic's messages."""
    data = json_object(raw)
    if data is None or data.get("type") == "error" or not isinstance(data.get("content"), list | str):
        return Reply("error", "", None, f"not a message: {words(raw)}")
    usage, note = message_usage(data.get("usage"))
    stop, text = data.get("stop_reason"), joined(data["content"])
    if stop == "refusal":
        return Reply("refused", text or "", usage, note)
    if stop in ("max_tokens", "model_context_window_exceeded"):
        return Reply("truncated", text or "", usage, note)
    return Reply("unparsable" if text is None else "ok", text or "", usage, note)


def joined(content: object) -> str | None:
    """The text of a content, or None where it is none. Of a list of parts the parts of text count; what a model thought
    does not."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        return None
    parts = [
        part if isinstance(part, str) else part.get("text")
        for part in content
        if isinstance(part, str) or (isinstance(part, dict) and part.get("type", "text") in ("text", "output_text"))
    ]
    return "".join(p for p in parts if isinstance(p, str))


# ---- usage ---------------------------------------------------------------------------------------------------------
def tokens(value: object) -> int | None:
    """A count of tokens, or None where the value can be none."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,12}", value.strip()):
        value = int(value)
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_TOKENS:
        return None
    return value


def chat_usage(counted: object) -> tuple[Usage | None, str]:
    """Usage and what is odd about it: prompt_tokens include the cached ones, completion_tokens the reasoning."""
    found, no = _counts(counted, "prompt_tokens", "completion_tokens")
    if found is None:
        return None, no
    read, output = found
    if not read:
        return None, "the usage counts no token of the prompt"
    cached, note = _part(_mapping(_mapping(counted).get("prompt_tokens_details")).get("cached_tokens"), "cached_tokens")
    if cached > read:
        # who counts them so has them beside the others
        return Usage(input=read, cached_input=cached, output=output), "more tokens cached than in the prompt"
    return Usage(input=read - cached, cached_input=cached, output=output), note


def message_usage(counted: object) -> tuple[Usage | None, str]:
    """Usage and what is odd about it: input_tokens exclude what was read from or written to the cache."""
    found, no = _counts(counted, "input_tokens", "output_tokens")
    if found is None:
        return None, no
    about = _mapping(counted)
    cached, note = _part(about.get("cache_read_input_tokens"), "cache_read_input_tokens")
    written, note2 = _part(about.get("cache_creation_input_tokens"), "cache_creation_input_tokens")
    hour, note3 = _part(_mapping(about.get("cache_creation")).get("ephemeral_1h_input_tokens"), "ephemeral_1h")
    notes = [n for n in (note, note2, note3) if n]
    if hour > written:
        notes.append("more tokens written to the cache of an hour than to any")
    usage = Usage(found[0], cached, max(0, written - hour), hour, found[1])
    return (usage, "; ".join(notes)) if usage.read else (None, "the usage counts no token of the prompt")


def _counts(counted: object, *names: str) -> tuple[list[int] | None, str]:
    if not isinstance(counted, dict):
        return None, "no usage" if counted is None else f"the usage is no object: {_short(counted)}"
    found = [tokens(counted.get(n)) for n in names]
    bad = [f"{n} = {_short(counted.get(n))}" for n, value in zip(names, found, strict=True) if value is None]
    return ([f for f in found if f is not None], "") if not bad else (None, f"no count of tokens: {', '.join(bad)}")


def _part(value: object, name: str) -> tuple[int, str]:
    """A count that may be left out, and what is odd about it."""
    found = 0 if value is None else tokens(value)
    return (found, "") if found is not None else (0, f"no count of tokens: {name} = {_short(value)}")


# ---- errors, headers, records --------------------------------------------------------------------------------------
def json_object(raw: bytes | str) -> dict[str, Any] | None:
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def words(raw: bytes) -> str:
    """What a server says in a body, on one line: its error's message, else the body's beginning."""
    said: object = error_of(json_object(raw[:1_000_000]) or {})[1]
    return clean(said if isinstance(said, str) and said else raw[: 4 * WORDS].decode(errors="replace"))


def error_of(data: Mapping[str, Any]) -> tuple[str, str]:
    """(code, message) of the error that an object tells of; each '' where there is none."""
    error = data.get("error", data)
    if isinstance(error, str):
        return "", clean(error)
    about = _mapping(error)
    if isinstance(about.get("error"), dict):  # Anthropic's lines of a batch hold an error within the error
        about = about["error"]
    code = about.get("code") or about.get("type")
    said = about.get("message") or about.get("detail")
    return (
        clean(code) if isinstance(code, str) else "",
        clean(said) if isinstance(said, str) else "" if said is None else clean(_short(said)),
    )


def clean(text: str, most: int = WORDS) -> str:
    """Text on one line without control characters, cut."""
    text = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]+", " ", text[: 4 * most])
    text = re.sub(r" {2,}", " ", text).strip()
    return text if len(text) <= most else text[: most - 1] + "…"


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds a server asks to wait: `retry-after-ms`, or `retry-after` in seconds or as a date. None where it does not
    say; whoever waits cuts it."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        with contextlib.suppress(KeyError, ValueError):
            seconds = float(headers[name]) / unit
            if math.isfinite(seconds):
                return max(0.0, seconds)
    with contextlib.suppress(KeyError, ValueError, OverflowError, TypeError, IndexError):
        if parsed := email.utils.parsedate_tz(headers["retry-after"]):
            return max(0.0, email.utils.mktime_tz(parsed) - time.time())
    return None


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _short(value: object) -> str:
    try:
        return clean(json.dumps(value, ensure_ascii=False)[:200], 60)
    except (TypeError, ValueError, RecursionError):
        return type(value).__name__
