"""`assay run` and `assay iterate`: the job, what stopped it, and what it made."""

import os
import re
import sys
import time
from collections.abc import Collection, Sequence

from assets.judging import missing_answers
from cli.dagster_runs import JobFailed, RunFailure, iterate, opened, run_all
from cli.ending import made, name_models, notices
from cli.exits import DONE, FAILED, INCOMPLETE, UNCONFIRMED
from cli.home import settle
from cli.progress import lines
from cli.start_model import problem
from cli.status import closing
from resources.lake import Lake
from resources.llm.bill import CONFIRM
from resources.settings import ConfigError, Settings

TRAINS = {"stage1", "stage2", "models"}  # groups with reward models
GENERATED = ("world",)  # groups that every other rests on
WAITING = {"Waiting": "people", "Pending": "a provider's batch"}  # what stops a step and is no fault
HOW_TO_AGREE = re.compile(r"--confirm (\d+\.\d\d)")  # what a step says that nobody has agreed to


def run_groups(settings: Settings, groups: Collection[str], confirm: float | None, jobs: int | None = None) -> int:
    """Make everything, or all of `groups`, that is not up to date, so many runs at once (None: as many as `dagster.yaml`
    allows); returns the exit status.

    Raises:
        ConfigError: there is no such group, or what its reward models start from is not there.
    """
    if (missing := problem(settings)) and (not groups or TRAINS & set(groups)):
        raise ConfigError(missing)
    _prepare(settings, confirm)
    groups = [*GENERATED, *groups] if groups else ()  # empty tables where no world is configured
    lake = Lake.of(settings)
    known = _note(settings, lake, set())
    while True:
        started = time.monotonic()
        try:
            with lines(lake) as say:
                ran, kept = run_all(settings, say, groups, jobs)
        except JobFailed as e:
            if (status := _stopped(e.failures)) is None:
                continue
            _note(settings, lake, known)
            return status
        break
    if ran:
        print(f"{ran} steps run, {kept} already up to date, {time.monotonic() - started:.0f} s.")
    else:
        print(f"Everything is up to date: {kept} steps left alone, none run.")
    _note(settings, lake, known)
    now = lake.pinned()
    name_models(now)
    closing(settings, now)
    if lost := missing_answers(settings, now)[1]:
        print(
            f"\nassay: {lost:,} answers are missing, named above; the same command asks for them again.",
            file=sys.stderr,
        )
        return INCOMPLETE
    return DONE


def run_iterations(settings: Settings, keys: Sequence[str], confirm: float | None) -> int:
    """Run iterations whole and in order, up to date or not; returns the exit status."""
    _prepare(settings, confirm)
    lake = Lake.of(settings)
    with opened() as instance:
        for key in keys:
            print(f"{key} …", flush=True)
            while True:
                with lines(lake) as say:
                    why = iterate(settings, key, instance, say)
                if why is None:
                    break
                if (status := _stopped([RunFailure(f"{key}: {why}", why.stopped_by)])) is not None:
                    return status
    for line in made(settings, lake):
        print(line)
    return DONE


def _note(settings: Settings, lake: Lake, known: set[str]) -> set[str]:
    """Prints what deserves a look and was not printed before; returns what is printed by now."""
    lines = [line for line in notices(settings, lake.pinned()) if line not in known]
    for line in lines:
        print(line, flush=True)
    return known | set(lines)


def _prepare(settings: Settings, confirm: float | None) -> None:
    settle(settings)
    if confirm is not None:
        os.environ[CONFIRM] = str(confirm)


def _stopped(failures: Sequence[RunFailure]) -> int | None:
    """Says what stopped the job; the exit status, or None where somebody at the terminal agrees to go on."""
    why, stops = "\n".join(map(str, failures)), {f.stopped_by for f in failures}
    if stops <= WAITING.keys():
        whom = " and ".join(WAITING[name] for name in sorted(stops))
        print(f"\nWaiting for {whom}. {why}\nThe same command goes on from there.")
        return DONE
    if (amount := HOW_TO_AGREE.search(why)) is not None:
        if sys.stdin.isatty() and sys.stdout.isatty() and (agreed := asked(why, float(amount[1]))) > 0:
            os.environ[CONFIRM] = str(agreed)
            return None
        print(f"\nassay: stopped. {why}", file=sys.stderr)
        return UNCONFIRMED
    print(f"\nassay: stopped. {why}\nWhat was made stays; the same command goes on from there.", file=sys.stderr)
    return FAILED


def asked(question: str, total: float) -> float:
    """Dollars in all that somebody at the terminal agrees to; 0 for no.

    Args:
        question: what is about to be paid.
        total: dollars in all that it would come to.
    """
    print(f"\n{question}", flush=True)
    answer = input("Go on? y, n, or dollars in all up to which not to ask again: ").strip().lower().removeprefix("$")
    if answer in ("y", "yes"):
        return total
    try:
        return agreed if (agreed := float(answer)) >= total else 0.0
    except ValueError:
        return 0.0
