"""What decontamination finds and what it misses, on texts labelled by hand; through the assets."""

from collections import Counter

import pyarrow as pa
import pytest

from curation.tables import BENCHMARK_PROMPTS
from tests.pool.test_pool import make
from tests.support.contamination_set import CASES, PROMPTS
from tests.support.lakes import query


@pytest.fixture
def benchmark(monkeypatch):
    rows = [{"benchmark": "hand", "item_id": k, "prompt": v} for k, v in PROMPTS.items()]
    table = pa.Table.from_pylist(rows, BENCHMARK_PROMPTS.schema)
    monkeypatch.setattr("resources.benchmarks.loader.prompts", lambda benchmark, lake: table)


def test_precision_and_recall_on_the_labelled_set(tmp_path, benchmark):
    records = []
    for i, (_, _, turns) in enumerate(CASES):
        said = [{"role": "user", "content": turns[0]}]
        for turn in turns[1:]:
            said += [{"role": "assistant", "content": "Go on."}, {"role": "user", "content": turn}]
        records.append({"prompt": said, "chosen": f"yes {i}", "rejected": "no"})
    lake = make(tmp_path, {"set": records})
    flagged = {row for (row,) in query(lake, "SELECT row FROM contaminated JOIN deduped USING (pair_id)")}
    found, kinds = Counter(), Counter()
    for row, (kind, _, _) in enumerate(CASES, start=1):
        kinds[kind] += 1
        found[kind] += row in flagged
    assert {k: (found[k], n) for k, n in kinds.items()} == {
        # the item as it is, however it is spelt or wrapped
        "verbatim": (10, 10), "case": (10, 10), "second turn": (10, 10), "embedded": (7, 7), "punctuation": (7, 7),
        "white space": (7, 7), "unicode: decomposed": (7, 7), "unicode: full width": (7, 7),
        "unicode: invisible": (7, 7), "beginning": (4, 4), "one word changed": (4, 4),
        # the item in other words: shares no thirteen in a row
        "every tenth word changed": (0, 4), "short, words added": (0, 2), "paraphrase": (0, 5), "translated": (0, 2),
        # not the item
        "twelve words": (0, 4), "same topic": (0, 8), "shared with everybody": (2, 2),
    }  # fmt: skip
    right = sum(label for row, (_, label, _) in enumerate(CASES, start=1) if row in flagged)
    wanted = sum(label for _, label, _ in CASES)
    assert (right, len(flagged), wanted) == (80, 82, 93)  # precision 97.6 %, recall 86.0 %
