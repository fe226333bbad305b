"""Nights of faults: the embedded default, its judges behind a server that fails, killed and disturbed at random, again
and again for so many minutes; each time an independent check of what came out.

    python -m measurements.night --minutes 120 [--seed 1] [--folder DIR] [--groups pool seed stage1] [--no-disk]

A round is one lake. It is disturbed several times (kill -9 of everything, kill of the command alone, SIGTERM, Ctrl-C,
two commands at once, a full disk, an account without credit), then finished without disturbance while the server goes
on failing now and then. The check knows nothing of this project's code: plain DuckDB over the Parquet files, plain
sqlite3 over the store of calls, and the server's own book. It looks for:

- ledger: as many records in classes as came in, none pending;
- tables: the rows of every table equal those of an undisturbed run, but for what depends on the run itself;
- money: what the store says was paid, plus at most what it calls at risk, is what the server was paid;
- twice: no request was asked again once its answer was stored;
- left: no half-written file, no living process, no temporary folder.

It prints Markdown; the exit status is 1 when a check failed. The folder of a failed round stays.
"""

import argparse
import collections
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import duckdb

ROOT = Path(__file__).parent.parent
SMALL = {"pairs": 300, "iterations": 1, "seed_people": 40, "seed_judges": 50, "batch": 30}
MICROS = 1000 * 1 + 100 * 10  # of an answer, by the tokens that the server counts and the price in the configuration
FAULTS = ("503", "429", "reset", "cut", "html", "slow")
DISTURBANCES = ("kill all", "kill the command", "terminate", "interrupt", "two at once", "full disk", "no credit")
OF_A_RUN = {
    "seconds",
    "path",
    "finished",
    "started",
    "hardware",
    "at",
}  # columns that tell of a run and not of the data
ROWS_OF_A_RUN = {  # who of two that ask the same is charged, and how long it took
    "judge_cards": "figure IN ('seconds_per_call', 'dollars_per_label')",
    "report_figures": "figure = 'dollars'",
}
NOT_COMPARED = {"spending"}  # lost and repeated calls stand in it
ANSWERED = ("ok", "refused", "truncated", "unparsable", "invalid")  # states of calls that brought what was paid for
WAIT_S = 1800  # for a command


# ---- the server ----------------------------------------------------------------------------------------------------
@dataclass
class Book:
    """What the server was asked and paid.

    Attributes:
        trouble: share of requests that meet a fault.
        dry: whether the account has no credit.
        paid: right answers that were sent, by what was asked.
        faults: how many of each kind.
    """

    trouble: float = 0.0
    dry: bool = False
    paid: collections.Counter = field(default_factory=collections.Counter)
    faults: collections.Counter = field(default_factory=collections.Counter)
    chance: random.Random = field(default_factory=random.Random)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self) -> str:
        with self.lock:
            found = (
                "no credit" if self.dry else self.chance.choice(FAULTS) if self.chance.random() < self.trouble else ""
            )
            if found:
                self.faults[found] += 1
            return found


def longer(asked: str) -> str:
    """The candidate of the last comparison that has more characters."""
    found = re.findall(r"<<< candidate_([12]) (\w+)\n(.*?)\n>>> candidate_\1 \2", asked, re.DOTALL)[-2:]
    return "candidate_1" if len(found[0][2]) >= len(found[1][2]) else "candidate_2"


