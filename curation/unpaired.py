"""Single responses with a label, paired by equal conversations (shape `unpaired`)."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from curation.adapters import Context, field_names
from curation.codes import Codes
from curation.comparison import Comparison, Found
from curation.conversation import BadRecord, Said, Unfit, blank, check, turns
from curation.paths import value_at


def pair_up(
    records: Iterable[tuple[int, dict]], fields: dict[str, str], codes: Codes, longest: int
) -> Iterator[tuple[int, Found | BadRecord]]:
    """Pair single responses with a label by equal conversations: every good one with every bad one.

    Args:
        records: (row, record); a whole file, of which the conversations that have both kinds stay in memory.
        fields: `messages` (a dialogue that ends with the response) or `prompt` and `response`, and `label`.
        codes: which labels mean a, a good response, and which b, a bad one.
        longest: characters of a pair, at most.

    Yields:
        (row, comparison) for the row of the good response, (row, Unfit) for every row that stands in no pair of its
        own: `paired` for a bad response that stands in a pair of a good one, `no_partner` for one of either kind that
        found none. What is wrong with a row is told at once, before the next is asked for.
    """
    names = field_names("unpaired", fields)
    context = Context(names, fields)
    groups: dict[tuple[Said, ...], dict[bool, list[tuple[int, str]]]] = defaultdict(lambda: {True: [], False: []})
    for row, record in records:
        try:
            conversation, response, good = _labelled(record, names, context, codes)
            if (size := _size(conversation, response)) > longest:
                raise BadRecord("row_too_big", f"{size} characters, max_row_bytes is {longest}")
            groups[conversation][good].append((row, response))
        except (Unfit, BadRecord) as e:
            yield row, e
        except (ValueError, ArithmeticError, RecursionError) as e:
            yield row, BadRecord("wrong_type", f"{type(e).__name__}: {e}")
    for conversation, kinds in groups.items():
        good, bad = kinds[True], kinds[False]
        partners: dict[int, list[int]] = {row: [] for row, _ in bad}
        refused: dict[int, Unfit] = {}
        for row, response in good:
            for other_row, other in bad:
                pair = Comparison(conversation, response, other, "a")
                if (size := _size(conversation, response) + len(other)) > longest:
                    problem = ("row_too_big", f"{size} characters with row {other_row}, max_row_bytes is {longest}")
                else:
                    problem = pair.problem()
                if problem is None:
                    partners[other_row].append(row)
                    yield row, pair
                else:
                    refused[other_row] = Unfit(problem[0], f"with row {row}: {problem[1]}")
                    yield row, Unfit(problem[0], f"with row {other_row}: {problem[1]}")
        for row, _ in bad if good else []:
            with_rows = ", ".join(map(str, partners[row][:5]))
            yield row, Unfit("paired", f"with rows {with_rows}") if with_rows else refused[row]
        for row, _ in [] if good and bad else [*good, *bad]:
            yield row, Unfit("no_partner", "no response of the other kind to this conversation")


def _labelled(
    record: dict, names: dict[str, str], context: Context, codes: Codes
) -> tuple[tuple[Said, ...], str, bool]:
    """The conversation of a single response, the response, and whether it is good.

    Raises:
        Unfit: it cannot be half of a pair.
        BadRecord: it cannot be read.
    """
    context.nothing_beside(record)
    label = codes(value_at(record, names["label"]))
    if label not in ("a", "b"):
        raise Unfit(label or "no_label")
    given = value_at(record, names["messages" if "messages" in names else "response"])
    if "messages" in names:
        said = turns(given)
        if not said or said[-1][0] != "assistant":
            raise Unfit("null_response", "the dialogue does not end with an answer")
    [answer] = context.answers(record, [given])
    if isinstance(answer, Unfit | BadRecord):
        raise answer
    conversation, response = answer
    if response is None:
        raise Unfit("null_response", "response is missing")
    check(conversation)  # here, once a row: below it would be said of every pair
    if blank(response):
        raise Unfit("empty_response", "response is empty")
    for said in (response, *(content for _, content in conversation)):
        if said and not said.isascii():
            _encoded(said)
    return conversation, response, label == "a"


def _encoded(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadRecord("not_utf8", "half of a surrogate pair, which is no character") from None


def _size(conversation: tuple[Said, ...], response: str) -> int:
    return len(response) + sum(len(content or "") for _, content in conversation)
