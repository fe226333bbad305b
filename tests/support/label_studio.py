"""A stand-in for a Label Studio server: the calls that the door makes, with the real one's habits. It checks nothing of
an annotation, puts a deleted one's task back, lets access tokens die, and may be told to break off."""

import contextlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

PERSONAL_DATA = "head.refresh.tail"


class LabelStudio:
    """State of the server. `people` are its accounts, ids from 1."""

    def __init__(self, *people: str):
        self.people = dict(enumerate(people, 1))
        self.projects: list[dict] = []
        self.tasks: dict[int, dict] = {}
        self.annotations: dict[int, dict] = {}
        self.calls: list[tuple[str, str]] = []
        self.bad_headers: list[str] = []
        self.tokens = 0
        self.expire_after = 10**9  # calls for which an access token is good
        self.used = 0
        self.break_after: int | None = None  # tasks of the next import that arrive before the line is cut
        self.twice = False  # every answer is followed by an empty one in the same packet
        self.lock = threading.RLock()

    # ---- what people do in the browser ------------------------------------------------------------------------------
    def next_for(self, user: int, project: int) -> dict | None:
        """The first task that this person has not annotated and that has not got all its annotations."""
        most = next(p for p in self.projects if p["id"] == project)["maximum_annotations"]
        for task in sorted(self.tasks.values(), key=lambda t: t["id"]):
            mine = [a for a in self.annotations.values() if a["task"] == task["id"]]
            if task["project"] == project and len(mine) < most and user not in {a["completed_by"] for a in mine}:
                return task
        return None

    def annotate(self, task: int, user: int, answer: dict) -> int:
        """Submit the form of a task; `answer` has the keys that the desk's reader takes."""

        def part(name: str, kind: str, values: list) -> dict:
            type_ = "choices" if kind == "choices" else "textarea"
            made = {"from_name": name, "to_name": "conversation", "type": type_, "value": {kind: values}}
            return made | {"origin": answer.get("verdict_origin", "manual") if name == "verdict" else "manual"}

        result = [part("verdict", "choices", [answer["verdict"]])] if answer.get("verdict") else []
        if answer.get("acknowledged"):
            result.append(part("acknowledged", "choices", ["yes"]))
        for name in ("tools", "why_undecided"):
            if answer.get(name):
                result.append(part(name, "choices", answer[name] if isinstance(answer[name], list) else [answer[name]]))
        if answer.get("tool_log"):
            result.append(part("tool_log", "text", answer["tool_log"]))
        if answer.get("rationale"):
            result.append(part("reason", "text", [answer["rationale"]]))
        with self.lock:
            number = max(self.annotations, default=0) + 1
            at = f"2026-05-01T10:{number // 60 % 60:02d}:{number % 60:02d}.000000Z"
            self.annotations[number] = {
                "id": number, "task": task, "completed_by": user, "result": result, "was_cancelled": False,
                "lead_time": answer.get("seconds", 30.0), "created_at": at, "updated_at": at,
            }  # fmt: skip
        return number

    # ---- what the server answers ------------------------------------------------------------------------------------
    def respond(self, method: str, path: str, query: dict, body, token: str | None) -> tuple[int, object]:
        self.calls.append((method, path))
        if path == "/api/token/refresh/":
            self.tokens, self.used = self.tokens + 1, 0
            return (200, {"access": f"access-{self.tokens}"}) if body == {"refresh": PERSONAL_DATA} else (401, {})
        self.used += 1
        if token != f"Bearer access-{self.tokens}" or self.used > self.expire_after:
            return 401, {"detail": "token_not_valid"}
        match method, re.sub(r"/\d+", "/N", path):
            case "GET", "/api/projects/":
                found = [p for p in self.projects if query.get("title", "") in p["title"]]
                return 200, {"results": found, "next": None, "count": len(found)}
            case "POST", "/api/projects/validate/":
                ElementTree.fromstring(body["label_config"])
                return 204, None
            case "POST", "/api/projects/":
                if len(body["title"]) > 50:
                    return 400, {"title": ["Project name must be shorter"]}
                self.projects.append(body | {"id": len(self.projects) + 1})
                return 201, self.projects[-1]
            case "POST", "/api/projects/N/import":
                project = int(path.split("/")[3])
                cut, self.break_after = self.break_after, None
                for one in body[:cut]:
                    number = max(self.tasks, default=0) + 1
                    self.tasks[number] = {"id": number, "project": project, **one}
                return (-1, None) if cut is not None else (201, {"task_count": len(body)})
            case "GET", "/api/tasks/":
                rows = [t for t in self.tasks.values() if t["project"] == int(query["project"])]
                size, page = int(query["page_size"]), int(query["page"])
                shown = [
                    t | {"total_annotations": len(self._of(t["id"]))} for t in rows[(page - 1) * size : page * size]
                ]
                return 200, {"tasks": shown, "total": len(rows)}
            case "PATCH", "/api/projects/N/":
                next(p for p in self.projects if p["id"] == int(path.split("/")[3])).update(body)
                return 200, {}
            case "PATCH", "/api/tasks/N/":
                self.tasks[int(path.split("/")[3])] |= body
                return 200, {}
            case "DELETE", "/api/tasks/N/":
                return (204, None) if self.tasks.pop(int(path.split("/")[3]), None) else (404, {})
            case "GET", "/api/projects/N/export":
                mine = [t for t in self.tasks.values() if t["project"] == int(path.split("/")[3]) and self._of(t["id"])]
                return 200, [t | {"annotations": self._of(t["id"])} for t in mine]
            case "DELETE", "/api/annotations/N/":
                return (204, None) if self.annotations.pop(int(path.split("/")[3]), None) else (404, {})
            case "GET", "/api/users/":
                return 200, [{"id": n, "email": e} for n, e in self.people.items()]
        return 404, {"detail": f"{method} {path}"}

    def _of(self, task: int) -> list[dict]:
        return [a for a in self.annotations.values() if a["task"] == task]


@contextlib.contextmanager
def label_studio(*people: str) -> Iterator[tuple[LabelStudio, str]]:
    """(server, its address) while the block runs."""
    state = LabelStudio(*people)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def _do(self):
            size = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(size)) if size else None
            at = urlsplit(self.path)
            with state.lock:
                status, said = state.respond(
                    self.command, at.path, {k: v[0] for k, v in parse_qs(at.query).items()}, body,
                    self.headers.get("authorization"),
                )  # fmt: skip
            if status < 0:
                self.close_connection = True
                return
            data = b"" if said is None else json.dumps(said).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
            if state.twice:
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()
            self.wfile.flush()

        do_GET = do_POST = do_PATCH = do_DELETE = _do

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield state, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
