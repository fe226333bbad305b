"""`assay people`: how far they are, at what pace, how far they agree, and which answers could not be used."""

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cli.terminal import Console
    from curation.agreement import Said
    from curation.intervals import Estimate
    from resources.annotators.desk import BatchProgress, Desk
    from resources.lake import Lake
    from resources.settings import Settings

MOST = 20  # refused answers shown


def show(
    settings: "Settings", lake: "Lake", only: str | None = None, every: bool = False, close: str | None = None
) -> int:
    """Print it; 2 for a batch that is not there.

    Args:
        only: this batch alone.
        every: every refused answer, also those given anew since.
        close: a batch of which nobody is asked any more; what is not labelled by now is asked for again in the next.
    """
    from cli.terminal import Console
    from resources.annotators.backends import DOORS, door
    from resources.annotators.desk import desk
    from resources.annotators.reports import said_at_desk, said_in_lake
    from resources.stops import Stop

    console = Console()
    if settings.people.backend not in DOORS:
        console.print(f"people.backend is '{settings.people.backend}': nobody is waited for.")
        _people(console, said_in_lake(lake), {}, settings)
        return 0
    with desk(lake) as opened:
        batches = opened.batches()
        if unknown := [b for b in (only, close) if b and b not in batches]:
            print(f"assay: no such batch: {unknown[0]!r}; out are: {', '.join(batches) or 'none'}", file=sys.stderr)
            return 2
        if close and not opened.progress(close, settings.people).closed:
            try:
                door(settings, opened).collect(close)
                opened.close_batch(close, "by hand")
                door(settings, opened).publish(close)
            except Stop as e:  # what people have answered there would come too late
                print(f"assay: {close} is not closed: {e}", file=sys.stderr)
                return 1
        if not batches:
            console.print("No batch is out yet; `assay run` makes the first one.")
            return 0
        said, known = [], {}
        for batch in [only] if only else batches:
            way = door(settings, opened)
            trouble = ""
            try:
                if not opened.progress(batch, settings.people).complete:
                    way.collect(batch)
                    way.progress(batch)  # closes it where its time has come
                    way.publish(batch)  # a disagreement asks for one more
            except Stop as e:
                trouble = str(e)
            state = way.progress(batch)
            _batch(console, state, way.where(batch), opened, settings, every)
            if trouble:
                console.print(f"  {trouble}", style="red", soft_wrap=True)
            some, planted = said_at_desk(opened.pairs(batch, settings.people))
            said += some
            known |= planted
    _people(console, said, known, settings)
    return 0


def _batch(
    console: "Console", state: "BatchProgress", where: str, opened: "Desk", settings: "Settings", every: bool
) -> None:
    """One batch: what is in, what is missing, from whom, and what was refused."""
    from rich.text import Text

    console.print(Text.assemble((state.batch, "bold"), f"  {where}"), soft_wrap=True)
    console.print(
        f"  {state.done:,} of {state.pairs:,} pairs done, {state.answered:,} answers in, {state.missing:,} missing"
    )
    if state.by:
        console.print("  by " + ", ".join(f"{who}: {n:,}" for who, n in sorted(state.by.items())), markup=False)
    if state.closed:
        late = opened.late(state.batch, settings.people)
        left = sum(p.unanswered for p in opened.pairs(state.batch, settings.people))
        console.print(
            f"  closed: {state.closed}"
            + (f"; {left:,} pairs are left for the next batch" if left else "")
            + (f"; {late:,} answers came later and do not count here" if late else "")
        )
    elif state.missing:
        if state.for_second:
            console.print(f"  {state.for_second} pairs wait for somebody who has not answered them yet")
        if state.for_adjudicator:
            who = ", ".join(settings.people.adjudicators)
            console.print(f"  {state.for_adjudicator} pairs wait for an adjudicator ({who})", markup=False)
        hours = (time.time() - state.published) / 3600
        pace = state.answered / hours if hours > 0.01 and state.answered else None
        if pace:
            console.print(
                f"  {pace:,.1f} answers an hour since it went out; at that pace {state.missing / pace:,.1f} hours more"
            )
    refused = opened.refusals(state.batch, every)
    for r in refused[:MOST]:
        name = f" ({r.annotator})" if r.annotator else ""
        console.print(
            f"  refused: {r.place}{name}: {r.reason}", style="yellow", markup=False, soft_wrap=True, highlight=False
        )
    if len(refused) > MOST:
        console.print(f"  and {len(refused) - MOST} more refused answers")


def _people(console: "Console", said: Sequence["Said"], known: dict[str, str], settings: "Settings") -> None:
    """Each of them, and how far they agree."""
    from rich.table import Table as Grid

    from curation.agreement import agreement, annotators, overruled

    if not said:
        return
    grid = Grid(
        "annotator", "labels", "share", "s a label", "an hour", "undecided", "with others", "known pairs", "with hint",
        "look at", title="Who", title_justify="left",
    )  # fmt: skip
    for a in annotators(said, known, settings.people.usual_seconds):
        grid.add_row(
            a.annotator,
            f"{a.labels:,}",
            f"{a.share:.0%}",
            _number(a.median_seconds),
            _number(a.per_hour),
            _share(a.undecided, False),
            _share(a.with_others),
            _share(a.with_known),
            _share(a.with_hint, False),
            "; ".join(a.notes),
        )
    console.print(grid)
    several = [a for a in agreement([s for s in said if s.pair not in known]) if a.pairs]
    if several:
        grid = Grid(
            "stratum", "pairs", "labels", "people", "equal", "alpha", "alpha, decided",
            title="Agreement on pairs that several labelled (Krippendorff, nominal, 95 %)", title_justify="left",
        )  # fmt: skip
        for a in several:
            numbers = (f"{a.pairs:,}", f"{a.labels:,}", str(a.people))
            grid.add_row(a.stratum, *numbers, _share(a.equal), _figure(a.alpha), _figure(a.decided))
        console.print(grid)
    against = overruled(said)
    if against.value is not None:
        console.print(f"The hint was overruled in {_share(against)} of the decided labels that saw one.")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def _share(e: "Estimate", interval: bool = True) -> str:
    if e.value is None:
        return ""
    return f"{e.value:.0%}" + (
        f" ({e.low:.0%}–{e.high:.0%})" if interval and e.low is not None and e.high is not None else ""
    )


def _figure(e: "Estimate") -> str:
    if e.value is None:
        return "not defined"
    return f"{e.value:.2f}" + (f" ({e.low:.2f} to {e.high:.2f})" if e.low is not None and e.high is not None else "")
