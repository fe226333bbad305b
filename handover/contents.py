"""What is in a release: a snapshot of the lake, less what may not be passed on, and where every record ended (spec 0.11, 5)."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from resources.lake import in_batches
from sql import statement

if TYPE_CHECKING:
    import duckdb

ALIASES = {
    "curated": ("filtered", "stage2"),
    "corrected": ("corrected", "stage2"),
    "filtered": ("filtered", "stage2"),
    "original": ("original", "stage2"),
}
KINDS = ("original", "filtered", "corrected")
SLICE = 20_000  # pairs, about, whose texts are sorted at a time
BARRED = {
    "no_permission": "redistribution = false",
    "no_license": "no license is known",
}


class HandoverError(Exception):
    """There is no such release, or it may not be made; the message says what to do."""


@dataclass(frozen=True)
class Snapshot:
    """Which pairs: `name` as asked for, and what of the lake it is."""

    name: str
    kind: str
    upto: str

    @classmethod
    def named(cls, name: str) -> "Snapshot":
        """`curated`, `corrected`, or any snapshot as `filtered@iter_01`.

        Raises:
            HandoverError: it is none of these.
        """
        if name in ALIASES:
            return cls(name, *ALIASES[name])
        kind, at, upto = name.partition("@")
        if at and kind in KINDS and upto:
            return cls(name, kind, upto)
        raise HandoverError(
            f"no such release: {name!r}; there are curated, corrected, and every snapshot by its name and the last iteration"
            " that counts, such as filtered@iter_01 or original@stage2"
        )


@dataclass(frozen=True)
class Holding:
    """A source's part in a release.

    Attributes:
        source, path, fingerprint, license, label_origin, redistribution: as in the table `sources`.
        barred: why its pairs are left out (a key of `BARRED`), or None.
        pairs: of the snapshot, before anything is left out.
    """

    source: str
    path: str
    fingerprint: str
    license: str
    label_origin: str
    redistribution: bool
    barred: str | None
    pairs: int


def choose(
    con: "duckdb.DuckDBPyConnection", snapshot: Snapshot, spelled_out: Collection[str]
) -> tuple[list[Holding], int]:
    """Make the tables `candidates`, `barred`, `chosen_pairs` and `left_out`, without texts, on a session of the lake.

    Args:
        spelled_out: names of sources that go along whatever is in the way.

    Returns:
        what every source holds, and how many pairs are chosen.

    Raises:
        HandoverError: the snapshot is empty or not there, a name is no source's, a source that may be passed on has no
            license, or nothing is left.
    """
    which = {"snapshot": snapshot.kind, "upto": snapshot.upto}
    con.sql(statement("handover/snapshot_candidates"), params=which).create("candidates")
    con.sql(statement("handover/barred"), params={"spelled_out": sorted(spelled_out)}).create("barred")
    holdings = [Holding(*row) for row in con.execute(statement("handover/candidates_by_source")).fetchall()]
    if strangers := sorted(set(spelled_out) - {h.source for h in holdings}):
        raise HandoverError(f"no such source: {strangers[0]!r}; there are {', '.join(h.source for h in holdings)}")
    if not any(h.pairs for h in holdings):
        known = [f"{s}@{u}" for u, s in con.execute("SELECT upto, snapshot FROM snapshots ORDER BY ALL").fetchall()]
        raise HandoverError(
            f"{snapshot.name}: the lake holds no such pairs; "
            + (f"it has {', '.join(known)}" if known else "run `assay run` first")
        )
    present = [h for h in holdings if h.pairs]
    if unlicensed := [h.source for h in present if h.barred == "no_license"]:
        raise HandoverError(
            f"{_listed(unlicensed)}: no license is known; say `license` in [[sources]] and run `assay run pool`, or spell"
            f" the name out to release it all the same (--include {unlicensed[0]}), or leave it out (redistribution ="
            " false)"
        )
    con.sql(statement("handover/permitted")).create("chosen_pairs")
    con.execute("CREATE TABLE left_out (pair_id VARCHAR, reason VARCHAR)")
    chosen = sum(h.pairs for h in present if h.barred is None)
    if not chosen:
        raise HandoverError(
            f"nothing is left: no source of {snapshot.name} may be passed on ({_listed([h.source for h in present])}: "
            "redistribution = false). Where the license allows it, say `redistribution = true` in [[sources]] and run"
            f" `assay run pool`; or spell the name out: --include {present[0].source}"
        )
    return holdings, chosen


def ranges(pairs: int) -> Iterator[tuple[str, str]]:
    """Bounds (low, high) of ids, which are hashes in hex, that cut so many pairs into slices of about `SLICE`."""
    digits = 1
    while 16**digits * SLICE < pairs and digits < 4:
        digits += 1
    n = min(16**digits, -(-pairs // SLICE)) or 1
    edges = [f"{(16**digits * i) // n:0{digits}x}" for i in range(n)] + ["g"]
    edges[0] = ""
    yield from zip(edges, edges[1:], strict=False)


def texts(con: "duckdb.DuckDBPyConnection", pairs: int, flipped: bool, whole: bool) -> Iterator[pa.RecordBatch]:
    """The chosen pairs of one order with their texts, by id; a slice of ids is sorted at a time.

    Args:
        pairs: how many there are in all.
        whole: chosen and rejected as whole conversations.
    """
    query = statement("handover/rows")
    for low, high in ranges(pairs):
        rows = con.sql(query, params={"low": low, "high": high, "flipped": flipped, "whole": whole})
        yield from in_batches(rows)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
