"""`assay experiments`: what each could find before it is run, what it found, and its figures and tables as files."""

import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from cli.exits import DONE, UNUSABLE
from evaluation.contrasts import ASSUMED_DISAGREEMENT, LEAST_REPLICATES, asked, foreseen
from evaluation.items import BenchmarkError
from evaluation.presets import parsed
from report.experiment_plots import picture
from report.experiments_section import ExperimentStory, filters, shortened, stories, told
from resources.benchmarks.measures import measures
from resources.lake import Lake
from resources.run import Run
from resources.settings import Settings

if TYPE_CHECKING:
    from curation.intervals import Estimate

TONES = {"better": "green", "reached": "green", "worse": "red", "confounded": "yellow", "too few seeds": "yellow"}


def show(settings: Settings, lake: Lake, only: list[str], out: Path | None = None) -> int:
    """Print every experiment, or those of a name; returns the exit status."""
    console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 200)
    names = settings.partition_keys("experiment")
    if unknown := sorted(set(only) - set(names)):
        console.print(
            f"assay: no experiment {', '.join(unknown)}; there are: {', '.join(names) or 'none'}", markup=False
        )
        return UNUSABLE
    if not names:
        console.print(
            "No experiment is configured. One is three lines: [[experiments]], a name, and preset = 'pipeline'.",
            markup=False,
        )
        return DONE
    with lake.connect() as con:
        found = [s for s in stories(con, settings) if not only or s.name in only]
        table = filters(con)
    for story in found:
        _story(console, settings, lake, story)
    if table and not only:
        grid = Grid(
            "filter",
            "right where it keeps",
            "published",
            "right where it discards",
            "published",
            title="Filters of stage 2",
            title_justify="left",
        )
        for name, keep, discard, paper_keep, paper_discard in table:
            grid.add_row(name, _share(keep), f"{paper_keep:.0f} %", _share(discard), f"{paper_discard:.0f} %")
        console.print(grid)
    if out:
        _write(out, found, console)
    return DONE


def _story(console: Console, settings: Settings, lake: Lake, story: ExperimentStory) -> None:
    console.print(f"\n[bold]{escape(story.name)}[/]: {escape(story.question)}")
    console.print(power(settings, lake, story), markup=False)
    evaluations = list(dict.fromkeys(e for a in story.arms for e in a.scores))
    if story.arms:
        took = ("steps", "tokens", "seconds") if story.recipes_differ else ()
        grid = Grid("arm", "built", "pairs", "swapped", "right labels", *evaluations, "trainings", *took, "set")
        for a in story.arms:
            right = f"{a.right_label:.1%}" if a.right_label is not None else "–"
            scores = [_share(a.scores[e]) if e in a.scores else escape(a.problem) or "–" for e in evaluations]
            grid.add_row(
                escape(a.name),
                escape(a.built),
                f"{a.pairs:,}",
                f"{a.swapped:,}",
                right,
                *scores,
                str(a.replicates),
                *(f"{getattr(a, x):,.0f}" if a.replicates else "–" for x in took),
                a.hash[:8],
            )
        console.print(grid)
    if story.contrasts:
        grid = Grid("contrast", "on", "points", "p (Holm)", "over trainings alone", "verdict", "why")
        for r in story.contrasts:
            alone = "–" if r["seeds_low"] is None else f"{100 * r['seeds_low']:+.1f} to {100 * r['seeds_high']:+.1f}"
            p = "–" if r["p_holm"] is None else f"{r['p_holm']:.3g}"
            tone = TONES.get(r["verdict"], "")
            verdict = f"[{tone}]{r['verdict']}[/]" if tone else r["verdict"]
            grid.add_row(
                escape(shortened(r["contrast"])), escape(r["evaluation"]), told(r), p, alone, verdict, escape(r["why"])
            )
        console.print(grid)
    if uneven := [b for b in story.balance if b["alike"] is False and b["statistic"] != "size"]:
        listed = "; ".join(f"{b['contrast']}: {b['statistic']} {b['distance']:.2f}" for b in uneven)
        console.print(f"Not alike within 5 %: {listed}.", markup=False)


def power(settings: Settings, lake: Lake, story: ExperimentStory) -> str:
    """What the design can show, from what was measured, else from the numbers of items."""
    experiment = settings.experiment(story.name)
    seen = [r["detectable"] for r in story.contrasts if r["detectable"]]
    if seen:
        return f"A difference under {100 * min(seen):.1f} to {100 * max(seen):.1f} points cannot be seen, by what was measured."
    try:
        sizes = {one.name: one.items for one in measures(Run(settings, lake), experiment)}
    except (BenchmarkError, OSError) as e:
        return f"What it can show is not known yet: {e}"
    contrasts = [parsed(text, [a.name for a in experiment.arms]) for text in experiment.compare]
    questions = max(1, asked(contrasts, len(sizes)))
    parts = [
        f"with {experiment.seeds} trainings and {n:,} items of {name} a difference under"
        f" {100 * foreseen(n, experiment.seeds, questions=questions):.1f} points cannot be seen"
        for name, n in sizes.items()
    ]
    said = f"Before it is run: {'; '.join(parts)} ({questions} questions; two models decide {ASSUMED_DISAGREEMENT:.0%} of the items"
    said += " otherwise, assumed; the trainings' own luck comes on top)."
    if experiment.seeds < LEAST_REPLICATES:
        said += f" With {experiment.seeds} trainings nothing is told as a finding; it takes {LEAST_REPLICATES}."
    return said


def _share(e: "Estimate") -> str:
    if e.value is None:
        return "–"
    return f"{100 * e.value:.1f}" + (f" ({100 * e.interval[0]:.1f} to {100 * e.interval[1]:.1f})" if e.interval else "")


def _write(out: Path, found: list[ExperimentStory], console: Console) -> None:
    """NAME.png of each experiment that has a figure, arms.csv, contrasts.csv and balance.csv."""
    out.mkdir(parents=True, exist_ok=True)
    made = []
    for story in found:
        if drawn := picture(story):
            (out / f"{story.name}.png").write_bytes(drawn)
            made.append(f"{story.name}.png")
    arms = [
        {"experiment": s.name, "arm": a.name, "built": a.built, "pairs": a.pairs, "swapped": a.swapped, "hash": a.hash,
         "right_label": a.right_label, "evaluation": e, **score._asdict(), "trainings": a.replicates}
        for s in found for a in s.arms for e, score in a.scores.items()
    ]  # fmt: skip
    for name, rows in (
        ("arms", arms),
        ("contrasts", [r for s in found for r in s.contrasts]),
        ("balance", [r for s in found for r in s.balance]),
    ):
        if rows:
            with (out / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, rows[0].keys())
                writer.writeheader()
                writer.writerows(rows)
            made.append(f"{name}.csv")
    console.print(f"\nMade in {out}/: {', '.join(made) or 'nothing: no experiment has been run'}")
