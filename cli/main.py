"""assay: curate preference pairs, see what is there, ask why a pair was kept.

Each command imports what it needs when it runs, so that help and completion answer at once.
"""

import contextlib
import errno
import json
import os
import signal
import sys
from collections.abc import Generator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from typer.core import TyperGroup

from cli.exits import DONE, FAILED, INTERRUPTED, TERMINATED, UNUSABLE
from cli.terminal import screened
from curation.visible import visible

if TYPE_CHECKING:
    from resources.lake import Lake
    from resources.settings import Settings

HELP = "Turns unverified preference pairs into data a reward model can trust."
EPILOG = (
    "Exit status: 0 done, or waiting for people or for a provider's batch; 1 a step failed or a comparison came out"
    " otherwise than it had to; 2 wrong usage, or a configuration, a file or a name that cannot be used; 3 paid calls"
    " are expected to cost more than was agreed to; 4 done, but answers of models are missing; 5 `verify`"
    " found damage; 130 interrupted; 143 ended by SIGTERM."
)
GOES_ON = "What was made stays; the same command goes on from there."
DISKS = {
    errno.EROFS: "nothing can be written here: the file system is read-only",
    errno.EACCES: "not permitted here",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "no larger file is allowed here",
    errno.EIO: "the disk fails",
    errno.ESTALE: "the file system is gone",
    errno.ENOTCONN: "the file system is gone",
}
START, LOOK, MEASURE = "Make", "Look", "Measure"


class Group(TyperGroup):
    """A group whose first argument is, where it names no command of the group, that of its command `usual`."""

    usual = "model"

    def parse_args(self, ctx, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = [self.usual, *args]
        return super().parse_args(ctx, args)


class ReleaseGroup(Group):
    usual = "make"


app = typer.Typer(
    name="assay", help=HELP, epilog=EPILOG, no_args_is_help=True, pretty_exceptions_enable=False,
    rich_markup_mode="rich", context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip
benchmarks = typer.Typer(cls=Group, no_args_is_help=True, help="Measure reward models and judges on benchmarks.")
judges = typer.Typer(no_args_is_help=True, help="What judges are told.")
releases = typer.Typer(cls=ReleaseGroup, no_args_is_help=True, help="A release as a folder that others can use.")
lakes = typer.Typer(no_args_is_help=True, help="The tables of the lake, and where they are.")
pushes = typer.Typer(no_args_is_help=True, help="A release or a model to the Hugging Face Hub.")
app.add_typer(pushes, name="push", rich_help_panel=START)
app.add_typer(lakes, name="lake", rich_help_panel=START)
app.add_typer(releases, name="release", rich_help_panel=START)
app.add_typer(benchmarks, name="benchmark", rich_help_panel=MEASURE)
app.add_typer(judges, name="judges", rich_help_panel=LOOK)

Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Default: $ASSAY_CONFIG, else assay.toml.")
]
Changes = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE", show_default=False, help="Settings that count more than the file: stage1.iterations=1"
    ),
]
Confirm = Annotated[
    float | None,
    typer.Option(metavar="DOLLARS", help="What paid calls may be expected to reach in all before somebody is asked."),
]


class GuidelineReader(StrEnum):
    judge = "judge"
    browsing_judge = "browsing-judge"
    people = "people"


