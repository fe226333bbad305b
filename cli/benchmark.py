"""`assay benchmark MODEL`: any model on the configured benchmarks; also the paper's claims, checked, and the sheet."""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cli.exits import DONE, FAILED, UNCONFIRMED, UNUSABLE
from curation.tables import CLEAN_POOL
from resources.run import Run

if TYPE_CHECKING:
    from resources.benchmarks.loader import Loaded

PAPER_MEANS = {"mean of seven": (), "mean of six (without RewardBench 2)": ("RewardBench 2",)}
PLOT = "benchmarks.png"
BEST_OF = "best_of_k.png"


@dataclass(frozen=True)
class BenchmarkRequest:
    """What is to be measured.

    Attributes:
        models: arms, folders, files of scores, …; several are seeds of one.
        against: models to test the difference to, none or as many.
        only: some of the configured benchmarks; empty for all.
        holdout: also agreement with people on the gold of role test.
        subsets: print every subset.
        published: print the published scores too.
        max_tokens: instead of `training.max_tokens`.
        over_length: instead of `evaluation.over_length`.
        out: a folder for the rewards and plots.
    """

    models: tuple[str, ...]
    against: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    holdout: bool = False
    subsets: bool = False
    published: bool = False
    max_tokens: int | None = None
    over_length: str | None = None
    out: Path | None = None


def main(request: BenchmarkRequest, run: Run) -> int:
    """Score, evaluate, print; returns the exit status of `cli.exits`."""
    from evaluation.items import BenchmarkError
    from resources.llm.batch_calls import Pending
    from resources.llm.bill import Unconfirmed
    from resources.llm.prices import UnknownPrice
    from resources.llm.providers import NoKey
    from resources.stops import Stop

    try:
        _benchmark(request, run)
    except (BenchmarkError, UnknownPrice, NoKey) as e:
        print(f"assay: {e}", file=sys.stderr)
        return UNUSABLE
    except Stop as e:
        word = "waiting" if isinstance(e, Pending) else "stopped"
        print(f"assay: {word}. {e}\nWhat was answered stays; the same command goes on from there.", file=sys.stderr)
        return DONE if isinstance(e, Pending) else UNCONFIRMED if isinstance(e, Unconfirmed) else FAILED
    return DONE


def claims(out: Path | None = None) -> int:
    """Print every claim about the published tables; status 1 when one is not as the claims file expects.

    With a folder, also draw there how the published benchmarks go together.
    """
    from cli.terminal import Console
    from resources.benchmarks.published import verdicts

    console, unexpected = Console(highlight=False, soft_wrap=True), 0
    for v in verdicts():
        as_expected = v.holds == v.expected
        unexpected += not as_expected
        mark = "true " if v.holds else "false"
        console.print(f"{v.id:6} {mark} {'' if as_expected else '(expected otherwise) '}{v.text}")
        for row in v.contradictions:
            console.print("         " + ", ".join(f"{c} {x}" for c, x in zip(v.columns, row, strict=True)))
    if out:
        others = ", ".join(f"{name}.png" for name in _draw(out))
        console.print(
            f"Plots: {out}/pearson.png and {out}/scatter.png, of 31 models as published; {out}/classifiers_pearson.png and"
            f" {out}/classifiers_scatter.png, of the classifiers of the main table, which is another selection; as published:"
            f" {others}"
        )
    return 1 if unexpected else 0


def sheets() -> int:
    """Print what every benchmark is and how its number is defined (spec 7.20)."""
    from rich.table import Table

    from evaluation.sheets import SHEETS

    table = Table("loader", "benchmark", "items", "reported number", "equal rewards", "reference", show_lines=True)
    for name, s in SHEETS.items():
        table.add_row(name, s.title, f"{s.items:,}" if s.items else "as the file", s.metric, s.tie_rule, s.reference)
    _console().print(table)
    return 0


