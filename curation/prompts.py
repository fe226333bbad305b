"""Prompts put together from guideline files: pure text in, pure text out.

Everything that comes from a pair is quoted as data. The frame around it carries a number computed from the quoted
texts themselves, so no text can contain the line that would close its own frame.
"""

import functools
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from curation.attributes import MISSING, Category, Controversiality, Objectivity, known_category

T = TypeVar("T", bound=BaseModel)
FENCE = "```"
JOINED = "\\g<0>\u2060"  # what was found, and a word joiner, which nobody sees
LONGEST_ANSWER = 4_000_000  # characters; no model's longest answer has as many
Answer = Literal["candidate_1", "candidate_2", "tie", "cannot_determine"]

# What chat templates of served models read as the end of a message or the start of another one.
_CONTROL = re.compile(
    r"<(?=\||\uff5c|</?SYS>>|[A-Za-z_]+\||seed:|/?(?:s|bos|eos|pad|unk|eod|sop|eop|think|(?:start|end)_of_turn"
    r"|tool_(?:call|response|calls|responses)|extra_id_\d+|[A-Z_]+_TOKEN)>)"
    r"|\[(?=\||/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|THINK|SEP|CLS|[gs]?MASK)\])"
    r"|\](?=[~!]+b[\[\]])"
)
# What `_text` writes above a turn, where a turn holds it.
_TURN = re.compile(r"^\[(?=(?:system|developer|user|assistant|tool|function)\][^\S\n]*$)", re.IGNORECASE | re.MULTILINE)
_TAGGED = re.compile(r"<(llm|search)>(.*?)</\1>[ \t]?", re.DOTALL)


