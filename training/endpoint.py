"""Rewards over HTTP, with a limit on everything that a request can take: bytes, texts, characters, time, and how many
there are at once.

On starlette and uvicorn, which the annotators' page stands on too.

``POST /score {"items": […]}`` answers ``{"rewards": […]}``; ``GET /health``, ``/metrics`` (Prometheus) and
``/openapi.json`` tell about it. It answers to this machine only, or to whoever holds its token. It knows neither TLS nor
users: what others than this machine may reach belongs behind a proxy that does.
"""

import asyncio
import contextlib
import hmac
import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from training.addresses import loopback
from training.openapi import document
from training.scorer import BadItem, NoNumber, Scorer, parse

LOOK_EVERY_S = 0.5  # for a client that has gone
MOST_CONNECTIONS = 256
CHARACTERS_A_TOKEN = 64  # more than any text has on average
PART_ITEMS = 64
PART_CHARACTERS = 64 << 10
END_S = 10  # a request that is being answered when the server is told to stop


Item = tuple[str, object, int]  # its name in errors, itself, its characters


def _limit(default: float | None, told: str) -> Any:
    return field(default=default, metadata={"help": told})


@dataclass(frozen=True)
class Limits:
    """What a request may take; the fields say it themselves."""

    body: int = _limit(8 << 20, "bytes of a request")
    texts: int = _limit(2048, "answers to score in a request")
    characters: int | None = _limit(None, "characters of one input, turns and answer; default: 64 a token")
    receive: float = _limit(10.0, "seconds for a request to arrive")
    answer: float = _limit(60.0, "seconds from then until its rewards are there")
    at_once: int = _limit(32, "requests that arrive, wait or are scored; one is scored at a time")


class RequestRefused(Exception):
    """A request is not answered; status, and a message for who asked."""

    def __init__(self, status: int, message: str, after: int | None = None):
        super().__init__(message)
        self.status, self.message, self.after = status, message, after


