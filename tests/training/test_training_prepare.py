"""Pairs become tokens in parts, by all ranks, each part once."""

import json
import os
import shutil
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from tests.support import slurm
from tests.support.tiny_backbones import tiny_backbone
from tests.support.training_jobs import job, metrics, pairs, table
from training import prepare
from training.job import Backbone
from training.launch import ROOT, command, environment, guarded
from training.model import backbone_tokenizer, new_model
from training.prepare import parts_of, prepare_tokens, read_pairs, tokenizer_for
from training.processes import ProcessGroup
from training.tokens import DamagedTokens
from training.train import train


@pytest.mark.slow
def test_a_rank_that_is_slower_than_the_time_out_loses_nothing(tmp_path):
    """What is made stays: a second start makes the missing part only."""
    j = job(tmp_path, table(pairs(70)), table(pairs(12, seed=1)))
    j.write(tmp_path / "job.json")
    line = guarded(command("tests.support.slow_tokens", tmp_path / "job.json", 2))
    done = subprocess.run(line, cwd=ROOT, env={**os.environ, **environment(2)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    said = [json.loads((j.out / f"rank-{rank}.json").read_text()) for rank in range(2)]
    assert [s["pairs"] for s in said] == [[140.0], [140.0]]
    parts = [f"train-shared/part-{i:05d}.arrow" for i in range(5)] + ["validation-shared/part-00000.arrow"]
    assert [s["made"] for s in said] == [parts[0::2], parts[1::2]]


def test_parts_are_the_whole_in_order_and_none_is_made_twice(tmp_path, monkeypatch):
    rows = pairs(70)
    rows[20] |= {"chosen": rows[20]["rejected"]}
    rows[40] |= {"chosen": "word " * 400}
    j = job(tmp_path, table(rows))
    group = ProcessGroup()
    tokenizer = tokenizer_for(j, group)
    whole = prepare_tokens(j, tokenizer, group, True)
    assert whole.dropped == {"train": {"identical": 1, "over_length": 1}}
    monkeypatch.setattr(prepare, "PART_ROWS", 16)
    parted = j.model_copy(update={"out": tmp_path / "parted"})
    found = prepare_tokens(parted, tokenizer, group, True)
    folder = parted.out / "tokens" / "train-shared"
    assert [p.name for p in sorted(folder.iterdir())] == [f"part-{i:05d}.arrow" for i in range(5)]
    assert found.dropped == whole.dropped
    assert found.train.ids == whole.train.ids == [r["pair_id"] for i, r in enumerate(rows) if i not in (20, 40)]
    assert found.train.rows.tolist() == whole.train.rows.tolist() == [i for i in range(70) if i not in (20, 40)]
    assert found.train.lengths.tolist() == whole.train.lengths.tolist()
    (folder / "part-00002.arrow").unlink()
    before = {p.name: p.stat().st_mtime_ns for p in folder.iterdir()}
    again = prepare_tokens(parted, tokenizer, group, True)
    assert again.train.ids == found.train.ids
    assert {p.name: p.stat().st_mtime_ns for p in folder.iterdir() if p.name in before} == before


@pytest.mark.parametrize("harm", [lambda b: b[:500], lambda b: b"", lambda b: b"x" * len(b), lambda b: b"{"])
@pytest.mark.parametrize("name", ["train-shared/part-00000.arrow", "tokenizer/tokenizer.json"])
def test_a_damaged_file_of_tokens_is_named_with_the_way_to_make_it_anew(tmp_path, name, harm):
    j = job(tmp_path, table(pairs(12)))

    def made() -> list[str]:
        return prepare_tokens(j, tokenizer_for(j, ProcessGroup()), ProcessGroup(), True).train.ids

    before, file = made(), j.out / "tokens" / name
    file.write_bytes(harm(file.read_bytes()))
    with pytest.raises(DamagedTokens, match=r"tokens/\S+ is damaged \(.*; remove \S+ to make ") as e:
        made()
    shutil.rmtree(str(e.value).split("; remove ")[1].split(" to make ")[0])
    assert made() == before


def test_parts_follow_row_groups_and_cover_every_row(tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "PART_ROWS", 10)
    rows = pairs(57)
    pq.write_table(table(rows), tmp_path / "t.parquet", row_group_size=23)
    parts = parts_of(tmp_path / "t.parquet")
    assert [(p.row_group, p.first_row, p.rows) for p in parts] == [
        (0, 0, 10), (0, 10, 10), (0, 20, 3), (1, 23, 10), (1, 33, 10), (1, 43, 3), (2, 46, 10), (2, 56, 1)
    ]  # fmt: skip
    read = [row for part in parts for row in read_pairs(tmp_path / "t.parquet", part)]
    assert read == list(read_pairs(tmp_path / "t.parquet")) and len(read) == 57


@pytest.mark.parametrize(("kind", "layout"), [("qwen3", "shared"), ("bert", "whole")])
def test_the_program_makes_before_training_what_training_reads(tmp_path, kind, layout):
    folder = tiny_backbone(kind, tmp_path / kind, ["word one two three"] * 20)
    j = job(tmp_path, table(pairs(8)), max_tokens=128).model_copy(update={"backbone": Backbone(path=str(folder))})
    prepare.prepare(j)
    assert [p.name for p in (j.out / "tokens").iterdir()] == [f"train-{layout}"]
    assert new_model(j.backbone, backbone_tokenizer(folder), 128, 0).packed == (layout == "shared")


@pytest.mark.slow
@pytest.mark.parametrize("nodes", [1, 2])
def test_slurm_starts_a_rank_a_task(tmp_path, nodes):
    j = job(tmp_path, table(pairs(20)), table(pairs(12, seed=1)))
    j.write(tmp_path / "job.json")
    line = guarded(command("training.prepare", tmp_path / "job.json", 2 // nodes, "slurm", nodes))
    env = slurm.installed(tmp_path / "bin", sys.executable) | environment(2)
    done = subprocess.run(line, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(list((j.out / "tokens").rglob("part-00000.arrow"))) == 2


@pytest.mark.slow
def test_slurm_trains_on_two_machines_what_one_trains(tmp_path):
    j = job(tmp_path, table(pairs(70)), table(pairs(12, seed=1)), out="one")
    alone = train(j)
    two = j.model_copy(update={"out": tmp_path / "two"})
    two.write(tmp_path / "job.json")
    line = guarded(command("training.train", tmp_path / "job.json", 1, "slurm", 2))
    env = slurm.installed(tmp_path / "bin", sys.executable) | environment(2)
    done = subprocess.run(line, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert [m["loss"] for m in metrics(two)] == pytest.approx([m["loss"] for m in metrics(j)], abs=1e-5)
    result = json.loads((two.out / "result.json").read_text())
    assert result["validation_accuracy"] == alone["validation_accuracy"] and "ranks: 2" in result["hardware"]
