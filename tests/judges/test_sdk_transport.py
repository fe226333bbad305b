"""The providers' SDKs carry every call, bounded on this side, and bring nothing of their own into it."""

import asyncio
import gzip
import json
import subprocess
import sys
import time

import pytest

from resources.llm import wire
from resources.llm.batch_calls import Pending
from resources.llm.providers import Anthropic, OpenAI
from resources.llm.wire import BadAddress, Failure, RawAnswer
from tests.judges.test_judges_batch import vote
from tests.support.batch_server import batching
from tests.support.judging import NO_EXAMPLES, body_for, honest, judge, targets
from tests.support.places import ROOT
from tests.support.scripted_server import Step, serving

BACKENDS = pytest.mark.parametrize("backend", ["openai", "anthropic"])
AGENT = {"openai": "AsyncOpenAI/Python ", "anthropic": "AsyncAnthropic/Python "}
TOLD = {"lang", "package-version", "os", "arch", "runtime", "runtime-version", "async", "raw-response"}
PLANTED = """X-Custom: planted
Host: planted.example
user-agent: planted
Authorization: Bearer planted
cookie: planted
content-type: planted
content-length: 3
Accept-Encoding: planted
anthropic-version: planted
anthropic-workspace-id: planted
anthropic-beta: planted
openai-organization: planted
X-Stainless-OS: planted
x-stainless-helper: planted
x-stainless-retry-count: planted
x-api-key: planted"""


def answering(path, body, number):
    return Step(body_for(path, honest(body)))


def carries_the_sdks_name(headers: dict, backend: str) -> bool:
    said = {k.lower(): v for k, v in headers.items()}
    told = {k.removeprefix("x-stainless-") for k in said if k.startswith("x-stainless-")}
    return said["user-agent"].startswith(AGENT[backend]) and said["x-stainless-lang"] == "python" and told == TOLD


def one_call(url: str, backend: str, key_env: str | None = None) -> RawAnswer:
    made = {"openai": OpenAI, "anthropic": Anthropic}[backend](url, key_env)

    async def call() -> RawAnswer:
        async with made.connect() as client:
            return await client.call("POST", made.path, b'{"a": 1}')

    return asyncio.run(call())


@BACKENDS
def test_a_call_made_now_is_carried_by_the_providers_sdk(tmp_path, monkeypatch, backend):
    monkeypatch.setenv("MY_KEY", "k9Zx-planted-7Qm2vB8nRt5LwEy3")
    with serving(answering) as server:
        judge(server.url, tmp_path, backend=backend, api_key_env="MY_KEY").vote(targets(2), NO_EXAMPLES)
        assert len(server.requests) == 4
        for _, _, headers in server.requests:
            assert carries_the_sdks_name(headers, backend)
            assert [k.lower() for k, v in headers.items() if "planted" in v] == [
                {"openai": "authorization", "anthropic": "x-api-key"}[backend]
            ]


@BACKENDS
def test_every_call_of_a_batch_is_carried_by_the_providers_sdk(tmp_path, backend):
    with batching(honest) as server:
        with pytest.raises(Pending):
            vote(server, tmp_path, backend)
        server.end_all()
        assert set(vote(server, tmp_path, backend)["status"].to_pylist()) == {"ok"}
        ways = {path.partition("?")[0].rsplit("/", 1)[-1] for path, _ in server.asked}
        assert {"openai": {"files", "batches", "content"}, "anthropic": {"batches", "results"}}[backend] <= ways
        assert all(carries_the_sdks_name(headers, backend) for _, headers in server.asked)


@BACKENDS
def test_no_header_comes_from_the_environment(monkeypatch, backend):
    with serving(lambda *_: Step({})) as server:
        for planted in (False, True):
            for name in ("OPENAI_CUSTOM_HEADERS", "ANTHROPIC_CUSTOM_HEADERS"):
                monkeypatch.setenv(name, PLANTED) if planted else monkeypatch.delenv(name, raising=False)
            assert one_call(server.url, backend).http == 200
        (_, _, plain), (_, body, planted) = server.requests
        assert plain == planted and body == {"a": 1}


PROGRAM = """
import logging, sys
from pathlib import Path
from tests.support.judging import NO_EXAMPLES, judge, targets
for backend in ("openai", "anthropic"):
    judge(sys.argv[1], Path(sys.argv[2]) / backend, backend=backend, api_key_env="MY_KEY").vote(targets(1), NO_EXAMPLES)
    assert backend in sys.modules
"""


