"""Conversations in the spellings of the field, read as (role, content) turns.

Understood are a plain string (one user turn), a transcript of "Human:" and "Assistant:" paragraphs, lists of messages
in OpenAI's {role, content} or ShareGPT's {from, value} spelling, contents split into typed parts, and lists of strings
that alternate between user and assistant.
"""

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
DEEPEST = 20  # a text inside parts inside parts
_SPEAKER = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant): ?")


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
    return isinstance(value, str) and value.lstrip().startswith("Human: ") and "\n\nAssistant:" in value


def turns(value: Any) -> list[tuple[str, str | None]]:
    """The turns of a conversation in any spelling; [] for None. A message without content has the content None.

    Raises:
        BadRecord: the value is of a type that holds no conversation.
        Unfit: a role that is none of user, assistant and system.
    """
    if value is None:
        return []
    if is_transcript(value):
        return transcript(value)
    if isinstance(value, str):
        return [("user", value)]
    if isinstance(value, dict):
        return [message(value)]
    if isinstance(value, Sequence) and all(isinstance(v, str) for v in value):
        return [("assistant" if i % 2 else "user", v) for i, v in enumerate(value)]
    if isinstance(value, Sequence) and all(isinstance(v, dict) for v in value):
        return [message(v) for v in value]
    raise BadRecord("wrong_type", f"a conversation is a string or a list of messages, found {shown(value)}")


def transcript(text: str) -> list[Turn]:
    """Turns of a transcript, without the space around them."""
    pieces = _SPEAKER.split(text)[1:]
    return [(ROLES[who.lower()], said.strip()) for who, said in zip(pieces[::2], pieces[1::2], strict=True)]


def message(value: dict) -> tuple[str, str | None]:
    """One message as (role, content); the content is None where the message has none."""
    role = value.get("role", value.get("from"))
    if not isinstance(role, str) or role.lower() not in ROLES:
        raise Unfit("bad_roles", f"role {shown(role)}")
    return ROLES[role.lower()], text(value.get("content", value.get("value")))


def text(value: Any, depth: int = 0) -> str | None:
    """A text, a list of typed text parts, or None.

    Raises:
        BadRecord: anything else, such as a number, a boolean, an image, or parts that are nested too deep.
    """
    if depth > DEEPEST:
        raise BadRecord("wrong_type", f"expected a text, found parts inside parts, more than {DEEPEST} deep")
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, dict) and value.get("type", "text") == "text" and ("text" in value or "value" in value):
        return text(value.get("text", value.get("value")), depth + 1)
    if isinstance(value, list) and value and all(isinstance(v, dict) for v in value):
        parts = [text(v, depth + 1) for v in value]
        return None if None in parts else "".join(parts)
    raise BadRecord("wrong_type", f"expected a text, found {shown(value)}")


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
