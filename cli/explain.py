"""The story of one pair, from every table that knows it."""

import json

import duckdb

from cli.terminal import Console
from curation.decision_rule import loads
from resources.lake import Lake
from sql import statement


class UnknownPair(Exception):
    """No pair has this id, or several do."""


def story(lake: Lake, pair_id: str, console: Console | None = None) -> None:
    """Print where a pair came from, what was found out about it, who said what, and what became of it.

    Raises:
        UnknownPair: no pair has this id or prefix, or more than one has.
    """
    out = console or Console(highlight=False)

    def say(text: str = "") -> None:
        out.print(text, markup=False, soft_wrap=True)

    with lake.connect() as con:

        def rows(query: str, **values: str) -> list[dict]:
            return con.sql(query, params=values).to_arrow_table().to_pylist()

        def of_pair(table: str, order: str = "pair_id") -> list[dict]:
            """The rows of a table that tell of the pair."""
            one = duckdb.ColumnExpression("pair_id") == duckdb.ConstantExpression(pair_id)
            return con.table(table).filter(one).order(order).to_arrow_table().to_pylist()

        found = rows("SELECT DISTINCT pair_id FROM raw_pool WHERE starts_with(pair_id, $start) LIMIT 3", start=pair_id)
        if len(found) != 1:
            raise UnknownPair(
                f"no pair has the id {pair_id!r}" if not found else f"{pair_id!r} is the start of several pair ids"
            )
        pair_id = found[0]["pair_id"]
        records = of_pair("raw_pool", "priority, source, row")
        first = records[0]
        say(f"pair {pair_id}")
        for turn in first["conversation"]:
            say(f"  {turn['role']}: {_short(turn['content'])}")
        say(f"  chosen by the original label:   {_short(first['chosen'])}")
        say(f"  rejected by the original label: {_short(first['rejected'])}")

        say("\nWhere it came from")
        lost = {(r["source"], r["row"]): r for r in of_pair("duplicates")}
        for r in records:
            note = f"{r['label_origin']} label, enters at {r['stage']}"
            if duplicate := lost.get((r["source"], r["row"])):
                note = f"duplicate, removed: {duplicate['kept_source']} row {duplicate['kept_row']} was kept"
            say(f"  {r['source']} row {r['row']}: {note}")
        mirrors = rows(statement("explain/mirrors"), comparison=first["comparison_id"], pair=pair_id)
        for r in mirrors:
            say(f"  contradicted by {r['source']} row {r['row']} (pair {r['pair_id']}): same responses, opposite label")

        for r in of_pair("contaminated"):
            say(f"\nRemoved: contaminated with {r['benchmark']} {r['item_id']} by {r['rule']}: “{r['span']}”")
            return

        for table in ("attributes", "stage2_attributes"):
            for r in of_pair(table):
                say(f"\nAttributes ({r['labeller']})")
                say(f"  {r['category']}, {r['objectivity']}, {r['controversiality']} controversiality")
                say(f"  wanted: {_short(r['desired'])}\n  guideline: {_short(r['guideline'])}")

        asked = of_pair("annotation_batch")
        for r in asked:
            say(f"\nStage 1, {r['iteration']}: given to {r['assigned_to']} because it was {_why(r['why'])}")
        for r in of_pair("retrieved", "iteration"):
            say(
                f"  {r['iteration']}: retrieved as neighbour {r['rank']} of gold pair {r['query_pair']}"
                f" (similarity {r['similarity']:.3f}), which the model had at p = {r['p_query']:.3f}"
            )
        for r in of_pair("response_checks", "side"):
            say(f"  {r['judge']}{_simulated(r)}, shown the {r['side']} response alone: {r['answer'] or r['status']}")
        for r in of_pair("human_labels", "event_id"):
            say(f"  {r['annotator']}{_simulated(r)}: {r['verdict']} ({r['shown_first']} was shown first)")
        for r in of_pair("edited_attributes"):
            say(f"  attributes corrected by {', '.join(r['edited_by'])}")
            say(f"    {r['category']}, {r['objectivity']}, {r['controversiality']} controversiality")
            say(f"    wanted: {_short(r['desired'])}\n    guideline: {_short(r['guideline'])}")
        for table in ("judge_votes", "stage2_votes"):
            votes = of_pair(table, "judge, replicate")
            if votes:
                say("  judges:" if table == "judge_votes" else "\nJudges in stage 2")
            for r in votes:
                answer = r["answer"] or r["status"]
                say(
                    f"    {r['judge']}{_simulated(r)} #{r['replicate']}: {answer}, that is {r['vote']}"
                    f" ({r['shown_first']} was candidate_1, {len(r['examples'])} gold examples)"
                )
            if votes and votes[0]["examples"]:
                say(f"    nearest gold example: {votes[0]['examples'][0]}")
        for r in of_pair("audit", "event_id"):
            say(
                f"  looked at in stage 2 by {r['annotator']}{_simulated(r)}: {r['verdict']} ({r['shown_first']} was shown first)"
            )
        for table in ("verdicts", "stage2_verdicts"):
            for r in of_pair(table):
                say(f"  verdict: {r['verdict']} ({r['reason']}, {r['voices']} voices {json.loads(r['votes'])})")

        for r in rows(statement("explain/scores"), pair=pair_id):
            say("\nStage 2")
            if r["p_best"] is not None:
                say(f"  best model {r['best_model'][:12]}: p(chosen better) = {r['p_best']:.3f}, vote {r['b']}")
                say(f"  gold model {r['gold_model'][:12]}: p(chosen better) = {r['p_gold']:.3f}, vote {r['g']}")
            if r["p_right"] is not None:
                say(f"  calibrated probability that the original order is right: {r['p_right']:.3f}")
            say(f"  judges: {r['j'] or 'not asked'}; rule {r['rule']}")
        if of_pair("decisions") and (why := _guards(con)):
            say(f"  {why}")

        outcome = of_pair("outcome")
        for r in outcome:
            by = f" by {r['decided_by']}" if r["decided_by"] else ""
            say(f"\nOutcome: {r['class']}{by}" + (f", because: {r['reason']}" if r["reason"] else ""))
        for release in ("release_curated", "release_corrected"):
            for r in of_pair(release):
                say(f"  in {release}{' with the responses swapped' if r['flipped'] else ''}, admitted by: {r['rule']}")


def _guards(con: duckdb.DuckDBPyConnection) -> str:
    """What people's labels let the rule do, in its own words; '' where it has no guards, or is not there."""
    files = con.execute("SELECT file FROM decision_rule").fetchall()
    rule = loads(files[0][0]) if files else None
    return rule.guards.why if rule and rule.guards else ""


def _short(text: str, width: int = 240) -> str:
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"


def _simulated(row: dict) -> str:
    return ", simulated" if row["simulated"] else ""


def _why(why: str) -> str:
    return {
        "seed": "in the seed",
        "random": "drawn at random",
        "retrieved": "like a pair the model gets wrong",
        "d_optimal": "what would tell the model most",
    }[why]
