"""The report over a lake of fourteen records, every figure counted by hand."""

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.report import READS, report
from curation import tables as t
from curation.identity import text_hash
from curation.intervals import NOTHING, Estimate
from report import charts
from report.figures import Figure, Figures
from report.page import helps
from resources.benchmarks.loader import load
from resources.lake import Lake
from tests.support.lakes import make, put, query, settings

IT0, IT1 = "iter_00", "iter_01"
CONFIG = {"stage1": {"iterations": 1}, "benchmarks": [{"name": "b"}]}
EVIL = "<script>alert(1)</script> & more"

# pair -> is the original label right? None: nobody can tell; what people, judges or stage 2 made of it
RIGHT = {
    "p01": True,  # gold, original
    "p02": False,  # gold, swapped
    "p03": True,  # silver, original
    "p04": None,  # undecided
    "p05": True,  # kept
    "p06": False,  # kept
    "p07": False,  # flipped
    "p08": True,  # flipped
    "p09": True,  # dropped
    "p10": True,  # gold of role test, original
}
ODD = ("p02", "p06", "p07", "p08")  # their topic; the others' is even


def pool_row(pair: str, row: int, **more) -> dict:
    chosen = EVIL if pair == "p05" else f"good {pair}"
    return {
        "pair_id": pair, "comparison_id": f"x-{pair}", "chosen": chosen, "rejected": f"bad {pair}", "row": row,
        "stage": "stage2" if "p05" <= pair <= "p09" else "stage1",
    } | more  # fmt: skip


def vote(pair: str, judge: str, replicate: int, first: str, answer: str, vote: str, status: str = "ok") -> dict:
    return {
        "pair_id": pair, "judge": judge, "model": "m", "replicate": replicate, "shown_first": first, "answer": answer,
        "vote": vote, "status": status, "examples": [], "request_key": f"{pair} {judge} {replicate}", "cost_micros": 250_000,
    }  # fmt: skip


def model(path: str = "m", **more) -> dict:
    zero = {f.name: "x" if str(f.type) == "string" else 1 for f in t.FINAL_REWARD_MODEL.schema}
    return zero | {"path": path} | more


