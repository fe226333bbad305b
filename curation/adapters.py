"""Shapes of preference data: each adapter turns one record into comparisons, and guesses nothing.

    pair      prompt and two responses, the better one first
    winner    prompt, responses a and b, and a code that says which is better
    scores    prompt, a list of responses and their scores: every two responses with different scores
    ranking   prompt and a list of responses, best first
    tree      a message with ranked replies, which have ranked replies
    unpaired  one response and whether it is good; good and bad ones with equal conversations are paired

A response is a text, a message, or a whole dialogue that ends with it; of two dialogues the common beginning is the
conversation, and a prompt is then not needed. One that is there all the same is joined with them where they agree, and
is a reason where they do not (`context_disagrees`).

A field is the name of a key, or a path: `a.b` steps into an object, `a[].b` takes b of every element of a list, and
`a[0]` one element. (spec 0.01, 0.02, 0.06)
"""

import json
import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain, combinations
from typing import Any, Literal, cast

from curation.conversation import (
    BESIDE,
    HOLDERS,
    ROLES,
    BadRecord,
    Said,
    Unfit,
    blank,
    check,
    empty,
    inside,
    is_transcript,
    message,
    opened,
    shown,
    structure,
    text,
    turns,
)

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

    turns: tuple[Said, ...]
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


def adapter(shape: str, fields: dict[str, str], codes: Mapping[Any, list], cells: bool = False) -> Adapter:
    """The function that reads one record of a shape (every shape but `unpaired`).

    It yields at least one Comparison or Unfit a record and raises BadRecord where a value has a type that cannot be
    read. `cells` says that every value is a text, as in CSV.

    Raises:
        ValueError: a field that the shape does not have, or a shape `winner` without codes.
    """
    names = field_names(shape, fields)
    if shape == "winner":
        return _Winner(names, fields, codes, cells)
    return {"pair": _Pair, "scores": _Scores, "ranking": _Ranking, "tree": _Tree}[shape](names, fields)


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
    """Fields that the shape needs and that none of these records has; of a path, all of its steps."""
    keys = {key for record in records for key in record}
    names = field_names(shape, fields)
    optional = set(OPTIONAL)
    carried = "prompt" in fields or names.get("prompt", "prompt") in keys
    if not carried and any(_is_dialogue(r) for record in records for r in _responses(names, record)):
        optional.add("prompt")  # whole dialogues carry their own
    if shape == "unpaired" and "messages" in fields:
        optional |= {"prompt", "response"}
    return sorted(
        path
        for name, path in names.items()
        if not (name in optional and name not in fields)
        and path not in keys
        and not (shape == "tree" and name != "root")
        and (_head(path) not in keys or not any(_leads(record, path_steps(path)) for record in records))
    )


def _responses(names: dict[str, str], record: dict) -> list:
    found = [value_at(record, names[n]) for n in ("chosen", "rejected", "a", "b", "response") if n in names]
    listed = value_at(record, names["responses"]) if "responses" in names else []
    listed = structure(listed) if isinstance(listed, str) else listed
    return [_tried(_unwrapped, r) for r in found + (listed if isinstance(listed, list) else [])]


def _leads(value: Any, steps: Sequence[tuple[str, str]]) -> bool:
    """Whether a path leads somewhere in a value, or may: what is null or an empty list says nothing against it."""
    for i, (key, index) in enumerate(steps):
        if value is None or value == []:
            return True
        if key:
            if not isinstance(value, dict) or key not in value:
                return False
            value = value[key]
        elif not isinstance(value, list):
            return False
        elif index:
            if int(index) >= len(value):
                return False
            value = value[int(index)]
        else:
            return any(_leads(element, steps[i + 1 :]) for element in value)
    return True


# ---- values of a record --------------------------------------------------------------------------------------------
_STEP = re.compile(r"([^.\[\]]+)|\[(\d*)\]")


def path_steps(path: str) -> list[tuple[str, str]]:
    """The steps of a path as (key, index): a key, or, where that is empty, an index, '' for every element."""
    return _STEP.findall(path)


def _head(path: str) -> str | None:
    found = _STEP.match(path)
    return found[1] if found else None