@contextmanager
def serving(book: Book) -> Generator[str]:
    """The address of a server of OpenAI's protocol that fails as the book says."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def do_POST(self):
            raw = self.rfile.read(int(self.headers["content-length"]))
            fault = book.next()
            if fault == "no credit":
                return self.say(400, {"error": {"message": "Your credit balance is too low to access the API."}})
            if fault in ("503", "429"):
                return self.say(int(fault), {"error": {"message": "busy"}}, {"retry-after": "0.1"})
            if fault == "html":
                return self.say(502, b"<html>maintenance</html>")
            if fault == "reset":
                self.close_connection = True
                return self.connection.close()
            if fault == "slow":
                time.sleep(2)
            body = json.loads(raw)
            text = json.dumps({"reasoning": "longer", "verdict": longer(body["messages"][-1]["content"])})
            answer = {
                "id": "c", "object": "chat.completion", "created": 1, "model": body["model"],
                "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
                "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100},
            }  # fmt: skip
            with book.lock:
                book.paid[json.dumps(body, sort_keys=True)] += 1
            self.say(200, answer, cut=fault == "cut")

        def say(self, status: int, body: dict | bytes, headers: dict[str, str] | None = None, cut: bool = False):
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            try:
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data[: len(data) // 2] if cut else data)
                self.wfile.flush()
                if cut:
                    self.close_connection = True
                    self.connection.close()
            except OSError:
                pass  # who asked was killed

        def finish(self):
            with suppress(OSError, ValueError):
                super().finish()

        def log_message(self, *_):
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 256
        daemon_threads = True

        def handle_error(self, *_):
            pass

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()


# ---- the job -------------------------------------------------------------------------------------------------------
def lay(folder: Path, url: str) -> None:
    """A configuration in a folder: the embedded default, smaller, its judges behind the server."""
    text = (ROOT / "assay.toml").read_text(encoding="utf-8")
    for key, value in SMALL.items():
        text, n = re.subn(rf"^{key} = \d+", f"{key} = {value}", text, flags=re.MULTILINE)
        assert n == 1, key
    judge = f'backend = "openai"\nmodel = "m"\nbase_url = "{url}"\nprice = {{input = 1, output = 10}}\n'
    text, n = re.subn(r"^accuracy = .*\nposition_bias = .*\n", judge, text, flags=re.MULTILINE)
    assert n == 3, "three judges"
    text = text.replace("[training]", '[training]\narms = ["corrected"]')
    text = text.replace("[stage2]", '[stage2]\ndecision = "paper"\nfolds = 0')
    folder.mkdir(parents=True)
    (folder / "tmp").mkdir()
    (folder / "assay.toml").write_text(text + "\n[budget]\ndollars = 50\n", encoding="utf-8")
    shutil.copy(ROOT / "dagster.yaml", folder)


def start(folder: Path, groups: list[str]) -> subprocess.Popen:
    here = {"ASSAY_CONFIG": str(folder / "assay.toml"), "DAGSTER_HOME": str(folder), "PYTHONPATH": str(ROOT)}
    log = (folder / "night.log").open("ab")
    with log:
        return subprocess.Popen(
            [sys.executable, "-m", "cli.main", "run", *groups], cwd=folder, stdout=log, stderr=log,
            env=os.environ | here | {"TMPDIR": str(folder / "tmp"), "OMP_NUM_THREADS": "1"}, start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip


def ended(program: subprocess.Popen) -> int:
    """The status of a command, which is killed where it takes too long."""
    try:
        return program.wait(WAIT_S)
    except subprocess.TimeoutExpired:
        os.killpg(program.pid, signal.SIGKILL)
        return program.wait()


def disturb(how: str, folder: Path, groups: list[str], book: Book, chance: random.Random, longest: float) -> str:
    """One command that is disturbed; what it ended with."""
    program = start(folder, groups)
    time.sleep(chance.uniform(1, longest))
    if program.poll() is not None and how not in ("two at once",):
        return f"over before it was disturbed ({program.returncode})"
    if how == "kill all":
        os.killpg(program.pid, signal.SIGKILL)
    elif how == "kill the command":
        program.kill()
    elif how in ("terminate", "interrupt"):
        program.send_signal(signal.SIGTERM if how == "terminate" else signal.SIGINT)
    elif how == "two at once":
        other = start(folder, groups)
        return f"{ended(program)} and {ended(other)}"
    elif how == "full disk":
        with full(folder / "lake"):
            return str(ended(program))
    elif how == "no credit":
        book.dry = True
        try:
            return str(ended(program))
        finally:
            book.dry = False
    return str(ended(program))


@contextmanager
def full(mount: Path) -> Generator[None]:
    """A file system without a byte left."""
    ballast = mount / "ballast"
    with ballast.open("wb", 0) as f:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    f.write(b"x" * size)
            except OSError:
                continue
    try:
        yield
    finally:
        ballast.unlink()


@contextmanager
def own_disk(folder: Path, size: str) -> Generator[None]:
    """A small file system of its own under a folder."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


