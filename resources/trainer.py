"""Reward models for the assets: writes a job, runs the training program beside this process, reads the result; or, where
the configuration says so, fits a head on frozen layers here (see frozen_heads).

Inside a Dagster step the program speaks through Pipes; called plainly it writes to stderr. Either way a guard ends all
its ranks with this process. A model's id is the hash of everything it depends on: an id that was trained before is
read, not trained again, and a training that was interrupted goes on from its last checkpoint.
"""

import contextlib
import fcntl
import hashlib
import json
import multiprocessing
import os
import shlex
import shutil
import subprocess
import warnings
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import duckdb
import pyarrow as pa

from curation.tables import CONVERSATION, MODEL_FIELDS
from resources import frozen_heads
from resources.lake import digests
from resources.settings import Recipe, Training
from training import forkserver
from training.atomic import beside
from training.job import Facts, Job, ScoreJob, TrainJob, decisive
from training.launch import ROOT, command, environment, guarded, is_here

if TYPE_CHECKING:
    from resources.run import Run

VERSION = "1"  # raised by hand when the same data and recipe give another model
TEXTS = {"conversation": CONVERSATION}


class TrainerFailed(Exception):
    """A training program ended with an error; the message ends with the last lines that it wrote."""


def train(
    run: "Run",
    *,
    kind: Literal["loop", "gold", "final"],
    pairs: duckdb.DuckDBPyRelation,
    validation: duckdb.DuckDBPyRelation | None,
    recipe: Recipe,
    seed: int | None = None,
    head_alone: bool = False,
) -> dict:
    """Train a reward model, or read the one that was trained on the same pairs by the same recipe.

    Args:
        pairs: (pair_id, conversation, chosen, rejected[, weight][, target][, margin]), `chosen` being the better one.
            With `recipe.max_pairs`, a sample of that size drawn by hash.
        validation: (pair_id, conversation, chosen, rejected) that choose the checkpoint; None keeps the last one.
        seed: of the head and of the order of the pairs; default: the configuration's.
        head_alone: of a head on frozen layers keep no network beside it: such a model is read by this program alone.

    Returns:
        a row of MODEL_FIELDS.

    Raises:
        TrainerFailed: the program failed, or there is nothing to train or validate on.
    """
    training = run.settings.training
    seed = run.settings.seed if seed is None else seed
    frozen = training.head_of(kind) == "frozen"
    most = min(recipe.max_pairs or frozen_heads.MOST_PAIRS, frozen_heads.MOST_PAIRS) if frozen else recipe.max_pairs
    if frozen and kind == "gold" and validation is not None:  # there is no checkpoint to choose: all gold teaches
        columns = "pair_id, conversation, chosen, rejected"
        pairs, validation = pairs.select(columns).union(validation.select(columns)), None
    pairs = _sample(pairs, most, run.settings.seed)
    data_hash = _fingerprint(pairs, ("chosen", "rejected", "weight", "target", "margin"))
    checked = _fingerprint(validation, ("chosen", "rejected")) if validation is not None else None
    try:
        made_of = frozen_heads.decisive(training, kind) if frozen else decisive(training, recipe)
        recipe_hash = _hash(made_of, VERSION)
    except (FileNotFoundError, ValueError) as e:
        raise TrainerFailed(str(e)) from e
    model_id = _hash(data_hash, checked, recipe_hash, seed)
    folder = run.lake.folder("models") / model_id
    head_alone = head_alone and frozen and not (folder / "result.json").exists()
    if head_alone:
        folder = folder.with_name(_hash(model_id, "head alone"))
    facts = Facts(name=model_id, data_hash=data_hash, recipe_hash=recipe_hash)
    if there := (folder / "result.json").exists():
        _whole(str(folder / "model"))
        run.log(f"model {model_id} was trained before on the same pairs by the same recipe")
    elif frozen:
        folder.mkdir(exist_ok=True)
        try:
            frozen_heads.fit(training, kind, pairs, validation, seed, folder, facts.model_dump(), head_alone)
        except frozen_heads.NoHead as e:
            raise TrainerFailed(str(e)) from e
    else:
        folder.mkdir(exist_ok=True)
        job = TrainJob(
            **training.setup,
            train=folder / "train.parquet",
            validation=folder / "validation.parquet" if validation is not None else None,
            recipe=recipe,
            seed=seed,
            out=folder,
            facts=facts,
        )
        _write(pairs, job.train)
        if validation is not None and job.validation is not None:
            _write(validation, job.validation)
        if training.tokenizer_processes:
            here = {"ranks": training.tokenizer_processes, "nodes": 1, "rendezvous": None, "hostfile": None}
            _start(run, "training.prepare", folder, job, training.model_copy(update=here | {"launcher": "torchrun"}))
        _start(run, "training.train", folder, job)
        for path in filter(None, (job.train, job.validation)):
            path.unlink()
    if not there or not digests.sealed(folder):
        digests.seal(folder, "model", "result.json")
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    for note in result.get("notes", []):
        run.log(f"{kind} reward model: {note}")
    row = {"model_id": folder.name, "kind": kind, "path": f"models/{folder.name}/model", **facts.model_dump(), **result}
    return {f.name: row[f.name] for f in MODEL_FIELDS}


