"""The rule that decides stage 2, as a small file that gives the same classes again from stored scores and verdicts
(spec 4, partition; 4.13). The rule itself is SQL: macros in sql/macros.sql, sql/stage2/decisions.sql and
sql/stage2/decisions_calibrated.sql."""

import hashlib
import json
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sql import statement

if TYPE_CHECKING:
    import duckdb

RULE_VERSION = "2"
NO_CALIBRATION = "a calibrated rule needs its calibration"
NO_GUARDS = "a guarded rule needs its guards"
Stratum = Literal["agree", "reject", "split"]
STRATA: tuple[Stratum, ...] = get_args(Stratum)  # as the macro stratum_of names them

Policy = Literal["symmetric", "flip_all", "direct_retain", "best_only", "gold_only", "both", "no_human"]
Probability = Annotated[float, Field(ge=0, le=1)]


class RuleError(ValueError):
    """The file is no rule, or it cannot be applied to these scores."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Thresholds(_Part):
    """Least probabilities at which a stratum's pairs are kept or flipped; null where no bound held."""

    keep: Probability | None = None
    flip: Probability | None = None


class Calibration(_Part):
    """P(the original order is right) = sigmoid(intercept + best * m_best + gold * m_gold + judges * s), where m is a
    model's reward of the chosen response less that of the rejected one, and s the judges for the original order less
    those against it, 0 where nobody is asked; fitted on human-labelled pairs, thresholds tested on others."""

    best_model: str
    gold_model: str
    intercept: float
    best: float
    gold: float
    judges: float = 0.0
    fitted_on: int
    tested_on: int
    alpha: Probability
    alpha_flip: Probability | None = None  # None: as alpha
    delta: Probability
    thresholds: dict[Stratum, Thresholds]


class SeenFlips(_Part):
    """What people saw of a random draw of the would-be flips."""

    right: int  # k: the label was wrong, so the flip is right
    looked: int
    undecided: int  # they could not tell, which counts against flipping
    flips: int  # would-be flips in all
    level: Probability
    bound: Probability  # exact lower bound of the share right among all


class Guards(_Part):
    """What a guarded rule may do, and what that rests on. What may not be kept, or flipped, is dropped for the reason
    that stands here; '' where it may."""

    no_keep: str = ""
    no_flip: str = ""
    why: str = ""  # for people
    gold: int = 0  # people's pairs that the model below was measured on and had not learned from
    model: Probability | None = None  # share of them on which the model that decides agrees with people
    model_bound: Probability | None = None  # its exact lower bound
    break_even: Probability | None = None  # below it, what is kept teaches less than the labels as they came
    labels: Probability | None = None  # share of original labels that people confirm
    best: Probability | None = None  # accuracy of the best reward model on the same people's verdicts
    labels_beside_best: Probability | None = None  # share of original labels that these verdicts confirm
    veto: bool = True  # whether the best reward model is heard; if not, the policy is gold_only
    looked: SeenFlips | None = None


class Rule(_Part):
    """Everything that decides a class. Equal rules have equal files, byte for byte."""

    version: Literal["2"] = RULE_VERSION
    decision: Literal["paper", "guarded", "calibrated"] = "paper"
    policy: Policy = "symmetric"
    threshold: Annotated[float, Field(ge=0.5, le=1)] = 0.5
    band: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    calibration: Calibration | None = None
    guards: Guards | None = None

    def dumps(self) -> str:
        """The file's text."""
        without = {"guards"} if self.guards is None else None
        return json.dumps(self.model_dump(mode="json", exclude=without), indent=1, sort_keys=True) + "\n"

    @property
    def id(self) -> str:
        """Names the rule on every row it decided; the end is a hash of the file.

        >>> Rule().id
        'v2 symmetric threshold=0.5 band=0.0 #e19ee838'
        """
        digest = hashlib.blake2b(self.dumps().encode(), digest_size=4).hexdigest()
        if self.decision == "calibrated" and self.calibration:
            name = f"calibrated alpha={self.calibration.alpha} delta={self.calibration.delta}"
        else:
            guarded = "guarded " if self.decision == "guarded" else ""
            name = f"{guarded}{self.policy} threshold={self.threshold} band={self.band}"
        return f"v{self.version} {name} #{digest}"

    @property
    def asks(self) -> str:
        """The policy that says whom the judges are asked about; 'nobody' where nothing may be decided."""
        return "nobody" if self.guards and self.guards.no_keep and self.guards.no_flip else self.policy

    @property
    def proposes(self) -> "Rule":
        """The same votes without guards: what would be decided, before people look at would-be flips."""
        return self.model_copy(update={"decision": "paper", "guards": None, "calibration": None})


def loads(text: str) -> Rule:
    """Read a rule file.

    Raises:
        RuleError: no JSON, an unknown key, a value out of range, or a calibrated rule without its calibration.
    """
    try:
        rule = Rule.model_validate_json(text)
    except ValidationError as e:
        first = e.errors()[0]
        where = ".".join(map(str, first["loc"])) or "file"
        raise RuleError(f"not a rule of version {RULE_VERSION}: {where}: {first['msg']}") from None
    if rule.decision == "calibrated" and rule.calibration is None:
        raise RuleError(NO_CALIBRATION)
    if rule.decision == "guarded" and rule.guards is None:
        raise RuleError(NO_GUARDS)
    return rule


def decide(
    con: "duckdb.DuckDBPyConnection", rule: Rule, scores: "duckdb.DuckDBPyRelation", verdicts: "duckdb.DuckDBPyRelation"
) -> "duckdb.DuckDBPyRelation":
    """Classes from stored scores and verdicts; nobody is asked and no model runs.

    Args:
        con: the connection of both relations.
        scores: columns of the table `scores`.
        verdicts: (pair_id, verdict, votes), for at least the pairs the rule asks about; others are not heard.

    Returns:
        rows of the table `decisions`, without its bucket.

    Raises:
        RuleError: a calibrated rule meets scores of other models than it was fitted on.
    """
    con.execute(statement("macros"))
    scores.create_view("scores_to_decide")
    verdicts.create_view("verdicts_to_decide")
    c = rule.calibration
    values: dict[str, Any] = {"threshold": rule.threshold, "band": rule.band, "rule": rule.id}
    values |= {name: getattr(c, name, None) for name in ("intercept", "best", "gold", "judges")}
    if c is not None:
        models = {"best_model": c.best_model, "gold_model": c.gold_model}
        if strangers := con.execute(statement("stage2/strangers"), parameters=models).fetchall():
            raise RuleError(
                f"calibrated on the models {c.best_model} and {c.gold_model}, but there are scores of"
                f" {' and '.join(strangers[0])}"
            )
    if c is None or rule.decision != "calibrated":
        guards = rule.guards if rule.decision == "guarded" and rule.guards else Guards()
        values |= {"policy": rule.policy, "no_keep": guards.no_keep, "no_flip": guards.no_flip}
        return con.sql(statement("stage2/decisions"), params=values)
    thresholds = [c.thresholds.get(s, Thresholds()) for s in STRATA]
    values |= {
        "policy": rule.policy,
        "strata": list(STRATA),
        "keep": [t.keep for t in thresholds],
        "flip": [t.flip for t in thresholds],
    }
    return con.sql(statement("stage2/decisions_calibrated"), params=values)
