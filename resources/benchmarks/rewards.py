"""Rewards for the responses of benchmarks, from whatever can tell a better response from a worse one.

Reward models are started once for all benchmarks; judges vote and their votes are rewards; a table that somebody else
made is read; the longer answer needs nobody.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from curation.identity import comparison_id
from curation.tables import ATTRIBUTE_FIELDS, BENCHMARK_SCORES, CONVERSATION, FINAL_REWARD_MODEL, JUDGE_VOTES
from curation.verdicts import aggregate
from evaluation.items import REWARDS, BenchmarkError
from evaluation.judged import rewards as judged
from resources.benchmarks.loader import Loaded
from resources.judges import ask, panel
from resources.judges.attribute_models import labeller
from resources.llm.policy import incomplete
from resources.settings import Judge
from resources.sources import hub
from resources.stops import Stop
from sql import statement

if TYPE_CHECKING:
    from resources.run import Run

LONGER = "longer_answer"
JUDGE = "judge:"
PANEL = "panel"  # of all configured judges
ATTRIBUTES_OF_A_TARGET = ", ".join(f.name for f in ATTRIBUTE_FIELDS)
NO_EXAMPLES = pa.schema(
    [
        ("target_pair", pa.string()),
        ("rank", pa.int64()),
        ("gold_pair", pa.string()),
        ("similarity", pa.float64()),
        ("conversation", CONVERSATION),
        *((name, pa.string()) for name in ("chosen", "rejected", *(f.name for f in ATTRIBUTE_FIELDS))),
    ]
).empty_table()


def scores_of(model: str, run: "Run", benchmarks: Sequence[Loaded]) -> pa.Table:
    """`BENCHMARK_SCORES` rows of any model.

    Args:
        model: an arm whose final model was made (`arm-2` for its second seed); the folder of an exported model;
            `huggingface:<owner>/<name>@<commit>`; a Parquet or JSONL file (benchmark, item_id, candidate, reward) of
            scores made elsewhere; `judge:<name>` of the configuration, or `judge:panel` for all of them as one; or
            `longer_answer`.

    Raises:
        BenchmarkError: there is no such model, or it cannot answer these benchmarks.
    """
    if model == LONGER:
        return longer_answer(benchmarks)
    if model.startswith(JUDGE):
        return judge_scores(run, model.removeprefix(JUDGE), benchmarks)
    if model.startswith(hub.PREFIX):
        return model_scores(run, _downloaded(model.removeprefix(hub.PREFIX)), benchmarks)
    if Path(model).is_file():
        return read_scores(Path(model), benchmarks)
    if Path(model).is_dir():
        return model_scores(run, str(Path(model).resolve()), benchmarks)
    with run.lake.connect() as con:
        query = "SELECT path FROM final_reward_model WHERE model = $model"
        rows = con.execute(query, parameters={"model": model}).fetchall()
    if not rows:
        arms = run.lake.partitions(FINAL_REWARD_MODEL)
        raise BenchmarkError(f"no model {model!r}: neither a file, a folder nor one of the arms made: {arms}")
    return model_scores(run, rows[0][0], benchmarks)


def model_scores(run: "Run", folder: str, benchmarks: Sequence[Loaded]) -> pa.Table:
    """`BENCHMARK_SCORES` rows of a reward model; each different (conversation, response) is computed once."""
    from resources.trainer import score_items

    with run.lake.connect() as con:
        _register(con, benchmarks)
        con.sql(statement("evaluation/responses")).create("known")
        unique = con.sql(statement("evaluation/unique_responses"))
        con.register("rewards", score_items(run, folder, unique, cut=run.settings.evaluation.over_length == "cut"))
        table = con.sql(statement("evaluation/scores")).to_arrow_table()
    return table.cast(BENCHMARK_SCORES.schema)


def judge_scores(run: "Run", name: str, benchmarks: Sequence[Loaded]) -> pa.Table:
    """`BENCHMARK_SCORES` rows of a configured judge: how many of its answers, over both orders, a response wins. Of the
    whole panel: the response that its verdict is for has 1, the other 0, and both have 0 where there is no verdict.

    Attributes come from the configured labeller, blind to the labels; judges are shown no examples. The panel counts one
    voice a judge (`judges.quorum`), also where the configuration weighs judges by what gold says of them.

    Raises:
        BenchmarkError: no such judge, a benchmark holds other items than pairs, or too many of the judge's answers are
            missing.
        Stop: what the judge's or the labeller's back end came to, such as an exhausted budget.
    """
    judges = {b.judge.name: b for b in panel(run.settings, run.lake, "benchmarks")}
    together = name == PANEL and name not in judges and bool(judges)
    if name not in judges and not together:
        raise BenchmarkError(f"no judge {name!r} is configured, only {', '.join(judges)}")
    asked = list(judges.values()) if together else [judges[name]]
    parts = []
    for benchmark in benchmarks:
        pairs = _pairs(benchmark)
        attributes = pa.Table.from_batches(labeller(run.settings, run.lake, "benchmarks").label(pairs.to_batches()))
        with duckdb.connect() as con:
            con.register("pairs", pairs)
            con.register("attributes", attributes)
            targets = con.sql(f"SELECT pairs.*, {ATTRIBUTES_OF_A_TARGET} FROM pairs JOIN attributes USING (pair_id)")
            found = ask(asked, targets.to_arrow_table(), NO_EXAMPLES)
        if stops := [f for f in found if isinstance(f, Stop)]:
            raise stops[0]
        votes = [f.select(JUDGE_VOTES.schema.names).cast(JUDGE_VOTES.schema) for f in found if isinstance(f, pa.Table)]
        for one, its in zip(asked, votes, strict=True):
            _enough(benchmark.name, its, one.judge)
        if together:
            verdicts = aggregate(pa.concat_tables(votes), run.settings.judges.quorum)
            given = pa.table({"item_id": verdicts["pair_id"], "vote": verdicts["verdict"]})
        else:
            given = pa.table({"item_id": votes[0]["pair_id"], "vote": votes[0]["vote"]})
        parts.append(_rows(benchmark.name, judged(benchmark.name, benchmark.labelled, given)))
    return pa.concat_tables(parts)


def _enough(benchmark: str, votes: pa.Table, judge: Judge) -> None:
    """Raises BenchmarkError where none of a judge's answers can be used, or too many are missing."""
    ends = Counter(votes["status"].to_pylist())
    if ends and not ends["ok"]:
        listed = ", ".join(f"{n:,} {status}" for status, n in sorted(ends.items()))
        raise BenchmarkError(f"{benchmark}: {judge.name} gave no usable answer ({listed}), so it has no accuracy")
    if not judge.accept_missing and (why := incomplete(ends, f"{benchmark}: {judge.name}")):
        raise BenchmarkError(why)