class OverLength(StrEnum):
    cut = "cut"
    wrong = "wrong"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit status."""
    from resources.settings import ConfigError, current
    from resources.settings.load import CHANGES, FILE

    before = {name: os.environ.get(name) for name in (FILE, CHANGES)}
    try:
        with screened():
            app(args=None if argv is None else list(argv), prog_name="assay")
    except SystemExit as e:
        if e.code != INTERRUPTED:
            return e.code if isinstance(e.code, int) else FAILED
        print(f"\nassay: {'ended by SIGTERM' if _terminations else 'interrupted'}. {GOES_ON}", file=sys.stderr)
        return TERMINATED if _terminations else INTERRUPTED
    except OSError as e:
        if e.errno not in DISKS:
            raise
        place = f" ({e.filename})" if e.filename else ""
        print(visible(f"\nassay: {DISKS[e.errno]}{place}. {GOES_ON}"), file=sys.stderr)
        return FAILED
    except ConfigError as e:
        print(visible(f"assay: {e}"), file=sys.stderr)
        return UNUSABLE
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            os.environ.update({name: value} if value is not None else {})
        current.cache_clear()
    return DONE


_terminations: list[int] = []


def _terminated(number: int, _frame: object) -> NoReturn:
    """End as after Ctrl-C, and say that it was not that."""
    _terminations.append(number)
    raise KeyboardInterrupt


def entry() -> None:
    """The installed command. It leaves without taking the interpreter apart: DuckDB's bindings complain at length of
    objects that live until then."""
    signal.signal(signal.SIGTERM, _terminated)
    status = main()
    if scratch := sys.modules.get("resources.scratch"):
        scratch.clear()
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def _use(config: Path | None, changes: Sequence[str] = ()) -> "Settings":
    """The settings of this command, and of the programs that it starts."""
    from resources.settings import current
    from resources.settings.load import CHANGES, FILE

    if config:
        os.environ[FILE] = str(config.resolve())
    if changes:
        os.environ[CHANGES] = json.dumps([*json.loads(os.environ.get(CHANGES, "[]")), *changes])
    current.cache_clear()
    return current()


def _lake(settings: "Settings") -> "Lake":
    from resources.lake import Lake

    return Lake.of(settings)


def _looking(settings: "Settings") -> "Lake":
    from cli.looking import Looking
    from curation.tables import TABLES

    return Looking.of(settings).pinned(TABLES.values())


def _refuse(why: object, status: int = UNUSABLE) -> NoReturn:
    print(f"assay: {why}", file=sys.stderr)
    raise typer.Exit(status)


@contextlib.contextmanager
def _refusing(*errors: type[Exception]) -> Generator[None, None, None]:
    """Errors of the input in one line instead of a traceback."""
    try:
        yield
    except errors as e:
        _refuse(str(e).strip())


@app.callback()
def _top(config: Config = None) -> None:
    from resources.settings.load import FILE

    if config:
        os.environ[FILE] = str(config.resolve())


# ---- make ----------------------------------------------------------------------------------------------------------
@app.command(rich_help_panel=START)
def init(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Files of preference data.")],
    out: Annotated[Path, typer.Option(help="The configuration to write.")] = Path("assay.toml"),
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Look at files, say how they read as pairs, and write a configuration."""
    from cli.init import write

    raise typer.Exit(write(files, out, force))


@app.command(rich_help_panel=START)
def check(
    changes: Changes = None,
    config: Config = None,
    calls: Annotated[
        bool, typer.Option("--calls", help="Also ask every model one question, which costs a little money.")
    ] = False,
) -> None:
    """Everything that can be known before hours or money are spent: files, keys, licenses, disk, time, dollars."""
    from cli.check import show

    raise typer.Exit(UNUSABLE if show(_use(config, changes or ()), calls) else DONE)


@app.command(rich_help_panel=START)
def run(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[GROUP|KEY=VALUE]…",
            show_default=False,
            help="Only these groups of steps (world, pool, seed, stage1, …; default: all); settings that count more than"
            " the file, such as training.max_tokens=256 or sources.mine.sample=100.",
        ),
    ] = None,
    config: Config = None,
    confirm: Confirm = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Runs side by side; default: as dagster.yaml allows.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be made, why, and at what price; write nothing.")
    ] = False,
    list_stale: Annotated[
        bool,
        typer.Option(
            "--list-stale",
            help="A line for each part of the work that could begin now: assets, partition. For job arrays; runs nothing.",
        ),
    ] = False,
) -> None:
    """Make everything that is not up to date, in order."""
    from cli.running import run_groups
    from resources.settings.overrides import is_override

    given = what or []
    settings = _use(config, [x for x in given if is_override(x)])
    groups = [x for x in given if not is_override(x)]
    if dry_run:
        from cli.dry_run import show

        show(settings, groups)
        return
    if list_stale:
        from cli.dagster_runs import ready
        from cli.running import GENERATED

        for assets, partition in ready(settings, [*GENERATED, *groups] if groups else ()):
            print(assets, partition or "", sep="\t")
        return
    raise typer.Exit(run_groups(settings, groups, confirm, jobs))


