"""The pages of a release: a data set card that the Hub and `datasets` understand, licenses, attribution, usage, plots."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from curation.languages import UNCLEAR, language
from report.drawing import GOOD, MIXED, PLAIN, QUIET, panels, png
from sql import statement

if TYPE_CHECKING:
    import duckdb

# ways of writing the names of licenses that the Hub knows; whatever is not here is `other`, with its name beside it
HUB_LICENSES = {
    *(
        "apache-2.0",
        "mit",
        "bsd-2-clause",
        "bsd-3-clause",
        "cc0-1.0",
        "odc-by",
        "odbl",
        "openrail",
        "afl-3.0",
        "unlicense",
    ),
    *("cc-by-2.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0"),
    *("cc-by-nc-nd-4.0", "cc-by-nd-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "gpl-3.0", "pddl", "llama3", "gemma"),
}
ALIASES = {"odc-by-1.0": "odc-by", "apache 2.0": "apache-2.0", "apache2.0": "apache-2.0", "cc0": "cc0-1.0"}
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"),
         (10_000_000, "1M<n<10M"), (100_000_000, "10M<n<100M"))  # fmt: skip
FIGURES = {"category": "task", "objectivity": "objectivity", "controversiality": "controversiality",
           "language": "language"}  # fmt: skip
SHOWN = 15  # items of a table


class Languages:
    """Counts the languages of the first rows that pass by; ids are hashes, so they are a sample."""

    def __init__(self, most: int):
        self.most, self.seen = most, Counter[str]()

    def watching(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            left = self.most - self.seen.total()
            for prompt, chosen in zip(
                *(batch.column(n).slice(0, max(0, left)).to_pylist() for n in ("prompt", "chosen")), strict=True
            ):
                asked = "\n".join(t["content"] for t in prompt if t["role"] == "user")
                found = language(asked)
                self.seen[language(f"{asked}\n{chosen[-1]['content']}") if found == UNCLEAR else found] += 1
            yield batch


def origin(path: str) -> str:
    """Where a source is from, for strangers: a data set of the Hub in full, of a file its name alone."""
    if path.startswith("huggingface:"):
        return path
    if re.match(r"\s*(select|from|with)\b", path, re.IGNORECASE):
        return "a query over several files"
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2]


def hub_license(names: Iterable[str]) -> tuple[str, str | None]:
    """(what the Hub calls it, the name where that is `other`)."""
    names = sorted(set(names))
    spelled = {ALIASES.get(n.strip().lower(), n.strip().lower()) for n in names}
    if len(spelled) == 1 and (only := spelled.pop()) in HUB_LICENSES:
        return only, None
    return "other", ", ".join(names)


def write(
    con: "duckdb.DuckDBPyConnection", folder: Path, facts: dict[str, Any], languages: Languages, quotes_others: bool
) -> None:
    """Write README.md, LICENSES.md, ATTRIBUTION.md, USAGE.md and the plots of a release."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    env = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )  # fmt: skip
    env.filters |= {"number": "{:,}".format, "cell": cell, "yaml": quoted}
    pool: dict[str, list[tuple[str, int]]] = {}
    for figure, item, n in con.execute(statement("handover/pool_described")).fetchall():
        pool.setdefault(figure, []).append((item, n))
    license_, license_name = hub_license(s["license"] for s in facts["sources"])
    given = {
        "facts": facts,
        "content": quoted(f"rows {_content(folder, facts['files'])}"),
        "pool": pool,
        "tables": [_compared(title, figure, facts, languages, pool) for figure, title in FIGURES.items()],
        "license": license_,
        "license_name": license_name,
        "languages": sorted(n for n, k in languages.seen.items() if len(n) == 2 and k * 100 >= languages.seen.total()),
        "size": next((name for most, name in SIZES if facts["pairs"] < most), "n>100M"),
        "quotes_others": quotes_others,
        "has_report": (folder / "report.html").exists(),
        "stems": sorted({Path(f).name.split("-")[0] for f in facts["files"]}),
    }
    (folder / "plots").mkdir()
    (folder / "plots" / "ledger.png").write_bytes(_ledger_plot(facts))
    (folder / "plots" / "sources.png").write_bytes(_sources_plot(facts))
    for name in ("README", "LICENSES", "ATTRIBUTION", "USAGE"):
        text = env.get_template(f"{name}.md.j2").render(given)
        (folder / f"{name}.md").write_text(text, encoding="utf-8")


