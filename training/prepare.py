"""Turns the pairs of a training into tokens, in parts that are dealt to the ranks.

    python -m training.prepare JOB.json
    torchrun --nproc_per_node R -m training.prepare JOB.json

JOB.json is a `TrainJob` (see job). The training program does the same before its first step; alone, it needs processors
only, and as many processes as there are. A part appears whole in `tokens/` or not at all, and is never made twice;
another start goes on with the missing ones. Ranks wait for each other's files and in no collective operation, which
would run out of time.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from training.atomic import beside, replace_folder
from training.backbone import folder_of
from training.job import TrainJob
from training.model import backbone_tokenizer, learn_tokenizer, load_tokenizer, shares_prefixes
from training.processes import ProcessGroup, Progress, open_progress, run_program
from training.tokens import DamagedTokens, TokenTable, left_out, write_pairs

PART_ROWS = 8192  # of a part at the most; a part never reaches over a row group's end
LOOK_EVERY_S = 0.2


class TrainingFailed(Exception):
    """Training cannot go on; the message names step and pairs. The last good checkpoint stays."""


@dataclass(frozen=True)
class RowRange:
    """Some neighbouring rows of a Parquet file: row group, rows before them in it and in the file, how many."""

    row_group: int
    skip: int
    first_row: int
    rows: int


def parts_of(path: Path) -> list[RowRange]:
    found, first = [], 0
    file = pq.read_metadata(path)
    for group in range(file.num_row_groups):
        rows = file.row_group(group).num_rows
        found += [RowRange(group, i, first + i, min(PART_ROWS, rows - i)) for i in range(0, rows, PART_ROWS)]
        first += rows
    return found


def read_pairs(path: Path, part: RowRange | None = None) -> Iterator[tuple[str, list[dict], list[str]]]:
    """Rows (pair_id, conversation, [chosen, rejected]) of a Parquet file, or of a part of it, in batches."""
    columns = ["pair_id", "conversation", "chosen", "rejected"]
    file = pq.ParquetFile(path)
    batches = file.iter_batches(1024, columns=columns, row_groups=[part.row_group] if part else None)
    low, high = (part.skip, part.skip + part.rows) if part else (0, file.metadata.num_rows)
    at = 0
    for batch in batches:
        start, at = at, at + batch.num_rows
        for row in batch[max(0, low - start) : max(0, high - start)].to_pylist():
            yield row["pair_id"], row["conversation"], [row["chosen"], row["rejected"]]


def texts_of(path: Path) -> Iterator[str]:
    for _, conversation, responses in read_pairs(path):
        yield from (t["content"] for t in conversation)
        yield from responses


def tokenizer_for(job: TrainJob, group: ProcessGroup):
    """The backbone's tokenizer; a new one is learned on the training texts by rank 0 and read by the others."""
    if job.backbone.path is not None:
        return backbone_tokenizer(folder_of(job.backbone.path))
    folder = job.out / "tokens" / "tokenizer"
    if group.is_main and not folder.exists():
        with beside(folder) as new:
            learn_tokenizer(texts_of(job.train), job.backbone.vocabulary).save_pretrained(new)
            replace_folder(new, folder)
    while not folder.exists():
        time.sleep(LOOK_EVERY_S)
    try:
        return load_tokenizer(folder)
    except Exception as e:  # whatever a broken file of it raises
        raise DamagedTokens(f"{folder} is damaged ({e}); remove {folder.parent} to make all of it anew") from None


@dataclass(frozen=True)
class PreparedTokens:
    """The pairs of a job as tokens.

    Attributes:
        dropped: pairs that were left out, by file and reason.
        refused: what the template said of the first that it refused.
    """

    train: TokenTable
    validation: TokenTable | None
    dropped: dict[str, dict[str, int]]
    refused: list[str]


def prepare_tokens(
    job: TrainJob, tokenizer, group: ProcessGroup, shared: bool, progress: Progress | None = None
) -> PreparedTokens:
    """Tokens of training and validation pairs: each rank makes the parts that fall to it and that no former start of this
    job made, then waits until all are there.

    Args:
        shared: store the longest common prefix of a pair's sequences once.

    Raises:
        TrainingFailed: no usable pair is left.
    """
    files = {"train": job.train} | ({"validation": job.validation} if job.validation is not None else {})
    folders = {name: job.out / "tokens" / f"{name}-{'shared' if shared else 'whole'}" for name in files}
    todo = [
        (folders[name] / f"part-{i:05d}.arrow", path, part, () if name == "train" else ("identical",))
        for name, path in files.items()
        for i, part in enumerate(parts_of(path))
    ]
    there = _leading([target for target, *_ in todo])
    for target, path, part, keep in todo[group.rank :: group.size]:
        if not target.exists():
            rows = read_pairs(path, part)
            write_pairs(target, rows, tokenizer, job.max_tokens, shared, keep, part.first_row)
            _tell(progress, next(there), len(todo))
    while (n := next(there)) < len(todo):
        _tell(progress, n, len(todo))
        time.sleep(LOOK_EVERY_S)
    return _opened(folders)


def _leading(paths: Sequence[Path]) -> Iterator[int]:
    """Whenever it is asked, how many of the first files are there. Each is looked for until it is found, so that a look
    asks a shared file system for little more than what is new. Parts are dealt in turn: there are few behind a gap."""
    n = 0
    while True:
        while n < len(paths) and paths[n].exists():
            n += 1
        yield n


def _tell(progress: Progress | None, there: int, parts: int) -> None:
    if progress is not None and parts > 1:
        progress.report(f"tokens: {there} of {parts} parts", now=False)


def _opened(folders: dict[str, Path]) -> PreparedTokens:
    tables, dropped, refused = {}, {}, []
    for name, folder in folders.items():
        paths = sorted(folder.glob("part-*.arrow"))
        counts, said = left_out(paths)
        tables[name], dropped[name] = TokenTable(*paths), dict(counts)
        refused += said
    for name, table in tables.items():
        if not len(table):
            said = "".join(f"; {words}" for words in refused[:1])
            kind = "training" if name == "train" else name
            raise TrainingFailed(f"no usable {kind} pair is left; left out: {dropped}{said}")
    return PreparedTokens(tables["train"], tables.get("validation"), dropped, refused[:1])


def prepare(job: TrainJob) -> None:
    """Make the parts that fall to this process, and wait for the others'."""
    group = ProcessGroup()
    with open_progress(group) as progress:
        tokenizer = tokenizer_for(job, group)
        shared = job.backbone.path is None or shares_prefixes(folder_of(job.backbone.path))
        prepare_tokens(job, tokenizer, group, shared, progress)


def main() -> int:
    return run_program("training.prepare", (__doc__ or "").splitlines()[0], TrainJob, prepare, (TrainingFailed,))


if __name__ == "__main__":
    sys.exit(main())