@app.command(rich_help_panel=START)
def iterate(
    first: Annotated[str, typer.Argument(help="For example iter_01.")],
    last: Annotated[str, typer.Argument(help="For example iter_03.")],
    changes: Changes = None,
    config: Config = None,
    confirm: Confirm = None,
) -> None:
    """Run a range of stage-1 iterations again, in order, whether they are up to date or not."""
    from cli.running import run_iterations

    settings = _use(config, changes or ())
    keys = settings.partition_keys("iteration")
    for key in (first, last):
        if key not in keys:
            _refuse(f"no such iteration: {key!r}; there are {keys[0]} to {keys[-1]}")
    raise typer.Exit(run_iterations(settings, keys[keys.index(first) : keys.index(last) + 1], confirm))


@app.command(rich_help_panel=LOOK)
def worth(
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Where the page goes; default: the lake's files/reports/worth.html.")
    ] = None,
    config: Config = None,
) -> None:
    """Whether curating this pool pays, from people's labels alone, before a judge is paid."""
    from cli.assess import run as assess

    settings = _use(config)
    raise typer.Exit(assess(settings, _lake(settings), as_json=as_json, page=out))


@app.command(rich_help_panel=START)
def label(
    people: Annotated[list[str] | None, typer.Argument(metavar="[NAME]…", help="People who answer.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; default: this machine alone.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes any that is free.")] = 8770,
    config: Config = None,
) -> None:
    """Serve a page on which people answer, with a link for each of them."""
    from cli.label import page

    settings = _use(config)
    raise typer.Exit(page(settings, _lake(settings), people or [], host, port))


@app.command(rich_help_panel=LOOK)
def people(
    batch: Annotated[str | None, typer.Option(help="Only this one, for example iter_00.")] = None,
    refused: Annotated[
        bool, typer.Option("--refused", help="Every refused answer, also those given anew since.")
    ] = False,
    close: Annotated[
        str | None,
        typer.Option(metavar="BATCH", help="Ask nobody any more; the next batch has what is not labelled by now."),
    ] = None,
    config: Config = None,
) -> None:
    """How far people are with each batch, at what pace, how they agree, and which answers were refused."""
    from cli.desk_report import show

    settings = _use(config)
    raise typer.Exit(show(settings, _lake(settings), batch, refused, close))


@app.command(rich_help_panel=START)
def decide(
    rule: Annotated[
        Path | None, typer.Argument(help="A rule file; default: the one beside the lake's decisions.")
    ] = None,
    scores: Annotated[
        Path | None, typer.Option(help="A Parquet file like the table scores; default: the lake's.")
    ] = None,
    verdicts: Annotated[
        Path | None, typer.Option(help="A Parquet file like stage2_verdicts; default: the lake's.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for keep.txt, flip.txt and drop.txt.")] = None,
    config: Config = None,
) -> None:
    """Apply a rule of stage 2 to stored scores and verdicts; nobody is asked."""
    import duckdb

    from cli.decide import again
    from curation.decision_rule import RuleError

    lake = _lake(_use(config))
    with _refusing(RuleError, OSError, duckdb.Error):
        same = again(lake, rule, scores, verdicts, out)
    raise typer.Exit(DONE if same else FAILED)


