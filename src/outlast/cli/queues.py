"""`outlast queues`: how full each queue is, how fast it drains, who works on it, what limits it; pause and resume."""

from __future__ import annotations

from typing import Annotated

import typer

from outlast.cli import queues_set
from outlast.cli.common_options import AppOption, DefaultGroup, JsonOption, UrlOption, common_options
from outlast.cli.output import show
from outlast.cli.queues_set import limits_line
from outlast.cli.store_access import find_store, on_store
from outlast.core.exitcodes import NOT_FOUND
from outlast.core.store.broker import QueueStats
from outlast.core.store.control import Pause
from outlast.core.text import duration

__all__ = ["register"]

group = typer.Typer(cls=DefaultGroup, help="Show the queues; pause and resume them.")
Names = Annotated[list[str], typer.Argument(metavar="NAME...", help="Queues.")]


def register(root: typer.Typer) -> None:
    """Add the commands."""
    queues_set.register(group)
    root.add_typer(group, name="queues")


@group.command("list")
def list_(
    ctx: typer.Context,
    *,
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Only these queues.")] = None,
    url: UrlOption = None,
    app: AppOption = None,
    json: JsonOption = False,
) -> None:
    """Show every queue: what waits, runs, is parked or dead, how fast it drains and who consumes it."""
    options = common_options(ctx, url, app, json)
    access = find_store(options)
    stats = on_store(access, lambda store: store.broker.stats(names or ()))
    if options.json:
        show.json({"queues": [{"name": name, **_fields(found)} for name, found in sorted(stats.items())]})
    else:
        heads = (
            "queue",
            "depth",
            "ready",
            "scheduled",
            "running",
            "parked",
            "dead",
            "oldest",
            "drained",
            "workers",
            "",
        )
        limited = any(limits_line(found) != "-" for found in stats.values())
        show.table(
            (*heads[:-1], "limits", "") if limited else heads,
            (_row(*each, limited=limited) for each in sorted(stats.items())),
            empty=f"no queues in {access.shown}",
            spare=("parked", "scheduled", "dead"),
        )
    missing = [name for name in names or () if name not in stats]
    for name in missing:
        show.note(f"outlast: no queue {name!r} in {access.shown}")
    if missing:
        raise typer.Exit(NOT_FOUND)


def _fields(stats: QueueStats) -> dict[str, object]:
    return {name: getattr(stats, name) for name in QueueStats.__struct_fields__}


def _row(name: str, stats: QueueStats, *, limited: bool) -> list[show.Cell]:
    bounded = f"{stats.depth}/{stats.max_depth}" if stats.max_depth is not None else stats.depth
    waits = stats.depth > stats.running
    remarks = []
    if stats.paused:
        remarks.append("paused")
    if waits and not stats.consumers and not stats.paused:
        remarks.append("nobody works on it")
    if (stats.max_depth is not None and stats.depth >= stats.max_depth) or (
        stats.max_bytes is not None and (stats.bytes or 0) >= stats.max_bytes
    ):
        remarks.append("full")
    if waits and stats.held:
        remarks.append("its concurrency is full" if stats.held == "concurrency" else "its rate is used up")
    if stats.keys_held:
        remarks.append(f"{stats.keys_held} of {stats.keys + stats.keys_held} keys wait for their limits")
    if stats.shed:
        remarks.append(f"{stats.shed} shed")
    return [
        name,
        bounded,
        stats.ready,
        stats.scheduled,
        stats.running,
        stats.parked,
        (str(stats.dead), "bold red") if stats.dead and show.on_terminal() else stats.dead,
        duration(stats.oldest) if stats.ready else "-",
        f"{stats.drain_rate:.1f}/s",
        stats.consumers,
        *([limits_line(stats)] if limited else []),
        (", ".join(remarks), "bold yellow"),
    ]


@group.command("pause")
def pause(
    ctx: typer.Context, names: Names, *, url: UrlOption = None, app: AppOption = None, json: JsonOption = False
) -> None:
    """Stop handing out jobs of these queues. What runs goes on; enqueueing too. Remembered until resume."""
    _set(ctx, names, (url, app, json), on=True)


@group.command("resume")
def resume(
    ctx: typer.Context, names: Names, *, url: UrlOption = None, app: AppOption = None, json: JsonOption = False
) -> None:
    """Hand out jobs of these queues again."""
    _set(ctx, names, (url, app, json), on=False)


def _set(ctx: typer.Context, names: list[str], where: tuple[str | None, str | None, bool], *, on: bool) -> None:
    from outlast.cli.output.answers import print_answers

    options = common_options(ctx, *where)
    answers = on_store(find_store(options), lambda store: store.control.apply([Pause(name, on) for name in names]))
    done = "paused" if on else "resumed"
    print_answers(names, answers, json=options.json, done=done, unchanged=f"is {done} already", noun="queue")
