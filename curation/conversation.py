"""Conversations in the spellings of the field, read as (role, content) turns.

Understood are a plain string (one user turn), a transcript of "Human:" and "Assistant:" paragraphs, lists of messages
in OpenAI's {role, content} or ShareGPT's {from, value} spelling, an object that holds such a list as `messages`,
contents split into typed parts, and lists of strings that alternate between user and assistant. Each of them may stand
as text: as JSON, or as Python or numpy print it, which is what a data frame writes into a CSV cell.

What a message holds beside its text (a call of a tool, a picture, its reasoning, a name) is never dropped: a key that is
not in IGNORED and holds something is a reason (`more_than_text`).
"""

import ast
import json
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from curation.identity import Turn

ROLES = {
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "bot", "chatbot", "model", "bing", "bard"), "assistant"),
    **dict.fromkeys(("system", "developer"), "system"),
}
TOOLS = {"tool", "tools", "function", "function_call", "function-call", "function_response", "tool_call", "tool_response",
         "observation", "ipython", "environment"}  # fmt: skip
ROLE_KEYS, TEXT_KEYS = ("role", "from"), ("content", "value", "text")
# What a message may hold without anybody reading it otherwise for it: where it comes from and how it was counted.
IGNORED = {
    "id", "message_id", "parent_id", "conversation_id", "message_tree_id", "turn", "turn_id", "turn_identifier", "index",
    "type", "object", "status", "stop_reason", "finish_reason", "timestamp", "time", "date", "created", "created_at",
    "created_date", "updated_at", "lang", "language", "country", "state", "header", "hashed_ip", "user_id", "model",
    "model_name", "synthetic", "deleted", "redacted", "toxic", "toxicity", "detoxify", "openai_moderation", "emojis",
    "labels", "review_count", "review_result", "rank", "score", "rating", "tokens", "num_tokens", "token_count", "length",
    "weight", "loss", "loss_weight", "train", "training", "trainable", "cache_control",
}  # fmt: skip
# Keys that hold more than text wherever they stand, also beside the fields of a whole record.
HOLDERS = {
    "tool_calls", "tool_call", "tool_call_id", "function_call", "refusal", "images", "image", "image_url", "videos",
    "video", "audio", "audios", "reasoning_content", "reasoning", "thinking",
}  # fmt: skip
BESIDE = frozenset(
    {
        "images",
        "image",
        "image_url",
        "videos",
        "video",
        "audio",
        "audios",
        "tools",
        "functions",
        "tool_calls",
        "function_call",
    }
)
LONGEST_REPR = 1_000_000  # characters of a structure in Python's spelling, and pieces of it, that are read
MOST_PIECES = 100_000
DEEPEST = 20  # a text inside parts inside parts
_SPEAKER = re.compile(r"(?:\A\s*|\r?\n\r?\n)(Human|Assistant):[^\S\n]?")
_HUMAN = re.compile(r"\s*Human:")
_ANSWER = re.compile(r"\r?\n\r?\nAssistant:")


class BadRecord(Exception):
    """A record that cannot be read; `reason` is a short code, the message says what was expected."""

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason


class Unfit(Exception):
    """A record that was read but is no pair; `reason` is a short code, the message what was found."""

    def __init__(self, reason: str, evidence: str = ""):
        super().__init__(evidence)
        self.reason = reason


def is_transcript(value: Any) -> bool:
    """Whether a string is a dialogue in "Human:" / "Assistant:" paragraphs."""
    return isinstance(value, str) and _HUMAN.match(value) is not None and _ANSWER.search(value) is not None


Said = tuple[str, str | None]  # a turn whose content may be missing


def turns(value: Any) -> list[Said]:
    """The turns of a conversation in any spelling; [] for None. A message without content has the content None.

    Raises:
        BadRecord: the value is of a type that holds no conversation.
        Unfit: a role that is none of user, assistant and system, or a message that holds more than its text.
    """
    value = opened(value)
    if value is None:
        return []
    if isinstance(value, str):
        return list(transcript(value)) if is_transcript(value) else [("user", value)]
    if isinstance(value, dict):
        return turns(inside(value)) if inside(value) is not None else [message(value)]
    if isinstance(value, Sequence) and all(isinstance(v, str) for v in value):
        messages = [opened(v) for v in value]
        if messages and all(is_message(m) for m in messages):  # each of them written as text
            return [message(m) for m in messages]
        return [("assistant" if i % 2 else "user", v) for i, v in enumerate(value)]
    if isinstance(value, Sequence) and all(isinstance(v, dict) for v in value):
        if is_parts(value):
            return [("user", text(value))]
        return [message(v) for v in value]
    raise BadRecord("wrong_type", f"a conversation is a string or a list of messages, found {shown(value)}")


