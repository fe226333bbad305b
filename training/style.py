"""What a response looks like, in numbers that need no model: length, layout, tone, refusals, overlap with the prompt.

A reward model that sees nothing else is the baseline that any other has to beat. On much chat data it is also the best
that a few hundred labels can teach. Every feature is finite for every text, the empty one included.
"""

import math
import re
from collections.abc import Callable, Sequence

import numpy as np

REFUSAL = re.compile(
    r"\b(?:sorry|apologi[sz]e|cannot|can['’]?t|unable|as an ai|not able to|i won['’]?t|inappropriate|illegal|unethical"
    r"|harmful)\b",
    re.IGNORECASE,
)
CONNECTIVE = re.compile(
    r"\b(?:however|because|therefore|although|for example|such as|first|second|finally|important|also)\b", re.IGNORECASE
)
LIST_LINE = re.compile(r"(?m)^[ \t]*(?:[-*•]|\d{1,3}[.)])[ \t]")
HEADING = re.compile(r"(?m)^#{1,6} ")
WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
SENTENCE_END = re.compile(r"[.!?。！？]+(?:\s|$)")
ENDS = frozenset(".!?`\"'”’)]。！？")


class _Text:
    """A response with what several features need."""

    def __init__(self, response: str, prompt: str):
        self.text = response
        self.words = [w.lower() for w in WORD.findall(response)]
        self.n = len(self.words) or 1
        self.sentences = len(SENTENCE_END.findall(response)) or 1
        self.asked = {w.lower() for w in WORD.findall(prompt)}
        self.chars = len(response) or 1


FEATURES: dict[str, Callable[[_Text], float]] = {
    "characters, log": lambda t: math.log1p(len(t.text)),
    "words, log": lambda t: math.log1p(len(t.words)),
    "sentences, log": lambda t: math.log1p(t.sentences),
    "words a sentence": lambda t: min(t.n / t.sentences / 20, 5.0),
    "letters a word": lambda t: min(sum(map(len, t.words)) / t.n / 5, 4.0),
    "line breaks, log": lambda t: math.log1p(t.text.count("\n")),
    "list items, log": lambda t: math.log1p(len(LIST_LINE.findall(t.text))),
    "headings, log": lambda t: math.log1p(len(HEADING.findall(t.text))),
    "bold": lambda t: float("**" in t.text),
    "code": lambda t: float("```" in t.text),
    "digits, share": lambda t: 10 * sum(c.isdigit() for c in t.text) / t.chars,
    "capitals, share": lambda t: 10 * sum(c.isupper() for c in t.text) / t.chars,
    "questions a sentence": lambda t: min(t.text.count("?") / t.sentences, 3.0),
    "exclamations a sentence": lambda t: min(t.text.count("!") / t.sentences, 3.0),
    "quotation marks, log": lambda t: math.log1p(t.text.count('"')),
    "refusals, up to 3": lambda t: float(min(3, len(REFUSAL.findall(t.text)))),
    "connectives, log": lambda t: math.log1p(len(CONNECTIVE.findall(t.text))),
    "distinct words, share": lambda t: len(set(t.words)) / t.n,
    "words from the prompt, share": lambda t: sum(w in t.asked for w in t.words) / t.n,
    "prompt's words covered, share": lambda t: len(t.asked.intersection(t.words)) / (len(t.asked) or 1),
    "first person, share": lambda t: min(10 * sum(w in ("i", "my", "me") for w in t.words) / t.n, 5.0),
    "begins in lower case": lambda t: float(t.text.lstrip()[:1].islower()),
    "ends complete": lambda t: float(t.text.rstrip()[-1:] in ENDS),
}
NAMES = tuple(FEATURES)


def style(response: str, prompt: str = "") -> list[float]:
    """The features of one response, in the order of NAMES.

    Args:
        prompt: the last turn of the user, for the features of overlap.
    """
    text = _Text(response, prompt)
    return [f(text) for f in FEATURES.values()]


def styles(responses: Sequence[str], prompts: Sequence[str]) -> np.ndarray:
    """Features [n, len(NAMES)] float64; equal (response, prompt) are computed once."""
    known: dict[tuple[str, str], list[float]] = {}
    rows = []
    for key in zip(responses, prompts, strict=True):
        if key not in known:
            known[key] = style(*key)
        rows.append(known[key])
    return np.array(rows, float).reshape(len(rows), len(NAMES))
