"""Simulated people, judges and attributes behave as spec 14 asks, and never depend on order or batch."""

import json
from collections import Counter

import pyarrow as pa
import pytest

from curation.identity import pair_id, text_hash
from curation.tables import ATTRIBUTES, HUMAN_LABELS, JUDGE_VOTES
from resources.judges.attribute_models import labeller
from resources.settings import AttributeSettings, Judge
from resources.sources.reader import read_source
from simulation.annotators import SimulatedAttributes, SimulatedChecker, SimulatedJudge, SimulatedPeople, UnknownPairs
from simulation.topics import TOPICS

COLUMNS = ["pair_id", "comparison_id", "conversation", "chosen", "rejected"]
EXAMPLE_COLUMNS = ["target_pair", "rank", "gold_pair", "similarity", "conversation", "chosen", "rejected"]


@pytest.fixture(scope="module")
def targets(settings, lake) -> pa.Table:
    """Pairs of the crawl, without repeated ones."""
    crawl = next(s for s in settings.sources if s.name == "crawl")
    rows = pa.Table.from_batches([b.pairs for b in read_source(crawl, lake)]).select(COLUMNS).to_pylist()
    return pa.Table.from_pylist(list({r["comparison_id"]: r for r in rows}.values()))


@pytest.fixture(scope="module")
def better(targets, truth) -> dict[str, str]:
    """pair_id -> original, swapped or '' as planted."""
    found = {}
    for r in targets.to_pylist():
        winner = truth[r["comparison_id"]]["winner"]
        found[r["pair_id"]] = "" if not winner else "original" if text_hash(r["chosen"]) == winner else "swapped"
    return found


def no_examples() -> pa.Table:
    types = [pa.string(), pa.int64(), pa.string(), pa.float64(), None, pa.string(), pa.string()]
    turns = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    return pa.schema([(n, t or turns) for n, t in zip(EXAMPLE_COLUMNS, types, strict=True)]).empty_table()


def examples(targets, truth, better, same_topic: bool, right: bool, each: int = 4) -> pa.Table:
    """`each` gold pairs a target, of its topic or of topics of other categories, labelled right or wrong."""
    category = {t.name: t.category for t in TOPICS}
    gold = [r for r in targets.to_pylist() if better[r["pair_id"]]]
    by_topic: dict[str, list[dict]] = {}
    for r in gold:
        by_topic.setdefault(truth[r["comparison_id"]]["topic"], []).append(r)
    rows = []
    for t in targets.to_pylist():
        topic = truth[t["comparison_id"]]["topic"]
        if not same_topic:
            topic = next(name for name in by_topic if category[name] != category[topic])
        near = [g for g in by_topic[topic] if g["pair_id"] != t["pair_id"]][:each]
        for rank, g in enumerate(near, 1):
            sides = (g["chosen"], g["rejected"])
            if (better[g["pair_id"]] == "original") != right:
                sides = sides[::-1]
            rows.append((t["pair_id"], rank, g["pair_id"], 0.9, g["conversation"], *sides))
    return pa.Table.from_pylist([dict(zip(EXAMPLE_COLUMNS, r, strict=True)) for r in rows])


def judge(settings, lake, **changes) -> SimulatedJudge:
    return SimulatedJudge(Judge(**{"name": "judge-a", "position_bias": 0.0, **changes}), settings, lake)


def share_right(votes: pa.Table, better: dict[str, str]) -> float:
    rows = [(v["vote"], better[v["pair_id"]]) for v in votes.to_pylist() if better[v["pair_id"]] and v["vote"] != "tie"]
    return sum(vote == truth for vote, truth in rows) / len(rows)


# ---- people --------------------------------------------------------------------------------------------------------
def test_people_err_rarely_and_admit_what_nobody_can_tell(settings, lake, targets, better):
    labels = SimulatedPeople(settings, lake).label(targets, "iter_00")
    assert labels.schema == HUMAN_LABELS.schema and labels.num_rows == targets.num_rows
    wrong = decidable = 0
    for row in labels.to_pylist():
        if not better[row["pair_id"]]:
            assert row["verdict"] == "undecided"
            continue
        chosen = (row["verdict"] == "first") == (row["shown_first"] == "chosen")
        decidable += 1
        wrong += chosen != (better[row["pair_id"]] == "original")
        assert row["verdict"] in ("first", "second")
    assert wrong / decidable == pytest.approx(settings.people.error, abs=0.02)


def test_labels_carry_time_price_and_the_mark_of_a_simulation(settings, lake, targets):
    people = settings.people.model_copy(update={"cost_per_label": 0.55, "annotators": 3})
    labels = SimulatedPeople(settings.model_copy(update={"people": people}), lake).label(targets, "iter_01").to_pylist()
    assert len({r["event_id"] for r in labels}) == 3 * targets.num_rows
    assert Counter(r["annotator"] for r in labels) == {f"person-{i}": targets.num_rows for i in range(3)}
    assert all(10 <= r["seconds"] <= 300 and r["cost_micros"] == 550_000 and r["simulated"] for r in labels)
    first = Counter(r["shown_first"] for r in labels)
    assert first["chosen"] / len(labels) == pytest.approx(0.5, abs=0.03)