# ---- hand over -----------------------------------------------------------------------------------------------------
@releases.command()
def make(
    name: Annotated[str, typer.Argument(help="curated, corrected, or a snapshot such as filtered@iter_01.")],
    out: Annotated[Path, typer.Argument(help="The folder to write.")],
    changes: Changes = None,
    include: Annotated[
        list[str] | None,
        typer.Option(metavar="SOURCE", help="A source that goes along without permission or license. May be repeated."),
    ] = None,
    implicit: Annotated[
        bool, typer.Option("--implicit", help="Whole conversations in chosen and rejected, and no prompt.")
    ] = False,
    jsonl: Annotated[bool, typer.Option("--jsonl", help="The rows as JSON lines, too.")] = False,
    config: Config = None,
) -> None:
    """Write rows, card, licenses, rule, report and checksums. `assay release NAME OUT` is short for it."""
    from cli.releasing import make as made
    from handover.build import Wanted
    from handover.contents import HandoverError, Snapshot

    settings = _use(config, changes or ())
    with _refusing(HandoverError):
        wanted = Wanted(Snapshot.named(name), implicit, jsonl, tuple(include or ()))
        raise typer.Exit(made(settings, _lake(settings), wanted, out))


@releases.command()
def verify(
    folder: Annotated[Path, typer.Argument(help="A release.")],
    config: Config = None,
) -> None:
    """Sums, rule, schema, rows, counts, licenses; and, with a configuration's lake, overlap with its benchmarks."""
    from cli.releasing import check as checked
    from resources.settings import ConfigError

    try:
        settings = _use(config)
    except ConfigError:
        if config:
            raise
        settings = None  # a release can be looked at where there is no lake
    raise typer.Exit(checked(folder, settings, _lake(settings) if settings else None))


Repository = Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Repository on the Hub.")]
Public = Annotated[bool, typer.Option("--public", help="A repository that is made new is not private.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be pushed, and send nothing.")]


@pushes.command("release")
def push_release(
    folder: Annotated[Path, typer.Argument(help="What `assay release` wrote.")],
    repository: Repository,
    public: Public = False,
    dry_run: DryRun = False,
) -> None:
    """Verify a release and push it as a data set; prints the revision."""
    from cli.pushing import release
    from handover.contents import HandoverError

    with _refusing(HandoverError):
        raise typer.Exit(release(folder, repository, public, dry_run))


@pushes.command("model")
def push_model(
    model: Annotated[str, typer.Argument(help="An arm of the final models, or a model folder.")],
    repository: Repository,
    base_model: Annotated[str, typer.Option(metavar="OWNER/NAME", help="The backbone on the Hub.")] = "",
    dataset: Annotated[
        list[str] | None, typer.Option(metavar="OWNER/NAME", help="What it was trained on. May be repeated.")
    ] = None,
    license_: Annotated[str, typer.Option("--license", help="As the Hub spells it.")] = "",
    public: Public = False,
    dry_run: DryRun = False,
    config: Config = None,
) -> None:
    """Push a reward model with a page that names its backbone, data and results; prints the revision."""
    from cli.pushing import model as push_one
    from handover.contents import HandoverError
    from handover.hub_upload import Origin

    settings = _use(config)
    given = Origin(base_model, tuple(dataset or ()), license_)
    with _refusing(HandoverError):
        raise typer.Exit(push_one(settings, _lake(settings), model, repository, given, public, dry_run))


@app.command(rich_help_panel=START)
def export(
    tool: Annotated[str, typer.Argument(metavar="TOOL", help="trl, openrlhf, llama-factory, axolotl or nemo-rl.")],
    name: Annotated[str, typer.Argument(help="curated, corrected, or a snapshot such as filtered@iter_01.")],
    out: Annotated[Path, typer.Argument(help="The folder to write.")],
    changes: Changes = None,
    config: Config = None,
) -> None:
    """Pairs and the same recipe as another trainer's files, for use here."""
    from handover.contents import HandoverError, Snapshot
    from handover.tools import export as exported

    settings = _use(config, changes or ())
    with _refusing(HandoverError):
        facts = exported(settings, _lake(settings), tool, Snapshot.named(name), out)
    print(f"{facts['pairs']:,} pairs in {out}/. There: {facts['run']}")
    for reason, n in facts["left_out"].items():
        print(f"Left out: {n:,} pairs: {reason}")


