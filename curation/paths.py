"""Where a value stands in a record: `a.b` steps into an object, `a[].b` takes b of every element, `a[0]` one of them."""

import re
from collections.abc import Sequence
from typing import Any

_STEP = re.compile(r"([^.\[\]]+)|\[(\d*)\]")


def path_steps(path: str) -> list[tuple[str, str]]:
    """The steps of a path as (key, index): a key, or, where that is empty, an index, '' for every element."""
    return _STEP.findall(path)


def head(path: str) -> str | None:
    found = _STEP.match(path)
    return found[1] if found else None


def value_at(record: dict, path: str) -> Any:
    """The value at a path, None where it does not lead anywhere; a key spelt like the whole path goes first."""
    if path in record or ("." not in path and "[" not in path):
        return record.get(path)
    return _walk(record, path_steps(path))


def _walk(value: Any, steps: Sequence[tuple[str, str]]) -> Any:
    for i, (key, index) in enumerate(steps):
        if key:
            value = value.get(key) if isinstance(value, dict) else None
        elif not isinstance(value, list):
            return None
        elif index:
            value = value[int(index)] if int(index) < len(value) else None
        else:
            return [_walk(element, steps[i + 1 :]) for element in value]
    return value


def leads(value: Any, steps: Sequence[tuple[str, str]]) -> bool:
    """Whether a path leads somewhere in a value, or may: what is null or an empty list says nothing against it."""
    for i, (key, index) in enumerate(steps):
        if value is None or value == []:
            return True
        if key:
            if not isinstance(value, dict) or key not in value:
                return False
            value = value[key]
        elif not isinstance(value, list):
            return False
        elif index:
            if int(index) >= len(value):
                return False
            value = value[int(index)]
        else:
            return any(leads(element, steps[i + 1 :]) for element in value)
    return True
