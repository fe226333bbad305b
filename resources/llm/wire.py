"""Requests through the providers' SDKs: whole answers of bounded size in bounded time, to the configured host and no other.

An SDK builds, signs with its name and sends each request; what comes back is taken as bytes, before the SDK would parse
or retry anything. Nothing is read from the environment: no proxy, no address, no header, no level of a log. No redirect
is followed, no cookie kept.
"""

import asyncio
import contextlib
import functools
import http.cookiejar
import importlib
import logging
import ssl
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, TypeVar

from resources.llm.replies import clean, error_of, json_object, retry_after, words
from resources.stops import Stop

if TYPE_CHECKING:
    import anthropic
    import httpx2
    import openai

T = TypeVar("T")

TIMEOUT = 600.0  # seconds for one whole answer; reasoning models take minutes
MOST_BYTES = 32 << 20  # of an answer, unpacked
MOST_RESULTS = 4 << 30  # bytes of a batch's results
_PIECE = 1 << 16  # bytes of a refusal that are read

_SDKS = ("openai", "anthropic")
# Their debug logs hold prompts, addresses and headers; variables of theirs turn them on.
_LOGGERS = (*_SDKS, "httpx2", "httpcore2")
_STREAMED = {"x-stainless-raw-response": "stream"}  # how the SDKs are told that the caller reads the body
# headers that a connection needs, beside those that are set
_CONNECTION = frozenset(
    ("host", "content-type", "content-length", "transfer-encoding", "accept-encoding", "connection", *_STREAMED)
)

# No call can succeed until somebody has paid or has raised a limit, whatever the status says.
_BROKE = ("insufficient_quota", "credit balance", "billing", "exceeded your current quota", "payment required")


class Failure(Exception):
    """A call that brought no answer.

    Attributes:
        http: status, 0 where none was received.
        headers: of the response, empty where there was none.
        shown: the status for people.
        code: the server's name for it, such as token_limit_exceeded.
        retry_after: seconds the server asked to wait, None where it did not say.
        fatal: no call with these credentials, to this address and of this model can succeed.
        transient: the same call may succeed later.
        ambiguous: the server may have worked, and charged, without our seeing the answer.
    """

    def __init__(
        self,
        message: str,
        http: int,
        headers: Mapping[str, str] | None = None,
        code: str = "",
        sent: bool = True,
        shown: str = "",
    ):
        super().__init__(message)
        self.http, self.headers, self.code = http, headers or {}, code
        self.shown = shown or (str(http) if http else "no response")
        self.retry_after = retry_after(self.headers)
        said = f"{code} {message}".lower()
        broke = 400 <= http < 500 and any(b in said for b in _BROKE)
        self.fatal = http in (401, 402, 403, 404) or 300 <= http < 400 or broke
        self.transient = not self.fatal and (http in (0, 408, 409, 425, 429) or http >= 500)
        self.ambiguous = sent and http in (0, 408, 504, 524)


@dataclass(frozen=True)
class RawAnswer:
    http: int
    headers: Mapping[str, str]
    body: bytes


class BadAddress(Stop):
    """No server can be at a configured address; the message says which."""