# ---- look ----------------------------------------------------------------------------------------------------------
@app.command(rich_help_panel=LOOK)
def status(changes: Changes = None, config: Config = None) -> None:
    """What is made, what is stale, where every record ended, what it cost."""
    from cli.status import show

    settings = _use(config, changes or ())
    show(settings, _looking(settings))


@app.command("verify", rich_help_panel=LOOK)
def verify_lake(
    set_aside: Annotated[
        bool,
        typer.Option(
            "--set-aside",
            help="Move what can be made again to files/aside, in a store out of its table, for `assay run` to make it.",
        ),
    ] = False,
    config: Config = None,
) -> None:
    """Whether every file of the lake is what was written; what is damaged, and how it is made anew."""
    from cli.verify_lake import show

    raise typer.Exit(show(_lake(_use(config)), set_aside))


@app.command(rich_help_panel=START)
def backup(
    out: Annotated[Path, typer.Argument(help="A folder that is new or empty.")],
    config: Config = None,
) -> None:
    """Copy the lake, also while a run writes in it, and verify the copy."""
    from cli.copy_lake import copied
    from resources.lake import Lake

    lake = _lake(_use(config))
    with _refusing(OSError):
        raise typer.Exit(copied(lake, Lake(str(out))))


@app.command(rich_help_panel=START)
def restore(
    backup: Annotated[Path, typer.Argument(metavar="FOLDER", help="What `assay backup` wrote.")],
    config: Config = None,
) -> None:
    """Put a backup where the configuration has its lake, which must not be there, and verify it."""
    from cli.copy_lake import copied
    from resources.lake import Lake

    lake = _lake(_use(config))
    with _refusing(OSError):
        raise typer.Exit(copied(Lake(str(backup)), lake))


@lakes.command("copy")
def copy_tables(
    place: Annotated[str, typer.Argument(metavar="PLACE", help="s3://bucket/prefix, or the lake's folder.")],
    config: Config = None,
) -> None:
    """Copy the tables, byte for byte, to a store of objects or back into the folder; what is there already is not sent again."""
    from cli.copy_lake import tables_copied

    raise typer.Exit(tables_copied(_lake(_use(config)), place))


@lakes.command()
def vacuum(
    keep_days: Annotated[
        float,
        typer.Option(
            min=0, max=30, metavar="DAYS", help="Former versions of so many days stay readable (`sql --as-of`)."
        ),
    ] = 30,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    config: Config = None,
) -> None:
    """Delete former versions of tables in a store of objects, and what killed runs left there."""
    from cli.copy_lake import vacuumed

    raise typer.Exit(vacuumed(_lake(_use(config)), keep_days, dry_run))


@app.command(rich_help_panel=LOOK)
def estimate(changes: Changes = None, config: Config = None) -> None:
    """What the paid calls still to be made are expected to cost, step by step."""
    from cli.estimate import show

    settings = _use(config, changes or ())
    show(settings, _looking(settings))


@app.command(rich_help_panel=LOOK)
def plan(
    target: Annotated[
        float | None, typer.Option(metavar="SCORE", help="Score to reach, in percent, as the curve has it.")
    ] = None,
    budget: Annotated[str | None, typer.Option(metavar="DOLLARS", help="What may be spent on labels.")] = None,
    gold: Annotated[int | None, typer.Option(metavar="PAIRS", help="A plan to look at: pairs by people.")] = None,
    silver: Annotated[int | None, typer.Option(metavar="PAIRS", help="Pairs by judges in stage 1.")] = None,
    stage2: Annotated[int | None, typer.Option(metavar="PAIRS", help="Pairs of stage 2.")] = None,
    price: Annotated[
        list[str] | None,
        typer.Option(metavar="REGIME=DOLLARS", help="A pair's price, such as gold=0.1-0.7; default: as spent so far."),
    ] = None,
    curve: Annotated[
        str,
        typer.Option(metavar="NAME", help="An experiment on parts of one set, or `published`; default: the own one."),
    ] = "",
    stop_below: Annotated[float, typer.Option(metavar="POINTS", help="Gain under which to stop.")] = 0.3,
    patience: Annotated[int, typer.Option(min=1, help="So many quiet windows in a row.")] = 2,
    config: Config = None,
) -> None:
    """What a target costs, what a budget reaches, how long people take, and when to stop."""
    from decimal import Decimal, InvalidOperation

    from cli.planner import PlanRequest, show
    from evaluation.planning import REGIMES

    settings = _use(config)
    prices = dict(p.partition("=")[::2] for p in price or ())
    if unknown := sorted(set(prices) - set(REGIMES)):
        _refuse(f"--price {', '.join(unknown)}: give REGIME=DOLLARS, the regimes are {', '.join(REGIMES)}")
    with _refusing(InvalidOperation):
        dollars = None if budget is None else Decimal(budget.removeprefix("$").replace(",", ""))
    pairs = {r: n for r, n in zip(REGIMES, (gold, silver, stage2), strict=True) if n is not None}
    asked = PlanRequest(target, dollars, pairs, prices, curve, stop_below, patience)
    raise typer.Exit(show(settings, _lake(settings), asked))


