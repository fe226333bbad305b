"""The truth that a run is measured against, planted or from people."""

from curation.tables.columns import COMPARISON_ID, PAIR_ID, F, I, S, field, table
from curation.tables.stage1_schemas import ORDER

LABEL_FIELDS = [
    COMPARISON_ID,
    field("winner", S, "128-bit hash of the better response, '' when nobody can tell"),
    field("origin", S, "planted or people"),
    field("topic", S, "planted topic, or the source of the human label"),
    field("gap", F, "planted difference in quality, or share of the people's votes for the winner"),
]
REFERENCE_LABELS = table(
    "reference_labels",
    "The truth a run is measured against, planted or from people; nothing but the report reads it.",
    LABEL_FIELDS,
    ("comparison_id",),
)
PLANTED_LABELS = table(
    "planted_labels",
    "The truth of the generated pool, empty without one; only simulated people and judges read it.",
    LABEL_FIELDS,
    ("comparison_id",),
)
ORACLE_LABELS = table(
    "oracle_labels",
    "The planted order of every pair about which it can tell; only the arm oracle learns from it.",
    [PAIR_ID, ORDER],
    ("pair_id",),
)
WORLD_FILES = table(
    "world_files",
    "The files of the generated pool, which the sources read as they would read yours.",
    [field("file", S, "name"), field("bytes", I, "size"), field("hash", S, "128-bit hash of the content")],
    ("file",),
)
PLANTED_ROWS = table(
    "planted_rows",
    "What the generated pool hides, row by row; only the report reads it.",
    [
        field("source", S, "source"),
        field("row", I, "record number"),
        field("kind", S, "plain, noisy, ambiguous, duplicate, mirror, contaminated, null, identical, tie or broken"),
        field("detail", S, "what was planted"),
    ],
    ("source", "row", "kind"),
)
