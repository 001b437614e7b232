"""`outlast jobs`: list, show, edit, cancel, redrive, run now, put back, purge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final

import typer

from outlast.cli.bulk import Change, RateOption, YesOption, change_jobs
from outlast.cli.common_options import CommonOptions, DefaultGroup, command
from outlast.cli.completion import filters
from outlast.cli.jobs_edit import edit
from outlast.cli.jobs_purge import purge
from outlast.cli.output import show
from outlast.cli.output.listing import (
    CursorOption,
    KindOption,
    LimitOption,
    QueueOption,
    StateOption,
    Words,
    document_of,
    error_of,
    list_jobs,
    query_of,
)
from outlast.cli.store_access import find_job, find_store, on_store
from outlast.core.moving import Unhold
from outlast.core.store.control import Cancel, Redrive, RunNow
from outlast.core.store.records import JobRecord
from outlast.core.text import duration, when

__all__ = ["REDRIVE", "register"]

group = typer.Typer(cls=DefaultGroup, help="Show jobs and change them.")

Targets = Annotated[
    list[str],
    typer.Argument(
        metavar="ID...|FILTER...",
        help="Ids, as enqueue returned them (queue.rest), or a filter, such as state:dead queue:mail.",
        autocompletion=filters,
    ),
]
CANCEL = Change(
    "Cancel",
    Cancel,
    "is cancelled, or asked to stop if it runs",
    "cancelled, or asked to stop",
    ("scheduled", "ready", "running", "parked"),
)
REDRIVE = Change("Redrive", Redrive, "is ready again", "ready again", ("dead",))
RUN_NOW = Change("Run now", RunNow, "is ready now", "ready now", ("scheduled", "parked"))
PUT_BACK = Change("Put back", Unhold, "is released", "released", ("waiting",))


def register(root: typer.Typer) -> None:
    """Add the commands."""
    root.add_typer(group, name="jobs")


@command(group, "list")
def list_(
    options: CommonOptions,
    *,
    words: Words = None,
    queue: QueueOption = None,
    states: StateOption = None,
    kind: KindOption = None,
    key: Annotated[str | None, typer.Option("--key", help="Only jobs with this key.")] = None,
    limit: LimitOption = 20,
    cursor: CursorOption = None,
) -> None:
    """List jobs, the last accepted first."""
    query = query_of(words, queue=queue, kind=kind, key=key, state=states)
    list_jobs(options, query, limit=limit, cursor=cursor, heads=_HEADS, row=_row, empty="no such jobs")


_HEADS = ("id", "kind", "state", "attempt", "accepted", "took", "what")


def _row(record: JobRecord, now: float, waits_for: str) -> tuple[show.Cell, ...]:
    accepted = when(record.enqueued_at, now)
    took = "-" if record.finished_at is None else duration(max(0.0, record.finished_at - record.enqueued_at))
    return (
        record.id,
        record.kind,
        show.state(record.state),
        record.attempt,
        accepted,
        took,
        _remarks(record, now, waits_for),
    )


def _remarks(record: JobRecord, now: float, waits_for: str) -> str:
    parts = []
    if record.state == "scheduled":
        parts.append(f"attempt {record.attempt} is due {when(record.run_at, now)}")
    if record.cancelling:
        parts.append("cancelling")
    if waits_for:
        parts.append(waits_for)
    elif record.reason and record.reason != record.state:
        parts.append(record.reason)
    if record.failures and record.state != "succeeded":
        parts.append(error_of(record))
    return "; ".join(parts)


@command(group, "show")
def show_(
    options: CommonOptions,
    *,
    id: Annotated[str, typer.Argument(metavar="ID", help="The job's id.")],  # noqa: A002
) -> None:
    """Show everything that is stored about one job; arguments marked Redacted are masked."""
    from outlast.admin.guards import waits_of_jobs

    access = find_store(options)
    record = find_job(access, id)
    waits_for = on_store(access, lambda store: waits_of_jobs(store, [record])).get(record.id, "")
    if options.json:
        show.json(document_of(record, waits_for))
        return
    from outlast.cli.output.job_detail import detail

    detail(record, waits_for)


def _changing(change: Change) -> Callable[..., None]:
    """Return the command that makes this change."""

    def run(options: CommonOptions, targets: Targets, *, yes: YesOption = False, rate: RateOption = None) -> None:
        change_jobs(options, targets, change, yes=yes, rate=rate)

    return run


_CHANGES: Final = (
    (
        "cancel",
        CANCEL,
        "End waiting jobs; ask running jobs to stop. A filter finds jobs that have not ended, and asks first.",
    ),
    (
        "redrive",
        REDRIVE,
        "Make dead, cancelled or expired jobs ready again, with all their attempts. A filter finds dead jobs unless it "
        "names states, and asks first.",
    ),
    ("run-now", RUN_NOW, "Make scheduled or parked jobs ready at once."),
    (
        "put-back",
        PUT_BACK,
        "Release jobs that an `outlast move` holds, so that they run here; only if that move is never repeated.",
    ),
)
for _name, _change, _help in _CHANGES:
    command(group, _name, help=_help)(_changing(_change))
command(group, "edit")(edit)
command(group, "purge")(purge)
