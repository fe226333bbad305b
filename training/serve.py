"""Rewards for a file or over HTTP, by the code that training and the pool's scorer use.

    python -m training.serve file MODEL INPUT.jsonl OUTPUT.jsonl
    python -m training.serve http MODEL --port 8500

A line of the file, or an element of the request's `items`, is {messages: [turns, the last one the assistant's]}, which
gets `reward`, or {conversation: [turns] or prompt: text, chosen, rejected}, which gets `r_chosen` and `r_rejected`.
What is longer than the model's limit gets null and `unscored: over_length`.

    curl -d '{"items": [{"prompt": "2+2?", "chosen": "4", "rejected": "5"}]}' http://127.0.0.1:8500/score
"""

import argparse
import itertools
import json
import math
import sys
import threading
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from training.processes import World
from training.render import RenderError
from training.score import OVER_LENGTH, score, settings_of

CHUNK = 1024
MOST_BYTES = 64 << 20


class BadItem(ValueError):
    """An item that has no reward; the message says where it stands and why."""


class Scorer:
    """An exported model, loaded once. Safe to call from several threads, one at a time.

    Raises:
        ValueError: the folder does not say how long its inputs may be, and `max_tokens` is not given.
    """

    def __init__(self, folder: Path, max_tokens: int | None = None, budget: int = 4096):
        from training.model import load_model

        self.max_tokens = max_tokens or settings_of(folder).get("max_tokens")
        if self.max_tokens is None:
            raise ValueError(f"{folder}: no reward.json with max_tokens; give --max-tokens")
        self.model = load_model(folder).to(World().device)
        self.budget = budget
        self._lock = threading.Lock()

    def score(self, items: list[dict], where: str = "item") -> list[dict]:
        """Rewards of items (see the module), in their order.

        Raises:
            BadItem: an item has neither form, or its turns do not fit the model's template.
        """
        forms = [parse(item, f"{where} {i}") for i, item in enumerate(items, 1)]
        flat = [(i, turns, r) for i, (turns, answers) in enumerate(forms) for r in answers.values()]
        try:
            with self._lock:
                found, _ = score(
                    self.model,
                    [turns for _, turns, _ in flat],
                    [r for _, _, r in flat],
                    max_tokens=self.max_tokens,
                    budget=self.budget,
                    keys=[i for i, _, _ in flat],
                    names=[f"{where} {i + 1}" for i, _, _ in flat],
                )
        except RenderError as e:
            raise BadItem(str(e)) from e
        rewards = iter(found.tolist())
        return [_result({name: next(rewards) for name in answers}) for _, answers in forms]


def _result(rewards: dict[str, float]) -> dict:
    if any(math.isnan(r) for r in rewards.values()):
        return {**dict.fromkeys(rewards), "unscored": OVER_LENGTH}
    return rewards


def parse(item: object, where: str) -> tuple[list[dict], dict[str, str]]:
    """The turns before the answer, and the answers by the name that their reward gets.

    Raises:
        BadItem: the item has neither form.
    """
    if not isinstance(item, dict):
        raise BadItem(f"{where}: expected an object, found {type(item).__name__}")
    if "messages" in item:
        turns = _turns(item["messages"], where)
        if not turns or turns[-1]["role"] != "assistant":
            raise BadItem(f"{where}: the last of `messages` must be the assistant's")
        return turns[:-1], {"reward": turns[-1]["content"]}
    if missing := [k for k in ("chosen", "rejected") if not isinstance(item.get(k), str)]:
        raise BadItem(f"{where}: `messages`, or the texts `chosen` and `rejected`, are needed; no {missing[0]}")
    if isinstance(item.get("prompt"), str):
        turns = [{"role": "user", "content": item["prompt"]}]
    else:
        turns = _turns(item.get("conversation"), where)
    return turns, {"r_chosen": item["chosen"], "r_rejected": item["rejected"]}


