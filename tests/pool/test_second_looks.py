"""Second looks: overlaps of 5 to 13 words by hand, a judge over the real wire, people by a file (spec 0.09, 0.12)."""

import csv
import stat

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest

from assets import second_looks
from cli.estimate import plan
from curation import tables as t
from curation.overlaps import indexes, overlaps
from resources.lake import Lake
from tests.support.lakes import make, put, query, settings
from tests.support.releases import pair
from tests.support.scripted_server import Step, completion, serving, verdict

TASK = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
WORDS = TASK.split()


def runs(n: int) -> str:
    """A text with n words of the task in a row."""
    return f"before {' '.join(WORDS[:n])} after"


def naive(text: str, task: str) -> int:
    """The longest run by hand, from 5 to 13."""
    a, b = text.split(), task.split()
    return max(
        (
            n
            for n in range(5, 14)
            for i in range(len(a) - n + 1)
            for j in range(len(b) - n + 1)
            if a[i : i + n] == b[j : j + n]
        ),
        default=0,
    )


def test_the_longest_run_is_found_as_by_hand():
    by_length = indexes(["b", "b"], ["1", "2"], [TASK, "zero " + " ".join(WORDS[2:9])], 5, 13)
    texts = [runs(n) for n in (4, 5, 9, 13, 15)] + [" ".join(WORDS[3:9]), "nothing of it"]
    found = {o.text: o for o in overlaps(by_length, pa.array(texts))}
    assert {i: o.n for i, o in found.items()} == {1: 5, 2: 9, 3: 13, 4: 13, 5: 6}
    assert found[2].span == " ".join(WORDS[:9]) and found[2].item_id == "1"
    rng = np.random.default_rng(2)
    some = [" ".join(rng.choice(WORDS[:4], 40)) for _ in range(30)]
    task = " ".join(rng.choice(WORDS[:4], 60))
    found = {o.text: o.n for o in overlaps(indexes(["b"], ["1"], [task], 5, 13), pa.array(some))}
    assert found == {i: n for i, s in enumerate(some) if (n := naive(s, task))}


@pytest.fixture
def lake(tmp_path):
    """Six pairs with a run of the task in one of their texts each: turn, chosen or rejected."""
    lake = Lake(str(tmp_path / "lake"))
    pairs = []
    for i, n in enumerate((4, 5, 6, 13, 15, 13)):
        p = pair(i, "s", asked=runs(n) if i % 3 == 0 else "")
        p |= {"chosen": runs(n)} if i % 3 == 1 else {"rejected": runs(n)} if i % 3 == 2 else {}
        pairs.append(p | {"row": i, "comparison_id": f"{i:032x}"})
    put(lake, t.RAW_POOL, pairs, "s")
    put(lake, t.DEDUPED, pairs, "b00")
    put(lake, t.BENCHMARK_PROMPTS, [{"benchmark": "bench", "item_id": "1", "prompt": TASK}])
    return lake


def asked(url: str, **looks) -> dict:
    one = {
        "name": "one",
        "backend": "openai",
        "model": "m",
        "base_url": f"{url}/v1",
        "price": {"input": 1, "output": 10},
    }
    return {"judges": {"panel": [one], "quorum": 1}, "budget": {"dollars": 1},
            "second_looks": {"overlap": True, "judge": "one"} | looks}  # fmt: skip


def test_a_judge_clears_false_flags_and_the_rate_of_each_length_is_told(lake):
    def says(path, body, n):
        text = body["messages"][-1]["content"]
        assert TASK in text and "shared_words" in text
        return Step(
            completion(verdict("contaminated" if WORDS[14] in text.partition("<<< pair")[2] else "false_positive"))
        )

    with serving(says) as server:
        made = asked(server.url)
        put(lake, t.CLEAN_POOL, [pair(i, "s") for i in range(6)], "b00")
        [line] = [x for x in plan(settings(**made), lake) if x.step == "overlap_verdicts"]
        assert (line.pairs, line.known) == (450, "at most") and line.dollars > 0
        make(second_looks.benchmark_overlaps, lake, "b00", **made)
        flags = query(lake, "SELECT n, place FROM benchmark_overlaps ORDER BY n, place")
        assert flags == [(5, "chosen"), (6, "rejected"), (13, "chosen"), (13, "rejected"), (13, "turn 0")]
        make(second_looks.overlap_verdicts, lake, **made)
        assert query(lake, "FROM overlap_rates") == [(5, 1, 1, 0, 1, 0), (6, 1, 1, 0, 1, 0), (13, 3, 3, 1, 2, 0)]
        assert len(server.requests) == 5
        make(second_looks.overlap_verdicts, lake, **made)
        assert len(server.requests) == 5, "what was answered is stored"
        make(second_looks.overlap_verdicts, lake, **asked(server.url, flags=2))
        assert query(lake, "SELECT n, looked FROM overlap_rates") == [(5, 1), (6, 1), (13, 2)]


