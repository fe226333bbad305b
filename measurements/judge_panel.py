"""What recorded judges are worth, and whether weights, Dawid-Skene or both orders beat counting heads.

    python -m measurements.judge_panel [--plots FOLDER]

Reads recorded verdicts under $ASSAY_SHARED/data: LLMBar (six judges in both orders; labels by its authors or people),
PRD on Vicuna-80 (five judges in both orders; up to three people a pair), AlpacaFarm (GPT-4 with two prompts, four seeds
each, and Claude; one label by people) and AlpacaEval's judges (no people; price and time a label). Every fitted figure is
on pairs that the fit did not see (five folds); intervals are 95 % and know that votes on one pair go together; gains are
paired, with a bootstrap over pairs.
"""

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from curation.intervals import paired_difference, wilson
from curation.judge_cards import CARD_SCHEMA, ONE_ORDER, PEOPLE, cards, methods, panel_card
from report.plots import judge_cards_png

DATA = Path(os.environ.get("ASSAY_SHARED", Path(__file__).parents[2] / "shared")) / "data"
FIGURES = (
    "agrees_with_people", "agrees_with_one_person", "prefers_first", "flips_with_order", "repeats_itself",
    "prefers_longer", "decides",
)  # fmt: skip


@dataclass(frozen=True)
class Recorded:
    """Votes as in `judge_votes`, what is known of their pairs, and single people's labels. Which response stands as
    the chosen one is arbitrary and carries no label."""

    votes: pa.Table
    known: pa.Table
    people: pa.Table = field(default_factory=PEOPLE.empty_table)


def _votes(con: duckdb.DuckDBPyConnection, rows: str) -> pa.Table:
    """From (pair_id, judge, shown_first, vote): vote is original, swapped, tie, or null where nothing could be read."""
    return con.sql(
        f"""SELECT pair_id, judge, judge AS model, shown_first, coalesce(vote, 'none') AS vote,
            row_number() OVER (PARTITION BY pair_id, judge ORDER BY shown_first, vote) - 1 AS replicate,
            CASE WHEN vote IN ('original', 'swapped')
                THEN CASE WHEN (vote = 'original') = (shown_first = 'chosen') THEN 'candidate_1' ELSE 'candidate_2' END
                ELSE coalesce(vote, '') END AS answer,
            CASE WHEN vote IS NULL THEN 'unparsable' ELSE 'ok' END AS status
        FROM ({rows}) ORDER BY pair_id, judge, replicate"""
    ).to_arrow_table()


def llmbar(con: duckdb.DuckDBPyConnection) -> Recorded:
    votes = _votes(
        con,
        f"""SELECT subset || '/' || idx AS pair_id, judge,
            CASE "order" WHEN 'original' THEN 'chosen' ELSE 'rejected' END AS shown_first,
            CASE winner WHEN '1' THEN 'original' WHEN '2' THEN 'swapped' END AS vote
        FROM '{DATA / "gold/llmbar_judges.parquet"}'
        WHERE strategy = 'Vanilla' AND stage = 0 AND "order" IN ('original', 'swapped')""",
    )
    con.register("votes", votes)
    known = con.sql(
        f"""SELECT _subset || '/' || _idx AS pair_id, CASE label WHEN 1 THEN 'original' ELSE 'swapped' END AS verified_order,
            [CASE WHEN _subset LIKE '%Adversarial%' THEN 'adversarial' WHEN _subset LIKE '%Natural%' THEN 'natural'
                WHEN _subset LIKE 'Processed%' THEN 'people''s labels' ELSE 'case studies' END] AS strata,
            length(output_1) AS chosen_chars, length(output_2) AS rejected_chars
        FROM '{DATA / "gold/llmbar.jsonl.zst"}' WHERE pair_id IN (SELECT pair_id FROM votes)"""
    ).to_arrow_table()
    return Recorded(votes, known)