def _content(folder: Path, files: Iterable[str]) -> str:
    """A hash of the rows. `datasets` knows a folder again by its name and by what its page says of configurations: without
    it, the rows of another release of that name would come out of its cache."""
    sums = hashlib.blake2b(digest_size=16)
    for name in sorted(files):
        with open(folder / name, "rb") as file:
            sums.update(hashlib.file_digest(file, "sha256").digest())
    return sums.hexdigest()


def cell(text: object) -> str:
    """Any text as a cell of a Markdown table: nothing in it is markup."""
    flat = re.sub(r"\s+", " ", str(text)).strip()
    return re.sub(r"([\\`*_{}\[\]<>#|!~])", r"\\\1", flat)


def quoted(text: str) -> str:
    """Any text as a string of YAML."""
    import json

    return json.dumps(str(text), ensure_ascii=True)


def _compared(
    title: str, figure: str, facts: dict[str, Any], languages: Languages, pool: dict[str, list[tuple[str, int]]]
) -> dict[str, Any]:
    """One of the four tables: shares of the pool and of the release, what each rests on, and what is not known."""
    if figure == "language":
        mine, looked = dict(languages.seen.most_common()), "by a language detector, in samples"
    else:
        mine = {d["item"]: d["n"] for d in facts["described"] if d["figure"] == figure}
        looked = "as they were labelled"
    unknown = mine.pop("", 0)
    theirs = dict(pool.get(figure, []))
    of_mine, of_theirs = sum(mine.values()), sum(theirs.values())
    items = sorted({*mine, *theirs}, key=lambda i: (-mine.get(i, 0), -theirs.get(i, 0), i))
    return {
        "title": title,
        "looked": looked,
        "n": of_mine,
        "of_pool": of_theirs,
        "unknown": unknown,
        "more": max(0, len(items) - SHOWN),
        "rows": [
            (i, _share(theirs.get(i, 0), of_theirs), mine.get(i, 0), _share(mine.get(i, 0), of_mine))
            for i in items[:SHOWN]
        ],
    }


def _share(n: int, of: int) -> str:
    return f"{100 * n / of:.1f} %" if of else "–"


def _ledger_plot(facts: dict[str, Any]) -> bytes:
    totals: Counter[str] = Counter()
    for row in facts["ledger"]:
        totals[row["class"]] += row["records"]
    names = [name for name, _ in totals.most_common()]
    figure, (axis,) = panels(8, 0.8 + 0.32 * len(names))
    tones = {"released": GOOD, "not_permitted": MIXED}
    axis.barh(names[::-1], [totals[n] for n in names[::-1]], color=[tones.get(n, QUIET) for n in names[::-1]])
    axis.set_xlabel("records")
    axis.set_title("Where every input record ended", loc="left", fontsize=10)
    return png(figure)


def _sources_plot(facts: dict[str, Any]) -> bytes:
    names = [s["source"] for s in sorted(facts["sources"], key=lambda s: (-s["pairs"], s["source"]))][:30]
    figure, (axis,) = panels(8, 0.9 + 0.32 * len(names))
    left = dict.fromkeys(names, 0)
    for flipped, label, tone in ((False, "in the source's order", PLAIN), (True, "flipped", MIXED)):
        sizes = {
            n: sum(c["pairs"] for c in facts["counted"] if c["source"] == n and c["flipped"] == flipped) for n in names
        }
        axis.barh(
            names[::-1], [sizes[n] for n in names[::-1]], left=[left[n] for n in names[::-1]], color=tone, label=label
        )
        left = {n: left[n] + sizes[n] for n in names}
    axis.set_xlabel("pairs")
    axis.legend(frameon=False, fontsize=8)
    axis.set_title("Pairs by source", loc="left", fontsize=10)
    return png(figure)
