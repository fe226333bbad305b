"""One file, validated on load: an error names the key and what is allowed."""

from pathlib import Path

import pytest

from resources.settings import ConfigError, load
from tests.support.places import ROOT

GOOD = """
[world]
[[sources]]
name = "a"
path = "a.jsonl"
[judges]
[[judges.panel]]
name = "one"
[[judges.panel]]
name = "two"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "assay.toml"
    path.write_text(text)
    return path


def test_the_shipped_configuration_is_valid():
    assert load(ROOT / "assay.toml").world is not None


def test_paths_are_relative_to_the_file(tmp_path):
    assert load(write(tmp_path, GOOD)).lake.path == tmp_path / "lake"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("[stage1]\niterations = 0", ["stage1.iterations", "greater than or equal to 1"]),
        ("[stage1]\nstop_when = {gain_below = 0}", ["stage1.stop_when.gain_below", "greater than 0"]),
        ("[stage1]\niteration = 3", ["stage1.iteration", "no such key"]),
        ("[stage2]\npolicy = 'best'", ["stage2.policy", "symmetric", "gold_only"]),
        ("[people]\nbackend = 'recorded'", ["people", "needs people.answers"]),
        ("[lake]\nbuckets = 65", ["lake.buckets", "less than or equal to 64"]),
        ("[gold]\nfew_shot = 0.9", ["gold", "sum to 1.3, more than 1"]),
        ("[gold]\nvalidation = 0.0", ["gold.validation", "greater than 0"]),
        ("seed = 'x'", ["seed", "integer"]),
        ("[[sources]]\nname = 'a'\npath = 'b'", ["source names must differ"]),
        ("[[sources]]\nname = 'b'", ["give either path or query"]),
        ("[[sources]]\nname = 'b'\nquery = ' '", ["sources[1]", "must not be empty"]),
        ("[[sources]]\nname = 'b'\npath = ''", ["sources[1]", "must not be empty"]),
        *(
            (
                f"[[sources]]\nname = 'b'\npath = 'c'\nfields = {{prompt = '{path}'}}",
                ["sources[1]", "fields.prompt", "key"],
            )
            for path in ("", " ", ".", "[]")
        ),
        *(
            (f"[[sources]]\nname = 'b'\npath = 'c'\ncodes = {codes}", ["sources[1]", "codes", "a = ", "b = "])
            for codes in (
                "{a = [1], b = [1, 2]}",
                "{a = [1], b = [1.0]}",
                "{a = ['x'], b = ['x']}",
                "{a = [true], b = [true]}",
                "{a = ['[1, 1.5]'], b = ['[1.5, 2]']}",
                "{a = ['(1, 3)'], b = ['(2, 4)']}",
                "{a = ['(1, 3)'], b = [2]}",
            )
        ),
        ("[[judges.panel]]\nname = 'g'\nbackend = 'openai'", ["needs model"]),
        ("[training.backbone]\npath = '${NOT_SET_ANYWHERE}'", ["training.backbone.path", "NOT_SET_ANYWHERE"]),
    ],
)
def test_an_error_names_the_key_and_what_is_allowed(tmp_path, more, words):
    text = more + "\n" + GOOD if more.startswith("seed") else GOOD + more
    with pytest.raises(ConfigError) as error:
        load(write(tmp_path, text))
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    "more",
    [
        "[[judges.panel]]\nname = 'g'\napi_key = 'hunter-2-hunter'",
        "[[judges.panel]]\nname = 'g'\napi_key = '${TOKEN}'",
        "[[judges.panel]]\nname = 'g'\nprice = '${TOKEN}'",
        "[[sources]]\nname = '${TOKEN}!'\npath = 'b'",
        f"[[sources]]\nname = '{'x' * 70}! ${{TOKEN}}'\npath = 'b'",
        "[[sources]]\nname = 'b'\npath = 'c'\ncodes = {a = ['${TOKEN}'], b = ['${TOKEN}']}",
    ],
)
def test_an_error_does_not_tell_what_may_be_a_secret(tmp_path, monkeypatch, more):
    monkeypatch.setenv("TOKEN", 'hunter-2-hunter "\\ü')
    with pytest.raises(ConfigError) as error:
        load(write(tmp_path, GOOD + more))
    assert "hunte" not in str(error.value) and (
        "TOKEN" in str(error.value) or "api_key: no such key" in str(error.value)
    )


def test_codes_that_touch_but_do_not_meet_are_fine(tmp_path):
    codes = "{a = ['[1, 1.5)', true, '1'], b = ['(1.5, 2]', 'true'], tie = [0, 1.5], none = ['x']}"
    source = load(
        write(tmp_path, f"{GOOD}[[sources]]\nname = 'b'\npath = 'c'\nshape = 'winner'\ncodes = {codes}")
    ).sources[1]
    assert source.codes["tie"] == [0, 1.5]


def test_simulations_need_a_world(tmp_path):
    with pytest.raises(ConfigError, match=r"judges.one, judges.two: backend 'simulated' needs.* leave out"):
        load(write(tmp_path, GOOD.replace("[world]", "")))


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="line 1"):
        load(write(tmp_path, "= 3"))


def test_moving_the_lake_changes_no_hash_but_a_threshold_does(tmp_path):
    one = load(write(tmp_path, GOOD))
    two = load(write(tmp_path, GOOD + "[lake]\npath = 'elsewhere'"))
    three = load(write(tmp_path, GOOD + "[stage2]\nband = 0.05"))
    assert one.section_hash("stage2", "lake") == two.section_hash("stage2", "lake")
    assert one.section_hash("stage2") != three.section_hash("stage2")
    assert one.section_hash("stage1") == three.section_hash("stage1")


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("api_key_env", "sk-proj-0123456789", "not the key itself"),
        ("base_url", "https://me:sk-proj-0123456789@host/v1", "a key belongs into api_key_env"),
        ("base_url", "https://host/v1?key=sk-proj-0123456789", "a key belongs into api_key_env"),
        ("base_url", "host/v1", "http:// or https://"),
    ],
)
def test_a_key_in_the_configuration_is_refused_and_not_repeated(tmp_path, key, value, says):
    text = GOOD + f'[[judges.panel]]\nname = "real"\nbackend = "openai"\nmodel = "m"\n{key} = "{value}"\n'
    with pytest.raises(ConfigError, match=says) as refused:
        load(write(tmp_path, text))
    assert "sk-proj" not in str(refused.value)


@pytest.mark.parametrize("key", ["license", "licence"])
def test_a_license_may_be_spelt_in_both_ways(tmp_path, key):
    made = load(write(tmp_path, GOOD.replace('path = "a.jsonl"', f'path = "a.jsonl"\n{key} = "MIT"')))
    assert made.sources[0].license == "MIT"
