"""Benchmarks as their authors published them: local files, folders of files, or a pinned Hugging Face data set.

`load` gives a benchmark in the one record that the metrics and the scorer share; `prompts` gives what the pool is
cleaned against. Both read the same items, so that nothing can be measured that was not cleaned against.
"""

import contextlib
import hashlib
import os
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from curation.tables import BENCHMARK_PROMPTS, CONVERSATION
from evaluation.items import LABELLED, BenchmarkError, check
from evaluation.sheets import HOLD_OUT, SHEETS, Sheet
from resources.benchmarks.formats import FORMATS, Format
from resources.lake import Lake
from resources.settings import Benchmark
from resources.sources import hub
from resources.sources.files import BadFile
from resources.sources.reader import file_hash
from sql import statement

CANDIDATES = pa.schema(
    [*LABELLED, pa.field("conversation", CONVERSATION, False), pa.field("response", pa.string(), False)]
)
SUFFIXES = (".json", ".jsonl", ".json.gz", ".jsonl.gz", ".json.zst", ".jsonl.zst", ".parquet")


@dataclass(frozen=True)
class Loaded:
    """One benchmark, ready to be scored.

    Attributes:
        name: as configured.
        sheet: how its number is defined.
        candidates: `CANDIDATES`, sorted by (item_id, candidate): one row a response.
        found: group -> subset -> items in the files, before sampling.
        items: items in `candidates`, fewer than found when sampled.
        origin: the files or the data sets with their revision.
    """

    name: str
    sheet: Sheet
    candidates: pa.Table
    found: dict[str, dict[str, int]]
    items: int
    origin: str

    @property
    def labelled(self) -> pa.Table:
        return self.candidates.select(LABELLED.names)


def prompts(benchmark: Benchmark, lake: Lake) -> pa.Table:
    """The first user turn of every item, whatever is sampled for evaluation: a table of `BENCHMARK_PROMPTS`.

    Raises:
        BenchmarkError: a file is missing or cannot be read, or an item has no id or no prompt.
    """
    with _items(benchmark, lake) as con:
        _no_nulls(con, benchmark, "item_id", "prompt")
        query = "SELECT $name AS benchmark, item_id, prompt FROM items ORDER BY item_id"
        table = con.sql(query, params={"name": benchmark.name}).to_arrow_table()
    return table.cast(BENCHMARK_PROMPTS.schema)


def fingerprint(benchmark: Benchmark, lake: Lake) -> str:
    """Hash of the files a benchmark is read from, by content and name; of a data set of the hub its commit.

    Raises:
        BenchmarkError: a file is missing or cannot be read, or the data set is not pinned.
    """
    if _on_hub(benchmark):
        return _origin(benchmark, lake)
    hasher = hashlib.blake2b(digest_size=16)
    for path in _paths(benchmark, lake):
        try:
            content, _ = file_hash(path)
        except BadFile as e:
            raise BenchmarkError(f"{benchmark.name}: {e}") from e
        hasher.update(
            content + os.path.relpath(path, benchmark.path or path).encode()
        )  # the same wherever the folder is
    return hasher.hexdigest()


def load(benchmark: Benchmark, lake: Lake, seed: int) -> Loaded:
    """A benchmark's candidates; with `benchmark.sample` those of that many items, drawn by a hash of their ids.

    Raises:
        BenchmarkError: a file is missing or cannot be read; a field is missing; an id stands twice; a subset is
            unknown or has another number of items than published (unless `benchmark.excerpt`).
    """
    sheet = SHEETS[benchmark.loader]
    with _items(benchmark, lake) as con:
        _no_nulls(con, benchmark, "item_id", "prompt", "subset", "turns", "responses", "labels")
        groups = {s: g for g, subsets in sheet.groups.items() for s in subsets}
        columns = {"subset": pa.array(groups.keys(), pa.string()), "grp": pa.array(groups.values(), pa.string())}
        con.register("group_of", pa.table(columns))
        con.sql(statement("evaluation/placed")).create_view("placed")
        counts = con.execute("SELECT item_group, subset, count(*) FROM placed GROUP BY ALL ORDER BY ALL").fetchall()
        found: dict[str, dict[str, int]] = {}
        for group, subset, n in counts:
            found.setdefault(group, {})[subset] = n
        origin = _origin(benchmark, lake)
        _expected(benchmark, sheet, found, origin)
        if twice := con.execute(statement("evaluation/repeated_item")).fetchall():
            raise BenchmarkError(f"{benchmark.name}: item {twice[0][0]!r}, field id: the id stands twice ({origin})")
        _one_label_each(con, benchmark)
        drawn = {"salt": f"{seed}/{benchmark.name}/", "n": benchmark.sample}
        table = con.sql(statement("evaluation/candidates"), params=drawn).to_arrow_table()
    absent = table["response"].null_count
    if absent:
        at = pc.index(pc.is_null(table["response"]), True).as_py()
        raise BenchmarkError(
            f"{benchmark.name}: item {table['item_id'][at].as_py()!r}, field response: "
            f"number {table['candidate'][at].as_py()} is missing"
        )
    table = check(benchmark.name, table.cast(CANDIDATES))
    return Loaded(benchmark.name, sheet, table, found, len(table["item_id"].unique()), origin)


