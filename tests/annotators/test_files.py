"""People through files and from records: what goes out, what comes in, what is refused."""

import json

import pytest

from assets import stage1
from curation.tables import ANNOTATION_BATCH, ATTRIBUTES, CLEAN_POOL, HUMAN_LABELS
from resources.annotators.backends import BadAnswers, Waiting, backend
from resources.lake import Lake
from tests.support.answers import FREE, batch, exported, pair, truly, write
from tests.support.lakes import make, put, query, settings

ASKED = "Name a prime above 10."


@pytest.fixture
def office(tmp_path):
    def people(**keys):
        keys = {"backend": "files", "folder": str(tmp_path / "people"), "cost_per_label": 0.25, "overlap": 0} | keys
        return backend(settings(people=keys), Lake(str(tmp_path / "lake")))

    return tmp_path / "people" / "iter_00", people


def test_a_batch_goes_out_and_answers_come_back_in_the_original_order(office):
    folder, people = office
    with pytest.raises(Waiting, match=r"batch\.jsonl: 40 of 40 answers are missing"):
        people().label(batch(), "iter_00")
    write(folder, [truly(item) for item in exported(folder)])
    labels = people().label(batch(), "iter_00")
    assert labels.schema.equals(HUMAN_LABELS.schema)
    rows = labels.to_pylist()
    assert len(rows) == len({r["event_id"] for r in rows}) == 40
    for r in rows:
        says_chosen = (r["verdict"] == "first") == (r["shown_first"] == "chosen")
        assert says_chosen
        assert (r["seconds"], r["cost_micros"], r["backend"], r["simulated"]) == (31.5, 250_000, "files", False)
    first = [r["shown_first"] for r in rows].count("chosen")
    assert 8 <= first <= 32  # a fair coin for 40 pairs: outside with p < 1e-4
    assert people().label(batch(), "iter_00").equals(labels)


def test_what_people_see_tells_neither_label_nor_model(office):
    folder, people = office
    with pytest.raises(Waiting):
        people().label(batch(4), "iter_00")
    text = json.dumps([{k: v for k, v in i.items() if k != "protocol"} for i in exported(folder)])
    for word in ("chosen", "rejected", "label_origin", "source", "score", "reward", "judge"):
        assert word not in text
    item = exported(folder)[0]
    assert set(item) == {
        "pair_id",
        "conversation",
        "candidate_1",
        "candidate_2",
        "attributes",
        "protocol",
        "protocol_version",
    }
    # people read the sentences on assistants and search, without their tags
    assert "An assistant may help you" in item["protocol"] and "search engine" in item["protocol"]
    assert "<llm>" not in item["protocol"] and "Task: math" in item["protocol"]


def test_unusable_rows_are_listed_with_row_and_reason(office):
    folder, people = office
    with pytest.raises(Waiting):
        people().label(batch(2), "iter_00")
    good = truly(exported(folder)[0], verdict="undecided", why_undecided="missing")
    lines = [
        json.dumps(good | {"pair_id": "elsewhere"}),
        json.dumps(good | {"verdict": "chosen"}),
        json.dumps(good | {"annotator": " "}),
        json.dumps(good | {"seconds": "soon"}),
        json.dumps(good | {"seconds": -1}),
        "{broken",
        "[1, 2]",
        json.dumps(good | {"verdict": "candidate_1"}),
        json.dumps(good),
    ]
    (folder / "answers.jsonl").write_text("\n".join(lines))
    with pytest.raises(Waiting, match="1 of 2 answers are missing"):
        people().label(batch(2), "iter_00")
    rejects = [json.loads(line) for line in (folder / "rejects.jsonl").read_text().splitlines()]
    assert [r["row"] for r in rejects] == [1, 2, 3, 4, 5, 6, 7, 8]
    reasons = [r["reason"] for r in rejects]
    assert "'elsewhere' is not in this batch" in reasons[0]
    assert "candidate_1, candidate_2, undecided" in reasons[1] and "'chosen'" in reasons[1]
    assert "annotator is missing" in reasons[2]
    assert "seconds" in reasons[3] and "seconds" in reasons[4]
    assert "not JSON" in reasons[5] and "object" in reasons[6]
    assert reasons[7] == "replaced by row 9"  # a changed mind is one label, not two


def test_answers_as_csv_and_several_annotators(office):
    folder, people = office
    with pytest.raises(Waiting, match="4 of 4"):
        people(annotators=2, **FREE).label(batch(2), "iter_00")
    (folder / "answers.csv").write_text(
        "\ufeffpair_id,verdict,annotator,seconds\n"
        "p00,candidate_1,ann,12\np00,candidate_1,bob,\np01,undecided,ann,9\np01,candidate_2,bob,30\n"
    )
    rows = people(annotators=2, disagreement="leave", **FREE).label(batch(2), "iter_00").to_pylist()
    assert sorted((r["pair_id"], r["annotator"], r["seconds"]) for r in rows) == [
        ("p00", "ann", 12.0),
        ("p00", "bob", None),
        ("p01", "ann", 9.0),
        ("p01", "bob", 30.0),
    ]


