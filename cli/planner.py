"""`assay plan`: what a target costs and what a budget reaches, what is wrong with a plan, and when to stop (spec 9)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table as Grid

from cli.exits import DONE, UNUSABLE
from evaluation.planning import (
    REGIMES,
    Curve,
    LabelPlan,
    NotOnTheCurve,
    PriceRange,
    Stratum,
    alternatives,
    costed,
    doubtful,
    flaws,
    gains,
    over_strata,
    rising,
    stops_after,
    weeks,
)
from resources.benchmarks.published import published_curve, published_means, published_scores
from resources.lake import Lake
from resources.settings import Settings
from sql import statement

if TYPE_CHECKING:
    import duckdb

PAPER = {"gold": "0.1-0.7", "silver": "0.05", "stage2": "0.01"}  # its range of labels, and its worked example
PUBLISHED = "published"


@dataclass(frozen=True)
class PlanRequest:
    """What `assay plan` is asked.

    Attributes:
        pairs: of the regimes that are fixed.
        prices: of the regimes that are not taken from what was spent.
        curve: an experiment's name, or `published`; '' takes the lake's own where there is one.
    """

    target: float | None = None
    budget: Decimal | None = None
    pairs: Mapping[str, int] = field(default_factory=dict)
    prices: Mapping[str, str] = field(default_factory=dict)
    curve: str = ""
    stop_below: float = 0.3
    patience: int = 2


def show(settings: Settings, lake: Lake, asked: PlanRequest, console: Console | None = None) -> int:
    """Print the plan; returns the exit status, 2 where a target or a curve cannot be used."""
    console = console or Console(highlight=False, soft_wrap=True)
    try:
        with lake.connect() as con:
            curve = _curve(con, settings, asked.curve)
            prices, bases = _prices(con, settings, asked.prices)
            strata = {n: Stratum(*numbers) for n, *numbers in con.execute(statement("estimate/gold_strata")).fetchall()}
    except (NotOnTheCurve, ValueError) as e:
        console.print(f"assay: {e}", markup=False)
        return UNUSABLE
    console.print(
        f"Curve: {curve.name}, from {curve.scores[0]:.1f} at {curve.pairs[0]:,.0f} to {curve.scores[-1]:.1f} at"
        f" {curve.pairs[-1]:,.0f} pairs."
    )
    for regime in REGIMES:
        console.print(f"A pair of {regime}: {prices[regime]} ({bases[regime]}).")
    for doubt in doubtful(prices):
        console.print(f"[yellow]Beware:[/] {doubt}.")
    status, needed, gold = DONE, None, asked.pairs.get("gold", 0)
    if asked.target is not None:
        try:
            needed = round(curve.needed(asked.target))
            console.print(
                f"\nA score of {asked.target:g} needs {needed:,} curated pairs, {needed / curve.whole:.1%} of"
                f" {curve.whole:,.0f}."
            )
        except NotOnTheCurve as e:
            console.print(f"\n[red]No plan:[/] {e}.")
            status = UNUSABLE
    for flaw in _flaws(asked, prices, curve):
        console.print(f"[yellow]Wrong with this plan:[/] {flaw}.")
    if asked.pairs:
        _table(console, "The plan as given", [costed(asked.pairs, prices)], curve, needed, settings.people.annotators)
    if asked.budget is not None and status == DONE:
        plans = sorted(alternatives(asked.budget, needed, prices), key=lambda p: (-p.total, p.high))
        _table(console, f"Plans within ${asked.budget:,}", plans, curve, needed, settings.people.annotators)
        gold = gold or next((p.pairs["gold"] for p in plans if p.pairs["gold"]), 0)
        if needed is not None and max(p.total for p in plans) < needed:
            cheapest = prices["stage2"].high * needed
            console.print(
                f"None reaches {needed:,} pairs. Stage 2 alone would cost ${cheapest:,}, and cannot be without gold."
            )
    _strata(console, strata, gold)
    _stop(console, asked, curve)
    return status


def _flaws(asked: PlanRequest, prices: Mapping[str, PriceRange], curve: Curve) -> list[str]:
    means = published_means() if curve.name == published_curve().name else {}
    budget = asked.budget if asked.budget is not None else Decimal("Infinity")
    return flaws(budget, asked.pairs, prices, asked.target, means)


def _curve(con: "duckdb.DuckDBPyConnection", settings: Settings, name: str) -> Curve:
    """The named curve, else that of an experiment on parts of one set, else the published one.

    Raises:
        ValueError: there is no such experiment, or it has no curve.
    """
    names = settings.partition_keys("experiment")
    chosen = name or next((n for n in names if settings.experiment(n).preset == "efficiency"), PUBLISHED)
    if chosen == PUBLISHED:
        return published_curve()
    if chosen not in names:
        raise ValueError(f"no curve {chosen!r}: neither an experiment ({', '.join(names) or 'none'}) nor {PUBLISHED}")
    parts = {a.name for a in settings.experiment(chosen).arms if a.share or a.size}
    rows = con.execute(statement("experiments/own_curve"), parameters={"experiment": chosen}).fetchall()
    points = [(pairs, score) for arm, pairs, score in rows if arm in parts and pairs]
    if len(points) < 2:
        if name:
            raise ValueError(
                f"the experiment {name} has no curve: fewer than two of its arms with a share or a size are made"
            )
        return published_curve()
    return rising(f"the own curve ({chosen})", points)


def _prices(
    con: "duckdb.DuckDBPyConnection", settings: Settings, given: Mapping[str, str]
) -> tuple[dict[str, PriceRange], dict[str, str]]:
    """Prices and where they come from: as given, as spent so far, as configured, as in the paper."""
    spent = {
        r: (pairs, dollars, simulated)
        for r, pairs, dollars, simulated in con.execute(statement("estimate/regimes")).fetchall()
    }
    prices, bases = {}, {}
    for regime in REGIMES:
        pairs, dollars, simulated = spent.get(regime, (0, 0.0, False))
        label = Decimal(str(settings.people.cost_per_label)) * settings.people.annotators
        if regime in given:
            prices[regime], bases[regime] = PriceRange.read(given[regime]), "as given"
        elif pairs and dollars:
            each = (Decimal(str(dollars)) / pairs).quantize(Decimal("0.000001"))
            prices[regime] = PriceRange(each, each)
            bases[regime] = f"${dollars:,.2f} for {pairs:,} pairs so far{', simulated' if simulated else ''}"
        elif regime == "gold" and label:
            prices[regime], bases[regime] = PriceRange(label, label), "people.cost_per_label"
        else:
            prices[regime], bases[regime] = PriceRange.read(PAPER[regime]), "the paper's; nothing was spent here yet"
    return prices, bases


def _table(
    console: Console, title: str, plans: list[LabelPlan], curve: Curve, needed: int | None, labels_a_pair: int
) -> None:
    grid = Grid(title=title, title_justify="left")
    for name in (*REGIMES, "pairs", "dollars", "weeks", "score"):
        grid.add_column(name, justify="right")
    for plan in plans:
        try:
            score = f"{curve.score(plan.total):.1f}" if plan.total else "-"
        except NotOnTheCurve:
            score = (
                f"above {curve.scores[-1]:.1f}?" if plan.total > curve.pairs[-1] else f"below {curve.scores[0]:.1f}?"
            )
        low, high = weeks(labels_a_pair * plan.pairs["gold"])
        dollars = f"{plan.high:,.2f}" if plan.low == plan.high else f"{plan.low:,.2f} to {plan.high:,.2f}"
        enough = "" if needed is None or plan.total >= needed else f" (of {needed:,})"
        grid.add_row(
            *(f"{plan.pairs[r]:,}" for r in REGIMES),
            f"{plan.total:,}{enough}",
            dollars,
            f"{low:.1f} to {high:.1f}",
            score,
        )
    console.print(grid)


def _strata(console: Console, strata: Mapping[str, Stratum], gold: int) -> None:
    """Where so many gold labels would tell most; nothing where attributes or people's labels are lacking."""
    dealt = over_strata(strata, gold) if any(s.left + s.turned for s in strata.values()) else {}
    if not any(dealt.values()):
        return
    grid = Grid(title=f"Where {sum(dealt.values()):,} gold pairs would tell most", title_justify="left")
    grid.add_column("pairs of", no_wrap=True)
    for name in ("unlabelled", "gold so far", "turned round", "label next"):
        grid.add_column(name, justify="right")
    for name, s in sorted(strata.items(), key=lambda kv: (-dealt[kv[0]], kv[0])):
        known = s.left + s.turned
        share = f"{s.turned / known:.0%}" if known else "–"
        grid.add_row(name, f"{s.stock:,}", f"{known:,}", share, f"{dealt[name]:,}")
    console.print(grid)


def _stop(console: Console, asked: PlanRequest, curve: Curve) -> None:
    """When a rule on the gain for further pairs says stop."""
    if curve.name == published_curve().name:
        series = [r["value"] for r in published_scores().to_pylist() if r["sheet"] == "gain_per_million"]
        after = stops_after(series, asked.stop_below, asked.patience)
        where = "does not fire" if after is None else f"fires at {after + 1}M pairs"
        console.print(
            f"Stopping once {asked.patience} further millions in a row gain under {asked.stop_below:g} points each:"
            f" on the published series the rule {where}."
        )
        return
    steps = gains(list(zip(curve.pairs, curve.scores, strict=True)), per=curve.whole / 10)
    after = stops_after(steps, asked.stop_below, asked.patience)
    told = ", ".join(f"{g:+.2f}" for g in steps)
    where = "does not fire" if after is None else f"fires at {curve.pairs[after]:,.0f} pairs"
    console.print(
        f"Gain for each further tenth of the data, from point to point of the own curve: {told}. Stopping once"
        f" {asked.patience} in a row are under {asked.stop_below:g} points: the rule {where}."
    )
