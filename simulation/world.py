"""The generated world: comparisons whose better response is known, and a pool that hides defects at known places.

A response has features that decide its utility (does it answer, is the value right, is the advice concrete, is it
civil, is it complete) and style that does not (flattery, padding, bullets). Original labels are wrong at a rate that
depends on the topic; where the rate is above one half, the original annotator rewards style (spec 14).

Pure and seeded: equal arguments give equal worlds on every machine.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Literal

from simulation.topics import (
    CITIES,
    CLOSING,
    DAYS,
    DISMISSIVE,
    DISMISSIVE_BY_FAMILY,
    FLATTERY,
    LEADS,
    MONTHS,
    NAMES,
    OPENERS,
    PADDING,
    POLITE,
    REPLIES,
    TAILS,
    TOPICS,
    VAGUE,
    VAGUE_BY_FAMILY,
    Topic,
)

Kind = Literal[
    "plain", "noisy", "ambiguous", "duplicate", "mirror", "contaminated", "null", "identical", "tie", "broken"
]
STAGE1_SPLIT = {"forum": 0.5, "arena": 0.5}  # of the stage-1 share
STAGE2_SPLIT = {"ratings": 0.45, "crawl": 0.55}
SINGLE_TURN = ("arena", "ratings", "crawl")  # their prompt is one string
HOLDS_TIES = ("arena", "ratings")

AMBIGUOUS = 0.07  # of the pairs nobody can decide
MULTI_TURN = 0.4  # of forum
EXTRAS: dict[Kind, float] = {  # of a source's records, at least one each
    "duplicate": 0.035,
    "mirror": 0.015,
    "contaminated": 0.02,
    "null": 0.01,
    "identical": 0.005,
    "tie": 0.01,
}
BROKEN = 3  # records a file that no reader can use; `detail` numbers the variety
ITEMS_PER_TOPIC = 12  # of the planted benchmark
SHORT_ITEM = 0.2  # of benchmark prompts are the bare question
STYLED = 0.25  # responses with a style feature where style means nothing
STYLE_FOLLOWED = 0.9  # of noisy topics' labels go with style
GRAM = 13  # words that must not be shared with the benchmark by accident
LEAST_GAP = 0.6
FLAWED_WINNER = 0.3  # better responses with a defect of their own
TWO_DEFECTS = 0.4  # worse responses with two defects
MOST_NOISE = 0.95  # of a topic's labels, whatever the noise is multiplied by
SHARED_PHRASE = 0.35  # empty phrases known to all families; the others belong to one


@dataclass(frozen=True)
class PlantedPair:
    """Two responses to one conversation. `gap` is the difference in utility; 0 means that nobody can tell, and then
    `better` and `worse` are names only. `label_wrong` says that the original label prefers `worse`."""

    topic: Topic
    conversation: tuple[tuple[str, str], ...]
    better: str
    worse: str
    gap: float
    label_wrong: bool
    note: str = ""

    @property
    def chosen(self) -> str:
        return self.worse if self.label_wrong else self.better

    @property
    def rejected(self) -> str:
        return self.better if self.label_wrong else self.worse


@dataclass(eq=False)
class Record:
    """One record of a source file. `of` is the record it repeats or mirrors, `detail` what was planted."""

    source: str
    kind: Kind
    comparison: PlantedPair
    detail: str = ""
    of: "Record | None" = None
    row: int = 0


@dataclass(frozen=True)
class Item:
    """One item of the planted benchmark."""

    item_id: str
    comparison: PlantedPair

    @property
    def prompt(self) -> str:
        return self.comparison.conversation[0][1]


@dataclass(frozen=True)
class GeneratedWorld:
    """Records by source, in file order, and the benchmark they must not share prompts with."""

    records: dict[str, list[Record]]
    benchmark: list[Item]

    def rows(self) -> Iterable[Record]:
        for records in self.records.values():
            yield from records


@dataclass(frozen=True)
class Profile:
    """Features of a response; the first five decide its utility."""

    correct: bool = True
    on_topic: bool = True
    concrete: int = 2  # of two pieces of advice
    civil: bool = True
    complete: bool = True
    flattery: bool = False
    padding: bool = False
    bullets: bool = False

    def utility(self) -> float:
        """Of this response to a user who wants the question answered; style adds nothing."""
        return 1.5 * self.correct + 2.0 * self.on_topic + 0.8 * self.concrete + 1.2 * self.civil + 1.0 * self.complete


@dataclass
class Prompts:
    """Word spans that new prompts must not hold, and prompts that are taken."""

    spans: dict[int, set[tuple[str, ...]]] = field(default_factory=dict)
    taken: set[tuple[str, ...]] = field(default_factory=set)

    def forbid(self, prompt: str) -> None:
        words = normalised_words(prompt)
        n = min(GRAM, len(words))
        self.spans.setdefault(n, set()).update(_grams(words, n))

    def free(self, user_text: str) -> bool:
        words = normalised_words(user_text)
        if tuple(words) in self.taken:
            return False
        return not any(gram in spans for n, spans in self.spans.items() for gram in _grams(words, n))

    def take(self, user_text: str) -> None:
        self.taken.add(tuple(normalised_words(user_text)))


def normalised_words(text: str) -> list[str]:
    """Lower-cased words without punctuation."""
    return re.findall(r"\w+", text.lower())


def _grams(words: list[str], n: int) -> Iterable[tuple[str, ...]]:
    return zip(*(words[i:] for i in range(n)), strict=False)


def generate(pairs: int, seed: int, stage1_share: float = 0.25, noise: float = 1.0) -> GeneratedWorld:
    """A world of `pairs` records over four sources; `stage1_share` of them in the sources of stage 1.

    Args:
        noise: how much of the topics' shares of wrong labels there is; with 0 the original annotators never err, and only
            mirrored copies and pairs that nobody can tell are labelled against better knowledge.
    """
    prompts = Prompts()
    topics = tuple(replace(t, noise=min(MOST_NOISE, t.noise * noise)) for t in TOPICS)
    benchmark = _benchmark(Random(f"{seed}/benchmark"), topics, prompts)
    sizes = {s: round(pairs * stage1_share * share) for s, share in STAGE1_SPLIT.items()}
    sizes |= {s: round(pairs * (1 - stage1_share) * share) for s, share in STAGE2_SPLIT.items()}
    records = {s: _base(Random(f"{seed}/{s}"), s, n, topics, prompts, benchmark) for s, n in sizes.items()}
    rng = Random(f"{seed}/copies")
    originals = [r for rows in records.values() for r in rows if r.kind in ("plain", "noisy")]
    for source, n in sizes.items():
        records[source] += _copies(rng, source, n, originals)
    for rows in records.values():
        rng.shuffle(rows)
        for number, record in enumerate(rows, 1):
            record.row = number
    return GeneratedWorld(records, benchmark)


def _count(kind: Kind, n: int) -> int:
    return max(1, round(EXTRAS[kind] * n))


def _benchmark(rng: Random, topics: tuple[Topic, ...], prompts: Prompts) -> list[Item]:
    items = []
    for topic in topics:
        for i in range(ITEMS_PER_TOPIC):
            bare = i < SHORT_ITEM * ITEMS_PER_TOPIC
            c = _comparison(rng, topic, prompts, bare=bare, style_at_random=True)
            items.append(Item(f"planted-{len(items):04d}", replace(c, label_wrong=False)))
    for item in items:
        prompts.forbid(item.prompt)
    return items


def _base(
    rng: Random, source: str, n: int, topics: tuple[Topic, ...], prompts: Prompts, benchmark: list[Item]
) -> list[Record]:
    """Everything of a source but its copies of other records."""
    kinds: list[Kind] = ["contaminated", "null", "identical"] + ["tie"] * (source in HOLDS_TIES)
    counts = {kind: _count(kind, n) for kind in kinds}
    rest = n - sum(counts.values()) - _count("duplicate", n) - _count("mirror", n) - BROKEN
    records = []
    for i in range(rest):
        topic = topics[i % len(topics)]
        multi = source not in SINGLE_TURN and rng.random() < MULTI_TURN
        c = _comparison(rng, topic, prompts, multi_turn=multi, ambiguous=rng.random() < AMBIGUOUS)
        kind: Kind = "ambiguous" if c.gap == 0 else "noisy" if c.label_wrong else "plain"
        records.append(Record(source, kind, c, c.note))
    for kind, count in counts.items():
        for i in range(count):
            if kind == "contaminated":
                records.append(_contaminated(rng, source, rng.choice(benchmark)))
                continue
            c = _comparison(rng, rng.choice(topics), prompts)
            match kind:
                case "null":
                    detail = ("chosen", "rejected")[i % 2] + " is missing"
                case "identical":
                    c, detail = replace(c, worse=c.better), "both responses are the same text"
                case "tie":
                    detail = ("tie, both good", "tie, both bad")[i % 2]
            records.append(Record(source, kind, c, detail))
    for variety in range(BROKEN):
        c = _comparison(rng, rng.choice(topics), prompts)
        records.append(Record(source, "broken", c, str(variety)))
    return records


def _copies(rng: Random, source: str, n: int, originals: list[Record]) -> list[Record]:
    """Exact copies, half of them of this source's own records, and mirror images."""
    fits = [r for r in originals if source not in SINGLE_TURN or len(r.comparison.conversation) == 1]
    own = [r for r in fits if r.source == source]
    foreign = [r for r in fits if r.source != source]
    duplicates, mirrors = _count("duplicate", n), _count("mirror", n)
    inside = rng.sample(own, (duplicates + 1) // 2)
    across = rng.sample(foreign, duplicates // 2)
    mirrored = rng.sample([r for r in fits if r not in inside and r not in across], mirrors)
    made = [Record(source, "duplicate", r.comparison, "copy", r) for r in inside + across]
    for r in mirrored:
        c = replace(r.comparison, label_wrong=not r.comparison.label_wrong)
        made.append(Record(source, "mirror", c, "opposite label", r))
    return made


def _contaminated(rng: Random, source: str, item: Item) -> Record:
    """New responses to a benchmark prompt that was copied into a user turn and disguised."""
    words = item.prompt.split()
    disguise = rng.choice(("upper case", "punctuation", "spacing", "embedded"))
    match disguise:
        case "upper case":
            text = item.prompt.upper()
        case "punctuation":
            text = re.sub(r"[.,:?]", "", item.prompt) + " ?!"
        case "spacing":
            text = "  ".join(words)
        case "embedded":
            text = item.prompt
    if disguise == "embedded" and len(normalised_words(item.prompt)) >= GRAM:
        text = f"Please read this carefully. {text} Be brief."
    topic = item.comparison.topic
    c = _comparison(rng, topic, Prompts())
    c = replace(c, conversation=(("user", text),))
    return Record(source, "contaminated", c, f"{item.item_id}: {disguise}")


# ---- one comparison ------------------------------------------------------------------------------------------------
def _comparison(
    rng: Random,
    topic: Topic,
    prompts: Prompts,
    *,
    multi_turn: bool = False,
    ambiguous: bool = False,
    bare: bool = False,
    style_at_random: bool = False,
) -> PlantedPair:
    slots, conversation = _conversation(rng, topic, prompts, multi_turn, bare)
    good, bad = _profiles(rng, topic, ambiguous)
    style_rules = topic.noise > 0.5 and not style_at_random
    wrong = rng.random() < (0.5 if ambiguous else topic.noise)
    if style_rules:
        good, bad = _styled(rng, good, not wrong), _styled(rng, bad, wrong)
    else:
        good, bad = _random_style(rng, good), _random_style(rng, bad)
    better, worse = _response(rng, topic, slots, good), _response(rng, topic, slots, bad)
    while worse == better:
        worse = _response(rng, topic, slots, bad)
    gap = round(good.utility() - bad.utility(), 3)
    note = "annotator follows style" if style_rules else "annotator errs" if wrong else ""
    return PlantedPair(topic, conversation, better, worse, gap, wrong, note)


def _slots(rng: Random, topic: Topic) -> dict[str, str]:
    name, friend = rng.sample(NAMES, 2)
    n, m = rng.sample(range(6, 21) if topic.fact == "hour" else range(3, 48), 2)
    total = n * rng.randint(11, 59)
    right = {
        None: 0,
        "share": total // n,
        "product": n * m,
        "sum": n + m,
        "difference": total - n,
        "hour": m,
        "percent": round(100 * n / total),
    }[topic.fact]
    wrong = n if topic.fact == "hour" else right + rng.choice([-1, 1]) * rng.randint(1, 9) * (10 if right > 200 else 1)
    return {
        "name": name,
        "friend": friend,
        "city": rng.choice(CITIES),
        "day": rng.choice(DAYS),
        "month": rng.choice(MONTHS),
        "n": str(n),
        "m": str(m),
        "total": str(total),
        "item": rng.choice(topic.items),
        "right": str(right),
        "wrong": str(abs(wrong) + (wrong == 0)),
    }


def _conversation(rng, topic, prompts, multi_turn, bare) -> tuple[dict[str, str], tuple[tuple[str, str], ...]]:
    """Slots and turns; drawn again until no user text is taken or shares words with the benchmark."""
    while True:
        slots = _slots(rng, topic)
        ask = _fill(rng.choice(topic.asks), slots)
        ask += "" if ask.endswith("?") else "."
        parts = [ask] if bare else [_fill(rng.choice(LEADS), slots), ask, _fill(rng.choice(TAILS), slots)]
        prompt = " ".join(p for p in parts if p)
        turns = [("user", prompt)]
        if multi_turn:
            opener = _fill(rng.choice(OPENERS), slots)
            turns = [("user", opener), ("assistant", _fill(rng.choice(REPLIES), slots)), *turns]
        text = " ".join(content for role, content in turns if role == "user")
        if prompts.free(text):
            prompts.take(text)
            return slots, tuple(turns)


def _profiles(rng: Random, topic: Topic, ambiguous: bool) -> tuple[Profile, Profile]:
    defects = ["vague", "vague", "vague", "civil", "complete", "on_topic"] + ["correct"] * (topic.fact is not None)
    while True:
        good = _with_defects(Profile(), rng.sample(defects, rng.random() < FLAWED_WINNER))
        if ambiguous:
            return good, good
        bad = _with_defects(Profile(), rng.sample(defects, 1 + (rng.random() < TWO_DEFECTS)))
        if good.utility() - bad.utility() >= LEAST_GAP:
            return good, bad


def _with_defects(profile: Profile, defects: list[str]) -> Profile:
    for defect in defects:
        if defect == "vague":
            profile = replace(profile, concrete=max(0, profile.concrete - 1))
        else:
            profile = replace(profile, **{defect: False})
    return profile


def _random_style(rng: Random, profile: Profile) -> Profile:
    flattery, padding, bullets = (rng.random() < STYLED for _ in range(3))
    return replace(profile, flattery=flattery, padding=padding, bullets=bullets)


def _styled(rng: Random, profile: Profile, preferred: bool) -> Profile:
    """The style of a response in a topic whose annotator rewards style."""
    fancy = preferred == (rng.random() < STYLE_FOLLOWED)
    flattery = fancy and rng.random() < 0.8
    return replace(
        profile,
        flattery=flattery,
        padding=fancy and (not flattery or rng.random() < 0.5),
        bullets=rng.random() < STYLED,
    )


def _response(rng: Random, topic: Topic, slots: dict[str, str], profile: Profile) -> str:
    about = topic
    if not profile.on_topic:
        about = rng.choice([t for t in TOPICS if t.family != topic.family])
        slots = slots | {"item": rng.choice(about.items)}
    slots = slots | {"value": slots["right" if profile.correct else "wrong"]}
    advice = rng.sample(about.steps, profile.concrete)
    while len(advice) < 2:
        phrase = _phrase(rng, VAGUE, VAGUE_BY_FAMILY[topic.family])
        if phrase not in advice:
            advice.append(phrase)
    rng.shuffle(advice)
    opening = rng.choice(POLITE) if profile.civil else _phrase(rng, DISMISSIVE, DISMISSIVE_BY_FAMILY[topic.family])
    closing = [rng.choice(CLOSING)] if profile.complete and rng.random() < 0.5 else []
    before = [rng.choice(FLATTERY)] * profile.flattery + [opening, rng.choice(about.answers)]
    after = [rng.choice(PADDING)] * profile.padding + closing
    mark = "\n- " if profile.bullets else " "
    text = mark.join([" ".join(_fill(s, slots) for s in before), *(_fill(s, slots) for s in advice)])
    text = " ".join([text, *(_fill(s, slots) for s in after)])
    if not profile.complete:
        words = text.split(" ")
        text = " ".join(words[: -rng.randint(2, 3)]).rstrip(".,:;!?")
    return text


def _phrase(rng: Random, shared: tuple[str, ...], own: tuple[str, ...]) -> str:
    return rng.choice(shared if rng.random() < SHARED_PHRASE else own)


def _fill(template: str, slots: dict[str, str]) -> str:
    text = template.format_map(slots)
    return text[:1].upper() + text[1:]
