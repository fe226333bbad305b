"""Scores pairs, or responses, with one or several exported reward models in one start.

    python -m training.score JOB.json
    torchrun --nproc_per_node R -m training.score JOB.json

JOB.json is a `ScoreJob` (see job).

Out come ``<name>/part-00000.parquet``…, in the order of the items: (pair_id, r_chosen, r_rejected, unscored, truncated)
or (item_id, reward, unscored, truncated). What is too long has no reward (`unscored` is `over_length`) or, with `cut`,
loses its beginning (`truncated`); what the chat template refuses has none (`refused_by_template`). With `features`,
pairs also get `difference`, what the reward head is given for chosen less what it is given for rejected. A part appears
whole or not at all and is never made twice; another start goes on with the missing ones. Parts are dealt to the ranks
in turn.
"""

import json
import sys
import time
from collections.abc import Hashable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from training.atomic import beside
from training.job import ScoreJob
from training.model import RewardModel, load_model
from training.plan import scoring
from training.processes import ProcessGroup, open_progress, run_program
from training.render import RenderError, encode, render, shared_prefix
from training.style import NAMES, styles
from training.tokens import TokenTable, write

OVER_LENGTH, REFUSED = "over_length", "refused_by_template"
FORMS = {
    "pairs": ("pair_id", ("chosen", "rejected"), ("r_chosen", "r_rejected")),
    "items": ("item_id", ("response",), ("reward",)),
}