def prd(con: duckdb.DuckDBPyConnection) -> Recorded:
    """Pairs are (question, two models in the order of the alphabet); the models and their order stand in the path."""
    models = r"regexp_extract(_path, 'answer[_-](.+?)-vs-answer[_-](.+?)-(?:{end})', ['first', 'second'])"
    named = models.format(end="bard|claude|gpt35|gpt4|vicuna-13b|human")
    shown = (
        f"SELECT *, {named} AS m, question_id || '/' || least(m['first'], m['second']) || '/' || greatest(m['first'], m['second'])"
        " AS pair_id, CASE WHEN m['first'] < m['second'] THEN 'chosen' ELSE 'rejected' END AS shown_first,"
        " CASE WHEN score = 3 THEN 'tie' WHEN (score = 1) = (m['first'] < m['second']) THEN 'original' ELSE 'swapped' END AS vote"
    )
    reviews = f"{shown} FROM '{DATA / 'pool/prd_vicuna80_llm_reviews.jsonl.zst'}'"
    votes = _votes(
        con,
        "SELECT pair_id, regexp_extract(_path, 'ratings-([^/]+)/', 1) AS judge, shown_first, any_value(vote) AS vote"
        f" FROM ({reviews}) GROUP BY pair_id, judge, shown_first",
    )
    con.register("votes", votes)
    people = con.sql(
        "SELECT pair_id, row_number() OVER (PARTITION BY pair_id ORDER BY shown_first, vote)::VARCHAR AS annotator, vote"
        f" FROM ({shown} FROM '{DATA / 'gold/prd_vicuna80_human.jsonl.zst'}')"
        " WHERE pair_id IN (SELECT pair_id FROM votes) ORDER BY ALL"
    ).to_arrow_table()
    con.register("people", people)
    con.execute(
        "CREATE OR REPLACE TEMP TABLE answers AS SELECT DISTINCT ON (question_id, model) question_id, model, chars FROM ("
        f" SELECT question_id, answer1_id AS answer_id, m['first'] AS model FROM ({reviews}) UNION"
        f" SELECT question_id, answer2_id, m['second'] FROM ({reviews})) JOIN (SELECT answer_id, length(text) AS chars"
        f" FROM '{DATA / 'pool/prd_vicuna80_answers.jsonl.zst'}') USING (answer_id)"
    )
    known = con.sql(
        f"""WITH said AS (
            SELECT pair_id, count(*) FILTER (vote = 'original') AS o, count(*) FILTER (vote = 'swapped') AS s, count(*) AS n
            FROM people GROUP BY pair_id
        )
        SELECT pair_id, CASE WHEN o > s THEN 'original' WHEN s > o THEN 'swapped' END AS verified_order,
            [CASE WHEN greatest(o, s) = n AND n > 1 THEN 'people agree' WHEN n > 1 THEN 'people differ' ELSE 'one person' END,
             category] AS strata,
            a.chars AS chosen_chars, b.chars AS rejected_chars
        FROM said JOIN '{DATA / "pool/prd_vicuna80_questions.jsonl"}' q
            ON q.question_id = split_part(pair_id, '/', 1)::BIGINT
        JOIN answers a ON a.question_id = q.question_id AND a.model = split_part(pair_id, '/', 2)
        JOIN answers b ON b.question_id = q.question_id AND b.model = split_part(pair_id, '/', 3)"""
    ).to_arrow_table()
    decided = people.filter(pc.not_equal(people["vote"], "tie"))
    return Recorded(votes, known, decided)


