"""Small lakes written by hand, for tests of single steps."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from assets.publishing import publish
from assets.registry import steps
from assets.table_asset import Step
from curation.tables import EDITED_ATTRIBUTES, GOLD, Table
from resources.lake import Lake
from resources.run import Run
from resources.settings import Settings


def settings(**sections) -> Settings:
    """A valid configuration of one source and two simulated judges; sections replace what is there."""
    raw = {
        "world": {},
        "lake": {"buckets": 1},
        "sources": [{"name": "s", "path": "s.jsonl"}],
        "judges": {"panel": [{"name": "one"}, {"name": "two"}]},
    }
    return Settings.model_validate(raw | sections)


DEFAULTS = {
    "conv_id": "c", "comparison_id": "x", "conversation": [{"role": "user", "content": "why?"}], "chosen": "good",
    "rejected": "bad", "source": "s", "label_origin": "human", "stage": "seed", "joined": 0, "row": 1, "part": 0, "copies": 1,
    "also_in": [], "conflict": False, "n_chars": 11, "category": "math", "objectivity": "objective",
    "controversiality": "low", "desired": "right", "guideline": "check", "labeller": "t", "prompt_version": "1",
    "agreement": 1.0, "simulated": True, "embedder": "t", "backend": "t", "annotator": "a", "seconds": 20.0,
    "cost_micros": 0, "shown_first": "chosen", "priority": 0, "settings": "", "inclusion": 1.0, "why": "seed", "role": "train",
    "votes_original": 1, "votes_swapped": 0, "share": 1.0, "voices": 2, "wording": "",
    "effort": "", "example_places": [], "votes": "{}", "reason": "majority",
}  # fmt: skip


def put(lake: Lake, table: Table, rows: list[dict], partition: str | None = None) -> None:
    """Write rows, with what they leave out filled in; pairs without a cluster are alone in theirs, and nobody corrected
    the attributes of gold unless that is put first."""
    full = []
    for row in rows:
        row = {**DEFAULTS, "cluster_id": "c-" + row.get("pair_id", ""), **row}
        full.append({n: row.get(n) for n in table.schema.names})
    lake.write(table, pa.Table.from_pylist(full, table.schema), partition)
    if table is GOLD and lake.note(EDITED_ATTRIBUTES, partition) is None:
        put(lake, EDITED_ATTRIBUTES, [], partition)


def close(lake: Lake, iteration: str, **sections) -> None:
    """Make every step of an iteration up to date with what there is; what is missing becomes empty."""
    made = settings(**sections)
    for step in (s for s in steps() if s.group == "stage1" and s.partition == "iteration"):
        for table, key in [*step.inputs(made, iteration), *((t, iteration) for t in step.tables)]:
            if lake.note(table, key) is None:
                put(lake, table, [], key)
        for table in step.tables:
            rows = pq.read_table(lake.path(table, iteration), schema=table.schema, partitioning=None)
            lake.write(table, rows, iteration, step.note(made, lake, iteration))


def make(step: Step, root: Path | Lake, partition: str | None = None, **sections) -> Run:
    """Run one step by hand, checks included; what it reads and nobody put is empty."""
    lake = root if isinstance(root, Lake) else Lake(str(root))
    run = Run(settings(**sections), lake, partition)
    published(step, run)
    return run


def published(step: Step, run: Run) -> list:
    """What a step publishes, checks included; what it reads and nobody put is empty."""
    fill(step, run)
    return list(publish(step, run))


def fill(step: Step, run: Run) -> None:
    """Make empty what a step reads and is not there."""
    for table, key in step.inputs(run.settings, run.partition):
        if run.lake.note(table, key) is None:
            put(run.lake, table, [], key)


def query(lake: Lake, sql: str) -> list[tuple]:
    with lake.connect() as con:
        return con.execute(sql).fetchall()
