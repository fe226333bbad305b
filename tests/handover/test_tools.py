"""Every tool's own reader finds the conversation in what is exported for it (spec 5.09)."""

import json

import pyarrow.parquet as pq
import pytest
import yaml

from handover.contents import HandoverError, Snapshot
from handover.tools import TOOLS, export
from tests.support.releases import configured, handed_lake, pair, pool

SAID = [{"role": "system", "content": "Be brief."}]
RECIPE = {
    "ranks": 2,
    "max_tokens": 512,
    "final": {"global_batch_size": 64, "learning_rate": 3e-6, "schedule": "constant"},
}


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    return handed_lake(tmp_path_factory.mktemp("lake"), pairs=pool())


def made(lake, tool, out):
    return export(configured(training=RECIPE), lake, tool, Snapshot.named("corrected"), out)


def lines(out):
    return [json.loads(line) for line in (out / "data" / "train.jsonl").read_text("utf-8").splitlines()]


def truth():
    """pair_id -> (conversation, better, worse) in the verified order."""
    return {
        p["pair_id"]: (
            p["conversation"],
            *((p["rejected"], p["chosen"]) if i % 3 == 0 else (p["chosen"], p["rejected"])),
        )
        for i, p in enumerate(pool())
    }


@pytest.mark.parametrize("tool", ["trl", "openrlhf"])
def test_lists_of_messages(lake, tmp_path, tool):
    facts = made(lake, tool, tmp_path / "out")
    rows = pq.read_table(tmp_path / "out" / "data").to_pylist()
    found = {r["pair_id"]: (r["prompt"], r["chosen"][0]["content"], r["rejected"][0]["content"]) for r in rows}
    assert found == truth() and facts["pairs"] == 18 and facts["not_to_be_passed_on"] == ["shut"]
    if tool == "trl":
        config = yaml.safe_load((tmp_path / "out" / "trl.yaml").read_text())
        assert (config["gradient_accumulation_steps"], config["learning_rate"], config["max_length"]) == (32, 3e-6, 512)
    else:
        assert "--data.prompt_key prompt" in (tmp_path / "out" / "openrlhf.sh").read_text()


def test_one_message_each_for_llama_factory(lake, tmp_path):
    made(lake, "llama-factory", tmp_path / "out")
    found = {
        r["pair_id"]: (r["prompt"], r["chosen"]["content"], r["rejected"]["content"]) for r in lines(tmp_path / "out")
    }
    assert found == truth()
    info = json.loads((tmp_path / "out" / "dataset_info.json").read_text())["assay"]
    assert info["ranking"] is True and info["columns"]["messages"] == "prompt"


def test_axolotl_reads_one_question_and_what_is_longer_is_counted(lake, tmp_path):
    facts = made(lake, "axolotl", tmp_path / "out")
    single = {k: v for k, v in truth().items() if len(v[0]) == 1}
    found = {r["pair_id"]: (r["input"], r["chosen"], r["rejected"]) for r in lines(tmp_path / "out")}
    assert found == {k: (c[0]["content"], *answers) for k, (c, *answers) in single.items()}
    assert facts["left_out"] == {"more than one turn": 18 - len(single)}
    assert "9 more than one turn" in (tmp_path / "out" / "README.md").read_text()


def test_ranked_completions_for_nemo_rl(lake, tmp_path):
    made(lake, "nemo-rl", tmp_path / "out")
    want = sorted(truth().values(), key=str)
    found = [
        (r["context"], *(c["completion"][0]["content"] for c in r["completions"])) for r in lines(tmp_path / "out")
    ]
    assert sorted(found, key=str) == want and lines(tmp_path / "out")[0]["completions"][0]["rank"] == 0


def test_system_turns_are_left_out_as_our_own_models_never_see_them(tmp_path):
    from curation.identity import pair_id

    one = pair(1, "open")
    texts = {"conversation": [*SAID, *one["conversation"]], "chosen": one["chosen"], "rejected": one["rejected"]}
    lake = handed_lake(tmp_path / "lake", pairs=[{"pair_id": pair_id(*texts.values()), "source": "open", **texts}])
    made(lake, "trl", tmp_path / "out")
    [row] = pq.read_table(tmp_path / "out" / "data").to_pylist()
    assert row["prompt"] == one["conversation"]


def test_what_cannot_be_exported_is_said(lake, tmp_path):
    with pytest.raises(HandoverError, match="no such tool: 'trll'; there are trl, openrlhf"):
        made(lake, "trll", tmp_path / "out")
    odd = configured(training=RECIPE | {"ranks": 3})
    with pytest.raises(HandoverError, match="global_batch_size 64 is no multiple of 3 ranks"):
        export(odd, lake, "trl", Snapshot.named("corrected"), tmp_path / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x").write_text("x")
    with pytest.raises(HandoverError, match="holds something that is no export"):
        made(lake, "trl", tmp_path / "mine")


@pytest.mark.parametrize("tool", TOOLS)
def test_an_export_is_the_same_twice(lake, tmp_path, tool):
    for name in ("a", "b", "a"):
        made(lake, tool, tmp_path / name)
    both = [{p.relative_to(tmp_path / n).as_posix(): p.read_text("latin1") for p in (tmp_path / n).rglob("*") if p.is_file()}
            for n in ("a", "b")]  # fmt: skip
    assert both[0] == {k: v.replace("b/nemo_rl.sh", "a/nemo_rl.sh") for k, v in both[1].items()}
