"""Throughput of paid calls on a loopback server with a fixed latency and a rate limit, and a rerun from the store.

    python benchmarks/judge_calls.py [--requests 5000] [--latency 0.2] [--rate 200] [--stored 1000000]

Three ways: the store and executor of this project; a plain SDK loop with a semaphore, the SDK's own retries and no
record of anything; and a rerun of the first. The server is a process of its own and answers above its rate with 429.
"""

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from curation.prompts import JudgeAnswer, Prompt
from resources.calls import Store
from resources.judges.online import Payer, complete
from resources.judges.providers import OpenAI
from resources.prices import flat
from resources.settings import Called, Price

ANSWER = json.dumps({"reasoning": "r", "verdict": "tie"})
REPLY = json.dumps(
    {
        "id": "c", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": ANSWER}}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100},
    }
).encode()  # fmt: skip


async def serve(latency: float, rate: float) -> None:
    """A minimal HTTP/1.1 server: every POST takes `latency`; a token bucket of one second's worth guards it."""
    level, at, refused = rate, time.monotonic(), 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal level, at, refused
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:] if line)
                await reader.readexactly(int(lines[b"content-length"]))
                now = time.monotonic()
                level, at = min(rate, level + (now - at) * rate), now
                allowed = level >= 1
                level -= allowed
                limits = f"x-ratelimit-limit-requests: {rate * 60:.0f}\r\n"
                limits += f"x-ratelimit-remaining-requests: {int(level)}\r\n"
                if allowed:
                    await asyncio.sleep(latency)
                    status, body = "200 OK", REPLY
                else:
                    refused += 1
                    status, body = "429 Too Many Requests", json.dumps({"error": {"message": str(refused)}}).encode()
                    limits += "retry-after: 1\r\n"
                top = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
                writer.write(f"{top}{limits}\r\n".encode() + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def plain_loop(url: str, bodies: list[dict], concurrency: int) -> None:
    import openai

    gate = asyncio.Semaphore(concurrency)
    async with openai.AsyncOpenAI(api_key="none", base_url=url, max_retries=20) as client:

        async def one(body):
            async with gate:
                await client.chat.completions.create(**body)

        await asyncio.gather(*map(one, bodies))


def measured(name: str, work, requests: int, rate: float) -> None:
    """Run, and print wall and CPU seconds, the most memory so far and the share of what the limit allows."""
    cpu, wall = time.process_time(), time.monotonic()
    work()
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    allowed = max(requests - rate, 1) / rate  # the first second's worth goes at once
    print(f"{name:30s} {wall:8.2f} s wall {cpu:8.2f} s CPU {memory:6.0f} MiB  {allowed / wall:6.1%} of the limit")


def fill(store: Store, n: int) -> None:
    """Other answers, so that the store is as large as a real one."""
    con = store._con
    con.execute("BEGIN")
    con.executemany(
        "INSERT INTO attempts(key, stage, judge, model, batch, reserved, started) VALUES (?, 's', 'j', 'm', '', 0, 0)",
        ((f"{i:032x}",) for i in range(n)),
    )
    con.execute(
        "INSERT INTO results(attempt, key, status, http, cost, at_risk, released, error, raw, sdk, finished) "
        "SELECT id, key, 'ok', 200, 1, 0, 0, '', randomblob(300), '', 0 FROM attempts"
    )
    con.execute("COMMIT")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--latency", type=float, default=0.2, help="seconds")
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second that the server takes")
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--stored", type=int, default=0, help="answers already in the store")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    o = parser.parse_args()
    if o.serve:
        asyncio.run(serve(o.latency, o.rate))
        return
    command = [sys.executable, __file__, "--serve", "--latency", str(o.latency), "--rate", str(o.rate)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)
    try:
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}/v1"
        provider = OpenAI(url, None)
        made = [
            provider.request(Prompt("s" * 4000, f"{i} " + "u" * 4000), JudgeAnswer, Called(model="m", max_output_tokens=100), 0)
            for i in range(o.requests)
        ]
        payer = Payer("benchmark", "j", "m", flat(Price(input=1, output=10)), 10**12)
        time.sleep(1)
        measured("plain loop with a semaphore",
                 lambda: asyncio.run(plain_loop(url, [dict(r.body) for r in made], o.concurrency)),
                 o.requests, o.rate)  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            store = Store(Path(folder) / "calls.sqlite")
            fill(store, o.stored)
            time.sleep(1)

            def run():
                found = complete(made, JudgeAnswer, provider, payer, store, o.concurrency)
                assert all(f.status == "ok" for f in found.values())

            measured("store and executor", run, o.requests, o.rate)
            for row in store.ledger().to_pylist():
                print(f"    {row['status']:6s} {row['calls']:8d} calls  ${row['cost_micros'] / 1e6:.6f}")
            provider_calls = store.committed()
            wall = time.monotonic()
            run()
            assert store.committed() == provider_calls
            print(f"{'rerun from the store':30s} {time.monotonic() - wall:8.2f} s wall, no call")
            store.close()
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
