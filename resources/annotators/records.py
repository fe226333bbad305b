"""One typed reader for what people answer, whatever form it came through: the answer, or all that is wrong with it."""

import contextlib
import datetime
import json
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from curation.attributes import CATEGORIES, CONTROVERSIALITY, OBJECTIVITY
from resources.retrieval.embedder import FIELDS
from resources.settings import Settings

FIRST, SECOND, UNDECIDED = "first", "second", "undecided"
WHY = ("tie", "missing", "not_mine")
TOOLS = ("search", "llm", "code")
CLOSED = {"category": CATEGORIES, "objectivity": OBJECTIVITY, "controversiality": CONTROVERSIALITY}
LONGEST = 20_000  # characters of a rationale or an entry of the log
_DAY = 86_400.0

_SPELT = {
    FIRST: "1 a left first",
    SECOND: "2 b right second",
    UNDECIDED: "0 undecided undecidable neither both equal none skip",
    "tie": "tie tied same draw",
    "missing": "missing",
    "not_mine": "notmine",
    "search": "search searchengine web websearch google internet browser",
    "llm": "llm assistant assistantllm model chatbot ai chatgpt",
    "code": "code coderun execution run executed coderunbyanassistant sandbox interpreter",
    "none": "none no nothing notools",
}
_VERDICTS = {w: v for v in (FIRST, SECOND, UNDECIDED) for w in _SPELT[v].split()}
_VERDICTS |= {
    f"{c}{w}": v for w, v in _VERDICTS.items() for c in ("candidate", "response", "answer", "option", "output")
}
_VERDICTS |= {"tie": UNDECIDED, "tied": UNDECIDED, "same": UNDECIDED, "draw": UNDECIDED, "equallygoodorbad": UNDECIDED}
_VERDICTS |= {"cannotdetermine": UNDECIDED, "cannotbedetermined": UNDECIDED, "cannotbedecided": UNDECIDED}
_WHYS = {w: v for v in WHY for w in _SPELT[v].split()}
_WHYS |= {"equallygood": "tie", "equallybad": "tie", "equallygoodorbad": "tie", "both": "tie", "equal": "tie"}
_WHYS |= {"somethingneededismissing": "missing", "cannotdetermine": "missing", "cannotbedetermined": "missing"}
_WHYS |= {"icannotreadorcheckthis": "not_mine", "neither": "tie"}
_TOOLS = {w: v for v in (*TOOLS, "none") for w in _SPELT[v].split()}
_YES = {"yes", "true", "y", "1", "ja", "x", "on", "read"}
_MODEL = re.compile(
    r"(?:chat)?gpt|o\d|(?:claude|gemini|grok|deepseek|llama|qwen|mistral|gemma|phi)[-_ ]?[a-z]?\d|.*/.*-\d+b"
)


@dataclass(frozen=True)
class Asked:
    """What an answer is held against: the pair as it was shown.

    Attributes:
        pair_id: of the pair.
        attributes: the five, as shown.
        protocol_version: of the guideline.
        guideline: whether the form showed it.
        tools: whether the form let tools be used.
        hint: text of the pre-verification, as shown; '' for none.
        hint_verdict: first or second, '' where it spoke for neither.
        arm: name of the form.
    """

    pair_id: str
    attributes: Mapping[str, str]
    protocol_version: str
    guideline: bool = True
    tools: bool = True
    hint: str = ""
    hint_verdict: str = ""
    arm: str = ""

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> "Asked":
        """From an item of the desk."""
        return cls(**{n: item[n] for n in cls.__dataclass_fields__})


@dataclass(frozen=True)
class Rules:
    """What the configuration demands of an answer."""

    require: frozenset[str]
    required_tools: Mapping[str, str]
    assistants: tuple[str, ...]
    least_seconds: float
    usual_seconds: tuple[float, float]
    models: frozenset[str] = frozenset()  # names that are no person's

    @classmethod
    def of(cls, settings: Settings) -> "Rules":
        s = settings.people
        named = {j.name for j in settings.judges.judges} | {j.model for j in settings.judges.judges if j.model}
        return cls(
            frozenset(s.require),
            dict(s.required_tools),
            tuple(s.assistants),
            s.least_seconds,
            s.usual_seconds,
            frozenset(_plain(n) for n in (*s.assistants, *named)),
        )


