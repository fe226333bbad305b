"""How long it takes to hand pairs to people and to read their answers, at the desk and in files.

    python -m measurements.people_desk [--pairs 2000]

Pairs have texts of the length of `--words`. Label Studio's time is measured by the test of the real server:
`pytest -m slow -k two_thousand tests/annotators/test_label_studio_real.py`.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from curation.attributes import heuristic
from resources.annotators.backends import Waiting, backend
from resources.lake import Lake
from resources.settings import Settings


def batch(pairs: int, words: int) -> pa.Table:
    """Pairs whose texts have so many words each."""
    rows = []
    for n in range(pairs):
        conversation = [{"role": "user", "content": f"Question {n}: " + "why " * words}]
        texts = {"chosen": f"good {n} " + "because " * words, "rejected": f"bad {n} " + "since " * words}
        ids = {"pair_id": f"p{n}", "comparison_id": f"c{n}", "priority": 0}
        rows.append({**ids, "conversation": conversation, **texts, **heuristic(conversation)})
    return pa.Table.from_pylist(rows)


def answered(folder: Path) -> None:
    """What careful people write beside the batch."""
    with (folder / "batch.jsonl").open() as out, (folder / "answers.jsonl").open("w") as back:
        for item in map(json.loads, out):
            log = {"tools": ["search", "code"], "tool_log": ["search: what decides -> so it is", "code: f(1) -> 2"]}
            said = {"verdict": "candidate_1", "annotator": "ann", "acknowledged": True, "seconds": 30} | log
            back.write(json.dumps({"pair_id": item["pair_id"]} | said) + "\n")


@contextmanager
def timed(what: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    print(f"{what}: {time.perf_counter() - started:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--words", type=int, default=200)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        people = {"backend": "files", "folder": f"{place}/people", "overlap": 0}
        settings = Settings.model_validate(
            {"world": {}, "sources": [{"name": "s", "path": "s.jsonl"}], "people": people}
        )
        some = batch(asked.pairs, asked.words)
        labels = None
        for what in ("out", "answers back"):
            with timed(f"{asked.pairs:,} pairs, {what}"):
                try:
                    labels = backend(settings, Lake(f"{place}/lake")).label(some, "iter_00")
                except Waiting:
                    answered(Path(place) / "people/iter_00")
        print(f"{0 if labels is None else labels.num_rows:,} labels")


if __name__ == "__main__":
    main()
