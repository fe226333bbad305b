"""What experiments found, as a page or a terminal shows it: arms, contrasts, how alike sets are, a figure, the paper's numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from curation.intervals import NOTHING, Estimate
from evaluation.contrasts import arm_score
from resources.benchmarks.published import published_scores
from resources.settings import Settings
from sql import statement

if TYPE_CHECKING:
    import duckdb

PUBLISHED = {  # preset -> sheet of the published numbers
    "pipeline": "pipeline",
    "efficiency": "training_curve",
    "bars": "bars",
    "no_human": "no_human",
    "sources": "by_dataset",
    "annotation": "annotation",
}
MEAN_OF_SEVEN = "Average"  # column of the published sheet of backbones
FILTERS = {  # the paper's name of a filter -> ours
    "Skywork-Reward-Llama-3.1-8B": "longer answer",
    "Skywork-Reward-Gemma-2-27B": "first model",
    "both": "longer answer and first model",
    "best": "best",
    "gold": "gold",
    "best and gold": "best and gold",
}


@dataclass(frozen=True)
class ArmStory:
    """One arm: what it is and what its models score, by evaluation."""

    name: str
    built: str
    pairs: int
    swapped: int
    hash: str
    problem: str
    right_label: float | None
    scores: Mapping[str, Estimate]
    replicates: int
    steps: float | None  # of a training, on the mean; so are tokens and seconds
    tokens: float | None
    seconds: float | None

    @property
    def mean(self) -> Estimate:
        """Over evaluations; the interval of the only one, and none where there are several."""
        found = list(self.scores.values())
        if len(found) == 1:
            return found[0]
        values = [e.value for e in found if e.value is not None]
        return Estimate(sum(values) / len(values), None, None) if values else NOTHING


@dataclass(frozen=True)
class ExperimentStory:
    """One experiment, as far as it is made."""

    name: str
    preset: str
    question: str
    arms: list[ArmStory]
    contrasts: list[dict]
    balance: list[dict]
    recipes_differ: bool = False
    published: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def arm(self, name: str) -> ArmStory | None:
        return next((a for a in self.arms if a.name == name), None)


def stories(con: "duckdb.DuckDBPyConnection", settings: Settings) -> list[ExperimentStory]:
    """Every configured experiment, in the configuration's order, with what is made of it."""
    names = settings.partition_keys("experiment")
    if not names:
        return []
    arms: dict[str, dict[str, ArmStory]] = {}
    for experiment, name, *about, results in con.execute(statement("experiments/arms")).fetchall():
        of: dict[str, list[dict]] = {}
        for r in results or ():
            of.setdefault(r["evaluation"], []).append(r)
        scores = {e: arm_score([r["value"] for r in rs], [r["half"] for r in rs]) for e, rs in of.items()}
        replicates = max((len(rs) for rs in of.values()), default=0)
        built, pairs, swapped, content, problem, right, training = about
        arms.setdefault(experiment, {})[name] = ArmStory(
            name, built, pairs, swapped, content, problem, right, scores, replicates, training["steps"],
            training["tokens"], training["seconds"],
        )  # fmt: skip
    contrasts, balance = (_by_experiment(con, t) for t in ("experiment_contrasts", "experiment_balance"))
    sheets = published_sheets()
    found = []
    for name in names:
        whole = settings.experiment(name)
        made = [arms[name][a.name] for a in whole.arms if a.name in arms.get(name, {})]
        order = {text: i for i, text in enumerate(whole.compare)}
        of_it = sorted(
            (r for r in contrasts.get(name, []) if r["contrast"] in order),
            key=lambda r: (order[r["contrast"]], r["evaluation"] == "mean", r["evaluation"]),
        )
        published = sheets.get(PUBLISHED.get(whole.preset, ""), {})
        if not whole.preset and any(a.backbone for a in whole.arms):
            published = {model: {MEAN_OF_SEVEN: row[MEAN_OF_SEVEN]} for model, row in sheets["backbones"].items()}
        found.append(
            ExperimentStory(
                name,
                whole.preset,
                whole.question,
                made,
                of_it,
                balance.get(name, []),
                whole.different_recipes,
                published,
            )
        )
    return found


def studies(con: "duckdb.DuckDBPyConnection") -> dict[str, dict[str, dict[str, tuple[Estimate, int]]]]:
    """study -> item -> figure -> (estimate, pairs)."""
    found: dict[str, dict[str, dict[str, tuple[Estimate, int]]]] = {}
    for study, item, figure, *numbers, n in con.execute("FROM studies ORDER BY study, item, figure").fetchall():
        found.setdefault(study, {}).setdefault(item, {})[figure] = (Estimate(*numbers), n)
    return found


def published_filters() -> dict[str, tuple[float, float]]:
    """Filter -> shares that the paper's table has right where it keeps and where it discards (spec 4.11), of those alike."""
    sheet = published_sheets()["filters"]
    return {ours: (sheet[p]["Keep"] / 100, sheet[p]["Discard"] / 100) for p, ours in FILTERS.items() if p == ours}


def filters(con: "duckdb.DuckDBPyConnection") -> list[tuple[str, Estimate, Estimate, float, float]]:
    """(filter, right where it keeps, right where it discards, both as published), in the order of the paper's table."""
    ours, sheet = studies(con).get("filters", {}), published_sheets()["filters"]
    nothing = (NOTHING, 0)
    return [
        (name, ours[name].get("keep", nothing)[0], ours[name].get("discard", nothing)[0], row["Keep"], row["Discard"])
        for paper, name in FILTERS.items()
        for row in [sheet[paper]]
        if name in ours
    ]


def _by_experiment(con: "duckdb.DuckDBPyConnection", table: str) -> dict[str, list[dict]]:
    rows: dict[str, list[dict]] = {}
    for row in con.table(table).order("experiment, contrast").to_arrow_table().to_pylist():
        rows.setdefault(row["experiment"], []).append(row)
    return rows


def published_sheets() -> dict[str, dict[str, dict[str, float]]]:
    """sheet -> model or row -> column -> value, as published."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for r in published_scores().to_pylist():
        found.setdefault(r["sheet"], {}).setdefault(r["model"], {})[r["metric"]] = r["value"]
    return found


def shortened(contrast: str) -> str:
    """A contrast as people read it: of a row of arms its ends.

    >>> shortened("rise: a, b, c")
    'rise: a … c'
    """
    head, colon, rest = contrast.partition(": ")
    if not colon:
        return contrast
    first, *along = rest.split(", ")
    return f"{head}: {first} by {along[0]} … {along[-1]}" if head == "crossing" else f"{head}: {first} … {along[-1]}"


def told(row: Mapping) -> str:
    """A contrast's value and interval: points, or pairs of a crossing."""
    if row["value"] is None:
        return "–"
    if row["contrast"].startswith("crossing:"):
        ends = [f"{row[x]:,.0f}" if row[x] is not None else "more" for x in ("low", "high")]
        return f"{row['value']:,.0f} pairs ({ends[0]} to {ends[1]})"
    text = f"{100 * row['value']:+.1f}"
    return text if row["low"] is None else f"{text} ({100 * row['low']:+.1f} to {100 * row['high']:+.1f})"
