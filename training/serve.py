"""Rewards for a file or over HTTP, by the code that training and the pool's scorer use.

    python -m training.serve file MODEL INPUT.jsonl OUTPUT.jsonl
    python -m training.serve http MODEL --port 8500

A line of the file, or an element of the request's `items`, is {messages: [turns, the last one the assistant's]}, which
gets `reward`, or {conversation: [turns] and/or prompt: text, chosen, rejected}, which gets `r_chosen` and `r_rejected`.
A `prompt` beside a `conversation` is its last turn, or follows on an answer; anything else is refused.
What is longer than the model's limit gets null and `unscored: over_length`. A line that has no reward for another
reason costs that line: `unscored` says file, line and reason, the others are scored, and the exit status is 2. A request
with such an item is refused whole, with its reason.

    curl -d '{"items": [{"prompt": "2+2?", "chosen": "4", "rejected": "5"}]}' http://127.0.0.1:8500/score
"""

import argparse
import itertools
import json
import math
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from training.atomic import beside
from training.model import load_model
from training.processes import ProcessGroup
from training.render import RenderError
from training.score import OVER_LENGTH, limit_of, score

CHUNK = 1024
MOST_BYTES = 64 << 20
SHOWN = 10  # reasons that are printed; all stand in the file


class BadItem(ValueError):
    """An item that has no reward; the message says where it stands and why."""


class Scorer:
    """A reward model, loaded once. Safe to call from several threads, one at a time.

    Attributes:
        note: what was assumed of how long its inputs may be, if anything.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it holds no reward model, or says not how long its inputs may be, and `max_tokens` is not given.
    """

    def __init__(self, folder: Path, max_tokens: int | None = None, budget: int = 4096):
        self.model = load_model(folder)
        self.max_tokens, self.note = limit_of(folder, self.model, max_tokens)
        self.model.to(ProcessGroup().device)
        self.budget = budget
        self._lock = threading.Lock()

    def score(self, items: Sequence[tuple[str, object]]) -> list[dict | BadItem]:
        """Rewards of items (see the module), in their order; for an item that can have none, why.

        Args:
            items: each with what an error calls it.
        """
        forms = [_parsed(item, where) for where, item in items]
        usable = [(i, f) for i, f in enumerate(forms) if not isinstance(f, BadItem)]
        flat = [(i, turns, r) for i, (turns, answers) in usable for r in answers.values()]
        refused: dict[int, RenderError] = {}
        with self._lock:
            found, _ = score(
                self.model,
                [turns for _, turns, _ in flat],
                [r for _, _, r in flat],
                max_tokens=self.max_tokens,
                budget=self.budget,
                keys=[i for i, _, _ in flat],
                names=[items[i][0] for i, _, _ in flat],
                refused=refused,
            )
        why = {flat[n][0]: BadItem(str(e)) for n, e in refused.items()}
        rewards = iter(found.tolist())
        results = {i: _result({name: next(rewards) for name in answers}) for i, (_, answers) in usable}
        return [why.get(i) or (f if isinstance(f, BadItem) else results[i]) for i, f in enumerate(forms)]


def _result(rewards: dict[str, float]) -> dict:
    if any(math.isnan(r) for r in rewards.values()):
        return {**dict.fromkeys(rewards), "unscored": OVER_LENGTH}
    return rewards


def _parsed(item: object, where: str) -> tuple[list[dict], dict[str, str]] | BadItem:
    try:
        if isinstance(item, BadItem):
            raise item
        return parse(item, where)
    except BadItem as e:
        return e


def parse(item: object, where: str) -> tuple[list[dict], dict[str, str]]:
    """The turns before the answer, and the answers by the name that their reward gets.

    Raises:
        BadItem: the item has neither form, or what it says twice differs.
    """
    if not isinstance(item, dict):
        raise BadItem(f"{where}: expected an object, found {type(item).__name__}")
    given = {k: v for k, v in item.items() if v is not None}
    if "messages" in given:
        turns = _turns(given["messages"], where)
        if not turns or turns[-1]["role"] != "assistant":
            raise BadItem(f"{where}: the last of `messages` must be the assistant's")
        if double := [k for k in ("chosen", "rejected") if k in given]:
            raise BadItem(f"{where}: `messages` and `{double[0]}` are two items; give one a line")
        before = turns[:-1]
        if {"prompt", "conversation"} & given.keys() and _context({"conversation": before} | given, where) != before:
            raise BadItem(f"{where}: `messages` and `conversation` are two conversations; give one of them")
        return before, {"reward": turns[-1]["content"]}
    if missing := [k for k in ("chosen", "rejected") if not isinstance(given.get(k), str)]:
        raise BadItem(f"{where}: `messages`, or the texts `chosen` and `rejected`, are needed; no {missing[0]}")
    answers = {f"r_{k}": _text(given[k], where) for k in ("chosen", "rejected")}
    return _context(given, where), answers


def _context(given: dict, where: str) -> list[dict]:
    """The turns that `conversation` and `prompt` make together."""
    prompt = given.get("prompt")
    if prompt is not None and not isinstance(prompt, str):
        raise BadItem(f"{where}: `prompt` must be a text, found {type(prompt).__name__}")
    if prompt is None and "conversation" not in given:
        raise BadItem(f"{where}: a `prompt` or a `conversation` is needed")
    turns = _turns(given.get("conversation", []), where)
    if prompt is None:
        return turns
    asked = [t["content"] for t in turns if t["role"] == "user"]
    if turns and turns[-1]["role"] == "user":
        if turns[-1]["content"] != prompt:
            raise BadItem(f"{where}: `prompt` is not the last turn of `conversation`; give one of them")
        return turns
    if asked and asked[-1] == prompt:
        raise BadItem(f"{where}: `conversation` goes on after `prompt`; give one of them")
    return [*turns, {"role": "user", "content": _text(prompt, where)}]


