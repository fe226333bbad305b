"""What a request to the scoring endpoint may take, who may ask, and that no request brings it to fail."""

import http.client
import json
import math
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from prometheus_client.parser import text_string_to_metric_families

from tests.support.endpoints import serving
from tests.support.places import ROOT
from tests.support.training_jobs import pairs
from training import serve
from training.endpoint import Endpoint, Limits
from training.export import export
from training.job import Backbone
from training.model import learn_tokenizer, new_model
from training.scorer import NoNumber, Scorer

SMALL = {"prompt": "2+2?", "chosen": "4", "rejected": "5"}
TOKEN = "a token of the test's"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    tokenizer = learn_tokenizer([p["chosen"] for p in pairs(20)], 300)
    path = tmp_path_factory.mktemp("endpoint") / "model"
    export(new_model(Backbone(hidden=32, layers=1, heads=2), tokenizer, 64, seed=1), path, {"max_tokens": 64})
    return path


@pytest.fixture(scope="module")
def scorer(folder):
    return Scorer(folder)


class Held:
    """A scorer that waits until it is let go."""

    max_tokens = 64

    def __init__(self):
        self.begun, self.go, self.parts = threading.Semaphore(0), threading.Event(), 0

    def score(self, items):
        self.parts += 1
        self.begun.release()
        assert self.go.wait(30)
        return [{"r_chosen": 1.0, "r_rejected": 0.0} for _ in items]


@pytest.fixture
def held():
    scorer = Held()
    yield scorer
    scorer.go.set()


