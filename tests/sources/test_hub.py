"""Data sets of Hugging Face as sources: folders that the package `datasets` wrote and reads, and pins for the hub."""

import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from resources.lake import Lake
from resources.settings import Answers, Source
from resources.sources.files import BadFile
from resources.sources.reader import fingerprint, read_answers
from tests.sources.test_reader import read, texts

datasets = pytest.importorskip("datasets")

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MESSAGES = [
    {"chosen": [{"role": "user", "content": f"Q{i}"}, {"role": "assistant", "content": "good"}],
     "rejected": [{"role": "user", "content": f"Q{i}"}, {"role": "assistant", "content": f"bad {i}"}], "label": i % 2}
    for i in range(2_500)
]  # fmt: skip


@pytest.fixture
def saved(tmp_path):
    """`save_to_disk` of two splits."""
    features = datasets.Features(
        {
            "chosen": [{"role": datasets.Value("string"), "content": datasets.Value("string")}],
            "rejected": [{"role": datasets.Value("string"), "content": datasets.Value("string")}],
            "label": datasets.ClassLabel(names=["no", "yes"]),
        }
    )
    train = datasets.Dataset.from_list(MESSAGES, features=features)
    datasets.DatasetDict(train=train, test=train.select(range(3))).save_to_disk(tmp_path / "saved")
    return tmp_path / "saved"


@pytest.fixture
def repository(tmp_path):
    """A copy of a repository: two configurations of Parquet files, declared in its README."""
    folder = tmp_path / "repository"
    for config, n in (("helpful", 4), ("harmless", 2)):
        (folder / config).mkdir(parents=True)
        for shard in range(2):
            rows = [{"prompt": f"{config} {i}?", "chosen": "yes", "rejected": "no"} for i in range(shard, n, 2)]
            pq.write_table(pa.Table.from_pylist(rows), folder / config / f"train-0000{shard}-of-00002.parquet")
    (folder / "README.md").write_text(
        "---\nconfigs:\n"
        + "".join(f"- config_name: {c}\n  data_files: {c}/*.parquet\n" for c in ("helpful", "harmless"))
        + "---\n# Pairs\n"
    )
    return folder


def test_a_saved_data_set_is_read_split_by_split(tmp_path, saved):
    pairs, unusable, quarantine, records = read(tmp_path, path=str(saved), split="train")
    assert records == len(pairs) == 2_500 and not unusable and not quarantine
    assert texts(pairs)[2_499] == (["Q2499"], "good", "bad 2499")
    assert [p["row"] for p in pairs] == list(range(1, 2_501))
    assert len(read(tmp_path, path=str(saved), split="test")[0]) == 3


def test_the_configurations_of_a_repository(tmp_path, repository):
    pairs, *_ = read(tmp_path, path=str(repository), config="helpful", split="train")
    assert sorted(texts(pairs)) == [([f"helpful {i}?"], "yes", "no") for i in range(4)]
    assert len(read(tmp_path, path=str(repository), config="harmless")[0]) == 2  # its only split


@pytest.mark.parametrize(
    ("choice", "reason", "says"),
    [
        ({}, "wrong_split", "say which split: train, test"),
        ({"split": "dev"}, "wrong_split", "say which split: train, test"),
    ],
)
def test_a_split_is_never_guessed(tmp_path, saved, choice, reason, says):
    pairs, _, quarantine, _ = read(tmp_path, path=str(saved), **choice)
    assert not pairs and (quarantine[0]["row"], quarantine[0]["reason"]) == (0, reason)
    assert says in quarantine[0]["error"] and str(saved) in quarantine[0]["error"]


def test_a_configuration_that_is_not_there_names_those_that_are(tmp_path, repository):
    _, _, quarantine, _ = read(tmp_path, path=str(repository), config="honest", split="train")
    assert quarantine[0]["reason"] == "unreadable" and "honest" in quarantine[0]["error"]


def test_a_damaged_shard_costs_the_rows_from_there_on(tmp_path, repository):
    shard = repository / "helpful" / "train-00001-of-00002.parquet"
    shard.write_bytes(shard.read_bytes()[:200])
    pairs, _, quarantine, records = read(tmp_path, path=str(repository), config="helpful", split="train")
    assert len(pairs) == records == 2
    assert [q["row"] for q in quarantine] == [0] and quarantine[0]["reason"] in ("truncated", "unreadable")


def test_a_split_of_a_file_is_a_mistake(tmp_path):
    (tmp_path / "f.jsonl").write_text('{"prompt": "Q", "chosen": "a", "rejected": "b"}\n')
    _, _, quarantine, _ = read(tmp_path, path=str(tmp_path / "f.jsonl"), split="train")
    assert quarantine[0]["reason"] == "not_a_data_set"


def test_the_fingerprint_of_a_folder_is_that_of_its_files(tmp_path, repository):
    lake, source = Lake(str(tmp_path / "lake")), Source(name="s", path=str(repository), config="helpful")
    before = fingerprint(source, lake)
    assert before[1] == sum(p.stat().st_size for p in repository.rglob("*") if p.is_file())
    (repository / "helpful" / "train-00001-of-00002.parquet").unlink()
    assert fingerprint(source, lake)[0] != before[0]


def test_a_data_set_of_the_hub_is_pinned_streamed_and_named_by_its_commit(tmp_path, monkeypatch):
    """No network here: the package's one function is stood in for by real data of the package."""
    asked = []

    def load_dataset(where, **options):
        asked.append((where, options))
        return datasets.Dataset.from_list([{"prompt": "Q", "chosen": "a", "rejected": "b"}]).to_iterable_dataset()

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    path = f"huggingface:owner/pairs-v1.0@{COMMIT}"
    pairs, *_ = read(tmp_path, path=path, config="helpful", split="train")
    assert texts(pairs) == [(["Q"], "a", "b")]
    assert asked == [("owner/pairs-v1.0", {"revision": COMMIT, "name": "helpful", "split": "train", "streaming": True})]
    one, other = (fingerprint(Source(name="s", path=p), Lake(str(tmp_path))) for p in (path, path[:-1] + "0"))
    assert one != other and one[1] == 0


@pytest.mark.parametrize(
    "path", ["huggingface:owner/pairs", *(f"huggingface:owner/pairs@{at}" for at in ("main", "20240101", COMMIT[1:]))]
)
def test_what_moves_is_refused(tmp_path, path):
    _, _, quarantine, _ = read(tmp_path, path=path, split="train")
    assert (
        quarantine[0]["reason"] == "not_pinned"
        and 'path = "huggingface:owner/pairs@<commit>"' in quarantine[0]["error"]
    )


def test_without_the_package_the_error_says_what_is_needed(tmp_path, saved, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    _, _, quarantine, _ = read(tmp_path, path=str(saved), split="train")
    assert quarantine[0]["reason"] == "needs_package" and "`datasets`" in quarantine[0]["error"]


def test_labels_may_come_from_a_data_set(tmp_path, saved):
    answers = Answers(path=str(saved), split="test", annotator="x")
    assert len(read_answers(answers, Lake(str(tmp_path / "lake"))).read_all()) == 3
    with pytest.raises(BadFile, match="which split"):
        read_answers(Answers(path=str(saved)), Lake(str(tmp_path / "lake")))
