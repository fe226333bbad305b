"""The short way for plain records: texts that are nothing but texts, messages that are a role and a content.

Most records are plain, and to look at each in every way that an adapter knows takes longer than all the rest of an
import. What is read here is what the adapters would read; what is not surely so is left to them (None).
"""

from collections.abc import Sequence
from typing import Any

from curation.comparison import Comparison, Winner, differ_in_spelling_only
from curation.conversation import ROLES, Said, Unfit, blank, is_transcript, opened

MORE = frozenset(["", "[", "{", '"', "a", "H"])  # a text that begins so may be a structure or a transcript


class Sound(Comparison):
    """A comparison that was found to be a pair."""

    __slots__ = ()

    def problem(self) -> None:
        return None


def sound(turns: tuple[Said, ...], a: str, b: str, winner: Winner) -> Sound | None:
    """A pair, where the responses surely have something to see and differ in it; the turns have been looked at."""
    if not (seen(a) and seen(b)) or a == b or (_same_start(a, b) and differ_in_spelling_only(a, b)):
        return None
    return Sound(turns, a, b, winner)


def seen(text: str) -> bool:
    """Whether there is something to see in a text."""
    first = text[:1]
    return ("!" <= first <= "~") or not blank(text)


def _same_start(a: str, b: str) -> bool:
    """Whether two texts may be the same but for their spelling. Words of ASCII that end within the first characters of
    both are what they are: nothing that follows joins them."""
    one, other = a[:64], b[:64]
    if not (one.isascii() and other.isascii()):
        return True
    if "!" <= one[:1] != other[:1] >= "!":
        return False
    return all(x == y for x, y in zip(one.split()[:-1], other.split()[:-1], strict=False))


def is_text(value: Any) -> bool:
    """Whether a value is a text in which something is seen and that is read as it stands."""
    if type(value) is not str:
        return False
    first = value[:1]
    if "!" <= first <= "~" and first not in MORE:
        return True
    inner = value.lstrip()
    if inner[:1] in ("", "[", "{") or is_transcript(value) or blank(value):
        return False
    try:
        return opened(value) is value
    except Unfit:
        return False


def dialogue(value: Any) -> list[Said] | None:
    """The turns of a list of plain messages."""
    if type(value) is not list or not value:
        return None
    said: list[Said] = []
    for one in value:
        if type(one) is not dict or len(one) != 2:
            return None
        role, content = (one.get("role"), one.get("content")) if "role" in one else (one.get("from"), one.get("value"))
        if type(role) is not str or type(content) is not str or role not in ROLES:
            return None
        said.append((ROLES[role], content))
    return said


def history(value: Any) -> list[Said] | None:
    """Earlier turns that stand as [[user, assistant], …]."""
    if not value:
        return []
    if type(value) is not list:
        return None
    texts: list[str] = []
    for exchange in value:
        if type(exchange) is not list or len(exchange) != 2:
            return None
        texts += exchange
    return [("assistant" if i % 2 else "user", v) for i, v in enumerate(texts)] if all(map(is_text, texts)) else None


def can_be_answered(said: Sequence[Said]) -> bool:
    """Whether turns are [system] user (assistant user)* with something to see in each."""
    start = 1 if said and said[0][0] == "system" else 0
    if (len(said) - start) % 2 == 0:
        return False
    for i, (role, content) in enumerate(said):
        expected = "system" if i < start else "assistant" if (i - start) % 2 else "user"
        if role != expected or content is None or not seen(content):
            return False
    return True
