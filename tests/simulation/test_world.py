"""The generated world: its planted truth holds in the files as a user's reader finds them."""

import json
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.reference import planted_world, reference_labels
from curation.identity import comparison_id, conv_id, text_hash
from curation.tables import PLANTED_LABELS, PLANTED_ROWS, WORLD_FILES
from resources.lake import Lake
from resources.run import Run
from resources.settings import Settings
from resources.sources.reader import read_source
from simulation.topics import TOPICS
from simulation.world import GRAM, Profile, generate, normalised_words
from simulation.world_files import BENCHMARK_FILE, READABLE, write_files
from tests.support.lakes import published

CATEGORIES = {
    "information seeking", "coding & debugging", "advice seeking", "math", "creative writing", "reasoning", "planning",
    "data analysis", "editing", "role playing", "brainstorming", "other",
}  # fmt: skip


@pytest.fixture(scope="module")
def world():
    return generate(3000, seed=11)


@pytest.fixture(scope="module")
def read(settings, lake) -> dict[str, dict[str, pa.Table]]:
    """What the pool's reader makes of the files: source -> pairs, unusable, quarantine."""
    found = {}
    for source in settings.sources:
        batches = list(read_source(source, lake))
        found[source.name] = {
            part: pa.Table.from_batches([getattr(b, part) for b in batches])
            for part in ("pairs", "unusable", "quarantine")
        }
    return found


@pytest.fixture(scope="module")
def planted(lake) -> dict[tuple[str, int], tuple[str, str]]:
    with lake.connect() as con:
        rows = con.execute("SELECT source, row, kind, detail FROM planted_rows").fetchall()
    return {(source, row): (kind, detail) for source, row, kind, detail in rows}


@pytest.fixture(scope="module")
def pairs(read) -> dict[tuple[str, int], dict]:
    return {(s, r["row"]): r for s, parts in read.items() for r in parts["pairs"].to_pylist()}


def user_words(turns) -> list[str]:
    return normalised_words(" ".join(content for role, content in turns if role == "user"))


def spans(words: list[str], n: int) -> set[tuple[str, ...]]:
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


def test_topics_cover_the_closed_vocabularies():
    assert {t.category for t in TOPICS} == CATEGORIES
    assert len({t.name for t in TOPICS}) == len(TOPICS) >= 24
    assert {t.objectivity for t in TOPICS} == {"objective", "subjective"}
    assert {t.controversiality for t in TOPICS} == {"low", "medium", "high"}


def test_equal_arguments_give_equal_bytes(world, tmp_path):
    write_files(world, tmp_path / "one")
    write_files(generate(3000, seed=11), tmp_path / "two")
    write_files(generate(3000, seed=12), tmp_path / "other")
    names = sorted(p.name for p in (tmp_path / "one").iterdir())
    assert names == ["arena.jsonl.gz", "crawl.csv", "forum.jsonl", BENCHMARK_FILE, "ratings.parquet"]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
        assert (tmp_path / "one" / name).read_bytes() != (tmp_path / "other" / name).read_bytes()


def test_records_add_up_and_stage_1_gets_its_share(world):
    sizes = {source: len(rows) for source, rows in world.records.items()}
    assert sum(sizes.values()) == 3000
    assert sizes["forum"] + sizes["arena"] == 750
    wide = generate(3000, seed=11, stage1_share=0.4)
    assert len(wide.records["forum"]) + len(wide.records["arena"]) == 1200


@pytest.mark.parametrize("pairs", [200, 777])
def test_a_small_world_has_every_defect(pairs):
    kinds = Counter(r.kind for r in generate(pairs, seed=3).rows())
    assert set(kinds) == {
        "plain", "noisy", "ambiguous", "duplicate", "mirror", "contaminated", "null", "identical", "tie", "broken"
    }  # fmt: skip
    assert sum(kinds.values()) == pairs


def test_style_adds_nothing_to_utility():
    plain = Profile()
    assert plain.utility() == pytest.approx(1.5 + 2.0 + 2 * 0.8 + 1.2 + 1.0)
    assert Profile(flattery=True, padding=True, bullets=True).utility() == plain.utility()
    assert Profile(concrete=0, civil=False).utility() == pytest.approx(7.3 - 1.6 - 1.2)


