"""The code location: every step of this folder as an asset, with jobs, sensors and the services outside."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from assets.executors import executor
from assets.jobs import JOBS
from assets.publishing import as_asset
from assets.registry import steps
from assets.sensors import sensors
from resources import settings as config
from resources.services import services
from resources.settings import Settings


def build(settings: Settings, overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Definitions for one configuration.

    Args:
        overrides: services to put in the place of the configuration's, by name (resources/services.py).
    """
    return dg.Definitions(
        assets=[as_asset(step, settings) for step in steps()],
        jobs=JOBS,
        sensors=sensors(settings),
        resources={**services(settings), **(overrides or {})},
        executor=executor(settings),
    )


@dg.definitions
def defs() -> dg.Definitions:
    return build(config.current())
