"""Simulated people, judges and attribute labeller for the generated world (spec 14).

They know the planted truth from `planted_labels` and blur it: people err rarely and admit when nobody could tell;
judges have blind spots, like long answers, favour a position, and improve with gold examples of the same kind.
Every draw is a hash of the seed and of what is asked, so that no answer depends on order or batch.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

from curation.attributes import CLOSED
from curation.identity import comparison_id, conv_id, digest, draw, text_hash
from curation.tables import ATTRIBUTES, HUMAN_LABELS, JUDGE_VOTES, REFUSED_ANSWERS, RESPONSE_CHECKS, UNANSWERED
from curation.verdicts import mapped_back
from resources.annotators.backends import event_id
from resources.annotators.tasks import hint
from resources.judges.attribute_models import row
from resources.lake import Lake
from resources.settings import AttributeModel, Judge, Settings
from simulation.topics import TOPICS
from sql import statement

PROMPT_VERSION = "simulated-1"
_TOPICS = {t.name: t for t in TOPICS}
_CLOSE_CALL = 1.0  # planted difference in utility below which people take longer
_SHARPNESS = (0.7, 0.2, 1.15)  # of a judge: constant, growth with the planted difference, most; 1 at a typical pair
_BLIND_SPOT = 0.3  # share of topics a judge is bad at
_BLIND_LOSS = 0.2  # accuracy lost there
_LENGTH_BIAS = (0.05, 0.25)  # range of a judge's pull towards the longer answer
_BEST_ACCURACY = 0.97  # with many good examples
_EXAMPLE_GAIN = 0.35  # how fast examples close the distance to it
_OTHER_TOPIC = 0.25  # weight of an example of the same category but of another topic
_WAVER = 0.04  # chance that a replicate answers against the judge's own opinion
_NO_ANSWER = {False: 0.02, True: 0.3}  # chance of tie or cannot_determine: clear pairs, undecidable pairs


@dataclass(frozen=True)
class Truth:
    """What is planted for one comparison; `winner` is '' when nobody can tell."""

    winner: str
    topic: str
    gap: float


class UnknownPairs(Exception):
    """The generated world holds no truth for a pair: a simulation was asked about real data."""


def truths(lake: Lake, comparisons: Iterable[str]) -> dict[str, Truth]:
    """The planted truth of comparisons.

    Raises:
        UnknownPairs: some of them are not part of the generated world.
    """
    wanted = pa.table({"comparison_id": pa.array(sorted(set(comparisons)), pa.string())})
    with lake.connect() as con:
        con.register("wanted", wanted)
        rows = con.sql(statement("reference/planted"))
        found = {row[0]: Truth(*row[1:]) for row in rows.fetchall()}
    if missing := wanted.num_rows - len(found):
        raise UnknownPairs(
            f"{missing} of {wanted.num_rows} comparisons have no planted truth; backend 'simulated' can label the "
            "generated world only: materialise planted_labels, or choose another backend"
        )
    return found


def _side(truth: Truth, chosen: str, rejected: str) -> str:
    """'chosen' or 'rejected', whichever the truth prefers, '' when nobody can tell."""
    if not truth.winner:
        return ""
    return "chosen" if text_hash(chosen) == truth.winner else "rejected"


def _other(side: str) -> str:
    return "rejected" if side == "chosen" else "chosen"


class SimulatedPeople:
    """People with a low error rate who say so when nobody could decide (spec 2.08)."""

    def __init__(self, settings: Settings, lake: Lake):
        self.settings, self.lake = settings, lake

    def label(self, batch: pa.Table, iteration: str) -> pa.Table:
        """`people.annotators` labels a pair.

        Args:
            batch: pair_id, comparison_id, conversation, chosen, rejected, the five attributes and priority.
            iteration: partition the labels belong to.

        Returns:
            HUMAN_LABELS rows. Hints are shown to them and move none of them.

        Raises:
            UnknownPairs: a pair is not of the generated world.
        """
        known = truths(self.lake, batch.column("comparison_id").to_pylist())
        columns = ["pair_id", "comparison_id", "chosen", "rejected"]
        columns += [c for c in ("checked_chosen", "checked_rejected") if c in batch.column_names]
        rows = [
            self._label(pair, known[pair["comparison_id"]], f"person-{i}", iteration)
            for pair in batch.select(columns).to_pylist()
            for i in range(self.settings.people.annotators)
        ]
        return pa.Table.from_pylist(rows, HUMAN_LABELS.schema)

    def refused(self, iteration: str) -> pa.Table:
        """REFUSED_ANSWERS rows: none."""
        return REFUSED_ANSWERS.schema.empty_table()

    def unanswered(self, iteration: str) -> pa.Table:
        """UNANSWERED rows: none, they answer everything."""
        return UNANSWERED.schema.empty_table()

    def _label(self, pair: dict, truth: Truth, annotator: str, iteration: str) -> dict:
        people, name = self.settings.people, (self.settings.seed, pair["pair_id"], annotator)
        first = "chosen" if draw(*name, "order") < 0.5 else "rejected"
        side = _side(truth, pair["chosen"], pair["rejected"])
        if side and draw(*name, "error") < people.error:
            side = _other(side)
        verdict = "undecided" if not side else "first" if side == first else "second"
        # Longer texts and closer calls take longer; 10 s to 5 min (spec 2.10).
        words = len(pair["chosen"].split()) + len(pair["rejected"].split())
        seconds = (8 + words / 3) * (0.6 + draw(*name, "pace")) * (1.6 if truth.gap < _CLOSE_CALL else 1.0)
        text, speaks_for = hint(*(pair.get(f"checked_{s}") for s in (first, _other(first))))
        return {
            "event_id": event_id(pair["pair_id"], annotator, iteration),
            "pair_id": pair["pair_id"],
            "annotator": annotator,
            "shown_first": first,
            "verdict": verdict,
            "hint_shown": text,
            "hint_verdict": speaks_for or None,
            "seconds": round(min(max(seconds, 10.0), 300.0), 1),
            "backend": "simulated",
            "cost_micros": round(people.cost_per_label * 1e6),
            "simulated": True,
        }


class SimulatedJudge:
    """A judge with an opinion on each pair, which its replicates repeat in both orders with some wavering.

    Without examples its opinion is right with probability `judge.accuracy`, less in its blind spots, on close pairs,
    and where the longer answer tempts it. Each correct example of the target's topic brings it nearer to 97 %, an
    example of another topic of the same category a little, a wrongly labelled one takes it further away.
    """

    def __init__(self, judge: Judge, settings: Settings, lake: Lake):
        self.judge, self.settings, self.lake = judge, settings, lake
        low, high = _LENGTH_BIAS
        self.length_bias = low + (high - low) * draw(settings.seed, judge.name, "length")

    @property
    def name(self) -> str:
        return self.judge.name

    def estimate(self, targets: pa.Table, examples: pa.Table) -> None:
        """Nothing: nobody is paid."""

    def vote(self, targets: pa.Table, examples: pa.Table) -> pa.Table:
        """`judge.samples` replicates a target, even and odd in opposite orders.

        Args:
            targets: pair_id, comparison_id, conversation, chosen, rejected and the five attributes.
            examples: target_pair, rank, gold_pair, similarity, conversation, chosen, rejected (in the human order),
                category, objectivity and controversiality.

        Returns:
            JUDGE_VOTES rows.

        Raises:
            UnknownPairs: a target or an example is not of the generated world.
        """
        pairs = targets.select(["pair_id", "comparison_id", "chosen", "rejected"]).to_pylist()
        columns = ["target_pair", "rank", "gold_pair", "similarity", "conversation", "chosen", "rejected"]
        shown = examples.select(columns).sort_by([("target_pair", "ascending"), ("rank", "ascending")]).to_pylist()
        for e in shown:
            turns = [(t["role"], t["content"]) for t in e["conversation"]]
            e["comparison_id"] = comparison_id(conv_id(turns), e["chosen"], e["rejected"])
        known = truths(self.lake, [r["comparison_id"] for r in pairs + shown])
        by_target: dict[str, list[dict]] = {}
        for e in shown:
            by_target.setdefault(e["target_pair"], []).append(e)
        rows = []
        for pair in pairs:
            seen = by_target.get(pair["pair_id"], [])
            rows += self._votes(pair, known[pair["comparison_id"]], seen, known)
        return pa.Table.from_pylist(rows, JUDGE_VOTES.schema)

    def accuracy(self, truth: Truth, examples: list[dict], known: dict[str, Truth]) -> float:
        """Chance of a right opinion on a pair whose truth is known, with these examples in the prompt."""
        judge, seed = self.judge, self.settings.seed
        base = judge.accuracy
        blind = draw(seed, judge.name, "blind", truth.topic) < _BLIND_SPOT
        base += _BLIND_LOSS * (_BLIND_SPOT - blind)  # the mean over topics stays the configured accuracy
        help_ = sum(self._weight(truth, known[e["comparison_id"]], e) for e in examples)
        if help_ > 0:
            base += (_BEST_ACCURACY - base) * (1 - math.exp(-_EXAMPLE_GAIN * help_))
        else:
            base += 0.1 * math.tanh(help_)
        constant, growth, most = _SHARPNESS
        return min(0.99, 0.5 + (base - 0.5) * min(most, constant + growth * truth.gap))

    @staticmethod
    def _weight(target: Truth, example: Truth, shown: dict) -> float:
        """How much one example helps; below 0 where the label it shows is wrong."""
        if example.topic == target.topic:
            near = 1.0
        elif _TOPICS[example.topic].category == _TOPICS[target.topic].category:
            near = _OTHER_TOPIC
        else:
            return 0.0
        right = _side(example, shown["chosen"], shown["rejected"])
        sign = {"chosen": 1.0, "rejected": -1.0, "": 0.0}[right]
        return sign * near * max(0.0, min(1.0, shown["similarity"]))

    def _opinion(self, pair: dict, truth: Truth, examples: list[dict], known: dict[str, Truth]) -> str:
        """'chosen', 'rejected', or '' for no opinion."""
        name = (self.settings.seed, self.judge.name, pair["comparison_id"])
        better = _side(truth, pair["chosen"], pair["rejected"])
        if draw(*name, "none") < _NO_ANSWER[not better]:
            return ""
        longer = "chosen" if len(pair["chosen"]) > len(pair["rejected"]) else "rejected"
        accuracy = self.accuracy(truth, examples, known)
        if not better:
            return longer if draw(*name, "opinion") < 0.5 + self.length_bias else _other(longer)
        # Length persuades less where the judge is sure of the content, so good examples weaken it.
        tempted = self.length_bias * 2 * (1 - accuracy)
        chance = accuracy + (tempted if better == longer else -tempted)
        return better if draw(*name, "opinion") < chance else _other(better)

    def _votes(self, pair: dict, truth: Truth, examples: list[dict], known: dict[str, Truth]) -> Iterator[dict]:
        judge, seed = self.judge, self.settings.seed
        opinion = self._opinion(pair, truth, examples, known)
        golds = [e["gold_pair"] for e in examples]
        start = draw(seed, judge.name, pair["pair_id"], "order") < 0.5
        for replicate in range(judge.samples):
            name = (seed, judge.name, pair["pair_id"], replicate)
            first = "chosen" if start == (replicate % 2 == 0) else "rejected"
            side = opinion
            if draw(*name, "position") < judge.position_bias:
                side = first
            elif side and draw(*name, "waver") < _WAVER:
                side = _other(side)
            if side:
                answer = "candidate_1" if side == first else "candidate_2"
            else:
                answer = "tie" if draw(*name, "tie") < 0.5 else "cannot_determine"
            yield {
                "pair_id": pair["pair_id"],
                "judge": judge.name,
                "model": judge.model or "simulated",
                "replicate": replicate,
                "shown_first": first,
                "wording": "",
                "effort": "",
                "answer": answer,
                "vote": mapped_back(answer, first == "chosen"),
                "status": "ok",
                "examples": golds,
                "example_places": [],
                "prompt_version": PROMPT_VERSION,
                "request_key": digest(map(str, (*name, first, *golds))),
                "cost_micros": 0,
                "simulated": True,
            }


class SimulatedChecker:
    """A judge that is shown one response alone: it finds the better one correct and the other incorrect as often as it is
    right without examples, and sometimes cannot tell."""

    ends: Mapping[str, Mapping[str, int]] = {}

    def __init__(self, judge: Judge, settings: Settings, lake: Lake):
        self.judge, self.settings, self.lake = judge, settings, lake

    def estimate(self, targets: pa.Table) -> None:
        """Nothing: nobody is paid."""

    def check(self, targets: pa.Table) -> pa.Table:
        """RESPONSE_CHECKS rows, two a target.

        Raises:
            UnknownPairs: a target is not of the generated world.
        """
        pairs = targets.select(["pair_id", "comparison_id", "chosen", "rejected"]).to_pylist()
        known = truths(self.lake, [r["comparison_id"] for r in pairs])
        rows = [
            {
                "pair_id": pair["pair_id"],
                "side": side,
                "judge": self.judge.name,
                "model": self.judge.model or "simulated",
                "answer": self._answer(pair, side, known[pair["comparison_id"]]),
                "status": "ok",
                "prompt_version": PROMPT_VERSION,
                "request_key": digest((str(self.settings.seed), self.judge.name, pair["comparison_id"], pair[side])),
                "cost_micros": 0,
                "simulated": True,
            }
            for pair in pairs
            for side in ("chosen", "rejected")
        ]
        return pa.Table.from_pylist(rows, RESPONSE_CHECKS.schema)

    def _answer(self, pair: dict, side: str, truth: Truth) -> str:
        name = (self.settings.seed, self.judge.name, pair["comparison_id"], text_hash(pair[side]), "alone")
        better = _side(truth, pair["chosen"], pair["rejected"])
        if draw(*name, "none") < _NO_ANSWER[not better]:
            return "cannot_determine"
        right = draw(*name, "right") < self.judge.accuracy
        return "correct" if (side == better) == right else "incorrect"


class SimulatedAttributes:
    """The attributes of a pair's planted topic, now and then a wrong one. Blind to the label: a pair and its mirror
    image have the same comparison id and hence the same attributes."""

    ends: Mapping[str, Mapping[str, int]] = {}

    def __init__(self, model: AttributeModel, settings: Settings, lake: Lake):
        self.model, self.settings, self.lake = model, settings, lake

    def estimate(self, some: pa.RecordBatch, pairs: int) -> list:
        """Nothing: nobody is paid."""
        return []

    def label(self, pairs: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """ATTRIBUTES rows, a batch a batch.

        Args:
            pairs: batches with at least pair_id and comparison_id.

        Raises:
            UnknownPairs: a pair is not of the generated world.
        """
        for batch in pairs:
            ids, comparisons = (batch.column(c).to_pylist() for c in ("pair_id", "comparison_id"))
            known = truths(self.lake, comparisons)
            rows = [
                row(p, self.model.label, self._answer(c, known[c].topic), PROMPT_VERSION, simulated=True)
                for p, c in zip(ids, comparisons, strict=True)
            ]
            yield pa.RecordBatch.from_pylist(rows, schema=ATTRIBUTES.schema)

    def _answer(self, comparison: str, topic: str) -> dict:
        planted = _TOPICS[topic]
        answer = {"desired": planted.desired, "guideline": planted.guideline}
        for field in CLOSED:
            name = (self.settings.seed, *filter(None, [self.model.name]), comparison, field)
            answer[field] = getattr(planted, field)
            if draw(*name, "noise") < self.model.error:
                others = sorted({getattr(t, field) for t in TOPICS} - {answer[field]})
                answer[field] = others[int(draw(*name, "which") * len(others))]
        return answer