def test_people_do_not_depend_on_the_batch(settings, lake, targets):
    whole = {r["event_id"]: r for r in SimulatedPeople(settings, lake).label(targets, "iter_00").to_pylist()}
    part = SimulatedPeople(settings, lake).label(targets.take(list(range(90, 10, -7))), "iter_00").to_pylist()
    assert len(part) == 12 and all(whole[r["event_id"]] == r for r in part)


# ---- judges --------------------------------------------------------------------------------------------------------
def test_replicates_alternate_the_order_and_map_back(settings, lake, targets):
    votes = judge(settings, lake, samples=4).vote(targets, no_examples())
    assert votes.schema == JUDGE_VOTES.schema and votes.num_rows == 4 * targets.num_rows
    first = Counter()
    shown: dict[tuple[str, int], str] = {}
    for v in votes.to_pylist():
        shown[v["pair_id"], v["replicate"]] = v["shown_first"]
        first[v["shown_first"]] += v["replicate"] == 0
        expected = {
            ("candidate_1", "chosen"): "original", ("candidate_2", "rejected"): "original",
            ("candidate_1", "rejected"): "swapped", ("candidate_2", "chosen"): "swapped",
        }.get((v["answer"], v["shown_first"]), "tie" if v["answer"] == "tie" else "none")  # fmt: skip
        assert v["vote"] == expected and v["status"] == "ok" and v["simulated"]
    for pair in targets.column("pair_id").to_pylist():
        assert shown[pair, 0] == shown[pair, 2] != shown[pair, 1] == shown[pair, 3]
    assert first["chosen"] / targets.num_rows == pytest.approx(0.5, abs=0.06)


def test_good_neighbours_help_others_do_not_and_wrong_ones_harm(settings, lake, targets, truth, better):
    def accuracy(shown):
        return share_right(judge(settings, lake, accuracy=0.75).vote(targets, shown), better)

    alone = accuracy(no_examples())
    near = accuracy(examples(targets, truth, better, same_topic=True, right=True))
    one = accuracy(examples(targets, truth, better, same_topic=True, right=True, each=1))
    far = accuracy(examples(targets, truth, better, same_topic=False, right=True))
    misled = accuracy(examples(targets, truth, better, same_topic=True, right=False))
    assert alone == pytest.approx(0.75, abs=0.08)
    assert near > alone + 0.08
    assert alone < one < near
    assert far == alone
    assert misled < alone - 0.02


def test_configured_accuracy_orders_judges(settings, lake, targets, better):
    shares = [
        share_right(judge(settings, lake, accuracy=a).vote(targets, no_examples()), better) for a in (0.6, 0.75, 0.9)
    ]
    assert shares[0] + 0.08 < shares[1] and shares[1] + 0.08 < shares[2]


def test_a_judge_that_always_answers_1_shows_up(settings, lake, targets, better):
    votes = judge(settings, lake, position_bias=1.0).vote(targets, no_examples())
    assert set(votes.column("answer").to_pylist()) == {"candidate_1"}
    assert share_right(votes, better) == pytest.approx(0.5, abs=0.001)  # both orders, so exactly half


def test_undecidable_pairs_get_more_ties(settings, lake, targets, better):
    votes = judge(settings, lake).vote(targets, no_examples()).to_pylist()
    ties, seen = Counter(), Counter()
    for v in votes:
        seen[bool(better[v["pair_id"]])] += 1
        ties[bool(better[v["pair_id"]])] += v["answer"] in ("tie", "cannot_determine")
    assert ties[False] / seen[False] > 0.15
    assert 0 < ties[True] / seen[True] < 0.06


def test_judges_have_biases_of_their_own(settings, lake, targets, better):
    lengths = {r["pair_id"]: len(r["chosen"]) - len(r["rejected"]) for r in targets.to_pylist()}

    def right_where_longer_is(better_is_longer: bool, votes) -> float:
        rows = [
            v for v in votes if better[v["pair_id"]] and v["vote"] in ("original", "swapped") and lengths[v["pair_id"]]
        ]
        longer = {v["pair_id"]: "original" if lengths[v["pair_id"]] > 0 else "swapped" for v in rows}
        rows = [v for v in rows if (longer[v["pair_id"]] == better[v["pair_id"]]) == better_is_longer]
        return sum(v["vote"] == better[v["pair_id"]] for v in rows) / len(rows)

    pulls, opinions = [], []
    for name in ("judge-a", "judge-b", "judge-c"):
        votes = judge(settings, lake, name=name, accuracy=0.7).vote(targets, no_examples()).to_pylist()
        pulls.append(right_where_longer_is(True, votes) - right_where_longer_is(False, votes))
        opinions.append([v["vote"] for v in votes])
    assert max(pulls) > 0.08
    assert opinions[0] != opinions[1] != opinions[2]


