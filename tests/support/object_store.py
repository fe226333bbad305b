"""A store of objects that speaks S3, in a process of its own: moto's server, which honours conditional writes.

python -m tests.support.object_store PORT [--careless]    (a careless one does as if it had never heard of them)
"""

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

COLOURS = re.compile(r"\x1b\[[0-9;]*m")  # of the server's log, by status
SECRET = "a-secret-that-must-stand-nowhere"


@dataclass(frozen=True)
class ObjectStore:
    """A running server with one bucket.

    Attributes:
        bucket: `s3://…` of it; another for each server, since a process remembers how buckets are reached.
        environment: what a process needs to reach it.
        log: a line a request.
    """

    bucket: str
    environment: dict[str, str]
    log: Path

    def requests(self) -> list[str]:
        """`PUT /bucket/path HTTP/1.1` and so on, so far."""
        lines = COLOURS.sub("", self.log.read_text(errors="replace")).splitlines()
        return [line.split('"')[1] for line in lines if '"' in line]


@contextmanager
def serving(folder: Path, careless: bool = False) -> Generator[ObjectStore]:
    """A server while the block lasts; the environment of this process reaches it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address, name, log = f"http://127.0.0.1:{port}", f"lake-{port}", folder / f"requests-{port}.log"
    environment = {
        "AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_ENDPOINT_URL": address,
        "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
    }  # fmt: skip
    command = [sys.executable, "-m", "tests.support.object_store", str(port), *["--careless"] * careless]
    with open(log, "w") as out:
        server = subprocess.Popen(command, stdout=out, stderr=out)
    before = {key: os.environ.get(key) for key in environment}
    os.environ.update(environment)
    try:
        _make_bucket(f"{address}/{name}", server)
        yield ObjectStore(f"s3://{name}", environment, log)
    finally:
        for key, value in before.items():
            os.environ.pop(key)
            os.environ.update({} if value is None else {key: value})
        server.kill()
        server.wait()


def _make_bucket(address: str, server: subprocess.Popen) -> None:
    for _ in range(600):
        assert server.poll() is None, "the server ended"
        try:
            urllib.request.urlopen(urllib.request.Request(address, method="PUT")).close()
            return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(address)


def _main(port: int, careless: bool) -> None:
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import run_simple

    moto = DomainDispatcherApplication(create_backend_app)

    def application(environ, start_response):
        if careless:
            for name in ("HTTP_IF_NONE_MATCH", "HTTP_IF_MATCH"):
                environ.pop(name, None)
        return moto(environ, start_response)

    run_simple("127.0.0.1", port, application, threaded=True)


if __name__ == "__main__":
    _main(int(sys.argv[1]), "--careless" in sys.argv)