def _draw(folder: Path) -> list[str]:
    """As published: the correlations of eight benchmarks over 31 models, and the oldest against the newer ones (spec 7.09).
    Beside them, under names that say so, the same of the classifiers of the main table, which are another selection;
    and the figures on training sets, whose names are returned."""
    import numpy as np

    from evaluation.correlation import pearson
    from evaluation.sheets import PAPER
    from report.benchmark_plots import matrix, scatter
    from report.experiment_plots import published_pictures
    from resources.benchmarks.published import published_scores

    rows: dict[str, dict[str, dict[str, float]]] = {}
    for a in published_scores().to_pylist():
        if a["sheet"] in ("pearson", "motivation") or (a["sheet"] == "main" and a["kind"] == "classifier"):
            rows.setdefault(a["sheet"], {}).setdefault(a["model"], {})[a["metric"]] = a["value"]
    folder.mkdir(parents=True, exist_ok=True)
    eight = list(rows["pearson"])
    (folder / "pearson.png").write_bytes(
        matrix(eight, np.array([[rows["pearson"][a][b] for b in eight] for a in eight]))
    )
    points = np.array([[r["RewardBench"], r["Newer benchmarks"]] for r in rows["motivation"].values()])
    (folder / "scatter.png").write_bytes(
        scatter(points[:, 0], points[:, 1], "RewardBench", "mean of the newer benchmarks")
    )
    names = list(PAPER)
    scores = np.array([[r.get(n, np.nan) for n in names] for r in rows["main"].values()])
    (folder / "classifiers_pearson.png").write_bytes(matrix(names, pearson(scores)))
    newer = scores[:, 1:].mean(1)
    picture = scatter(scores[:, 0], newer, names[0], "mean of the six newer benchmarks of the main table")
    (folder / "classifiers_scatter.png").write_bytes(picture)
    made = published_pictures()
    for name, drawn in made.items():
        (folder / f"{name}.png").write_bytes(drawn)
    return list(made)


def _warn_of_uncleaned(run: Run, loaded: "Sequence[Loaded]") -> None:
    """Tell of benchmarks whose items the pool was not cleaned against (spec 0.08)."""
    with run.lake.connect() as con:
        known = set(con.execute("SELECT benchmark, item_id FROM benchmark_prompts").fetchall())
    for each in loaded:
        items = set(each.candidates["item_id"].to_pylist())
        if lacking := len(items - {item for name, item in known if name == each.name}):
            print(
                f"assay: warning: {each.name}: the pool was not cleaned against {lacking:,} of its {len(items):,} items, so that"
                " a model that was trained on it may have seen them; `assay run pool` cleans against what is configured",
                file=sys.stderr,
            )


def _benchmark(request: BenchmarkRequest, run: Run) -> None:
    import pyarrow.parquet as pq

    from assets.benchmark_results import headline, results
    from evaluation.items import BenchmarkError
    from report.benchmark_plots import bars, curves
    from resources.benchmarks.loader import holdout, load
    from resources.benchmarks.rewards import LONGER, longer_answer, scores_of

    chosen = [b for b in run.settings.benchmarks if not request.only or b.name in request.only]
    if unknown := sorted(set(request.only or ()) - {b.name for b in chosen}):
        raise BenchmarkError(f"not configured: {', '.join(unknown)}")
    if not chosen and not request.holdout:
        raise BenchmarkError("no benchmark is configured: add [[benchmarks]] to the configuration")
    given = {
        "training": ("max_tokens", request.max_tokens),
        "evaluation": ("over_length", request.over_length),
    }
    for section, (key, value) in given.items():
        if value:
            changed = getattr(run.settings, section).model_copy(update={key: value})
            run = replace(run, settings=run.settings.model_copy(update={section: changed}))
    loaded = [load(b, run.lake, run.settings.seed) for b in chosen]
    loaded += [holdout(run.lake)] if request.holdout else []
    models, others = request.models, request.against
    if {*models, *others} - {LONGER} and run.lake.partitions(CLEAN_POOL):
        _warn_of_uncleaned(run, [x for x in loaded if x.name != "holdout"])
    if others and len(others) != len(models):
        raise BenchmarkError(f"--against: {len(others)} models against {len(models)}; seeds are compared in pairs")
    scores = [scores_of(m, run, loaded) for m in models]
    made = []
    if request.out:
        request.out.mkdir(parents=True, exist_ok=True)
        for model, its in zip(models, scores, strict=True):
            made.append(request.out / f"{_file_name(model)}.parquet")
            pq.write_table(its, made[-1])
    loaders = {b.name: b.loader for b in chosen}
    lines: dict[str, list[dict]] = {}  # model -> its headline of each benchmark
    ladders: list[dict] = []  # of all models, best of k and its ceiling
    for model, its in zip(models, scores, strict=True):
        table = results(model, loaded, its, run.settings.seed)
        lines[model] = list(headline(table))
        ladders += filter(_on_a_ladder, table.to_pylist())
        if len(models) > 1:
            _console().print(model)
        _print(table.to_pylist(), request.subsets)
        _print_paper(table.to_pylist(), loaders, request.published)
    if others:
        theirs = [scores_of(m, run, loaded) for m in others]
        if len(models) > 1 or request.out:
            for model, its in zip(others, theirs, strict=True):
                table = results(model, loaded, its, run.settings.seed)
                lines[model] = list(headline(table))
                ladders += filter(_on_a_ladder, table.to_pylist())
        if len(models) == 1:
            values = _print_difference(loaded, *scores, *theirs, *models, *others, run.settings.seed)
        else:
            values = _print_seeds([lines[m] for m in models], [lines[m] for m in others], models[0], others[0])
        _print_over_benchmarks(values)
    if request.holdout:
        _print_agreement(lines, request.published)
    if request.out:
        lines[LONGER] = list(headline(results(LONGER, loaded, longer_answer(loaded), run.settings.seed)))
        rows = [{**r, "arm": Path(r["arm"]).stem} for found in lines.values() for r in found]
        made.append(request.out / PLOT)
        made[-1].write_bytes(bars(sorted(rows, key=lambda r: r["benchmark"])))
        if ladders:
            made.append(request.out / BEST_OF)
            made[-1].write_bytes(curves([{**r, "arm": Path(r["arm"]).stem} for r in ladders]))
        _console().print(f"Made: {', '.join(map(str, made))}")


