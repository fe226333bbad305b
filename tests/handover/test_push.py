"""Releases and models on a stand-in of the Hub, by the Hub's own client."""

import json
import re
import shutil

import pytest
import yaml

from cli.main import main
from curation import tables as t
from handover.build import Wanted, build
from handover.contents import HandoverError, Snapshot
from handover.hub_upload import Origin, of_model, of_release, origin_of, page, push
from tests.support.hub import Hub
from tests.support.lakes import put
from tests.support.releases import configured, handed_lake
from tests.support.training_jobs import job, pairs, table
from training.train import train

hub_client = pytest.importorskip("huggingface_hub")


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    with Hub() as made:
        monkeypatch.setenv("HF_ENDPOINT", made.url)
        yield made


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    lake = handed_lake(tmp_path_factory.mktemp("lake"))
    out = tmp_path_factory.mktemp("made") / "out"
    build(configured(), lake, Wanted(Snapshot.named("corrected")), out)
    return out


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    asked = job(tmp_path_factory.mktemp("model"), table(pairs(32)), facts={"name": "0123abcd"})
    train(asked)
    return asked.out / "model"


def test_a_release_is_pushed_whole_privately_and_again_in_the_place_of_the_first(release, hub, tmp_path, capsys):
    assert main(["push", "release", str(release), "lab/pairs"]) == 0
    held = hub.repositories["dataset", "lab/pairs"]
    assert held["visibility"] == "private" and f"Revision {held['revision']}" in capsys.readouterr().out
    assert held["files"] == {
        p.relative_to(release).as_posix(): p.read_bytes() for p in release.rglob("*") if p.is_file()
    }
    assert any(h.get("Authorization", h.get("authorization")) == "Bearer hf_test" for h in hub.headers)
    held["files"] |= {"old.parquet": b"x", ".gitattributes": b"y"}
    first = held["revision"]
    (copy := tmp_path / "again").mkdir()
    shutil.copytree(release, copy, dirs_exist_ok=True)
    assert main(["push", "release", str(copy), "lab/pairs", "--public"]) == 0
    assert "old.parquet" not in held["files"] and ".gitattributes" in held["files"]
    assert held["visibility"] == "private" and held["revision"] != first  # what is there stays as private as it is


def test_a_dry_run_sends_nothing_and_shows_the_page(release, hub, capsys):
    assert main(["push", "release", str(release), "lab/pairs", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert hub.requests == [] and "private if it is made new" in said and "SHA256SUMS" in said and "pretty_name" in said


def test_a_changed_release_and_a_wrong_name_are_not_pushed_and_a_refusal_is_one_line(
    release, hub, tmp_path, capsys, monkeypatch
):
    bad = tmp_path / "bad"
    shutil.copytree(release, bad)
    (bad / "USAGE.md").write_text("send money")
    assert main(["push", "release", str(bad), "lab/pairs"]) == 2
    assert "USAGE.md: its SHA-256 is not the listed one" in capsys.readouterr().err
    assert main(["push", "release", str(release), "pairs"]) == 2
    assert "'pairs' is no repository of the Hub: OWNER/NAME" in capsys.readouterr().err
    hub.refuse = (403, "You don't have the rights to create a dataset under the namespace lab")
    assert main(["push", "release", str(release), "lab/pairs"]) == 2
    *_, line = capsys.readouterr().err.strip().splitlines()
    assert "the Hub did not take it" in line and "403" in line and "hf_test" not in line
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # where nobody listens
    assert main(["push", "release", str(release), "lab/pairs"]) == 2
    assert "the Hub did not take it" in capsys.readouterr().err.strip().splitlines()[-1]


def test_a_model_is_pushed_with_its_weights_and_a_page_of_its_own(model, hub):
    origin = Origin("Qwen/Qwen3-0.6B", ("lab/pairs",), "apache-2.0", (("rm-bench", "accuracy", 0.71234, 1327),))
    revision = push(of_model(model, "lab/judge-of-pairs", origin))
    held = hub.repositories["model", "lab/judge-of-pairs"]
    assert held["revision"] == revision and re.fullmatch(r"[0-9a-f]{40}", revision)
    assert held["files"]["model.safetensors"] == (model / "model.safetensors").read_bytes()
    _, head, body = held["files"]["README.md"].decode().split("---\n", 2)
    front = yaml.safe_load(head)
    assert (front["base_model"], front["datasets"], front["license"]) == (
        "Qwen/Qwen3-0.6B",
        ["lab/pairs"],
        "apache-2.0",
    )
    [index] = front["model-index"]
    assert index["name"] == "judge-of-pairs"
    assert index["results"][0]["dataset"]["name"] == "rm-bench" and index["results"][0]["metrics"][0]["value"] == 71.23
    assert "# judge-of-pairs" in body and "0123abcd" not in body.partition("\n| ")[0]
    assert "vllm serve lab/judge-of-pairs --runner pooling --convert classify --pooler-config" in body
    assert 'from_pretrained("lab/judge-of-pairs")' in body and "FOLDER" not in body
    assert hub_client.ModelCard(held["files"]["README.md"].decode()).data.eval_results[0].metric_value == 71.23


def test_what_the_page_lacks_is_said(model):
    notes = "\n".join(of_model(model, "lab/m", Origin()).notes)
    assert "no base model: --base-model OWNER/NAME" in notes and "no license" in notes and "no result" in notes
    assert "base_model" not in page((model / "README.md").read_text(), "lab/m", Origin())
    with pytest.raises(HandoverError, match="holds no exported reward model"):
        of_model(model.parent, "lab/m", Origin())


def test_what_the_lake_knows_of_a_model_is_on_its_page(tmp_path):
    lake = handed_lake(tmp_path / "lake")
    row = {"arm": "corrected", "benchmark": "rm-bench", "subset": "", "metric": "accuracy", "n": 10, "out_of": 10, "ties": 0,
           "truncated": 0, "missing": []}  # fmt: skip
    rows = [row | {"value": 0.7}, row | {"value": 0.9, "subset": "hard"},
            row | {"value": 0.8, "metric": "accuracy_at_hand"}]  # fmt: skip
    put(lake, t.BENCHMARK_RESULTS, rows, "rm-bench|corrected")
    with lake.connect() as con:
        found = origin_of(con, "corrected", "qwen3-0.6b", Origin(license="mit"))
    assert found == Origin("Qwen/Qwen3-0.6B", ("o/n",), "mit", (("rm-bench", "accuracy", 0.7, 10),))


def test_a_group_can_read_the_weights(model):
    assert all(p.stat().st_mode & 0o040 for p in (model, *model.iterdir()))
    assert json.loads((model / "reward.json").read_text())["name"] == "0123abcd"


def test_a_release_is_no_model_and_a_folder_no_release(model, tmp_path):
    with pytest.raises(HandoverError, match="SHA256SUMS: missing"):
        of_release(model, "lab/pairs")