# ---- the check -----------------------------------------------------------------------------------------------------
def tables(lake: Path) -> dict[str, tuple[int, str]]:
    """Rows of every table and a hash of them, whatever their order, without the columns that tell of a run."""
    found = {}
    with duckdb.connect() as con:
        for folder in sorted(p.parent for p in lake.glob("*/**/data.parquet")):
            name = folder.relative_to(lake).as_posix()
            if name.split("/")[0] in NOT_COMPARED:
                continue
            file = str(folder / "data.parquet").replace("'", "''")
            about = con.execute(f"DESCRIBE FROM read_parquet('{file}', hive_partitioning = false)").fetchall()
            but = ROWS_OF_A_RUN.get(name.split("/")[0], "false")
            kept = ", ".join(f'"{column}"' for column, *_ in about if column not in OF_A_RUN)
            found[name] = con.execute(
                f"SELECT count(*), coalesce(md5(string_agg(r::VARCHAR, chr(10) ORDER BY r::VARCHAR)), '') "
                f"FROM (SELECT {kept} FROM read_parquet('{file}', hive_partitioning = false) WHERE NOT ({but})) r"
            ).fetchall()[0]
    return found


def records(lake: Path) -> int:
    """Input records, by the files of the three tables that a reader fills."""
    with duckdb.connect() as con:
        return sum(
            con.execute(f"SELECT count(*) FROM '{file}'").fetchall()[0][0]
            for name in ("raw_pool", "unusable", "quarantine")
            for file in lake.glob(f"{name}/**/data.parquet")
        )


def problems(folder: Path, book: Book, reference: dict[str, tuple[int, str]], whole: bool) -> list[str]:
    """What is wrong with a lake that was finished."""
    lake, found = folder / "lake", []
    mine = tables(lake)
    found += [f"table {n}: {mine.get(n)} instead of {reference.get(n)}" for n in sorted(reference.keys() | mine.keys())
              if mine.get(n) != reference.get(n)]  # fmt: skip
    if whole:
        with duckdb.connect(str(lake / "assay.duckdb"), read_only=True) as con:
            ledger = con.execute("SELECT class, sum(records)::BIGINT FROM ledger GROUP BY 1").fetchall()
        if sum(n for _, n in ledger) != records(lake):
            found.append(f"ledger: {records(lake)} records came in, {ledger}")
        found += [f"ledger: {n} records pending" for c, n in ledger if c == "pending" and n]
    with closing(sqlite3.connect(f"file:{lake}/files/calls/calls.sqlite?mode=ro", uri=True)) as con:
        one = lambda sql: con.execute(sql).fetchone()[0] or 0  # noqa: E731
        stored, risk = one("SELECT sum(cost) FROM results"), one("SELECT sum(at_risk) FROM results")
        lost = "FROM attempts a WHERE NOT EXISTS (SELECT 1 FROM results r WHERE r.attempt = a.id)"
        risk += one(f"SELECT sum(reserved) {lost}")
        charged = book.paid.total() * MICROS
        if not stored <= charged <= stored + risk:
            found.append(f"money: the server was paid {charged}, the store says {stored} and {risk} at risk")
        answered = f"SELECT key, min(attempt) AS first FROM results WHERE status IN {ANSWERED} GROUP BY 1"
        if again := one(f"SELECT count(*) FROM attempts a JOIN ({answered}) r USING (key) WHERE a.id > r.first"):
            found.append(f"twice: {again} requests were asked again after their answer was stored")
        if integrity := [r for r in con.execute("PRAGMA integrity_check").fetchall() if r != ("ok",)]:
            found.append(f"store: {integrity[:3]}")
    found += [
        f"left: {p}"
        for p in [*lake.rglob(".writing-*"), *lake.rglob("*.writing"), *(folder / "tmp").glob("assay-scratch-*")]
    ]
    found += [f"left: process {pid}" for pid in living(folder)]
    return found


