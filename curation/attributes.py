"""The five preference attributes: their closed vocabularies (spec 1.03) and keyword rules that need no model.

The rules read the conversation alone, never the responses, so they cannot know which response is preferred. They are
rough by design and say so: their rows carry the labeller `heuristic`.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

Category = Literal[
    "information seeking",
    "coding & debugging",
    "advice seeking",
    "math",
    "creative writing",
    "reasoning",
    "planning",
    "data analysis",
    "editing",
    "role playing",
    "brainstorming",
    "other",
]
Objectivity = Literal["objective", "subjective"]
Controversiality = Literal["low", "medium", "high"]

CATEGORIES: tuple[str, ...] = get_args(Category)
OBJECTIVITY: tuple[str, ...] = get_args(Objectivity)
CONTROVERSIALITY: tuple[str, ...] = get_args(Controversiality)

MISSING = "missing"  # objectivity and controversiality of a pair whose labeller gave no usable answer (spec 1.01)

CLOSED: Mapping[str, str] = {"category": "other", "objectivity": MISSING, "controversiality": MISSING}  # when unknown

HEURISTIC_VERSION = "keywords-1"


def known_category(value: str) -> str:
    """A category as a model spelled it, in the vocabulary's spelling; 'other' for what is not in it."""
    wanted = re.sub(r"[^a-z]+", " ", value.lower().replace("&", " ")).replace(" and ", " ").split()
    for category in CATEGORIES:
        if re.sub(r"[^a-z]+", " ", category).split() == wanted:
            return category
    return "other"


def _any(*patterns: str) -> re.Pattern:
    return re.compile("|".join(patterns), re.IGNORECASE)


# In this order: the first rule that matches names the category. Narrow tasks stand before broad ones.
_RULES: tuple[tuple[str, re.Pattern], ...] = (
    (
        "role playing",
        _any(
            r"\b(?:role[- ]?play|pretend (?:to be|you)|act as|you are (?:now )?(?:a|an|the) (?!ai\b)\w+,? (?:who|and)|"
            r"stay in character|imagine (?:you are|you're|yourself))\b",
            r"扮演|假设你是|假装",
        ),
    ),
    (
        "coding & debugging",
        _any(
            r"```|\b(?:python|javascript|typescript|java|c\+\+|c#|rust|golang|sql|regex|html|css|bash|api|json|"
            r"pandas|numpy|django|react|kubernetes|docker|git)\b",
            r"\b(?:write|fix|debug|implement|refactor|optimi[sz]e)\b.{0,40}\b(?:code|function|program|script|class|"
            r"query|algorithm|method)\b",
            r"\b(?:stack ?trace|traceback|compile error|segfault|null ?pointer|unit test)\b|def \w+\(|</\w+>",
            r"代码|编程|程序|函数",
        ),
    ),
    (
        "editing",
        _any(
            r"\b(?:proofread|rewrite|rephrase|paraphrase|reword|edit (?:this|the|my)|correct (?:the |this |my |any )?"
            r"(?:grammar|sentence|spelling|text|paragraph)|fix (?:the |my )?(?:grammar|spelling)|shorten|condense|"
            r"summari[sz]e|translate|make (?:it|this) (?:sound|more|shorter))\b",
            r"改写|润色|翻译|总结|摘要|修改",
        ),
    ),
    (
        "data analysis",
        _any(
            r"\b(?:data ?set|table (?:below|above)|csv|spreadsheet|regression|correlation|classif(?:y|ication)|"
            r"trend|statistic(?:s|al)|analy[sz]e (?:the|this|these) (?:data|results|text|sentiment))\b",
            r"数据|分类|统计",
        ),
    ),
    (
        "math",
        _any(
            r"\b(?:calculate|compute|solve for|equation|derivative|integral|probability|percent(?:age)? of|"
            r"square root|prime number|perimeter|theorem|how many .{0,80}\b(?:total|left|each|remain|altogether))\b",
            r"\d\s*[-+*/×÷^=]\s*\d|\\frac|\bx\s*=\s*",
            r"计算|方程|概率",
        ),
    ),
    (
        "reasoning",
        _any(
            r"\b(?:riddle|logic(?:al)?|deduce|infer|premise|syllogism|puzzle|what comes next|which of the following|"
            r"true or false|explain why|what would happen if|odd one out|if all)\b",
            r"推理|谜语|逻辑",
        ),
    ),
    (
        "creative writing",
        _any(
            r"\b(?:write|compose|create|generate|tell)\b.{0,60}\b(?:poem|haiku|story|song|lyrics|essay|limerick|"
            r"joke|dialogue|screenplay|sonnet|tale|slogan|tagline|blog|speech|letter|email|description|post)\b",
            r"\b(?:poem|haiku|short story|limerick|fairy tale)\b",
            r"故事|诗|作文|写一",
        ),
    ),
    (
        "planning",
        _any(
            r"\b(?:plan|schedule|itinerary|roadmap|agenda|timetable|meal prep|to-do list|checklist|"
            r"organi[sz]e (?:a|my|an)|steps? to (?:start|launch|prepare))\b",
            r"计划|规划|日程|行程",
        ),
    ),
    (
        "brainstorming",
        _any(
            r"\b(?:brainstorm|ideas? (?:for|of|about)|come up with|suggest (?:some|a few|\w+ names)|list (?:of )?\d* ?"
            r"(?:ways|ideas|names|examples|possible)|give me (?:some|\d+|a list)|ways to|"
            r"name (?:three|five|ten|\d+))\b",
            r"列举|想法|建议.{0,4}个",
        ),
    ),
    (
        "advice seeking",
        _any(
            r"\b(?:should i|what should|advice|recommend|how (?:can|do|should) i|tips|is it (?:ok|okay|worth|safe)|"
            r"help me (?:decide|with)|my (?:boss|wife|husband|girlfriend|boyfriend|friend|doctor|landlord))\b",
            r"我应该|怎么办|如何才能|建议",
        ),
    ),
    (
        "information seeking",
        _any(
            r"\b(?:what|who|when|where|which|why|how|define|describe|explain|tell me about|difference between|"
            r"meaning of|is|are|does|did|can)\b",
            r"什么|谁|哪|为什么|介绍|解释|如何",
        ),
    ),
)

