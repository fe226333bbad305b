"""Shapes of preference data: each adapter turns one record into comparisons, and guesses nothing.

    pair      prompt and two responses, the better one first
    winner    prompt, responses a and b, and a code that says which is better
    scores    prompt, a list of responses and their scores: every two responses with different scores
    ranking   prompt and a list of responses, best first
    tree      a message with ranked replies, which have ranked replies
    unpaired  one response and whether it is good; good and bad ones with equal conversations are paired

A response is a text, a message, or a whole dialogue that ends with it; of two dialogues the common beginning is the
conversation, and a prompt is then not needed.

A field is the name of a key, or a path: `a.b` steps into an object, `a[].b` takes b of every element of a list, and
`a[0]` one element. (spec 0.01, 0.02, 0.06)
"""

import json
import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import combinations
from typing import Any, Literal

from curation.conversation import ROLES, BadRecord, Unfit, blank, check, is_transcript, message, shown, text, turns
from curation.identity import Turn

Winner = Literal["a", "b", "tie", "both_bad"] | None

CONTEXT = ("prompt", "input", "system", "history")
DEFAULTS: dict[str, dict[str, str]] = {
    "pair": {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"},
    "winner": {"prompt": "prompt", "a": "a", "b": "b", "winner": "winner"},
    "scores": {"prompt": "prompt", "responses": "responses", "scores": "scores"},
    "ranking": {"prompt": "prompt", "responses": "responses"},
    "tree": {"root": "prompt", "text": "text", "role": "role", "replies": "replies", "rank": "rank"},
    "unpaired": {"prompt": "prompt", "response": "response", "label": "label"},
}
OPTIONAL = {"input", "system", "history"}
GOOD_OR_BAD = {"a": [True, 1], "b": [False, 0]}  # labels of single responses


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two responses to one conversation and which is better; None where the record does not say."""

    turns: tuple[Turn, ...]
    a: str | None
    b: str | None
    winner: Winner

    def problem(self) -> tuple[str, str] | None:
        """Why this is no pair, as (reason, evidence), or None."""
        if self.a is None or self.b is None:
            return "null_response", f"{'a' if self.a is None else 'b'} is missing"
        try:
            check(self.turns)
        except Unfit as e:
            return e.reason, str(e)
        if (empty := blank(self.a)) or blank(self.b):
            return "empty_response", f"{'a' if empty else 'b'} is empty"
        if self.a == self.b:
            return "identical", self.a[:80]
        if _differ_in_spelling_only(self.a, self.b):
            return "identical_normalised", self.a[:80]
        if self.winner is None:
            return "no_label", ""
        return (self.winner, "") if self.winner in ("tie", "both_bad") else None


_INVISIBLE = re.compile("[\u200b-\u200f\u2060\ufeff]+")  # zero-width characters


def _differ_in_spelling_only(a: str, b: str) -> bool:
    """Whether two responses differ in white space only, or in Unicode's spelling of equal characters, or in characters
    that nobody sees. To look at all of every text would cost more than all other checks: most differ early."""
    if a.isascii() and b.isascii():
        return (
            a.lstrip()[:1] == b.lstrip()[:1] and a.split(None, 4)[:4] == b.split(None, 4)[:4] and a.split() == b.split()
        )
    one, other = _normalised(a[:80]), _normalised(b[:80])
    sure = max(0, min(len(one), len(other)) - 8)  # the cut may fall between a letter and its accents
    return one[:sure] == other[:sure] and _normalised(a) == _normalised(b)


def _normalised(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", _INVISIBLE.sub("", text)).split())  # not NFKC: to it x² and x2 are one


Found = Comparison | Unfit
Adapter = Callable[[dict], Iterator[Found]]


def adapter(shape: str, fields: dict[str, str], codes: dict[str, list], cells: bool = False) -> Adapter:
    """The function that reads one record of a shape (every shape but `unpaired`).

    It yields at least one Comparison or Unfit a record and raises BadRecord where a value has a type that cannot be
    read. `cells` says that every value is a text, as in CSV.

    Raises:
        ValueError: a field that the shape does not have, or a shape `winner` without codes.
    """
    names = field_names(shape, fields)
    if shape == "winner":
        return _Winner(names, codes, cells)
    return {"pair": _Pair, "scores": _Scores, "ranking": _Ranking, "tree": _Tree}[shape](names)


def field_names(shape: str, fields: dict[str, str]) -> dict[str, str]:
    """The shape's fields, defaults filled in.

    Raises:
        ValueError: a field that the shape does not have.
    """
    allowed = set(DEFAULTS[shape]) | ({"messages"} if shape == "unpaired" else set())
    allowed |= set() if shape == "tree" else set(CONTEXT)
    if unknown := sorted(set(fields) - allowed):
        raise ValueError(f"shape '{shape}' has no field {', '.join(unknown)}; it has {', '.join(sorted(allowed))}")
    return DEFAULTS[shape] | fields


def absent(shape: str, fields: dict[str, str], records: Sequence[dict]) -> list[str]:
    """Fields that the shape needs and that none of these records has."""
    keys = {key for record in records for key in record}
    names = field_names(shape, fields)
    optional = set(OPTIONAL)
    whole = shape == "pair" or any(_is_dialogue(r) for record in records for r in _responses(names, record))
    if whole and "prompt" not in fields:
        optional.add("prompt")  # whole dialogues carry their own
    if shape == "unpaired" and "messages" in fields:
        optional |= {"prompt", "response"}
    return sorted(
        path
        for name, path in names.items()
        if not (name in optional and name not in fields)
        and path not in keys
        and _head(path) not in keys
        and not (shape == "tree" and name != "root")
        and not (name == "prompt" and "prompt" in optional)
    )


def _responses(names: dict[str, str], record: dict) -> list:
    found = [value_at(record, names[n]) for n in ("chosen", "rejected", "a", "b") if n in names]
    listed = value_at(record, names["responses"]) if "responses" in names else []
    return found + (listed if isinstance(listed, list) else [])


# ---- values of a record --------------------------------------------------------------------------------------------
_STEP = re.compile(r"([^.\[\]]+)|\[(\d*)\]")


def _head(path: str) -> str | None:
    found = _STEP.match(path)
    return found[1] if found else None


def value_at(record: dict, path: str) -> Any:
    """The value at a path, None where it does not lead anywhere; a key spelt like the whole path goes first."""
    if path in record or ("." not in path and "[" not in path):
        return record.get(path)
    return _walk(record, _STEP.findall(path))


def _walk(value: Any, steps: Sequence[tuple[str, str]]) -> Any:
    for i, (key, index) in enumerate(steps):
        if key:
            value = value.get(key) if isinstance(value, dict) else None
        elif not isinstance(value, list):
            return None
        elif index:
            value = value[int(index)] if int(index) < len(value) else None
        else:
            return [_walk(element, steps[i + 1 :]) for element in value]
    return value


def _listed(value: Any, what: str) -> list:
    """A list, or one that stands as JSON in a text (as in CSV)."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = None if not value.strip() else value
    if value is None:
        raise Unfit("null_response", f"no {what}")
    if not isinstance(value, list):
        raise BadRecord("wrong_type", f"{what} should be a list, found {shown(value)}")
    return value


def number(value: Any) -> float | None:
    """A score as a number; None where there is none.

    Raises:
        BadRecord: it is no number.
    """
    if value is None or value == "":
        return None
    try:
        if isinstance(value, bool):
            raise TypeError
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        raise BadRecord("wrong_type", f"a score is a number, found {shown(value)}") from None
    return None if math.isnan(found) else found


# ---- adapters ------------------------------------------------------------------------------------------------------
Answer = tuple[tuple[Turn, ...], str | None]


class _Context:
    """Reads the conversation of a record from `system`, `history`, `prompt` and `input`, or from whole dialogues."""

    def __init__(self, names: dict[str, str]):
        self.names = names

    def conversation(self, record: dict) -> list[Turn]:
        names = self.names
        found = turns(value_at(record, names["prompt"]))
        if found and found[-1] == ("assistant", ""):  # a transcript that ends with "Assistant:" asks for the answer
            found.pop()
        if "input" in names and (extra := text(value_at(record, names["input"]))) and found and found[-1][1]:
            found[-1] = (found[-1][0], f"{found[-1][1]}\n\n{extra}")
        if "history" in names:
            found = _history(value_at(record, names["history"])) + found
        if "system" in names and (system := text(value_at(record, names["system"]))):
            found.insert(0, ("system", system))
        return found

    def answers(self, record: dict, responses: list) -> list[Answer]:
        """Each response with the conversation that it answers; null where there is no response."""
        for response in responses:
            if response is not None and not _is_dialogue(response):
                conversation = tuple(self.conversation(record))
                return [(conversation, _response(r)) for r in responses]
        return [self._last(record, r) for r in responses]

    def _last(self, record: dict, dialogue: Any) -> Answer:
        said = turns(dialogue)
        if not said or said[-1][0] != "assistant":
            return (), None
        if (
            "system" in self.names
            and (system := text(value_at(record, self.names["system"])))
            and said[0][0] != "system"
        ):
            said.insert(0, ("system", system))
        return tuple(said[:-1]), said[-1][1]


def _compared(one: Answer, other: Answer, winner: Winner) -> Found:
    if one[0] != other[0] and one[1] is not None and other[1] is not None:
        return Unfit("different_conversations", "the two dialogues differ before their last answers")
    return Comparison(one[0], one[1], other[1], winner)


def _history(value: Any) -> list[Turn]:
    """Earlier turns: [[user, assistant], …] or any spelling of a conversation."""
    if isinstance(value, list) and value and all(isinstance(v, list) for v in value):
        return turns([said for exchange in value for said in exchange])
    return turns(value) if value else []


class _Pair(_Context):
    def __call__(self, record: dict) -> Iterator[Found]:
        names = self.names
        yield _compared(
            *self.answers(record, [value_at(record, names["chosen"]), value_at(record, names["rejected"])]), "a"
        )


def _is_dialogue(value: Any) -> bool:
    return is_transcript(value) or (
        isinstance(value, list)
        and len(value) > 1
        and isinstance(value[0], dict)
        and ("role" in value[0] or "from" in value[0])
    )


def _response(value: Any) -> str | None:
    """A response as a text, a message, or a list that holds one message."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict) and "type" not in value[0]:
        value = value[0]
    if isinstance(value, dict) and ("role" in value or "from" in value):
        role, content = message(value)
        if role != "assistant":
            raise Unfit("bad_roles", f"the response is by {role}")
        return content
    return text(value)


class _Winner(_Context):
    def __init__(self, names: dict[str, str], codes: dict[str, list], cells: bool):
        super().__init__(names)
        self.codes = Codes(codes, cells)

    def __call__(self, record: dict) -> Iterator[Found]:
        names = self.names
        answers = self.answers(record, [value_at(record, names["a"]), value_at(record, names["b"])])
        yield _compared(*answers, self.codes(value_at(record, names["winner"])))


class Codes:
    """Which code means which response. Numbers match by value (1 and 1.0), booleans and texts only themselves.

    A text like "[1, 1.5)" stands for an interval of numbers. A missing code is no label; an unlisted one is an error.
    With `cells`, as CSV has them, a text that is no code is read as the number or the boolean that it spells.
    """

    def __init__(self, codes: dict[str, list], cells: bool = False):
        if not codes.get("a") or not codes.get("b"):
            raise ValueError("codes must say which mean a and which mean b")
        self.exact: dict[tuple, Winner] = {}
        self.intervals: list[tuple[_Span, Winner]] = []
        for meaning, values in codes.items():
            winner = None if meaning == "none" else meaning
            for value in values:
                if span := _interval(value):
                    self.intervals.append((span, winner))
                else:
                    self.exact[_code(value)] = winner
        self.codes, self.cells = codes, cells

    def __call__(self, value: Any) -> Winner:
        if value is None or value == "" or value != value:
            return None
        spelt = _spelt(value) if self.cells and _code(value) not in self.exact else value
        key = _code(spelt)
        if key in self.exact:
            return self.exact[key]
        if key[0] == "number":
            for span, winner in self.intervals:
                if _meet(span, _point(spelt)):
                    return winner
        raise BadRecord("unknown_code", f"the code {shown(value)} is none of {self.codes}")


_INTERVAL = re.compile(r"([\[(])\s*(-?[\d.]+)\s*,\s*(-?[\d.]+)\s*([\])])")
_NUMBER = re.compile(r"[+-]?\d{1,300}(\.\d*)?([eE][+-]?\d{1,2})?", re.ASCII)
_Span = tuple[tuple[float, bool], tuple[float, bool]]  # (low, whether it is left out), (high, whether it belongs to it)


def ambiguous(codes: dict[str, list]) -> str:
    """Two codes that some value has both of and that mean different things, for a message; '' where there are none."""
    each = [(meaning, value) for meaning, values in codes.items() for value in values]
    for (one, x), (other, y) in combinations(each, 2):
        if one != other and _same(x, y):
            return f"{one} = {json.dumps(x, default=str)} and {other} = {json.dumps(y, default=str)}"
    return ""


def _same(x: Any, y: Any) -> bool:
    spans = [_interval(v) or (_point(v) if _code(v)[0] == "number" else None) for v in (x, y)]
    return _meet(*spans) if all(spans) else _code(x) == _code(y)


def _code(value: Any) -> tuple:
    number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    return ("number", value) if number else (type(value).__name__, str(value))


def _interval(code: Any) -> _Span | None:
    match = _INTERVAL.fullmatch(code) if isinstance(code, str) else None
    return ((float(match[2]), match[1] == "("), (float(match[3]), match[4] == "]")) if match else None


def _point(number: float) -> _Span:
    return (number, False), (number, True)


def _meet(one: _Span, other: _Span) -> bool:
    """Whether some number is in both."""
    low, high = max(one[0], other[0]), min(one[1], other[1])
    return low[0] < high[0] or (low[0] == high[0] and not low[1] and high[1])


def _spelt(text: Any) -> Any:
    """The number or the boolean that a text spells, or the text."""
    if not isinstance(text, str):
        return text
    if match := _NUMBER.fullmatch(text):
        return float(text) if match[1] or match[2] else int(text)
    return {"true": True, "false": False}.get(text.lower(), text)


class _Scores(_Context):
    def __call__(self, record: dict) -> Iterator[Found]:
        responses = _listed(value_at(record, self.names["responses"]), "responses")
        scores = _listed(value_at(record, self.names["scores"]), "scores")
        if len(responses) != len(scores):
            raise BadRecord("wrong_length", f"{len(responses)} responses but {len(scores)} scores")
        yield from _all_pairs(self.answers(record, responses), [number(s) for s in scores])


class _Ranking(_Context):
    def __call__(self, record: dict) -> Iterator[Found]:
        responses = _listed(value_at(record, self.names["responses"]), "responses")
        yield from _all_pairs(self.answers(record, responses), [-float(i) for i in range(len(responses))])


def _all_pairs(answers: list[Answer], scores: Sequence[float | None]) -> Iterator[Found]:
    """Every two responses, the better one first; equal scores are a tie."""
    if len(answers) < 2:
        yield Unfit("single_response", f"{len(answers)} responses")
        return
    for (a, first), (b, second) in combinations(zip(answers, scores, strict=True), 2):
        if first is None or second is None:
            yield _compared(a, b, None)
        elif first == second:
            yield _compared(a, b, "tie")
        else:
            yield _compared(a, b, "a") if first > second else _compared(b, a, "a")


class _Tree:
    def __init__(self, names: dict[str, str]):
        self.names = names

    def __call__(self, record: dict) -> Iterator[Found]:
        root = value_at(record, self.names["root"])
        if not isinstance(root, dict):
            raise BadRecord("wrong_type", f"a tree's root is an object, found {shown(root)}")
        found = False
        stack = [(root, ())]  # no recursion: a thread may be deeper than Python's stack
        while stack:
            node, before = stack.pop()
            said = {"role": node.get(self.names["role"]), "content": node.get(self.names["text"])}
            context = (*before, message(said))
            replies = self._replies(node)
            answers = [r for r in replies if ROLES.get(str(r.get(self.names["role"])).lower()) == "assistant"]
            if len(answers) > 1:
                found = True
                ranks = [number(r.get(self.names["rank"])) for r in answers]
                texts = [(context, _response(r.get(self.names["text"]))) for r in answers]
                yield from _all_pairs(texts, [None if r is None else -r for r in ranks])
            stack.extend((reply, context) for reply in reversed(replies))
        if not found:
            yield Unfit("single_response", "no message has two answers")

    def _replies(self, node: dict) -> list[dict]:
        replies = node.get(self.names["replies"]) or []
        if not isinstance(replies, list) or not all(isinstance(r, dict) for r in replies):
            raise BadRecord("wrong_type", f"replies are a list of objects, found {shown(replies)}")
        return replies


# ---- unpaired ------------------------------------------------------------------------------------------------------
def pair_up(
    records: Iterable[tuple[int, dict]], fields: dict[str, str], codes: Codes
) -> Iterator[tuple[int, Found | BadRecord]]:
    """Pair single responses with a label by equal conversations: every good one with every bad one.

    Args:
        records: (row, record); a whole file, of which the conversations that have both kinds stay in memory.
        fields: `messages` (a dialogue that ends with the response) or `prompt` and `response`, and `label`.
        codes: which labels mean a, a good response, and which b, a bad one.

    Yields:
        (row, comparison) for the row of the good response, (row, Unfit) for every row that stands in no pair of its
        own: `paired` for a bad response that found a good one, `no_partner` for one of either kind that found none.
    """
    names = field_names("unpaired", fields)
    context = _Context(names)
    groups: dict[tuple[Turn, ...], dict[bool, list[tuple[int, str]]]] = defaultdict(lambda: {True: [], False: []})
    for row, record in records:
        try:
            label = codes(value_at(record, names["label"]))
            if label not in ("a", "b"):
                raise Unfit(label or "no_label")
            if "messages" in names:
                dialogue = turns(value_at(record, names["messages"]))
                if not dialogue or dialogue[-1][0] != "assistant":
                    raise Unfit("null_response", "the dialogue does not end with an answer")
                conversation, response = tuple(dialogue[:-1]), dialogue[-1][1]
            else:
                conversation = tuple(context.conversation(record))
                response = _response(value_at(record, names["response"]))
            if response is None:
                raise Unfit("null_response", "response is missing")
            check(conversation)  # here, once a row: below it would be said of every pair
            if blank(response):
                raise Unfit("empty_response", "response is empty")
            groups[conversation][label == "a"].append((row, response))
        except (Unfit, BadRecord) as e:
            yield row, e
        except (ValueError, ArithmeticError, RecursionError) as e:
            yield row, BadRecord("wrong_type", f"{type(e).__name__}: {e}")
    for conversation, kinds in groups.items():
        good, bad = kinds[True], kinds[False]
        for row, response in good:
            for _, other in bad:
                yield row, Comparison(conversation, response, other, "a")
        alone = [*good, *bad] if not good or not bad else []
        for row, _ in alone:
            yield row, Unfit("no_partner", "no response of the other kind to this conversation")
        for row, _ in bad if good else []:
            yield row, Unfit("paired", f"with rows {', '.join(str(r) for r, _ in good[:5])}")


# ---- help ----------------------------------------------------------------------------------------------------------
_TYPICAL = {
    "prompt": ("prompt", "instruction", "question", "conversation", "conversations", "context", "query"),
    "input": ("input",),
    "history": ("history",),
    "system": ("system", "system_prompt"),
    "chosen": ("chosen", "chosen_messages", "r_chosen", "win", "preferred", "better", "winner_list"),
    "rejected": ("rejected", "reject", "rejected_messages", "r_reject", "r_rejected", "lose", "dispreferred", "worse"),
    "a": (
        "a",
        "response_a",
        "answer_a",
        "output_1",
        "response1",
        "response_1",
        "response 1",
        "completion_a",
        "conversation_a",
    ),
    "b": (
        "b",
        "response_b",
        "answer_b",
        "output_2",
        "response2",
        "response_2",
        "response 2",
        "completion_b",
        "conversation_b",
    ),
    "winner": ("winner", "preference", "label", "vote", "overall_preference", "goldlabel", "better_response_id"),
    "responses": ("responses", "answers", "completions", "output", "outputs", "candidates"),
    "scores": ("scores", "ratings", "rewards", "rating"),
    "root": ("prompt", "root"),
    "messages": ("messages", "conversation", "conversations"),
    "response": ("response", "completion", "answer"),
    "label": ("label", "is_good", "desirable", "thumbs_up"),
}
_NEEDED = {
    "pair": ("chosen", "rejected"),
    "winner": ("a", "b", "winner"),
    "scores": ("responses", "scores"),
    "tree": ("root",),
    "unpaired": ("messages", "label"),
    "ranking": ("responses",),
}


def nearest(record: dict) -> str:
    """The adapter that a record's keys suggest, as lines for the configuration, or '' when none does."""
    keys = {k.lower(): k for k in record}
    known = {role: next((keys[n] for n in names if n in keys), None) for role, names in _TYPICAL.items()}
    if not (isinstance(record.get(known["root"] or ""), dict) and "replies" in record[known["root"]]):
        known["root"] = None
    for shape, needed in _NEEDED.items():
        if all(known[n] for n in needed):
            names = [n for n in (*needed, *(() if shape in ("tree", "unpaired") else CONTEXT)) if known[n]]
            fields = ", ".join(f"{n} = {json.dumps(known[n], ensure_ascii=False)}" for n in names)
            return f'shape = "{shape}", fields = {{{fields}}}'
    return ""
