"""The pool by attributes, beside the rules of the data card, counted by hand (spec 0.13)."""

from assets.pool_description import pool_description
from curation import tables as t
from resources.lake import Lake
from tests.support.lakes import make, put, query


def turns(text):
    return [{"role": "user", "content": text}]


def test_attributes_count_where_pairs_have_them_and_the_rules_are_measured_by_them(tmp_path):
    lake = Lake(str(tmp_path))
    asked = [
        "Solve the equation x + 3 = 5 for x, please, step by step.",
        "Which colour do you like?",
        "<b>No</b> label",
    ]
    put(lake, t.CLEAN_POOL, [{"pair_id": f"p{i}", "conversation": turns(a)} for i, a in enumerate(asked)], "b00")
    put(lake, t.ATTRIBUTES, [
        {"pair_id": "p0", "category": "math", "objectivity": "objective"},
        {"pair_id": "p1", "category": "math", "objectivity": "subjective", "controversiality": "high"},
    ], "b00")  # fmt: skip
    put(lake, t.DATA_CARD, [{"figure": "category", "source": "", "item": "other", "n": 3, "out_of": 3},
                            {"figure": "language", "source": "", "item": "en", "n": 3, "out_of": 3}])  # fmt: skip
    run = make(pool_description, lake)
    rows = query(lake, "SELECT figure, method, item, n, out_of FROM pool_description ORDER BY ALL")
    assert ("category", "attributes", "math", 2, 2) in rows and ("category", "rules", "other", 3, 3) in rows
    assert ("controversiality", "attributes", "high", 1, 2) in rows and ("language", "detector", "en", 3, 3) in rows
    agree = {f: (n, of) for f, _, _, n, of in rows if f.startswith("rules agree")}
    assert agree["rules agree: category"] == (1, 2)  # the colour is no math
    page = (run.lake.folder("data_card") / "attributes.html").read_text()
    assert "The rules agree with the attributes on 50.0 %" in page and "by detector, 3 pairs" in page


def test_a_pool_without_attributes_says_what_the_rules_say(tmp_path):
    lake = Lake(str(tmp_path))
    put(lake, t.CLEAN_POOL, [{"pair_id": "p"}], "b00")
    put(lake, t.DATA_CARD, [{"figure": "objectivity", "source": "", "item": "objective", "n": 1, "out_of": 1}])
    make(pool_description, lake)
    assert query(lake, "SELECT DISTINCT method FROM pool_description") == [("rules",)]