def test_nothing_is_searched_and_nobody_asked_unless_it_is_wanted(lake):
    made = settings()
    make(second_looks.benchmark_overlaps, lake, "b00")
    make(second_looks.overlap_verdicts, lake)
    make(second_looks.personal_verdicts, lake)
    assert (
        query(lake, "SELECT count(*) FROM benchmark_overlaps")
        == query(lake, "SELECT count(*) FROM personal_verdicts")
        == [(0,)]
    )
    assert not made.second_looks.overlap
    with pytest.raises(ValueError, match=r"second_looks\.judge: 'nobody' is no judge that can be asked"):
        settings(second_looks={"judge": "nobody"})


def test_no_finding_is_written_out_unless_it_is_wanted(found):
    make(second_looks.personal_verdicts, found)
    assert query(found, "SELECT count(*) FROM personal_verdicts") == [(0,)]
    assert not (found.folder("personal") / "sample.csv").exists()


PHONES = ["+49 30 123456", "555-0100", "10.0.0.1", "x@example.org"]


@pytest.fixture
def found(tmp_path):
    """Four findings, one of each sensitivity, in the chosen responses."""
    lake = Lake(str(tmp_path / "personal"))
    pairs = [pair(i, "s") | {"chosen": f"Call {phone} now."} for i, phone in enumerate(PHONES)]
    put(lake, t.CLEAN_POOL, pairs, "b00")
    put(lake, t.PERSONAL_DATA, [
        {"pair_id": p["pair_id"], "place": "chosen", "start": 5, "stop": 5 + len(phone), "kind": "PHONE_NUMBER", "score": 0.5,
         "sensitivity": 3 - i} for i, (p, phone) in enumerate(zip(pairs, PHONES, strict=True))], "b00")  # fmt: skip
    return lake


def test_a_second_pass_looks_at_findings_and_people_at_a_sample_of_them(found, tmp_path):
    def says(path, body, n):
        text = body["messages"][-1]["content"]
        return Step(completion(verdict("direct" if PHONES[0] in text else "indirect" if PHONES[1] in text else "none")))

    with serving(says) as server:
        made = asked(server.url, sample=1)
        run = make(second_looks.personal_verdicts, found, **made)
        assert len(server.requests) == 4
        path = found.folder("personal") / "sample.csv"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        rows = list(csv.DictReader(path.open()))
        assert len(rows) == 4 and all(">>>" in r["context"] and r["right"] == "" for r in rows)
        for r in rows:
            r["right"] = "yes" if r["sensitivity"] == "3" else "No " if r["sensitivity"] == "2" else ""
        answers = tmp_path / "answers.csv"
        with answers.open("w") as f:
            writer = csv.DictWriter(f, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)
        told = asked(server.url, sample=1, answers=str(answers))
        assert second_looks.personal_verdicts.stale(settings(**told), run.lake, None)
        make(second_looks.personal_verdicts, found, **told)
        assert len(server.requests) == 4
        assert query(found, "FROM personal_rates") == [
            (0, 1, 1, 0, 0, 1, 0, 0), (1, 1, 1, 0, 0, 1, 0, 0), (2, 1, 1, 0, 1, 0, 1, 0),
            (3, 1, 1, 1, 0, 0, 1, 1),
        ]  # fmt: skip
        path.write_text(answers.read_text())
        make(second_looks.personal_verdicts, found, **asked(server.url, sample=1, answers=str(path)))
        assert query(found, "SELECT count(*) FROM personal_verdicts WHERE judge = 'people'") == [(2,)]
        assert list(csv.DictReader(path.open())) == rows, "what was filled in stays"
        semicolons = tmp_path / "semicolons.csv"
        semicolons.write_text(answers.read_text().replace(",", ";"))
        with pytest.raises(
            dg.Failure, match="has no column pair_id, place, right, start; columns are divided by commas"
        ):
            make(second_looks.personal_verdicts, found, **asked(server.url, sample=1, answers=str(semicolons)))
        answers.write_text(answers.read_text().replace("yes", "perhaps"))
        with pytest.raises(dg.Failure, match=r"line \d: right is 'perhaps'; allowed are yes, no and nothing"):
            make(second_looks.personal_verdicts, found, **told)


def test_a_simulated_judge_goes_by_strength(lake):
    made = {"second_looks": {"overlap": True, "judge": "one"}}
    make(second_looks.benchmark_overlaps, lake, "b00", **made)
    make(second_looks.overlap_verdicts, lake, **made)
    assert query(lake, "SELECT n, contaminated, false_positives FROM overlap_rates") == [
        (5, 0, 1),
        (6, 0, 1),
        (13, 3, 0),
    ]
    assert query(lake, "SELECT DISTINCT simulated FROM overlap_verdicts") == [(True,)]