def test_no_variable_turns_on_a_log_of_what_is_sent(tmp_path):
    names = {"OPENAI_LOG": "debug", "ANTHROPIC_LOG": "debug", "MY_KEY": "k9Zx-planted-7Qm2vB8nRt5LwEy3"}
    with serving(answering) as server:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, server.url, str(tmp_path)],
            cwd=ROOT, env={"PYTHONPATH": ".", "PATH": "/usr/bin:/bin"} | names, capture_output=True, text=True
        )  # fmt: skip
        assert len(server.requests) == 4
    assert done.returncode == 0, done.stderr
    assert not [word for word in ("DEBUG", "HTTP", "planted", "good 0000") if word in done.stderr + done.stdout]


# ---- bounds --------------------------------------------------------------------------------------------------------
@BACKENDS
@pytest.mark.parametrize("packed", [False, True])
def test_an_answer_is_read_up_to_its_bound_however_it_is_packed(monkeypatch, backend, packed):
    monkeypatch.setattr(wire, "MOST_BYTES", 4 << 20)
    bodies = [b" " * (4 << 20), b" " * ((4 << 20) + 1)]
    headers = {"content-encoding": "gzip"} if packed else {}

    def script(path, body, number):
        return Step(gzip.compress(bodies[number]) if packed else bodies[number], headers=headers)

    with serving(script) as server:
        assert one_call(server.url, backend).body == bodies[0]
        with pytest.raises(Failure, match="an answer of more than 4 MiB") as e:
            one_call(server.url, backend)
    assert e.value.http == 0 and e.value.ambiguous  # it was worked on, and may be charged


@BACKENDS
def test_a_refusal_is_not_read_to_its_end(backend):
    """Of a body that would take a day to come, what came at first is the reason."""
    said = json.dumps({"error": {"message": "slow down", "code": "busy"}}).encode()
    head = Step(said + b" " * (64 << 20), 429, {"retry-after": "7"})
    with serving(lambda *_: head) as server, pytest.raises(Failure) as e:
        one_call(server.url, backend)
    assert (e.value.http, e.value.retry_after, e.value.transient) == (429, 7.0, True)
    assert str(e.value).startswith(("slow down", '{"error"'))


@BACKENDS
def test_a_refusal_that_drips_is_left_in_time(monkeypatch, backend):
    monkeypatch.setattr(wire, "TIMEOUT", 0.5)
    with serving(lambda *_: Step(b'{"error": {"message": "x"}}', 503, drip=0.1)) as server:
        started = time.monotonic()
        with pytest.raises(Failure, match=r"no whole answer in 0\.5 s"):
            one_call(server.url, backend)
        assert len(server.requests) == 1  # no SDK sends it again
    assert time.monotonic() - started < 20


@BACKENDS
@pytest.mark.parametrize(
    ("later", "pause"),
    [(0, 0), (0.02, 0.15), (0.15, 0)],
    ids=["in one packet", "before the next request", "after the next request"],
)
def test_an_answer_that_nobody_asked_for_answers_no_later_request(backend, later, pause):
    made = {"openai": OpenAI, "anthropic": Anthropic}[backend]

    async def three(url: str) -> list[bytes]:
        bodies = []
        async with made(url, None).connect() as client:
            for _ in range(3):
                bodies.append((await client.call("POST", made.path, b"{}")).body)
                await asyncio.sleep(pause)
        return bodies

    with serving(lambda path, body, number: Step(b"%d" % number, surplus=b"surplus", later=later)) as server:
        assert asyncio.run(three(server.url)) == [b"0", b"1", b"2"]


@BACKENDS
def test_a_call_that_never_left_cannot_have_been_charged(backend):
    with serving(lambda *_: Step({})) as server:
        gone = server.url
    with pytest.raises(Failure) as e:
        one_call(gone, backend)
    assert e.value.http == 0 and e.value.transient and not e.value.ambiguous
    with serving(lambda *_: Step(reset=True)) as server, pytest.raises(Failure) as e:
        one_call(server.url, backend)
    assert e.value.ambiguous


@pytest.mark.parametrize("proxy", ["socks9://somebody:secret@127.0.0.1:9", "127.0.0.1:9", "ftp://h"])
def test_a_proxy_that_cannot_be_one_stops_at_once_in_one_line(monkeypatch, proxy):
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    made = OpenAI("http://127.0.0.1:9", None, ["HTTPS_PROXY"])
    with pytest.raises(BadAddress, match=r"The proxy for http://127\.0\.0\.1:9 is no address of one") as e, made.desk():
        pass
    assert "secret" not in str(e.value) and "\n" not in str(e.value)


@BACKENDS
@pytest.mark.parametrize("address", ["http://127.0.0.1:port", "http://a_b..c:80x"])
def test_an_address_where_no_server_can_be_stops_at_once_in_one_line(backend, address):
    with pytest.raises(BadAddress, match="is no address of a server") as e:
        one_call(address, backend)
    assert str(e.value).startswith(address) and "\n" not in str(e.value)
