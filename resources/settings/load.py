"""Reading and validating `assay.toml`."""

import difflib
import functools
import json
import os
import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from resources.settings.base import ConfigError, Part
from resources.settings.overrides import overridden, part_at
from resources.settings.secrets import VARIABLE, _hidden, _variables
from resources.settings.sources import Records
from resources.settings.whole import Settings

FILE = "ASSAY_CONFIG"  # the configuration of this process and of those it starts
CHANGES = "ASSAY_SET"  # a JSON list of `key=value` that count more than the file


def _interpolate(value: Any, key: str) -> Any:
    if isinstance(value, dict):
        return {k: _interpolate(v, f"{key}.{k}" if key else k) for k, v in value.items()}
    if isinstance(value, list):
        return [_interpolate(v, f"{key}[{i}]") for i, v in enumerate(value)]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match) -> str:
        if match[1] not in os.environ:
            raise ConfigError(f"{key}: the environment variable {match[1]} is not set")
        return os.environ[match[1]]

    return VARIABLE.sub(replace, value)


def _anchor(value: Any, folder: Path) -> Any:
    """The same configuration with every relative `path` of a file made absolute; `{world}` and `scheme:` stay."""
    if isinstance(value, list):
        return [_anchor(v, folder) for v in value]
    if not isinstance(value, dict):
        return value

    def absolute(key: str, v: Any) -> Any:
        if key != "path" or not isinstance(v, str) or not v or re.match(r"/|\{|[a-z]+:", v):
            return _anchor(v, folder)
        return str(folder / v)

    return {k: absolute(k, v) for k, v in value.items()}


def _explain(error: ValidationError, variables: list[tuple[str, re.Pattern]]) -> str:
    lines = []
    for e in error.errors():
        key = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in e["loc"]).lstrip(".")
        quiet = e["type"] in (
            "missing",
            "value_error",
            "extra_forbidden",
        )  # what stands under an unknown key may be a secret
        found = "" if quiet else f", found {_hidden(json.dumps(e['input'], default=str), variables)[:80]}"
        message = {"missing": "this key is required"}.get(e["type"], e["msg"].removeprefix("Value error, "))
        if e["type"] == "extra_forbidden":
            message = _no_such_key(e["loc"])
        lines.append((f"{key}: " if key else "") + _hidden(message, variables) + found)
    return "\n  ".join(lines)


def _no_such_key(loc: tuple[int | str, ...]) -> str:
    model: type[BaseModel] | None = Settings
    for step in loc[:-1]:
        model = model if isinstance(step, int) else part_at(model, step)[0]
    if model is None:
        return "no such key"
    keys = [field.alias or name for name, field in model.model_fields.items() if name != "base"]
    near = difflib.get_close_matches(str(loc[-1]), keys, n=1)
    return f"no such key{f', did you mean {near[0]}?' if near else '.'} There are: {', '.join(keys)}"


def _as_written(part: Any, raw: Any) -> Iterator[tuple[Records, dict]]:
    """Every part of the configuration that is read from a path or a query, beside the part of the file it stands in."""
    if isinstance(part, Records):
        yield part, raw
    elif isinstance(part, list):
        for one, written in zip(part, raw, strict=True):
            yield from _as_written(one, written)
    elif isinstance(part, Part):
        for name, field in type(part).model_fields.items():
            key = name if name in raw else field.alias
            if key in raw:
                yield from _as_written(getattr(part, name), raw[key])


def load(path: str | Path, overrides: Iterable[str] = ()) -> Settings:
    """Read and validate one configuration.

    Args:
        path: of the TOML file.
        overrides: `key=value` texts that count more than the file; see `overridden`.

    Raises:
        ConfigError: the file is missing, is no TOML, or a key is unknown, missing or out of range.
    """
    path, overrides = Path(path).resolve(), tuple(overrides)
    keys = ", ".join(text.partition("=")[0] for text in overrides)  # a value may be a secret
    shown = f"{path}, with {keys} from the command line" if keys else str(path)
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise ConfigError(f"{path}: cannot be read: {e.strerror}") from e
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path}: not valid TOML: {e}") from e
    try:
        raw = overridden(raw, overrides, Settings)
        anchored = _anchor(_interpolate(raw, ""), path.parent) | {"base": path.parent}
        anchored.setdefault("name", _name(path))
        settings = Settings.model_validate(anchored, context={"folder": path.parent})
    except ConfigError as e:
        raise ConfigError(f"{shown}:\n  {e}") from None
    except ValidationError as e:
        raise ConfigError(f"{shown}:\n  {_explain(e, _variables(raw))}") from None
    for records, written in _as_written(settings, raw):
        records.written_as(written)
    lake = settings.lake.model_copy(update={"path": path.parent / settings.lake.path})
    folder = settings.people.folder  # two configurations beside each other ask people about batches of their own
    folder = folder if "folder" in raw.get("people", {}) else folder / settings.name
    people = settings.people.model_copy(update={"folder": path.parent / folder})
    return settings.model_copy(update={"lake": lake, "people": people})


def _name(path: Path) -> str:
    """A name for a configuration that has none: its file's.

    >>> _name(Path("My Pairs.toml"))
    'my-pairs'
    """
    return re.sub(r"[^a-z0-9_.-]+", "-", path.stem.lower()).strip("-_.") or "assay"


@functools.cache
def current() -> Settings:
    """The settings of this process: the file named by ASSAY_CONFIG, else assay.toml in the current folder, changed as
    ASSAY_SET says."""
    return load(os.environ.get(FILE, "assay.toml"), json.loads(os.environ.get(CHANGES, "[]")))
