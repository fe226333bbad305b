"""The two protocols that judges speak.

A provider turns a prompt into a `Request`, sends its body, and reads a stored body back. Reading is pure: a store of
bodies can be read again by a later version without a call.

A key belongs to a host. The providers' own keys go to the providers' own hosts; any other server gets the key that its
configuration names, or none. The variables that the providers' SDKs read are not read, unless `environment` names them.
"""

import base64
import contextlib
import functools
import itertools
import os
import re
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel

from curation.prompts import Prompt
from resources.llm.call_store import Request
from resources.llm.replies import Reply, chat, message
from resources.llm.wire import SyncWire, Wire
from resources.notices import tell
from resources.settings import AttributeModel, Called, Judge
from resources.stops import Stop

if TYPE_CHECKING:
    import anthropic
    import httpx2
    import openai

SEEN = 8  # characters of a key in a row that must not be seen anywhere
ADDRESSES = str.maketrans("+/", "-_")  # base64 as addresses have it
NO_KEY = "none"  # what an SDK is given, and does not send, where a server gets no key
PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")


class NoKey(Stop):
    """The environment variable that should hold a key is not set; the message names it."""


class Provider(Protocol):
    name: str
    sdk: str
    base_url: str
    host: str

    def request(
        self, prompt: Prompt, answer: type[BaseModel], called: Called, replicate: int, effort: str = ""
    ) -> Request:
        """The pure record of one call; `effort` is asked for where it is given."""

    def connect(self) -> contextlib.AbstractAsyncContextManager:
        """A client, to be closed after use."""

    async def send(self, client, request: Request) -> tuple[bytes, Mapping[str, str]]:
        """One call, sent once: body and headers as received. The very bytes are sent that the request's key is the
        hash of.

        Raises:
            Failure: whatever else happened; its message holds no key.
        """

    def read(self, raw: bytes) -> Reply:
        """A body as stored; whatever it is."""

    def redact(self, text: str) -> str:
        """Text without any key."""


def provider(called: Judge | AttributeModel) -> "OpenAI | Anthropic":
    """The provider of a model; its key is read from the environment.

    Raises:
        NoKey: the named environment variable is not set.
    """
    kind = Anthropic if called.backend == "anthropic" else OpenAI
    made = kind(called.base_url or "", called.api_key_env, called.environment)
    made.key()
    return made


class _Base:
    name: str
    own: str  # address of the provider's own service
    default_env: str
    path: str  # of the call, below the address
    ignored: tuple[str, ...]  # variables that move calls elsewhere when the provider's SDK is used

    def __init__(self, base_url: str, key_env: str | None, environment: Iterable[str] = ()):
        self.base_url = base_url.rstrip("/")
        self.url = self.base_url or self.own
        self.host = urllib.parse.urlsplit(self.url).netloc.lower()
        self._env, self._named = key_env, tuple(environment)

    @functools.cached_property
    def sdk(self) -> str:
        from importlib.metadata import version

        return f"{self.name} {version(self.name)}"

    @property
    def place(self) -> str:
        """Where calls go, for messages."""
        return self.base_url or self.name

    def key(self) -> str:
        """The key for this host, '' where it gets none.

        Raises:
            NoKey: the variable that should hold it is not set.
        """
        at_home = self.host == urllib.parse.urlsplit(self.own).netloc and self.url.startswith("https://")
        if self._env is None and not at_home:
            return ""
        name = self._env or self.default_env
        if value := os.environ.get(name, "").strip():
            return value
        raise NoKey(f"The environment variable {name} holds no key for {self.place}.")

    def headers(self) -> dict[str, str]:
        """What every call carries."""
        raise NotImplementedError

    def client(self, connections: "httpx2.AsyncClient") -> "openai.AsyncOpenAI | anthropic.AsyncAnthropic":
        """The SDK's client. It is given every value that it would read from the environment."""
        raise NotImplementedError

    def _wire(self) -> Wire:
        if not self.base_url and (there := [n for n in self.ignored if os.environ.get(n)]):
            tell(f"{', '.join(there)} is set and not read: calls go to {self.url}; another address is a base_url")
        proxy = next((v for n in self._named if n in PROXIES and (v := os.environ.get(n))), None)
        return Wire(self.url, self.headers(), proxy, self.redact, self.client)

    def connect(self) -> Wire:
        """A client, to be used inside `async with`."""
        return self._wire()

    def desk(self) -> SyncWire:
        """A client for one call after another, to be used inside `with`."""
        return SyncWire(self._wire())

    async def send(self, client: Wire, request: Request) -> tuple[bytes, Mapping[str, str]]:
        """See `Provider.send`."""
        answer = await client.call("POST", self.path, request.wire)
        return self.redact_body(answer.body), answer.headers

    def redact_body(self, raw: bytes) -> bytes:
        """A body as received, without the key that a careless server repeats in it."""
        key = self.key().encode() if self._parts else b""
        if not key or not any(p in raw for p in (key[:4], key[-4:], *map(str.encode, self._parts))):
            return raw
        return self._hidden(raw.decode(errors="surrogateescape")).encode(errors="surrogateescape")

    def redact(self, text: str) -> str:
        """Text without the key, and without what looks like one."""
        return re.sub(r"\b(sk|pk|key)-[\w*.-]{4,}", "[key]", self._hidden(text))

    def _hidden(self, text: str) -> str:
        """Text without the key, also where a server repeats a part of it, masks the middle, or packs it."""
        if not self._parts:
            return text
        seen = [False] * len(text)
        for part in self._parts:
            at = text.find(part)
            while at >= 0:
                seen[at : at + len(part)] = [True] * len(part)
                at = text.find(part, at + 1)
        if any(seen):
            runs = itertools.groupby(zip(text, seen, strict=True), key=lambda c: c[1])
            text = "".join("[key]" if hidden else "".join(c for c, _ in run) for hidden, run in runs)
        first, last = re.escape(self.key()[:4]), re.escape(self.key()[-4:])
        masked = rf"{first}[\w-]{{0,40}}[*.…•]{{2,40}}[\w-]{{0,40}}|{first}[\w-]{{0,40}}…[\w-]{{0,40}}|[*.…•]{{2,40}}{last}\b"
        return re.sub(masked, "[key]", text)

    @functools.cached_property
    def _parts(self) -> list[str]:
        """Pieces of the key as it is and as it is packed; one of them is in every longer piece."""
        key = self.key()
        if len(key) < SEEN:
            return []
        return sorted({k[i : i + SEEN] for k in (key, *_packed(key)) for i in range(len(k) - SEEN + 1)})


