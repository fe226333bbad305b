"""Which shape, fields and codes a sample of records suggests: every reading that the keys and values allow is tried with
the adapters themselves, and the one that reads most of the sample is proposed, with what of it a person should look at.

Nothing is guessed silently: where a value's meaning follows from convention alone (is 0 the first response, or a tie?),
the proposal says so in `doubts`.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from curation.adapters import adapter
from curation.comparison import Comparison
from curation.conversation import BadRecord, Unfit, is_transcript
from curation.paths import value_at
from curation.propose_codes import Meaning, good_or_bad, meaning_of, plain
from curation.unpaired import pair_up

LONGEST = 4_000_000  # characters of a pair
TRIED = 200  # records that each reading is tried on
LEAST_READ = 0.3  # of the sample, below which a reading is none
WHICH = "which_is_better"  # the column that a query adds
DEEPEST = 7  # keys inside keys
MOST_PLACES = 400
ELEMENTS = 3  # of a list of objects that are looked into one by one

BETTER_WORSE = (
    ("chosen", "rejected"), ("chosen", "reject"), ("preferred", "non_preferred"), ("preferred", "dispreferred"),
    ("preferred", "rejected"), ("preferred", "unpreferred"), ("better", "worse"), ("win", "lose"), ("winner", "loser"),
    ("winning", "losing"), ("good", "bad"), ("positive", "negative"), ("accepted", "rejected"), ("selected", "rejected"),
    ("best", "worst"), ("pos", "neg"), ("j", "k"),
)  # fmt: skip
SIDES = (("a", "b"), ("1", "2"), ("0", "1"), ("first", "second"), ("left", "right"), ("one", "two"))
PROMPTS = (
    "prompt", "instruction", "question", "query", "conversation", "conversations", "trajectory", "messages", "context",
    "dialogue", "dialog", "history", "input", "problem", "post", "turns", "user", "text", "title", "article", "document", "source",
)  # fmt: skip
ANSWER = ("response", "completion", "answer", "output", "generation", "reply")
JUDGED = (
    "winner", "gold", "preference", "preferred", "better", "vote", "choice", "choices", "selected", "verdict", "best",
    "label", "labels", "overall", "annotation", "comparison", "decision", "judgment", "judgement", "result", "annotator",
    "score", "chosen",
)  # fmt: skip
RATED = (
    "overall", "score", "scores", "rating", "ratings", "reward", "rewards", "helpfulness", "quality", "grade", "rank", "ranks",
)  # fmt: skip
LISTED = ("responses", "completions", "answers", "candidates", "outputs", "output", "generations", "ranked", "rankings")
NAMES = ("id", "ids", "model", "name", "hash", "url", "path", "generator", "author", "key", "date", "lang", "language")
LIKED = (
    "label", "desirable", "thumbs", "good", "liked", "like", "upvote", "accepted", "feedback", "tag", "correct", "safe",
    "rating",
)  # fmt: skip


@dataclass(frozen=True)
class Proposal:
    """How a file's records may be read.

    Attributes:
        shape, fields, codes: as in the configuration of a source.
        query: DuckDB SQL over `{file}` that is read in the file's place, where no field leads to what the shape needs.
        doubts: what rests on convention, for a person to look at.
        read: share of the sample that gives pairs or ties this way.
    """

    shape: str
    fields: Mapping[str, str]
    codes: Mapping[str, list] = field(default_factory=dict)
    query: str | None = None
    doubts: tuple[str, ...] = ()
    read: float = 0.0


def propose(records: Sequence[dict], cells: bool = False) -> Proposal | None:
    """The reading that a sample suggests, or None where no reading gives pairs.

    Args:
        records: the first rows of a file; more of them make codes and repeated prompts more certain.
        cells: every value is a text, as in CSV.
    """
    records = [r for r in records if r]
    if not records:
        return None
    sample = _Sample(records, cells)
    best, rank = None, (0.0, 0)
    for place, (kind, made, derived) in enumerate(sample.readings()):
        share = _share(made, derived[:TRIED] if made.shape != "unpaired" else derived, cells and not made.query)
        worth = (round(share, 1), kind)
        if share >= LEAST_READ and worth > rank:
            doubts = (*made.doubts, *sample.spelt(made.fields.values()))
            best, rank = Proposal(made.shape, made.fields, made.codes, made.query, doubts, share), worth
        if place > MOST_PLACES:
            break
    return best


def _share(made: Proposal, records: Sequence[dict], cells: bool) -> float:
    """The share of records that a reading makes something of; a tie is as good as half a pair."""
    good = 0.0
    try:
        if made.shape == "unpaired":
            from curation.codes import GOOD_OR_BAD, Codes

            labels = Codes(dict(made.codes) or GOOD_OR_BAD, cells)
            fine = {"paired", "no_partner"}
            seen = {
                row
                for row, found in pair_up(enumerate(records), dict(made.fields), labels, LONGEST)
                if isinstance(found, Comparison) or (isinstance(found, Unfit) and found.reason in fine)
            }
            return len(seen) / len(records)
        read = adapter(made.shape, dict(made.fields), {k: list(v) for k, v in made.codes.items()}, cells)
    except ValueError:
        return 0.0
    for record in records:
        try:
            found = list(read(record))
        except (BadRecord, Unfit, ValueError, ArithmeticError, RecursionError):
            continue
        problems = [f.problem() if isinstance(f, Comparison) else (f.reason, "") for f in found]
        if None in problems:
            good += 1
        elif any(p is not None and p[0] in ("tie", "both_bad", "identical", "no_label") for p in problems):
            good += 0.5
    return good / len(records) if records else 0.0


# ---- what a sample holds -------------------------------------------------------------------------------------------
class _Sample:
    """Records as columns by path, and the readings that their names and values allow, likelier ones first."""

    def __init__(self, records: Sequence[dict], cells: bool):
        self.records, self.cells = records, cells
        paths: dict[str, None] = {}
        for record in records[:TRIED]:
            for path in _paths(record):
                paths.setdefault(path)
            if len(paths) > MOST_PLACES:
                break
        self.columns = {path: [_value(r, path) for r in records] for path in paths}
        self.kinds = {path: _kind(values) for path, values in self.columns.items()}
        self.tokens = {path: _tokens(path) for path in paths}

    def of(self, *kinds: str) -> list[str]:
        """Paths to values of these kinds."""
        return [path for path, kind in self.kinds.items() if kind in kinds]

    @property
    def answers(self) -> list[str]:
        """Paths to what may be a response: texts, but no names and ids of things."""
        found = (p for p in self.of("text", "dialogue", "message") if not p.endswith("]"))
        return [p for p in found if not {*NAMES} & {*_tokens(_last(p))}]

    def readings(self) -> Iterator[tuple[int, Proposal, Sequence[dict]]]:
        """(how specific it is, the reading, the records as its query would give them)."""
        yield from ((9, made, self.records) for made in self._trees())
        yield from ((8, made, self.records) for made in self._pairs())
        for sides in self._sided():
            yield from ((7, *made) for made in self._winners(*sides))
        yield from ((6, *made) for made in self._scores())
        yield from ((5, made, self.records) for made in self._unpaired())
        yield from ((4, made, self.records) for made in self._rankings())
        yield from ((3, *made) for made in self._grouped())

    def spelt(self, paths: Iterable[str]) -> Iterator[str]:
        """Fields whose texts look like lists that were written as text."""
        for path in paths:
            values = [v.strip() for v in self.columns.get(path, ()) if isinstance(v, str)]
            if values and sum(v[:1] == "[" and v[-1:] == "]" for v in values) > len(values) / 2:
                yield f"{path}: lists that stand as text; if they are turns of a dialogue, a query has to part them"

    # ---- shapes ----------------------------------------------------------------------------------------------------
    def _trees(self) -> Iterator[Proposal]:
        for path, values in self.columns.items():
            if (
                any(isinstance(v, dict) and isinstance(v.get("replies"), list) for v in values)
                and "replies" not in path
            ):
                yield Proposal("tree", {"root": path})

    def _pairs(self) -> Iterator[Proposal]:
        named = list(self._matched(BETTER_WORSE))
        for chosen, rejected in named:
            if self._alike(chosen, rejected):  # what both answer stands twice
                continue
            said = next((a for a, b in named if (a, b) != (chosen, rejected) and self._alike(a, b)), None)
            fields, doubts = self._context({chosen, rejected}, said)
            yield Proposal("pair", fields | {"chosen": chosen, "rejected": rejected}, doubts=doubts)
        for rejected in () if named else self._named(("rejected",), "text", "message", "dialogue"):
            yield from (
                Proposal("pair", {"chosen": d, "rejected": rejected}) for d in self.of("dialogue") if d != rejected
            )

    def _sided(self) -> list[tuple[str, str]]:
        """Pairs of responses by side, the longest texts first: names of models come in pairs as well."""
        found = [(a, b) for a, b in self._matched(SIDES) if not self._alike(a, b)]
        return sorted(found, key=lambda ab: -self._length(ab[0]))[:4]

    def _winners(self, a: str, b: str) -> Iterator[tuple[Proposal, Sequence[dict]]]:
        """A winner in several columns (one a side, or the name of a model), in one, or by two scores."""
        fields, doubts = self._context({a, b})
        fields |= {"a": a, "b": b}
        scores = self._side_scores(a, b)
        if flags := self._flags(a, b):
            conditions = [(f"{_sql(path)}::INT = 1", winner) for path, winner in flags]
            yield from self._queried(fields, doubts, conditions, lambda r: self._flagged(r, flags))
        if models := self._models(a, b):
            winner, one, other = map(_sql, models)
            conditions = [(f"{winner} = {one}", "a"), (f"{winner} = {other}", "b"), (f"{winner} ILIKE '%tie%'", "tie")]
            yield from self._queried(fields, doubts, conditions, lambda r: self._called(r, *models))
        for path in self._named(JUDGED, "number", "bool", "text"):
            inside = "[" in a and path.startswith(a.partition("[")[0] + "[")  # says something of one response alone
            if path in (a, b, fields.get("prompt")) or path in scores or inside:
                continue
            values = [plain(v, self.cells) for v in self.columns[path]]
            hints = self._agreeing(values, scores)
            found = meaning_of(values, self.tokens[path], self.tokens[a], self.tokens[b], hints)
            if found is not None:
                doubt = tuple(f"{path}: {d}" for d in found.doubts)
                yield Proposal("winner", fields | {"winner": path}, found.codes, doubts=doubts + doubt), self.records
        if scores and "." not in "".join(scores):
            one, other = (f"{_sql(s)}::DOUBLE" for s in scores)
            conditions = [(f"{one} > {other}", "a"), (f"{one} < {other}", "b"), (f"{one} = {other}", "tie")]
            doubts = (*doubts, f"the response with the higher {scores[0]} was taken for the better one")
            yield from self._queried(fields, doubts, conditions, lambda r: self._higher(r, *scores))

    def _queried(
        self,
        fields: dict[str, str],
        doubts: tuple[str, ...],
        conditions: Sequence[tuple[str, str]],
        case: Callable[[dict], str | None],
    ) -> Iterator[tuple[Proposal, Sequence[dict]]]:
        """A winner that a query makes of other columns; `case` says of a record what the query would."""
        cases = " ".join(f"WHEN {condition} THEN '{winner}'" for condition, winner in conditions)
        query = f"SELECT *, CASE {cases} END AS {WHICH} FROM {{file}}"
        codes = {"a": ["a"], "b": ["b"], "tie": ["tie"]}
        derived = [r | {WHICH: case(r)} for r in self.records]
        yield Proposal("winner", fields | {"winner": WHICH}, codes, query, doubts), derived

    def _flags(self, a: str, b: str) -> list[tuple[str, str]]:
        """Columns that are 1 where a side has won, and which side that is."""
        sides = dict(zip((*self._difference(a, b), "tie"), ("a", "b", "tie"), strict=True))
        found = {
            sides[last]: path
            for path in self._named(("winner", "win", "wins"), "number", "bool")
            if "." not in path and (last := self.tokens[path][-1]) in sides
        }
        return [(found[w], w) for w in ("a", "b", "tie") if w in found] if {"a", "b"} <= found.keys() else []

    @staticmethod
    def _flagged(record: dict, flags: Sequence[tuple[str, str]]) -> str | None:
        return next((winner for path, winner in flags if plain(record.get(path), True) == 1), None)

    @staticmethod
    def _called(record: dict, winner: str, one: str, other: str) -> str | None:
        name = record.get(winner)
        if name in (record.get(one), record.get(other)):
            return "a" if name == record.get(one) else "b"
        return "tie" if "tie" in str(name).lower() else None

    @staticmethod
    def _higher(record: dict, one: str, other: str) -> str | None:
        a, b = _number(record.get(one)), _number(record.get(other))
        if a is None or b is None:
            return None
        return "a" if a > b else "b" if a < b else "tie"

    def _scores(self) -> Iterator[tuple[Proposal, Sequence[dict]]]:
        lists = [p for p in self.of("texts") if not p.endswith("]") and not {*NAMES} & {*_tokens(_last(p))}]
        lists.sort(key=lambda p: -self._length(p))
        for responses in lists:
            for scores in self._named(RATED, "numbers"):
                if not self._as_long(responses, scores) or scores == responses:
                    continue
                fields, doubts = self._context({responses, scores})
                fields |= {"responses": responses}
                if self.tokens[scores][-1] in ("rank", "ranks", "ranking"):
                    if self._ascending(scores):
                        yield Proposal("ranking", fields, doubts=doubts), self.records
                    elif "[]" not in scores:
                        query = f"SELECT *, [-x::DOUBLE FOR x IN {_sql(scores)}] AS minus_rank FROM {{file}}"
                        derived = [
                            r | {"minus_rank": [-float(x) for x in _floats(r.get(scores))]} for r in self.records
                        ]
                        yield Proposal("scores", fields | {"scores": "minus_rank"}, {}, query, doubts), derived
                    continue
                yield Proposal("scores", fields | {"scores": scores}, doubts=doubts), self.records

    def _rankings(self) -> Iterator[Proposal]:
        for responses in self._named(LISTED, "texts"):
            if responses.endswith("]") or not any(len(v) > 1 for v in self.columns[responses] if isinstance(v, list)):
                continue
            fields, doubts = self._context({responses})
            order = f"{responses}: the responses were taken to stand best first"
            yield Proposal("ranking", fields | {"responses": responses}, doubts=(*doubts, order))

    def _unpaired(self) -> Iterator[Proposal]:
        for label in self._named(LIKED, "bool", "number", "text"):
            found = good_or_bad([plain(v, self.cells) for v in self.columns[label]])
            if found is None:
                continue
            doubts = tuple(f"{label}: {d}" for d in found.doubts)
            for messages in self.of("dialogue"):
                if "[" not in messages:
                    yield Proposal("unpaired", {"messages": messages, "label": label}, found.codes, doubts=doubts)
            for response in self._named(ANSWER, "text", "message", "dialogue"):
                fields, more = self._context({response, label})
                fields |= {"response": response, "label": label}
                yield Proposal("unpaired", fields, found.codes, doubts=doubts + more)

    def _grouped(self) -> Iterator[tuple[Proposal, Sequence[dict]]]:
        """One response and its score a row: rows of one prompt are the responses to it."""
        for response in self._named(ANSWER, "text"):
            fields, doubts = self._context({response})
            prompt = fields.get("prompt")
            if prompt is None or "." in prompt + response or self.kinds[prompt] != "text":
                continue
            groups: dict[Any, list[dict]] = {}
            for record in self.records:
                groups.setdefault(record.get(prompt), []).append(record)
            if sum(len(g) for g in groups.values() if len(g) > 1) < len(self.records) / 4:
                continue
            for score in self._named(RATED, "number"):
                columns = ", ".join(_sql(fields[name]) for name in fields)
                query = (
                    f"SELECT {columns}, list({_sql(response)}) AS responses, list({_sql(score)}) AS scores"
                    f" FROM {{file}} GROUP BY {columns} ORDER BY {columns}"
                )
                derived = [
                    g[0] | {"responses": [r.get(response) for r in g], "scores": [r.get(score) for r in g]}
                    for g in groups.values()
                    if len(g) > 1
                ]
                said = f"rows with the same {prompt} were taken for answers to it, rated by {score}"
                found = fields | {"responses": "responses", "scores": "scores"}
                yield Proposal("scores", found, {}, query, (*doubts, said)), derived

    # ---- fields ----------------------------------------------------------------------------------------------------
    def _context(self, used: set[str], said: str | None = None) -> tuple[dict[str, str], tuple[str, ...]]:
        """prompt, input, history and system beside these fields, and what is doubtful about them."""
        if self._whole(used):
            return {}, ()
        ranked = [
            path
            for word in PROMPTS
            for path in sorted(self.of("text", "dialogue", "message", "texts"), key=len)
            if path not in used and not path.endswith("]") and "[]" not in path and word in self.tokens[path]
            and not self._one_of_two(path)
        ]  # fmt: skip
        ranked.sort(key=lambda p: self.tokens[p][-1] not in PROMPTS)
        ranked = [p for p in ranked if self._varied(p)]
        rest = [
            p for p in self.of("text") if p not in used and not p.endswith("]") and "[]" not in p and self._varied(p)
        ]
        rest = sorted((p for p in rest if not self._one_of_two(p)), key=lambda p: -self._length(p))
        told = [p for p in self.of("dialogue") if p not in used and "[" not in p]
        prompt = said or next(iter([*ranked, *told, *rest]), None)
        if prompt is None:
            return {}, ("no field looks like the prompt",)
        fields = {"prompt": prompt}
        doubts = () if said or ranked or told else (f"{prompt}: taken for the prompt because nothing is named so",)
        inside = prompt.rpartition(".")[0]
        for name, words in (("input", ("input",)), ("history", ("history",)), ("system", ("system", "system_prompt"))):
            for path in self.columns:
                here = path.rpartition(".")
                beside = here[0] == inside and here[2] in words and path != prompt and path not in used
                if beside and (name != "input" or self.tokens[prompt][-1] in ("instruction", "prompt", "question")):
                    fields[name] = path
        return fields, doubts

    def _whole(self, used: set[str]) -> bool:
        """Whether the responses are dialogues that begin with what they answer."""
        values = [v for path in used for v in self.columns[path] if v is not None]
        whole = [is_transcript(v) or (isinstance(v, list) and len(v) > 1 and _is_message(v[0])) for v in values]
        return sum(whole) > len(values) / 2 if self._answers_among(used) else False

    def _varied(self, path: str) -> bool:
        """Whether a field is no label: its values differ, as prompts do."""
        values = [str(v) for v in self.columns[path] if v is not None]
        return len(set(values)) > max(1, len(values) / 20) or len(values) < 5

    def _answers_among(self, used: set[str]) -> bool:
        return any(self.kinds[path] in ("text", "dialogue", "message") for path in used)

    def _one_of_two(self, path: str) -> bool:
        """Whether a path is one side of something that stands twice."""
        return any(
            self._difference(path, other) in ((x, y), (y, x))
            for other in self.columns
            if other != path and len(self.tokens[other]) == len(self.tokens[path])
            for x, y in (*BETTER_WORSE, *SIDES)
        )

    def _matched(self, words: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        """Two paths to responses whose names differ in one of these pairs of words."""
        for pair in words:
            for one, other in combinations(self.answers, 2):
                found = self._difference(one, other)
                if found == pair:
                    yield one, other
                elif found == pair[::-1]:
                    yield other, one

    def _difference(self, one: str, other: str) -> tuple[str, str]:
        """The words in which two paths differ, where that is one place of each; ('', '') elsewhere."""
        a, b = (list(self.tokens[p]) for p in (one, other))
        while a and b and a[0] == b[0]:
            del a[0], b[0]
        while a and b and a[-1] == b[-1]:
            del a[-1], b[-1]
        if not a and len(b) == 1 and b[0] == "non":  # preferred_output, non_preferred_output
            return "preferred", "non_preferred"
        if not b and len(a) == 1 and a[0] == "non":
            return "non_preferred", "preferred"
        return (a[0], b[0]) if len(a) == len(b) == 1 else ("", "")

    def _named(self, words: Sequence[str], *kinds: str) -> list[str]:
        """Paths of these kinds with one of the words in their last key, in the order of the words."""
        rank = {word: i for i, word in enumerate(words)}
        known = {path: [rank[t] for t in _tokens(_last(path)) if t in rank] for path in self.of(*kinds)}
        return sorted((p for p in known if known[p]), key=lambda p: (min(known[p]), len(p), p))

    def _alike(self, one: str, other: str) -> bool:
        """Whether two fields hold the same nearly everywhere."""
        both = list(zip(self.columns[one], self.columns[other], strict=True))
        return sum(a == b for a, b in both) > 0.7 * len(both)

    def _length(self, path: str) -> float:
        values = [len(str(v)) for v in self.columns[path] if v is not None]
        return sum(values) / len(values) if values else 0.0

    def _as_long(self, one: str, other: str) -> bool:
        both = [
            (a, b)
            for a, b in zip(self.columns[one], self.columns[other], strict=True)
            if isinstance(a, list) and isinstance(b, list)
        ]
        return sum(len(a) == len(b) > 1 for a, b in both) > len(both) / 2 if both else False

    def _ascending(self, path: str) -> bool:
        lists = [_floats(v) for v in self.columns[path] if isinstance(v, list)]
        return sum(v == sorted(v) for v in lists) >= 0.95 * len(lists)

    def _side_scores(self, a: str, b: str) -> tuple[str, ...]:
        """Numbers that belong to either side, such as score_A and score_B."""
        sides = self._difference(a, b)
        for one, other in combinations([p for p in self.of("number") if "[" not in p], 2):
            rated = set(self.tokens[one]) & {*RATED, "upvotes", "votes", "likes"}
            if rated and self._difference(one, other) in (sides, sides[::-1]):
                return (one, other) if self._difference(one, other) == sides else (other, one)
        return ()

    def _agreeing(self, values: Sequence[Any], scores: tuple[str, ...]) -> dict[Any, str]:
        """Which side has the higher score where a value stands, for values of which nearly all agree."""
        if not scores:
            return {}
        counts: dict[Any, Counter] = {}
        for value, one, other in zip(values, *(self.columns[s] for s in scores), strict=True):
            one, other = plain(one, True), plain(other, True)
            if value is not None and isinstance(one, int | float) and isinstance(other, int | float) and one != other:
                counts.setdefault(value, Counter())["a" if one > other else "b"] += 1
        tops = {value: c.most_common(1)[0] for value, c in counts.items()}
        return {value: side for value, (side, n) in tops.items() if n > 0.8 * counts[value].total()}

    def _models(self, a: str, b: str) -> tuple[str, str, str] | None:
        """(winner, model of a, model of b) where the winner is called by its model's name."""
        sides = self._difference(a, b)
        for one, other in combinations(self.of("text"), 2):
            if {a, b} & {one, other} or "." in one + other or self._difference(one, other) not in (sides, sides[::-1]):
                continue
            if self._difference(one, other) != sides:
                one, other = other, one
            for winner in self._named(JUDGED, "text"):
                if winner in (one, other, a, b) or "." in winner:
                    continue
                triples = zip(*(self.columns[p] for p in (winner, one, other)), strict=True)
                known = [w in (x, y) and x != y for w, x, y in triples if w is not None and "tie" not in str(w).lower()]
                if known and sum(known) > 0.8 * len(known):
                    return winner, one, other
        return None


