"""People correct the attributes of gold: what they wrote is kept beside what was generated, and retrieval uses it."""

import csv
import json

import pyarrow as pa
import pytest

from assets import stage1
from assets.judging import examples_for, gold_index
from curation.tables import ANNOTATION_BATCH, ATTRIBUTES, CLEAN_POOL, EMBEDDINGS, GOLD_PREDICTIONS
from resources.annotators.backends import Waiting
from resources.lake import Lake
from resources.retrieval.embedder import embed
from resources.settings import Embedding
from tests.support.answers import FREE
from tests.support.lakes import DEFAULTS, make, put, query, settings

IT0 = "iter_00"
FIELDS = ("category", "objectivity", "controversiality", "desired", "guideline")
GENERATED = {n: DEFAULTS[n] for n in FIELDS}
WRITTEN = "an apology in the manner of a pirate captain"
POOL = {"edited": {}, "as_it_was": {}, "undecided": {}, "like_generated": {}, "like_written": {"guideline": WRITTEN}}
ASKED = ("as_it_was", "edited", "undecided")


@pytest.fixture
def lake(tmp_path) -> Lake:
    """Five pairs with the same conversation text in clusters of their own; the fifth has the guideline that people will
    write into the first."""
    lake = Lake(str(tmp_path / "lake"))
    rows = [DEFAULTS | {"pair_id": p} | about for p, about in POOL.items()]
    put(lake, CLEAN_POOL, rows, "b00")
    put(lake, ATTRIBUTES, rows, "b00")
    texts = pa.RecordBatch.from_pylist([{n: r[n] for n in ("pair_id", "conversation", *FIELDS)} for r in rows])
    put(lake, EMBEDDINGS, [v for b in embed(Embedding(), [texts]) for v in b.to_pylist()], "b00")
    put(lake, ANNOTATION_BATCH, [{"pair_id": p, "assigned_to": "people"} for p in ASKED], IT0)
    return lake


def answers(first_writes: dict | None = None) -> list[dict]:
    """Three people. Of `edited` two say one category and one another, and the first rewrites the guideline."""
    corrected = {
        "ann": {"category": "role playing", "guideline": WRITTEN} | (first_writes or {}),
        "bob": {"category": "editing"},
        "cid": {"category": "role playing", "objectivity": GENERATED["objectivity"]},
    }
    return [
        {
            "pair_id": pair,
            "annotator": who,
            "verdict": "undecided" if pair == "undecided" else "candidate_1",
            "attributes": {"edited": corrected[who], "as_it_was": GENERATED, "undecided": {"category": "math "}}[pair],
        }
        for pair in ASKED
        for who in ("ann", "bob", "cid")
    ]


def people(lake: Lake) -> dict:
    return {"backend": "files", "folder": str(lake.root) + "/../people", "annotators": 3, **FREE}


def answered(lake: Lake, rows: list[dict], kind: str = "jsonl") -> None:
    folder = lake.path(CLEAN_POOL, "b00").parents[3] / "people" / IT0
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"answers.{kind}").open("w", newline="") as file:
        if kind == "jsonl":
            file.writelines(json.dumps(r) + "\n" for r in rows)
        else:
            table = csv.DictWriter(file, ["pair_id", "annotator", "verdict", *FIELDS])
            table.writeheader()
            table.writerows({n: r[n] for n in ("pair_id", "annotator", "verdict")} | r["attributes"] for r in rows)


def labelled(lake: Lake) -> None:
    for step in (stage1.human_labels, stage1.gold, stage1.edited_attributes):
        make(
            step,
            lake,
            IT0,
            people=people(lake),
            gold={"few_shot": 0.99, "validation": 1e-6, "calibration": 0, "test": 0},
        )


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_gold_has_what_people_wrote_what_was_generated_and_who_wrote(lake, kind):
    answered(lake, answers(), kind)
    labelled(lake)
    rows = query(
        lake, f"SELECT pair_id, {', '.join(FIELDS)}, as_generated, edited_by FROM gold_attributes ORDER BY pair_id"
    )
    same = tuple(GENERATED.values())
    written = ("role playing", *same[1:4], WRITTEN)
    assert rows == [
        ("as_it_was", *same, GENERATED, []),
        ("edited", *written, GENERATED, ["ann", "bob", "cid"]),
    ]
    text = pa.RecordBatch.from_pylist(
        [{"pair_id": "x", "conversation": DEFAULTS["conversation"]} | dict(zip(FIELDS, written, strict=True))]
    )
    (vector,) = next(embed(Embedding(), [text])).column("vector").to_pylist()
    assert query(lake, "SELECT vector FROM gold_attributes WHERE pair_id = 'edited'") == [(vector,)]
    assert query(lake, "SELECT g.vector = e.vector FROM gold_attributes g JOIN embeddings e USING (pair_id)"
        " ORDER BY pair_id") == [(True,), (False,)]  # fmt: skip
    assert query(lake, "SELECT category, edited_by FROM edited_attributes") == [("role playing", ["ann", "bob", "cid"])]


def test_retrieval_and_examples_use_what_people_wrote(lake):
    answered(lake, answers())
    labelled(lake)
    put(lake, GOLD_PREDICTIONS, [
        {"pair_id": "edited", "p": 0.9, "k": 1, "reward_better": 0, "reward_worse": 0, "model_id": "m"}
    ], IT0)  # fmt: skip
    run = make(stage1.retrieved, lake, IT0)
    assert query(lake, "SELECT query_pair, pair_id FROM retrieved") == [("edited", "like_written")]
    target = {"pair_id": "t", "cluster_id": "c", "conversation": DEFAULTS["conversation"], **GENERATED, "k": 1}
    with lake.connect() as con, gold_index(run, con, upto=IT0) as index:
        for about, nearest in (({}, "as_it_was"), ({"category": "role playing", "guideline": WRITTEN}, "edited")):
            (shown,) = examples_for(run, con, pa.Table.from_pylist([target | about]), index).to_pylist()
            assert shown["gold_pair"] == nearest
            assert {n: shown[n] for n in FIELDS} == GENERATED | about


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ({"objectivity": "rather"}, "objectivity must be one of objective, subjective, found 'rather'"),
        ({"desired": 7}, "desired must be text, found 7"),
        ({"guideline": "half \ud83d"}, "guideline must be text, found"),
        (
            {"mood": "grim"},
            "attributes must be an object of category, objectivity, controversiality, desired, guideline,",
        ),
    ],
)
def test_a_correction_that_cannot_be_used_refuses_the_answer_with_its_row(lake, written, reason):
    answered(lake, answers(written))
    with pytest.raises(Exception, match="1 of 9 answers are missing") as e:
        labelled(lake)
    assert isinstance(e.value.__cause__, Waiting)
    rejects = lake.path(CLEAN_POOL, "b00").parents[3] / "people" / IT0 / "rejects.jsonl"
    (row,) = map(json.loads, rejects.read_text().splitlines())
    assert (row["file"], row["row"]) == ("answers.jsonl", 4) and row["reason"].startswith(reason)


def test_another_correction_makes_what_rests_on_it_stale(lake):
    answered(lake, answers())
    labelled(lake)
    assert stage1.edited_attributes.stale(settings(people=people(lake)), lake, IT0) is None
    answered(lake, answers({"guideline": "mind the rhyme"}))
    make(stage1.human_labels, lake, IT0, people=people(lake))
    assert "human_labels" in stage1.edited_attributes.stale(settings(people=people(lake)), lake, IT0)
