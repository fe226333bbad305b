"""The command line on inputs it must refuse, and its answers on a lake that is empty."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from cli import running
from cli.dagster_runs import JobFailed, RunFailure
from cli.main import main
from curation.tables import CLEAN_POOL, FINAL_REWARD_MODEL, RELEASE_CORRECTED
from resources import settings
from resources.lake import Lake
from resources.llm.bill import CONFIRM
from tests.support.lakes import put
from tests.support.places import ROOT


@pytest.fixture
def config(tmp_path, monkeypatch):
    path = tmp_path / "assay.toml"
    path.write_text((ROOT / "assay.toml").read_text())
    monkeypatch.setenv("ASSAY_CONFIG", str(path))
    settings.current.cache_clear()
    yield path
    settings.current.cache_clear()


def test_a_bad_configuration_is_named_and_nothing_runs(config, capsys):
    config.write_text(config.read_text().replace("iterations = 2", "iterations = 0"))
    assert main(["status"]) == 2
    assert "stage1.iterations" in capsys.readouterr().err


def test_a_group_that_is_not_there(config, capsys):
    assert main(["run", "pool", "stage9"]) == 2
    told = capsys.readouterr().err
    assert "no such group: stage9; there are evaluation, " in told and ", pool, " in told


def test_an_unknown_pair(config, capsys):
    assert main(["explain", "beef"]) == 2
    assert "no pair has the id 'beef'" in capsys.readouterr().err


def test_sql_prints_rows_and_reports_errors(config, capsys):
    assert main(["sql", "SELECT count(*) AS n FROM lineage", "--csv"]) == 0
    assert main(["sql", "SELEC 1"]) == 2
    assert "Parser Error" in capsys.readouterr().err


def test_status_of_an_empty_lake_says_what_is_missing(config, capsys):
    assert main(["status"]) == 0
    out = capsys.readouterr().out
    assert "never made" in out
    assert "The ledger closes: 0 records in" in out


def test_an_unknown_iteration(config, capsys):
    assert main(["iterate", "iter_01", "iter_77"]) == 2
    assert "there are iter_00 to iter_02" in capsys.readouterr().err


def test_the_guideline_of_one_kind_of_pair_and_what_differs_for_another(config, capsys):
    assert main(["judges", "guideline", "math", "objective", "low"]) == 0
    whole = capsys.readouterr().out
    for heading in ("# How to compare", "## Task: math", "comparison is objective", "Controversiality: low"):
        assert heading in whole
    assert main(["judges", "guideline", "math", "objective", "low", "--against", "math", "objective", "high"]) == 0
    changed = [
        line for line in capsys.readouterr().out.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")
    ]
    assert changed[:2] == ["-## Controversiality: low", "+## Controversiality: high"]
    assert all(line[1:] in whole for line in changed if line[0] == "-")
    assert main(["judges", "guideline", "math", "objective", "low", "--against-reader", "browsing-judge"]) == 0
    assert "search engine" in capsys.readouterr().out
    assert main(["judges", "guideline", "cooking", "objective", "low"]) == 2
    assert "'cooking' is none of: information seeking" in capsys.readouterr().err


def test_help_groups_the_commands_and_says_what_the_exit_status_means(capsys):
    assert main(["--help"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    places = [
        out.index(word) for word in ("Make ─", "│ run ", "Look ─", "│ status ", "Measure ─", "│ score ", "Exit status:")
    ]
    assert places == sorted(places)
    assert "130 interrupted" in out and "install-completion" in out


def test_help_comes_at_once_and_heavy_packages_wait_for_their_command():
    seen = "import sys; from cli.main import main; main(['--help']); print(sorted(sys.modules), file=sys.stderr)"
    began = os.times().children_user
    done = subprocess.run([sys.executable, "-c", seen], cwd=ROOT, capture_output=True, text=True)
    used = os.times().children_user - began
    loaded = set(re.findall(r"'([^'.]+)'", done.stderr))
    heavy = {"dagster", "torch", "transformers", "duckdb", "pyarrow", "scipy", "lancedb", "matplotlib"}
    assert not loaded & (heavy | {"openai", "anthropic", "httpx2"})
    assert used < 1.0, f"{used:.2f} s of CPU"


def test_a_wrong_command_or_option_is_wrong_usage(capsys):
    assert main(["rum"]) == 2 and "run" in capsys.readouterr().err
    assert main(["run", "--drry"]) == 2
    assert main(["iterate", "iter_00"]) == 2
    assert main([]) == 2


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            ["stage1.iterations=0"],
            "with stage1.iterations from the command line:\n  stage1.iterations: Input should be",
        ),
        (["stage1.itertions=1"], "stage1.itertions: no such key, did you mean iterations? There are: iterations,"),
        (
            ["sources.nowhere.sample=1"],
            "sources.nowhere.sample: no entry 'nowhere'; there are: forum, arena, ratings, crawl",
        ),
        (["sources[9].sample=1"], "sources[9].sample: no entry 9; there are: forum"),
        (["seed.x=1"], "seed.x"),
        (["=1"], "an override is key=value, such as training.max_tokens=256"),
        (["sources.forum.api_key=sk-123456789"], "sources[0].api_key: no such key"),
    ],
)
def test_an_override_that_cannot_be_names_its_key_and_what_is_allowed(config, capsys, changes, says):
    assert main(["status", *changes]) == 2
    shown = capsys.readouterr().err
    assert says in shown and "sk-123" not in shown


def test_an_override_counts_as_if_it_stood_in_the_file(config):
    changes = [
        "stage1.iterations=1", "stage2.policy=both", "judges.panel.judge-b.accuracy = 0.7", "judges.panel[0].samples=4",
        "sources.arena.codes.tie=['t', 0]", "budget.dollars=2.5", "training.final.max_pairs=10",
        'training.backbone={name = "b", hidden = 32}', "benchmarks.planted.sample=5",
    ]  # fmt: skip
    made = settings.load(config, changes)
    text = config.read_text().replace("iterations = 2", "iterations = 1").replace("accuracy = 0.76", "accuracy = 0.7")
    text = text.replace("accuracy = 0.80", "accuracy = 0.80\nsamples = 4").replace('tie = ["tie"]', 'tie = ["t", 0]')
    text = text.replace(
        "[training.final]", '[training.backbone]\nname = "b"\nhidden = 32\n[training.final]\nmax_pairs = 10'
    )
    text = text.replace("[stage2]", '[stage2]\npolicy = "both"')
    config.write_text(f"{text}\nsample = 5\n[budget]\ndollars = 2.5\n")
    written = settings.load(config)
    assert made == written
    assert made.section_hash("stage2", "judges", "training") == written.section_hash("stage2", "judges", "training")
    assert made.source_hash("arena") == written.source_hash("arena")


def test_what_an_override_changes_is_stale_and_what_it_does_not_is_not(config, capsys):
    assert main(["status", "stage1.iterations=1"]) == 0
    assert "iter_02" not in capsys.readouterr().out
    assert settings.load(config).stage1.iterations == 2 and "ASSAY_SET" not in os.environ


def test_a_dry_run_says_what_would_be_made_and_writes_nothing(config, capsys):
    before = sorted(config.parent.rglob("*"))
    assert main(["run", "--dry-run", "pool", "stage1.iterations=1"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "forum, arena, ratings and 1 more" in out and "never made" in out and "Nothing was written." in out
    assert "judge_votes" not in out
    assert sorted(config.parent.rglob("*")) == before
    assert main(["run", "--dry-run", "stage9"]) == 2


def test_a_table_that_is_not_there_is_named_as_such(config, capsys):
    for name in ("arguments", "lake", "query", "self", "raw_pol"):
        assert main(["sql", f"FROM {name}"]) == 2
        shown = capsys.readouterr().err
        assert shown.startswith(f"assay: Catalog Error: Table with name {name} does not exist")


def test_nested_columns_are_json_in_csv(config, capfdbinary):
    lake = Lake(str(config.parent / "lake"))
    turns = [{"role": "user", "content": 'Say "hi", please\nnow'}]
    put(lake, CLEAN_POOL, [{"pair_id": "p", "conversation": turns, "also_in": ["x", "y"]}], "b00")
    capfdbinary.readouterr()
    assert main(["sql", "--csv", "SELECT pair_id, conversation, also_in, 1.5 AS n FROM clean_pool"]) == 0
    [row] = csv.DictReader(io.StringIO(capfdbinary.readouterr().out.decode()))
    assert json.loads(row["conversation"]) == turns and json.loads(row["also_in"]) == ["x", "y"]
    assert (row["pair_id"], row["n"]) == ("p", "1.5")


def test_releases_and_models_are_named_with_their_paths(config, capsys):
    lake = Lake(str(config.parent / "lake"))
    released = {"pair_id": "p", "flipped": False, "label_source": "people", "rule": "r", "weight": 1.0, "license": "x"}
    put(lake, RELEASE_CORRECTED, [released], "b00")
    folder = lake.folder("models") / "0123abc" / "model"
    folder.mkdir(parents=True)
    model = {
        "model_id": "0123abc", "kind": "final", "path": str(folder), "data_hash": "d", "recipe_hash": "r", "pairs": 7,
        "dropped": 0, "steps": 1, "best_step": 1, "train_loss": 0.5, "validation_pairs": 4, "validation_accuracy": 0.75,
        "seconds": 1.0, "tokens": 9, "hardware": "cpu", "arm": "corrected", "seed": 7,
    }  # fmt: skip
    put(lake, FINAL_REWARD_MODEL, [model], "corrected")
    running.name_models(lake)
    running.name_models(lake)  # again, over what is there
    assert main(["status"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert f"Release corrected: 1 pairs in {lake.root}/release_corrected/" in out
    named = lake.folder("models") / "corrected"
    assert named.resolve() == folder and "Model corrected: trained on 7 pairs, 75.0% right" in out
    assert f"{named} " in out and "Trained from: tiny-llama, a new Llama of 2 layers of width 64" in out
    named.unlink()
    shutil.copytree(folder, named)  # as in a copy of the lake by a tool that follows links
    running.name_models(lake)
    assert main(["status"]) == 0
    assert str(folder) in " ".join(capsys.readouterr().out.split())
    assert not named.is_symlink() and {p.name for p in named.parent.iterdir()} == {"0123abc", "corrected"}


@pytest.mark.parametrize(
    ("failures", "status", "says"),
    [
        (
            [RunFailure("human_labels: 3 answers are missing", "Waiting")],
            0,
            "Waiting for people. human_labels: 3 answers",
        ),
        ([RunFailure("judge_votes: a batch is on its way", "Pending")], 0, "Waiting for a provider's batch."),
        (
            [RunFailure("human_labels: 3", "Waiting"), RunFailure("reward_model: out of memory")],
            1,
            "assay: stopped. human_labels: 3\nreward_model: out of memory",
        ),
        ([RunFailure("reward_model: out of memory")], 1, "What was made stays"),
        ([RunFailure("To agree: `assay run --confirm 5.50`, or …", "Unconfirmed")], 3, "assay: stopped. To agree:"),
    ],
)
def test_what_stopped_a_run_decides_the_exit_status(config, capsys, monkeypatch, failures, status, says):
    def fails(*_):
        raise JobFailed(failures)

    monkeypatch.setattr(running, "run_all", fails)
    monkeypatch.setenv("DAGSTER_HOME", str(config.parent))
    assert main(["run"]) == status
    shown = capsys.readouterr()
    assert says in (shown.out if status == 0 else shown.err)


def test_at_a_terminal_a_run_goes_on_once_somebody_has_agreed(config, monkeypatch):
    tried = []

    def fails_once(*_):
        tried.append(os.environ.get(CONFIRM))
        if len(tried) == 1:
            raise JobFailed([RunFailure("To agree: `assay run --confirm 5.50`, or …", "Unconfirmed")])
        return 3, 0

    monkeypatch.setattr(running, "run_all", fails_once)
    monkeypatch.setattr("builtins.input", lambda prompt: "y")
    for stream in (sys.stdin, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setenv("DAGSTER_HOME", str(config.parent))
    monkeypatch.delenv(CONFIRM, raising=False)
    assert main(["run"]) == 0
    assert tried == [None, "5.5"]
    monkeypatch.delenv(CONFIRM)
