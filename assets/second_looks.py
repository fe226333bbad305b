"""Second looks: runs of 5 to 13 words that pairs share with benchmarks (spec 0.09), and what a judge and people say of
them and of findings of personal data (spec 0.12). Nothing is removed because of them; all of it is off by default."""

import csv
import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import dagster as dg
import pyarrow as pa

from assets.judging import agreed, asked_again, whole_enough
from assets.pool import deduped_bounds, same_texts
from assets.publishing import markdown
from assets.table_asset import Rows, table_asset
from curation.intervals import wilson
from curation.tables import (
    BENCHMARK_OVERLAPS,
    BENCHMARK_PROMPTS,
    CLEAN_POOL,
    DEDUPED,
    OVERLAP_VERDICTS,
    PERSONAL_DATA,
    PERSONAL_VERDICTS,
    RAW_POOL,
    Table,
)
from resources.judges.second_looker import Suspect
from resources.lake import Lake, in_batches, label
from resources.run import Run
from resources.settings import Settings
from resources.settings.models import HOW_CALLED
from sql import statement
from training.atomic import beside

AROUND = 200  # characters on each side of a finding that are shown
MOST_SHOWN = 20_000  # characters of a pair that a judge reads
ASKED = ("pair_id", "place", "start", "kind", "sensitivity", "context", "right")


def _looker(settings: Settings, lake: Lake, _: str | None) -> str:
    """Who looks, what of its configuration decides the answers, and what people have answered."""
    looks = settings.second_looks
    judge = next((j for j in settings.judges.judges if j.name == looks.judge), None)
    path = settings.base / looks.answers if looks.answers else None
    answers = path.read_bytes() if path and path.exists() else b""
    told = (judge.model_dump_json(exclude=set(HOW_CALLED)) if judge else "").encode()
    return hashlib.blake2b(told + b"\0" + answers, digest_size=8).hexdigest()


@table_asset(
    BENCHMARK_OVERLAPS,
    reads=[DEDUPED, RAW_POOL, BENCHMARK_PROMPTS],
    settings=("second_looks",),
    group="pool",
    kinds={"python"},
)
def benchmark_overlaps(run: Run) -> Iterator[Rows]:
    """All texts of every distinct pair. A run of 13 words holds runs of 5, so that most texts are searched once."""
    looks = run.settings.second_looks
    if not looks.overlap:
        yield Rows(BENCHMARK_OVERLAPS, BENCHMARK_OVERLAPS.schema.empty_table())
        return
    same_texts(run)
    from curation.overlaps import indexes, overlaps

    best: dict[tuple[str, str], dict] = {}
    with run.lake.connect() as con:
        prompts = con.execute("SELECT benchmark, item_id, prompt FROM benchmark_prompts ORDER BY ALL").fetchall()
        by_length = indexes(*map(list, zip(*prompts, strict=True)), looks.shortest, looks.longest) if prompts else {}
        texts = con.sql(statement("pool/deduped_texts"), params={"bucket": run.partition, **deduped_bounds(run)})
        for batch in in_batches(texts.select("pair_id, conversation, chosen, rejected")):
            places = [
                (row["pair_id"], place, text)
                for row in batch.to_pylist()
                for place, text in (
                    *((f"turn {i}", t["content"]) for i, t in enumerate(row["conversation"])),
                    ("chosen", row["chosen"]),
                    ("rejected", row["rejected"]),
                )
            ]
            for o in overlaps(by_length, pa.array([text for *_, text in places], pa.string())):
                pair, place, _ = places[o.text]
                if (old := best.get((pair, o.benchmark))) is None or o.n > old["n"]:
                    best[pair, o.benchmark] = {"pair_id": pair, "place": place, "benchmark": o.benchmark,
                                               "item_id": o.item_id, "n": o.n, "span": o.span}  # fmt: skip
    yield Rows(
        BENCHMARK_OVERLAPS, pa.Table.from_pylist(list(best.values()), BENCHMARK_OVERLAPS.schema), {"flags": len(best)}
    )