def longer_answer(benchmarks: Iterable[Loaded]) -> pa.Table:
    """`BENCHMARK_SCORES` rows of what needs no model: the number of characters."""
    parts = []
    for b in benchmarks:
        length = pc.cast(pc.utf8_length(b.candidates["response"]), pa.float64())
        parts.append(_rows(b.name, b.candidates.select(["item_id", "candidate"]).append_column("reward", length)))
    return pa.concat_tables([BENCHMARK_SCORES.schema.empty_table(), *parts])


def read_scores(path: Path, benchmarks: Sequence[Loaded]) -> pa.Table:
    """`BENCHMARK_SCORES` rows from a file of scores made elsewhere; other benchmarks' rows are left out.

    Raises:
        BenchmarkError: a column is missing or is no number.
    """
    where = str(path).replace("'", "''")
    reader = f"read_parquet('{where}')" if path.suffix == ".parquet" else f"read_json('{where}')"
    names = [b.name for b in benchmarks]
    try:
        with duckdb.connect() as con:
            columns = con.sql(f"FROM {reader} LIMIT 0").columns
            truncated = "coalesce(truncated, false)" if "truncated" in columns else "false"
            table = con.sql(
                "SELECT benchmark::VARCHAR AS benchmark, item_id::VARCHAR AS item_id, candidate::BIGINT AS candidate, "
                f"reward::DOUBLE AS reward, NULL::VARCHAR AS unscored, {truncated} AS truncated FROM {reader}"
                " WHERE benchmark IN $names",
                params={"names": names},
            ).to_arrow_table()
    except duckdb.Error as e:
        raise BenchmarkError(f"{path}: {str(e).splitlines()[0]}") from e
    return table.cast(BENCHMARK_SCORES.schema)


def of(scores: pa.Table, benchmark: str) -> pa.Table:
    """(item_id, candidate, reward, truncated) of one benchmark."""
    return scores.filter(pc.equal(scores["benchmark"], benchmark)).select(REWARDS.names)


def _register(con: duckdb.DuckDBPyConnection, benchmarks: Sequence[Loaded]) -> None:
    """The view `candidates` over all benchmarks."""
    for number, b in enumerate(benchmarks):
        con.register(f"benchmark_{number}", b.candidates.append_column("benchmark", _constant(b.name, b.candidates)))
    con.execute(
        "CREATE TEMP VIEW candidates AS "
        + " UNION ALL ".join(f"SELECT * FROM benchmark_{n}" for n in range(len(benchmarks)))
    )


def _pairs(benchmark: Loaded) -> pa.Table:
    """The benchmark's pairs as judges read them; candidate 0 stands as `chosen`, whichever is right."""
    if set(benchmark.candidates["unit"].unique().to_pylist()) != {"pair"}:
        raise BenchmarkError(f"{benchmark.name}: judges are evaluated on pairs only")
    first, second = (benchmark.candidates.filter(pc.equal(benchmark.candidates["candidate"], c)) for c in (0, 1))
    texts = zip(*(t.to_pylist() for t in (first["conversation"], first["response"], second["response"])), strict=True)
    ids = pa.array([comparison_id(*three) for three in texts], pa.string())
    return pa.table(
        {
            "pair_id": first["item_id"],
            "comparison_id": ids,
            "conversation": first["conversation"],
            "chosen": first["response"],
            "rejected": second["response"],
        }
    )


def _downloaded(model: str) -> str:
    """The folder of a model of the Hugging Face hub."""
    from huggingface_hub import snapshot_download

    name, _, revision = model.partition("@")
    if not revision:
        raise BenchmarkError(f"pin the model: {hub.PREFIX}{name}@<commit>")
    try:
        return snapshot_download(name, revision=revision)
    except Exception as e:  # the hub raises errors of several packages
        raise BenchmarkError(f"{model}: {str(e).splitlines()[0]}") from e


def _rows(benchmark: str, rewards: pa.Table) -> pa.Table:
    columns = {
        "benchmark": _constant(benchmark, rewards),
        **{n: rewards[n] for n in ("item_id", "candidate", "reward")},
        "unscored": pa.nulls(rewards.num_rows, pa.string()),
        "truncated": pa.repeat(False, rewards.num_rows),
    }
    return pa.table(columns).cast(BENCHMARK_SCORES.schema)


def _constant(value: str, table: pa.Table) -> pa.Array:
    return pa.array([value] * table.num_rows, pa.string())
