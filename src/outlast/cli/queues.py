"""`outlast queues`: show depth, drain rate, workers and limits of each queue; pause, resume, set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import to_builtins

from outlast.cli.common_options import CommonOptions, DefaultGroup, command
from outlast.cli.output import show
from outlast.cli.output.answers import print_answers
from outlast.cli.queues_set import limits_line, set_
from outlast.cli.store_access import find_store, on_store
from outlast.core.errors import ConfigurationError
from outlast.core.exitcodes import NOT_FOUND
from outlast.core.store.broker import QueueStats
from outlast.core.store.control import Pause
from outlast.core.text import duration

if TYPE_CHECKING:
    from outlast.core.store.store import Store

__all__ = ["register"]

group = typer.Typer(cls=DefaultGroup, help="Show the queues; pause and resume them.")
Names = Annotated[list[str], typer.Argument(metavar="NAME...", help="Queues.")]


def register(root: typer.Typer) -> None:
    """Add the commands."""
    root.add_typer(group, name="queues")


@command(group, "list")
def list_(
    options: CommonOptions,
    *,
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Only these queues.")] = None,
) -> None:
    """Show every queue: its jobs by state, how fast it drains, its workers and limits."""
    access = find_store(options)
    declared = () if access.app is None else sorted(access.app.registry.queues)
    stats, waits = on_store(access, lambda store: _read(store, names or (), declared))
    if options.json:
        queues = [
            {"name": name, **to_builtins(found), "waits_for": waits.get(name, "")}
            for name, found in sorted(stats.items())
        ]
        show.json({"queues": queues})
    else:
        limited = any(limits_line(found) != "-" for found in stats.values())
        show.table(
            (*_HEADS, *(["limits"] if limited else []), ""),
            (_row(*each, waits.get(each[0], ""), limited=limited) for each in sorted(stats.items())),
            empty=f"no queues in {access.shown}",
        )
    missing = [name for name in names or () if name not in stats]
    for name in missing:
        show.note(f"outlast: no queue {name!r} in {access.shown}")
    if missing:
        raise typer.Exit(NOT_FOUND)


async def _read(
    store: Store, names: Sequence[str], declared: Sequence[str]
) -> tuple[dict[str, QueueStats], dict[str, str]]:
    """Return the counts of the queues, and why the jobs of some wait for guards. declared: those of the app."""
    from outlast.admin.guards import waits_of_queues

    if not names and not store.keeps_records():
        if not declared:
            raise ConfigurationError(f"{store.url} does not list its queues: name them, or give --app module:name")
        names = declared
    stats = await store.broker.stats(names)
    return stats, await waits_of_queues(store, stats)


_HEADS = ("queue", "depth", "ready", "scheduled", "running", "parked", "dead", "oldest", "drained", "empty", "workers")


def _row(name: str, stats: QueueStats, waits_for: str, *, limited: bool) -> list[show.Cell]:
    depth = f"{stats.depth}/{stats.max_depth}" if stats.max_depth is not None else stats.depth
    waits = stats.depth > stats.running
    remarks = []
    if stats.paused:
        remarks.append("paused")
    if waits_for:
        remarks.append(waits_for)
    if waits and not stats.consumers and not stats.paused:
        remarks.append("nobody")
    if (stats.max_depth is not None and stats.depth >= stats.max_depth) or (
        stats.max_bytes is not None and (stats.bytes or 0) >= stats.max_bytes
    ):
        remarks.append("full")
    if waits and stats.held:
        remarks.append("its concurrency is full" if stats.held == "concurrency" else "its rate is used up")
    if stats.keys_held:
        remarks.append(f"{stats.keys_held} of {stats.keys + stats.keys_held} keys wait for their limits")
    if stats.successors:
        remarks.append(f"{stats.successors} behind running jobs with their unique key")
    if stats.shed:
        remarks.append(f"{stats.shed} shed")
    return [
        name,
        depth,
        stats.ready,
        stats.scheduled,
        stats.running,
        stats.parked,
        (str(stats.dead), "bold red") if stats.dead and show.on_terminal() else stats.dead,
        duration(stats.oldest) if stats.ready else "-",
        f"{stats.drain_rate:.1f}/s",
        _empty(stats),
        stats.consumers,
        *([limits_line(stats)] if limited else []),
        (", ".join(remarks), "bold yellow"),
    ]


def _empty(stats: QueueStats) -> str:
    """Return when it is empty; what the other columns tell already is left out: that it is paused, or has no worker."""
    return "-" if stats.paused or not stats.consumers else stats.forecast.told()


@command(group, "pause")
def pause(options: CommonOptions, names: Names) -> None:
    """Start no more jobs of these queues, until resume. Running jobs continue; the queues accept new jobs."""
    _set_paused(options, names, on=True)


@command(group, "resume")
def resume(options: CommonOptions, names: Names) -> None:
    """Start jobs of these queues again."""
    _set_paused(options, names, on=False)


command(group, "set")(set_)


def _set_paused(options: CommonOptions, names: list[str], *, on: bool) -> None:
    answers = on_store(find_store(options), lambda store: store.control.apply([Pause(name, on) for name in names]))
    done = "paused" if on else "resumed"
    print_answers(names, answers, json=options.json, done=done, unchanged=f"is {done} already", noun="queue")