@table_asset(
    OVERLAP_VERDICTS,
    reads=[BENCHMARK_OVERLAPS, DEDUPED, RAW_POOL, BENCHMARK_PROMPTS],
    settings=("second_looks", "seed"),
    settings_seen=("judges",),
    external_version=_looker,
    group="pool",
    kinds={"openai"},
    pool="llm",
    retry_reason=asked_again(OVERLAP_VERDICTS),
)
def overlap_verdicts(run: Run) -> Iterator[Rows]:
    """How many flags of each length are false, from a draw."""
    looks = run.settings.second_looks
    asked = {"flags": looks.flags, "seed": str(run.settings.seed)}
    with run.lake.connect() as con:
        flags = (
            con.sql(statement("pool/overlaps_drawn"), params=asked).to_arrow_table().to_pylist() if looks.judge else []
        )
    findings = [
        Suspect({"benchmark_task": f["prompt"][:MOST_SHOWN], "shared_words": f["span"], "pair": _whole(f)}, f["n"])
        for f in flags
    ]
    said, shown = _look(run, "overlap", OVERLAP_VERDICTS, findings)
    rows = [{k: f[k] for k in ("pair_id", "benchmark", "n")} | s for f, s in zip(flags, said, strict=True)]
    lengths = sorted({f["n"] for f in flags})
    false = {n: [r["verdict"] == "false_positive" for r in rows if r["n"] == n and r["verdict"]] for n in lengths}
    rates = [(n, len(v), sum(v), *_percent(sum(v), len(v))) for n, v in false.items()]
    about = markdown(["words", "looked at", "false", "rate", "95 %"], rates)
    yield Rows(OVERLAP_VERDICTS, pa.Table.from_pylist(rows, OVERLAP_VERDICTS.schema),
               {"false positives": dg.MetadataValue.md(about)}, shown)  # fmt: skip


@table_asset(
    PERSONAL_VERDICTS,
    reads=[PERSONAL_DATA, CLEAN_POOL],
    settings=("second_looks", "seed"),
    settings_seen=("judges",),
    external_version=_looker,
    group="pool",
    kinds={"openai"},
    pool="llm",
    retry_reason=asked_again(PERSONAL_VERDICTS),
)
def personal_verdicts(run: Run) -> Iterator[Rows]:
    """A judge looks at findings of sensitivity 2 and 3, and at as many others; people get a sample of each as a file."""
    looks = run.settings.second_looks
    asked = {"n": looks.findings if looks.judge else 0, "sample": looks.sample, "seed": str(run.settings.seed)}
    with run.lake.connect() as con:
        found = con.sql(statement("pool/findings_drawn"), params=asked).to_arrow_table().to_pylist()
    for_judge = [f for f in found if f["for_judge"]]
    findings = [
        Suspect({"kind": f["kind"], "marked": f["text"][f["start"] : f["stop"]], "text_around": _context(f)}, f["sensitivity"])
        for f in for_judge
    ]  # fmt: skip
    said, shown = _look(run, "personal", PERSONAL_VERDICTS, findings)
    key = ("pair_id", "place", "start", "sensitivity")
    rows = [{k: f[k] for k in key} | s for f, s in zip(for_judge, said, strict=True)]
    sample = [f for f in found if f["for_people"]]
    about: dict = {"for people": len(sample)}
    people = _people_said(run.settings, sample)
    if sample:
        about["sample"] = dg.MetadataValue.path(_ask_people(run.lake, sample))
    rows += [
        {k: f[k] for k in key}
        | {"judge": "people", "status": "ok", "request_key": "", "cost_micros": 0, "simulated": False, "verdict": v}
        for f, v in people
    ]  # fmt: skip
    counted = [
        (s, sum(r["judge"] != "people" and r["sensitivity"] == s and r["verdict"] in ("direct", "indirect") for r in rows),
         sum(r["judge"] != "people" and r["sensitivity"] == s and r["verdict"] != "" for r in rows),
         sum(r["verdict"] == "yes" and r["sensitivity"] == s for r in rows),
         sum(r["judge"] == "people" and r["sensitivity"] == s for r in rows))
        for s in sorted({r["sensitivity"] for r in rows})
    ]  # fmt: skip
    columns = ["sensitivity", "confirmed by the judge", "of", "confirmed by people", "of"]
    about["confirmed"] = dg.MetadataValue.md(markdown(columns, counted))
    yield Rows(PERSONAL_VERDICTS, pa.Table.from_pylist(rows, PERSONAL_VERDICTS.schema), about, shown)