def fill(lake: Lake, simulated: bool = True, origin: str = "planted") -> None:
    measured = vote("p02", "one", 0, "chosen", "candidate_1", "original") | {"simulated": simulated}
    put(lake, t.GOLD_VOTES, [measured], IT0)
    put(lake, t.JUDGE_CARDS, [
        dict(zip(("judge", "stratum", "figure", "value", "low", "high", "n", "pairs"), r, strict=True)) for r in [
            ("one", "all", "agrees_with_people", 0.75, 0.6, 0.9, 8, 4),
            ("one", "all", "dollars_per_label", 0.00015, None, None, 8, 4),
            ("people", "all", "agrees_with_people", 0.9, 0.8, 0.95, 30, 10),
            ("panel", "all", "effective_votes", 1.8, None, None, 7, 7),
            ("panel: majority, both orders", "all", "credit", 0.7, 0.55, 0.8, 8, 8),
            ("panel: stacking", "all", "agrees_with_people", 0.8, 0.7, 0.9, 8, 8),
            ("panel: stacking", "all", "decides", 1.0, 0.68, 1.0, 8, 8),
            ("panel: stacking", "all", "credit", 0.8, 0.7, 0.9, 8, 8),
            ("panel: stacking", "all", "gain_over_majority", 0.1, -0.02, 0.22, 8, 8),
        ]
    ])  # fmt: skip
    put(lake, t.SOURCES, [{
        "source": "s", "path": "s.jsonl", "fingerprint": "f", "bytes": 1, "shape": "pair", "license": "CC0",
        "redistribution": True, "priority": 1,
    }], "s")  # fmt: skip
    pairs = [pool_row(p, i) for i, p in enumerate(RIGHT, 1)]
    contaminated = pool_row("p11", 12)
    put(lake, t.RAW_POOL, [*pairs, pool_row("p01", 11), contaminated], "s")
    put(lake, t.UNUSABLE, [{"row": 13, "reason": "null_response", "evidence": "chosen is missing"}], "s")
    put(lake, t.QUARANTINE, [
        {"row": 14, "file": "s.jsonl", "reason": "not_json", "error": "expected , or }", "excerpt": "{"}
    ], "s")  # fmt: skip
    contradicted = ("p06", "p08")
    put(lake, t.DEDUPED, [p | {"conflict": p["pair_id"] in contradicted, "copies": 1 + (p["pair_id"] == "p01")}
                          for p in [*pairs, contaminated]], "b00")  # fmt: skip
    put(lake, t.CLEAN_POOL, pairs, "b00")
    put(lake, t.DUPLICATES, [{"pair_id": "p01", "row": 11, "kept_source": "s", "kept_row": 1}], "b00")
    put(lake, t.CONTAMINATED, [{
        "pair_id": "p11", "benchmark": "b", "item_id": "i", "rule": "13-gram", "span": "why", "n_matches": 1,
    }], "b00")  # fmt: skip
    put(lake, t.ATTRIBUTES, [{"pair_id": "p01", "simulated": simulated}], "b00")
    why = {"p01": "random", "p02": "retrieved", "p03": "retrieved", "p04": "retrieved", "p10": "random"}
    put(lake, t.ANNOTATION_BATCH, [{"pair_id": p, "assigned_to": "people", "why": w} for p, w in why.items()], IT0)
    why = {"p06": "retrieved", "p08": "retrieved", "p07": "random", "p09": "random"}
    put(lake, t.ANNOTATION_BATCH, [{"pair_id": p, "assigned_to": "judges", "why": w} for p, w in why.items()], IT1)
    put(lake, t.HUMAN_LABELS, [
        {"event_id": p, "pair_id": p, "verdict": v, "cost_micros": 400_000, "simulated": simulated}
        for p, v in (("p01", "first"), ("p02", "second"), ("p10", "first"))
    ], IT0)  # fmt: skip
    put(lake, t.GOLD, [
        {"pair_id": "p01", "verified_order": "original"},
        {"pair_id": "p02", "verified_order": "swapped"},
        {"pair_id": "p10", "verified_order": "original", "role": "test"},
    ], IT0)  # fmt: skip
    put(lake, t.SILVER, [{"pair_id": "p03", "verified_order": "original"}], IT0)
    put(lake, t.UNDECIDED, [{"pair_id": "p04", "desk": "judges", "reason": "tie"}], IT0)
    votes = [
        vote("p04", "one", 0, "chosen", "tie", "tie"),
        vote("p03", "one", 1, "chosen", "", "none", "not_recorded"),
    ]
    put(lake, t.JUDGE_VOTES, [v | {"simulated": simulated} for v in votes], IT0)
    votes = [
        vote("p06", "one", 0, "chosen", "candidate_1", "original"),
        vote("p06", "one", 1, "rejected", "candidate_1", "swapped"),
        vote("p07", "one", 0, "chosen", "candidate_2", "swapped"),
        vote("p07", "one", 1, "rejected", "candidate_1", "swapped"),
    ]
    put(lake, t.STAGE2_VOTES, [v | {"simulated": simulated} for v in votes], "b00")
    put(lake, t.STAGE2_VERDICTS, [
        {"pair_id": "p07", "verdict": "swapped", "votes": '{"one": "swapped"}'}
    ], "b00")  # fmt: skip
    for iteration, p01, p02 in ((IT0, 0.5, 0.2), (IT1, 0.9, 0.8)):
        put(lake, t.GOLD_PREDICTIONS, [
            {"pair_id": pair, "reward_better": 0.0, "reward_worse": 0.0, "p": p, "k": 1, "model_id": "m"}
            for pair, p in (("p01", p01), ("p02", p02))
        ], iteration)  # fmt: skip
    put(lake, t.BEST_REWARD_MODEL, [
        {"iteration": IT0, "model_id": "m", "path": "m", "pairs": 2, "accuracy": 0.25, "best": False},
        {"iteration": IT1, "model_id": "m", "path": "m", "pairs": 2, "accuracy": 1.0, "best": True},
    ])  # fmt: skip
    put(lake, t.SCORES, [
        {"pair_id": p, "p_best": 0.25, "p_gold": 0.75, "best_model": "m", "gold_model": "m"} for p in ("p05", "p07")
    ], "b00")  # fmt: skip
    decided = {
        "p05": ("keep", "+", "+", ""), "p06": ("keep", "-", "+", "+"), "p07": ("flip", "-", "-", "-"),
        "p08": ("flip", "-", "-", ""), "p09": ("drop", "+", "-", ""),
    }  # fmt: skip
    put(lake, t.DECISIONS, [
        {"pair_id": p, "class": c, "b": b, "g": g, "j": j, "route": "judged" if j else "confident", "rule": "r"}
        for p, (c, b, g, j) in decided.items()
    ], "b00")  # fmt: skip
    for table, name in ((t.KEPT, "keep"), (t.FLIPPED, "flip"), (t.DROPPED, "drop")):
        rows = [{"pair_id": p, "route": "judged" if d[3] else "confident"} for p, d in decided.items() if d[0] == name]
        put(lake, table, rows, "b00")
    curated, swapped = ("p01", "p03", "p05", "p06"), ("p02", "p07", "p08")
    for table, rows in ((t.RELEASE_CURATED, curated), (t.RELEASE_CORRECTED, (*curated, *swapped))):
        put(lake, table, [
            {"pair_id": p, "flipped": p in swapped, "label_source": "m", "rule": "r", "weight": 1.0, "license": "l"}
            for p in rows
        ], "b00")  # fmt: skip
    benchmark(lake)
    put(lake, t.REFERENCE_LABELS, [
        {
            "comparison_id": f"x-{p}", "origin": origin, "topic": "odd" if p in ODD else "even",
            "winner": "" if right is None else text_hash(pool_row(p, 0)["chosen" if right else "rejected"]), "gap": 1.0,
        }
        for p, right in RIGHT.items()
    ])  # fmt: skip
    put(lake, t.PLANTED_ROWS, [
        {"source": "s", "row": row, "kind": kind, "detail": ""}
        for row, kind in ((11, "duplicate"), (5, "duplicate"), (12, "contaminated"), (13, "null"), (14, "broken"),
                          (6, "mirror"))
    ])  # fmt: skip
    fill_rest(lake)