def test_label_noise_depends_on_the_topic():
    wrong, seen = Counter(), Counter()
    for r in generate(20_000, seed=5).rows():
        if r.kind in ("plain", "noisy"):
            seen[r.comparison.topic] += 1
            wrong[r.comparison.topic] += r.comparison.label_wrong
    for topic in TOPICS:
        sigma = (topic.noise * (1 - topic.noise) / seen[topic]) ** 0.5
        assert abs(wrong[topic] / seen[topic] - topic.noise) < 4 * sigma, topic.name
    mostly_wrong = [t for t in TOPICS if wrong[t] > seen[t] / 2]
    assert len(mostly_wrong) == 8 and all(0.6 < wrong[t] / seen[t] < 0.85 for t in mostly_wrong)


def test_noisy_topics_reward_length_and_clean_topics_do_not(world):
    longer, seen = Counter(), Counter()
    for r in world.rows():
        c = r.comparison
        if r.kind == "ambiguous":  # equal substance, so that length is style
            noisy = c.topic.noise > 0.5
            seen[noisy] += 1
            longer[noisy] += len(c.chosen) > len(c.rejected)
    assert longer[True] / seen[True] > 0.75
    assert 0.35 < longer[False] / seen[False] < 0.65


def test_texts_are_filled_and_short(world):
    for r in world.rows():
        c = r.comparison
        texts = [content for _, content in c.conversation] + [c.better, c.worse]
        assert not any(set("{}|") & set(t) for t in texts)
        assert sum(len(t.split()) for t in texts) < 180
    assert any(len(r.comparison.conversation) == 3 for r in world.records["forum"])


def test_conversations_are_mostly_distinct(world):
    fresh = [r.comparison for r in world.rows() if r.kind in ("plain", "noisy", "ambiguous")]
    conversations = Counter(c.conversation for c in fresh)
    assert max(conversations.values()) == 1


def test_every_readable_row_is_a_pair_with_known_truth(planted, pairs, truth):
    for place, (kind, _) in planted.items():
        assert (place in pairs) == (kind in READABLE), (place, kind)
        if kind not in READABLE:
            continue
        known = truth[pairs[place]["comparison_id"]]
        better = {pairs[place]["chosen"]: "chosen", pairs[place]["rejected"]: "rejected"}
        better = {text_hash(t): side for t, side in better.items()}.get(known["winner"])
        if kind == "plain":
            assert better == "chosen"
        if kind == "noisy":
            assert better == "rejected"
        assert (better is None) == (known["gap"] == 0)
        if kind == "ambiguous":
            assert better is None


def test_every_other_row_is_refused_with_a_reason(planted, read):
    reasons: dict[str, set[str]] = {}
    for source, parts in read.items():
        refused = parts["unusable"].select(["row", "reason"]).to_pylist()
        refused += parts["quarantine"].select(["row", "reason"]).to_pylist()
        assert {r["row"] for r in refused} == {
            row for (s, row), (kind, _) in planted.items() if s == source and kind not in READABLE
        }
        for r in refused:
            reasons.setdefault(planted[source, r["row"]][0], set()).add(r["reason"])
        assert parts["quarantine"].num_rows >= 1
    assert reasons["identical"] == {"identical"}
    assert reasons["tie"] == {"tie", "no_label"}
    assert {"not_json", "wrong_type", "wrong_fields"} <= reasons["broken"]


def test_duplicates_repeat_and_mirrors_contradict_the_row_they_name(planted, pairs):
    within = across = 0
    for place, (kind, detail) in planted.items():
        if kind in ("duplicate", "mirror"):
            source, row = detail.rsplit(" ", 1)[1].split(":")
            mine, other = pairs[place], pairs[source, int(row)]
            assert mine["comparison_id"] == other["comparison_id"]
            assert (mine["pair_id"] == other["pair_id"]) == (kind == "duplicate")
            if kind == "duplicate":
                within += source == place[0]
                across += source != place[0]
    assert within > 30 and across > 30


def test_contamination_is_where_it_was_planted_and_nowhere_else(planted, pairs, lake):
    prompts = pq.read_table(lake.folder("world") / BENCHMARK_FILE).column("prompt").to_pylist()
    words = [normalised_words(p) for p in prompts]
    sizes = {min(GRAM, len(w)) for w in words}
    marks = {n: set().union(*(spans(w, n) for w in words if min(GRAM, len(w)) == n)) for n in sizes}
    assert min(sizes) < GRAM
    seen = Counter()
    for place, pair in pairs.items():
        turns = [(t["role"], t["content"]) for t in pair["conversation"]]
        hit = any(spans(user_words(turns), n) & marks[n] for n in sizes)
        kind, detail = planted[place]
        assert hit == (kind == "contaminated"), (place, kind, turns)
        if hit:
            seen[detail.split(": ")[1]] += 1
    assert set(seen) == {"upper case", "punctuation", "spacing", "embedded"}


