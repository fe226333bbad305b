"""Training sets by construction: what each way of naming one gives, and what is refused (spec 8.05, 8.09, 8.14, 4.12)."""

import pytest

from assets.experiments import experiment_sets
from curation import tables as t
from evaluation.presets import PRESETS, expanded
from resources.lake import Lake
from resources.settings import Settings
from tests.stage2.test_snapshots import lake_of
from tests.support.lakes import make, put, query, settings

MODELS = {"best_model": "best", "gold_model": "gold"}  # of scores


def pairs_of(root, arms: list[dict], lake: Lake | None = None, **more) -> dict[str, str]:
    """Arm -> its pairs, swapped ones in upper case."""
    lake = lake or lake_of(root)
    experiments = [{"name": "e", "arms": arms}]
    for arm in arms:
        make(experiment_sets, lake, f"e.{arm['name']}", experiments=experiments, **more)
    rows = query(lake, "SELECT training_set, pair_id, verified_order FROM experiment_pairs ORDER BY ALL")
    found = {a["name"]: "" for a in arms}
    for key, pair, order in rows:
        found[key.removeprefix("e.")] += pair.upper() if order == "swapped" else pair
    return found


def test_the_views_of_a_snapshot(tmp_path):
    arms = [{"name": f"{v}@{p}", "data": f"{v}@{p}"} for v in ("original", "filtered", "corrected")
            for p in ("iter_00", "iter_01", "stage2")]  # fmt: skip
    assert pairs_of(tmp_path, arms, stage1={"iterations": 2}) == {
        "original@iter_00": "abu", "original@iter_01": "abcdu", "original@stage2": "abcdefgu",
        "filtered@iter_00": "a", "filtered@iter_01": "ad", "filtered@stage2": "ade",
        "corrected@iter_00": "aB", "corrected@iter_01": "aBCd", "corrected@stage2": "aBCdeF",
    }  # fmt: skip


def test_the_seed_with_each_kind_of_care_and_judges_alone(tmp_path):
    lake = lake_of(tmp_path)
    verdicts = {"iter_00": {"a": "swapped", "b": "original"}, "iter_01": {"c": "original", "d": "swapped"}}
    for key, of in verdicts.items():
        put(lake, t.UNGUIDED_VERDICTS, [{"pair_id": p, "verdict": v} for p, v in of.items()], key)
    views = ("seed_and_original", "seed_and_people", "seed_and_unguided", "unguided", "unguided_corrected")
    found = pairs_of(tmp_path, [{"name": v, "data": f"{v}@iter_01"} for v in views], lake)
    assert found == {
        "seed_and_original": "acd",  # the filtered seed, and the batch as it came
        "seed_and_people": "a",  # people contradicted c; d was judges'
        "seed_and_unguided": "ac",
        "unguided": "bc",
        "unguided_corrected": "AbcD",
    }


def test_the_pairs_of_a_form_as_its_labels_confirmed_them_and_as_they_came(tmp_path):
    """After the seed people turned c round on the bare form and confirmed d on the whole one (spec 8.06)."""
    lake = lake_of(tmp_path)
    gold = [{"pair_id": p, "verified_order": o, "role": "train"} for p, o in (("c", "swapped"), ("d", "original"))]
    put(lake, t.GOLD, gold, "iter_01")
    put(lake, t.SILVER, [], "iter_01")
    labels = [{"event_id": p, "pair_id": p, "verdict": "first", "shown_first": "chosen", "arm": arm, "seconds": 20.0}
              for p, arm in (("c", "raw"), ("d", ""), ("g", "raw"))]  # fmt: skip
    put(
        lake, t.UNDECIDED, [{"pair_id": "g", "desk": "people"}], "iter_01"
    )  # people did not settle g, which says nothing of how it came
    put(lake, t.ANNOTATION_BATCH, [{"pair_id": p, "assigned_to": "people"} for p in "cdg"], "iter_01")
    put(lake, t.HUMAN_LABELS, labels, "iter_01")
    names = ("form:raw", "form_before:raw", "form:whole", "form_before:whole")
    arms = [{"name": n.replace(":", "-"), "data": n} for n in names]
    found = pairs_of(tmp_path, arms, lake, people={"arms": [{"name": "raw", "share": 0.5, "tools": False}]})
    assert list(found.values()) == ["a", "acg", "ad", "ad"]


def test_the_annotation_experiment_has_an_arm_a_form_and_the_same_pairs_before(tmp_path):
    forms = [{"name": "raw", "share": 0.3, "attributes": False, "tools": False}, {"name": "attributes", "share": 0.3}]
    whole = made({"name": "e", "preset": "annotation"}, people={"arms": forms}).experiment("e")
    assert [a.name for a in whole.arms][:4] == ["seed", "raw", "attributes", "whole"]
    assert whole.alike_first == ["before-raw", "before-attributes", "before-whole"]
    assert whole.compare[:2] == ["attributes - raw by size", "whole - attributes by size"]
    with pytest.raises(ValueError, match=r"people\.arms"):
        made({"name": "e", "preset": "annotation"})