def _turns(value: object, where: str) -> list[dict]:
    ok = isinstance(value, list) and all(
        isinstance(t, dict) and isinstance(t.get("role"), str) and isinstance(t.get("content"), str) for t in value
    )
    if not ok:
        raise BadItem(f"{where}: turns must be a list of objects with the texts `role` and `content`")
    return value


def score_file(scorer: Scorer, source: Path, target: Path) -> int:
    """Score a JSONL file; each line of `target` is the line of `source` with its rewards. Returns the lines scored.

    `target` appears whole or not at all.

    Raises:
        BadItem: a line is no JSON or no item; the message names file and line.
    """
    part = target.with_suffix(target.suffix + ".part")
    done = 0
    with source.open(encoding="utf-8", newline="\n") as lines, part.open("w", encoding="utf-8", newline="\n") as out:
        numbered = _items(lines, source)
        while chunk := list(itertools.islice(numbered, CHUNK)):
            for number, item in chunk:
                parse(item, f"{source}, line {number}")
            results = scorer.score([item for _, item in chunk], f"{source}, after line {chunk[0][0] - 1}, item")
            for (_, item), rewards in zip(chunk, results, strict=True):
                out.write(json.dumps({**item, **rewards}, ensure_ascii=False) + "\n")
            done += len(chunk)
    part.replace(target)
    return done


def _items(lines, source: Path) -> Iterator[tuple[int, object]]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except json.JSONDecodeError as e:
                raise BadItem(f"{source}, line {number}: no JSON: {e}") from e


def server(scorer: Scorer, host: str = "127.0.0.1", port: int = 0) -> ThreadingHTTPServer:
    """An HTTP server, not yet serving. ``POST /score {"items": […]}`` answers ``{"rewards": […]}``; ``GET /health``."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/health":
                self.answer(HTTPStatus.OK, {"max_tokens": scorer.max_tokens})
            else:
                self.answer(HTTPStatus.NOT_FOUND, {"error": "there is POST /score and GET /health"})

        def do_POST(self):
            size = int(self.headers.get("Content-Length") or 0)
            if self.path != "/score":
                self.answer(HTTPStatus.NOT_FOUND, {"error": "there is POST /score and GET /health"})
            elif size > MOST_BYTES:
                self.close_connection = True
                self.answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"error": f"more than {MOST_BYTES} bytes"})
            else:
                self.score(self.rfile.read(size))

        def score(self, body: bytes):
            try:
                request = json.loads(body)
                if not isinstance(request, dict) or not isinstance(request.get("items"), list):
                    raise BadItem('expected {"items": [...]}')
                self.answer(HTTPStatus.OK, {"rewards": scorer.score(request["items"])})
            except ValueError as e:
                self.answer(HTTPStatus.BAD_REQUEST, {"error": str(e)})

        def answer(self, status: HTTPStatus, value: dict):
            data = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            """Requests hold people's texts, and their paths say nothing: no log."""

    return ThreadingHTTPServer((host, port), Handler)


def main() -> int:
    parser = argparse.ArgumentParser(prog="training.serve", description=__doc__.splitlines()[0])
    ways = parser.add_subparsers(dest="way", required=True)
    file, http = ways.add_parser("file"), ways.add_parser("http")
    for way in (file, http):
        way.add_argument("model", type=Path, help="folder of an exported model")
        way.add_argument("--max-tokens", type=int)
    file.add_argument("source", type=Path)
    file.add_argument("target", type=Path)
    http.add_argument("--host", default="127.0.0.1")
    http.add_argument("--port", type=int, default=8500)
    args = parser.parse_args()
    try:
        scorer = Scorer(args.model, args.max_tokens)
        if args.way == "file":
            print(f"{score_file(scorer, args.source, args.target)} lines scored", file=sys.stderr)
            return 0
    except (OSError, ValueError) as e:
        print(f"{type(e).__name__}: {e}", file=sys.stderr)
        return 1
    with server(scorer, args.host, args.port) as http_server:
        print(f"listening on http://{args.host}:{http_server.server_port}/score", file=sys.stderr)
        http_server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
