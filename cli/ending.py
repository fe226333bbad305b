"""What there is at the end of a run: releases and models by name, where they are, and what deserves a look."""

import math
import os
from collections.abc import Iterator

from cli.start_model import trained_from
from curation.decision_rule import loads
from curation.tables import RELEASE_CORRECTED, RELEASE_CURATED
from resources.lake import Lake
from resources.settings import Settings
from sql import statement

RELEASES = {"curated": RELEASE_CURATED, "corrected": RELEASE_CORRECTED}


def made(settings: Settings, lake: Lake) -> Iterator[str]:
    """A line a release and a model that the lake holds."""
    for name, table in RELEASES.items():
        keys = [key for key in settings.partition_keys("bucket") if lake.note(table, key) is not None]
        if keys:
            rows = sum(lake.rows(table, key) for key in keys)
            yield f"Release {name}: {rows:,} pairs in {lake.storage.place}/{table.name}/"
    with lake.connect() as con:
        final = con.execute(
            "SELECT model, path, pairs, validation_accuracy FROM final_reward_model ORDER BY model"
        ).fetchall()
        loop = con.execute("SELECT count(*), any_value(path) FROM reward_model").fetchall()[0]
    for model, path, pairs, accuracy in final:
        named = lake.folder("models") / model
        checked = "" if accuracy is None else f", {accuracy:.1%} right on gold for validation"
        yield f"Model {model}: trained on {pairs:,} pairs{checked}: {named if named.is_symlink() else lake.model(path)}"
    if final or loop[0]:
        yield f"Trained from: {trained_from(settings)}"


def name_models(lake: Lake) -> None:
    """A link by the name of each final model beside the folders, which are called by what they were made from. A folder
    of that name stays: in a copy of a lake that was made by following links, a model stands there."""
    with lake.connect() as con:
        for model, path in con.execute("SELECT model, path FROM final_reward_model").fetchall():
            link = lake.folder("models") / model
            if link.is_dir() and not link.is_symlink():
                continue
            new = link.with_name(f".{model}.{os.getpid()}")
            new.symlink_to(os.path.relpath(lake.model(path), link.parent))
            os.replace(new, link)


def notices(settings: Settings, lake: Lake) -> Iterator[str]:
    """What the configuration does that it does not say, and what of the data is too little for it."""
    yield from (f"Note: {text}" for text in settings.said)
    with lake.connect() as con:
        [(seed, eligible)] = con.execute(statement("report/seed_reached")).fetchall()
        rounds = con.execute(statement("report/rounds_of_people")).fetchall()
        [(votes, silver)] = con.execute(statement("report/judges_decided")).fetchall()
    wanted = settings.stage1.seed_people + settings.stage1.seed_judges
    if 0 < seed < wanted:
        yield (
            f"Note: the pool has {eligible:,} pairs and gives {seed:,} of the {wanted:,} that the seed asks for"
            " (stage1.seed_people + seed_judges), one a conversation; little is left for the rounds after it."
        )
    for iteration, people in rounds:
        if 0 < people < LEAST_ROUND:
            yield (
                f"Note: {iteration} asks people about {people} pairs only: the pool is nearly used up. Fewer"
                " stage1.iterations, or more sources."
            )
    if (why := refused(lake)) is not None:
        yield f"Note: {why}"
    if votes and not silver:
        yield f"Note: the judges gave {votes:,} answers and decided no pair; a reward model has nothing to learn from."


def refused(lake: Lake) -> str | None:
    """What stage 2 would have flipped, or kept, and did not, in a line; None where it did all."""
    with lake.connect() as con:
        rules = con.execute("SELECT file FROM decision_rule").fetchall()
        [(pairs,)] = con.execute(statement("report/refused")).fetchall()
    guards = loads(rules[0][0]).guards if rules else None
    if guards is None or not (guards.no_keep or guards.no_flip) or not pairs:
        return None
    return f"{pairs:,} pairs that stage 2 would have decided were dropped. {guards.why}"


def least_pairs(settings: Settings) -> int:
    """Pairs of a seed below which a fold of gold that is needed is likely to stay empty.

    >>> least_pairs(settings)  # a share of 0.15 for validation
    20
    """
    return math.ceil(3 / settings.gold.validation)


LEAST_ROUND = 10  # pairs for people below which a round is hardly worth its training
