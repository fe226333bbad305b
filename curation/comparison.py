"""Two responses to one conversation and which is better, and why two responses are no pair (spec 0.02)."""

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

from curation.conversation import Said, Unfit, blank, check

Winner = Literal["a", "b", "tie", "both_bad"] | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two responses to one conversation and which is better; None where the record does not say.

    `ahead_by` is by how many points of its source's scores the better one is ahead; None where there are no scores.
    """

    turns: tuple[Said, ...]
    a: str | None
    b: str | None
    winner: Winner
    ahead_by: float | None = None

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
        if differ_in_spelling_only(self.a, self.b):
            return "identical_normalised", self.a[:80]
        if self.winner is None:
            return "no_label", ""
        return (self.winner, "") if self.winner in ("tie", "both_bad") else None


_INVISIBLE = re.compile("[\u200b-\u200f\u2060\ufeff]+")  # zero-width characters


def differ_in_spelling_only(a: str, b: str) -> bool:
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
