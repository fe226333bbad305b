"""What the values of a label seem to mean: which says that the first response is better, which the second, a tie."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FEW = 40  # different texts of a label, above which it is none
FEW_TEXTS = 0.3  # share of texts among numbers that stand for no answer
UNCLEAR = 0.2  # share of values without a meaning that a label may have
TIES = {
    "tie", "ties", "tied", "equal", "equally", "same", "draw", "equivalent", "neutral", "similar", "undecided",
    "indifferent", "c",
}  # fmt: skip
UNKNOWN = {"none", "nan", "na", "null", "unknown", "invalid", "skip", "skipped", "error", "unsure", "n"}
FILLING = {
    "model", "response", "answer", "output", "assistant", "candidate", "completion", "option", "is", "better", "slightly",
    "much", "significantly", "wins", "win", "winner", "preferred", "the", "text", "arg", "argument", "chosen", "best",
    "good", "side", "choice", "prefer", "over", "than", "strongly", "summary", "a>b", "clearly", "conversation",
}  # fmt: skip
FIRST, SECOND = {"a", "1", "first", "left", "one"}, {"b", "2", "second", "right", "two"}
GOOD = {
    "good",
    "up",
    "positive",
    "yes",
    "true",
    "like",
    "liked",
    "thumbsup",
    "desirable",
    "chosen",
    "accepted",
    "correct",
}
BAD = {
    "bad", "down", "negative", "no", "false", "dislike", "disliked", "thumbsdown", "undesirable", "rejected", "incorrect",
    "wrong",
}  # fmt: skip


@dataclass(frozen=True)
class Meaning:
    """Codes as in the configuration, and what of them rests on convention."""

    codes: Mapping[str, list]
    doubts: tuple[str, ...] = ()


def plain(value: Any, cells: bool) -> Any:
    """A value as a text, a number, a boolean or None; a cell's text is the number or the boolean that it spells."""
    if isinstance(value, str):
        text = value.strip()
        if cells and re.fullmatch(r"[+-]?\d+", text):
            return int(text)
        if cells and re.fullmatch(r"[+-]?\d+\.\d+", text):
            return float(text)
        if cells and text.lower() in ("true", "false"):
            return text.lower() == "true"
        return value if text else None
    if isinstance(value, float) and value != value:
        return None
    return value if isinstance(value, bool | int | float) else None


def meaning_of(
    values: Sequence[Any],
    name: Sequence[str],
    a: Sequence[str],
    b: Sequence[str],
    hints: Mapping[Any, str],
) -> Meaning | None:
    """What the values of a winner mean, or None where they do not tell two sides apart.

    Args:
        values: as `plain` gives them.
        name: words of the field's name.
        a, b: words of the names of the two responses.
        hints: values of which other columns show on which side they stand.
    """
    counts = Counter((type(v).__name__, v) for v in values if v is not None)
    kinds = {kind for kind, _ in counts}
    if kinds == {"str"}:
        return _of_texts(Counter({v: n for (_, v), n in counts.items()}), a, b)
    if "bool" in kinds and kinds <= {"bool", "str"}:
        rest = Counter({v: n for (kind, v), n in counts.items() if kind == "str"})
        said = {v: _word(v, a, b) for v in rest}
        codes = {"a": [True], "b": [False]} | {
            m: [v for v in said if said[v] == m] for m in ("tie", "none") if m in said.values()
        }
        return Meaning(codes, ("true was taken for the first response",))
    numbers = Counter({v: n for (kind, v), n in counts.items() if kind in ("int", "float")})
    texts = Counter({v: n for (kind, v), n in counts.items() if kind == "str"})
    if not numbers or not kinds <= {"int", "float", "str"} or texts.total() > FEW_TEXTS * counts.total():
        return None
    found = _of_numbers(numbers, name, a, b, hints)
    if found is None or not texts:
        return found
    said = {v: _word(v, a, b) for v in sorted(texts)}
    more = {m: [v for v in said if (said[v] or "none") == m] for m in ("tie", "both_bad", "none")}
    codes = {m: [*found.codes.get(m, []), *more.get(m, [])] for m in ("a", "b", "tie", "both_bad", "none")}
    unclear = tuple(f"{v!r} was taken for no answer" for v in said if said[v] == "")
    return Meaning({m: v for m, v in codes.items() if v}, (*found.doubts, *unclear[:5]))


def _of_texts(counts: Counter, a: Sequence[str], b: Sequence[str]) -> Meaning | None:
    if len(counts) > FEW:
        return None
    said = {value: _word(value, a, b) for value in counts}
    unclear = [v for v, meaning in said.items() if meaning == ""]
    if sum(counts[v] for v in unclear) > UNCLEAR * counts.total():
        return None
    codes = {m: sorted(v for v in said if said[v] == m) for m in ("a", "b", "tie", "both_bad", "none")}
    if unclear:
        codes["none"] = sorted([*codes["none"], *unclear])
    codes = {m: found for m, found in codes.items() if found}
    if not codes.get("a") or not codes.get("b"):
        return None
    return Meaning(codes, tuple(f"{v!r} was taken for no answer" for v in sorted(unclear)[:5]))


