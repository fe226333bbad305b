"""From a batch of pairs to what people are shown: sides drawn by lot, guideline, form, hint, planted known pairs."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from curation.attributes import heuristic
from curation.prompts import guideline as assembled
from resources.judges import guideline
from resources.lake import Lake
from resources.retrieval.embedder import FIELDS
from resources.settings import Settings
from resources.settings.people import Form
from resources.sources.reader import read_source

ALL_TOOLS = frozenset({"llm", "search"})
PROTOCOL = ("core", "category/", "objectivity/", "controversiality/")
SHOWN = ("pair_id", "conversation", "candidate_1", "candidate_2", "attributes", "protocol", "protocol_version", "hint")
PART = 500  # rows in Python at once


def items(batch: pa.Table, name: str, settings: Settings, lake: Lake) -> Iterator[dict[str, Any]]:
    """What the desk keeps of each pair, in order of work, known pairs among them.

    An item has the keys of SHOWN, which people may see as far as `form` allows, and for the desk alone: shown_first
    (chosen or rejected), wanted (answers), known (first or second for a planted pair, else ''), hint_verdict, arm,
    guideline and tools (whether the form shows them) and form_attributes.

    Args:
        batch: pair_id, conversation, chosen, rejected and the five attributes; where a pre-verification looked at single
            responses also `checked_chosen` and `checked_rejected` (correct, incorrect or null).
        name: of the batch.
        settings: `people` and the seed.
        lake: resolves the paths of known pairs.
    """
    texts = guideline.load()
    version = texts.version(*PROTOCOL)
    known = sorted(_planted(batch, name, settings, lake), key=lambda row: row["place"])
    place = 0
    for part in batch.to_batches(max_chunksize=PART):
        for row in part.to_pylist():
            while known and known[0]["place"] <= place:
                yield _item(known.pop(0), name, settings, texts.texts, version)
            yield _item(row, name, settings, texts.texts, version)
            place += 1
    for row in known:
        yield _item(row, name, settings, texts.texts, version)


def _item(
    row: Mapping[str, Any], name: str, settings: Settings, texts: Mapping[str, str], version: str
) -> dict[str, Any]:
    people, pair, planted = settings.people, row["pair_id"], "place" in row
    sides = ("chosen", "rejected") if _draw(settings, name, pair) % 2 == 0 else ("rejected", "chosen")
    form, arm = _form(settings, name, pair)
    more = people.annotators == 1 and not planted and _share(settings, name, pair, "overlap") < people.overlap
    text, hint_verdict = hint(*(row.get(f"checked_{side}") for side in sides))
    return {
        "pair_id": pair,
        "conversation": row["conversation"],
        "candidate_1": row[sides[0]],
        "candidate_2": row[sides[1]],
        "attributes": {n: row[n] for n in FIELDS},
        "protocol": assembled(texts, row, ALL_TOOLS),
        "protocol_version": version,
        "hint": text,
        "shown_first": sides[0],
        "hint_verdict": hint_verdict,
        "wanted": people.annotators + more,
        "known": ("first" if sides[0] == "chosen" else "second") if planted else "",
        "arm": arm,
        "guideline": form.guideline,
        "tools": form.tools,
        "form_attributes": form.attributes,
    }


def shown(item: Mapping[str, Any]) -> dict[str, Any]:
    """What people may see of an item."""
    seen = {n: item[n] for n in SHOWN if item[n] != ""}
    hidden = ("protocol", "protocol_version") * (not item["guideline"]) + ("attributes",) * (
        not item["form_attributes"]
    )
    return {n: v for n, v in seen.items() if n not in hidden}


def hint(first: str | None, second: str | None) -> tuple[str, str]:
    """What a pre-verification says of the two, and which of them it speaks for (spec 2.06): never a preselected verdict."""
    if first is None and second is None:
        return "", ""
    said = "; ".join(
        f"candidate {n} was found {one or 'neither correct nor incorrect'}" for n, one in ((1, first), (2, second))
    )
    better = {("correct", "incorrect"): "first", ("incorrect", "correct"): "second"}.get(
        (first or "", second or ""), ""
    )
    return f"A model looked at each candidate by itself: {said}. It may be wrong.", better


def _form(settings: Settings, name: str, pair: str) -> tuple[Form, str]:
    at = _share(settings, name, pair, "arm")
    for arm in settings.people.arms:
        if at < arm.share:
            return arm, arm.name
        at -= arm.share
    return Form(), ""


def _draw(settings: Settings, batch: str, pair: str, what: str = "") -> int:
    parts = [str(settings.seed), batch, pair, *([what] if what else [])]
    return int.from_bytes(hashlib.blake2b("\0".join(parts).encode(), digest_size=8).digest()[::-1])


def _share(settings: Settings, batch: str, pair: str, what: str) -> float:
    """A number in [0, 1) that depends on seed, batch, pair and purpose alone."""
    return _draw(settings, batch, pair, what) / 2**64


def _planted(batch: pa.Table, name: str, settings: Settings, lake: Lake) -> Iterator[dict[str, Any]]:
    """Known pairs for this batch, each with the place before which it stands; those of the batch itself are none."""
    wanted = round(settings.people.check_share * batch.num_rows)
    if not settings.people.checks or not wanted:
        return
    own = set(batch.column("pair_id").to_pylist())
    every = {row["pair_id"]: row for row in _known(settings, lake) if row["pair_id"] not in own}
    chosen = sorted(every, key=lambda pair: _draw(settings, name, pair, "check"))[:wanted]
    for pair in chosen:
        row = every[pair]
        about = heuristic(row["conversation"])
        place = int(_share(settings, name, pair, "place") * batch.num_rows)
        yield {n: row[n] for n in ("pair_id", "conversation", "chosen", "rejected")} | about | {"place": place}


def _known(settings: Settings, lake: Lake) -> Iterable[dict[str, Any]]:
    for source in settings.people.checks:
        for part in read_source(source, lake):
            yield from part.pairs.to_pylist()
