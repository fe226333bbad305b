"""Both providers' batch services on the loopback: files, create, list, retrieve, results; faults on request."""

import contextlib
import datetime
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.support.judging import body_for


class BatchServer:
    """Keeps what it was sent.

    Attributes:
        answer: body of a request -> text of the answer.
        created: batches by id: custom_id -> body.
        faults: what the next creates do: 'ok', 'lost' (accepted, then 504) or 'refused' (503, nothing accepted).
        ended: ids of the batches that have ended.
        spoil: changes a batch's result lines (list of dicts) before they go out.
        counts: how many results the server says a batch has, where not as many as requests; None leaves them out.
        fails: a batch -> (code, message) where it fails as a whole, else None.
        pages: what is sent instead of the next results.
        ahead: seconds by which the server's clock is ahead of ours.
    """

    def __init__(self, answer: Callable[[dict], str]):
        self.answer = answer
        self.created: dict[str, dict[str, dict]] = {}
        self.names: dict[str, str] = {}
        self.files: dict[str, bytes] = {}
        self.faults: list[str] = []
        self.ended: set[str] = set()
        self.spoil: Callable[[list[dict]], list[dict]] = list
        self.counts: dict[str, int | None] = {}
        self.fails: Callable[[dict[str, dict]], tuple[str, str] | None] = lambda requests: None
        self.pages: list[bytes] = []
        self.made_at: dict[str, float] = {}
        self.ahead = 0.0
        self.asked: list[tuple[str, dict]] = []  # path and headers
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version, wbufsize = "HTTP/1.1", -1

            def do_POST(self):
                outer.asked.append((self.path, dict(self.headers)))
                self.reply(*outer.post(self.path, self.rfile.read(int(self.headers["content-length"]))))

            def do_GET(self):
                outer.asked.append((self.path, dict(self.headers)))
                self.reply(*outer.get(self.path.partition("?")[0]))

            def reply(self, status, body):
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                kind = "application/x-jsonl" if isinstance(body, bytes) else "application/json"
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args):
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, request, client_address):
                pass  # a client that hangs up is part of the test

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def end_all(self) -> None:
        self.ended |= set(self.created)

    # ---- protocol --------------------------------------------------------------------------------------------------
    def post(self, path: str, data: bytes) -> tuple[int, object]:
        if path.endswith("/files"):
            name = f"file-{len(self.files)}"
            self.files[name] = b"\n".join(re.findall(rb'^\{"custom_id".*$', data, re.MULTILINE))
            return 200, {"id": name, "object": "file", "bytes": 1, "created_at": 1, "filename": "x", "purpose": "batch",
                         "status": "processed"}  # fmt: skip
        body = json.loads(data)
        fault = self.faults.pop(0) if self.faults else "ok"
        if fault == "refused":
            return 503, {"error": {"message": "busy"}}
        made = f"batch-{len(self.created)}"
        if "requests" in body:
            self.created[made] = {r["custom_id"]: r["params"] for r in body["requests"]}
        else:
            lines = map(json.loads, self.files[body["input_file_id"]].splitlines())
            self.created[made] = {line["custom_id"]: line["body"] for line in lines}
            self.names[made] = body["metadata"]["assay"]
        self.made_at[made] = time.time() + self.ahead
        if fault == "lost":
            return 504, {"error": {"message": "gateway timeout"}}
        return 200, self.batch(made, anthropic="messages" in path)

    def get(self, path: str) -> tuple[int, object]:
        anthropic = "messages" in path
        last = path.rsplit("/", 1)[-1]
        if last == "batches":
            newest_first = [self.batch(b, anthropic) for b in reversed(self.created)]
            return 200, {"object": "list", "data": newest_first, "has_more": False, "first_id": None, "last_id": None}
        if last == "content":
            return 200, self.results(path.split("/")[-2].removeprefix("out-"), anthropic=False)
        if last == "results":
            return 200, self.results(path.split("/")[-2], anthropic=True)
        return 200, self.batch(last, anthropic)

    def batch(self, made: str, anthropic: bool) -> dict:
        n, ended = len(self.created[made]), made in self.ended
        lines = self.counts.get(made, n)
        at = self.made_at[made]
        if anthropic:
            counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
            counts["succeeded" if ended else "processing"] = n if lines is None or not ended else lines
            return {"id": made, "type": "message_batch", "processing_status": "ended" if ended else "in_progress",
                    "created_at": datetime.datetime.fromtimestamp(at, datetime.UTC).isoformat(),
                    "expires_at": "2999-01-02T00:00:00Z",
                    "results_url": f"{self.url}/v1/messages/batches/{made}/results" if ended else None,
                    } | ({} if lines is None else {"request_counts": counts})  # fmt: skip
        failed = self.fails(self.created[made])
        found = {"id": made, "object": "batch", "endpoint": "/v1/chat/completions", "completion_window": "24h",
                 "status": "failed" if failed else "completed" if ended else "in_progress", "created_at": int(at),
                 "input_file_id": "f", "output_file_id": f"out-{made}" if ended and not failed else None,
                 "metadata": {"assay": self.names[made]}}  # fmt: skip
        if failed:
            code, said = failed
            return found | {"errors": {"object": "list", "data": [{"code": code, "message": said}]}}
        return found | ({} if lines is None else {"request_counts": {"total": n, "completed": lines, "failed": 0}})

    def results(self, made: str, anthropic: bool) -> bytes:
        if self.pages:
            return self.pages.pop(0)
        lines = []
        for key, body in self.created[made].items():
            reply = body_for("" if anthropic else "chat", self.answer(body))
            if anthropic:
                lines.append({"custom_id": key, "result": {"type": "succeeded", "message": reply}})
            else:
                response = {"status_code": 200, "body": reply}
                lines.append({"id": "r", "custom_id": key, "response": response, "error": None})
        return b"\n".join(json.dumps(line).encode() for line in self.spoil(lines))


def failed(line: dict, how: str) -> dict:
    """The line of a request that ended without an answer: expired or errored."""
    if "result" in line:
        error = {"type": "error", "error": {"type": "api_error", "message": "x"}}
        return line | {"result": {"type": how} | ({"error": error} if how == "errored" else {})}
    code = "batch_expired" if how == "expired" else "server_error"
    return line | {"response": None, "error": {"code": code, "message": "x"}}


@contextlib.contextmanager
def batching(answer: Callable[[dict], str]) -> Iterator[BatchServer]:
    made = BatchServer(answer)
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()
        thread.join()
