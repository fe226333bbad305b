"""What a running training or scoring has written says how far it is."""

import json

import pyarrow as pa
import pyarrow.parquet as pq

from cli.progress import under_way


def put(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def rows(path, n):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"x": range(n)}), path)


def test_steps_of_a_training_and_parts_of_a_scoring(tmp_path):
    model, score = tmp_path / "models" / "0123456789", tmp_path / "scores" / "ab"
    job = {"train": str(model / "train.parquet"), "recipe": {"epochs": 4, "global_batch_size": 16}}
    rows(model / "train.parquet", 40)
    put(model / "job.json", job)
    assert list(under_way(tmp_path)) == [("training 01234567", 0, 10)]
    (model / "metrics.jsonl").write_text('{"step": 1}\n{"step": 7}\n')
    rows(score / "items.parquet", 5000)
    rows(score / "best" / "part-0.parquet", 1)
    put(
        score / "job.json",
        {"items": str(score / "items.parquet"), "part_rows": 2048, "models": {"best": "x", "gold": "y"}},
    )
    assert list(under_way(tmp_path)) == [("training 01234567", 7, 10), ("scoring ab", 1, 6)]
    put(model / "result.json", {})
    assert list(under_way(tmp_path)) == [("scoring ab", 1, 6)]


def test_what_is_half_written_is_not_counted(tmp_path):
    put(tmp_path / "models" / "a" / "job.json", {"train": "gone.parquet", "recipe": {"epochs": 1, "batch_pairs": 1}})
    (tmp_path / "scores" / "b").mkdir(parents=True)
    (tmp_path / "scores" / "b" / "job.json").write_text('{"ite')
    assert list(under_way(tmp_path)) == []
