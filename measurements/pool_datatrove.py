"""What measurements/pool_speed.py runs in datatrove's own environment; it knows nothing of this project.

    python measurements/pool_datatrove.py signatures|duplicates|filter|filter-gzip|filter-parquet|decontaminate FOLDER

FOLDER holds pairs-*.jsonl (id, history, prompt, chosen, rejected), and for decontaminate texts.jsonl (id, text) and
prompts.jsonl (text). Prints the documents that stay, or nothing.
"""

import json
import sys
from pathlib import Path

import numpy as np
from datatrove.pipeline.decont.n_grams import NGramsDecontConfig, NGramsDecontFilter
from datatrove.pipeline.dedup.exact_dedup import (
    ExactDedupConfig,
    ExactDedupFilter,
    ExactDedupSignature,
    ExactFindDedups,
)
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter, ParquetWriter
from datatrove.utils.text import TextNormConfig, ngrams, simplify_text


def run(*steps) -> None:
    """Run steps one after another in this process, as datatrove's local executor does for one task."""
    data = None
    for step in steps:
        data = step(data, 0, 1) if callable(step) else step.run(data, 0, 1)
    if data is not None:
        for _ in data:
            pass


def content(doc) -> str:
    """The texts of a pair and their borders."""
    row = doc.metadata
    return "\0".join((*(text for said in row["history"] for text in said), doc.text, row["chosen"], row["rejected"]))


def dedup(stage: str, folder: Path) -> Path:
    """One of the three stages of its exact deduplication."""
    config = ExactDedupConfig(content_getter=content)
    signatures, found, kept = str(folder / "signatures"), str(folder / "duplicates"), folder / "kept"
    reader = JsonlReader(str(folder), glob_pattern="pairs-*.jsonl", text_key="prompt")
    match stage:
        case "signatures":
            run(reader, ExactDedupSignature(signatures, config))
        case "duplicates":
            run(ExactFindDedups(signatures, found, config))
        case "filter":
            run(reader, ExactDedupFilter(found, config), JsonlWriter(str(kept), compression=None))
        case "filter-gzip":  # as its writer does where nothing is said
            run(reader, ExactDedupFilter(found, config), JsonlWriter(str(folder / "kept-gzip")))
        case "filter-parquet":  # what Assay writes
            out = ParquetWriter(str(folder / "kept-parquet"), compression="zstd", adapter=_pair)
            run(reader, ExactDedupFilter(found, config), out)
    return kept


def _pair(_writer, doc) -> dict:
    """A row; without the count of copies, which is not the same type in every row."""
    return {"id": doc.id, "prompt": doc.text} | {c: doc.metadata[c] for c in ("history", "chosen", "rejected")}


def decontaminate(folder: Path) -> Path:
    """Its n-gram filter; the index is written by hand because its indexer insists on another package."""
    norm = TextNormConfig(norm_numbers=False)
    config = NGramsDecontConfig(n_grams=13, norm_config=norm)
    index = folder / "index"
    index.mkdir(exist_ok=True)
    step = NGramsDecontFilter(str(index), config)
    hashes = set()
    with open(folder / "prompts.jsonl", encoding="utf-8") as f:
        for line in f:
            words = step.tokenizer.word_tokenize(simplify_text(json.loads(line)["text"], norm))
            hashes.update(step.hash_func(" ".join(g)) for g in ngrams(words, 13))
    np.array(sorted(hashes), dtype=config.hash_config.np_descr).tofile(index / "prompts.index.hashes")
    kept = folder / "clean"
    run(JsonlReader(str(folder), glob_pattern="texts.jsonl"), step, JsonlWriter(str(kept), compression=None))
    return kept


if __name__ == "__main__":
    task, place = sys.argv[1], Path(sys.argv[2])
    kept = decontaminate(place) if task == "decontaminate" else dedup(task, place)
    print(sum(path.read_bytes().count(b"\n") for path in kept.rglob("*.jsonl")) or "")