class Wire:
    """One server, over a connection for every call. Used within one event loop, inside `async with`.

    What a server sends beyond its answer, at once or later, would be taken for the next call's on a connection that is
    kept, and nothing tells it from one. A new one costs round trips beside answers that take seconds.

    Args:
        base_url: scheme, host and path before that of every call.
        headers: of every call; the key is among them.
        proxy: through which the calls go, as the configuration names it.
        hide: takes keys out of a text.
        sdk: the client of a provider's SDK over the given connections.
    """

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str],
        proxy: str | None,
        hide: Callable[[str], str],
        sdk: "Callable[[httpx2.AsyncClient], openai.AsyncOpenAI | anthropic.AsyncAnthropic]",
    ):
        self.base_url, self.headers, self.proxy, self.hide = base_url, dict(headers), proxy, hide
        self._sdk = sdk
        self._client: Any = None  # both SDKs' are alike in what is used here
        self._sent: dict[str, Any] = {}

    async def __aenter__(self) -> "Wire":
        import httpx2

        connections = self._connections()
        try:
            self._client = self._sdk(connections)
        except (ValueError, httpx2.InvalidURL) as e:
            await connections.aclose()
            raise BadAddress(f"{clean(self.base_url)} is no address of a server: {clean(str(e))}") from None
        for name in _LOGGERS:
            logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger(name).level))
        self._sent = self._described()
        return self

    async def __aexit__(self, *about: object) -> None:
        if self._client is not None:
            await self._client.close()

    def _connections(self) -> "httpx2.AsyncClient":
        import httpx2

        refusing = http.cookiejar.DefaultCookiePolicy(allowed_domains=())
        try:
            return httpx2.AsyncClient(
                cookies=http.cookiejar.CookieJar(refusing),
                event_hooks={"request": [self._dismiss], "response": [self._admit]},
                follow_redirects=False,
                limits=httpx2.Limits(max_keepalive_connections=0),  # of calls at once the caller sets one
                proxy=self.proxy,
                timeout=None,  # the whole call has one
                trust_env=False,
                verify=_trusted(),
            )
        except (ValueError, ImportError, httpx2.InvalidURL) as e:
            raise BadAddress(
                f"The proxy for {self.base_url} is no address of one ({type(e).__name__}): http:// or https://, host and port."
            ) from None

    def _described(self) -> dict[str, Any]:
        """The headers of every call: what the SDK says of itself, and ours. All else that it would send is omitted: its
        placeholder of a key, and what it reads in the environment."""
        client = self._client
        omit = importlib.import_module(type(client).__module__.partition(".")[0]).omit
        sdks = {"accept": "application/json", "user-agent": client.user_agent, "x-stainless-async": "async:asyncio"}
        kept = sdks | _lower(client.platform_headers()) | _lower(self.headers)
        return {name.lower(): omit for name in ("authorization", "x-api-key", *client.default_headers)} | kept

    async def _dismiss(self, request: "httpx2.Request") -> None:
        """Sees each request last: what the SDK adds although it was omitted does not leave."""
        kept = {name for name, value in self._sent.items() if isinstance(value, str)}
        for name in request.headers.keys() - kept - _CONNECTION:
            del request.headers[name]

    async def call(self, method: str, path: str, body: bytes | None = None) -> RawAnswer:
        """The whole answer to one request, sent once.

        Raises:
            Failure: whatever else happened.
        """
        kind, sent = ({}, {}) if body is None else ({"content-type": "application/json"}, {"content": body})
        async with self._response(method, path, kind, **sent) as response:
            return RawAnswer(response.status_code, _lower(response.headers), await _whole(response))

    async def upload(self, path: str, name: str, content: bytes, **fields: str) -> RawAnswer:
        """The whole answer to a form with one file, sent once. Raises Failure."""
        file = (name, content, "application/octet-stream")
        kind = {"content-type": "multipart/form-data"}
        async with self._response("POST", path, kind, body=fields, files={"file": file}) as response:
            return RawAnswer(response.status_code, _lower(response.headers), await _whole(response))

    async def fetch(self, path: str, into: IO[bytes]) -> None:
        """Write the whole answer to a GET into a file. Raises Failure."""
        async with self._response("GET", path, {"accept": "application/binary"}) as response:
            async for piece in _pieces(response, MOST_RESULTS):
                into.write(piece)

    @contextlib.asynccontextmanager
    async def _response(
        self, method: str, path: str, headers: Mapping[str, str], **sent: Any
    ) -> "AsyncGenerator[httpx2.Response]":
        import httpx2

        if self._client is None:
            raise RuntimeError("a Wire is used inside `async with`")
        ask = {"GET": self._client.get, "POST": self._client.post}[method]
        options = {"headers": self._sent | _STREAMED | dict(headers)}
        try:
            # no whole answer in time is none, however the server drips
            async with (
                asyncio.timeout(TIMEOUT),
                contextlib.aclosing(await ask(path, cast_to=httpx2.Response, options=options, **sent)) as response,
            ):
                yield response
        except TimeoutError:
            raise Failure(f"no whole answer in {TIMEOUT:g} s", 0) from None
        except Exception as e:  # what comes is not HTTP, breaks off, or is packed as it does not say
            raise self._failure(e) from None

    def _failure(self, e: BaseException) -> Failure:
        import httpx2

        if (
            type(e).__module__.partition(".")[0] in _SDKS and e.__cause__ is not None
        ):  # it wraps what the network raised
            e = e.__cause__
        if isinstance(e, Failure):
            return e
        unsent = isinstance(e, httpx2.ConnectError | httpx2.ProxyError | httpx2.UnsupportedProtocol)
        return Failure(clean(self.hide(f"{type(e).__name__}: {e}")), 0, sent=not unsent)

    async def _admit(self, response: "httpx2.Response") -> None:
        """Sees each response before the SDK, which would read a refusal without bounds."""
        if not 200 <= response.status_code < 300:
            raise await self._refusal(response)

    async def _refusal(self, response: "httpx2.Response") -> Failure:
        headers, status = _lower(response.headers), response.status_code
        if 300 <= status < 400:
            where = clean(self.hide(headers.get("location", "nowhere")), 200)
            return Failure(f"redirected to {where}; redirects are not followed: set base_url to it", status)
        data = bytearray()
        with contextlib.suppress(Exception):  # the status is known, and the rest is only its reason
            async for piece in _pieces(response, _PIECE):
                data += piece
        hidden = self.hide(data.decode(errors="replace")).encode()
        code, _ = error_of(json_object(hidden) or {})
        return Failure(words(hidden) or f"HTTP {status}", status, headers, code)


