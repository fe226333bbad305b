"""The door for what comes from a provider: whatever comes is read, corrected or named; money stays within its bounds."""

import json
import time
import uuid
from collections import Counter

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from curation.prompts import JudgeAnswer
from resources.llm.call_store import ANSWERED, BudgetExceeded, Request, Store
from resources.llm.online_calls import complete
from resources.llm.policy import Payer, Policy, Unavailable, Unusable
from resources.llm.prices import Usage, flat
from resources.llm.provider_batches import anthropic_line, openai_line
from resources.llm.providers import Anthropic, OpenAI
from resources.llm.rate_limits import Bucket, Pace, Ticket
from resources.llm.replies import chat, clean, ending, error_of, message, retry_after, tokens, words
from resources.llm.wire import Failure
from resources.settings import Price
from tests.support.scripted_server import completion, verdict
from tests.support.scripted_server import message as message_body

PRICE = flat(Price(input=1, output=10, cached_input="0.1", cache_write="1.25"))
READERS = {"openai": chat, "anthropic": message}
BODIES = {"openai": completion(verdict("candidate_1")), "anthropic": message_body(verdict("candidate_1"))}

numbers = st.one_of(
    st.integers(), st.integers(-5, 2000), st.sampled_from([10**6, 10**12, 10**30, -(10**12), 0, 1]),
    st.floats(), st.booleans(), st.none(), st.text(max_size=8), st.sampled_from(["1000", "1e3", "-1", "٣", "NaN"]),
)  # fmt: skip
anything = st.recursive(
    st.one_of(numbers, st.text(max_size=30), st.sampled_from(["text", "ok", "error", "stop", "length", verdict("tie")])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.one_of(
                st.sampled_from(
                    ["choices", "message", "content", "text", "type", "usage", "error", "code", "index", "refusal",
                     "finish_reason", "custom_id", "response", "body", "status_code", "result", "prompt_tokens",
                     "completion_tokens", "prompt_tokens_details", "cached_tokens", "input_tokens", "output_tokens",
                     "cache_creation", "cache_read_input_tokens"]
                ),
                st.text(max_size=6),
            ),
            inner,
            max_size=5,
        ),
    ),
    max_leaves=20,
)  # fmt: skip


def places(value: object, path: tuple = ()) -> list[tuple]:
    """Every place of a JSON value."""
    found = [path]
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        found += places(inner, (*path, key))
    return found


