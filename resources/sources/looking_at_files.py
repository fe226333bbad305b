"""What a file of preference data looks like: a proposal of how to read it, and what reading it so gives."""

import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from curation.propose import Proposal, propose
from resources.lake import Lake
from resources.scratch import scratch
from resources.settings import Source
from resources.sources import hub
from resources.sources.files import BadFile, Row, file_rows, has_cells
from resources.sources.reader import read_source

SAMPLE = 2_000  # first rows that the proposal is made from
EXAMPLES = 3
MOST_BYTES = Source.model_fields["max_row_bytes"].default


@dataclass(frozen=True)
class Looked:
    """A file, how it may be read, and what its first rows give when they are read so.

    Attributes:
        path: of the file, as given.
        proposal: None where nothing reads it.
        keys: of the first record.
        pairs: number of pairs that the first rows give.
        left_out: reasons of the rows that give none, and how many each.
        examples: conversation, chosen and rejected of a few pairs.
        problem: why it cannot be read, or ''.
    """

    path: str
    proposal: Proposal | None = None
    keys: tuple[str, ...] = ()
    pairs: int = 0
    left_out: Counter = field(default_factory=Counter)
    examples: tuple[dict, ...] = ()
    problem: str = ""


def look(path: str) -> Looked:
    """Read the first rows of a file or data set, propose how to read it, and read it so."""
    rows: list[Row] = []
    cells = False
    try:
        some, cells = _rows(path)
        rows.extend(islice(some, SAMPLE))
    except (BadFile, OSError) as e:
        if not rows:
            return Looked(path, problem=str(e))
    records = [row.record for row in rows if row.record is not None]
    if not records:
        return Looked(path, problem=f"{path}: no row can be read, for one: {rows[0].error if rows else 'it has none'}")
    proposal = propose(records, cells)
    keys = tuple(map(str, records[0]))
    if proposal is None:
        return Looked(path, keys=keys)
    return _read(path, proposal, keys)


def _rows(path: str) -> tuple[Iterator[Row], bool]:
    """The rows, and whether all their values are texts, as in CSV."""
    if path.startswith(hub.PREFIX):
        return hub.rows(*hub.pinned(path), None, None, MOST_BYTES)
    if Path(path).is_dir():
        return hub.rows(path, None, None, None, MOST_BYTES)
    return file_rows(Path(path), MOST_BYTES), has_cells(Path(path))


def _read(path: str, proposal: Proposal, keys: tuple[str, ...]) -> Looked:
    """The first batch of the source that the proposal describes."""
    place = str(Path(path).absolute()) if not path.startswith(hub.PREFIX) else path
    source = Source.model_validate({"name": "looked-at", **source_keys(proposal, place)})
    left_out: Counter = Counter()
    with tempfile.TemporaryDirectory(dir=scratch("init")) as folder:
        batch = next(read_source(source, Lake(folder)))
    for table in (batch.unusable, batch.quarantine):
        left_out.update(table["reason"].to_pylist())
    step = max(1, batch.pairs.num_rows // EXAMPLES)
    columns = batch.pairs.select(["conversation", "chosen", "rejected"])
    examples = tuple(columns.slice(i * step, 1).to_pylist()[0] for i in range(min(EXAMPLES, batch.pairs.num_rows)))
    return Looked(path, proposal, keys, batch.pairs.num_rows, left_out, examples)


def source_keys(proposal: Proposal, path: str) -> dict:
    """The keys of a [[sources]] entry that say how a file is read."""
    made: dict = {"shape": proposal.shape, "fields": dict(proposal.fields)}
    made |= {"codes": {k: list(v) for k, v in proposal.codes.items()}} if proposal.codes else {}
    if proposal.query is None:
        return {"path": path} | made
    name = "'" + path.replace("'", "''") + "'"
    file = f"read_csv({name}, all_varchar = true)" if has_cells(Path(path)) else name
    return {"query": proposal.query.format(file=file)} | made