def score(run: "Run", models: Mapping[str, str], pairs: duckdb.DuckDBPyRelation) -> pa.Table:
    """Rewards of every pair by every model, in one start of the scoring program.

    Args:
        models: {name: path of an exported model}, as tables hold it or any other folder.
        pairs: (pair_id, conversation, chosen, rejected).

    Returns:
        (pair_id; r_chosen_<name>, r_rejected_<name>, unscored_<name> and spread_<name> for each name), sorted by pair_id.
        Rewards are null, and `unscored_<name>` says why, where that model cannot take the pair. The spread is the
        standard deviation of the margins of a head's ensemble, null for fine-tuned models.

    Raises:
        TrainerFailed: the program failed, or states are missing.
    """
    folders = {name: str(run.lake.model(path)) for name, path in models.items()}
    scored = {name: _from_states(path, pairs) for name, path in folders.items() if frozen_heads.is_frozen(path)}
    if rest := {name: path for name, path in folders.items() if name not in scored}:
        scored |= _score(run, rest, pairs, "pair_id", ("chosen", "rejected"))
    columns = {"pair_id": next(iter(scored.values()))["pair_id"]}
    for name, table in scored.items():
        columns |= {f"{c}_{name}": table[c] for c in ("r_chosen", "r_rejected", "unscored")}
        columns[f"spread_{name}"] = (
            table["spread"] if "spread" in table.schema.names else pa.nulls(len(table), pa.float64())
        )
    return pa.table(columns)


def _from_states(folder: str, pairs: duckdb.DuckDBPyRelation, features: bool = False) -> pa.Table:
    _whole(folder)
    try:
        return frozen_heads.score(folder, pairs, features)
    except frozen_heads.NoHead as e:
        raise TrainerFailed(str(e)) from e


def features(run: "Run", folder: str, pairs: duckdb.DuckDBPyRelation) -> pa.Table:
    """What the reward head of a model sees of every pair, for choosing what to label next.

    Args:
        folder: of an exported model.
        pairs: (pair_id, conversation, chosen, rejected).

    Returns:
        (pair_id, r_chosen, r_rejected, unscored, difference), sorted by pair_id; `difference` is the head's input
        for chosen less that for rejected, [H] float32.

    Raises:
        TrainerFailed: the program failed.
    """
    folder = str(run.lake.model(folder))
    if frozen_heads.is_frozen(folder):
        return _from_states(folder, pairs, features=True)
    return _score(run, {"model": folder}, pairs, "pair_id", ("chosen", "rejected"), features=True)["model"]


def score_items(run: "Run", folder: str, items: duckdb.DuckDBPyRelation, *, cut: bool) -> pa.Table:
    """Rewards of single responses, such as those of a benchmark.

    Args:
        folder: of an exported model.
        items: (item_id, conversation, response); equal conversations are computed once where the model can.
        cut: what is too long loses its beginning; otherwise it gets no reward.

    Returns:
        (item_id, reward, unscored, truncated), sorted by item_id.

    Raises:
        TrainerFailed: the program failed.
    """
    return _score(run, {"model": str(run.lake.model(folder))}, items, "item_id", ("response",), cut)["model"]


def _score(
    run: "Run",
    models: Mapping[str, str],
    items,
    key: str,
    responses: tuple[str, ...],
    cut: bool = False,
    features: bool = False,
) -> dict[str, pa.Table]:
    """Parts stand in a folder named by what they depend on, so that an interrupted pass goes on; then they go. Another
    process that wants the same waits for it."""
    training = run.settings.training
    for path in models.values():
        _whole(path)
    name = _hash(_fingerprint(items, responses, key), dict(models), training.max_tokens, cut, VERSION, features)
    folder = run.lake.folder("scores") / name
    job = ScoreJob(
        models={m: Path(path) for m, path in models.items()},
        items=folder / "items.parquet",
        out=folder,
        max_tokens=training.max_tokens,
        tokens_per_microbatch=training.tokens_per_microbatch,
        cut=cut,
        features=features,
    )
    rewards = [f"r_{c}" for c in responses] if key == "pair_id" else ["reward"]
    columns = [(key, pa.string()), *((r, pa.float64()) for r in rewards)]
    columns += [("unscored", pa.string()), ("truncated", pa.bool_())]
    columns += [("difference", pa.list_(pa.float32()))] if features else []
    schema = pa.schema(columns)
    import pyarrow.dataset as ds  # it imports pandas, which costs a step two seconds

    with _alone(folder, run.log):
        folder.mkdir(exist_ok=True)
        if not job.items.exists():
            _write(items, job.items, key)
        if items.limit(1).fetchall():
            _start(run, "training.score", folder, job)
        found = {m: sorted((folder / m).glob("part-*.parquet")) for m in models}
        tables = {m: ds.dataset(f, schema=schema).to_table() if f else schema.empty_table() for m, f in found.items()}
        shutil.rmtree(folder)
    return tables


