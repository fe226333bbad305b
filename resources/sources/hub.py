"""Data sets of Hugging Face: pinned on the hub (`huggingface:<owner>/<name>@<commit>`) or a folder on this machine.

A folder is what `save_to_disk` wrote, or a copy of a repository whose data files need no script of their own.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from resources.sources.files import BATCH_ROWS, BadFile, Row, arrow_rows, first_line, has_cells, rows_of_files

PREFIX = "huggingface:"
SUFFIXES = (".parquet", ".json", ".jsonl", ".csv", ".arrow", ".json.gz", ".jsonl.gz", ".jsonl.zst", ".csv.gz")
READ_HERE = tuple(
    f".{kind}{packed}"
    for kind in ("parquet", "json", "jsonl", "ndjson", "csv", "tsv")
    for packed in ("", ".gz", ".zst")
)
AS_TEXT = {"dtype": str, "keep_default_na": False, "na_filter": False}  # cells of CSV as they stand
_COMMIT = re.compile(r"[0-9a-f]{40}")  # a branch may be called 20240101


def parse(path: str) -> tuple[str, str]:
    """(repository, revision) of a `huggingface:` path; the revision is '' where none is given."""
    repository, _, revision = path.removeprefix(PREFIX).partition("@")
    return repository, revision


def pinned(path: str) -> tuple[str, str]:
    """(repository, commit) of a `huggingface:` path.

    Raises:
        BadFile: it is not pinned to a commit, all 40 digits of it; branches and tags move, and what was read could not be
            read again.
    """
    repository, revision = parse(path)
    if not _COMMIT.fullmatch(revision):
        raise BadFile("not_pinned", f'{path}: pin the data set: path = "{PREFIX}{repository}@<commit>", 40 digits')
    return repository, revision


def saved(folder: Path) -> bool:
    """Whether a folder was written by `save_to_disk`."""
    return any((folder / name).is_file() for name in ("dataset_dict.json", "state.json"))


def files(folder: Path) -> list[Path]:
    """The files of a data set's folder, sorted; none where it is no data set."""
    found = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    return found if saved(folder) or any(p.name.endswith(SUFFIXES) for p in found) else []


def _package(where: str) -> Any:
    try:
        import datasets
    except ImportError as e:
        message = f"reading {where} needs the package `datasets`, or a local file as `path`"
        raise BadFile("needs_package", message) from e
    return datasets


def load(
    where: str,
    revision: str | None = None,
    config: str | None = None,
    split: str | None = None,
    streaming: bool = False,
    **more: Any,
) -> Any:
    """One split of a data set, of the hub or of a folder, as the package `datasets` gives it.

    Raises:
        BadFile: the package is missing, the data set or the split cannot be had, or several splits are there and none
            is named.
    """
    datasets = _package(where)
    shown = f"{where}@{revision}" if revision else where
    options = {"revision": revision, "name": config, "split": split, "streaming": streaming, **more}
    try:
        if saved(Path(where)):
            found = datasets.load_from_disk(where)
            if split and isinstance(found, dict):
                found = {split: found[split]} if split in found else found
        else:
            found = datasets.load_dataset(where, **{k: v for k, v in options.items() if v or k in more})
    except Exception as e:  # the hub raises errors of several packages
        raise BadFile("unreadable", f"{shown}: {first_line(e)[:300]}") from e
    if isinstance(found, dict):
        if len(found) != 1:
            raise BadFile("wrong_split", f"{shown}: say which split: {', '.join(found)}")
        found = next(iter(found.values()))
    return found


def rows(
    where: str, revision: str | None, config: str | None, split: str | None, max_row: int
) -> tuple[Iterator[Row], bool]:
    """The records of a split, streamed: nothing is downloaded or copied whole; and whether all their values are texts,
    as in CSV.

    The package says which files of a folder are a split's; they are read as they would be by their paths, because its
    own readers infer one type a column and spell 007 as 7.0 and NA as nothing.

    Raises:
        BadFile: as `load`, or, from the rows, the data breaks off.
    """
    if revision is None and not saved(Path(where)) and (paths := _data_files(where, config, split)):
        return rows_of_files(paths, max_row), all(map(has_cells, paths))
    found = load(where, revision, config, split, streaming=True)
    cells = getattr(getattr(found, "info", None), "builder_name", None) == "csv"
    if cells:
        found = load(where, revision, config, split, streaming=True, **AS_TEXT)
    return _streamed(found, where), cells


def _data_files(where: str, config: str | None, split: str | None) -> list[Path]:
    """The files of a folder's split, in their order; empty where they need the package's own reader.

    Raises:
        BadFile: as `load`.
    """
    datasets = _package(where)
    try:
        options = datasets.load_dataset_builder(where, name=config).config
    except Exception as e:
        raise BadFile("unreadable", f"{where}: {first_line(e)[:300]}") from e
    apart = {"name", "version", "data_dir", "data_files", "description"}
    plain = type(options)()
    if any(value != getattr(plain, key, None) for key, value in vars(options).items() if key not in apart):
        return []
    splits = {str(name): [Path(str(file)) for file in files] for name, files in (options.data_files or {}).items()}
    if not all(path.name.lower().endswith(READ_HERE) and path.is_file() for files in splits.values() for path in files):
        return []
    if len(splits) != 1 and split not in splits:
        raise BadFile("wrong_split", f"{where}: say which split: {', '.join(splits)}")
    if split and split not in splits:
        raise BadFile("unreadable", f"{where}: Unknown split {split!r}. It has {', '.join(splits)}")
    return splits[split] if split else next(iter(splits.values()))


def _streamed(found: Any, where: str) -> Iterator[Row]:
    number = 0
    try:
        try:
            for row in _rows(found, BATCH_ROWS, 0):
                number = row.number
                yield row
        except Exception:  # a batch is lost whole: the records of it that can be read come one by one
            for row in _rows(found.skip(number), 1, number):
                number = row.number
                yield row
    except Exception as e:  # as in `load`, and whatever a damaged file makes Arrow say
        raise BadFile("truncated", f"{where}: after row {number}: {first_line(e)[:300]}") from e
    if not number:
        raise BadFile("empty_file", f"{where}: no rows")


def _rows(found: Any, size: int, number: int) -> Iterator[Row]:
    for table in found.with_format("arrow").iter(batch_size=size):
        yield from arrow_rows(table, number)
        number += table.num_rows