@functools.cache
def _trusted() -> ssl.SSLContext:
    """The authorities whose servers are believed, read once a process."""
    import httpx2

    return httpx2.create_ssl_context(trust_env=False)


async def _whole(response: "httpx2.Response") -> bytes:
    return b"".join([piece async for piece in _pieces(response, MOST_BYTES)])


async def _pieces(response: "httpx2.Response", most: int) -> AsyncIterator[bytes]:
    """An unpacked body, as long as it stays within bounds. Raises Failure."""
    size = 0
    async for piece in response.aiter_bytes():
        size += len(piece)
        if size > most:
            raise Failure(f"an answer of more than {most >> 20} MiB", 0)
        yield piece


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {k.lower(): v for k, v in headers.items()}


class SyncWire:
    """A `Wire` for code that does one thing after another."""

    def __init__(self, wire: Wire):
        self._wire, self._runner = wire, asyncio.Runner()

    def __enter__(self) -> "SyncWire":
        try:
            self._run(self._wire.__aenter__())
        except BaseException:
            self._runner.close()
            raise
        return self

    def __exit__(self, *about: object) -> None:
        try:
            self._run(self._wire.__aexit__())
        finally:
            self._runner.close()

    def _run(self, what: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(what)

    def call(self, method: str, path: str, body: bytes | None = None) -> RawAnswer:
        """See `Wire.call`."""
        return self._run(self._wire.call(method, path, body))

    def upload(self, path: str, name: str, content: bytes, **fields: str) -> RawAnswer:
        """See `Wire.upload`."""
        return self._run(self._wire.upload(path, name, content, **fields))

    def lines(self, path: str, longest: int = MOST_BYTES) -> Iterator[bytes]:
        """Lines of the whole answer to a GET, which is fetched before the first is given; longer ones are left out.
        Raises Failure."""
        with tempfile.TemporaryFile() as file:
            self._run(self._wire.fetch(path, file))
            file.seek(0)
            for line in iter(functools.partial(file.readline, longest + 1), b""):
                if len(line) <= longest:
                    yield line
