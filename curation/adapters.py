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

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, combinations
from typing import Any

from curation.codes import Codes
from curation.comparison import Comparison, Found, Winner
from curation.conversation import (
    BESIDE,
    HOLDERS,
    ROLES,
    BadRecord,
    Said,
    Unfit,
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
from curation.paths import head, leads, path_steps, value_at
from curation.plain import Sound, can_be_answered, dialogue, history, is_text, sound

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


def adapter(shape: str, fields: dict[str, str], codes: Mapping[Any, list], cells: bool = False) -> "Shape":
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
        and (head(path) not in keys or not any(leads(record, path_steps(path)) for record in records))
    )


def _responses(names: dict[str, str], record: dict) -> list:
    found = [value_at(record, names[n]) for n in ("chosen", "rejected", "a", "b", "response") if n in names]
    listed = value_at(record, names["responses"]) if "responses" in names else []
    listed = structure(listed) if isinstance(listed, str) else listed
    return [_tried(_unwrapped, r) for r in found + (listed if isinstance(listed, list) else [])]


# ---- values of a record --------------------------------------------------------------------------------------------
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


class Shape:
    """Reads the comparisons of a record; one that holds more than text beside its fields is refused."""

    def __init__(self, names: dict[str, str], fields: dict[str, str]):
        self.names, self.fields = names, fields
        self.beside = BESIDE - {head(path) for path in names.values()}

    def __call__(self, record: dict) -> Iterator[Found]:
        self.nothing_beside(record)
        yield from self.read(record)

    def read(self, record: dict) -> Iterator[Found]:
        raise NotImplementedError

    def quick(self, record: dict) -> Sound | None:
        """The one pair of a plain record, which is what calling the adapter gives; None where it takes that to tell."""
        return None

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


class Context(Shape):
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

    def plain(self, record: dict, a: Any, b: Any, winner: Winner) -> Sound | None:
        """The comparison of a record whose texts are nothing but texts; None where it takes a closer look."""
        if not self.beside.isdisjoint(record):
            return None
        if type(a) is str:
            if not (is_text(a) and is_text(b)):
                return None
            said = self._plain_conversation(record)
            return None if said is None else sound(tuple(said), a, b, winner)
        one, other = dialogue(a), dialogue(b)
        if one is None or other is None or one[-1][0] != "assistant" or other[-1][0] != "assistant":
            return None
        *before, (_, first) = one
        *also, (_, second) = other
        if before != also:
            return None
        if before:
            said = before if can_be_answered(before) and self._agrees(record, before) else None
        else:
            said = self._plain_conversation(record)
        return None if said is None else sound(tuple(said), first or "", second or "", winner)

    def _plain_conversation(self, record: dict) -> list[Said] | None:
        names = self.names
        prompt = value_at(record, names["prompt"])
        if is_text(prompt):
            said: list[Said] = [("user", prompt)]
        elif (turns_of := dialogue(prompt)) is not None:
            said = turns_of
        else:
            return None
        if "input" in names and (extra := value_at(record, names["input"])) not in (None, ""):
            if type(extra) is not str or not said[-1][1]:
                return None
            said[-1] = (said[-1][0], f"{said[-1][1]}\n\n{extra}")
        if "history" in names:
            earlier = history(value_at(record, names["history"]))
            if earlier is None:
                return None
            said = earlier + said
        if "system" in names and (system := value_at(record, names["system"])) not in (None, ""):
            if type(system) is not str:
                return None
            said.insert(0, ("system", system))
        return said if can_be_answered(said) else None

    def _agrees(self, record: dict, before: list[Said]) -> bool:
        """Whether the fields say nothing beside what goes before the last answers of plain dialogues."""
        if not self.names.keys().isdisjoint(("input", "history", "system")):
            return False
        prompt = value_at(record, self.names["prompt"])
        return prompt is None or (is_text(prompt) and ("user", prompt) in before) or dialogue(prompt) == before

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


def _compared(one: Part, other: Part, winner: Winner, *, ahead_by: float | None = None) -> Found:
    if isinstance(one, Unfit | BadRecord) or isinstance(other, Unfit | BadRecord):
        return _unfit(one if isinstance(one, Unfit | BadRecord) else other)
    if one[0] != other[0] and one[1] is not None and other[1] is not None:
        return Unfit("different_conversations", "the two dialogues differ before their last answers")
    conversation = one[0] if one[1] is not None else other[0]
    return Comparison(conversation, one[1], other[1], winner, ahead_by)


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


class _Pair(Context):
    def quick(self, record: dict) -> Sound | None:
        return self.plain(record, value_at(record, self.names["chosen"]), value_at(record, self.names["rejected"]), "a")

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


class _Winner(Context):
    def __init__(self, names: dict[str, str], fields: dict[str, str], codes: Mapping[Any, list], cells: bool):
        super().__init__(names, fields)
        self.codes = Codes(codes, cells)

    def quick(self, record: dict) -> Sound | None:
        found = self.plain(record, value_at(record, self.names["a"]), value_at(record, self.names["b"]), "a")
        if found is None:
            return None
        try:
            winner = self.codes(value_at(record, self.names["winner"]))
        except BadRecord:
            return None
        return found if winner == "a" else Sound(found.turns, found.a, found.b, "b") if winner == "b" else None

    def read(self, record: dict) -> Iterator[Found]:
        answers = self.answers(record, [value_at(record, self.names["a"]), value_at(record, self.names["b"])])
        _raised(answers)
        yield _compared(*answers, self.codes(value_at(record, self.names["winner"])))


class _Scores(Context):
    def read(self, record: dict) -> Iterator[Found]:
        responses = _listed(value_at(record, self.names["responses"]), "responses")
        scores = _listed(value_at(record, self.names["scores"]), "scores")
        if len(responses) != len(scores):
            raise BadRecord("wrong_length", f"{len(responses)} responses but {len(scores)} scores")
        yield from _all_pairs(self.answers(record, responses), [_tried(number, s) for s in scores], graded=True)


class _Ranking(Context):
    def read(self, record: dict) -> Iterator[Found]:
        responses = _listed(value_at(record, self.names["responses"]), "responses")
        yield from _all_pairs(self.answers(record, responses), [-float(i) for i in range(len(responses))])


def _all_pairs(
    answers: Sequence[Part], scores: Sequence[float | BadRecord | None], graded: bool = False
) -> Iterator[Found]:
    """Every two responses, the better one first; equal scores are a tie. What cannot be read costs the pairs that it
    would stand in.

    Args:
        graded: differences of scores say how much better a response is.

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
            ahead_by = abs(first - second) if graded and math.isfinite(first - second) else None
            yield _compared(answers[better], answers[worse], "a", ahead_by=ahead_by)


class _Tree(Shape):
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
