"""What to try where a configuration does not fit a record: the adapter that its keys suggest, and where a path stops."""

import json
from typing import Any

from curation.adapters import CONTEXT
from curation.conversation import shown
from curation.paths import path_steps

_TYPICAL = {
    "prompt": ("prompt", "instruction", "question", "conversation", "conversations", "context", "query"),
    "input": ("input",),
    "history": ("history",),
    "system": ("system", "system_prompt"),
    "chosen": ("chosen", "chosen_messages", "r_chosen", "win", "preferred", "better", "winner_list"),
    "rejected": ("rejected", "reject", "rejected_messages", "r_reject", "r_rejected", "lose", "dispreferred", "worse"),
    "a": (
        "a",
        "response_a",
        "answer_a",
        "output_1",
        "response1",
        "response_1",
        "response 1",
        "completion_a",
        "conversation_a",
    ),
    "b": (
        "b",
        "response_b",
        "answer_b",
        "output_2",
        "response2",
        "response_2",
        "response 2",
        "completion_b",
        "conversation_b",
    ),
    "winner": ("winner", "preference", "label", "vote", "overall_preference", "goldlabel", "better_response_id"),
    "responses": ("responses", "answers", "completions", "output", "outputs", "candidates"),
    "scores": ("scores", "ratings", "rewards", "rating"),
    "root": ("prompt", "root"),
    "messages": ("messages", "conversation", "conversations"),
    "response": ("response", "completion", "answer"),
    "label": ("label", "is_good", "desirable", "thumbs_up"),
}
_NEEDED = {
    "pair": ("chosen", "rejected"),
    "winner": ("a", "b", "winner"),
    "scores": ("responses", "scores"),
    "tree": ("root",),
    "unpaired": ("messages", "label"),
    "ranking": ("responses",),
}


def beside_path(record: dict, path: str) -> str:
    """What stands where a path stops leading anywhere, for a message; '' where its first key is not there."""
    steps = path_steps(path)
    value: Any = record
    for i, (key, index) in enumerate(steps):
        at = "".join(f".{k}" if k else f"[{n}]" for k, n in steps[:i]).lstrip(".")
        if isinstance(value, dict) and key and key not in value:
            return f"{at} has {', '.join(map(str, value))}" if at else ""
        if isinstance(value, dict) and key:
            value = value[key]
        elif isinstance(value, list) and not key and len(value) > int(index or 0):
            value = value[int(index or 0)]
        else:
            return f"{at} is {shown(value)}"
    return ""


def columnar(record: dict, shape: str) -> str:
    """How a whole table stands in one object, where it does: by columns, or by rows under their numbers."""
    values = list(record.values())
    if len(values) > 1 and all(isinstance(v, list) for v in values) and len({len(v) for v in values}) == 1:
        plain = len(values[0]) > 1 and not any(isinstance(v, dict | list) for v in values[0])
        return "columns" if plain and shape not in ("scores", "ranking") else ""
    if set(record) >= {"columns", "data"} and all(isinstance(record[k], list) for k in ("columns", "data")):
        return "columns and data"
    if not values or not all(isinstance(v, dict) and v for v in values):
        return ""
    if all(key.isdigit() for key in record):
        return "rows under their numbers"
    same = len({tuple(v) for v in values}) == 1 and len(values) > 1
    return "columns" if same and all(key.isdigit() for key in values[0]) else ""


def nearest(record: dict) -> str:
    """The adapter that a record's keys suggest, as lines for the configuration, or '' when none does."""
    keys = {k.lower(): k for k in record}
    known = {role: next((keys[n] for n in names if n in keys), None) for role, names in _TYPICAL.items()}
    if not (isinstance(record.get(known["root"] or ""), dict) and "replies" in record[known["root"]]):
        known["root"] = None
    for shape, needed in _NEEDED.items():
        if all(known[n] for n in needed):
            names = [n for n in (*needed, *(() if shape in ("tree", "unpaired") else CONTEXT)) if known[n]]
            fields = ", ".join(f"{n} = {json.dumps(known[n], ensure_ascii=False)}" for n in names)
            return f'shape = "{shape}", fields = {{{fields}}}'
    return ""
