"""Changing many jobs at once: those that a filter finds, shown and asked about first, then at a rate."""

from __future__ import annotations

import asyncio
import signal
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
from outlast.cli.output.answers import explain, print_answers
from outlast.cli.store_access import find_store, on_store
from outlast.core.errors import ConfigurationError
from outlast.core.exitcodes import FAILED, INTERRUPTED
from outlast.core.filters import is_filter, parse
from outlast.core.store.control import Command
from outlast.core.store.records import Query
from outlast.core.text import clean, counted

if TYPE_CHECKING:
    from outlast.admin.access import StoreAccess
    from outlast.core.limits import Rate
    from outlast.core.store.store import Store

__all__ = ["Change", "RateOption", "YesOption", "change_jobs", "change_matching"]

RateOption = Annotated[
    str | None, typer.Option("--rate", help="At most so many, such as 100/s or 10/minute; all at once if left out.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


class Change(Struct, frozen=True):
    """What is done to jobs. verb: "Redrive"; each: what is said of one; done: of many."""

    verb: str
    command: Callable[[str], Command]
    each: str
    done: str


def change_jobs(
    options: CommonOptions,
    words: Sequence[str],
    change: Change,
    *,
    yes: bool,
    rate: str | None,
    states: Sequence[str] = (),
) -> None:
    """Change the jobs of these ids, or all that these filter words find among those in `states`."""
    filtering = [is_filter(word) for word in words]
    if any(filtering) and not all(filtering):
        raise ConfigurationError(f"{words[filtering.index(False)]!r}: give ids alone, or a filter alone")
    if words and not filtering[0]:
        if rate is not None or yes:
            raise ConfigurationError("--rate and --yes go with a filter, such as state:dead; ids are taken at once")
        access = find_store(options)
        answers = on_store(access, lambda store: store.control.apply([change.command(each) for each in words]))
        print_answers(words, answers, json=options.json, done=change.each)
        return
    from time import time

    query = parse(words, time())
    if states:
        # What cannot be changed so is not asked for, unless the filter names the states itself.
        query = msgspec.structs.replace(query, states=query.states or tuple(states))
    change_matching(options, query, change, yes=yes, rate=rate)


def change_matching(options: CommonOptions, query: Query, change: Change, *, yes: bool, rate: str | None) -> None:
    """Show how many jobs a query finds, ask, and change them, at most `rate` of them in a time."""
    from outlast.core.limits import rate_of

    pace = None if rate is None else rate_of(rate, "--rate")
    access = find_store(options)
    found = on_store(access, lambda store: bulk.select(store.records, query))
    if not found.ids and not options.json:
        show.note(f"no such jobs in {access.shown}")
        return
    if found.ids and not yes:
        _confirm(access, found, change)
    outcome = on_store(access, lambda store: _change(store, found.ids, change, pace))
    _print_outcome(options, found, outcome, change)


def _confirm(access: StoreAccess, found: BulkSelection, change: Change) -> None:
    number = counted(len(found.ids), "job")
    if not sys.stdin.isatty():
        raise ConfigurationError(
            f"{change.verb.lower()} would change {number}: add --yes (there is nobody to ask here)"
        )
    for (queue, kind, state), count in found.groups.most_common(20):
        show.note(f"  {count:>9,}  {state} {clean(kind)} in {clean(queue)}")
    examples = ", ".join(clean(each) for each in found.ids[:3])
    show.note(f"  such as {examples}")
    if not typer.confirm(f"{change.verb} {number} of {access.shown}?", err=True):
        raise typer.Exit(FAILED)


async def _change(store: Store, ids: Sequence[str], change: Change, rate: Rate | None) -> BulkOutcome:
    """Apply the change to all; Ctrl-C ends it between two steps, so that what is printed is what was done."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    done = 0

    def progress(asked: int) -> None:
        nonlocal done
        done = asked
        _progress(asked, len(ids))

    loop.add_signal_handler(signal.SIGINT, stop.set)
    try:
        return await bulk.change(store.control, ids, change.command, rate=rate, stop=stop, progress=progress)
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        if done < len(ids):
            _progress_ends(len(ids))


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty() and total > bulk.BATCH:
        sys.stderr.write(f"\r{done:,} of {total:,}" + ("\n" if done == total else ""))
        sys.stderr.flush()


def _progress_ends(total: int) -> None:
    """Begin a new line: what is said next would stand behind the numbers."""
    if sys.stderr.isatty() and total > bulk.BATCH:
        sys.stderr.write("\n")


def _print_outcome(options: CommonOptions, found: BulkSelection, outcome: BulkOutcome, change: Change) -> None:
    interrupted = outcome.asked < len(found.ids)
    if options.json:
        show.json(
            {
                "matched": len(found.ids),
                "changed": outcome.changed,
                "refused": [{"id": id_, "why": answer.why} for id_, answer in outcome.refused],
                "interrupted": interrupted,
            }
        )
    else:
        show.say(f"{counted(outcome.changed, 'job')} {change.done}")
        for (why, words), number in Counter((each.why, explain(each.why)) for _, each in outcome.refused).items():
            first = next(id_ for id_, each in outcome.refused if each.why == why)
            show.note(f"outlast: {counted(number, 'job')} not changed, such as {clean(first)}: {words}")
    if interrupted:
        left = len(found.ids) - outcome.asked
        show.note(f"outlast: interrupted: {outcome.asked:,} of {len(found.ids):,} done, {left:,} untouched")
        raise typer.Exit(INTERRUPTED)
    if outcome.refused:
        raise typer.Exit(FAILED)