def _on_a_ladder(row: Mapping) -> bool:
    """Whether a result is one of best-of-k, or of its ceiling."""
    return row["metric"].startswith(("best_of_", "ceiling_"))


def _file_name(model: str) -> str:
    """A name of a file for a model.

    >>> _file_name("judge:gpt-5"), _file_name("models/mine/")
    ('judge-gpt-5', 'mine')
    """
    name = Path(model).name if Path(model).exists() or model.endswith("/") else model
    return re.sub(r"[^\w.-]+", "-", name.removesuffix(".parquet")).strip("-")


def _print(rows: Sequence[dict], subsets: bool) -> None:
    from rich.table import Table

    at_hand = {(r["benchmark"], r["subset"], r["metric"]) for r in rows}
    table = Table("benchmark", "subset", "metric", "value", "95 % interval", "items", "ties", "over-long", "missing")
    for r in rows:
        if _on_a_ladder(r) and not subsets:
            continue
        if "/" in r["subset"] and not subsets:
            continue
        if r["value"] is None and (r["benchmark"], r["subset"], r["metric"] + "_at_hand") in at_hand and not subsets:
            continue
        interval = "-" if r["low"] is None else f"{100 * r['low']:.1f} to {100 * r['high']:.1f}"
        items = f"{r['n']:,}" if r["n"] == r["out_of"] else f"{r['n']:,} of {r['out_of']:,}"
        missing = ", ".join(r["missing"]) if len(r["missing"]) < 3 else f"{len(r['missing'])} parts"
        cells = (r["benchmark"], r["subset"], r["metric"], _percent(r["value"]), interval, items)
        table.add_row(*cells, str(r["ties"]), str(r["truncated"]), missing)
    _console().print(table)


def _print_paper(rows: Sequence[dict], loaders: Mapping[str, str], published: bool) -> None:
    """The paper's seven columns and its means; what is missing or incomplete is '-', and so is every mean over it."""
    from rich.table import Table

    from evaluation.averages import average, columns
    from evaluation.sheets import PAPER
    from resources.benchmarks.published import published_scores

    values = {
        loaders[r["benchmark"]]: r["value"]
        for r in rows
        if r["subset"] == "" and r["metric"] == "accuracy" and r["benchmark"] in loaders
    }
    ours = columns(values)
    table = Table("model", *PAPER, *PAPER_MEANS)
    table.add_row(
        "this model", *map(_percent, ours.values()), *(_percent(average(ours, x)) for x in PAPER_MEANS.values())
    )
    if published:
        of: dict[str, dict[str, float]] = {}
        for a in published_scores().to_pylist():
            if a["sheet"] == "main":
                of.setdefault(a["model"], {})[a["metric"]] = a["value"] / 100
        for model, scores in sorted(of.items(), key=lambda kv: -kv[1].get("Average", 0)):
            means = (_percent(average(scores, x)) for x in PAPER_MEANS.values())
            table.add_row(model, *(_percent(scores.get(c)) for c in PAPER), *means)
    _console().print(table)