def alpacafarm(con: duckdb.DuckDBPyConnection) -> Recorded:
    """The 100 pairs with a label by people; in which order a judge saw them is not recorded."""
    gold = f"'{DATA / 'gold/alpacafarm_claude_vs_gold_100.json.gz'}'"
    votes = _votes(
        con,
        f"""SELECT md5(output_1 || output_2) AS pair_id, annotator AS judge, 'chosen' AS shown_first,
            CASE preference WHEN 1 THEN 'original' WHEN 2 THEN 'swapped' END AS vote
        FROM '{DATA / "pool/alpacafarm_gpt4_seeds.parquet"}'
        UNION ALL
        SELECT md5(output_1 || output_2), 'claude', 'chosen',
            CASE preference WHEN 1 THEN 'original' WHEN 2 THEN 'swapped' END FROM {gold}""",
    )
    known = con.sql(
        f"""SELECT DISTINCT ON (pair_id) md5(output_1 || output_2) AS pair_id,
            CASE gold_preference WHEN 1 THEN 'original' WHEN 2 THEN 'swapped' END AS verified_order, []::VARCHAR[] AS strata,
            length(output_1) AS chosen_chars, length(output_2) AS rejected_chars
        FROM {gold}"""
    ).to_arrow_table()
    return Recorded(votes.filter(pc.is_in(votes["pair_id"], known["pair_id"])), known)


def alpacaeval(con: duckdb.DuckDBPyConnection) -> Recorded:
    """Nobody decided these pairs. The order a judge saw is recorded for one of the judges only."""
    rows = f"'{DATA / 'pool/alpaca_eval_two_judges.parquet'}' WHERE output_1 <> output_2"
    votes = _votes(
        con,
        f"""SELECT _pair_md5 AS pair_id, annotator AS judge,
            CASE WHEN referenced_models LIKE '%"m": "output_2"%' THEN 'rejected' ELSE 'chosen' END AS shown_first,
            CASE WHEN preference BETWEEN 1 AND 1.4999999 THEN 'original' WHEN preference > 1.5 THEN 'swapped'
                WHEN preference = 1.5 THEN 'tie' END AS vote
        FROM {rows}""",
    )
    known = con.sql(
        f"""SELECT _pair_md5 AS pair_id, NULL::VARCHAR AS verified_order, []::VARCHAR[] AS strata,
            any_value(length(output_1)) AS chosen_chars, any_value(length(output_2)) AS rejected_chars
        FROM {rows} GROUP BY 1"""
    ).to_arrow_table()
    return Recorded(votes, known)


def paid(con: duckdb.DuckDBPyConnection, file: str) -> dict[str, tuple[float, float]]:
    """Judge -> dollars and seconds a label, as recorded with the labels."""
    rows = con.execute(
        f"SELECT annotator, avg(price_per_example), avg(time_per_example) FROM '{DATA / 'pool' / file}' GROUP BY 1"
    ).fetchall()
    return {judge: (dollars, seconds) for judge, dollars, seconds in rows}


PANELS: dict[str, tuple[str, Callable[[duckdb.DuckDBPyConnection], Recorded], str | None]] = {
    "llmbar": ("LLMBar", llmbar, None),
    "prd": ("PRD on Vicuna-80", prd, None),
    "alpacafarm": ("AlpacaFarm, 100 pairs with people's labels", alpacafarm, "alpacafarm_gpt4_seeds.parquet"),
    "alpacaeval": ("AlpacaEval's judges", alpacaeval, "alpaca_eval_two_judges.parquet"),
}
NO_ORDERS = ("alpacafarm", "alpacaeval")  # where both orders were not shown, or nobody wrote down which


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plots", type=Path, help="write pictures of the report cards into this folder")
    options = parser.parse_args()
    for key, (title, load, prices) in PANELS.items():
        with duckdb.connect() as con:
            found = load(con)
            money = paid(con, prices) if prices else {}
        _report(key, title, found, money, options.plots)


