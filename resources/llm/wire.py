"""Requests over the network: whole answers of bounded size in bounded time, to the configured host and no other.

Nothing is read from the environment: no proxy, no address, no header. No redirect is followed, no cookie kept.
"""

import asyncio
import contextlib
import functools
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, TypeVar

from resources.llm.replies import clean, error_of, json_object, retry_after, words

if TYPE_CHECKING:
    import aiohttp

T = TypeVar("T")

TIMEOUT = 600.0  # seconds for one whole answer; reasoning models take minutes
MOST_BYTES = 32 << 20  # of an answer, unpacked
MOST_RESULTS = 4 << 30  # bytes of a batch's results
_PIECE = 1 << 16

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
class Answer:
    http: int
    headers: Mapping[str, str]
    body: bytes


class Wire:
    """One server, over connections that are kept. Used within one event loop, inside `async with`.

    Args:
        base_url: scheme, host and path before that of every call.
        headers: of every call; the key is among them.
        proxy: through which the calls go, as the configuration names it.
        hide: takes keys out of a text.
    """

    def __init__(self, base_url: str, headers: Mapping[str, str], proxy: str | None, hide: Callable[[str], str]):
        self.base_url, self.headers, self.proxy, self.hide = base_url, dict(headers), proxy, hide
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Wire":
        import aiohttp

        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            trust_env=False,
            max_line_size=1 << 16,
            max_field_size=1 << 16,
        )
        return self

    async def __aexit__(self, *about: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        kind: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """The whole answer to one request, sent once.

        Raises:
            Failure: whatever else happened.
        """
        async with self._response(method, path, body, kind, headers) as response:
            data = b"".join([piece async for piece in _pieces(response, MOST_BYTES)])
            return Answer(response.status, _lower(response.headers), data)

    async def fetch(self, path: str, into: IO[bytes], headers: Mapping[str, str] | None = None) -> None:
        """Write the whole answer to a GET into a file. Raises Failure."""
        async with self._response("GET", path, None, "", headers) as response:
            async for piece in _pieces(response, MOST_RESULTS):
                into.write(piece)

    @contextlib.asynccontextmanager
    async def _response(
        self, method: str, path: str, body: bytes | None, kind: str, headers: Mapping[str, str] | None
    ) -> "AsyncGenerator[aiohttp.ClientResponse]":
        import aiohttp

        if self._session is None:
            raise RuntimeError("a Wire is used inside `async with`")
        sent = self.headers | dict(headers or {}) | ({"content-type": kind} if body is not None else {})
        try:
            # no whole answer in time is none, however the server drips
            async with (
                asyncio.timeout(TIMEOUT),
                self._session.request(
                    method, self.base_url + path, data=body, headers=sent, proxy=self.proxy, allow_redirects=False
                ) as response,
            ):
                if not 200 <= response.status < 300:
                    raise await self._refusal(response)
                yield response
        except Failure:
            raise
        except TimeoutError:
            raise Failure(f"no whole answer in {TIMEOUT:g} s", 0) from None
        except (aiohttp.ClientConnectorError, aiohttp.ClientProxyConnectionError) as e:
            raise Failure(clean(self.hide(f"{type(e).__name__}: {e}")), 0, sent=False) from None
        except Exception as e:  # what comes is not HTTP, breaks off, or is packed as it does not say
            raise Failure(clean(self.hide(f"{type(e).__name__}: {e}")), 0) from None

    async def _refusal(self, response: "aiohttp.ClientResponse") -> Failure:
        headers = _lower(response.headers)
        if 300 <= response.status < 400:
            where = clean(self.hide(headers.get("location", "nowhere")), 200)
            return Failure(f"redirected to {where}; redirects are not followed: set base_url to it", response.status)
        data = bytearray()
        with contextlib.suppress(Exception):  # the status is known, and the rest is only its reason
            async for piece in _pieces(response, _PIECE):
                data += piece
        hidden = self.hide(data.decode(errors="replace")).encode()
        code, _ = error_of(json_object(hidden) or {})
        return Failure(words(hidden) or f"HTTP {response.status}", response.status, headers, code)


async def _pieces(response: "aiohttp.ClientResponse", most: int) -> AsyncIterator[bytes]:
    """An unpacked body, as long as it stays within bounds. Raises Failure."""
    size = 0
    async for piece in response.content.iter_chunked(_PIECE):
        size += len(piece)
        if size > most:
            raise Failure(f"an answer of more than {most >> 20} MiB", response.status if response.status >= 300 else 0)
        yield piece


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {k.lower(): v for k, v in headers.items()}


class Desk:
    """A `Wire` for code that does one thing after another."""

    def __init__(self, wire: Wire):
        self._wire, self._runner = wire, asyncio.Runner()

    def __enter__(self) -> "Desk":
        self._run(self._wire.__aenter__())
        return self

    def __exit__(self, *about: object) -> None:
        try:
            self._run(self._wire.__aexit__())
        finally:
            self._runner.close()

    def _run(self, what: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(what)

    def call(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json", **keys) -> Answer:
        """See `Wire.call`."""
        return self._run(self._wire.call(method, path, body, kind, **keys))

    def lines(self, path: str, longest: int = MOST_BYTES, **keys) -> Iterator[bytes]:
        """Lines of the whole answer to a GET, which is fetched before the first is given; longer ones are left out.
        Raises Failure."""
        with tempfile.TemporaryFile() as file:
            self._run(self._wire.fetch(path, file, **keys))
            file.seek(0)
            for line in iter(functools.partial(file.readline, longest + 1), b""):
                if len(line) <= longest:
                    yield line
