"""`outlast jobs purge`: remove jobs for good, with all that is kept about them (erasure)."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from outlast.cli.common_options import AppOption, JsonOption, UrlOption, common_options
from outlast.cli.output import show
from outlast.cli.store_access import find_store, on_store
from outlast.core.errors import ConfigurationError
from outlast.core.exitcodes import FAILED
from outlast.core.store.control import Purge
from outlast.core.store.records import Query
from outlast.core.text import counted

if TYPE_CHECKING:
    from outlast.admin.access import StoreAccess

__all__ = ["purge"]


def purge(
    ctx: typer.Context,
    *,
    ids: Annotated[list[str] | None, typer.Option("--id", help="This job; may be repeated.")] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="Every job with this key, in all queues or in --queue.")
    ] = None,
    queue: Annotated[
        str | None, typer.Option("--queue", "-q", help="Every job of this queue, or those of --state.")
    ] = None,
    states: Annotated[list[str] | None, typer.Option("--state", "-s", help="With --queue: only these states.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    url: UrlOption = None,
    app: AppOption = None,
    json: JsonOption = False,
) -> None:
    """Remove jobs and all that is kept about them, for good. A running job is asked to stop.

    Only the ids stay remembered for their time, so that a repeated enqueue does not bring a job back.
    """
    from outlast.cli.output.listing import query_of

    named = query_of((), state=states).states
    if bool(ids) + (key is not None) + (queue is not None and key is None) != 1:
        raise ConfigurationError("purge: name what to remove: --id ID, --key KEY (also with --queue), or --queue NAME")
    if named and (ids or key is not None):
        raise ConfigurationError("purge: --state goes with --queue alone")
    options = common_options(ctx, url, app, json)
    access = find_store(options)
    if not yes:
        query = None if ids else Query(queue=queue, key=key, states=named)
        _confirm(access, len(ids or ()) if query is None else _count(access, query))
    commands = [Purge(id=each) for each in ids] if ids else [Purge(queue=queue, states=named, key=key)]
    answers = on_store(access, lambda store: store.control.apply(commands))
    if ids:
        from outlast.cli.output.answers import print_answers

        print_answers(ids, answers, json=options.json, done="is removed")
    elif options.json:
        show.json({"removed": answers[0].changed})
    else:
        show.say(f"{counted(answers[0].changed, 'job')} removed")


def _count(access: StoreAccess, query: Query) -> int:
    return sum(on_store(access, lambda store: store.records.count(query)).values())


def _confirm(access: StoreAccess, number: int) -> None:
    if not sys.stdin.isatty():
        raise ConfigurationError(
            f"purge would remove {counted(number, 'job')} for good: add --yes (there is nobody to ask here)"
        )
    if not typer.confirm(f"Remove {counted(number, 'job')} of {access.shown} for good?", err=True):
        raise typer.Exit(FAILED)
