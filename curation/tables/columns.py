"""What a table is, and the fields that several tables share."""

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

# Two dimensions are joined by "|", in alphabetical order, and so are their keys.
PartitionKind = Literal["source", "bucket", "iteration", "model", "benchmark|model", "experiment", "training_set"]
NESTED: dict[str, str] = {"training_set": "experiment"}  # its keys begin with one of the other's and a point


@dataclass(frozen=True)
class Table:
    """One table of the lake.

    Attributes:
        name: name of the Dagster asset, of the folder in the lake and of the SQL view.
        doc: one sentence for people.
        schema: column names, types and nullability, enforced on write; each field carries its own doc.
        key: columns that identify a row; rows are stored in this order and a repeated key is refused.
        partition: what one Parquet file holds, or None for a table of one file.
    """

    name: str
    doc: str
    schema: pa.Schema
    key: tuple[str, ...]
    partition: PartitionKind | None = None

    def __hash__(self) -> int:
        return hash(self.name)  # no two are called alike, and a schema's takes long


def field(name: str, type_: pa.DataType, doc: str, nullable: bool = False) -> pa.Field:
    """A column with its sentence for people."""
    return pa.field(name, type_, nullable, {"doc": doc})


S, I, F, B = pa.string(), pa.int64(), pa.float64(), pa.bool_()
STRINGS = pa.list_(pa.field("element", S, nullable=False))
TURN = pa.struct([pa.field("role", S, nullable=False), pa.field("content", S, nullable=False)])
CONVERSATION = pa.list_(pa.field("element", TURN, nullable=False))
VECTOR = pa.list_(pa.field("element", pa.float32(), nullable=False))

PAIR_ID = field("pair_id", S, "128-bit hash over length-prefixed (conversation, chosen, rejected)")
CONV_ID = field("conv_id", S, "128-bit hash over the conversation")
COMPARISON_ID = field(
    "comparison_id", S, "128-bit hash over conversation and the unordered responses: (A>B) meets (B>A)"
)
TEXTS = [
    field("conversation", CONVERSATION, "all turns before the answer, roles user, assistant, system"),
    field("chosen", S, "the response the original label prefers"),
    field("rejected", S, "the other response"),
]
IDS = [PAIR_ID, CONV_ID, COMPARISON_ID]
PAIR = [*IDS, *TEXTS]
ORIGIN = [
    field("source", S, "the configured source"),
    field("label_origin", S, "who made the original label: human, synthetic or unknown"),
    field("stage", S, "seed, stage1 or stage2: where the source's pairs enter (spec 0.04)"),
    field("joined", I, "iteration of stage 1 with which the source joined the pool"),
]
SIMULATED = field("simulated", B, "true when a simulation, not a person or a model, made this row")


def table(
    name: str, doc: str, fields: list[pa.Field], key: tuple[str, ...], partition: PartitionKind | None = None
) -> Table:
    """A `Table` from its fields."""
    return Table(name, doc, pa.schema(fields), key, partition)
