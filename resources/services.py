"""What lies outside, as Dagster resources: the UI lists them, a launch can change how they work, a test can put another
in their place. Their fields decide no result: where, with whom, on which machines, for how much money at most."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg

from resources import trainer
from resources.annotators import backends
from resources.judges import panel
from resources.judges.attribute_models import labeller
from resources.judges.response_checks import checker
from resources.judges.second_looker import looker
from resources.lake import Lake
from resources.retrieval.vectors import Index
from resources.settings import Budget, Settings

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from resources.annotators.backends import People
    from resources.judges import JudgeBackend
    from resources.judges.attribute_models import Labeller
    from resources.judges.response_checks import Checker
    from resources.judges.second_looker import SecondLooker
    from resources.run import Run


class LakeService(dg.ConfigurableResource):
    """The tables: Parquet files under a folder, or under a prefix of a store of objects, read by DuckDB."""

    path: str
    tables: str | None = None
    memory_limit: str
    threads: int

    def applied(self, settings: Settings) -> Settings:
        values = {
            "path": type(settings.lake.path)(self.path),
            "tables": self.tables,
            "memory_limit": self.memory_limit,
            "threads": self.threads,
        }
        return settings.model_copy(update={"lake": settings.lake.model_copy(update=values)})

    def open(self, settings: Settings) -> Lake:
        return Lake.of(settings)


class Annotators(dg.ConfigurableResource):
    """People who verify pairs; `folder` is where their batches and answers lie."""

    folder: str

    def applied(self, settings: Settings) -> Settings:
        values = {"folder": type(settings.people.folder)(self.folder)}
        return settings.model_copy(update={"people": settings.people.model_copy(update=values)})

    def people(self, settings: Settings, lake: Lake) -> "People":
        return backends.backend(settings, lake)


class JudgePanel(dg.ConfigurableResource):
    """Judges and attribute models. `dollars` stops paid calls; above `confirm_above`, expected, somebody must agree."""

    dollars: float
    confirm_above: float | None = None

    def applied(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"budget": Budget(dollars=self.dollars, confirm_above=self.confirm_above)})

    def judges(self, settings: Settings, lake: Lake, stage: str) -> "list[JudgeBackend]":
        return panel(settings, lake, stage)

    def labeller(self, settings: Settings, lake: Lake, stage: str) -> "Labeller":
        return labeller(settings, lake, stage)

    def looker(
        self, settings: Settings, lake: Lake, kind: Literal["overlap", "personal"], stage: str
    ) -> "SecondLooker | None":
        return looker(settings, lake, kind, stage)

    def checker(self, settings: Settings, lake: Lake, stage: str) -> "Checker | None":
        return checker(settings, lake, stage)


class RewardModels(dg.ConfigurableResource):
    """Trains and scores reward models by torchrun or DeepSpeed, with so many processes on each of so many machines."""

    ranks: int
    nodes: int
    gradient_checkpointing: bool

    def applied(self, settings: Settings) -> Settings:
        values = {n: getattr(self, n) for n in ("ranks", "nodes", "gradient_checkpointing")}
        return settings.model_copy(update={"training": settings.training.model_copy(update=values)})

    def train(self, run: "Run", **job: Any) -> dict:
        return trainer.train(run, **job)

    def score(self, run: "Run", models: Mapping[str, str], pairs: "duckdb.DuckDBPyRelation") -> "pa.Table":
        return trainer.score(run, models, pairs)

    def features(self, run: "Run", folder: str, pairs: "duckdb.DuckDBPyRelation") -> "pa.Table":
        return trainer.features(run, folder, pairs)


class VectorIndexes(dg.ConfigurableResource):
    """LanceDB indexes of one step each, in the lake's folder `vectors`."""

    def index(self, lake: Lake, name: str, rows: "pa.RecordBatchReader", dimensions: int) -> Index:
        return Index(lake, name, rows, dimensions)


def services(settings: Settings) -> dict[str, dg.ConfigurableResource]:
    """Every service of a configuration, under the name by which steps and the UI know it."""
    lake, training, budget = settings.lake, settings.training, settings.budget
    return {
        "lake": LakeService(
            path=str(lake.path), tables=lake.tables, memory_limit=lake.memory_limit, threads=lake.threads
        ),
        "annotators": Annotators(folder=str(settings.people.folder)),
        "judges": JudgePanel(dollars=budget.dollars, confirm_above=budget.confirm_above),
        "reward_models": RewardModels(
            ranks=training.ranks, nodes=training.nodes, gradient_checkpointing=training.gradient_checkpointing
        ),
        "vectors": VectorIndexes(),
    }


SERVICES = ("lake", "annotators", "judges", "reward_models", "vectors")
