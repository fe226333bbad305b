"""What a step is given to work with."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from curation.tables import Table
from resources.lake import Lake
from resources.services import Annotators, JudgePanel, RewardModels, VectorIndexes, services
from resources.settings import Settings

if TYPE_CHECKING:
    import dagster as dg


@dataclass(frozen=True)
class Run:
    """One run of a step: the sections of the configuration and the tables of the lake that it declares, and the services
    outside.

    `context` is Dagster's, or None when a step is called by hand; so are `services`, which then are the configuration's.
    """

    settings: Settings
    lake: Lake
    partition: str | None = None
    context: "dg.AssetExecutionContext | None" = None
    services: "Mapping[str, Any] | None" = None

    @classmethod
    def served(
        cls,
        settings: Settings,
        services: Mapping[str, Any],
        partition: str | None,
        context: "dg.AssetExecutionContext",
    ) -> "Run":
        """A run with Dagster's resources, each of which may change how it works."""
        for service in services.values():
            settings = service.applied(settings) if hasattr(service, "applied") else settings
        return cls(settings, services["lake"].open(settings), partition, context, services)

    @property
    def key(self) -> str:
        """The partition of a step that has one."""
        if self.partition is None:
            raise ValueError("this step has no partitions")
        return self.partition

    def only(self, tables: Iterable[Table], sections: Iterable[str], reader: str) -> "Run":
        """The same run with these tables and sections of the configuration and no other."""
        served = self.services if self.services is not None else services(self.settings)
        settings, lake = self.settings.only(sections, reader), self.lake.only(tables, reader)
        return replace(self, settings=settings, lake=lake, services=served)

    def log(self, text: str) -> None:
        if self.context is not None:
            self.context.log.info(text)

    def earlier(self) -> list[str]:
        """Keys of the iterations before this one."""
        keys = self.settings.partition_keys("iteration")
        return keys[: keys.index(self.key)]

    # ---- services ----------------------------------------------------------------------------------------------------
    @property
    def annotators(self) -> Annotators:
        return self._service("annotators")

    @property
    def judges(self) -> JudgePanel:
        return self._service("judges")

    @property
    def reward_models(self) -> RewardModels:
        return self._service("reward_models")

    @property
    def vectors(self) -> VectorIndexes:
        return self._service("vectors")

    def _service(self, name: str) -> Any:
        return (self.services if self.services is not None else services(self.settings))[name]
