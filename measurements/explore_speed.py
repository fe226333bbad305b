"""How long the page of `assay explore` takes on many pairs, in a real browser.

    python -m measurements.explore_speed [--pairs 100000] [--words 120] [--shots FOLDER]

Makes a lake of generated pairs (texts of so many words from a vocabulary of 5,000), serves the page, and opens it with
the Chromium of the system: the start of the command, the first view, filters, words, a pair, the comparison, SQL. Each
three times; the slowest is printed. Prints Markdown.
"""

import argparse
import multiprocessing
import shutil
import socket
import sys
import tempfile
import time
from pathlib import Path

import duckdb
import pyarrow as pa

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

TIMES = 3


def write_lake(root: Path, pairs: int, words: int):
    """A lake with texts, decisions, scores and attributes of generated pairs in two buckets."""
    from curation import tables as t
    from curation.decision_rule import Rule
    from resources.lake import Lake
    from tests.support.releases import SOURCES, configured

    settings = configured(lake={"buckets": 2, "path": str(root)})
    lake = Lake.of(settings)
    con = duckdb.connect()
    con.execute("SET threads = 2")
    con.execute("SELECT setseed(0.5)")
    con.execute("CREATE MACRO text(i, salt, n) AS array_to_string([left(md5((hash(i * 7 + salt, j) % 5000)::VARCHAR), 3 +"
                " (hash(i, j) % 6)::INT) FOR j IN range(n)], ' ')")  # fmt: skip
    con.execute(f"CREATE MACRO words(i) AS {words // 4} + (hash(i) % {words})::INT")
    names = [s["name"] for s in SOURCES]
    con.execute(f"CREATE TABLE ids AS SELECT i, md5(i::VARCHAR) AS pair_id, {names!r}[1 + i % 3] AS source, i % 2 AS b"
                f" FROM range({pairs}) r(i)")  # fmt: skip
    bodies = (
        "SELECT pair_id, md5('c' || i) AS conv_id, md5('x' || i) AS comparison_id,"
        " [{'role': 'user', 'content': text(i, 1, words(i) // 3)}] AS conversation, text(i, 2, words(i)) AS chosen,"
        " text(i, 3, words(i + 1)) AS rejected, source, 'human' AS label_origin, 'stage2' AS stage, 0 AS joined"
    )
    for b in range(2):
        part, key = f"FROM ids WHERE b = {b}", f"b{b:02d}"
        clean = (
            f"{bodies}, i AS row, 0 AS part, 1 AS copies, []::VARCHAR[] AS also_in, false AS conflict, 1000 AS n_chars,"
        )
        lake.write(t.CLEAN_POOL, con.sql(f"{clean} md5('k' || i) AS cluster_id {part}"), key)
        decided = (
            f"SELECT pair_id, ['keep', 'keep', 'flip', 'drop'][1 + i % 4] AS class, '+' AS b, '+' AS g, '' AS j, 'best' AS"
            f" route, 'agreed' AS reason, 'v2' AS rule, NULL::DOUBLE AS p_right {part}"
        )
        lake.write(t.DECISIONS, _fitting(con, decided, t.DECISIONS), key)
        scored = f"SELECT pair_id, (hash(i) % 1000) / 1000.0 AS p_best, (hash(i + 1) % 1000) / 1000.0 AS p_gold {part}"
        lake.write(t.SCORES, _fitting(con, scored, t.SCORES), key)
        about = (
            "SELECT pair_id, ['math', 'coding & debugging', 'advice seeking'][1 + i % 3] AS category,"
            " ['objective', 'subjective'][1 + i % 2] AS objectivity, ['low', 'medium'][1 + (i // 2) % 2] AS"
            f" controversiality, '' AS desired, '' AS guideline {part}"
        )
        lake.write(t.STAGE2_ATTRIBUTES, _fitting(con, about, t.STAGE2_ATTRIBUTES), key)
    rule = Rule(policy="both")
    row = rule.model_dump(include={"decision", "policy", "threshold", "band"}) | {"rule": rule.id, "file": rule.dumps()}
    lake.write(t.DECISION_RULE, pa.Table.from_pylist([row], t.DECISION_RULE.schema))
    for name in names:
        raw = f"{bodies}, i AS row, 0 AS part, 1 AS priority, 1000 AS n_chars, NULL::DOUBLE AS ahead_by"
        lake.write(t.RAW_POOL, con.sql(f"{raw} FROM ids WHERE source = '{name}'"), name)
    return settings, lake