@dataclass(frozen=True)
class Answer:
    """One person's answer to one pair, in the order of sides in which it was shown."""

    pair_id: str
    annotator: str
    verdict: str
    why: str = ""
    seconds: float | None = None
    started: str | None = None
    finished: str | None = None
    acknowledged: bool | None = None
    protocol_version: str = ""
    tools: tuple[str, ...] = ()
    tool_log: tuple[Mapping[str, str], ...] = ()
    hint: str = ""
    hint_verdict: str = ""
    rationale: str = ""
    arm: str = ""
    flags: tuple[str, ...] = ()
    edited: Mapping[str, str | None] = field(default_factory=dict)

    def stored(self) -> str:
        """JSON, equal for equal answers."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)

    @classmethod
    def restored(cls, text: str) -> "Answer":
        raw = json.loads(text)
        for name in ("tools", "tool_log", "flags"):
            raw[name] = tuple(raw[name])
        return cls(**raw)


@dataclass(frozen=True)
class Refused:
    """An answer that cannot be used, with every reason; what it names, as far as that could be read."""

    pair_id: str
    annotator: str
    reasons: tuple[str, ...]

    @property
    def reason(self) -> str:
        return "; ".join(self.reasons)


def read(raw: Any, asked: Mapping[str, Asked], rules: Rules, now: float = math.inf) -> Answer | Refused:
    """A raw record as an answer, or what is wrong with it.

    Args:
        raw: pair_id, verdict and annotator, and, as the configuration demands them, acknowledged, tools, tool_log,
            started and finished or seconds, why_undecided, rationale and attributes. Words may be spelt as people and
            annotation tools spell them.
        asked: the pairs of the batch.
        rules: what the configuration demands.
        now: seconds since the epoch; what was finished long after it has a wrong clock.
    """
    if not isinstance(raw, Mapping):
        return Refused("", "", ("not an object of fields and values",))
    try:
        return _read(raw, asked, rules, now)
    except RecursionError:
        return Refused("", "", ("its values are nested too deeply",))


def _read(raw: Mapping[str, Any], asked: Mapping[str, Asked], rules: Rules, now: float) -> Answer | Refused:
    pair, who = _word(raw.get("pair_id")) or "", _annotator(raw)
    item = asked.get(pair)
    if item is None:
        return Refused(pair, who if isinstance(who, str) else "", (_unknown(raw.get("pair_id")),))
    wrong: list[str] = []
    made: dict[str, Any] = {"pair_id": pair, "annotator": ""}
    if isinstance(who, str):
        made["annotator"] = who
        if _plain(who) in rules.models or _MODEL.match(who.lower()):
            wrong.append(f"annotator {who!r} is a model's name: a label needs the verdict of a person")
    else:
        wrong += who
    for part in (_verdict(raw), _times(raw, rules, now), _protocol(raw, item, rules), _edited(raw, item.attributes)):
        if isinstance(part, dict):
            made |= part
        else:
            wrong += part
    made |= {"hint": item.hint, "hint_verdict": item.hint_verdict, "arm": item.arm}
    made["rationale"] = _joined(_first(raw, "rationale", "reason"))[:LONGEST]
    if "why" in rules.require and made.get("verdict") == UNDECIDED and not made["why"]:
        wrong.append("why_undecided is missing: one of tie, missing, not_mine")
    used = _tools(raw, item, rules)
    if isinstance(used, dict):
        made |= used
        wrong += _evidence(raw, made, item, rules)
    else:
        wrong += used
    return Refused(pair, made["annotator"], tuple(wrong)) if wrong else Answer(**made)


# ---- words -----------------------------------------------------------------------------------------------------------
def _plain(text: str) -> str:
    return re.sub(r"[\W_]+", "", text.lower())


def _word(value: Any) -> str | None:
    """The one word of a value, as forms wrap it: a text, a whole number, a list of one, {"choices": […]}; '' for none."""
    if isinstance(value, Mapping):
        inner = [value[k] for k in ("choices", "text", "value", "selected") if k in value]
        return _word(inner[0]) if len(inner) == 1 else None
    if isinstance(value, (list, tuple)):
        return _word(value[0]) if len(value) == 1 else "" if not value else None
    if value is None:
        return ""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return str(int(value)) if math.isfinite(value) and value == int(value) else None
    return _text(value) if isinstance(value, str) else None


def _words(value: Any) -> list[str] | None:
    """Several words: a list, {"choices": […]}, or a text with separators."""
    if isinstance(value, Mapping) and len(value) == 1:
        value = next(iter(value.values()))
    if isinstance(value, str):
        value = re.split(r"[,;|+\n]", value)
    if value is None:
        return []
    if not isinstance(value, (list, tuple)):
        return None
    found = [_word(v) for v in value]
    return None if None in found else [w for w in found if w]


def _text(value: object) -> str:
    """Text without its margins; nothing for what is none, half a surrogate pair included."""
    if not isinstance(value, str):
        return ""
    return "" if any("\ud800" <= c <= "\udfff" for c in value) else value.strip()


def _joined(value: Any) -> str:
    if isinstance(value, Mapping) and len(value) == 1:
        value = next(iter(value.values()))
    parts = value if isinstance(value, (list, tuple)) else [value]
    return "\n".join(t for t in map(_text, parts) if t)


def _first(raw: Mapping, *names: str) -> Any:
    """The first of several names that is there and not empty."""
    return next((raw[n] for n in names if raw.get(n) not in (None, "", [], {})), None)


def _shown(value: Any) -> str:
    """A value for a message: short, in one line."""
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"


# ---- parts -----------------------------------------------------------------------------------------------------------
def _unknown(value: Any) -> str:
    if value in (None, ""):
        return "pair_id is missing"
    return f"pair_id {_shown(value)} is not in this batch"


def _annotator(raw: Mapping) -> str | list[str]:
    value = _first(raw, "annotator", "completed_by")
    if isinstance(value, Mapping):
        value = _first(value, "id", "email")
    who = _word(value)
    if who is None:
        return [f"annotator must be a text or a whole number, found {_shown(value)}"]
    if not who:
        return ["annotator is missing"]
    return who if len(who) <= 200 else ["annotator must have at most 200 characters"]


def _verdict(raw: Mapping) -> dict[str, Any] | list[str]:
    allowed = "verdict must be one of candidate_1, candidate_2, undecided"
    if _copied(raw.get("verdict_origin")):
        return ["the verdict is a model's prediction that nobody gave anew: a label needs the verdict of a person"]
    value = raw.get("verdict")
    if value in (None, "", [], {}):
        return [f"{allowed}; it is missing"]
    word = _word(value)
    plain = _plain(re.sub(r"\bis better\b", "", word)) if word else ""
    if plain not in _VERDICTS:
        return [f"{allowed}, found {_shown(value)}"]
    given = _first(raw, "why_undecided", "why")
    why = _word(given) if given is not None else ""
    if why:
        if _plain(why) not in _WHYS:
            return [f"why_undecided must be one of {', '.join(WHY)}, found {_shown(given)}"]
        why = _WHYS[_plain(why)]
    elif why is None:
        return [f"why_undecided must be one of {', '.join(WHY)}, found {_shown(given)}"]
    verdict = _VERDICTS[plain]
    return {"verdict": verdict, "why": (why or _WHYS.get(plain, "")) if verdict == UNDECIDED else ""}


def _copied(origin: Any) -> bool:
    return _word(origin) == "prediction"


def _times(raw: Mapping, rules: Rules, now: float) -> dict[str, Any] | list[str]:
    wrong, at = [], {}
    for name, names in (("started", ("started", "t_start")), ("finished", ("finished", "t_end"))):
        value = _first(raw, *names)
        at[name] = None if value is None else _moment(value)
        if value is not None and at[name] is None:
            wrong.append(f"{name} must be a time such as 2026-01-31T09:30:00Z, found {_shown(value)}")
    given, seconds = _first(raw, "seconds", "lead_time"), None
    if given is not None:
        try:
            seconds = math.nan if isinstance(given, bool) else float(given)
        except (TypeError, ValueError, OverflowError):
            seconds = math.nan
        if not 0 <= seconds < math.inf:
            wrong.append(f"seconds must be a number of seconds from 0, found {_shown(given)}")
    if wrong:
        return wrong
    started, finished = at["started"], at["finished"]
    if started is not None and finished is not None:
        if finished < started:
            return ["finished lies before started"]
        between = finished - started
        if seconds is not None and seconds > between + 1:
            return [f"seconds is {seconds:g}, but between started and finished lie {between:g}"]
        seconds = between if seconds is None else seconds
    if finished is not None and finished > now + _DAY:
        return ["finished lies in the future"]
    if seconds is None:
        missing = "the time is missing: give started and finished, or seconds"
        return [missing] if "times" in rules.require else {"seconds": None, **_spelt(started, finished)}
    if seconds < rules.least_seconds:
        return [f"given in {seconds:g} s, and nobody reads two answers in less than {rules.least_seconds:g} s"]
    low, high = rules.usual_seconds
    flags = ("too_fast",) * (seconds < low) + ("too_slow",) * (seconds > high)
    return {"seconds": round(seconds, 3), "flags": flags, **_spelt(started, finished)}


def _moment(value: Any) -> float | None:
    """Seconds since the epoch of an ISO 8601 text or a number of seconds or milliseconds; without a zone it is UTC."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        number = float(value) / (1000 if value > 1e11 else 1)
        return number if 0 <= number < 1e11 else None
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.datetime.fromisoformat(value.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def instant(seconds: float) -> str:
    """ISO 8601 in UTC, to the millisecond."""
    return (
        datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )


def _spelt(started: float | None, finished: float | None) -> dict[str, str | None]:
    return {n: None if t is None else instant(t) for n, t in (("started", started), ("finished", finished))}


def _protocol(raw: Mapping, item: Asked, rules: Rules) -> dict[str, Any] | list[str]:
    if not item.guideline:
        return {"acknowledged": None, "protocol_version": item.protocol_version}
    value, version = raw.get("acknowledged"), raw.get("protocol_version")
    said = _word("yes" if value is True else "" if value is False else value)
    read_ = bool(said) and (said.lower() in _YES or said == item.protocol_version)
    for one in (version, None if read_ else said):
        if _word(one) and str(one).startswith("v") and _word(one) != item.protocol_version:
            return [f"guideline {_shown(one)} was acknowledged, but {item.protocol_version} was shown"]
    if not read_ and "acknowledged" in rules.require:
        return [
            "the guideline is not acknowledged: set `acknowledged` to true, or to the version that was read"
            f" ({item.protocol_version})"
        ]
    return {"acknowledged": read_ if value is not None else None, "protocol_version": item.protocol_version}


def _tools(raw: Mapping, item: Asked, rules: Rules) -> dict[str, Any] | list[str]:
    """What was used and its log; every use has an entry."""
    words = _words(raw.get("tools"))
    if words is None or any(_plain(w) not in _TOOLS for w in words):
        return [f"tools must be none, or of {', '.join(TOOLS)}, found {_shown(raw.get('tools'))}"]
    named = {_TOOLS[_plain(w)] for w in words}
    log: list[Mapping[str, str]] = []
    for number, entry in enumerate(_entries(raw.get("tool_log")), 1):
        made = _entry(entry, named - {"none"}, rules)
        if isinstance(made, str):
            return [f"tool_log, entry {number}: {made}"]
        log.append(made)
    logged = {e["tool"] for e in log}
    if not item.tools and (named - {"none"} or logged):
        return ["tools were used, but this form allows none"]
    if "none" in named and (len(named) > 1 or log):
        return ["tools says none, but uses are listed"]
    if not named and not log and item.tools and "tools" in rules.require:
        return ["tools is missing: say which were used (search, llm, code), or none"]
    if "tools" in rules.require and (bare := sorted(named - {"none"} - logged)):
        return [f"the use of {', '.join(bare)} has no entry in tool_log: what was asked and what it said"]
    used = (named - {"none"}) | logged
    return {"tools": tuple(t for t in TOOLS if t in used), "tool_log": tuple(log)}


def _entries(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping) and set(value) == {"text"}:
        value = value["text"]
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):  # JSON in a cell
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(value)
    if isinstance(value, str):
        value = value.splitlines()
    entries = value if isinstance(value, (list, tuple)) else [value]
    yield from (e for e in entries if e not in ("", None))