def replaced(value: object, path: tuple, new: object) -> object:
    """A copy of a JSON value with something else in one place."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


@st.composite
def spoilt(draw, backend: str) -> bytes:
    """A good body with something else in up to three places, or garbage."""
    if draw(st.integers(0, 9)) == 0:
        return draw(
            st.one_of(st.binary(max_size=200), anything.map(lambda v: json.dumps(v).encode("utf-8", "replace")))
        )
    body = BODIES[backend]
    for _ in range(draw(st.integers(0, 3))):
        body = replaced(body, draw(st.sampled_from(places(body))), draw(anything))
    return json.dumps(body).encode()


def odd_bodies(backend: str):
    return st.one_of(spoilt(backend), st.sampled_from(EXTREMES))


EXTREMES = [
    b"", b"null", b"[" * 100_000, b'{"a":' * 50_000, b"\xff\xfe{\x00", b"\xef\xbb\xbf{}", b"<html>", b"9" * 5000,
    json.dumps(BODIES["openai"]).encode("utf-16"), json.dumps(BODIES["openai"]).replace("1000", "NaN").encode(),
    json.dumps(BODIES["openai"]).replace("1000", "Infinity").encode(),
    json.dumps(completion("```" + "\n" * 200_000)).encode(), json.dumps(completion("[" * 200_000)).encode(),
    json.dumps(completion('{"reasoning": "\ud800", "verdict": "tie"}')).encode(),
]  # fmt: skip


@pytest.mark.parametrize("backend", READERS)
@settings(max_examples=150, deadline=2000, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_body_ends_in_a_state_within_its_bounds(backend, data):
    raw = data.draw(odd_bodies(backend))
    reserve = data.draw(st.integers(0, 10**7))
    reply = READERS[backend](raw)
    found = ending(reply, JudgeAnswer, PRICE, reserve)
    assert found.status in (*ANSWERED, "error")
    assert (found.answer is not None) == (found.status == "ok")
    assert 0 <= found.cost <= 2 * 10**8 + 2 * 10**8  # ten million tokens of each kind at the dearest rate, twice
    if found.status == "error":
        assert found.at_risk and not found.cost
    if reply.usage is None and found.status != "error":
        assert found.cost == reserve and found.note
    if found.cost > reserve:
        assert "above" in found.note
    if reply.usage is not None:
        assert all(0 <= n <= 10**7 for n in vars(reply.usage).values()) and reply.usage.read > 0
    assert all(c >= " " for c in found.note + found.said)


@settings(max_examples=300, deadline=2000)
@given(anything, st.binary(max_size=60))
def test_readers_of_lines_errors_and_headers_take_anything(value, raw):
    text = json.dumps(value).encode()
    for line in (
        text,
        raw,
        json.dumps({"custom_id": "k", "response": value, "error": value, "result": value}).encode(),
    ):
        for reader in (openai_line, anthropic_line):
            found = reader(line)
            assert found is None or found.status in ("answered", "error", "expired", "cancelled")
            if found and found.status == "answered":
                ending(chat(found.body), JudgeAnswer, PRICE, 5)
    said = words(text)
    assert (len(said) <= 300 and said.isprintable()) or not said.isascii()
    code, told = error_of(value if isinstance(value, dict) else {"error": value})
    assert len(code) <= 300 and len(told) <= 300
    Failure(said, 429, {"retry-after": told, "retry-after-ms": code}, code)
    assert tokens(value) is None or 0 <= tokens(value) <= 10**7


odd_dates = st.lists(
    st.sampled_from(["Mon", "Jan", "31", "0", "99", "2024", "99999999999999999999", "23:59:59", ":", ",", "GMT", "+0000",
                     "-9999999", "Feb", "12", "1e5", "10:00", "Fri, 31 Dec 99999 23:59:59 GMT"]),
    max_size=8,
).map(" ".join)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(st.one_of(odd_dates, st.text(max_size=20), numbers.map(str)))
@example("Fri, 31 Dec 99999999 23:59:59 GMT")
@example("nan")
@example("1e309")
def test_any_wait_that_a_header_asks_for_is_a_number_or_none(value):
    for name in ("retry-after", "retry-after-ms"):
        found = retry_after({name: value})
        assert found is None or 0 <= found < float("inf")


@settings(max_examples=200, deadline=None)
@given(st.floats(), st.floats(), st.floats(0, 1e6))
@example(60.0, -100_000.0, 1.0)
@example(100_000.0, -1e11, 5.0)
@example(1e-6, 0.0, 1.0)
def test_no_rate_header_makes_anybody_wait_for_more_than_two_windows(limit, remaining, amount):
    pace = Pace()
    pace.learn(
        Ticket(time.monotonic(), dict.fromkeys(pace.used, 0.0)),
        {"x-ratelimit-limit-requests": str(limit), "x-ratelimit-remaining-requests": str(remaining)},
    )
    bucket: Bucket = pace.buckets["requests"]
    assert 0 <= bucket.delay(amount, time.monotonic()) <= 121


# ---- by hand -------------------------------------------------------------------------------------------------------
def test_a_content_of_parts_is_its_texts():
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": verdict("candidate_2")[:10]},
        {"type": "image_url", "image_url": {}},
        {"type": "text", "text": verdict("candidate_2")[10:]},
    ]
    found = ending(chat(json.dumps(completion(parts)).encode()), JudgeAnswer, PRICE, 5000)
    assert found.status == "ok" and found.answer.verdict == "candidate_2"
    blocks = message_body("") | {"content": [{"type": "thinking", "thinking": "hm"}, *parts[1:]]}
    assert ending(message(json.dumps(blocks).encode()), JudgeAnswer, PRICE, 5000).answer.verdict == "candidate_2"
    for content in (5, {"text": "x"}, True, [{"type": "text", "text": ["x"]}], [[]], []):
        assert ending(chat(json.dumps(completion(content)).encode()), JudgeAnswer, PRICE, 5000).status == "unparsable"


@pytest.mark.parametrize(
    ("usage", "cost", "note"),
    [
        ({"prompt_tokens": 1000, "completion_tokens": 100}, 2000, ""),
        ({"prompt_tokens": 1000.0, "completion_tokens": "100"}, 2000, ""),
        (None, 9000, "no usage"),
        ({}, 9000, "prompt_tokens = null"),
        ([1, 2], 9000, "no object"),
        ({"prompt_tokens": -(10**6), "completion_tokens": 10}, 9000, "prompt_tokens = -1000000"),
        ({"prompt_tokens": 10**12, "completion_tokens": 10**12}, 9000, "no count"),
        ({"prompt_tokens": 10**30, "completion_tokens": 1}, 9000, "no count"),
        ({"prompt_tokens": 0, "completion_tokens": 0}, 9000, "counts no token"),
        ({"prompt_tokens": True, "completion_tokens": 1}, 9000, "no count"),
        # cached tokens beside the others: 10 x 1 + 90 x 0.1 + 5 x 10
        (
            {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 90}},
            69,
            "more tokens cached",
        ),
        # ... and never above the bound, since that count was corrected
        (
            {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 9 * 10**6}},
            9000,
            "more tokens cached",
        ),
        # a cache that cannot be counted is none: all tokens are fresh
        ({"prompt_tokens": 1000, "completion_tokens": 100, "prompt_tokens_details": {"cached_tokens": -5}}, 2000, "no count"),
        ({"prompt_tokens": 1000, "completion_tokens": 100, "prompt_tokens_details": {"cached_tokens": 0.5}}, 2000, "cached"),
        # a count that can be one is charged, above the bound too, and the note says so
        ({"prompt_tokens": 20_000, "completion_tokens": 100}, 21_000, "above the 9000"),
    ],
)  # fmt: skip
def test_what_an_answer_costs(usage, cost, note):
    body = completion(verdict("tie")) | {"usage": usage}
    found = ending(chat(json.dumps(body).encode()), JudgeAnswer, PRICE, 9000)
    assert (found.status, found.cost) == ("ok", cost)
    assert note in found.note and bool(found.note) == bool(note)


def test_what_a_message_costs():
    def usage(**counted):
        return message(json.dumps(message_body(verdict("tie")) | {"usage": counted}).encode())

    hour = usage(input_tokens=10, output_tokens=1, cache_creation_input_tokens=0,
                 cache_creation={"ephemeral_1h_input_tokens": 500})  # fmt: skip
    assert hour.usage == Usage(input=10, cache_write_1h=500, output=1) and "cache of an hour" in hour.note
    assert usage(input_tokens=None, output_tokens=5).usage is None
    assert usage(input_tokens=-5, output_tokens=5).usage is None
    assert usage(input_tokens=0, output_tokens=5).usage is None
    assert usage(input_tokens=0, output_tokens=5, cache_read_input_tokens=7).usage == Usage(cached_input=7, output=5)


def test_a_servers_words_fit_on_one_line_without_controls():
    hostile = {"error": {"message": "no \x1b]52;c;x\x07 \u202e\n\n credit", "code": ["x"]}}
    assert words(json.dumps(hostile).encode()) == "no ]52;c;x credit"
    assert words(b'{"detail": [{"msg": "field required"}]}') == '[{"msg": "field required"}]'
    assert words(b"<html>busy</html>") == "<html>busy</html>"
    assert len(clean("x" * 10_000)) == 300


# ---- the whole way -------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    opened = Store(tmp_path_factory.mktemp("calls") / "calls.sqlite")
    yield opened
    opened.close()


class Spoilt(OpenAI):
    """The real protocol over a network that brings whatever was drawn, then an answer."""

    def __init__(self, script: list[list]):
        super().__init__("http://nowhere", None)
        self.script, self.sent = [list(s) for s in script], Counter()

    def connect(self):
        import contextlib

        return contextlib.nullcontext(self)

    async def send(self, client, request):
        number = request.body["number"]
        self.sent[number] += 1
        step = self.script[number].pop(0) if self.script[number] else json.dumps(BODIES["openai"]).encode()
        if isinstance(step, Failure):
            raise step
        return step, {"x-ratelimit-limit-requests": "nan", "retry-after": "-1"}


faults = st.builds(
    Failure,
    st.text(max_size=10),
    st.sampled_from([0, 400, 408, 422, 429, 500, 503, 504, 529]),
    st.dictionaries(st.just("retry-after"), odd_dates, max_size=1),
)


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(st.lists(st.one_of(odd_bodies("openai"), faults), max_size=3), min_size=1, max_size=6), st.integers(1, 4),
       st.integers(0, 400_000))  # fmt: skip
def test_whatever_comes_no_paid_answer_is_lost_and_no_money_unbounded(shared, script, concurrency, budget):
    run, before = uuid.uuid4().hex, shared.committed()
    provider = Spoilt(script)
    payer = Payer("s", run, "m", PRICE, before + budget)
    requests = [
        Request("openai", "http://nowhere", {"run": run, "number": i, "max_completion_tokens": 100}, 0)
        for i in range(len(script))
    ]
    policy = Policy(attempts=10, longest_wait=0.001, first_wait=0)
    bodies = sum(isinstance(step, bytes) for steps in script for step in steps)
    try:
        outcomes = complete(requests, JudgeAnswer, provider, payer, shared, concurrency, policy)
    except (BudgetExceeded, Unavailable, Unusable):
        outcomes = {}
    else:
        assert set(outcomes) == {r.key for r in requests}
    rows = shared._con.execute(
        "SELECT a.id, status, cost, at_risk, reserved, b.raw IS NOT NULL FROM attempts a LEFT JOIN results r "
        "ON r.attempt = a.id LEFT JOIN bodies b ON b.attempt = a.id WHERE judge = ?",
        (run,),
    ).fetchall()
    assert len(rows) == sum(provider.sent.values())  # nothing is sent that is not on record,
    assert all(status is not None for _, status, *_ in rows)  # every call has ended,
    assert all(cost >= 0 and at_risk in (0, reserve) for _, _, cost, at_risk, reserve, _ in rows)
    came = sum(stored for *_, stored in rows)
    used = bodies - sum(isinstance(s, bytes) for steps in provider.script for s in steps)
    assert came >= used  # and every body that came is kept
    answered = {k: o for k, o in outcomes.items() if o.status in ANSWERED}
    sent = Counter(provider.sent)
    provider.script = [[] for _ in script]
    again = complete(requests, JudgeAnswer, provider, Payer("s", run, "m", PRICE, 10**15), shared, concurrency, policy)
    assert {k: again[k] for k in answered} == answered  # what was answered is not asked again
    assert all(provider.sent[i] == sent[i] for i, r in enumerate(requests) if r.key in answered)
    assert complete(requests, JudgeAnswer, provider, payer, shared, concurrency, policy) == again


def test_keys_and_addresses_make_no_difference_to_reading():
    raw = json.dumps(BODIES["anthropic"]).encode()
    assert Anthropic("", None).read(raw) == Anthropic("http://x", "SOME_ENV").read(raw) == message(raw)