# ---- values and names ----------------------------------------------------------------------------------------------
def _paths(record: dict) -> Iterator[str]:
    """Every path of a record that may lead to a field: keys, keys inside objects, of list elements, and over lists."""
    stack: list[tuple[str, Any, int]] = [("", record, 0)]
    while stack:
        path, value, depth = stack.pop()
        if path:
            yield path
        if depth >= DEEPEST:
            continue
        if isinstance(value, dict) and not _is_message(value):
            inner = [(f"{path}.{key}" if path else str(key), v) for key, v in value.items()]
            fine = ((p, v) for p, v in reversed(inner) if depth == 0 or not re.search(r"[.\[\]]", _key(p, path)))
            stack += [(p, v, depth + 1) for p, v in fine if _last(p) != "replies"]  # a tree goes on and on
        elif (
            isinstance(value, list) and value and all(isinstance(v, dict) for v in value) and not _is_message(value[0])
        ):
            stack += [(f"{path}[{i}]", v, depth + 1) for i, v in reversed(list(enumerate(value[:ELEMENTS])))]
            if "[]" not in path:
                stack.append((f"{path}[]", value[0], depth + 1))
        elif isinstance(value, list) and value and path.endswith(("choices", "selected", "labels")):
            yield f"{path}[0]"


def _key(path: str, inside: str) -> str:
    return path[len(inside) + 1 :]


