"""assay: run the job, see what is there, ask why a pair was kept."""

import argparse
import os
import sys
import time
from pathlib import Path


def main(argv: list[str] | None = None) -> int:
    """Entry point of the command; returns the exit status (1 for a failed job, 2 for unusable input)."""
    arguments = _parser().parse_args(argv)
    if arguments.config:
        os.environ["ASSAY_CONFIG"] = str(Path(arguments.config).resolve())
    from resources.settings import ConfigError

    try:
        return arguments.do(arguments)
    except ConfigError as e:
        print(f"assay: {e}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        return 0


def entry() -> None:
    """The installed command. It leaves without taking the interpreter apart: DuckDB's bindings complain at length of
    objects that live until then."""
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="assay", description=__doc__)
    top.add_argument("--config", help="configuration file; default: $ASSAY_CONFIG, else assay.toml")
    commands = top.add_subparsers(dest="command", required=True)

    def add(name: str, do, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.add_argument("--config", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        sub.set_defaults(do=do)
        return sub

    run = add("run", _run, "make everything that is not up to date, in order")
    run.add_argument("group", nargs="*", help="only these groups of steps: world, pool, seed, stage1, …; default: all")
    confirmation = "dollars that paid calls may be expected to reach in all before somebody is asked"
    run.add_argument("--confirm", type=float, metavar="DOLLARS", help=confirmation)
    iterate = add("iterate", _iterate, "run a range of stage-1 iterations, in order, through Dagster")
    iterate.add_argument("first", help="for example iter_01")
    iterate.add_argument("last", help="for example iter_03")
    iterate.add_argument("--confirm", type=float, metavar="DOLLARS", help=confirmation)
    add("estimate", _estimate, "what the paid calls still to be made are expected to cost, step by step")
    add("status", _status, "what is made, what is stale, where every record ended, what it cost")
    explain = add("explain", _explain, "the story of one pair")
    explain.add_argument("pair_id", help="a pair's id, or a prefix of it that is unique")
    guide = add("guideline", _guideline, "the whole guideline for one kind of pair, or how it differs from another's")
    guide.add_argument("category", help="for example math, or 'coding & debugging'")
    guide.add_argument("objectivity", choices=["objective", "subjective"])
    guide.add_argument("controversiality", choices=["low", "medium", "high"])
    guide.add_argument(
        "--reader",
        choices=["judge", "browsing-judge", "people"],
        default="judge",
        help="who reads it: sentences on assistants are for people, on searching for those who can",
    )
    against = guide.add_mutually_exclusive_group()
    against.add_argument(
        "--against",
        nargs=3,
        metavar=("CATEGORY", "OBJECTIVITY", "CONTROVERSIALITY"),
        help="print what differs from this kind of pair",
    )
    against.add_argument(
        "--against-reader",
        choices=["judge", "browsing-judge", "people"],
        help="print what differs from what this reader gets",
    )
    sql = add("sql", _sql, "DuckDB over every table and view of the lake")
    sql.add_argument("query")
    sql.add_argument("--csv", action="store_true", help="print comma-separated values")

    decide = add("decide", _decide, "apply a rule of stage 2 to stored scores and verdicts; nobody is asked")
    decide.add_argument("rule", type=Path, nargs="?", help="a rule file; default: the one beside the lake's decisions")
    decide.add_argument("--scores", type=Path, help="a Parquet file like the table scores; default: the lake's")
    decide.add_argument("--verdicts", type=Path, help="a Parquet file like stage2_verdicts; default: the lake's")
    decide.add_argument("--out", type=Path, help="folder for keep.txt, flip.txt and drop.txt")

    from cli.benchmark import configure

    configure(add("benchmark", _benchmark, "a model on the configured benchmarks, with intervals"))
    claims = add("claims", _claims, "check the paper's claims against its published tables")
    claims.add_argument("--plots", type=Path, help="also draw how the published benchmarks go together, in this folder")
    add("sheets", _sheets, "what every benchmark is and how its number is defined")
    scoring = add("score", _score, "rewards for a JSON Lines file of conversations or pairs")
    scoring.add_argument("model", help="a model folder, or an arm of the final models")
    scoring.add_argument("file", type=Path)
    scoring.add_argument("output", type=Path)
    return top


def _settings():
    from resources.settings import current

    return current()


def _lake():
    from resources.lake import Lake

    return Lake.of(_settings())


def _let_confirm(arguments: argparse.Namespace) -> None:
    """Pass on what is agreed to already, and ask for the rest where a person sits at a terminal."""
    from resources.llm import bill as estimate

    if arguments.confirm is not None:
        os.environ[estimate.CONFIRM] = str(arguments.confirm)
    if sys.stdin.isatty() and sys.stdout.isatty():
        estimate.asking = _ask


def _ask(question: str, total: float) -> float:
    """Dollars in all that are agreed to; 0 for no."""
    print(f"\n{question}", flush=True)
    answer = input("Go on? y, n, or dollars in all up to which not to ask again: ").strip().lower().removeprefix("$")
    if answer in ("y", "yes"):
        return total
    try:
        return float(answer)
    except ValueError:
        return 0.0


def _estimate(arguments: argparse.Namespace) -> int:
    from cli.estimate import show

    show(_settings(), _lake())
    return 0


def _run(arguments: argparse.Namespace) -> int:
    from cli.run import JobFailed, run_all

    settings, started = _settings(), time.monotonic()
    _let_confirm(arguments)
    os.environ.setdefault("DAGSTER_HOME", str(Path.cwd()))
    try:
        ran, kept = run_all(settings, lambda line: print(line, flush=True), arguments.group)
    except JobFailed as e:
        print(f"\nassay: stopped. {e}\nWhat was made stays; the same command goes on from there.", file=sys.stderr)
        return 1
    if not ran:
        print(f"Everything is up to date: {kept} steps left alone, none run.")
    else:
        print(f"{ran} steps run, {kept} already up to date, {time.monotonic() - started:.0f} s.")
    from cli.status import closing

    closing(settings, _lake())
    return 0


def _iterate(arguments: argparse.Namespace) -> int:
    import dagster as dg

    from cli.run import iterate

    settings = _settings()
    keys = settings.partition_keys("iteration")
    for key in (arguments.first, arguments.last):
        if key not in keys:
            print(f"assay: no such iteration: {key!r}; there are {keys[0]} to {keys[-1]}", file=sys.stderr)
            return 2
    os.environ.setdefault("DAGSTER_HOME", str(Path.cwd()))
    _let_confirm(arguments)
    chosen = keys[keys.index(arguments.first) : keys.index(arguments.last) + 1]
    with dg.DagsterInstance.get() as instance:
        for key in chosen:
            print(f"{key} …", flush=True)
            if why := iterate(settings, key, instance):
                print(f"assay: {key} failed: {why}", file=sys.stderr)
                return 1
    return 0


def _status(arguments: argparse.Namespace) -> int:
    from cli.status import show

    show(_settings(), _lake())
    return 0


def _explain(arguments: argparse.Namespace) -> int:
    from cli.explain import UnknownPair, story

    try:
        story(_lake(), arguments.pair_id)
    except UnknownPair as e:
        print(f"assay: {e}", file=sys.stderr)
        return 2
    return 0


def _guideline(arguments: argparse.Namespace) -> int:
    import difflib

    from curation.attributes import CATEGORIES, CONTROVERSIALITY, OBJECTIVITY
    from curation.prompts import guideline
    from resources.judges.guideline import load

    tools = {"judge": frozenset(), "browsing-judge": frozenset({"search"}), "people": frozenset({"llm", "search"})}
    kind, reader = (arguments.category, arguments.objectivity, arguments.controversiality), arguments.reader

    def text(kind: list[str] | tuple[str, ...], reader: str) -> list[str]:
        for value, known in zip(kind, (CATEGORIES, OBJECTIVITY, CONTROVERSIALITY), strict=True):
            if value not in known:
                raise ValueError(f"{value!r} is none of: {', '.join(known)}")
        fields = dict(zip(("category", "objectivity", "controversiality"), kind, strict=True))
        return guideline(load().texts, fields, tools[reader]).splitlines()

    try:
        one = text(kind, reader)
        if arguments.against is None and arguments.against_reader is None:
            print("\n".join(one))
            return 0
        others = (arguments.against or kind, arguments.against_reader or reader)
        names = [f"{' / '.join(k)}, for {r}" for k, r in ((kind, reader), others)]
        print("\n".join(difflib.unified_diff(one, text(*others), *names, lineterm="", n=0)))
    except ValueError as e:
        print(f"assay: {e}", file=sys.stderr)
        return 2
    return 0


def _sql(arguments: argparse.Namespace) -> int:
    import duckdb

    with _lake().connect() as con:
        try:
            found = con.sql(arguments.query)
            if found is None:
                return 0
            if arguments.csv:
                import pyarrow.csv as pacsv

                with pacsv.CSVWriter(sys.stdout.buffer, found.to_arrow_table().schema) as out:
                    out.write_table(found.to_arrow_table())
            else:
                found.show(max_width=_width(), max_rows=200)
        except duckdb.Error as e:
            print(f"assay: {e}", file=sys.stderr)
            return 2
    return 0


def _decide(arguments: argparse.Namespace) -> int:
    import duckdb

    from cli.decide import again
    from curation.decision_rule import RuleError

    try:
        return 0 if again(_lake(), arguments.rule, arguments.scores, arguments.verdicts, arguments.out) else 1
    except (RuleError, OSError, duckdb.Error) as e:
        print(f"assay: {e}", file=sys.stderr)
        return 2


def _benchmark(arguments: argparse.Namespace) -> int:
    from cli.benchmark import main as benchmark
    from resources.run import Run

    return benchmark(arguments, Run(_settings(), _lake()))


def _claims(arguments: argparse.Namespace) -> int:
    from cli.benchmark import claims

    return claims(arguments.plots)


def _sheets(arguments: argparse.Namespace) -> int:
    from cli.benchmark import sheets

    return sheets()


def _score(arguments: argparse.Namespace) -> int:
    from training.serve import BadItem, Scorer, score_file

    folder = Path(arguments.model)
    if not folder.is_dir():
        with _lake().connect() as con:
            query = "SELECT path FROM final_reward_model WHERE model = $model"
            rows = con.sql(query, params={"model": arguments.model}).fetchall()
        if not rows:
            print(f"assay: {arguments.model}: neither a folder nor an arm that has been trained", file=sys.stderr)
            return 2
        folder = Path(rows[0][0])
    try:
        print(f"{score_file(Scorer(folder), arguments.file, arguments.output):,} items scored")
    except (BadItem, OSError, ValueError) as e:
        print(f"assay: {e}", file=sys.stderr)
        return 2
    return 0


def _width() -> int:
    import shutil

    return shutil.get_terminal_size((120, 40)).columns


if __name__ == "__main__":
    entry()