def _turns(value: object, where: str) -> list[dict]:
    if not isinstance(value, list):
        raise BadItem(f"{where}: turns must be a list of objects with the texts `role` and `content`")
    turns = []
    for t in value:
        if not isinstance(t, dict) or not isinstance(t.get("role"), str) or not isinstance(t.get("content"), str):
            raise BadItem(f"{where}: turns must be a list of objects with the texts `role` and `content`")
        turns.append({"role": _text(t["role"], where), "content": _text(t["content"], where)})
    return turns


def _text(value: str, where: str) -> str:
    """The same text, if it can be written at all."""
    try:
        value.encode()
    except UnicodeEncodeError as e:
        raise BadItem(f"{where}: half of a surrogate pair") from e
    return value


@dataclass
class Scored:
    """What became of a file's lines.

    Attributes:
        scored: lines with rewards.
        over_length: lines that are too long.
        refused: lines without a reward for another reason.
        reasons: the first of them, each with file and line.
    """

    scored: int = 0
    over_length: int = 0
    refused: int = 0
    reasons: tuple[str, ...] = ()

    def add(self, result: dict | BadItem) -> None:
        if isinstance(result, BadItem):
            self.refused += 1
            self.reasons = (*self.reasons, str(result))[:SHOWN]
        elif result.get("unscored"):
            self.over_length += 1
        else:
            self.scored += 1

    def told(self, target: Path) -> int:
        """Print the reasons and the counts on stderr. Returns the exit status: 2 if a line was refused."""
        more = [f"and {self.refused - len(self.reasons)} more"] * (self.refused > len(self.reasons))
        counts = [f"{self.scored:,} line{'s' * (self.scored != 1)} scored"]
        counts += [f"{self.over_length:,} too long"] * bool(self.over_length)
        counts += [f"{self.refused:,} refused (`unscored` in {target} says why)"] * bool(self.refused)
        print(*self.reasons, *more, ", ".join(counts), sep="\n", file=sys.stderr)
        return 2 if self.refused else 0


def score_file(scorer: Scorer, source: Path, target: Path) -> Scored:
    """Score a JSONL file; each line of `target` is the line of `source` with its rewards, or with `unscored`.

    `target` appears whole or not at all.
    """
    done = Scored()
    with beside(target) as new:
        with source.open("rb") as lines, new.open("w", encoding="utf-8", newline="\n") as out:
            numbered = _items(lines, source)
            while chunk := list(itertools.islice(numbered, CHUNK)):
                for (_, item), result in zip(chunk, scorer.score(chunk), strict=True):
                    done.add(result)
                    out.write(_line(item, result) + "\n")
        new.replace(target)
    return done


def _items(lines: Iterable[bytes], source: Path) -> Iterator[tuple[str, object]]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            where = f"{source}, line {number}"
            try:
                yield where, json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except UnicodeDecodeError as e:
                yield where, BadItem(f"{where}: no UTF-8 at byte {e.start}")
            except (json.JSONDecodeError, RecursionError) as e:
                yield where, BadItem(f"{where}: no JSON: {e}")


def _line(item: object, result: dict | BadItem) -> str:
    kept = item if isinstance(item, dict) else {}
    if isinstance(result, BadItem):
        names = ("reward",) if "messages" in kept else ("r_chosen", "r_rejected")
        result = {**dict.fromkeys(names if kept else ()), "unscored": str(result)}
    line = json.dumps({**kept, **result}, ensure_ascii=False)
    try:
        line.encode()
    except UnicodeEncodeError:  # half of a surrogate pair somewhere: it stays, spelled as it came
        line = json.dumps({**kept, **result})
    return line


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
                results = scorer.score([(f"item {i}", item) for i, item in enumerate(request["items"], 1)])
                if refused := next((r for r in results if isinstance(r, BadItem)), None):
                    raise refused
                self.answer(HTTPStatus.OK, {"rewards": results})
            except ValueError as e:
                self.answer(HTTPStatus.BAD_REQUEST, {"error": str(e)})

        def answer(self, status: HTTPStatus, value: dict):
            data = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format, *args):
            """Requests hold people's texts, and their paths say nothing: no log."""

    return ThreadingHTTPServer((host, port), Handler)


def main() -> int:
    parser = argparse.ArgumentParser(prog="training.serve", description=(__doc__ or "").splitlines()[0])
    ways = parser.add_subparsers(dest="way", required=True)
    file, http = ways.add_parser("file"), ways.add_parser("http")
    for way in (file, http):
        way.add_argument("model", type=Path, help="folder of a reward model")
        way.add_argument("--max-tokens", type=int, help="longest input; default: what the model says of itself")
    file.add_argument("source", type=Path)
    file.add_argument("target", type=Path)
    http.add_argument("--host", default="127.0.0.1")
    http.add_argument("--port", type=int, default=8500)
    args = parser.parse_args()
    try:
        scorer = Scorer(args.model, args.max_tokens)
        if scorer.note:
            print(scorer.note, file=sys.stderr)
        if args.way == "file":
            return score_file(scorer, args.source, args.target).told(args.target)
    except (OSError, ValueError) as e:
        print(f"{type(e).__name__}: {e}", file=sys.stderr)
        return 1
    with server(scorer, args.host, args.port) as http_server:
        print(f"listening on http://{args.host}:{http_server.server_port}/score", file=sys.stderr)
        http_server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