def value_at(record: dict, path: str) -> Any:
    """The value at a path, None where it does not lead anywhere; a key spelt like the whole path goes first."""
    if path in record or ("." not in path and "[" not in path):
        return record.get(path)
    return _walk(record, path_steps(path))


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
    """A list, or one that stands in a text (as in CSV) as JSON or as Python and numpy print it."""
    if isinstance(value, str):
        found = structure(value)
        value = found if isinstance(found, list) else value if value.strip() else None
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
Answer = tuple[tuple[Said, ...], str | None]
Part = Answer | Unfit | BadRecord  # a response with what it answers, or why it cannot be read


class _Shape:
    """Reads the comparisons of a record; one that holds more than text beside its fields is refused."""

    def __init__(self, names: dict[str, str], fields: dict[str, str]):
        self.names, self.fields = names, fields
        self.beside = BESIDE - {_head(path) for path in names.values()}

    def __call__(self, record: dict) -> Iterator[Found]:
        self.nothing_beside(record)
        yield from self.read(record)

    def read(self, record: dict) -> Iterator[Found]:
        raise NotImplementedError

    def nothing_beside(self, record: dict) -> None:
        """Refuse a record with pictures, sounds or tools, without which its label may have no reason.

        Raises:
            Unfit: the key, and what it holds.
        """
        if not self.beside.isdisjoint(record) and (held := _held(record, self.beside)):
            raise Unfit(
                "more_than_text",
                f"the record holds {held!r} beside its texts: {shown(record[held])}; where nobody needs it, "
                f"leave it out by a query (SELECT * EXCLUDE ({held}) FROM …)",
            )


def _held(value: dict, keys: Iterable[str]) -> str:
    """The first of these keys, in their order, under which something is held; '' where none is."""
    return next((key for key in sorted(keys) if key in value and not empty(value[key])), "")


class _Context(_Shape):
    """Reads the conversation of a record from `system`, `history`, `prompt` and `input`, and from whole dialogues."""

    def conversation(self, record: dict, prompt: bool = True) -> list[Said]:
        names = self.names
        found = turns(value_at(record, names["prompt"])) if prompt else []
        if found and found[-1] == ("assistant", ""):  # a transcript that ends with "Assistant:" asks for the answer
            found.pop()
        if prompt and "input" in names and (extra := text(value_at(record, names["input"]))):
            if found and found[-1][1]:
                found[-1] = (found[-1][0], f"{found[-1][1]}\n\n{extra}")
            elif not found:
                found = [("user", extra)]
        if "history" in names:
            found = _history(value_at(record, names["history"])) + found
        if "system" in names and (system := text(value_at(record, names["system"]))):
            found.insert(0, ("system", system))
        return _without_empty_system(found)

    def answers(self, record: dict, responses: list) -> list[Part]:
        """Each response with the conversation that it answers; null where there is no response."""
        given = [_tried(_unwrapped, r) for r in responses]
        if exchanged := _exchanges(value_at(record, self.names["prompt"]), given):
            return exchanged
        whole = [_is_dialogue(r) for r in given]
        if any(whole):
            return self._dialogues(record, given, whole)
        if all(r is None for r in given):
            return [((), None)] * len(given)
        conversation = tuple(self.conversation(record))
        return [_answer(conversation, r) for r in given]

    def _dialogues(self, record: dict, given: list, whole: list[bool]) -> list[Part]:
        """Of responses some of which are dialogues. Two transcripts that do not begin as the prompt does are texts that
        it asked for; a text beside a dialogue answers the conversation of that."""
        context = self.conversation(record)
        spoken = [w or r is None for w, r in zip(whole, given, strict=True)]
        found: list[Part] = [
            _tried(self._last, r, record, context) if w else ((), None) for r, w in zip(given, whole, strict=True)
        ]
        written = all(isinstance(r, str) for r, w in zip(given, whole, strict=True) if w)
        if all(spoken) and written and context and not is_transcript(value_at(record, self.names["prompt"])):
            refused = [f for f, w in zip(found, whole, strict=True) if w]
            if all(isinstance(f, Unfit) and f.reason == "context_disagrees" for f in refused):
                return [(tuple(context), r) for r in given]
        if all(spoken):
            return found
        said = {f[0] for f, w in zip(found, whole, strict=True) if w and isinstance(f, tuple) and f[1] is not None}
        if len(said) == 1:
            conversation = said.pop()
        elif said or not context:
            problem = Unfit("different_conversations", "a text beside dialogues that differ before their last answers")
            return [f if done else problem for f, done in zip(found, spoken, strict=True)]
        else:
            conversation = tuple(context)
        return [f if done else _answer(conversation, r) for f, r, done in zip(found, given, spoken, strict=True)]

    def _last(self, dialogue: Any, record: dict, context: list[Said]) -> Answer:
        """The last answer of a dialogue and all that goes before it, with what the record's fields say of that.

        Raises:
            Unfit: the fields say something else.
        """
        said = turns(dialogue)
        if not said or said[-1][0] != "assistant":
            return (), None
        said = _without_empty_system(said)
        before = _joined(context, said[:-1])
        if before is None and "history" in self.fields and "prompt" not in self.fields:
            earlier = self.conversation(record, prompt=False)  # the dialogue takes the place of a prompt nobody mapped
            before = _joined(earlier, said[:-1]) if earlier else None
        if before is None:
            raise Unfit(
                "context_disagrees",
                f"the dialogue begins with {_shown(said)} and the fields {', '.join(self._told(record))} say "
                f"{_shown(context)}; where the dialogue is right, leave them out by a query (SELECT * EXCLUDE (…) FROM …)",
            )
        return tuple(before), said[-1][1]

    def _told(self, record: dict) -> list[str]:
        return [name for name in CONTEXT if name in self.names and value_at(record, self.names[name])]