def ask(port: int, body: object = None, path: str = "/score", method: str = "POST", **headers: str):
    """Status, body and headers of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    sent = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    connection.request(method, path, sent, {k.replace("_", "-"): v for k, v in headers.items()})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, json.loads(content) if path != "/metrics" else content.decode(), answer.headers


def raw(port: int, data: bytes, wait: float = 10.0) -> bytes:
    """What comes back for some bytes until the other side closes."""
    with socket.create_connection(("127.0.0.1", port), wait) as s:
        s.sendall(data)
        found = b""
        try:
            while part := s.recv(65536):
                found += part
        except ConnectionResetError:
            pass
        return found


def test_bytes_texts_and_characters_are_limited_before_anything_is_tokenised(held):
    limits = Limits(body=4096, texts=4)
    with serving(Endpoint(held, limits)) as port:
        status, answer, headers = ask(port, {"items": [{**SMALL, "chosen": "x" * 5000}]})
        assert (status, answer["error"], headers["connection"]) == (413, "5062 bytes; at most 4096", "close")
        chunked = b"POST /score HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert b"413 " in raw(port, chunked + (b"1000\r\n" + b"x" * 4096 + b"\r\n") * 3)
        status, answer, _ = ask(port, {"items": [SMALL] * 3})
        assert (status, answer["error"]) == (413, "more than 4 answers to score")
    with serving(Endpoint(held, Limits(characters=100))) as port:
        status, answer, _ = ask(port, {"items": [SMALL, {**SMALL, "rejected": "x" * 100}]})
        assert (status, answer["error"]) == (413, "item 2: 109 characters; an input may have 100")
    with serving(Endpoint(held)) as port:
        status, answer, _ = ask(port, {"items": [{**SMALL, "chosen": "x" * 64 * 64}]})
        assert (status, "an input may have 4096" in answer["error"]) == (413, True)
    assert held.parts == 0


def test_slow_senders_are_given_up_and_hinder_nobody(scorer):
    with serving(Endpoint(scorer, Limits(receive=1.0, at_once=40))) as port:
        slow = [socket.create_connection(("127.0.0.1", port), 10) for _ in range(60)]
        for i, s in enumerate(slow):
            whole_head = b"\r\nContent-Length: 100\r\n\r\n{" if i % 2 else b""
            s.sendall(b"POST /score HTTP/1.1\r\nHost: localhost" + whole_head)
        assert ask(port, path="/health", method="GET")[0] == 200
        assert ask(port, {"items": [SMALL]})[0] == 200
        began = time.monotonic()
        ends = []
        for s in slow:
            try:
                ends.append(s.recv(4096).split(b"\r\n")[0])
            except ConnectionResetError:
                ends.append(b"")
            s.close()
        assert time.monotonic() - began < 5
        assert ends == [b"", b"HTTP/1.1 408 Request Timeout"] * 30
        assert ask(port, path="/metrics", method="GET")[1].count("assay_requests_now 0.0") == 1


def test_more_at_once_than_are_taken_are_told_when_to_ask_again(held):
    with serving(Endpoint(held, Limits(at_once=2))) as port, ThreadPoolExecutor(2) as others:
        waiting = [others.submit(ask, port, {"items": [SMALL]}) for _ in range(2)]
        assert held.begun.acquire(timeout=10)
        while b"assay_requests_now 2.0" not in raw(port, b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n"):
            time.sleep(0.02)
        status, answer, headers = ask(port, {"items": [SMALL]})
        assert (status, headers["retry-after"], "at most 2" in answer["error"]) == (429, "1", True)
        held.go.set()
        assert [w.result()[0] for w in waiting] == [200, 200]
        assert ask(port, {"items": [SMALL]})[0] == 200


def test_what_is_not_scored_in_time_is_stopped_and_counts_until_it_has_ended(held):
    with serving(Endpoint(held, Limits(answer=0.3, at_once=1))) as port:
        status, answer, headers = ask(port, {"items": [SMALL] * 200})
        assert (status, answer["error"], headers["retry-after"]) == (503, "not scored within 0.3 s", "5")
        assert ask(port, {"items": [SMALL]})[0] == 429
        held.go.set()
        while (status := ask(port, {"items": [SMALL]})[0]) == 429:
            time.sleep(0.02)
        assert (status, held.parts) == (200, 2), "of 200 items, the first part only was scored"


def test_nothing_is_scored_for_who_has_gone(held):
    with serving(Endpoint(held)) as port:
        first = threading.Thread(target=ask, args=(port, {"items": [SMALL]}))
        first.start()
        assert held.begun.acquire(timeout=10)
        body = json.dumps({"items": [SMALL]}).encode()
        gone = socket.create_connection(("127.0.0.1", port), 10)
        gone.sendall(b"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        gone.close()
        while 'status="499"' not in ask(port, path="/metrics", method="GET")[1]:
            time.sleep(0.05)
        held.go.set()
        first.join()
        assert ask(port, {"items": [SMALL]})[0] == 200
        assert held.parts == 2


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (b"", 400, "no JSON: Expecting value.*"),
        (b'{"items": ' + b"[" * 200_000, 400, "no JSON: RecursionError"),
        (b'{"items": [' + b"1" * 10_000 + b"]}", 400, "no JSON: .*"),
        (b"\xff\xfe{", 400, "no JSON: UnicodeDecodeError"),
        (b"\x1f\x8b\x08", 400, "no JSON: .*"),
        ({"items": {"0": SMALL}}, 400, r'expected {"items": \[\.\.\.\]}'),
        ({"items": [math.nan]}, 400, "item 1: expected an object, found float"),
        ({"items": [{**SMALL, "prompt": "\ud83d"}]}, 400, "item 1: half of a surrogate pair"),
        (
            {"items": [SMALL, {"messages": [{"role": "\udc00", "content": ""}]}]},
            400,
            "item 2: half of a surrogate pair",
        ),
        ({"items": []}, 200, None),
        ({"items": [{"messages": [{"role": "nobody", "content": "x"}] * 30}]}, 400, "item 1: the last of .*"),
    ],
)
def test_a_body_that_cannot_be_scored_is_refused_with_its_reason(scorer, body, status, error):
    with serving(Endpoint(scorer)) as port:
        found, answer, _ = ask(port, body)
    assert found == status
    assert re.fullmatch(error, answer["error"], re.DOTALL) if error else answer == {"rewards": []}


def test_a_request_that_is_no_http_is_refused(scorer):
    with serving(Endpoint(scorer)) as port:
        for length in (b"-1", b"abc", b"1, 2"):
            head = b"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Length: %b\r\n\r\n" % length
            assert b" 400 " in raw(port, head)
        assert b" 400 " in raw(port, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
        assert b" 400 " in raw(port, b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 1_000_000 + b"\r\n\r\n")


def test_a_fault_of_the_model_is_told_by_its_kind_only(scorer):
    class Broken:
        max_tokens = 64

        def score(self, items):
            raise RuntimeError(f"no kernel for {items}")

    class NotANumber:
        max_tokens = 64

        def score(self, items):
            return [NoNumber(f"{name}: the model gives no finite number") for name, _ in items]

    with serving(Endpoint(Broken())) as port:
        assert ask(port, {"items": [SMALL]})[:2] == (500, {"error": "not scored: RuntimeError"})
    with serving(Endpoint(NotANumber())) as port:
        assert ask(port, {"items": [SMALL]})[:2] == (500, {"error": "item 1: the model gives no finite number"})


def test_a_model_whose_head_is_broken_gives_no_rewards(folder):
    scorer = Scorer(folder)
    with torch.no_grad():
        scorer.model.head().weight.fill_(math.inf)
    (found,) = scorer.score([("item 1", SMALL)])
    assert isinstance(found, NoNumber)


def test_without_a_token_only_this_machine_is_answered(scorer):
    with serving(Endpoint(scorer)) as port:
        assert ask(port, {"items": [SMALL]}, Host="rebound.example")[0] == 403
        assert ask(port, {"items": [SMALL]}, Host="[::1")[0] == 403
        assert ask(port, {"items": [SMALL]}, Origin="https://evil.example")[0] == 403
        assert ask(port, {"items": [SMALL]}, Sec_Fetch_Site="cross-site")[0] == 403
        assert ask(port, {"items": [SMALL]}, Origin=f"http://127.0.0.1:{port}")[0] == 200


def test_with_a_token_only_who_sends_it_is_answered(scorer):
    with serving(Endpoint(scorer, token=TOKEN)) as port:
        for given in ("", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \xe9"):
            for path, method in (("/score", "POST"), ("/metrics", "GET"), ("/openapi.json", "GET")):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                connection.request(method, path, headers={"Authorization": given, "Host": "scores.example"})
                answer = connection.getresponse()
                assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
                connection.close()
        good = {"Authorization": f"Bearer {TOKEN}", "Host": "scores.example"}
        assert ask(port, {"items": [SMALL]}, **good)[0] == 200
        assert ask(port, path="/health", method="GET", Host="scores.example")[:2] == (200, {"max_tokens": 64})


@pytest.mark.parametrize(
    ("host", "token", "says"),
    [
        ("0.0.0.0", "", "0.0.0.0 is not this machine's own address: set a token in ASSAY_ENDPOINT_TOKEN"),
        ("::", "", ":: is not this machine's own address: set a token"),
        ("0.0.0.0", "short", "the token in ASSAY_ENDPOINT_TOKEN is short; at least 16 characters"),
    ],
)
def test_other_machines_are_answered_with_a_token_only(monkeypatch, capsys, host, token, says):
    monkeypatch.setenv("ASSAY_ENDPOINT_TOKEN", token)
    monkeypatch.setattr("sys.argv", ["serve", "http", "no/such/model", "--host", host])
    with pytest.raises(SystemExit) as ended:
        serve.main()
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


def test_metrics_count_requests_rewards_and_time(scorer):
    with serving(Endpoint(scorer)) as port:
        ask(
            port,
            {
                "items": [
                    SMALL,
                    {**SMALL, "chosen": "word " * 200},
                    {"messages": [{"role": "assistant", "content": "x"}]},
                ]
            },
        )
        ask(port, {"items": 1})
        ask(port, path="/elsewhere", method="GET")
        _, text, headers = ask(port, path="/metrics", method="GET")
    assert headers["content-type"].startswith("text/plain; version=")
    found = {(s.name, *s.labels.values()): s.value for f in text_string_to_metric_families(text) for s in f.samples}
    assert found["assay_requests_total", "/score", "200"] == 1
    assert found["assay_requests_total", "/score", "400"] == 1
    assert found["assay_requests_total", "", "404"] == 1
    assert found["assay_rewards_total",] == 3
    assert found["assay_unscored_total",] == 1
    assert found["assay_score_seconds_count",] == 1
    assert "word" not in text


def fuzzed(endpoint: Endpoint, headers: dict[str, str]) -> None:
    """Every documented operation with generated requests, in and out of its schema, and all checks of schemathesis but
    one: that turns are what a chat template takes, and a prompt the last of them, no schema can say."""
    import schemathesis

    schema = schemathesis.openapi.from_asgi("/openapi.json", endpoint.app, headers=headers)
    without = schemathesis.checks.CHECKS.get_by_names(["positive_data_acceptance"])
    quick = settings(
        max_examples=12, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    for operation in schema.get_all_operations():
        modes = list(schemathesis.GenerationMode)
        for mode in modes if operation.ok().method == "post" else modes[:1]:  # a GET has nothing to get wrong

            @quick
            @given(case=operation.ok().as_strategy(generation_mode=mode))
            def sent(case):
                case.call_and_validate(headers=headers, excluded_checks=without)

            sent()


def test_no_generated_request_brings_the_endpoint_to_fail(scorer):
    fuzzed(Endpoint(scorer), {"Host": "localhost"})
    fuzzed(Endpoint(scorer, token=TOKEN), {"Host": "scores.example", "Authorization": f"Bearer {TOKEN}"})


def test_sigterm_ends_it_without_a_traceback(folder):
    command = [sys.executable, "-m", "training.serve", "http", str(folder), "--port", "0", "--max-texts", "2"]
    started = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    line = started.stderr.readline()
    port = int(line.rpartition(":")[2].removesuffix("/score\n"))
    assert ask(port, {"items": [SMALL]})[0] == 200
    assert ask(port, {"items": [SMALL, SMALL]})[0] == 413
    started.send_signal(signal.SIGTERM)
    _, said = started.communicate(timeout=30)
    assert (started.returncode, said) == (-signal.SIGTERM, "")
