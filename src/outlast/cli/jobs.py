"""`outlast jobs`: list, show, edit, cancel, redrive, run now, put back, purge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final

import typer

from outlast.cli.bulk import Change, RateOption, YesOption, change_jobs
from outlast.cli.common_options import AppOption, DefaultGroup, JsonOption, UrlOption, common_options
from outlast.cli.completion import filters
from outlast.cli.output import show
from outlast.cli.output.listing import (
    CursorOption,
    KindOption,
    LimitOption,
    QueueOption,
    StateOption,
    Words,
    list_jobs,
    query_of,
)
from outlast.cli.store_access import find_store, on_store
from outlast.core.exitcodes import NOT_FOUND
from outlast.core.moving import Unhold
from outlast.core.store.control import Cancel, Redrive, RunNow
from outlast.core.store.records import JobRecord
from outlast.core.text import short, when

__all__ = ["REDRIVE", "register"]

group = typer.Typer(cls=DefaultGroup, help="Look at jobs and change them.")

Targets = Annotated[
    list[str],
    typer.Argument(
        metavar="ID...|FILTER...",
        help="Ids, as enqueue returned them (queue.rest), or a filter, such as state:dead queue:mail.",
        autocompletion=filters,
    ),
]
CANCEL = Change("Cancel", Cancel, "is cancelled, or asked to stop if it runs", "cancelled, or asked to stop")
REDRIVE = Change("Redrive", Redrive, "is ready again", "ready again")
RUN_NOW = Change("Run now", RunNow, "is ready now", "ready now")
PUT_BACK = Change("Put back", Unhold, "waits in line again", "in line again")


def register(root: typer.Typer) -> None:
    """Add the commands."""
    from outlast.cli import jobs_edit, jobs_purge

    group.command("edit")(jobs_edit.edit)
    group.command("purge")(jobs_purge.purge)
    root.add_typer(group, name="jobs")


@group.command("list")
def list_(
    ctx: typer.Context,
    *,
    words: Words = None,
    queue: QueueOption = None,
    states: StateOption = None,
    kind: KindOption = None,
    key: Annotated[str | None, typer.Option("--key", help="Only jobs with this key.")] = None,
    limit: LimitOption = 20,
    cursor: CursorOption = None,
    url: UrlOption = None,
    app: AppOption = None,
    json: JsonOption = False,
) -> None:
    """List jobs, the last accepted first."""
    query = query_of(words, queue=queue, kind=kind, key=key, state=states)
    options = common_options(ctx, url, app, json)
    list_jobs(options, query, limit=limit, cursor=cursor, heads=_HEADS, row=_row, empty="no such jobs")


_HEADS = ("id", "kind", "state", "attempt", "accepted", "what")


def _row(record: JobRecord, now: float) -> tuple[show.Cell, ...]:
    accepted = when(record.enqueued_at, now)
    return record.id, record.kind, show.state(record.state), record.attempt, accepted, _what(record, now)


def _what(record: JobRecord, now: float) -> str:
    parts = []
    if record.state == "scheduled":
        parts.append(f"due {when(record.run_at, now)}")
    if record.cancelling:
        parts.append("cancelling")
    if record.reason and record.reason != record.state:
        parts.append(record.reason)
    if record.failures and record.state != "succeeded":
        last = record.failures[-1]
        parts.append(short(f"{last.type}: {last.message}"))
    return "; ".join(parts)


@group.command("show")
def show_(
    ctx: typer.Context,
    *,
    id: Annotated[str, typer.Argument(metavar="ID", help="The job's id.")],  # noqa: A002
    url: UrlOption = None,
    app: AppOption = None,
    json: JsonOption = False,
) -> None:
    """Show all that is kept about one job; arguments marked Redacted are masked."""
    options = common_options(ctx, url, app, json)
    access = find_store(options)
    (record,) = on_store(access, lambda store: store.records.get([id]))
    if record is None:
        dot = "" if "." in id else " (an id reads queue.rest)"
        show.note(f"outlast: no job {id} in {access.shown}{dot}: it never was there, or was removed")
        raise typer.Exit(NOT_FOUND)
    if options.json:
        show.json(record)
        return
    from outlast.cli.output.job_detail import detail

    detail(record)


def _changing(change: Change, states: tuple[str, ...]) -> Callable[..., None]:
    """Return the command that makes this change; a filter that names no states means `states`."""

    def run(
        ctx: typer.Context,
        targets: Targets,
        *,
        yes: YesOption = False,
        rate: RateOption = None,
        url: UrlOption = None,
        app: AppOption = None,
        json: JsonOption = False,
    ) -> None:
        change_jobs(common_options(ctx, url, app, json), targets, change, yes=yes, rate=rate, states=states)

    return run


_CHANGES: Final = (
    (
        "cancel",
        CANCEL,
        ("scheduled", "ready", "running", "parked"),
        "End jobs that wait; ask those that run to stop. A filter finds those that have not ended, and asks first.",
    ),
    (
        "redrive",
        REDRIVE,
        ("dead",),
        "Make dead, cancelled or expired jobs ready again, with all their attempts. A filter finds dead ones, unless "
        "it names states, and asks first.",
    ),
    ("run-now", RUN_NOW, ("scheduled", "parked"), "Make scheduled or parked jobs ready at once."),
    (
        "put-back",
        PUT_BACK,
        ("waiting",),
        "Let jobs that an `outlast move` has set aside wait in line again: only when it is never to be repeated.",
    ),
)
for _name, _change, _states, _help in _CHANGES:
    group.command(_name, help=_help)(_changing(_change, _states))