def _tried(function: Callable, *values: Any) -> Any:
    """What a function says of values, or the reason why it cannot, as a value."""
    try:
        return function(*values)
    except (Unfit, BadRecord) as e:
        return e


def _answer(conversation: tuple[Said, ...], value: Any) -> Part:
    if isinstance(value, Unfit | BadRecord):
        return value
    found = _tried(_response, value)
    return found if isinstance(found, Unfit | BadRecord) else (conversation, found)


def _unwrapped(value: Any) -> Any:
    """A response as what it is, also where it stands as text or in an object of its own."""
    value = opened(value)
    held = inside(value) if isinstance(value, dict) else None
    return value if held is None else held


def _without_empty_system(said: list) -> list:
    """An empty system turn is no system turn, as an empty field is none."""
    return said[1:] if said and said[0][0] == "system" and not (said[0][1] or "").strip() else said


def _exchanges(prompt: Any, given: list) -> list[Part]:
    """Answers as Kaggle's Chatbot Arena has them: the prompts and each model's answers as lists of as many texts, one a
    turn. Empty where they are something else."""
    asked = _texts(prompt)
    if not asked:
        return []
    answered = [_texts(r) for r in given]
    if not all(len(one) == len(asked) for one in answered):
        return []
    return [
        (tuple(chain.from_iterable(zip(_said("user", asked), _said("assistant", one), strict=True)))[:-1], one[-1])
        for one in answered
    ]


def _said(role: str, contents: list) -> list:
    return [(role, content) for content in contents]


def _texts(value: Any) -> list:
    """A list of texts and nulls, also one that stands as text; empty where it is none."""
    if isinstance(value, str) and value[:1] == "[" and value.rstrip()[-1:] == "]":
        value = structure(value)
    return value if isinstance(value, list) and all(v is None or isinstance(v, str) for v in value) else []


def _joined(context: list[Said], before: list[Said]) -> list[Said] | None:
    """What goes before an answer by a record's fields and by its dialogue, as one conversation: the one is part of the
    other, or ends with its beginning, or is a history that ends where it begins. None where they disagree."""
    (system, asked), (its_system, said) = _parted(context), _parted(before)
    if system and its_system and not _same_turns(system, its_system):
        return None
    first = its_system or system
    if any(_same_turns(asked, said[i : i + len(asked)]) for i in range(len(said) - len(asked) + 1)):
        return first + said
    for n in range(min(len(asked), len(said)), 0, -1):
        if _same_turns(asked[-n:], said[:n]):
            return first + asked[:-n] + said
    ends = asked and said and asked[-1][0] == "assistant" and said[0][0] == "user"
    return first + asked + said if ends else None


