"""What calls one by one and calls by batch have in common: how failures are met, who pays, how a request ends, and when
a model is not worth asking on."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import BaseModel

from resources.llm.prices import Rates
from resources.stops import Stop

if TYPE_CHECKING:
    from resources.settings import Called

# How a request can end without any answer. It is asked again by the next run.
MISSING = ("error", "lost", "expired", "cancelled", "returned")
MOST_MISSING = 0.05  # share of a model's planned answers above which nothing is published


class Unavailable(Stop):
    """A provider refuses this key, this model or any further spending, or answers nobody. What was answered is stored."""


class Unusable(Stop):
    """What a model answers cannot be used, or costs far more than was expected. What was answered is stored."""


class Incomplete(Stop):
    """Too many answers are missing for anything to be made of the others. What was answered is stored."""


@dataclass(frozen=True)
class Policy:
    """How failures are met.

    Attributes:
        attempts: calls of one run for one request, the first included, while the server answers others.
        repairs: further calls, over all runs, after an answer that is truncated, unparsable or invalid.
        longest_wait: seconds; a longer Retry-After is cut to it, so that no header can stop a run for weeks.
        first_wait: seconds before the first retry; doubled each time, up to `longest_look`, with jitter.
        longest_look: seconds between two looks at a server that answers nobody.
        patience: seconds for which a server that answers nobody is waited for; then the run stops, since it is better
            to stop than to go on without its votes.
        refusals: requests in a row refused in the same words after which the run stops; None never.
        first: endings of one run from which a model is judged by them.
        useless: share of them, refused, unreadable or missing, above which the run stops.
        dear: times the expected cost of an answer above which the run stops.
        drain: seconds for which calls on their way are waited for once somebody ends the run.
        accept_missing: go on without what does not come, however much it is.
    """

    attempts: int = 6
    repairs: int = 1
    longest_wait: float = 120.0
    first_wait: float = 0.5
    longest_look: float = 30.0
    patience: float = 600.0
    refusals: int | None = 5
    first: int = 20
    useless: float = 0.5
    dear: float = 5.0
    drain: float = 60.0
    accept_missing: bool = False

    @property
    def looks(self) -> int:
        """At a server that answers nobody, after which the run stops even before `patience` is over: as many as it has
        time for where each waits as long as it may."""
        return 6 + math.ceil(self.patience / self.longest_look)

    @classmethod
    def of(cls, called: "Called") -> "Policy":
        """As a model's configuration has it."""
        return cls(
            longest_wait=called.longest_wait,
            patience=called.patience,
            refusals=None if called.accept_missing else cls.refusals,
            useless=called.useless,
            accept_missing=called.accept_missing,
        )

    def ends(self, status: str, answers: int) -> bool:
        """Whether an answer with this status, the how-many-th, is the last word."""
        return status in ("ok", "refused") or answers > self.repairs


@dataclass(frozen=True)
class Outcome:
    """How a request ended: `answer` is set when status is ok; `cost_micros` is what all its answers cost."""

    status: str
    answer: BaseModel | None
    cost_micros: int
    error: str = ""


@dataclass(frozen=True)
class Payer:
    """On whose account calls are written."""

    stage: str
    judge: str
    model: str
    price: Rates
    budget_micros: int


def hopeless(ends: Mapping[str, int], policy: Policy) -> str | None:
    """Why a model whose requests ended so (status -> how many) is not asked on, or None."""
    if policy.accept_missing:
        ends = {status: n for status, n in ends.items() if status not in MISSING}
    total, good = sum(ends.values()), ends.get("ok", 0)
    if total < policy.first:
        return None
    listed = ", ".join(f"{n:,} {status}" for status, n in sorted(ends.items(), key=lambda e: -e[1]) if status != "ok")
    if not good:
        return f"none of {total:,} answers can be used ({listed})"
    if (total - good) / total > policy.useless and not policy.accept_missing:
        return f"{total - good:,} of {total:,} answers cannot be used ({listed}), above useless = {policy.useless:g}"
    return None


def incomplete(ends: Mapping[str, int], who: str, words: str = "") -> str | None:
    """Why nothing is to be made of a model's answers that ended so, or None where few enough are missing."""
    total, missing = sum(ends.values()), sum(ends.get(s, 0) for s in MISSING)
    if missing <= MOST_MISSING * total:
        return None
    listed = ", ".join(f"{ends[s]:,} {s}" for s in MISSING if ends.get(s))
    return (
        f"{who}: {missing:,} of {total:,} answers are missing ({listed}), more than {MOST_MISSING:.0%}"
        + (f"; the server's words: {words}" if words else "")
        + ". What was answered is stored; run again, or set accept_missing = true for this model to go on without them."
    )
