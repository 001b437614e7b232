"""`outlast jobs purge`: remove jobs and all their data permanently (erasure)."""

from __future__ import annotations

from typing import Annotated

import typer

from outlast.cli.common_options import CommonOptions
from outlast.cli.output import show
from outlast.cli.output.answers import confirm, print_answers
from outlast.cli.output.listing import query_of
from outlast.cli.store_access import find_store, on_store
from outlast.core.errors import ConfigurationError
from outlast.core.store.control import Purge
from outlast.core.store.records import Query
from outlast.core.text import counted

__all__ = ["purge"]


def purge(
    options: CommonOptions,
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
) -> None:
    """Remove jobs and all their data permanently. A running job is asked to stop.

    The store keeps the ids for their retention, so that a repeated enqueue does not add a job again.
    """
    named = query_of((), state=states).states
    if bool(ids) + (key is not None) + (queue is not None and key is None) != 1:
        raise ConfigurationError("purge: name what to remove: --id ID, --key KEY (also with --queue), or --queue NAME")
    if named and (ids or key is not None):
        raise ConfigurationError("purge: --state needs --queue and nothing else")
    access = find_store(options)
    if not yes:
        query = Query(queue=queue, key=key, states=named)
        count = len(ids) if ids else sum(on_store(access, lambda store: store.records.count(query)).values())
        number = counted(count, "job")
        confirm(f"Remove {number} of {access.shown} for good?", f"purge would remove {number} for good")
    commands = [Purge(id=each) for each in ids] if ids else [Purge(queue=queue, states=named, key=key)]
    answers = on_store(access, lambda store: store.control.apply(commands))
    if ids:
        print_answers(ids, answers, json=options.json, done="is removed")
    elif options.json:
        show.json({"removed": answers[0].changed})
    else:
        show.say(f"{counted(answers[0].changed, 'job')} removed")