def _entry(entry: Any, named: Collection[str], rules: Rules) -> dict[str, str] | str:
    if isinstance(entry, str):  # "search: when was it built -> 1889", or any text where one tool was used
        head, colon, rest = entry.partition(":")
        words = head.split("(")
        tool = _TOOLS.get(_plain(words[0])) if colon else None
        name = words[1].strip(" )") if tool and len(words) > 1 else ""
        if not tool and len(named) == 1:
            tool, rest = next(iter(named)), entry
        asked, _, said = rest.partition("->")
        entry = {"tool": tool or head, "name": name, "asked": asked, "said": said}
    if not isinstance(entry, Mapping):
        return f"must be an object of tool, name, asked and said, found {_shown(entry)}"
    tool = _TOOLS.get(_plain(_word(entry.get("tool")) or ""), "")
    if tool not in TOOLS:
        return f"tool must be one of {', '.join(TOOLS)}, found {_shown(entry.get('tool'))}"
    made = {"tool": tool} | {n: _text(entry.get(n))[:LONGEST] for n in ("name", "asked", "said")}
    if not made["asked"] and not made["said"]:
        return "says neither what was asked nor what it said"
    if tool == "llm" and made["name"] and _plain(made["name"]) not in {_plain(a) for a in rules.assistants}:
        return f"{made['name']!r} is not among the assistants that may be asked: {', '.join(rules.assistants)}"
    return made


