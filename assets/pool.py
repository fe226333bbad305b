"""Stage 0: any preference data in, clean pairs out (spec 0)."""

import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain, groupby, islice
from operator import itemgetter
from pathlib import Path

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.benchmark_results import as_they_are
from assets.table_asset import Check, Rows, table_asset
from curation.identity import digest
from curation.tables import (
    BENCHMARK_HITS,
    BENCHMARK_PROMPTS,
    BENCHMARK_SCANS,
    CLEAN_POOL,
    CLUSTERS,
    CONTAMINATED,
    DEDUPED,
    DUPLICATES,
    IMPORTS,
    NGRAM_FREQUENCY,
    QUARANTINE,
    RAW_POOL,
    SOURCES,
    UNUSABLE,
    WORLD_FILES,
    Table,
)
from resources.lake import InOrder, Lake, SortedRuns, in_batches, label
from resources.run import Run
from resources.scratch import scratch
from resources.settings import Settings, Source
from sql import statement

SCAN = (4_000, 8 << 20)  # conversations, and bytes of them, split into words at a time: the words take 20 times as much
FREQUENT = 20  # conversations of the pool; a benchmark n-gram in more of them looks like boilerplate


# ---- what there is -------------------------------------------------------------------------------------------------
def _as_it_is(settings: Settings, lake: Lake, name: str | None) -> str:
    """A source's configuration and bytes; a world's files are bytes like any others."""
    return f"{settings.source_hash(str(name))} {_fingerprint(_source(settings, name), lake)[0] or '-'}"


def _source(settings: Settings, name: str | None) -> Source:
    return next(s for s in settings.sources if s.name == name)


def _fingerprint(source: Source, lake: Lake) -> tuple[str, int, str | None]:
    """(hash, bytes, problem) of what a source is read from."""
    from resources.sources.reader import BadFile, fingerprint

    try:
        return *fingerprint(source, lake), None
    except BadFile as e:
        return "", 0, source.hidden(str(e))


@table_asset(
    SOURCES, reads=[WORLD_FILES], settings_seen=("sources",), external_version=_as_it_is, group="pool", kinds={"python"}
)
def sources(run: Run) -> Iterator[Rows]:
    """Hashes a source's bytes, so that a changed file is noticed and everything made from it is made again."""
    source = _source(run.settings, run.key)
    hashed, size, problem = _fingerprint(source, run.lake)
    row = source.model_dump(
        include={"shape", "license", "redistribution", "label_origin", "stage", "joined", "priority"}
    )
    row |= {"source": source.name, "path": source.origin, "fingerprint": hashed, "bytes": size, "problem": problem}
    row["settings"] = run.settings.source_hash(source.name)
    yield Rows(SOURCES, pa.Table.from_pylist([row], SOURCES.schema), {"problem": problem or "none"})


# ---- import --------------------------------------------------------------------------------------------------------
class _Spool:
    """Rows of three tables on disk between reading a source once and publishing three tables one by one."""

    def __init__(self, folder: str):
        self.runs = {t: SortedRuns(Path(folder), t) for t in (RAW_POOL, UNUSABLE, QUARANTINE)}

    def add(self, table: Table, batch: pa.RecordBatch, run: int | None = None) -> None:
        self.runs[table].add(batch, run)

    def count(self, table: Table) -> int:
        return self.runs[table].rows

    def read(self, table: Table) -> InOrder:
        return InOrder(self.runs[table].read())


def _try_again(settings: Settings, lake: Lake, name: str | None) -> str | None:
    """Why a source that has not changed must be read again: what it could not be read for may be gone."""
    from resources.sources.reader import may_pass

    whole = lake.read(QUARANTINE, name, ["reason"], [("row", "=", 0)])
    source = _source(settings, name)
    reasons = [reason for reason in whole["reason"].to_pylist() if may_pass(source, lake, reason)]
    return f"could not be read and may be now: {reasons[0]}" if reasons else None


