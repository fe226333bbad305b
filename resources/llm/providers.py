"""The two protocols that judges speak, through the providers' own SDKs.

A provider turns a prompt into a `Request`, sends its body, and reads a stored body back. Reading is pure: a store of
bodies can be read again by a later version without a call.
"""

import asyncio
import contextlib
import email.utils
import functools
import importlib
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import BaseModel

from curation.prompts import Prompt
from resources.llm.call_store import Request
from resources.llm.prices import Usage
from resources.settings import Called
from resources.stops import Stop

TIMEOUT = 600.0  # seconds for one answer; reasoning models take minutes


class NoKey(Stop):
    """The environment variable that should hold a key is not set; the message names it."""


class Failure(Exception):
    """A call that brought no answer.

    Attributes:
        http: status, 0 where none was received.
        headers: of the response, empty where there was none.
        retry_after: seconds the server asked to wait, None where it did not say.
        fatal: no call with these credentials and this model can succeed.
        transient: the same call may succeed later.
        ambiguous: the server may have worked, and charged, without our seeing the answer.
    """

    def __init__(self, message: str, http: int, headers: Mapping[str, str] | None = None, code: str = ""):
        super().__init__(message)
        self.http, self.headers = http, headers or {}
        self.retry_after = retry_after(self.headers)
        quota = "insufficient_quota" in (code, message) or "insufficient_quota" in message
        self.fatal = http in (401, 402, 403, 404) or quota
        self.transient = not self.fatal and (http in (0, 408, 409, 425, 429) or http >= 500)
        self.ambiguous = http in (0, 408, 504)


@dataclass(frozen=True)
class Reply:
    """A body as read: `status` is ok, refused or truncated; usage as the provider counted it."""

    status: str
    text: str
    usage: Usage


class Provider(Protocol):
    name: str
    sdk: str

    def request(
        self, prompt: Prompt, answer: type[BaseModel], called: Called, replicate: int, effort: str = ""
    ) -> Request:
        """The pure record of one call; `effort` is asked for where it is given."""

    def connect(self) -> contextlib.AbstractAsyncContextManager:
        """A client, to be closed after use."""

    async def send(self, client, request: Request) -> tuple[bytes, Mapping[str, str]]:
        """One call without the SDK's own retries: body and headers as received. The very bytes are sent that the
        request's key is the hash of.

        Raises:
            Failure: whatever else happened; its message holds no key.
        """

    def read(self, raw: bytes) -> Reply:
        """Raises ValueError where the body is not one of this protocol."""


def provider(backend: str, base_url: str | None, key_env: str | None) -> Provider:
    """The provider of a back end; its key is read from the environment when it connects.

    Raises:
        NoKey: the named environment variable is not set.
    """
    made = {"openai": OpenAI, "anthropic": Anthropic}[backend](base_url or "", key_env)
    made.key()
    return made


class _Base:
    default_env: str
    module: str
    path: str  # of the call, below the SDK's base URL

    def __init__(self, base_url: str, key_env: str | None):
        self.base_url = base_url.rstrip("/")
        self._env = key_env

    @functools.cached_property
    def sdk(self) -> str:
        from importlib.metadata import version

        return f"{self.module} {version(self.module)}"

    def key(self) -> str:
        name = self._env or self.default_env
        if value := os.environ.get(name):
            return value
        if self.base_url and self._env is None:
            return "none"  # a server of one's own asks for no key, the SDK for any
        raise NoKey(f"The environment variable {name} holds no key for {self.base_url or self.module}.")

    def client(self, sdk, kind: str):
        """The SDK's asynchronous client over aiohttp, which both SDKs offer: half the CPU of their default."""
        return getattr(sdk, kind)(
            api_key=self.key(),
            base_url=self.base_url or None,
            max_retries=0,
            timeout=TIMEOUT,
            http_client=sdk.DefaultAioHttpClient(),
        )

    async def send(self, client, request: Request) -> tuple[bytes, Mapping[str, str]]:
        """See `Provider.send`. The SDK's typed call would walk through every body and spell it anew."""
        import httpx2

        try:
            # the SDK's timeout is between two packets: a server that drips never meets it
            async with asyncio.timeout(TIMEOUT):
                with self.failures(importlib.import_module(self.module)):
                    response = await client.post(self.path, cast_to=httpx2.Response, content=request.wire)
                    return self.redact_body(response.content), response.headers
        except TimeoutError:
            raise Failure(f"no whole answer in {TIMEOUT:g} s", 0) from None

    @contextlib.contextmanager
    def failures(self, sdk) -> Iterator[None]:
        """Turns the SDK's exceptions, which carry the same names in both, into `Failure`."""
        try:
            yield
        except sdk.APIStatusError as e:
            detail = e.body if isinstance(e.body, dict) else {}
            detail = detail.get("error", detail)
            code = str(detail.get("code") or detail.get("type") or "") if isinstance(detail, dict) else ""
            text = e.response.text
            raise Failure(self.redact(text[:500]), e.status_code, e.response.headers, code) from None
        except sdk.APIConnectionError as e:  # timeouts included
            cause = f"{type(e).__name__}: {e.__cause__ or e}"
            raise Failure(self.redact(cause[:500]), 0) from None

    def redact_body(self, raw: bytes) -> bytes:
        """A body as received, without the key that a careless server repeats in it."""
        key = self.key().encode()
        return raw.replace(key, b"[key]") if len(key) > 7 and key in raw else raw

    def redact(self, text: str) -> str:
        """Text without the key, also where a server repeats a part of it."""
        text = text.replace(self.key(), "[key]") if len(self.key()) > 7 else text
        return re.sub(r"\b(sk|pk|key)-[\w*.-]{4,}", "[key]", text)


