"""The one file a user edits, `assay.toml`, as validated, immutable settings.

Every error names the key and what is allowed. `${NAME}` in a string is replaced by the environment variable NAME;
relative paths are relative to the file. Secrets never stand in it: a judge names the environment variable that holds
its key, and what a source says of itself keeps the name of a variable in the place of its value.
"""

from resources.settings.base import ConfigError, Count, Effort, Name, Part, Share, Undeclared
from resources.settings.evaluation import Benchmark, Evaluation, Reference
from resources.settings.experiment import Experiment, TrialArm
from resources.settings.load import current, load
from resources.settings.models import AttributeModel, AttributeSettings, Called, Judge, Panel, Price
from resources.settings.people import PeopleSettings
from resources.settings.secrets import SECRET, VARIABLE
from resources.settings.sources import Answers, Records, Source
from resources.settings.stages import (
    Decontamination,
    Embedding,
    Gold,
    LakeSettings,
    Personal,
    Stage1,
    Stage2,
    StopWhen,
    World,
    labels_needed,
)
from resources.settings.training import BESIDE_THE_POINT, Backbone, Recipe, Training
from resources.settings.whole import Budget, Settings

__all__ = [
    "BESIDE_THE_POINT",
    "SECRET",
    "VARIABLE",
    "Answers",
    "AttributeModel",
    "AttributeSettings",
    "Backbone",
    "Benchmark",
    "Budget",
    "Called",
    "ConfigError",
    "Count",
    "Decontamination",
    "Effort",
    "Embedding",
    "Evaluation",
    "Experiment",
    "Gold",
    "Judge",
    "LakeSettings",
    "Name",
    "Panel",
    "Part",
    "PeopleSettings",
    "Personal",
    "Price",
    "Recipe",
    "Records",
    "Reference",
    "Settings",
    "Share",
    "Source",
    "Stage1",
    "Stage2",
    "StopWhen",
    "Training",
    "TrialArm",
    "Undeclared",
    "World",
    "current",
    "labels_needed",
    "load",
]
