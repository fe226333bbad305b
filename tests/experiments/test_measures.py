"""What arms are measured on beside benchmarks: people's labels outside the pool, and gold of the role test."""

import json

from curation import tables as t
from curation.identity import comparison_id, conv_id
from resources.benchmarks.measures import held_out
from resources.lake import Lake
from tests.support.lakes import put, settings


def test_people_s_labels_outside_the_pool_are_counted_whichever_way_round_they_stand(tmp_path):
    """Three of three prefer Oak; two of the three records have it second. One pair is in the pool, one is tied."""
    rows = [("Best tree?", "Oak", "Rock", 1), ("Best tree?", "Rock", "Oak", 2), ("Best tree?", "Rock", "Oak", 2),
            ("Best bird?", "Owl", "Shoe", 1), ("Best bird?", "Shoe", "Owl", 1),
            ("Best fish?", "Cod", "Lamp", 1)]  # fmt: skip
    lines = [json.dumps({"prompt": p, "a": a, "b": b, "winner": w}) for p, a, b, w in rows]
    (tmp_path / "answers.jsonl").write_text("\n".join(lines) + "\n")
    lake = Lake(str(tmp_path / "lake"))
    turns = [{"role": "user", "content": "Best fish?"}]
    name, conversation = comparison_id(turns, "Cod", "Lamp"), conv_id(turns)
    row = {
        "pair_id": "p",
        "conv_id": conversation,
        "comparison_id": name,
        "conversation": turns,
        "chosen": "Cod",
        "rejected": "Lamp",
    }
    put(lake, t.CLEAN_POOL, [row], "b00")
    answers = {"path": str(tmp_path / "answers.jsonl"), "shape": "winner", "codes": {"a": [1], "b": [2]},
               "fields": {"prompt": "prompt", "a": "a", "b": "b", "winner": "winner"}}  # fmt: skip
    found = held_out(settings(reference={"answers": [answers]}), lake)
    labels = [(r["response"], r["label"]) for r in found.candidates.to_pylist()]
    assert sorted(labels) == [("Oak", True), ("Rock", False)] and found.items == 1