_SUBJECTIVE = frozenset({"creative writing", "advice seeking", "role playing", "brainstorming", "planning"})
_TASTE = _any(
    r"\b(?:favou?rite|opinion|do you (?:think|like|prefer)|which is better|best|beautiful|funny|fun|interesting|"
    r"feel)\b",
    r"最喜欢|你觉得|你认为|最好",
)
_HEATED = _any(
    r"\b(?:abortion|gun control|genocide|terroris[mt]|suicide|kill (?:myself|someone|him|her)|rape|racis[mt]|nazi|"
    r"white people|black people|jews?|muslims?|transgender|death penalty|euthanasia|israel|palestin\w*|"
    r"bomb|cocaine|meth|heroin|porn\w*|slur)\b",
    r"自杀|恐怖|种族|堕胎",
)
_DELICATE = _any(
    r"\b(?:religio\w*|god|church|politic\w*|president|election|democrat\w*|republican\w*|immigra\w*|climate change|"
    r"vaccin\w*|feminis\w*|gender|gay|lesbian|tax(?:es|ation)?|war|police|prison|drug|alcohol|weapon|gun|hack|steal|"
    r"diagnos\w*|medication|depress\w*|lawsuit|illegal|invest(?:ing|ment)?|diet|divorce|should .{0,40}\b(?:be banned|"
    r"be legal))\b",
    r"宗教|政治|战争|违法|药",
)