def _evidence(raw: Mapping, made: Mapping[str, Any], item: Asked, rules: Rules) -> list[str]:
    """What must stand behind a verdict: the tool that its kind of task requires, and more than a model's word."""
    if made.get("verdict") is None or (made["verdict"] == UNDECIDED and made["why"] != "tie"):
        return []
    wrong, edited = [], made.get("edited") or {}
    category, objectivity = (edited.get(n) or item.attributes[n] for n in ("category", "objectivity"))
    needed = rules.required_tools.get(category)
    if (
        "tools" in rules.require
        and item.tools
        and needed
        and objectivity == "objective"
        and needed not in made["tools"]
    ):
        must = {"search": "must be looked up", "code": "must be run", "llm": "needs an assistant"}[needed]
        wrong.append(f"{category} {must}: tools needs {needed}, with an entry in tool_log")
    if made["tools"] == ("llm",):
        said = {_plain(e["said"]) for e in made["tool_log"]}
        if not made["rationale"] or _plain(made["rationale"]) in said:
            wrong.append(
                "the only evidence is a model's: give the difference that decided in your own words (rationale)"
            )
    return wrong


def _edited(raw: Mapping, asked: Mapping[str, str]) -> dict[str, Any] | list[str]:
    """The five attributes, each as the answer corrects it or else None."""
    given = raw["attributes"] if "attributes" in raw else {n: raw[n] for n in FIELDS if n in raw}
    given = {} if given is None else given
    if not isinstance(given, Mapping) or (unknown := sorted(map(str, given.keys() - set(FIELDS)))):
        found = _shown(given) if not isinstance(given, Mapping) else ", ".join(map(repr, unknown))
        return [f"attributes must be an object of {', '.join(FIELDS)}, found {found}"]
    edited: dict[str, str | None] = dict.fromkeys(FIELDS)
    wrong = []
    for name, value in given.items():
        if value is None or value == "":  # an empty cell
            continue
        if not (text := _text(value)):
            wrong.append(f"{name} must be text, found {_shown(value)}")
        elif text == asked[name]:  # sent back as it was
            continue
        elif name in CLOSED and text not in CLOSED[name]:
            wrong.append(f"{name} must be one of {', '.join(CLOSED[name])}, found {_shown(value)}")
        else:
            edited[name] = text
    return wrong or {"edited": edited}


def asked_of(items: Sequence[Mapping[str, Any]]) -> dict[str, Asked]:
    """The pairs of a batch by id."""
    return {item["pair_id"]: Asked.of(item) for item in items}
