"""The page's server: forms and links, no script; it answers this machine alone, and only who came by its link."""

import hmac
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import jinja2
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from report.explore.explored_pairs import BY, NAMED, PAGE, SCORES, ExploredPairs, NoAnswer
from resources.annotators.page.app import HEADERS
from resources.annotators.page.texts import formatted
from training.addresses import loopback

HERE = Path(__file__).parent
COOKIE = "assay-explore"
MOST_BYTES = 1 << 16  # of a form
MOST_SENT = 500  # pairs that are sent to people at a time
POLICY = "default-src 'none'; style-src 'nonce-{nonce}'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"


class Explorer:
    """What the routes need.

    Args:
        name: of the configuration.
        pool: what is looked at.
        story: a pair's id -> what is known of it, as lines.
        send: (pairs, name of a batch) -> a sentence; what to do with a selection for people. None where nobody can be asked.
    """

    def __init__(
        self,
        name: str,
        pool: ExploredPairs,
        story: Callable[[str], str],
        send: Callable[[Any, str], str] | None,
    ):
        self.name, self.pool, self.story, self.send = name, pool, story, send
        self.token = secrets.token_urlsafe(18)
        env = jinja2.Environment(
            loader=jinja2.FileSystemLoader(HERE / "templates"), autoescape=True, undefined=jinja2.StrictUndefined
        )
        env.filters |= {"number": "{:,}".format, "formatted": formatted}
        self._env = env

    def page(self, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        nonce = secrets.token_urlsafe(12)
        css = (HERE / "templates" / "explore.css").read_text(encoding="utf-8")
        text = self._env.get_template(template).render(
            name=self.name, pairs=self.pool.pairs, nonce=nonce, css=css, can_send=self.send is not None,
            most_sent=MOST_SENT, token=self.token, **values,
        )  # fmt: skip
        made = HTMLResponse(text, status)
        made.headers.update(HEADERS | {"Content-Security-Policy": POLICY.format(nonce=nonce)})
        return made

    def stranger(self, request: Request) -> str | None:
        """Why a request is not answered, or None."""
        if not loopback(urlsplit(f"//{request.headers.get('host', '')}").hostname or ""):
            return "this page answers to its own machine only"
        if not hmac.compare_digest(request.cookies.get(COOKIE, ""), self.token):
            return "open the link that `assay explore` printed"
        return None


def asked_of(pairs: Mapping[str, str]) -> dict[str, str]:
    """The filters of a query that say something."""
    known = {*NAMED, "text", "pair"} | {f"{s}_{end}" for s in SCORES for end in ("from", "to")}
    return {k: v for k, v in pairs.items() if k in known and v.strip()}


def app(explorer: Explorer) -> Starlette:
    """The routes."""

    def guarded(answer: Callable[[Request], Any]) -> Callable[[Request], Any]:
        async def checked(request: Request) -> Response:
            if (why := explorer.stranger(request)) is not None:
                return explorer.page("message.html", 403, text=why)
            try:
                return await answer(request)
            except NoAnswer as e:
                return explorer.page("message.html", 400, text=str(e))

        return checked

    async def enter(request: Request) -> Response:
        if not hmac.compare_digest(request.path_params["token"], explorer.token):
            return explorer.page("message.html", 404, text="this link is of another run of `assay explore`")
        made = RedirectResponse("/", 303)
        made.set_cookie(COOKIE, explorer.token, httponly=True, samesite="strict")
        return made

    async def pairs(request: Request) -> Response:
        asked = asked_of(request.query_params)
        number = request.query_params.get("page", "0")
        page = int(number) if number.isdecimal() and len(number) < 9 else 0
        view = await run_in_threadpool(explorer.pool.view, asked, page)
        return explorer.page(
            "pairs.html", asked=asked, page=page, last=max(0, -(-view["found"] // PAGE) - 1), query=urlencode(asked),
            choices=explorer.pool.choices, scores=explorer.pool.scores, **view,
        )  # fmt: skip

    async def pair(request: Request) -> Response:
        name = request.path_params["pair"]
        found = await run_in_threadpool(explorer.pool.pair, name)
        story = await run_in_threadpool(explorer.story, name)
        return explorer.page("pair.html", pair=found, story=story)

    async def compare(request: Request) -> Response:
        asked, by = asked_of(request.query_params), request.query_params.get("by", BY[0])
        rows = await run_in_threadpool(explorer.pool.compared, asked, by)
        return explorer.page("compare.html", asked=asked, by=by, all_by=BY, rows=rows, query=urlencode(asked))

    async def sql(request: Request) -> Response:
        query = request.query_params.get("q", "")
        found, error = None, ""
        if query.strip():
            try:
                found = await run_in_threadpool(explorer.pool.answer, query)
            except NoAnswer as e:
                error = str(e)
        return explorer.page("sql.html", q=query, found=found, error=error)

    async def send(request: Request) -> Response:
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > MOST_BYTES:
                raise NoAnswer("the form is too long")
        form = dict(parse_qsl(body.decode("utf-8", "replace")))
        if not hmac.compare_digest(form.get("token", ""), explorer.token) or explorer.send is None:
            return explorer.page("message.html", 403, text="sent from another page")
        table = await run_in_threadpool(explorer.pool.picked, asked_of(form), MOST_SENT)
        if not table.num_rows:
            raise NoAnswer("no pair is selected")
        return explorer.page("message.html", text=await run_in_threadpool(explorer.send, table, form.get("batch", "")))

    routes = {"/": pairs, "/pair/{pair}": pair, "/compare": compare, "/sql": sql}
    return Starlette(
        routes=[
            *(Route(path, guarded(answer)) for path, answer in routes.items()),
            Route("/send", guarded(send), methods=["POST"]),
            Route("/open/{token}", enter),
        ]
    )
