"""`outlast move`: take the jobs that wait along to another store."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from outlast.admin.moving import MovePlan, Mover
from outlast.cli.output import show
from outlast.cli.output.answers import explain
from outlast.cli.session import AppOption, JsonOption, session
from outlast.cli.store_access import StoreAccess, ask, find_store, made, opened
from outlast.core.errors import ConfigurationError
from outlast.core.exitcodes import FAILED, INTERRUPTED
from outlast.core.text import clean, counted

if TYPE_CHECKING:
    from outlast.core.message import State
    from outlast.core.store.store import Store

__all__ = ["register"]

_LOOK = 1.0
"""Seconds between looks at jobs that still run."""


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
    given = session(ctx, source, app, json)
    here = find_store(given, "--url" if source is None else "--from")
    there = find_store(replace(given, url=to), "--to")
    if _same(here, there):
        raise ConfigurationError(f"move: {here.shown} is both: name another store with --to")
    if there.file is None and not there.is_server:
        instead = "'sqlite:PATH' or 'redis://HOST'"
        raise ConfigurationError(f"--to {there.shown}: its jobs would be gone with this command: give {instead}")
    plan = MovePlan(_name(here), _name(there), tuple(queues or ()))
    if not yes:
        _confirm(here, there, plan)
    outcome = asyncio.run(_move(here, there, plan, wait=wait))
    _tell(here, outcome, json=given.json)


def _same(here: StoreAccess, there: StoreAccess) -> bool:
    return _name(here) == _name(there)


def _name(place: StoreAccess) -> str:
    """Return one name for one store, however it was written: what a repeated move finds its own jobs by."""
    if place.is_server:
        from outlast.brokers.redis.address import Address

        address = Address.of(place.settings.url)
        return f"{address.shown}?namespace={address.namespace}"
    return os.path.realpath(place.file) if place.file is not None else place.shown


def _confirm(here: StoreAccess, there: StoreAccess, plan: MovePlan) -> None:
    async def count(store: Store) -> dict[State, int]:
        return await Mover(plan, store, store).left()

    waiting = {state: number for state, number in ask(here, count).items() if state != "running"}
    number = counted(sum(waiting.values()), "job")
    if not sys.stdin.isatty():
        raise ConfigurationError(f"move would take {number} along: add --yes (there is nobody to ask here)")
    if not typer.confirm(f"Move {number} of {here.shown} to {there.shown}? The queues here stay paused.", err=True):
        raise typer.Exit(FAILED)


class _MoveOutcome:
    """What a move came to."""

    def __init__(self) -> None:
        self.mover: Mover | None = None
        self.recovered = 0
        self.left: dict[State, int] = {}
        self.interrupted = False


async def _move(here: StoreAccess, there: StoreAccess, plan: MovePlan, *, wait: bool) -> _MoveOutcome:
    stop, outcome = asyncio.Event(), _MoveOutcome()
    loop = asyncio.get_running_loop()
    async with opened(here) as source, made(there) as target:
        loop.add_signal_handler(signal.SIGINT, stop.set)
        try:
            outcome.mover = mover = Mover(plan, source, target)
            await mover.pause()
            outcome.recovered = await mover.recover()
            while not stop.is_set():
                went = await mover.step(stop.is_set)
                running = await mover.running()
                if wait and running and not stop.is_set():
                    await _until_one_ends(source, running, stop)
                elif not went:
                    break
            outcome.left = await mover.left()
            outcome.interrupted = stop.is_set()
        finally:
            loop.remove_signal_handler(signal.SIGINT)
    return outcome


async def _until_one_ends(source: Store, running: list[str], stop: asyncio.Event) -> None:
    """Wait for jobs at the source, a second at most: one that is to be retried does not end."""
    ended = asyncio.ensure_future(source.records.wait(running[:1], _LOOK))
    stopped = asyncio.ensure_future(stop.wait())
    await asyncio.wait((ended, stopped), return_when=asyncio.FIRST_COMPLETED)
    for each in (ended, stopped):
        each.cancel()
    await asyncio.gather(ended, stopped, return_exceptions=True)


def _tell(here: StoreAccess, outcome: _MoveOutcome, *, json: bool) -> None:
    mover = outcome.mover
    assert mover is not None
    progress = mover.progress
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
