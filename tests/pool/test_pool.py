"""Stage 0 through its assets: planted defects are found, the ledger closes, and neither order nor buckets matter."""

import gzip
import itertools
import json
import random
import sys
import types
import unicodedata
from pathlib import Path

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets import answers, pool
from curation.clusters import clusters, signatures
from curation.contamination import BenchmarkIndex, tokens
from curation.tables import BENCHMARK_PROMPTS
from resources.lake import Lake
from resources.run import Run
from resources.settings import load
from tests.support.lakes import published, query, settings

WORDS = [f"{tens}{ones}" for tens in ("red", "blue", "green") for ones in ("ant", "bee", "cat", "dog", "elk")]
PROMPTS = {"long": "Please count: " + ", ".join(WORDS) + "!", "short": "Who are you?"}
EXAMS = {"exam": PROMPTS}
TABLES = ("deduped", "duplicates", "clusters", "benchmark_hits", "clean_pool", "contaminated", "ngram_frequency")


@pytest.fixture(autouse=True)
def benchmark(monkeypatch):
    """Benchmarks of a few prompts in the place of the configured ones."""
    module = types.ModuleType("resources.benchmarks.loader")
    module.prompts = lambda benchmark, lake: pa.Table.from_pylist(
        [{"benchmark": benchmark.name, "item_id": k, "prompt": v} for k, v in EXAMS[benchmark.name].items()],
        BENCHMARK_PROMPTS.schema,
    )
    module.fingerprint = lambda benchmark, lake: json.dumps(EXAMS[benchmark.name])
    monkeypatch.setitem(sys.modules, "resources.benchmarks.loader", module)


def make(folder: Path, files: dict[str, list], buckets: int = 2, **sections) -> Lake:
    """Stage 0 over files of JSON lines: name -> records, or a path; sources get priorities in that order."""
    folder.mkdir(parents=True, exist_ok=True)
    sources = []
    for i, (name, records) in enumerate(files.items()):
        path = folder / f"{name}.jsonl"
        if isinstance(records, list):
            path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records))
        sources.append({"name": name, "path": str(path), "priority": 10 * (i + 1)})
    config = settings(**{"sources": sources, "lake": {"buckets": buckets}, "benchmarks": [{"name": "exam"}]} | sections)
    lake = Lake(str(folder / "lake"))
    steps = (pool.sources, pool.raw_pool, pool.deduped, pool.benchmark_prompts, pool.clusters, pool.benchmark_hits,
             pool.clean_pool, pool.ngram_frequency)  # fmt: skip
    for step in steps:
        for key in config.partition_keys(step.partition) if step.partition else [None]:
            published(step, Run(config, lake, key))
    return lake


def pair(prompt: str, chosen: str = "yes", rejected: str = "no") -> dict:
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


# ---- duplicates ----------------------------------------------------------------------------------------------------
def test_equal_triples_collapse_to_the_source_with_the_lowest_priority_number(tmp_path):
    files = {"b": [pair("Q"), pair("R"), pair("Q")], "a": [pair("Q"), pair("Q", "yes", "maybe")]}
    lake = make(tmp_path, files)
    found = query(lake, "SELECT source, row, copies, also_in FROM deduped JOIN raw_pool USING (pair_id, source, row) "
                        "WHERE chosen = 'yes' AND rejected = 'no' ORDER BY row")  # fmt: skip
    assert found == [("b", 1, 3, ["a"]), ("b", 2, 1, [])]
    assert query(lake, "SELECT source, row, part, kept_source, kept_row FROM duplicates ORDER BY ALL") == [
        ("a", 1, 0, "b", 1), ("b", 3, 0, "b", 1),
    ]  # fmt: skip
    assert query(lake, "SELECT count(*) FROM deduped") == [(3,)]  # a shared response is no duplicate


def test_the_border_between_texts_is_part_of_a_pair(tmp_path):
    lake = make(tmp_path, {"a": [pair("Q", "ab", "c"), pair("Q", "a", "bc")]})
    assert query(lake, "SELECT count(*) FROM deduped") == [(2,)]