class Endpoint:
    """The routes, and what they count.

    Args:
        scorer: gives the rewards.
        limits: what a request may take.
        token: who asks must send it as ``Authorization: Bearer``, but for /health. None: requests must name this
            machine itself (`Host`), so that no page of another site can ask through a browser.
    """

    def __init__(self, scorer: Scorer, limits: Limits | None = None, token: str | None = None):
        self.scorer, self.limits, self.token = scorer, limits or Limits(), token
        self.document = json.dumps(document(token is not None)).encode()
        self.worker = ThreadPoolExecutor(1, thread_name_prefix="scores")
        self.held = 0
        self.ending = threading.Event()
        self.registry = CollectorRegistry()
        self.requests = Counter("assay_requests", "Requests by status", ["path", "status"], registry=self.registry)
        self.rewards = Counter("assay_rewards", "Rewards that were given", registry=self.registry)
        self.unscored = Counter("assay_unscored", "Items that were too long", registry=self.registry)
        self.now = Gauge("assay_requests_now", "Requests that arrive, wait or are scored", registry=self.registry)
        self.now.set_function(lambda: self.held)
        self.seconds = Histogram(
            "assay_score_seconds",
            "From the last byte of a request to its rewards",
            buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100),
            registry=self.registry,
        )
        routes = [
            self._route("/score", self.score, "POST"),
            self._route("/metrics", self.metrics, "GET"),
            self._route("/health", self.health, "GET"),
            self._route("/openapi.json", self.openapi, "GET"),
        ]
        self.app = Starlette(routes=routes, exception_handlers={HTTPException: self._elsewhere})

    # ---- who asks, and what goes wrong ------------------------------------------------------------------------------
    def _route(self, path: str, answer: Callable[[Request], Awaitable[Response]], method: str) -> Route:
        async def guarded(request: Request) -> Response:
            try:
                self._admit(request)
                made = await answer(request)
            except RequestRefused as e:
                made = _said(e.status, {"error": e.message})
                if e.status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE):
                    made.headers["Connection"] = "close"  # the rest of the body is not read
                if e.status == HTTPStatus.UNAUTHORIZED:
                    made.headers["WWW-Authenticate"] = "Bearer"
                if e.after is not None:
                    made.headers["Retry-After"] = str(e.after)
            except ClientDisconnect:
                made = _said(499, {"error": "nobody waits for it"})
            except Exception as e:  # a fault of this program or the machine: by its kind, as its words may hold texts
                made = _said(500, {"error": f"not scored: {type(e).__name__}"})
            self.requests.labels(path, made.status_code).inc()
            return made

        return Route(path, guarded, methods=[method])

    def _admit(self, request: Request) -> None:
        """Refuse strangers."""
        if self.token is None:
            try:
                host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
            except ValueError:
                host = ""
            if not loopback(host):
                raise RequestRefused(403, "this endpoint answers to its own machine only")
            if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
                raise RequestRefused(403, "sent from another site")
            origin = request.headers.get("origin")
            if origin is not None and origin.partition("://")[2] != request.headers.get("host"):
                raise RequestRefused(403, "sent from another site")
        elif request.url.path != "/health":
            kind, _, given = request.headers.get("authorization", "").partition(" ")
            if kind.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self.token.encode()):
                raise RequestRefused(401, "send the token: Authorization: Bearer …")

    async def _elsewhere(self, _request: Request, e: Exception) -> Response:
        status, headers = (e.status_code, e.headers) if isinstance(e, HTTPException) else (500, None)
        self.requests.labels("", status).inc()
        made = _said(status, {"error": "there is POST /score, GET /health, GET /metrics and GET /openapi.json"})
        made.headers.update(headers or {})
        return made

    # ---- what is answered -------------------------------------------------------------------------------------------
    async def health(self, _request: Request) -> Response:
        return _said(200, {"max_tokens": self.scorer.max_tokens})

    async def openapi(self, _request: Request) -> Response:
        return Response(self.document, media_type="application/json")

    async def metrics(self, _request: Request) -> Response:
        return Response(generate_latest(self.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def score(self, request: Request) -> Response:
        if self.held >= self.limits.at_once:
            raise RequestRefused(
                429, f"{self.held} requests are being answered; at most {self.limits.at_once}", after=1
            )
        self.held += 1
        work: Future | None = None
        try:
            body = await self._body(request)
            began = time.monotonic()
            stop = threading.Event()
            work = self.worker.submit(self._work, body, stop)
            try:
                rewards = await self._waited(work, request)
            finally:
                stop.set()
            self.seconds.observe(time.monotonic() - began)
            self.unscored.inc(sum("unscored" in r for r in rewards))
            self.rewards.inc(sum(v is not None for r in rewards for k, v in r.items() if k != "unscored"))
            return _said(200, {"rewards": rewards})
        finally:
            if work is None or work.cancel() or work.done():
                self.held -= 1
            else:  # what is being computed counts until it has ended
                loop = asyncio.get_running_loop()
                work.add_done_callback(lambda _: self._released(loop))

    def _released(self, loop: asyncio.AbstractEventLoop) -> None:
        def less() -> None:
            self.held -= 1

        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(less)

    def stop(self) -> None:
        """Score nothing more."""
        self.ending.set()
        self.worker.shutdown(wait=False, cancel_futures=True)

    async def _body(self, request: Request) -> bytes:
        most = self.limits.body
        told = request.headers.get("content-length", "")
        if told.isdecimal() and int(told[:20]) > most:
            raise RequestRefused(413, f"{told[:20]} bytes; at most {most}")
        body = bytearray()
        try:
            async with asyncio.timeout(self.limits.receive):
                async for part in request.stream():
                    body += part
                    if len(body) > most:
                        raise RequestRefused(413, f"more than {most} bytes")
        except TimeoutError:
            raise RequestRefused(408, f"the request did not arrive within {self.limits.receive:g} s") from None
        return bytes(body)

    async def _waited(self, work: Future, request: Request) -> list[dict]:
        """The rewards, unless time is up or nobody waits any more."""
        until = time.monotonic() + self.limits.answer
        waiting = asyncio.wrap_future(work)
        try:
            while True:
                left = until - time.monotonic()
                if left <= 0:
                    raise RequestRefused(503, f"not scored within {self.limits.answer:g} s", after=5)
                done, _ = await asyncio.wait({waiting}, timeout=min(left, LOOK_EVERY_S))
                if done:
                    return waiting.result()
                if await request.is_disconnected():
                    raise ClientDisconnect
        finally:
            waiting.cancel()

    def _work(self, body: bytes, stop: threading.Event) -> list[dict]:
        """In the worker's thread: from the bytes to the rewards, a part at a time so that it can be stopped."""
        try:
            request = json.loads(body)
        except (ValueError, RecursionError) as e:
            why = type(e).__name__ if isinstance(e, (UnicodeError, RecursionError)) else str(e)
            raise RequestRefused(400, f"no JSON: {why}") from None
        if not isinstance(request, dict) or not isinstance(request.get("items"), list):
            raise RequestRefused(400, 'expected {"items": [...]}')
        rewards: list[dict] = []
        for part in _parts(self._checked(request["items"])):
            if stop.is_set() or self.ending.is_set():
                raise RequestRefused(503, "not scored: the server is stopping", after=5)
            for result in self.scorer.score(part):
                if isinstance(result, BadItem):
                    raise RequestRefused(500 if isinstance(result, NoNumber) else 400, str(result))
                rewards.append(result)
        return rewards

    def _checked(self, items: list) -> list[Item]:
        """The items with their names and characters, none of them refused by its form or its size."""
        most = self.limits.characters or CHARACTERS_A_TOKEN * self.scorer.max_tokens
        checked, texts = [], 0
        for i, item in enumerate(items, 1):
            name = f"item {i}"
            try:
                turns, answers = parse(item, name)
            except BadItem as e:
                raise RequestRefused(400, str(e)) from None
            texts += len(answers)
            if texts > self.limits.texts:
                raise RequestRefused(413, f"more than {self.limits.texts} answers to score")
            before = sum(len(t["role"]) + len(t["content"]) + 1 for t in turns)
            longest = before + max(len(a) for a in answers.values())
            if longest > most:
                raise RequestRefused(413, f"{name}: {longest} characters; an input may have {most}")
            checked.append((name, item, before + sum(len(a) for a in answers.values())))
        return checked


def _said(status: int, value: dict[str, Any]) -> Response:
    return Response(json.dumps(value, allow_nan=False).encode(), status, media_type="application/json")


def _parts(items: Iterable[Item]) -> Iterator[list[tuple[str, object]]]:
    """Items in parts that take about a second each on a small machine, between which a request can be stopped."""
    part, held = [], 0
    for name, item, characters in items:
        if part and (len(part) == PART_ITEMS or held + characters > PART_CHARACTERS):
            yield part
            part, held = [], 0
        part.append((name, item))
        held += characters
    if part:
        yield part


class _Connection(H11Protocol):
    """A connection that is closed when no whole head of a request comes in time: uvicorn would wait for ever."""

    patience = Limits.receive

    def connection_made(self, transport) -> None:
        super().connection_made(transport)
        self._expect()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._expect()

    def _expect(self) -> None:
        self.loop.call_later(self.patience, self._late, self.cycle)

    def _late(self, last: object) -> None:
        """No other request has begun since `last`: give up, also on an answer that nobody reads."""
        if self.cycle is last:
            self.transport.abort()


def server(endpoint: Endpoint) -> uvicorn.Server:
    """The process's server; `run(sockets=[…])` serves until it is told to stop. It writes no request down: they hold
    people's texts, and their paths say nothing."""
    patient = type("_Patient", (_Connection,), {"patience": endpoint.limits.receive})
    config = uvicorn.Config(
        endpoint.app,
        http=patient,
        ws="none",
        lifespan="off",
        log_level="error",
        access_log=False,
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=END_S,
    )
    return uvicorn.Server(config)
