"""A server on the loopback that answers as scripted, in both providers' protocols, and remembers what was asked."""

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Step:
    """One answer: a body (dict is sent as JSON), a status and headers; `reset` drops the connection instead, `drip`
    waits so many seconds before each byte; `surplus` is a second whole answer that nobody asked for, in the same packet or
    so many seconds `later`."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    reset: bool = False
    drip: float = 0
    surplus: Any = None
    later: float = 0


Script = Callable[[str, dict, int], Step]  # path, body, how many requests came before


class ScriptedServer:
    def __init__(self, script: Script, port: int = 0):
        self.script = script
        self.requests: list[tuple[str, dict, dict]] = []
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body in one packet: two of them wait 40 ms for each other

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])) or b"{}")
                with outer._lock:
                    number = len(outer.requests)
                    outer.requests.append((self.path, body, dict(self.headers)))
                step = outer.script(self.path, body, number)
                if step.reset:
                    # linger 0 makes the close a reset
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.close_connection = True
                    self.connection.close()
                    return
                with contextlib.suppress(OSError):
                    self.say(step, step.body)
                    if step.surplus is not None:
                        if step.later:
                            self.wfile.flush()
                            time.sleep(step.later)
                        self.say(step, step.surplus)
                    self.wfile.flush()

            def say(self, step, body):
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(step.status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                for name, value in step.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                for i in range(len(data)) if step.drip else ():  # a byte at a time
                    time.sleep(step.drip)
                    self.wfile.write(data[i : i + 1])
                    self.wfile.flush()
                self.wfile.write(data if not step.drip else b"")

            def finish(self):
                with contextlib.suppress(OSError, ValueError):
                    super().finish()

            def log_message(self, *args):
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 256

            def handle_error(self, request, client_address):
                pass  # a reset connection is part of the script

        self.server = Server(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@contextlib.contextmanager
def serving(script: Script, port: int = 0) -> Iterator[ScriptedServer]:
    scripted = ScriptedServer(script, port)
    thread = threading.Thread(target=scripted.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield scripted
    finally:
        scripted.server.shutdown()
        scripted.server.server_close()
        thread.join()


def completion(text: str, finish: str = "stop", refusal: str | None = None, usage: dict | None = None) -> dict:
    """A body of OpenAI's chat completions."""
    return {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text, "refusal": refusal}}
        ],
        "usage": usage or {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100},
    }


def message(text: str, stop: str = "end_turn", usage: dict | None = None) -> dict:
    """A body of Anthropic's messages."""
    return {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": text}],
        "stop_reason": stop,
        "usage": usage or {"input_tokens": 1000, "output_tokens": 100},
    }


def verdict(answer: str) -> str:
    return json.dumps({"reasoning": "r", "verdict": answer})
