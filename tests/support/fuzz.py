"""A coverage-guided fuzzer over the readers of what comes from outside: no input may bring one to raise, to hang, or to
leave its bounds.

    python -m tests.support.fuzz READER SECONDS [CORPUS]

READER is a name of `READERS`. A folder CORPUS keeps inputs that reached new code; without one, the seeds alone are the
corpus. Exit status 0 when nothing was found; otherwise the input and the traceback are printed.
"""

import contextlib
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=[
        "resources.llm",
        "resources.annotators.records",
        "curation.prompts",
        "resources.settings",
        "resources.sources.files",
    ]
):
    from curation.prompts import AttributeAnswer, CheckAnswer, JudgeAnswer, parse
    from resources.annotators.records import Answer, Refused, Rules, asked_of, read
    from resources.llm.call_store import ANSWERED
    from resources.llm.prices import flat
    from resources.llm.provider_batches import anthropic_line, openai_line
    from resources.llm.replies import chat, ending, error_of, json_object, message, retry_after, words
    from resources.settings import ConfigError, load
    from resources.sources.files import BadFile, file_rows

from resources.lake import digests
from resources.settings import Price
from tests.support.answers import ABOUT
from tests.support.lakes import settings
from tests.support.scripted_server import completion, verdict
from tests.support.scripted_server import message as message_body

PRICE = flat(Price(input=1, output=10))
RESERVE = 5_000
LONGEST = 20_000  # bytes of an input
MOST_MICROS = 4 * 10**8
ITEM = {
    "pair_id": "p", "attributes": {n: str(ABOUT[n]) for n in ("category", "objectivity", "controversiality", "desired", "guideline")},
    "protocol_version": "1", "guideline": True, "tools": True, "hint": "", "hint_verdict": "", "arm": "",
}  # fmt: skip
ASKED = asked_of([ITEM])
RULES = Rules.of(settings(people={"backend": "files", "require": ["acknowledged", "tools", "times", "why"]}))
ANSWER = {
    "pair_id": "p", "verdict": "candidate_1", "annotator": "ann", "acknowledged": True, "tools": ["search"],
    "tool_log": [{"tool": "search", "query": "q", "url": "https://example.org"}], "started": "2026-01-01T00:00:00Z",
    "finished": "2026-01-01T00:01:00+02:00", "rationale": "because", "attributes": {"desired": "x"},
}  # fmt: skip


def body(reader: Callable) -> Callable[[bytes], None]:
    def one(data: bytes) -> None:
        reply = reader(data)
        for question in (JudgeAnswer, CheckAnswer, AttributeAnswer):
            found = ending(reply, question, PRICE, RESERVE)
            assert found.status in (*ANSWERED, "error")
            assert (found.answer is not None) == (found.status == "ok")
            assert 0 <= found.cost <= MOST_MICROS
            assert found.status != "error" or (found.at_risk and not found.cost)
            assert all(c >= " " for c in found.note + found.said)

    return one


def line(reader: Callable) -> Callable[[bytes], None]:
    def one(data: bytes) -> None:
        found = reader(data)
        assert found is None or found.status in ("answered", "error", "expired", "cancelled")

    return one


def headers(data: bytes) -> None:
    text = data.decode("latin-1")
    for name in ("retry-after", "retry-after-ms"):
        found = retry_after({name: text})
        assert found is None or 0 <= found < float("inf")


def errors(data: bytes) -> None:
    assert len(words(data)) <= 300
    code, told = error_of(json_object(data) or {})
    assert len(code) <= 300 and len(told) <= 300


def answers(data: bytes) -> None:
    for model in (JudgeAnswer, CheckAnswer, AttributeAnswer):
        found = parse(data.decode("utf-8", "surrogateescape"), model)
        assert isinstance(found, model) or found in ("unparsable", "invalid")


def people(data: bytes) -> None:
    raw: object = None
    with contextlib.suppress(ValueError, RecursionError):
        raw = json.loads(data)
    found = read(raw, ASKED, RULES, 1.8e9)
    assert isinstance(found, Answer) or (isinstance(found, Refused) and found.reasons)


FOLDER = Path(tempfile.mkdtemp(prefix="fuzzed-"))
CONFIG = b"""name = "x"
[lake]
path = "lake"
buckets = 2
[[sources]]
name = "s"
path = "x.jsonl"
codes = {a = ["a"], b = [1, 2.5]}
[attributes]
backend = "heuristic"
[people]
backend = "files"
overlap = 0.1
[judges]
quorum = 1
[[judges.panel]]
name = "j"
backend = "openai"
model = "m"
price = {input = 1, output = "10"}
[budget]
dollars = 0.5
"""


def config(data: bytes) -> None:
    path = FOLDER / "assay.toml"
    path.write_bytes(data)
    with contextlib.suppress(ConfigError):
        load(path)


def footer(data: bytes) -> None:
    path = FOLDER / "data.parquet"
    path.write_bytes(data)
    why = digests.fault(path)
    assert why is None or why
    with contextlib.suppress(BadFile):
        assert all(row.record is not None or row.reason for row in file_rows(path, 1000))


def _parquet() -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = FOLDER / "seed.parquet"
    pq.write_table(pa.table({"prompt": ["p", "q"], "chosen": [["a"], None], "n": [1, 2]}), path, compression="none")
    return path.read_bytes()


def _line(**record: object) -> bytes:
    return json.dumps(record).encode()


OPENAI, ANTHROPIC = completion(verdict("candidate_1")), message_body(verdict("candidate_1"))
READERS: dict[str, tuple[Callable[[bytes], None], list[bytes]]] = {
    "chat": (body(chat), [json.dumps(OPENAI).encode()]),
    "message": (body(message), [json.dumps(ANTHROPIC).encode()]),
    "openai_line": (
        line(openai_line),
        [_line(custom_id="k", response={"status_code": 200, "body": OPENAI}, error=None), _line(custom_id="k", error={"code": "batch_expired"})],
    ),
    "anthropic_line": (line(anthropic_line), [_line(custom_id="k", result={"type": "succeeded", "message": ANTHROPIC})]),
    "headers": (headers, [b"12", b"Fri, 31 Dec 1999 23:59:59 GMT", b"1e309"]),
    "errors": (errors, [_line(error={"message": "no credit", "code": "x", "type": "y"})]),
    "answers": (answers, [verdict("tie").encode(), b"```json\n" + verdict("tie").encode() + b"\n```"]),
    "people": (people, [json.dumps(ANSWER).encode()]),
    "config": (config, [CONFIG]),
    "footer": (footer, [_parquet()]),
}  # fmt: skip


def main() -> None:
    name, seconds, *kept = sys.argv[1:]
    target, seeds = READERS[name]
    folder = Path(kept[0]) if kept else Path(tempfile.mkdtemp(prefix="fuzz-"))
    folder.mkdir(parents=True, exist_ok=True)
    for i, seed in enumerate(seeds):
        (folder / f"seed-{i}").write_bytes(seed)
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={LONGEST}",
        "-timeout=10",
        "-rss_limit_mb=4096",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={folder}/", str(folder)], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