def _word(value: str, a: Sequence[str], b: Sequence[str]) -> str:
    """a, b, tie, both_bad, none, or '' for a text that says none of it."""
    low = value.lower()
    words = re.findall(r"[a-z]+|\d+", low)
    joined = "".join(words)
    if match := re.search(r"\b(a|1)\s*(>+|<+)\s*(b|2)\b", low):
        return "a" if ">" in match[2] else "b"
    if match := re.search(r"\b(b|2)\s*(>+|<+)\s*(a|1)\b", low):
        return "b" if ">" in match[2] else "a"
    if "bothbad" in joined or "neither" in words or joined in ("badbad", "bothworse"):
        return "both_bad"
    if (
        set(words) & (TIES - {"c"})
        or joined in ("c", "bothgood", "both", "ab", "goodgood")
        or low.strip() in ("=", "a=b")
    ):
        return "tie"
    if low.strip() in (">", ">>", "<", "<<"):
        return "a" if ">" in low else "b"
    only_a, only_b = set(a) - set(b), set(b) - set(a)
    if words and words[-1] in ("1", "2") and not {*words[:-1]} & (only_a | only_b):
        return "a" if words[-1] == "1" else "b"
    rest = [w for w in words if w not in FILLING] or words[-1:]
    if len(set(rest)) == 1:
        if rest[0] in only_a or rest[0] in FIRST:
            return "a"
        if rest[0] in only_b or rest[0] in SECOND:
            return "b"
    return "none" if not words or set(words) & UNKNOWN else ""


def _of_numbers(
    counts: Counter, name: Sequence[str], a: Sequence[str], b: Sequence[str], hints: Mapping[Any, str]
) -> Meaning | None:
    found = sorted(counts)
    if len(found) < 2:
        return None
    low, high = found[0], found[-1]
    whole = all(float(v).is_integer() for v in found)
    if {"a", "b"} == set(hints.values()) and len(found) <= 3:
        codes = {side: [v for v in found if hints.get(v) == side] for side in ("a", "b")}
        rest = [v for v in found if v not in hints]
        return Meaning(codes | ({"tie": rest} if rest else {}))
    if low < 0 < high:
        if whole:
            codes = {
                "a": [v for v in found if v < 0],
                "b": [v for v in found if v > 0],
                "tie": [v for v in found if v == 0],
            }
        else:
            codes = {"a": [f"[{low:g}, 0)"], "b": [f"(0, {high:g}]"], "tie": [0]}
        return Meaning({m: v for m, v in codes.items() if v}, ("numbers below 0 were taken for the first response",))
    if not whole or (set(found) <= {0, 1, 2} and {1, 2} <= set(found) and any(isinstance(v, float) for v in found)):
        return _fractions(found)
    zero_based = set(a) - set(b) == {"0"}
    index = zero_based or bool({"id", "idx", "index"} & set(name))
    if set(found) == {1, 2}:
        return Meaning({"a": [1], "b": [2]})
    if set(found) == {0, 1}:
        doubt = () if index else ("0 was taken for the first response, 1 for the second",)
        return Meaning({"a": [0], "b": [1]}, doubt)
    if set(found) == {0, 1, 2}:
        if index or counts[2] < counts[0] * 0.8:  # a tie is the rarest
            return Meaning({"a": [0], "b": [1], "tie": [2]}, ("0 was taken for the first response, 2 for a tie",))
        return Meaning({"a": [1], "b": [2], "tie": [0]}, ("0 was taken for a tie",))
    if set(found) == {1, 2, 3} and counts[3] <= max(counts[1], counts[2]):
        return Meaning({"a": [1], "b": [2], "tie": [3]}, ("3 was taken for a tie",))
    if low >= 0 and high <= 10 and len(found) > 3:
        low = min(low, 1)
        middle = (low + high) / 2
        codes = {"a": [v for v in found if v < middle], "b": [v for v in found if v > middle]}
        ties = [v for v in found if v == middle]
        said = f"low numbers (below {middle:g}) were taken for the first response, high ones for the second"
        return Meaning(codes | ({"tie": ties} if ties else {}), (said,))
    return None


def _fractions(found: Sequence[float]) -> Meaning | None:
    low, high = found[0], found[-1]
    if low >= 0 and high <= 1:
        said = "a number above one half was taken for the first response"
        return Meaning({"a": ["(0.5, 1]"], "b": ["[0, 0.5)"], "tie": [0.5]}, (said,))
    if high <= 2 and all(v >= 1 or v == 0 for v in found):  # 1 is the first, 2 the second, in between a probability
        return Meaning({"a": ["[1, 1.5)"], "b": ["(1.5, 2]"], "tie": [1.5, 0]})
    return None


def good_or_bad(values: Sequence[Any]) -> Meaning | None:
    """What the values of a single response's label mean, or None where they do not tell good from bad."""
    counts = Counter((type(v).__name__, v) for v in values if v is not None)
    found = [v for _, v in counts]
    if {kind for kind, _ in counts} == {"bool"} or (len(found) == 2 and set(found) == {0, 1}):
        return Meaning({})
    if {kind for kind, _ in counts} == {"int"} and set(found) == {-1, 1}:
        return Meaning({"a": [1], "b": [-1]})
    if {kind for kind, _ in counts} != {"str"} or len(found) > FEW:
        return None
    said = {v: "".join(re.findall(r"[a-z]+", v.lower())) for v in found}
    codes = {"a": sorted(v for v in found if said[v] in GOOD), "b": sorted(v for v in found if said[v] in BAD)}
    rest = sorted(v for v in found if said[v] not in GOOD | BAD)
    if not codes["a"] or not codes["b"]:
        return None
    return Meaning(codes | ({"none": rest} if rest else {}))