def holdout(lake: Lake) -> Loaded:
    """The gold pairs that no step reads and that chance drew, as a benchmark of agreement with people; subsets are
    categories. What retrieval brought into their conversation clusters is no sample of anything and is left out.

    Raises:
        BenchmarkError: there are none.
    """
    with lake.connect() as con:
        table = con.sql(statement("evaluation/holdout")).to_arrow_table()
    table = check("holdout", table.cast(CANDIDATES))
    found = {"": dict(sorted(Counter(table.filter(table["label"])["subset"].to_pylist()).items()))}
    return Loaded("holdout", HOLD_OUT, table, found, table.num_rows // 2, "gold of role test, drawn by chance")


# ---- checks --------------------------------------------------------------------------------------------------------
def _no_nulls(con: duckdb.DuckDBPyConnection, benchmark: Benchmark, *fields: str) -> None:
    for field in fields:
        bad = con.execute(
            f'SELECT number, item_id FROM items WHERE "{field}" IS NULL ORDER BY number LIMIT 1'
        ).fetchall()
        if bad:
            number, item = bad[0]
            raise BenchmarkError(f"{benchmark.name}: record {number} (item {item!r}), field {field}: missing")


def _one_label_each(con: duckdb.DuckDBPyConnection, benchmark: Benchmark) -> None:
    bad = con.execute(statement("evaluation/unlabelled_item")).fetchall()
    if bad:
        item, responses, labels = bad[0]
        raise BenchmarkError(f"{benchmark.name}: item {item!r}, field labels: {labels} for {responses} responses")


def _expected(benchmark: Benchmark, sheet: Sheet, found: dict[str, dict[str, int]], origin: str) -> None:
    """Every subset is known and complete, or absent altogether."""
    if not sheet.groups:
        return
    want = {s: n for subsets in sheet.groups.values() for s, n in subsets.items()}
    for subsets in found.values():
        for subset, n in subsets.items():
            if subset not in want:
                raise BenchmarkError(f"{benchmark.name}: no such subset: {subset!r} ({n} items; {origin})")
            if n > want[subset] or (n < want[subset] and not benchmark.excerpt):
                raise BenchmarkError(
                    f"{benchmark.name}: subset {subset!r} has {n} items, published are {want[subset]} ({origin}); "
                    "if the file is an excerpt, say `excerpt = true`"
                )


# ---- reading -------------------------------------------------------------------------------------------------------
@contextlib.contextmanager
def _items(benchmark: Benchmark, lake: Lake) -> Generator[duckdb.DuckDBPyConnection]:
    """A session with the table `items`: the format's query and `number` and `unit`."""
    form = FORMATS[benchmark.loader]
    with lake.connect() as con:
        if _on_hub(benchmark):
            relations = list(_data_sets(con, benchmark, form))
        else:
            relations = [_file(con, benchmark, form, path) for path in _paths(benchmark, lake)]
        con.execute(f"CREATE TEMP VIEW file AS {' UNION ALL BY NAME '.join(relations)}")
        try:
            items = con.sql(statement(f"evaluation/formats/{benchmark.loader}"))
            items.select(f"*, row_number() OVER () AS number, {form.unit} AS unit").create("items")
        except duckdb.Error as e:
            raise BenchmarkError(f"{benchmark.name}: {_origin(benchmark, lake)}: {_first_line(e)}") from e
        yield con


def _file(con: duckdb.DuckDBPyConnection, benchmark: Benchmark, form: Format, path: Path) -> str:
    """SQL that reads one file with exactly the declared columns."""
    where = str(path).replace("'", "''")
    if path.suffix == ".parquet":
        reader = f"read_parquet('{where}')"
    else:
        inferred = f"read_json('{where}', maximum_object_size=67108864, sample_size=-1)"
        try:
            names = con.sql(f"SELECT * FROM {inferred} LIMIT 0").columns
        except duckdb.Error as e:
            raise BenchmarkError(f"{benchmark.name}: {path.name}: {_first_line(e)}") from e
        spelled = _spelled(names)
        types = {
            spelled[n.removesuffix("?").lower()]: t
            for n, t in form.columns.items()
            if n.removesuffix("?").lower() in spelled
        }
        declared = ", ".join(f"'{n}': '{t}'" for n, t in types.items())
        reader = f"read_json('{where}', maximum_object_size=67108864, columns={{{declared}}})"
        return _select(benchmark, form, names, reader, where, path.name)
    return _select(benchmark, form, con.sql(f"SELECT * FROM {reader} LIMIT 0").columns, reader, where, path.name)


def _select(benchmark: Benchmark, form: Format, names: list[str], reader: str, path: str, shown: str) -> str:
    columns, spelled = [], _spelled(names)
    for declared, type_ in form.columns.items():
        name = declared.removesuffix("?")
        if found := spelled.get(name.lower()):
            columns.append(f'"{found}"::{type_} AS "{name}"')
        elif declared.endswith("?"):
            columns.append(f'NULL::{type_} AS "{name}"')
        else:
            raise BenchmarkError(f"{benchmark.name}: {shown}: field {name!r} is missing, found {', '.join(names)}")
    return f"SELECT '{path}' AS path, {', '.join(columns)} FROM {reader}"


def _spelled(names: list[str]) -> dict[str, str]:
    """Lower-case name -> as the file spells it, as DuckDB sees it: names that differ in case alone are one."""
    return {n.lower(): n for n in reversed(names)}


def _paths(benchmark: Benchmark, lake: Lake) -> list[Path]:
    """The configured file, files of the configured folder, or files that match the configured pattern."""
    if benchmark.loader == "planted" and not benchmark.path:
        paths = [lake.folder("world") / "planted_benchmark.parquet"]
    else:
        path = Path(benchmark.path)
        if path.is_dir():
            paths = sorted(p for p in path.rglob("*") if p.name.endswith(SUFFIXES))
        elif any(c in benchmark.path for c in "*?["):
            paths = sorted(Path(path.anchor or ".").glob(str(path.relative_to(path.anchor))))
        else:
            paths = [path]
    if not paths or not all(p.is_file() for p in paths):
        raise BenchmarkError(f"{benchmark.name}: no file at {benchmark.path or paths[0]}")
    return paths


def _data_sets(con: duckdb.DuckDBPyConnection, benchmark: Benchmark, form: Format) -> Iterator[str]:
    """SQL for each data set of a benchmark, read at a commit: `huggingface:<owner>/<name>@<commit>`."""
    for number, (repository, revision, split) in enumerate(_repositories(benchmark)):
        try:
            rows = hub.load(repository, revision, split=split)
        except BadFile as e:
            raise BenchmarkError(f"{benchmark.name}: {e}") from e
        con.register(f"data_set_{number}", rows.with_format("arrow")[:])
        yield _select(benchmark, form, rows.column_names, f"data_set_{number}", repository, repository)


def _repositories(benchmark: Benchmark) -> list[tuple[str, str, str]]:
    """(repository, commit, split) of every data set of a benchmark."""
    sheet = SHEETS[benchmark.loader]
    if not benchmark.path:
        pinned = {r: sheet.revision.get(r) for r in sheet.repositories}
    else:
        repository, revision = hub.parse(benchmark.path)
        pinned = {repository: revision or sheet.revision.get(repository)}
    if loose := [r for r, commit in pinned.items() if not commit]:
        raise BenchmarkError(
            f'{benchmark.name}: pin the data set: path = "{hub.PREFIX}{loose[0]}@<commit>", or give a local file'
        )
    default = next(iter(sheet.repositories.values()), "train")
    return [(r, commit, sheet.repositories.get(r, default)) for r, commit in pinned.items() if commit]


def _on_hub(benchmark: Benchmark) -> bool:
    by_default = not benchmark.path and bool(SHEETS[benchmark.loader].repositories)
    return by_default or benchmark.path.startswith(hub.PREFIX)


def _origin(benchmark: Benchmark, lake: Lake) -> str:
    if _on_hub(benchmark):
        return ", ".join(f"{r}@{commit}" for r, commit, _ in _repositories(benchmark))
    return ", ".join(p.name for p in _paths(benchmark, lake))


def _first_line(e: Exception) -> str:
    return (str(e).strip() or type(e).__name__).splitlines()[0][:300]
