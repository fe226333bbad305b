"""Releases as folders at the end of a run, where the configuration asks for some (spec 5.09)."""

from collections.abc import Iterator

import dagster as dg
import pyarrow as pa

from assets.table_asset import Rows, table_asset
from curation.tables import (
    ANNOTATION_BATCH,
    ATTRIBUTES,
    BENCHMARK_PROMPTS,
    BEST_REWARD_MODEL,
    CLEAN_POOL,
    CONFLICTS,
    CONTAMINATED,
    DATA_CARD,
    DECISION_RULE,
    DECISIONS,
    DEDUPED,
    DUPLICATES,
    EDITED_ATTRIBUTES,
    FINAL_REWARD_MODEL,
    GOLD,
    GOLD_REWARD_MODEL,
    GOLD_VOTES,
    HANDED_OVER,
    QUARANTINE,
    RAW_POOL,
    RELEASE_CORRECTED,
    RELEASE_CURATED,
    REPORT_FIGURES,
    SILVER,
    SNAPSHOTS,
    SOURCES,
    STAGE2_ATTRIBUTES,
    STATES,
    UNDECIDED,
    UNUSABLE,
)
from handover.build import Wanted, build, digest
from handover.contents import HandoverError, Snapshot
from handover.schema import FACTS, SUMS
from resources.lake import Lake
from resources.run import Run
from resources.settings import Settings

FOLDER = "releases"


def _gone(settings: Settings, lake: Lake, _: str | None) -> str | None:
    """Why it must be made again though nothing that it reads has changed."""
    missing = [n for n in settings.release.names if not (lake.folder(FOLDER) / n / FACTS).exists()]
    return f"the folder of {missing[0]} is gone" if missing else None


@table_asset(
    HANDED_OVER,
    reads=[
        ANNOTATION_BATCH,
        ATTRIBUTES,
        BENCHMARK_PROMPTS,
        BEST_REWARD_MODEL,
        CLEAN_POOL,
        CONFLICTS,
        CONTAMINATED,
        DATA_CARD,
        DECISION_RULE,
        DECISIONS,
        DEDUPED,
        DUPLICATES,
        EDITED_ATTRIBUTES,
        FINAL_REWARD_MODEL,
        GOLD,
        GOLD_REWARD_MODEL,
        GOLD_VOTES,
        QUARANTINE,
        RAW_POOL,
        RELEASE_CORRECTED,
        RELEASE_CURATED,
        REPORT_FIGURES,
        SILVER,
        SNAPSHOTS,
        SOURCES,
        STAGE2_ATTRIBUTES,
        STATES,
        UNDECIDED,
        UNUSABLE,
    ],
    settings=tuple(Settings.model_fields),  # and names the configuration's hash
    group="handover",
    pool="gpu",  # margins of a model, where a filter asks for them
    kinds={"duckdb", "parquet"},
    retry_reason=_gone,
)
def handed_over(run: Run) -> Iterator[Rows]:
    """Rows, card, licenses, rule, report and checksums of every release that is named; one that may not go out fails."""
    asked = run.settings.release
    rows = []
    for name in asked.names:
        folder = run.lake.folder(FOLDER) / name
        try:
            wanted = Wanted(Snapshot.named(name), asked.implicit, asked.jsonl, tuple(asked.include))
            facts = build(run.settings, run.lake, wanted, folder, run=run)
        except HandoverError as e:
            raise dg.Failure(f"release {name}: {e}", allow_retries=False) from None
        left_out = sum(row["pairs"] for row in facts["left_out"])
        rows.append(
            {"release": name, "folder": str(folder), "pairs": facts["pairs"], "flipped": facts["flipped"],
             "left_out": left_out, "sums": digest(folder / SUMS)}
        )  # fmt: skip
    shown = {r["release"]: r["folder"] for r in rows}
    yield Rows(HANDED_OVER, pa.Table.from_pylist(rows, HANDED_OVER.schema), shown)
