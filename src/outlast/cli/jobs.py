"""`outlast jobs`: list, show, cancel, redrive, run now, purge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from outlast.cli import show
from outlast.cli.place import ask, find_place
from outlast.cli.session import AppOption, DefaultGroup, JsonOption, UrlOption, session
from outlast.cli.text import when
from outlast.core.errors import ConfigurationError
from outlast.core.message import State
from outlast.core.protocols import Cancel, Command, JobRecord, Page, Query, Redrive, RunNow
from outlast.worker.exitcodes import NOT_FOUND

__all__ = ["CursorOption", "KindOption", "LimitOption", "QueueOption", "register"]

group = typer.Typer(cls=DefaultGroup, help="Look at jobs and change them.")

Ids = Annotated[list[str], typer.Argument(metavar="ID...", help="Job ids, as enqueue returned them: queue.rest.")]
QueueOption = Annotated[str | None, typer.Option("--queue", "-q", help="Only jobs of this queue.")]
KindOption = Annotated[str | None, typer.Option("--kind", help="Only jobs of this kind (the handler's name).")]
LimitOption = Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most so many.")]
CursorOption = Annotated[str | None, typer.Option("--cursor", help="Go on where the page before ended.")]


def register(root: typer.Typer) -> None:
    """Add the commands."""
    from outlast.cli import purge

    group.command("purge")(purge.purge)
    root.add_typer(group, name="jobs")


@group.command("list")
def list_(
    ctx: typer.Context,
    *,
    queue: QueueOption = None,
    states: Annotated[
        list[str] | None, typer.Option("--state", "-s", help="Only these states; may be repeated, or a,b.")
    ] = None,
    kind: KindOption = None,
    key: Annotated[str | None, typer.Option("--key", help="Only jobs with this key.")] = None,
    limit: LimitOption = 20,
    cursor: CursorOption = None,
    url: UrlOption = None,
    app: AppOption = None,
    json: JsonOption = False,
) -> None:
    """List jobs, the last accepted first."""
    given = session(ctx, url, app, json)
    query = Query(
        queue=queue, states=parse_states(states), kind=kind, key=key, limit=limit, cursor=check_cursor(cursor)
    )
    place = find_place(given)
    page = ask(place, lambda store: store.find(query))
    if given.json:
        show.json({"jobs": page.records, "cursor": page.cursor})
        return
    _list(page, place.shown)
    show_more(page)


def parse_states(given: list[str] | None) -> tuple[State, ...]:
    """Return the states that were named, each as `--state a` or `--state a,b`; raise ConfigurationError."""
    from typing import get_args

    known = get_args(State)
    named = [name.strip() for each in given or () for name in each.split(",") if name.strip()]
    for name in named:
        if name not in known:
            raise ConfigurationError(f"--state {name}: give one of {', '.join(known)}")
    return tuple(state for state in known if state in named)


def check_cursor(cursor: str | None) -> str | None:
    """Return the cursor; raise ConfigurationError for one that no page gave."""
    if cursor is not None and not cursor.isdecimal():
        raise ConfigurationError(f"--cursor {cursor}: give what the page before printed")
    return cursor


def show_more(page: Page) -> None:
    """Say how to see the next page."""
    if page.cursor is not None:
        show.note(f"There are more: add --cursor {page.cursor}")


def _list(page: Page, where: str) -> None:
    from time import time

    now = time()
    heads = ("id", "kind", "state", "attempt", "accepted", "what")
    rows = (
        (
            record.id,
            record.kind,
            show.state(record.state),
            record.attempt,
            when(record.enqueued_at, now),
            _what(record, now),
        )
        for record in page.records
    )
    show.table(heads, rows, empty=f"no such jobs in {where}", spare=("attempt",))


def _what(record: JobRecord, now: float) -> str:
    from outlast.cli.text import short

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
    given = session(ctx, url, app, json)
    place = find_place(given)
    (record,) = ask(place, lambda store: store.get([id]))
    if record is None:
        dot = "" if "." in id else " (an id reads queue.rest)"
        show.note(f"outlast: no job {id} in {place.shown}{dot}: it never was there, or was removed")
        raise typer.Exit(NOT_FOUND)
    if given.json:
        show.json(record)
        return
    from outlast.cli.detail import detail

    detail(record)


@group.command("cancel")
def cancel(
    ctx: typer.Context, ids: Ids, *, url: UrlOption = None, app: AppOption = None, json: JsonOption = False
) -> None:
    """End jobs that wait; ask those that run to stop."""
    _apply(ctx, ids, (url, app, json), Cancel, "is cancelled, or asked to stop if it runs")


@group.command("redrive")
def redrive(
    ctx: typer.Context, ids: Ids, *, url: UrlOption = None, app: AppOption = None, json: JsonOption = False
) -> None:
    """Make dead, cancelled or expired jobs ready again, with all their attempts."""
    _apply(ctx, ids, (url, app, json), Redrive, "is ready again")


@group.command("run-now")
def run_now(
    ctx: typer.Context, ids: Ids, *, url: UrlOption = None, app: AppOption = None, json: JsonOption = False
) -> None:
    """Make scheduled or parked jobs ready at once."""
    _apply(ctx, ids, (url, app, json), RunNow, "is ready now")


def _apply(
    ctx: typer.Context,
    ids: list[str],
    where: tuple[str | None, str | None, bool],
    command: Callable[[str], Command],
    done: str,
) -> None:
    from outlast.cli.answers import tell

    given = session(ctx, *where)
    answers = ask(find_place(given), lambda store: store.apply([command(each) for each in ids]))
    tell(ids, answers, json=given.json, done=done)
