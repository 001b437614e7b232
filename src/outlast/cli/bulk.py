"""Changes many jobs at once: shows what a filter finds, asks, and changes the jobs at a rate."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from msgspec import Struct

from outlast.admin import bulk
from outlast.admin.bulk import BulkOutcome, BulkSelection
from outlast.cli.common_options import CommonOptions
from outlast.cli.output import show
from outlast.cli.output.answers import confirm, explain, print_answers, refuse
from outlast.cli.store_access import find_store, on_store, stop_on_interrupt
from outlast.core.errors import ConfigurationError
from outlast.core.exitcodes import FAILED, INTERRUPTED
from outlast.core.filters import is_filter, parse
from outlast.core.message import State
from outlast.core.store.control import Command
from outlast.core.store.records import Query
from outlast.core.text import clean, counted

if TYPE_CHECKING:
    from outlast.core.limits import Rate
    from outlast.core.store.store import Store

__all__ = ["Change", "RateOption", "YesOption", "change_jobs", "change_matching"]

RateOption = Annotated[
    str | None, typer.Option("--rate", help="At most this many, such as 100/s or 10/minute; all at once if left out.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


class Change(Struct, frozen=True):
    """A change of jobs. verb: "Redrive"; each, done: the result for one job, and for many.

    states: the states that a filter means if it names none; (): all.
    """

    verb: str
    command: Callable[[str], Command]
    each: str
    done: str
    states: tuple[State, ...] = ()


def change_jobs(options: CommonOptions, words: Sequence[str], change: Change, *, yes: bool, rate: str | None) -> None:
    """Change the jobs with these ids, or all jobs that these filter words find."""
    filtering = [is_filter(word) for word in words]
    if any(filtering) and not all(filtering):
        raise ConfigurationError(f"{words[filtering.index(False)]!r}: give only ids, or only a filter")
    if not any(filtering):
        if rate is not None or yes:
            raise ConfigurationError("--rate and --yes need a filter, such as state:dead; ids are changed at once")
        access = find_store(options)
        answers = on_store(access, lambda store: store.control.apply([change.command(each) for each in words]))
        print_answers(words, answers, json=options.json, done=change.each)
        return
    from time import time

    query = parse(words, time())
    change_matching(
        options, msgspec.structs.replace(query, states=query.states or change.states), change, yes=yes, rate=rate
    )


def change_matching(options: CommonOptions, query: Query, change: Change, *, yes: bool, rate: str | None) -> None:
    """Show how many jobs a query finds, ask, and change them, no faster than `rate`."""
    from outlast.core.limits import rate_of

    limit = None if rate is None else rate_of(rate, "--rate")
    access = find_store(options)
    found = on_store(access, lambda store: bulk.select(store.records, query))
    number = counted(len(found.ids), "job")
    if not yes and not sys.stdin.isatty():
        refuse(f"{change.verb.lower()} would change {number}")  # also for none: a script must not pass by chance
    if not found.ids and not options.json:
        show.note(f"no such jobs in {access.shown}")
        return
    if found.ids and not yes:
        question = f"{change.verb} {number} of {access.shown}?"
        confirm(question, f"{change.verb.lower()} would change {number}", _summary(found))
    outcome = on_store(access, lambda store: _change(store, found.ids, change, limit))
    _print_outcome(options, found, outcome, change)


def _summary(found: BulkSelection) -> list[str]:
    groups = [
        f"  {count:>9,}  {state} {clean(kind)} in {clean(queue)}"
        for (queue, kind, state), count in found.groups.most_common(20)
    ]
    return [*groups, f"  such as {', '.join(clean(each) for each in found.ids[:3])}"]


async def _change(store: Store, ids: Sequence[str], change: Change, rate: Rate | None) -> BulkOutcome:
    """Change all jobs; Ctrl-C stops it between two steps, so that the printed result is exact."""
    visible = sys.stderr.isatty() and len(ids) > bulk.BATCH

    def progress(done: int) -> None:
        if visible:
            sys.stderr.write(f"\r{done:,} of {len(ids):,}")
            sys.stderr.flush()

    with stop_on_interrupt() as stop:
        try:
            return await bulk.change(store.control, ids, change.command, rate=rate, stop=stop, progress=progress)
        finally:
            if visible:
                sys.stderr.write("\n")  # else the next text follows the numbers on their line


def _print_outcome(options: CommonOptions, found: BulkSelection, outcome: BulkOutcome, change: Change) -> None:
    matched, left = len(found.ids), len(found.ids) - outcome.asked
    if options.json:
        show.json(
            {
                "matched": matched,
                "changed": outcome.changed,
                "refused": [{"id": id_, "why": answer.why} for id_, answer in outcome.refused],
                "interrupted": left > 0,
            }
        )
    else:
        show.say(f"{counted(outcome.changed, 'job')} {change.done}")
        for why, number in Counter(answer.why for _, answer in outcome.refused).items():
            example = next(id_ for id_, answer in outcome.refused if answer.why == why)
            show.note(f"outlast: {counted(number, 'job')} not changed, such as {clean(example)}: {explain(why)}")
    if left:
        show.note(f"outlast: interrupted: {outcome.asked:,} of {matched:,} done, {left:,} unchanged")
        raise typer.Exit(INTERRUPTED)
    if outcome.refused:
        raise typer.Exit(FAILED)
