"""A stand-in of the Hugging Face Hub's API on the loopback: repositories, commits of plain files and of large ones."""

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Hub:
    """What was made on it.

    Attributes:
        repositories: (kind, OWNER/NAME) -> {visibility, revision, files: path -> content}.
        requests: (method, path) in order.
        large: files that end so go the way of large files.
        refuse: status and message of every answer, where it is to refuse.
    """

    def __init__(self, large: str = ".safetensors"):
        self.repositories: dict[tuple[str, str], dict[str, Any]] = {}
        self.requests: list[tuple[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.large, self.stored = large, {}
        self.refuse: tuple[int, str] | None = None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                outer.requests.append((self.command, self.path))
                outer.headers.append(dict(self.headers))
                status, said = outer.refuse or outer.reply(self.command, self.path.partition("?")[0], body)
                data = json.dumps({"error": said} if outer.refuse else said).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = answer

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "Hub":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self._server.shutdown()
        self._server.server_close()

    def reply(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        if path == "/api/repos/create":
            asked = json.loads(body)
            key = asked.get("type", "model"), f"{asked['organization']}/{asked['name']}"
            if key in self.repositories:
                return 409, {"error": "You already created this repo", "url": f"{self.url}/{key[1]}"}
            self.repositories[key] = {"visibility": asked.get("visibility"), "revision": "0" * 40, "files": {}}
            return 200, {"url": f"{self.url}/{'datasets/' * (key[0] == 'dataset')}{key[1]}"}
        if path == "/api/validate-yaml":
            return 200, {"warnings": [], "errors": []}
        if path.startswith("/large/"):
            if hashlib.sha256(body).hexdigest() != path.removeprefix("/large/"):
                return 400, {"error": "another content"}
            self.stored[path.removeprefix("/large/")] = body
            return 200, {}
        if path.endswith(".git/info/lfs/objects/batch"):
            objects = [
                {"oid": o["oid"], "size": o["size"], "actions": {"upload": {"href": f"{self.url}/large/{o['oid']}"}}}
                for o in json.loads(body)["objects"]
            ]
            return 200, {"transfer": "basic", "objects": objects}
        kind, _, rest = path.removeprefix("/api/").partition("/")
        name, action = "/".join(rest.split("/")[:2]), "/".join(rest.split("/")[2:])
        held = self.repositories.get((kind.removesuffix("s"), name))
        if held is None:
            return 404, {"error": "Repository not found"}
        if action.startswith("tree/"):
            return 200, [{"type": "file", "path": p, "size": len(c), "oid": "0" * 40} for p, c in held["files"].items()]
        if action.startswith("preupload/"):
            files = json.loads(body)["files"]
            return 200, {
                "files": [
                    {"path": f["path"], "shouldIgnore": False, "oid": None,
                     "uploadMode": "lfs" if f["path"].endswith(self.large) else "regular"}
                    for f in files
                ]
            }  # fmt: skip
        if action.startswith("commit/"):
            for line in body.splitlines():
                said = json.loads(line)
                value = said["value"]
                if said["key"] == "file":
                    held["files"][value["path"]] = base64.b64decode(value["content"])
                elif said["key"] == "lfsFile":
                    held["files"][value["path"]] = self.stored[value["oid"]]
                elif said["key"] == "deletedFile":
                    del held["files"][value["path"]]
            held["revision"] = hashlib.sha1(body).hexdigest()
            return 200, {
                "success": True, "commitOid": held["revision"], "commitUrl": f"{self.url}/{name}/commit/{held['revision']}",
                "hookOutput": "",
            }  # fmt: skip
        return 404, {"error": f"nothing at {path}"}