def _parted(said: list[Said]) -> tuple[list[Said], list[Said]]:
    return (said[:1], said[1:]) if said and said[0][0] == "system" else ([], said)


def _same_turns(some: list[Said], others: list[Said]) -> bool:
    """Whether turns are equal up to their white space."""
    return some == others or (
        len(some) == len(others)
        and all(
            a[0] == b[0] and (a[1] or "").split() == (b[1] or "").split() for a, b in zip(some, others, strict=True)
        )
    )


def _shown(said: list[Said]) -> str:
    return f"{said[0][0]} {(said[0][1] or '')[:60]!r}" if said else "nothing"


def _compared(one: Part, other: Part, winner: Winner) -> Found:
    if isinstance(one, Unfit | BadRecord) or isinstance(other, Unfit | BadRecord):
        return _unfit(one if isinstance(one, Unfit | BadRecord) else other)
    if one[0] != other[0] and one[1] is not None and other[1] is not None:
        return Unfit("different_conversations", "the two dialogues differ before their last answers")
    conversation = one[0] if one[1] is not None else other[0]
    return Comparison(conversation, one[1], other[1], winner)


def _unfit(problem: Any, where: str = "") -> Unfit:
    return Unfit(problem.reason, f"{where}{problem}")


def _raised(parts: Iterable[Any]) -> None:
    """Raise the first of some parts that cannot be read."""
    for part in parts:
        if isinstance(part, BadRecord):
            raise part


def _history(value: Any) -> list[Said]:
    """Earlier turns: [[user, assistant], …] or any spelling of a conversation."""
    if isinstance(value, str) and value[:1] == "[":
        found = structure(value)
        value = found if isinstance(found, list) else value
    if isinstance(value, list) and value and all(isinstance(v, list) for v in value):
        return turns([said for exchange in value for said in exchange])
    return turns(value) if value else []


class _Pair(_Context):
    def read(self, record: dict) -> Iterator[Found]:
        answers = self.answers(
            record, [value_at(record, self.names["chosen"]), value_at(record, self.names["rejected"])]
        )
        _raised(answers)
        yield _compared(*answers, "a")


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
    def __init__(self, names: dict[str, str], fields: dict[str, str], codes: Mapping[Any, list], cells: bool):
        super().__init__(names, fields)
        self.codes = Codes(codes, cells)

    def read(self, record: dict) -> Iterator[Found]:
        answers = self.answers(record, [value_at(record, self.names["a"]), value_at(record, self.names["b"])])
        _raised(answers)
        yield _compared(*answers, self.codes(value_at(record, self.names["winner"])))


class Codes:
    """Which code means which response. Numbers match by value (1 and 1.0), booleans and texts only themselves.

    A text like "[1, 1.5)" stands for an interval of numbers. A missing code is no label; an unlisted one is an error.
    With `cells`, as CSV has them, a text that is no code is read as the number or the boolean that it spells.
    """

    def __init__(self, codes: Mapping[Any, list], cells: bool = False):
        if not codes.get("a") or not codes.get("b"):
            raise ValueError("codes must say which mean a and which mean b")
        self.exact: dict[tuple, Winner] = {}
        self.intervals: list[tuple[_Span, Winner]] = []
        for meaning, values in codes.items():
            winner = None if meaning == "none" else cast(Winner, meaning)
            for value in values:
                if isinstance(value, str) and _MEANT.fullmatch(value) and not _interval(value):
                    raise ValueError(
                        f"codes.{meaning}: {value!r} is no interval; one is written as '[-3, 0)', in numbers"
                    )
                if span := _interval(value):
                    self.intervals.append((span, winner))
                else:
                    self.exact[_code(value)] = winner
        self.codes, self.cells = codes, cells

    def __call__(self, value: Any) -> Winner:
        if value is None or value == "" or value != value:
            return None
        meant = spelt(value) if self.cells and _code(value) not in self.exact else value
        key = _code(meant)
        if key in self.exact:
            return self.exact[key]
        if key[0] == "number":
            for span, winner in self.intervals:
                if _meet(span, _point(meant)):
                    return winner
        raise BadRecord("unknown_code", f"the code {shown(value)} is none of {self.codes}")