def transcript(text: str) -> list[Turn]:
    """Turns of a transcript, without the space around them."""
    pieces = _SPEAKER.split(text)[1:]
    return [(ROLES[who.lower()], said.strip()) for who, said in zip(pieces[::2], pieces[1::2], strict=True)]


def message(value: dict) -> tuple[str, str | None]:
    """One message as (role, content); the content is None where the message has none. A null key is no key."""
    keys = [k for k in ROLE_KEYS if value.get(k) is not None]
    role = value[keys[0]] if keys else None
    if isinstance(role, str) and role.lower() in TOOLS:
        raise Unfit("bad_roles", f"role {role!r}: turns of tools and functions are not read")
    if not isinstance(role, str) or role.lower() not in ROLES:
        raise Unfit("bad_roles", f"role {shown(role)}")
    named = ROLES[role.lower()]
    for key in keys[1:]:
        if ROLES.get(str(value[key]).lower()) != named:
            raise Unfit("bad_roles", f"{keys[0]} {role!r} but {key} {shown(value[key])}")
    if len(value) > 2:
        plain(value, *ROLE_KEYS, *TEXT_KEYS)
    texts = [k for k in TEXT_KEYS if value.get(k) is not None]
    if len(texts) > 1 and any(value[k] != value[texts[0]] for k in texts[1:]):
        raise Unfit("more_than_text", f"a message holds {' and '.join(texts)}, which differ")
    return named, text(value[texts[0]] if texts else None)


def plain(value: dict, *read: str) -> None:
    """Refuse an object that holds something beside the keys that are read and those that nobody has to read.

    Raises:
        Unfit: the key, and what it holds.
    """
    for key, held in value.items():
        if key not in read and key not in IGNORED and not empty(held):
            raise Unfit("more_than_text", f"a message holds {key!r} beside its text: {shown(held)}")


def empty(value: Any) -> bool:
    """Whether nothing is held: null, false, no text, or objects and lists of these alone."""
    if isinstance(value, dict):
        return all(map(empty, value.values()))
    if isinstance(value, list | tuple):
        return all(map(empty, value))
    return value is None or value is False or value == ""


def text(value: Any, depth: int = 0) -> str | None:
    """A text, a list of typed text parts, or None.

    Raises:
        BadRecord: anything else, such as a number, a boolean, an image, or parts that are nested too deep.
        Unfit: a part that holds more than text.
    """
    if depth > DEEPEST:
        raise BadRecord("wrong_type", f"expected a text, found parts inside parts, more than {DEEPEST} deep")
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, dict) and (value.get("type") or "text") == "text" and ("text" in value or "value" in value):
        if len(value) > 2:
            plain(value, "text", "value")
        return text(value["text"] if value.get("text") is not None else value.get("value"), depth + 1)
    if isinstance(value, list) and value and all(isinstance(v, dict) for v in value):
        parts = [text(v, depth + 1) for v in value]
        texts = [part for part in parts if part is not None]
        return "".join(texts) if len(texts) == len(parts) else None
    raise BadRecord("wrong_type", f"expected a text, found {shown(value)}")


# ---- structures that stand as text ---------------------------------------------------------------------------------
_FIRST = frozenset('[{"a \t\r\n')  # what it may begin with: most texts are told by that alone
_OPENS = re.compile(r"\s*(?:\"\s*)?(?:array\(\s*)?[\[{]")
_SPEAKERS = "|".join(sorted({*ROLES, *TOOLS}, key=len, reverse=True))
_SAYS = re.compile(rf"""['"\\]\s*(?:role|from)[\\'"]+\s*:\s*[\\'"]+(?:{_SPEAKERS})[\\'"]""", re.IGNORECASE)
_BEGINS = re.compile(r"""\s*"?(?:array\(|[\[\s])*\{\s*\\?['"][\w-]+\\?['"]\s*:""")
_PIECE = re.compile(
    r"""(?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|(?P<open>[\[{(])|(?P<close>[\]})])|(?P<mark>[,:])"""
    r"""|(?P<word>[^\s'"\[\](){},:=]+=?)|\s+|(?P<odd>.)""",
    re.DOTALL,
)
_WORDS = {"null": "None", "nan": "None", "NaN": "None", "true": "True", "false": "False", "<NA>": "None"}


def opened(value: Any) -> Any:
    """A dialogue, a message or typed parts that stand as text, as what they are; every other value as it is. A text
    that merely looks like JSON and is no dialogue stays a text.

    Raises:
        Unfit: it begins as a dialogue and cannot be read as one.
    """
    if not isinstance(value, str) or value[:1] not in _FIRST or not _OPENS.match(value):
        return value
    says = _SAYS.search(value) is not None
    if not says and '"type"' not in value and "'type'" not in value:
        return value
    found = structure(value)
    if isinstance(found, str) and found != value:  # JSON inside JSON
        found = structure(found)
    if is_structure(found):
        return found
    if says and found is None and _BEGINS.match(value):
        raise Unfit("serialised_dialogue", f"a dialogue that stands as text and cannot be read: {value.strip()[:80]}")
    return value


