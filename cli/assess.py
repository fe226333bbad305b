"""`assay worth`: whether curating this pool pays, told before a judge is paid."""

import json
from pathlib import Path

from rich.table import Table as Grid
from rich.text import Text

from cli.terminal import Console
from curation.intervals import Estimate
from curation.worth import Worth, needs
from resources.lake import Lake
from resources.settings import Settings

TONES = {"curate and flip": "green", "filter only": "yellow", "do not curate": "red"}


def worth(settings: Settings, lake: Lake) -> Worth:
    """From the lake's gold; before there is any, from people's recorded answers and the sources.

    Raises:
        NoPilot: there are no people's labels.
        NotMeasurable: there are too few, or too few conversations.
        BadFile: a file of answers cannot be read.
    """
    from resources.pilot import NoPilot, assess, from_files, from_lake

    try:
        with lake.connect() as con:
            gathered = from_lake(con, settings.seed)
    except NoPilot:
        gathered = from_files(settings, lake)
    return assess(settings, gathered, lake.folder("states"))


def run(settings: Settings, lake: Lake, *, as_json: bool = False, page: Path | None = None) -> int:
    """Print the verdict and its reasons; returns the exit status, 2 where nothing can be told."""
    import sys

    from curation.worth import NotMeasurable
    from report.worth_page import write
    from resources.pilot import NoPilot
    from resources.sources.files import BadFile

    try:
        found = worth(settings, lake)
    except (NoPilot, NotMeasurable, BadFile, FileNotFoundError) as e:
        if as_json:
            print(json.dumps({"verdict": None, "error": str(e)}, indent=1))
        else:
            print(f"assay: {e}", file=sys.stderr)
        return 2
    page = page or lake.folder("reports") / "worth.html"
    write(page, settings.name, found)
    if as_json:
        print(json.dumps(found.as_dict(), indent=1, allow_nan=False))
        return 0
    show(found, Console())
    print(f"Page: {page}")
    return 0


def show(w: Worth, console: Console) -> None:
    """The verdict, why, and the figures it rests on."""
    first = f": first {w.first}" if w.first else ""
    console.print(Text.assemble("\n", (w.verdict.upper(), f"bold {TONES[w.verdict]}"), first))
    for sentence in w.why:
        console.print(f"  {sentence}")
    for warning in w.warnings:
        console.print(Text.assemble("  ", ("Beware:", "yellow"), f" {warning}"))
    console.print(
        f"\n{w.gold['pairs']:,} gold pairs in {w.gold['conversations']:,} conversations, worth {w.gold['effective']:.0f}"
        f" independent ones; pool of {w.gold['pool']:,} pairs, {w.gold['pool_read']:,} read; features: {w.gold['features']}."
    )
    grid = Grid("right on people's verdicts", "share", "95 %", title="Accuracy, cross-validated", title_justify="left")
    for name, e in w.accuracy.items():
        grid.add_row(name, *cells(e))
    if w.ceiling["pairs"]:
        grid.add_row("two people agree", *cells(w.ceiling["agreement"]))
    console.print(grid)
    grid = Grid("gold pairs", "accuracy", "95 %", title="Gold model by gold pairs", title_justify="left")
    for c in w.curve:
        grid.add_row(f"{c['pairs']:,}" + (" (extrapolated)" if c["extrapolated"] else ""), *cells(c["accuracy"]))
    console.print(grid)
    grid = Grid("would be", "of the pool", "right, predicted", "95 %", "counted", "by formula",
                title="The paper's rule, without judges", title_justify="left")  # fmt: skip
    for name, side, share in (("kept", "keep", "kept"), ("flipped", "flip", "flipped")):
        s = w.rule[side]
        counted = "none" if not s["pairs"] else f"{s['counted'].value:.0%} of {s['pairs']}"
        grid.add_row(name, f"{w.rule['pool'][share]:.0%}", *cells(s["predicted"]), counted, f"{s['formula']:.0%}")
    console.print(grid)
    h, n = w.headroom, w.needed
    console.print(
        f"Headroom, people's labels over the original ones: {points(h['at_pool_size'])} at the pool's size,"
        f" {points(h['same_pairs'])} on the same gold pairs.\n"
        f"Keeping pays above {n['keep_break_even']:.0%} of the gold model, flipping above {n['flip_break_even']:.0%}."
        f" {needs(n)}\nA test on this gold shows differences of {100 * n['detectable']:.1f} points or more."
    )
    for by, c in w.conflict.items():
        grid = Grid(f"trained on {by}", *c["names"], title="tested on", title_justify="left")
        for name, row in zip(c["names"], c["accuracy"], strict=True):
            grid.add_row(name, *("–" if e.value is None else _cell(e) for e in row))
        console.print(grid)


def _cell(e: Estimate) -> Text:
    return Text(f"{e.value:.0%}", "red" if e.high is not None and e.high < 0.5 else "")


def cells(e: Estimate) -> tuple[str, str]:
    """A share and its interval."""
    return ("–" if e.value is None else f"{e.value:.1%}", "{:.1%} to {:.1%}".format(*e.interval) if e.interval else "")


def points(e: Estimate) -> str:
    """A difference in points with its interval."""
    if e.value is None or e.low is None or e.high is None:
        return "not known"
    return f"{100 * e.value:+.1f} points ({100 * e.low:+.1f} to {100 * e.high:+.1f})"
