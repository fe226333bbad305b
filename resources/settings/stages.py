"""The stages of curation."""

import math
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from resources.settings.base import Count, Part, Share

Weight = Annotated[float, Field(ge=0)]


class Weights(Part):
    """What a pair counts in the training of final models: the product of what applies to it. In a release it is `weight`."""

    people: Weight = 1.0  # who verified it
    judges: Weight = 1.0
    models: Weight = 1.0
    flipped: Weight = 1.0
    risky: Weight = 1.0  # subjective, or more than low controversiality
    # source -> reward that chosen must be ahead by, for each point by which it is ahead in the source's scores
    margins: dict[str, Annotated[float, Field(ge=0)]] = {}


class LakeSettings(Part):
    path: Path = Path("lake")
    # a prefix in a store of objects where the tables are; without, they are files in `path`. Credentials: the environment
    tables: Annotated[str, Field(pattern=r"^s3://[a-z0-9][a-z0-9.-]+[a-z0-9](/[A-Za-z0-9._=-]+)+$")] | None = None
    buckets: Annotated[int, Field(ge=1, le=64)] = 2  # more than 64 makes the UI slow
    memory_limit: Annotated[str, Field(pattern=r"^\d+(MB|GB)$")] = "2GB"
    threads: Count = 2


class World(Part):
    """The generated pool with planted truth (spec 14); its rows, people and judges are marked as simulated."""

    pairs: Annotated[int, Field(ge=200)] = 3000
    stage1_share: Annotated[float, Field(gt=0, lt=1)] = 0.25  # of the pairs, in the sources that feed stage 1
    # multiplies the share of wrong original labels, which differs by topic; 0: the original annotators never err
    noise: Annotated[float, Field(ge=0, le=2)] = 1.0


class Embedding(Part):
    """`hashing` needs no model: hashed word n-grams, deterministic. `encoder` is a transformers folder or package."""

    backend: Literal["hashing", "encoder"] = "hashing"
    model: str = ""
    dimensions: Annotated[int, Field(ge=16, le=8192)] = 256


class Decontamination(Part):
    n: Annotated[int, Field(ge=5, le=50)] = 13
    scope: Literal["user", "all"] = "user"


class Gold(Part):
    """Shares of people's conversation clusters by role (sql/macros.sql); the rest trains the gold model."""

    few_shot: Share = 0.35  # examples for judges; the gold model learns from them too
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.15  # chooses checkpoints
    calibration: Share = 0.15  # fits the probability that a label is right
    test: Share = 0.10  # read by nothing but the final measure

    @model_validator(mode="after")
    def _leaves_some(self):
        if (total := self.few_shot + self.validation + self.calibration + self.test) > 1:
            raise ValueError(f"the shares sum to {total:g}, more than 1")
        if self.test + self.calibration >= 1 or (self.few_shot == 0 and total >= 1):
            raise ValueError("nothing is left to train the gold model on")
        return self


class Personal(Part):
    """The scan for personal data (spec 0.12): patterns, phone numbers, and names with a spaCy model; no network."""

    backend: Literal["none", "presidio"] = "none"
    model: str = ""  # installed spaCy package that finds names; without it no names are looked for
    regions: list[str] = ["US", "GB", "DE", "FR", "IN", "CN", "BR"]  # whose phone numbers without a country code
    least_score: Share = 0.4  # of the recogniser; a phone number without context has 0.4
    redact_from: Annotated[int, Field(ge=0, le=3)] = 1  # sensitivity from which the copies are redacted


def labels_needed(alpha: float, delta: float) -> int:
    """Labels without an error that show, with probability 1 - delta, that at most a share alpha is wrong.

    >>> labels_needed(0.1, 0.1)
    22
    """
    return math.ceil(math.log(delta) / math.log(1 - alpha))


class StopWhen(Part):
    """The loop stops when `iterations` in a row each gained less than `gain_below` on the same gold."""

    gain_below: Annotated[float, Field(gt=0)]  # of accuracy, 0.005 for half a point
    iterations: Count = 2


class Stage1(Part):
    iterations: Annotated[int, Field(ge=1, le=99)] = 2  # rounds after the seed round; more of them reopen none
    stop_when: StopWhen | None = None  # later iterations label nothing more
    seed_people: Count = 200
    seed_judges: Annotated[int, Field(ge=0)] = 300
    batch: Count = 300  # pairs an iteration
    people_share: Share = 0.3  # of a batch; the rest goes to the judges
    random_share: Share = 0.1  # of a batch drawn at random and labelled by people, so that estimates stay unbiased
    policy: Literal["paper", "d_optimal", "random"] = "paper"  # what chooses the rest (curation/selection.py)
    d_optimal_candidates: Count = 10_000  # d_optimal looks at this many, drawn at random
    k_max: Annotated[int, Field(ge=1, le=64)] = 8
    only_errors: bool = False  # only gold pairs the model has wrong may retrieve

    @model_validator(mode="after")
    def _people_get_what_is_random(self):
        if self.policy != "random" and self.random_share > self.people_share:
            raise ValueError(
                f"random_share is {self.random_share:g} but people, who label it, get {self.people_share:g} of a batch"
            )
        return self


class Stage2(Part):
    # guarded: models and judges vote by `policy`, and nothing is kept or flipped that people's labels do not bear out;
    # paper: the same votes and no more; calibrated: keep and flip only where the error is bounded
    decision: Literal["guarded", "paper", "calibrated"] = "guarded"
    policy: Literal["symmetric", "flip_all", "direct_retain", "best_only", "gold_only", "both", "no_human"] = (
        "symmetric"
    )
    threshold: Annotated[float, Field(ge=0.5, le=1)] = 0.5  # p above which the best model agrees with a label
    band: Annotated[float, Field(ge=0, le=0.5)] = 0.0  # added to it; between the two sides it cannot tell
    # guarded: audited flips where people confirm more than half of a random draw of would-be flips; always and never do
    # so unseen; calibrated decisions flip what passed their own test, unless never
    flip: Literal["audited", "always", "never"] = "audited"
    flip_audit: Annotated[int, Field(ge=0)] = 40  # would-be flips that people look at
    # parts of gold on which the gold model's length is chosen and its accuracy measured, before it learns from all of
    # gold; 0: the validation share does both, and teaches nothing
    folds: Annotated[int, Field(ge=0, le=20)] = 3
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.1  # calibrated: share of wrong labels that may be kept
    alpha_flip: Annotated[float, Field(gt=0, lt=0.5)] = 0.4  # and of wrong ones among flips
    delta: Annotated[float, Field(gt=0, lt=1)] = 0.1  # calibrated: chance, a stratum and side, that the bound is missed
    # pairs that stage 2 decides about, drawn at random for people, alike from those on which both models agree, both
    # reject, and neither: half fits probabilities, half tests thresholds
    audit: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _folds(self):
        if self.folds == 1:
            raise ValueError("folds = 1 leaves nothing to learn from: 0, or 2 and more")
        return self

    @model_validator(mode="after")
    def _has_labels_to_test_on(self):
        least = 2 * labels_needed(self.alpha, self.delta)
        if self.decision == "calibrated" and self.audit < least:
            raise ValueError(
                f"decision = 'calibrated' is tested on labels by people: audit must be at least {least} for alpha ="
                f" {self.alpha:g} and delta = {self.delta:g} (half of them tests, and each of three strata needs"
                f" {least // 2} without an error), found {self.audit}"
            )
        return self
