"""Texts around ten benchmark prompts, labelled by hand: does who has read the text know the benchmark's item?

`CASES` holds (kind, label, user turns). Nothing here stands in a published benchmark.
"""

import unicodedata

BAKERY = (
    "A bakery sells rye loaves for four euros each and seeded rolls for ninety cents each. On Saturday it sold twice as "
    "many rolls as loaves and took one hundred and sixteen euros in all. How many rolls did it sell on Saturday?"
)
FERRY = (
    "Write a short letter to the harbour office asking why the morning ferry to Runö was cancelled on three Mondays in "
    "a row, and request a refund for the unused return tickets without sounding angry."
)
SORT = (
    "Given a list of tram stops and the minutes between neighbouring stops, write a Python function that returns the "
    "longest stretch of the line which a passenger can ride within twenty minutes."
)
LANTERN = (
    "Tell a story in which a lighthouse keeper finds a lantern that burns without oil, told from the point of view of "
    "the keeper's impatient dog, and end it before the lantern goes out."
)
QUOTE = (
    "Explain to a twelve year old what the author means by this sentence: it was the best of times, it was the worst of "
    "times, it was the age of wisdom, it was the age of foolishness."
)
SYSTEM = (
    "You are a careful and honest assistant. Read the passage below and answer the question in one sentence. Passage: "
    "the mill at Odder stopped in 1931. Question: when did the mill stop?"
)
CHINESE = "一个农场有鸡和兔子共三十五只,它们一共有九十四条腿,请问农场里有多少只鸡?"
JOKE, TIDES, CAFE = "Tell me a joke.", "Why are there two high tides a day?", "Où est le café le plus proche?"
PROMPTS = {
    "bakery": BAKERY,
    "ferry": FERRY,
    "sort": SORT,
    "lantern": LANTERN,
    "quote": QUOTE,
    "system": SYSTEM,
    "chinese": CHINESE,
    "joke": JOKE,
    "tides": TIDES,
    "cafe": CAFE,
}
LONG = (BAKERY, FERRY, SORT, LANTERN)


def _changed(text: str, every: int) -> str:
    """Every n-th word replaced."""
    return " ".join("quite" if i % every == every - 1 else w for i, w in enumerate(text.split()))


def _wide(text: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


def _cases():
    for text in PROMPTS.values():
        yield "verbatim", True, (text,)
        yield "case", True, (text.upper(),)
        yield "second turn", True, ("Hello there, I have a request.", text)
    for text in (*LONG, QUOTE, SYSTEM, CHINESE):
        yield "embedded", True, (f"My teacher gave us this to do by Friday.\n\n{text}\n\nPlease be brief.",)
    for text in (*LONG, JOKE, TIDES, CAFE):
        yield "punctuation", True, ("".join(c if c.isalnum() or c == " " else " " for c in text) + "!!",)
        yield "white space", True, ("\n".join(text.split()),)
        yield "unicode: decomposed", True, (unicodedata.normalize("NFD", text),)
        yield "unicode: full width", True, (_wide(text),)
        yield "unicode: invisible", True, (text.replace("e", "e\u200b"),)
    for text in LONG:
        words = text.split()
        yield "beginning", True, (" ".join(words[:20]),)
        yield "one word changed", True, (" ".join([*words[:16], "indeed", *words[17:]]),)
        yield "every tenth word changed", True, (_changed(text, 10),)
        yield "twelve words", False, (f"Use these words in a poem: {' '.join(words[8:20])}",)
    yield from (
        ("short, words added", True, (t,))
        for t in ("Tell me a joke, please.", "So why are there two high tides a day?")
    )
    for text in (
        "Rye loaves cost 4 euros and rolls 0.90. Rolls sold are double the loaves, takings were 116 euros. Number of rolls?",
        "Compose a polite complaint to the port authority: three Monday mornings running the Runö boat did not sail, and I "
        "want my money back for the way home.",
        "I have travel times between consecutive tram halts. Code me something in Python that finds the maximum number of "
        "consecutive halts reachable in at most 20 minutes.",
        "Narrate, as a restless dog, how its master at the lighthouse discovers a lamp needing no fuel. Stop while it shines.",
        "What makes the sea rise twice daily?",
    ):
        yield "paraphrase", True, (text,)
    for text in (
        "Eine Bäckerei verkauft Roggenbrote für vier Euro und Brötchen für neunzig Cent. Am Samstag verkaufte sie doppelt "
        "so viele Brötchen wie Brote und nahm 116 Euro ein. Wie viele Brötchen waren es?",
        "A farm has thirty-five chickens and rabbits with ninety-four legs in all. How many chickens are there?",
    ):
        yield "translated", True, (text,)
    for text in (
        "A bakery bakes rye loaves every morning. How long should the dough rest before it goes into a hot oven?",
        "Which ferries go to Runö in summer, and do they carry bicycles?",
        "Write a Python function that returns the tram stops of a line in alphabetical order.",
        "Tell a story in which a cat finds a lantern at the bottom of a lake.",
        "一个农场有鸡和兔子,它们吃什么?",
        "Tell me a joke about two high tides and a café.",
        "How many rolls does a baker sell on a Saturday in a small town?",
        "Please request a refund for my concert ticket without sounding angry.",
    ):
        yield "same topic", False, (text,)
    for text in (  # what the benchmark itself took from elsewhere
        "Who wrote: it was the best of times, it was the worst of times, it was the age of wisdom?",
        "You are a careful and honest assistant. Read the passage below and answer the question in one sentence. Passage: "
        "bees dance. Question: who dances?",
    ):
        yield "shared with everybody", False, (text,)


CASES = tuple(_cases())
