"""What the report says of people: agreement that can be counted by hand, who did what, what was refused."""

import re

import pytest

from assets.report import report
from curation import tables as t
from resources.lake import Lake
from tests.support.lakes import make, put
from tests.support.places import SHARED

IT0 = "iter_00"
PANDALM = SHARED / "data" / "gold" / "pandalm_testset_v1.json.gz"


def label(pair: str, who: str, verdict: str, **more) -> dict:
    return {"event_id": f"{pair}/{who}", "pair_id": pair, "annotator": who, "verdict": verdict} | more


def text_of(lake: Lake) -> str:
    page = (lake.folder("report") / "index.html").read_text()
    section = page.partition("10. The people")[2].partition("<h2>")[0]
    return " ".join(re.sub(r"<[^>]+>", " ", section).split())


def test_agreement_hints_refusals_and_leftovers_stand_on_the_page(tmp_path):
    """Two people on four pairs, three times of one mind; a hint that is overruled once; an answer that was refused."""
    lake = Lake(str(tmp_path))
    pairs = [f"p{i}" for i in range(4)]
    put(lake, t.ATTRIBUTES, [{"pair_id": p} for p in pairs], "b00")
    ann = [label(p, "ann", "first", hint_verdict="second" if p == "p0" else "first", seconds=5.0) for p in pairs]
    put(lake, t.HUMAN_LABELS, ann + [label(p, "bob<i>", "second" if p == "p3" else "first") for p in pairs], IT0)
    refused = {"ref": "r", "annotator": "bob<i>", "backend": "files", "place": "answers.jsonl, row 7"}
    put(lake, t.REFUSED_ANSWERS, [refused | {"reason": "the guideline is not <b>acknowledged</b>"}], IT0)
    put(lake, t.UNANSWERED, [{"pair_id": "p9", "answers": 1, "closed": "by hand"}], IT0)
    make(report, lake)
    said = text_of(lake)
    assert "8 labels of 2 people" in said
    assert "all 4 8 2 75.0 %" in said and "math 4 8 2 75.0 %" in said
    assert "ann 4 50 % 5 720 0.0 %" in said and "4 labels outside 10 to 300 s" in said
    assert "4 labels were given with a hint that spoke for one side. Of those that decided, 25.0 %" in said
    assert "answers.jsonl, row 7 bob&lt;i&gt; the guideline is not &lt;b&gt;acknowledged&lt;/b&gt;" in said
    assert "iter_00 was closed (by hand); 1 comparison was left" in said


@pytest.mark.skipif(not PANDALM.exists(), reason=f"no {PANDALM}")
def test_agreement_on_the_page_is_that_of_an_independent_count(tmp_path):
    """PandaLM's test set: 999 pairs, three annotators each; equal verdicts counted by a query."""
    import duckdb

    votes = f"SELECT row_number() OVER () AS n, annotator1::INT AS a, annotator2::INT AS b, annotator3::INT AS c FROM read_json('{PANDALM}')"
    rows = duckdb.execute(votes).fetchall()
    [(equal,)] = duckdb.execute(f"SELECT avg((a = b)::INT + (a = c)::INT + (b = c)::INT) / 3 FROM ({votes})").fetchall()
    verdict = ("undecided", "first", "second")
    lake = Lake(str(tmp_path))
    put(
        lake,
        t.HUMAN_LABELS,
        [label(f"p{n}", f"person {k}", verdict[v]) for n, *three in rows for k, v in enumerate(three)],
        IT0,
    )
    make(report, lake)
    assert f"all 999 2,997 3 {100 * equal:.1f} % (" in text_of(lake)