@table_asset(
    RAW_POOL,
    UNUSABLE,
    QUARANTINE,
    IMPORTS,
    reads=[SOURCES],
    settings_seen=("sources",),
    version="2",
    retry_reason=_try_again,
    group="pool",
    kinds={"python"},
    checks={
        RAW_POOL: [
            Check(
                "one_pair_per_part",
                "SELECT row, part FROM new GROUP BY ALL HAVING count(*) > 1",
                "every part of a record is one pair",
            ),
            Check(
                "two_different_responses",
                statement("checks/two_different_responses"),
                "a pair has two different responses, neither of them empty",
            ),
        ],
        UNUSABLE: [
            Check(
                "not_in_raw_pool",
                statement("checks/not_in_raw_pool"),
                "a part of a record is usable or not",
            ),
        ],
        QUARANTINE: [
            Check(
                "in_one_place",
                statement("checks/in_one_place"),
                "a record is read or quarantined",
            ),
        ],
    },
)
def raw_pool(run: Run) -> Iterator[Rows]:
    """Reads a source record by record through its adapter; nothing is guessed and nothing disappears."""
    from resources.sources.reader import read_source

    source = _source(run.settings, run.key)
    reasons: Counter[str] = Counter()
    records = pairs = 0
    warning = ""
    accounted = np.zeros(1, bool)  # by row; 0 stands for the whole file
    with tempfile.TemporaryDirectory(dir=scratch("import")) as folder:
        spool = _Spool(folder)
        for batch in read_source(source, run.lake, run.lake.threads, ordered=True):
            for table, rows in ((RAW_POOL, batch.pairs), (UNUSABLE, batch.unusable), (QUARANTINE, batch.quarantine)):
                spool.add(table, rows, batch.run if table is RAW_POOL else None)
            for rows in (batch.pairs, batch.unusable, batch.quarantine):
                accounted = _marked(accounted, rows.column("row").to_numpy())
            reasons.update(batch.unusable.column("reason").to_pylist() + batch.quarantine.column("reason").to_pylist())
            pairs += batch.pairs.num_rows
            records += batch.records
            warning = warning or batch.warning
        if (found := int(accounted[1:].sum())) != records:
            raise RuntimeError(f"{source.name}: {records} records read but {found} accounted for")
        run.log(f"{source.name}: {records} records, {pairs} pairs; " + _listed(reasons))
        if warning and source.required:
            raise dg.Failure(f"{warning} (the source is `required`)", allow_retries=False)
        if warning and run.context is not None:
            run.context.log.warning(warning)
        about = {"records": records, "reasons": _listed(reasons)} | ({"warning": warning} if warning else {})
        brought = {"source": source.name, "records": records, "pairs": pairs, "warning": warning or None}
        yield Rows(RAW_POOL, spool.read(RAW_POOL), about)
        yield Rows(UNUSABLE, spool.read(UNUSABLE), about)
        yield Rows(QUARANTINE, spool.read(QUARANTINE), about)
        brought |= {"unusable": spool.count(UNUSABLE), "quarantined": spool.count(QUARANTINE)}
        yield Rows(IMPORTS, pa.Table.from_pylist([brought], IMPORTS.schema), about)