@app.command(rich_help_panel=LOOK)
def explain(
    pair_id: Annotated[str, typer.Argument(help="A pair's id, or a prefix of it that is unique.")],
    config: Config = None,
) -> None:
    """The story of one pair."""
    from cli.explain import UnknownPair, story

    with _refusing(UnknownPair):
        story(_looking(_use(config)), pair_id)


@app.command(rich_help_panel=LOOK)
def explore(
    port: Annotated[int, typer.Option(help="0 takes any that is free.")] = 8771,
    config: Config = None,
) -> None:
    """Serve a page on the pairs: filter, read, compare before and after, ask people, SQL. For this machine alone."""
    from cli.explore import page

    settings = _use(config)
    raise typer.Exit(page(settings, _lake(settings), port))


@app.command(rich_help_panel=LOOK)
def sql(
    query: Annotated[str, typer.Argument(help="DuckDB SQL.")],
    csv: Annotated[
        bool, typer.Option("--csv", help="Print comma-separated values as they are; nested ones as JSON.")
    ] = False,
    spreadsheet: Annotated[
        bool, typer.Option("--spreadsheet", help="The same for a spreadsheet: no text is a formula there.")
    ] = False,
    as_of: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="The lake as it was then, such as 2026-01-05T18:00 (local time) or …T18:00Z; of tables in a store.",
        ),
    ] = None,
    config: Config = None,
) -> None:
    """DuckDB over every table and view of the lake."""
    import duckdb

    from cli.looking import Looking
    from cli.sql import answer, moment

    lake = Looking.of(_use(config)).pinned(as_of=None if as_of is None else moment(as_of))
    with _refusing(duckdb.Error):
        answer(lake, query, csv or spreadsheet, spreadsheet)


@judges.command()
def guideline(
    category: Annotated[str, typer.Argument(help="For example math, or 'coding & debugging'.")],
    objectivity: Annotated[str, typer.Argument(help="objective or subjective")],
    controversiality: Annotated[str, typer.Argument(help="low, medium or high")],
    reader: Annotated[
        GuidelineReader, typer.Option(help="Sentences on assistants are for people, on searching for those who can.")
    ] = GuidelineReader.judge,
    against: Annotated[
        tuple[str, str, str] | None,
        typer.Option(
            metavar="CATEGORY OBJECTIVITY CONTROVERSIALITY", help="Print what differs from this kind of pair."
        ),
    ] = None,
    against_reader: Annotated[
        GuidelineReader | None, typer.Option(help="Print what differs from what this reader gets.")
    ] = None,
) -> None:
    """The whole guideline for one kind of pair, or how it differs from another's."""
    from cli.guideline_text import difference, text

    kind = (category, objectivity, controversiality)
    if against and against_reader:
        _refuse("give --against or --against-reader, not both")
    with _refusing(ValueError):
        if against is None and against_reader is None:
            print("\n".join(text(kind, reader)))
            return
        print("\n".join(difference((kind, reader), (against or kind, against_reader or reader))))