def _last(path: str) -> str:
    return re.sub(r"\[\d*\]$", "", path).rpartition(".")[2]


def _value(record: dict, path: str) -> Any:
    try:
        return value_at(record, path)
    except (TypeError, ValueError):
        return None


def _tokens(path: str) -> tuple[str, ...]:
    """The words of a path, in lower case: `data.humanRef_A1` is data, human, ref, a, 1."""
    path = re.sub(r"\[\d*\]$", "", path)  # a place in a list is a word, but for the last
    return tuple(t.lower() for t in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+|[^\W\d_]+", path))


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and ("role" in value or "from" in value) and ("content" in value or "value" in value)


def _kind(values: Iterable[Any]) -> str:
    """What most of the values are: text, number, bool, message, dialogue, texts, numbers, or ''."""
    counts = Counter(_one_kind(v) for v in values if v is not None and v != "")
    if not counts:
        return ""
    kind, n = counts.most_common(1)[0]
    if kind == "text" and counts["number"] + counts["bool"] and n < 0.9 * counts.total():
        return "number"
    return kind


def _one_kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "number" if re.fullmatch(r"[+-]?\d+(\.\d+)?", value.strip()) else "text"
    if _is_message(value):
        return "message"
    if isinstance(value, list) and value:
        if all(_is_message(v) for v in value):
            return "dialogue"
        if _floats(value) and sum(_number(v) is not None for v in value) * 2 > len(value):
            return "numbers"
        if all(isinstance(v, str) or v is None or _is_message(v) for v in value):
            return "texts"
    return ""


def _number(value: Any) -> float | None:
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None


def _floats(value: Any) -> list[float]:
    found = [_number(v) for v in value] if isinstance(value, list) else []
    return [x for x in found if x is not None]


def _sql(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


__all__ = ["Meaning", "Proposal", "propose"]