def _not_empty(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text.strip()


# Checked here and not by the schema on the wire: providers refuse some of JSON schema's keywords.
Prose = Annotated[str, AfterValidator(_not_empty)]


class JudgeAnswer(BaseModel):
    """What a judge returns: reasons first, so that the verdict can follow from them."""

    model_config = ConfigDict(extra="forbid")

    reasoning: str = Field(description="How each candidate meets or fails the guideline, before any verdict.")
    verdict: Answer = Field(description="The better candidate, tie, or cannot_determine.")


class CheckAnswer(BaseModel):
    """What a judge says of one response alone (spec 2.06)."""

    model_config = ConfigDict(extra="forbid")

    reasoning: str = Field(description="What was checked and what was found, before the verdict.")
    verdict: Literal["correct", "incorrect", "cannot_determine"]


class OverlapAnswer(BaseModel):
    """What a judge says of words that a pair shares with a benchmark (spec 0.09)."""

    model_config = ConfigDict(extra="forbid")

    reasoning: str = Field(description="What the shared words are, and whether they are the task's own.")
    verdict: Literal["contaminated", "false_positive", "cannot_determine"]


class PersonalAnswer(BaseModel):
    """What a judge says of a finding of personal data (spec 0.12)."""

    model_config = ConfigDict(extra="forbid")

    reasoning: str = Field(description="Whose data it is, if anybody's, and whether it leads to that person.")
    verdict: Literal["direct", "indirect", "none", "cannot_determine"]


class AttributeAnswer(BaseModel):
    """The five attributes of a comparison (spec 1.01); a category outside the vocabulary becomes 'other'."""

    model_config = ConfigDict(extra="forbid")

    category: Annotated[Category, BeforeValidator(lambda v: known_category(v) if isinstance(v, str) else v)]
    objectivity: Objectivity
    controversiality: Controversiality
    desired: Prose = Field(description="What the user would want from a good answer.")
    guideline: Prose = Field(description="Criteria by which these two answers should be compared.")


@dataclass(frozen=True)
class Prompt:
    system: str
    user: str


@dataclass(frozen=True)
class Example:
    """A gold pair shown to a judge; `first_is_better` says where the response people prefer stands."""

    conversation: Sequence[Mapping[str, str]]
    better: str
    worse: str
    attributes: Mapping[str, str]
    first_is_better: bool


@functools.cache
def keep(text: str, tools: frozenset[str]) -> str:
    """Text without the sentences tagged for tools that are not in `tools` (llm, search); tags of the others vanish.

    People read {llm, search}, a judge that browses {search}, any other judge nothing of it (spec 3.13).
    """
    kept = _TAGGED.sub(lambda m: m[0].replace(f"<{m[1]}>", "").replace(f"</{m[1]}>", "") if m[1] in tools else "", text)
    return "\n".join(line.rstrip() for line in kept.splitlines() if line.strip(" -") or not line.strip()).strip()


def guideline(files: Mapping[str, str], attributes: Mapping[str, str], tools: frozenset[str]) -> str:
    """The annotation guideline of one combination: core principles, category, objectivity, controversiality.

    Args:
        files: text of the guideline files by name: `core`, `category/<slug>`, `objectivity/<value>`,
            `controversiality/<value>`.
        attributes: the closed attributes of the pair; what is `missing` adds nothing.
        tools: see `keep`.
    """
    names = ["core", f"category/{slug(attributes['category'])}"]
    names += [f"{k}/{attributes[k]}" for k in ("objectivity", "controversiality") if attributes[k] != MISSING]
    return "\n\n".join(keep(files[name], tools) for name in names)


def slug(category: str) -> str:
    """File name of a category: 'coding & debugging' -> 'coding_debugging'."""
    return re.sub(r"[^a-z]+", "_", category)


def judge_prompt(
    files: Mapping[str, str],
    conversation: Sequence[Mapping[str, str]],
    candidates: tuple[str, str],
    attributes: Mapping[str, str],
    examples: Sequence[Example],
    tools: frozenset[str],
    wording: str = "answer",
) -> Prompt:
    """What a judge reads: guideline, examples with attributes and human labels, target, answer format (spec 3.13).

    The system part depends on the closed attributes alone, so that providers can cache it. `wording` is the file under
    `judge/` that closes the prompt: all of them ask for the same in other words.
    """
    quoted = [_text(conversation), *candidates, _about(attributes)]
    quoted += [t for e in examples for t in (_text(e.conversation), e.better, e.worse, _about(e.attributes))]
    mark = _mark(quoted)
    parts = []
    for number, e in enumerate(examples, 1):
        pair = (e.better, e.worse) if e.first_is_better else (e.worse, e.better)
        parts.append(
            f"## Example {number}\n\n{_comparison(mark, e.conversation, pair, e.attributes)}\n\n"
            f"People decided: {'candidate_1' if e.first_is_better else 'candidate_2'}"
        )
    parts.append(f"## The comparison to judge\n\n{_comparison(mark, conversation, candidates, attributes)}")
    parts.append(files[f"judge/{wording}"].strip())
    system = f"{files['judge/frame'].strip()}\n\n{guideline(files, attributes, tools)}"
    return Prompt(system, "\n\n".join(parts))


def check_prompt(
    files: Mapping[str, str],
    conversation: Sequence[Mapping[str, str]],
    response: str,
    attributes: Mapping[str, str],
) -> Prompt:
    """What a judge reads that checks one response alone (spec 2.06): nothing of the other one, whose comparison the
    attribute `guideline` speaks of."""
    about = _about({n: v for n, v in attributes.items() if n != "guideline"})
    mark = _mark([about, _text(conversation), response])
    quoted = (("attributes", about), ("conversation", _text(conversation)), ("answer", response))
    return Prompt(files["check"].strip(), "\n\n".join(_quote(mark, name, text) for name, text in quoted))


def look_prompt(instruction: str, quoted: Mapping[str, str]) -> Prompt:
    """What a judge reads that looks at something which was found: an instruction, and what it is about, by name."""
    mark = _mark([*quoted.values()])
    return Prompt(instruction.strip(), "\n\n".join(_quote(mark, name, text) for name, text in quoted.items()))


def attribute_prompt(
    files: Mapping[str, str], conversation: Sequence[Mapping[str, str]], responses: tuple[str, str]
) -> Prompt:
    """What a labeller of attributes reads. The two responses stand in an order that does not depend on the label."""
    first, second = sorted(responses, key=_digest)
    mark = _mark([first, second, _text(conversation)])
    return Prompt(
        files["attributes"].strip(),
        _quote(mark, "conversation", _text(conversation))
        + "\n\n"
        + _quote(mark, "answer_a", first)
        + "\n\n"
        + _quote(mark, "answer_b", second),
    )


def parse(text: str, model: type[T]) -> T | Literal["unparsable", "invalid"]:
    """A model's text as the answer asked for.

    A fence of backticks around the JSON is allowed, nothing else is guessed. The time it takes grows with the text and
    no faster: the text is a model's, who may have been talked into anything.

    Returns:
        The answer; 'unparsable' where there is no JSON object, 'invalid' where it does not fit the schema.
    """
    if len(text) > LONGEST_ANSWER:
        return "unparsable"
    try:
        data = json.loads(_unfenced(text))
    except (ValueError, RecursionError):
        return "unparsable"
    if not isinstance(data, dict):
        return "unparsable"
    try:
        for value in data.values():
            if isinstance(value, str):
                value.encode()  # half a surrogate is no text: no table and no other program takes it
        return model.model_validate(data)
    except (ValueError, RecursionError):
        return "invalid"


def _unfenced(text: str) -> str:
    """Text without one fence of backticks around all of it."""
    inner = text.strip()
    if len(inner) < 2 * len(FENCE) or not (inner.startswith(FENCE) and inner.endswith(FENCE)):
        return text
    return inner[len(FENCE) : -len(FENCE)].removeprefix("json").strip()


def _comparison(mark: str, conversation, candidates: tuple[str, str], attributes: Mapping[str, str]) -> str:
    return "\n\n".join(
        [
            _quote(mark, "attributes", _about(attributes)),
            _quote(mark, "conversation", _text(conversation)),
            _quote(mark, "candidate_1", candidates[0]),
            _quote(mark, "candidate_2", candidates[1]),
        ]
    )


def _about(attributes: Mapping[str, str]) -> str:
    names = ("category", "objectivity", "controversiality", "desired", "guideline")
    return "\n".join(f"{n}: {' '.join(attributes[n].split())}" for n in names if attributes.get(n))


def _text(conversation: Sequence[Mapping[str, str]]) -> str:
    """The turns, each under its role; a line in them that looks like another turn's head is none any more."""
    return "\n\n".join(f"[{turn['role']}]\n{_TURN.sub(JOINED, turn['content'])}" for turn in conversation)


def _quote(mark: str, name: str, text: str) -> str:
    """A text between an opening and a closing line that it cannot contain."""
    return f"<<< {name} {mark}\n{neutral(text)}\n>>> {name} {mark}"


def neutral(text: str) -> str:
    """Text in which no chat template finds a control token: a word joiner stands after its first character."""
    if "<" not in text and "[" not in text and "]" not in text:  # most texts: much faster than the expression
        return text
    return _CONTROL.sub(JOINED, text)


def _mark(texts: Sequence[str]) -> str:
    """Eight hex digits that occur in none of the texts, equal for every order of them."""
    digest = "".join(sorted(_digest(t) for t in texts))
    while True:
        digest = hashlib.blake2b(digest.encode(), digest_size=4).hexdigest()
        if not any(digest in t for t in texts):
            return digest


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
