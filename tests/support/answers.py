"""Answers of people as a form would hold them, and the pairs they are about."""

import json
from pathlib import Path

import pyarrow as pa

from curation.identity import comparison_id, conv_id

ABOUT = {
    "category": "math",
    "objectivity": "objective",
    "controversiality": "low",
    "desired": "a prime",
    "guideline": "check it",
    "priority": 0,
}
FREE = {"require": [], "overlap": 0}  # settings of people under which a verdict and a name are enough


def pair(name: str, chosen: str, rejected: str, asked: str = "Name a prime above 10.", **about) -> dict:
    """A pair as the steps hand it to people."""
    conversation = [{"role": "user", "content": asked}]
    return {
        "pair_id": name,
        "comparison_id": comparison_id(conv_id([("user", asked)]), chosen, rejected),
        "conversation": conversation,
        "chosen": chosen,
        "rejected": rejected,
        **ABOUT,
        **about,
    }


def batch(n: int = 40, **about) -> pa.Table:
    """Pairs whose chosen response says 'good' and whose rejected one says 'bad'."""
    return pa.Table.from_pylist([pair(f"p{i:02d}", f"{11 + i} good", f"{10 + i} bad", **about) for i in range(n)])


def truly(item: dict, annotator: str = "ann", **more) -> dict:
    """A whole answer to an exported item, as a careful person would find it: the candidate that says 'good'."""
    return {
        "pair_id": item["pair_id"],
        "verdict": "candidate_1" if "good" in item["candidate_1"] else "candidate_2",
        "annotator": annotator,
        "acknowledged": True,
        "tools": ["none"],
        "seconds": 31.5,
    } | more


def exported(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "batch.jsonl").read_text().splitlines()]


def write(folder: Path, rows: list[dict]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "answers.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