def _packed(key: str) -> Iterator[str]:
    """A key as addresses carry it and as base64 has it, alone or behind something else such as 'Bearer ' or a name: how
    many characters stand before it decides which of three ways. Characters that depend on its neighbors too are left
    out."""
    yield urllib.parse.quote(key, "")
    for before in range(3):
        packed = base64.b64encode(bytes(before) + key.encode()).decode()
        packed = packed[(4 * before + 2) // 3 : (before + len(key.encode())) * 4 // 3]
        yield packed
        yield packed.translate(ADDRESSES)


class OpenAI(_Base):
    """Chat completions: OpenAI itself and every server that speaks its protocol (vLLM, SGLang, llama.cpp, …)."""

    name, own, default_env = "openai", "https://api.openai.com/v1", "OPENAI_API_KEY"
    path = "/chat/completions"
    ignored = ("OPENAI_BASE_URL",)

    def headers(self) -> dict[str, str]:
        """See `_Base.headers`."""
        made = {"authorization": f"Bearer {self.key()}"} if self.key() else {}
        names = {"OPENAI_ORG_ID": "openai-organization", "OPENAI_PROJECT_ID": "openai-project"}
        return made | {names[n]: os.environ[n] for n in self._named if n in names and os.environ.get(n)}

    def client(self, connections: "httpx2.AsyncClient") -> "openai.AsyncOpenAI":
        """See `_Base.client`."""
        import openai

        return openai.AsyncOpenAI(
            api_key=self.key() or NO_KEY,
            admin_api_key="",
            organization="",
            project="",
            webhook_secret="",
            base_url=self.url,
            timeout=None,
            max_retries=0,
            http_client=connections,
        )

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

    def read(self, raw: bytes) -> Reply:
        """See `Provider.read`."""
        return chat(raw)


class Anthropic(_Base):
    """Messages. The system part is marked for the provider's prompt cache: it repeats for a combination."""

    name, own, default_env = "anthropic", "https://api.anthropic.com", "ANTHROPIC_API_KEY"
    path = "/v1/messages"
    ignored = ("ANTHROPIC_BASE_URL",)

    def headers(self) -> dict[str, str]:
        """See `_Base.headers`."""
        return {"anthropic-version": "2023-06-01"} | ({"x-api-key": self.key()} if self.key() else {})

    def client(self, connections: "httpx2.AsyncClient") -> "anthropic.AsyncAnthropic":
        """See `_Base.client`."""
        import anthropic

        return anthropic.AsyncAnthropic(
            api_key=self.key() or NO_KEY,  # given one, it looks for no other credential in variables and files
            webhook_key="",
            base_url=self.url,
            timeout=None,
            max_retries=0,
            open_telemetry={"traces": False, "propagation": False},
            http_client=connections,
        )

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

    def read(self, raw: bytes) -> Reply:
        """See `Provider.read`."""
        return message(raw)


@functools.cache
def schema(answer: type[BaseModel]) -> dict:
    """The JSON schema of an answer as both providers' structured output takes it: flat, closed, all required."""
    made = answer.model_json_schema()
    properties = {n: {k: v for k, v in p.items() if k != "title"} for n, p in made["properties"].items()}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