def test_conditions_sizes_and_sources(tmp_path):
    lake = lake_of(tmp_path)
    texts = {"conversation": [{"role": "user", "content": "why?"}], "rejected": "second"}
    put(lake, t.CLEAN_POOL, [
        {"pair_id": p, **texts, "chosen": "first" * (i + 1), "source": "s" if p < "e" else "other"}
        for i, p in enumerate("abcdefgtu")], "b00")  # fmt: skip
    other = {"sources": [{"name": "s", "path": "s.jsonl"}, {"name": "other", "path": "o.jsonl"}]}
    found = pairs_of(tmp_path, [
        {"name": "long", "where": "length(chosen) >= 20"},
        {"name": "other", "data": "source:other"},
        {"name": "three", "size": 3}, {"name": "half", "share": 0.5}, {"name": "quarter", "share": 0.25},
        {"name": "as-many", "as_many_as": "other"},
        {"name": "broken", "where": "no_such_column = 1"}, {"name": "nothing", "where": "false"}, {"name": "too-many", "size": 99},
    ], lake, **other)  # fmt: skip
    assert found["long"] == "defgu" and found["other"] == "efgu"
    assert len(found["three"]) == 3 and len(found["half"]) == 4 and len(found["as-many"]) == 4
    assert set(found["quarter"]) < set(found["three"]) < set(found["half"])  # a smaller part lies in a larger one
    assert found["broken"] == found["nothing"] == "" and len(found["too-many"]) == 8
    problems = dict(query(lake, "SELECT arm, problem FROM experiment_sets WHERE problem <> ''"))
    assert problems.keys() == {"broken", "nothing", "too-many"}
    assert "no_such_column" in problems["broken"] and problems["too-many"] == "8 pairs, where 99 were asked for"


def test_a_matched_set_has_the_sources_topics_lengths_and_margins_of_another_where_a_random_one_has_not(tmp_path):
    """Curated pairs are long, far apart and about one of three things; the pool is mostly short and close. Who is ahead is
    not matched: that would match the labels (spec 8.09, O-18)."""
    lake = Lake(str(tmp_path))
    topics = ("the weather in the north", "a recipe of soup", "prime numbers and proofs")
    rows = []
    for i in range(600):
        curated = i % 4 == 0
        topic, words = topics[0 if curated and i % 8 else i % 3], 60 if curated or i % 5 == 0 else 8
        turns = [{"role": "user", "content": f"{topic} {topic} {topic}"}]
        rows.append(
            {"pair_id": f"p{i:03d}", "conversation": turns, "chosen": "good " * words, "rejected": "bad " * words}
        )
    put(lake, t.CLEAN_POOL, rows, "b00")
    ahead = [(3.0 if i % 4 == 0 or i % 7 == 0 else 0.3) * (1 if i % 4 == 0 else -1) for i in range(600)]
    put(lake, t.SCORES, [{"pair_id": r["pair_id"], "r_chosen_best": m, "r_rejected_best": 0.0} | MODELS
                         for r, m in zip(rows, ahead, strict=True)], "b00")  # fmt: skip
    texts = {"flipped": False, "label_source": "people", "rule": "r", "weight": 1.0, "license": "x"}
    put(lake, t.RELEASE_CURATED, [r | texts for i, r in enumerate(rows) if i % 4 == 0 and i % 3], "b00")
    arms = [{"name": "filtered", "data": "filtered"}, {"name": "matched", "like": "filtered"},
            {"name": "random", "as_many_as": "filtered"}]  # fmt: skip
    pairs_of(tmp_path, arms, lake)
    profile: dict[str, dict[str, dict[str, float]]] = {}
    for arm, statistic, item, value in query(lake, "SELECT arm, statistic, item, value FROM experiment_profiles"):
        profile.setdefault(arm, {}).setdefault(statistic, {})[item] = value
    sizes = dict(query(lake, "SELECT arm, pairs FROM experiment_sets"))
    assert len(set(sizes.values())) == 1
    assert profile["matched"]["topic"] == profile["filtered"]["topic"] and len(profile["filtered"]["topic"]) == 3
    assert profile["matched"]["length"] == profile["filtered"]["length"]
    assert profile["matched"]["margin_size"] == profile["filtered"]["margin_size"] == {"013": 1.0}
    assert profile["random"]["length_mean"][""] < 0.8 * profile["filtered"]["length_mean"][""]
    assert profile["random"]["margin_size_mean"][""] < 2 and profile["matched"]["margin_size_mean"][""] == 3
    assert profile["matched"]["margin_mean"][""] < profile["filtered"]["margin_mean"][""] == 3