def _marked(seen: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """`seen` with these rows set: a byte a row, so that a source of any size fits."""
    if len(rows) and rows.max() >= len(seen):
        seen = np.concatenate((seen, np.zeros(max(len(seen), int(rows.max()) + 1 - len(seen)), bool)))
    seen[rows] = True
    return seen


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {n}" for name, n in sorted(counts.items())) or "nothing refused"


# ---- one pair once -------------------------------------------------------------------------------------------------
@table_asset(
    DEDUPED,
    DUPLICATES,
    reads=[RAW_POOL],
    group="pool",
    checks={
        DEDUPED: [
            Check(
                "same_ids_same_bucket",
                "SELECT pair_id FROM new GROUP BY 1 HAVING count(*) > 1",
                "a pair stands once",
            ),
            Check(
                "mirrors_are_in_conflict",
                statement("checks/mirrors_are_in_conflict"),
                "exactly the pairs that also appear the other way round are in conflict",
            ),
        ],
        DUPLICATES: [
            Check(
                "every_copy_is_listed",
                statement("checks/every_copy_is_listed"),
                "copies are the survivor and the lost",
            ),
            Check(
                "the_survivor_exists",
                statement("checks/the_survivor_exists"),
                "the winner was kept",
            ),
        ],
    },
)
def deduped(run: Run) -> Iterator[Rows]:
    """Exact duplicates over all sources at once, by content; the survivor is the source with the lowest priority
    number, then the first row. The same responses with opposite labels are both kept and marked."""
    bounds = deduped_bounds(run)
    with run.lake.connect() as con:
        con.sql(statement("pool/deduped"), params=bounds).create("survivors")
        query = "SELECT count(*) FROM raw_pool WHERE comparison_id >= $low AND comparison_id < $high"
        [(records,)] = con.execute(query, parameters=bounds).fetchall()
        [(pairs, copies, conflicts, shared)] = con.execute(statement("pool/survivors_counted")).fetchall()
        if copies != records:
            raise RuntimeError(f"{run.partition}: {records} records but {copies} in pairs and duplicates")
        about = {"records": records, "duplicates": records - pairs, "in conflict": conflicts, "in two sources": shared}
        yield Rows(DEDUPED, con.sql("FROM survivors"), about)
        yield Rows(DUPLICATES, con.sql(statement("pool/duplicates"), params=bounds))


def deduped_bounds(run: Run) -> dict[str, str]:
    """Of the bucket's comparison_ids, as parameters of SQL."""
    from curation.identity import bucket_range

    return dict(zip(("low", "high"), bucket_range(run.key, run.settings.lake.buckets), strict=True))


def same_texts(run: Run) -> None:
    """Refuses a bucket whose texts are no longer there: rows of a source that was imported again since.

    Raises:
        dagster.Failure: `deduped` has to be made again first.
    """
    params = {"bucket": run.partition, **deduped_bounds(run)}
    with run.lake.connect() as con:
        [(found,)] = con.sql(statement("pool/deduped_texts"), params=params).count("*").fetchall()
    if found != (wanted := run.lake.rows(DEDUPED, run.partition)):
        raise dg.Failure(
            f"deduped/{run.partition} names {wanted} pairs and raw_pool has the texts of {found}: a source has changed "
            "since. Make `deduped` again first.",
            allow_retries=False,
        )


# ---- decontamination -----------------------------------------------------------------------------------------------
@table_asset(
    BENCHMARK_PROMPTS,
    reads=[WORLD_FILES],
    group="pool",
    settings=("benchmarks", "world", "seed"),
    external_version=as_they_are,
    kinds={"python"},
)
def benchmark_prompts(run: Run) -> Iterator[Rows]:
    """The first user turn of every item of every configured benchmark."""
    from resources.benchmarks.loader import prompts

    tables = [prompts(benchmark, run.lake) for benchmark in run.settings.benchmarks]
    rows = pa.concat_tables(tables) if tables else BENCHMARK_PROMPTS.schema.empty_table()
    yield Rows(BENCHMARK_PROMPTS, rows, {"benchmarks": len(tables)})


@table_asset(CLUSTERS, reads=[RAW_POOL], version="2", group="pool", kinds={"rust"})
def clusters(run: Run) -> Iterator[Rows]:
    """Conversations that nearly repeat each other (MinHash over word 5-grams), so that a split never divides them."""
    from curation.clusters import clusters as near_duplicates

    with run.lake.connect() as con:
        conversations = con.sql(statement("pool/conversations"))
        texts = (
            (b.column(0).to_pylist(), b.column(1), b.column(2).to_numpy()) for b in in_batches(conversations, *SCAN)
        )
        about = {"clusters": 0}

        def rows() -> Iterator[pa.RecordBatch]:
            found = near_duplicates(texts, scratch("clusters"), run.lake.threads)
            while some := list(islice(found, 1 << 16)):
                names, roots = (pa.array(c, pa.string()) for c in zip(*some, strict=True))
                about["clusters"] += pc.sum(pc.equal(names, roots)).as_py()
                yield pa.RecordBatch.from_arrays([names, roots], schema=CLUSTERS.schema)

        yield Rows(CLUSTERS, rows(), about)


@table_asset(
    BENCHMARK_HITS,
    BENCHMARK_SCANS,
    reads=[DEDUPED, RAW_POOL, BENCHMARK_PROMPTS],
    reads_itself=True,
    settings=("decontamination",),
    version="2",
    group="pool",
    kinds={"python"},
)
def benchmark_hits(run: Run) -> Iterator[Rows]:
    """Searches a bucket for the n-grams of every benchmark. What an earlier search of the same bucket found for a
    benchmark that has not changed is kept: a new benchmark costs a search for its own n-grams."""
    same_texts(run)
    prompts = _fingerprints_of_prompts(run.lake)
    earlier = _scanned(run)
    new = tuple(
        name for name, fingerprint in prompts.items() if earlier.get(name, {}).get("fingerprint") != fingerprint
    )
    kept = [name for name in prompts if name not in new]
    version = run.lake.versions([(BENCHMARK_PROMPTS, None)])[BENCHMARK_PROMPTS.name]
    index = _index(run.lake, version, run.settings.decontamination.n, new)
    run.log(f"searched for {', '.join(new) or 'nothing'}; kept what is known of {', '.join(kept) or 'none'}")
    about = {"n-grams searched for": len(index), "benchmarks searched for": ", ".join(new) or "none"}
    yield Rows(BENCHMARK_HITS, chain(_known_hits(run, kept), _hits(run, index)), about)
    counts = Counter(index.benchmark.to_pylist())
    rows = [
        earlier[name] if name in kept else {"benchmark": name, "fingerprint": fingerprint, "n_grams": counts[name]}
        for name, fingerprint in prompts.items()
    ]
    yield Rows(BENCHMARK_SCANS, pa.Table.from_pylist(rows, BENCHMARK_SCANS.schema))


def _fingerprints_of_prompts(lake: Lake) -> dict[str, str]:
    """Benchmark -> hash of its items and their prompts."""
    with lake.connect() as con:
        rows = con.execute("SELECT benchmark, item_id, prompt FROM benchmark_prompts ORDER BY ALL").fetchall()
    return {name: digest([t for _, *texts in group for t in texts]) for name, group in groupby(rows, itemgetter(0))}


def _scanned(run: Run) -> dict[str, dict]:
    """Benchmark -> its row of `benchmark_scans`, where it tells of the bucket as it is, searched by the same rule."""
    hits, scans = (run.lake.note(t, run.partition) for t in (BENCHMARK_HITS, BENCHMARK_SCANS))
    if hits is None or scans is None or hits["inputs"] != scans["inputs"]:
        return {}
    name = label(DEDUPED, run.partition)
    now = run.lake.versions([(DEDUPED, run.partition)])[name]
    code = benchmark_hits.code(run.settings)
    if any(note["code"] != code or note["inputs"][name] != now for note in (hits, scans)):
        return {}
    with run.lake.connect() as con:
        rows = con.sql("SELECT * EXCLUDE (bucket) FROM benchmark_scans WHERE bucket = $b", params={"b": run.partition})
        return {row["benchmark"]: row for row in rows.to_arrow_table().to_pylist()}


@lru_cache(maxsize=1)  # neighbouring buckets of one process share it
def _index(lake: Lake, version: str, n: int, benchmarks: tuple[str, ...]):
    """The index of these benchmarks' prompts."""
    from curation.contamination import BenchmarkIndex

    with lake.connect() as con:
        prompts = con.sql(statement("pool/benchmark_prompts"), params={"names": list(benchmarks)})
        rows = prompts.to_arrow_table().to_pydict()
    return BenchmarkIndex(rows["benchmark"], rows["item_id"], rows["prompt"], n)


def _known_hits(run: Run, benchmarks: list[str]) -> Iterator[pa.RecordBatch]:
    if not benchmarks:
        return
    with run.lake.connect() as con:
        known = {"bucket": run.partition, "names": benchmarks}
        yield from in_batches(con.sql(statement("pool/known_hits"), params=known))


def _hits(run: Run, index) -> Iterator[pa.RecordBatch]:
    """Matches in the bucket's conversations, each searched once, and with scope "all" in the responses."""
    from curation.contamination import scan_conversations, scan_responses

    if not len(index):
        return
    everything = run.settings.decontamination.scope == "all"
    columns = ["conv_id", "conversation", *(("pair_id", "chosen", "rejected") if everything else ())]
    seen = set()
    with run.lake.connect() as con:
        texts = con.sql(statement("pool/deduped_texts"), params={"bucket": run.partition, **deduped_bounds(run)})
        for batch in in_batches(texts.select(*columns), *SCAN):
            names = batch.column(0).to_pylist()
            new = []
            for i, name in enumerate(names):
                if name not in seen:
                    seen.add(name)
                    new.append(i)
            yield scan_conversations(index, batch.take(pa.array(new, pa.int64())), everything)
            if everything:
                yield from scan_responses(index, batch)


@table_asset(
    CLEAN_POOL,
    CONTAMINATED,
    reads=[DEDUPED, RAW_POOL, BENCHMARK_HITS, CLUSTERS],
    group="pool",
    checks={
        CLEAN_POOL: [
            Check(
                "clean_or_contaminated",
                statement("checks/clean_or_contaminated"),
                "a pair is in one of the two",
            ),
            Check(
                "nothing_is_lost",
                statement("checks/nothing_is_lost"),
                "every pair of the bucket is in one of the two",
            ),
        ],
    },
)
def clean_pool(run: Run) -> Iterator[Rows]:
    """Leaves out every pair that shares an n-gram, or a whole short prompt, with a benchmark, and says which."""
    same_texts(run)
    bucket = {"bucket": run.partition}
    with run.lake.connect() as con:
        con.sql("SELECT pair_id, conv_id, source FROM deduped WHERE bucket = $bucket", params=bucket).create("pairs")
        con.sql(statement("pool/contaminated"), params=bucket).create("flagged")
        [(removed,)], [(pairs,)] = (con.table(name).count("*").fetchall() for name in ("flagged", "pairs"))
        about = {"pairs": pairs, "removed": removed}
        yield Rows(CONTAMINATED, con.table("flagged"), about)
        yield Rows(CLEAN_POOL, con.sql(statement("pool/clean_pool"), params=bucket | deduped_bounds(run)), about)


@table_asset(NGRAM_FREQUENCY, reads=[DEDUPED, BENCHMARK_HITS], group="pool")
def ngram_frequency(run: Run) -> Iterator[Rows]:
    """How many conversations and pairs of the whole pool hold each benchmark n-gram. Nothing is kept because of it: it
    tells removals that a template or a quotation caused from those the benchmark did (view `contamination`)."""
    with run.lake.connect() as con:
        con.sql(statement("pool/ngram_frequency"), params={"most": FREQUENT}).create("counted")
        [(found, frequent)] = con.execute("SELECT count(*), count_if(frequent) FROM counted").fetchall()
        yield Rows(NGRAM_FREQUENCY, con.sql("SELECT * FROM counted"), {"n-grams": found, "frequent": frequent})
