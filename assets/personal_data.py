"""The scan for personal data (spec 0.12); off unless `[personal] backend` says otherwise."""

from collections import Counter
from collections.abc import Iterator

import dagster as dg
import pyarrow as pa

from assets.publishing import markdown
from assets.table_asset import Check, Rows, table_asset
from curation.tables import CLEAN_POOL, PERSONAL_DATA, REDACTED
from resources.lake import in_batches
from resources.run import Run
from sql import statement


@table_asset(
    PERSONAL_DATA,
    REDACTED,
    reads=[CLEAN_POOL],
    settings=("personal",),
    group="pool",
    kinds={"python"},
    checks={
        REDACTED: [
            Check(
                "same_turns",
                statement("checks/same_turns"),
                "only contents change",
            ),
        ]
    },
)
def personal_data(run: Run) -> Iterator[Rows]:
    """Every text of every clean pair. The findings say where, never what; the pairs that have any are copied without."""
    from curation.redaction import redacted
    from resources.sources.personal_scan import scanner

    personal = run.settings.personal
    if personal.backend == "none":
        yield Rows(PERSONAL_DATA, PERSONAL_DATA.schema.empty_table())
        yield Rows(REDACTED, REDACTED.schema.empty_table())
        return
    scan, least = scanner(personal), personal.redact_from
    findings: list[dict] = []
    copies: list[dict] = []
    with run.lake.connect() as con:
        pairs = con.sql(statement("pool/personal_texts"), params={"bucket": run.partition})
        for batch in in_batches(pairs):
            for pair in batch.to_pylist():
                texts = {f"turn {i}": t["content"] for i, t in enumerate(pair["conversation"])}
                texts |= {"chosen": pair["chosen"], "rejected": pair["rejected"]}
                found = {place: scan(text) for place, text in texts.items()}
                own = [
                    {"pair_id": pair["pair_id"], "place": place, **f._asdict()}
                    for place, fs in found.items()
                    for f in fs
                ]
                findings += own
                if any(f.sensitivity >= least for fs in found.values() for f in fs):
                    clean = {place: redacted(text, found[place], least) for place, text in texts.items()}
                    turns = [{**t, "content": clean[f"turn {i}"]} for i, t in enumerate(pair["conversation"])]
                    copies.append(
                        {
                            "pair_id": pair["pair_id"],
                            "conversation": turns,
                            "chosen": clean["chosen"],
                            "rejected": clean["rejected"],
                        }
                    )
    counted = Counter((f["kind"], f["sensitivity"]) for f in findings)
    table = markdown(["kind", "sensitivity", "findings"], [(k, s, n) for (k, s), n in sorted(counted.items())])
    about = {"findings": dg.MetadataValue.md(table), "pairs with copies": len(copies)}
    yield Rows(PERSONAL_DATA, pa.Table.from_pylist(findings, PERSONAL_DATA.schema), about)
    yield Rows(REDACTED, pa.Table.from_pylist(copies, REDACTED.schema), about)