def _report(key: str, title: str, found: Recorded, money: dict[str, tuple[float, float]], plots: Path | None) -> None:
    card = cards(found.votes, found.known, found.people)
    if key in NO_ORDERS:
        card = card.filter(pc.invert(pc.is_in(card["figure"], pa.array(["prefers_first", "flips_with_order"]))))
    decided = len(found.known) - found.known["verified_order"].null_count
    print(f"\n## {title}: {found.known.num_rows:,} pairs, {decided:,} with a known verdict\n")
    whole = [r for r in card.to_pylist() if r["stratum"] == "all"]
    by = {(r["judge"], r["figure"]): r for r in whole}
    judges = sorted({j for j, _ in by})
    figures = [f for f in FIGURES if any((j, f) in by for j in judges)]
    head = ["judge", *(f.replace("_", " ") for f in figures), *(["$ a label", "s a label"] if money else [])]
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for j in judges:
        cells = [_share(by.get((j, f))) for f in figures]
        cells += [f"{v:.4f}" for v in money.get(j, ())] if money else []
        print("| " + " | ".join([j, *cells]) + " |")
    strata = sorted({r["stratum"] for r in card.to_pylist() if r["stratum"] != "all"})
    if strata:
        print(f"\n| agrees with people | {' | '.join(strata)} |\n|" + "---|" * (len(strata) + 1))
        for j in judges:
            rows = {r["stratum"]: r for r in card.to_pylist()
                    if (r["judge"], r["figure"]) == (j, "agrees_with_people")}  # fmt: skip
            print(f"| {j} | " + " | ".join(_share(rows.get(s)) for s in strata) + " |")
    if decided:
        card = pa.concat_tables([card, _ways(found, key)])
    if plots:
        plots.mkdir(parents=True, exist_ok=True)
        (plots / f"judges_{key}.png").write_bytes(judge_cards_png(card.to_pylist(), title))


def _ways(found: Recorded, key: str) -> pa.Table:
    """Print what every way from votes to a verdict is worth, in all and by stratum; rows for the plot."""
    known = found.known.filter(pc.is_valid(found.known["verified_order"]))
    whole = None
    named = [names[:1] for names in known["strata"].to_pylist()]
    strata = sorted({s for names in named for s in names})
    for stratum in ["all", *strata] if len(strata) > 1 else ["all"]:
        some = known if stratum == "all" else known.filter(pa.array([stratum in names for names in named]))
        if some.num_rows < 50:
            continue
        votes = found.votes.filter(pc.is_in(found.votes["pair_id"], some["pair_id"]))
        credits = methods(votes, some)
        if key in NO_ORDERS:
            names = {
                n: n.replace("both orders decide", "the majority decides").removesuffix(", both orders")
                for n in credits
            }
            credits = {names[n]: c for n, c in credits.items() if n != ONE_ORDER}
        base = credits.get(ONE_ORDER, credits.get("majority"))
        made = panel_card(credits, votes, some) if key not in NO_ORDERS else CARD_SCHEMA.empty_table()
        whole = made if whole is None else whole
        effective = {r["figure"]: r for r in made.to_pylist() if r["judge"] == "panel"}.get("effective_votes")
        judges = len(set(votes["judge"].to_pylist()))
        worth = f", {judges} judges worth {effective['value']:.2f} votes on {effective['n']} pairs" if effective else ""
        print(f"\n{stratum}: {some.num_rows} pairs{worth}\n")
        print(
            "| way | agrees with people where it decides | decides | undecided count a half | gain in that over the paper's |"
        )
        print("|---|---|---|---|---|")
        for name, earned in credits.items():
            gain = paired_difference(earned, base)
            value, low, high = (f"{v * 100:+.1f}" for v in gain)
            decided = earned[earned != 0.5]
            right = wilson(float(decided.sum()), len(decided))
            cells = [name, "–" if right.value is None else f"{right.value:.1%} ({right.low:.1%} to {right.high:.1%})"]
            cells += [f"{len(decided) / len(earned):.1%}", f"{earned.mean():.1%}"]
            print("| " + " | ".join([*cells, "–" if earned is base else f"{value} ({low} to {high})"]) + " |")
    return CARD_SCHEMA.empty_table() if whole is None else whole


def _share(row: dict | None) -> str:
    if row is None or row["value"] is None:
        return "–"
    return f"{row['value'] * 100:.1f} ({row['low'] * 100:.1f} to {row['high'] * 100:.1f})"


if __name__ == "__main__":
    main()