def test_the_benchmark_is_balanced_and_apart_from_the_pool(lake, pairs):
    items = pq.read_table(lake.folder("world") / BENCHMARK_FILE).to_pylist()
    assert list(items[0]) == ["item_id", "subset", "prompt", "chosen", "rejected"]
    assert set(Counter(i["subset"] for i in items).values()) == {48}
    assert len({i["item_id"] for i in items}) == len({i["prompt"] for i in items}) == 288
    pool = {
        (p["conversation"][-1]["content"], answer) for p in pairs.values() for answer in (p["chosen"], p["rejected"])
    }
    assert not pool & {(i["prompt"], answer) for i in items for answer in (i["chosen"], i["rejected"])}


def test_planted_rows_name_every_record(read, planted, settings):
    for source, parts in read.items():
        rows = {r for part in parts.values() for r in part.column("row").to_pylist()}
        assert rows == {row for s, row in planted if s == source}


def test_a_configured_world_is_the_reference_and_without_one_nothing_is_planted(settings, lake, tmp_path, truth):
    published(reference_labels, Run(settings, lake))
    with lake.connect() as con:
        assert {r["comparison_id"]: r for r in con.sql("FROM reference_labels").to_arrow_table().to_pylist()} == truth
    bare = Lake(str(tmp_path))
    published(planted_world, Run(settings.model_copy(update={"world": None}), bare))
    assert [bare.rows(t) for t in (WORLD_FILES, PLANTED_ROWS, PLANTED_LABELS)] == [0, 0, 0]


def test_reference_labels_are_the_majority_of_people(settings, tmp_path):
    def line(prompt, winner, who):
        return {"prompt": prompt, "one": "yes", "two": "no", "w": winner, "who": who}

    lines = [line("p", "1", "a"), line("p", "1", "b"), line("p", "2", "c"), line("q", "1", "a"), line("q", "2", "b")]
    path = tmp_path / "people.jsonl"
    path.write_text("".join(json.dumps(x) + "\n" for x in lines))
    answers = {
        "path": str(path), "shape": "winner", "annotator": "panel", "annotator_field": "who",
        "fields": {"prompt": "prompt", "a": "one", "b": "two", "winner": "w"}, "codes": {"a": ["1"], "b": ["2"]},
    }  # fmt: skip
    real = settings.model_dump() | {"world": None, "reference": {"answers": [answers]}}
    real["people"] |= {"backend": "recorded", "answers": [answers]}
    real["judges"] = {"panel": [{"name": n, "backend": "recorded", "answers": [answers]} for n in ("x", "y")]}
    real["attributes"]["backend"] = "heuristic"
    lake = Lake(str(tmp_path / "lake"))
    published(reference_labels, Run(Settings.model_validate(real), lake))
    with lake.connect() as con:
        found = {r["comparison_id"]: r for r in con.sql("FROM reference_labels").to_arrow_table().to_pylist()}
    p, q = (comparison_id(conv_id([("user", x)]), "yes", "no") for x in "pq")
    assert found[p]["winner"] == text_hash("yes") and found[p]["gap"] == pytest.approx(2 / 3)
    assert found[p]["origin"] == "people" and found[p]["topic"] == "panel"
    assert found[q]["winner"] == "" and found[q]["gap"] == 0.5


def test_the_noise_of_the_labels_is_configured_and_changes_nothing_else():
    def wrong(noise: float) -> float:
        plain = [r.comparison for r in generate(3000, seed=11, noise=noise).rows() if r.kind in ("plain", "noisy")]
        return sum(c.label_wrong for c in plain) / len(plain)

    as_it_is = wrong(1.0)
    assert wrong(0.0) == 0 and wrong(0.5) == pytest.approx(as_it_is / 2, abs=0.03) and wrong(2.0) > 1.4 * as_it_is
    assert [i.prompt for i in generate(600, 3, noise=0.0).benchmark] == [i.prompt for i in generate(600, 3).benchmark]
