"""The data card: counts by hand, texts that cannot break out of the page, a pool of nothing."""

import pytest

from assets.data_card import content_sample, data_card
from curation.languages import language
from curation.tables import (
    BENCHMARK_HITS,
    BENCHMARK_PROMPTS,
    CLEAN_POOL,
    CONTAMINATED,
    DEDUPED,
    DUPLICATES,
    PERSONAL_DATA,
    QUARANTINE,
    RAW_POOL,
    SOURCES,
    UNUSABLE,
)
from resources.lake import Lake
from resources.run import Run
from tests.support.lakes import make, published, put, query, settings

EVIL = "<script>alert('x')</script>"


@pytest.fixture
def config():
    return settings(sources=[{"name": n, "path": f"{n}.jsonl"} for n in ("a", "b")], world=None,
                    people={"backend": "files"}, attributes={"backend": "heuristic"},
                    judges={"panel": [{"name": "j", "backend": "openai", "model": "m"}], "quorum": 1})  # fmt: skip


def described(root, config) -> tuple[Lake, str]:
    lake = Lake(str(root))
    for bucket in lake.partitions(CLEAN_POOL):
        make(content_sample, lake, bucket)
    [made] = published(data_card, Run(config, lake))
    assert made.metadata["page"].value == str(lake.folder("data_card") / "index.html")
    assert "contradicting" in made.metadata["growth"].value
    return lake, (lake.folder("data_card") / "index.html").read_text()


def fill(lake: Lake) -> None:
    """Two sources: a has three clean pairs (one contradicting), b one; b lost two copies, one contaminated pair."""
    german = "Warum ist der Himmel eigentlich blau und nicht grün, und was hat das mit dem Licht zu tun?"
    english = "Please write a short poem about the sea and the old harbour in winter."
    pairs = [
        {"pair_id": "p1", "conv_id": "c1", "cluster_id": "c1", "source": "a", "chosen": "longer", "rejected": "no",
         "conversation": [{"role": "user", "content": english}], "conflict": True},
        {"pair_id": "p2", "conv_id": "c1", "cluster_id": "c1", "source": "a", "chosen": "no", "rejected": "longer",
         "conversation": [{"role": "user", "content": english}]},
        {"pair_id": "p3", "conv_id": "c2", "cluster_id": "c1", "source": "a", "chosen": "ab", "rejected": "cd",
         "conversation": [{"role": "user", "content": english + "!"}, {"role": "assistant", "content": "Sure."},
                          {"role": "user", "content": "Go on, please, and make it rhyme this time."}]},
        {"pair_id": "p4", "conv_id": "c3", "cluster_id": "c3", "source": "b", "chosen": "x" * 40, "rejected": "y",
         "conversation": [{"role": "user", "content": german}]},
    ]  # fmt: skip
    common = {"fingerprint": "f", "bytes": 1, "shape": "pair", "redistribution": False, "stage": "seed", "joined": 0}
    put(lake, SOURCES, [{"source": "a", "path": "a", "license": f"MIT {EVIL}", **common}], "a")
    put(
        lake,
        SOURCES,
        [{"source": "b", "path": "b", "license": "CC0", **common, "redistribution": True, "problem": EVIL}],
        "b",
    )
    for source in ("a", "b"):
        put(lake, RAW_POOL, [], source)
        put(lake, UNUSABLE, [{"row": 9, "source": source, "reason": "tie", "evidence": EVIL}], source)
        put(lake, QUARANTINE, [{"source": source, "file": "f", "row": 0, "reason": "truncated", "error": EVIL,
                                "excerpt": EVIL}] if source == "b" else [], source)  # fmt: skip
    put(
        lake,
        DEDUPED,
        [*pairs, {"pair_id": "p5", "conv_id": "c5", "source": "b"}, {"pair_id": "p6", "conv_id": "c5", "source": "b"}],
        "b00",
    )
    put(lake, DUPLICATES, [{"pair_id": "p1", "source": "b", "row": r, "kept_source": k, "kept_row": 1}
                           for r, k in ((1, "a"), (2, "b"))], "b00")  # fmt: skip
    put(lake, CLEAN_POOL, pairs, "b00")
    put(lake, BENCHMARK_PROMPTS, [{"benchmark": "exam", "item_id": EVIL, "prompt": EVIL}])
    hit = {"item_id": EVIL, "rule": "13-gram", "span": EVIL, "conv_id": "c5", "position": 0}
    put(lake, BENCHMARK_HITS, [  # two benchmarks share the words of a conversation, one those of a response
        {**hit, "benchmark": "exam", "place": 0}, {**hit, "benchmark": "quiz", "place": 0},
        {**hit, "benchmark": "exam", "place": 2}, {**hit, "benchmark": "test", "place": 1 << 30, "pair_id": "p6"},
    ], "b00")  # fmt: skip
    put(lake, CONTAMINATED, [{"pair_id": "p5", "source": "b", "benchmark": "exam", "item_id": EVIL, "rule": "13-gram",
                              "span": EVIL, "n_matches": 1, "pool_frequency": 1}], "b00")  # fmt: skip