def test_mirror_images_are_both_kept_and_marked(tmp_path):
    lake = make(tmp_path, {"a": [pair("Q", "x", "y"), pair("R", "x", "y")], "b": [pair("Q", "y", "x")]}, buckets=3)
    assert query(lake, "SELECT source, row, conflict, bucket FROM deduped ORDER BY ALL")[0][:3] == ("a", 1, True)
    marked = query(lake, "SELECT source, row, bucket FROM deduped WHERE conflict ORDER BY ALL")
    assert [m[:2] for m in marked] == [("a", 1), ("b", 1)] and marked[0][2] == marked[1][2]


def _random_files(seed: int) -> dict[str, list]:
    """Three sources with copies, mirrors, contamination and broken rows."""
    chance = random.Random(seed)
    prompts = [f"Tell me about number {i % 40} and its {i % 7} neighbours" for i in range(120)] + list(PROMPTS.values())
    files: dict[str, list] = {"a": [], "b": [], "c": []}
    for records in files.values():
        for _ in range(150):
            one, two = chance.sample(["yes", "no", "perhaps", "never"], 2)
            records.append(pair(chance.choice(prompts), one, two))
        records += ["{broken", pair("Q", "same", "same"), pair("Q", None, "x")]
    return files


def _rows(lake: Lake) -> dict[str, list]:
    """Every row of stage 0, without what says which bucket it lies in."""
    whole = ("clusters", "ngram_frequency")
    rows = {
        t: query(lake, f"SELECT * {'' if t in whole else 'EXCLUDE (bucket)'} FROM {t} ORDER BY ALL") for t in TABLES
    }
    rows["benchmark_hits"] = sorted(set(rows["benchmark_hits"]), key=str)  # a conversation may lie in two buckets
    return rows


@pytest.mark.parametrize("buckets", [4, pytest.param(64, marks=pytest.mark.slow)])
def test_the_number_of_buckets_does_not_matter(tmp_path, buckets):
    one, other = (_rows(make(tmp_path / str(n), _random_files(3), buckets=n)) for n in (1, buckets))
    assert other == one
    assert len(one["clean_pool"]) > 100 and len(one["duplicates"]) > 50 and one["contaminated"]


def test_shuffled_input_gives_the_same_pairs_copies_and_conflicts(tmp_path):
    files = _random_files(5)
    shuffled = {k: random.Random(1).sample(v, len(v)) for k, v in files.items()}
    same = "SELECT pair_id, source, copies, also_in, conflict FROM deduped ORDER BY ALL"
    assert query(make(tmp_path / "x", files), same) == query(make(tmp_path / "y", shuffled), same)


def test_the_same_input_gives_the_same_bytes(tmp_path):
    """Also after an interruption: a table is either whole or not there (spec 0.07)."""
    files = _random_files(8)
    first, again = (make(tmp_path / n, files) for n in ("x", "y"))
    for name in (*TABLES, "raw_pool", "unusable"):
        for path in sorted(Path(first.root, name).rglob("*.parquet")):
            other = Path(again.root) / path.relative_to(first.root)
            assert pq.read_table(path).equals(pq.read_table(other)), path


# ---- the ledger ----------------------------------------------------------------------------------------------------
def test_every_record_ends_in_exactly_one_place(tmp_path):
    files = _random_files(11)
    lake = make(tmp_path, files)
    records = sum(len(v) for v in files.values())
    ends = "raw_pool", "unusable", "quarantine"
    assert sum(query(lake, f"SELECT count(*) FROM {t}")[0][0] for t in ends) == records
    assert query(lake, "SELECT reason, count(*) FROM unusable GROUP BY 1 ORDER BY 1") == [
        ("identical", 3), ("null_response", 3),
    ]  # fmt: skip
    counts = {t: query(lake, f"SELECT count(*) FROM {t}")[0][0] for t in ("raw_pool", *TABLES)}
    assert counts["raw_pool"] == counts["deduped"] + counts["duplicates"]
    assert counts["deduped"] == counts["clean_pool"] + counts["contaminated"]


def test_a_missing_file_stops_nobody_else(tmp_path):
    lake = make(tmp_path, {"a": [pair("Q")], "gone": None})
    assert query(lake, "SELECT source, row, reason FROM quarantine") == [("gone", 0, "missing_file")]
    assert query(lake, "SELECT source, fingerprint = '', problem IS NOT NULL FROM sources ORDER BY 1") == [
        ("a", False, False), ("gone", True, True),
    ]  # fmt: skip
    assert query(lake, "SELECT count(*) FROM clean_pool") == [(1,)]