_FLOAT = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_INTERVAL = re.compile(rf"([\[(])\s*({_FLOAT})\s*,\s*({_FLOAT})\s*([\])])", re.ASCII)
_MEANT = re.compile(  # as an interval, whatever came of it
    rf"[\[(]\s*(?:{_FLOAT}\s*,[^,\[\]()]*|[^,\[\]()]*,\s*{_FLOAT}|[+-]?(?:inf\w*|∞)\s*,[^,\[\]()]*)\s*[\])]",
    re.ASCII | re.I,
)
_NUMBER = re.compile(r"[+-]?\d{1,300}(\.\d*)?([eE][+-]?\d{1,2})?", re.ASCII)
_Span = tuple[tuple[float, bool], tuple[float, bool]]  # (low, whether it is left out), (high, whether it belongs to it)


def ambiguous(codes: Mapping[Any, list]) -> str:
    """Two codes that some value has both of and that mean different things, for a message; '' where there are none."""
    each = [(meaning, value) for meaning, values in codes.items() for value in values]
    for (one, x), (other, y) in combinations(each, 2):
        if one != other and _same(x, y):
            return f"{one} = {json.dumps(x, default=str)} and {other} = {json.dumps(y, default=str)}"
    return ""


def _same(x: Any, y: Any) -> bool:
    spans = [span for v in (x, y) if (span := _interval(v) or (_point(v) if _code(v)[0] == "number" else None))]
    return _meet(*spans) if len(spans) == 2 else _code(x) == _code(y)


def _code(value: Any) -> tuple:
    number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    return ("number", value) if number else (type(value).__name__, str(value))


def _interval(code: Any) -> _Span | None:
    match = _INTERVAL.fullmatch(code) if isinstance(code, str) else None
    span = ((float(match[2]), match[1] == "("), (float(match[3]), match[4] == "]")) if match else None
    return span if span and _meet(span, span) else None  # one that holds no number is none


def _point(number: float) -> _Span:
    return (number, False), (number, True)


def _meet(one: _Span, other: _Span) -> bool:
    """Whether some number is in both."""
    low, high = max(one[0], other[0]), min(one[1], other[1])
    return low[0] < high[0] or (low[0] == high[0] and not low[1] and high[1])


def spelt(text: Any) -> Any:
    """The number or the boolean that a text spells, or the text.

    >>> spelt("10"), spelt("1.50"), spelt("TRUE"), spelt(" 1")
    (10, 1.5, True, ' 1')
    """
    if not isinstance(text, str):
        return text
    if match := _NUMBER.fullmatch(text):
        return float(text) if match[1] or match[2] else int(text)
    return {"true": True, "false": False}.get(text.lower(), text)


class _Scores(_Context):
    def read(self, record: dict) -> Iterator[Found]:
        responses = _listed(value_at(record, self.names["responses"]), "responses")
        scores = _listed(value_at(record, self.names["scores"]), "scores")
        if len(responses) != len(scores):
            raise BadRecord("wrong_length", f"{len(responses)} responses but {len(scores)} scores")
        yield from _all_pairs(self.answers(record, responses), [_tried(number, s) for s in scores])


class _Ranking(_Context):
    def read(self, record: dict) -> Iterator[Found]:
        responses = _listed(value_at(record, self.names["responses"]), "responses")
        yield from _all_pairs(self.answers(record, responses), [-float(i) for i in range(len(responses))])


def _all_pairs(answers: Sequence[Part], scores: Sequence[float | BadRecord | None]) -> Iterator[Found]:
    """Every two responses, the better one first; equal scores are a tie. What cannot be read costs the pairs that it
    would stand in.

    Raises:
        BadRecord: no two of them can be read.
    """
    if len(answers) < 2:
        _raised(answers)
        yield Unfit("single_response", f"{len(answers)} responses")
        return
    marks = [None if isinstance(score, BadRecord) else score for score in scores]
    odd = [
        answer if isinstance(answer, Unfit | BadRecord) else score if isinstance(score, BadRecord) else None
        for answer, score in zip(answers, scores, strict=True)
    ]
    if odd.count(None) < 2:
        _raised(odd)
    for i, j in combinations(range(len(answers)), 2):
        first, second = marks[i], marks[j]
        if odd[i] or odd[j]:
            which = i if odd[i] else j
            yield _unfit(odd[which], f"response {which + 1}: ")
        elif first is None or second is None:
            yield _compared(answers[i], answers[j], None)
        elif first == second:
            yield _compared(answers[i], answers[j], "tie")
        else:
            better, worse = (i, j) if first > second else (j, i)
            yield _compared(answers[better], answers[worse], "a")