def test_where_a_kind_runs_short_a_matched_set_keeps_length_and_margin_before_topic(tmp_path):
    """The pool has none of the curated topic left over, but enough pairs that are as long and as far apart."""
    lake = Lake(str(tmp_path))
    rows, scores, curated = [], [], []
    for i in range(300):
        long = i < 120
        topic = "a recipe of soup" if i < 60 else "prime numbers and proofs"
        words, margin = (60, 3.0) if long else (8, 0.3)
        rows.append({"pair_id": f"p{i:03d}", "conversation": [{"role": "user", "content": f"{topic} {topic}"}],
                     "chosen": "good " * words, "rejected": "bad " * words})  # fmt: skip
        scores.append({"pair_id": f"p{i:03d}", "r_chosen_best": margin, "r_rejected_best": 0.0} | MODELS)
        curated.append(i < 60)
    put(lake, t.CLEAN_POOL, rows, "b00")
    put(lake, t.SCORES, scores, "b00")
    about = {"flipped": False, "label_source": "people", "rule": "r", "weight": 1.0, "license": "x"}
    put(lake, t.RELEASE_CURATED, [r | about for r, c in zip(rows, curated, strict=True) if c], "b00")
    elsewhere = {"name": "matched", "where": "conversation[1].content NOT LIKE '%soup%'", "like": "filtered"}
    found = pairs_of(tmp_path, [{"name": "filtered", "data": "filtered"}, elsewhere], lake)
    assert found["matched"] == "".join(f"p{i:03d}" for i in range(60, 120))


def test_equal_sets_have_equal_hashes_whatever_they_are_called(tmp_path):
    lake = lake_of(tmp_path)
    pairs_of(tmp_path, [{"name": "one", "data": "filtered"}, {"name": "two", "data": "filtered@stage2"},
                        {"name": "three", "data": "corrected"}], lake)  # fmt: skip
    hashes = dict(query(lake, "SELECT arm, hash FROM experiment_sets"))
    assert hashes["one"] == hashes["two"] != hashes["three"]


# ---- configuration -------------------------------------------------------------------------------------------------
def made(*experiments: dict, **more) -> Settings:
    return settings(experiments=list(experiments), **more)


@pytest.mark.parametrize(
    ("experiment", "why"),
    [
        ({"name": "e"}, "no arms"),
        ({"name": "null"}, "preset = 'null'"),
        ({"name": "e.f", "preset": "null"}, "string_pattern_mismatch|pattern"),
        ({"name": "e", "arms": [{"name": "a", "data": "nonsense"}]}, "no such data"),
        ({"name": "e", "arms": [{"name": "a", "data": "unguided@stage2"}]}, "after stage 1"),
        ({"name": "e", "arms": [{"name": "a", "data": "source:nobody"}]}, "no source 'nobody'"),
        ({"name": "e", "arms": [{"name": "a", "data": "form:raw"}]}, "no form 'raw'; there are whole"),
        ({"name": "e", "arms": [{"name": "a"}], "alike_first": ["b"]}, "alike_first: no arm b"),
        ({"name": "e", "arms": [{"name": "a", "data": "filtered@iter_77"}]}, "iterations 0 to"),
        ({"name": "e", "arms": [{"name": "a", "like": "b"}]}, "no other arm 'b'"),
        ({"name": "e", "arms": [{"name": "a", "like": "b"}, {"name": "b", "size": 3}]}, "a size of its own"),
        ({"name": "e", "arms": [{"name": "a", "size": 2, "share": 0.5}]}, "one of like"),
        ({"name": "e", "arms": [{"name": "a"}, {"name": "a"}]}, "must differ"),
        (
            {"name": "e", "preset": "matched", "arms": [{"name": "filtered", "data": "corrected"}]},
            "also from the preset's",
        ),
        ({"name": "e", "arms": [{"name": "a"}, {"name": "b"}], "compare": ["a - b", "a - b"]}, "compared twice"),
        ({"name": "e", "arms": [{"name": "a"}], "evaluate": ["nobody"]}, "evaluate names nobody"),
        ({"name": "e", "arms": [{"name": "a"}], "compare": ["a - b"]}, "no arm b"),
        ({"name": "e", "arms": [{"name": "a", "recipe": {"epochs": 2}}]}, "a recipe of its own"),
        ({"name": "e", "arms": [{"name": "a", "backbone": {"name": "b"}}]}, "a backbone of its own.*different_recipes"),
    ],
)
def test_an_experiment_that_cannot_be_is_refused(experiment, why):
    with pytest.raises(ValueError, match=why):
        made(experiment)


def test_unequal_recipes_are_allowed_where_they_are_asked_for():
    one = {"name": "e", "arms": [{"name": "a", "recipe": {"epochs": 2}}], "different_recipes": True}
    assert made(one).experiment("e").arms[0].recipe is not None


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_compares_arms_that_it_has(preset):
    raw = {"name": "raw", "share": 0.5, "attributes": False}
    whole = made({"name": "e", "preset": preset}, stage1={"iterations": 3}, people={"arms": [raw]}).experiment("e")
    assert whole.question and whole.compare and len({a.name for a in whole.arms}) == len(whole.arms)


def test_presets_follow_the_lake():
    assert len(expanded("pipeline", 8, ()).arms) == 3 * 10
    keys = made({"name": "s", "preset": "sources"}).partition_keys("training_set")
    assert keys == ["s.s", "s.all-sources"]
    with pytest.raises(ValueError, match="needs an iteration"):
        expanded("bars", 0, ())
