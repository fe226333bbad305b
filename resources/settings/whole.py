"""The whole configuration."""

import hashlib
import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ModelWrapValidatorHandler, PrivateAttr, model_validator

from resources.settings.base import Name, Part, Undeclared
from resources.settings.cluster import Cluster
from resources.settings.evaluation import Benchmark, Evaluation, Reference
from resources.settings.experiment import Experiment
from resources.settings.left_out import filled
from resources.settings.looks import SecondLooks
from resources.settings.models import HOW_CALLED, AttributeSettings, Panel
from resources.settings.people import PeopleSettings
from resources.settings.release import Release
from resources.settings.sources import Source
from resources.settings.stages import (
    Decontamination,
    Embedding,
    Gold,
    LakeSettings,
    Personal,
    Stage1,
    Stage2,
    Weights,
    World,
)
from resources.settings.training import BESIDE_THE_POINT, Training

BY_PEOPLE = ("gold_test", "held_out")  # measures that need no benchmark
ASKING = ("symmetric", "flip_all", "direct_retain", "no_human")  # policies of stage 2 that the judges are part of


class Budget(Part):
    dollars: Annotated[float, Field(ge=0)] = 0.0  # hard stop for paid calls: no call that could overstep it is made
    # dollars of paid calls in all, as expected, above which somebody must agree before a step; None never asks
    confirm_above: Annotated[float, Field(ge=0)] | None = None


OPEN = frozenset({"name", "base", "lake", "budget", "cluster"})  # where tables lie, who works, what is spent: no result
SECTIONS: frozenset[str] = frozenset()  # set once the class is there


