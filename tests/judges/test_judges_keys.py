"""Keys go where they are meant, texts go where the configuration says, and neither is found anywhere else."""

import base64
import json
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.parse
import zlib

import pytest

from resources.lake import Lake
from resources.llm.policy import Unavailable
from resources.llm.providers import Anthropic, NoKey, OpenAI, provider
from resources.settings import ConfigError, Judge
from tests.support.judging import NO_EXAMPLES, body_for, config, honest, judge, targets
from tests.support.places import ROOT
from tests.support.scripted_server import Step, serving

BACKENDS = pytest.mark.parametrize("backend", ["openai", "anthropic"])
HOME = {"openai": "sk-REALopenaiKEY0123456789abcdef", "anthropic": "sk-ant-REALanthropicKEY0123456789"}
ENVIRONMENT = {
    "OPENAI_API_KEY": HOME["openai"],
    "ANTHROPIC_API_KEY": HOME["anthropic"],
    "ANTHROPIC_AUTH_TOKEN": "TOKEN-planted-auth",
    "OPENAI_ORG_ID": "org-planted",
    "OPENAI_PROJECT_ID": "proj-planted",
    "OPENAI_ADMIN_KEY": "sk-admin-planted",
    "OPENAI_CUSTOM_HEADERS": "X-Custom: planted",
    "ANTHROPIC_CUSTOM_HEADERS": "X-Custom: planted",
    "MY_KEY": "hexKEY0123456789abcdef",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


def answering(path, body, number):
    return Step(body_for(path, honest(body)))


def carried(server) -> str:
    return json.dumps([headers for _, _, headers in server.requests])


@BACKENDS
def test_a_server_of_somebody_else_gets_no_key_and_nothing_of_the_sdks_environment(tmp_path, backend):
    with serving(answering) as server:
        judge(server.url, tmp_path, backend=backend).vote(targets(2), NO_EXAMPLES)
        assert not [v for v in ENVIRONMENT.values() if v in carried(server)]
        assert not any("authorization" in {h.lower() for h in headers} for _, _, headers in server.requests)


@BACKENDS
def test_a_server_gets_the_key_that_is_named_and_no_other(tmp_path, backend):
    with serving(answering) as server:
        judge(server.url, tmp_path, backend=backend, api_key_env="MY_KEY").vote(targets(2), NO_EXAMPLES)
        assert [v for v in ENVIRONMENT.values() if v in carried(server)] == [ENVIRONMENT["MY_KEY"]]


def test_what_is_named_of_the_environment_is_read(tmp_path):
    with serving(answering) as server:
        judge(server.url, tmp_path, environment=["OPENAI_ORG_ID"]).vote(targets(1), NO_EXAMPLES)
        assert [v for v in ENVIRONMENT.values() if v in carried(server)] == ["org-planted"]


@BACKENDS
def test_the_providers_own_key_goes_to_the_providers_own_host_alone(backend):
    made = {"openai": OpenAI, "anthropic": Anthropic}[backend]
    assert made("", None).key() == made(made.own, None).key() == HOME[backend]
    for elsewhere in (
        made.own.replace("https", "http"),
        "https://api.openai.com.evil.example/v1",
        "https://evil.example/api.openai.com/v1",
        "https://api.openai.com:8443/v1",
        "http://127.0.0.1:8000/v1",
    ):
        assert made(elsewhere, None).key() == ""
        assert HOME[backend] not in str(made(elsewhere, None).headers())
    assert made("http://127.0.0.1:8000/v1", "MY_KEY").key() == ENVIRONMENT["MY_KEY"]


def test_a_named_key_that_is_not_there_is_missed_by_name():
    with pytest.raises(NoKey, match="NO_SUCH_KEY holds no key for http://x"):
        provider(Judge(name="j", backend="openai", model="m", base_url="http://x", api_key_env="NO_SUCH_KEY"))


@BACKENDS
def test_no_variable_moves_calls_to_another_address(monkeypatch, backend, capfd):
    """Without a base_url the provider itself is meant, whatever its SDK would read."""
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    made = provider(Judge(name="j", backend=backend, model="m"))
    wire = made.connect()
    assert wire.base_url == made.own and wire.proxy is None
    assert f"{backend.upper()}_BASE_URL is set and not read: calls go to {made.own}" in capfd.readouterr().err
    named = provider(Judge(name="j", backend=backend, model="m", environment=["HTTPS_PROXY"]))
    assert named.connect().proxy == "http://127.0.0.1:9"


def test_a_proxy_of_the_environment_is_not_used(tmp_path, monkeypatch):
    with serving(answering) as proxy, serving(answering) as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        judge(server.url, tmp_path).vote(targets(1), NO_EXAMPLES)
        assert len(server.requests) == 2 and not proxy.requests
        named = judge(server.url, tmp_path, environment=["HTTP_PROXY"])
        named.vote(targets(2), NO_EXAMPLES)
        assert len(server.requests) == 2 and len(proxy.requests) == 2


def test_only_known_variables_can_be_named():
    with pytest.raises((ConfigError, ValueError), match="environment"):
        config("http://x", environment=["PATH"])


@BACKENDS
@pytest.mark.parametrize("http", [301, 302, 303, 307, 308])
def test_a_redirect_is_refused_in_one_line_and_nothing_goes_there(tmp_path, backend, http):
    with serving(answering) as other:
        elsewhere = f"{other.url}/v1/chat/completions"
        with serving(lambda *_: Step(b"", http, {"location": elsewhere})) as server, pytest.raises(Unavailable) as stop:
            judge(server.url, tmp_path, backend=backend, api_key_env="MY_KEY").vote(targets(3), NO_EXAMPLES)
        assert not other.requests
    said = str(stop.value)
    assert f"answered {http}: redirected to {elsewhere}; redirects are not followed" in said and "\n" not in said


@BACKENDS
def test_no_cookie_is_sent_back(tmp_path, backend):
    with serving(lambda p, b, n: Step(body_for(p, honest(b)), 200, {"set-cookie": "session=abc; Path=/"})) as server:
        judge(server.url, tmp_path, backend=backend, concurrency=1).vote(targets(3), NO_EXAMPLES)
        assert "session=abc" not in carried(server)


@BACKENDS
def test_where_each_call_went_is_on_record(tmp_path, backend):
    with serving(answering) as server:
        judge(server.url, tmp_path, backend=backend).vote(targets(2), NO_EXAMPLES)
        con = sqlite3.connect(tmp_path / "files" / "calls" / "calls.sqlite")
        assert con.execute("SELECT DISTINCT host FROM attempts").fetchall() == [(server.url.removeprefix("http://"),)]


# ---- nowhere else --------------------------------------------------------------------------------------------------
KEY = "k9Zx-planted/7Qm2~B8nRt5+wEy3"


def echoes(key: str) -> list[str]:
    """How a careless server repeats a key."""
    return [
        key,
        f"Bearer {key}",
        key[:14],
        key[-12:],
        key[6:20],
        base64.b64encode(key.encode()).decode(),
        base64.b64encode(f"Bearer {key}".encode()).decode(),
        base64.urlsafe_b64encode(f"me:{key}:and more".encode()).decode(),
        urllib.parse.quote(key, ""),
        f"{key[:4]}****{key[-4:]}",
        f"incorrect key provided: {key[:6]}…{key[-4:]}",
        "x" * 490 + key,  # across the place where a message is cut
    ]


def pieces(key: str, n: int = 8) -> list[str]:
    packed = [base64.b64encode(bytes(before) + key.encode()).decode() for before in range(3)]
    packed = [p.rstrip("=")[3:-1] for p in packed]
    packed += [p.replace("+", "-").replace("/", "_") for p in packed] + [urllib.parse.quote(key, "")]
    return [k[i : i + n] for k in (key, *packed) for i in range(len(k) - n + 1)]


@BACKENDS
def test_a_planted_key_is_nowhere_whole_or_in_parts(tmp_path, monkeypatch, backend, capfd):
    monkeypatch.setenv("PLANTED", KEY)
    said, repeats = [], echoes(KEY)

    def script(path, body, number):
        echo = repeats[number % len(repeats)]
        if number < 2 * len(repeats):
            return Step(
                {"error": {"message": f"failed with {echo}", "code": echo}}, 500, {"x-echo": KEY, "retry-after": "0"}
            )
        if number < 4 * len(repeats):
            return Step(body_for(path, honest(body)) | {"echo": echo, "id": echo}, 200, {"x-echo": KEY})
        return Step({"error": {"message": f"wrong key {echo}"}}, 401)

    with serving(script) as server:
        for _ in range(2):
            with pytest.raises(Unavailable) as stop:
                judge(server.url, tmp_path, backend=backend, api_key_env="PLANTED", concurrency=1).vote(
                    targets(30), NO_EXAMPLES
                )
            said.append(str(stop.value))
        assert KEY in carried(server)  # it was sent, where it belongs
    con = sqlite3.connect(tmp_path / "files" / "calls" / "calls.sqlite")
    for (table,) in con.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        for row in con.execute(f"SELECT * FROM {table}"):
            said += [str(zlib.decompress(v) if isinstance(v, bytes) and v[:1] == b"x" else v) for v in row]
    said += capfd.readouterr()
    found = [(p, s[:200]) for s in said for p in (*pieces(KEY), "****" + KEY[-4:], KEY[:4] + "*") if p in s]
    assert not found
    for file in tmp_path.rglob("*"):
        content = file.read_bytes() if file.is_file() else b""
        assert not [p for p in pieces(KEY) if p.encode() in content], file


def test_bodies_without_a_key_stay_as_they_came(tmp_path):
    bodies = []

    def script(path, body, number):
        bodies.append(body_for(path, honest(body)) | {"note": "caf\u00e9 \U0001f600 sk-looks-like-a-key"})
        return Step(json.dumps(bodies[-1], ensure_ascii=False).encode())

    with serving(script) as server:
        judge(server.url, tmp_path, api_key_env="MY_KEY", concurrency=1).vote(targets(1), NO_EXAMPLES)
    con = sqlite3.connect(tmp_path / "files" / "calls" / "calls.sqlite")
    stored = [json.loads(zlib.decompress(raw)) for (raw,) in con.execute("SELECT raw FROM bodies ORDER BY attempt")]
    assert stored == bodies


# ---- the end of a process ------------------------------------------------------------------------------------------
PROGRAM = """
import sys
from pathlib import Path
from resources.judges import ask
from tests.support.judging import NO_EXAMPLES, judge, targets
panel = [judge(sys.argv[1], Path(sys.argv[2]), name=n, model=n, price={"input": 1, "output": 10}, concurrency=4)
         for n in sys.argv[3]]
ask(panel, targets(200), NO_EXAMPLES)
"""


def heeds_interrupts() -> None:
    """A shell starts what runs in the background with SIGINT ignored, and its children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize(
    ("name", "judges"),
    [
        ("SIGINT", "ab"),
        pytest.param("SIGINT", "a", marks=pytest.mark.slow),
        pytest.param("SIGTERM", "a", marks=pytest.mark.slow),
        pytest.param("SIGTERM", "ab", marks=pytest.mark.slow),
    ],
)
def test_what_is_on_its_way_may_arrive_when_somebody_ends_the_process(tmp_path, name, judges):
    def script(path, body, number):
        time.sleep(0.5)
        return Step(body_for(path, honest(body)))

    with serving(script) as server:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, server.url, str(tmp_path), judges], cwd=ROOT, stderr=subprocess.PIPE, text=True,
            preexec_fn=heeds_interrupts,
        )  # fmt: skip
        while len(server.requests) < 4 * len(judges) + 2 and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(getattr(signal, name))
        said = process.communicate(timeout=120)[1]
        asked = len(server.requests)
    assert process.returncode == (-signal.SIGTERM if name == "SIGTERM" else -signal.SIGINT)
    assert "calls on their way are paid for and may arrive" in said
    con = sqlite3.connect(tmp_path / "files" / "calls" / "calls.sqlite")
    found = con.execute(
        "SELECT coalesce(status, 'lost'), count(*) FROM attempts LEFT JOIN results ON attempt = attempts.id GROUP BY 1"
    ).fetchall()
    assert found == [("ok", asked)] and asked <= 8 * len(judges) + 4


@pytest.mark.slow
def test_a_second_signal_does_not_wait(tmp_path):
    def script(path, body, number):
        time.sleep(20)
        return Step(body_for(path, honest(body)))

    with serving(script) as server:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, server.url, str(tmp_path), "a"], cwd=ROOT, stderr=subprocess.DEVNULL,
            preexec_fn=heeds_interrupts,
        )  # fmt: skip
        while len(server.requests) < 4 and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert process.poll() is None  # it waits
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=18) == -signal.SIGTERM  # sooner than an answer comes
    assert Lake(str(tmp_path)).folder("calls").exists()