def _print_agreement(lines: Mapping[str, Sequence[dict]], published: bool) -> None:
    """How often each model, or judge, agrees with people on the hold-out; the published rows beside them (spec 7.15)."""
    from rich.table import Table

    from resources.benchmarks.published import published_scores

    found = {model: r for model, rows in lines.items() for r in rows if r["benchmark"] == "holdout"}
    if len(found) < 2 and not published:
        return
    table = Table("model", "agreement with people", "95 % interval", "pairs")
    for model, r in sorted(found.items(), key=lambda kv: -kv[1]["value"]):
        table.add_row(model, _percent(r["value"]), f"{100 * r['low']:.1f} to {100 * r['high']:.1f}", f"{r['n']:,}")
    if published:
        for a in published_scores().to_pylist():
            if a["sheet"] == "human_agreement":
                table.add_row(f"published: {a['model']}", f"{a['value']:.1f}", "-", "-")
    _console().print(table)


def _print_difference(loaded, a, b, name_a: str, name_b: str, seed: int) -> list[tuple[float, float]]:
    """Differences over whole benchmarks, p-values corrected for the number of benchmarks; returns both values of each."""
    from rich.table import Table

    from evaluation.compare import compare, holm
    from evaluation.items import attach
    from resources.benchmarks.rewards import of

    found = {}
    for one in loaded:
        pair = (attach(one.name, one.labelled, of(s, one.name)) for s in (a, b))
        whole = [d for d in compare(one.name, one.sheet, *pair, one.found, seed=seed) if d.subset == ""]
        found[one.name] = next(d for d in whole if d.metric in ("accuracy", "accuracy_at_hand"))
    corrected = holm({name: d.p for name, d in found.items()})
    exact = holm({name: d.mcnemar for name, d in found.items() if d.mcnemar is not None})
    table = Table(
        "benchmark", name_a, name_b, "difference", "95 % interval", "p (Holm)", "McNemar p (Holm)", "only one right"
    )
    for name, d in found.items():
        only = "-" if d.only_a is None else f"{d.only_a} / {d.only_b}"
        interval = f"{100 * d.low:+.1f} to {100 * d.high:+.1f}"
        shown = (f"{100 * d.a:.1f}", f"{100 * d.b:.1f}", f"{100 * d.value:+.1f}", interval, f"{corrected[name]:.4f}")
        table.add_row(name, *shown, f"{exact[name]:.2g}" if name in exact else "-", only)
    _console().print(table)
    return [(d.a, d.b) for d in found.values()]


def _print_seeds(
    ours: Sequence[list[dict]], theirs: Sequence[list[dict]], name_a: str, name_b: str
) -> list[tuple[float, float]]:
    """Means over seeds and a paired t-test over them for every benchmark (spec O-28); returns both means of each.

    Args:
        ours, theirs: a seed each, rows of `headline`.
    """
    from statistics import fmean, stdev

    from rich.table import Table

    from evaluation.compare import holm, paired_t

    found: dict[str, tuple[list[float], list[float]]] = {}
    for side, seeds in enumerate((ours, theirs)):
        for row in (r for rows in seeds for r in rows):
            found.setdefault(row["benchmark"], ([], []))[side].append(row["value"])
    tests = {name: paired_t(*both) for name, both in found.items()}
    corrected = holm({name: p for name, (_, p) in tests.items()})
    table = Table("benchmark", f"{name_a} (sd)", f"{name_b} (sd)", "difference", "seeds", "t", "p", "p (Holm)")
    for name, (a, b) in found.items():
        t, p = tests[name]
        shown = (f"{100 * fmean(x):.1f} ({100 * stdev(x):.1f})" for x in (a, b))
        gain = f"{100 * (fmean(a) - fmean(b)):+.1f}"
        table.add_row(name, *shown, gain, str(len(a)), f"{t:.2f}", f"{p:.4f}", f"{corrected[name]:.4f}")
    _console().print(table)
    return [(fmean(a), fmean(b)) for a, b in found.values()]


def _print_over_benchmarks(values: list[tuple[float, float]]) -> None:
    """A paired t-test over benchmarks (spec O-28)."""
    from evaluation.compare import paired_t

    if len(values) > 1:
        a, b = zip(*values, strict=True)
        t, p = paired_t(a, b)
        gain = 100 * (sum(a) - sum(b)) / len(a)
        _console().print(f"over {len(a)} benchmarks: difference {gain:+.1f}, paired t {t:.2f}, p {p:.4f}")


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _console():
    from cli.terminal import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else 200)
