"""A release as a folder: rows, card, licenses, rule, report and checksums; equal lakes give equal bytes."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from handover import card, shards
from handover.contents import HandoverError, Holding, Snapshot, choose, texts
from handover.schema import FACTS, FORMAT, REPORT, RULE, SUMS, documented, schema
from handover.trimming import select
from resources.lake import Lake
from resources.settings import Settings
from sql import statement
from training.atomic import beside, replace_folder

if TYPE_CHECKING:
    import duckdb

    from resources.run import Run

LOOKED_AT = 20_000  # pairs of a release whose language is looked at; ids are hashes, so the first are a sample
BY_RULE = ("label_source", "rule", "flipped")
STEMS = {False: "confirmed", True: "flipped"}


@dataclass(frozen=True)
class Wanted:
    """What somebody asks for.

    Attributes:
        whole: the implicit form: chosen and rejected are whole conversations and there is no prompt.
        lines: the rows as JSON lines, too.
        spelled_out: sources that go along without permission or license.
    """

    snapshot: Snapshot
    whole: bool = False
    lines: bool = False
    spelled_out: tuple[str, ...] = ()


def build(
    settings: Settings,
    lake: Lake,
    wanted: Wanted,
    out: Path,
    most: int = shards.SHARD,
    run: "Run | None" = None,
) -> dict[str, Any]:
    """Write a release, whole or not at all.

    Args:
        out: a folder that is not there, is empty, or holds a release, which is replaced.
        most: bytes of a shard, about.
        run: of the step that makes it; filters score with it.

    Returns:
        what the release says of itself (`release.json`).

    Raises:
        HandoverError: it may not be made, or `out` holds something else.
    """
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / FACTS).exists())):
        raise HandoverError(f"{out}: holds something that is no release; name another folder, or empty this one")
    _same_permissions(settings, lake)
    with lake.connect() as con, beside(out.absolute()) as new:
        holdings, _ = choose(con, wanted.snapshot, wanted.spelled_out)
        new.mkdir()
        selected = select(con, settings, run or _own_run(settings, lake), new)
        pairs = con.table("chosen_pairs").count("*").fetchall()[0][0]
        languages = card.Languages(LOOKED_AT)
        files = _rows(con, wanted, pairs, new, languages, most)
        facts = _facts(con, settings, wanted, holdings, files) | {"selection": selected}
        rule = _rule(con)
        if wanted.snapshot.upto == "stage2" and rule:
            (new / RULE).write_text(rule, encoding="utf-8")
            facts["rule"] = _rule_named(rule)
        else:
            facts["rule"] = None
        quotes_others = any(h.barred for h in holdings)
        report = lake.folder("report") / "index.html"
        if report.exists() and not quotes_others:
            (new / REPORT).write_bytes(report.read_bytes())
        card.write(con, new, facts, languages, quotes_others)
        (new / FACTS).write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        (new / SUMS).write_text(sums(new), encoding="ascii")
        replace_folder(new, out.absolute())
    return facts


def sums(folder: Path) -> str:
    """What `sha256sum -c` reads: every file of a release but the sums themselves, by name."""
    lines = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        if name != SUMS:
            lines.append(f"{digest(path)}  {name}\n")
    return "".join(lines)


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def _rows(
    con: "duckdb.DuckDBPyConnection",
    wanted: Wanted,
    pairs: int,
    folder: Path,
    languages: "card.Languages",
    most: int,
) -> dict[str, int]:
    """Write the rows; returns file -> rows."""
    files = {}
    form = schema(wanted.whole)
    for flipped, stem in STEMS.items():
        rows = languages.watching(texts(con, pairs, flipped, wanted.whole))
        lines = folder / "jsonl" if wanted.lines else None
        made = shards.write(folder / "data", stem, shards.groups(rows, form, shards.GROUP), form, lines, most)
        files |= {path.relative_to(folder).as_posix(): n for path, n in made}
    return files


def _facts(
    con: "duckdb.DuckDBPyConnection",
    settings: Settings,
    wanted: Wanted,
    holdings: Sequence[Holding],
    files: dict[str, int],
) -> dict[str, Any]:
    """Everything that the card is written from and that `verify` compares with the rows."""
    snapshot = wanted.snapshot
    sections = type(settings).model_fields.keys() - {"release"}  # what the filters are stands in `selection`
    ledger = _dicts(con, statement("handover/ledger"))
    counted = _dicts(con, statement("handover/counted"))
    released = {s: sum(c["pairs"] for c in counted if c["source"] == s) for s in {c["source"] for c in counted}}
    hashes = con.execute(
        "SELECT hash FROM snapshots WHERE snapshot = $kind AND upto = $upto", {"kind": snapshot.kind, "upto": snapshot.upto}
    ).fetchall()  # fmt: skip
    return {
        "format": FORMAT,
        "name": snapshot.name,
        "snapshot": snapshot.kind,
        "upto": snapshot.upto,
        "snapshot_hash": hashes[0][0] if hashes else None,
        "form": "implicit" if wanted.whole else "explicit",
        "columns": documented(wanted.whole),
        "pairs": sum(files.values()),
        "flipped": sum(c["pairs"] for c in counted if c["flipped"]),
        "with_system_turns": con.execute(statement("handover/system_turns")).fetchall()[0][0],
        "files": files,
        "counted": counted,
        "sources": [
            {k: v for k, v in asdict(h).items() if k not in ("pairs", "path", "barred")}
            | {
                "origin": card.origin(h.path),
                "pairs": released[h.source],
                "spelled_out": h.source in wanted.spelled_out,
            }
            for h in holdings
            if h.source in released
        ],
        "left_out": [
            {"source": h.source, "reason": h.barred, "pairs": h.pairs} for h in holdings if h.barred and h.pairs
        ],
        "ledger": ledger,
        "classes": sorted(_summed(ledger, ("class",), "records"), key=lambda c: (-c[1], c[0])),
        "by_rule": [dict(zip((*BY_RULE, "pairs"), row, strict=True)) for row in _summed(counted, BY_RULE, "pairs")],
        "described": _dicts(con, statement("handover/described")),
        "conflicts": _dicts(con, statement("handover/conflicts")),
        "benchmarks": _dicts(con, statement("handover/benchmarks")),
        "decontamination": settings.decontamination.model_dump(mode="json"),
        "configuration": {"name": settings.name, "hash": settings.section_hash(*sections)},
        "generated": settings.world is not None,
    }


def _summed(rows: Sequence[dict[str, Any]], by: Sequence[str], what: str) -> list[tuple]:
    """(the columns `by`, the sum of `what`), sorted."""
    total: Counter[tuple] = Counter()
    for row in rows:
        total[tuple(row[name] for name in by)] += row[what]
    return sorted((*key, n) for key, n in total.items())


def _own_run(settings: Settings, lake: Lake) -> "Run | None":
    """A run outside of Dagster, where filters score."""
    if settings.release.filters.margin is None:
        return None
    from resources.run import Run

    return Run(settings, lake)


def _same_permissions(settings: Settings, lake: Lake) -> None:
    """Licenses and permissions stand in the lake as they were when a source was read.

    Raises:
        HandoverError: the configuration says otherwise by now.
    """
    said = {s.name: (s.license, s.redistribution) for s in settings.sources}
    with lake.connect() as con:
        for source, *kept in con.execute("SELECT source, license, redistribution FROM sources ORDER BY 1").fetchall():
            if source in said and said[source] != tuple(kept):
                raise HandoverError(
                    f"{source}: the configuration says license {said[source][0]!r} and redistribution ="
                    f" {str(said[source][1]).lower()}, the lake was made with {kept[0]!r} and {str(kept[1]).lower()}; run"
                    " `assay run`"
                )


def _rule(con: "duckdb.DuckDBPyConnection") -> str | None:
    found = con.execute("SELECT file FROM decision_rule").fetchall()
    return found[0][0] if found else None


def _rule_named(text: str) -> dict[str, str]:
    from curation.decision_rule import loads

    return {"id": loads(text).id, "sha256": hashlib.sha256(text.encode()).hexdigest()}


def _dicts(con: "duckdb.DuckDBPyConnection", query: str) -> list[dict[str, Any]]:
    return con.sql(query).to_arrow_table().to_pylist()