def _fitting(con: duckdb.DuckDBPyConnection, query: str, table) -> duckdb.DuckDBPyRelation:
    """The rows with what the table has beside, empty."""
    rows = con.sql(query)
    blank = {"string": "''", "int64": "0", "double": "0.0", "bool": "false"}
    columns = [
        f.name if f.name in rows.columns else f"{'NULL' if f.nullable else blank.get(str(f.type), 'NULL')} AS {f.name}"
        for f in table.schema
    ]
    return rows.select(", ".join(columns))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--words", type=int, default=120)
    parser.add_argument("--shots", type=Path, help="folder for screenshots")
    asked = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="assay-explore-"))
    try:
        settings, lake = write_lake(work / "lake", asked.pairs, asked.words)
        size = sum(p.stat().st_size for p in (work / "lake").rglob("*.parquet")) / 1e6
        print(f"{asked.pairs:,} pairs, {size:,.0f} MB of Parquet\n")
        print("| | seconds, the slowest of three |\n|---|---|")
        for what, seconds in measured(settings, lake, asked.shots):
            print(f"| {what} | {seconds:.2f} |", flush=True)
    finally:
        shutil.rmtree(work)
    return 0


def measured(settings, lake, shots: Path | None):
    """(what, seconds) of everything that somebody does on the page."""
    from cli import explore
    from tests.support.browser import browser

    begin = time.monotonic()
    context = multiprocessing.get_context("fork")
    links, told = context.Pipe(duplex=False)

    def serve() -> None:
        import uvicorn

        made = explore.explorer(settings, lake)
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        told.send(f"http://127.0.0.1:{listening.getsockname()[1]}/open/{made.token}")
        config = uvicorn.Config(explore.app(made), log_level="warning", access_log=False)
        uvicorn.Server(config).run(sockets=[listening])

    process = context.Process(target=serve, daemon=True)
    process.start()
    link = links.recv()
    yield "start, until the link is printed", time.monotonic() - begin
    one = duckdb.sql("SELECT md5('77')").fetchall()[0][0]
    visits = {
        "first view": ("/", ""),
        "filter by class and source": ("/?class=flip&source=open", "flip"),
        "filter by score": ("/?p_best_from=0.9", "score"),
        "filter by two words that are there": ("/?text=6f4 ", ""),
        "filter by words that nowhere are": ("/?text=nowheretobefound", ""),
        "page 1,000": ("/?page=999", ""),
        "a pair with its story": (f"/pair/{one}", "pair"),
        "before and after": ("/compare?by=category", "compare"),
        "SQL": ("/sql?q=SELECT source, class, count(*) AS pairs FROM explored GROUP BY ALL ORDER BY pairs DESC", "sql"),
    }
    try:
        with browser() as chromium:
            tab = chromium.new_page(viewport={"width": 1400, "height": 900})
            tab.goto(link)
            base = link.partition("/open/")[0]
            for what, (path, shot) in visits.items():
                seconds = []
                for _ in range(TIMES):
                    begin = time.monotonic()
                    tab.goto(base + path)
                    seconds.append(time.monotonic() - begin)
                yield what, max(seconds)
                if shots and (shot or path == "/"):
                    shots.mkdir(parents=True, exist_ok=True)
                    tab.screenshot(path=shots / f"{shot or 'first'}.png")
    finally:
        process.kill()
        process.join()


if __name__ == "__main__":
    sys.exit(main())