class Settings(Part):
    name: Name = "assay"
    base: Path = Path(".")  # the configuration's folder; set by `load`
    seed: int = 0
    lake: LakeSettings = LakeSettings()
    world: World | None = None
    sources: Annotated[list[Source], Field(min_length=1)]
    decontamination: Decontamination = Decontamination()
    personal: Personal = Personal()
    second_looks: SecondLooks = SecondLooks()
    attributes: AttributeSettings = AttributeSettings()
    embedding: Embedding = Embedding()
    people: PeopleSettings = PeopleSettings()
    judges: Panel = Panel()
    gold: Gold = Gold()
    stage1: Stage1 = Stage1()
    stage2: Stage2 = Stage2()
    training: Training = Training()
    weights: Weights = Weights()
    release: Release = Release()
    benchmarks: list[Benchmark] = []
    evaluation: Evaluation = Evaluation()
    reference: Reference = Reference()
    experiments: list[Experiment] = []
    budget: Budget = Budget()
    cluster: Cluster = Cluster()
    _shown: frozenset[str] | None = PrivateAttr(None)
    _reader: str = PrivateAttr("")

    def only(self, sections: Iterable[str], reader: str) -> "Settings":
        """The same configuration with these sections, and those that decide no result, and no other.

        Raises:
            Undeclared: later, by whoever reads another section.
        """
        limited = self.model_copy()
        limited._shown, limited._reader = frozenset(sections) | OPEN, reader
        return limited

    def __getattribute__(self, name: str) -> Any:
        if name in SECTIONS and (private := object.__getattribute__(self, "__pydantic_private__")):
            shown = private.get("_shown")
            if shown is not None and name not in shown:
                raise Undeclared(f"{private['_reader']} reads [{name}] of the configuration, which it does not declare")
        return super().__getattribute__(name)

    _said: tuple[str, ...] = PrivateAttr(())

    @model_validator(mode="wrap")
    @classmethod
    def _left_out(cls, raw: Any, handler: ModelWrapValidatorHandler["Settings"]) -> "Settings":
        full, said = filled(raw) if isinstance(raw, dict) else (raw, [])
        made = handler(full)
        made._said = tuple(said) or made._said
        return made

    @property
    def said(self) -> tuple[str, ...]:
        """What was chosen for what the configuration leaves out, a sentence each; it is said before a run."""
        return self._said

    @model_validator(mode="after")
    def _consistent(self):
        names = [s.name for s in self.sources]
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise ValueError(f"source names must differ: {twice}")
        names = [b.name for b in self.benchmarks]
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise ValueError(f"benchmark names must differ: {twice}")
        named = {source for judge in self.judges.judges for source in judge.labelled}
        if unknown := sorted(named - {s.name for s in self.sources}):
            raise ValueError(f"judges.panel: labelled names {', '.join(unknown)}, which is no source")
        if unknown := sorted(self.weights.margins.keys() - {s.name for s in self.sources}):
            raise ValueError(f"weights.margins names {', '.join(unknown)}, which is no source")
        if not self.judges.judges:
            if self.stage1.seed_judges or self.stage1.people_share < 1:
                raise ValueError(
                    "stage1: no judge is configured ([[judges.panel]]), so people label everything: leave out seed_judges"
                    " and people_share, or add judges"
                )
            if self.stage2.policy in ASKING:
                raise ValueError(
                    f"stage2.policy '{self.stage2.policy}' asks judges, and none is configured ([[judges.panel]]); policies"
                    " that ask nobody are both, gold_only and best_only"
                )
        if (checker := self.people.checked_by) is not None:
            fit = [j.name for j in self.judges.judges if j.backend != "recorded"]
            if checker not in fit:
                raise ValueError(
                    f"people.checked_by: {checker!r} is no judge that can be asked; there are: {', '.join(fit) or 'none'}"
                )
        if (looker := self.second_looks.judge) is not None:
            fit = [j.name for j in self.judges.judges if j.backend != "recorded"]
            if looker not in fit:
                raise ValueError(
                    f"second_looks.judge: {looker!r} is no judge that can be asked; there are: {', '.join(fit) or 'none'}"
                )
        self._consistent_experiments()
        if self.world is None:
            if oracle := [arm for arm in self.training.arms if arm.startswith("oracle")]:
                raise ValueError(f"training.arms: {oracle[0]} learns planted labels, and there is no [world]")
            users = ["people"] * (self.people.backend == "simulated") + [
                f"judges.{j.name}" for j in self.judges.judges if j.backend == "simulated"
            ]
            users += ["attributes"] * any(m.backend == "simulated" for m in self.attributes.models)
            if users:
                raise ValueError(
                    f"{', '.join(users)}: backend 'simulated' needs a [world] with planted truth; for"
                    " your own data leave out attributes.backend and people.backend (rules, and people in files), and give"
                    " judges the backend openai or anthropic, or none at all"
                )
        return self

    def _consistent_experiments(self) -> None:
        names = [e.name for e in self.experiments]
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise ValueError(f"experiment names must differ: {twice}")
        measures = [*(b.name for b in self.benchmarks), *BY_PEOPLE]
        for name in names:
            one = self.experiment(name)
            if unknown := sorted(set(one.evaluate) - set(measures)):
                raise ValueError(
                    f"experiment {name}: evaluate names {', '.join(unknown)}; there are {', '.join(measures)}"
                )
            kinds = {arm.base for arm in one.arms}
            if self.world is None and any(of.startswith("oracle") for kind, of in kinds if kind == "arm"):
                raise ValueError(f"experiment {name}: oracle learns planted labels, and there is no [world]")
            if not self.judges.judges and any("unguided" in kind for kind, _ in kinds):
                raise ValueError(
                    f"experiment {name}: unguided labels are judges', and none is configured ([[judges.panel]])"
                )

    @property
    def asks_unguided(self) -> bool:
        """Whether an experiment asks for labels of judges who see no gold example."""
        names = self.partition_keys("experiment")
        return any("unguided" in arm.base[0] for name in names for arm in self.experiment(name).arms)

    def experiment(self, name: str) -> Experiment:
        """One of [[experiments]], with what its preset brings."""
        [one] = [e for e in self._section("experiments") if e.name == name]
        sources = tuple(s.name for s in self._section("sources"))
        return one.whole(self._section("stage1").iterations, sources, self._section("people").forms)

    def section_hash(self, *sections: str) -> str:
        """16 hex digits over the named top-level sections; equal settings give equal hashes on every machine.

        The lake's path is not part of it, nor the threads and the memory that a step has, how failures of the models that
        are asked are met, how many final models there are, on what machines they are trained, and how many iterations
        there may be: moving a lake, adding a seed or an iteration makes nothing stale.
        """
        whole = self.model_dump(mode="json")
        for key in ("path", "threads", "memory_limit"):
            whole["lake"].pop(key)
        whole["stage1"].pop("iterations")
        for key in BESIDE_THE_POINT:
            whole["training"].pop(key)
        for called in (*whole["judges"]["judges"], whole["attributes"], *whole["attributes"]["panel"]):
            for key in HOW_CALLED:
                called.pop(key)
        return self._hash({s: whole[s] for s in sorted(sections)})

    def source_hash(self, name: str) -> str:
        """As `section_hash`, over the whole configuration of one source."""
        return self._hash(next(s for s in self._section("sources") if s.name == name).model_dump(mode="json"))

    def _hash(self, values: dict) -> str:
        data = json.dumps(values, sort_keys=True).replace(f"{self.base}/", "")
        return hashlib.blake2b(data.encode(), digest_size=8).hexdigest()

    def partition_keys(self, kind: str) -> list[str]:
        """The partitions of one kind, zero-padded so that their string order is their order.

        >>> settings.partition_keys("benchmark|model")
        ['rm-bench|original', 'rm-bench|filtered', …]
        """
        if "|" in kind:
            return ["|".join(keys) for keys in itertools.product(*map(self.partition_keys, kind.split("|")))]
        match kind:
            case "source":
                return [s.name for s in self._section("sources")]
            case "bucket":
                return [f"b{i:02d}" for i in range(self.lake.buckets)]
            case "iteration":
                return [f"iter_{i:02d}" for i in range(self._section("stage1").iterations + 1)]
            case "model":
                numbers = range(1, self._section("training").seeds + 1)
                return [a if n == 1 else f"{a}-{n}" for a in self._section("training").arms for n in numbers]
            case "experiment":
                return [e.name for e in self._section("experiments")]
            case "training_set":
                return [f"{e}.{arm.name}" for e in self.partition_keys("experiment") for arm in self.experiment(e).arms]
            case "benchmark":
                return [b.name for b in self._section("benchmarks")]
        raise ValueError(f"no such partition kind: {kind!r}")

    def _section(self, name: str) -> Any:
        """Of the whole configuration, whatever may be read: keys of partitions say nothing of how results are made."""
        return self.__dict__[name]


SECTIONS = frozenset(Settings.model_fields)
