"""Pairs that somebody picked by hand, for people to look at: a batch beside those of the loop.

What people say of them labels nothing by itself. A pair that the loop or the audit asks for later brings what was said of
it along, as from any earlier batch.
"""

import re

import pyarrow as pa

from curation.attributes import heuristic
from resources.annotators.backends import door
from resources.annotators.desk import desk
from resources.annotators.tasks import items
from resources.lake import Lake
from resources.retrieval.embedder import FIELDS
from resources.settings import Settings

PREFIX = "look-"  # of the names of such batches


class NotSent(Exception):
    """A selection cannot be sent to people; the message says why."""


def can_ask(settings: Settings) -> bool:
    """Whether the people of a configuration answer what they are asked."""
    return settings.people.backend not in ("simulated", "recorded")


def ask(settings: Settings, lake: Lake, pairs: pa.Table, name: str) -> str:
    """Put pairs on people's desk.

    Args:
        pairs: pair_id, conversation, chosen, rejected and the five attributes, null where nobody labelled them: then
            rules do.
        name: of the batch; `PREFIX` is put before it.

    Returns:
        a sentence on what to do next.

    Raises:
        NotSent: nobody can be asked, or the name is not one or is taken.
    """
    if not can_ask(settings):
        raise NotSent(f"people.backend is {settings.people.backend!r}: nobody is asked")
    name = name.removeprefix(PREFIX)
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,40}", name):
        raise NotSent(f"{name!r} is no name of a batch: small letters, digits, '-' and '_'")
    batch = PREFIX + name
    rows = pairs.to_pylist()
    for row in rows:
        if row["category"] is None:
            row |= heuristic(row["conversation"])
    whole = pa.Table.from_pylist(
        [{k: row[k] for k in ("pair_id", "conversation", "chosen", "rejected", *FIELDS)} for row in rows]
    )
    with desk(lake) as opened:
        if batch in opened.batches():
            raise NotSent(f"there is a batch {batch} already")
        opened.publish(batch, items(whole, batch, settings, lake))
        way = door(settings, opened)
        way.publish(batch)
        return f"{whole.num_rows} pairs as {way.where(batch)}. {way.how(batch)}."