class _Tree(_Shape):
    def read(self, record: dict) -> Iterator[Found]:
        root = value_at(record, self.names["root"])
        if not isinstance(root, dict):
            raise BadRecord("wrong_type", f"a tree's root is an object, found {shown(root)}")
        found = False
        stack: list[tuple[dict, tuple[Said, ...]]] = [(root, ())]  # no recursion: deeper than Python's stack may be
        while stack:
            node, before = stack.pop()
            said = _tried(self._message, node)
            if isinstance(said, Unfit | BadRecord):
                if node is root:
                    raise said
                found = True
                yield Unfit(said.reason, f"a message, and what answers it: {said}")
                continue
            context = (*before, said)
            replies, odd = self._replies(node)
            for one in odd:
                found = True
                yield Unfit("wrong_type", f"a reply is an object, found {shown(one)}")
            answers = [r for r in replies if ROLES.get(str(r.get(self.names["role"])).lower()) == "assistant"]
            if len(answers) > 1:
                found = True
                ranks = [_tried(number, r.get(self.names["rank"])) for r in answers]
                texts = [_tried(self._reply, r, context) for r in answers]
                yield from _all_pairs(texts, [-r if isinstance(r, float) else r for r in ranks])
            stack.extend((reply, context) for reply in reversed(replies))
        if not found:
            yield Unfit("single_response", "no message has two answers")

    def _message(self, node: dict) -> tuple[str, str | None]:
        if held := _held(node, HOLDERS):
            raise Unfit("more_than_text", f"a message holds {held!r} beside its text: {shown(node[held])}")
        return message({"role": node.get(self.names["role"]), "content": node.get(self.names["text"])})

    def _reply(self, node: dict, context: tuple[Said, ...]) -> Answer:
        return context, self._message(node)[1]

    def _replies(self, node: dict) -> tuple[list[dict], list]:
        """The replies, and what stands among them and is none."""
        replies = node.get(self.names["replies"]) or []
        if not isinstance(replies, list):
            return [], [replies]
        return [r for r in replies if isinstance(r, dict)], [r for r in replies if not isinstance(r, dict)]


# ---- unpaired ------------------------------------------------------------------------------------------------------
def pair_up(
    records: Iterable[tuple[int, dict]], fields: dict[str, str], codes: Codes, longest: int
) -> Iterator[tuple[int, Found | BadRecord]]:
    """Pair single responses with a label by equal conversations: every good one with every bad one.

    Args:
        records: (row, record); a whole file, of which the conversations that have both kinds stay in memory.
        fields: `messages` (a dialogue that ends with the response) or `prompt` and `response`, and `label`.
        codes: which labels mean a, a good response, and which b, a bad one.
        longest: characters of a pair, at most.

    Yields:
        (row, comparison) for the row of the good response, (row, Unfit) for every row that stands in no pair of its
        own: `paired` for a bad response that stands in a pair of a good one, `no_partner` for one of either kind that
        found none. What is wrong with a row is told at once, before the next is asked for.
    """
    names = field_names("unpaired", fields)
    context = _Context(names, fields)
    groups: dict[tuple[Said, ...], dict[bool, list[tuple[int, str]]]] = defaultdict(lambda: {True: [], False: []})
    for row, record in records:
        try:
            conversation, response, good = _labelled(record, names, context, codes)
            if (size := _size(conversation, response)) > longest:
                raise BadRecord("row_too_big", f"{size} characters, max_row_bytes is {longest}")
            groups[conversation][good].append((row, response))
        except (Unfit, BadRecord) as e:
            yield row, e
        except (ValueError, ArithmeticError, RecursionError) as e:
            yield row, BadRecord("wrong_type", f"{type(e).__name__}: {e}")
    for conversation, kinds in groups.items():
        good, bad = kinds[True], kinds[False]
        partners: dict[int, list[int]] = {row: [] for row, _ in bad}
        refused: dict[int, Unfit] = {}
        for row, response in good:
            for other_row, other in bad:
                pair = Comparison(conversation, response, other, "a")
                if (size := _size(conversation, response) + len(other)) > longest:
                    problem = ("row_too_big", f"{size} characters with row {other_row}, max_row_bytes is {longest}")
                else:
                    problem = pair.problem()
                if problem is None:
                    partners[other_row].append(row)
                    yield row, pair
                else:
                    refused[other_row] = Unfit(problem[0], f"with row {row}: {problem[1]}")
                    yield row, Unfit(problem[0], f"with row {other_row}: {problem[1]}")
        for row, _ in bad if good else []:
            with_rows = ", ".join(map(str, partners[row][:5]))
            yield row, Unfit("paired", f"with rows {with_rows}") if with_rows else refused[row]
        for row, _ in [] if good and bad else [*good, *bad]:
            yield row, Unfit("no_partner", "no response of the other kind to this conversation")


