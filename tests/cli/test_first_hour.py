"""README's own lines, on a file, up to the first batch for people: no judge, no key, no model for attributes."""

import gzip
import json
import re
from pathlib import Path

import pytest

from cli.main import main
from resources.settings import load
from tests.support.places import ROOT

NAMES = ("tide", "heron", "beam", "kiln", "moss", "cello", "quill", "dune", "flint", "wharf", "ember", "loom")


def block(kind: str) -> str:
    """The first fenced block of a kind in README's section on a user's own data."""
    section = (ROOT / "README.md").read_text().split("## Your own data")[1].split("\n## ")[0]
    return re.search(rf"```{kind}\n(.*?)```", section, re.DOTALL)[1]


def pairs(n: int) -> str:
    """Records with the fields and codes of README's example."""
    rows = []
    for i in range(n):
        topic = f"the {NAMES[i % 12]} and the {NAMES[i // 12 % 12]} in case {i}"
        code = (1, 2, 2, 0, "x")[i % 5]
        answers = {
            "output_1": f"It has {i} parts, all of them old.",
            "output_2": f"Nobody knows, they say, number {i}.",
        }
        rows.append({"instruction": f"Describe {topic}.", **answers, "preference": code})
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with README's configuration and the file that it names."""
    for name in ("DAGSTER_HOME", "ASSAY_CONFIG", "ASSAY_SET", "OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, "")  # so that what the command sets is taken back
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(block("toml"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "pairs.jsonl.gz").write_bytes(gzip.compress(pairs(100).encode()))
    return tmp_path


def test_readmes_lines_run_until_people_are_waited_for(folder, capfd):
    assert main(["check", "--config", "mine.toml"]) == 0
    assert "60 pairs from 100 rows" in capfd.readouterr().out
    assert main(["run", "--jobs", "1", "--config", "mine.toml", "lake.buckets=1"]) == 0
    out = capfd.readouterr().out
    batch = folder / "people" / "mine" / "iter_00" / "batch.jsonl"
    asked = [json.loads(line) for line in batch.read_text().splitlines()]
    assert len(asked) == 60 and all(a["candidate_1"] and a["candidate_2"] for a in asked)
    assert "Waiting for people." in out and re.search(rf"{re.escape(str(batch))}: (\d+) of \1 answers are missing", out)
    assert "Note: no judge is configured" in out and "gives 60 of the 200 that the seed asks for" in out
    assert main(["status", "--config", "mine.toml", "lake.buckets=1"]) == 0
    assert "60 of them still pending" in " ".join(capfd.readouterr().out.split())


def test_stage_0_alone_needs_sources_and_nothing_else(folder, capfd):
    source = block("toml").split("[people]")[0].replace('stage = "seed"', "")
    (folder / "pool.toml").write_text("\n".join(line for line in source.splitlines() if "license" not in line))
    changes = ["lake.buckets=2", 'training.backbone.path="package:not_there"']

    def listed() -> list[str]:
        assert main(["run", "pool", "--list-stale", "--config", "pool.toml", *changes]) == 0
        return capfd.readouterr().out.splitlines()

    assert (first := listed()) and not any("deduped" in line for line in first), "what it rests on is not there"
    assert main(["run", "pool", "--jobs", "2", "--config", "pool.toml", *changes]) == 0
    assert 'no source has stage = "seed": the seed is drawn from mine' in capfd.readouterr().out
    assert listed() == []
    assert main(["run", "pool", "--jobs", "1", "--config", "pool.toml", *changes, "lake.path=alone"]) == 0
    side_by_side, alone = (
        {p.relative_to(folder / name): p for p in (folder / name).rglob("*.parquet")} for name in ("lake", "alone")
    )
    assert len(alone) > 10 and {p: f.read_bytes() for p, f in alone.items()} == {
        p: f.read_bytes() for p, f in side_by_side.items()
    }
    side_by_side[Path("deduped/bucket=b01/data.parquet")].unlink()
    capfd.readouterr()
    [line] = listed()
    assert line.startswith("deduped,duplicates") and line.endswith("\tb01")
    assert main(["run", "--config", "pool.toml", *changes]) == 2  # what trains wants its backbone first
    assert "the package not_there is not installed" in capfd.readouterr().err


def test_two_configurations_in_one_folder_do_not_ask_people_in_one_place(folder):
    (folder / "other.toml").write_text(block("toml"))
    one, two = (load(folder / f"{name}.toml") for name in ("mine", "other"))
    assert one.people.folder == folder / "people" / "mine" and two.people.folder == folder / "people" / "other"
    assert one.section_hash("sources") == two.section_hash("sources")


def test_what_init_writes_is_checked_and_run_as_it_is(folder, capfd):
    assert main(["init", "data/pairs.jsonl.gz"]) == 0
    shown = capfd.readouterr().out
    assert "shape winner: prompt = instruction" in shown and shown.count("chosen  ") == 3
    made = load(folder / "assay.toml")
    assert made.sources[0].codes == {"a": [1], "b": [2], "tie": [0], "none": ["x"]}
    assert made.people.backend == "files" and not made.judges.judges and made.training.backbone.name == "minilm"
    assert main(["check"]) == 0
    assert main(["run", "--dry-run"]) == 0
    assert not (folder / "lake").exists()
    assert main(["init", "data/pairs.jsonl.gz"]) == 2  # what is there is not replaced
    assert "assay.toml is there" in capfd.readouterr().err


def test_init_reads_a_folder_that_is_a_data_set(folder, capfd):
    pytest.importorskip("datasets")
    (folder / "set").mkdir()
    (folder / "set" / "train.jsonl").write_text(pairs(40))
    assert main(["init", "set", "--out", "set.toml"]) == 0
    assert load(folder / "set.toml").sources[0].fields["winner"] == "preference"


def test_init_of_what_holds_no_pair_says_what_it_saw(folder, capfd):
    (folder / "x.jsonl").write_text('{"question": "Why?", "category": "generic"}\n' * 3)
    assert main(["init", "x.jsonl", "gone.jsonl", "--out", "x.toml"]) == 2
    shown = capfd.readouterr()
    assert "no reading gives pairs; its keys: question, category" in shown.out and "gone.jsonl" in shown.out
    assert not (folder / "x.toml").exists()
