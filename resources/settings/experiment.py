"""Experiments: training sets with a name, one recipe, the same measures for all of them (spec 8)."""

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from evaluation.presets import PRESETS, Preset, expanded, parsed
from resources.settings.base import Count, Name, Part, Share
from resources.settings.training import Arms, Backbone, Recipe

VIEWS = (  # of the pairs of the batches up to an iteration; the first three also after stage 2
    "original", "filtered", "corrected", "seed_and_original", "seed_and_unguided", "seed_and_people", "unguided",
    "unguided_corrected",
)  # fmt: skip
GRAMMAR = (
    f"one of {', '.join(Arms.__args__)}; one of {', '.join(VIEWS)} with @iter_NN (the first three also @stage2), such as"
    " filtered@iter_01; source:NAME; or form:NAME and form_before:NAME, a form of people.arms, or whole for the whole form"
)


class TrialArm(Part):
    """One training set, by construction: a named set, then what narrows it, in the order of these keys."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.@-]*$")]
    data: str = "original"
    where: str = (
        ""  # SQL over the table clean_pool and the columns category, objectivity, controversiality, p_best, p_gold
    )
    like: str = ""  # name of another arm: as many pairs, matched in source, topic, length, margin's size (spec 8.09)
    as_many_as: str = ""  # name of another arm: a random part of that size, where this one is larger
    size: Count | None = None  # a random part of so many pairs
    share: Annotated[Share, Field(gt=0)] | None = None  # a random part; a smaller share lies in a larger one
    recipe: Recipe | None = None  # of this arm alone; only with different_recipes
    backbone: Backbone | None = None  # that this arm's models start from, and are trained whole; likewise

    @property
    def base(self) -> tuple[str, str]:
        """(what, of what): ('arm', 'filtered'), ('filtered', 'iter_01'), ('source', 'forum').

        Raises:
            ValueError: there is no such set.
        """
        view, at, point = self.data.partition("@")
        if at and view in VIEWS and re.fullmatch(r"iter_\d\d|stage2", point):
            if point == "stage2" and view not in VIEWS[:3]:
                raise ValueError(f"{self.data}: there is no {view} after stage 1")
            return view, point
        if self.data.startswith("source:"):
            return "source", self.data.removeprefix("source:")
        for kind in ("form", "form_before"):
            if self.data.startswith(f"{kind}:"):
                return kind, self.data.removeprefix(f"{kind}:")
        if self.data in Arms.__args__:
            return "arm", self.data
        raise ValueError(f"no such data: {self.data!r}; it is {GRAMMAR}")

    @property
    def narrowed(self) -> bool:
        """Whether its size is set by something beside its data and its condition."""
        return bool(self.like or self.as_many_as or self.size or self.share)

    @model_validator(mode="after")
    def _one_size(self):
        if sum(map(bool, (self.like, self.as_many_as, self.size, self.share))) > 1:
            raise ValueError(f"arm {self.name}: give one of like, as_many_as, size and share")
        return self

    @property
    def built(self) -> str:
        """How it is made, in words that hold nothing but the configuration's."""
        parts = [self.data]
        parts += [f"where {self.where}"] * bool(self.where)
        parts += [f"matched to {self.like}"] * bool(self.like)
        parts += [f"at most as many as {self.as_many_as}"] * bool(self.as_many_as)
        parts += [f"{self.size:,} of them"] if self.size else []
        parts += [f"{100 * self.share:g} % of them"] if self.share else []
        return ", ".join(parts)