def structure(value: str) -> Any:
    """The value that a text spells in JSON, or as Python or numpy print it; None where it spells none."""
    try:
        return json.loads(value, object_pairs_hook=_once, parse_constant=lambda _: None)
    except _Twice:
        return None
    except (ValueError, RecursionError):
        pass
    try:
        return _literal(value)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _once(pairs: list[tuple[str, Any]]) -> dict:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Twice
    return found


class _Twice(ValueError):
    pass


def _literal(value: str) -> Any:
    """What Python's or numpy's print of a value spells, evaluated as a literal and never as code. numpy writes no commas
    between the elements of an array, and a data frame's cells are such arrays.

    Raises:
        ValueError: it is no literal, or more of one than is read.
    """
    if len(value) > LONGEST_REPR:
        raise ValueError(f"more than {LONGEST_REPR} characters")
    pieces: list[str] = []
    complete = False  # whether what stands before may be an element of its own
    for match in _PIECE.finditer(value):
        kind, piece = match.lastgroup, match.group()
        if kind is None:
            continue
        if kind == "odd" or len(pieces) > MOST_PIECES:
            raise ValueError("no literal")
        if kind == "word" and piece in ("array", "dtype=", "object"):
            if piece == "dtype=" and pieces[-1:] == [","]:
                pieces.pop()
            complete = piece == "object"
            continue
        if complete and kind in ("text", "open", "word"):
            pieces.append(",")
        pieces.append(_WORDS.get(piece, piece) if kind == "word" else piece)
        complete = kind in ("text", "close", "word")
    return ast.literal_eval("".join(pieces).strip())


def is_message(value: Any) -> bool:
    """Whether an object is a message of somebody whom a dialogue knows."""
    if not isinstance(value, dict) or (not any(k in value for k in TEXT_KEYS) and HOLDERS.isdisjoint(value)):
        return False
    role = next((value[k] for k in ROLE_KEYS if value.get(k) is not None), None)
    return isinstance(role, str) and (role.lower() in ROLES or role.lower() in TOOLS)


def is_parts(value: Any) -> bool:
    """Whether a list holds the typed parts of one text."""
    return isinstance(value, list) and bool(value) and all(
        isinstance(v, dict) and v.get("type") == "text" and isinstance(v.get("text"), str) and not is_message(v)
        for v in value
    )  # fmt: skip


def is_structure(value: Any) -> bool:
    """Whether a value is a message, a list of messages, an object that holds one, or typed parts."""
    if isinstance(value, dict):
        held = next((value[k] for k in WHOLE if k in value), None)
        return is_message(value) or (isinstance(held, list) and bool(held) and all(map(is_message, held)))
    return isinstance(value, list) and bool(value) and (all(map(is_message, value)) or is_parts(value))


WHOLE = ("messages", "conversations", "conversation")  # what an object calls the dialogue that it holds


def inside(value: dict) -> list | None:
    """The dialogue that an object holds, where it is no message but holds one.

    Raises:
        Unfit: the object holds more.
    """
    key = next((k for k in WHOLE if isinstance(value.get(k), list)), None)
    if key is None or is_message(value):
        return None
    plain(value, key)
    return value[key]


def check(conversation: Sequence[tuple[str, str | None]]) -> None:
    """Refuse a conversation that no answer can follow.

    Raises:
        Unfit: it is empty, a turn is null or has nothing to see in it, or its roles are not [system] user (assistant user)*.
    """
    roles = [role for role, _ in conversation]
    spoken = roles[1:] if roles[:1] == ["system"] else roles
    if not spoken:
        raise Unfit("no_prompt", "no user turn")
    if len(spoken) % 2 == 0 or any(role != ("assistant" if i % 2 else "user") for i, role in enumerate(spoken)):
        raise Unfit("bad_roles", " ".join(roles)[:200])
    for i, (role, content) in enumerate(conversation):
        if content is None:
            raise Unfit("null_turn", f"turn {i} ({role}) has no content")
        if blank(content):
            raise Unfit("empty_turn", f"turn {i} ({role}) is empty")


def blank(text: str) -> bool:
    """Whether there is nothing to see in a text: white space and characters of no width alone.

    >>> blank(" \\u200b\\ufeff"), blank("\\u200bx")
    (True, False)
    """
    rest = text.strip()
    return not rest or (not rest[0].isascii() and all(c.isspace() or unicodedata.category(c) == "Cf" for c in rest))


def shown(value: Any, width: int = 80) -> str:
    """A value and its type, shortened, for a message."""
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= width else text[: width - 1] + '…'}"
