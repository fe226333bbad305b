"""Published scores to compare with, and the paper's claims about them, both data files beside this module."""

import math
import tomllib
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

ANCHOR = pa.schema(
    [
        pa.field("sheet", pa.string(), False),
        pa.field("source", pa.string(), False),
        pa.field("model", pa.string(), False),
        pa.field("kind", pa.string()),  # ours, classifier, generative, reasoning or proprietary
        pa.field("size", pa.float64()),  # billions of parameters, where known
        pa.field("metric", pa.string(), False),
        pa.field("value", pa.float64(), False),  # percent
    ]
)


@dataclass(frozen=True)
class Verdict:
    """One claim, what the published tables say of it, and up to five of the rows that contradict it."""

    id: str
    text: str
    expected: bool
    holds: bool
    columns: tuple[str, ...]
    contradictions: tuple[tuple, ...]


def published_scores() -> pa.Table:
    """Every published cell as a row of `ANCHOR`; cells that a publication leaves empty are absent."""
    data = _read("published")
    rows = []
    for table in data["table"]:
        for model, values in table["rows"].items():
            about = data["models"].get(model, {})
            rows += [
                {
                    "sheet": table["name"],
                    "source": table["source"],
                    "model": model,
                    "kind": about.get("kind"),
                    "size": about.get("size"),
                    "metric": metric,
                    "value": float(value),
                }
                for metric, value in zip(table["columns"], values, strict=True)
                if not math.isnan(value)
            ]
    return pa.Table.from_pylist(rows, schema=ANCHOR)


def verdicts(table: pa.Table | None = None) -> list[Verdict]:
    """Every claim evaluated on the anchors, or on another table of `ANCHOR`."""
    found = []
    with duckdb.connect() as con:
        con.register("anchor", published_scores() if table is None else table)
        for claim in _read("claims")["claim"]:
            against = con.sql(claim["sql"]).limit(5)
            rows = tuple(against.fetchall())
            columns = tuple(against.columns)
            found.append(Verdict(claim["id"], claim["text"], claim["holds"], not rows, columns, rows))
    return found


def _read(name: str) -> dict:
    return tomllib.loads(Path(__file__).with_name(f"{name}.toml").read_text(encoding="utf-8"))
