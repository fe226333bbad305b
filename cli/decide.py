"""Stage 2 decided again from what is stored: a rule file, scores, verdicts."""

from pathlib import Path

from rich.table import Table as Grid

from cli.terminal import Console
from curation.decision_rule import decide, loads
from resources.lake import Lake
from sql import statement


def again(lake: Lake, rule_file: Path | None, scores: Path | None, verdicts: Path | None, out: Path | None) -> bool:
    """Apply a rule to stored scores and verdicts and print how many pairs fall in each class.

    Args:
        rule_file: as written beside the lake's decisions; None takes the lake's own.
        scores, verdicts: Parquet files with the columns of the tables `scores` and `stage2_verdicts`; None takes the
            lake's.
        out: folder for keep.txt, flip.txt and drop.txt, one pair id a line, sorted.

    Returns:
        False when the lake's decisions are by this very rule and differ.

    Raises:
        RuleError: the file is no rule, or it was calibrated on other models.
        OSError, duckdb.Error: a file cannot be read or has other columns.
    """
    console = Console()
    with lake.connect() as con:
        path = rule_file or Path(lake.root) / "decisions" / "rule.json"
        rule = loads(path.read_text(encoding="utf-8"))
        tables = [
            con.read_parquet(str(file)) if file else con.table(name)
            for file, name in ((scores, "scores"), (verdicts, "stage2_verdicts"))
        ]
        decide(con, rule, *tables).create("decided")
        grid = Grid("class", "reason", "pairs", title=rule.id, title_justify="left")
        found = con.execute(statement("report/decided_counted")).fetchall()
        for name, reason, n in found:
            grid.add_row(name, reason, f"{n:,}")
        console.print(grid)
        if rule.guards and rule.guards.why:
            console.print(rule.guards.why)
        if out:
            out.mkdir(parents=True, exist_ok=True)
            for name in ("keep", "flip", "drop"):
                ids = con.sql(statement("report/decided_of_class"), params={"class": name})
                with open(out / f"{name}.txt", "w", encoding="ascii", newline="\n") as f:
                    for batch in ids.to_arrow_reader(50_000):
                        f.writelines(f"{pair}\n" for pair in batch.column(0).to_pylist())
        both, same, by_it = con.execute(statement("report/decided_compared")).fetchall()[0]
        total = con.table("decided").count("*").fetchall()[0][0]
    if not both:
        console.print("The lake has decided none of these pairs.")
        return True
    rule_text = "the same rule" if by_it == both else "another rule"
    console.print(f"The lake decided {both:,} of these {total:,} pairs by {rule_text}: {same:,} in the same class.")
    return same == both or by_it != both