_DESIRED: Mapping[str, str] = {
    "information seeking": "A correct, relevant and complete answer that says what is uncertain.",
    "coding & debugging": "Code that runs and does what was asked, with the reason for the change.",
    "advice seeking": "Advice that fits the situation described, is safe to follow and can be acted on.",
    "math": "The correct result, reached by steps that can be checked.",
    "creative writing": "An original text in the form, length and tone that were asked for.",
    "reasoning": "A sound chain of steps to a conclusion that follows from what is given.",
    "planning": "A plan that is feasible, in order, and respects every stated limit.",
    "data analysis": "A correct reading of the data given, with no figure that is not in it.",
    "editing": "The text changed as asked, its meaning kept, nothing added.",
    "role playing": "The part played consistently, in voice, within what was set up.",
    "brainstorming": "Ideas that differ from each other, fit the purpose and can be used.",
    "other": "A helpful, honest answer to what was asked.",
}
_GUIDELINE: Mapping[str, str] = {
    "information seeking": "Prefer the answer whose statements are true; then the one that answers the whole question.",
    "coding & debugging": "Prefer code that is correct on every input asked for; then clarity. Ignore length.",
    "advice seeking": "Prefer advice that is safe and specific to the person; then kindness and honesty about limits.",
    "math": "Prefer the answer with the right final result; if both are right, the one whose steps are right.",
    "creative writing": "Check the requested form first; then prefer originality, coherence and style.",
    "reasoning": "Prefer the conclusion that follows; if both are right, the one without a faulty step.",
    "planning": "Prefer the plan that meets every stated limit; then the one easier to carry out.",
    "data analysis": "Prefer the reading the data support; a made-up figure loses.",
    "editing": "Prefer the text that does what was asked and keeps the meaning; needless changes lose.",
    "role playing": "Prefer the answer that stays in its part and moves the scene on.",
    "brainstorming": "Prefer more usable and more varied ideas; repetition counts against an answer.",
    "other": "Prefer the answer that follows the request; then truth, then clarity.",
}


def heuristic(conversation: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The five attributes of a conversation by keywords; deterministic, blind to the responses."""
    asked = [t["content"] for t in conversation if t["role"] == "user"]
    last = asked[-1] if asked else ""
    everything = "\n".join(t["content"] for t in conversation)
    # A one-line follow-up ('and the second?') says little about its task; then the whole conversation decides.
    text = last if len(last) >= 40 or len(asked) < 2 else everything
    category = next((name for name, rule in _RULES if rule.search(text)), "other")
    subjective = category in _SUBJECTIVE or (category in ("information seeking", "other") and bool(_TASTE.search(text)))
    level = "high" if _HEATED.search(everything) else "medium" if _DELICATE.search(everything) else "low"
    return {
        "category": category,
        "objectivity": "subjective" if subjective else "objective",
        "controversiality": level,
        "desired": _DESIRED[category],
        "guideline": _GUIDELINE[category],
    }


def merge(answers: Mapping[str, Mapping[str, str] | None]) -> dict:
    """One set of attributes from several labellers (spec 1.04).

    Closed fields go by the most votes, a draw to the labeller that stands first. The two texts come together from the
    first labeller among those nearest to the merged fields, since the guideline of a model that took a maths question
    for small talk is of no use.

    Args:
        answers: labeller -> its five attributes, or None where no usable answer came; in the configured order.

    Returns:
        The five attributes, `agreement` (share of all closed fields given that are as merged) and `votes` (closed field
        -> labeller -> value). Where nobody answered: category other, the others missing, empty texts, agreement 0.
    """
    given = {name: a for name, a in answers.items() if a is not None}
    if not given:
        return {**CLOSED, "desired": "", "guideline": "", "agreement": 0.0, "votes": {f: {} for f in CLOSED}}
    merged = {}
    for field in CLOSED:
        counted = Counter(a[field] for a in given.values())  # keeps the order of first appearance
        merged[field] = counted.most_common(1)[0][0]
    near = {name: sum(a[f] == merged[f] for f in CLOSED) for name, a in given.items()}
    author = given[max(near, key=near.__getitem__)]
    return {
        **merged,
        "desired": author["desired"],
        "guideline": author["guideline"],
        "agreement": round(sum(near.values()) / (len(CLOSED) * len(given)), 4),
        "votes": {f: {name: a[f] for name, a in given.items()} for f in CLOSED},
    }