def score(
    model: RewardModel,
    conversations: Sequence[Sequence[dict]],
    responses: Sequence[str],
    *,
    max_tokens: int,
    budget: int,
    keys: Sequence[Hashable] | None = None,
    names: Sequence[str] | None = None,
    cut: bool = False,
    features: bool = False,
    refused: dict[int, RenderError] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Rewards of responses, computing equal sequences and shared prompts once.

    Args:
        conversations, responses: one of each a reward.
        max_tokens: longer sequences are refused, or cut.
        budget: tokens a micro-batch.
        keys: responses with equal keys have the same conversation (default: none is known to).
        names: what an error calls a response.
        cut: keep the end of what is too long, behind its first token.
        features: what the reward head is given, instead of the reward it makes of it.
        refused: takes the places of conversations that do not fit the template, which get no reward; without it, the
            first one is raised.

    Returns:
        rewards: [n] float64, or [n, H] float32 features; NaN where there is none.
        long: [n] bool, whether the sequence was longer than `max_tokens`.

    Raises:
        RenderError: a conversation does not fit the template, and `refused` is not given.
    """
    keys = keys or range(len(responses))
    names = names or [str(i) for i in range(len(responses))]
    texts = {}
    for i, (conversation, response, name) in enumerate(zip(conversations, responses, names, strict=True)):
        try:
            texts[i] = render(model.tokenizer, conversation, response, name, model.foreign)
        except RenderError as e:
            if refused is None:
                raise
            refused[i] = e
    unique: dict[bytes, int] = {}
    sequences, members = [], {}
    place, long = np.full(len(names), -1), np.zeros(len(names), bool)
    for i, s in zip(texts, encode(model.tokenizer, list(texts.values())), strict=True):
        long[i] = len(s) > max_tokens
        if long[i] and cut:
            s = np.concatenate([s[:1], s[len(s) - max_tokens + 1 :]])  # the first is BOS or CLS
        if len(s) <= max_tokens:
            place[i] = unique.setdefault(s.tobytes(), len(unique))
            if place[i] == len(sequences):
                sequences.append(s)
                members.setdefault(keys[i] if model.packed else i, []).append(int(place[i]))
    groups = []
    for same in members.values():
        prefix = shared_prefix([sequences[i] for i in same])
        held, room = [], 0
        for i in same:  # as many responses share a prefix as fit into a micro-batch with it
            tail = len(sequences[i]) - prefix
            if tail > room:
                held, room = [], budget - prefix
                groups.append(held)
            held.append(i)
            room -= tail
    sink = pa.BufferOutputStream()
    write(((str(n), n, [sequences[i] for i in g]) for n, g in enumerate(groups)), sink, model.packed)
    tokens = TokenTable(sink.getvalue())
    shape, kind = ((model.head().in_features,), np.float32) if features else ((), np.float64)
    rewards = np.full((len(sequences) + 1, *shape), np.nan, kind)  # the last place is for what has no reward
    compute = model.features if features else model
    device = next(model.parameters()).device
    with torch.inference_mode():
        for micro in scoring(tokens.lengths, budget, model.packed):
            batch = model.collate(tokens, micro, device)
            rewards[[i for g in batch.groups for i in groups[g]]] = compute(batch).double().cpu().numpy()
    found = rewards[place]
    return found if features else found + _style(model, conversations, responses), long


def _style(model: RewardModel, conversations: Sequence[Sequence[dict]], responses: Sequence[str]) -> np.ndarray:
    """The part of rewards [n] that a model's style features make; 0 where it reads none."""
    if not model.style:
        return np.zeros(len(responses))
    weights = np.zeros(len(NAMES))
    for name, weight in model.style.items():
        weights[NAMES.index(name)] = weight
    prompts = [c[-1]["content"] if c else "" for c in conversations]
    return styles(responses, prompts) @ weights


def score_table(
    model: RewardModel,
    table: pa.RecordBatch,
    max_tokens: int,
    budget: int,
    cut: bool = False,
    features: bool = False,
) -> pa.Table:
    """Rewards of a batch of pairs or responses (see the module), in its order."""
    key, columns, outputs = FORMS["pairs" if "pair_id" in table.schema.names else "items"]
    ids, conversations = table[key].to_pylist(), table["conversation"].to_pylist()
    n = len(columns)
    responses = [r for row in zip(*(table[c].to_pylist() for c in columns), strict=True) for r in row]
    by_text = [json.dumps(c) for c in conversations]
    refused: dict[int, RenderError] = {}
    found, long = score(
        model,
        [c for c in conversations for _ in range(n)],
        responses,
        max_tokens=max_tokens,
        budget=budget,
        keys=[k for k in by_text for _ in range(n)],
        names=[f"pair {i}" if n > 1 else f"item {i}" for i in ids for _ in range(n)],
        cut=cut,
        features=features,
        refused=refused,
    )
    more = {}
    if features:
        each = found.reshape(-1, n, found.shape[1])
        more["difference"] = pa.array(list(each[:, 0] - each[:, 1]), pa.list_(pa.float32()))
        head = model.head()
        found = found.astype(np.float64) @ head.weight[0].detach().double().cpu().numpy()
        found += 0.0 if head.bias is None else head.bias.item()
        found += _style(model, [c for c in conversations for _ in range(n)], responses)
    rewards, long = found.reshape(-1, n), long.reshape(-1, n).any(axis=1)
    rewards[np.isnan(rewards).any(axis=1)] = np.nan
    unscored = [OVER_LENGTH if bad else None for bad in np.isnan(rewards[:, 0])]
    for i in refused:
        unscored[i // n] = REFUSED
    scored = {o: pa.array(rewards[:, i], from_pandas=True) for i, o in enumerate(outputs)}
    columns = {
        key: pa.array(ids, pa.string()),
        **scored,
        "unscored": pa.array(unscored, pa.string()),
        "truncated": pa.array(long & cut),
    }
    return pa.table(columns | more)


def limit_of(folder: Path, model: RewardModel, max_tokens: int | None = None) -> tuple[int, str | None]:
    """How many tokens a reward model scores at the most, and a note where that is neither what was asked for nor what
    its training said.

    Raises:
        ValueError: nothing says it.
    """
    if max_tokens is not None and max_tokens < 1:
        raise ValueError(f"max_tokens is {max_tokens}; at least one token is needed")
    path = folder / "reward.json"
    said = json.loads(path.read_text(encoding="utf-8")).get("max_tokens") if path.exists() else None
    limit = max_tokens or said
    if limit is not None:
        if not model.foreign or model.positions is None or limit <= model.positions:
            return limit, None
        return model.positions, f"{folder}: at most {model.positions:,} tokens, all it has positions for, not {limit:,}"
    if model.longest is None:
        raise ValueError(
            f"{folder}: neither reward.json nor the model says how long its inputs may be; give max_tokens"
        )
    return model.longest, f"{folder}: at most {model.longest:,} tokens, its own limit, as there is no reward.json"


def run(job: ScoreJob, group: ProcessGroup | None = None) -> None:
    """Score whatever parts of a job are missing.

    Raises:
        FileNotFoundError: a file or a model is not there.
        ValueError: the items have neither form, or a folder holds no reward model.
    """
    group = group or ProcessGroup()
    items = pq.ParquetFile(job.items)
    names = items.schema_arrow.names
    form = FORMS["pairs" if "pair_id" in names else "items"]
    if job.features and form is FORMS["items"]:
        raise ValueError(f"{job.items}: features are differences, and these are no pairs")
    if missing := {form[0], "conversation", *form[1]} - set(names):
        raise ValueError(f"{job.items}: columns {sorted(missing)} are missing; found {names}")
    parts = -(-items.metadata.num_rows // job.part_rows)
    with open_progress(group) as progress:
        for name, folder in job.models.items():
            paths = [job.out / name / f"part-{i:05d}.parquet" for i in range(parts)]
            todo = {i for i in range(group.rank, parts, group.size) if not paths[i].exists()}
            if not todo:
                continue
            began, done = time.monotonic(), 0
            model = load_model(folder).to(group.device)
            limit, note = limit_of(folder, model, job.max_tokens)
            if note:
                progress.report(note)
            if group.device.type == "cuda":
                model.bfloat16()
            batches = items.iter_batches(job.part_rows, columns=[form[0], "conversation", *form[1]])
            for i, batch in enumerate(batches):
                if i in todo:
                    table = score_table(model, batch, limit, job.tokens_per_microbatch, job.cut, job.features)
                    with beside(paths[i]) as new:
                        pq.write_table(table, new)
                        new.replace(paths[i])
                    done += len(table)
                    rate = done / (time.monotonic() - began)
                    progress.report(f"{name}: {done} rows scored, {rate:.0f} a second", now=i == max(todo))


def main() -> int:
    return run_program("training.score", (__doc__ or "").splitlines()[0], ScoreJob, run)


if __name__ == "__main__":
    sys.exit(main())
