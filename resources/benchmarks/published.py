"""Published scores to compare with, and the paper's claims about them, both data files beside this module."""

import math
import tomllib
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from evaluation.averages import SIX, average
from evaluation.planning import Curve, rising

BATCH, STEPS = 256, 60_500  # of the published training curve

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


def published_curve() -> Curve:
    """The paper's training curve: pairs by its steps, which were of 256."""
    rows: dict[str, dict[str, float]] = {}
    for r in published_scores().to_pylist():
        if r["sheet"] == "training_curve":
            rows.setdefault(r["model"], {})[r["metric"]] = r["value"]
    points = [(BATCH * r["Step"], r["Mean of six"]) for r in rows.values()]
    return rising("the published curve", points, BATCH * STEPS)


def published_means() -> dict[str, tuple[float, float]]:
    """Model -> (mean of seven benchmarks as printed, mean of six), of those that have all."""
    of: dict[str, dict[str, float]] = {}
    for r in published_scores().to_pylist():
        if r["sheet"] == "main":
            of.setdefault(r["model"], {})[r["metric"]] = r["value"]
    six = {model: average(scores, SIX) for model, scores in of.items()}
    return {m: (of[m]["Average"], mean) for m, mean in six.items() if mean is not None and "Average" in of[m]}


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
