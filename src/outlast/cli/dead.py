"""`outlast dead`: list, redrive, edit and purge dead letters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from outlast.cli.bulk import Change, RateOption, YesOption, change_jobs, change_matching
from outlast.cli.common_options import CommonOptions, DefaultGroup, command
from outlast.cli.completion import filters
from outlast.cli.jobs import REDRIVE
from outlast.cli.jobs_edit import edit
from outlast.cli.output import show
from outlast.cli.output.listing import (
    CursorOption,
    KindOption,
    LimitOption,
    QueueOption,
    Words,
    error_of,
    list_jobs,
    query_of,
)
from outlast.core.errors import ConfigurationError
from outlast.core.filters import is_filter
from outlast.core.store.control import Purge
from outlast.core.store.records import JobRecord
from outlast.core.text import when

__all__ = ["register"]

group = typer.Typer(cls=DefaultGroup, help="Show dead letters; redrive, edit and purge them.")

Targets = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[ID...|FILTER...]", help="Ids, or a filter, such as kind:send reason:timeout.", autocompletion=filters
    ),
]
AllOption = Annotated[bool, typer.Option("--all", help="Every dead letter, or only those of --queue and --kind.")]
PURGE = Change("Purge", lambda id_: Purge(id=id_, states=("dead",)), "is removed", "removed")
"""Never removes a job that is not dead, such as one that was redriven before."""


def register(root: typer.Typer) -> None:
    """Add the commands."""
    root.add_typer(group, name="dead")


@command(group, "list")
def list_(
    options: CommonOptions,
    *,
    words: Words = None,
    queue: QueueOption = None,
    kind: KindOption = None,
    limit: LimitOption = 20,
    cursor: CursorOption = None,
) -> None:
    """List the dead letters with their reason and last error, the last accepted first."""
    query = query_of(_only_dead(words), queue=queue, kind=kind, state=["dead"])
    list_jobs(options, query, limit=limit, cursor=cursor, heads=_HEADS, row=_row, empty="no dead letters")


_HEADS = ("id", "kind", "reason", "attempts", "died", "error")


def _row(record: JobRecord, now: float, waits_for: str) -> tuple[show.Cell, ...]:
    died = when(record.finished_at, now)
    return record.id, record.kind, record.reason or "", record.attempt, died, error_of(record)


def _only_dead(words: list[str] | None) -> list[str]:
    for word in words or ():
        if word.startswith("state:") and word != "state:dead":
            raise ConfigurationError(f"filter {word!r}: dead letters only: use outlast jobs for other states")
    return words or []


def _changing(change: Change) -> Callable[..., None]:
    """Return the command that makes this change."""
    name = f"dead {change.verb.lower()}"

    def run(
        options: CommonOptions,
        *,
        targets: Targets = None,
        everything: AllOption = False,
        queue: QueueOption = None,
        kind: KindOption = None,
        yes: YesOption = False,
        rate: RateOption = None,
    ) -> None:
        if bool(targets) == everything:
            raise ConfigurationError(
                f"{name}: name ids or a filter, or give --all (also with --queue NAME, --kind NAME)"
            )
        if targets and not is_filter(targets[0]):
            if queue or kind:
                raise ConfigurationError(f"{name}: --queue and --kind need --all or a filter")
            change_jobs(options, targets, change, yes=yes, rate=rate)
            return
        query = query_of(_only_dead(targets), queue=queue, kind=kind, state=["dead"])
        change_matching(options, query, change, yes=yes, rate=rate)

    return run


_SELECTION = "these ids, or all that a filter finds, after asking."
command(group, "redrive", help=f"Make dead jobs ready again, with all their attempts: {_SELECTION}")(_changing(REDRIVE))
command(group, "purge", help=f"Remove dead letters permanently: {_SELECTION}")(_changing(PURGE))
command(group, "edit")(edit)
