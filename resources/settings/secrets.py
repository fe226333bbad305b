"""Environment variables in the configuration, and texts without their values."""

import json
import os
import re
from typing import Any
from urllib.parse import quote

VARIABLE = re.compile(r"\$\{(\w+)\}")
SECRET = 6  # characters; the value of a shorter variable is no secret, and stands in texts by chance


def _variables(raw: Any) -> list[tuple[str, re.Pattern]]:
    """The environment variables that a configuration names, and what finds their values, or lines of them, in a text."""
    values = {
        name: os.environ.get(name, "") for name in VARIABLE.findall(json.dumps(raw, ensure_ascii=False, default=str))
    }
    lines = {(line.strip(), name) for name, value in values.items() for line in (value, *value.splitlines())}
    lines = {(line.replace("''", "'"), name) for line, name in lines if len(line) >= SECRET}
    return [
        (name, re.compile("".join(map(_spelt, line)))) for line, name in sorted(lines, key=lambda v: (-len(v[0]), v))
    ]


def _spelt(character: str) -> str:
    """A pattern of a character as Python, JSON, SQL and addresses write it."""
    ways = {
        character,
        repr(character)[1:-1],
        json.dumps(character)[1:-1],
        quote(character, "", errors="surrogateescape"),
    }
    ways |= {2 * character, f"\\{character}"} if character in "'\"" else set()
    return (
        f"(?:{'|'.join(map(re.escape, sorted(ways, key=len, reverse=True)))})"
        if len(ways) > 1
        else re.escape(character)
    )


def _hidden(text: str, variables: list[tuple[str, re.Pattern]]) -> str:
    for name, value in variables:
        text = value.sub(f"${{{name}}}", text)
    return text
