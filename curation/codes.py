"""Codes of a winner or of a label: which value means which response."""

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from itertools import combinations
from typing import Any, cast

from curation.comparison import Winner
from curation.conversation import BadRecord, shown

GOOD_OR_BAD = {"a": [True, 1], "b": [False, 0]}  # labels of single responses


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