class OpenAI(_Base):
    """Chat completions: OpenAI itself and every server that speaks its protocol (vLLM, SGLang, llama.cpp, …)."""

    name, module, default_env = "openai", "openai", "OPENAI_API_KEY"
    path = "/chat/completions"

    def request(
        self, prompt: Prompt, answer: type[BaseModel], called: Called, replicate: int, effort: str = ""
    ) -> Request:
        body: dict[str, Any] = {
            "model": called.model,
            "messages": [
                {"role": "system", "content": prompt.system},
                {"role": "user", "content": prompt.user},
            ],
            "max_completion_tokens": called.max_output_tokens,
        }
        if called.structured:
            wanted = {"name": answer.__name__, "strict": True, "schema": schema(answer)}
            body["response_format"] = {"type": "json_schema", "json_schema": wanted}
        if effort:
            body["reasoning_effort"] = effort
        return Request(self.name, self.base_url, body | called.parameters, replicate)

    def connect(self):
        import openai

        return self.client(openai, "AsyncOpenAI")

    def read(self, raw: bytes) -> Reply:
        data = _object(raw)
        try:
            choice = data["choices"][0]
            message, counted = choice["message"], data.get("usage") or {}
            cached = (counted.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
            # prompt_tokens include the cached ones, completion_tokens the reasoning
            usage = Usage(
                input=int(counted.get("prompt_tokens", 0)) - cached,
                cached_input=cached,
                output=int(counted.get("completion_tokens", 0)),
            )
            text = message.get("content") or ""
            if message.get("refusal") or choice.get("finish_reason") == "content_filter":
                return Reply("refused", message.get("refusal") or text, usage)
            return Reply("truncated" if choice.get("finish_reason") == "length" else "ok", text, usage)
        except (KeyError, IndexError, TypeError, AttributeError) as e:
            raise ValueError(f"not a chat completion: {type(e).__name__} {e}") from e


class Anthropic(_Base):
    """Messages. The system part is marked for the provider's prompt cache: it repeats for a combination."""

    name, module, default_env = "anthropic", "anthropic", "ANTHROPIC_API_KEY"
    path = "/v1/messages"

    def request(
        self, prompt: Prompt, answer: type[BaseModel], called: Called, replicate: int, effort: str = ""
    ) -> Request:
        body: dict[str, Any] = {
            "model": called.model,
            "max_tokens": called.max_output_tokens,
            "system": [{"type": "text", "text": prompt.system, "cache_control": {"type": "ephemeral"}}],
            "messages": [{"role": "user", "content": prompt.user}],
        }
        config: dict[str, Any] = {"effort": effort} if effort else {}
        if called.structured:
            config["format"] = {"type": "json_schema", "schema": schema(answer)}
        if config:
            body["output_config"] = config
        return Request(self.name, self.base_url, body | called.parameters, replicate)

    def connect(self):
        import anthropic

        return self.client(anthropic, "AsyncAnthropic")

    def read(self, raw: bytes) -> Reply:
        data = _object(raw)
        try:
            counted = data["usage"]
            written = counted.get("cache_creation") or {}
            hour = written.get("ephemeral_1h_input_tokens") or 0
            # input_tokens exclude what was read from or written to the cache
            usage = Usage(
                input=counted["input_tokens"],
                cached_input=counted.get("cache_read_input_tokens") or 0,
                cache_write=(counted.get("cache_creation_input_tokens") or 0) - hour,
                cache_write_1h=hour,
                output=counted["output_tokens"],
            )
            text = "".join(b["text"] for b in data["content"] if b["type"] == "text")
            states = {"refusal": "refused", "max_tokens": "truncated", "model_context_window_exceeded": "truncated"}
            return Reply(states.get(data.get("stop_reason"), "ok"), text, usage)
        except (KeyError, TypeError, AttributeError) as e:
            raise ValueError(f"not a message: {type(e).__name__} {e}") from e


@functools.cache
def schema(answer: type[BaseModel]) -> dict:
    """The JSON schema of an answer as both providers' structured output takes it: flat, closed, all required."""
    made = answer.model_json_schema()
    properties = {n: {k: v for k, v in p.items() if k != "title"} for n, p in made["properties"].items()}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds a server asks to wait: `retry-after-ms`, or `retry-after` in seconds or as a date."""
    with contextlib.suppress(KeyError, ValueError):
        return max(0.0, float(headers["retry-after-ms"]) / 1000)
    value = headers.get("retry-after", "")
    try:
        return max(0.0, float(value))
    except ValueError:
        parsed = email.utils.parsedate_tz(value)
        return max(0.0, email.utils.mktime_tz(parsed) - time.time()) if parsed else None


def _object(raw: bytes) -> dict:
    data = json.loads(raw)
    if not isinstance(data, dict):
        raise ValueError("the body is no JSON object")
    return data