def living(folder: Path) -> list[int]:
    """Processes that work in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if Path(os.readlink(process / "cwd")).is_relative_to(folder):
                found.append(int(process.name))
        except OSError:
            continue
    return found


# ---- the night -----------------------------------------------------------------------------------------------------
def finish(folder: Path, groups: list[str], most: int = 8) -> list[int]:
    """Statuses of commands until one is through."""
    statuses = []
    while len(statuses) < most and (not statuses or statuses[-1] != 0):
        statuses.append(ended(start(folder, groups)))
    return statuses


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--groups", nargs="*", default=[], help="of the job; default: all of it")
    parser.add_argument("--most", type=int, default=4, help="disturbances of a round")
    parser.add_argument("--no-disk", action="store_true", help="no full disk: needs the right to mount")
    args = parser.parse_args()
    chance, base = random.Random(args.seed), args.folder or Path(tempfile.mkdtemp(prefix="assay-night-"))
    kinds = [d for d in DISTURBANCES if not (args.no_disk and d == "full disk")]
    disk = (lambda _: nothing()) if args.no_disk else (lambda lake: own_disk(lake, "2g"))
    began, bad, tried = time.monotonic(), 0, collections.Counter()
    book = Book()
    with serving(book) as url:
        lay(base / "unbroken", url)
        (statuses, took) = (finish(base / "unbroken", args.groups, 1), time.monotonic() - began)
        if statuses != [0]:
            print(f"the undisturbed run ended with {statuses}; see {base}/unbroken/night.log", file=sys.stderr)
            return 1
        reference = tables(base / "unbroken" / "lake")
        wrong = problems(base / "unbroken", book, reference, whole=not args.groups)
        print(f"An undisturbed run: {took:.0f} s, {len(reference)} files of tables, {book.paid.total()} answers."
              f" {'; '.join(wrong) or 'Its checks hold.'}\n", flush=True)  # fmt: skip
        print("| round | disturbed by | ended with | then | server's faults | answers paid | wrong |")
        print("|---" * 7 + "|", flush=True)
        number = 0
        while time.monotonic() - began < args.minutes * 60:
            number += 1
            folder = base / f"round-{number:03d}"
            book.paid.clear(), book.faults.clear()
            book.trouble = chance.choice((0.0, 0.02, 0.1))
            lay(folder, url)
            with disk(folder / "lake"):
                hows = [chance.choice(kinds) for _ in range(chance.randint(1, args.most))]
                ends = [disturb(how, folder, args.groups, book, chance, took) for how in hows]
                statuses = finish(folder, args.groups)
                wrong = [] if statuses[-1] == 0 else [f"never through: {statuses}"]
                wrong += problems(folder, book, reference, whole=not args.groups)
                if wrong and not args.no_disk:
                    shutil.copytree(folder / "lake", base / f"{folder.name}-lake", dirs_exist_ok=True)
            tried.update(hows)
            bad += bool(wrong)
            faults = ", ".join(f"{n} {k}" for k, n in sorted(book.faults.items()))
            print(f"| {number} | {', '.join(hows)} | {', '.join(ends)} | {', '.join(map(str, statuses))} | {faults} |"
                  f" {book.paid.total()} | {'; '.join(wrong)[:600]} |", flush=True)  # fmt: skip
            if not wrong:
                shutil.rmtree(folder, ignore_errors=True)
        counted = ", ".join(f"{n} {k}" for k, n in sorted(tried.items()))
        print(
            f"\n{number} rounds in {(time.monotonic() - began) / 60:.0f} min, {bad} of them wrong; disturbed by {counted}."
        )
    return int(bad > 0)


@contextmanager
def nothing() -> Generator[None]:
    yield


if __name__ == "__main__":
    sys.exit(main())