class Experiment(Part):
    """`preset` brings arms and comparisons; what is named here is added to them."""

    name: Annotated[Name, Field(pattern=r"^[^.]*$")]
    preset: Preset | Literal[""] = ""
    question: str = ""
    arms: list[TrialArm] = []
    # "a - b", or "a - b by size": what the arms may differ in beside their labels (size, sources); "rise: a, b, c": the
    # slope of the score from the first to the last
    compare: list[str] = []
    seeds: Annotated[int, Field(ge=1, le=99)] = 3  # trainings of each arm; 3 for a claim
    # what differs between the trainings of an arm: the training's own luck; or data, where each draws the pairs anew
    # (a bootstrap by weights, the same draw for all arms); None: data for heads on frozen layers, which have no luck
    vary: Literal["training", "data"] | None = None
    evaluate: list[str] = []  # benchmarks, gold_test, held_out; left out: all benchmarks, else what people hold
    recipe: Recipe | None = None  # of all arms; None: training.final
    different_recipes: bool = False
    # arms whose scores must lie within 0.6 points of each other, or no difference is told as a finding
    alike_first: list[str] = []

    @model_validator(mode="after")
    def _consistent(self):
        if self.name in PRESETS and not self.preset and not self.arms:
            raise ValueError(f"experiment {self.name}: no arms; to use the ready-made one say preset = '{self.name}'")
        if not self.preset and len(self.arms) < 1:
            raise ValueError(f"experiment {self.name}: no arms")
        for arm in self.arms:
            _ = arm.base
            own = "recipe" if arm.recipe is not None else "backbone" if arm.backbone is not None else ""
            if own and not self.different_recipes:
                raise ValueError(
                    f"experiment {self.name}: arm {arm.name} has a {own} of its own, and then a difference is not one of the"
                    " data (spec 6.09); if that is what you ask, say different_recipes = true"
                )
        return self

    def whole(self, iterations: int, sources: tuple[str, ...], forms: tuple[str, ...] = ()) -> "Experiment":
        """With the arms and comparisons that its preset has for such a lake.

        Raises:
            ValueError: an arm or a comparison refers to what is not there.
        """
        made = expanded(self.preset, iterations, sources, forms) if self.preset else None
        arms = [*(TrialArm.model_validate(a) for a in (made.arms if made else [])), *self.arms]
        compare = [*(made.compare if made else []), *self.compare]
        names = [a.name for a in arms]
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise ValueError(
                f"experiment {self.name}: arms' names must differ, also from the preset's: {', '.join(twice)}"
            )
        if twice := sorted({c for c in compare if compare.count(c) > 1}):
            raise ValueError(f"experiment {self.name}: compared twice: {', '.join(twice)}")
        for arm in arms:
            kind, of = arm.base
            if kind == "source" and of not in sources:
                raise ValueError(
                    f"experiment {self.name}, arm {arm.name}: no source {of!r}; there are {', '.join(sources)}"
                )
            if kind in ("form", "form_before") and of not in forms:
                raise ValueError(
                    f"experiment {self.name}, arm {arm.name}: no form {of!r}; there are {', '.join(forms)}"
                )
            if of.startswith("iter_") and int(of.removeprefix("iter_")) > iterations:
                raise ValueError(f"experiment {self.name}, arm {arm.name}: there are iterations 0 to {iterations}")
            for other in filter(None, (arm.like, arm.as_many_as)):
                if other not in names or other == arm.name:
                    raise ValueError(f"experiment {self.name}, arm {arm.name}: no other arm {other!r}")
                if next(a for a in arms if a.name == other).narrowed:
                    raise ValueError(
                        f"experiment {self.name}, arm {arm.name}: {other} has a size of its own (size, share, like or"
                        " as_many_as), and only one that has none can be a measure"
                    )
        for text in compare:
            try:
                parsed(text, names)
            except ValueError as e:
                raise ValueError(f"experiment {self.name}: compare: {e}") from e
        question = self.question or (made.question if made else "")
        unlike = self.different_recipes or (made is not None and made.different_recipes)
        alike = [*(made.alike_first if made else []), *self.alike_first]
        if unknown := sorted(set(alike) - set(names)):
            raise ValueError(f"experiment {self.name}: alike_first: no arm {', '.join(unknown)}")
        made_whole = {
            "arms": arms, "compare": compare, "question": question, "different_recipes": unlike, "alike_first": alike,
        }  # fmt: skip
        return self.model_copy(update=made_whole)
