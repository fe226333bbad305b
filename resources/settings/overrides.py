"""Settings changed from the command line: `key=value`, put into what the file says before anything is validated."""

import re
import tomllib
from collections.abc import Iterable, Iterator
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from resources.settings.base import ConfigError

_STEP = re.compile(r'"([^"]*)"|\[(\d+)\]|([^.\[\]"]+)')


def is_override(text: str) -> bool:
    """Whether an argument of the command line has the form of an override.

    >>> is_override("stage1.iterations=1"), is_override("pool")
    (True, False)
    """
    return "=" in text


def overridden(raw: dict[str, Any], overrides: Iterable[str], model: type[BaseModel]) -> dict[str, Any]:
    """What a file says with some of its keys replaced; the file's own values are not changed.

    A key is a path such as `training.max_tokens`; an entry of a list goes by its number from 0 or by its name:
    `sources.mine.sample=100`, `judges.panel[0].samples=4`; a name with a dot stands in quotes. A value is TOML
    (`[1, 2]`, `true`, `{a = [1]}`); what is no TOML is a text.

    Args:
        raw: the configuration as read.
        overrides: texts `key=value`, the later one counting.
        model: what `raw` will be validated as; it tells tables from lists where the file has neither.

    Raises:
        ConfigError: no `key=value`, or a key that leads into no table; the message names it and what is there.
    """
    for text in overrides:
        key, found, value = text.partition("=")
        steps = _steps(key.strip())
        if not found or not steps:
            raise ConfigError(f"{key}: an override is key=value, such as training.max_tokens=256")
        raw = _put(raw, steps, _value(value.strip()), key.strip(), model)
    return raw


def _steps(key: str) -> list[str | int]:
    """The path that a key spells, or [] for none."""
    steps: list[str | int] = []
    at = 0
    while at < len(key):
        at += key[at] == "." and at > 0
        if (match := _STEP.match(key, at)) is None:
            return []
        quoted, number, plain = match.groups()
        steps.append(int(number) if number else quoted if quoted is not None else plain)
        at = match.end()
    return steps


def _value(text: str) -> Any:
    """TOML's value, or the text."""
    try:
        found = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return found["value"] if list(found) == ["value"] else text


def _put(into: Any, steps: list[str | int], value: Any, key: str, model: type[BaseModel] | None) -> Any:
    """The same table or list with one place changed."""
    step, rest = steps[0], steps[1:]
    if isinstance(into, list):
        place = _place(into, step, key)
        changed = list(into)
        changed[place] = _put(into[place], rest, value, key, model) if rest else value
        return changed
    if not isinstance(into, dict) or isinstance(step, int):
        raise ConfigError(f"{key}: {step!r} leads nowhere: there is no {'list' if isinstance(step, int) else 'table'}")
    if not rest:
        return into | {step: value}
    inner, many = part_at(model, str(step))
    there = into.get(step, [] if many else {})
    return into | {step: _put(there, rest, value, key, inner)}


def _place(entries: list, step: str | int, key: str) -> int:
    names = [entry.get("name") if isinstance(entry, dict) else None for entry in entries]
    if step in names:
        return names.index(step)
    if str(step).isdecimal() and int(step) < len(entries):
        return int(step)
    there = ", ".join(str(name) if name is not None else str(i) for i, name in enumerate(names)) or "none"
    raise ConfigError(f"{key}: no entry {step!r}; there are: {there}")


def part_at(model: type[BaseModel] | None, key: str) -> tuple[type[BaseModel] | None, bool]:
    """What section stands under a key of a section, if one does, and whether it stands there several times."""
    if model is None:
        return None, False
    by_key = {field.alias or name: field for name, field in model.model_fields.items()}
    if (field := by_key.get(key)) is None:
        return None, False
    return next(_models(field.annotation), None), get_origin(field.annotation) is list


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)