def test_every_count_is_the_one_made_by_hand(tmp_path, config):
    fill(Lake(str(tmp_path)))
    lake, _ = described(tmp_path, config)
    found = {
        (f, s, i): (n, of) for f, s, i, n, of in query(lake, "SELECT figure, source, item, n, out_of FROM data_card")
    }

    def rows(figure: str, source: str = "") -> dict[str, tuple]:
        return {i: v for (f, s, i), v in found.items() if (f, s) == (figure, source)}

    assert rows("end") == {
        "clean": (4, 10), "contaminated": (1, 10), "duplicate": (2, 10), "unusable": (2, 10), "unreadable": (1, 10),
    }  # fmt: skip
    assert rows("end", "a") == {"clean": (3, 4), "unusable": (1, 4)}
    assert rows("refused") == {"tie": (2, 3), "truncated": (1, 3)}
    assert rows("equal to a pair of", "b") == {"a": (1, 2), "b": (1, 2)}
    assert rows("contaminated by") == {"exam": (2, 6), "quiz": (2, 6), "test": (1, 6)}
    assert rows("contaminated by", "b") == {"exam": (2, 3), "quiz": (2, 3), "test": (1, 3)}
    assert rows("contradicting") == {"pairs": (1, None)}
    assert rows("label by") == {"human": (4, 4)}
    assert rows("license") == {f"MIT {EVIL} (not for redistribution)": (3, 4), "CC0": (1, 4)}
    assert rows("longer response") == {"chosen": (2, 4), "rejected": (1, 4), "neither": (1, 4)}
    assert rows("longer response", "b") == {"chosen": (1, 1)}
    assert rows("turns") == {"1": (3, 4), "3": (1, 4)}
    assert rows("characters of the chosen") == {"16": (3, 4), "64": (1, 4)}
    assert rows("percentile of the chosen") == {
        "0": (2, 4), "5": (2, 4), "25": (2, 4), "50": (2, 4), "75": (6, 4), "95": (40, 4), "99": (40, 4), "100": (40, 4),
    }  # fmt: skip
    assert rows("conversations") == {
        "distinct": (3, 3), "near-duplicate clusters": (2, 3), "in a cluster with others": (2, 3),
        "largest cluster": (2, 3),
    }  # fmt: skip
    assert rows("language") == {"en": (3, 4), "de": (1, 4)} and rows("language", "b") == {"de": (1, 1)}
    assert rows("category", "a") == {"creative writing": (2, 3), "other": (1, 3)}


def test_personal_data_are_shown_where_they_are_looked_for_and_of_pairs_that_are_there(tmp_path, config):
    """A scan that was switched off, of a pool that was larger, stays behind."""
    lake = Lake(str(tmp_path))
    fill(lake)
    scan = [{"pair_id": f"p{i}", "place": "chosen", "start": 0, "stop": 3, "kind": "URL", "score": 0.5, "sensitivity": 2}
            for i in range(1, 10)]  # fmt: skip
    put(lake, PERSONAL_DATA, scan, "b00")
    shown = "SELECT item, n, out_of FROM data_card WHERE figure = 'personal data'"
    described(tmp_path, config)
    assert query(lake, shown) == []
    looking = config.model_copy(update={"personal": config.personal.model_copy(update={"backend": "presidio"})})
    described(tmp_path, looking)
    assert query(lake, shown) == [("URL, sensitivity 2", 4, 4)]


def test_a_card_is_made_again_when_only_a_benchmark_has_changed(tmp_path, config):
    lake = Lake(str(tmp_path))
    fill(lake)
    described(tmp_path, config)
    assert data_card.stale(config, lake, None) is None
    put(lake, BENCHMARK_PROMPTS, [{"benchmark": "fresh", "item_id": "i", "prompt": "Why?"}])
    assert data_card.stale(config, lake, None)


def test_texts_cannot_break_out_of_the_page(tmp_path, config):
    fill(Lake(str(tmp_path)))
    _, page = described(tmp_path, config)
    assert "<script" not in page and page.count("&lt;script&gt;") >= 4
    assert "Simulated" not in page


def test_a_pool_of_nothing_has_a_card(tmp_path, config):
    lake = Lake(str(tmp_path))
    put(lake, BENCHMARK_PROMPTS, [])
    for table, keys in ((SOURCES, "ab"), (RAW_POOL, "ab"), (UNUSABLE, "ab"), (QUARANTINE, "ab")):
        for key in keys:
            put(lake, table, [], key)
    for table in (DEDUPED, DUPLICATES, CLEAN_POOL, CONTAMINATED, BENCHMARK_HITS):
        put(lake, table, [], "b00")
    _, page = described(tmp_path, config)
    assert "no record has been read" in page


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Why does my code fail when the list is empty?", "en"),
        ("¿Por qué el cielo es azul durante el día y negro por la noche?", "es"),
        ("为什么天空是蓝色的,而晚上是黑色的?请简单解释一下。", "zh"),
        ("なぜ空は青いのですか。簡単に説明してください。", "ja"),
        ("Почему небо голубое днём и чёрное ночью?", "ru"),
        ("لماذا السماء زرقاء في النهار وسوداء في الليل؟", "ar"),
        ("12 + 30 = ?", "unclear"),
        ("", "unclear"),
    ],
)
def test_the_language_of_a_text(text, code):
    assert language(text) == code