@app.command(rich_help_panel=MEASURE)
def experiments(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]…", help="Only these; default: all.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for a figure an experiment and the tables as CSV.")] = None,
    config: Config = None,
) -> None:
    """What experiments could find, and what they found. `assay run experiments` makes them."""
    from cli.suite import show

    settings = _use(config)
    raise typer.Exit(show(settings, _lake(settings), names or [], out))


# ---- measure -------------------------------------------------------------------------------------------------------
@app.command(rich_help_panel=MEASURE)
def score(
    model: Annotated[str, typer.Argument(help="A model folder, or an arm of the final models.")],
    file: Annotated[Path, typer.Argument(help="JSON Lines of conversations or pairs.")],
    target: Annotated[Path | None, typer.Argument(hidden=True)] = None,
    out: Annotated[Path | None, typer.Option(help="Where the lines go, each with its rewards.")] = None,
    max_tokens: Annotated[
        int | None, typer.Option(help="What is longer gets no reward; default: what the model was trained with.")
    ] = None,
    config: Config = None,
) -> None:
    """Rewards for a JSON Lines file of conversations or pairs."""
    from cli.scoring import score as scored

    if (written := out or target) is None:
        raise typer.BadParameter("where the rewards go", param_hint="--out")
    folder = Path(model)
    if not folder.is_dir():
        lake = _lake(_use(config))
        with lake.connect() as con:
            rows = con.execute("SELECT path FROM final_reward_model WHERE model = $model", {"model": model}).fetchall()
        if not rows:
            _refuse(f"{model}: neither a folder nor an arm that has been trained")
        folder = lake.model(rows[0][0])
    with _refusing(OSError, ValueError):
        status = scored(folder, file, written, max_tokens)
    raise typer.Exit(status)


@benchmarks.command("model")
def benchmark_model(
    model: Annotated[
        str,
        typer.Argument(
            help="An arm, a model folder, huggingface:OWNER/NAME@COMMIT, a file of scores, judge:NAME or longer_answer;"
            " several, one a seed, with commas between."
        ),
    ],
    against: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Also test the difference to this model, or to as many seeds of it."),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME,…", help="Some of the configured benchmarks, with commas between.")
    ] = None,
    holdout: Annotated[
        bool, typer.Option("--holdout", help="Also agreement with people on the gold of role test.")
    ] = False,
    subsets: Annotated[bool, typer.Option("--subsets", help="Every subset, not only groups and wholes.")] = False,
    published: Annotated[bool, typer.Option("--published", help="The published scores beside the model's.")] = False,
    max_tokens: Annotated[int | None, typer.Option(help="What is longer is cut; default: training.max_tokens.")] = None,
    over_length: Annotated[OverLength | None, typer.Option(help="Default: evaluation.over_length.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the rewards (NAME.parquet, to be given as a model) and a plot (benchmarks.png)."),
    ] = None,
    config: Config = None,
) -> None:
    """A model on the configured benchmarks, with intervals. `assay benchmark MODEL` is short for it."""
    from cli.benchmark import BenchmarkRequest
    from cli.benchmark import main as measure
    from resources.run import Run

    settings = _use(config)
    asked = BenchmarkRequest(
        tuple(model.split(",")),
        tuple(against.split(",")) if against else (),
        tuple(name for names in only or () for name in names.split(",")),
        holdout,
        subsets,
        published,
        max_tokens,
        over_length.value if over_length else None,
        out,
    )
    raise typer.Exit(measure(asked, Run(settings, _lake(settings))))


@benchmarks.command()
def claims(
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the paper's figures, drawn from its published numbers."),
    ] = None,
) -> None:
    """Check the paper's claims against its published tables."""
    from cli.benchmark import claims as checked

    raise typer.Exit(checked(out))


@benchmarks.command()
def sheets() -> None:
    """What every benchmark is and how its number is defined."""
    from cli.benchmark import sheets as printed

    printed()


if __name__ == "__main__":
    entry()
