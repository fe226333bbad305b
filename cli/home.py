"""Where Dagster keeps its runs: DAGSTER_HOME, else a folder with a dagster.yaml, else one beside the configuration."""

import os
from pathlib import Path

import yaml

from resources.settings import Settings

SHIPPED = Path(__file__).parents[1] / "dagster.yaml"
ELSEWHERE = ("storage", "local_artifact_storage", "compute_logs")  # they name folders; without them all is in the home
QUIET = {"telemetry": {"enabled": False}, "nux": {"enabled": False}}


def settle(settings: Settings) -> Path:
    """Set DAGSTER_HOME for this process and those it starts, and return it."""
    if "DAGSTER_HOME" not in os.environ:
        here = Path.cwd()
        home = here if (here / "dagster.yaml").exists() else settings.base.absolute() / ".dagster"
        if home != here and not (home / "dagster.yaml").exists():
            home.mkdir(parents=True, exist_ok=True)
            shipped = yaml.safe_load(SHIPPED.read_text(encoding="utf-8")) if SHIPPED.exists() else QUIET
            kept = {key: value for key, value in shipped.items() if key not in ELSEWHERE}
            (home / "dagster.yaml").write_text(yaml.safe_dump(kept, sort_keys=False), encoding="utf-8")
        os.environ["DAGSTER_HOME"] = str(home)
    return Path(os.environ["DAGSTER_HOME"])