def _labelled(
    record: dict, names: dict[str, str], context: _Context, codes: Codes
) -> tuple[tuple[Said, ...], str, bool]:
    """The conversation of a single response, the response, and whether it is good.

    Raises:
        Unfit: it cannot be half of a pair.
        BadRecord: it cannot be read.
    """
    context.nothing_beside(record)
    label = codes(value_at(record, names["label"]))
    if label not in ("a", "b"):
        raise Unfit(label or "no_label")
    given = value_at(record, names["messages" if "messages" in names else "response"])
    if "messages" in names:
        said = turns(given)
        if not said or said[-1][0] != "assistant":
            raise Unfit("null_response", "the dialogue does not end with an answer")
    [answer] = context.answers(record, [given])
    if isinstance(answer, Unfit | BadRecord):
        raise answer
    conversation, response = answer
    if response is None:
        raise Unfit("null_response", "response is missing")
    check(conversation)  # here, once a row: below it would be said of every pair
    if blank(response):
        raise Unfit("empty_response", "response is empty")
    for said in (response, *(content for _, content in conversation)):
        if said and not said.isascii():
            _encoded(said)
    return conversation, response, label == "a"


def _encoded(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadRecord("not_utf8", "half of a surrogate pair, which is no character") from None


def _size(conversation: tuple[Said, ...], response: str) -> int:
    return len(response) + sum(len(content or "") for _, content in conversation)


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


def beside_path(record: dict, path: str) -> str:
    """What stands where a path stops leading anywhere, for a message; '' where its first key is not there."""
    steps = path_steps(path)
    value: Any = record
    for i, (key, index) in enumerate(steps):
        at = "".join(f".{k}" if k else f"[{n}]" for k, n in steps[:i]).lstrip(".")
        if isinstance(value, dict) and key and key not in value:
            return f"{at} has {', '.join(map(str, value))}" if at else ""
        if isinstance(value, dict) and key:
            value = value[key]
        elif isinstance(value, list) and not key and len(value) > int(index or 0):
            value = value[int(index or 0)]
        else:
            return f"{at} is {shown(value)}"
    return ""


def columnar(record: dict, shape: str) -> str:
    """How a whole table stands in one object, where it does: by columns, or by rows under their numbers."""
    values = list(record.values())
    if len(values) > 1 and all(isinstance(v, list) for v in values) and len({len(v) for v in values}) == 1:
        plain = len(values[0]) > 1 and not any(isinstance(v, dict | list) for v in values[0])
        return "columns" if plain and shape not in ("scores", "ranking") else ""
    if set(record) >= {"columns", "data"} and all(isinstance(record[k], list) for k in ("columns", "data")):
        return "columns and data"
    if not values or not all(isinstance(v, dict) and v for v in values):
        return ""
    if all(key.isdigit() for key in record):
        return "rows under their numbers"
    same = len({tuple(v) for v in values}) == 1 and len(values) > 1
    return "columns" if same and all(key.isdigit() for key in values[0]) else ""


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