def test_answers_to_another_batch_and_unreadable_files_are_refused(office):
    folder, people = office
    with pytest.raises(Waiting):
        people().label(batch(2), "iter_00")
    write(folder, [truly(item) for item in exported(folder)])
    other = Lake(str(folder.parents[1] / "another"))
    keys = {"backend": "files", "folder": str(folder.parent)}
    strangers = batch(2, asked="Name a prime below 10.").set_column(0, "pair_id", [["q00", "q01"]])
    with pytest.raises(BadAnswers, match="this batch of other pairs has been answered"):
        backend(settings(people=keys), other).label(strangers, "iter_00")
    # a batch that has grown since asks for the new pairs alone
    with pytest.raises(Waiting, match="1 of 3 answers are missing"):
        people().label(batch(3), "iter_00")
    (folder / "answers.csv").write_text("pair_id,verdict,annotator\n")
    with pytest.raises(BadAnswers, match="both exist"):
        people().label(batch(2), "iter_00")
    (folder / "answers.csv").unlink()
    (folder / "answers.jsonl").write_bytes(b'{"pair_id": "\xff"}')
    with pytest.raises(BadAnswers, match=r"answers\.jsonl: not UTF-8"):
        people().label(batch(2), "iter_00")


def test_recorded_labels_are_joined_by_content_in_either_order(tmp_path):
    rows = [
        {"prompt": ASKED, "a": "11 good", "b": "10 bad", "winner": "1", "who": "x"},
        # the mirror image of the same pair, by somebody else
        {"prompt": ASKED, "a": "10 bad", "b": "11 good", "winner": "2", "who": "y"},
        {"prompt": ASKED, "a": "12 good", "b": "11 bad", "winner": "2", "who": "x"},
        {"prompt": ASKED, "a": "13 good", "b": "12 bad", "winner": "0", "who": "x"},
        {"prompt": "something else", "a": "14 good", "b": "13 bad", "winner": "1", "who": "x"},
    ]
    path = tmp_path / "labels.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    answers = {
        "path": str(path),
        "shape": "winner",
        "fields": {"prompt": "prompt", "a": "a", "b": "b", "winner": "winner"},
        "codes": {"a": ["1"], "b": ["2"], "tie": ["0"]},
        "annotator_field": "who",
    }
    people = backend(settings(people={"backend": "recorded", "answers": [answers]}), Lake(str(tmp_path / "lake")))
    labels = people.label(batch(4), "iter_00")
    assert labels.schema.equals(HUMAN_LABELS.schema)
    found = sorted((r["pair_id"], r["annotator"], r["shown_first"], r["verdict"]) for r in labels.to_pylist())
    assert found == [
        ("p00", "x", "chosen", "first"),
        ("p00", "y", "rejected", "second"),
        ("p01", "x", "chosen", "second"),
        ("p02", "x", "chosen", "undecided"),
    ]
    assert {r["cost_micros"] for r in labels.to_pylist()} == {0}


@pytest.mark.parametrize("kind", ["files", "recorded"])
def test_a_corrected_answer_makes_the_labels_stale(tmp_path, kind):
    lake, rows = Lake(str(tmp_path / "lake")), [pair("p", "good", "bad")]
    put(lake, CLEAN_POOL, rows, "b00")
    put(lake, ATTRIBUTES, rows, "b00")
    put(lake, ANNOTATION_BATCH, [{"pair_id": "p", "assigned_to": "people"}], "iter_00")
    given = tmp_path / "people" / "iter_00" / "answers.jsonl"
    given.parent.mkdir(parents=True)
    answers = [{"path": str(given), "shape": "pair"}] if kind == "recorded" else []
    people = {"backend": kind, "folder": str(tmp_path / "people"), "answers": answers, **FREE}
    found = []
    for chosen, rejected, verdict in (("good", "bad", "candidate_1"), ("bad", "good", "candidate_2")):
        about = {"pair_id": "p", "verdict": verdict, "annotator": "a"}
        given.write_text(json.dumps(about | {"prompt": ASKED, "chosen": chosen, "rejected": rejected}) + "\n")
        if found:
            assert "outside the lake changed" in stage1.human_labels.stale(settings(people=people), lake, "iter_00")
        make(stage1.human_labels, lake, "iter_00", people=people)
        assert stage1.human_labels.stale(settings(people=people), lake, "iter_00") is None
        found += query(lake, "SELECT (verdict = 'first') = (shown_first = 'chosen') FROM human_labels")
    assert len(found) == 2 and found[0] != found[1]
