"""How several people's answers to one pair become one label, and when somebody else must be asked."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

Disagreement = Literal["third", "adjudicate", "leave"]
ANNOTATOR, ADJUDICATOR, PASSED = "annotator", "adjudicator", "passed"


class Opinion(NamedTuple):
    """One person's last word on a pair.

    Attributes:
        verdict: first, second or undecided.
        why: of undecided: tie, missing or not_mine.
        final: it is an adjudicator's on a pair that others disagree on.
    """

    verdict: str
    why: str = ""
    final: bool = False


class Standing(NamedTuple):
    """Where a pair stands.

    Attributes:
        needed: answers still to come.
        by: annotator or adjudicator, who must give them.
        disagreed: the answers so far have no majority.
        passed: places in the order of the opinions whose answer leaves the pair to somebody else.
    """

    needed: int
    by: str
    disagreed: bool
    passed: tuple[int, ...] = ()


def standing(opinions: Sequence[Opinion], wanted: int, rule: Disagreement, most: int, passes: int = 0) -> Standing:
    """What a pair still needs.

    A majority is more than half of all that was said, `undecided` included, as gold counts. Without one, `third` asks one
    more person until `most` have answered, `adjudicate` asks an adjudicator, whose word is final, and `leave` asks nobody.

    Args:
        opinions: of different people, in the order in which they came.
        wanted: answers of a pair that nobody disagrees on.
        rule: what a disagreement leads to.
        most: answers at most.
        passes: how many who cannot read or check a pair are not counted, so that somebody else is asked.
    """
    passed = [i for i, o in enumerate(opinions) if o.why == "not_mine" and not o.final][:passes]
    said = [o for i, o in enumerate(opinions) if i not in passed]
    if any(o.final for o in said):
        return Standing(0, ANNOTATOR, False, tuple(passed))
    if len(said) < wanted:
        return Standing(wanted - len(said), ANNOTATOR, False, tuple(passed))
    top = max(Counter(o.verdict for o in said).values())
    disagreed = top * 2 <= len(said)
    if disagreed and rule == "adjudicate":
        return Standing(1, ADJUDICATOR, True, tuple(passed))
    asked = int(disagreed and rule == "third" and len(said) < most)
    return Standing(asked, ANNOTATOR, disagreed, tuple(passed))
