"""Personal data in texts: how sensitive a finding is, which of overlapping findings counts, and copies without it.

Sensitivity follows spec 0.12: 0 is reserved for examples and names nobody (`example.org`, 555-0100, private networks), 1
says little of a person alone, 2 reaches a person, 3 can be used against one.
"""

import ipaddress
import re
from collections.abc import Iterable
from typing import NamedTuple

SENSITIVITY = {
    "PERSON": 1,
    "IP_ADDRESS": 1,
    "MAC_ADDRESS": 1,
    "CRYPTO": 1,
    "EMAIL_ADDRESS": 2,
    "PHONE_NUMBER": 2,
    "CREDIT_CARD": 3,
    "IBAN_CODE": 3,
    "US_SSN": 3,
}
_EXAMPLE_DOMAIN = re.compile(
    r"(?:^|[.@])(?:example\.(?:com|net|org|edu)|example|test|invalid|localhost)$", re.IGNORECASE
)
_TEST_CARDS = {"4111111111111111", "4242424242424242", "5555555555554444", "378282246310005", "6011111111111117"}


class Finding(NamedTuple):
    """One piece of personal data: characters `start` to `stop` of a text, how sure the recogniser is, how sensitive."""

    start: int
    stop: int
    kind: str
    score: float
    sensitivity: int


def sensitivity(kind: str, value: str) -> int:
    """0 to 3 for a value of a kind in `SENSITIVITY`."""
    return 0 if _is_example(kind, value) else SENSITIVITY[kind]


def _is_example(kind: str, value: str) -> bool:
    digits = re.sub(r"\D", "", value)
    match kind:
        case "EMAIL_ADDRESS":
            return bool(_EXAMPLE_DOMAIN.search(value))
        case "PHONE_NUMBER":
            return bool(re.fullmatch(r"(?:1?\d{3})?55501\d\d", digits))
        case "CREDIT_CARD":
            return digits in _TEST_CARDS
        case "IP_ADDRESS":
            try:
                return not ipaddress.ip_address(value).is_global
            except ValueError:
                return False
    return False


def apart(findings: Iterable[Finding]) -> list[Finding]:
    """Of findings that overlap the surest, then the most sensitive, then the longest; in order of place."""
    kept: list[Finding] = []
    for f in sorted(findings, key=lambda f: (-f.score, -f.sensitivity, f.start - f.stop, f.start, f.kind)):
        if all(f.stop <= k.start or k.stop <= f.start for k in kept):
            kept.append(f)
    return sorted(kept)


def redacted(text: str, findings: Iterable[Finding], least: int) -> str:
    """The text with findings of at least that sensitivity replaced by their kind, as in `<EMAIL_ADDRESS>`."""
    for f in sorted(findings, reverse=True):
        if f.sensitivity >= least:
            text = f"{text[: f.start]}<{f.kind}>{text[f.stop :]}"
    return text
