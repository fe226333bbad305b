"""The guideline that judges and people read, assembled for one kind of pair."""

import difflib

from curation.attributes import CATEGORIES, CONTROVERSIALITY, OBJECTIVITY
from curation.prompts import guideline
from resources.judges.guideline import load

Kind = tuple[str, str, str]  # category, objectivity, controversiality
TOOLS = {"judge": frozenset(), "browsing-judge": frozenset({"search"}), "people": frozenset({"llm", "search"})}


def text(kind: Kind, reader: str) -> list[str]:
    """Lines of the guideline for a kind of pair.

    Raises:
        ValueError: an attribute that there is not; the message names those there are.
    """
    for value, known in zip(kind, (CATEGORIES, OBJECTIVITY, CONTROVERSIALITY), strict=True):
        if value not in known:
            raise ValueError(f"{value!r} is none of: {', '.join(known)}")
    fields = dict(zip(("category", "objectivity", "controversiality"), kind, strict=True))
    return guideline(load().texts, fields, TOOLS[reader]).splitlines()


def difference(one: tuple[Kind, str], other: tuple[Kind, str]) -> list[str]:
    """The lines in which two guidelines, each of a kind and a reader, differ, as a unified diff."""
    names = [f"{' / '.join(kind)}, for {reader}" for kind, reader in (one, other)]
    return list(difflib.unified_diff(text(*one), text(*other), *names, lineterm="", n=0))
