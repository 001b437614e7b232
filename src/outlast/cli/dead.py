"""`outlast dead`: the dead letters: another life, with other arguments, or none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from outlast.cli.bulk import Change, RateOption, YesOption, change_jobs, change_matching
from outlast.cli.common_options import AppOption, DefaultGroup, JsonOption, UrlOption, common_options
from outlast.cli.completion import filters
from outlast.cli.jobs import REDRIVE
from outlast.cli.output import show
from outlast.cli.output.listing import CursorOption, KindOption, LimitOption, QueueOption, Words, list_jobs, query_of
from outlast.core.errors import ConfigurationError
from outlast.core.filters import is_filter
from outlast.core.store.control import Purge
from outlast.core.store.records import JobRecord
from outlast.core.text import short, when

__all__ = ["register"]

group = typer.Typer(cls=DefaultGroup, help="Look at dead letters; redrive, edit and purge them.")

Targets = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[ID...|FILTER...]", help="Ids, or a filter, such as kind:send reason:timeout.", autocompletion=filters
    ),
]
AllOption = Annotated[bool, typer.Option("--all", help="Every dead letter, or those of --queue and --kind.")]
PURGE = Change("Purge", lambda id_: Purge(id=id_, states=("dead",)), "is removed", "removed")
"""Not a job that somebody has redriven meanwhile, nor the id of another one."""


def register(root: typer.Typer) -> None:
    """Add the commands."""
    from outlast.cli import jobs_edit

    group.command("edit")(jobs_edit.edit)
    root.add_typer(group, name="dead")


@group.command("list")
def list_(
    ctx: typer.Context,
    *,
    words: Words = None,
    queue: QueueOption = None,
    kind: KindOption = None,
    limit: LimitOption = 20,
    cursor: CursorOption = None,
    url: UrlOption = None,
    app: AppOption = None,
    json: JsonOption = False,
) -> None:
    """List the dead letters with their reason and last error, the last accepted first."""
    query = query_of(_only_dead(words), queue=queue, kind=kind, state=["dead"])
    options = common_options(ctx, url, app, json)
    list_jobs(options, query, limit=limit, cursor=cursor, heads=_HEADS, row=_row, empty="no dead letters")


_HEADS = ("id", "kind", "reason", "attempts", "died", "error")


def _row(record: JobRecord, now: float) -> tuple[show.Cell, ...]:
    died = when(record.finished_at, now)
    return record.id, record.kind, record.reason or "", record.attempt, died, _error(record)


def _error(record: JobRecord) -> str:
    if not record.failures:
        return ""
    last = record.failures[-1]
    return short(f"{last.type}: {last.message}", 100)


def _only_dead(words: list[str] | None) -> list[str]:
    for word in words or ():
        if word.startswith("state:") and word != "state:dead":
            raise ConfigurationError(f"filter {word!r}: these are the dead letters: use outlast jobs for other states")
    return words or []


def _changing(change: Change) -> Callable[..., None]:
    """Return the command that makes this change."""
    what = f"dead {change.verb.lower()}"

    def run(
        ctx: typer.Context,
        *,
        targets: Targets = None,
        everything: AllOption = False,
        queue: QueueOption = None,
        kind: KindOption = None,
        yes: YesOption = False,
        rate: RateOption = None,
        url: UrlOption = None,
        app: AppOption = None,
        json: JsonOption = False,
    ) -> None:
        if bool(targets) == everything:
            raise ConfigurationError(
                f"{what}: name ids or a filter, or give --all (also with --queue NAME, --kind NAME)"
            )
        options = common_options(ctx, url, app, json)
        if targets and not is_filter(targets[0]):
            if queue or kind:
                raise ConfigurationError(f"{what}: --queue and --kind go with --all or a filter")
            change_jobs(options, targets, change, yes=yes, rate=rate)
            return
        query = query_of(_only_dead(targets), queue=queue, kind=kind, state=["dead"])
        change_matching(options, query, change, yes=yes, rate=rate)

    return run


group.command(
    "redrive",
    help="Make dead jobs ready again, with all their attempts: these ids, or all that a filter finds, after asking.",
)(_changing(REDRIVE))
group.command("purge", help="Remove dead letters for good: these ids, or all that a filter finds, after asking.")(
    _changing(PURGE)
)
