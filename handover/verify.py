"""Whether a folder is a release and still the one that was made: sums, rule, schema, rows, counts, licenses, benchmarks.

Nothing in the folder is trusted: what a row says is compared with its own texts, and the whole with `release.json`.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation.decision_rule import RuleError, loads
from curation.identity import pair_id
from handover.build import digest
from handover.schema import FACTS, FORMAT, LABEL_SOURCES, RULE, SUMS, schema

if TYPE_CHECKING:
    from curation.contamination import BenchmarkIndex

NEEDED = ("README.md", "LICENSES.md", "ATTRIBUTION.md", "USAGE.md", FACTS, SUMS)
FIRST = 5  # of a kind of fault, told one by one
STEP = 1_000  # rows that are looked at together
UNLICENSED = ("", "unknown", "none")


class Faulty(Exception):
    """The folder cannot be looked at any further."""


@dataclass
class Findings:
    """What is wrong, a line each, and what was looked at."""

    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    more: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)

    def fault(self, kind: str, text: str) -> None:
        self.kinds[kind] += 1
        if self.kinds[kind] <= FIRST:
            self.faults.append(text)
        else:
            self.more[kind] += 1

    @property
    def lines(self) -> list[str]:
        return [*self.faults, *(f"… and {n:,} more: {kind}" for kind, n in self.more.items())]


def verify(folder: Path, index: "BenchmarkIndex | None" = None) -> Findings:
    """Look at everything that a release promises.

    Args:
        index: of the benchmarks' prompts; None leaves the overlap unchecked, which is noted.
    """
    found = Findings()
    try:
        _sums(folder, found)
        facts = _facts(folder)
        _rule(folder, facts, found)
        _rows(folder, facts, found, index)
    except Faulty as e:
        found.fault("unreadable", str(e))
    return found


def _sums(folder: Path, found: Findings) -> None:
    """Every file is listed and every listed file is there, a plain file, unchanged."""
    if not folder.is_dir():
        raise Faulty(f"{folder}: no such folder")
    path = folder / SUMS
    if not path.is_file() or path.is_symlink():
        raise Faulty(f"{SUMS}: missing; this is no release")
    listed: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        match = re.fullmatch(r"([0-9a-f]{64})  (\S.*)", line)
        name = PurePosixPath(match[2]) if match else None
        if match is None or name is None or name.is_absolute() or ".." in name.parts or match[2] in listed:
            raise Faulty(f"{SUMS}, line {number}: not a checksum and a file of this folder")
        listed[match[2]] = match[1]
    there = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_symlink() or not p.is_dir()}
    there.pop(SUMS, None)
    for name in sorted(there.keys() - listed.keys()):
        found.fault("file", f"{name}: is in the folder and not in {SUMS}")
    for name in sorted(listed):
        if name not in there:
            found.fault("file", f"{name}: is listed in {SUMS} and missing")
        elif there[name].is_symlink() or not there[name].is_file():
            found.fault("file", f"{name}: is a link and no file")
        elif digest(there[name]) != listed[name]:
            found.fault("sum", f"{name}: its SHA-256 is not the listed one: the file was changed")
    for name in NEEDED:
        if name != SUMS and name not in listed:
            found.fault("file", f"{name}: missing; a release holds {', '.join(NEEDED)}")


def _facts(folder: Path) -> dict[str, Any]:
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        known = facts["format"]
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise Faulty(f"{FACTS}: cannot be read: {type(e).__name__}: {e}") from e
    if known != FORMAT:
        raise Faulty(f"{FACTS}: format {known!r}, this Assay reads {FORMAT}")
    kinds = {"files": dict, "sources": list, "counted": list, "ledger": list, "left_out": list, "benchmarks": list}
    if wrong := [k for k, type_ in (kinds | {"pairs": int, "flipped": int, "form": str}).items()
                 if not isinstance(facts.get(k), type_)]:  # fmt: skip
        raise Faulty(f"{FACTS}: key {wrong[0]!r} is missing or of another type")
    return facts


def _rule(folder: Path, facts: dict[str, Any], found: Findings) -> None:
    """The rule file is a rule, and the one that the release names."""
    path, named = folder / RULE, facts.get("rule")
    if named is None:
        if path.exists():
            found.fault("rule", f"{RULE}: is there, and {FACTS} names no rule")
        return
    if not path.is_file():
        found.fault("rule", f"{RULE}: missing, and {FACTS} names the rule {named['id']}")
        return
    try:
        rule = loads(path.read_text(encoding="utf-8"))
    except (RuleError, UnicodeDecodeError) as e:
        found.fault("rule", f"{RULE}: {e}")
        return
    if rule.id != named["id"] or digest(path) != named["sha256"]:
        found.fault("rule", f"{RULE}: is the rule {rule.id}, the rows were decided by {named['id']}")


def _rows(folder: Path, facts: dict[str, Any], found: Findings, index: "BenchmarkIndex | None") -> None:
    whole = facts["form"] == "implicit"
    want = schema(whole)
    licenses = _licenses(facts, found)
    barred = {row["source"] for row in facts["left_out"]}
    counted: Counter[tuple] = Counter()
    last = {False: "", True: ""}
    there = {p.relative_to(folder).as_posix() for p in (folder / "data").glob("*")}
    for name in sorted(there ^ facts["files"].keys()):
        found.fault("shard", f"{name}: {'not in' if name in there else 'missing, is named in'} {FACTS}")
    for name, rows in sorted(facts["files"].items()):
        if name not in there:
            continue
        try:
            file = pq.ParquetFile(folder / name)
            if not file.schema_arrow.remove_metadata().equals(want):
                found.fault("schema", f"{name}: {_difference(file.schema_arrow, want)}")
                continue
            if file.metadata.num_rows != rows:
                found.fault("count", f"{name}: {file.metadata.num_rows:,} rows, {FACTS} says {rows:,}")
            start = 0
            for batch in file.iter_batches(STEP):
                for number, row in enumerate(batch.to_pylist(), start + 1):
                    _row(f"{name}, row {number}", row, whole, licenses, barred, last, counted, found)
                if index is not None:
                    _overlap(name, start, batch, whole, facts, index, found)
                start += batch.num_rows
        except (pa.ArrowException, OSError, UnicodeDecodeError) as e:
            found.fault("shard", f"{name}: cannot be read: {str(e).splitlines()[0]}")
    _counts(facts, counted, found)
    if index is None and facts["benchmarks"]:
        found.notes.append("overlap with benchmarks was not looked for: no benchmark's prompts are at hand")
    elif not facts["benchmarks"]:
        found.notes.append("the pool was cleaned against no benchmark")


def _licenses(facts: dict[str, Any], found: Findings) -> dict[str, tuple[str, str]]:
    """Source -> (license, who made its labels), of those that may be here."""
    known = {}
    for source in facts["sources"]:
        name, license_ = source["source"], source["license"]
        known[name] = (license_, source["label_origin"])
        if source["spelled_out"]:
            found.notes.append(f"{name}: released because it was named (--include)")
        elif not source["redistribution"]:
            found.fault("license", f"{name}: may not be passed on (redistribution = false) and was not named")
        elif license_.strip().lower() in UNLICENSED:
            found.fault("license", f"{name}: no license is known, and it was not named")
    return known


def _row(
    where: str,
    row: dict[str, Any],
    whole: bool,
    licenses: dict[str, tuple[str, str]],
    barred: set[str],
    last: dict[bool, str],
    counted: Counter[tuple],
    found: Findings,
) -> None:
    counted[row["source"], row["label_source"], row["rule"], row["flipped"]] += 1
    if row["source"] in barred:
        found.fault("license", f"{where}: source {row['source']!r} may not be passed on")
    elif row["source"] not in licenses:
        found.fault("license", f"{where}: source {row['source']!r} is not among those of {FACTS}")
    elif (row["license"], row["label_origin"]) != licenses[row["source"]]:
        found.fault("license", f"{where}: license {row['license']!r}, {FACTS} says {licenses[row['source']][0]!r}")
    if row["label_source"] not in LABEL_SOURCES:
        found.fault("rule", f"{where}: label_source {row['label_source']!r}, allowed are {', '.join(LABEL_SOURCES)}")
    elif row["label_source"] == "models" and row["flipped"] != row["rule"].startswith("flipped "):
        found.fault("rule", f"{where}: rule {row['rule']!r} and flipped = {str(row['flipped']).lower()}")
    prompt = row["chosen"][:-1] if whole else row["prompt"]
    if whole and prompt != row["rejected"][:-1]:
        found.fault("conversation", f"{where}: chosen and rejected answer different conversations")
    ends = [row[c][-1:] if whole else row[c] for c in ("chosen", "rejected")]
    if any(len(e) != 1 or e[0]["role"] != "assistant" for e in ends) or not prompt:
        found.fault("conversation", f"{where}: no conversation with two answers by the assistant")
        return
    answers = [e[0]["content"] for e in ends]
    better, worse = answers[::-1] if row["flipped"] else answers
    if pair_id(prompt, better, worse) != row["pair_id"]:
        found.fault("pair_id", f"{where}: its texts or their order are not those of pair {row['pair_id']}")
    if row["pair_id"] <= last[row["flipped"]]:
        what = "stands twice" if row["pair_id"] == last[row["flipped"]] else "is out of order"
        found.fault("order", f"{where}: pair {row['pair_id']} {what}")
    last[row["flipped"]] = row["pair_id"]


def _overlap(
    name: str,
    start: int,
    batch: pa.RecordBatch,
    whole: bool,
    facts: dict[str, Any],
    index: "BenchmarkIndex",
    found: Findings,
) -> None:
    """Rows whose conversations share words with a benchmark, by the rule that the pool was cleaned with."""
    from curation.contamination import scan_conversations, scan_responses

    everything = facts["decontamination"]["scope"] == "all"
    asked = [c[:-1] for c in batch.column("chosen").to_pylist()] if whole else batch.column("prompt").to_pylist()
    names = [str(start + i + 1) for i in range(batch.num_rows)]
    form = schema(True).field("chosen").type
    conversations = pa.record_batch({"conv_id": names, "conversation": pa.array(asked, form)})
    hits = [scan_conversations(index, conversations, everything)]
    if everything:
        answers = {c: [row[-1]["content"] for row in batch.column(c).to_pylist()] for c in ("chosen", "rejected")}
        columns = {n: conversations.column(n) for n in conversations.schema.names}
        hits += scan_responses(index, pa.record_batch(columns | {"pair_id": pa.array(names)} | answers))
    for hit in _unique(hits):
        found.fault(
            "benchmark",
            f"{name}, row {hit['conv_id']}: shares with {hit['benchmark']} {hit['item_id']}: {hit['span']!r}",
        )


def _unique(hits: list[pa.RecordBatch]) -> Iterator[dict[str, Any]]:
    """The first hit of every row."""
    seen = set()
    for batch in hits:
        for hit in batch.to_pylist():
            if hit["conv_id"] not in seen:
                seen.add(hit["conv_id"])
                yield hit


def _counts(facts: dict[str, Any], counted: Counter[tuple], found: Findings) -> None:
    said = {(c["source"], c["label_source"], c["rule"], c["flipped"]): c["pairs"] for c in facts["counted"]}
    for key in sorted({*said, *counted}):
        if said.get(key, 0) != counted[key]:
            source, label_source, rule, flipped = key
            what = f"{source}, verified by {label_source} ({rule}), {'flipped' if flipped else 'not flipped'}"
            found.fault("count", f"{what}: {counted[key]:,} rows, {FACTS} says {said.get(key, 0):,}")
    if counted.total() != facts["pairs"]:
        found.fault("count", f"{counted.total():,} rows in all, {FACTS} says {facts['pairs']:,}")
    released = sum(row["records"] for row in facts["ledger"] if row["class"] == "released")
    if released != facts["pairs"]:
        found.fault("count", f"the ledger of {FACTS} has {released:,} pairs released, the release {facts['pairs']:,}")
    attrition = (facts.get("selection") or {}).get("attrition", [])
    for one, then in zip(attrition, [*attrition[1:], {"before": facts["pairs"]}], strict=False):
        if one["before"] - one["removed"] != one["after"] or one["after"] != then["before"]:
            found.fault("count", f"filter {one['rule']}: {one['after']:,} pairs after it, {then['before']:,} go on")
    flipped = sum(n for key, n in counted.items() if key[3])
    if flipped and facts["snapshot"] != "corrected":
        found.fault("count", f"{flipped:,} rows are flipped in a release of the snapshot {facts['snapshot']}")


def _difference(has: pa.Schema, want: pa.Schema) -> str:
    if has.names != want.names:
        return f"columns {', '.join(has.names)}; a release has {', '.join(want.names)}"
    wrong = next(f for f in want if has.field(f.name) != f)
    return f"column {wrong.name} is {has.field(wrong.name).type}, and has to be {wrong.type}"
