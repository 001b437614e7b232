"""`outlast move`: move waiting jobs to another store."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from outlast.admin.moving import MovePlan, Mover
from outlast.cli.common_options import AppOption, JsonOption, common_options
from outlast.cli.output import show
from outlast.cli.output.answers import confirm, explain
from outlast.cli.store_access import find_store, on_store, stop_on_interrupt
from outlast.core.errors import ConfigurationError
from outlast.core.exitcodes import FAILED, INTERRUPTED
from outlast.core.text import clean, counted

if TYPE_CHECKING:
    from outlast.admin.access import StoreAccess
    from outlast.admin.moving import MoveOutcome, MoveProgress

__all__ = ["register"]


def register(root: typer.Typer) -> None:
    """Add the command."""
    root.command("move")(move)


def move(
    ctx: typer.Context,
    *,
    to: Annotated[str, typer.Option("--to", metavar="URL", help="The target store; created if missing.")],
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="URL", help="The source store; else as for every command."),
    ] = None,
    queues: Annotated[list[str] | None, typer.Option("--queue", "-q", help="Only this queue; may be repeated.")] = None,
    wait: Annotated[
        bool, typer.Option("--wait", "-w", help="Wait for running jobs, and move their retries too.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    app: AppOption = None,
    json: JsonOption = False,
) -> None:
    """Move scheduled, ready and parked jobs to another store, unchanged. The queues of the source stay paused.

    Each job is durable in the target before it ends in the source, and does not run in between. After a crash or
    Ctrl-C, repeat the move: it continues. Exits 1 while jobs are left in the source.
    """
    options = common_options(ctx, source, app, json)
    here = find_store(options, "--url" if source is None else "--from")
    there = find_store(replace(options, url=to), "--to")
    source_name, target_name = here.kind.identity(here.url), there.kind.identity(there.url)
    if source_name == target_name:
        raise ConfigurationError(f"move: {here.shown} is the source and the target: name another store with --to")
    if there.kind.in_process:
        instead = "'sqlite:PATH' or 'redis://HOST'"
        raise ConfigurationError(f"--to {there.shown}: its jobs would be lost when this command exits: give {instead}")
    plan = MovePlan(source_name, target_name, tuple(queues or ()))
    if not yes:
        left = on_store(here, lambda store: Mover(plan, store, store).left())
        number = counted(sum(left.values()) - left.get("running", 0), "job")
        question = f"Move {number} of {here.shown} to {there.shown}? The queues here stay paused."
        confirm(question, f"move would move {number}")
    mover, outcome = asyncio.run(_move(here, there, plan, wait=wait))
    _print_outcome(here, mover.progress, outcome, json=options.json)


async def _move(here: StoreAccess, there: StoreAccess, plan: MovePlan, *, wait: bool) -> tuple[Mover, MoveOutcome]:
    """Move; Ctrl-C stops it between two rounds."""
    from outlast.admin.access import claims_of, open_existing, open_or_create

    async with open_existing(here) as source, open_or_create(there) as target:
        with stop_on_interrupt() as stop:
            mover = Mover(plan, source, target, claims_of(here))
            return mover, await mover.run(stop, wait=wait)


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
            show.say(f"{counted(outcome.recovered, 'job')} of an earlier move released")
    for why, number in progress.refused.items():
        example = clean(progress.examples[why])
        show.note(f"outlast: {counted(number, 'job')} not moved, such as {example}: {explain(why)}")
    for state, number in outcome.left.items():
        show.note(f"outlast: {number:,} {state} left in {here.shown}{_HINTS.get(state, '')}")
    if outcome.interrupted:
        show.note("outlast: interrupted between two rounds: each job is in one store; repeat the move to continue")
        raise typer.Exit(INTERRUPTED)
    if outcome.left:
        raise typer.Exit(FAILED)


_HINTS = {
    "running": ": repeat the move when they have ended, or add --wait",
    "waiting": ": wait for a running job with their unique key, or are held by another move; repeat that move",
}