def _look(
    run: Run, kind: Literal["overlap", "personal"], table: Table, findings: Sequence[Suspect]
) -> tuple[list[dict], dict]:
    """What the judge says of each, and what of its answers is missing."""
    name = label(table, None)
    made = run.judges.looker(run.settings, run.lake, kind, name)
    if made is None or not findings:
        return [], {"missing": {}}
    agreed(run, [made.estimate(findings)], name)
    said = made.look(findings)
    accepted = {j.name for j in run.settings.judges.judges if j.accept_missing}
    return said, {"missing": whole_enough(run.lake, made.ends, accepted)}


def _whole(pair: dict) -> str:
    turns = [f"[{t['role']}]\n{t['content']}" for t in pair["conversation"]]
    return "\n\n".join([*turns, f"[chosen]\n{pair['chosen']}", f"[rejected]\n{pair['rejected']}"])[:MOST_SHOWN]


def _context(finding: dict) -> str:
    return finding["text"][max(0, finding["start"] - AROUND) : finding["stop"] + AROUND]


def _percent(hits: int, n: int) -> tuple[str, str]:
    e = wilson(hits, n)
    if e.value is None or e.low is None or e.high is None:
        return "", ""
    return f"{100 * e.value:.1f} %", f"{100 * e.low:.1f} to {100 * e.high:.1f}"


def _ask_people(lake: Lake, sample: Sequence[dict]) -> str:
    """Write the sample as a file that its owner alone can read, since it holds what was found; returns where it lies. What
    was filled in there for findings that are in the sample still stays."""
    path = lake.folder("personal") / "sample.csv"
    filled = {}
    if path.exists():
        with path.open(encoding="utf-8-sig", newline="") as file:
            filled = {_key(row): row.get("right") or "" for row in csv.DictReader(file)}
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(ASKED)
    for f in sample:
        text, start, stop = f["text"], f["start"], f["stop"]
        # the first character keeps a spreadsheet from taking a text for a formula
        context = f"…{text[max(0, start - AROUND) : start]}>>>{text[start:stop]}<<<{text[stop : stop + AROUND]}"
        writer.writerow([*(f[k] for k in ASKED[:5]), context, filled.get(_key(f), "")])
    with beside(path) as new:
        new.touch(mode=0o600)
        new.write_bytes(out.getvalue().encode())
        new.replace(path)
    return str(path)


def _key(row: Mapping) -> tuple[str, str, str]:
    """Of a finding, also as a line of the file has it."""
    return str(row.get("pair_id")), str(row.get("place")), str(row.get("start"))


def _people_said(settings: Settings, sample: Sequence[dict]) -> list[tuple[dict, str]]:
    """(finding, yes or no) of those that people have answered.

    Raises:
        dagster.Failure: a line of the file cannot be read; it names line and reason.
    """
    if settings.second_looks.answers is None:
        return []
    path = settings.base / settings.second_looks.answers
    by_key = {_key(f): f for f in sample}
    found = []
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as e:
        raise dg.Failure(f"second_looks.answers: {path} cannot be read: {e}", allow_retries=False) from None
    reader = csv.DictReader(io.StringIO(text))
    if missing := sorted({"pair_id", "place", "start", "right"} - set(reader.fieldnames or ())):
        raise dg.Failure(
            f"second_looks.answers: {path} has no column {', '.join(missing)}; columns are divided by commas",
            allow_retries=False,
        )
    for number, row in enumerate(reader, 2):
        key = _key(row)
        right = (row.get("right") or "").strip().lower()
        if right == "":
            continue
        if right not in ("yes", "no"):
            raise dg.Failure(
                f"second_looks.answers: {path}, line {number}: right is {right!r}; allowed are yes, no and nothing",
                allow_retries=False,
            )
        if key in by_key:  # a finding of an earlier sample is none of this one
            found.append((by_key[key], right))
    return found
