"""The page's server: it shows a person the next pair of the desk and writes the answer there, one durable event each."""

import base64
import functools
import hashlib
import hmac
import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jinja2
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from resources.annotators.desk import Desk, Pair
from resources.annotators.page.texts import LONGEST, formatted, sections
from resources.annotators.records import CLOSED, Answer, Refused, Rules, asked_of, instant, read
from resources.annotators.tasks import shown
from resources.annotators.wording import in_form
from resources.settings import Settings
from training.addresses import loopback

DOOR = "label"
MOST_BYTES = 1 << 20  # of an answer
HERE = Path(__file__).parent
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src"
    " 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def token(secret: bytes, annotator: str) -> str:
    """What stands in a person's link: only who holds the desk's key can make it."""
    made = hmac.new(secret, annotator.encode(), hashlib.sha256).digest()[:18]
    return base64.urlsafe_b64encode(made).decode()


@functools.cache
def _templates() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    made.filters["formatted"] = formatted
    made.filters["long"] = lambda text: len(text) > LONGEST
    return made


class Page:
    """Requests to the desk, one at a time.

    Args:
        settings: the configuration.
        opened: the desk.
        everywhere: whether others than this machine may ask; else a request must name the machine itself.
    """

    def __init__(self, settings: Settings, opened: Desk, everywhere: bool = False):
        self.people, self.rules = settings.people, Rules.of(settings)
        self.desk, self.everywhere, self.clock = opened, everywhere, opened.clock
        self.secret = opened.secret
        self.lock = threading.Lock()

    # ---- who asks --------------------------------------------------------------------------------------------------
    def who(self, given: str) -> str | None:
        """The person whose link it is."""
        with self.lock:
            invited = self.desk.invited()
        return next((n for n in invited if hmac.compare_digest(token(self.secret, n), given)), None)

    def stranger(self, request: Request) -> str | None:
        """Why a request is not answered at all, or None."""
        host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
        if not self.everywhere and not loopback(host):
            return "this page answers to its own machine only"
        if request.method != "POST":
            return None
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
            return "sent from another site"
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return "sent from another site"
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            return "not JSON"
        if not hmac.compare_digest(request.headers.get("x-assay-token", ""), request.path_params["token"]):
            return "without the token of the page"
        return None

    # ---- what is shown ---------------------------------------------------------------------------------------------
    def show(self, annotator: str) -> str:
        now = self.clock()
        with self.lock:
            found = self.desk.next_for(annotator, self.people, now)
            batches = [b for b in self.desk.batches() if found is None or b == found[0]]
            states = {b: self.desk.progress(b, self.people) for b in batches}
            if found:
                self.desk.open(found[0], found[1].item["pair_id"], annotator, DOOR, now)
                draft = self.desk.last_said(found[0], found[1].item["pair_id"], annotator)
            undo = self.desk.last_answer(annotator, DOOR)
            refused = [r for b in batches for r in self.desk.refusals(b) if r.annotator == annotator]
        page = {
            "annotator": annotator,
            "token": token(self.secret, annotator),
            "undo": undo is not None,
            "refused": [
                {"pair": r.pair_id[:8], "place": r.place, "reason": r.reason} for r in refused if r.door != DOOR
            ],
            "mine": sum(s.by.get(annotator, 0) for s in states.values()),
        }
        if found is None:
            waits = [s for s in states.values() if not s.complete]
            return _templates().get_template("done.html").render(page, waits=waits)
        batch, pair = found
        state, item = states[batch], pair.item
        seen = shown(item)
        category = (item["attributes"]["category"], item["attributes"]["objectivity"])
        needs = self.rules.required_tools.get(category[0]) if category[1] == "objective" and item["tools"] else None
        return (
            _templates()
            .get_template("pair.html")
            .render(
                page,
                batch=batch,
                state=state,
                item=seen,
                sections=sections(seen["protocol"]) if "protocol" in seen else [],
                closed=CLOSED,
                tools=item["tools"],
                needs=needs if "tools" in self.rules.require else None,
                assistants=self.rules.assistants,
                others=self._others(pair) if pair.standing.disagreed and pair.standing.by != "annotator" else [],
                draft=_draft(draft, item) if draft else "",
            )
        )

    @staticmethod
    def _others(pair: Pair) -> list[tuple[str, str]]:
        """What those who disagree said, without their names: for who settles it."""
        words = {"first": "Candidate 1 is better", "second": "Candidate 2 is better", "undecided": "Cannot be decided"}
        return [(words[a.verdict] + (f" ({a.why})" if a.why else ""), a.rationale) for _, a in pair.answers.values()]

    # ---- what is answered ------------------------------------------------------------------------------------------
    def answer(self, annotator: str, given: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Status and body of the response to an answer; a refused one says which part of the form is wrong, and why."""
        batch, pair, now = str(given.pop("batch", "")), str(given.get("pair_id", "")), self.clock()
        with self.lock:
            if batch not in self.desk.batches():
                return 409, {"errors": [{"field": "", "reason": "there is no such batch"}]}
            if closed := self.desk.progress(batch, self.people).closed:
                return 409, {"errors": [{"field": "", "reason": f"the batch is closed: {closed}"}]}
            asked = asked_of(self.desk.items(batch))
            since = self.desk.opened(batch, pair, annotator, now)
            times = {"started": since, "finished": now} if since is not None else {"finished": now}
            fixed = {"annotator": annotator, "seconds": None, "lead_time": None} | times
            raw = {k: v for k, v in given.items() if k not in ("t_start", "t_end", "started", "completed_by")} | fixed
            made = read(raw, asked, self.rules, now)
            place = f"page, {instant(now)}"
            if isinstance(made, Refused):
                if since is None and made.reasons == ("the time is missing: give started and finished, or seconds",):
                    self.desk.open(batch, pair, annotator, DOOR, now)
                    made = Refused(pair, annotator, ("the pair was open for long; look at it again, then answer",))
                self.desk.refuse(batch, made, DOOR, place, raw)
                return 422, {"errors": [in_form(r) for r in made.reasons]}
            self.desk.answer(batch, made, DOOR, place)
        return 200, {"saved": pair}

    def undo(self, annotator: str) -> tuple[int, dict[str, Any]]:
        with self.lock:
            last = self.desk.last_answer(annotator, DOOR)
            if last is None:
                return 409, {"errors": [{"field": "", "reason": "there is nothing to take back"}]}
            if self.desk.progress(last[0], self.people).closed:
                return 409, {"errors": [{"field": "", "reason": "its batch is closed"}]}
            self.desk.withdraw(*last, annotator, DOOR)
            self.desk.open(*last, annotator, DOOR, self.clock())
        return 200, {"undone": last[1]}


def _draft(answer: Answer, item: Mapping[str, Any]) -> str:
    """What was said of a pair before it was taken back, as the form holds it."""
    sides = {"first": "candidate_1", "second": "candidate_2", "undecided": "undecided"}
    about = {n: answer.edited.get(n) or v for n, v in item["attributes"].items()}
    held = {"verdict": sides[answer.verdict], "why_undecided": answer.why, "acknowledged": bool(answer.acknowledged)}
    used = {"tools": answer.tools or ["none"], "tool_log": answer.tool_log, "rationale": answer.rationale}
    return json.dumps(held | used | ({"attributes": about} if item["form_attributes"] else {}), ensure_ascii=False)


def app(page: Page) -> ASGIApp:
    """The routes: a person's page, its two actions, and the files it loads."""

    async def show(request: Request) -> Response:
        if (why := page.stranger(request)) is not None:
            return HTMLResponse(why, 403)
        who = page.who(request.path_params["token"])
        if who is None:
            return HTMLResponse(_templates().get_template("nobody.html").render(), 404)
        return HTMLResponse(await run_in_threadpool(page.show, who))

    async def act(request: Request) -> Response:
        if (why := page.stranger(request)) is not None:
            return JSONResponse({"errors": [{"field": "", "reason": why}]}, 403)
        who = page.who(request.path_params["token"])
        if who is None:
            return JSONResponse({"errors": [{"field": "", "reason": "this link is nobody's"}]}, 404)
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > MOST_BYTES:
                return JSONResponse({"errors": [{"field": "", "reason": "the answer is too long"}]}, 413)
        try:
            given = json.loads(body or b"{}")
        except (ValueError, RecursionError):
            given = None
        if not isinstance(given, dict):
            return JSONResponse({"errors": [{"field": "", "reason": "not a JSON object"}]}, 400)
        if request.url.path.endswith("/undo"):
            status, said = await run_in_threadpool(page.undo, who)
        else:
            status, said = await run_in_threadpool(page.answer, who, given)
        return JSONResponse(said, status)

    async def nobody(_request: Request) -> Response:
        return HTMLResponse(_templates().get_template("nobody.html").render(), 404)

    made = Starlette(
        routes=[
            Route("/", nobody),
            Route("/p/{token}", show),
            Route("/p/{token}/answer", act, methods=["POST"]),
            Route("/p/{token}/undo", act, methods=["POST"]),
            Mount("/static", StaticFiles(directory=HERE / "static")),
        ]
    )

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    *((k.lower().encode(), v.encode()) for k, v in HEADERS.items()),
                ]
            await send(message)

        await made(scope, receive, with_headers if scope["type"] == "http" else send)

    return guarded
