"""Rewards of items, by the code that training and the pool's scorer use.

An item is {messages: [turns, the last one the assistant's]}, which gets `reward`, or {conversation: [turns] and/or
prompt: text, chosen, rejected}, which gets `r_chosen` and `r_rejected`. A `prompt` beside a `conversation` is its last
turn, or follows on an answer; anything else is refused. What is longer than the model's limit gets null and
`unscored: over_length`.
"""

import math
import threading
from collections.abc import Sequence
from pathlib import Path

from training.model import load_model
from training.processes import ProcessGroup
from training.render import RenderError
from training.score import OVER_LENGTH, limit_of, score


class BadItem(ValueError):
    """An item that has no reward; the message says where it stands and why."""


class NoNumber(BadItem):
    """An item for which the model computes NaN or infinity."""


class Scorer:
    """A reward model, loaded once. Safe to call from several threads, one at a time.

    Attributes:
        note: what was assumed of how long its inputs may be, if anything.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it holds no reward model, or says not how long its inputs may be, and `max_tokens` is not given.
    """

    def __init__(self, folder: Path, max_tokens: int | None = None, budget: int = 4096):
        self.model = load_model(folder)
        self.max_tokens, self.note = limit_of(folder, self.model, max_tokens)
        self.model.to(ProcessGroup().device)
        self.budget = budget
        self._lock = threading.Lock()

    def score(self, items: Sequence[tuple[str, object]]) -> list[dict | BadItem]:
        """Rewards of items (see the module), in their order; for an item that can have none, why.

        Args:
            items: each with what an error calls it.
        """
        forms = [_parsed(item, where) for where, item in items]
        usable = [(i, f) for i, f in enumerate(forms) if not isinstance(f, BadItem)]
        flat = [(i, turns, r) for i, (turns, answers) in usable for r in answers.values()]
        refused: dict[int, RenderError] = {}
        with self._lock:
            found, long = score(
                self.model,
                [turns for _, turns, _ in flat],
                [r for _, _, r in flat],
                max_tokens=self.max_tokens,
                budget=self.budget,
                keys=[i for i, _, _ in flat],
                names=[items[i][0] for i, _, _ in flat],
                refused=refused,
            )
        why = {flat[n][0]: BadItem(str(e)) for n, e in refused.items()}
        given = iter(zip(found.tolist(), long.tolist(), strict=True))
        results = {i: _result({name: next(given) for name in answers}, items[i][0]) for i, (_, answers) in usable}
        return [why.get(i) or (f if isinstance(f, BadItem) else results[i]) for i, f in enumerate(forms)]


def _result(given: dict[str, tuple[float, bool]], where: str) -> dict | BadItem:
    """An item's rewards, each given with whether it was too long."""
    if any(long for _, long in given.values()):
        return {**dict.fromkeys(given), "unscored": OVER_LENGTH}
    if not all(math.isfinite(r) for r, _ in given.values()):
        return NoNumber(f"{where}: the model gives no finite number")
    return {name: reward for name, (reward, _) in given.items()}


def _parsed(item: object, where: str) -> tuple[list[dict], dict[str, str]] | BadItem:
    try:
        if isinstance(item, BadItem):
            raise item
        return parse(item, where)
    except BadItem as e:
        return e


def parse(item: object, where: str) -> tuple[list[dict], dict[str, str]]:
    """The turns before the answer, and the answers by the name that their reward gets.

    Raises:
        BadItem: the item has neither form, or what it says twice differs.
    """
    if not isinstance(item, dict):
        raise BadItem(f"{where}: expected an object, found {type(item).__name__}")
    given = {k: v for k, v in item.items() if v is not None}
    if "messages" in given:
        turns = _turns(given["messages"], where)
        if not turns or turns[-1]["role"] != "assistant":
            raise BadItem(f"{where}: the last of `messages` must be the assistant's")
        if double := [k for k in ("chosen", "rejected") if k in given]:
            raise BadItem(f"{where}: `messages` and `{double[0]}` are two items; give one a line")
        before = turns[:-1]
        if {"prompt", "conversation"} & given.keys() and _context({"conversation": before} | given, where) != before:
            raise BadItem(f"{where}: `messages` and `conversation` are two conversations; give one of them")
        return before, {"reward": turns[-1]["content"]}
    if missing := [k for k in ("chosen", "rejected") if not isinstance(given.get(k), str)]:
        raise BadItem(f"{where}: `messages`, or the texts `chosen` and `rejected`, are needed; no {missing[0]}")
    answers = {f"r_{k}": _text(given[k], where) for k in ("chosen", "rejected")}
    return _context(given, where), answers


def _context(given: dict, where: str) -> list[dict]:
    """The turns that `conversation` and `prompt` make together."""
    prompt = given.get("prompt")
    if prompt is not None and not isinstance(prompt, str):
        raise BadItem(f"{where}: `prompt` must be a text, found {type(prompt).__name__}")
    if prompt is None and "conversation" not in given:
        raise BadItem(f"{where}: a `prompt` or a `conversation` is needed")
    turns = _turns(given.get("conversation", []), where)
    if prompt is None:
        return turns
    asked = [t["content"] for t in turns if t["role"] == "user"]
    if turns and turns[-1]["role"] == "user":
        if turns[-1]["content"] != prompt:
            raise BadItem(f"{where}: `prompt` is not the last turn of `conversation`; give one of them")
        return turns
    if asked and asked[-1] == prompt:
        raise BadItem(f"{where}: `conversation` goes on after `prompt`; give one of them")
    return [*turns, {"role": "user", "content": _text(prompt, where)}]


def _turns(value: object, where: str) -> list[dict]:
    if not isinstance(value, list):
        raise BadItem(f"{where}: turns must be a list of objects with the texts `role` and `content`")
    turns = []
    for t in value:
        if not isinstance(t, dict) or not isinstance(t.get("role"), str) or not isinstance(t.get("content"), str):
            raise BadItem(f"{where}: turns must be a list of objects with the texts `role` and `content`")
        turns.append({"role": _text(t["role"], where), "content": _text(t["content"], where)})
    return turns


def _text(value: str, where: str) -> str:
    """The same text, if it can be written at all."""
    try:
        value.encode()
    except UnicodeEncodeError as e:
        raise BadItem(f"{where}: half of a surrogate pair") from e
    return value