def benchmark(lake: Lake) -> None:
    """Forty items, of which each arm has the first so many right."""
    items = [f"i{i:02d}" for i in range(40)]
    columns = {n: items for n in ("item_id", "prompt", "chosen", "rejected")} | {"subset": ["a"] * 40}
    pq.write_table(pa.table(columns), lake.folder("world") / "planted_benchmark.parquet")
    loaded = load(settings(**CONFIG).benchmarks[0], lake, 0).candidates
    for arm, n in {"original": 30, "filtered": 40, "corrected": 20, "random": 38}.items():
        put(lake, t.FINAL_REWARD_MODEL, [model(arm=arm, pairs=4)], arm)
        put(
            lake,
            t.BENCHMARK_SCORES,
            [
                {
                    "benchmark": "b",
                    "item_id": r["item_id"],
                    "candidate": r["candidate"],
                    "reward": float(r["label"] == (r["item_id"] < f"i{n}")),
                    "truncated": False,
                }
                for r in loaded.to_pylist()
            ],
            arm,
        )
        put(lake, t.BENCHMARK_RESULTS, [score(arm, n / 40)], f"planted|{arm}")
    put(lake, t.BENCHMARK_BASELINES, [score("longer_answer", 0.5)])


def score(arm: str, value: float) -> dict:
    return {
        "arm": arm, "benchmark": "b", "subset": "", "metric": "accuracy", "value": value, "low": value, "high": value,
        "n": 40, "out_of": 40, "ties": 0, "truncated": 0, "missing": [],
    }  # fmt: skip


