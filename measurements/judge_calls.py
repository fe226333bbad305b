"""Paid calls: how much of a rate limit is used, at what cost on this side, and how long a finished run takes again.

    python -m measurements.judge_calls speed [--requests 5000] [--rate 200] [--latency 0.2] [--curator ENV/bin/python]
    python -m measurements.judge_calls rerun [--stored 1000000]

`speed` sends the same judge prompts to one loopback server, which takes a fixed time for each and answers above its
rate with 429, from several clients in turn, each a process of its own: this project's store and executor; a plain loop
over the SDK with a semaphore and the SDK's retries, which keeps answers in memory; and bespoke curator, in an
environment of its own. `rerun` judges pairs whose answers are all stored. Both print Markdown.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
import zlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from curation.prompts import JudgeAnswer, Prompt, judge_prompt
from resources.judges import guideline
from resources.judges.llm_judge import CHUNK, LlmJudge
from resources.lake import Lake
from resources.llm.call_store import Store, store
from resources.llm.online_calls import Payer, complete
from resources.llm.prices import flat
from resources.llm.providers import OpenAI
from resources.settings import Called, Price, Settings

ANSWER = json.dumps({"reasoning": "Both are short; the first one says what was asked for. " * 8, "verdict": "tie"})
REPLY = json.dumps(
    {
        "id": "c", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": ANSWER}}],
        "usage": {"prompt_tokens": 3000, "completion_tokens": 100, "total_tokens": 3100},
    }
).encode()  # fmt: skip
ABOUT = {"category": "math", "objectivity": "objective", "controversiality": "low", "desired": "d", "guideline": "g"}
MODEL = "gpt-4o-mini-2024-07-18"  # a name that every client knows
CONCURRENCY = 64


# ---- the server ----------------------------------------------------------------------------------------------------
async def serve(latency: float, rate: float) -> None:
    """A minimal HTTP/1.1 server. Every POST takes `latency`; a token bucket that holds one second's worth guards it. A
    GET returns what happened since the last GET, and fills the bucket. Its clock starts with the second call: one
    client sends one to learn the limits before it begins."""
    level, at, calls = rate, time.monotonic(), 0
    seen = {"answered": 0, "refused": 0, "first": 0.0, "last": 0.0}

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal level, at, calls
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:] if line)
                now, limits = time.monotonic(), ""
                if head.startswith(b"GET"):
                    status, body = "200 OK", json.dumps(seen).encode()
                    seen.update(answered=0, refused=0)
                    level, at, calls = rate, now, 0
                else:
                    await reader.readexactly(int(lines[b"content-length"]))
                    level, at = min(rate, level + (now - at) * rate), now
                    allowed = level >= 1
                    level -= allowed
                    calls += 1
                    seen["first"] = now if calls == 2 else seen["first"]
                    limits = f"x-ratelimit-limit-requests: {rate * 60:.0f}\r\n"
                    limits += f"x-ratelimit-remaining-requests: {int(level)}\r\n"
                    limits += "x-ratelimit-limit-tokens: 1000000000\r\nx-ratelimit-remaining-tokens: 999999999\r\n"
                    if allowed:
                        await asyncio.sleep(latency)
                        status, body = "200 OK", REPLY
                        seen["answered"] += 1
                    else:
                        status, body = "429 Too Many Requests", b'{"error": {"message": "slow down"}}'
                        limits += "retry-after: 1\r\n"
                        seen["refused"] += 1
                    seen["last"] = time.monotonic()
                top = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
                writer.write(f"{top}{limits}\r\n".encode() + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextlib.contextmanager
def serving(latency: float, rate: float) -> Iterator[str]:
    command = [sys.executable, "-m", "measurements.judge_calls", "serve", str(latency), str(rate)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield f"http://127.0.0.1:{server.stdout.readline().strip()}/v1"
    finally:
        server.terminate()
        server.wait()


# ---- the clients, each run as a process ----------------------------------------------------------------------------
def prompts(n: int) -> Iterator[Prompt]:
    """Judge prompts as they go out, about 3,000 tokens each: the guideline, and two answers of drawn words."""
    texts, draw = guideline.load().texts, random.Random(7)
    words = sorted(set(texts["core"].split()))
    for i in range(n):
        one, two = (" ".join(draw.choices(words, k=700)) for _ in range(2))
        asked = [{"role": "user", "content": f"Question {i}: " + " ".join(draw.choices(words, k=30))}]
        yield judge_prompt(texts, asked, (one, two), ABOUT, [], frozenset())


def ours(url: str, file: Path) -> None:
    """The store and executor: every call on disk before and after, within a budget."""
    provider, called = OpenAI(url, None), Called(model=MODEL, max_output_tokens=1000)
    requests = [provider.request(Prompt(**row), JudgeAnswer, called, 0) for row in read(file)]
    payer = Payer("benchmark", "j", MODEL, flat(Price(input=1, output=10)), 10**12)
    with tempfile.TemporaryDirectory() as folder:
        opened = Store(Path(folder) / "calls.sqlite")
        found = complete(requests, JudgeAnswer, provider, payer, opened, CONCURRENCY)
        assert len(found) == len(requests) and all(f.status == "ok" for f in found.values())
        opened.close()


def plain(url: str, file: Path) -> None:
    """What one writes in ten minutes: nothing is recorded, a crash loses everything."""
    import openai

    provider, called = OpenAI(url, None), Called(model=MODEL, max_output_tokens=1000)
    bodies = [provider.request(Prompt(**row), JudgeAnswer, called, 0).body for row in read(file)]

    async def run() -> list[JudgeAnswer]:
        gate = asyncio.Semaphore(CONCURRENCY)
        async with openai.AsyncOpenAI(api_key="none", base_url=url, max_retries=50) as client:

            async def one(body) -> JudgeAnswer:
                async with gate:
                    reply = await client.chat.completions.create(**body)
                    return JudgeAnswer.model_validate_json(reply.choices[0].message.content)

            return await asyncio.gather(*map(one, bodies))

    assert len(asyncio.run(run())) == len(bodies)


def read(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def speed(o: argparse.Namespace) -> None:
    clients = {"Assay": [sys.executable, "-m", "measurements.judge_calls", "ours"],
               "SDK loop, semaphore": [sys.executable, "-m", "measurements.judge_calls", "plain"]}  # fmt: skip
    if o.curator:
        clients["bespoke curator"] = [o.curator, str(Path(__file__).with_name("judge_calls_curator.py"))]
    print(f"{o.requests:,} requests, {o.rate:g} a second allowed, {o.latency:g} s each, {CONCURRENCY} at once.\n")
    print("| client | share of the limit | seconds, first call to last answer | refused (429) | CPU-s | CPU-ms a call |"
          " peak MiB |\n| --- | --- | --- | --- | --- | --- | --- |", flush=True)  # fmt: skip
    least = (o.requests - o.rate) / o.rate + o.latency  # the first second's worth goes at once
    with tempfile.TemporaryDirectory() as folder, serving(o.latency, o.rate) as url:
        file = Path(folder) / "prompts.jsonl"
        file.write_text("".join(json.dumps(vars(p)) + "\n" for p in prompts(o.requests)))
        for _ in range(o.rounds):
            for name, command in clients.items():
                tally(url)
                child = subprocess.Popen([*command, url, str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
                error = child.stderr.read()
                _, status, used = os.wait4(child.pid, 0)
                child.returncode = os.waitstatus_to_exitcode(status)
                seen, cpu = tally(url), used.ru_utime + used.ru_stime
                if child.returncode or seen["answered"] < o.requests:
                    print(f"| {name} | failed ({seen['answered']} answers): {error.decode()[-300:]!r} |", flush=True)
                    continue
                span = seen["last"] - seen["first"]
                print(f"| {name} | {least / span:.1%} | {span:.1f} | {seen['refused']} | {cpu:.1f} |"
                      f" {cpu / o.requests * 1e3:.2f} | {used.ru_maxrss / 1024:.0f} |", flush=True)  # fmt: skip


def tally(url: str) -> dict:
    with urllib.request.urlopen(url) as reply:
        return json.load(reply)


# ---- a finished run, again -----------------------------------------------------------------------------------------
def targets(start: int, n: int) -> pa.Table:
    rows = [
        {"pair_id": f"{i:08x}", "conversation": [{"role": "user", "content": f"Question {i}?"}],
         "chosen": f"An answer to {i}. " * 20, "rejected": f"Another one to {i}. " * 20, **ABOUT}
        for i in range(start, start + n)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows)


def rerun(o: argparse.Namespace) -> None:
    free = {"input": 0, "output": 0}
    panel = [{"name": "j", "backend": "openai", "model": "m", "base_url": "http://127.0.0.1:9/v1", "price": free}]
    settings = Settings.model_validate(
        {"sources": [{"name": "s", "path": "s"}], "world": {}, "judges": {"panel": panel, "quorum": 1}}
    )
    none = pa.table({c: pa.array([], pa.string()) for c in ("target_pair", "rank", "gold_pair")})
    pairs = o.stored // 2
    with tempfile.TemporaryDirectory() as folder:
        judge = LlmJudge(settings.judges.judges[0], settings, Lake(folder))
        with store(judge.lake) as opened:
            for start in range(0, pairs, CHUNK):
                fill(opened, [a.request for a in judge._ask(targets(start, min(CHUNK, pairs - start)), none)])
        file = judge.lake.folder("calls") / "calls.sqlite"
        print(f"{o.stored:,} responses stored, {file.stat().st_size / 2**20:,.0f} MiB.\n")
        print("| step | wall s | CPU-s |\n| --- | --- | --- |")
        spent: dict[str, tuple[float, float]] = {}

        def timed(name: str, work):
            def wrapped(*given):
                wall, cpu, was = time.monotonic(), time.process_time(), spent.get(name, (0.0, 0.0))
                done = work(*given)
                spent[name] = (was[0] + time.monotonic() - wall, was[1] + time.process_time() - cpu)
                return done

            return wrapped

        ask = judge._ask
        judge._ask = timed("of which prompts", lambda *given: list(ask(*given)))
        Store.answered = timed("of which look-up", Store.answered)
        vote, votes = timed("every vote again", judge.vote), 0
        for start in range(0, pairs, 25 * CHUNK):  # nobody listens at the address: any call would fail
            found = vote(targets(start, min(25 * CHUNK, pairs - start)), none)
            assert set(found["status"].to_pylist()) == {"ok"}
            votes += found.num_rows
        assert votes == o.stored
        with store(judge.lake) as opened:
            timed("ledger", opened.ledger)()
        for name, (wall, cpu) in spent.items():
            print(f"| {name} | {wall:.1f} | {cpu:.1f} |")


def fill(opened: Store, requests: list) -> None:
    """Answers as if the requests had been sent: one transaction instead of two for each, and without the prompts' text,
    which no rerun reads."""
    con, raw = opened._con, zlib.compress(REPLY)
    con.execute("BEGIN")
    con.executemany("INSERT INTO requests VALUES (?, 'openai', '', ?, x'')", [(r.key, r.replicate) for r in requests])
    con.executemany("INSERT INTO attempts(key, stage, judge, model, batch, reserved, started)"
                    " VALUES (?, 's', 'j', 'm', '', 0, 0)", [(r.key,) for r in requests])  # fmt: skip
    con.execute("INSERT INTO results(attempt, key, status, http, cost, at_risk, released, error, raw, sdk, finished)"
                " SELECT id, key, 'ok', 200, 0, 0, 0, '', ?, '', 0 FROM attempts ORDER BY id DESC LIMIT ?",
                (raw, len(requests)))  # fmt: skip
    con.execute("COMMIT")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_subparsers(dest="what", required=True)
    one = what.add_parser("speed")
    one.add_argument("--requests", type=int, default=5000)
    one.add_argument("--latency", type=float, default=0.2, help="seconds")
    one.add_argument("--rate", type=float, default=200.0, help="requests a second that the server takes")
    one.add_argument("--rounds", type=int, default=1)
    one.add_argument("--curator", help="python of an environment with bespokelabs-curator")
    two = what.add_parser("rerun")
    two.add_argument("--stored", type=int, default=1_000_000)
    for name in ("ours", "plain"):
        client = what.add_parser(name)
        client.add_argument("url")
        client.add_argument("file", type=Path)
    server = what.add_parser("serve")
    server.add_argument("latency", type=float)
    server.add_argument("rate", type=float)
    o = parser.parse_args()
    match o.what:
        case "serve":
            asyncio.run(serve(o.latency, o.rate))
        case "ours" | "plain":
            {"ours": ours, "plain": plain}[o.what](o.url, o.file)
        case _:
            {"speed": speed, "rerun": rerun}[o.what](o)


if __name__ == "__main__":
    main()