def test_judges_do_not_depend_on_the_batch(settings, lake, targets, truth, better):
    shown = examples(targets, truth, better, same_topic=True, right=True)
    asked = judge(settings, lake, position_bias=0.1)
    whole = {(v["pair_id"], v["replicate"]): v for v in asked.vote(targets, shown).to_pylist()}
    order = list(range(shown.num_rows))[::-1]
    part = asked.vote(targets.take([70, 3, 12]), shown.take(order)).to_pylist()
    assert len(part) == 6 and all(whole[v["pair_id"], v["replicate"]] == v for v in part)
    assert all(len(v["examples"]) == 4 for v in part)


# ---- attributes ----------------------------------------------------------------------------------------------------
def test_attributes_are_the_planted_ones_with_a_little_noise(settings, lake, targets, truth):
    batches = list(
        SimulatedAttributes(settings.attributes, settings, lake).label(targets.to_batches(max_chunksize=500))
    )
    assert len(batches) > 1 and all(b.schema == ATTRIBUTES.schema for b in batches)
    planted = {t.name: t for t in TOPICS}
    comparison = dict(zip(*(targets.column(c).to_pylist() for c in ("pair_id", "comparison_id")), strict=True))
    right = Counter()
    rows = pa.Table.from_batches(batches).to_pylist()
    for row in rows:
        topic = planted[truth[comparison[row["pair_id"]]]["topic"]]
        assert row["desired"] == topic.desired and row["guideline"] == topic.guideline and row["simulated"]
        hits = [row[f] == getattr(topic, f) for f in ("category", "objectivity", "controversiality")]
        assert row["agreement"] == 1.0 and row["labeller"] == "simulated"  # nobody to disagree with
        right.update(f for f, hit in zip(("category", "objectivity", "controversiality"), hits, strict=True) if hit)
    assert all(0.92 < n / len(rows) < 0.98 for n in right.values())


def test_three_simulated_labellers_together_err_less_than_one_and_their_disagreement_is_kept(
    settings, lake, targets, truth
):
    models = [{"name": f"labeller-{c}", "error": 0.2} for c in "abc"]
    panel = settings.model_copy(update={"attributes": AttributeSettings(panel=models)})
    rows = pa.Table.from_batches(labeller(panel, lake).label(targets.to_batches(max_chunksize=500))).to_pylist()
    planted = {t.name: t for t in TOPICS}
    comparison = dict(zip(*(targets.column(c).to_pylist() for c in ("pair_id", "comparison_id")), strict=True))
    wrong, alone = 0, Counter()
    for r in rows:
        topic = planted[truth[comparison[r["pair_id"]]]["topic"]]
        votes = json.loads(r["votes"])
        agree = 0
        for field, said in votes.items():
            wrong += r[field] != getattr(topic, field)
            alone.update(name for name, value in said.items() if value != getattr(topic, field))
            agree += sum(value == r[field] for value in said.values())
        assert r["agreement"] == pytest.approx(agree / 9, abs=1e-4)
        assert r["labeller"] == "labeller-a + labeller-b + labeller-c" and r["simulated"]
    share = {name: n / len(rows) / 3 for name, n in alone.items()}
    assert all(0.15 < s < 0.25 for s in share.values()) and len(share) == 3
    assert wrong / len(rows) / 3 < 0.14


def test_attributes_are_blind_to_the_label(settings, lake, targets):
    swapped = []
    for r in targets.to_pylist():
        mirrored = pair_id(r["comparison_id"], r["rejected"], r["chosen"])
        swapped.append(r | {"pair_id": mirrored, "chosen": r["rejected"], "rejected": r["chosen"]})
    labeller = SimulatedAttributes(settings.attributes, settings, lake)

    def labelled(pairs: pa.Table) -> pa.Table:
        return pa.Table.from_batches(labeller.label(pairs.to_batches())).drop_columns(["pair_id"])

    assert labelled(targets).to_pylist() == labelled(pa.Table.from_pylist(swapped)).to_pylist()


def test_a_simulation_refuses_pairs_without_planted_truth(settings, lake, targets):
    stranger = targets.slice(0, 1).to_pylist()[0] | {"comparison_id": "0" * 32}
    batch = pa.Table.from_pylist([stranger])
    with pytest.raises(UnknownPairs, match="1 of 1 comparisons have no planted truth"):
        SimulatedPeople(settings, lake).label(batch, "iter_00")
    with pytest.raises(UnknownPairs):
        judge(settings, lake).vote(batch, no_examples())
    with pytest.raises(UnknownPairs):
        list(SimulatedAttributes(settings.attributes, settings, lake).label(batch.to_batches()))


def test_a_simulated_judge_that_sees_one_response_alone_is_right_as_often_as_it_is_set_to(
    settings, lake, targets, better
):
    said = SimulatedChecker(Judge(name="one", accuracy=0.8), settings, lake).check(targets).to_pylist()
    assert len(said) == 2 * targets.num_rows
    of_clear = [r for r in said if better[r["pair_id"]] and r["answer"] != "cannot_determine"]
    side = {"original": "chosen", "swapped": "rejected"}
    hits = [(r["answer"] == "correct") == (side[better[r["pair_id"]]] == r["side"]) for r in of_clear]
    assert len(hits) > 500 and 0.75 < sum(hits) / len(hits) < 0.85