def fill_rest(lake: Lake, **sections) -> None:
    """Materialise what is not there yet as empty tables."""
    config = settings(**CONFIG | sections)
    for table in READS:
        for key in config.partition_keys(table.partition) if table.partition else [None]:
            if lake.note(table, key) is None:
                put(lake, table, [], key)


def page(lake: Lake) -> str:
    return (lake.folder("report") / "index.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Lake:
    lake = Lake(str(tmp_path_factory.mktemp("lake")))
    fill(lake)
    make(report, lake, **CONFIG)
    return lake


def copy_of(lake: Lake, folder: Path) -> Lake:
    shutil.copytree(lake.root, folder / "lake")
    return Lake(str(folder / "lake"))


def figures(lake: Lake, name: str) -> dict[str, tuple[float, int]]:
    rows = query(lake, f"SELECT figure_group, value, n FROM report_figures WHERE figure = '{name}'")
    return {group: (value, n) for group, value, n in rows}


def test_the_ledger_closes(lake):
    assert {g: n for g, (_, n) in figures(lake, "records").items()} == {
        "input": 14, "quarantine": 1, "removed": 3, "keep": 4, "flip": 3, "drop": 2, "held_out": 1,
    }  # fmt: skip
    assert figures(lake, "ledger_gap") == {"": (0.0, 14)}
    assert figures(lake, "records_by_reason")["removed / duplicate"] == (1.0, 1)
    assert "The ledger closes:" in page(lake)


def test_labels_are_measured_as_they_are_used(lake):
    """A flipped pair is right when its original label was wrong; undecidable pairs count in no precision."""
    found = figures(lake, "label_precision")
    assert found["original"] == (pytest.approx(6 / 9), 9)
    assert found["gold"] == (1.0, 3) and found["silver"] == (1.0, 1)
    assert found["kept"] == (0.5, 2) and found["flipped"] == (0.5, 2) and found["dropped"] == (1.0, 1)
    assert found["kept, confident"] == (1.0, 1) and found["kept, judged"] == (0.0, 1)
    assert found["curated release"] == (0.75, 4) and found["corrected release"] == (pytest.approx(5 / 7), 7)
    assert found["undecided"] == (None, 0)
    assert figures(lake, "undecidable")["original"] == (pytest.approx(0.1), 10)
    assert figures(lake, "undecidable")["undecided"] == (1.0, 1)
    assert figures(lake, "flip_recall")[""] == (0.5, 2) and figures(lake, "wrong_label_kept")[""] == (0.5, 2)
    assert figures(lake, "label_precision_by_topic")["odd / original"] == (0.25, 4)
    ends = query(lake, "SELECT low, high FROM report_figures WHERE figure || figure_group = 'label_precisionoriginal'")
    assert ends[0] == (pytest.approx(0.3542, abs=1e-4), pytest.approx(0.8794, abs=1e-4))  # Wilson, 6 of 9


def test_each_filter_is_measured_by_itself(lake):
    """best: + on p05 (right), p09 (right); - on p06 (wrong), p07 (wrong), p08 (right). gold: - on p07, p08, p09."""
    keep, discard = figures(lake, "filter_keep"), figures(lake, "filter_discard")
    assert keep["best"] == (1.0, 2) and discard["best"] == (pytest.approx(2 / 3), 3)
    assert keep["gold"] == (0.5, 2) and discard["gold"] == (pytest.approx(1 / 3), 3)
    assert keep["best and gold"] == (1.0, 1) and discard["best and gold"] == (0.5, 2)
    assert keep["the rule"] == (0.5, 2) and discard["the rule"] == (0.5, 2)


def test_retrieval_is_compared_with_chance(lake):
    """Decidable and wrong: p02 and p06 of p02, p03, p06, p08 retrieved; p07 of p01, p07, p09, p10 at random. The first
    model errs on p02 (odd) and is unsure of p01 (even), so its weak topic is odd."""
    found = figures(lake, "mislabelled_in_batch")
    assert found["retrieved"] == (0.5, 4) and found["random"] == (0.25, 4)
    assert found["pool"] == (0.25, 4)
    assert figures(lake, "weak_topic_in_batch") == {
        "retrieved": (1.0, 2), "random": (0.5, 2), "pool": (0.2, 5),
    }  # fmt: skip
    assert figures(lake, "swapped_by_people") == {"retrieved": (1.0, 1), "random": (0.0, 2)}
    assert figures(lake, "mislabelled_in_batch_difference")["retrieved - random"] == (0.25, 4)


def test_planted_truth_found(lake):
    recall, precision = figures(lake, "planted_recall"), figures(lake, "planted_precision")
    assert recall["duplicate"] == (0.5, 2) and precision["duplicate"] == (1.0, 1)
    assert recall["contamination"] == (1.0, 1) and precision["contamination"] == (1.0, 1)
    assert recall["contradiction"] == (1.0, 1) and precision["contradiction"] == (0.5, 2)
    assert recall["null"] == (1.0, 1) and recall["broken"] == (1.0, 1)
    assert precision["unusable or broken"] == (1.0, 2)


def test_judges_are_measured_on_what_they_answered(lake):
    assert figures(lake, "judge_agrees_with_reference") == {"one": (0.75, 4)}
    assert figures(lake, "judge_prefers_first") == {"one": (0.75, 4)}
    assert figures(lake, "judge_changes_with_order") == {"one": (0.5, 2)}
    assert figures(lake, "judge_decides") == {"one": (0.8, 5)}
    assert figures(lake, "people_agree_with_reference") == {"a": (1.0, 3)}


def test_the_judges_cards_stand_beside_people_and_name_the_way_of_counting(lake):
    page = (lake.folder("report") / "index.html").read_text()
    text = " ".join(re.sub("<[^>]*>", " ", page).split())
    assert "Measured on 1 pairs that people decided" in text
    assert "one (simulated) 75.0 % (60.0 to 90.0) n = 8 –" in text and "0.000150" in text
    assert "people, with each other 90.0 % (80.0 to 95.0) n = 30" in text
    assert "worth 1.80 votes that err independently (on 7 pairs" in text
    assert "majority, both orders (this run) – – 70.0 % (55.0 to 80.0) n = 8 –" in text
    assert (
        "stacking 80.0 % (70.0 to 90.0) n = 8 100.0 % (68.0 to 100.0) n = 8 80.0 % (70.0 to 90.0) n = 8 +10.0 (−2.0"
        in text
    )


def test_models_and_scores(lake):
    assert figures(lake, "rm_accuracy_final_gold") == {IT0: (0.25, 2), IT1: (1.0, 2)}
    assert figures(lake, "rm_accuracy_own_gold") == {IT0: (0.25, 2), IT1: (1.0, 2)}
    assert figures(lake, "rm_accuracy_gain") == {"last - first": (0.75, 2)}
    rows = query(
        lake,
        "SELECT figure_group, value, low, high FROM report_figures WHERE figure = 'score of b accuracy_difference'"
        " ORDER BY 1",
    )
    assert [(g, v) for g, v, _, _ in rows] == [
        ("corrected - filtered", pytest.approx(-0.5)),
        ("corrected - original", pytest.approx(-0.25)),
        ("filtered - original", pytest.approx(0.25)),
        ("filtered - random", pytest.approx(0.05)),
    ]
    half = 1.96 * (0.25 * 0.75 / 40) ** 0.5  # ten gains among forty items
    assert rows[2][2:] == (pytest.approx(0.25 - half, abs=0.03), pytest.approx(0.25 + half, abs=0.03))
    assert figures(lake, "score of b accuracy")["longer_answer"] == (0.5, 40)
    assert figures(lake, "dollars") == {
        "people / iter_00": (1.2, 3), "one / iter_00": (0.5, 1), "one / iter_00, measured on gold": (0.25, 1),
        "one / stage2": (1.0, 4), "attributes / before stage 1": (0.0, 1),
    }  # fmt: skip


def beaten(filtered: dict[str, float], corrected: dict[str, float]) -> str:
    """What the page says of gains over each baseline, a tenth more or less; NaN is not measured."""
    rows = [Figure("score of b accuracy", arm, Estimate(0.7, 0.6, 0.8), 40) for arm in ("original", "filtered")]
    for arm, gains in (("filtered", filtered), ("corrected", corrected)):
        rows += [Figure("score of b accuracy_difference", f"{arm} - {base}", Estimate(g, g - 0.1, g + 0.1), 40)
                 for base, g in gains.items() if g == g]  # fmt: skip
    return helps(Figures(rows))


def test_curation_helps_only_where_gold_alone_and_the_pool_with_gold_are_beaten():
    names = ("original", "original_with_gold", "gold")
    nothing = dict.fromkeys(names, 0.0)
    assert (
        beaten(dict.fromkeys(names, 0.2), nothing)
        == "Curation helps: filtered beats original, original_with_gold, gold."
    )
    assert beaten(nothing, dict.fromkeys(names, 0.2)).startswith("Curation helps: corrected beats")
    lacking = beaten({"original": 0.2, "original_with_gold": 0.05, "gold": float("nan")}, nothing)
    assert lacking.startswith(
        "That curation helps is not shown: filtered does not beat original_with_gold (+5.0 (−5.0 to +15.0)), gold (not measured);"
    )
    assert helps(Figures([])) == "No benchmark has been run, so whether curation helps is not known."


def test_dollars_a_pair_by_class(lake):
    """Everything together cost 2.95: people 3 x 0.40, judges 7 x 0.25, one of them on a pair that people had."""
    rows = query(
        lake, "SELECT class, pairs, dollars, dollars_a_pair, dollars_a_pair_all_in FROM cost_per_pair ORDER BY 1"
    )
    assert rows == [
        ("drop", 2, 0.25, 0.125, 2.95 / 2),  # p04: a judge
        ("flip", 3, 1.15, pytest.approx(1.15 / 3), pytest.approx(2.95 / 3)),  # p02: 0.40 + 0.25; p07: 2 x 0.25; p08
        ("held_out", 1, 0.4, 0.4, 2.95),
        ("keep", 4, 1.15, 1.15 / 4, 2.95 / 4),  # p01: 0.40; p03: 0.25; p05; p06: 2 x 0.25
    ]


class Reader(HTMLParser):
    """Collects what a browser would run, load, or mark as a verdict."""

    def __init__(self):
        super().__init__()
        self.tags, self.links, self.verdicts, self._in = set(), [], {}, None
        self._row: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.links += [v for k, v in attrs if k in ("src", "href", "data", "action")]
        if tag == "tr":
            self._row = []
        self._in = tag

    def handle_data(self, data):
        if self._in in ("td", "th"):
            self._row.append(data.strip())

    def handle_endtag(self, tag):
        if tag == "tr" and len(self._row) > 3:
            self.verdicts[self._row[1]] = self._row[-1]
        self._in = None


def test_the_page_says_what_agrees_and_what_contradicts(lake):
    reader = Reader()
    reader.feed(page(lake))
    assert reader.verdicts["b accuracy, filtered − original"] == "agrees"
    assert reader.verdicts["b accuracy, corrected − filtered"] == "contradicts"
    assert reader.verdicts["b accuracy, filtered − random"] == "undecided"


def test_texts_of_pairs_stay_texts(lake):
    html = page(lake)
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in html
    reader = Reader()
    reader.feed(html)
    assert "script" not in reader.tags


def test_the_page_stands_alone(lake):
    reader = Reader()
    reader.feed(page(lake))
    assert reader.links == [] and not reader.tags & {"link", "iframe", "img"}
    assert "url(" not in page(lake) and "@import" not in page(lake)


def test_labels_of_drawings_are_texts():
    name = "<b>&"
    drawings = [
        charts.intervals([(name, Estimate(0.5, 0.4, 0.6), "red")], name),
        charts.waterfall([(name, 2, "total"), (name, 1, "loss")], name),
        charts.flow([[name], ["end"]], [(name, "end", 3)], {}, name),
    ]
    for drawing in drawings:
        ElementTree.fromstring(drawing)
        assert "&lt;b&gt;&amp;" in drawing and name not in drawing


def test_nothing_to_draw_is_no_drawing():
    assert charts.intervals([("a", NOTHING, "red")], "t") == ""
    assert charts.waterfall([("a", 0, "total")], "t") == ""
    assert charts.flow([["a"], ["b"]], [("a", "b", 0)], {}, "t") == ""


def test_ribbons_are_as_thick_as_their_counts():
    """Three of four go on: the box of what arrives is three quarters as high."""
    drawing = charts.flow([["a"], ["b", "c"]], [("a", "b", 3), ("a", "c", 1)], {}, "t")
    paths = [p.get("d").split() for p in ElementTree.fromstring(drawing).iter() if p.tag.endswith("path")]
    ends = [[float(y) for y in path[2::3]] for path in paths if path.count("L") == 3]  # corners of a box
    boxes = [round(max(y) - min(y), 3) for y in ends]
    assert boxes == [300.0, 225.0, 75.0]
    assert "<title>a → b: 3</title>" in drawing


def test_equal_lakes_give_equal_pages(lake, tmp_path):
    other = copy_of(lake, tmp_path)
    make(report, other, **CONFIG)
    assert page(other) == page(lake)
    assert other.note(t.REPORT_FIGURES)["version"] == lake.note(t.REPORT_FIGURES)["version"]


def test_what_is_simulated_is_named(lake):
    banner = page(lake).partition("<b>Simulated</b>")[2].partition("</div>")[0]
    assert "the pool and its planted truth, people, the judges one, attributes" in banner
    assert "<b>Recorded</b>" not in page(lake)


REAL = {
    "world": None,
    "people": {"backend": "recorded", "answers": [{"path": "a.jsonl"}]},
    "attributes": {"backend": "heuristic"},
    "judges": {"panel": [{"name": n, "backend": "recorded", "answers": [{"path": "a.jsonl"}]} for n in ("one", "two")]},
}


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> Lake:
    lake = Lake(str(tmp_path_factory.mktemp("real")))
    fill(lake, simulated=False, origin="people")
    make(report, lake, **CONFIG | REAL)
    return lake


def test_nothing_is_called_simulated_that_is_not(real):
    html = page(real)
    assert "simulated" not in html.lower().replace("dollars of simulated labels", "")
    assert "people, the judges one and two" in html.partition("<b>Recorded</b>")[2].partition("</div>")[0]
    assert "<b>Heuristic</b>" in html


def test_peoples_labels_that_the_run_used_do_not_measure_it(real):
    """p01, p02 and p10 were labelled by people in the run; the other seven pairs are judged by people's reference."""
    found = figures(real, "label_precision")
    assert found["original"] == (pytest.approx(4 / 6), 6)
    assert "gold" not in found
    assert query(real, "SELECT DISTINCT against FROM report_figures WHERE figure = 'label_precision'") == [("people",)]


def test_a_gap_in_the_ledger_is_said(lake, tmp_path):
    """A record that was deduplicated away without a trace."""
    lake = copy_of(lake, tmp_path)
    put(lake, t.DUPLICATES, [], "b00")
    make(report, lake, **CONFIG)
    assert figures(lake, "ledger_gap") == {"": (1.0, 14)}
    assert "The ledger does not close:" in page(lake)


def test_an_empty_lake_has_a_report(tmp_path):
    lake = Lake(str(tmp_path))
    config = CONFIG | {"benchmarks": []}
    fill_rest(lake)
    make(report, lake, **config)
    html = page(lake)
    assert "none: no record has been read" in html and "none: there is no reference" in html
    assert html.count("not measured") > 5