@contextlib.contextmanager
def _alone(folder: Path, say: Callable[[str], object]) -> Generator[None]:
    """One process at a time works in a folder that goes when it is done; the others say that they wait, and begin anew."""
    path = folder.with_name(f"{folder.name}.lock")
    while True:
        with path.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say(f"waiting for another process that makes the scores of {folder.name}")
                fcntl.flock(lock, fcntl.LOCK_EX)
            if _stands_at(path, lock.fileno()):  # else it went with the folder of the one that was waited for
                try:
                    yield
                finally:
                    path.unlink()
                return


def _stands_at(path: Path, opened: int) -> bool:
    try:
        return os.path.samestat(os.fstat(opened), path.stat())
    except FileNotFoundError:
        return False


def _whole(model: str) -> None:
    """Refuse a model of the lake that is not what was exported.

    Raises:
        TrainerFailed: it is damaged.
    """
    if why := digests.checked_folder(Path(model).parent):
        raise TrainerFailed(f"{Path(model).parent} is damaged: {why}; `assay verify` says how it is made anew")


def _sample(pairs: duckdb.DuckDBPyRelation, size: int | None, seed: int) -> duckdb.DuckDBPyRelation:
    if size is None:
        return pairs
    return pairs.order(f"md5(pair_id || '{int(seed)}'), pair_id").limit(size)


def _write(rows: duckdb.DuckDBPyRelation, path: Path, key: str = "pair_id") -> None:
    """Sorted, so that equal rows give an equal order whatever the query did."""
    with beside(path) as new:
        rows.order(key).write_parquet(str(new), row_group_size=8192)
        new.replace(path)


def _fingerprint(rows: duckdb.DuckDBPyRelation, columns: tuple[str, ...], key: str = "pair_id") -> str:
    """32 hex digits over the rows' content, independent of their order: sums of each row's 128-bit hash.

    Conversations count through the key, which is a hash over them or stands for them.
    """
    present = [c for c in (key, "conversation", *columns) if c in rows.columns]
    # Lengths between the fields keep ('ab', 'c') and ('a', 'bc') apart.
    row = " || ".join(f"length(\"{c}\"::VARCHAR) || ':' || coalesce(\"{c}\"::VARCHAR, '∅')" for c in present)
    sums = rows.aggregate(
        f"count(*), sum(md5_number_lower({row})::HUGEINT), sum(md5_number_upper({row})::HUGEINT)"
    ).fetchall()
    return _hash(present, *map(str, sums[0]))


def _hash(*values) -> str:
    return hashlib.blake2b(json.dumps(values, sort_keys=True).encode(), digest_size=16).hexdigest()


def _start(run: "Run", module: str, folder: Path, job: Job, training: Training | None = None) -> None:
    """Run a program to its end, as the configuration or `training` says.

    Raises:
        TrainerFailed: it failed.
    """
    training = training or run.settings.training
    path = folder / "job.json"
    job.write(path)
    log = folder / "stderr.txt"
    env = environment(training.ranks)
    program = _command(training, module, path)
    alone = program[2] == module  # and nothing that starts it
    server = forkserver.address(env) if alone else None
    line = guarded(program, *_watched(), log=log, server=server)
    if training.nodes > 1 and training.launcher == "torchrun":
        if not is_here(head := str(training.rendezvous).rpartition(":")[0]):
            raise TrainerFailed(
                f"training.rendezvous names {head}, which is not this machine: rank 0 must be where Assay runs"
            )
        for node in range(1, training.nodes):
            there = shlex.join(["env", *(f"{k}={v}" for k, v in env.items()), *_command(training, module, path, node)])
            run.log(f"on machine {node}: cd {ROOT} && {there}")
    try:
        if run.context is None:
            subprocess.run(line, env={**os.environ, **env}, cwd=ROOT, check=True)
        else:
            import dagster as dg

            with warnings.catch_warnings():
                warnings.simplefilter("ignore", dg.PreviewWarning)  # Dagster's own, of a part of Pipes it uses itself
                # beside the job and not in a temporary folder: rank 0 may be on another machine
                reader = dg.PipesFileMessageReader(str(folder / "messages.jsonl"))
                client = dg.PipesSubprocessClient(message_reader=reader)
                client.run(context=run.context, command=line, env=env, cwd=str(ROOT))
    except Exception as e:
        tail = log.read_text(encoding="utf-8", errors="replace")[-3000:] if log.exists() else ""
        raise TrainerFailed(f"{module} failed ({e}); job {path}; its last lines:\n{tail}") from e
    log.unlink()


def _command(training: Training, module: str, job: Path, node: int = 0) -> list[str]:
    return command(
        module, job, training.ranks, training.launcher, training.nodes, training.rendezvous, training.hostfile, node
    )


def _watched() -> list[int]:
    """This process, and the run's process when Dagster gave the step one of its own."""
    parent = multiprocessing.parent_process()
    return [os.getpid()] + ([parent.pid] if parent and parent.pid else [])
