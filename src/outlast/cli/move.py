"""`outlast move`: take the jobs that wait along to another store."""

from __future__ import annotations

import asyncio
import signal
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from outlast.admin.moving import MovePlan, Mover
from outlast.cli.common_options import AppOption, JsonOption, common_options
from outlast.cli.output import show
from outlast.cli.output.answers import explain
from outlast.cli.store_access import find_store, on_store
from outlast.core.errors import ConfigurationError
from outlast.core.exitcodes import FAILED, INTERRUPTED
from outlast.core.text import clean, counted

if TYPE_CHECKING:
    from outlast.admin.access import StoreAccess
    from outlast.admin.moving import MoveOutcome, MoveProgress
    from outlast.core.message import State
    from outlast.core.store.store import Store

__all__ = ["register"]


def register(root: typer.Typer) -> None:
    """Add the command."""
    root.command("move")(move)


def move(
    ctx: typer.Context,
    *,
    to: Annotated[str, typer.Option("--to", metavar="URL", help="The store that the jobs go to; made if missing.")],
    source: Annotated[
        str | None, typer.Option("--from", metavar="URL", help="The store they are in; else as for every command.")
    ] = None,
    queues: Annotated[list[str] | None, typer.Option("--queue", "-q", help="Only this queue; may be repeated.")] = None,
    wait: Annotated[
        bool, typer.Option("--wait", "-w", help="Wait for jobs that run, and take their retries too.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    app: AppOption = None,
    json: JsonOption = False,
) -> None:
    """Take scheduled, ready and parked jobs to another store, as they are. Its queues here stay paused.

    Each job is durable there before it ends here, and runs nowhere between. After a crash or Ctrl-C, repeat the move:
    it goes on where it was. Exits 1 while something is left here.
    """
    options = common_options(ctx, source, app, json)
    here = find_store(options, "--url" if source is None else "--from")
    there = find_store(replace(options, url=to), "--to")
    source_name, target_name = here.kind.identity(here.url), there.kind.identity(there.url)
    if source_name == target_name:
        raise ConfigurationError(f"move: {here.shown} is both: name another store with --to")
    if there.kind.in_process:
        instead = "'sqlite:PATH' or 'redis://HOST'"
        raise ConfigurationError(f"--to {there.shown}: its jobs would be gone with this command: give {instead}")
    plan = MovePlan(source_name, target_name, tuple(queues or ()))
    if not yes:
        _confirm(here, there, plan)
    mover, outcome = asyncio.run(_move(here, there, plan, wait=wait))
    _print_outcome(here, mover.progress, outcome, json=options.json)


def _confirm(here: StoreAccess, there: StoreAccess, plan: MovePlan) -> None:
    async def count(store: Store) -> dict[State, int]:
        return await Mover(plan, store, store).left()

    waiting = {state: number for state, number in on_store(here, count).items() if state != "running"}
    number = counted(sum(waiting.values()), "job")
    if not sys.stdin.isatty():
        raise ConfigurationError(f"move would take {number} along: add --yes (there is nobody to ask here)")
    if not typer.confirm(f"Move {number} of {here.shown} to {there.shown}? The queues here stay paused.", err=True):
        raise typer.Exit(FAILED)


async def _move(here: StoreAccess, there: StoreAccess, plan: MovePlan, *, wait: bool) -> tuple[Mover, MoveOutcome]:
    """Move; Ctrl-C ends it between two rounds."""
    from outlast.admin.access import open_existing, open_or_create

    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    async with open_existing(here) as source, open_or_create(there) as target:
        loop.add_signal_handler(signal.SIGINT, stop.set)
        try:
            mover = Mover(plan, source, target)
            return mover, await mover.run(stop, wait=wait)
        finally:
            loop.remove_signal_handler(signal.SIGINT)


def _print_outcome(here: StoreAccess, progress: MoveProgress, outcome: MoveOutcome, *, json: bool) -> None:
    if json:
        show.json(
            {
                "moved": progress.moved,
                "recovered": outcome.recovered,
                "refused": [
                    {"why": why, "jobs": number, "such_as": progress.examples[why]}
                    for why, number in progress.refused.items()
                ],
                "left": outcome.left,
                "interrupted": outcome.interrupted,
            }
        )
    else:
        show.say(f"{counted(progress.moved, 'job')} moved; the queues of {here.shown} stay paused")
        if outcome.recovered:
            show.say(f"{counted(outcome.recovered, 'job')} of an earlier move let in line")
    for why, number in progress.refused.items():
        such = clean(progress.examples[why])
        show.note(f"outlast: {counted(number, 'job')} stay, such as {such}: {explain(why)}")
    for state, number in outcome.left.items():
        show.note(f"outlast: {number:,} {state} left in {here.shown}{_HINTS.get(state, '')}")
    if outcome.interrupted:
        show.note("outlast: interrupted between two rounds: each job is in one of the stores; repeat the move to go on")
        raise typer.Exit(INTERRUPTED)
    if outcome.left:
        raise typer.Exit(FAILED)


_HINTS = {
    "running": ": repeat the move when they have ended, or add --wait",
    "waiting": ": set aside by a move to another store; repeat that one",
}