def test_a_source_that_brings_no_pair_says_why_and_stops_a_run_that_requires_it(tmp_path):
    asked = {"system": "S", "question": "Q", "chosen": "yes", "rejected": "no"}
    files = {"a": [pair("Q"), pair("Q", "same", "same")], "none": [asked], "ties": [pair("Q", "x", "x")]}
    lake = make(tmp_path, files)
    found = query(lake, "SELECT source, records, pairs, unusable, quarantined, warning FROM imports ORDER BY 1")
    assert [row[:5] for row in found] == [("a", 2, 1, 1, 0), ("none", 0, 0, 0, 1), ("ties", 1, 0, 1, 0)]
    assert found[0][5] is None and 'prompt = "question"' in found[1][5] and "identical 1" in found[2][5]
    source = {"name": "ties", "path": str(tmp_path / "ties.jsonl"), "required": True}
    config, other = settings(sources=[source]), Lake(str(tmp_path / "other"))
    published(pool.sources, Run(config, other, "ties"))
    with pytest.raises(dg.Failure, match="no pair in 1 records: identical 1"):
        published(pool.raw_pool, Run(config, other, "ties"))


def test_every_recorded_answer_is_accepted_or_refused_with_its_reason(tmp_path):
    rows = [{"prompt": "Q", "a": "A", "b": "B", "winner": w} for w in ("a", "A", "b", "bad")]
    (tmp_path / "h.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    codes = {"a": ["a"], "b": ["b"], "both_bad": ["bad"]}
    told = [{"path": str(tmp_path / "h.jsonl"), "shape": "winner", "codes": codes}]
    gone = [{"path": str(tmp_path / "gone.jsonl")}]
    panel = {"panel": [{"name": "one", "backend": "recorded", "answers": told + gone}, {"name": "two"}]}
    config = settings(people={"backend": "recorded", "answers": told}, judges=panel)
    lake = Lake(str(tmp_path / "lake"))
    published(answers.unusable_answers, Run(config, lake))
    assert query(lake, "SELECT answers_of, place, accepted, refused, reasons FROM answer_files ORDER BY ALL") == [
        ("judge one", 0, 2, 2, "unknown_code 1, both_bad 1"), ("judge one", 1, 0, 1, "missing_file 1"),
        ("people", 0, 2, 2, "unknown_code 1, both_bad 1"),
    ]  # fmt: skip
    assert query(lake, "SELECT row, reason FROM unusable_answers WHERE answers_of = 'people' ORDER BY 1") == [
        (2, "unknown_code"), (4, "both_bad")]  # fmt: skip
    assert answers.unusable_answers.stale(config, lake, None) is None
    (tmp_path / "gone.jsonl").write_text(json.dumps(pair("Q")) + "\n")
    assert answers.unusable_answers.stale(config, lake, None)


def test_a_pool_of_nothing_is_empty_tables(tmp_path):
    lake = make(tmp_path, {"gone": None})
    assert [query(lake, f"SELECT count(*) FROM {t}") for t in TABLES] == [[(0,)]] * len(TABLES)


def test_a_changed_file_makes_what_was_made_from_it_stale(tmp_path):
    lake = make(tmp_path, {"a": [pair("Q")]})
    config = settings(
        sources=[{"name": "a", "path": str(tmp_path / "a.jsonl"), "priority": 10}], lake={"buckets": 2},
        benchmarks=[{"name": "exam"}],
    )  # fmt: skip
    assert pool.sources.stale(config, lake, "a") is None
    with open(tmp_path / "a.jsonl", "a") as f:
        f.write(json.dumps(pair("R")) + "\n")
    assert pool.sources.stale(config, lake, "a")


def test_what_may_pass_is_tried_again_by_every_run_and_a_broken_file_is_not(tmp_path, monkeypatch):
    """A hub whose package is missing, and a query over the network that failed; a cut file stays as it is."""
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(gzip.compress(b"".join(json.dumps(pair(f"Q{i}")).encode() + b"\n" for i in range(900)))[:-30])
    sources = [
        {"name": "hub", "path": f"huggingface:owner/pairs@{40 * '0'}"},
        {"name": "net", "query": "SELECT error('lost') AS prompt WHERE 'https://host/x.parquet' > ''"},
        {"name": "cut", "path": str(cut)},
        {"name": "cut2", "query": f"FROM '{cut}'"},
        {"name": "bad", "query": "SELECT error('lost') AS prompt"},
    ]
    config, lake = settings(sources=sources), Lake(str(tmp_path / "lake"))

    def run() -> list[str]:
        again = []
        for step in (pool.sources, pool.raw_pool):
            for key in config.partition_keys("source"):
                if step.stale(config, lake, key):
                    again.append(f"{step.name} {key}")
                    published(step, Run(config, lake, key))
        return again

    monkeypatch.setitem(sys.modules, "datasets", None)
    assert len(run()) == 10
    assert query(lake, "SELECT source, reason FROM quarantine WHERE row = 0 ORDER BY 1") == [
        ("bad", "query_failed"), ("cut", "truncated"), ("cut2", "unreadable"), ("hub", "needs_package"),
        ("net", "query_failed"),
    ]  # fmt: skip
    assert run() == run() == ["raw_pool hub", "raw_pool net"]

    class Rows(list):
        with_format = iter = lambda self, *_, **__: self

    found = types.SimpleNamespace(load_dataset=lambda *_, **__: Rows([pa.Table.from_pylist([pair("Q")])]))
    monkeypatch.setitem(sys.modules, "datasets", found)
    assert run() == ["raw_pool hub", "raw_pool net"] and run() == ["raw_pool net"]
    assert query(lake, "SELECT count(*) FROM raw_pool WHERE source = 'hub'") == [(1,)]


@pytest.mark.parametrize(
    "token", ["hunter-2-hunter", 'hunter"2\\hunter', "hunter-2-hunter \n", "hunter-2\nhunter-3", "hunter''2-hünter"]
)
def test_no_table_holds_the_value_of_an_environment_variable(tmp_path, monkeypatch, token):
    """Neither what a source is read from, nor what is said of its errors and of the rows that cannot be read, however
    its characters are spelt there."""
    monkeypatch.setenv("TOKEN", token)
    monkeypatch.setenv("FOLDER", str(tmp_path))
    monkeypatch.setenv("N", "1")
    (tmp_path / "here.jsonl").write_text(json.dumps(pair("Q")) + "\n")
    rows = "SELECT 'Q' AS prompt, 'A' AS chosen, 1 AS rejected, '${TOKEN}' AS t WHERE ${N} = 1"
    sources = {
        "rows": f'query = "{rows}"',
        "other": f'query = "{rows}"\nfields = {{prompt = "t2"}}',
        "fails": """query = "SELECT error('no ${TOKEN}')" """,
        "where": """path = "here.jsonl"\nwhere = "error('no ${TOKEN}') > ''" """,
        "here": 'path = "${FOLDER}/here.jsonl"',
        "gone": 'path = "${FOLDER}/gone.jsonl"',
    }
    (tmp_path / "assay.toml").write_text(
        "".join(f'[[sources]]\nname = "{name}"\n{text}\n' for name, text in sources.items())
        + "[world]\n[judges]\npanel = [{name = 'one'}, {name = 'two'}]\n"
    )
    config, lake = load(tmp_path / "assay.toml"), Lake(str(tmp_path / "lake"))
    for step in (pool.sources, pool.raw_pool):
        for key in config.partition_keys("source"):
            published(step, Run(config, lake, key))
    tables = {
        t: query(lake, f"SELECT * FROM {t} ORDER BY source") for t in ("sources", "raw_pool", "unusable", "quarantine")
    }
    assert [len(rows) for rows in tables.values()] == [6, 1, 0, 5]
    assert "hunter" not in str(tables) and str(tmp_path / "gone") not in str(tables)
    assert query(lake, "SELECT file, excerpt LIKE '%\"${TOKEN}%' FROM quarantine WHERE source = 'rows'") == [
        (rows, True)
    ]
    assert query(lake, "SELECT path, problem FROM sources WHERE source IN ('here', 'gone') ORDER BY ALL") == [
        ("${FOLDER}/gone.jsonl", "${FOLDER}/gone.jsonl: no such file"), ("${FOLDER}/here.jsonl", None),
    ]  # fmt: skip


# ---- contamination -------------------------------------------------------------------------------------------------
def flagged(lake: Lake) -> list[tuple]:
    return query(lake, "SELECT d.row, c.item_id, c.rule, c.span, c.n_matches FROM contaminated c JOIN deduped d "
                       "USING (pair_id) ORDER BY 1")  # fmt: skip


def test_thirteen_words_of_a_benchmark_remove_a_pair_and_twelve_do_not(tmp_path):
    """Spec 0.08: the span is found whatever its case and punctuation, and is logged."""
    records = [
        pair("Now say " + " - ".join(WORDS[:13]).upper() + " loudly"),
        pair("Now say " + " ".join(WORDS[:12]) + " and no more"),
        pair("x " + " ".join(WORDS[1:]) + " y"),
        pair(" ".join([*WORDS[:6], "et", *WORDS[6:13]])),
    ]
    assert flagged(make(tmp_path, {"a": records}, buckets=1)) == [
        (1, "long", "13-gram", " ".join(WORDS[:13]), 1),
        (3, "long", "13-gram", " ".join(WORDS[1:14]), 2),
    ]


def test_a_short_prompt_matches_as_a_whole_only(tmp_path):
    prompts = ("who are YOU", "So who are you?", "Who are you? Tell me.")
    records = [*map(pair, prompts), pair("Hello", "Who are you?")]
    assert flagged(make(tmp_path, {"a": records}, buckets=1)) == [(1, "short", "short-prompt", "who are you", 1)]


def test_scope_user_looks_at_user_turns_and_scope_all_at_every_text(tmp_path):
    span = " ".join(WORDS[:13])
    said = ("user", "Hi"), ("assistant", span), ("user", "And?")
    turns = [{"role": role, "content": content} for role, content in said]
    records = [pair(turns), pair("Q", span), pair("R", "no", f"well {span}"), pair("S")]
    assert flagged(make(tmp_path / "user", {"a": records}, buckets=1)) == []
    found = flagged(make(tmp_path / "all", {"a": records}, buckets=1, decontamination={"scope": "all"}))
    assert [row for row, *_ in found] == [1, 2, 3]


def test_frequencies_are_counted_over_the_whole_pool(tmp_path):
    """In 21 conversations of several buckets, so boilerplate; one pair holds a rare n-gram beside the frequent one."""
    span = " ".join(WORDS[:13])
    records = [pair(f"{i} {span}") for i in range(20)] + [
        pair(f"0 {span}", "yes", "never"),
        pair("x " + " ".join(WORDS)),
    ]
    lake = make(tmp_path, {"a": records, "b": [pair("Who are you?"), pair("Q")]}, buckets=4)
    assert query(lake, "SELECT count(DISTINCT bucket) > 1 FROM deduped WHERE source = 'a'") == [(True,)]
    assert query(lake, "SELECT span, rule, benchmarks, conversations, pairs, frequent FROM ngram_frequency") == [
        (span, "13-gram", ["exam"], 21, 22, True),
        (" ".join(WORDS[1:14]), "13-gram", ["exam"], 1, 1, False),
        (" ".join(WORDS[2:15]), "13-gram", ["exam"], 1, 1, False),
        ("who are you", "short-prompt", ["exam"], 1, 1, False),
    ]
    assert query(lake, "SELECT source, benchmark, any_match, rare_match FROM contamination ORDER BY ALL") == [
        ("a", "exam", 22, 1), ("a", None, 22, 1), ("b", "exam", 1, 1), ("b", None, 1, 1),
        (None, "exam", 23, 2), (None, None, 23, 2),
    ]  # fmt: skip
    assert query(lake, "SELECT count(*) FROM contaminated") == [(23,)]


def test_the_frequency_of_an_n_gram_in_a_response_counts_its_pair_alone(tmp_path):
    span = " ".join(WORDS[:13])
    records = [pair("Q", span), pair("Q", "yes"), pair("R", span, f"well, {span}")]
    lake = make(tmp_path, {"a": records}, decontamination={"scope": "all"})
    assert query(lake, "SELECT conversations, pairs FROM ngram_frequency") == [(2, 2)]
    assert query(lake, "SELECT DISTINCT any_match, rare_match FROM contamination") == [(2, 2)]


def test_a_new_benchmark_is_searched_for_alone_and_the_result_is_that_of_a_search_for_all(tmp_path, monkeypatch):
    words = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
    monkeypatch.setitem(EXAMS, "new", {"i": f"Say {words}", "j": "who are you?"})
    searched = []

    class Watched(BenchmarkIndex):
        def scan(self, texts, whole=None):
            searched.append(set(self.words.to_pylist()))
            return super().scan(texts, whole)

    monkeypatch.setattr("curation.contamination.BenchmarkIndex", Watched)
    files = {"a": [pair(f"{p} {words}") for p in ("", "Count", *PROMPTS.values())] + [pair("Who are you?"), pair("Q")]}
    both = [{"name": "exam"}, {"name": "new"}]
    lake = make(tmp_path / "x", files)
    assert searched and set().union(*searched) == {"please", "count", "who", "are", "you", *WORDS}
    searched.clear()
    make(tmp_path / "x", files, benchmarks=both)
    assert searched and set().union(*searched) == {"say", "who", "are", "you", *words.split()}
    searched.clear()
    whole = make(tmp_path / "y", files, benchmarks=both)
    assert set().union(*searched) > {"say", *WORDS}
    assert query(whole, "SELECT benchmark FROM benchmark_hits WHERE span = 'who are you' ORDER BY 1") == [
        ("exam",),
        ("new",),
    ]
    assert query(whole, "SELECT item_id, span FROM contaminated WHERE rule = 'short-prompt'") == [
        ("short", "who are you")
    ]
    names = (*TABLES, "benchmark_scans")
    assert [query(lake, f"SELECT * FROM {t} ORDER BY ALL") for t in names] == [
        query(whole, f"SELECT * FROM {t} ORDER BY ALL") for t in names
    ]
    searched.clear()
    make(tmp_path / "x", files)  # a benchmark taken away
    assert not searched
    assert query(lake, "SELECT DISTINCT benchmark FROM benchmark_hits") == [("exam",)]


def test_what_an_earlier_search_found_is_not_believed_of_another_bucket_or_prompt(tmp_path, monkeypatch):
    monkeypatch.setitem(EXAMS, "new", {"i": "What is it?"})
    both = [{"name": "exam"}, {"name": "new"}]
    counts = "SELECT benchmark, count(*) FROM benchmark_hits GROUP BY 1 ORDER BY 1"
    lake = make(tmp_path, {"a": [pair("Who are you?"), pair("What is it?"), pair("Why is it?")]}, benchmarks=both)
    assert query(lake, counts) == [("exam", 1), ("new", 1)]
    make(tmp_path, {"a": [pair("Who are you?"), pair("Why is it?")]}, benchmarks=both)
    assert query(lake, counts) == [("exam", 1)]
    monkeypatch.setitem(EXAMS, "new", {"i": "Why is it?"})
    make(tmp_path, {"a": [pair("Who are you?"), pair("Why is it?"), pair("What is it?", "a")]}, benchmarks=both)
    assert query(lake, "SELECT span FROM benchmark_hits ORDER BY 1") == [("who are you",), ("why is it",)]
    for path in Path(lake.root, "benchmark_scans").rglob("data.parquet"):
        path.unlink()  # an interruption between the two tables
    make(tmp_path, {"a": [pair("Why is it?")]}, benchmarks=both)
    assert query(lake, "SELECT span FROM benchmark_hits") == [("why is it",)]


def _naive(prompts: list[str], texts: list[str], n: int) -> list[set[str]]:
    """The n-grams that each text shares with the prompts, by a plain set of strings."""

    def grams(found: list[str]) -> set[str]:
        counts = [8 if word in "日本" else 12 for word in found]  # twelfths of a word
        ends = [next((j for j in range(i, len(found) + 1) if sum(counts[i:j]) >= 12 * n), 0) for i in range(len(found))]
        return {" ".join(found[i:j]) for i, j in enumerate(ends) if j}

    found = tokens(pa.array([*prompts, *texts]))
    words = [found.words[i:j].to_pylist() for i, j in itertools.pairwise(found.starts.tolist())]
    known = set().union(*map(grams, words[: len(prompts)]))
    return [grams(some) & known for some in words[len(prompts) :]]


@pytest.mark.parametrize("n", [5, 13])
def test_the_hits_are_those_of_a_plain_set_of_strings(n):
    chance = random.Random(n)
    vocabulary = ["the", "a", "of", "Zwölf", "cat's", "3.14", "ﬁne", "日本", "x"]
    prompts = [" ".join(chance.choices(vocabulary, k=chance.randint(0, 40))) for _ in range(40)]
    texts = []
    for _ in range(300):
        words = chance.choices([*vocabulary, "unknown", "other"], k=chance.randint(0, 60))
        at = chance.randint(0, len(words))
        source = chance.choice(prompts).split()
        start = chance.randint(0, len(source))
        texts.append(" ".join(words[:at] + source[start : start + chance.randint(3, 20)] + words[at:]))
    index = BenchmarkIndex(["b"] * 40, [str(i) for i in range(40)], prompts, n)
    found = index.scan(pa.array(texts))
    hits: list[set[str]] = [set() for _ in texts]
    for text, gram in zip(found.text.tolist(), found.gram.tolist(), strict=True):
        if not index.short[gram]:
            hits[text].add(index.span(gram))
    expected = _naive(prompts, texts, n)
    assert hits == expected and sum(map(bool, expected)) > 50


def test_scripts_without_spaces_are_split_into_characters():
    assert tokens(pa.array(["日本 ok", "", None, " , "])).words.to_pylist() == ["日", "本", "ok"]
    assert tokens(pa.array(["日本 ok", "", None, " , "])).starts.tolist() == [0, 3, 3, 3, 3]


ODD = st.sampled_from("aZ9_-'. \t\n\r\x00\x1f\x7f") | st.sampled_from("\u00a0\u2028é你\u0301\u200dＡßİ١")


@given(st.lists(st.none() | st.text(ODD, max_size=12), max_size=6), st.integers(0, 3))
def test_words_are_those_that_plain_python_finds_whoever_stands_beside(texts, skipped):
    found = tokens(pa.array(["x", "é!", *texts], pa.string()).slice(skipped))
    words = [found.words.to_pylist()[i:j] for i, j in itertools.pairwise(found.starts.tolist())]
    assert words == [_words(text or "") for text in ["x", "é!", *texts][skipped:]]


def _words(text: str) -> list[str]:
    """Runs of letters, marks and digits, without what has no width; a character of Chinese is one of its own."""
    plain = "".join(c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf")
    spaced = "".join(f" {c} " if c == "你" else c if unicodedata.category(c)[0] in "LMN" else " " for c in plain)
    return "".join(map(_lower, spaced)).split()


def _lower(character: str) -> str:
    """One character for one, as Unicode's simple mapping has it."""
    return "i" if character == "İ" else character.lower()


def test_an_index_of_no_prompts_finds_nothing():
    found = BenchmarkIndex([], [], []).scan(pa.array(["who are you", " ".join(WORDS)]))
    assert found.text.tolist() == []


# ---- clusters ------------------------------------------------------------------------------------------------------
def test_near_duplicates_share_a_cluster_named_by_its_smallest_member():
    base = " ".join(f"word{i}" for i in range(100))
    texts = {"c": base, "a": base + " more", "b": base.upper() + "!", "d": " ".join(f"other{i}" for i in range(100))}
    texts |= {"e": "Hi", "f": "hi!", "g": "Hello"}
    expected = {"a": "a", "b": "a", "c": "a", "d": "d", "e": "e", "f": "e", "g": "g"}
    for order, threads in ((list(texts), 1), (sorted(texts, reverse=True), 1), (list(texts), 3)):
        batches = [([n], pa.array([texts[n]]), np.zeros(1, int)) for n in order]
        assert dict(clusters(batches, threads=threads)) == expected


def test_signatures_agree_as_often_as_shingles_do():
    words = [f"w{i}" for i in range(400)]
    one, two = " ".join(words[:300]), " ".join(words[100:])
    shared, both = 300 - 100 - 4, 400 - 4
    signed = signatures(pa.array([one, two]))
    assert (signed[0] == signed[1]).mean() == pytest.approx(shared / both, abs=0.13)  # three standard errors
